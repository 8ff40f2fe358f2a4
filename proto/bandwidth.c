#include "proto/bandwidth.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/digest.h"

enum { DAY = 24, LINE = 80 };

#define MOST (UINT64_C(1) << 40) /* a second; more is as much as the link carries */

static const char names[BANDWIDTH_DAYS][4] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

void
bandwidth_clear(struct bandwidth *b)
{
	size_t i;

	for (i = 0; i < BANDWIDTH_HOURS; i++)
		b->hours[i] = BANDWIDTH_FREE;
}

bool
bandwidth_is_free(const struct bandwidth *b)
{
	size_t i;

	for (i = 0; i < BANDWIDTH_HOURS; i++)
		if (b->hours[i] != BANDWIDTH_FREE)
			return false;
	return true;
}

/* --- rates: decimal bits, as links are sold --- */

static const struct {
	const char *name;
	uint64_t bits;
} units[] = {{"Gbit", UINT64_C(1000000000)}, {"Mbit", 1000000}, {"kbit", 1000}};
enum { UNITS = sizeof(units) / sizeof(units[0]) };

/* "12", "1.5": in thousandths. false: not a number, or far too large. */
static bool
thousandths(const char *s, size_t n, uint64_t *out)
{
	uint64_t places = 0;
	bool point = false;
	size_t i, digits = 0;

	*out = 0;
	for (i = 0; i < n; i++) {
		if (s[i] == '.' && !point && digits) {
			point = true;
			continue;
		}
		if (s[i] < '0' || s[i] > '9' || ++digits > 9 || (point && ++places > 3))
			return false;
		*out = *out * 10 + (uint64_t)(s[i] - '0');
	}
	for (; places < 3; places++)
		*out *= 10;
	return digits > 0 && s[n - 1] != '.';
}

bool
bandwidth_rate(const char *text, uint64_t *out)
{
	size_t n = strspn(text, "0123456789."), i;
	uint64_t number;

	*out = strcmp(text, "none") == 0 ? BANDWIDTH_FREE : 0;
	if (*out || strcmp(text, "0") == 0)
		return true;
	if (!n || !thousandths(text, n, &number))
		return false;
	for (i = 0; i < UNITS; i++)
		if (strcmp(text + n, units[i].name) == 0)
			*out = number * (units[i].bits / 1000) / 8;
	return *out >= BANDWIDTH_LEAST && *out < MOST;
}

void
bandwidth_rate_text(uint64_t rate, char out[BANDWIDTH_TEXT])
{
	uint64_t bits = rate * 8, part;
	unsigned i = 0;
	int n;

	if (rate == BANDWIDTH_FREE || rate == 0) {
		(void)snprintf(out, BANDWIDTH_TEXT, "%s", rate ? "none" : "0");
		return;
	}
	while (i < UNITS - 1 && bits < units[i].bits)
		i++;
	part = (bits + units[i].bits / 2000) / (units[i].bits / 1000);
	n = snprintf(out, BANDWIDTH_TEXT, "%llu.%03u", (unsigned long long)(part / 1000),
		     (unsigned)(part % 1000));
	while (out[n - 1] == '0')
		n--;
	n -= out[n - 1] == '.';
	(void)snprintf(out + n, BANDWIDTH_TEXT - (size_t)n, "%s", units[i].name);
}

/* --- hours --- */

static bool
day_of(const char *s, unsigned *out)
{
	for (*out = 0; *out < BANDWIDTH_DAYS; ++*out)
		if (strncmp(s, names[*out], 3) == 0)
			return true;
	return false;
}

/* "mon" or "fri-mon": the first, and how many. */
static bool
days_of(const char *s, unsigned *first, unsigned *n)
{
	size_t length = s ? strlen(s) : 0;
	unsigned last;

	*first = 0;
	*n = BANDWIDTH_DAYS;
	if (!s)
		return true;
	if (!day_of(s, first) || (length != 3 && (length != 7 || s[3] != '-')) ||
	    !day_of(length == 7 ? s + 4 : s, &last))
		return false;
	*n = (last + BANDWIDTH_DAYS - *first) % BANDWIDTH_DAYS + 1;
	return true;
}

/* "07:00-19:00": whole hours. */
static bool
hours_of(const char *s, unsigned *from, unsigned *n)
{
	unsigned m1, m2, to;
	int end = 0;

	*from = 0;
	*n = DAY;
	if (!s)
		return true;
	if (strspn(s, "0123456789:-") != strlen(s) || strlen(s) != 11 ||
	    sscanf(s, "%2u:%2u-%2u:%2u%n", from, &m1, &to, &m2, &end) != 4 || end != 11 || m1 ||
	    m2 || *from >= DAY || to > DAY)
		return false;
	*n = to > *from ? to - *from : to + DAY - *from;
	return true;
}

bool
bandwidth_set(struct bandwidth *b, uint64_t rate, const char *days, const char *hours)
{
	unsigned first, n_days, from, n, day, i;

	if (!days_of(days, &first, &n_days) || !hours_of(hours, &from, &n))
		return false;
	for (day = first; day < first + n_days; day++)
		for (i = 0; i < n; i++)
			b->hours[(day * DAY + from + i) % BANDWIDTH_HOURS] = rate;
	return true;
}

/* Those of one day, for `days` days from this one on. */
static void
day_lines(const struct bandwidth *b, unsigned day, unsigned days,
	  void (*fn)(void *arg, const char *line), void *arg)
{
	const uint64_t *hours = b->hours + day * DAY;
	char rate[BANDWIDTH_TEXT], line[LINE];
	unsigned from, to;

	for (from = 0; from < DAY; from = to) {
		for (to = from + 1; to < DAY && hours[to] == hours[from]; to++)
			;
		bandwidth_rate_text(hours[from], rate);
		(void)snprintf(line, sizeof(line), "%s %s%s%s %02u:00-%02u:00", rate, names[day],
			       days > 1 ? "-" : "", days > 1 ? names[day + days - 1] : "", from,
			       to);
		fn(arg, line);
	}
}

void
bandwidth_lines(const struct bandwidth *b, void (*fn)(void *arg, const char *line), void *arg)
{
	unsigned day, n;

	for (day = 0; day < BANDWIDTH_DAYS; day += n) {
		for (n = 1; day + n < BANDWIDTH_DAYS; n++)
			if (memcmp(b->hours + day * DAY, b->hours + (day + n) * DAY,
				   DAY * sizeof(b->hours[0])) != 0)
				break;
		day_lines(b, day, n, fn, arg);
	}
}

/* --- runs --- */

void
bandwidth_to_runs(struct bandwidth_runs *out, const struct bandwidth *b)
{
	size_t i;

	out->n = 0;
	for (i = 0; i < BANDWIDTH_HOURS && !bandwidth_is_free(b); i++) {
		Sync__BandwidthRun *run;

		if (!i || b->hours[i] != b->hours[i - 1]) {
			run = &out->run[out->n];
			sync__bandwidth_run__init(run);
			run->limited = b->hours[i] != BANDWIDTH_FREE;
			run->rate = run->limited ? b->hours[i] : 0;
			out->list[out->n++] = run;
		}
		out->run[out->n - 1].hours++;
	}
}

void
bandwidth_of_runs(struct bandwidth *out, Sync__BandwidthRun *const *runs, size_t n)
{
	size_t i, at = 0;
	uint32_t k;

	bandwidth_clear(out);
	for (i = 0; i < n; i++)
		for (k = 0; k < runs[i]->hours && at < BANDWIDTH_HOURS; k++, at++)
			if (runs[i]->limited && runs[i]->rate < MOST) /* whoever says more */
				out->hours[at] = runs[i]->rate;
}

uint64_t
bandwidth_print(const struct bandwidth *b)
{
	unsigned char bytes[8 * BANDWIDTH_HOURS];
	uint64_t print;
	size_t i;

	if (bandwidth_is_free(b))
		return 0;
	for (i = 0; i < BANDWIDTH_HOURS; i++)
		buf_set_u64(bytes + 8 * i, b->hours[i]);
	print = xxh64_of(bytes, sizeof(bytes));
	return print ? print : 1;
}
