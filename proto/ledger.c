#include "proto/ledger.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
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
static void
chain(unsigned char hash[SHA256_SIZE], const void *entry, size_t n)
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
	chain(head.hash, entry->data, entry->len);
	buf_put(&row, head.hash, SHA256_SIZE);
	buf_put(&row, entry->data, entry->len);
	buf_set_be64(key, head.seq + 1);
	if (buf_failed(&row) || buf_failed(entry))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a ledger entry");
	else
		rc = kv_put_new(store_tx_kv(tx), table(tx), kv_slice(key, sizeof(key)),
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
	buf_set_be64(key, seq);
	rc = kv_cursor_seek(c, kv_slice(key, sizeof(key)), &k, &v, e);
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

struct verifying {
	unsigned char hash[SHA256_SIZE];
	uint64_t next;
};

static int
verify_one(void *arg, uint64_t seq, const unsigned char hash[SHA256_SIZE], const void *entry,
	   size_t n, struct err *e)
{
	struct verifying *v = arg;

	chain(v->hash, entry, n);
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

static void
pack(struct buf *out, const Sync__LedgerEntry *entry)
{
	size_t n = sync__ledger_entry__get_packed_size(entry);
	unsigned char *to = buf_reserve(out, n + 1);

	if (to)
		out->len += sync__ledger_entry__pack(entry, to);
}

static ProtobufCBinaryData
bytes(const void *p, size_t n)
{
	ProtobufCBinaryData b;

	b.len = n;
	b.data = (uint8_t *)(uintptr_t)p; /* protobuf-c only reads it */
	return b;
}

static char *
text(const char *s)
{
	return (char *)(uintptr_t)s;
}

void
ledger_incarnation(struct buf *out, const struct id128 *incarnation, const char *site,
		   int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;

	entry.kind = SYNC__LEDGER_KIND__LEDGER_INCARNATION;
	entry.wall_ms = wall_ms;
	entry.incarnation = bytes(incarnation->b, sizeof(incarnation->b));
	entry.site = text(site);
	pack(out, &entry);
}

void
ledger_study(struct buf *out, const char *study, struct attrs record, const char *aet,
	     int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;

	entry.kind = SYNC__LEDGER_KIND__LEDGER_STUDY;
	entry.wall_ms = wall_ms;
	entry.study = text(study);
	entry.study_attributes = bytes(record.p, record.n);
	entry.source_aet = text(aet);
	pack(out, &entry);
}

void
ledger_instance(struct buf *out, const struct version *v, struct attrs series,
		struct attrs instance, const struct buf *side, int64_t wall_ms)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;

	entry.kind = SYNC__LEDGER_KIND__LEDGER_INSTANCE;
	entry.wall_ms = wall_ms;
	entry.study = text(v->study);
	entry.sop_class = text(v->sop_class);
	entry.sop_instance = text(v->sop_instance);
	entry.series = text(v->series);
	entry.syntax = text(v->syntax);
	entry.digest = bytes(v->digest, sizeof(v->digest));
	entry.content = bytes(v->content, sizeof(v->content));
	entry.pixels = bytes(v->pixels, sizeof(v->pixels));
	entry.attributes = bytes(v->attributes, sizeof(v->attributes));
	entry.size = v->size;
	entry.flags = v->flags;
	entry.hidden = v->hidden;
	entry.relation = (uint32_t)v->relation;
	entry.origin = (uint32_t)v->origin;
	entry.source_site = text(v->source.site);
	entry.source_aet = text(v->source.calling_aet);
	entry.source_address = text(v->source.peer);
	entry.series_attributes = bytes(series.p, series.n);
	entry.instance_attributes = bytes(instance.p, instance.n);
	entry.side = bytes(side->data, side->len);
	pack(out, &entry);
}

void
ledger_record(struct buf *out, struct attrs study_row, struct attrs series)
{
	static const uint32_t tags[] = {
		TAG_STUDY_DATE,	       TAG_STUDY_TIME,	 TAG_ACCESSION,	 TAG_ACCESSION_ISSUER,
		TAG_MODALITIES,	       TAG_INSTITUTION,	 TAG_REFERRING,	 TAG_STATION,
		TAG_STUDY_DESCRIPTION, TAG_PATIENT_NAME, TAG_PATIENT_ID, TAG_PATIENT_ISSUER,
		TAG_BIRTH_DATE,	       TAG_SEX,		 TAG_BODY_PART,	 TAG_STUDY_UID};
	struct attr a;
	size_t i;

	for (i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (attrs_get(study_row, tags[i], &a) || attrs_get(series, tags[i], &a))
			attrs_put(out, tags[i], a.value, a.n);
}
