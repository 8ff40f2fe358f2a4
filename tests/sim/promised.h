/*
 * promised.h - storage commitment: what a modality is told that it need not keep.
 *
 * Success is said of what is held only, never of what central lost as far as the edge could know;
 * it is noted by the edge, told to central, and none of it goes in the dark (R10, R18).
 * Threads: the simulator's.
 */
#ifndef SALAMANDER_TESTS_SIM_PROMISED_H
#define SALAMANDER_TESTS_SIM_PROMISED_H

#include <stdbool.h>

struct sim_edge;
struct sim_image;
struct world;

/* A modality asks an edge about images that it sent. */
void promised_ask(struct world *w);
/* What can be said now of what was asked here is said. */
void promised_turn(struct sim_edge *e);
/* It frees these bytes in the dark. */
bool promised_here(const struct sim_edge *e, const struct sim_image *m);
/* It stands on an older disk, which may know less of it. */
void promised_set_back(struct sim_edge *e);
/* At rest: central knows whose sender was told. */
void promised_final(struct world *w);

#endif
