/*
 * client.h - many HTTP requests at once from one thread (libcurl multi).
 *
 * TLS 1.3 with our certificate; the other side must hold one of our CA, no
 * other is trusted (R24). Proxies from the environment are ignored. A request
 * ends with a status or with an error, never neither: connect, lack of
 * progress and total time each have their limit.
 * Requests of the lane HTTP_FIRST never wait for a free connection; those of
 * HTTP_BULK use at most `bulk` connections at a time, first come first served.
 * Threads: all calls from one thread, but http_client_wake from any.
 */
#ifndef SALAMANDER_COMMON_HTTP_CLIENT_H
#define SALAMANDER_COMMON_HTTP_CLIENT_H

#include "common/base/buf.h"
#include "common/http/http.h"

struct http_client; /* opaque */

enum http_lane { HTTP_FIRST, HTTP_BULK };

struct http_client_config {
	const char *cert, *key, *ca; /* PEM files; NULL: plain http only                        */
	bool any_name;		     /* CA yes, host name no: the archive id is checked instead */
	unsigned connect_ms;	     /* 0 = 5,000: address, TCP, TLS                            */
	unsigned stall_ms;	     /* 0 = 5,000: bytes to move that do not (TCP_USER_TIMEOUT)  */
	unsigned bulk;		     /* 0 = 8 connections for HTTP_BULK                         */
	const char *congestion;	     /* TCP_CONGESTION wished for ("bbr"), NULL = the kernel's  */
};

struct http_call {
	uint64_t id; /* the caller's; comes back in the result */
	enum http_method method;
	enum http_lane lane;
	const char *url;	    /* copied */
	const char *const *headers; /* "Name: value", ends with NULL; copied; NULL = none */
	const char *content_type;   /* of the body; NULL = application/octet-stream */
	struct buf *body_taken;	    /* taken and left empty; NULL = none */
	uint64_t first, length;	    /* Range, when length > 0 */
	size_t max_answer;	    /* bytes of the answer's body; more: ERR_PEER */
	unsigned total_ms;	    /* whole request, waiting in the lane not counted; 0 = none */
	/* Given: the body of a 200 or 206 goes here instead of into the result, unbounded;
	   non-zero ends the request with ERR_LOCAL. */
	int (*data)(void *arg, const void *p, size_t n);
	void *data_arg;
};

struct http_result {
	uint64_t id;
	unsigned status; /* 0: no answer, see err */
	struct err err;	 /* ERR_AGAIN: network; ERR_PEER: not our CA, or against the rules */
	bool sent;	 /* something of the request may have reached the other side */
	struct buf body;
	double connect_ms, total_ms; /* of this request, for steering */
	void *impl;		     /* for http_result_header */
};

int http_client_new(struct http_client **out, const struct http_client_config *cfg, struct err *e);
void http_client_free(struct http_client *c); /* drops what runs; NULL is fine */

/* Non-zero: bad URL or no memory; then there will be no result. */
int http_client_submit(struct http_client *c, const struct http_call *call, struct err *e);
/* Drops the request with this id, if there is one: no result comes for it. */
void http_client_cancel(struct http_client *c, uint64_t id);
/* Moves bytes; returns when a result is there, timeout_ms have passed or somebody woke it. */
int http_client_poll(struct http_client *c, int timeout_ms, struct err *e);
/* Ends a poll that waits, or the next one. Any thread. */
void http_client_wake(struct http_client *c);
/* The next finished request; false: none. The caller ends it with http_result_fini. */
bool http_client_next(struct http_client *c, struct http_result *out);
/* Requests submitted whose result was not fetched yet. */
unsigned http_client_pending(const struct http_client *c);
void http_client_set_bulk(struct http_client *c, unsigned n);

/* Value of a header of the answer, NULL if absent; until http_result_fini. */
const char *http_result_header(const struct http_result *r, const char *name);
void http_result_fini(struct http_result *r);

#endif
