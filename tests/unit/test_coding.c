/* Which frames are compressed, and how: decided without a link, a clock or a compressor's mood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "proto/coding.h"

enum { N = 1 << 20, SLOW = 2500000 }; /* bytes per second of 20 Mbit/s */

static const uint32_t both[] = {FRAME_ZLIB, FRAME_ZSTD}, unknown[] = {7, 0, FRAME_ZLIB};
static unsigned char plain[N], noise[N];

static int
fill(void **state)
{
	struct rng_seeded r;
	size_t i;

	(void)state;
	rng_seeded_init(&r, 1);
	rng_fill(&r.r, noise, sizeof(noise));
	for (i = 0; i < N; i++) /* about two to one: half of it is known */
		plain[i] = i % 2 ? noise[i] : 7;
	return 0;
}

static struct coding
towards(uint64_t link)
{
	struct coding c = {.link = link};

	coding_offered(&c, both, 2);
	return c;
}

static void
coding_offered__zstd_where_both_can_and_zlib_where_nothing_is_said(void **state)
{
	struct coding c = towards(SLOW);

	(void)state;
	assert_int_equal(c.best, FRAME_ZSTD);
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_ZSTD);
	coding_offered(&c, NULL, 0); /* central was replaced by an old one */
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_ZLIB);
	coding_offered(&c, unknown, 3);
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_ZLIB);
}

static void
coding_choose__what_is_switched_off_or_not_agreed_is_stored(void **state)
{
	const struct coding c = {.link = SLOW};

	(void)state;
	assert_false(coding_pays(&c));
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_STORED);
}

static void
coding_choose__bytes_that_do_not_shrink_are_stored(void **state)
{
	static unsigned char almost[N];
	struct coding c = towards(SLOW);
	size_t i;

	(void)state;
	assert_int_equal(coding_choose(&c, noise, N, false), FRAME_STORED);
	assert_int_equal(coding_choose(&c, plain, N, true), FRAME_STORED);
	/* 8 of 100 bytes are known: less than a tenth is saved; of 20, more. */
	memcpy(almost, noise, N);
	for (i = 0; i < N; i += 1000)
		memset(almost + i, 7, 80);
	assert_int_equal(coding_choose(&c, almost, N, false), FRAME_STORED);
	for (i = 0; i < N; i += 1000)
		memset(almost + i, 7, 200);
	assert_int_equal(coding_choose(&c, almost, N, false), FRAME_ZSTD);
}

/* The sample is of the middle: a header says nothing of the pixels behind it. */
static void
coding_choose__the_middle_decides(void **state)
{
	static unsigned char mixed[N];
	struct coding c = towards(SLOW);

	(void)state;
	memcpy(mixed, noise, N);
	memset(mixed, 0, N / 4);
	assert_int_equal(coding_choose(&c, mixed, N, false), FRAME_STORED);
	assert_int_equal(coding_choose(&c, mixed, N / 4, false), FRAME_ZSTD);
	assert_int_equal(coding_choose(&c, mixed, 100, false), FRAME_ZSTD);
	assert_int_equal(coding_choose(&c, mixed, 1, false), FRAME_STORED);
	assert_int_equal(coding_choose(&c, mixed, 0, false), FRAME_STORED);
}

static void
coding_choose__a_link_that_is_faster_than_the_compressor_gets_stored_bytes(void **state)
{
	struct coding c = towards(UINT64_C(1250000000)); /* 10 Gbit/s */

	(void)state;
	assert_false(coding_pays(&c));
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_STORED);
	c = towards(UINT64_C(400000000)); /* slower, but half of the bytes take as long */
	assert_true(coding_pays(&c));
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_STORED);
	c = towards(UINT64_C(117000000)); /* 1 Gbit/s */
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_ZSTD);
	coding_offered(&c, NULL, 0);
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_STORED); /* zlib is slower */
	c = towards(0); /* nothing is known of it yet */
	assert_int_equal(coding_choose(&c, plain, N, false), FRAME_ZSTD);
}

static void
coding_took__the_compressor_is_as_fast_as_it_was_measured(void **state)
{
	struct coding c = towards(UINT64_C(20000000));
	unsigned i;

	(void)state;
	coding_took(&c, 1000, 1); /* one coarse time says nothing */
	assert_true(coding_pays(&c));
	for (i = 0; i < 3000; i++) /* a small machine: 10 MB/s */
		coding_took(&c, 10000, 1);
	assert_false(coding_pays(&c));
	assert_true(c.ms <= 1000);
	for (i = 0; i < 3000; i++) /* and 60 MB/s, once it is less busy */
		coding_took(&c, 60000, 1);
	assert_true(coding_pays(&c));
}

static void
coding_took__a_slow_moment_is_not_remembered_for_ever(void **state)
{
	struct coding c = towards(UINT64_C(20000000));
	unsigned i;

	(void)state;
	coding_took(&c, 100000, 100);
	for (i = 0; !coding_pays(&c); i++) {
		assert_true(i < 100);
		coding_took(&c, 0, 0);
	}
	assert_true(i > 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			coding_offered__zstd_where_both_can_and_zlib_where_nothing_is_said),
		cmocka_unit_test(coding_choose__what_is_switched_off_or_not_agreed_is_stored),
		cmocka_unit_test(coding_choose__bytes_that_do_not_shrink_are_stored),
		cmocka_unit_test(coding_choose__the_middle_decides),
		cmocka_unit_test(
			coding_choose__a_link_that_is_faster_than_the_compressor_gets_stored_bytes),
		cmocka_unit_test(coding_took__the_compressor_is_as_fast_as_it_was_measured),
		cmocka_unit_test(coding_took__a_slow_moment_is_not_remembered_for_ever),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
