#include "edge/status.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/dimse/pledge_say.h"
#include "edge/chores.h"
#include "edge/figures.h"
#include "edge/obey.h"
#include "edge/wanted.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"

enum { SKEW_SHOWN_MS = 60000, DAY_MS = 86400000 };

static void
json_identity(struct json *j, const struct figures *f)
{
	static const char *const kinds[] = {[HOME_NONE] = "none",
					    [HOME_PLAIN] = "plain",
					    [HOME_OWN] = "own",
					    [HOME_JOINED] = "joined",
					    [HOME_STRANGER] = "not joined"};
	char print[2 * PKI_PRINT + 1];

	json_open(j, "identity", '{');
	json_text(j, "state", kinds[f->kind]);
	if (f->kind == HOME_JOINED) {
		hex_of(f->certificate.print, PKI_PRINT, print);
		json_text(j, "archive", f->joined.archive);
		json_text(j, "url", f->joined.url);
		json_text(j, "key", print);
		json_time(j, "certificate_until", f->certificate.until_ms);
	}
	json_close(j, '}');
}

/* R26 */
static const char *
own_only(int why)
{
	return why == SYNC__OWN_ONLY__OWN_ONLY_DOUBT	? "doubt"
	       : why == SYNC__OWN_ONLY__OWN_ONLY_POLICY ? "policy"
							: "";
}

static void
json_central(struct json *j, const struct figures *f)
{
	unsigned i;

	json_open(j, "central", '{');
	json_bool(j, "reachable", f->contact.reachable);
	json_bool(j, "turned_away", f->contact.turned_away);
	json_count(j, "protocol", f->contact.version);
	json_text(j, "why", f->contact.why);
	json_id(j, "epoch", &f->contact.epoch);
	json_time(j, "last_contact", f->contact.wall_ms);
	json_number(j, "clock_skew_seconds", f->contact.skew_ms / 1000);
	json_bool(j, "two_centrals", f->contact.two_centrals);
	json_bool(j, "closed", f->contact.closed);
	json_text(j, "reads_own_only", own_only(f->contact.own_only));
	json_bool(j, "drains", f->drains);
	json_open(j, "twins", '[');
	for (i = 0; i < f->contact.n_twins; i++)
		json_text(j, NULL, f->contact.twins[i]);
	json_close(j, ']');
	json_close(j, '}');
}

/* Towards central. */
static void
json_pace(struct json *j, const struct figures *f)
{
	json_open(j, "sync", '{');
	json_decimal(j, "images_per_second", f->images_rate);
	json_decimal(j, "bytes_per_second", f->bytes_rate);
	if (f->estimated)
		json_count(j, "in_step_seconds", f->in_step_seconds);
	else
		json_null(j, "in_step_seconds");
	if (f->wait)
		json_text(j, "waits_for", waits_name(f->wait));
	else
		json_null(j, "waits_for");
	json_time(j, "retry", f->retry_wall_ms);
	if (f->hour.limited)
		json_count(j, "limit_bytes_per_second", f->hour.rate);
	else
		json_null(j, "limit_bytes_per_second");
	json_time(j, "limit_until", f->hour_until_wall_ms);
	json_close(j, '}');
}

static void
json_lanes(struct json *j, const struct figures *f)
{
	enum lane i;

	json_open(j, "lanes", '{');
	for (i = LANE_LEDGER; i < LANES; i++) {
		const struct figures_lane *l = &f->lanes[i];

		json_open(j, lanes_name(i), '{');
		json_count(j, i == LANE_LEDGER ? "entries" : "instances", l->images);
		if (i != LANE_LEDGER) {
			json_count(j, "bytes", l->bytes);
			json_count(j, "put_off", l->late);
			json_time(j, "retry", l->retry_ms ? f->now_ms + l->retry_ms : 0);
		}
		json_count(j, "oldest_seconds", l->oldest_seconds);
		if (l->wait)
			json_text(j, "waits_for", waits_name(l->wait));
		else
			json_null(j, "waits_for");
		json_close(j, '}');
	}
	json_close(j, '}');
}

static void
json_resync(struct json *j, const struct figures *f)
{
	json_open(j, "resync", '{');
	json_time(j, "last_good", f->resync_ms);
	if (f->resync_ms)
		json_count(j, "age_seconds", f->resync_seconds);
	else
		json_null(j, "age_seconds");
	json_close(j, '}');
}

static void
json_cache(struct json *j, const struct figures *f)
{
	json_open(j, "cache", '{');
	json_count(j, "instances", f->counts.instances);
	json_count(j, "studies", f->counts.studies);
	json_count(j, "bytes", f->counts.bytes);
	json_count(j, "quota_bytes", f->space.quota);
	json_count(j, "used_bytes", f->space.used);
	json_count(j, "evictable_bytes", f->evictable);
	if (f->keep.rate_known) {
		json_decimal(j, "hours_left", f->keep.hours_left);
		json_decimal(j, "hours_left_without_central", f->keep.hours_left_dark);
	} else {
		json_null(j, "hours_left");
		json_null(j, "hours_left_without_central");
	}
	json_count(j, "not_released_studies", f->not_released);
	json_text(j, "not_released_why", f->not_released ? f->why_not : "");
	json_bool(j, "hold", f->hold != 0);
	json_bool(j, "dark", f->keep.dark);
	json_close(j, '}');
}

int
status_json(struct edge *e, struct buf *out, bool *person, struct err *err)
{
	struct id128 incarnation;
	struct figures f;
	struct json j;
	int rc = figures_collect(&f, e, err);

	if (rc)
		return rc;
	*person = f.person;
	json_init(&j, out);
	json_open(&j, NULL, '{');
	json_text(&j, "role", "edge");
	json_text(&j, "site", e->site);
	edge_incarnation(e, &incarnation);
	json_id(&j, "incarnation", &incarnation);
	json_identity(&j, &f);
	json_central(&j, &f);
	json_open(&j, "ledger", '{');
	json_count(&j, "last_seq", f.ledger.seq);
	json_count(&j, "announced_seq", f.contact.announced);
	json_count(&j, "receipted", f.receipted);
	json_close(&j, '}');
	json_open(&j, "owed", '{');
	json_count(&j, "instances", f.owed);
	json_count(&j, "bytes", f.outbox.owed_bytes);
	json_count(&j, "oldest_seconds", f.oldest_seconds);
	json_close(&j, '}');
	json_lanes(&j, &f);
	json_pace(&j, &f);
	json_resync(&j, &f);
	json_cache(&j, &f);
	json_count(&j, "parked", f.outbox.parked);
	json_count(&j, "damaged", f.damaged);
	json_count(&j, "committed_here_only", f.committed_here_only);
	json_count(&j, "commitments", f.commitments);
	rc = pledges_said(e->store, NULL, &j, err);
	json_count(&j, "rejected", f.rejected);
	json_count(&j, "rejected_again", f.rejected_again);
	json_count(&j, "notes_unheard", f.notes_unheard);
	json_count(&j, "variants", f.counts.variants);
	json_count(&j, "revisions", f.counts.revisions);
	json_count(&j, "conflicts", f.counts.conflicts);
	json_count(&j, "unconfirmed", f.counts.undecided);
	json_count(&j, "unknown_orders", f.unknown_orders);
	json_count(&j, "retracts_waiting", f.retracts);
	if (!rc)
		rc = chores_json(e, &j, "orders", err);
	if (!rc)
		rc = wanted_json(e, &j, "settings_of_central", err);
	json_time(&j, "dicom_certificate_until", f.dicom_until_ms);
	json_count(&j, "refusals", f.refusals);
	json_count(&j, "unaudited", f.unaudited);
	json_bool(&j, "journal_damaged", f.journal_damaged);
	json_close(&j, '}');
	buf_puts(out, "\n");
	return rc;
}

/* R8 */
static void
text_twins(struct buf *out, const struct figures *f)
{
	const struct contact *c = &f->contact;
	unsigned i;

	if (f->drains)
		buf_puts(out, "DRAINS: another copy of this edge is the site's; what is here is "
			      "still delivered and shown, nothing new is taken in\n");
	if (!c->n_twins)
		return;
	buf_puts(out, "TWIN: copies of this edge call from ");
	for (i = 0; i < c->n_twins; i++)
		buf_printf(out, "%s%s", i ? " and " : "", c->twins[i]);
	buf_puts(out, "; at central, `site twin NAME --keep ADDRESS` says which one stays\n");
}

static void
text_central(struct buf *out, const struct figures *f)
{
	char when[CLOCK_RFC3339_SIZE], why[sizeof(f->tls.what) + 100];

	clock_rfc3339(f->certificate.until_ms, when);
	if (f->kind == HOME_JOINED)
		buf_printf(out, "site of archive %s, certificate until %s\n", f->joined.archive,
			   when);
	else if (f->kind == HOME_STRANGER)
		buf_puts(out, "NOT JOINED: `join URL CODE` with a code of central's `site add`\n");
	clock_rfc3339(f->contact.wall_ms, when);
	if (!f->serving)
		buf_printf(out, "serve is not running; last contact with central %s\n",
			   when[0] ? when : "never");
	else if (f->contact.reachable)
		buf_puts(out, "central answers\n");
	else
		buf_printf(out, "central does not answer (%s); last contact %s\n",
			   f->contact.why[0]	  ? f->contact.why
			   : f->kind == HOME_NONE ? "no [central] url"
						  : "it has not yet",
			   when[0] ? when : "never");
	clock_rfc3339(f->dicom_until_ms, when);
	if (f->dicom_until_ms)
		buf_printf(out, "DICOM by TLS, certificate until %s%s\n", when,
			   f->dicom_soon ? ": RENEW IT, then `reload`" : "");
	err_text(&f->tls, why, sizeof(why));
	if (why[0])
		buf_printf(out, "OUR CERTIFICATE cannot be used: %s\n", why);
	if (f->contact.version && f->contact.version < f->speaks)
		buf_printf(out,
			   "central speaks version %u of the protocol, this edge %u: no decisions "
			   "come from it\n",
			   f->contact.version, f->speaks);
	if (f->contact.own_only == SYNC__OWN_ONLY__OWN_ONLY_DOUBT)
		buf_puts(out, "central does not know yet who was removed: until more than half of "
			      "the other sites have called it, or its `site readmit`, what others "
			      "delivered is not read from it\n");
	if (f->contact.own_only == SYNC__OWN_ONLY__OWN_ONLY_POLICY)
		buf_puts(out, "by central's `site policy` what others delivered is not read\n");
	if (f->contact.closed)
		buf_puts(out, "central counts this edge as lost or replaced; what it has still "
			      "arrives\n");
	text_twins(out, f);
	if (f->contact.two_centrals)
		buf_puts(out, "TWO CENTRALS answer in turn: nothing is freed\n");
	if (f->contact.skew_ms > SKEW_SHOWN_MS || f->contact.skew_ms < -SKEW_SHOWN_MS)
		buf_printf(out, "the clocks differ by %lld s\n",
			   (long long)(f->contact.skew_ms / 1000));
}

static void
put_age(struct buf *out, uint64_t seconds)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{86400, "days"}, {3600, "hours"}, {60, "minutes"}, {1, "seconds"}};
	size_t i = 0;

	while (i < 3 && seconds < 3 * units[i].seconds)
		i++;
	buf_printf(out, "%llu %s", (unsigned long long)(seconds / units[i].seconds), units[i].name);
}

static void
text_owed(struct buf *out, const struct figures *f)
{
	uint64_t last = f->ledger.seq, announced = f->contact.announced;

	buf_printf(out, "owed: %llu images, ", (unsigned long long)f->outbox.owed);
	buf_put_size(out, f->outbox.owed_bytes);
	if (f->outbox.owed) {
		buf_puts(out, ", the oldest for ");
		put_age(out, f->oldest_seconds);
	}
	buf_printf(out, "; parked: %llu; %llu ledger entries not acknowledged\n",
		   (unsigned long long)f->outbox.parked,
		   (unsigned long long)(last > announced ? last - announced : 0));
	buf_puts(out, "last compared with central as a whole by `resync`: ");
	if (f->resync_ms) {
		put_age(out, f->resync_seconds);
		buf_puts(out, " ago\n");
	} else {
		buf_puts(out, "never\n");
	}
}

static void
text_wait(struct buf *out, const char *before, enum wait_for wait, const struct figures *f)
{
	buf_printf(out, "%s%s", before, waits_name(wait));
	if (wait == WAIT_SCHEDULE && f->hour_until[0])
		buf_printf(out, " until %s", f->hour_until);
}

/* What central's table, or the ceiling here, leaves of the link; nothing: that is why it waits. */
static void
text_hour(struct buf *out, const struct figures *f)
{
	char rate[BANDWIDTH_TEXT];

	if (!f->hour.limited || !f->hour.rate)
		return;
	bandwidth_rate_text(f->hour.rate, rate);
	buf_printf(out, "may use %s/s of the link, each way%s%s\n", rate,
		   f->hour_until[0] ? ", until " : "", f->hour_until);
}

/* "14:05", or "tue 14:05" */
static void
text_time(struct buf *out, const char *before, const struct figures *f, int64_t wall_ms)
{
	char when[THROTTLE_WHEN];

	throttle_name_time(wall_ms, wall_ms - f->now_ms >= DAY_MS, when);
	buf_printf(out, "%s%s", before, when);
}

/* Those that something is in: how far each is behind, and why it waits. */
static void
text_lanes(struct buf *out, const struct figures *f)
{
	enum lane i;

	for (i = LANE_LEDGER; i < LANES; i++) {
		const struct figures_lane *l = &f->lanes[i];

		if (!l->images)
			continue;
		buf_printf(out, "  %s: %llu %s, ", lanes_name(i), (unsigned long long)l->images,
			   i == LANE_LEDGER ? "entries" : "images");
		if (i != LANE_LEDGER) {
			buf_put_size(out, l->bytes);
			buf_puts(out, ", ");
		}
		buf_puts(out, "behind by ");
		put_age(out, l->oldest_seconds);
		if (l->late)
			buf_printf(out, "; put off: %llu", (unsigned long long)l->late);
		if (l->late && l->retry_ms)
			text_time(out, ", the first until ", f, f->now_ms + l->retry_ms);
		if (l->wait)
			text_wait(out, "; waits: ", l->wait, f);
		buf_puts(out, "\n");
	}
}

static void
text_pace(struct buf *out, const struct figures *f)
{
	if (f->images_rate > 0 || f->bytes_rate > 0) {
		buf_printf(out, "to central in the last minutes: %.1f images/s, ", f->images_rate);
		buf_put_size(out, (uint64_t)f->bytes_rate);
		buf_puts(out, "/s\n");
	}
	if (f->wait) {
		text_wait(out, "waits: ", f->wait, f);
		if (f->retry_wall_ms)
			text_time(out, "; next try at ", f, f->retry_wall_ms);
		buf_puts(out, "\n");
	} else if (!f->owed && f->contact.reachable) {
		buf_puts(out, "in step with central\n");
	} else if (f->owed && f->estimated) {
		buf_puts(out, "in step in about ");
		put_age(out, f->in_step_seconds);
		buf_puts(out, "\n");
	}
}

static void
text_cache(struct buf *out, const struct figures *f)
{
	static const char *const level[] = {"", ": warning", ": ALARM"};

	buf_printf(out, "%llu images of %llu studies, ", (unsigned long long)f->counts.instances,
		   (unsigned long long)f->counts.studies);
	buf_put_size(out, f->counts.bytes);
	buf_printf(out, "; cache %llu %% of ",
		   (unsigned long long)(f->space.limit ? f->space.used * 100 / f->space.limit : 0));
	buf_put_size(out, f->space.limit);
	buf_puts(out, " full");
	if (f->space.limit < f->space.quota) {
		buf_puts(out, ": the disk has no more, [data] quota is ");
		buf_put_size(out, f->space.quota);
	}
	buf_puts(out, "\n");
	if (f->keep.rate_known)
		buf_printf(
			out, "room for %.0f hours at the last day's rate, %.0f without central%s\n",
			f->keep.hours_left, f->keep.hours_left_dark, level[keep_level(&f->keep)]);
	if (f->not_released)
		buf_printf(out,
			   "not released: %llu studies that would make room; of the first: %s\n",
			   (unsigned long long)f->not_released, f->why_not);
	if (f->space.shut)
		buf_puts(out, "FULL: others have filled the disk; new images are refused (A700)\n");
	else if (f->full)
		buf_puts(out, "FULL: what is here must stay; new images are refused (A700)\n");
	if (f->hold)
		buf_printf(out, "eviction is on hold%s\n",
			   f->hold & HOLD_ORDER ? ": central wants it so" : "");
	if (f->retracts)
		buf_printf(
			out,
			"STOPPED OBEYING: central retracts more than 1 %% of the studies here in "
			"a day; %llu orders wait: `retracts accept` carries them out\n",
			(unsigned long long)f->retracts);
	if (f->unknown_orders)
		buf_printf(out,
			   "%llu orders of central are kept and not carried out: this version "
			   "does not know their kind\n",
			   (unsigned long long)f->unknown_orders);
	if (f->keep.young)
		buf_puts(out, "own young studies had to go: the cache is too small\n");
}

int
status_text(struct edge *e, struct buf *out, bool *person, struct err *err)
{
	struct figures f;
	int rc = figures_collect(&f, e, err);

	if (rc)
		return rc;
	*person = f.person;
	buf_printf(out, "edge %s\n", e->site);
	text_central(out, &f);
	text_cache(out, &f);
	text_owed(out, &f);
	text_lanes(out, &f);
	text_pace(out, &f);
	text_hour(out, &f);
	if (f.journal_damaged)
		buf_puts(out, "THE JOURNAL WAS DAMAGED: the last images before a stop may be in "
			      "store/journal.damaged alone; `rebuild` looks for them\n");
	if (f.damaged)
		buf_printf(out,
			   "DAMAGED here: %llu images; what central holds of them is fetched "
			   "back\n",
			   (unsigned long long)f.damaged);
	if (f.commitments)
		buf_printf(out, "%llu requests for storage commitment are not settled\n",
			   (unsigned long long)f.commitments);
	if (f.committed_here_only)
		buf_printf(
			out,
			"COMMITTED HERE ONLY: %llu images: their senders may have none any more, "
			"central has none yet\n",
			(unsigned long long)f.committed_here_only);
	rc = pledges_said(e->store, out, NULL, err);
	if (f.rejected || f.notes_unheard)
		buf_printf(
			out,
			"rejection notes hide %llu images (`rejected`), %llu came again and stay "
			"hidden; %llu notes do not count: their senders may not reject, or they "
			"cannot be read\n",
			(unsigned long long)f.rejected, (unsigned long long)f.rejected_again,
			(unsigned long long)f.notes_unheard);
	if (f.refusals)
		buf_printf(out, "%lu associations or requests refused since the start: audit.log\n",
			   f.refusals);
	if (f.unaudited)
		buf_printf(out, "%lu events are missing in audit.log: see the log\n", f.unaudited);
	buf_printf(out, "%llu variants, %llu revisions, %llu UIDs in conflict\n",
		   (unsigned long long)f.counts.variants, (unsigned long long)f.counts.revisions,
		   (unsigned long long)f.counts.conflicts);
	if (f.counts.undecided)
		buf_printf(out,
			   "%llu UIDs unconfirmed: this edge's own order counts until central's "
			   "does\n",
			   (unsigned long long)f.counts.undecided);
	if (!rc)
		rc = wanted_text(e, out, err);
	return rc ? rc : chores_text(e, out, err);
}
