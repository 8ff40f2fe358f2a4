/*
 * hello.h - who calls, what it has announced, which epoch this is (R5, R8, R22).
 *
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_HELLO_H
#define SALAMANDER_CENTRAL_HELLO_H

#include <stddef.h>

struct buf;
struct central;
struct err;

int hello_answer(struct central *c, const char *site, const void *body, size_t n, struct buf *out,
		 struct err *e);

#endif
