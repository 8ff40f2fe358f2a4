/*
 * committed.h - images whose sender was told, by a site or by central itself, that he need not
 * keep them (storage commitment).
 *
 * Table `committed`: digest -> nothing; as the sites' ledgers say (R5), and as central's log says
 * before anybody hears it of central itself (R16): so it comes back with the log. A loss list and
 * the exposure name them: of what is gone there, no modality has a copy any more (R18).
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_CENTRAL_COMMITTED_H
#define SALAMANDER_CENTRAL_COMMITTED_H

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/digest.h"

struct err;
struct store_tx;
struct verdict_mark;
struct version;

#define COMMITTED_TABLE "committed"

/* With the figures that depend on it. */
int committed_put(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e);
int committed_get(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], bool *out,
		  struct err *e);
/* All of a ledger entry, or of a decision in the log. */
int committed_apply(struct store_tx *tx, const ProtobufCBinaryData *digests, size_t n,
		    struct err *e);
/* Central as SCP itself (verdicts.h): it holds this version; and what it says is in the log. */
bool committed_safe(void *central, struct store_tx *tx, const struct version *v);
int committed_foretell(void *central, const struct verdict_mark *marks, size_t n, struct err *e);

#endif
