/* The newest is what arrived last at any node, also behind two fires (R28). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/dicom/keys.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/refill.h"
#include "edge/replicate.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum {
	TURNS = 400,
	IMAGES = 5,
	DAY_MS = 24 * 3600000,
	HELLO_MS = 16000,
	ROWS = 1450 /* two are no pack */
};

/* A new central is found at the next hello. */
static void
central_fills(struct pair *p)
{
	unsigned i;

	clock_manual_advance(&p->clock, HELLO_MS);
	for (i = 0; i < 12; i++)
		pair_turn(p);
	assert_true(pair_settle(p, TURNS));
}

/* Central has them in the order of their first arrival, the last one first, at each message. */
static void
look(struct pair *p, const char *method, const char *path, bool answer)
{
	unsigned i, held = 0;

	(void)method;
	(void)path;
	(void)answer;
	if (!p->central_open)
		return;
	while (held < IMAGES && pair_central_has(p, IMAGES - 1 - held))
		held++;
	for (i = held; i < IMAGES; i++)
		if (pair_central_has(p, IMAGES - 1 - i))
			fail_msg("image %u came before %u that are newer", IMAGES - 1 - i, i);
}

static void
refill__R28_two_fires_later_the_newest_is_still_first(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_prepare(&p, "256MiB");
	p.rows = ROWS;
	pair_open_central(&p);
	pair_open_edge(&p);
	for (i = 0; i + 1 < IMAGES; i++) {
		assert_int_equal(pair_send(&p, i), 0);
		assert_true(pair_settle(&p, TURNS));
		clock_manual_advance(&p.clock, DAY_MS);
	}
	assert_int_equal(pair_burn_and_refill(&p, false).came, IMAGES - 1);
	assert_int_equal(pair_send(&p, IMAGES - 1), 0);
	assert_true(pair_settle(&p, TURNS));
	pair_burn_central(&p);
	pair_open_central(&p);
	p.on_message = look;
	central_fills(&p);
	assert_true(pair_central_has(&p, 0));
	pair_fini(&p);
}

enum { EACH = 4 }; /* images of a study; one is sent of each */

/* The edge gets back the newest first, at each message. */
static void
look_at_edge(struct pair *p, const char *method, const char *path, bool answer)
{
	unsigned i, here = 0;

	(void)method;
	(void)path;
	(void)answer;
	if (!p->edge_open)
		return;
	while (here < IMAGES && pair_edge_has(p, EACH * (IMAGES - 1 - here)))
		here++;
	for (i = here; i < IMAGES; i++)
		if (pair_edge_has(p, EACH * (IMAGES - 1 - i)))
			fail_msg("study %u came before %u that are newer", IMAGES - 1 - i, i);
}

/* An edge's disk burnt, then central's, which heard of the newest first; then the edge's again. */
static void
refill__R28_a_third_fire_later_the_newest_still_comes_first(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_prepare(&p, "256MiB");
	p.rows = ROWS;
	pair_open_central(&p);
	pair_open_edge(&p);
	for (i = 0; i < IMAGES; i++) {
		assert_int_equal(pair_send(&p, EACH * i), 0);
		assert_true(pair_settle(&p, TURNS));
		clock_manual_advance(&p.clock, DAY_MS);
	}
	assert_int_equal(pair_burn_and_refill(&p, false).came, IMAGES);
	pair_burn_central(&p);
	pair_open_central(&p);
	central_fills(&p);
	p.on_message = look_at_edge;
	assert_int_equal(pair_burn_and_refill(&p, false).came, IMAGES);
	pair_fini(&p);
}

static void
without_study(struct gen *g)
{
	g->without_study = true;
}

static void
without_series(struct gen *g)
{
	g->without_series = true;
}

/* What no index names comes as well, behind the rest: an image without a Study or Series UID. */
static void
refill__R20_R28_what_names_no_study_comes_behind_the_rest(void **state)
{
	void (*const changes[])(struct gen * g) = {without_study, without_series};
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 2; i++) {
		p.change = changes[i];
		assert_int_equal(pair_send(&p, EACH * i), 0);
	}
	p.change = NULL;
	assert_int_equal(pair_send(&p, EACH * 2), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(pair_burn_and_refill(&p, false).came, 3);
	pair_fini(&p);
}

/* Who a viewer sees image 0 to be of. */
static void
is_of(struct store *s, const char *name)
{
	char uid[65], text[80];
	struct store_tx *tx;
	struct attrs row;

	gen_uid(uid, 1, 0, 0);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(index_study_row(tx, uid, &row, NULL), 0);
	(void)attrs_copy(row, TAG_PATIENT_NAME, text, sizeof(text));
	store_end_read(tx);
	assert_string_equal(text, name);
}

static void
corrected(struct gen *g)
{
	g->name = "THE^CORRECTED^NAME";
}

static void
in_conflict(struct gen *g)
{
	g->seed = 77;
}

/* The digest of what is current of image 0. */
static void
current_of(struct store *s, unsigned char digest[SHA256_SIZE])
{
	char uid[65];
	struct store_tx *tx;
	struct version v;

	gen_uid(uid, 1, 1, 1);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(store_current(tx, uid, &v, NULL), 0);
	store_end_read(tx);
	memcpy(digest, v.digest, SHA256_SIZE);
}

/* It comes newest first: what was there first, and what corrects it, is the same as ever. */
static void
refill__R3_R28_the_version_that_counts_is_the_one_of_before(void **state)
{
	static void (*const changes[])(struct gen * g) = {corrected, in_conflict};
	unsigned char before[SHA256_SIZE], after[SHA256_SIZE];
	struct pair p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		pair_init(&p, "64MiB");
		assert_int_equal(pair_send(&p, 0), 0);
		assert_true(pair_settle(&p, TURNS));
		clock_manual_advance(&p.clock, DAY_MS);
		p.change = changes[i];
		assert_int_equal(pair_send(&p, 0), 0);
		assert_true(pair_settle(&p, TURNS));
		current_of(p.edge.store, before);
		is_of(p.edge.store, i ? "DOE^JANE" : "THE^CORRECTED^NAME");
		assert_int_equal(pair_burn_and_refill(&p, false).came, 2);
		current_of(p.edge.store, after);
		assert_memory_equal(after, before, sizeof(after));
		is_of(p.edge.store, i ? "DOE^JANE" : "THE^CORRECTED^NAME");
		pair_burn_central(&p);
		pair_open_central(&p);
		central_fills(&p);
		current_of(p.central.store, after);
		assert_memory_equal(after, before, sizeof(after));
		is_of(p.central.store, i ? "DOE^JANE" : "THE^CORRECTED^NAME");
		pair_fini(&p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refill__R28_two_fires_later_the_newest_is_still_first),
		cmocka_unit_test(refill__R28_a_third_fire_later_the_newest_still_comes_first),
		cmocka_unit_test(refill__R20_R28_what_names_no_study_comes_behind_the_rest),
		cmocka_unit_test(refill__R3_R28_the_version_that_counts_is_the_one_of_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
