/* Which version two nodes settle on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/version.h"

static void
protocol_settle__takes_the_highest_that_both_know(void **state)
{
	static const uint32_t old[] = {1}, own[] = {1, 2}, next[] = {3, 2}, far[] = {9, 4},
			      odd[] = {0};
	struct protocol_range two = {1, 2}, five = {4, 5};

	(void)state;
	assert_int_equal(protocol_settle(&two, old, 1), 1);
	assert_int_equal(protocol_settle(&two, own, 2), 2);
	assert_int_equal(protocol_settle(&two, next, 2), 2);
	assert_int_equal(protocol_settle(&five, far, 2), 4);
	assert_int_equal(protocol_settle(&two, far, 2), 0);
	assert_int_equal(protocol_settle(&two, odd, 1), 0);
	assert_int_equal(protocol_settle(&two, NULL, 0), 0);
}

static void
protocol_own__is_this_version_and_the_one_before(void **state)
{
	struct protocol_range own = protocol_own();
	uint32_t list[PROTOCOL_LIST];

	(void)state;
	assert_int_equal(own.newest, PROTOCOL_VERSION);
	assert_int_equal(own.oldest, PROTOCOL_VERSION - 1);
	assert_int_equal(protocol_list(&own, list), 2);
	assert_int_equal(list[0], PROTOCOL_VERSION);
	assert_int_equal(list[1], PROTOCOL_VERSION - 1);
	assert_true(protocol_speaks(&own, list[0]) && protocol_speaks(&own, list[1]));
	assert_false(protocol_speaks(&own, list[0] + 1));
	own.oldest = own.newest = 1;
	assert_int_equal(protocol_list(&own, list), 1);
	assert_int_equal(list[0], 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(protocol_settle__takes_the_highest_that_both_know),
		cmocka_unit_test(protocol_own__is_this_version_and_the_one_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
