#include "common/store/zone.h"

#include <stdio.h>
#include <string.h>

#include "common/store/datetime.h"

enum { DAY_MINUTES = 1440, HOUR = 60, DATE_DIGITS = 8 };

/* PS3.4 C.2.2.2.5.4: dates and times that are one moment together. */
static const struct zone_pair pairs[] = {
	{0x00080012u, 0x00080013u, true}, {0x00080020u, 0x00080030u, true},
	{0x00080021u, 0x00080031u, true}, {0x00080022u, 0x00080032u, true},
	{0x00080023u, 0x00080033u, true}, {0x00100030u, 0x00100032u, false},
	{0x00400244u, 0x00400245u, true},
};

const struct zone_pair *
zone_pair_of(uint32_t tag)
{
	size_t i;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (pairs[i].date == tag || pairs[i].time == tag)
			return &pairs[i];
	return NULL;
}

bool
zone_parse(const char *s, size_t n, int *minutes)
{
	int64_t us;

	if (!datetime_offset(s, n, &us) || n != DATETIME_OFFSET_SIZE)
		return false;
	*minutes = (int)(us / 60000000);
	return true;
}

void
zone_print(char out[ZONE_TEXT_SIZE], int minutes)
{
	unsigned n = (unsigned)(minutes < 0 ? -minutes : minutes);

	(void)snprintf(out, ZONE_TEXT_SIZE, "%c%02u%02u", minutes < 0 ? '-' : '+', n / HOUR % 100,
		       n % HOUR);
}

static bool
number(const char *s, size_t n, int *out)
{
	size_t i;

	*out = 0;
	for (i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		*out = *out * 10 + (s[i] - '0');
	}
	return true;
}

static int
days_of(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

bool
zone_day(char date[ZONE_DATE_SIZE], int days)
{
	char text[16];
	int year, month, day;

	if (strlen(date) != DATE_DIGITS || !number(date, 4, &year) ||
	    !number(date + 4, 2, &month) || !number(date + 6, 2, &day) || month < 1 || month > 12 ||
	    day < 1 || day > days_of(year, month))
		return false;
	for (day += days; day < 1; day += days_of(year, month))
		if (--month < 1) {
			month = 12;
			year--;
		}
	while (day > days_of(year, month)) {
		day -= days_of(year, month);
		if (++month > 12) {
			month = 1;
			year++;
		}
	}
	if (year < 0 || year > 9999)
		return false;
	(void)snprintf(text, sizeof(text), "%04d%02d%02d", year % 10000, month % 100, day % 100);
	memcpy(date, text, ZONE_DATE_SIZE);
	return true;
}

/* Without the separators of old forms ("2026.01.02", "12:30"); false: too long. */
static bool
plain(struct attr a, char separator, char *out, size_t size)
{
	size_t i, m = 0;

	for (i = 0; i < a.n; i++) {
		if (a.value[i] == separator || a.value[i] == ' ')
			continue;
		if (m + 1 >= size)
			return false;
		out[m++] = a.value[i];
	}
	out[m] = '\0';
	return true;
}

/* HH, HHMM, HHMMSS[.F]: the minute of the day, and where the rest begins. */
static bool
minute_of(const char *s, int *out, size_t *rest)
{
	size_t n = strspn(s, "0123456789");
	int hour, minute = 0;

	if ((n != 2 && n != 4 && n != 6) || !number(s, 2, &hour) ||
	    (n > 2 && !number(s + 2, 2, &minute)) || hour > 23 || minute > 59)
		return false;
	*rest = n > 2 ? 4 : 2;
	*out = hour * HOUR + minute;
	return true;
}

bool
zone_move(struct attr *date, struct attr *time, int minutes, struct zone_room *room)
{
	char head[ZONE_DATE_SIZE], text[ZONE_TIME_SIZE], clock[ZONE_TEXT_SIZE];
	size_t rest;
	int at, days = 0;

	if (time->n == 0 || !plain(*time, ':', text, sizeof(text)) ||
	    !plain(*date, '.', head, sizeof(head)) || !minute_of(text, &at, &rest))
		return false;
	for (at += minutes; at < 0; at += DAY_MINUTES)
		days--;
	for (; at >= DAY_MINUTES; at -= DAY_MINUTES)
		days++;
	if (head[0] && !zone_day(head, days))
		return false;
	zone_print(clock, at); /* hours and minutes are written alike */
	if (text[rest] == '\0' && rest == 2 && at % HOUR == 0)
		clock[3] = '\0'; /* an hour stays an hour */
	(void)snprintf(room->time, sizeof(room->time), "%s%s", clock + 1, text + rest);
	(void)snprintf(room->date, sizeof(room->date), "%s", head);
	*time = (struct attr){time->tag, room->time, strlen(room->time)};
	*date = (struct attr){date->tag, room->date, strlen(room->date)};
	return true;
}
