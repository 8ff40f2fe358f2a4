/*
 * central.h - one running central: everything hangs from struct central.
 *
 * Lock order: use, order, then mu or a module's own. `order` is held from the decision on
 * a record over the log's flush to the catalogue's commit, so that the log's order is the
 * catalogue's (R16). No network I/O happens under order or mu.
 * Threads: fields are set by central_open and central_serve before threads start,
 * unless a guard is named.
 */
#ifndef SALAMANDER_CENTRAL_CENTRAL_H
#define SALAMANDER_CENTRAL_CENTRAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "central/dispatch.h"
#include "common/base/buf.h"
#include "common/base/rng.h"
#include "common/dimse/node.h"
#include "common/os/identity.h"
#include "proto/version.h"

struct certificates;
struct clock;
struct clog;
struct conf;
struct ctl;
struct err;
struct http_server;
struct joins;
struct store;
struct uploads;
struct vault;

enum { CENTRAL_DIR_MAX = 3000 };

struct central {
	struct conf *conf;
	const char *conf_path;
	struct clock *clock;
	char dir[CENTRAL_DIR_MAX];
	struct protocol_range speaks;
	int lock;
	struct identity identity;
	struct certificates *certificates; /* of an archive with a CA of its own; else NULL */
	struct joins *joins;		   /* likewise */
	struct store *store;
	struct vault *vault;
	struct clog *log;
	pthread_mutex_t order, mu;
	/* guarded by order: a record that is in the log and not in the catalogue yet */
	uint64_t pending_number;
	uint32_t pending_kind;
	struct buf pending;
	pthread_rwlock_t
		use; /* held by commands; for writing while a rebuild swaps the catalogue */
	bool locks;  /* they exist */
	/* guarded by mu */
	struct id128 epoch;
	uint64_t losses; /* how often holdings bits were cleared */

	struct dispatch dispatch; /* who waits for one */
	_Atomic bool recounting;  /* recount.h */

	/* serving */
	struct uploads *uploads;
	struct http_server *http;
	struct dimse_node dicom;
	struct ctl *ctl;
	_Atomic unsigned reloads, reload_failures;
	_Atomic bool rebuild_wanted;
	_Atomic int rebuild_result; /* 0: under way */
	_Atomic bool failed;	    /* it must end, and be started again */
};

enum central_mode {
	CENTRAL_SERVE,	 /* makes what may be made (R23) */
	CENTRAL_LOCAL,	 /* a command without a server   */
	CENTRAL_READ,	 /* the catalogue as it lies there, beside whoever holds the lock */
	CENTRAL_MISSING, /* as CENTRAL_LOCAL, packs may be absent (--accept-missing) */
	CENTRAL_REBUILD	 /* the catalogue is made anew from packs and log */
};

/* Data folder, vault, log, catalogue; both ways compared (R23). */
int central_open(struct central *c, const char *conf_path, enum central_mode mode, struct err *e);
void central_close(struct central *c);
/* `serve`: returns when told to stop. */
int central_serve(struct central *c, struct err *e);

void central_epoch(struct central *c, struct id128 *out);
uint64_t central_losses(struct central *c);

#endif
