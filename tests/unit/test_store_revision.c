/* A correction of an object: what counts after it (R3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "tests/lib/stored.h"

enum { COMMENT = 0x00104000 };

static bool
study_says(struct store *s, const char *study, uint32_t tag)
{
	struct store_tx *tx;
	struct attrs row;
	struct attr a;
	bool says;

	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(index_study_row(tx, study, &row, NULL), 0);
	says = attrs_get(row, tag, &a);
	store_end_read(tx);
	return says;
}

static void
store_put__R3_what_a_revision_leaves_out_is_no_more(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, "wrong", 7, 100};
	struct store_verdict v;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	(void)stored_keep(t.s, &r, "a");
	r.comment = "";
	v = stored_keep(t.s, &r, "b"); /* from elsewhere: listed, the first stays */
	assert_int_equal(v.relation, VERSION_REVISION);
	assert_false(v.current || v.study_changed);
	assert_int_equal(store_settle(t.s, NULL), 0);
	assert_true(study_says(t.s, "1.2.3", COMMENT));
	r.uid = "1.2.3.5"; /* a new image that does not say it takes nothing away */
	(void)stored_keep(t.s, &r, "a");
	assert_int_equal(store_settle(t.s, NULL), 0);
	assert_true(study_says(t.s, "1.2.3", COMMENT));
	r.comment = "wrong";
	v = stored_keep(t.s, &r, "a");
	assert_int_equal(v.relation, VERSION_REVISION);
	r.comment = "";
	r.pixels = 101; /* a conflict neither */
	assert_int_equal(stored_keep(t.s, &r, "a").relation, VERSION_CONFLICT);
	assert_int_equal(store_settle(t.s, NULL), 0);
	assert_true(study_says(t.s, "1.2.3", COMMENT));
	stored_fini(&t);
}

static void
store_put__R3_objects_without_pixels_have_the_same_ones(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, "a report", 0, 0};
	struct store_verdict v;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	(void)stored_keep(t.s, &r, "a");
	r.comment = "the report, corrected";
	v = stored_keep(t.s, &r, "b");
	assert_int_equal(v.relation, VERSION_REVISION);
	assert_false(v.current); /* listed, and the first stays */
	v = stored_keep(t.s, &r, "a");
	assert_true(v.duplicate);
	r.comment = "";
	v = stored_keep(t.s, &r, "a");
	assert_int_equal(v.relation, VERSION_REVISION);
	assert_true(v.current && v.study_changed);
	assert_int_equal(v.corrected.n, 1);
	assert_int_equal(store_settle(t.s, NULL), 0);
	assert_false(study_says(t.s, "1.2.3", COMMENT));
	r.pixels = 100; /* there are pixels now: that is another object */
	v = stored_keep(t.s, &r, "a");
	assert_int_equal(v.relation, VERSION_CONFLICT);
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_put__R3_what_a_revision_leaves_out_is_no_more),
		cmocka_unit_test(store_put__R3_objects_without_pixels_have_the_same_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
