#include "edge/committed.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/verdicts.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/holdings.h"
#include "edge/outbox.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { KEY_MAX = 1 + UID_SIZE, ROW = 1 + SHA256_SIZE, HERE_ONLY = 1, PAGE = 256 };

static const char count_key[] = "committed_here_only";

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), COMMITTED_TABLE);
}

static struct kv_slice
key_of(unsigned char key[KEY_MAX], char kind, const char *uid)
{
	size_t n = strlen(uid);

	key[0] = (unsigned char)kind;
	memcpy(key + 1, uid, n);
	return kv_slice(key, 1 + n);
}

static int
get(struct store_tx *tx, const char *uid, struct verdict_mark *out, struct err *err)
{
	unsigned char key[KEY_MAX];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), key_of(key, 'c', uid), &v, err);

	if (rc)
		return rc;
	if (v.n != ROW)
		return err_set(err, ERR_CORRUPT, 0, "a row of what is committed is torn");
	strcpy(out->sop_instance, uid);
	out->here_only = (*(const unsigned char *)v.p & HERE_ONLY) != 0;
	memcpy(out->digest, (const unsigned char *)v.p + 1, SHA256_SIZE);
	return 0;
}

bool
committed_has(struct store_tx *tx, const char *uid)
{
	struct verdict_mark m;

	return uid[0] && get(tx, uid, &m, NULL) != ERR_ABSENT;
}

int
committed_here_only(struct store_tx *tx, uint64_t *out, struct err *err)
{
	return sync_number(tx, count_key, out, err);
}

/* --- noting --- */

static int
put(struct store_tx *tx, const struct verdict_mark *m, struct err *err)
{
	unsigned char key[KEY_MAX], row[ROW];

	row[0] = m->here_only ? HERE_ONLY : 0;
	memcpy(row + 1, m->digest, SHA256_SIZE);
	return kv_put(store_tx_kv(tx), table(tx), key_of(key, 'c', m->sop_instance),
		      kv_slice(row, sizeof(row)), err);
}

/* The row "h", and how many there are. */
static int
set_here_only(struct store_tx *tx, const char *uid, bool on, struct err *err)
{
	unsigned char key[KEY_MAX];
	uint64_t n;
	int rc = sync_number(tx, count_key, &n, err);

	if (!rc && on)
		rc = kv_put(store_tx_kv(tx), table(tx), key_of(key, 'h', uid), kv_slice("", 0),
			    err);
	else if (!rc)
		rc = kv_del(store_tx_kv(tx), table(tx), key_of(key, 'h', uid), err);
	return rc ? rc : sync_set_number(tx, count_key, on ? n + 1 : n - 1, err);
}

/* *news: the ledger has not told of it. */
static int
note_one(struct store_tx *tx, const struct verdict_mark *m, bool *news, struct err *err)
{
	struct verdict_mark old = {.here_only = false};
	int rc = get(tx, m->sop_instance, &old, err);

	if (rc && rc != ERR_ABSENT)
		return rc;
	*news = rc == ERR_ABSENT || memcmp(old.digest, m->digest, SHA256_SIZE) != 0;
	rc = *news || old.here_only != m->here_only ? put(tx, m, err) : 0;
	if (!rc && old.here_only != m->here_only)
		rc = set_here_only(tx, m->sop_instance, m->here_only, err);
	return rc;
}

int
committed_note(void *edge, struct store_tx *tx, const struct verdict_mark *marks, size_t n,
	       struct err *err)
{
	struct edge *e = edge;
	const unsigned char *told[VERDICTS_PAGE];
	struct buf entry = BUF_INIT;
	uint64_t seq;
	size_t i, n_told = 0;
	bool news;
	int rc = 0;

	for (i = 0; !rc && i < n; i++) {
		rc = note_one(tx, &marks[i], &news, err);
		if (!rc && news)
			told[n_told++] = marks[i].digest;
	}
	if (rc || !n_told)
		return rc;
	ledger_committed(&entry, told, n_told, clock_wall(e->clock));
	rc = ledger_append(tx, &entry, &seq, err);
	buf_fini(&entry);
	return rc;
}

/* The mark of a refill's item; false: it has none. */
static bool
mark_of(struct verdict_mark *m, const Sync__RefillItem *item)
{
	Sync__LedgerEntry *entry = item->committed
					   ? message_read(&sync__ledger_entry__descriptor,
							  item->entry.data, item->entry.len, NULL)
					   : NULL;
	bool good = entry && uid_usable(entry->sop_instance, strlen(entry->sop_instance)) &&
		    message_digest(m->digest, &entry->digest);

	if (good)
		strcpy(m->sop_instance, entry->sop_instance);
	message_free(entry);
	return good;
}

int
committed_refilled(struct edge *e, struct store_tx *tx, const Sync__RefillAnswer *page,
		   struct err *err)
{
	struct verdict_mark *marks = calloc(VERDICTS_PAGE, sizeof(*marks));
	size_t i, n = 0;
	int rc = marks ? 0 : err_set(err, ERR_LOCAL, 0, "no memory for a page");

	for (i = 0; !rc && i < page->n_items; i++) {
		/* What is known here is known better. */
		n += mark_of(&marks[n], page->items[i]) &&
		     !committed_has(tx, marks[n].sop_instance);
		if (n == VERDICTS_PAGE || (n && i + 1 == page->n_items)) {
			rc = committed_note(e, tx, marks, n, err);
			n = 0;
		}
	}
	free(marks);
	return rc;
}

/* --- is it at central? --- */

/* Receipted in this epoch and not owed, and no comparison is due (R9, R19). */
static bool
safe(void *edge, struct store_tx *tx, const struct version *v)
{
	struct outbox_row row;
	struct contact c;
	struct id128 epoch;
	uint64_t losses;

	edge_contact(edge, &c);
	if (c.two_centrals || sync_id(tx, "epoch", &epoch, NULL) || id128_none(&epoch) ||
	    sync_number(tx, "losses", &losses, NULL))
		return false;
	if (losses == HOLDINGS_DUE || (c.ever && losses != c.losses))
		return false;
	return version_receipted(v, &epoch) &&
	       outbox_get(tx, OUTBOX_CENTRAL, v->seq, &row, NULL) == ERR_ABSENT;
}

void
committed_verdicts(struct verdicts *out, struct edge *e)
{
	out->safe = safe;
	out->note = committed_note;
	out->arg = e;
}

struct arriving {
	struct edge *e;
	char from[UID_SIZE], uids[PAGE][UID_SIZE];
	size_t n;
	bool any; /* of the UID at hand: central has a version */
	struct store_tx *tx;
};

static int
look(void *arg, const struct version *v, struct err *err)
{
	struct arriving *a = arg;

	(void)err;
	a->any = a->any || safe(a->e, a->tx, v);
	return 0;
}

static int
find_page(struct arriving *a, struct store_tx *tx, bool *more, struct err *err)
{
	unsigned char key[KEY_MAX];
	struct kv_cursor *c;
	struct kv_slice k, v;
	size_t seen = 0;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), err);

	a->n = 0;
	a->tx = tx;
	if (rc)
		return rc;
	rc = kv_cursor_seek(c, key_of(key, 'h', a->from), &k, &v, err);
	while (!rc && k.n > 1 && k.n <= UID_SIZE && *(const char *)k.p == 'h' && seen++ < PAGE) {
		char *uid = a->uids[a->n];

		memcpy(uid, (const char *)k.p + 1, k.n - 1);
		uid[k.n - 1] = '\0';
		strcpy(a->from, uid);
		a->any = false;
		rc = store_versions_of(tx, uid, look, a, err);
		a->n += rc == 0 && a->any;
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, err);
	}
	*more = !rc && seen > PAGE;
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
arrive(struct store_tx *tx, void *arg, struct err *err)
{
	struct arriving *a = arg;
	struct verdict_mark m;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < a->n; i++) {
		rc = get(tx, a->uids[i], &m, err);
		if (rc || !m.here_only)
			continue;
		m.here_only = false;
		rc = put(tx, &m, err);
		if (!rc)
			rc = set_here_only(tx, a->uids[i], false, err);
	}
	return rc;
}

static int
arrivals(struct arriving *a, uint64_t *left, struct err *err)
{
	struct store_tx *tx;
	bool more = true;
	int rc = 0;

	while (!rc && more) {
		rc = store_begin_read(&tx, a->e->store, err);
		if (rc)
			return rc;
		rc = committed_here_only(tx, left, err);
		more = !rc && *left;
		if (more)
			rc = find_page(a, tx, &more, err);
		store_end_read(tx);
		if (!rc && *left && a->n)
			rc = store_commit(a->e->store, arrive, a, err);
		*left -= rc || !*left ? 0 : a->n;
	}
	return rc;
}

bool
committed_turned(void *edge)
{
	struct arriving *a = malloc(sizeof(*a));
	struct err err = ERR_INIT;
	uint64_t left = 0;

	if (!a)
		return true;
	a->e = edge;
	a->from[0] = '\0';
	if (arrivals(a, &left, &err))
		log_err(LOG_WARN, "committed", &err);
	free(a);
	return left != 0;
}

/* --- all of them --- */

int
committed_each(struct store_tx *tx,
	       int (*fn)(void *arg, const struct verdict_mark *mark, struct err *err), void *arg,
	       struct err *err)
{
	struct verdict_mark m;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), err);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice("c", 1), &k, &v, err);
	while (!rc && k.n > 1 && k.n <= UID_SIZE && *(const char *)k.p == 'c' && v.n == ROW) {
		memset(&m, 0, sizeof(m));
		memcpy(m.sop_instance, (const char *)k.p + 1, k.n - 1);
		m.here_only = (*(const unsigned char *)v.p & HERE_ONLY) != 0;
		memcpy(m.digest, (const unsigned char *)v.p + 1, SHA256_SIZE);
		rc = fn(arg, &m, err);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, err);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}
