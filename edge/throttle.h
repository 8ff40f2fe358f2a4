/*
 * throttle.h - what the hour leaves of the link: central's table and [central] ceiling, whichever
 * is less (proto/bandwidth.h).
 *
 * replicate asks it before each step and gives the sender the rate; what is fetched from central
 * without a viewer that waits (refill, mend, versions that central chose) takes its turn here, by
 * a bucket of its own: the rate is for each way.
 * Threads: any; the bucket is guarded by the edge's mu.
 */
#ifndef SALAMANDER_EDGE_THROTTLE_H
#define SALAMANDER_EDGE_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf;
struct edge;
struct err;

struct throttle {
	bool limited;
	uint64_t rate;	      /* bytes per second; 0: nothing but what is exempt */
	int64_t hour_over_ms; /* monotonic: look again then; 0: it does not change by the hour */
};
void throttle_now(struct edge *e, struct throttle *out);
/* Wall clock, central's: from then on it is another rate; 0: at no hour of the week. local: the
 * same as "19:00", or "mon 07:00" when that is more than a day off. */
enum { THROTTLE_WHEN = 16 };
int64_t throttle_until(struct edge *e, char local[THROTTLE_WHEN]);
/* "19:00", or "mon 19:00". */
void throttle_name_time(int64_t wall_ms, bool far, char local[THROTTLE_WHEN]);
/* What hello told of it. */
struct bandwidth;
void throttle_heard(struct edge *e, const struct bandwidth *table, int64_t central_wall_ms);
/* [central] ceiling is a rate. */
int throttle_check(const struct conf *c, struct err *err);

/* --- what is fetched --- */

/* So many bytes at once, of `most`, that others find their turn. */
uint64_t throttle_part(struct edge *e, uint64_t most);
/* Monotonic: when the next may be fetched; now or before: it may. INT64_MAX: not in this hour. */
int64_t throttle_when(struct edge *e);
void throttle_fetched(struct edge *e, uint64_t bytes);
/* Waits for that. ERR_AGAIN: not in this hour, or the edge stops. */
int throttle_wait(struct edge *e, struct err *err);

#endif
