#include "proto/sender.h"

#include <string.h>

#include "proto/turn.h"

enum {
	PROBE_MS = 1000,
	PROBE_JITTER_MS = 2000,
	BACKOFF_MAX_MS = 60000,
	FULL_WAIT_MS = 30000,
	RETRY_AFTER_MAX_MS = 600000, /* central may ask for that long, not for ever */
	REFUSALS_MAX = 4,	     /* of one pack in a row: the pack is at fault   */
	FAILURES_MAX = 12,	     /* of central with one pack: perhaps it is, too */
};

void
sender_init(struct sender *s, const struct id128 *epoch, uint64_t losses)
{
	static const struct id128 none;

	memset(s, 0, sizeof(*s));
	s->epoch = *epoch;
	s->losses = losses;
	s->knows_epoch = memcmp(epoch, &none, sizeof(none)) != 0;
	s->ask_next = 1;
	s->ask_most = SENDER_HOLDINGS;
	s->ledger_bytes = SENDER_LEDGER_FIRST;
	steer_init(&s->steer);
}

void
sender_connections(struct sender *s, unsigned n)
{
	s->steer.connections = n < 1 ? 1 : n > SENDER_SLOTS ? SENDER_SLOTS : n;
}

bool
sender_resume(struct sender *s, unsigned *slot, uint64_t size, uint64_t last, enum lane lane)
{
	unsigned i;

	for (i = 0; i < SENDER_SLOTS; i++)
		if (s->slots[i].state == SLOT_EMPTY) {
			memset(&s->slots[i], 0, sizeof(s->slots[i]));
			s->slots[i].state = SLOT_READY;
			s->slots[i].size = size;
			s->slots[i].last = last;
			s->slots[i].lane = lane;
			s->slots[i].made = ++s->made;
			*slot = i;
			return true;
		}
	return false;
}

void
sender_forget(struct sender *s)
{
	s->knows_epoch = false;
	s->reachable = false;
}

bool
sender_comparing(const struct sender *s)
{
	return s->whole && (s->round_due || s->asking || s->ask_next <= s->ask_until);
}

void
sender_hello(struct sender *s)
{
	s->last_word_ms = INT64_MIN / 2;
	s->next_hello_ms = INT64_MIN / 2;
}

void
sender_rest(struct sender *s, int64_t until_ms)
{
	s->reachable = false;
	s->next_hello_ms = until_ms;
}

int64_t
sender_retry(const struct sender *s)
{
	int64_t first = 0;
	unsigned i;

	if (!s->reachable)
		return s->next_hello_ms > 0 ? s->next_hello_ms : 0;
	for (i = 0; i < SENDER_SLOTS; i++) {
		const struct sender_slot *slot = &s->slots[i];

		if (slot->state == SLOT_READY && slot->not_before_ms > 0 &&
		    (!first || slot->not_before_ms < first))
			first = slot->not_before_ms;
	}
	return first;
}

bool
sender_cut_off(const struct sender *s, int64_t now_ms)
{
	return s->cuts >= SENDER_CUTS || (s->cuts && now_ms - s->cut_ms >= SENDER_CUT_MS);
}

/* What breaks off together counts once. */
static void
note_cut(struct sender *s, const struct sender_event *ev)
{
	if (!s->reachable)
		return;
	if (!s->cuts)
		s->cut_ms = ev->now_ms;
	s->cuts++;
}

/*
 * Nobody answered: all that was under way is asked about again after a hello. That is
 * said at once, so that one upload that was dropped does not hold the ledger up; only
 * when it is not answered either is central silent.
 */
static void
lost_contact(struct sender *s, const struct sender_event *ev)
{
	unsigned i;

	if (ev->request == SENDER_HELLO || !s->reachable)
		s->next_hello_ms = ev->now_ms + PROBE_MS + (int64_t)(ev->jitter % PROBE_JITTER_MS);
	else
		s->next_hello_ms = ev->now_ms;
	if (ev->request == SENDER_HELLO) /* then it was the link */
		s->cuts = 0;
	s->reachable = false;
	s->failures = 0;
	for (i = 0; i < SENDER_SLOTS; i++)
		s->slots[i].asked = false;
}

/* Central answers, but cannot serve: 1 s x 2^n with full jitter, at most 60 s. */
static int64_t
backoff(unsigned *failures, uint64_t jitter)
{
	int64_t cap = *failures < 6 ? INT64_C(1000) << *failures : BACKOFF_MAX_MS;

	if (*failures < 30)
		++*failures;
	if (cap > BACKOFF_MAX_MS)
		cap = BACKOFF_MAX_MS;
	return 100 + (int64_t)(jitter % (uint64_t)cap);
}

/* The same, but not before central wants to hear of it again; not all at once then. */
static int64_t
again(unsigned *failures, const struct sender_event *ev)
{
	int64_t wait = backoff(failures, ev->jitter), asked = (int64_t)ev->retry_after * 1000;

	if (asked > RETRY_AFTER_MAX_MS)
		asked = RETRY_AFTER_MAX_MS;
	return asked > wait ? asked + (int64_t)(ev->jitter % 1000) : wait;
}

/* What could not be packed yet perhaps can be now: announced, or compared. */
static void
more_to_pack(struct sender *s)
{
	unsigned i;

	for (i = 0; i < LANES; i++)
		if (s->of[i].idle_empty)
			s->of[i].idle_until_ms = INT64_MIN / 2;
}

/* A round of holdings is due; it reaches as far as the ledger does when it begins. */
static void
ask_all(struct sender *s, bool whole)
{
	s->whole = whole || ((s->round_due || s->ask_next <= s->ask_until) && s->whole);
	s->round_due = true;
	s->again = s->owed_known = false;
	s->compared_with = s->losses;
	s->asking = false; /* what is under way belongs to the round before */
	s->round = (s->round + 1) % SENDER_ROUNDS;
	s->ask_next = 1;
	s->ask_until = 0;
	s->applying = 0;
}

void
sender_compare(struct sender *s)
{
	bool known = s->owed_known || (s->through && !s->round_due && s->ask_next > s->ask_until);

	ask_all(s, true);
	s->owed_known = known; /* packs need not wait: only what central lost is found now */
}

static void
on_hello(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	bool other, lost, was = s->reachable, idle = !s->round_due && s->ask_next > s->ask_until;
	unsigned i;

	s->saying_hello = false;
	if (ev->status != 200 || !ev->ours) {
		s->reachable = false;
		s->next_hello_ms = ev->now_ms + again(&s->failures, ev);
		return;
	}
	if (!ev->agrees) { /* R8: this ledger is not the one that central knows */
		s->reachable = false;
		s->next_hello_ms = ev->now_ms + PROBE_MS;
		(void)turn_act(out, SENDER_STEPPED_BACK);
		return;
	}
	other = !s->knows_epoch || memcmp(&s->epoch, &ev->epoch, sizeof(s->epoch)) != 0;
	s->reachable = true;
	s->failures = 0;
	s->next_hello_ms = ev->now_ms + SENDER_HELLO_MS;
	s->closed = ev->closed;
	steer_line(&s->steer, ev->rtt_ms, ev->steady);
	s->announced = ev->number;
	if (other) { /* R22: what another central receipted says nothing about this one */
		s->epoch = ev->epoch;
		s->knows_epoch = true;
		s->through = false;
		for (i = 0; i < SENDER_SLOTS; i++)
			s->slots[i].asked = false;
		(void)turn_act(out, SENDER_NEW_EPOCH);
	}
	lost = s->losses != ev->losses;
	s->losses = ev->losses;
	/* A central whose disk dies loses more with each hello: what is owed must not wait until
	 * it has lost all. */
	if (!other && lost && sender_comparing(s))
		s->again = true;
	else if (other || lost)
		ask_all(s, true);
	else if (!was && idle)
		ask_all(s, false);
	s->owed_known = s->owed_known || (lost && idle && s->through && s->round_due);
	s->answered_hello_ms = ev->now_ms;
}

/* As much as crosses in two seconds: on a slow line images would wait for the whole of it. */
static void
measure_ledger(struct sender *s, const struct sender_event *ev)
{
	uint64_t n = ev->sent * SENDER_LEDGER_MS / (ev->ms ? ev->ms : 1);

	if (ev->sent < SENDER_LEDGER_MIN && n < SENDER_LEDGER_MAX)
		return; /* a few entries say little */
	s->ledger_bytes = n < SENDER_LEDGER_MIN	  ? SENDER_LEDGER_MIN
			  : n > SENDER_LEDGER_MAX ? SENDER_LEDGER_MAX
						  : n;
}

static void
on_ledger(struct sender *s, const struct sender_event *ev)
{
	s->sending_ledger = false;
	if ((ev->status == 200 || ev->status == 409) && ev->agrees) {
		s->announced = ev->number;
		measure_ledger(s, ev);
		more_to_pack(s);
	} else if (ev->status == 409) { /* R8: hello says more of it */
		s->reachable = false;
		s->next_hello_ms = ev->now_ms + PROBE_MS;
	} else {
		s->reachable = false;
		s->next_hello_ms = ev->now_ms + again(&s->failures, ev);
	}
}

static void
on_holdings(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	struct sender_action *a;

	if (ev->status != 200) {
		s->asking = false;
		s->reachable = false;
		s->next_hello_ms = ev->now_ms + again(&s->failures, ev);
		return;
	}
	a = turn_act(out, SENDER_APPLY_HOLDINGS);
	a->number = s->ask_next;
	a->count = s->applying = ev->number;
	a->whole = s->whole;
	a->slot = s->round;
	a->last = s->whole && ev->number && s->ask_next + ev->number > s->ask_until;
}

/* The next part is asked for when the driver is through with this one. */
static void
on_applied(struct sender *s, const struct sender_event *ev)
{
	if (ev->slot != s->round || !s->asking)
		return;
	s->asking = false;
	/* An answer that covers nothing ends the round; the next hello decides anew. */
	s->ask_next = s->applying ? s->ask_next + s->applying : s->ask_until + 1;
	s->applying = 0;
	if (s->ask_next > s->ask_until) {
		more_to_pack(s);
		s->through = true;
		if (s->again) {
			ask_all(s, true);
			s->owed_known = true;
		}
	}
}

/* A piece is over, whatever came of it. */
static void
measure(struct sender *s, const struct sender_event *ev)
{
	struct steer_piece p = {.sent = ev->status == 200 ? ev->sent : 0,
				.ms = ev->ms,
				.theirs_ms = ev->theirs_ms,
				.full = ev->sent >= s->slots[ev->slot].budget / 2,
				.steady = ev->steady,
				.rtt_ms = ev->rtt_ms};

	turn_account(s, &s->slots[ev->slot], ev->sent);
	steer_end(&s->steer, ev->now_ms, &p);
}

/* Its request never left. */
static void
forget_piece(struct sender *s, const struct sender_event *ev)
{
	struct steer_piece none = {.sent = 0};
	struct sender_slot *slot = &s->slots[ev->slot];

	if (slot->state != SLOT_SENDING)
		return;
	steer_end(&s->steer, ev->now_ms, &none);
	bucket_give_back(&s->bucket, slot->charged);
	slot->charged = 0;
}

/* No room, not announced, suspended, starting: nothing that this pack could help. */
static bool
is_own_fault(int status)
{
	return status != 507 && status != 503 && status != 412 && status != 403 && status != 429;
}

static void
put_back(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	struct sender_slot *slot = &s->slots[ev->slot];

	slot->asked = false;
	slot->begun = false;
	slot->not_before_ms =
		ev->now_ms +
		(ev->status == 507 && !ev->retry_after ? FULL_WAIT_MS : again(&slot->failures, ev));
	/* That is central's own state: the other packs wait as well, the ledger does not. */
	if (ev->retry_after && (ev->status == 503 || ev->status == 429))
		s->pieces_after_ms = slot->not_before_ms;
	if (ev->status == 507) /* R12: hello says which lanes it has no room for */
		sender_hello(s);
	if (!slot->refusals)
		slot->good_then = s->good;
	slot->refusals += is_own_fault(ev->status);
	/* R17: what fails for its own sake leaves the lanes; the others go on. */
	if (slot->refusals >= (ev->status < 500 ? REFUSALS_MAX : FAILURES_MAX)) {
		struct sender_action *a = turn_act(out, SENDER_GIVE_UP);

		slot->state = SLOT_CLOSING;
		a->slot = ev->slot;
		/* Nothing else came through all the time: it is hardly this pack. */
		a->number = ev->status >= 500 && slot->good_then == s->good;
	}
}

/*
 * R17: a pack that never gets any further while others do (something on the way cuts whoever sends
 * these bytes) leaves the lanes. A link that is down says nothing about a pack.
 */
static bool
is_stuck(struct sender *s, struct sender_slot *slot)
{
	bool others = slot->stumbles == 0 || s->good != slot->good_last;

	slot->stumbles += others;
	slot->good_last = s->good;
	return slot->stumbles >= FAILURES_MAX;
}

/* Once is chance; the second time in a row it may be this very piece. */
static void
stumbled(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	struct sender_slot *slot = &s->slots[ev->slot];

	if (is_stuck(s, slot)) {
		slot->state = SLOT_CLOSING;
		turn_act(out, SENDER_GIVE_UP)->slot = ev->slot;
		return;
	}
	if (slot->failures)
		slot->not_before_ms = ev->now_ms + backoff(&slot->failures, ev->jitter);
	else
		slot->failures = 1;
}

static void
on_piece(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	struct sender_slot *slot = &s->slots[ev->slot];

	slot->state = SLOT_READY;
	s->cuts = 0;
	s->good += ev->status == 200 && (ev->receipted || ev->number > slot->offset);
	if (ev->status == 200 && ev->receipted) {
		slot->state = SLOT_CLOSING;
		turn_act(out, SENDER_TAKE_RECEIPT)->slot = ev->slot;
		return;
	}
	if (ev->status == 422 && ev->bad) {
		slot->state = SLOT_CLOSING;
		turn_act(out, SENDER_UNPACK)->slot = ev->slot;
		return;
	}
	if (ev->status == 200 || ev->status == 409) {
		bool further = ev->status == 200 && ev->number > slot->offset;

		if (ev->number <= slot->size)
			slot->offset = ev->number;
		slot->begun = ev->status == 200 && ev->number <= slot->size;
		slot->asked = true;
		if (!further)
			stumbled(s, ev, out);
		else
			slot->failures = slot->refusals = slot->stumbles = 0;
		return;
	}
	put_back(s, ev, out);
}

/* One answer for all packs that were asked about. */
static void
on_places(struct sender *s, const struct sender_event *ev)
{
	unsigned i;

	for (i = 0; i < SENDER_SLOTS; i++) {
		struct sender_slot *slot = &s->slots[i];

		if (slot->state != SLOT_ASKING || !(ev->slot & 1u << i))
			continue;
		slot->state = SLOT_READY;
		if (!ev->status || !ev->ours)
			continue;
		if (ev->status != 200) {
			slot->not_before_ms = ev->now_ms + again(&slot->failures, ev);
			continue;
		}
		slot->asked = true;
		slot->begun = ev->places[i] <= slot->size;
		if (slot->begun && ev->places[i] > slot->offset) /* what a cut left is durable */
			slot->failures = slot->stumbles = s->cuts = 0;
		slot->offset = slot->begun		       ? ev->places[i]
			       : ev->places[i] == SENDER_WHOLE ? slot->size
							       : 0;
	}
}

static void
on_answer(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	if (ev->status)
		s->last_word_ms = ev->now_ms;
	switch (ev->request) {
	case SENDER_HELLO:
		if (ev->status == 0) {
			s->saying_hello = false;
			lost_contact(s, ev);
		} else {
			on_hello(s, ev, out);
		}
		return;
	case SENDER_LEDGER:
		s->sending_ledger = s->sending_ledger && ev->status && ev->ours;
		if (s->sending_ledger)
			on_ledger(s, ev);
		break;
	case SENDER_ASK:
		if (ev->slot != s->round) /* of a round that was given up */
			return;
		if (s->asking && !ev->status && s->ask_most > SENDER_HOLDINGS_MIN)
			s->ask_most /= 4;
		s->asking = s->asking && ev->status && ev->ours;
		if (s->asking)
			on_holdings(s, ev, out);
		break;
	case SENDER_PLACE:
		on_places(s, ev);
		break;
	case SENDER_PIECE:
		measure(s, ev);
		if (ev->status && ev->ours) {
			on_piece(s, ev, out);
			break;
		}
		s->slots[ev->slot].state = SLOT_READY;
		note_cut(s, ev);
		stumbled(s, ev, out);
		break;
	case SENDER_DISSOLVE:
		break;
	}
	if (ev->status == 0) {
		lost_contact(s, ev);
	} else if (!ev->ours) { /* R22: another central; hello first */
		s->reachable = false;
		s->next_hello_ms = ev->now_ms;
	}
}

static void
on_packed(struct sender *s, const struct sender_event *ev)
{
	struct sender_slot *slot = &s->slots[ev->slot];
	enum lane lane = slot->lane;

	memset(slot, 0, sizeof(*slot));
	if (!ev->size) {
		s->of[lane].idle_until_ms = ev->now_ms + SENDER_QUIET_MS;
		s->of[lane].idle_empty = true;
		return;
	}
	slot->lane = lane;
	slot->made = ++s->made;
	slot->state = SLOT_READY;
	slot->asked = true; /* new: central cannot have any of it */
	slot->size = ev->size;
	slot->last = ev->last;
}

static void
on_failed(struct sender *s, const struct sender_event *ev)
{
	struct sender_slot *slot = &s->slots[ev->slot];

	forget_piece(s, ev);
	if (slot->state == SLOT_PACKING) {
		struct sender_lane *lane = &s->of[slot->lane];

		memset(slot, 0, sizeof(*slot));
		lane->idle_until_ms = ev->now_ms + backoff(&s->failures, ev->jitter);
		lane->idle_empty = false;
	} else if (slot->state == SLOT_CLOSING || slot->state == SLOT_SENDING) {
		slot->state = SLOT_READY;
		slot->asked = false;
		slot->not_before_ms = ev->now_ms + backoff(&slot->failures, ev->jitter);
	}
}

/* --- what next --- */

/* R17: what was put off is in no lane until it is due. */
static void
try_late(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	int64_t due = ev->late_ms > s->try_after_ms ? ev->late_ms : s->try_after_ms;

	if (!ev->late_ms || s->trying)
		return;
	if (due > ev->now_ms) {
		turn_wake_at(out, due);
		return;
	}
	s->trying = true;
	(void)turn_act(out, SENDER_TRY_LATE);
}

static bool
has(const struct sender_actions *out, enum sender_action_kind kind)
{
	unsigned i;

	for (i = 0; i < out->n; i++)
		if (out->a[i].kind == kind)
			return true;
	return false;
}

static void
do_next(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	struct sender_action *a;
	int64_t quiet = s->last_word_ms + SENDER_HELLO_MS;
	int64_t busy = s->answered_hello_ms + SENDER_HELLO_MAX_MS;

	/* Uploads for hours are no reason not to hear of another epoch, or of losses. */
	quiet = busy < quiet ? busy : quiet;

	if (!s->reachable || ev->now_ms >= quiet) {
		if (!s->saying_hello && (s->reachable || ev->now_ms >= s->next_hello_ms)) {
			s->saying_hello = true;
			(void)turn_act(out, SENDER_SAY_HELLO);
		}
		if (!s->reachable) {
			turn_wake_at(out, s->next_hello_ms > ev->now_ms ? s->next_hello_ms
									: ev->now_ms + PROBE_MS);
			return;
		}
	}
	turn_wake_at(out, quiet > ev->now_ms ? quiet : ev->now_ms + PROBE_MS);
	if (!s->sending_ledger && s->announced < ev->head) {
		s->sending_ledger = true;
		a = turn_act(out, SENDER_SEND_LEDGER);
		a->number = s->announced + 1;
		a->count = s->ledger_bytes;
	}
	if (s->round_due && has(out, SENDER_NEW_EPOCH)) {
		out->wake_ms = ev->now_ms; /* what was entered before its commit counts too */
	} else if (s->round_due) {
		s->round_due = s->again = false; /* what a hello said until now is seen */
		s->compared_with = s->losses;
		s->ask_until = ev->head;
	}
	if (!s->asking && s->ask_next <= s->ask_until && s->announced >= s->ask_until) {
		s->asking = true;
		a = turn_act(out, SENDER_ASK_HOLDINGS);
		a->number = s->ask_next;
		a->count = s->ask_until - s->ask_next + 1;
		a->slot = s->round;
		if (a->count > s->ask_most)
			a->count = s->ask_most;
	}
	turn_send(s, ev, out);
	try_late(s, ev, out);
	turn_pack(s, ev, out);
}

void
sender_step(struct sender *s, const struct sender_event *ev, struct sender_actions *out)
{
	out->n = 0;
	out->wake_ms = ev->now_ms + SENDER_HELLO_MS;
	turn_limit(s, ev, out);
	switch (ev->kind) {
	case SENDER_TIME:
		break;
	case SENDER_ANSWERED:
		on_answer(s, ev, out);
		break;
	case SENDER_PACKED:
		on_packed(s, ev);
		break;
	case SENDER_APPLIED:
		on_applied(s, ev);
		break;
	case SENDER_UNPACKED:
		forget_piece(s, ev);
		memset(&s->slots[ev->slot], 0, sizeof(s->slots[ev->slot]));
		break;
	case SENDER_TRIED:
		s->trying = false;
		s->try_after_ms = ev->now_ms + SENDER_QUIET_MS; /* it may have failed */
		break;
	case SENDER_FAILED:
		on_failed(s, ev);
		break;
	}
	do_next(s, ev, out);
}
