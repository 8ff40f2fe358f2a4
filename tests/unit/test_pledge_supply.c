/* Storage commitment as SCU: what the archive lacks goes there first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/asker.h"

/* Image 1.2.3.1 cannot go there for a while. */
static void
goes_there_again(struct asker *s)
{
	uint64_t number;

	asker_images(s, 3);
	s->at_once = true;
	number = asker_order(s, "1.2.3", 1000, true);
	asker_await_tries(s, number, 1);
	asker_counts_are(s, 3, 0, 0, 0, 0);
	assert_int_equal(s->asked, 0);
	/* Another request need not wait. */
	(void)asker_await(s, asker_wish(s, "1.2.3.3", 1000), PLEDGE_SETTLED);
	assert_int_equal(s->asked, 1);
	s->refuse = STATUS_SUCCESS;
	s->hangs_up = false;
	asker_pass(s, 10000);
	(void)asker_await(s, number, PLEDGE_SETTLED);
	asker_counts_are(s, 0, 3, 0, 0, 0);
	assert_int_equal(s->kept, 3);
}

static void
pledge__what_it_has_no_room_for_goes_there_again_and_nothing_else(void **state)
{
	((struct asker *)*state)->refuse = 0xa700;
	goes_there_again(*state);
}

static void
pledge__what_breaks_associations_goes_there_again_and_nothing_else(void **state)
{
	((struct asker *)*state)->hangs_up = true;
	goes_there_again(*state);
}

static void
pledge__for_half_of_the_time_then_it_is_asked_for_the_others(void **state)
{
	struct asker *s = *state;
	uint64_t number;
	unsigned i;

	asker_images(s, 2);
	s->at_once = true;
	s->refuse = 0xa700;
	number = asker_order(s, "1.2.3", 1000, true);
	for (i = 1; i < 5; i++) {
		asker_await_tries(s, number, i);
		asker_pass(s, HOUR);
	}
	asker_await_tries(s, number, 5);
	asker_pass(s, 8 * HOUR);
	(void)asker_await(s, number, PLEDGE_SETTLED);
	assert_int_equal(asker_standing(s, "1.2.3.1").state, PLEDGE_NOT_SENT);
	assert_int_equal(asker_standing(s, "1.2.3.2").state, PLEDGE_COMMITTED);
	assert_int_equal(s->asked, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define asker_test(f) cmocka_unit_test_setup_teardown(f, asker_begin, asker_end)
		asker_test(pledge__what_it_has_no_room_for_goes_there_again_and_nothing_else),
		asker_test(pledge__what_breaks_associations_goes_there_again_and_nothing_else),
		asker_test(pledge__for_half_of_the_time_then_it_is_asked_for_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
