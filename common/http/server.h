/*
 * server.h - an HTTP server (libmicrohttpd) behind one gate (R24).
 *
 * A route is a row: method, path, the right it needs, the largest body, what
 * answers. Before any byte of a body is taken, the gate has run: no forwarding
 * headers on plain http, one Content-Length, certificate -> key and site -> the node's
 * `allowed`, asked for each request: what it takes back counts on connections that
 * stand. With certificates only TLS 1.3 with one of the CA gets in, but for routes that
 * are HTTP_OPEN; without them only loopback addresses are listened on.
 *
 * TRAPS 5: a request's header and body have deadlines of our own (a byte a
 * second does not keep a connection), connections are bounded in total and per
 * address, a body is bounded per route, and held in memory until it is whole, or taken as it
 * comes.
 * Threads: one per connection; handlers run there.
 */
#ifndef SALAMANDER_COMMON_HTTP_SERVER_H
#define SALAMANDER_COMMON_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

struct clock;
struct conf;
struct conf_row;
struct err;
struct http_server; /* opaque */

enum {
	HTTP_SITE_SIZE = 65,
	HTTP_ADDRESS_SIZE = 64,
	HTTP_EPOCH_SIZE = 33,
	HTTP_KEY_SIZE = 32,
	HTTP_VALUE_SIZE = 1536, /* of an answer's header */
	HTTP_BODY_MAX = 32 << 20
};

/* In a route's right: asked without a certificate as well (R26). */
#define HTTP_OPEN (1u << 31)

struct http_request {
	const char *method;
	const char *path;		  /* without the query              */
	const char *rest;		  /* what follows a route's prefix  */
	bool certified;			  /* TLS, a certificate of the CA   */
	bool late;			  /* which is not valid now (R25)   */
	int64_t from_ms, until_ms;	  /* its life                       */
	unsigned char ca[HTTP_KEY_SIZE];  /* print of the CA of the file that signed it, or zero */
	unsigned char key[HTTP_KEY_SIZE]; /* its key's SHA-256, as pki.h    */
	char site[HTTP_SITE_SIZE];	  /* its name; plain: what          */
	char address[HTTP_ADDRESS_SIZE];  /*   Salamander-Site says         */
	char epoch[HTTP_EPOCH_SIZE];	  /* Salamander-Epoch, "" if absent */
	unsigned lane;			  /* Salamander-Lane, 0 if absent   */
	bool ranged;			  /* Range: bytes=first-last        */
	uint64_t range_first, range_n;
	const unsigned char *body;
	size_t body_n;
	bool may_wait; /* for what is not there yet: the thread is this connection's own */
};

struct http_answer {
	int status;
	const char *type; /* NULL: application/octet-stream */
	struct buf body;
	/* up to two headers more; NULL: none */
	const char *name[2];
	char value[2][HTTP_VALUE_SIZE];
};

/*
 * A body that is not held in memory: taken as it comes, by one thread. What goes wrong on the
 * way is said at the end, since a caller hears nothing before.
 */
struct http_stream {
	void *(*begin)(void *node, const struct http_request *rq); /* NULL: no memory */
	void (*more)(void *state, const void *data, size_t n);
	int (*end)(void *state, struct http_answer *out, struct err *e); /* all of it came */
	void (*close)(void *state); /* last, also when it broke off */
};

struct http_route {
	const char *method;
	const char *path; /* ends in '/': a prefix */
	unsigned right;
	size_t max_body;
	/* Fills the answer; an error becomes a status by its code, its text the body. */
	int (*handle)(void *node, struct http_request *rq, struct http_answer *out, struct err *e);
	const struct http_stream *stream; /* not NULL: in the place of `handle` */
};

struct http_config {
	void *node;
	const struct http_route *routes;
	size_t n_routes;
	/* The last word of the gate; *why, when it says no: one line, static. rq->site "" when
	 * plain http named none, or an HTTP_OPEN route is asked without a certificate. */
	bool (*allowed)(void *node, const struct http_request *rq, unsigned right,
			const char **why);
	const char *const *listen;   /* NULL-terminated "address:port" */
	const char *cert, *key, *ca; /* PEM files, borrowed until http_stop; "" : plain http */
	unsigned max_connections, max_per_address;
	unsigned header_seconds; /* from connect or last answer to a whole header     */
	bool own_control;	 /* BBR, where the kernel lets us choose               */
	unsigned min_rate;	 /* bytes per second of a body, after its first 10 s */
	struct clock *clock;
	/* By what time certificates are judged; NULL: by the clock's (R28). */
	int64_t (*wall_ms)(void *node);
};

/* [http] and [tls], for both nodes. */
const struct conf_row *http_rows(size_t *n);
/* Certificate, key and CA can be read and belong together. */
int http_check_files(const char *cert, const char *key, const char *ca, struct err *e);
/* What they must be together; http_start says whether an address is only for loopback. */
int http_check_settings(const struct conf *c, struct err *e);
/* [http] congestion: may our sockets choose theirs? For both ends of calls. */
bool http_own_control(const struct conf *c);
/* Fills what [http] and [tls] say; list: at least 32 entries, owned by the caller. */
void http_configure(struct http_config *out, const struct conf *c, const char **list);

/* A request whose body (rq->body) is here, whichever way the route takes it. */
int http_serve(const struct http_route *r, void *node, struct http_request *rq,
	       struct http_answer *out, struct err *e);

int http_start(struct http_server **out, const struct http_config *c, struct err *e);
void http_stop(struct http_server *s); /* waits for handlers; frees; NULL is fine */
/* Reads the certificate files again, for handshakes and requests from now on; on an error the
 * old ones stay. */
int http_reload(struct http_server *s, struct err *e);

/* Retry-After of an answer with this status, in seconds; 0: none. */
unsigned http_retry_after(int status);
/* The one place that maps what happened to an HTTP status. */
int http_status_of(int code);

#endif
