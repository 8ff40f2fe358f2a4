/* The bytes of one object on their way in: in memory, or in groups of chunks. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/private.h"

struct store_spool {
	struct store *s;
	uint64_t id; /* object id of the chunks                      */
	struct buf b;
	uint32_t written;  /* chunks that are in the environment already */
	uint64_t size;	   /* of all that was added                      */
	uint64_t admitted; /* for what is in memory: the rest is in use  */
};

int
store_spool_open(struct store_spool **out, struct store *s, struct err *e)
{
	struct store_spool *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for an object");
	p->s = s;
	p->id = store_new_id(s);
	*out = p;
	return 0;
}

uint64_t
spool_id(const struct store_spool *p)
{
	return p->id;
}

uint64_t
store_spool_size(const struct store_spool *p)
{
	return p->size;
}

uint64_t
store_spool_left(const struct store_spool *p)
{
	return p->b.len;
}

/* Whole chunks only; what is behind them stays in memory. */
static int
write_group(struct store_tx *tx, void *arg, struct err *e)
{
	struct store_spool *p = arg;
	unsigned char key[8];
	uint32_t payload = chunk_payload(p->s), i;
	int rc = kv_put(tx->txn, T_SPOOLED, be64_key(key, p->id), kv_slice("", 0), e);

	for (i = 0; !rc && i < p->b.len / payload; i++)
		rc = chunk_put(tx, p->id, p->written + i, p->b.data + (size_t)i * payload, payload,
			       NULL, e);
	return rc;
}

/* R12: what is on its way in counts before it is written, and once. */
static int
admit(struct store_spool *p, size_t in_memory, struct err *e)
{
	uint64_t cost = chunk_cost(p->s, in_memory), more = cost - p->admitted;
	int rc;

	if (cost <= p->admitted)
		return 0;
	rc = store_admit(p->s, more, e);
	if (rc)
		return rc;
	atomic_fetch_add(&p->s->admitted, more);
	p->admitted = cost;
	return 0;
}

static int
flush_group(struct store_spool *p, struct err *e)
{
	uint32_t payload = chunk_payload(p->s);
	size_t whole = p->b.len / payload * payload;
	int rc = store_commit_bytes(p->s, write_group, p, p->b.len, e);

	if (rc)
		return rc;
	p->written += (uint32_t)(p->b.len / payload);
	memmove(p->b.data, p->b.data + whole, p->b.len - whole);
	p->b.len -= whole;
	atomic_fetch_sub(&p->s->admitted, p->admitted); /* measured as used from now on */
	p->admitted = 0;
	return 0;
}

/* All objects on their way in share so much memory; beyond it each keeps two chunks only. */
static size_t
group_limit(const struct store_spool *p)
{
	bool tight = atomic_load(&p->s->admitted) > p->s->c.buffers;

	return tight ? 2 * (size_t)chunk_payload(p->s) : STORE_GROUP;
}

/* Gives memory back that was taken when there was enough of it. */
static void
shrink(struct store_spool *p)
{
	struct buf small = BUF_INIT;

	buf_put(&small, p->b.data, p->b.len);
	if (buf_failed(&small)) {
		buf_fini(&small);
		return;
	}
	buf_fini(&p->b);
	p->b = small;
}

int
store_spool_add(struct store_spool *p, const void *bytes, size_t n, struct err *e)
{
	const unsigned char *c = bytes;
	int rc = 0;

	while (!rc && n > 0) {
		size_t limit = group_limit(p), room, part;

		if (p->b.len >= limit) {
			rc = flush_group(p, e);
			if (limit < STORE_GROUP)
				shrink(p);
			continue;
		}
		room = limit - p->b.len;
		part = n < room ? n : room;
		rc = admit(p, p->b.len + part, e);
		if (rc)
			break;
		buf_put(&p->b, c, part);
		if (buf_failed(&p->b))
			return err_set(e, ERR_LOCAL, 0, "no memory for an object");
		p->size += part;
		c += part;
		n -= part;
	}
	return rc;
}

int
spool_finish(struct store_tx *tx, struct store_spool *p, const struct chunk_tail *tail,
	     struct err *e)
{
	uint32_t payload = chunk_payload(p->s), number = p->written;
	const unsigned char *at = p->b.data;
	size_t left = p->b.len;
	unsigned char key[8];
	int rc = 0;

	while (!rc && left > payload) {
		rc = chunk_put(tx, p->id, number++, at, payload, NULL, e);
		at += payload;
		left -= payload;
	}
	if (!rc)
		rc = chunk_put(tx, p->id, number, at ? at : (const unsigned char *)"",
			       (uint32_t)left, tail, e);
	if (!rc && p->written) {
		rc = kv_del(tx->txn, T_SPOOLED, be64_key(key, p->id), e);
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	return rc;
}

static int
abandon(struct store_tx *tx, void *arg, struct err *e)
{
	struct store_spool *p = arg;
	unsigned char key[8];
	int rc = kv_del(tx->txn, T_SPOOLED, be64_key(key, p->id), e);

	/* Put by a commit that readers do not see yet: it is no orphan. */
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	return space_drop(tx, p->id, p->size, e);
}

/*
 * Only the commit that put the object takes its row out of T_SPOOLED; a closure that
 * ran and was undone leaves it. So the row, not a flag of ours, says what is an orphan.
 */
static int
find_orphan(const struct store_spool *p, bool *orphan, struct err *e)
{
	struct store_tx *tx;
	unsigned char key[8];
	int rc;

	*orphan = false;
	if (p->written == 0)
		return 0;
	rc = store_begin_read(&tx, p->s, e);
	if (rc)
		return rc;
	rc = kv_get(tx->txn, T_SPOOLED, be64_key(key, p->id), NULL, e);
	store_end_read(tx);
	*orphan = rc == 0;
	return rc == ERR_ABSENT ? 0 : rc;
}

void
store_spool_close(struct store_spool *p)
{
	struct err e = ERR_INIT;
	bool orphan;
	int rc;

	if (!p)
		return;
	atomic_fetch_sub(&p->s->admitted, p->admitted);
	rc = find_orphan(p, &orphan, &e);
	if (!rc && orphan)
		rc = store_commit(p->s, abandon, p, &e);
	if (rc) { /* R12: the disk is full, say; within seconds all the same */
		log_err(LOG_WARN, "store.abandon", &e);
		space_later(p->s, p->id, p->size);
	}
	buf_fini(&p->b);
	free(p);
}
