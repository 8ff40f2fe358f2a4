#include "edge/obey.h"

#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "edge/chores.h"
#include "edge/edge.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "edge/seals.h"
#include "edge/wanted.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), ORDER_TABLE);
}

static const char hold_key[] = "hold_order"; /* number of the last one */

/* --- what is told once: the last number of its kind counts --- */

/* *newer: it is above all of this name so far; it is the last from now on. */
static int
is_newer(struct store_tx *tx, const char *name, uint64_t number, bool *newer, struct err *e)
{
	uint64_t last;
	int rc = sync_number(tx, name, &last, e);

	*newer = !rc && number > last;
	return *newer ? sync_set_number(tx, name, number, e) : rc;
}

/* R10. A person at the edge may end it: the same order again does not bring it back. */
static int
obey_hold(struct store_tx *tx, const Sync__Order *m, struct err *e)
{
	uint64_t hold = 0;
	bool newer;
	int rc = is_newer(tx, hold_key, m->number, &newer, e);

	if (rc || !newer)
		return rc;
	rc = sync_number(tx, "hold", &hold, e);
	hold = m->on ? hold | HOLD_ORDER : hold & ~(uint64_t)HOLD_ORDER;
	return rc ? rc : sync_set_number(tx, "hold", hold, e);
}

/* --- retract and restore (R15, R27) --- */

#define DAY_MS INT64_C(86400000)

static const char stopped_key[] = "retract_stopped"; /* 1: a person must say that it goes on */
static const char since_key[] = "retract_since";     /* store_time when the day began       */
static const char count_key[] = "retract_count";     /* studies since then                  */

static Sync__LedgerEntry *
entry_of(struct store_tx *tx, const struct version *v)
{
	const void *entry;
	size_t n;

	if (!v->seq || ledger_get(tx, v->seq, &entry, &n, NULL))
		return NULL;
	return message_read(&sync__ledger_entry__descriptor, entry, n, NULL);
}

const struct withdrawn_node obey_node = {entry_of, NULL, NULL};

struct looking {
	bool known, hidden;
};

static int
look(void *arg, const struct version *v, struct err *e)
{
	struct looking *l = arg;

	(void)e;
	l->known = true;
	l->hidden = l->hidden || (v->hidden & VERSION_WITHDRAWN);
	return 0;
}

static uint64_t
limit(const struct store_counts *c)
{
	uint64_t part = c->studies / OBEY_RETRACT_PART;

	return part > OBEY_RETRACT_FEW ? part : OBEY_RETRACT_FEW;
}

/* R27: one more study is to be hidden today. *stop: that is too many. */
static int
count_study(struct store_tx *tx, bool *stop, struct err *e)
{
	int64_t now = store_time(store_tx_store(tx));
	struct store_counts counts;
	uint64_t since = 0, n = 0;
	int rc = sync_number(tx, since_key, &since, e);

	if (!rc)
		rc = sync_number(tx, count_key, &n, e);
	if (!rc)
		rc = store_counts(tx, &counts, e);
	if (rc)
		return rc;
	if (n == 0 || now - (int64_t)since >= DAY_MS) {
		n = 0;
		rc = sync_set_number(tx, since_key, (uint64_t)now, e);
	}
	*stop = n >= limit(&counts);
	if (!rc && *stop)
		return sync_set_number(tx, stopped_key, 1, e);
	return rc ? rc : sync_set_number(tx, count_key, n + 1, e);
}

static int
must_wait(struct store_tx *tx, const Sync__Order *m, bool *wait, struct err *e)
{
	struct looking l = {false, false};
	uint64_t stopped = 0;
	int rc = sync_number(tx, stopped_key, &stopped, e);

	*wait = stopped != 0;
	if (rc || stopped)
		return rc;
	rc = store_versions_of_study(tx, m->study, 0, look, &l, e);
	/* What is hidden in part was counted then. */
	return rc || !l.known || l.hidden ? rc : count_study(tx, wait, e);
}

static int
obey_withdrawal(struct store_tx *tx, const struct id128 *epoch, const Sync__Order *m,
		const void *bytes, size_t n, struct err *e)
{
	uint64_t changed;
	bool newer;
	int rc = withdrawn_take(tx, m, bytes, n, epoch, &newer, e);

	if (rc == ERR_PEER) /* it names nothing; the next one is no worse for it */
		return 0;
	if (rc || !newer || m->kind == SYNC__ORDER_KIND__ORDER_SITE) /* R26: kept for central */
		return rc;
	return withdrawn_settle_all(tx, m, &obey_node, &changed, e);
}

/* What another site's note, or ours, said, as central told it to all (IHE IOCM). */
static int
obey_rejection(struct store_tx *tx, const struct id128 *epoch, const Sync__Order *m,
	       const void *bytes, size_t n, struct err *e)
{
	uint64_t changed;
	bool newer;
	int rc = withdrawn_take(tx, m, bytes, n, epoch, &newer, e);

	if (!rc && newer)
		rc = rejected_take(tx, m->rejection, e);
	if (!rc && newer)
		rc = withdrawn_settle_rejection(tx, m->rejection, &obey_node, &changed, e);
	return rc == ERR_PEER ? 0 : rc; /* it names nothing; the next one is no worse for it */
}

/* --- each kind --- */

static bool
is_known(int kind)
{
	return kind == SYNC__ORDER_KIND__ORDER_HOLD || kind == SYNC__ORDER_KIND__ORDER_RETRACT ||
	       kind == SYNC__ORDER_KIND__ORDER_RESTORE ||
	       kind == SYNC__ORDER_KIND__ORDER_SETTINGS || kind == SYNC__ORDER_KIND__ORDER_SITE ||
	       kind == SYNC__ORDER_KIND__ORDER_REJECTED || chores_is(kind);
}

static int
keep(struct store_tx *tx, const Sync__Order *m, const void *bytes, size_t n, struct err *e)
{
	unsigned char key[8];

	return kv_put(store_tx_kv(tx), table(tx), kv_number(key, m->number), kv_slice(bytes, n), e);
}

static int
obey_known(struct store_tx *tx, const struct id128 *epoch, const Sync__Order *m, const void *bytes,
	   size_t n, struct err *e)
{
	if (m->kind == SYNC__ORDER_KIND__ORDER_HOLD)
		return obey_hold(tx, m, e);
	if (m->kind == SYNC__ORDER_KIND__ORDER_SETTINGS)
		return wanted_take(tx, m, e);
	if (chores_is((int)m->kind))
		return chores_take(tx, m, bytes, n, e);
	if (m->kind == SYNC__ORDER_KIND__ORDER_REJECTED)
		return obey_rejection(tx, epoch, m, bytes, n, e);
	return obey_withdrawal(tx, epoch, m, bytes, n, e);
}

int
obey(struct store_tx *tx, const struct id128 *epoch, const Sync__Order *m, const void *bytes,
     size_t n, struct err *e)
{
	struct withdrawn said = {.rank = 0};
	bool wait = false;
	int rc = 0;

	if (!is_known((int)m->kind))
		return keep(tx, m, bytes, n, e);
	if (m->kind == SYNC__ORDER_KIND__ORDER_RETRACT) {
		rc = withdrawn_get(tx, m->subject, &said, e);
		rc = rc == ERR_ABSENT ? 0 : rc;
		if (!rc && withdrawn_rank(m) > said.rank) /* else it changes nothing */
			rc = must_wait(tx, m, &wait, e);
	}
	if (rc)
		return rc;
	return wait ? keep(tx, m, bytes, n, e) : obey_known(tx, epoch, m, bytes, n, e);
}

struct waiting {
	uint64_t *numbers;
	size_t n;
};

static int
list_waiting(struct store_tx *tx, struct waiting *w, struct err *e)
{
	struct kv_cursor *c = NULL;
	struct kv_slice at, v;
	uint64_t *more;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (!rc)
		rc = kv_cursor_seek(c, kv_slice(NULL, 0), &at, &v, e);
	while (!rc) {
		more = realloc(w->numbers, (w->n + 1) * sizeof(*more));
		if (!more)
			rc = err_set(e, ERR_LOCAL, 0, "no memory for orders");
		if (!rc) {
			w->numbers = more;
			more[w->n++] = buf_get_be64(at.p);
			rc = kv_cursor_next(c, &at, &v, e);
		}
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* Those that wait go below the numbers that are given from now on. */
static int
move_waiting(struct store_tx *tx, struct err *e)
{
	struct waiting w = {NULL, 0};
	unsigned char from[8], to[8];
	struct buf copy = BUF_INIT;
	struct kv_slice v;
	size_t i;
	int rc = list_waiting(tx, &w, e);

	for (i = 0; !rc && i < w.n; i++) { /* in their order: none is in the way of the next */
		buf_set_be64(from, w.numbers[i]);
		buf_set_be64(to, i + 1);
		rc = kv_get(store_tx_kv(tx), table(tx), kv_slice(from, sizeof(from)), &v, e);
		buf_clear(&copy);
		if (!rc)
			buf_put(&copy, v.p, v.n);
		if (!rc && buf_failed(&copy))
			rc = err_set(e, ERR_LOCAL, 0, "no memory for orders");
		if (!rc)
			rc = kv_del(store_tx_kv(tx), table(tx), kv_slice(from, sizeof(from)), e);
		if (!rc)
			rc = kv_put(store_tx_kv(tx), table(tx), kv_slice(to, sizeof(to)),
				    kv_slice(copy.data, copy.len), e);
	}
	buf_fini(&copy);
	free(w.numbers);
	return rc;
}

int
obey_other_archive(struct store_tx *tx, struct err *e)
{
	int rc = sync_set_number(tx, hold_key, 0, e);

	if (!rc)
		rc = move_waiting(tx, e);

	if (!rc)
		rc = chores_other_archive(tx, e);
	if (!rc)
		rc = wanted_other_archive(tx, e);
	if (!rc)
		rc = sync_put(tx, ORDERS_TOP, "", 0, e);
	if (!rc)
		rc = seals_forget(tx, e);
	return rc ? rc : withdrawn_other_archive(tx, e);
}

/* --- those that were not known --- */

struct kept {
	uint64_t from, number; /* number: of the next that is due */
	uint64_t unknown, retracts, obeyed;
	bool accepted;
	struct buf bytes;
};

static int
each_kept(struct store_tx *tx, uint64_t from, bool (*fn)(struct kept *k, struct kv_slice v),
	  struct kept *k, struct err *e)
{
	struct kv_cursor *c = NULL;
	unsigned char key[8];
	struct kv_slice at, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (!rc)
		rc = kv_cursor_seek(c, kv_number(key, from), &at, &v, e);
	while (!rc) {
		k->number = buf_get_be64(at.p);
		if (fn(k, v))
			break;
		rc = kv_cursor_next(c, &at, &v, e);
	}
	kv_cursor_close(c);
	return rc;
}

static int
kind_of(struct kv_slice v)
{
	Sync__Order *m = message_read(&sync__order__descriptor, v.p, v.n, NULL);
	int kind = m ? (int)m->kind : 0;

	message_free(m);
	return kind;
}

static bool
count_one(struct kept *k, struct kv_slice v)
{
	if (kind_of(v) == SYNC__ORDER_KIND__ORDER_RETRACT)
		k->retracts++;
	else
		k->unknown++;
	return false;
}

int
obey_waiting(struct store_tx *tx, uint64_t *unknown, uint64_t *retracts, struct err *e)
{
	struct kept k = {.from = 0};
	int rc = each_kept(tx, 0, count_one, &k, e);

	*unknown = k.unknown;
	*retracts = k.retracts;
	return rc == ERR_ABSENT ? 0 : rc;
}

static bool
now_due(struct kept *k, struct kv_slice v)
{
	int kind = kind_of(v);
	bool yes = k->accepted ? kind == SYNC__ORDER_KIND__ORDER_RETRACT
			       : is_known(kind) && kind != SYNC__ORDER_KIND__ORDER_RETRACT;

	if (yes)
		buf_put(&k->bytes, v.p, v.n);
	return yes;
}

static int
obey_next(struct store_tx *tx, void *arg, struct err *e)
{
	struct kept *k = arg;
	static const struct id128 none;
	unsigned char key[8];
	Sync__Order *m;
	int rc;

	buf_clear(&k->bytes);
	rc = each_kept(tx, k->from, now_due, k, e);
	if (rc)
		return rc;
	m = message_read(&sync__order__descriptor, k->bytes.data, k->bytes.len, e);
	/* R16: the central that said it may have burnt while it waited: it is given back. */
	rc = m ? obey_known(tx, &none, m, k->bytes.data, k->bytes.len, e) : ERR_PEER;
	message_free(m);
	return rc ? rc : kv_del(store_tx_kv(tx), table(tx), kv_number(key, k->number), e);
}

static int
obey_due(struct edge *e, struct kept *k, struct err *err)
{
	int rc = 0;

	while (!rc) {
		rc = store_commit(e->store, obey_next, k, err);
		if (!rc)
			log_line(LOG_INFO, "order.kept_and_obeyed", "number=%llu",
				 (unsigned long long)k->number);
		k->obeyed += !rc;
		k->from = k->number + 1;
	}
	buf_fini(&k->bytes);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
obey_kept(struct edge *e, struct err *err)
{
	struct kept k = {.bytes = BUF_INIT};

	return obey_due(e, &k, err);
}

static int
go_on(struct store_tx *tx, void *arg, struct err *e)
{
	int rc = sync_set_number(tx, stopped_key, 0, e);

	(void)arg;
	return rc ? rc : sync_set_number(tx, count_key, 0, e);
}

int
obey_accept(struct edge *e, uint64_t *n, struct err *err)
{
	struct kept k = {.bytes = BUF_INIT, .accepted = true};
	int rc = obey_due(e, &k, err);

	*n = k.obeyed;
	orders_wake(e->orders); /* what waited is told */
	return rc ? rc : store_commit(e->store, go_on, NULL, err);
}
