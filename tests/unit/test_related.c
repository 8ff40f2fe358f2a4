/* How much there is of a study's patient (PS3.4 table C.6-5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/dicom/attrs.h"
#include "common/dicom/keys.h"
#include "common/store/index.h"
#include "common/store/query.h"
#include "common/store/store.h"
#include "tests/lib/stored.h"

static void
put(struct buf *set, uint32_t tag, const char *value)
{
	attrs_put(set, tag, value, strlen(value));
}

struct telling {
	const char *id, *birth_date, *description;
	unsigned version, study;
};

/* One instance of study 1.8.<study>; the same pixels in each version. */
static int
tell(struct store_tx *tx, void *arg, struct err *e)
{
	struct buf study = BUF_INIT, series = BUF_INIT;
	const struct telling *a = arg;
	struct store_verdict verdict;
	struct index_sets sets;
	struct version v;
	int rc;

	memset(&v, 0, sizeof(v));
	v.state = VERSION_ELSEWHERE;
	v.origin = VERSION_REFILLED;
	(void)snprintf(v.study, sizeof(v.study), "1.8.%u", a->study);
	(void)snprintf(v.series, sizeof(v.series), "1.8.%u.1", a->study);
	(void)snprintf(v.sop_instance, sizeof(v.sop_instance), "1.8.%u.1.1", a->study);
	sha256_of(a, sizeof(*a), v.digest);
	v.content[0] = (unsigned char)a->version;
	put(&study, TAG_STUDY_DESCRIPTION, a->description);
	put(&study, TAG_PATIENT_ID, a->id);
	put(&study, TAG_BIRTH_DATE, a->birth_date);
	put(&study, TAG_STUDY_UID, v.study);
	put(&series, TAG_MODALITY, "CT");
	sets = (struct index_sets){.study = attrs_of(&study), .series = attrs_of(&series)};
	rc = store_announce(tx, &v, &sets, &verdict, e);
	buf_fini(&study);
	buf_fini(&series);
	return rc;
}

/* PS3.4 table C.6-5: of whose patient it is, as R33 tells persons apart. */
static void
query_next__a_study_says_how_much_there_is_of_its_patient(void **state)
{
	struct telling all[] = {
		{"ID", "19700101", "", 1, 1}, {"ID", "19700101", "", 1, 2},  {"ID", "", "", 1, 3},
		{"ID", "19991231", "", 1, 4}, {"ID2", "19700101", "", 1, 5}, {"", "", "", 1, 6},
		{"", "", "", 1, 7},	      {"A\\B", "", "", 1, 8}};
	static const unsigned want[] = {3, 3, 3, 1, 1, 1, 1, 1};
	struct query_config c = {.level = QUERY_STUDY};
	struct buf keys = BUF_INIT;
	struct query_match m;
	struct query *query;
	struct stored t;
	unsigned i;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(store_commit(t.s, tell, &all[i], NULL), 0);
	put(&keys, TAG_PATIENT_STUDIES, "");
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&query, t.s, &c, NULL), 0);
	for (i = 8; query_next(query, &m, NULL) == 0 && i-- > 0;) {
		assert_int_equal(m.studies, want[i]);
		assert_int_equal(m.series_count, want[i]);
		assert_int_equal(m.instances, want[i]);
	}
	assert_int_equal(i, 0);
	query_close(query);
	buf_fini(&keys);
	stored_fini(&t);
}

static int
tell_many(struct store_tx *tx, void *arg, struct err *e)
{
	struct telling one = *(struct telling *)arg;
	unsigned n = one.study;
	int rc = 0;

	for (one.study = 1; !rc && one.study <= n; one.study++)
		rc = tell(tx, &one, e);
	return rc;
}

/* Of an ID that is everybody's each answer would cost a look at them all. */
static void
query_next__R34_of_an_ID_with_thousands_of_studies_nothing_is_counted(void **state)
{
	struct telling many = {"UNKNOWN", "", "", 1, 2001}, few = {"ID", "", "", 1, 3000};
	struct query_config c = {.level = QUERY_STUDY};
	struct buf keys = BUF_INIT;
	struct query_match m;
	struct query *query;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	assert_int_equal(store_commit(t.s, tell_many, &many, NULL), 0);
	assert_int_equal(store_commit(t.s, tell, &few, NULL), 0);
	put(&keys, TAG_PATIENT_STUDIES, "");
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&query, t.s, &c, NULL), 0);
	assert_int_equal(query_next(query, &m, NULL), 0); /* the newest */
	assert_int_equal(m.studies, 1);
	assert_int_equal(query_next(query, &m, NULL), 0);
	assert_int_equal(m.studies, 0);
	query_close(query);
	buf_fini(&keys);
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_next__a_study_says_how_much_there_is_of_its_patient),
		cmocka_unit_test(
			query_next__R34_of_an_ID_with_thousands_of_studies_nothing_is_counted)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
