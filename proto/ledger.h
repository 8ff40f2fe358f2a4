/*
 * ledger.h - an edge's append-only, hash-chained account of what happened (R5, R6).
 *
 * Entry n lies under its seq in table "ledger": H(n), then the entry's bytes.
 * H(n) = SHA-256(H(n-1) + entry bytes), H(0) is 32 zero bytes; seqs begin at 1 and
 * have no gap. The first entry names the incarnation, so that no two chains are
 * alike. An entry is appended in the transaction of what it tells of, never changed.
 *
 * Errors: those of the store; ERR_CORRUPT when the chain does not hold.
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_PROTO_LEDGER_H
#define SALAMANDER_PROTO_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/dicom/attrs.h"

struct buf;
struct err;
struct index_sets;
struct store_tx;
struct version;
struct Sync__LedgerEntry; /* sync.pb-c.h */
struct Sync__Rejection;

/* Tables for store_config.extra_tables. */
#define LEDGER_TABLE "ledger"

struct ledger_head {
	uint64_t seq; /* 0: empty */
	unsigned char hash[SHA256_SIZE];
};

int ledger_head(struct store_tx *tx, struct ledger_head *out, struct err *e);
int ledger_append(struct store_tx *tx, const struct buf *entry, uint64_t *seq, struct err *e);
/* Calls fn for each entry from seq on, until it says other than 0. */
int ledger_read(struct store_tx *tx, uint64_t seq,
		int (*fn)(void *arg, uint64_t seq, const unsigned char hash[SHA256_SIZE],
			  const void *entry, size_t n, struct err *e),
		void *arg, struct err *e);
/* Recomputes the chain; *bad is the first seq that does not hold. */
int ledger_verify(struct store_tx *tx, uint64_t *bad, struct err *e);

/* Entries. Memory that runs out shows as buf_failed. */
void ledger_incarnation(struct buf *out, const struct id128 *incarnation, const char *site,
			int64_t wall_ms);
/* R8: from here on the ledger is of another incarnation, which has all of it up to seq `common`,
 * where H is `hash`, in common with `previous` as central knows that. */
void ledger_branch(struct buf *out, const struct id128 *incarnation, const char *site,
		   const struct id128 *previous, uint64_t common,
		   const unsigned char hash[SHA256_SIZE], int64_t wall_ms);
/* The record that names the people to call (R6); aet: the station that sent. corrected (NULL:
 * nothing): what of it is not as the records before it said. */
void ledger_study(struct buf *out, const char *study, struct attrs record,
		  const struct tags *corrected, const char *aet, int64_t wall_ms);
/* sets->dropped: what a revision leaves out (R3); sets->study is not told here. age_ms: since its
 * first arrival at any node (R28). */
void ledger_instance(struct buf *out, const struct version *v, const struct index_sets *sets,
		     const struct buf *side, int64_t age_ms, int64_t wall_ms);
/* The same of a version that the site announced in a ledger which is no more, and whose bytes are
 * not here: LEDGER_KNOWN (R18). */
void ledger_known(struct buf *out, const struct version *v, const struct index_sets *sets,
		  int64_t age_ms, int64_t wall_ms);
/* Its bytes are here no more: LEDGER_EVICTED, LEDGER_EVICTED_DARK, LEDGER_DAMAGED. */
void ledger_gone(struct buf *out, int kind, const struct version *v, int64_t wall_ms);
/* Whoever sent these was told that he need not keep them: LEDGER_COMMITTED. */
void ledger_committed(struct buf *out, const unsigned char *const *digests, size_t n,
		      int64_t wall_ms);
enum { LEDGER_COMMITTED_MAX = 1000 }; /* digests */
/* A rejection note counts, or does no more: LEDGER_REJECTED. */
void ledger_rejected(struct buf *out, const struct Sync__Rejection *m, int64_t wall_ms);
/* Whether entries of this kind say that the site has an instance's bytes, or has them no more. */
bool ledger_says_has(int kind);
bool ledger_says_gone(int kind);
/* It tells of a version without having its bytes. */
bool ledger_says_known(int kind);
/* The version that an instance entry tells of; false when its digest is none. */
bool ledger_version(struct version *out, const struct Sync__LedgerEntry *entry);
void ledger_corrected(struct tags *out, const struct Sync__LedgerEntry *entry);
/* H(n) from H(n-1), in place (R5). */
void ledger_chain(unsigned char hash[SHA256_SIZE], const void *entry, size_t n);
/* H at seq; ERR_ABSENT behind the head. */
int ledger_hash(struct store_tx *tx, uint64_t seq, unsigned char out[SHA256_SIZE], struct err *e);
/* One entry's bytes, borrowed as kv_get's values are. */
int ledger_get(struct store_tx *tx, uint64_t seq, const void **entry, size_t *n, struct err *e);

/* What a study record holds of the study's row (R6). */
void ledger_record(struct buf *out, struct attrs study_row);

#endif
