#include "common/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
buf_init(struct buf *b)
{
	memset(b, 0, sizeof(*b));
}

void
buf_fini(struct buf *b)
{
	free(b->data);
	buf_init(b);
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

bool
buf_failed(const struct buf *b)
{
	return b->failed;
}

unsigned char *
buf_reserve(struct buf *b, size_t n)
{
	unsigned char *p;
	size_t cap = b->cap ? b->cap : 64;

	if (b->failed)
		return NULL;
	if (n > SIZE_MAX / 2 - b->len) {
		b->failed = true;
		return NULL;
	}
	while (cap < b->len + n)
		cap *= 2;
	if (cap != b->cap) {
		p = realloc(b->data, cap);
		if (!p) {
			b->failed = true;
			return NULL;
		}
		b->data = p;
		b->cap = cap;
	}
	return b->data + b->len;
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	unsigned char *to;

	if (n == 0)
		return;
	to = buf_reserve(b, n);
	if (!to)
		return;
	memcpy(to, p, n);
	b->len += n;
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	unsigned char *to;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	to = n < 0 ? NULL : buf_reserve(b, (size_t)n + 1);
	if (to) {
		(void)vsnprintf((char *)to, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void
buf_put_size(struct buf *b, uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		buf_printf(b, "%llu bytes", (unsigned long long)bytes);
		return;
	}
	for (; v >= 1023.95 && i < 3; i++)
		v /= 1024;
	buf_printf(b, "%.1f %s", v, units[i]);
}

void
buf_put_u8(struct buf *b, unsigned v)
{
	unsigned char c = (unsigned char)v;

	buf_put(b, &c, 1);
}

void
buf_put_u16(struct buf *b, unsigned v)
{
	unsigned char p[2];

	buf_set_u16(p, v);
	buf_put(b, p, sizeof(p));
}

void
buf_put_u32(struct buf *b, uint32_t v)
{
	unsigned char p[4];

	buf_set_u32(p, v);
	buf_put(b, p, sizeof(p));
}

void
buf_put_u64(struct buf *b, uint64_t v)
{
	unsigned char p[8];

	buf_set_u64(p, v);
	buf_put(b, p, sizeof(p));
}

void
buf_put_be32(struct buf *b, uint32_t v)
{
	unsigned char p[4];

	buf_set_be32(p, v);
	buf_put(b, p, sizeof(p));
}

void
buf_put_be64(struct buf *b, uint64_t v)
{
	unsigned char p[8];

	buf_set_be64(p, v);
	buf_put(b, p, sizeof(p));
}

uint16_t
buf_get_u16(const void *p)
{
	const unsigned char *c = p;

	return (uint16_t)(c[0] | (c[1] << 8));
}

uint32_t
buf_get_u32(const void *p)
{
	const unsigned char *c = p;

	return (uint32_t)c[0] | ((uint32_t)c[1] << 8) | ((uint32_t)c[2] << 16) |
	       ((uint32_t)c[3] << 24);
}

uint64_t
buf_get_u64(const void *p)
{
	const unsigned char *c = p;

	return (uint64_t)buf_get_u32(c) | ((uint64_t)buf_get_u32(c + 4) << 32);
}

uint32_t
buf_get_be32(const void *p)
{
	return __builtin_bswap32(buf_get_u32(p));
}

uint64_t
buf_get_be64(const void *p)
{
	return __builtin_bswap64(buf_get_u64(p));
}

void
buf_set_u16(void *p, unsigned v)
{
	unsigned char *c = p;

	c[0] = (unsigned char)v;
	c[1] = (unsigned char)(v >> 8);
}

void
buf_set_u32(void *p, uint32_t v)
{
	unsigned char *c = p;

	buf_set_u16(c, (unsigned)(v & 0xffff));
	buf_set_u16(c + 2, (unsigned)(v >> 16));
}

void
buf_set_u64(void *p, uint64_t v)
{
	unsigned char *c = p;

	buf_set_u32(c, (uint32_t)v);
	buf_set_u32(c + 4, (uint32_t)(v >> 32));
}

void
buf_set_be32(void *p, uint32_t v)
{
	buf_set_u32(p, __builtin_bswap32(v));
}

void
buf_set_be64(void *p, uint64_t v)
{
	buf_set_u64(p, __builtin_bswap64(v));
}

void
buf_copy_text(char *to, size_t size, const void *p, size_t n)
{
	const char *s = p;

	while (n > 0 && *s == ' ') {
		s++;
		n--;
	}
	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\0'))
		n--;
	if (n >= size)
		n = size - 1;
	memcpy(to, s, n);
	to[n] = '\0';
}
