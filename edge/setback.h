/*
 * setback.h - this copy of the edge was set back, or cloned: it goes on as another one (R8).
 *
 * Central is ahead of our ledger, or knows another one of our incarnation, or we do not say the
 * contact token that it gave last. Then the last seq is looked for up to which central's ledger
 * is ours (hello brings H of seqs that are asked for), and a new incarnation begins: an entry that
 * names the old one and that seq. Nothing of the ledger changes: what central knows of it counts
 * for the new incarnation as well, receipts included; what lies behind is announced under its
 * name, and owed until central has said that it holds it. What the former life announced and this
 * one has not is listed here as well (R20): a study is answered by all that is known of it.
 * Threads: replicate's, a transaction's; setback_relist: any one.
 */
#ifndef SALAMANDER_EDGE_SETBACK_H
#define SALAMANDER_EDGE_SETBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"

struct buf;
struct edge;
struct err;
struct ledger_head;
struct store_tx;
struct Sync__HelloAnswer;
struct Sync__HelloRequest;

/* Of the sync table: 1 until setback_relist was through. */
#define SETBACK_RELIST "relist"

struct setback { /* the search for the last common seq */
	bool going;
	uint64_t low, high;  /* common; what is above this one is not */
	uint64_t from, step; /* asked for in the next hello           */
	unsigned rounds;
};

/* The incarnation that the ledger is of now, and where it branched off (common 0: nowhere). */
struct branch {
	struct id128 incarnation, previous;
	uint64_t common;
	unsigned char hash[SHA256_SIZE];
};
int branch_read(struct store_tx *tx, struct branch *out, struct err *err);

/* Of the contact: in the commit of the first ledger entry; what hello says of it; and what an
 * answer gave, durable from here on. */
int contact_begin(struct store_tx *tx, struct err *err);
int contact_keep(struct edge *e, const void *token, size_t n, struct err *err);

/*
 * An answer to hello that does not fit. *found: up to s->low the ledgers are one; else another
 * hello, which asks for s->from and s->step, comes next.
 */
int setback_heard(struct setback *s, struct edge *e, const struct Sync__HelloAnswer *m, bool *found,
		  struct err *err);
/* The new incarnation, in one commit; packs under way are no more. */
int setback_branch(struct setback *s, struct edge *e, struct err *err);
/* R20: what the former life announced and this one has not is known from now on. For a thread that
 * may wait for central; nothing to do where e->relist is not set. */
struct link;
int setback_relist(struct edge *e, struct link *link, struct err *err);

#endif
