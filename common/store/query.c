#include "common/store/query_private.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/match.h"
#include "common/store/patient.h"
#include "common/store/query_keys.h"
#include "common/store/store.h"
#include "common/store/zone.h"

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
	q->wants_modalities = attrs_get(c->keys, TAG_MODALITIES, &a);
	q->wants_classes = attrs_get(c->keys, TAG_CLASSES, &a);
	q->wants_related =
		c->level == QUERY_STUDY && (attrs_get(c->keys, TAG_PATIENT_STUDIES, &a) ||
					    attrs_get(c->keys, TAG_PATIENT_SERIES, &a) ||
					    attrs_get(c->keys, TAG_PATIENT_INSTANCES, &a));
	q->zoned = c->zoned && attrs_get(c->keys, TAG_TIMEZONE, &a) &&
		   zone_parse(a.value, a.n, &q->zone);
	q->page_most = FIRST_PAGE;
	query_choose(q);
	rc = query_keys_check(c, NULL, e);
	if (!rc && (buf_failed(&q->keys) || buf_failed(&q->low) || buf_failed(&q->high)))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a query");
	if (!rc)
		rc = query_gather(q, e);
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
	buf_fini(&q->seen);
	buf_fini(&q->id);
	persons_fini(&q->persons);
	order_fini(&q->order);
	name_filter_fini(&q->filter);
	free(q);
}

/* --- matches --- */

static size_t
keep(struct query *q, struct attrs set, size_t *n)
{
	size_t at = q->bytes.len;

	buf_put(&q->bytes, set.p, set.n);
	*n = set.n;
	return at;
}

/* Its count is of what this query sees. */
static size_t
keep_series(struct query *q, struct attrs row, size_t *n)
{
	struct buf counted = BUF_INIT;
	struct attr a;
	size_t at;

	if (!q->c.see_rejected || !attrs_get(row, TAG_POOR, &a))
		return keep(q, row, n);
	buf_put(&counted, row.p, row.n);
	attrs_set_number(&counted, TAG_SERIES_INSTANCES, query_instances(q, row, KEY_SERIES));
	at = keep(q, attrs_of(&counted), n);
	q->bytes.failed = q->bytes.failed || buf_failed(&counted);
	buf_fini(&counted);
	return at;
}

static struct match *
add_match(struct query *q, struct attrs study, struct attrs series, struct attrs instance)
{
	struct match *m = &q->page[q->n_page++];

	memset(m, 0, sizeof(*m));
	m->study = keep(q, study, &m->study_n);
	m->series = keep_series(q, series, &m->series_n);
	m->moves = q->moves;
	m->minutes = q->moves ? q->zone - q->row_zone : 0;
	m->instance = keep(q, instance, &m->instance_n);
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
	if (v->current && version_seen(v, w->q->c.see_rejected) &&
	    (!w->series || strcmp(w->series, v->series) == 0) && availability(w->q, v) > w->worst)
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

/* One study of the Patient ID goes to the person whom it does not contradict (R33). */
static int
count_study(struct query *q, struct store_tx *tx, const char *study, struct err *e)
{
	enum query_availability worst;
	struct persons_one *one;
	struct attrs row;
	bool wanted = false;
	int64_t first = 0;
	int rc = index_study_row(tx, study, &row, e);

	if (rc || query_instances(q, row, KEY_STUDY) == 0) /* known by its record only */
		return rc == ERR_ABSENT ? 0 : rc;
	rc = store_study_first(tx, study, &first, e);
	if (rc && rc != ERR_ABSENT)
		return rc;
	query_enter(q, row);
	rc = query_seen_study(q, tx, study, &row, e);
	if (rc)
		return rc;
	one = persons_join(&q->persons, study, row);
	if (!one)
		return err_set(e, ERR_LOCAL, 0, "no memory for a patient");
	patient_add(&one->patient, row, first);
	one->studies++;
	one->series += query_series(q, row);
	one->instances += query_instances(q, row, KEY_STUDY);
	rc = worst_of(q, tx, study, NULL, &worst, e);
	if (!rc && worst > one->worst)
		one->worst = worst;
	if (!rc && (!q->c.relational || query_row_matches(q, row, KEY_STUDY, KEY_STUDY)))
		rc = query_below_matches(q, tx, study, NULL, &wanted, e);
	one->wanted = one->wanted || wanted;
	return rc;
}

/* Matched and answered by what all studies say together. */
static int
give_person(struct query *q, const struct persons_one *one, struct err *e)
{
	static const struct attrs none = {NULL, 0};
	struct buf row = BUF_INIT;
	struct match *m;
	bool failed;

	patient_row(&row, &one->patient);
	failed = buf_failed(&row);
	query_enter(q, attrs_of(&row));
	if (!failed && query_row_matches(q, attrs_of(&row), KEY_PATIENT, KEY_PATIENT)) {
		m = add_match(q, attrs_of(&row), none, none);
		m->studies = one->studies;
		m->series_count = one->series;
		m->instances = one->instances;
		m->availability = (enum query_availability)one->worst;
	}
	buf_fini(&row);
	return failed ? err_set(e, ERR_LOCAL, 0, "no memory for a patient") : 0;
}

/* The persons of one Patient ID are counted: those who match. */
static int
give_persons(struct query *q, struct err *e)
{
	int rc = 0;

	while (!rc && q->giving && q->n_page < q->page_most) {
		const struct persons_one *one = q->giving;

		q->giving = one->next;
		if (one->wanted)
			rc = give_person(q, one, e);
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
	bool wanted;
	int rc = index_study_row(tx, study, &row, e);

	if (rc || query_instances(q, row, KEY_STUDY) == 0)
		return rc == ERR_ABSENT ? 0 : rc;
	query_enter(q, row);
	rc = query_seen_study(q, tx, study, &row, e);
	if (rc || !query_row_matches(q, row, KEY_PATIENT, KEY_STUDY))
		return rc;
	if (q->c.level == QUERY_STUDY) {
		rc = query_below_matches(q, tx, study, NULL, &wanted, e);
		if (rc || !wanted)
			return rc;
		m = add_match(q, row, none, none);
		rc = worst_of(q, tx, study, NULL, &m->availability, e);
		return rc || !q->wants_related ? rc : query_count_related(q, tx, study, m, e);
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
	bool wanted;
	int rc = index_study_row(tx, q->inner_study, &study, e);

	if (rc || n >= UID_SIZE)
		return rc;
	query_enter(q, study);
	rc = query_seen_study(q, tx, q->inner_study, &study, e);
	if (rc)
		return rc;
	memcpy(uid, from, n);
	uid[n] = '\0';
	if (q->c.level == QUERY_SERIES) {
		series = (struct attrs){v.p, v.n};
		if (query_instances(q, series, KEY_SERIES) == 0 ||
		    !query_row_matches(q, series, KEY_SERIES, KEY_SERIES))
			return 0;
		rc = query_below_matches(q, tx, q->inner_study, uid, &wanted, e);
		if (rc || !wanted)
			return rc;
		m = add_match(q, study, series, (struct attrs){NULL, 0});
		return worst_of(q, tx, q->inner_study, uid, &m->availability, e);
	}
	instance = (struct attrs){(const char *)v.p + 8, v.n - 8};
	if (!query_sees(q, instance))
		return 0;
	rc = index_series_row(tx, q->inner_study, uid, &series, e);
	if (rc || !query_row_matches(q, series, KEY_SERIES, KEY_SERIES) ||
	    !query_row_matches(q, instance, KEY_INSTANCE, KEY_INSTANCE))
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
			rc = query_candidate(q, tx, study, e);
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
	q->seen_of[0] = '\0';
	buf_clear(&q->bytes);
	rc = store_begin_read(&tx, q->s, e);
	if (rc)
		return rc;
	while (!rc && q->n_page < q->page_most && q->looks < PAGE_LOOKS &&
	       (q->inner_study[0] || q->giving || !q->exhausted)) {
		if (q->inner_study[0])
			rc = walk_inner(q, tx, e);
		else if (q->giving)
			rc = give_persons(q, e);
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
	out->moves = m->moves;
	out->minutes = m->minutes;
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
