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

enum { BATCH_MAX = 512, IDLE_SECONDS = 2 };

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
	bool stop;
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

static void
run_batch(struct store *s, struct request **batch, unsigned n)
{
	struct store_tx tx = {s, NULL, true};
	struct err e = ERR_INIT;
	bool again = true;
	int rc;

	while (again && left_in(batch, n)) {
		rc = kv_begin(&tx.txn, s->kv, KV_WRITE, &e);
		if (rc) {
			fail_all(batch, n, rc, &e);
			return;
		}
		run_closures(&tx, batch, n, &again);
		if (!again) {
			rc = save_meta(&tx, &e);
			if (!rc)
				space_measure(s, tx.txn);
			if (rc)
				kv_abort(tx.txn);
			else
				rc = kv_commit(tx.txn, &e); /* ack-after-disk */
			if (rc)
				fail_all(batch, n, rc, &e);
			return;
		}
		kv_abort(tx.txn);
	}
}

/* What has arrived, up to STORE_BATCH bytes; waits for work. 0: stop, or idle. */
static unsigned
take_batch(struct committer *c, struct request **batch, bool *stop)
{
	struct timespec until;
	uint64_t bytes = 0;
	unsigned n = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	pthread_mutex_lock(&c->mu);
	while (!c->first && !c->stop)
		if (pthread_cond_timedwait(&c->work, &c->mu, &until) == ETIMEDOUT)
			break;
	while (c->first && n < BATCH_MAX && (n == 0 || bytes + c->first->bytes <= STORE_BATCH)) {
		batch[n] = c->first;
		bytes += c->first->bytes;
		c->first = c->first->next;
		n++;
	}
	if (!c->first)
		c->last = &c->first;
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

static void *
run(void *arg)
{
	struct committer *c = arg;
	struct request *batch[BATCH_MAX];
	bool stop = false;

	while (!stop) {
		unsigned n = take_batch(c, batch, &stop);

		if (n > 0) {
			run_batch(c->s, batch, n);
			answer(c, batch, n);
		} else if (!stop) {
			views_flush(c->s);
			(void)kv_check_readers(c->s->kv, NULL);
		}
		if (!stop)
			(void)space_clean(c->s);
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
