/*
 * withdrawn.h - what is not shown: decisions to retract and to restore, at both ends (R15, R27).
 *
 * A decision names a study, a series or an instance by its UID, and speaks of all of it, what is
 * here and what comes later. Of those that name an image, its study or its series the highest
 * counts: by rank (the number under which it was first given), then by number. So it does not
 * matter in which order they are heard, and hearing one again is free.
 *
 * Table withdrawn: UID   rank, number, store_time when it was heard here (u64 LE each), epoch (16),
 *                        the Order's bytes
 * Table standing: the same of sites that a person let in no more, or again (ORDER_SITE, R26): of
 * each the highest of "removed" and "may" by its name, the highest "suspended" by
 * STANDING_SUSPENDED and its name. So who was removed stays so, whoever suspends it, until a person
 * lets it in again.
 * Table rejections: the same of what rejection notes said, by its id (ORDER_REJECTED, rejected.h).
 * An image is hidden by this and by what rejected.h knows of it: both are settled together.
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_PROTO_WITHDRAWN_H
#define SALAMANDER_PROTO_WITHDRAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/store/version.h"

struct err;
struct store_tx;
struct version;
struct Sync__LedgerEntry; /* sync.pb-c.h */
struct Sync__Order;
struct Sync__Rejection;

#define WITHDRAWN_TABLE "withdrawn"
#define STANDING_TABLE "standing"
#define STANDING_SUSPENDED "suspended:"
#define REJECTIONS_TABLE "rejections"

/* Of enum version_hidden: what is decided here, whatever another node's word is (R15). */
enum { WITHDRAWN_BITS = VERSION_WITHDRAWN | VERSION_REJECTED | VERSION_POOR };

/* No number comes near it: one that somebody made up cannot use the numbers up. */
#define WITHDRAWN_RANK_MAX (UINT64_C(1) << 56)

#define WITHDRAWN_LIFE (UINT64_C(1) << 20)

struct withdrawn {
	bool yes;
	uint64_t rank, number;
	int64_t heard_ms; /* store_time */
};
/* What counts for this image; yes false, rank 0: nothing was decided. */
int withdrawn_says(struct store_tx *tx, const struct version *v, struct withdrawn *out,
		   struct err *e);
/* What was decided about this very UID. ERR_ABSENT leaves e alone. */
int withdrawn_get(struct store_tx *tx, const char *uid, struct withdrawn *out, struct err *e);

int rejections_get(struct store_tx *tx, const char *id, struct withdrawn *out, struct err *e);
int standing_get(struct store_tx *tx, const char *site, struct withdrawn *out, struct err *e);
/* What withdrawn_take of m would look at: the row of its subject. */
int withdrawn_known(struct store_tx *tx, const struct Sync__Order *m, struct withdrawn *out,
		    struct err *e);
/* May its site call, when this ORDER_SITE is taken? *out: Sync__Standing. */
int standing_with(struct store_tx *tx, const struct Sync__Order *m, int *out, struct err *e);

/* A RETRACT, RESTORE, REJECTED or SITE, and its bytes. *newer: its subject's row is this one from
 * now on. */
int withdrawn_take(struct store_tx *tx, const struct Sync__Order *m, const void *bytes, size_t n,
		   const struct id128 *epoch, bool *newer, struct err *e);
/* The central of this epoch knows it. */
int withdrawn_heard(struct store_tx *tx, const char *uid, const struct id128 *epoch, struct err *e);
int rejections_heard(struct store_tx *tx, const char *id, const struct id128 *epoch, struct err *e);
int standing_heard(struct store_tx *tx, const char *site, const struct id128 *epoch, struct err *e);
/* Another archive decides from now on, whose numbers begin at WITHDRAWN_LIFE: what the one before
 * it decided stays, in its order, below all that this one will. */
int withdrawn_other_archive(struct store_tx *tx, struct err *e);
uint64_t withdrawn_rank(const struct Sync__Order *m);

/* Who knows the ledger entry that told of v (NULL: nobody; the caller frees it). */
struct withdrawn_node {
	struct Sync__LedgerEntry *(*entry_of)(struct store_tx *tx, const struct version *v);
	/* NULL, or called before and after what hides it changes. */
	int (*leave)(struct store_tx *tx, const unsigned char *digest, struct err *e);
	int (*enter)(struct store_tx *tx, const unsigned char *digest, struct err *e);
};
/* enum version_hidden of v, as decided. */
int withdrawn_hides(struct store_tx *tx, const struct version *v, uint32_t *out, struct err *e);
/* v is shown or hidden as decided. *changed: it was not before. */
int withdrawn_settle(struct store_tx *tx, const struct version *v,
		     const struct withdrawn_node *node, bool *changed, struct err *e);
/* The same by its number, for what has just come. *hidden: enum version_hidden. */
int withdrawn_settle_new(struct store_tx *tx, uint64_t oid, uint32_t *hidden, struct err *e);
/* The same for each image that m names. *changed: how many. */
int withdrawn_settle_all(struct store_tx *tx, const struct Sync__Order *m,
			 const struct withdrawn_node *node, uint64_t *changed, struct err *e);
/* The same for each image that a rejection names. */
int withdrawn_settle_rejection(struct store_tx *tx, const struct Sync__Rejection *m,
			       const struct withdrawn_node *node, uint64_t *changed, struct err *e);

/* Rows from `from` on, by UID, until fn says other than 0; borrowed. */
struct withdrawn_row {
	const char *uid;
	struct withdrawn said;
	struct id128 epoch; /* in which it was heard last */
	const void *bytes;
	size_t n;
};
int withdrawn_rows(struct store_tx *tx, const char *from,
		   int (*fn)(void *arg, const struct withdrawn_row *row, struct err *e), void *arg,
		   struct err *e);
int rejections_rows(struct store_tx *tx,
		    int (*fn)(void *arg, const struct withdrawn_row *row, struct err *e), void *arg,
		    struct err *e);
int standing_rows(struct store_tx *tx,
		  int (*fn)(void *arg, const struct withdrawn_row *row, struct err *e), void *arg,
		  struct err *e);

#endif
