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
#include "edge/chores.h"
#include "edge/edge.h"
#include "edge/home.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "edge/seals.h"
#include "proto/bandwidth.h"
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
	TELL_AGAIN_MS = 15000,
	ROW = ID128_SIZE + 8
};

static const char row_key[] = "orders";	  /* epoch, number */
static const char top_key[] = ORDERS_TOP; /* epoch in which central knew it, number, bytes */

enum call { POLL = 1, TELL };

struct orders {
	struct edge *e;
	struct link *link;
	pthread_t thread;
	bool threaded;
	_Atomic bool stopping;
	_Atomic bool tells; /* there may be something to tell central */
	/* orders' thread only */
	bool asking, telling;
	struct id128 epoch; /* in which was asked last */
	int64_t asked_ms, next_ms, tell_ms;
	unsigned failures;
	uint64_t decisions, losses; /* as this epoch's central counted them last; 0: not heard */
	uint64_t table;		    /* bandwidth_print, as it told it last, in hello at first */
	bool greeted;	 /* it has been told the highest order that was ever heard here */
	bool vouched;	 /* it has been told all that is kept here of who may call */
	bool in_step;	 /* this epoch's orders are all heard: the rest may be given back */
	bool vouches;	 /* so it is told now */
	struct buf back; /* what is given back now: 'u' and a UID or 's' and a site, NUL */
	uint64_t ended[ORDERS_MAX]; /* chores whose end is told now */
	size_t n_ended;
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

/* --- the highest that was ever heard (R22) --- */

static int
note_top(struct store_tx *tx, const struct id128 *epoch, uint64_t number,
	 const ProtobufCBinaryData *bytes, struct err *e)
{
	struct buf row = BUF_INIT;
	int rc = sync_get(tx, top_key, &row, e);

	if (!rc && (row.len < ROW || buf_get_u64(row.data + ID128_SIZE) < number)) {
		buf_clear(&row);
		buf_put(&row, epoch->b, ID128_SIZE);
		buf_put_u64(&row, number);
		buf_put(&row, bytes->data, bytes->len);
		rc = buf_failed(&row) ? err_set(e, ERR_LOCAL, 0, "no memory for an order")
				      : sync_put(tx, top_key, row.data, row.len, e);
	}
	buf_fini(&row);
	return rc;
}

/* The central of this epoch knows it. */
static int
top_is_known(struct store_tx *tx, const struct id128 *epoch, struct err *e)
{
	struct buf row = BUF_INIT;
	int rc = sync_get(tx, top_key, &row, e);

	if (!rc && row.len > ROW) {
		memcpy(row.data, epoch->b, ID128_SIZE);
		rc = sync_put(tx, top_key, row.data, row.len, e);
	}
	buf_fini(&row);
	return rc;
}

/* --- what central does not know: decisions of another epoch (R16), how chores ended --- */

struct telling {
	struct orders *o;
	Sync__OrdersBack m;
	ProtobufCBinaryData orders[ORDERS_MAX];
	Sync__OrderDone *done[ORDERS_MAX];
	struct buf top, seals;
	size_t bytes;
};

/* A central that does not remember it was set back: it says again what it has said since. */
static int
add_top(struct telling *t, struct store_tx *tx, struct err *e)
{
	int rc = sync_get(tx, top_key, &t->top, e);

	if (rc || t->top.len <= ROW || memcmp(t->top.data, t->o->epoch.b, ID128_SIZE) == 0)
		return rc;
	t->m.highest = message_bytes(t->top.data + ROW, t->top.len - ROW);
	rc = seals_get(tx, &t->seals, e);
	t->m.seals = message_bytes(t->seals.data, t->seals.len);
	return rc;
}

static int
note(struct telling *t, const struct withdrawn_row *row, char kind)
{
	if (id128_same(&row->epoch, &t->o->epoch))
		return 0;
	if (t->m.n_orders == ORDERS_MAX || t->bytes > ORDERS_BYTES)
		return ERR_AGAIN;
	t->orders[t->m.n_orders++] = message_bytes(row->bytes, row->n);
	t->bytes += row->n;
	buf_put(&t->o->back, &kind, 1);
	buf_put(&t->o->back, row->uid, strlen(row->uid) + 1);
	return 0;
}

static int
note_unsaid(void *arg, const struct withdrawn_row *row, struct err *e)
{
	(void)e;
	return note(arg, row, 'u');
}

static int
note_site(void *arg, const struct withdrawn_row *row, struct err *e)
{
	(void)e;
	return note(arg, row, 's');
}

static int
note_rejection(void *arg, const struct withdrawn_row *row, struct err *e)
{
	(void)e;
	return note(arg, row, 'r');
}

static int
note_ended(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *e)
{
	struct telling *t = arg;

	(void)e;
	if (!m->done || m->said)
		return 0;
	if (t->m.n_done == ORDERS_MAX)
		return ERR_AGAIN;
	t->o->ended[t->o->n_ended++] = number;
	t->done[t->m.n_done++] = m->done;
	m->done = NULL;
	return 0;
}

static int
collect(struct telling *t, struct store_tx *tx, struct err *err)
{
	int rc = add_top(t, tx, err);

	if (!rc && t->o->in_step) /* first: who may call */
		rc = standing_rows(tx, note_site, t, err);
	t->m.standings = t->o->in_step && !rc; /* R26: none is left */
	if (!rc && t->o->in_step)
		rc = withdrawn_rows(tx, "", note_unsaid, t, err);
	if (!rc && t->o->in_step)
		rc = rejections_rows(tx, note_rejection, t, err);
	if (!rc || rc == ERR_AGAIN)
		rc = chores_each(tx, 0, note_ended, t, err);
	return rc == ERR_AGAIN ? 0 : rc;
}

/* The body is empty where there is nothing. */
static int
what_to_tell(struct orders *o, struct buf *out, struct err *err)
{
	struct telling t = {.o = o, .m = SYNC__ORDERS_BACK__INIT};
	struct store_tx *tx;
	size_t i;
	int rc = store_begin_read(&tx, o->e->store, err);

	buf_clear(&o->back);
	o->n_ended = 0;
	if (rc)
		return rc;
	t.m.orders = t.orders;
	t.m.done = t.done;
	rc = collect(&t, tx, err);
	if (!rc &&
	    (t.m.n_orders || t.m.n_done || t.m.highest.len || (t.m.standings && !o->vouched)))
		message_pack(out, &t.m.base);
	o->vouches = t.m.standings;
	store_end_read(tx);
	for (i = 0; i < t.m.n_done; i++)
		message_free(t.done[i]);
	buf_fini(&t.top);
	buf_fini(&t.seals);
	return rc;
}

static int
was_told(struct store_tx *tx, void *arg, struct err *e)
{
	const struct orders *o = arg;
	struct id128 epoch;
	size_t at, i;
	int rc = 0;

	for (i = 0; !rc && i < o->n_ended; i++)
		rc = chores_said(tx, o->ended[i], e);
	if (!rc)
		rc = sync_id(tx, "epoch", &epoch, e);
	if (rc || !id128_same(&epoch, &o->epoch))
		return rc;
	rc = top_is_known(tx, &o->epoch, e);
	for (at = 0; !rc && at < o->back.len; at += strlen((const char *)o->back.data + at) + 1) {
		const char *one = (const char *)o->back.data + at;

		rc = (*one == 's'   ? standing_heard
		      : *one == 'r' ? rejections_heard
				    : withdrawn_heard)(tx, one + 1, &o->epoch, e);
	}
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
submit(struct orders *o, struct http_call *call, enum call id, struct err *err)
{
	call->id = id;
	call->seconds = CALL_SECONDS;
	hex_of(o->epoch.b, ID128_SIZE, call->epoch);
	return link_submit(o->link, call, err);
}

static int
ask(struct orders *o, struct err *err)
{
	struct http_call call = {.method = "GET", .body = BUF_INIT};
	struct store_tx *tx;
	uint64_t number;
	int rc = store_begin_read(&tx, o->e->store, err);

	if (rc)
		return rc;
	rc = read_number(tx, &o->epoch, &number, err);
	store_end_read(tx);
	if (rc)
		return rc;
	(void)snprintf(call.path, sizeof(call.path), ORDERS_PATH "%llu,%llu,%llu,%llu",
		       (unsigned long long)number, (unsigned long long)o->decisions,
		       (unsigned long long)o->losses, (unsigned long long)o->table);
	o->asked_ms = clock_mono(o->e->clock);
	rc = submit(o, &call, POLL, err);
	o->asking = !rc;
	return rc;
}

static int
tell(struct orders *o, struct err *err)
{
	struct http_call call = {.method = "POST", .path = ORDERS_BACK_PATH, .body = BUF_INIT};
	int rc;

	atomic_store(&o->tells, false);
	rc = what_to_tell(o, &call.body, err);
	if (rc || !call.body.len) {
		o->greeted = o->greeted || !rc;
		buf_fini(&call.body);
		return rc;
	}
	rc = submit(o, &call, TELL, err);
	o->telling = !rc;
	return rc;
}

/* Another central than the one asked last, or the first one: whoever that is has not failed yet. */
static void
begin_epoch(struct orders *o, const struct id128 *epoch)
{
	struct contact c;

	o->epoch = *epoch;
	o->decisions = o->losses = 0;
	edge_contact(o->e, &c);
	o->table = c.tabled ? bandwidth_print(&c.bandwidth) : 0;
	o->greeted = o->in_step = false;
	o->vouched = home_kind(o->e) == HOME_PLAIN; /* R24: there a name is enough */
	o->next_ms = o->tell_ms = 0;
	atomic_store(&o->tells, true);
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
	if (!rc && x->bytes)
		rc = seals_note(tx, x->order, e);
	if (!rc && x->bytes)
		rc = note_top(tx, x->epoch, x->number, x->bytes, e);
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

/* What central counts is another number than it was: replicate looks. */
static void
take_counts(struct orders *o, const Sync__OrdersAnswer *m)
{
	struct contact c;
	unsigned news = 0;

	edge_contact(o->e, &c);
	if (m->decisions != o->decisions)
		news |= EDGE_NEWS_DECISIONS;
	if (m->losses != o->losses && m->losses != c.losses)
		news |= EDGE_NEWS_LOSSES;
	o->decisions = m->decisions;
	o->losses = m->losses;
	if (m->table != o->table) /* hello's answer has it */
		news |= EDGE_NEWS_TABLE;
	o->table = m->table;
	if (!news)
		return;
	atomic_fetch_or(&o->e->news, news);
	replicate_wake(o->e->replicate);
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
	if (!rc && last.number)
		rc = store_commit(o->e->store, obey_one, &last, err);
	if (!rc) {
		take_counts(o, m);
		chores_wake(o->e->chores);
	}
	message_free(m);
	return rc;
}

static void
on_told(struct orders *o, const struct http_done *done, bool ours)
{
	struct err err = ERR_INIT;

	o->telling = false;
	atomic_store(&o->tells, true); /* is there more? */
	o->greeted = o->greeted || (done->status >= 400 && done->status < 500 && ours);
	if (done->status == 200 && ours && store_commit(o->e->store, was_told, o, &err) == 0) {
		o->greeted = true;
		o->vouched = o->vouched || o->vouches;
		return;
	}
	if (err.code)
		log_err(LOG_WARN, "orders", &err);
	if (done->status == 409) /* R22 */
		replicate_hello(o->e->replicate);
	o->tell_ms = clock_mono(o->e->clock) + TELL_AGAIN_MS;
}

static void
on_answer(struct orders *o, const struct http_done *done, bool ours)
{
	struct err err = ERR_INIT;

	o->asking = false;
	if (done->status == 200 && ours && obey_all(o, done, &err) == 0) {
		o->failures = 0;
		o->next_ms = clock_mono(o->e->clock); /* which says that these are done */
	} else if (done->status == 204 && ours) {
		o->failures = 0; /* where it was not waited for, it is now */
		if (!o->in_step)
			atomic_store(&o->tells, true);
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

static void
begin_calls(struct orders *o)
{
	int64_t now = clock_mono(o->e->clock);
	struct err err = ERR_INIT;
	struct id128 epoch;

	if (!central_now(o, &epoch))
		return;
	if (!id128_same(&epoch, &o->epoch)) {
		if (o->asking || o->telling) /* of the one before */
			return;
		begin_epoch(o, &epoch);
	}
	if (!o->telling && now >= o->tell_ms && atomic_load(&o->tells) && tell(o, &err)) {
		log_err(LOG_WARN, "orders", &err);
		atomic_store(&o->tells, true);
		o->tell_ms = now + TELL_AGAIN_MS;
	}
	err_clear(&err);
	if (!o->greeted || o->asking || now < o->next_ms || !ask(o, &err))
		return;
	log_err(LOG_WARN, "orders", &err);
	later(o);
}

void
orders_turn(struct orders *o, int timeout_ms)
{
	struct http_done done;
	struct err err = ERR_INIT;
	bool got = false, ours;

	begin_calls(o);
	if (link_wait(o->link, timeout_ms, &done, &got, &err)) {
		log_err(LOG_WARN, "orders", &err);
		return;
	}
	if (!got)
		return;
	ours = strcmp(done.asked, done.epoch) == 0;
	if (done.id == TELL)
		on_told(o, &done, ours);
	else
		on_answer(o, &done, ours);
	buf_fini(&done.body);
	buf_fini(&done.spent);
}

int64_t
orders_due(const struct orders *o)
{
	int64_t due = o->asking || !o->greeted ? INT64_MAX : o->next_ms;
	struct id128 epoch;

	if (!central_now(o, &epoch))
		return INT64_MAX;
	if (!id128_same(&epoch, &o->epoch))
		return o->asking || o->telling ? INT64_MAX : 0;
	if (!o->telling && atomic_load(&o->tells) && o->tell_ms < due)
		due = o->tell_ms;
	return due;
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
	if (!o)
		return;
	atomic_store(&o->tells, true);
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
