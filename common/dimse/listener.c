/* The listener of service.h: sockets, caps, threads, stop. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/audit.h"
#include "common/dimse/connection.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"

enum { BACKLOG = 256, STOP_SECONDS = 8, STACK = 512 * 1024, ACCEPT_PAUSE_MS = 100 };

struct dimse_slot { /* one connection */
	struct dimse_slot *next;
	struct dimse *d;
	int fd, subs[DIMSE_SUBS]; /* guarded by d->mu; -1: closed */
	bool tls;
	char address[DIMSE_ADDRESS_SIZE];
	struct peers *peers;
};

struct dimse {
	struct dimse_config c; /* set once before threads start */
	int listeners[2 * DIMSE_LISTEN_MAX];
	unsigned n_listeners, n_plain; /* those of TLS come last */
	int wake;		       /* eventfd: stop */
	pthread_t thread;
	bool started;
	_Atomic unsigned long refusals;
	pthread_mutex_t mu;
	pthread_cond_t gone;
	/* guarded by mu */
	struct peers *peers;
	struct dimse_slot *slots;
	unsigned n;
};

int
dimse_address(const char *s, char *host, size_t size, unsigned *port, struct err *e)
{
	const char *colon = strrchr(s, ':'), *from = s, *to = colon;
	char *end;
	unsigned long v;

	if (!colon)
		return err_set(e, ERR_LOCAL, 0, "[dicom] '%s' is no address:port", s);
	if (*s == '[' && colon > s && colon[-1] == ']') {
		from++;
		to--;
	}
	v = strtoul(colon + 1, &end, 10);
	if (*end || end == colon + 1 || v == 0 || v > 65535 || (size_t)(to - from) >= size)
		return err_set(e, ERR_LOCAL, 0, "[dicom] '%s' is no address:port", s);
	memcpy(host, from, (size_t)(to - from));
	host[to - from] = '\0';
	*port = (unsigned)v;
	return 0;
}

static int
listen_on(const char *s, int *out, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV},
			*a;
	char host[256], service[8];
	unsigned port;
	int on = 1, fd, rc = dimse_address(s, host, sizeof(host), &port, e);

	if (rc)
		return rc;
	(void)snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(host[0] ? host : NULL, service, &hints, &a))
		return err_set(e, ERR_LOCAL, 0, "[dicom] '%s' is no address", s);
	fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && a->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, BACKLOG)) {
		rc = err_set(e, ERR_LOCAL, errno, "cannot listen on %s", s);
		if (fd >= 0)
			(void)close(fd);
	}
	freeaddrinfo(a);
	if (!rc)
		*out = fd;
	return rc;
}

static void
remove_slot(struct dimse_slot *slot)
{
	struct dimse *d = slot->d;
	struct dimse_slot **at;

	pthread_mutex_lock(&d->mu);
	for (at = &d->slots; *at != slot; at = &(*at)->next)
		;
	*at = slot->next;
	d->n--;
	pthread_cond_broadcast(&d->gone);
	pthread_mutex_unlock(&d->mu);
	peers_unref(slot->peers);
	free(slot);
}

static void
serve(struct dimse_slot *slot, struct dimse_caller *who)
{
	if (slot->d->c.reader_ms)
		assoc_patience(who->assoc, slot->d->c.reader_ms);
	connection_serve(who);
}

/* R36: whom TLS did not believe is refused, and what is no request that can be answered; who only
 * looks whether somebody listens is not. */
static void
no_association(struct dimse_slot *slot, const struct err *e)
{
	bool refused = e->code == ERR_CONFLICT || e->code == ERR_PEER;

	log_line(refused ? LOG_WARN : LOG_INFO, "dimse.no_association", "address=%s what=\"%s\"",
		 slot->address, e->what);
	if (!refused)
		return;
	(void)connection_refused(slot);
	audit_line(slot->d->c.audit, "refused", "what=association why=%s address=%s",
		   e->code == ERR_CONFLICT ? "tls" : "request", slot->address);
}

/* Within the deadline, and by TLS where that is what the port is for. */
static int
receive(struct dimse_slot *slot, struct assoc **out, struct err *e)
{
	const struct dimse_config *c = &slot->d->c;
	struct tls *tls = slot->tls ? peers_tls(slot->peers) : NULL;

	if (slot->tls && !tls) {
		(void)close(slot->fd);
		return err_set(e, ERR_LOCAL, 0, "TLS: [dicom] tls_cert is no longer set");
	}
	return assoc_receive(out, slot->fd, tls, c->max_pdu, c->association_seconds, e);
}

/* The connection may be shut by dimse_stop while it is in the list: close only outside it. */
static void *
run_connection(void *arg)
{
	struct dimse_slot *slot = arg;
	struct dimse_caller who = {.peers = slot->peers, .config = &slot->d->c, .slot = slot};
	struct err e = ERR_INIT;
	int rc;

	memcpy(who.address, slot->address, sizeof(who.address));
	rc = receive(slot, &who.assoc, &e);
	if (rc)
		no_association(slot, &e);
	else
		serve(slot, &who);
	pthread_mutex_lock(&slot->d->mu);
	slot->fd = -1;
	pthread_mutex_unlock(&slot->d->mu);
	assoc_free(who.assoc);
	remove_slot(slot);
	return NULL;
}

static unsigned
from_address(struct dimse *d, const char *address)
{
	const struct dimse_slot *s;
	unsigned n = 0;

	for (s = d->slots; s; s = s->next)
		n += strcmp(s->address, address) == 0;
	return n;
}

/* A connection's place among the others, or NULL: over a cap. */
static struct dimse_slot *
take_slot(struct dimse *d, int fd, bool tls, const char *address)
{
	struct dimse_slot *slot = NULL;
	unsigned i;

	pthread_mutex_lock(&d->mu);
	if (d->n < d->c.max_associations && from_address(d, address) < d->c.max_per_address)
		slot = calloc(1, sizeof(*slot));
	if (slot) {
		slot->d = d;
		slot->fd = fd;
		slot->tls = tls;
		for (i = 0; i < DIMSE_SUBS; i++)
			slot->subs[i] = -1;
		(void)snprintf(slot->address, sizeof(slot->address), "%s", address);
		slot->peers = peers_ref(d->peers);
		slot->next = d->slots;
		d->slots = slot;
		d->n++;
	}
	pthread_mutex_unlock(&d->mu);
	return slot;
}

static void
start_connection(struct dimse *d, int fd, bool tls, const char *address)
{
	struct dimse_slot *slot = take_slot(d, fd, tls, address);
	pthread_attr_t attr;
	pthread_t t;

	if (!slot) {
		log_line(LOG_WARN, "dimse.cap", "address=%s refusals=%lu", address,
			 atomic_fetch_add(&d->refusals, 1) + 1);
		audit_line(d->c.audit, "refused", "what=association why=cap address=%s", address);
		(void)close(fd);
		return;
	}
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, STACK);
	if (pthread_create(&t, &attr, run_connection, slot)) {
		log_line(LOG_ERROR, "dimse.thread", "address=%s", address);
		(void)close(fd);
		remove_slot(slot);
	}
	(void)pthread_attr_destroy(&attr);
}

static void
accept_one(struct dimse *d, unsigned at)
{
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);
	char address[DIMSE_ADDRESS_SIZE];
	const char *plain = address;
	int fd = accept4(d->listeners[at], (struct sockaddr *)&from, &n, SOCK_CLOEXEC);

	if (fd < 0) {
		/* Out of descriptors or memory: what waits is still there; others may end first. */
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			(void)poll(NULL, 0, ACCEPT_PAUSE_MS);
		return;
	}
	if (getnameinfo((struct sockaddr *)&from, n, address, sizeof(address), NULL, 0,
			NI_NUMERICHOST)) {
		(void)close(fd);
		return;
	}
	if (strncmp(address, "::ffff:", 7) == 0)
		plain += 7;
	start_connection(d, fd, at >= d->n_plain, plain);
}

static void *
run_listener(void *arg)
{
	struct dimse *d = arg;
	struct pollfd p[2 * DIMSE_LISTEN_MAX + 1];
	unsigned i;

	for (;;) {
		for (i = 0; i < d->n_listeners; i++)
			p[i] = (struct pollfd){d->listeners[i], POLLIN, 0};
		p[i] = (struct pollfd){d->wake, POLLIN, 0};
		if (poll(p, d->n_listeners + 1, -1) < 0)
			continue;
		if (p[d->n_listeners].revents)
			return NULL;
		for (i = 0; i < d->n_listeners; i++)
			if (p[i].revents)
				accept_one(d, i);
	}
}

static int
listen_on_all(struct dimse *d, const char *const *where, struct err *e)
{
	unsigned i;
	int rc = 0;

	for (i = 0; !rc && where && where[i] && i < DIMSE_LISTEN_MAX; i++) {
		rc = listen_on(where[i], &d->listeners[d->n_listeners], e);
		d->n_listeners += rc == 0;
	}
	return rc;
}

int
dimse_start(struct dimse **out, const struct dimse_config *c, struct peers *peers, struct err *e)
{
	struct dimse *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return err_set(e, ERR_LOCAL, 0, "no memory for DIMSE");
	d->c = *c;
	(void)pthread_mutex_init(&d->mu, NULL);
	clock_cond(&d->gone);
	d->peers = peers_ref(peers);
	d->wake = eventfd(0, EFD_CLOEXEC);
	rc = listen_on_all(d, c->listen, e);
	d->n_plain = d->n_listeners;
	if (!rc)
		rc = listen_on_all(d, c->tls_listen, e);
	if (!rc && pthread_create(&d->thread, NULL, run_listener, d))
		rc = err_set(e, ERR_LOCAL, 0, "no thread for DIMSE");
	d->started = rc == 0;
	if (rc) {
		dimse_stop(d);
		return rc;
	}
	*out = d;
	return 0;
}

void
dimse_reload(struct dimse *d, struct peers *peers)
{
	struct peers *old;

	pthread_mutex_lock(&d->mu);
	old = d->peers;
	d->peers = peers_ref(peers);
	pthread_mutex_unlock(&d->mu);
	peers_unref(old);
}

unsigned
dimse_associations(struct dimse *d)
{
	unsigned n;

	pthread_mutex_lock(&d->mu);
	n = d->n;
	pthread_mutex_unlock(&d->mu);
	return n;
}

unsigned long
dimse_refusals(struct dimse *d)
{
	return atomic_load(&d->refusals);
}

unsigned long
connection_refused(struct dimse_slot *slot)
{
	return atomic_fetch_add(&slot->d->refusals, 1) + 1;
}

void
dimse_sub(const struct dimse_caller *who, unsigned at, int fd)
{
	pthread_mutex_lock(&who->slot->d->mu);
	who->slot->subs[at] = fd;
	pthread_mutex_unlock(&who->slot->d->mu);
}

/* Stops reading everywhere: who waits for a message ends; who answers one may finish. */
static void
drain(struct dimse *d)
{
	struct timespec until;
	struct dimse_slot *s;
	unsigned i;

	clock_deadline(&until,
		       (d->c.stop_seconds ? d->c.stop_seconds : STOP_SECONDS) * (int64_t)1000);
	pthread_mutex_lock(&d->mu);
	for (s = d->slots; s; s = s->next)
		if (s->fd >= 0)
			(void)shutdown(s->fd, SHUT_RD);
	while (d->n > 0 && pthread_cond_timedwait(&d->gone, &d->mu, &until) == 0)
		;
	for (s = d->slots; s; s = s->next) {
		if (s->fd >= 0)
			(void)shutdown(s->fd, SHUT_RDWR);
		for (i = 0; i < DIMSE_SUBS; i++)
			if (s->subs[i] >= 0)
				(void)shutdown(s->subs[i], SHUT_RDWR);
	}
	while (d->n > 0)
		pthread_cond_wait(&d->gone, &d->mu);
	pthread_mutex_unlock(&d->mu);
}

void
dimse_stop(struct dimse *d)
{
	uint64_t one = 1;
	unsigned i;

	if (!d)
		return;
	if (d->started) {
		if (write(d->wake, &one, sizeof(one)) == sizeof(one))
			(void)pthread_join(d->thread, NULL);
		drain(d);
	}
	for (i = 0; i < d->n_listeners; i++)
		(void)close(d->listeners[i]);
	if (d->wake >= 0)
		(void)close(d->wake);
	peers_unref(d->peers);
	(void)pthread_cond_destroy(&d->gone);
	(void)pthread_mutex_destroy(&d->mu);
	free(d);
}
