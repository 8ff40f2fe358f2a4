/*
 * zone.h - dates and times of one time zone as those of another (PS3.4 C.2.2.2.1.3).
 *
 * Timezone Offset From UTC (0008,0201) says in which zone the DA and TM of an object are. What
 * of them is one moment moves together; a date without a time stays, since nobody knows which
 * side of midnight it is on. Dates of birth never move.
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_STORE_ZONE_H
#define SALAMANDER_COMMON_STORE_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dicom/attrs.h"

/* A date and its time; moves: with the zone. */
struct zone_pair {
	uint32_t date, time;
	bool moves;
};

/* The pair that this attribute is half of; NULL: of none. */
const struct zone_pair *zone_pair_of(uint32_t tag);

/* "+0100": minutes east of Greenwich; false: it is no offset (PS3.5 6.2, DT). */
bool zone_parse(const char *s, size_t n, int *minutes);

enum { ZONE_DATE_SIZE = 9, ZONE_TIME_SIZE = 16, ZONE_TEXT_SIZE = 6 };

struct zone_room {
	char date[ZONE_DATE_SIZE], time[ZONE_TIME_SIZE];
};

/* Moves both by so many minutes, into room; false: they are as they were. */
bool zone_move(struct attr *date, struct attr *time, int minutes, struct zone_room *room);
/* "+0100" of minutes. */
void zone_print(char out[ZONE_TEXT_SIZE], int minutes);
/* A day of the calendar so many days on (few); false: it is none, out is as it was. */
bool zone_day(char date[ZONE_DATE_SIZE], int days);

#endif
