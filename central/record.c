#include "central/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/committed.h"
#include "central/central.h"
#include "central/clog.h"
#include "central/decisions.h"
#include "central/dispatch.h"
#include "central/figures.h"
#include "central/heard.h"
#include "central/lives.h"
#include "central/members.h"
#include "central/returns.h"
#include "central/withdraw.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/kv/kv.h"
#include "common/os/daemon.h"
#include "common/store/index.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

enum { BATCH_RECORDS = 256, BATCH_BYTES = 8 << 20, EPOCH_KEY = 48 };

static const char applied_key[] = "applied";

/* --- a batch of ledger entries --- */

struct applying {
	struct store_tx *tx;
	struct site_row site;
	int64_t wall_ms; /* central's clock when it came         */
	int64_t time_ms; /* its store_time, also in a rebuild    */
	bool foreign;	 /* the study at hand came first from another site */
};

/* The first version of a study says whose it is. */
static int
is_foreign(void *arg, const struct version *v, struct err *e)
{
	struct applying *a = arg;

	(void)e;
	a->foreign = strcmp(v->source.site, a->site.site) != 0;
	return ERR_AGAIN;
}

/* R3: from another source the first stays as it is, also in what its study's record says. */
static int
check_correction(struct applying *a, const char *study, struct tags *corrected, struct err *e)
{
	int rc;

	a->foreign = false;
	rc = corrected->n ? store_versions_of_study(a->tx, study, 0, is_foreign, a, e) : 0;
	if (a->foreign)
		corrected->n = 0;
	return rc == ERR_AGAIN ? 0 : rc;
}

static int
apply_study(struct applying *a, const Sync__LedgerEntry *entry, struct err *e)
{
	struct attrs set = {entry->study_attributes.data, entry->study_attributes.len};
	struct buf record = BUF_INIT;
	struct tags corrected;
	int rc;

	if (!entry->study[0] || strlen(entry->study) > UID_KEEP || !attrs_valid(set))
		return 0; /* kept as it came, of no use for the index */
	ledger_corrected(&corrected, entry);
	ledger_record(&record, set); /* what is counted is counted here (R20) */
	rc = check_correction(a, entry->study, &corrected, e);
	if (!rc && buf_failed(&record))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a study record");
	if (!rc)
		rc = index_study(a->tx, entry->study, attrs_of(&record), &corrected, e);
	buf_fini(&record);
	return rc;
}

static void
note_title(struct site_row *site, const char *aet)
{
	char joined[sizeof(site->titles)];
	const char *at = strstr(site->titles, aet);
	size_t n = strlen(aet);

	if (!n || (at && (at[n] == '\0' || at[n] == ',')))
		return;
	/* The newest first; the oldest fall off the end. */
	(void)snprintf(joined, sizeof(joined), "%.16s%s%.230s", aet, site->titles[0] ? "," : "",
		       site->titles);
	strcpy(site->titles, joined);
}

static int
apply_instance(struct applying *a, uint64_t seq, const Sync__LedgerEntry *entry, struct err *e)
{
	struct tags dropped;
	struct index_sets sets = {
		.series = {entry->series_attributes.data, entry->series_attributes.len},
		.instance = {entry->instance_attributes.data, entry->instance_attributes.len},
		.dropped = &dropped};
	struct store_verdict verdict;
	struct version v;
	bool has = ledger_says_has((int)entry->kind), withdrawn;
	uint32_t rejected = 0;
	int rc;

	if (!ledger_version(&v, entry))
		return holdings_set(a->tx, &a->site.incarnation, seq, true, e);
	/* What counts of the study its records have said (R6). */
	if (!attrs_valid(sets.series))
		sets.series.n = 0;
	if (!attrs_valid(sets.instance))
		sets.instance.n = 0;
	ledger_corrected(&dropped, entry);
	(void)snprintf(v.source.site, sizeof(v.source.site), "%s", a->site.site);
	v.arrived_wall_ms = a->wall_ms; /* also in a rebuild, years later */
	v.first_ms = a->time_ms - (entry->age_ms > 0 ? entry->age_ms : 0);
	rc = withdraw_says(a->tx, v.digest, &v, &withdrawn, e);
	/* R15: central's decisions alone hide it, whatever the edge's entry says. */
	if (!rc)
		rc = rejected_hides(a->tx, v.sop_instance, &rejected, e);
	v.hidden = (v.hidden & ~(uint32_t)WITHDRAWN_BITS) | rejected |
		   (!rc && withdrawn ? (uint32_t)VERSION_WITHDRAWN : 0u);
	if (!rc)
		rc = store_announce(a->tx, &v, &sets, &verdict, e);
	if (!rc)
		rc = claim_put(a->tx, v.digest, &a->site.incarnation, seq, has, e);
	if (!rc)
		rc = store_version(a->tx, verdict.oid, &v, e);
	/* R19: the entry came after the bytes; or there are none to owe. */
	if (!rc)
		rc = holdings_set(a->tx, &a->site.incarnation, seq, v.state == VERSION_HERE || !has,
				  e);
	note_title(&a->site, entry->source_aet);
	return rc;
}

bool
record_claim(const Sync__LedgerEntry *entry, unsigned char digest[SHA256_SIZE], bool *has)
{
	struct version v;

	*has = ledger_says_has((int)entry->kind);
	if (*has || ledger_says_known((int)entry->kind))
		return ledger_version(&v, entry) && message_digest(digest, &entry->digest);
	return ledger_says_gone((int)entry->kind) && message_digest(digest, &entry->digest);
}

static int
apply_gone(struct applying *a, uint64_t seq, const Sync__LedgerEntry *entry, struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	int rc = 0;

	if (message_digest(digest, &entry->digest))
		rc = claim_put(a->tx, digest, &a->site.incarnation, seq, false, e);
	return rc ? rc : holdings_set(a->tx, &a->site.incarnation, seq, true, e);
}

static int
apply_committed(struct applying *a, uint64_t seq, const Sync__LedgerEntry *entry, struct err *e)
{
	int rc = committed_apply(a->tx, entry->committed, entry->n_committed, e);

	return rc ? rc : holdings_set(a->tx, &a->site.incarnation, seq, true, e);
}

/* Unknown kinds and what cannot be read are kept and held: there are no bytes to owe (R5). */
static int
apply_entry(struct applying *a, uint64_t seq, const ProtobufCBinaryData *bytes, struct err *e)
{
	Sync__LedgerEntry *entry =
		message_read(&sync__ledger_entry__descriptor, bytes->data, bytes->len, NULL);
	int rc;

	if (entry && entry->kind == SYNC__LEDGER_KIND__LEDGER_STUDY)
		rc = apply_study(a, entry, e);
	else
		rc = 0;
	if (!rc && entry &&
	    (ledger_says_has((int)entry->kind) || ledger_says_known((int)entry->kind)))
		rc = apply_instance(a, seq, entry, e);
	else if (!rc && entry && ledger_says_gone((int)entry->kind))
		rc = apply_gone(a, seq, entry, e);
	else if (!rc && entry && entry->kind == SYNC__LEDGER_KIND__LEDGER_COMMITTED)
		rc = apply_committed(a, seq, entry, e);
	else if (!rc)
		rc = holdings_set(a->tx, &a->site.incarnation, seq, true, e);
	message_free(entry);
	return rc;
}

static int
append_entry(struct applying *a, const ProtobufCBinaryData *bytes, struct err *e)
{
	struct store_tx *tx = a->tx;
	struct ledger_head *head = &a->site.head;
	struct buf row = BUF_INIT;
	unsigned char key[ID128_SIZE + 8];
	int rc;

	ledger_chain(head->hash, bytes->data, bytes->len);
	head->seq++;
	memcpy(key, a->site.incarnation.b, ID128_SIZE);
	buf_set_be64(key + ID128_SIZE, head->seq);
	buf_put(&row, head->hash, SHA256_SIZE);
	buf_put(&row, bytes->data, bytes->len);
	rc = buf_failed(&row)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for a ledger entry")
		     : kv_put(store_tx_kv(tx), store_table(store_tx_store(tx), "announced"),
			      kv_slice(key, sizeof(key)), kv_slice(row.data, row.len), e);
	buf_fini(&row);
	return rc ? rc : apply_entry(a, head->seq, bytes, e);
}

static int
apply_ledger(struct store_tx *tx, const void *p, size_t n, struct err *e)
{
	Sync__LogLedger *m = message_read(&sync__log_ledger__descriptor, p, n, e);
	struct applying a = {
		.tx = tx, .wall_ms = m ? m->wall_ms : 0, .time_ms = m ? m->time_ms : 0};
	struct id128 incarnation;
	size_t i;
	int rc;

	if (!m || !message_id(&incarnation, &m->incarnation)) {
		message_free(m);
		return err_set(e, ERR_CORRUPT, 0, "a ledger record of the log cannot be read");
	}
	rc = site_get(tx, &incarnation, &a.site, e);
	if (rc == ERR_ABSENT)
		rc = err_set(e, ERR_CORRUPT, 0, "the log announces for a site that never came");
	if (!rc && m->first > a.site.head.seq + 1)
		rc = err_set(e, ERR_CORRUPT, 0, "the log has a gap in a ledger");
	/* Some are here: a batch whose catalogue commit failed was sent again, with more. */
	for (i = rc ? 0 : (size_t)(a.site.head.seq + 1 - m->first); !rc && i < m->n_entries; i++)
		rc = append_entry(&a, &m->entries[i], e);
	if (!rc) {
		a.site.announced_ms = m->wall_ms;
		/* A rebuild knows of no hello, but of this. */
		if (a.site.contact_ms < m->wall_ms)
			a.site.contact_ms = m->wall_ms;
		rc = site_put(tx, &a.site, e);
	}
	message_free(m);
	return rc;
}

/* --- epochs and decisions --- */

static const char *
epoch_key(const struct id128 *epoch, char key[EPOCH_KEY])
{
	strcpy(key, "epoch ");
	hex_of(epoch->b, sizeof(epoch->b), key + strlen(key));
	return key;
}

int
record_knows_epoch(struct store_tx *tx, const struct id128 *epoch, bool *out, struct err *e)
{
	char key[EPOCH_KEY];
	uint64_t n;
	int rc = state_number(tx, epoch_key(epoch, key), &n, e);

	*out = !rc && n;
	return rc;
}

static int
apply_epoch(struct store_tx *tx, const void *p, size_t n, struct err *e)
{
	Sync__LogEpoch *m = message_read(&sync__log_epoch__descriptor, p, n, e);
	char key[EPOCH_KEY];
	struct id128 epoch;
	int rc;

	if (!m || !message_id(&epoch, &m->epoch))
		rc = err_set(e, ERR_CORRUPT, 0, "an epoch record of the log cannot be read");
	else
		rc = state_set_id(tx, "epoch", &epoch, e);
	if (!rc) /* R8: a contact token of it was given here */
		rc = state_set_number(tx, epoch_key(&epoch, key), 1, e);
	if (!rc)
		rc = dispatch_new_epoch(tx, e);
	if (!rc)
		rc = member_new_epoch(tx, e);
	message_free(m);
	return rc;
}

/* Known ones are hidden now; of those that come later the catalogue is asked. */
static int
withdraw(struct store_tx *tx, const ProtobufCBinaryData *bytes, struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	struct version v = {.hidden = 0};
	uint64_t oid;
	int rc;

	if (!message_digest(digest, bytes))
		return 0;
	rc = decision_withdraw(tx, digest, e);
	if (!rc)
		rc = store_by_digest(tx, digest, &oid, e);
	if (!rc)
		rc = store_version(tx, oid, &v, e);
	if (!rc)
		rc = figures_leave(tx, digest, e);
	if (!rc)
		rc = store_set_hidden(tx, oid, v.hidden | VERSION_WITHDRAWN, e);
	if (!rc)
		rc = figures_enter(tx, digest, e);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
apply_decision(struct store_tx *tx, const void *p, size_t n, struct err *e)
{
	Sync__LogDecision *m = message_read(&sync__log_decision__descriptor, p, n, e);
	size_t i;
	int rc = 0;

	if (!m)
		return err_set(e, ERR_CORRUPT, 0, "a decision in the log cannot be read");
	rc = lives_apply(tx, m, e);
	if (!rc && m->kind == SYNC__DECISION_KIND__DECISION_RETURNED) {
		rc = returns_apply(tx, m, e);
	} else if (!rc && m->kind == SYNC__DECISION_KIND__DECISION_ORDER) {
		rc = dispatch_apply(tx, m, e);
	} else if (!rc && m->kind == SYNC__DECISION_KIND__DECISION_ORDER_DONE) {
		rc = heard_apply(tx, m, e);
	} else if (!rc && m->kind == SYNC__DECISION_KIND__DECISION_DECIDED) {
		rc = decisions_apply(tx, m, e);
	} else if (!rc && m->kind == SYNC__DECISION_KIND__DECISION_WITHDRAW) {
		for (i = 0; !rc && i < m->n_digests; i++)
			rc = withdraw(tx, &m->digests[i], e);
	}
	if (!rc && m->kind == SYNC__DECISION_KIND__DECISION_COMMITTED)
		rc = committed_apply(tx, m->digests, m->n_digests, e);
	if (!rc)
		rc = member_apply(tx, m, e);
	message_free(m);
	return rc;
}

static int
apply(struct store_tx *tx, uint64_t number, uint32_t kind, const void *p, size_t n, struct err *e)
{
	int rc = 0;

	switch ((enum clog_kind)kind) { /* later kinds are skipped */
	case CLOG_EPOCH:
		rc = apply_epoch(tx, p, n, e);
		break;
	case CLOG_LEDGER:
		rc = apply_ledger(tx, p, n, e);
		break;
	case CLOG_DECISION:
		rc = apply_decision(tx, p, n, e);
		break;
	}
	return rc ? rc : state_set_number(tx, applied_key, number, e);
}

int
record_applied(struct store_tx *tx, uint64_t *number, struct err *e)
{
	return state_number(tx, applied_key, number, e);
}

/* --- new records --- */

struct one {
	uint64_t number;
	uint32_t kind;
	const struct buf *payload;
};

static int
apply_one(struct store_tx *tx, void *arg, struct err *e)
{
	const struct one *o = arg;

	return apply(tx, o->number, o->kind, o->payload->data, o->payload->len, e);
}

int
record_settle_locked(struct central *c, struct err *e)
{
	struct one o = {c->pending_number, c->pending_kind, &c->pending};
	int rc;

	if (!c->pending_number)
		return 0;
	if (buf_failed(&c->pending))
		return err_set(e, ERR_LOCAL, 0, "the catalogue is behind the log: restart");
	rc = store_commit(c->store, apply_one, &o, e);
	if (rc)
		return rc;
	c->pending_number = 0;
	buf_fini(&c->pending);
	return 0;
}

int
record_read_locked(struct store_tx **out, struct central *c, struct err *e)
{
	int rc = record_settle_locked(c, e);

	return rc ? rc : store_begin_read(out, c->store, e);
}

/*
 * Without its log central takes nothing more, and only opening it anew shows what it holds
 * (TRAPS 4): this process ends, and its supervisor starts the next one.
 */
static void
end_without_log(struct central *c)
{
	if (!clog_broken(c->log) || atomic_exchange(&c->failed, true))
		return;
	log_line(LOG_ERROR, "log.ended", "what=\"it must be opened anew; ending\"");
	if (c->ctl) /* a command ends by itself */
		daemon_wake();
}

int
record_write_locked(struct central *c, uint32_t kind, const struct buf *payload, struct err *e)
{
	struct one o = {0, kind, payload};
	int rc = buf_failed(payload) ? err_set(e, ERR_LOCAL, 0, "no memory for a log record")
				     : record_settle_locked(c, e);

	if (rc)
		return rc;
	/* R16: in the log, and flushed, before the answer that depends on it. */
	rc = clog_append(c->log, kind, payload->data, payload->len, e);
	o.number = clog_count(c->log);
	if (!rc)
		rc = clog_sync(c->log, e);
	if (rc) {
		end_without_log(c);
		return rc;
	}
	rc = store_commit(c->store, apply_one, &o, e);
	if (rc) { /* it is in the log: no later record may be applied before it */
		c->pending_number = o.number;
		c->pending_kind = kind;
		buf_put(&c->pending, payload->data, payload->len);
	}
	return rc;
}

int
record_write(struct central *c, uint32_t kind, const struct buf *payload, struct err *e)
{
	int rc;

	(void)pthread_mutex_lock(&c->order);
	rc = record_write_locked(c, kind, payload, e);
	(void)pthread_mutex_unlock(&c->order);
	return rc;
}

int
record_epoch(struct central *c, const char *why, struct err *e)
{
	Sync__LogEpoch m = SYNC__LOG_EPOCH__INIT;
	struct buf payload = BUF_INIT;
	struct id128 epoch;
	int rc;

	id128_make(rng_real(), &epoch);
	m.epoch = message_bytes(epoch.b, sizeof(epoch.b));
	m.why = message_text(why);
	m.wall_ms = clock_wall(c->clock);
	message_pack(&payload, &m.base);
	rc = record_write(c, CLOG_EPOCH, &payload, e);
	buf_fini(&payload);
	if (rc)
		return rc;
	(void)pthread_mutex_lock(&c->mu);
	c->epoch = epoch;
	(void)pthread_mutex_unlock(&c->mu);
	log_line(LOG_WARN, "epoch.new", "why=\"%s\"", why);
	return 0;
}

int
record_decide_locked(struct central *c, Sync__LogDecision *m, struct err *e)
{
	struct buf payload = BUF_INIT;
	int rc;

	m->wall_ms = clock_wall(c->clock);
	message_pack(&payload, &m->base);
	rc = record_write_locked(c, CLOG_DECISION, &payload, e);
	buf_fini(&payload);
	return rc;
}

static int
turn_one(struct store_tx *tx, void *arg, struct err *e)
{
	return site_turn(tx, arg, e);
}

void
record_turn(struct central *c)
{
	struct err e = ERR_INIT;
	bool more = true;

	while (more && !dispatch_stopping(&c->dispatch))
		if (store_commit(c->store, turn_one, &more, &e)) {
			log_err(LOG_ERROR, "figures.behind", &e);
			return;
		}
}

/* R18: what is left of a turn before is done in pieces, too, not all in the next one's commit. */
static void
turn_before(struct central *c)
{
	struct store_tx *tx;
	bool turning = false;

	if (store_begin_read(&tx, c->store, NULL))
		return;
	(void)site_turning(tx, &turning, NULL);
	store_end_read(tx);
	if (turning)
		record_turn(c);
}

int
record_decide(struct central *c, Sync__LogDecision *m, struct err *e)
{
	int rc;

	if (lives_changes(m))
		turn_before(c);
	(void)pthread_mutex_lock(&c->order);
	rc = record_decide_locked(c, m, e);
	(void)pthread_mutex_unlock(&c->order);
	if (!rc && lives_changes(m))
		record_turn(c);
	return rc;
}

int
record_decision(struct central *c, int kind, const char *site, const struct id128 *incarnation,
		const char *why, struct err *e)
{
	Sync__LogDecision m = SYNC__LOG_DECISION__INIT;

	m.kind = (Sync__DecisionKind)kind;
	m.site = message_text(site);
	if (incarnation)
		m.incarnation = message_bytes(incarnation->b, sizeof(incarnation->b));
	m.why = message_text(why);
	return record_decide(c, &m, e);
}

int
record_withdraw(struct central *c, const unsigned char *digests, size_t n, const char *why,
		struct err *e)
{
	Sync__LogDecision m = SYNC__LOG_DECISION__INIT;
	size_t i;
	int rc;

	m.kind = SYNC__DECISION_KIND__DECISION_WITHDRAW;
	m.why = message_text(why);
	m.digests = calloc(n + 1, sizeof(*m.digests));
	if (!m.digests)
		return err_set(e, ERR_LOCAL, 0, "no memory for a decision");
	for (i = 0; i < n; i++)
		m.digests[i] = message_bytes(digests + i * SHA256_SIZE, SHA256_SIZE);
	m.n_digests = n;
	rc = record_decide(c, &m, e);
	free(m.digests);
	return rc;
}

/* --- at the start --- */

struct replaying {
	struct central *c;
	uint64_t applied, last;
	struct buf bytes; /* u64 number, u32 kind, u32 length, payload; repeated */
	unsigned n;
};

static int
apply_batch(struct store_tx *tx, void *arg, struct err *e)
{
	struct replaying *r = arg;
	size_t at = 0;
	int rc = 0;

	while (!rc && at < r->bytes.len) {
		const unsigned char *p = r->bytes.data + at;
		uint32_t n = buf_get_u32(p + 12);

		rc = apply(tx, buf_get_u64(p), buf_get_u32(p + 8), p + 16, n, e);
		at += 16 + n;
	}
	return rc;
}

static int
flush_batch(struct replaying *r, struct err *e)
{
	int rc;

	if (!r->n)
		return 0;
	rc = buf_failed(&r->bytes) ? err_set(e, ERR_LOCAL, 0, "no memory for log records")
				   : store_commit(r->c->store, apply_batch, r, e);
	buf_clear(&r->bytes);
	r->n = 0;
	return rc;
}

static int64_t
time_of(const void *p, size_t n)
{
	Sync__LogLedger *m = message_read(&sync__log_ledger__descriptor, p, n, NULL);
	int64_t time_ms = m ? m->time_ms : 0;

	message_free(m);
	return time_ms;
}

static int
replay_one(void *arg, uint64_t number, uint32_t kind, const void *p, size_t n, struct err *e)
{
	struct replaying *r = arg;
	int rc = daemon_go_on(e);

	if (rc)
		return rc;
	r->last = number;
	if (number <= r->applied)
		return 0;
	/* A catalogue that is made anew goes on where the one before it was (R28). */
	if (kind == CLOG_LEDGER)
		store_time_reach(r->c->store, time_of(p, n));
	buf_put_u64(&r->bytes, number);
	buf_put_u32(&r->bytes, kind);
	buf_put_u32(&r->bytes, (uint32_t)n);
	buf_put(&r->bytes, p, n);
	return ++r->n >= BATCH_RECORDS || r->bytes.len >= BATCH_BYTES ? flush_batch(r, e) : 0;
}

int
record_replay(struct central *c, const char *dir, struct err *e)
{
	struct replaying r = {.c = c, .bytes = BUF_INIT};
	struct store_tx *tx;
	bool more = true;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = record_applied(tx, &r.applied, e);
	store_end_read(tx);
	if (!rc)
		rc = clog_open(&c->log, dir, 0, replay_one, &r, e);
	if (!rc)
		rc = flush_batch(&r, e);
	if (!rc && r.last < r.applied)
		rc = err_set(e, ERR_CORRUPT, 0,
			     "the log ends at record %llu, the catalogue knows %llu: an older log? "
			     "`rebuild` makes the catalogue anew",
			     (unsigned long long)r.last, (unsigned long long)r.applied);
	buf_fini(&r.bytes);
	while (!rc && more) {
		rc = daemon_go_on(e);
		if (!rc)
			rc = store_commit(c->store, turn_one, &more, e);
	}
	return rc;
}
