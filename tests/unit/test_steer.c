/* How many pieces at once, and how large, on links that a test makes up, in their own time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/steer.h"

/*
 * A link: all connections share `rate`; each alone gets at most `each` bytes a second (what
 * congestion control makes of loss and distance; 0: no such limit). Steps of one ms.
 */
struct link {
	uint64_t rate, each;
	int64_t young_until; /* until then three times as much: nothing was lost yet */
	unsigned rtt_ms;
	bool steady;
	uint64_t theirs_ms; /* central's disks, at each piece */
	uint64_t sizes_max; /* what there is to send in one piece; 0: no end */
	unsigned active_max;
	int64_t now;
	struct {
		bool busy;
		uint64_t left, size; /* in thousandths of a byte */
		int64_t began, answer_at;
	} c[STEER_MOST];
	uint64_t brought; /* bytes, since `brought_since` */
	int64_t brought_since;
};

static unsigned
busy(const struct link *l)
{
	unsigned i, n = 0;

	for (i = 0; i < STEER_MOST; i++)
		n += l->c[i].busy;
	return n;
}

static void
start(struct link *l, struct steer *s)
{
	unsigned i, most = l->active_max ? l->active_max : STEER_MOST;

	for (i = 0; i < STEER_MOST && busy(l) < s->connections && busy(l) < most; i++) {
		uint64_t n;

		if (l->c[i].busy)
			continue;
		n = steer_begin(s, l->now, most);
		assert_true(n >= STEER_PIECE_MIN && n <= STEER_PIECE_MAX);
		if (l->sizes_max && n > l->sizes_max)
			n = l->sizes_max;
		l->c[i].busy = true;
		l->c[i].size = n;
		l->c[i].left = n * 1000;
		l->c[i].began = l->now;
		l->c[i].answer_at = 0;
	}
}

static void
end(struct link *l, struct steer *s, unsigned i)
{
	struct steer_piece p = {.sent = l->c[i].size,
				.ms = (uint64_t)(l->now - l->c[i].began),
				.theirs_ms = l->theirs_ms,
				.full = !l->sizes_max || l->c[i].size < l->sizes_max,
				.steady = l->steady,
				.rtt_ms = l->rtt_ms};

	l->brought += l->c[i].size;
	l->c[i].busy = false;
	steer_end(s, l->now, &p);
}

static void
play(struct link *l, struct steer *s, int64_t ms)
{
	int64_t until = l->now + ms;
	unsigned i, n;

	l->brought = 0;
	l->brought_since = l->now;
	while (l->now < until) {
		start(l, s);
		for (i = n = 0; i < STEER_MOST; i++)
			n += l->c[i].busy && l->c[i].left;
		for (i = 0; i < STEER_MOST; i++) {
			uint64_t part = n ? l->rate / n : 0;

			if (!l->c[i].busy)
				continue;
			if (l->each && part > l->each * (l->now < l->young_until ? 3 : 1))
				part = l->each * (l->now < l->young_until ? 3 : 1);
			if (l->c[i].left > part)
				l->c[i].left -= part;
			else if (l->c[i].left) {
				l->c[i].left = 0;
				l->c[i].answer_at = l->now + l->rtt_ms + (int64_t)l->theirs_ms;
			}
			if (l->c[i].answer_at && l->now >= l->c[i].answer_at)
				end(l, s, i);
		}
		l->now++;
	}
}

/* Percent of the link that was used since the last play began. */
static uint64_t
used(const struct link *l)
{
	return l->brought * 100000 / (l->rate * (uint64_t)(l->now - l->brought_since));
}

static void
steer__R14_pieces_are_as_long_as_the_link_takes_250_ms_however_far_it_is(void **state)
{
	static const struct link links[] = {
		{.rate = 12500000, .rtt_ms = 50, .steady = true},
		{.rate = 2500000, .rtt_ms = 200, .steady = true},
		{.rate = 1250000, .rtt_ms = 200, .steady = true, .theirs_ms = 80}};
	struct steer s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		struct link l = links[i];

		steer_init(&s);
		play(&l, &s, 20000);
		play(&l, &s, 20000);
		if (used(&l) < 92)
			fail_msg("%u: %u, link %u", (unsigned)i, (unsigned)used(&l),
				 (unsigned)s.link);
		assert_true(s.link > l.rate * 85 / 100 && s.link < l.rate * 115 / 100);
		assert_true(steer_size(&s, STEER_MOST) > l.rate / 4 * 80 / 100);
		assert_true(steer_size(&s, STEER_MOST) < l.rate / 4 * 120 / 100);
		assert_int_equal(s.connections, l.rtt_ms < STEER_FAR_MS ? STEER_FEW : STEER_FAR);
	}
}

static void
steer__DESIGN_6_connections_that_shy_from_loss_become_as_many_as_it_takes(void **state)
{
	struct link l = {.rate = 1250000, .rtt_ms = 200, .each = 60000};
	struct steer s;

	(void)state;
	steer_init(&s);
	play(&l, &s, 60000);
	play(&l, &s, 60000);
	assert_true(s.connections >= 20);
	assert_true(used(&l) >= 85);
	/* All of them together hold no more than two seconds of the link. */
	assert_true(steer_size(&s, STEER_MOST) * s.connections <= l.rate * 3);
	/* One alone does it now: they become fewer again. */
	l.each = 0;
	play(&l, &s, 600000);
	if (s.connections >= STEER_MOST)
		fail_msg("%u", s.connections);
	play(&l, &s, 60000);
	assert_true(used(&l) >= 90);
}

/* What the first connections brought while they were young is nothing to compare with. */
static void
steer__more_are_tried_again_when_as_many_bring_less_than_they_did(void **state)
{
	struct link l = {.rate = 2500000, .rtt_ms = 200, .each = 85000, .young_until = 6000};
	struct steer s;

	(void)state;
	steer_init(&s);
	steer_line(&s, 200, false);
	play(&l, &s, 30000);
	assert_true(s.connections >= 24);
	play(&l, &s, 30000);
	assert_true(used(&l) >= 80);
}

/* hello saw the line before the first piece: nothing is lost on trying what is known. */
static void
steer_line__begins_with_as_many_as_the_line_needs(void **state)
{
	static const struct {
		unsigned rtt_ms;
		bool steady;
		unsigned wanted;
	} lines[] = {{0, false, STEER_FEW},  {1, false, STEER_FEW},  {1, true, STEER_FEW},
		     {30, true, STEER_FEW},  {30, false, STEER_SHY}, {50, true, STEER_FAR},
		     {200, false, STEER_SHY}};
	struct link l = {.rate = 2500000, .rtt_ms = 20};
	struct steer s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		steer_init(&s);
		steer_line(&s, lines[i].rtt_ms, lines[i].steady);
		assert_int_equal(s.connections, lines[i].wanted);
		assert_true(s.connections * steer_size(&s, STEER_MOST) <= STEER_FIRST);
	}
	steer_init(&s);
	play(&l, &s, 5000); /* what came across since says more */
	steer_line(&s, 200, false);
	assert_true(s.connections < STEER_SHY);
}

/* The last bytes that wait are many packs: none is left alone on one of many connections. */
static void
steer_pack__is_smaller_where_connections_would_be_without_work(void **state)
{
	struct steer s;

	(void)state;
	steer_init(&s);
	assert_int_equal(steer_pack(&s, UINT64_C(1) << 40), STEER_PACK_MAX);
	assert_int_equal(steer_pack(&s, 0), STEER_PACK_MIN);
	assert_int_equal(steer_pack(&s, 64 << 20), 4 << 20);
	s.link = 1250000; /* four seconds of a connection are less than the least */
	s.connections = STEER_MOST;
	assert_int_equal(steer_pack(&s, 256 << 20), 2 << 20);
	assert_int_equal(steer_pack(&s, 16 << 20), STEER_PACK_MIN);
	s.link = 8 << 20; /* a faster one has no use for many small ones */
	assert_int_equal(steer_pack(&s, 32 << 20), 1 << 20);
	s.link = 100 << 20;
	assert_int_equal(steer_pack(&s, 1), STEER_PACK_MAX);
}

static void
steer__more_connections_that_bring_nothing_are_taken_back(void **state)
{
	struct link l = {.rate = 2500000, .rtt_ms = 20};
	unsigned most = 0, at, over = 0;
	struct steer s;

	(void)state;
	steer_init(&s);
	for (at = 0; at < 600; at++) {
		play(&l, &s, 1000);
		most = s.connections > most ? s.connections : most;
		over += s.connections > STEER_FEW;
	}
	assert_true(most <= 8);
	assert_true(over < 120); /* of 600 s: it is tried again, ever more rarely */
}

static void
steer__little_to_send_says_nothing_against_the_link(void **state)
{
	struct link l = {.rate = 2500000, .rtt_ms = 200, .steady = true};
	struct steer s;
	uint64_t known;

	(void)state;
	steer_init(&s);
	play(&l, &s, 20000);
	known = s.link;
	l.sizes_max = 8000; /* an image now and then */
	l.active_max = 1;
	play(&l, &s, 60000);
	assert_true(s.link >= known * 95 / 100);
	/* A slower link is seen as soon as there is enough to send. */
	l.sizes_max = l.active_max = 0;
	l.rate = 500000;
	play(&l, &s, 60000);
	assert_true(s.link < 600000);
}

static void
steer__one_object_alone_has_long_pieces_and_most_of_the_link(void **state)
{
	struct link l = {.rate = 2500000, .rtt_ms = 200, .steady = true, .active_max = 1};
	struct steer s;

	(void)state;
	steer_init(&s);
	play(&l, &s, 20000);
	play(&l, &s, 20000);
	assert_true(s.link > 2000000);
	assert_true(used(&l) >= 75);
}

static void
steer__memory_of_all_pieces_is_bounded_however_fast_the_link(void **state)
{
	struct link l = {.rate = UINT64_C(1000000000), .rtt_ms = 1, .each = 30000000};
	struct steer s;
	int i;

	(void)state;
	steer_init(&s);
	for (i = 0; i < 60; i++) {
		play(&l, &s, 1000);
		assert_true(steer_size(&s, STEER_MOST) * s.connections <= STEER_ALL_MAX);
	}
}

static void
steer__what_fails_counts_for_nothing(void **state)
{
	struct steer_piece failed = {.sent = 0, .ms = 5000};
	struct link l = {.rate = 2500000, .rtt_ms = 30, .steady = true};
	struct steer s;
	uint64_t known;
	int i;

	(void)state;
	steer_init(&s);
	play(&l, &s, 20000);
	known = s.link;
	for (i = 0; i < 100; i++) {
		(void)steer_begin(&s, l.now, 1);
		l.now += 5000;
		steer_end(&s, l.now, &failed);
	}
	assert_int_equal(s.link, known);
	steer_end(&s, l.now, &failed); /* one that had never begun */
	assert_true(s.under_way <= STEER_FEW);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			steer__R14_pieces_are_as_long_as_the_link_takes_250_ms_however_far_it_is),
		cmocka_unit_test(
			steer__DESIGN_6_connections_that_shy_from_loss_become_as_many_as_it_takes),
		cmocka_unit_test(steer__more_are_tried_again_when_as_many_bring_less_than_they_did),
		cmocka_unit_test(steer_line__begins_with_as_many_as_the_line_needs),
		cmocka_unit_test(steer_pack__is_smaller_where_connections_would_be_without_work),
		cmocka_unit_test(steer__more_connections_that_bring_nothing_are_taken_back),
		cmocka_unit_test(steer__little_to_send_says_nothing_against_the_link),
		cmocka_unit_test(steer__one_object_alone_has_long_pieces_and_most_of_the_link),
		cmocka_unit_test(steer__memory_of_all_pieces_is_bounded_however_fast_the_link),
		cmocka_unit_test(steer__what_fails_counts_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
