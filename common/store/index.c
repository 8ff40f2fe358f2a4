#include "common/store/index.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index_keys.h"
#include "common/store/match.h"
#include "common/store/store.h"

static const char *const tables[] = {"study", "series", "instance", "newest", "lookup"};

const char *const *
index_tables(unsigned *n)
{
	*n = sizeof(tables) / sizeof(tables[0]);
	return tables;
}

static unsigned
table(struct store_tx *tx, const char *name)
{
	return store_table(store_tx_store(tx), name);
}

/* A key of up to three parts. */
struct key_bytes {
	char p[3 * UID_SIZE + 8];
	size_t n;
};

static struct kv_slice
make_key(struct key_bytes *k, const char *a, const char *b, const char *c)
{
	const char *parts[3] = {a, b, c};
	int i;

	k->n = 0;
	for (i = 0; i < 3 && parts[i]; i++) {
		size_t n = strlen(parts[i]);

		if (i)
			k->p[k->n++] = '\0';
		memcpy(k->p + k->n, parts[i], n);
		k->n += n;
	}
	return kv_slice(k->p, k->n);
}

static int
put_row(struct store_tx *tx, const char *name, struct kv_slice key, const struct buf *row,
	struct err *e)
{
	if (buf_failed(row))
		return err_set(e, ERR_LOCAL, 0, "no memory for an index row");
	return kv_put(store_tx_kv(tx), table(tx, name), key, kv_slice(row->data, row->len), e);
}

int
index_study_row(struct store_tx *tx, const char *study, struct attrs *out, struct err *e)
{
	struct key_bytes k;
	struct kv_slice v;
	int rc =
		kv_get(store_tx_kv(tx), table(tx, "study"), make_key(&k, study, NULL, NULL), &v, e);

	if (!rc)
		*out = (struct attrs){v.p, v.n};
	return rc;
}

int
index_series_row(struct store_tx *tx, const char *study, const char *series, struct attrs *out,
		 struct err *e)
{
	struct key_bytes k;
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx, "series"), make_key(&k, study, series, NULL), &v,
			e);

	if (!rc)
		*out = (struct attrs){v.p, v.n};
	return rc;
}

int
index_instance_row(struct store_tx *tx, const struct version *v, struct attrs *out, struct err *e)
{
	struct key_bytes k;
	struct kv_slice row;
	int rc = kv_get(store_tx_kv(tx), table(tx, "instance"),
			make_key(&k, v->study, v->series, v->sop_instance), &row, e);

	if (rc)
		return rc;
	if (row.n < 8 || buf_get_u64(row.p) != v->oid)
		return ERR_ABSENT;
	*out = (struct attrs){(const unsigned char *)row.p + 8, row.n - 8};
	return 0;
}

/* --- rows --- */

static uint64_t
get_number(struct attrs row, uint32_t tag)
{
	char text[24];

	(void)attrs_copy(row, tag, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* What a study has of all its series: modalities, and where it was made (R6). */
static const struct {
	uint32_t study, series;
} gathered[] = {{TAG_MODALITIES, TAG_MODALITY},
		{TAG_INSTITUTION, TAG_INSTITUTION},
		{TAG_STATION, TAG_STATION},
		{TAG_BODY_PART, TAG_BODY_PART}};
enum { N_GATHERED = sizeof(gathered) / sizeof(gathered[0]) };

static void
gather(struct buf *row, struct attrs from, bool of_series)
{
	struct attr a;
	size_t i;

	for (i = 0; i < N_GATHERED; i++)
		if (attrs_get(from, of_series ? gathered[i].series : gathered[i].study, &a))
			attrs_add_values(row, gathered[i].study, a.value, a.n);
}

/* A refill brings the newest first: what it announces later arrived earlier (R28). */
static int
note_newest(struct store_tx *tx, int64_t first, uint64_t arrival, const char *study, struct err *e)
{
	unsigned char key[16];

	buf_set_be64(key, ~((uint64_t)first ^ UINT64_C(1) << 63));
	buf_set_be64(key + 8, ~arrival);
	return kv_put(store_tx_kv(tx), table(tx, "newest"), kv_slice(key, sizeof(key)),
		      kv_slice(study, strlen(study)), e);
}

int
index_newest(struct store_tx *tx, unsigned char at[INDEX_PLACE], char study[UID_SIZE],
	     struct err *e)
{
	struct kv_slice k, v;
	struct kv_cursor *c;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, "newest"), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(at, INDEX_PLACE), &k, &v, e);
	if (!rc && (k.n != INDEX_PLACE || v.n >= UID_SIZE))
		rc = err_set(e, ERR_CORRUPT, 0, "a row of the order of studies is damaged");
	if (!rc) {
		memcpy(at, k.p, INDEX_PLACE);
		memcpy(study, v.p, v.n);
		study[v.n] = '\0';
	}
	kv_cursor_close(c);
	return rc;
}

bool
index_has(struct store_tx *tx, const char *study)
{
	struct attrs row;
	struct attr counted;

	/* A row without a count was made of a study record alone. */
	return study[0] && index_study_row(tx, study, &row, NULL) == 0 &&
	       attrs_get(row, TAG_STUDY_INSTANCES, &counted);
}

static bool
says_the_same(struct attrs set, struct attr a)
{
	struct attr b;

	return attrs_get(set, a.tag, &b) && a.n == b.n &&
	       (a.n == 0 || memcmp(a.value, b.value, a.n) == 0);
}

/* The keys say nothing of the counts, which change with every instance. */
static bool
has_other_keys(struct attrs old, struct attrs row)
{
	static const uint32_t of[] = {TAG_PATIENT_ID, TAG_OTHER_IDS,	TAG_ACCESSION,
				      TAG_STUDY_DATE, TAG_PATIENT_NAME, TAG_MODALITIES};
	struct attr a;
	size_t i;

	for (i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		if (attrs_get(row, of[i], &a) ? !says_the_same(old, a) : attrs_get(old, of[i], &a))
			return true;
	return false;
}

/* Writes a study row; its lookup keys follow what changed. */
static int
write_study(struct store_tx *tx, const char *study, struct attrs old, const struct buf *row,
	    struct err *e)
{
	struct key_bytes k;
	bool other = !old.n || has_other_keys(old, attrs_of(row));
	int rc = 0;

	if (old.n == row->len && (old.n == 0 || memcmp(old.p, row->data, old.n) == 0))
		return 0;
	if (old.n && other)
		rc = index_keys_study(tx, false, old, study, e);
	if (!rc && other)
		rc = index_keys_study(tx, true, attrs_of(row), study, e);
	return rc ? rc : put_row(tx, "study", make_key(&k, study, NULL, NULL), row, e);
}

static bool
is_counted(uint32_t tag)
{
	return tag == TAG_CLASSES || tag == TAG_STUDY_SERIES || tag == TAG_STUDY_INSTANCES ||
	       tag == TAG_POOR || tag == TAG_POOR_SERIES;
}

static bool
is_gathered(uint32_t tag)
{
	size_t i;

	for (i = 0; i < N_GATHERED; i++)
		if (gathered[i].study == tag)
			return true;
	return false;
}

/* What R6 wants told: whatever is not counted. */
static void
find_changes(struct attrs old, struct attrs row, struct index_change *out)
{
	struct attr a;
	size_t pos = 0;

	while (attrs_next(row, &pos, &a))
		if (!is_counted(a.tag) && !says_the_same(old, a))
			out->study_changed = true;
	for (pos = 0; attrs_next(old, &pos, &a);) {
		if (is_counted(a.tag) || a.n == 0 || says_the_same(row, a))
			continue;
		out->study_changed = true;
		if (!is_gathered(a.tag))
			tags_add(&out->corrected, a.tag);
	}
}

/* What a correction leaves of a row: its own attributes count, those it dropped are no more. */
static void
correct(struct buf *row, struct attrs before, struct attrs now, const struct tags *dropped)
{
	struct buf left = BUF_INIT;

	if (dropped)
		attrs_without(&left, before, dropped);
	else
		buf_put(&left, before.p, before.n);
	attrs_overlay(row, now, attrs_of(&left));
	if (buf_failed(&left))
		row->failed = true;
	buf_fini(&left);
}

static bool
has_shown(struct attrs series)
{
	return get_number(series, TAG_SERIES_INSTANCES) > 0;
}

static void
clear(struct buf *row, const struct tags *these)
{
	struct buf left = BUF_INIT;

	attrs_without(&left, attrs_of(row), these);
	left.failed = left.failed || buf_failed(row);
	buf_fini(row);
	*row = left;
}

static void
gather_series(struct buf *row, struct attrs series)
{
	struct attr a;
	size_t i;

	for (i = 0; i < N_GATHERED; i++)
		if ((gathered[i].study != TAG_MODALITIES || has_shown(series)) &&
		    attrs_get(series, gathered[i].series, &a))
			attrs_add_values(row, gathered[i].study, a.value, a.n);
}

/* These, of the series as they are now. */
static int
gather_anew(struct store_tx *tx, const char *study, const struct tags *these, struct buf *row,
	    struct err *e)
{
	struct key_bytes key;
	struct kv_slice want = make_key(&key, study, "", NULL), k, v;
	struct kv_cursor *c;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, "series"), e);

	if (rc)
		return rc;
	clear(row, these);
	rc = kv_cursor_seek(c, want, &k, &v, e);
	while (!rc && k.n > want.n && memcmp(k.p, want.p, want.n) == 0) {
		gather_series(row, (struct attrs){v.p, v.n});
		rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* A correction may have taken the last of a value away. */
static int
gather_all(struct store_tx *tx, const char *study, struct buf *row, struct err *e)
{
	struct tags all = {.n = 0};
	size_t i;

	for (i = 0; i < N_GATHERED; i++)
		tags_add(&all, gathered[i].study);
	return gather_anew(tx, study, &all, row, e);
}

/* A series is not shown any more: of its study's modalities those of the others are left. */
static int
gather_modalities(struct store_tx *tx, const char *study, struct buf *row, struct err *e)
{
	struct tags one = {.n = 0};

	tags_add(&one, TAG_MODALITIES);
	return gather_anew(tx, study, &one, row, e);
}

/* How many more are shown, and how many more are rejected for quality. */
struct shift {
	int shown, poor;
};

/* The number counts on from what the row said before, whatever a set from elsewhere says of it. */
static void
shift_number(struct buf *row, struct attrs before, uint32_t tag, int by)
{
	struct tags one = {.n = 0};
	int64_t n = (int64_t)get_number(before, tag) + by;

	if (n > 0 || (tag != TAG_POOR && tag != TAG_POOR_SERIES)) {
		attrs_set_number(row, tag, n > 0 ? (uint64_t)n : 0);
		return;
	}
	tags_add(&one, tag); /* a row says that it has such, or nothing of it */
	clear(row, &one);
}

static bool
is_poor_only(struct attrs series)
{
	return !has_shown(series) && get_number(series, TAG_POOR) > 0;
}

/* What a series has of each; *series: what that makes of its study's series. */
static void
shift_series(struct buf *row, struct attrs before, const struct shift *by, struct shift *series)
{
	shift_number(row, before, TAG_SERIES_INSTANCES, by->shown);
	shift_number(row, before, TAG_POOR, by->poor);
	series->shown = has_shown(attrs_of(row)) - has_shown(before);
	series->poor = is_poor_only(attrs_of(row)) - is_poor_only(before);
}

static void
shift_study(struct buf *row, struct attrs before, const struct shift *by,
	    const struct shift *series)
{
	shift_number(row, before, TAG_STUDY_SERIES, series->shown);
	shift_number(row, before, TAG_STUDY_INSTANCES, by->shown);
	shift_number(row, before, TAG_POOR, by->poor);
	shift_number(row, before, TAG_POOR_SERIES, series->poor);
}

/*
 * One is shown in a study. Where all were hidden, what those are it has not: the KO of a
 * rejection note, above all.
 */
static void
show_in_study(struct buf *row, struct attrs before, struct attrs series, const char *sop_class)
{
	struct tags hidden = {.n = 0};
	struct attr a;

	tags_add(&hidden, TAG_CLASSES);
	if (attrs_get(series, TAG_MODALITY, &a) && a.n > 0)
		tags_add(&hidden, TAG_MODALITIES);
	/* A row without a count was made of a study record alone (index_study). */
	if (attrs_get(before, TAG_STUDY_INSTANCES, &a) && get_number(before, a.tag) == 0)
		clear(row, &hidden);
	gather(row, series, true);
	attrs_add_values(row, TAG_CLASSES, sop_class, strlen(sop_class));
}

static int
update_study(struct store_tx *tx, const struct version *v, const struct index_sets *sets,
	     const struct shift *by, const struct shift *series, struct index_change *out,
	     struct err *e)
{
	struct buf row = BUF_INIT, before = BUF_INIT;
	struct attrs old = {NULL, 0};
	struct attr counted;
	int rc = index_study_row(tx, v->study, &old, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	out->new_study = rc == ERR_ABSENT;
	rc = 0;
	buf_put(&before, old.p, old.n); /* the value moves when the table is written */
	if (v->relation == VERSION_REVISION) {
		correct(&row, attrs_of(&before), sets->study, sets->dropped);
		rc = gather_all(tx, v->study, &row, e);
	} else {
		attrs_merge(&row, attrs_of(&before), sets->study);
	}
	if (!(v->hidden & VERSION_POOR))
		show_in_study(&row, attrs_of(&before), sets->series, v->sop_class);
	gather(&row, sets->study, false); /* a record from elsewhere may name others */
	shift_study(&row, attrs_of(&before), by, series);
	find_changes(attrs_of(&before), attrs_of(&row), out);
	if (!rc)
		rc = write_study(tx, v->study, attrs_of(&before), &row, e);
	if (!rc && !attrs_get(attrs_of(&before), TAG_STUDY_INSTANCES, &counted))
		rc = note_newest(tx, v->first_ms, v->arrival, v->study, e);
	buf_fini(&before);
	buf_fini(&row);
	return rc;
}

static int
update_series(struct store_tx *tx, const struct version *v, const struct index_sets *sets,
	      const struct shift *by, struct shift *series, struct err *e)
{
	struct buf row = BUF_INIT;
	bool new_series;
	struct attrs old = {NULL, 0};
	struct key_bytes key;
	int rc = index_series_row(tx, v->study, v->series, &old, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	new_series = rc == ERR_ABSENT;
	if (v->relation == VERSION_REVISION)
		correct(&row, old, sets->series, sets->dropped);
	else
		attrs_merge(&row, old, sets->series);
	shift_series(&row, old, by, series);
	rc = 0;
	if (old.n != row.len || memcmp(old.p, row.data, old.n) != 0)
		rc = put_row(tx, "series", make_key(&key, v->study, v->series, NULL), &row, e);
	if (!rc && new_series)
		rc = index_keys_series(tx, v->series, v->study, e);
	buf_fini(&row);
	return rc;
}

static void
set_text(struct buf *row, uint32_t tag, const char *s)
{
	struct buf out = BUF_INIT;

	attrs_replace(&out, attrs_of(row), tag, s, strlen(s));
	buf_fini(row);
	*row = out;
}

/* A set from elsewhere says nothing of it. */
static void
mark_poor(struct buf *set, bool poor)
{
	struct tags mark = {.n = 0};

	tags_add(&mark, TAG_POOR);
	clear(set, &mark);
	if (poor)
		set_text(set, TAG_POOR, "1");
}

/* Of an instance: its number, then its attributes. */
static bool
row_is_poor(struct kv_slice row)
{
	struct attr a;

	return row.n >= 8 &&
	       attrs_get((struct attrs){(const unsigned char *)row.p + 8, row.n - 8}, TAG_POOR, &a);
}

static int
update_instance(struct store_tx *tx, const struct version *v, struct attrs instance,
		struct shift *by, struct err *e)
{
	struct buf row = BUF_INIT, with = BUF_INIT;
	struct key_bytes key;
	struct kv_slice k = make_key(&key, v->study, v->series, v->sop_instance), old;
	bool poor = (v->hidden & VERSION_POOR) != 0, was_poor;
	int rc = kv_get(store_tx_kv(tx), table(tx, "instance"), k, &old, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	was_poor = !rc && row_is_poor(old);
	by->shown = !poor - (!rc && !was_poor);
	by->poor = poor - was_poor;
	buf_put_u64(&row, v->oid);
	/* What was only announced has no attributes of its own: its UIDs and syntax are known. */
	attrs_replace(&with, instance, TAG_SOP_CLASS, v->sop_class, strlen(v->sop_class));
	set_text(&with, TAG_SOP_INSTANCE, v->sop_instance);
	set_text(&with, TAG_AVAILABLE_SYNTAX, v->syntax);
	mark_poor(&with, poor);
	buf_put(&row, with.data, with.len);
	if (buf_failed(&with))
		row.failed = true;
	rc = put_row(tx, "instance", k, &row, e);
	buf_fini(&with);
	buf_fini(&row);
	return rc;
}

static bool
has_rows(const struct version *v)
{
	return v->study[0] && v->series[0] && v->sop_instance[0] && version_indexed(v);
}

int
index_put(struct store_tx *tx, const struct version *v, const struct index_sets *sets,
	  struct index_change *out, struct err *e)
{
	struct shift by, series;
	int rc;

	memset(out, 0, sizeof(*out));
	if (!has_rows(v))
		return 0;
	rc = update_instance(tx, v, sets->instance, &by, e);
	if (!rc)
		rc = update_series(tx, v, sets, &by, &series, e);
	return rc ? rc : update_study(tx, v, sets, &by, &series, out, e);
}

/* A row of an instance is shown to all, and of this class. */
static bool
shown_of_class(struct kv_slice row, const char *sop_class)
{
	struct attr a;

	return row.n >= 8 && !row_is_poor(row) &&
	       attrs_get((struct attrs){(const unsigned char *)row.p + 8, row.n - 8}, TAG_SOP_CLASS,
			 &a) &&
	       a.n == strlen(sop_class) && memcmp(a.value, sop_class, a.n) == 0;
}

/* An instance of this class is shown no more: is another? The first one that is found says it. */
static int
class_anew(struct store_tx *tx, const struct version *v, struct buf *study, struct err *e)
{
	struct buf left = BUF_INIT, out = BUF_INIT;
	struct attr all = {TAG_CLASSES, "", 0};
	struct key_bytes key;
	struct kv_slice want = make_key(&key, v->study, "", NULL), k, row;
	struct kv_cursor *c;
	size_t at, n;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, "instance"), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, want, &k, &row, e);
	while (!rc && k.n > want.n && memcmp(k.p, want.p, want.n) == 0 &&
	       !shown_of_class(row, v->sop_class))
		rc = kv_cursor_next(c, &k, &row, e);
	if (rc == ERR_ABSENT || (!rc && (k.n <= want.n || memcmp(k.p, want.p, want.n) != 0))) {
		(void)attrs_get(attrs_of(study), TAG_CLASSES, &all);
		for (at = 0; at < all.n; at += n + 1) {
			const char *bar = memchr(all.value + at, '\\', all.n - at);

			n = bar ? (size_t)(bar - all.value) - at : all.n - at;
			if (n == strlen(v->sop_class) &&
			    memcmp(all.value + at, v->sop_class, n) == 0)
				continue;
			buf_put(&left, "\\", left.len > 0);
			buf_put(&left, all.value + at, n);
		}
		attrs_replace(&out, attrs_of(study), TAG_CLASSES, (const char *)left.data,
			      left.len);
		out.failed = out.failed || buf_failed(&left);
		buf_fini(&left);
		buf_fini(study);
		*study = out;
		rc = 0;
	}
	kv_cursor_close(c);
	return rc;
}

/* The counts of what lies above an instance that is there still, or was. */
static int
shift_above(struct store_tx *tx, const struct version *v, const struct shift *by, struct err *e)
{
	struct buf series = BUF_INIT, study = BUF_INIT, old = BUF_INIT;
	struct shift more = {0, 0};
	struct key_bytes k;
	struct attrs row;
	int rc = index_series_row(tx, v->study, v->series, &row, e);

	if (!rc) {
		buf_put(&series, row.p, row.n);
		shift_series(&series, row, by, &more);
		(void)make_key(&k, v->study, v->series, NULL);
		if (!has_shown(attrs_of(&series)) && !is_poor_only(attrs_of(&series)))
			rc = kv_del(store_tx_kv(tx), table(tx, "series"), kv_slice(k.p, k.n), e);
		else
			rc = put_row(tx, "series", kv_slice(k.p, k.n), &series, e);
	}
	if (!rc)
		rc = index_study_row(tx, v->study, &row, e);
	if (!rc) {
		buf_put(&old, row.p, row.n);
		buf_put(&study, row.p, row.n);
		shift_study(&study, attrs_of(&old), by, &more);
		if (by->shown > 0)
			show_in_study(&study, attrs_of(&old), attrs_of(&series), v->sop_class);
		/* Of a study that is hidden as a whole it stays known what it is. */
		if (more.shown < 0 && get_number(attrs_of(&study), TAG_STUDY_SERIES) > 0)
			rc = gather_modalities(tx, v->study, &study, e);
		if (!rc && by->shown < 0 && get_number(attrs_of(&study), TAG_STUDY_SERIES) > 0)
			rc = class_anew(tx, v, &study, e);
	}
	if (!rc) {
		rc = write_study(tx, v->study, attrs_of(&old), &study, e);
	}
	buf_fini(&old);
	buf_fini(&study);
	buf_fini(&series);
	return rc;
}

int
index_remove(struct store_tx *tx, const struct version *v, struct err *e)
{
	struct kv_slice row;
	struct key_bytes k;
	struct shift by;
	bool poor;
	int rc;

	if (!v->study[0] || !v->series[0] || !v->sop_instance[0])
		return 0;
	(void)make_key(&k, v->study, v->series, v->sop_instance);
	rc = kv_get(store_tx_kv(tx), table(tx, "instance"), kv_slice(k.p, k.n), &row, e);
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	poor = row_is_poor(row);
	by = (struct shift){poor - 1, -poor};
	rc = kv_del(store_tx_kv(tx), table(tx, "instance"), kv_slice(k.p, k.n), e);
	return rc ? rc : shift_above(tx, v, &by, e);
}

int
index_mark(struct store_tx *tx, const struct version *v, struct err *e)
{
	bool poor = (v->hidden & VERSION_POOR) != 0;
	struct buf row = BUF_INIT, set = BUF_INIT;
	struct attrs before;
	struct key_bytes k;
	struct shift by = {poor ? -1 : 1, poor ? 1 : -1};
	struct attr a;
	int rc = index_instance_row(tx, v, &before, e);

	if (rc || attrs_get(before, TAG_POOR, &a) == poor)
		return rc == ERR_ABSENT ? 0 : rc;
	buf_put(&set, before.p, before.n);
	mark_poor(&set, poor);
	buf_put_u64(&row, v->oid);
	buf_put(&row, set.data, set.len);
	if (buf_failed(&set))
		row.failed = true;
	rc = put_row(tx, "instance", make_key(&k, v->study, v->series, v->sop_instance), &row, e);
	buf_fini(&set);
	buf_fini(&row);
	return rc ? rc : shift_above(tx, v, &by, e);
}

int
index_study(struct store_tx *tx, const char *study, struct attrs attrs,
	    const struct tags *corrected, struct err *e)
{
	struct buf row = BUF_INIT, before = BUF_INIT, left = BUF_INIT;
	struct attrs old = {NULL, 0};
	int rc = index_study_row(tx, study, &old, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	buf_put(&before, old.p, old.n);
	attrs_without(&left, attrs_of(&before), corrected);
	attrs_merge(&row, attrs_of(&left), attrs);
	gather(&row, attrs, false);
	if (buf_failed(&left))
		row.failed = true;
	rc = write_study(tx, study, attrs_of(&before), &row, e);
	buf_fini(&left);
	buf_fini(&before);
	buf_fini(&row);
	return rc;
}
