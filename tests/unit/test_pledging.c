/* Storage commitment as SCU: what is asked, and what comes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/dimse/commitment.h"
#include "common/store/store.h"
#include "tests/lib/asker.h"

#define SC "1.2.840.10008.5.1.4.1.1.7"

/* --- what is asked, and what comes of it --- */

static void
pledge__the_result_may_come_on_the_association_of_the_request(void **state)
{
	struct asker *s = *state;
	struct references asked;
	uint64_t number;

	asker_images(s, 3);
	s->at_once = true;
	number = asker_wish(s, "1.2.3", 1000);
	(void)asker_await(s, number, PLEDGE_SETTLED);
	asker_counts_are(s, 0, 3, 0, 0, 0);
	assert_int_equal(s->asked, 1);
	asked = asker_asked(s);
	assert_int_equal(asked.n, 3);
	assert_true(uid_valid(asked.transaction, strlen(asked.transaction)));
	assert_string_equal(asked.all[0].sop_class, SC);
	references_fini(&asked);
}

static void
pledge__the_result_may_come_before_the_answer(void **state)
{
	struct asker *s = *state;
	uint64_t number;

	asker_images(s, 3);
	s->early = true;
	number = asker_wish(s, "1.2.3", 1000);
	(void)asker_await(s, number, PLEDGE_SETTLED);
	asker_counts_are(s, 0, 3, 0, 0, 0);
	assert_int_equal(asker_row(s, number).tries, 0);
	assert_int_equal(s->asked, 1);
}

static void
pledge__a_late_result_finds_its_request_after_a_restart(void **state)
{
	struct asker *s = *state;
	struct references list;
	uint64_t number;

	asker_images(s, 2);
	number = asker_wish(s, "1.2.3", 1000);
	(void)asker_await(s, number, PLEDGE_WAITS);
	asker_counts_are(s, 2, 0, 0, 0, 0);
	asker_restart(s);
	asker_pass(s, 23 * HOUR);
	list = asker_asked(s);
	assert_int_equal(asker_report(s, &list), STATUS_SUCCESS);
	asker_counts_are(s, 0, 2, 0, 0, 0);
	/* Its answer was lost: it comes again, and says something else. */
	list.all[0].reason = REASON_NO_SUCH_INSTANCE;
	assert_int_equal(asker_report(s, &list), STATUS_SUCCESS);
	asker_counts_are(s, 0, 2, 0, 0, 0);
	assert_int_equal(s->asked, 1);
	references_fini(&list);
}

static void
pledge__large_ones_are_split_and_each_has_a_transaction_of_its_own(void **state)
{
	struct asker *s = *state;
	uint64_t number;
	char first[UID_SIZE];

	asker_images(s, 5);
	s->at_once = true;
	number = asker_wish(s, "1.2.3", 2);
	(void)asker_await(s, number, PLEDGE_SETTLED);
	strcpy(first, asker_row(s, number).transaction);
	(void)asker_await(s, number + 1, PLEDGE_SETTLED);
	(void)asker_await(s, number + 2, PLEDGE_SETTLED);
	assert_int_equal(s->asked, 3);
	assert_string_not_equal(first, asker_row(s, number + 1).transaction);
	asker_counts_are(s, 0, 5, 0, 0, 0);
}

static void
pledge__each_refusal_is_kept_by_its_reason_and_silence_is_no_success(void **state)
{
	static const unsigned reasons[] = {0x0110, 0x0112, 0x0119, 0x0131, 0x0213};
	struct asker *s = *state;
	struct message m = asker_event(1, 2);
	struct references list;
	uint64_t number;
	char uid[32];
	unsigned i;

	asker_images(s, 8);
	number = asker_wish(s, "1.2.3", 1000);
	(void)asker_await(s, number, PLEDGE_WAITS);
	list = asker_asked(s);
	assert_int_equal(list.n, 8);
	for (i = 0; i < 5; i++)
		list.all[i].reason = reasons[i];
	list.n = 7; /* of the eighth it says nothing */
	assert_int_equal(asker_report_as(s, "VAULT", &m, &list), STATUS_SUCCESS);
	for (i = 0; i < 5; i++) {
		(void)snprintf(uid, sizeof(uid), "1.2.3.%u", i + 1);
		assert_int_equal(asker_standing(s, uid).state, PLEDGE_REFUSED);
		assert_int_equal(asker_standing(s, uid).reason, reasons[i]);
	}
	assert_int_equal(asker_standing(s, "1.2.3.7").state, PLEDGE_COMMITTED);
	assert_int_equal(asker_standing(s, "1.2.3.8").state, PLEDGE_RAN_OUT);
	asker_counts_are(s, 0, 2, 5, 1, 6);
	references_fini(&list);
}

static void
pledge__what_stands_in_both_lists_has_failed(void **state)
{
	struct asker *s = *state;
	struct references list;
	struct reference *both;
	uint64_t number;

	asker_images(s, 1);
	number = asker_wish(s, "1.2.3.1", 1000);
	(void)asker_await(s, number, PLEDGE_WAITS);
	list = asker_asked(s);
	both = realloc(list.all, 2 * sizeof(*both));
	assert_non_null(both);
	both[1] = both[0];
	both[0].reason = REASON_NO_SUCH_INSTANCE;
	list.all = both;
	list.n = 2;
	assert_int_equal(asker_report(s, &list), STATUS_SUCCESS);
	asker_counts_are(s, 0, 0, 1, 0, 1);
	references_fini(&list);
}

/* --- who is heard --- */

static void
pledge__R29_nobody_is_heard_but_who_was_asked(void **state)
{
	struct asker *s = *state;
	struct message m = asker_event(1, 1), other = asker_event(1, 3),
		       instance = asker_event(1, 1);
	struct references list, strange;
	uint64_t number;

	asker_images(s, 1);
	number = asker_wish(s, "1.2.3", 1000);
	(void)asker_await(s, number, PLEDGE_WAITS);
	list = asker_asked(s);
	strange = list;
	strcpy(strange.transaction, "1.2.3.4.5");
	strcpy(instance.sop_instance, "1.2.3");
	/* Of no section: the role is not granted. */
	assert_int_equal(asker_report_as(s, "STRANGER", &m, &list), 0xffff);
	/* Nor is it read what he says without it. */
	assert_int_equal(asker_report_in_role(s, "STRANGER", ASSOC_ROLE_DEFAULT, &m, &strange),
			 STATUS_REFUSED_NOT_AUTHORIZED);
	assert_int_equal(asker_report_as(s, "OTHER", &m, &list), STATUS_REFUSED_NOT_AUTHORIZED);
	assert_int_equal(asker_report_as(s, "VAULT", &m, &strange), STATUS_INVALID_ARGUMENT);
	assert_int_equal(asker_report_as(s, "VAULT", &other, &list), STATUS_NO_SUCH_EVENT);
	assert_int_equal(asker_report_as(s, "VAULT", &instance, &list), STATUS_NO_SUCH_INSTANCE);
	asker_counts_are(s, 1, 0, 0, 0, 0);
	assert_int_equal(dimse_refusals(s->dimse), 5);
	assert_int_equal(asker_report(s, &list), STATUS_SUCCESS);
	asker_counts_are(s, 0, 1, 0, 0, 0);
	references_fini(&list);
}

static void
pledge__asked_anew_the_former_request_says_nothing_any_more(void **state)
{
	struct asker *s = *state;
	struct references first, second;
	uint64_t number;

	asker_images(s, 1);
	number = asker_wish(s, "1.2.3", 1000);
	(void)asker_await(s, number, PLEDGE_WAITS);
	first = asker_asked(s);
	number = asker_wish(s, "1.2.3", 1000);
	(void)asker_await(s, number, PLEDGE_WAITS);
	second = asker_asked(s);
	assert_string_not_equal(first.transaction, second.transaction);
	assert_int_equal(asker_report(s, &first), STATUS_SUCCESS);
	asker_counts_are(s, 1, 0, 0, 0, 0);
	second.all[0].reason = REASON_NO_SUCH_INSTANCE;
	assert_int_equal(asker_report(s, &second), STATUS_SUCCESS);
	asker_counts_are(s, 0, 0, 1, 0, 1);
	/* Asked anew with success there is nothing to look at. */
	s->at_once = true;
	(void)asker_await(s, asker_wish(s, "1.2.3", 1000), PLEDGE_SETTLED);
	asker_counts_are(s, 0, 1, 0, 0, 0);
	references_fini(&first);
	references_fini(&second);
}

/* --- an archive that is off, or does not want to --- */

static void
pledge__an_archive_that_is_off_is_asked_by_backing_off_across_restarts(void **state)
{
	struct asker *s = *state;
	uint64_t number;

	asker_images(s, 1);
	asker_off(s);
	number = asker_wish(s, "1.2.3", 1000);
	asker_await_tries(s, number, 1);
	asker_pass(s, 9999);
	asker_moment();
	assert_int_equal(asker_row(s, number).tries, 1);
	asker_restart(s); /* a store's time goes on from the last that it wrote */
	asker_pass(s, 10000);
	asker_await_tries(s, number, 2);
	assert_string_not_equal(asker_row(s, number).why, "");
	asker_on(s);
	s->at_once = true;
	asker_pass(s, 40000);
	(void)asker_await(s, number, PLEDGE_SETTLED);
	asker_counts_are(s, 0, 1, 0, 0, 0);
}

static void
pledge__a_transaction_that_went_out_is_not_used_again(void **state)
{
	struct asker *s = *state;
	struct references first, second;
	uint64_t number;

	asker_images(s, 1);
	s->status = STATUS_RESOURCE_LIMITATION; /* later, perhaps */
	number = asker_wish(s, "1.2.3", 1000);
	asker_await_tries(s, number, 1);
	first = asker_asked(s);
	s->status = STATUS_SUCCESS;
	s->at_once = true;
	asker_pass(s, HOUR);
	(void)asker_await(s, number, PLEDGE_SETTLED);
	assert_int_equal(s->asked, 2);
	second = asker_asked(s);
	assert_string_not_equal(first.transaction, second.transaction);
	references_fini(&first);
	references_fini(&second);
	asker_counts_are(s, 0, 1, 0, 0, 0);
}

static void
pledge__a_request_that_is_refused_is_refused_for_all(void **state)
{
	struct asker *s = *state;

	asker_images(s, 2);
	s->status = STATUS_REFUSED_NOT_AUTHORIZED;
	(void)asker_await(s, asker_wish(s, "1.2.3", 1000), PLEDGE_SETTLED);
	assert_int_equal(asker_standing(s, "1.2.3.2").reason, STATUS_REFUSED_NOT_AUTHORIZED);
	asker_counts_are(s, 0, 0, 2, 0, 2);
	assert_int_equal(s->asked, 1);
}

static void
pledge__a_request_that_is_not_taken_now_holds_up_no_other(void **state)
{
	struct asker *s = *state;
	uint64_t number;

	asker_images(s, 2);
	s->status = STATUS_PROCESSING_FAILURE;
	s->only = 2;
	s->at_once = true;
	number = asker_wish(s, "1.2.3", 1000);
	asker_await_tries(s, number, 1);
	(void)asker_await(s, asker_wish(s, "1.2.3.1", 1000), PLEDGE_SETTLED);
	assert_int_equal(asker_standing(s, "1.2.3.1").state, PLEDGE_COMMITTED);
	assert_int_equal(asker_row(s, number).phase, PLEDGE_ASKS);
}

static void
pledge__R28_what_is_not_answered_runs_out_by_the_nodes_own_time(void **state)
{
	struct asker *s = *state;
	struct references list;
	uint64_t number;
	int i;

	asker_images(s, 1);
	number = asker_wish(s, "1.2.3", 1000);
	(void)asker_await(s, number, PLEDGE_WAITS);
	asker_pass(s, 24 * HOUR - 1);
	asker_moment();
	asker_counts_are(s, 1, 0, 0, 0, 0);
	asker_pass(s, 1);
	for (i = 0; i < 4000 && asker_row(s, number).number; i++)
		asker_moment();
	asker_counts_are(s, 0, 0, 0, 1, 1);
	list = asker_asked(s);
	assert_int_equal(asker_report(s, &list), STATUS_INVALID_ARGUMENT);
	references_fini(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define asker_test(f) cmocka_unit_test_setup_teardown(f, asker_begin, asker_end)
		asker_test(pledge__the_result_may_come_on_the_association_of_the_request),
		asker_test(pledge__the_result_may_come_before_the_answer),
		asker_test(pledge__a_late_result_finds_its_request_after_a_restart),
		asker_test(pledge__large_ones_are_split_and_each_has_a_transaction_of_its_own),
		asker_test(pledge__each_refusal_is_kept_by_its_reason_and_silence_is_no_success),
		asker_test(pledge__what_stands_in_both_lists_has_failed),
		asker_test(pledge__R29_nobody_is_heard_but_who_was_asked),
		asker_test(pledge__asked_anew_the_former_request_says_nothing_any_more),
		asker_test(pledge__an_archive_that_is_off_is_asked_by_backing_off_across_restarts),
		asker_test(pledge__a_transaction_that_went_out_is_not_used_again),
		asker_test(pledge__a_request_that_is_refused_is_refused_for_all),
		asker_test(pledge__a_request_that_is_not_taken_now_holds_up_no_other),
		asker_test(pledge__R28_what_is_not_answered_runs_out_by_the_nodes_own_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
