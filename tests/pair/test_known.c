/* What a site announced before, and has no more, is told to each new central (R18, R20). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/keep.h"
#include "edge/rebuild.h"
#include "edge/refill.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"
#include "tests/lib/stored.h"

enum { IMAGES = 8, TURNS = 400 };

/* A new central has heard of all that this edge knows, from its ledger alone. */
static void
expect_told(struct pair *p, uint64_t known, uint64_t lost)
{
	struct store_tx *tx;
	struct tally t;

	clock_manual_advance(&p->clock, 16000); /* a hello is due */
	pair_turn(p);
	pair_turn(p);
	assert_true(pair_settle(p, TURNS));
	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	store_end_read(tx);
	assert_int_equal(t.n, 1);
	assert_int_equal(t.rows[0].known, known);
	assert_int_equal(t.rows[0].of[TALLY_LOST], lost);
	assert_int_equal(t.rows[0].of[TALLY_HELD], known - lost);
	tally_free(&t);
}

static void
refill__R18_what_came_as_a_name_only_is_listed_by_the_next_central(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_spoil(&p, 1);
	assert_int_equal(pair_burn_and_refill(&p, false).came, IMAGES - 1);
	for (i = 0; i < 2; i++) { /* the second time it is in the ledger already */
		pair_burn_central(&p);
		pair_open_central(&p);
		expect_told(&p, IMAGES, 1);
	}
	(void)pair_burn_and_refill(&p, false); /* R20: a refill from there tells of it as well */
	assert_int_equal(stored_counts(p.edge.store).known, IMAGES);
	pair_fini(&p);
}

static void
rebuild__R18_what_had_been_evicted_is_listed_by_the_next_central(void **state)
{
	struct rebuild_result result;
	struct err e = ERR_INIT;
	struct edge edge;
	struct pair p;
	uint64_t n, bytes;
	char study[UID_SIZE];
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, IMAGES - 1, study);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	stored_settle(p.edge.store);
	for (i = 0; i < IMAGES; i++) /* which take the place of those */
		assert_int_equal(pair_send(&p, 100 + i), 0);
	assert_true(pair_settle(&p, TURNS));
	pair_close_edge(&p);
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	if (rebuild_store(&edge, &result, &e))
		fail_msg("%s", e.what);
	edge_close(&edge);
	assert_true(result.known > 0);
	pair_burn_central(&p);
	pair_open_central(&p);
	pair_open_edge(&p);
	expect_told(&p, 2 * IMAGES, result.known);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			refill__R18_what_came_as_a_name_only_is_listed_by_the_next_central),
		cmocka_unit_test(rebuild__R18_what_had_been_evicted_is_listed_by_the_next_central),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
