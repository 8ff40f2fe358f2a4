#include "central/hello.h"

#include <stdio.h>
#include <string.h>

#include "central/adopt.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/certificates.h"
#include "central/members.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/version.h"

struct touching {
	struct central *c;
	struct site_row row;
	uint64_t receipts; /* at least so many were given */
	uint32_t version;  /* settled on                  */
	const char *software;
};

static int
touch(struct store_tx *tx, void *arg, struct err *e)
{
	struct touching *t = arg;
	struct id128 incarnation = t->row.incarnation;
	int rc = site_get(tx, &incarnation, &t->row, e);

	if (rc)
		return rc;
	t->row.contact_ms = clock_wall(t->c->clock);
	t->row.version = t->version;
	(void)snprintf(t->row.software, sizeof(t->row.software), "%s", t->software);
	if (t->row.receipts < t->receipts)
		t->row.receipts = t->receipts;
	return site_put(tx, &t->row, e);
}

/*
 * R22: receipts that this central does not remember, in its own epoch: it was set
 * back, and what they promised may be gone. A seal that is not ours is an alarm only.
 */
static int
check_receipt(struct central *c, const Sync__HelloRequest *m, const struct site_row *row,
	      uint64_t *receipts, struct err *e)
{
	struct id128 epoch, own;
	uint64_t number;

	*receipts = 0;
	/* One of the archive that burnt says nothing about this one. */
	if (!m->receipt.len || m->archive.len != ID128_SIZE ||
	    memcmp(m->archive.data, c->identity.id.b, ID128_SIZE) != 0)
		return 0;
	if (!adopt_receipt_valid(c, m->receipt.data, m->receipt.len, row->site, &row->incarnation,
				 &number, &epoch)) {
		log_line(LOG_ERROR, "receipt.foreign", "site=%s", row->site);
		return 0;
	}
	*receipts = number;
	central_epoch(c, &own);
	if (number <= row->receipts || !id128_same(&epoch, &own))
		return 0;
	return record_epoch(c, "an edge holds a receipt above our count: set back", e);
}

struct others {
	const struct site_row *row;
	bool live;
};

static int
note_live(void *arg, const struct site_row *row, struct err *e)
{
	struct others *o = arg;

	(void)e;
	o->live = o->live || (!row->closed && strcmp(row->site, o->row->site) == 0);
	return 0;
}

/* *open: this hello opens it. A closed one that no other has followed is not lost after all. */
static int
look_up(struct central *c, const struct id128 *incarnation, struct site_row *row, bool *open,
	struct err *e)
{
	struct others o = {row, false};
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = site_get(tx, incarnation, row, e);
	*open = rc == ERR_ABSENT;
	if (!rc && row->closed) {
		rc = site_each(tx, note_live, &o, e);
		*open = !o.live;
	}
	store_end_read(tx);
	return rc;
}

static int
find_site(struct central *c, const char *site, const struct id128 *incarnation,
	  struct site_row *row, struct err *e)
{
	bool open, again;
	int rc = look_up(c, incarnation, row, &open, e);

	again = !rc;
	/* The caller refuses the one that is another site's. */
	if (!open || (again && strcmp(row->site, site) != 0))
		return rc;
	rc = record_decision(c, SYNC__DECISION_KIND__DECISION_OPEN, site, incarnation,
			     again ? "hello of one that was closed" : "hello", e);
	if (rc)
		return rc;
	log_line(again ? LOG_WARN : LOG_INFO, again ? "site.reopened" : "site.opened", "site=%s",
		 site);
	return look_up(c, incarnation, row, &open, e);
}

/* R25: past half its life by central's clock, or the bundle is not the one that the edge has. */
static int
should_renew(struct central *c, const struct http_request *rq, const Sync__HelloRequest *m,
	     bool *out, struct err *e)
{
	struct pki_certificate life = {.name = ""};
	unsigned char digest[SHA256_SIZE];
	struct member row;
	struct store_tx *tx;
	int rc;

	*out = false;
	if (!c->certificates || !rq->certified)
		return 0;
	rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = member_get(tx, rq->site, &row, e);
	store_end_read(tx);
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	life.from_ms = row.from_ms;
	life.until_ms = row.until_ms;
	certificates_bundle(c->certificates, NULL, digest);
	*out = rq->late || pki_half_over(&life, clock_wall(c->clock)) ||
	       (m->ca.len == SHA256_SIZE && memcmp(m->ca.data, digest, SHA256_SIZE) != 0);
	return 0;
}

static void
fill(struct central *c, Sync__HelloAnswer *a, const struct touching *t, struct id128 *epoch)
{
	central_epoch(c, epoch);
	a->version = t->version;
	a->archive = message_bytes(c->identity.id.b, ID128_SIZE);
	a->epoch = message_bytes(epoch->b, ID128_SIZE);
	a->head = t->row.head.seq;
	a->hash = message_bytes(t->row.head.hash, SHA256_SIZE);
	a->losses = central_losses(c);
	a->wall_ms = clock_wall(c->clock);
	a->software = message_text(SALAMANDER_VERSION);
	a->closed = t->row.closed;
}

/* Of the codings that the edge can send those that upload.c reads; out has room for each. */
static size_t
settle_codings(const Sync__HelloRequest *m, uint32_t *out)
{
	size_t i, n = 0;
	uint32_t c;

	for (c = FRAME_ZLIB; c <= FRAME_ZSTD; c++) {
		for (i = 0; i < m->n_codings && m->codings[i] != c; i++)
			;
		if (i < m->n_codings)
			out[n++] = c;
	}
	return n;
}

/* Neither can obey what it does not know: the edge keeps what it has, and says why it waits. */
static int
no_common(const struct central *c, struct http_answer *out)
{
	out->status = PROTOCOL_NONE_COMMON;
	buf_printf(&out->body, "this central speaks versions %u to %u\n", c->speaks.oldest,
		   c->speaks.newest);
	return 0;
}

int
hello_answer(struct central *c, const struct http_request *rq, struct http_answer *out,
	     struct err *e)
{
	Sync__HelloRequest *m =
		message_read(&sync__hello_request__descriptor, rq->body, rq->body_n, e);
	const char *site = rq->site;
	Sync__HelloAnswer a = SYNC__HELLO_ANSWER__INIT;
	struct touching t = {.c = c};
	struct id128 incarnation, epoch;
	uint32_t codings[FRAME_ZSTD];
	bool renew = false;
	int rc = 0;

	if (!m)
		return ERR_PEER;
	t.version = protocol_settle(&c->speaks, m->versions, m->n_versions);
	t.software = m->software;
	if (!t.version) {
		message_free(m);
		return no_common(c, out);
	}
	if (!message_id(&incarnation, &m->incarnation) || strcmp(m->site, site) != 0)
		rc = err_set(e, ERR_PEER, 0, "hello without its site and incarnation");
	if (!rc)
		rc = find_site(c, site, &incarnation, &t.row, e);
	if (!rc && strcmp(t.row.site, site) != 0)
		rc = err_set(e, ERR_PEER, 0, "this incarnation belongs to another site");
	if (!rc)
		rc = check_receipt(c, m, &t.row, &t.receipts, e);
	if (!rc)
		rc = store_commit(c->store, touch, &t, e);
	if (!rc)
		rc = should_renew(c, rq, m, &renew, e);
	if (!rc) {
		fill(c, &a, &t, &epoch);
		a.renew = renew;
		a.codings = codings;
		a.n_codings = settle_codings(m, codings);
		message_pack(&out->body, &a.base);
	}
	message_free(m);
	return rc;
}
