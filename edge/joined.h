/*
 * joined.h - what an edge got when it joined an archive: <data>/tls (R25, R26).
 *
 * edge.key, edge.pem (its certificate), ca.pem (the archive's CAs, as central sent
 * them) and `archive`: lines "name value" of archive, url and code (the hash of the join
 * code's secret, so that the same code may be given again).
 * Promise: each file is replaced whole; a death between two of them is mended by the same
 * `join` again, because a new key lies in edge.key.new until all the rest is there.
 * Threads: any; two that write at once are kept apart by the data lock and `use`.
 */
#ifndef SALAMANDER_EDGE_JOINED_H
#define SALAMANDER_EDGE_JOINED_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"

struct buf;
struct err;

enum { JOINED_URL = 300 };

struct joined {
	char cert[PATH_MAX], key[PATH_MAX], ca[PATH_MAX];
	char archive[2 * ID128_SIZE + 1];
	char url[JOINED_URL];
	unsigned char code[SHA256_SIZE]; /* SHA-256 of the secret it joined with */
};

/* ERR_ABSENT, e left alone: this edge has not joined; the paths are filled all the same. */
int joined_read(struct joined *out, const char *dir, struct err *e);
/* Of the bundle it has; false: none. For hello (R25). */
bool joined_ca_hash(const char *dir, unsigned char hash[SHA256_SIZE]);

/* ERR_ABSENT, e left alone: there is none. */
int joined_own_key(struct buf *key, const char *dir, struct err *e);
/* The key to join with: the one that this code was used with, or one that waits, or a new one. */
int joined_key(struct buf *key, const char *dir, const unsigned char code[SHA256_SIZE],
	       struct err *e);
/*
 * Takes a JoinAnswer for this key and site. url and code: of a join; NULL: a renewal, which
 * must be of the same archive. ERR_PEER: it is not an answer to that; nothing is changed.
 */
int joined_take(const char *dir, const char *site, const struct buf *key, const void *answer,
		size_t n, const char *url, const unsigned char *code, const unsigned char *pin,
		struct err *e);

#endif
