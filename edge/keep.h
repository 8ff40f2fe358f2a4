/*
 * keep.h - the duty that makes room, and only of what may go (R9, R10, R11).
 *
 * From 80 % of the quota it asks central, study by study in the order of R11, for a
 * release; at 90 %, or when take-in waits, it frees what was released. In the dark
 * nothing goes below 97 %; above, only what central had confirmed in this epoch,
 * unless [cache] dark = keep. `hold` stops all of it.
 * Threads: any.
 */
#ifndef SALAMANDER_EDGE_KEEP_H
#define SALAMANDER_EDGE_KEEP_H

#include <stdbool.h>
#include <stdint.h>

struct ctl_reply;
struct edge;
struct err;
struct keep; /* opaque */
struct outbox_counts;
struct store_counts;

enum {
	KEEP_DARK_MS = 15 * 60 * 1000,
	KEEP_WAIT_MS = 10000,
	KEEP_WARNING_HOURS = 72, /* R11 */
	KEEP_ALARM_HOURS = 24
};

int keep_start(struct keep **out, struct edge *e, struct err *err);
/* Nobody waits for room any more. NULL is fine. */
void keep_hurry(struct keep *k);
void keep_stop(struct keep *k); /* NULL is fine */

/* Without a thread of its own, as the simulator has it. */
int keep_new(struct keep **out, struct edge *e, struct err *err);
void keep_turn(struct keep *k);

/* Take-in met a full cache: waits up to KEEP_WAIT_MS, from *since_ms (0: now) on, for room for
 * `bytes`. false: there is none, and nothing can be released. */
bool keep_wait(struct keep *k, uint64_t bytes, int64_t *since_ms);
/* Can anything be released, as far as is known? */
bool keep_can_release(struct keep *k);
/* Studies that had to go, and that central did not release, at the last look (R9); why the first
 * of them. */
uint64_t keep_not_released(struct keep *k, const char **why);
/* For the rate of take-in. */
void keep_taken(struct keep *k, uint64_t bytes);

/* Frees one study (NULL: all that central releases). *n: versions freed. */
int keep_evict(struct keep *k, const char *study, uint64_t *n, uint64_t *bytes, struct err *err);
/* No answered hello for 15 min, or none yet since the start (R10). */
bool keep_in_the_dark(struct edge *e);

/* Of the last day; less hours while there were not more. */
struct keep_day {
	double bytes, hours;
};
struct keep_status {
	bool hold, dark, young; /* young: own studies younger than keep_days had to go */
	bool rate_known;
	struct keep_day taken;
	double rate;		/* bytes an hour, of the last day        */
	double hours_left;	/* with the WAN: what is not owed makes room */
	double hours_left_dark; /* without                                   */
};
void keep_status(struct keep *k, uint64_t evictable, struct keep_status *out);
uint64_t keep_evictable(struct edge *e, const struct store_counts *here,
			const struct outbox_counts *owed);
enum keep_level { KEEP_ROOMY, KEEP_WARNING, KEEP_ALARM };
enum keep_level keep_level(const struct keep_status *s);

#endif
