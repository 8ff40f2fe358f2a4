/*
 * resync.h - is all that is here at central, or owed to it? What the scheduled job asks.
 *
 * The whole ledger is compared with central's holdings in one round trip (R19); what central
 * lacks and is here is owed from then on. With `verify` the bytes here are read and hashed
 * first, so that a copy that rotted counts for nobody.
 * Promise: when it says in step, central holds each image that the ledger announced, as of now.
 * Threads: a command's; one at a time.
 */
#ifndef SALAMANDER_EDGE_RESYNC_H
#define SALAMANDER_EDGE_RESYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "edge/holdings.h"

struct buf;
struct ctl_reply;
struct edge;
struct err;
struct store_tx;

struct resync_config {
	bool verify;
	uint64_t part, parts; /* of the images here: the part-th slice of so many; 0: all of them */
};

struct resync_result {
	bool compared; /* from the first entry to the last */
	bool person;   /* something needs one              */
	struct comparison found;
	uint64_t owed_before, owed_after;  /* images                      */
	bool two_centrals, closed, drains; /* as `status` shows them            */
	unsigned twins;
	/* verify */
	uint64_t images, bytes; /* read                                          */
	uint64_t rotten;	/* of these: entered as damaged                  */
	uint64_t unread;	/* the disk does not give them now; they may be good */
};

/*
 * 0: compared, and what was missing is owed. ERR_AGAIN: central was not reached, another resync
 * runs, or it was stopped; else as reach_compared. *out is filled as far as it came.
 */
int resync_run(struct edge *e, const struct resync_config *c, struct ctl_reply *r,
	       struct resync_result *out, struct err *err);
/* The report; why: the error of resync_run, or empty. */
void resync_text(const struct resync_config *c, const struct resync_result *x,
		 const struct err *why, struct buf *out);
void resync_json(const struct edge *e, const struct resync_config *c, const struct resync_result *x,
		 const struct err *why, struct buf *out);
/* Wall clock of the last one that returned 0 and needed no person; 0: never. */
int resync_last(struct store_tx *tx, int64_t *wall_ms, struct err *err);

#endif
