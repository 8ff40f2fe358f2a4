/*
 * outbox.h - what is owed, by destination and lane; packs under way; what the sync remembers.
 *
 * Tables beside the store's own:
 *	outbox   destination (1) | seq (be64)  oid, size, tries, not before, flags, lane, age:
 *	         of the fresh lane, in their order
 *	         0x40 + destination | seq      the same, of all others
 *	         0x80 + destination | lane (1) | first arrival (be64) | seq   their order (R28)
 *	         0x80 + destination | 0xff | not before (be64) | seq   the same, while put off
 *	packing  pack id (32)                  the manifest: pins its members (R14)
 *	sync     name                          epoch, counts, last receipt, hold
 *
 * A row comes in the transaction of the bytes and goes with a receipt, or with the
 * bytes themselves when they are found damaged. Counts are kept in the same
 * transactions. A row that is put off or parked is owed, and in no lane until it is due (R17).
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_EDGE_OUTBOX_H
#define SALAMANDER_EDGE_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "proto/lanes.h"

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
	int64_t not_before; /* store_time; 0: in its lane */
	int64_t first;	    /* store_time of its first arrival at any node */
	enum lane lane;
	bool packed, parked;
	bool blamed;  /* put off while central failed with everything: not for its own sake */
	bool ordered; /* by a key of its own: once it was not fresh, or put off */
};
/* Of a version that nothing was tried with yet. */
struct outbox_row outbox_row(uint64_t seq, const struct version *v, enum lane lane);

struct outbox_lane {
	uint64_t owed, owed_bytes; /* all its rows                  */
	uint64_t packed, packed_bytes;
	uint64_t late, late_bytes; /* put off or parked             */
};
struct outbox_counts {
	uint64_t owed, owed_bytes; /* of all lanes */
	uint64_t packed, packed_bytes;
	uint64_t parked;
	struct outbox_lane lanes[LANES];
};

int outbox_counts(struct store_tx *tx, struct outbox_counts *out, struct err *e);
/* Adding a row that is there is free: it stays in its lane. */
int outbox_add(struct store_tx *tx, enum outbox_to to, uint64_t seq, const struct version *v,
	       enum lane lane, struct err *e);
/* ERR_ABSENT leaves *out alone. */
int outbox_get(struct store_tx *tx, enum outbox_to to, uint64_t seq, struct outbox_row *out,
	       struct err *e);
/* Writes a row anew; counts follow. */
int outbox_change(struct store_tx *tx, enum outbox_to to, const struct outbox_row *row,
		  struct err *e);
/* *was: there was such a row. */
int outbox_del(struct store_tx *tx, enum outbox_to to, uint64_t seq, bool *was, struct err *e);

typedef int outbox_fn(void *arg, const struct outbox_row *row, struct err *e);
/* Rows from seq on upwards, until fn says other than 0. */
int outbox_each(struct store_tx *tx, enum outbox_to to, uint64_t seq, outbox_fn *fn, void *arg,
		struct err *e);
/* Those of a lane that are not put off: the newest first, or the oldest (R28). */
int outbox_newest(struct store_tx *tx, enum outbox_to to, enum lane lane, outbox_fn *fn, void *arg,
		  struct err *e);
int outbox_oldest(struct store_tx *tx, enum outbox_to to, enum lane lane, outbox_fn *fn, void *arg,
		  struct err *e);
/* Those that are put off, the first to be due first. */
int outbox_late(struct store_tx *tx, enum outbox_to to, outbox_fn *fn, void *arg, struct err *e);

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
