/*
 * Chunks: how bytes lie in LMDB (R13, DESIGN 4).
 *
 * Value: magic u32, format u16, flags u16 (1: last), object id u64, number u32,
 * length u32, checksum u64 (XXH3-64 of the payload), payload, and in the last
 * one behind it: digest 32, size u64, seq u64, UID length u8, UID. Together with LMDB's
 * 16 byte page header a whole chunk fills pages exactly; a last one is filled up
 * to whole pages, so that freed runs fit again.
 */
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/private.h"

enum {
	MAGIC = 0x4b434c53, /* "SLCK" */
	FORMAT = 1,
	LAST = 1,
	HEAD = CHUNK_HEAD,
	TAIL_MAX = SHA256_SIZE + 17 + UID_SIZE,
	PAGE = 4096,
	PAGE_HEAD = 16,
	IN_NODE = 1900,	   /* values up to about this lie inside a leaf page */
	ROW_COST = 4096,   /* index rows, records and keys of one object  */
	HEADER_COST = 8192 /* and the record of its header, mostly        */
};

uint32_t
chunk_value_size(uint32_t class)
{
	return class - PAGE_HEAD;
}

uint32_t
chunk_payload(const struct store *s)
{
	return s->chunk_value - HEAD - TAIL_MAX; /* any chunk may turn out to be the last */
}

static struct kv_slice
chunk_key(unsigned char b[12], uint64_t id, uint32_t number)
{
	buf_set_be64(b, id);
	buf_set_be32(b + 8, number);
	return kv_slice(b, 12);
}

static size_t
tail_bytes(const struct chunk_tail *tail)
{
	return SHA256_SIZE + 8 + 8 + 1 + strlen(tail->uid);
}

static void
write_tail(unsigned char *p, const struct chunk_tail *tail)
{
	size_t n = strlen(tail->uid);

	memcpy(p, tail->digest, SHA256_SIZE);
	buf_set_u64(p + SHA256_SIZE, tail->size);
	buf_set_u64(p + SHA256_SIZE + 8, tail->seq);
	p[SHA256_SIZE + 16] = (unsigned char)n;
	memcpy(p + SHA256_SIZE + 17, tail->uid, n);
}

int
chunk_put(struct store_tx *tx, uint64_t id, uint32_t number, const void *p, uint32_t n,
	  const struct chunk_tail *tail, struct err *e)
{
	unsigned char key[12], *to;
	size_t used = HEAD + n + (tail ? tail_bytes(tail) : 0), size = used;
	void *room;
	int rc;

	if (size > IN_NODE) /* fill up to whole pages */
		size = (used + PAGE_HEAD + PAGE - 1) / PAGE * PAGE - PAGE_HEAD;
	rc = kv_reserve(tx->txn, T_CHUNK, chunk_key(key, id, number), size, &room, e);
	if (rc)
		return rc;
	to = room;
	buf_set_u32(to, MAGIC);
	buf_set_u16(to + 4, FORMAT);
	buf_set_u16(to + 6, tail ? LAST : 0);
	buf_set_u64(to + 8, id);
	buf_set_u32(to + 16, number);
	buf_set_u32(to + 20, n);
	buf_set_u64(to + 24, xxh64_of(p, n));
	memcpy(to + HEAD, p, n);
	if (tail)
		write_tail(to + HEAD + n, tail);
	memset(to + used, 0, size - used);
	return 0;
}

size_t
chunk_room(const unsigned char head[CHUNK_HEAD])
{
	bool last = buf_get_u16(head + 6) & LAST;

	if (buf_get_u32(head) != MAGIC || buf_get_u16(head + 4) != FORMAT)
		return 0;
	/* Less the UID, whose length stands in the tail. */
	return HEAD + (size_t)buf_get_u32(head + 20) + (last ? TAIL_MAX - UID_SIZE : 0);
}

static bool
parse_tail(const unsigned char *p, size_t n, struct chunk_view *out)
{
	size_t uid;

	if (n < TAIL_MAX - UID_SIZE)
		return false;
	out->digest = p;
	out->size = buf_get_u64(p + SHA256_SIZE);
	out->seq = buf_get_u64(p + SHA256_SIZE + 8);
	uid = p[SHA256_SIZE + 16];
	if (uid >= UID_SIZE || uid > n - (TAIL_MAX - UID_SIZE))
		return false;
	memcpy(out->uid, p + SHA256_SIZE + 17, uid);
	return true;
}

/* All but the checksum and what lies behind the payload. */
static bool
parse_head(const unsigned char *c, size_t n, struct chunk_view *out)
{
	memset(out, 0, sizeof(*out));
	if (n < HEAD || chunk_room(c) == 0 || chunk_room(c) > n)
		return false;
	out->id = buf_get_u64(c + 8);
	out->number = buf_get_u32(c + 16);
	out->length = buf_get_u32(c + 20);
	out->payload = c + HEAD;
	out->last = buf_get_u16(c + 6) & LAST;
	return true;
}

bool
chunk_parse(const void *value, size_t n, struct chunk_view *out)
{
	const unsigned char *c = value;

	if (!parse_head(c, n, out) || buf_get_u64(c + 24) != xxh64_of(out->payload, out->length))
		return false;
	return !out->last || parse_tail(out->payload + out->length, n - HEAD - out->length, out);
}

static int
find(struct store_tx *tx, uint64_t id, uint32_t number, struct kv_slice *v, struct err *e)
{
	unsigned char key[12];
	int rc = kv_get(tx->txn, T_CHUNK, chunk_key(key, id, number), v, e);

	if (rc == ERR_ABSENT)
		return err_set(e, ERR_CORRUPT, 0, "chunk %u of object %llu is gone", number,
			       (unsigned long long)id);
	if (!rc)
		kv_load(*v, false);
	return rc;
}

static int
damaged(uint64_t id, uint32_t number, struct err *e)
{
	return err_set(e, ERR_CORRUPT, 0, "chunk %u of object %llu fails its check", number,
		       (unsigned long long)id);
}

int
chunk_get(struct store_tx *tx, uint64_t id, uint32_t number, const void **p, uint32_t *n,
	  struct err *e)
{
	struct chunk_view c;
	struct kv_slice v;
	int rc = find(tx, id, number, &v, e);

	if (rc)
		return rc;
	if (!chunk_parse(v.p, v.n, &c) || c.id != id || c.number != number)
		return damaged(id, number, e);
	*p = c.payload;
	*n = c.length;
	return 0;
}

/* The copy is what is checked: it is in the processor's cache then, and is what is given out. */
int
chunk_copy(struct store_tx *tx, uint64_t id, uint32_t number, void *to, uint32_t n, struct err *e)
{
	struct chunk_view c;
	struct kv_slice v;
	int rc = find(tx, id, number, &v, e);

	if (rc)
		return rc;
	if (!parse_head(v.p, v.n, &c) || c.id != id || c.number != number || c.length != n ||
	    (c.last && !parse_tail(c.payload + n, v.n - HEAD - n, &c)))
		return damaged(id, number, e);
	memcpy(to, c.payload, n);
	if (buf_get_u64((const unsigned char *)v.p + 24) != xxh64_of(to, n))
		return damaged(id, number, e);
	return 0;
}

int
chunk_is_of(struct store_tx *tx, uint64_t id, uint32_t number, const struct chunk_tail *tail,
	    struct err *e)
{
	struct chunk_view c;
	struct kv_slice v;
	int rc = find(tx, id, number, &v, e);

	if (rc)
		return rc;
	if (chunk_parse(v.p, v.n, &c) && !c.last) {
		rc = find(tx, id, ++number, &v, e);
		if (rc)
			return rc;
	}
	if (!chunk_parse(v.p, v.n, &c) || !c.last || c.size != tail->size ||
	    memcmp(c.digest, tail->digest, SHA256_SIZE) != 0 || strcmp(c.uid, tail->uid) != 0)
		return damaged(id, number, e);
	return 0;
}

int
chunk_fresh(struct store_tx *tx, uint64_t id, const void **p, uint32_t *n, struct err *e)
{
	unsigned char key[12];
	struct kv_slice v;
	int rc = kv_get(tx->txn, T_CHUNK, chunk_key(key, id, 0), &v, e);

	if (rc)
		return rc;
	*p = (const unsigned char *)v.p + HEAD;
	*n = buf_get_u32((const unsigned char *)v.p + 20);
	return 0;
}

void
chunk_expect(struct store_tx *tx, uint64_t id, uint32_t number)
{
	unsigned char key[12];
	struct kv_slice v;

	if (!kv_get(tx->txn, T_CHUNK, chunk_key(key, id, number), &v, NULL))
		kv_load(v, true);
}

int
chunk_delete(struct store_tx *tx, uint64_t id, uint64_t most, uint64_t *freed, bool *done,
	     struct err *e)
{
	unsigned char first[12];
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, tx->txn, T_CHUNK, e);

	*done = false;
	*freed = 0;
	if (rc)
		return rc;
	rc = kv_cursor_seek(c, chunk_key(first, id, 0), &k, &v, e);
	while (!rc && *freed < most) {
		if (k.n != 12 || memcmp(k.p, first, 8) != 0) {
			rc = ERR_ABSENT;
			break;
		}
		*freed += v.n + PAGE_HEAD;
		rc = kv_cursor_del(c, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	if (rc == ERR_ABSENT) {
		*done = true;
		rc = 0;
	}
	return rc;
}

uint64_t
chunk_cost(const struct store *s, uint64_t size)
{
	uint64_t payload = chunk_payload(s), whole = size / payload, rest = size % payload;

	return whole * (s->chunk_value + PAGE_HEAD) + (rest + HEAD + 256 + PAGE) / PAGE * PAGE +
	       ROW_COST + (size >= STORE_HEADER_FROM ? HEADER_COST : 0);
}
