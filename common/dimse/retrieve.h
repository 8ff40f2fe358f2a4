/*
 * retrieve.h - C-MOVE and C-GET of Patient Root and Study Root (PS3.4 C.4.2, C.4.3).
 *
 * Covers the known list (R20): what has no bytes here, or cannot be had in a syntax that
 * the receiver takes, is a failed sub-operation, never left out under 0000.
 * Bytes go from the store to the wire unchanged where the receiver takes the stored syntax,
 * else through a worker (recode.h); a slow reader holds no read
 * transaction. Counters each second and every tenth; cancel ends with FE00. What a destination
 * broke off, or had no room for, is tried again on a new association; a large C-MOVE goes over
 * several at once where the destination is set so.
 * Threads: called by the association's own.
 */
#ifndef SALAMANDER_COMMON_DIMSE_RETRIEVE_H
#define SALAMANDER_COMMON_DIMSE_RETRIEVE_H

#include <stddef.h>
#include <stdint.h>

struct clock;
struct dimse_caller;
struct err;
struct message;
struct recode;
struct store;

struct retrieve_config {
	struct store *store;
	struct clock *clock;
	unsigned seconds; /* for a sub-association and for each answer */
	unsigned retries; /* C-MOVE: of a sub-operation that failed, each on a later association */
	/* This copy failed its check on the way out. NULL: it is only logged. */
	void (*damaged)(void *arg, uint64_t oid);
	void *arg;
	struct recode *recode; /* NULL: nothing is recoded */
};

/* What a receiver's answer to a C-STORE makes of a sub-operation (PS3.4 B.2.3). */
enum retrieve_outcome { RETRIEVE_STORED, RETRIEVE_WARNED, RETRIEVE_AGAIN, RETRIEVE_FAILED };
struct retrieve_status {
	unsigned first, last;
	enum retrieve_outcome outcome;
	const char *meaning;
};
/* The table that the conformance statement prints; the last row holds all others. */
const struct retrieve_status *retrieve_statuses(size_t *n);

int retrieve_get(const struct retrieve_config *c, const struct dimse_caller *who,
		 const struct message *rq, struct err *e);
int retrieve_move(const struct retrieve_config *c, const struct dimse_caller *who,
		  const struct message *rq, struct err *e);

#endif
