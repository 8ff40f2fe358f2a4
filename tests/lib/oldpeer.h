/*
 * oldpeer.h - central's routes as a peer of version 1 has them, on either side.
 *
 * Each message is reduced to the fields that version 1 knew before it goes on, requests and
 * answers alike, and calls that it did not have are answered 404. Or the reverse: each message
 * has fields that nobody knows yet.
 * Threads: the test's own.
 */
#ifndef SALAMANDER_TESTS_LIB_OLDPEER_H
#define SALAMANDER_TESTS_LIB_OLDPEER_H

#include <stddef.h>

struct buf;
struct http_route;

const struct http_route *oldpeer_routes(size_t *n);
const struct http_route *newpeer_routes(size_t *n);
/* What of a message has field numbers up to most. */
void oldpeer_reduce(struct buf *out, const unsigned char *p, size_t n, unsigned most);

#endif
