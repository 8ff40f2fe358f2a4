/* Keys out of objects' headers: what hostile objects and numbers that look like marks do not do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/dicom/canon.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/dimse/header_keys.h"
#include "common/dimse/identifier.h"
#include "tests/gen/element.h"
#include "tests/lib/stored.h"

#define EXPLICIT "1.2.840.10008.1.2.1"
#define IMPLICIT "1.2.840.10008.1.2"

enum { SMALLEST_PIXEL = 0x00280106, REFERENCED_IMAGES = 0x00081140, ITEMS = 70000 };

static void
element_number(struct buf *set, uint32_t tag, unsigned value)
{
	element_head(set, tag, "US", 2);
	buf_put_u8(set, value & 0xff);
	buf_put_u8(set, value >> 8);
}

/* An object that says `images` (bytes of items) and this smallest pixel. */
static uint64_t
keep(struct stored *t, const char *uid, const struct buf *images, unsigned smallest)
{
	struct canon_config c = {.form = CANON_DATASET, .syntax = EXPLICIT};
	struct store_verdict v;
	struct buf set = BUF_INIT;
	struct made m;

	element_text(&set, 0x00080016u, "UI", "1.2.840.10008.5.1.4.1.1.7");
	element_text(&set, 0x00080018u, "UI", uid);
	if (images) {
		element_head(&set, REFERENCED_IMAGES, "SQ", (uint32_t)images->len);
		buf_put(&set, images->data, images->len);
	}
	element_text(&set, 0x0020000du, "UI", "1.2.3");
	element_text(&set, 0x0020000eu, "UI", "1.2.3.9");
	element_number(&set, SMALLEST_PIXEL, smallest);
	buf_init(&m.bytes);
	assert_int_equal(canon_bytes(&m.canon, &c, set.data, set.len, &m.bytes, &m.info, NULL), 0);
	assert_int_equal(stored_put(t->s, &m, "a", &v, NULL), 0);
	made_fini(&m);
	buf_fini(&set);
	return v.oid;
}

static void
header_keys__a_number_is_no_sequence_whatever_its_bytes(void **state)
{
	struct buf asked = BUF_INIT, out = BUF_INIT;
	struct identifier id;
	struct header_keys h;
	struct attr key, value;
	struct stored t;
	uint64_t other, same;

	(void)state;
	stored_init(&t, 0);
	other = keep(&t, "1.2.3.4", NULL, 0x1f);
	same = keep(&t, "1.2.3.5", NULL, 0x1e); /* the byte that begins an item (items.h) */
	element_number(&asked, SMALLEST_PIXEL, 0x1e);
	assert_int_equal(identifier_parse(&id, EXPLICIT, asked.data, asked.len, NULL), 0);
	header_keys_init(&h, &id, QUERY_IMAGE);
	assert_int_equal(header_keys_read(&h, t.s, other, NULL), 0);
	assert_false(header_keys_match(&h, &id));
	assert_int_equal(header_keys_read(&h, t.s, same, NULL), 0);
	assert_true(header_keys_match(&h, &id));
	assert_true(attrs_get(attrs_of(&id.keys), SMALLEST_PIXEL, &key));
	assert_true(attrs_get(attrs_of(&h.set), SMALLEST_PIXEL, &value));
	header_keys_answer(&h, key, value, &out);
	assert_int_equal(out.len, 2);
	assert_memory_equal(out.data, "\x1e\0", 2);
	header_keys_fini(&h);
	identifier_fini(&id);
	buf_fini(&asked);
	buf_fini(&out);
	stored_fini(&t);
}

/* More than fit into a value: they are not told then, and what comes behind them is. */
static void
header_keys__R34_items_without_end_are_not_known(void **state)
{
	struct buf asked = BUF_INIT, images = BUF_INIT;
	struct identifier id;
	struct header_keys h;
	struct attr value;
	struct stored t;
	unsigned i;

	(void)state;
	stored_init(&t, 0);
	for (i = 0; i < ITEMS; i++)
		element_head(&images, 0xfffee000u, "", 0);
	element_head(&asked, REFERENCED_IMAGES, "SQ", 0);
	element_number(&asked, SMALLEST_PIXEL, 7);
	assert_int_equal(identifier_parse(&id, EXPLICIT, asked.data, asked.len, NULL), 0);
	header_keys_init(&h, &id, QUERY_IMAGE);
	assert_int_equal(header_keys_read(&h, t.s, keep(&t, "1.2.3.4", &images, 7), NULL), 0);
	assert_true(h.unknown);
	assert_false(attrs_get(attrs_of(&h.set), REFERENCED_IMAGES, &value));
	assert_true(attrs_get(attrs_of(&h.set), SMALLEST_PIXEL, &value));
	assert_true(header_keys_match(&h, &id));
	header_keys_fini(&h);
	identifier_fini(&id);
	buf_fini(&asked);
	buf_fini(&images);
	stored_fini(&t);
}

/* Of (0040,0275) the index keeps the step, and an image's header the reason. */
static void
header_keys__R34_more_of_a_sequence_of_the_index_is_asked_of_headers(void **state)
{
	enum { STEP = 0x00400009, REASON = 0x00401002 };
	struct buf item = BUF_INIT, asked = BUF_INIT, indexed = BUF_INIT;
	struct attr key, of;
	struct identifier id;
	size_t pos;
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		element_text(&item, i ? REASON : STEP, "LO", "A");
		buf_clear(&asked);
		element_head(&asked, TAG_REQUEST, "SQ", (uint32_t)item.len + 8);
		element_head(&asked, 0xfffee000u, "", (uint32_t)item.len);
		buf_put(&asked, item.data, item.len);
		assert_int_equal(identifier_parse(&id, EXPLICIT, asked.data, asked.len, NULL), 0);
		assert_false(id.unknown_items);
		assert_int_equal(header_keys_tell(&id, QUERY_SERIES, TAG_REQUEST), i == 1);
		assert_false(header_keys_tell(&id, QUERY_STUDY, TAG_REQUEST));
		buf_clear(&indexed);
		identifier_indexed(&id, &indexed);
		assert_true(attrs_get(attrs_of(&indexed), TAG_REQUEST, &key));
		pos = 0;
		assert_true(items_next(key, &pos, &key));
		pos = 0;
		assert_true(items_attr(key, &pos, &of));
		assert_int_equal(of.tag, STEP);
		assert_false(items_attr(key, &pos, &of));
		identifier_fini(&id);
	}
	buf_fini(&indexed);
	buf_fini(&asked);
	buf_fini(&item);
}

/* Nobody keeps sequences in items: what an implicit one has as text there is no element. */
static void
identifier__text_in_an_item_is_written_as_no_sequence(void **state)
{
	static const unsigned char text[] = {0x08, 0, 0x01, 0x30, 8, 0, 0, 0, /* (0008,3001) */
					     0x08, 0, 0x63, 0,	  0, 0, 0, 0};
	struct buf asked = BUF_INIT, out = BUF_INIT;
	struct identifier id, again;
	struct attr charset = {TAG_CHARSET, "", 0}, key, item, of;
	size_t pos = 0, at = 0;

	(void)state;
	buf_put_u16(&asked, REFERENCED_IMAGES >> 16);
	buf_put_u16(&asked, REFERENCED_IMAGES & 0xffff);
	buf_put_u32(&asked, sizeof(text) + 8);
	element_head(&asked, 0xfffee000u, "", sizeof(text));
	buf_put(&asked, text, sizeof(text));
	assert_int_equal(identifier_parse(&id, IMPLICIT, asked.data, asked.len, NULL), 0);
	identifier_build_in(&out, EXPLICIT, attrs_of(&id.keys), charset, id.said, id.n_said);
	assert_int_equal(identifier_parse(&again, EXPLICIT, out.data, out.len, NULL), 0);
	assert_true(attrs_next(attrs_of(&again.keys), &pos, &key));
	assert_int_equal(key.tag, REFERENCED_IMAGES);
	assert_false(attrs_next(attrs_of(&again.keys), &pos, &key));
	pos = 0;
	if (items_next(key, &pos, &item))
		assert_false(items_attr(item, &at, &of));
	identifier_fini(&id);
	identifier_fini(&again);
	buf_fini(&asked);
	buf_fini(&out);
}

/* PS3.5 7.1.2: a VR to come has the long form. */
static void
identifier__a_vr_that_nobody_knows_is_written_in_the_long_form(void **state)
{
	static const char *const vrs[] = {"DU", "ZZ"};
	struct attr charset = {TAG_CHARSET, "", 0}, key;
	struct identifier id, again;
	struct buf asked, out;
	size_t i, pos;

	(void)state;
	for (i = 0; i < sizeof(vrs) / sizeof(vrs[0]); i++) {
		buf_init(&asked);
		buf_init(&out);
		element_head(&asked, REFERENCED_IMAGES, "LO", 0);
		buf_put(&asked, "\0\x54\0\x7a", 4);
		buf_puts(&asked, vrs[i]);
		buf_put(&asked, "\0\0\0\0\0\0", 6);
		element_head(&asked, 0x54007a02u, "LO", 0);
		assert_int_equal(identifier_parse(&id, EXPLICIT, asked.data, asked.len, NULL), 0);
		identifier_build_in(&out, EXPLICIT, attrs_of(&id.keys), charset, id.said,
				    id.n_said);
		assert_int_equal(identifier_parse(&again, EXPLICIT, out.data, out.len, NULL), 0);
		for (pos = 0; attrs_next(attrs_of(&again.keys), &pos, &key);)
			assert_true(key.tag == REFERENCED_IMAGES || key.tag == 0x54007a00u ||
				    key.tag == 0x54007a02u);
		identifier_fini(&id);
		identifier_fini(&again);
		buf_fini(&asked);
		buf_fini(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_keys__a_number_is_no_sequence_whatever_its_bytes),
		cmocka_unit_test(header_keys__R34_items_without_end_are_not_known),
		cmocka_unit_test(
			header_keys__R34_more_of_a_sequence_of_the_index_is_asked_of_headers),
		cmocka_unit_test(identifier__text_in_an_item_is_written_as_no_sequence),
		cmocka_unit_test(identifier__a_vr_that_nobody_knows_is_written_in_the_long_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
