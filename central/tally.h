/*
 * tally.h - known = held + owed + lost + withdrawn, from scratch (R18).
 *
 * held: verified at central. owed: not here, and the latest entry of a live
 * incarnation of any site says it has the bytes. lost: not here, claimed by nobody.
 * withdrawn: under a retract decision. Over distinct digests; what several incarnations
 * announced counts for each of them, and once for their site. What an incarnation announced before
 * it branched off another one (R8) is its own.
 * Exposure: what exists nowhere else than at one site, if that building burnt now: owed, and
 * every live incarnation that says it has it is that site's.
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_CENTRAL_TALLY_H
#define SALAMANDER_CENTRAL_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "central/catalogue.h"

struct err;
struct store_tx;

enum tally_state { TALLY_HELD, TALLY_OWED, TALLY_LOST, TALLY_WITHDRAWN, TALLY_STATES };

struct exposure {
	uint64_t instances, bytes;
	uint64_t committed;	 /* of these: who sent them was told not to keep them */
	uint64_t oldest_seconds; /* since its first arrival at any node (R28) */
};

struct tally_row { /* of one incarnation: what it announced */
	struct site_row site;
	uint64_t known, of[TALLY_STATES];
	size_t leader; /* the first row of the same site, which tells of the site: */
	uint64_t site_known, site_of[TALLY_STATES];
	struct exposure site_exposure;
	/* of what is owed: how far behind central is, and for how long */
	uint64_t site_owed_bytes, site_owed_seconds;
	unsigned site_copies; /* of the leader: incarnations that are open and do not drain (R8) */
};

struct tally {
	struct tally_row *rows; /* incarnations, by site, the latest last */
	size_t n;
	uint64_t damaged; /* digests whose copy here failed its check, and is not healed */
};

struct tally_item {
	const struct version *v;
	enum tally_state state;
	const char *holder; /* owed: a site that says it has it */
	/* who announced it first, of the site that was asked for */
	const struct site_row *site;
	uint64_t seq;
};

void tally_free(struct tally *t);
/* Rows without numbers. */
int tally_sites(struct tally *out, struct store_tx *tx, struct err *e);
int tally_make(struct tally *out, struct store_tx *tx, struct err *e);
/* Each digest that the site (NULL: any) announced in any incarnation, once. */
int tally_each(struct store_tx *tx, const char *site,
	       int (*fn)(void *arg, const struct tally_item *item, struct err *e), void *arg,
	       struct err *e);
const char *tally_name(enum tally_state s);

#endif
