/* Who was set back or cloned: an edge goes on as another incarnation (R8), central in another epoch
 * (R22). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/record.h"
#include "central/sites.h"
#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/mend.h"
#include "edge/outbox.h"
#include "edge/setback.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"
#include "tests/lib/stored.h"

enum { TURNS = 600 };

/* --- disks --- */

/* What is called `to` is a copy of `from` from now on. */
static void
copy(const struct pair *p, const char *from, const char *to)
{
	char command[400];

	(void)snprintf(command, sizeof(command), "cd %s && rm -rf %s && cp -a %s %s", p->dir, to,
		       from, to);
	assert_int_equal(system(command), 0);
}

/* A node's disk is copied, and set back, while nobody has it open. */
static void
swap_edge(struct pair *p, const char *from, const char *to)
{
	pair_close_edge(p);
	copy(p, from, to);
	pair_open_edge(p);
}

static void
swap_central(struct pair *p, const char *from, const char *to)
{
	pair_close_central(p);
	copy(p, from, to);
	pair_open_central(p);
}

static void
rebuild_central(struct pair *p)
{
	struct err e = ERR_INIT;

	pair_close_central(p);
	if (central_open(&p->central, p->central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	central_close(&p->central);
	pair_open_central(p);
}

/* The copy is the edge that is open, and the other way round. */
static void
turn_to_other(struct pair *p)
{
	char command[400];

	pair_close_edge(p);
	(void)snprintf(command, sizeof(command),
		       "cd %s && mv edge edge.x && mv edge.then edge && mv edge.x edge.then",
		       p->dir);
	assert_int_equal(system(command), 0);
	pair_open_edge(p);
}

/* --- what is --- */

static void
send(struct pair *p, unsigned first, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		assert_int_equal(pair_send(p, first + i), 0);
}

static void
send_all(struct pair *p, unsigned first, unsigned n)
{
	send(p, first, n);
	assert_true(pair_settle(p, TURNS));
}

/* Announced, and none of its bytes. */
static void
announce(struct pair *p, unsigned first, unsigned n)
{
	unsigned i;

	p->cut_method = "PATCH";
	send(p, first, n);
	for (i = 0; i < 12; i++)
		pair_turn(p);
	p->cut_method = NULL;
}

static struct id128
incarnation(struct pair *p)
{
	struct id128 id;

	edge_incarnation(&p->edge, &id);
	return id;
}

static void
expect(struct pair *p, unsigned held, unsigned owed, unsigned lost)
{
	struct store_tx *tx;
	struct tally t;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	store_end_read(tx);
	assert_true(t.n > 0);
	assert_int_equal(t.rows[0].site_of[TALLY_HELD], held);
	assert_int_equal(t.rows[0].site_of[TALLY_OWED], owed);
	assert_int_equal(t.rows[0].site_of[TALLY_LOST], lost);
	assert_int_equal(t.rows[0].site_known, held + owed + lost);
	tally_free(&t);
}

/* n incarnations that central knows of, `open` of them not closed. */
static void
expect_lives(struct pair *p, size_t n, size_t open)
{
	struct store_tx *tx;
	struct tally t;
	size_t i, k = 0;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_sites(&t, tx, NULL), 0);
	store_end_read(tx);
	for (i = 0; i < t.n; i++)
		k += !t.rows[i].site.closed;
	assert_int_equal(t.n, n);
	assert_int_equal(k, open);
	tally_free(&t);
}

static struct branch
branch_of(struct pair *p)
{
	struct branch b;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(branch_read(tx, &b, NULL), 0);
	store_end_read(tx);
	return b;
}

static uint64_t
head(struct pair *p)
{
	struct ledger_head h;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(ledger_head(tx, &h, NULL), 0);
	store_end_read(tx);
	return h.seq;
}

static bool
same(struct pair *p, const struct id128 *before)
{
	struct id128 now = incarnation(p);

	return id128_same(&now, before);
}

/* Entries that tell of nothing: many of them are made quickly. */
static int
put_entries(struct store_tx *tx, void *arg, struct err *e)
{
	Sync__LedgerEntry m = SYNC__LEDGER_ENTRY__INIT;
	struct buf entry = BUF_INIT;
	unsigned i;
	uint64_t seq;
	int rc = 0;

	for (i = 0; !rc && i < *(unsigned *)arg; i++) {
		buf_clear(&entry);
		m.kind = (Sync__LedgerKind)99;
		m.wall_ms = (int64_t)rng_u64(rng_real());
		message_pack(&entry, &m.base);
		rc = ledger_append(tx, &entry, &seq, e);
	}
	buf_fini(&entry);
	return rc;
}

static void
entries(struct pair *p, unsigned n)
{
	assert_int_equal(store_commit(p->edge.store, put_entries, &n, NULL), 0);
}

/* Until the next hello of its own accord has been answered. */
static void
idle(struct pair *p, unsigned hellos)
{
	unsigned i;

	for (i = 0; i < 3 * hellos; i++)
		pair_turn(p);
}

/* --- the edge --- */

static void
edge__R8_set_back_goes_on_as_another_incarnation(void **state)
{
	struct id128 before;
	struct branch b;
	struct pair p;
	uint64_t common;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 4);
	swap_edge(&p, "edge", "edge.then");
	assert_true(pair_settle(&p, TURNS));
	common = head(&p);
	before = incarnation(&p);
	send_all(&p, 4, 4);
	swap_edge(&p, "edge.then", "edge");
	assert_true(pair_settle(&p, TURNS));
	b = branch_of(&p);
	assert_false(id128_same(&b.incarnation, &before));
	assert_true(id128_same(&b.previous, &before));
	assert_int_equal(b.common, common); /* exactly: no entry twice */
	expect(&p, 8, 0, 0);
	expect_lives(&p, 2, 1);
	/* What it takes in from now on arrives, and what its former life took in can come again. */
	send_all(&p, 6, 4);
	expect(&p, 10, 0, 0);
	for (i = 0; i < 10; i++)
		assert_true(pair_central_has(&p, i));
	/* R5: and that stays so over restarts of both. */
	pair_close_edge(&p);
	pair_close_central(&p);
	pair_open_central(&p);
	pair_open_edge(&p);
	send_all(&p, 10, 1);
	expect(&p, 11, 0, 0);
	expect_lives(&p, 2, 1);
	pair_fini(&p);
}

static void
edge__R8_R18_what_the_former_life_had_alone_is_lost_and_the_rest_is_not(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	announce(&p, 2, 2); /* in both lives */
	swap_edge(&p, "edge", "edge.then");
	announce(&p, 4, 3); /* in the former life only */
	expect(&p, 2, 5, 0);
	swap_edge(&p, "edge.then", "edge");
	p.cut_method = "PATCH";
	idle(&p, 6);
	expect(&p, 2, 2, 3);
	expect_lives(&p, 2, 1);
	/* R16: log and packs alone say the same. */
	rebuild_central(&p);
	expect(&p, 2, 2, 3);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	expect(&p, 4, 0, 3);
	send_all(&p, 4, 1); /* the modality has it still */
	expect(&p, 5, 0, 2);
	pair_fini(&p);
}

/* R20: a study is answered by all that is known of it, also by what the former life took in. */
static void
edge__R8_R20_knows_what_its_former_life_announced(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	swap_edge(&p, "edge", "edge.then");
	send_all(&p, 2, 4);
	announce(&p, 6, 1);
	swap_edge(&p, "edge.then", "edge");
	assert_true(pair_settle(&p, TURNS));
	assert_true(stored_counts(p.edge.store).known == 2);
	p.cut_method = "POST"; /* central does not answer: later */
	mend_turn(p.edge.mend);
	assert_true(p.edge.relist);
	p.cut_method = NULL;
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_true(p.edge.relist); /* a restart forgets nothing */
	assert_true(pair_settle(&p, TURNS));
	mend_turn(p.edge.mend);
	assert_false(p.edge.relist);
	assert_true(stored_counts(p.edge.store).known == 7);
	assert_true(stored_counts(p.edge.store).instances == 2);
	expect(&p, 6, 0, 1);
	/* R18: and another central, in the place of one that burnt, hears of all of them. */
	pair_burn_central(&p);
	pair_open_central(&p);
	idle(&p, 3);
	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i < 8; i++)
		pair_turn(&p);
	expect(&p, 2, 0, 5);
	pair_fini(&p);
}

/* Cut off, it takes in more than its former life had announced: then H differs. */
static void
edge__R8_set_back_while_cut_off_and_past_centrals_head(void **state)
{
	struct id128 before;
	struct pair p;
	uint64_t common, central;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 3);
	swap_edge(&p, "edge", "edge.then");
	assert_true(pair_settle(&p, TURNS));
	common = head(&p);
	before = incarnation(&p);
	send_all(&p, 3, 2);
	announce(&p, 5, 2);
	central = head(&p);
	p.cut_method = "POST";
	swap_edge(&p, "edge.then", "edge");
	send(&p, 10, 12);
	assert_true(head(&p) > central);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(branch_of(&p).common, common);
	assert_false(same(&p, &before));
	expect(&p, 3 + 2 + 12, 0, 2);
	for (i = 10; i < 22; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* Nothing was taken in since: only the token tells. */
static void
edge__R8_a_copy_is_known_by_its_token(void **state)
{
	struct id128 before;
	struct pair p;
	uint64_t seq;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	swap_edge(&p, "edge", "edge.then");
	before = incarnation(&p);
	assert_true(pair_settle(&p, TURNS));
	seq = head(&p);
	idle(&p, 2);
	swap_edge(&p, "edge.then", "edge");
	assert_true(pair_settle(&p, TURNS));
	assert_false(same(&p, &before));
	assert_int_equal(branch_of(&p).common, seq);
	expect(&p, 2, 0, 0);
	pair_fini(&p);
}

/* Far back: more entries than one answer has hashes for each. */
static void
edge__R8_finds_the_last_common_seq_by_every_4096th_hash(void **state)
{
	struct pair p;
	uint64_t common;

	(void)state;
	pair_init(&p, "256MiB");
	send_all(&p, 0, 1);
	entries(&p, 9000);
	assert_true(pair_settle(&p, TURNS));
	swap_edge(&p, "edge", "edge.then");
	assert_true(pair_settle(&p, TURNS));
	common = head(&p);
	entries(&p, 6000);
	assert_true(pair_settle(&p, TURNS));
	p.cut_method = "POST";
	swap_edge(&p, "edge.then", "edge");
	entries(&p, 8000);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(branch_of(&p).common, common);
	expect(&p, 1, 0, 0);
	pair_fini(&p);
}

/* Whatever message is lost, and whoever starts anew: no new incarnation. */
static void
hello__R8_a_lost_answer_or_a_restart_is_no_set_back(void **state)
{
	struct id128 before;
	struct pair p;
	unsigned n;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	before = incarnation(&p);
	for (n = 1; n <= 12; n++) {
		p.cut_at = p.messages + n;
		if (n % 3 == 0) {
			pair_close_edge(&p);
			pair_open_edge(&p);
		}
		idle(&p, 3);
		if (n % 4 == 0) {
			pair_close_central(&p);
			pair_open_central(&p);
		}
		send(&p, 1 + n, 1);
		assert_true(pair_settle(&p, TURNS));
		assert_true(p.messages > p.cut_at);
	}
	p.cut_at = 0;
	rebuild_central(&p); /* the tokens are not in the log */
	idle(&p, 3);
	assert_true(pair_settle(&p, TURNS));
	assert_true(same(&p, &before));
	expect_lives(&p, 1, 1);
	expect(&p, 14, 0, 0);
	pair_fini(&p);
}

/* --- twins --- */

static unsigned
twins(struct pair *p)
{
	struct contact c;

	edge_contact(&p->edge, &c);
	return c.n_twins;
}

static void
keep_this(struct pair *p)
{
	struct id128 id = incarnation(p);

	assert_int_equal(record_decision(&p->central, SYNC__DECISION_KIND__DECISION_KEEP, "north",
					 &id, "test", NULL),
			 0);
}

static void
twins__R8_both_go_on_each_in_its_own_incarnation(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	swap_edge(&p, "edge", "edge.then");
	send_all(&p, 2, 2);
	turn_to_other(&p);
	send_all(&p, 10, 2);
	expect_lives(&p, 2, 1);
	assert_int_equal(twins(&p), 0); /* perhaps the former one was restored: nobody knows */
	turn_to_other(&p);
	idle(&p, 2);
	send_all(&p, 4, 2);
	idle(&p, 2);
	expect_lives(&p, 2, 2);
	assert_int_equal(twins(&p), 2);
	turn_to_other(&p);
	announce(&p, 12, 2);
	assert_int_equal(twins(&p), 2);
	expect(&p, 8, 2, 0); /* what a twin has is not lost */
	expect_lives(&p, 2, 2);
	/* R16: the log tells it as well. */
	rebuild_central(&p);
	expect_lives(&p, 2, 2);
	/* This one stays; the other goes on delivering. */
	keep_this(&p);
	assert_true(pair_settle(&p, TURNS));
	idle(&p, 2);
	assert_int_equal(twins(&p), 0);
	assert_false(p.edge.drains);
	turn_to_other(&p);
	idle(&p, 2);
	assert_true(p.edge.drains);
	assert_int_equal(twins(&p), 0);
	assert_true(pair_settle(&p, TURNS));
	expect(&p, 10, 0, 0);
	/* It takes nothing in, also after a restart where nobody answers; and shows what it has. */
	p.cut_method = "POST";
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(pair_send(&p, 30), -1);
	assert_int_equal(pair_send(&p, 0), -1);
	assert_true(pair_edge_has(&p, 0));
	p.cut_method = NULL;
	for (i = 0; i < 6; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* A copy that says the last token, the same as the first: the next hello of either tells. */
static void
twins__R8_clones_that_begin_with_one_token_are_told_apart(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	swap_edge(&p, "edge", "edge.then");
	for (i = 0; i < 4; i++) {
		idle(&p, 2);
		turn_to_other(&p);
	}
	idle(&p, 2);
	assert_int_equal(twins(&p), 2);
	turn_to_other(&p);
	idle(&p, 2);
	assert_int_equal(twins(&p), 2);
	pair_fini(&p);
}

/* --- central --- */

static struct id128
epoch(struct pair *p)
{
	struct id128 id;

	central_epoch(&p->central, &id);
	return id;
}

static bool
same_epoch(struct pair *p, const struct id128 *before)
{
	struct id128 now = epoch(p);

	return id128_same(&now, before);
}

static void
central__R22_set_back_takes_a_new_epoch_and_gets_all_of_it_again(void **state)
{
	struct id128 before, own;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 4);
	swap_central(&p, "central", "central.then");
	assert_true(pair_settle(&p, TURNS));
	send_all(&p, 4, 4);
	before = epoch(&p);
	own = incarnation(&p);
	swap_central(&p, "central.then", "central");
	for (i = 0; i < 8 && same_epoch(&p, &before); i++)
		idle(&p, 1);
	assert_false(same_epoch(&p, &before));
	assert_true(pair_settle(&p, TURNS));
	idle(&p, 2);
	expect(&p, 8, 0, 0);
	for (i = 0; i < 8; i++)
		assert_true(pair_central_has(&p, i));
	assert_true(same(&p, &own)); /* it was not the edge */
	expect_lives(&p, 1, 1);
	pair_fini(&p);
}

/* Nothing was receipted since the copy: the token tells. */
static void
central__R22_set_back_is_known_by_a_token_above_its_count(void **state)
{
	struct id128 before, own;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	swap_central(&p, "central", "central.then");
	idle(&p, 4);
	before = epoch(&p);
	own = incarnation(&p);
	swap_central(&p, "central.then", "central");
	idle(&p, 3);
	assert_false(same_epoch(&p, &before));
	assert_true(pair_settle(&p, TURNS));
	assert_true(same(&p, &own));
	before = epoch(&p);
	idle(&p, 4);
	assert_true(same_epoch(&p, &before)); /* once */
	expect(&p, 2, 0, 0);
	pair_fini(&p);
}

static int
put_receipt(struct store_tx *tx, void *arg, struct err *e)
{
	return sync_put(tx, "receipt", arg, strlen(arg), e);
}

static bool
central_needs_a_person(struct pair *p)
{
	struct store_tx *tx;
	struct sites s;
	bool needs;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(sites_make(&s, tx, NULL), 0);
	store_end_read(tx);
	needs = sites_need_a_person(&s);
	sites_free(&s);
	return needs;
}

static void
hello__R22_a_receipt_that_is_not_ours_is_an_alarm_only(void **state)
{
	char bogus[] = "none of ours";
	struct id128 before;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	before = epoch(&p);
	assert_false(central_needs_a_person(&p));
	assert_int_equal(store_commit(p.edge.store, put_receipt, bogus, NULL), 0);
	idle(&p, 2);
	assert_true(same_epoch(&p, &before));
	assert_true(central_needs_a_person(&p));
	send_all(&p, 2, 1); /* its last one is ours again */
	idle(&p, 2);
	assert_false(central_needs_a_person(&p));
	assert_true(same_epoch(&p, &before));
	pair_fini(&p);
}

static void
both__R8_R22_set_back_at_once_the_edge_further(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	swap_edge(&p, "edge", "edge.then");
	send_all(&p, 2, 2);
	swap_central(&p, "central", "central.then");
	assert_true(pair_settle(&p, TURNS));
	send_all(&p, 4, 2); /* nobody will know of these */
	pair_close_edge(&p);
	swap_central(&p, "central.then", "central");
	swap_edge(&p, "edge.then", "edge");
	send_all(&p, 6, 2);
	expect(&p, 6, 0, 0);
	expect_lives(&p, 2, 1);
	for (i = 0; i < 8; i++)
		assert_true(pair_central_has(&p, i) == (i < 4 || i >= 6));
	pair_fini(&p);
}

static void
both__R8_R22_set_back_at_once_central_further(void **state)
{
	struct id128 before;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	swap_central(&p, "central", "central.then");
	assert_true(pair_settle(&p, TURNS));
	send_all(&p, 2, 2);
	swap_edge(&p, "edge", "edge.then");
	assert_true(pair_settle(&p, TURNS));
	send_all(&p, 4, 2);
	before = epoch(&p);
	pair_close_edge(&p);
	swap_central(&p, "central.then", "central");
	swap_edge(&p, "edge.then", "edge");
	send_all(&p, 6, 2);
	idle(&p, 2);
	assert_true(pair_settle(&p, TURNS));
	assert_false(same_epoch(&p, &before));
	expect(&p, 6, 0, 0);
	for (i = 0; i < 8; i++)
		assert_true(pair_central_has(&p, i) == (i < 4 || i >= 6));
	pair_fini(&p);
}

/* Central was set back to before the edge was: it does not know where the edge branched off. */
static void
both__R8_R22_central_set_back_behind_the_branch_hears_all_of_it(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 0, 2);
	swap_central(&p, "central", "central.then");
	assert_true(pair_settle(&p, TURNS));
	send_all(&p, 2, 2);
	swap_edge(&p, "edge", "edge.then");
	send_all(&p, 4, 2);
	swap_edge(&p, "edge.then", "edge");
	send_all(&p, 6, 2);
	expect(&p, 8, 0, 0);
	swap_central(&p, "central.then", "central");
	idle(&p, 3);
	assert_true(pair_settle(&p, TURNS));
	expect(&p, 6, 0, 0); /* 4 and 5 burnt with central */
	for (i = 0; i < 8; i++)
		assert_true(pair_central_has(&p, i) == (i < 4 || i >= 6));
	/* Emptied as well. */
	pair_burn_central(&p);
	pair_open_central(&p);
	idle(&p, 3);
	assert_true(pair_settle(&p, TURNS));
	expect(&p, 6, 0, 0);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edge__R8_set_back_goes_on_as_another_incarnation),
		cmocka_unit_test(
			edge__R8_R18_what_the_former_life_had_alone_is_lost_and_the_rest_is_not),
		cmocka_unit_test(edge__R8_R20_knows_what_its_former_life_announced),
		cmocka_unit_test(edge__R8_set_back_while_cut_off_and_past_centrals_head),
		cmocka_unit_test(edge__R8_a_copy_is_known_by_its_token),
		cmocka_unit_test(edge__R8_finds_the_last_common_seq_by_every_4096th_hash),
		cmocka_unit_test(hello__R8_a_lost_answer_or_a_restart_is_no_set_back),
		cmocka_unit_test(twins__R8_both_go_on_each_in_its_own_incarnation),
		cmocka_unit_test(twins__R8_clones_that_begin_with_one_token_are_told_apart),
		cmocka_unit_test(central__R22_set_back_takes_a_new_epoch_and_gets_all_of_it_again),
		cmocka_unit_test(central__R22_set_back_is_known_by_a_token_above_its_count),
		cmocka_unit_test(hello__R22_a_receipt_that_is_not_ours_is_an_alarm_only),
		cmocka_unit_test(both__R8_R22_set_back_at_once_the_edge_further),
		cmocka_unit_test(both__R8_R22_set_back_at_once_central_further),
		cmocka_unit_test(both__R8_R22_central_set_back_behind_the_branch_hears_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
