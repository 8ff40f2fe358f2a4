/* Frames: what travels of a pack (R14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "proto/frame.h"

static void
frame_write__golden_stored_frame(void **state)
{
	struct buf b = BUF_INIT;
	char hex[128];

	(void)state;
	assert_int_equal(frame_write(&b, FRAME_STORED, 513, "abc", 3, NULL), 0);
	assert_int_equal(b.len, FRAME_HEAD + 3);
	hex_of(b.data, 24, hex);
	assert_string_equal(hex, "534c46310000000001020000000000000300000003000000");
	assert_true(buf_get_u64(b.data + 24) == xxh64_of("abc", 3));
	assert_memory_equal(b.data + FRAME_HEAD, "abc", 3);
	buf_fini(&b);
}

static void
frame_stored__is_what_frame_write_gives(void **state)
{
	unsigned char own[FRAME_HEAD];
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(frame_write(&b, FRAME_STORED, 513, "abc", 3, NULL), 0);
	frame_stored(own, 513, "abc", 3);
	assert_memory_equal(own, b.data, FRAME_HEAD);
	buf_fini(&b);
}

/* What is stored is looked at where it lies, and checked all the same. */
static void
look_at(const struct frame *f, unsigned char *payload, const unsigned char *plain, size_t n)
{
	struct buf room = BUF_INIT;
	const unsigned char *p = NULL;

	assert_int_equal(frame_view(f, payload, &room, &p, NULL), 0);
	assert_memory_equal(p, plain, n);
	assert_true((f->coding == FRAME_STORED) == (p == payload));
	buf_fini(&room);
	payload[f->payload / 2] ^= 1;
	assert_int_equal(frame_view(f, payload, &room, &p, NULL), ERR_PEER);
	buf_fini(&room);
}

static void
round_trip(enum frame_coding coding, const unsigned char *plain, size_t n, bool smaller)
{
	struct buf b = BUF_INIT, back = BUF_INIT;
	struct frame f;

	assert_int_equal(frame_write(&b, coding, 7, plain, n, NULL), 0);
	assert_int_equal(frame_head(&f, b.data, NULL), 0);
	assert_int_equal(f.plain, n);
	assert_int_equal(f.payload, b.len - FRAME_HEAD);
	assert_int_equal(f.payload < n, smaller);
	assert_int_equal(frame_read(&f, b.data + FRAME_HEAD, &back, NULL), 0);
	assert_int_equal(back.len, n);
	assert_memory_equal(back.data, plain, n);
	look_at(&f, b.data + FRAME_HEAD, plain, n);
	buf_fini(&b);
	buf_fini(&back);
}

static void
frame_read__gives_back_what_was_written_in_every_coding(void **state)
{
	static unsigned char plain[FRAME_PLAIN_MAX];
	struct rng_seeded r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(plain); i++)
		plain[i] = (unsigned char)(i / 100);
	round_trip(FRAME_STORED, plain, sizeof(plain), false);
	round_trip(FRAME_ZLIB, plain, sizeof(plain), true);
	round_trip(FRAME_ZSTD, plain, sizeof(plain), true);
	round_trip(FRAME_ZSTD, plain, 1, false);
	rng_seeded_init(&r, 4);
	rng_fill(&r.r, plain, 10000);
	round_trip(FRAME_ZSTD, plain, 10000, false); /* noise is sent as it is */
	round_trip(FRAME_ZLIB, plain, 10000, false);
}

static void
frame_write__refuses_more_than_a_frame_holds(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(frame_write(&b, FRAME_STORED, 0, "", 0, NULL), ERR_LOCAL);
	assert_int_equal(frame_write(&b, FRAME_STORED, 0, "", FRAME_PLAIN_MAX + 1, NULL),
			 ERR_LOCAL);
	buf_fini(&b);
}

static void
frame_read__R14_expansion_is_bounded_and_every_bit_counts(void **state)
{
	unsigned char plain[5000];
	struct rng_seeded r;
	int i;

	(void)state;
	memset(plain, 'x', sizeof(plain));
	rng_seeded_init(&r, 6);
	for (i = 0; i < 30000; i++) {
		struct buf b = BUF_INIT, back = BUF_INIT;
		struct frame f;

		assert_int_equal(
			frame_write(&b, (enum frame_coding)(i % 3), 0, plain, sizeof(plain), NULL),
			0);
		b.data[i % 2 ? rng_below(&r.r, b.len) : rng_below(&r.r, FRAME_HEAD)] ^=
			(unsigned char)(1u << rng_below(&r.r, 8));
		if (!frame_head(&f, b.data, NULL) && f.payload <= b.len - FRAME_HEAD) {
			(void)frame_read(&f, b.data + FRAME_HEAD, &back, NULL);
			assert_true(back.len <= FRAME_PLAIN_MAX);
			if (back.len) /* only where the bit was none of the bytes': the offset's */
				assert_memory_equal(back.data, plain, back.len);
		}
		buf_fini(&b);
		buf_fini(&back);
	}
}

/* Twice as much as the header says, in a payload that is shorter than that. */
static void
frame_read__R14_a_payload_that_holds_more_than_its_header_says_is_refused(void **state)
{
	static const enum frame_coding codings[] = {FRAME_ZLIB, FRAME_ZSTD};
	static unsigned char plain[FRAME_PLAIN_MAX];
	const unsigned char *seen;
	struct frame f;
	size_t i;

	(void)state;
	memset(plain, 'x', sizeof(plain));
	for (i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
		struct buf b = BUF_INIT, back = BUF_INIT;

		assert_int_equal(frame_write(&b, codings[i], 0, plain, sizeof(plain), NULL), 0);
		assert_true(b.len < sizeof(plain) / 100);
		buf_set_u32(b.data + 16, FRAME_PLAIN_MAX / 2);
		buf_set_u64(b.data + 24, xxh64_of(plain, FRAME_PLAIN_MAX / 2));
		assert_int_equal(frame_head(&f, b.data, NULL), 0);
		assert_int_equal(frame_read(&f, b.data + FRAME_HEAD, &back, NULL), ERR_PEER);
		assert_int_equal(frame_view(&f, b.data + FRAME_HEAD, &back, &seen, NULL), ERR_PEER);
		assert_int_equal(back.len, 0);
		assert_true(back.cap < FRAME_PLAIN_MAX);
		buf_set_u32(b.data + 16, FRAME_PLAIN_MAX + 1);
		assert_int_equal(frame_head(&f, b.data, NULL), ERR_PEER);
		buf_fini(&b);
		buf_fini(&back);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_write__golden_stored_frame),
		cmocka_unit_test(frame_stored__is_what_frame_write_gives),
		cmocka_unit_test(frame_read__gives_back_what_was_written_in_every_coding),
		cmocka_unit_test(frame_write__refuses_more_than_a_frame_holds),
		cmocka_unit_test(frame_read__R14_expansion_is_bounded_and_every_bit_counts),
		cmocka_unit_test(
			frame_read__R14_a_payload_that_holds_more_than_its_header_says_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
