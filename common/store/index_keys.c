#include "common/store/index_keys.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/match.h"
#include "common/store/store.h"

enum { KEY_PART_MAX = 120 };

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), "lookup");
}

/* Dates of old forms ("2026.01.02") sort with the others. */
static void
put_digits(struct buf *k, const char *s, size_t n)
{
	size_t i;

	for (i = 0; i < n && i < KEY_PART_MAX; i++)
		if (s[i] >= '0' && s[i] <= '9')
			buf_put(k, s + i, 1);
}

static void
lookup_key(struct buf *k, enum index_letter letter, const char *value, size_t n, const char *more,
	   size_t more_n, const char *study)
{
	buf_clear(k);
	buf_put_u8(k, letter);
	if (letter == INDEX_NAME)
		index_fold(k, value, n < KEY_PART_MAX ? n : KEY_PART_MAX);
	else if (letter == INDEX_DATE)
		put_digits(k, value, n);
	else
		buf_put(k, value, n < KEY_PART_MAX ? n : KEY_PART_MAX);
	buf_put_u8(k, 0);
	if (more) {
		put_digits(k, more, more_n);
		buf_put_u8(k, 0);
	}
	buf_puts(k, study);
}

void
index_keys_patient(struct buf *out, const struct attr *id)
{
	lookup_key(out, INDEX_PATIENT_ID, id->value, id->n, NULL, 0, "");
}

static int
change_lookup(struct store_tx *tx, bool add, const struct buf *k, struct err *e)
{
	struct kv_slice key = kv_slice(k->data, k->len);
	unsigned t = table(tx);
	int rc;

	if (buf_failed(k))
		return err_set(e, ERR_LOCAL, 0, "no memory for an index key");
	if (add)
		return kv_put(store_tx_kv(tx), t, key, kv_slice("", 0), e);
	rc = kv_del(store_tx_kv(tx), t, key, e);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* Each value of an attribute gets a key; of a name each component group. */
static int
value_lookups(struct store_tx *tx, bool add, enum index_letter letter, struct attr a,
	      const char *study, struct err *e)
{
	struct buf k = BUF_INIT;
	int rc = 0;

	while (!rc) {
		const char *bar =
			a.n ? memchr(a.value, letter == INDEX_NAME ? '=' : '\\', a.n) : NULL;
		size_t whole = bar ? (size_t)(bar - a.value) : a.n, n = whole;

		while (letter == INDEX_NAME && n > 0 && a.value[n - 1] == '^')
			n--;
		if (letter == INDEX_OTHER_ID)
			n = match_id_length(a.value, n);
		lookup_key(&k, letter, a.value, n, NULL, 0, study);
		if (n > 0)
			rc = change_lookup(tx, add, &k, e);
		if (!bar)
			break;
		a.value += whole + 1;
		a.n -= whole + 1;
	}
	buf_fini(&k);
	return rc;
}

static int
modality_lookups(struct store_tx *tx, bool add, struct attrs row, const char *study, struct err *e)
{
	struct attr m, d;
	struct buf k = BUF_INIT;
	int rc = 0;

	if (!attrs_get(row, TAG_MODALITIES, &m))
		return 0;
	if (!attrs_get(row, TAG_STUDY_DATE, &d))
		d = (struct attr){0, "", 0};
	while (!rc && m.n > 0) {
		const char *bar = memchr(m.value, '\\', m.n);
		size_t n = bar ? (size_t)(bar - m.value) : m.n;

		lookup_key(&k, INDEX_MODALITY, m.value, n, d.value, d.n, study);
		rc = change_lookup(tx, add, &k, e);
		m.value += bar ? n + 1 : n;
		m.n -= bar ? n + 1 : n;
	}
	buf_fini(&k);
	return rc;
}

int
index_keys_study(struct store_tx *tx, bool add, struct attrs row, const char *study, struct err *e)
{
	static const struct {
		uint32_t tag;
		enum index_letter letter;
	} by[] = {{TAG_PATIENT_ID, INDEX_PATIENT_ID},
		  {TAG_OTHER_IDS, INDEX_OTHER_ID},
		  {TAG_ACCESSION, INDEX_ACCESSION},
		  {TAG_STUDY_DATE, INDEX_DATE},
		  {TAG_PATIENT_NAME, INDEX_NAME}};
	struct buf k = BUF_INIT;
	struct attr a;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < sizeof(by) / sizeof(by[0]); i++)
		if (attrs_get(row, by[i].tag, &a))
			rc = value_lookups(tx, add, by[i].letter, a, study, e);
	/* A patient without an ID is one too: found by the empty one at PATIENT level. */
	if (!rc && (!attrs_get(row, TAG_PATIENT_ID, &a) || a.n == 0)) {
		lookup_key(&k, INDEX_PATIENT_ID, "", 0, NULL, 0, study);
		rc = change_lookup(tx, add, &k, e);
		buf_fini(&k);
	}
	return rc ? rc : modality_lookups(tx, add, row, study, e);
}

int
index_keys_series(struct store_tx *tx, const char *series, const char *study, struct err *e)
{
	struct buf k = BUF_INIT;
	int rc;

	lookup_key(&k, INDEX_SERIES, series, strlen(series), NULL, 0, study);
	rc = change_lookup(tx, true, &k, e);
	buf_fini(&k);
	return rc;
}

int
index_series_study(struct store_tx *tx, const char *series, char out[UID_SIZE], struct err *e)
{
	struct buf prefix = BUF_INIT;
	struct kv_cursor *c = NULL;
	struct kv_slice k;
	int rc;

	lookup_key(&prefix, INDEX_SERIES, series, strlen(series), NULL, 0, "");
	rc = buf_failed(&prefix) ? err_set(e, ERR_LOCAL, 0, "no memory for a key")
				 : kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);
	if (!rc)
		rc = kv_cursor_seek(c, kv_slice(prefix.data, prefix.len), &k, NULL, e);
	if (!rc && (k.n <= prefix.len || k.n - prefix.len >= UID_SIZE ||
		    memcmp(k.p, prefix.data, prefix.len) != 0))
		rc = ERR_ABSENT;
	if (!rc)
		(void)snprintf(out, UID_SIZE, "%.*s", (int)(k.n - prefix.len),
			       (const char *)k.p + prefix.len);
	kv_cursor_close(c);
	buf_fini(&prefix);
	return rc;
}
