#include "common/store/version.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/canon.h"

enum { FORMAT = 1, BIT_PIXELS = 1, BIT_ENCAPSULATED = 2, BIT_CURRENT = 4 };

void
version_of_object(struct version *v, const struct object_info *info)
{
	memset(v, 0, sizeof(*v));
	memcpy(v->sop_class, info->sop_class, UID_SIZE);
	memcpy(v->sop_instance, info->sop_instance, UID_SIZE);
	memcpy(v->study, info->study, UID_SIZE);
	memcpy(v->series, info->series, UID_SIZE);
	memcpy(v->syntax, info->syntax, UID_SIZE);
	memcpy(v->digest, info->digest, sizeof(v->digest));
	memcpy(v->content, info->content, sizeof(v->content));
	memcpy(v->pixels, info->pixels, sizeof(v->pixels));
	memcpy(v->attributes, info->attributes, sizeof(v->attributes));
	v->size = info->size;
	v->flags = info->flags;
	v->has_pixels = info->has_pixels;
	v->encapsulated = info->encapsulated;
	v->header_length = info->header_length;
	v->pixel_offset = info->pixel_offset;
	v->pixel_length = info->pixel_length;
}

bool
version_same_source(const struct version *a, const struct version *b)
{
	return strcmp(a->source.site, b->source.site) == 0 &&
	       strcmp(a->source.calling_aet, b->source.calling_aet) == 0 &&
	       strcmp(a->source.peer, b->source.peer) == 0;
}

bool
version_aside(const struct version *v)
{
	return v->state == VERSION_DAMAGED && v->location == VERSION_CHUNKS;
}

bool
version_indexed(const struct version *v)
{
	return version_seen(v, true);
}

bool
version_seen(const struct version *v, bool see_rejected)
{
	return (v->hidden & ~(see_rejected ? (uint32_t)VERSION_POOR : 0u)) == 0;
}

bool
version_receipted(const struct version *v, const struct id128 *epoch)
{
	return memcmp(v->receipt.b, epoch->b, sizeof(epoch->b)) == 0;
}

static void
put_text(struct buf *b, const char *s)
{
	size_t n = strlen(s);

	buf_put_u8(b, (unsigned)n);
	buf_put(b, s, n);
}

void
version_encode(struct buf *b, const struct version *v)
{
	buf_put_u8(b, FORMAT);
	buf_put_u8(b, v->state);
	buf_put_u8(b, v->relation);
	buf_put_u8(b, v->origin);
	buf_put_u8(b, v->location);
	buf_put_u8(b, (v->has_pixels ? BIT_PIXELS : 0u) |
			      (v->encapsulated ? BIT_ENCAPSULATED : 0u) |
			      (v->current ? BIT_CURRENT : 0u));
	buf_put_u32(b, v->flags);
	buf_put_u32(b, v->hidden);
	buf_put_u32(b, v->chunk_payload);
	buf_put_u64(b, v->size);
	buf_put_u64(b, v->header_length);
	buf_put_u64(b, v->pixel_offset);
	buf_put_u64(b, v->pixel_length);
	buf_put_u64(b, v->arrival);
	buf_put_u64(b, (uint64_t)v->arrived_wall_ms);
	buf_put_u64(b, v->seq);
	buf_put_u64(b, (uint64_t)v->verified_wall_ms);
	buf_put_u64(b, v->bytes);
	buf_put_u64(b, v->offset);
	buf_put_u64(b, (uint64_t)v->first_ms);
	buf_put(b, v->digest, sizeof(v->digest));
	buf_put(b, v->pack, sizeof(v->pack));
	buf_put(b, v->content, sizeof(v->content));
	buf_put(b, v->pixels, sizeof(v->pixels));
	buf_put(b, v->attributes, sizeof(v->attributes));
	buf_put(b, v->receipt.b, sizeof(v->receipt.b));
	put_text(b, v->sop_class);
	put_text(b, v->sop_instance);
	put_text(b, v->study);
	put_text(b, v->series);
	put_text(b, v->syntax);
	put_text(b, v->source.site);
	put_text(b, v->source.calling_aet);
	put_text(b, v->source.peer);
}

struct reader {
	const unsigned char *p;
	size_t left;
	bool bad;
};

static const unsigned char *
take(struct reader *r, size_t n)
{
	static const unsigned char zero[SHA256_SIZE];
	const unsigned char *p = r->p;

	if (r->left < n) {
		r->bad = true;
		r->left = 0;
		return zero;
	}
	r->p += n;
	r->left -= n;
	return p;
}

static uint64_t
take_u64(struct reader *r)
{
	return buf_get_u64(take(r, 8));
}

static void
take_bytes(struct reader *r, void *to, size_t n)
{
	memcpy(to, take(r, n), n);
}

static void
take_text(struct reader *r, char *to, size_t size)
{
	size_t n = *take(r, 1);

	if (n >= size || n > r->left) {
		r->bad = true;
		return;
	}
	memcpy(to, take(r, n), n);
	to[n] = '\0';
}

static void
take_numbers(struct reader *r, struct version *v)
{
	v->flags = buf_get_u32(take(r, 4));
	v->hidden = buf_get_u32(take(r, 4));
	v->chunk_payload = buf_get_u32(take(r, 4));
	v->size = take_u64(r);
	v->header_length = take_u64(r);
	v->pixel_offset = take_u64(r);
	v->pixel_length = take_u64(r);
	v->arrival = take_u64(r);
	v->arrived_wall_ms = (int64_t)take_u64(r);
	v->seq = take_u64(r);
	v->verified_wall_ms = (int64_t)take_u64(r);
	v->bytes = take_u64(r);
	v->offset = take_u64(r);
	v->first_ms = (int64_t)take_u64(r);
}

int
version_decode(struct version *v, uint64_t oid, const void *p, size_t n, struct err *e)
{
	struct reader r = {p, n, false};
	unsigned bits;

	memset(v, 0, sizeof(*v));
	v->oid = oid;
	if (*take(&r, 1) != FORMAT)
		r.bad = true;
	v->state = (enum version_state) * take(&r, 1);
	v->relation = (enum version_relation) * take(&r, 1);
	v->origin = (enum version_origin) * take(&r, 1);
	v->location = (enum version_location) * take(&r, 1);
	bits = *take(&r, 1);
	v->has_pixels = bits & BIT_PIXELS;
	v->encapsulated = bits & BIT_ENCAPSULATED;
	v->current = bits & BIT_CURRENT;
	take_numbers(&r, v);
	take_bytes(&r, v->digest, sizeof(v->digest));
	take_bytes(&r, v->pack, sizeof(v->pack));
	take_bytes(&r, v->content, sizeof(v->content));
	take_bytes(&r, v->pixels, sizeof(v->pixels));
	take_bytes(&r, v->attributes, sizeof(v->attributes));
	take_bytes(&r, v->receipt.b, sizeof(v->receipt.b));
	take_text(&r, v->sop_class, sizeof(v->sop_class));
	take_text(&r, v->sop_instance, sizeof(v->sop_instance));
	take_text(&r, v->study, sizeof(v->study));
	take_text(&r, v->series, sizeof(v->series));
	take_text(&r, v->syntax, sizeof(v->syntax));
	take_text(&r, v->source.site, sizeof(v->source.site));
	take_text(&r, v->source.calling_aet, sizeof(v->source.calling_aet));
	take_text(&r, v->source.peer, sizeof(v->source.peer));
	return r.bad ? err_set(e, ERR_CORRUPT, 0, "the record of version %llu is torn",
			       (unsigned long long)oid)
		     : 0;
}
