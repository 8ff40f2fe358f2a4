/* common/os/file and common/os/daemon, on disks in memory. */
#include "tests/sim/ramfile.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/daemon.h"
#include "common/os/file.h"
#include "tests/sim/ramdisk.h"

enum { OPEN_MAX_HERE = 512, FIRST_FD = 100000 };

struct opened { /* a descriptor */
	struct ramdisk *d;
	struct inode *i;
	uint64_t at;
	bool append, writable;
};

static struct opened table[OPEN_MAX_HERE];
static uint64_t syncs;

uint64_t
file_sync_count(void)
{
	return syncs;
}

/* Without what says nothing: "//", a slash at the end. Holds for the next few calls. */
static const char *
plain(const char *path)
{
	static char kept[4][PATH_MAX];
	static unsigned turn;
	char *out = kept[turn++ % 4], *to = out;

	for (; *path && to < out + PATH_MAX - 1; path++)
		if (path[0] != '/' || (path[1] != '/' && path[1]))
			*to++ = *path;
	*to = '\0';
	return out;
}

static int
failed(struct err *e, int sys, const char *step, const char *path)
{
	return err_set(e, sys == EEXIST ? ERR_CONFLICT : err_of_errno(sys), sys, "cannot %s %s",
		       step, path);
}

static struct opened *
of(int fd)
{
	if (fd < FIRST_FD || fd >= FIRST_FD + OPEN_MAX_HERE || !table[fd - FIRST_FD].i)
		abort();
	return &table[fd - FIRST_FD];
}

static struct inode *
find(const char *path)
{
	path = plain(path);
	return names_get(ramdisk_of(path), path);
}

static struct inode *
parent_of(struct ramdisk *d, const char *path)
{
	char parent[PATH_MAX];

	if (strcmp(path, d->root) == 0)
		return NULL;
	(void)snprintf(parent, sizeof(parent), "%s", path);
	*strrchr(parent, '/') = '\0';
	return names_get(d, parent);
}

static int
descriptor(struct ramdisk *d, struct inode *i, bool append, bool writable)
{
	int n;

	for (n = 0; n < OPEN_MAX_HERE; n++)
		if (!table[n].i) {
			table[n] = (struct opened){d, i, 0, append, writable};
			i->refs++;
			return FIRST_FD + n;
		}
	fprintf(stderr, "sim: descriptors are leaked\n");
	abort();
}

unsigned
ramdisk_open_files(const struct ramdisk *d)
{
	unsigned n, open = 0;

	for (n = 0; n < OPEN_MAX_HERE; n++)
		open += table[n].i && table[n].d == d;
	return open;
}

static int
make_name(struct ramdisk *d, const char *path, bool dir, struct inode **out)
{
	int sys = ramdisk_step(d);

	if (sys)
		return sys;
	if (names_get(d, path))
		return EEXIST;
	if (strcmp(path, d->root) != 0 && !parent_of(d, path))
		return ENOENT;
	*out = inode_new(dir);
	names_set(d, path, *out);
	names_note(d, RAM_ADD, path, NULL, *out, NULL);
	inode_drop(*out);
	return 0;
}

int
file_create(const char *path, struct err *e)
{
	struct ramdisk *d = ramdisk_of(path = plain(path));
	struct inode *i = NULL;
	int sys = make_name(d, path, false, &i);

	return sys ? failed(e, sys, "open", path) : descriptor(d, i, false, true);
}

int
file_open(const char *path, bool writable, struct err *e)
{
	struct ramdisk *d = ramdisk_of(path = plain(path));
	struct inode *i = names_get(d, path);

	if (!i || i->dir)
		return failed(e, i ? EISDIR : ENOENT, "open", path);
	return descriptor(d, i, false, writable);
}

int
file_open_append(const char *path, struct err *e)
{
	struct ramdisk *d = ramdisk_of(path = plain(path));
	struct inode *i = names_get(d, path);
	int sys = i ? 0 : make_name(d, path, false, &i);

	return sys ? failed(e, sys, "open", path) : descriptor(d, i, true, true);
}

void
file_close(int fd)
{
	struct opened *o = of(fd);

	inode_drop(o->i);
	o->i = NULL;
}

static void
note_write(struct inode *i, bool cut, const void *p, size_t n, uint64_t offset)
{
	struct ram_write *w;
	size_t before = i->n > offset ? (size_t)(i->n - offset) : 0;

	if (!cut && before > n)
		before = n;
	i->writes = ram_room(i->writes, (i->n_writes + 1) * sizeof(*i->writes));
	w = &i->writes[i->n_writes++];
	w->cut = cut;
	w->offset = offset;
	w->old_size = i->n;
	w->n = cut ? before : n;
	w->old = ram_room(NULL, before);
	w->new = ram_room(NULL, cut ? 0 : n);
	if (before)
		memcpy(w->old, i->data + offset, before);
	if (!cut && n)
		memcpy(w->new, p, n);
}

static int
put_bytes(struct opened *o, const void *p, size_t n, uint64_t offset)
{
	int sys = ramdisk_step(o->d);

	if (sys)
		return sys;
	if (!o->writable)
		return EBADF;
	if (offset + n > o->i->n &&
	    o->d->used + o->d->others + (offset + n - o->i->n) > o->d->capacity)
		return ENOSPC;
	note_write(o->i, false, p, n, offset);
	if (offset + n > o->i->n)
		inode_set_size(o->d, o->i, offset + n);
	if (n)
		memcpy(o->i->data + offset, p, n);
	return 0;
}

int
file_write(int fd, const void *p, size_t n, struct err *e)
{
	struct opened *o = of(fd);
	uint64_t at = o->append ? o->i->n : o->at;
	int sys = put_bytes(o, p, n, at);

	o->at = at + n;
	return sys ? failed(e, sys, "write", "a file") : 0;
}

int
file_write_at(int fd, const void *p, size_t n, uint64_t offset, struct err *e)
{
	int sys = put_bytes(of(fd), p, n, offset);

	return sys ? failed(e, sys, "write", "a file") : 0;
}

int
file_zeros(int fd, uint64_t n, uint64_t offset, struct err *e)
{
	void *zeros = memset(ram_room(NULL, (size_t)n), 0, (size_t)n);
	int rc = file_write_at(fd, zeros, (size_t)n, offset, e);

	free(zeros);
	return rc;
}

int
file_read_at(int fd, void *p, size_t n, uint64_t offset, size_t *got, struct err *e)
{
	struct inode *i = of(fd)->i;

	(void)e;
	*got = offset >= i->n ? 0 : n < i->n - offset ? n : i->n - (size_t)offset;
	if (*got)
		memcpy(p, i->data + offset, *got);
	return 0;
}

int
file_size(int fd, uint64_t *out, struct err *e)
{
	(void)e;
	*out = of(fd)->i->n;
	return 0;
}

int
file_links(int fd, unsigned *out, struct err *e)
{
	(void)e;
	*out = of(fd)->i->links;
	return 0;
}

int
file_truncate(int fd, uint64_t size, struct err *e)
{
	struct opened *o = of(fd);
	int sys = ramdisk_step(o->d);

	if (sys)
		return failed(e, sys, "cut", "a file");
	note_write(o->i, true, NULL, 0, size);
	inode_set_size(o->d, o->i, size);
	return 0;
}

int
file_sync(int fd, struct err *e)
{
	struct opened *o = of(fd);
	int sys = ramdisk_step(o->d);

	syncs++;
	if (sys)
		return failed(e, sys, "flush", "a file");
	inode_forget_writes(o->i);
	return 0;
}

void
file_uncache(int fd)
{
	(void)fd;
}

int
file_sync_dir(const char *path, struct err *e)
{
	struct ramdisk *d = ramdisk_of(path = plain(path));
	int sys = ramdisk_step(d);

	syncs++;
	if (!sys && !names_get(d, path))
		sys = ENOENT;
	if (sys)
		return failed(e, sys, "flush", path);
	names_durable(d, path);
	return 0;
}

int
file_sync_parent(const char *path, struct err *e)
{
	struct ramdisk *d = ramdisk_of(path = plain(path));
	char parent[PATH_MAX];

	(void)snprintf(parent, sizeof(parent), "%s", path);
	*strrchr(parent, '/') = '\0';
	if (strcmp(path, d->root) == 0) { /* its own folder is no disk of ours */
		int sys = ramdisk_step(d);

		if (!sys)
			names_durable(d, parent);
		return sys ? failed(e, sys, "flush", path) : 0;
	}
	return file_sync_dir(parent, e);
}

int
file_link(const char *from, const char *to, struct err *e)
{
	struct ramdisk *d = ramdisk_of(from = plain(from));
	struct inode *i = names_get(d, from);
	int sys = ramdisk_step(d);

	to = plain(to);
	if (!sys && (!i || !parent_of(d, to)))
		sys = ENOENT;
	if (!sys && names_get(d, to))
		sys = EEXIST;
	if (sys)
		return failed(e, sys, "link", to);
	names_set(d, to, i);
	names_note(d, RAM_ADD, to, NULL, i, NULL);
	return 0;
}

/* A folder with all that is in it, at once durable. */
static void
move_folder(struct ramdisk *d, const char *from, const char *to)
{
	char dir[PATH_MAX], path[PATH_MAX];
	size_t n = strlen(from);

	(void)snprintf(dir, sizeof(dir), "%s", from);
	for (;;) {
		size_t at = names_below(d, dir);
		struct inode *i;

		if (at == d->n_names || strncmp(d->names[at].path, dir, n) ||
		    d->names[at].path[n] != '/')
			break;
		i = d->names[at].i;
		(void)snprintf(path, sizeof(path), "%s%s", to, d->names[at].path + n);
		if (i->env) {
			free(i->env->dir);
			i->env->dir = ram_text(to);
		}
		names_set(d, path, i);
		names_unset(d, d->names[names_below(d, dir)].path);
	}
}

int
file_rename(const char *from, const char *to, struct err *e)
{
	struct ramdisk *d = ramdisk_of(from = plain(from));
	struct inode *i = names_get(d, from), *there = names_get(d, to = plain(to));
	int sys = ramdisk_step(d);

	if (!sys && (!i || !parent_of(d, to)))
		sys = ENOENT;
	if (!sys && i->dir && there)
		names_unset(d, to); /* empty, as the product sees to */
	if (sys)
		return failed(e, sys, "rename to", to);
	if (i->dir)
		move_folder(d, from, to);
	else
		names_note(d, RAM_MOVE, from, to, i, there);
	names_set(d, to, i);
	names_unset(d, from);
	return 0;
}

int
file_remove(const char *path, struct err *e)
{
	struct ramdisk *d = ramdisk_of(path = plain(path));
	struct inode *i = names_get(d, path);
	int sys = ramdisk_step(d);

	if (!sys && (!i || i->dir))
		sys = i ? EISDIR : ENOENT;
	if (sys)
		return failed(e, sys, "remove", path);
	names_note(d, RAM_DELETE, path, NULL, i, NULL);
	names_unset(d, path);
	return 0;
}

int
file_mkdir(const char *path, bool *made, struct err *e)
{
	struct inode *i;
	int sys = make_name(ramdisk_of(path), plain(path), true, &i);

	*made = sys == 0;
	return sys && sys != EEXIST ? failed(e, sys, "make", path) : 0;
}

bool
file_exists(const char *path)
{
	return find(path) != NULL;
}

bool
file_missing(const char *path)
{
	return !file_exists(path);
}

bool
file_same(const char *a, const char *b)
{
	struct inode *x = find(a), *y = find(b);

	return x && x == y;
}

int
file_list(const char *path, int (*fn)(void *arg, const char *name, struct err *e), void *arg,
	  struct err *e)
{
	struct ramdisk *d = ramdisk_of(path = plain(path));
	char **found = NULL;
	size_t n = strlen(path), count = 0, i;
	int rc = 0;

	if (!names_get(d, path))
		return failed(e, ENOENT, "list", path);
	for (i = names_below(d, path); i < d->n_names; i++) {
		const char *p = d->names[i].path;

		if (strncmp(p, path, n) != 0 || p[n] != '/')
			break;
		if (strchr(p + n + 1, '/'))
			continue;
		found = ram_room(found, (count + 1) * sizeof(*found));
		found[count++] = ram_text(p + n + 1);
	}
	for (i = 0; i < count; i++) {
		if (!rc)
			rc = fn(arg, found[i], e);
		free(found[i]);
	}
	free(found);
	return rc;
}

int
file_space(const char *path, uint64_t *free_bytes, uint64_t *total, struct err *e)
{
	struct ramdisk *d = ramdisk_of(path = plain(path));

	(void)e;
	*total = d->capacity;
	*free_bytes = d->capacity > d->used + d->others ? d->capacity - d->used - d->others : 0;
	return 0;
}

int
file_refuse_network(const char *path, struct err *e)
{
	(void)path;
	(void)e;
	return 0;
}

/* --- common/os/daemon --- */

int
daemon_lock(const char *dir, struct err *e)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/lock", dir);
	return file_open_append(path, e);
}

int
daemon_lock_soon(const char *dir, struct err *e)
{
	return daemon_lock(dir, e);
}

int
daemon_prepare(struct err *e)
{
	(void)e;
	return 0;
}

void
daemon_ready(const char *role)
{
	(void)role;
}

void
daemon_wait(void (*reload)(void *arg), void *arg)
{
	(void)reload;
	(void)arg;
}

int
daemon_go_on(struct err *e)
{
	(void)e;
	return 0;
}

void
daemon_wake(void)
{
}

void
daemon_reload(void)
{
}

void
daemon_stopping(void)
{
}
