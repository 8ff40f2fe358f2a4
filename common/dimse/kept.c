#include "common/dimse/kept.h"

#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/store.h"

int
kept_rows(struct store_tx *tx, const char *table,
	  int (*fn)(void *arg, const void *key, size_t n, const void *value, size_t value_n,
		    struct err *e),
	  void *arg, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), store_table(store_tx_store(tx), table), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		rc = fn(arg, k.p, k.n, v.p, v.n, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
kept_row_put(struct store_tx *tx, const char *table, const void *key, size_t n, const void *value,
	     size_t value_n, struct err *e)
{
	return kv_put(store_tx_kv(tx), store_table(store_tx_store(tx), table), kv_slice(key, n),
		      kv_slice(value, value_n), e);
}
