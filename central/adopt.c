#include "central/adopt.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/figures.h"
#include "central/vault.h"
#include "central/withdraw.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/dicom/canon.h"
#include "common/os/daemon.h"
#include "common/store/index.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

enum { READ_STEP = 1 << 20, TAR_BLOCK = 512 };

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

/* R28: a clock that went back (by more than an hour) or forth makes a copy read once more. */
bool
adopt_is_trusted(const struct central *c, const struct version *v)
{
	int64_t age = clock_wall(c->clock) - v->verified_wall_ms;

	return age >= -HOUR_MS && age <= conf_number(c->conf, "data", NULL, "trust_days") * DAY_MS;
}

/* --- receipts (R5) --- */

static int
seal(const struct central *c, Sync__Receipt *m, struct buf *out, struct err *e)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	struct buf plain = BUF_INIT;
	unsigned n = 0;

	m->mac = message_bytes(NULL, 0);
	message_pack(&plain, &m->base);
	if (buf_failed(&plain) || !HMAC(EVP_sha256(), c->identity.key, sizeof(c->identity.key),
					plain.data, plain.len, mac, &n)) {
		buf_fini(&plain);
		return err_set(e, ERR_LOCAL, 0, "cannot seal a receipt");
	}
	buf_fini(&plain);
	m->mac = message_bytes(mac, n);
	message_pack(out, &m->base);
	return buf_failed(out) ? err_set(e, ERR_LOCAL, 0, "no memory for a receipt") : 0;
}

bool
adopt_receipt_valid(const struct central *c, const void *receipt, size_t n, const char *site,
		    const struct id128 *incarnation, uint64_t *number, struct id128 *epoch)
{
	Sync__Receipt *m = message_read(&sync__receipt__descriptor, receipt, n, NULL);
	struct buf again = BUF_INIT;
	ProtobufCBinaryData mac;
	struct id128 to;
	bool ok;

	if (!m)
		return false;
	*number = m->number;
	(void)message_id(epoch, &m->epoch);
	mac = m->mac;
	ok = message_id(&to, &m->incarnation) && id128_same(&to, incarnation) &&
	     strcmp(m->site, site) == 0 && seal(c, m, &again, NULL) == 0 && again.len == n &&
	     memcmp(again.data, receipt, n) == 0;
	m->mac = mac;
	message_free(m);
	buf_fini(&again);
	return ok;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

struct ranges {
	Sync__SeqRange *range, **list;
	unsigned char (*hash)[SHA256_SIZE];
	size_t n;
};

static void
ranges_fini(struct ranges *r)
{
	free(r->range);
	free(r->list);
	free(r->hash);
}

/* Ranges of seqs, never "up to", each with H at its end. */
static int
ranges_of(struct ranges *out, struct store_tx *tx, const struct pack *p, struct err *e)
{
	size_t i, n = pack_count(p);
	uint64_t *seqs = calloc(n + 1, sizeof(*seqs));
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->range = calloc(n + 1, sizeof(*out->range));
	out->list = calloc(n + 1, sizeof(*out->list));
	out->hash = calloc(n + 1, SHA256_SIZE);
	if (!seqs || !out->range || !out->list || !out->hash) {
		free(seqs);
		return err_set(e, ERR_LOCAL, 0, "no memory for a receipt");
	}
	for (i = 0; i < n; i++)
		seqs[i] = pack_member(p, i)->seq;
	qsort(seqs, n, sizeof(*seqs), by_number);
	for (i = 0; i < n; i++) {
		Sync__SeqRange *r = out->n ? &out->range[out->n - 1] : NULL;

		if (r && r->last + 1 == seqs[i]) {
			r->last++;
			continue;
		}
		r = &out->range[out->n];
		sync__seq_range__init(r);
		r->first = r->last = seqs[i];
		out->list[out->n++] = r;
	}
	free(seqs);
	for (i = 0; !rc && i < out->n; i++) {
		rc = announced_hash(tx, pack_incarnation(p), out->range[i].last, out->hash[i], e);
		out->range[i].hash = message_bytes(out->hash[i], SHA256_SIZE);
	}
	return rc;
}

/* R15: what a decision hides is receipted as such. */
static int
withdrawn_of(Sync__Receipt *m, struct store_tx *tx, const struct pack *p, struct err *e)
{
	size_t i;
	int rc = 0;

	m->withdrawn = calloc(pack_count(p) + 1, sizeof(*m->withdrawn));
	if (!m->withdrawn)
		return err_set(e, ERR_LOCAL, 0, "no memory for a receipt");
	for (i = 0; !rc && i < pack_count(p); i++) {
		bool yes;

		rc = withdraw_says_digest(tx, pack_member(p, i)->digest, &yes, e);
		if (!rc && yes)
			m->withdrawn[m->n_withdrawn++] = pack_member(p, i)->seq;
	}
	return rc;
}

/* In a closure: the next number of this incarnation, and the receipt's bytes. */
static int
make_receipt(struct central *c, struct store_tx *tx, const struct pack *p, struct buf *out,
	     struct err *e)
{
	Sync__Receipt m = SYNC__RECEIPT__INIT;
	struct ranges ranges;
	struct site_row site;
	struct id128 epoch;
	int rc = site_get(tx, pack_incarnation(p), &site, e);

	if (rc)
		return rc;
	site.receipts++;
	rc = site_put(tx, &site, e);
	if (!rc)
		rc = state_id(tx, "epoch", &epoch, e);
	if (rc)
		return rc;
	rc = ranges_of(&ranges, tx, p, e);
	m.site = message_text(site.site);
	m.incarnation = message_bytes(site.incarnation.b, ID128_SIZE);
	m.epoch = message_bytes(epoch.b, ID128_SIZE);
	m.number = site.receipts;
	m.ranges = ranges.list;
	m.n_ranges = ranges.n;
	if (!rc)
		rc = withdrawn_of(&m, tx, p, e);
	buf_clear(out);
	if (!rc)
		rc = seal(c, &m, out, e);
	ranges_fini(&ranges);
	free(m.withdrawn);
	return rc;
}

/* --- members --- */

struct member { /* one that no ledger told of: what its own bytes say */
	struct canon *canon;
	const struct object_info *info;
};

struct adopting {
	struct central *c;
	const struct pack *p;
	const char *place;
	struct member *members;
	struct buf *receipt;
	int64_t now;
	const size_t *bad; /* members that are left out */
	size_t n_bad;
};

static int
to_nowhere(void *arg, const void *p, size_t n, struct err *e)
{
	(void)arg;
	(void)p;
	(void)n;
	(void)e;
	return 0;
}

static bool
is_bad(const struct adopting *a, size_t i)
{
	size_t k;

	for (k = 0; k < a->n_bad; k++)
		if (a->bad[k] == i)
			return true;
	return false;
}

static int
scan_member(struct adopting *a, size_t i, struct err *e)
{
	struct canon_config config = {.form = CANON_FILE, .sink = to_nowhere};
	const struct pack_member *m = pack_member(a->p, i);
	unsigned char *part = malloc(READ_STEP);
	uint64_t at = 0;
	size_t want, got = 0;
	int rc = part ? canon_new(&a->members[i].canon, &config, e)
		      : err_set(e, ERR_LOCAL, 0, "no memory for a member");

	while (!rc && at < m->size) {
		want = m->size - at < READ_STEP ? (size_t)(m->size - at) : READ_STEP;
		rc = vault_read(a->c->vault, a->place, m->offset + at, part, want, &got, e);
		if (!rc && got < want)
			rc = err_set(e, ERR_CORRUPT, 0, "pack %s ends too early", a->place);
		if (!rc)
			rc = canon_feed(a->members[i].canon, part, got, e);
		at += got;
	}
	if (!rc)
		rc = canon_end(a->members[i].canon, &a->members[i].info, e);
	free(part);
	return rc;
}

/* Before the commit: members that the catalogue does not know are read. */
static int
scan_unknown(struct adopting *a, struct err *e)
{
	size_t i, n = pack_count(a->p);
	uint64_t oid;
	int rc = 0;

	for (i = 0; !rc && i < n; i++) {
		struct store_tx *tx;

		if (is_bad(a, i))
			continue;
		rc = store_begin_read(&tx, a->c->store, e);
		if (rc)
			return rc;
		rc = store_by_digest(tx, pack_member(a->p, i)->digest, &oid, e);
		store_end_read(tx);
		if (rc == ERR_ABSENT)
			rc = scan_member(a, i, e);
	}
	return rc;
}

/* What no ledger told of: shown by what it says itself, its site by the manifest. */
static int
announce_member(struct adopting *a, struct store_tx *tx, size_t i, uint64_t *oid, struct err *e)
{
	const struct object_info *info = a->members[i].info;
	struct store_verdict verdict;
	struct index_sets sets;
	struct version v;
	int rc;

	if (!info)
		return err_set(e, ERR_AGAIN, 0, "a member's entry went away while it was adopted");
	version_of_object(&v, info);
	/* The digest that was checked: bytes in no canonical form are kept as well (R17). */
	memcpy(v.digest, pack_member(a->p, i)->digest, SHA256_SIZE);
	v.size = pack_member(a->p, i)->size;
	v.state = VERSION_ELSEWHERE;
	v.origin = VERSION_TAKEN_IN;
	(void)snprintf(v.source.site, sizeof(v.source.site), "%s", pack_site(a->p));
	sets = (struct index_sets){.study = attrs_of(&info->study_attrs),
				   .series = attrs_of(&info->series_attrs),
				   .instance = attrs_of(&info->instance_attrs)};
	v.first_ms = store_time(store_tx_store(tx));
	rc = store_announce(tx, &v, &sets, &verdict, e);
	*oid = verdict.oid;
	return rc;
}

static int
take_member(struct adopting *a, struct store_tx *tx, size_t i, const unsigned char *id,
	    struct err *e)
{
	const struct pack_member *m = pack_member(a->p, i);
	struct version v = {.hidden = 0};
	bool withdrawn;
	uint32_t hidden;
	uint64_t oid;
	int rc = store_by_digest(tx, m->digest, &oid, e);

	if (rc == ERR_ABSENT)
		rc = announce_member(a, tx, i, &oid, e);
	if (!rc) /* a pack may come before the ledger that told of it */
		rc = withdrawn_settle_new(tx, oid, &hidden, e);
	if (!rc)
		rc = store_version(tx, oid, &v, e);
	if (!rc) /* R15: the decisions are asked first, wherever the pack came from */
		rc = withdraw_says(tx, m->digest, &v, &withdrawn, e);
	if (!rc && withdrawn) {
		log_line(LOG_WARN, "instance.withdrawn_returned", "site=%s seq=%llu uid=%s",
			 pack_site(a->p), (unsigned long long)m->seq, uid_shown(v.sop_instance));
		rc = store_set_hidden(tx, oid, v.hidden | VERSION_WITHDRAWN, e);
	}
	if (rc)
		return rc;
	/* R4: a copy that was not checked lately gives way to the bytes that just were. */
	if (v.state == VERSION_HERE && adopt_is_trusted(a->c, &v))
		return 0;
	rc = store_set_pack(tx, oid, id, m->offset, m->size, e);
	if (!rc)
		rc = store_set_verified(tx, oid, a->now, e);
	return rc ? rc : holdings_set_all(tx, m->digest, true, e); /* R19 */
}

static int
adopt_member(struct adopting *a, struct store_tx *tx, size_t i, const unsigned char *id,
	     struct err *e)
{
	const unsigned char *digest = pack_member(a->p, i)->digest;
	int rc = figures_leave(tx, digest, e);

	if (!rc)
		rc = take_member(a, tx, i, id, e);
	return rc ? rc : figures_enter(tx, digest, e);
}

static int
adopt(struct store_tx *tx, void *arg, struct err *e)
{
	struct adopting *a = arg;
	struct pack_row row;
	size_t i;
	int rc = 0;

	memset(&row, 0, sizeof(row));
	pack_id(a->p, row.id);
	for (i = 0; !rc && i < pack_count(a->p); i++)
		rc = is_bad(a, i) ? 0 : adopt_member(a, tx, i, row.id, e);
	(void)snprintf(row.place, sizeof(row.place), "%s", a->place);
	(void)snprintf(row.site, sizeof(row.site), "%s", pack_site(a->p));
	row.size = pack_size(a->p);
	row.members = (uint32_t)pack_count(a->p);
	row.verified_ms = a->now;
	if (!rc)
		rc = pack_row_put(tx, &row, e);
	if (!rc)
		rc = upload_del(tx, row.id, e);
	if (!rc && a->receipt)
		rc = make_receipt(a->c, tx, a->p, a->receipt, e);
	return rc;
}

static int
run(struct adopting *a, struct err *e)
{
	size_t i;
	int rc;

	a->now = clock_wall(a->c->clock);
	a->members = calloc(pack_count(a->p) + 1, sizeof(*a->members));
	if (!a->members)
		return err_set(e, ERR_LOCAL, 0, "no memory for a pack");
	rc = scan_unknown(a, e);
	if (!rc)
		rc = store_commit(a->c->store, adopt, a, e);
	for (i = 0; i < pack_count(a->p); i++)
		canon_free(a->members[i].canon);
	free(a->members);
	return rc;
}

int
adopt_pack(struct central *c, const struct pack *p, const char *place, struct buf *receipt,
	   struct err *e)
{
	struct adopting a = {.c = c, .p = p, .place = place, .receipt = receipt};

	return run(&a, e);
}

int
adopt_rest(struct central *c, const struct pack *p, const char *place, const size_t *bad,
	   size_t n_bad, struct err *e)
{
	struct adopting a = {.c = c, .p = p, .place = place, .bad = bad, .n_bad = n_bad};

	return run(&a, e);
}

static int
only_receipt(struct store_tx *tx, void *arg, struct err *e)
{
	struct adopting *a = arg;

	return make_receipt(a->c, tx, a->p, a->receipt, e);
}

int
adopt_receipt(struct central *c, const struct pack *p, struct buf *receipt, struct err *e)
{
	struct adopting a = {.c = c, .p = p, .receipt = receipt};

	return store_commit(c->store, only_receipt, &a, e);
}

int
adopt_is_held(struct central *c, const struct pack *p, bool *held, struct err *e)
{
	struct store_tx *tx;
	struct version v;
	uint64_t oid;
	size_t i;
	int rc = store_begin_read(&tx, c->store, e);

	*held = true;
	if (rc)
		return rc;
	for (i = 0; !rc && *held && i < pack_count(p); i++) {
		rc = store_by_digest(tx, pack_member(p, i)->digest, &oid, e);
		if (!rc)
			rc = store_version(tx, oid, &v, e);
		*held = !rc && v.state == VERSION_HERE && adopt_is_trusted(c, &v);
		if (rc == ERR_ABSENT)
			rc = 0;
	}
	store_end_read(tx);
	return rc;
}

/* --- reading a pack that lies in the vault --- */

static uint64_t
octal(const unsigned char *p, size_t n)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v * 8 + (uint64_t)(p[i] - '0');
	return v;
}

/* R14: the name is the manifest's digest. A manifest in which a bit turned says nothing about what
 * lies behind it. */
static bool
is_named(const struct pack *p, const char *place)
{
	unsigned char id[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	const char *name = strrchr(place, '/');

	pack_id(p, id);
	hex_of(id, sizeof(id), hex);
	return strncmp(name ? name + 1 : place, hex, sizeof(hex) - 1) == 0;
}

/* The manifest is the first member: its ustar header says how long it is. */
int
adopt_manifest(struct vault *v, const char *place, struct pack **out, struct err *e)
{
	unsigned char head[TAR_BLOCK], *bytes;
	uint64_t n;
	size_t got;
	int rc = vault_read(v, place, 0, head, sizeof(head), &got, e);

	if (rc)
		return rc;
	n = got == sizeof(head) && strcmp((const char *)head, "manifest") == 0
		    ? octal(head + 124, 12)
		    : 0;
	if (n == 0 || n > PACK_MANIFEST_MAX)
		return err_set(e, ERR_CORRUPT, 0, "pack %s has no manifest", place);
	bytes = malloc((size_t)n);
	if (!bytes)
		return err_set(e, ERR_LOCAL, 0, "no memory for a manifest");
	rc = vault_read(v, place, TAR_BLOCK, bytes, (size_t)n, &got, e);
	if (!rc && (got < n || pack_open(out, bytes, (size_t)n, NULL) || !is_named(*out, place)))
		rc = err_set(e, ERR_CORRUPT, 0, "the manifest of pack %s cannot be read", place);
	if (rc) {
		pack_close(*out);
		*out = NULL;
	}
	free(bytes);
	return rc;
}

static int
read_all(struct vault *v, const char *place, const struct pack *p, struct pack_check *check,
	 struct err *e)
{
	unsigned char *part = malloc(READ_STEP);
	uint64_t at = 0;
	size_t got = 1;
	int rc = part ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for a pack");

	while (!rc && got && at < pack_size(p)) {
		rc = daemon_go_on(e);
		if (!rc)
			rc = vault_read(v, place, at, part, READ_STEP, &got, e);
		if (!rc && at + got > pack_size(p))
			got = (size_t)(pack_size(p) - at);
		if (!rc)
			rc = pack_check_add(check, part, got, e);
		at += got;
	}
	free(part);
	return rc;
}

/* Its frame is broken (a bit in a header, a cut end): each member is looked at by itself. */
static int
examine_members(struct vault *v, const char *place, const struct pack *p, size_t *bad,
		size_t *n_bad, struct err *e)
{
	unsigned char *part = malloc(READ_STEP), digest[SHA256_SIZE];
	struct sha256 *sha = NULL;
	size_t i, got = 0, want;
	uint64_t at;
	int rc = part ? sha256_new(&sha, e) : err_set(e, ERR_LOCAL, 0, "no memory for a pack");

	*n_bad = 0;
	for (i = 0; !rc && i < pack_count(p); i++) {
		const struct pack_member *m = pack_member(p, i);

		for (at = 0; at < m->size; at += got) {
			rc = daemon_go_on(e);
			if (rc)
				break;
			want = m->size - at < READ_STEP ? (size_t)(m->size - at) : READ_STEP;
			/* What cannot be read is damage like any other. */
			if (vault_read(v, place, m->offset + at, part, want, &got, NULL) || !got)
				break;
			sha256_add(sha, part, got);
		}
		sha256_end(sha, digest);
		if (memcmp(digest, m->digest, sizeof(digest)) != 0)
			bad[(*n_bad)++] = i;
	}
	sha256_free(sha);
	free(part);
	return rc;
}

int
adopt_examine(struct vault *v, const char *place, struct pack **out, size_t **bad, size_t *n_bad,
	      struct err *e)
{
	struct pack_check *check = NULL;
	const size_t *found = NULL;
	size_t n = 0;
	int rc;

	*out = NULL;
	*bad = NULL;
	*n_bad = 0;
	rc = adopt_manifest(v, place, out, e);
	if (rc)
		return rc;
	*bad = calloc(pack_count(*out) + 1, sizeof(**bad));
	rc = *bad ? pack_check_new(&check, *out, e)
		  : err_set(e, ERR_LOCAL, 0, "no memory for a pack");
	if (rc)
		return rc;
	if (read_all(v, place, *out, check, NULL) || !pack_check_end(check, &found, &n)) {
		rc = examine_members(v, place, *out, *bad, n_bad, e);
		if (!rc)
			rc = err_set(e, ERR_CORRUPT, 0, "pack %s is not whole", place);
	} else if (n) {
		memcpy(*bad, found, n * sizeof(**bad));
		*n_bad = n;
		rc = err_set(e, ERR_CORRUPT, 0, "pack %s has %zu damaged members", place, n);
	}
	pack_check_free(check);
	return rc;
}
