/* The record of what lies before the pixels, and where frames lie (DESIGN 4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/dicom/canon.h"
#include "common/store/differences.h"
#include "common/store/private.h"
#include "tests/gen/element.h"
#include "tests/lib/stored.h"

#define MIB ((size_t)1 << 20)

static const char jpeg[] = "1.2.840.10008.1.2.4.50";

/* --- objects: explicit VR little endian --- */

static void
fill(struct buf *b, unsigned value, size_t n)
{
	unsigned char *p = buf_reserve(b, n);

	assert_non_null(p);
	memset(p, (int)value, n);
	b->len += n;
}

static void
begin(struct buf *b, const char *uid, const char *comment, const char *frames)
{
	element_text(b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.7");
	element_text(b, 0x00080018, "UI", uid);
	element_text(b, 0x00104000, "LT", comment);
	element_text(b, 0x0020000d, "UI", "1.2.3");
	element_text(b, 0x0020000e, "UI", "1.2.3.9");
	if (frames)
		element_text(b, 0x00280008, "IS", frames);
}

static void
item(struct buf *b, unsigned value, size_t n)
{
	buf_put_u16(b, 0xfffe);
	buf_put_u16(b, 0xe000);
	buf_put_u32(b, (uint32_t)n);
	fill(b, value, n);
}

static void
end_items(struct buf *b)
{
	buf_put_u16(b, 0xfffe);
	buf_put_u16(b, 0xe0dd);
	buf_put_u32(b, 0);
}

static void
make(struct made *m, struct buf *set, const char *syntax)
{
	struct canon_config c = {.form = CANON_DATASET, .syntax = syntax};
	struct err e = ERR_INIT;

	buf_init(&m->bytes);
	assert_false(buf_failed(set));
	assert_int_equal(canon_bytes(&m->canon, &c, set->data, set->len, &m->bytes, &m->info, &e),
			 0);
	buf_fini(set);
}

static void
native(struct made *m, const char *uid, const char *comment, size_t pixels, const char *behind)
{
	struct buf set = BUF_INIT;

	begin(&set, uid, comment, NULL);
	element_head(&set, 0x7fe00010, "OB", (uint32_t)pixels);
	fill(&set, 7, pixels);
	if (behind)
		element_text(&set, 0x7fe10010, "LO", behind);
	make(m, &set, "1.2.840.10008.1.2.1");
}

static uint64_t
put(struct stored *t, const struct made *m)
{
	struct store_verdict v;
	struct err e = ERR_INIT;

	assert_int_equal(stored_put(t->s, m, "a", &v, &e), 0);
	assert_int_equal(store_settle(t->s, &e), 0);
	return v.oid;
}

/* --- what is done to rows behind the store's back --- */

struct spoiling {
	unsigned table;
	uint64_t id;
};

static int
spoil_row(struct store_tx *tx, void *arg, struct err *e)
{
	const struct spoiling *sp = arg;
	unsigned char key[12], bytes[200];
	size_t n = sp->table == T_CHUNK ? 12 : 8;

	memset(bytes, 0x55, sizeof(bytes));
	buf_set_be64(key, sp->id);
	buf_set_be32(key + 8, 0);
	return kv_put(tx->txn, sp->table, kv_slice(key, n), kv_slice(bytes, sizeof(bytes)), e);
}

static void
spoil(struct stored *t, unsigned table, uint64_t oid)
{
	struct spoiling sp = {table, stored_version(t->s, oid).bytes};
	struct err e = ERR_INIT;

	assert_int_equal(store_commit(t->s, spoil_row, &sp, &e), 0);
}

static void
assert_header(struct stored *t, uint64_t oid, const struct made *m, bool recorded)
{
	struct store_header h;
	struct err e = ERR_INIT;

	assert_int_equal(store_header(&h, t->s, oid, &e), 0);
	assert_int_equal(h.recorded, recorded);
	assert_int_equal(h.bytes.len, m->info->pixel_offset);
	assert_memory_equal(h.bytes.data, m->bytes.data, h.bytes.len);
	store_header_fini(&h);
}

static void
store_header__comes_from_its_record_the_image_is_not_read(void **state)
{
	size_t sizes[] = {STORE_HEADER_FROM, 300000, 2 * MIB, 20 * MIB}, i;
	struct stored t;
	struct made m;
	char uid[20];

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t oid;

		(void)snprintf(uid, sizeof(uid), "1.2.3.%zu", i);
		native(&m, uid, "none", sizes[i], NULL);
		oid = put(&t, &m);
		spoil(&t, T_CHUNK, oid);
		assert_header(&t, oid, &m, true);
		made_fini(&m);
	}
	assert_int_equal(stored_rows(t.s, T_HEADER), i);
	stored_fini(&t);
}

static void
store_header__of_a_small_object_is_read_from_it(void **state)
{
	struct stored t;
	struct made m;

	(void)state;
	stored_init(&t, 0);
	native(&m, "1.2.3.4", "none", STORE_HEADER_FROM / 2, NULL);
	assert_header(&t, put(&t, &m), &m, false);
	made_fini(&m);
	assert_int_equal(stored_rows(t.s, T_HEADER), 0);
	stored_fini(&t);
}

static void
store_header__a_damaged_record_is_as_good_as_none(void **state)
{
	struct stored t;
	struct made m;
	uint64_t oid;

	(void)state;
	stored_init(&t, 0);
	native(&m, "1.2.3.4", "none", 300000, NULL);
	oid = put(&t, &m);
	spoil(&t, T_HEADER, oid);
	assert_header(&t, oid, &m, false);
	made_fini(&m);
	stored_fini(&t);
}

static void
store_header__lives_and_dies_with_the_bytes(void **state)
{
	struct err e = ERR_INIT;
	struct store_header h;
	struct stored t;
	struct made m;
	uint64_t oid;

	(void)state;
	stored_init(&t, 0);
	native(&m, "1.2.3.4", "none", 300000, NULL);
	oid = put(&t, &m);
	assert_int_equal(stored_drop(t.s, oid, &e), 0);
	assert_int_equal(store_header(&h, t.s, oid, &e), ERR_ABSENT);
	stored_settle(t.s);
	assert_int_equal(stored_rows(t.s, T_HEADER), 0);
	assert_int_equal(put(&t, &m), oid);
	assert_header(&t, oid, &m, true);
	spoil(&t, T_CHUNK, oid); /* R4: repaired by the new bytes, under a new object id */
	assert_int_equal(put(&t, &m), oid);
	stored_settle(t.s);
	assert_int_equal(stored_rows(t.s, T_HEADER), 1);
	assert_header(&t, oid, &m, true);
	assert_int_equal(stored_compare(t.s, oid, &m, &e), 0);
	made_fini(&m);
	stored_fini(&t);
}

static void
store_header__is_bounded_a_larger_one_is_read_from_the_object(void **state)
{
	struct buf set = BUF_INIT;
	struct err e = ERR_INIT;
	struct store_header h;
	struct stored t;
	struct made m;

	(void)state;
	stored_init(&t, 0);
	begin(&set, "1.2.3.4", "none", NULL);
	element_head(&set, 0x00420011, "OB", (uint32_t)(2 * MIB));
	fill(&set, 1, 2 * MIB);
	element_head(&set, 0x7fe00010, "OB", 1000);
	fill(&set, 7, 1000);
	make(&m, &set, "1.2.840.10008.1.2.1");
	assert_int_equal(store_header(&h, t.s, put(&t, &m), &e), 0);
	assert_true(h.recorded);
	assert_int_equal(h.bytes.len, 0);
	assert_int_equal(h.behind, m.info->size);
	store_header_fini(&h);
	made_fini(&m);
	stored_fini(&t);
}

/* --- frames --- */

struct encapsulated {
	const char *frames;   /* as the object says */
	unsigned fragments;   /* for each frame     */
	bool offsets;	      /* a table of them    */
	size_t fragment_size; /* of the first; each further is two bytes longer */
	unsigned known;	      /* frames that are to be found */
	enum { NO_MARKS, WHOLE, J2K, PADDED, NO_END, AGAIN } marks; /* of a frame's codestream */
	const char *says;					    /* instead of frames */
};

/* The first and last bytes of a frame are those of its codestream: SOI and EOI, or SOC and EOC. */
static void
mark(struct buf *set, const struct encapsulated *x, unsigned part, size_t n)
{
	unsigned char *p = set->data + set->len - n, *end = set->data + set->len;

	if (x->marks == NO_MARKS)
		return;
	if (part == 0 || x->marks == AGAIN) /* AGAIN: where no frame ended none begins */
		memcpy(p, x->marks == J2K ? "\xff\x4f" : "\xff\xd8", 2);
	if (part + 1 < x->fragments || x->marks == NO_END)
		return;
	memcpy(end - (x->marks == PADDED ? 3 : 2), "\xff\xd9", 2);
	if (x->marks == PADDED)
		end[-1] = 0;
}

static void
make_encapsulated(struct made *m, const char *uid, const struct encapsulated *x)
{
	unsigned frames = (unsigned)strtoul(x->frames, NULL, 10), n = frames * x->fragments, i;
	struct buf set = BUF_INIT;
	uint32_t at = 0;

	begin(&set, uid, "none", x->says ? x->says : x->frames);
	element_head(&set, 0x7fe00010, "OB", UINT32_MAX);
	item(&set, 0, 0);
	if (x->offsets)
		buf_set_u32(set.data + set.len - 4, 4 * frames);
	for (i = 0; x->offsets && i < n; i++) {
		if (i % x->fragments == 0)
			buf_put_u32(&set, at);
		at += (uint32_t)(8 + x->fragment_size + 2 * (size_t)i);
	}
	for (i = 0; i < n; i++) {
		item(&set, i / x->fragments, x->fragment_size + 2 * (size_t)i);
		mark(&set, x, i % x->fragments, x->fragment_size + 2 * (size_t)i);
	}
	end_items(&set);
	make(m, &set, jpeg);
}

/* Frame i is made of bytes i, in so many items. */
static void
assert_frame(const struct made *m, const struct store_frame *f, unsigned i, unsigned fragments)
{
	const unsigned char *p = m->bytes.data + f->offset, *end = p + f->length;

	assert_true(f->offset + f->length <= m->bytes.len);
	for (; p < end; fragments--) {
		uint32_t n = buf_get_u32(p + 4), k;

		assert_int_equal(buf_get_u16(p), 0xfffe);
		assert_int_equal(buf_get_u16(p + 2), 0xe000);
		for (k = 3; k + 3 < n; k++) /* but for marks */
			assert_int_equal(p[8 + k], i);
		p += 8 + n;
	}
	assert_ptr_equal(p, end);
	assert_int_equal(fragments, 0);
}

static const struct encapsulated cases[] = {
	{"1", 1, false, 90000, 1, NO_MARKS, NULL}, /* one frame                             */
	{"1", 5, false, 20000, 1, NO_MARKS, NULL}, /* in several fragments                  */
	{"9", 1, false, 9000, 9, NO_MARKS, NULL},  /* a fragment each                       */
	{"9", 3, true, 3000, 9, NO_MARKS, NULL},   /* several each, told by the offsets     */
	{"9", 3, false, 3000, 0, NO_MARKS, NULL},  /* nobody tells                          */
	{"9", 3, false, 3000, 9, WHOLE, NULL},	   /* no table: the codestreams tell    */
	{"9", 3, false, 3000, 9, J2K, NULL},
	{"9", 3, false, 3000, 9, PADDED, NULL},
	{"9", 2, false, 3000, 9, AGAIN, NULL},
	{"9", 3, false, 3000, 0, NO_END, NULL},	     /* a beginning is not enough        */
	{"3", 40, false, 90000, 3, WHOLE, NULL},     /* in many pieces                  */
	{"3", 2, true, 100, 3, NO_MARKS, NULL},	     /* small: no record, the object is read  */
	{"6", 1, false, 2 << 20, 6, NO_MARKS, NULL}, /* larger than what waits in memory    */
};

static void
store_header__finds_each_frame_of_an_encapsulated_image(void **state)
{
	struct err e = ERR_INIT;
	struct store_header h;
	struct stored t;
	struct made m;
	char uid[20];
	size_t i, k;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(uid, sizeof(uid), "1.2.3.%zu", i);
		make_encapsulated(&m, uid, &cases[i]);
		assert_int_equal(store_header(&h, t.s, put(&t, &m), &e), 0);
		assert_int_equal(h.recorded, m.info->size >= STORE_HEADER_FROM);
		assert_int_equal(h.n_frames, cases[i].known);
		assert_int_equal(h.behind, m.info->size);
		for (k = 0; k < h.n_frames; k++)
			assert_frame(&m, &h.frames[k], (unsigned)k, cases[i].fragments);
		store_header_fini(&h);
		made_fini(&m);
	}
	stored_fini(&t);
}

/* As many as the object says, or none. */
static void
store_header__codestreams_that_are_not_the_frames_are_not_believed(void **state)
{
	struct encapsulated x = {"9", 3, false, 3000, 9, WHOLE, NULL};
	static const char *const said[] = {"8", "7", "2"};
	struct err e = ERR_INIT;
	struct store_header h;
	struct stored t;
	struct made m;
	char uid[20];
	size_t i;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		(void)snprintf(uid, sizeof(uid), "1.2.3.%zu", i);
		x.says = said[i];
		make_encapsulated(&m, uid, &x);
		assert_int_equal(store_header(&h, t.s, put(&t, &m), &e), 0);
		assert_int_equal(h.n_frames, 0);
		store_header_fini(&h);
		made_fini(&m);
	}
	stored_fini(&t);
}

static void
store_header__an_offset_table_that_lies_is_not_believed(void **state)
{
	struct encapsulated x = {"9", 3, true, 3000, 9, NO_MARKS, NULL};
	struct err e = ERR_INIT;
	struct store_header h;
	struct buf set = BUF_INIT;
	struct stored t;
	struct made m, lying;
	struct canon_config c = {.form = CANON_FILE};
	size_t at;

	(void)state;
	stored_init(&t, 0);
	make_encapsulated(&m, "1.2.3.4", &x);
	for (at = 0; at < 9; at++) { /* each entry points two bytes beside its fragment */
		buf_clear(&set);
		buf_put(&set, m.bytes.data, m.bytes.len);
		set.data[m.info->pixel_offset + 8 + 4 * at] ^= 2;
		buf_init(&lying.bytes);
		assert_int_equal(canon_bytes(&lying.canon, &c, set.data, set.len, &lying.bytes,
					     &lying.info, &e),
				 0);
		assert_int_equal(store_header(&h, t.s, put(&t, &lying), &e), 0);
		assert_int_equal(h.n_frames, 0);
		store_header_fini(&h);
		made_fini(&lying);
	}
	buf_fini(&set);
	made_fini(&m);
	stored_fini(&t);
}

/* The layout on disk (README): a later release reads it. */
static void
store_header__its_record_is_laid_out_as_documented(void **state)
{
	struct encapsulated x = {"9", 1, false, 9000, 9, NO_MARKS, NULL};
	const unsigned char *p;
	unsigned char key[8];
	struct store_tx *tx;
	struct kv_slice v;
	struct stored t;
	struct made m;
	uint64_t oid;
	unsigned i;

	(void)state;
	stored_init(&t, 0);
	make_encapsulated(&m, "1.2.3.4", &x);
	oid = put(&t, &m);
	buf_set_be64(key, stored_version(t.s, oid).bytes);
	assert_int_equal(store_begin_read(&tx, t.s, NULL), 0);
	assert_int_equal(kv_get(tx->txn, T_HEADER, kv_slice(key, 8), &v, NULL), 0);
	p = v.p;
	assert_int_equal(v.n, 40 + 9 * 4 + m.info->pixel_offset);
	assert_int_equal(buf_get_u64(p), xxh64_of(p + 8, v.n - 8));
	assert_memory_equal(p + 8, "\1\0\0\0", 4);
	assert_int_equal(buf_get_u32(p + 12), m.info->pixel_offset);
	assert_int_equal(buf_get_u32(p + 16), 9);
	assert_int_equal(buf_get_u32(p + 20), 0);
	assert_int_equal(buf_get_u64(p + 24), m.info->size);
	assert_int_equal(buf_get_u64(p + 32), m.info->pixel_offset + 8); /* an empty table first */
	for (i = 0; i < 9; i++)
		assert_int_equal(buf_get_u32(p + 40 + 4 * (size_t)i), 8 + 9000 + 2 * i);
	assert_memory_equal(p + 40 + 9 * 4, m.bytes.data, m.info->pixel_offset);
	store_end_read(tx);
	made_fini(&m);
	stored_fini(&t);
}

struct coming {
	uint64_t oid;
	struct store_spool *spool;
	const struct object_info *info;
};

static int
come(struct store_tx *tx, void *arg, struct err *e)
{
	struct coming *c = arg;

	return store_set_spool(tx, c->oid, c->spool, c->info, e);
}

static void
store_set_spool__writes_the_record_of_what_came_back(void **state)
{
	struct encapsulated x = {"9", 1, false, 9000, 9, NO_MARKS, NULL};
	struct err e = ERR_INIT;
	struct store_header h;
	struct stored t;
	struct made m;
	struct coming c;
	int scanned;

	(void)state;
	stored_init(&t, 0);
	make_encapsulated(&m, "1.2.3.4", &x);
	c.oid = put(&t, &m);
	for (scanned = 0; scanned < 2; scanned++) {
		assert_int_equal(stored_drop(t.s, c.oid, &e), 0);
		c.info = scanned ? m.info : NULL;
		assert_int_equal(store_spool_open(&c.spool, t.s, &e), 0);
		assert_int_equal(store_spool_add(c.spool, m.bytes.data, m.bytes.len, &e), 0);
		assert_int_equal(store_commit(t.s, come, &c, &e), 0);
		store_spool_close(c.spool);
		assert_header(&t, c.oid, &m, true);
		assert_int_equal(store_header(&h, t.s, c.oid, &e), 0);
		assert_int_equal(h.n_frames, scanned ? 9 : 0);
		store_header_fini(&h);
	}
	made_fini(&m);
	stored_fini(&t);
}

/* --- who reads headers --- */

static void
assert_differs(struct stored *t, const char *what, bool said)
{
	struct buf out = BUF_INIT;
	uint64_t n;

	assert_int_equal(differences_print(t->s, false, false, &out, &n, NULL), 0);
	buf_put_u8(&out, 0);
	if ((strstr((char *)out.data, what) != NULL) != said)
		fail_msg("\"%s\" in %s", what, (const char *)out.data);
	buf_fini(&out);
}

static void
differences_print__R3_reads_what_is_before_and_behind_the_pixels(void **state)
{
	struct stored t;
	struct made m;
	uint64_t first, second;

	(void)state;
	stored_init(&t, 0);
	native(&m, "1.2.3.4", "first", 3 * MIB, NULL);
	first = put(&t, &m);
	made_fini(&m);
	native(&m, "1.2.3.4", "second", 3 * MIB, NULL);
	second = put(&t, &m);
	made_fini(&m);
	spoil(&t, T_CHUNK, first); /* no pixel is looked at */
	spoil(&t, T_CHUNK, second);
	assert_differs(&t, "differs in (0010,4000) PatientComments\n", true);
	native(&m, "1.2.3.4", "first", 3 * MIB, "something");
	(void)put(&t, &m);
	made_fini(&m);
	assert_differs(&t, "(7fe1,0010)", true);
	assert_differs(&t, "PixelData", false);
	stored_fini(&t);
}

static void
differences_print__R3_compares_pixels_by_their_digest(void **state)
{
	struct encapsulated x = {"1", 1, false, 90000, 1, NO_MARKS, NULL};
	struct stored t;
	struct made m;

	(void)state;
	stored_init(&t, 0);
	native(&m, "1.2.3.4", "none", 300000, NULL);
	(void)put(&t, &m);
	made_fini(&m);
	native(&m, "1.2.3.4", "none", 1000, NULL); /* this one has no record */
	(void)put(&t, &m);
	made_fini(&m);
	assert_differs(&t, "differs in (7fe0,0010) PixelData\n", true);
	make_encapsulated(&m, "1.2.3.5", &x);
	(void)put(&t, &m);
	made_fini(&m);
	x.fragments = 2;
	make_encapsulated(&m, "1.2.3.5", &x);
	(void)put(&t, &m);
	made_fini(&m);
	assert_differs(&t, "2 instances", true);
	assert_differs(&t, "cannot be said", false);
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_header__comes_from_its_record_the_image_is_not_read),
		cmocka_unit_test(store_header__of_a_small_object_is_read_from_it),
		cmocka_unit_test(store_header__a_damaged_record_is_as_good_as_none),
		cmocka_unit_test(store_header__lives_and_dies_with_the_bytes),
		cmocka_unit_test(store_header__is_bounded_a_larger_one_is_read_from_the_object),
		cmocka_unit_test(store_header__finds_each_frame_of_an_encapsulated_image),
		cmocka_unit_test(
			store_header__codestreams_that_are_not_the_frames_are_not_believed),
		cmocka_unit_test(store_header__an_offset_table_that_lies_is_not_believed),
		cmocka_unit_test(store_header__its_record_is_laid_out_as_documented),
		cmocka_unit_test(store_set_spool__writes_the_record_of_what_came_back),
		cmocka_unit_test(differences_print__R3_reads_what_is_before_and_behind_the_pixels),
		cmocka_unit_test(differences_print__R3_compares_pixels_by_their_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
