/*
 * Old and new nodes together: N and N-1 of the protocol, in any order of upgrades. An old peer
 * is played by messages that hold no more than version 1 had (tests/lib/oldpeer.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/figures.h"
#include "edge/replicate.h"
#include "edge/status.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/oldpeer.h"
#include "tests/lib/pair.h"

enum { TURNS = 400 };

static const struct protocol_range old = {1, 1}, later = {3, 4};

static void
let_speak(struct pair *p, const struct protocol_range *edge, const struct protocol_range *central)
{
	static const struct protocol_range own = {0, 0};
	bool v1 = edge == &old || central == &old;

	p->edge_speaks = edge ? *edge : own;
	p->central_speaks = central ? *central : own;
	p->routes = v1 ? oldpeer_routes(&p->n_routes) : NULL;
}

static uint32_t
settled_on(struct pair *p)
{
	struct contact c;

	edge_contact(&p->edge, &c);
	return c.reachable ? c.version : 0;
}

struct asking {
	const char *site;
	uint32_t version;
};

static int
note_version(void *arg, const struct site_row *row, struct err *e)
{
	struct asking *a = arg;

	(void)e;
	if (strcmp(row->site, a->site) == 0 && !row->closed)
		a->version = row->version;
	return 0;
}

/* As central has noted it. */
static uint32_t
noted(struct pair *p, const char *site)
{
	struct asking a = {site, 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(site_each(tx, note_version, &a, NULL), 0);
	store_end_read(tx);
	return a.version;
}

static void
deliver(struct pair *p, unsigned number)
{
	assert_int_equal(pair_send(p, number), 0);
	assert_true(pair_settle(p, TURNS));
	assert_true(pair_central_has(p, number));
}

static bool
status_says(struct pair *p, const char *text, bool *person)
{
	struct buf out = BUF_INIT;
	bool said;

	assert_int_equal(status_text(&p->edge, &out, person, NULL), 0);
	buf_put_u8(&out, 0);
	said = strstr((const char *)out.data, text) != NULL;
	buf_fini(&out);
	return said;
}

static void
versions__an_old_edge_delivers_to_a_new_central(void **state)
{
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	let_speak(&p, &old, NULL);
	pair_open_central(&p);
	pair_open_edge(&p);
	deliver(&p, 1);
	assert_int_equal(settled_on(&p), 1);
	assert_int_equal(noted(&p, "north"), 1);
	pair_fini(&p);
}

static void
versions__a_new_edge_delivers_to_an_old_central(void **state)
{
	struct pair p;
	bool person;

	(void)state;
	pair_prepare(&p, "64MiB");
	let_speak(&p, NULL, &old);
	pair_open_central(&p);
	pair_open_edge(&p);
	deliver(&p, 1);
	assert_int_equal(settled_on(&p), 1);
	assert_true(
		status_says(&p, "central speaks version 1 of the protocol, this edge 2", &person));
	assert_false(person);
	pair_fini(&p);
}

static void
versions__two_new_ones_speak_the_new_version(void **state)
{
	struct pair p;
	bool person;

	(void)state;
	pair_init(&p, "64MiB");
	deliver(&p, 1);
	assert_int_equal(settled_on(&p), PROTOCOL_VERSION);
	assert_int_equal(noted(&p, "north"), PROTOCOL_VERSION);
	assert_false(status_says(&p, "of the protocol", &person));
	pair_fini(&p);
}

/* Three sites and central, upgraded one by one: each state delivers, and all of it is there. */
static void
versions__a_fleet_is_upgraded_one_by_one(void **state)
{
	static const char *const sites[] = {"north", "south", "west"};
	unsigned i, step, number = 1, n;
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	p.central_speaks = old;
	pair_open_central(&p);
	/* Steps 1 and 3 upgrade an edge, 2 central, 4 the last edge. */
	for (step = 0; step <= 4; step++) {
		bool central_new = step >= 2;

		if (step == 2) {
			pair_close_edge(&p);
			pair_close_central(&p);
			p.central_speaks = (struct protocol_range){0, 0};
			pair_open_central(&p);
		}
		for (i = 0; i < 3; i++) {
			bool edge_new = i == 0 ? step >= 1 : i == 1 ? step >= 3 : step >= 4;

			let_speak(&p, edge_new ? NULL : &old, central_new ? NULL : &old);
			pair_site(&p, sites[i]);
			deliver(&p, number++);
			assert_int_equal(settled_on(&p), edge_new && central_new ? 2 : 1);
			assert_int_equal(noted(&p, sites[i]), edge_new && central_new ? 2 : 1);
		}
	}
	for (n = 1; n < number; n++)
		assert_true(pair_central_has(&p, n));
	pair_fini(&p);
}

static void
versions__without_a_common_one_all_is_kept_and_a_person_is_told(void **state)
{
	struct figures f;
	struct pair p;
	bool person;
	int i;

	(void)state;
	pair_prepare(&p, "64MiB");
	let_speak(&p, NULL, &later);
	pair_open_central(&p);
	pair_open_edge(&p);
	assert_int_equal(pair_send(&p, 1), 0);
	for (i = 0; i < 20; i++)
		pair_turn(&p);
	assert_false(pair_central_has(&p, 1));
	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	for (i = 0; i < 60 && !f.retry_wall_ms; i++) {
		pair_turn(&p);
		assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	}
	assert_int_equal(f.wait, WAIT_VERSIONS);
	assert_true(f.retry_wall_ms > 0);
	assert_int_equal(f.outbox.owed, 1);
	assert_true(status_says(&p, "waits: central speaks other versions; next try at ", &person));
	assert_true(person);
	assert_true(status_says(&p, "this central speaks versions 3 to 4", &person));
	p.central.speaks.oldest = 2; /* it speaks ours, too, from now on */
	assert_true(pair_settle(&p, TURNS));
	assert_true(pair_central_has(&p, 1));
	assert_int_equal(settled_on(&p), 2);
	assert_false(status_says(&p, "other versions", &person));
	assert_false(person);
	pair_fini(&p);
}

/* --- what nobody knows yet --- */

static int
append_unknown(struct store_tx *tx, void *arg, struct err *e)
{
	Sync__LedgerEntry m = SYNC__LEDGER_ENTRY__INIT;
	struct buf entry = BUF_INIT;
	int rc;

	m.kind = (Sync__LedgerKind)77;
	m.wall_ms = 1790000000000;
	m.study = message_text("1.2.3");
	message_pack(&entry, &m.base);
	buf_put(&entry, "\x82\xfa\x01\x04new!", 8); /* field 4000 */
	rc = ledger_append(tx, &entry, arg, e);
	buf_fini(&entry);
	return rc;
}

static void
versions__R5_fields_are_skipped_and_entries_kept_that_nobody_knows_yet(void **state)
{
	static const unsigned char want[] = {8,	   77,	 16, 0x80, 0xd8, 0xc1, 0xa2, 0x8c, 0x34,
					     0xa2, 1,	 5,  '1',  '.',	 '2',  '.',  '3',  0x82,
					     0xfa, 0x01, 4,  'n',  'e',	 'w',  '!'};
	struct pair p;
	struct store_tx *tx;
	const void *entry;
	uint64_t seq;
	size_t n;

	(void)state;
	pair_prepare(&p, "64MiB");
	p.routes = newpeer_routes(&p.n_routes);
	pair_open_central(&p);
	pair_open_edge(&p);
	deliver(&p, 1);
	assert_int_equal(store_commit(p.edge.store, append_unknown, &seq, NULL), 0);
	deliver(&p, 2); /* also: H goes on over it, and it is not owed */
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(announced_get(tx, &p.edge.incarnation, seq, &entry, &n, NULL), 0);
	assert_int_equal(n, sizeof(want));
	assert_memory_equal(entry, want, n);
	store_end_read(tx);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions__an_old_edge_delivers_to_a_new_central),
		cmocka_unit_test(versions__a_new_edge_delivers_to_an_old_central),
		cmocka_unit_test(versions__two_new_ones_speak_the_new_version),
		cmocka_unit_test(versions__a_fleet_is_upgraded_one_by_one),
		cmocka_unit_test(versions__without_a_common_one_all_is_kept_and_a_person_is_told),
		cmocka_unit_test(
			versions__R5_fields_are_skipped_and_entries_kept_that_nobody_knows_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
