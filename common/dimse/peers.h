/*
 * peers.h - who may do what (R29): the [peer NAME] sections and the unlisted.
 *
 * A caller is the peer whose title and address fit. Host names are resolved in
 * the background and their last good addresses kept on disk, so that neither a
 * dead name server nor a cut WAN keeps a listed modality out; no call here that
 * answers a caller asks DNS. What proves them under TLS is kept with them.
 * Threads: struct peers is read-only but for the addresses, which have a lock of
 * their own; held by reference while an association lasts, so that a reload cuts none.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PEERS_H
#define SALAMANDER_COMMON_DIMSE_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dicom/assoc.h"

struct conf;
struct conf_row;
struct err;
struct peers; /* opaque, shared by reference */
struct tls;

enum peer_right {
	PEER_STORE = 1,
	PEER_FIND = 2,
	PEER_GET = 4,
	PEER_MOVE = 8,
	PEER_COMMIT = 16,
	PEER_WORKLIST = 32,
	PEER_REJECT = 64
};

enum peer_tls {
	PEER_TLS_NO,	  /* we call it plainly */
	PEER_TLS_YES,	  /* we call it by TLS  */
	PEER_TLS_REQUIRED /* and it must call so */
};

enum { PEER_SYNTAXES_MAX = 16, PEER_ADDRESS_SIZE = 64 };

struct peer {
	const char *name; /* "" for who is not listed */
	const char *aet;
	const char *host; /* "" : cannot be called */
	unsigned port;
	unsigned may; /* enum peer_right bits */
	const char *issuer;
	bool foreign, strict, success_on_limit;
	bool see_rejected;	    /* what a note rejected for quality is shown to it */
	unsigned move_associations; /* at once, of one C-MOVE to it */
	const char *compress;	    /* syntax for images stored without loss; NULL: as stored */
	bool as_proposed;	    /* transfer syntaxes in the peer's own order (R31) */
	bool commit_here;	    /* storage commitment: on this edge's own copy */
	int64_t commit_wait_ms;	    /* for central's; then so all the same; CONF_ENDLESS */
	enum peer_tls tls;
	const char *tls_name; /* that its certificate bears; "": its host, when we call it */
	const char *syntaxes[PEER_SYNTAXES_MAX]; /* preferred ones, NULL behind the last */
};

/* The rows of [peer NAME], for the node's own table. */
const struct conf_row *peers_rows(size_t *n);
/* cache: file for last good addresses. unlisted_store: the unlisted may store. */
int peers_load(struct peers **out, const struct conf *c, const char *cache, bool unlisted_store,
	       struct err *e);
struct peers *peers_ref(struct peers *p);
void peers_unref(struct peers *p); /* NULL is fine */
/* Asks DNS for every host name; a duty's thread calls it at the start and now and then. */
void peers_resolve(struct peers *p);
/* Never NULL. Borrowed while the reference is held. address: numeric. */
const struct peer *peers_caller(const struct peers *p, const char *aet, const char *address);
/* The C-MOVE destination of that title with host and port; the caller's own address wins. */
const struct peer *peers_destination(const struct peers *p, const char *aet, const char *address);
/* Is any of them to be called by TLS? */
bool peers_need_tls(const struct peers *p);
/* Reads the files that prove us and them (tls.h), once, before p is shared; it is logged if our
 * own certificate is out of its time. */
int peers_certify(struct peers *p, const char *cert, const char *key, const char *ca,
		  struct err *e);
struct tls *peers_tls(const struct peers *p); /* NULL: none; borrowed */
/* How to call it: as its tls says, and where it is TLS with a certificate of the right name. */
void peers_secure(const struct peers *p, const struct peer *peer, struct assoc_target *to);
/* By its section; NULL: there is none. Borrowed likewise. */
const struct peer *peers_named(const struct peers *p, const char *name);
/* The peer's host as a number if it is known; false: not resolved yet. */
bool peers_host(const struct peers *p, const struct peer *peer, char out[PEER_ADDRESS_SIZE]);

#endif
