#include "central/rejections.h"

#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/dispatch.h"
#include "central/record.h"
#include "central/withdraw.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/kv/kv.h"
#include "common/os/command.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

static const struct id128 none;
static const char caught_up_key[] = "rejections";

/* Ledgers are long, and these entries few: field 1, the kind, is an entry's first. */
static bool
may_reject(const unsigned char *p, size_t n)
{
	return n > 2 && p[0] == 0x08 && p[1] == SYNC__LEDGER_KIND__LEDGER_REJECTED;
}

/* --- giving --- */

static int
is_known(struct central *c, const char *id, bool *known, struct err *e)
{
	struct withdrawn said;
	struct store_tx *tx;
	int rc = record_read_locked(&tx, c, e);

	if (rc)
		return rc;
	rc = rejections_get(tx, id, &said, e);
	store_end_read(tx);
	*known = rc == 0;
	return rc == ERR_ABSENT ? 0 : rc;
}

/* Its rank is far above all that was heard of its images (R26). */
static int
is_made_up(struct central *c, const char *site, const Sync__Rejection *r, bool *yes, struct err *e)
{
	uint64_t next = 0;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = rejected_rank(tx, r, &next, e);
	store_end_read(tx);
	*yes = !rc && r->rank > next + REJECTED_LEAP;
	if (*yes)
		log_line(LOG_ERROR, "rejection.made_up", "site=%s rank=%llu", site,
			 (unsigned long long)r->rank);
	return rc;
}

static int
give(struct central *c, const char *site, Sync__Rejection *r, struct err *e)
{
	Sync__Order m = SYNC__ORDER__INIT;
	char id[REJECTION_ID];
	bool known = true, made_up = false;
	int rc = rejection_id(r, id, e);

	if (!rc)
		rc = is_known(c, id, &known, e);
	if (!rc && !known)
		rc = is_made_up(c, site, r, &made_up, e);
	if (rc || known || made_up)
		return rc;
	m.kind = SYNC__ORDER_KIND__ORDER_REJECTED;
	m.subject = id;
	m.study = r->study;
	m.why = message_text(site);
	m.rejection = r;
	return dispatch_give_locked(c, &m, e);
}

/* What it says is of no use to anybody: kept in the ledger as it came. */
static bool
says_nothing(const Sync__LedgerEntry *entry)
{
	return !entry || entry->kind != SYNC__LEDGER_KIND__LEDGER_REJECTED ||
	       !rejected_is_meant(entry->rejection);
}

int
rejections_told_locked(struct central *c, const char *site, const ProtobufCBinaryData *entries,
		       size_t n, struct err *e)
{
	Sync__LedgerEntry *entry;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < n; i++) {
		if (!may_reject(entries[i].data, entries[i].len))
			continue;
		entry = message_read(&sync__ledger_entry__descriptor, entries[i].data,
				     entries[i].len, NULL);
		if (!says_nothing(entry))
			rc = give(c, site, entry->rejection, e);
		message_free(entry);
	}
	return rc;
}

/* --- what it makes of the catalogue --- */

int
rejections_apply(struct store_tx *tx, const Sync__Order *m, const void *bytes, size_t n,
		 struct err *e)
{
	uint64_t changed;
	bool newer;
	int rc = rejected_is_meant(m->rejection) ? withdrawn_take(tx, m, bytes, n, &none, &newer, e)
						 : ERR_PEER;

	if (rc == ERR_PEER) /* a later central's, perhaps: the log keeps it */
		return 0;
	if (!rc && newer)
		rc = rejected_take(tx, m->rejection, e);
	if (!rc && newer)
		rc = withdrawn_settle_rejection(tx, m->rejection, &withdraw_node, &changed, e);
	return rc;
}

/* --- what was lost --- */

bool
rejections_may_come_back(const Sync__Order *m)
{
	char id[REJECTION_ID];

	return m->kind == SYNC__ORDER_KIND__ORDER_REJECTED && rejected_is_meant(m->rejection) &&
	       rejection_id(m->rejection, id, NULL) == 0 && strcmp(id, m->subject) == 0;
}

int
rejections_take_back(struct central *c, const char *site, const Sync__Order *m, struct err *e)
{
	Sync__Order again = *m;
	bool known = true;
	int rc;

	again.of = withdrawn_rank(m);
	(void)pthread_mutex_lock(&c->order);
	rc = is_known(c, m->subject, &known, e);
	if (!rc && !known)
		rc = dispatch_give_locked(c, &again, e);
	(void)pthread_mutex_unlock(&c->order);
	if (!rc && !known)
		log_line(LOG_WARN, "decision.back", "site=%s kind=%d id=%s", site, (int)m->kind,
			 m->subject);
	return rc;
}

/* A page of rejections that ledgers tell of, from behind `at` on. */
struct catching {
	struct buf at, found; /* found: length u32, an entry; repeated */
	bool ended;
};

enum { PAGE_ROWS = 100000, PAGE_BYTES = 1 << 20 };

static int
find_page(struct catching *x, struct central *c, struct err *e)
{
	struct kv_cursor *cursor = NULL;
	struct kv_slice k, v;
	struct store_tx *tx;
	size_t rows = 0;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	buf_clear(&x->found);
	rc = kv_cursor_open(&cursor, store_tx_kv(tx), store_table(c->store, "announced"), e);
	if (!rc)
		rc = kv_cursor_seek(cursor, kv_slice(x->at.data, x->at.len), &k, &v, e);
	while (!rc && rows++ < PAGE_ROWS && x->found.len < PAGE_BYTES) {
		const unsigned char *p = v.p;

		if (v.n > SHA256_SIZE && may_reject(p + SHA256_SIZE, v.n - SHA256_SIZE)) {
			buf_put_u32(&x->found, (uint32_t)(v.n - SHA256_SIZE));
			buf_put(&x->found, p + SHA256_SIZE, v.n - SHA256_SIZE);
		}
		buf_clear(&x->at);
		buf_put(&x->at, k.p, k.n);
		buf_put_u8(&x->at, 0); /* right behind it */
		rc = kv_cursor_next(cursor, &k, &v, e);
	}
	x->ended = rc == ERR_ABSENT;
	kv_cursor_close(cursor);
	store_end_read(tx);
	if (buf_failed(&x->at) || buf_failed(&x->found))
		return err_set(e, ERR_LOCAL, 0, "no memory for rejections");
	return x->ended ? 0 : rc;
}

static int
set_caught_up(struct store_tx *tx, void *arg, struct err *e)
{
	(void)arg;
	return state_set_number(tx, caught_up_key, 1, e);
}

static int
is_caught_up(struct central *c, bool *yes, struct err *e)
{
	struct store_tx *tx;
	uint64_t n = 0;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = state_number(tx, caught_up_key, &n, e);
	store_end_read(tx);
	*yes = n != 0;
	return rc;
}

int
rejections_catch_up(struct central *c, struct err *e)
{
	struct catching x = {BUF_INIT, BUF_INIT, false};
	bool done = false;
	size_t at;
	int rc = is_caught_up(c, &done, e);

	(void)pthread_mutex_lock(&c->order);
	while (!rc && !done && !x.ended) {
		rc = find_page(&x, c, e);
		for (at = 0; !rc && at < x.found.len; at += 4 + buf_get_u32(x.found.data + at)) {
			ProtobufCBinaryData one = message_bytes(x.found.data + at + 4,
								buf_get_u32(x.found.data + at));

			rc = rejections_told_locked(c, "", &one, 1, e);
		}
	}
	(void)pthread_mutex_unlock(&c->order);
	if (!rc && !done)
		rc = store_commit(c->store, set_caught_up, NULL, e);
	buf_fini(&x.at);
	buf_fini(&x.found);
	return rc;
}

/* --- listing --- */

int
rejections_list(struct asked *a)
{
	struct central *c = a->node;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, &e);

	if (rc)
		return command_failed(a, &e);
	rc = rejected_print(tx, command_option(a, "--json") != NULL, &out, &e);
	store_end_read(tx);
	return command_end(a, &out, rc, &e, COMMAND_OK);
}
