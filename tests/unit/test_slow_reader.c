/*
 * A peer that stops reading in the middle of an answer: it holds no read transaction, so the
 * cache does not grow behind it (TRAPS 3), the others go on, and it is dropped (R34).
 */
#include <lmdb.h>
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/dicom/keys.h"
#include "common/dimse/identifier.h"
#include "tests/lib/viewer.h"

enum { BIG = 24 << 20, PATIENCE_MS = 1500, STEP_MS = 20 };

/* A line of mdb_reader_list: process, thread, transaction (none: "-"). Others say something. */
static int
count(const char *line, void *n)
{
	unsigned long thread, transaction;
	int process;

	*(int *)n += sscanf(line, "%d %lx %lu", &process, &thread, &transaction) == 3;
	return 0;
}

/* Read transactions that are open now, as another process sees them; < 0: it could not. */
static int
open_readers(const struct node *n)
{
	MDB_env *env;
	int status = 0, readers = 0;
	pid_t child = fork();

	if (child == 0) {
		if (mdb_env_create(&env) || mdb_env_set_maxdbs(env, 64) ||
		    mdb_env_open(env, n->stored.dir, MDB_RDONLY, 0600) ||
		    mdb_reader_list(env, count, &readers) < 0)
			_exit(255);
		_exit(readers);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
	    WEXITSTATUS(status) == 255)
		return -1;
	return WEXITSTATUS(status);
}

/* Others may read for a moment; one that is held is seen each time. */
static bool
none_is_held(const struct node *n)
{
	int waited, readers = 0;

	for (waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		readers = open_readers(n);
		assert_true(readers >= 0);
		if (readers == 0)
			return true;
		clock_sleep(clock_real(), STEP_MS);
	}
	return false;
}

/* So much of the answer is on its way that nothing more goes out. */
static void
stuck(struct viewer *v)
{
	char some[1];

	assert_int_equal(recv(assoc_socket(v->a), some, 1, MSG_PEEK), 1);
	clock_sleep(clock_real(), 300);
}

/* The test that the test sees one: a read that somebody holds. */
static void
open_readers__sees_a_transaction_that_is_held(void **state)
{
	struct visit *t = *state;
	struct store_tx *tx;

	node_put(&t->n, 0, 1, 100, NULL);
	assert_true(none_is_held(&t->n));
	assert_int_equal(store_begin_read(&tx, t->n.stored.s, NULL), 0);
	assert_false(none_is_held(&t->n));
	store_end_read(tx);
	assert_true(none_is_held(&t->n));
}

static void
be_impatient(struct visit *t)
{
	dimse_stop(t->n.dimse);
	t->n.config.reader_ms = 5 * PATIENCE_MS;
	assert_int_equal(dimse_start(&t->n.dimse, &t->n.config, t->n.peers, NULL), 0);
}

/* While v is stuck: another one is served, nothing is held; then v is dropped. */
static void
others_are_served(struct visit *t, struct viewer *v)
{
	struct viewer other;

	stuck(v);
	assert_int_equal(dimse_associations(t->n.dimse), 1);
	assert_true(none_is_held(&t->n));
	assert_int_equal(dimse_associations(t->n.dimse), 1); /* it was still there... */
	assert_false(node_audited(&t->n, " query "));	     /* and in the middle of it */
	assert_false(node_audited(&t->n, " retrieve "));
	viewer_open(&other, &t->n, "NODE");
	visit_study(t);
	viewer_ask(&other, ON_FIND, MESSAGE_FIND_RQ, FIND, &t->keys, "");
	viewer_listen(&other);
	assert_int_equal(other.last.status, STATUS_SUCCESS);
	viewer_close(&other);
	assert_true(node_alone_in_time(&t->n));
	viewer_drop(v);
}

static void
get__R34_a_peer_that_stops_reading_holds_no_read_transaction(void **state)
{
	struct visit *t = *state;

	node_put(&t->n, 0, 1, BIG, NULL);
	be_impatient(t);
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	viewer_ask(&t->v, ON_GET, MESSAGE_GET_RQ, GET, &t->keys, "");
	others_are_served(t, &t->v);
}

/* Rows of 2 KiB: what is asked for and nobody keeps is answered too, empty. */
static void
find__R34_a_peer_that_stops_reading_holds_no_read_transaction(void **state)
{
	enum { ROWS = 300, KEYS = 250, BUFFER = 8192 };
	struct visit *t = *state;
	unsigned i;

	node_put(&t->n, 0, ROWS, 16, NULL);
	be_impatient(t);
	t->n.send_buffer = BUFFER;
	viewer_open(&t->v, &t->n, "NODE");
	buf_clear(&t->keys);
	attrs_put(&t->keys, TAG_QUERY_LEVEL, "IMAGE", 5);
	for (i = 0; i < KEYS; i++)
		attrs_put(&t->keys, 0x00091001 + i, "", 0);
	attrs_put(&t->keys, TAG_STUDY_UID, "1.2.3", 5);
	attrs_put(&t->keys, TAG_SERIES_UID, "1.2.3.9", 7);
	viewer_ask(&t->v, ON_FIND, MESSAGE_FIND_RQ, FIND, &t->keys, "");
	others_are_served(t, &t->v);
}

/* --- a destination that stops reading --- */

struct destination {
	int fd;
	_Atomic bool over;
};

static void *
take_no_more(void *arg)
{
	struct destination *d = arg;
	struct assoc *a = NULL;
	struct assoc_context c;
	unsigned i;

	if (assoc_receive(&a, accept(d->fd, NULL, NULL), NULL, ASSOC_PDU_MAX, VIEWER_SECONDS, NULL))
		return NULL;
	for (i = 0; assoc_context_at(a, i, &c); i++)
		(void)assoc_accept_context(a, c.id, assoc_proposed_syntax(a, i, 0), NULL);
	(void)assoc_acknowledge(a, NULL);
	while (!d->over)
		clock_sleep(clock_real(), STEP_MS);
	assoc_free(a);
	return NULL;
}

static void
move__a_destination_that_stops_reading_holds_no_read_transaction(void **state)
{
	struct visit *t = *state;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(in);
	struct destination d = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
	char section[100];
	pthread_t thread;

	assert_int_equal(bind(d.fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(d.fd, 1), 0);
	assert_int_equal(getsockname(d.fd, (struct sockaddr *)&in, &size), 0);
	assert_int_equal(pthread_create(&thread, NULL, take_no_more, &d), 0);
	(void)snprintf(section, sizeof(section),
		       "[peer S]\naet = STUCK\nhost = 127.0.0.1\nport = %u", ntohs(in.sin_port));
	node_reload(&t->n, section);
	node_put(&t->n, 0, 1, BIG, NULL);
	t->n.retrieve.seconds = 3;
	viewer_open(&t->v, &t->n, "NODE");
	visit_study(t);
	viewer_ask(&t->v, ON_MOVE, MESSAGE_MOVE_RQ, MOVE, &t->keys, "STUCK");
	clock_sleep(clock_real(), 1000); /* its socket is full by now */
	assert_true(none_is_held(&t->n));
	viewer_listen(&t->v);
	assert_int_equal(t->v.last.status, STATUS_SUBOPERATIONS_FAILED);
	d.over = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)close(d.fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		visit_test(open_readers__sees_a_transaction_that_is_held),
		visit_test(get__R34_a_peer_that_stops_reading_holds_no_read_transaction),
		visit_test(find__R34_a_peer_that_stops_reading_holds_no_read_transaction),
		visit_test(move__a_destination_that_stops_reading_holds_no_read_transaction),
	};

	return cmocka_run_group_tests_name("slow_reader", tests, NULL, NULL);
}
