/* What a person takes out of sight, and shows again, whatever burns meanwhile (R15, R27). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/central_commands.h"
#include "central/dispatch.h"
#include "central/intake.h"
#include "central/record.h"
#include "central/returns.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/http/server.h"
#include "common/os/command.h"
#include "common/os/file.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/edge_commands.h"
#include "edge/figures.h"
#include "edge/keep.h"
#include "edge/obey.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "edge/rebuild.h"
#include "edge/replicate.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"
#include "tests/lib/caller.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400 };

#define DAY_MS INT64_C(86400000)

static struct pair p;

static void
send(unsigned first, unsigned n)
{
	pair_send_some(&p, first, n);
}

static bool
find(struct store *s, unsigned number, struct version *v)
{
	unsigned char digest[SHA256_SIZE];
	struct buf image = BUF_INIT;
	struct store_tx *tx;
	uint64_t oid;
	int rc;

	pair_image(&p, &image, number);
	sha256_of(image.data, image.len, digest);
	buf_fini(&image);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	rc = store_by_digest(tx, digest, &oid, NULL);
	if (!rc)
		assert_int_equal(store_version(tx, oid, v, NULL), 0);
	store_end_read(tx);
	return rc == 0;
}

/* As viewers find it: not hidden, with a row of its own, and one in its study. */
static bool
is_shown(struct store *s, unsigned number)
{
	struct store_tx *tx;
	struct version v;
	struct attrs row;
	bool shown;

	if (!find(s, number, &v))
		return false;
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	shown = index_instance_row(tx, &v, &row, NULL) == 0;
	store_end_read(tx);
	assert_int_equal(shown, v.hidden == 0);
	return shown;
}

/* All rows that queries of this image's study see. */
static void
rows(struct store *s, unsigned number, struct buf *out)
{
	struct store_tx *tx;
	struct version v;
	struct attrs row;

	assert_true(find(s, number, &v));
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	if (index_study_row(tx, v.study, &row, NULL) == 0)
		buf_put(out, row.p, row.n);
	if (index_series_row(tx, v.study, v.series, &row, NULL) == 0)
		buf_put(out, row.p, row.n);
	if (index_instance_row(tx, &v, &row, NULL) == 0)
		buf_put(out, row.p, row.n);
	store_end_read(tx);
}

static int
say(const char *command, const char *uid)
{
	const char *words[] = {command, uid, "--reason", "a test"};

	return central_commands_run(&p.central, 4, words, NULL);
}

static char said_uid[UID_SIZE];

static const char *
study(unsigned number)
{
	struct version v;

	assert_true(find(p.central.store, number, &v) || find(p.edge.store, number, &v));
	strcpy(said_uid, v.study);
	return said_uid;
}

static const char *
series(unsigned number)
{
	struct version v;

	assert_true(find(p.central.store, number, &v));
	strcpy(said_uid, v.series);
	return said_uid;
}

static const char *
image(unsigned number)
{
	struct version v;

	assert_true(find(p.central.store, number, &v));
	strcpy(said_uid, v.sop_instance);
	return said_uid;
}

static void
hear(void)
{
	assert_true(pair_settle(&p, TURNS));
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
}

/* Images first to first + n - 1, at both ends. */
static void
expect_shown(unsigned first, unsigned n, bool shown)
{
	unsigned i;

	for (i = first; i < first + n; i++) {
		if (is_shown(p.central.store, i) != shown)
			fail_msg("image %u at central: shown %d", i, !shown);
		if (is_shown(p.edge.store, i) != shown)
			fail_msg("image %u at the edge: shown %d", i, !shown);
	}
}

static void
retract__R15_R18_hides_a_study_at_both_ends_and_restore_shows_it_as_it_was(void **state)
{
	struct buf before = BUF_INIT, after = BUF_INIT;

	(void)state;
	send(0, 8);
	hear();
	rows(p.central.store, 1, &before);
	rows(p.edge.store, 1, &before);
	assert_int_equal(say("retract", study(1)), COMMAND_OK);
	assert_false(is_shown(p.central.store, 1)); /* at once */
	assert_true(is_shown(p.edge.store, 1));
	hear();
	expect_shown(0, 4, false);
	expect_shown(4, 4, true);
	pair_expect_counts(&p, 4, 4);
	assert_int_equal(say("restore", study(1)), COMMAND_OK);
	hear();
	expect_shown(0, 8, true);
	pair_expect_counts(&p, 8, 0);
	rows(p.central.store, 1, &after);
	rows(p.edge.store, 1, &after);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.data, before.data, before.len);
	buf_fini(&before);
	buf_fini(&after);
}

static void
retract__R15_of_a_series_or_an_image_and_the_last_word_counts(void **state)
{
	(void)state;
	send(0, 4);
	hear();
	assert_int_equal(say("retract", image(2)), COMMAND_OK);
	hear();
	expect_shown(0, 2, true);
	expect_shown(2, 1, false);
	assert_int_equal(say("restore", study(2)), COMMAND_OK); /* all of it */
	hear();
	expect_shown(0, 4, true);
	assert_int_equal(say("retract", series(2)), COMMAND_OK);
	assert_int_equal(say("restore", image(1)), COMMAND_OK);
	hear();
	expect_shown(0, 1, false);
	expect_shown(1, 1, true);
	expect_shown(2, 2, false);
}

static void
retract__usage_wants_a_reason_and_a_known_uid(void **state)
{
	const char *words[] = {"retract", "1.2.3"};

	(void)state;
	send(0, 1);
	hear();
	assert_int_equal(central_commands_run(&p.central, 2, words, NULL), COMMAND_USAGE);
	assert_int_equal(say("retract", "1.2.3"), COMMAND_FAILED);
}

static void
retract__R15_R17_what_comes_later_of_it_is_taken_and_hidden_and_listed(void **state)
{
	uint64_t n;

	(void)state;
	send(0, 2);
	hear();
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	send(2, 1); /* the edge has not heard of it yet */
	assert_true(is_shown(p.edge.store, 2));
	hear();
	send(3, 1); /* it has */
	assert_false(is_shown(p.edge.store, 3));
	hear();
	expect_shown(0, 4, false);
	assert_true(pair_central_has(&p, 3));
	pair_expect_counts(&p, 0, 4);
	assert_int_equal(returns_count(&p.central, &n, NULL), 0);
	assert_int_equal(n, 2);
}

static struct buf
order(int kind, uint64_t number, const char *uid)
{
	Sync__Order m = SYNC__ORDER__INIT;
	struct buf out = BUF_INIT;

	m.kind = (Sync__OrderKind)kind;
	m.number = number;
	m.subject = m.study = message_text(uid);
	message_pack(&out, &m.base);
	return out;
}

static int
obey_bytes(struct store_tx *tx, void *arg, struct err *e)
{
	static const struct id128 epoch = {{1}};
	const struct buf *b = arg;
	Sync__Order *m = message_read(&sync__order__descriptor, b->data, b->len, e);
	int rc = obey(tx, &epoch, m, b->data, b->len, e);

	message_free(m);
	return rc;
}

static void
obeyed(int kind, uint64_t number, const char *uid)
{
	struct buf b = order(kind, number, uid);

	assert_int_equal(store_commit(p.edge.store, obey_bytes, &b, NULL), 0);
	buf_fini(&b);
}

static void
obey__R15_a_lower_number_never_undoes_a_higher_one(void **state)
{
	char uid[UID_SIZE];

	(void)state;
	send(0, 2);
	strcpy(uid, study(0));
	obeyed(SYNC__ORDER_KIND__ORDER_RESTORE, 9, uid);
	obeyed(SYNC__ORDER_KIND__ORDER_RETRACT, 8, uid);
	assert_true(is_shown(p.edge.store, 0));
	obeyed(SYNC__ORDER_KIND__ORDER_RETRACT, 10, uid);
	obeyed(SYNC__ORDER_KIND__ORDER_RESTORE, 9, uid);
	assert_false(is_shown(p.edge.store, 0));
}

/* --- R27 --- */

static void
obey__R27_more_than_a_hundredth_in_a_day_waits_for_a_person(void **state)
{
	const char *accept[] = {"retracts", "accept"};
	struct figures f;
	unsigned i;

	(void)state;
	for (i = 0; i < 8; i++)
		send(4 * i, 1);
	hear();
	for (i = 0; i < 8; i++)
		assert_int_equal(say("retract", study(4 * i)), COMMAND_OK);
	hear();
	for (i = 0; i < 8; i++)
		assert_int_equal(is_shown(p.edge.store, 4 * i), i >= OBEY_RETRACT_FEW);
	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	assert_int_equal(f.retracts, 8 - OBEY_RETRACT_FEW);
	assert_int_equal(f.unknown_orders, 0);
	assert_true(f.person);
	pair_close_edge(&p); /* a restart is no person */
	pair_open_edge(&p);
	hear();
	assert_true(is_shown(p.edge.store, 28));
	assert_int_equal(say("restore", study(0)), COMMAND_OK); /* which hides nothing */
	hear();
	assert_true(is_shown(p.edge.store, 0));
	assert_int_equal(edge_commands_run(&p.edge, 2, accept, NULL), COMMAND_OK);
	for (i = 1; i < 8; i++)
		assert_false(is_shown(p.edge.store, 4 * i));
	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	assert_int_equal(f.retracts, 0);
}

static void
evict__R27_what_was_retracted_stays_for_retract_days(void **state)
{
	uint64_t n, bytes;
	char uid[UID_SIZE];

	(void)state;
	send(0, 4);
	hear();
	strcpy(uid, study(0));
	assert_int_equal(say("retract", uid), COMMAND_OK);
	hear();
	assert_int_equal(keep_evict(p.edge.keep, uid, &n, &bytes, NULL), 0);
	assert_int_equal(n, 0);
	store_time_reach(p.edge.store, store_time(p.edge.store) + 29 * DAY_MS);
	assert_int_equal(keep_evict(p.edge.keep, uid, &n, &bytes, NULL), 0);
	assert_int_equal(n, 0);
	store_time_reach(p.edge.store, store_time(p.edge.store) + 2 * DAY_MS);
	assert_int_equal(keep_evict(p.edge.keep, uid, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	assert_true(pair_central_has(&p, 0)); /* kept-by-default */
	pair_expect_counts(&p, 0, 4);
}

/* --- whatever burns --- */

static void
retract__R15_R16_a_central_that_burnt_hears_of_it_from_the_edges(void **state)
{
	unsigned i;

	(void)state;
	send(0, 12);
	hear();
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	assert_int_equal(say("retract", study(4)), COMMAND_OK);
	assert_int_equal(say("restore", study(4)), COMMAND_OK);
	hear();
	pair_burn_central(&p);
	pair_open_central(&p);
	for (i = 0; i < 4; i++)
		hear();
	expect_shown(0, 4, false);
	expect_shown(4, 8, true);
	/* What a person says there afterwards counts above it. */
	assert_int_equal(say("restore", study(0)), COMMAND_OK);
	hear();
	expect_shown(0, 12, true);
}

static void
shell(const char *what)
{
	pair_shell(&p, what);
}

/* An epoch that comes again may be that of two centrals: for a while nothing is heard. */
static void
hear_all(void)
{
	struct contact c;
	unsigned i;

	for (i = 0; i < 10; i++)
		pair_turn(&p);
	for (edge_contact(&p.edge, &c); i < 1000 && c.two_centrals; i++) {
		pair_turn(&p);
		edge_contact(&p.edge, &c);
	}
	for (i = 0; i < 4; i++)
		hear();
}

/* No edge had heard of it when the copy was made: it is said again, and a restore came later. */
static void
retract__R15_R22_said_again_by_a_central_that_was_set_back_undoes_no_restore(void **state)
{
	(void)state;
	send(0, 4);
	hear();
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	shell("cp -a central copy");
	assert_int_equal(say("restore", study(0)), COMMAND_OK);
	hear_all();
	expect_shown(0, 4, true);
	shell("rm -rf central && mv copy central");
	shell("true");
	hear_all();
	expect_shown(0, 4, true);
}

/* What a person says there before any edge has called is the last word all the same, also where
 * central is started anew before one does. */
static void
retract__R15_R22_said_by_a_central_that_was_set_back_is_the_last_word(void **state)
{
	unsigned round;

	(void)state;
	send(0, 8);
	hear_all();
	for (round = 0; round < 2; round++) {
		shell("cp -a central copy");
		assert_int_equal(say("retract", study(4 * round)), COMMAND_OK);
		assert_int_equal(say("restore", study(4 * round)), COMMAND_OK);
		hear_all();
		shell("rm -rf central && mv copy central");
		assert_int_equal(say("retract", study(4 * round)), COMMAND_OK);
		if (!round)
			shell("true");
		hear_all();
		expect_shown(4 * round, 4, false);
	}
}

/* Also where another edge hears it before the one calls that heard what central forgot. */
static void
retract__R15_R22_that_an_edge_has_heard_is_the_last_word_too(void **state)
{
	unsigned i;

	(void)state;
	send(0, 4);
	hear_all();
	pair_site(&p, "south");
	send(100, 1);
	hear_all();
	pair_site(&p, "north");
	shell("cp -a central copy");
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	assert_int_equal(say("restore", study(0)), COMMAND_OK);
	hear_all();
	shell("rm -rf central && mv copy central");
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	pair_site(&p, "south");
	hear_all();
	for (i = 0; i < 2; i++) {
		pair_site(&p, "north");
		hear_all();
		expect_shown(0, 4, false);
		pair_site(&p, "south");
		hear_all();
		assert_false(is_shown(p.central.store, 0));
	}
}

/* Is this image in what central gives of the pack in which it has `other`? */
static bool
is_given(unsigned number, unsigned other)
{
	struct version v = pair_version(&p, p.central.store, other);
	char hex[2 * SHA256_SIZE + 1], path[120];
	struct buf bytes = BUF_INIT;
	struct caller k;
	bool yes;

	hex_of(v.pack, SHA256_SIZE, hex);
	(void)snprintf(path, sizeof(path), "/sync/v1/packs/%s", hex);
	pair_image(&p, &bytes, number);
	caller_init(&k, &p.central, "north");
	(void)caller_ask(&k, "GET", path, NULL);
	yes = k.answer.len && memmem(k.answer.data, k.answer.len, bytes.data, bytes.len) != NULL;
	caller_fini(&k);
	buf_fini(&bytes);
	return yes;
}

/* One bit of a pack's manifest: the others come all the same, by their digests. Of image 4 there
 * is a copy in this pack and another one, which is the one that the catalogue knows. */
static void
refill__R15_of_a_pack_whose_manifest_is_damaged_gives_what_is_not_withdrawn(void **state)
{
	static const struct refill_config group = {.group = true};
	struct refill_result got;
	unsigned i;

	(void)state;
	pair_site(&p, "south");
	send(4, 1);
	hear_all();
	pair_site(&p, "north");
	send(0, 8);
	hear();
	assert_memory_equal(pair_version(&p, p.central.store, 0).pack,
			    pair_version(&p, p.central.store, 7).pack, SHA256_SIZE);
	assert_memory_not_equal(pair_version(&p, p.central.store, 4).pack,
				pair_version(&p, p.central.store, 7).pack, SHA256_SIZE);
	for (i = 0; i < 8; i++)
		assert_true(is_given(i, 7));
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	assert_int_equal(say("retract", image(4)), COMMAND_OK);
	hear();
	for (i = 0; i < 8; i++)
		assert_int_equal(is_given(i, 7), i > 4);
	pair_spoil_manifest(&p, 7);
	for (i = 0; i <= 4; i++)
		assert_false(is_given(i, 7));
	pair_burn_edge(&p);
	pair_open_edge(&p);
	got = pair_refill(&p, &group);
	assert_int_equal(got.failed, 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(pair_edge_has(&p, i), i > 4);
}

/* R27: retracts that this edge does not obey. */
static uint64_t
waiting(void)
{
	uint64_t unknown, retracts;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(obey_waiting(tx, &unknown, &retracts, NULL), 0);
	store_end_read(tx);
	return retracts;
}

/* Each of two edges has heard what the other has not, when central is set back to before all of it:
 * both lists count, whoever calls first, and of one study the higher rank. */
static void
retract__R16_R22_R27_lists_of_two_edges_are_one_at_a_new_central(void **state)
{
	static const char *const sites[] = {"north", "south"};
	unsigned round, i;

	(void)state;
	send(0, 12);
	hear_all();
	pair_site(&p, "south");
	send(0, 12); /* the same images: each edge shows them */
	hear_all();
	shell("cp -a central copy"); /* from before all of it */
	for (round = 0; round < 2; round++) {
		pair_site(&p, "north");
		store_time_reach(p.edge.store, store_time(p.edge.store) + DAY_MS);
		assert_int_equal(say("retract", study(0)), COMMAND_OK);
		assert_int_equal(say("retract", study(4)), COMMAND_OK);
		hear_all();
		pair_site(&p, "south"); /* north hears no more of it */
		store_time_reach(p.edge.store, store_time(p.edge.store) + DAY_MS);
		assert_int_equal(say("restore", study(4)), COMMAND_OK);
		assert_int_equal(say("retract", study(8)), COMMAND_OK);
		hear_all();
		shell("rm -rf central && cp -a copy central");
		for (i = 0; i < 5; i++) {
			pair_site(&p, sites[(round + i) % 2]);
			hear_all();
		}
		for (i = 0; i < 2; i++) {
			pair_site(&p, sites[i]);
			expect_shown(0, 4, false);
			expect_shown(4, 4, true);
			expect_shown(8, 4, false);
			assert_int_equal(waiting(), 0); /* none is more than it was */
		}
		assert_int_equal(say("restore", study(0)), COMMAND_OK);
		assert_int_equal(say("restore", study(8)), COMMAND_OK);
		for (i = 0; i < 2; i++) {
			pair_site(&p, sites[i]);
			hear_all();
			expect_shown(0, 12, true);
		}
	}
}

/* What the central that burnt had said is accepted later: the new one hears of that, too. */
static void
obey__R15_R27_what_waited_through_a_fire_reaches_the_next_central(void **state)
{
	const char *accept[] = {"retracts", "accept"};
	unsigned i;

	(void)state;
	for (i = 0; i < 8; i++)
		send(4 * i, 1);
	hear();
	for (i = 0; i < 8; i++)
		assert_int_equal(say("retract", study(4 * i)), COMMAND_OK);
	hear();
	pair_burn_central(&p);
	pair_open_central(&p);
	for (i = 0; i < 4; i++)
		hear();
	expect_shown(28, 1, true);
	assert_int_equal(edge_commands_run(&p.edge, 2, accept, NULL), COMMAND_OK);
	for (i = 0; i < 4; i++)
		hear();
	for (i = 0; i < 8; i++)
		expect_shown(4 * i, 1, false);
}

static void
rebuild__R16_the_log_tells_a_new_catalogue_what_is_hidden(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	send(0, 8);
	hear();
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	assert_int_equal(say("retract", image(5)), COMMAND_OK);
	assert_int_equal(say("restore", image(2)), COMMAND_OK);
	pair_close_central(&p);
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	central_close(&p.central);
	pair_open_central(&p);
	pair_turn(&p); /* hello: a new epoch */
	hear();
	expect_shown(0, 2, false);
	expect_shown(2, 1, true);
	expect_shown(3, 1, false);
	expect_shown(4, 1, true);
	expect_shown(5, 1, false);
	expect_shown(6, 2, true);
}

static void
rebuild__R13_R15_an_edge_keeps_hidden_what_was_retracted(void **state)
{
	struct rebuild_result result;
	struct edge edge;
	struct err e = ERR_INIT;

	(void)state;
	send(0, 8);
	hear();
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	hear();
	pair_close_edge(&p);
	if (edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e) || rebuild_store(&edge, &result, &e))
		fail_msg("%s", e.what);
	edge_close(&edge);
	pair_open_edge(&p); /* nobody has been heard yet */
	assert_false(is_shown(p.edge.store, 1));
	assert_true(is_shown(p.edge.store, 5));
	hear();
	expect_shown(0, 4, false);
	expect_shown(4, 4, true);
}

static void
adopt__R15_an_old_disk_imported_later_shows_nothing_that_was_retracted(void **state)
{
	struct link_served to = {.node = &p.central, .site = "south"};
	struct link *link;
	char dir[128];
	unsigned i, k;

	(void)state;
	send(0, 2);
	hear();
	pair_site(&p, "south"); /* cut off: its disk lies in a drawer */
	p.cut_method = "POST";
	send(2, 4);
	assert_int_equal(say("retract", study(0)), COMMAND_OK);
	p.cut_method = NULL;
	(void)snprintf(dir, sizeof(dir), "%s/disk", p.dir);
	assert_int_equal(file_mkdirs(p.dir, "disk", NULL), 0);
	replicate_free(p.r);
	assert_int_equal(link_disk(&link, dir, "south", NULL), 0);
	assert_int_equal(replicate_new(&p.r, &p.edge, link, NULL), 0);
	to.routes = intake_routes(&to.n_routes);
	for (i = 0; i < 60 && !pair_central_has(&p, 5); i++) {
		for (k = 0; k < 8; k++)
			pair_turn(&p);
		assert_int_equal(link_disk_serve(&to, dir, NULL), 0);
	}
	for (i = 0; i < 4; i++)
		assert_false(is_shown(p.central.store, i));
	for (i = 2; i < 6; i++)
		assert_true(pair_central_has(&p, i));
	assert_true(is_shown(p.central.store, 5));
}

/* --- who may --- */

static int
post_back_times(const struct buf *order_bytes, size_t n)
{
	Sync__OrdersBack m = SYNC__ORDERS_BACK__INIT;
	ProtobufCBinaryData all[ORDERS_MAX + 1];
	struct link_served to = {.node = &p.central, .site = "north"};
	struct http_call call = {.method = "POST", .path = ORDERS_BACK_PATH, .body = BUF_INIT};
	struct http_done done;
	struct id128 epoch;

	m.orders = all;
	while (m.n_orders < n)
		all[m.n_orders++] = message_bytes(order_bytes->data, order_bytes->len);
	message_pack(&call.body, &m.base);
	central_epoch(&p.central, &epoch);
	hex_of(epoch.b, ID128_SIZE, call.epoch);
	to.routes = intake_routes(&to.n_routes);
	link_serve(&to, &call, &done);
	buf_fini(&call.body);
	buf_fini(&done.body);
	return done.status;
}

static int
post_back(const struct buf *order_bytes)
{
	return post_back_times(order_bytes, 1);
}

static void
back__R24_R26_what_a_site_makes_up_decides_nothing(void **state)
{
	char uid[UID_SIZE];
	struct buf b;

	(void)state;
	send(0, 1);
	hear();
	strcpy(uid, study(0));
	b = order(SYNC__ORDER_KIND__ORDER_RETRACT, 5, uid);
	p.central.identity.by_init = true; /* an archive with a receipt key to keep */
	assert_int_equal(post_back(&b), 200);
	assert_int_equal(post_back_times(&b, ORDERS_MAX), 200);
	assert_int_equal(post_back_times(&b, ORDERS_MAX + 1), 400);
	assert_true(is_shown(p.central.store, 0));
	buf_fini(&b);
	b = order(SYNC__ORDER_KIND__ORDER_RETRACT, UINT64_MAX, uid); /* would use the numbers up */
	p.central.identity.by_init = false;
	assert_int_equal(post_back(&b), 200);
	assert_true(is_shown(p.central.store, 0));
	buf_fini(&b);
}

int
main(void)
{
#define WITH(test) pair_test(test, p)
	const struct CMUnitTest tests[] = {
		WITH(retract__R15_R18_hides_a_study_at_both_ends_and_restore_shows_it_as_it_was),
		WITH(retract__R15_of_a_series_or_an_image_and_the_last_word_counts),
		WITH(retract__usage_wants_a_reason_and_a_known_uid),
		WITH(retract__R15_R17_what_comes_later_of_it_is_taken_and_hidden_and_listed),
		WITH(obey__R15_a_lower_number_never_undoes_a_higher_one),
		WITH(obey__R27_more_than_a_hundredth_in_a_day_waits_for_a_person),
		WITH(evict__R27_what_was_retracted_stays_for_retract_days),
		WITH(retract__R15_R16_a_central_that_burnt_hears_of_it_from_the_edges),
		WITH(retract__R15_R22_said_again_by_a_central_that_was_set_back_undoes_no_restore),
		WITH(retract__R15_R22_said_by_a_central_that_was_set_back_is_the_last_word),
		WITH(retract__R15_R22_that_an_edge_has_heard_is_the_last_word_too),
		WITH(retract__R16_R22_R27_lists_of_two_edges_are_one_at_a_new_central),
		WITH(refill__R15_of_a_pack_whose_manifest_is_damaged_gives_what_is_not_withdrawn),
		WITH(obey__R15_R27_what_waited_through_a_fire_reaches_the_next_central),
		WITH(rebuild__R16_the_log_tells_a_new_catalogue_what_is_hidden),
		WITH(rebuild__R13_R15_an_edge_keeps_hidden_what_was_retracted),
		WITH(adopt__R15_an_old_disk_imported_later_shows_nothing_that_was_retracted),
		WITH(back__R24_R26_what_a_site_makes_up_decides_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
