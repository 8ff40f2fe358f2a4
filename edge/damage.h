/*
 * damage.h - a copy here that fails its check is entered as damaged.
 *
 * From then on central's copy is what counts, so that `held + owed + lost` stays true (R18), and
 * the same image, sent again, is stored again (R4). But a read that failed says little of the
 * disk: the bytes are set aside, and freed only when central holds the image. What turns out
 * to be good is entered as held again; what central holds is fetched back (mend.h).
 *
 * Table `damaged`: oid (be64) -> tries (u32 LE), not before (i64 LE, store_time). A row comes with
 * the entry, and goes when the bytes are good again, or some other way.
 * Threads: any; what takes a transaction, as that.
 */
#ifndef SALAMANDER_EDGE_DAMAGE_H
#define SALAMANDER_EDGE_DAMAGE_H

#include <stdint.h>

#define DAMAGED_TABLE "damaged"

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

struct damage_row {
	uint64_t oid;
	uint32_t tries;	    /* to fetch it */
	int64_t not_before; /* store_time  */
};
/* From oid on upwards, until fn says other than 0; that is returned. */
int damage_each(struct store_tx *tx, uint64_t oid,
		int (*fn)(void *arg, const struct damage_row *row, struct err *e), void *arg,
		struct err *e);
int damage_count(struct store_tx *tx, uint64_t *out, struct err *e);
int damage_put(struct store_tx *tx, const struct damage_row *row, struct err *e);
int damage_del(struct store_tx *tx, uint64_t oid, struct err *e); /* one that is not there: 0 */
/* Its bytes are here again: the entry that announced them, again (R5, R18), and the version's. */
int damage_announce(struct store_tx *tx, const struct edge *e, const struct version *v,
		    uint64_t *seq, struct err *err);

#endif
