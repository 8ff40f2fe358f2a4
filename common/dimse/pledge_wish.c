#include "common/dimse/pledge_wish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/attrs.h"
#include "common/dicom/keys.h"
#include "common/dimse/targets.h"
#include "common/store/store.h"

enum { ROW_BYTES = 768 }; /* what an image of a request takes of the cache */

/* --- which --- */

static int
add(struct pledge_wish *w, const struct target *t, struct err *e)
{
	struct pledge *p, *more;

	if (w->n == w->cap) {
		more = realloc(w->all, (w->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return err_set(e, ERR_LOCAL, 0, "no memory for a list of images");
		w->all = more;
		w->cap = w->cap * 2 + 64;
	}
	p = &w->all[w->n++];
	memset(p, 0, sizeof(*p));
	(void)snprintf(p->sop_class, sizeof(p->sop_class), "%s", t->sop_class);
	(void)snprintf(p->sop_instance, sizeof(p->sop_instance), "%s", t->sop_instance);
	p->oid = t->oid;
	p->state = t->here && t->sop_class[0] ? PLEDGE_OPEN : PLEDGE_NOT_SENT;
	return 0;
}

static int
add_level(struct pledge_wish *w, struct store *s, const char *level, uint32_t tag, const char *uid,
	  struct err *e)
{
	static const struct targets_rules rules = {.relational = true};
	struct buf keys = BUF_INIT;
	struct targets t;
	size_t i;
	int rc;

	if (tag < TAG_QUERY_LEVEL)
		attrs_put(&keys, tag, uid, strlen(uid));
	attrs_put(&keys, TAG_QUERY_LEVEL, level, strlen(level));
	if (tag > TAG_QUERY_LEVEL)
		attrs_put(&keys, tag, uid, strlen(uid));
	rc = buf_failed(&keys) ? err_set(e, ERR_LOCAL, 0, "no memory for a key")
			       : targets_find(&t, s, &rules, attrs_of(&keys), e);
	buf_fini(&keys);
	if (rc)
		return rc;
	for (i = 0; !rc && i < t.n; i++)
		rc = add(w, &t.all[i], e);
	targets_fini(&t);
	return rc;
}

int
pledge_wish_add(struct pledge_wish *w, struct store *s, const char *uid, struct err *e)
{
	static const struct {
		const char *level;
		uint32_t tag;
	} levels[] = {
		{"STUDY", TAG_STUDY_UID}, {"SERIES", TAG_SERIES_UID}, {"IMAGE", TAG_SOP_INSTANCE}};
	size_t i, before = w->n;
	int rc = 0;

	for (i = 0; !rc && w->n == before && i < sizeof(levels) / sizeof(levels[0]); i++)
		rc = add_level(w, s, levels[i].level, levels[i].tag, uid, e);
	if (!rc && w->n == before)
		rc = err_set(e, ERR_ABSENT, 0,
			     "%.64s: no study, series or image that is shown here", uid);
	return rc;
}

static int
by_uid(const void *a, const void *b)
{
	return strcmp(((const struct pledge *)a)->sop_instance,
		      ((const struct pledge *)b)->sop_instance);
}

/* The disk reads them in the order in which they came. */
static int
by_place(const void *a, const void *b)
{
	const struct pledge *x = a, *y = b;

	if (x->state != y->state)
		return x->state < y->state ? -1 : 1;
	return x->oid < y->oid ? -1 : x->oid > y->oid;
}

void
pledge_wish_sort(struct pledge_wish *w)
{
	size_t i, n = 0;

	qsort(w->all, w->n, sizeof(*w->all), by_uid);
	for (i = 0; i < w->n; i++)
		if (!n || by_uid(&w->all[n - 1], &w->all[i]) != 0)
			w->all[n++] = w->all[i];
	w->n = n;
	qsort(w->all, w->n, sizeof(*w->all), by_place);
	for (w->asked = 0; w->asked < w->n && w->all[w->asked].state == PLEDGE_OPEN; w->asked++)
		;
}

/* --- recorded --- */

struct recording {
	struct pledge_row row;
	const struct pledge *all;
	size_t n;
	size_t several;
	uint64_t bytes; /* that all of it takes; 0: there was room */
};

static int
count_version(void *arg, const struct version *v, struct err *e)
{
	unsigned *n = arg;

	(void)v;
	(void)e;
	return ++*n > 1 ? ERR_AGAIN : 0;
}

/* A commitment names UIDs: of these the archive may have another version. */
static int
count_several(struct store_tx *tx, struct recording *r, struct err *e)
{
	unsigned versions;
	size_t i;
	int rc = 0;

	r->several = 0;
	for (i = 0; !rc && i < r->n; i++) {
		versions = 0;
		rc = store_versions_of(tx, r->all[i].sop_instance, count_version, &versions, e);
		r->several += rc == ERR_AGAIN;
		rc = rc == ERR_AGAIN ? 0 : rc;
	}
	return rc;
}

static int
record(struct store_tx *tx, void *arg, struct err *e)
{
	struct recording *r = arg;
	struct pledge_row row = r->row; /* it may run twice */
	int rc = r->bytes ? store_admit(store_tx_store(tx), r->bytes, e) : 0;

	if (!rc)
		rc = count_several(tx, r, e);
	if (!rc)
		rc = pledges_add(tx, &row, r->all, r->n, e);
	if (!rc)
		r->row.number = row.number;
	return rc;
}

int
pledge_wish_record(struct pledge_wish *w, struct store *s, const struct pledge_order *o,
		   struct err *e)
{
	struct err why = ERR_INIT;
	struct recording r;
	size_t at;
	int rc = 0;

	w->requests = calloc(w->asked / o->most + 1, sizeof(*w->requests));
	if (!w->requests)
		return err_set(e, ERR_LOCAL, 0, "no memory for requests");
	for (at = 0; !rc && at < w->asked; at += r.n) {
		memset(&r, 0, sizeof(r));
		(void)snprintf(r.row.archive, sizeof(r.row.archive), "%s", o->archive);
		(void)snprintf(r.row.calling, sizeof(r.row.calling), "%s", o->calling);
		r.row.phase = o->send ? PLEDGE_SENDS : PLEDGE_ASKS;
		r.row.ends_ms = store_time(s) + o->wait_ms;
		r.row.half_s = (uint32_t)(o->wait_ms / 2000);
		r.all = w->all + at;
		r.bytes = at ? 0 : w->asked * (uint64_t)ROW_BYTES;
		r.n = w->asked - at < o->most ? w->asked - at : o->most;
		rc = store_commit(s, record, &r, &why);
		if (rc)
			break;
		w->requests[w->n_requests++] = r.row.number;
		w->several += r.several;
	}
	if (rc && w->n_requests)
		return err_set(e, (enum err_code)rc, why.sys,
			       "%.200s; the first %zu of %zu images are asked for all the same",
			       why.what, w->n_requests * o->most, w->asked);
	return rc ? err_set(e, (enum err_code)rc, why.sys, "%s", why.what) : 0;
}

void
pledge_wish_fini(struct pledge_wish *w)
{
	free(w->all);
	free(w->requests);
	memset(w, 0, sizeof(*w));
}
