/*
 * Orders and decisions while a step fails, or a node dies at it: given at central, heard, obeyed,
 * done and told. What a command said was done is so at both ends; what it did not is the same at
 * both (R3, R15, R16, R22, R27).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/central_commands.h"
#include "central/decisions.h"
#include "central/dispatch.h"
#include "central/heard.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
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
#include "tests/lib/steps.h"
#include "tests/lib/sweep.h"

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
	unsigned i;

	log_set_level(LOG_ERROR);
	pair_init(&p, "64MiB");
	still = p.clock.c.mono_ms;
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(&p, i), 0);
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
live(void (*done)(void *arg, enum wish w), void *arg)
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

static void
reopen(void)
{
	pair_close_edge(&p);
	pair_close_central(&p);
	pair_open_central(&p);
	pair_open_edge(&p);
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

static void
note(void *arg, enum wish w)
{
	((bool *)arg)[w] = true;
}

static bool
one_fault(unsigned n, enum fault_kind kind, int sys)
{
	bool said[WISHES] = {false};
	unsigned hits;

	prepare();
	fault_arm(n, kind, sys);
	live(note, said);
	hits = fault_disarm();
	reopen(); /* a log whose flush failed ends until then (TRAPS 4) */
	check(said, n);
	pair_fini(&p);
	return hits >= n;
}

static void
orders__R16_R22_a_fault_at_any_step_leaves_both_ends_alike(void **state)
{
	unsigned n;

	(void)state;
	for (n = 1; one_fault(n, FAULT_ERRNO, ENOSPC);)
		n += sweep_stride(13);
	assert_true(n > 20);
}

static void
tell(void *arg, enum wish w)
{
	unsigned char one = (unsigned char)w;

	if (write(*(int *)arg, &one, 1) != 1)
		_exit(2);
}

static bool
one_death(unsigned n)
{
	bool said[WISHES] = {false};
	unsigned char one;
	int pipes[2], status;
	pid_t child;

	prepare();
	pair_close_edge(&p);
	pair_close_central(&p);
	assert_int_equal(pipe(pipes), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		pair_open_central(&p);
		pair_open_edge(&p);
		fault_arm(n, FAULT_DIE, 0);
		live(tell, &pipes[1]);
		_exit(0);
	}
	close(pipes[1]);
	while (read(pipes[0], &one, 1) == 1)
		said[one] = true;
	close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	pair_open_central(&p);
	pair_open_edge(&p);
	check(said, n);
	pair_fini(&p);
	return WEXITSTATUS(status) == FAULT_EXIT;
}

static void
orders__R16_R22_a_death_at_any_step_leaves_both_ends_alike(void **state)
{
	unsigned n;

	(void)state;
	for (n = 1; one_death(n);)
		n += sweep_stride(13);
	assert_true(n > 20);
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
