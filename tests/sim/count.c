#include "tests/sim/count.h"

#include <stdio.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/figures.h"
#include "central/tally.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/sim/truth.h"
#include "tests/sim/world.h"

/* --- at rest --- */

static enum tally_state
state_of(const struct sim_image *m)
{
	return m->withdrawn == SIM_WITHDRAWN ? TALLY_WITHDRAWN : m->there ? TALLY_HELD : TALLY_LOST;
}

struct counting {
	struct world *w;
	const char *site; /* NULL: all */
	uint32_t bit;
	uint64_t known, of[TALLY_STATES];
};

static int
count(void *arg, const struct tally_item *item, struct err *err)
{
	struct counting *c = arg;
	struct sim_image *m = truth_image(c->w, item->v->digest);
	const char *where = c->site ? c->site : "central";

	(void)err;
	c->known++;
	c->of[item->state]++;
	if (!m) {
		world_wrong(c->w, "%s: an image is counted that nobody sent", where);
		return 0;
	}
	m->listed = m->listed || !c->site;
	m->counted |= c->bit;
	if (m->withdrawn == SIM_MAYBE && item->state == TALLY_WITHDRAWN)
		return 0;
	if (item->state != state_of(m))
		world_wrong(c->w, "%s: image %u is %s, and counted as %s", where, m->number,
			    tally_name(state_of(m)), tally_name(item->state));
	return 0;
}

/* known = held + owed + lost + withdrawn, and the numbers are those of the list. */
static void
compare(struct counting *c, const struct tally *t)
{
	uint64_t known = 0, sum = 0, of[TALLY_STATES] = {0};
	size_t i;
	int k;

	for (i = 0; i < t->n; i++) {
		if (t->rows[i].leader != i || strcmp(t->rows[i].site.site, c->site) != 0)
			continue;
		known = t->rows[i].site_known;
		memcpy(of, t->rows[i].site_of, sizeof(of));
	}
	for (k = 0; k < TALLY_STATES; k++) {
		sum += of[k];
		if (of[k] != c->of[k])
			world_wrong(c->w, "%s: %llu are %s, and %llu are listed", c->site,
				    (unsigned long long)of[k], tally_name((enum tally_state)k),
				    (unsigned long long)c->of[k]);
	}
	if (known != sum || known != c->known)
		world_wrong(c->w, "%s: %llu are known, %llu by state, %llu listed", c->site,
			    (unsigned long long)known, (unsigned long long)sum,
			    (unsigned long long)c->known);
}

static void
count_site(struct world *w, struct store_tx *tx, const struct tally *t, const struct sim_edge *e)
{
	struct counting c = {.w = w, .site = e->name, .bit = 1u << e->number};
	unsigned i;

	if (tally_each(tx, e->name, count, &c, NULL))
		world_wrong(w, "the tally of %s cannot be made", e->name);
	compare(&c, t);
	for (i = 0; i < w->n_images; i++)
		if (w->images[i].sites & c.bit && !(w->images[i].counted & c.bit))
			world_wrong(w, "%s has announced image %u, which is in no list of its own",
				    e->name, i);
}

/* R18: the one without counting, the other from each claim. */
static void
compare_figures(struct world *w, const struct tally *counted, const struct tally *running)
{
	size_t i;

	if (counted->damaged != running->damaged)
		world_wrong(w, "%llu images are damaged, and the figures say %llu",
			    (unsigned long long)counted->damaged,
			    (unsigned long long)running->damaged);
	for (i = 0; i < counted->n; i++) {
		const struct tally_row *a = &counted->rows[i], *b = &running->rows[i];

		if (a->site_known != b->site_known ||
		    memcmp(a->site_of, b->site_of, sizeof(a->site_of)) != 0 ||
		    a->site_owed_bytes != b->site_owed_bytes ||
		    a->site_owed_seconds != b->site_owed_seconds ||
		    memcmp(&a->site_exposure, &b->site_exposure, sizeof(a->site_exposure)) != 0)
			world_wrong(w, "the figures of %s are not what a count says", a->site.site);
	}
}

void
count_figures(struct world *w)
{
	struct tally counted, running;
	struct store_tx *tx;

	if (!w->up)
		return;
	world_enter(w, &w->clock);
	if (store_begin_read(&tx, w->central.store, NULL))
		return;
	if (!tally_make(&counted, tx, NULL)) {
		if (!figures_tally(&running, tx, NULL)) {
			compare_figures(w, &counted, &running);
			tally_free(&running);
		}
		tally_free(&counted);
	}
	store_end_read(tx);
}

void
count_final(struct world *w)
{
	struct counting all = {.w = w};
	struct store_tx *tx;
	struct tally t;
	unsigned i;

	if (store_begin_read(&tx, w->central.store, NULL))
		return;
	if (tally_each(tx, NULL, count, &all, NULL) || figures_tally(&t, tx, NULL)) {
		world_wrong(w, "no tally can be made");
	} else {
		for (i = 0; i < w->n_edges; i++)
			count_site(w, tx, &t, &w->edges[i]);
		tally_free(&t);
	}
	store_end_read(tx);
	for (i = 0; i < w->n_images; i++)
		if (w->images[i].acknowledged && !w->images[i].listed &&
		    (w->images[i].sites || w->images[i].known))
			world_wrong(w, "image %u was announced%s, and is in no list (sites %x)", i,
				    w->images[i].known ? ", and central knew it" : "",
				    w->images[i].sites);
}

/* --- exposure --- */

struct saying { /* what one ledger says, as far as central has it */
	struct world *w;
	uint32_t bit;
	uint64_t head;
};

static int
say(void *arg, uint64_t seq, const unsigned char hash[SHA256_SIZE], const void *p, size_t n,
    struct err *err)
{
	struct saying *s = arg;
	Sync__LedgerEntry *entry;
	struct sim_image *m;

	(void)hash;
	(void)err;
	if (seq > s->head)
		return ERR_AGAIN;
	entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
	m = entry && entry->digest.len == SHA256_SIZE ? truth_image(s->w, entry->digest.data)
						      : NULL;
	if (m && ledger_says_has((int)entry->kind))
		m->said |= s->bit;
	else if (m)
		m->said &= ~s->bit;
	message_free(entry);
	return 0;
}

struct opened {
	struct world *w;
	bool others; /* an incarnation that is no edge's now is still open */
};

static int
note_open(void *arg, const struct site_row *row, struct err *err)
{
	struct opened *o = arg;
	unsigned i;

	(void)err;
	for (i = 0; i < o->w->n_edges; i++)
		if (id128_same(&o->w->edges[i].edge.incarnation, &row->incarnation))
			return 0;
	o->others = o->others || !row->closed;
	return 0;
}

/* false: who says what cannot be told from here. */
static bool
ask_all(struct world *w, struct store_tx *tx)
{
	struct opened o = {.w = w};
	unsigned char hash[SHA256_SIZE];
	struct site_row row;
	struct store_tx *own;
	unsigned i;

	if (w->n_edges > w->sites) /* one building, or two? */
		return false;
	if (site_each(tx, note_open, &o, NULL) || o.others)
		return false;
	for (i = 0; i < w->n_images; i++)
		w->images[i].said = 0;
	for (i = 0; i < w->n_edges; i++) {
		struct sim_edge *e = &w->edges[i];
		struct saying s = {w, 1u << i, 0};

		if (site_get(tx, &e->edge.incarnation, &row, NULL) || row.closed)
			continue;
		s.head = row.head.seq;
		if (store_begin_read(&own, e->edge.store, NULL))
			return false;
		if (ledger_hash(own, s.head, hash, NULL) ||
		    memcmp(hash, row.head.hash, SHA256_SIZE) != 0) {
			store_end_read(own); /* it was set back, and does not know it yet */
			return false;
		}
		(void)ledger_read(own, 1, say, &s, NULL);
		store_end_read(own);
	}
	return true;
}

static bool
held(struct store_tx *tx, const struct sim_image *m, uint64_t *size)
{
	struct version v;
	uint64_t oid;

	*size = 0;
	if (store_by_digest(tx, m->digest, &oid, NULL) || store_version(tx, oid, &v, NULL))
		return false;
	*size = v.size;
	return v.state == VERSION_HERE || v.hidden & VERSION_WITHDRAWN;
}

static void
compare_exposure(struct world *w, struct store_tx *tx, const struct tally *t)
{
	struct exposure own[EDGES_MAX];
	uint64_t size;
	unsigned i;
	size_t k;

	memset(own, 0, sizeof(own));
	for (i = 0; i < w->n_images; i++) {
		struct sim_image *m = &w->images[i];

		if (!m->said || m->said & (m->said - 1) || held(tx, m, &size))
			continue;
		own[__builtin_ctz(m->said)].instances++;
		own[__builtin_ctz(m->said)].bytes += size;
		w->seen[SEEN_EXPOSED]++;
	}
	for (i = 0; i < w->n_edges; i++)
		for (k = 0; k < t->n; k++) {
			const struct exposure *x = &t->rows[k].site_exposure;

			if (t->rows[k].leader != k ||
			    strcmp(t->rows[k].site.site, w->edges[i].name) != 0 ||
			    (x->instances == own[i].instances && x->bytes == own[i].bytes))
				continue;
			world_wrong(w, "%s: %llu images exist nowhere else, and %llu are shown",
				    w->edges[i].name, (unsigned long long)own[i].instances,
				    (unsigned long long)x->instances);
		}
}

void
count_exposure(struct world *w)
{
	struct store_tx *tx;
	struct tally t;

	if (!world_all_up(w))
		return;
	world_enter(w, &w->clock);
	if (store_begin_read(&tx, w->central.store, NULL))
		return;
	if (ask_all(w, tx) && !figures_tally(&t, tx, NULL)) {
		compare_exposure(w, tx, &t);
		tally_free(&t);
	}
	store_end_read(tx);
}
