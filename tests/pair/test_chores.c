/*
 * Orders that take an edge a while: refill, verify, resend, prefetch; and settings. Given at
 * central, kept and carried out once, told back, shown at both ends (R7, R10, R11, R16, R22, R27).
 */
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
#include "central/dispatch.h"
#include "central/heard.h"
#include "central/intake.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/http/client.h"
#include "common/http/server.h"
#include "common/kv/kv.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/store/private.h"
#include "common/store/store.h"
#include "edge/chores.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "edge/status.h"
#include "edge/wanted.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, IMAGES = 3, TICK_MS = 100, HOUR_MS = 3600000 };

static struct pair p;
static int64_t (*still)(struct clock *c);

static _Atomic bool ticking;

/* While it ticks, whoever looks at the clock finds it further on: a chore waits for nobody. */
static int64_t
tick(struct clock *c)
{
	if (ticking)
		clock_manual_advance(&p.clock, TICK_MS);
	return still(c);
}

static int
begin(void **state)
{
	unsigned i;

	(void)state;
	pair_prepare(&p, "64MiB");
	still = p.clock.c.mono_ms;
	p.clock.c.mono_ms = tick;
	pair_open_central(&p);
	pair_open_edge(&p);
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	return 0;
}

static int
end(void **state)
{
	(void)state;
	pair_fini(&p);
	return 0;
}

static int
command(const char *a, const char *b, const char *c, const char *d, const char *e)
{
	const char *words[] = {a, b, c, d, e};
	size_t n = e ? 5 : d ? 4 : c ? 3 : b ? 2 : 1;

	return ctl_local(central_commands_run, &p.central, n, words);
}

/* The edge hears, does what is due, and tells. */
static void
hear(void)
{
	assert_true(pair_settle(&p, TURNS));
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
	ticking = true;
	pair_chores(&p);
	ticking = false;
	pair_orders(&p);
}

static bool
all_here(void)
{
	unsigned i;

	for (i = 0; i < IMAGES; i++)
		if (!pair_edge_has(&p, i))
			return false;
	return true;
}

/* Rows at the edge. */
struct rows {
	uint64_t n, open, unsaid, number;
	int outcome;
	uint32_t tries;
	char text[300];
};

static int
note_row(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *e)
{
	struct rows *r = arg;

	(void)e;
	r->n++;
	r->open += !m->done;
	r->unsaid += m->done && !m->said;
	r->number = number;
	r->tries = m->tries;
	r->outcome = m->done ? (int)m->done->outcome : 0;
	(void)snprintf(r->text, sizeof(r->text), "%s", m->done ? m->done->text : "");
	return 0;
}

static struct rows
rows(void)
{
	struct rows r = {.n = 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(chores_each(tx, 0, note_row, &r, NULL), 0);
	store_end_read(tx);
	return r;
}

static uint64_t
last_order(void)
{
	struct store_tx *tx;
	uint64_t n;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(state_number(tx, DISPATCH_LAST, &n, NULL), 0);
	store_end_read(tx);
	return n;
}

static bool
ended(const char *site, uint64_t number)
{
	struct store_tx *tx;
	bool yes;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(heard_ended(tx, site, number, &yes, NULL), 0);
	store_end_read(tx);
	return yes;
}

static struct outbox_counts
owed(void)
{
	struct outbox_counts counts;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(outbox_counts(tx, &counts, NULL), 0);
	store_end_read(tx);
	return counts;
}

static enum store_class
class_of(const char *study)
{
	struct store_candidate list[10];
	size_t n, i;

	assert_int_equal(store_candidates(p.edge.store, 0, NULL, list, 10, &n, NULL), 0);
	for (i = 0; i < n && strcmp(list[i].study, study) != 0; i++)
		;
	assert_true(i < n);
	return list[i].class;
}

/* --- prefetch --- */

static void
prefetch__R7_R11_R27_brings_a_study_to_a_site_that_never_had_it(void **state)
{
	struct version v = pair_version(&p, p.central.store, 0);

	(void)state;
	pair_site(&p, "south");
	hear();
	assert_false(pair_edge_has(&p, 0));
	assert_int_equal(command("prefetch", v.study, "south", NULL, NULL), COMMAND_OK);
	assert_int_equal(pair_open_orders(&p), 1);
	hear();
	assert_true(all_here());
	assert_int_equal(owed().owed, 0); /* R7 */
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(class_of(v.study), STORE_NEVER_OPENED);
	assert_int_equal(rows().outcome, SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE);
	assert_int_equal(rows().unsaid, 0);
	assert_true(ended("south", last_order()));
	assert_int_equal(pair_open_orders(&p), 0);
	assert_int_equal(command("orders", NULL, NULL, NULL, NULL), COMMAND_OK);
	pair_check_figures(&p); /* R18 */
}

static void
prefetch__R15_of_what_is_hidden_or_unknown_is_no_order(void **state)
{
	struct version v = pair_version(&p, p.central.store, 0);
	uint64_t before = last_order();

	(void)state;
	assert_int_equal(command("prefetch", "1.2.3", "north", NULL, NULL), COMMAND_FAILED);
	assert_int_equal(command("prefetch", v.study, "west", NULL, NULL), COMMAND_FAILED);
	assert_int_equal(last_order(), before);
	assert_int_equal(command("retract", v.study, "--reason", "x", NULL), COMMAND_OK);
	before = last_order();
	assert_int_equal(command("prefetch", v.study, "north", NULL, NULL), COMMAND_FAILED);
	assert_int_equal(last_order(), before);
}

/* R26: announcing gives no right to bytes, nor does an order. */
static void
prefetch__R26_under_policy_own_brings_nothing_of_others(void **state)
{
	struct version v = pair_version(&p, p.central.store, 0);

	(void)state;
	pair_site(&p, "south");
	hear();
	assert_int_equal(command("site", "policy", "south", "own", NULL), COMMAND_OK);
	assert_int_equal(command("prefetch", v.study, "south", NULL, NULL), COMMAND_OK);
	hear();
	assert_false(pair_edge_has(&p, 0));
	assert_int_equal(rows().outcome, SYNC__ORDER_OUTCOME__ORDER_OUTCOME_PERSON);
	assert_int_equal(command("orders", NULL, NULL, NULL, NULL), COMMAND_PERSON);
}

/* --- refill --- */

static void
refill_order__R7_an_edge_that_burnt_gets_back_what_it_had_and_once(void **state)
{
	uint64_t number;

	(void)state;
	hear();
	pair_close_edge(&p);
	pair_burn_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(command("site", "refill", "north", NULL, NULL), COMMAND_OK);
	number = last_order();
	hear();
	assert_true(all_here());
	assert_int_equal(owed().owed, 0);
	assert_true(ended("north", number));
	/* It burns again: what was done is not said again; the next order is another one. */
	pair_close_edge(&p);
	pair_burn_edge(&p);
	pair_open_edge(&p);
	hear();
	assert_int_equal(rows().n, 0);
	assert_false(pair_edge_has(&p, 0));
	assert_int_equal(command("site", "refill", "north", "--bytes", "1"), COMMAND_OK);
	hear();
	assert_true(pair_edge_has(&p, 0) || pair_edge_has(&p, 1) || pair_edge_has(&p, 2));
}

/* Central is set back to before the order, or to before it heard that it ended. */
static void
chores__R22_are_done_once_whatever_central_forgets(void **state)
{
	struct rows r;
	unsigned i;

	(void)state;
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	hear();
	r = rows();
	assert_int_equal(r.n, 1);
	assert_int_equal(r.outcome, SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE);
	assert_int_equal(record_epoch(&p.central, "a test", NULL), 0);
	hear();
	hear();
	assert_int_equal(rows().n, 1); /* heard again, and nothing new */
	assert_int_equal(rows().number, r.number);
	assert_int_equal(rows().open, 0);
	pair_close_central(&p);
	pair_burn_central(&p);
	pair_open_central(&p);
	for (i = 0; i < 10; i++)
		pair_turn(&p);
	hear();
	assert_int_equal(pair_open_orders(&p), 0);
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	hear();
	/* A new archive counts from 1: its order is below, but for the epochs' distance. */
	assert_int_equal(rows().unsaid, 0);
}

/* Set back between hearing and doing; cut off between doing and telling. */
static void
chores__R16_survive_a_restart_of_either_side(void **state)
{
	uint64_t number;

	(void)state;
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	number = last_order();
	assert_true(pair_settle(&p, TURNS));
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
	assert_int_equal(rows().open, 1);
	pair_close_edge(&p);
	pair_open_edge(&p);
	pair_close_central(&p);
	pair_open_central(&p);
	assert_int_equal(rows().open, 1);
	assert_true(pair_settle(&p, TURNS));
	ticking = true;
	pair_chores(&p);
	ticking = false;
	assert_int_equal(rows().unsaid, 1);
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(rows().unsaid, 1);
	hear();
	assert_int_equal(rows().unsaid, 0);
	assert_true(ended("north", last_order()));
	/* And a catalogue that is made anew knows it from the log. */
	pair_close_central(&p);
	{
		char rm[200];

		(void)snprintf(rm, sizeof(rm), "rm -rf %s/central/catalogue", p.dir);
		assert_int_equal(system(rm), 0);
	}
	pair_open_central(&p);
	assert_true(ended("north", number));
}

/* Dropped before and after each message: it ends, and central knows. */
static void
chores__a_cut_at_any_message_loses_none(void **state)
{
	struct version v = pair_version(&p, p.central.store, 0);
	unsigned cut, i;

	(void)state;
	for (cut = 1;; cut++) {
		assert_true(pair_settle(&p, TURNS));
		assert_int_equal(command("prefetch", v.study, "north", NULL, NULL), COMMAND_OK);
		p.messages = 0;
		p.cut_at = cut;
		for (i = 0; i < 8 && pair_open_orders(&p); i++) {
			clock_manual_advance(&p.clock, 70000);
			hear();
		}
		assert_int_equal(pair_open_orders(&p), 0);
		assert_int_equal(rows().unsaid, 0);
		if (p.messages < cut)
			break;
		p.cut_at = 0;
	}
	assert_true(cut > 6);
	assert_true(rows().n <= CHORES_KEPT);
}

/* --- verify and resend --- */

static int
spoil(struct store_tx *tx, void *arg, struct err *e)
{
	const struct version *v = arg;
	unsigned char key[12] = {0};

	buf_set_be64(key, v->bytes);
	return kv_put(tx->txn, T_CHUNK, kv_slice(key, 12), kv_slice("rotten", 6), e);
}

static void
verify_order__R18_what_rotted_at_an_edge_is_found_and_said(void **state)
{
	struct version v = pair_version(&p, p.edge.store, 1);

	(void)state;
	assert_int_equal(store_commit(p.edge.store, spoil, &v, NULL), 0);
	assert_int_equal(command("site", "verify", "north", "--subset", "1/0"), COMMAND_USAGE);
	assert_int_equal(command("site", "verify", "north", NULL, NULL), COMMAND_OK);
	hear();
	assert_int_equal(pair_version(&p, p.edge.store, 1).state, VERSION_DAMAGED);
	assert_int_equal(rows().outcome, SYNC__ORDER_OUTCOME__ORDER_OUTCOME_PERSON);
	assert_non_null(strstr(rows().text, "3 images read, 1 damaged"));
	assert_int_equal(command("orders", NULL, NULL, NULL, NULL), COMMAND_PERSON);
}

static void
resend_order__R19_what_central_lost_is_owed_at_once(void **state)
{
	(void)state;
	hear();
	pair_spoil(&p, 1);
	assert_int_equal(command("verify", NULL, NULL, NULL, NULL), COMMAND_PERSON);
	assert_false(pair_central_has(&p, 1));
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	hear();
	assert_non_null(strstr(rows().text, " queued"));
	assert_true(pair_settle(&p, TURNS));
	assert_true(pair_central_has(&p, 1));
}

static void
poll__R3_R19_tells_of_decisions_and_losses_before_the_next_hello(void **state)
{
	(void)state;
	hear();
	atomic_store(&p.edge.news, 0);
	pair_spoil(&p, 2);
	assert_int_equal(command("verify", NULL, NULL, NULL, NULL), COMMAND_PERSON);
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
	assert_int_equal(atomic_load(&p.edge.news), EDGE_NEWS_LOSSES);
	pair_orders(&p); /* once: it does not go round */
	assert_int_equal(atomic_load(&p.edge.news), EDGE_NEWS_LOSSES);
	replicate_turn(p.r, 0);
	assert_int_equal(atomic_load(&p.edge.news), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_true(pair_central_has(&p, 2));
}

/* --- an edge that cannot, or not yet --- */

static void
misdirect(struct pair *x, struct http_call *call)
{
	(void)x;
	if (strcmp(call->path, "/sync/v1/refill") == 0)
		strcpy(call->path, "/sync/v1/nothing");
}

static void
chores__what_fails_is_tried_again_and_in_the_end_said_to_have_failed(void **state)
{
	unsigned i;

	(void)state;
	assert_int_equal(command("site", "refill", "north", NULL, NULL), COMMAND_OK);
	p.on_request = misdirect;
	for (i = 0; i < 400 && rows().outcome == 0; i++) {
		store_time_reach(p.edge.store, store_time(p.edge.store) + HOUR_MS);
		hear();
	}
	p.on_request = NULL;
	assert_int_equal(rows().outcome, SYNC__ORDER_OUTCOME__ORDER_OUTCOME_FAILED);
	hear();
	assert_true(ended("north", last_order()));
	assert_int_equal(command("orders", NULL, NULL, NULL, NULL), COMMAND_PERSON);
}

static void
chores__one_for_an_edge_of_version_1_waits_for_its_upgrade(void **state)
{
	(void)state;
	pair_close_edge(&p);
	p.edge_speaks = (struct protocol_range){1, 1};
	pair_open_edge(&p);
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	hear();
	assert_int_equal(rows().n, 0);
	assert_int_equal(pair_open_orders(&p), 1);
	pair_close_edge(&p);
	p.edge_speaks = (struct protocol_range){1, 2};
	pair_open_edge(&p);
	hear();
	assert_int_equal(rows().outcome, SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE);
	assert_int_equal(pair_open_orders(&p), 0);
}

/* R24, R26: a site says how its own orders ended, and nobody else's. */
static void
chores__R26_what_a_site_makes_up_is_not_noted(void **state)
{
	const struct http_route *routes;
	Sync__OrdersBack m = SYNC__ORDERS_BACK__INIT;
	Sync__OrderDone done = SYNC__ORDER_DONE__INIT, *list = &done;
	struct http_answer a = {.status = 200, .body = BUF_INIT};
	struct http_request rq = {.method = "POST"};
	struct buf body = BUF_INIT;
	struct id128 epoch;
	size_t i, n;

	(void)state;
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	done.number = last_order();
	done.outcome = SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE;
	m.done = &list;
	m.n_done = 1;
	message_pack(&body, &m.base);
	strcpy(rq.site, "south");
	rq.body = body.data;
	rq.body_n = body.len;
	central_epoch(&p.central, &epoch);
	hex_of(epoch.b, ID128_SIZE, rq.epoch);
	routes = intake_routes(&n);
	for (i = 0; i < n && strcmp(routes[i].path, ORDERS_BACK_PATH) != 0; i++)
		;
	assert_true(i < n);
	assert_int_equal(routes[i].handle(&p.central, &rq, &a, NULL), 0);
	buf_fini(&body);
	buf_fini(&a.body);
	assert_false(ended("south", done.number));
	assert_false(ended("north", done.number));
	assert_int_equal(pair_open_orders(&p), 1);
}

/* --- central forgets --- */

static void
shell(const char *what)
{
	char line[400];

	(void)snprintf(line, sizeof(line), "cd %s && %s", p.dir, what);
	assert_int_equal(system(line), 0);
}

static uint64_t
hold(void)
{
	struct store_tx *tx;
	uint64_t n;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(sync_number(tx, "hold", &n, NULL), 0);
	store_end_read(tx);
	return n;
}

static void
call_and_hear(void)
{
	struct contact c;
	unsigned i;

	for (i = 0; i < 10; i++)
		pair_turn(&p);
	/* An epoch that comes again may be that of two centrals: for a while nothing is heard. */
	for (edge_contact(&p.edge, &c); i < 1000 && c.two_centrals; i++) {
		pair_turn(&p);
		edge_contact(&p.edge, &c);
	}
	hear();
	hear();
}

/* What was said, and done, between the copy and the restore; then what is said before any edge has
 * called: the last word of a person counts, whatever its number was. */
static void
set_back(unsigned epochs)
{
	unsigned i;

	assert_int_equal(command("hold", "off", NULL, NULL, NULL), COMMAND_OK);
	hear();
	pair_close_central(&p);
	shell("cp -a central copy");
	pair_open_central(&p);
	call_and_hear();
	for (i = 0; i < 5; i++) {
		assert_int_equal(command("hold", "on", NULL, NULL, NULL), COMMAND_OK);
		assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
		assert_int_equal(command("set", "keep_days", "60", NULL, NULL), COMMAND_OK);
		call_and_hear();
	}
	assert_int_equal(hold(), HOLD_ORDER);
	assert_int_equal(rows().n, 5);
	for (i = 0; i < epochs; i++)
		assert_int_equal(record_epoch(&p.central, "a test", NULL), 0);
	if (epochs) {
		assert_int_equal(command("hold", "on", NULL, NULL, NULL), COMMAND_OK);
		call_and_hear();
	}
	pair_close_central(&p);
	shell("rm -rf central && mv copy central");
	pair_open_central(&p);
	assert_int_equal(command("hold", "off", NULL, NULL, NULL), COMMAND_OK);
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	assert_int_equal(command("set", "keep_days", "90", NULL, NULL), COMMAND_OK);
	call_and_hear();
	assert_int_equal(hold(), 0);
	assert_int_equal(rows().n, 6);
	assert_int_equal(wanted_number(&p.edge, "keep_days"), 90);
	assert_int_equal(pair_open_orders(&p), 0);
}

static void
orders__R22_of_a_central_that_was_set_back_count_whatever_it_forgot(void **state)
{
	(void)state;
	set_back(0);
}

/* Its next epoch alone does not get above what was heard. */
static void
orders__R22_nor_when_it_forgot_epochs_as_well(void **state)
{
	(void)state;
	set_back(3);
}

/* Nothing of it is left, key and numbers included: it begins below what the edge has heard. */
static void
orders__R22_of_an_archive_that_was_made_anew_count(void **state)
{
	struct version v = pair_version(&p, p.edge.store, 0);
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_int_equal(command("hold", "on", NULL, NULL, NULL), COMMAND_OK);
		assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
		assert_int_equal(command("set", "keep_days", "60", NULL, NULL), COMMAND_OK);
		assert_int_equal(command("retract", v.study, "--reason", "x", NULL), COMMAND_OK);
		assert_int_equal(command("restore", v.study, "--reason", "x", NULL), COMMAND_OK);
		call_and_hear();
	}
	pair_close_central(&p);
	pair_burn_central(&p);
	pair_open_central(&p);
	assert_int_equal(command("hold", "off", NULL, NULL, NULL), COMMAND_OK);
	assert_int_equal(command("set", "keep_days", "90", NULL, NULL), COMMAND_OK);
	call_and_hear();
	assert_int_equal(hold(), 0);
	assert_int_equal(wanted_number(&p.edge, "keep_days"), 90);
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	assert_int_equal(command("retract", v.study, "--reason", "y", NULL), COMMAND_OK);
	call_and_hear();
	assert_int_equal(rows().open, 0);
	assert_int_equal(pair_open_orders(&p), 0);
	assert_true(pair_version(&p, p.edge.store, 0).hidden & VERSION_WITHDRAWN);
}

/* --- settings --- */

/* --- a clock that is decades off --- */

static int64_t
odd_mono_ms(struct clock *c)
{
	(void)c;
	return clock_mono(&p.clock.c);
}

/* Each kind of order is heard and carried out; days are counted by central's clock. */
static void
orders__R28_are_carried_out_where_the_clock_says_1970_or_2100(void **state)
{
	static const int64_t walls[] = {0, INT64_C(4102444800000)};
	static struct clock_manual odd[2]; /* outlives the test: threads read it */
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		clock_manual_init(&odd[i], 0, walls[i]);
		odd[i].c.mono_ms = odd_mono_ms;
		pair_burn_edge(&p);
		p.edge_clock = &odd[i].c;
		pair_open_edge(&p);
		assert_int_equal(command("site", "refill", "north", "--days", "1"), COMMAND_OK);
		assert_int_equal(command("set", "keep_days", i ? "70" : "60", NULL, NULL),
				 COMMAND_OK);
		assert_int_equal(command("set", "dark", i ? "default" : "keep", NULL, NULL),
				 COMMAND_OK);
		assert_int_equal(command("site", "verify", "north", NULL, NULL), COMMAND_OK);
		assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
		hear();
		hear();
		assert_true(all_here());
		assert_int_equal(wanted_number(&p.edge, "keep_days"), i ? 70 : 60);
		assert_int_equal(wanted_dark_keep(&p.edge), !i);
		assert_int_equal(pair_open_orders(&p), 0);
	}
}

static void
set__R10_R27_of_both_words_the_one_that_keeps_more_counts(void **state)
{
	(void)state;
	assert_int_equal(wanted_number(&p.edge, "keep_days"), 30);
	assert_int_equal(command("set", "keep_days", "60", NULL, NULL), COMMAND_OK);
	assert_int_equal(command("set", "retract_days", "5", NULL, NULL), COMMAND_OK);
	assert_int_equal(command("set", "dark", "keep", "--site", "north"), COMMAND_OK);
	assert_int_equal(command("set", "keep_days", "7", "--site", "west"), COMMAND_FAILED);
	assert_int_equal(command("set", "keep_days", "-1", NULL, NULL), COMMAND_USAGE);
	assert_int_equal(command("set", "dark", "free", NULL, NULL), COMMAND_USAGE);
	assert_int_equal(command("set", "quota", "1", NULL, NULL), COMMAND_USAGE);
	hear();
	assert_int_equal(wanted_number(&p.edge, "keep_days"), 60);
	assert_int_equal(wanted_number(&p.edge, "retract_days"), 30); /* a local floor */
	assert_true(wanted_dark_keep(&p.edge));
	assert_int_equal(pair_open_orders(&p), 0);
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(wanted_number(&p.edge, "keep_days"), 60);
	assert_int_equal(command("set", "keep_days", "default", NULL, NULL), COMMAND_OK);
	assert_int_equal(command("set", "dark", "default", NULL, NULL), COMMAND_OK);
	hear();
	assert_int_equal(wanted_number(&p.edge, "keep_days"), 30);
	assert_false(wanted_dark_keep(&p.edge));
	/* Another epoch says all of it again: the last word stays. */
	assert_int_equal(record_epoch(&p.central, "a test", NULL), 0);
	hear();
	assert_int_equal(wanted_number(&p.edge, "keep_days"), 30);
	assert_false(wanted_dark_keep(&p.edge));
}

static void
status__of_both_ends_tells_of_orders(void **state)
{
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;
	char line[100];
	bool person;

	(void)state;
	assert_int_equal(command("set", "keep_days", "60", NULL, NULL), COMMAND_OK);
	assert_int_equal(command("site", "resend", "north", NULL, NULL), COMMAND_OK);
	assert_true(pair_settle(&p, TURNS));
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
	assert_int_equal(status_text(&p.edge, &out, &person, &e), 0);
	buf_put_u8(&out, 0);
	(void)snprintf(line, sizeof(line), "order %llu of central: resend, waits\n",
		       (unsigned long long)last_order());
	assert_non_null(strstr((char *)out.data, line));
	assert_non_null(strstr((char *)out.data, "central wants keep_days 60"));
	buf_clear(&out);
	assert_int_equal(status_json(&p.edge, &out, &person, &e), 0);
	buf_put_u8(&out, 0);
	assert_non_null(strstr((char *)out.data, "\"keep_days\":\"60\""));
	buf_fini(&out);
	assert_int_equal(command("status", NULL, NULL, NULL, NULL), COMMAND_OK);
	assert_int_equal(pair_open_orders(&p), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(prefetch__R7_R11_R27_brings_a_study_to_a_site_that_never_had_it),
		TEST(prefetch__R15_of_what_is_hidden_or_unknown_is_no_order),
		TEST(prefetch__R26_under_policy_own_brings_nothing_of_others),
		TEST(refill_order__R7_an_edge_that_burnt_gets_back_what_it_had_and_once),
		TEST(chores__R22_are_done_once_whatever_central_forgets),
		TEST(chores__R16_survive_a_restart_of_either_side),
		TEST(chores__a_cut_at_any_message_loses_none),
		TEST(verify_order__R18_what_rotted_at_an_edge_is_found_and_said),
		TEST(resend_order__R19_what_central_lost_is_owed_at_once),
		TEST(poll__R3_R19_tells_of_decisions_and_losses_before_the_next_hello),
		TEST(chores__what_fails_is_tried_again_and_in_the_end_said_to_have_failed),
		TEST(chores__one_for_an_edge_of_version_1_waits_for_its_upgrade),
		TEST(chores__R26_what_a_site_makes_up_is_not_noted),
		TEST(orders__R22_of_a_central_that_was_set_back_count_whatever_it_forgot),
		TEST(orders__R22_nor_when_it_forgot_epochs_as_well),
		TEST(orders__R22_of_an_archive_that_was_made_anew_count),
		TEST(orders__R28_are_carried_out_where_the_clock_says_1970_or_2100),
		TEST(set__R10_R27_of_both_words_the_one_that_keeps_more_counts),
		TEST(status__of_both_ends_tells_of_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
