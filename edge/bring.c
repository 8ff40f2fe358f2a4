#include "edge/bring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/canon.h"
#include "common/http/client.h"
#include "common/store/decided.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/refill.h"
#include "edge/throttle.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

enum { PIECE = 1 << 20, CALL_SECONDS = 120, AGAIN_MS = 60000, LOOKS = 64, PARTIAL = 206 };

struct bring {
	struct edge *e;
	char uid[UID_SIZE]; /* the last that was looked at; "": begin anew */
	int64_t not_before_ms;
	/* the one under way; entry NULL: central is asked about it */
	unsigned char digest[SHA256_SIZE];
	bool bare; /* no version's bytes are here: only that it is known (R20) */
	struct id128 epoch;
	Sync__RefillAnswer *answer;
	Sync__LedgerEntry *entry;
	struct version v; /* as the entry tells */
	struct store_spool *spool;
	struct canon *canon;
	struct sha256 *sha;
	uint64_t at;
	int64_t held_ms; /* until then by the hour's rate; INT64_MAX: not in this hour */
};

int
bring_new(struct bring **out, struct edge *e, struct err *err)
{
	struct bring *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(err, ERR_LOCAL, 0, "no memory for decisions");
	b->e = e;
	*out = b;
	return 0;
}

static void
drop(struct bring *b)
{
	message_free(b->entry);
	message_free(b->answer);
	store_spool_close(b->spool);
	canon_free(b->canon);
	sha256_free(b->sha);
	b->entry = NULL;
	b->answer = NULL;
	b->spool = NULL;
	b->canon = NULL;
	b->sha = NULL;
	b->at = 0;
}

void
bring_free(struct bring *b)
{
	if (b)
		drop(b);
	free(b);
}

void
bring_again(struct bring *b)
{
	if (!b->entry)
		b->uid[0] = '\0';
	b->not_before_ms = INT64_MIN;
}

/* --- which one --- */

/* A viewer would get another version's bytes, or is told of another one: which is to come? */
static int
look(struct bring *b, struct store_tx *tx, bool *found, struct err *err)
{
	struct decided_state s;
	struct decided d;
	bool here;
	int rc = decided_get(tx, b->uid, &d, err);

	*found = false;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	rc = decided_state(tx, b->uid, &s, err);
	if (rc)
		return rc;
	here = s.current < s.n && s.versions[s.current].state == VERSION_HERE;
	b->bare = !here;
	/* Those that were shown instead may have been evicted, or found damaged, since. */
	*found = !s.known ||
		 (s.target != s.current && (!here || s.versions[s.target].state != VERSION_HERE));
	if (*found)
		memcpy(b->digest, s.known ? s.versions[s.target].digest : d.digests[0],
		       SHA256_SIZE);
	decided_state_fini(&s);
	return 0;
}

static int
find(struct bring *b, bool *found, struct err *err)
{
	struct store_tx *tx;
	unsigned looks = 0;
	int rc = store_begin_read(&tx, b->e->store, err);

	*found = false;
	if (rc)
		return rc;
	while (!rc && !*found && looks++ < LOOKS) {
		rc = decided_undecided_next(tx, b->uid, b->uid, err);
		if (!rc)
			rc = look(b, tx, found, err);
	}
	store_end_read(tx);
	if (rc == ERR_ABSENT) { /* all were looked at: again later */
		b->uid[0] = '\0';
		b->not_before_ms = clock_mono(b->e->clock) + AGAIN_MS;
		rc = 0;
	}
	return rc;
}

int
bring_next(struct bring *b, const struct id128 *epoch, struct http_call *out, bool *want,
	   struct err *err)
{
	Sync__RefillRequest m = SYNC__REFILL_REQUEST__INIT;
	ProtobufCBinaryData digest;
	char hex[2 * SHA256_SIZE + 1];
	uint64_t left;
	int rc = 0;

	b->held_ms = throttle_when(b->e);
	if (b->entry && b->held_ms > clock_mono(b->e->clock)) {
		*want = false;
		return 0;
	}
	*want = b->entry != NULL;
	if (!*want && clock_mono(b->e->clock) >= b->not_before_ms)
		rc = find(b, want, err);
	if (rc || !*want)
		return rc;
	out->seconds = CALL_SECONDS;
	if (b->entry) {
		left = b->v.size - b->at;
		hex_of(b->digest, SHA256_SIZE, hex);
		out->method = "GET";
		(void)snprintf(out->path, sizeof(out->path), "/sync/v1/objects/%s", hex);
		out->ranged = true;
		out->range_first = b->at;
		out->range_n = throttle_part(b->e, PIECE);
		out->range_n = left < out->range_n ? left : out->range_n;
		return 0;
	}
	b->epoch = *epoch;
	digest = message_bytes(b->digest, SHA256_SIZE);
	m.digests = &digest;
	m.n_digests = 1;
	out->method = "POST";
	(void)snprintf(out->path, sizeof(out->path), "/sync/v1/refill");
	message_pack(&out->body, &m.base);
	return 0;
}

void
bring_lost(struct bring *b)
{
	drop(b);
	b->uid[0] = '\0';
	b->not_before_ms = clock_mono(b->e->clock) + AGAIN_MS;
}

/* --- it comes --- */

/* Central's word on it: does it have the bytes? Else the next one. */
static int
begin(struct bring *b, const struct http_done *done, struct err *err)
{
	struct canon_config config = {.form = CANON_FILE};
	const Sync__RefillItem *item;
	int rc;

	b->answer = message_read(&sync__refill_answer__descriptor, done->body.data, done->body.len,
				 err);
	if (!b->answer)
		return ERR_PEER;
	item = b->answer->n_items == 1 ? b->answer->items[0] : NULL;
	if (!item || (!b->bare && item->pack.len != SHA256_SIZE))
		return 0;
	b->entry = message_read(&sync__ledger_entry__descriptor, item->entry.data, item->entry.len,
				NULL);
	if (!b->entry || !ledger_version(&b->v, b->entry) || !b->v.size ||
	    memcmp(b->v.digest, b->digest, SHA256_SIZE) != 0) {
		message_free(b->entry);
		b->entry = NULL;
		return 0;
	}
	b->v.first_ms = store_time(b->e->store) - item->age_ms;
	b->v.arrived_wall_ms = clock_wall(b->e->clock) - item->age_ms;
	if (b->bare)
		return 0;
	rc = store_spool_open(&b->spool, b->e->store, err);
	if (!rc)
		rc = sha256_new(&b->sha, err);
	return rc ? rc : canon_new(&b->canon, &config, err);
}

struct entering {
	struct bring *b;
	const struct object_info *info;
	bool came;
};

/* What central tells of it beside the version. */
struct telling {
	struct index_sets sets;
	struct buf study;
};

static void
tell(struct telling *t, const struct bring *b)
{
	const Sync__LedgerEntry *m = b->entry;

	memset(t, 0, sizeof(*t));
	buf_init(&t->study);
	t->sets.series = (struct attrs){m->series_attributes.data, m->series_attributes.len};
	t->sets.instance = (struct attrs){m->instance_attributes.data, m->instance_attributes.len};
	if (!attrs_valid(t->sets.series))
		t->sets.series.n = 0;
	if (!attrs_valid(t->sets.instance))
		t->sets.instance.n = 0;
	if (b->answer->n_studies == 1) {
		struct attrs row = {b->answer->studies[0]->attributes.data,
				    b->answer->studies[0]->attributes.len};

		if (attrs_valid(row))
			ledger_record(&t->study, row);
	}
	t->sets.study = attrs_of(&t->study);
}

/* In the list from now on, with or without bytes (R20). */
static int
announce(struct bring *b, struct store_tx *tx, uint64_t *oid, struct err *err)
{
	struct store_verdict verdict;
	struct version v = b->v;
	struct telling t;
	uint32_t hidden;
	int rc;

	tell(&t, b);
	v.origin = VERSION_FETCHED;
	v.state = VERSION_ELSEWHERE;
	v.hidden &= ~(uint32_t)WITHDRAWN_BITS; /* R15: central's decisions alone say it */
	rc = store_announce(tx, &v, &t.sets, &verdict, err);
	*oid = verdict.oid;
	if (!rc)
		rc = withdrawn_settle_new(tx, *oid, &hidden, err);
	buf_fini(&t.study);
	return rc;
}

/* Of one that was known before and not shown no attributes are kept here: it is asked about. */
static int
show(void *arg, struct store_tx *tx, const struct version *v, struct err *err)
{
	const struct bring *b = arg;
	struct store_verdict verdict;
	struct telling t;
	int rc;

	if (memcmp(v->digest, b->digest, SHA256_SIZE) != 0)
		return ERR_ABSENT;
	tell(&t, b);
	rc = store_set_current(tx, v->oid, &t.sets, &verdict, err);
	buf_fini(&t.study);
	return rc;
}

static int
enter_bare(struct store_tx *tx, void *arg, struct err *err)
{
	struct bring *b = arg;
	uint64_t oid;
	int rc = announce(b, tx, &oid, err);

	return rc ? rc : decided_settle(tx, b->v.sop_instance, true, show, b, err);
}

static int
enter(struct store_tx *tx, void *arg, struct err *err)
{
	struct entering *x = arg;
	struct bring *b = x->b;
	struct refill_arrival a = {.entry = b->entry,
				   .origin = VERSION_FETCHED,
				   .epoch = b->epoch,
				   .spool = b->spool,
				   .info = x->info};
	int rc = announce(b, tx, &a.oid, err);

	return rc ? rc : refill_enter(tx, &a, b->e, &x->came, err);
}

static int
finish(struct bring *b, struct err *err)
{
	struct entering x = {.b = b};
	unsigned char digest[SHA256_SIZE];
	int rc;

	sha256_end(b->sha, digest);
	if (memcmp(digest, b->digest, sizeof(digest)) != 0)
		return err_set(err, ERR_CORRUPT, 0, "central gave other bytes than it should");
	rc = canon_end(b->canon, &x.info, err);
	if (!rc)
		rc = store_commit_bytes(b->e->store, enter, &x, store_spool_left(b->spool), err);
	if (!rc)
		log_line(LOG_INFO, "version.came", "uid=%s", uid_shown(b->v.sop_instance));
	return rc;
}

static int
take(struct bring *b, const struct http_done *done, struct err *err)
{
	uint64_t left = b->v.size - b->at;
	size_t n = done->body.len;
	int rc;

	if (!n || n > left)
		return err_set(err, ERR_PEER, 0, "central gave another range than was asked for");
	throttle_fetched(b->e, n);
	sha256_add(b->sha, done->body.data, n);
	rc = canon_feed(b->canon, done->body.data, n, err);
	if (!rc)
		rc = store_spool_add(b->spool, done->body.data, n, err);
	b->at += n;
	if (!rc && b->at == b->v.size) {
		rc = finish(b, err);
		drop(b);
	}
	return rc;
}

int
bring_answered(struct bring *b, const struct http_done *done, struct err *err)
{
	int rc = 0;

	if (!done->status || (done->epoch[0] && strcmp(done->asked, done->epoch) != 0)) {
		bring_lost(b);
		return 0;
	}
	if (b->entry && done->status == PARTIAL) {
		rc = take(b, done, err);
	} else if (!b->entry && done->status == 200) {
		rc = begin(b, done, err);
		if (!rc && b->entry && b->bare)
			rc = store_commit(b->e->store, enter_bare, b, err);
		if (!b->entry || b->bare)
			drop(b);
	} else { /* not there, or not for this site: the next one */
		drop(b);
	}
	if (rc)
		drop(b);
	return rc;
}

int64_t
bring_due(const struct bring *b)
{
	return b->entry ? b->held_ms : b->not_before_ms;
}
