#include "central/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "central/adopt.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/reconcile.h"
#include "central/release.h"
#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/ctl.h"
#include "common/os/file.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sync.pb-c.h"

enum { HEAL_MS = 45000, HEAL_STEP_MS = 200, PAGE = 1000 };

struct verifying {
	struct central *c;
	struct ctl_reply *r;
	struct verify_result *out;
	uint64_t *oids; /* that were found damaged */
	size_t n;
};

static void
say(struct verifying *v, const char *what, const struct version *of, const char *more)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "%s %s study %s%s\n", what,
			 of->sop_instance[0] ? of->sop_instance : "(no UID)",
			 of->study[0] ? of->study : "(no UID)", more);

	(void)ctl_out(v->r, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

static int
note(struct verifying *v, uint64_t oid, struct err *e)
{
	uint64_t *more = realloc(v->oids, (v->n + 1) * sizeof(*more));

	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list of damage");
	v->oids = more;
	v->oids[v->n++] = oid;
	return 0;
}

/* A member's bytes in this pack are wrong; they count only if they are what is served. */
static int
damage(struct verifying *v, const struct pack_row *row, const struct pack_member *m, struct err *e)
{
	struct store_tx *tx;
	struct version ver = {.state = VERSION_ELSEWHERE};
	uint64_t oid;
	int rc = store_begin_read(&tx, v->c->store, e);

	if (rc)
		return rc;
	rc = store_by_digest(tx, m->digest, &oid, e);
	if (!rc)
		rc = store_version(tx, oid, &ver, e);
	store_end_read(tx);
	if (rc || ver.state != VERSION_HERE || ver.location != VERSION_PACK ||
	    memcmp(ver.pack, row->id, SHA256_SIZE) != 0)
		return rc == ERR_ABSENT ? 0 : rc;
	v->out->damaged++;
	rc = release_damaged(v->c, oid, e);
	say(v, "damaged", &ver, "");
	return rc ? rc : note(v, oid, e);
}

struct stamping {
	const struct pack_row *row;
	const struct pack *p;
	int64_t now;
};

static int
stamp(struct store_tx *tx, void *arg, struct err *e)
{
	struct stamping *s = arg;
	struct pack_row row = *s->row;
	struct version v;
	uint64_t oid;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < pack_count(s->p); i++) {
		rc = store_by_digest(tx, pack_member(s->p, i)->digest, &oid, e);
		if (!rc)
			rc = store_version(tx, oid, &v, e);
		if (!rc && v.state == VERSION_HERE && memcmp(v.pack, row.id, SHA256_SIZE) == 0)
			rc = store_set_verified(tx, oid, s->now, e);
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	row.verified_ms = s->now;
	return rc ? rc : pack_row_put(tx, &row, e);
}

static int
verify_pack(struct verifying *v, const struct pack_row *row, struct err *e)
{
	struct err why = ERR_INIT;
	struct pack *p = NULL;
	struct stamping s = {row, NULL, clock_wall(v->c->clock)};
	char path[PATH_MAX];
	size_t *bad = NULL, n_bad = 0, i;
	int rc;

	(void)snprintf(path, sizeof(path), "%s/vault/packs/%s", v->c->dir, row->place);
	if (!file_exists(path)) {
		v->out->absent++;
		v->out->damaged += row->members;
		return reconcile_absent(v->c, row, e);
	}
	rc = adopt_examine(v->c->vault, row->place, &p, &bad, &n_bad, &why);
	v->out->packs++;
	v->out->members += row->members;
	if (!p) { /* not even its manifest: nothing of it can be read by tar or by us */
		v->out->damaged += row->members;
		return reconcile_absent(v->c, row, e);
	}
	if (rc && !n_bad) { /* tar may stumble over it; every image of it is whole */
		v->out->frames++;
		log_err(LOG_ERROR, "pack.frame", &why);
	}
	for (i = 0, rc = 0; !rc && i < n_bad; i++)
		rc = damage(v, row, pack_member(p, bad[i]), e);
	s.p = p;
	if (!rc && !n_bad)
		rc = store_commit(v->c->store, stamp, &s, e);
	free(bad);
	pack_close(p);
	return rc;
}

static int
verify_packs(struct verifying *v, struct err *e)
{
	unsigned char after[SHA256_SIZE];
	char line[80];
	struct pack_row row;
	struct store_tx *tx;
	bool first = true;
	int rc = 0;

	while (!rc && !ctl_stopping(v->r)) {
		rc = store_begin_read(&tx, v->c->store, e);
		if (rc)
			return rc;
		rc = pack_row_next(tx, first ? NULL : after, &row, e);
		store_end_read(tx);
		if (rc)
			break;
		first = false;
		memcpy(after, row.id, sizeof(after));
		rc = verify_pack(v, &row, e);
		if (!rc && v->out->packs % 100 == 0 && v->out->packs) {
			(void)snprintf(line, sizeof(line), "%llu packs\n",
				       (unsigned long long)v->out->packs);
			(void)ctl_progress(v->r, line);
		}
	}
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- holdings: recomputed and compared (R19) --- */

struct recounting {
	struct verifying *v;
	struct site_row site;
	uint64_t next;
};

static int
should_be_held(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq, bool *held,
	       struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	Sync__LedgerEntry *entry;
	struct version ver = {.state = VERSION_ELSEWHERE};
	const void *bytes;
	uint64_t oid;
	size_t n;
	int rc = announced_get(tx, incarnation, seq, &bytes, &n, e);

	*held = true;
	if (rc)
		return rc;
	entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
	if (entry && ledger_says_has((int)entry->kind) && message_digest(digest, &entry->digest)) {
		rc = store_by_digest(tx, digest, &oid, e);
		if (!rc)
			rc = store_version(tx, oid, &ver, e);
		*held = !rc && ver.state == VERSION_HERE;
		if (rc == ERR_ABSENT)
			rc = 0;
	}
	message_free(entry);
	return rc;
}

static int
recount_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct recounting *k = arg;
	uint64_t seq, end = k->next + PAGE, wrong = 0;
	int rc = 0;

	for (seq = k->next; !rc && seq < end && seq <= k->site.head.seq; seq++) {
		struct buf bits = BUF_INIT;
		bool held;

		rc = should_be_held(tx, &k->site.incarnation, seq, &held, e);
		if (!rc)
			rc = holdings_read(tx, &k->site.incarnation, seq, 1, &bits, e);
		if (!rc && (bits.data[0] & 1) != held) {
			wrong++;
			rc = holdings_set(tx, &k->site.incarnation, seq, held, e);
		}
		buf_fini(&bits);
	}
	k->v->out->wrong_bits += rc ? 0 : wrong;
	return rc;
}

static int
recount(struct verifying *v, struct err *e)
{
	struct tally sites;
	struct store_tx *tx;
	size_t i;
	int rc = store_begin_read(&tx, v->c->store, e);

	if (rc)
		return rc;
	rc = tally_sites(&sites, tx, e);
	store_end_read(tx);
	for (i = 0; !rc && i < sites.n; i++) {
		struct recounting k = {v, sites.rows[i].site, 1};

		for (; !rc && k.next <= k.site.head.seq && !ctl_stopping(v->r); k.next += PAGE)
			rc = store_commit(v->c->store, recount_page, &k, e);
	}
	tally_free(&sites);
	return rc;
}

/* --- healing --- */

static int
is_back(struct central *c, uint64_t oid, struct version *ver, char from[SITE_SIZE], struct err *e)
{
	struct pack_row row;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	from[0] = '\0';
	if (rc)
		return rc;
	rc = store_version(tx, oid, ver, e);
	if (!rc && ver->state == VERSION_HERE && !pack_row_get(tx, ver->pack, &row, NULL))
		strcpy(from, row.site);
	store_end_read(tx);
	return rc;
}

static int
wait_for_healing(struct verifying *v, bool wait, struct err *e)
{
	struct timespec step = {0, HEAL_STEP_MS * 1000000L};
	int64_t until = clock_mono(v->c->clock) + HEAL_MS;
	char from[SITE_SIZE], more[SITE_SIZE + 16];
	struct version ver;
	size_t i;
	int rc = 0;

	for (;;) {
		for (i = 0; !rc && i < v->n; i++) {
			rc = is_back(v->c, v->oids[i], &ver, from, e);
			if (rc || ver.state != VERSION_HERE)
				continue;
			(void)snprintf(more, sizeof(more), ", from %s", from);
			say(v, "healed", &ver, more);
			v->out->healed++;
			v->oids[i--] = v->oids[--v->n];
		}
		if (rc || !v->n || !wait || ctl_stopping(v->r) || clock_mono(v->c->clock) > until)
			break;
		(void)nanosleep(&step, NULL);
	}
	for (i = 0; !rc && i < v->n; i++) {
		rc = is_back(v->c, v->oids[i], &ver, from, e);
		if (!rc)
			say(v, "not healed", &ver,
			    ": an edge that has it sends it; else see `loss`");
	}
	return rc;
}

int
verify_all(struct central *c, struct ctl_reply *r, bool wait, struct verify_result *out,
	   struct err *e)
{
	struct verifying v = {c, r, out, NULL, 0};
	int rc;

	memset(out, 0, sizeof(*out));
	rc = verify_packs(&v, e);
	if (!rc)
		rc = recount(&v, e);
	if (!rc)
		rc = wait_for_healing(&v, wait, e);
	free(v.oids);
	return rc;
}
