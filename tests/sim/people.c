#include "tests/sim/people.h"

#include <stdio.h>
#include <string.h>

#include "central/central_commands.h"
#include "central/room.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/edge_commands.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "proto/orders.h"
#include "tests/sim/faults.h"
#include "tests/sim/said.h"
#include "tests/sim/truth.h"
#include "tests/sim/world.h"

enum {
	RETRACT_MAX = 6,
	TAKEN = 40, /* images       */
	MANY = 9,   /* studies      */
	MINUTES = 5,
	HEX = 2 * ID128_SIZE + 1,
	PATIENCE = 30, /* minutes */
	FULL_HOURS = 12,
	FULL_FROM = 88, /* per cent */
	FULL_TO = 100
};

static int
at_edge(struct sim_edge *e, size_t n, const char *const *words)
{
	int code;

	world_enter(e->w, &e->clock);
	code = edge_commands_run(&e->edge, n, words, NULL);
	truth_look_at_ledger(e);
	world_look_after_edge(e);
	return code;
}

static int
at_central(struct world *w, size_t n, const char *const *words)
{
	int code;

	world_enter(w, &w->clock);
	code = central_commands_run(&w->central, n, words, NULL);
	world_look_after_central(w);
	return code;
}

/* --- hold (R10) --- */

void
people_hold(struct world *w)
{
	const char *words[] = {"hold", world_chance(w, 500) ? "on" : "off"};
	struct sim_edge *e = faults_edge(w);

	if (world_chance(w, 500)) {
		if (!w->up)
			return;
		world_say(w, "central: hold %s", words[1]);
		w->seen[SEEN_HOLD] += at_central(w, 2, words) == 0;
	} else if (e->up) {
		world_say(w, "%s: hold %s", e->name, words[1]);
		w->seen[SEEN_HOLD] += at_edge(e, 2, words) == 0;
	}
}

static uint64_t
hold_of(struct sim_edge *e)
{
	struct store_tx *tx;
	uint64_t hold = 0;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return 0;
	(void)sync_number(tx, "hold", &hold, NULL);
	store_end_read(tx);
	return hold;
}

static struct sim_edge *
not_held(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n_edges; i++)
		if (w->edges[i].up && !w->edges[i].old && !(hold_of(&w->edges[i]) & HOLD_ORDER))
			return &w->edges[i];
	return NULL;
}

void
people_final(struct world *w)
{
	static const char *const on[] = {"hold", "on"};
	unsigned minutes = 0;

	if (w->old || at_central(w, 2, on))
		return;
	while (!w->wrong && not_held(w) && minutes++ < PATIENCE)
		world_run(w, SIM_MINUTE);
	if (!w->wrong && not_held(w))
		world_wrong(w, "%s does not obey central's order to hold", not_held(w)->name);
}

/* --- stat --- */

void
people_stat(struct world *w)
{
	struct sim_edge *e = faults_edge(w);
	const char *words[] = {"stat", NULL, "--off"};
	char study[UID_SIZE];
	bool off = world_chance(w, 300);

	if (!w->n_images || !e->up)
		return;
	truth_study(&w->images[world_below(w, w->n_images)], study);
	words[1] = study;
	if (at_edge(e, off ? 3 : 2, words))
		return;
	world_say(w, "%s: stat %s%s", e->name, study, off ? " --off" : "");
	w->seen[SEEN_STAT]++;
}

/* --- site twin --keep (R8) --- */

void
people_keep(struct sim_edge *e)
{
	struct world *w = e->w;
	char hex[HEX];
	const char *words[] = {"site", "twin", e->name, "--keep", hex};

	if (!w->up || !e->up || !e->twin)
		return;
	hex_of(e->edge.incarnation.b, ID128_SIZE, hex);
	if (at_central(w, 5, words))
		return;
	world_say(w, "%s: node %u stays", e->name, e->number);
	w->seen[SEEN_TWIN_KEPT]++;
}

void
people_keep_one(struct world *w)
{
	unsigned i, from = faults_edge(w)->number;

	for (i = 0; i < w->n_edges; i++)
		if (w->edges[(from + i) % w->n_edges].twin) {
			people_keep(&w->edges[(from + i) % w->n_edges]);
			return;
		}
}

/* --- what is never shown again (R15, R27) --- */

static bool
has_stopped(struct sim_edge *e)
{
	uint64_t unknown = 0, retracts = 0;
	struct store_tx *tx;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return false;
	(void)obey_waiting(tx, &unknown, &retracts, NULL);
	store_end_read(tx);
	return retracts > 0;
}

void
people_accept(struct world *w)
{
	static const char *const words[] = {"retracts", "accept"};
	unsigned i;

	for (i = 0; i < w->n_edges; i++)
		if (has_stopped(&w->edges[i])) {
			w->seen[SEEN_TOO_MANY]++;
			world_say(w, "%s: retracts accept", w->edges[i].name);
			(void)at_edge(&w->edges[i], 2, words);
			return;
		}
}

/* R27: more of one site's studies than anybody is likely to have meant. */
static void
retract_many(struct sim_edge *e)
{
	struct world *w = e->w;
	unsigned i, n = 0, last = 0;

	for (i = 0; i < TAKEN && e->up; i++)
		truth_send(e, false);
	world_run(w, (int64_t)MINUTES * SIM_MINUTE);
	for (i = w->n_images; i-- && n < MANY && w->up;) {
		const struct sim_image *m = &w->images[i];

		if (m->edge != e->number || m->study == last)
			continue;
		last = m->study;
		n++;
		said_withdraw(w, m, true, true);
	}
	world_run(w, (int64_t)MINUTES * SIM_MINUTE);
	if (world_chance(w, 500))
		people_accept(w);
}

void
people_retract(struct world *w)
{
	unsigned n = 1 + (unsigned)world_below(w, RETRACT_MAX);

	if (world_chance(w, 400)) {
		retract_many(faults_edge(w));
		return;
	}
	while (n-- && w->n_images && w->up)
		said_withdraw(w, &w->images[world_below(w, w->n_images)], world_chance(w, 200),
			      true);
}

void
people_restore(struct world *w)
{
	unsigned tries = 4 * RETRACT_MAX;

	while (tries-- && w->n_images && w->up) {
		struct sim_image *m = &w->images[world_below(w, w->n_images)];

		if (said_withdrawn(w, m, false) == SIM_SHOWN)
			continue;
		said_withdraw(w, m, world_chance(w, 500), false);
		return;
	}
}

/* --- which version (R3) --- */

void
people_resolve(struct world *w)
{
	unsigned i, k, from;

	if (!w->n_images || !w->up)
		return;
	from = (unsigned)world_below(w, w->n_images);
	for (i = 0; i < w->n_images; i++) {
		struct sim_image *m = &w->images[(from + i) % w->n_images];

		for (k = 0; k < w->n_images; k++)
			if (&w->images[k] != m && w->images[k].study == m->study &&
			    w->images[k].instance == m->instance) {
				said_current(w, m);
				return;
			}
	}
}

/* --- a disk that fills (R12) --- */

void
people_fill(struct world *w)
{
	unsigned percent = FULL_FROM + (unsigned)world_below(w, FULL_TO - FULL_FROM), i;
	struct contact c;

	if (!w->up)
		return;
	world_say(w, "central: %u per cent of its disk are in use", percent);
	ramdisk_use(w->disk, percent);
	w->full_until =
		w->now + SIM_HOUR + (int64_t)world_below(w, FULL_HOURS * (uint64_t)SIM_HOUR);
	faults_rush(w);
	world_run(w, SIM_MINUTE);
	if (!w->up || !room_closed(&w->central))
		return;
	for (i = 0; i < w->n_edges; i++) {
		if (!w->edges[i].up)
			continue;
		edge_contact(&w->edges[i].edge, &c);
		w->seen[SEEN_LANES_CLOSED] += c.reachable && c.full_lanes;
	}
}

void
people_pass(struct world *w)
{
	static const char *const off[] = {"hold", "off"};
	unsigned i;

	if (w->calm || (w->full_until && w->now >= w->full_until)) {
		ramdisk_use(w->disk, 0);
		w->full_until = 0;
	}
	if (!w->calm)
		return;
	(void)at_central(w, 2, off);
	for (i = 0; i < w->n_edges; i++)
		if (w->edges[i].up)
			(void)at_edge(&w->edges[i], 2, off);
}
