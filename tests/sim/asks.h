/*
 * asks.h - what an operator at central wants of edges: refill, verify, resend, prefetch, settings
 * (orders that take a while), and sites that are turned away for a time.
 *
 * Threads: the simulator's.
 */
#ifndef SALAMANDER_TESTS_SIM_ASKS_H
#define SALAMANDER_TESTS_SIM_ASKS_H

#include <stdbool.h>

struct sim_edge;
struct world;

void asks_order(struct world *w);
/* A site is suspended, or one that was is readmitted (R24). */
void asks_suspend(struct world *w);
/* Calm: all may call. */
void asks_readmit_all(struct world *w);
/* Central's gate, for a call of this edge. */
bool asks_allowed(struct sim_edge *e);
/* At rest: what was ordered is carried out, or central has heard how it failed. */
void asks_final(struct world *w);

#endif
