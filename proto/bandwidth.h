/*
 * bandwidth.h - how much of its link a site may use, by hour of the week.
 *
 * A person at central sets it (`site bandwidth`), hello tells the edge. A rate for each hour from
 * monday 00:00 to sunday 24:00: bytes of bodies per second, each way; 0: nothing but what is
 * exempt; BANDWIDTH_FREE: as much as the link carries.
 *
 * Which hour it is: that of the site's local time (time zone and daylight saving of the edge), by
 * central's clock as the last hello told it, carried on by the monotonic clock (R28): an edge
 * whose clock is wrong, or is set, keeps to the table all the same. An hour that daylight saving
 * leaves out does not come, one that it repeats counts twice. A wrong clock at central, or a wrong
 * time zone, makes it another hour: sync is slower or faster then, and nothing else.
 *
 * Pure: no clock. Threads: plain data.
 */
#ifndef SALAMANDER_PROTO_BANDWIDTH_H
#define SALAMANDER_PROTO_BANDWIDTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/sync.pb-c.h"

enum { BANDWIDTH_DAYS = 7, BANDWIDTH_HOURS = 24 * BANDWIDTH_DAYS, BANDWIDTH_TEXT = 32 };

#define BANDWIDTH_FREE UINT64_MAX
#define BANDWIDTH_LEAST 1000 /* but for 0: less is slower than what is exempt */

struct bandwidth {
	uint64_t hours[BANDWIDTH_HOURS]; /* monday 00:00 is 0 */
};

/* No limit at any hour. */
void bandwidth_clear(struct bandwidth *b);
bool bandwidth_is_free(const struct bandwidth *b);
/* "20Mbit", "1.5Mbit", "500kbit", "1Gbit" (decimal, a second), "0" or "none". */
bool bandwidth_rate(const char *text, uint64_t *out);
/* The same as text; not rounded away: what it reads again is at most 1 % less or more. */
void bandwidth_rate_text(uint64_t rate, char out[BANDWIDTH_TEXT]);
/* This rate for "mon-fri" or "sat" (NULL: each day), "07:00-19:00" (NULL: all day; over midnight:
 * of the day on which it begins). false: b is as it was. */
bool bandwidth_set(struct bandwidth *b, uint64_t rate, const char *days, const char *hours);
/* Calls fn with each line as `site bandwidth NAME` takes it: "4Mbit mon-fri 07:00-19:00". */
void bandwidth_lines(const struct bandwidth *b, void (*fn)(void *arg, const char *line), void *arg);

/* As it travels and is kept: runs of hours with one rate; none: free. */
struct bandwidth_runs {
	Sync__BandwidthRun run[BANDWIDTH_HOURS];
	Sync__BandwidthRun *list[BANDWIDTH_HOURS];
	size_t n;
};
void bandwidth_to_runs(struct bandwidth_runs *out, const struct bandwidth *b);
/* What the runs do not cover is free; what is beyond a week is nothing. */
void bandwidth_of_runs(struct bandwidth *out, Sync__BandwidthRun *const *runs, size_t n);
/* Tells one table from another, on any machine; 0: free. */
uint64_t bandwidth_print(const struct bandwidth *b);

#endif
