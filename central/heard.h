/*
 * heard.h - how far each site has heard its orders, and how its chores ended there.
 *
 * A poll says the last order that the edge has committed: hold, retract, restore and settings are
 * carried out with that. Of a chore the edge tells how it ended: a record of the log (R16), once.
 * A site whose edge was made anew does not do again what it had done.
 * Tables: heard       site                       sync.HeardRow (of the catalogue alone)
 *         order_done  site, NUL, number (be64)   the OrderDone's bytes; no site: it is said again
 *                                                under another number
 * Threads: as the transactions; heard_note and heard_take any.
 */
#ifndef SALAMANDER_CENTRAL_HEARD_H
#define SALAMANDER_CENTRAL_HEARD_H

#include <stdbool.h>
#include <stdint.h>

struct asked;
struct central;
struct err;
struct http_request;
struct store_tx;
struct Sync__LogDecision;
struct Sync__Order;

#define HEARD_TABLE "heard"
#define ORDER_DONE_TABLE "order_done"

bool heard_is_chore(const struct Sync__Order *m);
/* A poll said so. */
int heard_note(struct central *c, const char *site, uint64_t number, struct err *e);
/* POST /sync/v1/orders: how chores ended. */
int heard_take(struct central *c, const struct http_request *rq, struct err *e);
/* What a DECISION_ORDER_DONE of the log makes of the catalogue. */
int heard_apply(struct store_tx *tx, const struct Sync__LogDecision *m, struct err *e);
/* This chore has ended there. */
int heard_ended(struct store_tx *tx, const char *site, uint64_t number, bool *out, struct err *e);

/* This order is said again under another number, and counts no more. */
int heard_replace(struct store_tx *tx, uint64_t number, struct err *e);
int heard_replaced(struct store_tx *tx, uint64_t number, bool *out, struct err *e);
/* Some site that it is for has not heard it; withdrawals: nobody has. */
int heard_is_new(struct store_tx *tx, const struct Sync__Order *m, bool *out, struct err *e);

/* Orders that are not carried out at every site that they are for. */
int heard_open(struct central *c, struct store_tx *tx, uint64_t *out, struct err *e);
/* orders [--all] [--json] */
int heard_list(struct asked *a);

#endif
