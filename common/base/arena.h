/*
 * arena.h - memory that is freed all at once, with a ceiling.
 *
 * For what lives as long as one message or one query. Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_BASE_ARENA_H
#define SALAMANDER_COMMON_BASE_ARENA_H

#include <stddef.h>

struct arena; /* opaque */
struct err;

/* limit: bytes that may be handed out before arena_get says NULL. */
int arena_new(struct arena **out, size_t limit, struct err *e);
void arena_free(struct arena *a); /* NULL is fine */
/* Aligned for any type, zeroed; NULL when limit or memory is exhausted. */
void *arena_get(struct arena *a, size_t n);
char *arena_strndup(struct arena *a, const char *s, size_t n);
void arena_clear(struct arena *a); /* everything handed out is gone; memory is kept */

#endif
