/*
 * pledge_supply.h - what an archive does not have yet goes there by C-STORE, as a C-MOVE would
 * bring it: syntaxes, recoding and further tries are those of move.c. It is asked first what it
 * has (pledge_lacks.h); where it does not tell, what it committed to already is not sent again.
 *
 * Threads: the duty's that asks archives.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGE_SUPPLY_H
#define SALAMANDER_COMMON_DIMSE_PLEDGE_SUPPLY_H

#include <stdbool.h>
#include <stddef.h>

struct assoc_target;
struct audit;
struct err;
struct peer;
struct peers;
struct pledge;
struct retrieve_config;

struct pledge_supply {
	const struct retrieve_config *retrieve;
	struct peers *peers;
	const struct peer *archive;
	const char *calling; /* our title */
	unsigned max_pdu;
	struct audit *audit;
	bool patient; /* what it does not take now is tried again */
	/* A socket of ours opens, or -1: it is closed; of DIMSE_SUBS. */
	void (*socket)(void *arg, unsigned at, int fd);
	bool (*go_on)(void *arg); /* false: the node stops */
	void *arg;
};

/* How it is called; host: room for its address. ERR_AGAIN: it is not known yet. */
int pledge_supply_target(const struct pledge_supply *s, struct assoc_target *out, char *host,
			 struct err *e);
/*
 * Each of these gets `sent`, or is PLEDGE_NOT_SENT: it is not here any more, or was not taken.
 * *later: so many are neither, as it did not take them now (A7xx, 0110, associations that broke).
 * ERR_AGAIN: the archive could not be reached, or the node stops; what was sent is marked all the
 * same.
 */
int pledge_supply(const struct pledge_supply *s, struct pledge *all, size_t n, unsigned *later,
		  struct err *e);

#endif
