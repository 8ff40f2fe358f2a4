/*
 * dispatch.h - what central wants of edges: numbered, in the log, asked for by long poll.
 *
 * Table order: number (be64)   the Order's bytes, as edges get them
 * state `orders`: the last number. Both follow from the log (R16).
 *
 * A poll with nothing to say waits in its connection's own thread, which it has anyway; at
 * most DISPATCH_WAITERS of one site do, the others are answered at once.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_DISPATCH_H
#define SALAMANDER_CENTRAL_DISPATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define DISPATCH_TABLE "order"
#define DISPATCH_HOLD "hold" /* a number of the state: 1: no edge evicts */

struct central;
struct err;
struct http_answer;
struct http_request;
struct store_tx;
struct Sync__LogDecision; /* sync.pb-c.h */
struct Sync__Order;

enum { DISPATCH_WAITERS = 4 };

struct dispatch_waiter;

/* Hangs from struct central. */
struct dispatch {
	pthread_mutex_t mu;
	pthread_cond_t given;
	/* guarded by mu */
	struct dispatch_waiter *first;
	unsigned waiting;
	bool stopping;
	_Atomic uint64_t last; /* number that was given, as far as waiting edges need to know */
};

void dispatch_init(struct dispatch *o);
void dispatch_fini(struct dispatch *o);
/* Those that wait are answered now, later ones at once; until dispatch_go. */
void dispatch_stop(struct dispatch *o);
void dispatch_go(struct dispatch *o);

/* Durable in the log on 0, and on its way; number and wall_ms are filled in here. Whatever else
 * it makes of the catalogue (dispatch_apply) happens in the same transaction. */
int dispatch_give(struct central *c, struct Sync__Order *m, struct err *e);
/* The caller holds `order`. */
int dispatch_give_locked(struct central *c, struct Sync__Order *m, struct err *e);

/* What a DECISION_ORDER of the log, or a new epoch, makes of the catalogue. */
int dispatch_apply(struct store_tx *tx, const struct Sync__LogDecision *m, struct err *e);
int dispatch_new_epoch(struct store_tx *tx, struct err *e);
/* The catalogue was opened: what was given last. */
int dispatch_load(struct central *c, struct store_tx *tx, struct err *e);

/* Its seal is ours, or this is a node without an identity (R24). */
bool dispatch_sealed(const struct central *c, const struct Sync__Order *m);

/* GET ORDERS_PATH<number> */
int dispatch_answer(struct central *c, struct http_request *rq, struct http_answer *out,
		    struct err *e);

#endif
