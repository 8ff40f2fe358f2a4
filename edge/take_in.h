/*
 * take_in.h - C-STORE into the store: scanned, hashed and spooled as it comes,
 * answered after the commit (ack-after-disk).
 *
 * Threads: one object belongs to its association's thread.
 */
#ifndef SALAMANDER_EDGE_TAKE_IN_H
#define SALAMANDER_EDGE_TAKE_IN_H

struct dimse_handlers;
struct edge;

/* Sets the store_* and admit call-backs; h->node is the edge. */
void take_in_handlers(struct dimse_handlers *h);

#endif
