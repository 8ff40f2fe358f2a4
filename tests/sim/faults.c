#include "tests/sim/faults.h"

#include <errno.h>
#include <string.h>

#include "central/record.h"
#include "central/verify.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/refill.h"
#include "proto/bandwidth.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/sim/asks.h"
#include "tests/sim/count.h"
#include "tests/sim/disasters.h"
#include "tests/sim/people.h"
#include "tests/sim/promised.h"
#include "tests/sim/truth.h"
#include "tests/sim/watch.h"
#include "tests/sim/world.h"

enum { RUSH = 6, RUSH_MS = 2500, BURST = 12, DEATH_WITHIN = 600, FAILS = 20, YEARS = 60 };

#define YEAR_MS INT64_C(31557600000)

struct sim_edge *
faults_edge(struct world *w)
{
	return &w->edges[world_below(w, w->n_edges)];
}

/* --- work --- */

static void
send(struct world *w)
{
	struct sim_edge *e = faults_edge(w);
	unsigned n = 1 + (unsigned)world_below(w, BURST), i;

	world_say(w, "%s: %u images", e->name, n);
	for (i = 0; i < n && e->up; i++)
		truth_send(e, world_chance(w, 100));
}

/* So that something is on its way when it strikes. */
void
faults_rush(struct world *w)
{
	unsigned n = (unsigned)world_below(w, RUSH);

	while (n--)
		send(w);
	world_run(w, 1 + (int64_t)world_below(w, RUSH_MS));
}

/* R18, R19: what central keeps beside the ledgers is what they say. `verify` puts it right, and
 * nothing more would be seen of it. */
static void
look_at_recount(struct world *w, const struct verify_result *r)
{
	if (r->wrong_bits || r->wrong_claims || r->torn || r->figures.figures || r->figures.listed)
		world_wrong(w,
			    "verify finds %llu bits, %llu claims, %llu entries, %llu figures and "
			    "%llu rows that are not what the ledgers say",
			    (unsigned long long)r->wrong_bits, (unsigned long long)r->wrong_claims,
			    (unsigned long long)r->torn, (unsigned long long)r->figures.figures,
			    (unsigned long long)r->figures.listed);
}

void
faults_verify(struct world *w)
{
	struct verify_result r;
	struct err err = ERR_INIT;

	if (!w->up)
		return;
	world_enter(w, &w->clock);
	memset(&r, 0, sizeof(r));
	if (verify_all(&w->central, NULL, false, &r, &err)) {
		world_say(w, "verify: %s", err.what);
		if (w->calm)
			world_wrong(w, "verify fails: %s", err.what);
	}
	world_say(w,
		  "verify: packs %llu members %llu damaged %llu absent %llu frames %llu bits %llu",
		  (unsigned long long)r.packs, (unsigned long long)r.members,
		  (unsigned long long)r.damaged, (unsigned long long)r.absent,
		  (unsigned long long)r.frames, (unsigned long long)r.wrong_bits);
	look_at_recount(w, &r);
	world_look_after_central(w);
}

void
faults_refill(struct sim_edge *e)
{
	struct refill_config c = {.group = world_chance(e->w, 300)};
	struct refill_result r;
	struct err err = ERR_INIT;

	if (!e->up || e->line.cut || e->line.cut_back || !e->w->up)
		return;
	world_say(e->w, "%s: refill", e->name);
	world_enter(e->w, &e->clock);
	memset(&r, 0, sizeof(r));
	(void)refill_run(&e->edge, &c, NULL, &r, &err);
	truth_look_at_ledger(e);
	world_look_after_edge(e);
}

/* --- lines --- */

static void
line(struct world *w)
{
	struct sim_edge *e = faults_edge(w);
	struct sim_line *l = &e->line;

	l->cut = world_chance(w, 400);
	l->cut_back = !l->cut && world_chance(w, 150); /* one way only */
	l->loss = world_chance(w, 500) ? (unsigned)world_below(w, 300) : 0;
	l->twice = world_chance(w, 300) ? (unsigned)world_below(w, 300) : 0;
	l->late = world_chance(w, 300) ? (unsigned)world_below(w, 300) : 0;
	l->half = world_chance(w, 300) ? (unsigned)world_below(w, 300) : 0;
	l->drip = world_chance(w, 100);
	l->latency_ms = 1 + (int64_t)world_below(w, world_chance(w, 200) ? 4000 : 200);
	l->rate = 20000 << world_below(w, 10);
	world_say(w, "%s: line%s loss %u twice %u late %u half %u latency %lld%s", e->name,
		  l->cut	? " cut"
		  : l->cut_back ? " cut on the way back"
				: "",
		  l->loss, l->twice, l->late, l->half, (long long)l->latency_ms,
		  l->drip ? " drips" : "");
}

/* --- deaths and disks that fail --- */

static void
death(struct world *w)
{
	bool central = world_chance(w, 300);
	struct sim_edge *e = faults_edge(w);
	struct ramdisk *d = central ? w->disk : e->disk;
	uint64_t in = 1 + world_below(w, DEATH_WITHIN);

	if (central)
		w->power = world_chance(w, 500);
	else
		e->power = world_chance(w, 500);
	ramdisk_die_at(d, ramdisk_steps(d) + in);
	if (central && world_chance(w, 300)) { /* before the folder of a pack is flushed */
		ramdisk_die_at(d, 0);
		ramdisk_die_behind(d, ".tar");
	}
	world_say(w, "%s: will die in %llu steps", central ? "central" : e->name,
		  (unsigned long long)in);
}

static void
disk_fails(struct world *w)
{
	bool central = world_chance(w, 300), full;
	struct sim_edge *e = faults_edge(w);
	unsigned n = 1 + (unsigned)world_below(w, FAILS);

	world_say(w, "%s: %u steps fail", central ? "central" : e->name, n);
	full = world_chance(w, 500);
	w->seen[full ? SEEN_ENOSPC : SEEN_EIO]++;
	ramdisk_fail(central ? w->disk : e->disk, n, full ? ENOSPC : EIO);
}

static void
restart(struct world *w)
{
	struct sim_edge *e = faults_edge(w);

	if (world_chance(w, 300)) {
		world_close_central(w);
		w->restart_at = w->now + 1;
	} else {
		world_close_edge(e);
		e->restart_at = w->now + 1;
	}
}

/* --- versions of the software --- */

/* A group is upgraded node by node, in any order, and somebody goes back. */
static void
upgrade(struct world *w)
{
	bool central = world_chance(w, 200);
	struct sim_edge *e;
	unsigned i;

	faults_rush(w);
	e = watch_uploading(w, faults_edge(w));
	for (i = 0; i < w->n_edges; i++)
		w->seen[SEEN_UPGRADE_IN_UPLOAD] +=
			(central || i == e->number) && world_uploading(&w->edges[i]);
	if (central) {
		w->old = !w->old;
		world_close_central(w);
		w->restart_at = w->now + 1;
	} else {
		e->old = !e->old;
		world_close_edge(e);
		e->restart_at = w->now + 1;
	}
	world_say(w, "%s: is %s now", central ? "central" : e->name,
		  (central ? w->old : e->old) ? "old" : "new");
}

/* --- clocks --- */

static void
clock_jumps(struct world *w)
{
	struct sim_edge *e = faults_edge(w);
	struct sim_clock *c = world_chance(w, 200) ? &w->clock : &e->clock;

	w->seen[SEEN_CLOCK]++;
	c->skew = world_chance(w, 300) ? 0 : ((int64_t)world_below(w, YEARS) - YEARS / 2) * YEAR_MS;
	world_say(w, "a clock jumps by %lld years", (long long)(c->skew / YEAR_MS));
}

/* --- what a site may use of its link --- */

static void
decide_bandwidth(struct world *w, const struct sim_edge *e, const struct bandwidth *b)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	struct bandwidth_runs runs;
	struct err err = ERR_INIT;

	if (!w->up)
		return;
	bandwidth_to_runs(&runs, b);
	d.kind = SYNC__DECISION_KIND__DECISION_SITE_BANDWIDTH;
	d.site = message_text(e->name);
	d.why = message_text("a person");
	d.bandwidth = runs.list;
	d.n_bandwidth = runs.n;
	world_enter(w, &w->clock);
	if (record_decide(&w->central, &d, &err))
		world_say(w, "bandwidth of %s: %s", e->name, err.what);
	world_look_after_central(w);
}

/* Some hours of each day little or nothing; or all of them free again. */
static void
limit_bandwidth(struct world *w)
{
	static const char *const hours[] = {"00:00-12:00", "06:00-07:00", "18:00-09:00", NULL};
	struct sim_edge *e = faults_edge(w);
	struct bandwidth b;
	uint64_t rate = world_chance(w, 400) ? 0 : 1000 + world_below(w, 100000);
	size_t which = (size_t)world_below(w, 4);

	bandwidth_clear(&b);
	if (!world_chance(w, 250)) {
		(void)bandwidth_set(&b, rate, NULL, hours[which]);
		w->seen[SEEN_LIMITED]++;
	}
	world_say(w, "%s may use %llu bytes/s%s", e->name, (unsigned long long)rate,
		  bandwidth_is_free(&b) ? " no more" : "");
	decide_bandwidth(w, e, &b);
}

/* --- by chance --- */

/* A viewer asks somewhere for something. */
static void
view(struct world *w)
{
	unsigned n = 1 + (unsigned)world_below(w, BURST);

	while (n--)
		watch_view(w, world_chance(w, 200) ? NULL : faults_edge(w));
}

/* Two buildings take the same in, and central has heard of it and holds nothing yet. */
static void
expose(struct world *w)
{
	unsigned n = (unsigned)world_below(w, BURST);
	struct sim_edge *a = faults_edge(w), *b = faults_edge(w);

	while (n-- && a->up && b->up) {
		truth_send(a, false);
		truth_send_newest(b);
	}
	world_run(w, 1 + (int64_t)world_below(w, RUSH_MS));
	count_exposure(w);
}

static const struct {
	void (*happen)(struct world *w);
	unsigned weight;
} table[] = {
	{send, 500},
	{line, 150},
	{death, 150},
	{disk_fails, 40},
	{restart, 30},
	{view, 60},
	{promised_ask, 40},
	{expose, 20},
	{clock_jumps, 20},
	{upgrade, 15},
	{limit_bandwidth, 15},
	{faults_verify, 15},
	{disasters_rot, 40},
	{disasters_central_burns, 6},
	{disasters_central_back, 14},
	{disasters_edge_back, 14},
	{disasters_both_back, 8},
	{disasters_twin, 3},
	{people_retract, 14},
	{people_restore, 12},
	{people_accept, 8},
	{people_resolve, 8},
	{people_hold, 8},
	{people_stat, 30},
	{people_keep_one, 10},
	{people_fill, 5},
	{asks_order, 30},
	{asks_suspend, 6},
	{disasters_import, 6},
	{disasters_catalogue_lost, 5},
	{disasters_vault_lost, 3},
	{disasters_site_burns, 12},
	{disasters_emptied, 5},
	{disasters_not_mounted, 8},
};

void
faults_happen(struct world *w)
{
	unsigned i, total = 0, pick;

	people_pass(w);
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		total += table[i].weight;
	pick = (unsigned)world_below(w, total);
	for (i = 0; pick >= table[i].weight; i++)
		pick -= table[i].weight;
	table[i].happen(w);
}

void
faults_end(struct world *w)
{
	struct bandwidth all;
	unsigned i;

	world_say(w, "calm");
	w->calm = true;
	ramdisk_die_at(w->disk, 0);
	ramdisk_fail(w->disk, 0, 0);
	for (i = 0; i < w->n_edges; i++) {
		struct sim_edge *e = &w->edges[i];

		ramdisk_die_at(e->disk, 0);
		ramdisk_fail(e->disk, 0, 0);
		memset(&e->line, 0, sizeof(e->line));
		e->line.latency_ms = 10;
		e->line.rate = SIM_RATE;
	}
	if (w->old && w->seen[SEEN_LIMITED]) { /* the newer version alone can lift what it said */
		w->old = false;
		world_close_central(w);
	}
	if (!world_all_up(w))
		world_wrong(w, "not every node starts when all is well");
	bandwidth_clear(&all);
	for (i = 0; i < w->n_edges; i++)
		decide_bandwidth(w, &w->edges[i], &all);
	people_pass(w);
	asks_readmit_all(w);
}
