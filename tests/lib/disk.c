#include "tests/lib/disk.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/rng.h"
#include "tests/crash/trace.h"

enum { SECTOR = 512, PAGE = 4096, NAMES_MAX = 1024, FILES_MAX = 2048 };
enum { NO_FILE = 0, FOLDER = -1 }; /* what a name stands for, else a file's number */

struct file {
	uint64_t inode;
	struct buf durable;
};

struct names {
	struct name {
		char path[256];
		int is;
	} n[NAMES_MAX];
	size_t count;
};

struct pending {
	const struct trace_head *h;
	int file; /* of bytes and names alike */
};

struct disk {
	unsigned lies;
	struct file files[FILES_MAX]; /* from 1 */
	int n_files;
	struct names names;
	struct pending *pending;
	size_t n, room;
	bool in_flight; /* the last one has not come back yet */
	struct buf scratch;
};

static void __attribute__((noreturn)) die(const char *what, const char *path)
{
	fprintf(stderr, "disk: %s: %s\n", what, path);
	abort();
}

/* --- records --- */

static const char *
data_of(const struct trace_head *h)
{
	return (const char *)(h + 1) + h->path + h->second;
}

static size_t
data_size(const struct trace_head *h)
{
	return h->size - sizeof(*h) - h->path - h->second;
}

static void
path_of(char out[256], const struct trace_head *h, bool second)
{
	uint32_t n = second ? h->second : h->path;
	const char *from = (const char *)(h + 1) + (second ? h->path : 0);

	if (n >= 256)
		die("too long a path", from);
	memcpy(out, from, n);
	out[n] = '\0';
}

static bool
is_name(const struct trace_head *h)
{
	return h->op == TRACE_CREATE || h->op == TRACE_MKDIR || h->op == TRACE_UNLINK ||
	       h->op == TRACE_LINK || h->op == TRACE_RENAME;
}

/* --- applying one call --- */

static void
set_size(struct buf *b, size_t n)
{
	size_t was = b->len;

	if (n > was) {
		void *p = buf_reserve(b, n - was);

		if (!p)
			die("no memory", "");
		memset(p, 0, n - was);
	}
	b->len = n;
}

static void
put_bytes(struct buf *b, uint64_t offset, const char *p, size_t n)
{
	if (offset + n > b->len)
		set_size(b, (size_t)offset + n);
	memcpy(b->data + offset, p, n);
}

static void
apply_bytes(struct buf *b, const struct trace_head *h)
{
	if (h->op == TRACE_TRUNCATE)
		set_size(b, (size_t)h->offset);
	else
		put_bytes(b, h->offset, data_of(h), data_size(h));
}

/* Part of a write: whole units of the disk, the first few or any of them. */
static void
tear(struct buf *b, const struct trace_head *h, struct rng *r)
{
	uint64_t unit = rng_below(r, 2) ? SECTOR : PAGE, at = 0, end;
	uint64_t size = data_size(h), first = rng_below(r, 2) ? rng_below(r, size) : size;

	for (; at < size; at = end) {
		end = ((h->offset + at) / unit + 1) * unit - h->offset;
		if (end > size)
			end = size;
		if (first < size ? at < first : rng_below(r, 2))
			put_bytes(b, h->offset + at, data_of(h) + at, (size_t)(end - at));
	}
}

static void
set_name(struct names *all, const char *path, int is)
{
	size_t i;

	for (i = 0; i < all->count; i++)
		if (strcmp(all->n[i].path, path) == 0)
			break;
	if (i == NAMES_MAX)
		die("too many names", path);
	if (i == all->count)
		(void)snprintf(all->n[all->count++].path, sizeof(all->n[0].path), "%s", path);
	all->n[i].is = is;
}

static void
apply_name(struct names *all, const struct pending *p)
{
	char path[256], second[256];

	path_of(path, p->h, false);
	path_of(second, p->h, true);
	if (p->h->op == TRACE_LINK || p->h->op == TRACE_RENAME)
		set_name(all, second, p->file);
	if (p->h->op == TRACE_RENAME || p->h->op == TRACE_UNLINK)
		set_name(all, path, NO_FILE);
	else if (p->h->op != TRACE_LINK)
		set_name(all, path, p->h->op == TRACE_MKDIR ? FOLDER : p->file);
}

/* --- the trace --- */

struct disk *
disk_new(unsigned lies)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (!d)
		die("no memory", "");
	d->lies = lies;
	return d;
}

void
disk_free(struct disk *d)
{
	int i;

	if (!d)
		return;
	for (i = 1; i <= d->n_files; i++)
		buf_fini(&d->files[i].durable);
	buf_fini(&d->scratch);
	free(d->pending);
	free(d);
}

size_t
disk_pending(const struct disk *d)
{
	return d->n;
}

/* The youngest file of this inode: numbers are used again after a file is gone. */
static int
file_of(const struct disk *d, const struct trace_head *h)
{
	int i;

	for (i = d->n_files; i > 0; i--)
		if (d->files[i].inode == h->file)
			return i;
	die("a file that was never made", (const char *)(h + 1));
}

static size_t
parent_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

/* The folder that a name changes in: a link's is that of the new name. */
static bool
lies_in(const struct trace_head *h, const char *folder)
{
	char path[256];
	size_t n = strlen(folder);

	path_of(path, h, h->op == TRACE_LINK);
	return parent_length(path) == n && memcmp(path, folder, n) == 0;
}

/* A flush came back: what it covers is durable, in its order. */
static void
fold(struct disk *d, const struct trace_head *sync)
{
	bool folder = sync->op == TRACE_SYNC_DIR;
	int file = folder ? 0 : file_of(d, sync);
	char path[256];
	size_t i, left = 0;

	path_of(path, sync, false);
	for (i = 0; i < d->n; i++) {
		struct pending *p = &d->pending[i];

		if (folder && is_name(p->h) && lies_in(p->h, path))
			apply_name(&d->names, p);
		else if (!folder && !is_name(p->h) && p->file == file)
			apply_bytes(&d->files[file].durable, p->h);
		else
			d->pending[left++] = *p;
	}
	d->n = left;
}

static void
add_pending(struct disk *d, const struct trace_head *h)
{
	struct pending p = {h, 0};
	char path[256], second[256];

	path_of(path, h, false);
	path_of(second, h, true);
	if (h->op == TRACE_CREATE) {
		if (d->n_files + 1 == FILES_MAX)
			die("too many files", path);
		d->files[++d->n_files].inode = h->file;
	}
	if (h->op != TRACE_MKDIR && h->op != TRACE_UNLINK)
		p.file = file_of(d, h);
	if (h->op == TRACE_RENAME && (parent_length(path) != parent_length(second) ||
				      memcmp(path, second, parent_length(path)) != 0))
		die("moved to another folder", path);
	if (d->n == d->room) {
		d->room = d->room ? 2 * d->room : 256;
		d->pending = realloc(d->pending, d->room * sizeof(p));
		if (!d->pending)
			die("no memory", "");
	}
	d->pending[d->n++] = p;
}

void
disk_add(struct disk *d, const struct trace_head *h)
{
	d->in_flight = false; /* the call before it has come back */
	if (h->op == TRACE_MARK)
		return;
	if (h->op == TRACE_SYNC || h->op == TRACE_SYNC_DIR) {
		if (!(d->lies & (h->op == TRACE_SYNC ? DISK_NO_SYNC : DISK_NO_FOLDERS)))
			fold(d, h);
		return;
	}
	add_pending(d, h);
	d->in_flight = true;
}

/* --- a state --- */

enum fate { DROPPED, KEPT, TORN };

/* How this state treats what is pending: from all dropped to all kept. */
struct weather {
	struct rng *r;
	uint64_t kept;	 /* per mille */
	uint64_t torn;	 /* per mille */
	size_t in_order; /* what is pending from here on is dropped */
};

static struct weather
weather_of(struct disk *d, struct rng *r)
{
	static const uint64_t kept[] = {0, 100, 500, 500, 900, 1000};
	struct weather w = {r, 1000, 0, d->n};

	if (!r)
		return w;
	w.kept = kept[rng_below(r, 6)];
	w.torn = rng_below(r, 2) ? 300 : 0;
	if (w.kept == 1000)
		w.in_order = rng_below(r, d->n + 1);
	return w;
}

static enum fate
fate_of(struct disk *d, const struct weather *w, size_t i)
{
	const struct trace_head *h = d->pending[i].h;
	bool last = d->in_flight && i + 1 == d->n;

	if (!w->r)
		return KEPT;
	if (h->flags & TRACE_THROUGH && !last && !(d->lies & DISK_NO_THROUGH))
		return KEPT;
	if (h->op == TRACE_WRITE && data_size(h) > 0 && rng_below(w->r, 1000) < w->torn)
		return TORN;
	return i < w->in_order && rng_below(w->r, 1000) < w->kept ? KEPT : DROPPED;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	return at->level > 0 ? remove(path) : 0;
}

static void
write_file(const char *path, const struct buf *b)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || (b->len && write(fd, b->data, b->len) != (ssize_t)b->len))
		die("cannot write a state", path);
	(void)close(fd);
}

static bool
parent_exists(const struct names *all, const char *path)
{
	size_t n = parent_length(path), i;

	if (n == 0)
		return true;
	for (i = 0; i < all->count; i++)
		if (strlen(all->n[i].path) == n && memcmp(all->n[i].path, path, n) == 0)
			return all->n[i].is == FOLDER && parent_exists(all, all->n[i].path);
	return false;
}

/* The bytes of one file as the fates have it. */
static void
build(struct disk *d, int file, const enum fate *fates, struct rng *r, struct buf *out)
{
	const struct buf *from = &d->files[file].durable;
	size_t i;

	out->len = 0;
	put_bytes(out, 0, from->len ? (const char *)from->data : "", from->len);
	for (i = 0; i < d->n; i++) {
		const struct pending *p = &d->pending[i];

		if (is_name(p->h) || p->file != file)
			continue;
		if (fates[i] == KEPT)
			apply_bytes(out, p->h);
		else if (fates[i] == TORN)
			tear(out, p->h, r);
	}
}

static void
mix(uint64_t *hash, const char *p, size_t n)
{
	*hash = *hash * UINT64_C(0x9e3779b97f4a7c15) + xxh64_of(p, n);
}

static void
write_names(struct disk *d, const struct names *all, const enum fate *fates, struct rng *r,
	    const char *folder, uint64_t *hash)
{
	char path[PATH_MAX];
	size_t i;

	/* A folder comes before what is in it: names are kept in the order they were made. */
	for (i = 0; i < all->count; i++) {
		const struct name *n = &all->n[i];

		if (n->is == NO_FILE || !parent_exists(all, n->path))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, n->path);
		mix(hash, n->path, strlen(n->path));
		if (n->is == FOLDER) {
			if (mkdir(path, 0700))
				die("cannot make", path);
			continue;
		}
		build(d, n->is, fates, r, &d->scratch);
		write_file(path, &d->scratch);
		mix(hash, d->scratch.len ? (const char *)d->scratch.data : "", d->scratch.len);
	}
}

void
disk_write(struct disk *d, struct rng *r, const char *folder, struct disk_state *out)
{
	struct weather w = weather_of(d, r);
	struct names *all = malloc(sizeof(*all));
	enum fate *fates = calloc(d->n + 1, sizeof(*fates));
	size_t i;

	if (!all || !fates)
		die("no memory", "");
	*all = d->names;
	*out = (struct disk_state){0, 0};
	for (i = 0; i < d->n; i++) {
		fates[i] = fate_of(d, &w, i);
		out->kept += fates[i] == KEPT;
		if (is_name(d->pending[i].h) && fates[i] == KEPT)
			apply_name(all, &d->pending[i]);
	}
	if (mkdir(folder, 0700) && nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS))
		die("cannot empty", folder);
	write_names(d, all, fates, r, folder, &out->hash);
	free(fates);
	free(all);
}
