/*
 * fetch.h - one image from central, by its digest; checked before it counts.
 *
 * The bytes go to a spool of the store; who asked puts it where it belongs, in a closure of
 * its own, and then frees all of it.
 * Threads: one per link.
 */
#ifndef SALAMANDER_EDGE_FETCH_H
#define SALAMANDER_EDGE_FETCH_H

#include "common/base/digest.h"
#include "common/base/rng.h"

struct canon;
struct edge;
struct err;
struct link;
struct object_info;
struct sha256;
struct store_spool;
struct version;

struct fetched { /* all zero at first */
	struct store_spool *spool;
	const struct object_info *info; /* where its frames lie; NULL: nobody need know */
	struct canon *canon;		/* that info is of      */
	struct id128 epoch;		/* that it was given in */
	/* what is here of it, where it was cut */
	unsigned char digest[SHA256_SIZE];
	struct sha256 *sha;
	uint64_t at;
};

/*
 * All bytes of v->digest, v->size of them; what f has of it is not fetched again. ERR_ABSENT:
 * central answers, and gives none; ERR_CORRUPT: it gave others; ERR_FULL: no room here; ERR_AGAIN:
 * it does not answer, fails, or is in another epoch: to be asked again, with this f.
 */
int fetch_object(struct fetched *f, struct edge *e, struct link *l, const struct version *v,
		 struct err *err);
void fetch_fini(struct fetched *f); /* also of what failed */

#endif
