#include "proto/steer.h"

#include <string.h>

enum {
	TURN_MS = 1000,	    /* at least                                          */
	TURN_RTTS = 6,	    /* at least                                          */
	TURN_PIECES = 2,    /* of each connection                                */
	TURN_MAX_MS = 8000, /* then one of each is enough                        */
	REST_TURNS = 8,	    /* after what brought nothing; doubled each time     */
	REST_MAX = 32,
	PACKS_EACH = 4, /* connections differ by so much */
	BETTER = 112,	/* percent: more connections have to bring so much   */
	SAME = 96,	/* percent: fewer of them may cost so much           */
	ALONE = 150	/* percent of a connection: nobody filled the pauses */
};

void
steer_init(struct steer *s)
{
	memset(s, 0, sizeof(*s));
	s->connections = STEER_FEW;
	s->next_rest = REST_TURNS;
}

/* So many fill the link where congestion control does not shy from loss. */
static unsigned
few(const struct steer *s)
{
	return s->rtt_ms >= STEER_FAR_MS ? STEER_FAR : STEER_FEW;
}

void
steer_line(struct steer *s, unsigned rtt_ms, bool steady)
{
	if (s->link || s->begun || !rtt_ms || s->connections != STEER_FEW)
		return;
	s->rtt_ms = rtt_ms;
	if (steady)
		s->connections = few(s);
	else if (rtt_ms >= STEER_SHY_MS)
		s->connections = STEER_SHY;
}

uint64_t
steer_pack(const struct steer *s, uint64_t waiting)
{
	uint64_t least = s->link * STEER_PACK_MS / 1000 / s->connections;
	uint64_t n = waiting / (PACKS_EACH * (uint64_t)s->connections);

	n = n < least ? least : n;
	return n < STEER_PACK_MIN ? STEER_PACK_MIN : n > STEER_PACK_MAX ? STEER_PACK_MAX : n;
}

uint64_t
steer_size(const struct steer *s, unsigned packs)
{
	uint64_t n = s->link * STEER_FLIGHT_MS / 1000 / s->connections;
	uint64_t most = s->link * STEER_PIECE_MS / 1000;

	if (!s->link)
		return STEER_FIRST / s->connections;
	/* Where some connections have nothing to do, nobody waits for one: longer pieces. */
	if (packs < s->connections)
		n = s->link * (packs > 2 ? STEER_FLIGHT_MS / packs : STEER_ALONE_MS) / 1000;
	else if (n > most)
		n = most;
	if (n > STEER_ALL_MAX / s->connections)
		n = STEER_ALL_MAX / s->connections;
	return n < STEER_PIECE_MIN ? STEER_PIECE_MIN : n > STEER_PIECE_MAX ? STEER_PIECE_MAX : n;
}

static void
look(struct steer *s, int64_t now_ms)
{
	if (s->under_way && now_ms > s->seen_ms)
		s->busy_ms += now_ms - s->seen_ms;
	s->seen_ms = now_ms;
}

/*
 * Pieces of one size that set out together share the link and end together: then it is idle until
 * they are answered, each time. Nine to sixteen sixteenths, in turn.
 */
uint64_t
steer_begin(struct steer *s, int64_t now_ms, unsigned packs)
{
	uint64_t n = steer_size(s, packs) * (16 - s->begun++ * 5 % 8) / 16;

	look(s, now_ms);
	s->under_way++;
	s->abreast = s->under_way > s->abreast ? s->under_way : s->abreast;
	return n < STEER_PIECE_MIN ? STEER_PIECE_MIN : n;
}

/* No more than all of them took one after the other, no less than side by side. */
static uint64_t
busy(const struct steer *s)
{
	uint64_t ms = (uint64_t)s->busy_ms, least = s->took_ms / (s->abreast ? s->abreast : 1);

	ms = ms > s->took_ms ? s->took_ms : ms;
	ms = ms < least ? least : ms;
	return ms ? ms : 1;
}

/* Percent of one connection that were under way on average. */
static uint64_t
abreast(const struct steer *s)
{
	return s->took_ms * 100 / busy(s);
}

/* What the turn's pieces brought in a second of the link. */
static uint64_t
rate_of(const struct steer *s)
{
	uint64_t ours = s->took_ms - s->theirs_ms, pauses = (uint64_t)s->rtt_ms * s->pieces;
	uint64_t ms;

	if (abreast(s) < ALONE)
		ours -= pauses < ours ? pauses : ours - ours / 4;
	ms = s->took_ms ? busy(s) * ours / s->took_ms : 0;
	return s->bytes * 1000 / (ms ? ms : 1);
}

static bool
is_turn_over(const struct steer *s)
{
	unsigned each = s->busy_ms < TURN_MAX_MS ? TURN_PIECES : 1;
	int64_t least = (int64_t)s->rtt_ms * TURN_RTTS;

	if (!s->link)
		return s->pieces >= s->connections / 2;
	return s->busy_ms >= TURN_MS && s->busy_ms >= least && s->pieces >= each * s->connections;
}

static unsigned
more(unsigned n)
{
	n = n < STEER_MOST / 2 ? n * 2 : n + n / 2;
	return n < STEER_MOST ? n : STEER_MOST;
}

static unsigned
fewer(unsigned n)
{
	n -= (n + 7) / 8;
	return n > STEER_FEW ? n : STEER_FEW;
}

static void
take_back(struct steer *s)
{
	s->connections = s->base_connections;
	s->trying = false;
	s->rest = s->next_rest;
	s->next_rest = s->next_rest < REST_MAX ? s->next_rest * 2 : REST_MAX;
}

static void
try_on(struct steer *s, uint64_t rate)
{
	unsigned n = s->downwards ? fewer(s->connections) : more(s->connections);

	/* All steps downwards together may cost what one may. */
	if (!s->downwards || !s->trying || rate > s->base)
		s->base = rate;
	s->base_connections = s->connections;
	s->trying = n != s->connections;
	s->connections = n;
	if (!s->trying) { /* there is no further that way */
		s->rest = s->next_rest;
		s->downwards = !s->downwards;
	}
}

static void
experiment(struct steer *s, uint64_t rate)
{
	uint64_t wanted = s->base * (s->downwards ? SAME : BETTER) / 100;

	if (s->trying && rate < wanted) {
		take_back(s);
		s->downwards = !s->downwards;
	} else if (s->trying) {
		s->next_rest = REST_TURNS;
		try_on(s, rate);
	} else if (s->rest && rate < s->base * 100 / BETTER) {
		/* What fewer brought then they bring no more: connections begin faster than they
		 * go on where packets are lost. */
		s->rest = 0;
		s->downwards = false;
		try_on(s, rate);
	} else if (s->rest) {
		s->rest--;
	} else {
		try_on(s, rate);
	}
}

static void
begin_turn(struct steer *s)
{
	s->busy_ms = 0;
	s->bytes = s->took_ms = s->theirs_ms = 0;
	s->pieces = s->full = 0;
	s->abreast = s->under_way;
}

static void
end_turn(struct steer *s)
{
	uint64_t rate = rate_of(s);
	unsigned before = s->connections;
	bool enough = s->full * 2 >= s->pieces && abreast(s) >= 75 * (uint64_t)s->connections;

	if (rate / 2 >= s->link)
		s->link = rate;
	else if (rate > s->link || s->full * 2 >= s->pieces)
		s->link = rate < s->link / 2 ? (s->link + rate) / 2 : (s->link * 3 + rate) / 4;
	if (s->steady && s->base_connections) { /* it was not before */
		s->connections = few(s);
		s->base_connections = 0;
		s->trying = false;
	} else if (s->steady && s->connections == STEER_FEW) { /* now it is known how far it is */
		s->connections = few(s);
	} else if (enough && !s->steady)
		experiment(s, rate);
	s->settling = s->connections < before;
	begin_turn(s);
}

void
steer_end(struct steer *s, int64_t now_ms, const struct steer_piece *p)
{
	look(s, now_ms);
	if (s->under_way)
		s->under_way--;
	if (!p->sent)
		return;
	s->bytes += p->sent;
	s->took_ms += p->ms;
	s->theirs_ms += p->theirs_ms < p->ms ? p->theirs_ms : p->ms;
	s->pieces++;
	s->full += p->full;
	s->steady = p->steady;
	if (p->rtt_ms)
		s->rtt_ms = p->rtt_ms;
	if (!is_turn_over(s))
		return;
	if (s->settling) {
		s->settling = false;
		begin_turn(s);
	} else {
		end_turn(s);
	}
}
