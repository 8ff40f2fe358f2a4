/*
 * join.h - a new site becomes one, and renews its certificate (R25, R26).
 *
 * A code is bound to the first key that comes with it: that key may ask again, after a
 * lost answer, and any other is refused and told of in `sites`. What a code
 * is good for is durable in the log before the certificate leaves.
 * Failed tries within an hour are bounded per address and in total ([join]), also across restarts.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_JOIN_H
#define SALAMANDER_CENTRAL_JOIN_H

#include <stddef.h>
#include <stdint.h>

struct central;
struct conf;
struct conf_row;
struct err;
struct http_answer;
struct http_request;
struct joins; /* opaque: who failed lately */
struct store_tx;

/* be32 slot: store_time (u64 LE), address */
#define JOIN_TRIES_TABLE "tries"

const struct conf_row *join_rows(size_t *n);
int joins_new(struct joins **out, const struct conf *conf, struct err *e);
/* What was kept before this start, or before the catalogue was opened again. */
int joins_load(struct joins *j, struct store_tx *tx, struct err *e);
void joins_free(struct joins *j); /* NULL is fine */
/* Failed tries since the start. */
uint64_t joins_failed(struct joins *j);

/* POST /join/v1/enrol: anybody, with a code. */
int join_enrol(struct central *c, const struct http_request *rq, struct http_answer *out,
	       struct err *e);
/* POST /sync/v1/renew: for the key that calls. */
int join_renew(struct central *c, const struct http_request *rq, struct http_answer *out,
	       struct err *e);

#endif
