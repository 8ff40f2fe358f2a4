/*
 * A rejection and its end while a step fails, or a node dies at it: written, heard at central,
 * told to all. What a command said was done is done at both ends; of what it did not say, all or
 * nothing is, and both ends are alike (R16, R18).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "edge/edge_commands.h"
#include "edge/figures.h"
#include "proto/orders.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/pair_sweep.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, IMAGES = 3 };

enum act { REJECT, RESTORE, ACTS };

static struct pair p;

static void
prepare(void)
{
	pair_begin(&p, IMAGES);
}

static bool
say(enum act a)
{
	char uid[65];
	const char *words[] = {a == REJECT ? "reject" : "restore", uid, "--reason", "safety"};

	gen_uid(uid, 1, a == REJECT ? 0 : 1, a == REJECT ? 0 : 1);
	return ctl_local(edge_commands_run, &p.edge, 4, words) == COMMAND_OK;
}

static void
hear(void)
{
	unsigned i;

	for (i = 0; i < 6; i++)
		pair_turn(&p);
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
}

static void
live(void (*done)(void *arg, unsigned command), void *arg)
{
	enum act a;

	for (a = REJECT; a < ACTS; a++) {
		if (say(a))
			done(arg, a);
		hear();
	}
	hear();
}

static bool
hidden(struct store *s, unsigned number)
{
	struct store_tx *tx;
	struct version v;
	char uid[65];

	gen_uid(uid, 1, 1, 1 + number);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(store_current(tx, uid, &v, NULL), 0);
	store_end_read(tx);
	return v.hidden == VERSION_REJECTED;
}

static void
check(const bool *said, unsigned n)
{
	struct figures f;
	unsigned i;

	for (i = 0; i < 3; i++) {
		clock_manual_advance(&p.clock, 70000);
		hear();
	}
	if (!pair_settle(&p, TURNS))
		fail_msg("not at rest after step %u", n);
	hear();
	for (i = 0; i < IMAGES; i++)
		if (hidden(p.edge.store, i) != hidden(p.central.store, i))
			fail_msg("image %u is hidden at one end only, after step %u", i, n);
	if (said[REJECT] && !hidden(p.edge.store, 1))
		fail_msg("a note that was answered does not count, after step %u", n);
	if (hidden(p.edge.store, 1) != hidden(p.edge.store, 2))
		fail_msg("half a note counts, after step %u", n);
	if (said[RESTORE] && hidden(p.edge.store, 0))
		fail_msg("what was restored is hidden, after step %u", n);
	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	assert_int_equal(f.rejected, hidden(p.edge.store, 1) ? hidden(p.edge.store, 0) + 3 : 0);
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_edge_has(&p, i) && pair_central_has(&p, i));
	pair_check_figures(&p);
}

static const struct pair_sweep sweep = {&p, prepare, live, check, 17, 10};

static void
reject__R16_a_fault_at_any_step_leaves_both_ends_alike(void **state)
{
	(void)state;
	pair_sweep_faults(&sweep);
}

static void
reject__R16_a_death_at_any_step_leaves_both_ends_alike(void **state)
{
	(void)state;
	pair_sweep_deaths(&sweep);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reject__R16_a_fault_at_any_step_leaves_both_ends_alike),
		cmocka_unit_test(reject__R16_a_death_at_any_step_leaves_both_ends_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
