#include "common/dicom/items.h"

#include <string.h>

#include "common/base/buf.h"

enum { ITEM = 0x1e, DIGITS = 8 };

void
items_begin(struct buf *out)
{
	buf_put_u8(out, ITEM);
}

void
items_put(struct buf *out, uint32_t tag, const char *value, size_t n)
{
	size_t i;

	buf_printf(out, "%08x", tag);
	for (i = 0; i < n; i++)
		if ((unsigned char)value[i] >= ' ')
			buf_put_u8(out, (unsigned char)value[i]);
	buf_put_u8(out, ITEMS_END);
}

bool
items_next(struct attr value, size_t *pos, struct attr *item)
{
	const char *end;

	if (*pos >= value.n || value.value[*pos] != ITEM)
		return false;
	item->tag = value.tag;
	item->value = value.value + *pos + 1;
	item->n = value.n - *pos - 1;
	end = memchr(item->value, ITEM, item->n);
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
		unsigned c = (unsigned char)p[i];
		unsigned digit = c >= '0' && c <= '9'	? c - '0'
				 : c >= 'a' && c <= 'f' ? c - 'a' + 10
							: 16;

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
