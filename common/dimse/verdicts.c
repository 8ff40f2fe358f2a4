#include "common/dimse/verdicts.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dimse/commitments.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/dimse/references.h"
#include "common/store/store.h"

#define WAIT_MS (12 * INT64_C(3600000)) /* of a peer whose section is gone */

/* What is known of one UID. */
struct looking {
	const struct verdicts *v;
	struct store_tx *tx;
	const char *sop_class;
	bool any, of_class, safe, here;
	unsigned char digest[SHA256_SIZE]; /* of the best one */
};

static int
look(void *arg, const struct version *v, struct err *e)
{
	struct looking *l = arg;
	bool safe, here = v->state == VERSION_HERE;

	(void)e;
	if (v->hidden & VERSION_KEPT_ONLY) /* who sent it was told that it was refused (R32) */
		return 0;
	l->any = true;
	if (strcmp(v->sop_class, l->sop_class) != 0)
		return 0;
	safe = !l->safe && l->v->safe(l->v->arg, l->tx, v);
	if (!l->of_class || safe || (here && !l->here && !l->safe))
		memcpy(l->digest, v->digest, SHA256_SIZE);
	l->of_class = true;
	l->safe = l->safe || safe;
	l->here = l->here || here;
	return 0;
}

enum said { SAID_NOTHING, SAID_SUCCESS, SAID_HERE_ONLY, SAID_FAILURE };

struct progress {
	const struct verdicts *v;
	uint64_t number;
	bool here_will_do;
	int64_t wait_ms;
	/* of a page */
	struct verdict_mark marks[VERDICTS_PAGE];
	size_t n;
	bool moved, ready;
	/* what was foretold of this page, in its order */
	unsigned char told[VERDICTS_PAGE][SHA256_SIZE];
	size_t n_told;
	bool dry; /* it is looked at for that */
};

static enum said
conclude(const struct progress *p, const struct looking *l, int64_t age, unsigned *reason)
{
	if (l->safe || (l->here && p->here_will_do))
		return SAID_SUCCESS;
	if (l->here && p->wait_ms != CONF_ENDLESS && age >= p->wait_ms)
		return SAID_HERE_ONLY;
	if (l->any && !l->of_class) {
		*reason = REASON_CLASS_INSTANCE_CONFLICT;
		return SAID_FAILURE;
	}
	if (!l->any && age >= VERDICTS_IMAGE_MS) {
		*reason = REASON_NO_SUCH_INSTANCE;
		return SAID_FAILURE;
	}
	if (l->any && !l->here && age >= VERDICTS_BYTES_MS) {
		*reason = REASON_PROCESSING_FAILURE;
		return SAID_FAILURE;
	}
	return SAID_NOTHING;
}

/* The next instance that is open. */
static int
judge(const struct progress *p, struct store_tx *tx, const struct commitment_row *row,
      struct reference *ref, struct looking *l, enum said *out, struct err *e)
{
	int64_t age = store_time(p->v->store) - row->asked_ms;
	int rc = commitments_instance(tx, row->number, row->decided, ref, e);

	memset(l, 0, sizeof(*l));
	l->v = p->v;
	l->tx = tx;
	l->sop_class = ref->sop_class;
	if (!rc)
		rc = store_versions_of(tx, ref->sop_instance, look, l, e);
	rc = rc == ERR_ABSENT ? 0 : rc;
	if (!rc)
		*out = conclude(p, l, age, &ref->reason);
	return rc;
}

static int
settle(struct progress *p, struct store_tx *tx, struct commitment_row *row,
       const struct reference *ref, const struct looking *l, enum said said, struct err *e)
{
	struct verdict_mark *m = &p->marks[p->n];
	int rc = 0;

	if (said == SAID_FAILURE) {
		if (!p->dry)
			rc = commitments_verdict(tx, row->number, row->decided, ref, e);
		row->failed++;
	} else {
		strcpy(m->sop_instance, ref->sop_instance);
		memcpy(m->digest, l->digest, SHA256_SIZE);
		m->here_only = said == SAID_HERE_ONLY;
		row->here_only += m->here_only;
		p->n++;
	}
	row->decided++;
	return rc;
}

/* What nobody foretold waits for the next page. */
static bool
unforetold(const struct progress *p, const struct looking *l, enum said said)
{
	return p->v->foretell && !p->dry && said && said != SAID_FAILURE &&
	       (p->n >= p->n_told || memcmp(p->told[p->n], l->digest, SHA256_SIZE) != 0);
}

static int
walk_page(struct progress *p, struct store_tx *tx, struct commitment_row *row, struct err *e)
{
	enum said said = SAID_SUCCESS;
	struct reference ref;
	struct looking l;
	unsigned i;
	int rc = 0;

	p->n = 0;
	p->moved = p->ready = false;
	for (i = 0; !rc && i < VERDICTS_PAGE && said && row->decided < row->n; i++) {
		rc = judge(p, tx, row, &ref, &l, &said, e);
		if (rc || unforetold(p, &l, said))
			break;
		if (said)
			rc = settle(p, tx, row, &ref, &l, said, e);
		p->moved = p->moved || said;
	}
	return rc;
}

static int
decide_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct progress *p = arg;
	struct commitment_row row;
	int rc = commitments_get(tx, p->number, &row, e);

	if (!rc)
		rc = walk_page(p, tx, &row, e);
	if (rc)
		return rc;
	p->ready = row.decided == row.n;
	if (p->ready && !row.ready_ms)
		row.ready_ms = commitments_time(p->v->store);
	else if (!p->moved)
		return 0;
	if (p->n && p->v->note)
		rc = p->v->note(p->v->arg, tx, p->marks, p->n, e);
	return rc ? rc : commitments_put(tx, &row, e);
}

static int
foretell(struct progress *p, struct err *e)
{
	struct commitment_row row;
	struct store_tx *tx;
	size_t i;
	int rc = p->v->foretell ? store_begin_read(&tx, p->v->store, e) : 0;

	if (rc || !p->v->foretell)
		return rc;
	p->dry = true;
	rc = commitments_get(tx, p->number, &row, e);
	if (!rc)
		rc = walk_page(p, tx, &row, e);
	store_end_read(tx);
	p->dry = false;
	for (i = 0; i < p->n; i++)
		memcpy(p->told[i], p->marks[i].digest, SHA256_SIZE);
	p->n_told = p->n;
	return rc || !p->n ? rc : p->v->foretell(p->v->arg, p->marks, p->n, e);
}

/* Cheap, for what waits for hours: is there anything to say of the next one? */
static int
anything(const struct progress *p, bool *yes, bool *ready, struct err *e)
{
	enum said said = SAID_NOTHING;
	struct commitment_row row;
	struct reference ref;
	struct store_tx *tx;
	struct looking l;
	int rc = store_begin_read(&tx, p->v->store, e);

	if (rc)
		return rc;
	rc = commitments_get(tx, p->number, &row, e);
	*ready = !rc && row.ready_ms;
	if (!rc && !*ready && row.decided < row.n)
		rc = judge(p, tx, &row, &ref, &l, &said, e);
	*yes = !rc && !*ready && (said || row.decided == row.n);
	store_end_read(tx);
	return rc;
}

int
verdicts_progress(const struct verdicts *v, const struct peer *peer, uint64_t number, bool *ready,
		  struct err *e)
{
	struct progress *p = calloc(1, sizeof(*p));
	bool more = true;
	int rc;

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for a request");
	p->v = v;
	p->number = number;
	p->here_will_do = peer && peer->commit_here;
	p->wait_ms = peer ? peer->commit_wait_ms : WAIT_MS;
	rc = anything(p, &more, ready, e);
	while (!rc && more) {
		rc = foretell(p, e);
		if (!rc)
			rc = store_commit(v->store, decide_page, p, e);
		more = !rc && p->moved && !p->ready;
		*ready = !rc && p->ready;
	}
	free(p);
	return rc;
}
