/* Incarnations without end: what a disk that is set back again and again may cost central (R8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/central_commands.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/os/command.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/caller.h"
#include "tests/lib/pair.h"

enum { LIVES_A_DAY = 100, DAY_MS = 86400000, CHAIN = 40 };

static int
hello_as(struct pair *p, const char *site, unsigned char number)
{
	Sync__HelloRequest m = SYNC__HELLO_REQUEST__INIT;
	struct id128 incarnation = {{9, number}};
	struct buf body = BUF_INIT;
	uint32_t versions[] = {2};
	struct caller k;
	int status;

	caller_init(&k, &p->central, site);
	m.versions = versions;
	m.n_versions = 1;
	m.site = message_text(site);
	m.incarnation = message_bytes(incarnation.b, ID128_SIZE);
	message_pack(&body, &m.base);
	status = caller_ask(&k, "POST", "/sync/v1/hello", &body);
	buf_fini(&body);
	caller_fini(&k);
	return status;
}

static void
hello__R8_a_site_has_a_hundred_new_lives_a_day_and_the_old_ones_go_on(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < LIVES_A_DAY; i++)
		assert_int_equal(hello_as(&p, "west", (unsigned char)i), 200);
	assert_int_equal(hello_as(&p, "west", LIVES_A_DAY), 503);
	assert_int_equal(hello_as(&p, "west", LIVES_A_DAY - 1), 200); /* the last one */
	assert_int_equal(hello_as(&p, "west", 0), 200);		      /* and any other */
	assert_int_equal(hello_as(&p, "east", 200), 200);
	atomic_fetch_add(&p.clock.wall, DAY_MS);
	assert_int_equal(hello_as(&p, "west", LIVES_A_DAY), 200);
	pair_fini(&p);
}

/* As the first hello of one that branched off `from` where that stands. */
static void
branch_off(struct pair *p, const struct id128 *from, const struct id128 *to)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	struct site_row row;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(site_get(tx, from, &row, NULL), 0);
	store_end_read(tx);
	d.kind = SYNC__DECISION_KIND__DECISION_OPEN;
	d.site = message_text("north");
	d.incarnation = message_bytes(to->b, ID128_SIZE);
	d.previous_incarnation = message_bytes(from->b, ID128_SIZE);
	d.last_common_seq = row.head.seq;
	d.last_common_hash = message_bytes(row.head.hash, SHA256_SIZE);
	assert_int_equal(record_decide(&p->central, &d, NULL), 0);
}

/* One behind the other; what the first announced is the word of each, and of the last alone. */
static void
figures__R8_R18_a_long_line_of_lives_is_counted_right(void **state)
{
	struct id128 from, to = {{7}};
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(pair_send(&p, 0), 0);
	assert_int_equal(pair_send(&p, 1), 0);
	p.cut_method = "PATCH"; /* announced, and owed */
	for (i = 0; i < 12; i++)
		pair_turn(&p);
	edge_incarnation(&p.edge, &from);
	for (i = 0; i < CHAIN; i++) {
		to.b[1] = (unsigned char)i;
		branch_off(&p, &from, &to);
		from = to;
	}
	pair_check_figures(&p);
	pair_fini(&p);
}

static struct site_row
life(struct pair *p, unsigned char number)
{
	struct id128 incarnation = {{9, number}};
	struct store_tx *tx;
	struct site_row row;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(site_get(tx, &incarnation, &row, NULL), 0);
	store_end_read(tx);
	return row;
}

static void
decide(struct pair *p, Sync__DecisionKind kind, unsigned char number)
{
	struct id128 incarnation = {{9, number}};

	assert_int_equal(record_decision(&p->central, (int)kind, "west",
					 number ? &incarnation : NULL, "a test", NULL),
			 0);
}

static int
keep(struct pair *p, const char *which)
{
	const char *words[] = {"site", "twin", "west", "--keep", which};

	return central_commands_run(&p->central, 5, words, NULL);
}

/* The copy that was kept burns; the one that drained is all there is, and takes in again. */
static void
site_twin__R8_the_last_copy_of_a_site_need_not_drain_for_ever(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(hello_as(&p, "west", 1), 200);
	assert_int_equal(hello_as(&p, "west", 2), 200);
	assert_int_equal(keep(&p, "09020000"), COMMAND_FAILED); /* one that is closed is no twin */
	decide(&p, SYNC__DECISION_KIND__DECISION_TWIN, 1);
	assert_int_equal(keep(&p, "09020000"), COMMAND_OK);
	assert_true(life(&p, 1).drains);
	decide(&p, SYNC__DECISION_KIND__DECISION_CLOSE, 0); /* `site lost` */
	assert_true(life(&p, 1).closed && life(&p, 2).closed);
	assert_int_equal(hello_as(&p, "west", 1), 200);
	assert_false(life(&p, 1).closed);
	assert_true(life(&p, 1).drains); /* nobody has said otherwise */
	assert_int_equal(keep(&p, "09010000"), COMMAND_OK);
	assert_false(life(&p, 1).drains);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			hello__R8_a_site_has_a_hundred_new_lives_a_day_and_the_old_ones_go_on),
		cmocka_unit_test(site_twin__R8_the_last_copy_of_a_site_need_not_drain_for_ever),
		cmocka_unit_test(figures__R8_R18_a_long_line_of_lives_is_counted_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
