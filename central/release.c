#include "central/release.h"

#include <stdlib.h>
#include <string.h>

#include "central/adopt.h"
#include "central/birth.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/figures.h"
#include "central/gate.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/store/decided.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { DIGESTS_MAX = 2000 };

struct damaging {
	struct central *c;
	const struct version *seen;
	uint64_t losses;
};

static int
damage(struct store_tx *tx, void *arg, struct err *e)
{
	struct damaging *d = arg;
	struct version v;
	int rc = store_version(tx, d->seen->oid, &v, e);

	d->losses = 0;
	if (rc || v.state != VERSION_HERE || v.offset != d->seen->offset ||
	    memcmp(v.pack, d->seen->pack, SHA256_SIZE) != 0)
		return rc;
	rc = figures_leave(tx, v.digest, e);
	if (!rc)
		rc = store_drop_bytes(tx, v.oid, VERSION_DAMAGED, e);
	if (!rc)
		rc = holdings_set_all(tx, v.digest, false, e);
	if (!rc)
		rc = figures_enter(tx, v.digest, e);
	if (!rc)
		rc = state_number(tx, "losses", &d->losses, e);
	d->losses++;
	return rc ? rc : state_set_number(tx, "losses", d->losses, e);
}

int
release_damaged(struct central *c, const struct version *seen, struct err *e)
{
	struct damaging d = {c, seen, 0};
	int rc = store_commit(c->store, damage, &d, e);

	if (rc)
		return rc;
	(void)pthread_mutex_lock(&c->mu);
	if (d.losses > c->losses)
		c->losses = d.losses; /* hello and poll tell the edges to look again */
	(void)pthread_mutex_unlock(&c->mu);
	dispatch_news(c);
	return 0;
}

bool
release_is_damage(struct central *c, int rc)
{
	return rc == ERR_CORRUPT || (rc == ERR_ABSENT && birth_check_parts(c, NULL) == 0);
}

struct judging {
	struct version v;
	bool conflict, readable; /* by the site that asks (R26) */
};

static int
look_up(struct central *c, const unsigned char digest[SHA256_SIZE], const char *own,
	struct judging *j, struct err *e)
{
	struct pack_row pack = {.site = ""};
	struct store_tx *tx;
	uint64_t oid;
	int rc = store_begin_read(&tx, c->store, e);

	memset(j, 0, sizeof(*j));
	if (rc)
		return rc;
	rc = store_by_digest(tx, digest, &oid, e);
	if (!rc)
		rc = store_version(tx, oid, &j->v, e);
	if (!rc)
		j->conflict = decided_is_open(tx, j->v.sop_instance);
	if (!rc && own && pack_row_get(tx, j->v.pack, &pack, NULL))
		pack.site[0] = '\0';
	j->readable = !own || strcmp(pack.site, own) == 0;
	store_end_read(tx);
	return rc;
}

struct stamping {
	uint64_t oid;
	int64_t now;
};

static int
stamp(struct store_tx *tx, void *arg, struct err *e)
{
	const struct stamping *s = arg;

	return store_set_verified(tx, s->oid, s->now, e);
}

/* Is the pack there, with its last byte, now? Read the whole copy when the last look is old. */
static int
check_copy(struct central *c, const struct version *v, struct err *e)
{
	struct stamping s = {v->oid, clock_wall(c->clock)};
	struct store_reader *r;
	unsigned char last;
	size_t got = 0;
	int rc;

	if (!adopt_is_trusted(c, v)) {
		rc = store_check(c->store, v->oid, e);
		return rc ? rc : store_commit(c->store, stamp, &s, e);
	}
	rc = store_read_open(&r, c->store, v->oid, e);
	if (rc)
		return rc;
	rc = v->size ? store_read(r, v->size - 1, &last, 1, &got, e) : 0;
	store_read_close(r);
	return !rc && v->size && !got ? err_set(e, ERR_CORRUPT, 0, "a pack ends too early") : rc;
}

/* own: the site, when it reads only what it delivered; else NULL. */
static int
judge(struct central *c, const unsigned char digest[SHA256_SIZE], const char *own,
      Sync__ReleaseVerdict *out, struct err *e)
{
	struct err why = ERR_INIT;
	struct judging j;
	int rc = look_up(c, digest, own, &j, e);

	*out = SYNC__RELEASE_VERDICT__RELEASE_UNKNOWN;
	if (rc == ERR_ABSENT || (!rc && j.v.state != VERSION_HERE))
		return 0;
	if (rc)
		return rc;
	*out = SYNC__RELEASE_VERDICT__RELEASE_CONFLICT;
	if (j.conflict)
		return 0;
	/* Another site was faster: freed, it would be out of reach for this one's viewers. */
	*out = SYNC__RELEASE_VERDICT__RELEASE_NO;
	if (!j.readable)
		return 0;
	rc = check_copy(c, &j.v, &why);
	*out = SYNC__RELEASE_VERDICT__RELEASE_YES;
	if (!rc)
		return 0;
	log_err(LOG_ERROR, "release.check", &why);
	*out = SYNC__RELEASE_VERDICT__RELEASE_NO;
	if (!release_is_damage(c, rc))
		return 0;
	*out = SYNC__RELEASE_VERDICT__RELEASE_DAMAGED;
	return release_damaged(c, &j.v, e);
}

int
release_answer(struct central *c, const struct http_request *rq, struct buf *out, struct err *e)
{
	Sync__ReleaseRequest *m =
		message_read(&sync__release_request__descriptor, rq->body, rq->body_n, e);
	Sync__ReleaseAnswer a = SYNC__RELEASE_ANSWER__INIT;
	unsigned char digest[SHA256_SIZE];
	bool own = false;
	int rc;

	if (!m)
		return ERR_PEER;
	if (m->n_digests > DIGESTS_MAX) {
		message_free(m);
		return err_set(e, ERR_PEER, 0, "more than %d digests", DIGESTS_MAX);
	}
	rc = gate_reads_own_only(c, rq->site, &own, e);
	a.verdicts = calloc(m->n_digests + 1, sizeof(*a.verdicts));
	if (!rc && !a.verdicts)
		rc = err_set(e, ERR_LOCAL, 0, "no memory for an answer");
	for (; !rc && a.n_verdicts < m->n_digests; a.n_verdicts++) {
		a.verdicts[a.n_verdicts] = SYNC__RELEASE_VERDICT__RELEASE_UNKNOWN;
		if (message_digest(digest, &m->digests[a.n_verdicts]))
			rc = judge(c, digest, own ? rq->site : NULL, &a.verdicts[a.n_verdicts], e);
	}
	if (!rc)
		message_pack(out, &a.base);
	free(a.verdicts);
	message_free(m);
	return rc;
}
