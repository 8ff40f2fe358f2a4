/*
 * withdraw.h - what central does not show, by decision of a person (R15, R16, R27).
 *
 * Retract and restore are orders: in the log before they count, heard by every edge. What they
 * name stays: taken, kept, receipted, counted as withdrawn (R18). A central that lost its list
 * gets it back from the edges.
 * Threads: as the transactions; withdraw_give_back any.
 */
#ifndef SALAMANDER_CENTRAL_WITHDRAW_H
#define SALAMANDER_CENTRAL_WITHDRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uid.h"

struct asked;
struct central;
struct err;
struct http_answer;
struct http_request;
struct store_tx;
struct version;
struct Sync__Order;
struct withdrawn_node;

/* What of an image the ledgers tell, and the figures of it. */
extern const struct withdrawn_node withdraw_node;

/* What a RETRACT or RESTORE makes of the catalogue. */
int withdraw_apply(struct store_tx *tx, const struct Sync__Order *m, const void *bytes, size_t n,
		   struct err *e);
/* Is it hidden: by its digest, or by its UIDs? v: what is known of it, if it is not stored yet. */
int withdraw_says(struct store_tx *tx, const unsigned char *digest, const struct version *v,
		  bool *out, struct err *e);
/* The same of what may be stored. */
int withdraw_says_digest(struct store_tx *tx, const unsigned char *digest, bool *out,
			 struct err *e);

/* POST /sync/v1/orders: what an edge has heard from a central before this one. */
int withdraw_give_back(struct central *c, const struct http_request *rq, struct err *e);

/* retract UID --reason TEXT, restore UID --reason TEXT, retracted [--json] */
int withdraw_command(struct asked *a);
int withdraw_list(struct asked *a);

#endif
