/*
 * committed.h - images that a modality was told it need not keep (storage commitment).
 *
 * Table `committed`, by UID: "c" | UID -> flags (1), digest (32) of the version that was meant.
 * "h" | UID: of these, those that only this edge vouches for, since central's word did not come
 * in the peer's `commit_wait`; it goes when central has the image. Their number is kept in the
 * same transactions. What is called committed is told in the ledger, in the same commit, so that
 * a loss list says of what nobody else has a copy (R18); and in the dark none of it is evicted
 * (R10).
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_EDGE_COMMITTED_H
#define SALAMANDER_EDGE_COMMITTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct Sync__RefillAnswer; /* sync.pb-c.h */
struct edge;
struct err;
struct store_tx;
struct verdict_mark;
struct verdicts;
struct version;

#define COMMITTED_TABLE "committed"

/* safe and note, for storage commitment. */
void committed_verdicts(struct verdicts *out, struct edge *e);
/* Whoever commits for central has heard of it. true: some are not at central yet. */
bool committed_turned(void *edge);

/* This UID is. An error says yes. */
bool committed_has(struct store_tx *tx, const char *sop_instance);
/* How many only this edge vouches for. */
int committed_here_only(struct store_tx *tx, uint64_t *out, struct err *err);
int committed_note(void *edge, struct store_tx *tx, const struct verdict_mark *marks, size_t n,
		   struct err *err);
/* R10: those of a refill's page, whichever site told their senders. */
int committed_refilled(struct edge *e, struct store_tx *tx, const struct Sync__RefillAnswer *page,
		       struct err *err);
/* Each of them, for a store that is made anew. */
int committed_each(struct store_tx *tx,
		   int (*fn)(void *arg, const struct verdict_mark *mark, struct err *err),
		   void *arg, struct err *err);

#endif
