#include "central/committed.h"

#include "central/central.h"
#include "central/figures.h"
#include "central/record.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dimse/verdicts.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

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

int
committed_apply(struct store_tx *tx, const ProtobufCBinaryData *digests, size_t n, struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < n; i++)
		if (message_digest(digest, &digests[i]))
			rc = committed_put(tx, digest, e);
	return rc;
}

/* Those that the catalogue does not know yet. */
static int
find_news(struct central *c, const struct verdict_mark *marks, size_t n, ProtobufCBinaryData *out,
	  size_t *n_out, struct err *e)
{
	struct store_tx *tx;
	bool known;
	size_t i;
	int rc = store_begin_read(&tx, c->store, e);

	*n_out = 0;
	if (rc)
		return rc;
	for (i = 0; !rc && i < n && i < VERDICTS_PAGE; i++) {
		rc = committed_get(tx, marks[i].digest, &known, e);
		if (!rc && !known)
			out[(*n_out)++] = message_bytes(marks[i].digest, SHA256_SIZE);
	}
	store_end_read(tx);
	return rc;
}

int
committed_foretell(void *central, const struct verdict_mark *marks, size_t n, struct err *e)
{
	Sync__LogDecision m = SYNC__LOG_DECISION__INIT;
	ProtobufCBinaryData digests[VERDICTS_PAGE];
	struct central *c = central;
	int rc = find_news(c, marks, n, digests, &m.n_digests, e);

	if (rc || !m.n_digests)
		return rc;
	m.kind = SYNC__DECISION_KIND__DECISION_COMMITTED;
	m.digests = digests;
	m.wall_ms = clock_wall(c->clock);
	return record_decide(c, &m, e);
}

bool
committed_safe(void *central, struct store_tx *tx, const struct version *v)
{
	(void)central;
	(void)tx;
	return v->state == VERSION_HERE;
}
