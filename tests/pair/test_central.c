/* Central: rebuild, folders that are not its own, packs that are gone, what cannot be parsed. */
#include <errno.h>
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
#include "central/figures.h"
#include "central/loss.h"
#include "central/reconcile.h"
#include "central/record.h"
#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"

enum { TURNS = 400 };

static void
shell(const struct pair *p, const char *what)
{
	char command[600];

	(void)snprintf(command, sizeof(command), "cd %s && %s", p->dir, what);
	assert_int_equal(system(command), 0);
}

/* --- rebuild: row by row --- */

static void
dump_table(struct buf *out, struct store_tx *tx, const char *name)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc;

	assert_int_equal(
		kv_cursor_open(&c, store_tx_kv(tx), store_table(store_tx_store(tx), name), NULL),
		0);
	buf_printf(out, "table %s\n", name);
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, NULL);
	for (; !rc; rc = kv_cursor_next(c, &k, &v, NULL)) {
		buf_put(out, k.p, k.n);
		buf_puts(out, " = ");
		/* an instance row begins with the number of its version here */
		if (strcmp(name, "instance") == 0)
			buf_put(out, (const char *)v.p + 8, v.n - 8);
		else
			buf_put(out, v.p, v.n);
		buf_puts(out, "\n");
	}
	assert_int_equal(rc, ERR_ABSENT);
	kv_cursor_close(c);
}

static int
dump_site(void *arg, const struct site_row *row, struct err *e)
{
	struct buf *out = arg;
	char hex[2 * SHA256_SIZE + 1];

	(void)e;
	hex_of(row->incarnation.b, ID128_SIZE, hex);
	buf_printf(out, "site %s %s closed %d head %llu ", row->site, hex, (int)row->closed,
		   (unsigned long long)row->head.seq);
	hex_of(row->head.hash, SHA256_SIZE, hex);
	buf_printf(out, "%s opened %lld announced %lld titles %s\n", hex, (long long)row->opened_ms,
		   (long long)row->announced_ms, row->titles);
	return 0;
}

/* Its number, and what only this machine's clock told of it, are its own. */
static int
dump_version(void *arg, const struct version *v, struct err *e)
{
	struct buf *out = arg;
	struct version same = *v;
	struct buf record = BUF_INIT;
	char hex[2 * SHA256_SIZE + 1];

	(void)e;
	same.oid = same.arrival = 0;
	same.verified_wall_ms = same.arrived_wall_ms = 0;
	version_encode(&record, &same);
	hex_of(v->digest, SHA256_SIZE, hex);
	buf_printf(out, "version %s ", hex);
	buf_put(out, record.data, record.len);
	buf_puts(out, "\n");
	buf_fini(&record);
	return 0;
}

static void
dump(struct buf *out, struct pair *p)
{
	static const char *const tables[] = {"announced",   "claim",	"holdings", "study",
					     "series",	    "instance", "lookup",   FIGURE_TABLE,
					     EXPOSED_TABLE, OWING_TABLE};
	struct pack_row row;
	unsigned char after[SHA256_SIZE] = {0};
	struct store_counts counts;
	struct store_tx *tx;
	bool first = true;
	size_t i;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		dump_table(out, tx, tables[i]);
	assert_int_equal(site_each(tx, dump_site, out, NULL), 0);
	assert_int_equal(store_versions(tx, 0, dump_version, out, NULL), 0);
	while (pack_row_next(tx, first ? NULL : after, &row, NULL) == 0) {
		memcpy(after, row.id, sizeof(after));
		first = false;
		buf_printf(out, "pack %s %llu %u %s\n", row.place, (unsigned long long)row.size,
			   row.members, row.site);
	}
	assert_int_equal(store_counts(tx, &counts, NULL), 0);
	store_end_read(tx);
	buf_printf(out, "counts %llu %llu %llu %llu %llu %llu\n", (unsigned long long)counts.known,
		   (unsigned long long)counts.instances, (unsigned long long)counts.studies,
		   (unsigned long long)counts.bytes, (unsigned long long)counts.variants,
		   (unsigned long long)counts.conflicts);
}

static void
rebuild__R16_gives_the_same_rows_and_a_new_epoch(void **state)
{
	struct buf before = BUF_INIT, after = BUF_INIT;
	struct id128 old, new;
	struct err e = ERR_INIT;
	struct pair p;
	unsigned i, round;

	(void)state;
	pair_init(&p, "64MiB");
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 5; i++)
			assert_int_equal(pair_send(&p, round * 5 + i), 0);
		assert_true(pair_settle(&p, TURNS));
	}
	/* Owed ones, and a site that was lost and came again, are rows like any other. */
	p.cut_method = "PATCH";
	assert_int_equal(pair_send(&p, 50), 0);
	for (i = 0; i < 6; i++)
		pair_turn(&p);
	assert_int_equal(record_decision(&p.central, SYNC__DECISION_KIND__DECISION_CLOSE, "north",
					 NULL, "test", NULL),
			 0);
	dump(&before, &p);
	central_epoch(&p.central, &old);
	pair_close_central(&p);
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	p.central_open = true;
	dump(&after, &p);
	central_epoch(&p.central, &new);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, before.len);
	assert_memory_not_equal(&old, &new, sizeof(old));
	buf_fini(&before);
	buf_fini(&after);
	pair_fini(&p);
}

/* The log is rotten: `rebuild` fails, and the catalogue that is there goes on. */
static void
rebuild__R16_that_fails_leaves_the_catalogue_as_it_was(void **state)
{
	struct err e = ERR_INIT;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 4; i++) { /* records of their own */
		assert_int_equal(pair_send(&p, i), 0);
		assert_true(pair_settle(&p, TURNS));
	}
	pair_close_central(&p);
	shell(&p, "cp central/vault/log/00000001.log good && printf X | dd of=central/vault/log/"
		  "00000001.log bs=1 seek=200 conv=notrunc status=none");
	assert_int_not_equal(central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e), 0);
	shell(&p, "cp good central/vault/log/00000001.log");
	pair_open_central(&p);
	for (i = 0; i < 4; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* By SIGTERM, which `serve` hears between two duties only: each long one asks. */
static void
start__R16_that_is_told_to_stop_is_done_again(void **state)
{
	struct err e = ERR_INIT;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 4; i++) {
		assert_int_equal(pair_send(&p, i), 0);
		assert_true(pair_settle(&p, TURNS));
	}
	pair_ask_to_stop();
	assert_int_equal(reconcile(&p.central, false, false, &e), ERR_AGAIN);
	pair_close_central(&p);
	err_clear(&e);
	assert_int_equal(central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e), ERR_AGAIN);
	err_clear(&e);
	shell(&p, "rm -rf central/catalogue.old && mv central/catalogue central/catalogue.old && "
		  "mkdir central/catalogue"); /* lost: the start makes it of log and packs */
	assert_int_equal(central_open(&p.central, p.central_conf, CENTRAL_SERVE, &e), ERR_AGAIN);
	pair_stop_heard();
	pair_open_central(&p);
	for (i = 0; i < 4; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* One bad member of a pack: the others are held after a rebuild as before it (R15). */
static void
rebuild__R15_adopts_what_is_whole_of_a_damaged_pack(void **state)
{
	struct err e = ERR_INIT;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 6; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	pair_spoil(&p, 3);
	pair_close_central(&p);
	assert_int_equal(central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e), 0);
	p.central_open = true;
	for (i = 0; i < 6; i++)
		assert_int_equal(pair_central_has(&p, i), i != 3);
	pair_fini(&p);
}

/* --- R23 --- */

static void
refused(struct pair *p, enum central_mode mode, const char *word)
{
	struct err e = ERR_INIT;

	assert_int_not_equal(central_open(&p->central, p->central_conf, mode, &e), 0);
	if (!strstr(e.what, word))
		fail_msg("not said: %s in \"%s\"", word, e.what);
}

static void
central_open__R23_a_vault_that_is_not_mounted_is_no_fire(void **state)
{
	struct birth_wish wish = {.recover = false};
	struct born born;
	struct err e = ERR_INIT;
	struct pair p;
	unsigned i;

	(void)state;
	pair_prepare(&p, "64MiB");
	assert_int_equal(birth_init(p.central_conf, &wish, &born, &e), 0);
	assert_int_not_equal(birth_init(p.central_conf, &wish, &born, &e), 0); /* not empty */
	pair_open_central(&p);
	pair_open_edge(&p);
	for (i = 0; i < 3; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	pair_close_central(&p);

	shell(&p, "mv central/vault v && mkdir central/vault"); /* the bare mount point */
	refused(&p, CENTRAL_SERVE, "init");
	shell(&p, "rmdir central/vault");
	refused(&p, CENTRAL_SERVE, "init");
	shell(&p, "mv v central/vault && mv central/vault/log l");
	refused(&p, CENTRAL_SERVE, "log");
	shell(&p, "mv l central/vault/log && cp central/vault/id i && "
		  "sed -i 's/^id .*/id 00112233445566778899aabbccddeeff/' central/vault/id");
	refused(&p, CENTRAL_SERVE, "another node");
	shell(&p, "cp i central/vault/id");
	shell(&p, "mv central/id i2");
	refused(&p, CENTRAL_SERVE, "not empty");
	shell(&p, "mv i2 central/id");
	pair_open_central(&p);
	for (i = 0; i < 3; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

static void
edge_open__R23_a_store_that_is_not_mounted_is_no_fire(void **state)
{
	struct err e = ERR_INIT;
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	assert_int_equal(edge_init(p.edge_conf, &e), 0);
	pair_open_central(&p);
	pair_open_edge(&p);
	assert_int_equal(pair_send(&p, 1), 0);
	pair_close_edge(&p);
	shell(&p, "mv edge/store s");
	assert_int_not_equal(edge_open(&p.edge, p.edge_conf, EDGE_SERVE, &e), 0);
	assert_non_null(strstr(e.what, "init"));
	shell(&p, "mv s edge/store");
	pair_open_edge(&p);
	assert_true(pair_edge_has(&p, 1));
	pair_fini(&p);
}

static void
reconcile__R23_packs_that_are_gone_are_said_and_many_are_refused(void **state)
{
	struct id128 old, new;
	struct err e = ERR_INIT;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 105; i++) { /* a pack each */
		assert_int_equal(pair_send(&p, i), 0);
		assert_true(pair_settle(&p, TURNS));
	}
	central_epoch(&p.central, &old);
	pair_close_central(&p);
	shell(&p, "find central/vault/packs -name '*.tar' > list && "
		  "head -102 list | xargs rm -f");
	refused(&p, CENTRAL_SERVE, "accept-missing");
	assert_int_equal(central_open(&p.central, p.central_conf, CENTRAL_MISSING, &e), 0);
	central_epoch(&p.central, &new);
	assert_memory_not_equal(&old, &new, sizeof(old));
	central_close(&p.central);
	pair_open_central(&p);
	/* The edge still has them: they come again. */
	clock_manual_advance(&p.clock, 16000);
	for (i = 0; i < 20; i++)
		pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i < 105; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* --- a pack that was found at the start, and one without its ledger --- */

static void
adopt__R15_a_pack_found_at_the_start_is_adopted(void **state)
{
	struct buf out = BUF_INIT;
	unsigned long long lost;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 4; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	pair_close_edge(&p);
	pair_close_central(&p);
	/* Another archive gets the packs alone: a disk that was driven by car, without its log. */
	shell(&p, "mv central old");
	pair_open_central(&p);
	pair_close_central(&p);
	shell(&p, "cp -r old/vault/packs central/vault/");
	pair_open_central(&p);
	for (i = 0; i < 4; i++)
		assert_true(pair_central_has(&p, i));
	assert_int_equal(loss_print(p.central.store, NULL, LOSS_CSV, false, &out, &lost, NULL), 0);
	assert_int_equal(lost, 0);
	buf_fini(&out);
	pair_fini(&p);
}

/* Nothing more can be promised, and only a start shows what the log holds. */
static void
record__R16_central_ends_when_its_log_takes_no_more(void **state)
{
	struct err e = ERR_INIT;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	fault_arm_named("file.sync", 1, FAULT_ERRNO, EIO);
	assert_int_not_equal(record_epoch(&p.central, "a test", &e), 0);
	fault_disarm();
	assert_true(atomic_load(&p.central.failed));
	err_clear(&e);
	assert_int_not_equal(record_epoch(&p.central, "a test", &e), 0);
	pair_close_central(&p);
	pair_open_central(&p);
	err_clear(&e);
	assert_int_equal(record_epoch(&p.central, "a test", &e), 0);
	assert_false(atomic_load(&p.central.failed));
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record__R16_central_ends_when_its_log_takes_no_more),
		cmocka_unit_test(rebuild__R16_gives_the_same_rows_and_a_new_epoch),
		cmocka_unit_test(rebuild__R16_that_fails_leaves_the_catalogue_as_it_was),
		cmocka_unit_test(start__R16_that_is_told_to_stop_is_done_again),
		cmocka_unit_test(rebuild__R15_adopts_what_is_whole_of_a_damaged_pack),
		cmocka_unit_test(central_open__R23_a_vault_that_is_not_mounted_is_no_fire),
		cmocka_unit_test(edge_open__R23_a_store_that_is_not_mounted_is_no_fire),
		cmocka_unit_test(reconcile__R23_packs_that_are_gone_are_said_and_many_are_refused),
		cmocka_unit_test(adopt__R15_a_pack_found_at_the_start_is_adopted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
