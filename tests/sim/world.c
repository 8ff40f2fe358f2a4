#include "tests/sim/world.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/upload.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/store.h"
#include "edge/chores.h"
#include "edge/keep.h"
#include "edge/mend.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/ledger.h"
#include "proto/link.h"
#include "proto/message.h"
#include "tests/sim/promised.h"
#include "tests/sim/truth.h"
#include "tests/sim/watch.h"

enum { KEEP_EVERY_MS = 20000, RESTART_MAX_MS = 120000, TURNS_MAX = 200 };

#define CAPACITY (UINT64_C(1) << 40)
#define START INT64_C(1700000000000)

/* --- the seed --- */

uint64_t
world_below(struct world *w, uint64_t n)
{
	return rng_below(&w->rng.r, n);
}

bool
world_chance(struct world *w, unsigned of_1000)
{
	return world_below(w, 1000) < of_1000;
}

void
world_wrong(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->wrong)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(w->text, sizeof(w->text), fmt, ap);
	va_end(ap);
	w->wrong = w->text;
	world_say(w, "WRONG: %s", w->text);
}

void
world_say(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->loud)
		return;
	printf("%10.3f ", (double)w->now / 1000);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

/* --- clocks --- */

static int64_t
mono(struct clock *c)
{
	struct sim_clock *s = (struct sim_clock *)(void *)c;

	return s->w->now - s->boot + SIM_SECOND;
}

static int64_t
wall(struct clock *c)
{
	struct sim_clock *s = (struct sim_clock *)(void *)c;

	return START + s->w->now + s->skew;
}

static void
sleep_on(struct clock *c, int64_t ms)
{
	((struct sim_clock *)(void *)c)->w->now += ms;
}

static void
clock_begin(struct sim_clock *c, struct world *w)
{
	c->c.mono_ms = mono;
	c->c.wall_ms = wall;
	c->c.sleep_ms = sleep_on;
	c->w = w;
	c->boot = w->now;
}

void
world_enter(struct world *w, struct sim_clock *c)
{
	(void)w;
	clock_use(&c->c);
}

/* --- nodes --- */

static int
make_link(struct link **out, struct edge *e, struct err *err)
{
	struct sim_edge *s =
		(struct sim_edge *)(void *)((char *)e - offsetof(struct sim_edge, edge));

	return simlink_open(out, s, err);
}

/* A node that cannot start: its disk died meanwhile, or the promise of R23 and R13 is broken. */
static void
not_started(struct world *w, const char *who, struct ramdisk *disk, const struct err *e)
{
	if (!ramdisk_dead(disk) && w->calm)
		world_wrong(w, "%s does not start: %s", who, e->what);
	world_say(w, "%s does not start: %s", who, e->what);
}

/* R23: a node with an identity does not begin anew in the place of a disk that is not there. */
static bool
refuses(struct world *w, const char *who, bool started)
{
	if (started)
		world_wrong(w, "%s starts while its disk is not mounted", who);
	else
		w->seen[SEEN_NOT_MOUNTED]++;
	return !started;
}

static struct protocol_range
speaks(bool old)
{
	static const struct protocol_range before = {PROTOCOL_OLDEST, PROTOCOL_OLDEST};

	return old ? before : protocol_own();
}

static int
make_and_open(struct sim_edge *e, struct err *err)
{
	int rc = 0;

	if (e->to_init) {
		rc = edge_init(e->conf, err);
		e->to_init = rc != 0;
	}
	return rc ? rc : edge_open(&e->edge, e->conf, EDGE_SERVE, err);
}

void
world_open_edge(struct sim_edge *e)
{
	struct err err = ERR_INIT;
	int rc;

	if (e->mount_at && e->mount_at <= e->w->now) {
		ramdisk_show(e->disk);
		e->mount_at = 0;
	}
	clock_begin(&e->clock, e->w);
	world_enter(e->w, &e->clock);
	e->looked_at = UINT64_MAX;
	rc = make_and_open(e, &err);
	if (rc) {
		e->restart_at = e->w->now + SIM_MINUTE;
		if (!e->mount_at || !refuses(e->w, e->name, false))
			not_started(e->w, e->name, e->disk, &err);
		return;
	}
	if (e->mount_at)
		(void)refuses(e->w, e->name, true);
	e->edge.make_link = make_link;
	e->edge.speaks = speaks(e->old);
	rc = keep_new(&e->edge.keep, &e->edge, &err);
	if (!rc)
		rc = mend_new(&e->edge.mend, &e->edge, &err);
	if (!rc)
		rc = make_link(&e->link, &e->edge, &err);
	if (!rc)
		rc = replicate_new(&e->r, &e->edge, e->link, &err);
	if (!rc)
		rc = make_link(&e->orders_link, &e->edge, &err);
	if (!rc)
		rc = orders_new(&e->orders, &e->edge, e->orders_link, &err);
	if (!rc)
		rc = chores_new(&e->edge.chores, &e->edge, &err);
	e->edge.orders = e->orders;
	e->up = true;
	if (rc) {
		not_started(e->w, e->name, e->disk, &err);
		world_close_edge(e);
		e->restart_at = e->w->now + SIM_MINUTE;
		return;
	}
}

void
world_close_edge(struct sim_edge *e)
{
	if (!e->up)
		return;
	world_enter(e->w, &e->clock);
	chores_stop(e->edge.chores);
	e->edge.chores = NULL;
	orders_stop(e->orders);
	e->orders = e->edge.orders = NULL;
	replicate_free(e->r);
	e->r = NULL;
	mend_stop(e->edge.mend);
	e->edge.mend = NULL;
	keep_stop(e->edge.keep);
	edge_close(&e->edge);
	e->up = false;
}

/* A person runs `rebuild`, or `serve --accept-missing`, when it is time for that. */
static int
open_central(struct world *w, struct err *err)
{
	int rc = 0;

	if (w->mode == CENTRAL_REBUILD) {
		rc = central_open(&w->central, w->conf, CENTRAL_REBUILD, err);
		if (rc)
			return rc;
		central_close(&w->central);
		w->mode = CENTRAL_SERVE;
	}
	rc = central_open(&w->central, w->conf, w->mode, err);
	if (!rc) {
		w->mode = CENTRAL_SERVE;
		w->central.speaks = speaks(w->old);
		rc = uploads_new(&w->central.uploads, err);
		if (rc)
			central_close(&w->central);
	}
	return rc;
}

void
world_open_central(struct world *w)
{
	struct err err = ERR_INIT;
	int rc;

	if (w->mount_at && w->mount_at <= w->now) {
		ramdisk_show(w->disk);
		w->mount_at = 0;
	}
	clock_begin(&w->clock, w);
	world_enter(w, &w->clock);
	rc = open_central(w, &err);
	if (rc) {
		w->restart_at = w->now + SIM_MINUTE;
		if (!w->mount_at || !refuses(w, "central", false))
			not_started(w, "central", w->disk, &err);
		return;
	}
	if (w->mount_at)
		(void)refuses(w, "central", true);
	w->up = true;
	watch_packs(w);
}

void
world_close_central(struct world *w)
{
	if (!w->up)
		return;
	world_enter(w, &w->clock);
	uploads_free(w->central.uploads);
	w->central.uploads = NULL;
	central_close(&w->central);
	w->up = false;
}

static int64_t
soon(struct world *w)
{
	return w->now + 1 + (int64_t)world_below(w, RESTART_MAX_MS);
}

void
world_look_after_central(struct world *w)
{
	if (!ramdisk_dead(w->disk)) {
		if (w->up && atomic_load(&w->central.failed)) { /* as it ended by itself */
			world_say(w, "central ends");
			world_close_central(w);
			w->restart_at = soon(w);
		}
		return;
	}
	world_say(w, "central died%s", w->power ? " (power)" : "");
	world_close_central(w);
	w->seen[w->power ? SEEN_POWER_CUT : SEEN_KILLED]++;
	ramdisk_revive(w->disk, w->power, &w->rng.r);
	w->restart_at = soon(w);
	w->deaths++;
}

void
world_look_after_edge(struct sim_edge *e)
{
	struct world *w = e->w;

	if (!ramdisk_dead(e->disk))
		return;
	world_say(w, "%s died%s", e->name, e->power ? " (power)" : "");
	world_close_edge(e);
	w->seen[e->power ? SEEN_POWER_CUT : SEEN_KILLED]++;
	ramdisk_revive(e->disk, e->power, &w->rng.r);
	e->restart_at = soon(w);
	w->deaths++;
}

static struct sim_edge *
edge_new(struct world *w, unsigned site)
{
	struct sim_edge *e = &w->edges[w->n_edges];

	e->w = w;
	e->number = w->n_edges++;
	(void)snprintf(e->name, sizeof(e->name), "site%02u", site);
	(void)snprintf(e->dir, sizeof(e->dir), "/sim/node%02u", e->number);
	(void)snprintf(e->conf, sizeof(e->conf), "%s/node%02u.conf", w->folder, e->number);
	e->by_init = site % 4 >= 2;
	births_edge(e);
	e->disk = ramdisk_new(e->dir, CAPACITY);
	e->line.latency_ms = 10;
	e->line.rate = SIM_RATE;
	e->keep_at = w->now + (int64_t)world_below(w, KEEP_EVERY_MS);
	return e;
}

struct sim_edge *
world_clone(struct sim_edge *from)
{
	struct ramdisk_image *copy;
	struct sim_edge *e;

	if (from->w->n_edges == EDGES_MAX)
		return NULL;
	copy = ramdisk_copy(from->disk);
	e = edge_new(from->w, from->number);
	ramdisk_restore(e->disk, copy);
	ramdisk_image_free(copy);
	e->to_init = false;
	e->twin = from->twin = true;
	e->seen = from->seen;
	memcpy(e->seen_hash, from->seen_hash, sizeof(e->seen_hash));
	world_open_edge(e);
	return e;
}

void
world_open(struct world *w, uint64_t seed, unsigned edges, const char *folder)
{
	w->seed = seed;
	(void)snprintf(w->folder, sizeof(w->folder), "%s", folder);
	rng_seeded_init(&w->rng, seed);
	rng_seeded_init(&w->ids, ~seed);
	rng_use(&w->ids.r);
	/* Caches that are never full, some days, or most of the time. */
	ramdisk_scale(128u << world_below(w, 6));
	store_by_hand(true);
	w->now = SIM_MINUTE;
	(void)snprintf(w->conf, sizeof(w->conf), "%s/central.conf", folder);
	w->disk = ramdisk_new("/sim/central", CAPACITY);
	w->by_init = seed % 2;
	clock_begin(&w->clock, w);
	births_central(w);
	world_open_central(w);
	w->sites = edges;
	while (w->n_edges < edges)
		world_open_edge(edge_new(w, w->n_edges));
}

void
world_close(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n_edges; i++) {
		world_close_edge(&w->edges[i]);
		ramdisk_free(w->edges[i].disk);
		ramdisk_image_free(w->edges[i].copy);
	}
	world_close_central(w);
	ramdisk_free(w->disk);
	ramdisk_image_free(w->copy);
	free(w->images);
	free(w->said);
	free(w->heads);
	clock_use(NULL);
	rng_use(NULL);
	store_by_hand(false);
}

bool
world_all_up(struct world *w)
{
	unsigned i;

	world_run(w, 1);
	w->mount_at = w->mount_at ? 1 : 0;
	if (!w->up)
		world_open_central(w);
	world_look_after_central(w);
	for (i = 0; i < w->n_edges; i++) {
		struct sim_edge *e = &w->edges[i];

		e->mount_at = e->mount_at ? 1 : 0;
		if (!e->up)
			world_open_edge(e);
		world_look_after_edge(e);
	}
	for (i = 0; i < w->n_edges && w->edges[i].up; i++)
		continue;
	return w->up && i == w->n_edges && !w->wrong;
}

/* --- time --- */

bool
world_uploading(struct sim_edge *e)
{
	struct outbox_counts counts = {.packed = 0};
	struct store_tx *tx;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return false;
	(void)outbox_counts(tx, &counts, NULL);
	store_end_read(tx);
	return counts.packed > 0;
}

static void
watch_epoch(struct world *w)
{
	struct id128 now;
	unsigned i;

	if (!w->up)
		return;
	central_epoch(&w->central, &now);
	if (id128_same(&now, &w->epoch))
		return;
	w->epoch = now;
	for (i = 0; i < w->n_edges; i++)
		w->seen[SEEN_EPOCH_IN_UPLOAD] += world_uploading(&w->edges[i]);
}

static int64_t
orders_at(const struct sim_edge *e)
{
	int64_t due = orders_due(e->orders), link = simlink_due(e->orders_link);

	due = due == INT64_MAX ? due : due + e->clock.boot - SIM_SECOND;
	return link < due ? link : due;
}

static int64_t
edge_due(const struct sim_edge *e)
{
	int64_t due, other;

	if (!e->up)
		return e->restart_at;
	due = replicate_due(e->r) + e->clock.boot - SIM_SECOND;
	other = simlink_due(e->link);
	due = other < due ? other : due;
	other = orders_at(e);
	due = other < due ? other : due;
	return e->keep_at < due ? e->keep_at : due;
}

/* The same. What lies ahead stays so until it has its turn, or central has news. */
static int64_t
next_due(struct sim_edge *e)
{
	int64_t due = e->due ? e->due : edge_due(e);

	e->due = due > e->w->now ? due : 0;
	return due;
}

static void
look_again(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n_edges; i++)
		w->edges[i].due = 0;
}

/* The edge whose turn is next, before `until`; EDGES_MAX: none. */
static unsigned
first_of(struct world *w, int64_t until, int64_t *due)
{
	unsigned i, first = EDGES_MAX;

	*due = until;
	for (i = 0; i < w->n_edges; i++) {
		int64_t at = next_due(&w->edges[i]);

		if (at < *due) {
			*due = at;
			first = i;
		}
	}
	return first;
}

static void
edge_turn(struct sim_edge *e)
{
	unsigned turns;
	bool ran;

	if (!e->up) {
		world_open_edge(e);
		world_look_after_edge(e);
		return;
	}
	for (turns = 0; e->up && turns < TURNS_MAX && edge_due(e) <= e->w->now; turns++) {
		world_enter(e->w, &e->clock);
		if (e->keep_at <= e->w->now) {
			keep_turn(e->edge.keep);
			mend_turn(e->edge.mend);
			store_turn(e->edge.store);
			truth_look_at_ledger(e); /* what went before anything is said of it */
			promised_turn(e);
			chores_turn(e->edge.chores, &ran);
			e->did += ran;
			e->keep_at = e->w->now + KEEP_EVERY_MS;
		} else if (orders_at(e) <= e->w->now) {
			orders_turn(e->orders, 0);
			if (atomic_load(&e->edge.news)) /* as replicate_wake does */
				replicate_turn(e->r, 0);
		} else {
			replicate_turn(e->r, 0);
		}
		truth_look_at_ledger(e);
		world_look_after_edge(e);
	}
	if (turns == TURNS_MAX)
		e->w->now++; /* it has more to do than one moment holds */
}

void
world_run(struct world *w, int64_t ms)
{
	int64_t until = w->now + ms, due;
	unsigned next;
	uint64_t news;
	bool up;

	look_again(w);
	while (!w->wrong) {
		next = first_of(w, w->up ? until : w->restart_at, &due);
		if (due >= until)
			break;
		if (due > w->now)
			w->now = due;
		up = w->up;
		news = up ? atomic_load(&w->central.dispatch.news) : 0;
		if (next < EDGES_MAX)
			edge_turn(&w->edges[next]);
		else
			world_open_central(w);
		world_look_after_central(w);
		watch_epoch(w);
		if (!up || !w->up || news != atomic_load(&w->central.dispatch.news))
			look_again(w);
		else
			w->edges[next].due = 0;
	}
	if (w->now < until)
		w->now = until;
}

static bool
settled(struct sim_edge *e)
{
	struct outbox_counts counts;
	struct ledger_head head;
	struct contact contact;
	struct store_tx *tx;
	int rc;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return false;
	rc = outbox_counts(tx, &counts, NULL);
	if (!rc)
		rc = ledger_head(tx, &head, NULL);
	store_end_read(tx);
	edge_contact(&e->edge, &contact);
	if (e->w->calm && e->w->loud && e->w->now % SIM_HOUR < SIM_MINUTE)
		world_say(
			e->w, "%s: owed %llu packed %llu parked %llu announced %llu of %llu%s%s%s",
			e->name, (unsigned long long)counts.owed, (unsigned long long)counts.packed,
			(unsigned long long)counts.parked, (unsigned long long)contact.announced,
			(unsigned long long)head.seq, contact.reachable ? "" : ", not reached",
			contact.comparing ? ", comparing" : "", contact.n_twins ? ", twin" : "");
	return !rc && counts.owed == 0 && counts.packed == 0 && contact.reachable &&
	       !contact.comparing && contact.announced == head.seq;
}

bool
world_settle(struct world *w, int64_t ms)
{
	int64_t until = w->now + ms;
	unsigned i;

	while (!w->wrong && w->now < until) {
		world_run(w, SIM_MINUTE);
		for (i = 0; i < w->n_edges && settled(&w->edges[i]); i++)
			continue;
		if (w->up && i == w->n_edges)
			return true;
	}
	return false;
}
