/* `resync`: the whole ledger is compared with central, and what it lacks is queued (R19). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/tally.h"
#include "central/verify.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/os/command.h"
#include "common/store/private.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/edge_commands.h"
#include "edge/keep.h"
#include "edge/replicate.h"
#include "edge/resync.h"
#include "edge/status.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"

enum { TURNS = 400, IMAGES = 6, MANY = 32, TICK_MS = 100, FILLER = 20000 };

static struct pair p;
static int64_t (*still)(struct clock *c);

/* Whoever looks at the clock finds it further on: a command waits for nobody. */
static int64_t
tick(struct clock *c)
{
	clock_manual_advance(&p.clock, TICK_MS);
	return still(c);
}

static int
make_pair(void **state)
{
	unsigned i;

	(void)state;
	log_set_level(LOG_ERROR);
	pair_init(&p, "64MiB");
	still = p.clock.c.mono_ms;
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	return 0;
}

static int
drop_pair(void **state)
{
	(void)state;
	pair_fini(&p);
	return 0;
}

static int
resync(const struct resync_config *c, struct resync_result *out, struct err *e)
{
	int rc;

	p.clock.c.mono_ms = tick;
	rc = resync_run(&p.edge, c, NULL, out, e);
	p.clock.c.mono_ms = still;
	return rc;
}

static int
exit_of(size_t n, const char *const *words)
{
	int code;

	p.clock.c.mono_ms = tick;
	code = edge_commands_run(&p.edge, n, words, NULL);
	p.clock.c.mono_ms = still;
	return code;
}

/* One that must succeed; what it queued must be at central when all is sent. */
static struct resync_result
compare(void)
{
	struct resync_config c = {.verify = false};
	struct resync_result x;
	struct err e = ERR_INIT;

	if (resync(&c, &x, &e))
		fail_msg("resync: %s", e.what);
	assert_true(x.compared);
	return x;
}

static void
expect_all_at_central(void)
{
	unsigned i;

	clock_manual_advance(&p.clock, 16000);
	pair_turn(&p);
	pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_central_has(&p, i));
}

static void
resync__R19_says_when_all_is_in_step(void **state)
{
	struct resync_config c = {.verify = false};
	struct resync_result x = compare();
	struct err none = ERR_INIT;
	struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(x.found.held, IMAGES);
	assert_int_equal(x.found.queued, 0);
	assert_int_equal(x.owed_before, 0);
	assert_int_equal(x.owed_after, 0);
	assert_true(x.found.entries >= IMAGES + 1); /* the incarnation, and study records */
	assert_false(x.person);
	resync_text(&c, &x, &none, &out);
	buf_put_u8(&out, 0);
	assert_non_null(strstr((char *)out.data, "in step\n"));
	buf_fini(&out);
	x = compare(); /* and again */
	assert_int_equal(x.found.held, IMAGES);
}

static void
resync__R19_queues_what_central_lost(void **state)
{
	struct verify_result v;
	struct resync_result x;

	(void)state;
	pair_spoil(&p, 2);
	assert_int_equal(verify_all(&p.central, NULL, false, &v, NULL), 0);
	x = compare();
	assert_int_equal(x.found.held, IMAGES - 1);
	assert_int_equal(x.found.queued, 1);
	assert_int_equal(x.owed_before, 0);
	assert_int_equal(x.owed_after, 1);
	assert_false(x.person);
	x = compare(); /* owed already: nothing is queued twice */
	assert_int_equal(x.found.queued, 0);
	assert_int_equal(x.found.owed, x.owed_before);
	expect_all_at_central();
	assert_int_equal(compare().found.held, IMAGES);
}

static int
fill(struct store_tx *tx, void *arg, struct err *e)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;
	struct buf bytes = BUF_INIT;
	uint64_t seq;
	unsigned i;
	int rc = 0;

	(void)arg;
	entry.kind = SYNC__LEDGER_KIND__LEDGER_EVICTED;
	message_pack(&bytes, &entry.base);
	for (i = 0; !rc && i < FILLER; i++)
		rc = ledger_append(tx, &bytes, &seq, e);
	buf_fini(&bytes);
	return rc;
}

static unsigned pieces, meanwhile;

static void
count_piece(struct pair *pair, struct http_call *call)
{
	struct contact c;

	if (strcmp(call->method, "PATCH") != 0)
		return;
	edge_contact(&pair->edge, &c);
	pieces++;
	meanwhile += c.comparing && c.compared;
}

/* A long ledger takes a while to go through: what central said at first is old by then. */
static void
resync__R19_queues_nothing_that_was_receipted_since_central_was_asked(void **state)
{
	struct contact c;
	unsigned i;

	(void)state;
	assert_int_equal(store_commit(p.edge.store, fill, NULL, NULL), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(pair_send(&p, IMAGES), 0);
	pieces = meanwhile = 0;
	p.on_request = count_piece;
	atomic_fetch_add(&p.edge.compares, 1);
	replicate_hello(p.r);
	for (i = 0; i < TURNS && !pair_central_has(&p, IMAGES); i++) {
		pair_turn(&p);
		clock_manual_advance(&p.clock, TICK_MS);
	}
	assert_int_equal(meanwhile, 1);
	assert_true(pair_settle(&p, TURNS));
	edge_contact(&p.edge, &c);
	assert_int_equal(c.comparison.queued, 0);
	assert_int_equal(c.comparison.held, IMAGES + 1);
	assert_int_equal(pieces, 1);
	p.on_request = NULL;
}

static void
resync__R19_R22_queues_everything_for_a_central_that_was_emptied(void **state)
{
	struct resync_result x;

	(void)state;
	pair_burn_central(&p);
	pair_open_central(&p);
	x = compare();
	assert_int_equal(x.found.held, 0);
	assert_int_equal(x.found.queued + x.found.owed, IMAGES);
	assert_int_equal(x.owed_after, IMAGES);
	assert_false(x.person);
	expect_all_at_central();
	assert_int_equal(compare().found.held, IMAGES);
}

static void
resync__R18_what_is_nowhere_needs_a_person(void **state)
{
	struct resync_result x;
	uint64_t n, bytes;

	(void)state;
	assert_int_equal(keep_evict(p.edge.keep, NULL, &n, &bytes, NULL), 0);
	assert_int_equal(n, IMAGES);
	x = compare(); /* central holds what went */
	assert_int_equal(x.found.held, IMAGES);
	assert_false(x.person);
	pair_burn_central(&p);
	pair_open_central(&p);
	x = compare();
	assert_int_equal(x.found.gone, IMAGES);
	assert_int_equal(x.found.queued, 0);
	assert_true(x.person);
}

static void
resync__says_when_central_was_not_reached(void **state)
{
	struct resync_config c = {.verify = false};
	struct resync_result x;
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;

	(void)state;
	(void)compare(); /* what an earlier one found is none of this one's */
	pair_close_central(&p);
	assert_int_equal(resync(&c, &x, &e), ERR_AGAIN);
	assert_false(x.compared);
	assert_false(x.person);
	assert_int_equal(x.found.held, 0);
	resync_json(&p.edge, &c, &x, &e, &out);
	buf_put_u8(&out, 0);
	assert_non_null(strstr((char *)out.data, "\"compared\":false"));
	assert_non_null(strstr((char *)out.data, "\"entries\":null,\"held\":null"));
	buf_fini(&out);
	pair_open_central(&p);
	(void)compare();
	/* It goes silent in the middle: the same. */
	err_clear(&e);
	p.cut_at = p.messages + 3;
	p.cut_method = NULL;
	(void)resync(&c, &x, &e); /* one cut is no end: it asks again */
	assert_true(x.compared);
}

static int
pick_one(void *arg, const struct version *v, struct err *e)
{
	(void)e;
	if (v->state == VERSION_HERE)
		*(struct version *)arg = *v;
	return 0;
}

static int
spoil_chunk(struct store_tx *tx, void *arg, struct err *e)
{
	const struct version *v = arg;
	unsigned char key[12] = {0};

	buf_set_be64(key, v->bytes);
	return kv_put(tx->txn, T_CHUNK, kv_slice(key, 12), kv_slice("rotten", 6), e);
}

static struct version
spoil_one_here(void)
{
	struct version v = {.oid = 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(store_versions(tx, 0, pick_one, &v, NULL), 0);
	store_end_read(tx);
	assert_int_equal(store_commit(p.edge.store, spoil_chunk, &v, NULL), 0);
	return v;
}

static void
resync__exits_0_in_step_or_queued_1_not_reached_3_for_a_person(void **state)
{
	static const char *const words[] = {"resync", "--json", "--verify", "--subset", "1/1"};

	(void)state;
	assert_int_equal(exit_of(1, words), COMMAND_OK);
	assert_int_equal(exit_of(5, words), COMMAND_OK);
	assert_int_equal(exit_of(4, words), COMMAND_USAGE);
	pair_close_central(&p);
	assert_int_equal(exit_of(2, words), COMMAND_FAILED);
	pair_burn_central(&p);
	pair_open_central(&p);
	assert_int_equal(exit_of(2, words), COMMAND_OK); /* all is queued */
	(void)spoil_one_here();
	assert_int_equal(exit_of(1, words), COMMAND_OK);
	assert_int_equal(exit_of(3, words), COMMAND_PERSON);
}

static void
resync__one_at_a_time_and_none_when_told_to_stop(void **state)
{
	struct resync_config c = {.verify = true};
	struct resync_result x;
	struct err e = ERR_INIT;

	(void)state;
	atomic_store(&p.edge.resyncing, true);
	assert_int_equal(resync(&c, &x, &e), ERR_AGAIN);
	assert_non_null(strstr(e.what, "another"));
	assert_true(atomic_load(&p.edge.resyncing)); /* still the other's */
	atomic_store(&p.edge.resyncing, false);
	atomic_store(&p.edge.stopping, true);
	assert_int_equal(resync(&c, &x, NULL), ERR_AGAIN);
	assert_int_equal(x.images, 0);
	c.verify = false;
	assert_int_equal(resync(&c, &x, NULL), ERR_AGAIN);
	assert_false(x.compared);
	atomic_store(&p.edge.stopping, false);
	(void)compare();
}

/* --- verify --- */

static void
resync_verify__R19_finds_damage_here_and_tells_a_person(void **state)
{
	struct resync_config c = {.verify = true};
	struct resync_result x;
	struct tally t;
	struct store_tx *tx;
	struct version v;

	(void)state;
	assert_int_equal(resync(&c, &x, NULL), 0);
	assert_int_equal(x.images, IMAGES);
	assert_int_equal(x.rotten, 0);
	assert_false(x.person);
	v = spoil_one_here();
	assert_int_equal(compare().person, false); /* nobody looked */
	assert_int_equal(resync(&c, &x, NULL), 0);
	assert_int_equal(x.images, IMAGES);
	assert_int_equal(x.rotten, 1);
	assert_int_equal(x.found.held, IMAGES); /* it is central's copy that counts */
	assert_int_equal(x.found.damaged, 0);
	assert_true(x.person);
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(store_version(tx, v.oid, &v, NULL), 0);
	store_end_read(tx);
	assert_int_equal(v.state, VERSION_DAMAGED);
	assert_int_equal(resync(&c, &x, NULL), 0); /* found once, listed once */
	assert_int_equal(x.images, IMAGES - 1);
	assert_int_equal(x.rotten, 0);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	store_end_read(tx);
	assert_int_equal(t.rows[0].of[TALLY_HELD], IMAGES);
	assert_int_equal(t.rows[0].of[TALLY_OWED], 0);
	tally_free(&t);
}

static void
resync_verify__R18_the_only_copy_damaged_is_lost_and_listed(void **state)
{
	struct resync_config c = {.verify = true};
	struct resync_result x;

	(void)state;
	pair_burn_central(&p);
	pair_open_central(&p);
	(void)spoil_one_here();
	assert_int_equal(resync(&c, &x, NULL), 0);
	assert_int_equal(x.rotten, 1);
	assert_int_equal(x.found.damaged, 1);
	assert_int_equal(x.owed_after, IMAGES - 1);
	assert_true(x.person);
}

static void
expect_slices(uint64_t parts)
{
	struct resync_config c = {.verify = true, .parts = parts};
	struct resync_result x;
	uint64_t images = 0, bytes = 0;

	for (c.part = 1; c.part <= c.parts; c.part++) {
		assert_int_equal(resync(&c, &x, NULL), 0);
		assert_in_range(x.images, 1, MANY / 2 + MANY / 4);
		images += x.images;
		bytes += x.bytes;
	}
	assert_int_equal(images, MANY);
	c.parts = 0;
	assert_int_equal(resync(&c, &x, NULL), 0);
	assert_int_equal(x.bytes, bytes);
}

static void
resync_verify__slices_are_the_whole_none_empty_and_nothing_twice(void **state)
{
	unsigned i;

	(void)state;
	for (i = IMAGES; i < MANY; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	expect_slices(2);
	expect_slices(4);
	expect_slices(5);
}

/* --- status --- */

static void
expect_status(const char *text)
{
	struct buf out = BUF_INIT;
	bool person;

	assert_int_equal(status_json(&p.edge, &out, &person, NULL), 0);
	buf_put_u8(&out, 0);
	if (!strstr((const char *)out.data, text))
		fail_msg("no '%s' in %s", text, (const char *)out.data);
	buf_fini(&out);
}

static void
status__tells_how_long_ago_the_last_good_resync_was(void **state)
{
	struct resync_config c = {.verify = false};
	struct resync_result x;
	uint64_t n, bytes;

	(void)state;
	expect_status("\"resync\":{\"last_good\":null,\"age_seconds\":null}");
	(void)compare();
	assert_int_equal(keep_evict(p.edge.keep, NULL, &n, &bytes, NULL), 0);
	clock_manual_advance(&p.clock, 3600000);
	expect_status("\"age_seconds\":3600}");
	pair_burn_central(&p);
	pair_open_central(&p);
	assert_true(compare().person); /* one that needs a person is no good one either */
	expect_status("\"age_seconds\":36");
	pair_close_central(&p);
	assert_int_equal(resync(&c, &x, NULL), ERR_AGAIN); /* no good one */
	pair_close_edge(&p);
	pair_open_edge(&p);
	expect_status("\"last_good\":\"2");
}

int
main(void)
{
#define EACH(name) cmocka_unit_test_setup_teardown(name, make_pair, drop_pair)
	const struct CMUnitTest tests[] = {
		EACH(resync__R19_says_when_all_is_in_step),
		EACH(resync__R19_queues_what_central_lost),
		EACH(resync__R19_queues_nothing_that_was_receipted_since_central_was_asked),
		EACH(resync__R19_R22_queues_everything_for_a_central_that_was_emptied),
		EACH(resync__R18_what_is_nowhere_needs_a_person),
		EACH(resync__says_when_central_was_not_reached),
		EACH(resync__exits_0_in_step_or_queued_1_not_reached_3_for_a_person),
		EACH(resync__one_at_a_time_and_none_when_told_to_stop),
		EACH(resync_verify__R19_finds_damage_here_and_tells_a_person),
		EACH(resync_verify__R18_the_only_copy_damaged_is_lost_and_listed),
		EACH(resync_verify__slices_are_the_whole_none_empty_and_nothing_twice),
		EACH(status__tells_how_long_ago_the_last_good_resync_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
