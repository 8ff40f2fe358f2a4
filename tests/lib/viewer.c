#include "tests/lib/viewer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/dimse/audit.h"
#include "common/dimse/identifier.h"
#include "common/dimse/peers.h"
#include "common/os/file.h"

enum { WAIT_MS = 20000, STEP_MS = 20 };

static int
find(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	struct node *n = node;
	socklen_t size = sizeof(int);
	int on = 0;

	(void)getsockopt(assoc_socket(who->assoc), IPPROTO_TCP, TCP_NODELAY, &on, &size);
	if (n->send_buffer)
		(void)setsockopt(assoc_socket(who->assoc), SOL_SOCKET, SO_SNDBUF, &n->send_buffer,
				 sizeof(n->send_buffer));
	n->no_delay = on;
	n->asking = who->assoc;
	return find_serve(&n->find, who, rq, e);
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

static _Atomic unsigned cancels; /* of all viewers, since the last node_start */

/* Waits until so many are on their way in at once. */
static void
meet(struct node *n)
{
	static const struct timespec moment = {0, 1000000};
	unsigned now = ++n->inside, most = n->most_inside;

	while (now > most && !atomic_compare_exchange_weak(&n->most_inside, &most, now))
		;
	while (n->most_inside < n->meet)
		(void)nanosleep(&moment, NULL);
}

static int
take_begin(void *node, const struct dimse_caller *who, const struct message *rq, const char *syntax,
	   void **sink, struct err *e)
{
	static const struct timespec moment = {0, 1000000};
	struct node *n = node;

	(void)syntax;
	while (n->wait_at && n->received + 1 >= n->wait_at && !cancels)
		(void)nanosleep(&moment, NULL);
	while (n->turned_away && dimse_refusals(n->dimse) < n->turned_away)
		(void)nanosleep(&moment, NULL);
	assert_string_equal(rq->originator, "VIEWER"); /* R30 */
	assert_int_equal(rq->originator_id, 42);
	n->called_other += strcmp(who->calling, "OTHER") == 0;
	if (n->break_at && n->received + 1 >= n->break_at) {
		if (n->breaks && --n->breaks == 0)
			n->break_at = 0;
		return err_set(e, ERR_PEER, 0, "hangs up");
	}
	meet(n);
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
	struct node *n = sink;
	unsigned refuse = n->refuse;

	n->inside--;
	while (refuse > 0 && !atomic_compare_exchange_weak(&n->refuse, &refuse, refuse - 1))
		;
	if (refuse > 0) {
		rsp->status = n->refuse_with;
		return;
	}
	n->received++;
	rsp->status = STATUS_SUCCESS;
}

static void
take_abandon(void *sink)
{
	((struct node *)sink)->inside--;
}

/* The query asks this when its identifier has been read. */
static bool
central(void *arg, struct id128 *epoch)
{
	static const struct timespec moment = {0, 1000000};
	struct node *n = arg;

	while (n->hold && !assoc_waiting(n->asking))
		(void)nanosleep(&moment, NULL);
	*epoch = n->epoch;
	return true;
}

static void
damaged(void *arg, uint64_t oid)
{
	((struct node *)arg)->damaged_oid = oid;
}

static unsigned
free_port(unsigned from)
{
	unsigned port;

	for (port = from; port < 60000; port++) {
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

static struct peers *
load_peers(struct node *n, const char *more)
{
	const struct conf_row *rows;
	struct peers *peers;
	char text[1024], path[128];
	struct conf *c;
	size_t count;

	rows = peers_rows(&count);
	(void)snprintf(text, sizeof(text),
		       "[peer V]\naet = VIEWER\nhost = 127.0.0.1\nmay = find, get, move\n%s\n"
		       "[peer N]\naet = NODE\nhost = 127.0.0.1\nport = %u\n"
		       "move_associations = %u\n",
		       more, n->port, n->move_associations ? n->move_associations : 1);
	assert_int_equal(file_replace(n->stored.dir, "p.conf", text, strlen(text), NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/p.conf", n->stored.dir);
	assert_int_equal(conf_load(&c, path, rows, count, NULL), 0);
	assert_int_equal(peers_load(&peers, c, NULL, true, NULL), 0);
	conf_free(c);
	if (n->cert[0])
		assert_int_equal(peers_certify(peers, n->cert, n->key, n->ca, NULL), 0);
	return peers;
}

/* A port that was free may be another's a moment later. */
static bool
listens(struct node *n)
{
	unsigned i;

	for (i = 0; i < 20; i++) {
		n->port = free_port(23000 + (unsigned)getpid() % 3000 * 10);
		n->tls_port = free_port(n->port + 1);
		n->peers = load_peers(n, "");
		(void)snprintf(n->tls_listen, sizeof(n->tls_listen), "127.0.0.1:%u", n->tls_port);
		(void)snprintf(n->listen, sizeof(n->listen), "127.0.0.1:%u", n->port);
		if (dimse_start(&n->dimse, &n->config, n->peers, NULL) == 0)
			return true;
		peers_unref(n->peers);
	}
	return false;
}

void
node_start(struct node *n)
{
	memset(n, 0, sizeof(*n));
	cancels = 0;
	stored_init(&n->stored, 0);
	n->find = (struct find_config){n->stored.s, 10000, central, n, false};
	n->retrieve = (struct retrieve_config){
		n->stored.s, clock_real(), VIEWER_SECONDS, 0, damaged, n, NULL};
	(void)snprintf(n->audit_path, sizeof(n->audit_path), "%s/audit.log", n->stored.dir);
	n->cert = "";
	n->titles[0] = "NODE";
	n->titles[1] = "OTHER";
	n->listens[0] = n->listen;
	n->config = (struct dimse_config){.titles = n->titles,
					  .listen = n->listens,
					  .max_associations = 20,
					  .max_per_address = 20,
					  .max_pdu = ASSOC_PDU_MAX,
					  .association_seconds = VIEWER_SECONDS,
					  .idle_seconds = VIEWER_SECONDS};
	n->config.handlers = (struct dimse_handlers){.node = n,
						     .store_begin = take_begin,
						     .store_feed = take_feed,
						     .store_end = take_end,
						     .store_abandon = take_abandon,
						     .find = find,
						     .move = move,
						     .get = get};
	assert_int_equal(audit_open(&n->config.audit, n->audit_path, clock_real(), NULL), 0);
	assert_true(listens(n));
}

void
node_secure(struct node *n, const char *cert, const char *key, const char *ca)
{
	n->cert = cert;
	n->key = key;
	n->ca = ca;
	n->tls_listens[0] = n->tls_listen;
	n->config.tls_listen = n->tls_listens;
	dimse_stop(n->dimse);
	peers_unref(n->peers);
	assert_true(listens(n));
}

void
node_reload(struct node *n, const char *more)
{
	struct peers *old = n->peers;

	n->peers = load_peers(n, more);
	dimse_reload(n->dimse, n->peers);
	peers_unref(old);
}

void
node_stop(struct node *n)
{
	n->wait_at = 0; /* a test that failed may have left somebody waiting */
	dimse_stop(n->dimse);
	audit_close(n->config.audit);
	peers_unref(n->peers);
	stored_fini(&n->stored);
}

bool
node_audited(const struct node *n, const char *what)
{
	struct buf b = BUF_INIT;
	bool has;

	assert_int_equal(file_slurp(n->audit_path, 1 << 20, &b, NULL), 0);
	buf_put(&b, "", 1);
	has = strstr((const char *)b.data, what) != NULL;
	buf_fini(&b);
	return has;
}

bool
node_audited_soon(const struct node *n, const char *what)
{
	int waited;

	for (waited = 0; waited < WAIT_MS && !node_audited(n, what); waited += STEP_MS)
		clock_sleep(clock_real(), STEP_MS);
	return node_audited(n, what);
}

bool
node_alone_in_time(struct node *n)
{
	int waited;

	for (waited = 0; waited < WAIT_MS; waited += STEP_MS) {
		if (dimse_associations(n->dimse) == 0)
			return true;
		clock_sleep(clock_real(), STEP_MS);
	}
	return false;
}

void
node_put(struct node *n, unsigned first, unsigned count, size_t bytes, uint64_t *oids)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		char uid[32];
		struct recipe r = {"1.2.3", uid, NULL, "c", 1, bytes};
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

static void
open_to(struct viewer *v, const struct assoc_target *to)
{
	static const char *const plain[] = {EXPLICIT};
	static const struct assoc_proposal p[] = {
		{FIND, plain, 1, ASSOC_ROLE_DEFAULT},
		{MOVE, plain, 1, ASSOC_ROLE_DEFAULT},
		{GET, plain, 1, ASSOC_ROLE_DEFAULT},
		{CT, plain, 1, ASSOC_ROLE_SCP},
		{SC, plain, 1, ASSOC_ROLE_SCP},
		{FIND_PATIENT, plain, 1, ASSOC_ROLE_DEFAULT},
		{MOVE_PATIENT, plain, 1, ASSOC_ROLE_DEFAULT},
		{ECHO, plain, 1, ASSOC_ROLE_DEFAULT},
		{FIND_PATIENT_ONLY, plain, 1, ASSOC_ROLE_DEFAULT}};

	memset(v, 0, sizeof(*v));
	assert_int_equal(assoc_request(&v->a, to, p, sizeof(p) / sizeof(p[0]), NULL), 0);
}

void
viewer_open(struct viewer *v, const struct node *n, const char *called)
{
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = n->port,
				  .calling = "VIEWER",
				  .called = called,
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = VIEWER_SECONDS};

	open_to(v, &to);
}

void
viewer_open_extended(struct viewer *v, const struct node *n, const struct assoc_extended *x,
		     unsigned n_x)
{
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = n->port,
				  .calling = "VIEWER",
				  .called = "NODE",
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = VIEWER_SECONDS,
				  .extended = x,
				  .n_extended = n_x};

	open_to(v, &to);
}

void
viewer_open_securely(struct viewer *v, const struct node *n, struct tls *tls, const char *name)
{
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = n->tls_port,
				  .calling = "VIEWER",
				  .called = "NODE",
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = VIEWER_SECONDS,
				  .tls = tls,
				  .certificate = name};

	open_to(v, &to);
}

void
viewer_drop(struct viewer *v)
{
	assoc_free(v->a);
	v->a = NULL;
	buf_fini(&v->identifier);
}

void
viewer_close(struct viewer *v)
{
	if (v->a)
		assoc_release(v->a);
	viewer_drop(v);
}

void
viewer_ask(struct viewer *v, unsigned char context, unsigned command, const char *sop_class,
	   const struct buf *keys, const char *destination)
{
	struct buf identifier = BUF_INIT;
	struct message rq;

	v->context = context;
	v->pendings = v->pending_keys = v->stores = 0;
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

void
viewer_cancel(struct viewer *v)
{
	struct message cancel;

	memset(&cancel, 0, sizeof(cancel));
	cancel.context = v->context;
	cancel.command = MESSAGE_CANCEL_RQ;
	cancel.responded_to = 42;
	assert_int_equal(message_send(v->a, &cancel, NULL), 0);
	cancels++;
}

static void
cancel_when_due(struct viewer *v, unsigned seen)
{
	if (seen == v->cancel_after)
		viewer_cancel(v);
}

static void
take_store(struct viewer *v, const struct message *rq)
{
	struct assoc_pdv pdv;
	struct message rsp;

	do {
		assert_int_equal(assoc_read(v->a, VIEWER_SECONDS, &pdv, NULL), 0);
	} while (!pdv.last);
	cancel_when_due(v, ++v->stores);
	message_answer(&rsp, rq, STATUS_SUCCESS);
	assert_int_equal(message_send(v->a, &rsp, NULL), 0);
}

void
viewer_listen(struct viewer *v)
{
	struct message m;

	for (;;) {
		assert_int_equal(message_receive(v->a, VIEWER_SECONDS, &m, NULL), 0);
		if (m.command == MESSAGE_STORE_RQ) {
			take_store(v, &m);
			continue;
		}
		if (m.has_data) {
			buf_clear(&v->identifier);
			assert_int_equal(message_receive_identifier(v->a, &m, VIEWER_SECONDS,
								    &v->identifier, NULL),
					 0);
		}
		v->last = m;
		if (m.status != STATUS_PENDING && m.status != STATUS_PENDING_KEYS)
			return;
		cancel_when_due(v, ++v->pendings);
		v->pending_keys += m.status == STATUS_PENDING_KEYS;
		if (m.command != MESSAGE_FIND_RSP)
			assert_int_equal(m.remaining + m.completed + m.failed + m.warning,
					 v->last.remaining + v->last.completed + v->last.failed +
						 v->last.warning);
	}
}

void
viewer_ask_together(struct viewer *all, unsigned n, const struct buf *keys)
{
	unsigned i;

	for (i = 0; i < n; i++)
		viewer_ask(&all[i], ON_FIND, MESSAGE_FIND_RQ, FIND, keys, "");
	for (i = 0; i < n; i++) {
		viewer_listen(&all[i]);
		assert_int_equal(all[i].last.status, STATUS_SUCCESS);
		assert_int_equal(all[i].pendings, 1);
	}
	for (i = 0; i < n; i++)
		viewer_close(&all[i]);
}

void
viewer_answer(struct viewer *v, uint32_t tag, char *out, size_t size)
{
	struct identifier id;

	assert_int_equal(
		identifier_parse(&id, EXPLICIT, v->identifier.data, v->identifier.len, NULL), 0);
	(void)attrs_copy(attrs_of(&id.keys), tag, out, size);
	identifier_fini(&id);
}

bool
viewer_has(struct viewer *v, uint32_t tag)
{
	struct identifier id;
	struct attr a;
	bool has;

	assert_int_equal(
		identifier_parse(&id, EXPLICIT, v->identifier.data, v->identifier.len, NULL), 0);
	has = attrs_get(attrs_of(&id.keys), tag, &a);
	identifier_fini(&id);
	return has;
}

unsigned
viewer_failed_uids(struct viewer *v)
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

/* --- both --- */

int
visit_start(void **state)
{
	struct visit *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	node_start(&t->n);
	*state = t;
	return 0;
}

int
visit_end(void **state)
{
	struct visit *t = *state;

	viewer_close(&t->v);
	buf_fini(&t->keys);
	node_stop(&t->n);
	free(t);
	return 0;
}

void
visit_study(struct visit *t)
{
	buf_clear(&t->keys);
	attrs_put(&t->keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(&t->keys, TAG_STUDY_UID, "1.2.3", 5);
}

void
visit_counts(struct visit *t)
{
	buf_clear(&t->keys);
	attrs_put(&t->keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(&t->keys, TAG_AVAILABILITY, "", 0);
	attrs_put(&t->keys, TAG_STUDY_UID, "1.2.3", 5);
	attrs_put(&t->keys, TAG_STUDY_INSTANCES, "", 0);
}

void
visit_find(struct visit *t)
{
	viewer_ask(&t->v, ON_FIND, MESSAGE_FIND_RQ, FIND, &t->keys, "");
	viewer_listen(&t->v);
}

void
visit_get(struct visit *t)
{
	viewer_ask(&t->v, ON_GET, MESSAGE_GET_RQ, GET, &t->keys, "");
	viewer_listen(&t->v);
}

void
visit_move(struct visit *t, const char *destination)
{
	viewer_ask(&t->v, ON_MOVE, MESSAGE_MOVE_RQ, MOVE, &t->keys, destination);
	viewer_listen(&t->v);
}
