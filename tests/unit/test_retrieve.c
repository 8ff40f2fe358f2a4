/*
 * C-GET and C-MOVE over a store, through real associations on loopback: the
 * known list (R20), counters, cancel, contexts, destinations that break.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/store/private.h"
#include "common/store/store.h"
#include "tests/lib/viewer.h"

enum { OBJECTS = 250 };

/* --- what is promised --- */

static void
retrieve__R20_what_was_evicted_is_counted_and_failed_never_left_out(void **state)
{
	static uint64_t oids[OBJECTS];
	struct visit *t = *state;
	char text[32];
	unsigned i;

	node_put(&t->n, 0, OBJECTS, 100, oids);
	for (i = 0; i < OBJECTS; i++)
		assert_int_equal(stored_drop(t->n.stored.s, oids[i], NULL), 0);
	node_put(&t->n, OBJECTS, 1, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	visit_counts(t);
	visit_find(t);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	viewer_answer(&t->v, TAG_STUDY_INSTANCES, text, sizeof(text));
	assert_string_equal(text, "251");
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_WARNING_SUBOPERATIONS);
	assert_int_equal(t->v.last.completed, 1);
	assert_int_equal(t->v.last.failed, OBJECTS);
	assert_int_equal(viewer_failed_uids(&t->v), OBJECTS);
	assert_int_equal(t->n.received, 1);
}

static void
retrieve__R20_a702_when_nothing_could_be_sent(void **state)
{
	struct visit *t = *state;
	uint64_t oid;

	node_put(&t->n, 0, 1, 100, &oid);
	assert_int_equal(stored_drop(t->n.stored.s, oid, NULL), 0);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_get(t);
	assert_int_equal(t->v.last.status, STATUS_SUBOPERATIONS_FAILED);
	assert_int_equal(t->v.last.failed, 1);
}

static void
retrieve_get__counts_in_pendings_and_at_the_end(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 35, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_get(t);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.last.completed, 35);
	assert_int_equal(t->v.stores, 35);
	assert_in_range(t->v.pendings, 3, 35);
}

static void
retrieve_get__a_cancel_ends_with_fe00_and_counts(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 60, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	t->v.cancel_after = 5;
	visit_study(t);
	visit_get(t);
	assert_int_equal(t->v.last.status, STATUS_CANCELED);
	assert_in_range(t->v.last.completed, 5, 59);
	assert_int_equal(t->v.last.completed + t->v.last.remaining, 60);
}

static void
retrieve_move__an_unknown_destination_keeps_the_association(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 1, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_move(t, "NOWHERE");
	assert_int_equal(t->v.last.status, STATUS_DESTINATION_UNKNOWN);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
}

static void
retrieve_move__a_cancel_ends_with_fe00_and_counts(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 120, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	t->v.cancel_after = 2; /* pendings: one each ten */
	t->n.wait_at = 30;
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_CANCELED);
	assert_in_range(t->v.last.completed, 20, 30);
	assert_int_equal(t->v.last.completed + t->v.last.remaining, 120);
}

static void
retrieve_move__R30_calls_by_the_title_that_was_called(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 1, 100, NULL);
	viewer_open(&t->v, &t->n, "OTHER");
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->n.called_other, 1);
}

static void
retrieve_move__a_destination_that_breaks_ends_in_b000_soon(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 30, 100, NULL);
	t->n.break_at = 6;
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_WARNING_SUBOPERATIONS);
	assert_int_equal(t->v.last.completed, 5);
	assert_int_equal(t->v.last.failed, 25);
	assert_int_equal(viewer_failed_uids(&t->v), 25);
}

static void
retrieve_move__what_was_broken_off_goes_on_a_new_association(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 30, 100, NULL);
	t->n.retrieve.retries = 2;
	t->n.break_at = 6;
	t->n.breaks = 2; /* and is well after the second time */
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.last.completed, 30);
	assert_int_equal(t->n.received, 30);
	assert_false(t->v.identifier.len);
}

/* A700: no room now. Others are tried before it is tried again, so often and no more. */
static void
retrieve_move__what_there_was_no_room_for_is_tried_again(void **state)
{
	static const struct {
		unsigned with, refuse, completed, failed, status;
	} rows[] = {
		{0xa700, 2, 5, 0, STATUS_SUCCESS},
		{0x0110, 2, 5, 0, STATUS_SUCCESS},
		{0xa700, 14, 1, 4, STATUS_WARNING_SUBOPERATIONS}, /* 5, 5 and 4 of 15 */
		{0xa700, 15, 0, 5, STATUS_SUBOPERATIONS_FAILED},
		{0xc000, 2, 3, 2, STATUS_WARNING_SUBOPERATIONS}, /* for ever */
		{0xa900, 2, 3, 2, STATUS_WARNING_SUBOPERATIONS},
	};
	struct visit *t = *state;
	size_t i;

	node_put(&t->n, 0, 5, 100, NULL);
	t->n.retrieve.retries = 2;
	viewer_open(&t->v, &t->n, "NODE");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(&t->keys);
		visit_study(t);
		t->n.refuse_with = rows[i].with;
		t->n.refuse = rows[i].refuse;
		visit_move(t, "NODE");
		assert_int_equal(t->v.last.status, rows[i].status);
		assert_int_equal(t->v.last.completed, rows[i].status == STATUS_WARNING_SUBOPERATIONS
							      ? 5 - rows[i].failed
							      : rows[i].completed);
		assert_int_equal(t->v.last.failed, rows[i].failed);
		if (rows[i].failed)
			assert_int_equal(viewer_failed_uids(&t->v), rows[i].failed);
	}
}

/* B000 of one who stored it all the same is no failure: it is counted, and not listed. */
static void
retrieve_move__a_warning_is_counted_and_not_listed(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 5, 100, NULL);
	t->n.refuse_with = 0xb000;
	t->n.refuse = 2;
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_WARNING_SUBOPERATIONS);
	assert_int_equal(t->v.last.completed, 3);
	assert_int_equal(t->v.last.warning, 2);
	assert_int_equal(t->v.last.failed, 0);
	assert_int_equal(t->v.identifier.len, 0);
}

static void
retrieve_move__a_large_one_goes_over_several_associations_at_once(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 100, 100, NULL);
	t->n.move_associations = 4;
	node_reload(&t->n, "");
	t->n.meet = 4; /* none is taken before four are under way */
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.last.completed, 100);
	assert_int_equal(t->n.received, 100);
	assert_int_equal(t->n.most_inside, 4);
	t->n.meet = 0;
	t->n.received = t->n.most_inside = 0;
	t->n.retrieve.retries = 3; /* each may be hit by each of the breaks */
	t->n.break_at = 40;
	t->n.breaks = 3;
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->n.received, 100);
	t->n.received = 0; /* nor does what ever breaks go on for ever */
	t->n.breaks = 0;
	t->n.break_at = 50;
	t->n.retrieve.retries = 1;
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_WARNING_SUBOPERATIONS);
	assert_in_range(t->v.last.completed, 49, 52); /* four begin at once */
	assert_int_equal(t->v.last.completed, t->n.received);
	assert_int_equal(t->v.last.completed + t->v.last.failed, 100);
	assert_int_equal(viewer_failed_uids(&t->v), t->v.last.failed);
}

/* Whichever it is that the destination takes: it has room for one, beside the viewer's own. */
static void
retrieve_move__one_association_carries_what_others_are_refused_for(void **state)
{
	enum { TIMES = 5 };
	struct visit *t = *state;
	unsigned i;

	node_put(&t->n, 0, 64, 100, NULL);
	t->n.move_associations = 4;
	dimse_stop(t->n.dimse);
	t->n.config.max_associations = 2;
	assert_int_equal(dimse_start(&t->n.dimse, &t->n.config, t->n.peers, NULL), 0);
	node_reload(&t->n, "");
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	for (i = 1; i <= TIMES; i++) {
		while (dimse_associations(t->n.dimse) > 1)
			clock_sleep(clock_real(), 1);
		t->n.turned_away = 3 * i;
		visit_move(t, "NODE");
		assert_int_equal(t->v.last.status, STATUS_SUCCESS);
		assert_int_equal(t->v.last.completed, 64);
	}
}

static void
retrieve_move__a_cancel_ends_all_its_associations(void **state)
{
	struct visit *t = *state;

	t->n.move_associations = 4;
	node_reload(&t->n, "");
	node_put(&t->n, 0, 200, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	t->v.cancel_after = 2;
	t->n.wait_at = 60;
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_CANCELED);
	assert_in_range(t->v.last.completed, 10, 100);
	assert_int_equal(t->v.last.completed + t->v.last.remaining, 200);
	assert_int_equal(t->n.received, t->v.last.completed);
}

static void
retrieve_move__more_than_128_contexts_take_several_associations(void **state)
{
	struct visit *t = *state;
	enum { SYNTAXES = 150 };
	unsigned i;

	for (i = 0; i < SYNTAXES; i++) {
		char uid[32], syntax[32];
		struct recipe r = {"1.2.3", uid, syntax, "c", 1, 100};
		struct store_verdict verdict;
		struct made m;

		(void)snprintf(uid, sizeof(uid), "1.2.3.8.%u", i);
		(void)snprintf(syntax, sizeof(syntax), "1.2.3.7.%u", i);
		made_init(&m, &r);
		assert_int_equal(stored_put(t->n.stored.s, &m, "10.0.0.1", &verdict, NULL), 0);
		made_fini(&m);
	}
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.last.completed, SYNTAXES);
	assert_int_equal(t->n.received, SYNTAXES);
}

/* At 3 a.m. the difference between "not here" and "the workstation is off". */
static void
retrieve_move__says_which_destination_cannot_be_reached(void **state)
{
	struct visit *t = *state;

	node_reload(&t->n, "[peer OFF]\naet = OFF\nhost = 127.0.0.1\nport = 1");
	node_put(&t->n, 0, 2, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_move(t, "OFF");
	assert_int_equal(t->v.last.status, STATUS_SUBOPERATIONS_FAILED);
	assert_string_equal(t->v.last.comment, "OFF cannot be reached, or refuses; see the log");
	assert_int_equal(viewer_failed_uids(&t->v), 2);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_string_equal(t->v.last.comment, "");
}

static void
retrieve_move__a_list_that_repeats_itself_asks_for_no_more(void **state)
{
	static const char list[] = "1.2.3\\1.2.4\\1.2.3\\1.2.3";
	struct visit *t = *state;

	node_put(&t->n, 0, 2, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	attrs_put(&t->keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(&t->keys, TAG_STUDY_UID, list, sizeof(list) - 1);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.last.completed, 2);
	assert_int_equal(t->n.received, 2);
}

static void
retrieve_move__patient_root_wants_the_patient(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 2, 100, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	viewer_ask(&t->v, ON_MOVE_PATIENT, MESSAGE_MOVE_RQ, MOVE_PATIENT, &t->keys, "NODE");
	viewer_listen(&t->v);
	assert_int_equal(t->v.last.status, STATUS_IDENTIFIER_MISMATCH);
	assert_int_equal(t->v.last.offending, TAG_PATIENT_ID);
	buf_clear(&t->keys);
	attrs_put(&t->keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(&t->keys, TAG_PATIENT_ID, "SOMEBODY ELSE", 13);
	attrs_put(&t->keys, TAG_STUDY_UID, "1.2.3", 5);
	viewer_ask(&t->v, ON_MOVE_PATIENT, MESSAGE_MOVE_RQ, MOVE_PATIENT, &t->keys, "NODE");
	viewer_listen(&t->v);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->n.received, 0);
}

/* Each look at it finds it a second later. */
static int64_t
ever_later(struct clock *c)
{
	static _Atomic int64_t now;

	(void)c;
	return atomic_fetch_add(&now, 1000) + 1000;
}

static void
retrieve_move__pendings_come_while_one_long_object_goes(void **state)
{
	static struct clock clock = {ever_later, ever_later, NULL};
	struct visit *t = *state;

	node_put(&t->n, 0, 1, 6 << 20, NULL);
	t->n.retrieve.clock = &clock;
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_true(t->v.pendings >= 6);
}

/* Nor does the asker wait in silence for a destination that is slow, or cancel in vain. */
static void
retrieve_move__pendings_and_a_cancel_come_while_the_destination_waits(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 3, 100, NULL);
	t->n.wait_at = 1; /* it answers when the asker has cancelled */
	viewer_open(&t->v, &t->n, "NODE");
	t->v.cancel_after = 1;
	visit_study(t);
	visit_move(t, "NODE");
	assert_int_equal(t->v.last.status, STATUS_CANCELED);
	assert_int_equal(t->v.last.completed, 1);
	assert_int_equal(t->v.last.remaining, 2);
}

static void
retrieve_get__R20_damage_deep_inside_is_one_failed_sub_operation(void **state)
{
	struct visit *t = *state;
	uint64_t oids[3];

	node_put(&t->n, 0, 3, 4 << 20, oids);
	stored_damage(t->n.stored.s, oids[1], 2);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	visit_get(t);
	assert_int_equal(t->v.last.status, STATUS_WARNING_SUBOPERATIONS);
	assert_int_equal(t->v.last.completed, 2);
	assert_int_equal(t->v.stores, 2);
	assert_int_equal(viewer_failed_uids(&t->v), 1);
	assert_int_equal(t->n.damaged_oid, oids[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		visit_test(retrieve__R20_what_was_evicted_is_counted_and_failed_never_left_out),
		visit_test(retrieve__R20_a702_when_nothing_could_be_sent),
		visit_test(retrieve_get__R20_damage_deep_inside_is_one_failed_sub_operation),
		visit_test(retrieve_get__counts_in_pendings_and_at_the_end),
		visit_test(retrieve_get__a_cancel_ends_with_fe00_and_counts),
		visit_test(retrieve_move__pendings_come_while_one_long_object_goes),
		visit_test(retrieve_move__pendings_and_a_cancel_come_while_the_destination_waits),
		visit_test(retrieve_move__a_cancel_ends_with_fe00_and_counts),
		visit_test(retrieve_move__an_unknown_destination_keeps_the_association),
		visit_test(retrieve_move__R30_calls_by_the_title_that_was_called),
		visit_test(retrieve_move__a_destination_that_breaks_ends_in_b000_soon),
		visit_test(retrieve_move__what_was_broken_off_goes_on_a_new_association),
		visit_test(retrieve_move__what_there_was_no_room_for_is_tried_again),
		visit_test(retrieve_move__a_warning_is_counted_and_not_listed),
		visit_test(retrieve_move__a_large_one_goes_over_several_associations_at_once),
		visit_test(retrieve_move__one_association_carries_what_others_are_refused_for),
		visit_test(retrieve_move__a_cancel_ends_all_its_associations),
		visit_test(retrieve_move__more_than_128_contexts_take_several_associations),
		visit_test(retrieve_move__says_which_destination_cannot_be_reached),
		visit_test(retrieve_move__a_list_that_repeats_itself_asks_for_no_more),
		visit_test(retrieve_move__patient_root_wants_the_patient),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
