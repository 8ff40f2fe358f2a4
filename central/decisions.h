/*
 * decisions.h - what central decided, numbered, for every edge to hear: which version of an
 * instance viewers get (R3).
 *
 * A decision is a record of the log before anybody hears of it (R16); the list of all of them
 * and what follows from them are rows of the catalogue. What R3 says by itself is decided as soon
 * as a ledger tells of more than one version under a UID; a person decides by `conflicts resolve`.
 * A central that lost its list gets it back from the edges, each decision once.
 *
 * Tables: decided_at (place, be64: the decision's bytes), decided_id (id: place, u64 LE).
 * Threads: any; what writes takes central's `order` lock unless it is named _locked.
 */
#ifndef SALAMANDER_CENTRAL_DECISIONS_H
#define SALAMANDER_CENTRAL_DECISIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"

struct buf;
struct central;
struct err;
struct http_answer;
struct http_request;
struct store_tx;
struct Sync__LogDecision;

#define DECIDED_AT_TABLE "decided_at"
#define DECIDED_ID_TABLE "decided_id"

/* In a closure: what a record of the log says. */
int decisions_apply(struct store_tx *tx, const struct Sync__LogDecision *m, struct err *e);
/* Decides by R3 what nobody has yet; a failure leaves it for the next time. */
int decisions_make_locked(struct central *c, struct err *e);
int decisions_make(struct central *c, struct err *e);
/* A person: of this UID the version with this digest is current. by: the site that says so, or "".
 * ERR_ABSENT: no such version. */
int decisions_resolve(struct central *c, const char *uid, const unsigned char digest[SHA256_SIZE],
		      const char *why, const char *by, struct err *e);
/* The digest of the one version of uid that begins with these hex digits. */
int decisions_find(struct central *c, const char *uid, const char *hex,
		   unsigned char out[SHA256_SIZE], struct err *e);
int decisions_total(struct store_tx *tx, uint64_t *out, struct err *e);

/* The routes. */
int decisions_answer(struct central *c, const struct http_request *rq, struct http_answer *out,
		     struct err *e);
int decisions_resolve_answer(struct central *c, const struct http_request *rq,
			     struct http_answer *out, struct err *e);

#endif
