#include "tests/sim/said.h"

#include <stdlib.h>
#include <string.h>

#include "central/central_commands.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/store/decided.h"
#include "common/store/store.h"
#include "edge/edge_commands.h"
#include "proto/withdrawn.h"
#include "tests/sim/current.h"
#include "tests/sim/world.h"

enum { PATIENCE = 30 /* minutes */ };

enum what { RETRACT, RESTORE, CURRENT };

struct sim_said {
	enum what what;
	bool all; /* of the study */
	unsigned study, instance;
	char uid[UID_SIZE];
	unsigned char digest[SHA256_SIZE]; /* CURRENT */
	unsigned images;		   /* that there were */
	uint64_t number;
	bool kept;			 /* central has had it all the time */
	unsigned char key[IDENTITY_KEY]; /* that sealed it */
};

static bool
names(const struct sim_said *s, const struct sim_image *m)
{
	return s->study == m->study && (s->all || s->instance == m->instance);
}

/* The number under which a node has what was said; 0: it has nothing of it. */
static uint64_t
number_at(struct store *store, const struct sim_said *s)
{
	struct withdrawn said = {.rank = 0};
	struct decided d = {.number = 0};
	struct store_tx *tx;
	uint64_t n = 0;

	if (!store || store_begin_read(&tx, store, NULL))
		return 0;
	/* A central that a fire made forget counts on, and may have given the number again. */
	if (s->what == CURRENT && decided_get(tx, s->uid, &d, NULL) == 0 &&
	    memcmp(d.digests[0], s->digest, SHA256_SIZE) == 0)
		n = d.number;
	if (s->what != CURRENT && withdrawn_get(tx, s->uid, &said, NULL) == 0)
		n = said.rank;
	store_end_read(tx);
	return n;
}

static struct sim_said *
add(struct world *w, enum what what, const struct sim_image *m)
{
	struct sim_said *s;

	w->said = realloc(w->said, (w->n_said + 1) * sizeof(*w->said));
	if (!w->said)
		abort();
	s = memset(&w->said[w->n_said++], 0, sizeof(*s));
	s->what = what;
	s->study = m->study;
	s->instance = m->instance;
	s->images = w->n_images;
	memcpy(s->key, w->central.identity.key, sizeof(s->key));
	truth_uid(m, s->uid);
	return s;
}

/* Central has died of it, or its disk failed: it is in the log, or it is not. */
static void
note(struct world *w, struct sim_said *s, int code)
{
	uint64_t number = 0;

	if (code == 0 && store_settle(w->central.store, NULL) == 0)
		number = number_at(w->central.store, s);
	s->kept = number && !ramdisk_dead(w->disk);
	s->number = s->kept ? number : UINT64_MAX;
	world_look_after_central(w);
}

static bool
known(struct world *w, const struct sim_image *m)
{
	struct store_tx *tx;
	uint64_t oid;
	int rc;

	if (!w->up || store_begin_read(&tx, w->central.store, NULL))
		return false;
	rc = store_by_digest(tx, m->digest, &oid, NULL);
	store_end_read(tx);
	return rc == 0;
}

void
said_withdraw(struct world *w, const struct sim_image *m, bool study, bool retract)
{
	const char *words[] = {retract ? "retract" : "restore", NULL, "--reason", "wrong patient"};
	struct sim_said *s;

	if (!known(w, m))
		return;
	world_enter(w, &w->clock);
	s = add(w, retract ? RETRACT : RESTORE, m);
	s->all = study;
	if (study)
		truth_study(m, s->uid);
	words[1] = s->uid;
	world_say(w, "%s %u is %sed", study ? "study" : "image", study ? m->study : m->number,
		  words[0]);
	note(w, s, central_commands_run(&w->central, 4, words, NULL));
	w->seen[retract ? SEEN_RETRACTED : SEEN_RESTORED] += s->kept;
}

void
said_current(struct world *w, const struct sim_image *m)
{
	char hex[2 * SHA256_SIZE + 1];
	const char *words[] = {"conflicts", "resolve", NULL, hex, "--reason", "a person"};
	struct sim_said *s;

	if (!known(w, m))
		return;
	world_enter(w, &w->clock);
	s = add(w, CURRENT, m);
	memcpy(s->digest, m->digest, SHA256_SIZE);
	hex_of(m->digest, SHA256_SIZE, hex);
	words[2] = s->uid;
	world_say(w, "image %u is said to be current", m->number);
	note(w, s, central_commands_run(&w->central, 6, words, NULL));
	w->seen[SEEN_DECIDED] += s->kept;
}

void
said_lost(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n_said; i++)
		w->said[i].kept = false;
}

/* Of another central, whose key burnt: a person decides again (but for versions, R3). */
static bool
foreign(struct world *w, const struct sim_said *s)
{
	return s->what != CURRENT && w->by_init &&
	       memcmp(s->key, w->central.identity.key, sizeof(s->key)) != 0;
}

/* Whoever has it can give it back. */
static bool
certain(struct world *w, const struct sim_said *s, bool rest)
{
	unsigned i;

	if (s->number == UINT64_MAX)
		return false;
	if (s->kept || (w->up && number_at(w->central.store, s) >= s->number))
		return true;
	if (!rest || foreign(w, s) || w->old)
		return false;
	for (i = 0; i < w->n_edges; i++)
		if (w->edges[i].up && !w->edges[i].old &&
		    number_at(w->edges[i].edge.store, s) >= s->number)
			return true;
	return false;
}

/* s was said after best. A person's last word stands, also at a central that had been set back and
 * counted below (R22), unless it was set back again. */
static bool
is_above(const struct sim_said *s, const struct sim_said *best)
{
	return !best || s->kept || s->number >= best->number;
}

/* May that one be above best, which says otherwise? */
static bool
may_be_above(const struct sim_said *s, const struct sim_said *best, bool rest)
{
	if (!best || s > best)
		return true;
	return s->number >= best->number && !(rest && best->kept);
}

enum sim_withdrawn
said_withdrawn(struct world *w, const struct sim_image *m, bool rest)
{
	const struct sim_said *best = NULL;
	bool yes, doubt = false;
	unsigned i;

	for (i = 0; i < w->n_said; i++)
		if (w->said[i].what != CURRENT && names(&w->said[i], m) &&
		    certain(w, &w->said[i], rest) && is_above(&w->said[i], best))
			best = &w->said[i];
	yes = best && best->what == RETRACT;
	/* Another that may have been heard, and would be above it; or two lives gave one number. */
	for (i = 0; i < w->n_said; i++) {
		const struct sim_said *s = &w->said[i];

		if (s != best && s->what != CURRENT && names(s, m) && (s->what == RETRACT) != yes &&
		    may_be_above(s, best, rest))
			doubt = true;
	}
	return doubt ? SIM_MAYBE : yes ? SIM_WITHDRAWN : SIM_SHOWN;
}

/* --- at edges --- */

static bool
is_hidden(struct store *s, const unsigned char *digest, bool *hidden)
{
	struct version v = {.hidden = 0};
	struct store_tx *tx;
	uint64_t oid;
	int rc;

	if (!s || store_begin_read(&tx, s, NULL))
		return false;
	rc = store_by_digest(tx, digest, &oid, NULL);
	if (!rc)
		rc = store_version(tx, oid, &v, NULL);
	store_end_read(tx);
	*hidden = v.hidden & VERSION_WITHDRAWN;
	return rc == 0;
}

static bool
ever_restored(struct world *w, const struct sim_image *m)
{
	unsigned i;

	for (i = 0; i < w->n_said; i++)
		if (w->said[i].what == RESTORE && names(&w->said[i], m))
			return true;
	return false;
}

void
said_look(struct sim_edge *e, struct sim_image *m)
{
	uint32_t bit = 1u << e->number;
	bool hidden;

	if (!is_hidden(e->edge.store, m->digest, &hidden))
		return;
	if (hidden)
		m->hidden_at |= bit;
	else if (m->hidden_at & bit && !ever_restored(e->w, m))
		world_wrong(e->w, "%s shows image %u again, which was retracted", e->name,
			    m->number);
}

void
said_forget(struct sim_edge *e)
{
	unsigned i;

	for (i = 0; i < e->w->n_images; i++)
		e->w->images[i].hidden_at &= ~(1u << e->number);
}

/* --- at rest --- */

/* What a key sealed that burnt: central logs it, and a person decides again. */
static bool
any_foreign(struct world *w, const struct sim_image *m)
{
	unsigned i;

	for (i = 0; i < w->n_said; i++)
		if (foreign(w, &w->said[i]) && names(&w->said[i], m))
			return true;
	return false;
}

/* The first that hides what central shows, or the reverse. An end of the version before hears
 * nothing of it. */
static struct sim_edge *
differs(struct world *w, const struct sim_image *m)
{
	bool at_central, at_edge;
	unsigned i;

	if (w->old || any_foreign(w, m) || !is_hidden(w->central.store, m->digest, &at_central))
		return NULL;
	for (i = 0; i < w->n_edges; i++)
		if (w->edges[i].up && !w->edges[i].old &&
		    is_hidden(w->edges[i].edge.store, m->digest, &at_edge)) {
			if (at_edge != at_central)
				return &w->edges[i];
			w->seen[SEEN_HIDDEN_AT_EDGE] += at_edge;
		}
	return NULL;
}

void
said_look_at_central(struct world *w)
{
	bool hidden;
	unsigned i;

	for (i = 0; i < w->n_images && w->up && w->n_said; i++)
		if (is_hidden(w->central.store, w->images[i].digest, &hidden) && !hidden &&
		    said_withdrawn(w, &w->images[i], false) == SIM_WITHDRAWN)
			world_wrong(w, "central shows image %u, which was retracted", i);
}

/* Central has not heard yet what an edge remembers (R16). */
static bool
is_behind(struct world *w)
{
	enum sim_withdrawn is;
	bool hidden;
	unsigned i;

	for (i = 0; i < w->n_images && w->up; i++) {
		is = said_withdrawn(w, &w->images[i], true);
		if (is_hidden(w->central.store, w->images[i].digest, &hidden) && is != SIM_MAYBE &&
		    hidden != (is == SIM_WITHDRAWN))
			return true;
	}
	return false;
}

void
said_settle(struct world *w)
{
	unsigned minutes = 0;

	while (!w->wrong && is_behind(w) && minutes++ < PATIENCE)
		world_run(w, SIM_MINUTE);
}

/* R27: a person at each edge has looked. */
static void
accept_all(struct world *w)
{
	static const char *const words[] = {"retracts", "accept"};
	unsigned i;

	for (i = 0; i < w->n_edges; i++) {
		if (!w->edges[i].up)
			continue;
		world_enter(w, &w->edges[i].clock);
		(void)edge_commands_run(&w->edges[i].edge, 2, words, NULL);
		truth_look_at_ledger(&w->edges[i]);
	}
}

static void
hidden_final(struct world *w)
{
	unsigned i, minutes = 0;
	struct sim_edge *e;

	for (i = 0; i < w->n_images && !w->wrong; i++) {
		while (!w->wrong && differs(w, &w->images[i]) && minutes++ < PATIENCE) {
			accept_all(w);
			world_run(w, SIM_MINUTE);
		}
		e = w->wrong ? NULL : differs(w, &w->images[i]);
		if (e)
			world_wrong(w, "image %u is hidden at one of central and %s", i, e->name);
	}
}

/* Of the decisions about one UID; NULL: its number says nothing, or a later version came. */
static const struct sim_said *
last_word(struct world *w, const struct sim_said *first)
{
	const struct sim_said *last = first;
	unsigned i;

	for (i = 0; i < w->n_said; i++) {
		const struct sim_said *s = &w->said[i];

		if (s->what != CURRENT || strcmp(s->uid, first->uid) != 0)
			continue;
		if (s > first && (s->number <= last->number || s->number == UINT64_MAX))
			return NULL;
		last = s > last ? s : last;
	}
	for (i = last->images; i < w->n_images; i++)
		if (w->images[i].study == last->study && w->images[i].instance == last->instance)
			return NULL;
	return last;
}

/* Central knows the version that was chosen, and shows another one. */
static bool
shows_another(struct world *w, const struct sim_said *s)
{
	struct store_tx *tx;
	struct version v;
	uint64_t oid;
	bool yes;

	if (!w->up || store_begin_read(&tx, w->central.store, NULL))
		return false;
	yes = store_by_digest(tx, s->digest, &oid, NULL) == 0 &&
	      store_current(tx, s->uid, &v, NULL) == 0 &&
	      memcmp(v.digest, s->digest, SHA256_SIZE) != 0;
	store_end_read(tx);
	return yes;
}

/* R3: a lower decision never undoes a higher one. What a fire took the edges give back. */
static void
chosen_final(struct world *w, const struct sim_said *s)
{
	unsigned minutes = 0;

	while (!w->wrong && shows_another(w, s) && minutes++ < PATIENCE)
		world_run(w, SIM_MINUTE);
	if (w->wrong || !shows_another(w, s))
		return;
	current_say(w, s->uid);
	world_wrong(w, "central shows another version of %s than a person chose", s->uid);
}

void
said_final(struct world *w)
{
	const struct sim_said *last;
	unsigned i;

	hidden_final(w);
	for (i = 0; i < w->n_said && !w->wrong; i++) {
		last = w->said[i].what == CURRENT ? last_word(w, &w->said[i]) : NULL;
		if (last == &w->said[i] && certain(w, last, true))
			chosen_final(w, last);
	}
}
