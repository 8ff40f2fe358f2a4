/*
 * Both nodes die together at the n-th durable step, for all n; opened again, what was
 * acknowledged is there, and all of it arrives (ack-after-disk, R14, R15, R16).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/fault.h"
#include "common/store/store.h"
#include "proto/ledger.h"
#include "tests/lib/pair.h"
#include "tests/lib/sweep.h"

enum { IMAGES = 3, TURNS = 200 };

/* The child: sends, says which were acknowledged, replicates, dies somewhere. */
static void
live(struct pair *p, int out, unsigned n)
{
	unsigned char i;

	fault_arm(n, FAULT_DIE, 0);
	pair_open_central(p);
	pair_open_edge(p);
	for (i = 0; i < IMAGES; i++)
		if (pair_send(p, i) == 0 && write(out, &i, 1) != 1)
			_exit(2);
	if (!pair_settle(p, TURNS))
		_exit(3);
	pair_close_edge(p);
	pair_close_central(p);
	_exit(0);
}

static void
check_chain(struct pair *p)
{
	struct store_tx *tx;
	uint64_t bad;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(ledger_verify(tx, &bad, NULL), 0);
	store_end_read(tx);
}

static bool
one_death(unsigned n)
{
	bool acked[IMAGES] = {false};
	unsigned char i;
	struct pair p;
	int pipes[2], status;
	pid_t child;

	pair_prepare(&p, "64MiB");
	assert_int_equal(pipe(pipes), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)close(pipes[0]);
		live(&p, pipes[1], n);
	}
	(void)close(pipes[1]);
	while (read(pipes[0], &i, 1) == 1)
		acked[i] = true;
	(void)close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != FAULT_EXIT)
		fail_msg("the child ended with %d at step %u", WEXITSTATUS(status), n);

	pair_open_central(&p);
	pair_open_edge(&p);
	check_chain(&p);
	for (i = 0; i < IMAGES; i++)
		if (acked[i] && !pair_edge_has(&p, i))
			fail_msg("image %u was acknowledged and is gone after step %u", i, n);
	if (!pair_settle(&p, TURNS))
		fail_msg("not settled after a death at step %u", n);
	for (i = 0; i < IMAGES; i++)
		if (acked[i] && !pair_central_has(&p, i))
			fail_msg("image %u did not arrive after a death at step %u", i, n);
	pair_fini(&p);
	return WEXITSTATUS(status) == FAULT_EXIT;
}

static void
pair__R15_R16_a_death_at_any_step_loses_nothing(void **state)
{
	unsigned n = 1;

	(void)state;
	while (one_death(n))
		n += sweep_stride(5);
	assert_true(n > 30); /* the sweep saw the steps of both nodes */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pair__R15_R16_a_death_at_any_step_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
