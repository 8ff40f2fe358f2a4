#include "common/dimse/find.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/keys.h"
#include "common/dimse/audit.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/negotiate.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"
#include "common/store/query.h"

enum { IDENTIFIER_SECONDS = 60, COUNT_MOST = 1000000 };

struct finding {
	const struct find_config *c;
	const struct dimse_caller *who;
	const struct message *rq;
	struct identifier id;
	struct query_config q;
	const char *syntax;
	bool unsupported; /* a key that we cannot answer: FF01 */
	uint64_t answers;
};

static bool
level_of(struct attrs keys, enum query_level *out)
{
	static const char *const names[] = {"PATIENT", "STUDY", "SERIES", "IMAGE"};
	char text[16];
	unsigned i;

	(void)attrs_copy(keys, TAG_QUERY_LEVEL, text, sizeof(text));
	for (i = 0; i < 4; i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum query_level)i;
			return true;
		}
	return false;
}

static void
note_unsupported(struct finding *f)
{
	struct attr a;
	size_t pos = 0;

	while (attrs_next(attrs_of(&f->id.keys), &pos, &a))
		if (strcmp(identifier_vr(a.tag), "UN") == 0 ||
		    strcmp(identifier_vr(a.tag), "SQ") == 0)
			f->unsupported = true;
}

static void
put_number(struct buf *out, uint32_t tag, uint64_t n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	attrs_put(out, tag, text, strlen(text));
}

static bool
put_computed(const struct finding *f, struct buf *out, uint32_t tag, const struct query_match *m)
{
	static const char *const availabilities[] = {"ONLINE", "NEARLINE", "OFFLINE",
						     "UNAVAILABLE"};
	static const char *const levels[] = {"PATIENT", "STUDY", "SERIES", "IMAGE"};
	const char *s = NULL;

	if (tag == TAG_QUERY_LEVEL)
		s = levels[f->q.level];
	else if (tag == TAG_RETRIEVE_AET)
		s = f->who->called;
	else if (tag == TAG_AVAILABILITY)
		s = availabilities[m->availability];
	if (s) {
		attrs_put(out, tag, s, strlen(s));
		return true;
	}
	if (f->q.level != QUERY_PATIENT ||
	    (tag != TAG_PATIENT_STUDIES && tag != TAG_PATIENT_SERIES &&
	     tag != TAG_PATIENT_INSTANCES))
		return false;
	put_number(out, tag,
		   tag == TAG_PATIENT_STUDIES  ? m->studies
		   : tag == TAG_PATIENT_SERIES ? m->series_count
					       : m->instances);
	return true;
}

/* Each key that was asked for, from the row of the level it belongs to. */
static void
build_answer(const struct finding *f, const struct query_match *m, struct buf *out)
{
	struct attr key, value;
	size_t pos = 0;

	while (attrs_next(attrs_of(&f->id.keys), &pos, &key)) {
		const struct key *k = key_find(key.tag);
		enum key_level level = k ? k->level : KEY_STUDY;

		if (key.tag == TAG_CHARSET || put_computed(f, out, key.tag, m))
			continue;
		if (f->q.level == QUERY_PATIENT && k && k->level != KEY_PATIENT) {
			attrs_put(out, key.tag, "", 0);
			continue;
		}
		if (key.tag == TAG_SERIES_INSTANCES)
			level = KEY_SERIES;
		if (key.tag == TAG_AVAILABLE_SYNTAX)
			level = KEY_INSTANCE;
		if (!attrs_get(level == KEY_INSTANCE ? m->instance
			       : level == KEY_SERIES ? m->series
						     : m->study,
			       key.tag, &value))
			value = (struct attr){key.tag, "", 0};
		attrs_put(out, key.tag, value.value, value.n);
	}
}

static int
send_answer(struct finding *f, const struct query_match *m, struct err *e)
{
	struct buf set = BUF_INIT, identifier = BUF_INIT;
	struct message rsp;
	int rc;

	build_answer(f, m, &set);
	identifier_build(&identifier, f->syntax, attrs_of(&set));
	message_answer(&rsp, f->rq, f->unsupported ? STATUS_PENDING_KEYS : STATUS_PENDING);
	rc = buf_failed(&set) || buf_failed(&identifier)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for an answer")
		     : message_send_with(f->who->assoc, &rsp, &identifier, e);
	buf_fini(&set);
	buf_fini(&identifier);
	f->answers++;
	return rc;
}

static int
finish(struct finding *f, unsigned status, const char *comment, struct err *e)
{
	struct message rsp;

	message_answer(&rsp, f->rq, status);
	(void)snprintf(rsp.comment, sizeof(rsp.comment), "%s", comment);
	return message_send(f->who->assoc, &rsp, e);
}

/* R34: the first max_answers were sent; how many there are, and what to do. */
static int
finish_limited(struct finding *f, struct query *q, struct err *e)
{
	char comment[MESSAGE_COMMENT_SIZE];
	uint64_t rest;
	int rc = query_count_rest(q, COUNT_MOST, &rest, e);

	if (rc)
		return rc;
	if (rest == 0 || f->who->peer->success_on_limit)
		return finish(f, STATUS_SUCCESS, "", e);
	(void)snprintf(comment, sizeof(comment), "first %llu of %s%llu; narrow the query",
		       (unsigned long long)f->answers, rest >= COUNT_MOST ? "over " : "",
		       (unsigned long long)(f->answers + rest));
	return finish(f, STATUS_OUT_OF_RESOURCES, comment, e);
}

static int
answer_all(struct finding *f, struct query *q, struct err *e)
{
	struct query_match m;
	bool cancelled = false;
	int rc = 0;

	while (f->answers < f->c->max_answers) {
		rc = query_next(q, &m, e);
		if (rc == ERR_ABSENT)
			return finish(f, STATUS_SUCCESS, "", e);
		if (!rc)
			rc = message_cancelled(f->who->assoc, f->rq->id, &cancelled, e);
		if (rc)
			return rc;
		if (cancelled)
			return finish(f, STATUS_CANCELED, "", e);
		rc = send_answer(f, &m, e);
		if (rc)
			return rc;
	}
	return finish_limited(f, q, e);
}

/* R36: which keys, never what was asked of them (R35). */
static void
audit_query(const struct finding *f)
{
	char keys[512] = "";
	struct attr a;
	size_t pos = 0, n = 0;

	while (attrs_next(attrs_of(&f->id.keys), &pos, &a))
		if (a.n > 0 && n + 10 < sizeof(keys))
			n += (size_t)snprintf(keys + n, sizeof(keys) - n, "%s%08X", n ? "," : "",
					      a.tag);
	audit_line(f->who->config->audit, "query",
		   "calling=%s called=%s address=%s keys=%s matches=%llu", f->who->calling,
		   f->who->called, f->who->address, keys, (unsigned long long)f->answers);
}

static int
serve_query(struct finding *f, struct err *e)
{
	struct err why = ERR_INIT;
	struct query *q;
	int rc;

	f->q.keys = attrs_of(&f->id.keys);
	f->q.central_reachable = f->c->central_reachable && f->c->central_reachable(f->c->arg);
	if (!level_of(f->q.keys, &f->q.level) ||
	    (f->q.level == QUERY_PATIENT && !f->q.patient_root))
		return finish(f, STATUS_IDENTIFIER_MISMATCH, "Query/Retrieve Level", e);
	note_unsupported(f);
	rc = query_open(&q, f->c->store, &f->q, &why);
	if (rc == ERR_PEER)
		return finish(f, STATUS_IDENTIFIER_MISMATCH, why.what, e);
	if (!rc) {
		rc = answer_all(f, q, &why);
		query_close(q);
	}
	audit_query(f);
	if (rc == ERR_PEER || rc == ERR_ABSENT || rc == ERR_AGAIN) { /* the association is over */
		*e = why;
		return rc;
	}
	if (rc) {
		log_err(LOG_ERROR, "find", &why);
		return finish(f, STATUS_PROCESSING_FAILURE, "", e);
	}
	return 0;
}

int
find_serve(const struct find_config *c, const struct dimse_caller *who, const struct message *rq,
	   struct err *e)
{
	struct finding f;
	struct buf bytes = BUF_INIT;
	const struct assoc_context *context = assoc_accepted(who->assoc, rq->context);
	struct err why = ERR_INIT;
	int rc;

	memset(&f, 0, sizeof(f));
	f.c = c;
	f.who = who;
	f.rq = rq;
	f.syntax = context->syntax;
	f.q.patient_root = service_of(context->abstract_syntax) == SERVICE_FIND_PATIENT;
	rc = message_receive_identifier(who->assoc, rq, IDENTIFIER_SECONDS, &bytes, e);
	if (!rc && identifier_parse(&f.id, f.syntax, bytes.data, bytes.len, &why)) {
		rc = finish(&f, STATUS_CANNOT_UNDERSTAND, why.what, e);
	} else if (!rc) {
		rc = serve_query(&f, e);
		identifier_fini(&f.id);
	}
	buf_fini(&bytes);
	return rc;
}
