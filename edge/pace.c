#include "edge/pace.h"

enum { MINUTE_MS = 60000, SECOND_MS = 1000 };

void
pace_add(struct pace *p, int64_t now_ms, int64_t took_ms, uint64_t images, uint64_t bytes)
{
	int64_t minute = now_ms / MINUTE_MS;
	struct pace_minute *m = &p->minutes[minute % PACE_MINUTES];

	if (m->minute != minute || !m->first_ms) {
		m->minute = minute;
		m->first_ms = now_ms - took_ms;
		m->images = m->bytes = 0;
	}
	m->images += images;
	m->bytes += bytes;
}

void
pace_rate(const struct pace *p, int64_t now_ms, double *images, double *bytes)
{
	int64_t minute = now_ms / MINUTE_MS, first_ms = now_ms;
	uint64_t n = 0, size = 0;
	double seconds;
	int i;

	for (i = 0; i < PACE_MINUTES; i++) {
		const struct pace_minute *m = &p->minutes[i];

		if (!m->first_ms || m->minute <= minute - PACE_MINUTES)
			continue;
		n += m->images;
		size += m->bytes;
		if (m->first_ms < first_ms)
			first_ms = m->first_ms;
	}
	/* A second at least: what took no time says nothing of what comes. */
	seconds = (double)(now_ms - first_ms < SECOND_MS ? SECOND_MS : now_ms - first_ms) / 1000;
	*images = (double)n / seconds;
	*bytes = (double)size / seconds;
}
