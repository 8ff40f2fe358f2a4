/*
 * members.h - the site table: what was decided about each site (R24, R25, R26).
 *
 * Table `member` of the catalogue: name -> sync.MemberRow. Every change is a decision in the
 * log, applied here when it is new, at a start and in a rebuild.
 * A site that nobody decided about has no row: with a CA of our own it is entered with
 * the first certificate that it shows (gate.h), with the operator's with the newest valid one;
 * without certificates its name is enough.
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_CENTRAL_MEMBERS_H
#define SALAMANDER_CENTRAL_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http/pki.h"
#include "common/store/version.h"
#include "proto/bandwidth.h"
#include "proto/sync.pb-c.h"

struct err;
struct store_tx;

struct member {
	char site[SITE_SIZE];
	bool keyed;
	unsigned char key[PKI_PRINT];
	int64_t from_ms, until_ms; /* of its certificate; 0: not known */
	bool suspended, removed, own;
	bool coded; /* there is a join code */
	unsigned char code[SHA256_SIZE];
	int64_t code_until_ms;
	bool code_used;
	unsigned char code_key[PKI_PRINT];
	bool refused;
	unsigned char refused_key[PKI_PRINT];
	int64_t refused_ms;
	bool showed; /* a certificate of this CA, last */
	unsigned char ca[PKI_PRINT];
	struct bandwidth bandwidth; /* what it may use of its link */
	/* R26: it came in by its certificate alone, at a central that does not know it, or that
	 * has another epoch since; it may have been removed, as the edges remember. Until more
	 * than half of the others have told who was, or a person says so, it delivers, and reads
	 * what it delivered. */
	bool unvouched;
	bool vouches; /* it has told that */
};

/* ERR_ABSENT leaves e alone. */
int member_get(struct store_tx *tx, const char *site, struct member *out, struct err *e);
int member_each(struct store_tx *tx, int (*fn)(void *arg, const struct member *m, struct err *e),
		void *arg, struct err *e);
/* More than half of the others that may call have told all that they keep of who may. */
int member_vouched(struct store_tx *tx, const char *site, bool *out, struct err *e);
/* R22: central may have forgotten who was removed: each is vouched for anew. */
int member_new_epoch(struct store_tx *tx, struct err *e);
/* DECISION_SITE_*; others change nothing. */
int member_apply(struct store_tx *tx, const Sync__LogDecision *d, struct err *e);

/* It may call by a key, and has not shown that it has a certificate of this CA. */
bool member_behind(const struct member *m, const unsigned char ca[PKI_PRINT]);
/* "active", "invited", "suspended", "removed" */
const char *member_state(const struct member *m);
/* 1 to 64 of letters, digits, '.', '_', '-'; not as central's own certificate is called. */
bool member_name_valid(const char *site);

#endif
