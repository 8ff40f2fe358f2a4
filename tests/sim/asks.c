#include "tests/sim/asks.h"

#include <stdio.h>
#include <string.h>

#include "central/central_commands.h"
#include "central/gate.h"
#include "common/base/digest.h"
#include "common/http/server.h"
#include "common/store/store.h"
#include "edge/chores.h"
#include "tests/sim/faults.h"
#include "tests/sim/truth.h"
#include "tests/sim/world.h"

/* A chore that failed is tried again after some hours at most. */
enum { PATIENCE = 24, STEP = SIM_HOUR / 2 };

static int
at_central(struct world *w, size_t n, const char *const *words)
{
	int code;

	world_enter(w, &w->clock);
	code = central_commands_run(&w->central, n, words, NULL);
	world_look_after_central(w);
	return code;
}

/* --- orders --- */

static int
prefetch(struct world *w, const char *site)
{
	const char *words[] = {"prefetch", NULL, site};
	char study[UID_SIZE];

	if (!w->n_images)
		return -1;
	truth_study(&w->images[world_below(w, w->n_images)], study);
	words[1] = study;
	return at_central(w, 3, words);
}

static int
set(struct world *w, const char *site)
{
	const char *dark = world_chance(w, 500) ? "keep" : "default";
	const char *words[] = {"set", "dark", dark, "--site", site};

	return at_central(w, 5, words);
}

void
asks_order(struct world *w)
{
	static const char *const what[] = {"refill", "verify", "resend"};
	struct sim_edge *e = faults_edge(w);
	unsigned pick = (unsigned)world_below(w, 5);
	const char *words[] = {"site", pick < 3 ? what[pick] : "", e->name, "--group"};
	int code;

	if (!w->up)
		return;
	if (pick == 3)
		code = prefetch(w, e->name);
	else if (pick == 4)
		code = set(w, e->name);
	else
		code = at_central(w, pick == 0 && world_chance(w, 500) ? 4 : 3, words);
	if (code)
		return;
	world_say(w, "%s: is ordered to %s", e->name,
		  pick < 3    ? what[pick]
		  : pick == 3 ? "prefetch"
			      : "set dark");
	w->seen[SEEN_ORDERED]++;
}

static uint64_t
open_at(struct sim_edge *e)
{
	uint64_t open = 0, unsaid = 0;
	struct store_tx *tx;

	if (!e->up || e->old || store_begin_read(&tx, e->edge.store, NULL))
		return 0;
	(void)chores_count(tx, &open, &unsaid, NULL);
	store_end_read(tx);
	return open + unsaid;
}

static struct sim_edge *
not_done(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n_edges; i++)
		if (open_at(&w->edges[i]))
			return &w->edges[i];
	return NULL;
}

void
asks_final(struct world *w)
{
	unsigned i, steps = 0;

	if (w->old) /* it speaks of no orders */
		return;
	while (!w->wrong && not_done(w) && steps++ < PATIENCE)
		world_run(w, STEP);
	if (!w->wrong && not_done(w))
		world_wrong(w, "%s does not end what central ordered, or does not say so",
			    not_done(w)->name);
	for (i = 0; i < w->n_edges; i++)
		w->seen[SEEN_ORDER_DONE] += w->edges[i].did;
}

/* --- the gate (R24) --- */

void
asks_suspend(struct world *w)
{
	struct sim_edge *e = faults_edge(w);
	const char *words[] = {"site", world_chance(w, 500) ? "suspend" : "readmit", e->name};

	if (!w->up || at_central(w, 3, words))
		return;
	world_say(w, "%s: %s", e->name, words[1]);
	w->seen[SEEN_SUSPENDED] += words[1][0] == 's';
}

void
asks_readmit_all(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n_edges && w->up; i++) {
		const char *words[] = {"site", "readmit", w->edges[i].name};

		(void)at_central(w, 3, words);
	}
}

bool
asks_allowed(struct sim_edge *e)
{
	struct http_request rq;
	const char *why;

	memset(&rq, 0, sizeof(rq));
	(void)snprintf(rq.site, sizeof(rq.site), "%s", e->name);
	if (e->w->certified && e->by_init) { /* as TLS says it of the operator's certificates */
		rq.certified = true;
		sha256_of(e->name, strlen(e->name), rq.key);
		rq.from_ms = 1;
	}
	return gate_allowed(&e->w->central, &rq, RIGHT_HELLO, &why);
}
