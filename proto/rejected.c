#include "proto/rejected.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

enum { RANKS = 2 * (NOTE_REASONS - 1) * 8 };

static const char count_key[] = "#"; /* no UID has it: rejected_take */

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), REJECTED_TABLE);
}

/* --- one image --- */

bool
rejected_can_name(const char *uid)
{
	return uid_usable(uid, strlen(uid)) && uid[0] != count_key[0];
}

bool
rejected_for(const struct rejected *r, enum note_reason reason)
{
	return r->on[reason] && r->on[reason] >= r->off[reason];
}

enum note_reason
rejected_why(const struct rejected *r)
{
	static const enum note_reason strict[] = {NOTE_SAFETY, NOTE_WORKLIST, NOTE_RETENTION,
						  NOTE_QUALITY};
	size_t i;

	for (i = 0; i < sizeof(strict) / sizeof(strict[0]); i++)
		if (rejected_for(r, strict[i]))
			return strict[i];
	return NOTE_NONE;
}

static int
read_row(struct rejected *out, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;
	size_t i;

	if (v.n < RANKS || v.n - RANKS >= UID_SIZE)
		return err_set(e, ERR_CORRUPT, 0, "a row of `rejected` is torn");
	memset(out, 0, sizeof(*out));
	for (i = NOTE_QUALITY; i < NOTE_REASONS; i++, p += 16) {
		out->on[i] = buf_get_u64(p);
		out->off[i] = buf_get_u64(p + 8);
	}
	memcpy(out->study, p, v.n - RANKS);
	return 0;
}

int
rejected_get(struct store_tx *tx, const char *uid, struct rejected *out, struct err *e)
{
	struct kv_slice v;
	int rc;

	if (!rejected_can_name(uid)) /* nobody said anything of it, and the count is no row */
		return ERR_ABSENT;
	rc = kv_get(store_tx_kv(tx), table(tx), kv_slice(uid, strlen(uid)), &v, e);
	return rc ? rc : read_row(out, v, e);
}

int
rejected_hides(struct store_tx *tx, const char *uid, uint32_t *out, struct err *e)
{
	struct rejected r;
	enum note_reason why;
	int rc = uid[0] ? rejected_get(tx, uid, &r, e) : ERR_ABSENT;

	*out = 0;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	why = rejected_why(&r);
	*out = why == NOTE_NONE	     ? 0
	       : why == NOTE_QUALITY ? (uint32_t)VERSION_POOR
				     : (uint32_t)VERSION_REJECTED;
	return 0;
}

static int
put(struct store_tx *tx, const char *uid, const struct rejected *r, struct err *e)
{
	struct buf row = BUF_INIT;
	size_t i;
	int rc;

	for (i = NOTE_QUALITY; i < NOTE_REASONS; i++) {
		buf_put_u64(&row, r->on[i]);
		buf_put_u64(&row, r->off[i]);
	}
	buf_puts(&row, r->study);
	rc = buf_failed(&row) ? err_set(e, ERR_LOCAL, 0, "no memory for a rejection")
			      : kv_put(store_tx_kv(tx), table(tx), kv_slice(uid, strlen(uid)),
				       kv_slice(row.data, row.len), e);
	buf_fini(&row);
	return rc;
}

/* --- what is said --- */

int
rejected_count(struct store_tx *tx, uint64_t *out, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), kv_slice(count_key, 1), &v, e);

	*out = 0;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (v.n != 8)
		return err_set(e, ERR_CORRUPT, 0, "the count of `rejected` is torn");
	*out = buf_get_u64(v.p);
	return 0;
}

static int
count(struct store_tx *tx, int by, struct err *e)
{
	unsigned char row[8];
	uint64_t n = 0;
	int rc = by ? rejected_count(tx, &n, e) : 0;

	if (rc || !by)
		return rc;
	buf_set_u64(row, by > 0 ? n + 1 : n ? n - 1 : 0);
	return kv_put(store_tx_kv(tx), table(tx), kv_slice(count_key, 1),
		      kv_slice(row, sizeof(row)), e);
}

static int
take_one(struct store_tx *tx, const char *uid, const Sync__Rejection *m, struct err *e)
{
	struct rejected r;
	uint64_t *rank;
	bool was, is;
	int rc = rejected_get(tx, uid, &r, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	if (rc)
		memset(&r, 0, sizeof(r));
	was = rejected_why(&r) != NOTE_NONE;
	rank = m->on ? &r.on[m->reason] : &r.off[m->reason];
	if (*rank >= m->rank)
		return 0;
	*rank = m->rank;
	if (m->study[0])
		strcpy(r.study, m->study);
	is = rejected_why(&r) != NOTE_NONE;
	rc = put(tx, uid, &r, e);
	return rc ? rc : count(tx, is - was, e);
}

/* A UID that somebody makes up is no key of ours, and uses no ranks up. */
bool
rejected_is_meant(const Sync__Rejection *m)
{
	size_t i;

	if (!m || m->reason < NOTE_QUALITY || m->reason >= NOTE_REASONS || !m->rank ||
	    m->rank >= WITHDRAWN_RANK_MAX || !m->n_instances || m->n_instances > REJECTION_MAX ||
	    (m->study[0] && !uid_usable(m->study, strlen(m->study))))
		return false;
	for (i = 0; i < m->n_instances; i++)
		if (!rejected_can_name(m->instances[i]))
			return false;
	return true;
}

int
rejected_take(struct store_tx *tx, const Sync__Rejection *m, struct err *e)
{
	size_t i;
	int rc = 0;

	if (!rejected_is_meant(m))
		return err_set(e, ERR_PEER, 0, "a rejection of nothing");
	for (i = 0; !rc && i < m->n_instances; i++)
		rc = take_one(tx, m->instances[i], m, e);
	return rc;
}

int
rejected_rank(struct store_tx *tx, const Sync__Rejection *m, uint64_t *out, struct err *e)
{
	struct rejected r;
	size_t i, k;
	int rc = 0;

	*out = 0;
	for (i = 0; !rc && i < m->n_instances; i++) {
		rc = rejected_get(tx, m->instances[i], &r, e);
		for (k = NOTE_QUALITY; !rc && k < NOTE_REASONS; k++) {
			*out = r.on[k] > *out ? r.on[k] : *out;
			*out = r.off[k] > *out ? r.off[k] : *out;
		}
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	++*out;
	return rc;
}

int
rejected_each(struct store_tx *tx, const char *after,
	      int (*fn)(void *arg, const char *uid, const struct rejected *r, struct err *e),
	      void *arg, struct err *e)
{
	struct kv_cursor *c = NULL;
	struct kv_slice k, v;
	struct rejected r;
	char uid[UID_SIZE];
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (!rc)
		rc = kv_cursor_seek(c, kv_slice(after, strlen(after)), &k, &v, e);
	while (!rc) {
		bool here = k.n < UID_SIZE;

		if (!here)
			rc = err_set(e, ERR_CORRUPT, 0, "a row of `rejected` is torn");
		memcpy(uid, k.p, here ? k.n : 0);
		uid[here ? k.n : 0] = '\0';
		here = !rc && uid[0] != count_key[0] && strcmp(uid, after) != 0;
		if (here)
			rc = read_row(&r, v, e);
		if (!rc && here)
			rc = fn(arg, uid, &r, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

struct printing {
	struct store_tx *tx;
	struct buf *out;
	struct json *j; /* NULL: as text */
};

static int
is_any(void *arg, const struct version *v, struct err *e)
{
	(void)arg;
	(void)v;
	(void)e;
	return ERR_AGAIN;
}

static int
print_one(void *arg, const char *uid, const struct rejected *r, struct err *e)
{
	struct printing *p = arg;
	const char *why = note_reason_word(rejected_why(r));
	int rc;

	if (rejected_why(r) == NOTE_NONE)
		return 0;
	rc = store_versions_of(p->tx, uid, is_any, NULL, e);
	if (rc && rc != ERR_AGAIN)
		return rc;
	if (p->j) {
		json_open(p->j, NULL, '{');
		json_text(p->j, "uid", uid);
		json_text(p->j, "study", r->study);
		json_text(p->j, "reason", why);
		json_bool(p->j, "known", rc == ERR_AGAIN);
		json_close(p->j, '}');
	} else {
		buf_printf(p->out, "%s of study %s: %s%s\n", uid, r->study[0] ? r->study : "-", why,
			   rc == ERR_AGAIN ? "" : "; not known yet: hidden when it comes");
	}
	return 0;
}

int
rejected_print(struct store_tx *tx, bool json, struct buf *out, struct err *e)
{
	struct printing p = {tx, out, NULL};
	struct json j;
	int rc;

	json_init(&j, out);
	if (json) {
		p.j = &j;
		json_open(&j, NULL, '[');
	}
	rc = rejected_each(tx, "", print_one, &p, e);
	if (json) {
		json_close(&j, ']');
		buf_puts(out, "\n");
	}
	return rc;
}

int
rejection_id(const Sync__Rejection *m, char out[REJECTION_ID], struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	struct buf bytes = BUF_INIT;
	int rc = 0;

	message_pack(&bytes, &m->base);
	if (buf_failed(&bytes))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a rejection");
	else
		sha256_of(bytes.data, bytes.len, digest);
	buf_fini(&bytes);
	if (!rc)
		hex_of(digest, SHA256_SIZE / 2, out);
	return rc;
}
