/*
 * serve_refill.h - what a new edge gets back: the list, newest first, and bytes by
 * pack range or digest.
 *
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_SERVE_REFILL_H
#define SALAMANDER_CENTRAL_SERVE_REFILL_H

struct central;
struct err;
struct http_answer;
struct http_request;

/* One page of what a site (or every site) ever announced (R20: with or without bytes). */
int refill_answer(struct central *c, const struct http_request *rq, struct http_answer *out,
		  struct err *e);
/* GET /objects/<sha256>, /packs/<id>: whole when small, else by Range. */
int refill_object(struct central *c, const struct http_request *rq, struct http_answer *out,
		  struct err *e);
int refill_pack(struct central *c, const struct http_request *rq, struct http_answer *out,
		struct err *e);

#endif
