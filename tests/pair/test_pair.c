/* An edge and a central over a link that is cut at every message (R5, R7, R14, R19, R22). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/record.h"
#include "central/tally.h"
#include "central/verify.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "common/store/private.h"
#include "edge/damage.h"
#include "edge/outbox.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"

enum { TURNS = 400, IMAGES = 6 };

static void
send_all(struct pair *p, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		assert_int_equal(pair_send(p, i), 0);
}

static void
expect_all(struct pair *p, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (!pair_central_has(p, i))
			fail_msg("image %u is not at central (cut at message %u)", i, p->cut_at);
}

static struct tally
tally_of(struct pair *p)
{
	struct store_tx *tx;
	struct tally t;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	store_end_read(tx);
	return t;
}

static void
pair__R5_R14_a_cut_at_any_message_loses_nothing(void **state)
{
	unsigned cut, last = 0;

	(void)state;
	for (cut = 1; cut <= last + 1; cut++) {
		struct pair p;

		pair_init(&p, "64MiB");
		p.cut_at = cut;
		send_all(&p, IMAGES);
		if (!pair_settle(&p, TURNS))
			fail_msg("not settled after a cut at message %u", cut);
		expect_all(&p, IMAGES);
		if (p.messages > last && cut == 1)
			last = p.messages;
		pair_fini(&p);
	}
	assert_true(last >= 8); /* hello, ledger, a pack or more, each with its answer */
}

/* One node is closed and opened again between any two messages. */
static unsigned restart_at;
static bool restart_edge;

static void
pair__R14_R22_a_restart_between_any_messages_loses_nothing(void **state)
{
	unsigned at, turn, side;

	(void)state;
	for (side = 0; side < 2; side++)
		for (at = 1; at < 10; at++) {
			struct pair p;

			restart_edge = side == 0;
			restart_at = at;
			pair_init(&p, "64MiB");
			send_all(&p, IMAGES);
			for (turn = 0; turn < restart_at; turn++)
				pair_turn(&p);
			if (restart_edge) {
				pair_close_edge(&p);
				pair_open_edge(&p);
			} else {
				pair_close_central(&p);
				pair_turn(&p);
				pair_open_central(&p);
			}
			if (!pair_settle(&p, TURNS))
				fail_msg("not settled after a restart at turn %u", at);
			expect_all(&p, IMAGES);
			pair_fini(&p);
		}
}

static unsigned patches_before_ack;
static bool acknowledged;

static void
watch_order(struct pair *p, const char *method, const char *path, bool answer)
{
	(void)p;
	if (strcmp(path, "/sync/v1/ledger") == 0 && answer)
		acknowledged = true;
	if (strcmp(method, "PATCH") == 0 && !acknowledged)
		patches_before_ack++;
}

static void
pair__R7_no_pack_leaves_before_its_entries_are_acknowledged(void **state)
{
	struct pair p;

	(void)state;
	acknowledged = false;
	patches_before_ack = 0;
	pair_init(&p, "64MiB");
	p.on_message = watch_order;
	send_all(&p, IMAGES);
	assert_true(pair_settle(&p, TURNS));
	assert_true(acknowledged);
	assert_int_equal(patches_before_ack, 0);
	pair_fini(&p);
}

static void
pair__R22_a_new_empty_central_is_filled_at_any_moment(void **state)
{
	unsigned at, turn;

	(void)state;
	for (at = 0; at < 14; at += 2) {
		struct pair p;

		pair_init(&p, "64MiB");
		send_all(&p, IMAGES);
		for (turn = 0; turn < at; turn++)
			pair_turn(&p);
		pair_burn_central(&p);
		assert_int_equal(pair_send(&p, IMAGES), 0); /* take-in goes on */
		pair_turn(&p);
		pair_open_central(&p);
		/* An edge that owes nothing asks again within 15 s; `settled` speaks of then. */
		clock_manual_advance(&p.clock, 16000);
		for (turn = 0; turn < 40; turn++)
			pair_turn(&p);
		if (!pair_settle(&p, TURNS))
			fail_msg("not settled after a fire at turn %u", at);
		expect_all(&p, IMAGES + 1);
		pair_fini(&p);
	}
}

/* The comparison with a new central takes long; an edge that restarts within begins it anew. */
static void
pair__R22_a_restart_after_a_new_epoch_forgets_nothing(void **state)
{
	struct contact before, now;
	struct pair p;
	unsigned turn;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, IMAGES);
	assert_true(pair_settle(&p, TURNS));
	edge_contact(&p.edge, &before);
	pair_burn_central(&p);
	pair_open_central(&p);
	clock_manual_advance(&p.clock, 16000);
	do {
		pair_turn(&p);
		edge_contact(&p.edge, &now);
	} while (memcmp(&before.epoch, &now.epoch, sizeof(now.epoch)) == 0);
	pair_close_edge(&p);
	pair_open_edge(&p);
	for (turn = 0; turn < 30; turn++)
		pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	expect_all(&p, IMAGES);
	pair_fini(&p);
}

static void
pair__R18_what_a_lost_site_owed_is_lost_and_listed(void **state)
{
	struct id128 none = {{0}};
	struct pair p;
	struct tally t;
	unsigned turn;

	(void)state;
	(void)none;
	pair_init(&p, "64MiB");
	send_all(&p, IMAGES);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(pair_send(&p, 100), 0);
	assert_int_equal(pair_send(&p, 101), 0);
	p.cut_method = "PATCH"; /* the ledger arrives, no pack does */
	for (turn = 0; turn < 10; turn++)
		pair_turn(&p);
	t = tally_of(&p);
	assert_int_equal(t.n, 1);
	assert_int_equal(t.rows[0].known, IMAGES + 2);
	assert_int_equal(t.rows[0].of[TALLY_HELD], IMAGES);
	assert_int_equal(t.rows[0].of[TALLY_OWED], 2);
	assert_int_equal(t.rows[0].of[TALLY_LOST], 0);
	tally_free(&t);
	pair_burn_edge(&p);
	assert_int_equal(record_decision(&p.central, SYNC__DECISION_KIND__DECISION_CLOSE, "north",
					 NULL, "test", NULL),
			 0);
	t = tally_of(&p);
	assert_int_equal(t.rows[0].of[TALLY_OWED], 0);
	assert_int_equal(t.rows[0].of[TALLY_LOST], 2);
	assert_int_equal(t.rows[0].known, t.rows[0].of[TALLY_HELD] + t.rows[0].of[TALLY_LOST]);
	tally_free(&t);
	/* A successor's first hello keeps it so; what it takes in is its own. */
	p.cut_method = NULL;
	pair_open_edge(&p);
	assert_int_equal(pair_send(&p, 100), 0); /* one of them comes again, from the modality */
	assert_true(pair_settle(&p, TURNS));
	t = tally_of(&p);
	assert_int_equal(t.n, 2);
	assert_int_equal(t.rows[0].of[TALLY_LOST] + t.rows[1].of[TALLY_LOST], 1);
	tally_free(&t);
	pair_fini(&p);
}

/* --- damage --- */

static uint64_t
held_bits(struct pair *p)
{
	struct buf bits = BUF_INIT;
	struct store_tx *tx;
	struct tally t = tally_of(p);
	uint64_t n = 0, i, head = t.rows[0].site.head.seq;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(holdings_read(tx, &t.rows[0].site.incarnation, 1, head, &bits, NULL), 0);
	store_end_read(tx);
	for (i = 0; i < head; i++)
		n += bits.data[i / 8] >> i % 8 & 1;
	buf_fini(&bits);
	tally_free(&t);
	return head - n; /* those that are missing */
}

static int
quiet(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct verify_result *out = (struct verify_result *)(void *)(uintptr_t)words[0];

	(void)n;
	return verify_all(node, r, false, out, NULL);
}

static void
verify__R19_damage_clears_the_bit_and_the_edge_heals_it(void **state)
{
	struct verify_result v;
	const char *words[1];
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, IMAGES);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(held_bits(&p), 0);
	pair_spoil(&p, 2);
	words[0] = (const char *)(void *)&v;
	assert_int_equal(ctl_local(quiet, &p.central, 1, words), 0);
	assert_int_equal(v.damaged, 1);
	assert_int_equal(held_bits(&p), 1);
	clock_manual_advance(&p.clock, 16000); /* the next hello tells */
	pair_turn(&p);
	pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	expect_all(&p, IMAGES);
	assert_int_equal(held_bits(&p), 0);
	/* Healed is healed: the file that was damaged is not the one that is served. */
	assert_int_equal(ctl_local(quiet, &p.central, 1, words), 0);
	assert_int_equal(v.damaged, 0);
	assert_int_equal(v.frames, 0);
	pair_fini(&p);
}

/* All of a pack's members are bad: what is sent again is the same pack. */
/* A version of the edge whose bytes are here; 0: none. */
static int
pick_one(void *arg, const struct version *v, struct err *e)
{
	(void)e;
	if (v->state == VERSION_HERE)
		*(struct version *)arg = *v;
	return 0;
}

static int
count_late(void *arg, const struct outbox_row *row, struct err *e)
{
	(void)e;
	*(unsigned *)arg += row->not_before > 0;
	return 0;
}

/* Rows of the outbox that wait for better times. */
static unsigned
put_off(struct pair *p)
{
	struct store_tx *tx;
	unsigned n = 0;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(outbox_each(tx, OUTBOX_CENTRAL, 0, count_late, &n, NULL), 0);
	store_end_read(tx);
	return n;
}

/* Days of 5xx are central's doing: what had been put off goes as soon as it takes something. */
static void
pair__R17_what_central_failed_with_goes_when_it_takes_something_again(void **state)
{
	char tmp[200], away[200];
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	assert_true(pair_settle(&p, TURNS));
	(void)snprintf(tmp, sizeof(tmp), "%s/central/vault/tmp", p.dir);
	(void)snprintf(away, sizeof(away), "%s/away", p.dir);
	assert_int_equal(rename(tmp, away), 0);
	assert_int_equal(symlink("tmp", tmp), 0); /* which leads nowhere: 500 */
	send_all(&p, 2);
	for (i = 0; i < 4000 && put_off(&p) < 2; i++)
		pair_turn(&p);
	assert_int_equal(put_off(&p), 2);
	assert_int_equal(unlink(tmp), 0);
	assert_int_equal(rename(away, tmp), 0);
	assert_int_equal(pair_send(&p, 2), 0);
	assert_true(pair_settle(&p, TURNS));
	expect_all(&p, 3);
	pair_fini(&p);
}

static int
spoil_chunk(struct store_tx *tx, void *arg, struct err *e)
{
	const struct version *v = arg;
	unsigned char key[12] = {0};

	buf_set_be64(key, v->bytes);
	return kv_put(tx->txn, T_CHUNK, kv_slice(key, 12), kv_slice("rotten", 6), e);
}

static void
damage_found__R18_the_copy_at_central_is_what_counts(void **state)
{
	struct version v = {.oid = 0};
	struct store_tx *tx;
	struct tally t;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, IMAGES);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(store_versions(tx, 0, pick_one, &v, NULL), 0);
	store_end_read(tx);
	damage_found(&p.edge, v.oid); /* a false alarm changes nothing */
	assert_int_equal(store_commit(p.edge.store, spoil_chunk, &v, NULL), 0);
	damage_found(&p.edge, v.oid);
	damage_found(&p.edge, v.oid); /* nor does the same one again */
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(store_version(tx, v.oid, &v, NULL), 0);
	store_end_read(tx);
	assert_int_equal(v.state, VERSION_DAMAGED);
	clock_manual_advance(&p.clock, 16000);
	pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	t = tally_of(&p);
	assert_int_equal(t.rows[0].known, IMAGES);
	assert_int_equal(t.rows[0].of[TALLY_HELD], IMAGES);
	assert_int_equal(t.rows[0].of[TALLY_OWED], 0);
	tally_free(&t);
	send_all(&p, IMAGES); /* R4: what is damaged is stored again */
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(store_check(p.edge.store, v.oid, NULL), 0);
	pair_fini(&p);
}

struct spoiled {
	const struct version *v;
	unsigned char was[8192];
	size_t n;
};

static int
spoil_and_keep(struct store_tx *tx, void *arg, struct err *e)
{
	struct spoiled *s = arg;
	unsigned char key[12] = {0};
	struct kv_slice was;

	buf_set_be64(key, s->v->bytes);
	assert_int_equal(kv_get(tx->txn, T_CHUNK, kv_slice(key, 12), &was, e), 0);
	assert_true(was.n <= sizeof(s->was));
	memcpy(s->was, was.p, was.n);
	s->n = was.n;
	return kv_put(tx->txn, T_CHUNK, kv_slice(key, 12), kv_slice("rotten", 6), e);
}

static int
unspoil(struct store_tx *tx, void *arg, struct err *e)
{
	const struct spoiled *s = arg;
	unsigned char key[12] = {0};

	buf_set_be64(key, s->v->bytes);
	return kv_put(tx->txn, T_CHUNK, kv_slice(key, 12), kv_slice(s->was, s->n), e);
}

/* oid 0: any. */
static struct version
a_version(struct pair *p, uint64_t oid)
{
	struct version v = {.oid = 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	if (oid)
		assert_int_equal(store_version(tx, oid, &v, NULL), 0);
	else
		assert_int_equal(store_versions(tx, 0, pick_one, &v, NULL), 0);
	store_end_read(tx);
	return v;
}

static void
expect_tally(struct pair *p, uint64_t held, uint64_t lost)
{
	struct tally t = tally_of(p);

	assert_int_equal(t.rows[0].of[TALLY_HELD], held);
	assert_int_equal(t.rows[0].of[TALLY_LOST], lost);
	assert_int_equal(t.rows[0].of[TALLY_OWED], 0);
	tally_free(&t);
}

/* One wrong bit on the way from the disk says little of the disk. */
static void
damage_found__R18_the_only_copy_stays_and_is_held_again_when_it_reads_well(void **state)
{
	struct version v = {.oid = 0};
	struct spoiled s;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, IMAGES);
	assert_int_equal(store_settle(p.edge.store, NULL), 0);
	v = a_version(&p, 0);
	s = (struct spoiled){.v = &v};
	assert_int_equal(store_commit(p.edge.store, spoil_and_keep, &s, NULL), 0);
	damage_found(&p.edge, v.oid);
	assert_int_equal(a_version(&p, v.oid).state, VERSION_DAMAGED);
	assert_true(pair_settle(&p, TURNS));
	expect_tally(&p, IMAGES - 1, 1);
	assert_int_equal(damage_again(&p.edge, NULL), 0); /* bad still: it stays */
	assert_int_equal(a_version(&p, v.oid).state, VERSION_DAMAGED);
	assert_int_equal(store_commit(p.edge.store, unspoil, &s, NULL), 0);
	assert_int_equal(damage_again(&p.edge, NULL), 0);
	assert_int_equal(a_version(&p, v.oid).state, VERSION_HERE);
	clock_manual_advance(&p.clock, 16000);
	pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	expect_all(&p, IMAGES);
	expect_tally(&p, IMAGES, 0);
	pair_fini(&p);
}

static void
damage_again__what_central_holds_is_freed(void **state)
{
	struct version v = {.oid = 0};
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, IMAGES);
	assert_true(pair_settle(&p, TURNS));
	v = a_version(&p, 0);
	assert_int_equal(store_commit(p.edge.store, spoil_chunk, &v, NULL), 0);
	damage_found(&p.edge, v.oid);
	assert_int_equal(a_version(&p, v.oid).location, VERSION_CHUNKS);
	clock_manual_advance(&p.clock, 16 * 60000); /* R10: in the dark it stays as well */
	assert_int_equal(damage_again(&p.edge, NULL), 0);
	assert_int_equal(a_version(&p, v.oid).location, VERSION_CHUNKS);
	pair_turn(&p);
	pair_turn(&p);
	assert_int_equal(damage_again(&p.edge, NULL), 0);
	assert_int_equal(a_version(&p, v.oid).location, VERSION_NOWHERE);
	pair_fini(&p);
}

static void
damage_found__R18_what_nobody_else_has_is_lost(void **state)
{
	struct version v = {.oid = 0};
	struct store_tx *tx;
	struct tally t;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, IMAGES);
	assert_int_equal(store_settle(p.edge.store, NULL), 0);
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(store_versions(tx, 0, pick_one, &v, NULL), 0);
	store_end_read(tx);
	assert_int_equal(store_commit(p.edge.store, spoil_chunk, &v, NULL), 0);
	damage_found(&p.edge, v.oid);
	assert_true(pair_settle(&p, TURNS));
	t = tally_of(&p);
	assert_int_equal(t.rows[0].known, IMAGES);
	assert_int_equal(t.rows[0].of[TALLY_HELD], IMAGES - 1);
	assert_int_equal(t.rows[0].of[TALLY_OWED], 0);
	assert_int_equal(t.rows[0].of[TALLY_LOST], 1);
	tally_free(&t);
	pair_fini(&p);
}

static void
verify__R19_a_pack_that_is_sent_again_replaces_the_damaged_file(void **state)
{
	struct verify_result v;
	const char *words[1];
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 1);
	assert_true(pair_settle(&p, TURNS));
	pair_spoil(&p, 0);
	words[0] = (const char *)(void *)&v;
	assert_int_equal(ctl_local(quiet, &p.central, 1, words), 0);
	assert_int_equal(v.damaged, 1);
	clock_manual_advance(&p.clock, 16000);
	pair_turn(&p);
	pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	expect_all(&p, 1);
	assert_int_equal(ctl_local(quiet, &p.central, 1, words), 0);
	assert_int_equal(v.damaged, 0);
	pair_fini(&p);
}

/* A sector that cannot be read is no reason to look at nothing behind it. */
static void
verify__R19_what_cannot_be_read_is_said_and_the_rest_is_looked_at(void **state)
{
	struct verify_result v = {.unread = 0};
	const char *words[1];
	bool met = false;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 3; i++) {
		assert_int_equal(pair_send(&p, i), 0);
		assert_true(pair_settle(&p, TURNS)); /* a pack each */
	}
	words[0] = (const char *)(void *)&v;
	for (i = 1; i < 30 && !met; i++) {
		fault_arm_named("file.read", i, FAULT_ERRNO, EIO);
		met = ctl_local(quiet, &p.central, 1, words) == 0 && v.unread == 1;
		(void)fault_disarm();
	}
	assert_true(met);
	assert_int_equal(v.packs, 2);
	assert_int_equal(v.damaged, 0);
	assert_int_equal(ctl_local(quiet, &p.central, 1, words), 0);
	assert_int_equal(v.packs, 3);
	pair_fini(&p);
}

/* A manifest with a turned bit names an image that nobody knows; the one behind it is seen. */
static void
verify__R19_a_damaged_manifest_hides_no_damaged_image(void **state)
{
	struct verify_result v;
	const char *words[1];
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send_all(&p, 2);
	assert_true(pair_settle(&p, TURNS));
	pair_spoil_manifest(&p, 0);
	words[0] = (const char *)(void *)&v;
	assert_int_equal(ctl_local(quiet, &p.central, 1, words), 0);
	assert_int_equal(v.damaged, 0);
	assert_int_equal(v.frames, 1);
	pair_spoil(&p, 0);
	assert_int_equal(ctl_local(quiet, &p.central, 1, words), 0);
	assert_int_equal(v.damaged, 1);
	clock_manual_advance(&p.clock, 16000);
	pair_turn(&p);
	pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	expect_all(&p, 2);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			pair__R17_what_central_failed_with_goes_when_it_takes_something_again),
		cmocka_unit_test(pair__R5_R14_a_cut_at_any_message_loses_nothing),
		cmocka_unit_test(pair__R14_R22_a_restart_between_any_messages_loses_nothing),
		cmocka_unit_test(pair__R7_no_pack_leaves_before_its_entries_are_acknowledged),
		cmocka_unit_test(pair__R22_a_new_empty_central_is_filled_at_any_moment),
		cmocka_unit_test(pair__R22_a_restart_after_a_new_epoch_forgets_nothing),
		cmocka_unit_test(pair__R18_what_a_lost_site_owed_is_lost_and_listed),
		cmocka_unit_test(damage_found__R18_the_copy_at_central_is_what_counts),
		cmocka_unit_test(
			damage_found__R18_the_only_copy_stays_and_is_held_again_when_it_reads_well),
		cmocka_unit_test(damage_again__what_central_holds_is_freed),
		cmocka_unit_test(damage_found__R18_what_nobody_else_has_is_lost),
		cmocka_unit_test(verify__R19_a_pack_that_is_sent_again_replaces_the_damaged_file),
		cmocka_unit_test(verify__R19_a_damaged_manifest_hides_no_damaged_image),
		cmocka_unit_test(verify__R19_damage_clears_the_bit_and_the_edge_heals_it),
		cmocka_unit_test(verify__R19_what_cannot_be_read_is_said_and_the_rest_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
