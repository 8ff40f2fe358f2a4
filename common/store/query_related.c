/* PS3.4 table C.6-5: at STUDY level how much there is of the study's patient, in all studies. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/index_keys.h"
#include "common/store/query_private.h"
#include "common/store/store.h"

/* An ID of more is nobody's ("UNKNOWN"): each answer would cost a look at all of them (R34). */
enum { RELATED_MOST = 2000 };

struct counting {
	struct query *q;
	struct store_tx *tx;
	const char *study; /* whose patient it is */
	struct persons persons;
	const struct persons_one *mine;
	unsigned n;
};

static int
count_one(struct counting *c, const char *study, struct err *e)
{
	struct persons_one *one;
	struct attrs row;
	int rc = index_study_row(c->tx, study, &row, e);

	c->q->looks++;
	if (!rc && ++c->n > RELATED_MOST)
		return ERR_FULL;
	if (rc || query_instances(c->q, row, KEY_STUDY) == 0)
		return rc == ERR_ABSENT ? 0 : rc;
	one = persons_join(&c->persons, study, row);
	if (!one)
		return err_set(e, ERR_LOCAL, 0, "no memory for a patient");
	one->studies++;
	one->series += query_series(c->q, row);
	one->instances += query_instances(c->q, row, KEY_STUDY);
	if (strcmp(study, c->study) == 0)
		c->mine = one;
	return 0;
}

/* The studies of one patient ID lie together. */
static int
count_all(struct counting *c, const struct buf *prefix, struct err *e)
{
	struct kv_cursor *cursor;
	char study[UID_SIZE];
	struct kv_slice k, v;
	int rc = kv_cursor_open(&cursor, store_tx_kv(c->tx), store_table(c->q->s, "lookup"), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(cursor, kv_slice(prefix->data, prefix->len), &k, &v, e);
	while (!rc && k.n > prefix->len && k.n - prefix->len < UID_SIZE &&
	       memcmp(k.p, prefix->data, prefix->len) == 0) {
		memcpy(study, (const char *)k.p + prefix->len, k.n - prefix->len);
		study[k.n - prefix->len] = '\0';
		rc = count_one(c, study, e);
		if (!rc)
			rc = kv_cursor_next(cursor, &k, &v, e);
	}
	kv_cursor_close(cursor);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
query_count_related(struct query *q, struct store_tx *tx, const char *study, struct match *m,
		    struct err *e)
{
	struct counting c = {q, tx, study, {NULL}, NULL, 0};
	struct buf prefix = BUF_INIT;
	struct attr id;
	struct attrs row;
	int rc = index_study_row(tx, study, &row, e);

	if (rc)
		return rc;
	/* R33: without an ID nobody can say whose other studies are. */
	if (!attrs_get(row, TAG_PATIENT_ID, &id) || id.n == 0) {
		rc = count_one(&c, study, e);
	} else {
		index_keys_patient(&prefix, &id);
		rc = buf_failed(&prefix) ? err_set(e, ERR_LOCAL, 0, "no memory for a key")
					 : count_all(&c, &prefix, e);
	}
	if (rc == ERR_FULL) { /* not told then */
		c.mine = NULL;
		rc = 0;
	} else if (!rc && !c.mine) { /* its ID is no key as it stands */
		rc = count_one(&c, study, e);
	}
	if (!rc && c.mine) {
		m->studies = c.mine->studies;
		m->series_count = c.mine->series;
		m->instances = c.mine->instances;
	}
	persons_fini(&c.persons);
	buf_fini(&prefix);
	return rc;
}
