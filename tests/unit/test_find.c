/* C-FIND over a store, through real associations on loopback: R21, R28, R34, R36. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/dimse/audit.h"
#include "common/os/file.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "tests/lib/viewer.h"

struct receipting {
	uint64_t oid;
	const struct id128 *epoch;
};

static int
set_receipt(struct store_tx *tx, void *arg, struct err *e)
{
	struct receipting *r = arg;

	return store_set_receipt(tx, r->oid, r->epoch, e);
}

/* Central, in its present epoch, says that it has the bytes. */
static void
receipt(struct node *n, uint64_t oid)
{
	struct receipting r = {oid, &n->epoch};

	assert_int_equal(store_commit(n->stored.s, set_receipt, &r, NULL), 0);
}

static void
find__R21_a_study_shows_the_worst_of_its_instances(void **state)
{
	struct visit *t = *state;
	uint64_t oids[2];
	char text[32];

	node_put(&t->n, 0, 2, 100, oids);
	viewer_open(&t->v, &t->n, "NODE");
	visit_counts(t);
	visit_find(t);
	viewer_answer(&t->v, TAG_AVAILABILITY, text, sizeof(text));
	assert_string_equal(text, "ONLINE");
	assert_int_equal(stored_drop(t->n.stored.s, oids[0], NULL), 0);
	visit_find(t);
	viewer_answer(&t->v, TAG_AVAILABILITY, text, sizeof(text));
	assert_string_equal(text, "UNAVAILABLE"); /* central cannot be reached */
	memset(&t->n.epoch, 1, sizeof(t->n.epoch));
	visit_find(t);
	viewer_answer(&t->v, TAG_AVAILABILITY, text, sizeof(text));
	assert_string_equal(text,
			    "UNAVAILABLE"); /* it answers, and has not said it has the bytes */
	receipt(&t->n, oids[0]);
	visit_find(t);
	viewer_answer(&t->v, TAG_AVAILABILITY, text, sizeof(text));
	assert_string_equal(text, "NEARLINE");
}

/* Studies 1.2.4.1 ... of one instance each, the later the newer. */
static void
put_studies(struct node *n, unsigned count)
{
	unsigned i;

	for (i = 1; i <= count; i++) {
		char study[32], uid[32];
		struct recipe r = {study, uid, NULL, "c", 1, 100};
		struct store_verdict verdict;
		struct made m;

		(void)snprintf(study, sizeof(study), "1.2.4.%u", i);
		(void)snprintf(uid, sizeof(uid), "1.2.4.%u.1", i);
		clock_manual_advance(&n->stored.clock, 1000);
		made_init(&m, &r);
		assert_int_equal(stored_put(n->stored.s, &m, "10.0.0.1", &verdict, NULL), 0);
		made_fini(&m);
	}
}

static void
all_studies(struct buf *keys)
{
	attrs_put(keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(keys, TAG_STUDY_UID, "", 0);
}

static void
find__R34_the_newest_then_a700_that_says_how_many(void **state)
{
	struct visit *t = *state;
	char text[64];

	t->n.find.max_answers = 3;
	put_studies(&t->n, 8);
	viewer_open(&t->v, &t->n, "NODE");
	all_studies(&t->keys);
	visit_find(t);
	assert_int_equal(t->v.pendings, 3);
	assert_int_equal(t->v.last.status, STATUS_OUT_OF_RESOURCES);
	assert_string_equal(t->v.last.comment, "first 3 of 8; narrow the query");
	viewer_answer(&t->v, TAG_STUDY_UID, text, sizeof(text));
	assert_string_equal(text, "1.2.4.6");
	t->n.find.max_answers = 8; /* exactly: nothing was left out */
	visit_find(t);
	assert_int_equal(t->v.pendings, 8);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
}

static void
find__R34_a_peer_may_want_success_at_the_limit(void **state)
{
	struct visit *t = *state;

	node_reload(&t->n, "on_limit = success");
	t->n.find.max_answers = 3;
	put_studies(&t->n, 5);
	viewer_open(&t->v, &t->n, "NODE");
	all_studies(&t->keys);
	visit_find(t);
	assert_int_equal(t->v.pendings, 3);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
}

static void
find__R34_a_cancel_is_seen_within_a_page(void **state)
{
	struct visit *t = *state;

	put_studies(&t->n, 200);
	t->n.hold = true;
	viewer_open(&t->v, &t->n, "NODE");
	all_studies(&t->keys);
	viewer_ask(&t->v, ON_FIND, MESSAGE_FIND_RQ, FIND, &t->keys, "");
	viewer_cancel(&t->v);
	viewer_listen(&t->v);
	assert_int_equal(t->v.last.status, STATUS_CANCELED);
	assert_int_equal(t->v.pendings, 0);
}

static void
find__R34_ff01_where_a_key_is_not_supported(void **state)
{
	static const struct {
		uint32_t tag;
		bool supported;
	} keys_of[] = {{TAG_STUDY_DATE, true},	     {TAG_STUDY_INSTANCES, true},
		       {TAG_MODALITIES, true},	     {TAG_PATIENT_NAME, true},
		       {TAG_MODALITY, false},	     {TAG_SERIES_INSTANCES, false},
		       {TAG_INSTANCE_NUMBER, false}, {0x00081110u, true},
		       {0x00081111u, false},	     {TAG_REQUEST, false},
		       {TAG_PATIENT_STUDIES, true},  {TAG_REGIONS, true}};
	struct visit *t = *state;
	size_t i;

	put_studies(&t->n, 1);
	viewer_open(&t->v, &t->n, "NODE");
	for (i = 0; i < sizeof(keys_of) / sizeof(keys_of[0]); i++) {
		buf_clear(&t->keys);
		if (keys_of[i].tag < TAG_QUERY_LEVEL)
			attrs_put(&t->keys, keys_of[i].tag, "", 0);
		attrs_put(&t->keys, TAG_QUERY_LEVEL, "STUDY", 5);
		if (keys_of[i].tag > TAG_QUERY_LEVEL)
			attrs_put(&t->keys, keys_of[i].tag, "", 0);
		visit_find(t);
		assert_int_equal(t->v.pendings, 1);
		assert_int_equal(t->v.pending_keys, keys_of[i].supported ? 0 : 1);
	}
}

/* What is not read is not told; who asks for one region is told to narrow the query. */
static void
find__R34_regions_of_more_images_than_are_looked_into(void **state)
{
	static const char one[] = "\x1e"
				  "00080100A\x1f";
	struct visit *t = *state;
	unsigned i;

	node_put(&t->n, 0, 3, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	for (i = 0; i < 4; i++) {
		bool few = i < 2, any = i % 2 == 0;

		t->n.find.max_answers = few ? 3 : 2;
		buf_clear(&t->keys);
		attrs_put(&t->keys, TAG_QUERY_LEVEL, "STUDY", 5);
		attrs_put(&t->keys, TAG_REGIONS, one, any ? 0 : strlen(one));
		visit_find(t);
		assert_int_equal(t->v.pendings, any);
		if (any)
			assert_int_equal(t->v.pending_keys, !few);
		assert_int_equal(t->v.last.status,
				 few || any ? STATUS_SUCCESS : STATUS_OUT_OF_RESOURCES);
	}
}

/* What is answered but never compared says so when it is asked with a value. */
static void
find__R34_ff01_where_a_value_is_not_compared(void **state)
{
	static const uint32_t tags[] = {TAG_RETRIEVE_AET, TAG_AVAILABILITY, TAG_STUDY_INSTANCES,
					TAG_STUDY_SERIES, TAG_PATIENT_STUDIES};
	struct visit *t = *state;
	size_t i, k;

	put_studies(&t->n, 1);
	viewer_open(&t->v, &t->n, "NODE");
	for (i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		for (k = 0; k < 3; k++) {
			static const char *const values[] = {"", "*", "7"};

			buf_clear(&t->keys);
			attrs_put(&t->keys, TAG_QUERY_LEVEL, "STUDY", 5);
			attrs_put(&t->keys, tags[i], values[k], strlen(values[k]));
			visit_find(t);
			assert_int_equal(t->v.pendings, 1);
			assert_int_equal(t->v.pending_keys, k == 2);
		}
}

/* PS3.7 C.4.2: which attribute it was. */
static void
find__a900_says_which_attribute_is_wrong(void **state)
{
	struct visit *t = *state;

	viewer_open(&t->v, &t->n, "NODE");
	attrs_put(&t->keys, TAG_QUERY_LEVEL, "FRAME", 5);
	visit_find(t);
	assert_int_equal(t->v.last.status, STATUS_IDENTIFIER_MISMATCH);
	assert_int_equal(t->v.last.offending, TAG_QUERY_LEVEL);
	buf_clear(&t->keys);
	attrs_put(&t->keys, TAG_QUERY_LEVEL, "SERIES", 6);
	visit_find(t);
	assert_int_equal(t->v.last.status, STATUS_IDENTIFIER_MISMATCH);
	assert_int_equal(t->v.last.offending, TAG_STUDY_UID);
	assert_non_null(strstr(t->v.last.comment, "(0020,000D)"));
}

static int
record_only(struct store_tx *tx, void *arg, struct err *e)
{
	static const struct tags none;

	return index_study(tx, "1.2.4.0", attrs_of(arg), &none, e);
}

static void
find__a_patient_is_listed_though_a_study_is_known_by_its_record_only(void **state)
{
	struct visit *t = *state;
	struct buf record = BUF_INIT;
	char id[64], text[64];

	put_studies(&t->n, 3);
	viewer_open(&t->v, &t->n, "OTHER");
	attrs_put(&t->keys, TAG_QUERY_LEVEL, "PATIENT", 7);
	attrs_put(&t->keys, TAG_AVAILABILITY, "", 0);
	attrs_put(&t->keys, TAG_PATIENT_ID, "", 0);
	attrs_put(&t->keys, TAG_PATIENT_STUDIES, "", 0);
	viewer_ask(&t->v, ON_FIND_PATIENT, MESSAGE_FIND_RQ, FIND_PATIENT, &t->keys, "");
	viewer_listen(&t->v);
	assert_int_equal(t->v.pendings, 1);
	viewer_answer(&t->v, TAG_PATIENT_ID, id, sizeof(id));
	attrs_put(&record, TAG_PATIENT_ID, id,
		  strlen(id)); /* R6: 1.2.4.0 sorts before the others */
	attrs_put(&record, TAG_STUDY_UID, "1.2.4.0", 7);
	assert_int_equal(store_commit(t->n.stored.s, record_only, &record, NULL), 0);
	viewer_ask(&t->v, ON_FIND_PATIENT, MESSAGE_FIND_RQ, FIND_PATIENT, &t->keys, "");
	viewer_listen(&t->v);
	assert_int_equal(t->v.pendings, 1);
	viewer_answer(&t->v, TAG_PATIENT_STUDIES, text, sizeof(text));
	assert_string_equal(text, "3");
	viewer_answer(&t->v, TAG_RETRIEVE_AET, text,
		      sizeof(text)); /* R30, and though nobody asked */
	assert_string_equal(text, "OTHER");
	buf_fini(&record);
}

static void
audit__R36_tells_of_associations_queries_retrieves_and_refusals(void **state)
{
	static const char *const told[] = {
		" association calling=VIEWER called=NODE address=127.0.0.1 peer=V ",
		" keys=00080052,0020000D matches=1 ",
		(" retrieve calling=VIEWER called=NODE address=127.0.0.1 destination=VIEWER "
		 "study=1.2.3 instances=2 failed=1 end=whole "),
		" refused what=move status=a801 ",
	};
	struct visit *t = *state;
	struct buf text = BUF_INIT;
	uint64_t oid, line;
	size_t i;

	node_put(&t->n, 0, 1, 100, &oid);
	assert_int_equal(stored_drop(t->n.stored.s, oid, NULL), 0);
	node_put(&t->n, 1, 2, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_find(t);
	visit_get(t);
	assert_int_equal(t->v.last.status, STATUS_WARNING_SUBOPERATIONS);
	visit_move(t, "NOWHERE");
	viewer_close(&t->v);
	assert_int_equal(audit_verify(t->n.audit_path, &line, NULL), 0);
	assert_int_equal(line, 4);
	assert_int_equal(file_slurp(t->n.audit_path, 1 << 20, &text, NULL), 0);
	buf_put(&text, "", 1);
	for (i = 0; i < sizeof(told) / sizeof(told[0]); i++)
		if (!strstr((const char *)text.data, told[i]))
			fail_msg("'%s' is not told", told[i]);
	buf_fini(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		visit_test(find__R21_a_study_shows_the_worst_of_its_instances),
		visit_test(find__R34_the_newest_then_a700_that_says_how_many),
		visit_test(find__R34_a_peer_may_want_success_at_the_limit),
		visit_test(find__R34_a_cancel_is_seen_within_a_page),
		visit_test(find__R34_ff01_where_a_key_is_not_supported),
		visit_test(find__R34_regions_of_more_images_than_are_looked_into),
		visit_test(find__R34_ff01_where_a_value_is_not_compared),
		visit_test(find__a900_says_which_attribute_is_wrong),
		visit_test(find__a_patient_is_listed_though_a_study_is_known_by_its_record_only),
		visit_test(audit__R36_tells_of_associations_queries_retrieves_and_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
