/* Who may read at a central that may have forgotten who was removed (R22, R25, R26). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/birth.h"
#include "central/catalogue.h"
#include "central/central_commands.h"
#include "central/dispatch.h"
#include "central/gate.h"
#include "central/members.h"
#include "central/record.h"
#include "central/standing.h"
#include "common/base/err.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/withdrawn.h"
#include "tests/lib/caller.h"
#include "tests/lib/pair.h"

enum { SITES = 5, EAST = 0, WEST, NORTH, SOUTH, SILENT, OK = 200 };

static const char *const names[SITES] = {"east", "west", "north", "south", "silent"};

/* What an edge keeps of who may call. */
struct memory {
	size_t n;
	struct buf orders[ORDERS_MAX];
};

static struct pair p;
static struct caller sites[SITES];
static char passphrase[96], kit[96];

static void
open_archive(bool recover)
{
	struct birth_wish wish = {recover, kit, passphrase};
	struct err e = ERR_INIT;
	struct born born;

	if (birth_init(p.central_conf, &wish, &born, &e))
		fail_msg("init: %s", e.what);
	pair_open_central(&p);
}

static struct member
row(int site)
{
	struct store_tx *tx;
	struct member m;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	if (member_get(tx, names[site], &m, NULL))
		memset(&m, 0, sizeof(m));
	store_end_read(tx);
	return m;
}

static bool
reads_own_only(int site)
{
	bool own = false;

	assert_int_equal(gate_reads_own_only(&p.central, names[site], &own, NULL), 0);
	return own;
}

static int
keep(void *arg, const struct withdrawn_row *r, struct err *e)
{
	struct memory *m = arg;

	(void)e;
	assert_true(m->n < ORDERS_MAX);
	buf_init(&m->orders[m->n]);
	buf_put(&m->orders[m->n++], r->bytes, r->n);
	return 0;
}

static void
remember(struct memory *m)
{
	struct store_tx *tx;

	m->n = 0;
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(standing_rows(tx, keep, m, NULL), 0);
	store_end_read(tx);
}

static void
forget(struct memory *m)
{
	while (m->n)
		buf_fini(&m->orders[--m->n]);
}

static int
post(int site, const Sync__OrdersBack *back)
{
	struct buf body = BUF_INIT;
	int status;

	message_pack(&body, &back->base);
	status = caller_ask(&sites[site], "POST", ORDERS_BACK_PATH, &body);
	buf_fini(&body);
	return status;
}

/* As an edge does when it has found a central: all that it keeps, and that this is all. */
static int
tell(int site, const struct memory *m)
{
	Sync__OrdersBack back = SYNC__ORDERS_BACK__INIT;
	ProtobufCBinaryData list[ORDERS_MAX];
	size_t i;

	for (i = 0; m && i < m->n; i++)
		list[i] = message_bytes(m->orders[i].data, m->orders[i].len);
	back.orders = list;
	back.n_orders = m ? m->n : 0;
	back.standings = true;
	return post(site, &back);
}

static void
may_not(int site, Sync__DecisionKind kind, Sync__Standing standing)
{
	assert_int_equal(record_decision(&p.central, (int)kind, names[site], NULL, "a test", NULL),
			 0);
	assert_int_equal(standing_tell(&p.central, names[site], (int)standing, NULL), 0);
}

static void
removed(int site)
{
	may_not(site, SYNC__DECISION_KIND__DECISION_SITE_REMOVE, SYNC__STANDING__STANDING_REMOVED);
}

static int
site_command_with(const char *what, int site, const char *option)
{
	const char *words[] = {"site", what, names[site], option};

	return ctl_local(central_commands_run, &p.central, option ? 4 : 3, words);
}

static int
site_command(const char *what, int site)
{
	return site_command_with(what, site, NULL);
}

static void
burns(void)
{
	pair_burn_central(&p);
	open_archive(true);
}

static void
enrol(int site)
{
	unsigned char secret[16];

	caller_init(&sites[site], &p.central, names[site]);
	caller_invite(&p.central, names[site], 72, secret);
	assert_int_equal(caller_join(&sites[site], secret), 200);
	sites[site].certified = true;
}

static int
make_archive(void **state)
{
	int i;

	(void)state;
	pair_prepare(&p, "64MiB");
	(void)snprintf(passphrase, sizeof(passphrase), "%s/passphrase", p.dir);
	(void)snprintf(kit, sizeof(kit), "%s/a.kit", p.dir);
	assert_int_equal(file_replace(p.dir, "passphrase", "sesame\n", 7, NULL), 0);
	open_archive(false);
	for (i = 0; i < SITES; i++) {
		enrol(i);
		assert_int_equal(tell(i, NULL), OK);
	}
	return 0;
}

static int
drop_archive(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < SITES; i++)
		caller_fini(&sites[i]);
	pair_fini(&p);
	return 0;
}

/* --- after a fire --- */

static void
vouch__R25_R26_two_that_were_removed_do_not_vouch_for_each_other(void **state)
{
	struct memory before, now;

	(void)state;
	remember(&before);
	assert_int_equal(before.n, SITES);
	removed(EAST);
	removed(WEST);
	remember(&now);
	burns();
	assert_int_equal(tell(EAST, &before), OK);
	assert_int_equal(tell(WEST, &before), OK);
	assert_int_equal(tell(EAST, &before), OK);
	assert_true(reads_own_only(EAST));
	assert_true(reads_own_only(WEST));
	assert_int_equal(tell(NORTH, &now), OK);
	assert_int_equal(tell(EAST, &before), 403);
	assert_int_equal(tell(WEST, &before), 403);
	forget(&before);
	forget(&now);
}

static void
vouch__R25_more_than_half_of_the_others_are_enough(void **state)
{
	struct memory all;

	(void)state;
	remember(&all);
	burns();
	assert_int_equal(tell(EAST, &all), OK);
	assert_int_equal(tell(WEST, &all), OK);
	assert_int_equal(tell(NORTH, &all), OK);
	assert_true(reads_own_only(NORTH)); /* two of its four others */
	assert_int_equal(tell(SOUTH, &all), OK);
	assert_false(reads_own_only(NORTH));
	assert_false(reads_own_only(EAST));
	assert_int_equal(tell(SILENT, &all), OK); /* the last one is let in at once */
	assert_false(reads_own_only(SILENT));
	forget(&all);
}

static void
vouch__R26_who_may_call_no_more_is_waited_for_by_nobody(void **state)
{
	struct memory now;

	(void)state;
	removed(SILENT);
	removed(WEST);
	may_not(SOUTH, SYNC__DECISION_KIND__DECISION_SITE_SUSPEND,
		SYNC__STANDING__STANDING_SUSPENDED);
	remember(&now);
	burns();
	assert_int_equal(tell(EAST, &now), OK);
	assert_int_equal(tell(NORTH, &now), OK);
	assert_false(reads_own_only(EAST));
	assert_false(reads_own_only(NORTH));
	forget(&now);
}

/* Of five buildings three burnt with central: those that are to come again have no word now. */
static void
vouch__R26_who_is_to_join_anew_is_waited_for_by_nobody(void **state)
{
	struct memory all;
	unsigned char secret[16];
	int i;

	(void)state;
	remember(&all);
	burns();
	assert_int_equal(tell(EAST, &all), OK);
	assert_int_equal(tell(WEST, &all), OK);
	for (i = NORTH; i < SITES; i++) {
		assert_true(reads_own_only(EAST));
		assert_true(reads_own_only(WEST));
		caller_invite(&p.central, names[i], 72, secret);
	}
	assert_false(reads_own_only(EAST));
	assert_false(reads_own_only(WEST));
	forget(&all);
}

/* Central knows of them by the others' word alone. */
static void
vouch__R26_who_burnt_as_well_can_be_removed_though_it_never_called(void **state)
{
	struct memory all;
	int i;

	(void)state;
	remember(&all);
	burns();
	assert_int_equal(tell(EAST, &all), OK);
	assert_int_equal(tell(WEST, &all), OK);
	for (i = NORTH; i < SITES; i++) {
		assert_true(reads_own_only(EAST));
		assert_int_equal(site_command("remove", i), COMMAND_OK);
		assert_true(row(i).removed);
	}
	assert_false(reads_own_only(EAST));
	assert_false(reads_own_only(WEST));
	forget(&all);
}

/* --- set back --- */

static void
epoch__R22_R26_of_a_central_that_was_set_back_each_is_vouched_for_anew(void **state)
{
	struct memory before;

	(void)state;
	remember(&before);
	assert_false(reads_own_only(EAST));
	assert_int_equal(record_epoch(&p.central, "set back", NULL), 0);
	assert_true(reads_own_only(EAST)); /* it may have been removed since */
	assert_true(reads_own_only(NORTH));
	assert_true(row(EAST).keyed); /* and joins nothing anew */
	assert_int_equal(tell(EAST, &before), OK);
	assert_int_equal(tell(WEST, &before), OK);
	assert_true(reads_own_only(EAST));
	assert_int_equal(tell(NORTH, &before), OK);
	assert_int_equal(tell(SOUTH, &before), OK);
	assert_false(reads_own_only(EAST));
	assert_false(reads_own_only(SILENT));
	forget(&before);
}

static void
epoch__R22_a_person_says_who_reads_and_the_only_site_needs_nobody(void **state)
{
	int i;

	(void)state;
	assert_int_equal(record_epoch(&p.central, "set back", NULL), 0);
	assert_int_equal(record_decision(&p.central, SYNC__DECISION_KIND__DECISION_SITE_READMIT,
					 names[EAST], NULL, "a test", NULL),
			 0);
	assert_false(reads_own_only(EAST));
	for (i = WEST; i < SITES; i++)
		removed(i);
	assert_int_equal(record_epoch(&p.central, "set back", NULL), 0);
	assert_false(reads_own_only(EAST));
}

/* What tells that a site exists is below all that a person says of it, however late. */
static void
standing__R26_that_a_site_joined_never_undoes_that_it_was_removed(void **state)
{
	struct memory joined;

	(void)state;
	remember(&joined);
	removed(EAST);
	assert_int_equal(tell(NORTH, &joined), OK);
	assert_int_equal(tell(EAST, &joined), 403);
	assert_true(row(EAST).removed);
	forget(&joined);
}

/* --- removed and suspended --- */

/* The order that was given last, alone: of what an edge may keep. */
static void
last_order(struct memory *m)
{
	struct store_tx *tx;
	Sync__Order *o;
	uint64_t last;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(state_number(tx, DISPATCH_LAST, &last, NULL), 0);
	assert_int_equal(dispatch_get(tx, last, &o, NULL), 0);
	store_end_read(tx);
	m->n = 1;
	buf_init(&m->orders[0]);
	message_pack(&m->orders[0], &o->base);
	message_free(o);
}

static void
suspended(int site)
{
	may_not(site, SYNC__DECISION_KIND__DECISION_SITE_SUSPEND,
		SYNC__STANDING__STANDING_SUSPENDED);
}

static void
site_suspend__R26_of_one_that_was_removed_changes_nothing(void **state)
{
	struct memory now;

	(void)state;
	removed(EAST);
	assert_int_equal(site_command("suspend", EAST), COMMAND_FAILED);
	assert_true(row(EAST).removed);
	remember(&now);
	burns();
	assert_int_equal(tell(NORTH, &now), OK);
	assert_true(row(EAST).removed);
	assert_int_equal(site_command("readmit", EAST), COMMAND_FAILED);
	assert_int_equal(tell(EAST, NULL), 403);
	forget(&now);
}

/* R: removed, M: it may again, S: suspended, as they were said; each is all that one edge keeps. */
static void
standing__R25_R26_is_the_same_in_whatever_order_edges_tell_of_it(void **state)
{
	static const char *const orders[] = {"RMS", "RSM", "MRS", "MSR", "SRM", "SMR"};
	struct memory m[3];
	size_t i, k;

	(void)state;
	removed(EAST);
	last_order(&m[0]);
	assert_int_equal(standing_tell(&p.central, names[EAST], SYNC__STANDING__STANDING_MAY, NULL),
			 0);
	last_order(&m[1]);
	suspended(EAST);
	last_order(&m[2]);
	for (i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		burns();
		for (k = 0; k < 3; k++)
			assert_int_equal(
				tell(NORTH + (int)k % 2, &m[strchr("RMS", orders[i][k]) - "RMS"]),
				OK);
		assert_false(row(EAST).removed);
		assert_true(row(EAST).suspended);
	}
	for (k = 0; k < 3; k++)
		forget(&m[k]);
}

/* A person at a central that has forgotten it suspends a site, by a number above all. */
static void
standing__R22_R26_removed_outlives_that_it_is_suspended_by_a_central_that_forgot(void **state)
{
	struct memory gone, late;
	int i;

	(void)state;
	removed(EAST);
	last_order(&gone);
	burns();
	assert_int_equal(tell(EAST, NULL), OK);
	for (i = 0; i <= SITES; i++) /* the last one is numbered above */
		assert_int_equal(site_command("suspend", EAST), COMMAND_OK);
	last_order(&late);
	burns();
	/* What it said of EAST is known to one edge, that it was removed to another. */
	assert_int_equal(tell(WEST, &late), OK);
	assert_true(row(EAST).suspended);
	assert_int_equal(tell(NORTH, &gone), OK);
	assert_true(row(EAST).removed);
	forget(&gone);
	forget(&late);
}

/* --- said where it is forgotten --- */

/* What edges have heard of central until now. */
struct past {
	struct memory kept;
	struct buf highest, seals;
};

static int
hear_one(void *arg, const Sync__Order *m, struct err *e)
{
	struct past *h = arg;

	(void)e;
	buf_clear(&h->highest);
	message_pack(&h->highest, &m->base);
	buf_put(&h->seals, m->mac.data, ORDERS_SEAL);
	return 0;
}

static void
hear(struct past *h)
{
	struct store_tx *tx;

	remember(&h->kept);
	buf_init(&h->highest);
	buf_init(&h->seals);
	buf_put_u64(&h->seals, 0); /* none before the first */
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(dispatch_each(tx, 0, hear_one, h, NULL), 0);
	store_end_read(tx);
}

static void
forget_past(struct past *h)
{
	forget(&h->kept);
	buf_fini(&h->highest);
	buf_fini(&h->seals);
}

/* In an epoch that is new to it. */
static void
calls(int site, const struct past *h)
{
	Sync__OrdersBack back = SYNC__ORDERS_BACK__INIT;

	back.highest = message_bytes(h->highest.data, h->highest.len);
	back.seals = message_bytes(h->seals.data, h->seals.len);
	assert_int_equal(post(site, &back), OK);
	assert_int_equal(tell(site, &h->kept), OK);
}

static void
may_again(int site)
{
	may_not(site, SYNC__DECISION_KIND__DECISION_SITE_READMIT, SYNC__STANDING__STANDING_MAY);
}

static void
set_back(void)
{
	pair_shell(&p, "rm -rf central && mv copy central");
	clock_manual_advance(&p.clock, 1000); /* no order is given twice, byte for byte */
}

static void
all_call(const struct past *h)
{
	assert_int_equal(record_epoch(&p.central, "set back", NULL), 0);
	calls(NORTH, h);
	calls(WEST, h);
}

static void
expect_standing(const char *word)
{
	struct member m = row(EAST);

	assert_int_equal(m.removed, strcmp(word, "remove") == 0);
	assert_int_equal(!m.removed && m.suspended, strcmp(word, "suspend") == 0);
}

enum when { BEFORE_THEY_CALL, AND_IS_STARTED_ANEW, AFTER_ONE_CALLED, WHENS };

/* Of all that edges remember the other is the last. */
static void
expect_last(const char *word, enum when when)
{
	struct past before, now;

	pair_shell(&p, "cp -a central copy");
	suspended(EAST);
	if (strcmp(word, "readmit") != 0)
		may_again(EAST);
	hear(&before);
	set_back();
	if (when == AFTER_ONE_CALLED)
		calls(NORTH, &before);
	assert_int_equal(site_command(word, EAST), COMMAND_OK);
	if (when == AND_IS_STARTED_ANEW)
		pair_shell(&p, "true");
	all_call(&before);
	expect_standing(word);
	hear(&now);
	burns();
	calls(NORTH, &before);
	calls(WEST, &now);
	expect_standing(word);
	forget_past(&before);
	forget_past(&now);
}

static void
standing__R22_R26_what_a_person_says_at_a_central_that_forgot_is_the_last_word(void **state)
{
	static const char *const words[] = {"suspend", "readmit", "remove"};
	unsigned i, when;

	(void)state;
	for (i = 0; i < 2; i++)
		for (when = 0; when < WHENS; when++)
			expect_last(words[i], (enum when)when);
	expect_last(words[2], AND_IS_STARTED_ANEW);
}

/* What the copy says that none had heard of is no later word. */
static void
standing__R22_R26_what_was_said_before_the_copy_was_made_keeps_its_rank(void **state)
{
	struct past before;

	(void)state;
	suspended(EAST);
	pair_shell(&p, "cp -a central copy");
	may_again(EAST);
	hear(&before);
	set_back();
	pair_shell(&p, "true");
	assert_true(row(EAST).suspended);
	all_call(&before);
	expect_standing("readmit");
	forget_past(&before);
}

static void
site_add__R22_R26_at_a_central_that_forgot_the_removal_is_the_last_word(void **state)
{
	struct past before;

	(void)state;
	pair_shell(&p, "cp -a central copy");
	removed(EAST);
	hear(&before);
	set_back();
	assert_int_equal(site_command_with("add", EAST, "--rejoin"), COMMAND_OK);
	all_call(&before);
	assert_false(row(EAST).removed);
	assert_true(row(EAST).coded);
	forget_past(&before);
}

static void
back__R24_more_seals_than_an_edge_keeps_are_refused(void **state)
{
	static unsigned char seals[(ORDERS_SEALS + 1) * ORDERS_SEAL];
	Sync__OrdersBack back = SYNC__ORDERS_BACK__INIT;

	(void)state;
	back.seals = message_bytes(seals, sizeof(seals) - ORDERS_SEAL);
	assert_int_equal(post(EAST, &back), OK);
	back.seals = message_bytes(seals, sizeof(seals));
	assert_int_equal(post(EAST, &back), 400);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, make_archive, drop_archive)
		T(vouch__R25_R26_two_that_were_removed_do_not_vouch_for_each_other),
		T(vouch__R25_more_than_half_of_the_others_are_enough),
		T(vouch__R26_who_may_call_no_more_is_waited_for_by_nobody),
		T(vouch__R26_who_is_to_join_anew_is_waited_for_by_nobody),
		T(vouch__R26_who_burnt_as_well_can_be_removed_though_it_never_called),
		T(epoch__R22_R26_of_a_central_that_was_set_back_each_is_vouched_for_anew),
		T(epoch__R22_a_person_says_who_reads_and_the_only_site_needs_nobody),
		T(standing__R26_that_a_site_joined_never_undoes_that_it_was_removed),
		T(site_suspend__R26_of_one_that_was_removed_changes_nothing),
		T(standing__R25_R26_is_the_same_in_whatever_order_edges_tell_of_it),
		T(standing__R22_R26_removed_outlives_that_it_is_suspended_by_a_central_that_forgot),
		T(standing__R22_R26_what_a_person_says_at_a_central_that_forgot_is_the_last_word),
		T(standing__R22_R26_what_was_said_before_the_copy_was_made_keeps_its_rank),
		T(site_add__R22_R26_at_a_central_that_forgot_the_removal_is_the_last_word),
		T(back__R24_more_seals_than_an_edge_keeps_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
