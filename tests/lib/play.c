#include "tests/lib/play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

const struct id128 play_epoch = {{1}};

void
play_begin(struct play *p)
{
	static const struct id128 none;

	memset(p, 0, sizeof(*p));
	sender_init(&p->s, &none, 0);
	p->now = 1000000;
	p->lane = LANE_FRESH;
}

bool
play_did(const struct play *p, enum sender_action_kind kind)
{
	unsigned i;

	for (i = 0; i < p->out.n; i++)
		if (p->out.a[i].kind == kind)
			return true;
	return false;
}

void
play_step(struct play *p, struct sender_event *ev)
{
	ev->now_ms = p->now;
	ev->head = p->head;
	ev->work[p->lane] = (struct sender_work){p->work, p->work * 1000, p->now - 5000, 0};
	sender_step(&p->s, ev, &p->out);
	assert_true(p->out.n < SENDER_ACTIONS);
	assert_true(p->out.wake_ms <= p->now + SENDER_HELLO_MS);
}

void
play_tick(struct play *p)
{
	struct sender_event ev = {.kind = SENDER_TIME};

	play_step(p, &ev);
}

void
play_answer(struct play *p, enum sender_request rq, unsigned slot, int status, uint64_t number)
{
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = rq,
				  .slot = slot,
				  .status = status,
				  .ours = true,
				  .agrees = true,
				  .number = number};

	ev.epoch = play_epoch;
	play_step(p, &ev);
}

void
play_hello(struct play *p, const struct id128 *epoch, uint64_t losses)
{
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = SENDER_HELLO,
				  .status = 200,
				  .ours = true,
				  .agrees = true,
				  .number = p->head,
				  .losses = losses};

	ev.epoch = *epoch;
	play_step(p, &ev);
}

void
play_applied(struct play *p)
{
	struct sender_event ev = {.kind = SENDER_APPLIED, .slot = p->s.round};

	play_step(p, &ev);
}

/* In contact, all compared, nothing to send. */
void
play_settle(struct play *p, uint64_t head)
{
	p->head = head;
	play_tick(p);
	play_hello(p, &play_epoch, 0);
	play_tick(p);
	play_answer(p, SENDER_ASK, p->s.round, 200, head);
	play_applied(p);
	assert_int_equal(p->s.announced, head);
}

void
play_pack(struct play *p, unsigned slot, uint64_t size, uint64_t last)
{
	struct sender_event ev = {.kind = SENDER_PACKED, .slot = slot, .size = size, .last = last};

	unsigned i;

	p->work = 100000;
	for (i = 0; i < 100 && p->s.slots[slot].state != SLOT_PACKING; i++) {
		p->now += 1000;
		play_tick(p);
	}
	assert_int_equal(p->s.slots[slot].state, SLOT_PACKING);
	p->work = 0;
	play_step(p, &ev);
}
