/*
 * gate.h - who may call which route (R24): certificate -> key -> site -> active now -> right.
 *
 * Asked for each request, so that a suspension counts from the next one on, also on
 * connections that stand. With a CA of our own the key must be the one that is
 * enrolled for the site; with the operator's valid certificates, and on plain loopback, the name
 * is enough.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_GATE_H
#define SALAMANDER_CENTRAL_GATE_H

#include <stdbool.h>

#include "proto/sync.pb-c.h"

struct central;
struct err;
struct http_request;

/* What a route needs; each is one bit. */
enum {
	RIGHT_HELLO = 1,
	RIGHT_LEDGER = 2,
	RIGHT_RENEW = 4,
	RIGHT_SEND = 8,	 /* holdings, packs on their way in, release */
	RIGHT_READ = 16, /* refill, packs, objects                   */
	RIGHT_JOIN = 32,
	RIGHT_ORDERS = 128,
	RIGHT_METRICS = 64 /* on plain loopback without a site's name */
};

/* As http_config's `allowed`. */
bool gate_allowed(void *central, const struct http_request *rq, unsigned right, const char **why);

/* R26: does the site read only what it delivered, and why? */
int gate_own_only(struct central *c, const char *site, Sync__OwnOnly *out, struct err *e);
int gate_reads_own_only(struct central *c, const char *site, bool *out, struct err *e);

#endif
