/* What `status` of an edge says of central: clocks, epochs, what is acknowledged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/intake.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/os/file.h"
#include "common/store/private.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/figures.h"
#include "edge/keep.h"
#include "edge/metrics.h"
#include "edge/outbox.h"
#include "edge/rebuild.h"
#include "edge/replicate.h"
#include "edge/stat.h"
#include "edge/status.h"
#include "edge/throttle.h"
#include "proto/link.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"

enum { TURNS = 400, MINUTE_MS = 60000 };

static struct pair p;

static int
make_pair(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	pair_init(&p, "64MiB");
	return 0;
}

static int
drop_pair(void **state)
{
	(void)state;
	pair_fini(&p);
	return 0;
}

/* Is the text in `status`, and does a person have to come? */
static void
assert_status(const char *text, bool shown, bool wanted)
{
	struct buf out = BUF_INIT;
	bool person = !wanted;

	assert_int_equal(status_text(&p.edge, &out, &person, NULL), 0);
	buf_put_u8(&out, 0);
	assert_false(buf_failed(&out));
	if ((strstr((const char *)out.data, text) != NULL) != shown)
		fail_msg("'%s' %s: %s", text, shown ? "is missing" : "is there",
			 (const char *)out.data);
	assert_int_equal(person, wanted);
	buf_fini(&out);
}

/* Central's clock stands still at its own idea of the day; a hello tells. */
static void
let_central_differ_by(int64_t ms)
{
	static struct clock_manual other;
	int i;

	clock_manual_init(&other, clock_mono(&p.clock.c), clock_wall(&p.clock.c) + ms);
	p.central.clock = &other.c;
	replicate_hello(p.r);
	for (i = 0; i < 10; i++)
		pair_turn(&p);
}

static void
status__R28_clocks_that_differ_are_shown_and_by_a_day_need_a_person(void **state)
{
	static const int64_t minutes[] = {10, -10, 25 * 60, -25 * 60};
	size_t i;

	(void)state;
	assert_int_equal(pair_send(&p, 1), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_status("clocks differ", false, false);
	for (i = 0; i < 4; i++) {
		let_central_differ_by(minutes[i] * MINUTE_MS);
		assert_status("clocks differ", true, i >= 2);
	}
	assert_int_equal(pair_send(&p, 2), 0); /* and nothing else minds */
	assert_true(pair_settle(&p, TURNS));
	assert_true(pair_central_has(&p, 2));
	p.central.clock = &p.clock.c;
	replicate_hello(p.r);
	assert_int_equal(pair_send(&p, 3), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_status("clocks differ", false, false);
}

static void
status__what_is_acknowledged_outlives_a_restart_in_the_dark(void **state)
{
	(void)state;
	assert_status("1 ledger entries not acknowledged", true, false);
	assert_int_equal(pair_send(&p, 1), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_status("; 0 ledger entries not acknowledged", true, false);
	assert_int_equal(edge_keep_contact(&p.edge, NULL), 0);
	pair_close_edge(&p);
	pair_close_central(&p);
	pair_open_edge(&p);
	assert_status("; 0 ledger entries not acknowledged", true, false);
	assert_int_equal(pair_send(&p, 2), 0);
	assert_status("owed: 1 images", true, false);
	pair_open_central(&p);
	assert_true(pair_settle(&p, TURNS));
	assert_status("owed: 0 images", true, false);
	assert_status("; 0 ledger entries not acknowledged", true, false);
}

/* How far each lane is behind, and why; a lane with nothing in it is not named. */
static void
status__each_lane_says_how_far_it_is_behind_and_why_it_waits(void **state)
{
	char study[65];
	size_t n;

	(void)state;
	gen_uid(study, 2, 0, 0);
	assert_int_equal(pair_send(&p, 1), 0);
	assert_int_equal(pair_send(&p, 4), 0);
	assert_int_equal(pair_send(&p, 5), 0);
	assert_int_equal(stat_mark(&p.edge, study, true, &n, NULL), 0);
	assert_status("  ledger: ", true, false);
	assert_status("  stat: 2 images", true, false);
	assert_status("  fresh: 1 images", true, false);
	assert_status("behind by 0 seconds; waits: link down", true, false);
	assert_status("  back-fill: ", false, false);
	assert_true(pair_settle(&p, TURNS));
	assert_status("  ledger: ", false, false);
	assert_status("  stat: ", false, false);
	assert_status("  fresh: ", false, false);
}

static void
status__R13_a_damaged_journal_needs_a_person_until_a_rebuild(void **state)
{
	struct rebuild_result result;
	struct err e = ERR_INIT;
	struct edge edge;
	char store[PATH_MAX];

	(void)state;
	assert_int_equal(pair_send(&p, 1), 0);
	assert_true(pair_settle(&p, TURNS));
	(void)snprintf(store, sizeof(store), "%s/store", p.edge.dir);
	assert_int_equal(file_replace(store, "journal.damaged", "", 0, NULL), 0);
	assert_status("THE JOURNAL WAS DAMAGED", true, true);
	pair_close_edge(&p);
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	assert_int_equal(rebuild_store(&edge, &result, &e), 0);
	assert_int_equal(result.objects, 1);
	assert_true(result.kept); /* what the journal held may be lacking */
	edge_close(&edge);
	pair_open_edge(&p);
	assert_status("THE JOURNAL WAS DAMAGED", false, false);
}

/* What else may listen where central is looked for. */
static int other_status;
static const char *other_body;

static int
other_hello(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	(void)node;
	(void)rq;
	(void)e;
	out->status = other_status;
	buf_puts(&out->body, other_body);
	return 0;
}

static void
expect_why(int status, const char *body, const char *why)
{
	static const struct http_route route = {"POST",	 "/sync/v1/hello", 0,
						1 << 20, other_hello,	   NULL};
	struct link_loop_config c = {.to = {&route, 1, NULL, "north"}};
	struct replicate *r;
	struct contact contact;
	struct link *link;
	int i;

	other_status = status;
	other_body = body;
	assert_int_equal(link_loop(&link, &c, NULL), 0);
	assert_int_equal(replicate_new(&r, &p.edge, link, NULL), 0);
	for (i = 0; i < 4; i++)
		replicate_turn(r, 0);
	replicate_free(r);
	edge_contact(&p.edge, &contact);
	assert_false(contact.reachable);
	assert_string_equal(contact.why, why);
}

static void
status__what_answers_and_is_no_central_is_told(void **state)
{
	(void)state;
	expect_why(200, "<html>welcome</html>",
		   "what answers speaks another version, or is no central");
	expect_why(426, "this central speaks versions 7 to 8\n",
		   "it speaks other versions of the protocol: this central speaks versions 7 to 8");
	expect_why(404, "no such path", "it answered hello with 404: no such path");
}

static void
let_epoch_be(const struct id128 *epoch)
{
	int i;

	p.central.epoch = *epoch;
	replicate_hello(p.r);
	for (i = 0; i < 4; i++)
		pair_turn(&p);
}

static void
status__R22_two_centrals_end_when_one_alone_answers_for_a_while(void **state)
{
	struct id128 first, second = {{2}};
	int64_t end;

	(void)state;
	assert_int_equal(pair_send(&p, 1), 0);
	assert_true(pair_settle(&p, TURNS));
	first = p.central.epoch;
	let_epoch_be(&second);
	assert_status("TWO CENTRALS", false, false);
	let_epoch_be(&first);
	assert_status("TWO CENTRALS", true, true);
	let_epoch_be(&second);				/* they do alternate */
	clock_manual_advance(&p.clock, 20 * MINUTE_MS); /* one answer is no quarter of an hour */
	let_epoch_be(&second);
	assert_status("TWO CENTRALS", true, true);
	let_epoch_be(&first);
	end = clock_mono(&p.clock.c) + 14 * MINUTE_MS;
	while (clock_mono(&p.clock.c) < end)
		pair_turn(&p);
	assert_status("TWO CENTRALS", true, true);
	end += 2 * MINUTE_MS;
	while (clock_mono(&p.clock.c) < end)
		pair_turn(&p);
	assert_status("TWO CENTRALS", false, false);
	let_epoch_be(&second); /* what was before is forgotten, not what comes */
	assert_status("TWO CENTRALS", false, false);
	let_epoch_be(&first);
	assert_status("TWO CENTRALS", true, true);
}

static double
rate(void)
{
	struct keep_status s;

	keep_status(p.edge.keep, 0, &s);
	return s.rate;
}

static void
take_in_for_hours(int n, uint64_t bytes)
{
	int i;

	for (i = 0; i < n; i++) {
		keep_taken(p.edge.keep, bytes);
		clock_manual_advance(&p.clock, 3600000);
	}
}

/* R11: a restart forgets neither the images of the day nor for how long there were any. */
static void
status__R11_the_rate_of_the_day_outlives_a_restart(void **state)
{
	enum { MIB = 1 << 20 };

	(void)state;
	keep_stop(p.edge.keep); /* no thread of its own */
	assert_int_equal(keep_new(&p.edge.keep, &p.edge, NULL), 0);
	take_in_for_hours(12, 24 * MIB);
	assert_int_equal(rate(), 24 * MIB);
	keep_turn(p.edge.keep);
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(rate(), 24 * MIB);
	take_in_for_hours(12, 0);
	assert_int_equal(rate(), 12 * MIB);
	take_in_for_hours(6, 0); /* half of what was before is longer ago than a day */
	assert_int_equal(rate(), 6 * MIB);
}

/* Of 64 MiB, at the rate of the last day: the hour that has just begun, and the 23 before it. */
static void
status__R11_warns_at_72_hours_left_and_calls_a_person_at_24(void **state)
{
	enum { DAY = 24, ALL = 64 << 20 };

	(void)state;
	keep_stop(p.edge.keep); /* no thread of its own */
	assert_int_equal(keep_new(&p.edge.keep, &p.edge, NULL), 0);
	assert_status("room for", false, false);
	take_in_for_hours(DAY, ALL / 100);
	assert_status(" without central\n", true, false);
	take_in_for_hours(DAY, ALL / 67);
	assert_status(" without central: warning\n", true, false);
	take_in_for_hours(DAY, ALL / 25);
	assert_status(" without central: warning\n", true, false);
	take_in_for_hours(DAY, ALL / 22);
	assert_status(" without central: ALARM\n", true, true);
	take_in_for_hours(DAY, ALL / 90);
	assert_status(" without central\n", true, false);
}

/* Far below the quota, and yet nothing can be taken in. */
static void
status__R12_a_disk_that_others_have_filled_needs_a_person(void **state)
{
	(void)state;
	assert_int_equal(pair_send(&p, 1), 0);
	assert_true(pair_settle(&p, TURNS));
	keep_taken(p.edge.keep, 1 << 20);
	assert_status("FULL", false, false);
	atomic_store(&p.edge.store->disk_until, INT64_MAX);
	atomic_store(&p.edge.store->disk_limit, STORE_DISK_RESERVE);
	assert_int_equal(store_admit(p.edge.store, 1, NULL), ERR_FULL);
	assert_status("FULL: others have filled the disk", true, true);
	assert_status("room for 0 hours at the last day's rate, 0 without central: ALARM\n", true,
		      true);
	atomic_store(&p.edge.store->disk_until, 0);
	assert_status("FULL", false, false);
}

/* Of today, released by central, and the only ones that could make room. */
static void
status__R11_own_young_studies_that_had_to_go_need_a_person(void **state)
{
	struct store_space space;
	int64_t since = 0;

	(void)state;
	assert_int_equal(pair_send(&p, 1), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_status("young studies had to go", false, false);
	store_space(p.edge.store, &space);
	atomic_store(&p.edge.store->disk_until, INT64_MAX);
	atomic_store(&p.edge.store->disk_limit, space.used + STORE_DISK_RESERVE);
	assert_true(keep_wait(p.edge.keep, 4096, &since));
	assert_false(pair_edge_has(&p, 1));
	assert_status("young studies had to go", true, true);
}

/* --- why it waits --- */

static int refuse_with;

static int
refuse_bytes(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	(void)node;
	(void)rq;
	(void)e;
	out->status = refuse_with;
	return 0;
}

/* From now on central's own routes, but for bytes, where `with` is its answer; 0: all of them. */
static void
let_central_refuse_bytes(int with)
{
	static struct http_route routes[32];
	struct link_loop_config c = {.to = {routes, 0, &p.central, "north"}};
	const struct http_route *own = intake_routes(&c.to.n_routes);
	struct link *link;
	size_t i;

	assert_true(c.to.n_routes <= sizeof(routes) / sizeof(routes[0]));
	for (i = 0; i < c.to.n_routes; i++) {
		routes[i] = own[i];
		if (with && strcmp(own[i].method, "PATCH") == 0) {
			routes[i].handle = refuse_bytes;
			routes[i].stream = NULL;
		}
	}
	refuse_with = with;
	replicate_free(p.r);
	assert_int_equal(link_loop(&link, &c, NULL), 0);
	assert_int_equal(replicate_new(&p.r, &p.edge, link, NULL), 0);
}

static struct figures
figures(void)
{
	struct figures f;

	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	return f;
}

static void
expect_wait(enum wait_for wait, const char *text, bool person)
{
	struct figures f = figures();
	int i;

	for (i = 0; i < 60 && (f.wait != wait || !f.retry_wall_ms); i++) {
		pair_turn(&p);
		f = figures();
	}
	if (f.wait != wait)
		fail_msg("it waits for '%s', not '%s'", waits_name(f.wait), waits_name(wait));
	assert_true(f.retry_wall_ms > clock_wall(&p.clock.c));
	assert_false(f.estimated);
	assert_status(text, true, person);
}

/* /metrics */
static bool
measures(const char *what)
{
	struct buf text = BUF_INIT;
	bool yes;

	assert_int_equal(metrics_of_edge(&p.edge, &text, NULL), 0);
	buf_put_u8(&text, 0);
	yes = strstr((const char *)text.data, what) != NULL;
	buf_fini(&text);
	return yes;
}

static void
status__tells_why_what_is_owed_waits_and_when_it_is_tried_again(void **state)
{
	struct figures f;

	(void)state;
	pair_close_central(&p);
	assert_int_equal(pair_send(&p, 1), 0);
	expect_wait(WAIT_LINK, "waits: link down; next try at ", false);
	pair_open_central(&p);
	let_central_refuse_bytes(507);
	expect_wait(WAIT_FULL, "waits: central is full; next try at ", false);
	let_central_refuse_bytes(503);
	expect_wait(WAIT_CENTRAL, "waits: central fails; next try at ", false);
	let_central_refuse_bytes(403);
	expect_wait(WAIT_TURNED_AWAY, "waits: turned away; next try at ", false);
	let_central_refuse_bytes(0);
	assert_true(pair_settle(&p, TURNS));
	f = figures();
	assert_int_equal(f.wait, WAIT_NOTHING);
	pair_close_edge(&p); /* its link is the one that p.cut_method cuts again */
	pair_open_edge(&p);
	p.cut_method = "PATCH";
	assert_int_equal(pair_send(&p, 2), 0);
	expect_wait(WAIT_CUT, "waits: uploads break off; next try at ", false);
	assert_int_equal(figures().lanes[LANE_FRESH].wait, WAIT_CUT);
	assert_true(measures("_lane_waits{lane=\"fresh\",for=\"uploads break off\"} 1\n"));
	assert_true(measures("_lane_waits{lane=\"fresh\",for=\"link down\"} 0\n"));
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	f = figures();
	assert_int_equal(f.wait, WAIT_NOTHING);
	assert_true(f.estimated);
	assert_int_equal(f.in_step_seconds, 0);
	assert_true(f.images_rate > 0 && f.bytes_rate > 0);
	assert_status("in step with central", true, false);
}

static void
pace__is_of_the_last_minutes_and_what_took_no_time_counts_as_a_second(void **state)
{
	double images = 1, bytes = 1;
	struct pace pace = {.minutes = {{0}}};
	int64_t now = 3600000;
	int i;

	(void)state;
	pace_rate(&pace, now, &images, &bytes);
	assert_true(images == 0 && bytes == 0);
	pace_add(&pace, now, 0, 4, 1000);
	pace_rate(&pace, now, &images, &bytes);
	assert_true(images == 4 && bytes == 1000);
	pace_rate(&pace, now + 4000, &images, &bytes);
	assert_true(images == 1 && bytes == 250);
	for (i = 0; i < 600; i++) /* ten minutes of an image and 500 bytes a second */
		pace_add(&pace, now += 1000, 1000, 1, 500);
	pace_rate(&pace, now, &images, &bytes);
	assert_true(images > 0.98 && images < 1.02 && bytes > 490 && bytes < 510);
	pace_rate(&pace, now + 5 * MINUTE_MS, &images, &bytes);
	assert_true(images == 0 && bytes == 0);
}

static void
other_pixels(struct gen *g)
{
	g->seed = 4711;
}

/* A conflict that nobody has decided: its study makes no room. */
static void
status__R9_says_what_central_does_not_release_and_why(void **state)
{
	uint64_t n, bytes;
	const char *why;
	unsigned i;

	(void)state;
	for (i = 0; i < 8; i++) /* two studies */
		assert_int_equal(pair_send(&p, i), 0);
	p.change = other_pixels;
	assert_int_equal(pair_send(&p, 5), 0);
	p.change = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_status("not released", false, true);
	assert_int_equal(keep_evict(p.edge.keep, NULL, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(keep_not_released(p.edge.keep, &why), 1);
	assert_string_equal(why, "a conflict is open there");
	assert_status("not released: 1 studies that would make room; of the first: a conflict is",
		      true, true);
	assert_true(measures("salamander_edge_not_released_studies 1\n"));
}

static int
put_off(struct store_tx *tx, void *arg, struct err *e)
{
	struct outbox_row row;
	uint64_t *seq = arg;
	int rc = outbox_get(tx, OUTBOX_CENTRAL, *seq, &row, e);

	row.not_before = store_time(p.edge.store) + 40 * (int64_t)MINUTE_MS;
	return rc ? rc : outbox_change(tx, OUTBOX_CENTRAL, &row, e);
}

static int
note_seq(void *arg, const struct outbox_row *row, struct err *e)
{
	(void)e;
	*(uint64_t *)arg = row->seq;
	return 0;
}

/* hh:mm, where the edge stands. */
static void
status__R17_of_a_lane_says_when_what_is_put_off_is_tried_again(void **state)
{
	char when[THROTTLE_WHEN], text[80];
	struct store_tx *tx;
	uint64_t seq = 0;

	(void)state;
	p.cut_method = "PATCH";
	assert_int_equal(pair_send(&p, 0), 0);
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(outbox_each(tx, OUTBOX_CENTRAL, 0, note_seq, &seq, NULL), 0);
	store_end_read(tx);
	assert_int_equal(store_commit(p.edge.store, put_off, &seq, NULL), 0);
	throttle_name_time(clock_wall(&p.clock.c) + 40 * (int64_t)MINUTE_MS, false, when);
	(void)snprintf(text, sizeof(text), "; put off: 1, the first until %s", when);
	assert_status(text, true, false);
	assert_in_range(figures().lanes[LANE_FRESH].retry_ms, 39 * MINUTE_MS, 40 * MINUTE_MS);
	assert_int_equal(figures().lanes[LANE_STAT].retry_ms, 0);
	assert_true(measures("_lane_put_off_images{lane=\"fresh\"} 1\n"));
	(void)snprintf(text, sizeof(text), "_lane_retry_timestamp_seconds{lane=\"fresh\"} %lld\n",
		       (long long)(clock_wall(&p.clock.c) + figures().lanes[LANE_FRESH].retry_ms) /
			       1000);
	assert_true(measures(text));
	assert_true(measures("_lane_retry_timestamp_seconds{lane=\"stat\"} 0\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			pace__is_of_the_last_minutes_and_what_took_no_time_counts_as_a_second),
		cmocka_unit_test_setup_teardown(
			status__tells_why_what_is_owed_waits_and_when_it_is_tried_again, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(
			status__R22_two_centrals_end_when_one_alone_answers_for_a_while, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(
			status__each_lane_says_how_far_it_is_behind_and_why_it_waits, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(
			status__R9_says_what_central_does_not_release_and_why, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(
			status__R17_of_a_lane_says_when_what_is_put_off_is_tried_again, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(status__what_answers_and_is_no_central_is_told,
						make_pair, drop_pair),
		cmocka_unit_test_setup_teardown(status__R11_the_rate_of_the_day_outlives_a_restart,
						make_pair, drop_pair),
		cmocka_unit_test_setup_teardown(
			status__R12_a_disk_that_others_have_filled_needs_a_person, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(
			status__R11_own_young_studies_that_had_to_go_need_a_person, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(
			status__R11_warns_at_72_hours_left_and_calls_a_person_at_24, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(
			status__R13_a_damaged_journal_needs_a_person_until_a_rebuild, make_pair,
			drop_pair),
		cmocka_unit_test_setup_teardown(
			status__R28_clocks_that_differ_are_shown_and_by_a_day_need_a_person,
			make_pair, drop_pair),
		cmocka_unit_test_setup_teardown(
			status__what_is_acknowledged_outlives_a_restart_in_the_dark, make_pair,
			drop_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
