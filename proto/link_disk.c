/*
 * Requests and answers as files of a folder: of a share, or of a disk that is carried between
 * the two ends. <run><number>.ask is a sync.DiskRequest, <run><number>.said its answer.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/http/server.h"
#include "common/os/file.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum {
	RUN_HEX = 2 * ID128_SIZE,
	NAME = RUN_HEX + 32,
	FILE_MAX = HTTP_BODY_MAX + 65536,
	LOOK_MS = 200,
	LIST_MAX = 4096
};

struct waiting {
	struct waiting *next;
	uint64_t id, sent;
	int64_t since;
	char name[NAME]; /* without what follows the dot */
	char epoch[33];
};

struct on_disk {
	struct link l;
	char dir[PATH_MAX - NAME - 8], site[HTTP_SITE_SIZE], run[RUN_HEX + 1];
	struct waiting *first;
	uint64_t number;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool woken; /* guarded by mu */
};

static int
put_file(const char *dir, const char *name, const char *suffix, const ProtobufCMessage *m,
	 struct err *e)
{
	char file[NAME + 8];
	struct buf b = BUF_INIT;
	int rc;

	(void)snprintf(file, sizeof(file), "%s.%s", name, suffix);
	message_pack(&b, m);
	rc = buf_failed(&b) ? err_set(e, ERR_LOCAL, 0, "no memory for a file of the link")
			    : file_replace(dir, file, b.data, b.len, e);
	buf_fini(&b);
	return rc;
}

static int
submit(struct link *l, struct http_call *call, struct err *e)
{
	Sync__DiskRequest m = SYNC__DISK_REQUEST__INIT;
	struct on_disk *d = (struct on_disk *)l;
	struct waiting *w = calloc(1, sizeof(*w));
	int rc;

	if (!w) {
		buf_fini(&call->body);
		return err_set(e, ERR_LOCAL, 0, "no memory for a request");
	}
	(void)snprintf(w->name, sizeof(w->name), "%s%016llx", d->run,
		       (unsigned long long)++d->number);
	w->id = call->id;
	w->sent = call->body.len;
	w->since = clock_mono(clock_real());
	memcpy(w->epoch, call->epoch, sizeof(w->epoch));
	m.site = message_text(d->site);
	m.method = message_text(call->method);
	m.path = message_text(call->path);
	m.epoch = message_text(call->epoch);
	m.lane = call->lane;
	m.ranged = call->ranged;
	m.range_first = call->range_first;
	m.range_count = call->range_n;
	m.body = message_bytes(call->body.data, call->body.len);
	rc = put_file(d->dir, w->name, "ask", &m.base, e);
	buf_fini(&call->body);
	if (rc) {
		free(w);
		return rc;
	}
	w->next = d->first;
	d->first = w;
	return 0;
}

static int
take_answer(struct on_disk *d, const struct waiting *w, const char *path, struct http_done *out,
	    struct err *e)
{
	struct buf b = BUF_INIT;
	Sync__DiskAnswer *m;
	int rc = file_slurp(path, FILE_MAX, &b, e);

	(void)d;
	m = rc ? NULL : message_read(&sync__disk_answer__descriptor, b.data, b.len, NULL);
	memset(out, 0, sizeof(*out));
	out->id = w->id;
	out->sent = w->sent;
	out->ms = clock_mono(clock_real()) - w->since;
	memcpy(out->asked, w->epoch, sizeof(out->asked));
	if (m) { /* one that is torn is as good as none */
		out->status = m->status;
		(void)snprintf(out->epoch, sizeof(out->epoch), "%s", m->epoch);
		buf_put(&out->body, m->body.data, m->body.len);
	}
	message_free(m);
	buf_fini(&b);
	return rc ? rc : file_remove(path, e);
}

static int
find_answer(struct on_disk *d, struct http_done *out, bool *got, struct err *e)
{
	struct waiting **at = &d->first, *w;
	char path[PATH_MAX];
	int rc;

	for (; (w = *at); at = &w->next) {
		(void)snprintf(path, sizeof(path), "%s/%s.said", d->dir, w->name);
		if (!file_exists(path))
			continue;
		rc = take_answer(d, w, path, out, e);
		*got = !rc;
		if (!rc) {
			*at = w->next;
			free(w);
		}
		return rc;
	}
	return 0;
}

static void
pause_ms(struct on_disk *d, int64_t ms)
{
	struct timespec until;

	clock_deadline(&until, ms);
	(void)pthread_mutex_lock(&d->mu);
	while (!d->woken && pthread_cond_timedwait(&d->cond, &d->mu, &until) != ETIMEDOUT)
		;
	(void)pthread_mutex_unlock(&d->mu);
}

static int
wait_for(struct link *l, int timeout_ms, struct http_done *out, bool *got, struct err *e)
{
	struct on_disk *d = (struct on_disk *)l;
	int64_t until = clock_mono(clock_real()) + timeout_ms, left = 0;
	bool woken;
	int rc;

	*got = false;
	do {
		rc = find_answer(d, out, got, e);
		left = until - clock_mono(clock_real());
		if (!rc && !*got && left > 0)
			pause_ms(d, left < LOOK_MS ? left : LOOK_MS);
		(void)pthread_mutex_lock(&d->mu);
		woken = d->woken;
		d->woken = false;
		(void)pthread_mutex_unlock(&d->mu);
	} while (!rc && !*got && !woken && left > 0);
	return rc;
}

static void
wake(struct link *l)
{
	struct on_disk *d = (struct on_disk *)l;

	(void)pthread_mutex_lock(&d->mu);
	d->woken = true;
	(void)pthread_cond_signal(&d->cond);
	(void)pthread_mutex_unlock(&d->mu);
}

static void
close_it(struct link *l)
{
	struct on_disk *d = (struct on_disk *)l;
	struct waiting *w;

	while ((w = d->first)) {
		d->first = w->next;
		free(w);
	}
	(void)pthread_cond_destroy(&d->cond);
	(void)pthread_mutex_destroy(&d->mu);
	free(d);
}

int
link_disk(struct link **out, const char *dir, const char *site, struct err *e)
{
	static const struct link_ops ops = {submit, wait_for, wake, close_it};
	struct on_disk *d = calloc(1, sizeof(*d));
	struct id128 run;

	if (!d)
		return err_set(e, ERR_LOCAL, 0, "no memory for a link");
	if (strlen(dir) >= sizeof(d->dir) || strlen(site) >= sizeof(d->site)) {
		free(d);
		return err_set(e, ERR_LOCAL, 0, "the path of the link's folder is too long");
	}
	d->l.ops = &ops;
	strcpy(d->dir, dir);
	strcpy(d->site, site);
	/* An answer to an earlier run of this edge is nobody's: its names differ. */
	id128_make(rng_real(), &run);
	hex_of(run.b, sizeof(run.b), d->run);
	(void)pthread_mutex_init(&d->mu, NULL);
	clock_cond(&d->cond);
	*out = &d->l;
	return 0;
}

/* --- central's end --- */

struct listing {
	char (*names)[NAME];
	size_t n;
};

static int
note(void *arg, const char *name, struct err *e)
{
	struct listing *list = arg;
	size_t n = strlen(name);

	(void)e;
	if (n < 5 || n - 4 >= NAME || strcmp(name + n - 4, ".ask") != 0 || list->n == LIST_MAX)
		return 0;
	(void)snprintf(list->names[list->n++], NAME, "%.*s", (int)(n - 4), name);
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int
serve_one(const struct link_served *s, const char *dir, const char *name, struct err *e)
{
	Sync__DiskAnswer a = SYNC__DISK_ANSWER__INIT;
	struct http_call call = {.body = BUF_INIT};
	struct http_done done = {.body = BUF_INIT};
	struct buf b = BUF_INIT;
	Sync__DiskRequest *m;
	char path[PATH_MAX];
	int rc;

	(void)snprintf(path, sizeof(path), "%s/%s.ask", dir, name);
	rc = file_slurp(path, FILE_MAX, &b, e);
	if (rc)
		return rc;
	m = message_read(&sync__disk_request__descriptor, b.data, b.len, NULL);
	/* Whose disk this is the person who brought it says (R24); others' requests stay. */
	if (m && strcmp(m->site, s->site) == 0 && strlen(m->path) < sizeof(call.path)) {
		call.method = m->method;
		(void)snprintf(call.path, sizeof(call.path), "%s", m->path);
		(void)snprintf(call.epoch, sizeof(call.epoch), "%s", m->epoch);
		call.lane = m->lane;
		call.ranged = m->ranged;
		call.range_first = m->range_first;
		call.range_n = m->range_count;
		buf_put(&call.body, m->body.data, m->body.len);
		link_serve(s, &call, &done);
		a.status = done.status;
		a.epoch = message_text(done.epoch);
		a.body = message_bytes(done.body.data, done.body.len);
		rc = put_file(dir, name, "said", &a.base, e);
		if (!rc) /* a death before this: served twice, which every call stands */
			rc = file_remove(path, e);
	}
	buf_fini(&call.body);
	buf_fini(&done.body);
	message_free(m);
	buf_fini(&b);
	return rc;
}

int
link_disk_serve(const struct link_served *s, const char *dir, struct err *e)
{
	struct listing list = {NULL, 0};
	size_t i;
	int rc;

	list.names = calloc(LIST_MAX, sizeof(*list.names));
	if (!list.names)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list of requests");
	rc = file_list(dir, note, &list, e);
	qsort(list.names, list.n, sizeof(*list.names), by_name); /* in the order they were said */
	for (i = 0; !rc && i < list.n; i++)
		rc = serve_one(s, dir, list.names[i], e);
	free(list.names);
	return rc;
}
