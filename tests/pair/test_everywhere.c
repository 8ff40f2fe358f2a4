/*
 * Versions of one instance at several sites, in every order of arrival, with central there or not:
 * at rest all nodes show the same one, and it is the one that R3 says (R3).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/log.h"
#include "common/store/store.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"

enum { TURNS = 400, A_WHILE = 60, IMAGE = 1, KINDS = 4 };

static struct pair p;
static uint64_t alike; /* variants and revisions of what was shown last */

/* --- the versions --- */

static void
first(struct gen *g)
{
	g->name = "SAME^NAME ";
}

/* The same content: what pads a value is no part of it (R2). */
static void
variant(struct gen *g)
{
	g->name = "SAME^NAME   ";
}

static void
revision(struct gen *g)
{
	g->name = "OTHER^NAME";
}

static void
conflict(struct gen *g)
{
	g->name = "SAME^NAME ";
	g->seed = 4711;
}

static const struct one {
	const char *site;
	void (*change)(struct gen *g);
} kinds[KINDS] = {{"north", first}, {"south", variant}, {"north", revision}, {"south", conflict}};

static void
at(const char *site)
{
	if (strcmp(p.site, site) != 0)
		pair_site(&p, site);
}

static void
arrive(const struct one *v)
{
	at(v->site);
	p.change = v->change;
	assert_int_equal(pair_send(&p, IMAGE), 0);
}

static void
listen(void)
{
	unsigned i;

	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i < A_WHILE; i++)
		pair_turn(&p);
}

static struct version
shown(struct store *s)
{
	struct store_counts counts;
	struct store_tx *tx;
	struct version v;
	char uid[65];

	gen_uid(uid, 1, 1, 1 + IMAGE);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(store_current(tx, uid, &v, NULL), 0);
	assert_int_equal(store_counts(tx, &counts, NULL), 0);
	store_end_read(tx);
	assert_int_equal(counts.undecided, 0);
	alike = counts.variants + counts.revisions;
	assert_int_equal(store_check(s, v.oid, NULL), 0);
	return v;
}

static int
kind_of(const struct version *v)
{
	unsigned char digest[SHA256_SIZE];
	struct buf file = BUF_INIT;
	int i;

	for (i = 0; i < KINDS; i++) {
		p.change = kinds[i].change;
		buf_clear(&file);
		pair_image(&p, &file, IMAGE);
		sha256_of(file.data, file.len, digest);
		if (memcmp(digest, v->digest, sizeof(digest)) == 0)
			break;
	}
	buf_fini(&file);
	return i;
}

static void
name_of(const unsigned order[KINDS], char text[KINDS + 1])
{
	unsigned i;

	for (i = 0; i < KINDS; i++)
		text[i] = "FVRC"[order[i]];
	text[KINDS] = '\0';
}

/* dark: central is not there until all have arrived, and hears of them site by site. */
static void
one_order(const unsigned order[KINDS], bool dark)
{
	static const char *const sites[] = {"north", "south", "north", "south"};
	struct version there, v;
	char text[KINDS + 1];
	unsigned i;

	name_of(order, text);
	pair_init(&p, "64MiB");
	log_set_level(LOG_ERROR);
	if (dark)
		pair_close_central(&p);
	for (i = 0; i < KINDS; i++) {
		arrive(&kinds[order[i]]);
		if (!dark)
			assert_true(pair_settle(&p, TURNS));
	}
	if (dark)
		pair_open_central(&p);
	for (i = 0; i < 4; i++) {
		at(sites[i]);
		listen();
	}
	there = shown(p.central.store);
	if (!dark && order[0] == 0 && order[1] == 1 && alike != 2)
		fail_msg("%s: %u variants and revisions", text, (unsigned)alike);
	for (i = 0; i < 2; i++) {
		at(sites[i]);
		v = shown(p.edge.store);
		if (memcmp(v.digest, there.digest, SHA256_SIZE) != 0)
			fail_msg("%s%s: %s shows %c, central %c", text, dark ? " in the dark" : "",
				 sites[i], "FVRC?"[kind_of(&v)], "FVRC?"[kind_of(&there)]);
	}
	/* Heard one by one: what was first stays but for its own correction. */
	if (!dark && order[0] == 3 && kind_of(&there) != 3)
		fail_msg("%s: the first of a conflict gave way to %c", text,
			 "FVRC?"[kind_of(&there)]);
	pair_fini(&p);
}

static void
all_orders(bool dark)
{
	unsigned o[KINDS], n = 0;

	for (o[0] = 0; o[0] < KINDS; o[0]++)
		for (o[1] = 0; o[1] < KINDS; o[1]++)
			for (o[2] = 0; o[2] < KINDS; o[2]++) {
				o[3] = 6 - o[0] - o[1] - o[2];
				if (o[0] == o[1] || o[0] == o[2] || o[1] == o[2])
					continue;
				one_order(o, dark);
				n++;
			}
	assert_int_equal(n, 24);
}

static void
versions__R3_of_two_sites_are_shown_alike_in_every_order_of_arrival(void **state)
{
	(void)state;
	all_orders(false);
}

static void
versions__R3_that_met_in_the_dark_are_shown_alike_in_every_order(void **state)
{
	(void)state;
	all_orders(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			versions__R3_of_two_sites_are_shown_alike_in_every_order_of_arrival),
		cmocka_unit_test(versions__R3_that_met_in_the_dark_are_shown_alike_in_every_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
