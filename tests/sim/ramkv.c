/* common/kv, on disks in memory. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/kv/changes.h"
#include "common/kv/kv.h"
#include "tests/sim/ramdisk.h"
#include "tests/sim/ramfile.h"
#include "tests/sim/tree.h"

struct kv {
	struct ram_env *env;
	struct inode *held; /* the file that it is */
	uint64_t map_bytes;
	unsigned table[RAM_TABLES], n_tables;
	bool read_only;
};

/* What only reads borrows the tables of the disk, and has its own when these change. */
struct kv_txn {
	struct kv *kv;
	bool write;
	struct kv_txn *next; /* that borrows */
	struct tree *at;
	unsigned n; /* of its own */
	struct changes changes;
	struct tree *tables; /* so many, or NULL */
};

struct kv_cursor {
	struct kv_txn *t;
	unsigned table;
	unsigned char key[KV_KEY_MAX];
	size_t n;
	bool placed;
};

static int
failed(struct err *e, int sys, const char *step)
{
	return err_set(e, sys == ENOSPC ? ERR_FULL : ERR_LOCAL, sys, "%s: fault", step);
}

int
kv_open_lmdb(struct kv **out, const struct kv_config *c, struct err *e)
{
	struct ram_env *env;
	struct kv *kv;
	unsigned i;

	if (ramdisk_of(c->dir)->dead)
		return failed(e, EIO, "open");
	env = ramdisk_env(c->dir);
	kv = memset(ram_room(NULL, sizeof(*kv)), 0, sizeof(*kv));
	kv->env = env;
	kv->map_bytes = c->map_bytes;
	kv->n_tables = c->n_tables;
	kv->read_only = c->read_only;
	for (i = 0; i < c->n_tables; i++)
		kv->table[i] = ramdisk_table(env, c->tables[i]);
	*out = kv;
	return 0;
}

void
kv_close(struct kv *kv)
{
	free(kv);
}

static void
keep(struct kv_txn *t)
{
	struct ram_env *env = t->kv->env;

	t->tables = ram_room(NULL, env->n_tables * sizeof(*t->tables));
	for (t->n = 0; t->n < env->n_tables; t->n++)
		t->tables[t->n] = tree_keep(&env->tables[t->n]);
	t->at = t->tables;
}

int
kv_begin(struct kv_txn **out, struct kv *kv, enum kv_mode mode, struct err *e)
{
	struct kv_txn *t;
	int sys = mode == KV_WRITE ? ramdisk_step(kv->env->disk) : 0;

	if (sys)
		return failed(e, sys, "begin");
	if (mode == KV_WRITE && kv->env->writing)
		abort(); /* nobody could ever end the other one */
	t = ram_room(NULL, sizeof(*t));
	memset(t, 0, sizeof(*t));
	t->kv = kv;
	t->write = mode == KV_WRITE;
	t->at = kv->env->tables;
	*out = t;
	if (t->write) {
		kv->env->writing = true;
		keep(t);
	} else {
		t->next = kv->env->borrowers;
		kv->env->borrowers = t;
	}
	return 0;
}

static void
end(struct kv_txn *t)
{
	struct kv_txn **at = &t->kv->env->borrowers;
	unsigned i;

	if (t->write)
		t->kv->env->writing = false;
	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	for (i = 0; i < t->n; i++)
		tree_drop(&t->tables[i]);
	changes_fini(&t->changes);
	free(t->tables);
	free(t);
}

static uint64_t
times(const struct ram_env *env, unsigned table)
{
	return env->objects[table] ? ramdisk_times() : 1;
}

static uint64_t
used(const struct kv_txn *t)
{
	uint64_t bytes = 0;
	unsigned i;

	for (i = 0; i < t->kv->env->n_tables; i++)
		bytes += t->at[i].bytes * times(t->kv->env, i);
	return bytes;
}

int
kv_commit(struct kv_txn *t, struct err *e)
{
	struct ram_env *env = t->kv->env;
	int sys = ramdisk_step(env->disk); /* a death here: it is lost */
	unsigned i;

	if (!sys && used(t) > env->largest)
		env->largest = used(t);
	for (; !sys && env->borrowers; env->borrowers = env->borrowers->next)
		keep(env->borrowers);
	for (i = 0; !sys && i < t->n; i++) {
		tree_drop(&env->tables[i]);
		env->tables[i] = t->tables[i];
	}
	t->n = sys ? t->n : 0;
	end(t);
	if (sys)
		return failed(e, sys, "commit");
	(void)ramdisk_step(env->disk); /* a death here: it was kept, and nobody hears of it */
	return env->disk->dead ? failed(e, EIO, "commit") : 0;
}

void
kv_abort(struct kv_txn *t)
{
	if (t)
		end(t);
}

static struct tree *
of(struct kv_txn *t, unsigned table)
{
	return &t->at[t->kv->table[table]];
}

int
kv_get(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice *value, struct err *e)
{
	(void)e;
	return tree_get(of(t, table), key, value) ? 0 : ERR_ABSENT;
}

void
kv_load(struct kv_slice value, bool later)
{
	(void)value;
	(void)later;
}

int
kv_reserve(struct kv_txn *t, unsigned table, struct kv_slice key, size_t n, void **room,
	   struct err *e)
{
	int sys = ramdisk_step(t->kv->env->disk);

	if (key.n == 0 || key.n > KV_KEY_MAX)
		return err_set(e, ERR_LOCAL, 0, "a key of %zu bytes", key.n);
	if (!sys && used(t) + tree_cost(key.n, n) * times(t->kv->env, t->kv->table[table]) >
			    t->kv->map_bytes)
		sys = ENOSPC;
	if (sys)
		return failed(e, sys, "put");
	*room = tree_put(of(t, table), key, n);
	changes_add(&t->changes, table, key);
	return 0;
}

int
kv_put(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice value, struct err *e)
{
	void *room;
	int rc = kv_reserve(t, table, key, value.n, &room, e);

	if (!rc && value.n)
		memcpy(room, value.p, value.n);
	return rc;
}

int
kv_put_new(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice value,
	   struct err *e)
{
	if (tree_get(of(t, table), key, NULL))
		return err_set(e, ERR_CONFLICT, 0, "put: the key is taken");
	return kv_put(t, table, key, value, e);
}

int
kv_del(struct kv_txn *t, unsigned table, struct kv_slice key, struct err *e)
{
	int sys = ramdisk_step(t->kv->env->disk);

	if (sys)
		return failed(e, sys, "del");
	if (!tree_get(of(t, table), key, NULL))
		return ERR_ABSENT;
	changes_add(&t->changes, table, key);
	(void)tree_remove(of(t, table), key);
	return 0;
}

void
kv_note(struct kv_txn *t)
{
	t->changes.on = true;
}

struct telling {
	struct kv_txn *t;
	kv_change_fn *fn;
	void *arg;
};

static int
tell(void *arg, unsigned table, struct kv_slice key, struct err *e)
{
	struct telling *w = arg;
	struct kv_slice value;
	bool there = tree_get(of(w->t, table), key, &value);

	return w->fn(w->arg, table, key, there ? &value : NULL, e);
}

int
kv_changes(struct kv_txn *t, kv_change_fn *fn, void *arg, struct err *e)
{
	struct telling w = {t, fn, arg};

	return changes_each(&t->changes, tell, &w, e);
}

int
kv_count(struct kv_txn *t, unsigned table, uint64_t *out, struct err *e)
{
	(void)e;
	*out = of(t, table)->count;
	return 0;
}

/* --- cursors: a key, and what lies beside it now --- */

int
kv_cursor_open(struct kv_cursor **out, struct kv_txn *t, unsigned table, struct err *e)
{
	struct kv_cursor *c = ram_room(NULL, sizeof(*c));

	(void)e;
	c->t = t;
	c->table = table;
	c->n = 0;
	c->placed = false;
	*out = c;
	return 0;
}

void
kv_cursor_close(struct kv_cursor *c)
{
	free(c);
}

static int
go(struct kv_cursor *c, enum tree_way way, struct kv_slice key, struct kv_slice *k,
   struct kv_slice *v)
{
	struct kv_slice found, value;

	if (!tree_find(of(c->t, c->table), way, key, &found, &value))
		return ERR_ABSENT;
	c->n = found.n;
	memcpy(c->key, found.p, found.n);
	c->placed = true;
	if (k)
		*k = found;
	if (v)
		*v = value;
	return 0;
}

int
kv_cursor_seek(struct kv_cursor *c, struct kv_slice key, struct kv_slice *k, struct kv_slice *v,
	       struct err *e)
{
	(void)e;
	return go(c, TREE_FROM, key, k, v);
}

int
kv_cursor_next(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e)
{
	(void)e;
	return go(c, c->placed ? TREE_BEHIND : TREE_FROM, kv_slice(c->key, c->n), k, v);
}

int
kv_cursor_prev(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e)
{
	(void)e;
	return go(c, c->placed ? TREE_BEFORE : TREE_LAST, kv_slice(c->key, c->n), k, v);
}

int
kv_cursor_last(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e)
{
	(void)e;
	return go(c, TREE_LAST, kv_slice("", 0), k, v);
}

int
kv_cursor_del(struct kv_cursor *c, struct err *e)
{
	return kv_del(c->t, c->table, kv_slice(c->key, c->n), e);
}

/* --- space --- */

int
kv_used(struct kv_txn *t, uint64_t *bytes, struct err *e)
{
	(void)e;
	*bytes = used(t);
	return 0;
}

uint64_t
kv_file_bytes(struct kv *kv)
{
	return kv->env->largest;
}

int
kv_grow(struct kv *kv, uint64_t ahead, uint64_t limit, size_t step, bool *more, struct err *e)
{
	(void)kv;
	(void)ahead;
	(void)limit;
	(void)step;
	(void)e;
	*more = false;
	return 0;
}

int
kv_check_readers(struct kv *kv, struct err *e)
{
	(void)kv;
	(void)e;
	return 0;
}
