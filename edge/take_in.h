/*
 * take_in.h - C-STORE into the store: scanned, hashed and spooled as it comes,
 * answered after the commit (ack-after-disk).
 *
 * Threads: one object belongs to its association's thread.
 */
#ifndef SALAMANDER_EDGE_TAKE_IN_H
#define SALAMANDER_EDGE_TAKE_IN_H

#include <stddef.h>

#include <stdbool.h>

struct dimse_handlers;
struct edge;
struct err;

/* Sets the store_* and admit call-backs; h->node is the edge. */
void take_in_handlers(struct dimse_handlers *h);

/* A canonical file that was here before (R13): stored, announced and owed like a new one.
 * end frees, whatever it returns; *again: it had come already. */
int take_in_kept_begin(struct edge *e, void **sink, struct err *err);
int take_in_kept_feed(void *sink, const void *p, size_t n, struct err *err);
int take_in_kept_end(void *sink, bool *again, struct err *err);
void take_in_kept_drop(void *sink);

#endif
