/* Corrections: what counts at edge and central after them (R3, R6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/clog.h"
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

/* What the row of image 0's study (series) says; "-": nothing. */
static void
row_says(struct store *s, bool series, uint32_t tag, char out[80])
{
	struct store_tx *tx;
	struct attrs row;
	struct attr a;
	char study[65], one[65];

	gen_uid(study, 1, 0, 0);
	gen_uid(one, 1, 1, 0);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(series ? index_series_row(tx, study, one, &row, NULL)
				: index_study_row(tx, study, &row, NULL),
			 0);
	strcpy(out, "-");
	if (attrs_get(row, tag, &a))
		(void)attrs_copy(row, tag, out, 80);
	store_end_read(tx);
}

static void
both_say(struct pair *p, bool series, uint32_t tag, const char *want)
{
	char text[80];

	row_says(p->edge.store, series, tag, text);
	assert_string_equal(text, want);
	row_says(p->central.store, series, tag, text);
	assert_string_equal(text, want);
}

static void
wrong(struct gen *g)
{
	g->name = "WRONG^NAME";
	g->series_description = "WRONG SERIES";
	g->modality = "MR";
}

static void
right(struct gen *g)
{
	g->name = "RIGHT^NAME";
	g->description = NULL;
}

static void
revision__R3_what_it_says_and_leaves_out_counts_at_both_nodes(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	p.change = wrong;
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	both_say(&p, false, TAG_PATIENT_NAME, "WRONG^NAME");
	both_say(&p, false, TAG_STUDY_DESCRIPTION, "SYNTHETIC STUDY");
	both_say(&p, false, TAG_MODALITIES, "MR");
	both_say(&p, true, 0x0008103e, "WRONG SERIES");
	p.change = right;
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	both_say(&p, false, TAG_PATIENT_NAME, "RIGHT^NAME");
	both_say(&p, false, TAG_STUDY_DESCRIPTION, "-");
	both_say(&p, false, TAG_MODALITIES, "CT");
	both_say(&p, false, TAG_PATIENT_ISSUER, "NORTH");
	both_say(&p, true, TAG_MODALITY, "CT");
	both_say(&p, true, 0x0008103e, "-");
	pair_fini(&p);
}

/* --- after a fire --- */

static void
other_pixels(struct gen *g)
{
	g->seed = 4711;
}

/* Is what viewers get of image 0 the one that `change` makes? */
static bool
shows(struct pair *p, struct store *s, void (*change)(struct gen *g))
{
	struct buf image = BUF_INIT;
	unsigned char digest[SHA256_SIZE];
	char uid[65];
	struct store_tx *tx;
	struct version v;

	p->change = change;
	pair_image(p, &image, 0);
	sha256_of(image.data, image.len, digest);
	buf_fini(&image);
	gen_uid(uid, 1, 1, 1);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(store_current(tx, uid, &v, NULL), 0);
	store_end_read(tx);
	return memcmp(v.digest, digest, sizeof(digest)) == 0;
}

/* A refill brings the newest first; what counts stays what it was. */
static void
after_a_fire(void (*first)(struct gen *g), void (*second)(struct gen *g),
	     void (*counts)(struct gen *g))
{
	struct pair p;

	pair_init(&p, "64MiB");
	p.change = first;
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	p.change = second;
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_true(shows(&p, p.edge.store, counts));
	assert_true(shows(&p, p.central.store, counts));
	assert_int_equal(pair_burn_and_refill(&p, false).came, 2);
	assert_true(shows(&p, p.edge.store, counts));
	assert_true(pair_settle(&p, TURNS));
	assert_true(shows(&p, p.central.store, counts));
	pair_fini(&p);
}

static void
refill__R3_a_correction_counts_after_it(void **state)
{
	(void)state;
	after_a_fire(wrong, right, right);
}

static void
refill__R3_the_first_of_a_conflict_counts_after_it(void **state)
{
	(void)state;
	after_a_fire(right, other_pixels, right);
}

/* --- records by hand: what reaches central in one batch is not the edge's choice --- */

struct site {
	struct pair *p;
	const char *name;
	struct id128 incarnation;
	uint64_t next;
};

static void
site_open(struct site *s, struct pair *p, const char *name)
{
	*s = (struct site){.p = p, .name = name, .next = 1};
	memset(s->incarnation.b, name[0], sizeof(s->incarnation.b));
	assert_int_equal(record_decision(&p->central, SYNC__DECISION_KIND__DECISION_OPEN, name,
					 &s->incarnation, "test", NULL),
			 0);
}

/* One study record of image 0's study, and nothing else in its batch. */
static void
site_tells(struct site *s, const char *name, const char *description, const struct tags *corrected)
{
	Sync__LogLedger m = SYNC__LOG_LEDGER__INIT;
	struct buf record = BUF_INIT, entry = BUF_INIT, payload = BUF_INIT;
	ProtobufCBinaryData one;
	char study[65];

	gen_uid(study, 1, 0, 0);
	if (description)
		attrs_put(&record, TAG_STUDY_DESCRIPTION, description, strlen(description));
	attrs_put(&record, TAG_PATIENT_NAME, name, strlen(name));
	ledger_study(&entry, study, attrs_of(&record), corrected, "CT1", 1);
	one = message_bytes(entry.data, entry.len);
	m.site = message_text(s->name);
	m.incarnation = message_bytes(s->incarnation.b, sizeof(s->incarnation.b));
	m.first = s->next++;
	m.entries = &one;
	m.n_entries = 1;
	message_pack(&payload, &m.base);
	assert_int_equal(record_write(&s->p->central, CLOG_LEDGER, &payload, NULL), 0);
	buf_fini(&payload);
	buf_fini(&entry);
	buf_fini(&record);
}

static void
central_says(struct pair *p, const char *name, const char *description)
{
	char text[80];

	row_says(p->central.store, false, TAG_PATIENT_NAME, text);
	assert_string_equal(text, name);
	row_says(p->central.store, false, TAG_STUDY_DESCRIPTION, text);
	assert_string_equal(text, description);
}

static void
ledger__R3_R6_a_record_that_comes_alone_corrects_what_it_names(void **state)
{
	struct tags corrected = {.n = 0};
	struct site north, south;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	site_open(&north, &p, "north");
	site_open(&south, &p, "south");
	site_tells(&north, "WRONG^NAME", "WRONG", NULL);
	central_says(&p, "WRONG^NAME", "WRONG");
	site_tells(&south, "OTHER^NAME", "OTHER", NULL); /* what was there first stays */
	central_says(&p, "WRONG^NAME", "WRONG");
	tags_add(&corrected, TAG_PATIENT_NAME);
	tags_add(&corrected, TAG_STUDY_DESCRIPTION);
	site_tells(&north, "RIGHT^NAME", NULL, &corrected);
	central_says(&p, "RIGHT^NAME", "-");
	site_tells(&north, "RIGHT^NAME", "MORE", NULL); /* an image told more */
	central_says(&p, "RIGHT^NAME", "MORE");
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refill__R3_a_correction_counts_after_it),
		cmocka_unit_test(refill__R3_the_first_of_a_conflict_counts_after_it),
		cmocka_unit_test(revision__R3_what_it_says_and_leaves_out_counts_at_both_nodes),
		cmocka_unit_test(ledger__R3_R6_a_record_that_comes_alone_corrects_what_it_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
