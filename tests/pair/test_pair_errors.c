/*
 * Any durable step of either node fails, once or from then on, with an I/O error or a full
 * disk: what was acknowledged stays, nothing is receipted that is not there, and when the
 * fault is over all of it arrives (ack-after-disk, R12, R14, R15, R16).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/fault.h"
#include "common/store/store.h"
#include "edge/refill.h"
#include "common/os/ctl.h"
#include "proto/ledger.h"
#include "tests/lib/pair.h"
#include "tests/lib/sweep.h"

enum { IMAGES = 3, TURNS = 300, FAULTY_TURNS = 25 };

static const struct way {
	enum fault_kind kind;
	int sys;
	unsigned first, stride;
} ways[] = {{FAULT_ERRNO, EIO, 1, 5}, {FAULT_ERRNO_FOR_EVER, ENOSPC, 2, 11}};

static void
reopen(struct pair *p)
{
	pair_close_edge(p);
	pair_close_central(p);
	pair_open_central(p);
	pair_open_edge(p);
}

/* Held at central means readable there, for each bit, whatever failed. */
static void
check_promises(struct pair *p, const bool *acked, unsigned n)
{
	struct store_tx *tx;
	uint64_t bad;
	unsigned i;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(ledger_verify(tx, &bad, NULL), 0);
	store_end_read(tx);
	for (i = 0; i < IMAGES; i++) {
		if (acked[i] && !pair_edge_has(p, i))
			fail_msg("image %u was acknowledged and is gone after step %u", i, n);
		if (acked[i] && !pair_central_has(p, i))
			fail_msg("image %u did not arrive after a fault at step %u", i, n);
	}
}

static bool
one_fault(const struct way *way, unsigned n)
{
	bool acked[IMAGES];
	unsigned i, hits;
	struct pair p;

	pair_init(&p, "64MiB");
	fault_arm(n, way->kind, way->sys);
	for (i = 0; i < IMAGES; i++)
		acked[i] = pair_send(&p, i) == 0;
	for (i = 0; i < FAULTY_TURNS; i++)
		pair_turn(&p);
	hits = fault_disarm();
	/* A log or a file whose flush failed ends until it is opened anew (TRAPS 4). */
	if (!pair_settle(&p, TURNS) && (reopen(&p), !pair_settle(&p, TURNS)))
		fail_msg("not settled after a fault at step %u", n);
	check_promises(&p, acked, n);
	reopen(&p);
	check_promises(&p, acked, n);
	pair_fini(&p);
	return hits >= n;
}

static void
pair__R12_R16_a_fault_at_any_step_loses_nothing(void **state)
{
	unsigned i, n;

	(void)state;
	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		for (n = ways[i].first; one_fault(&ways[i], n);)
			n += sweep_stride(ways[i].stride);
		assert_true(n > 30); /* the sweep saw the steps of both nodes */
	}
}

/* --- a refill --- */

static int
refill(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct refill_config c = {.days = 0};
	struct refill_result *out = (struct refill_result *)(void *)(uintptr_t)words[0];

	(void)n;
	return refill_run(node, &c, r, out, NULL);
}

/* It fails or leaves something out, says so, and goes on where it was when it is run again. */
static void
refill__R20_a_fault_at_any_step_is_said_and_the_next_run_finishes(void **state)
{
	struct refill_result result;
	const char *words[1] = {(const char *)(void *)&result};
	unsigned n = 1, i, hits;

	(void)state;
	do {
		struct pair p;
		int rc;

		pair_init(&p, "64MiB");
		for (i = 0; i < IMAGES; i++)
			assert_int_equal(pair_send(&p, i), 0);
		assert_true(pair_settle(&p, TURNS));
		pair_burn_edge(&p);
		pair_open_edge(&p);
		assert_true(pair_settle(&p, TURNS));
		fault_arm(n, FAULT_ERRNO, ENOSPC);
		rc = ctl_local(refill, &p.edge, 1, words);
		hits = fault_disarm();
		if (!rc && result.came + result.failed < IMAGES)
			fail_msg("a fault at step %u: %llu came and nothing was said", n,
				 (unsigned long long)result.came);
		assert_int_equal(ctl_local(refill, &p.edge, 1, words), 0);
		assert_true(pair_settle(&p, TURNS));
		for (i = 0; i < IMAGES; i++)
			if (!pair_edge_has(&p, i) || !pair_central_has(&p, i))
				fail_msg("image %u is not here after a fault at step %u", i, n);
		pair_fini(&p);
		n += 5;
	} while (hits >= n - 5);
	assert_true(n > 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pair__R12_R16_a_fault_at_any_step_loses_nothing),
		cmocka_unit_test(refill__R20_a_fault_at_any_step_is_said_and_the_next_run_finishes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
