/*
 * obey.h - what an order of central makes of the store (R10, R15, R22, R27).
 *
 * Each kind may come again, and an older one after a newer one: what it speaks of remembers the
 * number of the last one, and a lower number changes nothing.
 * A retract hides what it names; no order frees bytes (R27). When more is to be hidden within a day
 * than a person is likely to have meant, none is obeyed until one at the edge says so.
 * Table order: number (be64)   an Order of a kind that this version does not know, or which waits
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_EDGE_OBEY_H
#define SALAMANDER_EDGE_OBEY_H

#include <stddef.h>
#include <stdint.h>

#define ORDER_TABLE "order"

struct edge;
struct err;
struct id128;
struct store_tx;
struct withdrawn_node;
struct Sync__Order; /* sync.pb-c.h */

/* R27: in a day an edge hides no more than this part of its studies, or so many of them. */
enum { OBEY_RETRACT_PART = 100, OBEY_RETRACT_FEW = 5 };

/* bytes: the order's, as they came: kept if its kind is not known, or it is one retract too many.
 * epoch: in which it was heard. */
int obey(struct store_tx *tx, const struct id128 *epoch, const struct Sync__Order *m,
	 const void *bytes, size_t n, struct err *e);
/* What was kept, and is known since an upgrade, is obeyed now. */
int obey_kept(struct edge *e, struct err *err);
/* R27: a person has looked: the retracts that wait are obeyed. *n: how many. */
int obey_accept(struct edge *e, uint64_t *n, struct err *err);
/* Kept ones: of a later kind, and retracts that wait for a person. */
int obey_waiting(struct store_tx *tx, uint64_t *unknown, uint64_t *retracts, struct err *e);

/* In a closure: another archive gives orders from now on, and counts from the beginning. What the
 * one before it wanted stays, until this one says otherwise. */
int obey_other_archive(struct store_tx *tx, struct err *e);

/* What of an image our ledger tells. */
extern const struct withdrawn_node obey_node;

#endif
