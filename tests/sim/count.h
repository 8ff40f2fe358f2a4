/*
 * count.h - what central counts, against what the simulator knows (R18).
 *
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_COUNT_H
#define SALAMANDER_TESTS_SIM_COUNT_H

struct world;

/* At rest, and images[].there is known: every list and every number of every site. */
void count_final(struct world *w);
/* At any time: central's running figures are what a count from scratch gives. */
void count_figures(struct world *w);
/* At any time: what exists in one building only, by the edges' own ledgers. */
void count_exposure(struct world *w);

#endif
