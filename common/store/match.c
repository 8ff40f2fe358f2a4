#include "common/store/match.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/store/datetime.h"
#include "common/store/match_name.h"

enum { TIME_DIGITS = 12 }; /* HHMMSS.FFFFFF without the dot */

bool
match_universal(const char *key, size_t n)
{
	return n == 0 || (n == 1 && *key == '*');
}

bool
match_has_wildcard(const char *key, size_t n)
{
	return memchr(key, '*', n) || memchr(key, '?', n);
}

static size_t
char_bytes(const char *s, size_t n)
{
	size_t used = 1;

	while (used < n && ((unsigned char)s[used] & 0xc0) == 0x80)
		used++;
	return used;
}

/* * and ?, iteratively: the last star is where a failed try goes back to. */
static bool
wild(const char *k, size_t kn, const char *v, size_t vn)
{
	size_t ki = 0, vi = 0, star = kn, back = 0;

	while (vi < vn) {
		if (ki < kn && k[ki] == '*') {
			star = ki++;
			back = vi;
		} else if (ki < kn && k[ki] == '?') {
			ki++;
			vi += char_bytes(v + vi, vn - vi);
		} else if (ki < kn && k[ki] == v[vi]) {
			ki++;
			vi++;
		} else if (star < kn) {
			ki = star + 1;
			vi = ++back;
		} else {
			return false;
		}
	}
	while (ki < kn && k[ki] == '*')
		ki++;
	return ki == kn;
}

bool
match_wild(const struct buf *key, const char *name, size_t n)
{
	return wild((const char *)key->data, key->len, name, n);
}

/* Digits of a date or time ("2026.01.02", "12:30" are old forms), filled up with `fill`. */
static bool
digits(const char *s, size_t n, size_t want, char fill, char *out)
{
	size_t i, m = 0;

	for (i = 0; i < n; i++) {
		if (s[i] == '.' || s[i] == ':' || s[i] == ' ')
			continue;
		if (s[i] < '0' || s[i] > '9' || m >= want)
			return false;
		out[m++] = s[i];
	}
	if (m == 0)
		return false;
	memset(out + m, fill, want - m);
	out[want] = '\0';
	return true;
}

static bool
bounds(const char *key, size_t n, size_t want, char *from, char *to)
{
	const char *dash = memchr(key, '-', n);
	size_t left = dash ? (size_t)(dash - key) : n, right = dash ? n - left - 1 : n;
	const char *second = dash ? dash + 1 : key;

	memset(from, '0', want);
	memset(to, '9', want);
	from[want] = to[want] = '\0';
	if (left && !digits(key, left, want, '0', from))
		return false;
	if (right && !digits(second, right, want, '9', to))
		return false;
	return left || right || dash; /* "-": whatever has a date */
}

bool
match_date_range(const char *key, size_t n, char from[9], char to[9])
{
	return bounds(key, n, 8, from, to);
}

static bool
within(const char *key, size_t kn, const char *v, size_t vn, size_t want)
{
	char from[TIME_DIGITS + 1], to[TIME_DIGITS + 1], value[TIME_DIGITS + 1];

	return bounds(key, kn, want, from, to) && digits(v, vn, want, '0', value) &&
	       strcmp(value, from) >= 0 && strcmp(value, to) <= 0;
}

enum { DATE_DIGITS = 8, MOMENT_DIGITS = DATE_DIGITS + TIME_DIGITS };

bool
match_moment(struct attr date_key, struct attr time_key, struct attr date, struct attr time)
{
	char from[MOMENT_DIGITS + 1], to[MOMENT_DIGITS + 1];
	char first[MOMENT_DIGITS + 1], last[MOMENT_DIGITS + 1];

	if (!bounds(date_key.value, date_key.n, DATE_DIGITS, from, to) ||
	    !bounds(time_key.value, time_key.n, TIME_DIGITS, from + DATE_DIGITS,
		    to + DATE_DIGITS) ||
	    !digits(date.value, date.n, DATE_DIGITS, '0', first))
		return false;
	memcpy(last, first, DATE_DIGITS);
	memset(first + DATE_DIGITS, '0', TIME_DIGITS);
	memset(last + DATE_DIGITS, '9', TIME_DIGITS);
	first[MOMENT_DIGITS] = last[MOMENT_DIGITS] = '\0';
	if (time.n > 0 && (!digits(time.value, time.n, TIME_DIGITS, '0', first + DATE_DIGITS) ||
			   !digits(time.value, time.n, TIME_DIGITS, '0', last + DATE_DIGITS)))
		return false;
	return strcmp(last, from) >= 0 && strcmp(first, to) <= 0;
}

/* One of a list of UIDs (PS3.4 C.2.2.2.2). */
static bool
in_list(const char *key, size_t kn, const char *v, size_t vn)
{
	for (;;) {
		const char *bar = memchr(key, '\\', kn);
		size_t n = bar ? (size_t)(bar - key) : kn;

		if (n == vn && memcmp(key, v, n) == 0)
			return true;
		if (!bar)
			return false;
		key += n + 1;
		kn -= n + 1;
	}
}

static bool
one(const struct name_rules *rules, const char vr[2], const char *key, size_t kn, const char *v,
    size_t vn)
{
	if (memcmp(vr, "UI", 2) == 0)
		return in_list(key, kn, v, vn);
	if (memcmp(vr, "DA", 2) == 0)
		return within(key, kn, v, vn, 8);
	if (memcmp(vr, "TM", 2) == 0)
		return within(key, kn, v, vn, TIME_DIGITS);
	if (memcmp(vr, "DT", 2) == 0)
		return datetime_matches(key, kn, v, vn);
	if (memcmp(vr, "PN", 2) == 0)
		return match_name(rules, key, kn, v, vn);
	if (memcmp(vr, "CS", 2) == 0 && memchr(key, '\\', kn))
		return in_list(key, kn, v, vn);
	return wild(key, kn, v, vn);
}

bool
match_value(const char vr[2], const char *key, size_t kn, struct attr value)
{
	return match_value_by(NULL, vr, key, kn, value);
}

bool
match_value_by(const struct name_rules *rules, const char vr[2], const char *key, size_t kn,
	       struct attr value)
{
	bool text =
		memcmp(vr, "LT", 2) == 0 || memcmp(vr, "ST", 2) == 0 || memcmp(vr, "UT", 2) == 0;

	for (;;) {
		const char *bar = text || !value.n ? NULL : memchr(value.value, '\\', value.n);
		size_t n = bar ? (size_t)(bar - value.value) : value.n;

		if (one(rules, vr, key, kn, value.value, n))
			return true;
		if (!bar)
			return false;
		value.value += n + 1;
		value.n -= n + 1;
	}
}

size_t
match_id_length(const char *s, size_t n)
{
	const char *mark = memmem(s, n, "^^^", 3);

	return mark ? (size_t)(mark - s) : n;
}

/* One part of a key and of a value: the ID, or the issuer. */
static bool
part_matches(const char *key, size_t kn, const char *v, size_t vn)
{
	struct attr value = {0, v, vn};

	return match_universal(key, kn) || match_value("LO", key, kn, value);
}

bool
match_ids(const char *key, size_t key_n, struct attr value)
{
	size_t kid = match_id_length(key, key_n), kis = kid < key_n ? kid + 3 : key_n;

	while (value.n > 0) {
		const char *bar = memchr(value.value, '\\', value.n);
		size_t n = bar ? (size_t)(bar - value.value) : value.n;
		size_t id = match_id_length(value.value, n), issuer = id < n ? id + 3 : n;

		if (part_matches(key, kid, value.value, id) &&
		    part_matches(key + kis, key_n - kis, value.value + issuer, n - issuer))
			return true;
		value.value += bar ? n + 1 : n;
		value.n -= bar ? n + 1 : n;
	}
	return false;
}

/* NULL: the key does not count. */
static const char *
vr_in_item(const struct match_vrs *vrs, uint32_t sequence, uint32_t tag)
{
	const struct key_item *of = key_item(sequence, tag);
	const char *vr = vrs ? vrs->of(vrs->arg, tag) : NULL;

	if (of)
		return of->vr;
	return vr && !vr[0] ? "LO" : vr;
}

static bool
item_matches(const struct match_vrs *vrs, struct attr key, struct attr item)
{
	struct attr asked, has;
	size_t k = 0, pos;
	bool found;

	while (items_attr(key, &k, &asked)) {
		const char *vr = vr_in_item(vrs, item.tag, asked.tag);

		if (match_universal(asked.value, asked.n) || !vr)
			continue;
		for (pos = 0, found = false; !found && items_attr(item, &pos, &has);)
			found = has.tag == asked.tag && match_value(vr, asked.value, asked.n, has);
		if (!found)
			return false;
	}
	return true;
}

/* The one item of a key; false: none, or an empty one. */
static bool
asked_item(const char *key, size_t n, struct attr *out)
{
	struct attr whole = {0, key, n};
	size_t pos = 0;

	return items_next(whole, &pos, out) && out->n > 0;
}

bool
match_items_universal(const char *key, size_t n)
{
	struct attr asked, of;
	size_t pos = 0;

	if (asked_item(key, n, &asked))
		while (items_attr(asked, &pos, &of))
			if (!match_universal(of.value, of.n))
				return false;
	return true;
}

bool
match_items(const char *key, size_t key_n, struct attr value)
{
	return match_items_by(NULL, key, key_n, value);
}

bool
match_items_by(const struct match_vrs *vrs, const char *key, size_t key_n, struct attr value)
{
	struct attr asked, item;
	size_t pos = 0;

	if (match_items_universal(key, key_n) || !asked_item(key, key_n, &asked))
		return true;
	while (items_next(value, &pos, &item))
		if (item_matches(vrs, asked, item))
			return true;
	return false;
}

void
match_items_answer(const char *key, size_t key_n, struct attr value, struct buf *out)
{
	match_items_answer_by(NULL, key, key_n, value, out);
}

/* However often: an answer is no longer than the value. */
static bool
names(struct attr item, uint32_t tag)
{
	struct attr of;
	size_t at = 0;

	while (items_attr(item, &at, &of))
		if (of.tag == tag)
			return true;
	return false;
}

void
match_items_answer_by(const struct match_vrs *vrs, const char *key, size_t key_n, struct attr value,
		      struct buf *out)
{
	struct attr asked, item, has;
	size_t pos = 0, at;

	if (!asked_item(key, key_n, &asked)) {
		buf_put(out, value.value, value.n);
		return;
	}
	while (items_next(value, &pos, &item)) {
		if (!item_matches(vrs, asked, item))
			continue;
		items_begin(out);
		for (at = 0; items_attr(item, &at, &has);)
			if (names(asked, has.tag))
				items_put(out, has.tag, has.value, has.n);
	}
}
