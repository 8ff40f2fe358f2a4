#include "central/withdraw.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/figures.h"
#include "central/record.h"
#include "central/rejections.h"
#include "central/standing.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/dimse/audit.h"
#include "common/http/server.h"
#include "common/os/command.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

static const struct id128 none;

/* --- what it makes of the catalogue --- */

struct telling {
	struct store_tx *tx;
	Sync__LedgerEntry *entry;
};

/* Any site's that told of its bytes. */
static int
find_entry(void *arg, const struct claim *c, struct err *e)
{
	struct telling *t = arg;
	const void *p;
	size_t n;
	int rc;

	if (!c->has)
		return 0;
	rc = announced_get(t->tx, &c->incarnation, c->seq, &p, &n, e);
	if (!rc)
		t->entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
	return t->entry ? ERR_AGAIN : rc == ERR_ABSENT ? 0 : rc;
}

static Sync__LedgerEntry *
entry_of(struct store_tx *tx, const struct version *v)
{
	struct telling t = {tx, NULL};

	(void)claim_each(tx, v->digest, find_entry, &t, NULL);
	return t.entry;
}

struct lifting {
	struct store_tx *tx;
	const Sync__Order *m;
};

/* R15: only restore lifts a decision about a digest. */
static int
lift(void *arg, const struct version *v, struct err *e)
{
	struct lifting *l = arg;
	const char *uid = l->m->subject;

	if (strcmp(v->study, uid) != 0 && strcmp(v->series, uid) != 0 &&
	    strcmp(v->sop_instance, uid) != 0)
		return 0;
	return decision_lift(l->tx, v->digest, e);
}

const struct withdrawn_node withdraw_node = {entry_of, figures_leave, figures_enter};

int
withdraw_apply(struct store_tx *tx, const Sync__Order *m, const void *bytes, size_t n,
	       struct err *e)
{
	struct lifting l = {tx, m};
	uint64_t changed;
	bool newer;
	int rc = withdrawn_take(tx, m, bytes, n, &none, &newer, e);

	if (rc == ERR_PEER) /* a later central's, perhaps: the log keeps it */
		return 0;
	if (rc || !newer)
		return rc;
	if (m->kind == SYNC__ORDER_KIND__ORDER_RESTORE)
		rc = store_versions_of_study(tx, m->study, 0, lift, &l, e);
	return rc ? rc : withdrawn_settle_all(tx, m, &withdraw_node, &changed, e);
}

int
withdraw_says(struct store_tx *tx, const unsigned char *digest, const struct version *v, bool *out,
	      struct err *e)
{
	struct withdrawn said = {.yes = false};
	int rc = decision_withdrawn(tx, digest, out, e);

	if (rc || *out)
		return rc;
	rc = withdrawn_says(tx, v, &said, e);
	*out = !rc && said.yes;
	return rc;
}

int
withdraw_says_digest(struct store_tx *tx, const unsigned char *digest, bool *out, struct err *e)
{
	struct version v;
	uint64_t oid;
	int rc = store_by_digest(tx, digest, &oid, e);

	if (!rc)
		rc = store_version(tx, oid, &v, e);
	if (rc == ERR_ABSENT)
		return decision_withdrawn(tx, digest, out, e);
	return rc ? rc : withdraw_says(tx, digest, &v, out, e);
}

/* --- what an edge gives back (R16) --- */

/* It counts if nothing that was decided about its UID is above it. */
static int
is_news(struct central *c, const Sync__Order *m, bool *yes, struct err *e)
{
	struct withdrawn said = {.rank = 0};
	struct store_tx *tx;
	int rc = record_read_locked(&tx, c, e);

	if (rc)
		return rc;
	rc = withdrawn_get(tx, m->subject, &said, e);
	store_end_read(tx);
	*yes = withdrawn_rank(m) > said.rank;
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
take_back(struct central *c, const char *site, const Sync__Order *m, struct err *e)
{
	Sync__Order again = *m;
	bool yes = false;
	int rc;

	again.of = withdrawn_rank(m);
	(void)pthread_mutex_lock(&c->order);
	rc = is_news(c, m, &yes, e);
	if (!rc && yes)
		rc = dispatch_give_locked(c, &again, e);
	(void)pthread_mutex_unlock(&c->order);
	if (!rc && yes)
		log_line(LOG_WARN, "decision.back", "site=%s kind=%d uid=%s", site, (int)m->kind,
			 uid_shown(m->subject));
	return rc;
}

/* One of ours that speaks of an image, a series or a study. */
static bool
is_withdrawal(const Sync__Order *m)
{
	return (m->kind == SYNC__ORDER_KIND__ORDER_RETRACT ||
		m->kind == SYNC__ORDER_KIND__ORDER_RESTORE) &&
	       m->subject[0] && strlen(m->subject) < UID_SIZE && strlen(m->study) < UID_SIZE;
}

/* One that this archive gave, or NULL; the caller frees it. */
static Sync__Order *
sealed(struct central *c, const char *site, const ProtobufCBinaryData *bytes)
{
	Sync__Order *m = message_read(&sync__order__descriptor, bytes->data, bytes->len, NULL);

	if (m && withdrawn_rank(m) < WITHDRAWN_RANK_MAX && m->number < WITHDRAWN_RANK_MAX &&
	    dispatch_sealed(c, m))
		return m;
	/* R26: what a site makes up decides nothing */
	log_line(LOG_ERROR, "decision.foreign", "site=%s", site);
	message_free(m);
	return NULL;
}

static int
give_back_one(struct central *c, const char *site, const ProtobufCBinaryData *bytes, struct err *e)
{
	Sync__Order *m = sealed(c, site, bytes);
	int rc = 0;

	if (m && standing_may_come_back(c, m))
		rc = standing_take_back(c, site, m, e);
	else if (m && rejections_may_come_back(m))
		rc = rejections_take_back(c, site, m, e);
	else if (m && is_withdrawal(m))
		rc = take_back(c, site, m, e);
	message_free(m);
	return rc;
}

static int
look_at_highest(struct central *c, const char *site, const Sync__OrdersBack *back, struct err *e)
{
	Sync__Order *m = sealed(c, site, &back->highest);
	int rc = m ? dispatch_heard_there(c, m, &back->seals, e) : 0;

	message_free(m);
	return rc;
}

int
withdraw_give_back(struct central *c, const struct http_request *rq, struct err *e)
{
	Sync__OrdersBack *back =
		message_read(&sync__orders_back__descriptor, rq->body, rq->body_n, e);
	size_t i;
	int rc = back ? 0 : ERR_PEER;

	if (!rc && back->n_orders > ORDERS_MAX) /* R24: each that is foreign is a line in the log */
		rc = err_set(e, ERR_PEER, 0, "more than %d orders at once", ORDERS_MAX);
	if (!rc && back->seals.len > (size_t)ORDERS_SEALS * ORDERS_SEAL)
		rc = err_set(e, ERR_PEER, 0, "more than %d seals", ORDERS_SEALS);
	if (!rc && back->highest.len)
		rc = look_at_highest(c, rq->site, back, e);
	for (i = 0; !rc && i < back->n_orders; i++)
		rc = give_back_one(c, rq->site, &back->orders[i], e);
	if (!rc && back->standings)
		rc = standing_vouch(c, rq->site, e);
	message_free(back);
	return rc;
}

/* --- commands --- */

struct subject {
	const char *uid, *level;
	char study[UID_SIZE];
	uint64_t images;
};

static int
count(void *arg, const struct version *v, struct err *e)
{
	struct subject *s = arg;

	(void)e;
	s->images += strcmp(v->study, s->uid) == 0 || strcmp(v->series, s->uid) == 0 ||
		     strcmp(v->sop_instance, s->uid) == 0;
	return 0;
}

static int
note_study(void *arg, const struct version *v, struct err *e)
{
	(void)e;
	memcpy(arg, v->study, UID_SIZE);
	return ERR_AGAIN; /* the first one says it */
}

/* A study, a series or an instance that is known here: which, and of how many images. */
static int
find_subject(struct store_tx *tx, struct subject *s, struct err *e)
{
	int rc;

	s->level = "study";
	(void)snprintf(s->study, sizeof(s->study), "%s", s->uid);
	rc = store_versions_of_study(tx, s->uid, 0, count, s, e);
	if (rc || s->images)
		return rc;
	s->level = "series";
	rc = index_series_study(tx, s->uid, s->study, e);
	if (rc == ERR_ABSENT) {
		s->level = "image";
		rc = store_versions_of(tx, s->uid, note_study, s->study, e);
		rc = rc == ERR_AGAIN ? 0 : rc ? rc : ERR_ABSENT;
	}
	if (!rc)
		rc = store_versions_of_study(tx, s->study, 0, count, s, e);
	return rc == ERR_ABSENT || (!rc && !s->images)
		       ? err_set(e, ERR_ABSENT, 0,
				 "no study, series or image with this UID is known")
		       : rc;
}

static void
audit(struct central *c, const char *event, const Sync__Order *m, const struct subject *s)
{
	struct audit *own = NULL;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/audit.log", c->dir);
	if (!c->dicom.audit && audit_open(&own, path, c->clock, NULL))
		return;
	audit_line(own ? own : c->dicom.audit, event, "%s=%s images=%llu order=%llu", s->level,
		   uid_shown(s->uid), (unsigned long long)s->images, (unsigned long long)m->number);
	audit_close(own);
}

static const char *
what_follows(bool retract)
{
	return retract ? "hidden here, and at each edge from when it hears of it; what comes of it "
			 "later is taken and hidden, too; `restore` shows it again"
		       : "shown again, here, and at each edge from when it hears of it; but for "
			 "parts of it that were retracted later";
}

int
withdraw_command(struct asked *a)
{
	bool retract = strcmp(a->words[0], "retract") == 0;
	const char *reason = command_option(a, "--reason");
	struct subject s = {.uid = a->words[1]};
	struct central *c = a->node;
	Sync__Order m = SYNC__ORDER__INIT;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct store_tx *tx;
	int rc;

	if (!reason || !reason[0]) {
		command_complain(a, "--reason TEXT: why; it is kept with the decision");
		return COMMAND_USAGE;
	}
	if (!s.uid[0] || strlen(s.uid) > UID_KEEP) {
		command_complain(a, "no UID");
		return COMMAND_USAGE;
	}
	rc = store_begin_read(&tx, c->store, &e);
	if (!rc) {
		rc = find_subject(tx, &s, &e);
		store_end_read(tx);
	}
	m.kind = retract ? SYNC__ORDER_KIND__ORDER_RETRACT : SYNC__ORDER_KIND__ORDER_RESTORE;
	m.subject = message_text(s.uid);
	m.study = message_text(s.study);
	m.why = message_text(reason);
	if (!rc) /* R16: in the log, then it counts */
		rc = dispatch_give(c, &m, &e);
	if (rc)
		return command_failed(a, &e);
	audit(c, retract ? "retract" : "restore", &m, &s);
	buf_printf(&out, "order %llu: %s %s, %llu images: %s\n", (unsigned long long)m.number,
		   s.level, s.uid, (unsigned long long)s.images, what_follows(retract));
	return command_give(a, &out, COMMAND_OK);
}

struct listing {
	struct buf *out;
	struct json *j; /* NULL: as text */
};

static int
list_one(void *arg, const struct withdrawn_row *row, struct err *e)
{
	Sync__Order *m = row->said.yes
				 ? message_read(&sync__order__descriptor, row->bytes, row->n, e)
				 : NULL;
	struct listing *l = arg;
	char when[CLOCK_RFC3339_SIZE];

	if (!row->said.yes)
		return 0;
	if (!m)
		return ERR_PEER;
	clock_rfc3339(m->wall_ms, when);
	if (l->j) {
		json_open(l->j, NULL, '{');
		json_text(l->j, "uid", row->uid);
		json_text(l->j, "study", m->study);
		json_text(l->j, "since", when);
		json_text(l->j, "reason", m->why);
		json_count(l->j, "order", row->said.number);
		json_close(l->j, '}');
	} else {
		buf_printf(l->out, "%s since %s, order %llu: %s\n", row->uid, when,
			   (unsigned long long)row->said.number, m->why);
	}
	message_free(m);
	return 0;
}

int
withdraw_list(struct asked *a)
{
	struct central *c = a->node;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct listing l = {&out, NULL};
	struct store_tx *tx;
	struct json j;
	int rc = store_begin_read(&tx, c->store, &e);

	if (rc)
		return command_failed(a, &e);
	l.j = command_list(a, &j, &out);
	rc = withdrawn_rows(tx, "", list_one, &l, &e);
	store_end_read(tx);
	command_list_end(l.j, &out);
	return command_end(a, &out, rc, &e, COMMAND_OK);
}
