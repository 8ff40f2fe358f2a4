#include "common/dimse/retrieve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
#include "common/dimse/retrieve_private.h"
#include "common/dimse/send.h"
#include "common/dimse/service.h"
#include "common/dimse/targets.h"
#include "common/os/file.h"
#include "common/store/read_on.h"
#include "common/store/store.h"

enum {
	IDENTIFIER_SECONDS = 60,
	PENDING_EVERY = 10,
	PENDING_MS = 1000,
	COUNTER_MAX = 65535, /* US */
	/* An object that is checked ahead: not long before the answer is read. A larger one is
	 * read by two threads. */
	AHEAD_MAX = 4 << 20,
	PIECE = 262144 /* of a recoded object */
};

const char *const retrieve_plain[RETRIEVE_PLAIN] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"};

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

void
retrieve_fail(struct retrieving *r, struct target *t)
{
	pthread_mutex_lock(&r->mu);
	note_failed(r, t);
	pthread_mutex_unlock(&r->mu);
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
	pthread_mutex_lock(&r->mu);
	rsp.has_counts = true;
	rsp.remaining = counter(remaining(r));
	rsp.completed = counter(r->completed);
	rsp.failed = counter(r->failed);
	rsp.warning = counter(r->warning);
	r->told_ms = clock_mono(r->c->clock);
	r->told_at = r->completed + r->failed + r->warning;
	if (status != STATUS_SUCCESS && status != STATUS_PENDING)
		memcpy(rsp.comment, r->why, sizeof(rsp.comment));
	pthread_mutex_unlock(&r->mu);
	if (status == STATUS_SUCCESS || status == STATUS_PENDING || !r->failed_uids.len)
		return message_send(r->who->assoc, &rsp, e);
	identifier_build_list(&identifier, r->syntax, TAG_FAILED_UIDS, &r->failed_uids);
	rc = buf_failed(&identifier) ? err_set(e, ERR_LOCAL, 0, "no memory for a list of UIDs")
				     : message_send_with(r->who->assoc, &rsp, &identifier, e);
	buf_fini(&identifier);
	return rc;
}

static unsigned
counted(struct retrieving *r, unsigned *left)
{
	unsigned n;

	pthread_mutex_lock(&r->mu);
	n = r->completed + r->failed + r->warning;
	*left = remaining(r);
	pthread_mutex_unlock(&r->mu);
	return n;
}

int
retrieve_tell_pending(struct retrieving *r, struct err *e)
{
	bool cancelled = r->cancelled;
	unsigned left, now;
	int rc;

	if (!r->who->assoc)
		return r->go_on(r->arg) ? 0 : err_set(e, ERR_AGAIN, 0, "the node stops");
	rc = message_cancelled(r->who->assoc, r->rq->id, &cancelled, e);
	r->cancelled = cancelled;
	now = counted(r, &left);
	if (rc || cancelled || left == 0)
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
	const struct target *of;
	struct store_reader *reader;
	struct read_on *on; /* has taken the reader of a large one */
	uint64_t skip;	    /* the canonical file's header */
	struct carrier *by;
	int fd; /* -1, or the data set in another syntax, ... */
	uint64_t size;
	unsigned char *piece; /* ... which is read into here */
};

/* Between two pieces: the asker of a C-MOVE hears of a long object. */
static int
meanwhile(void *arg, struct err *e)
{
	const struct carrier *c = arg;
	struct retrieving *r = c->r;

	if (c->helper)
		return r->over ? err_set(e, ERR_AGAIN, 0, "nobody waits for it any more") : 0;
	r->lost = retrieve_tell_pending(r, e);
	return r->lost;
}

/* The destination takes its time to answer. */
static int
while_waiting(void *arg, struct err *e)
{
	const struct source *s = arg;

	return meanwhile(s->by, e);
}

static int
read_source(void *arg, uint64_t offset, const void **p, size_t *n, struct err *e)
{
	struct source *s = arg;
	int rc = s->by->get ? 0 : meanwhile(s->by, e);

	if (rc)
		return rc;
	if (s->on)
		return read_on_some(s->on, s->skip + offset, p, n, e);
	if (s->fd < 0)
		return store_read_some(s->reader, s->skip + offset, p, n, e);
	*p = s->piece;
	return file_read_at(s->fd, s->piece, PIECE, offset, n, e);
}

static void
close_source(struct source *s)
{
	read_on_close(s->on);
	store_read_close(s->reader);
	if (s->fd >= 0)
		file_close(s->fd);
	free(s->piece);
}

void
retrieve_forget(struct carrier *c)
{
	store_read_close(c->ahead);
	c->ahead = NULL;
	c->ahead_of = NULL;
}

/*
 * The receiver takes in what was written: meanwhile the next one is read and checked. Not where
 * several associations share the work: another may take it.
 */
static void
look_ahead(void *arg)
{
	const struct source *s = arg;
	struct carrier *c = s->by;
	const struct target *next = s->of + 1;

	if (next == c->r->t.all + c->r->t.n || !next->here ||
	    (!c->get && c->peer->move_associations > 1))
		return;
	retrieve_forget(c);
	if (store_read_open(&c->ahead, c->r->c->store, next->oid, NULL))
		return; /* whoever sends it sees why */
	c->ahead_of = next;
	if (store_read_version(c->ahead)->size > AHEAD_MAX || store_read_check(c->ahead, NULL))
		retrieve_forget(c);
}

/* Before the first byte goes: half an object would cost the whole association. */
static int
open_checked(struct carrier *c, const struct target *t, struct source *s, struct err *e)
{
	int rc;

	if (c->ahead_of == t) {
		s->reader = c->ahead;
		c->ahead = NULL;
		c->ahead_of = NULL;
		return 0;
	}
	rc = store_read_open(&s->reader, c->r->c->store, t->oid, e);
	return rc ? rc : store_read_check(s->reader, e);
}

static int
open_source(struct carrier *c, const struct target *t, struct source *s, struct err *e)
{
	unsigned char head[160];
	size_t got = 0;
	int rc = open_checked(c, t, s, e);

	if (!rc)
		rc = store_read(s->reader, 0, head, sizeof(head), &got, e);
	s->skip = rc ? 0 : send_dataset_offset(head, got);
	if (!rc && !s->skip)
		rc = err_set(e, ERR_PEER, 0, "an opaque object");
	s->size = rc ? 0 : store_read_version(s->reader)->size - s->skip;
	return rc;
}

/* A large one, as it is stored. */
static int
read_on(struct carrier *c, struct source *s, struct err *e)
{
	struct store_reader *taken = s->reader;

	if (s->size <= AHEAD_MAX)
		return 0;
	s->reader = NULL;
	return read_on_open(&s->on, c->r->c->store, taken, e);
}

/* While a worker is busy with an object of ours. */
static int
while_recoding(void *arg, struct err *e)
{
	const struct carrier *c = arg;
	int rc = meanwhile(arg, e);

	return rc ? rc : c->r->cancelled ? ERR_AGAIN : 0;
}

/* The receiver does not take the stored syntax: a worker makes another of it. */
static int
open_recoded(struct carrier *c, const struct target *t, const char *syntax, struct source *s,
	     struct err *e)
{
	struct retrieving *r = c->r;
	int rc = open_source(c, t, s, e);

	if (rc || !syntax)
		return rc ? rc : read_on(c, s, e);
	s->piece = malloc(PIECE);
	if (!s->piece)
		return err_set(e, ERR_LOCAL, 0, "no memory for a piece");
	rc = recode_run(r->c->recode, s->reader, syntax, while_recoding, c, &s->fd, &s->size, e);
	if (rc == ERR_PEER && syntax == c->peer->compress)
		return rc; /* it is sent as it is */
	if (rc && !r->lost && !r->cancelled && !r->over)
		log_line(LOG_WARN, "retrieve.recode", "study=%s oid=%llu from=%s to=%s what=\"%s\"",
			 uid_shown(t->study), (unsigned long long)t->oid, uid_shown(t->syntax),
			 syntax, e->what);
	return rc;
}

bool
retrieve_compresses(const struct retrieving *r, const struct peer *peer, const struct target *t)
{
	return peer->compress && r->c->recode && t->image && negotiate_lossless(t->syntax) &&
	       strcmp(t->syntax, peer->compress) != 0;
}

/* For one who wants it compressed: in that syntax, where it takes it. */
static unsigned char
compressing_context(const struct carrier *c, const struct target *t, const char **recode_to)
{
	unsigned char context = 0;

	if (retrieve_compresses(c->r, c->peer, t))
		context = send_context(c->to, t->sop_class, c->peer->compress, c->get);
	*recode_to = context ? c->peer->compress : NULL;
	return context;
}

/* The context that takes it as it is stored, else one of the plain syntaxes (*recode_to). */
static unsigned char
choose_context(const struct carrier *c, const struct target *t, const char **recode_to)
{
	unsigned char context = send_context(c->to, t->sop_class, t->syntax, c->get);
	size_t i;

	*recode_to = NULL;
	for (i = 0; !context && c->r->c->recode && i < RETRIEVE_PLAIN; i++) {
		context = send_context(c->to, t->sop_class, retrieve_plain[i], c->get);
		*recode_to = context ? retrieve_plain[i] : NULL;
	}
	return context;
}

/* Another association, later, may well take what there is no room for now, or went wrong there. */
static const struct retrieve_status statuses[] = {
	{0x0000, 0x0000, RETRIEVE_STORED, "success"},
	{0x0001, 0x0001, RETRIEVE_WARNED, "requested optional attributes are not supported"},
	{0x0107, 0x0107, RETRIEVE_WARNED, "attribute list error"},
	{0x0110, 0x0110, RETRIEVE_AGAIN, "processing failure"},
	{0x0116, 0x0116, RETRIEVE_WARNED, "attribute value out of range"},
	{0xa700, 0xa7ff, RETRIEVE_AGAIN, "out of resources"},
	{0xb000, 0xbfff, RETRIEVE_WARNED, "coerced, discarded or odd"},
	{0x0000, 0xffff, RETRIEVE_FAILED, "any other"},
};

const struct retrieve_status *
retrieve_statuses(size_t *n)
{
	*n = sizeof(statuses) / sizeof(statuses[0]);
	return statuses;
}

static enum retrieve_outcome
outcome_of(unsigned status)
{
	const struct retrieve_status *s = statuses;

	while (s->outcome != RETRIEVE_FAILED && (status < s->first || status > s->last))
		s++;
	return s->outcome;
}

/* A sub-operation that failed is tried again, a few times and later (C-MOVE). */
static void
missed(struct carrier *c, struct target *t)
{
	struct retrieving *r = c->r;

	pthread_mutex_lock(&r->mu);
	if (c->get || t->tries >= r->c->retries)
		note_failed(r, t);
	else
		t->tries++;
	t->later = t->failed;
	t->failed_on = c->serial;
	t->taken = false;
	pthread_mutex_unlock(&r->mu);
}

static void
count(struct carrier *c, struct target *t, unsigned status)
{
	struct retrieving *r = c->r;
	enum retrieve_outcome outcome = outcome_of(status);

	if (outcome == RETRIEVE_AGAIN) {
		missed(c, t);
		return;
	}
	if (outcome == RETRIEVE_FAILED) {
		retrieve_fail(r, t);
		return;
	}
	pthread_mutex_lock(&r->mu);
	if (outcome == RETRIEVE_WARNED)
		r->warning++;
	else
		r->completed++;
	t->done = true;
	pthread_mutex_unlock(&r->mu);
	if (r->who->assoc)
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

/* The object cannot be had: that fails one sub-operation, and no other. */
static int
not_sent(struct carrier *c, struct target *t, bool wanted, int rc, const struct err *why,
	 struct err *e)
{
	struct retrieving *r = c->r;

	if (wanted)
		not_readable(r, t, rc, why);
	if (r->lost && !c->helper) {
		*e = *why;
		return r->lost;
	}
	if (!r->cancelled && !r->over)
		retrieve_fail(r, t);
	return 0;
}

/* The object in the syntax that suits best; *context 0: the receiver takes none that we have. */
static int
open_best(struct carrier *c, const struct target *t, struct source *s, unsigned char *context,
	  struct err *e)
{
	const char *recode_to;
	int rc;

	*context = compressing_context(c, t, &recode_to);
	if (t->here && *context) {
		rc = open_recoded(c, t, recode_to, s, e);
		if (rc != ERR_PEER || c->r->lost)
			return rc;
		close_source(s); /* not to be compressed, for whatever reason */
		*s = (struct source){.of = t, .by = c, .fd = -1};
		if (e)
			err_clear(e);
	}
	*context = choose_context(c, t, &recode_to);
	return t->here && *context ? open_recoded(c, t, recode_to, s, e) : ERR_ABSENT;
}

int
retrieve_send(struct carrier *c, struct target *t, struct err *e)
{
	struct retrieving *r = c->r;
	unsigned char context;
	struct send_object o;
	struct send_answer answer;
	struct source s = {.of = t, .by = c, .fd = -1};
	struct err why = ERR_INIT;
	int rc = open_best(c, t, &s, &context, &why);

	if (rc) {
		close_source(&s);
		return not_sent(c, t, t->here && context, rc, &why, e);
	}
	/* While this one is sent, the disk reads the next. */
	if (t + 1 < r->t.all + r->t.n && t[1].here)
		store_read_expect(r->c->store, t[1].oid);
	memset(&o, 0, sizeof(o));
	o.sop_class = t->sop_class;
	o.sop_instance = t->sop_instance;
	o.originator = c->get ? "" : r->who->calling;
	o.originator_id = r->rq->id;
	o.size = s.size;
	o.read = read_source;
	o.waiting = c->get ? NULL : while_waiting;
	o.sent = look_ahead;
	o.arg = &s;
	c->next_id = c->next_id % 65535 + 1;
	rc = send_object(c->to, context, c->next_id, r->rq->id, &o, r->c->seconds, &answer, e);
	close_source(&s);
	if (rc) {
		missed(c, t);
		return rc;
	}
	if (c->get && answer.cancelled)
		r->cancelled = true;
	c->broken = 0;
	count(c, t, answer.status);
	return 0;
}

/* --- C-GET --- */

static int
get_all(struct retrieving *r, struct err *e)
{
	struct carrier c = {.r = r, .to = r->who->assoc, .peer = r->who->peer, .get = true};
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < r->t.n && !r->cancelled; i++) {
		rc = retrieve_send(&c, &r->t.all[i], e);
		if (!rc && !r->cancelled)
			rc = retrieve_tell_pending(r, e);
	}
	retrieve_forget(&c);
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
	dimse_refused(r->who, r->rq->command == MESSAGE_GET_RQ ? "get" : "move", status);
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
		negotiated(who->assoc, context->abstract_syntax, NEGOTIATED_RELATIONAL),
		who->peer->see_rejected};
	struct retrieving r;
	struct identifier id;
	struct buf bytes = BUF_INIT;
	struct err why = ERR_INIT;
	int rc;

	memset(&r, 0, sizeof(r));
	(void)pthread_mutex_init(&r.mu, NULL);
	clock_cond(&r.ended);
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
	(void)pthread_cond_destroy(&r.ended);
	(void)pthread_mutex_destroy(&r.mu);
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
