#include "proto/lanes.h"

enum { SHIFT = 10 };

/* Small objects, then large ones: 16 times the share of the lane below, but that back-fill keeps a
 * seventeenth of a link that fresh images fill. */
static const uint64_t weights[LANES_FLOWS] = {
	[2 * LANE_LEDGER] = 1024,    [2 * LANE_LEDGER + 1] = 1024, [2 * LANE_STAT] = 1024,
	[2 * LANE_STAT + 1] = 256,   [2 * LANE_FRESH] = 64,	   [2 * LANE_FRESH + 1] = 16,
	[2 * LANE_RESEND] = 16,	     [2 * LANE_RESEND + 1] = 4,	   [2 * LANE_BACKFILL] = 4,
	[2 * LANE_BACKFILL + 1] = 1,
};

const char *
lanes_name(enum lane lane)
{
	static const char *const names[LANES] = {[LANE_LEDGER] = "ledger",
						 [LANE_STAT] = "stat",
						 [LANE_FRESH] = "fresh",
						 [LANE_RESEND] = "resend",
						 [LANE_BACKFILL] = "back-fill"};

	return names[lane];
}

unsigned
lanes_flow(enum lane lane, bool large)
{
	return 2 * (unsigned)lane + large;
}

bool
lanes_above(unsigned a, unsigned b)
{
	return weights[a] > weights[b];
}

/* A flow that had nothing to send begins now: it has no claim from the time when it had not. */
static uint64_t
start_of(const struct lanes *l, unsigned flow)
{
	return l->finish[flow] > l->now ? l->finish[flow] : l->now;
}

unsigned
lanes_next(const struct lanes *l, uint32_t ready)
{
	unsigned i, best = LANES_FLOWS;

	for (i = 0; i < LANES_FLOWS; i++)
		if (ready & 1u << i && (best == LANES_FLOWS || start_of(l, i) < start_of(l, best)))
			best = i; /* of equals, the more important lane */
	return best;
}

void
lanes_sent(struct lanes *l, unsigned flow, uint64_t bytes)
{
	l->now = start_of(l, flow);
	l->finish[flow] = l->now + (bytes << SHIFT) / weights[flow];
}
