#include "edge/errand.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "edge/calls.h"
#include "edge/edge.h"
#include "edge/late.h"
#include "edge/packing.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sync.pb-c.h"

enum { THREADS = 8 }; /* as many read, or wait for a commit that they share */

/* --- one errand --- */

bool
errand_is(enum sender_action_kind kind)
{
	return kind == SENDER_MAKE_PACK || kind == SENDER_SEND_PIECE ||
	       kind == SENDER_TAKE_RECEIPT || kind == SENDER_UNPACK || kind == SENDER_GIVE_UP ||
	       kind == SENDER_TRY_LATE;
}

static void
tell(struct errand *x, enum sender_event_kind kind)
{
	x->tells = true;
	x->event.kind = kind;
	x->event.slot = x->action.slot;
}

static int
make_pack(struct errand *x, struct edge *e)
{
	const struct sender_action *a = &x->action;
	struct packing *p = x->slot;
	struct packing_wish wish = {.lane = a->lane,
				    .above = a->number,
				    .bytes = a->count,
				    .announced = x->announced,
				    .oldest = a->oldest,
				    .small = a->small};
	int rc = packing_make(p, e, &wish, &x->err);

	if (rc)
		return rc;
	tell(x, SENDER_PACKED);
	x->event.size = p->pack ? pack_size(p->pack) : 0;
	x->event.last = packing_last(p);
	return 0;
}

/* The members of `bad` later, the others anew; central hears that the pack is no more. */
static int
dissolve(struct errand *x, struct edge *e, const uint64_t *bad, size_t n)
{
	int rc;

	calls_drop(&x->call, x->slot);
	rc = packing_dissolve(x->slot, e, bad, n,
			      x->action.kind == SENDER_GIVE_UP && x->action.number, &x->err);
	if (rc)
		return rc;
	x->request = SENDER_DISSOLVE;
	tell(x, SENDER_UNPACKED);
	return 0;
}

static int
read_piece(struct errand *x, struct edge *e)
{
	int rc = calls_piece(&x->call, x->slot, e, &x->action, &x->coding, &x->cost, &x->err);

	if (rc == ERR_CORRUPT && x->slot->bad_seq) {
		/* Our own copy is damaged: out with it, the rest is packed anew. */
		uint64_t bad = x->slot->bad_seq;

		err_clear(&x->err);
		return dissolve(x, e, &bad, 1);
	}
	if (!rc)
		x->request = SENDER_PIECE;
	return rc;
}

static int
take_answer(struct errand *x, struct edge *e)
{
	Sync__UploadAnswer *m = message_read(&sync__upload_answer__descriptor, x->answer.data,
					     x->answer.len, &x->err);
	int rc;

	if (!m)
		return ERR_PEER;
	if (x->action.kind == SENDER_UNPACK) {
		rc = dissolve(x, e, m->bad, m->n_bad);
	} else {
		rc = packing_receipt(x->slot, e, m->receipt.data, m->receipt.len, &x->err);
		if (!rc) /* it takes something again */
			rc = late_try_blamed(e->store, &x->err);
		if (!rc)
			tell(x, SENDER_UNPACKED);
	}
	message_free(m);
	return rc;
}

/* R17: it failed for its own sake too often. Each member is read, and tried again later. */
static int
give_up(struct errand *x, struct edge *e)
{
	size_t i, n = pack_count(x->slot->pack);
	uint64_t *seqs = calloc(n + 1, sizeof(*seqs));
	int rc;

	if (!seqs)
		return err_set(&x->err, ERR_LOCAL, 0, "no memory to give a pack up");
	for (i = 0; i < n; i++)
		seqs[i] = pack_member(x->slot->pack, i)->seq;
	log_line(LOG_ERROR, "pack.given_up", "members=%zu first_seq=%llu", n,
		 (unsigned long long)seqs[0]);
	rc = dissolve(x, e, seqs, n);
	free(seqs);
	return rc;
}

void
errand_run(struct errand *x, struct edge *e)
{
	switch (x->action.kind) {
	case SENDER_MAKE_PACK:
		x->rc = make_pack(x, e);
		break;
	case SENDER_SEND_PIECE:
		x->rc = read_piece(x, e);
		break;
	case SENDER_TAKE_RECEIPT:
	case SENDER_UNPACK:
		x->rc = take_answer(x, e);
		break;
	case SENDER_GIVE_UP:
		x->rc = give_up(x, e);
		break;
	case SENDER_TRY_LATE:
		x->rc = late_due(e->store, &x->err);
		tell(x, SENDER_TRIED);
		break;
	case SENDER_SAY_HELLO:
	case SENDER_SEND_LEDGER:
	case SENDER_ASK_HOLDINGS:
	case SENDER_NEW_EPOCH:
	case SENDER_APPLY_HOLDINGS:
	case SENDER_ASK_PLACES:
	case SENDER_STEPPED_BACK: /* replicate's own (errand_is) */
		abort();
	}
}

void
errand_free(struct errand *x)
{
	if (!x)
		return;
	buf_fini(&x->answer);
	buf_fini(&x->call.body);
	free(x);
}

/* --- the threads --- */

struct errands {
	struct edge *e; /* set once */
	void (*done)(void *arg);
	void *arg;
	pthread_t threads[THREADS];
	unsigned n; /* of threads */
	pthread_mutex_t mu;
	pthread_cond_t work;
	/* guarded by mu */
	struct errand *waiting, **waiting_end, *ended, **ended_end;
	bool stop;
};

static void *
run(void *arg)
{
	struct errands *s = arg;

	(void)pthread_mutex_lock(&s->mu);
	for (;;) {
		struct errand *x = s->waiting;

		if (s->stop)
			break;
		if (!x) {
			(void)pthread_cond_wait(&s->work, &s->mu);
			continue;
		}
		s->waiting = x->next;
		if (!s->waiting)
			s->waiting_end = &s->waiting;
		(void)pthread_mutex_unlock(&s->mu);
		errand_run(x, s->e);
		x->next = NULL;
		(void)pthread_mutex_lock(&s->mu);
		*s->ended_end = x;
		s->ended_end = &x->next;
		(void)pthread_mutex_unlock(&s->mu);
		s->done(s->arg);
		(void)pthread_mutex_lock(&s->mu);
	}
	(void)pthread_mutex_unlock(&s->mu);
	return NULL;
}

int
errands_start(struct errands **out, struct edge *e, void (*done)(void *arg), void *arg,
	      struct err *err)
{
	struct errands *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(err, ERR_LOCAL, 0, "no memory for replication");
	s->e = e;
	s->done = done;
	s->arg = arg;
	s->waiting_end = &s->waiting;
	s->ended_end = &s->ended;
	(void)pthread_mutex_init(&s->mu, NULL);
	(void)pthread_cond_init(&s->work, NULL);
	for (; s->n < THREADS; s->n++)
		if (pthread_create(&s->threads[s->n], NULL, run, s)) {
			errands_stop(s);
			return err_set(err, ERR_LOCAL, 0, "cannot start a thread");
		}
	*out = s;
	return 0;
}

void
errands_give(struct errands *s, struct errand *x)
{
	x->next = NULL;
	(void)pthread_mutex_lock(&s->mu);
	*s->waiting_end = x;
	s->waiting_end = &x->next;
	(void)pthread_cond_signal(&s->work);
	(void)pthread_mutex_unlock(&s->mu);
}

struct errand *
errands_take(struct errands *s)
{
	struct errand *x;

	(void)pthread_mutex_lock(&s->mu);
	x = s->ended;
	if (x)
		s->ended = x->next;
	if (!s->ended)
		s->ended_end = &s->ended;
	(void)pthread_mutex_unlock(&s->mu);
	return x;
}

void
errands_stop(struct errands *s)
{
	struct errand *x;
	unsigned i;

	if (!s)
		return;
	(void)pthread_mutex_lock(&s->mu);
	s->stop = true;
	(void)pthread_cond_broadcast(&s->work);
	(void)pthread_mutex_unlock(&s->mu);
	for (i = 0; i < s->n; i++)
		(void)pthread_join(s->threads[i], NULL);
	while ((x = s->waiting)) {
		s->waiting = x->next;
		errand_free(x);
	}
	while ((x = errands_take(s)))
		errand_free(x);
	(void)pthread_cond_destroy(&s->work);
	(void)pthread_mutex_destroy(&s->mu);
	free(s);
}
