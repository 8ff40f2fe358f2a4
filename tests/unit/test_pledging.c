/* Storage commitment as SCU: a node and an archive on loopback, with a clock of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/commitment.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/dimse/pledge_say.h"
#include "common/dimse/pledge_wish.h"
#include "common/dimse/pledges.h"
#include "common/dimse/pledging.h"
#include "common/dimse/references.h"
#include "common/dimse/service.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "tests/lib/modality.h"
#include "tests/lib/stored.h"

#define SC "1.2.840.10008.5.1.4.1.1.7"
#define EXPLICIT "1.2.840.10008.1.2.1"
#define HOUR INT64_C(3600000)

enum { SECONDS = 20, EVENT_ID = 9 };

struct scene {
	struct stored stored;
	struct peers *peers;
	struct pledging *p;
	struct dimse *dimse;
	struct dimse_config config;
	unsigned port;
	char listen[32];
	/* the archive */
	struct dimse *archive;
	struct dimse_config archive_config;
	struct peers *archive_peers;
	unsigned archive_port;
	char archive_listen[32];
	_Atomic unsigned status; /* that it answers requests with, ... */
	_Atomic unsigned only;	 /* ... those of so many images; 0: all */
	_Atomic bool at_once;	 /* its result comes on the same association */
	_Atomic unsigned asked;
	pthread_mutex_t mu;
	struct references list; /* guarded by mu: of the last request */
};

/* --- the archive --- */

static struct message
event_of(unsigned char context, unsigned type)
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
	struct scene *s = node;
	struct buf bytes = BUF_INIT;
	struct message rsp, event = event_of(rq->context, 1);
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
	rc = message_send(who->assoc, &rsp, e);
	if (!rc && s->at_once && rsp.status == STATUS_SUCCESS)
		rc = send_result(who->assoc, &event, &s->list, e);
	(void)pthread_mutex_unlock(&s->mu);
	buf_fini(&bytes);
	return rc;
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
peers_of(struct scene *s, const char *text)
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

static void
archive_on(struct scene *s)
{
	static const char *const titles[] = {"VAULT", NULL};
	static const char *listens[2];

	listens[0] = s->archive_listen;
	s->archive_config = listening(titles, listens, s);
	s->archive_config.handlers.action = take_request;
	s->archive_config.handlers.answered = answered;
	assert_int_equal(dimse_start(&s->archive, &s->archive_config, s->archive_peers, NULL), 0);
}

static void
archive_off(struct scene *s)
{
	dimse_stop(s->archive);
	s->archive = NULL;
}

/* A result on an association of its own; the answer's status. 0xffff: not accepted. */
static unsigned
report_in_role(struct scene *s, const char *title, enum assoc_role role, const struct message *m,
	       const struct references *list)
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

static unsigned
report_as(struct scene *s, const char *title, const struct message *m,
	  const struct references *list)
{
	return report_in_role(s, title, ASSOC_ROLE_SCP, m, list);
}

static unsigned
report(struct scene *s, const struct references *list)
{
	struct message m = event_of(1, 1);

	return report_as(s, "VAULT", &m, list);
}

/* --- the node --- */

static int
event(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return pledging_event(((struct scene *)node)->p, who, rq, e);
}

static void
open_node(struct scene *s)
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
close_node(struct scene *s)
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

static int
begin(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
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
	s->archive_peers = peers_of(s, "[peer node]\naet = NODE\nfrom = 127.0.0.1\nmay = commit\n");
	open_node(s);
	archive_on(s);
	*state = s;
	return 0;
}

static int
end(void **state)
{
	struct scene *s = *state;

	archive_off(s);
	close_node(s);
	references_fini(&s->list);
	peers_unref(s->peers);
	peers_unref(s->archive_peers);
	stored_fini(&s->stored);
	(void)pthread_mutex_destroy(&s->mu);
	free(s);
	return 0;
}

static void
restart(struct scene *s)
{
	close_node(s);
	store_close(s->stored.s);
	assert_int_equal(stored_open(&s->stored, NULL), 0);
	open_node(s);
}

static void
keep_images(struct scene *s, unsigned n)
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
static uint64_t
wish(struct scene *s, const char *uid, size_t most)
{
	const struct pledge_order o = {"vault", "NODE", false, most, 24 * HOUR};
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

static struct pledge_row
row_of(struct scene *s, uint64_t number)
{
	struct pledge_row row = {.number = 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, s->stored.s, NULL), 0);
	(void)pledges_get(tx, number, &row, NULL);
	store_end_read(tx);
	return row;
}

static void
moment(void)
{
	struct timespec t = {0, 5000000};

	(void)nanosleep(&t, NULL);
}

static struct pledge_row
await_phase(struct scene *s, uint64_t number, enum pledge_phase phase)
{
	struct pledge_row row = row_of(s, number);
	int i;

	for (i = 0; i < 4000 && row.phase != phase; i++) {
		moment();
		row = row_of(s, number);
	}
	assert_int_equal(row.phase, phase);
	return row;
}

static void
await_tries(struct scene *s, uint64_t number, unsigned tries)
{
	int i;

	for (i = 0; i < 4000 && row_of(s, number).tries != tries; i++)
		moment();
	assert_int_equal(row_of(s, number).tries, tries);
}

static void
pass(struct scene *s, int64_t ms)
{
	clock_manual_advance(&s->stored.clock, ms);
	pledging_wake(s->p);
}

static struct pledge
standing(struct scene *s, const char *uid)
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

static void
counts_are(struct scene *s, unsigned open, unsigned committed, unsigned refused, unsigned ran_out,
	   unsigned unseen)
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
static struct references
asked_for(struct scene *s)
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

/* --- what is asked, and what comes of it --- */

static void
pledge__the_result_may_come_on_the_association_of_the_request(void **state)
{
	struct scene *s = *state;
	uint64_t number;

	keep_images(s, 3);
	s->at_once = true;
	number = wish(s, "1.2.3", 1000);
	(void)await_phase(s, number, PLEDGE_SETTLED);
	counts_are(s, 0, 3, 0, 0, 0);
	assert_int_equal(s->asked, 1);
	assert_int_equal(s->list.n, 3);
	assert_true(uid_valid(s->list.transaction, strlen(s->list.transaction)));
	assert_string_equal(s->list.all[0].sop_class, SC);
}

static void
pledge__a_late_result_finds_its_request_after_a_restart(void **state)
{
	struct scene *s = *state;
	struct references list;
	uint64_t number;

	keep_images(s, 2);
	number = wish(s, "1.2.3", 1000);
	(void)await_phase(s, number, PLEDGE_WAITS);
	counts_are(s, 2, 0, 0, 0, 0);
	restart(s);
	pass(s, 23 * HOUR);
	list = asked_for(s);
	assert_int_equal(report(s, &list), STATUS_SUCCESS);
	counts_are(s, 0, 2, 0, 0, 0);
	/* Its answer was lost: it comes again, and says something else. */
	list.all[0].reason = REASON_NO_SUCH_INSTANCE;
	assert_int_equal(report(s, &list), STATUS_SUCCESS);
	counts_are(s, 0, 2, 0, 0, 0);
	assert_int_equal(s->asked, 1);
	references_fini(&list);
}

static void
pledge__large_ones_are_split_and_each_has_a_transaction_of_its_own(void **state)
{
	struct scene *s = *state;
	uint64_t number;
	char first[UID_SIZE];

	keep_images(s, 5);
	s->at_once = true;
	number = wish(s, "1.2.3", 2);
	(void)await_phase(s, number, PLEDGE_SETTLED);
	strcpy(first, row_of(s, number).transaction);
	(void)await_phase(s, number + 1, PLEDGE_SETTLED);
	(void)await_phase(s, number + 2, PLEDGE_SETTLED);
	assert_int_equal(s->asked, 3);
	assert_string_not_equal(first, row_of(s, number + 1).transaction);
	counts_are(s, 0, 5, 0, 0, 0);
}

static void
pledge__each_refusal_is_kept_by_its_reason_and_silence_is_no_success(void **state)
{
	static const unsigned reasons[] = {0x0110, 0x0112, 0x0119, 0x0131, 0x0213};
	struct scene *s = *state;
	struct message m = event_of(1, 2);
	struct references list;
	uint64_t number;
	char uid[32];
	unsigned i;

	keep_images(s, 8);
	number = wish(s, "1.2.3", 1000);
	(void)await_phase(s, number, PLEDGE_WAITS);
	list = asked_for(s);
	assert_int_equal(list.n, 8);
	for (i = 0; i < 5; i++)
		list.all[i].reason = reasons[i];
	list.n = 7; /* of the eighth it says nothing */
	assert_int_equal(report_as(s, "VAULT", &m, &list), STATUS_SUCCESS);
	for (i = 0; i < 5; i++) {
		(void)snprintf(uid, sizeof(uid), "1.2.3.%u", i + 1);
		assert_int_equal(standing(s, uid).state, PLEDGE_REFUSED);
		assert_int_equal(standing(s, uid).reason, reasons[i]);
	}
	assert_int_equal(standing(s, "1.2.3.7").state, PLEDGE_COMMITTED);
	assert_int_equal(standing(s, "1.2.3.8").state, PLEDGE_RAN_OUT);
	counts_are(s, 0, 2, 5, 1, 6);
	references_fini(&list);
}

static void
pledge__what_stands_in_both_lists_has_failed(void **state)
{
	struct scene *s = *state;
	struct references list;
	struct reference *both;
	uint64_t number;

	keep_images(s, 1);
	number = wish(s, "1.2.3.1", 1000);
	(void)await_phase(s, number, PLEDGE_WAITS);
	list = asked_for(s);
	both = realloc(list.all, 2 * sizeof(*both));
	assert_non_null(both);
	both[1] = both[0];
	both[0].reason = REASON_NO_SUCH_INSTANCE;
	list.all = both;
	list.n = 2;
	assert_int_equal(report(s, &list), STATUS_SUCCESS);
	counts_are(s, 0, 0, 1, 0, 1);
	references_fini(&list);
}

/* --- who is heard --- */

static void
pledge__R29_nobody_is_heard_but_who_was_asked(void **state)
{
	struct scene *s = *state;
	struct message m = event_of(1, 1), other = event_of(1, 3), instance = event_of(1, 1);
	struct references list, strange;
	uint64_t number;

	keep_images(s, 1);
	number = wish(s, "1.2.3", 1000);
	(void)await_phase(s, number, PLEDGE_WAITS);
	list = asked_for(s);
	strange = list;
	strcpy(strange.transaction, "1.2.3.4.5");
	strcpy(instance.sop_instance, "1.2.3");
	/* Of no section: the role is not granted. */
	assert_int_equal(report_as(s, "STRANGER", &m, &list), 0xffff);
	/* Nor is it read what he says without it. */
	assert_int_equal(report_in_role(s, "STRANGER", ASSOC_ROLE_DEFAULT, &m, &strange),
			 STATUS_REFUSED_NOT_AUTHORIZED);
	assert_int_equal(report_as(s, "OTHER", &m, &list), STATUS_REFUSED_NOT_AUTHORIZED);
	assert_int_equal(report_as(s, "VAULT", &m, &strange), STATUS_INVALID_ARGUMENT);
	assert_int_equal(report_as(s, "VAULT", &other, &list), STATUS_NO_SUCH_EVENT);
	assert_int_equal(report_as(s, "VAULT", &instance, &list), STATUS_NO_SUCH_INSTANCE);
	counts_are(s, 1, 0, 0, 0, 0);
	assert_int_equal(dimse_refusals(s->dimse), 5);
	assert_int_equal(report(s, &list), STATUS_SUCCESS);
	counts_are(s, 0, 1, 0, 0, 0);
	references_fini(&list);
}

static void
pledge__asked_anew_the_former_request_says_nothing_any_more(void **state)
{
	struct scene *s = *state;
	struct references first, second;
	uint64_t number;

	keep_images(s, 1);
	number = wish(s, "1.2.3", 1000);
	(void)await_phase(s, number, PLEDGE_WAITS);
	first = asked_for(s);
	number = wish(s, "1.2.3", 1000);
	(void)await_phase(s, number, PLEDGE_WAITS);
	second = asked_for(s);
	assert_string_not_equal(first.transaction, second.transaction);
	assert_int_equal(report(s, &first), STATUS_SUCCESS);
	counts_are(s, 1, 0, 0, 0, 0);
	second.all[0].reason = REASON_NO_SUCH_INSTANCE;
	assert_int_equal(report(s, &second), STATUS_SUCCESS);
	counts_are(s, 0, 0, 1, 0, 1);
	/* Asked anew with success there is nothing to look at. */
	s->at_once = true;
	(void)await_phase(s, wish(s, "1.2.3", 1000), PLEDGE_SETTLED);
	counts_are(s, 0, 1, 0, 0, 0);
	references_fini(&first);
	references_fini(&second);
}

/* --- an archive that is off, or does not want to --- */

static void
pledge__an_archive_that_is_off_is_asked_by_backing_off_across_restarts(void **state)
{
	struct scene *s = *state;
	uint64_t number;

	keep_images(s, 1);
	archive_off(s);
	number = wish(s, "1.2.3", 1000);
	await_tries(s, number, 1);
	pass(s, 9999);
	moment();
	assert_int_equal(row_of(s, number).tries, 1);
	restart(s); /* a store's time goes on from the last that it wrote */
	pass(s, 10000);
	await_tries(s, number, 2);
	assert_string_not_equal(row_of(s, number).why, "");
	archive_on(s);
	s->at_once = true;
	pass(s, 40000);
	(void)await_phase(s, number, PLEDGE_SETTLED);
	counts_are(s, 0, 1, 0, 0, 0);
}

static void
pledge__a_transaction_that_went_out_is_not_used_again(void **state)
{
	struct scene *s = *state;
	char before[UID_SIZE];
	uint64_t number;

	keep_images(s, 1);
	s->status = STATUS_RESOURCE_LIMITATION; /* later, perhaps */
	number = wish(s, "1.2.3", 1000);
	await_tries(s, number, 1);
	strcpy(before, s->list.transaction);
	s->status = STATUS_SUCCESS;
	s->at_once = true;
	pass(s, HOUR);
	(void)await_phase(s, number, PLEDGE_SETTLED);
	assert_int_equal(s->asked, 2);
	assert_string_not_equal(before, s->list.transaction);
	counts_are(s, 0, 1, 0, 0, 0);
}

static void
pledge__a_request_that_is_refused_is_refused_for_all(void **state)
{
	struct scene *s = *state;

	keep_images(s, 2);
	s->status = STATUS_REFUSED_NOT_AUTHORIZED;
	(void)await_phase(s, wish(s, "1.2.3", 1000), PLEDGE_SETTLED);
	assert_int_equal(standing(s, "1.2.3.2").reason, STATUS_REFUSED_NOT_AUTHORIZED);
	counts_are(s, 0, 0, 2, 0, 2);
	assert_int_equal(s->asked, 1);
}

static void
pledge__a_request_that_is_not_taken_now_holds_up_no_other(void **state)
{
	struct scene *s = *state;
	uint64_t number;

	keep_images(s, 2);
	s->status = STATUS_PROCESSING_FAILURE;
	s->only = 2;
	s->at_once = true;
	number = wish(s, "1.2.3", 1000);
	await_tries(s, number, 1);
	(void)await_phase(s, wish(s, "1.2.3.1", 1000), PLEDGE_SETTLED);
	assert_int_equal(standing(s, "1.2.3.1").state, PLEDGE_COMMITTED);
	assert_int_equal(row_of(s, number).phase, PLEDGE_ASKS);
}

static void
pledge__R28_what_is_not_answered_runs_out_by_the_nodes_own_time(void **state)
{
	struct scene *s = *state;
	struct references list;
	uint64_t number;
	int i;

	keep_images(s, 1);
	number = wish(s, "1.2.3", 1000);
	(void)await_phase(s, number, PLEDGE_WAITS);
	pass(s, 24 * HOUR - 1);
	moment();
	counts_are(s, 1, 0, 0, 0, 0);
	pass(s, 1);
	for (i = 0; i < 4000 && row_of(s, number).number; i++)
		moment();
	counts_are(s, 0, 0, 0, 1, 1);
	list = asked_for(s);
	assert_int_equal(report(s, &list), STATUS_INVALID_ARGUMENT);
	references_fini(&list);
}

/* --- what is asked for --- */

static void
wish__every_current_image_that_is_here_each_once(void **state)
{
	struct scene *s = *state;
	struct recipe r = {"1.2.3", "1.2.3.1", NULL, "c", 9, 64};
	struct pledge_wish w = {.all = NULL};
	struct store_verdict v;
	struct err e = ERR_INIT;

	keep_images(s, 3);
	(void)stored_keep(s->stored.s, &r, "10.0.0.1"); /* a conflict: the first stays current */
	r.uid = "1.2.3.4";
	v = stored_keep(s->stored.s, &r, "10.0.0.1");
	assert_int_equal(stored_drop(s->stored.s, v.oid, NULL), 0); /* evicted */
	assert_int_equal(pledge_wish_add(&w, s->stored.s, "1.2.3", &e), 0);
	assert_int_equal(pledge_wish_add(&w, s->stored.s, "1.2.3.2", &e), 0);
	assert_int_equal(pledge_wish_add(&w, s->stored.s, "1.2.9", &e), ERR_ABSENT);
	pledge_wish_sort(&w);
	assert_int_equal(w.n, 4);
	assert_int_equal(w.asked, 3);
	assert_string_equal(w.all[3].sop_instance, "1.2.3.4");
	pledge_wish_fini(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define scene_test(f) cmocka_unit_test_setup_teardown(f, begin, end)
		scene_test(pledge__the_result_may_come_on_the_association_of_the_request),
		scene_test(pledge__a_late_result_finds_its_request_after_a_restart),
		scene_test(pledge__large_ones_are_split_and_each_has_a_transaction_of_its_own),
		scene_test(pledge__each_refusal_is_kept_by_its_reason_and_silence_is_no_success),
		scene_test(pledge__what_stands_in_both_lists_has_failed),
		scene_test(pledge__R29_nobody_is_heard_but_who_was_asked),
		scene_test(pledge__asked_anew_the_former_request_says_nothing_any_more),
		scene_test(pledge__an_archive_that_is_off_is_asked_by_backing_off_across_restarts),
		scene_test(pledge__a_transaction_that_went_out_is_not_used_again),
		scene_test(pledge__a_request_that_is_refused_is_refused_for_all),
		scene_test(pledge__a_request_that_is_not_taken_now_holds_up_no_other),
		scene_test(pledge__R28_what_is_not_answered_runs_out_by_the_nodes_own_time),
		scene_test(wish__every_current_image_that_is_here_each_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
