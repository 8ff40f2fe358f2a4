#include "central/dispatch.h"

#include <errno.h>
#include <openssl/hmac.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/decisions.h"
#include "central/gate.h"
#include "central/heard.h"
#include "central/members.h"
#include "central/record.h"
#include "central/rejections.h"
#include "central/standing.h"
#include "central/withdraw.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/bandwidth.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

enum { NO_CONTENT = 204, FORBIDDEN = 403 };

static const char last_key[] = DISPATCH_LAST;

struct dispatch_waiter {
	struct dispatch_waiter *next;
	const char *site;
};

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), DISPATCH_TABLE);
}

/* --- who waits --- */

void
dispatch_init(struct dispatch *o)
{

	memset(o, 0, sizeof(*o));
	(void)pthread_mutex_init(&o->mu, NULL);
	clock_cond(&o->given);
}

void
dispatch_fini(struct dispatch *o)
{
	(void)pthread_cond_destroy(&o->given);
	(void)pthread_mutex_destroy(&o->mu);
}

static void
set_stopping(struct dispatch *o, bool stopping)
{
	(void)pthread_mutex_lock(&o->mu);
	o->stopping = stopping;
	(void)pthread_cond_broadcast(&o->given);
	(void)pthread_mutex_unlock(&o->mu);
}

void
dispatch_stop(struct dispatch *o)
{
	set_stopping(o, true);
}

void
dispatch_go(struct dispatch *o)
{
	set_stopping(o, false);
}

bool
dispatch_stopping(struct dispatch *o)
{
	bool yes;

	(void)pthread_mutex_lock(&o->mu);
	yes = o->stopping;
	(void)pthread_mutex_unlock(&o->mu);
	return yes;
}

static unsigned
waiting_of(const struct dispatch *o, const char *site)
{
	const struct dispatch_waiter *w;
	unsigned n = 0;

	for (w = o->first; w; w = w->next)
		n += strcmp(w->site, site) == 0;
	return n;
}

/* Until there is more news than `seen`. false: the time is up, or nobody may wait. */
static bool
wait_for_more(struct dispatch *o, const char *site, uint64_t seen, const struct timespec *until)
{
	struct dispatch_waiter *me = calloc(1, sizeof(*me)), **at;
	bool more, up = false;

	(void)pthread_mutex_lock(&o->mu);
	if (me && waiting_of(o, site) < DISPATCH_WAITERS) {
		me->site = site;
		me->next = o->first;
		o->first = me;
		o->waiting++;
		while (!o->stopping && !up && atomic_load(&o->news) == seen)
			up = pthread_cond_timedwait(&o->given, &o->mu, until) == ETIMEDOUT;
		for (at = &o->first; *at != me; at = &(*at)->next)
			;
		*at = me->next;
		o->waiting--;
	}
	more = !o->stopping && atomic_load(&o->news) != seen;
	(void)pthread_mutex_unlock(&o->mu);
	free(me);
	return more;
}

void
dispatch_news(struct central *c)
{
	struct dispatch *o = &c->dispatch;

	(void)pthread_mutex_lock(&o->mu);
	(void)atomic_fetch_add(&o->news, 1);
	(void)pthread_cond_broadcast(&o->given);
	(void)pthread_mutex_unlock(&o->mu);
}

int
dispatch_begin(struct central *c, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = state_number(tx, last_key, &c->dispatch.began, e);
	store_end_read(tx);
	return rc;
}

/* --- giving one --- */

static int
next_number(struct central *c, uint64_t *out, struct err *e)
{
	struct store_tx *tx;
	int rc = record_settle_locked(c, e); /* the one before it is counted */

	if (!rc)
		rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = state_number(tx, last_key, out, e);
	store_end_read(tx);
	++*out;
	return rc;
}

static int
seal(const struct central *c, const Sync__Order *m, unsigned char mac[SHA256_SIZE], struct err *e)
{
	Sync__Order plain = *m;
	struct buf bytes = BUF_INIT;
	unsigned n = 0;
	int rc = 0;

	plain.mac = message_bytes(NULL, 0);
	message_pack(&bytes, &plain.base);
	if (buf_failed(&bytes) || !HMAC(EVP_sha256(), c->identity.key, sizeof(c->identity.key),
					bytes.data, bytes.len, mac, &n))
		rc = err_set(e, ERR_LOCAL, 0, "cannot seal an order");
	buf_fini(&bytes);
	return rc;
}

bool
dispatch_sealed(const struct central *c, const Sync__Order *m)
{
	unsigned char mac[SHA256_SIZE];

	if (!c->identity.by_init)
		return true;
	return seal(c, m, mac, NULL) == 0 && m->mac.len == sizeof(mac) &&
	       memcmp(m->mac.data, mac, sizeof(mac)) == 0;
}

/* In the log on 0, and on its way; wall_ms is the caller's. */
static int
give_as(struct central *c, Sync__Order *m, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	ProtobufCBinaryData before = m->mac;
	unsigned char mac[SHA256_SIZE];
	struct buf bytes = BUF_INIT;
	int rc = next_number(c, &m->number, e);

	if (!rc)
		rc = seal(c, m, mac, e);
	if (rc)
		return rc;
	m->mac = message_bytes(mac, sizeof(mac));
	message_pack(&bytes, &m->base);
	d.kind = SYNC__DECISION_KIND__DECISION_ORDER;
	d.site = m->site;
	d.order = message_bytes(bytes.data, bytes.len);
	rc = buf_failed(&bytes) ? err_set(e, ERR_LOCAL, 0, "no memory for an order")
				: record_decide_locked(c, &d, e);
	buf_fini(&bytes);
	m->mac = before;
	if (rc)
		return rc;
	log_line(LOG_INFO, "order.given", "number=%llu kind=%d site=%s",
		 (unsigned long long)m->number, (int)m->kind, m->site[0] ? m->site : "-");
	dispatch_news(c);
	return 0;
}

int
dispatch_give_locked(struct central *c, Sync__Order *m, struct err *e)
{
	m->wall_ms = m->of ? m->wall_ms : clock_wall(c->clock);
	return give_as(c, m, e);
}

int
dispatch_give(struct central *c, Sync__Order *m, struct err *e)
{
	int rc;

	(void)pthread_mutex_lock(&c->order);
	rc = dispatch_give_locked(c, m, e);
	(void)pthread_mutex_unlock(&c->order);
	return rc;
}

int
dispatch_apply(struct store_tx *tx, const Sync__LogDecision *m, struct err *e)
{
	Sync__Order *o = message_read(&sync__order__descriptor, m->order.data, m->order.len, NULL);
	unsigned char key[8];
	uint64_t last = 0, highest;
	int rc;

	if (!o) /* a later central's, perhaps: the log keeps it */
		return 0;
	rc = kv_put(store_tx_kv(tx), table(tx), kv_number(key, o->number),
		    kv_slice(m->order.data, m->order.len), e);
	if (!rc)
		rc = state_number(tx, last_key, &last, e);
	highest = o->of > o->number ? o->of : o->number; /* the next one is above both */
	if (!rc && last < highest)
		rc = state_set_number(tx, last_key, highest, e);
	if (!rc && o->instead_of)
		rc = heard_replace(tx, o->instead_of, e);
	if (!rc && (o->kind == SYNC__ORDER_KIND__ORDER_RETRACT ||
		    o->kind == SYNC__ORDER_KIND__ORDER_RESTORE))
		rc = withdraw_apply(tx, o, m->order.data, m->order.len, e);
	if (!rc && o->kind == SYNC__ORDER_KIND__ORDER_REJECTED)
		rc = rejections_apply(tx, o, m->order.data, m->order.len, e);
	if (!rc && o->kind == SYNC__ORDER_KIND__ORDER_SITE)
		rc = standing_apply(tx, o, m->order.data, m->order.len, e);
	if (!rc && o->kind == SYNC__ORDER_KIND__ORDER_HOLD && !o->site[0])
		rc = state_set_number(tx, DISPATCH_HOLD, o->on ? 1 : 0, e);
	message_free(o);
	return rc;
}

int
dispatch_new_epoch(struct store_tx *tx, struct err *e)
{
	uint64_t last;
	int rc = state_number(tx, last_key, &last, e);

	/* R22: what was given before a set-back, and is not remembered, counts below. */
	return rc ? rc : state_set_number(tx, last_key, last + ORDERS_EPOCH, e);
}

/* --- what was forgotten (R22) --- */

struct forgotten {
	uint64_t top; /* an edge has heard an order of that number */
	const ProtobufCBinaryData *seals;
	/* The last of ours that it has heard: with that this copy was made. Where it does not tell,
	 * the last with which this central was started. */
	uint64_t copied;
	bool told;
	struct store_tx *tx;
	Sync__Order **again;
	size_t n;
};

/* Of these the rank counts, not when they are heard (withdrawn.h). */
static bool
is_ranked(const Sync__Order *m)
{
	return m->kind == SYNC__ORDER_KIND__ORDER_RETRACT ||
	       m->kind == SYNC__ORDER_KIND__ORDER_RESTORE ||
	       m->kind == SYNC__ORDER_KIND__ORDER_SITE;
}

static int
note_copied(void *arg, const Sync__Order *m, struct err *e)
{
	struct forgotten *f = arg;

	(void)e;
	if (m->mac.len >= ORDERS_SEAL &&
	    orders_seal_among(f->seals->data, f->seals->len, m->mac.data)) {
		f->copied = m->number;
		f->told = true;
	}
	return 0;
}

static int
find_copied(struct central *c, struct forgotten *f, struct err *e)
{
	static const unsigned char before_all[ORDERS_SEAL];
	int rc;

	f->told = orders_seal_among(f->seals->data, f->seals->len, before_all);
	rc = dispatch_each(f->tx, 0, note_copied, f, e);
	/* What was said since the start is later than the copy. */
	if (!f->told || f->copied > c->dispatch.began)
		f->copied = c->dispatch.began;
	return rc;
}

/* Below it, and not heard by all: an edge takes it for something that it has heard before. What
 * came back from an edge has its rank, whatever its number: whoever polls in this epoch hears it.
 * What a person has said since the copy was made ranks above all that it forgot (R15, R26), also
 * where some edge has heard it. What was said after one that is said again is said after it again:
 * the last word stays the last. */
static int
note_below(void *arg, const Sync__Order *m, struct err *e)
{
	struct forgotten *f = arg;
	struct buf copy = BUF_INIT;
	bool replaced, yes = false;
	Sync__Order **more;
	int rc;

	if (m->number > f->top && !f->n)
		return ERR_AGAIN;
	rc = heard_replaced(f->tx, m->number, &replaced, e);
	if (!rc && !replaced && m->kind != SYNC__ORDER_KIND__ORDER_NONE &&
	    (!m->of || m->instead_of)) {
		if (m->number > f->top)
			yes = !heard_is_chore(m);
		else
			rc = heard_is_new(f->tx, m, &yes, e);
	}
	yes = yes || (!rc && !replaced && !m->of && is_ranked(m) && m->number > f->copied);
	if (rc || !yes)
		return rc;
	more = realloc(f->again, (f->n + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for orders");
	f->again = more;
	message_pack(&copy, &m->base);
	f->again[f->n] = message_read(&sync__order__descriptor, copy.data, copy.len, e);
	buf_fini(&copy);
	return f->again[f->n] && ++f->n ? 0 : ERR_LOCAL;
}

static int
find_forgotten(struct central *c, const Sync__Order *m, struct forgotten *f, bool *unknown,
	       uint64_t *last, struct err *e)
{
	Sync__Order *own = NULL;
	int rc = record_read_locked(&f->tx, c, e);

	if (rc)
		return rc;
	rc = state_number(f->tx, last_key, last, e);
	if (!rc)
		rc = dispatch_get(f->tx, m->number, &own, e);
	*unknown = rc == ERR_ABSENT ||
		   (!rc && (own->mac.len != m->mac.len ||
			    (m->mac.len && memcmp(own->mac.data, m->mac.data, m->mac.len) != 0)));
	message_free(own);
	rc = rc == ERR_ABSENT ? 0 : rc;
	if (!rc && *unknown)
		rc = find_copied(c, f, e);
	if (!rc && *unknown)
		rc = dispatch_each(f->tx, 0, note_below, f, e);
	store_end_read(f->tx);
	return rc == ERR_AGAIN ? 0 : rc;
}

/* R15: what was said before this copy was made keeps its rank, so that a restore which came after
 * it, and which an edge gives back, stands. What a person said since is the last word. */
static bool
keeps_rank(const struct forgotten *f, const Sync__Order *m)
{
	return m->number <= f->copied && is_ranked(m);
}

/* Numbers go on above it; what it would have hidden is said again. */
static int
go_on_above(struct central *c, struct forgotten *f, uint64_t last, struct err *e)
{
	Sync__Order raise = SYNC__ORDER__INIT, *m;
	size_t i;
	int rc = 0;

	raise.of = f->top;
	raise.wall_ms = clock_wall(c->clock);
	if (last < f->top)
		rc = dispatch_give_locked(c, &raise, e);
	for (i = 0; !rc && i < f->n; i++) {
		m = f->again[i];
		if (keeps_rank(f, m))
			m->of = withdrawn_rank(m);
		m->instead_of = m->number;
		rc = give_as(c, m, e);
	}
	return rc;
}

int
dispatch_heard_there(struct central *c, const Sync__Order *m, const ProtobufCBinaryData *seals,
		     struct err *e)
{
	struct forgotten f = {.top = m->number, .seals = seals};
	bool unknown = false;
	uint64_t last = 0;
	size_t i;
	int rc;

	(void)pthread_mutex_lock(&c->order);
	rc = find_forgotten(c, m, &f, &unknown, &last, e);
	if (!rc && unknown && (last < f.top || f.n)) {
		log_line(LOG_WARN, "orders.forgotten", "number=%llu last=%llu again=%zu",
			 (unsigned long long)f.top, (unsigned long long)last, f.n);
		rc = go_on_above(c, &f, last, e);
	}
	(void)pthread_mutex_unlock(&c->order);
	for (i = 0; i < f.n; i++)
		message_free(f.again[i]);
	free(f.again);
	return rc;
}

/* --- answering --- */

struct answering {
	Sync__OrdersAnswer m;
	ProtobufCBinaryData orders[ORDERS_MAX]; /* borrowed from the transaction */
	size_t bytes;
};

/* What an edge has heard. */
struct heard {
	uint64_t number, decisions, losses;
	uint64_t table;	     /* bandwidth_print of the site's */
	bool counts, tabled; /* it said these two; that one */
};

bool
dispatch_is_for(const Sync__Order *m, const char *site)
{
	return !m->site[0] || strcmp(m->site, site) == 0;
}

int
dispatch_get(struct store_tx *tx, uint64_t number, Sync__Order **out, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get_number(store_tx_kv(tx), table(tx), number, &v, e);

	if (rc)
		return rc;
	*out = message_read(&sync__order__descriptor, v.p, v.n, NULL);
	return *out ? 0 : err_set(e, ERR_CORRUPT, 0, "a row of `order` is torn");
}

int
dispatch_each(struct store_tx *tx, uint64_t from,
	      int (*fn)(void *arg, const Sync__Order *m, struct err *e), void *arg, struct err *e)
{
	struct kv_cursor *c = NULL;
	unsigned char key[8];
	struct kv_slice k, v;
	Sync__Order *m;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (!rc)
		rc = kv_cursor_seek(c, kv_number(key, from), &k, &v, e);
	while (!rc) {
		m = message_read(&sync__order__descriptor, v.p, v.n, NULL);
		rc = m ? fn(arg, m, e) : err_set(e, ERR_CORRUPT, 0, "a row of `order` is torn");
		message_free(m);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* What the site has done, or what is said under another number, is not said again, whatever became
 * of its disk since. */
static int
is_wanted(struct store_tx *tx, struct kv_slice bytes, const char *site, bool *yes, struct err *e)
{
	Sync__Order *m = message_read(&sync__order__descriptor, bytes.p, bytes.n, NULL);
	bool ended = false;
	int rc = 0;

	*yes = m && m->kind != SYNC__ORDER_KIND__ORDER_NONE && dispatch_is_for(m, site);
	if (*yes && heard_is_chore(m))
		rc = heard_ended(tx, site, m->number, &ended, e);
	if (*yes && !rc && !ended)
		rc = heard_replaced(tx, m->number, &ended, e);
	*yes = *yes && !ended;
	message_free(m);
	return rc;
}

static int
collect(struct answering *a, struct store_tx *tx, const char *site, uint64_t after, struct err *e)
{
	struct kv_cursor *c = NULL;
	unsigned char from[8];
	struct kv_slice k, v;
	bool yes;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	buf_set_be64(from, after + 1);
	if (!rc)
		rc = kv_cursor_seek(c, kv_slice(from, sizeof(from)), &k, &v, e);
	while (!rc && a->m.n_orders < ORDERS_MAX && a->bytes < ORDERS_BYTES) {
		a->m.next = buf_get_be64(k.p);
		rc = is_wanted(tx, v, site, &yes, e);
		if (!rc && yes) {
			a->orders[a->m.n_orders++] = message_bytes(v.p, v.n);
			a->bytes += v.n;
		}
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
table_print(struct store_tx *tx, const char *site, uint64_t *out, struct err *e)
{
	struct member row;
	int rc = member_get(tx, site, &row, e);

	*out = rc ? 0 : bandwidth_print(&row.bandwidth);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* R3, R19: what has no number, and only makes the edge look. */
static int
counts(struct answering *a, struct central *c, struct store_tx *tx, const char *site,
       const struct heard *h, bool *yes, struct err *e)
{
	int rc = decisions_total(tx, &a->m.decisions, e);

	if (!rc)
		rc = table_print(tx, site, &a->m.table, e);
	a->m.losses = central_losses(c);
	*yes = !rc &&
	       ((h->counts && (a->m.decisions != h->decisions || a->m.losses != h->losses)) ||
		(h->tabled && a->m.table != h->table));
	return rc;
}

static int
look(struct central *c, const char *site, const struct heard *h, struct buf *out, struct err *e)
{
	struct answering a = {.m = SYNC__ORDERS_ANSWER__INIT};
	struct store_tx *tx;
	bool others = false;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	a.m.orders = a.orders;
	rc = collect(&a, tx, site, h->number, e);
	if (!rc)
		rc = counts(&a, c, tx, site, h, &others, e);
	if (!rc && (a.m.next || others))
		message_pack(out, &a.m.base);
	store_end_read(tx);
	return rc;
}

static unsigned
commas(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += *s == ',';
	return n;
}

/* "<number>", "<number>,<decisions>,<losses>", or with ",<table>" behind these */
static bool
read_heard(const char *s, struct heard *out)
{
	unsigned long long n, d = 0, l = 0, t = 0;
	char end;
	int got;

	if (s[strspn(s, "0123456789,")] != '\0')
		return false;
	got = sscanf(s, "%20llu,%20llu,%20llu,%20llu%c", &n, &d, &l, &t, &end);
	if ((got != 1 && got != 3 && got != 4) || commas(s) != (unsigned)got - 1 || n == UINT64_MAX)
		return false;
	*out = (struct heard){n, d, l, t, got > 1, got == 4};
	return true;
}

int
dispatch_answer(struct central *c, struct http_request *rq, struct http_answer *out, struct err *e)
{
	bool waited = false, more = true;
	const char *why = "";
	struct timespec until;
	struct heard heard;
	uint64_t seen;
	int rc = 0;

	if (!read_heard(rq->rest, &heard))
		return err_set(e, ERR_PEER, 0, "no number of an order");
	rc = heard_note(c, rq->site, heard.number, e);
	clock_deadline(&until, ORDERS_WAIT_MS);
	while (!rc && more && !out->body.len) {
		/* R24: taken back while it waited, it gets no more. */
		if (waited && !gate_allowed(c, rq, RIGHT_ORDERS, &why)) {
			out->status = FORBIDDEN;
			buf_printf(&out->body, "%s\n", why);
			return 0;
		}
		seen = atomic_load(&c->dispatch.news);
		rc = look(c, rq->site, &heard, &out->body, e);
		more = !rc && !out->body.len && rq->may_wait &&
		       wait_for_more(&c->dispatch, rq->site, seen, &until);
		waited = true;
	}
	if (!rc && !out->body.len)
		out->status = NO_CONTENT;
	return rc;
}
