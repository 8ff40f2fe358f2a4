/* What a site gets back from a central that does not know yet who was removed (R20, R22, R26). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/central_commands.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/store/private.h"
#include "common/store/store.h"
#include "edge/chores.h"
#include "edge/edge_commands.h"
#include "edge/status.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, NORTHS = 1, SOUTHS = 101, MINUTE_MS = 60000 };

static struct pair p;

static void
decide(Sync__DecisionKind kind, const char *site)
{
	static const unsigned char key[SHA256_SIZE] = {1};
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;

	d.kind = kind;
	d.site = message_text(site);
	d.key = message_bytes(key, sizeof(key));
	assert_int_equal(record_decide(&p.central, &d, NULL), 0);
}

/* Two sites that joined and delivered an image each; then north's building burns, and central takes
 * another epoch. */
static int
make_doubt(void **state)
{
	(void)state;
	pair_init(&p, "64MiB");
	decide(SYNC__DECISION_KIND__DECISION_SITE_JOIN, "north");
	decide(SYNC__DECISION_KIND__DECISION_SITE_JOIN, "south");
	pair_site(&p, "south");
	if (pair_send(&p, SOUTHS) || !pair_settle(&p, TURNS))
		return -1;
	pair_site(&p, "north");
	if (pair_send(&p, NORTHS) || !pair_settle(&p, TURNS))
		return -1;
	pair_burn_edge(&p);
	pair_open_edge(&p);
	return record_epoch(&p.central, "set back", NULL);
}

static int
drop(void **state)
{
	(void)state;
	pair_fini(&p);
	return 0;
}

static int
at_edge(const char *word, const char *option)
{
	const char *words[] = {word, option};

	return ctl_local(edge_commands_run, &p.edge, option ? 2 : 1, words);
}

static int
at_central(const char *a, const char *b, const char *c, const char *d)
{
	const char *words[] = {a, b, c, d};

	return ctl_local(central_commands_run, &p.central, d ? 4 : 3, words);
}

/* A minute of a server: hello, orders, chores. */
static void
a_minute(void)
{
	int64_t until = clock_mono(&p.clock.c) + MINUTE_MS;

	while (clock_mono(&p.clock.c) < until)
		pair_turn(&p);
	store_time_reach(p.edge.store, store_time(p.edge.store) + MINUTE_MS);
	pair_orders(&p);
	pair_chores(&p);
	pair_orders(&p);
}

static uint64_t
open_chores(void)
{
	uint64_t open, unsaid;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(chores_count(tx, &open, &unsaid, NULL), 0);
	store_end_read(tx);
	return open;
}

static bool
status_says(const char *what)
{
	struct buf text = BUF_INIT;
	bool person, yes;

	assert_int_equal(status_text(&p.edge, &text, &person, NULL), 0);
	buf_put_u8(&text, 0);
	yes = strstr((const char *)text.data, what) != NULL;
	buf_fini(&text);
	return yes;
}

static void
refill__R22_R26_what_a_doubting_central_left_out_comes_by_itself(void **state)
{
	unsigned i;

	(void)state;
	assert_int_equal(at_edge("refill", "--group"), COMMAND_PERSON);
	assert_true(pair_edge_has(&p, NORTHS));
	assert_false(pair_edge_has(&p, SOUTHS));
	assert_int_equal(at_edge("refill", "--group"), COMMAND_PERSON); /* no second wish */
	assert_int_equal(open_chores(), 1);
	pair_close_edge(&p);
	pair_open_edge(&p);
	for (i = 0; i < 3; i++)
		a_minute();
	assert_true(status_says("central does not know yet who was removed"));
	assert_true(status_says("asked for here: refill, the rest comes when"));
	assert_false(pair_edge_has(&p, SOUTHS));
	decide(SYNC__DECISION_KIND__DECISION_SITE_VOUCHES, "south");
	a_minute();
	assert_true(pair_edge_has(&p, SOUTHS));
	assert_int_equal(open_chores(), 0);
	assert_false(status_says("central does not know"));
	assert_false(status_says("asked for here"));
	assert_int_equal(at_edge("refill", "--group"), COMMAND_OK);
	assert_int_equal(open_chores(), 0);
}

/* Of its own list nothing is left out where it delivered it all. */
static void
refill__R26_of_what_the_site_delivered_is_whole_in_doubt(void **state)
{
	(void)state;
	assert_int_equal(at_edge("refill", NULL), COMMAND_OK);
	assert_true(pair_edge_has(&p, NORTHS));
	assert_int_equal(open_chores(), 0);
}

static void
order__R22_R26_of_a_refill_is_done_when_the_doubt_is_over(void **state)
{
	(void)state;
	assert_int_equal(at_central("site", "refill", "north", "--group"), COMMAND_OK);
	a_minute();
	a_minute();
	assert_true(pair_edge_has(&p, NORTHS));
	assert_false(pair_edge_has(&p, SOUTHS));
	assert_int_equal(pair_open_orders(&p), 1);
	assert_true(status_says("refill, the rest comes when"));
	decide(SYNC__DECISION_KIND__DECISION_SITE_VOUCHES, "south");
	a_minute();
	assert_true(pair_edge_has(&p, SOUTHS));
	assert_int_equal(pair_open_orders(&p), 0);
}

/* What a person wants at central is said, and nothing waits for another word. */
static void
refill__R26_says_what_policy_leaves_out(void **state)
{
	(void)state;
	assert_int_equal(at_central("site", "policy", "north", "own"), COMMAND_OK);
	assert_int_equal(at_edge("refill", "--group"), COMMAND_PERSON);
	assert_true(pair_edge_has(&p, NORTHS));
	assert_false(pair_edge_has(&p, SOUTHS));
	assert_int_equal(open_chores(), 0);
	a_minute();
	assert_true(status_says("by central's `site policy`"));
	assert_int_equal(at_central("site", "policy", "north", "all"), COMMAND_OK);
	assert_int_equal(at_edge("refill", "--group"), COMMAND_OK);
	assert_true(pair_edge_has(&p, SOUTHS));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, make_doubt, drop)
		T(refill__R22_R26_what_a_doubting_central_left_out_comes_by_itself),
		T(refill__R26_of_what_the_site_delivered_is_whole_in_doubt),
		T(order__R22_R26_of_a_refill_is_done_when_the_doubt_is_over),
		T(refill__R26_says_what_policy_leaves_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
