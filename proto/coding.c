#include "proto/coding.h"

#include "common/base/buf.h"

enum {
	KNOWN_MS = 20,	  /* of compressing, before it is believed          */
	RECENT_MS = 1000, /* what is older counts half                      */
	FORGET_AFTER = 64 /* pieces in a row of which nothing was compressed */
};

void
coding_offered(struct coding *c, const uint32_t *codings, size_t n)
{
	size_t i;

	c->best = FRAME_ZLIB;
	for (i = 0; i < n; i++)
		if (codings[i] == FRAME_ZSTD)
			c->best = FRAME_ZSTD;
}

/* Plain bytes per second; CT on one core, until it is measured (TRAPS 5). */
static uint64_t
speed(const struct coding *c)
{
	if (c->ms >= KNOWN_MS)
		return c->bytes * 1000 / c->ms;
	switch (c->best) {
	case FRAME_STORED:
		return 0;
	case FRAME_ZLIB:
		return UINT64_C(90000000);
	case FRAME_ZSTD:
		return UINT64_C(450000000);
	}
	return 0;
}

bool
coding_pays(const struct coding *c)
{
	return c->best != FRAME_STORED && c->link < speed(c);
}

enum frame_coding
coding_choose(const struct coding *c, const void *plain, size_t n, bool compressed)
{
	size_t of = n < CODING_SAMPLE ? n : CODING_SAMPLE;
	struct buf coded = BUF_INIT;
	uint64_t saved = 0;

	if (compressed || n == 0 || !coding_pays(c))
		return FRAME_STORED;
	if (!frame_write(&coded, c->best, 0, (const char *)plain + (n - of) / 2, of, NULL))
		saved = FRAME_HEAD + of - coded.len;
	buf_fini(&coded);
	/* What the link saves is worth more than what the compressor takes. */
	return saved * 10 > of && c->link < speed(c) * saved / of ? c->best : FRAME_STORED;
}

void
coding_took(struct coding *c, uint64_t bytes, uint64_t ms)
{
	c->untried = bytes ? 0 : c->untried + 1;
	if (c->untried == FORGET_AFTER)
		c->bytes = c->ms = c->untried = 0;
	c->bytes += bytes;
	c->ms += ms;
	if (c->ms > RECENT_MS) {
		c->bytes /= 2;
		c->ms /= 2;
	}
}
