#include "common/dimse/retrieve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/dicom/keys.h"
#include "common/dimse/audit.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/negotiate.h"
#include "common/dimse/peers.h"
#include "common/dimse/recode.h"
#include "common/dimse/send.h"
#include "common/dimse/service.h"
#include "common/dimse/targets.h"
#include "common/os/file.h"
#include "common/store/store.h"

enum {
	IDENTIFIER_SECONDS = 60,
	PENDING_EVERY = 10,
	PENDING_MS = 1000,
	PDU = 131072,
	COUNTER_MAX = 65535, /* US */
	BROKEN_MAX = 3,	     /* associations in a row that carried nothing */
	PIECE = 262144	     /* of a recoded object */
};

/* What everybody can read, the better first (PS3.5 10.1). */
static const char *const plain[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"};

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
	unsigned broken; /* C-MOVE: associations in a row that carried nothing */
	int lost;	 /* C-MOVE: the asker's own association failed meanwhile */
	const char *destination;
	char why[MESSAGE_COMMENT_SIZE]; /* C-MOVE: what the destination lacks; "" if nothing */
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
	t->failed = true;
	r->failed++;
	if (r->failed_uids.len)
		buf_puts(&r->failed_uids, "\\");
	buf_puts(&r->failed_uids, t->sop_instance);
}

static unsigned
counter(unsigned n)
{
	return n < COUNTER_MAX ? n : COUNTER_MAX;
}

static int
tell(struct retrieving *r, unsigned status, struct err *e)
{
	struct buf identifier = BUF_INIT;
	struct message rsp;
	int rc;

	message_answer(&rsp, r->rq, status);
	rsp.has_counts = true;
	rsp.remaining = counter(remaining(r));
	rsp.completed = counter(r->completed);
	rsp.failed = counter(r->failed);
	rsp.warning = counter(r->warning);
	r->told_ms = clock_mono(r->c->clock);
	r->told_at = r->completed + r->failed + r->warning;
	if (status != STATUS_SUCCESS && status != STATUS_PENDING)
		memcpy(rsp.comment, r->why, sizeof(rsp.comment));
	if (status == STATUS_SUCCESS || status == STATUS_PENDING || !r->failed_uids.len)
		return message_send(r->who->assoc, &rsp, e);
	identifier_build_list(&identifier, r->syntax, TAG_FAILED_UIDS, &r->failed_uids);
	rc = buf_failed(&identifier) ? err_set(e, ERR_LOCAL, 0, "no memory for a list of UIDs")
				     : message_send_with(r->who->assoc, &rsp, &identifier, e);
	buf_fini(&identifier);
	return rc;
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
	return tell(r, STATUS_PENDING, e);
}

/* R36: a line for each study, also when nobody is left to hear the end. */
static void
audit(const struct retrieving *r, int rc)
{
	const char *end = rc ? "broken" : r->cancelled ? "cancelled" : "whole";
	size_t i = 0;

	do {
		const char *study = r->t.n ? r->t.all[i].study : "-";
		unsigned sent = 0, failed = 0;

		for (; i < r->t.n && strcmp(r->t.all[i].study, study) == 0; i++) {
			sent += r->t.all[i].done && !r->t.all[i].failed;
			failed += r->t.all[i].failed;
		}
		audit_line(r->who->config->audit, "retrieve",
			   "calling=%s called=%s address=%s destination=%s study=%s instances=%u "
			   "failed=%u end=%s",
			   r->who->calling, r->who->called, r->who->address, r->destination,
			   r->t.n ? uid_shown(study) : study, sent, failed, end);
	} while (i < r->t.n);
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
	return tell(r, status, e);
}

/* --- one object --- */

struct source {
	struct store_reader *reader;
	uint64_t skip; /* the canonical file's header */
	struct retrieving
		*waiting; /* C-MOVE: who hears of it while a long object goes; else NULL */
	int fd;		  /* -1, or the data set in another syntax, ... */
	uint64_t size;
	unsigned char *piece; /* ... which is read into here */
};

static int
read_source(void *arg, uint64_t offset, const void **p, size_t *n, struct err *e)
{
	struct source *s = arg;
	struct retrieving *r = s->waiting;

	if (r)
		r->lost = tell_pending(r, e);
	if (r && r->lost)
		return r->lost;
	if (s->fd < 0)
		return store_read_some(s->reader, s->skip + offset, p, n, e);
	*p = s->piece;
	return file_read_at(s->fd, s->piece, PIECE, offset, n, e);
}

static void
close_source(struct source *s)
{
	store_read_close(s->reader);
	if (s->fd >= 0)
		file_close(s->fd);
	free(s->piece);
}

static int
open_source(struct retrieving *r, const struct target *t, struct source *s, struct err *e)
{
	unsigned char head[160];
	size_t got = 0;
	int rc = store_read_open(&s->reader, r->c->store, t->oid, e);

	if (rc)
		return rc;
	/* Before the first byte goes: half an object would cost the whole association. */
	rc = store_read_check(s->reader, e);
	if (!rc)
		rc = store_read(s->reader, 0, head, sizeof(head), &got, e);
	s->skip = rc ? 0 : send_dataset_offset(head, got);
	if (!rc && !s->skip)
		rc = err_set(e, ERR_PEER, 0, "an opaque object");
	s->size = rc ? 0 : store_read_version(s->reader)->size - s->skip;
	return rc;
}

/* While a worker is busy with an object of ours. */
static int
meanwhile(void *arg, struct err *e)
{
	struct retrieving *r = arg;

	r->lost = tell_pending(r, e);
	return r->lost ? r->lost : r->cancelled ? ERR_AGAIN : 0;
}

/* The receiver does not take the stored syntax: a worker makes another of it. */
static int
open_recoded(struct retrieving *r, const struct target *t, const char *syntax, struct source *s,
	     struct err *e)
{
	int rc = open_source(r, t, s, e);

	if (rc || !syntax)
		return rc;
	s->piece = malloc(PIECE);
	if (!s->piece)
		return err_set(e, ERR_LOCAL, 0, "no memory for a piece");
	rc = recode_run(r->c->recode, s->reader, syntax, meanwhile, r, &s->fd, &s->size, e);
	if (rc && !r->lost && !r->cancelled)
		log_line(LOG_WARN, "retrieve.recode", "study=%s oid=%llu from=%s to=%s what=\"%s\"",
			 uid_shown(t->study), (unsigned long long)t->oid, uid_shown(t->syntax),
			 syntax, e->what);
	return rc;
}

/* The context that takes it as it is stored, else one of the plain syntaxes (*recode_to). */
static unsigned char
choose_context(const struct retrieving *r, struct assoc *to, const struct target *t, bool get,
	       const char **recode_to)
{
	unsigned char context = send_context(to, t->sop_class, t->syntax, get);
	size_t i;

	*recode_to = NULL;
	for (i = 0; !context && r->c->recode && i < sizeof(plain) / sizeof(plain[0]); i++) {
		context = send_context(to, t->sop_class, plain[i], get);
		*recode_to = context ? plain[i] : NULL;
	}
	return context;
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

/* Whoever keeps the books of what is durable hears of it: the copy may be had elsewhere. */
static void
not_readable(struct retrieving *r, const struct target *t, int rc, const struct err *why)
{
	if (rc != ERR_CORRUPT)
		return; /* not being able to look says nothing of the copy (R23) */
	log_line(LOG_ERROR, "retrieve.damaged", "study=%s oid=%llu what=\"%s\"",
		 uid_shown(t->study), (unsigned long long)t->oid, why->what);
	if (r->c->damaged)
		r->c->damaged(r->c->arg, t->oid);
}

/* An error means that this association cannot go on; the target is counted. */
static int
send_target(struct retrieving *r, struct assoc *to, bool get, struct target *t, struct err *e)
{
	const char *recode_to;
	unsigned char context = choose_context(r, to, t, get, &recode_to);
	struct send_object o;
	struct send_answer answer;
	struct source s = {.waiting = get ? NULL : r, .fd = -1};
	struct err why = ERR_INIT;
	int rc;

	rc = t->here && context ? open_recoded(r, t, recode_to, &s, &why) : ERR_ABSENT;
	if (rc) {
		if (t->here && context)
			not_readable(r, t, rc, &why);
		close_source(&s);
		if (r->lost)
			*e = why;
		else if (!r->cancelled)
			note_failed(r, t);
		return r->lost;
	}
	/* While this one is sent, the disk reads the next. */
	if (t + 1 < r->t.all + r->t.n && t[1].here)
		store_read_expect(r->c->store, t[1].oid);
	memset(&o, 0, sizeof(o));
	o.sop_class = t->sop_class;
	o.sop_instance = t->sop_instance;
	o.originator = get ? "" : r->who->calling;
	o.originator_id = r->rq->id;
	o.size = s.size;
	o.read = read_source;
	o.arg = &s;
	r->next_id = r->next_id % 65535 + 1;
	rc = send_object(to, context, r->next_id, r->rq->id, &o, r->c->seconds, &answer, e);
	close_source(&s);
	if (rc) {
		note_failed(r, t);
		return rc;
	}
	if (get && answer.cancelled)
		r->cancelled = true;
	r->broken = 0;
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
	return rc;
}

/* --- C-MOVE --- */

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

static void
add_proposal(struct proposals *p, const char *sop_class, const char *syntax)
{
	unsigned j = p->n;

	if (j >= ASSOC_CONTEXTS_MAX || has_proposal(p, sop_class, syntax))
		return;
	p->syntaxes[j] = syntax;
	p->p[j] = (struct assoc_proposal){sop_class, &p->syntaxes[j], 1, ASSOC_ROLE_DEFAULT};
	p->n++;
}

/*
 * One context per class and stored syntax of targets that are not done, 128 at
 * most; where there is room, each class in the plain syntaxes too (PS3.5 10.1).
 */
static void
propose(struct retrieving *r, struct proposals *out)
{
	unsigned i, stored;
	size_t at, j;

	out->n = 0;
	for (at = 0; at < r->t.n && out->n < ASSOC_CONTEXTS_MAX; at++) {
		const struct target *t = &r->t.all[at];

		if (!t->done && t->here && strlen(t->sop_class) <= UID_MAX &&
		    strlen(t->syntax) <= UID_MAX)
			add_proposal(out, t->sop_class, t->syntax);
	}
	stored = out->n;
	for (j = 0; j < sizeof(plain) / sizeof(plain[0]); j++)
		for (i = 0; i < stored; i++)
			add_proposal(out, out->p[i].abstract_syntax, plain[j]);
}

static bool
proposed(const struct proposals *p, const struct target *t)
{
	return has_proposal(p, t->sop_class, t->syntax);
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
			r->broken++; /* the rest goes on a new association */
			if (r->lost)
				*e = why;
			return r->lost ? r->lost : tell_pending(r, e);
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

/* A destination that is silent must not keep the node from stopping. */
static void
connected(void *arg, int fd)
{
	dimse_sub(((struct retrieving *)arg)->who, fd);
}

static int
move_all(struct retrieving *r, const struct peer *peer, struct err *e)
{
	struct assoc_target to = {.port = peer->port,
				  .calling = r->who->called, /* R30 */
				  .called = peer->aet,
				  .max_pdu = PDU,
				  .seconds = r->c->seconds,
				  .connected = connected,
				  .arg = r};
	struct proposals *p = malloc(sizeof(*p));
	struct err why = ERR_INIT;
	char host[PEER_ADDRESS_SIZE];
	struct assoc *a;
	int rc = 0;

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for a retrieve");
	to.host = peers_host(r->who->peers, peer, host) ? host : NULL;
	propose(r, p);
	while (!rc && p->n > 0 && !r->cancelled && r->broken < BROKEN_MAX) {
		err_clear(&why);
		a = NULL;
		if (!to.host || assoc_request(&a, &to, p->p, p->n, &why)) {
			log_line(LOG_WARN, "move.unreachable", "peer=%s what=\"%s\"", peer->name,
				 to.host ? why.what : "its host name is not resolved yet");
			(void)snprintf(r->why, sizeof(r->why), "%.16s %s; see the log", peer->aet,
				       to.host ? "cannot be reached, or refuses"
					       : "has no address yet");
			fail_rest(r, p);
		} else {
			rc = move_some(r, a, p, e);
		}
		dimse_sub(r->who, -1);
		assoc_free(a);
		propose(r, p);
	}
	free(p);
	if (!rc && !r->cancelled)
		fail_rest(r, NULL); /* R20: what is not here, or could not be brought there */
	return rc;
}

/* --- both --- */

static int
refuse(struct retrieving *r, unsigned status, const char *comment, struct err *e)
{
	struct message rsp;

	message_answer(&rsp, r->rq, status);
	rsp.offending = r->t.offending;
	(void)snprintf(rsp.comment, sizeof(rsp.comment), "%s", comment);
	audit_line(r->who->config->audit, "refused",
		   "what=%s status=%04x calling=%s called=%s address=%s",
		   r->rq->command == MESSAGE_GET_RQ ? "get" : "move", status, r->who->calling,
		   r->who->called, r->who->address);
	return message_send(r->who->assoc, &rsp, e);
}

static int
serve(struct retrieving *r, bool get, struct attrs keys, const struct targets_rules *rules,
      struct err *e)
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
	rc = targets_find(&r->t, r->c->store, rules, keys, &why);
	if (rc == ERR_PEER)
		return refuse(r, STATUS_IDENTIFIER_MISMATCH, why.what, e);
	if (rc) {
		log_err(LOG_ERROR, "retrieve", &why);
		return refuse(r, STATUS_PROCESSING_FAILURE, "", e);
	}
	r->told_ms = clock_mono(r->c->clock);
	rc = get ? get_all(r, e) : move_all(r, peer, e);
	audit(r, rc);
	if (!rc)
		rc = finish(r, e);
	targets_fini(&r->t);
	return rc;
}

static int
retrieve(const struct retrieve_config *c, const struct dimse_caller *who, const struct message *rq,
	 bool get, struct err *e)
{
	const struct assoc_context *context = assoc_accepted(who->assoc, rq->context);
	enum service_class service = service_of(context->abstract_syntax);
	struct targets_rules rules = {
		service_is_patient_root(service), service_is_patient_only(service),
		negotiated(who->assoc, context->abstract_syntax, NEGOTIATED_RELATIONAL)};
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
		rc = serve(&r, get, attrs_of(&id.keys), &rules, e);
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
