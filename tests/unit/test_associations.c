/* Associations that go wrong on purpose: peers that read nothing, stall, or stay on. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/dimse/identifier.h"
#include "common/dimse/peers.h"
#include "common/os/file.h"
#include "tests/lib/request.h"
#include "tests/lib/viewer.h"

/* DCMTK 3.6.7 forgets its lists of a request that it cannot parse: 32 bytes each. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:LST_Create\n";
}

enum { WAIT_MS = 20000, PATIENCE_MS = 300, BIG = 24 << 20, USER_IDENTITY = 0x58 };

/* The node again, with other patience. */
static void
restart(struct node *n, unsigned reader_ms, unsigned idle_seconds)
{
	dimse_stop(n->dimse);
	n->config.reader_ms = reader_ms;
	n->config.idle_seconds = idle_seconds;
	assert_int_equal(dimse_start(&n->dimse, &n->config, n->peers, NULL), 0);
}

static void
associations__tcp_nodelay_is_on_in_both_roles(void **state)
{
	struct visit *t = *state;
	int on = 0;
	socklen_t size = sizeof(on);

	viewer_open(&t->v, &t->n, "NODE");
	assert_int_equal(getsockopt(assoc_socket(t->v.a), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
	assert_int_not_equal(on, 0);
	visit_study(t);
	visit_find(t);
	assert_int_not_equal(t->n.no_delay, 0);
}

static void
associations__R34_a_peer_that_reads_nothing_is_dropped(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 1, BIG, NULL);
	restart(&t->n, PATIENCE_MS, VIEWER_SECONDS);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	viewer_ask(&t->v, ON_GET, MESSAGE_GET_RQ, GET, &t->keys, "");
	assert_true(node_alone_in_time(&t->n)); /* and we have read nothing */
	viewer_drop(&t->v);
}

static void
associations__R34_a_peer_that_reads_slowly_is_served(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 1, BIG, NULL);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	viewer_ask(&t->v, ON_GET, MESSAGE_GET_RQ, GET, &t->keys, "");
	clock_sleep(clock_real(), PATIENCE_MS); /* the socket is full by now */
	viewer_listen(&t->v);
	assert_int_equal(t->v.last.status, STATUS_SUCCESS);
	assert_int_equal(t->v.stores, 1);
}

static void
associations__a_peer_that_stalls_in_a_pdu_is_dropped(void **state)
{
	struct visit *t = *state;

	restart(&t->n, 0, 1);
	viewer_open(&t->v, &t->n, "NODE");
	/* The head of a P-DATA-TF of 1,000 bytes, and no more. */
	assert_int_equal(send(assoc_socket(t->v.a), "\x04\0\0\0\x03\xe8", 6, 0), 6);
	assert_true(node_alone_in_time(&t->n));
	viewer_drop(&t->v);
}

static void
associations__a_release_is_answered_and_an_abort_ends(void **state)
{
	struct visit *t = *state;

	viewer_open(&t->v, &t->n, "NODE");
	viewer_close(&t->v);
	assert_true(node_alone_in_time(&t->n));
	viewer_open(&t->v, &t->n, "NODE");
	assoc_abort(t->v.a);
	viewer_drop(&t->v);
	assert_true(node_alone_in_time(&t->n));
}

static void
associations__R29_a_reload_cuts_none(void **state)
{
	struct visit *t = *state;
	struct viewer before, after;

	node_put(&t->n, 0, 1, 100, NULL);
	viewer_open(&before, &t->n, "NODE");
	node_reload(&t->n, "[peer V2]\naet = VIEWER2\nhost = 127.0.0.1");
	visit_study(t);
	viewer_ask(&before, ON_FIND, MESSAGE_FIND_RQ, FIND, &t->keys, "");
	viewer_listen(&before);
	assert_int_equal(before.pendings, 1);
	viewer_open(&after, &t->n, "NODE");
	viewer_close(&after);
	viewer_close(&before);
}

static void
associations__R29_what_is_refused_is_counted(void **state)
{
	static const char *const plain[] = {EXPLICIT};
	static const struct assoc_proposal p = {MOVE, plain, 1, ASSOC_ROLE_DEFAULT};
	struct visit *t = *state;
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = 0,
				  .calling = "STRANGER",
				  .called = "NODE",
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = VIEWER_SECONDS};

	to.port = t->n.port;
	assert_int_equal(assoc_request(&t->v.a, &to, &p, 1, NULL), 0);
	visit_study(t);
	viewer_ask(&t->v, 1, MESSAGE_MOVE_RQ, MOVE, &t->keys, "NODE");
	viewer_listen(&t->v);
	assert_int_equal(t->v.last.status, STATUS_REFUSED_NOT_AUTHORIZED);
	assert_int_equal(dimse_refusals(t->n.dimse), 1);
	viewer_close(&t->v);
	to.called = "WRONG";
	assert_int_equal(assoc_request(&t->v.a, &to, &p, 1, NULL), ERR_CONFLICT);
	assert_int_equal(dimse_refusals(t->n.dimse), 2);
}

/* A destination that accepts connections and says nothing, ever. */
static int
silent(unsigned *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

/* What the program takes for the time of day, beyond what the kernel's waits go by (R28). */
static time_t wall_off;

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	if (!rc && id == CLOCK_REALTIME)
		t->tv_sec += wall_off;
	return rc;
}

/* And neither does a wall clock that is set back by ten years in that moment. */
static void
associations__R28_a_silent_destination_keeps_no_node_from_stopping(void **state)
{
	struct visit *t = *state;
	char section[100];
	unsigned port;
	int fd = silent(&port), to;

	(void)snprintf(section, sizeof(section),
		       "[peer S]\naet = SILENT\nhost = 127.0.0.1\nport = %u", port);
	node_reload(&t->n, section);
	node_put(&t->n, 0, 1, 100, NULL);
	t->n.retrieve.seconds = 3600;
	t->n.config.stop_seconds = 1;
	restart(&t->n, 0, VIEWER_SECONDS);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	viewer_ask(&t->v, ON_MOVE, MESSAGE_MOVE_RQ, MOVE, &t->keys, "SILENT");
	to = accept(fd, NULL, NULL); /* the C-MOVE is under way */
	assert_true(to >= 0);
	wall_off = 10 * 365 * 86400;
	dimse_stop(t->n.dimse);
	wall_off = 0;
	t->n.dimse = NULL;
	(void)close(to);
	(void)close(fd);
	viewer_drop(&t->v);
}

static bool
full(void *node)
{
	(void)node;
	return false;
}

/* An association of one class, asked for and given up again: did it stand, and its context? */
static bool
proposed(const struct node *n, const char *sop_class, enum assoc_role role, bool *accepted)
{
	static const char *const plain[] = {EXPLICIT};
	struct assoc_proposal p = {sop_class, plain, 1, role};
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = n->port,
				  .calling = "MODALITY",
				  .called = "NODE",
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = VIEWER_SECONDS};
	struct assoc *a = NULL;

	*accepted = false;
	if (assoc_request(&a, &to, &p, 1, NULL))
		return false;
	*accepted = assoc_accepted(a, 1) != NULL;
	assoc_release(a);
	assoc_free(a);
	return true;
}

static bool
stands(const struct node *n, const char *sop_class, enum assoc_role role)
{
	bool accepted;

	return proposed(n, sop_class, role, &accepted);
}

static bool
accepts(const struct node *n, const char *sop_class, enum assoc_role role)
{
	bool accepted;

	return proposed(n, sop_class, role, &accepted) && accepted;
}

static void
associations__R32_a_full_cache_turns_away_who_only_stores(void **state)
{
	struct visit *t = *state;

	assert_true(stands(&t->n, CT, ASSOC_ROLE_DEFAULT));
	t->n.config.handlers.admit = full;
	restart(&t->n, 0, VIEWER_SECONDS);
	assert_false(stands(&t->n, CT, ASSOC_ROLE_DEFAULT));
	assert_true(stands(&t->n, CT, ASSOC_ROLE_SCP)); /* C-GET never */
	assert_true(stands(&t->n, FIND, ASSOC_ROLE_DEFAULT));
	assert_true(stands(&t->n, ECHO, ASSOC_ROLE_DEFAULT)); /* R29: the node lives */
}

/* A command set in one P-DATA-TF PDU, cut into PDVs: `cuts` bytes each, the last one the rest. */
static void
send_in_pdvs(struct assoc *a, const struct buf *command, const size_t *cuts, size_t n_cuts)
{
	struct buf pdu = BUF_INIT;
	size_t i, at = 0, n;

	buf_puts(&pdu, "\x04");
	buf_put_u8(&pdu, 0);
	buf_put_be32(&pdu, (uint32_t)(command->len + 6 * (n_cuts + 1)));
	for (i = 0; i <= n_cuts; i++) {
		n = i < n_cuts ? cuts[i] : command->len - at;
		buf_put_be32(&pdu, (uint32_t)n + 2);
		buf_put_u8(&pdu, ON_ECHO);
		buf_put_u8(&pdu, i < n_cuts ? 1 : 3); /* command; last */
		buf_put(&pdu, command->data + at, n);
		at += n;
	}
	assert_false(buf_failed(&pdu));
	assert_int_equal(send(assoc_socket(a), pdu.data, pdu.len, 0), pdu.len);
	buf_fini(&pdu);
}

static void
associations__pdvs_of_one_pdu_have_any_lengths(void **state)
{
	static const size_t few[] = {2, 40}, many[] = {1, 7, 0, 21, 2}, large[] = {100, 50000};
	static const struct {
		const size_t *cuts;
		size_t n, more; /* more: bytes in an element that nobody reads */
	} tries[] = {{NULL, 0, 0}, {few, 2, 0}, {many, 5, 0}, {large, 2, 60000}};
	struct message echo = {.command = MESSAGE_ECHO_RQ, .sop_class = ECHO}, answer;
	struct buf command = BUF_INIT;
	struct visit *t = *state;
	size_t i;

	viewer_open(&t->v, &t->n, "NODE");
	for (i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		echo.id = (unsigned)i + 1;
		buf_clear(&command);
		message_build(&command, &echo);
		buf_put_u32(&command, 0x50010000);
		buf_put_u32(&command, (uint32_t)tries[i].more);
		memset(buf_reserve(&command, tries[i].more), 0, tries[i].more);
		command.len += tries[i].more;
		send_in_pdvs(t->v.a, &command, tries[i].cuts, tries[i].n);
		assert_int_equal(message_receive(t->v.a, VIEWER_SECONDS, &answer, NULL), 0);
		assert_int_equal(answer.command, MESSAGE_ECHO_RSP);
		assert_int_equal(answer.responded_to, echo.id);
		assert_int_equal(answer.status, STATUS_SUCCESS);
	}
	buf_fini(&command);
	viewer_close(&t->v);
}

/* What does not add up ends the association, and nothing else. */
static void
associations__pdvs_that_lie_end_it(void **state)
{
	static const struct {
		const char *pdu;
		size_t n;
	} lies[] = {{"\x04\0\0\0\0\0", 6},			       /* no PDV */
		    {"\x04\0\0\0\0\x04\0\0\0\0", 10},		       /* without its head */
		    {"\x04\0\0\0\0\x06\xff\xff\xff\xff\x01\x03", 12},  /* longer than the PDU */
		    {"\x04\0\0\0\0\x09\0\0\0\x02\x01\x01\0\0\0", 15},  /* a torn second one */
		    {"\x04\0\xff\xff\xff\xff\0\0\0\x02\x01\x03", 12}}; /* more than was agreed */
	struct visit *t = *state;
	struct assoc_pdv pdv;
	size_t i;

	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		viewer_open(&t->v, &t->n, "NODE");
		assert_int_equal(send(assoc_socket(t->v.a), lies[i].pdu, lies[i].n, 0), lies[i].n);
		assert_int_equal(assoc_read(t->v.a, VIEWER_SECONDS, &pdv, NULL), ERR_PEER);
		viewer_drop(&t->v);
		assert_true(node_alone_in_time(&t->n));
	}
}

static unsigned
status_of(struct visit *t, unsigned char context, unsigned command, const char *sop_class)
{
	struct message rq = {.context = context,
			     .command = command,
			     .id = 42,
			     .originator = "VIEWER",
			     .originator_id = 42};
	struct buf identifier = BUF_INIT;
	int rc;

	strcpy(rq.sop_class, sop_class);
	identifier_build(&identifier, EXPLICIT, attrs_of(&t->keys));
	rc = command == MESSAGE_ECHO_RQ ? message_send(t->v.a, &rq, NULL)
					: message_send_with(t->v.a, &rq, &identifier, NULL);
	assert_int_equal(rc, 0);
	viewer_listen(&t->v);
	buf_fini(&identifier);
	return t->v.last.status;
}

/* PS3.7 9.3: a context carries the class that was agreed for it, and no other service. */
static void
associations__a_command_on_the_context_of_another_class_is_0122(void **state)
{
	static const struct {
		unsigned char context;
		unsigned command;
		const char *sop_class;
	} strays[] = {{ON_ECHO, MESSAGE_FIND_RQ, FIND},
		      {ON_ECHO, MESSAGE_FIND_RQ, ECHO},
		      {ON_FIND, MESSAGE_FIND_RQ, FIND_PATIENT},
		      {ON_FIND, MESSAGE_FIND_RQ, ""},
		      {ON_GET, MESSAGE_MOVE_RQ, MOVE},
		      {ON_MOVE, MESSAGE_GET_RQ, GET},
		      {ON_CT, MESSAGE_FIND_RQ, CT},
		      {ON_FIND, MESSAGE_STORE_RQ, CT},
		      {ON_FIND, MESSAGE_ECHO_RQ, ECHO}};
	struct visit *t = *state;
	size_t i;

	node_put(&t->n, 0, 1, 100, NULL);
	node_reload(&t->n, "may = store");
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	for (i = 0; i < sizeof(strays) / sizeof(strays[0]); i++)
		if (status_of(t, strays[i].context, strays[i].command, strays[i].sop_class) !=
		    STATUS_CLASS_NOT_SUPPORTED)
			fail_msg("case %zu: %04x", i, t->v.last.status);
	assert_int_equal(t->v.pendings, 0);
	assert_int_equal(t->n.received, 0);
	assert_int_equal(status_of(t, ON_ECHO, MESSAGE_ECHO_RQ, ECHO), STATUS_SUCCESS);
	visit_find(t);
	assert_int_equal(t->v.pendings, 1);
	/* R32: an image that says another class than its context is one to keep, not to refuse. */
	assert_int_equal(status_of(t, ON_CT, MESSAGE_STORE_RQ, SC), STATUS_SUCCESS);
	assert_int_equal(t->n.received, 1);
}

/* Who takes nothing in says so at once, not by a status for each image. */
static void
associations__a_node_that_takes_nothing_in_refuses_the_contexts(void **state)
{
	struct visit *t = *state;

	t->n.config.handlers.store_begin = NULL;
	restart(&t->n, 0, VIEWER_SECONDS);
	assert_false(accepts(&t->n, CT, ASSOC_ROLE_DEFAULT));
	assert_true(accepts(&t->n, CT, ASSOC_ROLE_SCP)); /* C-GET */
	assert_true(accepts(&t->n, FIND, ASSOC_ROLE_DEFAULT));
}

/* PS3.8 9.1.5 (ARTIM), and more: one deadline over all of it, however slowly it trickles in. */
static void
associations__a_request_keeps_to_the_deadline(void **state)
{
	struct visit *t = *state;
	struct buf rq = BUF_INIT;
	int silent, slow;
	size_t i;

	t->n.config.association_seconds = 1;
	restart(&t->n, 0, VIEWER_SECONDS);
	request_build(&rq, "VIEWER", FIND, 1, 0, NULL);
	silent = request_connect(t->n.port);
	slow = request_connect(t->n.port);
	for (i = 0; i < 40; i++) { /* of more than 200 bytes */
		(void)send(slow, rq.data + i, 1, MSG_NOSIGNAL);
		clock_sleep(clock_real(), 50);
	}
	assert_true(node_alone_in_time(&t->n)); /* neither has hung up */
	(void)close(silent);
	(void)close(slow);
	viewer_open(&t->v, &t->n, "NODE");
	buf_fini(&rq);
}

/* The type of the PDU that answers; 0: none. */
static int
answer_to(const struct node *n, const char *calling, const char *sop_class, unsigned syntaxes)
{
	struct buf rq = BUF_INIT;
	unsigned char answer[1024];

	request_build(&rq, calling, sop_class, syntaxes, 0, NULL);
	(void)request_send(n, &rq, answer);
	buf_fini(&rq);
	return answer[0];
}

/* The same with so many contexts; there are 128 numbers for them. */
static int
answer_to_contexts(const struct node *n, unsigned contexts)
{
	struct buf rq = BUF_INIT, one = BUF_INIT;
	unsigned char answer[1024];
	unsigned i;

	request_build(&rq, "VIEWER", FIND, 1, 0, NULL);
	for (i = 1; i < contexts; i++) {
		buf_clear(&one);
		buf_put_u8(&one, (2 * i + 1) & 0xff);
		buf_put(&one, "\0\0\0", 3);
		request_item(&one, 0x30, FIND, strlen(FIND));
		request_item(&one, 0x40, EXPLICIT, strlen(EXPLICIT));
		request_item(&rq, 0x20, one.data, one.len);
	}
	buf_set_be32(rq.data + 2, (uint32_t)rq.len - 6);
	(void)request_send(n, &rq, answer);
	buf_fini(&one);
	buf_fini(&rq);
	return answer[0];
}

/* PS3.8 9.2.2: what cannot be a request is aborted, so that its log says why, not only that. */
static void
associations__what_cannot_be_a_request_is_aborted(void **state)
{
	static const char too_long[] = "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23"
				       ".24.25.26.27.28.29";
	enum { ACCEPTED = 2, REJECTED = 3, ABORTED = 7 };
	struct visit *t = *state;

	assert_int_equal(answer_to(&t->n, "VIEWER", FIND, 1), ACCEPTED);
	assert_int_equal(answer_to(&t->n, "VIEWER", FIND, 50), ACCEPTED);
	assert_int_equal(answer_to(&t->n, "VIEWER", FIND, 51), ABORTED);
	assert_int_equal(answer_to(&t->n, "VIEWER", too_long, 1), ABORTED);
	assert_int_equal(answer_to(&t->n, "", FIND, 1), ABORTED);
	assert_int_equal(answer_to_contexts(&t->n, 128), ACCEPTED);
	assert_int_equal(answer_to_contexts(&t->n, 129), ABORTED);
}

/* PS3.8 9.3.4: what is no DICOM is rejected for that, permanently: source 1, reason 2. */
static void
associations__another_application_context_is_rejected(void **state)
{
	static const char ours[] = "1.2.840.10008.3.1.1.1", theirs[] = "1.2.840.10008.3.1.1.9";
	static const unsigned char rejected[] = {3, 0, 0, 0, 0, 4, 0, 1, 1, 2};
	struct visit *t = *state;
	struct buf rq = BUF_INIT;
	unsigned char answer[1024], *name;

	request_build(&rq, "VIEWER", FIND, 1, 0, NULL);
	name = memmem(rq.data, rq.len, ours, sizeof(ours) - 1);
	assert_non_null(name);
	memcpy(name, theirs, sizeof(theirs) - 1);
	assert_int_equal(request_send(&t->n, &rq, answer), sizeof(rejected));
	assert_memory_equal(answer, rejected, sizeof(rejected));
	assert_true(node_audited_soon(&t->n, " rejected why=application-context calling=VIEWER "));
	buf_fini(&rq);
}

/* What is turned down before anybody is known is told of too; who only looks is not. */
static void
associations__R36_each_refusal_is_in_the_audit_log(void **state)
{
	enum { ABORTED = 7, CREATE_RQ = 0x140 };
	static const unsigned char rejected[] = {3, 0, 0, 0, 0, 4, 0, 1, 2, 2};
	struct visit *t = *state;
	struct buf rq = BUF_INIT;
	unsigned char answer[1024];

	(void)close(request_connect(t->n.port));
	assert_true(node_alone_in_time(&t->n));
	assert_false(node_audited(&t->n, "refused"));
	assert_int_equal(answer_to_contexts(&t->n, 129), ABORTED);
	assert_true(node_audited_soon(&t->n,
				      " refused what=association why=request address=127.0.0.1 "));
	assert_int_equal(dimse_refusals(t->n.dimse), 1);
	request_build(&rq, "VIEWER", FIND, 1, 0, NULL);
	rq.data[7] = 2; /* the protocol's version, as bits */
	assert_int_equal(request_send(&t->n, &rq, answer), sizeof(rejected));
	assert_memory_equal(answer, rejected, sizeof(rejected));
	buf_fini(&rq);
	assert_true(node_alone_in_time(&t->n));
	assert_int_equal(dimse_refusals(t->n.dimse), 2);
	node_reload(&t->n, "may = store");
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	assert_int_equal(status_of(t, ON_FIND, CREATE_RQ, FIND), STATUS_UNRECOGNIZED_OPERATION);
	assert_true(node_audited(&t->n, " refused what=command-0140 status=0211 calling=VIEWER "));
	t->n.refuse_with = STATUS_OUT_OF_RESOURCES;
	t->n.refuse = 1;
	assert_int_equal(status_of(t, ON_CT, MESSAGE_STORE_RQ, CT), STATUS_OUT_OF_RESOURCES);
	assert_true(node_audited(&t->n, " refused what=store status=a700 calling=VIEWER "));
}

/* A user identity of this type (PS3.7 D.3.3.7); n: what it says is the length of the name. */
static size_t
identify(const struct node *n, unsigned type, bool answer, const char *name, size_t length,
	 unsigned char out[1024])
{
	struct buf identity = BUF_INIT, rq = BUF_INIT;
	unsigned char head[4] = {(unsigned char)type, answer, (unsigned char)(length >> 8),
				 (unsigned char)length};
	size_t got;

	buf_put(&identity, head, sizeof(head));
	buf_put(&identity, name, strlen(name));
	buf_put(&identity, type == 2 ? "\0\6secret" : "\0\0", type == 2 ? 8 : 2);
	request_build(&rq, "VIEWER", FIND, 1, USER_IDENTITY, &identity);
	got = request_send(n, &rq, out);
	buf_fini(&identity);
	buf_fini(&rq);
	return got;
}

static bool
has_item(const unsigned char *p, size_t n, unsigned char type)
{
	size_t i;

	for (i = 0; i + 6 <= n; i++) /* 59H, length 2, no answer of its own */
		if (memcmp(p + i, (unsigned char[]){type, 0, 0, 2, 0, 0}, 6) == 0)
			return true;
	return false;
}

static void
associations__R36_a_user_is_accepted_and_named_in_the_audit_log(void **state)
{
	enum { ACCEPTED = 2, ANSWER = 0x59 };
	struct visit *t = *state;
	unsigned char out[1024];
	size_t n = identify(&t->n, 1, true, "reader one", 10, out);

	assert_int_equal(out[0], ACCEPTED);
	assert_true(has_item(out, n, ANSWER));
	assert_true(node_audited_soon(&t->n, " user=reader_one "));
	n = identify(&t->n, 2, false, "anna", 4, out);
	assert_int_equal(out[0], ACCEPTED);
	assert_false(has_item(out, n, ANSWER)); /* nobody asked for one */
	assert_true(node_audited_soon(&t->n, " user=anna "));
	assert_false(node_audited(&t->n, "secret"));
	(void)identify(&t->n, 5, true, "token", 5, out);
	assert_int_equal(out[0], ACCEPTED);
	assert_true(node_audited_soon(&t->n, " user=(jwt) "));
	assert_false(node_audited(&t->n, "token"));
	/* Lengths that lie, and a type that is none: whatever it is answered, the node goes on. */
	(void)identify(&t->n, 1, true, "x", 65535, out);
	(void)identify(&t->n, 2, true, "", 3, out);
	(void)identify(&t->n, 77, true, "x", 1, out);
	assert_int_equal(answer_to(&t->n, "VIEWER", FIND, 1), ACCEPTED);
	assert_true(node_audited_soon(&t->n, " user= "));
}

/* All stand, idle or not, and each is served; one more is turned away. */
static void
associations__200_stand_at_once_and_each_is_served(void **state)
{
	enum { MANY = 200 };
	static struct viewer all[MANY];
	struct visit *t = *state;
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = t->n.port,
				  .calling = "VIEWER",
				  .called = "NODE",
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = VIEWER_SECONDS};
	static const char *const plain[] = {EXPLICIT};
	static const struct assoc_proposal p = {FIND, plain, 1, ASSOC_ROLE_DEFAULT};
	struct assoc *more;
	unsigned i;

	node_put(&t->n, 0, 3, 16, NULL);
	dimse_stop(t->n.dimse);
	t->n.config.max_associations = t->n.config.max_per_address = MANY;
	assert_int_equal(dimse_start(&t->n.dimse, &t->n.config, t->n.peers, NULL), 0);
	for (i = 0; i < MANY; i++)
		viewer_open(&all[i], &t->n, "NODE");
	assert_int_equal(dimse_associations(t->n.dimse), MANY);
	assert_int_not_equal(assoc_request(&more, &to, &p, 1, NULL), 0);
	assert_int_equal(dimse_refusals(t->n.dimse), 1);
	visit_study(t);
	viewer_ask_together(all, MANY, &t->keys);
	assert_true(node_alone_in_time(&t->n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		visit_test(associations__tcp_nodelay_is_on_in_both_roles),
		visit_test(associations__R34_a_peer_that_reads_nothing_is_dropped),
		visit_test(associations__R34_a_peer_that_reads_slowly_is_served),
		visit_test(associations__a_peer_that_stalls_in_a_pdu_is_dropped),
		visit_test(associations__a_request_keeps_to_the_deadline),
		visit_test(associations__a_release_is_answered_and_an_abort_ends),
		visit_test(associations__R28_a_silent_destination_keeps_no_node_from_stopping),
		visit_test(associations__R32_a_full_cache_turns_away_who_only_stores),
		visit_test(associations__pdvs_of_one_pdu_have_any_lengths),
		visit_test(associations__pdvs_that_lie_end_it),
		visit_test(associations__a_command_on_the_context_of_another_class_is_0122),
		visit_test(associations__a_node_that_takes_nothing_in_refuses_the_contexts),
		visit_test(associations__what_cannot_be_a_request_is_aborted),
		visit_test(associations__another_application_context_is_rejected),
		visit_test(associations__R36_each_refusal_is_in_the_audit_log),
		visit_test(associations__R36_a_user_is_accepted_and_named_in_the_audit_log),
		visit_test(associations__200_stand_at_once_and_each_is_served),
		visit_test(associations__R29_a_reload_cuts_none),
		visit_test(associations__R29_what_is_refused_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
