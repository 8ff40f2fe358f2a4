/* The sender and a central that has no room, wants to be left alone, or never gets a pack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/sender.h"
#include "tests/lib/play.h"

static void
say(struct play *p, enum sender_request rq, int status, unsigned retry_after)
{
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = rq,
				  .status = status,
				  .ours = true,
				  .agrees = true,
				  .retry_after = retry_after};

	play_step(p, &ev);
}

/* Central asks for time: no piece of any pack goes before; the ledger does. */
static void
sender_step__Retry_After_is_kept_to_for_ten_minutes_at_most(void **state)
{
	struct play p;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_pack(&p, 0, 1 << 30, 10);
	play_pack(&p, 1, 1 << 30, 10);
	say(&p, SENDER_PIECE, 503, 120);
	play_answer(&p, SENDER_PIECE, 1, 200, 1000);
	assert_false(play_did(&p, SENDER_SEND_PIECE));
	p.head = 11;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_SEND_LEDGER));
	play_answer(&p, SENDER_LEDGER, 0, 200, 11);
	p.now += 119000;
	play_tick(&p);
	if (p.s.saying_hello)
		play_hello(&p, &play_epoch, 0);
	assert_false(play_did(&p, SENDER_SEND_PIECE));
	p.now += 2000;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_SEND_PIECE));
	/* hello itself; whatever it says, ten minutes are the most. */
	sender_hello(&p.s);
	play_tick(&p);
	say(&p, SENDER_HELLO, 503, 1000000);
	p.now += 599000;
	play_tick(&p);
	assert_false(play_did(&p, SENDER_SAY_HELLO));
	p.now += 2000;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_SAY_HELLO));
}

static void
hello_of_full(struct play *p, uint32_t closed)
{
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = SENDER_HELLO,
				  .status = 200,
				  .ours = true,
				  .agrees = true,
				  .number = p->head,
				  .closed = closed,
				  .epoch = play_epoch};

	play_step(p, &ev);
}

/* A lane that is closed neither packs nor sends; the others go on, and the ledger always. */
static void
sender_step__R12_closed_lanes_rest_until_central_opens_them(void **state)
{
	struct play p;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	p.lane = LANE_BACKFILL;
	play_pack(&p, 0, 1 << 30, 10);
	play_answer(&p, SENDER_PIECE, 0, 507, 0);
	assert_true(play_did(&p, SENDER_SAY_HELLO)); /* which lanes are they? */
	hello_of_full(&p, 1u << LANE_BACKFILL);
	p.now += 31000;
	p.work = 100000;
	play_tick(&p);
	assert_false(play_did(&p, SENDER_SEND_PIECE) || play_did(&p, SENDER_MAKE_PACK));
	p.head = 11;
	p.lane = LANE_FRESH;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_SEND_LEDGER));
	play_answer(&p, SENDER_LEDGER, 0, 200, 11);
	play_pack(&p, 1, 5000, 10);
	assert_true(play_did(&p, SENDER_SEND_PIECE));
	hello_of_full(&p,
		      1u << LANE_BACKFILL | 1u << LANE_RESEND | 1u << LANE_FRESH | 1u << LANE_STAT);
	p.work = 100000;
	play_tick(&p);
	assert_false(play_did(&p, SENDER_MAKE_PACK));
	hello_of_full(&p, 0);
	assert_true(play_did(&p, SENDER_ASK_PLACES)); /* the one that was refused: how far is it? */
}

/* Hello passes, and the ledger, and no piece: a path MTU that nobody says, a proxy in between. */
static void
break_off(struct play *p)
{
	play_answer(p, SENDER_PIECE, 0, 0, 0);
	play_answer(p, SENDER_PIECE, 1, 0, 0); /* together with it: the same cut */
	play_hello(p, &play_epoch, 0);
}

static void
sender_cut_off__says_that_pieces_break_off_until_one_gets_through(void **state)
{
	struct play p;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_pack(&p, 0, 1 << 30, 10);
	play_pack(&p, 1, 1 << 30, 10);
	assert_false(sender_cut_off(&p.s, p.now));
	break_off(&p);
	assert_false(sender_cut_off(&p.s, p.now + SENDER_CUT_MS - 1)); /* one is chance */
	assert_true(sender_cut_off(&p.s, p.now + SENDER_CUT_MS));
	break_off(&p);
	assert_false(sender_cut_off(&p.s, p.now));
	break_off(&p);
	assert_true(sender_cut_off(&p.s, p.now));
	play_answer(&p, SENDER_PIECE, 0, 200, 1000);
	assert_false(sender_cut_off(&p.s, p.now + SENDER_CUT_MS));
	play_answer(&p, SENDER_PIECE, 0, 0, 0); /* what a link that is down cuts is no sign */
	play_answer(&p, SENDER_PIECE, 1, 0, 0);
	play_answer(&p, SENDER_HELLO, 0, 0, 0);
	play_answer(&p, SENDER_PIECE, 0, 0, 0);
	play_answer(&p, SENDER_PIECE, 1, 0, 0);
	assert_false(sender_cut_off(&p.s, p.now + SENDER_CUT_MS)); /* however long it was down */
}

/* A minute in which each pack may send a piece: of slot 0 none arrives, of slot 1 as said. */
static void
minute(struct play *p, int status)
{
	struct sender_event places = {
		.kind = SENDER_ANSWERED, .request = SENDER_PLACE, .status = 200, .ours = true};
	unsigned i;

	p->now += 61000;
	play_tick(p);
	if (p->s.saying_hello)
		play_hello(p, &play_epoch, 0);
	for (i = 0; i < SENDER_SLOTS; i++)
		if (p->s.slots[i].state == SLOT_ASKING) {
			places.slot |= 1u << i;
			places.places[i] = p->s.slots[i].offset;
		}
	if (places.slot)
		play_step(p, &places);
	if (p->s.slots[1].state == SLOT_SENDING)
		play_answer(p, SENDER_PIECE, 1, status, p->s.slots[1].offset + 1000);
	if (p->s.slots[0].state == SLOT_SENDING)
		play_answer(p, SENDER_PIECE, 0, 0, 0);
}

/* Something on the way cuts whoever sends these bytes. That a link is down is no reason. */
static void
sender_step__R17_what_never_gets_through_while_others_do_leaves_its_slot(void **state)
{
	struct play p;
	unsigned i;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_pack(&p, 0, 1 << 30, 10);
	play_pack(&p, 1, 1 << 30, 10);
	for (i = 0; i < 60; i++)
		minute(&p, 0);
	for (i = 0; i < 5; i++)
		minute(&p, 200);
	assert_int_not_equal(p.s.slots[0].state, SLOT_CLOSING);
	for (i = 0; i < 60 && p.s.slots[0].state != SLOT_CLOSING; i++)
		minute(&p, 200);
	assert_int_equal(p.s.slots[0].state, SLOT_CLOSING);
	assert_true(play_did(&p, SENDER_GIVE_UP));
	assert_int_not_equal(p.s.slots[1].state, SLOT_CLOSING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sender_step__Retry_After_is_kept_to_for_ten_minutes_at_most),
		cmocka_unit_test(
			sender_step__R17_what_never_gets_through_while_others_do_leaves_its_slot),
		cmocka_unit_test(sender_cut_off__says_that_pieces_break_off_until_one_gets_through),
		cmocka_unit_test(sender_step__R12_closed_lanes_rest_until_central_opens_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
