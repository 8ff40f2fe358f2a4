/*
 * tree.h - an ordered map whose older states stay: the snapshots of a store in memory.
 *
 * A tree is a reference to its root. Changing one leaves all others that share nodes with it
 * as they are; what nobody else shares is changed in place.
 * Threads: one owner of all trees.
 */
#ifndef SALAMANDER_TESTS_SIM_TREE_H
#define SALAMANDER_TESTS_SIM_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/kv/kv.h"

struct tree_node; /* opaque */

struct tree {
	struct tree_node *root;
	uint64_t count;
	uint64_t bytes; /* as pages would hold them */
};

/* A second reference to the same state. */
struct tree tree_keep(const struct tree *t);
void tree_drop(struct tree *t);

/* Room for the n bytes of the value, new or in place of what was there. */
void *tree_put(struct tree *t, struct kv_slice key, size_t n);
bool tree_remove(struct tree *t, struct kv_slice key);

/* Borrowed until the tree changes or is dropped. false: there is none. */
bool tree_get(const struct tree *t, struct kv_slice key, struct kv_slice *value);
enum tree_way { TREE_FROM, TREE_BEHIND, TREE_BEFORE, TREE_LAST };
bool tree_find(const struct tree *t, enum tree_way way, struct kv_slice key, struct kv_slice *k,
	       struct kv_slice *value);
/* Bytes that an entry takes. */
uint64_t tree_cost(size_t key_n, size_t value_n);

#endif
