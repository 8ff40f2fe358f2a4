/* Where images stand with an archive, on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/dimse/kept.h"
#include "common/dimse/pledges.h"
#include "common/store/store.h"
#include "tests/lib/stored.h"

#define IMAGE "1.2.3.1"

/* A version of it comes; its object id. */
static uint64_t
version(struct stored *t, unsigned char pixel)
{
	struct recipe r = {"1.2.3", IMAGE, NULL, "c", pixel, 64};

	return stored_keep(t->s, &r, "10.0.0.1").oid;
}

static int
begin(void **state)
{
	static struct stored t;

	stored_init(&t, 0);
	*state = &t;
	return 0;
}

static int
end(void **state)
{
	stored_fini(*state);
	return 0;
}

static struct pledge
standing(struct stored *t)
{
	struct store_tx *tx;
	struct pledge p;

	assert_int_equal(store_begin_read(&tx, t->s, NULL), 0);
	assert_int_equal(pledge_get(tx, "vault", IMAGE, &p, NULL), 0);
	store_end_read(tx);
	return p;
}

static int
add(struct store_tx *tx, void *arg, struct err *e)
{
	struct pledge_row row = {.archive = "vault", .calling = "NODE", .phase = PLEDGE_SENDS};

	return pledges_add(tx, &row, arg, 1, e);
}

/* The archive is asked for this version of the image. */
static struct pledge
ask(struct stored *t, uint64_t oid)
{
	struct pledge p = {.sop_class = "1.2.840.10008.5.1.4.1.1.7", .sop_instance = IMAGE};

	p.oid = oid;
	assert_int_equal(store_commit(t->s, add, &p, NULL), 0);
	return standing(t);
}

static int
put(struct store_tx *tx, void *arg, struct err *e)
{
	return pledge_put(tx, "vault", arg, e);
}

static void
becomes(struct stored *t, enum pledge_state state, bool sent)
{
	struct pledge p = standing(t);

	p.state = state;
	p.sent = p.sent || sent;
	p.renewed = p.renewed && !p.sent;
	assert_int_equal(store_commit(t->s, put, &p, NULL), 0);
}

/* What an archive says of a UID may be of the version that it has. */
static void
pledges_add__R3_of_a_new_version_it_has_nothing_until_that_was_sent(void **state)
{
	struct stored *t = *state;
	uint64_t first = version(t, 1), second = version(t, 2);
	struct pledge p = ask(t, first);

	assert_false(p.sent || p.renewed);
	becomes(t, PLEDGE_COMMITTED, false);
	p = ask(t, first);
	assert_true(p.sent && !p.renewed);
	becomes(t, PLEDGE_COMMITTED, false);
	p = ask(t, second);
	assert_true(!p.sent && p.renewed);
	becomes(t, PLEDGE_NOT_SENT, false);
	p = ask(t, second);
	assert_true(!p.sent && p.renewed);
	becomes(t, PLEDGE_COMMITTED, false);
	p = ask(t, second);
	assert_true(!p.sent && p.renewed);
	becomes(t, PLEDGE_COMMITTED, true);
	p = ask(t, second);
	assert_true(p.sent && !p.renewed);
}

static int
take_over(void *arg, const void *key, size_t n, const void *value, size_t value_n, struct err *e)
{
	return kept_row_put(arg, PLEDGES_TABLE, key, n, value, value_n, e);
}

static int
inherit(struct store_tx *tx, void *arg, struct err *e)
{
	struct store_tx *old;
	int rc = store_begin_read(&old, ((struct stored *)arg)->s, e);

	if (rc)
		return rc;
	rc = kept_rows(old, PLEDGES_TABLE, take_over, tx, e);
	store_end_read(old);
	return rc;
}

/* A store that is made anew numbers its versions anew. */
static void
pledges_add__R3_a_version_is_known_by_its_digest_after_a_rebuild(void **state)
{
	struct stored *t = *state, anew;
	uint64_t first = version(t, 1), second;

	(void)ask(t, first);
	becomes(t, PLEDGE_COMMITTED, true);
	stored_init(&anew, 0);
	second = version(&anew, 2);
	assert_int_equal(second, first);
	first = version(&anew, 1);
	assert_int_equal(store_commit(anew.s, inherit, t, NULL), 0);
	assert_int_equal(standing(&anew).state, PLEDGE_COMMITTED);
	assert_true(ask(&anew, first).sent);
	assert_true(ask(&anew, second).renewed);
	assert_false(standing(&anew).sent);
	stored_fini(&anew);
}

static int
note(void *arg, const struct pledge_counts *c, struct err *e)
{
	(void)e;
	*(uint64_t *)arg = c->unseen;
	return 0;
}

static uint64_t
unseen(struct stored *t)
{
	struct store_tx *tx;
	uint64_t n = 0;

	assert_int_equal(store_begin_read(&tx, t->s, NULL), 0);
	assert_int_equal(pledges_counts(tx, note, &n, NULL), 0);
	store_end_read(tx);
	return n;
}

static int
see(struct store_tx *tx, void *arg, struct err *e)
{
	return pledge_saw(tx, "vault", arg, e);
}

static void
pledge_saw__marks_what_was_listed_and_nothing_that_came_since(void **state)
{
	struct stored *t = *state;
	uint64_t oid = version(t, 1);
	struct pledge listed;

	(void)ask(t, oid);
	becomes(t, PLEDGE_REFUSED, false);
	listed = standing(t);
	(void)ask(t, oid);
	assert_int_equal(store_commit(t->s, see, &listed, NULL), 0);
	assert_int_equal(standing(t).state, PLEDGE_OPEN);
	assert_int_equal(standing(t).number, 2);
	becomes(t, PLEDGE_REFUSED, false);
	assert_int_equal(store_commit(t->s, see, &listed, NULL), 0);
	assert_int_equal(unseen(t), 1);
	listed = standing(t);
	assert_int_equal(store_commit(t->s, see, &listed, NULL), 0);
	assert_int_equal(unseen(t), 0);
	assert_int_equal(standing(t).state, PLEDGE_REFUSED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			pledges_add__R3_of_a_new_version_it_has_nothing_until_that_was_sent, begin,
			end),
		cmocka_unit_test_setup_teardown(
			pledges_add__R3_a_version_is_known_by_its_digest_after_a_rebuild, begin,
			end),
		cmocka_unit_test_setup_teardown(
			pledge_saw__marks_what_was_listed_and_nothing_that_came_since, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
