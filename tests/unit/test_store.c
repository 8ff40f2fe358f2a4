/* Versions, relations, duplicates, room and reading (R3, R4, R9, R11, R12, R13). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/dicom/canon.h"
#include "common/os/file.h"
#include "common/store/differences.h"
#include "common/store/index.h"
#include "common/store/private.h"
#include "tests/lib/stored.h"

#define MIB ((size_t)1 << 20)

static void
store_put__gives_back_every_byte_also_of_many_chunks(void **state)
{
	size_t sizes[] = {0, 10, 1800, 2000, 5000, MIB - 700, MIB, 3 * MIB + 1, 20 * MIB}, i;
	struct stored t;
	char uid[20];

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct recipe r = {"1.2.3", uid, NULL, NULL, (unsigned char)i, sizes[i]};

		(void)snprintf(uid, sizeof(uid), "1.2.3.%zu", i);
		assert_false(stored_keep(t.s, &r, "a").duplicate);
	}
	assert_int_equal(stored_counts(t.s).instances, i);
	assert_int_equal(stored_counts(t.s).studies, 1);
	assert_int_equal(stored_rows(t.s, T_SPOOLED), 0);
	stored_fini(&t);
}

static void
store_put__R3_tells_variant_revision_and_conflict(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, "first", 7, 100};
	struct store_verdict first, v;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	first = stored_keep(t.s, &r, "a");
	assert_int_equal(first.relation, VERSION_FIRST);
	assert_true(first.current && first.new_study);
	r.comment = "corrected";
	v = stored_keep(t.s, &r, "b"); /* from elsewhere: listed, the first stays */
	assert_int_equal(v.relation, VERSION_REVISION);
	assert_false(v.current);
	r.comment = "corrected again";
	v = stored_keep(t.s, &r, "a"); /* from where it came: it counts now */
	assert_int_equal(v.relation, VERSION_REVISION);
	assert_true(v.current);
	assert_false(stored_version(t.s, first.oid).current);
	r.pixel = 8;
	v = stored_keep(t.s, &r, "a");
	assert_int_equal(v.relation, VERSION_CONFLICT);
	assert_false(v.current);
	r.comment = "a correction of what is in conflict";
	v = stored_keep(t.s, &r, "a");
	assert_int_equal(v.relation, VERSION_REVISION);
	assert_false(v.current); /* until a person decides */
	assert_int_equal(stored_counts(t.s).conflicts, 1);
	assert_int_equal(stored_counts(t.s).revisions, 3);
	assert_int_equal(stored_counts(t.s).known, 5);
	stored_fini(&t);
}

struct choice {
	const struct made *m;
	uint64_t oid;
};

static int
choose(struct store_tx *tx, void *arg, struct err *e)
{
	const struct choice *c = arg;
	struct index_sets sets = {.study = attrs_of(&c->m->info->study_attrs),
				  .series = attrs_of(&c->m->info->series_attrs),
				  .instance = attrs_of(&c->m->info->instance_attrs)};
	struct store_verdict out;

	return store_set_current(tx, c->oid, &sets, &out, e);
}

/* 0 unless the index has a row for m in its study and series. */
static uint64_t
indexed(struct store *s, const struct made *m)
{
	const struct object_info *i = m->info;
	struct store_tx *tx;
	struct kv_slice v;
	char key[3 * UID_SIZE];
	int n = snprintf(key, sizeof(key), "%s%c%s%c%s", i->study, 0, i->series, 0,
			 i->sop_instance);
	uint64_t oid = 0;

	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	if (!kv_get(store_tx_kv(tx), store_table(s, "instance"), kv_slice(key, (size_t)n), &v,
		    NULL))
		oid = buf_get_u64(v.p);
	store_end_read(tx);
	return oid;
}

static void
store_set_current__R3_the_index_names_what_viewers_get(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, "first", 7, 100};
	struct store_verdict first, second, third;
	struct choice c = {0};
	struct made a, b, moved;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	made_init(&a, &r);
	assert_int_equal(stored_put(t.s, &a, "a", &first, NULL), 0);
	r.pixel = 8;
	made_init(&b, &r);
	assert_int_equal(stored_put(t.s, &b, "a", &second, NULL), 0);
	r.study = "1.2.9";
	r.pixel = 9;
	made_init(&moved, &r);
	assert_int_equal(stored_put(t.s, &moved, "a", &third, NULL), 0);
	assert_int_equal(indexed(t.s, &a), first.oid);
	c = (struct choice){&b, second.oid};
	assert_int_equal(store_commit(t.s, choose, &c, NULL), 0);
	assert_int_equal(indexed(t.s, &b), second.oid);
	assert_true(stored_version(t.s, second.oid).current);
	assert_false(stored_version(t.s, first.oid).current);
	c = (struct choice){&moved, third.oid};
	assert_int_equal(store_commit(t.s, choose, &c, NULL), 0);
	assert_int_equal(indexed(t.s, &moved), third.oid);
	assert_int_equal(indexed(t.s, &b), 0); /* one row for one UID */
	made_fini(&moved);
	made_fini(&b);
	made_fini(&a);
	stored_fini(&t);
}

static void
store_put__R3_a_revision_that_moves_leaves_no_row_behind(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, "first", 7, 100};
	struct store_verdict first, second;
	struct made a, moved;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	made_init(&a, &r);
	assert_int_equal(stored_put(t.s, &a, "a", &first, NULL), 0);
	r.study = "1.2.9"; /* the modality had put it under another patient's study */
	made_init(&moved, &r);
	assert_int_equal(stored_put(t.s, &moved, "a", &second, NULL), 0);
	assert_int_equal(second.relation, VERSION_REVISION);
	assert_true(second.current);
	assert_int_equal(indexed(t.s, &moved), second.oid);
	assert_int_equal(indexed(t.s, &a), 0); /* one row for one UID */
	made_fini(&moved);
	made_fini(&a);
	stored_fini(&t);
}

static void
assert_says(const struct buf *out, const char *what)
{
	if (!strstr((const char *)out->data, what))
		fail_msg("no \"%s\" in %s", what, (const char *)out->data);
}

static void
differences_print__R3_a_line_per_study_source_and_kind_names_attributes(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, "first", 7, 100};
	struct buf out = BUF_INIT;
	struct stored t;
	uint64_t n, lines;
	char *p;

	(void)state;
	stored_init(&t, 0);
	(void)stored_keep(t.s, &r, "a");
	r.comment = "a secret of the patient";
	(void)stored_keep(t.s, &r, "a");
	r.pixel = 8;
	(void)stored_keep(t.s, &r, "b");
	r.uid = "1.2.3.5";
	(void)stored_keep(t.s, &r, "b");
	r.pixel = 9;
	(void)stored_keep(t.s, &r, "b");
	assert_int_equal(differences_print(t.s, false, false, &out, &n, NULL), 0);
	buf_put_u8(&out, 0);
	assert_int_equal(n, 2);
	for (lines = 0, p = (char *)out.data; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 2); /* two conflicts of one study from one source are one line */
	/* No decision of central's is known here: the versions are in this store's own order. */
	assert_says(&out, "revision: study 1.2.3, 1 instances from CT1 at a, site here, "
			  "1 unconfirmed, differs in (0010,4000) PatientComments\n");
	assert_says(&out, "conflict: study 1.2.3, 2 instances from CT1 at b, site here, "
			  "2 unconfirmed, differs in (7fe0,0010) PixelData");
	assert_null(strstr((char *)out.data, "secret"));
	buf_clear(&out);
	assert_int_equal(differences_print(t.s, true, true, &out, &n, NULL), 0);
	buf_put_u8(&out, 0);
	assert_says(&out, "\"sop_instance_uid\":\"1.2.3.5\"");
	buf_fini(&out);
	stored_fini(&t);
}

static void
store_put__R32_what_was_refused_and_kept_hides_nothing(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, "odd", 7, 100};
	struct store_verdict kept, v;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	kept = stored_keep(t.s, &r, "strict");
	assert_false(kept.current);
	r.pixel = 8;
	v = stored_keep(t.s, &r, "a"); /* no conflict with what nobody accepted */
	assert_int_equal(v.relation, VERSION_FIRST);
	assert_true(v.current);
	r.uid = "1.2.3.5";
	kept = stored_keep(t.s, &r, "strict");
	assert_true(stored_keep(t.s, &r, "strict").duplicate);
	assert_false(stored_version(t.s, kept.oid).current);
	v = stored_keep(t.s, &r, "a"); /* the same bytes, accepted now */
	assert_true(v.duplicate && v.current);
	assert_int_equal(stored_version(t.s, kept.oid).hidden, 0);
	assert_true(stored_version(t.s, kept.oid).current);
	assert_int_equal(stored_counts(t.s).conflicts, 0);
	stored_fini(&t);
}

static void
store_put__R4_a_duplicate_changes_nothing(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 3 * MIB};
	struct store_verdict a, b;
	struct store_counts before;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	a = stored_keep(t.s, &r, "a");
	before = stored_counts(t.s);
	b = stored_keep(t.s, &r, "b");
	assert_true(b.duplicate);
	assert_int_equal(a.oid, b.oid);
	assert_int_equal(stored_counts(t.s).bytes, before.bytes);
	assert_int_equal(stored_counts(t.s).known, 1);
	stored_fini(&t);
}

static void
store_put__R4_a_damaged_copy_is_repaired_by_the_new_bytes(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 5000};
	struct store_reader *reader;
	struct store_verdict a, b;
	struct err e = ERR_INIT;
	struct stored t;
	unsigned char buf[16];
	size_t got;

	(void)state;
	stored_init(&t, 0);
	a = stored_keep(t.s, &r, "a");
	assert_int_equal(store_read_open(&reader, t.s, a.oid, &e), 0);
	stored_damage(t.s, a.oid, 0);
	assert_int_equal(store_check(t.s, a.oid, &e), ERR_CORRUPT);
	b = stored_keep(t.s, &r, "a");
	assert_true(b.repaired && !b.duplicate);
	assert_int_equal(b.oid, a.oid);
	assert_int_equal(store_check(t.s, a.oid, NULL), 0);
	assert_int_equal(stored_counts(t.s).instances, 1);
	stored_settle(t.s);
	assert_int_equal(stored_rows(t.s, T_CHUNK), 1);
	/* who was reading goes on with the good copy */
	err_clear(&e);
	assert_int_equal(store_read(reader, 0, buf, sizeof(buf), &got, &e), 0);
	store_read_close(reader);
	stored_fini(&t);
}

/* Whole chunks go straight to the reader, parts of one through memory of its own: same bytes. */
static void
store_read__R13_gives_any_part_and_nothing_of_a_damaged_chunk(void **state)
{
	static const size_t steps[] = {1000, MIB / 2, MIB, MIB + 77777, 3 * MIB};
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 4 * MIB}, small = r;
	struct store_verdict v;
	struct store_reader *reader;
	struct version version;
	struct stored t;
	unsigned char *to = malloc(3 * MIB);
	struct made m;
	size_t i, at, got;

	(void)state;
	stored_init(&t, 0);
	made_init(&m, &r);
	for (i = m.bytes.len - 4 * MIB; i < m.bytes.len; i++)
		m.bytes.data[i] = (unsigned char)(i * 31 ^ i >> 8 ^ i >> 16);
	assert_int_equal(stored_put(t.s, &m, "a", &v, NULL), 0);
	assert_int_equal(store_read_open(&reader, t.s, v.oid, NULL), 0);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		for (at = 0; at < m.bytes.len; at += got) {
			assert_int_equal(store_read(reader, at, to, steps[i], &got, NULL), 0);
			assert_true(got == steps[i] || at + got == m.bytes.len);
			assert_memory_equal(to, m.bytes.data + at, got);
		}
	store_read_close(reader);
	made_fini(&m);
	small.uid = "1.2.3.5";
	small.pixels = 5000;
	version = stored_version(t.s, stored_keep(t.s, &small, "a").oid);
	stored_damage(t.s, version.oid, 0);
	assert_int_equal(store_read_open(&reader, t.s, version.oid, NULL), 0);
	assert_int_equal(store_read(reader, 0, to, MIB, &got, NULL), ERR_CORRUPT);
	assert_int_equal(got, 0);
	store_read_close(reader);
	free(to);
	stored_fini(&t);
}

static void
store_put__R4_what_was_evicted_is_stored_again(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 3 * MIB};
	struct store_reader *reader;
	struct store_verdict a, b;
	struct err e = ERR_INIT;
	struct stored t;
	unsigned char buf[16];
	size_t got;

	(void)state;
	stored_init(&t, 0);
	a = stored_keep(t.s, &r, "a");
	assert_int_equal(store_read_open(&reader, t.s, a.oid, &e), 0);
	assert_int_equal(stored_drop(t.s, a.oid, &e), 0);
	stored_settle(t.s);
	assert_int_equal(stored_rows(t.s, T_CHUNK), 0);
	assert_int_equal(stored_counts(t.s).instances, 0);
	assert_int_equal(stored_counts(t.s).studies, 0);
	assert_int_equal(stored_counts(t.s).known, 1); /* R20 */
	/* eviction under a reader is no damage */
	assert_int_equal(store_read(reader, 0, buf, sizeof(buf), &got, &e), ERR_ABSENT);
	assert_int_equal(e.code, ERR_NONE);
	store_read_close(reader);
	b = stored_keep(t.s, &r, "a");
	assert_true(b.stored_again && !b.duplicate);
	assert_int_equal(b.oid, a.oid);
	assert_int_equal(stored_counts(t.s).instances, 1);
	stored_fini(&t);
}

static int
give_receipt(struct store_tx *tx, void *arg, struct err *e)
{
	struct id128 epoch = {{1}};

	return store_set_receipt(tx, *(uint64_t *)arg, &epoch, e);
}

/* Puts objects of 1 MiB until the store says other than 0. */
static int
fill(struct store *s, unsigned *n, uint64_t oids[], struct err *e)
{
	struct store_verdict v;
	struct made m;
	char uid[20];
	int rc = 0;

	while (!rc) {
		struct recipe r = {"1.2.3", uid, NULL, NULL, (unsigned char)*n, MIB};

		(void)snprintf(uid, sizeof(uid), "1.2.3.%u", *n);
		made_init(&m, &r);
		rc = stored_put(s, &m, "a", &v, e);
		made_fini(&m);
		if (!rc)
			oids[(*n)++] = v.oid;
	}
	return rc;
}

static void
store_put__R12_a_full_cache_refuses_and_goes_on_serving(void **state)
{
	uint64_t oids[200];
	struct err e = ERR_INIT;
	struct stored t;
	unsigned n = 0, i, full;
	struct store_space space;

	(void)state;
	stored_init(&t, 64 * MIB);
	assert_int_equal(fill(t.s, &n, oids, &e), ERR_FULL);
	assert_in_range(n, 50, 63);
	store_space(t.s, &space);
	assert_true(space.used <= space.quota);
	for (i = 0; i < n; i++) /* reading and receipts go on */
		assert_int_equal(store_check(t.s, oids[i], NULL), 0);
	for (i = 0; i < n; i++)
		assert_int_equal(store_commit(t.s, give_receipt, &oids[i], NULL), 0);
	for (i = 0; i < n; i++)
		assert_int_equal(stored_drop(t.s, oids[i], NULL), 0);
	stored_settle(t.s);
	full = n;
	err_clear(&e);
	assert_int_equal(fill(t.s, &n, oids, &e), ERR_FULL); /* as much fits again */
	assert_in_range(n - full, full - 2, full + 1);
	stored_fini(&t);
}

static void
store_spool__R12_an_abandoned_object_leaves_nothing(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 20 * MIB};
	struct store_spool *p;
	struct err e = ERR_INIT;
	struct store_space space;
	struct stored t;
	struct made m;

	(void)state;
	stored_init(&t, 64 * MIB);
	made_init(&m, &r);
	assert_int_equal(store_spool_open(&p, t.s, &e), 0);
	assert_int_equal(store_spool_add(p, m.bytes.data, m.bytes.len, &e), 0);
	assert_true(stored_rows(t.s, T_CHUNK) > 10);
	store_spool_close(p);
	stored_settle(t.s);
	assert_int_equal(stored_rows(t.s, T_CHUNK), 0);
	assert_int_equal(stored_rows(t.s, T_SPOOLED), 0);
	store_space(t.s, &space);
	assert_true(space.used < MIB);
	assert_int_equal(store_admit(t.s, 60 * MIB, &e), 0); /* nothing stays booked */
	made_fini(&m);
	stored_fini(&t);
}

static void
store_admit__R12_the_disk_may_be_full_before_the_quota(void **state)
{
	struct store_space space;
	struct err e = ERR_INIT;
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	assert_int_equal(store_admit(t.s, MIB, &e), 0);
	assert_int_equal(store_admit(t.s, UINT64_MAX / 2, &e), ERR_FULL);
	/* An answer of the disk holds for a second. */
	store_space(t.s, &space);
	atomic_store(&t.s->disk_limit, space.used + STORE_DISK_RESERVE + 100);
	assert_int_equal(store_admit(t.s, 100, &e), 0);
	assert_int_equal(store_admit(t.s, 101, &e), ERR_FULL);
	clock_manual_advance(&t.clock, 1000);
	assert_int_equal(store_admit(t.s, 101, &e), 0);
	stored_fini(&t);
}

static void
store_open__flushes_the_name_of_a_new_file(void **state)
{
	uint64_t before = file_sync_count();
	struct stored t;

	(void)state;
	stored_init(&t, 0);
	assert_true(file_sync_count() > before);
	stored_fini(&t);
}

static void
store_spool__memory_of_all_objects_on_their_way_in_is_bounded(void **state)
{
	enum { OBJECTS = 12, PIECES = 12 };
	struct store_spool *p[OBJECTS];
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, PIECES * MIB};
	struct stored t;
	struct made m;
	unsigned i, j;

	(void)state;
	stored_init(&t, 0);
	store_close(t.s);
	t.buffers = 8 * MIB;
	assert_int_equal(stored_open(&t, NULL), 0);
	made_init(&m, &r);
	for (i = 0; i < OBJECTS; i++)
		assert_int_equal(store_spool_open(&p[i], t.s, NULL), 0);
	for (j = 0; j < PIECES; j++)
		for (i = 0; i < OBJECTS; i++) {
			assert_int_equal(store_spool_add(p[i], m.bytes.data + j * MIB, MIB, NULL),
					 0);
			/* what is shared, and two chunks of each */
			assert_true(atomic_load(&t.s->admitted) <= (8 + 2 * OBJECTS + 2) * MIB);
		}
	for (i = 0; i < OBJECTS; i++)
		store_spool_close(p[i]);
	assert_int_equal(stored_put(t.s, &m, "10.0.0.1", &(struct store_verdict){0}, NULL), 0);
	made_fini(&m);
	stored_fini(&t);
}

struct refusing {
	struct store_object o;
	struct store_verdict v;
};

static int
put_and_refuse(struct store_tx *tx, void *arg, struct err *e)
{
	struct refusing *r = arg;
	int rc = store_put(tx, &r->o, &r->v, e);

	return rc ? rc : err_set(e, ERR_LOCAL, 0, "the node's own part failed");
}

static void
store_spool__R12_a_put_that_was_undone_leaves_nothing(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 20 * MIB};
	struct refusing p;
	struct err e = ERR_INIT;
	struct stored t;
	struct made m;

	(void)state;
	stored_init(&t, 0);
	made_init(&m, &r);
	memset(&p, 0, sizeof(p));
	p.o.info = m.info;
	p.o.origin = VERSION_TAKEN_IN;
	assert_int_equal(store_spool_open(&p.o.spool, t.s, &e), 0);
	assert_int_equal(store_spool_add(p.o.spool, m.bytes.data, m.bytes.len, &e), 0);
	assert_int_equal(store_commit(t.s, put_and_refuse, &p, &e), ERR_LOCAL);
	store_spool_close(p.o.spool);
	stored_settle(t.s);
	assert_int_equal(stored_rows(t.s, T_CHUNK), 0);
	assert_int_equal(stored_counts(t.s).known, 0);
	made_fini(&m);
	stored_fini(&t);
}

static int
pin(struct store_tx *tx, void *arg, struct err *e)
{
	(void)arg;
	return store_pin(tx, "1.2", 1700000000000 + 4000, e);
}

static void
store_candidates__R11_R28_least_recently_viewed_first_and_pins_stay(void **state)
{
	static const char *const study[] = {"1.1", "1.2", "1.3"};
	struct store_candidate c[4];
	struct err e = ERR_INIT;
	struct stored t;
	size_t n, i;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < 3; i++) {
		char uid[20];
		struct recipe r = {study[i], uid, NULL, NULL, 1, 100};

		(void)snprintf(uid, sizeof(uid), "1.2.3.%zu", i);
		(void)stored_keep(t.s, &r, "a");
		clock_manual_advance(&t.clock, 1000);
	}
	store_viewed(t.s, "1.1");
	store_close(t.s); /* views are written at the latest here */
	t.s = NULL;
	assert_int_equal(stored_open(&t, &e), 0);
	assert_int_equal(store_candidates(t.s, 1 << 30, NULL, c, 4, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_string_equal(c[0].study, "1.2");
	assert_string_equal(c[1].study, "1.3");
	assert_string_equal(c[2].study, "1.1");
	assert_int_equal(c[0].class, STORE_YOUNG);
	assert_int_equal(store_candidates(t.s, 1 << 30, &c[0], c + 1, 2, &n, &e), 0);
	assert_int_equal(n, 2); /* goes on behind the one it was given */
	assert_string_equal(c[1].study, "1.3");
	assert_int_equal(store_commit(t.s, pin, NULL, &e), 0);
	assert_int_equal(store_candidates(t.s, 0, NULL, c, 4, &n, &e), 0);
	assert_int_equal(n, 2); /* the pinned one is left out until its end date */
	assert_string_equal(c[0].study, "1.3");
	assert_int_equal(c[0].class, STORE_OLD);
	t.clock.wall += INT64_C(3000000000000); /* R28: a clock that goes wrong ends no pin */
	assert_int_equal(store_candidates(t.s, 0, NULL, c, 4, &n, &e), 0);
	assert_int_equal(n, 2);
	clock_manual_advance(&t.clock, 2000);
	assert_int_equal(store_candidates(t.s, 0, NULL, c, 4, &n, &e), 0);
	assert_int_equal(n, 3);
	stored_fini(&t);
}

static int
count_one(void *arg, const struct version *v, struct err *e)
{
	unsigned *n = arg;

	(void)e;
	n[0]++;
	n[1] += v->state == VERSION_HERE;
	return 0;
}

static void
store_candidates__R11_what_has_no_study_can_go_too(void **state)
{
	struct recipe r = {"", "1.2.3.1", NULL, NULL, 1, 100};
	struct store_candidate c[2];
	struct err e = ERR_INIT;
	struct store_verdict v;
	struct store_tx *tx;
	unsigned found[2] = {0};
	struct stored t;
	size_t n;

	(void)state;
	stored_init(&t, 0);
	v = stored_keep(t.s, &r, "a");
	assert_string_equal(stored_version(t.s, v.oid).study, "");
	assert_int_equal(stored_counts(t.s).studies, 0); /* it is none */
	r.study = "1.1";
	r.uid = "1.2.3.2";
	clock_manual_advance(&t.clock, 1000);
	(void)stored_keep(t.s, &r, "a");
	assert_int_equal(store_candidates(t.s, 1 << 30, NULL, c, 2, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_string_equal(c[0].study, "");
	assert_int_equal(c[0].instances, 1);
	assert_string_equal(c[1].study, "1.1");
	assert_int_equal(store_begin_read(&tx, t.s, &e), 0);
	assert_int_equal(store_versions_of_study(tx, "", 0, count_one, found, &e), 0);
	store_end_read(tx);
	assert_int_equal(found[0], 1);
	assert_int_equal(stored_drop(t.s, v.oid, &e), 0);
	assert_int_equal(store_candidates(t.s, 1 << 30, NULL, c, 2, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(stored_counts(t.s).studies, 1);
	stored_fini(&t);
}

static void
store_candidates__R28_a_wrong_wall_clock_changes_no_order(void **state)
{
	struct recipe r = {"1.1", "1.2.3.1", NULL, NULL, 1, 100};
	struct store_candidate c[2];
	struct err e = ERR_INIT;
	struct stored t;
	int64_t before;
	size_t n;

	(void)state;
	stored_init(&t, 0);
	(void)stored_keep(t.s, &r, "a");
	t.clock.wall = 0; /* 1970 */
	clock_manual_advance(&t.clock, 5000);
	before = store_time(t.s);
	store_close(t.s);
	t.s = NULL;
	t.clock.wall = 4102444800000; /* 2100; the monotonic clock begins anew at a start */
	t.clock.mono = 3;
	assert_int_equal(stored_open(&t, &e), 0);
	assert_true(store_time(t.s) >= before - 5000); /* what was not committed may be lost */
	r.study = "1.2";
	r.uid = "1.2.3.2";
	(void)stored_keep(t.s, &r, "a");
	assert_int_equal(store_candidates(t.s, 1 << 30, NULL, c, 2, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_string_equal(c[0].study, "1.1");
	stored_fini(&t);
}

static void
store_versions_of_study__R20_lists_what_was_evicted_too(void **state)
{
	struct recipe r = {"1.1", NULL, NULL, NULL, 1, 100};
	struct store_tx *tx;
	struct err e = ERR_INIT;
	struct stored t;
	unsigned n[2] = {0, 0}, i;
	char uid[20];

	(void)state;
	stored_init(&t, 0);
	r.uid = uid;
	for (i = 0; i < 5; i++) {
		(void)snprintf(uid, sizeof(uid), "1.2.3.%u", i);
		assert_int_equal(stored_drop(t.s, stored_keep(t.s, &r, "a").oid, &e), 0);
	}
	(void)snprintf(uid, sizeof(uid), "1.2.3.9");
	(void)stored_keep(t.s, &r, "a");
	assert_int_equal(store_begin_read(&tx, t.s, &e), 0);
	assert_int_equal(store_versions_of_study(tx, "1.1", 0, count_one, n, &e), 0);
	store_end_read(tx);
	assert_int_equal(n[0], 6);
	assert_int_equal(n[1], 1);
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_put__gives_back_every_byte_also_of_many_chunks),
		cmocka_unit_test(store_put__R3_tells_variant_revision_and_conflict),
		cmocka_unit_test(store_set_current__R3_the_index_names_what_viewers_get),
		cmocka_unit_test(store_admit__R12_the_disk_may_be_full_before_the_quota),
		cmocka_unit_test(store_put__R3_a_revision_that_moves_leaves_no_row_behind),
		cmocka_unit_test(
			differences_print__R3_a_line_per_study_source_and_kind_names_attributes),
		cmocka_unit_test(store_put__R32_what_was_refused_and_kept_hides_nothing),
		cmocka_unit_test(store_put__R4_a_duplicate_changes_nothing),
		cmocka_unit_test(store_put__R4_a_damaged_copy_is_repaired_by_the_new_bytes),
		cmocka_unit_test(store_read__R13_gives_any_part_and_nothing_of_a_damaged_chunk),
		cmocka_unit_test(store_put__R4_what_was_evicted_is_stored_again),
		cmocka_unit_test(store_put__R12_a_full_cache_refuses_and_goes_on_serving),
		cmocka_unit_test(store_spool__R12_an_abandoned_object_leaves_nothing),
		cmocka_unit_test(store_open__flushes_the_name_of_a_new_file),
		cmocka_unit_test(store_spool__memory_of_all_objects_on_their_way_in_is_bounded),
		cmocka_unit_test(store_spool__R12_a_put_that_was_undone_leaves_nothing),
		cmocka_unit_test(
			store_candidates__R11_R28_least_recently_viewed_first_and_pins_stay),
		cmocka_unit_test(store_candidates__R11_what_has_no_study_can_go_too),
		cmocka_unit_test(store_candidates__R28_a_wrong_wall_clock_changes_no_order),
		cmocka_unit_test(store_versions_of_study__R20_lists_what_was_evicted_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
