/*
 * pledges.h - what archives were asked to commit to, and what they said, on disk (storage
 * commitment as SCU, PS3.4 annex J).
 *
 * Table of the node's, beside the store's own:
 *	pledges  "r" | number (be64)                 a request: one transaction of one archive
 *	         "q" | number (be64) | index (be32)  one of its instances
 *	         "t" | transaction UID               the number of whose request it is
 *	         "i" | archive | 0 | SOP Instance UID  where the image stands with that archive
 *	         "c" | archive                       how many images stand where
 *	         "n"                                 the last number
 *
 * An image stands as its last request says: what a former one brings later changes nothing. A
 * request that is settled stays for PLEDGES_KEPT_MS, so that a result that comes again is known.
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGES_H
#define SALAMANDER_COMMON_DIMSE_PLEDGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/uid.h"
#include "common/dicom/assoc.h"
#include "common/dimse/commitments.h"

struct err;
struct store_tx;

#define PLEDGES_TABLE "pledges"
#define PLEDGES_KEPT_MS (14 * INT64_C(86400000))

/* On disk: never renumber. */
enum pledge_phase {
	PLEDGE_SENDS = 1,  /* what the archive lacks goes there first */
	PLEDGE_ASKS = 2,   /* its N-ACTION is not answered with success yet */
	PLEDGE_WAITS = 3,  /* for the result */
	PLEDGE_SETTLED = 4 /* it has come, or will not */
};

/* On disk: never renumber. */
enum pledge_state {
	PLEDGE_OPEN = 0,
	PLEDGE_COMMITTED = 1,
	PLEDGE_REFUSED = 2,  /* by the archive, for a reason of PS3.3 C.14.1 or a status */
	PLEDGE_RAN_OUT = 3,  /* it said nothing of it in time */
	PLEDGE_NOT_SENT = 4, /* it did not take the image */
	PLEDGE_STATES = 5
};

enum { PLEDGE_WHY_SIZE = 160 };

struct pledge_row {
	uint64_t number;
	char archive[COMMITMENT_PEER_SIZE]; /* the section's name     */
	char calling[ASSOC_AET_SIZE];	    /* the title of ours      */
	char transaction[UID_SIZE];
	uint32_t n;
	enum pledge_phase phase;
	bool out; /* the N-ACTION of this transaction may have gone out */
	uint32_t tries;
	uint32_t half_s; /* so long before its end it is asked without what is not taken */
	uint32_t status; /* of the last answer to an N-ACTION; 0: none, or success */
	int64_t next_ms; /* store_time: not tried before      */
	int64_t ends_ms; /* store_time: it is given up; settled: forgotten */
	char why[PLEDGE_WHY_SIZE]; /* the last try was in vain; "" if none was */
};

struct pledge {
	char sop_class[UID_SIZE], sop_instance[UID_SIZE];
	enum pledge_state state;
	unsigned reason; /* of a refusal */
	bool seen;	 /* a person has looked at what became of it */
	bool sent;	 /* the archive has it: it took this version, or says so */
	bool renewed;	 /* what it has, if it has it, is another version of ours */
	uint64_t number; /* of its last request */
	unsigned char digest[SHA256_SIZE]; /* of the version that was meant, or that it took last */
	uint64_t oid;			   /* of what is to be asked for; not on disk: a rebuild
					    * gives it to others */
};

struct pledge_counts {
	char archive[COMMITMENT_PEER_SIZE];
	uint64_t of[PLEDGE_STATES];
	uint64_t unseen; /* of what is neither open nor committed */
};

/* p means this version of ours now; of one that is gone nothing is equal to it. */
int pledge_means(struct store_tx *tx, struct pledge *p, uint64_t oid, struct err *e);
/* A new request about all of these, by oid: number, n and transaction are filled here. */
int pledges_add(struct store_tx *tx, struct pledge_row *row, const struct pledge *all, size_t n,
		struct err *e);
/* ERR_ABSENT: there is none, or it is forgotten. */
int pledges_get(struct store_tx *tx, uint64_t number, struct pledge_row *out, struct err *e);
int pledges_of_transaction(struct store_tx *tx, const char *transaction, struct pledge_row *out,
			   struct err *e);
int pledges_put(struct store_tx *tx, const struct pledge_row *row, struct err *e);
/* PS3.4 J.3.2: a transaction is used once. */
int pledges_new_transaction(struct store_tx *tx, struct pledge_row *row, struct err *e);
/* Its instances are asked for no more. ends_ms: when it is forgotten. */
int pledges_settle(struct store_tx *tx, struct pledge_row *row, int64_t ends_ms, struct err *e);
int pledges_forget(struct store_tx *tx, const struct pledge_row *row, struct err *e);
/* Requests from this number on, until fn says other than 0; that is returned. */
int pledges_each(struct store_tx *tx, uint64_t from,
		 int (*fn)(void *arg, const struct pledge_row *row, struct err *e), void *arg,
		 struct err *e);

/* The instances of a request that wait for its word, until fn says other than 0. */
int pledges_open(struct store_tx *tx, const struct pledge_row *row,
		 int (*fn)(void *arg, const struct pledge *p, struct err *e), void *arg,
		 struct err *e);
/* Where an image stands; ERR_ABSENT: that archive was never asked. */
int pledge_get(struct store_tx *tx, const char *archive, const char *sop_instance,
	       struct pledge *out, struct err *e);
int pledge_put(struct store_tx *tx, const char *archive, const struct pledge *p, struct err *e);
/* A person has looked at it, as it was listed; what became of it since nobody has. */
int pledge_saw(struct store_tx *tx, const char *archive, const struct pledge *listed,
	       struct err *e);
/* Those of an archive behind this UID ("": all), until fn says other than 0. */
int pledge_each(struct store_tx *tx, const char *archive, const char *after,
		int (*fn)(void *arg, const struct pledge *p, struct err *e), void *arg,
		struct err *e);
/* Each archive that was ever asked. */
int pledges_counts(struct store_tx *tx,
		   int (*fn)(void *arg, const struct pledge_counts *c, struct err *e), void *arg,
		   struct err *e);

#endif
