/* A command that needs central, and finds nobody: it says so, and for how long it tries. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/os/ctl.h"
#include "common/os/file.h"
#include "edge/edge_commands.h"
#include "edge/keep.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TICK_MS = 100 };

static struct pair p;
static int64_t (*still)(struct clock *c);

/* Whoever looks at the clock finds it further on: half a minute is over at once. */
static int64_t
tick(struct clock *c)
{
	clock_manual_advance(&p.clock, TICK_MS);
	return still(c);
}

/* Without a server; what it said on its stderr. */
static int
command(const char *word, struct buf *said)
{
	const char *words[] = {word};
	struct keep *keep = p.edge.keep;
	int64_t (*now)(struct clock * c) = p.clock.c.mono_ms;
	char path[100];
	int file, before = dup(STDERR_FILENO), code;

	(void)snprintf(path, sizeof(path), "%s/said", p.dir);
	file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_true(before >= 0 && file >= 0);
	p.edge.keep = NULL;
	still = now;
	p.clock.c.mono_ms = tick;
	(void)fflush(stderr);
	(void)dup2(file, STDERR_FILENO);
	code = ctl_local(edge_commands_run, &p.edge, 1, words);
	(void)fflush(stderr);
	(void)dup2(before, STDERR_FILENO);
	p.clock.c.mono_ms = now;
	p.edge.keep = keep;
	assert_int_equal(close(before) | close(file), 0);
	assert_int_equal(file_slurp(path, 1 << 20, said, NULL), 0);
	buf_put_u8(said, 0);
	return code;
}

static void
evict__R10_without_a_server_says_at_once_that_central_is_silent(void **state)
{
	static const char waits[] = "central does not answer";
	struct buf said = BUF_INIT;
	const char *at;

	(void)state;
	pair_send_some(&p, 0, 1);
	pair_close_central(&p);
	(void)command("evict", &said);
	assert_true(pair_edge_has(&p, 0));
	at = strstr((const char *)said.data, waits);
	assert_non_null(at);
	assert_non_null(strstr(at, "tried for 30 s\n"));
	/* And in the end, that nothing came of it. */
	assert_non_null(strstr(at + sizeof(waits), waits));
	buf_clear(&said);
	assert_int_not_equal(command("refill", &said), 0);
	assert_non_null(strstr((const char *)said.data, waits));
	buf_fini(&said);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(evict__R10_without_a_server_says_at_once_that_central_is_silent, p),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
