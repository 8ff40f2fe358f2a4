/*
 * token.h - contact tokens: is the one that calls the one that called last? (R8, R22)
 *
 * Each answer to hello gives the next token, and counts it. The edge commits it, and says it in
 * the next hello with random bytes of its own that are new with each token: so a repeated hello,
 * whose answer was lost, is known as such, while a copy of the edge that says the same token
 * says other bytes. Whoever says neither the last token nor the same as before was set back or
 * cloned. A token of this epoch whose number is above the count was given by this central before
 * it was itself set back.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_CENTRAL_TOKEN_H
#define SALAMANDER_CENTRAL_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"

struct buf;
struct central;
struct err;
struct id128;
struct site_row;
struct store_tx;

struct token {
	uint64_t number; /* 0: none */
	struct id128 epoch, random;
};

enum token_word {
	TOKEN_LAST,  /* the last one: the next one is due                                      */
	TOKEN_AGAIN, /* as before, the answer was lost: the same one again                     */
	TOKEN_FREE,  /* nothing speaks against it: none was given, or another central gave one */
	TOKEN_STALE, /* this copy of the edge was set back or cloned (R8)                      */
	TOKEN_AHEAD  /* this central was set back (R22)                                        */
};

/* Its bytes for the answer; row->site and row->incarnation are what it is for. */
int token_write(const struct central *c, const struct site_row *row, const struct token *t,
		struct buf *out, struct err *e);
/* false, and none: no bytes, or its seal is not ours or for another incarnation. */
bool token_read(const struct central *c, const struct site_row *row, const void *p, size_t n,
		struct token *out);
/* What said (none: number 0) and contact tell; epoch: of this central now. */
int token_judge(struct store_tx *tx, const struct site_row *row, const struct token *said,
		const struct id128 *contact, const struct id128 *epoch, enum token_word *out,
		struct err *e);
/* The next one, in the row. */
void token_next(struct site_row *row, const struct token *said, const struct id128 *contact,
		const struct id128 *random);

#endif
