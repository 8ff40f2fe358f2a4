/*
 * commitments.h - requests for storage commitment that are not settled yet, on disk.
 *
 * Table of the node's, beside the store's own:
 *	commitments  "r" | number (be64)               the request
 *	             "i" | number (be64) | index (be32)  one of its instances, and the verdict
 *	             "t" | 32 bytes                    number of whose transaction this is: a hash
 *	             "n"                               the last number, and how many there are
 *
 * A request is answered with success when these rows are durable, and they are gone when its
 * result was taken. Verdicts are given in the order of the list: `decided` counts them.
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_COMMON_DIMSE_COMMITMENTS_H
#define SALAMANDER_COMMON_DIMSE_COMMITMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uid.h"
#include "common/dicom/assoc.h"

struct buf;
struct err;
struct reference;
struct references;
struct store;
struct store_tx;

#define COMMITMENTS_TABLE "commitments"

enum { COMMITMENTS_MOST = 10000, COMMITMENT_PEER_SIZE = 64 };

struct commitment_row {
	uint64_t number;
	char peer[COMMITMENT_PEER_SIZE]; /* the section's name */
	char calling[ASSOC_AET_SIZE], called[ASSOC_AET_SIZE];
	char transaction[UID_SIZE];
	unsigned char list[32]; /* SHA-256 of what was asked for */
	uint32_t n, decided, failed, here_only, tries;
	/* store_time */
	int64_t asked_ms;
	int64_t ready_ms; /* all is decided: since then; 0: it is not */
	int64_t next_ms;  /* its result is offered not before         */
};

/*
 * A new request: number and list are filled here. The same transaction of the same caller with
 * the same list: *row is the one that is there (*again). With another list: all of this one is
 * refused (REASON_DUPLICATE_TRANSACTION) and ready. ERR_FULL: COMMITMENTS_MOST wait.
 */
int commitments_add(struct store_tx *tx, struct commitment_row *row, const struct references *r,
		    bool *again, struct err *e);
/* store_time, but never 0. */
int64_t commitments_time(struct store *s);
/* ERR_ABSENT: it is settled. */
int commitments_get(struct store_tx *tx, uint64_t number, struct commitment_row *out,
		    struct err *e);
int commitments_put(struct store_tx *tx, const struct commitment_row *row, struct err *e);
/* With its instances, 0 or ERR_ABSENT. */
int commitments_del(struct store_tx *tx, uint64_t number, struct err *e);
int commitments_count(struct store_tx *tx, uint64_t *out, struct err *e);
/* Requests from this number on, until fn says other than 0; that is returned. */
int commitments_each(struct store_tx *tx, uint64_t from,
		     int (*fn)(void *arg, const struct commitment_row *row, struct err *e),
		     void *arg, struct err *e);
/* One instance; its reason is meant once the row has `decided` it. */
int commitments_instance(struct store_tx *tx, uint64_t number, uint32_t index,
			 struct reference *out, struct err *e);
int commitments_verdict(struct store_tx *tx, uint64_t number, uint32_t index,
			const struct reference *with_reason, struct err *e);
/* Up to `most` instances from index from on, appended to out. */
int commitments_list(struct store_tx *tx, uint64_t number, uint32_t from, uint32_t most,
		     struct references *out, struct err *e);

#endif
