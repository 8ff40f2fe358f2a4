/* Rejection notes (IHE IOCM): what is written is read; what is broken says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/canon.h"
#include "common/dicom/note.h"
#include "tests/gen/element.h"

#define EXPLICIT "1.2.840.10008.1.2.1"

static void
make(struct buf *out, enum note_reason reason, size_t n)
{
	struct note_reference *all = calloc(n, sizeof(*all));
	char(*series)[UID_SIZE] = calloc(n, UID_SIZE);
	struct note_text t = {.reason = reason,
			      .sop_instance = "1.2.9.1",
			      .series = "1.2.9",
			      .study = "1.2.3",
			      .date = "20261126",
			      .time = "120000"};
	size_t i;

	assert_true(all && series);
	for (i = 0; i < n; i++) {
		strcpy(all[i].sop_class, "1.2.840.10008.5.1.4.1.1.2");
		(void)snprintf(all[i].sop_instance, UID_SIZE, "1.2.3.4.%zu", i);
		(void)snprintf(series[i], UID_SIZE, "1.2.3.%zu", i / 3);
		all[i].image = true;
	}
	t.all = all;
	t.series_of = (const char(*)[UID_SIZE])series;
	t.n = n;
	note_write(out, &t);
	assert_false(buf_failed(out));
	free(series);
	free(all);
}

/* In pieces of this size. */
static enum note_reason
read_note(struct note **out, const struct buf *b, size_t piece, bool *unread)
{
	size_t at, n;

	assert_int_equal(note_new(out, EXPLICIT, NULL), 0);
	for (at = 0; at < b->len; at += n) {
		n = b->len - at < piece ? b->len - at : piece;
		note_feed(*out, b->data + at, n);
	}
	return note_end(*out, unread);
}

static void
note_end__what_was_written_is_read_for_each_reason_however_it_is_cut(void **state)
{
	struct buf b = BUF_INIT;
	const struct note_reference *all;
	struct note *note;
	bool unread;
	size_t n, piece;
	unsigned r;

	(void)state;
	for (r = NOTE_QUALITY; r < NOTE_REASONS; r++) {
		buf_clear(&b);
		make(&b, (enum note_reason)r, 7);
		for (piece = 1; piece <= b.len; piece += piece < 20 ? 1 : 97) {
			assert_int_equal(read_note(&note, &b, piece, &unread), r);
			all = note_references(note, &n);
			assert_int_equal(n, 7);
			assert_string_equal(all[6].sop_instance, "1.2.3.4.6");
			assert_string_equal(all[6].sop_class, "1.2.840.10008.5.1.4.1.1.2");
			assert_string_equal(note_study(note, all[6].study), "1.2.3");
			note_free(note);
		}
		assert_int_equal(note_reason_of(note_reason_word((enum note_reason)r)), r);
	}
	assert_int_equal(note_reason_of("none"), NOTE_NONE);
	buf_fini(&b);
}

static void
note_write__is_an_object_that_nothing_is_odd_about(void **state)
{
	struct canon_config c = {.form = CANON_DATASET, .syntax = EXPLICIT};
	const struct object_info *info;
	struct buf b = BUF_INIT;
	struct canon *canon;

	(void)state;
	make(&b, NOTE_SAFETY, 5);
	assert_int_equal(canon_bytes(&canon, &c, b.data, b.len, NULL, &info, NULL), 0);
	assert_int_equal(info->flags, 0);
	assert_string_equal(info->sop_class, NOTE_CLASS);
	assert_string_equal(info->sop_instance, "1.2.9.1");
	assert_string_equal(info->study, "1.2.3");
	canon_free(canon);
	buf_fini(&b);
}

static void
note_end__one_that_is_cut_off_rejects_nothing(void **state)
{
	struct buf b = BUF_INIT;
	size_t whole;
	struct note *note;
	bool unread;

	(void)state;
	make(&b, NOTE_WORKLIST, 3);
	whole = b.len;
	for (b.len = 0; b.len < whole; b.len++) {
		enum note_reason r = read_note(&note, &b, b.len + 1, &unread);
		size_t n;

		/* Behind the evidence it is whole, if it ends between two elements. */
		(void)note_references(note, &n);
		assert_true(r == NOTE_NONE || (r == NOTE_WORKLIST && n == 3));
		note_free(note);
	}
	buf_fini(&b);
}

static void
note_end__more_references_than_it_may_have_reject_nothing(void **state)
{
	struct buf b = BUF_INIT;
	struct note *note;
	bool unread;

	(void)state;
	make(&b, NOTE_SAFETY, NOTE_MAX);
	assert_int_equal(read_note(&note, &b, 1 << 16, &unread), NOTE_SAFETY);
	note_free(note);
	buf_clear(&b);
	make(&b, NOTE_SAFETY, NOTE_MAX + 1);
	assert_int_equal(read_note(&note, &b, 1 << 16, &unread), NOTE_NONE);
	assert_true(unread);
	note_free(note);
	buf_fini(&b);
}

/* Key images of another kind, a title of another scheme, no evidence, a bad UID in it. */
static void
note_end__other_key_objects_reject_nothing(void **state)
{
	struct buf b = BUF_INIT;
	unsigned char *at;
	struct note *note;
	bool unread;

	(void)state;
	make(&b, NOTE_QUALITY, 2);
	at = memmem(b.data, b.len, "113001", 6);
	assert_non_null(at);
	at[5] = '0'; /* 113000: of interest */
	assert_int_equal(read_note(&note, &b, 64, &unread), NOTE_NONE);
	assert_false(unread);
	note_free(note);
	at[5] = '1';
	at = memmem(b.data, b.len, "DCM ", 4);
	assert_non_null(at);
	at[0] = 'X';
	assert_int_equal(read_note(&note, &b, 64, &unread), NOTE_NONE);
	note_free(note);
	at[0] = 'D';
	at = memmem(b.data, b.len, "1.2.3.4.0", 9);
	assert_non_null(at);
	assert_false(unread);
	at[0] = ' ';
	assert_int_equal(read_note(&note, &b, 64, &unread), NOTE_NONE);
	assert_true(unread);
	note_free(note);
	buf_clear(&b);
	make(&b, NOTE_QUALITY, 0);
	assert_int_equal(read_note(&note, &b, 64, &unread), NOTE_NONE);
	assert_true(unread);
	note_free(note);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			note_end__what_was_written_is_read_for_each_reason_however_it_is_cut),
		cmocka_unit_test(note_write__is_an_object_that_nothing_is_odd_about),
		cmocka_unit_test(note_end__one_that_is_cut_off_rejects_nothing),
		cmocka_unit_test(note_end__more_references_than_it_may_have_reject_nothing),
		cmocka_unit_test(note_end__other_key_objects_reject_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
