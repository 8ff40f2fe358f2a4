/*
 * request.h - A-ASSOCIATE-RQ PDUs made by hand (PS3.8 9.3.2), for what no client says.
 */
#ifndef SALAMANDER_TESTS_LIB_REQUEST_H
#define SALAMANDER_TESTS_LIB_REQUEST_H

#include <stddef.h>

struct buf;
struct node;

/* Type, a zero, a length of two bytes, and p. */
void request_item(struct buf *out, unsigned char type, const void *p, size_t n);
/* One context, with `syntaxes` times Explicit; more NULL: no further sub-item of that type. */
void request_build(struct buf *out, const char *calling, const char *sop_class, unsigned syntaxes,
		   unsigned char type, const struct buf *more);
int request_connect(unsigned port); /* on loopback */
/* What answers, the first kilobyte of it; 0 bytes: the connection is closed without. */
size_t request_send(const struct node *n, const struct buf *rq, unsigned char out[1024]);

#endif
