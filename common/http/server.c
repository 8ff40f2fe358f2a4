#include "common/http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <limits.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/private.h"
#include "common/http/sockets.h"
#include "common/http/trust.h"
#include "common/os/file.h"

enum { LISTEN_MAX = 32, HEADER_MAX = 16384, PEM_MAX = 1 << 20, IDLE_SECONDS = 120 };
enum {
	POOL_BYTES = 256 << 10, /* a connection's; half of it is one read */
	LARGE_BODY = 1 << 20,
	SWALLOWED = 64 << 10
};

static const struct conf_row rows[] = {
	{"http", "listen", CONF_LIST, "", 0, 0, NULL,
	 "Addresses and ports of the HTTP server, address:port; loopback only without [tls]."},
	{"http", "max_connections", CONF_NUMBER, "1024", 1, 10000, NULL,
	 "HTTP connections at once, on each address that is listened on."},
	{"http", "max_per_address", CONF_NUMBER, "64", 1, 10000, NULL,
	 "HTTP connections at once from one caller's address."},
	{"http", "header_timeout", CONF_DURATION, "60s", 1000, 3600000, NULL,
	 "A connection without a whole request header for so long is closed."},
	{"http", "min_rate", CONF_SIZE, "1KiB", 1, 1 << 30, NULL,
	 "A request body slower than this, in bytes per second after 10 s, is cut off."},
	{"http", "congestion", CONF_CHOICE, "auto", 0, 0, "auto system",
	 "Congestion control of connections between nodes: BBR where the kernel allows it, or the "
	 "system's own."},
	{"tls", "cert", CONF_STRING, "", 0, 0, NULL,
	 "Own certificate (PEM); its common name is the site."},
	{"tls", "key", CONF_STRING, "", 0, 0, NULL, "Key of the certificate (PEM)."},
	{"tls", "ca", CONF_STRING, "", 0, 0, NULL,
	 "Who signed the other side's certificate (PEM)."},
};

const struct conf_row *
http_rows(size_t *n)
{
	*n = sizeof(rows) / sizeof(rows[0]);
	return rows;
}

void
http_configure(struct http_config *out, const struct conf *c, const char **list)
{
	size_t i;

	for (i = 0; i + 1 < LISTEN_MAX; i++) {
		list[i] = conf_list(c, "http", NULL, "listen", i);
		if (!list[i])
			break;
	}
	list[i] = NULL;
	out->listen = list;
	out->cert = conf_string(c, "tls", NULL, "cert");
	out->key = conf_string(c, "tls", NULL, "key");
	out->ca = conf_string(c, "tls", NULL, "ca");
	out->max_connections = (unsigned)conf_number(c, "http", NULL, "max_connections");
	out->max_per_address = (unsigned)conf_number(c, "http", NULL, "max_per_address");
	out->header_seconds = (unsigned)(conf_number(c, "http", NULL, "header_timeout") / 1000);
	out->min_rate = (unsigned)conf_number(c, "http", NULL, "min_rate");
	out->own_control = http_own_control(c);
}

bool
http_own_control(const struct conf *c)
{
	return strcmp(conf_string(c, "http", NULL, "congestion"), "auto") == 0;
}

unsigned
http_retry_after(int status)
{
	return status == MHD_HTTP_INSUFFICIENT_STORAGE	? 30
	       : status == MHD_HTTP_SERVICE_UNAVAILABLE ? 5
	       : status == MHD_HTTP_TOO_MANY_REQUESTS	? 60
							: 0;
}

int
http_status_of(int code)
{
	switch ((enum err_code)code) {
	case ERR_NONE:
		return MHD_HTTP_OK;
	case ERR_AGAIN:
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	case ERR_FULL:
		return MHD_HTTP_INSUFFICIENT_STORAGE;
	case ERR_ABSENT:
		return MHD_HTTP_NOT_FOUND;
	case ERR_CONFLICT:
		return MHD_HTTP_CONFLICT;
	case ERR_PEER:
		return MHD_HTTP_BAD_REQUEST;
	case ERR_CORRUPT:
	case ERR_LOCAL:
		break;
	}
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static const char *
header(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

/* One range, first and last byte given (RFC 9110 14.1.2); others are not understood: ignored. */
static void
parse_range(struct http_request *rq, const char *value)
{
	unsigned long long first, last;
	char end;

	if (value && sscanf(value, "bytes=%llu-%llu%c", &first, &last, &end) == 2 &&
	    last >= first && last - first < HTTP_BODY_MAX) {
		rq->ranged = true;
		rq->range_first = first;
		rq->range_n = last - first + 1;
	}
}

/* --- answers --- */

static enum MHD_Result
send_answer(struct MHD_Connection *c, struct http_answer *a)
{
	struct MHD_Response *r;
	enum MHD_Result ok;
	char seconds[12];
	size_t i;

	/* The body is handed over; MHD frees it. */
	r = MHD_create_response_from_buffer(a->body.len, a->body.data ? a->body.data : (void *)"",
					    a->body.data ? MHD_RESPMEM_MUST_FREE
							 : MHD_RESPMEM_PERSISTENT);
	if (!r) {
		buf_fini(&a->body);
		return MHD_NO;
	}
	buf_init(&a->body);
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
				      a->type ? a->type : "application/octet-stream");
	for (i = 0; i < 2; i++)
		if (a->name[i])
			(void)MHD_add_response_header(r, a->name[i], a->value[i]);
	if (http_retry_after(a->status)) {
		(void)snprintf(seconds, sizeof(seconds), "%u", http_retry_after(a->status));
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	ok = MHD_queue_response(c, (unsigned)a->status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result
refuse(struct MHD_Connection *c, int status, const char *why)
{
	struct http_answer a = {.status = status, .type = "text/plain", .body = BUF_INIT};

	buf_printf(&a.body, "%s\n", why);
	return send_answer(c, &a);
}

int
http_serve(const struct http_route *r, void *node, struct http_request *rq, struct http_answer *out,
	   struct err *e)
{
	size_t half = rq->body_n / 2;
	void *state;
	int rc;

	if (!r->stream)
		return r->handle(node, rq, out, e);
	state = r->stream->begin(node, rq);
	if (!state)
		return err_set(e, ERR_LOCAL, 0, "no memory for a request");
	if (rq->body_n) { /* in two parts, as a network might: whoever takes them must not care */
		r->stream->more(state, rq->body, half);
		r->stream->more(state, rq->body + half, rq->body_n - half);
	}
	rc = r->stream->end(state, out, e);
	r->stream->close(state);
	return rc;
}

/* --- the gate (R24) --- */

struct headers {
	unsigned lengths;
	bool encoded, forwarded;
};

static enum MHD_Result
look_at(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct headers *h = arg;

	(void)kind;
	(void)value;
	if (strcasecmp(name, "Content-Length") == 0)
		h->lengths++;
	if (strcasecmp(name, "Transfer-Encoding") == 0)
		h->encoded = true;
	if (strcasecmp(name, "Forwarded") == 0 || strcasecmp(name, "Via") == 0 ||
	    strncasecmp(name, "X-Forwarded-", 12) == 0)
		h->forwarded = true;
	return MHD_YES;
}

/* The files as they were read last; whoever asks gives them back. */
static struct trust *
trust_now(struct http_server *s)
{
	struct trust *t;

	(void)pthread_mutex_lock(&s->mu);
	t = trust_ref(s->trust);
	(void)pthread_mutex_unlock(&s->mu);
	return t;
}

static void
judge(struct http_server *s, struct MHD_Connection *c, struct http_request *rq)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	struct trust *t;

	if (!info || !info->tls_session)
		return;
	t = trust_now(s);
	trust_judge(t, info->tls_session,
		    s->c.wall_ms ? s->c.wall_ms(s->c.node) : clock_wall(s->c.clock), rq);
	trust_unref(t);
}

/* 0, or the status of a refusal. */
static int
gate(struct http_server *s, struct MHD_Connection *c, struct http_request *rq,
     const struct http_route *route, const char **why)
{
	struct headers h = {0, false, false};
	const char *name = header(c, "Salamander-Site");

	(void)MHD_get_connection_values(c, MHD_HEADER_KIND, look_at, &h);
	*why = "two lengths";
	if (h.lengths > 1 || (h.lengths && h.encoded))
		return MHD_HTTP_BAD_REQUEST;
	*why = "forwarded requests need TLS";
	if (!s->c.cert[0] && h.forwarded)
		return MHD_HTTP_FORBIDDEN;
	*why = "the name is too long";
	if (name && strlen(name) >= sizeof(rq->site))
		return MHD_HTTP_BAD_REQUEST;
	if (s->c.cert[0])
		judge(s, c, rq);
	*why = "no certificate of this archive";
	if (s->c.cert[0] && !rq->certified && !(route && route->right & HTTP_OPEN))
		return MHD_HTTP_FORBIDDEN;
	*why = "the certificate is another site's";
	if (rq->certified && name && strcmp(name, rq->site) != 0)
		return MHD_HTTP_FORBIDDEN;
	if (!s->c.cert[0] && name)
		strcpy(rq->site, name);
	*why = "not allowed";
	if (!route) /* whoever got here may learn that there is no such path */
		return 0;
	return s->c.allowed(s->c.node, rq, route->right, why) ? 0 : MHD_HTTP_FORBIDDEN;
}

static const struct http_route *
find_route(const struct http_server *s, const char *method, const char *path, bool *known)
{
	size_t i, n;

	*known = false;
	for (i = 0; i < s->c.n_routes; i++) {
		const struct http_route *r = &s->c.routes[i];

		n = strlen(r->path);
		if (r->path[n - 1] == '/' ? strncmp(path, r->path, n) : strcmp(path, r->path))
			continue;
		*known = true;
		if (strcmp(method, r->method) == 0)
			return r;
	}
	return NULL;
}

/* --- one request --- */

struct exchange {
	struct http_request rq;
	const struct http_route *route;
	struct buf body;
	struct watched *watched;
	void *state;	/* of the route's stream */
	uint64_t taken; /* bytes of the body     */
	int refusal;	/* 0, or the status that waits for a small body to be over */
	const char *why;
};

static void
numeric_address(struct MHD_Connection *c, char out[HTTP_ADDRESS_SIZE])
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	socklen_t n;

	out[0] = '\0';
	if (!info || !info->client_addr)
		return;
	n = info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						     : sizeof(struct sockaddr_in);
	if (getnameinfo(info->client_addr, n, out, HTTP_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST))
		out[0] = '\0';
}

/*
 * Fresh memory costs a page fault for each 4 KiB, more than all that is done with the bytes:
 * a large body gets what one before it had, and is never moved while it grows.
 */
static void
take_room(struct http_server *s, struct buf *body, size_t n)
{
	unsigned i;

	if (n < LARGE_BODY)
		return;
	(void)pthread_mutex_lock(&s->mu);
	for (i = 0; i < SPARE_BODIES && !body->data; i++)
		if (s->spare[i].data) {
			*body = s->spare[i];
			buf_init(&s->spare[i]);
		}
	(void)pthread_mutex_unlock(&s->mu);
	buf_clear(body);
	(void)buf_reserve(body, n); /* a failure shows when the body comes */
}

static void
give_room(struct http_server *s, struct buf *body)
{
	unsigned i;

	(void)pthread_mutex_lock(&s->mu);
	for (i = 0; i < SPARE_BODIES && body->cap >= LARGE_BODY; i++)
		if (!s->spare[i].data) {
			s->spare[i] = *body;
			buf_init(body);
		}
	(void)pthread_mutex_unlock(&s->mu);
	buf_fini(body);
}

/*
 * An answer to a body that is not read ends the connection, and the caller may hear of the end
 * only: a small one is swallowed first.
 */
static enum MHD_Result
refuse_behind_body(struct MHD_Connection *c, struct exchange *x, int status, const char *why)
{
	const char *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);

	if (status == MHD_HTTP_BAD_REQUEST || header(c, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
	    (length && strtoull(length, NULL, 10) > SWALLOWED))
		return refuse(c, status, why);
	x->refusal = status;
	x->why = why;
	return MHD_YES;
}

/* A digit or two; anything else is no lane. */
static unsigned
lane_of(const char *s)
{
	size_t n = s ? strspn(s, "0123456789") : 0;

	return n && n <= 2 && !s[n] ? (unsigned)strtoul(s, NULL, 10) : 0;
}

static enum MHD_Result
begin(struct http_server *s, struct MHD_Connection *c, const char *path, const char *method,
      void **slot)
{
	const struct http_route *route;
	struct exchange *x;
	const char *why = "", *length, *epoch;
	bool known;
	int status;

	x = calloc(1, sizeof(*x));
	if (!x)
		return MHD_NO;
	*slot = x;
	route = find_route(s, method, path, &known);
	x->route = route;
	x->rq.method = route ? route->method : "";
	x->rq.path = path;
	x->rq.rest = route ? path + strlen(route->path) : "";
	parse_range(&x->rq, header(c, MHD_HTTP_HEADER_RANGE));
	epoch = header(c, "Salamander-Epoch");
	if (epoch && strlen(epoch) < sizeof(x->rq.epoch))
		strcpy(x->rq.epoch, epoch);
	x->rq.lane = lane_of(header(c, "Salamander-Lane"));
	numeric_address(c, x->rq.address);
	x->watched = watch_request(c);
	status = gate(s, c, &x->rq, route, &why);
	if (!status && !route) {
		status = known ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND;
		why = known ? "no such method" : "no such path";
	}
	if (status) {
		log_line(LOG_WARN, "http.refused", "status=%d path=%s address=%s why=\"%s\"",
			 status, route ? route->path : "-", x->rq.address, why);
		return refuse_behind_body(c, x, status, why);
	}
	length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
	if (length && strtoull(length, NULL, 10) > route->max_body)
		return refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
	if (length && !route->stream)
		take_room(s, &x->body, (size_t)strtoull(length, NULL, 10));
	if (route->stream)
		x->state = route->stream->begin(s->c.node, &x->rq);
	return route->stream && !x->state
		       ? refuse(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "no memory for a request")
		       : MHD_YES;
}

static int
answer_of(struct http_server *s, struct exchange *x, struct http_answer *a, struct err *e)
{
	if (x->state)
		return x->route->stream->end(x->state, a, e);
	x->rq.body = x->body.data;
	x->rq.body_n = x->body.len;
	x->rq.may_wait = true;
	return buf_failed(&x->body) ? err_set(e, ERR_LOCAL, 0, "no memory for a request")
				    : x->route->handle(s->c.node, &x->rq, a, e);
}

static enum MHD_Result
finish(struct http_server *s, struct MHD_Connection *c, struct exchange *x)
{
	struct http_answer a = {.status = MHD_HTTP_OK, .body = BUF_INIT};
	struct err e = ERR_INIT;
	int rc;

	watch_pause(x->watched);
	if (x->refusal)
		return refuse(c, x->refusal, x->why);
	if (x->taken > x->route->max_body)
		return refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
	rc = answer_of(s, x, &a, &e);
	if (!rc && buf_failed(&a.body))
		rc = err_set(&e, ERR_LOCAL, 0, "no memory for an answer");
	if (rc) {
		log_err(rc == ERR_ABSENT ? LOG_DEBUG : LOG_WARN, "http.failed", &e);
		buf_fini(&a.body); /* its headers stay: every answer carries the epoch (R22) */
		a.status = http_status_of(rc);
		a.type = "text/plain";
		buf_printf(&a.body, "%s\n", e.what);
	}
	watch_sending(x->watched, a.body.len);
	return send_answer(c, &a);
}

/* What is too large is swallowed up to here, then answered. */
static void
take(struct exchange *x, const char *data, size_t n)
{
	watch_bytes(x->watched, n);
	if (x->refusal || x->taken > x->route->max_body)
		return;
	x->taken += n;
	if (!x->state) {
		buf_put(&x->body, data, n);
		return;
	}
	watch_hold(x->watched);
	x->route->stream->more(x->state, data, n);
	watch_release(x->watched);
}

static enum MHD_Result
handle(void *arg, struct MHD_Connection *c, const char *path, const char *method,
       const char *version, const char *data, size_t *n, void **slot)
{
	struct http_server *s = arg;
	struct exchange *x = *slot;

	(void)version;
	if (!x)
		return begin(s, c, path, method, slot);
	if (*n) {
		take(x, data, *n);
		*n = 0;
		return MHD_YES;
	}
	return finish(s, c, x);
}

static void
completed(void *arg, struct MHD_Connection *c, void **slot, enum MHD_RequestTerminationCode how)
{
	struct exchange *x = *slot;
	struct http_server *s = arg;

	(void)c;
	(void)how;
	if (!x)
		return;
	watch_idle(x->watched);
	if (x->state)
		x->route->stream->close(x->state);
	give_room(s, &x->body);
	free(x);
	*slot = NULL;
}

/* --- start and stop --- */

static int
loopback(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >>
			       24 ==
		       127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static int
resolve(const char *text, struct addrinfo **out, struct err *e)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				 .ai_socktype = SOCK_STREAM};
	char host[HTTP_ADDRESS_SIZE];
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (!colon || n >= sizeof(host) || strcmp(colon, ":0") == 0)
		return err_set(e, ERR_LOCAL, 0, "[http] listen: address:port wanted");
	memcpy(host, text, n);
	host[n] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, out))
		return err_set(e, ERR_LOCAL, 0, "[http] listen: %s:%s is no address", host,
			       colon + 1);
	return 0;
}

static int
listen_on(const char *text, bool plain, struct err *e)
{
	struct addrinfo *a;
	int fd, one = 1, rc = resolve(text, &a, e);

	if (rc)
		return rc;
	if (plain && !loopback(a->ai_addr)) {
		freeaddrinfo(a);
		return err_set(e, ERR_LOCAL, 0,
			       "[http] listen %s: plain http is for loopback; set [tls]", text);
	}
	fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    (a->ai_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 128)) {
		rc = err_set(e, ERR_LOCAL, errno, "cannot listen on %s", text);
		if (fd >= 0)
			file_close(fd);
		fd = rc;
	}
	freeaddrinfo(a);
	return fd;
}

static void complain(void *arg, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static void
complain(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	(void)arg;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_line(LOG_DEBUG, "http.library", "what=\"%s\"", text);
}

/* In a handshake: what the files said last (TRAPS 5). */
static int
show(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **certs,
     unsigned *n, gnutls_ocsp_data_st **ocsp, unsigned *n_ocsp, gnutls_privkey_t *key,
     unsigned *flags)
{
	struct trust *t = trust_now(gnutls_session_get_ptr(session));
	int rc = trust_show(t, certs, n, key);

	(void)info;
	*ocsp = NULL;
	*n_ocsp = 0;
	*flags = GNUTLS_CERT_RETR_DEINIT_ALL;
	trust_unref(t);
	/* A list of names of CAs would be that of the start. */
	gnutls_certificate_send_x509_rdn_sequence(session, 1);
	return rc;
}

static void
on_connection(void *arg, struct MHD_Connection *c, void **slot,
	      enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	struct http_server *s = arg;

	if (s->c.cert[0] && info && info->tls_session && what == MHD_CONNECTION_NOTIFY_STARTED)
		gnutls_session_set_ptr(info->tls_session, s);
	info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info && what == MHD_CONNECTION_NOTIFY_STARTED)
		sockets_prepare(info->connect_fd, s->c.own_control);
	watch_connection(s->watch, c, slot, what);
}

static int
start_one(struct http_server *s, const char *text, struct err *e)
{
	bool tls = s->c.cert[0] != '\0';
	int fd = listen_on(text, !tls, e);
	struct MHD_OptionItem more[] = {
		{MHD_OPTION_HTTPS_MEM_TRUST, 0, s->ca.data},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"SECURE128:-VERS-ALL:+VERS-TLS1.3"},
		{MHD_OPTION_END, 0, NULL}};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	if (fd < 0)
		return fd;
	s->daemons[s->n_daemons] = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
			MHD_USE_ITC | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0),
		0, NULL, NULL, handle, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_EXTERNAL_LOGGER,
		complain, NULL, MHD_OPTION_CONNECTION_LIMIT, s->c.max_connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->c.max_per_address,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_MAX + POOL_BYTES,
		MHD_OPTION_NOTIFY_COMPLETED, completed, s, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, s, MHD_OPTION_ARRAY, tls ? more : none,
		tls ? MHD_OPTION_HTTPS_CERT_CALLBACK2 : MHD_OPTION_END, show, MHD_OPTION_END);
	if (!s->daemons[s->n_daemons]) {
		file_close(fd);
		return err_set(e, ERR_LOCAL, 0, "cannot start the HTTP server on %s", text);
	}
	s->n_daemons++;
	return 0;
}

int
http_check_files(const char *cert, const char *key, const char *ca, struct err *e)
{
	struct trust *t = NULL;
	int rc = trust_load(&t, cert, key, ca, e);

	trust_unref(t);
	return rc;
}

int
http_check_settings(const struct conf *c, struct err *e)
{
	bool cert = conf_string(c, "tls", NULL, "cert")[0] != '\0';
	bool key = conf_string(c, "tls", NULL, "key")[0] != '\0';
	bool ca = conf_string(c, "tls", NULL, "ca")[0] != '\0';
	const char *text;
	struct addrinfo *a;
	size_t i;

	if (cert != key || cert != ca)
		return err_set(e, ERR_LOCAL, 0, "[tls] wants cert, key and ca together");
	for (i = 0; (text = conf_list(c, "http", NULL, "listen", i)) != NULL; i++) {
		if (i + 1 >= LISTEN_MAX)
			return err_set(e, ERR_LOCAL, 0, "[http] listen: more than %d addresses",
				       LISTEN_MAX - 1);
		if (resolve(text, &a, e))
			return e ? (int)e->code : ERR_LOCAL;
		freeaddrinfo(a);
	}
	return 0;
}

int
http_reload(struct http_server *s, struct err *e)
{
	struct trust *now, *before;
	int rc;

	if (!s->c.cert[0])
		return 0;
	rc = trust_load(&now, s->c.cert, s->c.key, s->c.ca, e);
	if (rc)
		return rc;
	(void)pthread_mutex_lock(&s->mu);
	before = s->trust;
	s->trust = now;
	(void)pthread_mutex_unlock(&s->mu);
	trust_unref(before);
	return 0;
}

int
http_start(struct http_server **out, const struct http_config *c, struct err *e)
{
	struct http_server *s;
	size_t i;
	int rc = 0;

	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ERR_LOCAL, 0, "no memory for the HTTP server");
	s->c = *c;
	(void)pthread_mutex_init(&s->mu, NULL);
	if (c->cert[0]) {
		rc = http_reload(s, e);
		if (!rc)
			rc = file_slurp(c->ca, PEM_MAX, &s->ca, e);
		buf_put_u8(&s->ca, 0);
	}
	if (!rc)
		rc = watch_start(&s->watch, c->clock, c->header_seconds, c->min_rate, e);
	for (i = 0; !rc && c->listen[i]; i++)
		rc = start_one(s, c->listen[i], e);
	if (rc) {
		http_stop(s);
		return rc;
	}
	*out = s;
	return 0;
}

void
http_stop(struct http_server *s)
{
	unsigned i;

	if (!s)
		return;
	if (s->watch)
		watch_cut_all(s->watch);
	for (i = 0; i < s->n_daemons; i++)
		MHD_stop_daemon(s->daemons[i]);
	watch_stop(s->watch);
	trust_unref(s->trust);
	buf_fini(&s->ca);
	for (i = 0; i < SPARE_BODIES; i++)
		buf_fini(&s->spare[i]);
	(void)pthread_mutex_destroy(&s->mu);
	free(s);
}
