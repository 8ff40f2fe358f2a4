/* Sequences as index values: what of their items is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/dicom/canon.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "tests/gen/element.h"

struct made {
	struct canon *canon;
	const struct object_info *info;
	struct buf bytes;
};

static void
make(struct made *m, const struct buf *set)
{
	struct canon_config c = {.form = CANON_DATASET, .syntax = "1.2.840.10008.1.2.1"};

	buf_init(&m->bytes);
	assert_int_equal(canon_bytes(&m->canon, &c, set->data, set->len, &m->bytes, &m->info, NULL),
			 0);
}

static void
assert_attr(const struct buf *set, uint32_t tag, const char *want)
{
	char got[ATTRS_VALUE_MAX + 1];

	(void)attrs_copy(attrs_of(set), tag, got, sizeof(got));
	assert_string_equal(got, want);
}

/* An item of (0040,0275), with a sequence of its own in it that is nobody's key. */
static void
request_item(struct buf *items, const char *step, const char *text_of)
{
	struct buf item = BUF_INIT, code = BUF_INIT;

	element_text(&code, 0x00080100u, "SH", "CODE");
	element_text(&code, 0x00400009u, "SH", "ANOTHER");
	if (text_of)
		element_text(&item, 0x00400007u, "LO", text_of);
	element_head(&item, 0x00400008u, "SQ", (uint32_t)code.len + 8);
	element_head(&item, 0xfffee000u, "", (uint32_t)code.len);
	buf_put(&item, code.data, code.len);
	element_text(&item, 0x00400009u, "SH", step);
	element_head(items, 0xfffee000u, "", (uint32_t)item.len);
	buf_put(items, item.data, item.len);
	buf_fini(&code);
	buf_fini(&item);
}

static void
canon_end__keeps_what_is_asked_of_items(void **state)
{
	struct buf b = BUF_INIT, items = BUF_INIT;
	struct made m;

	(void)state;
	request_item(&items, "S1", "K\xf6rper");
	request_item(&items, "S2 ", NULL);
	element_text(&b, TAG_CHARSET, "CS", "ISO_IR 100");
	element_text(&b, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	element_text(&b, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	element_head(&b, TAG_REQUEST, "SQ", (uint32_t)items.len);
	buf_put(&b, items.data, items.len);
	make(&m, &b);
	assert_attr(&m.info->series_attrs, TAG_REQUEST,
		    "\x1e"
		    "00400007K\xc3\xb6rper\x1f"
		    "00400009S1\x1f"
		    "\x1e"
		    "00400009S2\x1f");
	canon_free(m.canon);
	buf_fini(&m.bytes);
	buf_fini(&items);
	buf_fini(&b);
}

static void
canon_end__of_too_many_items_whole_ones_are_kept(void **state)
{
	struct buf b = BUF_INIT, items = BUF_INIT;
	char step[20];
	struct made m;
	struct attr a;
	int i;

	(void)state;
	for (i = 0; i < 500; i++) {
		(void)snprintf(step, sizeof(step), "STEP%04d", i);
		request_item(&items, step, NULL);
	}
	element_text(&b, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.2");
	element_text(&b, TAG_SOP_INSTANCE, "UI", "1.2.3.4");
	element_head(&b, TAG_REQUEST, "SQ", (uint32_t)items.len);
	buf_put(&b, items.data, items.len);
	element_text(&b, 0x00700081u, "LO", "behind");
	make(&m, &b);
	assert_true(attrs_get(attrs_of(&m.info->series_attrs), TAG_REQUEST, &a));
	assert_true(a.n <= ATTRS_VALUE_MAX && a.n > ATTRS_VALUE_MAX - 20);
	assert_int_equal(a.value[a.n - 1], 0x1f);
	assert_attr(&m.info->instance_attrs, 0x00700081u, "behind");
	canon_free(m.canon);
	buf_fini(&m.bytes);
	buf_fini(&items);
	buf_fini(&b);
}

static void
items_attr__what_is_torn_ends_the_item(void **state)
{
	static const char *const torn[] = {"", "0040", "0040000x1\x1f", "00400009", "00400009S1"};
	struct attr item = {TAG_REQUEST, NULL, 0}, out;
	size_t i, pos;

	(void)state;
	for (i = 0; i < sizeof(torn) / sizeof(torn[0]); i++) {
		item.value = torn[i];
		item.n = strlen(torn[i]);
		pos = 0;
		assert_false(items_attr(item, &pos, &out));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canon_end__keeps_what_is_asked_of_items),
		cmocka_unit_test(canon_end__of_too_many_items_whole_ones_are_kept),
		cmocka_unit_test(items_attr__what_is_torn_ends_the_item),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
