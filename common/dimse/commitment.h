/*
 * commitment.h - Storage Commitment Push Model as SCP (PS3.4 annex J): requests in, results out.
 *
 * A request is answered with success once it is durable (commitments.h). Its result goes out on
 * the association that it came on when it is ready within 1 s; else on a new one to the peer's
 * host and port, calling with the title that was called, as SCP; offered again after 10 s x n^2,
 * at most 1 h, for 14 days of the node's running time, across restarts. It is offered until the
 * peer answers it with success: it may arrive twice. A peer without host and port is refused
 * (0110), and the log says what to configure.
 * Threads: any; `peers` from one.
 */
#ifndef SALAMANDER_COMMON_DIMSE_COMMITMENT_H
#define SALAMANDER_COMMON_DIMSE_COMMITMENT_H

#include "common/dimse/verdicts.h"

#define COMMITMENT_CLASS "1.2.840.10008.1.20.1"
#define COMMITMENT_INSTANCE "1.2.840.10008.1.20.1.1"

struct audit;
struct clock;
struct commitment; /* opaque */
struct dimse_caller;
struct err;
struct message;
struct peers;

struct commitment_config {
	struct verdicts verdicts;
	unsigned seconds; /* for a peer to connect, and to answer */
	unsigned max_pdu; /* that we take of it                   */
	struct audit *audit;
	/* After each turn of the duty; true: again within a second. NULL: nothing to do. */
	bool (*turned)(void *arg);
	void *arg;
};

/* Takes a reference to the peers. */
int commitment_start(struct commitment **out, const struct commitment_config *c,
		     struct peers *peers, struct err *e);
void commitment_peers(struct commitment *c, struct peers *peers); /* from now on these */
/* Images came, or central's word on some. Cheap; NULL is fine. */
void commitment_wake(struct commitment *c);
void commitment_stop(struct commitment *c); /* NULL is fine */

/* An N-ACTION with its data set; answers it. */
int commitment_action(struct commitment *c, const struct dimse_caller *who,
		      const struct message *rq, struct err *e);
/* The answer to an N-EVENT-REPORT of ours on this association; ERR_PEER: to none of ours. */
int commitment_answered(struct commitment *c, const struct dimse_caller *who,
			const struct message *rsp, struct err *e);
/* The association ends: what it left unanswered goes out on a new one. */
void commitment_ended(struct commitment *c, const struct dimse_caller *who);

#endif
