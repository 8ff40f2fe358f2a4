#include "edge/seals.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"

static const char key[] = "orders_seals";

int
seals_get(struct store_tx *tx, struct buf *out, struct err *e)
{
	return sync_get(tx, key, out, e);
}

/* Where none was heard before, none is left out: that stands first, as eight zeros. */
static int
begin(struct store_tx *tx, struct buf *row, struct err *e)
{
	static const unsigned char before_all[ORDERS_SEAL];
	struct buf top = BUF_INIT;
	int rc = sync_get(tx, ORDERS_TOP, &top, e);

	if (!rc && !top.len)
		buf_put(row, before_all, sizeof(before_all));
	buf_fini(&top);
	return rc;
}

int
seals_note(struct store_tx *tx, const Sync__Order *m, struct err *e)
{
	const size_t most = (size_t)ORDERS_SEALS * ORDERS_SEAL;
	struct buf row = BUF_INIT;
	size_t from;
	int rc;

	if (m->mac.len < ORDERS_SEAL)
		return 0;
	rc = seals_get(tx, &row, e);
	if (!rc && !row.len)
		rc = begin(tx, &row, e);
	if (!rc && !orders_seal_among(row.data, row.len, m->mac.data)) {
		buf_put(&row, m->mac.data, ORDERS_SEAL);
		from = row.len > most ? row.len - most : 0;
		rc = buf_failed(&row) ? err_set(e, ERR_LOCAL, 0, "no memory for seals")
				      : sync_put(tx, key, row.data + from, row.len - from, e);
	}
	buf_fini(&row);
	return rc;
}

int
seals_forget(struct store_tx *tx, struct err *e)
{
	return sync_put(tx, key, "", 0, e);
}
