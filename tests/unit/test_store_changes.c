/*
 * Fail, and die, at each durable step of what changes a store without taking in: an announcement,
 * bytes that come later, a pin, a view, a receipt, hiding and choosing, an object given up.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/dicom/canon.h"
#include "common/store/index.h"
#include "common/store/private.h"
#include "tests/lib/stored.h"

#define MIB ((size_t)1 << 20)
#define UNTIL INT64_C(1800000000000)

static const struct recipe kept = {"1.2.3", "1.2.3.4", NULL, "first", 7, 3000};
static const struct recipe other = {"1.2.3", "1.2.3.4", NULL, NULL, 9, 3000};
static const struct recipe later = {"1.2.4", "1.2.4.4", NULL, NULL, 8, 3 * MIB};

static struct made made_kept, made_other, made_later;

/* The steps in their order; how many were acknowledged. */
enum step { KEPT, OTHER, ANNOUNCED, BYTES, PINNED, RECEIPTED, CHOSEN, HIDDEN, STEPS };

struct doing {
	struct store_verdict verdict;
	struct store_spool *spool;
	uint64_t kept, other, later;
};

static int
announce(struct store_tx *tx, void *arg, struct err *e)
{
	struct doing *d = arg;
	struct index_sets sets = {.study = attrs_of(&made_later.info->study_attrs),
				  .series = attrs_of(&made_later.info->series_attrs),
				  .instance = attrs_of(&made_later.info->instance_attrs)};
	struct version v;

	version_of_object(&v, made_later.info);
	v.state = VERSION_ELSEWHERE;
	v.origin = VERSION_REFILLED;
	v.first_ms = store_time(store_tx_store(tx)) - 1000;
	return store_announce(tx, &v, &sets, &d->verdict, e);
}

static int
bring(struct store_tx *tx, void *arg, struct err *e)
{
	struct doing *d = arg;

	return store_set_spool(tx, d->later, d->spool, NULL, e);
}

static int
pin(struct store_tx *tx, void *arg, struct err *e)
{
	(void)arg;
	return store_pin(tx, "1.2.3", UNTIL, e);
}

static int
receipt(struct store_tx *tx, void *arg, struct err *e)
{
	struct id128 epoch = {{1}};

	return store_set_receipt(tx, ((struct doing *)arg)->kept, &epoch, e);
}

static int
choose(struct store_tx *tx, void *arg, struct err *e)
{
	struct doing *d = arg;
	struct index_sets sets = {.study = attrs_of(&made_other.info->study_attrs),
				  .series = attrs_of(&made_other.info->series_attrs),
				  .instance = attrs_of(&made_other.info->instance_attrs)};

	return store_set_current(tx, d->other, &sets, &d->verdict, e);
}

static int
hide(struct store_tx *tx, void *arg, struct err *e)
{
	return store_set_hidden(tx, ((struct doing *)arg)->other, VERSION_WITHDRAWN, e);
}

/* An object that is given up, and one whose bytes come after it was announced. */
static int
bring_bytes(struct store *s, struct doing *d, struct err *e)
{
	int rc = store_spool_open(&d->spool, s, e);

	if (!rc)
		rc = store_spool_add(d->spool, made_later.bytes.data, made_later.bytes.len, e);
	store_spool_close(d->spool);
	d->spool = NULL;
	if (!rc)
		rc = store_spool_open(&d->spool, s, e);
	if (!rc)
		rc = store_spool_add(d->spool, made_later.bytes.data, made_later.bytes.len, e);
	if (!rc)
		rc = store_commit_bytes(s, bring, d, made_later.bytes.len, e);
	store_spool_close(d->spool);
	return rc;
}

static int
one(struct store *s, struct doing *d, enum step step, struct err *e)
{
	int rc = 0;

	switch (step) {
	case KEPT:
		rc = stored_put(s, &made_kept, "a", &d->verdict, e);
		d->kept = d->verdict.oid;
		store_viewed(s, "1.2.3");
		return rc;
	case OTHER:
		rc = stored_put(s, &made_other, "b", &d->verdict, e);
		d->other = d->verdict.oid;
		return rc;
	case ANNOUNCED:
		rc = store_commit(s, announce, d, e);
		d->later = d->verdict.oid;
		return rc;
	case BYTES:
		return bring_bytes(s, d, e);
	case PINNED:
		return store_commit(s, pin, d, e);
	case RECEIPTED:
		return store_commit(s, receipt, d, e);
	case CHOSEN:
		return store_commit(s, choose, d, e);
	case HIDDEN:
		return store_commit(s, hide, d, e);
	case STEPS:
		break;
	}
	return rc;
}

/* Until one fails; what was acknowledged is written to `to`, if there is one. */
static unsigned
work(struct store *s, int to, struct err *e)
{
	struct doing d;
	unsigned n;

	memset(&d, 0, sizeof(d));
	for (n = 0; n < STEPS; n++) {
		if (one(s, &d, (enum step)n, e))
			break;
		if (to >= 0)
			(void)!write(to, "s", 1);
	}
	return n;
}

static bool
find(struct store_tx *tx, const struct made *m, struct version *v)
{
	uint64_t oid;
	int rc = store_by_digest(tx, m->info->digest, &oid, NULL);

	memset(v, 0, sizeof(*v));
	if (!rc)
		rc = store_version(tx, oid, v, NULL);
	assert_true(rc == 0 || rc == ERR_ABSENT);
	return rc == 0;
}

/* Steps 0 to done - 1 hold; the one behind may hold, unanswered; nothing is half. */
static void
check(struct store *s, unsigned done)
{
	struct version k, o, l;
	struct store_counts c;
	struct store_tx *tx;
	unsigned here;

	stored_settle(s);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_true(find(tx, &made_kept, &k) || done <= KEPT);
	assert_true(find(tx, &made_other, &o) || done <= OTHER);
	assert_true(find(tx, &made_later, &l) || done <= ANNOUNCED);
	assert_true(l.state == VERSION_HERE || done <= BYTES);
	assert_true(store_pinned(tx, "1.2.3") || done <= PINNED);
	assert_true(k.receipt.b[0] == 1 || done <= RECEIPTED);
	assert_true(o.current || done <= CHOSEN);
	assert_true(o.hidden || done <= HIDDEN);
	assert_int_equal(k.current + o.current, k.oid > 0); /* one of a UID, always */
	assert_int_equal(store_counts(tx, &c, NULL), 0);
	store_end_read(tx);
	here = 0u + (k.oid > 0) + (o.oid > 0) + (l.state == VERSION_HERE);
	assert_int_equal(c.known, (k.oid > 0) + (o.oid > 0) + (l.oid > 0));
	assert_int_equal(c.instances, here);
	/* A UID that is shown has one row. */
	assert_int_equal(stored_rows(s, store_table(s, "instance")),
			 (k.oid && !o.hidden) + (l.oid > 0));
	assert_int_equal(stored_rows(s, T_SPOOLED), 0);
	assert_int_equal(stored_rows(s, T_CHUNK),
			 (k.oid > 0) + (o.oid > 0) + (l.state == VERSION_HERE ? 4 : 0));
}

static void
store__each_failed_step_of_a_change_leaves_what_was_acknowledged(void **state)
{
	unsigned n, hits, done;

	(void)state;
	for (n = 1;; n += 3) {
		struct err e = ERR_INIT;
		struct stored t;

		stored_init(&t, 0);
		t.buffers = 1; /* spooled objects are written early */
		store_close(t.s);
		assert_int_equal(stored_open(&t, &e), 0);
		fault_arm(n, FAULT_ERRNO, n % 2 ? EIO : ENOSPC);
		done = work(t.s, -1, &e);
		hits = fault_disarm();
		store_close(t.s);
		err_clear(&e);
		assert_int_equal(stored_open(&t, &e), 0);
		check(t.s, done);
		stored_fini(&t);
		if (hits < n) {
			assert_int_equal(done, STEPS);
			break;
		}
	}
	assert_true(n > 60);
}

static unsigned
live_and_die(struct stored *t, unsigned n, int *status)
{
	unsigned done = 0;
	int ends[2];
	pid_t child;
	char c;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct err e = ERR_INIT;

		if (stored_open(t, &e))
			_exit(1);
		fault_arm(n, FAULT_DIE, 0);
		if (work(t->s, ends[1], &e) < STEPS)
			_exit(2);
		store_close(t->s); /* the view is written here at the latest */
		_exit(0);
	}
	(void)close(ends[1]);
	while (read(ends[0], &c, 1) == 1)
		done++;
	(void)close(ends[0]);
	assert_int_equal(waitpid(child, status, 0), child);
	assert_true(WIFEXITED(*status));
	*status = WEXITSTATUS(*status);
	return done;
}

static void
store__a_death_at_each_step_of_a_change_leaves_what_was_acknowledged(void **state)
{
	int status = FAULT_EXIT;
	unsigned n, done;

	(void)state;
	for (n = 1; status; n += 3) {
		struct err e = ERR_INIT;
		struct stored t;

		stored_init(&t, 0);
		store_close(t.s); /* no environment is open across a fork */
		t.s = NULL;
		t.buffers = 1;
		done = live_and_die(&t, n, &status);
		assert_true(status == 0 || status == FAULT_EXIT);
		assert_int_equal(stored_open(&t, &e), 0);
		check(t.s, done);
		stored_fini(&t);
	}
	assert_true(n > 60);
}

static int
make(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	made_init(&made_kept, &kept);
	made_init(&made_other, &other);
	made_init(&made_later, &later);
	return 0;
}

static int
unmake(void **state)
{
	(void)state;
	made_fini(&made_kept);
	made_fini(&made_other);
	made_fini(&made_later);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store__each_failed_step_of_a_change_leaves_what_was_acknowledged),
		cmocka_unit_test(
			store__a_death_at_each_step_of_a_change_leaves_what_was_acknowledged),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
