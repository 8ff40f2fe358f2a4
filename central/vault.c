#include "central/vault.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/file.h"

enum { ID_HEX = 2 * SHA256_SIZE + 1, MANIFEST_MAX = 8 << 20, DAY = 11, DIR_MAX = 3000 };

struct vault {
	char dir[DIR_MAX]; /* set once */
	pthread_mutex_t mu;
	/* guarded by mu */
	char day[DAY]; /* the last whose folders were made and flushed by this process */
};

struct upload {
	struct vault *v;
	char hex[ID_HEX];
	int fd;
};

static void
path_of(const struct vault *v, const char *folder, const char *name, const char *suffix,
	char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s/%s%s", v->dir, folder, name, suffix);
}

int
vault_open(struct vault **out, const char *dir, struct err *e)
{
	struct vault *v;
	int rc;

	if (strlen(dir) >= DIR_MAX)
		return err_set(e, ERR_LOCAL, 0, "the vault's path is too long");
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(e, ERR_LOCAL, 0, "no memory for the vault");
	strcpy(v->dir, dir);
	(void)pthread_mutex_init(&v->mu, NULL);
	rc = file_mkdirs(dir, "packs", e);
	if (!rc)
		rc = file_mkdirs(dir, "tmp", e);
	if (rc) {
		vault_close(v);
		return rc;
	}
	*out = v;
	return 0;
}

void
vault_close(struct vault *v)
{
	if (!v)
		return;
	(void)pthread_mutex_destroy(&v->mu);
	free(v);
}

/* --- uploads --- */

static struct upload *
upload_new(struct vault *v, const unsigned char id[SHA256_SIZE])
{
	struct upload *u = calloc(1, sizeof(*u));

	if (u) {
		u->v = v;
		u->fd = -1;
		hex_of(id, SHA256_SIZE, u->hex);
	}
	return u;
}

void
vault_end(struct upload *u)
{
	if (!u)
		return;
	if (u->fd >= 0)
		file_close(u->fd);
	free(u);
}

static int
open_part(struct upload *u, struct err *e)
{
	char path[PATH_MAX];

	path_of(u->v, "tmp", u->hex, ".part", path);
	if (!file_exists(path))
		return ERR_ABSENT;
	u->fd = file_open(path, true, e);
	return u->fd < 0 ? u->fd : 0;
}

int
vault_begin(struct upload **out, struct vault *v, const unsigned char id[SHA256_SIZE],
	    struct err *e)
{
	struct upload *u = upload_new(v, id);
	char path[PATH_MAX];
	int rc;

	if (!u)
		return err_set(e, ERR_LOCAL, 0, "no memory for an upload");
	rc = open_part(u, e);
	if (rc == ERR_ABSENT) {
		path_of(v, "tmp", u->hex, ".part", path);
		u->fd = file_create(path, e);
		rc = u->fd < 0 ? u->fd : 0;
	}
	if (rc) {
		vault_end(u);
		return rc;
	}
	*out = u;
	return 0;
}

/* One flush of the folder covers both names. */
int
vault_keep(struct upload *u, const void *manifest, size_t n, struct err *e)
{
	char tmp[PATH_MAX], name[ID_HEX + 16];

	(void)snprintf(tmp, sizeof(tmp), "%s/tmp", u->v->dir);
	(void)snprintf(name, sizeof(name), "%s.manifest", u->hex);
	return file_replace(tmp, name, manifest, n, e);
}

int
vault_resume(struct upload **out, struct vault *v, const unsigned char id[SHA256_SIZE],
	     struct buf *manifest, struct err *e)
{
	struct upload *u = upload_new(v, id);
	char path[PATH_MAX];
	int rc;

	if (!u)
		return err_set(e, ERR_LOCAL, 0, "no memory for an upload");
	rc = open_part(u, e);
	path_of(v, "tmp", u->hex, ".manifest", path);
	if (!rc)
		rc = file_slurp(path, MANIFEST_MAX, manifest, e);
	if (rc) {
		vault_end(u);
		return rc;
	}
	*out = u;
	return 0;
}

int
vault_write(struct upload *u, uint64_t offset, const void *p, size_t n, struct err *e)
{
	return file_write_at(u->fd, p, n, offset, e);
}

/*
 * Packs stream through at disk speed, for hours after a fire; memory is the catalogue's. Nobody
 * reads them soon (they were hashed on their way), and pages that are given back at once are
 * warm when the next pack is written.
 */
int
vault_sync(struct upload *u, struct err *e)
{
	int rc = file_sync(u->fd, e);

	if (!rc)
		file_uncache(u->fd);
	return rc;
}

int
vault_read_back(struct upload *u, uint64_t offset, void *p, size_t n, size_t *got, struct err *e)
{
	return file_read_at(u->fd, p, n, offset, got, e);
}

struct sweeping {
	int (*fn)(void *arg, const unsigned char id[SHA256_SIZE], struct err *e);
	void *arg;
};

static int
one_upload(void *arg, const char *name, struct err *e)
{
	struct sweeping *s = arg;
	unsigned char id[SHA256_SIZE];
	char hex[ID_HEX];

	if (strlen(name) < ID_HEX || name[ID_HEX - 1] != '.')
		return 0;
	memcpy(hex, name, ID_HEX - 1);
	hex[ID_HEX - 1] = '\0';
	return hex_to(hex, id, sizeof(id)) ? s->fn(s->arg, id, e) : 0;
}

int
vault_uploads(struct vault *v,
	      int (*fn)(void *arg, const unsigned char id[SHA256_SIZE], struct err *e), void *arg,
	      struct err *e)
{
	struct sweeping s = {fn, arg};
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/tmp", v->dir);
	return file_list(path, one_upload, &s, e);
}

int
vault_drop(struct vault *v, const unsigned char id[SHA256_SIZE], struct err *e)
{
	static const char *const suffixes[] = {".part", ".manifest"};
	char hex[ID_HEX], path[PATH_MAX];
	size_t i;
	int rc = 0;

	hex_of(id, SHA256_SIZE, hex);
	for (i = 0; !rc && i < 2; i++) { /* the part first: it alone makes an upload */
		path_of(v, "tmp", hex, suffixes[i], path);
		if (file_exists(path))
			rc = file_remove(path, e);
	}
	return rc;
}

/* --- packs --- */

static void
day_of(int64_t wall_ms, char out[DAY])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	/* Only where it lies: any day serves, also one of a wrong clock (R28). */
	if (!gmtime_r(&t, &tm) || tm.tm_year < 70 || tm.tm_year > 1099 ||
	    strftime(out, DAY, "%Y/%m/%d", &tm) == 0)
		strcpy(out, "1970/01/01");
}

struct finding {
	const char *hex;
	char *place;
	bool found;
};

static int
find_one(void *arg, const char *place, const unsigned char id[SHA256_SIZE], struct err *e)
{
	struct finding *f = arg;
	char hex[ID_HEX];

	(void)e;
	hex_of(id, SHA256_SIZE, hex);
	if (strcmp(hex, f->hex) == 0 && !f->found) {
		(void)snprintf(f->place, VAULT_PLACE_SIZE, "%s", place);
		f->found = true;
	}
	return 0;
}

/* Where the pack goes; where it is, if an earlier try died behind its link. */
static int
choose_place(struct upload *u, int64_t wall_ms, const char *known, char place[VAULT_PLACE_SIZE],
	     struct err *e)
{
	struct finding f = {u->hex, place, false};
	char day[DAY];
	unsigned links;
	int rc = file_links(u->fd, &links, e);

	if (!rc && links > 1)
		rc = vault_list(u->v, find_one, &f, e);
	if (rc || f.found)
		return rc;
	if (known) {
		(void)snprintf(place, VAULT_PLACE_SIZE, "%s", known);
		return 0;
	}
	day_of(wall_ms, day);
	(void)snprintf(place, VAULT_PLACE_SIZE, "%s/%s.tar", day, u->hex);
	return 0;
}

/* Three flushes a day, not three a pack; after an error none is believed to have been. */
static int
make_day(struct vault *v, const char *day, struct err *e)
{
	char packs[PATH_MAX];
	bool made;
	int rc;

	(void)pthread_mutex_lock(&v->mu);
	made = strcmp(v->day, day) == 0;
	(void)pthread_mutex_unlock(&v->mu);
	if (made)
		return 0;
	(void)snprintf(packs, sizeof(packs), "%s/packs", v->dir);
	rc = file_mkdirs(packs, day, e);
	if (rc)
		return rc;
	(void)pthread_mutex_lock(&v->mu);
	strcpy(v->day, day);
	(void)pthread_mutex_unlock(&v->mu);
	return 0;
}

static void
forget_day(struct vault *v)
{
	(void)pthread_mutex_lock(&v->mu);
	v->day[0] = '\0';
	(void)pthread_mutex_unlock(&v->mu);
}

int
vault_adopt(struct upload *u, uint64_t size, int64_t wall_ms, const char *known,
	    char place[VAULT_PLACE_SIZE], struct err *e)
{
	char from[PATH_MAX], to[PATH_MAX], folder[PATH_MAX], day[DAY];
	unsigned char id[SHA256_SIZE];
	int rc = choose_place(u, wall_ms, known, place, e);

	if (rc)
		return rc;
	memcpy(day, place, DAY - 1);
	day[DAY - 1] = '\0';
	path_of(u->v, "tmp", u->hex, ".part", from);
	path_of(u->v, "packs", place, "", to);
	path_of(u->v, "packs", day, "", folder);
	rc = file_truncate(u->fd, size, e); /* bytes behind the last durable offset, if any */
	if (!rc)
		rc = vault_sync(u, e);
	if (!rc)
		rc = make_day(u->v, day, e);
	if (!rc && file_missing(to))
		rc = file_link(from, to, e);
	else if (!rc && !file_same(from, to)) /* a damaged one: the bytes just checked replace it */
		rc = file_rename(from, to, e);
	if (!rc) /* also of a link that was there: its try may have died before this */
		rc = file_sync_dir(folder, e);
	if (rc)
		forget_day(u->v);
	if (!rc && hex_to(u->hex, id, sizeof(id)))
		rc = vault_drop(u->v, id, e);
	return rc;
}

int
vault_secure(struct vault *v, const char *place, struct err *e)
{
	char path[PATH_MAX], *slash;
	size_t packs;
	int fd, rc;

	path_of(v, "packs", place, "", path);
	packs = strlen(path) - strlen(place) - 1;
	fd = file_open(path, false, e);
	if (fd < 0)
		return fd;
	rc = file_sync(fd, e);
	file_close(fd);
	while (!rc && (slash = strrchr(path, '/')) && (size_t)(slash - path) >= packs) {
		*slash = '\0';
		rc = file_sync_dir(path, e);
	}
	return rc;
}

int
vault_read(struct vault *v, const char *place, uint64_t offset, void *p, size_t n, size_t *got,
	   struct err *e)
{
	char path[PATH_MAX];
	int fd, rc;

	path_of(v, "packs", place, "", path);
	fd = file_open(path, false, e);
	if (fd < 0)
		return fd;
	rc = file_read_at(fd, p, n, offset, got, e);
	file_close(fd);
	return rc;
}

/* --- listing: packs/year/month/day/name --- */

struct walking {
	const struct vault *v;
	char below[VAULT_PLACE_SIZE];
	unsigned depth;
	int (*fn)(void *arg, const char *place, const unsigned char id[SHA256_SIZE], struct err *e);
	void *arg;
};

static int
walk(void *arg, const char *name, struct err *e)
{
	struct walking *w = arg, inner = *w;
	unsigned char id[SHA256_SIZE];
	char hex[ID_HEX], path[PATH_MAX];
	size_t n = strlen(name);

	if (snprintf(inner.below, sizeof(inner.below), "%s%s%s", w->below, w->depth ? "/" : "",
		     name) >= (int)sizeof(inner.below))
		return 0; /* none of ours */
	if (w->depth < 3) {
		inner.depth++;
		path_of(w->v, "packs", inner.below, "", path);
		return file_list(path, walk, &inner, e);
	}
	if (n != ID_HEX - 1 + 4 || strcmp(name + n - 4, ".tar") != 0)
		return 0;
	memcpy(hex, name, ID_HEX - 1);
	hex[ID_HEX - 1] = '\0';
	return hex_to(hex, id, sizeof(id)) ? w->fn(w->arg, inner.below, id, e) : 0;
}

int
vault_list(struct vault *v,
	   int (*fn)(void *arg, const char *place, const unsigned char id[SHA256_SIZE],
		     struct err *e),
	   void *arg, struct err *e)
{
	struct walking w = {v, "", 0, fn, arg};
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/packs", v->dir);
	return file_list(path, walk, &w, e);
}
