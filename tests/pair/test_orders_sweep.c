/*
 * Orders and decisions while a step fails, or a node dies at it: given at central, heard, obeyed,
 * done and told. What a command said was done is so at both ends; what it did not is the same at
 * both (R3, R15, R16, R22, R27).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/central_commands.h"
#include "central/decisions.h"
#include "central/dispatch.h"
#include "central/heard.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "edge/chores.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "edge/wanted.h"
#include "proto/orders.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/pair_sweep.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, IMAGES = 3, TICK_MS = 100, TWICE = 1, GONE = 2 };

/* What is wanted. */
enum wish { HOLD, SET, RETRACT, RESEND, RESOLVE, WISHES };

static struct pair p;
static int64_t (*still)(struct clock *c);

static int64_t
tick(struct clock *c)
{
	clock_manual_advance(&p.clock, TICK_MS);
	return still(c);
}

static void
other_pixels(struct gen *g)
{
	g->seed = 4711;
}

static struct version
version_of(struct store *s, unsigned number, void (*change)(struct gen *g))
{
	struct version v;

	p.change = change;
	v = pair_version(&p, s, number);
	p.change = NULL;
	return v;
}

/* Image TWICE has two versions; the first is current. */
static void
prepare(void)
{
	log_set_level(LOG_ERROR);
	pair_init(&p, "64MiB");
	still = p.clock.c.mono_ms;
	pair_send_some(&p, 0, IMAGES);
	p.change = other_pixels;
	assert_int_equal(pair_send(&p, TWICE), 0);
	p.change = NULL;
	assert_true(pair_settle(&p, TURNS));
}

static int
command(const char *a, const char *b, const char *c, const char *d)
{
	const char *words[] = {a, b, c, d};

	return ctl_local(central_commands_run, &p.central, d ? 4 : c ? 3 : 2, words);
}

static bool
say(enum wish w)
{
	char image[65];
	struct version v;

	switch (w) {
	case HOLD:
		return command("hold", "on", NULL, NULL) == COMMAND_OK;
	case SET:
		return command("set", "keep_days", "60", NULL) == COMMAND_OK;
	case RETRACT:
		gen_uid(image, 1, 1, 1 + GONE);
		return command("retract", image, "--reason", "x") == COMMAND_OK;
	case RESEND:
		return command("site", "resend", "north", NULL) == COMMAND_OK;
	case RESOLVE:
		v = version_of(p.central.store, TWICE, other_pixels);
		return decisions_resolve(&p.central, v.sop_instance, v.digest, "x", "", NULL) == 0;
	case WISHES:
		break;
	}
	return false;
}

static void
hear(void)
{
	unsigned i;

	for (i = 0; i < 6; i++)
		pair_turn(&p);
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
	p.clock.c.mono_ms = tick;
	pair_chores(&p);
	p.clock.c.mono_ms = still;
	pair_orders(&p);
	for (i = 0; i < 6; i++)
		pair_turn(&p);
}

/* done(w) for each that is durable. */
static void
live(void (*done)(void *arg, unsigned command), void *arg)
{
	enum wish w;

	for (w = HOLD; w < WISHES; w++)
		if (say(w))
			done(arg, w);
	hear();
	hear();
}

/* --- afterwards --- */

static uint64_t
number_at(struct store *s, bool central, const char *name)
{
	struct store_tx *tx;
	uint64_t n;

	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(
		central ? state_number(tx, name, &n, NULL) : sync_number(tx, name, &n, NULL), 0);
	store_end_read(tx);
	return n;
}

/* At both ends alike; as the command said, where it did. */
static void
check(const bool *said, unsigned n)
{
	bool hold, hidden, second;
	unsigned i;

	for (i = 0; i < 30 && (i < 3 || pair_open_orders(&p)); i++) {
		clock_manual_advance(&p.clock, 70000);
		hear();
		store_time_reach(p.edge.store, store_time(p.edge.store) + 3600000);
	}
	if (!pair_settle(&p, TURNS) || pair_open_orders(&p))
		fail_msg("not at rest after step %u", n);
	hold = number_at(p.central.store, true, DISPATCH_HOLD) != 0;
	hidden = version_of(p.central.store, GONE, NULL).hidden & VERSION_WITHDRAWN;
	second = version_of(p.central.store, TWICE, other_pixels).current;
	if ((said[HOLD] && !hold) || (said[RETRACT] && !hidden) || (said[RESOLVE] && !second))
		fail_msg("a command that was answered does not count after step %u", n);
	assert_int_equal(number_at(p.edge.store, false, "hold") != 0, hold);
	assert_int_equal((version_of(p.edge.store, GONE, NULL).hidden & VERSION_WITHDRAWN) != 0,
			 hidden);
	assert_int_equal(version_of(p.edge.store, TWICE, other_pixels).current, second);
	if (said[SET])
		assert_int_equal(wanted_number(&p.edge, "keep_days"), 60);
	pair_check_figures(&p);
}

static const struct pair_sweep sweep = {&p, prepare, live, check, 13, 20};

static void
orders__R16_R22_a_fault_at_any_step_leaves_both_ends_alike(void **state)
{
	(void)state;
	pair_sweep_faults(&sweep);
}

static void
orders__R16_R22_a_death_at_any_step_leaves_both_ends_alike(void **state)
{
	(void)state;
	pair_sweep_deaths(&sweep);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders__R16_R22_a_fault_at_any_step_leaves_both_ends_alike),
		cmocka_unit_test(orders__R16_R22_a_death_at_any_step_leaves_both_ends_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
