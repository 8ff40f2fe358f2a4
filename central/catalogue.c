#include "central/catalogue.h"

#include <stdio.h>
#include <string.h>

#include "central/dispatch.h"
#include "central/join.h"
#include "central/decisions.h"
#include "central/committed.h"
#include "central/figures.h"
#include "central/heard.h"
#include "central/returns.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dimse/commitments.h"
#include "common/dimse/pledges.h"
#include "common/kv/kv.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/rejected.h"
#include "proto/withdrawn.h"

enum { CLAIM_KEY = SHA256_SIZE + ID128_SIZE + 8, SEQ_KEY = ID128_SIZE + 8 };

const char *const *
catalogue_tables(unsigned *n)
{
	static const char *const tables[] = {
		"state",	  "site",	   "announced",	      "claim",
		"holdings",	  "pack",	   "upload",	      "decision",
		"member",	  RETURNED_TABLE,  DISPATCH_TABLE,    DECIDED_AT_TABLE,
		DECIDED_ID_TABLE, FIGURE_TABLE,	   EXPOSED_TABLE,     OWING_TABLE,
		WITHDRAWN_TABLE,  HEARD_TABLE,	   ORDER_DONE_TABLE,  JOIN_TRIES_TABLE,
		STANDING_TABLE,	  COMMITTED_TABLE, COMMITMENTS_TABLE, REJECTED_TABLE,
		REJECTIONS_TABLE, PLEDGES_TABLE};

	*n = sizeof(tables) / sizeof(tables[0]);
	return tables;
}

static unsigned
table(struct store_tx *tx, const char *name)
{
	return store_table(store_tx_store(tx), name);
}

static int
put(struct store_tx *tx, const char *name, const void *key, size_t n, const struct buf *value,
    struct err *e)
{
	if (buf_failed(value))
		return err_set(e, ERR_LOCAL, 0, "no memory for a catalogue row");
	return kv_put(store_tx_kv(tx), table(tx, name), kv_slice(key, n),
		      kv_slice(value->data, value->len), e);
}

static int
get(struct store_tx *tx, const char *name, const void *key, size_t n, struct kv_slice *v,
    struct err *e)
{
	return kv_get(store_tx_kv(tx), table(tx, name), kv_slice(key, n), v, e);
}

static struct kv_slice
seq_key(unsigned char key[SEQ_KEY], const struct id128 *incarnation, uint64_t seq)
{
	memcpy(key, incarnation->b, ID128_SIZE);
	buf_set_be64(key + ID128_SIZE, seq);
	return kv_slice(key, SEQ_KEY);
}

/* --- sites --- */

static int
read_site(struct site_row *out, struct kv_slice v, struct err *e)
{
	Sync__SiteRow *m = message_read(&sync__site_row__descriptor, v.p, v.n, NULL);

	memset(out, 0, sizeof(*out));
	if (!m || !message_id(&out->incarnation, &m->incarnation)) {
		message_free(m);
		return err_set(e, ERR_CORRUPT, 0, "a site row of the catalogue is torn");
	}
	(void)snprintf(out->site, sizeof(out->site), "%s", m->site);
	out->closed = m->closed;
	out->turning = m->turning;
	out->head.seq = m->head;
	(void)message_digest(out->head.hash, &m->hash);
	out->receipts = m->receipts;
	out->opened_ms = m->opened_wall_ms;
	out->contact_ms = m->contact_wall_ms;
	out->announced_ms = m->announced_wall_ms;
	out->reopened_ms = m->reopened_wall_ms;
	(void)snprintf(out->titles, sizeof(out->titles), "%s", m->titles);
	(void)message_id(&out->token, &m->token);
	(void)message_id(&out->said, &m->said);
	(void)message_id(&out->contact, &m->contact);
	(void)message_id(&out->previous, &m->previous);
	out->contacts = m->contacts;
	out->common = m->common;
	out->knocked = m->knocked;
	out->drains = m->drains;
	out->foreign = m->foreign;
	(void)snprintf(out->address, sizeof(out->address), "%s", m->address);
	out->version = m->version;
	(void)snprintf(out->software, sizeof(out->software), "%s", m->software);
	if (m->state.len <= sizeof(out->state)) {
		out->state_n = m->state.len;
		memcpy(out->state, m->state.len ? m->state.data : out->state, m->state.len);
	}
	message_free(m);
	return 0;
}

int
site_get(struct store_tx *tx, const struct id128 *incarnation, struct site_row *out, struct err *e)
{
	struct kv_slice v;
	int rc = get(tx, "site", incarnation->b, ID128_SIZE, &v, e);

	return rc ? rc : read_site(out, v, e);
}

static int
write_site(struct store_tx *tx, const struct site_row *row, struct err *e)
{
	Sync__SiteRow m = SYNC__SITE_ROW__INIT;
	struct buf b = BUF_INIT;
	int rc;

	m.site = message_text(row->site);
	m.incarnation = message_bytes(row->incarnation.b, ID128_SIZE);
	m.closed = row->closed;
	m.turning = row->turning;
	m.head = row->head.seq;
	m.hash = message_bytes(row->head.hash, SHA256_SIZE);
	m.receipts = row->receipts;
	m.opened_wall_ms = row->opened_ms;
	m.contact_wall_ms = row->contact_ms;
	m.announced_wall_ms = row->announced_ms;
	m.reopened_wall_ms = row->reopened_ms;
	m.titles = message_text(row->titles);
	m.token = message_bytes(row->token.b, ID128_SIZE);
	m.said = message_bytes(row->said.b, ID128_SIZE);
	m.contact = message_bytes(row->contact.b, ID128_SIZE);
	m.previous = message_bytes(row->previous.b, ID128_SIZE);
	m.contacts = row->contacts;
	m.common = row->common;
	m.knocked = row->knocked;
	m.drains = row->drains;
	m.foreign = row->foreign;
	m.address = message_text(row->address);
	m.version = row->version;
	m.software = message_text(row->software);
	m.state = message_bytes(row->state, row->state_n);
	message_pack(&b, &m.base);
	rc = put(tx, "site", row->incarnation.b, ID128_SIZE, &b, e);
	buf_fini(&b);
	return rc;
}

bool
site_counts_closed(const struct site_row *row, uint64_t seq)
{
	return row->turning && seq >= row->turning ? !row->closed : row->closed;
}

/* R18: whoever holds 200,000 images that are nowhere else, and is closed, or opened, holds nobody
 * up: the figures of what it says follow in pieces, each in a transaction, from a seq that its row
 * has. */
static int
turn_piece(struct store_tx *tx, struct site_row *row, struct err *e)
{
	uint64_t from = row->turning, last = row->head.seq, to;
	int rc = figures_part(tx, &row->incarnation, from, last, SITE_TURN, &to, e);

	if (!rc)
		rc = figures_leave_all(tx, &row->incarnation, from, to, e);
	row->turning = to < last ? to + 1 : 0;
	if (!rc)
		rc = write_site(tx, row, e);
	return rc ? rc : figures_enter_all(tx, &row->incarnation, from, to, e);
}

/* Nothing is left of a turn before: it calls again, say, while it is being closed. */
static int
begin_turn(struct store_tx *tx, struct site_row *was, struct site_row *now, struct err *e)
{
	int rc = 0;

	while (!rc && was->turning)
		rc = turn_piece(tx, was, e);
	now->turning = 1;
	if (!rc)
		rc = write_site(tx, now, e);
	return rc ? rc : turn_piece(tx, now, e);
}

/* Who branches off has said what the one before said. */
static int
put_new(struct store_tx *tx, const struct site_row *row, struct err *e)
{
	int rc;

	if (!row->common)
		return write_site(tx, row, e);
	rc = figures_leave_all(tx, &row->previous, 1, row->common, e);
	if (!rc)
		rc = write_site(tx, row, e);
	if (!rc)
		rc = figures_branch(tx, &row->previous, &row->incarnation, row->common, e);
	return rc ? rc : figures_enter_all(tx, &row->previous, 1, row->common, e);
}

int
site_put(struct store_tx *tx, const struct site_row *row, struct err *e)
{
	struct site_row was, now = *row;
	int rc = site_get(tx, &row->incarnation, &was, e);

	now.turning = rc ? 0 : was.turning;
	if (rc)
		return rc == ERR_ABSENT ? put_new(tx, &now, e) : rc;
	return was.closed == now.closed ? write_site(tx, &now, e) : begin_turn(tx, &was, &now, e);
}

static int
note_turning(void *arg, const struct site_row *row, struct err *e)
{
	(void)e;
	if (!row->turning)
		return 0;
	*(struct site_row *)arg = *row;
	return ERR_AGAIN;
}

int
site_turning(struct store_tx *tx, bool *yes, struct err *e)
{
	struct site_row row;
	int rc = site_each(tx, note_turning, &row, e);

	*yes = rc == ERR_AGAIN;
	return *yes ? 0 : rc;
}

int
site_turn(struct store_tx *tx, bool *more, struct err *e)
{
	struct site_row row;
	int rc = site_each(tx, note_turning, &row, e);

	*more = rc == ERR_AGAIN;
	return *more ? turn_piece(tx, &row, e) : rc;
}

/* Each hello asks: a row of another site is passed over without being read whole. */
static bool
may_be_of(struct kv_slice row, const char *site)
{
	return memmem(row.p, row.n, site, strlen(site)) != NULL;
}

int
site_each_of(struct store_tx *tx, const char *site,
	     int (*fn)(void *arg, const struct site_row *row, struct err *e), void *arg,
	     struct err *e)
{
	struct site_row row;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, "site"), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	for (; !rc; rc = rc ? rc : kv_cursor_next(c, &k, &v, e)) {
		if (site && !may_be_of(v, site))
			continue;
		rc = read_site(&row, v, e);
		if (!rc && (!site || strcmp(row.site, site) == 0))
			rc = fn(arg, &row, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
site_each(struct store_tx *tx, int (*fn)(void *arg, const struct site_row *row, struct err *e),
	  void *arg, struct err *e)
{
	return site_each_of(tx, NULL, fn, arg, e);
}

/* --- what was announced --- */

/* R8: whose row tells of this seq: the incarnation's own, or the one that it branched off. *above:
 * the seqs from there on are of another one again. */
static int
owner_of(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq, struct id128 *out,
	 uint64_t *above, struct err *e)
{
	struct site_row row;
	int rc;

	*out = *incarnation;
	*above = UINT64_MAX;
	/* Each branched off one that was there before: it ends. */
	while ((rc = site_get(tx, out, &row, e)) == 0 && seq <= row.common) {
		*out = row.previous;
		*above = row.common + 1 < *above ? row.common + 1 : *above;
	}
	return rc == ERR_ABSENT ? 0 : rc;
}

int
announced_get(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq,
	      const void **entry, size_t *n, struct err *e)
{
	unsigned char key[SEQ_KEY];
	struct id128 owner;
	struct kv_slice v;
	uint64_t above;
	int rc;

	(void)seq_key(key, incarnation, seq);
	rc = get(tx, "announced", key, sizeof(key), &v, e);
	if (rc == ERR_ABSENT && !owner_of(tx, incarnation, seq, &owner, &above, NULL)) {
		(void)seq_key(key, &owner, seq);
		rc = get(tx, "announced", key, sizeof(key), &v, e);
	}
	if (rc)
		return rc;
	if (v.n < SHA256_SIZE)
		return err_set(e, ERR_CORRUPT, 0, "an announced row of the catalogue is torn");
	*entry = (const unsigned char *)v.p + SHA256_SIZE;
	*n = v.n - SHA256_SIZE;
	return 0;
}

int
announced_hash(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq,
	       unsigned char out[SHA256_SIZE], struct err *e)
{
	const void *entry;
	size_t n;
	int rc = 0;

	memset(out, 0, SHA256_SIZE);
	if (seq)
		rc = announced_get(tx, incarnation, seq, &entry, &n, e);
	if (!rc && seq)
		memcpy(out, (const unsigned char *)entry - SHA256_SIZE, SHA256_SIZE);
	return rc;
}

/* --- claims --- */

static void
claim_key(unsigned char key[CLAIM_KEY], const unsigned char digest[SHA256_SIZE],
	  const struct id128 *incarnation, uint64_t seq)
{
	memcpy(key, digest, SHA256_SIZE);
	(void)seq_key(key + SHA256_SIZE, incarnation, seq);
}

int
claim_put(struct store_tx *tx, const unsigned char digest[SHA256_SIZE],
	  const struct id128 *incarnation, uint64_t seq, bool has, struct err *e)
{
	unsigned char key[CLAIM_KEY], value = has;
	int rc = figures_leave(tx, digest, e);

	claim_key(key, digest, incarnation, seq);
	if (!rc)
		rc = kv_put(store_tx_kv(tx), table(tx, "claim"), kv_slice(key, sizeof(key)),
			    kv_slice(&value, 1), e);
	return rc ? rc : figures_enter(tx, digest, e);
}

int
claim_get(struct store_tx *tx, const unsigned char digest[SHA256_SIZE],
	  const struct id128 *incarnation, uint64_t seq, bool *has, struct err *e)
{
	unsigned char key[CLAIM_KEY];
	struct kv_slice v;
	int rc;

	claim_key(key, digest, incarnation, seq);
	rc = get(tx, "claim", key, sizeof(key), &v, e);
	if (!rc)
		*has = v.n == 1 && *(const unsigned char *)v.p != 0;
	return rc;
}

int
claim_each(struct store_tx *tx, const unsigned char *digest,
	   int (*fn)(void *arg, const struct claim *c, struct err *e), void *arg, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	struct claim claim;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, "claim"), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(digest, digest ? SHA256_SIZE : 0), &k, &v, e);
	while (!rc) {
		if (k.n != CLAIM_KEY || v.n != 1) {
			rc = err_set(e, ERR_CORRUPT, 0, "a claim of the catalogue is torn");
			break;
		}
		if (digest && memcmp(k.p, digest, SHA256_SIZE) != 0)
			break;
		claim.digest = k.p;
		memcpy(claim.incarnation.b, claim.digest + SHA256_SIZE, ID128_SIZE);
		claim.seq = buf_get_be64(claim.digest + SHA256_SIZE + ID128_SIZE);
		claim.has = *(const unsigned char *)v.p != 0;
		rc = fn(arg, &claim, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
claim_next(struct store_tx *tx, const unsigned char from[SHA256_SIZE],
	   unsigned char out[SHA256_SIZE], struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, "claim"), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(from, SHA256_SIZE), &k, &v, e);
	if (!rc && k.n != CLAIM_KEY)
		rc = err_set(e, ERR_CORRUPT, 0, "a claim of the catalogue is torn");
	if (!rc)
		memcpy(out, k.p, SHA256_SIZE);
	kv_cursor_close(c);
	return rc;
}

/* --- holdings (R19) --- */

int
holdings_set(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq, bool held,
	     struct err *e)
{
	unsigned char key[SEQ_KEY], page[HOLDINGS_PAGE / 8];
	unsigned bit = (unsigned)(seq % HOLDINGS_PAGE);
	struct kv_slice v;
	int rc;

	(void)seq_key(key, incarnation, seq / HOLDINGS_PAGE);
	rc = get(tx, "holdings", key, sizeof(key), &v, e);
	if (rc && rc != ERR_ABSENT)
		return rc;
	if (!rc && v.n != sizeof(page))
		return err_set(e, ERR_CORRUPT, 0, "a holdings row of the catalogue is torn");
	if (rc)
		memset(page, 0, sizeof(page));
	else
		memcpy(page, v.p, sizeof(page));
	if (!!(page[bit / 8] & 1u << bit % 8) == held && !rc)
		return 0;
	page[bit / 8] =
		(unsigned char)((page[bit / 8] & ~(1u << bit % 8)) | (held ? 1u << bit % 8 : 0u));
	return kv_put(store_tx_kv(tx), table(tx, "holdings"), kv_slice(key, sizeof(key)),
		      kv_slice(page, sizeof(page)), e);
}

struct setting {
	struct store_tx *tx;
	bool held;
};

static int
set_one(void *arg, const struct claim *c, struct err *e)
{
	struct setting *s = arg;

	/* "Has it no more" is durable as a word; only "has it" speaks of bytes. */
	return c->has ? holdings_set(s->tx, &c->incarnation, c->seq, s->held, e) : 0;
}

int
holdings_set_all(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], bool held,
		 struct err *e)
{
	struct setting s = {tx, held};

	return claim_each(tx, digest, set_one, &s, e);
}

/* Of one incarnation's own rows; bit `at` of to is seq first. */
static int
read_bits(struct store_tx *tx, const struct id128 *incarnation, uint64_t first, uint64_t count,
	  unsigned char *to, uint64_t at, struct err *e)
{
	unsigned char key[SEQ_KEY];
	struct kv_slice v = {NULL, 0};
	uint64_t i, page = UINT64_MAX;
	int rc = 0;

	for (i = 0; i < count; i++, at++) {
		unsigned bit = (unsigned)((first + i) % HOLDINGS_PAGE);

		if ((first + i) / HOLDINGS_PAGE != page) {
			page = (first + i) / HOLDINGS_PAGE;
			(void)seq_key(key, incarnation, page);
			rc = get(tx, "holdings", key, sizeof(key), &v, e);
			if (rc == ERR_ABSENT)
				v.n = 0;
			else if (rc)
				return rc;
		}
		if (v.n == HOLDINGS_PAGE / 8 &&
		    ((const unsigned char *)v.p)[bit / 8] & 1u << bit % 8)
			to[at / 8] = (unsigned char)(to[at / 8] | 1u << at % 8);
	}
	return 0;
}

int
holdings_read(struct store_tx *tx, const struct id128 *incarnation, uint64_t first, uint64_t count,
	      struct buf *out, struct err *e)
{
	unsigned char *to = buf_reserve(out, (size_t)(count + 7) / 8);
	uint64_t done, n, above;
	struct id128 owner;
	int rc = 0;

	if (!to)
		return err_set(e, ERR_LOCAL, 0, "no memory for holdings");
	memset(to, 0, (size_t)(count + 7) / 8);
	for (done = 0; !rc && done < count; done += n) {
		rc = owner_of(tx, incarnation, first + done, &owner, &above, e);
		n = count - done < above - first - done ? count - done : above - first - done;
		if (!rc)
			rc = read_bits(tx, &owner, first + done, n, to, done, e);
	}
	out->len += rc ? 0 : (size_t)(count + 7) / 8;
	return rc;
}

/* --- packs and uploads --- */

static int
read_pack(struct pack_row *out, const void *id, struct kv_slice v, struct err *e)
{
	Sync__PackRow *m = message_read(&sync__pack_row__descriptor, v.p, v.n, NULL);

	memset(out, 0, sizeof(*out));
	if (!m)
		return err_set(e, ERR_CORRUPT, 0, "a pack row of the catalogue is torn");
	memcpy(out->id, id, SHA256_SIZE);
	(void)snprintf(out->place, sizeof(out->place), "%s", m->place);
	(void)snprintf(out->site, sizeof(out->site), "%s", m->site);
	out->size = m->size;
	out->members = m->members;
	out->verified_ms = m->verified_wall_ms;
	message_free(m);
	return 0;
}

int
pack_row_get(struct store_tx *tx, const unsigned char id[SHA256_SIZE], struct pack_row *out,
	     struct err *e)
{
	struct kv_slice v;
	int rc = get(tx, "pack", id, SHA256_SIZE, &v, e);

	return rc ? rc : read_pack(out, id, v, e);
}

int
pack_row_put(struct store_tx *tx, const struct pack_row *row, struct err *e)
{
	Sync__PackRow m = SYNC__PACK_ROW__INIT;
	struct buf b = BUF_INIT;
	int rc;

	m.place = message_text(row->place);
	m.size = row->size;
	m.members = row->members;
	m.site = message_text(row->site);
	m.verified_wall_ms = row->verified_ms;
	message_pack(&b, &m.base);
	rc = put(tx, "pack", row->id, SHA256_SIZE, &b, e);
	buf_fini(&b);
	return rc;
}

int
pack_row_del(struct store_tx *tx, const unsigned char id[SHA256_SIZE], struct err *e)
{
	return kv_del(store_tx_kv(tx), table(tx, "pack"), kv_slice(id, SHA256_SIZE), e);
}

int
pack_row_next(struct store_tx *tx, const unsigned char *after, struct pack_row *out, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, "pack"), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(after, after ? SHA256_SIZE : 0), &k, &v, e);
	if (!rc && after && k.n == SHA256_SIZE && memcmp(k.p, after, SHA256_SIZE) == 0)
		rc = kv_cursor_next(c, &k, &v, e);
	if (!rc)
		rc = k.n == SHA256_SIZE ? read_pack(out, k.p, v, e)
					: err_set(e, ERR_CORRUPT, 0, "a pack row is torn");
	kv_cursor_close(c);
	return rc;
}

int
pack_row_count(struct store_tx *tx, uint64_t *out, struct err *e)
{
	return kv_count(store_tx_kv(tx), table(tx, "pack"), out, e);
}

int
upload_get(struct store_tx *tx, const unsigned char id[SHA256_SIZE], uint64_t *offset,
	   struct err *e)
{
	struct kv_slice v;
	int rc = get(tx, "upload", id, SHA256_SIZE, &v, e);

	if (!rc)
		*offset = v.n == 8 ? buf_get_u64(v.p) : 0;
	return rc;
}

int
upload_put(struct store_tx *tx, const unsigned char id[SHA256_SIZE], uint64_t offset, struct err *e)
{
	unsigned char value[8];

	buf_set_u64(value, offset);
	return kv_put(store_tx_kv(tx), table(tx, "upload"), kv_slice(id, SHA256_SIZE),
		      kv_slice(value, sizeof(value)), e);
}

int
upload_del(struct store_tx *tx, const unsigned char id[SHA256_SIZE], struct err *e)
{
	int rc = kv_del(store_tx_kv(tx), table(tx, "upload"), kv_slice(id, SHA256_SIZE), e);

	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- decisions (R15) --- */

enum { WITHDRAWN = 1 };

int
decision_withdrawn(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], bool *out,
		   struct err *e)
{
	struct kv_slice v;
	int rc = get(tx, "decision", digest, SHA256_SIZE, &v, e);

	*out = !rc && v.n == 1 && *(const unsigned char *)v.p == WITHDRAWN;
	return rc == ERR_ABSENT ? 0 : rc;
}

int
decision_count(struct store_tx *tx, uint64_t *out, struct err *e)
{
	uint64_t n;
	int rc = kv_count(store_tx_kv(tx), table(tx, "decision"), out, e);

	if (!rc)
		rc = kv_count(store_tx_kv(tx), table(tx, WITHDRAWN_TABLE), &n, e);
	*out += rc ? 0 : n;
	return rc;
}

int
decision_withdraw(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e)
{
	unsigned char value = WITHDRAWN;

	return kv_put(store_tx_kv(tx), table(tx, "decision"), kv_slice(digest, SHA256_SIZE),
		      kv_slice(&value, 1), e);
}

int
decision_lift(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e)
{
	int rc = kv_del(store_tx_kv(tx), table(tx, "decision"), kv_slice(digest, SHA256_SIZE), e);

	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- state --- */

int
state_number(struct store_tx *tx, const char *name, uint64_t *out, struct err *e)
{
	struct kv_slice v;
	int rc = get(tx, "state", name, strlen(name), &v, e);

	*out = !rc && v.n == 8 ? buf_get_u64(v.p) : 0;
	return rc == ERR_ABSENT ? 0 : rc;
}

int
state_set_number(struct store_tx *tx, const char *name, uint64_t n, struct err *e)
{
	unsigned char value[8];

	buf_set_u64(value, n);
	return kv_put(store_tx_kv(tx), table(tx, "state"), kv_slice(name, strlen(name)),
		      kv_slice(value, sizeof(value)), e);
}

int
state_id(struct store_tx *tx, const char *name, struct id128 *out, struct err *e)
{
	struct kv_slice v;
	int rc = get(tx, "state", name, strlen(name), &v, e);

	memset(out, 0, sizeof(*out));
	if (!rc && v.n == sizeof(out->b))
		memcpy(out->b, v.p, sizeof(out->b));
	return rc == ERR_ABSENT ? 0 : rc;
}

int
state_set_id(struct store_tx *tx, const char *name, const struct id128 *id, struct err *e)
{
	return kv_put(store_tx_kv(tx), table(tx, "state"), kv_slice(name, strlen(name)),
		      kv_slice(id->b, sizeof(id->b)), e);
}
