#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/central.h"
#include "central/upload.h"
#include "central/uploads.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "proto/frame.h"
#include "proto/pack.h"

/* --- a request, as its bytes come --- */

struct upload_stream {
	struct central *c;
	char site[HTTP_SITE_SIZE];
	unsigned char id[SHA256_SIZE];
	unsigned lane; /* 0: not said */
	uint64_t request;
	struct open_upload *o; /* NULL: the manifest is not whole yet */
	struct buf part;       /* the manifest or the frame that is not whole yet */
	bool over;	       /* what else comes is not looked at: `rc` or `out` says why */
	struct upload_result out;
	int rc;
	struct err err;
};

int
upload_begin(struct upload_stream **out, struct central *c, const char *site,
	     const unsigned char id[SHA256_SIZE], unsigned lane, struct err *e)
{
	struct upload_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_LOCAL, 0, "no memory for an upload");
	s->c = c;
	s->lane = lane;
	(void)snprintf(s->site, sizeof(s->site), "%s", site);
	memcpy(s->id, id, SHA256_SIZE);
	*out = s;
	return 0;
}

/* Unlocks; what ends the upload, and what failed, is opened anew (TRAPS 4). */
static void
settle_up(struct upload_stream *s, int rc, bool answered)
{
	bool over = rc || s->out.receipt.len || s->out.n_bad;

	s->rc = rc;
	s->over = rc || answered;
	if (over)
		uploads_close(s->o);
	uploads_unlock(s->c->uploads, s->o, over || s->out.unknown);
}

/* The lock, for the request that came last. What a later one ended hears how far it came. */
static bool
lock(struct upload_stream *s)
{
	bool dead = !uploads_lock(s->c->uploads, s->o);

	if (!dead && !uploads_superseded(s->c->uploads, s->o, s->request))
		return true;
	s->over = s->out.misplaced = true;
	s->out.unknown = dead;
	if (!dead) {
		s->out.offset = s->o->r.durable;
		uploads_unlock(s->c->uploads, s->o, false);
	}
	return false;
}

static int
open_stream(struct upload_stream *s, const unsigned char *manifest, size_t n)
{
	struct receiver_event go = {.kind = RECEIVER_GO};
	struct taking t = {.c = s->c, .out = &s->out};
	bool done = false;
	int rc;

	s->request = uploads_number(s->c->uploads);
	t.o = s->o = uploads_enter(s->c->uploads, s->id, s->request);
	if (!s->o)
		return err_set(&s->err, ERR_LOCAL, 0, "no memory for an upload");
	rc = uploads_open(&t, s->site, manifest, n, &done, &s->err);
	if (!rc && !done)
		rc = uploads_pump(&t, &go, &s->err);
	settle_up(s, rc, done);
	return rc;
}

static int
take_frame(struct upload_stream *s, const struct frame *f, const void *payload)
{
	struct receiver_event ev = {.kind = RECEIVER_FRAME, .offset = f->offset, .n = f->plain};
	struct taking t = {
		.c = s->c, .o = s->o, .out = &s->out, .lane = s->lane, .f = f, .payload = payload};
	uint64_t here;
	int rc;

	if (!lock(s))
		return 0;
	here = s->o->r.written > f->offset ? s->o->r.written - f->offset : 0;
	uploads_repeated(s->c->uploads, here < f->plain ? here : f->plain);
	rc = uploads_pump(&t, &ev, &s->err);
	settle_up(s, rc, t.answered);
	return rc;
}

/* Takes what is whole in front of [p, p + n); returns how much that was, 0: more is wanted. */
static size_t
take_part(struct upload_stream *s, const unsigned char *p, size_t n)
{
	struct frame f;
	size_t whole;

	if (!s->o) {
		if (n < 4)
			return 0;
		if (buf_get_u32(p) > PACK_MANIFEST_MAX) {
			s->rc = err_set(&s->err, ERR_PEER, 0, "a manifest that is too long");
			return n;
		}
		whole = 4 + (size_t)buf_get_u32(p);
		if (n >= whole)
			s->rc = open_stream(s, p + 4, whole - 4);
		return n >= whole ? whole : 0;
	}
	if (n < FRAME_HEAD)
		return 0;
	s->rc = frame_head(&f, p, &s->err);
	if (s->rc)
		return n;
	whole = FRAME_HEAD + (size_t)f.payload;
	if (n >= whole)
		s->rc = take_frame(s, &f, p + FRAME_HEAD);
	return n >= whole ? whole : 0;
}

/* What is whole of [p, p + n) is taken, where it lies. */
static size_t
take_parts(struct upload_stream *s, const unsigned char *p, size_t n)
{
	size_t at = 0, part = 1;

	while (at < n && part && !s->over && !s->rc) {
		part = take_part(s, p + at, n - at);
		at += part;
	}
	return at;
}

void
upload_more(struct upload_stream *s, const void *data, size_t n)
{
	const unsigned char *p = data;
	size_t at = 0;

	if (s->over || s->rc)
		return;
	if (!s->part.len)
		at = take_parts(s, p, n);
	buf_put(&s->part, p + at, n - at);
	if (buf_failed(&s->part)) {
		s->rc = err_set(&s->err, ERR_LOCAL, 0, "no memory for a frame");
		return;
	}
	if (at == 0) {
		at = take_parts(s, s->part.data, s->part.len);
		memmove(s->part.data, s->part.data + at, s->part.len - at);
		s->part.len -= at;
	}
}

/* The request is over: what came is made durable, or judged. */
static int
end_stream(struct upload_stream *s)
{
	struct receiver_event ev = {.kind = RECEIVER_END};
	struct taking t = {.c = s->c, .o = s->o, .out = &s->out};
	int rc;

	if (!lock(s))
		return 0;
	rc = uploads_pump(&t, &ev, &s->err);
	settle_up(s, rc, t.answered);
	return rc;
}

int
upload_end(struct upload_stream *s, struct upload_result *out, struct err *e)
{
	if (!s->rc && !s->o)
		s->rc = err_set(&s->err, ERR_PEER, 0, "an upload without a manifest's length");
	else if (!s->rc && !s->over && s->part.len)
		s->rc = err_set(&s->err, ERR_PEER, 0, "a frame that is cut off");
	if (!s->rc && !s->over)
		s->rc = end_stream(s);
	s->over = true;
	if (s->rc)
		return err_set(e, s->err.code, s->err.sys, "%s", s->err.what);
	*out = s->out;
	memset(&s->out, 0, sizeof(s->out));
	return 0;
}

void
upload_close(struct upload_stream *s)
{
	if (!s)
		return;
	/* It broke off: whole frames are kept, so that nothing of them is sent again (R14). */
	if (s->o && !s->over && !s->rc && end_stream(s))
		log_err(LOG_WARN, "upload.broken", &s->err);
	if (s->o)
		uploads_unref(s->c->uploads, s->o);
	upload_result_fini(&s->out);
	buf_fini(&s->part);
	free(s);
}

int
upload_patch(struct central *c, const char *site, const unsigned char id[SHA256_SIZE],
	     const void *body, size_t n, struct upload_result *out, struct err *e)
{
	struct upload_stream *s;
	int rc = upload_begin(&s, c, site, id, 0, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	upload_more(s, body, n);
	rc = upload_end(s, out, e);
	upload_close(s);
	return rc;
}
