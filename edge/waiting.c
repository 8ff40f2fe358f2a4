#include "edge/waiting.h"

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/late.h"
#include "edge/outbox.h"
#include "proto/ledger.h"
#include "proto/sender.h"

static int
note_seq(void *arg, const struct outbox_row *row, struct err *e)
{
	(void)e;
	*(uint64_t *)arg = row->seq;
	return ERR_AGAIN; /* the first is enough */
}

/* Of the lanes in which what came last goes first, whatever is in packs already. */
static int
newest(struct store_tx *tx, const struct outbox_counts *counts, struct sender_event *ev,
       struct err *err)
{
	enum lane lane;
	int rc = 0;

	for (lane = LANE_STAT; !rc && lane <= LANE_FRESH; lane++) {
		if (counts->lanes[lane].owed == counts->lanes[lane].late)
			continue;
		rc = outbox_newest(tx, OUTBOX_CENTRAL, lane, note_seq, &ev->work[lane].newest, err);
		rc = rc == ERR_AGAIN ? 0 : rc;
	}
	return rc;
}

int
waiting_look(struct waiting *waiting, struct edge *e, struct sender_event *ev, struct err *err)
{
	struct outbox_counts counts;
	struct ledger_head head;
	struct store_tx *tx;
	int64_t late = 0;
	unsigned i;
	int rc = store_begin_read(&tx, e->store, err);

	if (rc)
		return rc;
	rc = ledger_head(tx, &head, err);
	if (!rc)
		rc = outbox_counts(tx, &counts, err);
	for (i = 0; !rc && !late && i < LANES; i++) /* before each step: nothing that is empty */
		if (counts.lanes[i].late)
			rc = late_first(tx, &late, err);
	if (!rc)
		rc = newest(tx, &counts, ev, err);
	store_end_read(tx);
	if (rc)
		return rc;
	ev->now_ms = clock_mono(e->clock);
	ev->jitter = rng_u64(rng_real());
	ev->head = head.seq;
	for (i = 0; i < LANES; i++) {
		const struct outbox_lane *l = &counts.lanes[i];
		struct sender_work *w = &ev->work[i];

		w->count = l->owed - l->packed - l->late;
		w->bytes = l->owed_bytes - l->packed_bytes - l->late_bytes;
		if (!w->count)
			waiting->since[i] = 0;
		else if (!waiting->since[i])
			waiting->since[i] = ev->now_ms;
		w->since_ms = waiting->since[i];
	}
	if (late)
		ev->late_ms = late - store_time(e->store) + ev->now_ms;
	return 0;
}
