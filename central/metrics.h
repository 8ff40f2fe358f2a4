/*
 * metrics.h - central's numbers as Prometheus has them: `GET /metrics`.
 *
 * Those of `status` and `sites` (snapshot.h), and nothing of a data set (R35). They are
 * counted from the claims of all sites each time.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_METRICS_H
#define SALAMANDER_CENTRAL_METRICS_H

struct buf;
struct central;
struct err;

int metrics_of_central(struct central *c, struct buf *out, struct err *e);

#endif
