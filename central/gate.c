#include "central/gate.h"

#include <pthread.h>
#include <string.h>

#include "central/central.h"
#include "central/members.h"
#include "central/record.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/store/store.h"
#include "proto/message.h"

/* A certificate that ran out, or whose time has not come, cuts nobody off (R25). */
enum { LATE_RIGHTS = RIGHT_HELLO | RIGHT_LEDGER | RIGHT_RENEW };

static int
look_up(struct central *c, const char *site, struct member *out, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = member_get(tx, site, out, e);
	store_end_read(tx);
	return rc;
}

/*
 * With the operator's certificates whoever shows a valid one of its name is the site; the key of
 * the newest is remembered, so that it is known when that has run out (R25).
 */
static bool
is_newer(const struct central *c, const struct http_request *rq, const struct member *m)
{
	return !c->certificates && rq->certified && !rq->late && !m->removed && !m->suspended &&
	       (!m->keyed || rq->from_ms > m->from_ms);
}

/* R25: a site that an edge gave back as suspended, which was readmitted before it called. */
static bool
is_unmet(const struct central *c, const struct member *m)
{
	return c->certificates && !m->keyed && !m->coded && !m->removed && !m->suspended;
}

static bool
is_vouched(struct central *c, const char *site)
{
	struct store_tx *tx;
	bool yes = false;

	if (store_begin_read(&tx, c->store, NULL))
		return false;
	(void)member_vouched(tx, site, &yes, NULL);
	store_end_read(tx);
	return yes;
}

/*
 * R25: the CA signed it and the table does not know the site: this central came from the kit,
 * or was set back. The first key of the name is entered; a person sees it in `sites`. It may
 * have been removed (R26): until the others have told who was, it reads what it delivers.
 */
static int
enter(struct central *c, const struct http_request *rq, struct member *out, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	int rc;

	d.kind = SYNC__DECISION_KIND__DECISION_SITE_JOIN;
	d.site = message_text(rq->site);
	d.key = message_bytes(rq->key, HTTP_KEY_SIZE);
	d.why = message_text("its certificate");
	if (!c->certificates) {
		d.from_wall_ms = rq->from_ms;
		d.until_wall_ms = rq->until_ms;
		d.ca = message_bytes(rq->ca, HTTP_KEY_SIZE);
	}
	(void)pthread_mutex_lock(&c->order);
	rc = look_up(c, rq->site, out, e);
	if (rc == ERR_ABSENT || (!rc && (is_newer(c, rq, out) || is_unmet(c, out)))) {
		d.unvouched = rc ? !is_vouched(c, rq->site) : out->unvouched;
		rc = record_decide_locked(c, &d, e);
		if (!rc)
			log_line(LOG_WARN, "site.entered", "site=%s address=%s", rq->site,
				 rq->address);
		if (!rc)
			rc = look_up(c, rq->site, out, e);
	}
	(void)pthread_mutex_unlock(&c->order);
	return rc;
}

static bool
is_member(const struct central *c, const struct http_request *rq, const struct member *m,
	  const char **why)
{
	*why = m->removed ? "removed" : m->suspended ? "suspended" : NULL;
	if (!*why && c->certificates && !m->keyed)
		*why = "not joined";
	if (!*why && c->certificates && memcmp(m->key, rq->key, PKI_PRINT) != 0)
		*why = "another key";
	return !*why;
}

bool
gate_allowed(void *central, const struct http_request *rq, unsigned right, const char **why)
{
	struct central *c = central;
	struct err e = ERR_INIT;
	struct member m;
	int rc;

	right &= ~HTTP_OPEN;
	*why = "this central has no CA of its own";
	if (right == RIGHT_JOIN)
		return c->certificates != NULL;
	if (right == RIGHT_METRICS && !c->certificates && !rq->certified && !rq->site[0])
		return true; /* plain http: with [tls] the server lets nobody in without one */
	*why = "no certificate of this archive";
	if (!rq->site[0] || (c->certificates && !rq->certified))
		return false;
	*why = "this is no site's name";
	if (c->certificates && !member_name_valid(rq->site))
		return false;
	memset(&m, 0, sizeof(m));
	rc = look_up(c, rq->site, &m, &e);
	if ((rc == ERR_ABSENT && c->certificates) || (!rc && is_unmet(c, &m)) ||
	    ((!rc || rc == ERR_ABSENT) && is_newer(c, rq, &m)))
		rc = enter(c, rq, &m, &e);
	*why = "the site table cannot be read";
	if (rc && rc != ERR_ABSENT) {
		log_err(LOG_ERROR, "gate", &e);
		return false;
	}
	if (!rc && !is_member(c, rq, &m, why))
		return false;
	*why = "expired, and its key is not known here";
	if (rq->late && (rc || !m.keyed || memcmp(m.key, rq->key, PKI_PRINT) != 0))
		return false;
	*why = "expired: only hello, ledger and renew";
	return !rq->late || (right & LATE_RIGHTS) != 0;
}

int
gate_own_only(struct central *c, const char *site, Sync__OwnOnly *out, struct err *e)
{
	struct member m;
	int rc = look_up(c, site, &m, e);

	*out = rc || !(m.own || m.unvouched) ? SYNC__OWN_ONLY__OWN_ONLY_NO
	       : m.own			     ? SYNC__OWN_ONLY__OWN_ONLY_POLICY
					     : SYNC__OWN_ONLY__OWN_ONLY_DOUBT;
	return rc == ERR_ABSENT ? 0 : rc;
}

int
gate_reads_own_only(struct central *c, const char *site, bool *out, struct err *e)
{
	Sync__OwnOnly why;
	int rc = gate_own_only(c, site, &why, e);

	*out = why != SYNC__OWN_ONLY__OWN_ONLY_NO;
	return rc;
}
