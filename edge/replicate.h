/*
 * replicate.h - the duty that tells central what is here and sends it (R5, R7, R14).
 *
 * Drives proto/sender over a link: one thread, which holds no lock and no
 * transaction while it waits. It retries for ever and never blocks take-in or viewers.
 * Packs are made and read, and receipts committed, by threads of their own (errand.h), so
 * that the ledger waits for none of them.
 * Threads: replicate_wake from any; the rest from one. A replicator without a
 * thread (tests) is turned by hand.
 */
#ifndef SALAMANDER_EDGE_REPLICATE_H
#define SALAMANDER_EDGE_REPLICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct edge;
struct err;
struct link;
struct replicate; /* opaque */

/* link is taken, even on failure. Nothing is said before replicate_go: a hello closes what the site
 * had before (R18), so whoever says it has its listeners standing. */
int replicate_start(struct replicate **out, struct edge *e, struct link *link_taken,
		    struct err *err);
int replicate_go(struct replicate *r, struct err *err);
void replicate_stop(struct replicate *r); /* NULL is fine */
/* Something was taken in, or may be tried again. NULL is fine. */
void replicate_wake(struct replicate *r);

/* Central spoke of another epoch to somebody else: say hello now. NULL is fine. */
void replicate_hello(struct replicate *r);

/* Without a thread of its own. */
int replicate_new(struct replicate **out, struct edge *e, struct link *link_taken, struct err *err);
void replicate_turn(struct replicate *r, int timeout_ms);
void replicate_free(struct replicate *r);
/* Monotonic time before which there is nothing to do unless something happens. */
int64_t replicate_due(const struct replicate *r);

#endif
