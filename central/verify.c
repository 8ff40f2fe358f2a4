#include "central/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "central/adopt.h"
#include "central/birth.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/figures.h"
#include "central/reconcile.h"
#include "central/record.h"
#include "central/release.h"
#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/ctl.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sync.pb-c.h"

enum { HEAL_MS = 45000, HEAL_STEP_MS = 200, PAGE = 1000, SCAN = 20000 };

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

static int
damage_copy(struct verifying *v, const struct version *seen, struct err *e)
{
	int rc = release_damaged(v->c, seen, e);

	if (rc)
		return rc;
	v->out->damaged++;
	say(v, "damaged", seen, "");
	return note(v, seen->oid, e);
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
	return damage_copy(v, &ver, e);
}

struct stamping {
	const struct pack_row *row;
	const struct pack *p;
	const size_t *bad;
	size_t n_bad;
	int64_t now;
};

/* Just read and right: verified; and what an earlier look had given up is held again. */
static int
stamp_member(struct store_tx *tx, const struct stamping *s, size_t i, struct err *e)
{
	const struct pack_member *m = pack_member(s->p, i);
	struct version v;
	uint64_t oid;
	int rc = store_by_digest(tx, m->digest, &oid, e);

	if (!rc)
		rc = store_version(tx, oid, &v, e);
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (v.state != VERSION_HERE) {
		rc = figures_leave(tx, m->digest, e);
		if (!rc)
			rc = store_set_pack(tx, oid, s->row->id, m->offset, m->size, e);
		if (!rc)
			rc = holdings_set_all(tx, m->digest, true, e);
		if (!rc)
			rc = figures_enter(tx, m->digest, e);
	} else if (memcmp(v.pack, s->row->id, SHA256_SIZE) != 0) {
		return 0;
	}
	return rc ? rc : store_set_verified(tx, oid, s->now, e);
}

static int
stamp(struct store_tx *tx, void *arg, struct err *e)
{
	struct stamping *s = arg;
	struct pack_row row = *s->row;
	size_t i, k = 0;
	int rc = 0;

	for (i = 0; !rc && i < pack_count(s->p); i++) {
		if (k < s->n_bad && s->bad[k] == i) /* they come in order */
			k++;
		else
			rc = stamp_member(tx, s, i, e);
	}
	row.verified_ms = s->now;
	return rc ? rc : pack_row_put(tx, &row, e);
}

/* --- a pack without a readable manifest: its members by themselves --- */

struct members {
	const unsigned char *pack;
	uint64_t *oids, from;
	size_t n, cap, looked;
};

static int
note_member(void *arg, const struct version *ver, struct err *e)
{
	struct members *m = arg;
	uint64_t *more;

	if (++m->looked % SCAN == 0)
		return ERR_AGAIN;
	m->from = ver->oid + 1;
	if (ver->state != VERSION_HERE || ver->location != VERSION_PACK ||
	    memcmp(ver->pack, m->pack, SHA256_SIZE) != 0)
		return 0;
	if (m->n == m->cap) {
		more = realloc(m->oids, (m->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return err_set(e, ERR_LOCAL, 0, "no memory for a pack's members");
		m->oids = more;
		m->cap = m->cap * 2 + 64;
	}
	m->oids[m->n++] = ver->oid;
	return 0;
}

static int
verify_member(struct verifying *v, uint64_t oid, struct err *e)
{
	struct err why = ERR_INIT;
	struct store_tx *tx;
	struct version seen;
	int bad, rc = store_begin_read(&tx, v->c->store, e);

	if (rc)
		return rc;
	rc = store_version(tx, oid, &seen, e);
	store_end_read(tx);
	bad = rc ? 0 : store_check(v->c->store, oid, &why);
	if (bad && !release_is_damage(v->c, bad))
		return err_set(e, why.code, why.sys, "%s", why.what);
	return bad ? damage_copy(v, &seen, e) : rc;
}

static int
verify_members(struct verifying *v, const struct pack_row *row, struct err *e)
{
	struct members m = {.pack = row->id};
	struct store_tx *tx;
	size_t i;
	int rc;

	do {
		rc = store_begin_read(&tx, v->c->store, e);
		if (rc)
			break;
		rc = store_versions(tx, m.from, note_member, &m, e);
		store_end_read(tx);
	} while (rc == ERR_AGAIN);
	for (i = 0; !rc && i < m.n; i++)
		rc = verify_member(v, m.oids[i], e);
	free(m.oids);
	return rc;
}

/* One bad sector must not keep the packs behind it from being looked at; a vault that went does. */
static int
not_read(struct verifying *v, const struct pack_row *row, const struct err *why, struct err *e)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "not read: pack %s\n", row->place);

	log_err(LOG_ERROR, "pack.unread", why);
	(void)ctl_out(v->r, line, (size_t)n);
	v->out->unread++;
	return birth_check_parts(v->c, e);
}

static int
verify_pack(struct verifying *v, const struct pack_row *row, struct err *e)
{
	struct err why = ERR_INIT;
	struct pack *p = NULL;
	struct stamping s = {row, NULL, NULL, 0, clock_wall(v->c->clock)};
	size_t *bad = NULL, n_bad = 0, i;
	int rc = adopt_examine(v->c->vault, row->place, &p, &bad, &n_bad, &why), done = 0;

	if (rc && rc != ERR_CORRUPT) { /* could not look: says nothing about the bytes (R23) */
		free(bad);
		pack_close(p);
		return not_read(v, row, &why, e);
	}
	v->out->packs++;
	v->out->members += row->members;
	if (rc && !n_bad) { /* tar may stumble over it; its images are looked at by themselves */
		v->out->frames++;
		log_err(LOG_ERROR, "pack.frame", &why);
	}
	if (!p) {
		free(bad);
		return verify_members(v, row, e);
	}
	for (i = 0; !done && i < n_bad; i++)
		done = damage(v, row, pack_member(p, bad[i]), e);
	s.p = p;
	s.bad = bad;
	s.n_bad = n_bad;
	if (!done)
		done = store_commit(v->c->store, stamp, &s, e);
	free(bad);
	pack_close(p);
	return done;
}

static int
each_pack(struct verifying *v,
	  int (*fn)(struct verifying *v, const struct pack_row *row, struct err *e), struct err *e)
{
	unsigned char after[SHA256_SIZE];
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
			return rc == ERR_ABSENT ? 0 : rc;
		first = false;
		memcpy(after, row.id, sizeof(after));
		rc = fn(v, &row, e);
	}
	return rc;
}

static int
verify_one(struct verifying *v, const struct pack_row *row, struct err *e)
{
	char line[80];
	int rc = verify_pack(v, row, e);

	if (!rc && v->out->packs % 100 == 0 && v->out->packs) {
		(void)snprintf(line, sizeof(line), "%llu packs\n",
			       (unsigned long long)v->out->packs);
		(void)ctl_progress(v->r, line);
	}
	return rc;
}

/* --- what another pack holds as well --- */

static int
any_missing(struct verifying *v, const struct pack *p, bool *any, struct err *e)
{
	struct store_tx *tx;
	struct version ver;
	uint64_t oid;
	size_t i;
	int rc = store_begin_read(&tx, v->c->store, e);

	*any = false;
	if (rc)
		return rc;
	for (i = 0; !rc && !*any && i < pack_count(p); i++) {
		rc = store_by_digest(tx, pack_member(p, i)->digest, &oid, e);
		if (!rc)
			rc = store_version(tx, oid, &ver, e);
		*any = !rc && ver.state != VERSION_HERE;
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	store_end_read(tx);
	return rc;
}

/* It may have been read before the damage was found: then its copy did not count yet. */
static int
look_for_missing(struct verifying *v, const struct pack_row *row, struct err *e)
{
	struct stamping s = {row, NULL, NULL, 0, clock_wall(v->c->clock)};
	struct pack *p = NULL;
	size_t *bad = NULL;
	bool any;
	int rc = 0;

	if (adopt_manifest(v->c->vault, row->place, &p, NULL))
		return 0; /* verify_pack has said so */
	rc = any_missing(v, p, &any, e);
	pack_close(p);
	p = NULL;
	if (rc || !any)
		return rc;
	rc = adopt_examine(v->c->vault, row->place, &p, &bad, &s.n_bad, NULL);
	s.p = p;
	s.bad = bad;
	rc = p && (!rc || rc == ERR_CORRUPT) ? store_commit(v->c->store, stamp, &s, e) : 0;
	free(bad);
	pack_close(p);
	return rc;
}

/* --- holdings: recomputed and compared (R19) --- */

struct recounting {
	struct verifying *v;
	struct site_row site;
	uint64_t next;
	/* counted from scratch in each run of the closure */
	uint64_t bits, claims, torn;
	uint64_t first_torn; /* seq */
};

/* What the entry says of bytes, and whether central has them. */
static int
check_entry(struct recounting *k, struct store_tx *tx, uint64_t seq, const Sync__LedgerEntry *entry,
	    bool *held, struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	struct version ver = {.state = VERSION_ELSEWHERE};
	bool has, said = false;
	uint64_t oid;
	int rc;

	*held = true;
	if (!entry || !record_claim(entry, digest, &has))
		return 0;
	rc = claim_get(tx, digest, &k->site.incarnation, seq, &said, e);
	if (rc == ERR_ABSENT || (!rc && said != has)) {
		k->claims++;
		rc = claim_put(tx, digest, &k->site.incarnation, seq, has, e);
	}
	if (rc || !has)
		return rc;
	rc = store_by_digest(tx, digest, &oid, e);
	if (!rc)
		rc = store_version(tx, oid, &ver, e);
	*held = !rc && ver.state == VERSION_HERE;
	return rc == ERR_ABSENT ? 0 : rc;
}

/* R5: H at seq follows from H before it and the entry's bytes. */
static int
check_chain(struct recounting *k, struct store_tx *tx, uint64_t seq, const void *bytes, size_t n,
	    struct err *e)
{
	unsigned char before[SHA256_SIZE], own[SHA256_SIZE];
	int rc = announced_hash(tx, &k->site.incarnation, seq - 1, before, e);

	if (!rc)
		rc = announced_hash(tx, &k->site.incarnation, seq, own, e);
	if (rc)
		return rc;
	ledger_chain(before, bytes, n);
	if (memcmp(before, own, sizeof(own)) != 0) {
		k->first_torn = k->torn++ ? k->first_torn : seq;
	}
	return 0;
}

static int
recount_seq(struct recounting *k, struct store_tx *tx, uint64_t seq, struct err *e)
{
	struct buf bits = BUF_INIT;
	Sync__LedgerEntry *entry;
	const void *bytes;
	bool held = true;
	size_t n;
	int rc = announced_get(tx, &k->site.incarnation, seq, &bytes, &n, e);

	if (!rc)
		rc = check_chain(k, tx, seq, bytes, n, e);
	if (rc)
		return rc;
	entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
	rc = check_entry(k, tx, seq, entry, &held, e);
	message_free(entry);
	if (!rc)
		rc = holdings_read(tx, &k->site.incarnation, seq, 1, &bits, e);
	if (!rc && (bits.data[0] & 1) != held) {
		k->bits++;
		rc = holdings_set(tx, &k->site.incarnation, seq, held, e);
	}
	buf_fini(&bits);
	return rc;
}

static int
recount_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct recounting *k = arg;
	uint64_t seq, end = k->next + PAGE;
	int rc = 0;

	k->bits = k->claims = k->torn = 0;
	for (seq = k->next; !rc && seq < end && seq <= k->site.head.seq; seq++)
		rc = recount_seq(k, tx, seq, e);
	return rc;
}

static void
say_torn(struct recounting *k)
{
	char line[200];
	int n = snprintf(line, sizeof(line),
			 "ledger of %s: entry %llu is not what its chain says: `rebuild` reads the "
			 "log\n",
			 k->site.site, (unsigned long long)k->first_torn);

	(void)ctl_out(k->v->r, line, (size_t)n);
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
		/* R8: below, the bits are those of the one that it branched off. */
		struct recounting k = {
			.v = v, .site = sites.rows[i].site, .next = sites.rows[i].site.common + 1};

		for (; !rc && k.next <= k.site.head.seq && !ctl_stopping(v->r); k.next += PAGE) {
			rc = store_commit(v->c->store, recount_page, &k, e);
			if (rc)
				break;
			v->out->wrong_bits += k.bits;
			v->out->wrong_claims += k.claims;
			v->out->torn += k.torn;
			if (k.torn)
				say_torn(&k);
		}
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
	/* A vault that is not mounted is no fire; packs that are gone are told first (R23). */
	rc = birth_check_parts(c, e);
	if (!rc)
		rc = reconcile_missing(c, false, &out->absent, e);
	if (!rc)
		rc = each_pack(&v, verify_one, e);
	if (!rc && v.n)
		rc = each_pack(&v, look_for_missing, e);
	if (!rc)
		rc = recount(&v, e);
	if (!rc)
		rc = recount_figures(c, r, RECOUNT_PAGE, &out->figures, e);
	if (!rc)
		rc = wait_for_healing(&v, wait, e);
	free(v.oids);
	return rc;
}

int
verify_ledger(struct central *c, struct ctl_reply *r, struct verify_result *out, struct err *e)
{
	struct verifying v = {c, r, out, NULL, 0};
	int rc;

	memset(out, 0, sizeof(*out));
	rc = recount(&v, e);
	return rc ? rc : recount_figures(c, r, RECOUNT_PAGE, &out->figures, e);
}
