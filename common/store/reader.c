/* Giving out: chunk by chunk, each in a short read transaction of its own, checked (R13). */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/store/private.h"

enum { BY_TWO = 8 }; /* chunks from which on an object is checked by two threads */

struct store_reader {
	struct store *s;
	struct version v;
	unsigned char *chunk; /* the one read last */
	size_t capacity;
	uint32_t number, n;
	bool have;
};

/* aside: also what failed its check and is kept (store_set_aside). */
static int
open_reader(struct store_reader **out, struct store *s, uint64_t oid, bool aside, struct err *e)
{
	struct store_reader *r = calloc(1, sizeof(*r));
	struct store_tx *tx;
	int rc;

	if (!r)
		return err_set(e, ERR_LOCAL, 0, "no memory for a reader");
	r->s = s;
	rc = store_begin_read(&tx, s, e);
	if (!rc) {
		rc = store_version(tx, oid, &r->v, e);
		store_end_read(tx);
	}
	if (!rc && r->v.state != VERSION_HERE && !(aside && version_aside(&r->v)))
		rc = ERR_ABSENT;
	if (rc) {
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

int
store_read_open(struct store_reader **out, struct store *s, uint64_t oid, struct err *e)
{
	return open_reader(out, s, oid, false, e);
}

void
store_read_close(struct store_reader *r)
{
	if (!r)
		return;
	free(r->chunk);
	free(r);
}

void
store_read_expect(struct store *s, uint64_t oid)
{
	struct store_tx *tx;
	struct version v;

	if (store_begin_read(&tx, s, NULL))
		return;
	if (!store_version(tx, oid, &v, NULL) && v.state == VERSION_HERE &&
	    v.location == VERSION_CHUNKS)
		chunk_expect(tx, v.bytes, 0);
	store_end_read(tx);
}

const struct version *
store_read_version(const struct store_reader *r)
{
	return &r->v;
}

static int
grow(struct store_reader *r, size_t n, struct err *e)
{
	unsigned char *p;

	if (n <= r->capacity)
		return 0;
	p = realloc(r->chunk, n);
	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for a chunk");
	r->chunk = p;
	r->capacity = n;
	return 0;
}

/* Bytes of a chunk that is as it should be. */
static uint32_t
payload_of(const struct store_reader *r, uint32_t number)
{
	uint64_t left = r->v.size - (uint64_t)number * r->v.chunk_payload;

	return left < r->v.chunk_payload ? (uint32_t)left : r->v.chunk_payload;
}

/*
 * Copies one chunk and checks the copy, so that the transaction goes before anybody waits on a
 * socket.
 * to: room for payload_of bytes; NULL: it is kept for the next call, or (!keep) only checked.
 */
static int
copy_chunk(struct store_reader *r, struct store_tx *tx, uint32_t number, void *to, bool keep,
	   struct err *e)
{
	uint32_t want = payload_of(r, number), n = want;
	bool kept = !to && keep;
	const void *p;
	int rc;

	/* While this one is checked and sent, the disk reads the next. */
	if ((number + 1) * (uint64_t)r->v.chunk_payload < r->v.size)
		chunk_expect(tx, r->v.bytes, number + 1);
	if (kept) {
		rc = grow(r, want, e);
		if (rc)
			return rc;
		to = r->chunk;
	}
	rc = to ? chunk_copy(tx, r->v.bytes, number, to, want, e)
		: chunk_get(tx, r->v.bytes, number, &p, &n, e);
	if (!rc && n != want)
		rc = err_set(e, ERR_CORRUPT, 0, "chunk %u of object %llu has another length",
			     number, (unsigned long long)r->v.bytes);
	if (rc || !kept)
		return rc;
	r->n = want;
	r->number = number;
	r->have = true;
	return 0;
}

/*
 * What was evicted or repaired since the reader was opened is not damage: the
 * record is looked at again in the transaction that missed. *again: it lies elsewhere now.
 */
static int
look_again(struct store_reader *r, struct store_tx *tx, bool *again, struct err *e)
{
	struct version now;
	int rc = store_version(tx, r->v.oid, &now, e);

	*again = false;
	if (rc)
		return rc;
	if (now.location != VERSION_CHUNKS ||
	    (now.state != VERSION_HERE && now.state != r->v.state))
		return ERR_ABSENT;
	*again = now.bytes != r->v.bytes && now.chunk_payload == r->v.chunk_payload;
	if (*again)
		r->v = now;
	return *again ? 0 : ERR_CORRUPT;
}

/* to, keep: as copy_chunk. */
static int
load(struct store_reader *r, uint32_t number, void *to, bool keep, struct err *e)
{
	struct err why = ERR_INIT;
	struct store_tx *tx;
	bool again = true;
	int rc;

	rc = store_begin_read(&tx, r->s, e);
	if (rc)
		return rc;
	rc = copy_chunk(r, tx, number, to, keep, &why);
	if (rc == ERR_CORRUPT) {
		rc = look_again(r, tx, &again, e);
		if (!rc && again) {
			err_clear(&why);
			rc = copy_chunk(r, tx, number, to, keep, &why);
		}
	}
	store_end_read(tx);
	if (rc && rc != ERR_ABSENT && why.code != ERR_NONE)
		return err_set(e, why.code, why.sys, "%s", why.what);
	return rc;
}

int
store_read_some(struct store_reader *r, uint64_t offset, const void **p, size_t *n, struct err *e)
{
	uint32_t payload = r->v.chunk_payload, number;
	size_t at, got = 0;
	int rc;

	*n = 0;
	if (offset >= r->v.size)
		return 0;
	if (r->v.location == VERSION_PACK) {
		at = 1 << 20;
		if (at > r->v.size - offset)
			at = (size_t)(r->v.size - offset);
		rc = grow(r, at, e);
		if (!rc)
			rc = r->s->c.bytes.read(r->s->c.bytes.arg, &r->v, offset, r->chunk, at,
						&got, e);
		*p = r->chunk;
		*n = got;
		return rc ? rc : got ? 0 : err_set(e, ERR_CORRUPT, 0, "a pack ends too early");
	}
	number = (uint32_t)(offset / payload);
	if (!r->have || r->number != number) {
		r->have = false;
		rc = load(r, number, NULL, true, e);
		if (rc)
			return rc;
	}
	at = (size_t)(offset % payload);
	if (at >= r->n)
		return err_set(e, ERR_CORRUPT, 0, "object %llu ends too early",
			       (unsigned long long)r->v.bytes);
	*p = r->chunk + at;
	*n = r->n - at;
	return 0;
}

/* A whole chunk goes straight to where it is wanted. *part 0: it is not wanted whole. */
static int
read_whole(struct store_reader *r, uint64_t offset, void *to, size_t n, size_t *part, struct err *e)
{
	uint32_t payload = r->v.chunk_payload;
	uint32_t number;

	*part = 0;
	if (r->v.location == VERSION_PACK || offset % payload)
		return 0;
	number = (uint32_t)(offset / payload);
	if (payload_of(r, number) > n)
		return 0;
	*part = payload_of(r, number);
	return load(r, number, to, false, e);
}

int
store_read(struct store_reader *r, uint64_t offset, void *buf, size_t n, size_t *got, struct err *e)
{
	unsigned char *to = buf;
	const void *p;
	size_t part;
	int rc = 0;

	*got = 0;
	while (!rc && *got < n && offset + *got < r->v.size) {
		rc = read_whole(r, offset + *got, to + *got, n - *got, &part, e);
		*got += rc ? 0 : part;
		if (rc || part)
			continue;
		rc = store_read_some(r, offset + *got, &p, &part, e);
		if (rc)
			break;
		if (part > n - *got)
			part = n - *got;
		memcpy(to + *got, p, part);
		*got += part;
	}
	return rc;
}

static int
check_digest(struct store_reader *r, struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	struct sha256 *sha = NULL;
	uint64_t at = 0;
	const void *p;
	size_t n = 0;
	int rc = sha256_new(&sha, e);

	while (!rc && at < r->v.size) {
		rc = store_read_some(r, at, &p, &n, e);
		if (!rc) {
			sha256_add(sha, p, n);
			at += n;
		}
	}
	if (!rc) {
		sha256_end(sha, digest);
		if (memcmp(digest, r->v.digest, sizeof(digest)) != 0)
			rc = err_set(e, ERR_CORRUPT, 0, "version %llu is not what its digest says",
				     (unsigned long long)r->v.oid);
	}
	sha256_free(sha);
	return rc;
}

/* R13: a rebuild would go by what the last chunk says. What was evicted meanwhile is no damage. */
static int
check_tail(struct store_reader *r, struct err *e)
{
	struct chunk_tail tail = {r->v.sop_instance, r->v.digest, r->v.size, r->v.seq};
	uint64_t last = r->v.size ? (r->v.size - 1) / r->v.chunk_payload : 0;
	struct version now;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, r->s, e);

	if (rc)
		return rc;
	rc = store_version(tx, r->v.oid, &now, e);
	if (!rc && now.state == VERSION_HERE && now.location == r->v.location &&
	    now.bytes == r->v.bytes)
		rc = chunk_is_of(tx, r->v.bytes, (uint32_t)last, &tail, e);
	store_end_read(tx);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* From this chunk on every step-th. */
static int
check_chunks(struct store_reader *r, uint32_t first, uint32_t step, struct err *e)
{
	uint64_t number;
	int rc = 0;

	for (number = first; !rc && number * r->v.chunk_payload < r->v.size; number += step)
		rc = load(r, (uint32_t)number, NULL, false, e);
	return rc;
}

struct checking {
	struct store_reader r; /* checks only: has no chunk */
	uint32_t first, step;
	int rc;
	struct err why;
};

static void *
run_check(void *arg)
{
	struct checking *c = arg;

	c->rc = check_chunks(&c->r, c->first, c->step, &c->why);
	return NULL;
}

/* Somebody waits for the first byte: two of them halve that. */
static int
check_by_two(struct store_reader *r, uint32_t first, struct err *e)
{
	struct checking other = {.r = {.s = r->s, .v = r->v}, .first = first + 1, .step = 2};
	pthread_t t;
	int rc;

	if (pthread_create(&t, NULL, run_check, &other))
		return check_chunks(r, first, 1, e);
	rc = check_chunks(r, first, 2, e);
	(void)pthread_join(t, NULL);
	if (!rc && other.rc)
		rc = err_set(e, other.why.code, other.why.sys, "%s", other.why.what);
	return rc;
}

int
store_read_check(struct store_reader *r, struct err *e)
{
	const void *p;
	size_t n;
	int rc;

	if (r->v.location == VERSION_PACK)
		return check_digest(r, e);
	/* Each chunk has its checksum. The first stays at hand: it is what is read next. */
	rc = store_read_some(r, 0, &p, &n, e);
	if (!rc && r->v.size / r->v.chunk_payload >= BY_TWO)
		return check_by_two(r, 1, e);
	return rc ? rc : check_chunks(r, 1, 1, e);
}

int
store_check(struct store *s, uint64_t oid, struct err *e)
{
	struct store_reader *r;
	int rc = open_reader(&r, s, oid, true, e);

	if (rc)
		return rc;
	rc = check_digest(r, e);
	if (!rc && r->v.location != VERSION_PACK)
		rc = check_tail(r, e);
	store_read_close(r);
	return rc;
}
