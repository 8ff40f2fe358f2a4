/*
 * server.h - the HTTP server of both nodes (libmicrohttpd, GnuTLS).
 *
 * One gate stands in front of every route (R24): between machines TLS 1.3
 * with a certificate of our CA whose name is the site; plain http on loopback
 * only, refused when a proxy speaks for somebody else (Forwarded,
 * X-Forwarded-*, Via). What two readers could read differently is refused
 * (TRAPS 5): two Content-Length, Content-Length with Transfer-Encoding.
 *
 * A body is buffered up to its route's limit, then the handler runs on the
 * connection's own thread: it may wait for an fsync, a lock or news (long
 * poll) without holding up anybody else. A streamed answer is pulled piece by
 * piece; the pull takes its locks and read transactions per piece, never
 * across a write to the socket (TRAPS 3).
 * Bounded: connections (in total and per address), header time, body rate,
 * reading rate of the client, bytes of bodies in flight.
 * Threads: open and close from one; handlers run on many at once.
 */
#ifndef SALAMANDER_COMMON_HTTP_SERVER_H
#define SALAMANDER_COMMON_HTTP_SERVER_H

#include "common/http/http.h"

struct buf;
struct http_answer;  /* opaque: filled by the handler                  */
struct http_request; /* opaque: borrowed by the handler for its call   */
struct http_server;  /* opaque */

enum { HTTP_SITE_SIZE = 65, HTTP_ADDRESS_SIZE = 64 };

/* Who asks, as the gate found it. */
struct http_peer {
	char site[HTTP_SITE_SIZE];	 /* certificate's CN, else its first DNS name; on plain
					    loopback the header's; "" = none               */
	char address[HTTP_ADDRESS_SIZE]; /* "192.0.2.7", without port                      */
	bool tls;			 /* site is proven by a certificate                */
	unsigned char key[32];		 /* SHA-256 of the certificate's public key (TLS)  */
};

struct http_route {
	enum http_method method;
	const char *path;    /* "/sync/v1/packs/{id}": {} stands for one segment, not empty */
	unsigned permission; /* handed to permit; the meaning is the node's                 */
	bool anyone;	     /* also over TLS without a certificate (none between machines) */
	size_t max_body;     /* bytes; more is answered 413; 0 = no body                    */
	/* Non-zero (with e filled) is answered by http_status_of and a line of text. */
	int (*handle)(void *arg, struct http_request *rq, struct http_answer *a, struct err *e);
};

struct http_server_config {
	const char *const *listen; /* "127.0.0.1:8080", "[::1]:8080", "*:8443"; ends with NULL */
	const struct http_route *routes; /* ends with path NULL; must outlive the server       */
	void *arg;			 /* handed to handle and permit                         */
	/* Runs per request, before the body is read: 0, or the status to refuse with (403).
	   NULL: every site may do everything. */
	unsigned (*permit)(void *arg, const struct http_peer *peer, unsigned permission);
	/* PEM files; all three or none. None: plain http, loopback addresses only (R24). */
	const char *cert, *key, *ca;
	/* Limits; 0 takes the default named behind. */
	unsigned connections; /* 768, per listening address                              */
	unsigned per_address; /* 128, per client address and listening address           */
	unsigned headers_ms;  /* 10,000: TLS handshake and headers of the first request;
				    later the headers from their first line                 */
	unsigned idle_ms;     /* 75,000: between two requests                            */
	unsigned window_ms;   /* 15,000: window of the two rates                         */
	unsigned min_rate;    /* 512 bytes/s a client must send of its body, or read of
				    its answer, in each window                              */
	uint64_t body_memory; /* 256 MiB of bodies in flight; beyond: 503 and Retry-After */
	unsigned drain_ms;    /* 5,000: running requests may end when the server closes  */
};

/* ERR_LOCAL: address in use, bad files, plain http on an address that is not loopback. */
int http_server_open(struct http_server **out, const struct http_server_config *cfg, struct err *e);
/* No new connections; http_request_alive turns false. The owner then wakes its long polls. */
void http_server_stop(struct http_server *s);
/* Stops, waits drain_ms for running requests, cuts the rest, waits for the handlers. NULL is fine. */
void http_server_close(struct http_server *s);

/* --- For handlers. Pointers are valid during the call. --- */
const struct http_peer *http_request_peer(const struct http_request *rq);
const char *http_request_header(const struct http_request *rq, const char *name); /* or NULL */
/* Values of a query's name, percent-decoded; NULL when absent. Never to be logged (R35). */
const char *http_request_query(const struct http_request *rq, const char *name);
/* What stood in the i-th {} of the path; "" past the end. */
const char *http_request_id(const struct http_request *rq, unsigned i);
/* The whole body; a handler may move it out (and leave BUF_INIT). */
struct buf *http_request_body(struct http_request *rq);
/* false: the server stops or the client has hung up. A long poll asks at least once a second. */
bool http_request_alive(const struct http_request *rq);

/* Status 200 and no body unless told otherwise. */
void http_answer_status(struct http_answer *a, unsigned status);
/* Copies. value must be one line; bad ones are dropped. */
void http_answer_header(struct http_answer *a, const char *name, const char *value);
void http_answer_header_u64(struct http_answer *a, const char *name, uint64_t value);
/* Takes what is in body and leaves it empty. */
void http_answer_body(struct http_answer *a, const char *type, struct buf *body_taken);
/* Forgets all that was said, then: the status of code and its text as text/plain. */
void http_answer_error(struct http_answer *a, enum err_code code, const char *text);

#define HTTP_LENGTH_UNKNOWN UINT64_MAX /* sent chunked */

struct http_stream {
	void *arg;
	uint64_t length; /* exact, or HTTP_LENGTH_UNKNOWN */
	/* Fills up to n bytes from pos on; *got = 0 ends an answer of unknown length. May block.
	   Non-zero cuts the connection, so that the client sees that its answer is not whole. */
	int (*pull)(void *arg, uint64_t pos, void *p, size_t n, size_t *got, struct err *e);
	void (*close)(void *arg); /* called once, whatever happened; NULL is fine */
};

/* s_taken: close is called from now on, even when the answer is replaced or never sent. */
void http_answer_stream(struct http_answer *a, const char *type, const struct http_stream *s_taken);
/* Looks at the request's Range header for an entity of size bytes and sets status (200, 206,
   416) and Content-Range; the handler then streams *length bytes from *first on, nothing for 416. */
enum http_range http_answer_range(struct http_answer *a, const struct http_request *rq,
				  uint64_t size, uint64_t *first, uint64_t *length);

#endif
