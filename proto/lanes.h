/*
 * lanes.h - whose turn it is on the link, by weight (start-time fair queueing).
 *
 * What is owed belongs to a lane. The ledger has a request of its own and waits for nobody; the
 * others share the link by weight: as long as each has something to send, it gets its share; one
 * that had nothing and now has is next, whatever the others have queued. So fresh images wait
 * for no back-fill but the piece that is on the link, and back-fill gets its part of any hour.
 * An object larger than a pack has a share of its own beside the small ones of its lane.
 *
 * Pure: no clock, no disk. Threads: one owner.
 */
#ifndef SALAMANDER_PROTO_LANES_H
#define SALAMANDER_PROTO_LANES_H

#include <stdbool.h>
#include <stdint.h>

/* On disk and on the wire: never renumber. The order is that of importance. */
enum lane {
	LANE_LEDGER = 0,   /* in no outbox: entries that central has not acknowledged */
	LANE_STAT = 1,	   /* what a rule or a person marked            */
	LANE_FRESH = 2,	   /* taken in here, and never yet at central   */
	LANE_RESEND = 3,   /* asked for by central, or found whole again */
	LANE_BACKFILL = 4, /* was at a central once, or should have been */
	LANES = 5
};

/* Sets of lanes: bit 1 << lane. */
#define LANES_ALL ((1u << LANES) - 1)

enum { LANES_FLOWS = 2 * LANES };

struct lanes {
	uint64_t now;		      /* virtual time: the start of what was served last */
	uint64_t finish[LANES_FLOWS]; /* of what was served last, of each flow           */
};

/* For people, and in status and metrics: "stat", "fresh", "resend", "back-fill". */
const char *lanes_name(enum lane lane);

unsigned lanes_flow(enum lane lane, bool large);
/* Does a have a larger share than b? */
bool lanes_above(unsigned a, unsigned b);
/* Of the flows in the set `ready` (bit 1 << flow; not empty), the next one. */
unsigned lanes_next(const struct lanes *l, uint32_t ready);
/* So many bytes of it go. */
void lanes_sent(struct lanes *l, unsigned flow, uint64_t bytes);

#endif
