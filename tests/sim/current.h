/*
 * current.h - at rest all nodes show the same version of an image (R3).
 *
 * Threads: the simulator's.
 */
#ifndef SALAMANDER_TESTS_SIM_CURRENT_H
#define SALAMANDER_TESTS_SIM_CURRENT_H

struct world;

void current_final(struct world *w);
/* What each node knows of the versions of this UID. */
void current_say(struct world *w, const char *uid);

#endif
