/*
 * client.h - HTTP calls (libcurl), many at once from one thread.
 *
 * Connections are kept and shared (sockets.h). With TLS: 1.3 only, our
 * certificate shown, the server's signed by the CA; its host name and its time are
 * not looked at, the archive's id is (R25). Files are read for each new connection.
 * A call without any byte moved for 5 s is dropped (DESIGN 6) and answered with
 * status 0, as is one that found nobody: then the next address has its turn.
 * Threads: one owner; http_client_wake from any.
 */
#ifndef SALAMANDER_COMMON_HTTP_CLIENT_H
#define SALAMANDER_COMMON_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

struct err;
struct http_client; /* opaque */

enum { HTTP_PATH_SIZE = 4400, HTTP_WHAT_SIZE = 120 };

struct http_call {
	uint64_t id;	    /* the caller's, given back                     */
	const char *method; /* static                                       */
	char path[HTTP_PATH_SIZE];
	char epoch[33];
	struct buf body; /* sent; freed by the client                    */
	bool give_back;	 /* may: in the answer, as `spent`               */
	bool ranged;
	uint64_t range_first, range_n;
	unsigned lane;	  /* Salamander-Lane: of these bytes; 0: none is named  */
	unsigned seconds; /* the whole call at most; 0: no such limit     */
};

struct http_done {
	uint64_t id;
	int status;	  /* 0: nobody answered; what says why            */
	struct buf body;  /* the caller frees it; of HEAD: what Salamander-Offsets said */
	struct buf spent; /* the body that was sent, if it was to be given back: the caller's */
	uint64_t sent;
	int64_t ms;
	unsigned retry_after; /* seconds, of 429, 503, 507; 0: it did not say */
	bool steady;	      /* the connection's congestion control does not shy from loss */
	unsigned rtt_ms;      /* of the connection; 0: not known        */
	char what[HTTP_WHAT_SIZE];
	char asked[33], epoch[33]; /* Salamander-Epoch of the call and of the answer, or "" */
};

struct http_client_config {
	/* All borrowed until http_client_close. */
	const char *const *urls;  /* "https://host:port", without a path; NULL-terminated */
	const char *site;	  /* sent as Salamander-Site                        */
	const char *cert, *key;	  /* PEM files; "": none is shown                   */
	const char *ca;		  /* PEM file; "" and no pin: plain http            */
	const char *archive;	  /* 32 hex: the server's name is central.<archive>; or "" */
	const unsigned char *pin; /* join: in place of ca, the SHA-256 of the CA's key  */
	unsigned connect_ms;
	bool own_control;  /* BBR, where the kernel lets us choose           */
	uint64_t max_body; /* of an answer                                   */
};

int http_client_open(struct http_client **out, const struct http_client_config *c, struct err *e);
void http_client_close(struct http_client *c); /* drops what is under way; NULL is fine */
/* call->body is taken, even on failure. */
int http_client_submit(struct http_client *c, struct http_call *call, struct err *e);
/* Waits until a call is done, timeout_ms have passed, or somebody wakes it. *got: out is filled. */
int http_client_wait(struct http_client *c, int timeout_ms, struct http_done *out, bool *got,
		     struct err *e);
void http_client_wake(struct http_client *c);
/* One call, start to end, when nothing else is under way. */
int http_client_ask(struct http_client *c, struct http_call *call, struct http_done *out,
		    struct err *e);
/* The first line of a refusal's body, or why nobody answered. */
void http_done_why(const struct http_done *done, char out[HTTP_WHAT_SIZE]);

#endif
