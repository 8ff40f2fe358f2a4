#include "common/dimse/retrieve_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/dicom/assoc.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"

enum {
	BROKEN_MAX = 3,	   /* associations in a row that carried nothing         */
	PAUSE_MAX = 5,	   /* seconds before a destination is called again       */
	EACH_AT_LEAST = 16 /* images that are worth an association more         */
};

struct proposals {
	struct assoc_proposal p[ASSOC_CONTEXTS_MAX];
	const char *syntaxes[ASSOC_CONTEXTS_MAX];
	unsigned n;
};

static bool
has_proposal(const struct proposals *p, const char *sop_class, const char *syntax)
{
	unsigned j;

	for (j = 0; j < p->n; j++)
		if (strcmp(p->p[j].abstract_syntax, sop_class) == 0 &&
		    strcmp(p->syntaxes[j], syntax) == 0)
			return true;
	return false;
}

static bool
add_proposal(struct proposals *p, const char *sop_class, const char *syntax)
{
	unsigned j = p->n;

	if (has_proposal(p, sop_class, syntax))
		return true;
	if (j >= ASSOC_CONTEXTS_MAX)
		return false;
	p->syntaxes[j] = syntax;
	p->p[j] = (struct assoc_proposal){sop_class, &p->syntaxes[j], 1, ASSOC_ROLE_DEFAULT};
	p->n++;
	return true;
}

/* In what it may be sent: as it is stored, compressed, plain (PS3.5 10.1). NULL: no more. */
static const char *
may_be_sent(const struct retrieving *r, const struct peer *peer, const struct target *t, unsigned i)
{
	bool compressed = retrieve_compresses(r, peer, t);

	if (i == 0)
		return t->syntax;
	if (i == 1 && compressed)
		return peer->compress;
	i -= compressed ? 2 : 1;
	return i < RETRIEVE_PLAIN ? retrieve_plain[i] : NULL;
}

/* All of a target's contexts or none: false, there is no room for them. */
static bool
add_target(struct proposals *p, const struct retrieving *r, const struct peer *peer,
	   const struct target *t)
{
	unsigned before = p->n, i;
	const char *syntax;

	for (i = 0; (syntax = may_be_sent(r, peer, t, i)) != NULL; i++)
		if (!add_proposal(p, t->sop_class, syntax)) {
			p->n = before;
			return false;
		}
	return true;
}

/* Of the targets that are not done, as many as 128 contexts are enough for: the rest goes on a
 * later association. */
static void
propose(struct retrieving *r, const struct peer *peer, struct proposals *out)
{
	bool room = true;
	size_t at;

	out->n = 0;
	pthread_mutex_lock(&r->mu);
	for (at = 0; room && at < r->t.n; at++) {
		const struct target *t = &r->t.all[at];

		if (!t->done && !t->taken && t->here && strlen(t->sop_class) <= UID_MAX &&
		    strlen(t->syntax) <= UID_MAX)
			room = add_target(out, r, peer, t);
	}
	pthread_mutex_unlock(&r->mu);
}

static bool
proposed(const struct proposals *p, const struct target *t)
{
	return has_proposal(p, t->sop_class, t->syntax);
}

/* One that carries, and its thread. */
struct mover {
	struct carrier c;
	unsigned at; /* which socket of ours                                */
	pthread_t thread;
	bool started, refused; /* refused: the destination could not be called */
	unsigned unanswered;   /* calls in a row that came to nothing          */
	struct proposals p;
};

/* The next one that was proposed and that nobody has; what failed goes on a later association. */
static struct target *
take_next(struct mover *m, size_t *from)
{
	struct retrieving *r = m->c.r;
	struct target *found = NULL;

	pthread_mutex_lock(&r->mu);
	for (; !found && *from < r->t.n; ++*from) {
		struct target *t = &r->t.all[*from];

		if (!t->done && !t->taken && t->failed_on < m->c.serial && t->here &&
		    proposed(&m->p, t))
			found = t;
	}
	if (found)
		found->taken = true;
	pthread_mutex_unlock(&r->mu);
	return found;
}

static int
tell(struct mover *m, struct err *e)
{
	return m->c.helper ? 0 : retrieve_tell_pending(m->c.r, e);
}

static bool
stopped(const struct retrieving *r)
{
	return r->cancelled || r->over;
}

/* Sends what was proposed on one sub-association. */
static int
move_some(struct mover *m, struct err *e)
{
	struct retrieving *r = m->c.r;
	struct err why = ERR_INIT;
	struct target *t;
	size_t from = 0;
	int rc = 0;

	while (!rc && !stopped(r) && (t = take_next(m, &from)) != NULL) {
		if (retrieve_send(&m->c, t, &why)) {
			log_err(LOG_INFO, "move.broken", &why);
			assoc_abort(m->c.to);
			m->c.broken++; /* the rest goes on a new association */
			if (r->lost && !m->c.helper)
				*e = why;
			return m->c.helper ? 0 : r->lost ? r->lost : tell(m, e);
		}
		rc = tell(m, e);
	}
	assoc_release(m->c.to);
	return rc;
}

/* Nobody brings these there; only: of what was proposed. */
static void
fail_rest(struct retrieving *r, const struct proposals *only)
{
	size_t i;

	for (i = 0; i < r->t.n; i++) {
		struct target *t = &r->t.all[i];
		bool mine;

		pthread_mutex_lock(&r->mu);
		mine = !t->done && !t->taken && (!only || proposed(only, t));
		t->taken = t->taken || mine;
		t->later = t->later || (mine && t->here);
		pthread_mutex_unlock(&r->mu);
		if (mine)
			retrieve_fail(r, t);
	}
}

/* A destination that is silent must not keep the node from stopping. */
static void
connected(void *arg, int fd)
{
	const struct mover *m = arg;
	const struct retrieving *r = m->c.r;

	if (r->socket)
		r->socket(r->arg, m->at, fd);
	else
		dimse_sub(r->who, m->at, fd);
}

/* One that just starts, or has no room, may take the next call: the asker waits, and hears. */
static int
wait_to_call(struct mover *m, struct err *e)
{
	struct retrieving *r = m->c.r;
	struct timespec until;
	unsigned i;
	int rc = 0;

	for (i = 0; !rc && !stopped(r) && i < m->unanswered && i < PAUSE_MAX; i++) {
		clock_deadline(&until, 1000);
		pthread_mutex_lock(&r->mu);
		while (pthread_cond_timedwait(&r->ended, &r->mu, &until) == 0)
			;
		pthread_mutex_unlock(&r->mu);
		rc = tell(m, e);
	}
	return rc;
}

static bool
is_helped(struct retrieving *r)
{
	bool yes;

	pthread_mutex_lock(&r->mu);
	yes = r->helping > 0;
	pthread_mutex_unlock(&r->mu);
	return yes;
}

/* One association more than it takes is no failure of an image: those that stand go on. Whoever
 * rejects for good, or is not who it must be, is not asked again. */
static int
unreachable(struct mover *m, int why, const char *what, struct err *e)
{
	struct retrieving *r = m->c.r;
	bool fewer = m->c.helper || is_helped(r);
	bool again = !fewer && why != ERR_CONFLICT && m->unanswered < r->c->retries;

	log_line(fewer || again ? LOG_INFO : LOG_WARN,
		 fewer	 ? "move.fewer"
		 : again ? "move.again"
			 : "move.unreachable",
		 "peer=%s what=\"%s\"", m->c.peer->name, what);
	m->refused = fewer;
	m->unanswered++;
	if (again)
		return wait_to_call(m, e);
	if (fewer)
		return 0;
	pthread_mutex_lock(&r->mu);
	(void)snprintf(r->why, sizeof(r->why), "%.16s %s; see the log", m->c.peer->aet,
		       why == ERR_ABSENT ? "has no address yet" : "cannot be reached, or refuses");
	pthread_mutex_unlock(&r->mu);
	fail_rest(r, &m->p);
	m->unanswered = 0;
	return 0;
}

static unsigned
next_serial(struct retrieving *r)
{
	unsigned n;

	pthread_mutex_lock(&r->mu);
	n = ++r->serial;
	pthread_mutex_unlock(&r->mu);
	return n;
}

/* What was proposed, on an association of its own. */
static int
carry_some(struct mover *m, struct assoc_target *to, struct err *e)
{
	struct retrieving *r = m->c.r;
	struct err why = ERR_INIT;
	char host[PEER_ADDRESS_SIZE];
	int rc;

	m->c.to = NULL;
	m->c.serial = next_serial(r);
	to->host = host;
	rc = peers_host(r->who->peers, m->c.peer, host)
		     ? assoc_request(&m->c.to, to, m->p.p, m->p.n, &why)
		     : err_set(&why, ERR_ABSENT, 0, "its host name is not resolved yet");
	if (rc) {
		connected(m, -1);
		return unreachable(m, rc, why.what, e);
	}
	m->unanswered = 0;
	rc = move_some(m, e);
	connected(m, -1);
	assoc_free(m->c.to);
	return rc;
}

static int
carry(struct mover *m, struct err *e)
{
	struct retrieving *r = m->c.r;
	struct assoc_target to = {.port = m->c.peer->port,
				  .calling = r->who->called, /* R30 */
				  .called = m->c.peer->aet,
				  .max_pdu = r->who->config->max_pdu,
				  .seconds = r->c->seconds,
				  .connected = connected,
				  .arg = m};
	int rc = 0;

	peers_secure(r->who->peers, m->c.peer, &to);
	propose(r, m->c.peer, &m->p);
	while (!rc && m->p.n > 0 && !stopped(r) && m->c.broken < BROKEN_MAX && !m->refused) {
		rc = carry_some(m, &to, e);
		propose(r, m->c.peer, &m->p);
	}
	retrieve_forget(&m->c);
	return rc;
}

/* --- several associations at once --- */

static void *
help(void *arg)
{
	struct mover *m = arg;
	struct retrieving *r = m->c.r;

	(void)carry(m, NULL);
	pthread_mutex_lock(&r->mu);
	r->helping--;
	(void)pthread_cond_signal(&r->ended);
	pthread_mutex_unlock(&r->mu);
	return NULL;
}

/* A large retrieve goes over several; what cannot be started is done by the others. */
static void
start_helpers(struct retrieving *r, const struct peer *peer, struct mover *all, unsigned n)
{
	unsigned i;

	for (i = 1; i < n; i++) {
		all[i].c = (struct carrier){.r = r, .peer = peer, .helper = true};
		all[i].at = i;
		pthread_mutex_lock(&r->mu);
		all[i].started = pthread_create(&all[i].thread, NULL, help, &all[i]) == 0;
		r->helping += all[i].started;
		pthread_mutex_unlock(&r->mu);
	}
}

/* The asker hears of what the others do. */
static int
wait_for_helpers(struct retrieving *r, struct mover *all, unsigned n, int rc, struct err *e)
{
	struct timespec until;
	unsigned i, helping = 1;

	while (helping) {
		r->over = r->over || rc;
		clock_deadline(&until, 1000);
		pthread_mutex_lock(&r->mu);
		if (r->helping)
			(void)pthread_cond_timedwait(&r->ended, &r->mu, &until);
		helping = r->helping;
		pthread_mutex_unlock(&r->mu);
		if (!rc && helping) {
			rc = retrieve_tell_pending(r, e);
			r->lost = rc;
		}
	}
	for (i = 1; i < n; i++)
		if (all[i].started)
			(void)pthread_join(all[i].thread, NULL);
	return rc;
}

static unsigned
how_many(const struct retrieving *r, const struct peer *peer)
{
	unsigned n = 1;

	while (n < peer->move_associations && n < DIMSE_SUBS &&
	       r->t.n >= (size_t)EACH_AT_LEAST * (n + 1))
		n++;
	return n;
}

int
move_all(struct retrieving *r, const struct peer *peer, struct err *e)
{
	unsigned n = how_many(r, peer);
	struct mover *all = calloc(n, sizeof(*all));
	int rc;

	if (!all)
		return err_set(e, ERR_LOCAL, 0, "no memory for a retrieve");
	all[0].c.r = r;
	all[0].c.peer = peer;
	start_helpers(r, peer, all, n);
	rc = carry(&all[0], e);
	if (n > 1)
		rc = wait_for_helpers(r, all, n, rc, e);
	all[0].refused = false;
	all[0].unanswered = 0;
	if (!rc && n > 1) /* what a helper could not bring there */
		rc = carry(&all[0], e);
	free(all);
	if (!rc && !r->cancelled)
		fail_rest(r, NULL); /* R20: what is not here, or could not be brought there */
	return rc;
}
