/*
 * known.h - what the site once announced, and has neither bytes nor an entry of here.
 *
 * A refill, or a `rebuild`, tells an edge of images that another ledger of the site announced.
 * The central that told it knows them; the next one, in its place, does not, and would list none
 * of them as lost (R18). So on each new epoch they are entered as known.
 * Threads: replicate's; a transaction's.
 */
#ifndef SALAMANDER_EDGE_KNOWN_H
#define SALAMANDER_EDGE_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

struct edge;
struct err;
struct store_tx;
struct version;

struct known_work {
	bool going;
	uint64_t from; /* oid */
};

/* In the commit of a new epoch: they are to be entered. */
int known_due(struct store_tx *tx, struct err *err);
/* At a start, or after known_due: is there something to do? A restart begins it anew. */
int known_begin(struct known_work *w, struct edge *e, struct err *err);
/* The next page; free when there is nothing to do. */
int known_page(struct known_work *w, struct edge *e, struct err *err);
/* R6: before v's own entry the study's record, if this ledger tells of none of its versions yet. */
int known_study(struct store_tx *tx, const struct edge *e, const struct version *v,
		struct err *err);

#endif
