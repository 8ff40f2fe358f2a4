#include "edge/replicate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/store.h"
#include "edge/calls.h"
#include "edge/contact.h"
#include "edge/decisions.h"
#include "edge/edge.h"
#include "edge/errand.h"
#include "edge/holdings.h"
#include "edge/join.h"
#include "edge/keep.h"
#include "edge/known.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "edge/packing.h"
#include "edge/setback.h"
#include "edge/throttle.h"
#include "edge/waiting.h"
#include "proto/coding.h"
#include "proto/ledger.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sender.h"
#include "proto/sync.pb-c.h"

enum {
	EVENTS_MAX = 4 * SENDER_SLOTS,
	TURN_MS = 1000,
	KIND_SHIFT = 32, /* of a call's id: the slot, what it asks, in which life */
	LIFE_SHIFT = 40,
	KIND_MASK = 0xff,
	BRANCH_MS = 60000 /* not oftener, whatever central says */
};

/* Ids of calls that are none of the sender's. */
#define RENEWAL UINT64_MAX
#define DECISIONS (UINT64_MAX - 1)

struct replicate {
	struct edge *e;
	struct link *link;
	pthread_t thread;
	bool threaded;
	struct errands *errands; /* NULL: turned by hand; they run here and now */
	_Atomic bool stopping, hello_wanted;
	/* replicate's thread only */
	bool renewing;
	struct decisions *decisions;
	struct sender sender;
	struct packing slots[SENDER_SLOTS]; /* an errand's while it is under way */
	struct sender_event queue[EVENTS_MAX];
	unsigned n_events;
	struct http_done *answer;  /* of the event that is stepped now */
	struct holdings_work work; /* the answer that is applied, a page per turn */
	bool applying, work_last;
	struct known_work known;
	unsigned work_round;
	uint64_t comparing;	  /* the newest of the edge's `compares` that has begun */
	struct sender_event seen; /* numbers of the last look */
	struct waiting waiting;
	struct coding coding; /* of frames, as the last hello settled */
	bool compress;	      /* set once */
	unsigned out;	      /* errands that have not ended */
	struct setback back;
	bool branch_due;      /* R8: a new incarnation, when no errand is out */
	int64_t no_branch_ms; /* before that                                  */
	unsigned life; /* counts incarnations: what is said to one is not heard by the next */
	int64_t wake_ms;
};

static void
push(struct replicate *r, enum sender_event_kind kind, unsigned slot, uint64_t size)
{
	struct sender_event ev = {.kind = kind, .slot = slot, .size = size};

	if (r->n_events < EVENTS_MAX)
		r->queue[r->n_events++] = ev;
}

/* R25: half of the certificate's life is over, or the archive has another CA. */
static int
renew(struct replicate *r, struct err *err)
{
	struct http_call call;
	int rc = join_renewal(&call, r->e, err);

	call.id = RENEWAL;
	if (!rc)
		rc = link_submit(r->link, &call, err);
	r->renewing = !rc;
	return rc;
}

static void
renewed(struct replicate *r, struct http_done *done)
{
	struct err err = ERR_INIT;

	r->renewing = false; /* a failure: the next hello asks again */
	if (join_renewed(r->e, done, &err))
		log_err(LOG_WARN, "certificate.renewal", &err);
	buf_fini(&done->body);
}

/* What an answered hello says beside what the sender is told. */
static int
hello_said(struct replicate *r, struct err *err)
{
	Sync__HelloAnswer *m = message_read(&sync__hello_answer__descriptor, r->answer->body.data,
					    r->answer->body.len, err);
	int rc;

	if (m && r->compress)
		coding_offered(&r->coding, m->codings, m->n_codings);
	rc = m ? contact_keep(r->e, m->token.data, m->token.len, err) : ERR_PEER;
	if (!rc)
		rc = contact_note_drains(r->e, m->drains, err);
	if (!rc)
		rc = contact_note_software(r->e, m->software, err);
	if (m)
		decisions_heard(r->decisions, m->version, m->decisions);
	if (!rc && m->renew && !r->renewing)
		rc = renew(r, err);
	message_free(m);
	return rc;
}

/* --- actions --- */

static int
submit_as(struct replicate *r, enum sender_request kind, unsigned slot, struct http_call *call,
	  const struct id128 *epoch, struct err *err)
{
	int rc;

	call->id = (uint64_t)r->life << LIFE_SHIFT | (uint64_t)kind << KIND_SHIFT | slot;
	if (kind != SENDER_HELLO)
		hex_of(epoch->b, sizeof(epoch->b), call->epoch);
	rc = link_submit(r->link, call, err);
	return rc;
}

static int
submit(struct replicate *r, enum sender_request kind, unsigned slot, struct http_call *call,
       struct err *err)
{
	return submit_as(r, kind, slot, call, &r->sender.epoch, err);
}

static int
begin_holdings(struct replicate *r, const struct sender_action *a, struct err *err)
{
	Sync__HoldingsAnswer *m = message_read(&sync__holdings_answer__descriptor,
					       r->answer->body.data, r->answer->body.len, err);
	int rc = 0;

	if (!m)
		return ERR_PEER;
	if (m->first != a->number || m->count != a->count || m->bits.len < (m->count + 7) / 8)
		rc = err_set(err, ERR_PEER, 0, "holdings that were not asked for");
	if (!rc)
		rc = holdings_begin(&r->work, &r->sender.epoch, m->first, m->count, m->bits.data,
				    a->whole, err);
	r->applying = !rc;
	r->work_last = a->last;
	r->work_round = a->slot;
	message_free(m);
	return rc;
}

/* What could not be done is tried again: by the slot, or by the next hello. */
static void
failed(struct replicate *r, const struct sender_action *a, const struct err *err)
{
	struct sender_event ev = {.kind = SENDER_FAILED, .slot = a->slot};

	log_err(LOG_ERROR, "replicate", err);
	switch (a->kind) {
	case SENDER_MAKE_PACK:
	case SENDER_SEND_PIECE:
	case SENDER_TAKE_RECEIPT:
	case SENDER_UNPACK:
	case SENDER_GIVE_UP:
		break;
	case SENDER_TRY_LATE:
		ev.kind = SENDER_TRIED;
		break;
	case SENDER_ASK_PLACES: /* as if central had failed */
		ev.kind = SENDER_ANSWERED;
		ev.request = SENDER_PLACE;
		ev.status = 500;
		ev.ours = true;
		break;
	case SENDER_SAY_HELLO:
	case SENDER_SEND_LEDGER:
	case SENDER_ASK_HOLDINGS:
	case SENDER_NEW_EPOCH:
	case SENDER_APPLY_HOLDINGS:
	case SENDER_STEPPED_BACK: /* as if nobody had answered */
		ev.kind = SENDER_ANSWERED;
		ev.request = a->kind == SENDER_SAY_HELLO      ? SENDER_HELLO
			     : a->kind == SENDER_SEND_LEDGER  ? SENDER_LEDGER
			     : a->kind == SENDER_ASK_HOLDINGS ? SENDER_ASK
							      : SENDER_DISSOLVE;
		/* Another epoch must not be taken for known before it is committed. */
		sender_forget(&r->sender);
		break;
	}
	if (r->n_events < EVENTS_MAX)
		r->queue[r->n_events++] = ev;
}

/* What it names was counted; an answer about holdings that is under way may be older (R19). */
static void
receipt_taken(struct replicate *r, const struct errand *x)
{
	Sync__UploadAnswer *m =
		message_read(&sync__upload_answer__descriptor, x->answer.data, x->answer.len, NULL);
	Sync__Receipt *said =
		m ? message_read(&sync__receipt__descriptor, m->receipt.data, m->receipt.len, NULL)
		  : NULL;
	struct id128 epoch;
	size_t i;

	if (said && message_id(&epoch, &said->epoch) && id128_same(&epoch, &r->work.epoch))
		for (i = 0; i < said->n_ranges; i++)
			holdings_receipted(&r->work, said->ranges[i]->first, said->ranges[i]->last);
	message_free(said);
	message_free(m);
}

/* What came of an errand: the sender hears of it, and what it read is sent. */
static void
end_errand(struct replicate *r, struct errand *x)
{
	bool idle = x->tells && x->event.kind == SENDER_PACKED && !x->event.size;
	int rc = x->rc;
	unsigned i;

	r->out--;
	if (x->action.kind == SENDER_SEND_PIECE)
		coding_took(&r->coding, x->cost.bytes, x->cost.ms);
	for (i = 0; !rc && idle && i < SENDER_SLOTS; i++)
		if (r->sender.slots[i].state == SLOT_EMPTY)
			packing_free_memory(&r->slots[i]); /* nothing more to send for now */
	if (!rc && r->applying && x->action.kind == SENDER_TAKE_RECEIPT)
		receipt_taken(r, x);
	if (!rc && x->tells && r->n_events < EVENTS_MAX)
		r->queue[r->n_events++] = x->event;
	/* R22, R7: a request says the epoch in which it was decided, whatever came meanwhile. */
	if (!rc && x->request)
		rc = submit_as(r, x->request, x->action.slot, &x->call, &x->epoch, &x->err);
	if (rc && x->tells) /* it is done; only that central should forget the pack was not said */
		log_err(LOG_WARN, "replicate", &x->err);
	else if (rc)
		failed(r, &x->action, &x->err);
	errand_free(x);
}

/* By the threads for them; by this one where a test turns the replicator by hand. */
static int
run_errand(struct replicate *r, const struct sender_action *a, struct err *err)
{
	struct errand *x = calloc(1, sizeof(*x));

	if (!x)
		return err_set(err, ERR_LOCAL, 0, "no memory for a pack");
	x->action = *a;
	x->slot = &r->slots[a->slot];
	x->announced = r->sender.announced;
	x->epoch = r->sender.epoch;
	x->coding = r->coding;
	if (a->kind == SENDER_TAKE_RECEIPT || a->kind == SENDER_UNPACK) {
		x->answer = r->answer->body; /* nobody else reads it */
		buf_init(&r->answer->body);
	}
	r->out++;
	if (r->errands) {
		errands_give(r->errands, x);
	} else {
		errand_run(x, r->e);
		end_errand(r, x);
	}
	return 0;
}

static int
ask_places(struct replicate *r, const struct sender_action *a, struct err *err)
{
	struct http_call call;

	calls_places(&call, r->slots, a->slot);
	return submit(r, SENDER_PLACE, a->slot, &call, err);
}

static int
new_epoch(struct replicate *r, struct err *err)
{
	Sync__HelloAnswer *m = message_read(&sync__hello_answer__descriptor, r->answer->body.data,
					    r->answer->body.len, err);
	struct id128 archive;
	int rc;

	if (!m)
		return ERR_PEER;
	(void)message_id(&archive, &m->archive);
	message_free(m);
	r->applying = false; /* what another central said of its holdings */
	log_line(LOG_WARN, "epoch.new", "announced=%llu", (unsigned long long)r->sender.announced);
	rc = holdings_new_epoch(r->e, &archive, &r->sender.epoch, err);
	return rc ? rc : known_begin(&r->known, r->e, err);
}

/* --- set back or cloned (R8) --- */

static int
stepped_back(struct replicate *r, struct err *err)
{
	Sync__HelloAnswer *m;
	bool found = false;
	int rc;

	if (r->branch_due)
		return 0;
	if (clock_mono(r->e->clock) < r->no_branch_ms) {
		sender_rest(&r->sender, r->no_branch_ms);
		return 0;
	}
	m = message_read(&sync__hello_answer__descriptor, r->answer->body.data, r->answer->body.len,
			 err);
	rc = m ? setback_heard(&r->back, r->e, m, &found, err) : ERR_PEER;
	message_free(m);
	r->branch_due = !rc && found;
	if (!rc && !found)
		sender_hello(&r->sender);
	return rc;
}

/* All begins anew as at a start; what was said by the incarnation before is not heard any more. */
static void
branch(struct replicate *r)
{
	struct id128 epoch = r->sender.epoch;
	struct err err = ERR_INIT;
	unsigned i;

	if (!r->branch_due || r->out)
		return;
	r->branch_due = false;
	if (setback_branch(&r->back, r->e, &err)) { /* the next hello finds it again */
		log_err(LOG_ERROR, "incarnation", &err);
		memset(&r->back, 0, sizeof(r->back));
		return;
	}
	for (i = 0; i < SENDER_SLOTS; i++) {
		packing_fini(&r->slots[i]);
		packing_free_memory(&r->slots[i]);
	}
	r->no_branch_ms = clock_mono(r->e->clock) + BRANCH_MS;
	r->life++;
	r->n_events = 0;
	r->applying = false;
	sender_init(&r->sender, &epoch, HOLDINGS_DUE);
}

static int
carry_out(struct replicate *r, const struct sender_action *a, struct err *err)
{
	struct http_call call;
	int rc;

	switch (a->kind) {
	case SENDER_SAY_HELLO:
		rc = calls_hello(&call, r->e, &r->back, r->compress, err);
		return rc ? rc : submit(r, SENDER_HELLO, 0, &call, err);
	case SENDER_SEND_LEDGER:
		rc = calls_ledger(&call, r->e, a->number, a->count, err);
		return rc ? rc : submit(r, SENDER_LEDGER, 0, &call, err);
	case SENDER_ASK_HOLDINGS:
		calls_holdings(&call, r->e, a->number, a->count);
		return submit(r, SENDER_ASK, a->slot, &call, err);
	case SENDER_NEW_EPOCH:
		return new_epoch(r, err);
	case SENDER_APPLY_HOLDINGS:
		return begin_holdings(r, a, err);
	case SENDER_MAKE_PACK:
	case SENDER_SEND_PIECE:
	case SENDER_TAKE_RECEIPT:
	case SENDER_UNPACK:
	case SENDER_GIVE_UP:
	case SENDER_TRY_LATE:
		return run_errand(r, a, err);
	case SENDER_ASK_PLACES:
		return ask_places(r, a, err);
	case SENDER_STEPPED_BACK:
		return stepped_back(r, err);
	}
	return 0;
}

/* Before anything else of the event: an hour's rate holds also when the store cannot be read. */
static void
look_at_hour(struct replicate *r, struct sender_event *ev)
{
	struct throttle hour;

	throttle_now(r->e, &hour);
	ev->limited = hour.limited;
	ev->limit = hour.rate;
	ev->limit_until_ms = hour.hour_over_ms;
	/* What the compressor competes with (coding.h). */
	r->coding.link = r->sender.steer.link;
	if (hour.limited && hour.rate && hour.rate < r->coding.link)
		r->coding.link = hour.rate;
}

static void
step(struct replicate *r, struct sender_event *ev)
{
	struct sender_actions actions;
	struct err err = ERR_INIT;
	bool blind = false;
	unsigned i;

	look_at_hour(r, ev);
	/* If not, with what was seen last: no event may be lost. */
	if (waiting_look(&r->waiting, r->e, ev, &err)) {
		log_err(LOG_ERROR, "replicate", &err);
		ev->now_ms = clock_mono(r->e->clock);
		ev->head = r->seen.head;
		memset(ev->work, 0, sizeof(ev->work));
		ev->late_ms = 0;
		blind = true;
	} else {
		r->seen = *ev;
	}
	sender_step(&r->sender, ev, &actions);
	if (ev->kind == SENDER_ANSWERED && ev->request == SENDER_HELLO && r->sender.reachable) {
		contact_note_epoch(r->e, &r->sender.epoch);
		if (r->answer && hello_said(r, &err))
			log_err(LOG_WARN, "central.hello", &err); /* the next one tries again */
		err_clear(&err);
	}
	contact_show(r->e, &r->sender, r->work.found.entries,
		     ev->kind == SENDER_ANSWERED && ev->request == SENDER_HELLO && ev->status);
	for (i = 0; i < actions.n; i++) {
		err_clear(&err);
		if (carry_out(r, &actions.a[i], &err))
			failed(r, &actions.a[i], &err);
	}
	r->wake_ms = blind ? ev->now_ms + TURN_MS : actions.wake_ms;
}

static void
drain(struct replicate *r)
{
	while (r->n_events) {
		struct sender_event ev = r->queue[0];

		memmove(r->queue, r->queue + 1, --r->n_events * sizeof(r->queue[0]));
		step(r, &ev);
	}
}

/* --- answers --- */

static void
on_answer(struct replicate *r, struct http_done *done)
{
	struct sender_event ev = {.kind = SENDER_ANSWERED};

	if (done->id == RENEWAL) {
		renewed(r, done);
		return;
	}
	if (done->id == DECISIONS) {
		decisions_answered(r->decisions, done);
		return;
	}
	ev.request = (enum sender_request)(done->id >> KIND_SHIFT & KIND_MASK);
	ev.slot = (unsigned)(done->id & UINT32_MAX);
	if (done->id >> LIFE_SHIFT != r->life) {
		buf_fini(&done->body);
		buf_fini(&done->spent);
		return;
	}
	if (ev.request == SENDER_PIECE) { /* before the next one is begun */
		packing_free_memory(&r->slots[ev.slot]);
		r->slots[ev.slot].piece = done->spent;
		buf_init(&done->spent);
	}
	calls_answer(&ev, done, r->e);
	contact_note_why(r->e, done, ev.request == SENDER_HELLO, ev.ours);
	if (ev.request == SENDER_PIECE && ev.ours)
		contact_note_piece(&ev, &r->sender.slots[ev.slot], &r->slots[ev.slot], r->e);
	r->answer = done;
	step(r, &ev);
	r->answer = NULL;
	drain(r);
	buf_fini(&done->body);
	buf_fini(&done->spent);
}

/* The last page of a whole round is in. */
static int
compared(struct replicate *r, struct err *err)
{
	int rc = holdings_compared(r->e, &r->work.epoch, r->sender.compared_with, err);

	if (rc)
		return rc;
	r->work.found.asked = r->comparing;
	(void)pthread_mutex_lock(&r->e->mu);
	r->e->contact.comparison = r->work.found;
	(void)pthread_mutex_unlock(&r->e->mu);
	return 0;
}

/* One page of an answer about holdings; between two of them the ledger has its turn. */
static void
apply_page(struct replicate *r)
{
	struct sender_action action = {.kind = SENDER_APPLY_HOLDINGS};
	struct err err = ERR_INIT;
	bool done = false;
	int rc;

	r->applying = r->applying && r->work_round == r->sender.round;
	if (!r->applying)
		return;
	rc = holdings_page(&r->work, r->e, &done, &err);
	if (!rc && !done)
		return;
	if (!rc && r->work_last)
		rc = compared(r, &err);
	r->applying = false;
	if (rc)
		failed(r, &action, &err);
	else
		push(r, SENDER_APPLIED, r->work_round, 0);
	drain(r);
}

static void
ask_decisions(struct replicate *r)
{
	if (r->sender.reachable)
		decisions_turn(r->decisions, r->link, DECISIONS, &r->sender.epoch, r->seen.head,
			       &r->wake_ms);
}

/* A poll told of it before the next hello would (orders.h). */
static void
take_news(struct replicate *r)
{
	unsigned news = atomic_exchange(&r->e->news, 0);

	if (news & EDGE_NEWS_DECISIONS)
		decisions_ask(r->decisions);
	if (atomic_exchange(&r->hello_wanted, false) || news & (EDGE_NEWS_LOSSES | EDGE_NEWS_TABLE))
		sender_hello(&r->sender);
}

void
replicate_turn(struct replicate *r, int timeout_ms)
{
	struct sender_event ev = {.kind = SENDER_TIME};
	struct err err = ERR_INIT;
	struct http_done done;
	struct errand *x;
	bool got;

	while (r->errands && (x = errands_take(r->errands)))
		end_errand(r, x);
	branch(r);
	drain(r);
	apply_page(r);
	if (known_page(&r->known, r->e,
		       &err)) { /* said, and tried again at the next start or epoch */
		log_err(LOG_ERROR, "known", &err);
		err_clear(&err);
		r->known.going = false;
	}
	if (link_wait(r->link, r->applying || r->known.going ? 0 : timeout_ms, &done, &got, &err)) {
		log_err(LOG_ERROR, "replicate", &err);
		return;
	}
	if (got) {
		on_answer(r, &done);
		ask_decisions(r);
		return;
	}
	if (r->comparing != atomic_load(&r->e->compares)) {
		r->comparing = atomic_load(&r->e->compares);
		sender_compare(&r->sender);
	}
	take_news(r);
	step(r, &ev);
	drain(r);
	ask_decisions(r);
}

/* --- start and stop --- */

struct taking_up {
	struct replicate *r;
	struct store_tx *tx;
	bool strays; /* one that rotted, or is one too many: a commit that failed was kept */
};

static int
take_up(void *arg, const unsigned char id[SHA256_SIZE], const void *manifest, size_t n,
	struct err *err)
{
	struct taking_up *t = arg;
	struct packing p = {.pack = NULL};
	unsigned char own[SHA256_SIZE];
	struct err why = ERR_INIT;
	unsigned slot;
	int rc;

	sha256_of(manifest, n, own);
	rc = memcmp(own, id, sizeof(own)) ? ERR_PEER : packing_open(&p, manifest, n, &why);
	if (!rc && sender_resume(&t->r->sender, &slot, pack_size(p.pack), packing_last(&p),
				 packing_lane(&p, t->tx))) {
		t->r->slots[slot] = p;
		return 0;
	}
	packing_fini(&p);
	if (rc && rc != ERR_PEER)
		return err_set(err, why.code, why.sys, "%s", why.what);
	t->strays = true;
	return 0;
}

int
replicate_new(struct replicate **out, struct edge *e, struct link *link, struct err *err)
{
	struct replicate *r = calloc(1, sizeof(*r));
	struct taking_up t = {.r = r};
	struct store_tx *tx;
	struct id128 epoch;
	uint64_t losses;
	int rc = r ? store_begin_read(&tx, e->store, err)
		   : err_set(err, ERR_LOCAL, 0, "no memory for replication");

	if (!rc) {
		rc = sync_id(tx, "epoch", &epoch, err);
		if (!rc)
			rc = sync_number(tx, "losses", &losses, err);
		if (!rc) {
			sender_init(&r->sender, &epoch, losses);
			t.tx = tx;
			rc = packing_each(tx, take_up, &t, err);
		}
		store_end_read(tx);
	}
	if (!rc && t.strays)
		rc = packing_drop_others(r->slots, SENDER_SLOTS, e, err);
	if (!r) {
		link_close(link);
		return rc;
	}
	r->e = e;
	r->link = link;
	r->compress = strcmp(conf_string(e->conf, "central", NULL, "compress"), "auto") == 0;
	r->comparing = atomic_load(&e->compares);
	if (!rc)
		rc = known_begin(&r->known, e, err);
	if (!rc)
		rc = decisions_new(&r->decisions, e, err);
	if (rc) {
		replicate_free(r);
		return rc;
	}
	*out = r;
	return 0;
}

void
replicate_free(struct replicate *r)
{
	unsigned i;

	if (!r)
		return;
	errands_stop(r->errands); /* they wake the link */
	link_close(r->link);
	holdings_end(&r->work);
	decisions_free(r->decisions);
	for (i = 0; i < SENDER_SLOTS; i++) {
		packing_fini(&r->slots[i]);
		packing_free_memory(&r->slots[i]);
	}
	free(r);
}

int64_t
replicate_due(const struct replicate *r)
{
	return r->wake_ms;
}

static void *
run(void *arg)
{
	struct replicate *r = arg;
	int64_t now, wait;

	while (!atomic_load(&r->stopping)) {
		now = clock_mono(r->e->clock);
		wait = r->wake_ms > now ? r->wake_ms - now : 0;
		replicate_turn(r, wait < TURN_MS ? (int)wait : TURN_MS);
	}
	return NULL;
}

/* Something was taken in, and can be seen; or an errand ended. */
static void
settled(void *arg)
{
	replicate_wake(arg);
}

int
replicate_start(struct replicate **out, struct edge *e, struct link *link, struct err *err)
{
	int rc = replicate_new(out, e, link, err);

	if (rc)
		return rc;
	rc = errands_start(&(*out)->errands, e, settled, *out, err);
	if (rc) {
		replicate_free(*out);
		*out = NULL;
	}
	return rc;
}

int
replicate_go(struct replicate *r, struct err *err)
{
	if (pthread_create(&r->thread, NULL, run, r))
		return err_set(err, ERR_LOCAL, 0, "cannot start a thread");
	r->threaded = true;
	store_on_settled(r->e->store, settled, r);
	return 0;
}

void
replicate_wake(struct replicate *r)
{
	if (r)
		link_wake(r->link);
}

void
replicate_hello(struct replicate *r)
{
	if (!r)
		return;
	atomic_store(&r->hello_wanted, true);
	link_wake(r->link);
}

void
replicate_stop(struct replicate *r)
{
	if (!r)
		return;
	if (r->threaded)
		store_on_settled(r->e->store, NULL, NULL);
	atomic_store(&r->stopping, true);
	link_wake(r->link);
	if (r->threaded)
		(void)pthread_join(r->thread, NULL);
	replicate_free(r);
}
