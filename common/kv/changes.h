/*
 * changes.h - which keys a write transaction has changed.
 *
 * Threads: one owner. A failed allocation is remembered and said by changes_each.
 */
#ifndef SALAMANDER_COMMON_KV_CHANGES_H
#define SALAMANDER_COMMON_KV_CHANGES_H

#include "common/base/buf.h"
#include "common/kv/kv.h"

struct changes {
	struct buf keys; /* table u32, length u32, key; one behind the other */
	size_t n;
	bool on;
};

void changes_fini(struct changes *c);
/* Nothing happens unless c->on. */
void changes_add(struct changes *c, unsigned table, struct kv_slice key);
/* Each key once, in order of table and key; then all are forgotten. */
int changes_each(struct changes *c,
		 int (*fn)(void *arg, unsigned table, struct kv_slice key, struct err *e),
		 void *arg, struct err *e);

#endif
