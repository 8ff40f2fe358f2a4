#include "edge/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/store.h"

enum { KEY = 9, ROW = 40, COUNTS = 40, PACKED = 1, PARKED = 2, BLAMED = 4 };
/* Added to the destination in keys. */
enum { AGED = 0x40, ORDER = 0x80, ORDER_KEY = 17 };

static const char counts_key[] = "counts", blamed_key[] = "blamed";

static unsigned
table(struct store_tx *tx, const char *name)
{
	return store_table(store_tx_store(tx), name);
}

static struct kv_slice
key_of(unsigned char key[KEY], unsigned to, uint64_t seq)
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
	out->blamed = (p[28] & BLAMED) != 0;
	out->first = (int64_t)buf_get_u64(p + 32);
	return 0;
}

static struct kv_slice
order_key(unsigned char key[ORDER_KEY], enum outbox_to to, const struct outbox_row *row)
{
	key[0] = (unsigned char)(ORDER | to);
	buf_set_be64(key + 1, (uint64_t)row->first ^ UINT64_C(1) << 63);
	buf_set_be64(key + 9, row->seq);
	return kv_slice(key, ORDER_KEY);
}

static int
put_row(struct store_tx *tx, enum outbox_to to, const struct outbox_row *row, struct err *e)
{
	unsigned char key[KEY], order[ORDER_KEY], p[ROW] = {0};
	int rc = 0;

	buf_set_u64(p, row->oid);
	buf_set_u64(p + 8, row->size);
	buf_set_u64(p + 16, (uint64_t)row->not_before);
	buf_set_u32(p + 24, row->tries);
	p[28] = (unsigned char)((row->packed ? PACKED : 0) | (row->parked ? PARKED : 0) |
				(row->blamed ? BLAMED : 0));
	buf_set_u64(p + 32, (uint64_t)row->first);
	if (row->aged)
		rc = kv_put(store_tx_kv(tx), table(tx, OUTBOX_TABLE), order_key(order, to, row),
			    kv_slice("", 0), e);
	return rc ? rc
		  : kv_put(store_tx_kv(tx), table(tx, OUTBOX_TABLE),
			   key_of(key, (row->aged ? AGED : 0u) | (unsigned)to, row->seq),
			   kv_slice(p, sizeof(p)), e);
}

int
outbox_get(struct store_tx *tx, enum outbox_to to, uint64_t seq, struct outbox_row *out,
	   struct err *e)
{
	unsigned char key[KEY];
	struct kv_slice v;
	unsigned t = table(tx, OUTBOX_TABLE);
	int rc = kv_get(store_tx_kv(tx), t, key_of(key, to, seq), &v, e);
	bool aged = rc == ERR_ABSENT;

	if (aged)
		rc = kv_get(store_tx_kv(tx), t, key_of(key, AGED | to, seq), &v, e);
	if (rc)
		return rc;
	out->aged = aged;
	return read_row(out, seq, v, e);
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

struct outbox_row
outbox_row(uint64_t seq, const struct version *v)
{
	return (struct outbox_row){.seq = seq,
				   .oid = v->oid,
				   .size = v->size,
				   .first = v->first_ms,
				   .aged = v->origin != VERSION_TAKEN_IN};
}

int
outbox_add(struct store_tx *tx, enum outbox_to to, uint64_t seq, const struct version *v,
	   struct err *e)
{
	struct outbox_row row = outbox_row(seq, v), old;
	int rc = outbox_get(tx, to, seq, &old, e);

	return rc == ERR_ABSENT ? outbox_change(tx, to, &row, e) : rc;
}

int
outbox_del(struct store_tx *tx, enum outbox_to to, uint64_t seq, bool *was, struct err *e)
{
	unsigned char key[KEY], order[ORDER_KEY];
	struct kv_txn *txn = store_tx_kv(tx);
	unsigned t = table(tx, OUTBOX_TABLE);
	struct outbox_row old;
	int rc = outbox_get(tx, to, seq, &old, e);

	*was = rc == 0;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	rc = recount(tx, to, &old, NULL, e);
	if (!rc && old.aged)
		rc = kv_del(txn, t, order_key(order, to, &old), e);
	return rc ? rc : kv_del(txn, t, key_of(key, (old.aged ? AGED : 0u) | (unsigned)to, seq), e);
}

/* --- both kinds of rows as one list --- */

struct side { /* of the merge: where one kind goes on; none left: no cursor's row */
	struct kv_cursor *c;
	struct outbox_row row;
	bool any;
};

static int
side_read(struct side *s, unsigned first_byte, struct kv_slice k, struct kv_slice v, struct err *e)
{
	const unsigned char *p = k.p;

	s->any = k.n == KEY && p[0] == first_byte;
	s->row.aged = (first_byte & AGED) != 0;
	return s->any ? read_row(&s->row, buf_get_be64(p + 1), v, e) : 0;
}

static int
side_at(struct side *s, struct store_tx *tx, unsigned first_byte, uint64_t seq, struct err *e)
{
	unsigned char key[KEY];
	struct kv_slice k, v;
	int rc = kv_cursor_open(&s->c, store_tx_kv(tx), table(tx, OUTBOX_TABLE), e);

	s->any = false;
	if (!rc)
		rc = kv_cursor_seek(s->c, key_of(key, first_byte, seq), &k, &v, e);
	return rc ? rc == ERR_ABSENT ? 0 : rc : side_read(s, first_byte, k, v, e);
}

static int
side_next(struct side *s, unsigned first_byte, struct err *e)
{
	struct kv_slice k, v;
	int rc = kv_cursor_next(s->c, &k, &v, e);

	s->any = false;
	return rc ? rc == ERR_ABSENT ? 0 : rc : side_read(s, first_byte, k, v, e);
}

static void
side_end(struct side *s)
{
	if (s->c)
		kv_cursor_close(s->c);
}

int
outbox_each(struct store_tx *tx, enum outbox_to to, uint64_t seq,
	    int (*fn)(void *arg, const struct outbox_row *row, struct err *e), void *arg,
	    struct err *e)
{
	struct side own = {.c = NULL}, aged = {.c = NULL};
	int rc = side_at(&own, tx, to, seq, e);

	if (!rc)
		rc = side_at(&aged, tx, AGED | to, seq, e);
	while (!rc && (own.any || aged.any)) {
		bool first = own.any && (!aged.any || own.row.seq < aged.row.seq);
		struct side *s = first ? &own : &aged;

		rc = fn(arg, &s->row, e);
		if (!rc)
			rc = side_next(s, (first ? 0u : AGED) | (unsigned)to, e);
	}
	side_end(&own);
	side_end(&aged);
	return rc;
}

/* The last key of those that begin with this byte, or the one before where the cursor is. */
static int
step_back(struct kv_cursor *c, unsigned first_byte, bool start, struct kv_slice *k,
	  struct kv_slice *v, struct err *e)
{
	unsigned char above = (unsigned char)(first_byte + 1);
	int rc;

	if (start) {
		rc = kv_cursor_seek(c, kv_slice(&above, 1), k, v, e);
		rc = rc == ERR_ABSENT ? kv_cursor_last(c, k, v, e)
		     : rc	      ? rc
				      : kv_cursor_prev(c, k, v, e);
	} else {
		rc = kv_cursor_prev(c, k, v, e);
	}
	return rc ? rc : ((const unsigned char *)k->p)[0] == first_byte ? 0 : ERR_ABSENT;
}

static int
own_back(struct side *s, unsigned to, bool start, struct err *e)
{
	struct kv_slice k, v;
	int rc = step_back(s->c, to, start, &k, &v, e);

	s->any = false;
	return rc ? rc == ERR_ABSENT ? 0 : rc : side_read(s, to, k, v, e);
}

static int
aged_back(struct side *s, struct store_tx *tx, enum outbox_to to, bool start, struct err *e)
{
	struct kv_slice k, v;
	int rc = step_back(s->c, ORDER | to, start, &k, &v, e);

	if (!rc && k.n != ORDER_KEY)
		rc = err_set(e, ERR_CORRUPT, 0, "the order of the outbox is torn");
	if (!rc)
		rc = outbox_get(tx, to, buf_get_be64((const unsigned char *)k.p + 9), &s->row, e);
	s->any = !rc;
	return rc == ERR_ABSENT ? 0 : rc;
}

int
outbox_newest(struct store_tx *tx, enum outbox_to to,
	      int (*fn)(void *arg, const struct outbox_row *row, struct err *e), void *arg,
	      struct err *e)
{
	struct side own = {.c = NULL}, aged = {.c = NULL};
	unsigned t = table(tx, OUTBOX_TABLE);
	int rc = kv_cursor_open(&own.c, store_tx_kv(tx), t, e);

	if (!rc)
		rc = kv_cursor_open(&aged.c, store_tx_kv(tx), t, e);
	if (!rc)
		rc = own_back(&own, to, true, e);
	if (!rc)
		rc = aged_back(&aged, tx, to, true, e);
	while (!rc && (own.any || aged.any)) {
		bool first = own.any && (!aged.any || own.row.first >= aged.row.first);

		rc = fn(arg, first ? &own.row : &aged.row, e);
		if (!rc)
			rc = first ? own_back(&own, to, false, e)
				   : aged_back(&aged, tx, to, false, e);
	}
	side_end(&own);
	side_end(&aged);
	return rc;
}

/* --- tried again --- */

enum { RETRY_PAGE = 1000 };

struct retrying {
	uint64_t seqs[RETRY_PAGE], from;
	size_t n;
	bool blamed; /* those alone */
	uint64_t number;
};

static int
note_late(void *arg, const struct outbox_row *row, struct err *e)
{
	struct retrying *t = arg;

	(void)e;
	t->from = row->seq + 1;
	if (t->blamed ? row->blamed : row->not_before || row->parked)
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
		row.tries = t->blamed && row.tries ? 1 : 0;
		row.blamed = false;
		if (!rc)
			rc = outbox_change(tx, OUTBOX_CENTRAL, &row, e);
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	return rc;
}

static int
try_all(struct retrying *t, struct store *s, size_t *n, struct err *e)
{
	struct store_tx *tx;
	int rc = 0;
	bool more = true;

	*n = 0;
	while (!rc && more) {
		t->n = 0;
		rc = store_begin_read(&tx, s, e);
		if (rc)
			break;
		rc = outbox_each(tx, OUTBOX_CENTRAL, t->from, note_late, t, e);
		store_end_read(tx);
		more = rc == ERR_AGAIN;
		rc = more ? 0 : rc;
		if (!rc && t->n)
			rc = store_commit(s, try_page, t, e);
		*n += rc ? 0 : t->n;
	}
	return rc;
}

int
outbox_try_now(struct store *s, size_t *n, struct err *e)
{
	struct retrying *t = calloc(1, sizeof(*t));
	int rc = t ? try_all(t, s, n, e) : err_set(e, ERR_LOCAL, 0, "no memory for the outbox");

	free(t);
	return rc;
}

int
outbox_blamed(struct store_tx *tx, struct err *e)
{
	uint64_t n;
	int rc = sync_number(tx, blamed_key, &n, e);

	return rc ? rc : sync_set_number(tx, blamed_key, n + 1, e);
}

static int
no_more_blamed(struct store_tx *tx, void *arg, struct err *e)
{
	uint64_t n;
	int rc = sync_number(tx, blamed_key, &n, e);

	return rc || n != ((struct retrying *)arg)->number ? rc
							   : sync_set_number(tx, blamed_key, 0, e);
}

int
outbox_try_blamed(struct store *s, struct err *e)
{
	struct retrying *t;
	struct store_tx *tx;
	uint64_t number;
	size_t n;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = sync_number(tx, blamed_key, &number, e);
	store_end_read(tx);
	if (rc || !number)
		return rc;
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, ERR_LOCAL, 0, "no memory for the outbox");
	t->blamed = true;
	t->number = number;
	rc = try_all(t, s, &n, e);
	if (!rc)
		rc = store_commit(s, no_more_blamed, t, e);
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
