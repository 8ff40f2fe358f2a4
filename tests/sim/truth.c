#include "tests/sim/truth.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dimse/message.h"
#include "common/store/store.h"
#include "edge/keep.h"
#include "edge/outbox.h"
#include "edge/wanted.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/gen/gen.h"
#include "tests/lib/send.h"
#include "tests/sim/asks.h"
#include "tests/sim/count.h"
#include "tests/sim/current.h"
#include "tests/sim/people.h"
#include "tests/sim/promised.h"
#include "tests/sim/said.h"
#include "tests/sim/watch.h"

enum {
	PER_STUDY = 4,
	SIDE = 4,
	LARGE_SIDE = 250,
	LARGE = 30,
	OTHER = 30,
	NEW = 30,     /* images */
	MAGNETIC = 80 /* of 1000 */
};

struct sim_image *
truth_image(struct world *w, const unsigned char *digest)
{
	unsigned i;

	for (i = 0; i < w->n_images; i++)
		if (memcmp(w->images[i].digest, digest, SHA256_SIZE) == 0)
			return &w->images[i];
	return NULL;
}

static const char *
short_name(const struct sim_image *m, char out[32])
{
	(void)snprintf(out, 32, "image %u", m->number);
	return out;
}

static void
recipe(const struct sim_image *m, struct gen *g)
{
	gen_init(g);
	g->study = m->study;
	g->instance = 1 + m->instance;
	if (m->described)
		g->description = "corrected";
	g->rows = g->columns = m->side;
	g->seed = m->pixels;
	if (m->magnetic)
		g->modality = "MR";
}

void
truth_uid(const struct sim_image *m, char out[UID_SIZE])
{
	struct gen g;

	recipe(m, &g);
	gen_uid(out, g.study, g.series, g.instance);
}

void
truth_study(const struct sim_image *m, char out[UID_SIZE])
{
	gen_uid(out, m->study, 0, 0);
}

/* of: NULL, or whose UID it has as well. */
static struct sim_image *
new_image(struct world *w, unsigned edge, unsigned of)
{
	struct sim_image *m, *same;
	struct buf file = BUF_INIT;
	struct gen g;

	w->images = realloc(w->images, (w->n_images + 1) * sizeof(*w->images));
	if (!w->images)
		abort();
	m = &w->images[w->n_images];
	memset(m, 0, sizeof(*m));
	m->number = w->n_images++;
	m->edge = edge;
	if (of < m->number) { /* R3: a revision, or a conflict */
		m->study = w->images[of].study;
		m->instance = w->images[of].instance;
		m->side = w->images[of].side;
		m->magnetic = w->images[of].magnetic;
		m->described = world_chance(w, 500) && !w->images[of].described;
		m->pixels = m->described ? w->images[of].pixels : m->number;
		w->seen[SEEN_VERSIONS]++;
	} else {
		m->study = 1 + edge * 10000 + m->number / PER_STUDY;
		m->instance = m->number;
		m->pixels = m->number;
		m->side = world_chance(w, LARGE) ? LARGE_SIDE : SIDE;
		m->magnetic = world_chance(w, MAGNETIC);
	}
	recipe(m, &g);
	gen_file(&file, &g);
	sha256_of(file.data, file.len, m->digest);
	buf_fini(&file);
	same = truth_image(w, m->digest);
	if (same != m) /* that correction was made before */
		w->n_images--;
	return same;
}

static void
send_it(struct sim_edge *e, struct sim_image *m)
{
	struct world *w = e->w;
	bool drains = atomic_load(&e->edge.drains);
	unsigned status;
	struct gen g;

	recipe(m, &g);
	world_enter(w, &e->clock);
	status = send_image(&e->edge, &g);
	if (status == 0 && drains)
		world_wrong(w, "%s takes images in, and another copy is the site's", e->name);
	if (status) {
		w->refused++;
		w->seen[SEEN_FULL] += status == STATUS_OUT_OF_RESOURCES;
		w->seen[SEEN_FULL_IN_DARK] +=
			status == STATUS_OUT_OF_RESOURCES && keep_in_the_dark(&e->edge);
	}
	if (status == 0)
		m->sites |= 1u << e->number;
	if (status == 0 && (!m->acknowledged || m->gone)) {
		m->acknowledged = true;
		m->gone = false;
		m->edge = e->number;
	}
	truth_look_at_ledger(e);
	world_look_after_edge(e);
}

/* As often as not a new one: it may be on its way from elsewhere. */
static struct sim_image *
some_image(struct world *w)
{
	unsigned n = w->n_images > NEW && world_chance(w, 500) ? NEW : w->n_images;

	return &w->images[w->n_images - 1 - (unsigned)world_below(w, n)];
}

void
truth_send(struct sim_edge *e, bool again)
{
	struct world *w = e->w;
	struct sim_image *m;

	if (again && w->n_images)
		m = some_image(w);
	else if (w->n_images && world_chance(w, OTHER))
		m = new_image(w, e->number, (unsigned)world_below(w, w->n_images));
	else
		m = new_image(w, e->number, UINT_MAX);
	if (e->up)
		send_it(e, m);
}

void
truth_send_newest(struct sim_edge *e)
{
	if (e->up && e->w->n_images)
		send_it(e, &e->w->images[e->w->n_images - 1]);
}

void
truth_send_all_again(struct sim_edge *e)
{
	unsigned i;

	world_say(e->w, "%s: everything is sent again", e->name);
	for (i = 0; i < e->w->n_images; i++)
		if (e->up && e->w->images[i].acknowledged && e->w->images[i].edge == e->number)
			send_it(e, &e->w->images[i]);
}

/* --- where an image is --- */

int
truth_check(struct store *s, const unsigned char *digest)
{
	struct store_tx *tx;
	uint64_t oid;
	int rc = store_begin_read(&tx, s, NULL);

	if (rc)
		return rc;
	rc = store_by_digest(tx, digest, &oid, NULL);
	store_end_read(tx);
	return rc ? rc : store_check(s, oid, NULL);
}

static bool
intact(struct store *s, const unsigned char *digest)
{
	return truth_check(s, digest) == 0;
}

static bool
at_central(struct world *w, const unsigned char *digest)
{
	if (!w->up)
		return false;
	world_enter(w, &w->clock);
	return intact(w->central.store, digest);
}

static bool
anywhere(struct world *w, const unsigned char *digest)
{
	unsigned i;

	if (at_central(w, digest))
		return true;
	for (i = 0; i < w->n_edges; i++) {
		struct sim_edge *e = &w->edges[i];

		world_enter(w, &e->clock);
		if (e->up && intact(e->edge.store, digest))
			return true;
	}
	return false;
}

/* Not one that came in a pack of which no ledger tells (it was imported). */
static int
is_claimed(void *arg, const struct claim *c, struct err *err)
{
	(void)arg;
	(void)c;
	(void)err;
	return ERR_AGAIN;
}

void
truth_before_fire(struct world *w)
{
	struct store_tx *tx;
	unsigned i;

	for (i = 0; w->up && i < w->n_images; i++) {
		struct sim_image *m = &w->images[i];

		if (store_begin_read(&tx, w->central.store, NULL))
			return;
		m->known = claim_each(tx, m->digest, is_claimed, NULL, NULL) == ERR_AGAIN;
		store_end_read(tx);
	}
}

void
truth_lost_site(struct sim_edge *e)
{
	unsigned i;

	said_forget(e);
	e->hold = 0;
	e->looked_at = UINT64_MAX;
	for (i = 0; i < e->w->n_images; i++) {
		e->w->images[i].sites &= ~(1u << e->number);
		e->w->images[i].promised &= ~(1u << e->number);
	}
}

void
truth_rot_at_central(struct world *w)
{
	struct store_tx *tx;
	struct version v;
	uint64_t oid;
	unsigned i;
	int rc;

	world_enter(w, &w->clock);
	for (i = 0; i < w->n_images; i++) {
		if (store_begin_read(&tx, w->central.store, NULL))
			return;
		rc = store_by_digest(tx, w->images[i].digest, &oid, NULL);
		if (!rc)
			rc = store_version(tx, oid, &v, NULL);
		store_end_read(tx);
		if (!rc && v.state == VERSION_HERE && store_check(w->central.store, oid, NULL))
			w->images[i].rotten = true;
	}
}

void
truth_after_damage(struct world *w, const char *what)
{
	unsigned i, n = 0;

	for (i = 0; i < w->n_edges; i++)
		if (w->edges[i].up)
			(void)store_settle(w->edges[i].edge.store, NULL);
	for (i = 0; i < w->n_images; i++) {
		struct sim_image *m = &w->images[i];

		if (m->acknowledged && !m->gone && !anywhere(w, m->digest)) {
			m->gone = true;
			n++;
		}
	}
	if (n)
		world_say(w, "%s took the last copy of %u images", what, n);
}

/* --- the ledger --- */

/* R9, R10: who frees bytes knows of another copy, or says that it was in the dark. */
static void
freed(struct sim_edge *e, const Sync__LedgerEntry *entry, uint64_t seq)
{
	struct world *w = e->w;
	struct sim_image *m = truth_image(w, entry->digest.data);
	char name[32];

	w->evicted++;
	w->dark += entry->kind == SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK;
	if (m && entry->kind == SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK && promised_here(e, m))
		world_wrong(w,
			    "%s frees image %u in the dark, and its sender was told that it "
			    "need not keep it",
			    e->name, m->number); /* R10 */
	if (!m || !m->acknowledged || m->gone || anywhere(w, m->digest))
		return;
	if (m->rotten) { /* R9: what was checked within trust_days counts as whole */
		m->gone = true;
		return;
	}
	/* A fire since the last word of central: nobody could know. */
	if (entry->kind == SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK ||
	    (w->burnt_at && w->now - w->burnt_at <= KEEP_DARK_MS)) {
		m->gone = true;
		world_say(w, "%s freed the last copy of %s", e->name, short_name(m, name));
		return;
	}
	if (!w->up) /* central is being started: nothing can be said */
		return;
	world_wrong(w, "%s freed the last copy of %s (seq %llu)", e->name, short_name(m, name),
		    (unsigned long long)seq);
}

struct looking {
	struct sim_edge *e;
	uint64_t last;
	unsigned char hash[SHA256_SIZE];
	struct {
		Sync__LedgerEntry *entry;
		uint64_t seq;
		bool dark;
	} gone[64];
	unsigned n;
};

static int
look(void *arg, uint64_t seq, const unsigned char hash[SHA256_SIZE], const void *bytes, size_t n,
     struct err *err)
{
	struct looking *l = arg;
	Sync__LedgerEntry *entry;

	(void)err;
	if (l->n == sizeof(l->gone) / sizeof(l->gone[0]))
		return 1;
	l->last = seq;
	memcpy(l->hash, hash, SHA256_SIZE);
	entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
	if (entry && (entry->kind == SYNC__LEDGER_KIND__LEDGER_EVICTED ||
		      entry->kind == SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK)) {
		l->gone[l->n].dark = entry->kind == SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK;
		l->gone[l->n].entry = entry;
		l->gone[l->n++].seq = seq;
	} else {
		message_free(entry);
	}
	return 0;
}

/* R5, R8: what was seen once is never another entry. */
static int
same_past(struct sim_edge *e, struct store_tx *tx)
{
	unsigned char hash[SHA256_SIZE];

	if (!e->seen)
		return 0;
	if (ledger_hash(tx, e->seen, hash, NULL) || memcmp(hash, e->seen_hash, SHA256_SIZE) != 0) {
		world_wrong(e->w, "%s: entry %llu of its ledger is another one than before",
			    e->name, (unsigned long long)e->seen);
		return -1;
	}
	return 0;
}

void
truth_look_at_ledger(struct sim_edge *e)
{
	struct looking l;
	struct store_tx *tx;
	uint64_t hold = 0;
	bool keeps = false;
	unsigned i;

	if (e->looked_at == ramdisk_steps(e->disk)) /* nothing was written since */
		return;
	do {
		memset(&l, 0, sizeof(l));
		l.e = e;
		if (!e->up || !e->edge.store || store_begin_read(&tx, e->edge.store, NULL))
			return;
		if (!same_past(e, tx))
			(void)ledger_read(tx, e->seen + 1, look, &l, NULL);
		hold = 0;
		(void)sync_number(tx, "hold", &hold, NULL);
		store_end_read(tx);
		keeps = wanted_dark_keep(&e->edge);
		if (l.last) {
			e->seen = l.last;
			memcpy(e->seen_hash, l.hash, SHA256_SIZE);
		}
		for (i = 0; i < l.n; i++) {
			if (e->hold && hold) /* R10 */
				world_wrong(e->w, "%s frees bytes while it is on hold", e->name);
			if (e->dark_keep && keeps && l.gone[i].dark)
				world_wrong(e->w, "%s frees bytes in the dark, where it is to keep",
					    e->name);
			freed(e, l.gone[i].entry, l.gone[i].seq);
			message_free(l.gone[i].entry);
		}
	} while (l.n == sizeof(l.gone) / sizeof(l.gone[0]));
	e->hold = hold;
	e->dark_keep = keeps;
	e->looked_at = ramdisk_steps(e->disk);
}

uint64_t
truth_head(struct sim_edge *e)
{
	struct ledger_head head = {.seq = 0};
	struct store_tx *tx;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return 0;
	(void)ledger_head(tx, &head, NULL);
	store_end_read(tx);
	return head.seq;
}

uint64_t
truth_announced(struct sim_edge *e)
{
	struct world *w = e->w;
	struct site_row row = {.closed = false};
	struct store_tx *tx;

	if (!w->up || store_begin_read(&tx, w->central.store, NULL))
		return 0;
	(void)site_get(tx, &e->edge.incarnation, &row, NULL);
	store_end_read(tx);
	return row.head.seq;
}

/* What it does not know now, it has not announced: only a central may remember. */
void
truth_set_back(struct sim_edge *e)
{
	struct ledger_head head = {.seq = 0};
	struct store_tx *tx;
	uint64_t oid;
	unsigned i;

	said_forget(e);
	promised_set_back(e);
	e->hold = 0;
	e->looked_at = UINT64_MAX;
	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return;
	(void)ledger_head(tx, &head, NULL);
	e->seen = head.seq;
	memcpy(e->seen_hash, head.hash, SHA256_SIZE);
	for (i = 0; i < e->w->n_images; i++)
		if (store_by_digest(tx, e->w->images[i].digest, &oid, NULL))
			e->w->images[i].sites &= ~(1u << e->number);
	store_end_read(tx);
}

/* --- central's ledgers --- */

struct heads {
	struct world *w;
	struct store_tx *tx;
};

static int
look_at_head(void *arg, const struct site_row *row, struct err *err)
{
	struct heads *h = arg;
	struct world *w = h->w;
	unsigned char hash[SHA256_SIZE];
	struct sim_head *known;
	unsigned i;

	(void)err;
	for (i = 0; i < w->n_heads && !id128_same(&w->heads[i].incarnation, &row->incarnation); i++)
		continue;
	if (i == w->n_heads) {
		w->heads = realloc(w->heads, ++w->n_heads * sizeof(*w->heads));
		if (!w->heads)
			abort();
		memset(&w->heads[i], 0, sizeof(w->heads[i]));
		w->heads[i].incarnation = row->incarnation;
	}
	known = &w->heads[i];
	if (known->seq && (announced_hash(h->tx, &row->incarnation, known->seq, hash, NULL) ||
			   memcmp(hash, known->hash, SHA256_SIZE) != 0))
		world_wrong(w, "entry %llu of a ledger of %s is another one at central than before",
			    (unsigned long long)known->seq, row->site);
	known->seq = row->head.seq;
	memcpy(known->hash, row->head.hash, SHA256_SIZE);
	return 0;
}

void
truth_look_at_heads(struct world *w)
{
	struct heads h = {.w = w};

	if (!w->up || store_begin_read(&h.tx, w->central.store, NULL))
		return;
	(void)site_each(h.tx, look_at_head, &h, NULL);
	store_end_read(h.tx);
}

void
truth_forget_heads(struct world *w)
{
	w->n_heads = 0;
}

/* --- receipts --- */

/* R4: what was checked within trust_days counts as whole, whatever happened to it since. */
static bool
rotten(struct world *w, const unsigned char *digest)
{
	struct sim_image *m = truth_image(w, digest);

	return m && m->rotten;
}

static void
check_seq(struct sim_edge *e, uint64_t seq)
{
	struct world *w = e->w;
	Sync__LedgerEntry *entry = NULL;
	struct pack_row row;
	struct version v = {.state = VERSION_ELSEWHERE};
	struct store_tx *tx;
	char path[400];
	const void *p;
	uint64_t oid;
	size_t n;
	int rc = store_begin_read(&tx, e->edge.store, NULL);

	if (rc)
		return;
	if (!ledger_get(tx, seq, &p, &n, NULL))
		entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
	store_end_read(tx);
	if (entry && entry->digest.len == SHA256_SIZE)
		watch_elsewhere(e, entry->digest.data);
	if (!entry || entry->digest.len != SHA256_SIZE ||
	    store_begin_read(&tx, w->central.store, NULL)) {
		message_free(entry);
		return;
	}
	rc = store_by_digest(tx, entry->digest.data, &oid, NULL);
	if (!rc)
		rc = store_version(tx, oid, &v, NULL);
	if (!rc)
		rc = v.state == VERSION_HERE ? pack_row_get(tx, v.pack, &row, NULL) : -1;
	store_end_read(tx);
	if (!rc) {
		(void)snprintf(path, sizeof(path), "/sim/central/vault/packs/%s", row.place);
		if (!ramdisk_durable(w->disk, path))
			world_wrong(
				w, "a receipt for seq %llu of %s, and its pack may be lost yet: %s",
				(unsigned long long)seq, e->name, row.place);
		rc = !rotten(w, entry->digest.data) && store_check(w->central.store, oid, NULL);
	}
	if (rc)
		world_wrong(w, "a receipt for seq %llu of %s, and central does not hold it",
			    (unsigned long long)seq, e->name);
	message_free(entry);
}

void
truth_receipt(struct sim_edge *e, const struct buf *answer)
{
	Sync__UploadAnswer *m =
		message_read(&sync__upload_answer__descriptor, answer->data, answer->len, NULL);
	Sync__Receipt *r = NULL;
	uint64_t seq;
	size_t i;

	if (m && m->receipt.len)
		r = message_read(&sync__receipt__descriptor, m->receipt.data, m->receipt.len, NULL);
	for (i = 0; r && e->edge.store && !r->n_withdrawn && i < r->n_ranges; i++)
		if (memcmp(r->incarnation.data, e->edge.incarnation.b, ID128_SIZE) == 0)
			for (seq = r->ranges[i]->first; seq <= r->ranges[i]->last; seq++)
				check_seq(e, seq);
	message_free(r);
	message_free(m);
}

/* --- at rest --- */

static void
say_where(struct world *w, const struct sim_image *m)
{
	unsigned i;

	for (i = 0; w->loud && i <= w->n_edges; i++) {
		struct store *s = i < w->n_edges ? w->edges[i].edge.store : w->central.store;
		struct err err = ERR_INIT;
		struct store_tx *tx;
		struct version v;
		uint64_t oid;
		int rc;

		if (!s || store_begin_read(&tx, s, NULL))
			continue;
		rc = store_by_digest(tx, m->digest, &oid, NULL);
		if (!rc)
			rc = store_version(tx, oid, &v, NULL);
		store_end_read(tx);
		if (rc)
			continue;
		(void)store_check(s, oid, &err);
		world_say(w, "  %s: state %d, seq %llu %s",
			  i < w->n_edges ? w->edges[i].name : "central", (int)v.state,
			  (unsigned long long)v.seq, err.what);
	}
}

/* An end of the version before neither tells nor hears that there are two. */
void
truth_incarnations(struct world *w)
{
	unsigned i, k;

	for (i = 0; i < w->n_edges && !w->old; i++)
		for (k = 0; k < i; k++)
			if (!w->edges[i].old && !w->edges[k].old &&
			    id128_same(&w->edges[i].edge.incarnation,
				       &w->edges[k].edge.incarnation))
				world_wrong(w, "nodes %u and %u of %s go on as one", k, i,
					    w->edges[i].name);
}

void
truth_final(struct world *w)
{
	unsigned i;
	char name[32];

	said_settle(w);
	truth_incarnations(w);
	for (i = 0; i < w->n_images; i++) {
		struct sim_image *m = &w->images[i];

		m->there = at_central(w, m->digest);
		m->withdrawn = said_withdrawn(w, m, true);
		if (m->acknowledged && !m->there && !m->gone) {
			say_where(w, m);
			world_wrong(w, "%s was acknowledged by %s and is not at central",
				    short_name(m, name), w->edges[m->edge].name);
		}
	}
	count_final(w);
	if (!w->wrong)
		said_final(w);
	if (!w->wrong)
		current_final(w);
	if (!w->wrong)
		promised_final(w);
	if (!w->wrong)
		people_final(w);
	if (!w->wrong)
		asks_final(w);
}
