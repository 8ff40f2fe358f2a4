#include "common/dicom/items.h"

#include <string.h>

#include "common/base/buf.h"

enum { ESCAPE = 0x1b, DIGITS = 8 };

void
items_begin(struct buf *out)
{
	buf_put_u8(out, ITEMS_BEGIN);
}

static void
put(struct buf *out, uint32_t tag, const char *value, size_t n, char but)
{
	size_t i;

	buf_printf(out, "%08x", tag);
	for (i = 0; i < n; i++)
		if ((unsigned char)value[i] >= ' ' || value[i] == but)
			buf_put_u8(out, (unsigned char)value[i]);
	buf_put_u8(out, ITEMS_END);
}

void
items_put(struct buf *out, uint32_t tag, const char *value, size_t n)
{
	put(out, tag, value, n, ' ');
}

void
items_raw(struct buf *out, uint32_t tag, const char *value, size_t n)
{
	put(out, tag, value, n, ESCAPE);
}

void
items_hex(struct buf *out, const void *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *s = p;
	size_t i;

	for (i = 0; i < n; i++) {
		buf_put_u8(out, (unsigned char)digits[s[i] >> 4]);
		buf_put_u8(out, (unsigned char)digits[s[i] & 15]);
	}
}

/* 16: no digit. */
static unsigned
digit_of(char c)
{
	return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
	       : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
				      : 16;
}

void
items_bytes(struct buf *out, const char *value, size_t n)
{
	size_t i;

	for (i = 0; i + 2 <= n; i += 2)
		if (digit_of(value[i]) < 16 && digit_of(value[i + 1]) < 16)
			buf_put_u8(out, (unsigned char)(digit_of(value[i]) << 4 |
							digit_of(value[i + 1])));
}

bool
items_next(struct attr value, size_t *pos, struct attr *item)
{
	const char *end;

	if (*pos >= value.n || value.value[*pos] != ITEMS_BEGIN)
		return false;
	item->tag = value.tag;
	item->value = value.value + *pos + 1;
	item->n = value.n - *pos - 1;
	end = memchr(item->value, ITEMS_BEGIN, item->n);
	if (end)
		item->n = (size_t)(end - item->value);
	*pos += item->n + 1;
	return true;
}

bool
items_attr(struct attr item, size_t *pos, struct attr *out)
{
	const char *p = item.value + *pos, *end;
	size_t left = item.n - *pos, i;

	if (left <= DIGITS)
		return false;
	out->tag = 0;
	for (i = 0; i < DIGITS; i++) {
		unsigned digit = digit_of(p[i]);

		if (digit > 15)
			return false;
		out->tag = out->tag << 4 | digit;
	}
	end = memchr(p + DIGITS, ITEMS_END, left - DIGITS);
	if (!end)
		return false;
	out->value = p + DIGITS;
	out->n = (size_t)(end - out->value);
	*pos += DIGITS + out->n + 1;
	return true;
}
