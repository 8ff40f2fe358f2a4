#include "tests/lib/stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/dicom/canon.h"
#include "common/os/file.h"
#include "common/store/private.h"
#include "tests/gen/element.h"

#define EXPLICIT "1.2.840.10008.1.2.1"

static void
must(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "stored: %s\n", what);
		abort();
	}
}

int
stored_open(struct stored *t, struct err *e)
{
	static const char *const extra[] = {"extra", "commitments", "pledges"};
	struct store_config c;

	memset(&c, 0, sizeof(c));
	c.extra_tables = extra;
	c.n_extra_tables = 3;
	c.dir = t->dir;
	c.quota = t->quota;
	c.buffers = t->buffers;
	c.journal = t->journal;
	c.ahead = t->ahead;
	c.map_bytes = (uint64_t)1 << 30;
	c.clock = &t->clock.c;
	return store_open(&t->s, &c, e);
}

void
stored_init(struct stored *t, uint64_t quota)
{
	const char *tmp = getenv("TMPDIR");
	struct err e = ERR_INIT;

	memset(t, 0, sizeof(*t));
	t->quota = quota;
	clock_manual_init(&t->clock, 1000, 1700000000000);
	(void)snprintf(t->dir, sizeof(t->dir), "%.40s/storedXXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(t->dir) != NULL, "mkdtemp");
	must(stored_open(t, &e) == 0, e.what);
}

static int
remove_one(void *arg, const char *name, struct err *e)
{
	const struct stored *t = arg;
	char path[400];

	(void)snprintf(path, sizeof(path), "%s/%s", t->dir, name);
	return file_remove(path, e);
}

void
stored_fini(struct stored *t)
{
	struct err e = ERR_INIT;

	store_close(t->s);
	must(file_list(t->dir, remove_one, t, &e) == 0, e.what);
	must(remove(t->dir) == 0, "the folder stays");
}

/* Explicit VR little endian, one element. */
void
made_init(struct made *m, const struct recipe *r)
{
	struct canon_config c;
	struct buf set = BUF_INIT;
	struct err e = ERR_INIT;
	unsigned char *pixels = malloc(r->pixels ? r->pixels : 1);

	must(pixels != NULL, "malloc");
	memset(pixels, r->pixel, r->pixels);
	element_text(&set, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.7");
	element_text(&set, 0x00080018, "UI", r->uid);
	element_text(&set, 0x00080060, "CS", "OT");
	element_text(&set, 0x00100020, "LO", "ID1");
	if (!r->comment || r->comment[0])
		element_text(&set, 0x00104000, "LT", r->comment ? r->comment : "none");
	element_text(&set, 0x0020000d, "UI", r->study);
	element_text(&set, 0x0020000e, "UI", "1.2.3.9");
	if (r->pixels) {
		element_head(&set, 0x7fe00010, "OB", (uint32_t)(r->pixels + r->pixels % 2));
		buf_put(&set, pixels, r->pixels);
		if (r->pixels % 2)
			buf_put_u8(&set, 0);
	}
	free(pixels);
	memset(&c, 0, sizeof(c));
	c.form = CANON_DATASET;
	c.syntax = r->syntax ? r->syntax : EXPLICIT;
	buf_init(&m->bytes);
	must(canon_bytes(&m->canon, &c, set.data, set.len, &m->bytes, &m->info, &e) == 0, e.what);
	buf_fini(&set);
}

void
made_fini(struct made *m)
{
	canon_free(m->canon);
	buf_fini(&m->bytes);
}

struct putting {
	struct store_object o;
	struct store_verdict verdict;
};

static int
do_put(struct store_tx *tx, void *arg, struct err *e)
{
	struct putting *p = arg;

	return store_put(tx, &p->o, &p->verdict, e);
}

int
stored_put(struct store *s, const struct made *m, const char *from, struct store_verdict *out,
	   struct err *e)
{
	struct putting p;
	int rc;

	memset(&p, 0, sizeof(p));
	p.o.info = m->info;
	p.o.hidden = strcmp(from, "strict") == 0 ? VERSION_KEPT_ONLY : 0;
	p.o.origin = VERSION_TAKEN_IN;
	(void)snprintf(p.o.source.site, sizeof(p.o.source.site), "here");
	(void)snprintf(p.o.source.calling_aet, sizeof(p.o.source.calling_aet), "CT1");
	(void)snprintf(p.o.source.peer, sizeof(p.o.source.peer), "%s", from);
	rc = store_spool_open(&p.o.spool, s, e);
	if (rc)
		return rc;
	rc = store_spool_add(p.o.spool, m->bytes.data, m->bytes.len, e);
	if (!rc)
		rc = store_prepare(s, &p.o, e);
	if (!rc)
		rc = store_commit_quick(s, do_put, &p, m->bytes.len, e);
	if (!rc && out)
		*out = p.verdict;
	store_spool_close(p.o.spool);
	return rc;
}

int
stored_compare(struct store *s, uint64_t oid, const struct made *m, struct err *e)
{
	struct store_reader *r;
	unsigned char *copy = malloc(m->bytes.len + 1);
	size_t got = 0;
	int rc = store_read_open(&r, s, oid, e);

	if (rc || !copy) {
		free(copy);
		return rc;
	}
	rc = store_read(r, 0, copy, m->bytes.len + 1, &got, e);
	if (!rc && (got != m->bytes.len || memcmp(copy, m->bytes.data, got) != 0))
		rc = err_set(e, ERR_CONFLICT, 0, "other bytes than were stored");
	store_read_close(r);
	free(copy);
	return rc;
}

struct store_verdict
stored_keep(struct store *s, const struct recipe *r, const char *from)
{
	struct store_verdict v;
	struct err e = ERR_INIT;
	struct made m;

	made_init(&m, r);
	must(stored_put(s, &m, from, &v, &e) == 0, e.what);
	must(stored_compare(s, v.oid, &m, &e) == 0, e.what);
	made_fini(&m);
	return v;
}

struct store_counts
stored_counts(struct store *s)
{
	struct store_counts c;
	struct store_tx *tx;
	struct err e = ERR_INIT;

	must(store_begin_read(&tx, s, &e) == 0, e.what);
	must(store_counts(tx, &c, &e) == 0, e.what);
	store_end_read(tx);
	return c;
}

struct version
stored_version(struct store *s, uint64_t oid)
{
	struct version v;
	struct store_tx *tx;
	struct err e = ERR_INIT;

	must(store_begin_read(&tx, s, &e) == 0, e.what);
	must(store_version(tx, oid, &v, &e) == 0, e.what);
	store_end_read(tx);
	return v;
}

struct damage {
	uint64_t bytes;
	uint32_t chunk;
};

static int
do_damage(struct store_tx *tx, void *arg, struct err *e)
{
	const struct damage *d = arg;
	struct buf copy = BUF_INIT;
	unsigned char bytes[12];
	struct kv_slice key = kv_slice(bytes, sizeof(bytes)), v;
	int rc;

	buf_set_be64(bytes, d->bytes);
	buf_set_be32(bytes + 8, d->chunk);
	rc = kv_get(tx->txn, T_CHUNK, key, &v, e);
	if (!rc) {
		buf_put(&copy, v.p, v.n);
		copy.data[1000] ^= 1;
		rc = kv_put(tx->txn, T_CHUNK, key, kv_slice(copy.data, copy.len), e);
	}
	buf_fini(&copy);
	return rc;
}

void
stored_damage(struct store *s, uint64_t oid, uint32_t chunk)
{
	struct damage d = {stored_version(s, oid).bytes, chunk};
	struct err e = ERR_INIT;

	must(store_commit(s, do_damage, &d, &e) == 0, e.what);
}

static int
do_drop(struct store_tx *tx, void *arg, struct err *e)
{
	return store_drop_bytes(tx, *(uint64_t *)arg, VERSION_ELSEWHERE, e);
}

int
stored_drop(struct store *s, uint64_t oid, struct err *e)
{
	return store_commit(s, do_drop, &oid, e);
}

uint64_t
stored_rows(struct store *s, unsigned table)
{
	uint64_t n = 0;
	struct store_tx *tx;
	struct err e = ERR_INIT;

	must(store_begin_read(&tx, s, &e) == 0, e.what);
	must(kv_count(tx->txn, table, &n, &e) == 0, e.what);
	store_end_read(tx);
	return n;
}

void
stored_settle(struct store *s)
{
	const struct timespec tick = {0, 1000000};
	unsigned n;

	for (n = 0; n < 10000 && stored_rows(s, T_DROPPED); n++)
		(void)nanosleep(&tick, NULL);
	must(stored_rows(s, T_DROPPED) == 0, "dropped chunks stay");
}
