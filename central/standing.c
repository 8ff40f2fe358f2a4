#include "central/standing.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "central/central.h"
#include "central/dispatch.h"
#include "central/members.h"
#include "central/record.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

static const struct id128 none;

int
standing_tell(struct central *c, const char *site, int standing, struct err *e)
{
	Sync__Order m = SYNC__ORDER__INIT;

	m.kind = SYNC__ORDER_KIND__ORDER_SITE;
	m.subject = message_text(site);
	m.standing = (Sync__Standing)standing;
	m.why = message_text("a person");
	return dispatch_give(c, &m, e);
}

int
standing_apply(struct store_tx *tx, const Sync__Order *m, const void *bytes, size_t n,
	       struct err *e)
{
	bool newer;
	int rc = withdrawn_take(tx, m, bytes, n, &none, &newer, e);

	return rc == ERR_PEER ? 0 : rc; /* a later central's, perhaps: the log keeps it */
}

bool
standing_may_come_back(const struct central *c, const Sync__Order *m)
{
	return m->kind == SYNC__ORDER_KIND__ORDER_SITE && member_name_valid(m->subject) &&
	       withdrawn_rank(m) < WITHDRAWN_RANK_MAX && dispatch_sealed(c, m);
}

struct looked {
	bool news;	 /* it is above what is known */
	int is, becomes; /* Sync__Standing of the site */
};

static int
look(struct central *c, const Sync__Order *m, struct looked *out, struct err *e)
{
	struct withdrawn said = {.rank = 0};
	struct member row = {.removed = false};
	struct store_tx *tx;
	int rc = record_read_locked(&tx, c, e);

	if (rc)
		return rc;
	rc = withdrawn_known(tx, m, &said, e);
	out->news = withdrawn_rank(m) > said.rank;
	if (!rc || rc == ERR_ABSENT)
		rc = standing_with(tx, m, &out->becomes, e);
	if (!rc)
		rc = member_get(tx, m->subject, &row, e);
	store_end_read(tx);
	out->is = row.removed	  ? SYNC__STANDING__STANDING_REMOVED
		  : row.suspended ? SYNC__STANDING__STANDING_SUSPENDED
				  : SYNC__STANDING__STANDING_MAY;
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
decide_locked(struct central *c, const char *site, Sync__DecisionKind kind, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;

	d.kind = kind;
	d.site = message_text(site);
	d.why = message_text("an edge gave it back");
	return record_decide_locked(c, &d, e);
}

/* The site table says what the edges remember. */
static int
become_locked(struct central *c, const char *site, const struct looked *l, struct err *e)
{
	int rc = 0;

	if (l->becomes == SYNC__STANDING__STANDING_REMOVED)
		return decide_locked(c, site, SYNC__DECISION_KIND__DECISION_SITE_REMOVE, e);
	if (l->is == SYNC__STANDING__STANDING_REMOVED || l->becomes == SYNC__STANDING__STANDING_MAY)
		rc = decide_locked(c, site, SYNC__DECISION_KIND__DECISION_SITE_READMIT, e);
	if (!rc && l->becomes == SYNC__STANDING__STANDING_SUSPENDED)
		rc = decide_locked(c, site, SYNC__DECISION_KIND__DECISION_SITE_SUSPEND, e);
	return rc;
}

/* The decision, then the order: a death between the two leaves it to be given back again. */
int
standing_take_back(struct central *c, const char *from, const Sync__Order *m, struct err *e)
{
	Sync__Order again = *m;
	struct looked l = {.news = false};
	bool changes;
	int rc;

	again.of = withdrawn_rank(m);
	(void)pthread_mutex_lock(&c->order);
	rc = look(c, m, &l, e);
	changes = !rc && l.news && l.is != l.becomes;
	if (changes)
		rc = become_locked(c, m->subject, &l, e);
	if (!rc && l.news)
		rc = dispatch_give_locked(c, &again, e);
	(void)pthread_mutex_unlock(&c->order);
	if (!rc && changes)
		record_turn(c);
	if (!rc && l.news)
		log_line(LOG_WARN, "site.back", "site=%s standing=%d from=%s", m->subject,
			 (int)m->standing, from);
	return rc;
}

/* Of one that has only ever joined: below all that a person says (R26). */
#define RANK_JOINED WITHDRAWN_LIFE

/* Edges keep who belongs to the archive, so that a central that burnt knows how many there are. */
static int
name_it(struct central *c, const char *site, struct err *e)
{
	Sync__Order m = SYNC__ORDER__INIT;
	struct looked l = {.news = false};
	int rc;

	m.kind = SYNC__ORDER_KIND__ORDER_SITE;
	m.subject = message_text(site);
	m.standing = SYNC__STANDING__STANDING_MAY;
	m.of = RANK_JOINED;
	m.why = message_text("it joined");
	(void)pthread_mutex_lock(&c->order);
	rc = look(c, &m, &l, e);
	if (!rc && l.news)
		rc = dispatch_give_locked(c, &m, e);
	(void)pthread_mutex_unlock(&c->order);
	return rc;
}

struct naming {
	struct store_tx *tx;
	const char *site;
	char name[SITE_SIZE]; /* of one that no edge has been told of */
	bool vouches;
};

static int
note_unnamed(void *arg, const struct member *m, struct err *e)
{
	struct withdrawn said;
	struct naming *n = arg;
	int rc;

	if (strcmp(m->site, n->site) == 0)
		n->vouches = m->vouches;
	if (!m->keyed || m->unvouched || m->removed || m->suspended || n->name[0])
		return 0;
	rc = standing_get(n->tx, m->site, &said, e);
	if (rc == ERR_ABSENT)
		(void)snprintf(n->name, sizeof(n->name), "%s", m->site);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
look_for_unnamed(struct central *c, struct naming *n, struct err *e)
{
	int rc = store_begin_read(&n->tx, c->store, e);

	n->name[0] = 0;
	if (rc)
		return rc;
	rc = member_each(n->tx, note_unnamed, n, e);
	store_end_read(n->tx);
	return rc;
}

int
standing_vouch(struct central *c, const char *site, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	struct naming n = {.site = site};
	char last[SITE_SIZE] = "";
	int rc;

	if (!c->identity.by_init) /* without certificates a name is enough (R24) */
		return 0;
	rc = look_for_unnamed(c, &n, e);
	if (!rc && !n.vouches) {
		d.kind = SYNC__DECISION_KIND__DECISION_SITE_VOUCHES;
		d.site = message_text(site);
		d.why = message_text("it told who may call");
		rc = record_decide(c, &d, e);
		if (!rc)
			log_line(LOG_INFO, "site.vouches", "site=%s", site);
		if (!rc)
			rc = look_for_unnamed(c, &n, e);
	}
	while (!rc && n.name[0] && strcmp(n.name, last) != 0) {
		memcpy(last, n.name, sizeof(last));
		rc = name_it(c, last, e);
		if (!rc)
			rc = look_for_unnamed(c, &n, e);
	}
	return rc;
}
