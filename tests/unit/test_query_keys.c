/* Which queries may be asked at all, and the keys by which they find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/query.h"
#include "common/store/query_keys.h"
#include "common/store/store.h"
#include "tests/lib/stored.h"

/* As it comes from an identifier: attrs_put would cut it. */
static void
put_long(struct buf *set, uint32_t tag, const char *two, size_t n)
{
	size_t i;

	buf_put_u32(set, tag);
	buf_put_u16(set, (unsigned)n);
	for (i = 0; i < n; i++)
		buf_put_u8(set, (unsigned char)two[i % 2]);
}

static void
query_keys_check__a_key_longer_than_any_value_is_refused(void **state)
{
	static const struct {
		uint32_t tag;
		size_t n;
		int rc;
	} cases[] = {{TAG_PATIENT_NAME, ATTRS_VALUE_MAX, 0},
		     {TAG_PATIENT_NAME, ATTRS_VALUE_MAX + 1, ERR_PEER},
		     {TAG_STUDY_DESCRIPTION, 60000, ERR_PEER},
		     {TAG_MODALITIES, 60000, ERR_PEER},
		     {TAG_REQUEST, 60000, ERR_PEER},
		     {TAG_CLASSES, 60000, 0},
		     {TAG_STUDY_UID, 60000, 0}};
	struct query_config c = {.level = QUERY_STUDY};
	struct buf keys = BUF_INIT;
	uint32_t tag;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&keys);
		put_long(&keys, cases[i].tag, cases[i].tag == TAG_STUDY_UID ? "1." : "*a",
			 cases[i].n);
		c.keys = attrs_of(&keys);
		tag = 0;
		if (query_keys_check(&c, &tag, NULL) != cases[i].rc ||
		    tag != (cases[i].rc ? cases[i].tag : 0))
			fail_msg("case %zu", i);
	}
	buf_fini(&keys);
}

struct telling { /* one attribute of study 1.7 */
	uint32_t tag;
	const char *value;
};

static int
tell(struct store_tx *tx, void *arg, struct err *e)
{
	const struct telling *t = arg;
	struct tags corrected = {.n = 0};
	struct buf set = BUF_INIT;
	int rc;

	tags_add(&corrected, t->tag);
	if (t->tag != TAG_STUDY_DATE)
		attrs_put(&set, TAG_STUDY_DATE, "20200101", 8);
	attrs_put(&set, t->tag, t->value, strlen(t->value));
	rc = index_study(tx, "1.7", attrs_of(&set), &corrected, e);
	buf_fini(&set);
	return rc;
}

/* How many keys there are, and is one of them this? */
static bool
has_key(struct store *s, const char *key, size_t n, uint64_t *count)
{
	struct store_tx *tx;
	bool found;

	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(kv_count(store_tx_kv(tx), store_table(s, "lookup"), count, NULL), 0);
	found = kv_get(store_tx_kv(tx), store_table(s, "lookup"), kv_slice(key, n), NULL, NULL) ==
		0;
	store_end_read(tx);
	return found;
}

#define KEY(text) text, sizeof(text) - 1

static void
index_study__each_key_follows_the_attribute_it_is_of(void **state)
{
	static const struct {
		uint32_t tag;
		const char *before, *after;
		const char *old;
		size_t old_n;
		const char *key;
		size_t n;
	} cases[] = {
		{TAG_PATIENT_ID, "A", "B", KEY("PA\0001.7"), KEY("PB\0001.7")},
		{TAG_OTHER_IDS, "A", "B", KEY("OA\0001.7"), KEY("OB\0001.7")},
		{TAG_ACCESSION, "A", "B", KEY("AA\0001.7"), KEY("AB\0001.7")},
		{TAG_PATIENT_NAME, "A", "B", KEY("Na\0001.7"), KEY("Nb\0001.7")},
		{TAG_STUDY_DATE, "20210101", "20220101", KEY("D20210101\0001.7"),
		 KEY("D20220101\0001.7")},
		{TAG_MODALITIES, "CT", "MR", KEY("MCT\00020200101\0001.7"),
		 KEY("MMR\00020200101\0001.7")},
	};
	struct telling t;
	struct stored st;
	uint64_t keys, then;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stored_init(&st, 0);
		t = (struct telling){cases[i].tag, cases[i].before};
		assert_int_equal(store_commit(st.s, tell, &t, NULL), 0);
		assert_true(has_key(st.s, cases[i].old, cases[i].old_n, &keys));
		t.value = cases[i].after;
		assert_int_equal(store_commit(st.s, tell, &t, NULL), 0);
		if (has_key(st.s, cases[i].old, cases[i].old_n, &then) ||
		    !has_key(st.s, cases[i].key, cases[i].n, &then) || then != keys)
			fail_msg("case %zu: %d keys, then %d", i, (int)keys, (int)then);
		stored_fini(&st);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_keys_check__a_key_longer_than_any_value_is_refused),
		cmocka_unit_test(index_study__each_key_follows_the_attribute_it_is_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
