#include "common/dimse/pledge_supply.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dicom/assoc.h"
#include "common/dimse/audit.h"
#include "common/dimse/peers.h"
#include "common/dimse/pledge_lacks.h"
#include "common/dimse/pledges.h"
#include "common/dimse/retrieve_private.h"
#include "common/dimse/service.h"
#include "common/store/store.h"

static void
connected(void *arg, int fd)
{
	const struct pledge_supply *s = arg;

	s->socket(s->arg, 0, fd);
}

int
pledge_supply_target(const struct pledge_supply *s, struct assoc_target *out, char *host,
		     struct err *e)
{
	if (!peers_host(s->peers, s->archive, host))
		return err_set(e, ERR_AGAIN, 0, "its host name is not resolved yet");
	*out = (struct assoc_target){.host = host,
				     .port = s->archive->port,
				     .calling = s->calling,
				     .called = s->archive->aet,
				     .max_pdu = s->max_pdu,
				     .seconds = s->retrieve->seconds,
				     .connected = connected,
				     .arg = (void *)(uintptr_t)s};
	peers_secure(s->peers, s->archive, out);
	return 0;
}

/* Target by target in the order of the list; *which: whose they are. */
static int
find(struct targets *t, const struct pledge_supply *s, struct pledge *all, size_t n,
     struct pledge **which, struct err *e)
{
	size_t i, before;
	int rc = targets_begin(t, e);

	for (i = 0; !rc && i < n; i++) {
		if (all[i].state != PLEDGE_OPEN)
			continue;
		before = t->n;
		rc = targets_add(t, s->retrieve->store, all[i].sop_instance, e);
		if (!rc && t->n > before)
			which[before] = &all[i];
		else if (!rc)
			all[i].state = PLEDGE_NOT_SENT;
	}
	return rc;
}

/* What it has need not go there; but for another version than it was sent. */
static int
leave_out(const struct pledge_supply *s, struct targets *t, struct pledge **which, struct err *e)
{
	enum pledge_there *there = calloc(t->n ? t->n : 1, sizeof(*there));
	size_t i, n = 0;

	if (!there)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list of instances");
	pledge_lacks(s, t, there);
	for (i = 0; i < t->n; i++) {
		struct pledge *p = which[i];

		if (there[i] != PLEDGE_UNTOLD)
			p->sent = there[i] == PLEDGE_THERE && !(p->renewed && !p->sent);
		if (p->sent)
			continue;
		which[n] = p;
		t->all[n++] = t->all[i];
	}
	t->n = n;
	free(there);
	return 0;
}

static int
note(struct pledge_supply const *s, const struct retrieving *r, struct pledge **which,
     unsigned *later, struct err *e)
{
	unsigned sent = 0, failed = 0;
	struct store_tx *tx;
	size_t i;
	int rc = store_begin_read(&tx, s->retrieve->store, e);

	if (rc)
		return rc;
	for (i = 0; !rc && i < r->t.n; i++) {
		const struct target *t = &r->t.all[i];

		which[i]->sent = t->done && !t->failed;
		which[i]->renewed = which[i]->renewed && !which[i]->sent;
		if (which[i]->sent)
			rc = pledge_means(tx, which[i], t->oid, e);
		sent += which[i]->sent;
		if (which[i]->sent || !t->done || r->why[0])
			continue;
		failed++;
		if (t->later && s->patient)
			++*later;
		else
			which[i]->state = PLEDGE_NOT_SENT;
	}
	store_end_read(tx);
	audit_line(s->audit, "pledge.sent", "peer=%s instances=%u failed=%u", s->archive->name,
		   sent, failed);
	return rc;
}

int
pledge_supply(const struct pledge_supply *s, struct pledge *all, size_t n, unsigned *later,
	      struct err *e)
{
	const struct dimse_config config = {.max_pdu = s->max_pdu};
	struct dimse_caller nobody = {.config = &config,
				      .peer = s->archive,
				      .peers = s->peers,
				      .calling = "",
				      .called = s->calling};
	struct message rq = {.id = 0};
	struct retrieving r = {.c = s->retrieve,
			       .who = &nobody,
			       .rq = &rq,
			       .destination = s->archive->aet,
			       .go_on = s->go_on,
			       .socket = s->socket,
			       .arg = s->arg};
	struct pledge **which = calloc(n ? n : 1, sizeof(struct pledge *));
	int noted, rc = which ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for a list of instances");

	*later = 0;
	if (!rc)
		rc = find(&r.t, s, all, n, which, e);
	if (!rc)
		rc = leave_out(s, &r.t, which, e);
	(void)pthread_mutex_init(&r.mu, NULL);
	clock_cond(&r.ended);
	if (!rc && r.t.n) {
		rc = move_all(&r, s->archive, e);
		noted = note(s, &r, which, later, rc ? NULL : e);
		rc = rc ? rc : noted;
	}
	if (!rc && r.why[0])
		rc = err_set(e, ERR_AGAIN, 0, "%s", r.why);
	targets_fini(&r.t);
	buf_fini(&r.failed_uids);
	(void)pthread_cond_destroy(&r.ended);
	(void)pthread_mutex_destroy(&r.mu);
	free(which);
	return rc;
}
