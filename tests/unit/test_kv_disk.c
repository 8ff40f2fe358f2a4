/*
 * A disk that fails, readers that die, folders that are not local (TRAPS 3, 4).
 *
 * LMDB's own calls to the system are caught here: pwrite and statfs of this program are
 * what the library finds first.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "tests/lib/folder.h"

enum { READERS = 4 };

static atomic_bool meta_page_fails;
static long pretended_fs;

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at);
int statfs(const char *path, struct statfs *st);

/* The meta page is written through a descriptor of its own, opened with O_DSYNC. */
ssize_t
pwrite(int fd, const void *buf, size_t n, off_t at)
{
	static ssize_t (*real)(int, const void *, size_t, off_t);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pwrite");
	if (atomic_load(&meta_page_fails) && (fcntl(fd, F_GETFL) & O_DSYNC)) {
		errno = EIO;
		return -1;
	}
	return real(fd, buf, n, at);
}

int
statfs(const char *path, struct statfs *st)
{
	static int (*real)(const char *, struct statfs *);
	int rc;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "statfs");
	rc = real(path, st);
	if (!rc && pretended_fs)
		st->f_type = pretended_fs;
	return rc;
}

static int
try_open(struct kv **out, const char *dir, struct err *e)
{
	static const char *const tables[] = {"one"};
	struct kv_config c = {dir, 64 << 20, tables, 1, READERS, false};

	return kv_open_lmdb(out, &c, e);
}

static struct kv *
open_kv(const char *dir)
{
	struct err e = ERR_INIT;
	struct kv *kv;

	if (try_open(&kv, dir, &e))
		fail_msg("%s", e.what);
	return kv;
}

static int
put(struct kv *kv, const char *value)
{
	struct err e = ERR_INIT;
	struct kv_txn *t;
	int rc = kv_begin(&t, kv, KV_WRITE, &e);

	if (rc)
		return rc;
	rc = kv_put(t, 0, kv_slice("key", 3), kv_slice(value, strlen(value)), &e);
	assert_int_equal(rc, 0);
	return kv_commit(t, &e);
}

/* Exit codes: 9 the commit said yes; 8 the next transaction did; 1 it ended, as it should. */
static void
lose_the_meta_page(const char *dir)
{
	struct kv *kv = open_kv(dir);
	struct kv_txn *t;

	atomic_store(&meta_page_fails, true);
	if (put(kv, "second") != ERR_LOCAL)
		_exit(9);
	atomic_store(&meta_page_fails, false); /* the disk is well again; LMDB is not */
	(void)kv_begin(&t, kv, KV_READ, NULL);
	_exit(8);
}

/* MDB_PANIC: nothing can be read or written until the environment is opened anew. */
static void
kv_begin__after_a_lost_meta_page_it_ends_for_the_supervisor(void **state)
{
	const char *dir = folder;
	struct kv *kv = open_kv(dir);
	struct err e = ERR_INIT;
	struct kv_slice v;
	struct kv_txn *t;
	int status = 0;
	pid_t child;

	(void)state;
	assert_int_equal(put(kv, "first"), 0);
	kv_close(kv); /* no environment is open across a fork */
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		lose_the_meta_page(dir);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	kv = open_kv(dir); /* as the supervisor does */
	assert_int_equal(kv_begin(&t, kv, KV_READ, &e), 0);
	assert_int_equal(kv_get(t, 0, kv_slice("key", 3), &v, &e), 0);
	assert_int_equal(v.n, 5);
	assert_memory_equal(v.p, "first", 5);
	kv_abort(t);
	assert_int_equal(put(kv, "third"), 0);
	kv_close(kv);
}

/* Exit codes: FAULT_EXIT died there, and before its caller was told. */
static void
die_when_kept(const char *dir)
{
	struct kv *kv = open_kv(dir);

	fault_arm_named("kv.kept", 1, FAULT_DIE, 0);
	_exit(put(kv, "kept") ? 9 : 8);
}

static void
kv_commit__is_durable_before_it_is_told(void **state)
{
	const char *dir = folder;
	struct err e = ERR_INIT;
	struct kv_slice v;
	struct kv_txn *t;
	struct kv *kv;
	int status = 0;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		die_when_kept(dir);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), FAULT_EXIT);
	kv = open_kv(dir);
	assert_int_equal(kv_begin(&t, kv, KV_READ, &e), 0);
	assert_int_equal(kv_get(t, 0, kv_slice("key", 3), &v, &e), 0);
	assert_memory_equal(v.p, "kept", 4);
	kv_abort(t);
	/* Nothing fails there: an error that is armed for it is not counted. */
	fault_arm_named("kv.kept", 1, FAULT_ERRNO, EIO);
	assert_int_equal(put(kv, "again"), 0);
	assert_int_equal(fault_disarm(), 0);
	kv_close(kv);
}

static void
put_file(const char *name, size_t zeros)
{
	char path[PATH_MAX];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	assert_non_null(f);
	while (zeros-- > 0)
		assert_int_equal(fputc(0, f), 0);
	assert_int_equal(fclose(f), 0);
}

/* What a power cut left of LMDB's first write has no name yet; a file that has one was whole. */
static void
kv_open__begins_anew_what_has_no_name_and_never_what_has_one(void **state)
{
	static const size_t damaged[] = {0, 4096, 8192, 65536, 1 << 20};
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	struct kv *kv;
	struct stat st;
	size_t i;

	(void)state;
	put_file(".data.mdb.new", 4096);
	kv = open_kv(folder);
	assert_int_equal(put(kv, "first"), 0);
	kv_close(kv);
	(void)snprintf(path, sizeof(path), "%s/.data.mdb.new", folder);
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", folder);
	for (i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		put_file("data.mdb", damaged[i]);
		err_clear(&e);
		assert_int_equal(try_open(&kv, folder, &e), ERR_CORRUPT);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, damaged[i]);
	}
}

/* Exit codes: FAULT_EXIT died; 0 it was opened before step n. */
static void
die_at_step(unsigned n)
{
	struct kv *kv;

	fault_arm(n, FAULT_DIE, 0);
	_exit(try_open(&kv, folder, NULL) ? 9 : 0);
}

static void
kv_open__the_first_one_may_die_at_each_step(void **state)
{
	int status = FAULT_EXIT;
	unsigned n;

	(void)state;
	for (n = 1; status; n++) {
		pid_t child;

		assert_int_equal(drop_folder(NULL), 0);
		assert_int_equal(make_folder(NULL), 0);
		child = fork();
		assert_true(child >= 0);
		if (child == 0)
			die_at_step(n);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		status = WEXITSTATUS(status);
		assert_true(status == 0 || status == FAULT_EXIT);
		kv_close(open_kv(folder));
	}
	assert_true(n > 4); /* its flush, its name, the flush of that */
}

/* Reads, says so, waits for the end of go, and dies without a word. */
static void
read_and_die(const char *dir, int ready, int go)
{
	struct kv *kv = open_kv(dir);
	struct kv_txn *t;
	char c;

	if (kv_begin(&t, kv, KV_READ, NULL))
		_exit(9);
	(void)!write(ready, "r", 1);
	(void)!read(go, &c, 1);
	_exit(0);
}

static void
kv_check_readers__gives_back_the_slots_of_the_dead(void **state)
{
	const char *dir = folder;
	struct err e = ERR_INIT;
	int ready[2], go[2], i, status = 0;
	struct kv_txn *t;
	struct kv *kv;
	char c;

	(void)state;
	kv_close(open_kv(dir)); /* the file is there before four open it at once */
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	for (i = 0; i < READERS; i++)
		if (fork() == 0) {
			(void)close(go[1]);
			read_and_die(dir, ready[1], go[0]);
		}
	for (i = 0; i < READERS; i++)
		assert_int_equal(read(ready[0], &c, 1), 1);
	kv = open_kv(dir);
	assert_int_equal(kv_begin(&t, kv, KV_READ, &e), ERR_AGAIN); /* all slots are taken */
	err_clear(&e);
	(void)close(go[1]);
	for (i = 0; i < READERS; i++)
		assert_true(wait(&status) > 0 && status == 0);
	assert_int_equal(kv_begin(&t, kv, KV_READ, &e), ERR_AGAIN); /* by the dead */
	err_clear(&e);
	assert_int_equal(kv_check_readers(kv, &e), 0);
	assert_int_equal(kv_begin(&t, kv, KV_READ, &e), 0);
	kv_abort(t);
	kv_close(kv);
	for (i = 0; i < 2; i++)
		(void)close(ready[i]);
	(void)close(go[0]);
}

static void
store_open__refuses_network_file_systems(void **state)
{
	static const long types[] = {0x6969 /* NFS */, 0xfe534d42L /* SMB2 */};
	struct store_config c;
	struct err e = ERR_INIT;
	struct store *s;
	size_t i;

	(void)state;
	memset(&c, 0, sizeof(c));
	c.dir = folder;
	c.quota = 64 << 20;
	c.clock = clock_real();
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		pretended_fs = types[i];
		err_clear(&e);
		assert_int_equal(store_open(&s, &c, &e), ERR_LOCAL);
		assert_non_null(strstr(e.what, "network file system"));
	}
	pretended_fs = 0;
	err_clear(&e);
	assert_int_equal(store_open(&s, &c, &e), 0);
	store_close(s);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
	const struct CMUnitTest tests[] = {
		TEST(kv_begin__after_a_lost_meta_page_it_ends_for_the_supervisor),
		TEST(kv_commit__is_durable_before_it_is_told),
		TEST(kv_open__begins_anew_what_has_no_name_and_never_what_has_one),
		TEST(kv_open__the_first_one_may_die_at_each_step),
		TEST(kv_check_readers__gives_back_the_slots_of_the_dead),
		TEST(store_open__refuses_network_file_systems),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
