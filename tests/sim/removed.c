#include "tests/sim/removed.h"

#include <string.h>

#include "central/central_commands.h"
#include "central/gate.h"
#include "central/members.h"
#include "common/base/err.h"
#include "common/os/command.h"
#include "common/store/store.h"
#include "proto/withdrawn.h"
#include "tests/sim/faults.h"
#include "tests/sim/truth.h"
#include "tests/sim/world.h"

enum { REMOVED = 2, MINUTES = 10, OK = 200, PARTIAL = 206, BURNS_OF = 8 };

static bool
is_removed(const struct sim_edge *e)
{
	return (e->w->removed & 1u << e->number) != 0;
}

static bool
reads(const char *path)
{
	return strncmp(path, "/sync/v1/refill", 15) == 0 ||
	       strncmp(path, "/sync/v1/objects/", 17) == 0;
}

static bool
reads_own_only(struct sim_edge *e)
{
	bool own = false;

	return gate_reads_own_only(&e->w->central, e->name, &own, NULL) == 0 && own;
}

void
removed_look_at(struct sim_edge *e, const char *path, int status)
{
	struct world *w = e->w;

	if (!w->forgot || !w->up || !is_removed(e) || (status != OK && status != PARTIAL))
		return;
	w->seen[SEEN_REMOVED_CALLS] += reads(path);
	if (reads(path) && !reads_own_only(e))
		world_wrong(w, "%s was removed, and reads what others delivered", e->name);
}

/* --- what goes before --- */

static int
count_named(void *arg, const struct withdrawn_row *row, struct err *err)
{
	(void)err;
	*(unsigned *)arg +=
		strncmp(row->uid, STANDING_SUSPENDED, sizeof(STANDING_SUSPENDED) - 1) != 0;
	return 0;
}

static unsigned
named_at(struct sim_edge *e)
{
	struct store_tx *tx;
	unsigned n = 0;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return 0;
	(void)standing_rows(tx, count_named, &n, NULL);
	store_end_read(tx);
	return n;
}

static int
command(struct world *w, const char *what, const char *site, const char *option)
{
	const char *words[] = {"site", what, site, option};

	world_enter(w, &w->clock);
	return central_commands_run(&w->central, option ? 4 : 3, words, NULL);
}

/* All of this version, all with their certificates: each hears who belongs to the archive. Those
 * that have none belong to no such archive (R24). */
static void
meet(struct world *w)
{
	unsigned i, known = 0;

	w->old = false;
	world_close_central(w);
	world_open_central(w);
	w->certified = true;
	for (i = 0; i < w->n_edges; i++) {
		w->edges[i].old = false;
		world_close_edge(&w->edges[i]);
		world_open_edge(&w->edges[i]);
		known += i < w->sites && w->edges[i].by_init;
		if (!w->edges[i].by_init)
			(void)command(w, "suspend", w->edges[i].name, NULL);
	}
	world_run(w, (int64_t)MINUTES * SIM_MINUTE);
	for (i = 0; i < w->sites && !w->wrong; i++)
		if (w->edges[i].by_init && named_at(&w->edges[i]) < known)
			world_wrong(w, "%s has not heard who belongs to the archive",
				    w->edges[i].name);
}

static void
remove_site(struct sim_edge *e)
{
	struct world *w = e->w;
	int code = command(w, "remove", e->name, NULL);

	if (code == COMMAND_PERSON)
		code = command(w, "remove", e->name, "--abandon");
	if (code)
		world_wrong(w, "%s cannot be removed", e->name);
	w->removed |= 1u << e->number;
}

/* Two of those that have an identity, and no twin. */
static void
remove_two(struct world *w)
{
	struct sim_edge *gone[REMOVED];
	unsigned i, n = 0;

	for (i = 0; i < w->sites && n < REMOVED; i++)
		if (w->edges[i].by_init && !w->edges[i].twin)
			gone[n++] = &w->edges[i];
	for (i = 0; i < n; i++)
		gone[i]->line.cut = true; /* so none hears of the other */
	for (i = 0; i < n && !w->wrong; i++)
		remove_site(gone[i]);
	w->seen[SEEN_REMOVED] += n;
}

/* --- central forgets it --- */

static void
forget(struct world *w, struct ramdisk_image *copy)
{
	bool burns = w->seed % BURNS_OF == 1;

	world_say(w, "central %s, and the removed ones call first",
		  burns ? "BURNS" : "IS SET BACK");
	if (burns) /* the kit of this archive: it may have been set back to another one's copy */
		w->identity = w->central.identity;
	world_close_central(w);
	if (burns) {
		w->kit = true;
		ramdisk_wipe(w->disk);
		births_central(w);
	} else {
		ramdisk_restore(w->disk, copy);
	}
	w->burnt_at = w->now;
	truth_forget_heads(w);
	w->forgot = true;
	world_open_central(w);
}

static void
cut(struct world *w, bool removed, bool yes)
{
	unsigned i;

	for (i = 0; i < w->n_edges; i++)
		if (is_removed(&w->edges[i]) == removed)
			w->edges[i].line.cut = yes;
}

static void
refill_removed(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n_edges; i++)
		if (is_removed(&w->edges[i]))
			faults_refill(&w->edges[i]);
}

/* --- what must be --- */

static void
look_at(struct sim_edge *e)
{
	struct world *w = e->w;
	struct member m = {.removed = false};
	struct store_tx *tx;

	if (w->wrong || !w->up || !e->by_init || store_begin_read(&tx, w->central.store, NULL))
		return;
	(void)member_get(tx, e->name, &m, NULL);
	store_end_read(tx);
	if (m.removed != is_removed(e))
		world_wrong(w, "%s was%s removed, and central says otherwise", e->name,
			    is_removed(e) ? "" : " not");
	else if (!m.removed && m.unvouched)
		world_wrong(w, "nobody vouches for %s", e->name);
}

void
removed_call(struct world *w)
{
	struct ramdisk_image *copy;
	unsigned i;

	if (!w->by_init || w->wrong)
		return;
	meet(w);
	copy = ramdisk_copy(w->disk);
	world_run(w, SIM_MINUTE); /* words that the copy does not know (R22) */
	if (!w->wrong)
		remove_two(w);
	world_run(w, SIM_MINUTE);
	if (!w->wrong) {
		forget(w, copy);
		cut(w, false, true);
		cut(w, true, false);
		world_run(w, SIM_MINUTE);
		refill_removed(w);
		world_run(w, SIM_MINUTE);
		cut(w, false, false);
		world_run(w, (int64_t)MINUTES * SIM_MINUTE);
	}
	for (i = 0; i < w->sites; i++)
		look_at(&w->edges[i]);
	ramdisk_image_free(copy);
}
