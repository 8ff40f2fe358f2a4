/* Central's log (R16): what was synced is there, whole and in order, whatever failed or died. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/clog.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/file.h"
#include "tests/lib/folder.h"

/* Record n holds n % 40 + 1 bytes of value n. */
struct reading {
	uint64_t n;
};

static int
read_one(void *arg, uint64_t number, uint32_t kind, const void *p, size_t n, struct err *e)
{
	struct reading *r = arg;
	size_t i;

	(void)e;
	assert_int_equal(number, ++r->n);
	assert_int_equal(kind, CLOG_DECISION);
	assert_int_equal(n, number % 40 + 1);
	for (i = 0; i < n; i++)
		assert_int_equal(((const unsigned char *)p)[i], number & 255);
	return 0;
}

static int
open_log(struct clog **c, uint64_t *count, struct err *e)
{
	struct reading r = {0};
	int rc = clog_open(c, folder, 500, read_one, &r, e);

	*count = r.n;
	return rc;
}

static int
append(struct clog *c, uint64_t n, struct err *e)
{
	unsigned char bytes[41];

	memset(bytes, (int)(n & 255), sizeof(bytes));
	return clog_append(c, CLOG_DECISION, bytes, n % 40 + 1, e);
}

static void
clog_append__R16_is_replayed_in_order_over_segments(void **state)
{
	struct clog *c;
	uint64_t count, i;
	char path[128];

	(void)state;
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(count, 0);
	for (i = 1; i <= 100; i++)
		assert_int_equal(append(c, i, NULL), 0);
	assert_int_equal(clog_sync(c, NULL), 0);
	assert_int_equal(clog_count(c), 100);
	clog_close(c);
	(void)snprintf(path, sizeof(path), "%s/00000009.log", folder);
	assert_true(file_exists(path));
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(count, 100);
	assert_int_equal(append(c, 101, NULL), 0);
	assert_int_equal(clog_sync(c, NULL), 0);
	clog_close(c);
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(count, 101);
	clog_close(c);
}

static void
clog_open__R16_a_torn_end_is_put_aside_and_damage_before_it_is_an_alarm(void **state)
{
	struct clog *c;
	uint64_t count;
	struct buf b = BUF_INIT;
	char path[128];
	int fd;

	(void)state;
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(append(c, 1, NULL), 0);
	assert_int_equal(append(c, 2, NULL), 0);
	clog_close(c);
	(void)snprintf(path, sizeof(path), "%s/00000001.log", folder);
	fd = file_open_append(path, NULL);
	assert_int_equal(file_write(fd, "SLLR half a record", 18, NULL), 0);
	file_close(fd);
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(append(c, 3, NULL), 0);
	assert_int_equal(clog_sync(c, NULL), 0);
	clog_close(c);
	(void)snprintf(path, sizeof(path), "%s/00000001.log.torn", folder);
	assert_int_equal(file_slurp(path, 100, &b, NULL), 0);
	assert_int_equal(b.len, 18);
	buf_fini(&b);
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(count, 3);
	while (clog_count(c) < 50)
		assert_int_equal(append(c, clog_count(c) + 1, NULL), 0);
	assert_int_equal(clog_sync(c, NULL), 0);
	clog_close(c);
	(void)snprintf(path, sizeof(path), "%s/00000002.log", folder);
	fd = file_open(path, true, NULL);
	assert_int_equal(file_write_at(fd, "x", 1, 70, NULL), 0);
	file_close(fd);
	assert_int_equal(open_log(&c, &count, NULL), ERR_CORRUPT);
}

static void
clog_open__R16_rot_before_the_end_of_the_last_segment_is_an_alarm(void **state)
{
	static const uint64_t places[] = {0, 9, 17, 30,
					  57}; /* magic, length, number, chain, payload */
	struct err e = ERR_INIT;
	struct clog *c;
	uint64_t count, before, after;
	char path[128];
	unsigned char was, rotten;
	size_t i, got;
	int fd;

	(void)state;
	assert_int_equal(open_log(&c, &count, NULL), 0);
	for (i = 1; i <= 4; i++) {
		assert_int_equal(append(c, i, NULL), 0);
		assert_int_equal(clog_sync(c, NULL), 0);
	}
	clog_close(c);
	(void)snprintf(path, sizeof(path), "%s/00000001.log", folder);
	fd = file_open(path, true, NULL);
	assert_int_equal(file_size(fd, &before, NULL), 0);
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		file_close(fd); /* an opened log takes a fresh copy of its last segment */
		fd = file_open(path, true, NULL);
		/* Record 1 has 2 bytes, so record 2 begins at 58. */
		assert_int_equal(file_read_at(fd, &was, 1, 58 + places[i], &got, NULL), 0);
		rotten = was ^ 0x41;
		assert_int_equal(file_write_at(fd, &rotten, 1, 58 + places[i], NULL), 0);
		assert_int_equal(open_log(&c, &count, &e), ERR_CORRUPT);
		assert_non_null(strstr(e.what, "segment 1 breaks at offset 58"));
		assert_int_equal(file_size(fd, &after, NULL), 0);
		assert_int_equal(after, before);
		file_close(fd);
		fd = file_open(path, true, NULL);
		assert_int_equal(file_write_at(fd, &was, 1, 58 + places[i], NULL), 0);
	}
	file_close(fd);
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(count, 4);
	clog_close(c);
}

/* A power cut kept record 4 and lost part of record 3, and neither was ever flushed. */
static void
clog_open__R16_a_hole_in_what_was_never_flushed_is_a_torn_end(void **state)
{
	struct clog *c;
	uint64_t count, i;
	char path[128];
	int fd;

	(void)state;
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(append(c, 1, NULL), 0);
	assert_int_equal(clog_sync(c, NULL), 0);
	for (i = 2; i <= 4; i++)
		assert_int_equal(append(c, i, NULL), 0);
	clog_close(c);
	(void)snprintf(path, sizeof(path), "%s/00000001.log", folder);
	fd = file_open(path, true, NULL);
	assert_int_equal(file_write_at(fd, "\0\0\0\0", 4, 58, NULL), 0);
	file_close(fd);
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(count, 1);
	clog_close(c);
}

/* A full disk in the middle of a record, then a record that no longer fits the segment. */
static void
clog_append__R16_half_a_record_never_stays_in_a_segment(void **state)
{
	struct rlimit was, low;
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
	unsigned char bytes[480] = {0};
	struct clog *c;
	uint64_t count;

	(void)state;
	assert_int_equal(sigaction(SIGXFSZ, &ignore, &old), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(append(c, 1, NULL), 0);
	assert_int_equal(append(c, 2, NULL), 0);
	low = was;
	low.rlim_cur = 150; /* 58 and 59 bytes are there: the third is cut short */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_not_equal(append(c, 3, NULL), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(clog_append(c, CLOG_DECISION, bytes, sizeof(bytes), NULL), 0);
	assert_int_equal(clog_sync(c, NULL), 0);
	clog_close(c);
	assert_int_equal(clog_open(&c, folder, 500, NULL, NULL, NULL), 0);
	assert_int_equal(clog_count(c), 3);
	clog_close(c);
	assert_int_equal(sigaction(SIGXFSZ, &old, NULL), 0);
}

/* Appends and syncs a few records; *acked: how many were answered. */
static void
work(struct clog *c, uint64_t from, uint64_t *acked)
{
	uint64_t i;

	*acked = from;
	for (i = from + 1; i <= from + 12; i++) {
		if (append(c, i, NULL) || clog_sync(c, NULL))
			return;
		*acked = i;
	}
}

static void
clog_sync__R16_each_failed_step_keeps_what_was_answered(void **state)
{
	unsigned n;
	bool done = false;

	(void)state;
	for (n = 1; !done; n++) {
		struct clog *c;
		uint64_t count, before, acked;

		assert_int_equal(open_log(&c, &before, NULL), 0);
		fault_arm(n, FAULT_ERRNO, n % 2 ? EIO : ENOSPC);
		work(c, before, &acked);
		done = fault_disarm() < n;
		clog_close(c);
		assert_int_equal(open_log(&c, &count, NULL), 0);
		assert_in_range(count, acked, acked + 1); /* one may be there unanswered */
		clog_close(c);
	}
	assert_true(n > 20);
}

static void
clog_sync__R16_each_death_keeps_what_was_answered(void **state)
{
	unsigned n;
	bool done = false;

	(void)state;
	for (n = 1; !done; n++) {
		struct clog *c;
		uint64_t count, before, acked = 0;
		int fds[2], status;
		pid_t pid;

		assert_int_equal(open_log(&c, &before, NULL), 0);
		clog_close(c);
		assert_int_equal(pipe(fds), 0);
		pid = fork();
		if (pid == 0) {
			uint64_t i;

			if (clog_open(&c, folder, 500, NULL, NULL, NULL))
				_exit(2);
			fault_arm(n, FAULT_DIE, 0);
			for (i = before + 1; i <= before + 12; i++)
				if (append(c, i, NULL) || clog_sync(c, NULL) ||
				    write(fds[1], &i, sizeof(i)) != sizeof(i))
					_exit(2);
			_exit(fault_disarm() < n ? 0 : 1);
		}
		close(fds[1]);
		while (read(fds[0], &acked, sizeof(acked)) == sizeof(acked))
			;
		close(fds[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		done = WEXITSTATUS(status) == 0;
		assert_true(done || WEXITSTATUS(status) == FAULT_EXIT);
		assert_int_equal(open_log(&c, &count, NULL), 0);
		assert_true(count >= acked);
		clog_close(c);
	}
	assert_true(n > 20);
}

static void
clog_open__R12_R16_needs_no_room_on_a_full_disk(void **state)
{
	static const char *const points[] = {"file.create", "file.write"};
	uint64_t count, before;
	struct clog *c;
	size_t i;

	(void)state;
	assert_int_equal(open_log(&c, &before, NULL), 0);
	assert_int_equal(append(c, before + 1, NULL), 0);
	assert_int_equal(clog_sync(c, NULL), 0);
	clog_close(c);
	for (i = 0; i < 2; i++) {
		fault_arm_named(points[i], 1, FAULT_ERRNO, ENOSPC);
		assert_int_equal(open_log(&c, &count, NULL), 0);
		assert_int_equal(fault_disarm() >= 1, 1);
		assert_int_equal(count, before + 1);
		clog_close(c);
	}
	/* What cannot even be written again is not believed. */
	fault_arm_named("file.write", 1, FAULT_ERRNO_FOR_EVER, ENOSPC);
	assert_int_equal(open_log(&c, &count, NULL), ERR_FULL);
	(void)fault_disarm();
	fault_arm_named("file.write", 1, FAULT_ERRNO, EIO);
	assert_int_equal(open_log(&c, &count, NULL), ERR_LOCAL);
	(void)fault_disarm();
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(count, before + 1);
	clog_close(c);
}

static void
clog_sync__a_failed_flush_is_never_tried_again(void **state)
{
	struct clog *c;
	uint64_t count;

	(void)state;
	assert_int_equal(open_log(&c, &count, NULL), 0);
	assert_int_equal(append(c, count + 1, NULL), 0);
	fault_arm_named("file.sync", 1, FAULT_ERRNO, EIO);
	assert_int_equal(clog_sync(c, NULL), ERR_LOCAL);
	(void)fault_disarm();
	assert_int_equal(clog_sync(c, NULL), ERR_LOCAL);
	assert_int_equal(append(c, count + 2, NULL), ERR_LOCAL);
	clog_close(c);
}

static void *
many(void *arg)
{
	struct clog *c = arg;
	unsigned i;

	for (i = 0; i < 50; i++)
		if (clog_append(c, CLOG_LEDGER, "entry", 5, NULL) || clog_sync(c, NULL))
			abort();
	return NULL;
}

static void
clog_sync__many_callers_share_flushes(void **state)
{
	pthread_t t[8];
	struct clog *c;
	uint64_t before;
	unsigned i;

	(void)state;
	assert_int_equal(clog_open(&c, folder, 0, NULL, NULL, NULL), 0);
	before = file_sync_count();
	for (i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many, c), 0);
	for (i = 0; i < 8; i++)
		(void)pthread_join(t[i], NULL);
	assert_int_equal(clog_count(c), 400);
	assert_true(file_sync_count() - before <= 400);
	clog_close(c);
	assert_int_equal(clog_open(&c, folder, 0, NULL, NULL, NULL), 0);
	assert_int_equal(clog_count(c), 400);
	clog_close(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(clog_append__R16_is_replayed_in_order_over_segments,
						make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(
			clog_open__R16_a_torn_end_is_put_aside_and_damage_before_it_is_an_alarm,
			make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(
			clog_open__R16_a_hole_in_what_was_never_flushed_is_a_torn_end, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(
			clog_open__R16_rot_before_the_end_of_the_last_segment_is_an_alarm,
			make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(
			clog_append__R16_half_a_record_never_stays_in_a_segment, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(
			clog_sync__R16_each_failed_step_keeps_what_was_answered, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(clog_sync__R16_each_death_keeps_what_was_answered,
						make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(clog_open__R12_R16_needs_no_room_on_a_full_disk,
						make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(clog_sync__a_failed_flush_is_never_tried_again,
						make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(clog_sync__many_callers_share_flushes, make_folder,
						drop_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
