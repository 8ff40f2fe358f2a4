/* Disks that are copied, set back, not mounted, and bits of them that turn. */
#include "tests/sim/ramdisk.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "tests/sim/ramfile.h"

/* --- parts of a disk --- */

static size_t
count_below(const struct ramdisk *d, size_t from, const char *dir)
{
	size_t n = strlen(dir), k = from;

	while (k < d->n_names && strncmp(d->names[k].path, dir, n) == 0 &&
	       d->names[k].path[n] == '/')
		k++;
	return k - from;
}

void
ramdisk_wipe_below(struct ramdisk *d, const char *dir)
{
	size_t from = names_below(d, dir), n;

	names_forget(d);
	for (n = count_below(d, from, dir); n; n--)
		names_unset(d, d->names[from + n - 1].path);
}

/* Who takes a disk away flushes it. */
void
ramdisk_hide(struct ramdisk *d, const char *dir)
{
	size_t from = names_below(d, dir), k;

	ramdisk_show(d);
	names_forget(d);
	d->n_hidden = count_below(d, from, dir);
	d->hidden = ram_room(NULL, d->n_hidden * sizeof(*d->hidden));
	d->hidden_below = ram_text(dir);
	memcpy(d->hidden, d->names + from, d->n_hidden * sizeof(*d->hidden));
	for (k = 0; k < d->n_hidden; k++)
		inode_forget_writes(d->hidden[k].i);
	d->n_names -= d->n_hidden;
	memmove(d->names + from, d->names + from + d->n_hidden,
		(d->n_names - from) * sizeof(*d->names));
}

/* What was written in its place lies below it, and nobody sees it any more. */
void
ramdisk_show(struct ramdisk *d)
{
	size_t k;

	if (!d->hidden)
		return;
	ramdisk_wipe_below(d, d->hidden_below);
	for (k = 0; k < d->n_hidden; k++) {
		struct inode *i = d->hidden[k].i;

		names_set(d, d->hidden[k].path, i);
		i->links--;
		inode_drop(i);
		free(d->hidden[k].path);
	}
	free(d->hidden);
	free(d->hidden_below);
	d->hidden = NULL;
	d->hidden_below = NULL;
	d->n_hidden = 0;
}

/* --- copies --- */

struct ramdisk_image {
	struct ramdisk d;
};

static struct inode *
inode_copy(struct ramdisk *to, const struct inode *from)
{
	struct inode *i = inode_new(from->dir);
	unsigned t;

	i->n = i->cap = from->n;
	i->data = ram_room(NULL, from->n);
	if (from->n)
		memcpy(i->data, from->data, from->n);
	if (!from->env)
		return i;
	i->env = ramdisk_env_new(to, from->env->dir);
	i->env->largest = from->env->largest;
	for (t = 0; t < from->env->n_tables; t++) {
		(void)ramdisk_table(i->env, from->env->names[t]);
		i->env->tables[t] = tree_keep(&from->env->tables[t]);
	}
	return i;
}

/* Two names of one file are two files afterwards: nothing here is ever changed in place. */
static void
copy_names(struct ramdisk *to, struct ramdisk *owner, const struct ramdisk *from)
{
	char path[PATH_MAX];
	size_t k, n = strlen(from->root);

	for (k = 0; k < from->n_names; k++) {
		struct inode *i = inode_copy(owner, from->names[k].i);

		(void)snprintf(path, sizeof(path), "%s%s", to->root, from->names[k].path + n);
		if (i->env) { /* the disk of a twin has another root */
			free(i->env->dir);
			*strrchr(path, '/') = '\0';
			i->env->dir = ram_text(path);
			path[strlen(path)] = '/';
		}
		names_set(to, path, i);
		to->used += i->dir ? 0 : i->n;
		inode_drop(i);
	}
}

struct ramdisk_image *
ramdisk_copy(const struct ramdisk *d)
{
	struct ramdisk_image *m = memset(ram_room(NULL, sizeof(*m)), 0, sizeof(*m));

	m->d.root = ram_text(d->root);
	copy_names(&m->d, NULL, d);
	return m;
}

void
ramdisk_restore(struct ramdisk *d, const struct ramdisk_image *m)
{
	ramdisk_wipe(d);
	copy_names(d, d, &m->d);
}

/* With the folders on the way to it. */
static void
put_file(struct ramdisk *d, const char *path, const struct inode *from)
{
	char dir[PATH_MAX];
	struct inode *i;
	const char *slash = path + strlen(d->root);

	while ((slash = strchr(slash + 1, '/'))) {
		(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		if (names_get(d, dir))
			continue;
		i = inode_new(true);
		names_set(d, dir, i);
		inode_drop(i);
	}
	i = inode_copy(d, from);
	names_set(d, path, i);
	d->used += i->n;
	inode_drop(i);
}

unsigned
ramdisk_import(struct ramdisk *d, const struct ramdisk_image *m, const char *suffix)
{
	size_t k, n = strlen(suffix), len;
	unsigned put = 0;

	for (k = 0; k < m->d.n_names; k++) {
		const char *path = m->d.names[k].path;

		len = strlen(path);
		if (len < n || strcmp(path + len - n, suffix) || names_get(d, path))
			continue;
		put_file(d, path, m->d.names[k].i);
		put++;
	}
	return put;
}

void
ramdisk_image_free(struct ramdisk_image *m)
{
	if (!m)
		return;
	ramdisk_wipe(&m->d);
	free(m->d.names);
	free(m->d.ops);
	free(m->d.root);
	free(m);
}

/* --- rot --- */

static bool
rot_file(struct ramdisk *d, const char *suffix, struct rng *r)
{
	size_t n = strlen(suffix), k, found = 0, pick;
	int pass;

	for (pass = 0, pick = SIZE_MAX; pass < 2; pass++) {
		for (k = found = 0; k < d->n_names; k++) {
			size_t len = strlen(d->names[k].path);
			struct inode *i = d->names[k].i;

			if (len < n || strcmp(d->names[k].path + len - n, suffix) || !i->n)
				continue;
			if (found++ == pick) {
				i->data[rng_below(r, i->n)] ^=
					(unsigned char)(1u << rng_below(r, 8));
				return true;
			}
		}
		if (!found)
			return false;
		pick = (size_t)rng_below(r, found);
	}
	return false;
}

static bool
rot_value(struct ram_env *v, const char *table, bool last, struct rng *r)
{
	struct tree *t = &v->tables[ramdisk_table(v, table)];
	struct kv_slice k, value;
	uint64_t pick;
	bool there;

	if (!t->count)
		return false;
	pick = rng_below(r, t->count);
	there = tree_find(t, last ? TREE_LAST : TREE_FROM, kv_slice("", 0), &k, &value);
	for (; there && pick && !last; pick--)
		there = tree_find(t, TREE_BEHIND, k, &k, &value);
	if (!there || !value.n)
		return false;
	/* The disk changes for all who look at it. */
	((unsigned char *)(uintptr_t)value.p)[rng_below(r, value.n)] ^=
		(unsigned char)(1u << rng_below(r, 8));
	return true;
}

bool
ramdisk_rot(struct ramdisk *d, const char *suffix, struct rng *r)
{
	return rot_file(d, suffix, r);
}

bool
ramdisk_rot_value(struct ramdisk *d, const char *table, bool last, struct rng *r)
{
	size_t k;

	for (k = 0; k < d->n_names; k++)
		if (d->names[k].i->env && rot_value(d->names[k].i->env, table, last, r))
			return true;
	return false;
}
