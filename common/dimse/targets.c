#include "common/dimse/targets.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/uid.h"
#include "common/dicom/keys.h"
#include "common/store/index.h"
#include "common/store/match.h"
#include "common/store/query.h"
#include "common/store/store.h"

enum { PAGE = 500, LEVEL_SIZE = 16, PAGE_FULL = 1 };

struct collecting {
	struct targets *out;
	bool see_rejected;
	struct attr patient, series, instance; /* lists; value NULL: all */
	unsigned seen;
	uint64_t next; /* oid to go on from */
};

static const char *
keep(struct targets *t, const char *before, const char *s)
{
	return before && strcmp(before, s) == 0 ? before : arena_strndup(t->strings, s, strlen(s));
}

static int
add(struct collecting *c, const struct version *v, struct err *e)
{
	struct targets *t = c->out;
	struct target *to, before = {.sop_class = NULL};

	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;

		to = realloc(t->all, cap * sizeof(*to));
		if (!to)
			return err_set(e, ERR_LOCAL, 0, "no memory for a list of instances");
		t->all = to;
		t->cap = cap;
	}
	if (t->n)
		before = t->all[t->n - 1];
	to = &t->all[t->n];
	*to = (struct target){.oid = v->oid,
			      .here = v->state == VERSION_HERE,
			      .image = v->has_pixels,
			      .sop_class = keep(t, before.sop_class, v->sop_class),
			      .sop_instance = keep(t, NULL, v->sop_instance),
			      .syntax = keep(t, before.syntax, v->syntax),
			      .study = keep(t, before.study, v->study),
			      .series = keep(t, before.series, v->series)};
	if (!to->sop_class || !to->sop_instance || !to->syntax || !to->study || !to->series)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list of instances");
	t->n++;
	return 0;
}

static bool
listed(struct attr list, const char *uid)
{
	struct attr value = {0, uid, strlen(uid)};

	return !list.value || match_value("UI", list.value, list.n, value);
}

static int
on_version(void *arg, const struct version *v, struct err *e)
{
	struct collecting *c = arg;

	if (c->seen++ >= PAGE) {
		c->next = v->oid;
		return PAGE_FULL; /* the read transaction ends; the next goes on here */
	}
	if (!v->current || !version_seen(v, c->see_rejected) || !v->sop_instance[0] ||
	    !listed(c->series, v->series) || !listed(c->instance, v->sop_instance))
		return 0;
	return add(c, v, e);
}

/* Patient Root: is it a study of the patient that was named? */
static int
of_named_patient(struct collecting *c, struct store *s, const char *study, bool *yes, struct err *e)
{
	struct attr id = {0, "", 0};
	struct store_tx *tx;
	struct attrs row;
	int rc;

	*yes = true;
	if (!c->patient.value)
		return 0;
	rc = store_begin_read(&tx, s, e);
	if (rc)
		return rc;
	rc = index_study_row(tx, study, &row, e);
	if (!rc)
		(void)attrs_get(row, TAG_PATIENT_ID, &id);
	*yes = !rc && match_value("LO", c->patient.value, c->patient.n, id);
	store_end_read(tx);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
of_study(struct collecting *c, struct store *s, const char *study, struct err *e)
{
	struct store_tx *tx;
	bool yes;
	int rc = of_named_patient(c, s, study, &yes, e);

	if (rc || !yes)
		return rc;
	c->next = 0;
	do {
		rc = store_begin_read(&tx, s, e);
		if (rc)
			return rc;
		c->seen = 0;
		rc = store_versions_of_study(tx, study, c->next, on_version, c, e);
		store_end_read(tx);
	} while (rc == PAGE_FULL);
	return rc;
}

/* Was the value before `at` named already? A list that repeats itself asks for no more. */
static bool
named_before(struct attr list, size_t at, const char *uid)
{
	struct attr value = {0, uid, strlen(uid)};

	return at > 0 && match_value("UI", list.value, at - 1, value);
}

static int
of_list(struct collecting *c, struct store *s, struct attr studies, struct err *e)
{
	const struct attr list = studies;
	char uid[UID_SIZE];
	int rc = 0;

	while (!rc && studies.n > 0) {
		const char *bar = memchr(studies.value, '\\', studies.n);
		size_t n = bar ? (size_t)(bar - studies.value) : studies.n;

		if (n > 0 && n < UID_SIZE) {
			memcpy(uid, studies.value, n);
			uid[n] = '\0';
			if (!named_before(list, list.n - studies.n, uid))
				rc = of_study(c, s, uid, e);
		}
		n += bar != NULL;
		studies.value += n;
		studies.n -= n;
	}
	return rc;
}

static int
of_patient(struct collecting *c, struct store *s, struct attr id, struct err *e)
{
	struct query_config qc = {.level = QUERY_STUDY, .see_rejected = c->see_rejected};
	struct query_match m;
	struct query *q;
	struct buf keys = BUF_INIT;
	char uid[UID_SIZE];
	int rc;

	attrs_put(&keys, TAG_PATIENT_ID, id.value, id.n);
	qc.keys = attrs_of(&keys);
	rc = query_open(&q, s, &qc, e);
	buf_fini(&keys);
	if (rc)
		return rc;
	while (!rc) {
		rc = query_next(q, &m, e);
		if (!rc && attrs_copy(m.study, TAG_STUDY_UID, uid, sizeof(uid)))
			rc = of_study(c, s, uid, e);
	}
	query_close(q);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
add_match(struct collecting *c, struct store *s, uint64_t oid, struct err *e)
{
	struct store_tx *tx;
	struct version v;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = store_version(tx, oid, &v, e);
	store_end_read(tx);
	if (rc || !v.current || !version_seen(&v, c->see_rejected))
		return rc == ERR_ABSENT ? 0 : rc; /* meanwhile it is another */
	return add(c, &v, e);
}

/* Relational: of whatever studies the series or instances are. */
static int
of_any_study(struct collecting *c, struct store *s, uint32_t tag, struct attr uids, struct err *e)
{
	struct query_config qc = {
		.level = QUERY_IMAGE, .relational = true, .see_rejected = c->see_rejected};
	struct query_match m;
	struct query *q;
	struct buf keys = BUF_INIT;
	int rc;

	attrs_put(&keys, tag, uids.value, uids.n);
	qc.keys = attrs_of(&keys);
	rc = query_open(&q, s, &qc, e);
	buf_fini(&keys);
	if (rc)
		return rc;
	while (!rc) {
		rc = query_next(q, &m, e);
		if (!rc)
			rc = add_match(c, s, m.oid, e);
	}
	query_close(q);
	return rc == ERR_ABSENT ? 0 : rc;
}

static bool
unique(struct attrs keys, uint32_t tag, struct attr *out)
{
	struct attr a;

	if (!attrs_get(keys, tag, &a) || a.n == 0 || match_has_wildcard(a.value, a.n))
		return false;
	*out = a;
	return true;
}

static int
missing(struct collecting *c, uint32_t tag, struct err *e)
{
	c->out->offending = tag;
	return err_set(e, ERR_PEER, 0, "a unique key is missing (%04X,%04X)", tag >> 16,
		       tag & 0xffff);
}

/* The keys of the level, and of those above it, name what is wanted. */
static int
find_below(struct collecting *c, struct store *s, bool relational, bool image, struct attrs keys,
	   struct err *e)
{
	struct attr study;
	bool named = unique(keys, TAG_STUDY_UID, &study);

	if (!named && !relational)
		return missing(c, TAG_STUDY_UID, e);
	if (!unique(keys, TAG_SERIES_UID, &c->series) && !(relational && image))
		return missing(c, TAG_SERIES_UID, e);
	if (image && !unique(keys, TAG_SOP_INSTANCE, &c->instance))
		return missing(c, TAG_SOP_INSTANCE, e);
	if (named)
		return of_list(c, s, study, e);
	return image ? of_any_study(c, s, TAG_SOP_INSTANCE, c->instance, e)
		     : of_any_study(c, s, TAG_SERIES_UID, c->series, e);
}

static int
find(struct collecting *c, struct store *s, const struct targets_rules *rules, struct attrs keys,
     struct err *e)
{
	struct attr study, id;
	char level[LEVEL_SIZE];
	bool series, image;

	(void)attrs_copy(keys, TAG_QUERY_LEVEL, level, sizeof(level));
	series = strcmp(level, "SERIES") == 0 && !rules->patient_only;
	image = strcmp(level, "IMAGE") == 0 && !rules->patient_only;
	if (rules->patient_root && strcmp(level, "PATIENT") == 0)
		return unique(keys, TAG_PATIENT_ID, &id) ? of_patient(c, s, id, e)
							 : missing(c, TAG_PATIENT_ID, e);
	if (!series && !image && strcmp(level, "STUDY") != 0) {
		c->out->offending = TAG_QUERY_LEVEL;
		return err_set(e, ERR_PEER, 0, "Query/Retrieve Level");
	}
	if (rules->patient_root && !unique(keys, TAG_PATIENT_ID, &c->patient) && !rules->relational)
		return missing(c, TAG_PATIENT_ID, e);
	if (series || image)
		return find_below(c, s, rules->relational, image, keys, e);
	return unique(keys, TAG_STUDY_UID, &study) ? of_list(c, s, study, e)
						   : missing(c, TAG_STUDY_UID, e);
}

int
targets_begin(struct targets *out, struct err *e)
{
	memset(out, 0, sizeof(*out));
	return arena_new(&out->strings, SIZE_MAX, e);
}

int
targets_add(struct targets *t, struct store *s, const char *sop_instance, struct err *e)
{
	struct collecting c = {.out = t};
	struct store_tx *tx;
	struct version v;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = store_current(tx, sop_instance, &v, e);
	store_end_read(tx);
	if (!rc && version_seen(&v, false))
		return add(&c, &v, e);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
targets_find(struct targets *out, struct store *s, const struct targets_rules *rules,
	     struct attrs keys, struct err *e)
{
	struct collecting c = {.out = out, .see_rejected = rules->see_rejected};
	int rc = targets_begin(out, e);

	if (rc)
		return rc;
	(void)store_settle(s, NULL); /* what was answered before this request belongs to it */
	rc = find(&c, s, rules, keys, e);
	if (rc)
		targets_fini(out);
	return rc;
}

void
targets_fini(struct targets *t)
{
	uint32_t offending = t->offending;

	free(t->all);
	arena_free(t->strings);
	memset(t, 0, sizeof(*t));
	t->offending = offending;
}
