/*
 * kept.h - for a store that is made anew: the rows of a table of storage commitment as they lie
 * there, and put back.
 *
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_COMMON_DIMSE_KEPT_H
#define SALAMANDER_COMMON_DIMSE_KEPT_H

#include <stddef.h>

struct err;
struct store_tx;

/* Each row of COMMITMENTS_TABLE or PLEDGES_TABLE, until fn says other than 0. */
int kept_rows(struct store_tx *tx, const char *table,
	      int (*fn)(void *arg, const void *key, size_t n, const void *value, size_t value_n,
			struct err *e),
	      void *arg, struct err *e);
int kept_row_put(struct store_tx *tx, const char *table, const void *key, size_t n,
		 const void *value, size_t value_n, struct err *e);

#endif
