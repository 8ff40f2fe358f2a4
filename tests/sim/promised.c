#include "tests/sim/promised.h"

#include <stdio.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/committed.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dimse/commitments.h"
#include "common/dimse/peers.h"
#include "common/dimse/references.h"
#include "common/dimse/verdicts.h"
#include "common/store/store.h"
#include "edge/committed.h"
#include "edge/keep.h"
#include "edge/outbox.h"
#include "proto/message.h"
#include "tests/sim/truth.h"
#include "tests/sim/world.h"

enum { ASK_MAX = 6, OPEN_MAX = 64, WAIT_MS = 3600000, TRIES = 20 };

/* How long it is waited for central's word. */
static const struct peer peers[] = {{.name = "here", .commit_here = true},
				    {.name = "wait", .commit_wait_ms = WAIT_MS},
				    {.name = "ever", .commit_wait_ms = CONF_ENDLESS}};

static const struct peer *
peer_of(const struct commitment_row *row)
{
	size_t i;

	for (i = 0; strcmp(peers[i].name, row->peer) != 0; i++)
		continue;
	return &peers[i];
}

/* --- asking --- */

struct asking {
	struct commitment_row row;
	struct references r;
	struct reference all[ASK_MAX];
};

static int
add(struct store_tx *tx, void *arg, struct err *err)
{
	struct asking *a = arg;
	bool again;

	return commitments_add(tx, &a->row, &a->r, &again, err);
}

static struct sim_image *
sent_here(struct sim_edge *e)
{
	struct world *w = e->w;
	unsigned tries;

	for (tries = 0; tries < TRIES; tries++) {
		struct sim_image *m = &w->images[world_below(w, w->n_images)];

		if (m->sites & 1u << e->number)
			return m;
	}
	return NULL;
}

static bool
refer(struct sim_edge *e, struct reference *out)
{
	struct sim_image *m = sent_here(e);
	struct store_tx *tx;
	struct version v;
	uint64_t oid;
	int rc;

	if (!m || store_begin_read(&tx, e->edge.store, NULL))
		return false;
	rc = store_by_digest(tx, m->digest, &oid, NULL);
	if (!rc)
		rc = store_version(tx, oid, &v, NULL);
	store_end_read(tx);
	if (rc)
		return false;
	memset(out, 0, sizeof(*out));
	strcpy(out->sop_class, v.sop_class);
	strcpy(out->sop_instance, v.sop_instance);
	return true;
}

void
promised_ask(struct world *w)
{
	struct sim_edge *e = &w->edges[world_below(w, w->n_edges)];
	size_t n = 1 + (size_t)world_below(w, ASK_MAX);
	struct asking a = {.r = {.n = 0}};

	if (!w->n_images || !e->up)
		return;
	(void)snprintf(a.row.peer, sizeof(a.row.peer), "%s", peers[world_below(w, 3)].name);
	(void)snprintf(a.row.calling, sizeof(a.row.calling), "CT");
	(void)snprintf(a.row.called, sizeof(a.row.called), "EDGE");
	(void)snprintf(a.row.transaction, sizeof(a.row.transaction), "1.2.%llu",
		       (unsigned long long)w->now);
	(void)snprintf(a.r.transaction, sizeof(a.r.transaction), "%s", a.row.transaction);
	a.r.all = a.all;
	while (a.r.n < n && refer(e, &a.all[a.r.n]))
		a.r.n++;
	if (!a.r.n)
		return;
	world_say(w, "%s: are %zu images committed (%s)?", e->name, a.r.n, a.row.peer);
	world_enter(w, &e->clock);
	a.row.asked_ms = commitments_time(e->edge.store);
	(void)store_commit(e->edge.store, add, &a, NULL);
	world_look_after_edge(e);
}

/* --- what is said --- */

struct finding {
	const char *uid;
	struct verdict_mark mark;
};

static int
find_mark(void *arg, const struct verdict_mark *mark, struct err *err)
{
	struct finding *f = arg;

	(void)err;
	if (strcmp(mark->sop_instance, f->uid) != 0)
		return 0;
	f->mark = *mark;
	return ERR_AGAIN;
}

static bool
has(struct store *s, const unsigned char *digest, struct version *v)
{
	struct store_tx *tx;
	uint64_t oid;
	int rc;

	if (store_begin_read(&tx, s, NULL))
		return false;
	rc = store_by_digest(tx, digest, &oid, NULL);
	if (!rc)
		rc = store_version(tx, oid, v, NULL);
	store_end_read(tx);
	return !rc && v->state == VERSION_HERE;
}

/* What the edge knows of central is how it is: it has heard of the last fire there. */
static bool
is_current(struct sim_edge *e)
{
	struct world *w = e->w;
	struct store_tx *tx;
	struct contact c;
	struct id128 epoch, now;
	int rc;

	if (!w->up || (w->burnt_at && w->now - w->burnt_at <= KEEP_DARK_MS) ||
	    store_begin_read(&tx, e->edge.store, NULL))
		return false;
	rc = sync_id(tx, "epoch", &epoch, NULL);
	store_end_read(tx);
	edge_contact(&e->edge, &c);
	central_epoch(&w->central, &now);
	return !rc && c.reachable && c.losses == w->central.losses && id128_same(&epoch, &now);
}

static void
look_at_success(struct sim_edge *e, const struct peer *peer, const char *uid)
{
	struct finding f = {.uid = uid};
	struct world *w = e->w;
	struct sim_image *m;
	struct store_tx *tx;
	struct version v;
	int rc;

	if (store_begin_read(&tx, e->edge.store, NULL))
		return;
	rc = committed_each(tx, find_mark, &f, NULL);
	store_end_read(tx);
	m = rc == ERR_AGAIN ? truth_image(w, f.mark.digest) : NULL;
	if (!m) { /* R10: a restart must not forget it */
		world_wrong(w, "%s says that %s is committed, and has not noted it", e->name, uid);
		return;
	}
	m->promised |= 1u << e->number;
	w->seen[f.mark.here_only ? SEEN_COMMITTED_HERE : SEEN_COMMITTED]++;
	if (has(e->edge.store, m->digest, &v) && (peer->commit_here || f.mark.here_only))
		return;
	if (f.mark.here_only)
		world_wrong(w, "%s vouches for image %u, which it has not", e->name, m->number);
	else if (is_current(e) && !has(w->central.store, m->digest, &v))
		world_wrong(w, "%s says that image %u is committed, and central does not hold it",
			    e->name, m->number);
	else if (is_current(e) && !m->rotten && store_check(w->central.store, v.oid, NULL))
		world_wrong(w, "%s says that image %u is committed, and central's is damaged",
			    e->name, m->number);
}

struct open {
	struct commitment_row rows[OPEN_MAX];
	size_t n;
};

static int
note_row(void *arg, const struct commitment_row *row, struct err *err)
{
	struct open *o = arg;

	(void)err;
	if (o->n == OPEN_MAX)
		return ERR_AGAIN;
	o->rows[o->n++] = *row;
	return 0;
}

static int
del(struct store_tx *tx, void *arg, struct err *err)
{
	const uint64_t *number = arg;

	return commitments_del(tx, *number, err);
}

/* Of what was decided now; what was true then may be history when the last of them is. */
static void
look_at_verdicts(struct sim_edge *e, const struct commitment_row *before, uint32_t decided)
{
	struct references r = {.n = 0};
	struct store_tx *tx;
	size_t i;
	int rc;

	if (store_begin_read(&tx, e->edge.store, NULL))
		return;
	rc = commitments_list(tx, before->number, before->decided, decided - before->decided, &r,
			      NULL);
	store_end_read(tx);
	for (i = 0; !rc && i < r.n; i++)
		if (!r.all[i].reason)
			look_at_success(e, peer_of(before), r.all[i].sop_instance);
	references_fini(&r);
}

static void
progress(struct sim_edge *e, const struct verdicts *v, const struct commitment_row *before)
{
	struct commitment_row now = {.decided = 0};
	uint64_t number = before->number;
	struct store_tx *tx;
	bool ready = false;
	int rc = verdicts_progress(v, peer_of(before), number, &ready, NULL);

	if (rc || store_begin_read(&tx, e->edge.store, NULL))
		return;
	rc = commitments_get(tx, number, &now, NULL);
	store_end_read(tx);
	if (!rc && now.decided > before->decided)
		look_at_verdicts(e, before, now.decided);
	if (!rc && ready) /* the modality takes its result */
		(void)store_commit(e->edge.store, del, &number, NULL);
}

void
promised_turn(struct sim_edge *e)
{
	struct verdicts v = {.store = e->edge.store};
	struct open o;
	struct store_tx *tx;
	uint64_t n = 0;
	size_t i;

	o.n = 0;
	if (store_begin_read(&tx, e->edge.store, NULL))
		return;
	(void)commitments_count(tx, &n, NULL);
	if (n)
		(void)commitments_each(tx, 0, note_row, &o, NULL);
	store_end_read(tx);
	committed_verdicts(&v, &e->edge);
	for (i = 0; i < o.n && !ramdisk_dead(e->disk); i++)
		progress(e, &v, &o.rows[i]);
	(void)committed_turned(&e->edge);
}

/* --- what stays true --- */

bool
promised_here(const struct sim_edge *e, const struct sim_image *m)
{
	return m->promised & 1u << e->number;
}

void
promised_set_back(struct sim_edge *e)
{
	struct world *w = e->w;
	struct store_tx *tx;
	char uid[UID_SIZE];
	unsigned i;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return;
	for (i = 0; i < w->n_images; i++) {
		struct finding f = {.uid = uid};

		truth_uid(&w->images[i], uid);
		if (promised_here(e, &w->images[i]) &&
		    (committed_each(tx, find_mark, &f, NULL) != ERR_AGAIN ||
		     memcmp(f.mark.digest, w->images[i].digest, SHA256_SIZE) != 0))
			w->images[i].promised &= ~(1u << e->number);
	}
	store_end_read(tx);
}

void
promised_final(struct world *w)
{
	struct store_tx *tx;
	unsigned i;
	bool known;

	if (store_begin_read(&tx, w->central.store, NULL))
		return;
	for (i = 0; i < w->n_images; i++)
		if (w->images[i].promised &&
		    (committed_get(tx, w->images[i].digest, &known, NULL) || !known))
			world_wrong(w, "image %u is committed, and central does not know (%x)", i,
				    w->images[i].promised);
	store_end_read(tx);
}
