#include "proto/turn.h"

#include <string.h>

enum {
	PACK_COUNT = 1000,
	OLDEST_EVERY = 8,
	EARLIER_EVERY = 4, /* pieces: one of the earliest pack of the lane, so that none starves */
	SPARE_SLOTS = 2,   /* that each lane finds, whatever the others have open */
	LIMITED_MS = 250,  /* of the hour's rate: a piece, so that others go between */
	LIMITED_MIN = 8192
};

struct sender_action *
turn_act(struct sender_actions *out, enum sender_action_kind kind)
{
	struct sender_action *a = &out->a[out->n < SENDER_ACTIONS - 1 ? out->n++ : out->n];

	memset(a, 0, sizeof(*a));
	a->kind = kind;
	return a;
}

void
turn_wake_at(struct sender_actions *out, int64_t ms)
{
	if (ms < out->wake_ms)
		out->wake_ms = ms;
}

static unsigned
slots_in(const struct sender *s, enum sender_slot_state state)
{
	unsigned i, n = 0;

	for (i = 0; i < SENDER_SLOTS; i++)
		n += s->slots[i].state == state;
	return n;
}

/* With those that will be made of what waits. */
static unsigned
packs_to_send(const struct sender *s, const struct sender_event *ev)
{
	uint64_t n = slots_in(s, SLOT_READY) + slots_in(s, SLOT_SENDING);
	unsigned lane;

	for (lane = 0; lane < LANES; lane++)
		n += ev->work[lane].bytes / steer_pack(&s->steer, ev->work[lane].bytes);
	return n < SENDER_SLOTS ? (unsigned)n : SENDER_SLOTS;
}

/* Lanes of which nothing may be sent now: central has no room (R12), or the hour leaves none. */
static uint32_t
shut(const struct sender *s)
{
	bool nothing = s->bucket.limited && !s->bucket.rate;

	return s->closed | (nothing ? LANES_ALL & ~(1u << LANE_STAT) : 0);
}

/* Bytes on the wire of a piece that the link could take n of. */
static uint64_t
within_rate(const struct sender *s, uint64_t n)
{
	uint64_t most = s->bucket.rate * LIMITED_MS / 1000;

	if (!s->bucket.limited || !s->bucket.rate)
		return n;
	most = most < LIMITED_MIN ? LIMITED_MIN : most;
	return n < most ? n : most;
}

static void
charge(struct sender *s, struct sender_slot *slot, uint64_t bytes)
{
	if (slot->lane == LANE_STAT)
		bucket_take_exempt(&s->bucket, bytes);
	else
		bucket_take(&s->bucket, bytes);
	slot->charged = s->bucket.limited ? bytes : 0;
}

void
turn_account(struct sender *s, struct sender_slot *slot, uint64_t sent)
{
	uint64_t charged = slot->charged;

	if (!charged || !sent)
		return;
	slot->charged = 0;
	if (sent < charged)
		bucket_give_back(&s->bucket, charged - sent);
	else if (slot->lane == LANE_STAT)
		bucket_take_exempt(&s->bucket, sent - charged);
	else
		bucket_take(&s->bucket, sent - charged);
}

void
turn_limit(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	bucket_limit(&s->bucket, ev->now_ms, ev->limited, ev->limit);
	if (ev->limit_until_ms > ev->now_ms)
		turn_wake_at(out, ev->limit_until_ms);
}

static void
send_piece(struct sender *s, unsigned i, const struct sender_event *ev, struct sender_actions *out)
{
	struct sender_slot *slot = &s->slots[i];
	uint64_t n = steer_begin(&s->steer, ev->now_ms, packs_to_send(s, ev));
	uint64_t left = slot->size - slot->offset, count = within_rate(s, n);
	struct sender_action *a = turn_act(out, SENDER_SEND_PIECE);

	a->slot = i;
	a->lane = slot->lane;
	a->number = slot->offset;
	a->count = count < left ? count : left;
	a->most = left < STEER_PIECE_MAX ? left : STEER_PIECE_MAX;
	a->first = !slot->begun;
	slot->budget = n; /* one that the hour made smaller says little of the link */
	slot->state = SLOT_SENDING;
	charge(s, slot, a->count);
}

static bool
is_large(const struct sender_slot *slot)
{
	return slot->size > SENDER_LARGE;
}

/* Those that may send a piece now; those whose offset is not known for sure are asked about
 * together (R14). */
static uint32_t
sendable(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	uint32_t ready = 0, ask = 0;
	unsigned i;

	for (i = 0; i < SENDER_SLOTS; i++) {
		struct sender_slot *slot = &s->slots[i];

		/* R7: a new central must hear of its members first. */
		if (slot->state != SLOT_READY || slot->last > s->announced ||
		    shut(s) & 1u << slot->lane)
			continue;
		if (s->pieces_after_ms > ev->now_ms) {
			turn_wake_at(out, s->pieces_after_ms);
		} else if (slot->not_before_ms > ev->now_ms) {
			turn_wake_at(out, slot->not_before_ms);
		} else if (slot->asked) {
			ready |= 1u << i;
		} else {
			ask |= 1u << i;
			slot->state = SLOT_ASKING;
		}
	}
	if (ask)
		turn_act(out, SENDER_ASK_PLACES)->slot = ask;
	return ready;
}

/*
 * Of two packs of one flow, which goes first? Large ones in turn. Of small ones the one that was
 * made later: what came last does not wait for what was packed before; but each fourth time the
 * earlier one, so that it does not wait for ever.
 */
static bool
goes_first(const struct sender *s, const struct sender_slot *a, const struct sender_slot *b)
{
	if (is_large(a))
		return a->served != b->served ? a->served < b->served : a->made < b->made;
	return (s->served % EARLIER_EVERY == EARLIER_EVERY - 1) == (a->made < b->made);
}

/* Of these, the ones that may go now: all, or what waits for no bucket. */
static uint32_t
open_to(const struct sender *s, uint32_t ready, struct sender_actions *out)
{
	uint32_t stat = 0;
	unsigned i;

	if (bucket_open(&s->bucket))
		return ready;
	for (i = 0; i < SENDER_SLOTS; i++)
		if (ready & 1u << i && s->slots[i].lane == LANE_STAT)
			stat |= 1u << i;
	if (ready != stat)
		turn_wake_at(out, bucket_when(&s->bucket));
	return stat;
}

static unsigned
flow_of(const struct sender_slot *slot)
{
	return lanes_flow(slot->lane, is_large(slot));
}

/* Which of these slots goes next in this flow? */
static unsigned
next_of(const struct sender *s, uint32_t ready, unsigned flow)
{
	unsigned best = SENDER_SLOTS, i;

	for (i = 0; i < SENDER_SLOTS; i++)
		if (ready & 1u << i && flow_of(&s->slots[i]) == flow &&
		    (best == SENDER_SLOTS || goes_first(s, &s->slots[i], &s->slots[best])))
			best = i;
	return best;
}

/*
 * The flows of the ready slots that may have a connection. While something more important is on
 * the link, or could be, the others share a quarter of the connections: TCP would give each of
 * theirs as much of the link as it gives to that.
 */
static uint32_t
flows_of(const struct sender *s, uint32_t ready)
{
	unsigned top = LANES_FLOWS, below = 0, i;
	uint32_t flows = 0, low = 0;

	for (i = 0; i < SENDER_SLOTS; i++) {
		unsigned flow = flow_of(&s->slots[i]);

		if (!(ready & 1u << i) && s->slots[i].state != SLOT_SENDING)
			continue;
		if (top == LANES_FLOWS || lanes_above(flow, top))
			top = flow;
	}
	for (i = 0; i < SENDER_SLOTS; i++) {
		unsigned flow = flow_of(&s->slots[i]);
		bool is_below = top < LANES_FLOWS && lanes_above(top, flow);

		below += is_below && s->slots[i].state == SLOT_SENDING;
		if (ready & 1u << i)
			*(is_below ? &low : &flows) |= 1u << flow;
	}
	return below < (s->steer.connections + 3) / 4 ? flows | low : flows;
}

/* There may be more packs than connections: each piece is the next one's of the lane whose turn it
 * is, so that nothing waits for more of another than the pieces that are on the link. */
void
turn_send(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	uint32_t ready = sendable(s, ev, out), flows;
	unsigned sending = slots_in(s, SLOT_SENDING), flow, slot;

	for (; sending < s->steer.connections; sending++) {
		flows = flows_of(s, open_to(s, ready, out));
		if (!flows)
			break;
		flow = lanes_next(&s->lanes, flows);
		slot = next_of(s, ready, flow);
		s->slots[slot].served = ++s->served;
		send_piece(s, slot, ev, out);
		lanes_sent(&s->lanes, flow, out->a[out->n - 1].count);
		ready &= ~(1u << slot);
	}
}

/* A pack closes at 8 MiB (less where that leaves connections without work), 1,000 objects or 1 s of
 * waiting. */
static bool
worth_packing(const struct sender *s, const struct sender_event *ev, enum lane lane,
	      struct sender_actions *out)
{
	const struct sender_work *w = &ev->work[lane];

	if (!w->count)
		return false;
	if (s->of[lane].idle_until_ms > ev->now_ms) {
		turn_wake_at(out, s->of[lane].idle_until_ms);
		return false;
	}
	if (w->count >= PACK_COUNT || w->bytes >= steer_pack(&s->steer, w->bytes))
		return true;
	turn_wake_at(out, w->since_ms + SENDER_QUIET_MS);
	return ev->now_ms >= w->since_ms + SENDER_QUIET_MS;
}

struct open { /* packs of a lane */
	unsigned all, small, large, waiting;
	uint64_t last; /* the highest seq in any of them */
};

static struct open
open_of(const struct sender *s, enum lane lane, int64_t now_ms)
{
	struct open o = {0, 0, 0, 0, 0};
	unsigned i;

	for (i = 0; i < SENDER_SLOTS; i++) {
		const struct sender_slot *slot = &s->slots[i];

		if (slot->state == SLOT_EMPTY || slot->lane != lane)
			continue;
		o.all++;
		o.waiting += slot->not_before_ms > now_ms;
		o.large += is_large(slot);
		o.small += !is_large(slot) && slot->not_before_ms <= now_ms;
		o.last = slot->last > o.last ? slot->last : o.last;
	}
	return o;
}

/* Is a slot free that is not kept for another lane? */
static bool
has_slot(const struct sender *s, enum lane lane, const struct open *o)
{
	unsigned i, kept = 0, n[LANES] = {0};

	for (i = 0; i < SENDER_SLOTS; i++)
		if (s->slots[i].state != SLOT_EMPTY)
			n[s->slots[i].lane]++;
	for (i = LANE_STAT; i < LANES; i++)
		kept += i != (unsigned)lane && n[i] < SPARE_SLOTS ? SPARE_SLOTS - n[i] : 0;
	return o->all < SPARE_SLOTS || slots_in(s, SLOT_EMPTY) > kept;
}

/*
 * As many packs of a lane as there are connections; beyond these, one a second of what came since,
 * so that it does not wait for them.
 */
static bool
has_room(const struct sender *s, const struct sender_event *ev, enum lane lane,
	 const struct open *o, struct sender_actions *out)
{
	int64_t again = s->of[lane].made_ms + SENDER_QUIET_MS;

	if (!has_slot(s, lane, o) || o->waiting >= STEER_FEW)
		return false;
	if (o->small < s->steer.connections)
		return true;
	if (ev->work[lane].newest <= o->last)
		return false;
	if (ev->now_ms < again)
		turn_wake_at(out, again);
	return ev->now_ms >= again;
}

static void
make_pack(struct sender *s, const struct sender_event *ev, unsigned slot, enum lane lane,
	  const struct open *o, struct sender_actions *out)
{
	struct sender_action *a = turn_act(out, SENDER_MAKE_PACK);

	a->slot = slot;
	a->lane = lane;
	a->count = steer_pack(&s->steer, ev->work[lane].bytes);
	a->oldest = ++s->of[lane].made % OLDEST_EVERY == 0;
	a->small = o->large >= s->steer.connections;
	/* Fresh images go optimistically. What was at a central once waits for its answer, if it is
	 * being asked: it may hold it. */
	if (lane == LANE_BACKFILL && s->ask_next <= s->ask_until && !s->owed_known)
		a->number = s->ask_until;
	if (o->small >= s->steer.connections) {
		a->number = o->last > a->number ? o->last : a->number;
		a->oldest = false;
	}
	s->of[lane].made_ms = ev->now_ms;
	memset(&s->slots[slot], 0, sizeof(s->slots[slot]));
	s->slots[slot].lane = lane;
	s->slots[slot].state = SLOT_PACKING;
}

void
turn_pack(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	unsigned lane, i = 0;

	if (s->round_due || slots_in(s, SLOT_PACKING))
		return;
	while (i < SENDER_SLOTS && s->slots[i].state != SLOT_EMPTY)
		i++;
	for (lane = LANE_STAT; i < SENDER_SLOTS && lane < LANES; lane++) {
		struct open o = open_of(s, (enum lane)lane, ev->now_ms);

		if (!(shut(s) & 1u << lane) && has_room(s, ev, (enum lane)lane, &o, out) &&
		    worth_packing(s, ev, (enum lane)lane, out)) {
			make_pack(s, ev, i, (enum lane)lane, &o, out);
			return;
		}
	}
}
