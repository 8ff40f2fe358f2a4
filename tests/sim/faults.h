/*
 * faults.h - what happens to the nodes of a world, by its seed.
 *
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_FAULTS_H
#define SALAMANDER_TESTS_SIM_FAULTS_H

struct sim_edge;
struct world;

/* One thing: work, a cut, a death, a fire, damage, a clock that jumps. */
void faults_happen(struct world *w);
/* Central reads all it has: what is damaged is found, and asked for again. */
void faults_verify(struct world *w);
struct sim_edge *faults_edge(struct world *w); /* any */
/* Work, and a moment, so that something is under way. */
void faults_rush(struct world *w);
void faults_refill(struct sim_edge *e);
/* No more of them: every line and disk is as it should be, and every node is up. */
void faults_end(struct world *w);

#endif
