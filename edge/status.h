/*
 * status.h - what an operator sees of an edge.
 *
 * From a running server with what it knows of central; beside one, or without,
 * from the data folder alone.
 * Threads: any.
 */
#ifndef SALAMANDER_EDGE_STATUS_H
#define SALAMANDER_EDGE_STATUS_H

#include <stdbool.h>

struct buf;
struct edge;
struct err;

/* *person: something needs one (exit 3). */
int status_json(struct edge *e, struct buf *out, bool *person, struct err *err);
int status_text(struct edge *e, struct buf *out, bool *person, struct err *err);

#endif
