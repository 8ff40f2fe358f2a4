/*
 * pledge_call.h - an archive is asked to commit to images: one N-ACTION on an association of its
 * own, which then stays open for the result.
 *
 * Threads: the association's.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGE_CALL_H
#define SALAMANDER_COMMON_DIMSE_PLEDGE_CALL_H

struct assoc;
struct assoc_target;
struct err;
struct message;
struct references;

/* An N-EVENT-REPORT that comes before the answer is given to this one, which answers it. */
struct pledge_early {
	int (*event)(void *arg, struct assoc *a, const struct message *rq, struct err *e);
	void *arg;
};

/* 0: it answered, with *status (STATUS_CLASS_NOT_SUPPORTED where it takes no storage commitment);
 * the association is the caller's. */
int pledge_call(struct assoc **out, const struct assoc_target *to, const struct references *list,
		const struct pledge_early *early, unsigned *status, struct err *e);

#endif
