/*
 * verify.h - re-reads every pack, whatever its last check, and recounts holdings (R19).
 *
 * What is damaged loses its bits; another pack that holds it whole counts from then on; else
 * an edge that still has it sends it again, which verify waits for a while. What nobody has is
 * lost, and listed.
 * Threads: beside everything else.
 */
#ifndef SALAMANDER_CENTRAL_VERIFY_H
#define SALAMANDER_CENTRAL_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "central/recount.h"

struct central;
struct ctl_reply;
struct err;

struct verify_result {
	uint64_t packs, members, damaged, healed, wrong_bits;
	uint64_t wrong_claims;	/* rows that an entry of a ledger makes otherwise */
	uint64_t torn;		/* entries that are not what their chain says (R5) */
	struct recount figures; /* R18 */
	uint64_t absent;	/* members of packs whose files are gone */
	uint64_t frames;	/* packs whose members are whole, but not what lies between them */
	uint64_t unread; /* packs that could not be looked at: nothing is said of their members */
};

/* wait: for edges to heal what was found, when central serves. */
int verify_all(struct central *c, struct ctl_reply *r, bool wait, struct verify_result *out,
	       struct err *e);
/* The catalogue alone: holdings bits and the running figures, recomputed from the ledgers. */
int verify_ledger(struct central *c, struct ctl_reply *r, struct verify_result *out, struct err *e);

#endif
