/*
 * outbox.h - what is owed, by destination; packs under way; what the sync remembers.
 *
 * Tables beside the store's own:
 *	outbox   destination (1) | seq (be64)  oid, size, tries, not before, in a pack, age
 *	         0x40 + destination | seq      the same, of what arrived elsewhere before
 *	         0x80 + destination | first arrival (be64) | seq   nothing: their order (R28)
 *	packing  pack id (32)                  the manifest: pins its members (R14)
 *	sync     name                          epoch, counts, last receipt, hold
 *
 * A row comes in the transaction of the bytes and goes with a receipt, or with the
 * bytes themselves when they are found damaged. Counts are kept in the same
 * transactions.
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_EDGE_OUTBOX_H
#define SALAMANDER_EDGE_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"

struct buf;
struct err;
struct store;
struct store_tx;
struct version;

#define OUTBOX_TABLE "outbox"
#define PACKING_TABLE "packing"
#define SYNC_TABLE "sync"

enum outbox_to { OUTBOX_CENTRAL = 1 }; /* on disk: never renumber */

struct outbox_row {
	uint64_t seq, oid, size;
	uint32_t tries;
	int64_t not_before; /* store_time */
	int64_t first;	    /* store_time of its first arrival at any node */
	bool packed, parked;
	bool blamed; /* put off while central failed with everything: not for its own sake */
	bool aged;   /* which was before its seq says */
};
/* Of a version that nothing was tried with yet. */
struct outbox_row outbox_row(uint64_t seq, const struct version *v);

struct outbox_counts {
	uint64_t owed, owed_bytes; /* all rows                 */
	uint64_t packed, packed_bytes;
	uint64_t parked;
};

int outbox_counts(struct store_tx *tx, struct outbox_counts *out, struct err *e);
/* Adding a row that is there is free. */
int outbox_add(struct store_tx *tx, enum outbox_to to, uint64_t seq, const struct version *v,
	       struct err *e);
/* ERR_ABSENT leaves *out alone. */
int outbox_get(struct store_tx *tx, enum outbox_to to, uint64_t seq, struct outbox_row *out,
	       struct err *e);
/* Writes a row anew; counts follow. */
int outbox_change(struct store_tx *tx, enum outbox_to to, const struct outbox_row *row,
		  struct err *e);
/* *was: there was such a row. */
int outbox_del(struct store_tx *tx, enum outbox_to to, uint64_t seq, bool *was, struct err *e);
/* Rows from seq on upwards, until fn says other than 0. */
int outbox_each(struct store_tx *tx, enum outbox_to to, uint64_t seq,
		int (*fn)(void *arg, const struct outbox_row *row, struct err *e), void *arg,
		struct err *e);
/* All rows, the newest first (R28). */
int outbox_newest(struct store_tx *tx, enum outbox_to to,
		  int (*fn)(void *arg, const struct outbox_row *row, struct err *e), void *arg,
		  struct err *e);

/* What was put off or parked is tried again now: *n rows (R17). */
int outbox_try_now(struct store *s, size_t *n, struct err *e);

/* In the transaction that put blamed rows off; and once central took something again: they are
 * tried now, in packs of 100 at first. Cheap when there are none. */
int outbox_blamed(struct store_tx *tx, struct err *e);
int outbox_try_blamed(struct store *s, struct err *e);

int packing_put(struct store_tx *tx, const unsigned char id[SHA256_SIZE],
		const struct buf *manifest, struct err *e);
int packing_del(struct store_tx *tx, const unsigned char id[SHA256_SIZE], struct err *e);
/* All of them, borrowed; id: under which it was put. */
int packing_each(struct store_tx *tx,
		 int (*fn)(void *arg, const unsigned char id[SHA256_SIZE], const void *manifest,
			   size_t n, struct err *e),
		 void *arg, struct err *e);

/* Small values by name; absent: n 0, or zero. */
int sync_get(struct store_tx *tx, const char *name, struct buf *out, struct err *e);
int sync_put(struct store_tx *tx, const char *name, const void *p, size_t n, struct err *e);
int sync_id(struct store_tx *tx, const char *name, struct id128 *out, struct err *e);
int sync_number(struct store_tx *tx, const char *name, uint64_t *out, struct err *e);
int sync_set_number(struct store_tx *tx, const char *name, uint64_t v, struct err *e);

#endif
