/*
 * rejections.h - what is rejected (IHE IOCM), at central: by notes that sites took in, by a person.
 *
 * A site's ledger tells of a note that counts there. What it says becomes an order for all edges,
 * in the log before the batch that told of it is: central and every edge hide the same, a rebuild
 * finds it in the log, and a central that lost it hears it from edges, or in their ledgers. What a
 * person says here is such an order too, without a note: central takes no objects in by itself.
 * Threads: as the transactions; those with `locked` in the name under `order`.
 */
#ifndef SALAMANDER_CENTRAL_REJECTIONS_H
#define SALAMANDER_CENTRAL_REJECTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

struct asked;
struct central;
struct err;
struct store_tx;
struct Sync__Order; /* sync.pb-c.h */

/* Entries of a site's ledger that are about to be appended: what they reject is given to all. */
int rejections_told_locked(struct central *c, const char *site, const ProtobufCBinaryData *entries,
			   size_t n, struct err *e);
/* What a REJECTED makes of the catalogue. */
int rejections_apply(struct store_tx *tx, const struct Sync__Order *m, const void *bytes, size_t n,
		     struct err *e);
/* An edge gives it back (R16): it counts if nobody has said it to this central. */
bool rejections_may_come_back(const struct Sync__Order *m);
int rejections_take_back(struct central *c, const char *site, const struct Sync__Order *m,
			 struct err *e);
/* A release before this one kept entries of ledgers that it did not know: they are given now, once.
 * At a start. */
int rejections_catch_up(struct central *c, struct err *e);

/* reject UID --reason WORD */
int rejections_reject(struct asked *a);
/* restore UID --reason WORD, where something of it is rejected for that; else -1: `restore` speaks
 * of what was retracted. */
int rejections_restore(struct asked *a);
/* rejected [--json] */
int rejections_list(struct asked *a);

#endif
