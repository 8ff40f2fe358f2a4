/* Whole objects out of a damaged data file (R13). */
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

#include "common/dicom/canon.h"
#include "common/os/file.h"
#include "common/store/private.h"
#include "common/store/salvage.h"
#include "tests/lib/stored.h"

#define MIB ((size_t)1 << 20)
enum { OBJECTS = 4 };

static const struct recipe recipes[OBJECTS] = {{"1.2.3", "1.2.3.1", NULL, NULL, 1, 100},
					       {"1.2.3", "1.2.3.2", NULL, NULL, 2, 5000},
					       {"1.2.3", "1.2.3.3", NULL, NULL, 3, 3 * MIB},
					       {"1.2.4", "1.2.4.1", NULL, NULL, 4, 10 * MIB}};

struct got {
	struct made made[OBJECTS];
	bool seen[OBJECTS];
	int now;
	size_t at;
};

static int
begin(void *arg, const struct salvaged *o, struct err *e)
{
	struct got *g = arg;
	int i;

	for (i = 0; i < OBJECTS; i++)
		if (memcmp(o->digest, g->made[i].info->digest, SHA256_SIZE) == 0)
			break;
	if (i == OBJECTS || g->seen[i])
		return err_set(e, ERR_CORRUPT, 0, "not one of ours, or twice");
	assert_string_equal(o->uid, recipes[i].uid);
	assert_int_equal(o->size, g->made[i].bytes.len);
	g->now = i;
	g->at = 0;
	return 0;
}

static int
bytes(void *arg, const void *p, size_t n, struct err *e)
{
	struct got *g = arg;

	(void)e;
	assert_true(g->at + n <= g->made[g->now].bytes.len);
	assert_memory_equal(p, g->made[g->now].bytes.data + g->at, n);
	g->at += n;
	return 0;
}

static int
end(void *arg, struct err *e)
{
	struct got *g = arg;

	(void)e;
	assert_int_equal(g->at, g->made[g->now].bytes.len);
	g->seen[g->now] = true;
	return 0;
}

/* A page inside the pixels of the given object, wherever it lies in the file. */
static uint64_t
page_of_pixels(int fd, unsigned char pixel)
{
	unsigned char page[4096], want[64];
	uint64_t at = 0;
	size_t got = sizeof(page);
	struct err e = ERR_INIT;

	memset(want, pixel, sizeof(want));
	for (; got == sizeof(page); at += sizeof(page)) {
		assert_int_equal(file_read_at(fd, page, sizeof(page), at, &got, &e), 0);
		if (got == sizeof(page) && memcmp(page + 2000, want, sizeof(want)) == 0)
			break;
	}
	assert_int_equal(got, sizeof(page));
	return at;
}

static void
salvage_folder__R13_gives_whole_objects_only_without_a_tree(void **state)
{
	static const unsigned char zero[2 * 4096], bad;
	struct salvage_to to = {.begin = begin, .bytes = bytes, .end = end};
	struct salvage_result result;
	struct err e = ERR_INIT;
	struct stored t;
	struct got g;
	char path[100];
	int i, fd;

	(void)state;
	memset(&g, 0, sizeof(g));
	to.arg = &g;
	stored_init(&t, 0);
	for (i = 0; i < OBJECTS; i++) {
		made_init(&g.made[i], &recipes[i]);
		assert_int_equal(stored_put(t.s, &g.made[i], "a", NULL, &e), 0);
	}
	store_close(t.s);
	t.s = NULL;
	(void)snprintf(path, sizeof(path), "%s/data.mdb", t.dir);
	fd = file_open(path, true, &e);
	assert_true(fd >= 0);
	assert_int_equal(file_write_at(fd, zero, sizeof(zero), 0, &e), 0); /* both meta pages */
	assert_int_equal(file_write_at(fd, &bad, 1, page_of_pixels(fd, 3) + 2000, &e), 0);
	file_close(fd);
	assert_int_not_equal(stored_open(&t, &e), 0); /* LMDB refuses */
	err_clear(&e);
	i = salvage_folder(t.dir, &to, &result, &e);
	if (i)
		print_error("%s\n", e.what);
	assert_int_equal(i, 0);
	assert_int_equal(result.objects, 3);
	assert_int_equal(result.torn, 1);
	assert_true(g.seen[0] && g.seen[1] && !g.seen[2] && g.seen[3]);
	for (i = 0; i < OBJECTS; i++)
		made_fini(&g.made[i]);
	stored_fini(&t);
}

static uint64_t bad_at; /* a page that the disk does not give */

static int
read_but_one(int fd, void *p, size_t n, uint64_t offset, size_t *got, struct err *e)
{
	if (offset < bad_at + 4096 && offset + n > bad_at)
		return err_set(e, ERR_LOCAL, EIO, "a sector that cannot be read");
	return file_read_at(fd, p, n, offset, got, e);
}

static void
salvage_folder__R13_passes_over_what_the_disk_does_not_give(void **state)
{
	struct salvage_to to = {.begin = begin, .bytes = bytes, .end = end, .read = read_but_one};
	struct salvage_result result;
	struct err e = ERR_INIT;
	struct stored t;
	struct got g;
	char path[100];
	int i, fd;

	(void)state;
	memset(&g, 0, sizeof(g));
	to.arg = &g;
	stored_init(&t, 0);
	for (i = 0; i < OBJECTS; i++) {
		made_init(&g.made[i], &recipes[i]);
		assert_int_equal(stored_put(t.s, &g.made[i], "a", NULL, &e), 0);
	}
	store_close(t.s);
	t.s = NULL;
	(void)snprintf(path, sizeof(path), "%s/data.mdb", t.dir);
	fd = file_open(path, false, &e);
	bad_at = page_of_pixels(fd, 3);
	file_close(fd);
	assert_int_equal(salvage_folder(t.dir, &to, &result, &e), 0);
	assert_int_equal(result.objects, 3);
	assert_int_equal(result.torn, 1);
	assert_int_equal(result.unread, 1);
	assert_true(g.seen[0] && g.seen[1] && !g.seen[2] && g.seen[3]);
	for (i = 0; i < OBJECTS; i++)
		made_fini(&g.made[i]);
	stored_fini(&t);
}

static int failing; /* so many reads of single values fail */

/* Windows are whole MiB at page boundaries; a value begins behind its page's head. */
static int
read_values_badly(int fd, void *p, size_t n, uint64_t offset, size_t *got, struct err *e)
{
	if (offset % 4096 != 0 && failing > 0) {
		failing--;
		return err_set(e, ERR_LOCAL, EIO, "the disk did not answer");
	}
	return file_read_at(fd, p, n, offset, got, e);
}

static void
salvage_with(int fail, struct salvage_result *result)
{
	struct salvage_to to = {
		.begin = begin, .bytes = bytes, .end = end, .read = read_values_badly};
	struct stored t;
	struct got g;
	int i;

	memset(&g, 0, sizeof(g));
	to.arg = &g;
	stored_init(&t, 0);
	for (i = 0; i < OBJECTS; i++) {
		made_init(&g.made[i], &recipes[i]);
		assert_int_equal(stored_put(t.s, &g.made[i], "a", NULL, NULL), 0);
	}
	store_close(t.s);
	t.s = NULL;
	failing = fail;
	assert_int_equal(salvage_folder(t.dir, &to, result, NULL), 0);
	for (i = 0; i < OBJECTS; i++)
		made_fini(&g.made[i]);
	stored_fini(&t);
}

static void
salvage_folder__R13_a_read_that_fails_once_costs_nothing_else_it_is_said(void **state)
{
	struct salvage_result result;

	(void)state;
	salvage_with(1, &result);
	assert_int_equal(result.objects, OBJECTS);
	assert_int_equal(result.unread, 0);
	salvage_with(1000, &result);
	assert_int_equal(result.objects, 0);
	assert_true(result.unread >= OBJECTS); /* else the store would go as if it had been empty */
}

/* The last images before a death: the journal alone holds them, and the environment is lost too. */
static void
salvage_folder__R13_gives_what_lies_in_the_journal_alone(void **state)
{
	static const unsigned char zero[2 * 4096];
	struct salvage_to to = {.begin = begin, .bytes = bytes, .end = end};
	struct salvage_result result;
	struct err e = ERR_INIT;
	struct stored t;
	struct got g;
	char path[100];
	int i, fd, status;
	pid_t pid;

	(void)state;
	memset(&g, 0, sizeof(g));
	to.arg = &g;
	for (i = 0; i < OBJECTS; i++)
		made_init(&g.made[i], &recipes[i]);
	stored_init(&t, 0);
	store_close(t.s);
	t.s = NULL;
	t.journal = MIB;
	pid = fork();
	if (pid == 0) {
		if (stored_open(&t, &e) || stored_put(t.s, &g.made[0], "a", NULL, &e) ||
		    stored_put(t.s, &g.made[1], "a", NULL, &e))
			_exit(1);
		_exit(0); /* as kill -9: nothing is closed */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", t.dir);
	fd = file_open(path, true, &e);
	assert_true(fd >= 0);
	assert_int_equal(file_write_at(fd, zero, sizeof(zero), 0, &e), 0);
	file_close(fd);
	assert_int_equal(salvage_folder(t.dir, &to, &result, &e), 0);
	assert_int_equal(result.objects, 2);
	assert_int_equal(result.torn, 0);
	assert_true(g.seen[0] && g.seen[1]);
	for (i = 0; i < OBJECTS; i++)
		made_fini(&g.made[i]);
	stored_fini(&t);
}

/* Where in what the only chunk says behind its payload. */
static size_t turned;

static int
turn_tail(struct store_tx *tx, void *arg, struct err *e)
{
	unsigned char key[12], copy[8192];
	struct kv_slice v;
	int rc;

	buf_set_be64(key, *(uint64_t *)arg);
	buf_set_be32(key + 8, 0);
	rc = kv_get(tx->txn, T_CHUNK, kv_slice(key, 12), &v, e);
	if (rc)
		return rc;
	assert_true(v.n <= sizeof(copy));
	memcpy(copy, v.p, v.n);
	copy[CHUNK_HEAD + buf_get_u32(copy + 20) + turned] ^= 0xff;
	return kv_put(tx->txn, T_CHUNK, kv_slice(key, 12), kv_slice(copy, v.n), e);
}

/* A salvage could not give it: it is found while there are other copies. */
static void
store_check__R13_a_chunk_that_says_no_more_whose_it_is_is_damaged(void **state)
{
	/* digest, size, the UID's length (longer than any), the UID */
	static const size_t places[] = {0, SHA256_SIZE - 1, SHA256_SIZE, SHA256_SIZE + 16,
					SHA256_SIZE + 17};
	struct version v;
	struct stored t;
	size_t i;

	(void)state;
	stored_init(&t, 0);
	v = stored_version(t.s, stored_keep(t.s, &recipes[1], "a").oid);
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		v = stored_version(t.s, v.oid);
		assert_int_equal(store_check(t.s, v.oid, NULL), 0);
		turned = places[i];
		assert_int_equal(store_commit(t.s, turn_tail, &v.bytes, NULL), 0);
		assert_int_equal(store_check(t.s, v.oid, NULL), ERR_CORRUPT);
		assert_true(stored_keep(t.s, &recipes[1], "a").repaired);
	}
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(salvage_folder__R13_gives_whole_objects_only_without_a_tree),
		cmocka_unit_test(store_check__R13_a_chunk_that_says_no_more_whose_it_is_is_damaged),
		cmocka_unit_test(salvage_folder__R13_passes_over_what_the_disk_does_not_give),
		cmocka_unit_test(salvage_folder__R13_gives_what_lies_in_the_journal_alone),
		cmocka_unit_test(
			salvage_folder__R13_a_read_that_fails_once_costs_nothing_else_it_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
