#include "tests/lib/modality.h"

#include <arpa/inet.h>
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

#include "common/base/buf.h"
#include "common/dimse/commitment.h"

#define SC "1.2.840.10008.5.1.4.1.1.7"
#define EXPLICIT "1.2.840.10008.1.2.1"

enum { CONTEXT = 1, REQUEST_ID = 7 };

/* --- what it hears --- */

static void
take_result(struct modality *m, struct assoc *a, const struct assoc_context *c)
{
	struct modality_heard heard = {.role = c->role};
	struct buf bytes = BUF_INIT;
	struct message rq, rsp;

	if (message_receive(a, MODALITY_SECONDS, &rq, NULL) || rq.command != MESSAGE_EVENT_RQ ||
	    message_receive_identifier(a, &rq, MODALITY_SECONDS, &bytes, NULL) ||
	    references_parse(&heard.list, c->syntax, bytes.data, bytes.len, NULL)) {
		buf_fini(&bytes);
		return;
	}
	heard.type = rq.type;
	strcpy(heard.calling, assoc_calling(a));
	strcpy(heard.called, assoc_called(a));
	message_answer(&rsp, &rq, m->answer);
	if (!m->hangs_up)
		(void)message_send(a, &rsp, NULL);
	(void)pthread_mutex_lock(&m->mu);
	heard.n = m->heard.n + 1;
	references_fini(&m->heard.list);
	m->heard = heard;
	(void)pthread_cond_broadcast(&m->news);
	(void)pthread_mutex_unlock(&m->mu);
	buf_fini(&bytes);
	if (!m->hangs_up && message_receive(a, MODALITY_SECONDS, &rq, NULL) != 0)
		assoc_release(a);
}

static void
serve(struct modality *m, int fd)
{
	struct assoc_context c;
	struct assoc *a;

	if (assoc_receive(&a, fd, NULL, ASSOC_PDU_MAX, MODALITY_SECONDS, NULL))
		return;
	if (assoc_context_at(a, 0, &c) &&
	    assoc_accept_context(a, c.id, assoc_proposed_syntax(a, 0, 0), NULL) == 0 &&
	    assoc_acknowledge(a, NULL) == 0) {
		(void)assoc_context_at(a, 0, &c);
		take_result(m, a, &c);
	}
	assoc_free(a);
}

static void *
listen_on(void *arg)
{
	struct modality *m = arg;
	int fd;

	while ((fd = accept(m->fd, NULL, NULL)) >= 0)
		serve(m, fd);
	return NULL;
}

static int
open_port(unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

void
modality_init(struct modality *m)
{
	pthread_condattr_t attr;
	int fd = -1;

	memset(m, 0, sizeof(*m));
	(void)pthread_mutex_init(&m->mu, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&m->news, &attr);
	(void)pthread_condattr_destroy(&attr);
	m->fd = -1;
	for (m->port = 24005 + (unsigned)getpid() % 3000 * 10; m->port < 60000; m->port++)
		if ((fd = open_port(m->port)) >= 0)
			break;
	assert_true(fd >= 0);
	(void)close(fd);
}

void
modality_on(struct modality *m)
{
	m->fd = open_port(m->port);
	assert_true(m->fd >= 0);
	assert_int_equal(listen(m->fd, 16), 0);
	assert_int_equal(pthread_create(&m->thread, NULL, listen_on, m), 0);
}

void
modality_off(struct modality *m)
{
	if (m->fd < 0)
		return;
	(void)shutdown(m->fd, SHUT_RDWR);
	(void)pthread_join(m->thread, NULL);
	(void)close(m->fd);
	m->fd = -1;
}

void
modality_fini(struct modality *m)
{
	modality_hang_up(m);
	modality_off(m);
	references_fini(&m->heard.list);
	(void)pthread_mutex_destroy(&m->mu);
	(void)pthread_cond_destroy(&m->news);
}

bool
modality_await(struct modality *m, unsigned n)
{
	struct timespec until;
	bool come;
	int rc = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += MODALITY_SECONDS;
	(void)pthread_mutex_lock(&m->mu);
	while (m->heard.n < n && rc == 0)
		rc = pthread_cond_timedwait(&m->news, &m->mu, &until);
	come = m->heard.n >= n;
	(void)pthread_mutex_unlock(&m->mu);
	return come;
}

/* --- what it asks --- */

void
modality_call(struct modality *m, unsigned port, const char *called)
{
	static const char *const plain[] = {EXPLICIT};
	static const struct assoc_proposal p = {COMMITMENT_CLASS, plain, 1, ASSOC_ROLE_DEFAULT};
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = port,
				  .calling = "MODALITY",
				  .called = called,
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = MODALITY_SECONDS};

	assert_int_equal(assoc_request(&m->a, &to, &p, 1, NULL), 0);
}

void
modality_hang_up(struct modality *m)
{
	if (m->a)
		assoc_release(m->a);
	assoc_free(m->a);
	m->a = NULL;
}

struct message
modality_action(struct modality *m, unsigned type, const char *instance, const struct buf *bytes)
{
	struct message rq = {
		.context = CONTEXT, .command = MESSAGE_ACTION_RQ, .id = REQUEST_ID, .type = type};
	struct message rsp;

	strcpy(rq.sop_class, COMMITMENT_CLASS);
	strcpy(rq.sop_instance, instance);
	assert_int_equal(message_send_with(m->a, &rq, bytes, NULL), 0);
	assert_int_equal(message_receive(m->a, MODALITY_SECONDS, &rsp, NULL), 0);
	assert_int_equal(rsp.command, MESSAGE_ACTION_RSP);
	assert_int_equal(rsp.responded_to, REQUEST_ID);
	return rsp;
}

unsigned
modality_ask(struct modality *m, const char *transaction, const char *const *uids)
{
	struct reference all[16];
	struct references list = {.all = all};
	struct buf bytes = BUF_INIT;
	struct message rsp;

	strcpy(list.transaction, transaction);
	for (; uids[list.n]; list.n++) {
		memset(&all[list.n], 0, sizeof(all[0]));
		strcpy(all[list.n].sop_class, SC);
		strcpy(all[list.n].sop_instance, uids[list.n]);
	}
	references_ask(&bytes, EXPLICIT, &list);
	rsp = modality_action(m, 1, COMMITMENT_INSTANCE, &bytes);
	buf_fini(&bytes);
	return rsp.status;
}

unsigned
modality_listen(struct modality *m, struct references *out)
{
	struct buf bytes = BUF_INIT;
	struct message rq, rsp;

	assert_int_equal(message_receive(m->a, MODALITY_SECONDS, &rq, NULL), 0);
	assert_int_equal(rq.command, MESSAGE_EVENT_RQ);
	assert_string_equal(rq.sop_class, COMMITMENT_CLASS);
	assert_string_equal(rq.sop_instance, COMMITMENT_INSTANCE);
	assert_int_equal(message_receive_identifier(m->a, &rq, MODALITY_SECONDS, &bytes, NULL), 0);
	assert_int_equal(references_parse(out, EXPLICIT, bytes.data, bytes.len, NULL), 0);
	buf_fini(&bytes);
	message_answer(&rsp, &rq, m->answer);
	if (!m->hangs_up)
		assert_int_equal(message_send(m->a, &rsp, NULL), 0);
	return rq.type;
}
