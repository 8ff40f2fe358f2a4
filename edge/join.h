/*
 * join.h - an edge becomes a site of an archive, and stays one (R25, R26).
 *
 * join_run proves central first: only the CA whose key the code names is believed during
 * that handshake. Then central gives a certificate for a key that never leaves this edge.
 * The same command again after a lost answer is free.
 * Threads: join_run from a command's; the rest from replicate's.
 */
#ifndef SALAMANDER_EDGE_JOIN_H
#define SALAMANDER_EDGE_JOIN_H

struct edge;
struct err;
struct http_call;
struct http_done;

/* ERR_PEER: url or code are none, or central refuses; ERR_AGAIN: nobody answers. */
int join_run(struct edge *e, const char *url, const char *code, struct err *err);

/* After a hello that asked for it: the call, and what its answer brings. */
int join_renewal(struct http_call *out, struct edge *e, struct err *err);
int join_renewed(struct edge *e, const struct http_done *done, struct err *err);

#endif
