/*
 * order.h - studies in the order of their first arrival, the newest first (R28, R34).
 *
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_STORE_ORDER_H
#define SALAMANDER_COMMON_STORE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/uid.h"

struct order_item {
	int64_t first;
	uint32_t uid, n; /* in order.uids */
};

struct order {
	struct order_item *all;
	size_t n, cap, at;
	struct buf uids;
	bool failed; /* no memory */
};

void order_add(struct order *o, int64_t first, const char *study);
/* Sorts; what was added twice stays once. */
void order_sort(struct order *o);
/* false behind the last. */
bool order_next(struct order *o, char out[UID_SIZE]);
void order_fini(struct order *o); /* empty again; an all-zero one is fine */

#endif
