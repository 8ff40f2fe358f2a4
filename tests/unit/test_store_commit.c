/* The one committer: order, failing neighbours, company; a viewer beside full speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include "common/dicom/canon.h"
#include "common/store/private.h"
#include "tests/lib/stored.h"

#define MIB ((size_t)1 << 20)
enum { THREADS = 8, ROUNDS = 60 };

struct appender {
	struct stored *t;
	unsigned id;
	uint64_t seq;  /* of the entry that was appended last */
	bool refuse;   /* fails after it has written          */
	bool quick;    /* every second one                    */
	unsigned good; /* how many were acknowledged          */
	bool wrong;
};

/* Appends the next number of a chain, as a ledger does. */
static int
append(struct store_tx *tx, void *arg, struct err *e)
{
	struct appender *a = arg;
	unsigned table = store_table(store_tx_store(tx), "extra");
	unsigned char key[8];
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table, e);

	if (rc)
		return rc;
	rc = kv_cursor_last(c, &k, &v, e);
	a->seq = rc ? 1 : buf_get_be64(k.p) + 1;
	kv_cursor_close(c);
	buf_set_be64(key, a->seq);
	rc = kv_put_new(store_tx_kv(tx), table, kv_slice(key, 8), kv_slice(&a->id, sizeof(a->id)),
			e);
	return !rc && a->refuse ? err_set(e, ERR_PEER, 0, "refused") : rc;
}

static void *
append_many(void *arg)
{
	struct appender *a = arg;
	uint64_t before = 0;
	unsigned n;

	for (n = 0; n < ROUNDS; n++) {
		struct err e = ERR_INIT;
		int rc;

		a->refuse = n % 3 == a->id % 3;
		rc = a->quick && n % 2 ? store_commit_quick(a->t->s, append, a, 100, &e)
				       : store_commit(a->t->s, append, a, &e);
		if (rc != (a->refuse ? ERR_PEER : 0) || (!rc && a->seq <= before))
			a->wrong = true;
		if (!rc) {
			before = a->seq;
			a->good++;
		}
	}
	return NULL;
}

/* quick: how many of the threads let the journal answer every second one. */
static void
failing_neighbours(uint64_t journal, unsigned quick)
{
	struct appender a[THREADS];
	pthread_t thread[THREADS];
	struct err e = ERR_INIT;
	struct stored t;
	unsigned i, good = 0;
	struct appender last;

	stored_init(&t, 0);
	store_close(t.s);
	t.journal = journal;
	assert_int_equal(stored_open(&t, &e), 0);
	memset(a, 0, sizeof(a));
	for (i = 0; i < THREADS; i++) {
		a[i].t = &t;
		a[i].id = i;
		a[i].quick = i < quick;
		assert_int_equal(pthread_create(&thread[i], NULL, append_many, &a[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		(void)pthread_join(thread[i], NULL);
		assert_false(a[i].wrong);
		good += a[i].good;
	}
	assert_int_equal(good, THREADS * ROUNDS * 2 / 3);
	store_close(t.s);
	t.s = NULL;
	assert_int_equal(stored_open(&t, &e), 0);
	assert_int_equal(stored_rows(t.s, store_table(t.s, "extra")), good);
	memset(&last, 0, sizeof(last));
	assert_int_equal(store_commit(t.s, append, &last, &e), 0);
	assert_int_equal(last.seq, good + 1); /* the chain has no gap */
	stored_fini(&t);
}

static void
store_commit__R5_a_failing_neighbour_leaves_no_gap_and_no_row(void **state)
{
	(void)state;
	failing_neighbours(0, 0);
}

static void
store_commit_quick__R5_a_failing_neighbour_leaves_no_gap_and_no_row(void **state)
{
	(void)state;
	failing_neighbours(MIB, THREADS / 2);
	failing_neighbours(32 * 1024, THREADS); /* full every few batches */
}

static void
note(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void
store_commit_quick__is_seen_by_closures_at_once_by_readers_once_settled(void **state)
{
	struct appender a = {.id = 1};
	struct err e = ERR_INIT;
	struct stored t;
	atomic_uint told = 0;
	uint64_t n;

	(void)state;
	stored_init(&t, 0);
	store_close(t.s);
	t.journal = MIB;
	assert_int_equal(stored_open(&t, &e), 0);
	store_on_settled(t.s, note, &told);
	for (n = 1; n <= 20; n++) {
		assert_int_equal(store_commit_quick(t.s, append, &a, 100, &e), 0);
		assert_int_equal(a.seq, n);
		if (n % 5)
			continue;
		assert_int_equal(store_settle(t.s, &e), 0);
		assert_int_equal(stored_rows(t.s, store_table(t.s, "extra")), n);
		assert_true(atomic_load(&told) > 0);
		assert_false(store_unsettled(t.s));
	}
	/* Nobody asks: the committer does it by itself. */
	assert_int_equal(store_commit_quick(t.s, append, &a, 100, &e), 0);
	while (store_unsettled(t.s))
		(void)sched_yield();
	assert_int_equal(stored_rows(t.s, store_table(t.s, "extra")), 21);
	store_on_settled(t.s, NULL, NULL);
	stored_fini(&t);
}

/* --- the same object from everywhere at once --- */

struct sender {
	struct stored *t;
	const struct made *m;
	struct store_verdict v;
	int rc;
};

static void *
send_one(void *arg)
{
	struct sender *s = arg;
	struct err e = ERR_INIT;

	s->rc = stored_put(s->t->s, s->m, "a", &s->v, &e);
	return NULL;
}

static void
store_put__R4_one_of_many_equal_objects_is_stored(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 5000};
	struct sender s[THREADS];
	pthread_t thread[THREADS];
	struct stored t;
	struct made m;
	unsigned i, stored = 0;

	(void)state;
	stored_init(&t, 0);
	made_init(&m, &r);
	for (i = 0; i < THREADS; i++) {
		s[i] = (struct sender){&t, &m, {0}, 0};
		assert_int_equal(pthread_create(&thread[i], NULL, send_one, &s[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		(void)pthread_join(thread[i], NULL);
		assert_int_equal(s[i].rc, 0);
		stored += !s[i].v.duplicate;
	}
	assert_int_equal(stored, 1);
	assert_int_equal(stored_counts(t.s).known, 1);
	assert_int_equal(stored_rows(t.s, T_CHUNK), 1);
	made_fini(&m);
	stored_fini(&t);
}

/* --- a viewer that reads slowly while images come in at full speed --- */

struct viewer {
	struct store *s;
	uint64_t oid;
	_Atomic bool stop;
	unsigned rounds;
	int rc;
};

static void *
view(void *arg)
{
	struct viewer *v = arg;
	struct err e = ERR_INIT;
	struct store_reader *r;
	const void *p;
	size_t n;

	while (!atomic_load(&v->stop) && !v->rc) {
		uint64_t at = 0;

		v->rc = store_read_open(&r, v->s, v->oid, &e);
		if (v->rc)
			break;
		while (!v->rc && at < store_read_version(r)->size) {
			v->rc = store_read_some(r, at, &p, &n, &e);
			at += n < 10000 ? n : 10000; /* a little at a time */
			(void)sched_yield();
		}
		store_read_close(r);
		v->rounds++;
	}
	return NULL;
}

static void
store_put__R12_turnovers_beside_a_slow_viewer_cause_no_refusal(void **state)
{
	enum { KEEP = 40, TURNS = 6 };
	uint64_t oid[KEEP] = {0};
	struct recipe r = {"1.2.3", "1.2.3.0", NULL, NULL, 7, 4 * MIB};
	struct viewer v;
	pthread_t thread;
	struct store_verdict verdict;
	struct store_space space;
	struct err e = ERR_INIT;
	struct stored t;
	struct made m;
	unsigned n;
	char uid[20];

	(void)state;
	stored_init(&t, 64 * MIB);
	made_init(&m, &r);
	assert_int_equal(stored_put(t.s, &m, "a", &verdict, &e), 0);
	made_fini(&m);
	v = (struct viewer){t.s, verdict.oid, false, 0, 0};
	assert_int_equal(pthread_create(&thread, NULL, view, &v), 0);
	r.uid = uid;
	for (n = 0; n < KEEP * TURNS; n++) {
		/* sizes of a site: no two of a row alike */
		r.pixels = n % 4 == 0	? 4 * MIB - n * 100
			   : n % 4 == 1 ? 520000 + n
					: 8000 * (n % 7);
		(void)snprintf(uid, sizeof(uid), "1.2.3.%u", n + 1);
		made_init(&m, &r);
		if (oid[n % KEEP])
			assert_int_equal(stored_drop(t.s, oid[n % KEEP], &e), 0);
		assert_int_equal(stored_put(t.s, &m, "a", &verdict, &e), 0);
		oid[n % KEEP] = verdict.oid;
		made_fini(&m);
	}
	atomic_store(&v.stop, true);
	(void)pthread_join(thread, NULL);
	assert_int_equal(v.rc, 0);
	assert_true(v.rounds > 0);
	stored_settle(t.s);
	store_space(t.s, &space);
	assert_true(space.used < 60 * MIB);
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_commit__R5_a_failing_neighbour_leaves_no_gap_and_no_row),
		cmocka_unit_test(
			store_commit_quick__R5_a_failing_neighbour_leaves_no_gap_and_no_row),
		cmocka_unit_test(
			store_commit_quick__is_seen_by_closures_at_once_by_readers_once_settled),
		cmocka_unit_test(store_put__R4_one_of_many_equal_objects_is_stored),
		cmocka_unit_test(store_put__R12_turnovers_beside_a_slow_viewer_cause_no_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
