/*
 * decisions.h - what central decided, heard, kept and obeyed: which version viewers get (R3).
 *
 * Central's list is read on from where it was read to. Each decision of a person, and of an
 * instance that is known here, is kept byte for byte, in the commit in which it begins to
 * count. About what came here after the list was read past it central is asked (about.h).
 * When another central's list lacks one, or this one's since it was set back, it is given back
 * (R16). A version that was chosen and is not here is fetched; until it is, and wherever nothing
 * was decided, viewers get what this site's own order says, and `conflicts` and `status` say
 * `unconfirmed`.
 *
 * Table `decisions`: number (be64), id -> reading (u64 LE), bytes. A reading is a pass over one
 * list; another list, another reading.
 * Threads: replicate's; decisions_settle as the transaction.
 */
#ifndef SALAMANDER_EDGE_DECISIONS_H
#define SALAMANDER_EDGE_DECISIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"

struct decisions; /* opaque */
struct edge;
struct err;
struct http_done;
struct link;
struct store_tx;

#define DECISIONS_TABLE "decisions"

int decisions_new(struct decisions **out, struct edge *e, struct err *err);
void decisions_free(struct decisions *d); /* NULL is fine */

/* The answer to a hello: the version that was settled on, and how long central's list is. */
void decisions_heard(struct decisions *d, uint32_t version, uint64_t total);
/* There is news: an order said so, or a ledger was sent. */
void decisions_ask(struct decisions *d);
/* While central answers, after each turn of the duty: the next call, under this id, if there is one
 * and none is under way; *wake_ms (monotonic) is brought forward to when there is. head: of our
 * ledger. */
void decisions_turn(struct decisions *d, struct link *link, uint64_t id, const struct id128 *epoch,
		    uint64_t head, int64_t *wake_ms);
/* Its answer, whatever it says; the body is freed. */
void decisions_answered(struct decisions *d, struct http_done *done);

/* In a closure: instances became known here that central decided about before. */
int decisions_read_again(struct store_tx *tx, struct err *err);
/* In a closure, after versions of this UID came or their bytes did. */
int decisions_settle(struct store_tx *tx, const char *uid, struct err *err);

#endif
