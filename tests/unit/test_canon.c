/* The canonical form, its digests and what one pass tells (R1, R2, R32). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/dicom/attrs.h"
#include "common/dicom/canon.h"
#include "common/dicom/keys.h"
#include "common/os/file.h"

#define IMPLICIT "1.2.840.10008.1.2"
#define EXPLICIT "1.2.840.10008.1.2.1"
#define BIG "1.2.840.10008.1.2.2"
#define DEFLATED "1.2.840.10008.1.2.1.99"
#define JPEG "1.2.840.10008.1.2.4.50"

/* --- data sets by hand --- */

enum enc { IMP, EXP, BE };

static void
put16(struct buf *b, enum enc enc, unsigned v)
{
	if (enc == BE) {
		buf_put_u8(b, v >> 8);
		buf_put_u8(b, v & 255);
	} else {
		buf_put_u16(b, v);
	}
}

static void
put32(struct buf *b, enum enc enc, uint32_t v)
{
	if (enc == BE)
		buf_put_be32(b, v);
	else
		buf_put_u32(b, v);
}

static void
head(struct buf *b, enum enc enc, uint32_t tag, const char *vr, uint32_t n)
{
	put16(b, enc, tag >> 16);
	put16(b, enc, tag & 0xffff);
	if (enc == IMP || tag >> 16 == 0xfffe) {
		put32(b, enc, n);
		return;
	}
	buf_put(b, vr, 2);
	if (strstr("OB OW SQ UN", vr)) {
		put16(b, enc, 0);
		put32(b, enc, n);
	} else {
		put16(b, enc, n);
	}
}

static void
text(struct buf *b, enum enc enc, uint32_t tag, const char *vr, const char *s)
{
	size_t n = strlen(s);

	head(b, enc, tag, vr, (uint32_t)(n + n % 2));
	buf_put(b, s, n);
	if (n % 2)
		buf_put(b, strcmp(vr, "UI") == 0 ? "" : " ", 1);
}

static void
words(struct buf *b, enum enc enc, uint32_t tag, const char *vr, unsigned first, unsigned n)
{
	unsigned i;

	head(b, enc, tag, vr, n * 2);
	for (i = 0; i < n; i++)
		put16(b, enc, first + i);
}

static void
small_object(struct buf *b, enum enc enc, bool defined, unsigned first_pixel)
{
	struct buf item = BUF_INIT;

	text(b, enc, TAG_CHARSET, "CS", "ISO_IR 100");
	text(b, enc, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(b, enc, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	text(b, enc, TAG_STUDY_DATE, "DA", "20260101");
	text(b, enc, TAG_MODALITY, "CS", "CT");
	text(&item, enc, 0x00081150u, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&item, enc, 0x00081155u, "UI", "1.2.3.9");
	head(b, enc, 0x00081140u, "SQ", defined ? (uint32_t)item.len + 8 : 0xffffffffu);
	head(b, enc, 0xfffee000u, "", defined ? (uint32_t)item.len : 0xffffffffu);
	buf_put(b, item.data, item.len);
	if (!defined) {
		head(b, enc, 0xfffee00du, "", 0);
		head(b, enc, 0xfffee0ddu, "", 0);
	}
	text(b, enc, TAG_PATIENT_NAME, "PN", "M\xfcller^J\xf6rg");
	text(b, enc, TAG_PATIENT_ID, "LO", "0815");
	text(b, enc, TAG_STUDY_UID, "UI", "1.2.3");
	text(b, enc, TAG_SERIES_UID, "UI", "1.2.3.1");
	words(b, enc, 0x00280010u, "US", 16, 1);
	words(b, enc, 0x7fe00010u, "OW", first_pixel, 64);
	buf_fini(&item);
}

struct made {
	struct canon *c;
	const struct object_info *info;
	struct buf bytes;
};

static void
make(struct made *m, enum canon_form form, const char *syntax, const void *p, size_t n)
{
	struct canon_config config = {.form = form, .syntax = syntax};

	memset(m, 0, sizeof(*m));
	assert_int_equal(canon_bytes(&m->c, &config, p, n, &m->bytes, &m->info, NULL), 0);
	assert_int_equal(m->bytes.len, m->info->size);
}

static void
drop(struct made *m)
{
	canon_free(m->c);
	buf_fini(&m->bytes);
}

static void
make_small(struct made *m, enum enc enc, bool defined, unsigned first_pixel)
{
	static const char *const names[] = {IMPLICIT, EXPLICIT, BIG};
	struct buf b = BUF_INIT;

	small_object(&b, enc, defined, first_pixel);
	make(m, CANON_DATASET, names[enc], b.data, b.len);
	buf_fini(&b);
}

static void
assert_attr(const struct buf *set, uint32_t tag, const char *want)
{
	char got[256];

	(void)attrs_copy(attrs_of(set), tag, got, sizeof(got));
	assert_string_equal(got, want);
}

/* --- R1 --- */

static void
canon_header__R1_is_the_golden_one(void **state)
{
	static const char golden[] = "02000000554c04008200000002000100"
				     "4f420000020000000001020002005549"
				     "1a00312e322e3834302e31303030382e"
				     "352e312e342e312e312e320002000300"
				     "55490800312e322e332e340002001000"
				     "55491400312e322e3834302e31303030"
				     "382e312e322e31000200120055491e00"
				     "312e322e3832362e302e312e33363830"
				     "3034332e31302e313537312e3100";
	struct buf b = BUF_INIT;
	char hex[1024];

	(void)state;
	canon_header(&b, "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", EXPLICIT);
	assert_memory_equal(b.data + 128, "DICM", 4);
	assert_true(b.len - 132 < sizeof(hex) / 2);
	hex_of(b.data + 132, b.len - 132, hex);
	assert_string_equal(hex, golden);
	buf_fini(&b);
}

static void
canon__R1_of_canon_is_itself(void **state)
{
	enum enc enc;

	(void)state;
	for (enc = IMP; enc <= BE; enc++) {
		struct made once, twice;

		make_small(&once, enc, true, 1);
		make(&twice, CANON_FILE, NULL, once.bytes.data, once.bytes.len);
		assert_int_equal(once.bytes.len, twice.bytes.len);
		assert_memory_equal(once.bytes.data, twice.bytes.data, once.bytes.len);
		assert_memory_equal(once.info->digest, twice.info->digest, SHA256_SIZE);
		assert_memory_equal(once.info->content, twice.info->content, XXH128_SIZE);
		assert_int_equal(twice.info->flags, 0);
		drop(&once);
		drop(&twice);
	}
}

static void
canon__R1_data_set_bytes_stay_as_they_came(void **state)
{
	struct buf b = BUF_INIT;
	struct made m;

	(void)state;
	small_object(&b, EXP, false, 5);
	buf_put(&b, "\xfc\xff\xfc\xffOB\0\0\3\0\0\0abc", 15); /* odd length, trailing padding */
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len);
	assert_memory_equal(m.bytes.data + m.bytes.len - b.len, b.data, b.len);
	drop(&m);
	buf_fini(&b);
}

static void
canon__R1_a_data_set_may_begin_with_group_0002(void **state)
{
	struct buf b = BUF_INIT;
	struct made once, twice;

	(void)state;
	text(&b, EXP, 0x00020100u, "UI", "1.2.3");
	small_object(&b, EXP, true, 1);
	make(&once, CANON_DATASET, EXPLICIT, b.data, b.len);
	make(&twice, CANON_FILE, NULL, once.bytes.data, once.bytes.len);
	assert_memory_equal(once.info->digest, twice.info->digest, SHA256_SIZE);
	drop(&once);
	drop(&twice);
	buf_fini(&b);
}

static void
canon__R1_a_lying_group_length_is_not_believed(void **state)
{
	struct made m, right;
	struct buf file = BUF_INIT;

	(void)state;
	make_small(&right, EXP, true, 1);
	buf_put(&file, right.bytes.data, right.bytes.len);
	buf_set_u32(file.data + 140, 20); /* points into group 0002 */
	make(&m, CANON_FILE, NULL, file.data, file.len);
	assert_memory_equal(m.info->digest, right.info->digest, SHA256_SIZE);
	drop(&m);
	drop(&right);
	buf_fini(&file);
}

static void
canon__R1_uids_behind_64_kib_do_not_count(void **state)
{
	struct buf b = BUF_INIT;
	struct made m;

	(void)state;
	head(&b, EXP, 0x00080001u, "OB", 70000);
	assert_non_null(buf_reserve(&b, 70000));
	memset(b.data + b.len, 1, 70000);
	b.len += 70000;
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&b, EXP, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len);
	assert_string_equal(m.info->sop_instance, "");
	assert_true(m.info->flags & OBJECT_NO_IDENTITY);
	drop(&m);
	buf_fini(&b);
}

static void
feed_split(const struct buf *b, size_t piece, struct made *m)
{
	struct canon_config config = {.form = CANON_FILE};
	size_t at;

	memset(m, 0, sizeof(*m));
	assert_int_equal(canon_new(&m->c, &config, NULL), 0);
	for (at = 0; at < b->len; at += piece)
		assert_int_equal(canon_feed(m->c, b->data + at,
					    b->len - at < piece ? b->len - at : piece, NULL),
				 0);
	assert_int_equal(canon_end(m->c, &m->info, NULL), 0);
}

static void
canon__R1_uids_count_in_either_order_and_the_first_usable(void **state)
{
	struct buf b = BUF_INIT;
	struct made m;

	(void)state;
	text(&b, EXP, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	text(&b, EXP, TAG_SOP_INSTANCE, "UI", "1.2.3.5");
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&b, EXP, TAG_MODALITY, "CS", "CT");
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.3");
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len);
	assert_string_equal(m.info->sop_instance, "1.2.3.4");
	assert_string_equal(m.info->sop_class, "1.2.840.10008.5.1.4.1.1.2");
	drop(&m);
	buf_clear(&b);
	text(&b, EXP, TAG_MODALITY, "CS", "CT"); /* above (0008,0018): too late for both */
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&b, EXP, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len);
	assert_string_equal(m.info->sop_instance, "");
	drop(&m);
	buf_fini(&b);
}

/* Deflate without compression: empty blocks, then b as the last one. */
static void
deflate_blocks(struct buf *out, unsigned empty, const struct buf *b)
{
	while (empty-- > 0)
		buf_put(out, "\0\0\0\xff\xff", 5);
	buf_put_u8(out, 1);
	buf_put_u16(out, (unsigned)b->len);
	buf_put_u16(out, ~(unsigned)b->len & 0xffff);
	buf_put(out, b->data, b->len);
}

static void
canon__R1_deflated_uids_count_by_where_they_inflate(void **state)
{
	/* 30,000 empty blocks: nobody waits for ever for what they end in. */
	static const struct {
		unsigned empty;
		const char *uid;
	} cases[] = {{0, "1.2.3.4"}, {100, "1.2.3.4"}, {30000, ""}};
	struct buf b = BUF_INIT;
	size_t i, piece;

	(void)state;
	small_object(&b, EXP, true, 1);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf z = BUF_INIT;
		struct made m, twice;

		deflate_blocks(&z, cases[i].empty, &b);
		make(&m, CANON_DATASET, DEFLATED, z.data, z.len);
		assert_string_equal(m.info->sop_instance, cases[i].uid);
		for (piece = 1000; piece < 200000; piece *= 7) {
			feed_split(&m.bytes, piece, &twice);
			assert_memory_equal(m.info->digest, twice.info->digest, SHA256_SIZE);
			drop(&twice);
		}
		drop(&m);
		buf_fini(&z);
	}
	buf_fini(&b);
}

static void
canon__R1_what_cannot_be_delimited_is_kept_whole(void **state)
{
	static const char garbage[] = "GIF89a, this is no DICOM file at all, but somebody sent it";
	struct made m;

	(void)state;
	make(&m, CANON_FILE, NULL, garbage, sizeof(garbage));
	assert_true(m.info->flags & OBJECT_OPAQUE);
	assert_int_equal(m.bytes.len, sizeof(garbage));
	assert_memory_equal(m.bytes.data, garbage, sizeof(garbage));
	drop(&m);
}

/* --- R2 --- */

static void
canon__R2_content_does_not_depend_on_the_encoding(void **state)
{
	struct made base, other;
	enum enc enc;
	int defined;

	(void)state;
	make_small(&base, EXP, true, 1);
	for (enc = IMP; enc <= BE; enc++) {
		for (defined = 0; defined < 2; defined++) {
			make_small(&other, enc, defined != 0, 1);
			assert_memory_equal(base.info->content, other.info->content, XXH128_SIZE);
			assert_memory_equal(base.info->pixels, other.info->pixels, XXH128_SIZE);
			if (enc != EXP || !defined)
				assert_memory_not_equal(base.info->digest, other.info->digest,
							SHA256_SIZE);
			drop(&other);
		}
	}
	drop(&base);
}

static void
canon__R2_one_changed_pixel_changes_pixels_and_content(void **state)
{
	struct made a, b;

	(void)state;
	make_small(&a, EXP, true, 1);
	make_small(&b, EXP, true, 2);
	assert_memory_not_equal(a.info->pixels, b.info->pixels, XXH128_SIZE);
	assert_memory_not_equal(a.info->content, b.info->content, XXH128_SIZE);
	assert_memory_equal(a.info->attributes, b.info->attributes, XXH128_SIZE);
	drop(&a);
	drop(&b);
}

/* The last n bytes of an object, otherwise always the same, in tag. */
static void
make_ending(struct made *m, enum enc enc, uint32_t tag, const char *vr, const void *p, size_t n)
{
	struct buf b = BUF_INIT;

	text(&b, enc, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&b, enc, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	head(&b, enc, tag, vr, (uint32_t)n);
	buf_put(&b, p, n);
	make(m, CANON_DATASET, enc == IMP ? IMPLICIT : EXPLICIT, b.data, b.len);
	buf_fini(&b);
}

static void
canon__R2_only_what_pads_is_left_out(void **state)
{
	static const struct {
		uint32_t tag;
		const char *vr, *a, *b;
		size_t an, bn;
		bool same;
	} cases[] = {
		/* pixels: any byte counts, but the NUL that makes the length even */
		{0x7fe00010u, "OB", "\1\0", "\1 ", 2, 2, false},
		{0x7fe00010u, "OW", "\1\2\0\0", "\1\2 \0", 4, 4, false},
		{0x7fe00010u, "OB", "\1\0\0", "\1\0\0\0", 3, 4, true},
		{0x7fe00010u, "OB", "\1\0", "\1\0\0\0", 2, 4, false},
		/* numbers */
		{0x00280106u, "US", "\0\0", " \0", 2, 2, false},
		{0x00280106u, "US", "\1\0", "\1 ", 2, 2, false},
		{0x00283006u, "OW", "\1\0\0\0", "\1\0", 4, 2, false},
		{0x00420011u, "OB", "\1\2\3", "\1\2\3\0", 3, 4, true},
		/* text */
		{0x00081030u, "LO", "abc", "abc ", 3, 4, true},
		{0x00081030u, "LO", "abc \0\0", "abc   ", 6, 6, true},
		{0x00081030u, "LO", "  ", "", 2, 0, true},
		{0x0020000du, "UI", "1.2\0", "1.2 ", 4, 4, true},
		{0x00081030u, "LO", "abc ", "abd ", 4, 4, false},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct made x, y;
		bool pixels = cases[i].tag == 0x7fe00010u;

		make_ending(&x, EXP, cases[i].tag, cases[i].vr, cases[i].a, cases[i].an);
		make_ending(&y, IMP, cases[i].tag, cases[i].vr, cases[i].b, cases[i].bn);
		if ((memcmp(x.info->content, y.info->content, XXH128_SIZE) == 0) != cases[i].same)
			fail_msg("case %zu", i);
		assert_int_equal(memcmp(x.info->pixels, y.info->pixels, XXH128_SIZE) == 0,
				 !pixels || cases[i].same);
		drop(&x);
		drop(&y);
	}
}

static void
canon_feed__pieces_change_nothing(void **state)
{
	enum enc enc;
	size_t piece;

	(void)state;
	for (enc = IMP; enc <= BE; enc++) {
		struct made whole, split;

		make_small(&whole, enc, false, 3);
		for (piece = 1; piece < 70; piece++) {
			feed_split(&whole.bytes, piece, &split);
			assert_memory_equal(whole.info->digest, split.info->digest, SHA256_SIZE);
			assert_memory_equal(whole.info->content, split.info->content, XXH128_SIZE);
			assert_int_equal(whole.info->pixel_offset, split.info->pixel_offset);
			assert_int_equal(whole.info->flags, split.info->flags);
			drop(&split);
		}
		drop(&whole);
	}
}

/* --- what is told --- */

static void
canon_end__gives_attributes_in_utf8(void **state)
{
	struct made m;

	(void)state;
	make_small(&m, EXP, true, 1);
	assert_string_equal(m.info->sop_instance, "1.2.3.4");
	assert_string_equal(m.info->study, "1.2.3");
	assert_string_equal(m.info->series, "1.2.3.1");
	assert_attr(&m.info->study_attrs, TAG_PATIENT_NAME, "M\xc3\xbcller^J\xc3\xb6rg");
	assert_attr(&m.info->study_attrs, TAG_PATIENT_ID, "0815");
	assert_attr(&m.info->series_attrs, TAG_MODALITY, "CT");
	assert_attr(&m.info->instance_attrs, 0x00280010u, "16");
	assert_int_equal(m.info->pixel_length, 128);
	assert_int_equal(buf_get_u16(m.bytes.data + m.info->pixel_offset), 1);
	drop(&m);
}

static void
canon_end__R33_other_ids_are_kept_with_their_issuers(void **state)
{
	struct buf b = BUF_INIT, items = BUF_INIT, item = BUF_INIT;
	static const char *const ids[][2] = {
		{"A1", "H"}, {"B2", NULL}, {NULL, "LOST"}, {"C3", "K"}};
	struct made m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		buf_clear(&item);
		if (ids[i][0])
			text(&item, EXP, TAG_PATIENT_ID, "LO", ids[i][0]);
		if (ids[i][1])
			text(&item, EXP, TAG_PATIENT_ISSUER, "LO", ids[i][1]);
		head(&items, EXP, 0xfffee000u, "", (uint32_t)item.len);
		buf_put(&items, item.data, item.len);
	}
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&b, EXP, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	head(&b, EXP, TAG_OTHER_IDS, "SQ", (uint32_t)items.len);
	buf_put(&b, items.data, items.len);
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len);
	assert_attr(&m.info->study_attrs, TAG_OTHER_IDS, "A1^^^H\\B2\\C3^^^K");
	/* none of them is the patient's own */
	assert_attr(&m.info->study_attrs, TAG_PATIENT_ID, "");
	drop(&m);
	buf_fini(&item);
	buf_fini(&items);
	buf_fini(&b);
}

static void
canon_end__gives_fragments_of_encapsulated_pixels(void **state)
{
	struct buf b = BUF_INIT;
	struct made m;

	(void)state;
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&b, EXP, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	head(&b, EXP, 0x7fe00010u, "OB", 0xffffffffu);
	head(&b, EXP, 0xfffee000u, "", 0);
	head(&b, EXP, 0xfffee000u, "", 4);
	buf_put(&b, "abcd", 4);
	head(&b, EXP, 0xfffee000u, "", 2);
	buf_put(&b, "ef", 2);
	head(&b, EXP, 0xfffee0ddu, "", 0);
	make(&m, CANON_DATASET, JPEG, b.data, b.len);
	assert_true(m.info->encapsulated);
	assert_int_equal(m.info->n_fragments, 3);
	assert_int_equal(m.info->fragments[0].length, 0);
	assert_memory_equal(m.bytes.data + m.info->fragments[1].offset, "abcd", 4);
	assert_memory_equal(m.bytes.data + m.info->fragments[2].offset, "ef", 2);
	assert_int_equal(m.info->flags, OBJECT_NO_STUDY | OBJECT_NO_SERIES);
	drop(&m);
	buf_fini(&b);
}

/* One patient's name under one Specific Character Set. */
static void
assert_read_as(const char *charset, const char *name, size_t n, const char *want, bool flagged)
{
	struct buf b = BUF_INIT;
	struct made m;

	text(&b, EXP, TAG_CHARSET, "CS", charset);
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&b, EXP, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	head(&b, EXP, TAG_PATIENT_NAME, "PN", (uint32_t)n);
	buf_put(&b, name, n);
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len);
	assert_attr(&m.info->study_attrs, TAG_PATIENT_NAME, want);
	assert_int_equal((m.info->flags & OBJECT_TEXT) != 0, flagged);
	drop(&m);
	buf_fini(&b);
}

/* A list of whom to call back names them, also where a modality is careless. */
static void
canon_end__text_of_no_character_set_is_what_it_most_likely_is(void **state)
{
	static const char korean[] = "\x1b$)C\xb1\xe8^\xb1\xe6";

	(void)state;
	assert_read_as("", "M\xfcller", 6, "M\xc3\xbcller", true);
	assert_read_as("", "M\xc3\xbcller", 7, "M\xc3\xbcller", true);
	assert_read_as("ISO_IR 99", "M\xfcller", 6, "M\xc3\xbcller", true);
	assert_read_as("ISO-IR 100", "M\xfcller", 6, "M\xc3\xbcller", false);
	assert_read_as("iso_ir_192", "M\xc3\xbcller", 7, "M\xc3\xbcller", false);
	/* After a delimiter the set wants to be called again; many do not. */
	assert_read_as("\\ISO 2022 IR 149", korean, sizeof(korean) - 1, "\xea\xb9\x80^\xea\xb8\xb8",
		       true);
	assert_read_as("ISO 2022 IR 149", "\xb1\xe8", 2, "\xea\xb9\x80", true);
	assert_read_as("ISO_IR 100", "Caf\xe9\0xyz", 8, "Caf\xc3\xa9", false);
}

static void
canon_end__R32_flags_what_is_odd_and_refuses_little(void **state)
{
	struct buf b = BUF_INIT;
	struct made m;
	int i;

	(void)state;
	small_object(&b, EXP, true, 1);
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len - 10);
	assert_int_equal(m.info->flags, OBJECT_TRUNCATED);
	drop(&m);
	make(&m, CANON_DATASET, IMPLICIT, b.data, b.len);
	assert_int_equal(m.info->flags, OBJECT_SYNTAX);
	drop(&m);
	buf_clear(&b);
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len);
	assert_true(m.info->flags & OBJECT_REFUSED);
	drop(&m);
	buf_clear(&b);
	text(&b, EXP, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	text(&b, EXP, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	for (i = 0; i < 5000; i++) { /* deep nesting ends other parsers */
		head(&b, EXP, 0x00081140u, "SQ", 0xffffffffu);
		head(&b, EXP, 0xfffee000u, "", 0xffffffffu);
	}
	make(&m, CANON_DATASET, EXPLICIT, b.data, b.len);
	assert_true(m.info->flags & OBJECT_LIMIT);
	assert_int_equal(m.info->size, m.bytes.len);
	drop(&m);
	buf_fini(&b);
}

/* --- real files, and what chance makes of them --- */

struct corpus {
	unsigned files, mutants;
	struct rng_seeded rng;
};

static void
check_one(const struct buf *b)
{
	struct made once, twice;

	make(&once, CANON_FILE, NULL, b->data, b->len);
	assert_true(attrs_valid(attrs_of(&once.info->study_attrs)));
	assert_true(attrs_valid(attrs_of(&once.info->series_attrs)));
	assert_true(attrs_valid(attrs_of(&once.info->instance_attrs)));
	make(&twice, CANON_FILE, NULL, once.bytes.data, once.bytes.len);
	assert_int_equal(once.bytes.len, twice.bytes.len);
	assert_memory_equal(once.info->digest, twice.info->digest, SHA256_SIZE);
	drop(&once);
	drop(&twice);
}

static void
mutate(struct corpus *corpus, struct buf *b)
{
	uint64_t n = 1 + rng_below(&corpus->rng.r, 8);

	while (n-- > 0 && b->len > 0)
		b->data[rng_below(&corpus->rng.r, b->len < 4096 ? b->len : 4096)] =
			(unsigned char)rng_u64(&corpus->rng.r);
	if (b->len > 200 && rng_below(&corpus->rng.r, 4) == 0)
		b->len = 132 + (size_t)rng_below(&corpus->rng.r, b->len - 132);
	check_one(b);
	corpus->mutants++;
}

static int
visit(void *arg, const char *name, struct err *e)
{
	struct corpus *corpus = arg;
	const char *top = getenv("DICOM_CORPUS_FOLDER");
	char path[4096];
	struct buf b = BUF_INIT;
	int rc;

	(void)snprintf(path, sizeof(path), "%s/%s", top, name);
	rc = file_slurp(path, 64 << 20, &b, e);
	if (!rc) {
		check_one(&b);
		corpus->files++;
		if (b.len < 600000)
			mutate(corpus, &b);
	}
	buf_fini(&b);
	return 0;
}

static void
canon__R1_holds_on_every_file_and_its_mutants(void **state)
{
	static const char *const folders[] = {"malformed/dicom-fuzzing-corpus",
					      "malformed/pydicom",
					      "nonconformant/pydicom",
					      "nonconformant/fo-dicom",
					      "valid/pydicom",
					      "valid/fo-dicom",
					      "valid/dcm4che",
					      "charset/pydicom"};
	const char *top = getenv("DICOM_CORPUS");
	struct corpus corpus = {0, 0, {{NULL}, 0}};
	char path[4096];
	size_t i;

	(void)state;
	if (!top) {
		print_message("DICOM_CORPUS is not set: generated objects only\n");
		return;
	}
	rng_seeded_init(&corpus.rng, 7);
	for (i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", top, folders[i]);
		assert_int_equal(setenv("DICOM_CORPUS_FOLDER", path, 1), 0);
		assert_int_equal(file_list(path, visit, &corpus, NULL), 0);
	}
	assert_true(corpus.files > 400);
	print_message("%u files, %u mutants\n", corpus.files, corpus.mutants);
}

static void
canon__R1_holds_on_mutants_of_a_generated_object(void **state)
{
	struct corpus corpus = {0, 0, {{NULL}, 0}};
	struct made base;
	int i;

	(void)state;
	rng_seeded_init(&corpus.rng, 11);
	for (i = 0; i < 3000; i++) {
		struct buf b = BUF_INIT;

		make_small(&base, (enum enc)(i % 3), i % 2 == 0, 1);
		buf_put(&b, base.bytes.data, base.bytes.len);
		mutate(&corpus, &b);
		buf_fini(&b);
		drop(&base);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canon_header__R1_is_the_golden_one),
		cmocka_unit_test(canon__R1_of_canon_is_itself),
		cmocka_unit_test(canon__R1_data_set_bytes_stay_as_they_came),
		cmocka_unit_test(canon__R1_a_data_set_may_begin_with_group_0002),
		cmocka_unit_test(canon__R1_a_lying_group_length_is_not_believed),
		cmocka_unit_test(canon__R1_uids_behind_64_kib_do_not_count),
		cmocka_unit_test(canon__R1_uids_count_in_either_order_and_the_first_usable),
		cmocka_unit_test(canon__R1_deflated_uids_count_by_where_they_inflate),
		cmocka_unit_test(canon__R1_what_cannot_be_delimited_is_kept_whole),
		cmocka_unit_test(canon__R2_content_does_not_depend_on_the_encoding),
		cmocka_unit_test(canon__R2_one_changed_pixel_changes_pixels_and_content),
		cmocka_unit_test(canon__R2_only_what_pads_is_left_out),
		cmocka_unit_test(canon_feed__pieces_change_nothing),
		cmocka_unit_test(canon_end__gives_attributes_in_utf8),
		cmocka_unit_test(canon_end__R33_other_ids_are_kept_with_their_issuers),
		cmocka_unit_test(canon_end__gives_fragments_of_encapsulated_pixels),
		cmocka_unit_test(canon_end__text_of_no_character_set_is_what_it_most_likely_is),
		cmocka_unit_test(canon_end__R32_flags_what_is_odd_and_refuses_little),
		cmocka_unit_test(canon__R1_holds_on_mutants_of_a_generated_object),
		cmocka_unit_test(canon__R1_holds_on_every_file_and_its_mutants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
