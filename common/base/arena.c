#include "common/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

enum { ARENA_BLOCK = 16384, ARENA_ALIGN = 16 };

struct arena_block {
	struct arena_block *next;
	size_t size, used;
	_Alignas(ARENA_ALIGN) unsigned char data[];
};

struct arena {
	struct arena_block *blocks; /* the newest first */
	size_t limit, handed;
};

int
arena_new(struct arena **out, size_t limit, struct err *e)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(e, ERR_LOCAL, 0, "no memory for an arena");
	a->limit = limit;
	*out = a;
	return 0;
}

static void
free_blocks(struct arena_block *b)
{
	while (b) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
}

void
arena_free(struct arena *a)
{
	if (!a)
		return;
	free_blocks(a->blocks);
	free(a);
}

static struct arena_block *
add_block(struct arena *a, size_t n)
{
	size_t size = n > ARENA_BLOCK ? n : ARENA_BLOCK;
	struct arena_block *b = malloc(sizeof(*b) + size);

	if (!b)
		return NULL;
	b->next = a->blocks;
	b->size = size;
	b->used = 0;
	a->blocks = b;
	return b;
}

void *
arena_get(struct arena *a, size_t n)
{
	struct arena_block *b = a->blocks;
	void *p;

	if (n > a->limit - a->handed)
		return NULL;
	n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (!b || n > b->size - b->used)
		b = add_block(a, n);
	if (!b)
		return NULL;
	p = b->data + b->used;
	b->used += n;
	a->handed += n < a->limit - a->handed ? n : a->limit - a->handed;
	return memset(p, 0, n);
}

char *
arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = n < SIZE_MAX ? arena_get(a, n + 1) : NULL;

	if (p)
		memcpy(p, s, n);
	return p;
}

void
arena_clear(struct arena *a)
{
	if (a->blocks) {
		free_blocks(a->blocks->next);
		a->blocks->next = NULL;
		a->blocks->used = 0;
	}
	a->handed = 0;
}
