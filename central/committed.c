#include "central/committed.h"

#include "central/figures.h"
#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/store.h"

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), COMMITTED_TABLE);
}

int
committed_get(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], bool *out,
	      struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), kv_slice(digest, SHA256_SIZE), &v, e);

	*out = rc == 0;
	return rc == ERR_ABSENT ? 0 : rc;
}

int
committed_put(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e)
{
	bool was;
	int rc = committed_get(tx, digest, &was, e);

	if (rc || was)
		return rc;
	rc = figures_leave(tx, digest, e);
	if (!rc)
		rc = kv_put(store_tx_kv(tx), table(tx), kv_slice(digest, SHA256_SIZE),
			    kv_slice("", 0), e);
	return rc ? rc : figures_enter(tx, digest, e);
}

bool
committed_safe(void *central, struct store_tx *tx, const struct version *v)
{
	(void)central;
	(void)tx;
	return v->state == VERSION_HERE;
}
