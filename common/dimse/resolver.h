/*
 * resolver.h - asks DNS for the peers' host names in the background, again and again (R29).
 *
 * Nobody waits for it: a name server that never answers holds this thread alone,
 * and resolver_stop leaves it to end by itself.
 * Threads: start, peers and stop from one.
 */
#ifndef SALAMANDER_COMMON_DIMSE_RESOLVER_H
#define SALAMANDER_COMMON_DIMSE_RESOLVER_H

struct err;
struct peers;
struct resolver; /* opaque */

/* Takes references to the peers. */
int resolver_start(struct resolver **out, struct peers *peers, unsigned every_seconds,
		   struct err *e);
/* These from now on, at once. */
void resolver_peers(struct resolver *r, struct peers *peers);
void resolver_stop(struct resolver *r); /* NULL is fine */

#endif
