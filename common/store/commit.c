/*
 * The one committer: a thread that runs whatever closures have arrived in one
 * LMDB transaction and answers them all after its commit (group commit).
 *
 * A closure that fails is answered with its own error; the batch is run again
 * without it, so its neighbours neither see nor feel it. A journal in front of
 * LMDB would come in here, behind store_commit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/private.h"

enum {
	BATCH_MAX = 512,
	IDLE_SECONDS = 2,
	VIEWS_MS = 2000,     /* views are written this often            */
	READERS_MS = 10000,  /* dead readers are looked for (TRAPS 3)   */
	SLOW_FLUSH_US = 1000 /* from here on waiting for company can pay */
};

struct request {
	struct request *next;
	int (*fn)(struct store_tx *tx, void *arg, struct err *e);
	void *arg;
	uint64_t bytes;
	struct err e;
	int rc;
	bool failed; /* its closure said no: leave it out */
	bool done;   /* guarded by mu */
};

struct committer {
	struct store *s;
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t work, answered;
	/* guarded by mu */
	struct request *first, **last;
	unsigned queued;
	bool stop;
	/* committer's thread only */
	int64_t commit_us; /* mean of late, an eighth of each new one  */
	unsigned company;  /* who was served or waited at the last one */
	int64_t views_at, readers_at;
};

static int
save_meta(struct store_tx *tx, struct err *e)
{
	unsigned char t[8], next[8];
	int rc;

	buf_set_u64(t, (uint64_t)store_time(tx->s));
	buf_set_u64(next, atomic_load(&tx->s->next_id));
	rc = kv_put(tx->txn, T_META, kv_slice("time", 4), kv_slice(t, sizeof(t)), e);
	if (!rc)
		rc = kv_put(tx->txn, T_META, kv_slice("next", 4), kv_slice(next, sizeof(next)), e);
	return rc;
}

static void
fail_all(struct request **batch, unsigned n, int rc, const struct err *e)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (!batch[i]->failed) {
			batch[i]->rc = rc;
			batch[i]->e = *e;
		}
}

/* Runs the closures; *again: one failed, so the transaction must not be committed. */
static void
run_closures(struct store_tx *tx, struct request **batch, unsigned n, bool *again)
{
	unsigned i;

	*again = false;
	for (i = 0; i < n && !*again; i++) {
		struct request *r = batch[i];

		if (r->failed)
			continue;
		err_clear(&r->e);
		r->rc = r->fn(tx, r->arg, &r->e);
		if (r->rc) {
			r->failed = true;
			*again = true;
		}
	}
}

static unsigned
left_in(struct request **batch, unsigned n)
{
	unsigned i, left = 0;

	for (i = 0; i < n; i++)
		left += !batch[i]->failed;
	return left;
}

/* One transaction for all that have not failed; the result of the commit, or of its begin. */
static int
try_batch(struct store *s, struct request **batch, unsigned n, bool *again, struct err *e)
{
	struct store_tx tx = {s, NULL, true};
	int rc = kv_begin(&tx.txn, s->kv, KV_WRITE, e);

	*again = false;
	if (rc)
		return rc;
	run_closures(&tx, batch, n, again);
	if (!*again)
		rc = save_meta(&tx, e);
	if (*again || rc) {
		kv_abort(tx.txn);
		return rc;
	}
	space_measure(s, tx.txn);
	return kv_commit(tx.txn, e); /* ack-after-disk */
}

static void
run_batch(struct store *s, struct request **batch, unsigned n)
{
	struct err e = ERR_INIT;
	bool again = true;
	unsigned i;
	int rc = 0;

	while (again && left_in(batch, n))
		rc = try_batch(s, batch, n, &again, &e);
	if (!rc)
		return;
	/* R12: on a full disk what is small may still fit; it does not fall with what is large. */
	for (i = 0; rc == ERR_FULL && n > 1 && i < n; i++)
		if (!batch[i]->failed)
			run_batch(s, &batch[i], 1);
	if (rc != ERR_FULL || n == 1)
		fail_all(batch, n, rc, &e);
}

static int64_t
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static struct timespec
in_us(int64_t us)
{
	struct timespec t;

	us += now_us();
	t.tv_sec = (time_t)(us / 1000000);
	t.tv_nsec = (long)(us % 1000000) * 1000;
	return t;
}

/*
 * Group commit waits only where that pays: flushes are slow here, and fewer have
 * arrived than took part lately. Then for a quarter of a flush at most. Called with mu.
 */
static void
wait_for_company(struct committer *c)
{
	struct timespec until;

	if (c->commit_us < SLOW_FLUSH_US || c->queued >= c->company)
		return;
	until = in_us(c->commit_us / 4);
	while (c->queued < c->company && !c->stop)
		if (pthread_cond_timedwait(&c->work, &c->mu, &until) == ETIMEDOUT)
			break;
}

/* What has arrived, up to STORE_BATCH bytes; waits for work. 0: stop, or idle. */
static unsigned
take_batch(struct committer *c, struct request **batch, bool hurry, bool *stop)
{
	struct timespec until = in_us(hurry ? 0 : (int64_t)IDLE_SECONDS * 1000000);
	uint64_t bytes = 0;
	unsigned n = 0;

	pthread_mutex_lock(&c->mu);
	while (!c->first && !c->stop)
		if (pthread_cond_timedwait(&c->work, &c->mu, &until) == ETIMEDOUT)
			break;
	if (c->first)
		wait_for_company(c);
	while (c->first && n < BATCH_MAX && (n == 0 || bytes + c->first->bytes <= STORE_BATCH)) {
		batch[n] = c->first;
		bytes += c->first->bytes;
		c->first = c->first->next;
		n++;
	}
	if (!c->first)
		c->last = &c->first;
	c->queued -= n;
	*stop = c->stop && n == 0;
	pthread_mutex_unlock(&c->mu);
	return n;
}

static void
answer(struct committer *c, struct request **batch, unsigned n)
{
	unsigned i;

	pthread_mutex_lock(&c->mu);
	for (i = 0; i < n; i++)
		batch[i]->done = true;
	pthread_cond_broadcast(&c->answered);
	pthread_mutex_unlock(&c->mu);
}

static void
run_timed(struct committer *c, struct request **batch, unsigned n)
{
	int64_t start = now_us();

	run_batch(c->s, batch, n);
	c->commit_us += (now_us() - start - c->commit_us) / 8;
	pthread_mutex_lock(&c->mu);
	c->company = n + c->queued;
	pthread_mutex_unlock(&c->mu);
	answer(c, batch, n);
}

/* What is due by time, busy or idle. */
static void
chores(struct committer *c)
{
	int64_t now = now_us() / 1000;

	if (now - c->views_at >= VIEWS_MS) {
		c->views_at = now;
		views_flush(c->s);
	}
	if (now - c->readers_at >= READERS_MS) {
		c->readers_at = now;
		(void)kv_check_readers(c->s->kv, NULL);
	}
}

static void *
run(void *arg)
{
	struct committer *c = arg;
	struct request *batch[BATCH_MAX];
	bool stop = false, more = false;

	while (!stop) {
		unsigned n = take_batch(c, batch, more, &stop);

		if (n > 0)
			run_timed(c, batch, n);
		if (stop)
			break;
		chores(c);
		more = space_clean(c->s);
	}
	views_flush(c->s);
	return NULL;
}

int
committer_start(struct store *s, struct err *e)
{
	struct committer *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for the committer");
	c->s = s;
	c->last = &c->first;
	(void)pthread_mutex_init(&c->mu, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->work, &attr);
	(void)pthread_cond_init(&c->answered, NULL);
	(void)pthread_condattr_destroy(&attr);
	if (pthread_create(&c->thread, NULL, run, c)) {
		free(c);
		return err_set(e, ERR_LOCAL, 0, "no thread for the committer");
	}
	s->committer = c;
	return 0;
}

void
committer_stop(struct store *s)
{
	struct committer *c = s->committer;

	if (!c)
		return;
	pthread_mutex_lock(&c->mu);
	c->stop = true;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->mu);
	(void)pthread_join(c->thread, NULL);
	(void)pthread_cond_destroy(&c->work);
	(void)pthread_cond_destroy(&c->answered);
	(void)pthread_mutex_destroy(&c->mu);
	free(c);
	s->committer = NULL;
}

int
store_commit_bytes(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e),
		   void *arg, uint64_t bytes, struct err *e)
{
	struct committer *c = s->committer;
	struct request r;

	memset(&r, 0, sizeof(r));
	r.fn = fn;
	r.arg = arg;
	r.bytes = bytes;
	pthread_mutex_lock(&c->mu);
	*c->last = &r;
	c->last = &r.next;
	c->queued++;
	pthread_cond_signal(&c->work);
	while (!r.done)
		pthread_cond_wait(&c->answered, &c->mu);
	pthread_mutex_unlock(&c->mu);
	if (r.rc && e && e->code == ERR_NONE)
		*e = r.e;
	return r.rc;
}

int
store_commit(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e), void *arg,
	     struct err *e)
{
	return store_commit_bytes(s, fn, arg, 0, e);
}
