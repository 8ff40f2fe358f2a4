/*
 * buf.h - a byte buffer that grows.
 *
 * A failed allocation is remembered (buf_failed) and makes every later
 * append a no-op, so that a long sequence of appends is checked once.
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_BASE_BUF_H
#define SALAMANDER_COMMON_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	unsigned char *data;
	size_t len;
	size_t cap;
	bool failed;
};

#define BUF_INIT                                                                                   \
	{                                                                                          \
		NULL, 0, 0, false                                                                  \
	}

void buf_init(struct buf *b);
void buf_fini(struct buf *b);  /* frees; leaves an empty buffer */
void buf_clear(struct buf *b); /* keeps the memory             */
bool buf_failed(const struct buf *b);
/* Room for n more bytes behind len, or NULL; the caller adds to len what it wrote. */
unsigned char *buf_reserve(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* For a person: 812 bytes, 3.4 MiB, 1.2 TiB. */
void buf_put_size(struct buf *b, uint64_t bytes);
void buf_put_u8(struct buf *b, unsigned v);
/* little endian */
void buf_put_u16(struct buf *b, unsigned v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
/* big endian: for keys that sort */
void buf_put_be32(struct buf *b, uint32_t v);
void buf_put_be64(struct buf *b, uint64_t v);

uint16_t buf_get_u16(const void *p);
uint32_t buf_get_u32(const void *p);
uint64_t buf_get_u64(const void *p);
uint32_t buf_get_be32(const void *p);
uint64_t buf_get_be64(const void *p);
void buf_set_u16(void *p, unsigned v);
void buf_set_u32(void *p, uint32_t v);
void buf_set_u64(void *p, uint64_t v);
void buf_set_be32(void *p, uint32_t v);
void buf_set_be64(void *p, uint64_t v);

/* A text without the blanks around it and the NULs behind it; cut to size, ended. */
void buf_copy_text(char *to, size_t size, const void *p, size_t n);

#endif
