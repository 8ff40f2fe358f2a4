/*
 * clock.h - the only source of time, so that tests can hold it.
 *
 * The wall clock decides nothing about durability, order, identity,
 * eviction or deletion (R28); durations are monotonic.
 * Threads: any; a manual clock is set by one thread.
 */
#ifndef SALAMANDER_COMMON_BASE_CLOCK_H
#define SALAMANDER_COMMON_BASE_CLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct clock {
	int64_t (*mono_ms)(struct clock *c);	       /* since an arbitrary start, never back */
	int64_t (*wall_ms)(struct clock *c);	       /* Unix time; display and --days only   */
	void (*sleep_ms)(struct clock *c, int64_t ms); /* NULL: real time passes     */
};

struct clock_manual {
	struct clock c; /* first: a struct clock * is one of these */
	_Atomic int64_t mono;
	_Atomic int64_t wall;
};

struct clock *clock_real(void);
/* The simulator: what clock_real gives from now on; NULL: the system's. Before threads start. */
void clock_use(struct clock *c);
void clock_manual_init(struct clock_manual *m, int64_t mono_ms, int64_t wall_ms);
void clock_manual_advance(struct clock_manual *m, int64_t ms);

int64_t clock_mono(struct clock *c);
int64_t clock_wall(struct clock *c);
/* Waits by this clock; for what a person, or a rate, waits for. */
void clock_sleep(struct clock *c, int64_t ms);
/* A condition whose waits end by the monotonic clock, and the time in ms for such a wait. */
void clock_cond(pthread_cond_t *c);
void clock_deadline(struct timespec *t, int64_t ms);
/* "2026-11-23T21:55:12Z" (RFC 3339, UTC); "" for wall_ms <= 0. out holds 21. */
enum { CLOCK_RFC3339_SIZE = 21 };
void clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);

#endif
