/*
 * C-FIND, C-GET and C-MOVE over a store, through real associations on loopback:
 * the known list (R20), availability (R21), counters and cancel.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/conf.h"
#include "common/dicom/canon.h"
#include "common/dicom/keys.h"
#include "common/dimse/find.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/dimse/retrieve.h"
#include "common/dimse/service.h"
#include "common/os/file.h"
#include "tests/lib/stored.h"

#define FIND "1.2.840.10008.5.1.4.1.2.2.1"
#define MOVE "1.2.840.10008.5.1.4.1.2.2.2"
#define GET "1.2.840.10008.5.1.4.1.2.2.3"
#define EXPLICIT "1.2.840.10008.1.2.1"

enum { SECONDS = 20, OBJECTS = 250 };

/* A node that finds and gives, and takes what it is sent into a count. */
struct node {
	struct stored stored;
	struct find_config find;
	struct retrieve_config retrieve;
	struct dimse_config config;
	struct peers *peers;
	struct dimse *dimse;
	char listen[32];
	const char *titles[2], *listens[2];
	unsigned port;
	_Atomic unsigned received;
	bool reachable;
};

static int
find(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return find_serve(&((struct node *)node)->find, who, rq, e);
}

static int
get(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return retrieve_get(&((struct node *)node)->retrieve, who, rq, e);
}

static int
move(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return retrieve_move(&((struct node *)node)->retrieve, who, rq, e);
}

static int
take_begin(void *node, const struct dimse_caller *who, const struct message *rq, const char *syntax,
	   void **sink, struct err *e)
{
	(void)who;
	(void)syntax;
	(void)e;
	assert_string_equal(rq->originator, "VIEWER"); /* R30 */
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
	((struct node *)sink)->received++;
	rsp->status = STATUS_SUCCESS;
}

static void
take_abandon(void *sink)
{
	(void)sink;
}

static bool
reachable(void *arg)
{
	return ((struct node *)arg)->reachable;
}

static unsigned
free_port(void)
{
	unsigned port;

	for (port = 23000 + (unsigned)getpid() % 3000 * 10; port < 60000; port++) {
		struct sockaddr_in in = {.sin_family = AF_INET,
					 .sin_port = htons((uint16_t)port),
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		int rc = bind(fd, (struct sockaddr *)&in, sizeof(in));

		(void)close(fd);
		if (rc == 0)
			return port;
	}
	abort();
}

static void
load_peers(struct node *n)
{
	const struct conf_row *rows;
	char text[512], path[128];
	struct conf *c;
	size_t count;

	rows = peers_rows(&count);
	(void)snprintf(text, sizeof(text),
		       "[peer V]\naet = VIEWER\nhost = 127.0.0.1\nmay = find, get, move\n"
		       "[peer N]\naet = NODE\nhost = 127.0.0.1\nport = %u\n",
		       n->port);
	assert_int_equal(file_replace(n->stored.dir, "p.conf", text, strlen(text), NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/p.conf", n->stored.dir);
	assert_int_equal(conf_load(&c, path, rows, count, NULL), 0);
	assert_int_equal(peers_load(&n->peers, c, NULL, true, NULL), 0);
	conf_free(c);
}

static void
node_start(struct node *n)
{
	memset(n, 0, sizeof(*n));
	stored_init(&n->stored, 0);
	n->port = free_port();
	load_peers(n);
	n->find = (struct find_config){n->stored.s, 10000, reachable, n};
	n->retrieve = (struct retrieve_config){n->stored.s, clock_real(), SECONDS};
	(void)snprintf(n->listen, sizeof(n->listen), "127.0.0.1:%u", n->port);
	n->titles[0] = "NODE";
	n->listens[0] = n->listen;
	n->config = (struct dimse_config){.titles = n->titles,
					  .listen = n->listens,
					  .max_associations = 20,
					  .max_per_address = 20,
					  .max_pdu = ASSOC_PDU_MAX,
					  .association_seconds = SECONDS,
					  .idle_seconds = SECONDS};
	n->config.handlers = (struct dimse_handlers){
		n, take_begin, take_feed, take_end, take_abandon, NULL, find, move, get};
	assert_int_equal(dimse_start(&n->dimse, &n->config, n->peers, NULL), 0);
}

static void
node_stop(struct node *n)
{
	dimse_stop(n->dimse);
	peers_unref(n->peers);
	stored_fini(&n->stored);
}

static void
put_objects(struct node *n, unsigned first, unsigned count, uint64_t *oids)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		char uid[32];
		struct recipe r = {"1.2.3", uid, NULL, "c", 1, 100};
		struct store_verdict verdict;
		struct made m;

		(void)snprintf(uid, sizeof(uid), "1.2.3.9.%u", first + i);
		made_init(&m, &r);
		assert_int_equal(stored_put(n->stored.s, &m, "10.0.0.1", &verdict, NULL), 0);
		if (oids)
			oids[i] = verdict.oid;
		made_fini(&m);
	}
}

/* --- a viewer --- */

struct viewer {
	struct assoc *a;
	unsigned stores, pendings;
	struct message last;
	struct buf identifier; /* of the last answer that had one */
	unsigned cancel_after; /* stores; 0: never */
};

static void
viewer_open(struct viewer *v, const struct node *n)
{
	static const char *const plain[] = {EXPLICIT};
	static const struct assoc_proposal p[] = {
		{FIND, plain, 1, ASSOC_ROLE_DEFAULT},
		{MOVE, plain, 1, ASSOC_ROLE_DEFAULT},
		{GET, plain, 1, ASSOC_ROLE_DEFAULT},
		{"1.2.840.10008.5.1.4.1.1.2", plain, 1, ASSOC_ROLE_SCP},
		{"1.2.840.10008.5.1.4.1.1.7", plain, 1, ASSOC_ROLE_SCP}};
	struct assoc_target to = {"127.0.0.1", n->port, "VIEWER", "NODE", ASSOC_PDU_MAX, SECONDS};

	memset(v, 0, sizeof(*v));
	assert_int_equal(assoc_request(&v->a, &to, p, 5, NULL), 0);
}

static void
viewer_close(struct viewer *v)
{
	assoc_release(v->a);
	assoc_free(v->a);
	buf_fini(&v->identifier);
}

static void
ask(struct viewer *v, unsigned char context, unsigned command, const char *sop_class,
    const struct buf *keys, const char *destination)
{
	struct buf identifier = BUF_INIT;
	struct message rq;

	memset(&rq, 0, sizeof(rq));
	rq.context = context;
	rq.command = command;
	rq.id = 42;
	strcpy(rq.sop_class, sop_class);
	strcpy(rq.destination, destination);
	identifier_build(&identifier, EXPLICIT, attrs_of(keys));
	assert_int_equal(message_send_with(v->a, &rq, &identifier, NULL), 0);
	buf_fini(&identifier);
}

static void
take_store(struct viewer *v, const struct message *rq)
{
	struct assoc_pdv pdv;
	struct message rsp, cancel;

	do {
		assert_int_equal(assoc_read(v->a, SECONDS, &pdv, NULL), 0);
	} while (!pdv.last);
	if (++v->stores == v->cancel_after) {
		memset(&cancel, 0, sizeof(cancel));
		cancel.context = 5;
		cancel.command = MESSAGE_CANCEL_RQ;
		cancel.responded_to = 42;
		assert_int_equal(message_send(v->a, &cancel, NULL), 0);
	}
	message_answer(&rsp, rq, STATUS_SUCCESS);
	assert_int_equal(message_send(v->a, &rsp, NULL), 0);
}

static void
listen_to_the_end(struct viewer *v)
{
	struct message m;

	for (;;) {
		assert_int_equal(message_receive(v->a, SECONDS, &m, NULL), 0);
		if (m.command == MESSAGE_STORE_RQ) {
			take_store(v, &m);
			continue;
		}
		if (m.has_data) {
			buf_clear(&v->identifier);
			assert_int_equal(
				message_receive_identifier(v->a, &m, SECONDS, &v->identifier, NULL),
				0);
		}
		v->last = m;
		if (m.status != STATUS_PENDING && m.status != STATUS_PENDING_KEYS)
			return;
		v->pendings++;
		if (m.command != MESSAGE_FIND_RSP)
			assert_int_equal(m.remaining + m.completed + m.failed + m.warning,
					 v->last.remaining + v->last.completed + v->last.failed +
						 v->last.warning);
	}
}

static void
study_keys(struct buf *keys)
{
	attrs_put(keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(keys, TAG_AVAILABILITY, "", 0);
	attrs_put(keys, TAG_STUDY_UID, "1.2.3", 5);
	attrs_put(keys, TAG_STUDY_INSTANCES, "", 0);
}

static void
retrieve_keys(struct buf *keys)
{
	attrs_put(keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(keys, TAG_STUDY_UID, "1.2.3", 5);
}

static void
answer_of(struct viewer *v, uint32_t tag, char *out, size_t size)
{
	struct identifier id;

	assert_int_equal(
		identifier_parse(&id, EXPLICIT, v->identifier.data, v->identifier.len, NULL), 0);
	(void)attrs_copy(attrs_of(&id.keys), tag, out, size);
	identifier_fini(&id);
}

static unsigned
failed_uids(struct viewer *v)
{
	struct identifier id;
	struct attr a;
	unsigned n = 0;
	size_t i;

	assert_int_equal(
		identifier_parse(&id, EXPLICIT, v->identifier.data, v->identifier.len, NULL), 0);
	assert_true(attrs_get(attrs_of(&id.keys), TAG_FAILED_UIDS, &a));
	for (i = 0; i < a.n; i++)
		n += a.value[i] == '\\';
	identifier_fini(&id);
	return n + 1;
}

/* --- what is promised --- */

static void
retrieve__R20_what_was_evicted_is_counted_and_failed_never_left_out(void **state)
{
	static uint64_t oids[OBJECTS];
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;
	char text[32];
	unsigned i;

	(void)state;
	node_start(&n);
	put_objects(&n, 0, OBJECTS, oids);
	for (i = 0; i < OBJECTS; i++)
		assert_int_equal(stored_drop(n.stored.s, oids[i], NULL), 0);
	put_objects(&n, OBJECTS, 1, NULL);
	viewer_open(&v, &n);
	study_keys(&keys);
	ask(&v, 1, MESSAGE_FIND_RQ, FIND, &keys, "");
	listen_to_the_end(&v);
	assert_int_equal(v.last.status, STATUS_SUCCESS);
	answer_of(&v, TAG_STUDY_INSTANCES, text, sizeof(text));
	assert_string_equal(text, "251");
	buf_clear(&keys);
	retrieve_keys(&keys);
	ask(&v, 3, MESSAGE_MOVE_RQ, MOVE, &keys, "NODE");
	listen_to_the_end(&v);
	assert_int_equal(v.last.status, STATUS_WARNING_SUBOPERATIONS);
	assert_int_equal(v.last.completed, 1);
	assert_int_equal(v.last.failed, OBJECTS);
	assert_int_equal(failed_uids(&v), OBJECTS);
	assert_int_equal(n.received, 1);
	viewer_close(&v);
	buf_fini(&keys);
	node_stop(&n);
}

static void
retrieve__R20_a702_when_nothing_could_be_sent(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;
	uint64_t oid;

	(void)state;
	node_start(&n);
	put_objects(&n, 0, 1, &oid);
	assert_int_equal(stored_drop(n.stored.s, oid, NULL), 0);
	viewer_open(&v, &n);
	retrieve_keys(&keys);
	ask(&v, 5, MESSAGE_GET_RQ, GET, &keys, "");
	listen_to_the_end(&v);
	assert_int_equal(v.last.status, STATUS_SUBOPERATIONS_FAILED);
	assert_int_equal(v.last.failed, 1);
	viewer_close(&v);
	buf_fini(&keys);
	node_stop(&n);
}

static void
find__R21_a_study_shows_the_worst_of_its_instances(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;
	uint64_t oids[2];
	char text[32];

	(void)state;
	node_start(&n);
	put_objects(&n, 0, 2, oids);
	viewer_open(&v, &n);
	study_keys(&keys);
	ask(&v, 1, MESSAGE_FIND_RQ, FIND, &keys, "");
	listen_to_the_end(&v);
	answer_of(&v, TAG_AVAILABILITY, text, sizeof(text));
	assert_string_equal(text, "ONLINE");
	assert_int_equal(stored_drop(n.stored.s, oids[0], NULL), 0);
	ask(&v, 1, MESSAGE_FIND_RQ, FIND, &keys, "");
	listen_to_the_end(&v);
	answer_of(&v, TAG_AVAILABILITY, text, sizeof(text));
	assert_string_equal(text, "UNAVAILABLE"); /* central cannot be reached */
	n.reachable = true;
	ask(&v, 1, MESSAGE_FIND_RQ, FIND, &keys, "");
	listen_to_the_end(&v);
	answer_of(&v, TAG_AVAILABILITY, text, sizeof(text));
	assert_string_equal(text, "NEARLINE");
	viewer_close(&v);
	buf_fini(&keys);
	node_stop(&n);
}

static void
retrieve_get__counts_in_pendings_and_at_the_end(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;

	(void)state;
	node_start(&n);
	put_objects(&n, 0, 35, NULL);
	viewer_open(&v, &n);
	retrieve_keys(&keys);
	ask(&v, 5, MESSAGE_GET_RQ, GET, &keys, "");
	listen_to_the_end(&v);
	assert_int_equal(v.last.status, STATUS_SUCCESS);
	assert_int_equal(v.last.completed, 35);
	assert_int_equal(v.stores, 35);
	assert_in_range(v.pendings, 3, 35);
	viewer_close(&v);
	buf_fini(&keys);
	node_stop(&n);
}

static void
retrieve_get__a_cancel_ends_with_fe00_and_counts(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;

	(void)state;
	node_start(&n);
	put_objects(&n, 0, 60, NULL);
	viewer_open(&v, &n);
	v.cancel_after = 5;
	retrieve_keys(&keys);
	ask(&v, 5, MESSAGE_GET_RQ, GET, &keys, "");
	listen_to_the_end(&v);
	assert_int_equal(v.last.status, STATUS_CANCELED);
	assert_in_range(v.last.completed, 5, 59);
	assert_int_equal(v.last.completed + v.last.remaining, 60);
	viewer_close(&v);
	buf_fini(&keys);
	node_stop(&n);
}

static void
retrieve_move__an_unknown_destination_keeps_the_association(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;

	(void)state;
	node_start(&n);
	put_objects(&n, 0, 1, NULL);
	viewer_open(&v, &n);
	retrieve_keys(&keys);
	ask(&v, 3, MESSAGE_MOVE_RQ, MOVE, &keys, "NOWHERE");
	listen_to_the_end(&v);
	assert_int_equal(v.last.status, STATUS_DESTINATION_UNKNOWN);
	ask(&v, 3, MESSAGE_MOVE_RQ, MOVE, &keys, "NODE");
	listen_to_the_end(&v);
	assert_int_equal(v.last.status, STATUS_SUCCESS);
	viewer_close(&v);
	buf_fini(&keys);
	node_stop(&n);
}

static void
associations__tcp_nodelay_is_on_in_both_roles(void **state)
{
	struct viewer v;
	struct node n;
	int on = 0;
	socklen_t size = sizeof(on);

	(void)state;
	node_start(&n);
	viewer_open(&v, &n);
	assert_int_equal(
		getsockopt(assoc_socket(v.a), IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, &size), 0);
	assert_int_not_equal(on, 0);
	viewer_close(&v);
	node_stop(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			retrieve__R20_what_was_evicted_is_counted_and_failed_never_left_out),
		cmocka_unit_test(retrieve__R20_a702_when_nothing_could_be_sent),
		cmocka_unit_test(find__R21_a_study_shows_the_worst_of_its_instances),
		cmocka_unit_test(retrieve_get__counts_in_pendings_and_at_the_end),
		cmocka_unit_test(retrieve_get__a_cancel_ends_with_fe00_and_counts),
		cmocka_unit_test(retrieve_move__an_unknown_destination_keeps_the_association),
		cmocka_unit_test(associations__tcp_nodelay_is_on_in_both_roles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
