/* Whose turn it is: lanes alone, and the sender on a link of a given rate and delay. Time is
 * counted, not measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/lanes.h"
#include "proto/sender.h"

/* --- lanes alone --- */

/* Shares of 100,000 pieces by flows that always have some; each is the sum of all weights' part. */
static void
lanes_next__shares_by_weight_and_starves_none(void **state)
{
	unsigned fresh = lanes_flow(LANE_FRESH, false), old = lanes_flow(LANE_BACKFILL, false);
	unsigned huge = lanes_flow(LANE_BACKFILL, true), n[LANES_FLOWS] = {0}, i, gap = 0, last = 0;
	struct lanes l = {0};

	(void)state;
	for (i = 1; i <= 100000; i++) {
		unsigned f = lanes_next(&l, 1u << fresh | 1u << old | 1u << huge);

		n[f]++;
		lanes_sent(&l, f, 500000);
		if (f == huge) {
			gap = i - last > gap ? i - last : gap;
			last = i;
		}
	}
	assert_in_range(n[fresh], 100000 * 64 / 69 - 10, 100000 * 64 / 69 + 10);
	assert_in_range(n[old], 100000 * 4 / 69 - 10, 100000 * 4 / 69 + 10);
	assert_in_range(n[huge], 100000 / 69 - 10, 100000 / 69 + 10);
	assert_in_range(gap, 69, 72);
}

/* What had nothing to send is next when it has, whatever went meanwhile; it saved nothing. */
static void
lanes_next__who_had_nothing_is_next_and_has_saved_nothing(void **state)
{
	unsigned old = lanes_flow(LANE_BACKFILL, false), fresh = lanes_flow(LANE_FRESH, false);
	unsigned stat = lanes_flow(LANE_STAT, false), i, n = 0;
	struct lanes l = {0};

	(void)state;
	for (i = 0; i < 1000; i++)
		lanes_sent(&l, old, 8 << 20);
	assert_int_equal(lanes_next(&l, 1u << old | 1u << fresh), fresh);
	assert_int_equal(lanes_next(&l, 1u << old | 1u << fresh | 1u << stat), stat);
	for (i = 0; i < 1000; i++)
		lanes_sent(&l, fresh, 8 << 20);
	for (i = 0; i < 170; i++) { /* back-fill had waited; it gets its part, and no more */
		unsigned f = lanes_next(&l, 1u << old | 1u << fresh);

		n += f == old;
		lanes_sent(&l, f, 8 << 20);
	}
	assert_in_range(n, 10, 11);
}

/* --- the sender on a link --- */

enum { OBJECTS = 6000, PACK_MOST = 1000, PACK_BYTES = 8 << 20 };

struct object {
	uint64_t size;
	enum lane lane;
	int64_t born, packed, sent, done; /* ms; 0: not yet */
	unsigned slot;
};

struct world {
	struct sender s;
	struct sender_actions out;
	int64_t now, rtt;
	uint64_t rate; /* bytes per ms, of all pieces together */
	struct object o[OBJECTS];
	unsigned n, requests;
	struct flight { /* by slot */
		bool on;
		uint64_t left, count, number, size;
		int64_t begun, answer; /* answer: when it comes; 0: bytes are left */
	} f[SENDER_SLOTS];
	unsigned most;	      /* pieces at once */
	bool fresh;	      /* something came */
	uint64_t went[LANES]; /* bytes */
	bool limited;	      /* by the hour */
	uint64_t limit;	      /* bytes per second */
	int64_t limit_until;
};

static void carry_out(struct world *w);

static void
step(struct world *w, struct sender_event *ev)
{
	unsigned i;

	ev->now_ms = w->now;
	ev->head = w->n;
	ev->limited = w->limited;
	ev->limit = w->limit;
	ev->limit_until_ms = w->limit_until;
	memset(ev->work, 0, sizeof(ev->work));
	for (i = 0; i < w->n; i++) {
		struct sender_work *k = &ev->work[w->o[i].lane];

		k->newest = i + 1;
		if (w->o[i].packed)
			continue;
		k->since_ms = k->count++ ? k->since_ms : w->o[i].born;
		k->bytes += w->o[i].size;
	}
	sender_step(&w->s, ev, &w->out);
	carry_out(w);
}

static void
make_pack(struct world *w, const struct sender_action *a)
{
	struct sender_event ev = {.kind = SENDER_PACKED, .slot = a->slot};
	unsigned k, i, n = 0;

	for (k = 0; k < w->n && n < PACK_MOST && ev.size < PACK_BYTES; k++) {
		i = a->oldest ? k : w->n - 1 - k;
		if (w->o[i].packed || w->o[i].lane != a->lane || i + 1 <= a->number ||
		    (a->small && w->o[i].size > SENDER_LARGE))
			continue;
		if (n && ev.size + w->o[i].size > PACK_BYTES)
			break;
		w->o[i].packed = w->now;
		w->o[i].slot = a->slot;
		ev.size += w->o[i].size;
		ev.last = i + 1 > ev.last ? i + 1 : ev.last;
		n++;
	}
	w->f[a->slot].size = ev.size;
	step(w, &ev);
}

static void
send_piece(struct world *w, const struct sender_action *a)
{
	struct flight *f = &w->f[a->slot];
	unsigned i;

	assert_false(f->on); /* a pack holds one connection */
	*f = (struct flight){.on = true,
			     .left = a->count,
			     .count = a->count,
			     .number = a->number,
			     .size = f->size,
			     .begun = w->now};
	for (i = 0; i < w->n; i++)
		if (w->o[i].packed && !w->o[i].done && w->o[i].slot == a->slot && !w->o[i].sent)
			w->o[i].sent = w->now;
}

static void
carry_out(struct world *w)
{
	struct sender_actions out = w->out;
	unsigned i, k;

	for (i = 0; i < out.n; i++) {
		const struct sender_action *a = &out.a[i];
		struct sender_event ev = {
			.kind = SENDER_ANSWERED, .status = 200, .ours = true, .agrees = true};

		switch (a->kind) {
		case SENDER_SAY_HELLO: /* answered at once: no part in this */
		case SENDER_SEND_LEDGER:
			ev.request = a->kind == SENDER_SAY_HELLO ? SENDER_HELLO : SENDER_LEDGER;
			ev.epoch = (struct id128){{1}};
			ev.number = w->n;
			w->requests++;
			step(w, &ev);
			break;
		case SENDER_ASK_HOLDINGS:
			ev.request = SENDER_ASK;
			ev.slot = a->slot;
			ev.number = a->count;
			w->requests++;
			step(w, &ev);
			break;
		case SENDER_APPLY_HOLDINGS:
			ev = (struct sender_event){.kind = SENDER_APPLIED, .slot = a->slot};
			step(w, &ev);
			break;
		case SENDER_MAKE_PACK:
			make_pack(w, a);
			break;
		case SENDER_SEND_PIECE:
			w->requests++;
			send_piece(w, a);
			break;
		case SENDER_TAKE_RECEIPT:
			for (k = 0; k < w->n; k++)
				if (w->o[k].packed && !w->o[k].done && w->o[k].slot == a->slot)
					w->o[k].done = w->now;
			ev = (struct sender_event){.kind = SENDER_UNPACKED, .slot = a->slot};
			step(w, &ev);
			break;
		case SENDER_NEW_EPOCH:
			break;
		case SENDER_ASK_PLACES:
		case SENDER_UNPACK:
		case SENDER_GIVE_UP:
		case SENDER_TRY_LATE:
		case SENDER_STEPPED_BACK:
			fail();
		}
	}
}

static unsigned
on_the_link(const struct world *w)
{
	unsigned i, n = 0;

	for (i = 0; i < SENDER_SLOTS; i++)
		n += w->f[i].on && w->f[i].left > 0;
	return n;
}

static void
answer_piece(struct world *w, unsigned slot)
{
	struct flight *f = &w->f[slot];
	struct sender_event ev = {.kind = SENDER_ANSWERED,
				  .request = SENDER_PIECE,
				  .slot = slot,
				  .status = 200,
				  .ours = true,
				  .steady = true,
				  .rtt_ms = (unsigned)w->rtt,
				  .number = f->number + f->count,
				  .receipted = f->number + f->count == f->size,
				  .sent = f->count,
				  .ms = (uint64_t)(w->now - f->begun)};

	f->on = false;
	w->went[w->s.slots[slot].lane] += f->count;
	step(w, &ev);
}

/* A millisecond; pieces share the link alike. */
static void
tick(struct world *w)
{
	struct sender_event ev = {.kind = SENDER_TIME};
	unsigned i, n = on_the_link(w);

	w->now++;
	w->most = n > w->most ? n : w->most;
	for (i = 0; i < SENDER_SLOTS; i++) {
		struct flight *f = &w->f[i];

		if (!f->on || f->begun == w->now)
			continue;
		if (f->left) {
			f->left -= f->left < w->rate / n ? f->left : w->rate / n;
			f->answer = f->left ? 0 : w->now + w->rtt;
		}
		if (f->answer && f->answer <= w->now)
			answer_piece(w, i);
	}
	if (w->now >= w->out.wake_ms || w->fresh)
		step(w, &ev);
	w->fresh = false;
}

static unsigned
comes(struct world *w, enum lane lane, uint64_t size)
{
	assert_true(w->n < OBJECTS);
	w->o[w->n] = (struct object){.size = size, .lane = lane, .born = w->now};
	w->fresh = true;
	return w->n++;
}

static struct world *
begin(unsigned connections, uint64_t bits_per_second, int64_t rtt)
{
	struct world *w = calloc(1, sizeof(*w));
	static const struct id128 none;

	assert_non_null(w);
	sender_init(&w->s, &none, 0);
	sender_connections(&w->s, connections);
	w->now = 1000000;
	w->rtt = rtt;
	w->rate = bits_per_second / 8000;
	return w;
}

static void
run(struct world *w, int64_t ms)
{
	int64_t until = w->now + ms;

	while (w->now < until)
		tick(w);
}

/* From when its pack was made to when its bytes began to go. */
static int64_t
waited(const struct world *w, unsigned i)
{
	assert_true(w->o[i].sent);
	return w->o[i].sent - w->o[i].packed;
}

/*
 * With one connection only, too: the small object waits for the piece that is on the link, and
 * that is 250 ms of it. Both lanes are the same: what is taken in is fresh.
 */
static void
sender_step__a_2_GB_object_delays_a_5_KB_one_by_a_frame_at_most(void **state)
{
	static const unsigned connections[] = {1, 4, 16};
	static const uint64_t rates[] = {10000000, 100000000, 1000000000};
	unsigned c, r, k, large, small;

	(void)state;
	for (c = 0; c < 3; c++)
		for (r = 0; r < 3; r++) {
			struct world *w = begin(connections[c], rates[r], 5);
			uint64_t went;

			large = comes(w, LANE_FRESH, UINT64_C(2) << 30);
			run(w, 10000);
			assert_true(w->o[large].sent && w->most == 1); /* one connection */
			for (k = 0; k < 5; k++) {
				small = comes(w, LANE_FRESH, 5000);
				went = w->went[LANE_FRESH];
				run(w, 1000 + 300);
				assert_true(waited(w, small) <= STEER_PIECE_MS + 5);
				run(w, 300);
				assert_true(w->o[small].done);
				assert_true(w->o[large].done ||
					    w->went[LANE_FRESH] - went > rates[r] / 8 / 2);
			}
			free(w);
		}
}

/* Days of back-fill, and images that come: each goes next; back-fill has what is left. */
static void
sender_step__fresh_images_never_wait_behind_back_fill(void **state)
{
	unsigned i, fresh, c;

	(void)state;
	for (c = 1; c <= 16; c *= 4) {
		struct world *w = begin(c, 20000000, 200);

		for (i = 0; i < 1000; i++)
			comes(w, LANE_BACKFILL, 4 << 20);
		run(w, 10000);
		for (i = 0; i < 20; i++) {
			uint64_t before = w->went[LANE_BACKFILL];

			fresh = comes(w, LANE_FRESH, 500000);
			run(w, 4000);
			/* A piece is 250 ms and the way there and back long; shared by all. */
			assert_true(waited(w, fresh) <= 2 * (STEER_PIECE_MS + 200));
			assert_true(w->o[fresh].done);
			assert_true(w->went[LANE_BACKFILL] > before);
		}
		free(w);
	}
}

/* More fresh images than the link takes, for minutes: back-fill has its part of each of them. */
static void
sender_step__back_fill_never_starves(void **state)
{
	struct world *w = begin(4, 20000000, 30);
	unsigned i, k;

	(void)state;
	for (i = 0; i < 400; i++)
		comes(w, LANE_BACKFILL, 4 << 20);
	for (i = 0; i < 6; i++) {
		uint64_t old = w->went[LANE_BACKFILL], fresh = w->went[LANE_FRESH];

		for (k = 0; k < 60; k++) {
			comes(w, LANE_FRESH, 3 << 20);
			run(w, 1000);
		}
		old = w->went[LANE_BACKFILL] - old;
		fresh = w->went[LANE_FRESH] - fresh;
		if (old < fresh / 40 || old > fresh / 10)
			fail_msg("%llu bytes of back-fill, %llu fresh", (unsigned long long)old,
				 (unsigned long long)fresh);
	}
	free(w);
}

/* Before everything else: fresh images that fill the link, and packs of them that are open. */
static void
sender_step__stat_goes_before_fresh_images(void **state)
{
	struct world *w = begin(1, 10000000, 50);
	unsigned i, stat;

	(void)state;
	for (i = 0; i < 1000; i++)
		comes(w, LANE_FRESH, 1 << 20);
	run(w, 10000);
	for (i = 0; i < 10; i++) {
		stat = comes(w, LANE_STAT, 500000);
		comes(w, LANE_FRESH, 1 << 20);
		run(w, 3000);
		assert_true(waited(w, stat) <= STEER_PIECE_MS + 100);
		assert_true(w->o[stat].done);
	}
	free(w);
}

/* A backlog of days in packs: what comes now is in one of its own, and that goes first. */
static void
sender_step__what_came_last_does_not_wait_for_what_was_packed_before(void **state)
{
	struct world *w = begin(4, 10000000, 50);
	unsigned i, fresh, first = 0;

	(void)state;
	for (i = 0; i < 2000; i++)
		comes(w, LANE_FRESH, 1 << 20);
	run(w, 30000);
	for (i = 0; i < 10; i++) {
		fresh = comes(w, LANE_FRESH, 100000);
		run(w, 4000);
		assert_true(w->o[fresh].done);
	}
	run(w, 60000);
	for (i = 0; i < 2000; i++)
		first += w->o[i].done > 0;
	assert_true(first > 60); /* of 100 MB that the link took, most */
	free(w);
}

/* --- what the hour leaves of the link (bandwidth.h) --- */

static void
limit_to(struct world *w, uint64_t bytes_per_second)
{
	w->limited = true;
	w->limit = bytes_per_second;
	w->fresh = true;
}

static uint64_t
all_that_went(const struct world *w)
{
	return w->went[LANE_STAT] + w->went[LANE_FRESH] + w->went[LANE_BACKFILL];
}

/* However many connections there are and however fast the link: over a minute it is the rate. */
static void
sender_step__keeps_to_the_rate_of_the_hour(void **state)
{
	static const uint64_t rates[] = {1000, 8000, 250000, 2500000};
	unsigned c, r, i;

	(void)state;
	for (c = 1; c <= 16; c *= 4)
		for (r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
			struct world *w = begin(c, 100000000, 20);
			uint64_t before, went;

			for (i = 0; i < 400; i++)
				comes(w, i % 2 ? LANE_FRESH : LANE_BACKFILL, 2 << 20);
			run(w, 5000); /* the link's own rate is known */
			limit_to(w, rates[r]);
			run(w, 15000); /* what was on the link is over, and paid for */
			before = all_that_went(w);
			run(w, 120000);
			went = all_that_went(w) - before;
			if (went > rates[r] * 130 || went + rates[r] * 12 + 9000 < rates[r] * 120)
				fail_msg("%llu bytes in 120 s at %llu a second",
					 (unsigned long long)went, (unsigned long long)rates[r]);
			w->limited = false;
			before = all_that_went(w);
			run(w, 10000); /* it still knows what the link can */
			assert_true(all_that_went(w) - before > 50000000);
			free(w);
		}
}

/* Fresh images go before back-fill, and the piece that they wait for is a small one. */
static void
sender_step__lanes_share_the_rate_of_the_hour_as_they_do_the_link(void **state)
{
	struct world *w = begin(4, 100000000, 20);
	unsigned i, fresh;

	(void)state;
	for (i = 0; i < 200; i++)
		comes(w, LANE_BACKFILL, 4 << 20);
	run(w, 5000);
	limit_to(w, 250000);
	run(w, 30000);
	for (i = 0; i < 20; i++) {
		fresh = comes(w, LANE_FRESH, 50000);
		run(w, 3000);
		assert_true(w->o[fresh].done);
	}
	free(w);
}

/* At 0 stat passes, and the ledger; the others go when the hour is over, by themselves. */
static void
sender_step__R7_an_hour_of_nothing_holds_neither_stat_nor_the_ledger(void **state)
{
	struct world *w = begin(4, 100000000, 20);
	unsigned stat, fresh, i;

	(void)state;
	comes(w, LANE_FRESH, 1 << 20);
	run(w, 5000);
	limit_to(w, 0);
	w->limit_until = w->now + 3600000;
	fresh = comes(w, LANE_FRESH, 1 << 20);
	for (i = 0; i < 20; i++) {
		stat = comes(w, LANE_STAT, 1 << 20);
		run(w, 5000);
		assert_true(w->o[stat].done);
		assert_int_equal(w->s.announced, w->n);
	}
	assert_false(
		w->o[fresh].packed); /* nothing waits in packs that something newer could be in */
	w->now = w->limit_until - 1;
	w->limited = false;
	w->fresh = false;
	run(w, 3000);
	assert_true(w->o[fresh].done);
	free(w);
}

/* It takes what it needs, and the others have what is left; afterwards they catch up. */
static void
sender_step__stat_never_waits_for_the_rate_and_counts_in_it(void **state)
{
	struct world *w = begin(4, 100000000, 20);
	uint64_t before;
	unsigned i, stat;

	(void)state;
	for (i = 0; i < 400; i++)
		comes(w, LANE_FRESH, 1 << 20);
	run(w, 5000);
	limit_to(w, 100000);
	run(w, 20000);
	before = w->went[LANE_FRESH];
	for (i = 0; i < 20; i++) { /* half as much again as the rate */
		stat = comes(w, LANE_STAT, 300000);
		run(w, 2000);
		assert_true(w->o[stat].done);
	}
	assert_true(w->went[LANE_FRESH] - before < 1000000);
	before = w->went[LANE_FRESH];
	run(w, 60000);
	assert_true(w->went[LANE_FRESH] - before > 4500000);
	free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lanes_next__shares_by_weight_and_starves_none),
		cmocka_unit_test(lanes_next__who_had_nothing_is_next_and_has_saved_nothing),
		cmocka_unit_test(sender_step__a_2_GB_object_delays_a_5_KB_one_by_a_frame_at_most),
		cmocka_unit_test(sender_step__fresh_images_never_wait_behind_back_fill),
		cmocka_unit_test(sender_step__back_fill_never_starves),
		cmocka_unit_test(sender_step__stat_goes_before_fresh_images),
		cmocka_unit_test(
			sender_step__what_came_last_does_not_wait_for_what_was_packed_before),
		cmocka_unit_test(sender_step__keeps_to_the_rate_of_the_hour),
		cmocka_unit_test(sender_step__lanes_share_the_rate_of_the_hour_as_they_do_the_link),
		cmocka_unit_test(
			sender_step__R7_an_hour_of_nothing_holds_neither_stat_nor_the_ledger),
		cmocka_unit_test(sender_step__stat_never_waits_for_the_rate_and_counts_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
