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
#define DISPATCH_LAST "orders" /* a number of the state: the last that was given */
#define DISPATCH_HOLD "hold"   /* a number of the state: 1: no edge evicts */

struct central;
struct err;
struct http_answer;
struct http_request;
struct store_tx;
struct ProtobufCBinaryData;
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
	uint64_t began; /* the last number when the archive was opened; set once */
	/* guarded by mu, heard.c's: below this number no chore is open, at these sites */
	uint64_t chores_from, chores_of;
	_Atomic uint64_t news; /* counts up with whatever waiting edges are to hear of */
};

void dispatch_init(struct dispatch *o);
/* Once the catalogue is whole. */
int dispatch_begin(struct central *c, struct err *e);
void dispatch_fini(struct dispatch *o);
/* Those that wait are answered now, later ones at once; until dispatch_go. */
void dispatch_stop(struct dispatch *o);
void dispatch_go(struct dispatch *o);
bool dispatch_stopping(struct dispatch *o);

/* Durable in the log on 0, and on its way; number and wall_ms are filled in here. Whatever else
 * it makes of the catalogue (dispatch_apply) happens in the same transaction. */
int dispatch_give(struct central *c, struct Sync__Order *m, struct err *e);
/* The caller holds `order`. */
int dispatch_give_locked(struct central *c, struct Sync__Order *m, struct err *e);

/* An edge has heard this order, whose seal is ours; seals: of those that it heard last (orders.h),
 * or of none. A central that does not know it was set back: its numbers go on above, and what it
 * has given below, and not every site has heard, is given again (R22). */
int dispatch_heard_there(struct central *c, const struct Sync__Order *m,
			 const struct ProtobufCBinaryData *seals, struct err *e);

/* What a DECISION_ORDER of the log, or a new epoch, makes of the catalogue. */
int dispatch_apply(struct store_tx *tx, const struct Sync__LogDecision *m, struct err *e);
int dispatch_new_epoch(struct store_tx *tx, struct err *e);
/* Something was given, decided, or lost, and is committed: those that wait look. Any thread. */
void dispatch_news(struct central *c);

/* It is for all sites, or for this one. */
bool dispatch_is_for(const struct Sync__Order *m, const char *site);
/* The caller frees it. ERR_ABSENT: none was given under that number. */
int dispatch_get(struct store_tx *tx, uint64_t number, struct Sync__Order **out, struct err *e);
/* From this number on, rising, until fn says other than 0; that is returned. */
int dispatch_each(struct store_tx *tx, uint64_t from,
		  int (*fn)(void *arg, const struct Sync__Order *m, struct err *e), void *arg,
		  struct err *e);

/* Its seal is ours, or this is a node without an identity (R24). */
bool dispatch_sealed(const struct central *c, const struct Sync__Order *m);

/* GET ORDERS_PATH<number>,<decisions>,<losses>,<table> */
int dispatch_answer(struct central *c, struct http_request *rq, struct http_answer *out,
		    struct err *e);

#endif
