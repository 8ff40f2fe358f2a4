#include "common/store/salvage.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/file.h"
#include "common/store/private.h"

/* LMDB's page: number u64, pad u16, flags u16, then bounds; values behind 16 bytes. */
enum {
	PAGE = 4096,
	PAGE_HEAD = 16,
	FLAGS_AT = 10,
	LEAF = 2,
	OVERFLOW = 4,
	LARGEST = 16 * 1024 * 1024, /* no chunk class is larger */
	WINDOW = 1024 * 1024
};

struct found {
	uint64_t id, offset; /* of the value in the file */
	uint32_t number, room;
	bool last, journal; /* which file */
};

struct salvage {
	int fd, data, journal; /* fd: the one that is searched now */
	uint64_t size;
	struct found *found;
	size_t n, capacity;
	unsigned char *value; /* one, and a UID more */
};

static int
remember(struct salvage *s, const struct chunk_view *c, uint64_t offset, uint32_t room,
	 struct err *e)
{
	struct found *f;

	if (s->n == s->capacity) {
		size_t more = s->capacity ? 2 * s->capacity : 1024;

		f = realloc(s->found, more * sizeof(*f));
		if (!f)
			return err_set(e, ERR_LOCAL, 0, "no memory for %zu chunks", more);
		s->found = f;
		s->capacity = more;
	}
	s->found[s->n++] =
		(struct found){c->id, offset, c->number, room, c->last, s->fd == s->journal};
	return 0;
}

/* A value that may begin at offset; *used: its bytes, 0 if there is none that is whole. */
static int
try_value(struct salvage *s, uint64_t offset, const unsigned char *head, size_t *used,
	  struct err *e)
{
	struct chunk_view c;
	size_t room = chunk_room(head), got = 0;
	int rc;

	*used = 0;
	if (room == 0 || room > LARGEST || offset + room > s->size)
		return 0;
	room += UID_SIZE; /* what is more than the value is not looked at */
	if (room > s->size - offset)
		room = (size_t)(s->size - offset);
	rc = file_read_at(s->fd, s->value, room, offset, &got, e);
	if (rc || got != room || !chunk_parse(s->value, room, &c))
		return rc;
	*used = chunk_room(head) + strlen(c.uid);
	return remember(s, &c, offset, (uint32_t)room, e);
}

/* Small values lie among others in a leaf page, at even offsets. */
static int
try_leaf(struct salvage *s, uint64_t offset, const unsigned char *page, struct err *e)
{
	size_t at, used;
	int rc = 0;

	for (at = PAGE_HEAD; !rc && at + CHUNK_HEAD <= PAGE; at += 2)
		if (chunk_room(page + at) > 0 && chunk_room(page + at) <= PAGE - at)
			rc = try_value(s, offset + at, page + at, &used, e);
	return rc;
}

/* *next: where to look on. */
static int
try_page(struct salvage *s, uint64_t offset, const unsigned char *page, uint64_t *next,
	 struct err *e)
{
	unsigned flags = buf_get_u16(page + FLAGS_AT);
	size_t used = 0;
	int rc = 0;

	*next = offset + PAGE;
	if (flags & OVERFLOW)
		rc = try_value(s, offset + PAGE_HEAD, page + PAGE_HEAD, &used, e);
	else if (flags & LEAF)
		rc = try_leaf(s, offset, page, e);
	if (used > 0)
		*next = offset + (PAGE_HEAD + used + PAGE - 1) / PAGE * PAGE;
	return rc;
}

static int
find_all(struct salvage *s, struct err *e)
{
	unsigned char *window = malloc(WINDOW);
	uint64_t at = 0, start = 0;
	size_t got = 0;
	int rc = window ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for a salvage");

	while (!rc && at + PAGE <= s->size) {
		if (at < start || at + PAGE > start + got) {
			start = at;
			rc = file_read_at(s->fd, window, WINDOW, start, &got, e);
			if (rc || got < PAGE)
				break;
		}
		rc = try_page(s, at, window + (at - start), &at, e);
	}
	free(window);
	return rc;
}

/* In the journal values lie at even offsets, among keys and other values. */
static int
find_in_journal(struct salvage *s, struct err *e)
{
	unsigned char *window = malloc(WINDOW);
	size_t got = WINDOW, used, at;
	uint64_t start;
	int rc = window ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for a salvage");

	/* The next window begins before this one's end: a head may lie across it. */
	for (start = 0; !rc && got == WINDOW; start += WINDOW - PAGE) {
		rc = file_read_at(s->fd, window, WINDOW, start, &got, e);
		for (at = 0; !rc && at + CHUNK_HEAD <= got; at += 2)
			if (chunk_room(window + at) > 0)
				rc = try_value(s, start + at, window + at, &used, e);
	}
	free(window);
	return rc;
}

static int
by_object(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	if (x->journal != y->journal)
		return x->journal ? 1 : -1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* LMDB copies leaf pages on write: the same chunk may lie in several. Keeps the first. */
static void
drop_copies(struct salvage *s)
{
	size_t i, kept = 0;

	for (i = 0; i < s->n; i++)
		if (kept == 0 || s->found[i].id != s->found[kept - 1].id ||
		    s->found[i].number != s->found[kept - 1].number)
			s->found[kept++] = s->found[i];
	s->n = kept;
}

static int
load(struct salvage *s, const struct found *f, struct chunk_view *c, struct err *e)
{
	size_t got = 0;
	int rc = file_read_at(f->journal ? s->journal : s->data, s->value, f->room, f->offset, &got,
			      e);

	if (!rc && (got != f->room || !chunk_parse(s->value, got, c)))
		rc = err_set(e, ERR_CORRUPT, 0, "a chunk changed while it was read");
	return rc;
}

/* n chunks of one object: numbered without a gap, and their bytes are what the last one says. */
static int
is_whole(struct salvage *s, const struct found *f, size_t n, struct salvaged *o, bool *whole,
	 struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	struct sha256 *sha = NULL;
	struct chunk_view c;
	size_t i;
	int rc;

	*whole = false;
	for (i = 0; i < n; i++)
		if (f[i].number != i || f[i].last != (i == n - 1))
			return 0;
	rc = sha256_new(&sha, e);
	for (i = 0; !rc && i < n; i++) {
		rc = load(s, &f[i], &c, e);
		if (!rc)
			sha256_add(sha, c.payload, c.length);
	}
	if (!rc) {
		sha256_end(sha, digest);
		*whole = memcmp(digest, c.digest, sizeof(digest)) == 0;
		memcpy(o->uid, c.uid, sizeof(o->uid));
		memcpy(o->digest, digest, sizeof(digest));
		o->size = c.size;
		o->seq = c.seq;
	}
	sha256_free(sha);
	return rc;
}

static int
give(struct salvage *s, const struct found *f, size_t n, const struct salvage_to *to,
     struct salvage_result *out, struct err *e)
{
	struct chunk_view c;
	struct salvaged o;
	bool whole;
	size_t i;
	int rc = is_whole(s, f, n, &o, &whole, e);

	if (rc)
		return rc;
	if (!whole) {
		out->torn += !to->missed || to->missed(to->arg, f->id);
		return 0;
	}
	rc = to->begin(to->arg, &o, e);
	for (i = 0; !rc && i < n; i++) {
		rc = load(s, &f[i], &c, e);
		if (!rc)
			rc = to->bytes(to->arg, c.payload, c.length, e);
	}
	if (!rc)
		rc = to->end(to->arg, e);
	out->objects += !rc;
	return rc;
}

static int
search(struct salvage *s, int fd, int (*find)(struct salvage *s, struct err *e), struct err *e)
{
	int rc = file_size(fd, &s->size, e);

	s->fd = fd;
	return rc ? rc : find(s, e);
}

static int
give_all(struct salvage *s, const struct salvage_to *to, struct salvage_result *out, struct err *e)
{
	size_t i, n;
	int rc = 0;

	if (s->n > 0) {
		qsort(s->found, s->n, sizeof(*s->found), by_object);
		drop_copies(s);
	}
	out->chunks = s->n;
	for (i = 0; !rc && i < s->n; i += n) {
		for (n = 1; i + n < s->n && s->found[i + n].id == s->found[i].id; n++)
			continue;
		rc = give(s, &s->found[i], n, to, out, e);
	}
	return rc;
}

int
salvage_file(const char *path, const char *journal, const struct salvage_to *to,
	     struct salvage_result *out, struct err *e)
{
	struct salvage s = {.journal = -1};
	int rc = 0;

	memset(out, 0, sizeof(*out));
	s.data = file_open(path, false, e);
	if (s.data < 0)
		return s.data;
	if (journal && !file_missing(journal)) {
		s.journal = file_open(journal, false, e);
		rc = s.journal < 0 ? s.journal : 0;
	}
	s.value = malloc(LARGEST + UID_SIZE);
	if (!rc && !s.value)
		rc = err_set(e, ERR_LOCAL, 0, "no memory");
	if (!rc)
		rc = search(&s, s.data, find_all, e);
	if (!rc && s.journal >= 0)
		rc = search(&s, s.journal, find_in_journal, e);
	if (!rc)
		rc = give_all(&s, to, out, e);
	free(s.found);
	free(s.value);
	file_close(s.data);
	if (s.journal >= 0)
		file_close(s.journal);
	return rc;
}
