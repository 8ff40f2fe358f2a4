#include "edge/chores.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "edge/refill.h"
#include "edge/refill_said.h"
#include "edge/resync.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"

enum {
	TURN_SECONDS = 2,
	STEP_MS = 60000, /* n tries: n^2 of it */
	STEP_MAX_MS = 4 * 3600000,
	TEXT = 340,
	NAME = 32,
	KINDS = 64 /* more than there are */
};

struct chores {
	struct edge *e;
	pthread_t thread;
	bool threaded;
	pthread_mutex_t mu;
	pthread_cond_t wake;
	bool stopping, wanted; /* guarded by mu */
	_Atomic uint64_t running;
};

/* --- rows --- */

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), CHORES_TABLE);
}

static int
put(struct store_tx *tx, uint64_t number, const Sync__ChoreRow *m, struct err *e)
{
	struct buf row = BUF_INIT;
	unsigned char key[8];
	int rc;

	message_pack(&row, &m->base);
	rc = buf_failed(&row) ? err_set(e, ERR_LOCAL, 0, "no memory for an order")
			      : kv_put(store_tx_kv(tx), table(tx), kv_number(key, number),
				       kv_slice(row.data, row.len), e);
	buf_fini(&row);
	return rc;
}

/* ERR_ABSENT: no such. The caller frees it. */
static int
get(struct store_tx *tx, uint64_t number, Sync__ChoreRow **out, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get_number(store_tx_kv(tx), table(tx), number, &v, e);

	if (rc)
		return rc;
	*out = message_read(&sync__chore_row__descriptor, v.p, v.n, NULL);
	return *out ? 0 : err_set(e, ERR_CORRUPT, 0, "a row of `chore` is torn");
}

int
chores_each(struct store_tx *tx, uint64_t from,
	    int (*fn)(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *e), void *arg,
	    struct err *e)
{
	struct kv_cursor *c = NULL;
	unsigned char key[8];
	struct kv_slice k, v;
	Sync__ChoreRow *m;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (!rc)
		rc = kv_cursor_seek(c, kv_number(key, from), &k, &v, e);
	while (!rc) {
		m = message_read(&sync__chore_row__descriptor, v.p, v.n, NULL);
		rc = m ? fn(arg, buf_get_be64(k.p), m, e)
		       : err_set(e, ERR_CORRUPT, 0, "a row of `chore` is torn");
		message_free(m);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

bool
chores_is(int kind)
{
	return kind == SYNC__ORDER_KIND__ORDER_REFILL || kind == SYNC__ORDER_KIND__ORDER_VERIFY ||
	       kind == SYNC__ORDER_KIND__ORDER_RESEND || kind == SYNC__ORDER_KIND__ORDER_PREFETCH;
}

/* Of the sync table: the number of the last one of its kind. */
static void
name_of(char name[NAME], int kind)
{
	(void)snprintf(name, NAME, "chore_%d", kind);
}

static int
note_number(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *e)
{
	struct buf *numbers = arg;

	(void)e;
	if (!m->own)
		buf_put_u64(numbers, number);
	return 0;
}

int
chores_other_archive(struct store_tx *tx, struct err *e)
{
	struct buf numbers = BUF_INIT;
	unsigned char key[8];
	char name[NAME];
	size_t at;
	int kind, rc = chores_each(tx, 0, note_number, &numbers, e);

	if (!rc && buf_failed(&numbers))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for orders");
	/* Nobody waits for them any more, and their numbers are given again. */
	for (at = 0; !rc && at < numbers.len; at += 8) {
		rc = kv_del(store_tx_kv(tx), table(tx),
			    kv_number(key, buf_get_u64(numbers.data + at)), e);
	}
	for (kind = 0; !rc && kind < KINDS; kind++) {
		name_of(name, kind);
		rc = chores_is(kind) ? sync_set_number(tx, name, 0, e) : 0;
	}
	buf_fini(&numbers);
	return rc;
}

int
chores_take(struct store_tx *tx, const Sync__Order *m, const void *bytes, size_t n, struct err *e)
{
	Sync__ChoreRow row = SYNC__CHORE_ROW__INIT;
	uint64_t last = 0;
	char name[NAME];
	int rc;

	name_of(name, (int)m->kind);
	rc = sync_number(tx, name, &last, e);
	if (rc || m->number <= last) /* R22: it was heard before */
		return rc;
	row.order = message_bytes(bytes, n);
	rc = put(tx, m->number, &row, e);
	return rc ? rc : sync_set_number(tx, name, m->number, e);
}

/* --- asked for by a person here --- */

struct asking {
	struct buf order;
	uint64_t next; /* number */
	bool there;    /* the same waits already */
};

static int
note_own(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *e)
{
	struct asking *a = arg;

	(void)e;
	a->next = number + 1;
	a->there = a->there || (m->order.len == a->order.len &&
				memcmp(m->order.data, a->order.data, a->order.len) == 0);
	return 0;
}

static int
put_own(struct store_tx *tx, void *arg, struct err *e)
{
	Sync__ChoreRow row = SYNC__CHORE_ROW__INIT;
	struct asking *a = arg;
	int rc;

	a->next = CHORES_OWN;
	a->there = false;
	rc = chores_each(tx, CHORES_OWN, note_own, a, e);
	row.order = message_bytes(a->order.data, a->order.len);
	row.own = row.doubted = true;
	return rc || a->there ? rc : put(tx, a->next, &row, e);
}

int
chores_ask_rest(struct edge *e, const struct refill_config *c, struct err *err)
{
	Sync__Order m = SYNC__ORDER__INIT;
	struct asking a = {.order = BUF_INIT};
	int rc;

	m.kind = SYNC__ORDER_KIND__ORDER_REFILL;
	m.group = c->group;
	m.days = c->days;
	m.most_bytes = c->bytes;
	message_pack(&a.order, &m.base);
	rc = buf_failed(&a.order) ? err_set(err, ERR_LOCAL, 0, "no memory for an order")
				  : store_commit(e->store, put_own, &a, err);
	buf_fini(&a.order);
	return rc;
}

struct counting {
	uint64_t open, unsaid;
};

static int
count_one(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *e)
{
	struct counting *c = arg;

	(void)number;
	(void)e;
	c->open += !m->done;
	c->unsaid += m->done && !m->said;
	return 0;
}

int
chores_count(struct store_tx *tx, uint64_t *open, uint64_t *unsaid, struct err *e)
{
	struct counting c = {0, 0};
	int rc = chores_each(tx, 0, count_one, &c, e);

	*open = c.open;
	*unsaid = c.unsaid;
	return rc;
}

struct old {
	uint64_t n, first;
};

static int
note_said(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *e)
{
	struct old *o = arg;

	(void)e;
	if (m->said && o->n++ == 0)
		o->first = number;
	return 0;
}

int
chores_said(struct store_tx *tx, uint64_t number, struct err *e)
{
	struct old o = {0, 0};
	unsigned char key[8];
	Sync__ChoreRow *m;
	int rc = get(tx, number, &m, e);

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	m->said = true;
	rc = put(tx, number, m, e);
	message_free(m);
	if (!rc)
		rc = chores_each(tx, 0, note_said, &o, e);
	if (rc || o.n <= CHORES_KEPT)
		return rc;
	return kv_del(store_tx_kv(tx), table(tx), kv_number(key, o.first), e);
}

/* --- carrying one out --- */

struct doing {
	struct edge *e;
	uint64_t number;
	int64_t now;   /* store_time */
	bool in_doubt; /* R26: central does not know yet whether the site may read all */
	Sync__Order *order;
	/* how it ended */
	int rc;
	Sync__OrderOutcome outcome;
	char text[TEXT];
	bool counts;  /* a failure is a try: central was there all the time */
	bool doubted; /* R26: by that, something was left out */
};

static int
note_due(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *e)
{
	struct doing *d = arg;

	if (m->done || m->not_before_ms > d->now || (m->doubted && d->in_doubt))
		return 0;
	d->number = number;
	d->order = message_read(&sync__order__descriptor, m->order.data, m->order.len, e);
	return d->order ? ERR_AGAIN : ERR_CORRUPT;
}

/* number 0: none is due. */
static int
find_due(struct doing *d, struct err *err)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, d->e->store, err);

	if (rc)
		return rc;
	d->now = store_time(d->e->store);
	rc = chores_each(tx, 0, note_due, d, err);
	store_end_read(tx);
	return rc == ERR_AGAIN ? 0 : rc;
}

static unsigned long long
ull(uint64_t n)
{
	return n;
}

/* What came is held at central: not owed, and never in the way of what is (R7, R12). */
static void
do_refill(struct doing *d, struct err *err)
{
	const Sync__Order *m = d->order;
	bool one = m->kind == SYNC__ORDER_KIND__ORDER_PREFETCH;
	struct refill_config c = {.group = m->group,
				  .study = one ? m->study : NULL,
				  .days = m->days,
				  .bytes = m->most_bytes};
	struct refill_result r;
	char said[300];

	d->rc = refill_run(d->e, &c, NULL, &r, err);
	d->outcome = r.failed || r.by_policy || (one && !r.known)
			     ? SYNC__ORDER_OUTCOME__ORDER_OUTCOME_PERSON
			     : SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE;
	d->doubted = !d->rc && r.doubted && !r.stopped;
	refill_said(said, sizeof(said), &r);
	(void)snprintf(d->text, sizeof(d->text), "%s%s",
		       one && !r.known ? "no such study for this site: " : "", said);
}

static void
do_resync(struct doing *d, struct err *err)
{
	bool verify = d->order->kind == SYNC__ORDER_KIND__ORDER_VERIFY;
	struct resync_config c = {
		.verify = verify, .part = d->order->part, .parts = d->order->parts};
	struct resync_result r;
	char read[80] = "";

	d->rc = resync_run(d->e, &c, NULL, &r, err);
	d->outcome = r.person ? SYNC__ORDER_OUTCOME__ORDER_OUTCOME_PERSON
			      : SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE;
	if (verify)
		(void)snprintf(read, sizeof(read), "%llu images read, %llu damaged, %llu unread; ",
			       ull(r.images), ull(r.rotten), ull(r.unread));
	(void)snprintf(d->text, sizeof(d->text),
		       "%s%llu at central, %llu queued, %llu owed, %llu damaged and %llu gone at "
		       "both ends",
		       read, ull(r.found.held), ull(r.found.queued), ull(r.owed_after),
		       ull(r.found.damaged), ull(r.found.gone));
}

/* What central says of it is for its log; here it is numbers, and never a value (R35). */
static void
do_it(struct doing *d)
{
	struct err err = ERR_INIT;
	struct contact c;

	if (d->order->kind == SYNC__ORDER_KIND__ORDER_REFILL ||
	    d->order->kind == SYNC__ORDER_KIND__ORDER_PREFETCH)
		do_refill(d, &err);
	else
		do_resync(d, &err);
	edge_contact(d->e, &c);
	d->counts = c.reachable;
	if (!d->rc)
		return;
	log_err(LOG_WARN, "order.again", &err);
	(void)snprintf(d->text, sizeof(d->text), "%.180s", err.what);
}

/* Again later, or it ends here. */
static void
tried(const struct doing *d, Sync__ChoreRow *m, Sync__OrderDone *done)
{
	int64_t step = STEP_MS;

	m->doubted = d->doubted;
	if (d->doubted) {
		m->not_before_ms = d->now + STEP_MS;
		return;
	}
	m->tries += d->counts && m->tries < CHORES_TRIES;
	if (d->rc && (m->own || m->tries < CHORES_TRIES)) {
		if (m->tries)
			step *= (int64_t)m->tries * m->tries;
		m->not_before_ms = d->now + (step < STEP_MAX_MS ? step : STEP_MAX_MS);
		return;
	}
	done->number = d->number;
	done->outcome = d->rc ? SYNC__ORDER_OUTCOME__ORDER_OUTCOME_FAILED : d->outcome;
	done->text = message_text(d->text);
	done->wall_ms = clock_wall(d->e->clock);
	m->done = done;
}

static int
keep_outcome(struct store_tx *tx, void *arg, struct err *e)
{
	Sync__OrderDone done = SYNC__ORDER_DONE__INIT;
	struct doing *d = arg;
	unsigned char key[8];
	Sync__ChoreRow *m;
	int rc = get(tx, d->number, &m, e);

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	tried(d, m, &done);
	rc = m->own && m->done ? kv_del(store_tx_kv(tx), table(tx), kv_number(key, d->number), e)
			       : put(tx, d->number, m, e);
	if (m->done == &done)
		m->done = NULL;
	message_free(m);
	return rc;
}

void
chores_turn(struct chores *c, bool *ran)
{
	struct doing d = {.e = c->e};
	struct err err = ERR_INIT;
	struct contact contact;
	int rc;

	*ran = false;
	edge_contact(c->e, &contact);
	if (!contact.reachable || contact.two_centrals) /* R22 */
		return;
	d.in_doubt = contact.own_only == SYNC__OWN_ONLY__OWN_ONLY_DOUBT;
	rc = find_due(&d, &err);
	if (!rc && d.number) {
		atomic_store(&c->running, d.number);
		do_it(&d);
		atomic_store(&c->running, 0);
		/* Stopped in the middle, it is begun again at the next start. */
		if (!d.rc || !atomic_load(&c->e->stopping))
			rc = store_commit(c->e->store, keep_outcome, &d, &err);
		*ran = !rc;
		if (!rc && !d.rc && !d.doubted)
			log_line(LOG_INFO, "order.done", "number=%llu kind=%d outcome=%d",
				 ull(d.number), (int)d.order->kind, (int)d.outcome);
		orders_wake(c->e->orders); /* it is told */
	}
	if (rc)
		log_err(LOG_ERROR, "chores", &err);
	message_free(d.order);
}

/* --- what `status` says --- */

struct showing {
	struct edge *e;
	uint64_t running;
	struct buf *out;
	struct json *j; /* NULL: as text */
};

static const char *
state_of(const struct showing *s, uint64_t number, const Sync__ChoreRow *m)
{
	if (number == s->running)
		return "running";
	if (m->doubted)
		return "the rest comes when central knows who was removed";
	if (!m->done)
		return m->tries ? "tried again later" : "waits";
	return m->done->outcome == SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE     ? "done"
	       : m->done->outcome == SYNC__ORDER_OUTCOME__ORDER_OUTCOME_PERSON ? "needs a person"
									       : "failed";
}

static int
show_one(void *arg, uint64_t number, Sync__ChoreRow *m, struct err *err)
{
	const struct showing *s = arg;
	const char *said = m->done ? m->done->text : "";
	Sync__Order *o = message_read(&sync__order__descriptor, m->order.data, m->order.len, err);

	if (!o)
		return ERR_CORRUPT;
	if (s->j) {
		json_open(s->j, NULL, '{');
		json_count(s->j, "number", m->own ? 0 : number);
		json_bool(s->j, "asked_for_here", m->own);
		json_text(s->j, "kind", orders_kind_name((int)o->kind));
		json_text(s->j, "state", state_of(s, number, m));
		json_text(s->j, "said", said);
		json_bool(s->j, "central_knows", m->said);
		json_close(s->j, '}');
	} else if (m->own) {
		buf_printf(s->out, "asked for here: %s, %s\n", orders_kind_name((int)o->kind),
			   state_of(s, number, m));
	} else if (!m->said) {
		buf_printf(s->out, "order %llu of central: %s, %s%s%s\n", ull(number),
			   orders_kind_name((int)o->kind), state_of(s, number, m),
			   said[0] ? ": " : "", said);
	}
	message_free(o);
	return 0;
}

static int
show(struct showing *s, struct err *err)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, s->e->store, err);

	if (rc)
		return rc;
	s->running = chores_running(s->e->chores);
	rc = chores_each(tx, 0, show_one, s, err);
	store_end_read(tx);
	return rc;
}

int
chores_text(struct edge *e, struct buf *out, struct err *err)
{
	struct showing s = {.e = e, .out = out};

	return show(&s, err);
}

int
chores_json(struct edge *e, struct json *j, const char *name, struct err *err)
{
	struct showing s = {.e = e, .j = j};
	int rc;

	json_open(j, name, '[');
	rc = show(&s, err);
	json_close(j, ']');
	return rc;
}

/* --- start and stop --- */

uint64_t
chores_running(struct chores *c)
{
	return c ? atomic_load(&c->running) : 0;
}

void
chores_wake(struct chores *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->mu);
	c->wanted = true;
	(void)pthread_cond_signal(&c->wake);
	(void)pthread_mutex_unlock(&c->mu);
}

static void *
run(void *arg)
{
	struct chores *c = arg;
	struct timespec t;
	bool ran;

	(void)pthread_mutex_lock(&c->mu);
	while (!c->stopping) {
		c->wanted = false;
		(void)pthread_mutex_unlock(&c->mu);
		chores_turn(c, &ran);
		(void)pthread_mutex_lock(&c->mu);
		clock_deadline(&t, TURN_SECONDS * 1000);
		if (!c->stopping && !c->wanted && !ran)
			(void)pthread_cond_timedwait(&c->wake, &c->mu, &t);
	}
	(void)pthread_mutex_unlock(&c->mu);
	return NULL;
}

int
chores_new(struct chores **out, struct edge *e, struct err *err)
{
	struct chores *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(err, ERR_LOCAL, 0, "no memory for orders");
	c->e = e;
	(void)pthread_mutex_init(&c->mu, NULL);
	clock_cond(&c->wake);
	*out = c;
	return 0;
}

int
chores_start(struct chores **out, struct edge *e, struct err *err)
{
	int rc = chores_new(out, e, err);

	if (rc)
		return rc;
	(*out)->threaded = pthread_create(&(*out)->thread, NULL, run, *out) == 0;
	if ((*out)->threaded)
		return 0;
	chores_stop(*out);
	*out = NULL;
	return err_set(err, ERR_LOCAL, 0, "cannot start a thread");
}

void
chores_stop(struct chores *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->mu);
	c->stopping = true;
	(void)pthread_cond_signal(&c->wake);
	(void)pthread_mutex_unlock(&c->mu);
	if (c->threaded)
		(void)pthread_join(c->thread, NULL);
	(void)pthread_mutex_destroy(&c->mu);
	(void)pthread_cond_destroy(&c->wake);
	free(c);
}
