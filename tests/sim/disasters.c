#include "tests/sim/disasters.h"

#include <stdio.h>
#include <stdlib.h>

#include "central/central.h"
#include "central/record.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/sim/count.h"
#include "tests/sim/faults.h"
#include "tests/sim/people.h"
#include "tests/sim/said.h"
#include "tests/sim/truth.h"
#include "tests/sim/watch.h"
#include "tests/sim/world.h"

enum { NOT_MOUNTED_HOURS = 12, STARTS = 3, PACKED_MAX = 256, PAST_MAX = 60, MINUTES = 10 };

/* All nodes are there, and as a rule something is under way. */
static bool
ready(struct world *w)
{
	if (!world_all_up(w))
		return false;
	faults_rush(w);
	return world_all_up(w);
}

static void
nothing_known(struct world *w)
{
	unsigned i;

	said_lost(w);
	for (i = 0; i < w->n_images; i++)
		w->images[i].known = false;
}

/* --- bits --- */

static bool
rot_edge(struct sim_edge *e)
{
	uint64_t oids[PACKED_MAX];
	unsigned n = watch_packed(e, oids, PACKED_MAX), i;

	if (!ramdisk_rot_value(e->disk, "chunk", world_chance(e->w, 700), &e->w->rng.r))
		return false;
	world_enter(e->w, &e->clock);
	for (i = 0; i < n; i++)
		e->w->seen[SEEN_DAMAGE_IN_UPLOAD] +=
			store_check(e->edge.store, oids[i], NULL) == ERR_CORRUPT;
	return true;
}

void
disasters_rot(struct world *w)
{
	bool central = world_chance(w, 600);
	struct sim_edge *e = faults_edge(w);

	if (!ready(w))
		return;
	if (!central) /* rather one whose images travel now */
		e = watch_uploading(w, e);
	if (!(central ? ramdisk_rot(w->disk, ".tar", &w->rng.r) : rot_edge(e)))
		return;
	world_say(w, "%s: a bit turned", central ? "central" : e->name);
	w->seen[SEEN_ROT]++;
	if (central)
		truth_rot_at_central(w);
	truth_after_damage(w, "a bit");
	if (world_chance(w, 300))
		watch_view_damaged(w, central ? NULL : e);
	if (!central && world_chance(w, 600))
		truth_send_all_again(e);
}

/* --- central --- */

void
disasters_central_burns(struct world *w)
{
	if (!ready(w))
		return;
	w->kit = world_chance(w, 500);
	world_say(w, "CENTRAL BURNS%s", w->kit && w->by_init ? ", and its kit is at hand" : "");
	w->seen[SEEN_CENTRAL_BURNT]++;
	world_close_central(w);
	ramdisk_wipe(w->disk);
	ramdisk_die_at(w->disk, 0);
	ramdisk_fail(w->disk, 0, 0);
	births_central(w);
	w->burnt_at = w->now;
	w->fires++;
	truth_forget_heads(w);
	w->restart_at = w->now + (int64_t)world_below(w, 3 * SIM_HOUR);
	truth_after_damage(w, "the fire at central");
	nothing_known(w);
	if (world_chance(w, 500)) { /* it is there again, and all is owed */
		world_run(w, w->restart_at - w->now + (int64_t)world_below(w, SIM_MINUTE));
		count_exposure(w);
	}
}

static bool
any_cut(const struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n_edges; i++)
		if (w->edges[i].line.cut || w->edges[i].line.cut_back)
			return true;
	return false;
}

/* Somebody restores a copy of central's disk: everything since is gone there. */
static void
set_central_back(struct world *w, bool copy)
{
	world_close_central(w);
	if (!w->copy || copy) {
		world_say(w, "central: a copy is made");
		ramdisk_image_free(w->copy);
		w->copy = ramdisk_copy(w->disk);
	} else {
		world_say(w, "CENTRAL IS SET BACK");
		ramdisk_restore(w->disk, w->copy);
		w->burnt_at = w->now;
		truth_forget_heads(w);
		w->seen[SEEN_CENTRAL_BACK]++;
		w->seen[SEEN_CENTRAL_BACK_WHILE_CUT] += any_cut(w);
		nothing_known(w);
	}
	world_open_central(w);
	truth_after_damage(w, "the old copy of central");
}

void
disasters_central_back(struct world *w)
{
	if (ready(w))
		set_central_back(w, world_chance(w, 300));
}

/* Somebody restores a copy of an edge's disk, and does not think of what came since. */
static void
set_edge_back(struct sim_edge *e)
{
	struct world *w = e->w;

	world_say(w, "%s IS SET BACK%s", e->name, e->line.cut ? ", and is cut" : "");
	w->seen[SEEN_EDGE_BACK]++;
	truth_before_fire(w);
	world_close_edge(e);
	ramdisk_restore(e->disk, e->copy);
	ramdisk_die_at(e->disk, 0);
	ramdisk_fail(e->disk, 0, 0);
	world_open_edge(e);
	truth_set_back(e);
	truth_after_damage(w, "the old copy of an edge");
}

static void
copy_edge(struct sim_edge *e)
{
	world_say(e->w, "%s: a copy is made", e->name);
	world_close_edge(e);
	ramdisk_image_free(e->copy);
	e->copy = ramdisk_copy(e->disk);
	world_open_edge(e);
}

/* R8: nobody can tell it, and it goes on past what central knows of it. */
static void
go_past(struct sim_edge *e)
{
	struct world *w = e->w;
	uint64_t head = truth_announced(e);
	unsigned i;

	for (i = 0; i < PAST_MAX && e->up && !w->wrong && truth_head(e) <= head; i++)
		truth_send(e, false);
	w->seen[SEEN_EDGE_BACK_PAST] += e->up && truth_head(e) > head;
}

static struct sim_edge *
copied_edge(struct world *w)
{
	struct sim_edge *e = faults_edge(w);
	unsigned i;

	for (i = 0; i < w->n_edges && !e->copy; i++)
		e = &w->edges[(e->number + 1) % w->n_edges];
	return e;
}

void
disasters_edge_back(struct world *w)
{
	struct sim_edge *e = copied_edge(w);

	if (!ready(w))
		return;
	if (!e->copy || world_chance(w, 300)) {
		copy_edge(e);
		return;
	}
	if (world_chance(w, 400))
		e->line.cut = true;
	set_edge_back(e);
	if (e->line.cut && world_chance(w, 700))
		go_past(e);
}

void
disasters_both_back(struct world *w)
{
	struct sim_edge *e = copied_edge(w);

	if (!ready(w))
		return;
	if (!e->copy || !w->copy) {
		copy_edge(e);
		set_central_back(w, true);
		return;
	}
	set_edge_back(e);
	set_central_back(w, false);
	w->seen[SEEN_BOTH_BACK]++;
}

/* R8: a copy of a disk is started on another machine, and both go on. NULL: it is not. */
static struct sim_edge *
copy_node(struct sim_edge *e)
{
	struct world *w = e->w;
	struct sim_edge *twin;

	world_close_edge(e);
	twin = world_clone(e);
	world_open_edge(e);
	if (twin)
		world_say(w, "%s HAS A TWIN, node %u", e->name, twin->number);
	return twin;
}

void
disasters_quiet_twin(struct world *w)
{
	unsigned i;

	if (w->old)
		return;
	for (i = 0; i < w->sites && (w->edges[i].twin || w->edges[i].old); i++)
		continue;
	if (i == w->sites || !copy_node(&w->edges[i]))
		return;
	w->seen[SEEN_QUIET_TWINS]++;
	world_run(w, MINUTES * SIM_MINUTE);
	truth_incarnations(w);
}

void
disasters_twin(struct world *w)
{
	struct sim_edge *e = faults_edge(w), *twin;
	unsigned i;

	if (e->number >= w->sites || !ready(w))
		return;
	twin = copy_node(e);
	if (!twin)
		return;
	w->seen[SEEN_TWINS]++;
	for (i = 0; i < w->n_images; i++) {
		if (w->images[i].sites & 1u << e->number)
			w->images[i].sites |= 1u << twin->number;
		if (w->images[i].promised & 1u << e->number)
			w->images[i].promised |= 1u << twin->number;
	}
	if (world_chance(w, 500)) { /* somebody looks soon */
		world_run(w, MINUTES * SIM_MINUTE);
		people_keep(world_chance(w, 500) ? e : twin);
	}
}

/* A person starts it, and does what it asks for. */
static void
start_central(struct world *w)
{
	static const enum central_mode modes[STARTS] = {CENTRAL_SERVE, CENTRAL_MISSING,
							CENTRAL_REBUILD};
	unsigned i;

	ramdisk_die_at(w->disk, 0);
	ramdisk_fail(w->disk, 0, 0);
	for (i = w->mode == CENTRAL_REBUILD ? STARTS - 1 : 0; !w->up && i < STARTS; i++) {
		w->mode = modes[i];
		world_open_central(w);
	}
	if (!w->up)
		world_wrong(w, "central cannot be started, whatever one does");
}

/* Packs and log are the archive: nothing is lost (R16). */
void
disasters_catalogue_lost(struct world *w)
{
	struct id128 before, after;

	if (!ready(w))
		return;
	/* What took the one hit the other as well. */
	if (world_chance(w, 500) && ramdisk_rot(w->disk, ".tar", &w->rng.r)) {
		truth_rot_at_central(w);
		truth_after_damage(w, "a bit");
	}
	central_epoch(&w->central, &before);
	world_say(w, "central: THE CATALOGUE IS LOST");
	w->seen[SEEN_CATALOGUE_LOST]++;
	world_close_central(w);
	ramdisk_wipe_below(w->disk, "/sim/central/catalogue");
	w->mode = world_chance(w, 500) ? CENTRAL_REBUILD : CENTRAL_SERVE;
	start_central(w);
	truth_after_damage(w, "the lost catalogue");
	if (!w->up)
		return;
	central_epoch(&w->central, &after);
	if (id128_same(&before, &after)) /* R16, R22 */
		world_wrong(w, "central made its catalogue anew, and goes on in the same epoch");
}

/* The packs, or all of the vault where nothing forbids to begin it anew. */
static void
lose_vault(struct world *w, bool all)
{
	world_say(w, "central: THE %s LOST", all ? "VAULT IS" : "PACKS ARE");
	w->seen[SEEN_VAULT_LOST]++;
	world_close_central(w);
	ramdisk_wipe_below(w->disk, all ? "/sim/central/vault" : "/sim/central/vault/packs");
	w->burnt_at = w->now;
	if (all) {
		nothing_known(w);
		truth_forget_heads(w);
	}
	start_central(w);
	truth_after_damage(w, "the lost vault");
}

void
disasters_vault_lost(struct world *w)
{
	bool all = !w->by_init && world_chance(w, 500);

	if (ready(w))
		lose_vault(w, all);
}

/* --- what is never shown again --- */

/* *here: its bytes are. */
static bool
is_known(struct world *w, const struct sim_image *m, bool *here)
{
	struct version v = {.state = VERSION_ELSEWHERE};
	struct store_tx *tx;
	uint64_t oid;
	int rc;

	*here = false;
	if (!w->up || store_begin_read(&tx, w->central.store, NULL))
		return false;
	rc = store_by_digest(tx, m->digest, &oid, NULL);
	if (!rc)
		rc = store_version(tx, oid, &v, NULL);
	store_end_read(tx);
	*here = v.state == VERSION_HERE;
	return !rc;
}

/* R15: whoever brings it. */
static void
look_at_imported(struct world *w, const bool *was_here)
{
	unsigned i;
	bool here;

	for (i = 0; i < w->n_images; i++)
		if (said_withdrawn(w, &w->images[i], false) == SIM_WITHDRAWN && !was_here[i] &&
		    is_known(w, &w->images[i], &here))
			w->seen[SEEN_RETRACTED_IMPORTED] += here;
}

static void
import(struct world *w)
{
	bool *here = calloc(w->n_images + 1, sizeof(*here));
	unsigned i;

	if (!here)
		abort();
	for (i = 0; i < w->n_images; i++)
		(void)is_known(w, &w->images[i], &here[i]);
	world_close_central(w);
	i = ramdisk_import(w->disk, w->copy, ".tar");
	world_say(w, "central: %u packs of an old disk are put into its vault", i);
	w->seen[SEEN_IMPORTED] += i > 0;
	world_open_central(w);
	world_look_after_central(w);
	look_at_imported(w, here);
	free(here);
}

/* Packs of an older disk are put into the vault; it may lack more than these. */
void
disasters_import(struct world *w)
{
	if (!ready(w))
		return;
	if (!w->copy) {
		set_central_back(w, true);
		return;
	}
	if (world_chance(w, 600)) {
		lose_vault(w, false);
		people_retract(w);
		world_run(w, (int64_t)world_below(w, SIM_MINUTE));
		if (!world_all_up(w))
			return;
	}
	import(w);
}

/* --- edges --- */

static void
lose_disk(struct sim_edge *e)
{
	struct world *w = e->w;

	truth_before_fire(w);
	world_close_edge(e);
	ramdisk_wipe(e->disk);
	ramdisk_die_at(e->disk, 0);
	ramdisk_fail(e->disk, 0, 0);
	births_edge(e);
	truth_lost_site(e);
	e->seen = 0;
	e->looked_at = UINT64_MAX;
	e->twin = false;
}

void
disasters_site_burns(struct world *w)
{
	struct sim_edge *e = faults_edge(w);
	struct err err = ERR_INIT;

	if (!ready(w))
		return;
	world_say(w, "%s BURNS", e->name);
	w->seen[SEEN_SITE_BURNT]++;
	w->fires++;
	lose_disk(e);
	truth_after_damage(w, "the fire at a site");
	world_enter(w, &w->clock);
	if (w->up && /* it may have died of what was still on its way */
	    record_decision(&w->central, SYNC__DECISION_KIND__DECISION_CLOSE, e->name, NULL,
			    "burnt", &err))
		world_say(w, "site lost: %s", err.what);
	world_look_after_central(w);
	world_open_edge(e);
	world_run(w, SIM_MINUTE);
	if (world_chance(w, 500))
		faults_refill(e);
}

/* Its successor's first hello is all that central hears of it. */
void
disasters_emptied(struct world *w)
{
	struct sim_edge *e = faults_edge(w);

	if (!ready(w))
		return;
	world_say(w, "%s: ITS DISK IS EMPTY", e->name);
	w->seen[SEEN_EMPTIED]++;
	lose_disk(e);
	truth_after_damage(w, "the empty disk");
	world_open_edge(e);
}

/* --- disks that are not there for a while --- */

static void
unmount(struct world *w, bool central, struct sim_edge *e)
{
	static const char *const vault[] = {"/sim/central", "/sim/central/vault",
					    "/sim/central/vault/log"};
	int64_t until =
		w->now + 1 + (int64_t)world_below(w, NOT_MOUNTED_HOURS * (uint64_t)SIM_HOUR);
	char dir[SIM_PATH + 8];

	if (central) {
		world_close_central(w);
		ramdisk_hide(w->disk, vault[world_below(w, 3)]);
		w->mount_at = until;
		w->restart_at = w->now + 1;
		return;
	}
	world_close_edge(e);
	(void)snprintf(dir, sizeof(dir), "%s%s", e->dir, world_chance(w, 500) ? "/store" : "");
	ramdisk_hide(e->disk, dir);
	e->mount_at = until;
	e->restart_at = w->now + 1;
}

void
disasters_not_mounted(struct world *w)
{
	bool central = w->by_init && world_chance(w, 400);
	struct sim_edge *e = faults_edge(w);

	if ((!central && !e->by_init) || !ready(w))
		return;
	world_say(w, "%s: ITS DISK IS NOT MOUNTED", central ? "central" : e->name);
	unmount(w, central, e);
}
