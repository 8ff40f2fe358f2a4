/*
 * errand.h - what replicate must not wait for: packs made and read, receipts committed.
 *
 * One errand is one step of one slot; it reads and commits, and brings back what the
 * sender is to hear and what is to be sent. While it runs, the slot is its own. Several
 * slots' errands run at once, so that uploads flow and the ledger is announced meanwhile.
 * Threads: errands_give, errands_take and errands_stop from one; errand_run from any.
 */
#ifndef SALAMANDER_EDGE_ERRAND_H
#define SALAMANDER_EDGE_ERRAND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/http/client.h"
#include "edge/piece.h"
#include "proto/coding.h"
#include "proto/sender.h"

struct edge;
struct errands; /* opaque: the threads that run them */
struct packing;

struct errand {
	struct sender_action action;
	struct packing *slot;
	uint64_t announced;   /* SENDER_MAKE_PACK (R7)              */
	struct coding coding; /* SENDER_SEND_PIECE */
	struct id128 epoch;   /* that it was given in: its call says so (R22) */
	struct buf answer;    /* SENDER_TAKE_RECEIPT, SENDER_UNPACK */
	/* what came of it */
	int rc;
	struct err err;
	struct piece_cost cost;
	bool tells; /* the sender, by `event` */
	struct sender_event event;
	enum sender_request request; /* 0: nothing to send */
	struct http_call call;
	struct errand *next;
};

bool errand_is(enum sender_action_kind kind);
void errand_run(struct errand *x, struct edge *e);
void errand_free(struct errand *x); /* NULL is fine */

/* done(arg) is called, from any thread, when there is something to take. */
int errands_start(struct errands **out, struct edge *e, void (*done)(void *arg), void *arg,
		  struct err *err);
void errands_give(struct errands *s, struct errand *x_taken);
struct errand *errands_take(struct errands *s); /* one that ended; NULL: none */
void errands_stop(struct errands *s);		/* NULL is fine; what was not begun is dropped */

#endif
