/*
 * Record: "SLLR", kind u32, length u32, pending u32 (how many records right before it
 * were not flushed yet when it was written), number u64 (from 1), chain 32, payload;
 * all little endian. chain(n) = SHA-256(chain(n-1), the 24 bytes before
 * the chain, payload); chain(0) is zero.
 */
#include "central/clog.h"

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/file.h"

enum { FIXED = 24, HEAD = FIXED + SHA256_SIZE };

static const char magic[] = "SLLR";

struct clog {
	char dir[PATH_MAX - 32];
	uint64_t segment_bytes;
	pthread_mutex_t mu;
	pthread_cond_t synced_more;
	/* guarded by mu */
	int fd;
	unsigned segment;	  /* number of the open one */
	uint64_t size;		  /* of the open one        */
	uint64_t written, synced; /* records */
	unsigned char chain[SHA256_SIZE];
	bool syncing, broken;
};

static void
segment_path(const struct clog *c, unsigned n, const char *suffix, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%08u.log%s", c->dir, n, suffix);
}

static void
link_record(unsigned char chain[SHA256_SIZE], const unsigned char *fixed, const void *p, size_t n)
{
	struct sha256 *s;

	if (sha256_new(&s, NULL))
		abort();
	sha256_add(s, chain, SHA256_SIZE);
	sha256_add(s, fixed, FIXED);
	sha256_add(s, p, n);
	sha256_end(s, chain);
	sha256_free(s);
}

/* --- reading --- */

struct replay {
	struct clog *c;
	clog_record *fn;
	void *arg;
	bool last; /* segment */
};

/* One record at offset: 0, ERR_ABSENT for none that is whole, or an error. */
static int
read_record(struct replay *r, uint64_t offset, uint64_t size, struct buf *payload, struct err *e)
{
	unsigned char head[HEAD], chain[SHA256_SIZE];
	struct clog *c = r->c;
	uint32_t n;
	size_t got;
	int rc = file_read_at(c->fd, head, sizeof(head), offset, &got, e);

	if (rc)
		return rc;
	if (got < HEAD || memcmp(head, magic, 4) != 0)
		return ERR_ABSENT;
	n = buf_get_u32(head + 8);
	if (n > CLOG_RECORD_MAX || n > size - offset - HEAD)
		return ERR_ABSENT;
	buf_clear(payload);
	if (!buf_reserve(payload, n + 1u))
		return err_set(e, ERR_LOCAL, 0, "no memory for a log record");
	rc = file_read_at(c->fd, payload->data, n, offset + HEAD, &got, e);
	if (rc)
		return rc;
	memcpy(chain, c->chain, sizeof(chain));
	link_record(chain, head, payload->data, n);
	if (got < n || memcmp(chain, head + FIXED, sizeof(chain)) != 0 ||
	    buf_get_u64(head + 16) != c->written + 1)
		return ERR_ABSENT;
	payload->len = n;
	memcpy(c->chain, chain, sizeof(chain));
	c->written++;
	return r->fn ? r->fn(r->arg, c->written, buf_get_u32(head + 4), payload->data, n, e) : 0;
}

/*
 * Is there a whole record in tail, which begins where number `expected` should be, that was
 * written after `expected` had been flushed? A power cut may keep a later record and lose an
 * earlier one while neither is flushed: that is a torn end. Each number between takes at
 * least a HEAD, which bounds what is believable.
 */
static bool
has_later_record(const struct buf *tail, uint64_t expected)
{
	const unsigned char *p = tail->data, *end = p + tail->len;

	while ((p = memmem(p, (size_t)(end - p), magic, 4)) != NULL && end - p >= HEAD) {
		uint32_t n = buf_get_u32(p + 8);
		uint64_t number = buf_get_u64(p + 16);

		if (n <= CLOG_RECORD_MAX && n <= (size_t)(end - p) - HEAD &&
		    buf_get_u32(p + 12) < number && number - buf_get_u32(p + 12) > expected &&
		    number > expected && number - expected <= (size_t)(p - tail->data) / HEAD)
			return true;
		p++;
	}
	return false;
}

static int
breaks_at(const struct clog *c, uint64_t at, struct err *e)
{
	return err_set(e, ERR_CORRUPT, 0, "log segment %u breaks at offset %llu", c->segment,
		       (unsigned long long)at);
}

static int
keep_torn(struct clog *c, const struct buf *tail, struct err *e)
{
	char path[PATH_MAX];
	int fd, rc;

	segment_path(c, c->segment, ".torn", path);
	fd = file_open_append(path, e);
	if (fd < 0)
		return fd;
	rc = file_write(fd, tail->data, tail->len, e);
	if (!rc)
		rc = file_sync(fd, e);
	file_close(fd);
	return rc;
}

/*
 * What lies behind the last whole record of the last segment: kept apart, then cut off. Only
 * an end can be torn: with a later record behind the break it is damage, and nothing is cut.
 */
static int
put_aside(struct clog *c, uint64_t from, uint64_t size, struct err *e)
{
	struct buf tail = BUF_INIT;
	size_t got = 0;
	int rc;

	if (!buf_reserve(&tail, (size_t)(size - from) + 1))
		return err_set(e, ERR_LOCAL, 0, "no memory for a torn record");
	rc = file_read_at(c->fd, tail.data, (size_t)(size - from), from, &got, e);
	tail.len = got;
	if (!rc && has_later_record(&tail, c->written + 1))
		rc = breaks_at(c, from, e);
	if (!rc)
		rc = keep_torn(c, &tail, e);
	buf_fini(&tail);
	if (rc)
		return rc;
	rc = file_sync_dir(c->dir, e);
	if (!rc)
		rc = file_truncate(c->fd, from, e);
	if (!rc)
		rc = file_sync(c->fd, e);
	log_line(LOG_WARN, "log.torn", "segment=%u bytes=%zu", c->segment, got);
	return rc;
}

static int
read_segment(struct replay *r, struct err *e)
{
	struct buf payload = BUF_INIT;
	uint64_t size, at = 0;
	int rc = file_size(r->c->fd, &size, e);

	while (!rc && at < size) {
		rc = read_record(r, at, size, &payload, e);
		at += rc ? 0 : HEAD + payload.len;
	}
	if (rc == ERR_ABSENT)
		rc = r->last ? put_aside(r->c, at, size, e) : breaks_at(r->c, at, e);
	r->c->size = at;
	buf_fini(&payload);
	return rc;
}

static int
begin_segment(struct clog *c, unsigned n, struct err *e)
{
	char path[PATH_MAX];
	int fd, rc;

	segment_path(c, n, "", path);
	fd = file_create(path, e);
	if (fd < 0)
		return fd;
	rc = file_sync_dir(c->dir, e);
	if (rc) {
		file_close(fd);
		return rc;
	}
	if (c->fd >= 0)
		file_close(c->fd);
	c->fd = fd;
	c->segment = n;
	c->size = 0;
	return 0;
}

/*
 * No room for a copy: the same bytes are written where they lie, so that all of them are
 * unwritten to the system again and its flush speaks of them. A cut in the middle leaves what
 * was there, or the same.
 */
static int
write_again(const char *path, const struct buf *bytes, struct err *e)
{
	int fd = file_open(path, true, e), rc;

	if (fd < 0)
		return fd;
	rc = file_write_at(fd, bytes->data, bytes->len, 0, e);
	if (!rc)
		rc = file_sync(fd, e);
	file_close(fd);
	return rc;
}

/*
 * What a process wrote and never flushed may be in memory only, and a flush that failed once
 * says success the next time (TRAPS 4): the last segment is copied, flushed and put in its
 * own place before a record of it is believed. A full disk keeps no central from starting.
 */
static int
renew_segment(struct clog *c, struct err *e)
{
	struct buf bytes = BUF_INIT;
	char path[PATH_MAX], name[32];
	struct err why = ERR_INIT;
	int rc;

	segment_path(c, c->segment, "", path);
	(void)snprintf(name, sizeof(name), "%08u.log", c->segment);
	rc = file_slurp(path, SIZE_MAX / 2, &bytes, e);
	if (!rc && bytes.len) {
		rc = file_replace(c->dir, name, bytes.data, bytes.len, &why);
		if (rc == ERR_FULL)
			rc = write_again(path, &bytes, e);
		else if (rc && e)
			*e = why;
	}
	buf_fini(&bytes);
	return rc;
}

static int
newest_segment(void *arg, const char *name, struct err *e)
{
	unsigned n, *max = arg;
	int end = 0;

	(void)e;
	if (sscanf(name, "%8u.log%n", &n, &end) == 1 && end && name[end] == '\0' && n > *max)
		*max = n;
	return 0;
}

static int
read_all(struct clog *c, clog_record *fn, void *arg, struct err *e)
{
	struct replay r = {c, fn, arg, false};
	char path[PATH_MAX];
	unsigned newest = 0;
	int rc = file_list(c->dir, newest_segment, &newest, e);

	while (!rc && !r.last) {
		segment_path(c, c->segment + 1, "", path);
		if (!file_exists(path))
			break;
		c->segment++;
		r.last = c->segment == newest;
		rc = r.last ? renew_segment(c, e) : 0;
		if (c->fd >= 0)
			file_close(c->fd);
		c->fd = rc ? rc : file_open(path, true, e);
		if (c->fd < 0)
			return c->fd;
		rc = read_segment(&r, e);
	}
	if (!rc && c->segment < newest)
		rc = err_set(e, ERR_CORRUPT, 0, "log segment %u is missing", c->segment + 1);
	if (!rc && c->fd < 0)
		rc = begin_segment(c, 1, e);
	c->synced = c->written;
	return rc;
}

int
clog_open(struct clog **out, const char *dir, uint64_t segment, clog_record *fn, void *arg,
	  struct err *e)
{
	struct clog *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for the log");
	(void)snprintf(c->dir, sizeof(c->dir), "%s", dir);
	c->segment_bytes = segment ? segment : CLOG_SEGMENT;
	c->fd = -1;
	(void)pthread_mutex_init(&c->mu, NULL);
	(void)pthread_cond_init(&c->synced_more, NULL);
	rc = read_all(c, fn, arg, e);
	if (rc) {
		clog_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

void
clog_close(struct clog *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		file_close(c->fd);
	(void)pthread_cond_destroy(&c->synced_more);
	(void)pthread_mutex_destroy(&c->mu);
	free(c);
}

/* --- writing --- */

static int
broken(struct err *e)
{
	return err_set(e, ERR_LOCAL, 0, "the log ended with a failed write or flush");
}

/* With mu held: flushes what is written; a failure ends the log. */
static int
flush_held(struct clog *c, struct err *e)
{
	uint64_t upto = c->written;
	int fd = c->fd, rc;

	c->syncing = true;
	pthread_mutex_unlock(&c->mu);
	rc = file_sync(fd, e);
	pthread_mutex_lock(&c->mu);
	c->syncing = false;
	if (rc)
		c->broken = true;
	else if (upto > c->synced)
		c->synced = upto;
	pthread_cond_broadcast(&c->synced_more);
	return rc;
}

/* With mu held: the old segment is whole on disk before a new one begins. */
static int
next_segment(struct clog *c, struct err *e)
{
	int rc;

	while (c->syncing)
		pthread_cond_wait(&c->synced_more, &c->mu);
	if (c->broken)
		return broken(e);
	rc = file_truncate(c->fd, c->size, e); /* nothing half written stays in its middle */
	if (!rc)
		rc = file_sync(c->fd, e);
	if (!rc) {
		c->synced = c->written;
		rc = begin_segment(c, c->segment + 1, e);
	}
	if (rc)
		c->broken = true;
	return rc;
}

static int
append_held(struct clog *c, uint32_t kind, const void *p, size_t n, struct err *e)
{
	unsigned char chain[SHA256_SIZE];
	struct buf record = BUF_INIT;
	int rc = 0;

	while (!rc && c->size > 0 && c->size + HEAD + n > c->segment_bytes)
		rc = next_segment(c, e);
	if (rc || c->broken)
		return rc ? rc : broken(e);
	buf_put(&record, magic, 4);
	buf_put_u32(&record, kind);
	buf_put_u32(&record, (uint32_t)n);
	buf_put_u32(&record, (uint32_t)(c->written - c->synced));
	buf_put_u64(&record, c->written + 1);
	memcpy(chain, c->chain, sizeof(chain));
	if (!buf_failed(&record))
		link_record(chain, record.data, p, n);
	buf_put(&record, chain, sizeof(chain));
	buf_put(&record, p, n);
	if (buf_failed(&record)) {
		buf_fini(&record);
		return err_set(e, ERR_LOCAL, 0, "no memory for a log record");
	}
	rc = file_write_at(c->fd, record.data, record.len, c->size, e);
	if (!rc) {
		memcpy(c->chain, chain, sizeof(chain));
		c->size += record.len;
		c->written++;
	} else if (file_truncate(c->fd, c->size, NULL)) {
		c->broken = true; /* half a record stays: torn at the next start */
	}
	buf_fini(&record);
	return rc;
}

int
clog_append(struct clog *c, uint32_t kind, const void *p, size_t n, struct err *e)
{
	int rc;

	if (n > CLOG_RECORD_MAX)
		return err_set(e, ERR_LOCAL, 0, "a log record of %zu bytes", n);
	pthread_mutex_lock(&c->mu);
	rc = append_held(c, kind, p, n, e);
	pthread_mutex_unlock(&c->mu);
	return rc;
}

int
clog_sync(struct clog *c, struct err *e)
{
	uint64_t want;
	int rc = 0;

	pthread_mutex_lock(&c->mu);
	want = c->written;
	while (!rc && c->synced < want) {
		if (c->broken)
			rc = broken(e);
		else if (c->syncing) /* whoever flushes now may have begun before we wrote */
			pthread_cond_wait(&c->synced_more, &c->mu);
		else
			rc = flush_held(c, e);
	}
	pthread_mutex_unlock(&c->mu);
	return rc;
}

bool
clog_broken(struct clog *c)
{
	bool is;

	pthread_mutex_lock(&c->mu);
	is = c->broken;
	pthread_mutex_unlock(&c->mu);
	return is;
}

uint64_t
clog_count(struct clog *c)
{
	uint64_t n;

	pthread_mutex_lock(&c->mu);
	n = c->written;
	pthread_mutex_unlock(&c->mu);
	return n;
}
