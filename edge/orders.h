/*
 * orders.h - the duty that hears what central wants, and does it (DESIGN 6).
 *
 * A long poll on a link of its own, so that it takes nobody's turn; asked while central answers
 * replicate's hello. Each order is carried out in one transaction with its number, which says
 * where to ask on; after another epoch it asks from 0 (R22). What takes longer is a chore
 * (chores.h). Beside the poll it tells central what that does not know: how chores ended, and
 * decisions of another epoch (R16).
 * Threads: orders_wake from any; the rest from one. Without a thread (tests) it is turned by
 * hand.
 */
#ifndef SALAMANDER_EDGE_ORDERS_H
#define SALAMANDER_EDGE_ORDERS_H

#include <stdint.h>

struct edge;
struct err;
struct link;
struct orders; /* opaque */

/* Of the sync table: the highest order that was ever heard of this archive. */
#define ORDERS_TOP "orders_top"

int orders_start(struct orders **out, struct edge *e, struct err *err);
void orders_stop(struct orders *o); /* NULL is fine */
/* Central answers again, or is another one, or a chore ended. NULL is fine. */
void orders_wake(struct orders *o);

/* Without a thread of its own. link is taken, even on failure. */
int orders_new(struct orders **out, struct edge *e, struct link *link_taken, struct err *err);
void orders_turn(struct orders *o, int timeout_ms);
/* Monotonic time before which there is nothing to do unless something arrives. */
int64_t orders_due(const struct orders *o);

#endif
