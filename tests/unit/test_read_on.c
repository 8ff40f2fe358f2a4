/* Large objects on their way out: two threads, the same bytes, nothing that is damaged (R13). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/read_on.h"
#include "tests/lib/stored.h"

#define MIB ((size_t)1 << 20)

enum { CHUNKS = 12 }; /* whole ones, and the last */

struct large {
	struct stored stored;
	struct made made;
	uint64_t oid;
	struct read_on *on;
};

static void
large_init(struct large *t)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, CHUNKS * MIB};
	struct store_verdict v;
	size_t i;

	stored_init(&t->stored, 0);
	made_init(&t->made, &r);
	for (i = t->made.bytes.len - CHUNKS * MIB; i < t->made.bytes.len; i++)
		t->made.bytes.data[i] = (unsigned char)(i * 31 ^ i >> 8 ^ i >> 16);
	assert_int_equal(stored_put(t->stored.s, &t->made, "a", &v, NULL), 0);
	t->oid = v.oid;
}

static void
large_open(struct large *t)
{
	struct store_reader *r;

	assert_int_equal(store_read_open(&r, t->stored.s, t->oid, NULL), 0);
	assert_int_equal(read_on_open(&t->on, t->stored.s, r, NULL), 0);
}

static void
large_fini(struct large *t)
{
	read_on_close(t->on);
	made_fini(&t->made);
	stored_fini(&t->stored);
}

/* What lies there is right; returns how much of it came. */
static size_t
expect_at(struct large *t, size_t at)
{
	const void *p;
	size_t n;

	assert_int_equal(read_on_some(t->on, at, &p, &n, NULL), 0);
	assert_true(n > 0 && n <= t->made.bytes.len - at);
	assert_memory_equal(p, t->made.bytes.data + at, n);
	return n;
}

static void
read_on_some__gives_every_byte_in_any_order(void **state)
{
	static const size_t jumps[] = {5 * MIB, 5 * MIB, 0, 11 * MIB, 77777, MIB + 3, 6 * MIB};
	struct large t;
	size_t at, i, n;
	const void *p;

	(void)state;
	large_init(&t);
	large_open(&t);
	for (at = 0; at < t.made.bytes.len;)
		at += expect_at(&t, at);
	assert_int_equal(read_on_some(t.on, at, &p, &n, NULL), 0);
	assert_int_equal(n, 0);
	for (i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		at = jumps[i] + expect_at(&t, jumps[i]);
		if (i % 2)
			(void)expect_at(&t, at);
	}
	large_fini(&t);
}

static void
read_on_some__R13_tells_damage_where_it_is_and_not_before(void **state)
{
	struct large t;
	size_t at;
	const void *p;
	size_t n;
	int rc;

	(void)state;
	large_init(&t);
	stored_damage(t.stored.s, t.oid, 6);
	large_open(&t);
	for (at = 0; (rc = read_on_some(t.on, at, &p, &n, NULL)) == 0; at += n)
		assert_memory_equal(p, t.made.bytes.data + at, n);
	assert_int_equal(rc, ERR_CORRUPT);
	assert_true(at > 5 * MIB && at < 7 * MIB);
	stored_damage(t.stored.s, t.oid, 6); /* whole again */
	(void)expect_at(&t, at);
	large_fini(&t);
}

static void
read_on_some__R20_what_was_evicted_meanwhile_is_absent(void **state)
{
	struct large t;
	size_t at;
	const void *p;
	size_t n;
	int rc;

	(void)state;
	large_init(&t);
	large_open(&t);
	at = expect_at(&t, 0);
	assert_int_equal(stored_drop(t.stored.s, t.oid, NULL), 0);
	stored_settle(t.stored.s);
	/* one part may have been read before */
	for (; (rc = read_on_some(t.on, at, &p, &n, NULL)) == 0; at += n)
		assert_true(at < 2 * MIB);
	assert_int_equal(rc, ERR_ABSENT);
	large_fini(&t);
}

static void
store_read_check__R13_finds_damage_in_whichever_chunk(void **state)
{
	struct store_reader *r;
	struct large t;
	uint32_t i;

	(void)state;
	large_init(&t);
	t.on = NULL;
	for (i = 0; i <= CHUNKS; i++) {
		stored_damage(t.stored.s, t.oid, i);
		assert_int_equal(store_read_open(&r, t.stored.s, t.oid, NULL), 0);
		assert_int_equal(store_read_check(r, NULL), ERR_CORRUPT);
		stored_damage(t.stored.s, t.oid, i);
		assert_int_equal(store_read_check(r, NULL), 0);
		store_read_close(r);
	}
	large_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_on_some__gives_every_byte_in_any_order),
		cmocka_unit_test(read_on_some__R13_tells_damage_where_it_is_and_not_before),
		cmocka_unit_test(read_on_some__R20_what_was_evicted_meanwhile_is_absent),
		cmocka_unit_test(store_read_check__R13_finds_damage_in_whichever_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
