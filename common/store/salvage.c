#include "common/store/salvage.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/daemon.h"
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
	bool last;
	unsigned char file; /* which */
};

/* The journals hold values at even offsets, among keys and other values. */
static const char *const files[] = {"data.mdb", "journal", "journal.damaged"};
enum { FILES = sizeof(files) / sizeof(files[0]) };

struct salvage {
	const struct salvage_to *to;
	int fd[FILES];
	unsigned char file; /* that is searched now */
	uint64_t size;
	uint64_t seen; /* of it, up to here: a page that cannot be read counts once */
	uint64_t unread, values_unread;
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
	s->found[s->n++] = (struct found){c->id, offset, c->number, room, c->last, s->file};
	return 0;
}

static int
read_file(struct salvage *s, unsigned file, void *p, size_t n, uint64_t offset, size_t *got,
	  struct err *e)
{
	return s->to->read ? s->to->read(s->fd[file], p, n, offset, got, e)
			   : file_read_at(s->fd[file], p, n, offset, got, e);
}

/* A sector that the disk does not give costs what lies in it, not the rest: zeros stand there. */
static void
read_window(struct salvage *s, unsigned char *window, uint64_t start, size_t *got)
{
	size_t at, n;

	if (!read_file(s, s->file, window, WINDOW, start, got, NULL))
		return;
	*got = (size_t)(s->size - start < WINDOW ? s->size - start : WINDOW);
	memset(window, 0, *got);
	for (at = 0; at < *got; at += PAGE) {
		size_t most = *got - at < PAGE ? *got - at : PAGE;

		if (!read_file(s, s->file, window + at, most, start + at, &n, NULL))
			continue;
		memset(window + at, 0, most);
		s->unread += start + at >= s->seen;
	}
	s->seen = start + *got;
}

/* A value that may begin at offset; *used: its bytes, 0 if there is none that is whole. */
static int
try_value(struct salvage *s, uint64_t offset, const unsigned char *head, size_t *used,
	  struct err *e)
{
	struct chunk_view c;
	size_t room = chunk_room(head), got = 0;

	*used = 0;
	if (room == 0 || room > LARGEST || offset + room > s->size)
		return 0;
	room += UID_SIZE; /* what is more than the value is not looked at */
	if (room > s->size - offset)
		room = (size_t)(s->size - offset);
	/* Twice: what failed once may be gone with its store, should nobody say so. */
	if (read_file(s, s->file, s->value, room, offset, &got, NULL) &&
	    read_file(s, s->file, s->value, room, offset, &got, NULL)) {
		s->values_unread++;
		return 0;
	}
	if (got != room || !chunk_parse(s->value, room, &c))
		return 0;
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
			rc = daemon_go_on(e);
			if (rc)
				break;
			read_window(s, window, start, &got);
			if (got < PAGE)
				break;
		}
		rc = try_page(s, at, window + (at - start), &at, e);
	}
	free(window);
	return rc;
}

static int
find_in_journal(struct salvage *s, struct err *e)
{
	unsigned char *window = malloc(WINDOW);
	size_t got = WINDOW, used, at;
	uint64_t start;
	int rc = window ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for a salvage");

	/* The next window begins before this one's end: a head may lie across it. */
	for (start = 0; !rc && got == WINDOW; start += WINDOW - PAGE) {
		rc = daemon_go_on(e);
		if (rc)
			break;
		read_window(s, window, start, &got);
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
	if (x->file != y->file)
		return x->file - y->file;
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
	int rc = daemon_go_on(e);

	if (!rc)
		rc = read_file(s, f->file, s->value, f->room, f->offset, &got, e);
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
	o.id = f->id;
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

/* A journal may be missing. */
static int
search(struct salvage *s, const char *dir, unsigned char file, struct err *e)
{
	char path[PATH_MAX];
	int rc;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, files[file]);
	if (file > 0 && file_missing(path))
		return 0;
	s->fd[file] = file_open(path, false, e);
	if (s->fd[file] < 0)
		return s->fd[file];
	s->file = file;
	s->seen = 0;
	rc = file_size(s->fd[file], &s->size, e);
	if (rc)
		return rc;
	return file > 0 ? find_in_journal(s, e) : find_all(s, e);
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
salvage_folder(const char *dir, const struct salvage_to *to, struct salvage_result *out,
	       struct err *e)
{
	struct salvage s = {.to = to, .fd = {-1, -1, -1}};
	unsigned char file;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	s.value = malloc(LARGEST + UID_SIZE);
	if (!s.value)
		return err_set(e, ERR_LOCAL, 0, "no memory for a salvage");
	for (file = 0; !rc && file < FILES; file++)
		rc = search(&s, dir, file, e);
	if (!rc)
		rc = give_all(&s, to, out, e);
	/* Their pages are counted already, unless the disk gave those at another time. */
	out->unread = s.unread > s.values_unread ? s.unread : s.values_unread;
	free(s.found);
	free(s.value);
	for (file = 0; file < FILES; file++)
		if (s.fd[file] >= 0)
			file_close(s.fd[file]);
	return rc;
}
