/*
 * holdings.h - what central's bits say of our ledger (R19), and what a new epoch means (R22).
 *
 * Threads: replicate's.
 */
#ifndef SALAMANDER_EDGE_HOLDINGS_H
#define SALAMANDER_EDGE_HOLDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/rng.h"

struct edge;
struct err;

#define HOLDINGS_DUE UINT64_MAX /* in place of `losses`: no whole comparison yet */

/* What a comparison of the whole ledger found: images by the entry that speaks for them now. */
struct comparison {
	uint64_t asked;	  /* how far the edge's `compares` had come when it began    */
	uint64_t entries; /* of the ledger, compared                                */
	uint64_t held;	  /* at central                                             */
	uint64_t owed;	  /* not at central, here, and owed as it was               */
	uint64_t queued;  /* not at central, here: owed from now on                 */
	uint64_t parked;  /* of either: until now; they are tried again (R17)       */
	uint64_t damaged; /* not at central, and the copy here fails its check      */
	uint64_t gone;	  /* not at central, and not here: its `loss` lists it (R18) */
};

/*
 * An answer about holdings on its way into the store, a page (a commit) at a time, so that
 * the ledger never waits for the whole of it.
 */
struct holdings_work {
	struct id128 epoch;
	uint64_t first, next, end; /* seqs; next: not applied yet */
	struct buf bits;	   /* of first, first + 1, ...    */
	bool whole;
	struct comparison found; /* whole: in the pages so far; grows from answer to answer */
};

/*
 * bits (borrowed): of seqs first to first + count - 1. A bit that is set is as good as a
 * receipt of this epoch. whole: what has bytes here and no bit is owed again; else only
 * rows of the outbox are looked at. What a whole round found begins anew with seq 1.
 */
int holdings_begin(struct holdings_work *w, const struct id128 *epoch, uint64_t first,
		   uint64_t count, const unsigned char *bits, bool whole, struct err *err);
/* The next page; *done: that was all. */
int holdings_page(struct holdings_work *w, struct edge *e, bool *done, struct err *err);
/* Of a receipt of this epoch, newer than the answer: these are held, whatever the bits say. */
void holdings_receipted(struct holdings_work *w, uint64_t first, uint64_t last);
void holdings_end(struct holdings_work *w); /* leaves it empty; one that never began is fine */
/* Commits it: what another central receipted is history, and a comparison of the whole is due. */
int holdings_new_epoch(struct edge *e, const struct id128 *archive, const struct id128 *epoch,
		       struct err *err);
/* The whole ledger was compared with central's bits as of `losses`. */
int holdings_compared(struct edge *e, const struct id128 *epoch, uint64_t losses, struct err *err);

#endif
