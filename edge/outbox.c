#include "edge/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/store.h"

enum { KEY = 9, ROW = 32, COUNTS = 40, PACKED = 1, PARKED = 2 };

static const char counts_key[] = "counts";

static unsigned
table(struct store_tx *tx, const char *name)
{
	return store_table(store_tx_store(tx), name);
}

static struct kv_slice
key_of(unsigned char key[KEY], enum outbox_to to, uint64_t seq)
{
	key[0] = (unsigned char)to;
	buf_set_be64(key + 1, seq);
	return kv_slice(key, KEY);
}

int
outbox_counts(struct store_tx *tx, struct outbox_counts *out, struct err *e)
{
	const unsigned char *p;
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx, SYNC_TABLE),
			kv_slice(counts_key, strlen(counts_key)), &v, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (v.n != COUNTS)
		return err_set(e, ERR_CORRUPT, 0, "the outbox's counts are torn");
	p = v.p;
	out->owed = buf_get_u64(p);
	out->owed_bytes = buf_get_u64(p + 8);
	out->packed = buf_get_u64(p + 16);
	out->packed_bytes = buf_get_u64(p + 24);
	out->parked = buf_get_u64(p + 32);
	return 0;
}

static int
put_counts(struct store_tx *tx, const struct outbox_counts *c, struct err *e)
{
	unsigned char p[COUNTS];

	buf_set_u64(p, c->owed);
	buf_set_u64(p + 8, c->owed_bytes);
	buf_set_u64(p + 16, c->packed);
	buf_set_u64(p + 24, c->packed_bytes);
	buf_set_u64(p + 32, c->parked);
	return kv_put(store_tx_kv(tx), table(tx, SYNC_TABLE),
		      kv_slice(counts_key, strlen(counts_key)), kv_slice(p, sizeof(p)), e);
}

/* sign 1: the row is there from now on; -1: no more. */
static void
count(struct outbox_counts *c, const struct outbox_row *row, int sign)
{
	uint64_t one = (uint64_t)(int64_t)sign;

	c->owed += one;
	c->owed_bytes += one * row->size;
	c->packed += row->packed ? one : 0;
	c->packed_bytes += row->packed ? one * row->size : 0;
	c->parked += row->parked ? one : 0;
}

static int
read_row(struct outbox_row *out, uint64_t seq, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;

	if (v.n != ROW)
		return err_set(e, ERR_CORRUPT, 0, "an outbox row is torn");
	out->seq = seq;
	out->oid = buf_get_u64(p);
	out->size = buf_get_u64(p + 8);
	out->not_before = (int64_t)buf_get_u64(p + 16);
	out->tries = buf_get_u32(p + 24);
	out->packed = (p[28] & PACKED) != 0;
	out->parked = (p[28] & PARKED) != 0;
	return 0;
}

static int
put_row(struct store_tx *tx, enum outbox_to to, const struct outbox_row *row, struct err *e)
{
	unsigned char key[KEY], p[ROW] = {0};

	buf_set_u64(p, row->oid);
	buf_set_u64(p + 8, row->size);
	buf_set_u64(p + 16, (uint64_t)row->not_before);
	buf_set_u32(p + 24, row->tries);
	p[28] = (unsigned char)((row->packed ? PACKED : 0) | (row->parked ? PARKED : 0));
	return kv_put(store_tx_kv(tx), table(tx, OUTBOX_TABLE), key_of(key, to, row->seq),
		      kv_slice(p, sizeof(p)), e);
}

int
outbox_get(struct store_tx *tx, enum outbox_to to, uint64_t seq, struct outbox_row *out,
	   struct err *e)
{
	unsigned char key[KEY];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx, OUTBOX_TABLE), key_of(key, to, seq), &v, e);

	return rc ? rc : read_row(out, seq, v, e);
}

/* The counts speak of central; later destinations have rows of their own only. */
static int
recount(struct store_tx *tx, enum outbox_to to, const struct outbox_row *old,
	const struct outbox_row *now, struct err *e)
{
	struct outbox_counts c;
	int rc;

	if (to != OUTBOX_CENTRAL)
		return 0;
	rc = outbox_counts(tx, &c, e);
	if (rc)
		return rc;
	if (old)
		count(&c, old, -1);
	if (now)
		count(&c, now, 1);
	return put_counts(tx, &c, e);
}

int
outbox_change(struct store_tx *tx, enum outbox_to to, const struct outbox_row *row, struct err *e)
{
	struct outbox_row old;
	int rc = outbox_get(tx, to, row->seq, &old, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	rc = recount(tx, to, rc ? NULL : &old, row, e);
	return rc ? rc : put_row(tx, to, row, e);
}

int
outbox_add(struct store_tx *tx, enum outbox_to to, uint64_t seq, uint64_t oid, uint64_t size,
	   struct err *e)
{
	struct outbox_row row = {.seq = seq, .oid = oid, .size = size}, old;
	int rc = outbox_get(tx, to, seq, &old, e);

	return rc == ERR_ABSENT ? outbox_change(tx, to, &row, e) : rc;
}

int
outbox_del(struct store_tx *tx, enum outbox_to to, uint64_t seq, bool *was, struct err *e)
{
	unsigned char key[KEY];
	struct outbox_row old;
	int rc = outbox_get(tx, to, seq, &old, e);

	*was = rc == 0;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	rc = recount(tx, to, &old, NULL, e);
	return rc ? rc : kv_del(store_tx_kv(tx), table(tx, OUTBOX_TABLE), key_of(key, to, seq), e);
}

int
outbox_each(struct store_tx *tx, enum outbox_to to, uint64_t seq, bool downwards,
	    int (*fn)(void *arg, const struct outbox_row *row, struct err *e), void *arg,
	    struct err *e)
{
	unsigned char key[KEY];
	struct outbox_row row;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, OUTBOX_TABLE), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, key_of(key, to, seq), &k, &v, e);
	if (downwards && rc == ERR_ABSENT)
		rc = kv_cursor_last(c, &k, &v, e);
	/* The row found may lie above the one that was asked for. */
	if (!rc && downwards &&
	    (((const unsigned char *)k.p)[0] != to ||
	     buf_get_be64((const unsigned char *)k.p + 1) > seq))
		rc = kv_cursor_prev(c, &k, &v, e);
	while (!rc && k.n == KEY && ((const unsigned char *)k.p)[0] == to) {
		rc = read_row(&row, buf_get_be64((const unsigned char *)k.p + 1), v, e);
		if (!rc)
			rc = fn(arg, &row, e);
		if (!rc)
			rc = downwards ? kv_cursor_prev(c, &k, &v, e)
				       : kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- tried again --- */

enum { RETRY_PAGE = 1000 };

struct retrying {
	uint64_t seqs[RETRY_PAGE], from;
	size_t n;
};

static int
note_late(void *arg, const struct outbox_row *row, struct err *e)
{
	struct retrying *t = arg;

	(void)e;
	t->from = row->seq + 1;
	if (row->not_before || row->parked)
		t->seqs[t->n++] = row->seq;
	return t->n == RETRY_PAGE ? ERR_AGAIN : 0;
}

static int
try_page(struct store_tx *tx, void *arg, struct err *e)
{
	const struct retrying *t = arg;
	struct outbox_row row;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < t->n; i++) {
		rc = outbox_get(tx, OUTBOX_CENTRAL, t->seqs[i], &row, e);
		row.not_before = 0;
		row.parked = false;
		row.tries = 0;
		if (!rc)
			rc = outbox_change(tx, OUTBOX_CENTRAL, &row, e);
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	return rc;
}

int
outbox_try_now(struct store *s, size_t *n, struct err *e)
{
	struct retrying *t = calloc(1, sizeof(*t));
	struct store_tx *tx;
	int rc = t ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for the outbox");
	bool more = !rc;

	*n = 0;
	while (!rc && more) {
		t->n = 0;
		rc = store_begin_read(&tx, s, e);
		if (rc)
			break;
		rc = outbox_each(tx, OUTBOX_CENTRAL, t->from, false, note_late, t, e);
		store_end_read(tx);
		more = rc == ERR_AGAIN;
		rc = more ? 0 : rc;
		if (!rc && t->n)
			rc = store_commit(s, try_page, t, e);
		*n += rc ? 0 : t->n;
	}
	free(t);
	return rc;
}

/* --- packs under way --- */

int
packing_put(struct store_tx *tx, const unsigned char id[SHA256_SIZE], const struct buf *manifest,
	    struct err *e)
{
	return kv_put(store_tx_kv(tx), table(tx, PACKING_TABLE), kv_slice(id, SHA256_SIZE),
		      kv_slice(manifest->data, manifest->len), e);
}

int
packing_del(struct store_tx *tx, const unsigned char id[SHA256_SIZE], struct err *e)
{
	int rc = kv_del(store_tx_kv(tx), table(tx, PACKING_TABLE), kv_slice(id, SHA256_SIZE), e);

	return rc == ERR_ABSENT ? 0 : rc;
}

int
packing_each(struct store_tx *tx,
	     int (*fn)(void *arg, const unsigned char id[SHA256_SIZE], const void *manifest,
		       size_t n, struct err *e),
	     void *arg, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, PACKING_TABLE), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		rc = k.n == SHA256_SIZE ? fn(arg, k.p, v.p, v.n, e) : 0;
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- small values --- */

int
sync_get(struct store_tx *tx, const char *name, struct buf *out, struct err *e)
{
	struct kv_slice v;
	int rc =
		kv_get(store_tx_kv(tx), table(tx, SYNC_TABLE), kv_slice(name, strlen(name)), &v, e);

	if (!rc)
		buf_put(out, v.p, v.n);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
sync_put(struct store_tx *tx, const char *name, const void *p, size_t n, struct err *e)
{
	return kv_put(store_tx_kv(tx), table(tx, SYNC_TABLE), kv_slice(name, strlen(name)),
		      kv_slice(p, n), e);
}

int
sync_id(struct store_tx *tx, const char *name, struct id128 *out, struct err *e)
{
	struct kv_slice v;
	int rc =
		kv_get(store_tx_kv(tx), table(tx, SYNC_TABLE), kv_slice(name, strlen(name)), &v, e);

	memset(out, 0, sizeof(*out));
	if (!rc && v.n == sizeof(out->b))
		memcpy(out->b, v.p, sizeof(out->b));
	return rc == ERR_ABSENT ? 0 : rc;
}

int
sync_number(struct store_tx *tx, const char *name, uint64_t *out, struct err *e)
{
	struct kv_slice v;
	int rc =
		kv_get(store_tx_kv(tx), table(tx, SYNC_TABLE), kv_slice(name, strlen(name)), &v, e);

	*out = !rc && v.n == 8 ? buf_get_u64(v.p) : 0;
	return rc == ERR_ABSENT ? 0 : rc;
}

int
sync_set_number(struct store_tx *tx, const char *name, uint64_t n, struct err *e)
{
	unsigned char p[8];

	buf_set_u64(p, n);
	return sync_put(tx, name, p, sizeof(p), e);
}
