#include "edge/mend.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/store/store.h"
#include "edge/damage.h"
#include "edge/edge.h"
#include "edge/fetch.h"
#include "edge/outbox.h"
#include "edge/setback.h"
#include "edge/throttle.h"
#include "proto/link.h"
#include "proto/message.h"

enum {
	PAGE = 64,
	AT_ONCE = 4, /* images on their way; each in ranges of 1 MiB, in memory for one of them */
	TURN_SECONDS = 2,
	STEP_MS = 60000, /* n tries: n^2 of it */
	STEP_MAX_MS = 3600000,
	REST_MS = 15000
};

struct mend {
	struct edge *e;
	struct link *links[AT_ONCE]; /* NULL: nothing was fetched over it yet */
	pthread_t thread;
	bool threaded;
	unsigned at_once; /* set before the thread starts */
	pthread_mutex_t mu;
	pthread_cond_t wake;
	bool stopping, wanted; /* guarded by mu */
	int64_t rest_until_ms; /* monotonic; central failed */
	uint64_t from;	       /* the first that the next turn looks at; 0: all */
	/* guarded by mu: what a cut left of images, until their next turn; the oldest goes first */
	struct fetched parts[AT_ONCE];
	unsigned next_part;
};

/* --- which --- */

struct due {
	int64_t now; /* store_time */
	struct damage_row rows[PAGE];
	size_t n;
};

static int
note_due(void *arg, const struct damage_row *row, struct err *err)
{
	struct due *d = arg;

	(void)err;
	if (d->n == PAGE)
		return ERR_AGAIN;
	if (row->not_before <= d->now)
		d->rows[d->n++] = *row;
	return 0;
}

static int
list_due(struct mend *m, struct due *d, struct err *err)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, m->e->store, err);

	d->n = 0;
	d->now = store_time(m->e->store);
	if (rc)
		return rc;
	rc = damage_each(tx, m->from, note_due, d, err);
	if (!rc && !d->n && m->from)
		rc = damage_each(tx, 0, note_due, d, err);
	store_end_read(tx);
	return rc == ERR_AGAIN ? 0 : rc;
}

/* --- one --- */

struct mending {
	struct edge *e;
	struct damage_row row;
	struct fetched bytes;
	bool came;
};

static int
forget(struct store_tx *tx, void *arg, struct err *err)
{
	const struct mending *x = arg;
	struct version v;
	int rc = store_version(tx, x->row.oid, &v, err);

	if (!rc && v.state == VERSION_DAMAGED)
		return 0;
	return rc && rc != ERR_ABSENT ? rc : damage_del(tx, x->row.oid, err);
}

static int
put_off(struct store_tx *tx, void *arg, struct err *err)
{
	const struct mending *x = arg;
	struct damage_row row = x->row;
	int64_t step = STEP_MAX_MS;

	row.tries++;
	if (row.tries < 8)
		step = (int64_t)row.tries * row.tries * STEP_MS;
	row.not_before = store_time(x->e->store) + step;
	return damage_put(tx, &row, err);
}

static int
enter(struct store_tx *tx, void *arg, struct err *err)
{
	struct mending *x = arg;
	struct id128 epoch;
	struct version v;
	uint64_t seq;
	int rc = store_version(tx, x->row.oid, &v, err);

	x->came = false;
	if (!rc)
		rc = damage_del(tx, x->row.oid, err);
	if (rc || v.state != VERSION_DAMAGED) /* good again, or stored again, meanwhile */
		return rc;
	rc = damage_announce(tx, x->e, &v, &seq, err);
	if (!rc)
		rc = sync_id(tx, "epoch", &epoch, err);
	if (!rc && id128_same(&epoch, &x->bytes.epoch)) /* R7: held at central: not owed */
		rc = store_set_receipt(tx, v.oid, &epoch, err);
	else if (!rc) /* given by a central that is another's memory by now */
		rc = outbox_add(tx, OUTBOX_CENTRAL, seq, &v, LANE_BACKFILL, err);
	if (!rc)
		rc = store_set_spool(tx, v.oid, x->bytes.spool, x->bytes.info, err);
	x->came = !rc;
	return rc;
}

/* --- what a cut left --- */

static void
take_part(struct mend *m, const unsigned char digest[SHA256_SIZE], struct fetched *out)
{
	unsigned i;

	(void)pthread_mutex_lock(&m->mu);
	for (i = 0; i < AT_ONCE && !out->at; i++)
		if (m->parts[i].at && memcmp(m->parts[i].digest, digest, SHA256_SIZE) == 0) {
			*out = m->parts[i];
			memset(&m->parts[i], 0, sizeof(m->parts[i]));
		}
	(void)pthread_mutex_unlock(&m->mu);
}

static void
keep_part(struct mend *m, struct fetched *f)
{
	struct fetched *to, other;

	(void)pthread_mutex_lock(&m->mu);
	to = &m->parts[m->next_part++ % AT_ONCE];
	other = *to;
	*to = *f;
	(void)pthread_mutex_unlock(&m->mu);
	*f = other; /* the caller's to free */
}

/* They take room, and nothing asks for them any more. */
static void
drop_parts(struct mend *m)
{
	struct fetched none = {.spool = NULL};
	unsigned i;

	for (i = 0; i < AT_ONCE; i++) {
		keep_part(m, &none);
		fetch_fini(&none);
	}
}

/* --- one of them --- */

/* Until they are all here and right, nothing of them counts. */
static int
fetch(struct mend *m, struct link *l, struct mending *x, const struct version *v, struct err *err)
{
	int rc;

	take_part(m, v->digest, &x->bytes);
	rc = fetch_object(&x->bytes, m->e, l, v, err);
	if (rc == ERR_AGAIN && x->bytes.at)
		keep_part(m, &x->bytes);
	if (!rc)
		rc = store_commit_bytes(m->e->store, enter, x, store_spool_left(x->bytes.spool),
					err);
	fetch_fini(&x->bytes);
	if (!rc && x->came)
		log_line(LOG_WARN, "instance.mended", "uid=%s", uid_shown(v->sop_instance));
	return rc;
}

/* Other than 0: none of the others either. */
static int
mend_one(struct mend *m, struct link *l, const struct damage_row *row, struct err *err)
{
	struct mending x = {.e = m->e, .row = *row};
	struct store_tx *tx;
	struct version v;
	int rc = store_begin_read(&tx, m->e->store, err);

	if (rc)
		return rc;
	rc = store_version(tx, row->oid, &v, err);
	store_end_read(tx);
	if (rc == ERR_ABSENT || (!rc && v.state != VERSION_DAMAGED))
		return store_commit(m->e->store, forget, &x, err);
	if (!rc)
		rc = fetch(m, l, &x, &v, err);
	if (rc != ERR_ABSENT && rc != ERR_CORRUPT && rc != ERR_PEER)
		return rc;
	log_err(LOG_WARN, "instance.not_mended", err);
	err_clear(err);
	return store_commit(m->e->store, put_off, &x, err);
}

/* --- several --- */

struct turn {
	struct mend *m;
	struct due due;
	pthread_mutex_t mu;
	/* guarded by mu */
	size_t next;
	int rc; /* of the first that failed: nothing more is begun */
	struct err err;
};

struct hand {
	struct turn *t;
	struct link *link;
};

static bool
next_row(struct turn *t, struct damage_row *row)
{
	bool yes;

	(void)pthread_mutex_lock(&t->mu);
	yes = !t->rc && t->next < t->due.n && !atomic_load(&t->m->e->stopping) &&
	      throttle_when(t->m->e) != INT64_MAX;
	if (yes)
		*row = t->due.rows[t->next++];
	(void)pthread_mutex_unlock(&t->mu);
	return yes;
}

static void *
work(void *arg)
{
	const struct hand *h = arg;
	struct damage_row row;

	while (next_row(h->t, &row)) {
		struct err err = ERR_INIT;
		int rc = mend_one(h->t->m, h->link, &row, &err);

		if (!rc)
			continue;
		(void)pthread_mutex_lock(&h->t->mu);
		if (!h->t->rc) { /* it holds up nobody behind it: the next turn begins there */
			h->t->rc = rc;
			h->t->err = err;
			h->t->m->from = row.oid + 1;
		}
		(void)pthread_mutex_unlock(&h->t->mu);
	}
	return NULL;
}

/* A hand that cannot be had is one less; the caller's own works as well. */
static void
work_all(struct turn *t)
{
	pthread_t threads[AT_ONCE];
	struct hand hands[AT_ONCE];
	unsigned i, n;

	for (n = 1; n < t->m->at_once && n < t->due.n; n++) {
		hands[n] = (struct hand){t, t->m->links[n]};
		if (!hands[n].link && t->m->e->make_link(&t->m->links[n], t->m->e, NULL))
			break;
		hands[n].link = t->m->links[n];
		if (pthread_create(&threads[n], NULL, work, &hands[n]))
			break;
	}
	hands[0] = (struct hand){t, t->m->links[0]};
	(void)work(&hands[0]);
	for (i = 1; i < n; i++)
		(void)pthread_join(threads[i], NULL);
}

void
mend_turn(struct mend *m)
{
	struct turn t = {.m = m, .mu = PTHREAD_MUTEX_INITIALIZER};
	uint64_t from = m->from;
	struct contact c;

	edge_contact(m->e, &c);
	if (!c.reachable || clock_mono(m->e->clock) < m->rest_until_ms)
		return;
	t.rc = list_due(m, &t.due, &t.err);
	if (!t.rc && (t.due.n || atomic_load(&m->e->relist)) && !m->links[0])
		t.rc = m->e->make_link(&m->links[0], m->e, &t.err);
	if (!t.rc && m->links[0] && setback_relist(m->e, m->links[0], &t.err)) {
		log_err(LOG_WARN, "relist", &t.err); /* nobody waits for it */
		err_clear(&t.err);
		m->rest_until_ms = clock_mono(m->e->clock) + REST_MS;
	}
	m->from = 0;
	if (!t.rc && t.due.n)
		work_all(&t);
	if (!t.rc && !from && t.next == t.due.n && t.due.n < PAGE) /* all were looked at */
		drop_parts(m);
	(void)pthread_mutex_destroy(&t.mu);
	if (!t.rc || atomic_load(&m->e->stopping))
		return;
	log_err(LOG_WARN, "mend", &t.err);
	m->rest_until_ms = clock_mono(m->e->clock) + REST_MS;
}

/* --- start and stop --- */

void
mend_wake(struct mend *m)
{
	if (!m)
		return;
	(void)pthread_mutex_lock(&m->mu);
	m->wanted = true;
	(void)pthread_cond_signal(&m->wake);
	(void)pthread_mutex_unlock(&m->mu);
}

static void *
run(void *arg)
{
	struct mend *m = arg;
	struct timespec t;

	(void)pthread_mutex_lock(&m->mu);
	while (!m->stopping) {
		m->wanted = false;
		(void)pthread_mutex_unlock(&m->mu);
		mend_turn(m);
		(void)pthread_mutex_lock(&m->mu);
		clock_deadline(&t, TURN_SECONDS * 1000);
		if (!m->stopping && !m->wanted)
			(void)pthread_cond_timedwait(&m->wake, &m->mu, &t);
	}
	(void)pthread_mutex_unlock(&m->mu);
	return NULL;
}

int
mend_new(struct mend **out, struct edge *e, struct err *err)
{
	struct mend *m = calloc(1, sizeof(*m));

	if (!m)
		return err_set(err, ERR_LOCAL, 0, "no memory to mend");
	m->e = e;
	m->at_once = 1;
	(void)pthread_mutex_init(&m->mu, NULL);
	clock_cond(&m->wake);
	*out = m;
	return 0;
}

int
mend_start(struct mend **out, struct edge *e, struct err *err)
{
	int rc = mend_new(out, e, err);

	if (rc)
		return rc;
	(*out)->at_once = AT_ONCE;
	(*out)->threaded = pthread_create(&(*out)->thread, NULL, run, *out) == 0;
	if ((*out)->threaded)
		return 0;
	mend_stop(*out);
	*out = NULL;
	return err_set(err, ERR_LOCAL, 0, "cannot start a thread");
}

void
mend_stop(struct mend *m)
{
	unsigned i;

	if (!m)
		return;
	(void)pthread_mutex_lock(&m->mu);
	m->stopping = true;
	(void)pthread_cond_signal(&m->wake);
	(void)pthread_mutex_unlock(&m->mu);
	if (m->threaded)
		(void)pthread_join(m->thread, NULL);
	for (i = 0; i < AT_ONCE; i++)
		link_close(m->links[i]);
	drop_parts(m);
	(void)pthread_mutex_destroy(&m->mu);
	(void)pthread_cond_destroy(&m->wake);
	free(m);
}
