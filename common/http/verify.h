/*
 * verify.h - what a client asks of a server's certificate (OpenSSL), beside its chain.
 *
 * Promise (R25, R26): the chain ends in a CA of the file, or, with a pin, in the CA
 * whose key the pin names; the name is the archive's central, not the host's; time
 * plays no part, so that no clock cuts anybody off.
 * Threads: the client's.
 */
#ifndef SALAMANDER_COMMON_HTTP_VERIFY_H
#define SALAMANDER_COMMON_HTTP_VERIFY_H

struct verify {
	const char *archive;	  /* 32 hex, or "": any name, of any central with a pin */
	const unsigned char *pin; /* SHA-256 of the CA's SubjectPublicKeyInfo, or NULL  */
	const char *why;	  /* the last certificate was turned away; static       */
};

/* v lives as long as connections of this SSL_CTX. */
void verify_by(void *ssl_ctx, struct verify *v);

#endif
