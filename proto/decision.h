/*
 * decision.h - what central decided, as it travels and is kept; which of two counts (R3, R16).
 *
 * Threads: none of its own.
 */
#ifndef SALAMANDER_PROTO_DECISION_H
#define SALAMANDER_PROTO_DECISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/store/decided.h"

struct err;
struct Sync__Decision;

/* No number comes near it: one that somebody made up cannot use the numbers up. */
#define DECISION_NUMBER_MAX (UINT64_C(1) << 56)
/* Of what another key sealed: whoever makes that up leaves central's own numbers room. */
#define DECISION_FOREIGN_MAX (UINT64_C(1) << 48)
/* A central that hears of decisions which it forgot goes on so far above them: others have heard of
 * some that no edge has given back yet. */
#define DECISION_STEP (UINT64_C(1) << 20)
/* Instances that one request asks about. */
enum { DECISION_ABOUT_MAX = 500 };

/* Filled from the message; false when it is not of the kind DECIDED_CURRENT, whole. *digests,
 * which it borrows, is the caller's to free. */
bool decision_current(struct decided *out, unsigned char (**digests)[SHA256_SIZE],
		      const struct Sync__Decision *m);

/*
 * A decision about the same UID comes to a central that has `own` (number 0: none), from an edge
 * that kept it through a fire or a set-back of central.
 */
enum decision_merge {
	DECISION_KEEP,	    /* own stands, and has the higher number                     */
	DECISION_TAKE,	    /* it is the higher one, and counts                          */
	DECISION_SAY_AGAIN, /* own stands; its number must be above the other's          */
	DECISION_ADOPT	    /* the other one counts, in a decision of ours, numbered anew */
};
/* sealed: with this central's key, so that it may stand in the list as it is. */
enum decision_merge decision_merge(const struct decided *own, const struct decided *other,
				   bool sealed);

#endif
