#include "edge/orders.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/http/client.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"
#include "proto/version.h"
#include "proto/withdrawn.h"

enum {
	TURN_MS = 1000,
	CALL_SECONDS = ORDERS_WAIT_MS / 1000 + 20,
	AGAIN_MS = 1000, /* doubled with each failure, with jitter */
	AGAIN_MAX_MS = 60000,
	ROW = ID128_SIZE + 8
};

static const char row_key[] = "orders"; /* epoch, number */

struct orders {
	struct edge *e;
	struct link *link;
	pthread_t thread;
	bool threaded;
	_Atomic bool stopping;
	/* orders' thread only */
	bool asking;
	struct id128 epoch; /* in which was asked last */
	int64_t asked_ms, next_ms;
	unsigned failures;
	bool in_step;	 /* this epoch's orders are all heard: the rest may be given back */
	struct buf back; /* what is given back now: uids, each with its NUL */
	bool giving;	 /* `asking` is that */
};

/* --- how far --- */

static int
read_number(struct store_tx *tx, const struct id128 *epoch, uint64_t *out, struct err *e)
{
	struct buf row = BUF_INIT;
	int rc = sync_get(tx, row_key, &row, e);

	*out = 0;
	if (!rc && row.len == ROW && memcmp(row.data, epoch->b, ID128_SIZE) == 0)
		*out = buf_get_u64(row.data + ID128_SIZE);
	buf_fini(&row);
	return rc;
}

static int
write_number(struct store_tx *tx, const struct id128 *epoch, uint64_t number, struct err *e)
{
	unsigned char row[ROW];

	memcpy(row, epoch->b, ID128_SIZE);
	buf_set_u64(row + ID128_SIZE, number);
	return sync_put(tx, row_key, row, sizeof(row), e);
}

/* --- what was decided in another epoch, and this central has not said (R16) --- */

struct giving {
	struct orders *o;
	Sync__OrdersBack m;
	ProtobufCBinaryData orders[ORDERS_MAX];
	size_t bytes;
};

static int
note_unsaid(void *arg, const struct withdrawn_row *row, struct err *e)
{
	struct giving *g = arg;

	(void)e;
	if (id128_same(&row->epoch, &g->o->epoch))
		return 0;
	if (g->m.n_orders == ORDERS_MAX || g->bytes > ORDERS_BYTES)
		return ERR_AGAIN;
	g->orders[g->m.n_orders++] = message_bytes(row->bytes, row->n);
	g->bytes += row->n;
	buf_put(&g->o->back, row->uid, strlen(row->uid) + 1);
	return 0;
}

/* *call: what to say; false: all was said. */
static bool
give_back(struct orders *o, struct http_call *call, struct err *err)
{
	struct giving g = {.o = o, .m = SYNC__ORDERS_BACK__INIT};
	struct store_tx *tx;
	int rc = store_begin_read(&tx, o->e->store, err);

	buf_clear(&o->back);
	g.m.orders = g.orders;
	if (!rc) {
		rc = withdrawn_rows(tx, "", note_unsaid, &g, err);
		if ((!rc || rc == ERR_AGAIN) && g.m.n_orders)
			message_pack(&call->body, &g.m.base);
		store_end_read(tx);
	}
	if (rc && rc != ERR_AGAIN)
		log_err(LOG_WARN, "orders", err);
	return call->body.len > 0;
}

static int
was_given(struct store_tx *tx, void *arg, struct err *e)
{
	const struct orders *o = arg;
	struct id128 epoch;
	size_t at;
	int rc = sync_id(tx, "epoch", &epoch, e);

	if (!rc && !id128_same(&epoch, &o->epoch))
		return 0;
	for (at = 0; !rc && at < o->back.len; at += strlen((const char *)o->back.data + at) + 1)
		rc = withdrawn_heard(tx, (const char *)o->back.data + at, &o->epoch, e);
	return rc;
}

/* --- asking --- */

/* Whom to ask; none: not now. */
static bool
central_now(const struct orders *o, struct id128 *epoch)
{
	const struct contact *c = &o->e->contact;
	bool yes;

	(void)pthread_mutex_lock(&o->e->mu);
	*epoch = c->epoch;
	yes = c->reachable && c->version >= PROTOCOL_DECISIONS && !c->two_centrals &&
	      !id128_none(&c->epoch);
	(void)pthread_mutex_unlock(&o->e->mu);
	return yes;
}

static void
later(struct orders *o)
{
	int64_t now = clock_mono(o->e->clock), wait = AGAIN_MS;
	unsigned i;

	for (i = 0; i < o->failures && wait < AGAIN_MAX_MS; i++)
		wait *= 2;
	o->failures++;
	o->next_ms = now + wait / 2 + (int64_t)rng_below(rng_real(), (uint64_t)wait / 2 + 1);
}

static int
ask(struct orders *o, const struct id128 *epoch, struct err *err)
{
	struct http_call call = {.method = "GET", .seconds = CALL_SECONDS, .body = BUF_INIT};
	struct store_tx *tx;
	uint64_t number;
	int rc = store_begin_read(&tx, o->e->store, err);

	if (rc)
		return rc;
	rc = read_number(tx, epoch, &number, err);
	store_end_read(tx);
	if (rc)
		return rc;
	(void)snprintf(call.path, sizeof(call.path), ORDERS_PATH "%llu",
		       (unsigned long long)number);
	if (!id128_same(&o->epoch, epoch))
		o->in_step = false;
	o->giving = o->in_step && give_back(o, &call, err);
	if (o->giving) {
		call.method = "POST";
		strcpy(call.path, ORDERS_BACK_PATH);
	}
	hex_of(epoch->b, ID128_SIZE, call.epoch);
	o->epoch = *epoch;
	o->asked_ms = clock_mono(o->e->clock);
	rc = link_submit(o->link, &call, err);
	o->asking = !rc;
	return rc;
}

/* --- what came --- */

struct obeying {
	const struct id128 *epoch;
	const ProtobufCBinaryData *bytes; /* NULL: none is left, `number` was all */
	const Sync__Order *order;
	uint64_t number;
};

static int
obey_one(struct store_tx *tx, void *arg, struct err *e)
{
	const struct obeying *x = arg;
	struct id128 epoch;
	uint64_t before = 0;
	int rc = sync_id(tx, "epoch", &epoch, e);

	if (!rc && !id128_same(&epoch, x->epoch)) /* R22 */
		rc = err_set(e, ERR_AGAIN, 0, "an order of another epoch");
	if (!rc)
		rc = read_number(tx, x->epoch, &before, e);
	if (rc || x->number <= before)
		return rc;
	if (x->bytes)
		rc = obey(tx, x->epoch, x->order, x->bytes->data, x->bytes->len, e);
	return rc ? rc : write_number(tx, x->epoch, x->number, e);
}

static int
obey_next(struct orders *o, const ProtobufCBinaryData *bytes, struct err *err)
{
	struct obeying x = {&o->epoch, bytes, NULL, 0};
	Sync__Order *m = message_read(&sync__order__descriptor, bytes->data, bytes->len, err);
	int rc;

	if (!m)
		return ERR_PEER;
	x.order = m;
	x.number = m->number;
	rc = store_commit(o->e->store, obey_one, &x, err);
	if (!rc)
		log_line(LOG_INFO, "order", "number=%llu kind=%d", (unsigned long long)m->number,
			 (int)m->kind);
	message_free(m);
	return rc;
}

static int
obey_all(struct orders *o, const struct http_done *done, struct err *err)
{
	struct obeying last = {&o->epoch, NULL, NULL, 0};
	Sync__OrdersAnswer *m = message_read(&sync__orders_answer__descriptor, done->body.data,
					     done->body.len, err);
	size_t i;
	int rc = m ? 0 : ERR_PEER;

	for (i = 0; !rc && i < m->n_orders; i++)
		rc = obey_next(o, &m->orders[i], err);
	last.number = m ? m->next : 0;
	if (!rc)
		rc = store_commit(o->e->store, obey_one, &last, err);
	message_free(m);
	return rc;
}

static void
on_answer(struct orders *o, const struct http_done *done)
{
	bool ours = strcmp(done->asked, done->epoch) == 0;
	struct err err = ERR_INIT;

	o->asking = false;
	if (o->giving && done->status == 200 && ours) {
		if (store_commit(o->e->store, was_given, o, &err))
			log_err(LOG_WARN, "orders", &err);
		o->failures = 0;
		return;
	}
	if (done->status == 200 && ours && obey_all(o, done, &err) == 0) {
		o->failures = 0;
		o->next_ms = clock_mono(o->e->clock); /* which says that these are done */
	} else if (done->status == 204 && ours) {
		o->failures = 0; /* where it was not waited for, it is now */
		o->in_step = true;
		o->next_ms = o->asked_ms + ORDERS_WAIT_MS;
	} else {
		if (done->status == 409) /* R22 */
			replicate_hello(o->e->replicate);
		later(o);
	}
	if (err.code && err.code != ERR_AGAIN)
		log_err(LOG_ERROR, "orders", &err);
}

/* --- turns --- */

void
orders_turn(struct orders *o, int timeout_ms)
{
	struct http_done done;
	struct err err = ERR_INIT;
	struct id128 epoch;
	bool got = false;

	if (!o->asking && central_now(o, &epoch)) {
		if (!id128_same(&epoch, &o->epoch)) /* whoever that is has not failed yet */
			o->next_ms = 0;
		if (clock_mono(o->e->clock) >= o->next_ms && ask(o, &epoch, &err)) {
			log_err(LOG_WARN, "orders", &err);
			later(o);
		}
	}
	err_clear(&err);
	if (link_wait(o->link, timeout_ms, &done, &got, &err)) {
		log_err(LOG_WARN, "orders", &err);
		return;
	}
	if (!got)
		return;
	on_answer(o, &done);
	buf_fini(&done.body);
	buf_fini(&done.spent);
}

int64_t
orders_due(const struct orders *o)
{
	struct id128 epoch;

	if (o->asking || !central_now(o, &epoch))
		return INT64_MAX;
	return id128_same(&epoch, &o->epoch) ? o->next_ms : 0;
}

int
orders_new(struct orders **out, struct edge *e, struct link *link, struct err *err)
{
	struct orders *o = calloc(1, sizeof(*o));
	int rc = o ? obey_kept(e, err) : err_set(err, ERR_LOCAL, 0, "no memory for orders");

	if (rc) {
		link_close(link);
		free(o);
		return rc;
	}
	o->e = e;
	o->link = link;
	*out = o;
	return 0;
}

static void *
run(void *arg)
{
	struct orders *o = arg;

	while (!atomic_load(&o->stopping))
		orders_turn(o, TURN_MS);
	return NULL;
}

int
orders_start(struct orders **out, struct edge *e, struct err *err)
{
	struct link *link;
	int rc = e->make_link(&link, e, err);

	if (!rc)
		rc = orders_new(out, e, link, err);
	if (rc)
		return rc;
	(*out)->threaded = pthread_create(&(*out)->thread, NULL, run, *out) == 0;
	if ((*out)->threaded)
		return 0;
	orders_stop(*out);
	*out = NULL;
	return err_set(err, ERR_LOCAL, 0, "cannot start a thread");
}

void
orders_wake(struct orders *o)
{
	if (o)
		link_wake(o->link);
}

void
orders_stop(struct orders *o)
{
	if (!o)
		return;
	atomic_store(&o->stopping, true);
	link_wake(o->link);
	if (o->threaded)
		(void)pthread_join(o->thread, NULL);
	link_close(o->link);
	buf_fini(&o->back);
	free(o);
}
