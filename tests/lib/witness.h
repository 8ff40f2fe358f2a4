/*
 * witness.h - what a node promised, and whether it still holds on a disk that a power cut left.
 *
 * A mark is what was answered, as a text: of an edge the path of a file that it
 * acknowledged; of central what left it for an edge:
 *	epoch <32 hex>
 *	ledger <incarnation> <head> <64 hex: H there>
 *	receipt <incarnation> <first> <last> <64 hex: H at last>
 * check: every mark before the cut still holds, every object at all passes its check,
 * and the node can go on.
 *
 * Errors: as the node's. Threads: one owner.
 */
#ifndef SALAMANDER_TESTS_LIB_WITNESS_H
#define SALAMANDER_TESTS_LIB_WITNESS_H

#include <stddef.h>
#include <stdint.h>

#include "common/store/store.h"

enum { WITNESS_MARKS = 4096, WITNESS_OBJECTS = 4096 };

struct err;
struct witness; /* opaque */

struct witness_kind {
	const char *name; /* of the data folder in what was recorded */
	/* conf: to be written; dir: the data folder that it names. */
	struct witness *(*make)(const char *conf, const char *dir);
	void (*drop)(struct witness *w);
	int (*note)(struct witness *w, const char *mark, struct err *e);
	/* Opens as `serve` does; 0: check and shut follow. */
	int (*open)(struct witness *w, struct err *e);
	int (*check)(struct witness *w, size_t marks, struct err *e);
	void (*shut)(struct witness *w);
};

extern const struct witness_kind witness_edge, witness_central;

/* Nothing is half: each version of s whose bytes are here passes store_check. */
int witness_whole(struct store *s, struct err *e);

#endif
