#include "central/returns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/record.h"
#include "central/withdraw.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/uid.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sync.pb-c.h"

enum { HEAD = 16, SITE_MAX = SITE_SIZE - 1 };

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), RETURNED_TABLE);
}

static bool
is_listed(struct store_tx *tx, const unsigned char digest[SHA256_SIZE])
{
	return kv_get(store_tx_kv(tx), table(tx), kv_slice(digest, SHA256_SIZE), NULL, NULL) == 0;
}

static int
find(struct store_tx *tx, const struct pack *p, bool once, Sync__LogDecision *m, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < pack_count(p); i++) {
		const unsigned char *digest = pack_member(p, i)->digest;
		bool withdrawn;

		rc = withdraw_says_digest(tx, digest, &withdrawn, e);
		if (!rc && withdrawn && !(once && is_listed(tx, digest)))
			m->digests[m->n_digests++] = message_bytes(digest, SHA256_SIZE);
	}
	return rc;
}

int
returns_note(struct central *c, const struct pack *p, bool once, struct err *e)
{
	Sync__LogDecision m = SYNC__LOG_DECISION__INIT;
	struct store_tx *tx;
	int rc;

	m.kind = SYNC__DECISION_KIND__DECISION_RETURNED;
	m.site = message_text(pack_site(p));
	m.digests = calloc(pack_count(p) + 1, sizeof(*m.digests));
	rc = m.digests ? store_begin_read(&tx, c->store, e)
		       : err_set(e, ERR_LOCAL, 0, "no memory for a list");
	if (!rc) {
		rc = find(tx, p, once, &m, e);
		store_end_read(tx);
	}
	if (!rc && m.n_digests)
		rc = record_decide(c, &m, e);
	free(m.digests);
	return rc;
}

static int
note_one(struct store_tx *tx, const ProtobufCBinaryData *digest, const Sync__LogDecision *m,
	 struct err *e)
{
	unsigned char row[HEAD + SITE_MAX];
	size_t n = strnlen(m->site, SITE_MAX);
	struct kv_slice v;
	uint64_t times = 0;
	int rc = kv_get(store_tx_kv(tx), table(tx), kv_slice(digest->data, digest->len), &v, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	if (!rc && v.n >= HEAD)
		times = buf_get_u64(v.p);
	buf_set_u64(row, times + 1);
	buf_set_u64(row + 8, (uint64_t)m->wall_ms);
	memcpy(row + HEAD, m->site, n);
	return kv_put(store_tx_kv(tx), table(tx), kv_slice(digest->data, digest->len),
		      kv_slice(row, HEAD + n), e);
}

int
returns_apply(struct store_tx *tx, const Sync__LogDecision *m, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < m->n_digests; i++)
		if (m->digests[i].len == SHA256_SIZE)
			rc = note_one(tx, &m->digests[i], m, e);
	return rc;
}

/* --- the list --- */

struct returned {
	struct version v;
	uint64_t times;
	char last[CLOCK_RFC3339_SIZE], site[SITE_SIZE];
};

static int
read_row(struct returned *r, struct store_tx *tx, struct kv_slice k, struct kv_slice v,
	 struct err *e)
{
	size_t n = v.n < HEAD ? 0 : v.n - HEAD;
	uint64_t oid;
	int rc;

	memset(r, 0, sizeof(*r));
	if (k.n != SHA256_SIZE || v.n < HEAD || n > SITE_MAX)
		return err_set(e, ERR_CORRUPT, 0, "a row of `returned` is torn");
	r->times = buf_get_u64(v.p);
	clock_rfc3339((int64_t)buf_get_u64((const unsigned char *)v.p + 8), r->last);
	memcpy(r->site, (const unsigned char *)v.p + HEAD, n);
	rc = store_by_digest(tx, k.p, &oid, e);
	if (!rc)
		rc = store_version(tx, oid, &r->v, e);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
each(struct central *c, void (*fn)(void *arg, const struct returned *r), void *arg, struct err *e)
{
	struct kv_cursor *cursor = NULL;
	struct kv_slice k, v;
	struct returned r;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = kv_cursor_open(&cursor, store_tx_kv(tx), table(tx), e);
	if (!rc)
		rc = kv_cursor_seek(cursor, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		rc = read_row(&r, tx, k, v, e);
		if (!rc)
			fn(arg, &r);
		if (!rc)
			rc = kv_cursor_next(cursor, &k, &v, e);
	}
	kv_cursor_close(cursor);
	store_end_read(tx);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
returns_count(struct central *c, uint64_t *n, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	*n = 0;
	if (rc)
		return rc;
	rc = kv_count(store_tx_kv(tx), table(tx), n, e);
	store_end_read(tx);
	return rc;
}

static void
text_one(void *arg, const struct returned *r)
{
	buf_printf(arg, "withdrawn: %s of study %s came again from site %s, %llu times, last %s\n",
		   uid_shown(r->v.sop_instance), uid_shown(r->v.study), r->site,
		   (unsigned long long)r->times, r->last);
}

int
returns_text(struct central *c, struct buf *out, struct err *e)
{
	return each(c, text_one, out, e);
}

static void
json_one(void *arg, const struct returned *r)
{
	struct json *j = arg;

	json_open(j, NULL, '{');
	json_text(j, "sop_instance", r->v.sop_instance);
	json_text(j, "study", r->v.study);
	json_text(j, "site", r->site);
	json_count(j, "times", r->times);
	json_text(j, "last", r->last);
	json_close(j, '}');
}

int
returns_json(struct central *c, struct json *j, const char *name, struct err *e)
{
	int rc;

	json_open(j, name, '[');
	rc = each(c, json_one, j, e);
	json_close(j, ']');
	return rc;
}
