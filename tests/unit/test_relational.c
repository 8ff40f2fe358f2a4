/*
 * What is negotiated beyond the baseline of C-FIND and C-GET (PS3.4 C.5): relational queries,
 * dates and times combined, fuzzy names; and names as people type them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/store/index.h"
#include "common/store/match_name.h"
#include "common/store/store.h"
#include "tests/lib/viewer.h"

#define ACQUIRED 0x0008002au

struct one { /* an instance, and what its study says */
	const char *study, *series, *instance, *name, *id, *accession, *date, *time, *modality;
	const char *number, *zone;
};

static const struct one all[] = {
	{"1.1", "1.1.1", "1.1.1.1", "DUPONT^Marie", "P1", "A1", "20260105", "0900", "CT", "1",
	 NULL},
	{"1.1", "1.1.1", "1.1.1.2", "DUPONT^Marie", "P1", "A1", "20260105", "0900", "CT", "7",
	 NULL},
	{"1.1", "1.1.2", "1.1.2.1", "DUPONT^Marie", "P1", "A1", "20260105", "0900", "SR", "1",
	 NULL},
	{"1.2", "1.2.1", "1.2.1.1", "M\xc3\xbcller^J\xc3\xb6rg", "P2", "A2", "20260106", "2300",
	 "CT", "1", NULL},
	{"1.3", "1.3.1", "1.3.1.1", "Mueller^Anna", "P3", "A3", "20260107", "0100", "MR", "7",
	 NULL},
	{"1.4", "1.4.1", "1.4.1.1", "VAN DER BERG^Jan", "P1", "A4", "20260107", "", "US", "1",
	 NULL},
};

/* Half past midnight in Berlin, the same hour in New York, and somewhere. */
static const struct one zoned[] = {
	{"2.1", "2.1.1", "2.1.1.1", "EAST^A", "P5", "A5", "20260301", "003012.5", "CT", "1",
	 "+0100"},
	{"2.2", "2.2.1", "2.2.1.1", "WEST^B", "P6", "A6", "20260301", "0030", "CT", "1", "-0500"},
	{"2.3", "2.3.1", "2.3.1.1", "NO^WHERE", "P7", "A7", "20260301", "0030", "CT", "1", NULL},
	{"2.4", "2.4.1", "2.4.1.1", "NO^TIME", "P8", "A8", "20260301", "", "CT", "1", "+0100"},
};

static void
put(struct buf *set, uint32_t tag, const char *value)
{
	attrs_put(set, tag, value, strlen(value));
}

static int
announce(struct store_tx *tx, void *arg, struct err *e)
{
	const struct one *o = arg;
	struct buf study = BUF_INIT, series = BUF_INIT, instance = BUF_INIT;
	struct store_verdict verdict;
	struct index_sets sets;
	struct version v;
	static int first;
	int rc;

	first++;
	memset(&v, 0, sizeof(v));
	v.state = VERSION_ELSEWHERE;
	v.origin = VERSION_REFILLED;
	strcpy(v.sop_class, CT);
	strcpy(v.study, o->study);
	strcpy(v.series, o->series);
	strcpy(v.sop_instance, o->instance);
	sha256_of(o->instance, strlen(o->instance), v.digest);
	v.first_ms = 1000 + first;
	put(&study, TAG_STUDY_DATE, o->date);
	put(&study, TAG_STUDY_TIME, o->time);
	put(&study, TAG_ACCESSION, o->accession);
	if (o->zone)
		put(&study, TAG_TIMEZONE, o->zone);
	put(&study, TAG_PATIENT_NAME, o->name);
	put(&study, TAG_PATIENT_ID, o->id);
	put(&study, TAG_STUDY_UID, o->study);
	put(&series, TAG_MODALITY, o->modality);
	put(&series, TAG_SERIES_UID, o->series);
	put(&instance, TAG_SOP_INSTANCE, o->instance);
	put(&instance, ACQUIRED, "20260301003012");
	put(&instance, TAG_INSTANCE_NUMBER, o->number);
	sets = (struct index_sets){attrs_of(&study), attrs_of(&series), attrs_of(&instance), NULL};
	rc = store_announce(tx, &v, &sets, &verdict, e);
	buf_fini(&study);
	buf_fini(&series);
	buf_fini(&instance);
	return rc;
}

static void
put_these(struct node *n, const struct one *these, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		assert_int_equal(
			store_commit(n->stored.s, announce, (void *)(uintptr_t)&these[i], NULL), 0);
}

static void
put_all(struct node *n)
{
	put_these(n, all, sizeof(all) / sizeof(all[0]));
}

/* Proposes these bytes for C-FIND, Study and Patient Root, and the first for C-GET. */
static void
open_with(struct visit *t, const char *info, size_t n)
{
	struct assoc_extended x[3];

	memset(x, 0, sizeof(x));
	strcpy(x[0].abstract_syntax, FIND);
	strcpy(x[1].abstract_syntax, FIND_PATIENT);
	strcpy(x[2].abstract_syntax, GET);
	memcpy(x[0].info, info, n);
	memcpy(x[1].info, info, n);
	memcpy(x[2].info, info, 1);
	x[0].n = x[1].n = n;
	x[2].n = 1;
	viewer_open_extended(&t->v, &t->n, x, 3);
}

/* Into its place: the tags of a data set ascend. */
static void
key(struct visit *t, uint32_t tag, const char *value)
{
	struct buf old = t->keys;
	struct attr a;
	size_t pos = 0;
	bool done = false;

	t->keys = (struct buf)BUF_INIT;
	while (attrs_next(attrs_of(&old), &pos, &a)) {
		if (!done && a.tag > tag)
			put(&t->keys, tag, value);
		done = done || a.tag > tag;
		attrs_put(&t->keys, a.tag, a.value, a.n);
	}
	if (!done)
		put(&t->keys, tag, value);
	buf_fini(&old);
}

static void
level(struct visit *t, const char *name)
{
	buf_clear(&t->keys);
	put(&t->keys, TAG_QUERY_LEVEL, name);
}

static unsigned
count(struct visit *t)
{
	visit_find(t);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.pending_keys, 0);
	return t->v.pendings;
}

static void
extended__what_is_asked_for_and_known_is_granted_and_no_more(void **state)
{
	static const struct {
		const char *asked, *granted;
		size_t n;
	} rows[] = {{"\1\1\1\1\1\1", "\1\1\1\1\0\0", 6}, {"\1", "\1", 1},     {"\0\1", "\0\1", 2},
		    {"\0\0\1\2", "\0\0\1\0", 4},	 {"\2\1", "\0\1", 2}, {"", "", 0}};
	struct visit *t = *state;
	struct assoc_extended x;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&x, 0, sizeof(x));
		strcpy(x.abstract_syntax, FIND);
		memcpy(x.info, rows[i].asked, rows[i].n);
		x.n = rows[i].n;
		viewer_open_extended(&t->v, &t->n, &x, 1);
		memset(&x, 0xff, sizeof(x));
		assert_true(assoc_extended_of(t->v.a, FIND, &x));
		assert_int_equal(x.n, rows[i].n);
		assert_memory_equal(x.info, rows[i].granted, rows[i].n);
		assert_false(assoc_extended_of(t->v.a, GET, &x)); /* nobody asked */
		viewer_close(&t->v);
	}
	viewer_open(&t->v, &t->n, "NODE");
	assert_false(assoc_extended_of(t->v.a, FIND, &x));
}

static void
relational__an_image_is_found_by_its_uid_alone(void **state)
{
	struct visit *t = *state;
	char text[64];

	put_all(&t->n);
	level(t, "IMAGE");
	key(t, TAG_SOP_INSTANCE, "1.1.2.1\\1.3.1.1\\9.9");
	key(t, TAG_STUDY_UID, "");
	viewer_open(&t->v, &t->n, "NODE");
	visit_find(t);
	assert_int_equal(t->v.last.status, STATUS_IDENTIFIER_MISMATCH); /* hierarchical */
	viewer_close(&t->v);
	open_with(t, "\1", 1);
	assert_int_equal(count(t), 2);
	viewer_answer(&t->v, TAG_STUDY_UID, text, sizeof(text));
	assert_string_equal(text, "1.1"); /* the newest study first */
}

static void
relational__keys_of_every_level_narrow_every_level(void **state)
{
	static const struct {
		const char *level;
		uint32_t tag;
		const char *value;
		uint32_t also;
		const char *with;
		unsigned found;
	} rows[] = {
		{"SERIES", TAG_MODALITY, "CT", 0, NULL, 2},
		{"SERIES", TAG_MODALITY, "CT", TAG_PATIENT_ID, "P1", 1},
		{"SERIES", TAG_SERIES_UID, "1.1.2\\1.2.1", 0, NULL, 2},
		{"SERIES", TAG_INSTANCE_NUMBER, "7", 0, NULL, 2},
		{"SERIES", TAG_SOP_INSTANCE, "1.1.1.2", 0, NULL, 1},
		{"STUDY", TAG_SOP_INSTANCE, "1.1.1.2", 0, NULL, 1},
		{"STUDY", TAG_SERIES_UID, "1.4.1", 0, NULL, 1},
		{"STUDY", TAG_MODALITY, "SR", TAG_INSTANCE_NUMBER, "7",
		 0}, /* not the same series */
		{"STUDY", TAG_MODALITY, "CT", TAG_INSTANCE_NUMBER, "7", 1},
		{"STUDY", TAG_MODALITY, "XX", 0, NULL, 0},
		{"IMAGE", TAG_MODALITY, "CT", 0, NULL, 3},
		{"IMAGE", TAG_STUDY_DATE, "20260107", 0, NULL, 2},
		{"IMAGE", TAG_SERIES_UID, "1.1.1", TAG_INSTANCE_NUMBER, "7", 1},
	};
	struct visit *t = *state;
	size_t i;

	put_all(&t->n);
	open_with(t, "\1", 1);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		level(t, rows[i].level);
		key(t, rows[i].tag, rows[i].value);
		if (rows[i].also)
			key(t, rows[i].also, rows[i].with);
		assert_int_equal(count(t), rows[i].found);
	}
}

static void
relational__a_patient_is_found_by_what_lies_below(void **state)
{
	struct visit *t = *state;
	char text[64];

	put_all(&t->n);
	open_with(t, "\1", 1);
	level(t, "PATIENT");
	key(t, TAG_ACCESSION, "A4");
	key(t, TAG_PATIENT_ID, "");
	key(t, TAG_PATIENT_STUDIES, "");
	viewer_ask(&t->v, ON_FIND_PATIENT, MESSAGE_FIND_RQ, FIND_PATIENT, &t->keys, "");
	viewer_listen(&t->v);
	assert_int_equal(t->v.pendings, 1);
	viewer_answer(&t->v, TAG_PATIENT_STUDIES, text, sizeof(text));
	assert_string_equal(text, "2"); /* all that is known of the person (R20) */
}

static void
relational__R20_an_image_is_fetched_by_its_uid_alone(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 3, 100, NULL);
	level(t, "IMAGE");
	key(t, TAG_SOP_INSTANCE, "1.2.3.9.1");
	viewer_open(&t->v, &t->n, "NODE");
	visit_get(t);
	assert_int_equal(t->v.last.status, STATUS_IDENTIFIER_MISMATCH);
	viewer_close(&t->v);
	open_with(t, "\1", 1);
	visit_get(t);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.stores, 1);
}

static void
moments__a_range_crosses_midnight_where_it_was_negotiated(void **state)
{
	struct visit *t = *state;

	put_all(&t->n);
	level(t, "STUDY");
	key(t, TAG_STUDY_DATE, "20260106-20260107");
	key(t, TAG_STUDY_TIME, "2200-0200");
	viewer_open(&t->v, &t->n, "NODE");
	assert_int_equal(count(t), 0); /* each on its own: no time is after 22 and before 2 */
	viewer_close(&t->v);
	open_with(t, "\0\1", 2);
	assert_int_equal(count(t), 3); /* 1.2, 1.3, and 1.4, whose time nobody wrote down */
	level(t, "STUDY");
	key(t, TAG_STUDY_DATE, "20260105-");
	key(t, TAG_STUDY_TIME, "0901-");
	assert_int_equal(count(t), 3);
	level(t, "STUDY");
	key(t, TAG_STUDY_DATE, "20260105");
	key(t, TAG_STUDY_TIME, "0800-1000");
	assert_int_equal(count(t), 1);
}

/* What is found by this date and time, and how the last one is answered: "date time zone". */
static unsigned
ask_when(struct visit *t, const char *zone, const char *date, const char *time, char when[64])
{
	char d[16], tm[24], z[16];
	unsigned n;

	level(t, "STUDY");
	key(t, TAG_STUDY_DATE, date);
	key(t, TAG_STUDY_TIME, time);
	if (zone)
		key(t, TAG_TIMEZONE, zone);
	n = count(t);
	viewer_answer(&t->v, TAG_STUDY_DATE, d, sizeof(d));
	viewer_answer(&t->v, TAG_STUDY_TIME, tm, sizeof(tm));
	viewer_answer(&t->v, TAG_TIMEZONE, z, sizeof(z));
	(void)snprintf(when, 64, "%s %s %s", d, tm, z);
	return n;
}

static void
zone__times_are_in_the_one_that_was_asked_for(void **state)
{
	static const struct {
		const char *zone, *date, *time;
		unsigned found;
		const char *when;
	} rows[] = {
		{"+0000", "20260228", "", 1, "20260228 233012.5 +0000"},
		{"+0000", "20260301", "0530", 1, "20260301 0530 +0000"},
		{"+0530", "20260301", "0500-0501", 1, "20260301 050012.5 +0530"},
		{"-0500", "20260301", "0030", 2, "20260301 0030 -0500"}, /* and the one nowhere */
		{"-0600", "-20260228", "1200-", 2, ""},
		{"+1400", "20260301", "1400-1930", 1, "20260301 1930 +1400"},
	};
	struct visit *t = *state;
	char when[64];
	size_t i;

	put_these(&t->n, zoned, sizeof(zoned) / sizeof(zoned[0]));
	open_with(t, "\0\0\0\1", 4);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(ask_when(t, rows[i].zone, rows[i].date, rows[i].time, when),
				 rows[i].found);
		if (rows[i].found == 1)
			assert_string_equal(when, rows[i].when);
	}
	/* Nobody said: as they are stored, each in its own zone, and none where none is known. */
	assert_int_equal(ask_when(t, NULL, "20260301", "0030", when), 3);
	assert_int_equal(ask_when(t, NULL, "20260301", "003012.5", when), 1);
	assert_string_equal(when, "20260301 003012.5 +0100");
}

static void
zone__without_negotiation_it_is_no_key(void **state)
{
	struct visit *t = *state;
	char when[64];

	put_these(&t->n, zoned, sizeof(zoned) / sizeof(zoned[0]));
	viewer_open(&t->v, &t->n, "NODE");
	assert_int_equal(ask_when(t, "+0000", "20260301", "0030", when), 3);
	assert_int_equal(ask_when(t, "+0000", "20260301", "003012.5", when), 1);
	assert_string_equal(when, "20260301 003012.5 +0100");
	level(t, "STUDY"); /* never of zero length; nor where no time is told */
	key(t, TAG_TIMEZONE, "");
	key(t, TAG_STUDY_DATE, "");
	key(t, TAG_PATIENT_ID, "P7");
	assert_int_equal(count(t), 1);
	viewer_answer(&t->v, TAG_PATIENT_ID, when, sizeof(when));
	assert_string_equal(when, "P7");
	assert_false(viewer_has(&t->v, TAG_TIMEZONE));
	level(t, "STUDY");
	key(t, TAG_PATIENT_ID, "P5");
	assert_int_equal(count(t), 1);
	assert_false(viewer_has(&t->v, TAG_TIMEZONE));
}

/* A DT without an offset is in the zone of its data set; one with an offset is a moment anyway. */
static void
zone__a_date_time_without_an_offset_is_in_that_of_its_data_set(void **state)
{
	static const struct {
		const char *study, *series, *acquired;
		unsigned found;
	} rows[] = {
		{"2.1", "2.1.1", "20260228233000+0000-20260228233100+0000", 1}, /* +0100 */
		{"2.1", "2.1.1", "20260301003000+0000-20260301003100+0000", 0},
		{"2.2", "2.2.1", "20260301053000+0000-20260301053100+0000", 1}, /* -0500 */
		{"2.3", "2.3.1", "20260301003000+0000-20260301003100+0000", 1}, /* unknown: walls */
		{"2.1", "2.1.1", "20260301003000-20260301003100", 1}, /* nor does the key say any */
	};
	struct visit *t = *state;
	size_t i;

	put_these(&t->n, zoned, sizeof(zoned) / sizeof(zoned[0]));
	viewer_open(&t->v, &t->n, "NODE");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		level(t, "IMAGE");
		key(t, TAG_STUDY_UID, rows[i].study);
		key(t, TAG_SERIES_UID, rows[i].series);
		key(t, ACQUIRED, rows[i].acquired);
		assert_int_equal(count(t), rows[i].found);
	}
}

static void
zone__moments_and_date_times_move_too(void **state)
{
	struct visit *t = *state;
	char when[64];

	put_these(&t->n, zoned, sizeof(zoned) / sizeof(zoned[0]));
	open_with(t, "\1\1\0\1", 4);
	assert_int_equal(ask_when(t, "+0000", "20260228-20260228", "2300-2359", when), 1);
	assert_string_equal(when, "20260228 233012.5 +0000");
	level(t, "IMAGE");
	key(t, ACQUIRED, "202602282330-202602282331");
	key(t, TAG_TIMEZONE, "+0000");
	assert_int_equal(count(t), 2); /* both studies in +0100 */
	viewer_answer(&t->v, ACQUIRED, when, sizeof(when));
	assert_string_equal(when, "20260301003012+0100");
	key(t, TAG_PATIENT_ID, "P6");
	assert_int_equal(count(t), 0);
	level(t, "STUDY");
	key(t, TAG_TIMEZONE, "CET");
	visit_find(t);
	assert_int_equal(t->v.last.status, STATUS_IDENTIFIER_MISMATCH);
	assert_int_equal(t->v.last.offending, TAG_TIMEZONE);
}

static void
names__blanks_and_commas_part_components_too(void **state)
{
	static const struct {
		const char *key;
		unsigned found;
	} rows[] = {{"DUPONT Marie", 1},  {"Dupont, Marie", 1},	   {"dupont m*", 1},
		    {"DUPONT", 0},	  {"Marie DUPONT", 0},	   {"VAN DER BERG", 0},
		    {"van der berg*", 1}, {"Van der Berg Jan", 1}, {"VAN DER BERG^Jan", 1}};
	struct visit *t = *state;
	size_t i;

	put_all(&t->n);
	viewer_open(&t->v, &t->n, "NODE");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		level(t, "STUDY");
		key(t, TAG_PATIENT_NAME, rows[i].key);
		assert_int_equal(count(t), rows[i].found);
	}
}

static void
names__fuzzy_ones_are_found_by_the_beginnings_of_words(void **state)
{
	static const struct {
		const char *key;
		unsigned found;
	} rows[] = {{"mar dup", 1}, {"berg", 1}, {"Jan^Berg", 1}, {"dupont x", 0}, {"M", 3}};
	struct visit *t = *state;
	size_t i;

	put_all(&t->n);
	open_with(t, "\0\0\1", 3);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		level(t, "STUDY");
		key(t, TAG_PATIENT_NAME, rows[i].key);
		assert_int_equal(count(t), rows[i].found);
	}
}

static void
names__umlauts_are_one_with_their_two_letters_where_that_is_set(void **state)
{
	static const char *const keys[] = {"Mueller*", "M\xc3\xbcller*", "MULLER*", "*ueller*"};
	struct visit *t = *state;
	size_t i;

	put_all(&t->n);
	viewer_open(&t->v, &t->n, "NODE");
	level(t, "STUDY");
	key(t, TAG_PATIENT_NAME, keys[0]);
	assert_int_equal(count(t), 1);
	t->n.find.umlauts = true;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		level(t, "STUDY");
		key(t, TAG_PATIENT_NAME, keys[i]);
		assert_int_equal(count(t), 2);
	}
}

/* Whatever begins by the prefix is all that can match: the index is asked for no more. */
static void
names__the_prefix_that_the_index_is_asked_for_leaves_nobody_out(void **state)
{
	static const char *const names[] = {"muller^jorg",   "mueller^anna",	"m\xc3\xbcller",
					    "dupont^marie",  "dupont marie",	"gross^a",
					    "gro\xc3\x9f^a", "van der berg^jan"};
	static const char *const keys[] = {"M\xc3\xbcller*",   "Mueller^*",    "DUPONT Marie",
					   "Dupont,Marie",     "Gro\xc3\x9f*", "Gross^A",
					   "van der berg jan", "mu*"};
	size_t i, j, k;

	(void)state;
	for (k = 0; k < 4; k++) {
		struct name_rules rules = {k & 1, k & 2};

		for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			for (j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
				size_t n = match_name_prefix(&rules, keys[i], strlen(keys[i]));
				struct buf prefix = BUF_INIT, name = BUF_INIT;

				index_fold(&prefix, keys[i], n);
				index_fold(&name, names[j], strlen(names[j]));
				if (match_name(&rules, keys[i], strlen(keys[i]), names[j],
					       strlen(names[j]))) {
					assert_true(prefix.len <= name.len);
					if (prefix.len)
						assert_memory_equal(name.data, prefix.data,
								    prefix.len);
				}
				buf_fini(&prefix);
				buf_fini(&name);
			}
	}
}

static void
patient_study_only__ends_at_studies(void **state)
{
	struct visit *t = *state;

	put_all(&t->n);
	viewer_open(&t->v, &t->n, "NODE");
	level(t, "PATIENT");
	key(t, TAG_PATIENT_ID, "");
	viewer_ask(&t->v, ON_FIND_PATIENT_ONLY, MESSAGE_FIND_RQ, FIND_PATIENT_ONLY, &t->keys, "");
	viewer_listen(&t->v);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.pendings, 3);
	level(t, "STUDY");
	key(t, TAG_PATIENT_ID, "P1");
	viewer_ask(&t->v, ON_FIND_PATIENT_ONLY, MESSAGE_FIND_RQ, FIND_PATIENT_ONLY, &t->keys, "");
	viewer_listen(&t->v);
	assert_int_equal(t->v.pendings, 2);
	level(t, "SERIES");
	key(t, TAG_PATIENT_ID, "P1");
	key(t, TAG_STUDY_UID, "1.1");
	viewer_ask(&t->v, ON_FIND_PATIENT_ONLY, MESSAGE_FIND_RQ, FIND_PATIENT_ONLY, &t->keys, "");
	viewer_listen(&t->v);
	assert_int_equal(t->v.last.status, STATUS_IDENTIFIER_MISMATCH);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		visit_test(extended__what_is_asked_for_and_known_is_granted_and_no_more),
		visit_test(relational__an_image_is_found_by_its_uid_alone),
		visit_test(relational__keys_of_every_level_narrow_every_level),
		visit_test(relational__a_patient_is_found_by_what_lies_below),
		visit_test(relational__R20_an_image_is_fetched_by_its_uid_alone),
		visit_test(moments__a_range_crosses_midnight_where_it_was_negotiated),
		visit_test(zone__times_are_in_the_one_that_was_asked_for),
		visit_test(zone__without_negotiation_it_is_no_key),
		visit_test(zone__a_date_time_without_an_offset_is_in_that_of_its_data_set),
		visit_test(zone__moments_and_date_times_move_too),
		visit_test(names__blanks_and_commas_part_components_too),
		visit_test(names__fuzzy_ones_are_found_by_the_beginnings_of_words),
		visit_test(names__umlauts_are_one_with_their_two_letters_where_that_is_set),
		cmocka_unit_test(names__the_prefix_that_the_index_is_asked_for_leaves_nobody_out),
		visit_test(patient_study_only__ends_at_studies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
