/*
 * read_on.h - a large object from front to back: while one part of it is used, a thread reads
 * and checks the next.
 *
 * Holds two readers, so two parts of it in memory. Where no thread is to be had all comes
 * without one.
 * Threads: one caller; the thread inside ends with read_on_close.
 */
#ifndef SALAMANDER_COMMON_STORE_READ_ON_H
#define SALAMANDER_COMMON_STORE_READ_ON_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct read_on; /* opaque */
struct store;
struct store_reader;

/* r is of s. */
int read_on_open(struct read_on **out, struct store *s, struct store_reader *r_taken,
		 struct err *e);
void read_on_close(struct read_on *o); /* NULL is fine */
/* As store_read_some. What follows is read meanwhile: that is what is best asked for next. */
int read_on_some(struct read_on *o, uint64_t offset, const void **p, size_t *n, struct err *e);

#endif
