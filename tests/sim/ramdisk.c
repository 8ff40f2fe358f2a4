#include "tests/sim/ramdisk.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "tests/sim/ramfile.h"

enum { DISKS_MAX = 64 };

static struct ramdisk *disks[DISKS_MAX];
static uint64_t scale = 1;

void *
ram_room(void *before, size_t n)
{
	void *p = realloc(before, n ? n : 1);

	if (!p)
		abort();
	return p;
}

char *
ram_text(const char *text)
{
	size_t n = strlen(text) + 1;

	return memcpy(ram_room(NULL, n), text, n);
}

struct ramdisk *
ramdisk_of(const char *path)
{
	unsigned i;
	size_t n;

	for (i = 0; i < DISKS_MAX; i++) {
		if (!disks[i])
			continue;
		n = strlen(disks[i]->root);
		if (strncmp(path, disks[i]->root, n) == 0 && (!path[n] || path[n] == '/'))
			return disks[i];
	}
	fprintf(stderr, "sim: %s lies on no disk\n", path);
	abort();
}

void
ramdisk_scale(unsigned times)
{
	scale = times;
}

uint64_t
ramdisk_times(void)
{
	return scale;
}

/* --- steps and deaths --- */

int
ramdisk_step(struct ramdisk *d)
{
	if (!d->dead && ++d->steps == d->die_at)
		d->dead = true;
	if (d->dead)
		return EIO;
	if (d->failing) {
		d->failing--;
		return d->sys;
	}
	return 0;
}

uint64_t
ramdisk_steps(const struct ramdisk *d)
{
	return d->steps;
}

void
ramdisk_die_at(struct ramdisk *d, uint64_t step)
{
	d->die_at = step;
	d->die_behind = NULL;
}

void
ramdisk_die_behind(struct ramdisk *d, const char *suffix)
{
	d->die_behind = suffix;
}

/* A file has this name now. */
static void
look_at_name(struct ramdisk *d, const char *path)
{
	size_t n = strlen(path), end = d->die_behind ? strlen(d->die_behind) : 0;

	if (!end || n < end || strcmp(path + n - end, d->die_behind) != 0)
		return;
	d->die_behind = NULL;
	d->die_at = d->steps + 1;
}

bool
ramdisk_dead(const struct ramdisk *d)
{
	return d->dead;
}

void
ramdisk_fail(struct ramdisk *d, unsigned n, int sys)
{
	d->failing = n;
	d->sys = sys;
}

void
ramdisk_use(struct ramdisk *d, unsigned percent)
{
	d->others = d->capacity / 100 * percent;
}

/* --- inodes --- */

struct inode *
inode_new(bool dir)
{
	struct inode *i = memset(ram_room(NULL, sizeof(*i)), 0, sizeof(*i));

	i->refs = 1;
	i->dir = dir;
	return i;
}

static void
env_free(struct ram_env *v)
{
	unsigned i;

	for (i = 0; i < v->n_tables; i++) {
		tree_drop(&v->tables[i]);
		free(v->names[i]);
	}
	free(v->dir);
	free(v);
}

void
inode_forget_writes(struct inode *i)
{
	size_t k;

	for (k = 0; k < i->n_writes; k++) {
		free(i->writes[k].old);
		free(i->writes[k].new);
	}
	i->n_writes = 0;
}

void
inode_drop(struct inode *i)
{
	if (!i || --i->refs)
		return;
	inode_forget_writes(i);
	if (i->env)
		env_free(i->env);
	free(i->writes);
	free(i->data);
	free(i);
}

void
inode_set_size(struct ramdisk *d, struct inode *i, uint64_t n)
{
	if (n > i->cap) {
		i->cap = (size_t)(n * 2 + 256);
		i->data = ram_room(i->data, i->cap);
	}
	if (n > i->n)
		memset(i->data + i->n, 0, (size_t)n - i->n);
	d->used = d->used - i->n + n;
	i->n = (size_t)n;
}

/* As if it, and all behind it, had never been written. */
static void
undo(struct ramdisk *d, struct inode *i, const struct ram_write *w)
{
	size_t within = w->old_size > w->offset ? (size_t)(w->old_size - w->offset) : 0;

	inode_set_size(d, i, w->old_size);
	if (within > w->n)
		within = w->n;
	if (within && w->old)
		memcpy(i->data + w->offset, w->old, within);
}

static void
redo(struct ramdisk *d, struct inode *i, const struct ram_write *w)
{
	if (w->cut) {
		inode_set_size(d, i, w->offset);
		return;
	}
	if (i->n < w->offset + w->n)
		inode_set_size(d, i, w->offset + w->n);
	memcpy(i->data + w->offset, w->new, w->n);
}

/* Each with this chance of being lost, out of 4. */
static void
inode_lose(struct ramdisk *d, struct inode *i, unsigned chance, struct rng *r)
{
	size_t k;

	for (k = i->n_writes; k-- > 0;)
		undo(d, i, &i->writes[k]);
	for (k = 0; k < i->n_writes; k++)
		if (rng_below(r, 4) >= chance)
			redo(d, i, &i->writes[k]);
	inode_forget_writes(i);
}

/* --- names --- */

static size_t
place_of(const struct ramdisk *d, const char *path)
{
	size_t low = 0, high = d->n_names;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(d->names[middle].path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct inode *
names_get(const struct ramdisk *d, const char *path)
{
	size_t at = place_of(d, path);

	return at < d->n_names && strcmp(d->names[at].path, path) == 0 ? d->names[at].i : NULL;
}

/* Takes a reference. */
void
names_set(struct ramdisk *d, const char *path, struct inode *i)
{
	size_t at = place_of(d, path);

	i->refs++;
	i->links++;
	if (at < d->n_names && strcmp(d->names[at].path, path) == 0) {
		d->names[at].i->links--;
		inode_drop(d->names[at].i);
		d->names[at].i = i;
		return;
	}
	d->names = ram_room(d->names, (d->n_names + 1) * sizeof(*d->names));
	memmove(d->names + at + 1, d->names + at, (d->n_names - at) * sizeof(*d->names));
	d->names[at].path = ram_text(path);
	d->names[at].i = i;
	d->n_names++;
}

void
names_unset(struct ramdisk *d, const char *path)
{
	size_t at = place_of(d, path);

	if (at == d->n_names || strcmp(d->names[at].path, path) != 0)
		return;
	free(d->names[at].path);
	if (--d->names[at].i->links == 0 && !d->names[at].i->dir)
		d->used -= d->names[at].i->n;
	inode_drop(d->names[at].i);
	d->n_names--;
	memmove(d->names + at, d->names + at + 1, (d->n_names - at) * sizeof(*d->names));
}

size_t
names_below(const struct ramdisk *d, const char *dir)
{
	char prefix[PATH_MAX];

	(void)snprintf(prefix, sizeof(prefix), "%s/", dir);
	return place_of(d, prefix);
}

static void
op_free(struct ram_op *o)
{
	free(o->path);
	free(o->to);
	inode_drop(o->i);
	inode_drop(o->replaced);
}

void
names_note(struct ramdisk *d, enum ram_op_kind kind, const char *path, const char *to,
	   struct inode *i, struct inode *replaced)
{
	struct ram_op *o;

	d->ops = ram_room(d->ops, (d->n_ops + 1) * sizeof(*d->ops));
	o = &d->ops[d->n_ops++];
	o->kind = kind;
	o->path = ram_text(path);
	o->to = to ? ram_text(to) : NULL;
	o->i = i;
	i->refs++;
	o->replaced = replaced;
	if (replaced)
		replaced->refs++;
	if (kind != RAM_DELETE)
		look_at_name(d, to ? to : path);
}

static bool
in_folder(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

void
names_durable(struct ramdisk *d, const char *dir)
{
	size_t i, left = 0;

	for (i = 0; i < d->n_ops; i++) {
		const char *path = d->ops[i].to ? d->ops[i].to : d->ops[i].path;

		if (in_folder(path, dir))
			op_free(&d->ops[i]);
		else
			d->ops[left++] = d->ops[i];
	}
	d->n_ops = left;
}

static void
op_undo(struct ramdisk *d, const struct ram_op *o)
{
	switch (o->kind) {
	case RAM_ADD:
		names_unset(d, o->path);
		break;
	case RAM_DELETE:
		names_set(d, o->path, o->i);
		break;
	case RAM_MOVE:
		if (o->replaced)
			names_set(d, o->to, o->replaced);
		else
			names_unset(d, o->to);
		names_set(d, o->path, o->i);
		break;
	}
}

static void
op_redo(struct ramdisk *d, const struct ram_op *o)
{
	switch (o->kind) {
	case RAM_ADD:
		names_set(d, o->path, o->i);
		break;
	case RAM_DELETE:
		names_unset(d, o->path);
		break;
	case RAM_MOVE:
		if (names_get(d, o->path) != o->i)
			break;
		names_set(d, o->to, o->i);
		names_unset(d, o->path);
		break;
	}
}

static void
names_lose(struct ramdisk *d, unsigned chance, struct rng *r)
{
	size_t k;

	for (k = d->n_ops; k-- > 0;)
		op_undo(d, &d->ops[k]);
	for (k = 0; k < d->n_ops; k++)
		if (rng_below(r, 4) >= chance)
			op_redo(d, &d->ops[k]);
}

void
names_forget(struct ramdisk *d)
{
	size_t k;

	for (k = 0; k < d->n_ops; k++)
		op_free(&d->ops[k]);
	d->n_ops = 0;
}

/* A name without its folder went with it. */
static void
drop_strays(struct ramdisk *d)
{
	char parent[PATH_MAX];
	size_t i = 0;

	while (i < d->n_names) {
		(void)snprintf(parent, sizeof(parent), "%s", d->names[i].path);
		*strrchr(parent, '/') = '\0';
		if (strcmp(d->names[i].path, d->root) == 0 || names_get(d, parent))
			i++;
		else
			names_unset(d, d->names[i].path);
	}
}

void
ramdisk_revive(struct ramdisk *d, bool power, struct rng *r)
{
	unsigned chance = power ? (unsigned)rng_below(r, 5) : 0; /* 4: all that may be lost is */
	size_t i;

	if (power) {
		names_lose(d, chance, r);
		for (i = 0; i < d->n_names; i++)
			inode_lose(d, d->names[i].i, chance, r);
		names_forget(d);
		drop_strays(d);
	}
	d->dead = false;
	d->die_at = 0;
	d->die_behind = NULL;
	d->failing = 0;
}

bool
ramdisk_durable(const struct ramdisk *d, const char *path)
{
	const struct inode *i = names_get(d, path);
	size_t k, n;

	for (k = 0; i && k < d->n_ops; k++) { /* its own name, and those of its folders */
		const char *name = d->ops[k].to ? d->ops[k].to : d->ops[k].path;

		n = strlen(name);
		if (strncmp(path, name, n) == 0 && (!path[n] || path[n] == '/'))
			return false;
	}
	return i && i->n_writes == 0;
}

/* --- disks --- */

struct ramdisk *
ramdisk_new(const char *root, uint64_t capacity)
{
	struct ramdisk *d = memset(ram_room(NULL, sizeof(*d)), 0, sizeof(*d));
	unsigned i;

	for (i = 0; i < DISKS_MAX && disks[i]; i++)
		continue;
	if (i == DISKS_MAX)
		abort();
	disks[i] = d;
	d->root = ram_text(root);
	d->capacity = capacity;
	return d;
}

void
ramdisk_wipe(struct ramdisk *d)
{
	names_forget(d);
	ramdisk_show(d);
	while (d->n_names)
		names_unset(d, d->names[d->n_names - 1].path);
	d->used = 0;
}

void
ramdisk_free(struct ramdisk *d)
{
	unsigned i;

	for (i = 0; i < DISKS_MAX; i++)
		if (disks[i] == d)
			disks[i] = NULL;
	ramdisk_wipe(d);
	free(d->names);
	free(d->ops);
	free(d->root);
	free(d);
}

/* --- environments --- */

struct ram_env *
ramdisk_env_new(struct ramdisk *d, const char *dir)
{
	struct ram_env *v = memset(ram_room(NULL, sizeof(*v)), 0, sizeof(*v));

	v->dir = ram_text(dir);
	v->disk = d;
	return v;
}

struct ram_env *
ramdisk_env(const char *dir)
{
	struct ramdisk *d = ramdisk_of(dir);
	char path[PATH_MAX];
	struct inode *i;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", dir);
	i = names_get(d, path);
	if (i)
		return i->env;
	i = inode_new(false);
	i->env = ramdisk_env_new(d, dir);
	names_set(d, path, i);
	names_note(d, RAM_ADD, path, NULL, i, NULL);
	inode_drop(i);
	return i->env;
}

unsigned
ramdisk_table(struct ram_env *v, const char *name)
{
	unsigned i;

	for (i = 0; i < v->n_tables; i++)
		if (strcmp(v->names[i], name) == 0)
			return i;
	if (i == RAM_TABLES)
		abort();
	v->names[i] = ram_text(name);
	v->objects[i] = strcmp(name, "chunk") == 0;
	v->n_tables++;
	return i;
}
