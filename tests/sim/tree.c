/* A treap: the priorities are a function of the keys, so that a seed gives the same tree. */
#include "tests/sim/tree.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "common/kv/kv.h"

enum { PAGE = 4096, IN_PAGE = 2000, ENTRY = 16 };

struct value {
	unsigned refs;
	size_t n;
	_Alignas(16) unsigned char b[];
};

struct tree_node {
	unsigned refs;
	uint32_t priority;
	struct tree_node *left, *right;
	uint64_t head; /* of the key: most pairs differ in it */
	struct value *v;
	size_t key_n;
	unsigned char key[];
};

struct wanted { /* a key that is looked for */
	struct kv_slice key;
	uint64_t head;
};

static void *
room(size_t n)
{
	void *p = malloc(n);

	if (!p)
		abort();
	return p;
}

uint64_t
tree_cost(size_t key_n, size_t value_n)
{
	if (value_n <= IN_PAGE)
		return key_n + value_n + ENTRY;
	return key_n + ENTRY + (value_n + ENTRY + PAGE - 1) / PAGE * PAGE;
}

static uint32_t
priority_of(struct kv_slice key)
{
	const unsigned char *p = key.p;
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < key.n; i++)
		h = (h ^ p[i]) * 16777619u;
	h ^= h >> 15;
	h *= 0x2c1b3c6du;
	return h ^ h >> 12;
}

/* Ordered as the key is, as far as it goes. */
static struct wanted
want(struct kv_slice key)
{
	struct wanted w = {key, 0};

	if (key.n)
		memcpy(&w.head, key.p, key.n < sizeof(w.head) ? key.n : sizeof(w.head));
	w.head = be64toh(w.head);
	return w;
}

static int
order(const struct wanted *w, const struct tree_node *n)
{
	struct kv_slice a = w->key;
	size_t common = a.n < n->key_n ? a.n : n->key_n;
	int c;

	if (w->head != n->head)
		return w->head < n->head ? -1 : 1;
	c = common > sizeof(w->head) ? memcmp(a.p, n->key, common) : 0;
	return c ? c : a.n < n->key_n ? -1 : a.n > n->key_n;
}

static void
value_drop(struct value *v)
{
	if (--v->refs == 0)
		free(v);
}

static void
node_drop(struct tree_node *n)
{
	while (n && --n->refs == 0) {
		struct tree_node *next = n->right;

		node_drop(n->left);
		value_drop(n->v);
		free(n);
		n = next;
	}
}

static struct tree_node *
node_new(const struct wanted *w, struct value *v)
{
	struct kv_slice key = w->key;
	struct tree_node *n = room(sizeof(*n) + key.n);

	n->refs = 1;
	n->priority = priority_of(key);
	n->left = n->right = NULL;
	n->head = w->head;
	n->v = v;
	n->key_n = key.n;
	memcpy(n->key, key.p, key.n);
	return n;
}

/* One that nobody else sees: n itself, or a copy. Takes the caller's reference. */
static struct tree_node *
own(struct tree_node *n)
{
	struct tree_node *copy;

	if (n->refs == 1)
		return n;
	copy = room(sizeof(*copy) + n->key_n);
	memcpy(copy, n, sizeof(*copy) + n->key_n);
	copy->refs = 1;
	if (copy->left)
		copy->left->refs++;
	if (copy->right)
		copy->right->refs++;
	copy->v->refs++;
	n->refs--;
	return copy;
}

static struct tree_node *
turn_right(struct tree_node *n)
{
	struct tree_node *up = n->left;

	n->left = up->right;
	up->right = n;
	return up;
}

static struct tree_node *
turn_left(struct tree_node *n)
{
	struct tree_node *up = n->right;

	n->right = up->left;
	up->left = n;
	return up;
}

static struct tree_node *
insert(struct tree_node *n, const struct wanted *w, struct value *v)
{
	int c;

	if (!n)
		return node_new(w, v);
	n = own(n);
	c = order(w, n);
	if (c == 0) {
		value_drop(n->v);
		n->v = v;
	} else if (c < 0) {
		n->left = insert(n->left, w, v);
		if (n->left->priority > n->priority)
			return turn_right(n);
	} else {
		n->right = insert(n->right, w, v);
		if (n->right->priority > n->priority)
			return turn_left(n);
	}
	return n;
}

static struct tree_node *
join(struct tree_node *a, struct tree_node *b)
{
	if (!a || !b)
		return a ? a : b;
	if (a->priority > b->priority) {
		a = own(a);
		a->right = join(a->right, b);
		return a;
	}
	b = own(b);
	b->left = join(a, b->left);
	return b;
}

static struct tree_node *
take_out(struct tree_node *n, const struct wanted *w)
{
	struct tree_node *rest;
	int c;

	n = own(n);
	c = order(w, n);
	if (c < 0) {
		n->left = take_out(n->left, w);
		return n;
	}
	if (c > 0) {
		n->right = take_out(n->right, w);
		return n;
	}
	rest = join(n->left, n->right);
	value_drop(n->v);
	free(n);
	return rest;
}

static struct tree_node *
find(const struct tree *t, const struct wanted *w)
{
	struct tree_node *n = t->root;
	int c;

	while (n && (c = order(w, n)) != 0)
		n = c < 0 ? n->left : n->right;
	return n;
}

struct tree
tree_keep(const struct tree *t)
{
	if (t->root)
		t->root->refs++;
	return *t;
}

void
tree_drop(struct tree *t)
{
	node_drop(t->root);
	memset(t, 0, sizeof(*t));
}

void *
tree_put(struct tree *t, struct kv_slice key, size_t n)
{
	struct value *v = room(sizeof(*v) + n);
	struct wanted w = want(key);
	struct tree_node *before = find(t, &w);

	v->refs = 1;
	v->n = n;
	if (before)
		t->bytes -= tree_cost(key.n, before->v->n);
	else
		t->count++;
	t->bytes += tree_cost(key.n, n);
	t->root = insert(t->root, &w, v);
	return v->b;
}

bool
tree_remove(struct tree *t, struct kv_slice key)
{
	struct wanted w = want(key);
	struct tree_node *n = find(t, &w);

	if (!n)
		return false;
	t->count--;
	t->bytes -= tree_cost(key.n, n->v->n);
	t->root = take_out(t->root, &w);
	return true;
}

bool
tree_get(const struct tree *t, struct kv_slice key, struct kv_slice *value)
{
	struct wanted w = want(key);
	struct tree_node *n = find(t, &w);

	if (n && value)
		*value = kv_slice(n->v->b, n->v->n);
	return n != NULL;
}

bool
tree_find(const struct tree *t, enum tree_way way, struct kv_slice key, struct kv_slice *k,
	  struct kv_slice *value)
{
	struct tree_node *n = t->root, *best = NULL;
	struct wanted w = want(key);

	while (n) {
		int c = way == TREE_LAST ? 1 : order(&w, n);
		bool fits = way == TREE_FROM ? c <= 0 : way == TREE_BEHIND ? c < 0 : c > 0;

		if (fits)
			best = n;
		if (way == TREE_FROM || way == TREE_BEHIND)
			n = fits ? n->left : n->right;
		else
			n = fits ? n->right : n->left;
	}
	if (!best)
		return false;
	*k = kv_slice(best->key, best->key_n);
	*value = kv_slice(best->v->b, best->v->n);
	return true;
}
