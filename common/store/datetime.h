/*
 * datetime.h - DT keys against DT values (PS3.4 C.2.2.2.5): one moment, or a range.
 *
 * What a key leaves out is the earliest of its start and the latest of its end, so
 * "2026" is the whole year; what a value leaves out is its earliest. Offsets from UTC, of
 * their own or those of the zones, count where both sides have one; else the clocks on the
 * wall are compared. A hyphen
 * parts a range unless it can be an offset ("-0500": up to -1200, PS3.5 6.2).
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_STORE_DATETIME_H
#define SALAMANDER_COMMON_STORE_DATETIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATETIME_OFFSET_SIZE = 5 };

/* The zones of what says none itself: minutes east of Greenwich, where they are known. */
struct datetime_zones {
	bool key_known, value_known;
	int key, value;
};

/* false also when one of them is no DT. */
bool datetime_matches(const char *key, size_t key_n, const char *value, size_t n);
/* zones: NULL is fine. */
bool datetime_matches_in(const struct datetime_zones *zones, const char *key, size_t key_n,
			 const char *value, size_t n);
/* "+0100" or "-0500" at the start of s, in microseconds. */
bool datetime_offset(const char *s, size_t n, int64_t *us);
/* Does this DT say its offset? */
bool datetime_zoned(const char *s, size_t n);

#endif
