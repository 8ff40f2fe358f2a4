/*
 * index_keys.h - keys to the rows of the index: table lookup (index.h).
 *
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_COMMON_STORE_INDEX_KEYS_H
#define SALAMANDER_COMMON_STORE_INDEX_KEYS_H

#include <stdbool.h>

#include "common/dicom/attrs.h"

struct buf;
struct err;
struct store_tx;

/* All that a study's row is found by: added, or taken out. */
int index_keys_study(struct store_tx *tx, bool add, struct attrs row, const char *study,
		     struct err *e);
/* What the keys of one patient ID begin with; a study UID follows. */
void index_keys_patient(struct buf *out, const struct attr *id);
/* A series is found in its study from now on. */
int index_keys_series(struct store_tx *tx, const char *series, const char *study, struct err *e);

#endif
