#include "common/store/decided.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/private.h"

/* A row: number, follows, origin (u64 LE each), id 16, person u8, the digests, for each a byte:
 * seen. */
enum { AT_FOLLOWS = 8, AT_ORIGIN = 16, AT_ID = 24, AT_PERSON = 40, AT_DIGESTS = 41 };

bool
decided_above(const struct decided *a, const struct decided *b)
{
	if (a->number != b->number)
		return a->number > b->number;
	return memcmp(&a->id, &b->id, sizeof(a->id)) > 0;
}

static size_t
place_of(const struct decided *d, const unsigned char digest[SHA256_SIZE])
{
	size_t i;

	for (i = 0; i < d->n && memcmp(d->digests[i], digest, SHA256_SIZE) != 0; i++)
		continue;
	return i;
}

bool
decided_names(const struct decided *d, const unsigned char digest[SHA256_SIZE])
{
	return place_of(d, digest) < d->n;
}

bool
decided_seen(const struct decided *d, const unsigned char digest[SHA256_SIZE])
{
	size_t i = place_of(d, digest);

	return i < d->n && d->seen[i];
}

static struct kv_slice
uid_key(const char *uid)
{
	return kv_slice(uid, strlen(uid) + 1);
}

int
decided_get(struct store_tx *tx, const char *uid, struct decided *out, struct err *e)
{
	const unsigned char *p;
	struct kv_slice v;
	int rc = kv_get(tx->txn, T_DECIDED, uid_key(uid), &v, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	p = v.p;
	if (v.n <= AT_DIGESTS || (v.n - AT_DIGESTS) % (SHA256_SIZE + 1))
		return err_set(e, ERR_CORRUPT, 0, "a row of `decided` is torn");
	out->number = buf_get_u64(p);
	out->follows = buf_get_u64(p + AT_FOLLOWS);
	out->origin = buf_get_u64(p + AT_ORIGIN);
	memcpy(out->id.b, p + AT_ID, sizeof(out->id.b));
	out->person = p[AT_PERSON];
	out->digests = (const unsigned char(*)[SHA256_SIZE])(p + AT_DIGESTS);
	out->n = (v.n - AT_DIGESTS) / (SHA256_SIZE + 1);
	out->seen = p + AT_DIGESTS + out->n * SHA256_SIZE;
	return 0;
}

int
decided_put(struct store_tx *tx, const char *uid, const struct decided *d, bool *taken,
	    struct err *e)
{
	unsigned char head[AT_DIGESTS];
	struct buf row = BUF_INIT;
	struct decided now;
	int rc = decided_get(tx, uid, &now, e);

	*taken = false;
	if (rc && rc != ERR_ABSENT)
		return rc;
	if (!rc && !decided_above(d, &now)) /* R3: a lower one never undoes a higher one */
		return 0;
	buf_set_u64(head, d->number);
	buf_set_u64(head + AT_FOLLOWS, d->follows);
	buf_set_u64(head + AT_ORIGIN, d->origin);
	memcpy(head + AT_ID, d->id.b, sizeof(d->id.b));
	head[AT_PERSON] = d->person;
	buf_put(&row, head, sizeof(head));
	buf_put(&row, d->digests, d->n * SHA256_SIZE);
	buf_put(&row, d->seen, d->n);
	rc = buf_failed(&row)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for a decision")
		     : kv_put(tx->txn, T_DECIDED, uid_key(uid), kv_slice(row.data, row.len), e);
	buf_fini(&row);
	*taken = !rc;
	return rc;
}

/* --- how a UID stands --- */

static int
collect(void *arg, const struct version *v, struct err *e)
{
	struct decided_state *s = arg;
	struct version *more;

	if (v->hidden & VERSION_KEPT_ONLY) /* R32: refused, it stands in nobody's way */
		return 0;
	more = realloc(s->versions, (s->n + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	s->versions = more;
	s->versions[s->n++] = *v;
	return 0;
}

/* R3: what the decision did not look at and corrects the version at hand, from where that came. */
static bool
corrects(const struct version *v, const struct version *old)
{
	return memcmp(v->content, old->content, XXH128_SIZE) != 0 &&
	       memcmp(v->pixels, old->pixels, XXH128_SIZE) == 0 &&
	       v->has_pixels == old->has_pixels && version_same_source(v, old) &&
	       v->first_ms >= old->first_ms;
}

static void
find_target(struct decided_state *s, const struct decided *d)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (d->n && memcmp(s->versions[i].digest, d->digests[0], SHA256_SIZE) == 0)
			s->target = i;
	s->known = s->target < s->n;
	if (!s->known) {
		s->target = s->current;
		return;
	}
	for (i = 0; i < s->n; i++)
		if (!decided_names(d, s->versions[i].digest) &&
		    corrects(&s->versions[i], &s->versions[s->target]))
			s->target = i;
}

int
decided_state(struct store_tx *tx, const char *uid, struct decided_state *out, struct err *e)
{
	struct decided d;
	size_t i;
	int rc = decided_get(tx, uid, &d, e);

	memset(out, 0, sizeof(*out));
	if (rc && rc != ERR_ABSENT)
		return rc;
	rc = store_versions_of(tx, uid, collect, out, e);
	if (rc) {
		decided_state_fini(out);
		return rc;
	}
	out->covered = d.number > 0;
	out->number = d.number;
	out->current = out->target = out->n;
	for (i = 0; i < out->n; i++) {
		const struct version *v = &out->versions[i];

		out->covered = out->covered && decided_names(&d, v->digest);
		out->conflict = out->conflict ||
				(v->relation == VERSION_CONFLICT && !decided_seen(&d, v->digest));
		if (v->current)
			out->current = i;
	}
	find_target(out, &d);
	out->covered = out->covered && out->known;
	return 0;
}

void
decided_state_fini(struct decided_state *s)
{
	free(s->versions);
	s->versions = NULL;
	s->n = 0;
}

static int
set_row(struct store_tx *tx, unsigned table, const char *uid, bool on, int *change, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(tx->txn, table, uid_key(uid), &v, e);
	bool was = rc == 0;

	*change = 0;
	if ((rc && rc != ERR_ABSENT) || was == on)
		return rc == ERR_ABSENT ? 0 : rc;
	*change = on ? 1 : -1;
	return on ? kv_put(tx->txn, table, uid_key(uid), kv_slice("", 0), e)
		  : kv_del(tx->txn, table, uid_key(uid), e);
}

static int
set_rows(struct store_tx *tx, const char *uid, bool undecided, bool conflict, struct err *e)
{
	struct store_counts c;
	int a = 0, b = 0, rc = set_row(tx, T_UNDECIDED, uid, undecided, &a, e);

	if (!rc)
		rc = set_row(tx, T_OPEN, uid, conflict, &b, e);
	if (!rc && (a || b)) {
		rc = meta_counts(tx, &c, e);
		c.undecided += (uint64_t)a;
		c.conflicts += (uint64_t)b;
		if (!rc)
			rc = meta_set_counts(tx, &c, e);
	}
	return rc;
}

int
decided_settle(struct store_tx *tx, const char *uid, bool needs_bytes,
	       int (*fn)(void *arg, struct store_tx *tx, const struct version *v, struct err *e),
	       void *arg, struct err *e)
{
	struct decided_state s;
	bool undecided;
	int rc = uid[0] ? decided_state(tx, uid, &s, e) : ERR_ABSENT;

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (fn && s.number && s.target < s.n && s.target != s.current &&
	    (!needs_bytes || s.versions[s.target].state == VERSION_HERE || s.current == s.n ||
	     s.versions[s.current].state != VERSION_HERE)) {
		rc = fn(arg, tx, &s.versions[s.target], e);
		s.current = rc ? s.current : s.target;
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	undecided = (s.n > 1 || (s.n && s.number)) && (!s.covered || s.current != s.target);
	if (!rc)
		rc = set_rows(tx, uid, undecided, s.conflict, e);
	decided_state_fini(&s);
	return rc;
}

/* --- the lists --- */

int
decided_undecided_next(struct store_tx *tx, const char *after, char uid[UID_SIZE], struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, tx->txn, T_UNDECIDED, e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, uid_key(after), &k, &v, e);
	if (!rc && after[0] && k.n == strlen(after) + 1 && memcmp(k.p, after, k.n) == 0)
		rc = kv_cursor_next(c, &k, &v, e);
	if (!rc && (k.n > UID_SIZE || k.n < 2))
		rc = err_set(e, ERR_CORRUPT, 0, "a row of `undecided` is torn");
	if (!rc)
		memcpy(uid, k.p, k.n);
	kv_cursor_close(c);
	return rc;
}

static bool
has_row(struct store_tx *tx, unsigned table, const char *uid)
{
	struct kv_slice v;

	return uid[0] && kv_get(tx->txn, table, uid_key(uid), &v, NULL) == 0;
}

bool
decided_is_undecided(struct store_tx *tx, const char *uid)
{
	return has_row(tx, T_UNDECIDED, uid);
}

bool
decided_is_open(struct store_tx *tx, const char *uid)
{
	return has_row(tx, T_OPEN, uid);
}
