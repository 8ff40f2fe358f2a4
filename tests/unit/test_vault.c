/* The vault: an adopted pack is there and whole, whatever failed or died on the way (R14, R15). */
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

#include "central/vault.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/file.h"
#include "tests/lib/folder.h"

#define NOVEMBER INT64_C(1795470912000)

static const unsigned char id[SHA256_SIZE] = {0xab, 1, 2};
static const char bytes[] = "the bytes of a pack";

static int
count_one(void *arg, const char *place, const unsigned char found[SHA256_SIZE], struct err *e)
{
	(void)e;
	assert_memory_equal(found, id, sizeof(id));
	assert_non_null(strstr(place, ".tar"));
	++*(unsigned *)arg;
	return 0;
}

static unsigned
packs_in(struct vault *v)
{
	unsigned n = 0;

	assert_int_equal(vault_list(v, count_one, &n, NULL), 0);
	return n;
}

/* An upload from its first byte to its place; what an error leaves is for the next try. */
static int
deliver(struct vault *v, int64_t wall_ms, char place[VAULT_PLACE_SIZE])
{
	struct upload *u;
	int rc = vault_begin(&u, v, id, NULL);

	if (rc)
		return rc;
	rc = vault_write(u, 0, bytes, sizeof(bytes), NULL);
	if (!rc)
		rc = vault_keep(u, "manifest", 8, NULL);
	if (!rc)
		rc = vault_sync(u, NULL);
	if (!rc)
		rc = vault_adopt(u, sizeof(bytes), wall_ms, NULL, place, NULL);
	vault_end(u);
	return rc;
}

static void
assert_whole(struct vault *v, const char *place)
{
	char got[64];
	size_t n;

	assert_int_equal(vault_read(v, place, 0, got, sizeof(got), &n, NULL), 0);
	assert_int_equal(n, sizeof(bytes));
	assert_memory_equal(got, bytes, n);
}

static void
vault_adopt__gives_the_pack_its_name_and_day(void **state)
{
	char place[VAULT_PLACE_SIZE];
	struct buf manifest = BUF_INIT;
	struct upload *u;
	struct vault *v;

	(void)state;
	assert_int_equal(vault_open(&v, folder, NULL), 0);
	assert_int_equal(packs_in(v), 0);
	assert_int_equal(deliver(v, NOVEMBER, place), 0);
	assert_memory_equal(place, "2026/11/23/ab0102", 17);
	assert_whole(v, place);
	assert_int_equal(packs_in(v), 1);
	assert_int_equal(vault_resume(&u, v, id, &manifest, NULL), ERR_ABSENT);
	buf_fini(&manifest);
	vault_close(v);
}

static void
vault_resume__R14_an_upload_outlives_a_restart(void **state)
{
	char place[VAULT_PLACE_SIZE], got[8];
	struct buf manifest = BUF_INIT;
	struct upload *u, *other;
	struct vault *v;
	size_t n;

	(void)state;
	assert_int_equal(vault_open(&v, folder, NULL), 0);
	assert_int_equal(vault_begin(&u, v, id, NULL), 0);
	assert_int_equal(vault_write(u, 0, bytes, 8, NULL), 0);
	assert_int_equal(vault_resume(&other, v, id, &manifest, NULL), ERR_ABSENT); /* not kept */
	assert_int_equal(vault_keep(u, "manifest", 8, NULL), 0);
	assert_int_equal(vault_sync(u, NULL), 0);
	assert_int_equal(vault_write(u, 8, "not synced, cut off at the end", 30, NULL), 0);
	vault_end(u);
	vault_close(v);
	assert_int_equal(vault_open(&v, folder, NULL), 0);
	assert_int_equal(packs_in(v), 0);
	assert_int_equal(vault_resume(&u, v, id, &manifest, NULL), 0);
	assert_int_equal(manifest.len, 8);
	assert_int_equal(vault_read_back(u, 0, got, 8, &n, NULL), 0);
	assert_memory_equal(got, bytes, 8);
	assert_int_equal(vault_write(u, 8, bytes + 8, sizeof(bytes) - 8, NULL), 0);
	assert_int_equal(vault_adopt(u, sizeof(bytes), NOVEMBER, NULL, place, NULL), 0);
	assert_whole(v, place);
	vault_end(u);
	buf_fini(&manifest);
	vault_close(v);
}

static void
vault_adopt__R15_each_failed_step_leaves_a_whole_pack_or_none(void **state)
{
	char place[VAULT_PLACE_SIZE];
	struct vault *v;
	unsigned n;
	bool done = false;

	(void)state;
	for (n = 1; !done; n++) {
		int rc;

		assert_int_equal(make_folder(NULL), 0);
		assert_int_equal(vault_open(&v, folder, NULL), 0);
		fault_arm(n, FAULT_ERRNO, ENOSPC);
		rc = deliver(v, NOVEMBER, place);
		done = fault_disarm() < n;
		assert_int_equal(rc, done ? 0 : ERR_FULL);
		assert_in_range(packs_in(v), 0, 1);
		assert_int_equal(deliver(v, NOVEMBER, place), 0); /* the next try succeeds */
		assert_int_equal(packs_in(v), 1);
		assert_whole(v, place);
		vault_close(v);
		assert_int_equal(drop_folder(NULL), 0);
	}
	assert_true(n > 12);
	assert_int_equal(make_folder(NULL), 0);
}

static void
vault_adopt__R15_each_death_leaves_a_whole_pack_or_none(void **state)
{
	char place[VAULT_PLACE_SIZE];
	struct vault *v;
	unsigned n;
	bool done = false;

	(void)state;
	for (n = 1; !done; n++) {
		int status;
		pid_t pid;

		assert_int_equal(make_folder(NULL), 0);
		assert_int_equal(vault_open(&v, folder, NULL), 0);
		pid = fork();
		if (pid == 0) {
			fault_arm(n, FAULT_DIE, 0);
			(void)deliver(v, NOVEMBER, place);
			_exit(fault_disarm() < n ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		done = WEXITSTATUS(status) == 0;
		assert_in_range(packs_in(v), 0, 1);
		assert_int_equal(deliver(v, NOVEMBER, place), 0);
		assert_int_equal(packs_in(v), 1);
		assert_whole(v, place);
		vault_close(v);
		assert_int_equal(drop_folder(NULL), 0);
	}
	assert_true(n > 12);
	assert_int_equal(make_folder(NULL), 0);
}

static void
vault_adopt__R28_a_wrong_clock_and_a_death_behind_the_link_change_nothing(void **state)
{
	char place[VAULT_PLACE_SIZE];
	struct upload *u;
	struct vault *v;

	(void)state;
	assert_int_equal(vault_open(&v, folder, NULL), 0);
	assert_int_equal(vault_begin(&u, v, id, NULL), 0);
	assert_int_equal(vault_write(u, 0, bytes, sizeof(bytes), NULL), 0);
	/* the name is there, what comes behind it failed */
	fault_arm_named("file.remove", 1, FAULT_ERRNO, EIO);
	assert_int_equal(vault_adopt(u, sizeof(bytes), -5, NULL, place, NULL), ERR_LOCAL);
	(void)fault_disarm();
	assert_int_equal(packs_in(v), 1);
	assert_int_equal(vault_adopt(u, sizeof(bytes), NOVEMBER, NULL, place, NULL), 0);
	assert_memory_equal(place, "1970/01/01/", 11);
	assert_int_equal(packs_in(v), 1);
	assert_whole(v, place);
	vault_end(u);
	vault_close(v);
}

/* Its bytes and its name, once the day's folders stand: on site disks flushes decide. */
static void
vault_adopt__costs_two_flushes_for_a_pack_that_came_whole(void **state)
{
	static const unsigned char other[SHA256_SIZE] = {0xac, 1, 2};
	char place[VAULT_PLACE_SIZE];
	struct upload *u;
	struct vault *v;
	uint64_t before;

	(void)state;
	assert_int_equal(vault_open(&v, folder, NULL), 0);
	assert_int_equal(deliver(v, NOVEMBER, place), 0);
	assert_int_equal(vault_begin(&u, v, other, NULL), 0);
	before = file_sync_count();
	assert_int_equal(vault_write(u, 0, bytes, sizeof(bytes), NULL), 0);
	assert_int_equal(vault_adopt(u, sizeof(bytes), NOVEMBER, NULL, place, NULL), 0);
	assert_int_equal(file_sync_count() - before, 2);
	vault_end(u);
	vault_close(v);
}

/* Its bytes, and the names of pack, day, month and year: who put it there may have died before. */
static void
vault_secure__R15_a_found_pack_and_its_folders_survive(void **state)
{
	char place[VAULT_PLACE_SIZE];
	struct vault *v;
	uint64_t before;

	(void)state;
	assert_int_equal(vault_open(&v, folder, NULL), 0);
	assert_int_equal(deliver(v, NOVEMBER, place), 0);
	before = file_sync_count();
	assert_int_equal(vault_secure(v, place, NULL), 0);
	assert_int_equal(file_sync_count() - before, 5);
	vault_close(v);
}

static void
vault_drop__leaves_nothing(void **state)
{
	struct buf manifest = BUF_INIT;
	struct upload *u;
	struct vault *v;

	(void)state;
	assert_int_equal(vault_open(&v, folder, NULL), 0);
	assert_int_equal(vault_begin(&u, v, id, NULL), 0);
	vault_end(u);
	assert_int_equal(vault_drop(v, id, NULL), 0);
	assert_int_equal(vault_drop(v, id, NULL), 0);
	assert_int_equal(vault_resume(&u, v, id, &manifest, NULL), ERR_ABSENT);
	buf_fini(&manifest);
	vault_close(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(vault_adopt__gives_the_pack_its_name_and_day,
						make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(
			vault_secure__R15_a_found_pack_and_its_folders_survive, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(vault_resume__R14_an_upload_outlives_a_restart,
						make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(
			vault_adopt__R15_each_failed_step_leaves_a_whole_pack_or_none, NULL,
			drop_folder),
		cmocka_unit_test_setup_teardown(
			vault_adopt__R15_each_death_leaves_a_whole_pack_or_none, NULL, drop_folder),
		cmocka_unit_test_setup_teardown(
			vault_adopt__R28_a_wrong_clock_and_a_death_behind_the_link_change_nothing,
			make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(
			vault_adopt__costs_two_flushes_for_a_pack_that_came_whole, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(vault_drop__leaves_nothing, make_folder,
						drop_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
