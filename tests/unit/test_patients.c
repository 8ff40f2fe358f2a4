/* PATIENT level: what a patient's studies say together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/dicom/keys.h"
#include "common/store/index.h"
#include "common/store/patient.h"
#include "common/store/query.h"
#include "tests/lib/stored.h"

#define OTHER_NAMES 0x00101001u

struct study {
	const char *uid, *name, *sex, *others;
	int64_t age_ms; /* since its first arrival */
};

static void
put(struct buf *set, uint32_t tag, const char *value)
{
	attrs_put(set, tag, value, strlen(value));
}

static int
announce(struct store_tx *tx, void *arg, struct err *e)
{
	struct buf study = BUF_INIT, series = BUF_INIT;
	const struct study *s = arg;
	struct store_verdict verdict;
	struct index_sets sets;
	struct version v;
	int rc;

	memset(&v, 0, sizeof(v));
	v.state = VERSION_ELSEWHERE;
	v.origin = VERSION_REFILLED;
	strcpy(v.study, s->uid);
	(void)snprintf(v.series, sizeof(v.series), "%s.1", s->uid);
	(void)snprintf(v.sop_instance, sizeof(v.sop_instance), "%s.1.1", s->uid);
	sha256_of(v.sop_instance, strlen(v.sop_instance), v.digest);
	v.first_ms = store_time(store_tx_store(tx)) - s->age_ms;
	put(&study, TAG_PATIENT_NAME, s->name);
	put(&study, TAG_PATIENT_ID, "P1");
	put(&study, TAG_PATIENT_ISSUER, "H");
	put(&study, TAG_SEX, s->sex);
	put(&study, OTHER_NAMES, s->others);
	put(&study, TAG_STUDY_UID, s->uid);
	put(&series, TAG_MODALITY, "CT");
	sets = (struct index_sets){.study = attrs_of(&study), .series = attrs_of(&series)};
	rc = store_announce(tx, &v, &sets, &verdict, e);
	buf_fini(&study);
	buf_fini(&series);
	return rc;
}

static const char *
said(struct attrs set, uint32_t tag)
{
	static char text[64];

	(void)attrs_copy(set, tag, text, sizeof(text));
	return text;
}

/* How many patients have this name; the last one's attributes are checked by the caller. */
static unsigned
named(struct store *s, const char *name, struct buf *row)
{
	struct query_config c = {.level = QUERY_PATIENT, .patient_root = true};
	struct buf keys = BUF_INIT;
	struct query_match m;
	struct query *query;
	unsigned n = 0;

	put(&keys, TAG_PATIENT_NAME, name);
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&query, s, &c, NULL), 0);
	for (; query_next(query, &m, NULL) == 0; n++) {
		assert_int_equal(m.studies, 3);
		buf_clear(row);
		buf_put(row, m.study.p, m.study.n);
	}
	query_close(query);
	buf_fini(&keys);
	return n;
}

/* In whatever order they come, and whatever their UIDs: a refill brings the newest first. */
static void
query_next__R28_R33_a_patient_is_what_the_newest_study_says(void **state)
{
	struct study all[] = {{"1.3", "OLD^NAME", "F", "BIRTH^NAME", 3000},
			      {"1.1", "NEW^NAME", "", "", 1000},
			      {"1.2", "MIDDLE^NAME", "F", "LATER^NAME", 2000}};
	static const unsigned orders[][3] = {{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct buf row = BUF_INIT;
	struct stored t;
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		stored_init(&t, 0);
		for (j = 0; j < 3; j++)
			assert_int_equal(store_commit(t.s, announce, &all[orders[i][j]], NULL), 0);
		assert_int_equal(named(t.s, "OLD^NAME", &row), 0);
		assert_int_equal(named(t.s, "MIDDLE^NAME", &row), 0);
		assert_int_equal(named(t.s, "NEW^*", &row), 1);
		assert_string_equal(said(attrs_of(&row), TAG_PATIENT_NAME), "NEW^NAME");
		assert_string_equal(said(attrs_of(&row), TAG_STUDY_UID), "1.1");
		assert_string_equal(said(attrs_of(&row), TAG_SEX),
				    "F"); /* left out by the newest */
		assert_string_equal(said(attrs_of(&row), OTHER_NAMES), "LATER^NAME");
		stored_fini(&t);
	}
	buf_fini(&row);
}

static void
patient_row__is_an_attribute_set_of_the_patient_alone(void **state)
{
	struct buf study = BUF_INIT, together = BUF_INIT, row = BUF_INIT;

	(void)state;
	put(&study, TAG_STUDY_DATE, "20260101");
	put(&study, TAG_PATIENT_NAME, "A^B");
	put(&study, TAG_PATIENT_ID, "");
	put(&study, TAG_STUDY_UID, "1.2");
	patient_row(&row, &together);
	assert_int_equal(row.len, 0);
	patient_add(&together, attrs_of(&study), 5);
	patient_add(&together, attrs_of(&study), 4);
	patient_row(&row, &together);
	assert_true(attrs_valid(attrs_of(&row)));
	assert_string_equal(said(attrs_of(&row), TAG_PATIENT_NAME), "A^B");
	assert_string_equal(said(attrs_of(&row), TAG_STUDY_DATE), "");
	assert_string_equal(said(attrs_of(&row), TAG_STUDY_UID), "1.2");
	buf_fini(&study);
	buf_fini(&together);
	buf_fini(&row);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_next__R28_R33_a_patient_is_what_the_newest_study_says),
		cmocka_unit_test(patient_row__is_an_attribute_set_of_the_patient_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
