#include "tests/sim/watch.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/damage.h"
#include "edge/outbox.h"
#include "proto/ledger.h"
#include "proto/sender.h"
#include "tests/sim/said.h"
#include "tests/sim/truth.h"
#include "tests/sim/world.h"

enum {
	READ_STEP = 5000,
	CALLS_MAX = SENDER_SLOTS + 8,
	FILES_PER_NODE = 8,
	NODE_MEMORY = 4 << 20 /* what a node may hold when its queues are full */
};

#define BYTES_MAX ((uint64_t)(SENDER_SLOTS + 1) * (STEER_PIECE_MAX + (1 << 20)))

/* --- packs under way --- */

struct packed {
	uint64_t *oids;
	unsigned n, max;
};

static int
note_packed(void *arg, const struct outbox_row *row, struct err *err)
{
	struct packed *p = arg;

	(void)err;
	if (row->packed && p->n < p->max)
		p->oids[p->n++] = row->oid;
	return 0;
}

unsigned
watch_packed(struct sim_edge *e, uint64_t *oids, unsigned max)
{
	struct packed p = {oids, 0, max};
	struct store_tx *tx;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return 0;
	(void)outbox_each(tx, OUTBOX_CENTRAL, 0, note_packed, &p, NULL);
	store_end_read(tx);
	return p.n;
}

struct sim_edge *
watch_uploading(struct world *w, struct sim_edge *e)
{
	unsigned i;

	for (i = 0; i < w->n_edges; i++) {
		struct sim_edge *other = &w->edges[(e->number + i) % w->n_edges];
		uint64_t oid;

		if (watch_packed(other, &oid, 1))
			return other;
	}
	return e;
}

static bool
is_packed(struct sim_edge *e, const unsigned char *digest)
{
	struct outbox_row row = {.packed = false};
	struct store_tx *tx;
	struct version v = {.seq = 0};
	uint64_t oid;
	int rc;

	if (!e->up || store_begin_read(&tx, e->edge.store, NULL))
		return false;
	rc = store_by_digest(tx, digest, &oid, NULL);
	if (!rc)
		rc = store_version(tx, oid, &v, NULL);
	if (!rc)
		rc = outbox_get(tx, OUTBOX_CENTRAL, v.seq, &row, NULL);
	store_end_read(tx);
	return !rc && row.packed;
}

void
watch_elsewhere(struct sim_edge *e, const unsigned char *digest)
{
	const struct sim_image *m = truth_image(e->w, digest);
	unsigned i;

	for (i = 0; m && i < e->w->n_edges; i++)
		if (i != e->number && m->sites & 1u << i && is_packed(&e->w->edges[i], digest))
			e->w->seen[SEEN_ELSEWHERE_IN_UPLOAD]++;
}

/* --- viewers --- */

/* As a retrieve reads it. 0: all of it was handed out, and has this digest. */
static int
read_all(struct store *s, uint64_t oid, unsigned char digest[SHA256_SIZE])
{
	unsigned char bytes[READ_STEP];
	struct store_reader *r;
	struct sha256 *sha;
	uint64_t at = 0;
	size_t got = sizeof(bytes);
	int rc = store_read_open(&r, s, oid, NULL);

	if (rc)
		return rc;
	if (sha256_new(&sha, NULL))
		abort();
	rc = store_read_check(r, NULL);
	while (!rc && got == sizeof(bytes)) {
		rc = store_read(r, at, bytes, sizeof(bytes), &got, NULL);
		if (!rc)
			sha256_add(sha, bytes, got);
		at += got;
	}
	sha256_end(sha, digest);
	sha256_free(sha);
	store_read_close(r);
	return rc;
}

static void
look_at(struct world *w, struct store *s, struct sim_edge *e, const struct sim_image *m)
{
	unsigned char digest[SHA256_SIZE];
	struct store_tx *tx;
	struct version v;
	char uid[UID_SIZE];
	struct sim_image *shown;
	int rc = store_begin_read(&tx, s, NULL);

	if (rc)
		return;
	truth_uid(m, uid);
	rc = store_current(tx, uid, &v, NULL);
	store_end_read(tx);
	shown = rc ? NULL : truth_image(w, v.digest);
	if (rc || v.hidden & VERSION_WITHDRAWN)
		return;
	/* R15: a query names also what has no bytes here. */
	if (!e && shown && said_withdrawn(w, shown, false) == SIM_WITHDRAWN)
		world_wrong(w, "central shows image %u, which was retracted", shown->number);
	if (v.state != VERSION_HERE)
		return;
	rc = read_all(s, v.oid, digest);
	if (!rc && memcmp(digest, v.digest, sizeof(digest)) != 0)
		world_wrong(w, "%s serves bytes that were not verified", e ? e->name : "central");
	w->seen[SEEN_VIEWED] += !rc;
	if (rc && e) /* as the retrieve tells */
		damage_found(&e->edge, v.oid);
}

static void
view(struct world *w, struct sim_edge *e, struct sim_image *m)
{
	world_enter(w, e ? &e->clock : &w->clock);
	if (e)
		said_look(e, m);
	look_at(w, e ? e->edge.store : w->central.store, e, m);
	if (!e) {
		world_look_after_central(w);
		return;
	}
	truth_look_at_ledger(e);
	world_look_after_edge(e);
}

void
watch_view(struct world *w, struct sim_edge *e)
{
	if (w->n_images && (e ? e->up : w->up))
		view(w, e, &w->images[world_below(w, w->n_images)]);
}

void
watch_view_damaged(struct world *w, struct sim_edge *e)
{
	unsigned i;

	for (i = 0; i < w->n_images && !w->wrong && (e ? e->up : w->up); i++)
		if (truth_check(e ? e->edge.store : w->central.store, w->images[i].digest) ==
		    ERR_CORRUPT)
			view(w, e, &w->images[i]);
}

/* --- central's packs --- */

void
watch_packs(struct world *w)
{
	unsigned char after[SHA256_SIZE];
	struct pack_row row;
	struct store_tx *tx;
	char path[400];
	bool first = true;

	if (!w->up || ramdisk_dead(w->disk) || store_begin_read(&tx, w->central.store, NULL))
		return;
	while (!w->wrong && !pack_row_next(tx, first ? NULL : after, &row, NULL)) {
		first = false;
		memcpy(after, row.id, sizeof(after));
		(void)snprintf(path, sizeof(path), "/sim/central/vault/packs/%s", row.place);
		if (!ramdisk_durable(w->disk, path))
			world_wrong(w, "central holds a pack that may be lost yet: %s", row.place);
	}
	store_end_read(tx);
}

/* --- bounds --- */

void
watch_in_flight(struct sim_edge *e, unsigned calls, uint64_t bytes)
{
	if (calls > CALLS_MAX || bytes > BYTES_MAX)
		world_wrong(e->w, "%s waits for %u calls with %llu bytes", e->name, calls,
			    (unsigned long long)bytes);
}

static void
bounds_of(struct world *w, const char *who, struct store *s, unsigned files, unsigned files_max,
	  bool rest)
{
	struct store_space space;

	store_space(s, &space);
	if (files > files_max)
		world_wrong(w, "%s has %u open files", who, files);
	if (rest && space.admitted)
		world_wrong(w, "%s: at rest %llu bytes are let in, and in memory", who,
			    (unsigned long long)space.admitted);
}

void
watch_bounds(struct world *w, bool rest)
{
	unsigned i, uploads = rest ? 0 : SENDER_SLOTS * w->n_edges;

	for (i = 0; i < w->n_edges; i++)
		if (w->edges[i].up)
			bounds_of(w, w->edges[i].name, w->edges[i].edge.store,
				  ramdisk_open_files(w->edges[i].disk), FILES_PER_NODE, rest);
	if (w->up)
		bounds_of(w, "central", w->central.store, ramdisk_open_files(w->disk),
			  FILES_PER_NODE + uploads, rest);
}

void
watch_memory(struct world *w)
{
	size_t before = mallinfo2().uordblks, after;
	unsigned i;

	for (i = 0; i < w->n_edges; i++)
		world_close_edge(&w->edges[i]);
	world_close_central(w);
	after = mallinfo2().uordblks; /* a sanitizer's says 0 */
	if (before > after && before - after > (size_t)NODE_MEMORY * (w->n_edges + 1))
		world_wrong(w, "the nodes hold %zu bytes of memory", before - after);
	world_say(w, "the nodes held %zu KiB", before > after ? (before - after) / 1024 : 0);
}
