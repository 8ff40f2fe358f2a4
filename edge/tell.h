/*
 * tell.h - what this edge alone knows of its way to central, as hello tells it: lag by lane, pace,
 * estimate, and why it waits. Central shows it, with its age.
 *
 * Threads: replicate's.
 */
#ifndef SALAMANDER_EDGE_TELL_H
#define SALAMANDER_EDGE_TELL_H

#include "proto/lanes.h"
#include "proto/sync.pb-c.h"

struct edge;
struct err;

struct tell {
	Sync__SyncState m;
	Sync__LaneState lane[LANES], *lanes[LANES];
};
int tell_make(struct tell *out, struct edge *e, struct err *err);

#endif
