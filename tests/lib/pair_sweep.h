/*
 * pair_sweep.h - the life of two nodes, with a fault or a death at its n-th step, for all n.
 *
 * `live` says commands and hears of what comes of them; after the fault or the death both nodes
 * are opened again and `check` sees which commands had said that they were done.
 * Threads: the test's own.
 */
#ifndef SALAMANDER_TESTS_LIB_PAIR_SWEEP_H
#define SALAMANDER_TESTS_LIB_PAIR_SWEEP_H

#include <stdbool.h>

struct pair;

enum { PAIR_SWEEP_COMMANDS = 8 };

struct pair_sweep {
	struct pair *p;
	void (*prepare)(void); /* both nodes open, and at rest */
	/* done(arg, c) for each command that said so; c below PAIR_SWEEP_COMMANDS */
	void (*live)(void (*done)(void *arg, unsigned command), void *arg);
	void (*check)(const bool *said, unsigned n);
	unsigned stride; /* in `make check` (sweep.h) */
	unsigned least;	 /* a life has more steps than these */
};

/* No room on the disk, once, at any step. */
void pair_sweep_faults(const struct pair_sweep *s);
/* A process that dies at any step, both nodes with it. */
void pair_sweep_deaths(const struct pair_sweep *s);

#endif
