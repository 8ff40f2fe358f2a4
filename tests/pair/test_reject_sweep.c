/*
 * A rejection and its end while a step fails, or a node dies at it: written, heard at central,
 * told to all. What a command said was done is done at both ends; of what it did not say, all or
 * nothing is, and both ends are alike (R16, R18).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "edge/edge_commands.h"
#include "edge/figures.h"
#include "proto/orders.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/sweep.h"

enum { TURNS = 400, IMAGES = 3 };

enum act { REJECT, RESTORE, ACTS };

static struct pair p;

static void
prepare(void)
{
	unsigned i;

	pair_init(&p, "64MiB");
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
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
live(void (*done)(void *arg, enum act a), void *arg)
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

static void
note(void *arg, enum act a)
{
	((bool *)arg)[a] = true;
}

static bool
one_fault(unsigned n)
{
	bool said[ACTS] = {false};
	unsigned hits;

	prepare();
	fault_arm(n, FAULT_ERRNO, ENOSPC);
	live(note, said);
	hits = fault_disarm();
	pair_close_edge(&p); /* a log whose flush failed ends until then (TRAPS 4) */
	pair_close_central(&p);
	pair_open_central(&p);
	pair_open_edge(&p);
	check(said, n);
	pair_fini(&p);
	return hits >= n;
}

static void
reject__R16_a_fault_at_any_step_leaves_both_ends_alike(void **state)
{
	unsigned n;

	(void)state;
	for (n = 1; one_fault(n);)
		n += sweep_stride(17);
	assert_true(n > 10);
}

static void
tell(void *arg, enum act a)
{
	unsigned char one = (unsigned char)a;

	if (write(*(int *)arg, &one, 1) != 1)
		_exit(2);
}

static bool
one_death(unsigned n)
{
	bool said[ACTS] = {false};
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
reject__R16_a_death_at_any_step_leaves_both_ends_alike(void **state)
{
	unsigned n;

	(void)state;
	for (n = 1; one_death(n);)
		n += sweep_stride(17);
	assert_true(n > 10);
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
