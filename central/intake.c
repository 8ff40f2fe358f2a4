#include "central/intake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/clog.h"
#include "central/decisions.h"
#include "central/gate.h"
#include "central/heard.h"
#include "central/hello.h"
#include "central/join.h"
#include "central/metrics.h"
#include "central/dispatch.h"
#include "central/record.h"
#include "central/rejections.h"
#include "central/release.h"
#include "central/serve_refill.h"
#include "central/upload.h"
#include "central/withdraw.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/prom.h"
#include "common/http/server.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/pack.h"
#include "proto/receiver.h"
#include "proto/sync.pb-c.h"

enum {
	OK = 200,
	CONFLICT = 409,
	UNPROCESSABLE = 422,
	SMALL_BODY = 65536,
	LEDGER_BODY = 16 << 20,
	DECISIONS_BODY = 4 << 20,
	ORDERS_BODY = 2 * ORDERS_BYTES,
	PATCH_BODY = 16 << 20,
	HOLDINGS_MAX = 16 << 20,
	ENTRIES_MAX = 4096, /* of a ledger, per request */
	PLACES_MAX = 64,    /* packs in one HEAD */
};

static void
say_epoch(struct central *c, struct http_answer *out)
{
	struct id128 epoch;

	central_epoch(c, &epoch);
	out->name[0] = "Salamander-Epoch";
	hex_of(epoch.b, sizeof(epoch.b), out->value[0]);
}

/* R22: a request of another epoch is answered 409, and hello comes first. */
static bool
other_epoch(struct central *c, const struct http_request *rq, struct http_answer *out)
{
	say_epoch(c, out);
	if (strcmp(rq->epoch, out->value[0]) == 0)
		return false;
	out->status = CONFLICT;
	return true;
}

static int
answer(struct http_answer *out, const ProtobufCMessage *m)
{
	message_pack(&out->body, m);
	return 0;
}

/* --- the ledger --- */

static int
conflict(struct http_answer *out, const struct ledger_head *head)
{
	Sync__LedgerAnswer m = SYNC__LEDGER_ANSWER__INIT;

	m.head = head->seq;
	m.hash = message_bytes(head->hash, SHA256_SIZE);
	out->status = CONFLICT;
	return answer(out, &m.base);
}

/* The first `n` entries of a repeated append are those that are here, byte for byte (R5). */
static int
compare(struct store_tx *tx, const struct id128 *incarnation, const Sync__LedgerRequest *rq,
	uint64_t n, bool *same, struct err *e)
{
	unsigned char before[SHA256_SIZE];
	uint64_t i;
	int rc = announced_hash(tx, incarnation, rq->first - 1, before, e);

	*same = !rc && rq->before.len == SHA256_SIZE &&
		memcmp(before, rq->before.data, SHA256_SIZE) == 0;
	for (i = 0; !rc && *same && i < n; i++) {
		const void *have;
		size_t have_n;

		rc = announced_get(tx, incarnation, rq->first + i, &have, &have_n, e);
		*same = !rc && have_n == rq->entries[i].len &&
			memcmp(have, rq->entries[i].data, have_n) == 0;
	}
	return rc;
}

static int
decide(struct central *c, const struct id128 *incarnation, const Sync__LedgerRequest *rq,
       struct site_row *site, enum receiver_append *what, uint64_t *skip, struct err *e)
{
	unsigned char before[SHA256_SIZE];
	struct store_tx *tx;
	bool same = true;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = site_get(tx, incarnation, site, e);
	if (!rc) {
		(void)message_digest(before, &rq->before);
		*what = receiver_append(&site->head, rq->first, before, rq->n_entries, skip);
		if (*what == RECEIVER_KNOWN || *what == RECEIVER_COMPARE)
			rc = compare(tx, incarnation, rq, *skip, &same, e);
		if (!same)
			*what = RECEIVER_CONFLICT;
	}
	store_end_read(tx);
	return rc == ERR_ABSENT ? err_set(e, ERR_AGAIN, 0, "hello comes first") : rc;
}

static int
append_rest(struct central *c, const struct site_row *site, const Sync__LedgerRequest *rq,
	    uint64_t skip, struct err *e)
{
	Sync__LogLedger m = SYNC__LOG_LEDGER__INIT;
	struct buf payload = BUF_INIT;
	int rc;

	m.site = message_text(site->site);
	m.incarnation = rq->incarnation;
	m.first = rq->first + skip;
	m.before = message_bytes(site->head.hash, SHA256_SIZE);
	m.entries = rq->entries + skip;
	m.n_entries = rq->n_entries - skip;
	m.wall_ms = clock_wall(c->clock);
	m.time_ms = store_time(c->store);
	message_pack(&payload, &m.base);
	rc = record_write_locked(c, CLOG_LEDGER, &payload, e);
	buf_fini(&payload);
	return rc;
}

static int
append(struct central *c, const char *site_name, const Sync__LedgerRequest *rq,
       struct http_answer *out, struct err *e)
{
	Sync__LedgerAnswer m = SYNC__LEDGER_ANSWER__INIT;
	enum receiver_append what = RECEIVER_CONFLICT;
	struct id128 incarnation;
	struct site_row site;
	struct store_tx *tx;
	uint64_t skip = 0;
	int rc;

	if (!message_id(&incarnation, &rq->incarnation))
		return err_set(e, ERR_PEER, 0, "a ledger without its incarnation");
	if (rq->n_entries > ENTRIES_MAX)
		return err_set(e, ERR_PEER, 0, "more than %d entries at once", ENTRIES_MAX);
	rc = decide(c, &incarnation, rq, &site, &what, &skip, e);
	if (!rc && strcmp(site.site, site_name) != 0)
		rc = err_set(e, ERR_PEER, 0, "another site's ledger");
	if (rc)
		return rc;
	if (what == RECEIVER_CONFLICT)
		return conflict(out, &site.head);
	if (skip < rq->n_entries)
		rc = rejections_told_locked(c, site_name, rq->entries + skip,
					    (size_t)(rq->n_entries - skip), e);
	if (!rc && skip < rq->n_entries)
		rc = append_rest(c, &site, rq, skip, e);
	if (!rc)
		rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = site_get(tx, &incarnation, &site, e);
	store_end_read(tx);
	m.head = site.head.seq;
	m.hash = message_bytes(site.head.hash, SHA256_SIZE);
	return rc ? rc : answer(out, &m.base);
}

/* The answer does not depend on it: what the batch told is durable. */
static void
decide_versions(struct central *c)
{
	struct err e = ERR_INIT;

	if (decisions_make_locked(c, &e))
		log_err(LOG_ERROR, "decisions", &e);
}

static int
ledger(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	struct central *c = node;
	Sync__LedgerRequest *m;
	int rc;

	if (other_epoch(c, rq, out))
		return 0;
	m = message_read(&sync__ledger_request__descriptor, rq->body, rq->body_n, e);
	if (!m)
		return ERR_PEER;
	(void)pthread_mutex_lock(&c->order);
	rc = append(c, rq->site, m, out, e);
	if (!rc) /* R3; a failure leaves it for the next batch or hello */
		decide_versions(c);
	(void)pthread_mutex_unlock(&c->order);
	message_free(m);
	return rc;
}

/* --- holdings --- */

static int
holdings(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	Sync__HoldingsAnswer m = SYNC__HOLDINGS_ANSWER__INIT;
	struct central *c = node;
	Sync__HoldingsRequest *ask;
	struct buf bits = BUF_INIT;
	struct id128 incarnation;
	struct site_row site;
	struct store_tx *tx;
	int rc;

	if (other_epoch(c, rq, out))
		return 0;
	ask = message_read(&sync__holdings_request__descriptor, rq->body, rq->body_n, e);
	if (!ask)
		return ERR_PEER;
	(void)message_id(&incarnation, &ask->incarnation);
	rc = store_begin_read(&tx, c->store, e);
	if (!rc) {
		rc = site_get(tx, &incarnation, &site, e);
		m.first = ask->first;
		m.count = ask->count < HOLDINGS_MAX ? ask->count : HOLDINGS_MAX;
		if (!rc && (ask->first == 0 || ask->first > site.head.seq))
			m.count = 0;
		else if (!rc && m.count > site.head.seq - ask->first + 1)
			m.count = site.head.seq - ask->first + 1;
		if (!rc && strcmp(site.site, rq->site) != 0)
			rc = err_set(e, ERR_PEER, 0, "another site's ledger");
		if (!rc)
			rc = holdings_read(tx, &incarnation, m.first, m.count, &bits, e);
		store_end_read(tx);
	}
	if (rc == ERR_ABSENT)
		rc = err_set(e, ERR_AGAIN, 0, "hello comes first");
	m.bits = message_bytes(bits.data, bits.len);
	if (!rc)
		rc = answer(out, &m.base);
	buf_fini(&bits);
	message_free(ask);
	return rc;
}

/* --- packs --- */

struct patching {
	struct central *c;
	struct http_answer epoch; /* as it was when the request came */
	bool other;		  /* 409: of another one             */
	struct upload_stream *s;
	int rc; /* of the beginning */
	struct err err;
};

static void *
patch_begin(void *node, const struct http_request *rq)
{
	unsigned char id[SHA256_SIZE];
	struct patching *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->c = node;
	p->other = other_epoch(p->c, rq, &p->epoch);
	if (!p->other && !hex_to(rq->rest, id, sizeof(id)))
		p->rc = err_set(&p->err, ERR_PEER, 0, "no pack id");
	else if (!p->other)
		p->rc = upload_begin(&p->s, p->c, rq->site, id, rq->lane, &p->err);
	return p;
}

static void
patch_more(void *state, const void *data, size_t n)
{
	struct patching *p = state;

	if (p->s)
		upload_more(p->s, data, n);
}

static void
patch_close(void *state)
{
	struct patching *p = state;

	upload_close(p->s);
	free(p);
}

static int
patch_end(void *state, struct http_answer *out, struct err *e)
{
	Sync__UploadAnswer m = SYNC__UPLOAD_ANSWER__INIT;
	struct patching *p = state;
	int64_t start = clock_mono(p->c->clock);
	struct upload_result r;
	int rc;

	out->name[0] = p->epoch.name[0];
	memcpy(out->value[0], p->epoch.value[0], sizeof(out->value[0]));
	if (p->other) {
		out->status = CONFLICT;
		return 0;
	}
	if (p->rc)
		return err_set(e, p->err.code, p->err.sys, "%s", p->err.what);
	rc = upload_end(p->s, &r, e);
	if (rc == ERR_CONFLICT) { /* not a question of offsets: hello and ledger first */
		out->status = 412;
		return 0;
	}
	if (rc)
		return rc;
	m.offset = r.offset;
	m.receipt = message_bytes(r.receipt.data, r.receipt.len);
	m.bad = r.bad;
	m.n_bad = r.n_bad;
	m.unknown = r.unknown;
	m.misplaced = r.misplaced;
	m.busy_ms = (uint64_t)(clock_mono(p->c->clock) - start);
	out->status = r.n_bad ? UNPROCESSABLE : r.misplaced ? CONFLICT : OK;
	rc = answer(out, &m.base);
	upload_result_fini(&r);
	return rc;
}

static void
put_place(struct buf *out, const struct upload_place *p)
{
	if (p->whole)
		buf_puts(out, "=");
	else if (!p->known)
		buf_puts(out, "-");
	else
		buf_printf(out, "%llu", (unsigned long long)p->offset);
}

/* HEAD .../packs/<id>,<id>,...: one round trip for all packs under way (R14). */
static int
places(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	struct central *c = node;
	unsigned char id[SHA256_SIZE];
	struct buf said = BUF_INIT;
	const char *p = rq->rest;
	unsigned n = 0;
	int rc = 0;

	if (other_epoch(c, rq, out))
		return 0;
	for (;;) {
		struct upload_place place;
		char hex[2 * SHA256_SIZE + 1];

		(void)snprintf(hex, sizeof(hex), "%s", p);
		if (!hex_to(hex, id, sizeof(id)) || ++n > PLACES_MAX)
			rc = err_set(e, ERR_PEER, 0, "up to %d pack ids, separated by commas",
				     PLACES_MAX);
		if (!rc)
			rc = upload_head(c, rq->site, id, &place, e);
		if (rc)
			break;
		put_place(&said, &place);
		p += 2 * SHA256_SIZE;
		if (*p != ',')
			break;
		buf_puts(&said, ",");
		p++;
	}
	if (!rc && *p)
		rc = err_set(e, ERR_PEER, 0, "no list of pack ids");
	if (!rc) {
		out->name[1] = "Salamander-Offsets";
		(void)snprintf(out->value[1], sizeof(out->value[1]), "%.*s", (int)said.len,
			       (const char *)said.data);
	}
	buf_fini(&said);
	return rc;
}

static int
drop(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	struct central *c = node;
	unsigned char id[SHA256_SIZE];

	if (other_epoch(c, rq, out))
		return 0;
	if (!hex_to(rq->rest, id, sizeof(id)))
		return err_set(e, ERR_PEER, 0, "no pack id");
	return upload_drop(c, rq->site, id, e);
}

/* --- handlers that live elsewhere --- */

static int
hello(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	int rc = hello_answer(node, rq, out, e);

	say_epoch(node, out);
	return rc;
}

static int
release(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	return other_epoch(node, rq, out) ? 0 : release_answer(node, rq, &out->body, e);
}

static int
refill(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	return other_epoch(node, rq, out) ? 0 : refill_answer(node, rq, out, e);
}

static int
object(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	if (other_epoch(node, rq, out))
		return 0;
	return refill_object(node, rq, out, e);
}

static int
pack_bytes(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	if (other_epoch(node, rq, out))
		return 0;
	return refill_pack(node, rq, out, e);
}

static int
orders(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	return other_epoch(node, rq, out) ? 0 : dispatch_answer(node, rq, out, e);
}

static int
decisions(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	return other_epoch(node, rq, out) ? 0 : decisions_answer(node, rq, out, e);
}

static int
resolve(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	return other_epoch(node, rq, out) ? 0 : decisions_resolve_answer(node, rq, out, e);
}

static int
orders_back(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	int rc;

	if (other_epoch(node, rq, out))
		return 0;
	rc = withdraw_give_back(node, rq, e);
	return rc ? rc : heard_take(node, rq, e);
}

static int
enrol(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	return join_enrol(node, rq, out, e);
}

static int
renew(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	say_epoch(node, out);
	return join_renew(node, rq, out, e);
}

static int
metrics(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	(void)rq;
	out->type = PROM_TYPE;
	return metrics_of_central(node, &out->body, e);
}

const struct http_route *
intake_routes(size_t *n)
{
	static const struct http_stream patch = {patch_begin, patch_more, patch_end, patch_close};
	static const struct http_route routes[] = {
		{"POST", "/sync/v1/hello", RIGHT_HELLO, SMALL_BODY, hello, NULL},
		{"POST", "/sync/v1/ledger", RIGHT_LEDGER, LEDGER_BODY, ledger, NULL},
		{"POST", "/sync/v1/holdings", RIGHT_SEND, SMALL_BODY, holdings, NULL},
		{"POST", "/sync/v1/release", RIGHT_SEND, SMALL_BODY, release, NULL},
		{"HEAD", "/sync/v1/packs/", RIGHT_SEND, 0, places, NULL},
		{"PATCH", "/sync/v1/packs/", RIGHT_SEND, PATCH_BODY, NULL, &patch},
		{"DELETE", "/sync/v1/packs/", RIGHT_SEND, SMALL_BODY, drop, NULL},
		{"GET", "/sync/v1/packs/", RIGHT_READ, 0, pack_bytes, NULL},
		{"POST", "/sync/v1/refill", RIGHT_READ, SMALL_BODY, refill, NULL},
		{"GET", "/sync/v1/objects/", RIGHT_READ, 0, object, NULL},
		{"GET", ORDERS_PATH, RIGHT_ORDERS, 0, orders, NULL},
		{"POST", ORDERS_BACK_PATH, RIGHT_ORDERS, ORDERS_BODY, orders_back, NULL},
		{"POST", "/sync/v1/decisions", RIGHT_SEND, DECISIONS_BODY, decisions, NULL},
		{"POST", "/sync/v1/resolve", RIGHT_SEND, SMALL_BODY, resolve, NULL},
		{"POST", "/sync/v1/renew", RIGHT_RENEW, SMALL_BODY, renew, NULL},
		{"POST", "/join/v1/enrol", RIGHT_JOIN | HTTP_OPEN, SMALL_BODY, enrol, NULL},
		{"GET", "/metrics", RIGHT_METRICS, 0, metrics, NULL},
	};

	*n = sizeof(routes) / sizeof(routes[0]);
	return routes;
}
