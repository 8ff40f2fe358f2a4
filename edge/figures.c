#include "edge/figures.h"

#include <stdatomic.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/dimse/commitments.h"
#include "common/dimse/pledge_say.h"
#include "common/os/file.h"
#include "edge/committed.h"
#include "edge/damage.h"
#include "edge/holdings.h"
#include "edge/obey.h"
#include "edge/reject.h"
#include "edge/resync.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"

enum { FULL_PERCENT = 97, PEM_MAX = 1 << 20, FAILED = 500, RETRIES = 1000 };

#define SKEW_PERSON_MS INT64_C(86400000)

static int
note_oldest(void *arg, const struct outbox_row *row, struct err *e)
{
	(void)e;
	*(uint64_t *)arg = row->seq;
	return ERR_AGAIN; /* the first is enough */
}

/* For display (R28): a clock that was set back makes it 0. */
static uint64_t
seconds_since(struct edge *e, int64_t wall_ms)
{
	int64_t now = clock_wall(e->clock);

	return wall_ms && now > wall_ms ? (uint64_t)(now - wall_ms) / 1000 : 0;
}

static int
find_oldest(struct store_tx *tx, struct edge *e, struct figures *f, struct err *err)
{
	Sync__LedgerEntry *entry;
	const void *p;
	uint64_t seq = 0;
	size_t n;
	int rc = outbox_each(tx, OUTBOX_CENTRAL, 0, note_oldest, &seq, err);

	if (rc && rc != ERR_AGAIN)
		return rc;
	if (!seq || ledger_get(tx, seq, &p, &n, NULL))
		return 0;
	entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
	f->oldest_seconds = seconds_since(e, entry ? entry->wall_ms : 0);
	message_free(entry);
	return 0;
}

static int
note_first(void *arg, const struct outbox_row *row, struct err *e)
{
	(void)e;
	*(int64_t *)arg = row->first;
	return ERR_AGAIN; /* the first is enough */
}

struct retries {
	struct figures *f;
	int64_t now;
	unsigned looked;
};

/* The first of each lane; beyond so many it is not known, and `status` is quick. */
static int
note_retry(void *arg, const struct outbox_row *row, struct err *e)
{
	struct retries *r = arg;
	int64_t *at = &r->f->lanes[row->lane].retry_ms;

	(void)e;
	if (!*at)
		*at = row->not_before > r->now ? row->not_before - r->now : 1;
	return ++r->looked < RETRIES ? 0 : ERR_AGAIN;
}

static int
collect_retries(struct store_tx *tx, struct figures *f, int64_t now, struct err *err)
{
	struct retries r = {.f = f, .now = now};
	int rc = outbox_late(tx, OUTBOX_CENTRAL, note_retry, &r, err);

	return rc == ERR_AGAIN ? 0 : rc;
}

static int
collect_lanes(struct store_tx *tx, struct edge *e, struct figures *f, struct err *err)
{
	int64_t now = store_time(e->store), first;
	enum lane i;
	int rc = 0;

	for (i = LANE_STAT; !rc && i < LANES; i++) {
		struct figures_lane *l = &f->lanes[i];

		l->images = f->outbox.lanes[i].owed;
		l->bytes = f->outbox.lanes[i].owed_bytes;
		l->late = f->outbox.lanes[i].late;
		first = now;
		rc = outbox_oldest(tx, OUTBOX_CENTRAL, i, note_first, &first, err);
		rc = rc == ERR_AGAIN ? 0 : rc;
		l->oldest_seconds = now > first ? (uint64_t)(now - first) / 1000 : 0;
	}
	return rc ? rc : collect_retries(tx, f, now, err);
}

/* Entries that central has not acknowledged, and since when. */
static void
collect_ledger(struct edge *e, struct figures *f)
{
	struct figures_lane *l = &f->lanes[LANE_LEDGER];
	uint64_t next = f->contact.announced + 1;
	Sync__LedgerEntry *entry;
	struct store_tx *tx;
	const void *p;
	size_t n;

	if (f->ledger.seq < next || store_begin_read(&tx, e->store, NULL))
		return;
	l->images = f->ledger.seq - f->contact.announced;
	if (!ledger_get(tx, next, &p, &n, NULL)) {
		entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
		l->oldest_seconds = seconds_since(e, entry ? entry->wall_ms : 0);
		message_free(entry);
	}
	store_end_read(tx);
}

static void
collect_identity(struct edge *e, struct figures *f)
{
	struct buf pem = BUF_INIT;

	f->kind = home_kind(e);
	if (f->kind == HOME_JOINED && !joined_read(&f->joined, e->dir, NULL) &&
	    !file_slurp(f->joined.cert, PEM_MAX, &pem, NULL))
		(void)pki_read(&f->certificate, &pem, NULL);
	buf_fini(&pem);
}

static int
collect_stored(struct edge *e, struct figures *f, struct err *err)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, err);

	if (rc)
		return rc;
	rc = ledger_head(tx, &f->ledger, err);
	if (!rc)
		rc = store_counts(tx, &f->counts, err);
	if (!rc)
		rc = outbox_counts(tx, &f->outbox, err);
	if (!rc)
		rc = sync_number(tx, "hold", &f->hold, err);
	if (!rc)
		rc = obey_waiting(tx, &f->unknown_orders, &f->retracts, err);
	if (!rc)
		rc = sync_number(tx, "losses", &f->losses, err);
	if (!rc)
		rc = committed_here_only(tx, &f->committed_here_only, err);
	if (!rc)
		rc = rejected_count(tx, &f->rejected, err);
	if (!rc)
		rc = sync_number(tx, REJECT_AGAIN, &f->rejected_again, err);
	if (!rc)
		rc = sync_number(tx, REJECT_UNHEARD, &f->notes_unheard, err);
	if (!rc)
		rc = commitments_count(tx, &f->commitments, err);
	if (!rc)
		rc = pledges_unseen(tx, &f->pledges_unseen, err);
	if (!rc)
		rc = damage_count(tx, &f->damaged, err);
	if (!rc)
		rc = resync_last(tx, &f->resync_ms, err);
	f->resync_seconds = seconds_since(e, f->resync_ms);
	if (!rc)
		rc = find_oldest(tx, e, f, err);
	if (!rc)
		rc = collect_lanes(tx, e, f, err);
	store_end_read(tx);
	return rc;
}

static bool
needs_a_person(const struct figures *f)
{
	int64_t skew = f->contact.skew_ms;

	return f->tls.code || f->journal_damaged || f->full || f->counts.conflicts ||
	       f->outbox.parked || f->contact.closed || f->drains || f->contact.n_twins ||
	       f->contact.two_centrals || f->keep.young || f->kind == HOME_STRANGER ||
	       f->contact.turned_away || f->contact.other_versions || f->unknown_orders ||
	       f->retracts || f->committed_here_only || f->pledges_unseen ||
	       keep_level(&f->keep) == KEEP_ALARM || f->dicom_soon || skew > SKEW_PERSON_MS ||
	       skew < -SKEW_PERSON_MS; /* R28 */
}

/* R12: all that is in lanes is in such ones. */
static bool
all_closed(const struct figures *f)
{
	enum lane i;

	for (i = LANE_STAT; i < LANES; i++)
		if (f->outbox.lanes[i].owed > f->outbox.lanes[i].late &&
		    !(f->contact.full_lanes & 1u << i))
			return false;
	return f->contact.full_lanes != 0;
}

/* The hour leaves nothing, and nothing that is in lanes is exempt. */
static bool
all_scheduled(const struct figures *f)
{
	const struct outbox_lane *stat = &f->outbox.lanes[LANE_STAT];

	return f->hour.limited && !f->hour.rate && f->outbox.owed && stat->owed == stat->late;
}

static enum wait_for
wait_of(const struct figures *f)
{
	const struct contact *c = &f->contact;

	if (!f->owed)
		return WAIT_NOTHING;
	if (f->kind == HOME_NONE || f->kind == HOME_STRANGER)
		return WAIT_JOIN;
	if (!f->serving)
		return WAIT_SERVE;
	if (c->turned_away || (c->reachable && c->pieces_failed_with == 403))
		return WAIT_TURNED_AWAY;
	if (c->other_versions)
		return WAIT_VERSIONS;
	if (!c->reachable)
		return c->failed_with ? WAIT_CENTRAL : WAIT_LINK;
	if (f->outbox.owed && f->outbox.parked == f->outbox.owed)
		return WAIT_PARKED;
	if (c->pieces_failed_with == 507 || all_closed(f))
		return WAIT_FULL;
	if (all_scheduled(f))
		return WAIT_SCHEDULE;
	if (c->pieces_failed_with >= FAILED)
		return WAIT_CENTRAL;
	return c->cut_off ? WAIT_CUT : WAIT_NOTHING;
}

static void
collect_pace(struct edge *e, struct figures *f)
{
	int64_t now = clock_mono(e->clock);

	pace_rate(&f->contact.pace, now, &f->images_rate, &f->bytes_rate);
	if (e->keep)
		f->not_released = keep_not_released(e->keep, &f->why_not);
	throttle_now(e, &f->hour);
	f->hour_until_wall_ms = throttle_until(e, f->hour_until);
	f->wait = wait_of(f);
	f->now_ms = clock_wall(e->clock);
	f->estimated = !f->owed || (!f->wait && f->bytes_rate > 0);
	if (f->owed && f->estimated)
		f->in_step_seconds = (uint64_t)((double)f->outbox.owed_bytes / f->bytes_rate) + 1;
	if (f->wait >= WAIT_TURNED_AWAY && f->wait != WAIT_SCHEDULE && f->contact.retry_ms > now)
		f->retry_wall_ms = clock_wall(e->clock) + f->contact.retry_ms - now;
}

/* Compared after a fire: more may be owed than is known. */
static void
count_owed(struct figures *f)
{
	bool pending = f->ledger.seq > f->contact.announced || f->contact.comparing;

	f->owed = f->outbox.owed ? f->outbox.owed : pending;
}

/* What needs no look into the store again. */
static void
conclude(struct figures *f)
{
	count_owed(f);
	if (f->losses != HOLDINGS_DUE && f->counts.instances > f->outbox.owed)
		f->receipted = f->counts.instances - f->outbox.owed;
	/* Whatever the rate was. */
	f->full = f->space.shut || (f->space.used > f->space.limit / 100 * FULL_PERCENT &&
				    f->evictable < f->space.limit / 100 * (100 - FULL_PERCENT));
	f->person = needs_a_person(f);
}

/* Why each lane waits, if it does: all for what holds all up, else for its own reason. */
static void
conclude_lanes(struct figures *f)
{
	enum lane i;

	for (i = LANE_LEDGER; i < LANES; i++) {
		struct figures_lane *l = &f->lanes[i];

		if (!l->images)
			continue;
		if (f->wait && f->wait < WAIT_FULL)
			l->wait = f->wait;
		else if (i != LANE_LEDGER && l->late == l->images)
			l->wait = f->wait == WAIT_PARKED ? WAIT_PARKED : WAIT_RETRY;
		else if (i != LANE_LEDGER &&
			 (f->wait == WAIT_FULL || f->contact.full_lanes & 1u << i))
			l->wait = WAIT_FULL;
		else if (i != LANE_LEDGER && i != LANE_STAT && f->hour.limited && !f->hour.rate)
			l->wait = WAIT_SCHEDULE;
		else if (i != LANE_LEDGER && f->wait == WAIT_CUT)
			l->wait = WAIT_CUT;
		else if (i == LANE_BACKFILL && f->contact.comparing)
			l->wait = WAIT_COMPARED;
	}
}

int
figures_collect(struct figures *out, struct edge *e, struct err *err)
{
	struct figures *f = out;
	int rc;

	memset(f, 0, sizeof(*f));
	rc = collect_stored(e, f, err);
	if (rc)
		return rc;
	store_space(e->store, &f->space);
	f->journal_damaged = store_journal_damaged(e->store);
	edge_contact(e, &f->contact);
	edge_taken(e, &f->taken);
	collect_identity(e, f);
	f->serving = e->keep != NULL;
	f->drains = atomic_load(&e->drains);
	f->speaks = e->speaks.newest;
	f->refusals = dimse_node_refusals(&e->dicom);
	f->unaudited = dimse_node_unaudited(&e->dicom);
	f->dicom_until_ms = dimse_node_certificate(&e->dicom, e->conf);
	f->dicom_soon = dimse_expires_soon(f->dicom_until_ms, clock_wall(e->clock));
	f->associations = dimse_node_associations(&e->dicom);
	/* Without a server it is not known whether anybody is in the dark. */
	f->evictable = f->counts.bytes - f->outbox.owed_bytes;
	if (f->serving || f->counts.bytes < f->outbox.owed_bytes)
		f->evictable = keep_evictable(e, &f->counts, &f->outbox);
	if (f->serving)
		keep_status(e->keep, f->evictable, &f->keep);
	if (!f->contact.reachable)
		(void)home_check_files(e, e->conf, &f->tls);
	collect_ledger(e, f);
	conclude(f);
	collect_pace(e, f);
	conclude_lanes(f);
	return 0;
}

int
figures_of_way(struct figures *out, struct edge *e, struct err *err)
{
	struct figures *f = out;
	int rc;

	memset(f, 0, sizeof(*f));
	rc = collect_stored(e, f, err);
	if (rc)
		return rc;
	edge_contact(e, &f->contact);
	/* Whoever hears it was reached; what hindered that before is over. */
	f->contact.reachable = true;
	f->contact.turned_away = f->contact.other_versions = false;
	f->kind = HOME_PLAIN;
	f->serving = e->keep != NULL;
	collect_ledger(e, f);
	count_owed(f);
	collect_pace(e, f);
	conclude_lanes(f);
	return 0;
}
