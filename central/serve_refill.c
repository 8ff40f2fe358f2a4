#include "central/serve_refill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/adopt.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/committed.h"
#include "central/gate.h"
#include "central/release.h"
#include "central/vault.h"
#include "central/withdraw.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/dimse/audit.h"
#include "common/http/server.h"
#include "common/store/index.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sync.pb-c.h"

enum {
	ITEMS_MAX = 2000,
	SCAN_MAX = 50000,
	/* versions per page */ ANSWER_MAX = 8 << 20,
	/* cursors: one of these; a place and a version, or a version */
	CURSOR_STUDIES = 0,
	CURSOR_REST = 1,
	CURSOR_MAX = 1 + INDEX_PLACE + 8,
	PARTIAL = 206,
	FORBIDDEN = 403,
	TOO_LARGE = 416
};

/* Who delivered a pack: the first site that sent it. */
static int
deliverer(struct store_tx *tx, const unsigned char pack[SHA256_SIZE], char site[SITE_SIZE],
	  struct err *e)
{
	struct pack_row row;
	int rc = pack_row_get(tx, pack, &row, e);

	(void)snprintf(site, SITE_SIZE, "%s", rc ? "" : row.site);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- the list --- */

struct listing {
	struct central *c;
	struct store_tx *tx;
	const Sync__RefillRequest *rq;
	const char *caller;
	bool own;	    /* R26: bytes only of what the caller delivered     */
	const char *site;   /* whose announcements; "": of all sites            */
	struct id128 *mine; /* its incarnations                                 */
	size_t n_mine;
	int64_t now; /* store_time */

	unsigned char place[INDEX_PLACE]; /* studies by their first arrival */
	uint64_t from;			  /* the version of that study to go on with */
	unsigned scanned;
	unsigned char cursor[CURSOR_MAX]; /* of the answer */

	Sync__RefillAnswer answer;
	size_t bytes;
};

static int
note_incarnation(void *arg, const struct site_row *row, struct err *e)
{
	struct listing *l = arg;
	struct id128 *more;

	if (strcmp(row->site, l->site) != 0)
		return 0;
	more = realloc(l->mine, (l->n_mine + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	l->mine = more;
	l->mine[l->n_mine++] = row->incarnation;
	return 0;
}

struct asking {
	const struct listing *l;
	const struct version *v;
	struct claim found; /* the first claim that says "has it", and the same as the catalogue */
	bool any, same;
};

/* What one site says of an image must not hide it, or its length, from another. */
static bool
says_the_same(const struct asking *a, const struct claim *c)
{
	Sync__LedgerEntry *entry = NULL;
	const void *bytes;
	struct version v;
	bool same = false;
	size_t n;

	if (announced_get(a->l->tx, &c->incarnation, c->seq, &bytes, &n, NULL) == 0)
		entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
	if (entry && ledger_version(&v, entry))
		same = v.size == a->v->size && strcmp(v.study, a->v->study) == 0 &&
		       strcmp(v.series, a->v->series) == 0 &&
		       strcmp(v.sop_instance, a->v->sop_instance) == 0;
	message_free(entry);
	return same;
}

/* What was known there and is not here either: R20. */
static bool
tells_of_it(const struct asking *a, const struct claim *c)
{
	Sync__LedgerEntry *entry = NULL;
	const void *bytes;
	size_t n;
	bool known;

	if (c->has)
		return true;
	if (announced_get(a->l->tx, &c->incarnation, c->seq, &bytes, &n, NULL) == 0)
		entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
	known = entry && ledger_says_known((int)entry->kind);
	message_free(entry);
	return known;
}

static int
look_at_claim(void *arg, const struct claim *c, struct err *e)
{
	struct asking *a = arg;
	size_t i;
	bool ours = !a->l->site[0];

	(void)e;
	for (i = 0; i < a->l->n_mine && !ours; i++)
		ours = id128_same(&a->l->mine[i], &c->incarnation);
	if (ours && !a->same && tells_of_it(a, c)) {
		a->same = says_the_same(a, c);
		if (a->same || !a->any)
			a->found = *c;
		a->any = true;
	}
	return 0;
}

static Sync__RefillItem *
new_item(struct listing *l)
{
	Sync__RefillItem *item = calloc(1, sizeof(*item));
	Sync__RefillItem **items;

	items = realloc(l->answer.items, (l->answer.n_items + 1) * sizeof(*items));
	if (items)
		l->answer.items = items;
	if (!item || !items) {
		free(item);
		return NULL;
	}
	sync__refill_item__init(item);
	l->answer.items[l->answer.n_items++] = item;
	return item;
}

static ProtobufCBinaryData
copied(const void *p, size_t n)
{
	ProtobufCBinaryData b = {0, NULL};

	b.data = malloc(n + 1);
	if (b.data) {
		memcpy(b.data, p, n);
		b.len = n;
	}
	return b;
}

static int
add_study(struct listing *l, const char *study, struct err *e)
{
	Sync__RefillStudy *s, **list;
	struct attrs row;
	size_t i;

	for (i = 0; i < l->answer.n_studies; i++)
		if (strcmp(l->answer.studies[i]->study, study) == 0)
			return 0;
	if (!study[0] || index_study_row(l->tx, study, &row, NULL))
		return 0;
	s = calloc(1, sizeof(*s));
	list = realloc(l->answer.studies, (l->answer.n_studies + 1) * sizeof(*list));
	if (list)
		l->answer.studies = list;
	if (!s || !list) {
		free(s);
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	}
	sync__refill_study__init(s);
	s->study = strdup(study);
	s->attributes = copied(row.p, row.n);
	list[l->answer.n_studies++] = s;
	l->bytes += row.n + 100;
	return s->study && s->attributes.data ? 0
					      : err_set(e, ERR_LOCAL, 0, "no memory for a list");
}

static int
add_item(struct listing *l, const struct version *v, const struct claim *claim, struct err *e)
{
	Sync__RefillItem *item;
	bool here = v->state == VERSION_HERE && v->location == VERSION_PACK, committed = false;
	char by[SITE_SIZE] = "";
	const void *entry;
	size_t n;
	int rc = announced_get(l->tx, &claim->incarnation, claim->seq, &entry, &n, e);

	if (!rc && here && l->own)
		rc = deliverer(l->tx, v->pack, by, e);
	if (!rc)
		rc = committed_get(l->tx, v->digest, &committed, e);
	if (rc)
		return rc;
	/* Announcing gives no right: neither to bytes nor to what others say of the study. */
	here = here && (!l->own || strcmp(by, l->caller) == 0);
	item = new_item(l);
	if (!item)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	item->entry = copied(entry, n);
	item->arrival = v->arrival;
	item->current = v->current;
	item->committed = committed;
	item->age_ms = l->now > v->first_ms ? l->now - v->first_ms : 0;
	if (here) {
		item->pack = copied(v->pack, SHA256_SIZE);
		item->offset = v->offset;
	}
	l->bytes += n + 100;
	if (!item->entry.data)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	return here || !l->own ? add_study(l, v->study, e) : 0;
}

static int
look_at_version(struct listing *l, const struct version *v, struct err *e)
{
	struct asking a = {.l = l, .v = v};
	int rc;

	if (v->hidden & VERSION_WITHDRAWN)
		return 0;
	if (l->rq->not_before_ms && v->arrived_wall_ms < l->rq->not_before_ms)
		return 0;
	rc = claim_each(l->tx, v->digest, look_at_claim, &a, e);
	return rc || !a.any ? rc : add_item(l, v, &a.found, e);
}

/* Enough for one answer? */
static bool
is_full(struct listing *l)
{
	size_t want = l->rq->count && l->rq->count < ITEMS_MAX ? l->rq->count : ITEMS_MAX;

	return l->answer.n_items >= want || l->bytes > ANSWER_MAX || ++l->scanned >= SCAN_MAX;
}

/*
 * By oid from below the cursor downwards: what arrived here last comes first. rest: only what the
 * order of studies does not have, since it names no study or no series.
 */
static int
walk(struct listing *l, uint64_t oid, bool rest, struct err *e)
{
	struct version v;
	int rc;

	for (;;) {
		rc = store_version_before(l->tx, oid, &v, e);
		if (rc)
			break;
		oid = v.oid;
		rc = rest && index_has(l->tx, v.study) ? 0 : look_at_version(l, &v, e);
		if (rc)
			break;
		if (is_full(l)) {
			l->answer.next = oid;
			return 0;
		}
	}
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
look_at_one(void *arg, const struct version *v, struct err *e)
{
	struct listing *l = arg;
	int rc = look_at_version(l, v, e);

	l->from = v->oid + 1;
	return rc || !is_full(l) ? rc : ERR_AGAIN;
}

/*
 * Behind a second and a third fire oids say when something was told to this central, in whatever
 * order; the first arrival at any node goes with an image (R28). A study comes as a whole.
 * ERR_AGAIN: enough for one answer; ERR_ABSENT: that was all.
 */
static int
walk_studies(struct listing *l, struct err *e)
{
	char study[UID_SIZE];
	int i, rc = 0;

	while (!rc) {
		rc = index_newest(l->tx, l->place, study, e);
		if (!rc)
			rc = store_versions_of_study(l->tx, study, l->from, look_at_one, l, e);
		if (rc)
			break;
		l->from = 0;
		for (i = INDEX_PLACE - 1; i >= 0 && ++l->place[i] == 0; i--)
			;
		if (i < 0) /* behind the very last place */
			rc = ERR_ABSENT;
	}
	return rc;
}

static void
answer_cursor(struct listing *l, unsigned char kind)
{
	size_t n = 1;

	l->cursor[0] = kind;
	if (kind == CURSOR_STUDIES) {
		memcpy(l->cursor + n, l->place, INDEX_PLACE);
		n += INDEX_PLACE;
	}
	buf_set_be64(l->cursor + n, kind == CURSOR_STUDIES ? l->from : l->answer.next);
	l->answer.cursor = message_bytes(l->cursor, n + 8);
}

/* First all studies, then what belongs to none. */
static int
walk_newest(struct listing *l, struct err *e)
{
	const unsigned char *p = l->rq->cursor.data;
	size_t n = l->rq->cursor.len;
	uint64_t oid = UINT64_MAX;
	int rc = ERR_ABSENT;

	if (n == 1 + 8 && p[0] == CURSOR_REST) {
		oid = buf_get_be64(p + 1);
	} else if ((n == 1 || n == CURSOR_MAX) && p[0] == CURSOR_STUDIES) {
		if (n == CURSOR_MAX) {
			memcpy(l->place, p + 1, INDEX_PLACE);
			l->from = buf_get_be64(p + 1 + INDEX_PLACE);
		}
		rc = walk_studies(l, e);
	} else {
		return err_set(e, ERR_PEER, 0, "a cursor that nobody was given");
	}
	if (rc == ERR_AGAIN)
		answer_cursor(l, CURSOR_STUDIES);
	if (rc != ERR_ABSENT)
		return rc == ERR_AGAIN ? 0 : rc;
	rc = walk(l, oid, true, e);
	if (!rc && l->answer.next)
		answer_cursor(l, CURSOR_REST);
	return rc;
}

static int
walk_on(struct listing *l, struct err *e)
{
	if (l->rq->cursor.len)
		return walk_newest(l, e);
	return walk(l, l->rq->before ? l->rq->before : UINT64_MAX, false, e);
}

/* Of these alone: what a decision names (R3). */
static int
walk_digests(struct listing *l, struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	struct version v;
	uint64_t oid;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < l->rq->n_digests && i < ITEMS_MAX; i++) {
		if (!message_digest(digest, &l->rq->digests[i]))
			continue;
		rc = store_by_digest(l->tx, digest, &oid, e);
		if (!rc)
			rc = store_version(l->tx, oid, &v, e);
		if (!rc)
			rc = look_at_version(l, &v, e);
		if (rc == ERR_ABSENT)
			rc = 0;
	}
	return rc;
}

static int
look_at_next(void *arg, const struct version *v, struct err *e)
{
	struct listing *l = arg;
	int rc = look_at_version(l, v, e);

	if (rc || (l->answer.n_items < ITEMS_MAX && l->bytes <= ANSWER_MAX))
		return rc;
	l->answer.next = v->oid + 1;
	return ERR_AGAIN;
}

static int
walk_study(struct listing *l, struct err *e)
{
	int rc = store_versions_of_study(l->tx, l->rq->study, l->rq->before, look_at_next, l, e);

	return l->answer.next ? 0 : rc;
}

static void
listing_fini(struct listing *l)
{
	size_t i;

	for (i = 0; i < l->answer.n_items; i++) {
		free(l->answer.items[i]->entry.data);
		free(l->answer.items[i]->pack.data);
		free(l->answer.items[i]);
	}
	for (i = 0; i < l->answer.n_studies; i++) {
		free(l->answer.studies[i]->study);
		free(l->answer.studies[i]->attributes.data);
		free(l->answer.studies[i]);
	}
	free(l->answer.items);
	free(l->answer.studies);
	free(l->mine);
}

static int
refuse(struct http_answer *out)
{
	out->status = FORBIDDEN;
	out->type = "text/plain";
	buf_clear(&out->body);
	buf_puts(&out->body, "policy: only what this site delivered\n");
	return 0;
}

static int
list(struct listing *l, struct http_answer *out, struct err *e)
{
	int rc = store_begin_read(&l->tx, l->c->store, e);

	if (rc)
		return rc;
	if (l->site[0])
		rc = site_each(l->tx, note_incarnation, l, e);
	if (!rc)
		rc = l->rq->n_digests  ? walk_digests(l, e)
		     : l->rq->study[0] ? walk_study(l, e)
				       : walk_on(l, e);
	store_end_read(l->tx);
	if (!rc)
		message_pack(&out->body, &l->answer.base);
	return rc;
}

int
refill_answer(struct central *c, const struct http_request *rq, struct http_answer *out,
	      struct err *e)
{
	Sync__RefillRequest *m =
		message_read(&sync__refill_request__descriptor, rq->body, rq->body_n, e);
	struct listing l = {
		.c = c, .rq = m, .caller = rq->site, .site = "", .now = store_time(c->store)};
	bool other;
	int rc;

	if (!m)
		return ERR_PEER;
	sync__refill_answer__init(&l.answer);
	other = strcmp(m->site, rq->site) != 0;
	rc = gate_own_only(c, rq->site, &l.answer.own_only, e);
	l.own = l.answer.own_only != SYNC__OWN_ONLY__OWN_ONLY_NO;
	l.site = l.own ? rq->site : m->site;
	if (!rc && l.own && m->site[0] && other)
		rc = refuse(out);
	else if (!rc)
		rc = list(&l, out, e);
	if (!rc && other && !l.own) /* R26: each read of others' data */
		audit_line(c->dicom.audit, "sync.list", "site=%s address=%s of=%s items=%zu",
			   rq->site, rq->address, m->site[0] ? m->site : "all", l.answer.n_items);
	listing_fini(&l);
	message_free(m);
	return rc;
}

/* --- bytes --- */

/* The part that was asked for; the whole only when it is small. */
static int
choose(const struct http_request *rq, uint64_t size, struct http_answer *out, uint64_t *first,
       size_t *n, struct err *e)
{
	uint64_t left;

	*first = rq->ranged ? rq->range_first : 0;
	left = *first < size ? size - *first : 0;
	if (rq->ranged && rq->range_n < left)
		left = rq->range_n;
	if (left > HTTP_BODY_MAX || (size && !left)) {
		out->status = TOO_LARGE; /* larger ones are asked for by Range */
		return 0;
	}
	*n = (size_t)left;
	if (rq->ranged) {
		out->status = PARTIAL;
		out->name[1] = "Content-Range";
		(void)snprintf(out->value[1], sizeof(out->value[1]), "bytes %llu-%llu/%llu",
			       (unsigned long long)*first,
			       (unsigned long long)(*first + left - (left ? 1 : 0)),
			       (unsigned long long)size);
	}
	return buf_reserve(&out->body, *n + 1) ? 0
					       : err_set(e, ERR_LOCAL, 0, "no memory for bytes");
}

/* R26: may the caller read what this pack holds? Others' data is told of in the audit log. */
static int
may_read(struct central *c, const struct http_request *rq, const unsigned char pack[SHA256_SIZE],
	 bool *out, struct err *e)
{
	char hex[2 * SHA256_SIZE + 1], by[SITE_SIZE] = "";
	struct store_tx *tx;
	bool own = false;
	int rc = gate_reads_own_only(c, rq->site, &own, e);

	if (!rc)
		rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = deliverer(tx, pack, by, e);
	store_end_read(tx);
	*out = !own || strcmp(by, rq->site) == 0;
	hex_of(pack, SHA256_SIZE, hex);
	if (!rc && strcmp(by, rq->site) != 0)
		audit_line(c->dicom.audit, *out ? "sync.read" : "sync.refused",
			   "site=%s address=%s of=%s pack=%s path=%s first=%llu", rq->site,
			   rq->address, by, hex, rq->path, (unsigned long long)rq->range_first);
	return rc;
}

/* Before the first byte is given away it is read as a whole: what is damaged nobody gets, and an
 * edge that has it sends it again. */
static int
check_first(struct central *c, struct store_reader *r, uint64_t first, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = first ? 0 : store_read_check(r, &why);

	if (!rc)
		return 0;
	if (!release_is_damage(c, rc))
		return err_set(e, why.code, why.sys, "%s", why.what);
	rc = release_damaged(c, store_read_version(r), e);
	log_line(LOG_ERROR, "instance.damaged", "uid=%s",
		 uid_shown(store_read_version(r)->sop_instance));
	return rc ? rc : err_set(e, ERR_ABSENT, 0, "not held here: the copy is damaged");
}

int
refill_object(struct central *c, const struct http_request *rq, struct http_answer *out,
	      struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	struct store_reader *r;
	struct store_tx *tx;
	uint64_t oid, first;
	size_t n, got = 0;
	bool may = false;
	int rc;

	if (!hex_to(rq->rest, digest, sizeof(digest)))
		return err_set(e, ERR_PEER, 0, "no digest");
	rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = store_by_digest(tx, digest, &oid, e);
	store_end_read(tx);
	if (!rc)
		rc = store_read_open(&r, c->store, oid, e);
	if (rc)
		return rc == ERR_ABSENT ? err_set(e, ERR_ABSENT, 0, "not held here") : rc;
	if (store_read_version(r)->hidden & VERSION_WITHDRAWN) /* R15 */
		rc = err_set(e, ERR_ABSENT, 0, "withdrawn");
	else
		rc = may_read(c, rq, store_read_version(r)->pack, &may, e);
	if (rc || !may) {
		store_read_close(r);
		return rc ? rc : refuse(out);
	}
	rc = choose(rq, store_read_version(r)->size, out, &first, &n, e);
	if (!rc && out->status != TOO_LARGE)
		rc = check_first(c, r, first, e);
	if (!rc && out->status != TOO_LARGE)
		rc = store_read(r, first, out->body.data, n, &got, e);
	out->body.len = got;
	store_read_close(r);
	return rc;
}

/* What was asked for of a pack: n bytes from `first` on. */
struct part {
	uint64_t first;
	unsigned char *bytes;
	size_t n;
};

static void
blank(const struct part *p, const struct pack_member *m)
{
	uint64_t from = m->offset > p->first ? m->offset : p->first;
	uint64_t end =
		m->offset + m->size < p->first + p->n ? m->offset + m->size : p->first + p->n;

	if (from < end)
		memset(p->bytes + (from - p->first), 0, (size_t)(end - from));
}

static int
blank_members(struct central *c, const struct pack *p, const struct part *part, struct err *e)
{
	struct store_tx *tx;
	bool withdrawn;
	size_t i;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	for (i = 0; !rc && i < pack_count(p); i++) {
		rc = withdraw_says_digest(tx, pack_member(p, i)->digest, &withdrawn, e);
		if (!rc && withdrawn)
			blank(part, pack_member(p, i));
	}
	store_end_read(tx);
	return rc;
}

/* R15: a pack is given with zeros where the bytes of withdrawn images lie; whoever wants the others
 * checks each by its digest. Its manifest alone tells where: of two copies the catalogue knows
 * one. */
static int
hide_withdrawn(struct central *c, const char *place, const struct part *part, struct err *e)
{
	struct pack *p = NULL;
	struct store_tx *tx;
	uint64_t n;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = decision_count(tx, &n, e);
	store_end_read(tx);
	if (rc || !n)
		return rc;
	rc = adopt_manifest(c->vault, place, &p, e);
	if (!rc)
		rc = blank_members(c, p, part, e);
	pack_close(p);
	if (rc != ERR_CORRUPT) /* `verify` says that */
		return rc;
	err_clear(e);
	return err_set(e, ERR_ABSENT, 0, "its manifest is damaged: ask for its images by digest");
}

int
refill_pack(struct central *c, const struct http_request *rq, struct http_answer *out,
	    struct err *e)
{
	unsigned char id[SHA256_SIZE];
	struct pack_row row;
	struct store_tx *tx;
	uint64_t first;
	size_t n, got = 0;
	bool may = false;
	int rc;

	if (!hex_to(rq->rest, id, sizeof(id)))
		return err_set(e, ERR_PEER, 0, "no pack id");
	rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = pack_row_get(tx, id, &row, e);
	store_end_read(tx);
	if (rc)
		return rc == ERR_ABSENT ? err_set(e, ERR_ABSENT, 0, "no such pack") : rc;
	rc = may_read(c, rq, id, &may, e);
	if (rc || !may)
		return rc ? rc : refuse(out);
	rc = choose(rq, row.size, out, &first, &n, e);
	if (!rc && out->status != TOO_LARGE)
		rc = vault_read(c->vault, row.place, first, out->body.data, n, &got, e);
	if (!rc && got) {
		struct part part = {first, out->body.data, got};

		rc = hide_withdrawn(c, row.place, &part, e);
	}
	out->body.len = rc ? 0 : got;
	return rc;
}
