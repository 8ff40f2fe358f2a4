#include "common/store/store.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/file.h"
#include "common/store/index.h"
#include "common/store/journal.h"
#include "common/store/private.h"

static const char *const own_tables[N_STORE_TABLES] = {
	"meta",	   "version",	  "digest", "uid",     "of_study",  "chunk", "spooled",
	"dropped", "study_state", "header", "decided", "undecided", "open"};

enum {
	RESERVE_MIN = 64 << 20,
	MAX_READERS = 510,
	BUFFERS = 96 << 20,
	COUNTS = 72,
	COUNTS_MIN = 64,
	READ_AGE_MS = 700 /* a read transaction of this age led to MAP_FULL (TRAPS 3) */
};

static const char key_counts[] = "counts", key_time[] = "time", key_format[] = "format";

static void
name_tables(struct store *s)
{
	unsigned i, n;
	const char *const *index = index_tables(&n);

	for (i = 0; i < N_STORE_TABLES; i++)
		s->names[s->n_tables++] = own_tables[i];
	for (i = 0; i < n; i++)
		s->names[s->n_tables++] = index[i];
	for (i = 0; i < s->c.n_extra_tables && s->n_tables < TABLES_MAX; i++)
		s->names[s->n_tables++] = s->c.extra_tables[i];
}

/* The largest id in use; ids of chunks and versions come from one counter. */
static int
largest_key(struct store_tx *tx, unsigned table, uint64_t *id, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, tx->txn, table, e);

	if (rc)
		return rc;
	rc = kv_cursor_last(c, &k, &v, e);
	if (!rc && k.n >= 8 && buf_get_be64(k.p) >= *id)
		*id = buf_get_be64(k.p);
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
load_state(struct store *s, struct err *e)
{
	struct store_tx *tx;
	struct kv_slice v;
	uint64_t id = 0;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = largest_key(tx, T_VERSION, &id, e);
	if (!rc)
		rc = largest_key(tx, T_CHUNK, &id, e);
	if (!rc)
		rc = largest_key(tx, T_SPOOLED, &id, e);
	if (!rc && !kv_get(tx->txn, T_META, kv_slice("next", 4), &v, e) && v.n == 8 &&
	    buf_get_u64(v.p) > id)
		id = buf_get_u64(v.p);
	if (!kv_get(tx->txn, T_META, kv_slice(key_time, 4), &v, e) && v.n == 8)
		s->time_before = (int64_t)buf_get_u64(v.p);
	if (!rc)
		space_measure(s, tx->txn);
	atomic_store(&s->next_id, id + 1);
	store_end_read(tx);
	return rc;
}

/*
 * R12: receipts, ledger and eviction alone use what lies above the quota. A file that has grown
 * beyond it (the quota was lowered, or a rebuild found more) never shrinks: then half as much above
 * the file, else nothing could be evicted from it for want of a page.
 */
static int
choose_map(struct store *s, struct err *e)
{
	uint64_t reserve = s->c.quota / 50, size = 0;
	char path[PATH_MAX];
	int fd, rc;

	if (!s->c.quota)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/data.mdb", s->c.dir);
	if (!file_missing(path)) {
		fd = file_open(path, false, e);
		if (fd < 0)
			return fd;
		rc = file_size(fd, &size, e);
		file_close(fd);
		if (rc)
			return rc;
	}
	reserve = reserve > RESERVE_MIN ? reserve : RESERVE_MIN;
	s->c.map_bytes = s->c.quota + reserve;
	if (size + reserve / 2 > s->c.map_bytes)
		s->c.map_bytes = size + reserve / 2;
	return 0;
}

static int
write_format(struct store *s, struct err *e)
{
	unsigned char number[8];
	struct kv_txn *txn;
	int rc = kv_begin(&txn, s->kv, KV_WRITE, e);

	if (rc)
		return rc;
	buf_set_u64(number, STORE_FORMAT);
	rc = kv_put(txn, T_META, kv_slice(key_format, 6), kv_slice(number, 8), e);
	if (!rc)
		return kv_commit(txn, e);
	kv_abort(txn);
	return rc;
}

/* Before anything is looked at or changed: what a later release wrote is its own. */
static int
check_format(struct store *s, struct err *e)
{
	uint64_t number = 0;
	struct kv_txn *txn;
	struct kv_slice v;
	int rc = kv_begin(&txn, s->kv, KV_READ, e);

	if (rc)
		return rc;
	rc = kv_get(txn, T_META, kv_slice(key_format, 6), &v, e);
	if (!rc)
		number = v.n == 8 ? buf_get_u64(v.p) : UINT64_MAX;
	kv_abort(txn);
	if (number > STORE_FORMAT)
		return err_set(e, ERR_LOCAL, 0,
			       "%s is of format %llu, this release knows %d: a later release wrote "
			       "it, nothing was touched",
			       s->c.dir, (unsigned long long)number, STORE_FORMAT);
	if (rc != ERR_ABSENT)
		return rc;
	return s->c.read_only ? 0 : write_format(s, e);
}

/*
 * Whatever the settings say now: what was answered may lie in a journal of before, and what is
 * answered from now on must not be overwritten with it later.
 */
static int
open_journal(struct store *s, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = journal_open(&s->journal, s->c.dir, e);

	if (!rc && s->c.read_only)
		return s->journal ? committer_look(s, e) : 0;
	if (!rc && (s->journal || s->c.journal))
		rc = committer_recover(s, e);
	/* It saves a flush, no more: a disk without room for it does not stop the node (R12). */
	if (!rc && journal_resize(&s->journal, s->c.dir, s->c.journal, &why))
		log_err(LOG_WARN, "store.no_journal", &why);
	return rc;
}

bool
store_journal_damaged(const struct store *s)
{
	return journal_is_aside(s->c.dir);
}

bool
store_journal_torn(const struct store *s)
{
	return s->journal_torn;
}

int
store_open(struct store **out, const struct store_config *c, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	struct kv_config kc;
	int rc;

	if (!s)
		return err_set(e, ERR_LOCAL, 0, "no memory for a store");
	s->c = *c;
	/* The disk is asked for room by this name for as long as the store is open (R12). */
	(void)snprintf(s->dir, sizeof(s->dir), "%s", c->dir);
	s->c.dir = s->dir;
	if (!s->c.buffers)
		s->c.buffers = BUFFERS;
	(void)pthread_mutex_init(&s->mu, NULL);
	s->chunk_value = chunk_value_size(c->chunk_class ? c->chunk_class : STORE_CHUNK_CLASS);
	s->started_mono = clock_mono(c->clock);
	name_tables(s);
	rc = file_refuse_network(c->dir, e);
	if (!rc)
		rc = choose_map(s, e);
	kc = (struct kv_config){c->dir,
				s->c.map_bytes,
				s->names,
				s->n_tables,
				c->max_readers ? c->max_readers : MAX_READERS,
				c->read_only};
	if (!rc)
		rc = kv_open_lmdb(&s->kv, &kc, e);
	if (!rc && !c->read_only) /* LMDB flushes its file, not the name of it */
		rc = file_sync_dir(c->dir, e);
	if (!rc)
		rc = check_format(s, e);
	if (!rc)
		rc = open_journal(s, e);
	if (!rc)
		rc = load_state(s, e);
	if (!rc && !c->read_only)
		rc = committer_start(s, e);
	if (!rc && !c->read_only)
		rc = space_orphans(s, e);
	if (rc) {
		store_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void
store_close(struct store *s)
{
	if (!s)
		return;
	committer_stop(s);
	views_free(s);
	space_free(s);
	journal_close(s->journal);
	kv_close(s->kv);
	(void)pthread_mutex_destroy(&s->mu);
	free(s);
}

unsigned
store_table(const struct store *s, const char *name)
{
	unsigned i;

	for (i = 0; i < s->n_tables; i++) /* asked at each step: as a rule it is that very text */
		if (s->names[i] == name)
			return i;
	for (i = 0; i < s->n_tables; i++)
		if (strcmp(s->names[i], name) == 0)
			return i;
	abort();
}

struct kv_txn *
store_tx_kv(struct store_tx *tx)
{
	return tx->txn;
}

struct store *
store_tx_store(struct store_tx *tx)
{
	return tx->s;
}

int64_t
store_time(struct store *s)
{
	return s->time_before + clock_mono(s->c.clock) - s->started_mono;
}

void
store_time_reach(struct store *s, int64_t ms)
{
	int64_t now = store_time(s);

	s->time_before += ms > now ? ms - now : 0;
}

uint64_t
store_new_id(struct store *s)
{
	return atomic_fetch_add(&s->next_id, 1);
}

/* A read transaction pins pages: its age is watched (TRAPS 3). */
struct reading {
	struct store_tx tx;
	int64_t began_ms;
};

int
store_begin_read(struct store_tx **out, struct store *s, struct err *e)
{
	struct reading *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_set(e, ERR_LOCAL, 0, "no memory for a transaction");
	r->tx.s = s;
	r->began_ms = clock_mono(s->c.clock);
	rc = kv_begin(&r->tx.txn, s->kv, KV_READ, e);
	if (rc) {
		free(r);
		return rc;
	}
	*out = &r->tx;
	return 0;
}

void
store_end_read(struct store_tx *tx)
{
	struct reading *r = (struct reading *)(void *)tx;
	int64_t age;

	if (!tx)
		return;
	kv_abort(tx->txn);
	age = clock_mono(tx->s->c.clock) - r->began_ms;
	if (age > READ_AGE_MS)
		log_line(LOG_WARN, "store.long_read", "ms=%lld", (long long)age);
	free(r);
}

/* --- records --- */

int
store_version(struct store_tx *tx, uint64_t oid, struct version *out, struct err *e)
{
	unsigned char key[8];
	struct kv_slice v;
	int rc = kv_get(tx->txn, T_VERSION, be64_key(key, oid), &v, e);

	return rc ? rc : version_decode(out, oid, v.p, v.n, e);
}

int
version_write(struct store_tx *tx, const struct version *v, struct err *e)
{
	unsigned char key[8];
	struct buf b = BUF_INIT;
	int rc;

	version_encode(&b, v);
	rc = buf_failed(&b) ? err_set(e, ERR_LOCAL, 0, "no memory for a record")
			    : kv_put(tx->txn, T_VERSION, be64_key(key, v->oid),
				     kv_slice(b.data, b.len), e);
	buf_fini(&b);
	return rc;
}

int
store_by_digest(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], uint64_t *oid,
		struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(tx->txn, T_DIGEST, kv_slice(digest, SHA256_SIZE), &v, e);

	if (!rc && v.n != 8)
		rc = err_set(e, ERR_CORRUPT, 0, "a digest's row is torn");
	if (!rc)
		*oid = buf_get_u64(v.p);
	return rc;
}

/* Rows "name | oid": calls fn for the version of each. */
static int
versions_under(struct store_tx *tx, unsigned table, const char *name, uint64_t from,
	       int (*fn)(void *arg, const struct version *v, struct err *e), void *arg,
	       struct err *e)
{
	char key[UID_SIZE + 9];
	size_t n = strlen(name) + 1;
	struct kv_cursor *c;
	struct kv_slice k, value;
	struct version v;
	int rc = kv_cursor_open(&c, tx->txn, table, e);

	if (rc)
		return rc;
	memcpy(key, name, n);
	buf_set_be64(key + n, from);
	rc = kv_cursor_seek(c, kv_slice(key, n + 8), &k, &value, e);
	while (!rc && k.n == n + 8 && memcmp(k.p, key, n) == 0) {
		rc = store_version(tx, buf_get_be64((const char *)k.p + n), &v, e);
		if (!rc)
			rc = fn(arg, &v, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &value, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
store_versions_of(struct store_tx *tx, const char *uid,
		  int (*fn)(void *arg, const struct version *v, struct err *e), void *arg,
		  struct err *e)
{
	return versions_under(tx, T_UID, uid, 0, fn, arg, e);
}

int
store_versions_of_study(struct store_tx *tx, const char *study, uint64_t from,
			int (*fn)(void *arg, const struct version *v, struct err *e), void *arg,
			struct err *e)
{
	return versions_under(tx, T_OF_STUDY, study, from, fn, arg, e);
}

int
store_versions(struct store_tx *tx, uint64_t from,
	       int (*fn)(void *arg, const struct version *v, struct err *e), void *arg,
	       struct err *e)
{
	unsigned char key[8];
	struct kv_cursor *c;
	struct kv_slice k, value;
	struct version v;
	int rc = kv_cursor_open(&c, tx->txn, T_VERSION, e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, be64_key(key, from), &k, &value, e);
	while (!rc) {
		rc = version_decode(&v, buf_get_be64(k.p), value.p, value.n, e);
		if (!rc)
			rc = fn(arg, &v, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &value, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
store_version_before(struct store_tx *tx, uint64_t oid, struct version *out, struct err *e)
{
	unsigned char key[8];
	struct kv_cursor *c;
	struct kv_slice k, value;
	int rc = kv_cursor_open(&c, tx->txn, T_VERSION, e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, be64_key(key, oid), &k, &value, e);
	rc = rc == ERR_ABSENT ? kv_cursor_last(c, &k, &value, e)
	     : rc	      ? rc
			      : kv_cursor_prev(c, &k, &value, e);
	if (!rc)
		rc = version_decode(out, buf_get_be64(k.p), value.p, value.n, e);
	kv_cursor_close(c);
	return rc;
}

static int
keep_current(void *arg, const struct version *v, struct err *e)
{
	struct version *out = arg;

	(void)e;
	if (v->current)
		*out = *v;
	return 0;
}

int
store_current(struct store_tx *tx, const char *uid, struct version *out, struct err *e)
{
	int rc;

	out->oid = 0;
	rc = store_versions_of(tx, uid, keep_current, out, e);
	return rc ? rc : out->oid ? 0 : ERR_ABSENT;
}

/* --- counters --- */

int
meta_counts(struct store_tx *tx, struct store_counts *out, struct err *e)
{
	struct kv_slice v;
	const unsigned char *p;
	int rc = kv_get(tx->txn, T_META, kv_slice(key_counts, 6), &v, e);

	memset(out, 0, sizeof(*out));
	if (rc == ERR_ABSENT)
		return 0;
	if (rc || v.n < COUNTS_MIN)
		return rc ? rc : err_set(e, ERR_CORRUPT, 0, "the counters are torn");
	p = v.p;
	out->known = buf_get_u64(p);
	out->instances = buf_get_u64(p + 8);
	out->studies = buf_get_u64(p + 16);
	out->bytes = buf_get_u64(p + 24);
	out->variants = buf_get_u64(p + 32);
	out->revisions = buf_get_u64(p + 40);
	out->transcoded = buf_get_u64(p + 48);
	out->conflicts = buf_get_u64(p + 56);
	out->undecided = v.n < COUNTS ? 0 : buf_get_u64(p + 64);
	return 0;
}

int
meta_set_counts(struct store_tx *tx, const struct store_counts *in, struct err *e)
{
	unsigned char p[COUNTS];

	buf_set_u64(p, in->known);
	buf_set_u64(p + 8, in->instances);
	buf_set_u64(p + 16, in->studies);
	buf_set_u64(p + 24, in->bytes);
	buf_set_u64(p + 32, in->variants);
	buf_set_u64(p + 40, in->revisions);
	buf_set_u64(p + 48, in->transcoded);
	buf_set_u64(p + 56, in->conflicts);
	buf_set_u64(p + 64, in->undecided);
	return kv_put(tx->txn, T_META, kv_slice(key_counts, 6), kv_slice(p, sizeof(p)), e);
}

int
store_counts(struct store_tx *tx, struct store_counts *out, struct err *e)
{
	return meta_counts(tx, out, e);
}
