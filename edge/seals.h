/*
 * seals.h - the seals of the orders that were heard here last (R22).
 *
 * A central that was set back sees by them up to where what it remembers was heard here: what a
 * person said there since then is the last word, also when it was started anew after that.
 *
 * Table sync, `orders_seals`: the first ORDERS_SEAL bytes of each, the last one at the end. Zeros
 * stand for the time before the first order of all.
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_EDGE_SEALS_H
#define SALAMANDER_EDGE_SEALS_H

struct buf;
struct err;
struct store_tx;
struct Sync__Order; /* sync.pb-c.h */

/* Before it is noted as the highest (orders.h). One that was heard before is not noted again. */
int seals_note(struct store_tx *tx, const struct Sync__Order *m, struct err *e);
/* All of them, appended. */
int seals_get(struct store_tx *tx, struct buf *out, struct err *e);
/* Another archive gives orders from now on. */
int seals_forget(struct store_tx *tx, struct err *e);

#endif
