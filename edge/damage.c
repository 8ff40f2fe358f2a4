#include "edge/damage.h"

#include <stdatomic.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/keep.h"
#include "edge/mend.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { PAGE = 1000, ROW = 12 };

/* --- rows --- */

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), DAMAGED_TABLE);
}

int
damage_put(struct store_tx *tx, const struct damage_row *row, struct err *e)
{
	unsigned char key[8], value[ROW];

	buf_set_u32(value, row->tries);
	buf_set_u64(value + 4, (uint64_t)row->not_before);
	return kv_put(store_tx_kv(tx), table(tx), kv_number(key, row->oid),
		      kv_slice(value, sizeof(value)), e);
}

int
damage_del(struct store_tx *tx, uint64_t oid, struct err *e)
{
	unsigned char key[8];
	int rc;

	rc = kv_del(store_tx_kv(tx), table(tx), kv_number(key, oid), e);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
damage_count(struct store_tx *tx, uint64_t *out, struct err *e)
{
	return kv_count(store_tx_kv(tx), table(tx), out, e);
}

int
damage_each(struct store_tx *tx, uint64_t oid,
	    int (*fn)(void *arg, const struct damage_row *row, struct err *e), void *arg,
	    struct err *e)
{
	unsigned char key[8];
	struct damage_row row;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_number(key, oid), &k, &v, e);
	while (!rc) {
		if (k.n != sizeof(key) || v.n != ROW) {
			rc = err_set(e, ERR_CORRUPT, 0, "a row of the table of damage is torn");
			break;
		}
		row.oid = buf_get_be64(k.p);
		row.tries = buf_get_u32(v.p);
		row.not_before = (int64_t)buf_get_u64((const unsigned char *)v.p + 4);
		rc = fn(arg, &row, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- entering --- */

int
damage_enter(struct store_tx *tx, const struct version *v, int64_t wall_ms, struct err *e)
{
	struct damage_row row = {.oid = v->oid};
	struct buf entry = BUF_INIT;
	uint64_t seq;
	bool was;
	int rc;

	ledger_gone(&entry, SYNC__LEDGER_KIND__LEDGER_DAMAGED, v, wall_ms);
	rc = ledger_append(tx, &entry, &seq, e);
	if (!rc)
		rc = store_set_aside(tx, v->oid, e);
	if (!rc) /* to be read again, and to be fetched */
		rc = damage_put(tx, &row, e);
	if (!rc)
		rc = outbox_del(tx, OUTBOX_CENTRAL, v->seq, &was, e);
	buf_fini(&entry);
	return rc;
}

struct found {
	const struct edge *edge;
	struct version v; /* as it was when it was read */
};

static int
enter(struct store_tx *tx, void *arg, struct err *e)
{
	const struct found *f = arg;
	struct version now;
	int rc = store_version(tx, f->v.oid, &now, e);

	/* Evicted, or repaired by new bytes meanwhile: what was read is here no more. */
	if (rc || now.state != VERSION_HERE || now.bytes != f->v.bytes)
		return rc;
	return damage_enter(tx, &now, clock_wall(f->edge->clock), e);
}

void
damage_found(void *edge, uint64_t oid)
{
	struct found f = {.edge = edge};
	struct err e = ERR_INIT;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, f.edge->store, &e);

	if (!rc) {
		rc = store_version(tx, oid, &f.v, &e);
		store_end_read(tx);
	}
	if (!rc && store_check(f.edge->store, oid, NULL) != ERR_CORRUPT)
		return; /* not being able to look says nothing of the copy (R23) */
	if (!rc)
		rc = store_commit(f.edge->store, enter, &f, &e);
	if (rc)
		log_err(LOG_ERROR, "instance.damaged", &e);
	if (!rc && f.edge->replicate) /* central is to know: its copy counts now */
		replicate_wake(f.edge->replicate);
	if (!rc)
		mend_wake(f.edge->mend);
	if (!rc)
		log_line(LOG_ERROR, "instance.damaged", "seq=%llu uid=%s",
			 (unsigned long long)f.v.seq, f.v.sop_instance);
}

/* --- what was set aside --- */

struct aside {
	uint64_t oid, bytes;
};

struct again {
	struct edge *e;
	struct store_tx *tx; /* while a page is looked at */
	struct aside list[PAGE];
	size_t n, seen;
	uint64_t from;
	/* of one: */
	const struct aside *one;
	bool good;
	uint64_t left, back; /* of all */
};

static int
note_aside(void *arg, const struct damage_row *row, struct err *err)
{
	struct again *a = arg;
	struct version v;
	int rc;

	if (a->seen++ == PAGE)
		return ERR_AGAIN;
	a->from = row->oid + 1;
	rc = store_version(a->tx, row->oid, &v, err);
	if (!rc && version_aside(&v))
		a->list[a->n++] = (struct aside){v.oid, v.bytes};
	return rc == ERR_ABSENT ? 0 : rc;
}

int
damage_announce(struct store_tx *tx, const struct edge *e, const struct version *v, uint64_t *seq,
		struct err *err)
{
	struct buf again = BUF_INIT;
	Sync__LedgerEntry *m;
	const void *p;
	size_t n;
	int rc = ledger_get(tx, v->seq, &p, &n, err);

	if (rc)
		return rc;
	m = message_read(&sync__ledger_entry__descriptor, p, n, err);
	if (!m)
		return ERR_PEER;
	m->wall_ms = clock_wall(e->clock);
	m->age_ms = store_time(e->store) - v->first_ms;
	message_pack(&again, &m->base);
	message_free(m);
	rc = ledger_append(tx, &again, seq, err);
	buf_fini(&again);
	return rc ? rc : store_set_seq(tx, v->oid, *seq, err);
}

static int
take_back(struct store_tx *tx, const struct again *a, const struct version *v, struct err *err)
{
	uint64_t seq;
	int rc = damage_announce(tx, a->e, v, &seq, err);

	if (!rc)
		rc = store_take_back(tx, v->oid, err);
	if (!rc)
		rc = damage_del(tx, v->oid, err);
	return rc ? rc : outbox_add(tx, OUTBOX_CENTRAL, seq, v, LANE_RESEND, err);
}

static int
settle_one(struct store_tx *tx, void *arg, struct err *err)
{
	const struct again *a = arg;
	struct id128 epoch;
	struct version now;
	int rc = store_version(tx, a->one->oid, &now, err);

	if (rc || !version_aside(&now) || now.bytes != a->one->bytes)
		return rc;
	if (a->good)
		return take_back(tx, a, &now, err);
	rc = sync_id(tx, "epoch", &epoch, err);
	return rc || !version_receipted(&now, &epoch)
		       ? rc
		       : store_drop_bytes(tx, now.oid, VERSION_DAMAGED, err);
}

/* Good again: held. Bad still: it goes when central has it, and is not in the dark (R10). */
static int
look_at(struct again *a, const struct aside *one, struct err *err)
{
	int rc = store_check(a->e->store, one->oid, NULL);

	a->one = one;
	a->good = rc == ERR_NONE;
	a->back += a->good;
	a->left += !a->good;
	if (!a->good && (rc != ERR_CORRUPT || keep_in_the_dark(a->e)))
		return 0;
	return store_commit(a->e->store, settle_one, a, err);
}

static int
look_at_page(struct again *a, bool *more, struct err *err)
{
	size_t i;
	int rc = store_begin_read(&a->tx, a->e->store, err);

	a->n = a->seen = 0;
	if (rc)
		return rc;
	rc = damage_each(a->tx, a->from, note_aside, a, err);
	store_end_read(a->tx);
	*more = rc == ERR_AGAIN;
	rc = *more ? 0 : rc;
	for (i = 0; !rc && i < a->n && !atomic_load(&a->e->stopping); i++)
		rc = look_at(a, &a->list[i], err);
	return rc;
}

int
damage_again(struct edge *e, struct err *err)
{
	struct again a = {.e = e};
	bool more = true;
	int rc = 0;

	while (!rc && more && !atomic_load(&e->stopping))
		rc = look_at_page(&a, &more, err);
	if (a.back || a.left)
		log_line(LOG_WARN, "instance.again", "good=%llu damaged=%llu",
			 (unsigned long long)a.back, (unsigned long long)a.left);
	if (a.back && e->replicate)
		replicate_wake(e->replicate);
	return rc;
}
