/* Rejection notes (IHE IOCM): what they hide, where, for whom; and that nothing is lost by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/dicom/note.h"
#include "common/dimse/peers.h"
#include "common/kv/kv.h"
#include "common/os/command.h"
#include "common/store/index.h"
#include "common/store/query.h"
#include "common/store/store.h"
#include "edge/edge_commands.h"
#include "edge/figures.h"
#include "edge/obey.h"
#include "edge/rebuild.h"
#include "edge/reject.h"
#include "proto/orders.h"
#include "proto/rejected.h"
#include "proto/withdrawn.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/send.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, NOTE_BASE = 900 };

static struct pair p;
static unsigned notes;
static bool many; /* all images are of one study */

static int
begin(void **state)
{
	notes = 0;
	return pair_setup(state);
}

static void
send(unsigned first, unsigned n)
{
	pair_send_some(&p, first, n);
}

/* As pair.c numbers them: four to a study. */
static void
uids(unsigned number, char study[65], char image[65])
{
	gen_uid(study, many ? 1 : 1 + number / 4, 0, 0);
	gen_uid(image, many ? 1 : 1 + number / 4, 1, 1 + number);
}

/* A note of images first to first + n - 1, all of one study. */
static void
make_note(struct buf *out, char uid[65], enum note_reason reason, unsigned first, unsigned n)
{
	struct note_reference *all = calloc(n, sizeof(*all));
	char(*series)[UID_SIZE] = calloc(n, UID_SIZE), study[65], own[65];
	struct note_text t = {.reason = reason, .date = "20261126", .time = "101112"};
	unsigned i;

	assert_true(all && series);
	for (i = 0; i < n; i++) {
		strcpy(all[i].sop_class, "1.2.840.10008.5.1.4.1.1.2");
		uids(first + i, study, all[i].sop_instance);
		gen_uid(series[i], many ? 1 : 1 + (first + i) / 4, 1, 0);
	}
	gen_uid(own, 1 + first / 4, 2, 0);
	t.sop_instance = uid;
	t.series = own;
	t.study = study;
	t.all = all;
	t.series_of = (const char(*)[UID_SIZE])series;
	t.n = n;
	note_write(out, &t);
	free(series);
	free(all);
}

static void
send_note_as(unsigned may, unsigned number, enum note_reason reason, unsigned first, unsigned n)
{
	struct peer peer = {.name = "", .aet = "", .host = "", .issuer = "", .may = may};
	struct buf data = BUF_INIT;
	char uid[65];

	gen_uid(uid, 1 + first / 4, 2, NOTE_BASE + number);
	make_note(&data, uid, reason, first, n);
	assert_int_equal(send_from(&p.edge, &peer, NOTE_CLASS, uid, &data, "1.2.840.10008.1.2.1"),
			 0);
	(void)store_settle(p.edge.store, NULL);
	buf_fini(&data);
}

static void
note(enum note_reason reason, unsigned first, unsigned n)
{
	send_note_as(PEER_STORE | PEER_REJECT, notes++, reason, first, n);
}

static bool
version_of(struct store *s, unsigned number, struct version *v)
{
	char study[65], image[65];
	struct store_tx *tx;
	int rc;

	uids(number, study, image);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	rc = store_current(tx, image, v, NULL);
	store_end_read(tx);
	return rc == 0;
}

/* How many images of its study a C-FIND counts, and one at IMAGE level gives. */
static unsigned
found(struct store *s, unsigned number, bool see_rejected)
{
	struct query_config c = {.level = QUERY_IMAGE, .see_rejected = see_rejected};
	struct query_match m;
	struct query *q;
	struct buf keys = BUF_INIT;
	char study[65], image[65], text[16];
	unsigned n = 0, counted = 0;

	uids(number, study, image);
	gen_uid(image, 1 + number / 4, 1, 0);
	attrs_put(&keys, TAG_STUDY_UID, study, strlen(study));
	attrs_put(&keys, TAG_SERIES_UID, image, strlen(image));
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&q, s, &c, NULL), 0);
	while (query_next(q, &m, NULL) == 0)
		n++;
	query_close(q);
	buf_clear(&keys);
	attrs_put(&keys, TAG_STUDY_UID, study, strlen(study));
	c.level = QUERY_SERIES;
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&q, s, &c, NULL), 0);
	while (query_next(q, &m, NULL) == 0) {
		(void)attrs_copy(m.series, TAG_MODALITY, text, sizeof(text));
		if (strcmp(text, "CT") != 0)
			continue;
		(void)attrs_copy(m.series, TAG_SERIES_INSTANCES, text, sizeof(text));
		counted += (unsigned)atoi(text);
	}
	query_close(q);
	buf_fini(&keys);
	assert_int_equal(n, counted);
	return n;
}

/* Is the study there at STUDY level, and with how many images, notes too? */
static int
study_counts(struct store *s, unsigned number, bool see_rejected)
{
	struct query_config c = {.level = QUERY_STUDY, .see_rejected = see_rejected};
	struct query_match m;
	struct query *q;
	struct buf keys = BUF_INIT;
	char study[65], image[65], text[16];
	int n = -1;

	uids(number, study, image);
	attrs_put(&keys, TAG_STUDY_UID, study, strlen(study));
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&q, s, &c, NULL), 0);
	while (query_next(q, &m, NULL) == 0) {
		assert_int_equal(n, -1);
		(void)attrs_copy(m.study, TAG_STUDY_INSTANCES, text, sizeof(text));
		n = atoi(text);
	}
	query_close(q);
	buf_fini(&keys);
	return n;
}

/* Of a day's studies, those of this modality or class: is this one among them, and with which? */
static bool
found_by(struct store *s, unsigned number, bool see_rejected, uint32_t tag, const char *value,
	 char with[256])
{
	struct query_config c = {.level = QUERY_STUDY, .see_rejected = see_rejected};
	struct buf keys = BUF_INIT;
	char study[65], image[65], uid[65];
	struct query_match m;
	struct query *q;
	bool yes = false;

	uids(number, study, image);
	attrs_put(&keys, TAG_STUDY_DATE, "19000101-", 9);
	attrs_put(&keys, tag, value, strlen(value));
	c.keys = attrs_of(&keys);
	assert_int_equal(query_open(&q, s, &c, NULL), 0);
	while (query_next(q, &m, NULL) == 0) {
		(void)attrs_copy(m.study, TAG_STUDY_UID, uid, sizeof(uid));
		if (strcmp(uid, study) != 0)
			continue;
		(void)attrs_copy(m.study, tag, with, 256);
		yes = true;
	}
	query_close(q);
	buf_fini(&keys);
	return yes;
}

/* It is found by these modalities and their classes alone, and told to have them. */
static void
has(struct store *s, unsigned number, bool see_rejected, const char *modalities)
{
	static const char *const known[][2] = {{"CT", "1.2.840.10008.5.1.4.1.1.2"},
					       {"KO", NOTE_CLASS}};
	char with[256];
	unsigned i, k;

	for (i = 0; i < 2; i++)
		for (k = 0; k < 2; k++) {
			bool wanted = strstr(modalities, known[i][0]) != NULL;

			assert_int_equal(found_by(s, number, see_rejected,
						  k ? TAG_CLASSES : TAG_MODALITIES, known[i][k],
						  with),
					 wanted);
			if (wanted)
				assert_non_null(strstr(with, known[i][k]));
			if (wanted && !k)
				assert_int_equal(strlen(with), strlen(modalities));
		}
}

static void
hear(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		assert_true(pair_settle(&p, TURNS));
		clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
		pair_orders(&p);
	}
}

/* All see that the first study has these, and who may see_rejected these. */
static void
has_at_both(const char *seen, const char *more)
{
	hear();
	has(p.edge.store, 0, false, seen);
	has(p.edge.store, 0, true, more);
	has(p.central.store, 0, false, seen);
	has(p.central.store, 0, true, more);
}

/* Of four images of a study, at both ends: all see `seen`, who may see_rejected `more`. */
static void
expect(unsigned number, unsigned seen, unsigned more)
{
	assert_int_equal(found(p.edge.store, number, false), seen);
	assert_int_equal(found(p.edge.store, number, true), more);
	assert_int_equal(found(p.central.store, number, false), seen);
	assert_int_equal(found(p.central.store, number, true), more);
}

static void
expect_held(uint64_t held)
{
	pair_expect_counts(&p, held, 0);
}

static struct figures
figures(void)
{
	struct figures f;

	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	return f;
}

static int
say(const char *command, const char *uid, const char *reason)
{
	const char *words[] = {command, uid, "--reason", reason};
	int code = edge_commands_run(&p.edge, 4, words, NULL);

	(void)store_settle(p.edge.store, NULL);
	return code;
}

/* --- at one node, and everywhere --- */

static void
note__R18_R29_hides_at_once_here_then_everywhere_and_nothing_is_lost(void **state)
{
	(void)state;
	send(0, 8);
	hear();
	note(NOTE_SAFETY, 1, 2);
	assert_int_equal(found(p.edge.store, 0, false), 2); /* at once, whatever the WAN does */
	assert_int_equal(found(p.edge.store, 0, true), 2);
	assert_int_equal(study_counts(p.edge.store, 0, false), 2);
	has(p.edge.store, 0, false, "CT");
	assert_int_equal(found(p.central.store, 0, false), 4);
	hear();
	expect(0, 2, 2);
	expect(4, 4, 4);
	has(p.central.store, 0, false, "CT");
	expect_held(9);
	assert_true(pair_edge_has(&p, 1) && pair_central_has(&p, 1));
	assert_int_equal(figures().rejected, 3); /* the note is hidden like what it rejects */
}

static void
note__of_a_whole_study_leaves_nothing_of_it_to_be_found(void **state)
{
	(void)state;
	send(0, 4);
	note(NOTE_WORKLIST, 0, 4);
	assert_int_equal(study_counts(p.edge.store, 0, false), -1);
	assert_int_equal(study_counts(p.edge.store, 0, true), -1);
	hear();
	assert_int_equal(study_counts(p.central.store, 0, false), -1);
	expect_held(5);
}

static void
note__R29_of_a_peer_that_may_not_reject_is_kept_and_flagged(void **state)
{
	struct version v;

	(void)state;
	send(0, 4);
	send_note_as(PEER_STORE | PEER_FIND, 0, NOTE_SAFETY, 0, 4);
	hear();
	expect(0, 4, 4);
	assert_int_equal(study_counts(p.central.store, 0, false), 5); /* an object like others */
	assert_int_equal(figures().notes_unheard, 1);
	assert_int_equal(figures().rejected, 0);
	expect_held(5);
	/* The same note again, from one that may: now it counts. */
	send_note_as(PEER_STORE | PEER_REJECT, 0, NOTE_SAFETY, 0, 4);
	hear();
	expect(0, 0, 0);
	assert_int_equal(study_counts(p.edge.store, 0, false), -1);
	assert_true(version_of(p.edge.store, 0, &v));
	assert_int_equal(v.hidden, VERSION_REJECTED);
}

static void
note__before_the_object_waits_and_bites_also_at_another_site(void **state)
{
	(void)state;
	send(4, 1);
	note(NOTE_SAFETY, 0, 2);
	send(0, 1);
	assert_int_equal(found(p.edge.store, 0, false), 0);
	hear();
	pair_site(&p, "south");
	hear();
	send(1, 2);
	assert_int_equal(found(p.edge.store, 1, false), 1); /* 2 */
	hear();
	assert_int_equal(found(p.central.store, 0, false), 1);
	expect_held(5);
	assert_int_equal(figures().rejected_again, 1);
}

static void
note__a_rejected_object_that_is_sent_again_stays_hidden_but_for_retention(void **state)
{
	static const enum note_reason all[] = {NOTE_QUALITY, NOTE_SAFETY, NOTE_WORKLIST,
					       NOTE_RETENTION};
	unsigned i;

	(void)state;
	send(0, 16);
	hear();
	for (i = 0; i < 4; i++)
		note(all[i], 4 * i, 1);
	hear();
	for (i = 0; i < 4; i++)
		expect(4 * i, 3, i == 0 ? 4 : 3);
	for (i = 0; i < 4; i++)
		send(4 * i, 1);
	assert_int_equal(figures().rejected_again, 3);
	assert_int_equal(found(p.edge.store, 12, false), 4); /* at once */
	hear();
	for (i = 0; i < 3; i++)
		expect(4 * i, 3, i == 0 ? 4 : 3);
	expect(12, 4, 4);
	/* What its retention is over for once more is hidden once more. */
	note(NOTE_RETENTION, 12, 1);
	hear();
	expect(12, 3, 3);
	expect_held(21);
}

static void
note__for_quality_is_hidden_but_to_whoever_may_see_it(void **state)
{
	(void)state;
	send(0, 4);
	hear();
	note(NOTE_QUALITY, 0, 3);
	hear();
	expect(0, 1, 4);
	assert_int_equal(study_counts(p.edge.store, 0, false), 1);
	assert_int_equal(study_counts(p.edge.store, 0, true), 5); /* and the note */
	assert_int_equal(study_counts(p.central.store, 0, true), 5);
	has_at_both("CT", "CT\\KO");
	note(NOTE_QUALITY, 3, 1);
	hear();
	has_at_both("", "CT\\KO");
	assert_int_equal(study_counts(p.central.store, 0, false), -1);
	assert_int_equal(study_counts(p.central.store, 0, true), 6);
	/* The strictest counts. */
	note(NOTE_SAFETY, 0, 2);
	hear();
	expect(0, 0, 2);
	has_at_both("", "CT\\KO");
	expect_held(7);
}

/* The note is no part of what is shown, before its images come and after. */
static void
note__of_all_that_a_study_has_leaves_no_trace_in_what_is_restored(void **state)
{
	static const enum note_reason all[] = {NOTE_QUALITY, NOTE_SAFETY};
	static const char *const words[] = {"quality", "safety"};
	char study[65], image[65];
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		send(4, 1);
		note(all[i], 0, 4); /* before */
		send(0, 4);
		has_at_both("", i ? "" : "CT\\KO");
		uids(0, study, image);
		assert_int_equal(say("restore", study, words[i]), COMMAND_OK);
		has_at_both("CT", i ? "CT" : "CT\\KO");
		note(all[i], 0, 4); /* after */
		has_at_both("", i ? "" : "CT\\KO");
		assert_int_equal(say("restore", study, words[i]), COMMAND_OK);
		has_at_both("CT", i ? "CT" : "CT\\KO");
		pair_teardown(state);
		begin(state);
	}
}

static void
note__twice_says_no_more_than_once(void **state)
{
	char study[65], image[65];

	(void)state;
	send(0, 4);
	send_note_as(PEER_STORE | PEER_REJECT, 7, NOTE_SAFETY, 0, 1);
	hear();
	uids(0, study, image);
	assert_int_equal(say("restore", image, "safety"), COMMAND_OK);
	hear();
	expect(0, 4, 4);
	send_note_as(PEER_STORE | PEER_REJECT, 7, NOTE_SAFETY, 0, 1);
	hear();
	expect(0, 4, 4);
}

/* --- by a person --- */

static void
study_rows(struct store *s, struct buf *out)
{
	char study[65], image[65];
	struct store_tx *tx;
	struct version v;
	struct attrs row;

	uids(0, study, image);
	assert_true(version_of(s, 0, &v));
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	if (index_series_row(tx, v.study, v.series, &row, NULL) == 0)
		buf_put(out, row.p, row.n);
	if (index_instance_row(tx, &v, &row, NULL) == 0)
		buf_put(out, row.p, row.n);
	store_end_read(tx);
}

static void
reject__writes_a_note_that_counts_and_restore_shows_all_as_it_was(void **state)
{
	static const char *const reasons[] = {"quality", "safety", "worklist", "retention"};
	struct buf before = BUF_INIT, after = BUF_INIT;
	char study[65], image[65];
	unsigned i;

	(void)state;
	send(0, 8);
	hear();
	study_rows(p.edge.store, &before);
	uids(0, study, image);
	for (i = 0; i < 4; i++) {
		assert_int_equal(say("reject", study, reasons[i]), COMMAND_OK);
		assert_int_equal(study_counts(p.edge.store, 0, false), -1);
		hear();
		expect(0, 0, i == 0 ? 4 : 0);
		expect_held(8 + i + 1); /* the note is an object, and at central */
		assert_int_equal(say("restore", study, reasons[i]), COMMAND_OK);
		hear();
		expect(0, 4, 4);
		assert_int_equal(study_counts(p.central.store, 0, false), 4);
	}
	study_rows(p.edge.store, &after);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.data, before.data, before.len);
	buf_fini(&after);
	buf_fini(&before);
	expect(4, 4, 4);
}

static void
reject__of_a_series_or_an_image_and_for_two_reasons(void **state)
{
	char study[65], image[65], series[65];

	(void)state;
	send(0, 4);
	hear();
	uids(2, study, image);
	gen_uid(series, 1, 1, 0);
	assert_int_equal(say("reject", image, "quality"), COMMAND_OK);
	hear();
	expect(0, 3, 4);
	assert_int_equal(say("reject", series, "safety"), COMMAND_OK);
	hear();
	expect(0, 0, 0);
	assert_int_equal(say("restore", series, "safety"), COMMAND_OK);
	hear();
	expect(0, 3, 4); /* what another reason hides stays hidden */
	assert_int_equal(say("restore", study, "quality"), COMMAND_OK);
	hear();
	expect(0, 4, 4);
}

static void
reject__usage_wants_one_of_four_reasons_and_a_known_uid(void **state)
{
	const char *words[] = {"reject", "1.2.3"};
	char study[65], image[65];

	(void)state;
	send(0, 1);
	uids(0, study, image);
	assert_int_equal(edge_commands_run(&p.edge, 2, words, NULL), COMMAND_USAGE);
	assert_int_equal(say("reject", study, "because"), COMMAND_USAGE);
	assert_int_equal(say("reject", "1.2.3", "safety"), COMMAND_FAILED);
	assert_int_equal(say("restore", "1.2.3", "safety"), COMMAND_FAILED);
	assert_int_equal(found(p.edge.store, 0, false), 1);
}

/* --- whatever burns, and in whatever order it is heard --- */

static void
rejected__R16_a_central_that_burnt_hears_of_it_in_ledgers(void **state)
{
	unsigned i;

	(void)state;
	send(0, 8);
	note(NOTE_SAFETY, 0, 2);
	note(NOTE_QUALITY, 4, 1);
	hear();
	pair_burn_central(&p);
	pair_open_central(&p);
	for (i = 0; i < 3; i++)
		hear();
	expect(0, 2, 2);
	expect(4, 3, 4);
}

static void
rejected__R16_both_the_site_and_central_burnt_and_another_edge_gives_it_back(void **state)
{
	unsigned i;

	(void)state;
	send(0, 4);
	note(NOTE_SAFETY, 0, 2);
	hear();
	pair_site(&p, "south");
	send(8, 1);
	hear();
	hear();
	pair_burn_central(&p); /* and north with it: it never calls again */
	pair_open_central(&p);
	for (i = 0; i < 4; i++)
		hear();
	send(0, 4); /* the modality sends them to the site that is left */
	assert_int_equal(found(p.edge.store, 0, false), 2);
	hear();
	expect(0, 2, 2);
}

static void
rebuild__R16_the_log_tells_a_new_catalogue_what_notes_hide(void **state)
{
	struct err e = ERR_INIT;
	char study[65], image[65];

	(void)state;
	send(0, 12);
	note(NOTE_SAFETY, 0, 2);
	note(NOTE_QUALITY, 4, 1);
	note(NOTE_RETENTION, 8, 2);
	hear();
	uids(1, study, image);
	assert_int_equal(say("restore", image, "safety"), COMMAND_OK);
	send(8, 1);
	hear();
	pair_close_central(&p);
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	central_close(&p.central);
	pair_open_central(&p);
	pair_turn(&p); /* hello: a new epoch */
	hear();
	expect(0, 3, 3);
	expect(4, 3, 4);
	expect(8, 3, 3);
}

static void
rebuild__R13_an_edge_keeps_hidden_what_notes_rejected(void **state)
{
	struct rebuild_result result;
	struct edge edge;
	struct err e = ERR_INIT;

	(void)state;
	send(0, 12);
	hear();
	note(NOTE_SAFETY, 0, 2);
	note(NOTE_RETENTION, 4, 1);
	note(NOTE_QUALITY, 8, 1); /* nobody has heard of them */
	pair_close_edge(&p);
	if (edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e) || rebuild_store(&edge, &result, &e))
		fail_msg("%s", e.what);
	edge_close(&edge);
	pair_open_edge(&p);
	assert_int_equal(found(p.edge.store, 0, false), 2);
	assert_int_equal(found(p.edge.store, 4, false), 3);
	assert_int_equal(found(p.edge.store, 8, false), 3);
	assert_int_equal(found(p.edge.store, 8, true), 4);
	hear();
	expect(0, 2, 2);
	expect(4, 3, 3);
	expect(8, 3, 4);
}

static void
refill__a_new_edge_hears_what_notes_hide(void **state)
{
	unsigned i;

	(void)state;
	send(0, 8);
	note(NOTE_SAFETY, 0, 2);
	note(NOTE_QUALITY, 4, 1);
	hear();
	pair_burn_edge(&p);
	pair_open_edge(&p);
	for (i = 0; i < 3; i++)
		hear();
	send(0, 8);
	assert_int_equal(found(p.edge.store, 0, false), 2);
	assert_int_equal(found(p.edge.store, 4, false), 3);
	assert_int_equal(found(p.edge.store, 4, true), 4);
}

static int
forget(struct store_tx *tx, void *arg, struct err *e)
{
	static const char *const tables[] = {REJECTED_TABLE, REJECTIONS_TABLE};
	struct kv_slice k;
	struct kv_cursor *c;
	unsigned char key[2 * UID_SIZE];
	size_t i;
	int rc = state_set_number(tx, "rejections", 0, e);

	(void)arg;
	for (i = 0; !rc && i < 2;) {
		unsigned table = store_table(store_tx_store(tx), tables[i]);

		assert_int_equal(kv_cursor_open(&c, store_tx_kv(tx), table, e), 0);
		rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, NULL, e);
		if (!rc)
			memcpy(key, k.p, k.n);
		kv_cursor_close(c);
		i += rc == ERR_ABSENT;
		rc = rc == ERR_ABSENT ? 0 : kv_del(store_tx_kv(tx), table, kv_slice(key, k.n), e);
	}
	return rc;
}

/* As a central has it that was upgraded: in ledgers that it kept, and nowhere else. */
static void
catch_up__an_upgraded_central_gives_what_the_one_before_it_did_not_understand(void **state)
{
	struct rejected r;
	struct store_tx *tx;
	char study[65], image[65];

	(void)state;
	send(0, 4);
	note(NOTE_SAFETY, 0, 2);
	hear();
	uids(0, study, image);
	assert_int_equal(store_commit(p.central.store, forget, NULL, NULL), 0);
	pair_close_central(&p);
	pair_open_central(&p);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(rejected_get(tx, image, &r, NULL), 0);
	store_end_read(tx);
	assert_int_equal(rejected_why(&r), NOTE_SAFETY);
	pair_site(&p, "south"); /* which hears of it by the order alone */
	hear();
	send(0, 4);
	assert_int_equal(found(p.edge.store, 0, false), 2);
}

static void
note__of_more_images_than_one_entry_takes_hides_all_of_them(void **state)
{
	struct peer peer = {
		.name = "", .aet = "", .host = "", .issuer = "", .may = PEER_STORE | PEER_REJECT};
	struct buf data = BUF_INIT;
	char uid[65];

	(void)state;
	send(0, 4);
	gen_uid(uid, 1, 2, NOTE_BASE);
	many = true; /* of its study: 0 to 2,499 */
	make_note(&data, uid, NOTE_SAFETY, 0, 2500);
	many = false;
	assert_int_equal(send_from(&p.edge, &peer, NOTE_CLASS, uid, &data, "1.2.840.10008.1.2.1"),
			 0);
	(void)store_settle(p.edge.store, NULL);
	buf_fini(&data);
	assert_int_equal(figures().rejected, 2501);
	assert_int_equal(study_counts(p.edge.store, 0, false), -1);
	hear();
	assert_int_equal(study_counts(p.central.store, 0, false), -1);
	expect_held(5);
}

int
main(void)
{
#define WITH(test) cmocka_unit_test_prestate_setup_teardown(test, begin, pair_teardown, &p)
	const struct CMUnitTest tests[] = {
		WITH(note__R18_R29_hides_at_once_here_then_everywhere_and_nothing_is_lost),
		WITH(note__of_a_whole_study_leaves_nothing_of_it_to_be_found),
		WITH(note__R29_of_a_peer_that_may_not_reject_is_kept_and_flagged),
		WITH(note__before_the_object_waits_and_bites_also_at_another_site),
		WITH(note__a_rejected_object_that_is_sent_again_stays_hidden_but_for_retention),
		WITH(note__for_quality_is_hidden_but_to_whoever_may_see_it),
		WITH(note__of_all_that_a_study_has_leaves_no_trace_in_what_is_restored),
		WITH(note__twice_says_no_more_than_once),
		WITH(reject__writes_a_note_that_counts_and_restore_shows_all_as_it_was),
		WITH(reject__of_a_series_or_an_image_and_for_two_reasons),
		WITH(reject__usage_wants_one_of_four_reasons_and_a_known_uid),
		WITH(rejected__R16_a_central_that_burnt_hears_of_it_in_ledgers),
		WITH(rejected__R16_both_the_site_and_central_burnt_and_another_edge_gives_it_back),
		WITH(rebuild__R16_the_log_tells_a_new_catalogue_what_notes_hide),
		WITH(rebuild__R13_an_edge_keeps_hidden_what_notes_rejected),
		WITH(refill__a_new_edge_hears_what_notes_hide),
		WITH(catch_up__an_upgraded_central_gives_what_the_one_before_it_did_not_understand),
		WITH(note__of_more_images_than_one_entry_takes_hides_all_of_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
