/*
 * removed.h - after all else: sites that were removed call a central that has forgotten it (R22,
 * R25, R26).
 *
 * Threads: the simulator's.
 */
#ifndef SALAMANDER_TESTS_SIM_REMOVED_H
#define SALAMANDER_TESTS_SIM_REMOVED_H

struct sim_edge;
struct world;

/* Two sites are removed and hear nothing of each other's end; central burns, or is set back, and
 * they are the first to call. At rest; where central has an identity. */
void removed_call(struct world *w);
/* Central has answered this call of an edge. */
void removed_look_at(struct sim_edge *e, const char *path, int status);

#endif
