/*
 * The matching engine beside a plain loop over all studies: whichever index the
 * engine picks, the answers are the same, each once, through all pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/dicom/keys.h"
#include "common/store/match.h"
#include "common/store/differences.h"
#include "common/store/index.h"
#include "common/store/query.h"
#include "tests/lib/stored.h"

enum { STUDIES = 1500, QUERIES = 400, TEXT = 64 };

struct study { /* what the plain loop knows */
	char uid[TEXT], id[TEXT], issuer[TEXT], name[TEXT], accession[TEXT], date[TEXT];
	char modalities[TEXT];
};

struct world {
	struct stored stored;
	struct rng_seeded rng;
	struct study all[STUDIES];
};

static const char *
pick(struct world *w, const char *const *from, unsigned n)
{
	return from[rng_below(&w->rng.r, n)];
}

static void
invent(struct world *w, unsigned i)
{
	static const char *const names[] = {"DOE^JANE",
					    "Doe^John^^Dr",
					    "M\xc3\xbcller^J\xc3\xb6rg",
					    "MULLER^ANNA",
					    "",
					    ("Yamada^Tarou=\xe5\xb1\xb1\xe7\x94\xb0^\xe5\xa4\xaa"
					     "\xe9\x83\x8e=\xe3\x82\x84\xe3\x81\xbe"),
					    "DOE^JANE=DOE^JANE",
					    "O'NEIL^A*B"};
	static const char *const issuers[] = {"H1", "H2"};
	static const char *const modalities[] = {"CT", "MR", "CT\\SR", "US", "SR"};
	struct study *s = &w->all[i];

	(void)snprintf(s->uid, TEXT, "1.2.3.%u", i);
	(void)snprintf(s->id, TEXT, "P%u", (unsigned)rng_below(&w->rng.r, STUDIES / 3));
	(void)snprintf(s->accession, TEXT, "A%u", i / 2);
	(void)snprintf(s->issuer, TEXT, "%s", pick(w, issuers, 2));
	(void)snprintf(s->name, TEXT, "%s", pick(w, names, 8));
	(void)snprintf(s->modalities, TEXT, "%s", pick(w, modalities, 5));
	(void)snprintf(s->date, TEXT, "2026%02u%02u", 1 + (unsigned)rng_below(&w->rng.r, 12),
		       1 + (unsigned)rng_below(&w->rng.r, 28));
	if (i % 50 == 0)
		s->date[0] = '\0';
}

static void
put(struct buf *set, uint32_t tag, const char *value)
{
	attrs_put(set, tag, value, strlen(value));
}

/* One instance for each modality of the study, which first arrived age_ms ago. */
static int
announce_one(struct store_tx *tx, const struct study *s, const char *modality, unsigned n,
	     int64_t age_ms, struct err *e)
{
	struct buf study = BUF_INIT, series = BUF_INIT, instance = BUF_INIT;
	struct store_verdict verdict;
	struct index_sets sets;
	struct version v;
	int rc;

	memset(&v, 0, sizeof(v));
	v.state = VERSION_ELSEWHERE;
	v.origin = VERSION_REFILLED;
	strcpy(v.sop_class, "1.2.840.10008.5.1.4.1.1.2");
	strcpy(v.study, s->uid);
	(void)snprintf(v.series, sizeof(v.series), "%s.%u", s->uid, n);
	(void)snprintf(v.sop_instance, sizeof(v.sop_instance), "%s.%u.1", s->uid, n);
	sha256_of(v.sop_instance, strlen(v.sop_instance), v.digest);
	put(&study, TAG_STUDY_DATE, s->date);
	put(&study, TAG_ACCESSION, s->accession);
	put(&study, TAG_PATIENT_NAME, s->name);
	put(&study, TAG_PATIENT_ID, s->id);
	put(&study, TAG_PATIENT_ISSUER, s->issuer);
	put(&study, TAG_STUDY_UID, s->uid);
	put(&series, TAG_MODALITY, modality);
	put(&series, TAG_SERIES_UID, v.series);
	put(&instance, TAG_SOP_INSTANCE, v.sop_instance);
	sets = (struct index_sets){attrs_of(&study), attrs_of(&series), attrs_of(&instance), NULL};
	v.first_ms = store_time(store_tx_store(tx)) - age_ms;
	rc = store_announce(tx, &v, &sets, &verdict, e);
	buf_fini(&study);
	buf_fini(&series);
	buf_fini(&instance);
	return rc;
}

static int
announce_all(struct store_tx *tx, void *arg, struct err *e)
{
	struct world *w = arg;
	unsigned i, n;
	int rc = 0;

	for (i = STUDIES; !rc && i-- > 0;) { /* as a refill does: the newest first */
		char copy[TEXT], *rest, *m;

		n = 0;
		memcpy(copy, w->all[i].modalities, TEXT);
		for (m = strtok_r(copy, "\\", &rest); !rc && m; m = strtok_r(NULL, "\\", &rest))
			rc = announce_one(tx, &w->all[i], m, ++n, STUDIES - i, e);
	}
	return rc;
}

static struct world *
world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));
	unsigned i;

	assert_non_null(w);
	stored_init(&w->stored, 0);
	rng_seeded_init(&w->rng, 20261124);
	for (i = 0; i < STUDIES; i++)
		invent(w, i);
	assert_int_equal(store_commit(w->stored.s, announce_all, w, NULL), 0);
	return w;
}

static void
world_free(struct world *w)
{
	stored_fini(&w->stored);
	free(w);
}

/* --- queries by chance --- */

struct asked {
	char uid[TEXT * 4], id[TEXT], name[TEXT], accession[TEXT], date[TEXT], modality[TEXT];
};

static void
ask_by_chance(struct world *w, struct asked *q)
{
	static const char *const names[] = {"doe*",
					    "DOE^J*",
					    "m\xc3\xbcll*",
					    "Muller^?nna",
					    "*a*",
					    "\xe5\xb1\xb1*",
					    "\xe3\x82\x84\xe3\x81\xbe",
					    "DOE^JANE",
					    "*",
					    "o'neil^a*b",
					    "yamada^tarou=*",
					    "*ANE",
					    "*e^j*",
					    "*^??na",
					    "**",
					    "?*",
					    "*=*",
					    "*^^*r"};
	static const char *const dates[] = {"20260301-20260415", "-20260110", "20261201-",
					    "20260505", "20260101-20261231"};
	static const char *const modalities[] = {"CT", "SR", "MR\\US", "*R", "XX"};
	const struct study *s = &w->all[rng_below(&w->rng.r, STUDIES)];
	struct rng *r = &w->rng.r;

	memset(q, 0, sizeof(*q));
	if (rng_below(r, 6) == 0)
		(void)snprintf(q->uid, sizeof(q->uid), "%s\\%s\\9.9", s->uid, w->all[3].uid);
	if (rng_below(r, 4) == 0)
		(void)snprintf(q->id, TEXT, rng_below(r, 3) ? "%s" : "%.2s*", s->id);
	if (rng_below(r, 5) == 0)
		(void)snprintf(q->accession, TEXT, rng_below(r, 3) ? "%s" : "%.2s?", s->accession);
	if (rng_below(r, 3) == 0)
		(void)snprintf(q->name, TEXT, "%s", pick(w, names, 18));
	if (rng_below(r, 3) == 0)
		(void)snprintf(q->date, TEXT, "%s", pick(w, dates, 5));
	if (rng_below(r, 3) == 0)
		(void)snprintf(q->modality, TEXT, "%s", pick(w, modalities, 5));
}

static bool
one(const char *vr, const char *key, const char *value)
{
	struct attr a = {0, value, strlen(value)};

	return match_universal(key, strlen(key)) || match_value(vr, key, strlen(key), a);
}

static bool
plainly(const struct asked *q, const struct study *s)
{
	return one("UI", q->uid, s->uid) && one("LO", q->id, s->id) &&
	       one("PN", q->name, s->name) && one("SH", q->accession, s->accession) &&
	       one("DA", q->date, s->date) && one("CS", q->modality, s->modalities);
}

static void
keys_of(struct buf *keys, const struct asked *q)
{
	put(keys, TAG_STUDY_DATE, q->date);
	put(keys, TAG_ACCESSION, q->accession);
	put(keys, TAG_MODALITIES, q->modality);
	put(keys, TAG_PATIENT_NAME, q->name);
	put(keys, TAG_PATIENT_ID, q->id);
	put(keys, TAG_STUDY_UID, q->uid);
}

/* Marks each answer; one that comes twice, does not fit, or is newer than the last fails. */
static unsigned
run(struct world *w, const struct asked *q, unsigned char *seen)
{
	struct query_config c = {.level = QUERY_STUDY};
	struct buf keys = BUF_INIT;
	struct query_match m;
	struct query *query;
	char uid[TEXT];
	unsigned n = 0, last = STUDIES;
	int rc;

	keys_of(&keys, q);
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), 0);
	while ((rc = query_next(query, &m, NULL)) == 0) {
		unsigned i;

		(void)attrs_copy(m.study, TAG_STUDY_UID, uid, sizeof(uid));
		i = (unsigned)strtoul(uid + 6, NULL, 10);
		assert_true(i < STUDIES);
		if (seen[i]++ || !plainly(q, &w->all[i]))
			fail_msg("study %u: twice, or no match (id '%s' name '%s' date '%s')", i,
				 q->id, q->name, q->date);
		if (!q->uid[0] && i >= last)
			fail_msg("study %u behind %u: not the newest first", i, last);
		last = i;
		n++;
	}
	assert_int_equal(rc, ERR_ABSENT);
	query_close(query);
	buf_fini(&keys);
	return n;
}

static void
query_next__R34_finds_what_a_plain_loop_finds_newest_first(void **state)
{
	static unsigned char seen[STUDIES];
	struct world *w = world_new();
	struct asked q;
	unsigned i, j, want, total = 0;

	(void)state;
	for (i = 0; i < QUERIES; i++) {
		ask_by_chance(w, &q);
		memset(seen, 0, sizeof(seen));
		for (want = j = 0; j < STUDIES; j++)
			want += plainly(&q, &w->all[j]);
		if (run(w, &q, seen) != want)
			fail_msg(
				"%u wanted: uid '%s' id '%s' name '%s' acc '%s' date '%s' mod '%s'",
				want, q.uid, q.id, q.name, q.accession, q.date, q.modality);
		total += want;
	}
	assert_true(total > 10000);
	world_free(w);
}

static void
query_next__unrestricted_is_newest_first_by_arrival_R28(void **state)
{
	struct query_config c = {.level = QUERY_STUDY};
	struct world *w = world_new();
	struct query_match m;
	struct query *query;
	char uid[TEXT], want[TEXT];
	unsigned i;

	(void)state;
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), 0);
	for (i = STUDIES; i-- > 0;) {
		assert_int_equal(query_next(query, &m, NULL), 0);
		(void)attrs_copy(m.study, TAG_STUDY_UID, uid, sizeof(uid));
		(void)snprintf(want, sizeof(want), "1.2.3.%u", i);
		assert_string_equal(uid, want);
	}
	assert_int_equal(query_next(query, &m, NULL), ERR_ABSENT);
	query_close(query);
	world_free(w);
}

static bool
after_two_pages(void *arg)
{
	return ++*(unsigned *)arg > 2;
}

static void
query_next__R34_is_interrupted_between_pages_though_nothing_matches(void **state)
{
	unsigned pages = 0;
	struct query_config c = {
		.level = QUERY_STUDY, .interrupted = after_two_pages, .arg = &pages};
	struct world *w = world_new();
	struct buf keys = BUF_INIT;
	struct query_match m;
	struct query *query;

	(void)state;
	put(&keys, TAG_PATIENT_ID, "*NOBODY*");
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), 0);
	assert_int_equal(query_next(query, &m, NULL), ERR_AGAIN);
	assert_int_equal(pages, 3);
	query_close(query);
	buf_fini(&keys);
	world_free(w);
}

static void
query_count_rest__R34_counts_without_giving(void **state)
{
	struct query_config c = {.level = QUERY_STUDY};
	struct world *w = world_new();
	struct query_match m;
	struct query *query;
	uint64_t rest;
	int i;

	(void)state;
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), 0);
	for (i = 0; i < 100; i++)
		assert_int_equal(query_next(query, &m, NULL), 0);
	assert_int_equal(query_count_rest(query, 1000000, &rest, NULL), 0);
	assert_int_equal(rest, STUDIES - 100);
	query_close(query);
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), 0);
	assert_int_equal(query_count_rest(query, 7, &rest, NULL), 0);
	assert_int_equal(rest, 7);
	query_close(query);
	world_free(w);
}

static void
query_next__patients_are_told_apart_by_issuer_R33(void **state)
{
	struct query_config c = {.level = QUERY_PATIENT, .patient_root = true};
	struct world *w = world_new();
	struct query_match m;
	struct query *query;
	unsigned i, j, want = 0, got = 0;
	uint64_t studies = 0;

	(void)state;
	for (i = 0; i < STUDIES; i++) { /* the first study of each patient */
		for (j = 0; j < i; j++)
			if (strcmp(w->all[i].id, w->all[j].id) == 0 &&
			    strcmp(w->all[i].issuer, w->all[j].issuer) == 0)
				break;
		want += j == i;
	}
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), 0);
	while (query_next(query, &m, NULL) == 0) {
		got++;
		studies += m.studies;
	}
	assert_int_equal(got, want);
	assert_int_equal(studies, STUDIES);
	query_close(query);
	world_free(w);
}

struct arriving {
	unsigned instance;
	const char *station, *birth_date, *study, *other_ids;
	struct store_verdict verdict;
};

static int
announce_arriving(struct store_tx *tx, void *arg, struct err *e)
{
	struct buf study = BUF_INIT, series = BUF_INIT;
	struct arriving *a = arg;
	struct index_sets sets;
	struct version v;
	int rc;

	memset(&v, 0, sizeof(v));
	v.state = VERSION_ELSEWHERE;
	v.origin = VERSION_REFILLED;
	strcpy(v.study, a->study);
	(void)snprintf(v.series, sizeof(v.series), "%s.1", a->study);
	(void)snprintf(v.sop_instance, sizeof(v.sop_instance), "%s.1.%u", a->study, a->instance);
	sha256_of(v.sop_instance, strlen(v.sop_instance), v.digest);
	put(&study, TAG_PATIENT_ID, "R33");
	put(&study, TAG_PATIENT_ISSUER, "H");
	put(&study, TAG_BIRTH_DATE, a->birth_date);
	put(&study, TAG_OTHER_IDS, a->other_ids);
	put(&study, TAG_STUDY_UID, v.study);
	put(&series, TAG_MODALITY, "CT");
	put(&series, TAG_STATION, a->station);
	sets = (struct index_sets){.study = attrs_of(&study), .series = attrs_of(&series)};
	rc = store_announce(tx, &v, &sets, &a->verdict, e);
	buf_fini(&study);
	buf_fini(&series);
	return rc;
}

static void
index_put__R6_the_record_changes_with_each_station(void **state)
{
	struct arriving a = {1, "CT1", "19700101", "1.9", "", {0}};
	struct store_tx *tx;
	struct stored t;
	struct attrs row;
	struct attr station;

	(void)state;
	stored_init(&t, 0);
	assert_int_equal(store_commit(t.s, announce_arriving, &a, NULL), 0);
	assert_true(a.verdict.new_study);
	a.instance = 2;
	assert_int_equal(store_commit(t.s, announce_arriving, &a, NULL), 0);
	assert_false(a.verdict.study_changed); /* nothing new: no record is sent again */
	a.instance = 3;
	a.station = "CT2\\CT1";
	assert_int_equal(store_commit(t.s, announce_arriving, &a, NULL), 0);
	assert_true(a.verdict.study_changed);
	a.instance = 4;
	assert_int_equal(store_commit(t.s, announce_arriving, &a, NULL), 0);
	assert_false(a.verdict.study_changed);
	assert_int_equal(store_begin_read(&tx, t.s, NULL), 0);
	assert_int_equal(index_study_row(tx, "1.9", &row, NULL), 0);
	assert_true(attrs_get(row, TAG_STATION, &station));
	assert_int_equal(station.n, strlen("CT1\\CT2"));
	assert_memory_equal(station.value, "CT1\\CT2", station.n);
	store_end_read(tx);
	stored_fini(&t);
}

static void
persons__R33_a_contradiction_parts_patients_and_is_listed(void **state)
{
	struct query_config c = {.level = QUERY_PATIENT, .patient_root = true};
	struct arriving all[] = {{1, "CT1", "19700101", "1.1", "", {0}},
				 {1, "CT1", "1970.01.01", "1.2", "", {0}},
				 {1, "CT1", "", "1.3", "", {0}},
				 {1, "CT1", "19710101", "1.4", "", {0}},
				 {1, "CT1", "19710101", "1.5", "", {0}}};
	struct buf out = BUF_INIT;
	struct query_match m;
	struct query *query;
	struct stored t;
	unsigned i, got = 0;
	uint64_t conflicts;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_equal(store_commit(t.s, announce_arriving, &all[i], NULL), 0);
	assert_int_equal(query_open(&query, t.s, &c, NULL), 0);
	while (query_next(query, &m, NULL) == 0)
		assert_int_equal(m.studies, got++ == 0 ? 3 : 2);
	assert_int_equal(got, 2);
	query_close(query);
	assert_int_equal(differences_print(t.s, false, false, &out, &conflicts, NULL), 0);
	buf_put_u8(&out, 0);
	assert_int_equal(conflicts, 0);
	assert_string_equal((char *)out.data,
			    "person: studies 1.1 and 1.4 have one patient ID and issuer, but "
			    "differ in (0010,0030) PatientBirthDate\n");
	buf_fini(&out);
	stored_fini(&t);
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

static void
index_put__R3_a_revision_can_empty_an_attribute(void **state)
{
	struct telling all[] = {{"ID", "19700101", "WRONG", 1, 1}, {"ID", "19700101", "", 2, 1}};
	struct attr a = {0, "", 0};
	struct store_tx *tx;
	struct stored t;
	struct attrs row;

	(void)state;
	stored_init(&t, 0);
	assert_int_equal(store_commit(t.s, tell, &all[0], NULL), 0);
	assert_int_equal(store_commit(t.s, tell, &all[1], NULL), 0);
	assert_int_equal(stored_counts(t.s).revisions, 1);
	assert_int_equal(store_begin_read(&tx, t.s, NULL), 0);
	assert_int_equal(index_study_row(tx, "1.8.1", &row, NULL), 0);
	assert_true(attrs_get(row, TAG_STUDY_DESCRIPTION, &a));
	assert_int_equal(a.n, 0);
	assert_true(attrs_get(row, TAG_MODALITIES, &a));
	assert_int_equal(a.n, 2); /* what is gathered of all series stays */
	store_end_read(tx);
	stored_fini(&t);
}

/* One number for many: each person once, through all pages, whatever else has the number. */
static void
query_next__R33_many_persons_of_one_id_are_told_apart(void **state)
{
	enum { PERSONS = 150, EACH = 4 };
	struct query_config c = {.level = QUERY_PATIENT, .patient_root = true};
	char dates[PERSONS][16];
	struct query_match m;
	struct query *query;
	struct buf keys = BUF_INIT;
	struct stored t;
	unsigned i, got;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < PERSONS * EACH; i++) {
		struct telling one = {"0", dates[i % PERSONS], "", 1, i + 1};

		(void)snprintf(dates[i % PERSONS], 16, "1970%04u", i % PERSONS);
		assert_int_equal(store_commit(t.s, tell, &one, NULL), 0);
	}
	for (i = 0; i < 2; i++) {
		c.keys = attrs_of(&keys);
		assert_int_equal(query_open(&query, t.s, &c, NULL), 0);
		for (got = 0; query_next(query, &m, NULL) == 0; got++)
			assert_int_equal(m.studies, EACH);
		assert_int_equal(got, i ? 1 : PERSONS);
		query_close(query);
		if (i == 0) {
			put(&keys, TAG_PATIENT_ID, "0");
			put(&keys, TAG_BIRTH_DATE, dates[77]);
		}
	}
	buf_fini(&keys);
	stored_fini(&t);
}

static void
query_next__R33_patients_without_an_id_are_listed_one_by_one(void **state)
{
	struct telling all[] = {{"", "19700101", "a", 1, 1},
				{"", "19710101", "b", 1, 2},
				{"ID", "19700101", "c", 1, 3},
				{"ID", "", "", 1, 4}};
	struct telling corrected = {"ID", "19700101", "a", 2, 1};
	struct query_config c = {.level = QUERY_PATIENT, .patient_root = true};
	struct buf out = BUF_INIT;
	struct query_match m;
	struct query *query;
	unsigned i, got, round;
	struct stored t;
	uint64_t n;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_equal(store_commit(t.s, tell, &all[i], NULL), 0);
	for (round = 0; round < 2; round++) {
		assert_int_equal(query_open(&query, t.s, &c, NULL), 0);
		for (got = 0; query_next(query, &m, NULL) == 0; got++)
			assert_int_equal(m.studies, got < 2 - round ? 1 : 2 + round);
		assert_int_equal(got, 3 - round);
		query_close(query);
		/* Then the first turns out to be the third's. */
		assert_int_equal(store_commit(t.s, tell, &corrected, NULL), 0);
	}
	assert_int_equal(differences_print(t.s, false, false, &out, &n, NULL), 0);
	buf_put_u8(&out, 0);
	assert_null(strstr((char *)out.data, "person:"));
	buf_fini(&out);
	stored_fini(&t);
}

static void
query_next__R33_finds_by_other_ids(void **state)
{
	static const struct {
		const char *key;
		unsigned found;
	} cases[] = {{"A1", 2},	    {"A1^^^H", 1}, {"A1^^^K", 1}, {"B2^^^H", 1},
		     {"B2^^^K", 0}, {"^^^K", 1},   {"A*^^^H", 1}, {"C3", 0}};
	struct arriving all[] = {{1, "CT1", "", "1.1", "B2^^^H\\A1^^^H", {0}},
				 {1, "CT1", "", "1.2", "A1^^^K", {0}},
				 {1, "CT1", "", "1.3", "", {0}}};
	struct query_config c = {.level = QUERY_STUDY};
	struct query_match m;
	struct query *query;
	struct stored t;
	size_t i;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_equal(store_commit(t.s, announce_arriving, &all[i], NULL), 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf keys = BUF_INIT;
		unsigned got = 0;

		put(&keys, TAG_OTHER_IDS, cases[i].key);
		c.keys = attrs_of(&keys);
		assert_int_equal(query_open(&query, t.s, &c, NULL), 0);
		while (query_next(query, &m, NULL) == 0)
			got++;
		if (got != cases[i].found)
			fail_msg("%s: %u studies", cases[i].key, got);
		query_close(query);
		buf_fini(&keys);
	}
	stored_fini(&t);
}

enum { LARGE = 3, LARGE_INSTANCES = 520 }; /* more than a page looks at */

static int
announce_large(struct store_tx *tx, void *arg, struct err *e)
{
	struct study s = {.id = "P", .date = "20260101"};
	unsigned i;
	int rc = 0;

	(void)arg;
	for (i = 0; !rc && i < LARGE * LARGE_INSTANCES; i++) {
		(void)snprintf(s.uid, TEXT, "1.2.3.%u", i / LARGE_INSTANCES);
		rc = announce_one(tx, &s, "CT", i, i / LARGE_INSTANCES, e);
	}
	return rc;
}

static bool
count_page(void *arg)
{
	++*(unsigned *)arg;
	return false;
}

static unsigned
pages_of(struct store *s, enum query_level level, struct attrs keys)
{
	unsigned pages = 0, matches = 0;
	struct query_config c = {
		.level = level, .keys = keys, .interrupted = count_page, .arg = &pages};
	struct query_match m;
	struct query *query;

	assert_int_equal(query_open(&query, s, &c, NULL), 0);
	while (query_next(query, &m, NULL) == 0)
		matches++;
	query_close(query);
	assert_int_equal(matches, level == QUERY_PATIENT ? 1 : LARGE);
	return pages;
}

/* TRAPS: a long reader pins pages of the store. What a study's availability costs counts. */
static void
query_next__R21_availability_of_large_studies_is_read_in_pages(void **state)
{
	struct buf keys = BUF_INIT;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	assert_int_equal(store_commit(t.s, announce_large, NULL, NULL), 0);
	assert_int_equal(pages_of(t.s, QUERY_STUDY, attrs_of(&keys)), 1);
	put(&keys, TAG_AVAILABILITY, "");
	assert_in_range(pages_of(t.s, QUERY_STUDY, attrs_of(&keys)), LARGE, LARGE + 1);
	assert_in_range(pages_of(t.s, QUERY_PATIENT, attrs_of(&keys)), LARGE, LARGE + 1);
	buf_fini(&keys);
	stored_fini(&t);
}

static void
query_open__unique_keys_of_upper_levels_are_required(void **state)
{
	struct query_config c = {.level = QUERY_SERIES};
	struct world *w = world_new();
	struct buf keys = BUF_INIT;
	struct query_match m;
	struct query *query;

	(void)state;
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), ERR_PEER);
	put(&keys, TAG_STUDY_UID, "1.2.*");
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), ERR_PEER);
	buf_clear(&keys);
	put(&keys, TAG_STUDY_UID, "1.2.3.5");
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), 0);
	assert_int_equal(query_next(query, &m, NULL), 0);
	query_close(query);
	c.level = QUERY_IMAGE;
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), ERR_PEER);
	put(&keys, TAG_SERIES_UID, "1.2.3.5.1");
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), 0);
	assert_int_equal(query_next(query, &m, NULL), 0);
	assert_int_equal(query_next(query, &m, NULL), ERR_ABSENT);
	query_close(query);
	c.patient_root = true;
	assert_int_equal(query_open(&query, w->stored.s, &c, NULL), ERR_PEER);
	buf_fini(&keys);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_next__R34_finds_what_a_plain_loop_finds_newest_first),
		cmocka_unit_test(query_next__unrestricted_is_newest_first_by_arrival_R28),
		cmocka_unit_test(
			query_next__R34_is_interrupted_between_pages_though_nothing_matches),
		cmocka_unit_test(query_count_rest__R34_counts_without_giving),
		cmocka_unit_test(query_next__patients_are_told_apart_by_issuer_R33),
		cmocka_unit_test(index_put__R6_the_record_changes_with_each_station),
		cmocka_unit_test(persons__R33_a_contradiction_parts_patients_and_is_listed),
		cmocka_unit_test(index_put__R3_a_revision_can_empty_an_attribute),
		cmocka_unit_test(query_next__R33_many_persons_of_one_id_are_told_apart),
		cmocka_unit_test(query_next__R33_patients_without_an_id_are_listed_one_by_one),
		cmocka_unit_test(query_next__R33_finds_by_other_ids),
		cmocka_unit_test(query_next__R21_availability_of_large_studies_is_read_in_pages),
		cmocka_unit_test(query_open__unique_keys_of_upper_levels_are_required),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
