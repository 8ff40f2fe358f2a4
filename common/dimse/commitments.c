#include "common/dimse/commitments.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/dimse/message.h"
#include "common/dimse/references.h"
#include "common/kv/kv.h"
#include "common/store/store.h"

enum {
	REQUEST = 'r',
	INSTANCE = 'i',
	TRANSACTION = 't',
	NUMBERS = 'n',
	REQUEST_KEY = 9,
	INSTANCE_KEY = 13,
	TRANSACTION_KEY = 1 + SHA256_SIZE,
	FIXED = 5 * 4 + 3 * 8 + SHA256_SIZE,
	NUMBERS_SIZE = 16
};

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), COMMITMENTS_TABLE);
}

static struct kv_slice
request_key(unsigned char key[REQUEST_KEY], uint64_t number)
{
	key[0] = REQUEST;
	buf_set_be64(key + 1, number);
	return kv_slice(key, REQUEST_KEY);
}

static struct kv_slice
instance_key(unsigned char key[INSTANCE_KEY], uint64_t number, uint32_t index)
{
	key[0] = INSTANCE;
	buf_set_be64(key + 1, number);
	buf_set_be32(key + 9, index);
	return kv_slice(key, INSTANCE_KEY);
}

static struct kv_slice
transaction_key(unsigned char key[TRANSACTION_KEY], const struct commitment_row *row)
{
	struct buf b = BUF_INIT;

	buf_put(&b, row->calling, strlen(row->calling) + 1);
	buf_put(&b, row->transaction, strlen(row->transaction));
	key[0] = TRANSACTION;
	sha256_of(b.data, b.len, key + 1);
	buf_fini(&b);
	return kv_slice(key, TRANSACTION_KEY);
}

int64_t
commitments_time(struct store *s)
{
	int64_t now = store_time(s);

	return now ? now : 1;
}

/* --- a request --- */

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

int
commitments_put(struct store_tx *tx, const struct commitment_row *row, struct err *e)
{
	unsigned char key[REQUEST_KEY];
	struct buf b = BUF_INIT;
	int rc;

	buf_put_u32(&b, row->n);
	buf_put_u32(&b, row->decided);
	buf_put_u32(&b, row->failed);
	buf_put_u32(&b, row->here_only);
	buf_put_u32(&b, row->tries);
	buf_put_u64(&b, (uint64_t)row->asked_ms);
	buf_put_u64(&b, (uint64_t)row->ready_ms);
	buf_put_u64(&b, (uint64_t)row->next_ms);
	buf_put(&b, row->list, sizeof(row->list));
	put_text(&b, row->peer);
	put_text(&b, row->calling);
	put_text(&b, row->called);
	put_text(&b, row->transaction);
	rc = buf_failed(&b) ? err_set(e, ERR_LOCAL, 0, "no memory for a request")
			    : kv_put(store_tx_kv(tx), table(tx), request_key(key, row->number),
				     kv_slice(b.data, b.len), e);
	buf_fini(&b);
	return rc;
}

static int
read_request(struct commitment_row *out, uint64_t number, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;
	size_t n = v.n < FIXED ? 0 : v.n - FIXED;

	memset(out, 0, sizeof(*out));
	if (!n)
		return err_set(e, ERR_CORRUPT, 0, "a request for commitment is torn");
	out->number = number;
	out->n = buf_get_u32(p);
	out->decided = buf_get_u32(p + 4);
	out->failed = buf_get_u32(p + 8);
	out->here_only = buf_get_u32(p + 12);
	out->tries = buf_get_u32(p + 16);
	out->asked_ms = (int64_t)buf_get_u64(p + 20);
	out->ready_ms = (int64_t)buf_get_u64(p + 28);
	out->next_ms = (int64_t)buf_get_u64(p + 36);
	memcpy(out->list, p + 44, sizeof(out->list));
	p += FIXED;
	if (!take_text(&p, &n, out->peer, sizeof(out->peer)) ||
	    !take_text(&p, &n, out->calling, sizeof(out->calling)) ||
	    !take_text(&p, &n, out->called, sizeof(out->called)) ||
	    !take_text(&p, &n, out->transaction, sizeof(out->transaction)) || out->decided > out->n)
		return err_set(e, ERR_CORRUPT, 0, "a request for commitment is torn");
	return 0;
}

int
commitments_get(struct store_tx *tx, uint64_t number, struct commitment_row *out, struct err *e)
{
	unsigned char key[REQUEST_KEY];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), request_key(key, number), &v, e);

	return rc ? rc : read_request(out, number, v, e);
}

int
commitments_each(struct store_tx *tx, uint64_t from,
		 int (*fn)(void *arg, const struct commitment_row *row, struct err *e), void *arg,
		 struct err *e)
{
	unsigned char key[REQUEST_KEY];
	struct commitment_row row;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, request_key(key, from), &k, &v, e);
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

/* --- its instances --- */

int
commitments_verdict(struct store_tx *tx, uint64_t number, uint32_t index, const struct reference *r,
		    struct err *e)
{
	unsigned char key[INSTANCE_KEY];
	struct buf b = BUF_INIT;
	int rc;

	buf_put_u16(&b, r->reason);
	put_text(&b, r->sop_class);
	put_text(&b, r->sop_instance);
	rc = buf_failed(&b) ? err_set(e, ERR_LOCAL, 0, "no memory for a request")
			    : kv_put(store_tx_kv(tx), table(tx), instance_key(key, number, index),
				     kv_slice(b.data, b.len), e);
	buf_fini(&b);
	return rc;
}

static int
read_instance(struct reference *out, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;
	size_t n = v.n < 2 ? 0 : v.n - 2;

	memset(out, 0, sizeof(*out));
	if (n) {
		out->reason = buf_get_u16(p);
		p += 2;
	}
	if (!n || !take_text(&p, &n, out->sop_class, sizeof(out->sop_class)) ||
	    !take_text(&p, &n, out->sop_instance, sizeof(out->sop_instance)))
		return err_set(e, ERR_CORRUPT, 0, "an instance of a request is torn");
	return 0;
}

int
commitments_instance(struct store_tx *tx, uint64_t number, uint32_t index, struct reference *out,
		     struct err *e)
{
	unsigned char key[INSTANCE_KEY];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), instance_key(key, number, index), &v, e);

	if (rc == ERR_ABSENT)
		return err_set(e, ERR_CORRUPT, 0, "an instance of a request is missing");
	return rc ? rc : read_instance(out, v, e);
}

int
commitments_list(struct store_tx *tx, uint64_t number, uint32_t from, uint32_t most,
		 struct references *out, struct err *e)
{
	struct reference *more = realloc(out->all, (out->n + most) * sizeof(*more));
	uint32_t i;
	int rc = 0;

	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for a result");
	out->all = more;
	for (i = 0; !rc && i < most; i++) {
		rc = commitments_instance(tx, number, from + i, &out->all[out->n], e);
		out->n += rc == 0;
	}
	return rc;
}

/* --- how many --- */

static int
read_numbers(struct store_tx *tx, uint64_t *last, uint64_t *count, struct err *e)
{
	static const unsigned char key = NUMBERS;
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), kv_slice(&key, 1), &v, e);

	*last = *count = 0;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (v.n != NUMBERS_SIZE)
		return err_set(e, ERR_CORRUPT, 0, "the numbers of requests are torn");
	*last = buf_get_u64(v.p);
	*count = buf_get_u64((const unsigned char *)v.p + 8);
	return 0;
}

static int
write_numbers(struct store_tx *tx, uint64_t last, uint64_t count, struct err *e)
{
	static const unsigned char key = NUMBERS;
	unsigned char v[NUMBERS_SIZE];

	buf_set_u64(v, last);
	buf_set_u64(v + 8, count);
	return kv_put(store_tx_kv(tx), table(tx), kv_slice(&key, 1), kv_slice(v, sizeof(v)), e);
}

int
commitments_count(struct store_tx *tx, uint64_t *out, struct err *e)
{
	uint64_t last;

	return read_numbers(tx, &last, out, e);
}

/* --- coming and going --- */

static void
hash_list(struct commitment_row *row, const struct references *r)
{
	struct buf b = BUF_INIT;
	size_t i;

	for (i = 0; i < r->n; i++) {
		put_text(&b, r->all[i].sop_class);
		put_text(&b, r->all[i].sop_instance);
	}
	sha256_of(b.data, b.len, row->list);
	buf_fini(&b);
}

/* The request that this transaction names already; ERR_ABSENT: none. */
static int
find(struct store_tx *tx, const struct commitment_row *row, struct commitment_row *out,
     struct err *e)
{
	unsigned char key[TRANSACTION_KEY];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), transaction_key(key, row), &v, e);

	if (!rc && v.n != 8)
		return err_set(e, ERR_CORRUPT, 0, "a transaction's row is torn");
	return rc ? rc : commitments_get(tx, buf_get_be64(v.p), out, e);
}

static int
add_rows(struct store_tx *tx, struct commitment_row *row, const struct references *r, bool named,
	 struct err *e)
{
	unsigned char key[TRANSACTION_KEY], number[8];
	uint32_t i;
	int rc = commitments_put(tx, row, e);

	buf_set_be64(number, row->number);
	if (!rc && named)
		rc = kv_put(store_tx_kv(tx), table(tx), transaction_key(key, row),
			    kv_slice(number, sizeof(number)), e);
	for (i = 0; !rc && i < row->n; i++) {
		struct reference one = r->all[i];

		one.reason = named ? 0u : (unsigned)REASON_DUPLICATE_TRANSACTION;
		rc = commitments_verdict(tx, row->number, i, &one, e);
	}
	return rc;
}

int
commitments_add(struct store_tx *tx, struct commitment_row *row, const struct references *r,
		bool *again, struct err *e)
{
	struct commitment_row other = {.number = 0};
	uint64_t last, count;
	int rc = read_numbers(tx, &last, &count, e);
	bool named;

	*again = false;
	hash_list(row, r);
	if (!rc)
		rc = find(tx, row, &other, e);
	named = rc == ERR_ABSENT;
	if (!rc && memcmp(other.list, row->list, sizeof(row->list)) == 0) {
		*again = true;
		*row = other;
		return 0;
	}
	if (rc && rc != ERR_ABSENT)
		return rc;
	if (count >= COMMITMENTS_MOST)
		return err_set(e, ERR_FULL, 0, "%d requests for commitment wait", COMMITMENTS_MOST);
	row->number = last + 1;
	row->n = (uint32_t)r->n;
	row->decided = row->failed = named ? 0 : row->n; /* PS3.3 C.14.1: 0131 */
	row->ready_ms = named ? 0 : commitments_time(store_tx_store(tx));
	rc = write_numbers(tx, last + 1, count + 1, e);
	return rc ? rc : add_rows(tx, row, r, named, e);
}

int
commitments_del(struct store_tx *tx, uint64_t number, struct err *e)
{
	unsigned char key[TRANSACTION_KEY];
	struct commitment_row row, other;
	uint64_t last, count;
	uint32_t i;
	int rc = commitments_get(tx, number, &row, e);

	if (rc)
		return rc;
	rc = find(tx, &row, &other, e);
	if (!rc && other.number == number)
		rc = kv_del(store_tx_kv(tx), table(tx), transaction_key(key, &row), e);
	rc = rc == ERR_ABSENT ? 0 : rc;
	for (i = 0; !rc && i < row.n; i++) {
		rc = kv_del(store_tx_kv(tx), table(tx), instance_key(key, number, i), e);
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	if (!rc)
		rc = kv_del(store_tx_kv(tx), table(tx), request_key(key, number), e);
	if (!rc)
		rc = read_numbers(tx, &last, &count, e);
	return rc ? rc : write_numbers(tx, last, count ? count - 1 : 0, e);
}
