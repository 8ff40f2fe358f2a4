#include "common/dimse/pledges.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/dicom/parameters.h"
#include "common/kv/kv.h"
#include "common/store/store.h"

enum {
	REQUEST = 'r',
	INSTANCE = 'q',
	TRANSACTION = 't',
	STANDING = 'i',
	COUNTS = 'c',
	NUMBERS = 'n',
	KEY_MAX = 3 + COMMITMENT_PEER_SIZE + UID_SIZE,
	REQUEST_KEY = 9,
	FIXED = 4 * 4 + 2 * 8 + 2,
	STANDING_FIXED = 1 + 1 + 2 + 8 + SHA256_SIZE,
	SEEN = 1,
	SENT = 2,
	RENEWED = 4
};

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), PLEDGES_TABLE);
}

static struct kv_slice
number_key(unsigned char key[KEY_MAX], char kind, uint64_t number)
{
	key[0] = (unsigned char)kind;
	buf_set_be64(key + 1, number);
	return kv_slice(key, REQUEST_KEY);
}

static struct kv_slice
instance_key(unsigned char key[KEY_MAX], uint64_t number, uint32_t index)
{
	(void)number_key(key, INSTANCE, number);
	buf_set_be32(key + REQUEST_KEY, index);
	return kv_slice(key, REQUEST_KEY + 4);
}

static struct kv_slice
text_key(unsigned char key[KEY_MAX], char kind, const char *text)
{
	size_t n = strlen(text);

	key[0] = (unsigned char)kind;
	memcpy(key + 1, text, n);
	return kv_slice(key, 1 + n);
}

static struct kv_slice
standing_key(unsigned char key[KEY_MAX], const char *archive, const char *uid)
{
	size_t at = text_key(key, STANDING, archive).n, n = strlen(uid);

	key[at++] = 0;
	memcpy(key + at, uid, n);
	return kv_slice(key, at + n);
}

static int
put(struct store_tx *tx, struct kv_slice key, struct buf *value, struct err *e)
{
	int rc = buf_failed(value) ? err_set(e, ERR_LOCAL, 0, "no memory for a pledge")
				   : kv_put(store_tx_kv(tx), table(tx), key,
					    kv_slice(value->data, value->len), e);

	buf_fini(value);
	return rc;
}

static int
del(struct store_tx *tx, struct kv_slice key, struct err *e)
{
	int rc = kv_del(store_tx_kv(tx), table(tx), key, e);

	return rc == ERR_ABSENT ? 0 : rc;
}

static int
torn(struct err *e)
{
	return err_set(e, ERR_CORRUPT, 0, "a row of what archives were asked is torn");
}

static void
put_text(struct buf *b, const char *s)
{
	size_t n = strlen(s);

	buf_put_u8(b, (unsigned)n);
	buf_put(b, s, n);
}

static bool
take_text(const unsigned char **p, size_t *n, char *to, size_t size)
{
	size_t len = *n ? (*p)[0] : size;

	if (len >= size || len > *n - 1)
		return false;
	memcpy(to, *p + 1, len);
	to[len] = '\0';
	*p += 1 + len;
	*n -= 1 + len;
	return true;
}

/* --- a request --- */

int
pledges_put(struct store_tx *tx, const struct pledge_row *row, struct err *e)
{
	unsigned char key[KEY_MAX];
	struct buf b = BUF_INIT;

	buf_put_u32(&b, row->n);
	buf_put_u32(&b, row->tries);
	buf_put_u32(&b, row->status);
	buf_put_u32(&b, row->half_s);
	buf_put_u64(&b, (uint64_t)row->next_ms);
	buf_put_u64(&b, (uint64_t)row->ends_ms);
	buf_put_u8(&b, row->phase);
	buf_put_u8(&b, row->out);
	put_text(&b, row->archive);
	put_text(&b, row->calling);
	put_text(&b, row->transaction);
	put_text(&b, row->why);
	return put(tx, number_key(key, REQUEST, row->number), &b, e);
}

static int
read_request(struct pledge_row *out, uint64_t number, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;
	size_t n = v.n < FIXED ? 0 : v.n - FIXED;

	memset(out, 0, sizeof(*out));
	if (!n || p[32] < PLEDGE_SENDS || p[32] > PLEDGE_SETTLED)
		return torn(e);
	out->number = number;
	out->n = buf_get_u32(p);
	out->tries = buf_get_u32(p + 4);
	out->status = buf_get_u32(p + 8);
	out->half_s = buf_get_u32(p + 12);
	out->next_ms = (int64_t)buf_get_u64(p + 16);
	out->ends_ms = (int64_t)buf_get_u64(p + 24);
	out->phase = (enum pledge_phase)p[32];
	out->out = p[33] != 0;
	p += FIXED;
	return take_text(&p, &n, out->archive, sizeof(out->archive)) &&
			       take_text(&p, &n, out->calling, sizeof(out->calling)) &&
			       take_text(&p, &n, out->transaction, sizeof(out->transaction)) &&
			       take_text(&p, &n, out->why, sizeof(out->why))
		       ? 0
		       : torn(e);
}

int
pledges_get(struct store_tx *tx, uint64_t number, struct pledge_row *out, struct err *e)
{
	unsigned char key[KEY_MAX];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), number_key(key, REQUEST, number), &v, e);

	return rc ? rc : read_request(out, number, v, e);
}

int
pledges_of_transaction(struct store_tx *tx, const char *transaction, struct pledge_row *out,
		       struct err *e)
{
	unsigned char key[KEY_MAX];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), text_key(key, TRANSACTION, transaction), &v, e);

	if (!rc && v.n != 8)
		return torn(e);
	return rc ? rc : pledges_get(tx, buf_get_be64(v.p), out, e);
}

int
pledges_each(struct store_tx *tx, uint64_t from,
	     int (*fn)(void *arg, const struct pledge_row *row, struct err *e), void *arg,
	     struct err *e)
{
	unsigned char key[KEY_MAX];
	struct pledge_row row;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, number_key(key, REQUEST, from), &k, &v, e);
	while (!rc && k.n == REQUEST_KEY && *(const unsigned char *)k.p == REQUEST) {
		rc = read_request(&row, buf_get_be64((const unsigned char *)k.p + 1), v, e);
		if (!rc)
			rc = fn(arg, &row, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
pledges_new_transaction(struct store_tx *tx, struct pledge_row *row, struct err *e)
{
	unsigned char key[KEY_MAX];
	struct buf b = BUF_INIT;
	int rc = row->transaction[0] ? del(tx, text_key(key, TRANSACTION, row->transaction), e) : 0;

	if (rc)
		return rc;
	uid_make(row->transaction, IMPLEMENTATION_CLASS ".3", rng_real());
	row->out = false;
	buf_put_be64(&b, row->number);
	return put(tx, text_key(key, TRANSACTION, row->transaction), &b, e);
}

/* --- one of its instances --- */

static int
read_instance(struct store_tx *tx, uint64_t number, uint32_t index, char uid[UID_SIZE],
	      struct err *e)
{
	unsigned char key[KEY_MAX];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), instance_key(key, number, index), &v, e);

	if (rc)
		return rc;
	if (!v.n || v.n >= UID_SIZE)
		return torn(e);
	memcpy(uid, v.p, v.n);
	uid[v.n] = '\0';
	return 0;
}

int
pledges_open(struct store_tx *tx, const struct pledge_row *row,
	     int (*fn)(void *arg, const struct pledge *p, struct err *e), void *arg, struct err *e)
{
	char uid[UID_SIZE];
	struct pledge p;
	uint32_t i;
	int rc = 0;

	for (i = 0; !rc && i < row->n; i++) {
		rc = read_instance(tx, row->number, i, uid, e);
		if (!rc)
			rc = pledge_get(tx, row->archive, uid, &p, e);
		if (!rc && p.number == row->number && p.state == PLEDGE_OPEN)
			rc = fn(arg, &p, e);
	}
	return rc == ERR_ABSENT ? torn(e) : rc;
}

static int
drop_instances(struct store_tx *tx, const struct pledge_row *row, struct err *e)
{
	unsigned char key[KEY_MAX];
	uint32_t i;
	int rc = 0;

	for (i = 0; !rc && i < row->n; i++)
		rc = del(tx, instance_key(key, row->number, i), e);
	return rc;
}

int
pledges_settle(struct store_tx *tx, struct pledge_row *row, int64_t ends_ms, struct err *e)
{
	int rc = drop_instances(tx, row, e);

	row->n = 0;
	row->phase = PLEDGE_SETTLED;
	row->ends_ms = ends_ms;
	return rc ? rc : pledges_put(tx, row, e);
}

int
pledges_forget(struct store_tx *tx, const struct pledge_row *row, struct err *e)
{
	unsigned char key[KEY_MAX];
	int rc = drop_instances(tx, row, e);

	if (!rc)
		rc = del(tx, text_key(key, TRANSACTION, row->transaction), e);
	return rc ? rc : del(tx, number_key(key, REQUEST, row->number), e);
}

/* --- how many stand where --- */

static int
read_counts(struct pledge_counts *out, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;
	size_t i;

	if (v.n != (PLEDGE_STATES + 1) * 8)
		return torn(e);
	for (i = 0; i < PLEDGE_STATES; i++)
		out->of[i] = buf_get_u64(p + 8 * i);
	out->unseen = buf_get_u64(p + 8 * i);
	return 0;
}

static bool
is_unseen(const struct pledge *p)
{
	return !p->seen && p->state != PLEDGE_OPEN && p->state != PLEDGE_COMMITTED;
}

static int
count(struct store_tx *tx, const char *archive, const struct pledge *before,
      const struct pledge *now, struct err *e)
{
	struct pledge_counts c = {.unseen = 0};
	unsigned char key[KEY_MAX];
	struct buf b = BUF_INIT;
	struct kv_slice v;
	size_t i;
	int rc = kv_get(store_tx_kv(tx), table(tx), text_key(key, COUNTS, archive), &v, e);

	rc = rc == ERR_ABSENT ? 0 : rc ? rc : read_counts(&c, v, e);
	if (rc)
		return rc;
	if (before) {
		c.of[before->state]--;
		c.unseen -= is_unseen(before);
	}
	c.of[now->state]++;
	c.unseen += is_unseen(now);
	for (i = 0; i < PLEDGE_STATES; i++)
		buf_put_u64(&b, c.of[i]);
	buf_put_u64(&b, c.unseen);
	return put(tx, text_key(key, COUNTS, archive), &b, e);
}

int
pledges_counts(struct store_tx *tx,
	       int (*fn)(void *arg, const struct pledge_counts *c, struct err *e), void *arg,
	       struct err *e)
{
	struct pledge_counts counts;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice("c", 1), &k, &v, e);
	while (!rc && k.n > 1 && *(const unsigned char *)k.p == COUNTS) {
		memset(&counts, 0, sizeof(counts));
		if (k.n > sizeof(counts.archive))
			rc = torn(e);
		else
			memcpy(counts.archive, (const char *)k.p + 1, k.n - 1);
		if (!rc)
			rc = read_counts(&counts, v, e);
		if (!rc)
			rc = fn(arg, &counts, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- where an image stands --- */

static int
read_standing(struct pledge *out, const char *uid, size_t uid_n, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;
	size_t n = v.n < STANDING_FIXED ? 0 : v.n - STANDING_FIXED;

	memset(out, 0, sizeof(*out));
	if (!n || p[0] >= PLEDGE_STATES || uid_n >= UID_SIZE)
		return torn(e);
	memcpy(out->sop_instance, uid, uid_n);
	out->state = (enum pledge_state)p[0];
	out->seen = (p[1] & SEEN) != 0;
	out->sent = (p[1] & SENT) != 0;
	out->renewed = (p[1] & RENEWED) != 0;
	out->reason = buf_get_u16(p + 2);
	out->number = buf_get_u64(p + 4);
	memcpy(out->digest, p + 12, SHA256_SIZE);
	p += STANDING_FIXED;
	return take_text(&p, &n, out->sop_class, sizeof(out->sop_class)) ? 0 : torn(e);
}

int
pledge_get(struct store_tx *tx, const char *archive, const char *uid, struct pledge *out,
	   struct err *e)
{
	unsigned char key[KEY_MAX];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), standing_key(key, archive, uid), &v, e);

	return rc ? rc : read_standing(out, uid, strlen(uid), v, e);
}

int
pledge_put(struct store_tx *tx, const char *archive, const struct pledge *p, struct err *e)
{
	unsigned char key[KEY_MAX];
	struct pledge before;
	struct buf b = BUF_INIT;
	int rc = pledge_get(tx, archive, p->sop_instance, &before, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	rc = count(tx, archive, rc ? NULL : &before, p, e);
	if (rc)
		return rc;
	buf_put_u8(&b, p->state);
	buf_put_u8(&b, (p->seen ? SEEN : 0u) | (p->sent ? SENT : 0u) | (p->renewed ? RENEWED : 0u));
	buf_put_u16(&b, p->reason);
	buf_put_u64(&b, p->number);
	buf_put(&b, p->digest, SHA256_SIZE);
	put_text(&b, p->sop_class);
	return put(tx, standing_key(key, archive, p->sop_instance), &b, e);
}

int
pledge_each(struct store_tx *tx, const char *archive, const char *after,
	    int (*fn)(void *arg, const struct pledge *p, struct err *e), void *arg, struct err *e)
{
	unsigned char key[KEY_MAX], first[KEY_MAX];
	size_t head = standing_key(first, archive, "").n;
	struct kv_cursor *c;
	struct kv_slice k, v;
	struct pledge p;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, standing_key(key, archive, after), &k, &v, e);
	while (!rc && k.n > head && memcmp(k.p, first, head) == 0) {
		rc = read_standing(&p, (const char *)k.p + head, k.n - head, v, e);
		if (!rc && strcmp(p.sop_instance, after) != 0)
			rc = fn(arg, &p, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
pledge_saw(struct store_tx *tx, const char *archive, const struct pledge *listed, struct err *e)
{
	struct pledge now;
	int rc = pledge_get(tx, archive, listed->sop_instance, &now, e);

	if (rc || now.number != listed->number || now.state != listed->state)
		return rc == ERR_ABSENT ? 0 : rc;
	now.seen = true;
	return pledge_put(tx, archive, &now, e);
}

/* --- a new request --- */

int
pledge_means(struct store_tx *tx, struct pledge *p, uint64_t oid, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	memset(p->digest, 0, sizeof(p->digest));
	if (!rc)
		memcpy(p->digest, v.digest, sizeof(p->digest));
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
next_number(struct store_tx *tx, uint64_t *out, struct err *e)
{
	unsigned char key[KEY_MAX];
	struct buf b = BUF_INIT;
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), text_key(key, NUMBERS, ""), &v, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	if (!rc && v.n != 8)
		return torn(e);
	*out = rc ? 1 : buf_get_be64(v.p) + 1;
	buf_put_be64(&b, *out);
	return put(tx, text_key(key, NUMBERS, ""), &b, e);
}

/* What it committed to, or has been sent for a request that is open still, it has; but for what
 * it was asked for in another version than it has. */
static int
add_one(struct store_tx *tx, const struct pledge_row *row, uint32_t index, const struct pledge *p,
	struct err *e)
{
	unsigned char key[KEY_MAX];
	struct pledge now = *p, before;
	struct buf b = BUF_INIT;
	int rc = pledge_get(tx, row->archive, p->sop_instance, &before, e);
	bool known = !rc;

	if (!rc || rc == ERR_ABSENT)
		rc = pledge_means(tx, &now, p->oid, e);
	if (rc)
		return rc;
	now.state = PLEDGE_OPEN;
	now.number = row->number;
	now.renewed = known && (before.renewed ||
				memcmp(before.digest, now.digest, sizeof(now.digest)) != 0);
	now.sent =
		known && !now.renewed &&
		(before.state == PLEDGE_COMMITTED || (before.state == PLEDGE_OPEN && before.sent));
	now.seen = false;
	now.reason = 0;
	rc = pledge_put(tx, row->archive, &now, e);
	if (rc)
		return rc;
	buf_puts(&b, p->sop_instance);
	return put(tx, instance_key(key, row->number, index), &b, e);
}

int
pledges_add(struct store_tx *tx, struct pledge_row *row, const struct pledge *all, size_t n,
	    struct err *e)
{
	uint32_t i;
	int rc = next_number(tx, &row->number, e);

	row->n = (uint32_t)n;
	row->transaction[0] = '\0';
	if (!rc)
		rc = pledges_new_transaction(tx, row, e);
	if (!rc)
		rc = pledges_put(tx, row, e);
	for (i = 0; !rc && i < row->n; i++)
		rc = add_one(tx, row, i, &all[i], e);
	return rc;
}
