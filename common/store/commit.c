/*
 * The one committer: a thread that runs whatever closures have arrived in one
 * LMDB transaction and answers them all together (group commit).
 *
 * A batch that asks for it (store_commit_quick) is answered when the journal holds what it
 * changed: one flush. Its transaction stays open and takes the next batches; it is committed
 * when nothing more arrives, when it is old, or with the first batch that is not quick. All
 * others are answered after LMDB's own commit.
 *
 * A closure that fails is answered with its own error; the transaction is begun anew, what the
 * journal holds is applied again, and the batch is run again without it: its neighbours neither
 * see nor feel it.
 */
#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/store/journal.h"
#include "common/store/private.h"

enum {
	BATCH_MAX = 512,
	/* Larger batches would be written twice for little: most of their time is no flush. */
	QUICK_BYTES = 256 * 1024,
	/* But nobody shares the flushes of one that comes alone, and the disk has time. */
	ALONE_BYTES = 1024 * 1024,
	IDLE_SECONDS = 2,
	VIEWS_MS = 2000,      /* views are written this often            */
	READERS_MS = 10000,   /* dead readers are looked for (TRAPS 3)   */
	SLOW_FLUSH_US = 1000, /* from here on waiting for company can pay */
	/* When what lies in the journal alone goes into the environment: */
	SETTLE_IDLE_US = 3000, /* nothing more arrived for so long  */
	SETTLE_MAX_US = 30000, /* the oldest of it is so old        */
	/* The file is made longer in steps, while nobody wants anything: */
	GROW_STEP = 4 * 1024 * 1024,
	GROW_PAUSE_US = 10000,
	FULL_PERCENT = 80,	  /* of the quota in use: all of the file is made ready */
	SETTLE_AGAIN_US = 100000, /* after a commit that failed      */
	CLEAN_STEPS = 1000	  /* of one turn by hand             */
};

/* More than a journal can have named. */
#define IDS_SKIPPED (UINT64_C(1) << 32)

static const char key_generation[] = "journal";

struct committer {
	struct store *s;
	pthread_t thread;
	bool threaded;
	pthread_mutex_t mu;
	pthread_cond_t work;
	/* guarded by mu */
	struct commit_request *first, **last;
	unsigned queued;
	uint64_t queued_bytes;
	bool stop;
	pthread_mutex_t told_mu;
	/* guarded by told_mu, which is held while it is called */
	void (*settled)(void *arg);
	void *settled_arg;
	/* committer's thread only */
	bool quick;	   /* txn holds a batch that wants it to be called */
	bool stuck;	   /* the last commit failed: readers wait already */
	int64_t commit_us; /* mean of late, an eighth of each new one  */
	unsigned company;  /* who was served or waited at the last one */
	int64_t views_at, readers_at;
	struct kv_txn *txn;  /* holds this generation, and the batch under way */
	int64_t begun_us;    /* when the first of this generation was begun    */
	unsigned records;    /* of this generation: answered, in the journal alone */
	uint64_t generation; /* of the next record                             */
	struct buf record;
	bool growing; /* the file has less ready than is wanted */
};

static bool by_hand; /* set before threads start */

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

static int64_t
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- the journal and the transaction that holds the same --- */

struct applying {
	struct store *s;
	struct kv_txn *txn;
};

static int
apply(void *arg, const struct journal_change *c, struct err *e)
{
	struct applying *a = arg;
	unsigned t;
	int rc;

	for (t = 0; t < a->s->n_tables && strcmp(a->s->names[t], c->table) != 0; t++)
		continue;
	if (t == a->s->n_tables)
		return err_set(e, ERR_CORRUPT, 0, "the journal names a table that is not known");
	if (!c->gone)
		return kv_put(a->txn, t, c->key, c->value, e);
	rc = kv_del(a->txn, t, c->key, e);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
put_generation(struct kv_txn *txn, uint64_t generation, struct err *e)
{
	unsigned char b[8];

	buf_set_u64(b, generation);
	return kv_put(txn, T_META, kv_slice(key_generation, sizeof(key_generation) - 1),
		      kv_slice(b, sizeof(b)), e);
}

/* *out: the generation that the environment may lack. The first is drawn: what the journal of
 * another environment says is of none of ours. */
static int
next_generation(struct kv_txn *txn, uint64_t *out, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(txn, T_META, kv_slice(key_generation, sizeof(key_generation) - 1), &v, e);

	*out = !rc && v.n == 8 ? buf_get_u64(v.p) + 1 : rng_u64(rng_real()) >> 1;
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
skip_ids(struct kv_txn *txn, struct err *e)
{
	unsigned char next[8];
	struct kv_slice v;
	int rc = kv_get(txn, T_META, kv_slice("next", 4), &v, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	buf_set_u64(next, (!rc && v.n == 8 ? buf_get_u64(v.p) : 0) + IDS_SKIPPED);
	return kv_put(txn, T_META, kv_slice("next", 4), kv_slice(next, sizeof(next)), e);
}

/*
 * What lies behind the hole is not applied: the ledger's hashes would have a gap that no central
 * accepts (R5), counters and studies would count what is not there. None of it was announced, for
 * readers see what is committed; so the ledger goes on from before the hole, and the file stays,
 * for `rebuild` to find whole objects in by their chunks (R13). Objects to come have other ids.
 */
static int
set_journal_aside(struct store *s, struct kv_txn *txn, const struct journal_found *found,
		  struct err *e)
{
	int rc = journal_set_aside(s->c.dir, e);

	if (rc)
		return rc;
	log_line(LOG_ERROR, "store.journal_damaged", "applied=%u left=%u kept=journal.damaged",
		 found->records, found->behind);
	return skip_ids(txn, e);
}

/* What was answered and lies in the journal alone goes into the environment. */
int
committer_recover(struct store *s, struct err *e)
{
	struct journal_found found = {0, 0};
	struct applying a = {s, NULL};
	int rc = kv_begin(&a.txn, s->kv, KV_WRITE, e);

	if (rc)
		return rc;
	rc = next_generation(a.txn, &s->generation, e);
	if (!rc && s->journal)
		rc = journal_replay(s->journal, s->generation, UINT_MAX, apply, &a, &found, e);
	if (!rc && found.behind)
		rc = set_journal_aside(s, a.txn, &found, e);
	/* Even if there was none: a generation is never used by two openings. */
	if (!rc)
		rc = put_generation(a.txn, s->generation, e);
	if (rc) {
		kv_abort(a.txn);
		return rc;
	}
	if (found.records)
		log_line(LOG_INFO, "store.journal", "records=%u", found.records);
	s->generation++;
	return kv_commit(a.txn, e);
}

int
committer_look(struct store *s, struct err *e)
{
	struct kv_txn *txn;
	struct journal_found found = {0, 0};
	uint64_t generation;
	int rc = kv_begin(&txn, s->kv, KV_READ, e);

	if (rc)
		return rc;
	rc = next_generation(txn, &generation, e);
	kv_abort(txn);
	if (rc)
		return rc;
	/* What cannot be read may hold something: whoever opens to write says why it cannot. */
	rc = journal_replay(s->journal, generation, UINT_MAX, NULL, NULL, &found, NULL);
	s->journal_torn = rc || found.behind > 0;
	atomic_store(&s->unsettled, s->journal_torn || found.records > 0);
	return 0;
}

static void
drop_txn(struct committer *c)
{
	kv_abort(c->txn);
	c->txn = NULL;
}

/* A transaction in which everything that was answered is true. */
static int
open_txn(struct committer *c, struct err *e)
{
	struct journal_found found = {0, 0};
	struct applying a = {c->s, NULL};
	int rc;

	if (c->txn)
		return 0;
	rc = kv_begin(&a.txn, c->s->kv, KV_WRITE, e);
	if (rc)
		return rc;
	if (c->records)
		rc = journal_replay(c->s->journal, c->generation, c->records, apply, &a, &found, e);
	if (!rc && found.records != c->records)
		rc = err_set(e, ERR_CORRUPT, 0, "the journal lacks what was answered");
	if (rc) {
		kv_abort(a.txn);
		return rc;
	}
	if (c->s->journal)
		kv_note(a.txn);
	c->txn = a.txn;
	if (!c->records) /* else what waits longest counts */
		c->begun_us = now_us();
	return 0;
}

static void
tell_settled(struct committer *c)
{
	if (!c->quick)
		return;
	c->quick = false;
	pthread_mutex_lock(&c->told_mu);
	if (c->settled)
		c->settled(c->settled_arg);
	pthread_mutex_unlock(&c->told_mu);
}

static int
settle_all(struct committer *c, struct err *e)
{
	struct kv_txn *txn;
	int rc;

	if (!c->txn && !c->records)
		return 0;
	rc = open_txn(c, e);
	if (!rc && c->s->journal)
		rc = put_generation(c->txn, c->generation, e);
	if (rc) {
		drop_txn(c);
		return rc;
	}
	txn = c->txn;
	c->txn = NULL;
	rc = kv_commit(txn, e);
	if (rc)
		return rc;
	if (c->s->journal)
		journal_begin(c->s->journal, ++c->generation);
	c->records = 0;
	atomic_store(&c->s->unsettled, false);
	tell_settled(c);
	return 0;
}

/* ack-after-disk: after 0 everything that was answered lies in the environment. */
static int
settle(struct committer *c, struct err *e)
{
	int rc = settle_all(c, e);

	if (rc && c->records && !c->stuck) /* it stays in the journal, and is tried again */
		log_err(LOG_ERROR, "store.settle", e);
	c->stuck = rc != 0;
	return rc;
}

static int
add_change(void *arg, unsigned table, struct kv_slice key, const struct kv_slice *value,
	   struct err *e)
{
	struct committer *c = arg;

	(void)e;
	journal_record_add(&c->record, c->s->names[table], key, value);
	return 0;
}

/* ack-after-disk: after 0 the journal holds what the batch changed. */
static int
write_journal(struct committer *c, struct err *e)
{
	int rc;

	journal_record_begin(&c->record);
	rc = kv_changes(c->txn, add_change, c, e);
	if (rc) {
		drop_txn(c);
		return rc;
	}
	if (!journal_takes(c->s->journal, c->record.len))
		return settle(c, e);
	rc = journal_append(c->s->journal, &c->record, e);
	if (rc) { /* it takes no more: what it holds is applied anew, without this batch */
		drop_txn(c);
		return rc;
	}
	c->records++;
	atomic_store(&c->s->unsettled, true);
	return 0;
}

/* --- batches --- */

static void
fail_all(struct commit_request **batch, unsigned n, int rc, const struct err *e)
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
run_closures(struct store_tx *tx, struct commit_request **batch, unsigned n, bool *again)
{
	unsigned i;

	*again = false;
	for (i = 0; i < n && !*again; i++) {
		struct commit_request *r = batch[i];

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
left_in(struct commit_request **batch, unsigned n)
{
	unsigned i, left = 0;

	for (i = 0; i < n; i++)
		left += !batch[i]->failed;
	return left;
}

/* The journal may answer them; also notes whether any wants that. */
static bool
for_journal(struct committer *c, struct commit_request **batch, unsigned n)
{
	uint64_t bytes = 0, most = n == 1 && c->company <= 1 ? ALONE_BYTES : QUICK_BYTES;
	unsigned i, quick = 0;

	for (i = 0; i < n; i++) {
		quick += batch[i]->quick;
		bytes += batch[i]->bytes;
	}
	c->quick = c->quick || quick;
	/* While the environment takes nothing, what readers do not see must not become more. */
	return c->s->journal && !c->stuck && quick == n && bytes <= most;
}

/* In one transaction all that have not failed; the result of the journal or the commit. */
static int
try_batch(struct committer *c, struct commit_request **batch, unsigned n, bool *again,
	  struct err *e)
{
	struct store_tx tx = {c->s, NULL, true};
	int rc = open_txn(c, e);

	*again = false;
	if (rc)
		return rc;
	tx.txn = c->txn;
	run_closures(&tx, batch, n, again);
	if (!*again)
		rc = save_meta(&tx, e);
	if (*again || rc) {
		drop_txn(c);
		return rc;
	}
	space_measure(c->s, c->txn);
	return for_journal(c, batch, n) ? write_journal(c, e) : settle(c, e);
}

static void
run_batch(struct committer *c, struct commit_request **batch, unsigned n)
{
	struct err e = ERR_INIT;
	bool again = true;
	unsigned i;
	int rc = 0;

	while (again && left_in(batch, n))
		rc = try_batch(c, batch, n, &again, &e);
	if (!rc)
		return;
	/* R12: on a full disk what is small may still fit; it does not fall with what is large. */
	for (i = 0; rc == ERR_FULL && n > 1 && i < n; i++)
		if (!batch[i]->failed)
			run_batch(c, &batch[i], 1);
	if (rc != ERR_FULL || n == 1)
		fail_all(batch, n, rc, &e);
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
 * Group commit waits only where that pays: flushes are slow here, fewer have arrived than
 * took part lately, and it is the flush that takes the time, not the bytes: of large images some
 * are written while the others arrive. Then for a quarter of a flush at most. Called with mu.
 */
static void
wait_for_company(struct committer *c)
{
	struct timespec until;

	if (c->commit_us < SLOW_FLUSH_US || c->queued >= c->company)
		return;
	until = in_us(c->commit_us / 4);
	while (c->queued < c->company && c->queued_bytes < QUICK_BYTES && !c->stop)
		if (pthread_cond_timedwait(&c->work, &c->mu, &until) == ETIMEDOUT)
			break;
}

/* How long to wait for work before something else is due. */
static int64_t
patience_us(const struct committer *c, bool hurry)
{
	int64_t left;

	if (hurry)
		return 0;
	if (c->growing)
		return GROW_PAUSE_US;
	if (!c->txn)
		return c->records ? SETTLE_AGAIN_US : (int64_t)IDLE_SECONDS * 1000000;
	left = c->begun_us + SETTLE_MAX_US - now_us();
	return left < 0 ? 0 : left < SETTLE_IDLE_US ? left : SETTLE_IDLE_US;
}

/* What has arrived, up to STORE_BATCH bytes; waits for work. 0: stop, or nothing came. */
static unsigned
take_batch(struct committer *c, struct commit_request **batch, bool hurry, bool *stop)
{
	struct timespec until = in_us(patience_us(c, hurry));
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
	c->queued_bytes -= bytes;
	*stop = c->stop && n == 0;
	pthread_mutex_unlock(&c->mu);
	return n;
}

static void
run_timed(struct committer *c, struct commit_request **batch, unsigned n)
{
	int64_t start = now_us();
	unsigned i;

	run_batch(c, batch, n);
	c->commit_us += (now_us() - start - c->commit_us) / 8;
	pthread_mutex_lock(&c->mu);
	c->company = n + c->queued;
	pthread_mutex_unlock(&c->mu);
	for (i = 0; i < n; i++)
		(void)sem_post(&batch[i]->done);
}

/* Nothing came, or the oldest that only the journal holds has waited long enough. */
static void
settle_when_due(struct committer *c, unsigned n)
{
	struct err e = ERR_INIT;

	if (n > 0 && c->txn && now_us() - c->begun_us < SETTLE_MAX_US)
		return;
	(void)settle(c, &e);
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

/*
 * Between two transactions, while nothing waits: writing into new blocks is slow, and a disk that
 * fills up meanwhile is found out here and not in a commit. A cache that begins to be full gets
 * the whole of its file: pages that become free are of other sizes than what comes, so that the
 * file would go on growing for many turnovers, by a tenth in all.
 */
static void
grow(struct committer *c)
{
	struct err e = ERR_INIT;
	uint64_t limit = c->s->c.quota, ahead = c->s->c.ahead;

	c->growing = false;
	if (!ahead || !limit || !space_grows(c->s, GROW_STEP))
		return;
	if (atomic_load(&c->s->used) >= limit / 100 * FULL_PERCENT)
		ahead = limit;
	if (kv_grow(c->s->kv, ahead, limit, GROW_STEP, &c->growing, &e))
		log_err(LOG_WARN, "store.grow", &e);
}

static void *
run(void *arg)
{
	struct committer *c = arg;
	struct commit_request *batch[BATCH_MAX];
	bool stop = false, more = false;

	while (!stop) {
		unsigned n = take_batch(c, batch, more && !c->txn, &stop);

		if (n > 0)
			run_timed(c, batch, n);
		settle_when_due(c, n);
		if (stop)
			break;
		if (c->txn || c->records) /* nobody else may begin to write */
			continue;
		chores(c);
		more = space_clean(c->s);
		if (n == 0 && !more)
			grow(c);
	}
	if (!c->txn && !c->records)
		views_flush(c->s);
	return NULL;
}

void
store_by_hand(bool on)
{
	by_hand = on;
}

void
store_turn(struct store *s)
{
	struct committer *c = s->committer;
	struct err e = ERR_INIT;
	unsigned steps;

	(void)settle(c, &e);
	if (c->txn || c->records)
		return;
	views_flush(s);
	for (steps = 0; steps < CLEAN_STEPS && space_clean(s); steps++)
		continue;
}

int
committer_start(struct store *s, struct err *e)
{
	struct committer *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for the committer");
	c->s = s;
	c->generation = s->generation;
	if (s->journal)
		journal_begin(s->journal, c->generation);
	c->last = &c->first;
	(void)pthread_mutex_init(&c->mu, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->work, &attr);
	(void)pthread_mutex_init(&c->told_mu, NULL);
	(void)pthread_condattr_destroy(&attr);
	c->threaded = !by_hand;
	if (c->threaded && pthread_create(&c->thread, NULL, run, c)) {
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
	if (c->threaded)
		(void)pthread_join(c->thread, NULL);
	else
		store_turn(s);
	(void)pthread_cond_destroy(&c->work);
	(void)pthread_mutex_destroy(&c->told_mu);
	(void)pthread_mutex_destroy(&c->mu);
	buf_fini(&c->record);
	free(c);
	s->committer = NULL;
}

void
committer_take(struct store *s, struct commit_request *r)
{
	struct committer *c = s->committer;

	if (!c->threaded) {
		run_timed(c, &r, 1);
		return;
	}
	pthread_mutex_lock(&c->mu);
	*c->last = r;
	c->last = &r->next;
	c->queued++;
	c->queued_bytes += r->bytes;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->mu);
}

void
store_on_settled(struct store *s, void (*fn)(void *arg), void *arg)
{
	struct committer *c = s->committer;

	pthread_mutex_lock(&c->told_mu);
	c->settled = fn;
	c->settled_arg = arg;
	pthread_mutex_unlock(&c->told_mu);
}
