/*
 * Room (R12): what is in use, what may come in, and the clean-up of chunks.
 *
 * In use are the pages of all tables, measured after each commit, and what was
 * let in and is on its way. The map is larger than the quota by a reserve that
 * take-in never touches: receipts, ledger and eviction go on in a full cache.
 */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/file.h"
#include "common/store/private.h"

enum {
	CLEAN_ROWS = 256,    /* objects whose chunks go in one transaction at most */
	DISK_ASKED_MS = 1000 /* how long an answer of the file system holds        */
};

struct orphan {
	struct orphan *next;
	uint64_t id, bytes;
};

void
space_measure(struct store *s, struct kv_txn *txn)
{
	uint64_t used;

	if (!kv_used(txn, &used, NULL))
		atomic_store(&s->used, used);
}

/*
 * The environment's file never shrinks and its free pages are used again, so it may hold what
 * its file has and what the disk has free. Asked once a second; what we write meanwhile counts
 * as used. A disk that does not answer refuses nothing: the commit will tell.
 */
static uint64_t
disk_limit(struct store *s)
{
	int64_t now = clock_mono(s->c.clock);
	uint64_t room, total, limit = UINT64_MAX;

	if (now < atomic_load(&s->disk_until))
		return atomic_load(&s->disk_limit);
	if (!file_space(s->c.dir, &room, &total, NULL))
		limit = room + kv_file_bytes(s->kv);
	atomic_store(&s->disk_limit, limit);
	atomic_store(&s->disk_until, now + DISK_ASKED_MS);
	return limit;
}

/* What take-in may fill; a disk that leaves nothing at all cannot be made room on. */
static uint64_t
limit_of(struct store *s)
{
	uint64_t disk = disk_limit(s);

	disk = disk > STORE_DISK_RESERVE ? disk - STORE_DISK_RESERVE : s->c.quota;
	return disk < s->c.quota ? disk : s->c.quota;
}

void
store_space(struct store *s, struct store_space *out)
{
	out->quota = s->c.quota;
	out->limit = limit_of(s);
	out->used = atomic_load(&s->used);
	out->dropping = atomic_load(&s->dropping);
	out->admitted = atomic_load(&s->admitted);
	out->map = s->c.map_bytes;
	out->shut = disk_limit(s) <= STORE_DISK_RESERVE;
}

static bool
fits(uint64_t limit, uint64_t used, uint64_t bytes)
{
	return used <= limit && bytes <= limit - used;
}

int
store_admit(struct store *s, uint64_t bytes, struct err *e)
{
	uint64_t used = atomic_load(&s->used) + atomic_load(&s->admitted);

	if (s->c.quota && !fits(s->c.quota, used, bytes))
		return err_set(e, ERR_FULL, 0, "the cache is full");
	if (!fits(disk_limit(s), used + STORE_DISK_RESERVE, bytes))
		return err_set(e, ERR_FULL, 0, "the disk of the cache is full");
	return 0;
}

bool
space_grows(struct store *s, uint64_t bytes)
{
	uint64_t limit = disk_limit(s), file = kv_file_bytes(s->kv);

	return limit > file && limit - file >= bytes + STORE_DISK_RESERVE;
}

int
space_drop(struct store_tx *tx, uint64_t id, uint64_t bytes, struct err *e)
{
	unsigned char key[8], value[8];

	buf_set_u64(value, bytes);
	return kv_put(tx->txn, T_DROPPED, be64_key(key, id), kv_slice(value, sizeof(value)), e);
}

/* Bytes that all rows of T_DROPPED still stand for. */
static int
measure_dropped(struct store_tx *tx, uint64_t *out, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, tx->txn, T_DROPPED, e);

	*out = 0;
	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		*out += v.n >= 8 ? buf_get_u64(v.p) : 0;
		rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* The first row of T_DROPPED: its chunks go, at most `most` bytes; *more: it is not the end. */
static int
clean_one(struct store_tx *tx, uint64_t most, uint64_t *freed, bool *more, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	uint64_t id = 0, bytes = 0;
	bool done = false;
	unsigned char key[8];
	int rc = kv_cursor_open(&c, tx->txn, T_DROPPED, e);

	*more = false;
	*freed = 0;
	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	if (!rc) {
		id = buf_get_be64(k.p);
		bytes = v.n >= 8 ? buf_get_u64(v.p) : 0;
	}
	kv_cursor_close(c);
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	*more = true;
	rc = chunk_delete(tx, id, most, freed, &done, e);
	if (rc)
		return rc;
	if (done) {
		rc = header_delete(tx, id, e);
		return rc ? rc : kv_del(tx->txn, T_DROPPED, be64_key(key, id), e);
	}
	return space_drop(tx, id, bytes > *freed ? bytes - *freed : 0, e);
}

/* R12: at most STORE_DROP_STEP freed and CLEAN_ROWS objects in one transaction. */
static int
clean_step(struct store_tx *tx, bool *more, struct err *e)
{
	uint64_t left = STORE_DROP_STEP, freed, waiting = 0;
	unsigned n;
	int rc = 0;

	*more = true;
	for (n = 0; !rc && *more && left > 0 && n < CLEAN_ROWS; n++) {
		rc = clean_one(tx, left, &freed, more, e);
		left -= freed < left ? freed : left;
	}
	if (!rc)
		rc = measure_dropped(tx, &waiting, e);
	if (rc)
		return rc;
	space_measure(tx->s, tx->txn);
	atomic_store(&tx->s->dropping, waiting);
	return 0;
}

/* --- what was to be dropped, and could not be committed --- */

void
space_later(struct store *s, uint64_t id, uint64_t bytes)
{
	struct orphan *o = calloc(1, sizeof(*o));

	if (!o)
		return; /* found at the next start */
	o->id = id;
	o->bytes = bytes;
	pthread_mutex_lock(&s->mu);
	o->next = s->orphans;
	s->orphans = o;
	pthread_mutex_unlock(&s->mu);
}

static struct orphan *
take_orphans(struct store *s)
{
	struct orphan *list;

	pthread_mutex_lock(&s->mu);
	list = s->orphans;
	s->orphans = NULL;
	pthread_mutex_unlock(&s->mu);
	return list;
}

void
space_free(struct store *s)
{
	struct orphan *o = take_orphans(s);

	while (o) {
		struct orphan *next = o->next;

		free(o);
		o = next;
	}
}

static int
drop_orphans(struct store_tx *tx, const struct orphan *o, struct err *e)
{
	unsigned char key[8];
	int rc = 0;

	for (; !rc && o; o = o->next) {
		rc = kv_del(tx->txn, T_SPOOLED, be64_key(key, o->id), e);
		if (rc == ERR_ABSENT) { /* it had been dropped after all */
			rc = 0;
			continue;
		}
		if (!rc)
			rc = space_drop(tx, o->id, o->bytes, e);
	}
	return rc;
}

/* Each round of the committer, at least every two seconds, until it is done. */
static void
retry_orphans(struct store *s)
{
	struct orphan *list = take_orphans(s), *last;
	struct store_tx tx = {s, NULL, true};
	int rc = list ? kv_begin(&tx.txn, s->kv, KV_WRITE, NULL) : ERR_ABSENT;

	if (!list)
		return;
	if (!rc) {
		rc = drop_orphans(&tx, list, NULL);
		if (rc)
			kv_abort(tx.txn);
		else
			rc = kv_commit(tx.txn, NULL);
	}
	for (last = list; last->next;)
		last = last->next;
	pthread_mutex_lock(&s->mu);
	if (rc) {
		last->next = s->orphans;
		s->orphans = list;
		list = NULL;
	}
	pthread_mutex_unlock(&s->mu);
	while (list) {
		last = list->next;
		free(list);
		list = last;
	}
}

/* The committer's thread, between batches. */
bool
space_clean(struct store *s)
{
	struct store_tx tx = {s, NULL, true};
	struct err e = ERR_INIT;
	uint64_t waiting = 0;
	bool more = false;
	int rc;

	retry_orphans(s);
	rc = kv_begin(&tx.txn, s->kv, KV_READ, &e);
	if (!rc) {
		rc = kv_count(tx.txn, T_DROPPED, &waiting, &e);
		kv_abort(tx.txn);
	}
	if (!rc && waiting == 0)
		return false;
	if (!rc)
		rc = kv_begin(&tx.txn, s->kv, KV_WRITE, &e);
	if (!rc) {
		rc = clean_step(&tx, &more, &e);
		if (rc)
			kv_abort(tx.txn);
		else
			rc = kv_commit(tx.txn, &e);
	}
	if (rc)
		log_err(LOG_WARN, "store.clean", &e); /* tried again by the next round */
	return !rc && more;
}

/* At the start: chunks of objects that a crash left unfinished are to be deleted. */
static int
drop_spooled(struct store_tx *tx, void *arg, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, tx->txn, T_SPOOLED, e);

	(void)arg;
	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		uint64_t id = buf_get_be64(k.p);

		rc = space_drop(tx, id, 0, e);
		if (!rc)
			rc = kv_cursor_del(c, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
space_orphans(struct store *s, struct err *e)
{
	return store_commit(s, drop_spooled, NULL, e);
}
