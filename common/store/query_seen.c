/* What a query sees of a study that has images which were rejected for quality. */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/query_private.h"

static int
add_modality(struct query *q, struct store_tx *tx, struct kv_slice k, struct kv_slice v, bool *yes,
	     struct err *e)
{
	struct attrs series = {v.p, v.n};
	struct attr a;

	(void)tx;
	(void)k;
	(void)e;
	*yes = false; /* the next one, too */
	if (query_instances(q, series, KEY_SERIES) > 0 && attrs_get(series, TAG_MODALITY, &a))
		attrs_add_values(&q->seen, TAG_MODALITIES, a.value, a.n);
	return 0;
}

static int
add_class(struct query *q, struct store_tx *tx, struct kv_slice k, struct kv_slice v, bool *yes,
	  struct err *e)
{
	struct attr a;

	(void)tx;
	(void)k;
	(void)e;
	*yes = false;
	if (attrs_get((struct attrs){(const char *)v.p + 8, v.n - 8}, TAG_SOP_CLASS, &a))
		attrs_add_values(&q->seen, TAG_CLASSES, a.value, a.n);
	return 0;
}

static void
start(struct query *q, struct attrs row)
{
	struct tags poor = {.n = 0};

	tags_add(&poor, TAG_POOR);
	tags_add(&poor, TAG_POOR_SERIES);
	buf_clear(&q->seen);
	attrs_without(&q->seen, row, &poor);
	attrs_set_number(&q->seen, TAG_STUDY_INSTANCES, query_instances(q, row, KEY_STUDY));
	attrs_set_number(&q->seen, TAG_STUDY_SERIES, query_series(q, row));
}

int
query_seen_study(struct query *q, struct store_tx *tx, const char *study, struct attrs *row,
		 struct err *e)
{
	struct buf prefix = BUF_INIT;
	struct attr a;
	bool yes;
	int rc = 0;

	if (!q->c.see_rejected || !attrs_get(*row, TAG_POOR, &a))
		return 0;
	if (strcmp(q->seen_of, study) != 0) {
		start(q, *row);
		buf_puts(&prefix, study);
		buf_put_u8(&prefix, 0);
		if (q->wants_modalities)
			rc = query_any_row(q, tx, "series", &prefix, add_modality, &yes, e);
		if (!rc && q->wants_classes)
			rc = query_any_row(q, tx, "instance", &prefix, add_class, &yes, e);
		if (!rc && (buf_failed(&prefix) || buf_failed(&q->seen)))
			rc = err_set(e, ERR_LOCAL, 0, "no memory for a row");
		buf_fini(&prefix);
		strcpy(q->seen_of, rc ? "" : study);
	}
	*row = attrs_of(&q->seen);
	return rc;
}
