#include "edge/damage.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/ledger.h"
#include "proto/sync.pb-c.h"

int
damage_enter(struct store_tx *tx, const struct version *v, int64_t wall_ms, struct err *e)
{
	struct buf entry = BUF_INIT;
	uint64_t seq;
	bool was;
	int rc;

	ledger_gone(&entry, SYNC__LEDGER_KIND__LEDGER_DAMAGED, v, wall_ms);
	rc = ledger_append(tx, &entry, &seq, e);
	if (!rc)
		rc = store_drop_bytes(tx, v->oid, VERSION_DAMAGED, e);
	if (!rc)
		rc = outbox_del(tx, OUTBOX_CENTRAL, v->seq, &was, e);
	buf_fini(&entry);
	return rc;
}

struct found {
	const struct edge *edge;
	struct version v; /* as it was when it was read */
};

static int
enter(struct store_tx *tx, void *arg, struct err *e)
{
	const struct found *f = arg;
	struct version now;
	int rc = store_version(tx, f->v.oid, &now, e);

	/* Evicted, or repaired by new bytes meanwhile: what was read is here no more. */
	if (rc || now.state != VERSION_HERE || now.bytes != f->v.bytes)
		return rc;
	return damage_enter(tx, &now, clock_wall(f->edge->clock), e);
}

void
damage_found(void *edge, uint64_t oid)
{
	struct found f = {.edge = edge};
	struct err e = ERR_INIT;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, f.edge->store, &e);

	if (!rc) {
		rc = store_version(tx, oid, &f.v, &e);
		store_end_read(tx);
	}
	if (!rc && store_check(f.edge->store, oid, NULL) != ERR_CORRUPT)
		return; /* not being able to look says nothing of the copy (R23) */
	if (!rc)
		rc = store_commit(f.edge->store, enter, &f, &e);
	if (rc)
		log_err(LOG_ERROR, "instance.damaged", &e);
	if (!rc && f.edge->replicate) /* central is to know: its copy counts now */
		replicate_wake(f.edge->replicate);
	if (!rc)
		log_line(LOG_ERROR, "instance.damaged", "seq=%llu uid=%s",
			 (unsigned long long)f.v.seq, f.v.sop_instance);
}
