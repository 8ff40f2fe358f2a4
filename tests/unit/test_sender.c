/* The sender as the pure machine it is: events in, actions out (R5, R22). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/sender.h"
#include "tests/lib/play.h"

static const struct id128 epoch_b = {{2}};

/* Which action comes where; -1: it does not. */
static int
where(const struct play *p, enum sender_action_kind kind)
{
	unsigned i;

	for (i = 0; i < p->out.n; i++)
		if (p->out.a[i].kind == kind)
			return (int)i;
	return -1;
}

/*
 * An entry leaves in the very step that sees it, before anything else of that step, with
 * every slot busy, failed or waiting and a long answer being applied: that, not a clock,
 * is what keeps "at central within 100 ms of the commit".
 */
static void
sender_step__R7_the_ledger_waits_for_nothing_that_is_queued(void **state)
{
	struct play p;
	unsigned i;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	for (i = 0; i < STEER_FEW; i++)
		play_pack(&p, i, 1 << 30, 10);
	play_answer(&p, SENDER_PIECE, 1, 507, 0); /* one waits for room, one for a faulty central */
	play_answer(&p, SENDER_PIECE, 2, 500, 0);
	play_hello(&p, &play_epoch, 1); /* a loss: the whole ledger is compared again */
	assert_true(play_did(&p, SENDER_ASK_HOLDINGS));
	play_answer(&p, SENDER_ASK, p.s.round, 200, 5);
	assert_true(play_did(&p, SENDER_APPLY_HOLDINGS));
	p.head = 11;
	p.work = 100000;
	play_answer(&p, SENDER_PIECE, 0, 200, 1 << 20);
	assert_int_equal(where(&p, SENDER_SEND_LEDGER), 0);
	assert_true(where(&p, SENDER_SEND_PIECE) > 0);
	assert_int_equal(p.out.a[0].number, 11);
}

/* On a slow line an image does not wait for entries of a thousand others. */
static void
sender_step__R7_a_request_with_entries_takes_two_seconds_of_the_line(void **state)
{
	static const struct {
		uint64_t sent, ms, wanted;
	} lines[] = {{SENDER_LEDGER_FIRST, 1000, 2 * SENDER_LEDGER_FIRST},
		     {SENDER_LEDGER_FIRST, 60000, SENDER_LEDGER_MIN},
		     {1 << 20, 4000, 512 << 10},
		     {SENDER_LEDGER_FIRST, 0, SENDER_LEDGER_MAX},
		     {500, 200, SENDER_LEDGER_MAX}}; /* a few entries say little */
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = SENDER_LEDGER,
				  .status = 200,
				  .ours = true,
				  .agrees = true};
	struct play p;
	size_t i;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	p.head = 100000;
	play_tick(&p);
	assert_int_equal(p.out.a[0].kind, SENDER_SEND_LEDGER);
	assert_int_equal(p.out.a[0].count, SENDER_LEDGER_FIRST);
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		ev.number = p.s.announced + 100;
		ev.sent = lines[i].sent;
		ev.ms = lines[i].ms;
		play_step(&p, &ev);
		assert_int_equal(p.out.a[0].kind, SENDER_SEND_LEDGER);
		assert_int_equal(p.out.a[0].count, lines[i].wanted);
	}
}

/* A piece whose connection broke: hello in the same step, the ledger with its answer. */
static void
sender_step__R7_a_broken_upload_does_not_hold_the_ledger_up(void **state)
{
	struct play p;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_pack(&p, 0, 1 << 30, 10);
	p.head = 11;
	play_answer(&p, SENDER_PIECE, 0, 0, 0);
	assert_true(play_did(&p, SENDER_SAY_HELLO));
	p.head = 10; /* central's answer speaks of what it has */
	play_hello(&p, &play_epoch, 0);
	p.head = 11;
	play_tick(&p);
	assert_int_equal(where(&p, SENDER_SEND_LEDGER), 0);
	/* When hello is not answered either, it is said every 1 to 3 s. */
	play_answer(&p, SENDER_LEDGER, 0, 0, 0);
	assert_true(play_did(&p, SENDER_SAY_HELLO));
	play_answer(&p, SENDER_HELLO, 0, 0, 0);
	assert_false(play_did(&p, SENDER_SAY_HELLO));
	assert_in_range(p.out.wake_ms, p.now + 1000, p.now + 3000);
}

static void
sender_step__R14_packs_under_way_are_asked_about_in_one_request(void **state)
{
	struct sender_event ev = {
		.kind = SENDER_ANSWERED, .request = SENDER_PLACE, .status = 200, .ours = true};
	struct play p;
	unsigned slot, i;

	(void)state;
	play_begin(&p);
	for (i = 0; i < 3; i++)
		assert_true(sender_resume(&p.s, &slot, 5000, 10, LANE_FRESH));
	play_settle(&p, 10);
	assert_int_equal(p.s.slots[0].state, SLOT_ASKING);
	assert_int_equal(p.s.slots[2].state, SLOT_ASKING);
	ev.slot = 7;
	ev.places[0] = 3000;
	ev.places[1] = SENDER_NO_UPLOAD;
	ev.places[2] = SENDER_WHOLE;
	play_step(&p, &ev);
	assert_int_equal(p.out.n, 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(p.out.a[i].kind, SENDER_SEND_PIECE);
		assert_int_equal(p.out.a[i].slot, 2 - i); /* what was packed last goes first */
	}
	assert_int_equal(p.out.a[2].number, 3000);
	assert_int_equal(p.out.a[2].count, 2000);
	assert_false(p.out.a[2].first); /* central has the manifest */
	assert_int_equal(p.out.a[1].number, 0);
	assert_true(p.out.a[1].first); /* the manifest is the head of the first PATCH */
	assert_int_equal(p.out.a[0].count, 0);
	assert_true(p.out.a[0].first); /* it alone gives the receipt */
}

/* What counts is what was on the wire, whatever it was before it was compressed. */
static void
sender_step__a_piece_is_as_long_as_the_wire_takes_250_ms(void **state)
{
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = SENDER_PIECE,
				  .status = 200,
				  .ours = true,
				  .steady = true,
				  .rtt_ms = 30,
				  .sent = STEER_FIRST,
				  .ms = 1000};
	struct play p;
	unsigned i, slot;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	for (i = 0; i < STEER_FEW; i++)
		play_pack(&p, i, UINT64_C(1) << 30, 10);
	assert_int_equal(p.s.steer.link, 0); /* nothing is known yet */
	for (i = 0; i < 200; i++) { /* each piece has crossed 250 ms after the one before it */
		p.now += 250;
		ev.slot = slot = i % STEER_FEW;
		ev.number = p.s.slots[slot].offset + 300000;
		ev.sent = 300000;
		play_step(&p, &ev);
		assert_int_equal(p.out.a[0].kind, SENDER_SEND_PIECE);
		assert_int_equal(p.out.a[0].number, ev.number);
		assert_int_equal(p.out.a[0].most, STEER_PIECE_MAX);
	}
	assert_int_equal(p.s.steer.link / 100000, 12);
	assert_in_range(p.out.a[0].count, 300000 * 9 / 16 - 3000, 303000);
	ev.number = (1 << 30) - 600000;
	play_step(&p, &ev);
	assert_int_equal(p.out.a[0].most, 600000);
	assert_int_equal(p.s.steer.under_way, STEER_FEW);
	ev.status = 0; /* nothing of it is under way any more */
	play_step(&p, &ev);
	assert_int_equal(p.s.steer.under_way, STEER_FEW - 1);
}

/* A fast link takes 32 at once, a slow one fewer; what is under way is not cut. */
static void
sender_connections__bounds_the_pieces_on_the_link_in_turn(void **state)
{
	struct sender_event ev = {
		.kind = SENDER_ANSWERED, .request = SENDER_PLACE, .status = 200, .ours = true};
	unsigned i, slot, last = SENDER_SLOTS - 1, sent[SENDER_SLOTS] = {0};
	struct play p;

	(void)state;
	play_begin(&p);
	for (i = 0; i < SENDER_SLOTS; i++)
		assert_true(sender_resume(&p.s, &slot, UINT64_C(1) << 40, 10, LANE_FRESH));
	assert_false(sender_resume(&p.s, &slot, 5000, 10, LANE_FRESH));
	play_settle(&p, 10);
	ev.slot = UINT32_MAX;
	play_step(&p, &ev);
	assert_int_equal(p.out.n, STEER_FEW);
	sender_connections(&p.s, 99);
	play_tick(&p);
	assert_int_equal(p.out.n, SENDER_SLOTS - STEER_FEW);
	p.work = 100000;
	p.now += 2000;
	play_tick(&p);
	assert_false(play_did(&p, SENDER_MAKE_PACK)); /* no slot is left */
	sender_connections(&p.s, 0);
	for (i = 0; i + 1 < SENDER_SLOTS; i++) {
		play_answer(&p, SENDER_PIECE, i, 200, 1);
		assert_false(play_did(&p, SENDER_SEND_PIECE));
	}
	for (i = 0; i < SENDER_SLOTS; i++) { /* one at a time from here on */
		play_answer(&p, SENDER_PIECE, last, 200, p.s.slots[last].offset + 1);
		assert_int_equal(p.out.n, 1);
		assert_int_equal(p.out.a[0].kind, SENDER_SEND_PIECE);
		last = p.out.a[0].slot;
		sent[last]++;
	}
	for (i = 0; i < SENDER_SLOTS; i++)
		assert_int_equal(sent[i], 1);
}

static void
sender_step__R7_a_pack_waits_until_a_new_central_has_its_entries(void **state)
{
	struct play p;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_pack(&p, 0, 5000, 8);
	play_answer(&p, SENDER_PIECE, 0, 0, 0);
	p.head = 0; /* what the new central has */
	play_hello(&p, &epoch_b, 0);
	p.head = 10;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_SEND_LEDGER));
	play_answer(&p, SENDER_LEDGER, 0, 200, 7);
	assert_false(play_did(&p, SENDER_ASK_PLACES) || play_did(&p, SENDER_SEND_PIECE));
	play_answer(&p, SENDER_LEDGER, 0, 200, 10);
	assert_true(play_did(&p, SENDER_ASK_PLACES));
}

/* A new central's long round of holdings: fresh images go meanwhile, they cannot be there. What was
 * at a central once waits for its answer, but for what came since. */
static void
sender_step__R22_fresh_images_flow_while_the_ledger_is_compared(void **state)
{
	struct play p;
	int i;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_hello(&p, &epoch_b, 0);
	p.now += 2000;
	p.work = 100000;
	play_tick(&p);
	i = where(&p, SENDER_MAKE_PACK);
	assert_true(i >= 0);
	assert_int_equal(p.out.a[i].lane, LANE_FRESH);
	assert_int_equal(p.out.a[i].number, 0);
	play_begin(&p);
	play_settle(&p, 10);
	p.lane = LANE_BACKFILL;
	play_hello(&p, &epoch_b, 0);
	p.now += 2000;
	p.work = 100000;
	play_tick(&p);
	i = where(&p, SENDER_MAKE_PACK);
	assert_true(i >= 0);
	assert_int_equal(p.out.a[i].lane, LANE_BACKFILL);
	assert_int_equal(p.out.a[i].number, 10); /* only what is above */
	/* After a restart in the middle of it as well: what is owed is not known yet. */
	sender_init(&p.s, &epoch_b, UINT64_MAX);
	play_hello(&p, &epoch_b, 0);
	i = where(&p, SENDER_MAKE_PACK);
	assert_true(i >= 0);
	assert_int_equal(p.out.a[i].number, 10);
}

/* There was nothing to pack yet; then it was compared, or announced: no second is lost. */
static void
sender_step__R7_what_may_be_packed_now_is_packed_now(void **state)
{
	struct sender_event nothing = {.kind = SENDER_PACKED};
	struct play p;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_hello(&p, &play_epoch, 1);
	p.work = 100000;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_MAKE_PACK));
	play_step(&p, &nothing);
	assert_false(play_did(&p, SENDER_MAKE_PACK));
	play_tick(&p);
	assert_false(play_did(&p, SENDER_MAKE_PACK));
	play_answer(&p, SENDER_ASK, p.s.round, 200, 10);
	play_applied(&p);
	assert_true(play_did(&p, SENDER_MAKE_PACK));
	play_step(&p, &nothing);
	p.head = 11;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_SEND_LEDGER));
	assert_false(play_did(&p, SENDER_MAKE_PACK));
	play_answer(&p, SENDER_LEDGER, 0, 200, 11);
	assert_true(play_did(&p, SENDER_MAKE_PACK));
}

static void
sender_step__R17_what_fails_for_its_own_sake_leaves_its_slot(void **state)
{
	static const int statuses[] = {400, 413, 500};
	struct play p;
	unsigned i, k, tries;

	(void)state;
	for (i = 0; i < 3; i++) {
		play_begin(&p);
		play_settle(&p, 10);
		play_pack(&p, 0, 5000, 8);
		for (tries = 1; tries < 100; tries++) {
			play_answer(&p, SENDER_PIECE, 0, statuses[i], 0);
			if (play_did(&p, SENDER_GIVE_UP))
				break;
			for (k = 0; k < 100 && p.s.slots[0].state != SLOT_ASKING; k++) {
				p.now += 1000;
				play_tick(&p);
				if (p.s.saying_hello)
					play_hello(&p, &play_epoch, 0);
			}
			p.s.slots[0].state = SLOT_SENDING;
		}
		assert_in_range(tries, 3, 20);
		/* 5xx for everything is central's; a refusal is the pack's. */
		assert_int_equal(p.out.a[0].number, statuses[i] >= 500);
	}
	/* No room, and not announced, are no fault of the pack. */
	play_begin(&p);
	play_settle(&p, 10);
	play_pack(&p, 0, 5000, 8);
	for (i = 0; i < 100; i++) {
		play_answer(&p, SENDER_PIECE, 0, i % 2 ? 507 : 412, 0);
		assert_false(play_did(&p, SENDER_GIVE_UP));
		p.s.slots[0].state = SLOT_SENDING;
	}
}

/* Central says yes each time; it is our own disk that cannot note it. */
static void
sender_step__a_receipt_that_cannot_be_noted_is_asked_for_ever_more_seldom(void **state)
{
	struct sender_event yes = {.kind = SENDER_ANSWERED, .request = SENDER_PIECE, .status = 200};
	struct sender_event place = {.kind = SENDER_ANSWERED,
				     .request = SENDER_PLACE,
				     .slot = 1,
				     .status = 200,
				     .ours = true,
				     .places = {SENDER_WHOLE}};
	struct sender_event no = {.kind = SENDER_FAILED};
	struct play p;
	unsigned asked = 0;
	int64_t until;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_pack(&p, 0, 1000, 10);
	yes.ours = yes.receipted = true;
	yes.number = 1000;
	for (until = p.now + 3600000; p.now < until; p.now += 1000) {
		yes.jitter = no.jitter = UINT64_MAX; /* the longest wait each time */
		play_tick(&p);
		if (play_did(&p, SENDER_SAY_HELLO))
			play_hello(&p, &play_epoch, 0);
		if (play_did(&p, SENDER_ASK_PLACES))
			play_step(&p, &place);
		if (p.s.slots[0].state != SLOT_SENDING)
			continue;
		asked++;
		play_step(&p, &yes);
		assert_true(play_did(&p, SENDER_TAKE_RECEIPT));
		play_step(&p, &no);
	}
	assert_true(asked > 10); /* for ever, ... */
	assert_true(asked < 400);
}

static void
sender_step__R22_a_new_epoch_compares_everything_once(void **state)
{
	struct play p;

	(void)state;
	play_begin(&p);
	p.head = 10;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_SAY_HELLO));
	play_hello(&p, &play_epoch, 0);
	assert_true(play_did(&p, SENDER_NEW_EPOCH));
	assert_false(play_did(&p, SENDER_ASK_HOLDINGS)); /* not before the epoch is committed */
	p.head = 12;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_SEND_LEDGER));
	play_answer(&p, SENDER_LEDGER, 0, 200, 12);
	assert_true(play_did(&p, SENDER_ASK_HOLDINGS));
	play_answer(&p, SENDER_ASK, p.s.round, 200, 12);
	assert_true(play_did(&p, SENDER_APPLY_HOLDINGS));
	assert_true(sender_comparing(&p.s));
	assert_true(p.out.a[0].whole && p.out.a[0].last);
	assert_int_equal(p.out.a[0].count, 12);
	play_applied(&p);
	assert_false(sender_comparing(&p.s));
	play_hello(&p, &play_epoch, 0);
	assert_false(play_did(&p, SENDER_NEW_EPOCH));
	play_hello(&p, &epoch_b, 0);
	assert_true(play_did(&p, SENDER_NEW_EPOCH));
}

static void
sender_step__R22_an_answer_of_an_earlier_round_is_dropped(void **state)
{
	struct play p;
	unsigned round;

	(void)state;
	play_begin(&p);
	p.head = 10;
	play_tick(&p);
	play_hello(&p, &play_epoch, 0);
	play_tick(&p);
	assert_true(play_did(&p, SENDER_ASK_HOLDINGS));
	round = p.s.round;
	play_hello(&p, &epoch_b, 0);
	play_answer(&p, SENDER_ASK, round, 200, 10);
	assert_false(play_did(&p, SENDER_APPLY_HOLDINGS));
	assert_true(play_did(&p, SENDER_ASK_HOLDINGS)); /* of the new round */
}

/* The round goes on to its end, and what it found is sent, however often central loses more. */
static void
sender_step__R19_losses_during_a_round_are_looked_for_after_it(void **state)
{
	struct play p;
	unsigned round;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	play_hello(&p, &play_epoch, 1);
	assert_true(play_did(&p, SENDER_ASK_HOLDINGS));
	round = p.s.round;
	play_answer(&p, SENDER_ASK, round, 200, 5);
	assert_true(play_did(&p, SENDER_APPLY_HOLDINGS));
	play_hello(&p, &play_epoch, 2);
	play_hello(&p, &play_epoch, 3);
	assert_int_equal(p.s.round, round);
	play_applied(&p);
	assert_true(play_did(&p, SENDER_ASK_HOLDINGS));
	play_answer(&p, SENDER_ASK, round, 200, 5);
	assert_true(p.out.a[0].last);
	assert_int_equal(p.s.compared_with, 1); /* a restart now compares again */
	play_applied(&p);
	assert_int_not_equal(p.s.round, round);
	assert_true(sender_comparing(&p.s));
	assert_true(play_did(&p, SENDER_ASK_HOLDINGS));
	p.work = 100000;
	p.now += 2000;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_MAKE_PACK)); /* also of what the first round found */
	assert_int_equal(p.out.a[where(&p, SENDER_MAKE_PACK)].number, 0);
	play_answer(&p, SENDER_ASK, p.s.round, 200, 10);
	assert_int_equal(p.s.compared_with, 3);
	play_applied(&p);
	assert_false(sender_comparing(&p.s));
}

/* What `resync` asks for: a round of its own, from the first entry on, that holds no pack up. */
static void
sender_compare__R19_asks_for_the_whole_ledger_and_packs_go_on(void **state)
{
	struct play p;
	unsigned round;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	sender_compare(&p.s);
	assert_true(sender_comparing(&p.s));
	play_tick(&p);
	assert_true(play_did(&p, SENDER_ASK_HOLDINGS));
	assert_int_equal(p.out.a[where(&p, SENDER_ASK_HOLDINGS)].number, 1);
	assert_int_equal(p.out.a[where(&p, SENDER_ASK_HOLDINGS)].count, 10);
	p.work = 100000;
	p.now += 2000;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_MAKE_PACK));
	assert_int_equal(p.out.a[where(&p, SENDER_MAKE_PACK)].number, 0);
	/* Asked for while a round is under way: that one says nothing of now. */
	round = p.s.round;
	sender_compare(&p.s);
	play_answer(&p, SENDER_ASK, round, 200, 10);
	assert_false(play_did(&p, SENDER_APPLY_HOLDINGS));
	play_tick(&p);
	play_answer(&p, SENDER_ASK, p.s.round, 200, 10);
	assert_true(play_did(&p, SENDER_APPLY_HOLDINGS));
	assert_true(p.out.a[where(&p, SENDER_APPLY_HOLDINGS)].whole);
	assert_true(p.out.a[where(&p, SENDER_APPLY_HOLDINGS)].last);
	play_applied(&p);
	assert_false(sender_comparing(&p.s));
}

static void
sender_compare__R19_waits_for_a_hello_and_for_the_ledger(void **state)
{
	struct play p;

	(void)state;
	play_begin(&p);
	play_settle(&p, 10);
	sender_forget(&p.s);
	sender_compare(&p.s);
	p.head = 12;
	play_tick(&p);
	assert_false(play_did(&p, SENDER_ASK_HOLDINGS));
	p.head = 10; /* as central knows it */
	play_hello(&p, &play_epoch, 0);
	p.head = 12;
	play_tick(&p);
	assert_false(play_did(&p, SENDER_ASK_HOLDINGS) && p.s.announced < p.s.ask_until);
	play_answer(&p, SENDER_LEDGER, 0, 200, 12);
	assert_true(sender_comparing(&p.s));
	assert_true(p.s.asking);
}

static uint64_t
asked_for(struct play *p)
{
	play_tick(p);
	assert_true(play_did(p, SENDER_ASK_HOLDINGS));
	return p->out.a[where(p, SENDER_ASK_HOLDINGS)].count;
}

/* All at once; where the link never carries such an answer, in parts that it does. */
static void
sender_compare__R19_asks_about_ten_million_entries_in_one_request(void **state)
{
	enum { HEAD = 10000000 };
	struct play p;
	unsigned i;

	(void)state;
	play_begin(&p);
	play_settle(&p, HEAD);
	sender_compare(&p.s);
	assert_int_equal(asked_for(&p), HEAD);
	for (i = 0; i < 6; i++) {
		play_answer(&p, SENDER_ASK, p.s.round, 0, 0);
		play_hello(&p, &play_epoch, 0);
		assert_true(p.s.asking);
	}
	play_answer(&p, SENDER_ASK, p.s.round, 200, SENDER_HOLDINGS_MIN);
	play_applied(&p);
	assert_int_equal(p.out.a[where(&p, SENDER_ASK_HOLDINGS)].number, SENDER_HOLDINGS_MIN + 1);
	assert_int_equal(p.out.a[where(&p, SENDER_ASK_HOLDINGS)].count, SENDER_HOLDINGS_MIN);
}

static void
sender_step__says_hello_each_minute_however_busy_it_is(void **state)
{
	struct play p;
	unsigned i, hellos = 0;

	(void)state;
	play_begin(&p);
	p.head = 10;
	play_tick(&p);
	play_hello(&p, &play_epoch, 0);
	play_tick(&p);
	play_answer(&p, SENDER_ASK, p.s.round, 200, 10);
	p.work = 100000;
	play_tick(&p);
	assert_true(play_did(&p, SENDER_MAKE_PACK));
	for (i = 0; i < 600; i++) { /* ten minutes of pieces, one a second */
		struct sender_event packed = {.kind = SENDER_PACKED, .size = 1 << 30};

		p.now += 1000;
		if (i == 0)
			play_step(&p, &packed);
		else
			play_answer(&p, SENDER_PIECE, 0, 200, i * 1000);
		if (play_did(&p, SENDER_SAY_HELLO)) {
			hellos++;
			play_hello(&p, &play_epoch, 0);
		}
	}
	assert_in_range(hellos, 8, 11);
}

/* Whatever is answered, in whatever order: something is always due within a minute. */
static void
sender_step__never_gets_stuck(void **state)
{
	static const int statuses[] = {0, 200, 400, 403, 409, 412, 413, 422, 500, 503, 507};
	enum { N = sizeof(statuses) / sizeof(statuses[0]) };
	unsigned seed, i;

	(void)state;
	for (seed = 0; seed < 500; seed++) {
		struct play p;
		unsigned x = seed * 2654435761u + 1, hellos = 0;

		play_begin(&p);
		p.head = 5;
		p.work = 10;
		for (i = 0; i < 200; i++) {
			struct sender_event ev = {.kind = SENDER_ANSWERED};

			x = x * 1664525u + 1013904223u;
			ev.request = (enum sender_request)(1 + (x >> 8) % 6);
			ev.slot = (x >> 12) % SENDER_SLOTS;
			ev.status = statuses[(x >> 16) % N];
			ev.ours = (x >> 20) % 4 != 0;
			ev.agrees = (x >> 22) % 4 != 0;
			ev.epoch = (x >> 24) % 8 ? play_epoch : epoch_b;
			ev.jitter = x;
			if (ev.request == SENDER_ASK)
				ev.slot = p.s.round;
			play_step(&p, &ev);
			p.now += 100;
		}
		/* Then a good central: everything is answered, time goes on. */
		for (i = 0; i < 200 && !p.s.reachable; i++) {
			p.now += 1000;
			play_tick(&p);
			if (play_did(&p, SENDER_SAY_HELLO) || p.s.saying_hello) {
				hellos++;
				play_hello(&p, &play_epoch, 0);
			}
		}
		if (!p.s.reachable)
			fail_msg("seed %u: no hello was said any more (%u)", seed, hellos);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			sender_step__a_receipt_that_cannot_be_noted_is_asked_for_ever_more_seldom),
		cmocka_unit_test(sender_step__R22_a_new_epoch_compares_everything_once),
		cmocka_unit_test(sender_step__R22_an_answer_of_an_earlier_round_is_dropped),
		cmocka_unit_test(sender_step__R19_losses_during_a_round_are_looked_for_after_it),
		cmocka_unit_test(sender_compare__R19_asks_for_the_whole_ledger_and_packs_go_on),
		cmocka_unit_test(sender_compare__R19_waits_for_a_hello_and_for_the_ledger),
		cmocka_unit_test(sender_compare__R19_asks_about_ten_million_entries_in_one_request),
		cmocka_unit_test(sender_step__says_hello_each_minute_however_busy_it_is),
		cmocka_unit_test(sender_step__never_gets_stuck),
		cmocka_unit_test(sender_step__R7_the_ledger_waits_for_nothing_that_is_queued),
		cmocka_unit_test(
			sender_step__R7_a_request_with_entries_takes_two_seconds_of_the_line),
		cmocka_unit_test(sender_step__R7_a_broken_upload_does_not_hold_the_ledger_up),
		cmocka_unit_test(sender_step__R14_packs_under_way_are_asked_about_in_one_request),
		cmocka_unit_test(sender_step__a_piece_is_as_long_as_the_wire_takes_250_ms),
		cmocka_unit_test(sender_connections__bounds_the_pieces_on_the_link_in_turn),
		cmocka_unit_test(sender_step__R7_a_pack_waits_until_a_new_central_has_its_entries),
		cmocka_unit_test(sender_step__R22_fresh_images_flow_while_the_ledger_is_compared),
		cmocka_unit_test(sender_step__R7_what_may_be_packed_now_is_packed_now),
		cmocka_unit_test(sender_step__R17_what_fails_for_its_own_sake_leaves_its_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
