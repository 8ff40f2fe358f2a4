/*
 * metrics.h - an edge's figures as Prometheus has them: `GET /metrics`.
 *
 * The numbers of `status` (figures.h), and nothing of a data set (R35).
 * Threads: any.
 */
#ifndef SALAMANDER_EDGE_METRICS_H
#define SALAMANDER_EDGE_METRICS_H

struct buf;
struct edge;
struct err;

int metrics_of_edge(struct edge *e, struct buf *out, struct err *err);

#endif
