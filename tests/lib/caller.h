/*
 * caller.h - a site that calls central's routes through its gate, without a socket.
 *
 * What TLS would say of it (certified, late, key) is set by the test.
 * Threads: the test's own.
 */
#ifndef SALAMANDER_TESTS_LIB_CALLER_H
#define SALAMANDER_TESTS_LIB_CALLER_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/http/pki.h"
#include "common/http/server.h"

struct central;

struct caller {
	struct central *central;
	const char *site, *address;
	struct buf key; /* PEM; absent: no certificate */
	bool certified, late;
	int64_t from_ms;   /* of its certificate */
	char why[200];	   /* what a refusal said */
	struct buf answer; /* the last one's body */
};

/* With a fresh key; certified when the test says so. */
void caller_init(struct caller *k, struct central *c, const char *site);
void caller_fini(struct caller *k);
/* The status; path as in a request line, with what follows a prefix. */
int caller_ask(struct caller *k, const char *method, const char *path, const struct buf *body);
/* Enrols with the secret of a code, renews, says hello (with this digest of a bundle, or NULL). */
int caller_join(struct caller *k, const unsigned char secret[16]);
int caller_renew(struct caller *k);
int caller_hello(struct caller *k, const unsigned char *bundle, bool *renew);
/* A join code for the site, good for so many hours: its secret. */
void caller_invite(struct central *c, const char *site, unsigned hours, unsigned char secret[16]);

#endif
