#include "edge/resolve.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/http/client.h"
#include "common/store/decided.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/reach.h"
#include "edge/replicate.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/version.h"

enum { CALL_SECONDS = 30 };

struct choosing {
	const char *hex;
	unsigned char digest[SHA256_SIZE];
	unsigned found;
};

static int
begins_so(void *arg, const struct version *v, struct err *err)
{
	struct choosing *c = arg;
	char own[2 * SHA256_SIZE + 1];

	(void)err;
	hex_of(v->digest, SHA256_SIZE, own);
	if (strncmp(own, c->hex, strlen(c->hex)) == 0) {
		memcpy(c->digest, v->digest, SHA256_SIZE);
		c->found++;
	}
	return 0;
}

/* A whole one may be of a version that only central knows. */
static int
choose(struct edge *e, const char *uid, struct choosing *c, struct err *err)
{
	struct store_tx *tx;
	int rc;

	if (hex_to(c->hex, c->digest, SHA256_SIZE))
		return 0;
	rc = store_begin_read(&tx, e->store, err);
	if (rc)
		return rc;
	rc = store_versions_of(tx, uid, begins_so, c, err);
	store_end_read(tx);
	if (!rc && c->found != 1)
		rc = err_set(err, ERR_ABSENT, 0,
			     c->found ? "more than one version begins so"
				      : "no such version is known here; `conflicts --instances`");
	return rc;
}

static int
ask(struct edge *e, struct link *link, struct http_call *call, struct err *err)
{
	struct http_done done = {.body = BUF_INIT};
	struct contact c;
	int rc;

	edge_contact(e, &c);
	if (c.version < PROTOCOL_DECISIONS)
		return err_set(err, ERR_AGAIN, 0,
			       "central speaks version %u of the protocol: decide it there",
			       c.version);
	hex_of(c.epoch.b, ID128_SIZE, call->epoch);
	rc = link_ask(link, call, &done, &e->stopping, err);
	if (!rc && !done.status)
		rc = err_set(err, ERR_AGAIN, 0, "central does not answer");
	else if (!rc && done.status != 200)
		rc = err_set(err, done.status >= 400 && done.status < 500 ? ERR_PEER : ERR_AGAIN, 0,
			     "central answered %d%s%.*s", done.status, done.body.len ? ": " : "",
			     (int)(done.body.len < 120 ? done.body.len : 120),
			     done.body.data ? (const char *)done.body.data : "");
	buf_fini(&done.body);
	return rc;
}

int
resolve_at_central(struct edge *e, const char *uid, const char *hex, const char *why,
		   struct ctl_reply *r, struct err *err)
{
	Sync__ResolveRequest m = SYNC__RESOLVE_REQUEST__INIT;
	struct http_call call = {.method = "POST",
				 .path = "/sync/v1/resolve",
				 .seconds = CALL_SECONDS,
				 .body = BUF_INIT};
	struct choosing c = {.hex = hex};
	struct link *link = NULL;
	int rc = choose(e, uid, &c, err);

	if (!rc)
		rc = reach_central(e, r, err);
	if (!rc)
		rc = e->make_link(&link, e, err);
	m.sop_instance = message_text(uid);
	m.digest = message_bytes(c.digest, SHA256_SIZE);
	m.why = message_text(why);
	if (!rc)
		message_pack(&call.body, &m.base);
	if (!rc)
		rc = ask(e, link, &call, err);
	buf_fini(&call.body);
	link_close(link);
	if (!rc)
		replicate_hello(e->replicate); /* and hears of it at once */
	return rc;
}
