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
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/dimse/peers.h"
#include "tests/lib/viewer.h"

enum { WAIT_MS = 20000, PATIENCE_MS = 300, BIG = 24 << 20 };

static void
pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	(void)nanosleep(&t, NULL);
}

static bool
alone_in_time(struct node *n)
{
	int waited;

	for (waited = 0; waited < WAIT_MS; waited += 20) {
		if (dimse_associations(n->dimse) == 0)
			return true;
		pause_ms(20);
	}
	return false;
}

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
study_keys(struct buf *keys)
{
	attrs_put(keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(keys, TAG_STUDY_UID, "1.2.3", 5);
}

static void
associations__tcp_nodelay_is_on_in_both_roles(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;
	int on = 0;
	socklen_t size = sizeof(on);

	(void)state;
	node_start(&n, "");
	viewer_open(&v, &n, "NODE");
	assert_int_equal(getsockopt(assoc_socket(v.a), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
	assert_int_not_equal(on, 0);
	study_keys(&keys);
	viewer_ask(&v, ON_FIND, MESSAGE_FIND_RQ, FIND, &keys, "");
	viewer_listen(&v);
	assert_int_not_equal(n.no_delay, 0);
	viewer_close(&v);
	buf_fini(&keys);
	node_stop(&n);
}

static void
associations__R34_a_peer_that_reads_nothing_is_dropped(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;

	(void)state;
	node_start(&n, "");
	node_put(&n, 0, 1, BIG, NULL);
	restart(&n, PATIENCE_MS, VIEWER_SECONDS);
	viewer_open(&v, &n, "NODE");
	study_keys(&keys);
	viewer_ask(&v, ON_GET, MESSAGE_GET_RQ, GET, &keys, "");
	assert_true(alone_in_time(&n)); /* and we have read nothing */
	assoc_free(v.a);
	buf_fini(&v.identifier);
	buf_fini(&keys);
	node_stop(&n);
}

static void
associations__R34_a_peer_that_reads_slowly_is_served(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;

	(void)state;
	node_start(&n, "");
	node_put(&n, 0, 1, BIG, NULL);
	viewer_open(&v, &n, "NODE");
	study_keys(&keys);
	viewer_ask(&v, ON_GET, MESSAGE_GET_RQ, GET, &keys, "");
	pause_ms(PATIENCE_MS); /* the socket is full by now */
	viewer_listen(&v);
	assert_int_equal(v.last.status, STATUS_SUCCESS);
	assert_int_equal(v.stores, 1);
	viewer_close(&v);
	buf_fini(&keys);
	node_stop(&n);
}

static void
associations__a_peer_that_stalls_in_a_pdu_is_dropped(void **state)
{
	struct viewer v;
	struct node n;

	(void)state;
	node_start(&n, "");
	restart(&n, 0, 1);
	viewer_open(&v, &n, "NODE");
	/* The head of a P-DATA-TF of 1,000 bytes, and no more. */
	assert_int_equal(send(assoc_socket(v.a), "\x04\0\0\0\x03\xe8", 6, 0), 6);
	assert_true(alone_in_time(&n));
	assoc_free(v.a);
	node_stop(&n);
}

static void
associations__a_release_is_answered_and_an_abort_ends(void **state)
{
	struct viewer v;
	struct node n;

	(void)state;
	node_start(&n, "");
	viewer_open(&v, &n, "NODE");
	viewer_close(&v);
	assert_true(alone_in_time(&n));
	viewer_open(&v, &n, "NODE");
	assoc_abort(v.a);
	assoc_free(v.a);
	assert_true(alone_in_time(&n));
	node_stop(&n);
}

static void
associations__R29_a_reload_cuts_none(void **state)
{
	struct buf keys = BUF_INIT;
	struct viewer before, after;
	struct node n;

	(void)state;
	node_start(&n, "");
	node_put(&n, 0, 1, 100, NULL);
	viewer_open(&before, &n, "NODE");
	node_reload(&n, "[peer V2]\naet = VIEWER2\nhost = 127.0.0.1");
	study_keys(&keys);
	viewer_ask(&before, ON_FIND, MESSAGE_FIND_RQ, FIND, &keys, "");
	viewer_listen(&before);
	assert_int_equal(before.pendings, 1);
	viewer_open(&after, &n, "NODE");
	viewer_close(&after);
	viewer_close(&before);
	buf_fini(&keys);
	node_stop(&n);
}

static void
associations__R29_what_is_refused_is_counted(void **state)
{
	static const char *const plain[] = {EXPLICIT};
	static const struct assoc_proposal p = {MOVE, plain, 1, ASSOC_ROLE_DEFAULT};
	struct assoc_target to = {"127.0.0.1",	  0,	"STRANGER", "NODE", ASSOC_PDU_MAX,
				  VIEWER_SECONDS, NULL, NULL};
	struct buf keys = BUF_INIT;
	struct viewer v;
	struct node n;

	(void)state;
	node_start(&n, "");
	memset(&v, 0, sizeof(v));
	to.port = n.port;
	assert_int_equal(assoc_request(&v.a, &to, &p, 1, NULL), 0);
	study_keys(&keys);
	viewer_ask(&v, 1, MESSAGE_MOVE_RQ, MOVE, &keys, "NODE");
	viewer_listen(&v);
	assert_int_equal(v.last.status, STATUS_REFUSED_NOT_AUTHORIZED);
	assert_int_equal(dimse_refusals(n.dimse), 1);
	viewer_close(&v);
	to.called = "WRONG";
	assert_int_equal(assoc_request(&v.a, &to, &p, 1, NULL), ERR_PEER);
	assert_int_equal(dimse_refusals(n.dimse), 2);
	buf_fini(&keys);
	node_stop(&n);
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

static void
associations__a_silent_destination_does_not_keep_the_node_from_stopping(void **state)
{
	struct buf keys = BUF_INIT;
	char section[100];
	struct viewer v;
	struct node n;
	unsigned port;
	int fd = silent(&port), to;

	(void)state;
	(void)snprintf(section, sizeof(section),
		       "[peer S]\naet = SILENT\nhost = 127.0.0.1\nport = %u", port);
	node_start(&n, section);
	node_put(&n, 0, 1, 100, NULL);
	n.retrieve.seconds = 3600;
	n.config.stop_seconds = 1;
	restart(&n, 0, VIEWER_SECONDS);
	viewer_open(&v, &n, "NODE");
	study_keys(&keys);
	viewer_ask(&v, ON_MOVE, MESSAGE_MOVE_RQ, MOVE, &keys, "SILENT");
	to = accept(fd, NULL, NULL); /* the C-MOVE is under way */
	assert_true(to >= 0);
	dimse_stop(n.dimse);
	n.dimse = NULL;
	(void)close(to);
	(void)close(fd);
	assoc_free(v.a);
	buf_fini(&v.identifier);
	buf_fini(&keys);
	node_stop(&n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(associations__tcp_nodelay_is_on_in_both_roles),
		cmocka_unit_test(associations__R34_a_peer_that_reads_nothing_is_dropped),
		cmocka_unit_test(associations__R34_a_peer_that_reads_slowly_is_served),
		cmocka_unit_test(associations__a_peer_that_stalls_in_a_pdu_is_dropped),
		cmocka_unit_test(associations__a_release_is_answered_and_an_abort_ends),
		cmocka_unit_test(
			associations__a_silent_destination_does_not_keep_the_node_from_stopping),
		cmocka_unit_test(associations__R29_a_reload_cuts_none),
		cmocka_unit_test(associations__R29_what_is_refused_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
