#include "edge/tell.h"

#include <string.h>

#include "common/base/clock.h"
#include "edge/edge.h"
#include "edge/figures.h"

static uint64_t
until_ms(int64_t wall_ms, int64_t now_ms)
{
	return wall_ms > now_ms ? (uint64_t)(wall_ms - now_ms) : 0;
}

static void
fill_lanes(struct tell *t, const struct figures *f)
{
	enum lane i;

	t->m.lanes = t->lanes;
	for (i = LANE_LEDGER; i < LANES; i++) {
		const struct figures_lane *l = &f->lanes[i];
		Sync__LaneState *m = &t->lane[t->m.n_lanes];

		if (!l->images)
			continue;
		sync__lane_state__init(m);
		m->lane = i;
		m->images = l->images;
		m->bytes = l->bytes;
		m->put_off = l->late;
		m->oldest_seconds = l->oldest_seconds;
		m->waits_for = l->wait;
		m->retry_ms = (uint64_t)l->retry_ms;
		t->lanes[t->m.n_lanes++] = m;
	}
}

int
tell_make(struct tell *out, struct edge *e, struct err *err)
{
	struct figures f;
	int rc = figures_of_way(&f, e, err);

	memset(out, 0, sizeof(*out));
	sync__sync_state__init(&out->m);
	if (rc)
		return rc;
	fill_lanes(out, &f);
	out->m.images_milli = (uint64_t)(f.images_rate * 1000);
	out->m.bytes = (uint64_t)f.bytes_rate;
	out->m.estimated = f.estimated;
	out->m.in_step_seconds = f.in_step_seconds;
	out->m.waits_for = f.wait;
	/* As a span: the two clocks may differ (R28). */
	if (f.wait == WAIT_SCHEDULE)
		out->m.until_ms =
			until_ms(f.hour_until_wall_ms, clock_wall(e->clock) + f.contact.skew_ms);
	else
		out->m.until_ms = until_ms(f.retry_wall_ms, clock_wall(e->clock));
	out->m.not_released = f.not_released;
	out->m.hold = (uint32_t)f.hold;
	out->m.limited = f.hour.limited;
	out->m.limit = f.hour.rate;
	return 0;
}
