#include "common/store/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/match.h"
#include "common/store/name_filter.h"
#include "common/store/order.h"
#include "common/store/persons.h"
#include "common/store/query_keys.h"
#include "common/store/store.h"

/* The first page is short: a viewer sees the first answers at once. */
enum { FIRST_PAGE = 8, PAGE_MATCHES = 64, PAGE_LOOKS = 512, NAME_PREFIX_MAX = 100 };
/* More candidates than this are not sorted: all studies are gone through, newest first. */
enum { ORDER_MAX = 16384 };

/* Where candidates come from: lists of study UIDs, or a range of one table. */
enum source { FROM_UIDS, FROM_ORDER, FROM_LOOKUP, FROM_NEWEST };

struct match { /* offsets into q->bytes */
	size_t study, study_n, series, series_n, instance, instance_n;
	uint64_t oid, studies, series_count, instances;
	enum query_availability availability;
};

struct query {
	struct store *s;
	struct query_config c;
	struct buf keys;
	enum source source;
	bool exhausted, wants_availability, collecting;
	struct order order;	    /* FROM_ORDER */
	struct name_filter filter;  /* collecting names */
	struct buf low, high;	    /* of the lookup range: low <= key < high */
	size_t value_at;	    /* lookup keys: the study UID lies behind this many NULs */
	struct buf last;	    /* the last key looked at */
	size_t uid_at;		    /* FROM_UIDS: where in the list */
	char inner_study[UID_SIZE]; /* SERIES, IMAGE: the study being walked */
	struct buf inner;	    /* and its last row's key                */
	struct persons persons;	    /* PATIENT: of the ID being walked, */
	struct buf id;		    /* which this is (a key's value)    */
	const struct persons_one *giving; /* those of them still to be given  */
	struct match page[PAGE_MATCHES];
	unsigned n_page, at, page_most;
	unsigned looks; /* rows and versions that this read transaction has seen */
	struct buf bytes;
};

static bool
get_key(const struct query *q, uint32_t tag, struct attr *out)
{
	return attrs_get(attrs_of(&q->keys), tag, out) && !match_universal(out->value, out->n);
}

/* --- choosing candidates --- */

static void
range(struct query *q, enum index_letter letter, const char *from, size_t from_n, const char *to,
      size_t to_n)
{
	q->source = FROM_LOOKUP;
	buf_put_u8(&q->low, letter);
	buf_put(&q->low, from, from_n);
	buf_put_u8(&q->high, letter);
	buf_put(&q->high, to, to_n);
	buf_put_u8(&q->high, 0xff);
}

static void
exactly(struct query *q, enum index_letter letter, const struct attr *a)
{
	q->source = FROM_LOOKUP;
	buf_put_u8(&q->low, letter);
	buf_put(&q->low, a->value, a->n < 120 ? a->n : 120);
	buf_put(&q->high, q->low.data, q->low.len);
	buf_put_u8(&q->low, 0);
	buf_put_u8(&q->high, 1);
}

static void
by_dates(struct query *q, const struct attr *date, const struct attr *modality)
{
	char from[9], to[9];
	struct buf a = BUF_INIT, b = BUF_INIT;
	enum index_letter letter = modality ? INDEX_MODALITY : INDEX_DATE;

	if (!match_date_range(date->value, date->n, from, to))
		return;
	if (modality) {
		buf_put(&a, modality->value, modality->n < 120 ? modality->n : 120);
		buf_put_u8(&a, 0);
		buf_put(&b, a.data, a.len);
	}
	buf_puts(&a, from);
	buf_puts(&b, to);
	range(q, letter, (const char *)a.data, a.len, (const char *)b.data, b.len);
	q->value_at = modality ? 2 : 1;
	buf_fini(&a);
	buf_fini(&b);
}

static bool
by_name(struct query *q, const struct attr *name)
{
	struct buf prefix = BUF_INIT;
	struct attr date;
	size_t n = 0;
	bool use, filtered = name_filter_init(&q->filter, name->value, name->n);

	while (n < name->n && !strchr("*?=", name->value[n]))
		n++;
	while (n > 0 && name->value[n - 1] == '^')
		n--;
	if (n > NAME_PREFIX_MAX) /* whole characters: the keys are cut further on */
		for (n = NAME_PREFIX_MAX; n > 0 && (name->value[n] & 0xc0) == 0x80;)
			n--;
	index_fold(&prefix, name->value, n);
	/* Without a prefix a date narrows more; without that all names are looked at. */
	use = prefix.len > 0 || (filtered && !get_key(q, TAG_STUDY_DATE, &date));
	if (use)
		range(q, INDEX_NAME, (const char *)prefix.data, prefix.len,
		      (const char *)prefix.data, prefix.len);
	buf_fini(&prefix);
	return use;
}

static void
choose(struct query *q)
{
	struct attr a, m;

	q->value_at = 1;
	q->source = FROM_NEWEST;
	if (q->c.level == QUERY_PATIENT) {
		q->source = FROM_LOOKUP;
		if (get_key(q, TAG_PATIENT_ID, &a) && !match_has_wildcard(a.value, a.n))
			exactly(q, INDEX_PATIENT_ID, &a);
		else
			range(q, INDEX_PATIENT_ID, "", 0, "", 0);
	} else if (get_key(q, TAG_STUDY_UID, &a)) {
		q->source = FROM_UIDS;
	} else if (get_key(q, TAG_PATIENT_ID, &a) && !match_has_wildcard(a.value, a.n)) {
		exactly(q, INDEX_PATIENT_ID, &a);
	} else if (get_key(q, TAG_OTHER_IDS, &a) && match_id_length(a.value, a.n) > 0 &&
		   !match_has_wildcard(a.value, a.n)) {
		a.n = match_id_length(a.value, a.n);
		exactly(q, INDEX_OTHER_ID, &a);
	} else if (get_key(q, TAG_ACCESSION, &a) && !match_has_wildcard(a.value, a.n)) {
		exactly(q, INDEX_ACCESSION, &a);
	} else if (get_key(q, TAG_PATIENT_NAME, &a) && by_name(q, &a)) {
		return;
	} else if (get_key(q, TAG_STUDY_DATE, &a)) {
		bool one_modality = get_key(q, TAG_MODALITIES, &m) &&
				    !match_has_wildcard(m.value, m.n) &&
				    !memchr(m.value, '\\', m.n);

		by_dates(q, &a, one_modality ? &m : NULL);
	}
}

static int collect(struct query *q, struct err *e);

int
query_open(struct query **out, struct store *s, const struct query_config *c, struct err *e)
{
	struct query *q = calloc(1, sizeof(*q));
	struct attr a;
	int rc;

	if (!q)
		return err_set(e, ERR_LOCAL, 0, "no memory for a query");
	(void)store_settle(s, NULL); /* what was answered before this query is found by it */
	q->s = s;
	q->c = *c;
	buf_put(&q->keys, c->keys.p, c->keys.n);
	q->wants_availability = attrs_get(c->keys, TAG_AVAILABILITY, &a);
	q->page_most = FIRST_PAGE;
	choose(q);
	rc = query_keys_check(c, NULL, e);
	if (!rc && (buf_failed(&q->keys) || buf_failed(&q->low) || buf_failed(&q->high)))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a query");
	if (!rc && q->source == FROM_LOOKUP && q->c.level != QUERY_PATIENT)
		rc = collect(q, e);
	if (rc) {
		query_close(q);
		return rc;
	}
	*out = q;
	return 0;
}

void
query_close(struct query *q)
{
	if (!q)
		return;
	buf_fini(&q->keys);
	buf_fini(&q->low);
	buf_fini(&q->high);
	buf_fini(&q->last);
	buf_fini(&q->inner);
	buf_fini(&q->bytes);
	buf_fini(&q->id);
	persons_fini(&q->persons);
	order_fini(&q->order);
	name_filter_fini(&q->filter);
	free(q);
}

/* --- matching rows --- */

/* Keys of this level (and above at study level) against a row. */
static bool
row_matches(const struct query *q, struct attrs row, enum key_level from, enum key_level to)
{
	struct attr key, value;
	size_t pos = 0;

	while (attrs_next(attrs_of(&q->keys), &pos, &key)) {
		const struct key *k = key_find(key.tag);
		enum key_level level = k ? k->level : KEY_STUDY;
		const char *vr = k ? k->vr : "CS";

		if (match_universal(key.value, key.n) || level < from || level > to)
			continue;
		if (!k && key.tag != TAG_MODALITIES && key.tag != TAG_CLASSES)
			continue;
		if (!k && to > KEY_STUDY && from > KEY_STUDY)
			continue;
		if (k && k->kind == KEY_ISSUER)
			continue;
		if (key.tag == TAG_TIMEZONE) /* speaks of the query itself (PS3.4 C.4.1.1.3) */
			continue;
		if (!attrs_get(row, key.tag, &value))
			value = (struct attr){key.tag, "", 0};
		if (key.tag == TAG_CLASSES)
			vr = "UI";
		if (k && k->kind == KEY_IDS) {
			if (!match_ids(key.value, key.n, value))
				return false;
			continue;
		}
		if (k && k->kind == KEY_ITEMS) {
			if (!match_items(key.value, key.n, value))
				return false;
			continue;
		}
		if (!match_value(vr, key.value, key.n, value))
			return false;
	}
	return true;
}

static size_t
keep(struct query *q, struct attrs set)
{
	size_t at = q->bytes.len;

	buf_put(&q->bytes, set.p, set.n);
	return at;
}

static struct match *
add_match(struct query *q, struct attrs study, struct attrs series, struct attrs instance)
{
	struct match *m = &q->page[q->n_page++];

	memset(m, 0, sizeof(*m));
	m->study_n = study.n;
	m->study = keep(q, study);
	m->series_n = series.n;
	m->series = keep(q, series);
	m->instance_n = instance.n;
	m->instance = keep(q, instance);
	return m;
}

/*
 * R21: ONLINE here; NEARLINE at the central that answers now, which has said so in
 * its present epoch; else UNAVAILABLE: lost, or at central with the WAN down.
 */
static enum query_availability
availability(const struct query *q, const struct version *v)
{
	static const struct id128 nobody;

	if (v->state == VERSION_HERE)
		return QUERY_ONLINE;
	return memcmp(&q->c.epoch, &nobody, sizeof(nobody)) && version_receipted(v, &q->c.epoch)
		       ? QUERY_NEARLINE
		       : QUERY_UNAVAILABLE;
}

struct worst {
	const struct query *q;
	const char *series; /* NULL: of the whole study */
	unsigned looks;
	enum query_availability worst;
};

static int
note_worst(void *arg, const struct version *v, struct err *e)
{
	struct worst *w = arg;

	(void)e;
	w->looks++;
	if (v->current && !v->hidden && (!w->series || strcmp(w->series, v->series) == 0) &&
	    availability(w->q, v) > w->worst)
		w->worst = availability(w->q, v);
	return 0;
}

static int
worst_of(struct query *q, struct store_tx *tx, const char *study, const char *series,
	 enum query_availability *out, struct err *e)
{
	struct worst w = {q, series, 0, QUERY_ONLINE};
	int rc = 0;

	if (q->wants_availability)
		rc = store_versions_of_study(tx, study, 0, note_worst, &w, e);
	q->looks += w.looks;
	*out = w.worst;
	return rc;
}

/* --- patients --- */

static uint64_t
number(struct attrs row, uint32_t tag)
{
	char text[24];

	(void)attrs_copy(row, tag, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* One study of the Patient ID goes to the person whom it does not contradict (R33). */
static int
count_study(struct query *q, struct store_tx *tx, const char *study, struct err *e)
{
	enum query_availability worst;
	struct persons_one *one;
	struct attrs row;
	int rc = index_study_row(tx, study, &row, e);

	if (rc || number(row, TAG_STUDY_INSTANCES) == 0) /* known by its record only */
		return rc == ERR_ABSENT ? 0 : rc;
	one = persons_join(&q->persons, study, row);
	if (!one)
		return err_set(e, ERR_LOCAL, 0, "no memory for a patient");
	one->studies++;
	one->series += number(row, TAG_STUDY_SERIES);
	one->instances += number(row, TAG_STUDY_INSTANCES);
	rc = worst_of(q, tx, study, NULL, &worst, e);
	if (!rc && worst > one->worst)
		one->worst = worst;
	return rc;
}

/* The persons of one Patient ID are counted: those who match, by their first studies. */
static int
give_persons(struct query *q, struct store_tx *tx, struct err *e)
{
	static const struct attrs none = {NULL, 0};
	struct attrs row;
	struct match *m;
	int rc = 0;

	while (!rc && q->giving && q->n_page < q->page_most) {
		const struct persons_one *one = q->giving;

		q->giving = one->next;
		rc = index_study_row(tx, one->first, &row, e);
		if (rc == ERR_ABSENT)
			rc = 0;
		else if (!rc && row_matches(q, row, KEY_PATIENT, KEY_PATIENT)) {
			m = add_match(q, row, none, none);
			m->studies = one->studies;
			m->series_count = one->series;
			m->instances = one->instances;
			m->availability = (enum query_availability)one->worst;
		}
	}
	if (!q->giving)
		persons_fini(&q->persons);
	return rc;
}

/*
 * At PATIENT level: the studies of one Patient ID lie together, each is looked at once.
 * Without an ID nobody can say whose other studies are: each is somebody's. true: give first.
 */
static bool
next_person(struct query *q, struct kv_slice k)
{
	size_t n = strnlen(k.p, k.n);
	bool same = n > 1 && q->id.len == n && memcmp(q->id.data, k.p, n) == 0;

	if (same)
		return false;
	q->giving = q->persons.all;
	buf_clear(&q->id);
	buf_put(&q->id, k.p, n);
	return q->giving != NULL;
}

/* --- studies, and what lies inside --- */

static int
try_study(struct query *q, struct store_tx *tx, const char *study, struct err *e)
{
	static const struct attrs none = {NULL, 0};
	struct attrs row;
	struct match *m;
	int rc = index_study_row(tx, study, &row, e);

	if (rc || number(row, TAG_STUDY_INSTANCES) == 0)
		return rc == ERR_ABSENT ? 0 : rc;
	if (!row_matches(q, row, KEY_PATIENT, KEY_STUDY))
		return 0;
	if (q->c.level == QUERY_STUDY) {
		m = add_match(q, row, none, none);
		return worst_of(q, tx, study, NULL, &m->availability, e);
	}
	memcpy(q->inner_study, study, strlen(study) + 1);
	buf_clear(&q->inner);
	buf_puts(&q->inner, study);
	buf_put_u8(&q->inner, 0);
	return 0;
}

static int
try_inner(struct query *q, struct store_tx *tx, struct kv_slice k, struct kv_slice v, struct err *e)
{
	struct attrs study, series, instance;
	char uid[UID_SIZE];
	const char *from = (const char *)k.p + strlen(q->inner_study) + 1;
	size_t n = strnlen(from, k.n - strlen(q->inner_study) - 1);
	struct version version;
	struct match *m;
	int rc = index_study_row(tx, q->inner_study, &study, e);

	if (rc || n >= UID_SIZE)
		return rc;
	memcpy(uid, from, n);
	uid[n] = '\0';
	if (q->c.level == QUERY_SERIES) {
		series = (struct attrs){v.p, v.n};
		if (!row_matches(q, series, KEY_SERIES, KEY_SERIES))
			return 0;
		m = add_match(q, study, series, (struct attrs){NULL, 0});
		return worst_of(q, tx, q->inner_study, uid, &m->availability, e);
	}
	instance = (struct attrs){(const char *)v.p + 8, v.n - 8};
	rc = index_series_row(tx, q->inner_study, uid, &series, e);
	if (rc || !row_matches(q, series, KEY_SERIES, KEY_SERIES) ||
	    !row_matches(q, instance, KEY_INSTANCE, KEY_INSTANCE))
		return rc;
	m = add_match(q, study, series, instance);
	m->oid = buf_get_u64(v.p);
	rc = store_version(tx, m->oid, &version, e);
	if (!rc)
		m->availability = availability(q, &version);
	return rc;
}

/* Rows of one study, from where the last page ended. */
static int
walk_inner(struct query *q, struct store_tx *tx, struct err *e)
{
	const char *name = q->c.level == QUERY_SERIES ? "series" : "instance";
	size_t prefix = strlen(q->inner_study) + 1;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), store_table(q->s, name), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(q->inner.data, q->inner.len), &k, &v, e);
	if (!rc && k.n == q->inner.len && memcmp(k.p, q->inner.data, k.n) == 0)
		rc = kv_cursor_next(c, &k, &v, e);
	while (!rc && q->n_page < q->page_most && q->looks < PAGE_LOOKS) {
		if (k.n < prefix || memcmp(k.p, q->inner.data, prefix) != 0) {
			rc = ERR_ABSENT;
			break;
		}
		q->looks++;
		buf_clear(&q->inner);
		buf_put(&q->inner, k.p, k.n);
		rc = try_inner(q, tx, k, v, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	if (rc == ERR_ABSENT) {
		q->inner_study[0] = '\0';
		rc = 0;
	}
	return rc;
}

/* --- walking candidates --- */

static int
next_uid(struct query *q, char out[UID_SIZE])
{
	struct attr a;
	const char *bar;
	size_t n;

	do {
		if (!attrs_get(attrs_of(&q->keys), TAG_STUDY_UID, &a) || q->uid_at > a.n)
			return ERR_ABSENT;
		bar = memchr(a.value + q->uid_at, '\\', a.n - q->uid_at);
		n = (bar ? (size_t)(bar - a.value) : a.n) - q->uid_at;
		if (n < UID_SIZE)
			memcpy(out, a.value + q->uid_at, n);
		q->uid_at += n + 1;
	} while (n == 0 || n >= UID_SIZE);
	out[n] = '\0';
	return 0;
}

static int
compare(struct kv_slice a, const struct buf *b)
{
	size_t n = a.n < b->len ? a.n : b->len;
	int c = memcmp(a.p, b->data, n);

	return c ? c : (a.n > b->len) - (a.n < b->len);
}

static int
seek(struct query *q, struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e)
{
	const struct buf *from = q->last.len ? &q->last : &q->low;
	int rc = kv_cursor_seek(c, kv_slice(from->data, from->len), k, v, e);

	if (!rc && q->last.len && compare(*k, &q->last) == 0)
		rc = kv_cursor_next(c, k, v, e);
	return rc;
}

/* The study UID of a candidate; false: the range has ended. */
static bool
candidate(struct query *q, struct kv_slice k, struct kv_slice v, char out[UID_SIZE])
{
	const char *p = v.p;
	size_t n = v.n, i;

	if (q->source == FROM_LOOKUP) {
		if (compare(k, &q->low) < 0 || compare(k, &q->high) >= 0)
			return false;
		p = k.p;
		n = k.n;
		for (i = 0; i < q->value_at; i++) {
			const char *nul = memchr(p, 0, n);

			if (!nul)
				return false;
			n -= (size_t)(nul - p) + 1;
			p = nul + 1;
		}
	}
	if (n == 0 || n >= UID_SIZE)
		return false;
	memcpy(out, p, n);
	out[n] = '\0';
	return true;
}

static int
add_candidate(struct query *q, struct store_tx *tx, const char *study, struct err *e)
{
	int64_t first = 0;
	int rc = store_study_first(tx, study, &first, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	order_add(&q->order, first, study);
	return q->order.failed ? err_set(e, ERR_LOCAL, 0, "no memory for candidates") : 0;
}

static int
walk_table(struct query *q, struct store_tx *tx, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	char study[UID_SIZE];
	int rc = kv_cursor_open(&c, store_tx_kv(tx),
				store_table(q->s, q->source == FROM_LOOKUP ? "lookup" : "newest"),
				e);

	if (rc)
		return rc;
	rc = seek(q, c, &k, &v, e);
	while (!rc && q->n_page < q->page_most && q->looks < PAGE_LOOKS && !q->inner_study[0]) {
		if (!candidate(q, k, v, study)) {
			rc = ERR_ABSENT;
			break;
		}
		if (q->c.level == QUERY_PATIENT && next_person(q, k))
			break;
		q->looks++;
		buf_clear(&q->last);
		buf_put(&q->last, k.p, k.n);
		if (q->c.level == QUERY_PATIENT)
			rc = count_study(q, tx, study, e);
		else if (!q->collecting)
			rc = try_study(q, tx, study, e);
		else if (q->low.data[0] != INDEX_NAME ||
			 name_filter_passes(&q->filter, (const char *)k.p + 1, strlen(k.p) - 1))
			rc = add_candidate(q, tx, study, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	if (rc == ERR_ABSENT) {
		q->exhausted = true;
		q->giving = q->persons.all;
		rc = 0;
	}
	return rc;
}

/*
 * R34: candidates of a lookup range in the order of their arrival; of too many,
 * all studies in that order are gone through instead.
 */
static int
collect(struct query *q, struct err *e)
{
	struct store_tx *tx;
	int rc = 0;

	q->collecting = true;
	while (!rc && !q->exhausted && q->order.n <= ORDER_MAX) {
		rc = store_begin_read(&tx, q->s, e);
		if (rc)
			break;
		q->looks = 0;
		rc = walk_table(q, tx, e);
		store_end_read(tx);
	}
	q->collecting = false;
	q->source = q->order.n > ORDER_MAX ? FROM_NEWEST : FROM_ORDER;
	q->exhausted = false;
	buf_clear(&q->last);
	buf_clear(&q->low);
	if (q->source == FROM_NEWEST)
		order_fini(&q->order);
	order_sort(&q->order);
	return rc;
}

static int
walk_uids(struct query *q, struct store_tx *tx, struct err *e)
{
	char study[UID_SIZE];
	int rc = 0;

	while (!rc && q->n_page < q->page_most && q->looks < PAGE_LOOKS && !q->inner_study[0]) {
		if (q->source == FROM_ORDER ? !order_next(&q->order, study) : next_uid(q, study)) {
			q->exhausted = true;
			break;
		}
		q->looks++;
		rc = try_study(q, tx, study, e);
	}
	return rc;
}

static int
fill_page(struct query *q, struct err *e)
{
	struct store_tx *tx;
	int rc;

	q->n_page = q->at = q->looks = 0;
	buf_clear(&q->bytes);
	rc = store_begin_read(&tx, q->s, e);
	if (rc)
		return rc;
	while (!rc && q->n_page < q->page_most && q->looks < PAGE_LOOKS &&
	       (q->inner_study[0] || q->giving || !q->exhausted)) {
		if (q->inner_study[0])
			rc = walk_inner(q, tx, e);
		else if (q->giving)
			rc = give_persons(q, tx, e);
		else if (q->source == FROM_UIDS || q->source == FROM_ORDER)
			rc = walk_uids(q, tx, e);
		else
			rc = walk_table(q, tx, e);
	}
	store_end_read(tx);
	q->page_most = PAGE_MATCHES;
	if (!rc && buf_failed(&q->bytes))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a page of answers");
	return rc;
}

int
query_next(struct query *q, struct query_match *out, struct err *e)
{
	const struct match *m;
	int rc;

	while (q->at >= q->n_page) {
		if (q->exhausted && !q->inner_study[0] && !q->giving)
			return ERR_ABSENT;
		if (q->c.interrupted && q->c.interrupted(q->c.arg))
			return err_set(e, ERR_AGAIN, 0, "interrupted");
		rc = fill_page(q, e);
		if (rc)
			return rc;
	}
	m = &q->page[q->at++];
	out->study = (struct attrs){q->bytes.data + m->study, m->study_n};
	out->series = (struct attrs){q->bytes.data + m->series, m->series_n};
	out->instance = (struct attrs){q->bytes.data + m->instance, m->instance_n};
	out->oid = m->oid;
	out->availability = m->availability;
	out->studies = m->studies;
	out->series_count = m->series_count;
	out->instances = m->instances;
	return 0;
}

int
query_count_rest(struct query *q, uint64_t most, uint64_t *out, struct err *e)
{
	struct query_match m;
	int rc = 0;

	for (*out = 0; !rc && *out < most; ++*out)
		rc = query_next(q, &m, e);
	if (rc == ERR_ABSENT) {
		--*out;
		rc = 0;
	}
	return rc;
}
