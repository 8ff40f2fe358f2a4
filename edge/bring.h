/*
 * bring.h - versions that central chose and that are not here are fetched (R3).
 *
 * Only where a viewer would otherwise get another version's bytes; where no bytes are here, or are
 * here no more, it is entered as known (R20), and takes its place so. One at a time, in pieces;
 * what comes is checked against its digest, entered in the ledger as held, origin central (R7), and
 * takes its place in the same commit. What central does not have yet is asked for again later.
 * Threads: replicate's.
 */
#ifndef SALAMANDER_EDGE_BRING_H
#define SALAMANDER_EDGE_BRING_H

#include <stdbool.h>
#include <stdint.h>

struct bring; /* opaque */
struct edge;
struct err;
struct http_call;
struct http_done;
struct id128;

int bring_new(struct bring **out, struct edge *e, struct err *err);
void bring_free(struct bring *b); /* NULL is fine */
/* There is news: begin with the first of them, now. */
void bring_again(struct bring *b);
int bring_next(struct bring *b, const struct id128 *epoch, struct http_call *out, bool *want,
	       struct err *err);
void bring_lost(struct bring *b);
int bring_answered(struct bring *b, const struct http_done *done, struct err *err);
int64_t bring_due(const struct bring *b);

#endif
