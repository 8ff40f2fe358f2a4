/* What one site says in bad faith, and what rotted, harms no other image (R17, R18, R20). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/clog.h"
#include "central/loss.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/refill.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400 };

/* A site of its own says its first hello, and then this. */
static void
announce(struct pair *p, struct buf *entries, size_t n)
{
	Sync__LogLedger m = SYNC__LOG_LEDGER__INIT;
	unsigned char zero[SHA256_SIZE] = {0};
	struct id128 incarnation = {{0}}; /* before all others in any order */
	ProtobufCBinaryData list[4];
	struct buf payload = BUF_INIT;
	size_t i;

	assert_int_equal(record_decision(&p->central, SYNC__DECISION_KIND__DECISION_OPEN, "south",
					 &incarnation, "hello", NULL),
			 0);
	for (i = 0; i < n; i++)
		list[i] = message_bytes(entries[i].data, entries[i].len);
	m.site = message_text("south");
	m.incarnation = message_bytes(incarnation.b, ID128_SIZE);
	m.first = 1;
	m.before = message_bytes(zero, sizeof(zero));
	m.entries = list;
	m.n_entries = n;
	message_pack(&payload, &m.base);
	assert_int_equal(record_write(&p->central, CLOG_LEDGER, &payload, NULL), 0);
	buf_fini(&payload);
	for (i = 0; i < n; i++)
		buf_fini(&entries[i]);
}

/* An image of the generator, announced with another length and in another study. */
static void
lie_about(struct pair *p, unsigned number, uint64_t size)
{
	struct index_sets none = {.dropped = NULL};
	struct buf image = BUF_INIT, entry = BUF_INIT, side = BUF_INIT;
	struct version v;

	memset(&v, 0, sizeof(v));
	pair_image(p, &image, number);
	sha256_of(image.data, image.len, v.digest);
	buf_fini(&image);
	strcpy(v.sop_instance, "1.2.3");
	strcpy(v.study, "1.2");
	strcpy(v.series, "1.2.1");
	v.size = size;
	v.origin = VERSION_TAKEN_IN;
	ledger_instance(&entry, &v, &none, &side, 0, 1);
	announce(p, &entry, 1);
}

static void
refill__R20_a_length_that_another_site_made_up_keeps_no_image_away(void **state)
{
	struct refill_result result;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 3; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	lie_about(&p, 1, 1 << 20);
	result = pair_burn_and_refill(&p, true);
	assert_int_equal(result.known, 3);
	assert_int_equal(result.came, 3);
	for (i = 0; i < 3; i++)
		assert_true(pair_edge_has(&p, i));
	pair_fini(&p);
}

/* One image that rotted, and a pack that is gone: the others come, and it is said. */
static void
refill__R20_what_central_cannot_give_keeps_no_other_back(void **state)
{
	struct refill_result result;
	char command[160];
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 6; i++) { /* a pack each two */
		assert_int_equal(pair_send(&p, i), 0);
		assert_true(i % 2 == 0 || pair_settle(&p, TURNS));
		if (i == 1)
			(void)snprintf(command, sizeof(command),
				       "cd %s/central/vault/packs && rm */*/*/*.tar", p.dir);
		if (i == 1)
			assert_int_equal(system(command), 0);
	}
	pair_spoil(&p, 2);
	result = pair_burn_and_refill(&p, true);
	assert_int_equal(result.known, 6);
	assert_int_equal(result.came, 3);
	assert_int_equal(result.failed, 3);
	for (i = 0; i < 6; i++)
		assert_int_equal(pair_edge_has(&p, i), i > 2);
	pair_fini(&p);
}

static void
adopt__R17_the_bytes_say_how_long_they_are(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	lie_about(&p, 0, 7);
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_true(pair_central_has(&p, 0));
	pair_fini(&p);
}

/* Also one that looks like a formula, or like several columns. */
static void
loss__R18_an_odd_uid_is_one_value_of_its_row(void **state)
{
	struct index_sets none = {.dropped = NULL};
	struct buf entry = BUF_INIT, side = BUF_INIT, out = BUF_INIT;
	unsigned long long lost = 0;
	struct version v;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	memset(&v, 0, sizeof(v));
	v.digest[0] = 1;
	v.size = 9;
	v.origin = VERSION_TAKEN_IN;
	strcpy(v.study, "=1,\"2");
	strcpy(v.series, "1.1");
	strcpy(v.sop_instance, "3,4");
	ledger_instance(&entry, &v, &none, &side, 0, 1);
	announce(&p, &entry, 1);
	assert_int_equal(loss_print(p.central.store, "south", LOSS_CSV, true, &out, &lost, NULL),
			 0);
	buf_put_u8(&out, 0);
	assert_non_null(strstr((const char *)out.data, ",1,0,\"'=1,\"\"2\",\"3,4\",01000000"));
	buf_fini(&out);
	pair_fini(&p);
}

static void
record__R20_counts_are_central_s_own(void **state)
{
	struct index_sets none = {.dropped = NULL};
	struct tags counts = {.n = 0};
	struct attrs row;
	struct buf entries[3] = {BUF_INIT, BUF_INIT, BUF_INIT}, record = BUF_INIT, side = BUF_INIT;
	struct store_tx *tx;
	struct version v;
	struct attr a;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	memset(&v, 0, sizeof(v));
	v.digest[0] = 1;
	v.size = 9;
	v.origin = VERSION_TAKEN_IN;
	strcpy(v.study, "1.2");
	strcpy(v.series, "1.2.1");
	strcpy(v.sop_instance, "1.2.3");
	attrs_put(&record, TAG_STUDY_INSTANCES, "999", 3);
	tags_add(&counts, TAG_STUDY_INSTANCES);
	ledger_study(&entries[0], v.study, attrs_of(&record), NULL, "CT1", 1);
	ledger_instance(&entries[1], &v, &none, &side, 0, 1);
	ledger_study(&entries[2], v.study, attrs_of(&record), &counts, "CT1", 1);
	announce(&p, entries, 3);
	buf_fini(&record);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(index_study_row(tx, "1.2", &row, NULL), 0);
	assert_true(attrs_get(row, TAG_STUDY_INSTANCES, &a));
	assert_int_equal(a.n, 1);
	assert_memory_equal(a.value, "1", 1);
	store_end_read(tx);
	pair_fini(&p);
}

/* Another site's correction is no correction of what came first (R3). */
static void
record__R3_a_site_corrects_its_own_studies_only(void **state)
{
	struct buf entry = BUF_INIT, record = BUF_INIT;
	struct tags name = {.n = 0};
	char study[UID_SIZE], text[80];
	struct store_tx *tx;
	struct attrs row;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	gen_uid(study, 1, 0, 0);
	attrs_put(&record, TAG_PATIENT_NAME, "ANOTHER", 7);
	tags_add(&name, TAG_PATIENT_NAME);
	ledger_study(&entry, study, attrs_of(&record), &name, "CT1", 1);
	buf_fini(&record);
	announce(&p, &entry, 1);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(index_study_row(tx, study, &row, NULL), 0);
	assert_true(attrs_copy(row, TAG_PATIENT_NAME, text, sizeof(text)) > 0);
	assert_string_not_equal(text, "ANOTHER");
	store_end_read(tx);
	pair_fini(&p);
}

/* Nor is it older than what came first because it says so. */
static void
record__R3_a_site_puts_nothing_before_another_s_image(void **state)
{
	struct index_sets none = {.dropped = NULL};
	struct buf entry = BUF_INIT, side = BUF_INIT;
	struct store_tx *tx;
	struct version v;
	char uid[UID_SIZE];
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	gen_uid(uid, 1, 1, 1);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(store_current(tx, uid, &v, NULL), 0);
	store_end_read(tx);
	assert_string_equal(v.source.site, "north");
	memset(v.digest, 7, sizeof(v.digest));
	memset(v.content, 7, sizeof(v.content));
	memset(v.pixels, 7, sizeof(v.pixels));
	memset(v.attributes, 7, sizeof(v.attributes));
	ledger_instance(&entry, &v, &none, &side, INT64_C(1) << 40, 1);
	announce(&p, &entry, 1);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(store_current(tx, uid, &v, NULL), 0);
	store_end_read(tx);
	assert_string_equal(v.source.site, "north");
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			refill__R20_a_length_that_another_site_made_up_keeps_no_image_away),
		cmocka_unit_test(refill__R20_what_central_cannot_give_keeps_no_other_back),
		cmocka_unit_test(adopt__R17_the_bytes_say_how_long_they_are),
		cmocka_unit_test(loss__R18_an_odd_uid_is_one_value_of_its_row),
		cmocka_unit_test(record__R20_counts_are_central_s_own),
		cmocka_unit_test(record__R3_a_site_corrects_its_own_studies_only),
		cmocka_unit_test(record__R3_a_site_puts_nothing_before_another_s_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
