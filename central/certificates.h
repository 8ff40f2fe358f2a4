/*
 * certificates.h - the archive's own CA and what it signs (R24, R25, R26).
 *
 * Owns <data>/tls: ca.key, ca.pem (every CA: the newest first, then what leads to it
 * from older ones), server.key, server.pem (central's certificate, then the way to each
 * CA; the CA itself goes along, so that a join code's print is found in it).
 * The last dozen of CAs are kept: what is sent in a handshake is bounded.
 * ca.pem is the commit point of a change: a death before it leaves the old CA, one
 * behind it is finished when the folder is opened.
 * Threads: any; one lock inside.
 */
#ifndef SALAMANDER_CENTRAL_CERTIFICATES_H
#define SALAMANDER_CENTRAL_CERTIFICATES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/http/pki.h"

struct buf;
struct certificates; /* opaque */
struct err;

/* A CA for an archive: key and bundle. */
int certificates_new_ca(struct buf *key, struct buf *ca, const struct id128 *archive,
			int64_t now_ms, struct err *e);
/* Makes the folder of a new or recovered archive. */
int certificates_write(const char *dir, const struct buf *key, const struct buf *ca, struct err *e);

/* Central's own certificate is made anew when it is missing, past half its life, or not of
 * the present CA. dir: the data folder. */
int certificates_open(struct certificates **out, const char *dir, const struct id128 *archive,
		      int64_t now_ms, struct err *e);
void certificates_close(struct certificates *c); /* NULL is fine */

/* Files for the HTTP server, borrowed until certificates_close. */
const char *certificates_server(const struct certificates *c);
const char *certificates_server_key(const struct certificates *c);
const char *certificates_ca(const struct certificates *c);

/* The present CA's print, for join codes. */
void certificates_print(struct certificates *c, unsigned char print[PKI_PRINT]);
/* All CAs, and (NULL is fine) the digest that an edge says in hello. */
void certificates_bundle(struct certificates *c, struct buf *out,
			 unsigned char digest[SHA256_SIZE]);
/* A site's certificate for the key of its request, good for two years; *got: what it says. */
int certificates_issue(struct certificates *c, const char *site, const void *csr, size_t n,
		       int64_t now_ms, struct buf *pem, struct pki_certificate *got, struct err *e);

/*
 * A new CA, signed by the old one as well, and a new certificate of central. `keep` is
 * called with its key and the whole bundle before either counts: it makes the kit.
 */
int certificates_renew_ca(struct certificates *c, int64_t now_ms,
			  int (*keep)(void *arg, const struct buf *key, const struct buf *ca,
				      struct err *e),
			  void *arg, struct err *e);

/* How many older CAs are believed beside the present one. */
size_t certificates_older(struct certificates *c);
/* They are believed no more, neither here nor, from their next hello on, at edges. `keep` as above.
 * ERR_ABSENT: there are none. */
int certificates_retire(struct certificates *c, int64_t now_ms,
			int (*keep)(void *arg, const struct buf *key, const struct buf *ca,
				    struct err *e),
			void *arg, struct err *e);

#endif
