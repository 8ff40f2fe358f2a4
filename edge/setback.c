#include "edge/setback.h"

#include <stdatomic.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/holdings.h"
#include "edge/outbox.h"
#include "edge/packing.h"
#include "edge/refill.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { STEP = 4096, ROUNDS = 64 };

/* Of the sync table: the seq of the entry that began this incarnation, if not the first. */
#define BRANCHED "branched"

/* --- the incarnation --- */

int
branch_read(struct store_tx *tx, struct branch *out, struct err *err)
{
	Sync__LedgerEntry *entry = NULL;
	uint64_t seq = 0;
	const void *p;
	size_t n;
	int rc = sync_number(tx, BRANCHED, &seq, err);

	memset(out, 0, sizeof(*out));
	if (!rc)
		rc = ledger_get(tx, seq ? seq : 1, &p, &n, err);
	if (!rc)
		entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
	if (!rc && (!entry || !message_id(&out->incarnation, &entry->incarnation)))
		rc = err_set(err, ERR_CORRUPT, 0, "the ledger does not begin with an incarnation");
	if (!rc && message_id(&out->previous, &entry->previous_incarnation) &&
	    message_digest(out->hash, &entry->last_common_hash))
		out->common = entry->last_common_seq;
	message_free(entry);
	return rc == ERR_ABSENT ? err_set(err, ERR_CORRUPT, 0, "the ledger is empty") : rc;
}

/* --- the contact (R8) --- */

/* New with each token: two copies that have the same one never say the same of it twice. */
static int
put_contact(struct store_tx *tx, const void *token, size_t n, struct err *err)
{
	struct id128 contact;
	int rc = sync_put(tx, "token", token, n, err);

	id128_make(rng_real(), &contact);
	return rc ? rc : sync_put(tx, "contact", contact.b, sizeof(contact.b), err);
}

int
contact_begin(struct store_tx *tx, struct err *err)
{
	struct id128 contact;
	int rc = sync_id(tx, "contact", &contact, err);

	return rc || !id128_none(&contact) ? rc : put_contact(tx, "", 0, err);
}

struct keeping {
	const void *token;
	size_t n;
};

static int
keep(struct store_tx *tx, void *arg, struct err *err)
{
	const struct keeping *k = arg;

	return put_contact(tx, k->token, k->n, err);
}

int
contact_keep(struct edge *e, const void *token, size_t n, struct err *err)
{
	struct keeping k = {token, n};

	return n ? store_commit(e->store, keep, &k, err) : 0;
}

/* --- the last common seq --- */

static bool
is_ours(struct store_tx *tx, uint64_t seq, const ProtobufCBinaryData *hash)
{
	unsigned char own[SHA256_SIZE], said[SHA256_SIZE];

	return message_digest(said, hash) && !ledger_hash(tx, seq, own, NULL) &&
	       memcmp(own, said, sizeof(own)) == 0;
}

static void
narrow(struct setback *s, struct store_tx *tx, const Sync__HelloAnswer *m)
{
	size_t i;

	for (i = 0; i < m->n_hashes; i++) {
		uint64_t seq = s->from + i * s->step;

		if (seq > s->high)
			return;
		if (!is_ours(tx, seq, &m->hashes[i])) {
			s->high = seq - 1;
			return;
		}
		s->low = seq;
	}
	/* Central gives as many as it has, or 4,096: one that gives none knows no more of it. */
	if (!i)
		s->high = s->low;
}

static void
begin(struct setback *s, struct store_tx *tx, const struct ledger_head *head,
      const Sync__HelloAnswer *m)
{
	memset(s, 0, sizeof(*s));
	s->going = true;
	s->high = m->head < head->seq ? m->head : head->seq;
	if (m->head <= head->seq && is_ours(tx, m->head, &m->hash))
		s->low = s->high; /* only the token was another */
}

int
setback_heard(struct setback *s, struct edge *e, const Sync__HelloAnswer *m, bool *found,
	      struct err *err)
{
	struct ledger_head head;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, err);

	if (rc)
		return rc;
	rc = ledger_head(tx, &head, err);
	if (!rc && s->going)
		narrow(s, tx, m);
	else if (!rc)
		begin(s, tx, &head, m);
	store_end_read(tx);
	if (rc)
		return rc;
	*found = s->low >= s->high || ++s->rounds > ROUNDS;
	s->step = s->high - s->low >= STEP ? STEP : 1;
	/* R8: H of every 4,096th seq; then of each between two of these. */
	s->from = s->step == 1 ? s->low + 1 : (s->low / STEP + 1) * STEP;
	return 0;
}

/* --- the new incarnation --- */

struct branching {
	struct edge *e;
	struct setback *s;
	struct id128 next;
};

static int
branch(struct store_tx *tx, void *arg, struct err *err)
{
	struct branching *b = arg;
	unsigned char hash[SHA256_SIZE];
	struct buf entry = BUF_INIT;
	struct branch now;
	uint64_t seq;
	int rc = branch_read(tx, &now, err);

	if (!rc)
		rc = ledger_hash(tx, b->s->low, hash, err);
	if (rc)
		return rc;
	ledger_branch(&entry, &b->next, b->e->site, &now.incarnation, b->s->low, hash,
		      clock_wall(b->e->clock));
	rc = ledger_append(tx, &entry, &seq, err);
	buf_fini(&entry);
	if (!rc)
		rc = sync_set_number(tx, BRANCHED, seq, err);
	/* Receipts are numbered per incarnation (R22); those of its past count by their epoch. */
	if (!rc)
		rc = sync_put(tx, "receipt", "", 0, err);
	if (!rc)
		rc = put_contact(tx, "", 0, err);
	if (!rc)
		rc = packing_drop_all(tx, err);
	if (!rc)
		rc = sync_set_number(tx, SETBACK_RELIST, 1, err);
	/* What central lacks of all that is here is owed (R8). */
	return rc ? rc : sync_set_number(tx, "losses", HOLDINGS_DUE, err);
}

int
setback_branch(struct setback *s, struct edge *e, struct err *err)
{
	struct branching b = {e, s, {{0}}};
	char hex[ID128_HEX];
	int rc;

	id128_make(rng_real(), &b.next);
	rc = store_commit(e->store, branch, &b, err);
	if (rc)
		return rc;
	edge_set_incarnation(e, &b.next);
	atomic_store(&e->relist, true);
	hex_of(b.next.b, sizeof(b.next.b), hex);
	log_line(LOG_ERROR, "incarnation.new",
		 "incarnation=%s common=%llu what=\"this disk was set back or copied\"", hex,
		 (unsigned long long)s->low);
	memset(s, 0, sizeof(*s));
	return 0;
}

/* --- what the former life knew --- */

static int
relisted(struct store_tx *tx, void *arg, struct err *err)
{
	(void)arg;
	return sync_set_number(tx, SETBACK_RELIST, 0, err);
}

int
setback_relist(struct edge *e, struct link *link, struct err *err)
{
	int rc;

	if (!atomic_exchange(&e->relist, false))
		return 0;
	rc = refill_list(e, link, err);
	if (!rc && !atomic_load(&e->relist)) /* another set-back meanwhile: once more */
		rc = store_commit(e->store, relisted, NULL, err);
	if (rc)
		atomic_store(&e->relist, true);
	return rc;
}
