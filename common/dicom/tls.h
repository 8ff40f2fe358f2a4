/*
 * tls.h - DICOM under TLS, mutual: PS3.15 B.12 and B.10 (BCP 195, never below TLS 1.2).
 *
 * TLS 1.3, and TLS 1.2 with ephemeral keys and AES-GCM; no renegotiation, no resumption: each
 * association proves both ends anew. A certificate counts if it, or who signed it, stands
 * in the CA file, if today is within its time by our clock, and if it may be used for that.
 * Threads: a struct tls is shared by reference; a session belongs to its connection's thread.
 */
#ifndef SALAMANDER_COMMON_DICOM_TLS_H
#define SALAMANDER_COMMON_DICOM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct err;
struct tls;	    /* opaque: what we show and whom we believe */
struct tls_session; /* opaque: one connection's */

enum { TLS_TEXT = 128, TLS_WHY = 160 };

/* Who is at the other end; signs that would part words or lines replaced. */
struct tls_peer {
	char version[16];
	char subject[TLS_TEXT]; /* CN=...,O=...                          */
	char names[TLS_TEXT];	/* subjectAltName: DNS:..., IP:...; or "" */
};

/* PEM files: our certificate with its chain, its key (no passphrase), and whom to believe: CAs,
 * or single certificates. ERR_LOCAL says which is wrong. */
int tls_load(struct tls **out, const char *cert, const char *key, const char *ca, struct err *e);
struct tls *tls_ref(struct tls *t);
void tls_unref(struct tls *t); /* NULL is fine */
/* Why our own certificate is of no use now, or soon; "": it is. */
const char *tls_untimely(const struct tls *t);

/* The socket stays the caller's. */
int tls_begin(struct tls_session **out, struct tls *t, int fd, bool server, struct err *e);
void tls_end(struct tls_session *x); /* NULL is fine */
/* 1: hands are shaken; else -1, and errno as of recv. */
int tls_shake(struct tls_session *x);
/* As recv and send without waiting: -1 with EAGAIN: when tls_wants comes, again with the same. */
ssize_t tls_read(struct tls_session *x, void *p, size_t n);
ssize_t tls_write(struct tls_session *x, const void *p, size_t n);
/* Is something there to tls_read, or the end? */
bool tls_readable(struct tls_session *x);
short tls_wants(const struct tls_session *x); /* POLLIN or POLLOUT */
void tls_refuse(struct tls_session *x);	      /* nothing more goes in or out */
void tls_bye(struct tls_session *x);	      /* close_notify, if it goes out at once */
/* What failed; "": nothing yet. */
const char *tls_why(const struct tls_session *x);
const struct tls_peer *tls_who(const struct tls_session *x);
/* Is its certificate for this host name or address? Without names: is that its common name? */
bool tls_bears(const struct tls_session *x, const char *name);

#ifdef __cplusplus
}
#endif

#endif
