#include "tests/lib/asker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/commitment.h"
#include "common/dimse/peers.h"
#include "common/dimse/pledge_wish.h"
#include "common/dimse/pledging.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "tests/lib/modality.h"

#define EXPLICIT "1.2.840.10008.1.2.1"

enum { SECONDS = 20, EVENT_ID = 9 };

/* --- the archive --- */

struct message
asker_event(unsigned char context, unsigned type)
{
	struct message m = {
		.context = context, .command = MESSAGE_EVENT_RQ, .id = EVENT_ID, .type = type};

	strcpy(m.sop_class, COMMITMENT_CLASS);
	strcpy(m.sop_instance, COMMITMENT_INSTANCE);
	return m;
}

static int
send_result(struct assoc *a, const struct message *m, const struct references *list, struct err *e)
{
	struct buf bytes = BUF_INIT;
	int rc;

	references_tell(&bytes, assoc_accepted(a, m->context)->syntax, list, "");
	rc = message_send_with(a, m, &bytes, e);
	buf_fini(&bytes);
	return rc;
}

static int
take_request(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	struct asker *s = node;
	struct buf bytes = BUF_INIT;
	struct message rsp, event = asker_event(rq->context, 1);
	int rc = message_receive_identifier(who->assoc, rq, SECONDS, &bytes, e);

	assert_int_equal(rc, 0);
	assert_int_equal(rq->type, 1);
	assert_string_equal(rq->sop_instance, COMMITMENT_INSTANCE);
	(void)pthread_mutex_lock(&s->mu);
	references_fini(&s->list);
	assert_int_equal(references_parse(&s->list, assoc_accepted(who->assoc, rq->context)->syntax,
					  bytes.data, bytes.len, NULL),
			 0);
	message_answer(&rsp, rq, s->only && s->list.n != s->only ? STATUS_SUCCESS : s->status);
	s->asked++;
	if (s->early)
		rc = send_result(who->assoc, &event, &s->list, e);
	if (!rc)
		rc = message_send(who->assoc, &rsp, e);
	if (!rc && s->at_once && rsp.status == STATUS_SUCCESS)
		rc = send_result(who->assoc, &event, &s->list, e);
	(void)pthread_mutex_unlock(&s->mu);
	buf_fini(&bytes);
	return rc;
}

static int
take_begin(void *node, const struct dimse_caller *who, const struct message *rq, const char *syntax,
	   void **sink, struct err *e)
{
	struct asker *s = node;
	bool first = strcmp(rq->sop_instance, "1.2.3.1") == 0;

	(void)who;
	(void)syntax;
	if (first && s->hangs_up)
		return err_set(e, ERR_PEER, 0, "hangs up");
	s->taken = first ? s->refuse : STATUS_SUCCESS;
	*sink = node;
	return 0;
}

static int
take_feed(void *sink, const void *p, size_t n, struct err *e)
{
	(void)sink;
	(void)p;
	(void)n;
	(void)e;
	return 0;
}

static void
take_end(void *sink, struct message *rsp)
{
	struct asker *s = sink;

	rsp->status = s->taken;
	s->kept += s->taken == STATUS_SUCCESS;
}

static void
take_abandon(void *sink)
{
	(void)sink;
}

/* The answer to its result. */
static int
answered(void *node, const struct dimse_caller *who, const struct message *rsp, struct err *e)
{
	(void)node;
	(void)who;
	return rsp->status ? err_set(e, ERR_PEER, 0, "not taken") : 0;
}

static struct peers *
peers_of(struct asker *s, const char *text)
{
	const struct conf_row *rows;
	char path[128];
	struct peers *peers;
	struct conf *c;
	size_t n;

	rows = peers_rows(&n);
	assert_int_equal(file_replace(s->stored.dir, "p.conf", text, strlen(text), NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/p.conf", s->stored.dir);
	assert_int_equal(conf_load(&c, path, rows, n, NULL), 0);
	assert_int_equal(peers_load(&peers, c, NULL, true, NULL), 0);
	conf_free(c);
	return peers;
}

static struct dimse_config
listening(const char *const *titles, const char *const *listen, void *node)
{
	struct dimse_config c = {.titles = titles,
				 .listen = listen,
				 .max_associations = 20,
				 .max_per_address = 20,
				 .max_pdu = ASSOC_PDU_MAX,
				 .association_seconds = SECONDS,
				 .idle_seconds = SECONDS};

	c.handlers.node = node;
	return c;
}

void
asker_on(struct asker *s)
{
	static const char *const titles[] = {"VAULT", NULL};
	static const char *listens[2];

	listens[0] = s->archive_listen;
	s->archive_config = listening(titles, listens, s);
	s->archive_config.handlers.action = take_request;
	s->archive_config.handlers.answered = answered;
	s->archive_config.handlers.store_begin = take_begin;
	s->archive_config.handlers.store_feed = take_feed;
	s->archive_config.handlers.store_end = take_end;
	s->archive_config.handlers.store_abandon = take_abandon;
	assert_int_equal(dimse_start(&s->archive, &s->archive_config, s->archive_peers, NULL), 0);
}

void
asker_off(struct asker *s)
{
	dimse_stop(s->archive);
	s->archive = NULL;
}

/* A result on an association of its own; the answer's status. 0xffff: not accepted. */
unsigned
asker_report_in_role(struct asker *s, const char *title, enum assoc_role role,
		     const struct message *m, const struct references *list)
{
	static const char *const plain[] = {EXPLICIT};
	struct assoc_proposal p = {COMMITMENT_CLASS, plain, 1, role};
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = s->port,
				  .calling = title,
				  .called = "NODE",
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = SECONDS};
	struct assoc_context c;
	struct message rsp;
	struct assoc *a = NULL;
	unsigned status = 0xffff;

	if (assoc_request(&a, &to, &p, 1, NULL))
		return status;
	if (assoc_context_at(a, 0, &c) && c.accepted) {
		assert_int_equal(send_result(a, m, list, NULL), 0);
		assert_int_equal(message_receive(a, SECONDS, &rsp, NULL), 0);
		assert_int_equal(rsp.command, MESSAGE_EVENT_RSP);
		assert_int_equal(rsp.responded_to, EVENT_ID);
		status = rsp.status;
	}
	assoc_release(a);
	assoc_free(a);
	return status;
}

unsigned
asker_report_as(struct asker *s, const char *title, const struct message *m,
		const struct references *list)
{
	return asker_report_in_role(s, title, ASSOC_ROLE_SCP, m, list);
}

unsigned
asker_report(struct asker *s, const struct references *list)
{
	struct message m = asker_event(1, 1);

	return asker_report_as(s, "VAULT", &m, list);
}

/* --- the node --- */

static int
event(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return pledging_event(((struct asker *)node)->p, who, rq, e);
}

static void
open_node(struct asker *s)
{
	static const char *const titles[] = {"NODE", NULL};
	static const char *listens[2];
	struct pledging_config pc = {.max_pdu = ASSOC_PDU_MAX,
				     .retrieve = {.store = s->stored.s,
						  .clock = &s->stored.clock.c,
						  .seconds = SECONDS}};

	listens[0] = s->listen;
	assert_int_equal(pledging_start(&s->p, &pc, s->peers, NULL), 0);
	s->config = listening(titles, listens, s);
	s->config.handlers.event = event;
	assert_int_equal(dimse_start(&s->dimse, &s->config, s->peers, NULL), 0);
}

static void
close_node(struct asker *s)
{
	dimse_stop(s->dimse);
	pledging_stop(s->p);
}

static unsigned
free_port(char listen[32])
{
	struct modality m;
	unsigned port;

	modality_init(&m);
	modality_on(&m); /* so that the next one is another */
	port = m.port;
	modality_fini(&m);
	(void)snprintf(listen, 32, "127.0.0.1:%u", port);
	return port;
}

int
asker_begin(void **state)
{
	struct asker *s = calloc(1, sizeof(*s));
	struct modality held;
	char text[512];

	assert_non_null(s);
	log_set_level(LOG_ERROR);
	(void)pthread_mutex_init(&s->mu, NULL);
	stored_init(&s->stored, 0);
	s->port = free_port(s->listen);
	modality_init(&held);
	modality_on(&held);
	s->archive_port = free_port(s->archive_listen);
	modality_fini(&held);
	(void)snprintf(text, sizeof(text),
		       "[peer vault]\naet = VAULT\nhost = 127.0.0.1\nport = %u\n"
		       "[peer other]\naet = OTHER\nhost = 127.0.0.1\nport = %u\n",
		       s->archive_port, s->archive_port);
	s->peers = peers_of(s, text);
	s->archive_peers =
		peers_of(s, "[peer node]\naet = NODE\nfrom = 127.0.0.1\nmay = store, commit\n");
	open_node(s);
	asker_on(s);
	*state = s;
	return 0;
}

int
asker_end(void **state)
{
	struct asker *s = *state;

	asker_off(s);
	close_node(s);
	references_fini(&s->list);
	peers_unref(s->peers);
	peers_unref(s->archive_peers);
	stored_fini(&s->stored);
	(void)pthread_mutex_destroy(&s->mu);
	free(s);
	return 0;
}

void
asker_restart(struct asker *s)
{
	close_node(s);
	store_close(s->stored.s);
	assert_int_equal(stored_open(&s->stored, NULL), 0);
	open_node(s);
}

void
asker_images(struct asker *s, unsigned n)
{
	char uid[32];
	unsigned i;

	for (i = 1; i <= n; i++) {
		struct recipe r = {"1.2.3", uid, NULL, "c", (unsigned char)i, 64};

		(void)snprintf(uid, sizeof(uid), "1.2.3.%u", i);
		(void)stored_keep(s->stored.s, &r, "10.0.0.1");
	}
}

/* The archive is to be asked for all of this; the number of the first request. */
uint64_t
asker_order(struct asker *s, const char *uid, size_t most, bool send)
{
	const struct pledge_order o = {"vault", "NODE", send, most, 24 * HOUR};
	struct pledge_wish w = {.all = NULL};
	uint64_t number;

	assert_int_equal(pledge_wish_add(&w, s->stored.s, uid, NULL), 0);
	pledge_wish_sort(&w);
	assert_int_equal(pledge_wish_record(&w, s->stored.s, &o, NULL), 0);
	number = w.requests[0];
	pledge_wish_fini(&w);
	pledging_wake(s->p);
	return number;
}

uint64_t
asker_wish(struct asker *s, const char *uid, size_t most)
{
	return asker_order(s, uid, most, false);
}

struct pledge_row
asker_row(struct asker *s, uint64_t number)
{
	struct pledge_row row = {.number = 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, s->stored.s, NULL), 0);
	(void)pledges_get(tx, number, &row, NULL);
	store_end_read(tx);
	return row;
}

void
asker_moment(void)
{
	struct timespec t = {0, 5000000};

	(void)nanosleep(&t, NULL);
}

struct pledge_row
asker_await(struct asker *s, uint64_t number, enum pledge_phase phase)
{
	struct pledge_row row = asker_row(s, number);
	int i;

	for (i = 0; i < 4000 && row.phase != phase; i++) {
		asker_moment();
		row = asker_row(s, number);
	}
	assert_int_equal(row.phase, phase);
	return row;
}

void
asker_await_tries(struct asker *s, uint64_t number, unsigned tries)
{
	int i;

	for (i = 0; i < 4000 && asker_row(s, number).tries != tries; i++)
		asker_moment();
	assert_int_equal(asker_row(s, number).tries, tries);
}

void
asker_pass(struct asker *s, int64_t ms)
{
	clock_manual_advance(&s->stored.clock, ms);
	pledging_wake(s->p);
}

struct pledge
asker_standing(struct asker *s, const char *uid)
{
	struct pledge p = {.oid = 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, s->stored.s, NULL), 0);
	assert_int_equal(pledge_get(tx, "vault", uid, &p, NULL), 0);
	store_end_read(tx);
	return p;
}

static int
note_counts(void *arg, const struct pledge_counts *c, struct err *e)
{
	(void)e;
	*(struct pledge_counts *)arg = *c;
	return 0;
}

void
asker_counts_are(struct asker *s, unsigned open, unsigned committed, unsigned refused,
		 unsigned ran_out, unsigned unseen)
{
	struct pledge_counts c = {.unseen = 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, s->stored.s, NULL), 0);
	assert_int_equal(pledges_counts(tx, note_counts, &c, NULL), 0);
	store_end_read(tx);
	assert_int_equal(c.of[PLEDGE_OPEN], open);
	assert_int_equal(c.of[PLEDGE_COMMITTED], committed);
	assert_int_equal(c.of[PLEDGE_REFUSED], refused);
	assert_int_equal(c.of[PLEDGE_RAN_OUT], ran_out);
	assert_int_equal(c.unseen, unseen);
}

/* The list of the last request, to be answered. */
struct references
asker_asked(struct asker *s)
{
	struct references out;

	(void)pthread_mutex_lock(&s->mu);
	out = s->list;
	out.all = malloc(out.n * sizeof(*out.all));
	assert_non_null(out.all);
	memcpy(out.all, s->list.all, out.n * sizeof(*out.all));
	(void)pthread_mutex_unlock(&s->mu);
	return out;
}
