/* Settings and files: the ground that everything stands on. */
#include <errno.h>
#include <pthread.h>
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

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/command.h"
#include "common/os/daemon.h"
#include "common/os/file.h"
#include "tests/lib/folder.h"

static const char *
path_of(const char *name)
{
	static char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* --- settings --- */

static const struct conf_row rows[] = {
	{"data", "dir", CONF_STRING, NULL, 0, 0, NULL, "Where."},
	{"data", "quota", CONF_SIZE, "64MiB", 1024, INT64_C(1) << 40, NULL, "How much."},
	{"data", "wait", CONF_DURATION, "5s", 0, 60000, NULL, "How long."},
	{"data", "keep", CONF_BOOL, "no", 0, 0, NULL, "Whether."},
	{"data", "mode", CONF_CHOICE, "fast", 0, 0, "fast slow", "How."},
	{"data", "names", CONF_LIST, "a, b", 0, 0, NULL, "Who."},
	{"data", "may", CONF_LIST, "look, touch", 0, 0, "look touch", "What."},
	{"data", "titles", CONF_TITLES, "A", 0, 3, NULL, "As whom."},
	{"peer *", "aet", CONF_TITLE, NULL, 0, 0, NULL, "Title."},
	{"peer *", "port", CONF_NUMBER, "104", 1, 65535, NULL, "Port."},
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static struct conf *
load(const char *text, struct err *e)
{
	struct conf *c = NULL;

	err_clear(e);
	assert_int_equal(file_replace(folder, "a.conf", text, strlen(text), NULL), 0);
	(void)conf_load(&c, path_of("a.conf"), rows, N_ROWS, e);
	return c;
}

static void
conf_load__gives_values_and_defaults(void **state)
{
	struct err e;
	struct conf *c = load("[data]\ndir = /x;y\nquota = 2 GiB\nwait=100ms\nkeep = yes\n"
			      "names = one,two\nnames = three\n[peer CT 1]\naet = CT\n"
			      "[peer MR]\naet = MR\nport = 11112\n",
			      &e);

	(void)state;
	assert_non_null(c);
	assert_string_equal(conf_string(c, "data", NULL, "dir"), "/x;y");
	assert_true(conf_number(c, "data", NULL, "quota") == INT64_C(2) << 30);
	assert_int_equal(conf_number(c, "data", NULL, "wait"), 100);
	assert_true(conf_bool(c, "data", NULL, "keep"));
	assert_string_equal(conf_string(c, "data", NULL, "mode"), "fast");
	assert_string_equal(conf_list(c, "data", NULL, "names", 2), "three");
	assert_null(conf_list(c, "data", NULL, "names", 3));
	assert_string_equal(conf_name(c, "peer *", 0), "CT 1");
	assert_string_equal(conf_name(c, "peer *", 1), "MR");
	assert_null(conf_name(c, "peer *", 2));
	assert_int_equal(conf_number(c, "peer *", "CT 1", "port"), 104);
	assert_int_equal(conf_number(c, "peer *", "MR", "port"), 11112);
	conf_free(c);
}

static void
assert_refused(const char *text, const char *why)
{
	struct err e;
	struct conf *c = load(text, &e);

	assert_null(c);
	assert_int_equal(e.code, ERR_LOCAL);
	if (!strstr(e.what, why))
		fail_msg("'%s' does not say '%s'", e.what, why);
}

static void
conf_load__names_file_and_line_of_each_mistake(void **state)
{
	char text[400];

	(void)state;
	assert_refused("[data]\ndir = /x\nqouta = 1\n", "a.conf:3: [data] has no setting 'qouta'");
	assert_refused("[dta]\ndir = /x\n", "a.conf:1: no section [dta]");
	assert_refused("[data]\ndir = /x\n\n[dta]\n", "a.conf:4: no section [dta]");
	assert_refused("[data]\ndir = /x\n[peer A]\n", "[peer A] aet is missing");
	assert_refused("[data]\ndir =\n", "a.conf:2: [data] dir wants a value");
	assert_refused("[data]\ndir = /x ; where\n", "a.conf:2: a comment wants a line");
	assert_refused("[data]\ndir = /x\nnames = a\n  dri = b\n", "a.conf:4: [data] has no");
	assert_refused("[data]\ndir = /x\nmay = look, run\n", "a.conf:3: [data] may: 'run'");
	assert_refused("[data]\ndir = /x\ntitles = A, B\ntitles = C, D\n",
		       "a.conf:4: [data] titles: at most 3");
	assert_refused("[data]\ndir = /x\ntitles = CT1 # scanner\n", "a.conf:3: [data] titles:");
	assert_refused("[data]\ndir = /x\n[peer A]\naet = CT1 # one\n", "a.conf:4: [peer *] aet:");
	assert_refused("[data]\ndir = /x\n[peer A]\naet = A\\B\n", "a.conf:4: [peer *] aet:");
	assert_refused("[data]\ndir = /x\n[peer A]\naet = A\tB\n", "a.conf:4: [peer *] aet:");
	assert_refused("[data]\ndir = /x\n[peer A]\naet = K\xc3\xb6ln\n",
		       "a.conf:4: [peer *] aet:");
	assert_refused("[data]\ndir = /x\n[peer A]\naet = SEVENTEENLETTERSS\n",
		       "a.conf:4: [peer *] aet:");
	assert_refused("[data]\ndir = /x\n[peer A]\naet =\n", "a.conf:4: [peer *] aet wants");
	assert_refused("[data]\ndir = /x\nquota = 9000000000000TiB\n", "not understood");
	assert_refused("[data\ndir = /x\n", "a.conf:1: a section without");
	assert_refused("[data]\ndir = /x\nquota = 1\n", "quota: 1 is not within 1 KiB to 1 TiB");
	assert_refused("[data]\ndir = /x\nwait = 90\n", "wait: 90 is not within 0 to 1 min");
	assert_refused("[data]\ndir = /x\nquota = much\n", "not understood");
	assert_refused("[data]\ndir = /x\nmode = medium\n", "one of: fast slow");
	assert_refused("[data]\ndir = /x\ndir = /y\n", "set twice");
	assert_refused("[data]\nquota = 1GiB\n", "dir is missing");
	assert_refused("[data]\ndir = /x\n[peer A]\nport = 1\n", "[peer A] aet is missing");
	memset(text, 'x', sizeof(text));
	memcpy(text, "[data]\ndir = ", 13);
	strcpy(text + 300, "\n");
	assert_refused(text, "a.conf:2: a line of more than");
}

static void
conf_list__an_empty_one_is_empty_and_takes_no_default(void **state)
{
	struct err e;
	struct conf *c =
		load("\xEF\xBB\xBF[data]\n  dir = /x\r\n\tmay =\n; a comment ; of two\n", &e);

	(void)state;
	assert_non_null(c);
	assert_string_equal(conf_string(c, "data", NULL, "dir"), "/x");
	assert_null(conf_list(c, "data", NULL, "may", 0));
	assert_string_equal(conf_list(c, "data", NULL, "names", 1), "b");
	conf_free(c);
}

static void
conf_explain__names_every_setting(void **state)
{
	char *text = NULL;
	size_t n, i;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	conf_explain(f, rows, N_ROWS);
	assert_int_equal(fclose(f), 0);
	for (i = 0; i < N_ROWS; i++)
		assert_non_null(strstr(text, rows[i].key));
	assert_non_null(strstr(text, "[peer NAME]"));
	assert_non_null(strstr(text, "# How much. 1 KiB to 1 TiB.\n#quota = 64MiB"));
	assert_non_null(strstr(text, "# How long. 0 to 1 min.\n#wait = 5s"));
	assert_non_null(strstr(text, "# What. List of: look touch."));
	free(text);
}

/* --- commands --- */

static const struct command orders[] = {
	{"evict", 1, 1, " --study= --json ", "evict [--study UID]", false, false, NULL},
	{"pin", 2, 2, " --until= ", "pin STUDY", false, false, NULL}};

static const char *
wrong(struct asked *a, size_t n, const char *const *words)
{
	const char *usage;

	return command_check(a, orders, 2, n, words, &usage) ? NULL : usage;
}

static void
command_check__refuses_every_word_that_is_not_the_commands_own(void **state)
{
	static const char *const good[] = {"evict", "--study", "--json", "--json"};
	static const char *const bad[][3] = {{"evict", "1.2.3"},
					     {"evict", "--stud", "1"},
					     {"evict", "--study"},
					     {"evict", "--until", "x"},
					     {"pin"},
					     {"pin", "a", "b"},
					     {"evict", "--"},
					     {"evict", "--study=", "1"}};
	static const char *const unknown[] = {"fly"};
	struct asked a;
	size_t i, n;

	(void)state;
	assert_null(wrong(&a, 4, good));
	assert_string_equal(command_option(&a, "--study"), "--json");
	assert_string_equal(command_option(&a, "--json"), "");
	assert_null(command_option(&a, "--until"));
	assert_int_equal(a.n, 1);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (n = 0; n < 3 && bad[i][n]; n++)
			;
		assert_string_equal(wrong(&a, n, bad[i]),
				    bad[i][0][0] == 'e' ? orders[0].usage : orders[1].usage);
	}
	assert_string_equal(wrong(&a, 1, unknown), "no such command; see --help");
	assert_string_equal(wrong(&a, 0, NULL), "no such command; see --help");
}

/* --- files --- */

static int
replace(const char *what, struct err *e)
{
	return file_replace(folder, "f", what, strlen(what), e);
}

static void
assert_content(const char *a, const char *b)
{
	struct buf got = BUF_INIT;

	assert_int_equal(file_slurp(path_of("f"), 100, &got, NULL), 0);
	assert_true((got.len == strlen(a) && memcmp(got.data, a, got.len) == 0) ||
		    (b && got.len == strlen(b) && memcmp(got.data, b, got.len) == 0));
	buf_fini(&got);
}

static void
file_replace__each_failed_step_leaves_old_or_new(void **state)
{
	unsigned n;

	(void)state;
	assert_int_equal(replace("old", NULL), 0);
	for (n = 1;; n++) {
		struct err e = ERR_INIT;
		int rc;

		fault_arm(n, FAULT_ERRNO, ENOSPC);
		rc = replace("new", &e);
		if (fault_disarm() < n) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, ERR_FULL);
		assert_content("old", "new");
		assert_int_equal(replace("old", NULL), 0);
	}
	assert_true(n > 4);
	assert_content("new", NULL);
}

/* 150,001: no whole pieces. */
static void
file_zeros__overwrite_as_many_bytes_as_they_are_told(void **state)
{
	enum { N = 200000, FROM = 10, ZEROS = 150001 };
	struct buf got = BUF_INIT;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < N; i++)
		buf_put_u8(&got, 'x');
	assert_int_equal(file_replace(folder, "f", got.data, N, NULL), 0);
	fd = file_open(path_of("f"), true, NULL);
	assert_true(fd >= 0);
	assert_int_equal(file_zeros(fd, ZEROS, FROM, NULL), 0);
	fault_arm(1, FAULT_ERRNO, ENOSPC);
	assert_int_equal(file_zeros(fd, ZEROS, FROM, NULL), ERR_FULL);
	(void)fault_disarm();
	file_close(fd);
	buf_clear(&got);
	assert_int_equal(file_slurp(path_of("f"), N, &got, NULL), 0);
	assert_int_equal(got.len, N);
	for (i = 0; i < N; i++)
		assert_int_equal(got.data[i], i < FROM || i >= FROM + ZEROS ? 'x' : 0);
	assert_int_equal(file_replace(folder, "f", NULL, ZEROS, NULL), 0);
	buf_clear(&got);
	assert_int_equal(file_slurp(path_of("f"), N, &got, NULL), 0);
	assert_int_equal(got.len, ZEROS);
	for (i = 0; i < ZEROS; i++)
		assert_int_equal(got.data[i], 0);
	buf_fini(&got);
}

static void
file_replace__each_death_leaves_old_or_new(void **state)
{
	unsigned n;
	bool done = false;

	(void)state;
	for (n = 1; !done; n++) {
		int status;
		pid_t pid;

		assert_int_equal(replace("old", NULL), 0);
		pid = fork();
		if (pid == 0) {
			fault_arm(n, FAULT_DIE, 0);
			(void)replace("new", NULL);
			_exit(fault_disarm() < n ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		done = WEXITSTATUS(status) == 0;
		assert_true(done || WEXITSTATUS(status) == FAULT_EXIT);
		assert_content("old", "new");
	}
	assert_content("new", NULL);
}

static void
file_mkdirs__flushes_the_parents_of_what_it_makes(void **state)
{
	uint64_t before = file_sync_count();
	bool made;

	(void)state;
	assert_int_equal(file_mkdirs(folder, "a/b/c", NULL), 0);
	assert_int_equal(file_sync_count() - before, 3);
	assert_true(file_exists(path_of("a/b/c")));
	assert_int_equal(file_mkdir(path_of("a"), &made, NULL), 0);
	assert_false(made);
}

static void
file_link__never_replaces(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(replace("x", NULL), 0);
	assert_int_equal(file_link(path_of("f"), path_of("f"), &e), ERR_CONFLICT);
	assert_int_equal(file_open(path_of("none"), false, NULL), ERR_ABSENT);
	assert_int_equal(file_create(path_of("f"), NULL), ERR_CONFLICT);
}

static void
daemon_lock__keeps_a_second_process_out(void **state)
{
	int fd = daemon_lock(folder, NULL), status;
	pid_t pid;

	(void)state;
	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0)
		_exit(daemon_lock(folder, NULL) == ERR_CONFLICT ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	file_close(fd);
}

static void *
let_go(void *arg)
{
	file_close(*(int *)arg);
	return NULL;
}

/* A `status` after a death brings the journal in, while the supervisor starts `serve` again. */
static void
daemon_lock_soon__waits_for_a_command_that_ends(void **state)
{
	int held = daemon_lock(folder, NULL), fd;
	pthread_t thread;

	(void)state;
	assert_true(held >= 0);
	assert_int_equal(pthread_create(&thread, NULL, let_go, &held), 0);
	fd = daemon_lock_soon(folder, NULL);
	assert_true(fd >= 0);
	(void)pthread_join(thread, NULL);
	file_close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conf_load__gives_values_and_defaults),
		cmocka_unit_test(conf_load__names_file_and_line_of_each_mistake),
		cmocka_unit_test(conf_list__an_empty_one_is_empty_and_takes_no_default),
		cmocka_unit_test(command_check__refuses_every_word_that_is_not_the_commands_own),
		cmocka_unit_test(conf_explain__names_every_setting),
		cmocka_unit_test(file_replace__each_failed_step_leaves_old_or_new),
		cmocka_unit_test(file_zeros__overwrite_as_many_bytes_as_they_are_told),
		cmocka_unit_test(file_replace__each_death_leaves_old_or_new),
		cmocka_unit_test(file_mkdirs__flushes_the_parents_of_what_it_makes),
		cmocka_unit_test(file_link__never_replaces),
		cmocka_unit_test(daemon_lock_soon__waits_for_a_command_that_ends),
		cmocka_unit_test(daemon_lock__keeps_a_second_process_out),
	};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
