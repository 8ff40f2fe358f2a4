/* The sender as the pure machine it is: events in, actions out (R5, R22). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/sender.h"

static const struct id128 none, epoch_a = {{1}}, epoch_b = {{2}};

struct play {
	struct sender s;
	struct sender_actions out;
	int64_t now;
	uint64_t head, work;
};

static void
begin(struct play *p)
{
	memset(p, 0, sizeof(*p));
	sender_init(&p->s, &none, 0);
	p->now = 1000000;
}

static bool
did(const struct play *p, enum sender_action_kind kind)
{
	unsigned i;

	for (i = 0; i < p->out.n; i++)
		if (p->out.a[i].kind == kind)
			return true;
	return false;
}

static void
step(struct play *p, struct sender_event *ev)
{
	ev->now_ms = p->now;
	ev->head = p->head;
	ev->work_count = p->work;
	ev->work_bytes = p->work * 1000;
	ev->work_since_ms = p->now - 5000;
	sender_step(&p->s, ev, &p->out);
	assert_true(p->out.n < SENDER_ACTIONS);
	assert_true(p->out.wake_ms <= p->now + SENDER_HELLO_MS);
}

static void
tick(struct play *p)
{
	struct sender_event ev = {.kind = SENDER_TIME};

	step(p, &ev);
}

static void
answer(struct play *p, enum sender_request rq, unsigned slot, int status, uint64_t number)
{
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = rq,
				  .slot = slot,
				  .status = status,
				  .ours = true,
				  .agrees = true,
				  .number = number};

	ev.epoch = epoch_a;
	step(p, &ev);
}

static void
hello(struct play *p, const struct id128 *epoch, uint64_t losses)
{
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = SENDER_HELLO,
				  .status = 200,
				  .ours = true,
				  .agrees = true,
				  .number = p->head,
				  .losses = losses};

	ev.epoch = *epoch;
	step(p, &ev);
}

static void
sender_step__R22_a_new_epoch_compares_everything_once(void **state)
{
	struct play p;

	(void)state;
	begin(&p);
	p.head = 10;
	tick(&p);
	assert_true(did(&p, SENDER_SAY_HELLO));
	hello(&p, &epoch_a, 0);
	assert_true(did(&p, SENDER_NEW_EPOCH));
	assert_false(did(&p, SENDER_ASK_HOLDINGS)); /* not before the epoch is committed */
	p.head = 12;
	tick(&p);
	assert_true(did(&p, SENDER_SEND_LEDGER));
	answer(&p, SENDER_LEDGER, 0, 200, 12);
	assert_true(did(&p, SENDER_ASK_HOLDINGS));
	answer(&p, SENDER_ASK, p.s.round, 200, 12);
	assert_true(did(&p, SENDER_APPLY_HOLDINGS));
	assert_true(p.out.a[0].whole && p.out.a[0].last);
	assert_int_equal(p.out.a[0].count, 12);
	hello(&p, &epoch_a, 0);
	assert_false(did(&p, SENDER_NEW_EPOCH));
	hello(&p, &epoch_b, 0);
	assert_true(did(&p, SENDER_NEW_EPOCH));
}

static void
sender_step__R22_an_answer_of_an_earlier_round_is_dropped(void **state)
{
	struct play p;
	unsigned round;

	(void)state;
	begin(&p);
	p.head = 10;
	tick(&p);
	hello(&p, &epoch_a, 0);
	tick(&p);
	assert_true(did(&p, SENDER_ASK_HOLDINGS));
	round = p.s.round;
	hello(&p, &epoch_b, 0);
	answer(&p, SENDER_ASK, round, 200, 10);
	assert_false(did(&p, SENDER_APPLY_HOLDINGS));
	assert_true(did(&p, SENDER_ASK_HOLDINGS)); /* of the new round */
}

static void
sender_step__says_hello_each_minute_however_busy_it_is(void **state)
{
	struct play p;
	unsigned i, hellos = 0;

	(void)state;
	begin(&p);
	p.head = 10;
	tick(&p);
	hello(&p, &epoch_a, 0);
	tick(&p);
	answer(&p, SENDER_ASK, p.s.round, 200, 10);
	p.work = 100000;
	tick(&p);
	assert_true(did(&p, SENDER_MAKE_PACK));
	for (i = 0; i < 600; i++) { /* ten minutes of pieces, one a second */
		struct sender_event packed = {.kind = SENDER_PACKED, .size = 1 << 30};

		p.now += 1000;
		if (i == 0)
			step(&p, &packed);
		else
			answer(&p, SENDER_PIECE, 0, 200, i * 1000);
		if (did(&p, SENDER_SAY_HELLO)) {
			hellos++;
			hello(&p, &epoch_a, 0);
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

		begin(&p);
		p.head = 5;
		p.work = 10;
		for (i = 0; i < 200; i++) {
			struct sender_event ev = {.kind = SENDER_ANSWERED};

			x = x * 1664525u + 1013904223u;
			ev.request = (enum sender_request)(1 + (x >> 8) % 5);
			ev.slot = (x >> 12) % SENDER_SLOTS;
			ev.status = statuses[(x >> 16) % N];
			ev.ours = (x >> 20) % 4 != 0;
			ev.agrees = (x >> 22) % 4 != 0;
			ev.epoch = (x >> 24) % 8 ? epoch_a : epoch_b;
			ev.jitter = x;
			if (ev.request == SENDER_ASK)
				ev.slot = p.s.round;
			step(&p, &ev);
			p.now += 100;
		}
		/* Then a good central: everything is answered, time goes on. */
		for (i = 0; i < 200 && !p.s.reachable; i++) {
			p.now += 1000;
			tick(&p);
			if (did(&p, SENDER_SAY_HELLO) || p.s.saying_hello) {
				hellos++;
				hello(&p, &epoch_a, 0);
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
		cmocka_unit_test(sender_step__R22_a_new_epoch_compares_everything_once),
		cmocka_unit_test(sender_step__R22_an_answer_of_an_earlier_round_is_dropped),
		cmocka_unit_test(sender_step__says_hello_each_minute_however_busy_it_is),
		cmocka_unit_test(sender_step__never_gets_stuck),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
