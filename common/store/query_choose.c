/* Where a query's candidates come from: the index that narrows most. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/match.h"
#include "common/store/match_name.h"
#include "common/store/query_private.h"
#include "common/store/store.h"
#include "common/store/zone.h"

enum { NAME_PREFIX_MAX = 100, ZONE_DAYS = 2 };

bool
query_key(const struct query *q, uint32_t tag, struct attr *out)
{
	return attrs_get(attrs_of(&q->keys), tag, out) && !match_universal(out->value, out->n);
}

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

/* The ends of the scale are as wide as they can be. */
static bool
widen(char date[9], int days)
{
	return strcmp(date, days < 0 ? "00000000" : "99999999") == 0 || zone_day(date, days);
}

static void
by_dates(struct query *q, const struct attr *date, const struct attr *modality)
{
	char from[9], to[9];
	struct buf a = BUF_INIT, b = BUF_INIT;
	enum index_letter letter = modality ? INDEX_MODALITY : INDEX_DATE;

	if (!match_date_range(date->value, date->n, from, to))
		return;
	/* Rows are in zones of their own: a day and two hours apart at most. */
	if (q->zoned && (!widen(from, -ZONE_DAYS) || !widen(to, ZONE_DAYS)))
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
	size_t n = match_name_prefix(&q->c.names, name->value, name->n);
	bool use, filtered = name_filter_init(&q->filter, &q->c.names, name->value, name->n);

	if (n > NAME_PREFIX_MAX) /* whole characters: the keys are cut further on */
		for (n = NAME_PREFIX_MAX; n > 0 && (name->value[n] & 0xc0) == 0x80;)
			n--;
	index_fold(&prefix, name->value, n);
	/* Without a prefix a date narrows more; without that all names are looked at. */
	use = prefix.len > 0 || (filtered && !query_key(q, TAG_STUDY_DATE, &date));
	if (use)
		range(q, INDEX_NAME, (const char *)prefix.data, prefix.len,
		      (const char *)prefix.data, prefix.len);
	buf_fini(&prefix);
	return use;
}

void
query_choose(struct query *q)
{
	struct attr a, m;

	q->value_at = 1;
	q->source = FROM_NEWEST;
	if (q->c.level == QUERY_PATIENT) {
		q->source = FROM_LOOKUP;
		if (query_key(q, TAG_PATIENT_ID, &a) && !match_has_wildcard(a.value, a.n))
			exactly(q, INDEX_PATIENT_ID, &a);
		else
			range(q, INDEX_PATIENT_ID, "", 0, "", 0);
	} else if (query_key(q, TAG_STUDY_UID, &a)) {
		q->source = FROM_UIDS;
	} else if (query_key(q, TAG_PATIENT_ID, &a) && !match_has_wildcard(a.value, a.n)) {
		exactly(q, INDEX_PATIENT_ID, &a);
	} else if (query_key(q, TAG_OTHER_IDS, &a) && match_id_length(a.value, a.n) > 0 &&
		   !match_has_wildcard(a.value, a.n)) {
		a.n = match_id_length(a.value, a.n);
		exactly(q, INDEX_OTHER_ID, &a);
	} else if (query_key(q, TAG_ACCESSION, &a) && !match_has_wildcard(a.value, a.n)) {
		exactly(q, INDEX_ACCESSION, &a);
	} else if (query_key(q, TAG_PATIENT_NAME, &a) && by_name(q, &a)) {
		return;
	} else if (query_key(q, TAG_STUDY_DATE, &a)) {
		/* Those of what is rejected for quality are in no index. */
		bool one_modality = !q->c.see_rejected && query_key(q, TAG_MODALITIES, &m) &&
				    !match_has_wildcard(m.value, m.n) &&
				    !memchr(m.value, '\\', m.n);

		by_dates(q, &a, one_modality ? &m : NULL);
	}
}

int
query_candidate(struct query *q, struct store_tx *tx, const char *study, struct err *e)
{
	int64_t first = 0;
	int rc = store_study_first(tx, study, &first, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	order_add(&q->order, first, study);
	return q->order.failed ? err_set(e, ERR_LOCAL, 0, "no memory for candidates") : 0;
}

/* --- relational: studies by what lies in them --- */

static int
of_instance(struct query *q, struct store_tx *tx, const char *uid, struct err *e)
{
	struct version v;
	int rc = store_current(tx, uid, &v, e);

	if (rc || !v.study[0])
		return rc == ERR_ABSENT ? 0 : rc;
	return query_candidate(q, tx, v.study, e);
}

/* A series may (wrongly) lie in several studies: S uid | study. */
static int
of_series(struct query *q, struct store_tx *tx, const char *uid, struct err *e)
{
	struct buf prefix = BUF_INIT;
	char study[UID_SIZE];
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), store_table(q->s, "lookup"), e);

	if (rc)
		return rc;
	buf_put_u8(&prefix, INDEX_SERIES);
	buf_puts(&prefix, uid);
	buf_put_u8(&prefix, 0);
	rc = kv_cursor_seek(c, kv_slice(prefix.data, prefix.len), &k, &v, e);
	while (!rc && k.n > prefix.len && k.n - prefix.len < UID_SIZE &&
	       memcmp(k.p, prefix.data, prefix.len) == 0) {
		memcpy(study, (const char *)k.p + prefix.len, k.n - prefix.len);
		study[k.n - prefix.len] = '\0';
		rc = query_candidate(q, tx, study, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	buf_fini(&prefix);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* Each UID of the list in a transaction of its own: a list may be long. */
static int
of_list(struct query *q, struct attr list,
	int (*of)(struct query *q, struct store_tx *tx, const char *uid, struct err *e),
	struct err *e)
{
	char uid[UID_SIZE];
	int rc = 0;

	while (!rc && list.n > 0) {
		const char *bar = memchr(list.value, '\\', list.n);
		size_t n = bar ? (size_t)(bar - list.value) : list.n;

		if (n > 0 && n < UID_SIZE) {
			struct store_tx *tx = NULL;

			memcpy(uid, list.value, n);
			uid[n] = '\0';
			rc = store_begin_read(&tx, q->s, e);
			if (!rc)
				rc = of(q, tx, uid, e);
			store_end_read(tx);
		}
		list.value += bar ? n + 1 : n;
		list.n -= bar ? n + 1 : n;
	}
	return rc;
}

int
query_gather(struct query *q, struct err *e)
{
	struct attr list;
	int rc;

	if (!q->c.relational || q->c.level == QUERY_PATIENT || q->source == FROM_UIDS)
		return 0;
	if (query_key(q, TAG_SOP_INSTANCE, &list))
		rc = of_list(q, list, of_instance, e);
	else if (query_key(q, TAG_SERIES_UID, &list))
		rc = of_list(q, list, of_series, e);
	else
		return 0;
	q->source = FROM_ORDER;
	order_sort(&q->order);
	return rc;
}
