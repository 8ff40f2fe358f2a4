/* Anatomic regions of a study, out of its images' headers: PS3.4 table C.6-2, R34. */
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
#include "common/dimse/identifier.h"
#include "common/dimse/regions.h"
#include "common/store/match.h"
#include "common/store/version.h"
#include "tests/gen/element.h"
#include "tests/lib/stored.h"

#define EXPLICIT "1.2.840.10008.1.2.1"
#define ITEM 0xfffee000u

enum {
	REGION = 0x00082218,
	MODIFIER = 0x00082220,
	FRAME_ANATOMY = 0x00209071,
	ACQUISITION_CONTEXT = 0x00400555,
	SHARED = 0x52009229,
	PER_FRAME = 0x52009230,
	VALUE = 0x00080100,
	SCHEME = 0x00080102,
	MEANING = 0x00080104,
	CONTEXT = 0x0008010f
};

static void
sequence(struct buf *b, uint32_t tag, const struct buf *items)
{
	element_head(b, tag, "SQ", (uint32_t)items->len);
	buf_put(b, items->data, items->len);
}

static void
item(struct buf *b, const struct buf *elements)
{
	element_head(b, ITEM, "", (uint32_t)elements->len);
	buf_put(b, elements->data, elements->len);
}

/* An item of a code; where: its context, which is no part of the code. */
static void
code(struct buf *b, const char *value, const char *meaning, const char *where)
{
	struct buf of = BUF_INIT, inner = BUF_INIT, modifiers = BUF_INIT;

	element_text(&of, VALUE, "SH", value);
	element_text(&of, SCHEME, "SH", "SCT");
	element_text(&of, MEANING, "LO", meaning);
	element_text(&of, CONTEXT, "CS", where);
	element_text(&inner, VALUE, "SH", "MODIFIER"); /* of what is in an item nothing is told */
	item(&modifiers, &inner);
	sequence(&of, MODIFIER, &modifiers);
	item(b, &of);
	buf_fini(&of);
	buf_fini(&inner);
	buf_fini(&modifiers);
}

/* These regions in an item of `inner` in an item of `outer`. */
static void
group(struct buf *b, uint32_t outer, uint32_t inner, const struct buf *regions)
{
	struct buf one = BUF_INIT, two = BUF_INIT, items = BUF_INIT;

	sequence(&one, REGION, regions);
	item(&items, &one);
	sequence(&two, inner, &items);
	buf_clear(&items);
	item(&items, &two);
	sequence(b, outer, &items);
	buf_fini(&one);
	buf_fini(&two);
	buf_fini(&items);
}

struct study {
	struct stored t;
	unsigned images;
};

/* An image that says this of itself, of all its frames and of one; NULL: nothing. */
static uint64_t
keep(struct study *s, const struct buf *own, const struct buf *shared, const struct buf *frames)
{
	struct canon_config c = {.form = CANON_DATASET, .syntax = EXPLICIT};
	struct store_verdict v;
	struct buf set = BUF_INIT, other = BUF_INIT;
	struct made m;
	char uid[32];

	(void)snprintf(uid, sizeof(uid), "1.2.3.%u", ++s->images);
	element_text(&set, TAG_CHARSET, "CS", "ISO_IR 100");
	element_text(&set, TAG_SOP_CLASS, "UI", "1.2.840.10008.5.1.4.1.1.7");
	element_text(&set, TAG_SOP_INSTANCE, "UI", uid);
	if (own)
		sequence(&set, REGION, own);
	element_text(&set, TAG_STUDY_UID, "UI", "1.2.3");
	element_text(&set, TAG_SERIES_UID, "UI", "1.2.3.9");
	if (frames) { /* of something else, which is no region of the study */
		code(&other, "38266002", "Entire body", "4030");
		group(&set, ACQUISITION_CONTEXT, FRAME_ANATOMY, &other);
	}
	if (shared)
		group(&set, SHARED, FRAME_ANATOMY, shared);
	if (frames)
		group(&set, PER_FRAME, FRAME_ANATOMY, frames);
	buf_init(&m.bytes);
	assert_int_equal(canon_bytes(&m.canon, &c, set.data, set.len, &m.bytes, &m.info, NULL), 0);
	assert_int_equal(stored_put(s->t.s, &m, "a", &v, NULL), 0);
	made_fini(&m);
	buf_fini(&set);
	buf_fini(&other);
	return v.oid;
}

/* An image of one region. */
static uint64_t
keep_one(struct study *s, const char *value)
{
	struct buf own = BUF_INIT;
	uint64_t oid;

	code(&own, value, value, "1");
	oid = keep(s, &own, NULL, NULL);
	buf_fini(&own);
	return oid;
}

/* What the study tells who asks for these; false: it does not match. */
static bool
ask(struct study *s, const char *value, const char *scheme, const char *meaning, bool see_rejected,
    uint64_t count, struct regions *r, struct buf *told)
{
	struct buf of = BUF_INIT, items = BUF_INIT, asked = BUF_INIT, keys = BUF_INIT;
	struct query_config c = {
		.level = QUERY_IMAGE, .relational = true, .see_rejected = see_rejected};
	struct identifier id;
	struct query *q;
	bool matches;

	if (value)
		element_text(&of, VALUE, "SH", value);
	if (scheme)
		element_text(&of, SCHEME, "SH", scheme);
	if (meaning)
		element_text(&of, MEANING, "LO", meaning);
	item(&items, &of);
	sequence(&asked, TAG_REGIONS, &items);
	assert_int_equal(identifier_parse(&id, EXPLICIT, asked.data, asked.len, NULL), 0);
	regions_init(r, &id, QUERY_STUDY);
	attrs_put(&keys, TAG_STUDY_UID, "1.2.3", 5);
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&q, s->t.s, &c, NULL), 0);
	assert_int_equal(regions_of(r, s->t.s, q, count, NULL), 0);
	query_close(q);
	matches = regions_match(r);
	buf_clear(told);
	regions_answer(r, told);
	buf_put_u8(told, 0);
	identifier_fini(&id);
	buf_fini(&of);
	buf_fini(&items);
	buf_fini(&asked);
	buf_fini(&keys);
	regions_fini(r);
	return matches;
}

static void
study_start(struct study *s)
{
	memset(s, 0, sizeof(*s));
	stored_init(&s->t, 0);
}

#define CODE(v, m)                                                                                 \
	"\x1e"                                                                                     \
	"00080100" v "\x1f"                                                                        \
	"00080102SCT\x1f"                                                                          \
	"00080104" m "\x1f"

static void
regions__each_code_of_its_images_and_of_their_frames_once(void **state)
{
	struct buf own = BUF_INIT, shared = BUF_INIT, frames = BUF_INIT, told = BUF_INIT;
	struct regions r;
	struct study s;

	(void)state;
	study_start(&s);
	code(&own, "51185008", "Gr\xf6\xdf", "4030");
	code(&shared, "113345001", "Abdomen", "4030");
	code(&frames, "51185008", "Gr\xf6\xdf", "4031");
	code(&frames, "69536005", "Head", "4030");
	(void)keep(&s, &own, NULL, NULL);
	(void)keep(&s, &own, NULL, NULL);
	(void)keep(&s, NULL, NULL, NULL);
	(void)keep(&s, NULL, &shared, &frames);
	assert_true(ask(&s, "", "", "", false, 4, &r, &told));
	assert_true(r.known);
	assert_string_equal((char *)told.data,
			    CODE("51185008", "Gr\xc3\xb6\xc3\x9f") CODE("113345001", "Abdomen")
				    CODE("69536005", "Head"));
	assert_true(ask(&s, NULL, "", NULL, false, 4, &r, &told)); /* what was asked for, once */
	assert_string_equal((char *)told.data, "\x1e"
					       "00080102SCT\x1f");
	assert_true(ask(&s, NULL, NULL, NULL, false, 4, &r, &told)); /* an empty item: all of it */
	assert_int_equal(told.len, 1 + strlen(CODE("51185008", "Gr\xc3\xb6\xc3\x9f") CODE(
					       "113345001", "Abdomen") CODE("69536005", "Head")));
	buf_fini(&own);
	buf_fini(&shared);
	buf_fini(&frames);
	buf_fini(&told);
	stored_fini(&s.t);
}

static void
regions__one_item_has_all_that_is_asked(void **state)
{
	static const struct {
		const char *value, *scheme, *meaning;
		bool matches;
	} all[] = {{"A1", "", "", true},      {"A3", "", "", false},	  {"A?", "SCT", "", true},
		   {"A1", "SCT", "A1", true}, {"A1", "SCT", "A2", false}, {"", "", "a*", false},
		   {"", "S*", "A*", true},    {"", "DCM", "", false},	  {"*", "", "*", true}};
	static const char value[] = CODE("A1", "A1"), twice[] = CODE("A1", "") "00080104\x1f";
	struct buf told = BUF_INIT;
	struct regions r;
	struct study s;
	size_t i;

	(void)state;
	study_start(&s);
	(void)keep_one(&s, "A1");
	(void)keep_one(&s, "A2");
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_equal(
			ask(&s, all[i].value, all[i].scheme, all[i].meaning, false, 2, &r, &told),
			all[i].matches);
	assert_true(ask(&s, "A2", "", "", false, 2, &r, &told));
	assert_string_equal((char *)told.data, CODE("A2", "A2")); /* the other does not match */
	buf_clear(&told);
	match_items_answer(twice, strlen(twice), (struct attr){TAG_REGIONS, value, strlen(value)},
			   &told);
	assert_int_equal(told.len, strlen(value)); /* asked for twice: told once */
	buf_fini(&told);
	stored_fini(&s.t);
}

struct hiding {
	uint64_t oid;
	uint32_t how;
};

static int
hide(struct store_tx *tx, void *arg, struct err *e)
{
	struct hiding *h = arg;

	return store_set_hidden(tx, h->oid, h->how, e);
}

static void
regions__R29_of_what_this_peer_sees(void **state)
{
	struct hiding of[] = {{0, VERSION_REJECTED}, {0, VERSION_POOR}};
	struct buf told = BUF_INIT;
	struct regions r;
	struct study s;
	size_t i;

	(void)state;
	study_start(&s);
	(void)keep_one(&s, "A1");
	of[0].oid = keep_one(&s, "A2");
	of[1].oid = keep_one(&s, "A3");
	for (i = 0; i < 2; i++)
		assert_int_equal(store_commit(s.t.s, hide, &of[i], NULL), 0);
	assert_true(ask(&s, "", "", "", false, 1, &r, &told));
	assert_true(r.known);
	assert_string_equal((char *)told.data, CODE("A1", "A1"));
	assert_false(ask(&s, "A3", "", "", false, 1, &r, &told));
	assert_true(ask(&s, "", "", "", true, 2, &r, &told));
	assert_true(r.known);
	assert_string_equal((char *)told.data, CODE("A1", "A1") CODE("A3", "A3"));
	assert_false(ask(&s, "A2", "", "", true, 2, &r, &told));
	buf_fini(&told);
	stored_fini(&s.t);
}

/* Then nothing is told, and it matches whatever is asked. */
static void
assert_not_known(struct study *s, uint64_t count)
{
	struct buf told = BUF_INIT;
	struct regions r;

	assert_true(ask(s, "X", "", "", false, count, &r, &told));
	assert_false(r.known);
	assert_int_equal(told.len, 1);
	buf_fini(&told);
}

static void
regions__R34_all_images_are_read_or_nothing_is_told(void **state)
{
	struct buf told = BUF_INIT, many = BUF_INIT;
	struct regions r;
	struct study s;
	char value[16];
	unsigned i;
	uint64_t gone;

	(void)state;
	study_start(&s);
	assert_not_known(&s, 0);
	(void)keep_one(&s, "A1");
	gone = keep_one(&s, "A2");
	assert_false(ask(&s, "X", "", "", false, 2, &r, &told));
	assert_int_equal(r.images, 2);
	assert_not_known(&s, 3); /* of one no more than the number is known */
	assert_true(ask(&s, "X", "", "", false, REGIONS_IMAGES_MOST + 1, &r, &told));
	assert_int_equal(r.images, 0);
	assert_false(r.known);
	for (i = 0; many.len < 8 * REGIONS_BYTES_MOST; i++) {
		(void)snprintf(value, sizeof(value), "B%u", i);
		code(&many, value, value, "1");
	}
	(void)keep(&s, &many, NULL, NULL);
	assert_not_known(&s, 3);
	assert_int_equal(stored_drop(s.t.s, gone, NULL), 0);
	assert_not_known(&s, 3);
	buf_fini(&many);
	buf_fini(&told);
	stored_fini(&s.t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions__each_code_of_its_images_and_of_their_frames_once),
		cmocka_unit_test(regions__one_item_has_all_that_is_asked),
		cmocka_unit_test(regions__R29_of_what_this_peer_sees),
		cmocka_unit_test(regions__R34_all_images_are_read_or_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
