/*
 * Headers: what an instance is before its pixels, kept beside the bytes (DESIGN 4).
 *
 * Table header, key: object id of the bytes. Value, little endian:
 *
 *	 0 u64 XXH3-64 of all that follows
 *	 8 u8 format 1    9 u8 zero    10 u16 zero
 *	12 u32 bytes kept    16 u32 frames    20 u32 zero
 *	24 u64 offset behind the pixel element, 0: not known
 *	32 u64 offset of the first frame
 *	40 u32 for each frame: its length, items with their heads; they lie one behind the other
 *	   the canonical file up to the value of the pixel element
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/canon.h"
#include "common/dicom/keys.h"
#include "common/store/private.h"

enum { FORMAT = 1, HEAD = 40, ITEM = 8, DELIMITER = 8 };

/* --- the frame table --- */

struct table {
	uint32_t *lengths;
	size_t n;
	uint64_t first;
};

static uint64_t
frames_said(const struct object_info *info)
{
	char text[16];

	if (attrs_copy(attrs_of(&info->instance_attrs), TAG_FRAMES, text, sizeof(text)) == 0)
		return 1;
	return strtoull(text, NULL, 10);
}

/* A fragment lies behind the head of its item. */
static uint64_t
start_of(const struct fragment *f)
{
	return f->offset - ITEM;
}

static uint64_t
end_of(const struct fragment *f)
{
	return f->offset + f->length;
}

static bool
add_frame(struct table *t, uint64_t from, uint64_t end)
{
	if (end <= from || end - from > UINT32_MAX)
		return false;
	t->lengths[t->n++] = (uint32_t)(end - from);
	return true;
}

/*
 * By the basic offset table (PS3.5 A.4): each entry must be where a fragment begins. offsets
 * NULL: one fragment is one frame, or all are the only one.
 */
static bool
cut(struct table *t, const struct object_info *info, uint64_t frames, const unsigned char *offsets)
{
	const struct fragment *f = info->fragments + 1, *end = info->fragments + info->n_fragments;
	uint64_t first = start_of(f), from = first, i;

	for (i = 1; i < frames; i++) {
		uint64_t next = offsets ? first + buf_get_u32(offsets + 4 * i) : start_of(f + 1);

		while (f < end && start_of(f) < next)
			f++;
		if (f == end || start_of(f) != next || !add_frame(t, from, next))
			return false;
		from = next;
	}
	return add_frame(t, from, end_of(end - 1));
}

/* No offset table: by the codestreams, if they are as many as there are frames. */
static bool
cut_by_marks(struct table *t, const struct object_info *info, uint64_t frames)
{
	const struct fragment *f = info->fragments + 1, *end = info->fragments + info->n_fragments;
	uint64_t from = start_of(f);

	t->n = 0;
	if (!f->begins || !end[-1].ends)
		return false;
	while (++f < end) {
		if (!f[-1].ends || !f->begins)
			continue;
		if (t->n + 1 == frames || !add_frame(t, from, start_of(f)))
			return false;
		from = start_of(f);
	}
	return t->n + 1 == frames && add_frame(t, from, end_of(end - 1));
}

/* A basic offset table of that many entries; NULL: there is none. */
static const unsigned char *
offset_table(const struct object_info *info, uint64_t frames, const unsigned char *p, size_t n)
{
	const struct fragment *f = info->fragments;

	if (f->length != 4 * frames || end_of(f) > n || buf_get_u32(p + f->offset) != 0)
		return NULL;
	return p + f->offset;
}

/* Where each frame lies, if that can be told; p: the first n bytes of the file. */
static int
find_frames(struct table *t, const struct object_info *info, const unsigned char *p, size_t n,
	    struct err *e)
{
	const unsigned char *offsets = NULL;
	uint64_t frames = frames_said(info);
	bool told = true;

	if (!info->encapsulated || info->fragments_cut || info->n_fragments < 2 || frames == 0 ||
	    frames >= info->n_fragments)
		return 0;
	if (frames > 1 && frames != info->n_fragments - 1) {
		offsets = offset_table(info, frames, p, n);
		told = offsets != NULL;
	}
	t->lengths = calloc((size_t)frames, sizeof(*t->lengths));
	if (!t->lengths)
		return err_set(e, ERR_LOCAL, 0, "no memory for a frame table");
	t->first = start_of(info->fragments + 1);
	if (!(told && cut(t, info, frames, offsets)) && !cut_by_marks(t, info, frames))
		t->n = 0;
	return 0;
}

/* --- the record --- */

/* The bytes up to the value of the pixel element. */
static uint64_t
header_size(const struct version *v)
{
	return v->pixel_offset ? v->pixel_offset : v->header_length;
}

static uint64_t
behind_pixels(const struct version *v, const struct object_info *info)
{
	uint64_t at = 0;

	if (!v->pixel_offset)
		return v->size;
	if (!v->encapsulated)
		at = v->pixel_length ? v->pixel_offset + v->pixel_length : 0;
	else if (info && info->n_fragments && !info->fragments_cut)
		at = end_of(&info->fragments[info->n_fragments - 1]) + DELIMITER;
	return at < v->size ? at : v->size;
}

static int
encode(struct buf *out, const struct version *v, const struct object_info *info,
       const unsigned char *p, size_t n, struct err *e)
{
	uint64_t size = header_size(v);
	struct table t = {NULL, 0, 0};
	size_t i;
	int rc = info ? find_frames(&t, info, p, n, e) : 0;

	if (size > n) /* DESIGN 4: bounded; who wants it reads the object */
		size = 0;
	buf_put_u64(out, 0);
	buf_put_u32(out, FORMAT);
	buf_put_u32(out, (uint32_t)size);
	buf_put_u32(out, (uint32_t)t.n);
	buf_put_u32(out, 0);
	buf_put_u64(out, behind_pixels(v, info));
	buf_put_u64(out, t.first);
	for (i = 0; i < t.n; i++)
		buf_put_u32(out, t.lengths[i]);
	buf_put(out, p, (size_t)size);
	free(t.lengths);
	if (!rc && buf_failed(out))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a header");
	if (!rc)
		buf_set_u64(out->data, xxh64_of(out->data + 8, out->len - 8));
	return rc;
}

bool
header_wanted(const struct version *v)
{
	return v->pixel_offset && v->size >= STORE_HEADER_FROM;
}

/* The chunks of v are in the transaction: the header is copied out of the first one. */
int
header_put(struct store_tx *tx, const struct version *v, const struct object_info *info,
	   struct err *e)
{
	struct buf value = BUF_INIT;
	unsigned char key[8];
	const void *p;
	uint32_t n;
	int rc;

	if (!header_wanted(v))
		return 0;
	if (v->size <= v->chunk_payload) /* the only one: it was not spooled before */
		rc = chunk_fresh(tx, v->bytes, &p, &n, e);
	else
		rc = chunk_get(tx, v->bytes, 0, &p, &n, e);
	if (!rc)
		rc = encode(&value, v, info, p, n, e);
	if (!rc)
		rc = kv_put(tx->txn, T_HEADER, be64_key(key, v->bytes),
			    kv_slice(value.data, value.len), e);
	buf_fini(&value);
	return rc;
}

int
header_delete(struct store_tx *tx, uint64_t id, struct err *e)
{
	unsigned char key[8];
	int rc = kv_del(tx->txn, T_HEADER, be64_key(key, id), e);

	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- reading --- */

static bool
decode(struct store_header *out, const unsigned char *p, size_t n)
{
	uint32_t bytes, frames, i;
	uint64_t at;

	if (n < HEAD || p[8] != FORMAT || buf_get_u64(p) != xxh64_of(p + 8, n - 8))
		return false;
	bytes = buf_get_u32(p + 12);
	frames = buf_get_u32(p + 16);
	if (bytes > n - HEAD || frames > (n - HEAD - bytes) / 4)
		return false;
	out->behind = buf_get_u64(p + 24);
	at = buf_get_u64(p + 32);
	out->frames = frames ? calloc(frames, sizeof(*out->frames)) : NULL;
	for (i = 0; out->frames && i < frames; i++) {
		out->frames[i].offset = at;
		out->frames[i].length = buf_get_u32(p + HEAD + 4 * (size_t)i);
		at += out->frames[i].length;
	}
	out->n_frames = out->frames ? frames : 0;
	buf_put(&out->bytes, p + HEAD + 4 * (size_t)frames, bytes);
	return true;
}

/* A record that fails its check is as good as none: the object itself is read. */
static int
read_record(struct store_header *out, struct store *s, uint64_t oid, bool *found, struct err *e)
{
	struct kv_slice value;
	struct store_tx *tx;
	unsigned char key[8];
	int rc = store_begin_read(&tx, s, e);

	*found = false;
	if (rc)
		return rc;
	rc = store_version(tx, oid, &out->version, e);
	if (!rc && out->version.state != VERSION_HERE)
		rc = ERR_ABSENT;
	if (!rc && out->version.location == VERSION_CHUNKS) {
		rc = kv_get(tx->txn, T_HEADER, be64_key(key, out->version.bytes), &value, e);
		if (!rc)
			kv_load(value, false);
		*found = !rc && decode(out, value.p, value.n);
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	store_end_read(tx);
	return rc;
}

static int
keep_scanned(struct store_header *out, const struct object_info *info, struct err *e)
{
	struct buf value = BUF_INIT;
	int rc = encode(&value, &out->version, info, out->bytes.data, out->bytes.len, e);

	buf_clear(&out->bytes);
	if (!rc && !decode(out, value.data, value.len))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a header");
	buf_fini(&value);
	return rc;
}

/* Where fragments lie only the whole object tells; else its beginning is enough. */
static int
read_object(struct store_header *out, struct store *s, struct err *e)
{
	struct canon_config config = {.form = CANON_FILE};
	const struct object_info *info = NULL;
	const struct version *v = &out->version;
	uint64_t at = 0, end = v->encapsulated ? v->size : header_size(v);
	struct store_reader *r = NULL;
	struct canon *c = NULL;
	const void *p;
	size_t n;
	int rc = store_read_open(&r, s, v->oid, e);

	if (!v->encapsulated && end > STORE_HEADER_MAX)
		end = 0;
	if (!rc && v->encapsulated)
		rc = canon_new(&c, &config, e);
	while (!rc && at < end) {
		rc = store_read_some(r, at, &p, &n, e);
		if (rc)
			break;
		if (at < STORE_HEADER_MAX)
			buf_put(&out->bytes, p,
				n < STORE_HEADER_MAX - at ? n : (size_t)(STORE_HEADER_MAX - at));
		if (c)
			rc = canon_feed(c, p, n, e);
		at += n;
	}
	if (!rc && c)
		rc = canon_end(c, &info, e);
	if (!rc)
		rc = keep_scanned(out, info, e);
	canon_free(c);
	store_read_close(r);
	return rc;
}

int
store_header(struct store_header *out, struct store *s, uint64_t oid, struct err *e)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = read_record(out, s, oid, &out->recorded, e);
	if (!rc && !out->recorded)
		rc = read_object(out, s, e);
	if (!rc && buf_failed(&out->bytes))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a header");
	if (rc)
		store_header_fini(out);
	return rc;
}

void
store_header_fini(struct store_header *h)
{
	buf_fini(&h->bytes);
	free(h->frames);
	memset(h, 0, sizeof(*h));
}
