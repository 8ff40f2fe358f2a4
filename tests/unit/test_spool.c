/* An object whose groups are written while the next ones arrive: what if that fails? */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/dicom/canon.h"
#include "common/store/private.h"
#include "tests/lib/stored.h"

#define MIB ((size_t)1 << 20)

/* With a sanitizer a process has far more address space than memory: no limit of it tells. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const struct recipe large = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 18 * MIB};

/* No two chunks of it are alike. */
static void
begin(struct stored *t, struct made *m)
{
	size_t i;

	log_set_level(LOG_ERROR);
	stored_init(t, 0);
	made_init(m, &large);
	for (i = m->bytes.len - large.pixels; i < m->bytes.len; i++)
		m->bytes.data[i] = (unsigned char)(i >> 16 ^ i);
}

static void
end(struct stored *t, struct made *m)
{
	made_fini(m);
	stored_fini(t);
}

struct putting {
	struct store_object o;
	struct store_verdict verdict;
};

static int
do_put(struct store_tx *tx, void *arg, struct err *e)
{
	struct putting *p = arg;

	return store_put(tx, &p->o, &p->verdict, e);
}

/* As a sender that is told "full" and has patience; *refused counts how often. */
static int
add(struct store_spool *p, const unsigned char *c, size_t n, unsigned *refused)
{
	uint64_t before = store_spool_size(p);
	struct err e = ERR_INIT;
	int rc = store_spool_add(p, c, n, &e);

	while (rc == ERR_FULL && ++*refused < 10) {
		size_t took = (size_t)(store_spool_size(p) - before);

		rc = store_spool_add(p, c + took, n - took, NULL);
	}
	return rc;
}

static int
put(struct putting *p, struct store *s, const struct made *m, size_t n, unsigned *refused)
{
	struct err e = ERR_INIT;
	int rc;

	memset(p, 0, sizeof(*p));
	p->o.info = m->info;
	p->o.origin = VERSION_TAKEN_IN;
	assert_int_equal(store_spool_open(&p->o.spool, s, &e), 0);
	rc = add(p->o.spool, m->bytes.data, n, refused);
	if (!rc)
		rc = add(p->o.spool, m->bytes.data + n, m->bytes.len - n, refused);
	if (!rc)
		rc = store_prepare(s, &p->o, &e);
	if (!rc)
		rc = store_commit_bytes(s, do_put, p, store_spool_left(p->o.spool), &e);
	store_spool_close(p->o.spool);
	stored_settle(s);
	return rc;
}

static void
whole(struct store *s, const struct putting *p, const struct made *m)
{
	struct err e = ERR_INIT;
	uint32_t payload = chunk_payload(s);

	assert_int_equal(stored_compare(s, p->verdict.oid, m, &e), 0);
	assert_int_equal(stored_rows(s, T_CHUNK), (m->bytes.len + payload - 1) / payload);
	assert_int_equal(stored_rows(s, T_SPOOLED), 0);
	assert_int_equal(atomic_load(&s->admitted), 0);
}

static void
store_spool_add__goes_on_while_a_group_is_written(void **state)
{
	struct putting p;
	struct stored t;
	struct made m;
	unsigned refused = 0;
	size_t n;

	(void)state;
	begin(&t, &m);
	/* Wherever the pieces end: within a group, with it, one byte into the next. */
	for (n = STORE_GROUP / 2 - 400; n < m.bytes.len; n += n % 2 ? 3 * MIB : 399) {
		assert_int_equal(put(&p, t.s, &m, n, &refused), 0);
		whole(t.s, &p, &m);
		assert_int_equal(stored_drop(t.s, p.verdict.oid, NULL), 0);
		stored_settle(t.s);
	}
	assert_int_equal(refused, 0);
	end(&t, &m);
}

static void
store_spool_add__R12_a_group_that_found_no_room_is_tried_again(void **state)
{
	struct putting p;
	struct stored t;
	struct made m;
	unsigned n, refused = 0;

	(void)state;
	for (n = 1; n <= 3; n++) {
		begin(&t, &m);
		fault_arm_named("kv.commit", n, FAULT_ERRNO, ENOSPC);
		assert_int_equal(put(&p, t.s, &m, 100, &refused), 0);
		assert_true(fault_disarm() > n);
		assert_int_equal(refused, n);
		whole(t.s, &p, &m);
		end(&t, &m);
	}
}

/* Nobody asked what became of it before the object was put. */
static void
store_put__R12_writes_the_last_group_itself_where_that_failed(void **state)
{
	struct putting p;
	struct stored t;
	struct made m;
	unsigned refused = 0;

	(void)state;
	begin(&t, &m);
	fault_arm_named("kv.commit", 4, FAULT_ERRNO, ENOSPC); /* 18 MiB: four groups, a rest */
	assert_int_equal(put(&p, t.s, &m, 100, &refused), 0);
	assert_true(fault_disarm() >= 4);
	assert_int_equal(refused, 0);
	whole(t.s, &p, &m);
	end(&t, &m);
}

static void
store_spool_close__R12_leaves_nothing_of_a_group_under_way(void **state)
{
	struct store_spool *p;
	struct stored t;
	struct made m;
	unsigned fails;

	(void)state;
	for (fails = 0; fails < 2; fails++) {
		begin(&t, &m);
		assert_int_equal(store_spool_open(&p, t.s, NULL), 0);
		if (fails)
			fault_arm_named("kv.commit", 1, FAULT_ERRNO, ENOSPC);
		assert_int_equal(store_spool_add(p, m.bytes.data, STORE_GROUP / 2 + 1, NULL), 0);
		store_spool_close(p);
		if (fails)
			assert_true(fault_disarm() >= 1);
		stored_settle(t.s);
		assert_int_equal(stored_rows(t.s, T_CHUNK), 0);
		assert_int_equal(stored_rows(t.s, T_SPOOLED), 0);
		assert_int_equal(atomic_load(&t.s->admitted), 0);
		end(&t, &m);
	}
}

/* A group that was written, and that nobody has asked after, is used once, not twice. */
static void
store_spool_add__R12_what_was_written_counts_once(void **state)
{
	const struct timespec tick = {0, 1000000};
	struct store_spool *p;
	struct stored t;
	struct made m;
	size_t all;
	unsigned n;

	(void)state;
	begin(&t, &m);
	store_close(t.s);
	t.s = NULL;
	t.quota = m.bytes.len + MIB; /* less than a group more than it takes */
	assert_int_equal(stored_open(&t, NULL), 0);
	all = m.bytes.len / (4 * (size_t)chunk_payload(t.s)) * 4; /* chunks of all whole groups */
	assert_int_equal(store_spool_open(&p, t.s, NULL), 0);
	assert_int_equal(store_spool_add(p, m.bytes.data, all * chunk_payload(t.s) + 1, NULL), 0);
	for (n = 0; n < 20000 && stored_rows(t.s, T_CHUNK) < all; n++)
		(void)nanosleep(&tick, NULL);
	assert_int_equal(stored_rows(t.s, T_CHUNK), all);
	assert_int_equal(store_spool_add(p, m.bytes.data, m.bytes.len - store_spool_size(p), NULL),
			 0);
	store_spool_close(p);
	stored_settle(t.s);
	assert_int_equal(atomic_load(&t.s->admitted), 0);
	end(&t, &m);
}

#if !SANITIZED
static rlim_t
address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	(void)fclose(f);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static int
put_within(size_t more, struct putting *p, struct store *s, const struct made *m)
{
	struct rlimit was, now;
	unsigned refused = 0;
	int rc;

	assert_int_equal(getrlimit(RLIMIT_AS, &was), 0);
	now = was;
	now.rlim_cur = address_space() + more;
	assert_int_equal(setrlimit(RLIMIT_AS, &now), 0);
	rc = put(p, s, m, 100, &refused);
	assert_int_equal(setrlimit(RLIMIT_AS, &was), 0);
	return rc;
}

/* For the first group, for the second while the first is written, or for LMDB's copies of one. */
static void
store_spool_add__R12_short_memory_costs_one_object_and_leaves_nothing(void **state)
{
	struct putting p;
	struct stored t;
	struct made m;
	unsigned refused = 0;
	size_t more;
	int rc = ERR_LOCAL;

	(void)state;
	begin(&t, &m);
	for (more = 0; rc && more < 64 * MIB; more += MIB) {
		rc = put_within(more, &p, t.s, &m);
		if (!rc)
			break;
		assert_int_equal(rc, ERR_LOCAL);
		refused++;
		assert_int_equal(stored_rows(t.s, T_CHUNK), 0);
		assert_int_equal(stored_rows(t.s, T_SPOOLED), 0);
		assert_int_equal(atomic_load(&t.s->admitted), 0);
	}
	assert_int_equal(rc, 0);
	assert_true(refused > 4);
	whole(t.s, &p, &m);
	end(&t, &m);
}
#endif

/* DESIGN 4: at most 8 MiB for one association. */
static void
store_spool_add__keeps_no_more_than_a_group_in_memory(void **state)
{
	struct store_spool *p;
	struct stored t;
	struct made m;
	size_t i;

	(void)state;
	begin(&t, &m);
	assert_int_equal(store_spool_open(&p, t.s, NULL), 0);
	for (i = 0; i + MIB / 2 <= m.bytes.len; i += MIB / 2) {
		assert_int_equal(store_spool_add(p, m.bytes.data + i, MIB / 2, NULL), 0);
		/* Heads of chunks and rows count, too. */
		assert_in_range(atomic_load(&t.s->admitted), 1, STORE_GROUP + MIB / 4);
	}
	store_spool_close(p);
	end(&t, &m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_spool_add__goes_on_while_a_group_is_written),
		cmocka_unit_test(store_spool_add__R12_a_group_that_found_no_room_is_tried_again),
		cmocka_unit_test(store_put__R12_writes_the_last_group_itself_where_that_failed),
		cmocka_unit_test(store_spool_close__R12_leaves_nothing_of_a_group_under_way),
		cmocka_unit_test(store_spool_add__R12_what_was_written_counts_once),
#if !SANITIZED
		cmocka_unit_test(
			store_spool_add__R12_short_memory_costs_one_object_and_leaves_nothing),
#endif
		cmocka_unit_test(store_spool_add__keeps_no_more_than_a_group_in_memory),
	};

	/* No memory but what the limit lets in: large pieces each a mapping, one arena. */
	(void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	(void)mallopt(M_ARENA_MAX, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
