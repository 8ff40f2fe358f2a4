#include "common/dimse/pledging.h"

#include <pthread.h>
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
#include "common/dimse/connection.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/dimse/pledge_call.h"
#include "common/dimse/pledge_event.h"
#include "common/dimse/pledge_steps.h"
#include "common/dimse/pledge_supply.h"
#include "common/dimse/pledges.h"
#include "common/dimse/references.h"
#include "common/dimse/service.h"
#include "common/store/store.h"

enum {
	SAME_MS = 2000, /* so long a result is waited for on its request's association */
	SAME_STEP_MS = 20,
	SOON_MS = 1000,
	IDLE_MS = 60000,
	PAGE = 50,
	IDENTIFIER_SECONDS = 60
};

struct pledging {
	struct pledging_config c;
	struct pledge_steps steps;
	pthread_t thread;
	bool threaded;
	struct backoff backoff; /* the duty's thread only */
	pthread_mutex_t mu;
	pthread_cond_t wake;
	/* guarded by mu */
	bool stopping, wanted;
	struct peers *peers;
	int fds[DIMSE_SUBS]; /* of the associations that the duty has; -1: none */
};

static struct store *
store_of(const struct pledging *p)
{
	return p->c.retrieve.store;
}

static int64_t
now_ms(const struct pledging *p)
{
	return store_time(store_of(p));
}

struct peers *
pledging_peers_now(struct pledging *p)
{
	struct peers *now;

	(void)pthread_mutex_lock(&p->mu);
	now = peers_ref(p->peers);
	(void)pthread_mutex_unlock(&p->mu);
	return now;
}

static bool
goes_on(void *arg)
{
	struct pledging *p = arg;
	bool yes;

	(void)pthread_mutex_lock(&p->mu);
	yes = !p->stopping;
	(void)pthread_mutex_unlock(&p->mu);
	return yes;
}

void
pledging_wake(struct pledging *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->mu);
	p->wanted = true;
	(void)pthread_cond_broadcast(&p->wake);
	(void)pthread_mutex_unlock(&p->mu);
}

/* An archive that is silent must not keep the node from stopping. */
static void
note_socket(void *arg, unsigned at, int fd)
{
	struct pledging *p = arg;

	(void)pthread_mutex_lock(&p->mu);
	p->fds[at] = fd;
	if (p->stopping && fd >= 0)
		(void)shutdown(fd, SHUT_RDWR);
	(void)pthread_mutex_unlock(&p->mu);
}

static void
put_off(struct pledging *p, const struct pledge_row *row, unsigned status, const char *why)
{
	if (!goes_on(p)) /* nobody refused it */
		return;
	if (!status) /* who answers may well take the next request */
		backoff_begin(&p->backoff, row->archive, now_ms(p) + backoff_ms(row->tries));
	pledge_put_off(&p->steps, row, status, why);
}

/* --- first: what the archive lacks --- */

/* It answers: what else it is asked for need not wait. */
static void
wait_for_rest(struct pledging *p, const struct pledge_row *row, unsigned later)
{
	char why[64];

	(void)snprintf(why, sizeof(why), "it does not take %u of the images now", later);
	if (goes_on(p))
		pledge_put_off(&p->steps, row, 0, why);
}

/* true: all that goes there is there. */
static bool
supply(struct pledging *p, const struct pledge_supply *s, const struct pledge_row *row)
{
	struct err e = ERR_INIT;
	struct pledge *all = NULL;
	unsigned later;
	size_t n;
	int rc, noted;

	if (pledge_read_open(&p->steps, row, &all, &n))
		return false;
	rc = pledge_supply(s, all, n, &later, &e);
	noted = pledge_supplied(&p->steps, row, all, n, !rc && !later);
	free(all);
	if (rc)
		put_off(p, row, 0, e.what);
	else if (later)
		wait_for_rest(p, row, later);
	return !rc && !later && !noted;
}

/* --- then: the question --- */

static int
make_list(struct references *list, const char *transaction, const struct pledge *all, size_t n,
	  struct err *e)
{
	size_t i;

	memset(list, 0, sizeof(*list));
	strcpy(list->transaction, transaction);
	list->all = calloc(n, sizeof(*list->all));
	if (!list->all)
		return err_set(e, ERR_LOCAL, 0, "no memory for a request");
	for (i = 0; i < n; i++) {
		strcpy(list->all[i].sop_class, all[i].sop_class);
		strcpy(list->all[i].sop_instance, all[i].sop_instance);
	}
	list->n = n;
	return 0;
}

static int
answer(const struct pledge_heard *from, struct assoc *a, const struct message *rq, unsigned *status,
       struct err *why, struct err *e)
{
	struct buf bytes = BUF_INIT;
	struct message rsp;
	int rc = message_receive_identifier(a, rq, IDENTIFIER_SECONDS, &bytes, e);

	if (!rc) {
		*status = pledge_event_take(from, assoc_accepted(a, rq->context)->syntax, rq,
					    &bytes, why);
		message_answer(&rsp, rq, *status);
		rc = message_send(a, &rsp, e);
	}
	buf_fini(&bytes);
	return rc;
}

struct listening {
	struct pledging *p;
	const struct pledge_row *row;
};

/* On the association of the request. */
static int
hear(void *arg, struct assoc *a, const struct message *rq, struct err *e)
{
	const struct listening *l = arg;
	const char *archive = l->row->archive;
	struct pledge_heard from = {store_of(l->p), l->p->c.audit, archive};
	struct err why = ERR_INIT;
	unsigned status = 0;
	int rc;

	if (rq->command != MESSAGE_EVENT_RQ || !rq->has_data)
		return err_set(e, ERR_PEER, 0, "another message than a result");
	rc = answer(&from, a, rq, &status, &why, e);
	if (!rc && status) {
		log_line(LOG_WARN, "pledge.event", "peer=%s status=%04x what=\"%s\"", archive,
			 status, why.what);
		audit_line(l->p->c.audit, "refused", "what=event status=%04x peer=%s", status,
			   archive);
	}
	return rc;
}

/* The result may come on the association of its request, soon. */
static int
listen_here(struct pledging *p, struct assoc *a, const struct pledge_row *row)
{
	int64_t until = clock_mono(clock_real()) + SAME_MS;
	struct listening l = {p, row};
	struct message rq;
	int rc = 0;

	while (!rc && goes_on(p) && !pledge_is_settled(&p->steps, row->number) &&
	       clock_mono(clock_real()) < until) {
		if (!assoc_waiting(a)) {
			clock_sleep(clock_real(), SAME_STEP_MS);
			continue;
		}
		rc = message_receive(a, p->c.retrieve.seconds, &rq, NULL);
		if (!rc)
			rc = hear(&l, a, &rq, NULL);
	}
	return rc == ERR_ABSENT ? 0 : rc; /* it released */
}

/* What another try, later, may well have answered otherwise. */
static bool
worth_another_try(unsigned status)
{
	return status == STATUS_PROCESSING_FAILURE || status == STATUS_RESOURCE_LIMITATION;
}

/* Other than 0: the association is of no use any more. */
static int
answered(struct pledging *p, struct assoc *a, const struct pledge_row *row, unsigned status)
{
	char why[64];

	if (status == STATUS_SUCCESS) {
		if (pledge_is_asked(&p->steps, row) == 0)
			return listen_here(p, a, row);
	} else if (worth_another_try(status)) {
		(void)snprintf(why, sizeof(why), "it answers the request with %04x", status);
		put_off(p, row, status, why);
	} else {
		pledge_end(&p->steps, row, PLEDGE_REFUSED, status);
	}
	return 0;
}

static void
call(struct pledging *p, const struct assoc_target *to, const struct pledge_row *row,
     const struct pledge *all, size_t n)
{
	struct listening l = {p, row};
	const struct pledge_early early = {hear, &l};
	struct references list;
	struct err e = ERR_INIT;
	struct assoc *a = NULL;
	unsigned status = 0;
	int rc = make_list(&list, row->transaction, all, n, &e);

	if (!rc)
		rc = pledge_call(&a, to, &list, &early, &status, &e);
	references_fini(&list);
	if (rc)
		put_off(p, row, 0, e.what);
	else if (answered(p, a, row, status))
		assoc_abort(a);
	else
		assoc_release(a);
	note_socket(p, 0, -1);
	assoc_free(a);
}

static void
ask(struct pledging *p, const struct pledge_supply *s, const struct pledge_row *asked)
{
	struct pledge_row row = *asked;
	struct err e = ERR_INIT;
	struct assoc_target to;
	struct pledge *all = NULL;
	char host[PEER_ADDRESS_SIZE];
	size_t n;

	if (pledge_supply_target(s, &to, host, &e)) {
		put_off(p, &row, 0, e.what);
		return;
	}
	if (pledge_read_open(&p->steps, &row, &all, &n))
		return;
	if (!n) /* none was taken, or all have been asked for anew */
		pledge_end(&p->steps, &row, PLEDGE_REFUSED, 0);
	else if (!pledge_goes_out(&p->steps, &row))
		call(p, &to, &row, all, n);
	free(all);
}

/* --- the duty --- */

static void
try_now(struct pledging *p, struct peers *peers, const struct pledge_row *row)
{
	const struct pledge_supply s = {.retrieve = &p->c.retrieve,
					.peers = peers,
					.archive = peers_named(peers, row->archive),
					.calling = row->calling,
					.max_pdu = p->c.max_pdu,
					.audit = p->c.audit,
					.patient = now_ms(p) < pledge_patient_until(row),
					.socket = note_socket,
					.go_on = goes_on,
					.arg = p};

	if (!s.archive || !s.archive->host[0] || !s.archive->port)
		put_off(p, row, 0, "its [peer] section is gone, or has no host and port");
	else if (row->phase == PLEDGE_ASKS || supply(p, &s, row))
		ask(p, &s, row);
}

static void
look_at(struct pledging *p, struct peers *peers, const struct pledge_row *row)
{
	if (row->phase == PLEDGE_SETTLED) {
		if (now_ms(p) >= row->ends_ms)
			pledge_forget(&p->steps, row);
	} else if (now_ms(p) >= row->ends_ms) {
		pledge_end(&p->steps, row, PLEDGE_RAN_OUT, row->status);
	} else if (row->phase != PLEDGE_WAITS && row->next_ms <= now_ms(p) &&
		   !backoff_waits(&p->backoff, row->archive, now_ms(p))) {
		try_now(p, peers, row);
	}
}

struct page {
	struct pledge_row rows[PAGE];
	size_t n;
};

static int
note_row(void *arg, const struct pledge_row *row, struct err *e)
{
	struct page *page = arg;

	(void)e;
	page->rows[page->n++] = *row;
	return page->n == PAGE ? ERR_AGAIN : 0;
}

/* All requests once; true: some are not settled. */
static bool
look_at_all(struct pledging *p, struct page *page)
{
	struct peers *peers = pledging_peers_now(p);
	struct err e = ERR_INIT;
	struct store_tx *tx;
	uint64_t from = 0;
	bool any = false;
	size_t i;
	int rc;

	do {
		page->n = 0;
		rc = store_begin_read(&tx, store_of(p), &e);
		if (rc)
			break;
		rc = pledges_each(tx, from, note_row, page, &e);
		store_end_read(tx);
		for (i = 0; i < page->n && goes_on(p); i++) {
			from = page->rows[i].number + 1;
			any = any || page->rows[i].phase != PLEDGE_SETTLED;
			look_at(p, peers, &page->rows[i]);
		}
	} while (rc == ERR_AGAIN && goes_on(p));
	if (rc && rc != ERR_AGAIN)
		log_err(LOG_ERROR, "pledge", &e);
	peers_unref(peers);
	return any || (rc && rc != ERR_AGAIN);
}

static void *
run(void *arg)
{
	struct pledging *p = arg;
	struct page *page = malloc(sizeof(*page));
	struct timespec t;
	bool any;

	(void)pthread_mutex_lock(&p->mu);
	while (page && !p->stopping) {
		p->wanted = false;
		(void)pthread_mutex_unlock(&p->mu);
		any = look_at_all(p, page);
		(void)pthread_mutex_lock(&p->mu);
		clock_deadline(&t, any ? SOON_MS : IDLE_MS);
		while (!p->stopping && !p->wanted &&
		       pthread_cond_timedwait(&p->wake, &p->mu, &t) == 0)
			;
	}
	(void)pthread_mutex_unlock(&p->mu);
	free(page);
	return NULL;
}

/* --- on a new association --- */

int
pledging_event(struct pledging *p, const struct dimse_caller *who, const struct message *rq,
	       struct err *e)
{
	struct pledge_heard from = {store_of(p), p->c.audit, who->peer->name};
	struct err why = ERR_INIT;
	unsigned status = 0;
	int rc = answer(&from, who->assoc, rq, &status, &why, e);

	if (!status)
		return rc;
	log_line(LOG_WARN, "dimse.refused",
		 "what=event status=%04x calling=%s address=%s peer=%s why=\"%s\" refusals=%lu",
		 status, who->calling, who->address, who->peer->name, why.what,
		 connection_refused(who->slot));
	dimse_refused(who, "event", status);
	return rc;
}

/* --- start and stop --- */

int
pledging_start(struct pledging **out, const struct pledging_config *config, struct peers *peers,
	       struct err *e)
{
	struct pledging *p = calloc(1, sizeof(*p));
	unsigned i;

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for asking archives");
	p->c = *config;
	p->steps = (struct pledge_steps){config->retrieve.store, config->audit};
	p->peers = peers_ref(peers);
	for (i = 0; i < DIMSE_SUBS; i++)
		p->fds[i] = -1;
	(void)pthread_mutex_init(&p->mu, NULL);
	clock_cond(&p->wake);
	p->threaded = pthread_create(&p->thread, NULL, run, p) == 0;
	if (!p->threaded) {
		pledging_stop(p);
		return err_set(e, ERR_LOCAL, 0, "no thread for asking archives");
	}
	*out = p;
	return 0;
}

void
pledging_peers(struct pledging *p, struct peers *peers)
{
	struct peers *old;

	(void)pthread_mutex_lock(&p->mu);
	old = p->peers;
	p->peers = peers_ref(peers);
	(void)pthread_mutex_unlock(&p->mu);
	peers_unref(old);
	pledging_wake(p);
}

void
pledging_stop(struct pledging *p)
{
	unsigned i;

	if (!p)
		return;
	(void)pthread_mutex_lock(&p->mu);
	p->stopping = true;
	for (i = 0; i < DIMSE_SUBS; i++)
		if (p->fds[i] >= 0)
			(void)shutdown(p->fds[i], SHUT_RDWR);
	(void)pthread_cond_broadcast(&p->wake);
	(void)pthread_mutex_unlock(&p->mu);
	if (p->threaded)
		(void)pthread_join(p->thread, NULL);
	peers_unref(p->peers);
	(void)pthread_mutex_destroy(&p->mu);
	(void)pthread_cond_destroy(&p->wake);
	free(p);
}
