#include "central/hello.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/adopt.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/certificates.h"
#include "central/decisions.h"
#include "central/gate.h"
#include "central/members.h"
#include "central/record.h"
#include "central/room.h"
#include "central/token.h"
#include "central/told.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/version.h"

enum { HASHES_MAX = 4096, TWINS_MAX = 4, LIVES_A_DAY = 100, DAY_MS = 24 * 3600000 };

struct hearing { /* one hello */
	struct central *c;
	const Sync__HelloRequest *m;
	char address[ADDRESS_SIZE];
	struct id128 contact, random; /* random: of the token that may be given */
	/* What its token and its receipt say, as sealed for this site and incarnation. */
	bool seals_read;
	struct token said;
	bool foreign;	      /* its receipt is not ours (R22) */
	uint64_t receipts;    /* at least so many were given, */
	struct id128 promise; /* in this epoch */
	bool above;	      /* more than our count */
	struct site_row row;
	uint32_t version; /* settled on */
	/* what was found */
	bool opens, again; /* this hello opens it; one that was closed */
	bool beside;	   /* closed, while another of the site is not */
	enum token_word word;
	bool twin; /* R8: closed by another, and it goes on calling */
};

/* --- who calls --- */

struct others {
	const char *site;
	const struct id128 *but;
	bool live;
	int64_t now_ms;
	unsigned lately; /* opened within a day */
};

static int
note_live(void *arg, const struct site_row *row, struct err *e)
{
	struct others *o = arg;

	(void)e;
	o->live = o->live || (!row->closed && !id128_same(o->but, &row->incarnation));
	o->lately += llabs(o->now_ms - row->opened_ms) < DAY_MS;
	return 0;
}

/* R8: each costs memory, and time for each image, for ever. A disk that is set back again and
 * again waits at its site, with all that it has; a person sees why. */
static int
may_open(const struct hearing *h, const struct others *o, struct err *e)
{
	if (!h->opens || o->lately < LIVES_A_DAY)
		return 0;
	log_line(LOG_ERROR, "site.too_many_lives", "site=%s address=%s", h->row.site, h->address);
	return err_set(e, ERR_AGAIN, 0,
		       "%d incarnations of this site within a day: is its disk set back again and "
		       "again?",
		       LIVES_A_DAY);
}

/* R22: receipts that this central does not remember, in its own epoch: it was set back, and what
 * they promised may be gone. A seal that is not ours is an alarm only. */
static void
read_receipt(struct hearing *h)
{
	const Sync__HelloRequest *m = h->m;
	uint64_t number;

	/* One of the archive that burnt says nothing about this one. */
	if (!m->receipt.len || m->archive.len != ID128_SIZE ||
	    memcmp(m->archive.data, h->c->identity.id.b, ID128_SIZE) != 0)
		return;
	h->foreign = !adopt_receipt_valid(h->c, m->receipt.data, m->receipt.len, h->row.site,
					  &h->row.incarnation, &number, &h->promise);
	h->receipts = h->foreign ? 0 : number;
}

/* Whatever the row says by now: their seals are looked at once. */
static void
read_seals(struct hearing *h)
{
	if (h->seals_read)
		return;
	h->seals_read = true;
	read_receipt(h);
	(void)token_read(h->c, &h->row, h->m->token.data, h->m->token.len, &h->said);
}

/* In any transaction: the row, and what the hello tells beside it. */
static int
judge(struct hearing *h, struct store_tx *tx, const struct id128 *incarnation, const char *site,
      struct err *e)
{
	struct others o = {site, incarnation, false, clock_wall(h->c->clock), 0};
	struct id128 own;
	int rc = site_get(tx, incarnation, &h->row, e);

	h->opens = rc == ERR_ABSENT;
	if (h->opens) {
		memset(&h->row, 0, sizeof(h->row));
		(void)snprintf(h->row.site, sizeof(h->row.site), "%s", site);
		h->row.incarnation = *incarnation;
		rc = 0;
	}
	if (!rc && strcmp(h->row.site, site) != 0)
		return err_set(e, ERR_PEER, 0, "this incarnation belongs to another site");
	if (!rc)
		rc = state_id(tx, "epoch", &own, e);
	if (rc)
		return rc;
	read_seals(h);
	h->above = h->receipts > h->row.receipts && id128_same(&h->promise, &own);
	rc = token_judge(tx, &h->row, &h->said, &h->contact, &own, &h->word, e);
	if (!rc && (h->row.closed || h->opens))
		rc = site_each_of(tx, site, note_live, &o, e);
	if (!rc)
		rc = may_open(h, &o, e);
	h->beside = h->row.closed && o.live;
	/* A closed one that no other has followed is not lost after all. */
	h->again = h->row.closed && !o.live && h->word != TOKEN_STALE;
	return rc;
}

static int
look_up(struct hearing *h, const struct id128 *incarnation, const char *site, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, h->c->store, e);

	if (rc)
		return rc;
	rc = judge(h, tx, incarnation, site, e);
	store_end_read(tx);
	return rc;
}

static int
decide(struct hearing *h, Sync__DecisionKind kind, const char *why, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;

	d.kind = kind;
	d.site = message_text(h->row.site);
	d.incarnation = message_bytes(h->row.incarnation.b, ID128_SIZE);
	d.why = message_text(why);
	if (h->opens) { /* R8 */
		d.previous_incarnation = h->m->previous_incarnation;
		d.last_common_seq = h->m->last_common_seq;
		d.last_common_hash = h->m->last_common_hash;
	}
	return record_decide(h->c, &d, e);
}

/* --- what is kept of it --- */

static int
touch(struct store_tx *tx, void *arg, struct err *e)
{
	struct hearing *h = arg;
	struct id128 incarnation = h->row.incarnation;
	char site[SITE_SIZE];
	int rc;

	strcpy(site, h->row.site);
	rc = judge(h, tx, &incarnation, site, e);
	if (!rc && h->opens) /* a rebuild made the catalogue anew meanwhile */
		rc = err_set(e, ERR_AGAIN, 0, "the site is not open");
	h->twin = false;
	if (rc || h->word == TOKEN_STALE)
		return rc;
	/* R8: a hello that was late on its way is heard once. Whoever says the token that was
	 * given after that is there, beside its successor. */
	if (h->word != TOKEN_AGAIN && h->beside) {
		h->twin = h->row.knocked;
		h->row.knocked = true;
	}
	if (h->word != TOKEN_AGAIN)
		token_next(&h->row, &h->said, &h->contact, &h->random);
	h->row.contact_ms = clock_wall(h->c->clock);
	if (h->row.receipts < h->receipts)
		h->row.receipts = h->receipts;
	h->row.foreign = h->foreign;
	h->row.version = h->version;
	(void)snprintf(h->row.software, sizeof(h->row.software), "%s", h->m->software);
	memcpy(h->row.address, h->address, sizeof(h->row.address));
	told_keep(&h->row, h->m->state);
	return site_put(tx, &h->row, e);
}

static int
open_it(struct hearing *h, struct err *e)
{
	bool branches = h->opens && h->m->previous_incarnation.len;
	const char *why = h->again   ? "hello of one that was closed"
			  : branches ? "hello of one that branched off"
				     : "hello";
	int rc = decide(h, SYNC__DECISION_KIND__DECISION_OPEN, why, e);

	if (!rc)
		log_line(h->again || branches ? LOG_WARN : LOG_INFO,
			 h->again   ? "site.reopened"
			 : branches ? "site.branched"
				    : "site.opened",
			 "site=%s address=%s", h->row.site, h->address);
	return rc;
}

static int
hear(struct hearing *h, const struct id128 *incarnation, const char *site, struct err *e)
{
	bool set_back;
	int rc = look_up(h, incarnation, site, e);

	if (rc)
		return rc;
	set_back = h->above || h->word == TOKEN_AHEAD;
	if (h->foreign && !h->row.foreign)
		log_line(LOG_ERROR, "receipt.foreign", "site=%s", site);
	if (h->opens || h->again)
		rc = open_it(h, e);
	if (!rc && set_back)
		rc = record_epoch(h->c,
				  h->above ? "an edge holds a receipt above our count: set back"
					   : "an edge heard later words of us: set back",
				  e);
	if (!rc)
		rc = store_commit(h->c->store, touch, h, e);
	if (!rc && h->word == TOKEN_STALE)
		log_line(LOG_WARN, "site.stale", "site=%s address=%s", site, h->address);
	if (!rc && h->twin) {
		log_line(LOG_ERROR, "site.twin", "site=%s address=%s", site, h->address);
		rc = decide(h, SYNC__DECISION_KIND__DECISION_TWIN, "it goes on calling", e);
	}
	return rc;
}

/* Who and where: by what a person tells two copies of one edge apart. */
static void
address_of(char out[ADDRESS_SIZE], const struct http_request *rq, uint32_t port)
{
	bool six = strchr(rq->address, ':') != NULL;

	if (port && port < 65536)
		(void)snprintf(out, ADDRESS_SIZE, "%s%.60s%s:%u", six ? "[" : "", rq->address,
			       six ? "]" : "", (unsigned)port);
	else
		(void)snprintf(out, ADDRESS_SIZE, "%.60s", rq->address);
}

/* The site has what the newest CA signed: so the older ones may be given up, for its sake. */
static int
note_shown(struct central *c, const struct http_request *rq, const struct member *row,
	   struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	unsigned char now[PKI_PRINT];

	certificates_print(c->certificates, now);
	if (memcmp(rq->ca, now, PKI_PRINT) != 0 || !member_behind(row, now))
		return 0;
	d.kind = SYNC__DECISION_KIND__DECISION_SITE_RENEW;
	d.site = message_text(rq->site);
	d.key = message_bytes(row->key, PKI_PRINT);
	d.from_wall_ms = row->from_ms;
	d.until_wall_ms = row->until_ms;
	d.ca = message_bytes(now, PKI_PRINT);
	d.why = message_text("it showed it");
	return record_decide(c, &d, e);
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
	if (!rc)
		rc = note_shown(c, rq, &row, e);
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	life.from_ms = row.from_ms;
	life.until_ms = row.until_ms;
	certificates_bundle(c->certificates, NULL, digest);
	*out = rq->late || pki_half_over(&life, clock_wall(c->clock)) ||
	       (m->ca.len == SHA256_SIZE && memcmp(m->ca.data, digest, SHA256_SIZE) != 0);
	return 0;
}

/* --- the answer --- */

struct hashes {
	ProtobufCBinaryData list[HASHES_MAX];
	unsigned char hash[HASHES_MAX][SHA256_SIZE];
};

struct answering {
	Sync__HelloAnswer a;
	struct id128 epoch;
	struct buf token;
	struct hashes *hashes; /* NULL: none were asked for */
	char twin[TWINS_MAX][ADDRESS_SIZE], *twins[TWINS_MAX];
	uint32_t codings[FRAME_ZSTD];
	struct bandwidth_runs *bandwidth; /* NULL: all of its link */
	const struct hearing *h;
};

/* R8: H of the seqs that it asks for, so that it finds the last one that is common. */
static int
fill_hashes(struct answering *f, struct store_tx *tx, struct err *e)
{
	const Sync__HelloRequest *m = f->h->m;
	uint64_t seq = m->hashes_from, step = m->hashes_step ? m->hashes_step : 1;
	int rc = 0;

	if (!seq || seq > f->a.head)
		return 0;
	f->hashes = malloc(sizeof(*f->hashes));
	if (!f->hashes)
		return err_set(e, ERR_LOCAL, 0, "no memory to answer hello");
	while (!rc && seq <= f->a.head && f->a.n_hashes < HASHES_MAX) {
		size_t i = f->a.n_hashes;

		rc = announced_hash(tx, &f->h->row.incarnation, seq, f->hashes->hash[i], e);
		f->hashes->list[i] = message_bytes(f->hashes->hash[i], SHA256_SIZE);
		f->a.n_hashes += !rc;
		if (step > f->a.head - seq)
			break;
		seq += step;
	}
	f->a.hashes = f->hashes->list;
	return rc;
}

static int
note_twin(void *arg, const struct site_row *row, struct err *e)
{
	struct answering *f = arg;

	(void)e;
	if (row->closed || row->drains || f->a.n_twins == TWINS_MAX)
		return 0;
	memcpy(f->twin[f->a.n_twins], row->address, ADDRESS_SIZE);
	f->twins[f->a.n_twins] = f->twin[f->a.n_twins];
	f->a.n_twins++;
	return 0;
}

/* R8: both are told, also while the second one is not known for sure (knocked). */
static int
fill_twins(struct answering *f, struct store_tx *tx, struct err *e)
{
	int rc = site_each_of(tx, f->h->row.site, note_twin, f, e);

	if (f->a.n_twins < 2)
		f->a.n_twins = 0;
	f->a.twins = f->twins;
	return rc;
}

/* What a person at central leaves it of its link. */
static int
fill_bandwidth(struct answering *f, struct store_tx *tx, struct err *e)
{
	struct member row;
	int rc = member_get(tx, f->h->row.site, &row, e);

	if (rc || bandwidth_is_free(&row.bandwidth))
		return rc == ERR_ABSENT ? 0 : rc;
	f->bandwidth = malloc(sizeof(*f->bandwidth));
	if (!f->bandwidth)
		return err_set(e, ERR_LOCAL, 0, "no memory to answer hello");
	bandwidth_to_runs(f->bandwidth, &row.bandwidth);
	f->a.bandwidth = f->bandwidth->list;
	f->a.n_bandwidth = f->bandwidth->n;
	return 0;
}

static int
fill(struct answering *f, struct err *e)
{
	const struct hearing *h = f->h;
	struct token token;
	struct site_row row;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, h->c->store, e);

	if (rc)
		return rc;
	central_epoch(h->c, &f->epoch);
	f->a.version = h->version;
	f->a.archive = message_bytes(h->c->identity.id.b, ID128_SIZE);
	f->a.epoch = message_bytes(f->epoch.b, ID128_SIZE);
	f->a.head = h->row.head.seq;
	f->a.hash = message_bytes(h->row.head.hash, SHA256_SIZE);
	f->a.losses = central_losses(h->c);
	f->a.full_lanes = room_closed(h->c); /* R12 */
	f->a.wall_ms = clock_wall(h->c->clock);
	f->a.software = message_text(SALAMANDER_VERSION);
	f->a.stale = h->word == TOKEN_STALE;
	rc = site_get(tx, &h->row.incarnation, &row, e);
	f->a.closed = row.closed;
	f->a.drains = row.drains;
	if (!rc)
		rc = fill_hashes(f, tx, e);
	if (!rc)
		rc = fill_twins(f, tx, e);
	if (!rc)
		rc = fill_bandwidth(f, tx, e);
	store_end_read(tx);
	/* What was given in another epoch is given again in this one. */
	token = (struct token){h->row.contacts, f->epoch, h->row.token};
	if (!rc && !f->a.stale)
		rc = token_write(h->c, &h->row, &token, &f->token, e);
	f->a.token = message_bytes(f->token.data, f->token.len);
	return rc;
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

/* R3: what is not decided yet is, also of packs that no ledger told of. */
static int
look_at_decisions(struct central *c, uint64_t *total, struct err *e)
{
	struct store_tx *tx;
	int rc = decisions_make(c, e);

	if (!rc)
		rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = decisions_total(tx, total, e);
	store_end_read(tx);
	return rc;
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

static int
give(struct hearing *h, const struct http_request *rq, struct buf *out, struct err *e)
{
	struct answering *f = calloc(1, sizeof(*f));
	bool renew = false;
	int rc;

	if (!f)
		return err_set(e, ERR_LOCAL, 0, "no memory to answer hello");
	sync__hello_answer__init(&f->a);
	f->h = h;
	rc = fill(f, e);
	if (!rc)
		rc = should_renew(h->c, rq, h->m, &renew, e);
	if (!rc)
		rc = look_at_decisions(h->c, &f->a.decisions, e);
	if (!rc)
		rc = gate_own_only(h->c, rq->site, &f->a.own_only, e);
	f->a.renew = renew;
	f->a.codings = f->codings;
	f->a.n_codings = settle_codings(h->m, f->codings);
	if (!rc)
		message_pack(out, &f->a.base);
	buf_fini(&f->token);
	free(f->bandwidth);
	free(f->hashes);
	free(f);
	return rc;
}

int
hello_answer(struct central *c, const struct http_request *rq, struct http_answer *out,
	     struct err *e)
{
	Sync__HelloRequest *m =
		message_read(&sync__hello_request__descriptor, rq->body, rq->body_n, e);
	struct hearing h = {.c = c, .m = m};
	struct id128 incarnation;
	int rc = 0;

	if (!m)
		return ERR_PEER;
	h.version = protocol_settle(&c->speaks, m->versions, m->n_versions);
	if (!h.version) {
		message_free(m);
		return no_common(c, out);
	}
	if (!message_id(&incarnation, &m->incarnation) || strcmp(m->site, rq->site) != 0)
		rc = err_set(e, ERR_PEER, 0, "hello without its site and incarnation");
	(void)message_id(&h.contact, &m->contact);
	id128_make(rng_real(), &h.random);
	address_of(h.address, rq, m->port);
	if (!rc)
		rc = hear(&h, &incarnation, rq->site, e);
	if (!rc)
		rc = give(&h, rq, &out->body, e);
	message_free(m);
	return rc;
}
