/*
 * name_filter.h - may a name of the lookup table match a key for Patient's Name?
 *
 * The names lie there together and folded: to look at them costs a tenth of looking
 * at the studies' rows, so a wildcard in the middle of a name is answered from them. A
 * filter lets a little more pass than matches: the caller checks the rows.
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_STORE_NAME_FILTER_H
#define SALAMANDER_COMMON_STORE_NAME_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/store/match_name.h"

struct name_filter {
	struct buf pattern; /* folded, or, if `whole`, as asked; empty: all pass */
	bool carets;
	bool whole; /* by match_name and the rules */
	struct name_rules rules;
};

/* false: the key narrows nothing, or only the whole name tells; all pass then. */
bool name_filter_init(struct name_filter *f, const struct name_rules *rules, const char *key,
		      size_t n);
void name_filter_fini(struct name_filter *f); /* an all-zero one is fine */
/* name: one component group as the index keeps it. */
bool name_filter_passes(const struct name_filter *f, const char *name, size_t n);

#endif
