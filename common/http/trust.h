/*
 * trust.h - what a server shows and whom it believes: certificate, key, CA (GnuTLS).
 *
 * Promise: certificates are judged by our own list and our own clock, so that one
 * whose time is over is known as such (R25) and new files count for the next
 * handshake and the next request.
 * Threads: any number share one; the last reference frees.
 */
#ifndef SALAMANDER_COMMON_HTTP_TRUST_H
#define SALAMANDER_COMMON_HTTP_TRUST_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdint.h>

struct err;
struct http_request;
struct trust; /* opaque */

/* Reads PEM files; cert and key must belong together, ca must hold a certificate. */
int trust_load(struct trust **out, const char *cert, const char *key, const char *ca,
	       struct err *e);
struct trust *trust_ref(struct trust *t);
void trust_unref(struct trust *t); /* NULL is fine */

/* Copies of chain and key for one handshake, GnuTLS's to free (GNUTLS_CERT_RETR_DEINIT_ALL). */
int trust_show(const struct trust *t, gnutls_pcert_st **certs, unsigned *n, gnutls_privkey_t *key);
/* Fills certified, late, key and site of rq from what the other side has shown, or nothing. */
void trust_judge(const struct trust *t, gnutls_session_t session, int64_t wall_ms,
		 struct http_request *rq);

#endif
