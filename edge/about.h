/*
 * about.h - which instances came here after central's list of decisions was read past them.
 *
 * An edge keeps no decision of R3 about an instance that it does not know (R12). So central is
 * asked once about each that its ledger tells of since: has it decided already?
 * Threads: the decisions' duty.
 */
#ifndef SALAMANDER_EDGE_ABOUT_H
#define SALAMANDER_EDGE_ABOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uid.h"
#include "proto/decision.h"

struct err;
struct store_tx;

struct about {
	uint64_t asked; /* own entries up to this seq need no asking    */
	uint64_t upto;	/* likewise, once the call under way is answered */
	size_t n;
	char uid[DECISION_ABOUT_MAX][UID_SIZE];
};

/* The next that are to be asked about, in entries after `asked`. none: the whole list is still to
 * be read, and will tell. */
int about_next(struct about *a, struct store_tx *tx, bool none, struct err *err);
/* At the start, and in the commit of what the answer brought. */
int about_load(struct about *a, struct store_tx *tx, struct err *err);
int about_save(const struct about *a, struct store_tx *tx, struct err *err);

#endif
