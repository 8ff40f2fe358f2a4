/* ctl: what a command of a running node says comes to where its words are asked from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/os/ctl.h"
#include "tests/lib/folder.h"

enum { CODE = 3, TEXT = 200 };

static int
command(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	(void)node;
	(void)n;
	(void)words;
	assert_true(ctl_draw(r, "1 of 2"));
	assert_true(ctl_draw(r, "2 of 2"));
	assert_true(ctl_progress(r, "said\n"));
	assert_true(ctl_draw(r, "again"));
	return CODE;
}

static void
ask(void)
{
	static const char *const words[] = {"command"};
	int code = 0;

	assert_int_equal(ctl_ask(folder, 1, words, NULL, &code, NULL), 0);
	assert_int_equal(code, CODE);
	assert_int_equal(ctl_local(command, NULL, 1, words), CODE);
	(void)fflush(stderr);
}

/* What both ways of a command write to stderr, when that is fd. */
static void
with_stderr(int fd)
{
	int saved = dup(STDERR_FILENO);

	(void)fflush(stderr);
	assert_true(saved >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	ask();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
}

static void
ctl_draw__draws_on_a_terminal_and_nowhere_else(void **state)
{
	static const char once[] = "\r1 of 2\r2 of 2\nsaid\n\ragain\n";
	char got[TEXT] = "", *at = got;
	struct ctl *c;
	int ends[2], master, slave;
	ssize_t n;

	(void)state;
	assert_int_equal(ctl_start(&c, folder, command, NULL, NULL), 0);
	assert_int_equal(pipe(ends), 0);
	with_stderr(ends[1]);
	assert_int_equal(read(ends[0], got, sizeof(got) - 1), 2 * strlen("said\n"));
	assert_string_equal(got, "said\nsaid\n");

	master = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(master >= 0 && !grantpt(master) && !unlockpt(master));
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	with_stderr(slave);
	ctl_stop(c);
	memset(got, 0, sizeof(got));
	/* A terminal makes "\r\n" of "\n": 3 in each. */
	while (at < got + 2 * (sizeof(once) - 1 + 3)) {
		n = read(master, at, (size_t)(got + sizeof(got) - at));
		assert_true(n > 0);
		at += n;
	}
	assert_string_equal(got, "\r1 of 2\r2 of 2\r\nsaid\r\n\ragain\r\n"
				 "\r1 of 2\r2 of 2\r\nsaid\r\n\ragain\r\n");
	(void)close(slave);
	(void)close(master);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ctl_draw__draws_on_a_terminal_and_nowhere_else,
						make_folder, drop_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
