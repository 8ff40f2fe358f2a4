#include "edge/calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/joined.h"
#include "edge/outbox.h"
#include "edge/packing.h"
#include "edge/piece.h"
#include "edge/setback.h"
#include "edge/tell.h"
#include "edge/throttle.h"
#include "proto/frame.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sender.h"
#include "proto/sync.pb-c.h"
#include "proto/version.h"

enum { ENTRIES_MAX = 1000, SHORT_SECONDS = 15, LONG_SECONDS = 120, PIECE_SECONDS = 1800 };

static void
call_init(struct http_call *c, const char *method, const char *path, unsigned seconds)
{
	memset(c, 0, sizeof(*c));
	c->method = method;
	c->seconds = seconds;
	(void)snprintf(c->path, sizeof(c->path), "%s", path);
}

/* What hello says of the store; its bytes live until it is packed. */
struct saying {
	Sync__HelloRequest m;
	struct ledger_head head;
	struct branch branch;
	struct id128 archive, contact;
	struct buf receipt, token;
	unsigned char ca[SHA256_SIZE];
	uint32_t versions[PROTOCOL_LIST];
	struct tell tell;
};

static int
read_contact(struct saying *s, struct store_tx *tx, struct err *err)
{
	int rc = ledger_head(tx, &s->head, err);

	if (!rc)
		rc = branch_read(tx, &s->branch, err);
	if (!rc)
		rc = sync_get(tx, "receipt", &s->receipt, err);
	if (!rc)
		rc = sync_get(tx, "token", &s->token, err);
	if (!rc)
		rc = sync_id(tx, "contact", &s->contact, err);
	return rc ? rc : sync_id(tx, "archive", &s->archive, err);
}

/* R8: a part of the address by which a person tells two copies apart. */
static uint32_t
dicom_port(const struct edge *e)
{
	const char *listen = conf_list(e->conf, "dicom", NULL, "listen", 0);
	const char *colon = listen ? strrchr(listen, ':') : NULL;

	return colon ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0;
}

static void
say(struct saying *s, struct edge *e, const struct setback *back, bool compress)
{
	static uint32_t codings[] = {FRAME_ZLIB,
				     FRAME_ZSTD}; /* read only; protobuf-c wants it so */
	Sync__HelloRequest *m = &s->m;

	if (!id128_none(&s->archive))
		m->archive = message_bytes(s->archive.b, ID128_SIZE);
	m->versions = s->versions;
	m->n_versions = protocol_list(&e->speaks, s->versions);
	m->codings = codings;
	m->n_codings = compress ? sizeof(codings) / sizeof(codings[0]) : 0;
	m->site = message_text(e->site);
	m->software = message_text(SALAMANDER_VERSION);
	m->incarnation = message_bytes(s->branch.incarnation.b, ID128_SIZE);
	m->head = s->head.seq;
	m->hash = message_bytes(s->head.hash, SHA256_SIZE);
	m->receipt = message_bytes(s->receipt.data, s->receipt.len);
	m->wall_ms = clock_wall(e->clock);
	m->token = message_bytes(s->token.data, s->token.len);
	m->contact = message_bytes(s->contact.b, ID128_SIZE);
	if (!id128_none(&s->branch.previous)) {
		m->previous_incarnation = message_bytes(s->branch.previous.b, ID128_SIZE);
		m->last_common_seq = s->branch.common;
		m->last_common_hash = message_bytes(s->branch.hash, SHA256_SIZE);
	}
	if (back->going) {
		m->hashes_from = back->from;
		m->hashes_step = back->step;
	}
	m->port = dicom_port(e);
	if (joined_ca_hash(e->dir, s->ca)) /* R25: another bundle is worth a renewal */
		m->ca = message_bytes(s->ca, sizeof(s->ca));
}

int
calls_hello(struct http_call *out, struct edge *e, const struct setback *back, bool compress,
	    struct err *err)
{
	struct saying s = {.receipt = BUF_INIT, .token = BUF_INIT};
	struct store_tx *tx;
	int rc;

	sync__hello_request__init(&s.m);
	call_init(out, "POST", "/sync/v1/hello", SHORT_SECONDS);
	rc = store_begin_read(&tx, e->store, err);
	if (rc)
		return rc;
	rc = read_contact(&s, tx, err);
	store_end_read(tx);
	if (!rc)
		rc = tell_make(&s.tell, e, err);
	if (!rc) {
		say(&s, e, back, compress);
		s.m.state = &s.tell.m;
		message_pack(&out->body, &s.m.base);
	}
	buf_fini(&s.receipt);
	buf_fini(&s.token);
	return rc;
}

/* --- the ledger --- */

struct batch {
	Sync__LedgerRequest m;
	ProtobufCBinaryData entries[ENTRIES_MAX];
	size_t bytes, most;
};

static int
add_entry(void *arg, uint64_t seq, const unsigned char hash[SHA256_SIZE], const void *entry,
	  size_t n, struct err *e)
{
	struct batch *b = arg;

	(void)seq;
	(void)hash;
	(void)e;
	if (b->m.n_entries == ENTRIES_MAX || (b->m.n_entries && b->bytes + n > b->most))
		return ERR_AGAIN;
	b->entries[b->m.n_entries++] = message_bytes(entry, n);
	b->bytes += n;
	return 0;
}

int
calls_ledger(struct http_call *out, struct edge *e, uint64_t seq, uint64_t most, struct err *err)
{
	unsigned char before[SHA256_SIZE];
	struct id128 incarnation;
	struct batch *b = calloc(1, sizeof(*b));
	struct store_tx *tx;
	int rc;

	call_init(out, "POST", "/sync/v1/ledger", LONG_SECONDS);
	if (!b)
		return err_set(err, ERR_LOCAL, 0, "no memory for a ledger batch");
	sync__ledger_request__init(&b->m);
	b->m.entries = b->entries;
	b->most = most;
	rc = store_begin_read(&tx, e->store, err);
	if (!rc) {
		rc = ledger_hash(tx, seq - 1, before, err);
		if (!rc)
			rc = ledger_read(tx, seq, add_entry, b, err);
		if (rc == ERR_AGAIN)
			rc = 0;
		edge_incarnation(e, &incarnation);
		b->m.incarnation = message_bytes(incarnation.b, ID128_SIZE);
		b->m.first = seq;
		b->m.before = message_bytes(before, SHA256_SIZE);
		if (!rc) /* the entries are borrowed from the transaction */
			message_pack(&out->body, &b->m.base);
		store_end_read(tx);
	}
	free(b);
	return rc;
}

void
calls_holdings(struct http_call *out, struct edge *e, uint64_t first, uint64_t count)
{
	Sync__HoldingsRequest m = SYNC__HOLDINGS_REQUEST__INIT;
	struct id128 incarnation;

	call_init(out, "POST", "/sync/v1/holdings", SHORT_SECONDS);
	edge_incarnation(e, &incarnation);
	m.incarnation = message_bytes(incarnation.b, ID128_SIZE);
	m.first = first;
	m.count = count;
	message_pack(&out->body, &m.base);
}

/* --- packs --- */

static void
pack_path(struct http_call *out, const char *method, const struct packing *p, unsigned seconds)
{
	char hex[2 * SHA256_SIZE + 1];

	call_init(out, method, "", seconds);
	hex_of(p->id, SHA256_SIZE, hex);
	(void)snprintf(out->path, sizeof(out->path), "/sync/v1/packs/%s", hex);
}

void
calls_places(struct http_call *out, const struct packing *slots, unsigned set)
{
	size_t at;
	unsigned i;

	call_init(out, "HEAD", "/sync/v1/packs/",
		  LONG_SECONDS); /* central may hash prefixes anew */
	at = strlen(out->path);
	for (i = 0; i < SENDER_SLOTS; i++) {
		if (!(set & 1u << i))
			continue;
		hex_of(slots[i].id, SHA256_SIZE, out->path + at);
		at += 2 * SHA256_SIZE;
		out->path[at++] = ',';
	}
	out->path[at - 1] = '\0';
}

int
calls_piece(struct http_call *out, struct packing *p, struct edge *e, const struct sender_action *a,
	    const struct coding *coding, struct piece_cost *cost, struct err *err)
{
	int rc;

	pack_path(out, "PATCH", p, PIECE_SECONDS); /* a stall drops it much sooner */
	out->body = p->piece;			   /* it comes back with the answer */
	out->give_back = true;
	out->lane = a->lane; /* R12: central enforces what it said in hello */
	buf_init(&p->piece);
	buf_clear(&out->body);
	buf_put_u32(&out->body, a->first ? (uint32_t)p->manifest.len : 0);
	if (a->first)
		buf_put(&out->body, p->manifest.data, p->manifest.len);
	rc = piece_write(&out->body, p, e, a, coding, cost, err);
	if (rc)
		buf_fini(&out->body);
	return rc;
}

void
calls_drop(struct http_call *out, const struct packing *p)
{
	pack_path(out, "DELETE", p, SHORT_SECONDS);
}

/* --- answers --- */

/* Is H at central's head ours? */
static bool
agrees(struct edge *e, uint64_t head, const ProtobufCBinaryData *hash)
{
	unsigned char own[SHA256_SIZE];
	struct store_tx *tx;
	int rc;

	if (head == 0)
		return true;
	if (hash->len != SHA256_SIZE || store_begin_read(&tx, e->store, NULL))
		return false;
	rc = ledger_hash(tx, head, own, NULL);
	store_end_read(tx);
	return !rc && memcmp(own, hash->data, SHA256_SIZE) == 0;
}

/* Whatever a clock there says, sums with it are sums. */
static int64_t
wall_of(const Sync__HelloAnswer *m)
{
	const int64_t most = INT64_C(1) << 53;

	return m->wall_ms < 0 ? 0 : m->wall_ms < most ? m->wall_ms : most;
}

static void
answer_of_hello(struct sender_event *ev, const struct http_done *done, struct edge *e)
{
	Sync__HelloAnswer *m = message_read(&sync__hello_answer__descriptor, done->body.data,
					    done->body.len, NULL);
	struct bandwidth table;
	size_t i;

	ev->ours = m && protocol_speaks(&e->speaks, m->version) &&
		   message_id(&ev->epoch, &m->epoch) && !id128_none(&ev->epoch);
	if (ev->ours) {
		ev->number = m->head;
		ev->losses = m->losses;
		ev->closed = m->full_lanes;
		/* R8: and this copy is the one that called last. */
		ev->agrees = agrees(e, m->head, &m->hash) && !m->stale;
		bandwidth_of_runs(&table, m->bandwidth, m->n_bandwidth);
		throttle_heard(e, &table, wall_of(m));
		(void)pthread_mutex_lock(&e->mu);
		e->contact.skew_ms = wall_of(m) - clock_wall(e->clock);
		e->contact.closed = m->closed;
		e->contact.version = m->version;
		e->contact.own_only = (int)m->own_only;
		e->contact.n_twins = 0;
		for (i = 0; i < m->n_twins && i < EDGE_TWINS; i++, e->contact.n_twins++)
			(void)snprintf(e->contact.twins[i], EDGE_ADDRESS, "%s", m->twins[i]);
		(void)pthread_mutex_unlock(&e->mu);
	}
	message_free(m);
}

static void
answer_of_ledger(struct sender_event *ev, const struct http_done *done, struct edge *e)
{
	Sync__LedgerAnswer *m = message_read(&sync__ledger_answer__descriptor, done->body.data,
					     done->body.len, NULL);

	if (m) {
		ev->number = m->head;
		ev->agrees = agrees(e, m->head, &m->hash);
	}
	message_free(m);
}

static void
answer_of_holdings(struct sender_event *ev, const struct http_done *done)
{
	Sync__HoldingsAnswer *m = message_read(&sync__holdings_answer__descriptor, done->body.data,
					       done->body.len, NULL);

	if (m)
		ev->number = m->count;
	else
		ev->status = 500;
	message_free(m);
}

/* "4096,-,=": an offset, no upload, all of it; in the order in which they were named. */
static void
answer_of_places(struct sender_event *ev, const struct http_done *done)
{
	const char *p = (const char *)done->body.data, *end = p + done->body.len;
	unsigned i;

	for (i = 0; i < SENDER_SLOTS; i++) {
		uint64_t n = 0;

		if (!(ev->slot & 1u << i))
			continue;
		if (p == end) {
			ev->status = 500;
			return;
		}
		ev->places[i] = *p == '=' ? SENDER_WHOLE : SENDER_NO_UPLOAD;
		if (*p >= '0' && *p <= '9') {
			for (; p < end && *p >= '0' && *p <= '9'; p++)
				n = n * 10 + (uint64_t)(*p - '0');
			ev->places[i] = n;
		}
		while (p < end && *p++ != ',')
			;
	}
}

static void
answer_of_piece(struct sender_event *ev, const struct http_done *done)
{
	Sync__UploadAnswer *m = message_read(&sync__upload_answer__descriptor, done->body.data,
					     done->body.len, NULL);

	if (m) {
		ev->number = m->offset;
		ev->receipted = m->receipt.len > 0;
		ev->bad = m->n_bad > 0;
		ev->theirs_ms = m->busy_ms < ev->ms ? m->busy_ms : ev->ms;
	} else {
		ev->status = 500;
	}
	message_free(m);
}

void
calls_answer(struct sender_event *ev, const struct http_done *done, struct edge *e)
{
	ev->status = done->status;
	ev->sent = done->sent;
	ev->retry_after = done->retry_after;
	ev->ms = done->ms > 0 ? (uint64_t)done->ms : 0;
	ev->rtt_ms = done->rtt_ms;
	ev->steady = done->steady;
	/* R22: 409 without a body is "another epoch"; every other answer is of ours. */
	ev->ours = (done->status != 409 || done->body.len > 0) &&
		   (!done->asked[0] || !done->epoch[0] || strcmp(done->asked, done->epoch) == 0);
	if (done->status != 200 && done->status != 409 && done->status != 422) {
		if (done->status)
			log_line(LOG_WARN, "central.answer", "request=%d status=%d what=\"%.*s\"",
				 (int)ev->request, done->status,
				 (int)(done->body.len < 100 ? done->body.len : 100),
				 done->body.data ? (const char *)done->body.data : "");
		return;
	}
	switch (ev->request) {
	case SENDER_HELLO:
		answer_of_hello(ev, done, e);
		break;
	case SENDER_LEDGER:
		answer_of_ledger(ev, done, e);
		break;
	case SENDER_ASK:
		answer_of_holdings(ev, done);
		break;
	case SENDER_PLACE:
		answer_of_places(ev, done);
		break;
	case SENDER_PIECE:
		answer_of_piece(ev, done);
		break;
	case SENDER_DISSOLVE:
		break;
	}
}
