/* What kv.h promises of tables, transactions and cursors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/kv/kv.h"
#include "common/os/file.h"

static const char *const tables[] = {"one", "two"};

struct place {
	char dir[64];
	struct kv *kv;
};

static void
reopen_to(struct place *p, bool read_only)
{
	struct kv_config c = {.dir = p->dir,
			      .map_bytes = 8 << 20,
			      .tables = tables,
			      .n_tables = 2,
			      .max_readers = 4,
			      .read_only = read_only};
	struct err e = ERR_INIT;

	kv_close(p->kv);
	p->kv = NULL;
	assert_int_equal(kv_open_lmdb(&p->kv, &c, &e), 0);
}

static void
reopen(struct place *p)
{
	reopen_to(p, false);
}

static int
set_up(void **state)
{
	static struct place p;
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(p.dir, sizeof(p.dir), "%.40s/kvXXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(p.dir));
	p.kv = NULL;
	reopen(&p);
	*state = &p;
	return 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;
	char path[100];

	kv_close(p->kv);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", p->dir);
	(void)file_remove(path, NULL);
	(void)snprintf(path, sizeof(path), "%s/lock.mdb", p->dir);
	(void)file_remove(path, NULL);
	(void)remove(p->dir);
	return 0;
}

static struct kv_slice
str(const char *s)
{
	return kv_slice(s, strlen(s));
}

static struct kv_txn *
begin(struct place *p, enum kv_mode mode)
{
	struct kv_txn *t;
	struct err e = ERR_INIT;

	assert_int_equal(kv_begin(&t, p->kv, mode, &e), 0);
	return t;
}

static void
kv_commit__is_kept_and_kv_abort_undoes(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct kv_txn *t = begin(p, KV_WRITE);
	struct kv_slice v;

	assert_int_equal(kv_put(t, 0, str("a"), str("1"), &e), 0);
	assert_int_equal(kv_put_new(t, 0, str("a"), str("2"), &e), ERR_CONFLICT);
	err_clear(&e);
	assert_int_equal(kv_commit(t, &e), 0);
	t = begin(p, KV_WRITE);
	assert_int_equal(kv_put(t, 0, str("b"), str("2"), &e), 0);
	assert_int_equal(kv_del(t, 0, str("a"), &e), 0);
	kv_abort(t);
	reopen(p);
	t = begin(p, KV_READ);
	assert_int_equal(kv_get(t, 0, str("a"), &v, &e), 0);
	assert_true(v.n == 1 && *(const char *)v.p == '1');
	assert_int_equal(kv_get(t, 0, str("b"), &v, &e), ERR_ABSENT);
	assert_int_equal(kv_get(t, 1, str("a"), &v, &e), ERR_ABSENT);
	assert_int_equal(e.code, ERR_NONE); /* absence is no error */
	kv_abort(t);
}

static void
kv_begin__a_reader_sees_one_moment(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct kv_txn *r = begin(p, KV_READ), *w = begin(p, KV_WRITE);
	struct kv_slice v;

	assert_int_equal(kv_put(w, 0, str("a"), str("1"), &e), 0);
	assert_int_equal(kv_commit(w, &e), 0);
	assert_int_equal(kv_get(r, 0, str("a"), &v, &e), ERR_ABSENT);
	kv_abort(r);
	r = begin(p, KV_READ);
	assert_int_equal(kv_get(r, 0, str("a"), &v, &e), 0);
	kv_abort(r);
}

static void
kv_put__refuses_keys_that_lmdb_does_not_hold(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct kv_txn *t = begin(p, KV_WRITE);
	char key[KV_KEY_MAX + 1];
	struct kv_slice v;

	memset(key, 'k', sizeof(key));
	assert_int_equal(kv_put(t, 0, kv_slice(key, KV_KEY_MAX), str("v"), &e), 0);
	assert_int_equal(kv_put(t, 0, kv_slice(key, KV_KEY_MAX + 1), str("v"), &e), ERR_LOCAL);
	err_clear(&e);
	assert_int_equal(kv_put(t, 0, kv_slice(key, 0), str("v"), &e), ERR_LOCAL);
	assert_int_equal(kv_get(t, 0, kv_slice(key, KV_KEY_MAX + 1), &v, NULL), ERR_ABSENT);
	assert_int_equal(kv_del(t, 0, kv_slice(key, 0), NULL), ERR_ABSENT);
	kv_abort(t);
}

static void
kv_cursor__goes_both_ways_and_del_skips_nothing(void **state)
{
	static const char *const keys[] = {"b", "d", "f", "h"};
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct kv_txn *t = begin(p, KV_WRITE);
	struct kv_cursor *c;
	struct kv_slice k, v;
	unsigned i;

	for (i = 0; i < 4; i++)
		assert_int_equal(kv_put(t, 0, str(keys[i]), str(""), &e), 0);
	assert_int_equal(kv_cursor_open(&c, t, 0, &e), 0);
	assert_int_equal(kv_cursor_seek(c, str("c"), &k, &v, &e), 0);
	assert_memory_equal(k.p, "d", 1);
	assert_int_equal(kv_cursor_prev(c, &k, &v, &e), 0);
	assert_memory_equal(k.p, "b", 1);
	assert_int_equal(kv_cursor_prev(c, &k, &v, &e), ERR_ABSENT);
	assert_int_equal(kv_cursor_last(c, &k, &v, &e), 0);
	assert_memory_equal(k.p, "h", 1);
	assert_int_equal(kv_cursor_seek(c, str("i"), &k, &v, &e), ERR_ABSENT);
	assert_int_equal(kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, &e), 0);
	for (i = 0; i < 4; i++) {
		assert_memory_equal(k.p, keys[i], 1);
		assert_int_equal(kv_cursor_del(c, &e), 0);
		assert_int_equal(kv_cursor_next(c, &k, &v, &e), i < 3 ? 0 : ERR_ABSENT);
	}
	kv_cursor_close(c);
	kv_abort(t);
}

static void
kv_used__counts_what_is_in_tables_and_full_is_full(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct kv_txn *t = begin(p, KV_WRITE);
	uint64_t before, used;
	void *room;
	unsigned n;
	int rc = 0;

	assert_int_equal(kv_used(t, &before, &e), 0);
	assert_int_equal(kv_reserve(t, 0, str("big"), 100 * 4096 - 16, &room, &e), 0);
	memset(room, 1, 100 * 4096 - 16);
	assert_int_equal(kv_used(t, &used, &e), 0);
	assert_in_range(used - before, 100 * 4096, 102 * 4096); /* whole pages, no more */
	assert_int_equal(kv_commit(t, &e), 0);
	t = begin(p, KV_WRITE);
	for (n = 0; !rc && n < 100; n++) {
		unsigned char key[4] = {'x', (unsigned char)n, 0, 0};

		rc = kv_reserve(t, 1, kv_slice(key, 4), 100 * 4096 - 16, &room, &e);
		if (!rc)
			memset(room, 2, 100 * 4096 - 16);
	}
	assert_int_equal(rc, ERR_FULL);
	kv_abort(t);
	t = begin(p, KV_WRITE); /* and goes on */
	err_clear(&e);
	assert_int_equal(kv_del(t, 0, str("big"), &e), 0);
	assert_int_equal(kv_commit(t, &e), 0);
}

static void
kv_commit__that_fails_leaves_the_state_before(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct kv_txn *t = begin(p, KV_WRITE);
	struct kv_slice v;

	assert_int_equal(kv_put(t, 0, str("a"), str("1"), &e), 0);
	fault_arm_named("kv.commit", 1, FAULT_ERRNO, ENOSPC);
	assert_int_equal(kv_commit(t, &e), ERR_FULL);
	assert_int_equal(fault_disarm(), 1);
	t = begin(p, KV_READ);
	assert_int_equal(kv_get(t, 0, str("a"), &v, NULL), ERR_ABSENT);
	kv_abort(t);
}

static void
kv_begin__says_when_every_reader_slot_is_taken(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct kv_txn *t[8];
	unsigned n;
	int rc = 0;

	for (n = 0; n < 8 && !rc; n += !rc)
		rc = kv_begin(&t[n], p->kv, KV_READ, &e);
	assert_int_equal(rc, ERR_AGAIN);
	assert_int_equal(n, 4);
	while (n > 0)
		kv_abort(t[--n]);
	assert_int_equal(kv_check_readers(p->kv, NULL), 0);
}

static uint64_t
bytes_of_file(const struct place *p)
{
	struct err e = ERR_INIT;
	char path[100];
	uint64_t size;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", p->dir);
	fd = file_open(path, false, &e);
	assert_true(fd >= 0);
	assert_int_equal(file_size(fd, &size, &e), 0);
	file_close(fd);
	return size;
}

/* A value of its own for each n. */
static void
put_filled(struct place *p, unsigned char n)
{
	static unsigned char value[100000];
	struct err e = ERR_INIT;
	struct kv_txn *t = begin(p, KV_WRITE);

	memset(value, n, sizeof(value));
	assert_int_equal(kv_put(t, 0, kv_slice(&n, 1), kv_slice(value, sizeof(value)), &e), 0);
	assert_int_equal(kv_commit(t, &e), 0);
}

static void
check_filled(struct place *p, unsigned char n)
{
	struct err e = ERR_INIT;
	struct kv_txn *t = begin(p, KV_READ);
	struct kv_slice v;
	size_t i;

	assert_int_equal(kv_get(t, 0, kv_slice(&n, 1), &v, &e), 0);
	for (i = 0; i < v.n; i++)
		if (((const unsigned char *)v.p)[i] != n)
			fail_msg("value %u is wrong at %zu", n, i);
	kv_abort(t);
}

static void
kv_grow__makes_the_file_longer_and_touches_nothing_that_is_in_it(void **state)
{
	enum { AHEAD = 1 << 20, STEP = 300000, LIMIT = 4 << 20 };
	struct place *p = *state;
	struct err e = ERR_INIT;
	unsigned char n, m;
	bool more = true;

	for (n = 1; n <= 60 && bytes_of_file(p) < LIMIT; n++) {
		put_filled(p, n);
		for (more = true; more;)
			assert_int_equal(kv_grow(p->kv, AHEAD, LIMIT, STEP, &more, &e), 0);
		assert_int_equal(kv_file_bytes(p->kv), bytes_of_file(p));
		if (n % 7 == 0)
			reopen(p);
		for (m = 1; m <= n; m++)
			check_filled(p, m);
	}
	assert_true(n > 20);
	assert_int_equal(bytes_of_file(p), LIMIT);
	fault_arm_named("file.sync", 1, FAULT_ERRNO, ENOSPC);
	assert_int_equal(kv_grow(p->kv, AHEAD, 2 * LIMIT, STEP, &more, &e), ERR_FULL);
	(void)fault_disarm();
	assert_false(more);
	for (m = 1; m < n; m++)
		check_filled(p, m);
	/* Room that is made ready is the file's, also for who only reads. */
	reopen_to(p, true);
	assert_int_equal(kv_file_bytes(p->kv), bytes_of_file(p));
	assert_int_equal(kv_grow(p->kv, AHEAD, 2 * LIMIT, STEP, &more, &e), 0);
	assert_false(more);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(kv_commit__is_kept_and_kv_abort_undoes),
		TEST(kv_begin__a_reader_sees_one_moment),
		TEST(kv_put__refuses_keys_that_lmdb_does_not_hold),
		TEST(kv_cursor__goes_both_ways_and_del_skips_nothing),
		TEST(kv_used__counts_what_is_in_tables_and_full_is_full),
		TEST(kv_grow__makes_the_file_longer_and_touches_nothing_that_is_in_it),
		TEST(kv_commit__that_fails_leaves_the_state_before),
		TEST(kv_begin__says_when_every_reader_slot_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
