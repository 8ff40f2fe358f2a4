/*
 * told.h - what an edge told of its way to central in its last hello (sync.SyncState), and what
 * central makes of it: lag by lane, pace, estimate, and why what is owed waits.
 *
 * It is as old as that hello. One that is silent for longer than a busy edge ever is, is taken for
 * cut off; what it told before is shown with its age.
 * Threads: plain data.
 */
#ifndef SALAMANDER_CENTRAL_TOLD_H
#define SALAMANDER_CENTRAL_TOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "central/catalogue.h"
#include "proto/sync.pb-c.h"

struct buf;
struct json;
struct member;
struct prom;
struct sites;

enum { TOLD_SILENT_MS = 90000 };

struct told {
	Sync__SyncState *m;    /* NULL: it has told nothing (an older version, a rebuild) */
	uint64_t age_seconds;  /* of what it told                               */
	bool silent;	       /* for too long                                  */
	uint32_t waits;	       /* why what is owed waits, as known here (proto/waits.h) */
	int64_t until_wall_ms; /* by our clock; 0: not known                    */
	int64_t told_ms;       /* by our clock                                  */
};

/* member: NULL, or what was decided about the site. owed: images of the site. */
void told_open(struct told *out, const struct site_row *row, const struct member *member,
	       uint64_t owed, int64_t wall_ms);
void told_close(struct told *t);
void told_json(struct json *j, const struct told *t);
void told_text(struct buf *out, const char *site, const struct told *t);
/* /metrics, a family after the other. */
void told_metrics(struct prom *p, const struct sites *s);

/* Of a hello, into the row; NULL: nothing. */
void told_keep(struct site_row *row, const Sync__SyncState *m);

#endif
