#include "edge/throttle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "edge/edge.h"
#include "proto/bandwidth.h"
#include "proto/bucket.h"

enum { PART_MIN = 64 << 10, STEP_MS = 200, WAIT_MAX_MS = 600000, SUNDAYS = 6 };

#define HOUR_MS INT64_C(3600000)

int
throttle_check(const struct conf *c, struct err *err)
{
	const char *text = conf_string(c, "central", NULL, "ceiling");
	uint64_t rate;

	if (bandwidth_rate(text, &rate) && rate)
		return 0;
	return err_set(err, ERR_LOCAL, 0,
		       "[central] ceiling: a rate such as 20Mbit or 500kbit, or none");
}

static uint64_t
ceiling(const struct edge *e)
{
	uint64_t rate;

	return bandwidth_rate(conf_string(e->conf, "central", NULL, "ceiling"), &rate) && rate
		       ? rate
		       : BANDWIDTH_FREE;
}

void
throttle_heard(struct edge *e, const struct bandwidth *table, int64_t central_wall_ms)
{
	(void)pthread_mutex_lock(&e->mu);
	e->contact.bandwidth = *table;
	e->contact.tabled = !bandwidth_is_free(table);
	e->contact.told_wall_ms = central_wall_ms;
	e->contact.told_mono_ms = clock_mono(e->clock);
	(void)pthread_mutex_unlock(&e->mu);
}

/* R28: central's clock, whatever ours does; mu held. */
static int64_t
central_now(const struct edge *e)
{
	return e->contact.told_wall_ms + clock_mono(e->clock) - e->contact.told_mono_ms;
}

/* The hour of the week where the edge stands. left: until the next one begins. */
static bool
hour_of(int64_t wall_ms, unsigned *hour, int64_t *left_ms)
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	if (wall_ms < 0 || !localtime_r(&t, &tm))
		return false;
	*hour = 24 * (unsigned)((tm.tm_wday + SUNDAYS) % BANDWIDTH_DAYS) + (unsigned)tm.tm_hour;
	*left_ms = HOUR_MS - 60000 * tm.tm_min - 1000 * (tm.tm_sec < 60 ? tm.tm_sec : 59) -
		   wall_ms % 1000;
	return true;
}

/* mu held. */
static uint64_t
rate_at(const struct edge *e, int64_t wall_ms, int64_t *left_ms)
{
	uint64_t most = ceiling(e), rate = BANDWIDTH_FREE;
	unsigned hour;

	*left_ms = 0;
	if (e->contact.tabled && hour_of(wall_ms, &hour, left_ms))
		rate = e->contact.bandwidth.hours[hour];
	return rate < most ? rate : most;
}

/* mu held. */
static void
look(const struct edge *e, struct throttle *out)
{
	int64_t left;
	uint64_t rate = rate_at(e, central_now(e), &left);

	out->limited = rate != BANDWIDTH_FREE;
	out->rate = out->limited ? rate : 0;
	out->hour_over_ms = left ? clock_mono(e->clock) + left : 0;
}

void
throttle_now(struct edge *e, struct throttle *out)
{
	(void)pthread_mutex_lock(&e->mu);
	look(e, out);
	(void)pthread_mutex_unlock(&e->mu);
}

void
throttle_name_time(int64_t wall_ms, bool far, char local[THROTTLE_WHEN])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	local[0] = '\0';
	if (localtime_r(&t, &tm))
		(void)strftime(local, THROTTLE_WHEN, far ? "%a %H:%M" : "%H:%M", &tm);
}

int64_t
throttle_until(struct edge *e, char local[THROTTLE_WHEN])
{
	int64_t now, at, left, until = 0;
	uint64_t rate;
	unsigned i;

	(void)pthread_mutex_lock(&e->mu);
	now = at = central_now(e);
	rate = rate_at(e, now, &left);
	for (i = 0; left && !until && i <= BANDWIDTH_HOURS; i++) {
		at += left;
		if (rate_at(e, at, &left) != rate)
			until = at;
	}
	(void)pthread_mutex_unlock(&e->mu);
	local[0] = '\0';
	if (until)
		throttle_name_time(until, until - now >= 24 * HOUR_MS, local);
	return until;
}

/* --- what is fetched --- */

uint64_t
throttle_part(struct edge *e, uint64_t most)
{
	struct throttle now;
	uint64_t n;

	throttle_now(e, &now);
	n = now.rate > PART_MIN ? now.rate : PART_MIN;
	return now.limited && n < most ? n : most;
}

int64_t
throttle_when(struct edge *e)
{
	struct throttle now;
	int64_t when;

	(void)pthread_mutex_lock(&e->mu);
	look(e, &now);
	bucket_limit(&e->fetching, clock_mono(e->clock), now.limited, now.rate);
	when = bucket_when(&e->fetching);
	(void)pthread_mutex_unlock(&e->mu);
	return when;
}

void
throttle_fetched(struct edge *e, uint64_t bytes)
{
	(void)pthread_mutex_lock(&e->mu);
	bucket_take(&e->fetching, bytes);
	(void)pthread_mutex_unlock(&e->mu);
}

int
throttle_wait(struct edge *e, struct err *err)
{
	int64_t when = throttle_when(e), waited = 0;

	/* What a part can owe is paid in less than that, at any rate but 0. */
	while (when > clock_mono(e->clock) && when != INT64_MAX && waited < WAIT_MAX_MS &&
	       !atomic_load(&e->stopping)) {
		clock_sleep(e->clock, STEP_MS);
		waited += STEP_MS;
		when = throttle_when(e);
	}
	if (when <= clock_mono(e->clock))
		return 0;
	return err_set(err, ERR_AGAIN, 0,
		       "central's table (`site bandwidth`) leaves nothing in this hour");
}
