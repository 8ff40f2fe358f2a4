#include "common/dimse/retrieve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/keys.h"
#include "common/dimse/audit.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/negotiate.h"
#include "common/dimse/peers.h"
#include "common/dimse/send.h"
#include "common/dimse/service.h"
#include "common/dimse/targets.h"
#include "common/store/store.h"

enum { IDENTIFIER_SECONDS = 60, PENDING_EVERY = 10, PENDING_MS = 1000, PDU = 131072 };

struct retrieving {
	const struct retrieve_config *c;
	const struct dimse_caller *who;
	const struct message *rq;
	const char *syntax; /* of the request's context */
	struct targets t;
	unsigned completed, failed, warning;
	struct buf failed_uids;
	bool cancelled;
	int64_t told_ms; /* when the last pending answer went */
	unsigned told_at;
	unsigned next_id;
	const char *destination;
};

static unsigned
remaining(const struct retrieving *r)
{
	return (unsigned)r->t.n - r->completed - r->failed - r->warning;
}

static void
note_failed(struct retrieving *r, struct target *t)
{
	t->done = true;
	r->failed++;
	if (r->failed_uids.len)
		buf_puts(&r->failed_uids, "\\");
	buf_puts(&r->failed_uids, t->sop_instance);
}

static int
tell(struct retrieving *r, unsigned status, const char *comment, struct err *e)
{
	struct message rsp;

	message_answer(&rsp, r->rq, status);
	rsp.has_counts = true;
	rsp.remaining = remaining(r);
	rsp.completed = r->completed;
	rsp.failed = r->failed;
	rsp.warning = r->warning;
	(void)snprintf(rsp.comment, sizeof(rsp.comment), "%s", comment);
	r->told_ms = clock_mono(r->c->clock);
	r->told_at = r->completed + r->failed + r->warning;
	if (status != STATUS_SUCCESS && status != STATUS_PENDING && r->failed_uids.len) {
		struct buf set = BUF_INIT, identifier = BUF_INIT;
		size_t n = r->failed_uids.len < 65534 ? r->failed_uids.len : 65534;
		int rc;

		/* Longer than an index value may be: written as it is. */
		buf_put_u32(&set, TAG_FAILED_UIDS);
		buf_put_u16(&set, (unsigned)n);
		buf_put(&set, r->failed_uids.data, n);
		identifier_build(&identifier, r->syntax, attrs_of(&set));
		rc = message_send_with(r->who->assoc, &rsp, &identifier, e);
		buf_fini(&set);
		buf_fini(&identifier);
		return rc;
	}
	return message_send(r->who->assoc, &rsp, e);
}

/* Counters each second and every so many sub-operations; cancel is looked for as often. */
static int
tell_pending(struct retrieving *r, struct err *e)
{
	unsigned now = r->completed + r->failed + r->warning;
	int rc = message_cancelled(r->who->assoc, r->rq->id, &r->cancelled, e);

	if (rc || r->cancelled || remaining(r) == 0)
		return rc;
	if (now - r->told_at < PENDING_EVERY && clock_mono(r->c->clock) - r->told_ms < PENDING_MS)
		return 0;
	return tell(r, STATUS_PENDING, "", e);
}

/* R20: never silently partial. */
static int
finish(struct retrieving *r, struct err *e)
{
	unsigned status = STATUS_SUCCESS;

	if (r->cancelled)
		status = STATUS_CANCELED;
	else if (r->failed && r->completed + r->warning == 0)
		status = STATUS_SUBOPERATIONS_FAILED;
	else if (r->failed || r->warning)
		status = STATUS_WARNING_SUBOPERATIONS;
	audit_line(r->who->config->audit, "retrieve",
		   "calling=%s called=%s address=%s destination=%s study=%s instances=%u failed=%u",
		   r->who->calling, r->who->called, r->who->address, r->destination,
		   r->t.n ? r->t.all[0].study : "-", r->completed, r->failed);
	return tell(r, status, "", e);
}

/* --- one object --- */

struct source {
	struct store_reader *reader;
	uint64_t skip; /* the canonical file's header */
};

static int
read_source(void *arg, uint64_t offset, const void **p, size_t *n, struct err *e)
{
	struct source *s = arg;

	return store_read_some(s->reader, s->skip + offset, p, n, e);
}

static int
open_source(struct retrieving *r, const struct target *t, struct source *s, struct err *e)
{
	unsigned char head[160];
	size_t got = 0;
	int rc = store_read_open(&s->reader, r->c->store, t->oid, e);

	if (rc)
		return rc;
	rc = store_read(s->reader, 0, head, sizeof(head), &got, e);
	s->skip = rc ? 0 : send_dataset_offset(head, got);
	if (!rc && !s->skip)
		rc = err_set(e, ERR_ABSENT, 0, "an opaque object");
	if (rc)
		store_read_close(s->reader);
	return rc;
}

static void
count(struct retrieving *r, struct target *t, unsigned status)
{
	if (status == STATUS_SUCCESS) {
		r->completed++;
	} else if ((status & 0xf000) == 0xb000 || status == 0x0001 || status == 0x0107 ||
		   status == 0x0116) {
		r->warning++;
	} else {
		note_failed(r, t);
		return;
	}
	t->done = true;
	store_viewed(r->c->store, t->study); /* R11: only a viewer's retrieve counts */
}

/* An error means that this association cannot go on; the target is counted. */
static int
send_target(struct retrieving *r, struct assoc *to, bool get, struct target *t, struct err *e)
{
	unsigned char context = send_context(to, t->sop_class, t->syntax, get);
	struct send_object o;
	struct send_answer answer;
	struct source s;
	struct err why = ERR_INIT;
	int rc;

	if (!t->here || !context || open_source(r, t, &s, &why)) {
		if (why.code == ERR_CORRUPT)
			log_err(LOG_ERROR, "retrieve.damaged", &why);
		note_failed(r, t);
		return 0;
	}
	memset(&o, 0, sizeof(o));
	o.sop_class = t->sop_class;
	o.sop_instance = t->sop_instance;
	o.originator = get ? "" : r->who->calling;
	o.originator_id = r->rq->id;
	o.size = store_read_version(s.reader)->size - s.skip;
	o.read = read_source;
	o.arg = &s;
	r->next_id = r->next_id % 65535 + 1;
	rc = send_object(to, context, r->next_id, r->rq->id, &o, r->c->seconds, &answer, e);
	store_read_close(s.reader);
	if (rc) {
		note_failed(r, t);
		return rc;
	}
	if (get && answer.cancelled)
		r->cancelled = true;
	count(r, t, answer.status);
	return 0;
}

/* --- C-GET --- */

static int
get_all(struct retrieving *r, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < r->t.n && !r->cancelled; i++) {
		rc = send_target(r, r->who->assoc, true, &r->t.all[i], e);
		if (!rc && !r->cancelled)
			rc = tell_pending(r, e);
	}
	return rc ? rc : finish(r, e);
}

/* --- C-MOVE --- */

struct proposals {
	struct assoc_proposal p[ASSOC_CONTEXTS_MAX];
	const char *syntaxes[ASSOC_CONTEXTS_MAX];
	unsigned n;
};

/* One context per class and stored syntax, of targets that are not done; 128 at most. */
static void
propose(struct retrieving *r, struct proposals *out)
{
	size_t i;
	unsigned j;

	out->n = 0;
	for (i = 0; i < r->t.n && out->n < ASSOC_CONTEXTS_MAX; i++) {
		const struct target *t = &r->t.all[i];

		if (t->done || !t->here || strlen(t->sop_class) > UID_MAX ||
		    strlen(t->syntax) > UID_MAX)
			continue;
		for (j = 0; j < out->n; j++)
			if (strcmp(out->p[j].abstract_syntax, t->sop_class) == 0 &&
			    strcmp(out->syntaxes[j], t->syntax) == 0)
				break;
		if (j < out->n)
			continue;
		out->syntaxes[j] = t->syntax;
		out->p[j].abstract_syntax = t->sop_class;
		out->p[j].syntaxes = &out->syntaxes[j];
		out->p[j].n_syntaxes = 1;
		out->p[j].role = ASSOC_ROLE_DEFAULT;
		out->n++;
	}
}

static bool
proposed(const struct proposals *p, const struct target *t)
{
	unsigned j;

	for (j = 0; j < p->n; j++)
		if (strcmp(p->p[j].abstract_syntax, t->sop_class) == 0 &&
		    strcmp(p->syntaxes[j], t->syntax) == 0)
			return true;
	return false;
}

/* Sends what was proposed on one sub-association. */
static int
move_some(struct retrieving *r, struct assoc *to, const struct proposals *p, struct err *e)
{
	struct err why = ERR_INIT;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < r->t.n && !r->cancelled; i++) {
		struct target *t = &r->t.all[i];

		if (t->done || !t->here || !proposed(p, t))
			continue;
		if (send_target(r, to, false, t, &why)) {
			log_err(LOG_INFO, "move.broken", &why);
			assoc_abort(to);
			return tell_pending(r, e); /* the rest goes on a new association */
		}
		rc = tell_pending(r, e);
	}
	assoc_release(to);
	return rc;
}

static void
fail_rest(struct retrieving *r, const struct proposals *only)
{
	size_t i;

	for (i = 0; i < r->t.n; i++)
		if (!r->t.all[i].done && (!only || proposed(only, &r->t.all[i])))
			note_failed(r, &r->t.all[i]);
}

static int
move_all(struct retrieving *r, const struct peer *peer, struct err *e)
{
	struct assoc_target to = {NULL, peer->port, r->who->called, peer->aet, PDU, r->c->seconds};
	struct proposals *p = malloc(sizeof(*p));
	struct err why = ERR_INIT;
	char host[PEER_ADDRESS_SIZE];
	struct assoc *a;
	int rc = 0;

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for a retrieve");
	to.host = peers_host(r->who->peers, peer, host) ? host : NULL;
	propose(r, p);
	while (!rc && p->n > 0 && !r->cancelled) {
		err_clear(&why);
		a = NULL;
		if (!to.host || assoc_request(&a, &to, p->p, p->n, &why)) {
			log_line(LOG_WARN, "move.unreachable", "peer=%s what=\"%s\"", peer->name,
				 to.host ? why.what : "its host name is not resolved yet");
			fail_rest(r, p);
		} else {
			rc = move_some(r, a, p, e);
			assoc_free(a);
		}
		propose(r, p);
	}
	free(p);
	if (rc)
		return rc;
	if (!r->cancelled)
		fail_rest(r, NULL); /* R20: what is not here */
	return finish(r, e);
}

/* --- both --- */

static int
refuse(struct retrieving *r, unsigned status, const char *comment, struct err *e)
{
	struct message rsp;

	message_answer(&rsp, r->rq, status);
	(void)snprintf(rsp.comment, sizeof(rsp.comment), "%s", comment);
	return message_send(r->who->assoc, &rsp, e);
}

static int
serve(struct retrieving *r, bool get, struct attrs keys, bool patient_root, struct err *e)
{
	struct err why = ERR_INIT;
	const struct peer *peer = NULL;
	int rc;

	if (!get) {
		peer = peers_destination(r->who->peers, r->rq->destination, r->who->address);
		r->destination = r->rq->destination;
		if (!peer)
			return refuse(r, STATUS_DESTINATION_UNKNOWN, "", e);
	}
	rc = targets_find(&r->t, r->c->store, patient_root, keys, &why);
	if (rc == ERR_PEER)
		return refuse(r, STATUS_IDENTIFIER_MISMATCH, why.what, e);
	if (rc) {
		log_err(LOG_ERROR, "retrieve", &why);
		return refuse(r, STATUS_PROCESSING_FAILURE, "", e);
	}
	r->told_ms = clock_mono(r->c->clock);
	rc = get ? get_all(r, e) : move_all(r, peer, e);
	targets_fini(&r->t);
	return rc;
}

static int
retrieve(const struct retrieve_config *c, const struct dimse_caller *who, const struct message *rq,
	 bool get, struct err *e)
{
	const struct assoc_context *context = assoc_accepted(who->assoc, rq->context);
	enum service_class service = service_of(context->abstract_syntax);
	struct retrieving r;
	struct identifier id;
	struct buf bytes = BUF_INIT;
	struct err why = ERR_INIT;
	int rc;

	memset(&r, 0, sizeof(r));
	r.c = c;
	r.who = who;
	r.rq = rq;
	r.syntax = context->syntax;
	r.destination = who->calling;
	rc = message_receive_identifier(who->assoc, rq, IDENTIFIER_SECONDS, &bytes, e);
	if (!rc && identifier_parse(&id, r.syntax, bytes.data, bytes.len, &why)) {
		rc = refuse(&r, STATUS_CANNOT_UNDERSTAND, why.what, e);
	} else if (!rc) {
		rc = serve(&r, get, attrs_of(&id.keys),
			   service == SERVICE_MOVE_PATIENT || service == SERVICE_GET_PATIENT, e);
		identifier_fini(&id);
	}
	buf_fini(&bytes);
	buf_fini(&r.failed_uids);
	return rc;
}

int
retrieve_get(const struct retrieve_config *c, const struct dimse_caller *who,
	     const struct message *rq, struct err *e)
{
	return retrieve(c, who, rq, true, e);
}

int
retrieve_move(const struct retrieve_config *c, const struct dimse_caller *who,
	      const struct message *rq, struct err *e)
{
	return retrieve(c, who, rq, false, e);
}
