#include "tests/sim/current.h"

#include <string.h>

#include "common/base/err.h"
#include "common/store/decided.h"
#include "common/store/store.h"
#include "tests/sim/truth.h"
#include "tests/sim/world.h"

enum {
	PATIENCE = 30,	 /* minutes: a hello, the list, and what has to be fetched */
	PAGES = 64 << 10 /* heads of chunks, rows of the index */
};

/* What viewers get of it at a node; false: it knows none. */
static bool
shown(struct store *s, const char *uid, struct version *v)
{
	struct store_tx *tx;
	int rc;

	if (!s || store_begin_read(&tx, s, NULL))
		return false;
	rc = store_current(tx, uid, v, NULL);
	store_end_read(tx);
	return rc == 0;
}

/* A fire took all that told of the version that was chosen: an edge may have heard of it, central
 * waits for whoever announces it. */
static bool
forgotten(struct store *s, const char *uid)
{
	struct decided_state d;
	struct store_tx *tx;
	bool yes = false;

	if (store_begin_read(&tx, s, NULL))
		return false;
	if (decided_state(tx, uid, &d, NULL) == 0) {
		yes = d.number && !d.known;
		decided_state_fini(&d);
	}
	store_end_read(tx);
	return yes;
}

/* It says that it does not show what was decided, and has no room for it (R12). */
static bool
cannot(struct sim_edge *e, const char *uid, uint64_t size)
{
	struct store_tx *tx;
	bool says;

	if (store_begin_read(&tx, e->edge.store, NULL))
		return false;
	says = decided_is_undecided(tx, uid);
	store_end_read(tx);
	return says && store_admit(e->edge.store, size, NULL) == ERR_FULL;
}

/* It was refilled with the list of another site; both that site and central burnt since. */
static bool
memory_alone(struct world *w, const struct version *v)
{
	struct store_tx *tx;
	uint64_t oid;
	int rc;

	if (v->state == VERSION_HERE || store_begin_read(&tx, w->central.store, NULL))
		return false;
	rc = store_by_digest(tx, v->digest, &oid, NULL);
	store_end_read(tx);
	return rc == ERR_ABSENT;
}

/* The first that shows another one than central does; NULL: none. What central chose and has lost
 * nobody can show; what it hides it gives to nobody (R15). An end of the version before hears no
 * decisions. */
static struct sim_edge *
differs(struct world *w, const char *uid)
{
	struct version at_central, v;
	unsigned i;

	if (w->old || !w->up || !shown(w->central.store, uid, &at_central) ||
	    at_central.state != VERSION_HERE || at_central.hidden ||
	    forgotten(w->central.store, uid))
		return NULL;
	for (i = 0; i < w->n_edges; i++) {
		struct sim_edge *e = &w->edges[i];

		if (e->up && !e->old && shown(e->edge.store, uid, &v) &&
		    memcmp(v.digest, at_central.digest, SHA256_SIZE) != 0 && !memory_alone(w, &v) &&
		    !cannot(e, uid, at_central.size + PAGES))
			return e;
	}
	return NULL;
}

static void
say_how(struct world *w, const char *who, struct store *s, const char *uid)
{
	struct decided said = {.number = 0};
	struct decided_state d;
	struct store_tx *tx;
	size_t i;

	if (!w->loud || !s || store_begin_read(&tx, s, NULL))
		return;
	if (decided_get(tx, uid, &said, NULL) == 0)
		world_say(w, "  %s: decision %llu%s, as %llu again, chose %02x%02x of %zu", who,
			  (unsigned long long)said.number, said.person ? " by a person" : "",
			  (unsigned long long)said.origin, said.digests[0][0], said.digests[0][1],
			  said.n);
	if (decided_state(tx, uid, &d, NULL) == 0) {
		world_say(w, "  %s: decision %llu, %scovered, current %zu, chosen %zu of %zu", who,
			  (unsigned long long)d.number, d.covered ? "" : "not ", d.current,
			  d.target, d.n);
		for (i = 0; i < d.n; i++)
			world_say(w, "    %02x%02x state %d hidden %u relation %d from %s",
				  d.versions[i].digest[0], d.versions[i].digest[1],
				  (int)d.versions[i].state, d.versions[i].hidden,
				  (int)d.versions[i].relation, d.versions[i].source.site);
		decided_state_fini(&d);
	}
	store_end_read(tx);
}

void
current_say(struct world *w, const char *uid)
{
	unsigned i;

	say_how(w, "central", w->central.store, uid);
	for (i = 0; i < w->n_edges; i++)
		say_how(w, w->edges[i].name, w->edges[i].edge.store, uid);
}

void
current_final(struct world *w)
{
	unsigned i, minutes = 0;
	struct sim_edge *e;
	char uid[UID_SIZE];

	for (i = 0; i < w->n_images && !w->wrong; i++) {
		truth_uid(&w->images[i], uid);
		while (!w->wrong && differs(w, uid) && minutes++ < PATIENCE)
			world_run(w, SIM_MINUTE);
		e = w->wrong ? NULL : differs(w, uid);
		if (!e)
			continue;
		current_say(w, uid);
		world_wrong(w, "%s shows another version of %s than central", e->name, uid);
	}
}
