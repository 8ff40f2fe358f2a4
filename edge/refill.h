/*
 * refill.h - a new edge gets back what its site had: the list first, then bytes,
 * newest first (R20: viewers are served, and told what is missing, while it runs).
 *
 * What comes is checked against its digest and entered in the ledger as held, origin
 * central: not owed while central holds it (R7). Stops at 70 % of the quota (R12, R27: so nothing
 * has to go for it).
 * Threads: a command's; beside everything else.
 */
#ifndef SALAMANDER_EDGE_REFILL_H
#define SALAMANDER_EDGE_REFILL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"

struct Sync__LedgerEntry;
struct ctl_reply;
struct edge;
struct err;
struct object_info;
struct store_spool;
struct store_tx;

struct refill_config {
	bool group;	   /* what all sites announced               */
	const char *study; /* prefetch: this one alone; else NULL */
	uint64_t days;	   /* 0: all; by central's clock (R28)       */
	uint64_t bytes;	   /* 0: up to 70 % of the quota             */
};

struct refill_result {
	uint64_t known, here, came, bytes, absent, failed;
	bool stopped;
	/* R26: what others delivered was left out: by central's policy for this site, or until
	 * central knows that the site may read it. */
	bool by_policy, doubted;
};

/* R8, R20: all that the site announced in any incarnation is known here from now on, with or
 * without bytes; nothing is fetched. Gives up where central does not answer. */
struct link;
int refill_list(struct edge *e, struct link *link, struct err *err);
int refill_run(struct edge *e, const struct refill_config *c, struct ctl_reply *r,
	       struct refill_result *out, struct err *err);

/* One instance whose bytes came from central and were checked; in a closure: entered as held,
 * origin central (R7). */
struct refill_arrival {
	const struct Sync__LedgerEntry *entry; /* as central gave it                */
	uint64_t oid;			       /* known here                        */
	int origin;			       /* enum version_origin, of the entry */
	struct id128 epoch;		       /* of the central that gave it       */
	struct store_spool *spool;
	const struct object_info *info; /* what a scan found, or NULL */
};
int refill_enter(struct store_tx *tx, const struct refill_arrival *a, struct edge *e, bool *came,
		 struct err *err);

#endif
