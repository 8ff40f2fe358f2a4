/*
 * retrieve_private.h - a retrieve from within: retrieve.c counts, tells and sends one object,
 * move.c brings them to another node over one association or several; pledge_supply.c has that
 * done where nobody asked for it by DIMSE.
 *
 * Threads: the association's own asks, tells and sends; helpers of a C-MOVE only send.
 */
#ifndef SALAMANDER_COMMON_DIMSE_RETRIEVE_PRIVATE_H
#define SALAMANDER_COMMON_DIMSE_RETRIEVE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/dimse/message.h"
#include "common/dimse/retrieve.h"
#include "common/dimse/targets.h"

struct assoc;
struct dimse_caller;
struct err;
struct peer;
struct store_reader;

struct retrieving {
	const struct retrieve_config *c;
	const struct dimse_caller
		*who;		  /* its assoc is NULL where nobody asked by DIMSE: then ... */
	bool (*go_on)(void *arg); /* ... false ends it, ... */
	void (*socket)(void *arg, unsigned at,
		       int fd); /* ... this is told of sockets (dimse_sub) */
	void *arg;
	const struct message *rq;
	const char *syntax; /* of the request's context */
	const char *destination;
	pthread_mutex_t mu; /* guards: */
	struct targets t;
	unsigned completed, failed, warning;
	struct buf failed_uids;
	unsigned serial; /* associations so far */
	unsigned helping;
	pthread_cond_t ended;		/* helping went down */
	char why[MESSAGE_COMMENT_SIZE]; /* C-MOVE: what the destination lacks; "" if nothing */
	/* the association's own thread only */
	int64_t told_ms; /* when the last pending answer went */
	unsigned told_at;
	/* set by that thread, read by all */
	_Atomic int lost; /* C-MOVE: the asker's own association failed meanwhile */
	_Atomic bool cancelled, over;
};

/* Who sends: an association, and what is its own. */
struct carrier {
	struct retrieving *r;
	struct assoc *to;
	const struct peer *peer; /* who receives */
	bool get;		 /* C-GET: to is the asker's own */
	bool helper;		 /* of a C-MOVE: tells nobody    */
	unsigned serial;	 /* of this association, from 1 on */
	unsigned next_id;
	unsigned broken; /* associations in a row that carried nothing */
	/* What is sent next, opened and checked while the receiver takes in the one before. */
	struct store_reader *ahead;
	const struct target *ahead_of;
};

/* Counters each second and every so many sub-operations; cancel is looked for as often. */
int retrieve_tell_pending(struct retrieving *r, struct err *e);
/* This one is failed for good (R20). */
void retrieve_fail(struct retrieving *r, struct target *t);
/* An error means that the association cannot go on: of the target, or (r->lost) the asker's own. */
int retrieve_send(struct carrier *c, struct target *t, struct err *e);
/* Does this peer want it in another lossless syntax than it is stored in? Not what is stored in a
 * lossy one: nothing would say any more that it was (PS3.3 C.7.6.1.1.5). */
bool retrieve_compresses(const struct retrieving *r, const struct peer *peer,
			 const struct target *t);
/* Lets go of what was opened ahead; the carrier may go on. */
void retrieve_forget(struct carrier *c);
/* C-MOVE: all targets are done afterwards, unless it was cancelled or the asker is lost. */
int move_all(struct retrieving *r, const struct peer *peer, struct err *e);

/* What everybody can read, the better first (PS3.5 10.1). */
enum { RETRIEVE_PLAIN = 2 };
extern const char *const retrieve_plain[RETRIEVE_PLAIN];

#endif
