/*
 * people.h - what people do to nodes that are well: commands, and disks that fill.
 *
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_PEOPLE_H
#define SALAMANDER_TESTS_SIM_PEOPLE_H

struct sim_edge;
struct world;

/* `hold on|off`, at central for all or at an edge. */
void people_hold(struct world *w);
/* `stat STUDY`, or no more. */
void people_stat(struct world *w);
/* `site twin NAME --keep`: of the copies of this site one stays. */
void people_keep(struct sim_edge *e);
void people_keep_one(struct world *w);
/* `retract` and `restore`: images and studies. */
void people_retract(struct world *w);
void people_restore(struct world *w);
/* R27: `retracts accept` at an edge that stopped. */
void people_accept(struct world *w);
/* `conflicts resolve`. */
void people_resolve(struct world *w);
/* Central's disk is used by others, too: its thresholds close lanes. */
void people_fill(struct world *w);
/* What ends by itself, and all of it once faults have stopped. */
void people_pass(struct world *w);
/* At rest: does each edge obey what central says last (R10)? */
void people_final(struct world *w);

#endif
