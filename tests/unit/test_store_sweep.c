/* Fail, and die, at the n-th durable step of everything that changes the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/dicom/canon.h"
#include "common/store/private.h"
#include "tests/lib/stored.h"
#include "tests/lib/sweep.h"

#define MIB ((size_t)1 << 20)

static const struct recipe small = {"1.2.3", "1.2.3.4", NULL, "first", 7, 5000};
static const struct recipe corrected = {"1.2.3", "1.2.3.4", NULL, "second", 7, 5000};
static const struct recipe large = {"1.2.4", "1.2.4.4", NULL, NULL, 9, 9 * MIB};

static struct made made_small, made_corrected, made_large;

static int
make(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	made_init(&made_small, &small);
	made_init(&made_corrected, &corrected);
	made_init(&made_large, &large);
	return 0;
}

static int
unmake(void **state)
{
	(void)state;
	made_fini(&made_small);
	made_fini(&made_corrected);
	made_fini(&made_large);
	return 0;
}

/* What was acknowledged before it went wrong. */
struct done {
	bool small, corrected, large, dropped;
	uint64_t oid;
};

/* A revision, an object of several groups, a drop. */
static int
work(struct store *s, struct done *d, struct err *e)
{
	struct store_verdict v = {0};
	int rc = stored_put(s, &made_small, "a", &v, e);

	d->small = !rc;
	if (!rc)
		rc = stored_put(s, &made_corrected, "a", NULL, e);
	d->corrected = !rc;
	if (!rc)
		rc = stored_put(s, &made_large, "a", NULL, e);
	d->large = !rc;
	if (!rc)
		rc = stored_drop(s, v.oid, e);
	d->dropped = !rc;
	return rc;
}

static bool
has(struct store *s, const struct made *m)
{
	struct store_tx *tx;
	struct err e = ERR_INIT;
	struct version v = {0};
	uint64_t oid;
	int rc;

	assert_int_equal(store_begin_read(&tx, s, &e), 0);
	rc = store_by_digest(tx, m->info->digest, &oid, &e);
	if (!rc)
		rc = store_version(tx, oid, &v, &e);
	store_end_read(tx);
	assert_true(rc == 0 || rc == ERR_ABSENT);
	if (rc || v.state != VERSION_HERE)
		return false;
	assert_int_equal(stored_compare(s, oid, m, &e), 0); /* nothing half */
	return true;
}

/* Counters say what is there, and no chunk is without an object. */
static void
check_whole(struct store *s)
{
	unsigned n_small = has(s, &made_small), n_corrected = has(s, &made_corrected);
	unsigned n_large = has(s, &made_large);
	struct store_counts c;

	stored_settle(s);
	c = stored_counts(s);
	assert_int_equal(c.instances, n_small + n_corrected + n_large);
	assert_int_equal(c.studies, (n_small || n_corrected) + n_large);
	assert_int_equal(stored_rows(s, T_VERSION), c.known);
	assert_int_equal(stored_rows(s, T_DIGEST), c.known);
	assert_int_equal(stored_rows(s, T_CHUNK), n_small + n_corrected + n_large * 10);
	assert_int_equal(stored_rows(s, T_SPOOLED), 0);
}

static void
check_promise(struct store *s, const struct done *d)
{
	if (d->small && !d->dropped) /* the drop itself may have been done unanswered */
		assert_true(has(s, &made_small) || d->large);
	if (d->corrected)
		assert_true(has(s, &made_corrected));
	if (d->large)
		assert_true(has(s, &made_large));
	if (d->dropped)
		assert_false(has(s, &made_small));
	check_whole(s);
}

/* A store whose journal is made (it is one step of many, and not of these). */
static void
begin(struct stored *t, uint64_t journal)
{
	struct err e = ERR_INIT;

	stored_init(t, 0);
	if (journal) {
		store_close(t->s);
		t->journal = journal;
		assert_int_equal(stored_open(t, &e), 0);
	}
}

static void
error_sweep(int sys, enum err_code code, uint64_t journal)
{
	unsigned n, hits;

	for (n = 1;; n += sweep_stride(2)) {
		struct done d = {0};
		struct err e = ERR_INIT;
		struct stored t;
		int rc;

		begin(&t, journal);
		fault_arm(n, FAULT_ERRNO, sys);
		rc = work(t.s, &d, &e);
		/* A step of the clean-up may be hit too: no caller's error. */
		hits = fault_disarm();
		if (rc)
			assert_int_equal(rc, code);
		store_close(t.s);
		t.s = NULL;
		err_clear(&e);
		assert_int_equal(stored_open(&t, &e), 0);
		check_promise(t.s, &d);
		/* what failed can be done now */
		assert_int_equal(stored_put(t.s, &made_large, "a", NULL, &e), 0);
		assert_true(has(t.s, &made_large));
		stored_fini(&t);
		if (hits < n)
			break;
	}
	assert_true(n > 30);
}

static void
store__each_failed_step_leaves_what_was_acknowledged_and_nothing_half(void **state)
{
	(void)state;
	error_sweep(EIO, ERR_LOCAL, 0);
	error_sweep(EIO, ERR_LOCAL, MIB);
}

static void
store__R12_each_step_may_find_the_disk_full(void **state)
{
	(void)state;
	if (sweep_stride(2) == 1)
		error_sweep(ENOSPC, ERR_FULL, 0);
	error_sweep(ENOSPC, ERR_FULL, MIB);
}

/* The child says through the pipe what was acknowledged to it. */
static void
child(struct stored *t, unsigned n, int to)
{
	struct done d = {0};
	struct err e = ERR_INIT;
	struct store_verdict v = {0};
	int rc = stored_open(t, &e);

	if (rc)
		_exit(1);
	fault_arm(n, FAULT_DIE, 0);
	d.small = !stored_put(t->s, &made_small, "a", &v, &e);
	(void)!write(to, "s", d.small);
	d.corrected = !stored_put(t->s, &made_corrected, "a", NULL, &e);
	(void)!write(to, "c", d.corrected);
	d.large = !stored_put(t->s, &made_large, "a", NULL, &e);
	(void)!write(to, "l", d.large);
	(void)!write(to, "d", !stored_drop(t->s, v.oid, &e));
	store_close(t->s);
	_exit(0);
}

static struct done
said(int from)
{
	struct done d = {0};
	char c;

	while (read(from, &c, 1) == 1) {
		d.small |= c == 's';
		d.corrected |= c == 'c';
		d.large |= c == 'l';
		d.dropped |= c == 'd';
	}
	return d;
}

static void
death_sweep(uint64_t journal)
{
	int status = 0;
	unsigned n;

	for (n = 1; n < 1000; n += sweep_stride(2)) {
		struct stored t;
		struct err e = ERR_INIT;
		struct done d;
		int ends[2];
		pid_t pid;

		begin(&t, journal);
		store_close(t.s); /* no environment is open across a fork */
		t.s = NULL;
		assert_int_equal(pipe(ends), 0);
		pid = fork();
		if (pid == 0)
			child(&t, n, ends[1]);
		(void)close(ends[1]);
		d = said(ends[0]);
		(void)close(ends[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(stored_open(&t, &e), 0);
		check_promise(t.s, &d);
		stored_fini(&t);
		if (WEXITSTATUS(status) == 0)
			break;
		assert_int_equal(WEXITSTATUS(status), FAULT_EXIT);
	}
	assert_true(n > 30 && n < 1000);
}

static void
store__R4_every_acknowledged_object_survives_death_at_each_step(void **state)
{
	(void)state;
	death_sweep(0);
	death_sweep(MIB);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			store__each_failed_step_leaves_what_was_acknowledged_and_nothing_half),
		cmocka_unit_test(store__R12_each_step_may_find_the_disk_full),
		cmocka_unit_test(store__R4_every_acknowledged_object_survives_death_at_each_step),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
