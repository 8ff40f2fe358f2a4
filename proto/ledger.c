#include "proto/ledger.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), LEDGER_TABLE);
}

int
ledger_head(struct store_tx *tx, struct ledger_head *out, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	rc = kv_cursor_last(c, &k, &v, e);
	if (!rc && (k.n != 8 || v.n < SHA256_SIZE))
		rc = err_set(e, ERR_CORRUPT, 0, "the head of the ledger is torn");
	if (!rc) {
		out->seq = buf_get_be64(k.p);
		memcpy(out->hash, v.p, SHA256_SIZE);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* H(n) from H(n-1) and the entry (R5). */
void
ledger_chain(unsigned char hash[SHA256_SIZE], const void *entry, size_t n)
{
	struct buf b = BUF_INIT;

	buf_put(&b, hash, SHA256_SIZE);
	buf_put(&b, entry, n);
	sha256_of(b.data, b.len, hash);
	buf_fini(&b);
}

int
ledger_append(struct store_tx *tx, const struct buf *entry, uint64_t *seq, struct err *e)
{
	struct ledger_head head;
	struct buf row = BUF_INIT;
	unsigned char key[8];
	int rc = ledger_head(tx, &head, e);

	if (rc)
		return rc;
	ledger_chain(head.hash, entry->data, entry->len);
	buf_put(&row, head.hash, SHA256_SIZE);
	buf_put(&row, entry->data, entry->len);
	if (buf_failed(&row) || buf_failed(entry))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a ledger entry");
	else
		rc = kv_put_new(store_tx_kv(tx), table(tx), kv_number(key, head.seq + 1),
				kv_slice(row.data, row.len), e);
	buf_fini(&row);
	*seq = head.seq + 1;
	return rc;
}

int
ledger_read(struct store_tx *tx, uint64_t seq,
	    int (*fn)(void *arg, uint64_t seq, const unsigned char hash[SHA256_SIZE],
		      const void *entry, size_t n, struct err *e),
	    void *arg, struct err *e)
{
	unsigned char key[8];
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_number(key, seq), &k, &v, e);
	while (!rc) {
		if (k.n != 8 || v.n < SHA256_SIZE) {
			rc = err_set(e, ERR_CORRUPT, 0, "a ledger row is torn");
			break;
		}
		rc = fn(arg, buf_get_be64(k.p), v.p, (const unsigned char *)v.p + SHA256_SIZE,
			v.n - SHA256_SIZE, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
ledger_get(struct store_tx *tx, uint64_t seq, const void **entry, size_t *n, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get_number(store_tx_kv(tx), table(tx), seq, &v, e);

	if (rc)
		return rc;
	if (v.n < SHA256_SIZE)
		return err_set(e, ERR_CORRUPT, 0, "a ledger row is torn");
	*entry = (const unsigned char *)v.p + SHA256_SIZE;
	*n = v.n - SHA256_SIZE;
	return 0;
}

int
ledger_hash(struct store_tx *tx, uint64_t seq, unsigned char out[SHA256_SIZE], struct err *e)
{
	const void *entry;
	size_t n;
	int rc = 0;

	memset(out, 0, SHA256_SIZE);
	if (seq)
		rc = ledger_get(tx, seq, &entry, &n, e);
	if (!rc && seq)
		memcpy(out, (const unsigned char *)entry - SHA256_SIZE, SHA256_SIZE);
	return rc;
}

struct verifying {
	unsigned char hash[SHA256_SIZE];
	uint64_t next;
};

static int
verify_one(void *arg, uint64_t seq, const unsigned char hash[SHA256_SIZE], const void *entry,
	   size_t n, struct err *e)
{
	struct verifying *v = arg;

	ledger_chain(v->hash, entry, n);
	if (seq != v->next || memcmp(hash, v->hash, SHA256_SIZE) != 0)
		return err_set(e, ERR_CORRUPT, 0, "the ledger's chain breaks at seq %llu",
			       (unsigned long long)v->next);
	v->next++;
	return 0;
}

int
ledger_verify(struct store_tx *tx, uint64_t *bad, struct err *e)
{
	struct verifying v;
	int rc;

	memset(&v, 0, sizeof(v));
	v.next = 1;
	rc = ledger_read(tx, 0, verify_one, &v, e);
	*bad = rc ? v.next : 0;
	return rc;
}

/* --- entries --- */

void
ledger_incarnation(struct buf *out, const struct id128 *incarnation, const char *site,
		   int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;

	entry.kind = SYNC__LEDGER_KIND__LEDGER_INCARNATION;
	entry.wall_ms = wall_ms;
	entry.incarnation = message_bytes(incarnation->b, sizeof(incarnation->b));
	entry.site = message_text(site);
	message_pack(out, &entry.base);
}

void
ledger_branch(struct buf *out, const struct id128 *incarnation, const char *site,
	      const struct id128 *previous, uint64_t common, const unsigned char hash[SHA256_SIZE],
	      int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;

	entry.kind = SYNC__LEDGER_KIND__LEDGER_INCARNATION;
	entry.wall_ms = wall_ms;
	entry.incarnation = message_bytes(incarnation->b, sizeof(incarnation->b));
	entry.site = message_text(site);
	entry.previous_incarnation = message_bytes(previous->b, sizeof(previous->b));
	entry.last_common_seq = common;
	entry.last_common_hash = message_bytes(hash, SHA256_SIZE);
	message_pack(out, &entry.base);
}

/* Counts and classes are computed anew wherever the instances are known. */
static bool
is_computed(uint32_t tag)
{
	return tag == TAG_CLASSES || tag == TAG_STUDY_SERIES || tag == TAG_STUDY_INSTANCES ||
	       tag == TAG_POOR || tag == TAG_POOR_SERIES;
}

/* protobuf-c only reads them, but wants them to be writable. */
static void
put_tags(Sync__LedgerEntry *entry, struct tags *copy, const struct tags *tags)
{
	if (!tags)
		return;
	*copy = *tags;
	entry->corrected = copy->tag;
	entry->n_corrected = copy->n;
}

void
ledger_corrected(struct tags *out, const Sync__LedgerEntry *entry)
{
	size_t i;

	out->n = 0;
	for (i = 0; i < entry->n_corrected; i++)
		if (!is_computed(entry->corrected[i]))
			tags_add(out, entry->corrected[i]);
}

void
ledger_study(struct buf *out, const char *study, struct attrs record, const struct tags *corrected,
	     const char *aet, int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;
	struct tags copy;

	entry.kind = SYNC__LEDGER_KIND__LEDGER_STUDY;
	entry.wall_ms = wall_ms;
	entry.study = message_text(study);
	entry.study_attributes = message_bytes(record.p, record.n);
	entry.source_aet = message_text(aet);
	put_tags(&entry, &copy, corrected);
	message_pack(out, &entry.base);
}

static void
put_version(struct buf *out, Sync__LedgerKind kind, const struct version *v,
	    const struct index_sets *sets, const struct buf *side, int64_t age_ms, int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;
	struct tags copy;

	entry.kind = kind;
	entry.wall_ms = wall_ms;
	entry.age_ms = age_ms;
	entry.study = message_text(v->study);
	entry.sop_class = message_text(v->sop_class);
	entry.sop_instance = message_text(v->sop_instance);
	entry.series = message_text(v->series);
	entry.syntax = message_text(v->syntax);
	entry.digest = message_bytes(v->digest, sizeof(v->digest));
	entry.content = message_bytes(v->content, sizeof(v->content));
	entry.pixels = message_bytes(v->pixels, sizeof(v->pixels));
	entry.attributes = message_bytes(v->attributes, sizeof(v->attributes));
	entry.size = v->size;
	entry.flags = v->flags;
	entry.hidden = v->hidden;
	entry.relation = (uint32_t)v->relation;
	entry.origin = (uint32_t)v->origin;
	entry.source_site = message_text(v->source.site);
	entry.source_aet = message_text(v->source.calling_aet);
	entry.source_address = message_text(v->source.peer);
	entry.series_attributes = message_bytes(sets->series.p, sets->series.n);
	entry.instance_attributes = message_bytes(sets->instance.p, sets->instance.n);
	put_tags(&entry, &copy, sets->dropped);
	entry.side = message_bytes(side->data, side->len);
	entry.has_pixels = v->has_pixels;
	entry.encapsulated = v->encapsulated;
	entry.header_length = v->header_length;
	entry.pixel_offset = v->pixel_offset;
	entry.pixel_length = v->pixel_length;
	message_pack(out, &entry.base);
}

void
ledger_instance(struct buf *out, const struct version *v, const struct index_sets *sets,
		const struct buf *side, int64_t age_ms, int64_t wall_ms)
{
	put_version(out, SYNC__LEDGER_KIND__LEDGER_INSTANCE, v, sets, side, age_ms, wall_ms);
}

void
ledger_known(struct buf *out, const struct version *v, const struct index_sets *sets,
	     int64_t age_ms, int64_t wall_ms)
{
	struct buf none = BUF_INIT;

	put_version(out, SYNC__LEDGER_KIND__LEDGER_KNOWN, v, sets, &none, age_ms, wall_ms);
}

void
ledger_gone(struct buf *out, int kind, const struct version *v, int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;

	entry.kind = (Sync__LedgerKind)kind;
	entry.wall_ms = wall_ms;
	entry.study = message_text(v->study);
	entry.sop_instance = message_text(v->sop_instance);
	entry.digest = message_bytes(v->digest, sizeof(v->digest));
	message_pack(out, &entry.base);
}

void
ledger_committed(struct buf *out, const unsigned char *const *digests, size_t n, int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;
	ProtobufCBinaryData list[LEDGER_COMMITTED_MAX];
	size_t i;

	for (i = 0; i < n && i < LEDGER_COMMITTED_MAX; i++)
		list[i] = message_bytes(digests[i], SHA256_SIZE);
	entry.kind = SYNC__LEDGER_KIND__LEDGER_COMMITTED;
	entry.wall_ms = wall_ms;
	entry.committed = list;
	entry.n_committed = i;
	message_pack(out, &entry.base);
}

void
ledger_rejected(struct buf *out, const Sync__Rejection *m, int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;
	Sync__Rejection copy = *m; /* protobuf-c only reads it, but wants it to be writable */

	entry.kind = SYNC__LEDGER_KIND__LEDGER_REJECTED;
	entry.wall_ms = wall_ms;
	entry.rejection = &copy;
	message_pack(out, &entry.base);
}

bool
ledger_says_has(int kind)
{
	return kind == SYNC__LEDGER_KIND__LEDGER_INSTANCE;
}

bool
ledger_says_known(int kind)
{
	return kind == SYNC__LEDGER_KIND__LEDGER_KNOWN;
}

bool
ledger_says_gone(int kind)
{
	return kind == SYNC__LEDGER_KIND__LEDGER_EVICTED ||
	       kind == SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK ||
	       kind == SYNC__LEDGER_KIND__LEDGER_DAMAGED;
}

static void
copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from);
}

static void
copy_bytes(unsigned char *to, size_t n, const ProtobufCBinaryData *from)
{
	if (from->len == n)
		memcpy(to, from->data, n);
}

bool
ledger_version(struct version *v, const Sync__LedgerEntry *entry)
{
	memset(v, 0, sizeof(*v));
	if (!message_digest(v->digest, &entry->digest))
		return false;
	copy_text(v->sop_class, sizeof(v->sop_class), entry->sop_class);
	copy_text(v->sop_instance, sizeof(v->sop_instance), entry->sop_instance);
	copy_text(v->study, sizeof(v->study), entry->study);
	copy_text(v->series, sizeof(v->series), entry->series);
	copy_text(v->syntax, sizeof(v->syntax), entry->syntax);
	copy_bytes(v->content, sizeof(v->content), &entry->content);
	copy_bytes(v->pixels, sizeof(v->pixels), &entry->pixels);
	copy_bytes(v->attributes, sizeof(v->attributes), &entry->attributes);
	v->size = entry->size;
	v->flags = entry->flags;
	v->hidden = entry->hidden;
	v->has_pixels = entry->has_pixels;
	v->encapsulated = entry->encapsulated;
	v->header_length = entry->header_length;
	v->pixel_offset = entry->pixel_offset;
	v->pixel_length = entry->pixel_length;
	v->state = VERSION_ELSEWHERE;
	v->origin = entry->origin >= VERSION_PREFETCHED && entry->origin <= VERSION_TAKEN_IN
			    ? (enum version_origin)entry->origin
			    : VERSION_TAKEN_IN;
	copy_text(v->source.site, sizeof(v->source.site), entry->source_site);
	copy_text(v->source.calling_aet, sizeof(v->source.calling_aet), entry->source_aet);
	copy_text(v->source.peer, sizeof(v->source.peer), entry->source_address);
	v->arrived_wall_ms = entry->wall_ms;
	return true;
}

void
ledger_record(struct buf *out, struct attrs study_row)
{
	struct attr a;
	size_t pos = 0;

	while (attrs_next(study_row, &pos, &a))
		if (!is_computed(a.tag))
			attrs_put(out, a.tag, a.value, a.n);
}
