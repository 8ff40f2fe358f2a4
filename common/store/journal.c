/*
 * Record, little endian: magic u32, format u32, generation u64, salt u64, number u32,
 * length u32 (of the changes), checksum u64 (XXH3-64 of head and changes, this field zero); the
 * changes; zeros up to a whole page. The salt is drawn when the file is opened: bytes of an
 * object cannot pass for a record. Change: kind u8 (1 put, 2 gone), table length u8,
 * key length u16, value length u32, table, key, value; a zero before the value and before the
 * next change where their offset would be odd (salvage looks for chunks at even ones).
 *
 * A page that holds an acknowledged record is not written again in its generation.
 */
#include "common/store/journal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/os/file.h"

enum {
	MAGIC = 0x4a4c5353, /* "SSLJ" */
	FORMAT = 1,
	HEAD = 40,
	CHECKSUM_AT = 32,
	PAGE = 4096,
	PUT = 1,
	GONE = 2,
	CHANGE_HEAD = 8
};

static const char name[] = "journal", aside[] = "journal.damaged";

struct journal {
	int fd;
	bool broken;
	uint64_t size, at; /* of the file; where the next record goes */
	uint64_t generation, salt;
	uint32_t number; /* of the next record */
};

static uint64_t
in_pages(uint64_t bytes)
{
	return (bytes + PAGE - 1) / PAGE * PAGE;
}

static int
open_file(struct journal **out, const char *path, bool writable, struct err *e)
{
	struct journal *j = calloc(1, sizeof(*j));
	int rc;

	*out = NULL;
	if (!j)
		return err_set(e, ERR_LOCAL, 0, "no memory for a journal");
	j->salt = rng_u64(rng_real());
	j->fd = file_open(path, writable, e);
	rc = j->fd < 0 ? j->fd : file_size(j->fd, &j->size, e);
	if (rc)
		journal_close(j);
	else
		*out = j;
	return rc;
}

static void
path_of(const char *dir, const char *file, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", dir, file);
}

int
journal_open(struct journal **out, const char *dir, struct err *e)
{
	char path[PATH_MAX];

	path_of(dir, name, path);
	*out = NULL;
	return file_missing(path) ? 0 : open_file(out, path, false, e);
}

int
journal_resize(struct journal **j, const char *dir, uint64_t bytes, struct err *e)
{
	bool fits = *j && (*j)->size == in_pages(bytes);
	char path[PATH_MAX];
	unsigned names = 1;
	int rc = *j ? file_links((*j)->fd, &names, e) : 0;

	fits = fits && names == 1;
	path_of(dir, name, path);
	if (!rc && *j && !fits) /* before the new one is made: it may need the room */
		rc = file_remove(path, e);
	journal_close(*j);
	*j = NULL;
	if (rc || bytes == 0)
		return rc;
	if (!fits)
		rc = file_replace(dir, name, NULL, in_pages(bytes), e);
	return rc ? rc : open_file(j, path, true, e);
}

void
journal_close(struct journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		file_close(j->fd);
	free(j);
}

int
journal_set_aside(const char *dir, struct err *e)
{
	char path[PATH_MAX], to[PATH_MAX];
	int rc;

	path_of(dir, name, path);
	path_of(dir, aside, to);
	if (file_same(path, to)) /* by a start that ended before it was applied */
		return file_sync_dir(dir, e);
	rc = file_link(path, to, e);
	return rc ? rc : file_sync_dir(dir, e);
}

bool
journal_is_aside(const char *dir)
{
	char path[PATH_MAX];

	path_of(dir, aside, path);
	return file_exists(path);
}

/* --- reading --- */

struct reading {
	struct journal *j;
	uint64_t generation, salt, at;
	unsigned number; /* of the next record; then of the last that was whole */
	bool salted;	 /* a record was whole                                  */
	struct buf record;
};

static uint64_t
checksum(unsigned char *record, size_t n)
{
	unsigned char kept[8];
	uint64_t sum;

	memcpy(kept, record + CHECKSUM_AT, sizeof(kept));
	memset(record + CHECKSUM_AT, 0, sizeof(kept));
	sum = xxh64_of(record, n);
	memcpy(record + CHECKSUM_AT, kept, sizeof(kept));
	return sum;
}

/* ERR_ABSENT: no whole record of this generation begins here; of this number or, if later, of a
 * higher one. */
static int
read_record(struct reading *r, bool later, struct err *e)
{
	uint32_t number;
	unsigned char head[HEAD], *p;
	uint64_t length;
	size_t got = 0;
	int rc = file_read_at(r->j->fd, head, sizeof(head), r->at, &got, e);

	if (rc)
		return rc;
	number = buf_get_u32(head + 24);
	length = buf_get_u32(head + 28);
	if (got != sizeof(head) || buf_get_u32(head) != MAGIC || buf_get_u32(head + 4) != FORMAT ||
	    buf_get_u64(head + 8) != r->generation ||
	    (later ? number <= r->number : number != r->number) ||
	    length > r->j->size - r->at - HEAD)
		return ERR_ABSENT;
	if (r->salted && buf_get_u64(head + 16) != r->salt)
		return ERR_ABSENT;
	buf_clear(&r->record);
	p = buf_reserve(&r->record, HEAD + length);
	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for a record");
	rc = file_read_at(r->j->fd, p, HEAD + length, r->at, &got, e);
	if (rc)
		return rc;
	if (got != HEAD + length || checksum(p, got) != buf_get_u64(head + CHECKSUM_AT))
		return ERR_ABSENT;
	r->record.len = got;
	r->salt = buf_get_u64(head + 16);
	r->salted = true;
	return 0;
}

static int
next_change(const unsigned char **p, size_t *left, struct journal_change *c, struct err *e)
{
	size_t table, key, value, names, all;

	if (*left < CHANGE_HEAD)
		return err_set(e, ERR_CORRUPT, 0, "a change in the journal is cut");
	table = (*p)[1];
	key = buf_get_u16(*p + 2);
	value = buf_get_u32(*p + 4);
	names = CHANGE_HEAD + table + key;
	names += names & 1;
	all = names + value;
	if (all > *left || table >= sizeof(c->table) || ((*p)[0] != PUT && (*p)[0] != GONE))
		return err_set(e, ERR_CORRUPT, 0, "a change in the journal is cut");
	c->gone = (*p)[0] == GONE;
	memcpy(c->table, *p + CHANGE_HEAD, table);
	c->table[table] = '\0';
	c->key = kv_slice(*p + CHANGE_HEAD + table, key);
	c->value = kv_slice(*p + names, value);
	all += all & 1;
	all = all < *left ? all : *left;
	*p += all;
	*left -= all;
	return 0;
}

static int
replay_record(struct reading *r,
	      int (*fn)(void *arg, const struct journal_change *c, struct err *e), void *arg,
	      struct err *e)
{
	int rc = read_record(r, false, e);
	const unsigned char *p = rc ? NULL : r->record.data + HEAD;
	size_t left = rc ? 0 : r->record.len - HEAD;

	while (!rc && left > 0) {
		struct journal_change c;

		rc = next_change(&p, &left, &c, e);
		if (!rc && fn)
			rc = fn(arg, &c, e);
	}
	return rc;
}

/* A record is written when the one before it is durable: whole ones behind one that is not say
 * that it was damaged, and not cut short. Each begins a page. */
static int
look_behind(struct reading *r, unsigned *behind, struct err *e)
{
	int rc = 0;

	for (r->at += PAGE; !rc && r->at + HEAD <= r->j->size;) {
		rc = read_record(r, true, e);
		if (!rc) {
			r->number = buf_get_u32(r->record.data + 24);
			++*behind;
		}
		r->at += rc ? PAGE : in_pages(r->record.len);
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	return rc;
}

int
journal_replay(struct journal *j, uint64_t generation, unsigned most,
	       int (*fn)(void *arg, const struct journal_change *c, struct err *e), void *arg,
	       struct journal_found *found, struct err *e)
{
	struct reading r = {.j = j, .generation = generation};
	int rc = 0;

	memset(found, 0, sizeof(*found));
	while (!rc && r.number < most && r.at + HEAD <= j->size) {
		rc = replay_record(&r, fn, arg, e);
		if (!rc) {
			r.at += in_pages(r.record.len);
			r.number++;
		}
	}
	found->records = r.number;
	if (rc == ERR_ABSENT)
		rc = look_behind(&r, &found->behind, e);
	buf_fini(&r.record);
	return rc;
}

/* --- writing --- */

void
journal_begin(struct journal *j, uint64_t generation)
{
	j->generation = generation;
	j->number = 0;
	j->at = 0;
}

void
journal_record_begin(struct buf *record)
{
	static const unsigned char zeros[HEAD];

	buf_clear(record);
	buf_put(record, zeros, sizeof(zeros));
}

static void
pad_to_even(struct buf *record)
{
	if (record->len & 1)
		buf_put_u8(record, 0);
}

void
journal_record_add(struct buf *record, const char *table, struct kv_slice key,
		   const struct kv_slice *value)
{
	size_t n = strlen(table);

	buf_put_u8(record, value ? PUT : GONE);
	buf_put_u8(record, (unsigned)n);
	buf_put_u16(record, (unsigned)key.n);
	buf_put_u32(record, value ? (uint32_t)value->n : 0);
	buf_put(record, table, n);
	buf_put(record, key.p, key.n);
	pad_to_even(record);
	if (value)
		buf_put(record, value->p, value->n);
	pad_to_even(record);
}

bool
journal_takes(const struct journal *j, uint64_t bytes)
{
	return !j->broken && in_pages(bytes) <= j->size - j->at;
}

int
journal_append(struct journal *j, struct buf *record, struct err *e)
{
	size_t n = record->len, pad = (size_t)(in_pages(n) - n);
	unsigned char *p = buf_reserve(record, pad);
	int rc;

	if (!p || buf_failed(record))
		return err_set(e, ERR_LOCAL, 0, "no memory for a record");
	if (!journal_takes(j, n))
		return err_set(e, ERR_FULL, 0, "the journal is full");
	memset(p, 0, pad);
	p = record->data;
	buf_set_u32(p, MAGIC);
	buf_set_u32(p + 4, FORMAT);
	buf_set_u64(p + 8, j->generation);
	buf_set_u64(p + 16, j->salt);
	buf_set_u32(p + 24, j->number);
	buf_set_u32(p + 28, (uint32_t)(n - HEAD));
	buf_set_u64(p + CHECKSUM_AT, checksum(p, n));
	rc = file_write_at(j->fd, p, n + pad, j->at, e);
	if (!rc)
		rc = file_sync(j->fd, e);
	if (rc) {
		j->broken = true;
		return rc;
	}
	j->at += n + pad;
	j->number++;
	return 0;
}
