#include "edge/fetch.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/dicom/canon.h"
#include "common/http/client.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/replicate.h"
#include "edge/throttle.h"
#include "proto/link.h"

enum {
	RANGE = 1 << 20, /* 120 s of 70 kbit/s */
	CALL_SECONDS = 120,
	WHOLE = 200,
	PARTIAL = 206,
	OTHER_EPOCH = 409,
	FAILED = 500
};

static int
no_bytes(struct edge *e, const struct http_done *done, struct err *err)
{
	if (done->status == OTHER_EPOCH) { /* R22 */
		replicate_hello(e->replicate);
		return err_set(err, ERR_AGAIN, 0, "central is in another epoch");
	}
	if (done->status == 0 || done->status >= FAILED)
		return err_set(err, ERR_AGAIN, 0, "central answered %d%s%s", done->status,
			       done->status ? "" : ": ", done->what);
	if (done->status != PARTIAL && done->status != WHOLE)
		return err_set(err, ERR_ABSENT, 0, "central answered %d", done->status);
	return err_set(err, ERR_CORRUPT, 0, "central gave fewer bytes than were asked for");
}

static int
get_range(struct fetched *f, struct edge *e, struct link *l, const struct version *v, uint64_t at,
	  struct http_done *done, struct err *err)
{
	struct http_call call = {.method = "GET", .ranged = true, .body = BUF_INIT};
	char hex[2 * SHA256_SIZE + 1];
	uint64_t part = throttle_part(e, RANGE);
	int rc = throttle_wait(e, err);

	if (rc)
		return rc;
	hex_of(v->digest, SHA256_SIZE, hex);
	(void)snprintf(call.path, sizeof(call.path), "/sync/v1/objects/%s", hex);
	hex_of(f->epoch.b, ID128_SIZE, call.epoch);
	call.seconds = CALL_SECONDS;
	call.range_first = at;
	call.range_n = v->size - at < part ? v->size - at : part;
	rc = link_ask(l, &call, done, &e->stopping, err);
	if (!rc)
		throttle_fetched(e, done->body.len);
	if (!rc && (done->status != PARTIAL || done->body.len != call.range_n)) {
		rc = no_bytes(e, done, err);
		buf_fini(&done->body);
	}
	return rc;
}

static int
begin(struct fetched *f, struct edge *e, const struct version *v, struct err *err)
{
	struct canon_config config = {.form = CANON_FILE};
	int rc;

	fetch_fini(f);
	memcpy(f->digest, v->digest, SHA256_SIZE);
	rc = sha256_new(&f->sha, err);
	if (!rc)
		rc = store_spool_open(&f->spool, e->store, err);
	return rc || !v->encapsulated ? rc : canon_new(&f->canon, &config, err);
}

/* Where it is, or at its beginning. */
static int
prepare(struct fetched *f, struct edge *e, const struct version *v, struct err *err)
{
	struct contact c;
	bool goes_on = f->at && f->at < v->size && memcmp(f->digest, v->digest, SHA256_SIZE) == 0;
	int rc;

	if (!v->size) /* cannot be: a canonical file has a header */
		return err_set(err, ERR_ABSENT, 0, "an instance without bytes");
	rc = store_admit(e->store, goes_on ? v->size - f->at : v->size, err);
	if (!rc && !goes_on)
		rc = begin(f, e, v, err);
	edge_contact(e, &c);
	f->epoch = c.epoch; /* who gives the rest has looked at all of it (R22) */
	return rc;
}

static int
end(struct fetched *f, const struct version *v, struct err *err)
{
	unsigned char digest[SHA256_SIZE];

	sha256_end(f->sha, digest);
	if (memcmp(digest, v->digest, sizeof(digest)) != 0)
		return err_set(err, ERR_CORRUPT, 0, "central gave other bytes than it should");
	return f->canon ? canon_end(f->canon, &f->info, err) : 0;
}

int
fetch_object(struct fetched *f, struct edge *e, struct link *l, const struct version *v,
	     struct err *err)
{
	struct http_done done = {.body = BUF_INIT};
	int rc = prepare(f, e, v, err);

	while (!rc && f->at < v->size) {
		rc = get_range(f, e, l, v, f->at, &done, err);
		if (rc)
			return rc;
		sha256_add(f->sha, done.body.data, done.body.len);
		rc = store_spool_add(f->spool, done.body.data, done.body.len, err);
		if (!rc && f->canon)
			rc = canon_feed(f->canon, done.body.data, done.body.len, err);
		f->at = rc ? 0 : f->at + done.body.len; /* half taken: not gone on with */
		buf_fini(&done.body);
	}
	return rc ? rc : end(f, v, err);
}

void
fetch_fini(struct fetched *f)
{
	canon_free(f->canon);
	store_spool_close(f->spool);
	sha256_free(f->sha);
	memset(f, 0, sizeof(*f));
}
