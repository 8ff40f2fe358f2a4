/*
 * watch.h - what is looked at while a world goes on: packs under way, viewers, memory and queues.
 *
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_WATCH_H
#define SALAMANDER_TESTS_SIM_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct sim_edge;
struct world;

/* Instances that are in packs under way: at most max oids; how many. */
unsigned watch_packed(struct sim_edge *e, uint64_t *oids, unsigned max);
/* One with such, rather than this one. */
struct sim_edge *watch_uploading(struct world *w, struct sim_edge *e);
/* A receipt for this edge: has another edge the same in a pack that is under way? */
void watch_elsewhere(struct sim_edge *e, const unsigned char *digest);
/* No byte is served that was not verified: a viewer asks an edge, or central (NULL). */
void watch_view(struct world *w, struct sim_edge *e);
/* The same for each image of which this node has a copy that is not whole. */
void watch_view_damaged(struct world *w, struct sim_edge *e);
/* Calls that an edge waits for, and their bytes, have their bounds. */
void watch_in_flight(struct sim_edge *e, unsigned calls, uint64_t bytes);
/* R15: what central's catalogue holds outlasts a power cut. */
void watch_packs(struct world *w);
/* So have open files, and what is let in; rest: nothing is under way. */
void watch_bounds(struct world *w, bool rest);
/* Closes all nodes, and looks at what memory they had. */
void watch_memory(struct world *w);

#endif
