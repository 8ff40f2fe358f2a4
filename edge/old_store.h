/*
 * old_store.h - what the records of a store that is made anew still tell (R13, R20).
 *
 * Objects are salvaged without them. But if they can be read, they say which chunks belong to
 * nothing any more (what was evicted is not lost), what was known without bytes, what is pinned,
 * what was called committed and who asks for that, and whether eviction is on hold. A damaged tree
 * may be the death of whoever walks it: a child does, and what it could not say is not known.
 * Threads: main's, while nothing else uses the store.
 */
#ifndef SALAMANDER_EDGE_OLD_STORE_H
#define SALAMANDER_EDGE_OLD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct edge;
struct err;

struct old_store {
	uint64_t *live; /* object ids of chunks that a version has, ascending */
	bool *given;	/* of each: it was found whole                        */
	size_t n;
	bool whole; /* the walk came to its end: only then is anything of it known */
};

/* path: its folder. Fails for want of memory or processes only. */
int old_store_read(struct old_store *out, const struct edge *e, const char *path, struct err *err);
void old_store_fini(struct old_store *o);
/* Torn chunks under this id: has an image gone with them, as far as is known? */
bool old_store_missed(const struct old_store *o, uint64_t id);
void old_store_given(struct old_store *o, uint64_t id); /* whole */
/* How many images it had that were not given, as far as is known. */
uint64_t old_store_lacks(const struct old_store *o);
/* What the old ledger tells of and has no bytes is known in e's store as well (R20); hold
 * stays on, and pins stay (R11). *known: how many; *whole: that was all of it. */
int old_store_bequeath(struct edge *e, const char *path, uint64_t *known, bool *whole,
		       struct err *err);

#endif
