/*
 * decided.h - which version of an instance viewers get, as central decided it (R3).
 *
 * A decision names a UID, the version that is current and all versions that were looked at.
 * The higher number wins, whenever it comes: a lower one never undoes a higher one. It may come
 * before any version it names. Versions that it did not look at follow R3 from there on.
 *
 * Tables:
 *	decided    UID   the decision (decided.c)
 *	undecided  UID   nothing: more than one version is known, and no decision looked at them
 *	                 all; or what was decided is not what viewers get here yet
 *	open       UID   nothing: a conflict that no person has decided
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_COMMON_STORE_DECIDED_H
#define SALAMANDER_COMMON_STORE_DECIDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/base/uid.h"

struct err;
struct store_tx;
struct version;

enum { DECIDED_MAX = 4096 /* versions under one UID that a decision names */ };

struct decided {
	uint64_t number; /* 0: none */
	struct id128 id;
	uint64_t follows; /* of the decision about the UID before it */
	uint64_t origin;  /* of the one that it says again; 0: none  */
	bool person;
	const unsigned char (*digests)[SHA256_SIZE]; /* the first is current; borrowed */
	const unsigned char *seen;		     /* of each: 1 if by a person; borrowed */
	size_t n;
};

/* a wins over b. */
bool decided_above(const struct decided *a, const struct decided *b);
bool decided_names(const struct decided *d, const unsigned char digest[SHA256_SIZE]);
/* A person looked at it: whatever it is in conflict with, that is decided. */
bool decided_seen(const struct decided *d, const unsigned char digest[SHA256_SIZE]);

/* ERR_ABSENT leaves e alone; out borrows as kv_get does. */
int decided_get(struct store_tx *tx, const char *uid, struct decided *out, struct err *e);
/* *taken: it is the highest of its UID. decided_settle makes it true. */
int decided_put(struct store_tx *tx, const char *uid, const struct decided *d, bool *taken,
		struct err *e);

/* What is known of a UID under its decision, if there is one. */
struct decided_state {
	struct version *versions; /* all that count, oldest first */
	size_t n;
	size_t current, target; /* of these; n: none. target: by decision and R3 */
	bool covered;		/* the decision looked at each of them            */
	bool known;		/* what it chose is one of them                   */
	bool conflict;		/* one that no person has decided                 */
	uint64_t number;	/* of the decision; 0: none                       */
};
int decided_state(struct store_tx *tx, const char *uid, struct decided_state *out, struct err *e);
void decided_state_fini(struct decided_state *s);

/*
 * Makes what was decided true: where the target is not current, fn makes it so (needs_bytes:
 * not while another one's bytes are here and its own are not), or says ERR_ABSENT: it cannot yet.
 * Then the rows of `undecided` and `open` say how it stands.
 */
int decided_settle(struct store_tx *tx, const char *uid, bool needs_bytes,
		   int (*fn)(void *arg, struct store_tx *tx, const struct version *v,
			     struct err *e),
		   void *arg, struct err *e);

/* The first behind `after` ("": of all); ERR_ABSENT at the end. */
int decided_undecided_next(struct store_tx *tx, const char *after, char uid[UID_SIZE],
			   struct err *e);
bool decided_is_undecided(struct store_tx *tx, const char *uid);
bool decided_is_open(struct store_tx *tx, const char *uid);

#endif
