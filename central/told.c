#include "central/told.h"

#include <string.h>
#include <time.h>

#include "central/sites.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/prom.h"
#include "proto/bandwidth.h"
#include "proto/lanes.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/waits.h"

void
told_keep(struct site_row *row, const Sync__SyncState *m)
{
	struct buf b = BUF_INIT;

	row->state_n = 0;
	if (m)
		message_pack(&b, &m->base);
	if (!buf_failed(&b) && b.len && b.len <= sizeof(row->state)) {
		memcpy(row->state, b.data, b.len);
		row->state_n = b.len;
	}
	buf_fini(&b);
}

/* Our own word goes before what it told when it could still call. */
static uint32_t
why(const struct told *t, const struct member *member, uint64_t owed)
{
	if (!owed && (!t->m || !t->m->n_lanes))
		return WAIT_NOTHING;
	if (member && (member->suspended || member->removed))
		return WAIT_TURNED_AWAY;
	if (t->silent)
		return WAIT_LINK;
	return t->m ? t->m->waits_for : WAIT_NOTHING;
}

void
told_open(struct told *out, const struct site_row *row, const struct member *member, uint64_t owed,
	  int64_t wall_ms)
{
	int64_t age = wall_ms - row->contact_ms;

	memset(out, 0, sizeof(*out));
	if (row->state_n)
		out->m =
			message_read(&sync__sync_state__descriptor, row->state, row->state_n, NULL);
	out->age_seconds = age > 0 ? (uint64_t)age / 1000 : 0;
	out->silent = age > TOLD_SILENT_MS;
	out->waits = why(out, member, owed);
	out->told_ms = row->contact_ms;
	if (out->m && out->m->until_ms && out->m->until_ms < INT64_MAX / 2 &&
	    out->waits == out->m->waits_for)
		out->until_wall_ms = row->contact_ms + (int64_t)out->m->until_ms;
}

void
told_close(struct told *t)
{
	message_free(t->m);
	t->m = NULL;
}

/* --- JSON --- */

static void
json_wait(struct json *j, uint32_t wait)
{
	if (wait)
		json_text(j, "waits_for", waits_name(wait));
	else
		json_null(j, "waits_for");
}

/* By our clock, when the first of what is put off is tried again; 0: nothing is, or not known. */
static int64_t
retry_of(const struct told *t, const Sync__LaneState *l)
{
	return l->put_off && l->retry_ms && l->retry_ms < INT64_MAX / 2
		       ? t->told_ms + (int64_t)l->retry_ms
		       : 0;
}

static void
json_lanes(struct json *j, const struct told *t)
{
	size_t i;

	json_open(j, "lanes", '{');
	for (i = 0; i < t->m->n_lanes; i++) {
		const Sync__LaneState *l = t->m->lanes[i];

		if (l->lane >= LANES)
			continue;
		json_open(j, lanes_name((enum lane)l->lane), '{');
		json_count(j, l->lane == LANE_LEDGER ? "entries" : "instances", l->images);
		if (l->lane != LANE_LEDGER) {
			json_count(j, "bytes", l->bytes);
			json_count(j, "put_off", l->put_off);
			json_time(j, "retry", retry_of(t, l));
		}
		json_count(j, "oldest_seconds", l->oldest_seconds);
		json_wait(j, l->waits_for);
		json_close(j, '}');
	}
	json_close(j, '}');
}

void
told_json(struct json *j, const struct told *t)
{
	json_open(j, "sync", '{');
	json_wait(j, t->waits);
	json_time(j, "until", t->until_wall_ms);
	json_bool(j, "silent", t->silent);
	if (t->m) {
		json_count(j, "age_seconds", t->age_seconds);
		json_decimal(j, "images_per_second", (double)t->m->images_milli / 1000);
		json_count(j, "bytes_per_second", t->m->bytes);
		if (t->m->estimated)
			json_count(j, "in_step_seconds", t->m->in_step_seconds);
		else
			json_null(j, "in_step_seconds");
		if (t->m->limited)
			json_count(j, "limit_bytes_per_second", t->m->limit);
		else
			json_null(j, "limit_bytes_per_second");
		json_count(j, "not_released_studies", t->m->not_released);
		json_bool(j, "hold", t->m->hold != 0);
		json_lanes(j, t);
	}
	json_close(j, '}');
}

/* --- text --- */

static void
put_span(struct buf *out, uint64_t seconds)
{
	unsigned long long s = seconds;

	buf_printf(out, "%02llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
}

static void
put_time(struct buf *out, const char *before, int64_t wall_ms)
{
	time_t at = (time_t)(wall_ms / 1000);
	char when[16] = "";
	struct tm tm;

	if (!wall_ms || !localtime_r(&at, &tm))
		return;
	(void)strftime(when, sizeof(when), "%H:%M", &tm);
	buf_printf(out, "%s%s", before, when);
}

static void
put_wait(struct buf *out, const char *before, uint32_t wait, const struct told *t)
{
	buf_printf(out, "%swaits: %s", before, waits_name(wait));
	if (wait == t->waits)
		put_time(out, wait == WAIT_SCHEDULE ? " until " : ", next try at ",
			 t->until_wall_ms);
}

static void
text_pace(struct buf *out, const Sync__SyncState *m)
{
	char rate[BANDWIDTH_TEXT];

	if (m->images_milli || m->bytes) {
		buf_printf(out, "; %.1f images/s, ", (double)m->images_milli / 1000);
		buf_put_size(out, m->bytes);
		buf_puts(out, "/s");
	}
	if (m->limited && m->limit) {
		bandwidth_rate_text(m->limit, rate);
		buf_printf(out, "; may use %s/s", rate);
	}
	if (m->estimated && m->in_step_seconds) {
		buf_puts(out, "; in step in about ");
		put_span(out, m->in_step_seconds);
	}
}

static void
text_lanes(struct buf *out, const char *site, const struct told *t)
{
	size_t i;

	for (i = 0; i < t->m->n_lanes; i++) {
		const Sync__LaneState *l = t->m->lanes[i];

		if (l->lane >= LANES)
			continue;
		buf_printf(out, "%s: told %s: %llu %s, ", site, lanes_name((enum lane)l->lane),
			   (unsigned long long)l->images,
			   l->lane == LANE_LEDGER ? "entries" : "images");
		if (l->lane != LANE_LEDGER) {
			buf_put_size(out, l->bytes);
			buf_puts(out, ", ");
		}
		buf_puts(out, "behind by ");
		put_span(out, l->oldest_seconds);
		if (l->put_off)
			buf_printf(out, "; put off: %llu", (unsigned long long)l->put_off);
		put_time(out, ", the first until ", retry_of(t, l));
		if (l->waits_for)
			put_wait(out, "; ", l->waits_for, t);
		buf_puts(out, "\n");
	}
}

void
told_text(struct buf *out, const char *site, const struct told *t)
{
	if (t->waits || (t->m && (t->m->n_lanes || t->m->not_released))) {
		buf_printf(out, "%s: ", site);
		if (t->silent)
			buf_puts(out, "SILENT for ");
		else
			buf_puts(out, "said hello ");
		put_span(out, t->age_seconds);
		buf_puts(out, t->silent ? "" : " ago");
		if (t->waits)
			put_wait(out, "; ", t->waits, t);
		if (t->m)
			text_pace(out, t->m);
		if (t->m && t->m->not_released)
			buf_printf(out, "; not released: %llu studies that would make room there",
				   (unsigned long long)t->m->not_released);
		buf_puts(out, "\n");
	}
	if (t->m && t->m->hold)
		buf_printf(out, "%s: told that eviction is on hold there, by %s\n", site,
			   t->m->hold == HOLD_PERSON  ? "a person"
			   : t->m->hold == HOLD_ORDER ? "an order of central's"
						      : "a person, and by an order of central's");
	if (t->m)
		text_lanes(out, site, t);
}

/* --- /metrics --- */

enum of_lane { LANE_IMAGES, LANE_BYTES, LANE_PUT_OFF, LANE_RETRY, LANE_OLDEST, LANE_FIGURES };

static uint64_t
lane_figure(const struct told *t, const Sync__LaneState *l, enum of_lane of)
{
	switch (of) {
	case LANE_IMAGES:
		return l->images;
	case LANE_BYTES:
		return l->bytes;
	case LANE_PUT_OFF:
		return l->put_off;
	case LANE_RETRY:
		return (uint64_t)retry_of(t, l) / 1000;
	case LANE_OLDEST:
		return l->oldest_seconds;
	case LANE_FIGURES:
		break;
	}
	return 0;
}

/* One that it did not name is empty. */
static const Sync__LaneState *
lane_of(const Sync__SyncState *m, enum lane lane)
{
	static const Sync__LaneState none = SYNC__LANE_STATE__INIT;
	size_t i;

	for (i = 0; i < m->n_lanes; i++)
		if (m->lanes[i]->lane == (uint32_t)lane)
			return m->lanes[i];
	return &none;
}

/* A family without a sample is none. */
static void
open_family(struct prom *p, const char *name, const char *help)
{
	if (p->name != name)
		prom_family(p, PROM_GAUGE, name, help);
}

static void
lane_families(struct prom *p, const struct sites *s)
{
	static const struct {
		const char *name, *help;
	} rows[LANE_FIGURES] = {
		[LANE_IMAGES] = {"site_lane_images",
				 "Images that are owed, as the edge told; ledger: entries."},
		[LANE_BYTES] = {"site_lane_bytes", "Bytes of these."},
		[LANE_PUT_OFF] = {"site_lane_put_off_images", "Of these, put off or parked."},
		[LANE_RETRY] = {"site_lane_retry_timestamp_seconds",
				"Wall clock of the next try of the first of these; 0: none, or not "
				"known."},
		[LANE_OLDEST] = {"site_lane_oldest_seconds", "Age of the oldest, when it told."}};
	struct told t;
	size_t k, i;
	enum lane lane;

	for (k = 0; k < LANE_FIGURES && s->tally.n; k++) {
		for (i = 0; i < s->tally.n; i++) {
			if (!sites_told(s, i, &t))
				continue;
			if (t.m)
				open_family(p, rows[k].name, rows[k].help);
			for (lane = LANE_LEDGER; t.m && lane < LANES; lane++) {
				struct prom_label of[] = {{"site", s->tally.rows[i].site.site},
							  {"lane", lanes_name(lane)}};

				prom_count_of(p, of, 2,
					      lane_figure(&t, lane_of(t.m, lane), (enum of_lane)k));
			}
			told_close(&t);
		}
	}
}

static void
lane_waits(struct prom *p, const char *site, const struct told *t)
{
	enum lane lane;
	size_t w;

	for (lane = LANE_LEDGER; lane < LANES; lane++)
		for (w = 0; waits_all[w]; w++) {
			struct prom_label of[] = {{"site", site},
						  {"lane", lanes_name(lane)},
						  {"for", waits_name(waits_all[w])}};

			prom_count_of(p, of, 3,
				      lane_of(t->m, lane)->waits_for == (uint32_t)waits_all[w]);
		}
}

enum of_pace {
	PACE_IMAGES,
	PACE_BYTES,
	PACE_IN_STEP,
	PACE_NOT_RELEASED,
	PACE_HOLD,
	PACE_AGE,
	PACE_SILENT,
	PACE_FIGURES
};

/* -1: it is not known. */
static double
pace(enum of_pace of, const struct told *t)
{
	switch (of) {
	case PACE_IMAGES:
		return t->m ? (double)t->m->images_milli / 1000 : -1;
	case PACE_BYTES:
		return t->m ? (double)t->m->bytes : -1;
	case PACE_IN_STEP:
		return t->m && t->m->estimated ? (double)t->m->in_step_seconds : -1;
	case PACE_NOT_RELEASED:
		return t->m ? (double)t->m->not_released : -1;
	case PACE_HOLD:
		return t->m ? t->m->hold != 0 : -1;
	case PACE_AGE:
		return (double)t->age_seconds;
	case PACE_SILENT:
		return t->silent;
	case PACE_FIGURES:
		break;
	}
	return -1;
}

static void
pace_families(struct prom *p, const struct sites *s)
{
	static const struct {
		const char *name, *help;
	} rows[PACE_FIGURES] = {
		[PACE_IMAGES] = {"site_sync_images_per_second",
				 "To central, in the last minutes before it told."},
		[PACE_BYTES] = {"site_sync_bytes_per_second", "The same in bytes."},
		[PACE_IN_STEP] = {"site_sync_in_step_seconds",
				  "Until nothing is owed, at that rate."},
		[PACE_NOT_RELEASED] = {"site_not_released_studies",
				       "Studies that had to go there, and were not released."},
		[PACE_HOLD] = {"site_hold", "1: eviction is on hold there."},
		[PACE_AGE] = {"site_told_age_seconds", "Since the edge told its state."},
		[PACE_SILENT] = {"site_silent", "1: it has not said hello for too long."}};
	struct told t;
	double value;
	size_t k, i;

	for (k = 0; k < PACE_FIGURES; k++)
		for (i = 0; i < s->tally.n; i++) {
			if (!sites_told(s, i, &t))
				continue;
			value = pace((enum of_pace)k, &t);
			told_close(&t);
			if (value < 0)
				continue;
			open_family(p, rows[k].name, rows[k].help);
			prom_decimal(p, "site", s->tally.rows[i].site.site, value);
		}
}

void
told_metrics(struct prom *p, const struct sites *s)
{
	static const char waits[] = "site_waits", of_lanes[] = "site_lane_waits";
	struct told t;
	size_t i, w;

	lane_families(p, s);
	for (i = 0; i < s->tally.n; i++) {
		if (!sites_told(s, i, &t))
			continue;
		if (t.m) {
			open_family(p, of_lanes, "1: what is in it waits, and for this.");
			lane_waits(p, s->tally.rows[i].site.site, &t);
		}
		told_close(&t);
	}
	pace_families(p, s);
	for (i = 0; i < s->tally.n; i++) {
		if (!sites_told(s, i, &t))
			continue;
		open_family(p, waits, "1: what is owed of the site waits, and for this.");
		for (w = 0; waits_all[w] && waits_all[w] <= WAIT_PARKED; w++)
			prom_count_of(p,
				      (struct prom_label[]){{"site", s->tally.rows[i].site.site},
							    {"for", waits_name(waits_all[w])}},
				      2, t.waits == (uint32_t)waits_all[w]);
		told_close(&t);
	}
}
