#include "common/store/persons.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/store.h"

enum { PAGE = 256 };

static bool
says_the_same(struct attrs a, struct attrs b, uint32_t tag)
{
	struct attr x = {tag, "", 0}, y = {tag, "", 0};

	(void)attrs_get(a, tag, &x);
	(void)attrs_get(b, tag, &y);
	return x.n == y.n && memcmp(x.value, y.value, x.n) == 0;
}

/* Digits and letters alone: "1970.01.02" is "19700102". */
static size_t
plain(struct attrs set, uint32_t tag, char *out, size_t size)
{
	struct attr a;
	size_t i, n = 0;

	if (!attrs_get(set, tag, &a))
		return 0;
	for (i = 0; i < a.n && n < size; i++)
		if ((a.value[i] >= '0' && a.value[i] <= '9') ||
		    (a.value[i] >= 'A' && a.value[i] <= 'Z'))
			out[n++] = a.value[i];
	return n;
}

static size_t
contradict(struct attrs a, struct attrs b, uint32_t tags[PERSONS_TAGS])
{
	static const uint32_t both[PERSONS_TAGS] = {TAG_BIRTH_DATE, TAG_SEX};
	char x[16], y[16];
	size_t i, n = 0;

	for (i = 0; i < PERSONS_TAGS; i++) {
		size_t xn = plain(a, both[i], x, sizeof(x)), yn = plain(b, both[i], y, sizeof(y));

		if (xn && yn && (xn != yn || memcmp(x, y, xn) != 0))
			tags[n++] = both[i];
	}
	return n;
}

static bool
one_number(struct attrs a, struct attrs b)
{
	return says_the_same(a, b, TAG_PATIENT_ID) && says_the_same(a, b, TAG_PATIENT_ISSUER);
}

static void
what_counts(struct buf *out, struct attrs row)
{
	static const uint32_t tags[] = {TAG_PATIENT_ID, TAG_PATIENT_ISSUER, TAG_BIRTH_DATE,
					TAG_SEX};
	struct attr a;
	size_t i;

	for (i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (attrs_get(row, tags[i], &a))
			attrs_put(out, a.tag, a.value, a.n);
}

static struct persons_one *
open_one(struct persons *p, const char *study, struct attrs row)
{
	struct persons_one *one = calloc(1, sizeof(*one)), **last = &p->all;

	if (!one)
		return NULL;
	what_counts(&one->says, row);
	strcpy(one->first, study);
	while (*last)
		last = &(*last)->next;
	*last = one;
	return one;
}

struct persons_one *
persons_join(struct persons *p, const char *study, struct attrs row)
{
	struct buf own = BUF_INIT, both = BUF_INIT;
	uint32_t tags[PERSONS_TAGS];
	struct persons_one *one;

	for (one = p->all; one; one = one->next)
		if (one_number(attrs_of(&one->says), row) &&
		    contradict(attrs_of(&one->says), row, tags) == 0)
			break;
	if (!one)
		return open_one(p, study, row);
	what_counts(&own, row);
	attrs_merge(&both, attrs_of(&one->says), attrs_of(&own));
	buf_fini(&own);
	buf_fini(&one->says);
	one->says = both;
	return one;
}

void
persons_fini(struct persons *p)
{
	struct persons_one *one;

	while ((one = p->all)) {
		p->all = one->next;
		buf_fini(&one->says);
		buf_fini(&one->patient);
		free(one);
	}
}

/* --- all contradictions --- */

struct walk {
	int (*fn)(void *arg, const struct persons_pair *pair, struct err *e);
	void *arg;
	struct buf last; /* the last key looked at       */
	struct buf id;	 /* of the run of keys under way */
	struct persons persons;
};

static int
look_at(struct walk *w, const char *study, struct attrs row, struct err *e)
{
	const struct persons_one *one = persons_join(&w->persons, study, row), *other;
	struct persons_pair pair;

	if (!one)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	if (strcmp(one->first, study) != 0)
		return 0;
	for (other = w->persons.all; other != one; other = other->next)
		if (one_number(attrs_of(&other->says), row))
			break;
	if (other == one)
		return 0;
	memset(&pair, 0, sizeof(pair));
	strcpy(pair.study, other->first);
	strcpy(pair.other, study);
	pair.n_tags = contradict(attrs_of(&other->says), row, pair.tags);
	return w->fn(w->arg, &pair, e);
}

static int
look_at_key(struct walk *w, struct store_tx *tx, struct kv_slice k, struct err *e)
{
	const char *p = k.p, *bar = memrchr(p, 0, k.n);
	char study[UID_SIZE];
	struct attrs row;
	size_t n;
	int rc;

	if (!bar || k.n - (size_t)(bar + 1 - p) >= sizeof(study))
		return 0;
	n = k.n - (size_t)(bar + 1 - p);
	memcpy(study, bar + 1, n);
	study[n] = '\0';
	n = (size_t)(bar - p);
	if (n <= 1) /* without an ID nobody can say whose it is */
		return 0;
	if (w->id.len != n || memcmp(w->id.data, p, n) != 0) {
		persons_fini(&w->persons);
		buf_clear(&w->id);
		buf_put(&w->id, p, n);
	}
	rc = index_study_row(tx, study, &row, e);
	return rc ? (rc == ERR_ABSENT ? 0 : rc) : look_at(w, study, row, e);
}

/* ERR_ABSENT at the end; else there is more behind w->last. */
static int
page(struct walk *w, struct store_tx *tx, struct err *e)
{
	static const char first = INDEX_PATIENT_ID;
	struct kv_cursor *c;
	struct kv_slice k, v;
	unsigned n;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), store_table(store_tx_store(tx), "lookup"), e);

	if (rc)
		return rc;
	rc = w->last.len ? kv_cursor_seek(c, kv_slice(w->last.data, w->last.len), &k, &v, e)
			 : kv_cursor_seek(c, kv_slice(&first, 1), &k, &v, e);
	if (!rc && w->last.len && k.n == w->last.len && memcmp(k.p, w->last.data, k.n) == 0)
		rc = kv_cursor_next(c, &k, &v, e);
	for (n = 0; !rc && n < PAGE; n++) {
		if (k.n < 1 || *(const char *)k.p != first) {
			rc = ERR_ABSENT;
			break;
		}
		buf_clear(&w->last);
		buf_put(&w->last, k.p, k.n);
		rc = look_at_key(w, tx, k, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc;
}

int
persons_contradictions(struct store *s,
		       int (*fn)(void *arg, const struct persons_pair *pair, struct err *e),
		       void *arg, struct err *e)
{
	struct walk w = {fn, arg, BUF_INIT, BUF_INIT, {NULL}};
	struct store_tx *tx;
	int rc;

	do { /* a read transaction lives for one page */
		rc = store_begin_read(&tx, s, e);
		if (rc)
			break;
		rc = page(&w, tx, e);
		store_end_read(tx);
	} while (!rc);
	persons_fini(&w.persons);
	buf_fini(&w.last);
	buf_fini(&w.id);
	return rc == ERR_ABSENT ? 0 : rc;
}
