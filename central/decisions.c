#include "central/decisions.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/gate.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/http/server.h"
#include "common/kv/kv.h"
#include "common/store/decided.h"
#include "common/store/index.h"
#include "proto/decision.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { BATCH = 200, BATCH_BYTES = 4 << 20, BACK_MAX = 500, FORBIDDEN = 403, WHY_MAX = 400 };

static const char total_key[] = "decisions", number_key[] = "decision";

int
decisions_total(struct store_tx *tx, uint64_t *out, struct err *e)
{
	return state_number(tx, total_key, out, e);
}

/* --- the list --- */

static unsigned
table(struct store_tx *tx, const char *name)
{
	return store_table(store_tx_store(tx), name);
}

static int
at(struct store_tx *tx, uint64_t place, struct kv_slice *out, struct err *e)
{
	unsigned char key[8];

	buf_set_be64(key, place);
	return kv_get(store_tx_kv(tx), table(tx, DECIDED_AT_TABLE), kv_slice(key, sizeof(key)), out,
		      e);
}

static int
is_listed(struct store_tx *tx, const ProtobufCBinaryData *id, bool *out, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx, DECIDED_ID_TABLE), kv_slice(id->data, id->len),
			&v, e);

	*out = rc == 0;
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
put_in_list(struct store_tx *tx, const Sync__Decision *m, const ProtobufCBinaryData *bytes,
	    struct err *e)
{
	unsigned char key[8], place[8];
	uint64_t total, number;
	int rc = state_number(tx, total_key, &total, e);

	if (!rc)
		rc = state_number(tx, number_key, &number, e);
	if (rc)
		return rc;
	buf_set_be64(key, ++total);
	buf_set_u64(place, total);
	rc = kv_put(store_tx_kv(tx), table(tx, DECIDED_AT_TABLE), kv_slice(key, sizeof(key)),
		    kv_slice(bytes->data, bytes->len), e);
	if (!rc)
		rc = kv_put(store_tx_kv(tx), table(tx, DECIDED_ID_TABLE),
			    kv_slice(m->id.data, m->id.len), kv_slice(place, sizeof(place)), e);
	if (!rc)
		rc = state_set_number(tx, total_key, total, e);
	if (!rc && m->number > number)
		rc = state_set_number(tx, number_key, m->number, e);
	return rc;
}

/* --- what follows from one --- */

struct showing {
	struct store_tx *tx;
	const struct version *v;
	bool done;
};

/* What viewers get from now on, as the ledger that announced it tells. */
static int
show_claimed(void *arg, const struct claim *c, struct err *e)
{
	struct showing *s = arg;
	struct store_verdict verdict;
	Sync__LedgerEntry *m = NULL;
	struct index_sets sets;
	const void *entry;
	size_t n;
	int rc = announced_get(s->tx, &c->incarnation, c->seq, &entry, &n, e);

	if (!rc)
		m = message_read(&sync__ledger_entry__descriptor, entry, n, NULL);
	if (rc || !m || !(ledger_says_has((int)m->kind) || ledger_says_known((int)m->kind))) {
		message_free(m);
		return rc == ERR_ABSENT ? 0 : rc;
	}
	memset(&sets, 0, sizeof(sets));
	sets.series = (struct attrs){m->series_attributes.data, m->series_attributes.len};
	sets.instance = (struct attrs){m->instance_attributes.data, m->instance_attributes.len};
	if (!attrs_valid(sets.series))
		sets.series.n = 0;
	if (!attrs_valid(sets.instance))
		sets.instance.n = 0;
	rc = store_set_current(s->tx, s->v->oid, &sets, &verdict, e);
	message_free(m);
	s->done = !rc;
	return rc ? rc : ERR_AGAIN;
}

static int
show(void *arg, struct store_tx *tx, const struct version *v, struct err *e)
{
	struct index_sets none = {.dropped = NULL};
	struct store_verdict verdict;
	struct showing s = {tx, v, false};
	int rc = claim_each(tx, v->digest, show_claimed, &s, e);

	(void)arg;
	if (rc && rc != ERR_AGAIN)
		return rc;
	/* No ledger told of it: found in a pack. Its rows say what the study's do. */
	return s.done ? 0 : store_set_current(tx, v->oid, &none, &verdict, e);
}

static int
apply_one(struct store_tx *tx, const ProtobufCBinaryData *bytes, struct err *e)
{
	Sync__Decision *m =
		message_read(&sync__decision__descriptor, bytes->data, bytes->len, NULL);
	unsigned char(*digests)[SHA256_SIZE];
	struct decided d;
	bool listed, taken;
	int rc;

	if (!m || m->id.len != ID128_SIZE) {
		message_free(m);
		return err_set(e, ERR_CORRUPT, 0, "a decision in the log cannot be read");
	}
	rc = is_listed(tx, &m->id, &listed, e);
	if (!rc && !listed)
		rc = put_in_list(tx, m, bytes, e);
	if (!rc && !listed && decision_current(&d, &digests, m)) {
		rc = decided_put(tx, m->sop_instance, &d, &taken, e);
		if (!rc)
			rc = decided_settle(tx, m->sop_instance, false, show, NULL, e);
		free(digests);
	}
	message_free(m);
	return rc;
}

static uint64_t
well_above(uint64_t number)
{
	return (number / DECISION_STEP + 1) * DECISION_STEP;
}

int
decisions_apply(struct store_tx *tx, const Sync__LogDecision *m, struct err *e)
{
	uint64_t before, now = 0;
	size_t i;
	int rc = state_number(tx, number_key, &before, e);

	for (i = 0; !rc && i < m->n_decided; i++)
		rc = apply_one(tx, &m->decided[i], e);
	if (!rc && m->back)
		rc = state_number(tx, number_key, &now, e);
	/* R3: what is decided from here on counts above what any edge may have heard. */
	if (!rc && m->back && now > before)
		rc = state_set_number(tx, number_key, well_above(now), e);
	return rc;
}

/* --- making them --- */

static void
mac_of(const struct central *c, Sync__Decision *m, unsigned char mac[EVP_MAX_MD_SIZE], unsigned *n)
{
	struct buf plain = BUF_INIT;

	*n = 0;
	m->mac = message_bytes(NULL, 0);
	message_pack(&plain, &m->base);
	if (!buf_failed(&plain))
		(void)HMAC(EVP_sha256(), c->identity.key, sizeof(c->identity.key), plain.data,
			   plain.len, mac, n);
	buf_fini(&plain);
}

static bool
is_sealed(const struct central *c, Sync__Decision *m)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	ProtobufCBinaryData said = m->mac;
	unsigned n;

	mac_of(c, m, mac, &n);
	m->mac = said;
	return n && said.len == n && memcmp(said.data, mac, n) == 0;
}

/* A record of the log on its way: decisions one after the other, each as edges hear it. */
struct writing {
	struct central *c;
	struct buf bytes;
	size_t end[BATCH];
	unsigned n;
	bool back;	 /* an edge gave it back */
	uint64_t number; /* the last that was given */
};

static int
begin(struct writing *w, struct central *c, struct store_tx *tx, struct err *e)
{
	memset(w, 0, sizeof(*w));
	w->c = c;
	return state_number(tx, number_key, &w->number, e);
}

static bool
is_full(const struct writing *w)
{
	return w->n == BATCH || w->bytes.len >= BATCH_BYTES;
}

struct made { /* what one says */
	const char *uid, *why, *by;
	const unsigned char *current;  /* digest            */
	const struct decided *looked;  /* at: of these, and */
	const struct decided_state *s; /* these            */
	uint64_t follows, origin;
	bool person;
};

static void
name(Sync__Decision *m, const unsigned char *digest, bool seen)
{
	size_t i;

	for (i = 0; i < m->n_digests; i++)
		if (memcmp(m->digests[i].data, digest, SHA256_SIZE) == 0)
			return;
	if (m->n_digests == DECIDED_MAX)
		return;
	m->seen.data[m->n_digests] = seen;
	m->seen.len++;
	m->digests[m->n_digests++] = message_bytes(digest, SHA256_SIZE);
}

/* Whether a person has: now, or when the decision that it follows was made. */
static bool
has_seen(const struct made *d, const unsigned char *digest)
{
	return (d->looked && decided_seen(d->looked, digest)) || (d->person && !d->origin);
}

static int
add(struct writing *w, const struct made *d, struct err *e)
{
	ProtobufCBinaryData *list = calloc(DECIDED_MAX, sizeof(*list) + 1);
	Sync__Decision m = SYNC__DECISION__INIT;
	unsigned char mac[EVP_MAX_MD_SIZE];
	struct id128 id;
	unsigned n;
	size_t i;

	if (!list)
		return err_set(e, ERR_LOCAL, 0, "no memory for a decision");
	id128_make(rng_real(), &id);
	m.number = ++w->number;
	m.id = message_bytes(id.b, sizeof(id.b));
	m.kind = SYNC__DECIDED_KIND__DECIDED_CURRENT;
	m.sop_instance = message_text(d->uid);
	m.digests = list;
	m.seen.data = (uint8_t *)(list + DECIDED_MAX);
	name(&m, d->current, has_seen(d, d->current));
	for (i = 0; d->looked && i < d->looked->n; i++)
		name(&m, d->looked->digests[i], has_seen(d, d->looked->digests[i]));
	for (i = 0; d->s && i < d->s->n; i++)
		name(&m, d->s->versions[i].digest, has_seen(d, d->s->versions[i].digest));
	m.person = d->person;
	m.follows = d->follows;
	m.origin = d->origin;
	m.why = message_text(d->why);
	m.by = message_text(d->by);
	m.wall_ms = clock_wall(w->c->clock);
	mac_of(w->c, &m, mac, &n);
	m.mac = message_bytes(mac, n);
	message_pack(&w->bytes, &m.base);
	w->end[w->n++] = w->bytes.len;
	free(list);
	return 0;
}

/* One that an edge gave back, as it is. */
static void
add_as_it_is(struct writing *w, const ProtobufCBinaryData *bytes)
{
	buf_put(&w->bytes, bytes->data, bytes->len);
	w->end[w->n++] = w->bytes.len;
}

/* R16: in the log, and flushed, before any edge hears of it. */
static int
write_locked(struct writing *w, struct err *e)
{
	Sync__LogDecision m = SYNC__LOG_DECISION__INIT;
	ProtobufCBinaryData list[BATCH];
	size_t from = 0;
	unsigned i;
	int rc = 0;

	for (i = 0; i < w->n; i++) {
		list[i] = message_bytes(w->bytes.data + from, w->end[i] - from);
		from = w->end[i];
	}
	m.kind = SYNC__DECISION_KIND__DECISION_DECIDED;
	m.decided = list;
	m.n_decided = w->n;
	m.back = w->back;
	if (buf_failed(&w->bytes))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for decisions");
	else if (w->n)
		rc = record_decide_locked(w->c, &m, e);
	if (!rc && w->n)
		dispatch_news(w->c);
	buf_fini(&w->bytes);
	return rc;
}

/* R3, of a UID that no decision covers as it stands now. */
static int
decide_one(struct writing *w, struct store_tx *tx, const char *uid, struct err *e)
{
	struct made d = {.uid = uid, .why = "", .by = ""};
	struct decided own;
	struct decided_state s;
	int rc = decided_get(tx, uid, &own, e);

	if (!rc || rc == ERR_ABSENT)
		rc = decided_state(tx, uid, &s, e);
	if (rc)
		return rc;
	d.looked = &own;
	d.s = &s;
	d.follows = s.number;
	/* What was chosen and is not announced here yet: its ledger is on its way. */
	if (s.target < s.n && (!s.number || s.known)) {
		d.current = s.versions[s.target].digest;
		rc = add(w, &d, e);
	}
	decided_state_fini(&s);
	return rc;
}

int
decisions_make_locked(struct central *c, struct err *e)
{
	char uid[UID_SIZE] = "";
	struct writing w;
	struct store_tx *tx;
	bool more = true;
	int rc = 0;

	while (!rc && more) {
		rc = store_begin_read(&tx, c->store, e);
		if (rc)
			return rc;
		rc = begin(&w, c, tx, e);
		while (!rc && !is_full(&w)) {
			rc = decided_undecided_next(tx, uid, uid, e);
			if (!rc)
				rc = decide_one(&w, tx, uid, e);
		}
		store_end_read(tx);
		more = rc == 0;
		if (rc == ERR_ABSENT)
			rc = 0;
		if (rc)
			buf_fini(&w.bytes);
		else
			rc = write_locked(&w, e);
	}
	return rc;
}

int
decisions_make(struct central *c, struct err *e)
{
	int rc;

	(void)pthread_mutex_lock(&c->order);
	rc = decisions_make_locked(c, e);
	(void)pthread_mutex_unlock(&c->order);
	return rc;
}

/* --- a person --- */

static int
resolve_locked(struct central *c, const char *uid, const unsigned char digest[SHA256_SIZE],
	       const char *why, const char *by, struct err *e)
{
	struct made d = {.uid = uid, .why = why, .by = by, .person = true};
	struct decided_state s = {.versions = NULL};
	struct writing w;
	struct store_tx *tx;
	size_t i;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = begin(&w, c, tx, e);
	if (!rc)
		rc = decided_state(tx, uid, &s, e);
	store_end_read(tx);
	if (rc)
		return rc;
	for (i = 0; i < s.n && memcmp(s.versions[i].digest, digest, SHA256_SIZE) != 0; i++)
		;
	if (i == s.n)
		rc = err_set(e, ERR_ABSENT, 0, "no such version of this instance is known");
	if (!rc) {
		d.s = &s;
		d.current = s.versions[i].digest;
		d.follows = s.number;
		rc = add(&w, &d, e);
	}
	decided_state_fini(&s);
	return rc ? rc : write_locked(&w, e);
}

int
decisions_resolve(struct central *c, const char *uid, const unsigned char digest[SHA256_SIZE],
		  const char *why, const char *by, struct err *e)
{
	int rc;

	(void)pthread_mutex_lock(&c->order);
	rc = resolve_locked(c, uid, digest, why, by, e);
	(void)pthread_mutex_unlock(&c->order);
	if (!rc)
		log_line(LOG_INFO, "version.decided", "uid=%s by=%s", uid_shown(uid),
			 by[0] ? by : "central");
	return rc;
}

int
decisions_find(struct central *c, const char *uid, const char *hex, unsigned char out[SHA256_SIZE],
	       struct err *e)
{
	struct decided_state s;
	struct store_tx *tx;
	char own[2 * SHA256_SIZE + 1];
	size_t i, found = 0;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = decided_state(tx, uid, &s, e);
	store_end_read(tx);
	if (rc)
		return rc;
	for (i = 0; i < s.n; i++) {
		hex_of(s.versions[i].digest, SHA256_SIZE, own);
		if (strncmp(own, hex, strlen(hex)) != 0)
			continue;
		memcpy(out, s.versions[i].digest, SHA256_SIZE);
		found++;
	}
	decided_state_fini(&s);
	return found == 1 ? 0
	       : found	  ? err_set(e, ERR_ABSENT, 0, "more than one version begins so")
			  : err_set(e, ERR_ABSENT, 0, "no such version of this instance is known");
}

/* --- what edges give back (R16) --- */

/* One of a UID, of ours or of a central that is no more: does it count? */
static int
merge_current(struct writing *w, struct store_tx *tx, const Sync__Decision *m, bool sealed,
	      struct err *e)
{
	struct made d = {.uid = m->sop_instance, .why = m->why, .by = m->by};
	unsigned char(*digests)[SHA256_SIZE];
	struct decided own, other;
	int rc = 0;

	if (!decision_current(&other, &digests, m))
		return 0;
	rc = decided_get(tx, m->sop_instance, &own, e);
	if (rc == ERR_ABSENT)
		rc = 0;
	d.looked = &other;
	d.follows = own.number;
	switch (rc ? DECISION_KEEP : decision_merge(&own, &other, sealed)) {
	case DECISION_KEEP:
	case DECISION_TAKE: /* by its number, as it stands in the list */
		break;
	case DECISION_SAY_AGAIN:
		d.current = own.digests[0];
		d.person = own.person;
		d.origin = own.origin ? own.origin : own.number;
		d.looked = &own;
		rc = add(w, &d, e);
		break;
	case DECISION_ADOPT:
		d.current = other.digests[0];
		d.person = other.person;
		d.origin = other.origin ? other.origin : other.number;
		rc = add(w, &d, e);
		break;
	}
	free(digests);
	return rc;
}

static int
merge_one(struct writing *w, struct store_tx *tx, const ProtobufCBinaryData *bytes, struct err *e)
{
	Sync__Decision *m =
		message_read(&sync__decision__descriptor, bytes->data, bytes->len, NULL);
	bool listed = true, sealed;
	int rc = m && m->id.len == ID128_SIZE ? is_listed(tx, &m->id, &listed, e) : 0;

	w->back = true;
	sealed = !rc && !listed && is_sealed(w->c, m);
	if (!rc && !listed && m->number < (sealed ? DECISION_NUMBER_MAX : DECISION_FOREIGN_MAX)) {
		if (m->number > w->number)
			w->number = well_above(m->number);
		/* Ours has its place in the list, whatever counts. What another key sealed, of a
		 * central that burnt with it, is said again under ours. */
		if (sealed)
			add_as_it_is(w, bytes);
		else
			log_line(LOG_WARN, "decision.foreign", "number=%llu",
				 (unsigned long long)m->number);
		rc = merge_current(w, tx, m, sealed, e);
	}
	message_free(m);
	return rc;
}

/* One record for each, so that the next one sees what it did. */
static int
take_back_locked(struct central *c, const Sync__DecisionsRequest *rq, struct err *e)
{
	struct writing w;
	struct store_tx *tx;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < rq->n_back; i++) {
		rc = store_begin_read(&tx, c->store, e);
		if (rc)
			return rc;
		rc = begin(&w, c, tx, e);
		if (!rc)
			rc = merge_one(&w, tx, &rq->back[i], e);
		store_end_read(tx);
		if (rc)
			buf_fini(&w.bytes);
		else
			rc = write_locked(&w, e);
	}
	return rc;
}

/* --- the routes --- */

struct page {
	Sync__DecisionsAnswer m;
	ProtobufCBinaryData list[BATCH], about[DECISION_ABOUT_MAX];
};

/* The decision about one instance that counts, as it stands in the list. */
static int
tell_about(struct page *p, struct store_tx *tx, const char *uid, struct err *e)
{
	struct kv_slice v;
	struct decided d;
	int rc = strlen(uid) <= UID_KEEP ? decided_get(tx, uid, &d, e) : ERR_ABSENT;

	if (!rc)
		rc = kv_get(store_tx_kv(tx), table(tx, DECIDED_ID_TABLE),
			    kv_slice(d.id.b, sizeof(d.id.b)), &v, e);
	if (!rc && v.n != sizeof(uint64_t))
		rc = err_set(e, ERR_CORRUPT, 0, "a row of `decided_id` is torn");
	if (!rc)
		rc = at(tx, buf_get_u64(v.p), &v, e);
	if (!rc)
		p->about[p->m.n_about++] = message_bytes(v.p, v.n);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
fill_page(struct page *p, struct store_tx *tx, const Sync__DecisionsRequest *rq, struct err *e)
{
	struct kv_slice v;
	Sync__Decision *last;
	size_t bytes = 0, i;
	int rc = decisions_total(tx, &p->m.total, e);

	for (i = 0; !rc && i < rq->n_about; i++)
		rc = tell_about(p, tx, rq->about[i], e);
	p->m.next = rq->after;
	if (!rc && rq->after) { /* is it the list that the edge has read? */
		rc = at(tx, rq->after, &v, e);
		last = rc ? NULL : message_read(&sync__decision__descriptor, v.p, v.n, NULL);
		p->m.restart = !last || last->id.len != rq->last.len ||
			       memcmp(last->id.data, rq->last.data, rq->last.len) != 0;
		message_free(last);
		if (rc == ERR_ABSENT)
			rc = 0;
	}
	while (!rc && !p->m.restart && p->m.n_decisions < BATCH && p->m.next < p->m.total &&
	       bytes < BATCH_BYTES) {
		rc = at(tx, p->m.next + 1, &v, e);
		if (rc)
			break;
		p->list[p->m.n_decisions++] = message_bytes(v.p, v.n);
		bytes += v.n;
		p->m.next++;
	}
	return rc == ERR_ABSENT ? err_set(e, ERR_CORRUPT, 0, "the list of decisions has a gap")
				: rc;
}

int
decisions_answer(struct central *c, const struct http_request *rq, struct http_answer *out,
		 struct err *e)
{
	Sync__DecisionsRequest *m =
		message_read(&sync__decisions_request__descriptor, rq->body, rq->body_n, e);
	struct page *p = m ? calloc(1, sizeof(*p)) : NULL;
	struct store_tx *tx;
	int rc = 0;

	if (!m)
		return ERR_PEER;
	if (!p)
		rc = err_set(e, ERR_LOCAL, 0, "no memory for decisions");
	if (!rc && m->n_back > BACK_MAX)
		rc = err_set(e, ERR_PEER, 0, "more than %d decisions at once", BACK_MAX);
	if (!rc && m->n_about > DECISION_ABOUT_MAX)
		rc = err_set(e, ERR_PEER, 0, "more than %d instances at once", DECISION_ABOUT_MAX);
	if (!rc && m->n_back) {
		(void)pthread_mutex_lock(&c->order);
		rc = take_back_locked(c, m, e);
		(void)pthread_mutex_unlock(&c->order);
	}
	if (!rc)
		rc = store_begin_read(&tx, c->store, e);
	if (!rc) {
		sync__decisions_answer__init(&p->m);
		p->m.decisions = p->list;
		p->m.about = p->about;
		rc = fill_page(p, tx, m, e);
		if (!rc) /* the decisions are borrowed from the transaction */
			message_pack(&out->body, &p->m.base);
		store_end_read(tx);
	}
	free(p);
	message_free(m);
	return rc;
}

/* R26: under policy `own` a site decides about what it announced itself. */
struct owning {
	struct store_tx *tx;
	const char *site;
	bool yes;
};

static int
is_own(void *arg, const struct claim *c, struct err *e)
{
	struct owning *o = arg;
	struct site_row row;
	int rc = site_get(o->tx, &c->incarnation, &row, e);

	o->yes = o->yes || (!rc && strcmp(row.site, o->site) == 0);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
may_decide(struct central *c, const char *site, const unsigned char digest[SHA256_SIZE], bool *out,
	   struct err *e)
{
	struct owning o = {NULL, site, false};
	bool own;
	int rc = gate_reads_own_only(c, site, &own, e);

	*out = !rc && !own;
	if (rc || !own)
		return rc;
	rc = store_begin_read(&o.tx, c->store, e);
	if (rc)
		return rc;
	rc = claim_each(o.tx, digest, is_own, &o, e);
	store_end_read(o.tx);
	*out = o.yes;
	return rc;
}

int
decisions_resolve_answer(struct central *c, const struct http_request *rq, struct http_answer *out,
			 struct err *e)
{
	Sync__ResolveRequest *m =
		message_read(&sync__resolve_request__descriptor, rq->body, rq->body_n, e);
	unsigned char digest[SHA256_SIZE];
	bool may = false;
	int rc = 0;

	if (!m)
		return ERR_PEER;
	if (!message_digest(digest, &m->digest) || !m->sop_instance[0] ||
	    strlen(m->sop_instance) > UID_KEEP || strlen(m->why) > WHY_MAX)
		rc = err_set(e, ERR_PEER, 0, "this is no choice of a version");
	if (!rc)
		rc = may_decide(c, rq->site, digest, &may, e);
	if (!rc && !may) {
		out->status = FORBIDDEN;
		buf_puts(&out->body, "policy own: another site announced it\n");
	} else if (!rc) {
		rc = decisions_resolve(c, m->sop_instance, digest, m->why, rq->site, e);
	}
	message_free(m);
	return rc;
}
