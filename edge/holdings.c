#include "edge/holdings.h"

#include <string.h>

#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/known.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { PAGE = 1000 };

static const struct id128 none;

struct applying {
	const struct id128 *epoch;
	uint64_t first, next, end;
	const unsigned char *bits;
	struct store_tx *tx;
	uint64_t seqs[PAGE]; /* rows that central holds */
	size_t n;
	struct comparison found; /* on this page */
};

static bool
is_set(const struct applying *a, uint64_t seq)
{
	uint64_t i = seq - a->first;

	return a->bits[i / 8] & 1u << i % 8;
}

/* The version that this entry announced; ERR_ABSENT: none, or a later entry speaks for it. */
static int
version_of(struct store_tx *tx, uint64_t seq, struct version *v, struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	Sync__LedgerEntry *entry;
	const void *p;
	uint64_t oid;
	size_t n;
	int rc = ledger_get(tx, seq, &p, &n, e);

	if (rc)
		return rc;
	entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
	rc = entry && (ledger_says_has((int)entry->kind) || ledger_says_known((int)entry->kind)) &&
			     message_digest(digest, &entry->digest)
		     ? store_by_digest(tx, digest, &oid, e)
		     : ERR_ABSENT;
	message_free(entry);
	if (!rc)
		rc = store_version(tx, oid, v, e);
	return rc ? rc : v->seq == seq ? 0 : ERR_ABSENT;
}

/* Central lacks it: whatever was receipted, and whatever had put it off, is history (R9, R17). */
static int
owe(struct applying *a, uint64_t seq, const struct version *v, struct err *e)
{
	struct outbox_row row = outbox_row(seq, v, LANE_BACKFILL);
	int rc = outbox_get(a->tx, OUTBOX_CENTRAL, seq, &row, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	a->found.queued += rc == ERR_ABSENT;
	a->found.owed += rc == 0;
	a->found.parked += row.parked;
	row.parked = row.blamed = false;
	row.tries = 0;
	row.not_before = 0;
	rc = outbox_change(a->tx, OUTBOX_CENTRAL, &row, e);
	return rc ? rc : store_set_receipt(a->tx, v->oid, &none, e);
}

/* Not at central. R7: owed if it is here, also what was refilled, if central holds it no more. */
static int
lacks(struct applying *a, uint64_t seq, const struct version *v, struct err *e)
{
	if (v->state == VERSION_HERE)
		return owe(a, seq, v, e);
	a->found.damaged += v->state == VERSION_DAMAGED;
	a->found.gone += v->state != VERSION_DAMAGED;
	/* R10: nor is it said to be committed, also when an epoch comes back (R22). */
	return id128_none(&v->receipt) ? 0 : store_set_receipt(a->tx, v->oid, &none, e);
}

static int
apply_seq(struct applying *a, uint64_t seq, struct err *e)
{
	struct version v;
	bool was;
	int rc = version_of(a->tx, seq, &v, e);

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (!is_set(a, seq))
		return lacks(a, seq, &v, e);
	a->found.held++;
	rc = outbox_del(a->tx, OUTBOX_CENTRAL, seq, &was, e);
	if (!rc && version_aside(&v)) /* of no use to anybody now */
		rc = store_drop_bytes(a->tx, v.oid, VERSION_DAMAGED, e);
	return rc || version_receipted(&v, a->epoch) ? rc
						     : store_set_receipt(a->tx, v.oid, a->epoch, e);
}

static int
apply_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct applying *a = arg;
	uint64_t seq;
	int rc = 0;

	a->tx = tx;
	memset(&a->found, 0, sizeof(a->found));
	for (seq = a->next; !rc && seq < a->end && seq < a->next + PAGE; seq++)
		rc = apply_seq(a, seq, e);
	a->found.entries = seq - a->next;
	return rc;
}

/* --- owed rows only --- */

static int
note_held(void *arg, const struct outbox_row *row, struct err *e)
{
	struct applying *a = arg;

	(void)e;
	if (row->seq >= a->end || a->n == PAGE)
		return ERR_AGAIN;
	a->next = row->seq + 1;
	if (is_set(a, row->seq))
		a->seqs[a->n++] = row->seq;
	return 0;
}

static int
apply_rows(struct store_tx *tx, void *arg, struct err *e)
{
	struct applying *a = arg;
	size_t i;
	int rc = 0;

	a->tx = tx;
	for (i = 0; !rc && i < a->n; i++) {
		bool was;

		rc = apply_seq(a, a->seqs[i], e);
		if (!rc) /* an entry that a later one replaced is owed no more either */
			rc = outbox_del(tx, OUTBOX_CENTRAL, a->seqs[i], &was, e);
	}
	return rc;
}

static int
owed_page(struct edge *e, struct applying *a, struct err *err)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, err);

	if (rc)
		return rc;
	rc = outbox_each(tx, OUTBOX_CENTRAL, a->next, note_held, a, err);
	store_end_read(tx);
	if (rc == ERR_AGAIN)
		rc = 0;
	if (!rc && a->n)
		rc = store_commit(e->store, apply_rows, a, err);
	if (a->n < PAGE)
		a->next = a->end;
	return rc;
}

int
holdings_begin(struct holdings_work *w, const struct id128 *epoch, uint64_t first, uint64_t count,
	       const unsigned char *bits, bool whole, struct err *err)
{
	struct comparison found = w->found;

	holdings_end(w);
	if (whole && first > 1)
		w->found = found;
	w->epoch = *epoch;
	w->first = w->next = first;
	w->end = first + count;
	w->whole = whole;
	buf_put(&w->bits, bits, (size_t)(count + 7) / 8);
	return buf_failed(&w->bits) ? err_set(err, ERR_LOCAL, 0, "no memory for holdings") : 0;
}

static void
add_found(struct comparison *all, const struct comparison *page)
{
	all->entries += page->entries;
	all->held += page->held;
	all->owed += page->owed;
	all->queued += page->queued;
	all->parked += page->parked;
	all->damaged += page->damaged;
	all->gone += page->gone;
}

int
holdings_page(struct holdings_work *w, struct edge *e, bool *done, struct err *err)
{
	struct applying a = {.epoch = &w->epoch,
			     .first = w->first,
			     .next = w->next,
			     .end = w->end,
			     .bits = w->bits.data};
	int rc = 0;

	if (w->whole && w->next < w->end) {
		rc = store_commit(e->store, apply_page, &a, err);
		a.next += PAGE;
		if (!rc)
			add_found(&w->found, &a.found);
	} else if (w->next < w->end) {
		rc = owed_page(e, &a, err);
	}
	if (!rc)
		w->next = a.next;
	*done = w->next >= w->end;
	return rc;
}

void
holdings_receipted(struct holdings_work *w, uint64_t first, uint64_t last)
{
	uint64_t seq, end = last < w->end ? last + 1 : w->end, i;

	for (seq = first > w->next ? first : w->next; seq < end; seq++) {
		i = seq - w->first;
		w->bits.data[i / 8] = (unsigned char)(w->bits.data[i / 8] | 1u << i % 8);
	}
}

void
holdings_end(struct holdings_work *w)
{
	buf_fini(&w->bits);
	memset(w, 0, sizeof(*w));
}

/* --- epochs --- */

struct opening {
	const struct id128 *archive, *epoch;
};

static int
new_epoch(struct store_tx *tx, void *arg, struct err *e)
{
	const struct opening *o = arg;
	struct id128 before;
	int rc = sync_id(tx, "archive", &before, e);

	if (!rc)
		rc = sync_put(tx, "epoch", o->epoch->b, sizeof(o->epoch->b), e);
	/* Receipts of an archive that burnt are sealed with a key that burnt with it. */
	if (!rc && !id128_same(&before, o->archive))
		rc = sync_put(tx, "receipt", "", 0, e);
	if (!rc && !id128_same(&before, o->archive))
		rc = obey_other_archive(tx, e);
	if (!rc)
		rc = sync_put(tx, "archive", o->archive->b, sizeof(o->archive->b), e);
	if (!rc)
		rc = known_due(tx, e); /* R18: this one has been told nothing yet */
	/* Until the whole ledger has been compared, a restart begins that anew. */
	return rc ? rc : sync_set_number(tx, "losses", HOLDINGS_DUE, e);
}

int
holdings_new_epoch(struct edge *e, const struct id128 *archive, const struct id128 *epoch,
		   struct err *err)
{
	struct opening o = {archive, epoch};

	return store_commit(e->store, new_epoch, &o, err);
}

struct compared {
	const struct id128 *epoch;
	uint64_t losses;
};

static int
mark_compared(struct store_tx *tx, void *arg, struct err *e)
{
	const struct compared *c = arg;
	struct id128 epoch;
	int rc = sync_id(tx, "epoch", &epoch, e);

	return rc || !id128_same(&epoch, c->epoch) ? rc
						   : sync_set_number(tx, "losses", c->losses, e);
}

int
holdings_compared(struct edge *e, const struct id128 *epoch, uint64_t losses, struct err *err)
{
	struct compared c = {epoch, losses};

	return store_commit(e->store, mark_compared, &c, err);
}
