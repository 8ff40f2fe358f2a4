/* Taking in: duplicates, relations, places (R3, R4). */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dicom/canon.h"
#include "common/store/decided.h"
#include "common/store/index.h"
#include "common/store/private.h"

/* --- R4: is the copy that is here good? --- */

/* Every chunk, by its checksum; in the transaction that is open. */
static int
check_chunks(struct store_tx *tx, const struct version *v, bool *good, struct err *e)
{
	uint64_t size = 0;
	uint32_t number, n;
	const void *p;
	struct err why = ERR_INIT;
	int rc = 0;

	(void)e;
	for (number = 0; !rc && size < v->size; number++) {
		rc = chunk_get(tx, v->bytes, number, &p, &n, &why);
		if (!rc && n == 0)
			break;
		size += rc ? 0 : n;
	}
	*good = !rc && size == v->size;
	return rc == ERR_LOCAL ? rc : 0;
}

static int
check_copy(struct store_tx *tx, const struct version *v, bool *good, struct err *e)
{
	unsigned char byte;
	size_t got = 0;

	if (v->location == VERSION_CHUNKS)
		return check_chunks(tx, v, good, e);
	/* A pack's members are checked by whoever keeps the packs; here: it can be read. */
	*good = tx->s->c.bytes.read && v->size > 0 &&
		tx->s->c.bytes.read(tx->s->c.bytes.arg, v, v->size - 1, &byte, 1, &got, NULL) ==
			0 &&
		got == 1;
	return 0;
}

static bool
same(const unsigned char *a, const unsigned char *b)
{
	return memcmp(a, b, XXH128_SIZE) == 0;
}

/* R3: same pixels (none in both are the same), other attributes. */
static bool
revises(const struct version *old, const unsigned char *content, const unsigned char *pixels,
	bool has_pixels)
{
	return !same(old->content, content) && same(old->pixels, pixels) &&
	       old->has_pixels == has_pixels;
}

/* The version that o revises, if it does and comes from where that one came. */
static int
find_revised(struct store_tx *tx, const struct store_object *o, struct version *old, struct err *e)
{
	const struct object_info *info = o->info;
	struct version now = {.source = o->source};
	int rc = info->sop_instance[0] ? store_current(tx, info->sop_instance, old, e) : ERR_ABSENT;

	if (rc || !revises(old, info->content, info->pixels, info->has_pixels) ||
	    !version_same_source(&now, old))
		old->oid = 0;
	return rc == ERR_ABSENT ? 0 : rc;
}

static struct attrs
set_or(struct attrs given, const struct buf *own)
{
	return given.n ? given : attrs_of(own);
}

/* Where the version before it cannot be read, nothing is known to be left out. */
static void
find_dropped(struct store *s, struct store_object *o, const struct version *old)
{
	struct canon_config config = {.form = CANON_FILE};
	const struct object_info *was;
	struct store_header h;
	struct canon *c = NULL;
	size_t n;

	if (store_header(&h, s, old->oid, NULL))
		return;
	n = h.bytes.len;
	if (old->has_pixels && !(old->flags & OBJECT_DEFLATED) && n > old->header_length)
		n = (size_t)old->header_length;
	if (n && canon_bytes(&c, &config, h.bytes.data, n, NULL, &was, NULL) == 0) {
		attrs_dropped(&o->dropped, attrs_of(&was->study_attrs),
			      set_or(o->study, &o->info->study_attrs));
		attrs_dropped(&o->dropped, attrs_of(&was->series_attrs),
			      set_or(o->series, &o->info->series_attrs));
	}
	canon_free(c);
	store_header_fini(&h);
}

static int
check_stored(struct store *s, struct store_object *o, const struct version *v, struct err *e)
{
	struct err why = ERR_INIT;
	int rc;

	if (v->state != VERSION_HERE || v->location != VERSION_CHUNKS)
		return 0;
	/* Read and hashed as a whole, a short transaction per chunk: it may be large and cold. */
	rc = store_check(s, v->oid, &why);
	if (rc == ERR_NONE || rc == ERR_CORRUPT) {
		o->checked_bytes = v->bytes;
		o->checked_good = rc == ERR_NONE;
		return 0;
	}
	return rc == ERR_ABSENT ? 0 : err_set(e, why.code, why.sys, "%s", why.what);
}

int
store_prepare(struct store *s, struct store_object *o, struct err *e)
{
	struct version stored = {.oid = 0}, revised = {.oid = 0};
	struct store_tx *tx;
	uint64_t oid;
	int rc;

	o->prepared_at = atomic_load(&s->next_id);
	o->checked_bytes = 0;
	o->dropped.n = 0;
	rc = store_begin_read(&tx, s, e);
	if (rc)
		return rc;
	rc = store_by_digest(tx, o->info->digest, &oid, e);
	if (!rc)
		rc = store_version(tx, oid, &stored, e);
	else if (rc == ERR_ABSENT)
		rc = find_revised(tx, o, &revised, e);
	store_end_read(tx);
	if (!rc && revised.oid)
		find_dropped(s, o, &revised);
	if (!rc && stored.oid)
		rc = check_stored(s, o, &stored, e);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
is_good(struct store_tx *tx, const struct store_object *o, const struct version *v, bool *good,
	struct err *e)
{
	if (v->location == VERSION_CHUNKS && o->checked_bytes == v->bytes) {
		*good = o->checked_good;
		return 0;
	}
	/* Written after store_prepare looked: this commit or one just before holds it. */
	if (v->location == VERSION_CHUNKS && o->prepared_at && v->bytes >= o->prepared_at) {
		*good = true;
		return 0;
	}
	return check_copy(tx, v, good, e);
}

/* --- R3 --- */

struct relating {
	const struct version *v;
	enum version_relation relation;
	struct version old_current;
	struct decided decided; /* number 0: nothing was */
	bool any;
};

/* The mildest relation to any version that is known counts. */
static int
relate(void *arg, const struct version *old, struct err *e)
{
	struct relating *r = arg;
	enum version_relation to;

	(void)e;
	if (old->hidden & VERSION_KEPT_ONLY) /* R32: refused, it stands in nobody's way */
		return 0;
	if (same(old->content, r->v->content))
		to = VERSION_VARIANT;
	else if (revises(old, r->v->content, r->v->pixels, r->v->has_pixels))
		to = VERSION_REVISION;
	else if (same(old->attributes, r->v->attributes) && old->has_pixels && r->v->has_pixels &&
		 (old->encapsulated || r->v->encapsulated) &&
		 strcmp(old->syntax, r->v->syntax) != 0)
		to = VERSION_TRANSCODED;
	else
		to = VERSION_CONFLICT;
	if (!r->any || to < r->relation)
		r->relation = to;
	if (old->current)
		r->old_current = *old;
	r->any = true;
	return 0;
}

/* The decision looked at v. What it chose takes over when its bytes are here: a viewer gets
 * what there is until then. What came after it and corrects it stays. */
static bool
is_decided(const struct version *v, const struct relating *r)
{
	const struct version *old = &r->old_current;

	if (memcmp(v->digest, r->decided.digests[0], SHA256_SIZE) != 0)
		return false;
	if (!decided_names(&r->decided, old->digest) &&
	    revises(v, old->content, old->pixels, old->has_pixels) && version_same_source(v, old))
		return false;
	return v->state == VERSION_HERE || old->state != VERSION_HERE;
}

static int
decide(struct store_tx *tx, struct version *v, struct relating *r, struct err *e)
{
	bool older;
	int rc;

	memset(r, 0, sizeof(*r));
	r->v = v;
	r->relation = VERSION_FIRST;
	rc = v->sop_instance[0] ? store_versions_of(tx, v->sop_instance, relate, r, e) : 0;
	if (!rc && v->sop_instance[0])
		rc = decided_get(tx, v->sop_instance, &r->decided, e);
	if (rc && rc != ERR_ABSENT)
		return rc;
	v->relation = r->relation;
	/* R28: a refill brings the newest first, and what was there before it later. No site's word
	 * puts its version before another's (R3). */
	older = v->first_ms < r->old_current.first_ms &&
		strcmp(v->source.site, r->old_current.source.site) == 0;
	v->current = !r->old_current.oid || older;
	/* A correction from where the object came from is what counts now; others only listed. */
	if (v->relation == VERSION_REVISION && r->old_current.oid &&
	    same(v->pixels, r->old_current.pixels) && version_same_source(v, &r->old_current))
		v->current = !older;
	if (r->old_current.oid && decided_names(&r->decided, v->digest))
		v->current = is_decided(v, r);
	if (v->hidden & VERSION_KEPT_ONLY)
		v->current = false;
	return 0;
}

/* --- rows of a new version --- */

static int
put_keys(struct store_tx *tx, const struct version *v, struct err *e)
{
	unsigned char oid[8];
	char key[UID_SIZE + 9];
	size_t n;
	int rc;

	buf_set_u64(oid, v->oid);
	rc = kv_put(tx->txn, T_DIGEST, kv_slice(v->digest, SHA256_SIZE), kv_slice(oid, 8), e);
	n = strlen(v->sop_instance) + 1;
	memcpy(key, v->sop_instance, n);
	buf_set_be64(key + n, v->oid);
	if (!rc && v->sop_instance[0])
		rc = kv_put(tx->txn, T_UID, kv_slice(key, n + 8), kv_slice("", 0), e);
	n = strlen(v->study) + 1;
	memcpy(key, v->study, n);
	buf_set_be64(key + n, v->oid);
	if (!rc)
		rc = kv_put(tx->txn, T_OF_STUDY, kv_slice(key, n + 8), kv_slice("", 0), e);
	return rc;
}

static int
not_current(struct store_tx *tx, struct version *old, struct err *e)
{
	old->current = false;
	return version_write(tx, old, e);
}

/* v is what viewers get from now on. A UID has one row: in the series that v says. */
static int
take_over(struct store_tx *tx, const struct version *v, struct version *old, struct err *e)
{
	int rc = 0;

	if (!old->oid || !old->current)
		return 0;
	if (!version_indexed(v) || strcmp(v->study, old->study) != 0 ||
	    strcmp(v->series, old->series) != 0)
		rc = index_remove(tx, old, e);
	return rc ? rc : not_current(tx, old, e);
}

static int
index_version(struct store_tx *tx, const struct version *v, const struct index_sets *sets,
	      struct store_verdict *out, struct err *e)
{
	struct index_change change = {.new_study = false};
	int rc = 0;

	if (v->current && version_indexed(v))
		rc = index_put(tx, v, sets, &change, e);
	out->new_study = change.new_study;
	out->study_changed = change.study_changed;
	out->corrected = change.corrected;
	return rc;
}

static int
count_new(struct store_tx *tx, const struct version *v, struct err *e)
{
	struct store_counts c;
	int rc = meta_counts(tx, &c, e);

	if (rc)
		return rc;
	c.known++;
	c.variants += v->relation == VERSION_VARIANT;
	c.revisions += v->relation == VERSION_REVISION;
	c.transcoded += v->relation == VERSION_TRANSCODED;
	return meta_set_counts(tx, &c, e);
}

/* Bytes came (+1) or went (-1): instances, bytes and studies with bytes. */
static int
count_bytes(struct store_tx *tx, const struct version *v, int sign, struct err *e)
{
	struct store_counts c;
	uint64_t here = 0;
	int rc = meta_counts(tx, &c, e);

	if (!rc)
		rc = study_count(tx, v->study, sign, v->size, &here, e);
	if (rc)
		return rc;
	c.instances = sign > 0 ? c.instances + 1 : c.instances - 1;
	c.bytes = sign > 0 ? c.bytes + v->size : c.bytes - v->size;
	if (v->study[0] && sign > 0 && here == 1)
		c.studies++;
	if (v->study[0] && sign < 0 && here == 0)
		c.studies--;
	return meta_set_counts(tx, &c, e);
}

static int
add_version(struct store_tx *tx, struct version *v, const struct index_sets *sets,
	    struct store_verdict *out, struct err *e)
{
	struct relating r;
	int rc = decide(tx, v, &r, e);

	v->oid = store_new_id(tx->s);
	v->arrival = v->oid;
	if (!v->arrived_wall_ms)
		v->arrived_wall_ms = clock_wall(tx->s->c.clock);
	out->oid = v->oid;
	out->relation = v->relation;
	out->current = v->current;
	if (!rc && v->current)
		rc = take_over(tx, v, &r.old_current, e);
	if (!rc)
		rc = put_keys(tx, v, e);
	if (!rc)
		rc = index_version(tx, v, sets, out, e);
	return rc ? rc : count_new(tx, v, e);
}

/* Its record is written: does a decision lack, is a conflict open (R3)? */
static int
contest(struct store_tx *tx, const struct version *v, struct err *e)
{
	struct decided d;
	int rc = v->sop_instance[0] ? decided_get(tx, v->sop_instance, &d, e) : ERR_ABSENT;

	if (rc && rc != ERR_ABSENT)
		return rc;
	if (rc == ERR_ABSENT && v->relation == VERSION_FIRST)
		return 0;
	return decided_settle(tx, v->sop_instance, false, NULL, NULL, e);
}

/* --- store_put --- */

static void
sets_of(const struct store_object *o, struct index_sets *s)
{
	s->study = set_or(o->study, &o->info->study_attrs);
	s->series = set_or(o->series, &o->info->series_attrs);
	s->instance = set_or(o->instance, &o->info->instance_attrs);
	s->dropped = &o->dropped;
}

static int
announce(struct store_tx *tx, const struct store_object *o, struct version *v,
	 const struct store_verdict *verdict, struct err *e)
{
	return o->announce ? o->announce(tx, o->announce_arg, v, verdict, &v->seq, e) : 0;
}

/* Entry in the ledger, then the bytes with its number, then the record: one transaction. */
static int
place(struct store_tx *tx, struct store_object *o, struct version *v, struct store_verdict *out,
      struct err *e)
{
	struct chunk_tail tail;
	int rc;

	v->state = VERSION_HERE;
	v->location = VERSION_CHUNKS;
	v->bytes = spool_id(o->spool);
	v->chunk_payload = chunk_payload(tx->s);
	memset(&v->receipt, 0, sizeof(v->receipt)); /* R9: it spoke of other bytes than these */
	rc = announce(tx, o, v, out, e);
	tail = (struct chunk_tail){v->sop_instance, v->digest, v->size, v->seq};
	if (!rc)
		rc = spool_finish(tx, o->spool, &tail, e);
	if (!rc)
		rc = header_put(tx, v, o->info, e);
	if (!rc)
		rc = version_write(tx, v, e);
	if (!rc)
		rc = count_bytes(tx, v, 1, e);
	if (!rc)
		rc = study_touch(tx, v->study, o->origin, v->first_ms, e);
	return rc;
}

/* R32: what was refused and kept is accepted now (a peer is strict no longer): it is shown. */
static int
show_kept(struct store_tx *tx, const struct store_object *o, uint64_t oid,
	  struct store_verdict *out, struct err *e)
{
	enum version_relation relation;
	struct index_sets sets;
	struct relating r;
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	if (rc || !(v.hidden & VERSION_KEPT_ONLY) || (o->hidden & VERSION_KEPT_ONLY))
		return rc;
	relation = v.relation; /* was counted when it came */
	v.hidden &= ~(uint32_t)VERSION_KEPT_ONLY;
	sets_of(o, &sets);
	rc = decide(tx, &v, &r, e);
	v.relation = relation;
	out->current = v.current;
	if (!rc && v.current)
		rc = take_over(tx, &v, &r.old_current, e);
	if (!rc)
		rc = index_version(tx, &v, &sets, out, e);
	if (!rc)
		rc = version_write(tx, &v, e);
	return rc ? rc : contest(tx, &v, e);
}

static int
put_known(struct store_tx *tx, struct store_object *o, uint64_t oid, struct store_verdict *out,
	  struct err *e)
{
	struct version v;
	bool good = false;
	int rc = store_version(tx, oid, &v, e);

	if (rc)
		return rc == ERR_ABSENT ? err_set(e, ERR_CORRUPT, 0, "a digest without a record")
					: rc;
	out->oid = oid;
	out->relation = v.relation;
	out->current = v.current;
	if (v.state == VERSION_HERE) {
		rc = is_good(tx, o, &v, &good, e);
		if (rc || good) {
			out->duplicate = !rc;
			return rc;
		}
		out->repaired = true;
		rc = v.location == VERSION_CHUNKS ? space_drop(tx, v.bytes, v.size, e) : 0;
		if (!rc)
			rc = count_bytes(tx, &v, -1, e);
	} else {
		out->stored_again = true; /* R4: what was evicted is stored again */
		rc = version_aside(&v) ? space_drop(tx, v.bytes, v.size, e) : 0;
	}
	return rc ? rc : place(tx, o, &v, out, e);
}

int
store_put(struct store_tx *tx, struct store_object *o, struct store_verdict *out, struct err *e)
{
	struct index_sets sets;
	struct version v;
	uint64_t oid;
	int rc = store_by_digest(tx, o->info->digest, &oid, e);

	memset(out, 0, sizeof(*out));
	if (!rc) {
		rc = put_known(tx, o, oid, out, e);
		if (!rc)
			rc = show_kept(tx, o, oid, out, e);
	} else if (rc == ERR_ABSENT) {
		version_of_object(&v, o->info);
		v.source = o->source;
		v.origin = o->origin;
		v.hidden = o->hidden;
		v.first_ms = store_time(tx->s);
		v.state = VERSION_HERE;
		sets_of(o, &sets);
		rc = add_version(tx, &v, &sets, out, e);
		if (!rc)
			rc = place(tx, o, &v, out, e);
		if (!rc)
			rc = contest(tx, &v, e);
	}
	return rc;
}

/* --- known without bytes --- */

int
store_announce(struct store_tx *tx, struct version *v, const struct index_sets *sets,
	       struct store_verdict *out, struct err *e)
{
	uint64_t oid;
	int rc = store_by_digest(tx, v->digest, &oid, e);

	memset(out, 0, sizeof(*out));
	if (!rc) {
		out->oid = oid;
		out->duplicate = true;
		return 0;
	}
	if (rc != ERR_ABSENT)
		return rc;
	rc = add_version(tx, v, sets, out, e);
	if (!rc)
		rc = version_write(tx, v, e);
	if (!rc && v->state == VERSION_HERE)
		rc = count_bytes(tx, v, 1, e);
	if (!rc)
		rc = study_touch(tx, v->study, v->origin, v->first_ms, e);
	return rc ? rc : contest(tx, v, e);
}

int
store_set_pack(struct store_tx *tx, uint64_t oid, const unsigned char pack[SHA256_SIZE],
	       uint64_t offset, uint64_t size, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	if (rc)
		return rc;
	if (v.location == VERSION_CHUNKS)
		rc = space_drop(tx, v.bytes, v.size, e);
	if (!rc && v.state == VERSION_HERE)
		rc = count_bytes(tx, &v, -1, e);
	v.state = VERSION_HERE;
	v.location = VERSION_PACK;
	memcpy(v.pack, pack, sizeof(v.pack));
	v.offset = offset;
	v.size = size;
	if (!rc)
		rc = version_write(tx, &v, e);
	return rc ? rc : count_bytes(tx, &v, 1, e);
}

int
store_set_spool(struct store_tx *tx, uint64_t oid, struct store_spool *spool,
		const struct object_info *info, struct err *e)
{
	struct chunk_tail tail;
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	if (rc || v.state == VERSION_HERE)
		return rc;
	if (version_aside(&v))
		rc = space_drop(tx, v.bytes, v.size, e);
	v.state = VERSION_HERE;
	v.location = VERSION_CHUNKS;
	v.bytes = spool_id(spool);
	v.chunk_payload = chunk_payload(tx->s);
	tail = (struct chunk_tail){v.sop_instance, v.digest, v.size, v.seq};
	if (!rc)
		rc = spool_finish(tx, spool, &tail, e);
	if (!rc)
		rc = header_put(tx, &v, info, e);
	if (!rc)
		rc = version_write(tx, &v, e);
	if (!rc)
		rc = count_bytes(tx, &v, 1, e);
	return rc;
}

int
store_drop_bytes(struct store_tx *tx, uint64_t oid, enum version_state state, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	if (rc || (v.state != VERSION_HERE && !version_aside(&v)))
		return rc;
	if (v.state == VERSION_HERE) /* what is set aside counts no more */
		rc = count_bytes(tx, &v, -1, e);
	if (!rc && v.location == VERSION_CHUNKS)
		rc = space_drop(tx, v.bytes, v.size, e);
	v.state = state;
	v.location = VERSION_NOWHERE;
	v.bytes = 0;
	return rc ? rc : version_write(tx, &v, e);
}

int
store_set_aside(struct store_tx *tx, uint64_t oid, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	if (rc || v.state != VERSION_HERE)
		return rc;
	v.state = VERSION_DAMAGED;
	rc = version_write(tx, &v, e);
	return rc ? rc : count_bytes(tx, &v, -1, e);
}

int
store_take_back(struct store_tx *tx, uint64_t oid, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	if (rc || !version_aside(&v))
		return rc;
	v.state = VERSION_HERE;
	rc = version_write(tx, &v, e);
	return rc ? rc : count_bytes(tx, &v, 1, e);
}

/* --- small changes --- */

int
store_set_receipt(struct store_tx *tx, uint64_t oid, const struct id128 *epoch, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	v.receipt = *epoch;
	return rc ? rc : version_write(tx, &v, e);
}

int
store_set_seq(struct store_tx *tx, uint64_t oid, uint64_t seq, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	v.seq = seq;
	return rc ? rc : version_write(tx, &v, e);
}

int
store_set_verified(struct store_tx *tx, uint64_t oid, int64_t wall_ms, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	v.verified_wall_ms = wall_ms;
	return rc ? rc : version_write(tx, &v, e);
}

int
store_set_hidden(struct store_tx *tx, uint64_t oid, uint32_t hidden, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);
	bool was;

	if (rc)
		return rc;
	was = version_indexed(&v);
	v.hidden = hidden;
	rc = version_write(tx, &v, e);
	if (rc || !v.current || !was)
		return rc;
	return version_indexed(&v) ? index_mark(tx, &v, e) : index_remove(tx, &v, e);
}

int
store_set_current(struct store_tx *tx, uint64_t oid, const struct index_sets *sets,
		  struct store_verdict *out, struct err *e)
{
	struct version v, old;
	int rc = store_version(tx, oid, &v, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	out->oid = oid;
	out->relation = v.relation;
	out->current = true;
	if (v.current)
		return 0;
	rc = store_current(tx, v.sop_instance, &old, e);
	if (!rc)
		rc = take_over(tx, &v, &old, e);
	if (rc && rc != ERR_ABSENT)
		return rc;
	v.current = true;
	rc = index_version(tx, &v, sets, out, e);
	return rc ? rc : version_write(tx, &v, e);
}
