/*
 * verdicts.h - may an image be called committed? (storage commitment, PS3.4 annex J)
 *
 * Success when the archive holds a version of the UID now, of the class that was named; for a
 * peer with `commit = edge`, or when its `commit_wait` has run out, when this node's own copy is
 * durable. Never a failure because of the WAN: what is known here and not at central yet waits.
 * Failures: 0112 when no version became known within 15 min, 0119 when all are of other classes,
 * 0110 when the bytes of a known one came neither here nor to central within 14 days.
 * What is said is durable, and noted by the node, before anybody hears of it.
 * Threads: as the store.
 */
#ifndef SALAMANDER_COMMON_DIMSE_VERDICTS_H
#define SALAMANDER_COMMON_DIMSE_VERDICTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/uid.h"

struct err;
struct peer;
struct store;
struct store_tx;
struct version;

enum { VERDICTS_PAGE = 256, VERDICTS_IMAGE_MS = 15 * 60 * 1000 };
#define VERDICTS_BYTES_MS (14 * INT64_C(86400000))

struct verdict_mark { /* an instance that is called committed */
	char sop_instance[UID_SIZE];
	unsigned char digest[SHA256_SIZE]; /* of the version that is meant */
	bool here_only;			   /* central's word was waited for in vain */
};

struct verdicts {
	struct store *store;
	/* Does the archive hold this version, as far as is known now? */
	bool (*safe)(void *arg, struct store_tx *tx, const struct version *v);
	/* In the closure that says so; up to VERDICTS_PAGE. NULL: nobody notes it. */
	int (*note)(void *arg, struct store_tx *tx, const struct verdict_mark *marks, size_t n,
		    struct err *e);
	void *arg;
	/* The digests that are about to be called committed, outside of all transactions: durable
	 * on 0. More than is said then may be foretold, never less. NULL: note is enough. */
	int (*foretell)(void *arg, const struct verdict_mark *marks, size_t n, struct err *e);
};

/* Decides what can be decided now of a request; peer NULL: as by default. *ready: all of it is.
 * ERR_ABSENT: there is no such request. */
int verdicts_progress(const struct verdicts *v, const struct peer *peer, uint64_t number,
		      bool *ready, struct err *e);

#endif
