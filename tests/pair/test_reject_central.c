/* What a person at central rejects and restores: here, at every edge, after a rebuild, a fire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/central_commands.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/os/command.h"
#include "common/store/query.h"
#include "common/store/store.h"
#include "edge/edge_commands.h"
#include "proto/orders.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"

enum { TURNS = 400 };

static struct pair p;
static char study[65], series[65], image[65]; /* of images 0 to 3, the series, image 1 */

static void
hear(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		assert_true(pair_settle(&p, TURNS));
		clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
		pair_orders(&p);
	}
}

static int
begin(void **state)
{
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	gen_uid(study, 1, 0, 0);
	gen_uid(series, 1, 1, 0);
	gen_uid(image, 1, 1, 2);
	for (i = 0; i < 8; i++)
		assert_int_equal(pair_send(&p, i), 0);
	hear();
	return 0;
}

static int
end(void **state)
{
	(void)state;
	pair_fini(&p);
	return 0;
}

static int
counts(struct store *s, bool see_rejected)
{
	struct query_config c = {.level = QUERY_STUDY, .see_rejected = see_rejected};
	struct query_match m;
	struct query *q;
	struct buf keys = BUF_INIT;
	char text[16];
	int n = 0;

	attrs_put(&keys, TAG_STUDY_UID, study, strlen(study));
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&q, s, &c, NULL), 0);
	while (query_next(q, &m, NULL) == 0) {
		(void)attrs_copy(m.study, TAG_STUDY_INSTANCES, text, sizeof(text));
		n += atoi(text);
	}
	query_close(q);
	buf_fini(&keys);
	return n;
}

static void
expect(int seen, int more)
{
	assert_int_equal(counts(p.central.store, false), seen);
	assert_int_equal(counts(p.central.store, true), more);
	assert_int_equal(counts(p.edge.store, false), seen);
	assert_int_equal(counts(p.edge.store, true), more);
}

static int
say(const char *command, const char *uid, const char *reason)
{
	const char *words[] = {command, uid, "--reason", reason};

	return central_commands_run(&p.central, 4, words, NULL);
}

static void
reject__hides_at_central_at_once_and_at_each_edge_until_it_is_restored(void **state)
{
	const char *at_edge[] = {"restore", study, "--reason", "safety"};

	(void)state;
	assert_int_equal(say("reject", image, "safety"), COMMAND_OK);
	assert_int_equal(counts(p.central.store, true), 3);
	assert_int_equal(counts(p.edge.store, true), 4);
	hear();
	expect(3, 3);
	assert_int_equal(say("reject", series, "quality"), COMMAND_OK);
	hear();
	expect(0, 3);
	assert_int_equal(say("restore", study, "quality"), COMMAND_OK);
	hear();
	expect(3, 3);
	/* An edge's word counts above central's, and central's above that again. */
	assert_int_equal(edge_commands_run(&p.edge, 4, at_edge, NULL), COMMAND_OK);
	(void)store_settle(p.edge.store, NULL);
	hear();
	expect(4, 4);
	assert_int_equal(say("reject", study, "worklist"), COMMAND_OK);
	assert_int_equal(say("reject", study, "safety"), COMMAND_OK);
	hear();
	expect(0, 0);
	assert_int_equal(say("restore", study, "worklist"), COMMAND_OK);
	hear();
	expect(0, 0); /* the other reason stays */
	assert_int_equal(say("restore", study, "safety"), COMMAND_OK);
	hear();
	expect(4, 4);
}

static void
reject__R16_a_rebuilt_catalogue_and_a_central_that_burnt_know_it(void **state)
{
	struct err e = ERR_INIT;
	unsigned i;

	(void)state;
	assert_int_equal(say("reject", image, "safety"), COMMAND_OK);
	assert_int_equal(say("reject", study, "quality"), COMMAND_OK);
	assert_int_equal(say("restore", image, "quality"), COMMAND_OK);
	hear();
	expect(0, 3);
	pair_close_central(&p);
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	central_close(&p.central);
	pair_open_central(&p);
	pair_turn(&p); /* hello: a new epoch */
	hear();
	expect(0, 3);
	pair_burn_central(&p);
	pair_open_central(&p);
	for (i = 0; i < 4; i++)
		hear();
	expect(0, 3);
}

static void
restore__of_a_word_that_nothing_is_rejected_for_speaks_of_what_was_retracted(void **state)
{
	(void)state;
	assert_int_equal(say("retract", study, "quality"), COMMAND_OK);
	hear();
	expect(0, 0);
	assert_int_equal(say("restore", study, "quality"), COMMAND_OK);
	hear();
	expect(4, 4);
	assert_int_equal(say("reject", study, "because"), COMMAND_USAGE);
	assert_int_equal(say("reject", "1.2.3.99", "safety"), COMMAND_FAILED);
	expect(4, 4);
}

int
main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		WITH(reject__hides_at_central_at_once_and_at_each_edge_until_it_is_restored),
		WITH(reject__R16_a_rebuilt_catalogue_and_a_central_that_burnt_know_it),
		WITH(restore__of_a_word_that_nothing_is_rejected_for_speaks_of_what_was_retracted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
