#include "common/kv/kv.h"

#include <errno.h>
#include <limits.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/kv/changes.h"
#include "common/os/file.h"

enum {
	MAX_TABLES = 64,
	PAGE = 4096,
	LOOK_PAGES = 512 /* whose presence is asked for at once */
};

struct kv {
	MDB_env *env;
	MDB_dbi dbi[MAX_TABLES];
	unsigned n_tables;
	int fd;			/* of the data file, for kv_grow; -1: read only */
	_Atomic uint64_t ready; /* bytes of it that have been written once */
};

struct kv_txn {
	struct kv *kv;
	MDB_txn *txn;
	struct changes changes;
};

struct kv_cursor {
	MDB_cursor *c;
	struct kv_txn *t;
	unsigned table;
};

static int
failed(struct err *e, int rc, const char *step)
{
	enum err_code code = ERR_LOCAL;

	if (rc == MDB_NOTFOUND)
		return ERR_ABSENT;
	if (rc == MDB_KEYEXIST)
		return err_set(e, ERR_CONFLICT, 0, "%s: the key is taken", step);
	if (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC || rc == EDQUOT)
		code = ERR_FULL;
	else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID)
		code = ERR_CORRUPT;
	return err_set(e, code, rc > 0 ? rc : 0, "%s: %s", step, mdb_strerror(rc));
}

static int
open_tables(struct kv *kv, const struct kv_config *c, struct err *e)
{
	MDB_txn *txn;
	unsigned i;
	int rc = mdb_txn_begin(kv->env, NULL, c->read_only ? MDB_RDONLY : 0, &txn);

	if (rc)
		return failed(e, rc, "mdb_txn_begin");
	for (i = 0; i < c->n_tables && !rc; i++)
		rc = mdb_dbi_open(txn, c->tables[i], c->read_only ? 0 : MDB_CREATE, &kv->dbi[i]);
	if (rc) {
		mdb_txn_abort(txn);
		return failed(e, rc, "mdb_dbi_open");
	}
	rc = mdb_txn_commit(txn);
	return rc ? failed(e, rc, "mdb_txn_commit") : 0;
}

static int
new_env(struct kv *kv, const struct kv_config *c, struct err *e)
{
	int rc = mdb_env_create(&kv->env);

	if (!rc)
		rc = mdb_env_set_maxdbs(kv->env, c->n_tables);
	if (!rc)
		rc = mdb_env_set_maxreaders(kv->env, c->max_readers);
	if (!rc)
		rc = mdb_env_set_mapsize(kv->env, (size_t)c->map_bytes);
	return rc ? failed(e, rc, "mdb_env_create") : 0;
}

/* Whole, with its tables, and flushed. */
static int
make_file(const char *path, const struct kv_config *c, struct err *e)
{
	struct kv kv = {.n_tables = c->n_tables, .fd = -1};
	int fd, rc = new_env(&kv, c, e);

	if (!rc) {
		rc = mdb_env_open(kv.env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
		rc = rc ? failed(e, rc, "mdb_env_open") : open_tables(&kv, c, e);
	}
	if (kv.env)
		mdb_env_close(kv.env);
	fd = rc ? rc : file_open(path, true, e);
	if (fd < 0)
		return fd;
	rc = file_sync(fd, e);
	file_close(fd);
	return rc;
}

/* LMDB would begin anew in it. */
static int
refuse_empty(const char *path, struct err *e)
{
	uint64_t size;
	int fd = file_open(path, false, e), rc;

	if (fd < 0)
		return fd;
	rc = file_size(fd, &size, e);
	file_close(fd);
	return rc || size ? rc : err_set(e, ERR_CORRUPT, 0, "%s is empty: it is damaged", path);
}

/*
 * LMDB's first two pages come with one write that nothing has flushed; after a power cut it
 * refuses what is left of them for ever. So a new file gets its name when it is whole, and a file
 * with that name that LMDB refuses is damaged: it is not begun anew.
 */
static int
make_if_missing(const struct kv_config *c, struct err *e)
{
	char path[PATH_MAX], tmp[PATH_MAX];
	int rc = 0;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", c->dir);
	(void)snprintf(tmp, sizeof(tmp), "%s/.data.mdb.new", c->dir);
	if (!file_missing(path))
		return refuse_empty(path, e);
	if (!file_missing(tmp))
		rc = file_remove(tmp, e);
	if (!rc)
		rc = make_file(tmp, c, e);
	if (!rc)
		rc = file_rename(tmp, path, e);
	return rc ? rc : file_sync_dir(c->dir, e);
}

/* How long the file is; who writes may make it longer. LMDB's locks are on another file: closing
 * this descriptor takes none of them away. */
static int
look_at_file(struct kv *kv, const struct kv_config *c, struct err *e)
{
	char path[PATH_MAX];
	uint64_t size = 0;
	int rc, fd;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", c->dir);
	fd = file_open(path, !c->read_only, e);
	if (fd < 0)
		return fd;
	rc = file_size(fd, &size, e);
	atomic_store(&kv->ready, size);
	if (c->read_only)
		file_close(fd);
	else
		kv->fd = fd;
	return rc;
}

int
kv_open_lmdb(struct kv **out, const struct kv_config *c, struct err *e)
{
	struct kv *kv = calloc(1, sizeof(*kv));
	int rc;

	if (!kv || c->n_tables > MAX_TABLES) {
		free(kv);
		return err_set(e, ERR_LOCAL, 0, "no memory or too many tables");
	}
	kv->n_tables = c->n_tables;
	kv->fd = -1;
	rc = c->read_only ? 0 : make_if_missing(c, e);
	if (!rc)
		rc = new_env(kv, c, e);
	if (rc) {
		kv_close(kv);
		return rc;
	}
	/*
	 * NOTLS: a read transaction belongs to the work, not to the thread that began it.
	 * NORDAHEAD: index pages lie scattered among the bytes of images; else the kernel reads
	 * megabytes around each one. Large values are asked for as a whole (kv_load).
	 */
	rc = mdb_env_open(kv->env, c->dir,
			  MDB_NOTLS | MDB_NORDAHEAD | (c->read_only ? MDB_RDONLY : 0), 0600);
	if (rc) {
		rc = failed(e, rc, "mdb_env_open");
	} else {
		rc = kv_check_readers(kv, e);
		if (!rc)
			rc = open_tables(kv, c, e);
		if (!rc)
			rc = look_at_file(kv, c, e);
	}
	if (rc) {
		kv_close(kv);
		return rc == ERR_ABSENT ? err_set(e, ERR_LOCAL, 0, "no environment") : rc;
	}
	*out = kv;
	return 0;
}

void
kv_close(struct kv *kv)
{
	if (!kv)
		return;
	if (kv->env)
		mdb_env_close(kv->env);
	if (kv->fd >= 0)
		file_close(kv->fd);
	free(kv);
}

/*
 * The meta page could not be written: LMDB refuses everything, reading too, until
 * the environment is opened anew (TRAPS 3). Others hold transactions in the old map,
 * so this is left to the supervisor; nothing unacknowledged is lost, viewers are back
 * within a second. _exit: no core with pixels in it (R35).
 */
static void __attribute__((noreturn)) give_up(void)
{
	log_line(LOG_ERROR, "kv.panic", "the environment must be opened anew; ending");
	_exit(1);
}

int
kv_begin(struct kv_txn **out, struct kv *kv, enum kv_mode mode, struct err *e)
{
	struct kv_txn *t;
	int sys = mode == KV_WRITE ? fault_hit("kv.begin") : 0, rc;

	if (sys)
		return failed(e, sys, "begin");
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, ERR_LOCAL, 0, "no memory for a transaction");
	t->kv = kv;
	rc = mdb_txn_begin(kv->env, NULL, mode == KV_READ ? MDB_RDONLY : 0, &t->txn);
	if (rc) {
		free(t);
		if (rc == MDB_PANIC)
			give_up();
		return rc == MDB_READERS_FULL
			       ? err_set(e, ERR_AGAIN, 0, "every reader slot is taken")
			       : failed(e, rc, "mdb_txn_begin");
	}
	*out = t;
	return 0;
}

static void
end_txn(struct kv_txn *t)
{
	changes_fini(&t->changes);
	free(t);
}

int
kv_commit(struct kv_txn *t, struct err *e)
{
	int rc = fault_hit("kv.commit");

	if (rc)
		mdb_txn_abort(t->txn);
	else
		rc = mdb_txn_commit(t->txn);
	end_txn(t);
	if (!rc)
		fault_passed("kv.kept");
	return rc ? failed(e, rc, "commit") : 0;
}

void
kv_abort(struct kv_txn *t)
{
	if (!t)
		return;
	mdb_txn_abort(t->txn);
	end_txn(t);
}

static MDB_val
val_of(struct kv_slice s)
{
	MDB_val v;

	v.mv_size = s.n;
	v.mv_data = (void *)(uintptr_t)s.p; /* LMDB does not write through it */
	return v;
}

static bool
key_fits(struct kv_slice key)
{
	return key.n > 0 && key.n <= KV_KEY_MAX;
}

int
kv_get(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice *value, struct err *e)
{
	MDB_val k = val_of(key), v;
	int rc;

	if (!key_fits(key)) /* nothing can be stored under it */
		return ERR_ABSENT;
	rc = mdb_get(t->txn, t->kv->dbi[table], &k, &v);
	if (rc)
		return failed(e, rc, "get");
	if (value)
		*value = kv_slice(v.mv_data, v.mv_size);
	return 0;
}

static bool
in_memory(void *first, size_t n)
{
	unsigned char there[LOOK_PAGES];
	size_t pages = (n + PAGE - 1) / PAGE;

	/* Only the lowest bit has a meaning. */
	if (pages > LOOK_PAGES || mincore(first, n, there))
		return false;
	while (pages > 0 && there[pages - 1] & 1)
		pages--;
	return pages == 0;
}

void
kv_load(struct kv_slice value, bool later)
{
	uintptr_t start = (uintptr_t)value.p / PAGE * PAGE;
	size_t n = (uintptr_t)value.p + value.n - start;
	void *first = (void *)start;

	/* Hints: what they did not bring, or cannot on an old kernel, comes as it is read. */
	if (!in_memory(first, n))
		(void)madvise(first, n, MADV_WILLNEED);
	if (!later)
		(void)madvise(first, n, MADV_POPULATE_READ);
}

static int
put(struct kv_txn *t, unsigned table, struct kv_slice key, MDB_val *v, unsigned flags,
    struct err *e)
{
	MDB_val k = val_of(key);
	int rc = fault_hit("kv.put");

	if (!key_fits(key))
		return err_set(e, ERR_LOCAL, 0, "a key of %zu bytes", key.n);
	if (!rc)
		rc = mdb_put(t->txn, t->kv->dbi[table], &k, v, flags);
	if (!rc)
		changes_add(&t->changes, table, key);
	return rc ? failed(e, rc, "put") : 0;
}

int
kv_put(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice value, struct err *e)
{
	MDB_val v = val_of(value);

	return put(t, table, key, &v, 0, e);
}

int
kv_put_new(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice value,
	   struct err *e)
{
	MDB_val v = val_of(value);

	return put(t, table, key, &v, MDB_NOOVERWRITE, e);
}

int
kv_reserve(struct kv_txn *t, unsigned table, struct kv_slice key, size_t n, void **room,
	   struct err *e)
{
	MDB_val v = {n, NULL};
	int rc = put(t, table, key, &v, MDB_RESERVE, e);

	if (!rc)
		*room = v.mv_data;
	return rc;
}

int
kv_del(struct kv_txn *t, unsigned table, struct kv_slice key, struct err *e)
{
	MDB_val k = val_of(key);
	int rc = fault_hit("kv.del");

	if (!key_fits(key))
		return ERR_ABSENT;
	if (!rc)
		rc = mdb_del(t->txn, t->kv->dbi[table], &k, NULL);
	if (!rc)
		changes_add(&t->changes, table, key);
	return rc ? failed(e, rc, "delete") : 0;
}

void
kv_note(struct kv_txn *t)
{
	t->changes.on = true;
}

struct telling { /* of what has changed */
	struct kv_txn *t;
	kv_change_fn *fn;
	void *arg;
};

static int
tell_one(void *arg, unsigned table, struct kv_slice key, struct err *e)
{
	struct telling *w = arg;
	struct kv_slice value;
	int rc = kv_get(w->t, table, key, &value, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	return w->fn(w->arg, table, key, rc ? NULL : &value, e);
}

int
kv_changes(struct kv_txn *t, kv_change_fn *fn, void *arg, struct err *e)
{
	struct telling w = {t, fn, arg};

	return changes_each(&t->changes, tell_one, &w, e);
}

int
kv_count(struct kv_txn *t, unsigned table, uint64_t *out, struct err *e)
{
	MDB_stat st;
	int rc = mdb_stat(t->txn, t->kv->dbi[table], &st);

	if (rc)
		return failed(e, rc, "count");
	*out = st.ms_entries;
	return 0;
}

int
kv_cursor_open(struct kv_cursor **out, struct kv_txn *t, unsigned table, struct err *e)
{
	struct kv_cursor *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for a cursor");
	rc = mdb_cursor_open(t->txn, t->kv->dbi[table], &c->c);
	if (rc) {
		free(c);
		return failed(e, rc, "mdb_cursor_open");
	}
	c->t = t;
	c->table = table;
	*out = c;
	return 0;
}

void
kv_cursor_close(struct kv_cursor *c)
{
	if (!c)
		return;
	mdb_cursor_close(c->c);
	free(c);
}

static int
move(struct kv_cursor *c, MDB_cursor_op op, struct kv_slice key, struct kv_slice *k,
     struct kv_slice *v, struct err *e)
{
	MDB_val mk = val_of(key), mv;
	int rc = mdb_cursor_get(c->c, &mk, &mv, op);

	if (rc)
		return failed(e, rc, "cursor");
	if (k)
		*k = kv_slice(mk.mv_data, mk.mv_size);
	if (v)
		*v = kv_slice(mv.mv_data, mv.mv_size);
	return 0;
}

int
kv_cursor_seek(struct kv_cursor *c, struct kv_slice key, struct kv_slice *k, struct kv_slice *v,
	       struct err *e)
{
	if (key.n == 0)
		return move(c, MDB_FIRST, key, k, v, e);
	if (key.n > KV_KEY_MAX)
		return err_set(e, ERR_LOCAL, 0, "a key of %zu bytes", key.n);
	return move(c, MDB_SET_RANGE, key, k, v, e);
}

int
kv_cursor_next(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e)
{
	return move(c, MDB_NEXT, kv_slice(NULL, 0), k, v, e);
}

int
kv_cursor_prev(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e)
{
	return move(c, MDB_PREV, kv_slice(NULL, 0), k, v, e);
}

int
kv_cursor_last(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e)
{
	return move(c, MDB_LAST, kv_slice(NULL, 0), k, v, e);
}

int
kv_cursor_del(struct kv_cursor *c, struct err *e)
{
	MDB_val k, v;
	int rc = fault_hit("kv.del");

	if (!rc && c->t->changes.on) {
		rc = mdb_cursor_get(c->c, &k, &v, MDB_GET_CURRENT);
		if (!rc)
			changes_add(&c->t->changes, c->table, kv_slice(k.mv_data, k.mv_size));
	}
	if (!rc)
		rc = mdb_cursor_del(c->c, 0);
	return rc ? failed(e, rc, "delete") : 0; /* MDB_NEXT then knows not to skip (C_DEL) */
}

int
kv_used(struct kv_txn *t, uint64_t *bytes, struct err *e)
{
	MDB_stat st;
	unsigned i;
	int rc = 0;

	*bytes = 0;
	for (i = 0; i < t->kv->n_tables && !rc; i++) {
		rc = mdb_stat(t->txn, t->kv->dbi[i], &st);
		if (!rc)
			*bytes += (st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages) *
				  (uint64_t)st.ms_psize;
	}
	return rc ? failed(e, rc, "mdb_stat") : 0;
}

static uint64_t
used_once(struct kv *kv)
{
	MDB_envinfo info;
	MDB_stat st;

	if (mdb_env_info(kv->env, &info) || mdb_env_stat(kv->env, &st))
		return 0;
	return ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
}

uint64_t
kv_file_bytes(struct kv *kv)
{
	uint64_t used = used_once(kv), ready = atomic_load(&kv->ready);

	return used > ready ? used : ready;
}

int
kv_grow(struct kv *kv, uint64_t ahead, uint64_t limit, size_t step, bool *more, struct err *e)
{
	uint64_t used = used_once(kv), from = kv_file_bytes(kv);
	uint64_t to = used + ahead < limit ? used + ahead : limit;
	int rc;

	*more = false;
	if (used == 0 || from >= to || kv->fd < 0)
		return 0;
	if (step > to - from)
		step = (size_t)(to - from);
	/* Behind the last page of the last commit: nobody reads there, and nobody writes now. */
	rc = file_zeros(kv->fd, step, from, e);
	if (!rc)
		rc = file_sync(kv->fd, e);
	if (rc)
		return rc;
	atomic_store(&kv->ready, from + step);
	*more = from + step < to;
	return 0;
}

int
kv_check_readers(struct kv *kv, struct err *e)
{
	int dead, rc = mdb_reader_check(kv->env, &dead);

	return rc ? failed(e, rc, "mdb_reader_check") : 0;
}
