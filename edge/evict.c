#include "edge/evict.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/store/store.h"
#include "edge/committed.h"
#include "edge/edge.h"
#include "edge/holdings.h"
#include "edge/outbox.h"
#include "edge/wanted.h"
#include "edge/replicate.h"
#include "proto/ledger.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

enum {
	DIGESTS = 1000, /* per question      */
	STEP_BYTES = 64 << 20,
	STEP_COUNT = 1000,
	AHEAD = 64, /* studies that were released lately */
	STUDIES = 8,
	ANSWER_SECONDS = 30
};

#define DAY_MS INT64_C(86400000)
#define RELEASE_MS DAY_MS /* a release holds for this epoch and 24 h */

struct released {
	char study[UID_SIZE];
	struct id128 epoch;
	uint64_t
		losses; /* as central counted then: it has lost something since if it counts more */
	int64_t until_ms;
	uint64_t youngest; /* seq: what was stored later, or again, was not asked for */
};

struct evict {
	struct edge *e;
	struct link *link; /* NULL: no central yet */
	struct released ahead[AHEAD];
	unsigned next;
	uint64_t refused; /* studies since evict_count; the word on the first of them */
	Sync__ReleaseVerdict verdict;
};

/* An edge may join while it serves: the way to central is looked for again each time (R9). */
static int
connect(struct evict *v, struct err *err)
{
	return v->link || !edge_has_central(v->e) ? 0 : v->e->make_link(&v->link, v->e, err);
}

int
evict_new(struct evict **out, struct edge *e, struct err *err)
{
	struct evict *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return err_set(err, ERR_LOCAL, 0, "no memory for eviction");
	v->e = e;
	rc = connect(v, err);
	if (rc) {
		free(v);
		return rc;
	}
	*out = v;
	return 0;
}

void
evict_free(struct evict *v)
{
	if (!v)
		return;
	link_close(v->link);
	free(v);
}

/* --- what of a study is here --- */

struct present {
	struct store_tx *tx; /* while it is looked at */
	struct id128 epoch;
	uint64_t losses, newest_seq;
	struct version *list;
	size_t n, cap;
	int64_t retracted_before_ms; /* store_time: what was retracted since then stays (R27) */
	bool dark;
	bool owed, met; /* met: central has answered a hello since the start */
};

/* R27: a retract frees nothing; whoever gave it may have erred. */
static int
stays_yet(struct present *p, const struct version *v, struct err *e)
{
	struct withdrawn said = {.heard_ms = 0};
	int rc = withdrawn_says(p->tx, v, &said, e);

	p->owed = p->owed || rc || said.heard_ms > p->retracted_before_ms;
	return rc;
}

static int
note(void *arg, const struct version *v, struct err *e)
{
	struct present *p = arg;
	struct outbox_row row;
	struct version *more;
	int rc = 0;

	if (v->state != VERSION_HERE)
		return 0;
	/* R9, R17: what central has not receipted in this epoch is never evictable. */
	p->owed = p->owed || !version_receipted(v, &p->epoch) ||
		  outbox_get(p->tx, OUTBOX_CENTRAL, v->seq, &row, NULL) != ERR_ABSENT;
	/* R10: whoever sent it may have no copy of his own. */
	p->owed = p->owed || (p->dark && committed_has(p->tx, v->sop_instance));
	if (v->hidden & VERSION_WITHDRAWN)
		rc = stays_yet(p, v, e);
	p->newest_seq = v->seq > p->newest_seq ? v->seq : p->newest_seq;
	if (p->n == p->cap) {
		more = realloc(p->list, (p->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return err_set(e, ERR_LOCAL, 0, "no memory for a study");
		p->list = more;
		p->cap = p->cap * 2 + 64;
	}
	p->list[p->n++] = *v;
	return rc;
}

static int
look(struct evict *v, const char *study, bool dark, struct present *p, struct err *err)
{
	struct contact c;
	struct store_tx *tx;
	int rc;

	memset(p, 0, sizeof(*p));
	p->dark = dark;
	edge_contact(v->e, &c);
	p->epoch = c.epoch;
	p->losses = c.losses;
	p->met = c.ever;
	p->retracted_before_ms =
		store_time(v->e->store) - wanted_number(v->e, "retract_days") * DAY_MS;
	rc = store_begin_read(&tx, v->e->store, err);
	if (rc)
		return rc;
	p->tx = tx;
	rc = store_versions_of_study(tx, study, 0, note, p, err);
	store_end_read(tx);
	if (id128_none(&p->epoch))
		p->owed = true;
	return rc;
}

/* --- asking --- */

/* What it says of the first that may not go. */
static void
note_verdict(struct evict *v, const Sync__ReleaseAnswer *a)
{
	size_t i;

	for (i = 0; i < a->n_verdicts; i++)
		if (a->verdicts[i] != SYNC__RELEASE_VERDICT__RELEASE_YES)
			break;
	if (i == a->n_verdicts || v->refused++)
		return;
	v->verdict = a->verdicts[i];
}

static int
ask(struct evict *v, const struct present *p, size_t from, size_t n, bool *all, struct err *err)
{
	Sync__ReleaseRequest m = SYNC__RELEASE_REQUEST__INIT;
	Sync__ReleaseAnswer *a = NULL;
	struct http_call call = {.method = "POST", .path = "/sync/v1/release", .body = BUF_INIT};
	struct http_done done = {.body = BUF_INIT};
	ProtobufCBinaryData digests[DIGESTS];
	size_t i;
	int rc;

	for (i = 0; i < n; i++)
		digests[i] = message_bytes(p->list[from + i].digest, SHA256_SIZE);
	m.digests = digests;
	m.n_digests = n;
	message_pack(&call.body, &m.base);
	call.seconds = ANSWER_SECONDS;
	hex_of(p->epoch.b, ID128_SIZE, call.epoch);
	rc = link_ask(v->link, &call, &done, &v->e->stopping, err);
	if (!rc && done.status == 200)
		a = message_read(&sync__release_answer__descriptor, done.body.data, done.body.len,
				 NULL);
	if (a)
		note_verdict(v, a);
	*all = a && a->n_verdicts == n;
	for (i = 0; *all && i < n; i++)
		*all = a->verdicts[i] == SYNC__RELEASE_VERDICT__RELEASE_YES;
	if (!rc && done.status == 409) /* R22: another epoch */
		replicate_hello(v->e->replicate);
	message_free(a);
	buf_fini(&done.body);
	return rc;
}

void
evict_count(struct evict *v)
{
	v->refused = 0;
}

uint64_t
evict_not_released(const struct evict *v, const char **why)
{
	*why = v->verdict == SYNC__RELEASE_VERDICT__RELEASE_UNKNOWN ? "central does not hold it"
	       : v->verdict == SYNC__RELEASE_VERDICT__RELEASE_DAMAGED
		       ? "central's copy failed its check"
	       : v->verdict == SYNC__RELEASE_VERDICT__RELEASE_CONFLICT ? "a conflict is open there"
								       : "central says no";
	return v->refused;
}

static struct released *
find(struct evict *v, const char *study, const struct present *p)
{
	unsigned i;

	for (i = 0; i < AHEAD; i++)
		if (strcmp(v->ahead[i].study, study) == 0 &&
		    id128_same(&v->ahead[i].epoch, &p->epoch) &&
		    v->ahead[i].until_ms > clock_mono(v->e->clock) &&
		    v->ahead[i].losses == p->losses && p->newest_seq <= v->ahead[i].youngest)
			return &v->ahead[i];
	return NULL;
}

/* Released now, or lately: the whole study or none of it. */
static int
is_released(struct evict *v, const char *study, const struct present *p, bool *yes, struct err *err)
{
	struct released *r = find(v, study, p);
	size_t at, n;
	int rc = r ? 0 : connect(v, err);

	*yes = r != NULL;
	if (rc || r || !v->link)
		return rc;
	*yes = true;
	for (at = 0; !rc && *yes && at < p->n; at += n) {
		n = p->n - at < DIGESTS ? p->n - at : DIGESTS;
		rc = ask(v, p, at, n, yes, err);
	}
	if (rc || !*yes)
		return rc;
	r = &v->ahead[v->next++ % AHEAD];
	strcpy(r->study, study);
	r->epoch = p->epoch;
	r->until_ms = clock_mono(v->e->clock) + RELEASE_MS;
	r->losses = p->losses;
	r->youngest = p->newest_seq;
	return 0;
}

/* --- freeing --- */

struct freeing {
	struct edge *e;
	const char *study;
	const struct present *p;
	size_t from, n;
	int kind;
	uint64_t freed, bytes;
};

static int
free_one(struct store_tx *tx, struct freeing *f, const struct version *asked, struct err *e)
{
	struct buf entry = BUF_INIT;
	struct outbox_row row;
	struct version v;
	uint64_t seq;
	int rc = store_version(tx, asked->oid, &v, e);

	if (rc)
		return rc;
	/* It was stored again, or is owed again, since it was looked at: it stays. */
	if (v.state != VERSION_HERE || v.seq != asked->seq ||
	    ((v.hidden ^ asked->hidden) & VERSION_WITHDRAWN) || /* R27 */
	    !version_receipted(&v, &f->p->epoch) ||
	    outbox_get(tx, OUTBOX_CENTRAL, v.seq, &row, NULL) != ERR_ABSENT ||
	    (f->kind == SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK && /* R10 */
	     committed_has(tx, v.sop_instance)))
		return 0;
	ledger_gone(&entry, f->kind, &v, clock_wall(f->e->clock));
	rc = ledger_append(tx, &entry, &seq, e); /* R9: with the record, in one transaction */
	if (!rc)
		rc = store_drop_bytes(tx, v.oid, VERSION_ELSEWHERE, e);
	buf_fini(&entry);
	if (!rc) {
		f->freed++;
		f->bytes += v.size;
	}
	return rc;
}

/*
 * R10: in the dark receipts count as far as the last holdings answer confirmed them. While a
 * comparison is due (a new epoch, or central has lost something since) none of them does.
 */
static bool
confirmed(const struct freeing *f, uint64_t compared)
{
	if (f->kind != SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK)
		return true; /* R9: it was released */
	return compared != HOLDINGS_DUE && (!f->p->met || compared == f->p->losses);
}

static int
free_some(struct store_tx *tx, void *arg, struct err *e)
{
	struct freeing *f = arg;
	struct id128 epoch;
	uint64_t hold = 1, compared = HOLDINGS_DUE;
	size_t i;
	int rc = sync_id(tx, "epoch", &epoch, e);

	f->freed = f->bytes = 0;
	if (!rc)
		rc = sync_number(tx, "hold", &hold, e);
	if (!rc)
		rc = sync_number(tx, "losses", &compared, e);
	/* What allowed it holds in this transaction still (R9, R10, R11, R22). */
	if (rc || hold || !id128_same(&epoch, &f->p->epoch) || store_pinned(tx, f->study) ||
	    !confirmed(f, compared))
		return rc;
	for (i = 0; !rc && i < f->n; i++)
		rc = free_one(tx, f, &f->p->list[f->from + i], e);
	return rc;
}

static int
free_all(struct evict *v, const char *study, const struct present *p, bool dark, uint64_t *n,
	 uint64_t *bytes, struct err *err)
{
	struct freeing f = {.e = v->e, .study = study, .p = p};
	uint64_t step;
	int rc = 0;

	f.kind = dark ? SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK : SYNC__LEDGER_KIND__LEDGER_EVICTED;
	for (; !rc && f.from < p->n; f.from += f.n) {
		for (f.n = 0, step = 0; f.from + f.n < p->n && f.n < STEP_COUNT; f.n++) {
			step += p->list[f.from + f.n].size;
			if (f.n && step > STEP_BYTES)
				break;
		}
		rc = store_commit(v->e->store, free_some, &f, err);
		*n += rc ? 0 : f.freed;
		*bytes += rc ? 0 : f.bytes;
	}
	return rc;
}

int
evict_study(struct evict *v, const char *study, bool dark, uint64_t *n, uint64_t *bytes,
	    struct err *err)
{
	struct present p;
	bool yes = dark; /* R10: central's last word counts, see confirmed() */
	int rc = look(v, study, dark, &p, err);

	if (!rc && p.n && !p.owed && !yes)
		rc = is_released(v, study, &p, &yes, err);
	if (!rc && p.n && !p.owed && yes)
		rc = free_all(v, study, &p, dark, n, bytes, err);
	free(p.list);
	return rc;
}

void
evict_ask_ahead(struct evict *v, int64_t keep_ms, struct err *err)
{
	struct store_candidate list[STUDIES];
	struct present p;
	bool yes;
	size_t n, i;

	if (store_candidates(v->e->store, keep_ms, NULL, list, STUDIES, &n, err))
		return;
	for (i = 0; i < n; i++) {
		if (!look(v, list[i].study, false, &p, err) && p.n && !p.owed &&
		    !find(v, list[i].study, &p))
			(void)is_released(v, list[i].study, &p, &yes, err);
		free(p.list);
	}
}
