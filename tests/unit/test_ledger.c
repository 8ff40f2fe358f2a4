/* The ledger: chain, entries, study records (R5, R6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "proto/ledger.h"
#include "proto/sync.pb-c.h"

struct book {
	char dir[64];
	struct clock_manual clock;
	struct store *s;
};

static void
book_open(struct book *b)
{
	static const char *const tables[] = {LEDGER_TABLE};
	struct store_config c;

	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/test_ledger.XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	clock_manual_init(&b->clock, 0, INT64_C(1795470912000));
	memset(&c, 0, sizeof(c));
	c.dir = b->dir;
	c.map_bytes = 64 << 20;
	c.clock = &b->clock.c;
	c.extra_tables = tables;
	c.n_extra_tables = 1;
	assert_int_equal(store_open(&b->s, &c, NULL), 0);
}

static void
book_close(struct book *b)
{
	char command[128];

	store_close(b->s);
	(void)snprintf(command, sizeof(command), "rm -rf %s", b->dir);
	assert_int_equal(system(command), 0);
}

struct adding {
	const char *text;
	uint64_t seq;
	int fail;
};

static int
add(struct store_tx *tx, void *arg, struct err *e)
{
	struct adding *a = arg;
	struct buf entry = BUF_INIT;
	int rc;

	buf_puts(&entry, a->text);
	rc = ledger_append(tx, &entry, &a->seq, e);
	buf_fini(&entry);
	return rc ? rc : a->fail ? err_set(e, ERR_AGAIN, 0, "told to fail") : 0;
}

static uint64_t
append(struct book *b, const char *text)
{
	struct adding a = {text, 0, 0};

	assert_int_equal(store_commit(b->s, add, &a, NULL), 0);
	return a.seq;
}

static struct ledger_head
head_of(struct book *b)
{
	struct ledger_head head;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, b->s, NULL), 0);
	assert_int_equal(ledger_head(tx, &head, NULL), 0);
	store_end_read(tx);
	return head;
}

static int
verify(struct book *b, uint64_t *bad)
{
	struct store_tx *tx;
	int rc;

	assert_int_equal(store_begin_read(&tx, b->s, NULL), 0);
	rc = ledger_verify(tx, bad, NULL);
	store_end_read(tx);
	return rc;
}

static void
ledger_append__R5_the_chain_is_the_golden_one(void **state)
{
	/* SHA-256 over 32 zero bytes and "one", then over that and "two" */
	unsigned char hash[SHA256_SIZE] = {0}, both[SHA256_SIZE + 3];
	struct ledger_head head;
	struct book b;

	(void)state;
	book_open(&b);
	head = head_of(&b);
	assert_int_equal(head.seq, 0);
	assert_int_equal(append(&b, "one"), 1);
	memcpy(both, hash, SHA256_SIZE);
	memcpy(both + SHA256_SIZE, "one", 3);
	sha256_of(both, sizeof(both), hash);
	head = head_of(&b);
	assert_memory_equal(head.hash, hash, SHA256_SIZE);
	assert_int_equal(append(&b, "two"), 2);
	memcpy(both, hash, SHA256_SIZE);
	memcpy(both + SHA256_SIZE, "two", 3);
	sha256_of(both, sizeof(both), hash);
	head = head_of(&b);
	assert_int_equal(head.seq, 2);
	assert_memory_equal(head.hash, hash, SHA256_SIZE);
	book_close(&b);
}

static void
ledger_append__R5_what_was_undone_leaves_no_gap(void **state)
{
	struct adding a = {"undone", 0, 1};
	struct book b;
	uint64_t bad;

	(void)state;
	book_open(&b);
	assert_int_equal(append(&b, "one"), 1);
	assert_int_equal(store_commit(b.s, add, &a, NULL), ERR_AGAIN);
	assert_int_equal(append(&b, "two"), 2);
	assert_int_equal(verify(&b, &bad), 0);
	book_close(&b);
}

static int
spoil(struct store_tx *tx, void *arg, struct err *e)
{
	unsigned char key[8];
	struct kv_slice v;
	struct buf row = BUF_INIT;
	unsigned t = store_table(store_tx_store(tx), LEDGER_TABLE);
	int rc;

	(void)arg;
	buf_set_be64(key, 2);
	rc = kv_get(store_tx_kv(tx), t, kv_slice(key, 8), &v, e);
	if (rc)
		return rc;
	buf_put(&row, v.p, v.n);
	row.data[row.len - 1] ^= 1;
	rc = kv_put(store_tx_kv(tx), t, kv_slice(key, 8), kv_slice(row.data, row.len), e);
	buf_fini(&row);
	return rc;
}

static void
ledger_verify__R5_one_changed_bit_breaks_the_chain(void **state)
{
	struct book b;
	uint64_t bad;

	(void)state;
	book_open(&b);
	(void)append(&b, "one");
	(void)append(&b, "two");
	(void)append(&b, "three");
	assert_int_equal(verify(&b, &bad), 0);
	assert_int_equal(store_commit(b.s, spoil, NULL, NULL), 0);
	assert_int_equal(verify(&b, &bad), ERR_CORRUPT);
	assert_int_equal(bad, 2);
	book_close(&b);
}

static void
put(struct buf *set, uint32_t tag, const char *value)
{
	attrs_put(set, tag, value, strlen(value));
}

static void
ledger_record__R6_names_who_to_call(void **state)
{
	static const uint32_t wanted[] = {
		TAG_STUDY_UID,	TAG_PATIENT_ID, TAG_PATIENT_ISSUER, TAG_PATIENT_NAME,
		TAG_BIRTH_DATE, TAG_SEX,	TAG_ACCESSION,	    TAG_ACCESSION_ISSUER,
		TAG_STUDY_DATE, TAG_STUDY_TIME, TAG_MODALITIES,	    TAG_STUDY_DESCRIPTION,
		TAG_BODY_PART,	TAG_STATION,	TAG_INSTITUTION,    TAG_REFERRING};
	struct buf study = BUF_INIT, record = BUF_INIT;
	struct attr a;
	size_t i;

	(void)state;
	put(&study, TAG_STUDY_DATE, "20260101");
	put(&study, TAG_STUDY_TIME, "1015");
	put(&study, TAG_ACCESSION, "A1");
	put(&study, TAG_ACCESSION_ISSUER, "H");
	put(&study, TAG_MODALITIES, "CT");
	put(&study, TAG_CLASSES, "1.2");
	put(&study, TAG_INSTITUTION, "I");
	put(&study, TAG_REFERRING, "R");
	put(&study, TAG_STATION, "S");
	put(&study, TAG_STUDY_DESCRIPTION, "D");
	put(&study, TAG_PATIENT_NAME, "DOE^JANE");
	put(&study, TAG_PATIENT_ID, "1");
	put(&study, TAG_PATIENT_ISSUER, "H");
	put(&study, TAG_BIRTH_DATE, "19700101");
	put(&study, TAG_SEX, "F");
	put(&study, TAG_BODY_PART, "HEAD");
	put(&study, TAG_STUDY_UID, "1.2.3");
	ledger_record(&record, attrs_of(&study));
	assert_true(attrs_valid(attrs_of(&record)));
	for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!attrs_get(attrs_of(&record), wanted[i], &a) || a.n == 0)
			fail_msg("%08x is not in the record", wanted[i]);
	assert_false(attrs_get(attrs_of(&record), TAG_CLASSES, &a));
	buf_fini(&study);
	buf_fini(&record);
}

static void
ledger_instance__is_read_back_and_keeps_unknown_fields(void **state)
{
	static const struct index_sets sets = {.dropped = NULL};
	struct buf entry = BUF_INIT, side = BUF_INIT;
	Sync__LedgerEntry *back;
	struct version v;

	(void)state;
	memset(&v, 0, sizeof(v));
	strcpy(v.sop_instance, "1.2.3.4");
	strcpy(v.study, "1.2.3");
	memset(v.digest, 7, sizeof(v.digest));
	v.size = UINT64_C(5) << 32;
	v.relation = VERSION_REVISION;
	ledger_instance(&entry, &v, &sets, &side, 0, 1000);
	buf_put(&entry, "\xfa\x3f\x01x", 4); /* field 1023 of a later release */
	back = sync__ledger_entry__unpack(NULL, entry.len, entry.data);
	assert_non_null(back);
	assert_int_equal(back->kind, SYNC__LEDGER_KIND__LEDGER_INSTANCE);
	assert_string_equal(back->sop_instance, "1.2.3.4");
	assert_true(back->size == v.size);
	assert_int_equal(back->digest.len, SHA256_SIZE);
	assert_int_equal(back->relation, VERSION_REVISION);
	assert_int_equal(back->base.n_unknown_fields, 1);
	assert_int_equal(sync__ledger_entry__get_packed_size(back), entry.len);
	sync__ledger_entry__free_unpacked(back, NULL);
	buf_fini(&entry);
	buf_fini(&side);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ledger_append__R5_the_chain_is_the_golden_one),
		cmocka_unit_test(ledger_append__R5_what_was_undone_leaves_no_gap),
		cmocka_unit_test(ledger_verify__R5_one_changed_bit_breaks_the_chain),
		cmocka_unit_test(ledger_record__R6_names_who_to_call),
		cmocka_unit_test(ledger_instance__is_read_back_and_keeps_unknown_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
