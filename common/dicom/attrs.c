#include "common/dicom/attrs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

enum { HEAD = 6 };

bool
attrs_next(struct attrs set, size_t *pos, struct attr *out)
{
	size_t left = set.n - *pos;
	const unsigned char *p;

	if (left < HEAD)
		return false;
	p = (const unsigned char *)set.p + *pos;
	if (left - HEAD < buf_get_u16(p + 4))
		return false;
	out->tag = buf_get_u32(p);
	out->n = buf_get_u16(p + 4);
	out->value = (const char *)p + HEAD;
	*pos += HEAD + out->n;
	return true;
}

bool
attrs_get(struct attrs set, uint32_t tag, struct attr *out)
{
	struct attr a;
	size_t pos = 0;

	while (attrs_next(set, &pos, &a)) {
		if (a.tag == tag) {
			*out = a;
			return true;
		}
		if (a.tag > tag)
			break;
	}
	return false;
}

/* n, or less so that no UTF-8 character is cut. */
static size_t
cut(const char *value, size_t n)
{
	if (n <= ATTRS_VALUE_MAX)
		return n;
	n = ATTRS_VALUE_MAX;
	while (n > 0 && ((unsigned char)value[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static void
append(struct buf *set, uint32_t tag, const char *value, size_t n)
{
	n = cut(value, n);
	buf_put_u32(set, tag);
	buf_put_u16(set, (unsigned)n);
	buf_put(set, value, n);
}

void
attrs_put(struct buf *set, uint32_t tag, const char *value, size_t n)
{
	struct attr last = {0, NULL, 0};
	size_t pos = 0;

	while (attrs_next(attrs_of(set), &pos, &last))
		;
	if (last.value && last.tag >= tag)
		abort();
	append(set, tag, value, n);
}

void
attrs_replace(struct buf *out, struct attrs old, uint32_t tag, const char *value, size_t n)
{
	struct attr a;
	size_t pos = 0;
	bool done = false;

	while (attrs_next(old, &pos, &a)) {
		if (!done && a.tag >= tag) {
			append(out, tag, value, n);
			done = true;
		}
		if (a.tag != tag)
			append(out, a.tag, a.value, a.n);
	}
	if (!done)
		append(out, tag, value, n);
}

void
attrs_set_number(struct buf *set, uint32_t tag, uint64_t n)
{
	struct buf out = BUF_INIT;
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	attrs_replace(&out, attrs_of(set), tag, text, strlen(text));
	out.failed = out.failed || buf_failed(set);
	buf_fini(set);
	*set = out;
}

static bool
has_value(struct attr a, const char *value, size_t n)
{
	while (a.n >= n && a.value) {
		const char *bar = memchr(a.value, '\\', a.n);
		size_t part = bar ? (size_t)(bar - a.value) : a.n;

		if (part == n && memcmp(a.value, value, n) == 0)
			return true;
		if (!bar)
			break;
		a.value += part + 1;
		a.n -= part + 1;
	}
	return false;
}

static void
add_value(struct buf *set, uint32_t tag, const char *value, size_t n)
{
	struct buf joined = BUF_INIT, out = BUF_INIT;
	struct attr a = {tag, NULL, 0};

	if (n == 0 || (attrs_get(attrs_of(set), tag, &a) && has_value(a, value, n)))
		return;
	buf_put(&joined, a.value, a.n);
	buf_put(&joined, "\\", a.n > 0);
	buf_put(&joined, value, n);
	attrs_replace(&out, attrs_of(set), tag, (const char *)joined.data, joined.len);
	out.failed = buf_failed(&out) || buf_failed(&joined) || buf_failed(set);
	buf_fini(&joined);
	buf_fini(set);
	*set = out;
}

void
attrs_add_values(struct buf *set, uint32_t tag, const char *values, size_t n)
{
	while (n > 0) {
		const char *bar = memchr(values, '\\', n);
		size_t one = bar ? (size_t)(bar - values) : n;

		add_value(set, tag, values, one);
		values += bar ? one + 1 : one;
		n -= bar ? one + 1 : one;
	}
}

static void
merge(struct buf *out, struct attrs first, struct attrs second, bool empties_count)
{
	struct attr a, b;
	size_t pa = 0, pb = 0;
	bool have_a = attrs_next(first, &pa, &a), have_b = attrs_next(second, &pb, &b);

	while (have_a || have_b) {
		bool use_a = have_a && (!have_b || a.tag <= b.tag);
		bool same = have_a && have_b && a.tag == b.tag;

		if (use_a && !(same && a.n == 0 && !empties_count))
			append(out, a.tag, a.value, a.n);
		else
			append(out, b.tag, b.value, b.n);
		if (!use_a || same)
			have_b = attrs_next(second, &pb, &b);
		if (use_a)
			have_a = attrs_next(first, &pa, &a);
	}
}

void
attrs_merge(struct buf *out, struct attrs first, struct attrs second)
{
	merge(out, first, second, false);
}

void
attrs_overlay(struct buf *out, struct attrs first, struct attrs second)
{
	merge(out, first, second, true);
}

bool
attrs_valid(struct attrs set)
{
	struct attr a;
	size_t pos = 0;
	uint64_t last = 0;
	bool any = false;

	while (attrs_next(set, &pos, &a)) {
		if (a.n > ATTRS_VALUE_MAX || (any && a.tag <= last))
			return false;
		last = a.tag;
		any = true;
	}
	return pos == set.n;
}

size_t
attrs_copy(struct attrs set, uint32_t tag, char *to, size_t size)
{
	struct attr a;
	size_t n = 0;

	if (attrs_get(set, tag, &a)) {
		n = a.n < size ? a.n : size - 1;
		memcpy(to, a.value, n);
	}
	to[n] = '\0';
	return n;
}

struct attrs
attrs_of(const struct buf *b)
{
	struct attrs set = {b->data, b->len};

	return set;
}

bool
tags_has(const struct tags *t, uint32_t tag)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		if (t->tag[i] == tag)
			return true;
	return false;
}

void
tags_add(struct tags *t, uint32_t tag)
{
	if (t->n < TAGS_MAX && !tags_has(t, tag))
		t->tag[t->n++] = tag;
}

void
attrs_dropped(struct tags *out, struct attrs old, struct attrs now)
{
	struct attr a, b;
	size_t pos = 0;

	while (attrs_next(old, &pos, &a))
		if (a.n > 0 && !attrs_get(now, a.tag, &b))
			tags_add(out, a.tag);
}

void
attrs_without(struct buf *out, struct attrs set, const struct tags *t)
{
	struct attr a;
	size_t pos = 0;

	while (attrs_next(set, &pos, &a))
		if (!tags_has(t, a.tag))
			append(out, a.tag, a.value, a.n);
}
