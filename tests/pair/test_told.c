/* What central shows of each site's way to it: as the edge told, with its age. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/central_commands.h"
#include "central/metrics.h"
#include "central/snapshot.h"
#include "central/told.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "edge/replicate.h"
#include "proto/lanes.h"
#include "proto/sync.pb-c.h"
#include "proto/waits.h"
#include "tests/lib/pair.h"

enum { TURNS = 400, SECOND = 1000 };

#define HOUR INT64_C(3600000)
#define MONDAY_6 INT64_C(1795413600000) /* 23 November 2026, 06:00 UTC */

static struct pair p;
static struct buf text;

static int
begin(void **state)
{
	(void)state;
	pair_prepare(&p, "64MiB");
	atomic_store(&p.clock.wall, MONDAY_6);
	return 0;
}

static void
open_both(void)
{
	pair_open_central(&p);
	pair_open_edge(&p);
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
}

static int
end(void **state)
{
	(void)state;
	pair_fini(&p);
	buf_fini(&text);
	return 0;
}

/* Several hellos. */
static void
pass(int64_t ms)
{
	int64_t until = clock_mono(&p.clock.c) + ms;

	while (clock_mono(&p.clock.c) < until)
		pair_turn(&p);
}

/* What `sites` prints. */
static bool
shows(const char *what)
{
	struct snapshot s;

	buf_clear(&text);
	assert_int_equal(snapshot_make(&s, &p.central, NULL), 0);
	sites_text(&text, &s.sites);
	snapshot_free(&s);
	buf_put_u8(&text, 0);
	return strstr((const char *)text.data, what) != NULL;
}

static void
expect_shown(const char *what)
{
	if (!shows(what))
		fail_msg("\"%s\" is not in:\n%s", what, (const char *)text.data);
}

static bool
json_has(const char *what)
{
	struct snapshot s;
	struct json j;

	buf_clear(&text);
	assert_int_equal(snapshot_make(&s, &p.central, NULL), 0);
	json_init(&j, &text);
	sites_json(&j, NULL, &s.sites);
	snapshot_free(&s);
	buf_put_u8(&text, 0);
	return strstr((const char *)text.data, what) != NULL;
}

static bool
measures(const char *what)
{
	buf_clear(&text);
	assert_int_equal(metrics_of_central(&p.central, &text, NULL), 0);
	buf_put_u8(&text, 0);
	return strstr((const char *)text.data, what) != NULL;
}

static void
sites__tell_the_lag_of_each_lane_and_why_it_waits(void **state)
{
	const char *words[] = {"site", "bandwidth", "north", "0", "07:00-19:00"};
	unsigned i;

	(void)state;
	open_both();
	pass(70 * SECOND);
	assert_false(shows("told "));	   /* nothing is in any lane */
	assert_false(shows("said hello")); /* nor is anything owed */
	p.cut_method = "PATCH";
	for (i = 1; i < 4; i++)
		assert_int_equal(pair_send(&p, i), 0);
	pass(70 * SECOND);
	expect_shown("north: lags by 3 images, ");
	expect_shown("north: told fresh: 3 images, ");
	assert_true(json_has("\"lanes\":{\"fresh\":{\"instances\":3,"));
	assert_true(measures("_site_lane_images{site=\"north\",lane=\"fresh\"} 3\n"));
	assert_true(measures("_site_lane_images{site=\"north\",lane=\"back-fill\"} 0\n"));
	assert_true(measures("_site_silent{site=\"north\"} 0.000\n"));
	assert_true(measures("_site_not_released_studies{site=\"north\"} 0.000\n"));
	assert_int_equal(ctl_local(central_commands_run, &p.central, 5, words), 0);
	pass(HOUR);
	expect_shown("; waits: schedule until 19:00\n");
	expect_shown("north: told fresh: 3 images, ");
	assert_true(json_has("\"sync\":{\"waits_for\":\"schedule\","));
	assert_true(measures("_site_waits{site=\"north\",for=\"schedule\"} 1\n"));
	assert_true(measures("_site_waits{site=\"north\",for=\"link down\"} 0\n"));
}

/* R18: what it told is shown on, with its age; that it is silent is central's own word. */
static void
sites__an_edge_that_is_away_is_said_to_be_and_what_it_told_stays(void **state)
{
	unsigned i;

	(void)state;
	open_both();
	p.cut_method = "PATCH";
	for (i = 1; i < 4; i++)
		assert_int_equal(pair_send(&p, i), 0);
	pass(70 * SECOND);
	pair_close_edge(&p);
	for (i = 0; i < 2; i++) {
		atomic_fetch_add(&p.clock.wall, HOUR);
		expect_shown(i ? "north: SILENT for 02:0" : "north: SILENT for 01:0");
		expect_shown("; waits: link down");
		expect_shown("north: told fresh: 3 images, ");
		assert_true(json_has("\"waits_for\":\"link down\""));
		assert_true(json_has("\"silent\":true"));
		assert_true(measures("_site_silent{site=\"north\"} 1.000\n"));
		assert_true(measures("_site_waits{site=\"north\",for=\"link down\"} 1\n"));
		pair_close_central(&p); /* as it is after a restart */
		pair_open_central(&p);
	}
	pair_open_edge(&p);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	pass(70 * SECOND);
	assert_false(shows("waits: "));
}

static void
sites__who_is_suspended_is_turned_away_and_not_cut_off(void **state)
{
	const char *suspend[] = {"site", "suspend", "north"};

	(void)state;
	open_both();
	p.cut_method = "PATCH";
	assert_int_equal(pair_send(&p, 1), 0);
	pass(70 * SECOND);
	assert_int_equal(ctl_local(central_commands_run, &p.central, 3, suspend), 0);
	atomic_fetch_add(&p.clock.wall, HOUR);
	expect_shown("; waits: turned away");
}

static int
tell_late(struct store_tx *tx, void *arg, struct err *e)
{
	Sync__LaneState lane = SYNC__LANE_STATE__INIT, *lanes[] = {&lane};
	Sync__SyncState m = SYNC__SYNC_STATE__INIT;
	struct site_row row;
	int rc = site_get(tx, &p.edge.incarnation, &row, e);

	lane.lane = LANE_FRESH;
	lane.images = 3;
	lane.put_off = 2;
	lane.retry_ms = (uint64_t)HOUR;
	m.lanes = lanes;
	m.n_lanes = 1;
	m.not_released = 4;
	told_keep(&row, &m);
	*(int64_t *)arg = row.contact_ms;
	return rc ? rc : site_put(tx, &row, e);
}

/* The time is central's: that of the hello, and what was left then. */
static void
metrics__R17_say_when_what_is_put_off_is_tried_and_what_is_not_released(void **state)
{
	char text_of[100];
	int64_t told_ms;

	(void)state;
	open_both();
	assert_int_equal(store_commit(p.central.store, tell_late, &told_ms, NULL), 0);
	(void)snprintf(text_of, sizeof(text_of),
		       "_site_lane_retry_timestamp_seconds{site=\"north\",lane=\"fresh\"} %lld\n",
		       (long long)(told_ms + HOUR) / 1000);
	assert_true(measures(text_of));
	assert_true(
		measures("_site_lane_retry_timestamp_seconds{site=\"north\",lane=\"stat\"} 0\n"));
	assert_true(measures("_site_lane_put_off_images{site=\"north\",lane=\"fresh\"} 2\n"));
	assert_true(measures("_site_not_released_studies{site=\"north\"} 4.000\n"));
}

/* Whoever held it, and whichever central that was: its successor is told. */
static void
sites__R10_tell_that_eviction_is_on_hold_there(void **state)
{
	static const char on_hold[] = "north: told that eviction is on hold there, by an order";
	const char *on[] = {"hold", "on"}, *off[] = {"hold", "off"};

	(void)state;
	open_both();
	pass(70 * SECOND);
	assert_false(shows(on_hold));
	assert_true(json_has("\"hold\":false"));
	assert_int_equal(ctl_local(central_commands_run, &p.central, 2, on), 0);
	pair_orders(&p);
	pair_burn_central(&p);
	pair_open_central(&p);
	pass(70 * SECOND);
	expect_shown(on_hold);
	assert_true(json_has("\"hold\":true"));
	assert_true(measures("_site_hold{site=\"north\"} 1.000\n"));
	assert_int_equal(ctl_local(central_commands_run, &p.central, 2, off), 0);
	pair_orders(&p);
	pass(70 * SECOND);
	assert_false(shows(on_hold));
}

/* An edge of the version before tells nothing: what central knows itself is shown all the same. */
static void
sites__an_edge_of_the_version_before_tells_nothing(void **state)
{
	struct site_row row = {.site = "north"};
	struct told t;

	(void)state;
	told_keep(&row, NULL);
	told_open(&t, &row, NULL, 4, 10 * SECOND);
	assert_null(t.m);
	assert_int_equal(t.waits, WAIT_NOTHING);
	told_open(&t, &row, NULL, 4, TOLD_SILENT_MS + 1);
	assert_int_equal(t.waits, WAIT_LINK);
	told_open(&t, &row, NULL, 0, TOLD_SILENT_MS + 1);
	assert_int_equal(t.waits, WAIT_NOTHING);
	assert_string_equal(waits_name(86), "another reason"); /* of a later one */
	assert_string_equal(waits_name(UINT32_MAX), "another reason");
}

/* R12: which lanes are closed, at which threshold. */
static void
status__R12_names_the_lanes_that_have_no_room(void **state)
{
	const char *words[] = {"status"};
	struct snapshot s;
	FILE *f;

	(void)state;
	f = fopen(p.central_conf, "a");
	assert_non_null(f);
	(void)fprintf(f, "[data]\nfull_backfill = 0\n");
	assert_int_equal(fclose(f), 0);
	pair_open_central(&p);
	assert_int_equal(snapshot_make(&s, &p.central, NULL), 0);
	assert_int_equal(s.room.closed, 1u << LANE_BACKFILL);
	snapshot_free(&s);
	assert_true(measures("salamander_central_lane_closed{lane=\"back-fill\"} 1\n"));
	assert_true(measures("salamander_central_lane_closed{lane=\"fresh\"} 0\n"));
	assert_int_equal(ctl_local(central_commands_run, &p.central, 1, words), COMMAND_PERSON);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			metrics__R17_say_when_what_is_put_off_is_tried_and_what_is_not_released,
			begin, end),
		cmocka_unit_test_setup_teardown(sites__tell_the_lag_of_each_lane_and_why_it_waits,
						begin, end),
		cmocka_unit_test_setup_teardown(
			sites__an_edge_that_is_away_is_said_to_be_and_what_it_told_stays, begin,
			end),
		cmocka_unit_test_setup_teardown(
			sites__who_is_suspended_is_turned_away_and_not_cut_off, begin, end),
		cmocka_unit_test_setup_teardown(sites__R10_tell_that_eviction_is_on_hold_there,
						begin, end),
		cmocka_unit_test(sites__an_edge_of_the_version_before_tells_nothing),
		cmocka_unit_test_setup_teardown(status__R12_names_the_lanes_that_have_no_room,
						begin, end),
	};

	(void)setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
