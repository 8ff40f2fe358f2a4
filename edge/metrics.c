#include "edge/metrics.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/prom.h"
#include "common/dimse/pledge_say.h"
#include "edge/edge.h"
#include "edge/figures.h"

enum { HOUR_SECONDS = 3600 };

static void
put_here(struct prom *p, const struct figures *f)
{
	prom_one(p, PROM_GAUGE, "images", "Images whose bytes are here.", f->counts.instances);
	prom_one(p, PROM_GAUGE, "studies", "Studies with at least one image here.",
		 f->counts.studies);
	prom_one(p, PROM_GAUGE, "images_bytes", "Bytes of the images that are here.",
		 f->counts.bytes);
	prom_one(p, PROM_GAUGE, "images_known", "Images that are known, here or elsewhere.",
		 f->counts.known);
	prom_one(p, PROM_GAUGE, "images_variants", "Images that are variants of another.",
		 f->counts.variants);
	prom_one(p, PROM_GAUGE, "images_revisions", "Images that are revisions of another.",
		 f->counts.revisions);
	prom_one(p, PROM_GAUGE, "uids_in_conflict", "SOP Instance UIDs in conflict: a person.",
		 f->counts.conflicts);
	prom_one(p, PROM_GAUGE, "images_damaged",
		 "Images here that failed their check, and are not back yet.", f->damaged);
	prom_one(p, PROM_GAUGE, "journal_damaged", "1: a start found a damaged journal.",
		 f->journal_damaged);
}

static void
put_owed(struct prom *p, const struct figures *f)
{
	prom_one(p, PROM_GAUGE, "owed_images",
		 "Images that central has not receipted; 1 while anything is not announced.",
		 f->owed);
	prom_one(p, PROM_GAUGE, "owed_bytes", "Bytes of the images that are owed.",
		 f->outbox.owed_bytes);
	prom_one(p, PROM_GAUGE, "owed_oldest_seconds", "Age of the oldest image that is owed.",
		 f->oldest_seconds);
	prom_one(p, PROM_GAUGE, "resync_timestamp_seconds",
		 "Wall clock of the last good resync; 0: never.", (uint64_t)f->resync_ms / 1000);
	prom_one(p, PROM_GAUGE, "parked_images", "Images that are owed and parked: a person.",
		 f->outbox.parked);
	prom_one(p, PROM_GAUGE, "receipted_images", "Images here that central holds, as it said.",
		 f->receipted);
	prom_one(p, PROM_GAUGE, "ledger_head_seq", "The last entry of the ledger.", f->ledger.seq);
	prom_one(p, PROM_GAUGE, "ledger_announced_seq", "The last entry that central has.",
		 f->contact.announced);
}

static void
put_commitment(struct prom *p, const struct figures *f)
{
	prom_one(p, PROM_GAUGE, "committed_here_only_images",
		 "Storage commitment on this edge's word alone: a person.", f->committed_here_only);
	prom_one(p, PROM_GAUGE, "rejected_uids", "Images that rejection notes hide.", f->rejected);
	prom_one(p, PROM_GAUGE, "rejected_images_again", "Rejected ones that came again.",
		 f->rejected_again);
	prom_one(p, PROM_GAUGE, "notes_unheard", "Rejection notes that do not count.",
		 f->notes_unheard);
	prom_one(p, PROM_GAUGE, "commitments", "Requests for storage commitment, not settled.",
		 f->commitments);
}

static void
put_lane_waits(struct prom *p, const char *lane, enum wait_for wait)
{
	size_t i;

	for (i = 0; waits_all[i]; i++)
		prom_count_of(
			p, (struct prom_label[]){{"lane", lane}, {"for", waits_name(waits_all[i])}},
			2, wait == waits_all[i]);
}

static void
put_lanes(struct prom *p, const struct figures *f)
{
	enum lane i;

	prom_family(p, PROM_GAUGE, "lane_images", "Images that are owed; ledger: entries.");
	for (i = LANE_LEDGER; i < LANES; i++)
		prom_count(p, "lane", lanes_name(i), f->lanes[i].images);
	prom_family(p, PROM_GAUGE, "lane_bytes", "Bytes of these.");
	for (i = LANE_STAT; i < LANES; i++)
		prom_count(p, "lane", lanes_name(i), f->lanes[i].bytes);
	prom_family(p, PROM_GAUGE, "lane_put_off_images", "Of these, put off or parked.");
	for (i = LANE_STAT; i < LANES; i++)
		prom_count(p, "lane", lanes_name(i), f->lanes[i].late);
	prom_family(p, PROM_GAUGE, "lane_retry_timestamp_seconds",
		    "Wall clock of the next try of the first of these; 0: none, or not known.");
	for (i = LANE_STAT; i < LANES; i++)
		prom_count(p, "lane", lanes_name(i),
			   f->lanes[i].late && f->lanes[i].retry_ms
				   ? (uint64_t)(f->now_ms + f->lanes[i].retry_ms) / 1000
				   : 0);
	prom_family(p, PROM_GAUGE, "lane_oldest_seconds", "Age of the oldest that is not put off.");
	for (i = LANE_LEDGER; i < LANES; i++)
		prom_count(p, "lane", lanes_name(i), f->lanes[i].oldest_seconds);
	prom_family(p, PROM_GAUGE, "lane_waits", "1: what is in it waits, and for this.");
	for (i = LANE_LEDGER; i < LANES; i++)
		put_lane_waits(p, lanes_name(i), f->lanes[i].wait);
}

static void
put_cache(struct prom *p, const struct figures *f)
{
	prom_one(p, PROM_GAUGE, "cache_used_bytes", "Bytes of the cache in use.", f->space.used);
	prom_one(p, PROM_GAUGE, "cache_quota_bytes", "The quota of the cache.", f->space.quota);
	prom_one(p, PROM_GAUGE, "cache_limit_bytes", "What may be used: less on a small disk.",
		 f->space.limit);
	prom_one(p, PROM_GAUGE, "cache_evictable_bytes", "Bytes of images that may go.",
		 f->evictable);
	prom_one(p, PROM_GAUGE, "not_released_studies",
		 "Studies that had to go, and central did not release, at the last look.",
		 f->not_released);
	prom_one(p, PROM_GAUGE, "cache_full", "1: new images are refused.", f->full);
	prom_one(p, PROM_GAUGE, "cache_hold", "1: eviction is on hold.", f->hold != 0);
	prom_one(p, PROM_GAUGE, "retracts_waiting", "Retracts not carried out: a person.",
		 f->retracts);
	prom_one(p, PROM_GAUGE, "unknown_orders",
		 "Orders that this version does not know: a person.", f->unknown_orders);
	if (!f->keep.rate_known)
		return;
	prom_family(p, PROM_GAUGE, "cache_left_seconds",
		    "Until the cache is full, at the last day's rate.");
	prom_decimal(p, NULL, NULL, f->keep.hours_left * HOUR_SECONDS);
	prom_family(p, PROM_GAUGE, "cache_left_without_central_seconds",
		    "The same, if central does not answer.");
	prom_decimal(p, NULL, NULL, f->keep.hours_left_dark * HOUR_SECONDS);
}

/* A family for each reason would make alerts long: one, with the reason as its label. */
static void
put_waits(struct prom *p, const struct figures *f)
{
	size_t i;

	prom_family(p, PROM_GAUGE, "waits", "1: what is owed waits, and for this.");
	for (i = 0; waits_all[i] && waits_all[i] <= WAIT_PARKED; i++)
		prom_count(p, "for", waits_name(waits_all[i]), f->wait == waits_all[i]);
}

static void
put_central(struct prom *p, const struct figures *f, int64_t wall_ms)
{
	int64_t since = wall_ms - f->contact.wall_ms;

	prom_one(p, PROM_GAUGE, "central_reachable", "1: central answers.", f->contact.reachable);
	if (f->contact.wall_ms)
		prom_one(p, PROM_GAUGE, "central_contact_age_seconds",
			 "Since the last contact with central.",
			 since > 0 ? (uint64_t)since / 1000 : 0);
	prom_family(p, PROM_GAUGE, "central_clock_skew_seconds", "Central's clock less ours.");
	prom_number(p, NULL, NULL, f->contact.skew_ms / 1000);
	prom_one(p, PROM_GAUGE, "central_two", "1: two centrals answer in turn: a person.",
		 f->contact.two_centrals);
	prom_one(p, PROM_GAUGE, "twins", "Copies of this edge that go on (R8); 0: it is alone.",
		 f->contact.n_twins);
	prom_one(p, PROM_GAUGE, "drains", "1: another copy is the site's; nothing is taken in.",
		 f->drains);
	prom_family(p, PROM_GAUGE, "sync_images_per_second", "To central, in the last minutes.");
	prom_decimal(p, NULL, NULL, f->images_rate);
	prom_family(p, PROM_GAUGE, "sync_bytes_per_second", "To central, in the last minutes.");
	prom_decimal(p, NULL, NULL, f->bytes_rate);
	prom_one(p, PROM_GAUGE, "central_retry_timestamp_seconds",
		 "Wall clock of the next try to reach central; 0: none is due, or not known.",
		 (uint64_t)f->retry_wall_ms / 1000);
	if (f->estimated)
		prom_one(p, PROM_GAUGE, "sync_in_step_seconds",
			 "Until nothing is owed, at that rate.", f->in_step_seconds);
	if (f->hour.limited)
		prom_one(p, PROM_GAUGE, "limit_bytes_per_second",
			 "What the hour leaves of the link, each way; 0: stat alone.",
			 f->hour.rate);
	put_waits(p, f);
}

static void
put_certificates(struct prom *p, const struct figures *f)
{
	if (f->kind == HOME_JOINED)
		prom_one(p, PROM_GAUGE, "certificate_until_timestamp_seconds",
			 "Until when our certificate towards central is good.",
			 (uint64_t)f->certificate.until_ms / 1000);
	if (f->dicom_until_ms)
		prom_one(p, PROM_GAUGE, "dicom_certificate_until_timestamp_seconds",
			 "Until when our certificate of DICOM TLS is good.",
			 (uint64_t)f->dicom_until_ms / 1000);
}

static void
put_since_the_start(struct prom *p, const struct figures *f)
{
	prom_one(p, PROM_COUNTER, "taken_images_total",
		 "Images that were answered with success, duplicates too.", f->taken.objects);
	prom_one(p, PROM_COUNTER, "taken_bytes_total", "Bytes of these.", f->taken.bytes);
	prom_one(p, PROM_COUNTER, "take_in_failures_total",
		 "Images that were answered with a failure.", f->taken.failures);
	prom_one(p, PROM_COUNTER, "refusals_total", "Associations and requests refused.",
		 f->refusals);
	prom_one(p, PROM_COUNTER, "unaudited_total", "Events that audit.log could not take.",
		 f->unaudited);
	prom_one(p, PROM_GAUGE, "associations", "Associations that stand now.", f->associations);
	prom_one(p, PROM_GAUGE, "needs_a_person", "1: `status` exits 3.", f->person);
}

int
metrics_of_edge(struct edge *e, struct buf *out, struct err *err)
{
	struct figures f;
	struct prom p;
	int rc = figures_collect(&f, e, err);

	if (rc)
		return rc;
	prom_init(&p, out, "salamander_edge");
	put_here(&p, &f);
	put_owed(&p, &f);
	put_commitment(&p, &f);
	put_lanes(&p, &f);
	put_cache(&p, &f);
	put_central(&p, &f, clock_wall(e->clock));
	put_certificates(&p, &f);
	put_since_the_start(&p, &f);
	return pledges_metrics(e->store, &p, err);
}
