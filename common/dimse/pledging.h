/*
 * pledging.h - the Storage Commitment Push Model as SCU (PS3.4 annex J): archives are asked to
 * commit to images of ours.
 *
 * Requests lie in pledges.h; this duty sends what the archive lacks, asks, and hears the
 * results: on the association of the request, before its answer or for 2 s after it, or
 * whenever the archive opens a new one to our listener. What fails for the archive's sake (off,
 * not resolved, 0110, 0213) is tried again by backing off (backoff.h), across restarts, until
 * the request's time is over; any other status is its refusal of all. Images that it does not
 * take now (A7xx, 0110, broken associations) go again for half of that time; then it is asked
 * for the others. Nothing that an archive says frees anything here (R9, R10).
 * Threads: any; `peers` from one.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGING_H
#define SALAMANDER_COMMON_DIMSE_PLEDGING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dimse/retrieve.h"

struct audit;
struct dimse_caller;
struct err;
struct message;
struct peers;
struct pledge;
struct pledging; /* opaque */
struct store;

struct pledging_config {
	struct retrieve_config retrieve; /* its store is that of the requests */
	unsigned max_pdu;
	struct audit *audit;
};

/* Takes a reference to the peers. */
int pledging_start(struct pledging **out, const struct pledging_config *c, struct peers *peers,
		   struct err *e);
void pledging_peers(struct pledging *p, struct peers *peers); /* from now on these */
void pledging_wake(struct pledging *p);			      /* NULL is fine */
void pledging_stop(struct pledging *p);			      /* NULL is fine */
/* The peers of now, by reference. */
struct peers *pledging_peers_now(struct pledging *p);

/* An N-EVENT-REPORT with its data set; answers it. */
int pledging_event(struct pledging *p, const struct dimse_caller *who, const struct message *rq,
		   struct err *e);

#endif
