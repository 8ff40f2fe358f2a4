/* What central wants of edges: numbered, heard by long poll, obeyed once (R10, R16, R22). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/dispatch.h"
#include "central/intake.h"
#include "central/record.h"
#include "common/base/err.h"
#include "common/http/server.h"
#include "common/kv/kv.h"
#include "common/os/command.h"
#include "common/store/store.h"
#include "edge/edge_commands.h"
#include "edge/figures.h"
#include "edge/obey.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { LATER_KIND = 999 };

static struct pair p;

static uint64_t
give(int kind, bool on, const char *site)
{
	Sync__Order m = SYNC__ORDER__INIT;

	m.kind = (Sync__OrderKind)kind;
	m.on = on;
	m.site = message_text(site);
	assert_int_equal(dispatch_give(&p.central, &m, NULL), 0);
	return m.number;
}

static uint64_t
give_hold(bool on)
{
	return give(SYNC__ORDER_KIND__ORDER_HOLD, on, "");
}

static void
hear(void)
{
	assert_true(pair_settle(&p, 200));
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
}

static uint64_t
number(const char *name)
{
	struct store_tx *tx;
	uint64_t n;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(sync_number(tx, name, &n, NULL), 0);
	store_end_read(tx);
	return n;
}

static uint64_t
unknown(void)
{
	struct store_tx *tx;
	uint64_t n, retracts;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(obey_waiting(tx, &n, &retracts, NULL), 0);
	store_end_read(tx);
	return n;
}

static void
hold__R10_reaches_an_edge_and_a_person_there_may_end_it(void **state)
{
	const char *off[] = {"hold", "off"};

	(void)state;
	hear();
	assert_int_equal(number("hold"), 0);
	(void)give_hold(true);
	hear();
	assert_int_equal(number("hold"), HOLD_ORDER);
	assert_int_equal(edge_commands_run(&p.edge, 2, off, NULL), COMMAND_OK);
	assert_int_equal(number("hold"), 0);
	pair_close_edge(&p); /* heard is heard, also over a restart */
	pair_open_edge(&p);
	hear();
	assert_int_equal(number("hold"), 0);
	(void)give_hold(true);
	(void)give_hold(false);
	hear();
	assert_int_equal(number("hold"), 0);
}

/* An edge heard, in a line that central forgot, as far as the first of two words. */
static void
orders__R22_said_again_the_last_word_stays_the_last(void **state)
{
	unsigned char seal[32] = "another line's";
	ProtobufCBinaryData none = {0, NULL};
	Sync__Order there = SYNC__ORDER__INIT;
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		there.number = give_hold(i);
		there.mac = (ProtobufCBinaryData){sizeof(seal), seal};
		(void)give_hold(!i);
		assert_int_equal(dispatch_heard_there(&p.central, &there, &none, NULL), 0);
		hear();
		assert_int_equal(number("hold"), i ? 0 : HOLD_ORDER);
	}
}

static void
orders__R22_another_epoch_asks_from_the_start_and_an_old_one_undoes_nothing(void **state)
{
	const char *off[] = {"hold", "off"};
	uint64_t first, second;

	(void)state;
	first = give_hold(true);
	hear();
	assert_int_equal(number("hold"), HOLD_ORDER);
	assert_int_equal(edge_commands_run(&p.edge, 2, off, NULL), COMMAND_OK);
	assert_int_equal(record_epoch(&p.central, "a test", NULL), 0);
	hear(); /* the one above comes again */
	assert_int_equal(number("hold"), 0);
	assert_int_equal(number("hold_order"), first);
	/* Whatever was given before a set-back and is forgotten counts below. */
	second = give_hold(true);
	assert_true(second > first + ORDERS_EPOCH - 1);
	hear();
	assert_int_equal(number("hold"), HOLD_ORDER);
}

static void
orders__R16_a_rebuilt_catalogue_has_them_with_their_numbers(void **state)
{
	uint64_t first, second, last;
	struct store_tx *tx;

	(void)state;
	first = give_hold(true);
	second = give(SYNC__ORDER_KIND__ORDER_HOLD, false, "south");
	assert_int_equal(second, first + 1);
	pair_close_central(&p);
	{
		char command[200];

		(void)snprintf(command, sizeof(command), "rm -rf %s/central/catalogue", p.dir);
		assert_int_equal(system(command), 0);
	}
	pair_open_central(&p);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(state_number(tx, "orders", &last, NULL), 0);
	store_end_read(tx);
	assert_true(last > second); /* a new epoch */
	hear();
	assert_int_equal(number("hold"), HOLD_ORDER); /* south's is not ours */
	assert_int_equal(number("hold_order"), first);
}

static int
put_known(struct store_tx *tx, void *arg, struct err *e)
{
	Sync__Order m = SYNC__ORDER__INIT;
	struct buf bytes = BUF_INIT;
	unsigned char key[8];
	int rc;

	(void)arg;
	m.number = 7;
	m.kind = SYNC__ORDER_KIND__ORDER_HOLD;
	m.on = true;
	message_pack(&bytes, &m.base);
	buf_set_be64(key, m.number);
	rc = kv_put(store_tx_kv(tx), store_table(store_tx_store(tx), ORDER_TABLE),
		    kv_slice(key, sizeof(key)), kv_slice(bytes.data, bytes.len), e);
	buf_fini(&bytes);
	return rc;
}

static void
orders__one_of_a_later_kind_is_kept_shown_and_obeyed_after_an_upgrade(void **state)
{
	struct figures f;

	(void)state;
	(void)give(LATER_KIND, true, "");
	(void)give_hold(true);
	hear();
	assert_int_equal(number("hold"), HOLD_ORDER); /* the next one was not stopped by it */
	assert_int_equal(unknown(), 1);
	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	assert_int_equal(f.unknown_orders, 1);
	assert_true(f.person);
	/* As the version before this one would have left it. */
	pair_close_edge(&p);
	pair_burn_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(store_commit(p.edge.store, put_known, NULL, NULL), 0);
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(unknown(), 0);
	assert_int_equal(number("hold"), HOLD_ORDER);
}

/* Dropped before and after each message: obeyed once, as if nothing had happened. */
static void
orders__a_cut_at_any_message_loses_none(void **state)
{
	unsigned cut, i;

	(void)state;
	for (cut = 1;; cut++) {
		assert_true(pair_settle(&p, 200));
		(void)give_hold(false);
		(void)give_hold(true);
		p.messages = 0;
		p.cut_at = cut;
		for (i = 0; i < 4; i++) {
			clock_manual_advance(&p.clock, 70000);
			pair_orders(&p);
		}
		assert_int_equal(number("hold"), HOLD_ORDER);
		if (p.messages < cut)
			break;
		p.cut_at = 0;
	}
	assert_true(cut > 4);
}

/* --- a poll that waits --- */

struct poll {
	pthread_t thread;
	uint64_t after;
	bool may_wait;
	int status;
	struct buf body;
};

static void *
ask(void *arg)
{
	const struct http_route *routes;
	struct http_answer a = {.status = 200, .body = BUF_INIT};
	struct http_request rq = {.method = "GET"};
	struct poll *x = arg;
	struct id128 epoch;
	char rest[32];
	size_t i, n;

	routes = intake_routes(&n);
	for (i = 0; i < n && strcmp(routes[i].path, ORDERS_PATH) != 0; i++)
		;
	assert_true(i < n);
	(void)snprintf(rest, sizeof(rest), "%llu", (unsigned long long)x->after);
	rq.rest = rest;
	rq.may_wait = x->may_wait;
	strcpy(rq.site, "north");
	central_epoch(&p.central, &epoch);
	hex_of(epoch.b, ID128_SIZE, rq.epoch);
	if (routes[i].handle(&p.central, &rq, &a, NULL))
		a.status = 500;
	x->status = a.status;
	x->body = a.body;
	return NULL;
}

static unsigned
waiting(void)
{
	unsigned n;

	(void)pthread_mutex_lock(&p.central.dispatch.mu);
	n = p.central.dispatch.waiting;
	(void)pthread_mutex_unlock(&p.central.dispatch.mu);
	return n;
}

static void
until_waiting(unsigned n)
{
	while (waiting() != n)
		clock_sleep(clock_real(), 1);
}

static uint64_t
first_of(const struct poll *x)
{
	Sync__OrdersAnswer *m =
		message_read(&sync__orders_answer__descriptor, x->body.data, x->body.len, NULL);
	uint64_t next;

	assert_non_null(m);
	assert_int_equal(m->n_orders, 1);
	next = m->next;
	message_free(m);
	return next;
}

static void
poll__waits_until_there_is_an_order_or_central_stops(void **state)
{
	struct poll x[DISPATCH_WAITERS + 1];
	uint64_t given = give_hold(true), next;
	size_t i;

	(void)state;
	memset(x, 0, sizeof(x));
	for (i = 0; i < DISPATCH_WAITERS; i++) {
		x[i].after = given;
		x[i].may_wait = true;
		assert_int_equal(pthread_create(&x[i].thread, NULL, ask, &x[i]), 0);
		until_waiting((unsigned)i + 1);
	}
	x[i].after = given; /* one site does not hold all of central's connections */
	x[i].may_wait = true;
	(void)ask(&x[i]);
	assert_int_equal(x[i].status, 204);
	next = give_hold(false);
	for (i = 0; i < DISPATCH_WAITERS; i++) {
		assert_int_equal(pthread_join(x[i].thread, NULL), 0);
		assert_int_equal(x[i].status, 200);
		assert_int_equal(first_of(&x[i]), next);
		buf_fini(&x[i].body);
	}
	x[0].after = next;
	assert_int_equal(pthread_create(&x[0].thread, NULL, ask, &x[0]), 0);
	until_waiting(1);
	dispatch_stop(&p.central.dispatch);
	assert_int_equal(pthread_join(x[0].thread, NULL), 0);
	assert_int_equal(x[0].status, 204);
	dispatch_go(&p.central.dispatch);
	x[0].may_wait = false; /* over a disk, or in a test */
	(void)ask(&x[0]);
	assert_int_equal(x[0].status, 204);
}

static void
poll__R24_of_a_site_that_is_suspended_meanwhile_hears_no_more(void **state)
{
	struct poll x = {.after = give_hold(true), .may_wait = true};

	(void)state;
	assert_int_equal(pthread_create(&x.thread, NULL, ask, &x), 0);
	until_waiting(1);
	assert_int_equal(record_decision(&p.central, SYNC__DECISION_KIND__DECISION_SITE_SUSPEND,
					 "north", NULL, "a test", NULL),
			 0);
	(void)give_hold(false);
	assert_int_equal(pthread_join(x.thread, NULL), 0);
	assert_int_equal(x.status, 403);
	buf_fini(&x.body);
}

/* --- on a disk that is carried --- */

static void
orders__travel_on_a_disk_as_well(void **state)
{
	struct link_served to = {.node = &p.central, .site = "north"};
	struct err e = ERR_INIT;
	struct orders *o;
	struct link *link;
	char dir[128];

	(void)state;
	to.routes = intake_routes(&to.n_routes);
	(void)snprintf(dir, sizeof(dir), "%s/carried", p.dir);
	{
		char command[200];

		(void)snprintf(command, sizeof(command), "mkdir %s", dir);
		assert_int_equal(system(command), 0);
	}
	assert_true(pair_settle(&p, 200));
	assert_int_equal(link_disk(&link, dir, "north", &e), 0);
	assert_int_equal(orders_new(&o, &p.edge, link, &e), 0);
	(void)give_hold(true);
	orders_turn(o, 0); /* asks */
	assert_int_equal(link_disk_serve(&to, dir, &e), 0);
	orders_turn(o, 0);
	assert_int_equal(number("hold"), HOLD_ORDER);
	orders_stop(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(hold__R10_reaches_an_edge_and_a_person_there_may_end_it, p),
		pair_test(
			orders__R22_another_epoch_asks_from_the_start_and_an_old_one_undoes_nothing,
			p),
		pair_test(orders__R22_said_again_the_last_word_stays_the_last, p),
		pair_test(orders__R16_a_rebuilt_catalogue_has_them_with_their_numbers, p),
		pair_test(orders__one_of_a_later_kind_is_kept_shown_and_obeyed_after_an_upgrade, p),
		pair_test(orders__a_cut_at_any_message_loses_none, p),
		pair_test(poll__waits_until_there_is_an_order_or_central_stops, p),
		pair_test(poll__R24_of_a_site_that_is_suspended_meanwhile_hears_no_more, p),
		pair_test(orders__travel_on_a_disk_as_well, p),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
