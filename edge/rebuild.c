#include "edge/rebuild.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/file.h"
#include "common/store/salvage.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/old_store.h"
#include "edge/take_in.h"

enum { MAP_MORE = 256 << 20, OLDER_MAX = 99 };

struct rebuilding {
	struct edge *e;
	void *sink;
	struct old_store old;
	uint64_t again; /* came twice: its pages had been freed and not used since */
};

static void
path_of(const struct edge *e, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", e->dir, name);
}

static int
begin(void *arg, const struct salvaged *o, struct err *err)
{
	struct rebuilding *r = arg;

	old_store_given(&r->old, o->id);
	return take_in_kept_begin(r->e, &r->sink, err);
}

static int
bytes(void *arg, const void *p, size_t n, struct err *err)
{
	return take_in_kept_feed(((struct rebuilding *)arg)->sink, p, n, err);
}

static int
end(void *arg, struct err *err)
{
	struct rebuilding *r = arg;
	bool again;
	int rc = take_in_kept_end(r->sink, &again, err);

	r->sink = NULL;
	r->again += !rc && again;
	return rc;
}

static bool
missed(void *arg, uint64_t id)
{
	return old_store_missed(&((struct rebuilding *)arg)->old, id);
}

static int
remove_one(void *arg, const char *name, struct err *err)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
	return file_remove(path, err);
}

static int
empty_folder(const struct edge *e, const char *name, struct err *err)
{
	char dir[PATH_MAX];

	path_of(e, name, dir);
	return file_missing(dir) ? 0 : file_list(dir, remove_one, dir, err);
}

static int
old_size(const struct edge *e, uint64_t *size, struct err *err)
{
	char data[PATH_MAX];
	int fd, rc;

	path_of(e, "store/data.mdb", data);
	if (file_missing(data))
		return 0;
	fd = file_open(data, false, err);
	if (fd < 0)
		return fd;
	rc = file_size(fd, size, err);
	file_close(fd);
	return rc;
}

/*
 * Not under the quota: pages that eviction had freed are found as well, and together with what
 * was here they may be more than it. Nothing of it may be dropped before central has been asked;
 * eviction brings the cache back below its quota as it always does.
 */
static int
fill(struct edge *e, struct rebuild_result *out, struct err *err)
{
	struct rebuilding r = {.e = e};
	struct salvage_to to = {begin, bytes, end, missed, NULL, &r};
	struct salvage_result found;
	char data[PATH_MAX], store[PATH_MAX], damaged[PATH_MAX];
	int rc;

	path_of(e, "store", store);
	path_of(e, "store/data.mdb", data);
	path_of(e, "store/journal.damaged", damaged);
	if (file_missing(data))
		return 0;
	rc = old_store_read(&r.old, e, store, err);
	if (!rc)
		rc = salvage_folder(store, &to, &found, err);
	if (r.sink)
		take_in_kept_drop(r.sink);
	if (!rc) {
		out->objects = found.objects - r.again;
		/* Of an image in one chunk a flipped bit leaves nothing that salvage would see. */
		out->torn = old_store_lacks(&r.old);
		out->torn = out->torn > found.torn ? out->torn : found.torn;
		out->unread = found.unread;
		out->untold = !r.old.whole || !file_missing(damaged);
		rc = old_store_bequeath(e, store, &out->known, &out->listed, err);
	}
	old_store_fini(&r.old);
	return rc;
}

/* What an earlier rebuild kept for a person is not thrown away by a later one. */
static int
keep_older(const struct edge *e, struct err *err)
{
	char old[PATH_MAX], data[PATH_MAX], name[32], to[PATH_MAX];
	unsigned n;

	path_of(e, "store.old", old);
	path_of(e, "store.old/data.mdb", data);
	if (file_missing(data))
		return empty_folder(e, "store.old", err);
	for (n = 1; n <= OLDER_MAX; n++) {
		(void)snprintf(name, sizeof(name), "store.old.%u", n);
		path_of(e, name, to);
		if (file_missing(to))
			return file_rename(old, to, err);
	}
	return err_set(err, ERR_LOCAL, 0, "%u rebuilds kept their old files: look at store.old.*",
		       n);
}

/* Its data first: what a death leaves of it is not taken for a file that was kept. */
static int
drop_old(const struct edge *e, struct err *err)
{
	char data[PATH_MAX];
	int rc = 0;

	path_of(e, "store.old/data.mdb", data);
	if (!file_missing(data))
		rc = file_remove(data, err);
	return rc ? rc : empty_folder(e, "store.old", err);
}

/* The old one steps aside, the new one takes its name. */
static int
swap(struct edge *e, struct err *err)
{
	char now[PATH_MAX], old[PATH_MAX], new[PATH_MAX];
	int rc = keep_older(e, err);

	path_of(e, "store", now);
	path_of(e, "store.old", old);
	path_of(e, "store.new", new);
	if (!rc)
		rc = file_rename(now, old, err);
	if (!rc)
		rc = file_rename(new, now, err);
	return rc ? rc : file_sync_dir(e->dir, err);
}

int
rebuild_store(struct edge *e, struct rebuild_result *out, struct err *err)
{
	uint64_t size = 0;
	int rc = empty_folder(e, "store.new", err);

	memset(out, 0, sizeof(*out));
	if (!rc)
		rc = old_size(e, &size, err);
	if (!rc)
		rc = edge_open_new_store(e, "store.new", 2 * size + MAP_MORE, err);
	if (!rc)
		rc = fill(e, out, err);
	edge_close_store(e);
	if (!rc)
		rc = swap(e, err);
	if (rc)
		return rc;
	out->kept = out->torn > 0 || out->unread > 0 || out->untold;
	if (!out->kept)
		rc = drop_old(e, err);
	log_line(LOG_WARN, "store.rebuilt", "objects=%llu torn=%llu unread=%llu known=%llu",
		 (unsigned long long)out->objects, (unsigned long long)out->torn,
		 (unsigned long long)out->unread, (unsigned long long)out->known);
	return rc ? rc : edge_open_store(e, err);
}
