/* What goes before everything else: by rule, by study, over a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/edge_settings.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "edge/stat.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, HOUR_MS = 3600000 };

/* 2023-11-13 00:00 UTC, a monday. */
#define MONDAY INT64_C(1699833600000)

/* A settings file with these lines behind what is required; NULL: it is refused. */
static struct conf *
settings(const char *lines)
{
	char path[] = "/tmp/test_stat.XXXXXX";
	struct conf *conf = NULL;
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	assert_non_null(f);
	(void)fprintf(f, "[site]\nname = a\nissuer = A\n[data]\ndir = /tmp\n%s", lines);
	assert_int_equal(fclose(f), 0);
	if (edge_settings_load(&conf, path, NULL))
		conf = NULL;
	(void)remove(path);
	return conf;
}

static bool
wants(struct conf *c, const char *peer, const char *calling, const char *modality, int64_t wall_ms)
{
	struct stat_object o = {.peer = peer,
				.calling = calling,
				.called = "ARCHIVE",
				.modality = modality,
				.wall_ms = wall_ms};

	return stat_rule(c, &o);
}

static void
stat_rule__all_that_a_rule_says_must_hold_and_one_is_enough(void **state)
{
	struct conf *c;

	(void)state;
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	tzset();
	c = settings(
		"[stat er]\npeer = er-ct, er-dx\nmodality = CT\n[stat title]\ncalling = SHOCK\n");
	assert_non_null(c);
	assert_true(wants(c, "er-ct", "X", "CT", MONDAY));
	assert_true(wants(c, "er-dx", "X", "CT", MONDAY));
	assert_false(wants(c, "er-ct", "X", "MR", MONDAY));
	assert_false(wants(c, "other", "X", "CT", MONDAY));
	assert_true(wants(c, "other", "SHOCK", "MR", MONDAY));
	assert_false(wants(c, NULL, "", NULL, MONDAY));
	conf_free(c);
	c = settings("[stat none]\ncalled = OTHER\n");
	assert_false(wants(c, "er-ct", "X", "CT", MONDAY));
	conf_free(c);
	c = settings("");
	assert_false(wants(c, "er-ct", "X", "CT", MONDAY));
	conf_free(c);
}

static void
stat_rule__R28_hours_run_over_midnight_by_the_clock_that_it_is_told(void **state)
{
	struct conf *c = settings("[stat night]\nhours = mon-fri 18:00-07:00, sat 00:00-24:00\n");

	(void)state;
	assert_non_null(c);
	assert_false(wants(c, "", "", "", MONDAY + 6 * HOUR_MS)); /* sunday's is none */
	assert_false(wants(c, "", "", "", MONDAY + 18 * HOUR_MS - 1));
	assert_true(wants(c, "", "", "", MONDAY + 18 * HOUR_MS));
	assert_true(wants(c, "", "", "", MONDAY + (24 + 7) * HOUR_MS - 60000));
	assert_false(wants(c, "", "", "", MONDAY + (24 + 7) * HOUR_MS));
	assert_true(wants(c, "", "", "", MONDAY + (5 * 24 + 6) * (int64_t)HOUR_MS)); /* friday's */
	assert_true(wants(c, "", "", "", MONDAY + (5 * 24 + 23) * (int64_t)HOUR_MS));
	assert_false(wants(c, "", "", "", MONDAY + 6 * 24 * (int64_t)HOUR_MS));
	conf_free(c);
}

static void
stat_check__refuses_rules_that_say_nothing_and_hours_that_cannot_be(void **state)
{
	static const char *const bad[] = {"",
					  "hours = 25:00-07:00",
					  "hours = 18-7",
					  "hours = mon-fry 18:00-07:00",
					  "hours = 18:00-24:30",
					  "hours = mon 18:00-07:00 x"};
	char lines[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(lines, sizeof(lines), "[stat x]\n%s\n", bad[i]);
		assert_null(settings(lines));
	}
}

/* Four images a study; the marked one's arrive first, though it was taken in first of 40. */
static void
stat_mark__what_is_marked_goes_first_over_a_restart_with_what_comes_later(void **state)
{
	struct pair p;
	char study[65];
	unsigned i;
	size_t n;

	(void)state;
	pair_init(&p, "64MiB");
	gen_uid(study, 1, 0, 0);
	for (i = 0; i < 40; i++)
		if (i != 3)
			assert_int_equal(pair_send(&p, i), 0);
	assert_int_equal(stat_mark(&p.edge, "1.2.3.4.5", true, &n, NULL), ERR_ABSENT);
	assert_int_equal(stat_mark(&p.edge, study, true, &n, NULL), 0);
	assert_int_equal(n, 3);
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(pair_send(&p, 3), 0);
	assert_int_equal(pair_outbox(&p).lanes[LANE_STAT].owed, 4);
	assert_int_equal(pair_outbox(&p).lanes[LANE_FRESH].owed, 36);
	for (i = 0; i < TURNS && pair_outbox(&p).lanes[LANE_STAT].owed; i++)
		pair_turn(&p);
	assert_int_equal(pair_outbox(&p).lanes[LANE_STAT].owed, 0);
	assert_int_equal(pair_outbox(&p).lanes[LANE_FRESH].owed, 36);
	for (i = 0; i < 4; i++)
		assert_true(pair_central_has(&p, i));
	assert_true(pair_settle(&p, TURNS));
	/* No more: what comes is fresh again. */
	assert_int_equal(stat_mark(&p.edge, study, false, &n, NULL), 0);
	assert_int_equal(pair_outbox(&p).owed, 0);
	pair_fini(&p);
}

/*
 * Stop-and-wait would take 60 of them, each way 100 ms: what counts is how often central is
 * asked. First contact, ledger, holdings and all bytes are in it.
 */
static void
pair__60_objects_of_8_KB_take_as_many_rounds_as_one(void **state)
{
	enum { ROUND_MS = 200, OBJECTS = 60 };
	int64_t begun, took;
	struct pair p;
	unsigned i, one;

	(void)state;
	pair_init(&p, "64MiB");
	p.rows = 62; /* 7.7 kB of pixels */
	assert_int_equal(pair_send(&p, 1000), 0);
	assert_true(pair_settle(&p, TURNS));
	one = p.messages / 2;
	p.messages = 0;
	begun = clock_mono(&p.clock.c);
	for (i = 0; i < OBJECTS; i++)
		assert_int_equal(pair_send(&p, i), 0);
	for (i = 0; i < TURNS && pair_outbox(&p).owed; i++)
		if (i % 20 == 19) /* time goes on when all is answered */
			pair_turn(&p);
		else
			replicate_turn(p.r, 0);
	assert_int_equal(pair_outbox(&p).owed, 0);
	assert_true(p.messages / 2 <= one);
	took = clock_mono(&p.clock.c) - begun + ROUND_MS * (int64_t)(p.messages / 2);
	assert_true(took <= 4000); /* by the clock of the test: with the second of quiet */
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_rule__all_that_a_rule_says_must_hold_and_one_is_enough),
		cmocka_unit_test(
			stat_rule__R28_hours_run_over_midnight_by_the_clock_that_it_is_told),
		cmocka_unit_test(pair__60_objects_of_8_KB_take_as_many_rounds_as_one),
		cmocka_unit_test(
			stat_check__refuses_rules_that_say_nothing_and_hours_that_cannot_be),
		cmocka_unit_test(
			stat_mark__what_is_marked_goes_first_over_a_restart_with_what_comes_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
