/*
 * committed.h - images whose sender was told, by a site, that he need not keep them (storage
 * commitment).
 *
 * Table `committed`: digest -> nothing; as the sites' ledgers say (R5), so that it comes back
 * with the log. A loss list and the exposure name them: of what is gone there, no modality has a
 * copy any more (R18).
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_CENTRAL_COMMITTED_H
#define SALAMANDER_CENTRAL_COMMITTED_H

#include <stdbool.h>

#include "common/base/digest.h"

struct err;
struct store_tx;
struct version;

#define COMMITTED_TABLE "committed"

/* With the figures that depend on it. */
int committed_put(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e);
int committed_get(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], bool *out,
		  struct err *e);
/* Central as SCP itself (verdicts.h): it holds this version. */
bool committed_safe(void *central, struct store_tx *tx, const struct version *v);

#endif
