/* Central's side of ledger and upload as the pure machine it is (R5, R14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/receiver.h"

static void
receiver_append__R5_only_at_its_own_head(void **state)
{
	struct ledger_head head = {10, {7}};
	unsigned char right[SHA256_SIZE] = {7}, wrong[SHA256_SIZE] = {8};
	uint64_t skip;

	(void)state;
	assert_int_equal(receiver_append(&head, 11, right, 5, &skip), RECEIVER_APPEND);
	assert_int_equal(skip, 0);
	assert_int_equal(receiver_append(&head, 11, wrong, 5, &skip), RECEIVER_CONFLICT);
	assert_int_equal(receiver_append(&head, 12, right, 5, &skip), RECEIVER_CONFLICT);
	assert_int_equal(receiver_append(&head, 0, right, 5, &skip), RECEIVER_CONFLICT);
	assert_int_equal(receiver_append(&head, 3, right, 8, &skip), RECEIVER_KNOWN);
	assert_int_equal(skip, 8);
	assert_int_equal(receiver_append(&head, 3, right, 9, &skip), RECEIVER_COMPARE);
	assert_int_equal(skip, 8);
	assert_int_equal(receiver_append(&head, 11, right, UINT64_MAX, &skip), RECEIVER_CONFLICT);
}

static enum receiver_do
step(struct receiver *r, enum receiver_event_kind kind, uint64_t offset, uint64_t n,
     struct receiver_action *a)
{
	struct receiver_event ev = {kind, offset, n};

	receiver_step(r, &ev, a);
	return a->what;
}

static void
receiver_step__R14_says_an_offset_after_flush_and_commit_only(void **state)
{
	struct receiver_action a;
	struct receiver r;

	(void)state;
	receiver_init(&r, 1000, 100);
	assert_int_equal(step(&r, RECEIVER_GO, 0, 0, &a), RECEIVER_READ);
	assert_int_equal(step(&r, RECEIVER_FRAME, 50, 250, &a), RECEIVER_WRITE);
	assert_int_equal(a.skip, 50); /* the first part is here */
	assert_int_equal(step(&r, RECEIVER_DONE, 0, 0, &a), RECEIVER_READ);
	assert_int_equal(step(&r, RECEIVER_FRAME, 0, 300, &a), RECEIVER_READ);
	assert_int_equal(step(&r, RECEIVER_END, 0, 0, &a), RECEIVER_FLUSH);
	assert_int_equal(r.durable, 100);
	assert_int_equal(step(&r, RECEIVER_DONE, 0, 0, &a), RECEIVER_COMMIT);
	assert_int_equal(a.offset, 300);
	assert_int_equal(step(&r, RECEIVER_DONE, 0, 0, &a), RECEIVER_SAY);
	assert_int_equal(a.offset, 300);
	assert_false(a.misplaced);
	/* Bytes that do not follow: the true offset. */
	(void)step(&r, RECEIVER_GO, 0, 0, &a);
	assert_int_equal(step(&r, RECEIVER_FRAME, 301, 10, &a), RECEIVER_SAY);
	assert_true(a.misplaced);
	assert_int_equal(a.offset, 300);
	/* All of it: judged, adopted, receipted; or refused. */
	(void)step(&r, RECEIVER_GO, 0, 0, &a);
	assert_int_equal(step(&r, RECEIVER_FRAME, 300, 700, &a), RECEIVER_WRITE);
	(void)step(&r, RECEIVER_DONE, 0, 0, &a);
	assert_int_equal(step(&r, RECEIVER_END, 0, 0, &a), RECEIVER_JUDGE);
	assert_int_equal(step(&r, RECEIVER_DONE, 0, 0, &a), RECEIVER_ADOPT);
	assert_int_equal(step(&r, RECEIVER_DONE, 0, 0, &a), RECEIVER_GIVE);
	r.at = RECEIVER_JUDGE;
	assert_int_equal(step(&r, RECEIVER_BAD, 0, 0, &a), RECEIVER_REFUSE);
}

/* Whatever frames come: what is said never decreases and was committed before. */
static void
receiver_step__R14_no_order_of_frames_makes_it_lie(void **state)
{
	enum { SIZE = 500 };
	unsigned seed, i;

	(void)state;
	for (seed = 1; seed < 2000; seed++) {
		uint64_t flushed = 0, committed = 0, said = 0;
		struct receiver_event ev = {.kind = RECEIVER_GO};
		struct receiver_action a;
		struct receiver r;
		unsigned x = seed;

		receiver_init(&r, SIZE, 0);
		for (i = 0; i < 200; i++) {
			receiver_step(&r, &ev, &a);
			memset(&ev, 0, sizeof(ev));
			ev.kind = RECEIVER_DONE;
			x = x * 1664525u + 1013904223u;
			switch (a.what) {
			case RECEIVER_READ:
				ev.kind = (x >> 8) % 4 ? RECEIVER_FRAME : RECEIVER_END;
				ev.offset = (x >> 10) % 8 ? r.written : (x >> 12) % SIZE;
				ev.n = 1 + (x >> 20) % 60;
				break;
			case RECEIVER_WRITE:
				assert_true(a.skip < 60);
				break;
			case RECEIVER_FLUSH:
				flushed = r.written;
				break;
			case RECEIVER_COMMIT:
				assert_int_equal(a.offset, flushed);
				committed = a.offset;
				break;
			case RECEIVER_JUDGE:
			case RECEIVER_ADOPT:
				assert_int_equal(r.written, SIZE);
				break;
			case RECEIVER_SAY:
				assert_int_equal(a.offset, committed);
				assert_true(a.offset >= said);
				said = a.offset;
				ev.kind = RECEIVER_GO;
				break;
			case RECEIVER_REFUSE:
				fail();
				break;
			case RECEIVER_GIVE:
				assert_int_equal(r.written, SIZE);
				i = 200;
				break;
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receiver_append__R5_only_at_its_own_head),
		cmocka_unit_test(receiver_step__R14_says_an_offset_after_flush_and_commit_only),
		cmocka_unit_test(receiver_step__R14_no_order_of_frames_makes_it_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
