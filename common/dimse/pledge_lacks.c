#include "common/dimse/pledge_lacks.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/dicom/assoc.h"
#include "common/dicom/attrs.h"
#include "common/dicom/keys.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/dimse/pledge_supply.h"
#include "common/dimse/retrieve.h"
#include "common/dimse/targets.h"

#define STUDY_ROOT_FIND "1.2.840.10008.5.1.4.1.2.2.1"

struct finding {
	const struct pledge_supply *s;
	const struct targets *t;
	enum pledge_there *there;
	const struct target **by_uid; /* sorted */
	struct assoc *a;
	unsigned char context;
	const char *syntax;
	unsigned id;
	unsigned seconds;
};

static int
compare(const void *a, const void *b)
{
	const struct target *const *x = a, *const *y = b;

	return strcmp((*x)->sop_instance, (*y)->sop_instance);
}

static void
note(struct finding *f, const char *uid)
{
	const struct target key = {.sop_instance = uid}, *p = &key, **found;

	found = bsearch(&p, f->by_uid, f->t->n, sizeof(*f->by_uid), compare);
	if (found)
		f->there[*found - f->t->all] = PLEDGE_THERE;
}

static int
take_match(struct finding *f, const struct message *rsp, struct err *e)
{
	struct buf bytes = BUF_INIT;
	char uid[UID_SIZE];
	struct identifier id;
	int rc = message_receive_identifier(f->a, rsp, f->seconds, &bytes, e);

	if (!rc)
		rc = identifier_parse(&id, f->syntax, bytes.data, bytes.len, e);
	if (!rc) {
		(void)attrs_copy(attrs_of(&id.keys), TAG_SOP_INSTANCE, uid, sizeof(uid));
		note(f, uid);
		identifier_fini(&id);
	}
	buf_fini(&bytes);
	return rc;
}

static int
take_matches(struct finding *f, struct err *e)
{
	struct message rsp;
	int rc;

	for (;;) {
		rc = message_receive(f->a, f->seconds, &rsp, e);
		if (rc)
			return rc;
		if (rsp.command != MESSAGE_FIND_RSP || rsp.responded_to != f->id)
			return err_set(e, ERR_PEER, 0, "another answer than that to our C-FIND");
		if (rsp.status != STATUS_PENDING && rsp.status != STATUS_PENDING_KEYS)
			break;
		rc = rsp.has_data ? take_match(f, &rsp, e) : 0;
		if (rc)
			return rc;
	}
	return rsp.status ? err_set(e, ERR_PEER, 0, "it answers the query with %04x", rsp.status)
			  : 0;
}

static int
ask_series(struct finding *f, const struct target *of, struct err *e)
{
	struct message rq = {.context = f->context, .command = MESSAGE_FIND_RQ};
	struct buf keys = BUF_INIT, identifier = BUF_INIT;
	int rc;

	f->id = f->id % 65535 + 1;
	rq.id = f->id;
	strcpy(rq.sop_class, STUDY_ROOT_FIND);
	attrs_put(&keys, TAG_SOP_INSTANCE, "", 0);
	attrs_put(&keys, TAG_QUERY_LEVEL, "IMAGE", 5);
	attrs_put(&keys, TAG_STUDY_UID, of->study, strlen(of->study));
	attrs_put(&keys, TAG_SERIES_UID, of->series, strlen(of->series));
	identifier_build(&identifier, f->syntax, attrs_of(&keys));
	rc = buf_failed(&keys) || buf_failed(&identifier)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for a query")
		     : message_send_with(f->a, &rq, &identifier, e);
	buf_fini(&keys);
	buf_fini(&identifier);
	return rc ? rc : take_matches(f, e);
}

static bool
same_series(const struct target *a, const struct target *b)
{
	return strcmp(a->series, b->series) == 0 && strcmp(a->study, b->study) == 0;
}

/* What it does not name of a series it lacks; of what has no series nothing can be asked. */
static int
ask_all(struct finding *f, struct err *e)
{
	size_t i, j;
	int rc = 0;

	for (i = 0; !rc && i < f->t->n && f->s->go_on(f->s->arg); i++) {
		const struct target *of = &f->t->all[i];

		if (f->there[i] != PLEDGE_UNTOLD || !of->series[0] || !of->study[0])
			continue;
		rc = ask_series(f, of, e);
		for (j = i; !rc && j < f->t->n; j++)
			if (f->there[j] == PLEDGE_UNTOLD && same_series(&f->t->all[j], of))
				f->there[j] = PLEDGE_LACKING;
	}
	return rc;
}

static int
call(struct finding *f, struct err *e)
{
	static const char *const plain[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"};
	static const struct assoc_proposal p = {STUDY_ROOT_FIND, plain, 2, ASSOC_ROLE_DEFAULT};
	struct assoc_target to;
	struct assoc_context x;
	char host[PEER_ADDRESS_SIZE];
	int rc = pledge_supply_target(f->s, &to, host, e);

	if (!rc)
		rc = assoc_request(&f->a, &to, &p, 1, e);
	if (rc)
		return rc;
	if (assoc_context_at(f->a, 0, &x) && x.accepted) {
		f->context = x.id;
		f->syntax = assoc_accepted(f->a, x.id)->syntax;
		rc = ask_all(f, e);
	} else {
		rc = err_set(e, ERR_PEER, 0, "it answers no queries");
	}
	if (rc)
		assoc_abort(f->a);
	else
		assoc_release(f->a);
	f->s->socket(f->s->arg, 0, -1);
	assoc_free(f->a);
	return rc;
}

void
pledge_lacks(const struct pledge_supply *s, const struct targets *t, enum pledge_there *there)
{
	struct finding f = {.s = s, .t = t, .there = there, .seconds = s->retrieve->seconds};
	struct err e = ERR_INIT;
	size_t i;

	for (i = 0; i < t->n; i++)
		there[i] = PLEDGE_UNTOLD;
	f.by_uid = calloc(t->n ? t->n : 1, sizeof(*f.by_uid));
	for (i = 0; f.by_uid && i < t->n; i++)
		f.by_uid[i] = &t->all[i];
	if (f.by_uid && t->n)
		qsort(f.by_uid, t->n, sizeof(*f.by_uid), compare);
	if (f.by_uid && t->n && call(&f, &e))
		log_line(LOG_INFO, "pledge.not_told", "peer=%s what=\"%s\"", s->archive->name,
			 e.what);
	free(f.by_uid);
}
