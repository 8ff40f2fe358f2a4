#include "common/dimse/commitment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/assoc.h"
#include "common/dimse/audit.h"
#include "common/dimse/backoff.h"
#include "common/dimse/commitments.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/dimse/references.h"
#include "common/dimse/results.h"
#include "common/dimse/service.h"
#include "common/store/store.h"

enum {
	ACTION_COMMIT = 1, /* PS3.4 J.3.2 */
	SAME_MS = 1000,	   /* so long a result may take to go out on its request's association */
	SAME_STEP_MS = 20,
	TURN_MS = 250,
	SOON_MS = 1000,
	IDLE_MS = 60000,
	PAGE = 100,
	IDENTIFIER_SECONDS = 60,
	SMALL = 1000, /* references of a request that may use the reserve, */
	FEW = 100,    /* while no more wait                                 */
	ROW_BYTES = 256
};

#define OFFERED_MS (14 * INT64_C(86400000))

/* A result that is going out, or may, on the association of its request. */
struct claim {
	struct claim *next;
	const struct dimse_caller *who;
	uint64_t number;
	unsigned id; /* of the N-EVENT-REPORT; 0: not sent */
};

struct commitment {
	struct commitment_config c;
	pthread_t thread;
	bool threaded;
	struct backoff backoff; /* the duty's thread only */
	_Atomic unsigned next_id;
	pthread_mutex_t mu;
	pthread_cond_t wake;
	/* guarded by mu */
	bool stopping, wanted;
	struct peers *peers;
	struct claim *claims;
	int fd; /* of the association that the duty has; -1: none */
};

static int64_t
now_ms(const struct commitment *c)
{
	return store_time(c->c.verdicts.store);
}

static struct peers *
peers_now(struct commitment *c)
{
	struct peers *p;

	(void)pthread_mutex_lock(&c->mu);
	p = peers_ref(c->peers);
	(void)pthread_mutex_unlock(&c->mu);
	return p;
}

static bool
is_stopping(struct commitment *c)
{
	bool yes;

	(void)pthread_mutex_lock(&c->mu);
	yes = c->stopping;
	(void)pthread_mutex_unlock(&c->mu);
	return yes;
}

void
commitment_wake(struct commitment *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->mu);
	c->wanted = true;
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->mu);
}

/* --- claims --- */

static struct claim *
claim_add(struct commitment *c, const struct dimse_caller *who, uint64_t number)
{
	struct claim *k, *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	made->who = who;
	made->number = number;
	(void)pthread_mutex_lock(&c->mu);
	/* One at a time on an association: no asynchronous operations were negotiated. */
	for (k = c->claims; k && k->who != who && k->number != number; k = k->next)
		;
	if (!k) {
		made->next = c->claims;
		c->claims = made;
	}
	(void)pthread_mutex_unlock(&c->mu);
	if (k) {
		free(made);
		made = NULL;
	}
	return made;
}

static void
claim_drop(struct commitment *c, struct claim *claim)
{
	struct claim **at;

	(void)pthread_mutex_lock(&c->mu);
	for (at = &c->claims; *at && *at != claim; at = &(*at)->next)
		;
	if (*at)
		*at = claim->next;
	c->wanted = true;
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->mu);
	free(claim);
}

static bool
is_claimed(struct commitment *c, uint64_t number)
{
	struct claim *k;

	(void)pthread_mutex_lock(&c->mu);
	for (k = c->claims; k && k->number != number; k = k->next)
		;
	(void)pthread_mutex_unlock(&c->mu);
	return k != NULL;
}

static struct claim *
claim_of(struct commitment *c, const struct dimse_caller *who)
{
	struct claim *k;

	(void)pthread_mutex_lock(&c->mu);
	for (k = c->claims; k && k->who != who; k = k->next)
		;
	(void)pthread_mutex_unlock(&c->mu);
	return k; /* its owner is this thread */
}

/* --- a result that is settled, or was not taken --- */

struct changing {
	uint64_t number;
	struct commitment_row row; /* as it was */
	int64_t now;
	bool gone;
};

static int
delete_row(struct store_tx *tx, void *arg, struct err *e)
{
	struct changing *h = arg;
	int rc = commitments_get(tx, h->number, &h->row, e);

	h->gone = rc == ERR_ABSENT;
	if (!rc)
		rc = commitments_del(tx, h->number, e);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* It is settled, or given up. */
static void
forget(struct commitment *c, uint64_t number, bool taken, const char *peer)
{
	struct changing h = {.number = number};
	struct err e = ERR_INIT;

	if (store_commit(c->c.verdicts.store, delete_row, &h, &e)) {
		log_err(LOG_ERROR, "commit.forget", &e); /* the peer hears it again */
		return;
	}
	if (h.gone)
		return;
	audit_line(c->c.audit, taken ? "commit.result" : "commit.given-up",
		   "peer=%s transaction=%s instances=%u failed=%u here_only=%u", peer,
		   uid_shown(h.row.transaction), h.row.n, h.row.failed, h.row.here_only);
	log_line(taken ? LOG_INFO : LOG_ERROR, taken ? "commit.result" : "commit.given_up",
		 "peer=%s transaction=%s instances=%u failed=%u here_only=%u", peer,
		 uid_shown(h.row.transaction), h.row.n, h.row.failed, h.row.here_only);
}

static int
put_off_row(struct store_tx *tx, void *arg, struct err *e)
{
	struct changing *h = arg;
	int rc = commitments_get(tx, h->number, &h->row, e);

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	h->row.next_ms = h->now + backoff_ms(h->row.tries++);
	return commitments_put(tx, &h->row, e);
}

static void
put_off(struct commitment *c, uint64_t number)
{
	struct changing h = {.number = number, .now = now_ms(c)};
	struct err e = ERR_INIT;

	if (store_commit(c->c.verdicts.store, put_off_row, &h, &e))
		log_err(LOG_ERROR, "commit.put_off", &e);
}

/* --- on a new association --- */

static void
connected(void *arg, int fd)
{
	struct commitment *c = arg;

	(void)pthread_mutex_lock(&c->mu);
	c->fd = fd;
	if (c->stopping)
		(void)shutdown(fd, SHUT_RDWR);
	(void)pthread_mutex_unlock(&c->mu);
}

static int
deliver_to(struct commitment *c, struct peers *peers, const struct peer *peer, const char *host,
	   const struct commitment_row *row, bool *answered, struct err *e)
{
	struct assoc_target to = {.host = host,
				  .port = peer->port,
				  .calling = row->called,
				  .called = peer->aet,
				  .max_pdu = c->c.max_pdu,
				  .seconds = c->c.seconds,
				  .connected = connected,
				  .arg = c};
	int rc;

	peers_secure(peers, peer, &to);
	rc = results_deliver(c->c.verdicts.store, &to, row, answered, e);

	(void)pthread_mutex_lock(&c->mu);
	c->fd = -1;
	(void)pthread_mutex_unlock(&c->mu);
	return rc;
}

static void
deliver(struct commitment *c, struct peers *peers, const struct commitment_row *row)
{
	const struct peer *peer = peers_named(peers, row->peer);
	struct err why = ERR_INIT;
	char host[PEER_ADDRESS_SIZE];
	bool answered = false;
	int rc;

	if (row->next_ms > now_ms(c) || backoff_waits(&c->backoff, row->peer, now_ms(c)))
		return;
	if (!peer || !peer->host[0] || !peer->port)
		rc = err_set(&why, ERR_PEER, 0,
			     "[peer %.40s] needs host and port: where its results go", row->peer);
	else if (!peers_host(peers, peer, host))
		rc = err_set(&why, ERR_AGAIN, 0, "its host name is not resolved yet");
	else
		rc = deliver_to(c, peers, peer, host, row, &answered, &why);
	if (!rc) {
		forget(c, row->number, true, row->peer);
		return;
	}
	if (is_stopping(c)) /* nobody refused it */
		return;
	log_line(LOG_WARN, "commit.not_taken", "peer=%s transaction=%s tries=%u what=\"%s\"",
		 row->peer, uid_shown(row->transaction), row->tries + 1, why.what);
	if (!answered) /* who answers may well take the next one */
		backoff_begin(&c->backoff, row->peer, now_ms(c) + backoff_ms(row->tries));
	if (now_ms(c) - row->ready_ms > OFFERED_MS)
		forget(c, row->number, false, row->peer);
	else
		put_off(c, row->number);
}

/* --- the duty --- */

struct page {
	struct commitment_row rows[PAGE];
	size_t n;
};

static int
note_row(void *arg, const struct commitment_row *row, struct err *e)
{
	struct page *p = arg;

	(void)e;
	p->rows[p->n++] = *row;
	return p->n == PAGE ? ERR_AGAIN : 0;
}

static int
read_page(struct commitment *c, uint64_t from, struct page *p, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->c.verdicts.store, e);

	p->n = 0;
	if (rc)
		return rc;
	rc = commitments_each(tx, from, note_row, p, e);
	store_end_read(tx);
	return rc == ERR_AGAIN ? 0 : rc;
}

static int
look_at(struct commitment *c, struct peers *peers, struct commitment_row *row, struct err *e)
{
	struct store_tx *tx;
	bool ready = false;
	int rc = verdicts_progress(&c->c.verdicts, peers_named(peers, row->peer), row->number,
				   &ready, e);

	if (!rc && ready && !row->ready_ms) {
		rc = store_begin_read(&tx, c->c.verdicts.store, e);
		if (rc)
			return rc;
		rc = commitments_get(tx, row->number, row, e);
		store_end_read(tx);
	}
	if (!rc && ready && !is_claimed(c, row->number))
		deliver(c, peers, row);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* All requests once; *any: there are some. */
static int
look_at_all(struct commitment *c, struct page *p, bool *any, struct err *e)
{
	struct peers *peers = peers_now(c);
	uint64_t from = 0;
	size_t i;
	int rc = store_settle(c->c.verdicts.store, e);

	*any = false;
	do {
		if (!rc)
			rc = read_page(c, from, p, e);
		*any = *any || (!rc && p->n);
		for (i = 0; !rc && i < p->n && !is_stopping(c); i++) {
			from = p->rows[i].number + 1;
			rc = look_at(c, peers, &p->rows[i], e);
		}
	} while (!rc && p->n == PAGE && !is_stopping(c));
	peers_unref(peers);
	return rc;
}

static int64_t
turn(struct commitment *c, struct page *p)
{
	struct err e = ERR_INIT;
	bool any = false, again = false;
	int rc = look_at_all(c, p, &any, &e);

	if (rc)
		log_err(LOG_ERROR, "commit", &e);
	if (c->c.turned && !is_stopping(c))
		again = c->c.turned(c->c.arg);
	return rc || again ? SOON_MS : any ? TURN_MS : IDLE_MS;
}

static void *
run(void *arg)
{
	struct commitment *c = arg;
	struct page *p = malloc(sizeof(*p));
	struct timespec t;
	int64_t ms;

	(void)pthread_mutex_lock(&c->mu);
	while (p && !c->stopping) {
		c->wanted = false;
		(void)pthread_mutex_unlock(&c->mu);
		ms = turn(c, p);
		(void)pthread_mutex_lock(&c->mu);
		clock_deadline(&t, ms);
		while (!c->stopping && !c->wanted &&
		       pthread_cond_timedwait(&c->wake, &c->mu, &t) == 0)
			;
	}
	(void)pthread_mutex_unlock(&c->mu);
	free(p);
	return NULL;
}

/* --- a request --- */

struct asking {
	struct commitment *c;
	struct references list;
	struct commitment_row row;
	bool again;
};

static int
add(struct store_tx *tx, void *arg, struct err *e)
{
	struct asking *a = arg;
	struct commitment_row row = a->row; /* it may run twice */
	uint64_t waiting;
	int rc = commitments_count(tx, &waiting, e);

	/* R12: small ones may use the reserve, as long as they are few. */
	if (!rc && (a->list.n > SMALL || waiting >= FEW))
		rc = store_admit(store_tx_store(tx), a->list.n * ROW_BYTES, e);
	if (!rc)
		rc = commitments_add(tx, &row, &a->list, &a->again, e);
	if (!rc)
		a->row = row;
	return rc;
}

static unsigned
refuse(const struct dimse_caller *who, unsigned status, const char *what)
{
	log_line(LOG_WARN, "commit.refused",
		 "status=%04x calling=%s address=%s peer=%s what=\"%s\"", status, who->calling,
		 who->address, who->peer->name, what);
	dimse_refused(who, "commit", status);
	return status;
}

/* 0: it is durable, and a->row tells of it. */
static unsigned
take(struct asking *a, const struct dimse_caller *who, const struct message *rq,
     const struct buf *bytes)
{
	const char *syntax = assoc_accepted(who->assoc, rq->context)->syntax;
	struct err why = ERR_INIT;
	int rc;

	if (strcmp(rq->sop_instance, COMMITMENT_INSTANCE) != 0)
		return refuse(who, STATUS_NO_SUCH_INSTANCE, "another instance");
	if (rq->type != ACTION_COMMIT)
		return refuse(who, STATUS_NO_SUCH_ACTION, "another action");
	if (!who->peer->host[0] || !who->peer->port) {
		(void)err_set(&why, ERR_PEER, 0,
			      "[peer %.40s] needs host and port: where its results go",
			      who->peer->name);
		return refuse(who, STATUS_PROCESSING_FAILURE, why.what);
	}
	rc = references_parse(&a->list, syntax, bytes->data, bytes->len, &why);
	if (rc)
		return refuse(who,
			      rc == ERR_PEER ? STATUS_INVALID_ARGUMENT : STATUS_RESOURCE_LIMITATION,
			      why.what);
	(void)snprintf(a->row.peer, sizeof(a->row.peer), "%s", who->peer->name);
	(void)snprintf(a->row.calling, sizeof(a->row.calling), "%s", who->calling);
	(void)snprintf(a->row.called, sizeof(a->row.called), "%s", who->called);
	strcpy(a->row.transaction, a->list.transaction);
	a->row.asked_ms = now_ms(a->c);
	rc = store_commit(a->c->c.verdicts.store, add, a, &why);
	if (rc)
		return refuse(who,
			      rc == ERR_FULL ? STATUS_RESOURCE_LIMITATION
					     : STATUS_PROCESSING_FAILURE,
			      why.what);
	audit_line(who->config->audit, "commit",
		   "calling=%s called=%s address=%s transaction=%s instances=%zu again=%d",
		   who->calling, who->called, who->address, uid_shown(a->row.transaction),
		   a->list.n, (int)a->again);
	return STATUS_SUCCESS;
}

/* Until it is ready; false: it takes too long, or the peer has something else to say. */
static bool
soon_ready(struct commitment *c, const struct dimse_caller *who, uint64_t number)
{
	int64_t until = clock_mono(clock_real()) + SAME_MS;
	struct err e = ERR_INIT;
	struct timespec t;
	bool ready = false, go_on = true;

	(void)store_settle(c->c.verdicts.store, NULL);
	while (go_on) {
		int rc = verdicts_progress(&c->c.verdicts, who->peer, number, &ready, &e);

		if (rc && rc != ERR_ABSENT)
			log_err(LOG_ERROR, "commit", &e);
		if (rc) /* ERR_ABSENT: the duty was quicker */
			return false;
		if (ready || assoc_waiting(who->assoc))
			break;
		(void)pthread_mutex_lock(&c->mu);
		clock_deadline(&t, SAME_STEP_MS);
		(void)pthread_cond_timedwait(&c->wake, &c->mu, &t);
		go_on = !c->stopping && clock_mono(clock_real()) < until;
		(void)pthread_mutex_unlock(&c->mu);
	}
	return ready && !assoc_waiting(who->assoc);
}

/* On this association, if it is ready in time; else the duty does it. */
static int
offer(struct commitment *c, const struct dimse_caller *who, const struct message *rq,
      uint64_t number, struct err *e)
{
	struct claim *claim = claim_add(c, who, number);
	struct commitment_row row;
	struct store_tx *tx;
	int rc = 0;

	if (!claim || !soon_ready(c, who, number))
		goto out;
	rc = store_begin_read(&tx, c->c.verdicts.store, e);
	if (!rc) {
		rc = commitments_get(tx, number, &row, e);
		store_end_read(tx);
	}
	if (!rc) {
		claim->id = atomic_fetch_add(&c->next_id, 1) % 65535 + 1;
		rc = results_send(c->c.verdicts.store, who->assoc, rq->context, claim->id, &row, e);
	}
	if (!rc)
		return 0; /* its answer comes as a message, maybe behind others */
	rc = rc == ERR_ABSENT ? 0 : rc;
out:
	if (claim)
		claim_drop(c, claim);
	else
		commitment_wake(c);
	return rc;
}

int
commitment_action(struct commitment *c, const struct dimse_caller *who, const struct message *rq,
		  struct err *e)
{
	struct asking a = {.c = c};
	struct buf bytes = BUF_INIT;
	struct message rsp;
	unsigned status = STATUS_SUCCESS;
	int rc = message_receive_identifier(who->assoc, rq, IDENTIFIER_SECONDS, &bytes, e);

	if (!rc) {
		status = take(&a, who, rq, &bytes);
		message_answer(&rsp, rq, status);
		rc = message_send(who->assoc, &rsp, e);
	}
	references_fini(&a.list);
	buf_fini(&bytes);
	if (rc || status)
		return rc;
	return offer(c, who, rq, a.row.number, e);
}

int
commitment_answered(struct commitment *c, const struct dimse_caller *who, const struct message *rsp,
		    struct err *e)
{
	struct claim *k = claim_of(c, who);

	if (!k || !k->id || rsp->responded_to != k->id)
		return err_set(e, ERR_PEER, 0, "an answer to nothing");
	if (rsp->status == STATUS_SUCCESS) {
		forget(c, k->number, true, who->peer->name);
	} else {
		log_line(LOG_WARN, "commit.not_taken", "peer=%s status=%04x", who->peer->name,
			 rsp->status);
		put_off(c, k->number);
	}
	claim_drop(c, k);
	return 0;
}

void
commitment_ended(struct commitment *c, const struct dimse_caller *who)
{
	struct claim *k = claim_of(c, who);

	if (k)
		claim_drop(c, k);
}

/* --- start and stop --- */

int
commitment_start(struct commitment **out, const struct commitment_config *config,
		 struct peers *peers, struct err *e)
{
	struct commitment *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for storage commitment");
	c->c = *config;
	c->fd = -1;
	c->peers = peers_ref(peers);
	(void)pthread_mutex_init(&c->mu, NULL);
	clock_cond(&c->wake);
	c->threaded = pthread_create(&c->thread, NULL, run, c) == 0;
	if (!c->threaded) {
		commitment_stop(c);
		return err_set(e, ERR_LOCAL, 0, "no thread for storage commitment");
	}
	*out = c;
	return 0;
}

void
commitment_peers(struct commitment *c, struct peers *peers)
{
	struct peers *old;

	(void)pthread_mutex_lock(&c->mu);
	old = c->peers;
	c->peers = peers_ref(peers);
	c->wanted = true;
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->mu);
	peers_unref(old);
}

void
commitment_stop(struct commitment *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->mu);
	c->stopping = true;
	if (c->fd >= 0)
		(void)shutdown(c->fd, SHUT_RDWR);
	(void)pthread_cond_broadcast(&c->wake);
	(void)pthread_mutex_unlock(&c->mu);
	if (c->threaded)
		(void)pthread_join(c->thread, NULL);
	peers_unref(c->peers);
	(void)pthread_mutex_destroy(&c->mu);
	(void)pthread_cond_destroy(&c->wake);
	free(c);
}
