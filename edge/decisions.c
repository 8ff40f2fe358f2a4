#include "edge/decisions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/kv/kv.h"
#include "common/store/decided.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/about.h"
#include "edge/bring.h"
#include "edge/edge.h"
#include "edge/outbox.h"
#include "proto/decision.h"
#include "proto/ledger.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/version.h"

enum {
	BACK_MAX = 200,
	BACK_BYTES = 1 << 20,
	KEY = 8 + ID128_SIZE,
	HEAD = 8,
	CALL_SECONDS = 60,
	LATER_MS = 15000
};

static const char place_key[] = "decisions_place", last_key[] = "decisions_last",
		  reading_key[] = "decisions_reading", epoch_key[] = "decisions_epoch";

struct decisions {
	struct edge *e;
	struct bring *bring; /* versions that were chosen and are not here */
	uint32_t version;    /* settled on; 0: no hello yet                */
	bool due;	     /* the list may have grown, or is another one */
	bool back_due;	     /* the list may lack what is kept here        */
	int64_t not_before_ms;
	struct about about; /* what came here after the list was read past it */
	uint64_t head;	    /* of the ledger, as looked at last */
	int64_t about_ms;   /* not asked about before           */
	enum { IDLE, READING, BRINGING } doing;
	/* of the call under way */
	struct id128 epoch;
	bool other; /* epoch than the one in which the list was read: from its beginning */
	unsigned char (*back)[KEY];
	size_t n_back;
};

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), DECISIONS_TABLE);
}

/* --- obeying --- */

/* What viewers get from now on, as our own ledger told of it. What is only listed central tells of
 * first: bring asks. */
static int
show(void *arg, struct store_tx *tx, const struct version *v, struct err *err)
{
	struct index_sets sets = {.dropped = NULL};
	Sync__LedgerEntry *m = NULL;
	struct store_verdict verdict;
	const void *entry;
	size_t n;
	int rc = v->seq ? ledger_get(tx, v->seq, &entry, &n, err) : ERR_ABSENT;

	(void)arg;
	if (rc)
		return rc;
	m = message_read(&sync__ledger_entry__descriptor, entry, n, NULL);
	if (m) {
		sets.series = (struct attrs){m->series_attributes.data, m->series_attributes.len};
		sets.instance =
			(struct attrs){m->instance_attributes.data, m->instance_attributes.len};
		if (!attrs_valid(sets.series))
			sets.series.n = 0;
		if (!attrs_valid(sets.instance))
			sets.instance.n = 0;
	}
	rc = store_set_current(tx, v->oid, &sets, &verdict, err);
	message_free(m);
	return rc;
}

int
decisions_settle(struct store_tx *tx, const char *uid, struct err *err)
{
	return decided_settle(tx, uid, true, show, NULL, err);
}

static int
obey(struct store_tx *tx, const Sync__Decision *m, struct err *err)
{
	unsigned char(*digests)[SHA256_SIZE];
	struct decided d;
	bool taken;
	int rc;

	if (!decision_current(&d, &digests, m)) /* of a later kind: kept */
		return 0;
	rc = decided_put(tx, m->sop_instance, &d, &taken, err);
	if (!rc && taken)
		rc = decisions_settle(tx, m->sop_instance, err);
	free(digests);
	return rc;
}

/* --- the list --- */

static void
key_of(unsigned char key[KEY], uint64_t number, const unsigned char *id)
{
	buf_set_be64(key, number);
	memcpy(key + 8, id, ID128_SIZE);
}

static int
keep(struct store_tx *tx, const unsigned char key[KEY], uint64_t reading, const void *p, size_t n,
     struct err *err)
{
	struct buf row = BUF_INIT;
	int rc;

	buf_put_u64(&row, reading);
	buf_put(&row, p, n);
	rc = buf_failed(&row) ? err_set(err, ERR_LOCAL, 0, "no memory for a decision")
			      : kv_put(store_tx_kv(tx), table(tx), kv_slice(key, KEY),
				       kv_slice(row.data, row.len), err);
	buf_fini(&row);
	return rc;
}

struct taking {
	struct decisions *d;
	const Sync__DecisionsAnswer *m;
};

/* What was given back lies at central now. */
static int
mark_given(struct store_tx *tx, const struct decisions *d, uint64_t reading, struct err *err)
{
	struct buf copy = BUF_INIT;
	struct kv_slice v;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < d->n_back; i++) {
		rc = kv_get(store_tx_kv(tx), table(tx), kv_slice(d->back[i], KEY), &v, err);
		if (rc || v.n < HEAD)
			continue;
		buf_clear(&copy);
		buf_put(&copy, (const unsigned char *)v.p + HEAD, v.n - HEAD);
		rc = keep(tx, d->back[i], reading, copy.data, copy.len, err);
	}
	buf_fini(&copy);
	return rc;
}

static int
is_any(void *arg, const struct version *v, struct err *err)
{
	(void)arg;
	(void)v;
	(void)err;
	return ERR_AGAIN;
}

/* R12: what R3 says of an instance that this site does not know takes no room here; what people
 * decided is kept by all (R16). */
static bool
matters(struct store_tx *tx, const Sync__Decision *m)
{
	return m->kind != SYNC__DECIDED_KIND__DECIDED_CURRENT || m->person || m->origin ||
	       store_versions_of(tx, m->sop_instance, is_any, NULL, NULL) == ERR_AGAIN;
}

static int
take_one(struct store_tx *tx, uint64_t reading, const ProtobufCBinaryData *bytes,
	 struct id128 *last, struct err *err)
{
	Sync__Decision *m =
		message_read(&sync__decision__descriptor, bytes->data, bytes->len, NULL);
	unsigned char key[KEY];
	int rc;

	if (!m || !message_id(last, &m->id)) {
		message_free(m);
		return err_set(err, ERR_PEER, 0, "central's list has a decision without an id");
	}
	key_of(key, m->number, last->b);
	rc = 0;
	if (matters(tx, m)) {
		rc = keep(tx, key, reading, bytes->data, bytes->len, err);
		if (!rc)
			rc = obey(tx, m, err);
	}
	message_free(m);
	return rc;
}

/* One page: kept, obeyed, and the place in the list, in one commit. */
static int
take(struct store_tx *tx, void *arg, struct err *err)
{
	struct taking *t = arg;
	struct id128 last;
	uint64_t reading;
	size_t i;
	int rc = sync_number(tx, reading_key, &reading, err);

	if (!rc && t->d->other) {
		rc = sync_set_number(tx, reading_key, ++reading, err);
		if (!rc)
			rc = sync_put(tx, epoch_key, t->d->epoch.b, sizeof(t->d->epoch.b), err);
	}
	if (rc)
		return rc;
	if (t->m->restart) {
		rc = sync_set_number(tx, reading_key, reading + 1, err);
		return rc ? rc : sync_set_number(tx, place_key, 0, err);
	}
	rc = mark_given(tx, t->d, reading, err);
	for (i = 0; !rc && i < t->m->n_about; i++)
		rc = take_one(tx, reading, &t->m->about[i], &last, err);
	if (!rc)
		rc = about_save(&t->d->about, tx, err);
	for (i = 0; !rc && i < t->m->n_decisions; i++)
		rc = take_one(tx, reading, &t->m->decisions[i], &last, err);
	if (!rc && t->m->n_decisions)
		rc = sync_put(tx, last_key, last.b, sizeof(last.b), err);
	return rc ? rc : sync_set_number(tx, place_key, t->m->next, err);
}

/* What this reading of the list did not bring; at most a request of it. */
static int
add_back(struct decisions *d, struct store_tx *tx, uint64_t reading, Sync__DecisionsRequest *m,
	 struct err *err)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	size_t bytes = 0;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), err);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, err);
	while (!rc && m->n_back < BACK_MAX && bytes < BACK_BYTES) {
		if (k.n == KEY && v.n > HEAD && buf_get_u64(v.p) != reading) {
			memcpy(d->back[m->n_back], k.p, KEY);
			m->back[m->n_back++] =
				message_bytes((const unsigned char *)v.p + HEAD, v.n - HEAD);
			bytes += v.n;
		}
		rc = kv_cursor_next(c, &k, &v, err);
	}
	kv_cursor_close(c);
	d->n_back = m->n_back;
	return rc == ERR_ABSENT ? 0 : rc;
}

/* Nothing that the list will tell anyway. */
static int
add_about(struct decisions *d, struct store_tx *tx, Sync__DecisionsRequest *m, struct err *err)
{
	size_t i;
	int rc = about_next(&d->about, tx, m->after == 0, err);

	d->about_ms = clock_mono(d->e->clock) + LATER_MS;
	for (i = 0; !rc && i < d->about.n; i++)
		m->about[m->n_about++] = d->about.uid[i];
	if (!rc && !m->n_about)
		d->about.asked = d->about.upto;
	return rc;
}

static int
ask(struct decisions *d, const struct id128 *epoch, struct http_call *out, bool *want,
    struct err *err)
{
	Sync__DecisionsRequest m = SYNC__DECISIONS_REQUEST__INIT;
	ProtobufCBinaryData list[BACK_MAX];
	char *about[DECISION_ABOUT_MAX];
	struct id128 last, before;
	struct store_tx *tx;
	uint64_t reading;
	int rc = store_begin_read(&tx, d->e->store, err);

	d->n_back = 0;
	m.back = list;
	m.about = about;
	if (rc)
		return rc;
	rc = sync_number(tx, place_key, &m.after, err);
	if (!rc)
		rc = sync_number(tx, reading_key, &reading, err);
	if (!rc)
		rc = sync_id(tx, epoch_key, &before, err);
	d->epoch = *epoch;
	d->other = !rc && !id128_same(&before, epoch); /* R22: what it lacks is given back */
	d->due = d->due || d->other;
	if (d->other)
		m.after = 0;
	if (!rc && m.after)
		rc = sync_id(tx, last_key, &last, err);
	if (!rc && m.after)
		m.last = message_bytes(last.b, sizeof(last.b));
	if (!rc && !d->due && d->back_due) { /* the list was read: what it lacks */
		rc = add_back(d, tx, reading, &m, err);
		d->back_due = rc || m.n_back;
	}
	if (!rc)
		rc = add_about(d, tx, &m, err);
	*want = !rc && (d->due || m.n_back || m.n_about);
	if (*want) {
		(void)snprintf(out->path, sizeof(out->path), "/sync/v1/decisions");
		out->method = "POST";
		out->seconds = CALL_SECONDS;
		message_pack(&out->body, &m.base);
	}
	store_end_read(tx);
	return rc;
}

static int
read_answer(struct decisions *d, const struct http_done *done, struct err *err)
{
	struct taking t = {d, NULL};
	Sync__DecisionsAnswer *m = message_read(&sync__decisions_answer__descriptor,
						done->body.data, done->body.len, err);
	int rc;

	if (!m)
		return ERR_PEER;
	t.m = m;
	rc = store_commit(d->e->store, take, &t, err);
	if (!rc) {
		d->about.asked = m->restart ? d->about.asked : d->about.upto;
		d->due = m->restart || m->next < m->total;
		d->back_due = d->back_due || m->restart || d->other;
		if (m->restart)
			log_line(LOG_WARN, "decisions.restart", "total=%llu",
				 (unsigned long long)m->total);
		if (m->n_decisions || m->n_about)
			bring_again(d->bring);
	}
	message_free(m);
	return rc;
}

int
decisions_read_again(struct store_tx *tx, struct err *err)
{
	return sync_set_number(tx, place_key, 0, err);
}

/* --- the duty --- */

void
decisions_heard(struct decisions *d, uint32_t version, uint64_t total)
{
	struct store_tx *tx;
	struct id128 now, read;
	uint64_t place = 0;

	d->version = version;
	if (version < PROTOCOL_DECISIONS || store_begin_read(&tx, d->e->store, NULL))
		return;
	if (sync_number(tx, place_key, &place, NULL) || place != total ||
	    sync_id(tx, "epoch", &now, NULL) || sync_id(tx, epoch_key, &read, NULL) ||
	    !id128_same(&now, &read))
		decisions_ask(d);
	store_end_read(tx);
}

void
decisions_ask(struct decisions *d)
{
	d->due = true;
	d->not_before_ms = INT64_MIN;
}

/* When central is asked for its list, or about something. */
static int64_t
list_due(const struct decisions *d)
{
	if (d->due || d->back_due)
		return d->not_before_ms;
	if (d->about.asked >= d->head)
		return INT64_MAX;
	return d->about_ms > d->not_before_ms ? d->about_ms : d->not_before_ms;
}

static int
next(struct decisions *d, const struct id128 *epoch, struct http_call *out, bool *want,
     struct err *err)
{
	int64_t now = clock_mono(d->e->clock);
	int rc = 0;

	*want = false;
	if (d->version < PROTOCOL_DECISIONS || d->doing != IDLE)
		return 0;
	memset(out, 0, sizeof(*out));
	hex_of(epoch->b, sizeof(epoch->b), out->epoch);
	if (now >= list_due(d)) {
		rc = ask(d, epoch, out, want, err);
		d->doing = *want ? READING : IDLE;
	}
	if (!rc && !*want) {
		rc = bring_next(d->bring, epoch, out, want, err);
		d->doing = *want ? BRINGING : IDLE;
	}
	if (rc)
		d->not_before_ms = now + LATER_MS;
	return rc;
}

static void
lost(struct decisions *d)
{
	if (d->doing == BRINGING)
		bring_lost(d->bring);
	d->doing = IDLE;
	d->not_before_ms = clock_mono(d->e->clock) + LATER_MS;
}

static int
answered(struct decisions *d, const struct http_done *done, struct err *err)
{
	int rc;

	if (d->doing == BRINGING) {
		d->doing = IDLE;
		return bring_answered(d->bring, done, err);
	}
	if (done->status != 200 || (done->epoch[0] && strcmp(done->asked, done->epoch) != 0)) {
		lost(d);
		return 0;
	}
	d->doing = IDLE;
	rc = read_answer(d, done, err);
	if (rc)
		d->not_before_ms = clock_mono(d->e->clock) + LATER_MS;
	return rc;
}

void
decisions_answered(struct decisions *d, struct http_done *done)
{
	struct err err = ERR_INIT;

	if (answered(d, done, &err))
		log_err(LOG_WARN, "decisions", &err);
	buf_fini(&done->body);
}

static int64_t
due(const struct decisions *d)
{
	int64_t list = list_due(d), first = bring_due(d->bring);

	if (d->version < PROTOCOL_DECISIONS || d->doing != IDLE)
		return INT64_MAX;
	return list < first ? list : first;
}

void
decisions_turn(struct decisions *d, struct link *link, uint64_t id, const struct id128 *epoch,
	       uint64_t head, int64_t *wake_ms)
{
	struct err err = ERR_INIT;
	struct http_call call;
	bool want = false;
	int rc;

	d->head = head;
	rc = next(d, epoch, &call, &want, &err);
	call.id = id;
	if (!rc && want) {
		rc = link_submit(link, &call, &err);
		if (rc)
			lost(d);
	}
	if (rc)
		log_err(LOG_ERROR, "decisions", &err);
	if (due(d) < *wake_ms)
		*wake_ms = due(d);
}

int
decisions_new(struct decisions **out, struct edge *e, struct err *err)
{
	struct decisions *d = calloc(1, sizeof(*d));
	struct store_tx *tx;
	int rc;

	if (d)
		d->back = calloc(BACK_MAX, KEY);
	rc = d && d->back ? bring_new(&d->bring, e, err)
			  : err_set(err, ERR_LOCAL, 0, "no memory for decisions");
	if (rc) {
		decisions_free(d);
		return rc;
	}
	rc = store_begin_read(&tx, e->store, err);
	if (!rc) {
		rc = about_load(&d->about, tx, err);
		store_end_read(tx);
	}
	if (rc) {
		decisions_free(d);
		return rc;
	}
	d->e = e;
	d->due = d->back_due = true; /* is it the list that was read before the start? */
	*out = d;
	return 0;
}

void
decisions_free(struct decisions *d)
{
	if (!d)
		return;
	bring_free(d->bring);
	free(d->back);
	free(d);
}
