/*
 * waiting.h - what the sender looks at before each step: what waits, by lane.
 *
 * Threads: replicate's.
 */
#ifndef SALAMANDER_EDGE_WAITING_H
#define SALAMANDER_EDGE_WAITING_H

#include <stdint.h>

#include "proto/lanes.h"

struct edge;
struct err;
struct sender_event;

struct waiting {	      /* all zero at first */
	int64_t since[LANES]; /* monotonic; 0: nothing waits */
};

/* Fills what every event carries. */
int waiting_look(struct waiting *w, struct edge *e, struct sender_event *ev, struct err *err);

#endif
