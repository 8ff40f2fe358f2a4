#include "edge/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/store.h"

enum { KEY = 9, ROW = 40, LANE_COUNTS = 48, COUNTS = 8 + LANES * LANE_COUNTS };
enum { PACKED = 1, PARKED = 2, BLAMED = 4 };
/* Added to the destination in keys; WAITING: in place of a lane. */
enum { OTHER = 0x40, ORDER = 0x80, WAITING = 0xff, ORDER_KEY = 18 };

static const char counts_key[] = "counts";

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
	unsigned i;
	int rc = kv_get(store_tx_kv(tx), table(tx, SYNC_TABLE),
			kv_slice(counts_key, strlen(counts_key)), &v, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (v.n != COUNTS)
		return err_set(e, ERR_CORRUPT, 0, "the outbox's counts are torn");
	p = v.p;
	out->parked = buf_get_u64(p);
	for (i = 0, p += 8; i < LANES; i++, p += LANE_COUNTS) {
		struct outbox_lane *l = &out->lanes[i];

		l->owed = buf_get_u64(p);
		l->owed_bytes = buf_get_u64(p + 8);
		l->packed = buf_get_u64(p + 16);
		l->packed_bytes = buf_get_u64(p + 24);
		l->late = buf_get_u64(p + 32);
		l->late_bytes = buf_get_u64(p + 40);
		out->owed += l->owed;
		out->owed_bytes += l->owed_bytes;
		out->packed += l->packed;
		out->packed_bytes += l->packed_bytes;
	}
	return 0;
}

static int
put_counts(struct store_tx *tx, const struct outbox_counts *c, struct err *e)
{
	unsigned char bytes[COUNTS], *p = bytes;
	unsigned i;

	buf_set_u64(p, c->parked);
	for (i = 0, p += 8; i < LANES; i++, p += LANE_COUNTS) {
		const struct outbox_lane *l = &c->lanes[i];

		buf_set_u64(p, l->owed);
		buf_set_u64(p + 8, l->owed_bytes);
		buf_set_u64(p + 16, l->packed);
		buf_set_u64(p + 24, l->packed_bytes);
		buf_set_u64(p + 32, l->late);
		buf_set_u64(p + 40, l->late_bytes);
	}
	return kv_put(store_tx_kv(tx), table(tx, SYNC_TABLE),
		      kv_slice(counts_key, strlen(counts_key)), kv_slice(bytes, sizeof(bytes)), e);
}

/* sign 1: the row is there from now on; -1: no more. */
static void
count(struct outbox_counts *c, const struct outbox_row *row, int sign)
{
	uint64_t one = (uint64_t)(int64_t)sign;
	struct outbox_lane *l = &c->lanes[row->lane];

	l->owed += one;
	l->owed_bytes += one * row->size;
	l->packed += row->packed ? one : 0;
	l->packed_bytes += row->packed ? one * row->size : 0;
	l->late += row->not_before ? one : 0;
	l->late_bytes += row->not_before ? one * row->size : 0;
	c->parked += row->parked ? one : 0;
}

static int
read_row(struct outbox_row *out, uint64_t seq, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;

	if (v.n != ROW || p[29] == LANE_LEDGER || p[29] >= LANES)
		return err_set(e, ERR_CORRUPT, 0, "an outbox row is torn");
	out->seq = seq;
	out->oid = buf_get_u64(p);
	out->size = buf_get_u64(p + 8);
	out->not_before = (int64_t)buf_get_u64(p + 16);
	out->tries = buf_get_u32(p + 24);
	out->packed = (p[28] & PACKED) != 0;
	out->parked = (p[28] & PARKED) != 0;
	out->blamed = (p[28] & BLAMED) != 0;
	out->lane = (enum lane)p[29];
	out->first = (int64_t)buf_get_u64(p + 32);
	return 0;
}

static void
order_begin(unsigned char key[2], enum outbox_to to, unsigned lane)
{
	key[0] = (unsigned char)(ORDER | to);
	key[1] = (unsigned char)lane;
}

static struct kv_slice
order_key(unsigned char key[ORDER_KEY], enum outbox_to to, const struct outbox_row *row)
{
	int64_t by = row->not_before ? row->not_before : row->first;

	order_begin(key, to, row->not_before ? WAITING : (unsigned)row->lane);
	buf_set_be64(key + 2, (uint64_t)by ^ UINT64_C(1) << 63);
	buf_set_be64(key + 10, row->seq);
	return kv_slice(key, ORDER_KEY);
}

static unsigned
first_byte(enum outbox_to to, bool ordered)
{
	return (ordered ? (unsigned)OTHER : 0u) | (unsigned)to;
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
	p[29] = (unsigned char)row->lane;
	buf_set_u64(p + 32, (uint64_t)row->first);
	if (row->ordered)
		rc = kv_put(store_tx_kv(tx), table(tx, OUTBOX_TABLE), order_key(order, to, row),
			    kv_slice("", 0), e);
	return rc ? rc
		  : kv_put(store_tx_kv(tx), table(tx, OUTBOX_TABLE),
			   key_of(key, first_byte(to, row->ordered), row->seq),
			   kv_slice(p, sizeof(p)), e);
}

static int
del_row(struct store_tx *tx, enum outbox_to to, const struct outbox_row *row, struct err *e)
{
	unsigned char key[KEY], order[ORDER_KEY];
	unsigned t = table(tx, OUTBOX_TABLE);
	int rc = row->ordered ? kv_del(store_tx_kv(tx), t, order_key(order, to, row), e) : 0;

	return rc ? rc
		  : kv_del(store_tx_kv(tx), t, key_of(key, first_byte(to, row->ordered), row->seq),
			   e);
}

int
outbox_get(struct store_tx *tx, enum outbox_to to, uint64_t seq, struct outbox_row *out,
	   struct err *e)
{
	unsigned char key[KEY];
	struct kv_slice v;
	unsigned t = table(tx, OUTBOX_TABLE);
	int rc = kv_get(store_tx_kv(tx), t, key_of(key, to, seq), &v, e);
	bool ordered = rc == ERR_ABSENT;

	if (ordered)
		rc = kv_get(store_tx_kv(tx), t, key_of(key, first_byte(to, true), seq), &v, e);
	if (rc)
		return rc;
	out->ordered = ordered;
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

/* Where it stands in the order; a row that keeps its place is written over. */
static bool
same_place(const struct outbox_row *a, const struct outbox_row *b)
{
	return a->ordered == b->ordered &&
	       (!a->ordered ||
		(a->lane == b->lane && a->not_before == b->not_before && a->first == b->first));
}

int
outbox_change(struct store_tx *tx, enum outbox_to to, const struct outbox_row *row, struct err *e)
{
	struct outbox_row old, now = *row;
	int rc = outbox_get(tx, to, row->seq, &old, e);
	bool was = !rc;

	if (rc && rc != ERR_ABSENT)
		return rc;
	now.ordered =
		now.ordered || (was && old.ordered) || now.lane != LANE_FRESH || now.not_before;
	rc = recount(tx, to, was ? &old : NULL, &now, e);
	if (!rc && was && !same_place(&old, &now))
		rc = del_row(tx, to, &old, e);
	return rc ? rc : put_row(tx, to, &now, e);
}

/* What was first seen elsewhere is not in the order of our seqs. */
struct outbox_row
outbox_row(uint64_t seq, const struct version *v, enum lane lane)
{
	return (struct outbox_row){.seq = seq,
				   .oid = v->oid,
				   .size = v->size,
				   .first = v->first_ms,
				   .lane = lane,
				   .ordered = lane != LANE_FRESH || v->origin != VERSION_TAKEN_IN};
}

int
outbox_add(struct store_tx *tx, enum outbox_to to, uint64_t seq, const struct version *v,
	   enum lane lane, struct err *e)
{
	struct outbox_row row = outbox_row(seq, v, lane), old;
	int rc = outbox_get(tx, to, seq, &old, e);

	return rc == ERR_ABSENT ? outbox_change(tx, to, &row, e) : rc;
}

int
outbox_del(struct store_tx *tx, enum outbox_to to, uint64_t seq, bool *was, struct err *e)
{
	struct outbox_row old;
	int rc = outbox_get(tx, to, seq, &old, e);

	*was = rc == 0;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	rc = recount(tx, to, &old, NULL, e);
	return rc ? rc : del_row(tx, to, &old, e);
}

/* --- both kinds of rows as one list --- */

struct side { /* of the merge: where one kind goes on */
	struct kv_cursor *c;
	unsigned char begin[2]; /* of its keys */
	size_t begin_n;
	bool ordered; /* by order keys: the row is looked up */
	bool any;     /* it is at a row */
	struct outbox_row row;
};

/* The row of the key where the cursor is; rc: of getting there. */
static int
side_read(struct side *s, struct store_tx *tx, enum outbox_to to, int rc, struct kv_slice k,
	  struct kv_slice v, struct err *e)
{
	const unsigned char *p = k.p;

	s->any = false;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (k.n < s->begin_n || memcmp(p, s->begin, s->begin_n) != 0)
		return 0;
	if (k.n != (s->ordered ? (size_t)ORDER_KEY : (size_t)KEY))
		return err_set(e, ERR_CORRUPT, 0, "the order of the outbox is torn");
	s->any = true;
	if (s->ordered) {
		rc = outbox_get(tx, to, buf_get_be64(p + 10), &s->row, e);
		return rc == ERR_ABSENT ? err_set(e, ERR_CORRUPT, 0, "an outbox row is absent")
					: rc;
	}
	s->row.ordered = (p[0] & OTHER) != 0;
	return read_row(&s->row, buf_get_be64(p + 1), v, e);
}

/* At the first row, or at the one of this seq or after it. */
static int
side_first(struct side *s, struct store_tx *tx, enum outbox_to to, uint64_t seq, struct err *e)
{
	unsigned char key[KEY];
	struct kv_slice k, v;
	int rc = kv_cursor_seek(
		s->c, s->ordered ? kv_slice(s->begin, s->begin_n) : key_of(key, s->begin[0], seq),
		&k, &v, e);

	return side_read(s, tx, to, rc, k, v, e);
}

/* At the last row: before the first key above all of them. */
static int
side_last(struct side *s, struct store_tx *tx, enum outbox_to to, struct err *e)
{
	unsigned char above[2] = {s->begin[0], s->begin[1]};
	struct kv_slice k, v;
	int rc;

	above[s->begin_n - 1]++; /* no such set begins with 0xff but WAITING, read from its front */
	rc = kv_cursor_seek(s->c, kv_slice(above, s->begin_n), &k, &v, e);
	rc = rc == ERR_ABSENT ? kv_cursor_last(s->c, &k, &v, e)
	     : rc	      ? rc
			      : kv_cursor_prev(s->c, &k, &v, e);
	return side_read(s, tx, to, rc, k, v, e);
}

static int
side_step(struct side *s, struct store_tx *tx, enum outbox_to to, bool back, struct err *e)
{
	struct kv_slice k, v;
	int rc = back ? kv_cursor_prev(s->c, &k, &v, e) : kv_cursor_next(s->c, &k, &v, e);

	return side_read(s, tx, to, rc, k, v, e);
}

struct merge {
	struct store_tx *tx;
	enum outbox_to to;
	struct side a, b; /* b.begin_n 0: there is one side only */
	bool by_seq, back;
	uint64_t seq; /* to begin with */
};

/* Of a, b: whose row comes first? */
static bool
a_first(const struct merge *m)
{
	if (!m->a.any || !m->b.any)
		return m->a.any;
	if (m->by_seq)
		return m->a.row.seq < m->b.row.seq;
	return m->back ? m->a.row.first >= m->b.row.first : m->a.row.first <= m->b.row.first;
}

static int
side_open(struct merge *m, struct side *s, struct err *e)
{
	int rc;

	if (!s->begin_n)
		return 0;
	rc = kv_cursor_open(&s->c, store_tx_kv(m->tx), table(m->tx, OUTBOX_TABLE), e);
	if (rc)
		return rc;
	return m->back ? side_last(s, m->tx, m->to, e) : side_first(s, m->tx, m->to, m->seq, e);
}

static int
merge_run(struct merge *m, outbox_fn *fn, void *arg, struct err *e)
{
	int rc = side_open(m, &m->a, e);

	if (!rc)
		rc = side_open(m, &m->b, e);
	while (!rc && (m->a.any || m->b.any)) {
		struct side *s = a_first(m) ? &m->a : &m->b;

		rc = fn(arg, &s->row, e);
		if (!rc)
			rc = side_step(s, m->tx, m->to, m->back, e);
	}
	if (m->a.c)
		kv_cursor_close(m->a.c);
	if (m->b.c)
		kv_cursor_close(m->b.c);
	return rc;
}

int
outbox_each(struct store_tx *tx, enum outbox_to to, uint64_t seq, outbox_fn *fn, void *arg,
	    struct err *e)
{
	struct merge m = {.tx = tx, .to = to, .by_seq = true, .seq = seq};

	m.a.begin[0] = (unsigned char)first_byte(to, false);
	m.b.begin[0] = (unsigned char)first_byte(to, true);
	m.a.begin_n = m.b.begin_n = 1;
	return merge_run(&m, fn, arg, e);
}

/* The plain rows are fresh ones; those in order may be, too. */
static int
of_lane(struct store_tx *tx, enum outbox_to to, enum lane lane, bool back, outbox_fn *fn, void *arg,
	struct err *e)
{
	struct merge m = {.tx = tx, .to = to, .back = back};

	order_begin(m.b.begin, to, (unsigned)lane);
	m.b.begin_n = 2;
	m.b.ordered = true;
	if (lane == LANE_FRESH) {
		m.a.begin[0] = (unsigned char)first_byte(to, false);
		m.a.begin_n = 1;
	}
	return merge_run(&m, fn, arg, e);
}

int
outbox_newest(struct store_tx *tx, enum outbox_to to, enum lane lane, outbox_fn *fn, void *arg,
	      struct err *e)
{
	return of_lane(tx, to, lane, true, fn, arg, e);
}

int
outbox_oldest(struct store_tx *tx, enum outbox_to to, enum lane lane, outbox_fn *fn, void *arg,
	      struct err *e)
{
	return of_lane(tx, to, lane, false, fn, arg, e);
}

int
outbox_late(struct store_tx *tx, enum outbox_to to, outbox_fn *fn, void *arg, struct err *e)
{
	struct merge m = {.tx = tx, .to = to};

	order_begin(m.a.begin, to, WAITING);
	m.a.begin_n = 2;
	m.a.ordered = true;
	return merge_run(&m, fn, arg, e);
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
