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
#include "central/gate.h"
#include "central/record.h"
#include "central/withdraw.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"

enum { NO_CONTENT = 204, FORBIDDEN = 403 };

static const char last_key[] = "orders";

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
	pthread_condattr_t attr;

	memset(o, 0, sizeof(*o));
	(void)pthread_mutex_init(&o->mu, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&o->given, &attr);
	(void)pthread_condattr_destroy(&attr);
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

static unsigned
waiting_of(const struct dispatch *o, const char *site)
{
	const struct dispatch_waiter *w;
	unsigned n = 0;

	for (w = o->first; w; w = w->next)
		n += strcmp(w->site, site) == 0;
	return n;
}

/* Until something beyond `seen` was given. false: the time is up, or nobody may wait. */
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
		while (!o->stopping && !up && atomic_load(&o->last) == seen)
			up = pthread_cond_timedwait(&o->given, &o->mu, until) == ETIMEDOUT;
		for (at = &o->first; *at != me; at = &(*at)->next)
			;
		*at = me->next;
		o->waiting--;
	}
	more = !o->stopping && atomic_load(&o->last) != seen;
	(void)pthread_mutex_unlock(&o->mu);
	free(me);
	return more;
}

static void
tell_waiting(struct dispatch *o, uint64_t number)
{
	(void)pthread_mutex_lock(&o->mu);
	if (atomic_load(&o->last) < number)
		atomic_store(&o->last, number);
	(void)pthread_cond_broadcast(&o->given);
	(void)pthread_mutex_unlock(&o->mu);
}

/* --- giving one --- */

int
dispatch_load(struct central *c, struct store_tx *tx, struct err *e)
{
	uint64_t last;
	int rc = state_number(tx, last_key, &last, e);

	if (!rc)
		tell_waiting(&c->dispatch, last);
	return rc;
}

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

int
dispatch_give_locked(struct central *c, Sync__Order *m, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	unsigned char mac[SHA256_SIZE];
	struct buf bytes = BUF_INIT;
	int rc = next_number(c, &m->number, e);

	m->wall_ms = m->of ? m->wall_ms : clock_wall(c->clock);
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
	m->mac = message_bytes(NULL, 0);
	if (rc)
		return rc;
	log_line(LOG_INFO, "order.given", "number=%llu kind=%d site=%s",
		 (unsigned long long)m->number, (int)m->kind, m->site[0] ? m->site : "-");
	tell_waiting(&c->dispatch, m->number);
	return 0;
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
	buf_set_be64(key, o->number);
	rc = kv_put(store_tx_kv(tx), table(tx), kv_slice(key, sizeof(key)),
		    kv_slice(m->order.data, m->order.len), e);
	if (!rc)
		rc = state_number(tx, last_key, &last, e);
	highest = o->of > o->number ? o->of : o->number; /* the next one is above both */
	if (!rc && last < highest)
		rc = state_set_number(tx, last_key, highest, e);
	if (!rc && (o->kind == SYNC__ORDER_KIND__ORDER_RETRACT ||
		    o->kind == SYNC__ORDER_KIND__ORDER_RESTORE))
		rc = withdraw_apply(tx, o, m->order.data, m->order.len, e);
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

/* --- answering --- */

struct answering {
	Sync__OrdersAnswer m;
	ProtobufCBinaryData orders[ORDERS_MAX]; /* borrowed from the transaction */
	size_t bytes;
};

static bool
is_for(struct kv_slice bytes, const char *site)
{
	Sync__Order *o = message_read(&sync__order__descriptor, bytes.p, bytes.n, NULL);
	bool yes = o && (!o->site[0] || strcmp(o->site, site) == 0);

	message_free(o);
	return yes;
}

static int
collect(struct answering *a, struct store_tx *tx, const char *site, uint64_t after, struct err *e)
{
	struct kv_cursor *c = NULL;
	unsigned char from[8];
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	buf_set_be64(from, after + 1);
	if (!rc)
		rc = kv_cursor_seek(c, kv_slice(from, sizeof(from)), &k, &v, e);
	while (!rc && a->m.n_orders < ORDERS_MAX && a->bytes < ORDERS_BYTES) {
		a->m.next = buf_get_be64(k.p);
		if (is_for(v, site)) {
			a->orders[a->m.n_orders++] = message_bytes(v.p, v.n);
			a->bytes += v.n;
		}
		rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
look(struct central *c, const char *site, uint64_t after, struct buf *out, struct err *e)
{
	struct answering a = {.m = SYNC__ORDERS_ANSWER__INIT};
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	a.m.orders = a.orders;
	rc = collect(&a, tx, site, after, e);
	if (!rc && a.m.next)
		message_pack(out, &a.m.base);
	store_end_read(tx);
	return rc;
}

static bool
number_of(const char *s, uint64_t *out)
{
	unsigned long long n;
	char end;

	if (*s < '0' || *s > '9' || sscanf(s, "%20llu%c", &n, &end) != 1 || n == UINT64_MAX)
		return false;
	*out = n;
	return true;
}

static void
until_when(struct timespec *t)
{
	(void)clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_sec += ORDERS_WAIT_MS / 1000;
}

int
dispatch_answer(struct central *c, struct http_request *rq, struct http_answer *out, struct err *e)
{
	bool waited = false, more = true;
	const char *why = "";
	struct timespec until;
	uint64_t after, seen;
	int rc = 0;

	if (!number_of(rq->rest, &after))
		return err_set(e, ERR_PEER, 0, "no number of an order");
	until_when(&until);
	while (!rc && more && !out->body.len) {
		/* R24: taken back while it waited, it gets no more. */
		if (waited && !gate_allowed(c, rq, RIGHT_ORDERS, &why)) {
			out->status = FORBIDDEN;
			buf_printf(&out->body, "%s\n", why);
			return 0;
		}
		seen = atomic_load(&c->dispatch.last);
		rc = look(c, rq->site, after, &out->body, e);
		more = !rc && !out->body.len && rq->may_wait &&
		       wait_for_more(&c->dispatch, rq->site, seen, &until);
		waited = true;
	}
	if (!rc && !out->body.len)
		out->status = NO_CONTENT;
	return rc;
}
