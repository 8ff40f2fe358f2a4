/*
 * Which version of an instance viewers get, at central and at each site (R3): decided by central,
 * numbered, heard by all; kept through fires and set-backs (R16).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/decisions.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/decided.h"
#include "common/store/store.h"
#include "proto/sync.pb-c.h"
#include "tests/gen/gen.h"
#include "tests/lib/oldpeer.h"
#include "tests/lib/pair.h"

enum { TURNS = 400, A_WHILE = 40, IMAGE = 1 };

/* --- images of one UID --- */

static void
other_pixels(struct gen *g)
{
	g->seed = 4711;
}

static void
more_pixels(struct gen *g)
{
	g->seed = 4712;
}

static void
corrected(struct gen *g)
{
	g->seed = 4711;
	g->name = "CORRECTED^NAME";
}

static void
digest_of(struct pair *p, void (*change)(struct gen *g), unsigned char out[SHA256_SIZE])
{
	struct buf image = BUF_INIT;

	p->change = change;
	pair_image(p, &image, IMAGE);
	sha256_of(image.data, image.len, out);
	buf_fini(&image);
}

static void
uid_of_image(char uid[65])
{
	gen_uid(uid, 1, 1, 1 + IMAGE);
}

static void
send(struct pair *p, void (*change)(struct gen *g))
{
	p->change = change;
	assert_int_equal(pair_send(p, IMAGE), 0);
	assert_true(pair_settle(p, TURNS));
}

/* Hears what there is to hear, and fetches what was chosen. */
static void
listen(struct pair *p)
{
	int i;

	for (i = 0; i < A_WHILE; i++)
		pair_turn(p);
}

static struct store_counts
counts(struct store *s)
{
	struct store_counts c;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(store_counts(tx, &c, NULL), 0);
	store_end_read(tx);
	return c;
}

/* What viewers get of the image is the one that `change` makes, and its bytes are right. */
static bool
shows(struct pair *p, struct store *s, void (*change)(struct gen *g))
{
	unsigned char digest[SHA256_SIZE];
	struct store_tx *tx;
	struct version v;
	char uid[65];

	digest_of(p, change, digest);
	uid_of_image(uid);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(store_current(tx, uid, &v, NULL), 0);
	store_end_read(tx);
	return memcmp(v.digest, digest, sizeof(digest)) == 0 && store_check(s, v.oid, NULL) == 0;
}

static void
all_show(struct pair *p, void (*change)(struct gen *g))
{
	static const char *const sites[] = {"north", "south"};
	unsigned i;

	assert_true(shows(p, p->central.store, change));
	for (i = 0; i < 2; i++) {
		pair_site(p, sites[i]);
		listen(p);
		if (!shows(p, p->edge.store, change))
			fail_msg("%s shows another version", sites[i]);
		assert_int_equal(counts(p->edge.store).undecided, 0);
	}
	assert_true(shows(p, p->central.store, change));
	assert_int_equal(counts(p->central.store).undecided, 0);
}

static void
resolve(struct pair *p, void (*change)(struct gen *g))
{
	unsigned char digest[SHA256_SIZE];
	struct err e = ERR_INIT;
	char uid[65];

	digest_of(p, change, digest);
	uid_of_image(uid);
	if (decisions_resolve(&p->central, uid, digest, "a test", "", &e))
		fail_msg("%s", e.what);
}

/* North and south have other pixels under one UID, and central was told of both. */
static void
make_conflict(struct pair *p)
{
	pair_init(p, "64MiB");
	send(p, NULL);
	pair_site(p, "south");
	send(p, other_pixels);
}

static void
decisions__R3_at_rest_all_nodes_show_the_version_that_central_chose(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	assert_true(shows(&p, p.edge.store, other_pixels)); /* until it has heard */
	all_show(&p, NULL);
	assert_int_equal(counts(p.central.store).conflicts, 1); /* R3 decides none */
	pair_fini(&p);
}

static void
decisions__R3_a_person_decides_and_all_nodes_follow(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	all_show(&p, NULL);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	assert_int_equal(counts(p.central.store).conflicts, 0);
	assert_int_equal(counts(p.edge.store).conflicts, 0);
	/* A version that came later is a conflict of its own; what was decided stays. */
	send(&p, more_pixels);
	all_show(&p, other_pixels);
	assert_int_equal(counts(p.central.store).conflicts, 1);
	resolve(&p, more_pixels);
	all_show(&p, more_pixels);
	assert_int_equal(counts(p.central.store).conflicts, 0);
	pair_fini(&p);
}

static void
decisions__R3_a_correction_of_what_was_chosen_counts_everywhere(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	send(&p, corrected); /* from where the chosen one came */
	assert_true(shows(&p, p.edge.store, corrected));
	all_show(&p, corrected);
	assert_int_equal(counts(p.central.store).conflicts, 0);
	pair_fini(&p);
}

static void
decisions__R3_a_correction_in_the_dark_outlives_a_decision(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	all_show(&p, NULL);
	p.cut_method = "POST"; /* south hears nothing, says nothing */
	p.change = corrected;
	assert_int_equal(pair_send(&p, IMAGE), 0);
	resolve(&p, other_pixels);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	all_show(&p, corrected);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			decisions__R3_at_rest_all_nodes_show_the_version_that_central_chose),
		cmocka_unit_test(decisions__R3_a_person_decides_and_all_nodes_follow),
		cmocka_unit_test(decisions__R3_a_correction_of_what_was_chosen_counts_everywhere),
		cmocka_unit_test(decisions__R3_a_correction_in_the_dark_outlives_a_decision),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
