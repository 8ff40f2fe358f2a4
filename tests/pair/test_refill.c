/* How much of it comes back to a new edge (R12, R28). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/store/store.h"
#include "edge/refill.h"
#include "edge/replicate.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum {
	TURNS = 400,
	IMAGES = 16,
	EACH = 4, /* images of a study; one is sent of each */
	DAY_MS = 24 * 3600000,
	ROWS = 1450, /* 4.2 MB each */
	MB = 1000000
};

/* An image a day at a site with room for all; then its edge burns, the new one is smaller. */
static void
filled(struct pair *p)
{
	unsigned i;

	pair_prepare(p, "256MiB");
	p->rows = ROWS;
	pair_open_central(p);
	pair_open_edge(p);
	for (i = 0; i < IMAGES; i++) {
		assert_int_equal(pair_send(p, EACH * i), 0);
		assert_true(pair_settle(p, TURNS));
		clock_manual_advance(&p->clock, DAY_MS);
	}
	pair_burn_edge(p);
	strcpy(p->quota, "64MiB");
	pair_site(p, "north"); /* by settings that are written anew */
}

/* The newest n are here, each of them whole, and none of the others. */
static void
newest_are_here(struct pair *p, unsigned n)
{
	unsigned i;

	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_edge_has(p, EACH * (IMAGES - 1 - i)), i < n);
}

static void
refill__R12_stops_at_70_percent_of_the_quota_with_the_newest_there(void **state)
{
	static const struct refill_config all = {.group = false};
	struct refill_result got;
	struct store_space s;
	struct pair p;

	(void)state;
	filled(&p);
	got = pair_refill(&p, &all);
	store_space(p.edge.store, &s);
	assert_true(got.stopped);
	assert_int_equal(got.known, IMAGES);
	assert_in_range(s.used, s.quota / 100 * 60, s.quota / 100 * 70 + 5 * MB);
	assert_in_range(got.came, 9, 12);
	newest_are_here(&p, (unsigned)got.came);
	/* The others are known: a viewer is told of them (R20). */
	got = pair_refill(&p, &all);
	assert_int_equal(got.came, 0);
	pair_fini(&p);
}

static void
refill__R28_brings_the_last_days_or_so_many_bytes(void **state)
{
	static const struct refill_config days = {.days = 4}, bytes = {.bytes = 20 * MB};
	struct refill_result got;
	struct pair p;

	(void)state;
	filled(&p);
	got = pair_refill(&p, &days); /* a little more than one, two, three days ago */
	assert_int_equal(got.came, 3);
	assert_false(got.stopped);
	newest_are_here(&p, 3);
	pair_burn_edge(&p);
	pair_open_edge(&p);
	got = pair_refill(&p, &bytes);
	assert_true(got.stopped);
	assert_in_range(got.bytes, 20 * MB, 25 * MB);
	newest_are_here(&p, (unsigned)got.came);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			refill__R12_stops_at_70_percent_of_the_quota_with_the_newest_there),
		cmocka_unit_test(refill__R28_brings_the_last_days_or_so_many_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
