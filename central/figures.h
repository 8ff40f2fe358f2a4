/*
 * figures.h - known = held + owed + lost + withdrawn as running figures (R18).
 *
 * Kept in the transactions that make them true, per site (each image once, whatever incarnations
 * announced it) and over all; so is a site's exposure: what is owed, and no other site's live
 * incarnation has. Nobody counts the archive to print them. tally.h counts it from scratch;
 * `verify` does, while central serves, and compares.
 *
 * Tables of the catalogue:
 *	figure   "s" | site, or "a"   known, held, owed, lost, withdrawn, exposed, bytes of
 *	         these, damaged, bytes of what is owed, exposed and committed (u64 LE each); no
 *	         row: all zero. "i" | incarnation: the same of what this one announced itself.
 *	         "S", "A", "I": of a count under way
 *	         "b" | incarnation | one that branched off it (R8)   up to which seq (u64 LE)
 *	exposed, owing  site | 0 | first arrival (be64) | digest   bytes (u64 LE): what of it is
 *	         exposed, what of it is owed; the oldest first
 *
 * Whoever changes what is known of a digest (its bytes, what hides it) calls figures_leave before
 * and figures_enter after, in one closure; claim_put and site_put do so themselves. While an
 * incarnation is being closed, or opened, in pieces (site_turn), part of it counts as it was.
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_CENTRAL_FIGURES_H
#define SALAMANDER_CENTRAL_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "central/tally.h"
#include "common/base/digest.h"
#include "common/base/rng.h"

#define FIGURE_TABLE "figure"
#define EXPOSED_TABLE "exposed"
#define OWING_TABLE "owing"

struct err;
struct store_tx;

int figures_leave(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e);
int figures_enter(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e);
/* The same for all that this incarnation says, first at a seq of this part, that it has and central
 * does not hold: before and after it is closed or opened, or another one branches off (R8). */
int figures_leave_all(struct store_tx *tx, const struct id128 *incarnation, uint64_t first,
		      uint64_t last, struct err *e);
int figures_enter_all(struct store_tx *tx, const struct id128 *incarnation, uint64_t first,
		      uint64_t last, struct err *e);
/* *to: from `first` on about n of them are up to there; at most `last`. */
int figures_part(struct store_tx *tx, const struct id128 *incarnation, uint64_t first,
		 uint64_t last, unsigned n, uint64_t *to, struct err *e);
/* What the one announced up to this seq the other has announced as well. */
int figures_branch(struct store_tx *tx, const struct id128 *from, const struct id128 *incarnation,
		   uint64_t common, struct err *e);

/* tally_make's numbers of each site and of all, without counting; of an incarnation what it
 * announced itself. */
int figures_tally(struct tally *out, struct store_tx *tx, struct err *e);

struct figure {
	uint64_t known, of[TALLY_STATES];
	uint64_t exposed, exposed_bytes; /* of a site */
	uint64_t exposed_committed;	 /* of these: who sent them was told not to keep them */
	uint64_t damaged;		 /* of all: copies here, not healed */
	uint64_t owed_bytes;
};
/* Of one site ("": of all together), each image once. */
int figures_of_site(struct store_tx *tx, const char *site, struct figure *out, struct err *e);

/* --- what recount.h needs --- */

/* What one digest adds. */
struct share_word { /* the last word on it of one incarnation */
	struct id128 incarnation;
	char site[SITE_SIZE];
	uint64_t seq, first; /* of it; of the first that says "has it", 0: none does */
	bool has, closed;
	bool own; /* it said so itself, not only the one that it branched off */
};
struct share {
	struct version v;
	enum tally_state state;
	struct share_word *words;
	size_t n, cap;
	bool committed;	     /* committed.h */
	const char *exposed; /* the only site that has it; NULL: not owed, or another has it, too */
};
/* No words: nobody announced it. */
int share_of(struct share *out, struct store_tx *tx, const unsigned char digest[SHA256_SIZE],
	     struct err *e);
void share_fini(struct share *s);

enum figure_set { FIGURE_RUNNING, FIGURE_COUNTED };
/* A digest's share is added (1) or taken away (-1). */
int figures_add(struct store_tx *tx, enum figure_set set, const struct share *s, int sign,
		struct err *e);
/* A count is under way and has passed the digests below *from, or all. ERR_ABSENT: none is. */
int figures_counting(struct store_tx *tx, unsigned char from[SHA256_SIZE], bool *all,
		     struct err *e);
/* from NULL: it has passed all. */
int figures_count_from(struct store_tx *tx, const unsigned char *from, struct err *e);
/* Each row; key: of the running set, borrowed. */
int figures_each(struct store_tx *tx, enum figure_set set,
		 int (*fn)(void *arg, const void *key, size_t n, const struct figure *f,
			   struct err *e),
		 void *arg, struct err *e);
/* The running row is made this; all zero: none. */
int figures_set(struct store_tx *tx, const void *key, size_t n, const struct figure *f,
		struct err *e);
/* What was counted, and how far, is forgotten. */
int figures_count_ends(struct store_tx *tx, struct err *e);
/* Each row of `exposed` and `owing` that there should be for this share. */
enum { LISTED_KEY_MAX = SITE_SIZE + 8 + SHA256_SIZE };
struct listed {
	const char *table;
	unsigned char key[LISTED_KEY_MAX];
	size_t n;
};
int figures_listed(const struct share *s,
		   int (*fn)(void *arg, const struct listed *row, struct err *e), void *arg,
		   struct err *e);

#endif
