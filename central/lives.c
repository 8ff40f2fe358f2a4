#include "central/lives.h"

#include <stdio.h>
#include <string.h>

#include "central/catalogue.h"
#include "common/base/err.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

struct closing {
	struct store_tx *tx;
	const char *site;
	const struct id128 *but; /* not this one */
};

static int
close_one(void *arg, const struct site_row *row, struct err *e)
{
	struct closing *c = arg;
	struct site_row closed = *row;

	if (row->closed || strcmp(row->site, c->site) != 0 ||
	    (c->but && id128_same(c->but, &row->incarnation)))
		return 0;
	closed.closed = true;
	closed.knocked = false;
	closed.reopened_ms = 0;
	return site_put(c->tx, &closed, e);
}

/* R8: it goes on where it branched off, if that is known here; else it announces all. */
static int
branch_off(struct store_tx *tx, const Sync__LogDecision *m, struct site_row *row, struct err *e)
{
	unsigned char own[SHA256_SIZE], said[SHA256_SIZE];
	struct id128 previous;
	struct site_row from;
	int rc;

	if (!message_id(&previous, &m->previous_incarnation) ||
	    !message_digest(said, &m->last_common_hash))
		return 0;
	rc = site_get(tx, &previous, &from, e);
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (strcmp(from.site, row->site) != 0)
		return 0;
	row->drains = from.drains; /* a copy of one that was told to drain */
	if (m->last_common_seq > from.head.seq)
		return 0;
	rc = announced_hash(tx, &previous, m->last_common_seq, own, e);
	if (rc || memcmp(own, said, sizeof(own)) != 0)
		return rc == ERR_ABSENT ? 0 : rc;
	row->previous = previous;
	row->common = row->head.seq = m->last_common_seq;
	memcpy(row->head.hash, own, sizeof(own));
	return 0;
}

/* Its first hello; or it is not lost after all, and says so by calling. */
static int
open_one(struct store_tx *tx, const Sync__LogDecision *m, const struct id128 *incarnation,
	 struct err *e)
{
	struct site_row row;
	int rc = site_get(tx, incarnation, &row, e);

	if (rc == ERR_ABSENT) {
		memset(&row, 0, sizeof(row));
		(void)snprintf(row.site, sizeof(row.site), "%s", m->site);
		row.incarnation = *incarnation;
		row.opened_ms = row.contact_ms = m->wall_ms;
		rc = branch_off(tx, m, &row, e);
	} else if (rc || !row.closed) {
		return rc;
	} else {
		row.closed = row.knocked = false;
		row.reopened_ms = m->wall_ms;
	}
	return rc ? rc : site_put(tx, &row, e);
}

struct keeping {
	struct store_tx *tx;
	const char *site;
	const struct id128 *kept;
};

/* R8: of a site's copies one is the site's, the others drain. */
static int
keep_one(void *arg, const struct site_row *row, struct err *e)
{
	struct keeping *k = arg;
	struct site_row now = *row;

	now.drains = !id128_same(k->kept, &row->incarnation);
	if (row->closed || strcmp(row->site, k->site) != 0 || now.drains == row->drains)
		return 0;
	return site_put(k->tx, &now, e);
}

bool
lives_changes(const Sync__LogDecision *m)
{
	return m->kind == SYNC__DECISION_KIND__DECISION_OPEN ||
	       m->kind == SYNC__DECISION_KIND__DECISION_CLOSE ||
	       m->kind == SYNC__DECISION_KIND__DECISION_SITE_REMOVE ||
	       m->kind == SYNC__DECISION_KIND__DECISION_TWIN;
}

int
lives_apply(struct store_tx *tx, const Sync__LogDecision *m, struct err *e)
{
	struct closing closing = {tx, m->site, NULL};
	struct id128 incarnation;
	struct keeping keeping = {tx, m->site, &incarnation};
	int rc = 0;

	(void)message_id(&incarnation, &m->incarnation);
	if (m->kind == SYNC__DECISION_KIND__DECISION_OPEN) {
		/* R18: a successor's first hello closes what came before it. */
		closing.but = &incarnation;
		rc = site_each(tx, close_one, &closing, e);
		if (!rc)
			rc = open_one(tx, m, &incarnation, e);
	} else if (m->kind == SYNC__DECISION_KIND__DECISION_CLOSE ||
		   m->kind == SYNC__DECISION_KIND__DECISION_SITE_REMOVE) {
		rc = site_each(tx, close_one, &closing, e);
	} else if (m->kind == SYNC__DECISION_KIND__DECISION_TWIN) {
		rc = open_one(tx, m, &incarnation, e); /* R8: beside the others */
	} else if (m->kind == SYNC__DECISION_KIND__DECISION_KEEP) {
		rc = site_each(tx, keep_one, &keeping, e);
	}
	return rc;
}
