/*
 * obey.h - what an order of central makes of the store (R10, R22).
 *
 * Each kind may come again, and an older one after a newer one: what it speaks of remembers the
 * number of the last one, and a lower number changes nothing.
 * Table order: number (be64)   an Order of a kind that this version does not know
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_EDGE_OBEY_H
#define SALAMANDER_EDGE_OBEY_H

#include <stddef.h>
#include <stdint.h>

#define ORDER_TABLE "order"

struct edge;
struct err;
struct store_tx;
struct Sync__Order; /* sync.pb-c.h */

/* The value of "hold" in the sync table; evict while it is 0. */
enum { HOLD_PERSON = 1, HOLD_ORDER = 2 };

/* bytes: the order's, as they came: kept if its kind is not known. */
int obey(struct store_tx *tx, const struct Sync__Order *m, const void *bytes, size_t n,
	 struct err *e);
/* What was kept, and is known since an upgrade, is obeyed now. */
int obey_kept(struct edge *e, struct err *err);
/* Kept ones. */
int obey_unknown(struct store_tx *tx, uint64_t *out, struct err *e);

#endif
