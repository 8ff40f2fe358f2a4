#include "common/store/datetime.h"

#include <stdint.h>
#include <string.h>

enum { OFFSET_SIZE = DATETIME_OFFSET_SIZE, WEST_MAX = 1200, EAST_MAX = 1400, FRACTION_DIGITS = 6 };

struct moment {
	int64_t us; /* by the clock on the wall */
	bool zoned;
	int64_t offset_us;
};

static bool
number(const char *s, size_t n, int64_t *out)
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

bool
datetime_offset(const char *s, size_t n, int64_t *us)
{
	int64_t v, sign = n && *s == '-' ? -1 : 1;

	if (n < OFFSET_SIZE || (*s != '-' && *s != '+') || !number(s + 1, OFFSET_SIZE - 1, &v) ||
	    v % 100 > 59 || v > (sign < 0 ? WEST_MAX : EAST_MAX))
		return false;
	*us = sign * (v / 100 * 60 + v % 100) * 60 * 1000000;
	return true;
}

static int64_t
days_of_month(int64_t year, int64_t month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

/* Days since the first of January of the year 0. */
static int64_t
day_number(int64_t year, int64_t month, int64_t day)
{
	int64_t before = year - 1, days = year * 365, m;

	if (year > 0)
		days += before / 4 - before / 100 + before / 400 + 1;
	for (m = 1; m < month; m++)
		days += days_of_month(year, m);
	return days + day - 1;
}

/* ".5" and the like; what is missing is `fill`. */
static bool
fraction(const char *s, size_t n, char fill, int64_t *us)
{
	char text[FRACTION_DIGITS];

	memset(text, fill, sizeof(text));
	if (n > 0 && (*s != '.' || n < 2 || n > FRACTION_DIGITS + 1))
		return false;
	if (n > 0)
		memcpy(text, s + 1, n - 1);
	return number(text, sizeof(text), us);
}

/* YYYY[MM[DD[HH[MM[SS[.F]]]]]][&ZZXX] */
static bool
parse(const char *s, size_t n, bool latest, struct moment *out)
{
	enum { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, PARTS };
	static const int64_t low[PARTS] = {0, 1, 1, 0, 0, 0};
	int64_t high[PARTS] = {9999, 12, 31, 23, 59, 59};
	int64_t part[PARTS], us;
	size_t at = 0, i, width;

	memset(out, 0, sizeof(*out));
	while (n > 0 && s[n - 1] == ' ')
		n--;
	if (n >= OFFSET_SIZE &&
	    datetime_offset(s + n - OFFSET_SIZE, OFFSET_SIZE, &out->offset_us)) {
		out->zoned = true;
		n -= OFFSET_SIZE;
	}
	for (i = 0; i < PARTS; i++) {
		width = i == YEAR ? 4 : 2;
		if (i == DAY)
			high[DAY] = days_of_month(part[YEAR], part[MONTH]);
		if (i > YEAR && (at == n || s[at] == '.')) {
			part[i] = latest ? high[i] : low[i];
			continue;
		}
		if (n - at < width || !number(s + at, width, &part[i]))
			return false;
		if (i == SECOND && part[i] == 60) /* a leap second */
			part[i] = 59;
		if (part[i] < low[i] || part[i] > high[i])
			return false;
		at += width;
	}
	if (!fraction(s + at, n - at, latest ? '9' : '0', &us))
		return false;
	out->us = day_number(part[YEAR], part[MONTH], part[DAY]) * 86400 + part[HOUR] * 3600;
	out->us = (out->us + part[MINUTE] * 60 + part[SECOND]) * 1000000 + us;
	return true;
}

static bool
not_after(const struct moment *a, const struct moment *b)
{
	if (a->zoned && b->zoned)
		return a->us - a->offset_us <= b->us - b->offset_us;
	return a->us <= b->us;
}

/* The hyphen between two moments; n: there is none. */
static size_t
hyphen(const char *s, size_t n)
{
	int64_t us;
	size_t i;

	for (i = 0; i < n; i++)
		if (s[i] == '-' && !(i > 0 && datetime_offset(s + i, n - i, &us) &&
				     (i + OFFSET_SIZE == n || s[i + OFFSET_SIZE] == '-' ||
				      s[i + OFFSET_SIZE] == ' ')))
			return i;
	return n;
}

/* What says no offset of its own is in its zone. */
static bool
parse_in(bool known, int minutes, const char *s, size_t n, bool latest, struct moment *out)
{
	if (!parse(s, n, latest, out))
		return false;
	if (!out->zoned && known) {
		out->zoned = true;
		out->offset_us = minutes * INT64_C(60000000);
	}
	return true;
}

bool
datetime_zoned(const char *s, size_t n)
{
	struct moment m;

	return parse(s, n, false, &m) && m.zoned;
}

bool
datetime_matches_in(const struct datetime_zones *zones, const char *key, size_t kn, const char *v,
		    size_t vn)
{
	size_t left = hyphen(key, kn), skip = left < kn ? left + 1 : 0;
	struct datetime_zones z = zones ? *zones : (struct datetime_zones){false, false, 0, 0};
	struct moment from, to, value;

	if (!parse_in(z.value_known, z.value, v, vn, false, &value))
		return false;
	if (left > 0 &&
	    (!parse_in(z.key_known, z.key, key, left, false, &from) || !not_after(&from, &value)))
		return false;
	if (skip == kn) /* "2026-": no end; "-": whatever has a moment */
		return true;
	return parse_in(z.key_known, z.key, key + skip, kn - skip, true, &to) &&
	       not_after(&value, &to);
}

bool
datetime_matches(const char *key, size_t kn, const char *v, size_t vn)
{
	return datetime_matches_in(NULL, key, kn, v, vn);
}
