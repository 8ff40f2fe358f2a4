/*
 * The bytes of one object on their way in: in memory, or in groups of whole chunks that the
 * committer writes while the next group arrives and is hashed.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/private.h"

struct group { /* what is in memory, and what of the room it was let in with */
	struct buf b;
	uint64_t admitted;
};

struct store_spool {
	struct store *s;
	uint64_t id;	    /* object id of the chunks                      */
	struct group fresh; /* arrives                                      */
	/* Whole chunks, handed over: the committer reads them while it is under way; then they are
	 * written or, if that failed, stay here. */
	struct group going;
	struct commit_request request;
	bool under_way;
	uint32_t written; /* chunks that are in the environment already   */
	uint64_t size;	  /* of all that was added                        */
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
	return p->fresh.b.len;
}

static int
put_group(struct store_tx *tx, const struct store_spool *p, struct err *e)
{
	uint32_t payload = chunk_payload(p->s), i;
	int rc = 0;

	for (i = 0; !rc && i < p->going.b.len / payload; i++)
		rc = chunk_put(tx, p->id, p->written + i, p->going.b.data + (size_t)i * payload,
			       payload, NULL, e);
	return rc;
}

static int
write_group(struct store_tx *tx, void *arg, struct err *e)
{
	struct store_spool *p = arg;
	unsigned char key[8];
	int rc = kv_put(tx->txn, T_SPOOLED, be64_key(key, p->id), kv_slice("", 0), e);

	return rc ? rc : put_group(tx, p, e);
}

static void
release(struct store_spool *p, struct group *g)
{
	atomic_fetch_sub(&p->s->admitted, g->admitted);
	g->admitted = 0;
}

/* R12: what is on its way in counts before it is written, and once. */
static int
admit(struct store_spool *p, size_t in_memory, struct err *e)
{
	uint64_t cost = chunk_cost(p->s, in_memory), more = cost - p->fresh.admitted;
	int rc;

	if (cost <= p->fresh.admitted)
		return 0;
	rc = store_admit(p->s, more, e);
	if (rc)
		return rc;
	atomic_fetch_add(&p->s->admitted, more);
	p->fresh.admitted = cost;
	return 0;
}

static void
begin_group(struct store_spool *p)
{
	memset(&p->request, 0, sizeof(p->request));
	p->request.fn = write_group;
	p->request.arg = p;
	p->request.bytes = p->going.b.len;
	p->under_way = true;
	commit_begin(p->s, &p->request);
}

/* After 0 nothing is under way and `going` is empty; else it is to be tried again. */
static int
finish_group(struct store_spool *p, struct err *e)
{
	int rc;

	if (p->going.b.len == 0)
		return 0;
	if (!p->under_way) /* it failed before */
		begin_group(p);
	rc = commit_wait(&p->request, e);
	p->under_way = false;
	if (rc)
		return rc;
	p->written += (uint32_t)(p->going.b.len / chunk_payload(p->s));
	buf_clear(&p->going.b);
	release(p, &p->going); /* measured as used from now on */
	return 0;
}

/* All objects on their way in share so much memory; beyond it each keeps two chunks only. */
static bool
is_tight(const struct store_spool *p)
{
	return atomic_load(&p->s->admitted) > p->s->c.buffers;
}

/* Of one group, of which two are in memory: whole chunks. */
static size_t
group_limit(const struct store_spool *p)
{
	size_t payload = chunk_payload(p->s), chunks = STORE_GROUP / 2 / payload;

	return payload * (chunks > 1 && !is_tight(p) ? chunks : 1);
}

/* The whole chunks of what arrived are written from now on; the rest goes on arriving. */
static int
hand_over(struct store_spool *p, struct err *e)
{
	size_t payload = chunk_payload(p->s), whole = p->fresh.b.len / payload * payload;
	size_t rest = p->fresh.b.len - whole;
	struct group full = p->fresh;
	int rc = finish_group(p, e);

	if (rc)
		return rc;
	p->fresh = p->going;
	if (is_tight(p)) /* memory that was taken when there was enough of it */
		buf_fini(&p->fresh.b);
	buf_put(&p->fresh.b, full.b.data + whole, rest);
	p->going = full;
	p->going.b.len = whole;
	begin_group(p);
	return buf_failed(&p->fresh.b) ? err_set(e, ERR_LOCAL, 0, "no memory for an object") : 0;
}

/* A group that was written counts as used already: it is let go of before anything is refused. */
static int
admit_more(struct store_spool *p, size_t in_memory, struct err *e)
{
	struct err full = ERR_INIT;
	int rc = admit(p, in_memory, &full);

	if (rc == ERR_FULL && p->under_way) {
		rc = finish_group(p, e);
		return rc ? rc : admit(p, in_memory, e);
	}
	return rc ? err_set(e, full.code, full.sys, "%s", full.what) : 0;
}

int
store_spool_add(struct store_spool *p, const void *bytes, size_t n, struct err *e)
{
	const unsigned char *c = bytes;
	int rc = 0;

	while (!rc && n > 0) {
		size_t limit = group_limit(p), room, part;

		if (p->fresh.b.len >= limit) {
			rc = hand_over(p, e);
			continue;
		}
		room = limit - p->fresh.b.len;
		part = n < room ? n : room;
		rc = admit_more(p, p->fresh.b.len + part, e);
		if (rc)
			break;
		buf_put(&p->fresh.b, c, part);
		if (buf_failed(&p->fresh.b))
			return err_set(e, ERR_LOCAL, 0, "no memory for an object");
		p->size += part;
		c += part;
		n -= part;
	}
	return rc;
}

/*
 * Runs behind the group that is under way, in its transaction or a later one: so what became of it
 * is known here. If it failed, it is written here.
 */
int
spool_finish(struct store_tx *tx, struct store_spool *p, const struct chunk_tail *tail,
	     struct err *e)
{
	uint32_t payload = chunk_payload(p->s);
	uint32_t number = p->written + (uint32_t)(p->going.b.len / payload);
	const unsigned char *at = p->fresh.b.data;
	size_t left = p->fresh.b.len;
	unsigned char key[8];
	int rc = 0;

	if (!p->under_way || p->request.rc)
		rc = put_group(tx, p, e);
	while (!rc && left > payload) {
		rc = chunk_put(tx, p->id, number++, at, payload, NULL, e);
		at += payload;
		left -= payload;
	}
	if (!rc)
		rc = chunk_put(tx, p->id, number, at ? at : (const unsigned char *)"",
			       (uint32_t)left, tail, e);
	if (!rc && (p->written || p->going.b.len)) {
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
	if (p->under_way)
		(void)finish_group(p, NULL);
	release(p, &p->going);
	release(p, &p->fresh);
	rc = find_orphan(p, &orphan, &e);
	if (!rc && orphan)
		rc = store_commit(p->s, abandon, p, &e);
	if (rc) { /* R12: the disk is full, say; within seconds all the same */
		log_err(LOG_WARN, "store.abandon", &e);
		space_later(p->s, p->id, p->size);
	}
	buf_fini(&p->going.b);
	buf_fini(&p->fresh.b);
	free(p);
}
