/* Recoding by worker processes: what a worker does or does not do fails its object alone. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/dimse/recode.h"
#include "common/os/file.h"
#include "tests/lib/stored.h"

#define IMPLICIT "1.2.840.10008.1.2"

enum { SECONDS = 20, SOON = 2 };

struct kit {
	struct stored stored;
	struct made made;
	struct store_reader *reader;
	struct recode *recode;
	char worker[256];
	unsigned seconds;
};

static int
kit_start(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.1", NULL, "c", 1, 1000};
	struct kit *t = calloc(1, sizeof(*t));
	struct store_verdict verdict;

	assert_non_null(t);
	t->seconds = SECONDS;
	stored_init(&t->stored, 0);
	made_init(&t->made, &r);
	assert_int_equal(stored_put(t->stored.s, &t->made, "10.0.0.1", &verdict, NULL), 0);
	assert_int_equal(store_read_open(&t->reader, t->stored.s, verdict.oid, NULL), 0);
	*state = t;
	return 0;
}

static int
kit_end(void **state)
{
	struct kit *t = *state;

	recode_free(t->recode);
	store_read_close(t->reader);
	made_fini(&t->made);
	stored_fini(&t->stored);
	free(t);
	return 0;
}

static void
start_with(struct kit *t, uint64_t memory)
{
	struct recode_config c = {t->worker,  t->stored.dir, 1,
				  t->seconds, memory,	     UINT64_C(1) << 30};

	recode_free(t->recode);
	assert_int_equal(recode_new(&t->recode, &c, NULL), 0);
}

/* The product's own: build/tests/unit/x -> build/salamander-worker. */
static void
real_worker(struct kit *t)
{
	char self[200];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	(void)snprintf(t->worker, sizeof(t->worker), "%s/../../salamander-worker", self);
}

static void
scripted(struct kit *t, const char *script)
{
	assert_int_equal(file_replace(t->stored.dir, "worker", script, strlen(script), NULL), 0);
	(void)snprintf(t->worker, sizeof(t->worker), "%s/worker", t->stored.dir);
	assert_int_equal(chmod(t->worker, 0700), 0);
}

static int
run(struct kit *t, struct err *e)
{
	uint64_t size = 0;
	int fd = -1;
	int rc = recode_run(t->recode, t->reader, IMPLICIT, NULL, NULL, &fd, &size, e);

	if (rc)
		assert_int_equal(fd, -1);
	else
		file_close(fd);
	if (!rc)
		assert_true(size > 1000);
	return rc;
}

static void
recode__one_worker_does_one_job_after_the_other(void **state)
{
	struct kit *t = *state;
	unsigned i;

	real_worker(t);
	start_with(t, UINT64_C(2) << 30);
	for (i = 0; i < 5; i++)
		assert_int_equal(run(t, NULL), 0);
}

static void
recode__a_worker_that_dies_or_is_not_there_fails_its_job_alone(void **state)
{
	static const char *const scripts[] = {"#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -SEGV $$\n",
					      "#!/bin/sh\nexec head -c 1 >/dev/null\n"};
	struct kit *t = *state;
	struct err e;
	size_t i;

	for (i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		scripted(t, scripts[i]);
		start_with(t, UINT64_C(2) << 30);
		e = (struct err)ERR_INIT;
		assert_int_equal(run(t, &e), ERR_PEER);
	}
	(void)snprintf(t->worker, sizeof(t->worker), "%s/nobody", t->stored.dir);
	start_with(t, UINT64_C(2) << 30);
	assert_int_not_equal(run(t, NULL), 0);
	assert_int_not_equal(run(t, NULL), 0); /* its place is free again */
	real_worker(t);
	start_with(t, UINT64_C(2) << 30);
	assert_int_equal(run(t, NULL), 0);
}

/* Sockets that DCMTK makes do not close on exec: an association that a worker had too would never
 * end for its peer. */
/* `first`: the first of its jobs that fails so. */
static void
runs_short_of_memory(struct kit *t, unsigned first)
{
	char script[600];

	(void)snprintf(script, sizeof(script),
		       "#!/usr/bin/python3\n"
		       "import os, socket, struct\n"
		       "s, n = socket.socket(fileno=0), 0\n"
		       "while True:\n"
		       "    job, files, _, _ = socket.recv_fds(s, 100, 2)\n"
		       "    if not job:\n"
		       "        break\n"
		       "    n += 1\n"
		       "    os.write(files[1], b'x' * 2000)\n"
		       "    s.send(struct.pack('=ii96s', n >= %u, n >= %u, b'no memory'))\n"
		       "    [os.close(f) for f in files]\n",
		       first, first);
	scripted(t, script);
	start_with(t, UINT64_C(2) << 30);
}

static void
recode__a_used_worker_without_memory_is_no_failure_of_the_object(void **state)
{
	struct kit *t = *state;
	struct err e = ERR_INIT;
	unsigned i;

	runs_short_of_memory(t, 2);
	for (i = 0; i < 3; i++)
		assert_int_equal(run(t, NULL), 0);
	runs_short_of_memory(t, 1); /* a fresh one has not enough */
	assert_int_equal(run(t, &e), ERR_PEER);
	assert_string_equal(e.what, "no memory");
}

static void
recode__a_worker_has_no_descriptor_of_the_node(void **state)
{
	struct kit *t = *state;
	char script[600];
	int fd = dup(STDIN_FILENO);

	assert_true(fd >= 0);
	real_worker(t);
	(void)snprintf(script, sizeof(script),
		       "#!/bin/sh\ntest -e /proc/$$/fd/%d && exit 1\nexec %s \"$@\"\n", fd,
		       t->worker);
	scripted(t, script);
	start_with(t, UINT64_C(2) << 30);
	assert_int_equal(run(t, NULL), 0);
	(void)close(fd);
}

static void
recode__a_worker_that_hangs_is_ended_by_its_deadline(void **state)
{
	struct kit *t = *state;
	struct err e = ERR_INIT;

	scripted(t, "#!/bin/sh\nexec sleep 1000\n");
	t->seconds = SOON;
	start_with(t, UINT64_C(2) << 30);
	assert_int_equal(run(t, &e), ERR_PEER);
	assert_string_equal(e.what, "the worker took too long");
}

static int
nobody_waits(void *arg, struct err *e)
{
	++*(unsigned *)arg;
	return err_set(e, ERR_ABSENT, 0, "nobody waits any more");
}

static void
recode__ends_when_nobody_waits_for_it(void **state)
{
	struct kit *t = *state;
	unsigned asked = 0;
	uint64_t size;
	int fd;

	scripted(t, "#!/bin/sh\nexec sleep 1000\n");
	start_with(t, UINT64_C(2) << 30);
	assert_int_equal(
		recode_run(t->recode, t->reader, IMPLICIT, nobody_waits, &asked, &fd, &size, NULL),
		ERR_ABSENT);
	assert_int_equal(asked, 1);
}

static void
recode__R35_nothing_is_left_in_the_folder(void **state)
{
	struct kit *t = *state;
	char before[64], after[64];
	struct stat st;

	real_worker(t);
	start_with(t, UINT64_C(2) << 30);
	assert_int_equal(stat(t->stored.dir, &st), 0);
	(void)snprintf(before, sizeof(before), "%ld", (long)st.st_mtim.tv_nsec);
	assert_int_equal(run(t, NULL), 0);
	assert_int_equal(stat(t->stored.dir, &st), 0);
	(void)snprintf(after, sizeof(after), "%ld", (long)st.st_mtim.tv_nsec);
	assert_string_equal(before, after); /* no name was ever made in it */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(recode__one_worker_does_one_job_after_the_other,
						kit_start, kit_end),
		cmocka_unit_test_setup_teardown(
			recode__a_worker_that_dies_or_is_not_there_fails_its_job_alone, kit_start,
			kit_end),
		cmocka_unit_test_setup_teardown(
			recode__a_used_worker_without_memory_is_no_failure_of_the_object, kit_start,
			kit_end),
		cmocka_unit_test_setup_teardown(recode__a_worker_has_no_descriptor_of_the_node,
						kit_start, kit_end),
		cmocka_unit_test_setup_teardown(
			recode__a_worker_that_hangs_is_ended_by_its_deadline, kit_start, kit_end),
		cmocka_unit_test_setup_teardown(recode__ends_when_nobody_waits_for_it, kit_start,
						kit_end),
		cmocka_unit_test_setup_teardown(recode__R35_nothing_is_left_in_the_folder,
						kit_start, kit_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
