/*
 * pki.h - keys and certificates of an archive (R24, R25), as PEM and DER in buffers.
 *
 * Keys are EC P-256, PKCS#8 PEM. A print is SHA-256 of a SubjectPublicKeyInfo (DER): it
 * names a key, whatever certificate it stands in. Certificates are X.509 v3, signed with
 * SHA-256; each starts a day before `now_ms`, a wall time that the caller gives: nothing
 * here asks a clock. Buffers that take PEM are appended to; a PEM parameter is a whole
 * buffer, of which the first item counts.
 * Errors: ERR_PEER for what somebody else made and is wrong, ERR_CORRUPT for a PEM of ours
 * that cannot be read, ERR_LOCAL.
 * Threads: none of its own; any may call.
 */
#ifndef SALAMANDER_COMMON_HTTP_PKI_H
#define SALAMANDER_COMMON_HTTP_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

enum { PKI_PRINT = 32, PKI_NAME_SIZE = 65, PKI_DER_MAX = 4096 };

int pki_key_make(struct buf *key, struct err *e);
int pki_key_print(const struct buf *key, unsigned char print[PKI_PRINT], struct err *e);

/* A request for a certificate (PKCS#10, DER): says the name, proves the key. */
int pki_request_make(struct buf *der, const struct buf *key, const char *name, struct err *e);
/* ERR_PEER unless it is one, of a P-256 key that signed it. */
int pki_request_read(const void *der, size_t n, char name[PKI_NAME_SIZE],
		     unsigned char print[PKI_PRINT], struct err *e);

/* Signs itself. Two CAs of one name differ in their unit (OU), so that chains are found by name. */
int pki_ca_make(struct buf *pem, const struct buf *key, const char *name, int64_t now_ms,
		unsigned days, struct err *e);
/* The new CA once more, signed by the old one: whoever trusts only that one trusts the new one. */
int pki_cross_sign(struct buf *pem, const struct buf *ca, const struct buf *old_ca,
		   const struct buf *old_key, int64_t now_ms, struct err *e);

enum pki_use { PKI_SERVER = 1, PKI_CLIENT = 2, PKI_BOTH = 3 };

struct pki_issue {
	const struct buf *ca, *ca_key;
	const char *name;	  /* common name, and subjectAltName (DNS) */
	const char *organisation; /* "": none                          */
	enum pki_use use;
	int64_t now_ms;
	unsigned days;
};
/* A certificate for the key of a request; the request's own name does not count. */
int pki_issue(struct buf *pem, const struct pki_issue *i, const void *der, size_t n, struct err *e);

struct pki_certificate {
	char name[PKI_NAME_SIZE]; /* common name; "" if there is none, or one that does not fit */
	unsigned char print[PKI_PRINT];
	int64_t from_ms, until_ms;
	bool own; /* signed by itself: a root */
};
/* The first certificate of a PEM. */
int pki_read(struct pki_certificate *out, const struct buf *pem, struct err *e);
/* Each certificate of a PEM in turn, with its own text, until fn says other than 0. */
int pki_each(const struct buf *pem,
	     int (*fn)(void *arg, const struct pki_certificate *c, const struct buf *one,
		       struct err *e),
	     void *arg, struct err *e);
/* R25: more than half of its life is over, or it lies in the future: renew. */
bool pki_half_over(const struct pki_certificate *c, int64_t now_ms);

#endif
