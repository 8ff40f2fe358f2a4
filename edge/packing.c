#include "edge/packing.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/dicom/canon.h"
#include "common/store/store.h"
#include "edge/damage.h"
#include "edge/edge.h"
#include "edge/late.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sender.h"
#include "proto/sync.pb-c.h"

enum {
	PACK_BYTES = 8 << 20,
	SIDES_BYTES = PACK_MANIFEST_MAX / 4, /* of side records: the manifest has a bound */
	/* Rows looked at for one pack: those that other slots have, and some. */
	LOOK_MAX = (SENDER_SLOTS + 8) * PACK_MEMBERS
};

void
packing_fini(struct packing *p)
{
	store_read_close(p->reader);
	pack_close(p->pack);
	buf_fini(&p->manifest);
	*p = (struct packing){.piece = p->piece};
}

void
packing_free_memory(struct packing *p)
{
	buf_fini(&p->piece);
}

/* --- choosing --- */

struct chosen {
	struct outbox_row row;
	struct version v;
};

struct choosing {
	struct store_tx *tx;
	const struct packing_wish *wish;
	uint64_t bytes;
	int64_t now;
	unsigned looked;
	size_t most; /* members, by those that are in */
	struct outbox_row *rows;
	size_t n;
};

/* What failed before travels in ever smaller company, so that what is at fault is found. */
static size_t
company_of(const struct outbox_row *row)
{
	return row->tries == 0 ? PACK_MEMBERS : row->tries == 1 ? 100 : row->tries == 2 ? 10 : 1;
}

static int
choose(void *arg, const struct outbox_row *row, struct err *e)
{
	struct choosing *c = arg;
	size_t company = company_of(row);

	(void)e;
	if (c->n >= c->most || c->bytes >= c->wish->bytes || ++c->looked > LOOK_MAX)
		return ERR_AGAIN;
	/* R7: not before central has acknowledged its entry. */
	if (row->packed || row->seq > c->wish->announced || row->not_before > c->now)
		return 0;
	if (row->seq <= c->wish->above || c->n >= company)
		return 0;
	if (c->wish->small && row->size > SENDER_LARGE)
		return 0;
	c->most = company < c->most ? company : c->most;
	/* What is larger than a pack travels by itself. */
	if (c->n && c->bytes + row->size > PACK_BYTES)
		return ERR_AGAIN;
	c->rows[c->n++] = *row;
	c->bytes += row->size;
	return 0;
}

static int
by_study(const void *a, const void *b)
{
	const struct chosen *x = a, *y = b;
	int c = strcmp(x->v.study, y->v.study);

	return c ? c : (x->row.seq > y->row.seq) - (x->row.seq < y->row.seq);
}

/* Side record of the entry that announced it (R1): travels in the manifest. */
static void
side_of(struct store_tx *tx, uint64_t seq, struct buf *out)
{
	Sync__LedgerEntry *entry;
	const void *p;
	size_t n;

	if (ledger_get(tx, seq, &p, &n, NULL))
		return;
	entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
	if (entry)
		buf_put(out, entry->side.data, entry->side.len);
	message_free(entry);
}

static int
write_manifest(struct store_tx *tx, struct edge *e, struct chosen *list, size_t n, struct buf *out,
	       struct err *err)
{
	struct pack_member *members = calloc(n, sizeof(*members));
	struct buf *sides = calloc(n, sizeof(*sides));
	struct id128 incarnation;
	size_t i, bytes = 0;
	int rc;

	if (!members || !sides) {
		free(members);
		free(sides);
		return err_set(err, ERR_LOCAL, 0, "no memory for a pack");
	}
	for (i = 0; i < n; i++) {
		side_of(tx, list[i].row.seq, &sides[i]);
		bytes += sides[i].len;
		if (i && bytes > SIDES_BYTES) { /* the rest waits for the next pack */
			buf_fini(&sides[i]);
			n = i;
			break;
		}
		members[i].seq = list[i].row.seq;
		members[i].sop_instance = list[i].v.sop_instance;
		memcpy(members[i].digest, list[i].v.digest, SHA256_SIZE);
		members[i].size = list[i].v.size;
		members[i].side = sides[i].data;
		members[i].side_n = sides[i].len;
	}
	edge_incarnation(e, &incarnation);
	rc = pack_manifest(out, e->site, &incarnation, members, n, err);
	for (i = 0; i < n; i++)
		buf_fini(&sides[i]);
	free(sides);
	free(members);
	return rc;
}

struct making {
	struct edge *e;
	struct packing *p;
	struct choosing *c;
};

/* In one commit: the manifest, and the rows that it pins. */
static int
commit_pack(struct store_tx *tx, void *arg, struct err *e)
{
	struct making *m = arg;
	struct outbox_row row;
	size_t i;
	int rc = packing_put(tx, m->p->id, &m->p->manifest, e);

	for (i = 0; !rc && i < pack_count(m->p->pack); i++) {
		rc = outbox_get(tx, OUTBOX_CENTRAL, pack_member(m->p->pack, i)->seq, &row, e);
		row.packed = true;
		if (!rc)
			rc = outbox_change(tx, OUTBOX_CENTRAL, &row, e);
		rc = rc == ERR_ABSENT ? 0 : rc; /* gone meanwhile: sent for nothing */
	}
	return rc;
}

static int
drop_rows(struct store_tx *tx, void *arg, struct err *e)
{
	struct choosing *c = arg;
	bool was;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < c->n; i++) {
		struct outbox_row row = c->rows[i];

		if (row.parked) {
			late_put_off(&row, c->now);
			rc = outbox_change(tx, OUTBOX_CENTRAL, &row, e);
		} else {
			rc = outbox_del(tx, OUTBOX_CENTRAL, row.seq, &was, e);
		}
	}
	return rc;
}

/* Rows whose bytes are here no more are owed no more; the ledger has said so. */
static int
load(struct choosing *c, struct chosen *list, size_t *n, struct choosing *gone)
{
	size_t i;
	int rc = 0;

	*n = 0;
	for (i = 0; !rc && i < c->n; i++) {
		list[*n].row = c->rows[i];
		rc = store_version(c->tx, c->rows[i].oid, &list[*n].v, NULL);
		if (!rc && list[*n].v.state == VERSION_HERE)
			++*n;
		else { /* gone; or a record that cannot be read: put off, the others go on */
			gone->rows[gone->n] = c->rows[i];
			gone->rows[gone->n++].parked = rc && rc != ERR_ABSENT;
		}
		rc = 0;
	}
	return rc;
}

static int
gather(struct packing *p, struct edge *e, struct choosing *c, struct choosing *gone,
       struct err *err)
{
	struct chosen *list;
	size_t n;
	int rc = (c->wish->oldest ? outbox_oldest : outbox_newest)(c->tx, OUTBOX_CENTRAL,
								   c->wish->lane, choose, c, err);

	if (rc == ERR_AGAIN)
		rc = 0;
	if (rc || !c->n)
		return rc;
	list = calloc(c->n, sizeof(*list));
	if (!list)
		return err_set(err, ERR_LOCAL, 0, "no memory for a pack");
	rc = load(c, list, &n, gone);
	if (!rc && n) {
		qsort(list, n, sizeof(*list), by_study);
		rc = write_manifest(c->tx, e, list, n, &p->manifest, err);
	}
	free(list);
	return rc;
}

int
packing_make(struct packing *p, struct edge *e, const struct packing_wish *wish, struct err *err)
{
	struct choosing c = {.wish = wish, .now = store_time(e->store), .most = PACK_MEMBERS},
			gone = {.now = c.now};
	struct making m = {e, p, &c};
	int rc;

	c.rows = calloc(PACK_MEMBERS, sizeof(*c.rows));
	gone.rows = calloc(PACK_MEMBERS, sizeof(*gone.rows));
	rc = c.rows && gone.rows ? store_begin_read(&c.tx, e->store, err)
				 : err_set(err, ERR_LOCAL, 0, "no memory for a pack");
	if (!rc) {
		rc = gather(p, e, &c, &gone, err);
		store_end_read(c.tx);
	}
	if (!rc && gone.n)
		rc = store_commit(e->store, drop_rows, &gone, err);
	if (!rc && p->manifest.len)
		rc = pack_open(&p->pack, p->manifest.data, p->manifest.len, err);
	if (!rc && p->pack) {
		pack_id(p->pack, p->id);
		rc = store_commit(e->store, commit_pack, &m, err);
	}
	free(c.rows);
	free(gone.rows);
	if (rc)
		packing_fini(p);
	return rc;
}

uint64_t
packing_last(const struct packing *p)
{
	uint64_t last = 0;
	size_t i;

	for (i = 0; p->pack && i < pack_count(p->pack); i++)
		if (pack_member(p->pack, i)->seq > last)
			last = pack_member(p->pack, i)->seq;
	return last;
}

enum lane
packing_lane(const struct packing *p, struct store_tx *tx)
{
	struct outbox_row row = {.lane = LANE_BACKFILL};
	size_t i;

	for (i = 0; i < pack_count(p->pack); i++)
		if (!outbox_get(tx, OUTBOX_CENTRAL, pack_member(p->pack, i)->seq, &row, NULL))
			break;
	return row.lane;
}

int
packing_open(struct packing *p, const void *manifest, size_t n, struct err *err)
{
	int rc = pack_open(&p->pack, manifest, n, err);

	if (rc)
		return rc;
	buf_put(&p->manifest, manifest, n);
	pack_id(p->pack, p->id);
	if (!buf_failed(&p->manifest))
		return 0;
	packing_fini(p);
	return err_set(err, ERR_LOCAL, 0, "no memory for a pack");
}

/* --- bytes --- */

struct giving {
	struct packing *p;
	struct edge *e;
};

static int
open_member(struct giving *g, size_t i, struct err *e)
{
	struct packing *p = g->p;
	struct store_tx *tx;
	struct version v;
	uint64_t oid;
	int rc;

	if (p->reader && p->reading == i)
		return 0;
	store_read_close(p->reader);
	p->reader = NULL;
	rc = store_begin_read(&tx, g->e->store, e);
	if (rc)
		return rc;
	rc = store_by_digest(tx, pack_member(p->pack, i)->digest, &oid, e);
	p->compressed = !rc && !store_version(tx, oid, &v, NULL) &&
			(v.encapsulated || canon_deflated(v.syntax));
	store_end_read(tx);
	if (!rc)
		rc = store_read_open(&p->reader, g->e->store, oid, e);
	p->reading = i;
	return rc;
}

static int
give(void *arg, size_t i, uint64_t offset, void *to, size_t n, struct err *e)
{
	struct giving *g = arg;
	size_t got = 0;
	int rc = open_member(g, i, e);

	if (!rc)
		rc = store_read(g->p->reader, offset, to, n, &got, e);
	if (g->p->compressed)
		g->p->read_compressed += got;
	if (!rc && got < n)
		rc = err_set(e, ERR_CORRUPT, 0, "an instance is shorter than it was");
	if (rc == ERR_CORRUPT || rc == ERR_ABSENT) {
		g->p->bad_seq = pack_member(g->p->pack, i)->seq;
		rc = ERR_CORRUPT;
	}
	return rc;
}

int
packing_read(struct packing *p, struct edge *e, uint64_t offset, size_t n, struct buf *out,
	     struct err *err)
{
	struct giving g = {p, e};
	unsigned char *to = buf_reserve(out, n);
	int rc;

	p->bad_seq = 0;
	p->read_compressed = 0;
	if (!to)
		return err_set(err, ERR_LOCAL, 0, "no memory for a piece of a pack");
	rc = pack_make(p->pack, offset, to, n, give, &g, err);
	if (!rc)
		out->len += n;
	return rc;
}

/* --- receipts --- */

struct receipting {
	struct edge *e;
	const Sync__Receipt *m;
	const void *bytes;
	size_t n;
	const unsigned char *id;
	struct id128 epoch;
};

/* R5: a range counts only where our own H agrees at its end. */
static int
check_ranges(struct store_tx *tx, const Sync__Receipt *m, struct err *e)
{
	unsigned char hash[SHA256_SIZE];
	size_t i;
	int rc;

	for (i = 0; i < m->n_ranges; i++) {
		const Sync__SeqRange *r = m->ranges[i];

		rc = r->first == 0 || r->last < r->first || r->hash.len != SHA256_SIZE
			     ? ERR_ABSENT
			     : ledger_hash(tx, r->last, hash, e);
		if (!rc && memcmp(hash, r->hash.data, SHA256_SIZE) != 0)
			rc = ERR_ABSENT;
		if (rc)
			return rc == ERR_ABSENT ? err_set(e, ERR_PEER, 0,
							  "a receipt for another ledger than ours")
						: rc;
	}
	return 0;
}

static int
take_seq(struct store_tx *tx, struct receipting *r, uint64_t seq, struct err *e)
{
	struct outbox_row row;
	bool was;
	int rc = outbox_get(tx, OUTBOX_CENTRAL, seq, &row, e);

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	rc = outbox_del(tx, OUTBOX_CENTRAL, seq, &was, e);
	return rc ? rc : store_set_receipt(tx, row.oid, &r->epoch, e);
}

static int
keep_highest(struct store_tx *tx, const struct receipting *r, struct err *e)
{
	struct buf before = BUF_INIT;
	Sync__Receipt *m = NULL;
	int rc = sync_get(tx, "receipt", &before, e);
	bool lower;

	if (!rc && before.len)
		m = message_read(&sync__receipt__descriptor, before.data, before.len, NULL);
	lower = m && m->number > r->m->number && m->epoch.len == r->m->epoch.len &&
		memcmp(m->epoch.data, r->m->epoch.data, m->epoch.len) == 0;
	message_free(m);
	buf_fini(&before);
	return rc || lower ? rc : sync_put(tx, "receipt", r->bytes, r->n, e);
}

static int
take_receipt(struct store_tx *tx, void *arg, struct err *e)
{
	struct receipting *r = arg;
	uint64_t seq;
	struct id128 epoch;
	size_t i;
	int rc = sync_id(tx, "epoch", &epoch, e);

	if (!rc && !id128_same(&epoch, &r->epoch))
		rc = err_set(e, ERR_PEER, 0, "a receipt of another epoch");
	if (!rc)
		rc = check_ranges(tx, r->m, e);

	for (i = 0; !rc && i < r->m->n_ranges; i++)
		for (seq = r->m->ranges[i]->first; !rc && seq <= r->m->ranges[i]->last; seq++)
			rc = take_seq(tx, r, seq, e);
	if (!rc) /* the highest of this incarnation (R22): answers may overtake each other */
		rc = keep_highest(tx, r, e);
	return rc ? rc : packing_del(tx, r->id, e);
}

int
packing_receipt(struct packing *p, struct edge *e, const void *receipt, size_t n, struct err *err)
{
	Sync__Receipt *m = message_read(&sync__receipt__descriptor, receipt, n, err);
	struct receipting r = {.e = e, .m = m, .bytes = receipt, .n = n, .id = p->id};
	struct contact contact;
	struct id128 incarnation, own;
	int rc = 0;

	if (!m)
		return ERR_PEER;
	edge_contact(e, &contact);
	edge_incarnation(e, &own);
	(void)message_id(&r.epoch, &m->epoch);
	(void)message_id(&incarnation, &m->incarnation);
	/* R22: one of another epoch than the last hello's says nothing. */
	if (!id128_same(&r.epoch, &contact.epoch) || !id128_same(&incarnation, &own) ||
	    strcmp(m->site, e->site) != 0)
		rc = err_set(err, ERR_PEER, 0, "a receipt that is not for us, or of another epoch");
	if (!rc)
		rc = store_commit(e->store, take_receipt, &r, err);
	if (!rc)
		packing_fini(p);
	message_free(m);
	return rc;
}

/* --- giving a pack up --- */

struct dissolving {
	struct edge *e;
	struct packing *p;
	const uint64_t *bad;
	size_t n;
	bool *damaged; /* of bad: our own copy fails its digest */
	int64_t now;
	bool blamed;
};

static int
enter_damage(struct store_tx *tx, struct dissolving *d, const struct outbox_row *row, struct err *e)
{
	struct version v;
	bool was;
	int rc = store_version(tx, row->oid, &v, e);

	if (rc)
		return rc;
	if (v.seq != row->seq) /* repaired meanwhile: a later entry speaks for it */
		return outbox_del(tx, OUTBOX_CENTRAL, row->seq, &was, e);
	return damage_enter(tx, &v, clock_wall(d->e->clock), e);
}

static int
release_row(struct store_tx *tx, struct dissolving *d, uint64_t seq, struct err *e)
{
	struct outbox_row row;
	size_t i;
	int rc = outbox_get(tx, OUTBOX_CENTRAL, seq, &row, e);

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	row.packed = false;
	for (i = 0; i < d->n; i++) {
		if (d->bad[i] != seq)
			continue;
		if (d->damaged[i])
			return enter_damage(tx, d, &row, e);
		late_put_off(&row, d->now);
		row.blamed = d->blamed;
	}
	return outbox_change(tx, OUTBOX_CENTRAL, &row, e);
}

static int
dissolve(struct store_tx *tx, void *arg, struct err *e)
{
	struct dissolving *d = arg;
	size_t i;
	int rc = packing_del(tx, d->p->id, e);

	if (!rc && d->blamed)
		rc = late_blame(tx, e);
	for (i = 0; !rc && i < pack_count(d->p->pack); i++)
		rc = release_row(tx, d, pack_member(d->p->pack, i)->seq, e);
	return rc;
}

/* Our own copy, read from end to end. */
static bool
is_damaged(struct edge *e, const struct packing *p, uint64_t seq)
{
	struct err err = ERR_INIT;
	struct store_tx *tx;
	uint64_t oid = 0;
	size_t i;
	int rc;

	for (i = 0; i < pack_count(p->pack) && pack_member(p->pack, i)->seq != seq; i++)
		;
	if (i == pack_count(p->pack) || store_begin_read(&tx, e->store, NULL))
		return false;
	rc = store_by_digest(tx, pack_member(p->pack, i)->digest, &oid, NULL);
	store_end_read(tx);
	if (!rc)
		rc = store_check(e->store, oid, &err);
	if (rc == ERR_CORRUPT)
		log_line(LOG_ERROR, "instance.damaged", "seq=%llu uid=%s what=\"%s\"",
			 (unsigned long long)seq, uid_shown(pack_member(p->pack, i)->sop_instance),
			 err.what);
	return rc == ERR_CORRUPT;
}

int
packing_dissolve(struct packing *p, struct edge *e, const uint64_t *bad, size_t n, bool blamed,
		 struct err *err)
{
	struct dissolving d = {e, p, bad, n, NULL, store_time(e->store), blamed};
	size_t i;
	int rc;

	d.damaged = calloc(n + 1, sizeof(*d.damaged));
	if (!d.damaged)
		return err_set(err, ERR_LOCAL, 0, "no memory to dissolve a pack");
	for (i = 0; i < n; i++)
		d.damaged[i] = is_damaged(e, p, bad[i]);
	rc = store_commit(e->store, dissolve, &d, err);
	free(d.damaged);
	if (!rc)
		packing_fini(p);
	return rc;
}

/* --- packs that no slot knows --- */

struct dropping {
	const struct packing *slots;
	size_t n_slots;
	unsigned char (*ids)[SHA256_SIZE]; /* to go */
	uint64_t *seqs;
	size_t n_ids, n_seqs;
};

/* Room for one more; it doubles at each power of two. */
static void *
more(void *p, size_t n, size_t one, struct err *e)
{
	void *larger = n & (n - 1) ? p : realloc(p, (n ? 2 * n : 1) * one);

	if (!larger)
		(void)err_set(e, ERR_LOCAL, 0, "no memory for packs");
	return larger;
}

static int
note_stray(void *arg, const unsigned char id[SHA256_SIZE], const void *manifest, size_t n,
	   struct err *e)
{
	struct dropping *d = arg;
	void *room;
	size_t i;

	(void)manifest;
	(void)n;
	for (i = 0; i < d->n_slots; i++)
		if (d->slots[i].pack && memcmp(d->slots[i].id, id, SHA256_SIZE) == 0)
			return 0;
	room = more(d->ids, d->n_ids, SHA256_SIZE, e);
	if (!room)
		return ERR_LOCAL;
	d->ids = room;
	memcpy(d->ids[d->n_ids++], id, SHA256_SIZE);
	return 0;
}

static bool
in_slots(const struct dropping *d, uint64_t seq)
{
	size_t i, k;

	for (i = 0; i < d->n_slots; i++)
		for (k = 0; d->slots[i].pack && k < pack_count(d->slots[i].pack); k++)
			if (pack_member(d->slots[i].pack, k)->seq == seq)
				return true;
	return false;
}

static int
note_pinned(void *arg, const struct outbox_row *row, struct err *e)
{
	struct dropping *d = arg;
	void *room;

	if (!row->packed || in_slots(d, row->seq))
		return 0;
	room = more(d->seqs, d->n_seqs, sizeof(*d->seqs), e);
	if (!room)
		return ERR_LOCAL;
	d->seqs = room;
	d->seqs[d->n_seqs++] = row->seq;
	return 0;
}

static int
drop_others(struct store_tx *tx, void *arg, struct err *e)
{
	struct dropping *d = arg;
	struct outbox_row row;
	size_t i;
	int rc;

	d->n_ids = d->n_seqs = 0;
	rc = packing_each(tx, note_stray, d, e);
	for (i = 0; !rc && i < d->n_ids; i++)
		rc = packing_del(tx, d->ids[i], e);
	if (!rc)
		rc = outbox_each(tx, OUTBOX_CENTRAL, 0, note_pinned, d, e);
	for (i = 0; !rc && i < d->n_seqs; i++) {
		rc = outbox_get(tx, OUTBOX_CENTRAL, d->seqs[i], &row, e);
		row.packed = false;
		if (!rc)
			rc = outbox_change(tx, OUTBOX_CENTRAL, &row, e);
	}
	return rc;
}

int
packing_drop_all(struct store_tx *tx, struct err *err)
{
	struct dropping d = {.slots = NULL};
	int rc = drop_others(tx, &d, err);

	free(d.ids);
	free(d.seqs);
	return rc;
}

int
packing_drop_others(const struct packing *slots, size_t n, struct edge *e, struct err *err)
{
	struct dropping d = {.slots = slots, .n_slots = n};
	int rc = store_commit(e->store, drop_others, &d, err);

	if (!rc)
		log_line(LOG_WARN, "pack.dropped", "packs=%zu members=%zu", d.n_ids, d.n_seqs);
	free(d.ids);
	free(d.seqs);
	return rc;
}
