/*
 * other.h - packs that a test makes and sends itself, byte by byte.
 *
 * Of images that the edge has taken in; the side records differ, so that it is not the pack
 * that the edge would make.
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_LIB_OTHER_H
#define SALAMANDER_TESTS_LIB_OTHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"

struct pack;
struct pair;
struct upload_result;

/* A pack of images first to first + n - 1. */
struct other {
	struct pair *p;
	unsigned first;
	size_t n;
	struct buf manifest, images[8];
	struct pack *pack;
	unsigned char id[SHA256_SIZE];
};

/* seqs: in the place of those in the ledger, or NULL. */
void other_make(struct other *o, struct pair *p, unsigned first, size_t n, const uint64_t *seqs,
		const char *side);
void other_fini(struct other *o);
/* A PATCH's body: the manifest if wanted, then [from, to) in frames of at most `step` bytes. */
void other_body(struct buf *body, struct other *o, bool manifest, uint64_t from, uint64_t to,
		size_t step);
/* The same, sent. */
int other_send(struct other *o, bool manifest, uint64_t from, uint64_t to, size_t step,
	       struct upload_result *r);
/* Images taken in and announced at central, no byte sent. */
void other_announce(struct pair *p, unsigned first, unsigned n);

#endif
