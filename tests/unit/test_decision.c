/* Which of two decisions about one UID counts (R3, R16). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/store/decided.h"
#include "common/store/store.h"
#include "proto/decision.h"
#include "tests/lib/stored.h"

static struct decided
made(uint64_t number, bool person, uint64_t follows)
{
	struct decided d = {.number = number, .person = person, .follows = follows};

	return d;
}

static void
decision_merge__R16_what_a_person_decided_outlives_what_R3_says_without_it(void **state)
{
	struct decided none = made(0, false, 0), person = made(57, true, 3);
	struct decided low = made(5, false, 0), high = made(60, false, 0);
	struct decided knows = made(60, false, 57), by_person = made(61, true, 0);

	(void)state;
	assert_int_equal(decision_merge(&none, &person, true), DECISION_TAKE);
	assert_int_equal(decision_merge(&none, &person, false), DECISION_ADOPT);
	assert_int_equal(decision_merge(&low, &person, true), DECISION_TAKE);
	assert_int_equal(decision_merge(&low, &person, false), DECISION_ADOPT);
	assert_int_equal(decision_merge(&high, &person, true), DECISION_ADOPT);
	assert_int_equal(decision_merge(&knows, &person, true), DECISION_KEEP);
	assert_int_equal(decision_merge(&by_person, &person, true), DECISION_KEEP);
	by_person.origin = 10; /* an older word, said again */
	assert_int_equal(decision_merge(&by_person, &person, true), DECISION_ADOPT);
	assert_int_equal(decision_merge(&person, &high, true), DECISION_SAY_AGAIN);
	assert_int_equal(decision_merge(&person, &low, true), DECISION_KEEP);
	assert_int_equal(decision_merge(&person, &knows, true), DECISION_TAKE);
}

static void
decision_merge__R3_of_two_that_nobody_decided_the_higher_counts(void **state)
{
	struct decided none = made(0, false, 0), low = made(5, false, 0), high = made(9, false, 0);

	(void)state;
	assert_int_equal(decision_merge(&none, &low, true), DECISION_TAKE);
	assert_int_equal(decision_merge(&none, &low, false), DECISION_ADOPT);
	assert_int_equal(decision_merge(&low, &high, true), DECISION_TAKE);
	assert_int_equal(decision_merge(&low, &high, false), DECISION_SAY_AGAIN);
	assert_int_equal(decision_merge(&high, &low, true), DECISION_KEEP);
	assert_int_equal(decision_merge(&high, &low, false), DECISION_KEEP);
}

/* --- the row of a UID --- */

static const unsigned char digest[2][SHA256_SIZE] = {{1}, {2}}, seen[2] = {0, 1};

struct putting {
	uint64_t number;
	unsigned char id;
	bool taken;
};

static int
put(struct store_tx *tx, void *arg, struct err *e)
{
	struct putting *p = arg;
	struct decided d = made(p->number, true, 1);

	d.id.b[0] = p->id;
	d.digests = digest;
	d.seen = seen;
	d.n = 2;
	return decided_put(tx, "1.2.3", &d, &p->taken, e);
}

static bool
takes(struct store *s, uint64_t number, unsigned char id)
{
	struct putting p = {number, id, false};

	assert_int_equal(store_commit(s, put, &p, NULL), 0);
	return p.taken;
}

static void
decided_put__R3_a_lower_number_never_undoes_a_higher_one(void **state)
{
	struct store_tx *tx;
	struct decided d;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	assert_true(takes(t.s, 7, 5));
	assert_false(takes(t.s, 6, 9));
	assert_false(takes(t.s, 7, 5));
	assert_false(takes(t.s, 7, 4)); /* two centrals gave it: the greater id */
	assert_true(takes(t.s, 7, 6));
	assert_true(takes(t.s, 8, 0));
	assert_int_equal(store_begin_read(&tx, t.s, NULL), 0);
	assert_int_equal(decided_get(tx, "1.2.3", &d, NULL), 0);
	assert_int_equal(d.number, 8);
	assert_int_equal(d.n, 2);
	assert_true(d.person && d.follows == 1 && !d.origin);
	assert_true(decided_names(&d, digest[0]) && !decided_seen(&d, digest[0]));
	assert_true(decided_names(&d, digest[1]) && decided_seen(&d, digest[1]));
	store_end_read(tx);
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			decision_merge__R16_what_a_person_decided_outlives_what_R3_says_without_it),
		cmocka_unit_test(decision_merge__R3_of_two_that_nobody_decided_the_higher_counts),
		cmocka_unit_test(decided_put__R3_a_lower_number_never_undoes_a_higher_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
