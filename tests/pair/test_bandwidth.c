/* How much of its link a site may use: said at central, kept to by the edge, each way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "central/central_commands.h"
#include "central/members.h"
#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/http/client.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "edge/edge_settings.h"
#include "edge/figures.h"
#include "edge/refill.h"
#include "edge/replicate.h"
#include "edge/status.h"
#include "edge/throttle.h"
#include "proto/orders.h"
#include "tests/lib/pair.h"

enum { TURNS = 400, SOME = 40, SECOND = 1000, HOUR = 3600 * SECOND };

#define MONDAY_6 INT64_C(1795413600000) /* 23 November 2026, 06:00 UTC */

/* It is monday, six o'clock; the edge has said hello. */
static void
begin(struct pair *p, const char *more_conf)
{
	FILE *f;

	pair_prepare(p, "64MiB");
	atomic_store(&p->clock.wall, MONDAY_6);
	f = fopen(p->edge_conf, "w");
	assert_non_null(f);
	(void)fprintf(f,
		      "[site]\nname = north\nissuer = NORTH\n[data]\ndir = %s/edge\n"
		      "quota = 64MiB\n[log]\nlevel = error\n"
		      "[central]\nurl = http://127.0.0.1:1\ncompress = off\n%s",
		      p->dir, more_conf);
	assert_int_equal(fclose(f), 0);
	pair_open_central(p);
	pair_open_edge(p);
	pair_turn(p);
	pair_turn(p);
}

static int
site_bandwidth(struct pair *p, const char *rate, const char *days, const char *hours)
{
	const char *words[] = {"site", "bandwidth", "north", rate, days, hours};
	size_t n = hours ? 6 : days ? 5 : rate ? 4 : 3;

	return ctl_local(central_commands_run, &p->central, n, words);
}

/* So much time, in turns of the edge; what is asked is answered in no time. */
static void
pass(struct pair *p, int64_t ms)
{
	int64_t until = clock_mono(&p->clock.c) + ms, due, now;
	unsigned before;

	while ((now = clock_mono(&p->clock.c)) < until) {
		do {
			before = p->messages;
			replicate_turn(p->r, 0);
		} while (p->messages != before);
		due = replicate_due(p->r);
		due = due > until ? until : due > now ? due : now + 1;
		clock_manual_advance(&p->clock, due - now);
	}
	replicate_turn(p->r, 0);
}

static struct figures
figures(struct pair *p)
{
	struct figures f;

	assert_int_equal(figures_collect(&f, &p->edge, NULL), 0);
	return f;
}

static void
throttle__the_hour_is_local_by_centrals_clock_and_knows_of_daylight_saving(void **state)
{
	/* 28 March 2027, 01:00 UTC: in Berlin 02:00 to 03:00 does not come; 31 October, 01:00 UTC:
	 * there it comes again. Both are sundays. */
	static const struct {
		int64_t wall_ms;
		unsigned hour;			  /* of the day, that is limited then */
	} cases[] = {{INT64_C(1806195540000), 1}, /* 00:59 */
		     {INT64_C(1806195600000), 3}, /* 01:00 */
		     {INT64_C(1824944400000) - 60000, 2},
		     {INT64_C(1824944400000), 2},
		     {INT64_C(1824944400000) + HOUR, 3}};
	char local[THROTTLE_WHEN];
	struct throttle now;
	struct bandwidth b;
	struct pair p;
	size_t i, h;

	(void)state;
	assert_int_equal(setenv("TZ", "Europe/Berlin", 1), 0);
	tzset();
	begin(&p, "");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (h = 0; h < 24; h++) {
			char hours[12];

			bandwidth_clear(&b);
			(void)snprintf(hours, sizeof(hours), "%02zu:00-%02zu:00", h, h + 1);
			assert_true(bandwidth_set(&b, 5000, "sun", hours));
			throttle_heard(&p.edge, &b, cases[i].wall_ms);
			/* R28: whatever our own clock says */
			atomic_store(&p.clock.wall, INT64_C(4102444800000));
			throttle_now(&p.edge, &now);
			assert_int_equal(now.limited, h == cases[i].hour);
		}
	/* The limit of 02:00 to 04:00 ends at 04:00 in summer time, an hour and a minute on. */
	bandwidth_clear(&b);
	assert_true(bandwidth_set(&b, 5000, "sun", "01:00-04:00"));
	throttle_heard(&p.edge, &b, cases[0].wall_ms);
	assert_true(throttle_until(&p.edge, local) == cases[0].wall_ms + HOUR + 60000);
	assert_string_equal(local, "04:00");
	assert_true(bandwidth_set(&b, 5000, NULL, NULL));
	throttle_heard(&p.edge, &b, cases[0].wall_ms);
	assert_true(throttle_until(&p.edge, local) == 0);
	assert_string_equal(local, "");
	assert_true(bandwidth_set(&b, 6000, "tue", "07:00-08:00"));
	throttle_heard(&p.edge, &b, cases[0].wall_ms);
	(void)throttle_until(&p.edge, local);
	assert_string_equal(local, "Tue 07:00");
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	tzset();
	pair_fini(&p);
}

/* --- uploads --- */

static void
pair__R7_R28_in_an_hour_of_nothing_the_ledger_goes_and_images_wait(void **state)
{
	struct buf text = BUF_INIT;
	struct figures f;
	bool person;
	struct pair p;
	unsigned i;

	(void)state;
	begin(&p, "");
	assert_int_equal(site_bandwidth(&p, "0", "mon-fri", "06:00-19:00"), 0);
	pass(&p, 20 * SECOND); /* it hears of it */
	assert_int_equal(pair_send(&p, 0), 0);
	assert_int_equal(pair_send(&p, 1), 0);
	for (i = 0; i < SOME; i++)
		pair_turn(&p);
	assert_false(pair_central_has(&p, 0));
	f = figures(&p);
	assert_int_equal(f.wait, WAIT_SCHEDULE);
	assert_int_equal(f.lanes[LANE_FRESH].wait, WAIT_SCHEDULE);
	assert_int_equal(f.lanes[LANE_LEDGER].images, 0); /* all of it is announced */
	assert_false(f.estimated);
	assert_int_equal(f.outbox.packed, 0);
	assert_true(f.hour_until_wall_ms == MONDAY_6 + 13 * HOUR);
	assert_int_equal(status_text(&p.edge, &text, &person, NULL), 0);
	buf_put_u8(&text, 0);
	assert_non_null(strstr((const char *)text.data, "waits: schedule until 19:00\n"));
	assert_false(person); /* it is as somebody wants it */
	buf_clear(&text);
	/* Our clock is set by a year: central's goes on as it was. */
	atomic_fetch_add(&p.clock.wall, 365 * 24 * INT64_C(3600000));
	f = figures(&p);
	assert_int_equal(f.wait, WAIT_SCHEDULE);
	atomic_fetch_sub(&p.clock.wall, 365 * 24 * INT64_C(3600000));
	pass(&p, 12 * HOUR + HOUR / 2);
	assert_false(pair_central_has(&p, 0));
	assert_int_equal(figures(&p).wait, WAIT_SCHEDULE);
	pass(&p, HOUR); /* by itself */
	assert_true(pair_settle(&p, TURNS));
	assert_true(pair_central_has(&p, 0) && pair_central_has(&p, 1));
	assert_int_equal(figures(&p).wait, WAIT_NOTHING);
	buf_fini(&text);
	pair_fini(&p);
}

static uint64_t sent;

static void
note_sent(struct pair *p, struct http_call *call)
{
	(void)p;
	if (strcmp(call->method, "PATCH") == 0)
		sent += call->body.len;
}

/* Counted at central, in bodies; the clock is the test's. */
static void
pair__uploads_keep_to_the_rate_and_to_the_lower_ceiling_of_the_edge(void **state)
{
	static const struct {
		const char *table, *ceiling;
		uint64_t rate;
	} cases[] = {
		{"80kbit", "none", 10000}, {"none", "40kbit", 5000}, {"80kbit", "40kbit", 5000}};
	struct pair p;
	char conf[64];
	unsigned i, k;

	(void)state;
	for (k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		(void)snprintf(conf, sizeof(conf), "ceiling = %s\n", cases[k].ceiling);
		begin(&p, conf);
		p.rows = 512;
		p.on_request = note_sent;
		assert_int_equal(site_bandwidth(&p, cases[k].table, NULL, NULL), 0);
		pass(&p, 20 * SECOND);
		for (i = 0; i < 30; i++)
			assert_int_equal(pair_send(&p, i), 0);
		sent = 0;
		pass(&p, 60 * SECOND);
		if (sent > cases[k].rate * 61 + 9000 || sent < cases[k].rate * 50)
			fail_msg("%llu bytes a minute", (unsigned long long)sent);
		assert_int_equal(figures(&p).wait, WAIT_NOTHING); /* it goes on */
		assert_true(figures(&p).hour.rate == cases[k].rate);
		pair_fini(&p);
	}
}

/* Stat passes, by a person's word, in an hour in which nothing else does. */
static void
pair__stat_is_exempt(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	begin(&p, "[stat all]\nhours = 08:00-09:00\n");
	assert_int_equal(site_bandwidth(&p, "0", NULL, NULL), 0);
	pass(&p, 70 * SECOND);
	assert_int_equal(pair_send(&p, 0), 0);
	pass(&p, 2 * HOUR);
	assert_int_equal(pair_send(&p, 1), 0);
	for (i = 0; i < SOME; i++)
		pair_turn(&p);
	assert_true(pair_central_has(&p, 1));
	assert_false(pair_central_has(&p, 0));
	pair_fini(&p);
}

/* --- what is fetched --- */

static uint64_t asked;

static void
note_asked(struct pair *p, struct http_call *call)
{
	(void)p;
	if (strcmp(call->method, "GET") == 0 && call->ranged) {
		assert_true(call->range_n <= 64 << 10);
		asked += call->range_n;
	}
}

static int
refill(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct refill_config c = {.group = false};
	struct refill_result *out = (struct refill_result *)(void *)(uintptr_t)words[0];
	struct err e = ERR_INIT;

	(void)n;
	return refill_run(node, &c, r, out, &e);
}

static void
refill__takes_its_turn_by_the_table(void **state)
{
	struct refill_result out;
	const char *words[] = {(const char *)&out};
	int64_t when;
	struct pair p;
	unsigned i;

	(void)state;
	begin(&p, "");
	p.rows = 256;
	for (i = 0; i < 3; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(site_bandwidth(&p, "0", NULL, NULL), 0);
	pair_burn_edge(&p);
	pair_open_edge(&p);
	p.on_request = note_asked;
	pair_turn(&p);
	pair_turn(&p);
	asked = 0;
	assert_int_not_equal(ctl_local(refill, &p.edge, 1, words), 0);
	assert_int_equal(asked, 0);
	assert_int_equal(out.known, 3); /* what there is, is known: that is not held */
	/* 50,000 bytes a second: 64 KiB at once, and what that owes is waited for. */
	assert_int_equal(site_bandwidth(&p, "400kbit", NULL, NULL), 0);
	pass(&p, 70 * SECOND);
	assert_true(throttle_part(&p.edge, 8 << 20) == 64 << 10);
	assert_true(throttle_when(&p.edge) <= clock_mono(&p.clock.c));
	throttle_fetched(&p.edge, 100000);
	when = throttle_when(&p.edge);
	assert_in_range(when, clock_mono(&p.clock.c) + 1000, clock_mono(&p.clock.c) + 2000);
	assert_int_equal(site_bandwidth(&p, "none", NULL, NULL), 0);
	pass(&p, 70 * SECOND);
	p.on_request = NULL;
	assert_int_equal(ctl_local(refill, &p.edge, 1, words), 0);
	assert_int_equal(out.came, 3);
	pair_fini(&p);
}

/* Whoever sleeps by the test's clock finds it further on: waits take no time. */
static void
sleep_on(struct clock *c, int64_t ms)
{
	clock_manual_advance((struct clock_manual *)(void *)c, ms);
}

/* By the clock of the node, as the tables go: 50,000 bytes a second; then an hour of nothing. */
static void
refill__R28_waits_for_its_turn_by_the_nodes_own_clock(void **state)
{
	struct refill_result out;
	const char *words[] = {(const char *)&out};
	int64_t from, took;
	struct pair p;
	unsigned i;

	(void)state;
	begin(&p, "");
	p.clock.c.sleep_ms = sleep_on;
	p.rows = 256;
	for (i = 0; i < 3; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(site_bandwidth(&p, "400kbit", NULL, NULL), 0);
	pair_burn_edge(&p);
	pair_open_edge(&p);
	pass(&p, 20 * SECOND);
	asked = 0;
	p.on_request = note_asked;
	from = clock_mono(&p.clock.c);
	assert_int_equal(ctl_local(refill, &p.edge, 1, words), 0);
	took = clock_mono(&p.clock.c) - from;
	assert_int_equal(out.came, 3);
	/* A part is taken at once, and what it owes waited for. */
	assert_in_range(took, (int64_t)(asked - 2 * (64 << 10)) / 50, (int64_t)asked / 50 + 1000);
	assert_int_equal(site_bandwidth(&p, "0", "06:00-07:00", NULL), 0);
	pair_burn_edge(&p);
	pair_open_edge(&p);
	atomic_store(&p.clock.wall, MONDAY_6 + HOUR - 60 * SECOND);
	pass(&p, 20 * SECOND);
	p.edge.replicate = p.r; /* as `serve`: it waits for another hour */
	assert_int_equal(ctl_local(refill, &p.edge, 1, words), 0);
	p.edge.replicate = NULL;
	assert_int_equal(out.came, 3);
	assert_true(clock_wall(&p.clock.c) >= MONDAY_6 + HOUR);
	assert_true(clock_wall(&p.clock.c) < MONDAY_6 + HOUR + 30 * SECOND);
	pair_fini(&p);
}

/* --- the table --- */

static bool
table_is(struct pair *p, const struct bandwidth *want)
{
	struct store_tx *tx;
	struct member m;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(member_get(tx, "north", &m, NULL), 0);
	store_end_read(tx);
	return memcmp(&m.bandwidth, want, sizeof(*want)) == 0;
}

static void
site_bandwidth__R16_is_in_the_log_and_outlives_restart_and_rebuild(void **state)
{
	struct bandwidth want;
	struct pair p;

	(void)state;
	begin(&p, "");
	assert_int_equal(site_bandwidth(&p, "4Mbit", "mon-fri", "07:00-19:00"), 0);
	assert_int_equal(site_bandwidth(&p, "0", "sun", NULL), 0);
	assert_int_equal(site_bandwidth(&p, "1Mbit", "12:00-13:00", NULL), 0); /* each day */
	assert_int_equal(site_bandwidth(&p, NULL, NULL, NULL), 0);
	bandwidth_clear(&want);
	assert_true(bandwidth_set(&want, 500000, "mon-fri", "07:00-19:00"));
	assert_true(bandwidth_set(&want, 0, "sun", NULL));
	assert_true(bandwidth_set(&want, 125000, NULL, "12:00-13:00"));
	assert_true(table_is(&p, &want));
	/* What is no table changes nothing. */
	assert_int_equal(site_bandwidth(&p, "4MB", NULL, NULL), 2);
	assert_int_equal(site_bandwidth(&p, "4Mbit", "monday", NULL), 2);
	assert_int_equal(site_bandwidth(&p, "4Mbit", "07:00-19:00", "mon"), 2);
	assert_int_equal(site_bandwidth(&p, "4Mbit", "mon", "07:30-19:00"), 2);
	pair_close_central(&p);
	pair_open_central(&p);
	assert_true(table_is(&p, &want));
	pair_close_central(&p);
	assert_int_equal(central_open(&p.central, p.central_conf, CENTRAL_REBUILD, NULL), 0);
	p.central_open = true;
	assert_true(table_is(&p, &want));
	pass(&p, 20 * SECOND);
	assert_memory_equal(&p.edge.contact.bandwidth, &want, sizeof(want));
	pair_fini(&p);
}

static uint64_t
rate_now(struct pair *p)
{
	struct throttle now;
	unsigned i;

	for (i = 0; i < 8; i++)
		replicate_turn(p->r, 0);
	throttle_now(&p->edge, &now);
	return now.rate;
}

/* The poll is answered, and hello brings the table, long before it would be said again. */
static void
site_bandwidth__is_heard_at_once_by_an_edge_that_is_there(void **state)
{
	struct pair p;
	unsigned before;

	(void)state;
	begin(&p, "");
	assert_int_equal(site_bandwidth(&p, "8Mbit", NULL, NULL), 0);
	pair_orders(&p);
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	assert_int_equal(rate_now(&p), 1000000); /* hello was due */
	assert_int_equal(site_bandwidth(&p, "4Mbit", NULL, NULL), 0);
	clock_manual_advance(&p.clock, SECOND);
	assert_int_equal(rate_now(&p), 1000000); /* and is not now */
	pair_orders(&p);
	assert_int_equal(rate_now(&p), 500000);
	/* It has been told: the next poll waits. */
	pair_orders(&p);
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS / 2);
	before = p.messages;
	pair_orders(&p);
	assert_int_equal(p.messages, before);
	pair_fini(&p);
}

static void
edge_settings__the_ceiling_is_a_rate(void **state)
{
	static const char *const bad[] = {"0", "20", "20MB", "fast"};
	struct conf *c;
	struct pair p;
	size_t i;
	FILE *f;

	(void)state;
	pair_prepare(&p, "64MiB");
	for (i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		f = fopen(p.edge_conf, "w");
		assert_non_null(f);
		(void)fprintf(f,
			      "[site]\nname = north\nissuer = X\n[data]\ndir = %s/edge\n"
			      "[central]\nceiling = %s\n",
			      p.dir, i < 4 ? bad[i] : "20Mbit");
		assert_int_equal(fclose(f), 0);
		if (i < 4) {
			assert_int_not_equal(edge_settings_load(&c, p.edge_conf, NULL), 0);
			continue;
		}
		assert_int_equal(edge_settings_load(&c, p.edge_conf, NULL), 0);
		conf_free(c);
	}
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			throttle__the_hour_is_local_by_centrals_clock_and_knows_of_daylight_saving),
		cmocka_unit_test(
			pair__R7_R28_in_an_hour_of_nothing_the_ledger_goes_and_images_wait),
		cmocka_unit_test(
			pair__uploads_keep_to_the_rate_and_to_the_lower_ceiling_of_the_edge),
		cmocka_unit_test(pair__stat_is_exempt),
		cmocka_unit_test(refill__takes_its_turn_by_the_table),
		cmocka_unit_test(refill__R28_waits_for_its_turn_by_the_nodes_own_clock),
		cmocka_unit_test(
			site_bandwidth__R16_is_in_the_log_and_outlives_restart_and_rebuild),
		cmocka_unit_test(site_bandwidth__is_heard_at_once_by_an_edge_that_is_there),
		cmocka_unit_test(edge_settings__the_ceiling_is_a_rate),
	};

	(void)setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
