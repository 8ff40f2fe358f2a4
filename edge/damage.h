/*
 * damage.h - a copy here that fails its check is entered as damaged.
 *
 * From then on central's copy is what counts, so that `held + owed + lost` stays true (R18), and
 * the same image, sent again, is stored again (R4). But a read that failed says little of the
 * disk: the bytes are set aside, and freed only when central holds the image. What turns out
 * to be good is entered as held again.
 * Threads: any.
 */
#ifndef SALAMANDER_EDGE_DAMAGE_H
#define SALAMANDER_EDGE_DAMAGE_H

#include <stdint.h>

struct edge;
struct err;
struct store_tx;
struct version;

/* Ledger entry, state and outbox of a version whose bytes were just found wrong: in a closure. */
int damage_enter(struct store_tx *tx, const struct version *v, int64_t wall_ms, struct err *e);
/* Somebody could not read it (edge: struct edge): it is read again as a whole, and entered. */
void damage_found(void *edge, uint64_t oid);
/* What is set aside is read again: at a start, and each hour. Cheap when there is nothing. */
int damage_again(struct edge *e, struct err *err);

#endif
