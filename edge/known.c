#include "edge/known.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/outbox.h"
#include "proto/ledger.h"

#define DUE "known" /* of the sync table */

enum { PAGE = 1000 };

int
known_due(struct store_tx *tx, struct err *err)
{
	return sync_set_number(tx, DUE, 1, err);
}

int
known_begin(struct known_work *w, struct edge *e, struct err *err)
{
	struct store_tx *tx;
	uint64_t due = 0;
	int rc = store_begin_read(&tx, e->store, err);

	if (!rc) {
		rc = sync_number(tx, DUE, &due, err);
		store_end_read(tx);
	}
	w->going = !rc && due;
	w->from = 0;
	return rc;
}

/* --- the study's record --- */

static int
is_first(void *arg, const struct version *v, struct err *err)
{
	(void)err;
	*(bool *)arg = v->seq == 0;
	return v->seq ? ERR_AGAIN : 0;
}

static int
append_study(struct store_tx *tx, const struct edge *e, const struct version *v, struct err *err)
{
	struct attrs row = {NULL, 0};
	struct buf record = BUF_INIT, entry = BUF_INIT;
	uint64_t seq;
	int rc;

	if (!v->study[0] || index_study_row(tx, v->study, &row, NULL))
		return 0;
	ledger_record(&record, row);
	ledger_study(&entry, v->study, attrs_of(&record), NULL, "", clock_wall(e->clock));
	rc = ledger_append(tx, &entry, &seq, err);
	buf_fini(&record);
	buf_fini(&entry);
	return rc;
}

int
known_study(struct store_tx *tx, const struct edge *e, const struct version *v, struct err *err)
{
	bool first = true;
	int rc = store_versions_of_study(tx, v->study, 0, is_first, &first, err);

	if (rc == ERR_AGAIN)
		rc = 0;
	return rc || !first ? rc : append_study(tx, e, v, err);
}

/* --- entries --- */

struct page {
	const struct edge *e;
	uint64_t oids[PAGE];
	size_t n, seen;
	uint64_t from;
	bool more;
};

static bool
is_due(const struct edge *e, const struct version *v)
{
	return !v->seq && v->state != VERSION_HERE && strcmp(v->source.site, e->site) == 0;
}

static int
note_due(void *arg, const struct version *v, struct err *err)
{
	struct page *p = arg;

	(void)err;
	if (p->seen++ == PAGE)
		return ERR_AGAIN;
	p->from = v->oid + 1;
	if (is_due(p->e, v))
		p->oids[p->n++] = v->oid;
	return 0;
}

static int
enter(struct store_tx *tx, const struct edge *e, uint64_t oid, struct err *err)
{
	struct index_sets sets = {.series = {NULL, 0}};
	struct buf series = BUF_INIT, entry = BUF_INIT;
	struct version v;
	uint64_t seq;
	int rc = store_version(tx, oid, &v, err);

	if (rc || !is_due(e, &v)) /* it came meanwhile */
		return rc;
	rc = known_study(tx, e, &v, err);
	if (!rc && index_series_row(tx, v.study, v.series, &sets.series, NULL) == 0) {
		ledger_record(&series, sets.series); /* less what is counted */
		sets.series = attrs_of(&series);
	}
	if (!rc && index_instance_row(tx, &v, &sets.instance, NULL))
		sets.instance = (struct attrs){NULL, 0};
	ledger_known(&entry, &v, &sets, store_time(e->store) - v.first_ms, clock_wall(e->clock));
	if (!rc)
		rc = ledger_append(tx, &entry, &seq, err);
	buf_fini(&series);
	buf_fini(&entry);
	return rc ? rc : store_set_seq(tx, oid, seq, err);
}

static int
enter_page(struct store_tx *tx, void *arg, struct err *err)
{
	const struct page *p = arg;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < p->n; i++)
		rc = enter(tx, p->e, p->oids[i], err);
	return rc || p->more ? rc : sync_set_number(tx, DUE, 0, err);
}

static int
one_page(struct known_work *w, struct edge *e, struct err *err)
{
	struct page p = {.e = e, .from = w->from};
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, err);

	if (rc)
		return rc;
	rc = store_versions(tx, p.from, note_due, &p, err);
	store_end_read(tx);
	p.more = rc == ERR_AGAIN;
	if (rc && !p.more)
		return rc;
	rc = p.n || !p.more ? store_commit(e->store, enter_page, &p, err) : 0;
	if (rc)
		return rc;
	w->from = p.from;
	w->going = p.more;
	return 0;
}

int
known_page(struct known_work *w, struct edge *e, struct err *err)
{
	return w->going ? one_page(w, e, err) : 0;
}
