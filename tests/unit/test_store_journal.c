/* What lay in the journal alone is there, whatever happens before a start or in it. */
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

#include "common/base/digest.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/dicom/canon.h"
#include "common/os/file.h"
#include "common/store/private.h"
#include "common/store/salvage.h"
#include "tests/lib/stored.h"
#include "tests/lib/sweep.h"

enum { MIB = 1 << 20 };

static const struct recipe recipes[] = {
	{"1.2.3", "1.2.3.4", NULL, "first", 7, 5000},
	{"1.2.3", "1.2.3.5", NULL, "second", 8, 5000},
};
enum { OBJECTS = sizeof(recipes) / sizeof(recipes[0]) };

static struct made made[OBJECTS];

static int
make(void **state)
{
	size_t i;

	(void)state;
	log_set_level(LOG_ERROR);
	for (i = 0; i < OBJECTS; i++)
		made_init(&made[i], &recipes[i]);
	return 0;
}

static int
unmake(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < OBJECTS; i++)
		made_fini(&made[i]);
	return 0;
}

static bool
has(struct store *s, const struct made *m)
{
	struct store_tx *tx;
	struct err e = ERR_INIT;
	uint64_t oid;
	int rc;

	assert_int_equal(store_begin_read(&tx, s, &e), 0);
	rc = store_by_digest(tx, m->info->digest, &oid, &e);
	store_end_read(tx);
	assert_true(rc == 0 || rc == ERR_ABSENT);
	if (!rc)
		assert_int_equal(stored_compare(s, oid, m, &e), 0);
	return rc == 0;
}

static void
reopen(struct stored *t, uint64_t journal)
{
	struct err e = ERR_INIT;

	store_close(t->s);
	t->s = NULL;
	t->journal = journal;
	assert_int_equal(stored_open(t, &e), 0);
}

/* A life that ends after the answer, before LMDB committed anything of it. Closed afterwards. */
static void
die_with(struct stored *t, const struct made *m)
{
	struct err e = ERR_INIT;
	int status;
	pid_t pid;

	store_close(t->s);
	t->s = NULL;
	t->journal = MIB;
	pid = fork();
	if (pid == 0) {
		if (stored_open(t, &e))
			_exit(1);
		fault_arm_named("kv.commit", 1, FAULT_ERRNO_FOR_EVER, EIO);
		_exit(stored_put(t->s, m, "a", NULL, &e) ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
file_at(const struct stored *t, const char *name, char out[100])
{
	(void)snprintf(out, 100, "%s/%s", t->dir, name);
}

static void
store_open__R4_a_journal_that_is_switched_off_is_applied_first(void **state)
{
	struct err e = ERR_INIT;
	struct stored t;
	char path[100];

	(void)state;
	stored_init(&t, 0);
	die_with(&t, &made[0]);
	reopen(&t, 0);
	assert_true(has(t.s, &made[0]));
	file_at(&t, "journal", path);
	assert_true(file_missing(path)); /* what happens now is not overwritten with it later */
	assert_int_equal(stored_put(t.s, &made[1], "a", NULL, &e), 0);
	reopen(&t, MIB);
	assert_true(has(t.s, &made[0]) && has(t.s, &made[1]));
	assert_int_equal(stored_counts(t.s).instances, 2);
	stored_fini(&t);
}

static void
store_open__R4_a_journal_of_another_size_is_applied_first(void **state)
{
	struct stored t;
	char path[100];
	uint64_t size;
	int fd;

	(void)state;
	stored_init(&t, 0);
	die_with(&t, &made[0]);
	reopen(&t, 64 * 1024);
	assert_true(has(t.s, &made[0]));
	file_at(&t, "journal", path);
	fd = file_open(path, false, NULL);
	assert_int_equal(file_size(fd, &size, NULL), 0);
	file_close(fd);
	assert_int_equal(size, 64 * 1024);
	stored_fini(&t);
}

/* Its record comes a second time, as the next one, and the first is hit. */
static void
make_a_hole(const struct stored *t)
{
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	unsigned char *next;
	size_t n, pages;
	char path[100];

	file_at(t, "journal", path);
	assert_int_equal(file_slurp(path, 2 * MIB, &b, &e), 0);
	n = 40 + buf_get_u32(b.data + 28);
	pages = (n + 4095) / 4096 * 4096;
	next = b.data + pages;
	memcpy(next, b.data, pages);
	buf_set_u32(next + 24, 1);
	buf_set_u64(next + 32, 0);
	buf_set_u64(next + 32, xxh64_of(next, n));
	b.data[60] ^= 1;
	assert_int_equal(file_replace(t->dir, "journal", b.data, b.len, &e), 0);
	buf_fini(&b);
}

struct finding {
	bool seen[OBJECTS];
};

static int
found_begin(void *arg, const struct salvaged *o, struct err *e)
{
	struct finding *f = arg;
	int i;

	(void)e;
	for (i = 0; i < OBJECTS; i++)
		if (memcmp(o->digest, made[i].info->digest, SHA256_SIZE) == 0)
			f->seen[i] = true;
	return 0;
}

static int
found_bytes(void *arg, const void *p, size_t n, struct err *e)
{
	(void)arg;
	(void)p;
	(void)n;
	(void)e;
	return 0;
}

static int
found_end(void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	return 0;
}

/* Nothing of what follows the hole is taken for the state of the store, and none of it goes. */
static void
store_open__R13_a_damaged_journal_is_kept_and_said(void **state)
{
	struct finding f = {{false}};
	struct salvage_to to = {
		.begin = found_begin, .bytes = found_bytes, .end = found_end, .arg = &f};
	struct salvage_result result;
	struct err e = ERR_INIT;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	die_with(&t, &made[0]);
	make_a_hole(&t);
	reopen(&t, MIB);
	assert_true(store_journal_damaged(t.s));
	assert_false(has(t.s, &made[0]));
	/* Under another id than the one that is only there. */
	assert_int_equal(stored_put(t.s, &made[1], "a", NULL, &e), 0);
	reopen(&t, MIB);
	assert_true(store_journal_damaged(t.s)); /* until somebody has looked */
	assert_int_equal(stored_counts(t.s).instances, 1);
	store_close(t.s);
	t.s = NULL;
	assert_int_equal(salvage_folder(t.dir, &to, &result, &e), 0);
	assert_true(f.seen[0] && f.seen[1]);
	assert_int_equal(result.objects, 2);
	stored_fini(&t);
}

static void
store_open__the_journal_of_another_store_is_not_applied(void **state)
{
	struct buf b = BUF_INIT;
	struct stored one, other;
	struct err e = ERR_INIT;
	char path[100];

	(void)state;
	stored_init(&one, 0);
	die_with(&one, &made[0]);
	stored_init(&other, 0);
	reopen(&other, MIB);
	store_close(other.s);
	other.s = NULL;
	file_at(&one, "journal", path);
	assert_int_equal(file_slurp(path, 2 * MIB, &b, &e), 0);
	assert_int_equal(file_replace(other.dir, "journal", b.data, b.len, &e), 0);
	buf_fini(&b);
	reopen(&other, MIB);
	assert_false(has(other.s, &made[0]));
	assert_int_equal(stored_put(other.s, &made[1], "a", NULL, &e), 0);
	reopen(&other, MIB);
	assert_int_equal(stored_counts(other.s).known, 1);
	stored_fini(&other);
	stored_fini(&one);
}

static void
store_open__R12_goes_on_where_there_is_no_room_for_a_journal(void **state)
{
	struct err e = ERR_INIT;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	store_close(t.s);
	t.s = NULL;
	t.journal = MIB;
	fault_arm_named("file.write", 1, FAULT_ERRNO_FOR_EVER, ENOSPC);
	assert_int_equal(stored_open(&t, &e), 0);
	assert_true(fault_disarm() > 0);
	assert_int_equal(stored_put(t.s, &made[0], "a", NULL, &e), 0);
	assert_true(has(t.s, &made[0])); /* committed by LMDB itself */
	stored_fini(&t);
}

/* With a hole in front of it: kept, and said. */
static bool
has_it(const struct stored *t, bool hole)
{
	return hole ? store_journal_damaged(t->s) && !has(t->s, &made[0]) : has(t->s, &made[0]);
}

/* Each step of the start fails, or is the last one: the next start has it all. */
static void
recover_at_each_step(enum fault_kind kind, bool hole)
{
	unsigned n, hits = 0;
	int status = 0;

	for (n = 1;; n += hole ? sweep_stride(3) : 1) {
		struct err e = ERR_INIT;
		struct stored t;
		pid_t pid;

		stored_init(&t, 0);
		die_with(&t, &made[0]);
		if (hole)
			make_a_hole(&t);
		pid = fork();
		if (pid == 0) {
			fault_arm(n, kind, EIO);
			if (stored_open(&t, &e) == 0 && !has_it(&t, hole))
				_exit(2);
			_exit(fault_disarm() < n ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 2);
		assert_int_equal(stored_open(&t, &e), 0);
		assert_true(has_it(&t, hole));
		assert_int_equal(stored_counts(t.s).instances, !hole);
		stored_fini(&t);
		hits += WEXITSTATUS(status) != 0;
		if (WEXITSTATUS(status) == 0)
			break;
	}
	assert_true(hits > 5);
}

static void
store_open__R4_a_recovery_that_fails_or_dies_is_done_again(void **state)
{
	(void)state;
	recover_at_each_step(FAULT_ERRNO, false);
	recover_at_each_step(FAULT_DIE, false);
}

static void
store_open__R13_a_damaged_journal_is_kept_whichever_step_is_the_last(void **state)
{
	(void)state;
	recover_at_each_step(FAULT_DIE, true);
}

static void
store_commit_quick__R12_ends_while_the_environment_takes_nothing(void **state)
{
	struct err e = ERR_INIT;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	reopen(&t, MIB);
	fault_arm_named("kv.commit", 1, FAULT_ERRNO_FOR_EVER, ENOSPC);
	assert_int_equal(stored_put(t.s, &made[0], "a", NULL, &e), 0);
	assert_int_equal(store_settle(t.s, &e), ERR_FULL);
	assert_true(store_unsettled(t.s));
	err_clear(&e);
	/* It would be durable, but nobody could see it for as long as this lasts. */
	assert_int_equal(stored_put(t.s, &made[1], "a", NULL, &e), ERR_FULL);
	(void)fault_disarm();
	err_clear(&e);
	assert_int_equal(store_settle(t.s, &e), 0);
	assert_true(has(t.s, &made[0]));
	assert_false(has(t.s, &made[1]));
	assert_int_equal(stored_put(t.s, &made[1], "a", NULL, &e), 0);
	assert_int_equal(store_settle(t.s, &e), 0);
	assert_true(has(t.s, &made[1]));
	stored_fini(&t);
}

/* It waits for one flush and not for LMDB's two; what it holds is there all the same. */
static void
store_commit_quick__R4_an_image_that_comes_alone_is_safe_in_the_journal(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.6", NULL, NULL, 9, 600000};
	struct stored t;
	struct made m;

	(void)state;
	made_init(&m, &r);
	stored_init(&t, 0);
	die_with(&t, &m);
	reopen(&t, MIB);
	assert_true(has(t.s, &m));
	stored_fini(&t);
	made_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_open__R4_a_journal_that_is_switched_off_is_applied_first),
		cmocka_unit_test(store_open__R4_a_journal_of_another_size_is_applied_first),
		cmocka_unit_test(store_open__R13_a_damaged_journal_is_kept_and_said),
		cmocka_unit_test(store_open__the_journal_of_another_store_is_not_applied),
		cmocka_unit_test(store_open__R12_goes_on_where_there_is_no_room_for_a_journal),
		cmocka_unit_test(store_open__R4_a_recovery_that_fails_or_dies_is_done_again),
		cmocka_unit_test(
			store_open__R13_a_damaged_journal_is_kept_whichever_step_is_the_last),
		cmocka_unit_test(
			store_commit_quick__R4_an_image_that_comes_alone_is_safe_in_the_journal),
		cmocka_unit_test(store_commit_quick__R12_ends_while_the_environment_takes_nothing),
	};

	return cmocka_run_group_tests(tests, make, unmake);
}
