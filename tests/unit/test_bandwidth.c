/* How much of its link a site may use: the table of the week, and the bucket that keeps to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/bandwidth.h"
#include "proto/bucket.h"

enum { SECOND = 1000 };

/* --- the table --- */

static void
bandwidth_rate__reads_what_links_are_sold_by_and_nothing_else(void **state)
{
	static const struct {
		const char *text;
		uint64_t rate;
	} good[] = {{"0", 0},
		    {"none", BANDWIDTH_FREE},
		    {"8kbit", 1000},
		    {"20Mbit", 2500000},
		    {"1.5Mbit", 187500},
		    {"1Gbit", 125000000},
		    {"0.064Mbit", 8000},
		    {"100Gbit", UINT64_C(12500000000)},
		    {"9.999kbit", 1249}};
	static const char *const bad[] = {
		"",	    "1",      "Mbit",	"1 Mbit", "-1Mbit", "1mbit",	  "1MB",
		"1..5Mbit", ".5Mbit", "1.Mbit", "7kbit",  "0kbit",  "1.2345Mbit", "99999999999Mbit",
		"None",	    "1Mbit/s"};
	char text[BANDWIDTH_TEXT];
	uint64_t rate, again;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(bandwidth_rate(good[i].text, &rate));
		assert_true(rate == good[i].rate);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (bandwidth_rate(bad[i], &rate))
			fail_msg("\"%s\" is no rate", bad[i]);
	for (rate = BANDWIDTH_LEAST; rate < UINT64_C(1) << 38; rate += rate / 7 + 1) {
		bandwidth_rate_text(rate, text);
		assert_true(bandwidth_rate(text, &again));
		assert_true(again <= rate + rate / 100 && again >= rate - rate / 100);
	}
	bandwidth_rate_text(2500000, text);
	assert_string_equal(text, "20Mbit");
	bandwidth_rate_text(187500, text);
	assert_string_equal(text, "1.5Mbit");
}

static unsigned
limited_hours(const struct bandwidth *b)
{
	unsigned i, n = 0;

	for (i = 0; i < BANDWIDTH_HOURS; i++)
		n += b->hours[i] != BANDWIDTH_FREE;
	return n;
}

static void
bandwidth_set__changes_the_hours_that_it_names(void **state)
{
	static const char *const days[] = {"mo", "monday", "mon-", "mon-xyz", "Mon", "mon fri", ""};
	static const char *const hours[] = {
		"7:00-19:00", "07:30-19:00", "24:00-07:00", "07:00-25:00",
		"07:00",      "07:00-19:0x", "0700-1900",   ""};
	struct bandwidth b;
	size_t i;

	(void)state;
	bandwidth_clear(&b);
	assert_true(bandwidth_is_free(&b));
	assert_true(bandwidth_set(&b, 500, "mon-fri", "07:00-19:00"));
	assert_int_equal(limited_hours(&b), 60);
	assert_true(b.hours[6] == BANDWIDTH_FREE && b.hours[7] == 500 && b.hours[18] == 500 &&
		    b.hours[19] == BANDWIDTH_FREE);
	assert_true(b.hours[4 * 24 + 18] == 500 && b.hours[5 * 24 + 12] == BANDWIDTH_FREE);
	assert_true(bandwidth_set(&b, 0, "sun", "22:00-02:00")); /* into monday */
	assert_true(b.hours[6 * 24 + 22] == 0 && b.hours[6 * 24 + 23] == 0 && b.hours[0] == 0 &&
		    b.hours[1] == 0 && b.hours[2] == BANDWIDTH_FREE);
	assert_true(bandwidth_set(&b, 7, "sat-mon", NULL));
	assert_true(b.hours[5 * 24] == 7 && b.hours[167] == 7 && b.hours[23] == 7 &&
		    b.hours[24] == BANDWIDTH_FREE);
	assert_true(bandwidth_set(&b, 9, NULL, "00:00-24:00"));
	assert_int_equal(limited_hours(&b), BANDWIDTH_HOURS);
	for (i = 0; i < sizeof(days) / sizeof(days[0]); i++)
		assert_false(bandwidth_set(&b, 1, days[i], NULL));
	for (i = 0; i < sizeof(hours) / sizeof(hours[0]); i++)
		assert_false(bandwidth_set(&b, 1, NULL, hours[i]));
	for (i = 0; i < BANDWIDTH_HOURS; i++)
		assert_int_equal(b.hours[i], 9);
	assert_true(bandwidth_set(&b, BANDWIDTH_FREE, NULL, NULL));
	assert_true(bandwidth_is_free(&b));
}

struct lines {
	char text[20][80];
	unsigned n;
};

static void
note_line(void *arg, const char *line)
{
	struct lines *l = arg;

	assert_true(l->n < 20);
	(void)snprintf(l->text[l->n++], sizeof(l->text[0]), "%s", line);
}

/* Each line can be said again, and all of them together are the table. */
static void
bandwidth_lines__are_what_the_command_takes(void **state)
{
	struct bandwidth b, again;
	struct lines l = {.n = 0};
	char rate[20], days[20], hours[20];
	uint64_t n;
	unsigned i;

	(void)state;
	bandwidth_clear(&b);
	assert_true(bandwidth_set(&b, 500000, "mon-fri", "07:00-19:00"));
	assert_true(bandwidth_set(&b, 0, "sun", NULL));
	bandwidth_lines(&b, note_line, &l);
	assert_int_equal(l.n, 5);
	assert_string_equal(l.text[0], "none mon-fri 00:00-07:00");
	assert_string_equal(l.text[1], "4Mbit mon-fri 07:00-19:00");
	assert_string_equal(l.text[3], "none sat 00:00-24:00");
	assert_string_equal(l.text[4], "0 sun 00:00-24:00");
	memset(&again, 1, sizeof(again));
	for (i = 0; i < l.n; i++) {
		assert_int_equal(sscanf(l.text[i], "%19s %19s %19s", rate, days, hours), 3);
		assert_true(bandwidth_rate(rate, &n) && bandwidth_set(&again, n, days, hours));
	}
	assert_memory_equal(&b, &again, sizeof(b));
}

static void
bandwidth_runs__carry_the_table_and_what_is_torn_limits_nothing(void **state)
{
	struct bandwidth b, again;
	struct bandwidth_runs runs;

	(void)state;
	bandwidth_clear(&b);
	bandwidth_to_runs(&runs, &b);
	assert_int_equal(runs.n, 0); /* as a central that knows no tables */
	bandwidth_of_runs(&again, runs.list, runs.n);
	assert_true(bandwidth_is_free(&again));
	assert_true(bandwidth_set(&b, 500, "mon-fri", "07:00-19:00"));
	assert_true(bandwidth_set(&b, 0, "wed", "10:00-11:00"));
	bandwidth_to_runs(&runs, &b);
	assert_int_equal(runs.n, 13);
	bandwidth_of_runs(&again, runs.list, runs.n);
	assert_memory_equal(&b, &again, sizeof(b));
	bandwidth_of_runs(&again, runs.list, 2);
	assert_true(again.hours[7] == 500 && again.hours[19] == BANDWIDTH_FREE);
	runs.run[0].limited = true; /* a bucket could not hold a second of it */
	runs.run[0].rate = UINT64_MAX / 2;
	bandwidth_of_runs(&again, runs.list, 1);
	assert_true(bandwidth_is_free(&again));
	runs.run[0].hours = UINT32_MAX;
	bandwidth_of_runs(&again, runs.list, runs.n);
	assert_true(bandwidth_is_free(&again));
}

/* --- the bucket --- */

/* Takes `piece` as often as it may for so long; how much that was. */
static uint64_t
run(struct bucket *b, int64_t *now, int64_t ms, uint64_t rate, uint64_t piece)
{
	int64_t until = *now + ms;
	uint64_t taken = 0;

	while (*now < until) {
		int64_t when;

		bucket_limit(b, *now, true, rate);
		while (bucket_open(b)) {
			bucket_take(b, piece);
			taken += piece;
		}
		when = bucket_when(b);
		assert_true(when > *now);
		*now = when < until ? when : until;
	}
	return taken;
}

static void
bucket__lets_through_its_rate_whatever_the_pieces_are(void **state)
{
	static const uint64_t pieces[] = {1, 1000, 8192, 1 << 20};
	static const uint64_t rates[] = {1000, 50000, 12500000};
	int64_t now = 5000;
	uint64_t got, want;
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		for (k = 0; k < sizeof(rates) / sizeof(rates[0]); k++) {
			struct bucket b = {.limited = false};

			if (rates[k] / pieces[i] > 100000) /* that many steps say no more */
				continue;
			want = rates[k] * 3600;
			got = run(&b, &now, 3600 * SECOND, rates[k], pieces[i]);
			assert_true(got <= want + pieces[i] + rates[k]);
			assert_true(got + pieces[i] + rates[k] >= want);
		}
}

static void
bucket__what_was_not_used_is_no_claim_to_more_than_a_second(void **state)
{
	struct bucket b = {.limited = false};
	int64_t now = 0;
	uint64_t got = 0;

	(void)state;
	(void)run(&b, &now, SECOND, 1000, 100);
	bucket_limit(&b, now += 86400 * SECOND, true, 1000);
	for (; bucket_open(&b); got += 100)
		bucket_take(&b, 100);
	assert_int_equal(got, 1100);
	/* R28: a clock that does not go on, or goes back, opens nothing. */
	bucket_limit(&b, now, true, 1000);
	bucket_limit(&b, now - 1000, true, 1000);
	assert_false(bucket_open(&b));
}

static void
bucket__at_nothing_a_second_it_never_opens_until_the_rate_changes(void **state)
{
	struct bucket b = {.limited = false};
	uint64_t got;
	int64_t now = 1000;

	(void)state;
	assert_true(bucket_open(&b));
	bucket_take(&b, 1 << 30); /* no limit: nothing is owed to it */
	bucket_limit(&b, now, true, 0);
	assert_false(bucket_open(&b));
	assert_true(bucket_when(&b) == INT64_MAX);
	bucket_limit(&b, now += 3600 * SECOND, true, 0);
	assert_false(bucket_open(&b));
	bucket_limit(&b, now, true, 1000);
	assert_true(bucket_open(&b));
	got = run(&b, &now, 10 * SECOND, 1000, 100);
	assert_true(got >= 9900 && got <= 10200);
	bucket_limit(&b, now, false, 0);
	assert_true(bucket_open(&b));
}

/* A debt of a fast hour does not weigh on a slow one for hours. */
static void
bucket__a_new_rate_forgets_debts_beyond_ten_seconds_of_it(void **state)
{
	struct bucket b = {.limited = false};

	(void)state;
	bucket_limit(&b, 0, true, 100000000);
	bucket_take(&b, 50000000);
	bucket_limit(&b, 1, true, 1000);
	assert_int_equal(bucket_when(&b), 1 + 10 * SECOND);
}

static void
bucket__what_is_exempt_makes_the_others_wait_but_not_for_ever(void **state)
{
	struct bucket b = {.limited = false};

	(void)state;
	bucket_limit(&b, 0, true, 1000);
	bucket_take_exempt(&b, 500);
	assert_int_equal(bucket_when(&b), 500);
	bucket_take_exempt(&b, 1 << 30);
	assert_int_equal(bucket_when(&b), 10 * SECOND);
	bucket_take(&b, 1000);
	bucket_take_exempt(&b, 1000); /* it does not make a deeper debt of others less */
	assert_int_equal(bucket_when(&b), 11 * SECOND);
	bucket_give_back(&b, 1000);
	assert_int_equal(bucket_when(&b), 10 * SECOND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bandwidth_rate__reads_what_links_are_sold_by_and_nothing_else),
		cmocka_unit_test(bandwidth_set__changes_the_hours_that_it_names),
		cmocka_unit_test(bandwidth_lines__are_what_the_command_takes),
		cmocka_unit_test(bandwidth_runs__carry_the_table_and_what_is_torn_limits_nothing),
		cmocka_unit_test(bucket__lets_through_its_rate_whatever_the_pieces_are),
		cmocka_unit_test(bucket__what_was_not_used_is_no_claim_to_more_than_a_second),
		cmocka_unit_test(bucket__at_nothing_a_second_it_never_opens_until_the_rate_changes),
		cmocka_unit_test(bucket__a_new_rate_forgets_debts_beyond_ten_seconds_of_it),
		cmocka_unit_test(bucket__what_is_exempt_makes_the_others_wait_but_not_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
