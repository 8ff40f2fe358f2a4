#include "proto/frame.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"

static const char magic[] = "SLF1";

/* 0 and the coded bytes behind the header that will be there, or -1: it saves nothing. */
static int
code(struct buf *out, enum frame_coding coding, const void *plain, size_t n, size_t *coded)
{
	unsigned char *to = buf_reserve(out, FRAME_HEAD + n);
	uLongf z = (uLongf)n - 1;
	size_t zs;

	if (!to || n < 2)
		return -1;
	to += FRAME_HEAD;
	switch (coding) {
	case FRAME_STORED:
		return -1;
	case FRAME_ZLIB: /* level 1: higher ones have no place in a data path (TRAPS 5) */
		if (compress2(to, &z, plain, (uLong)n, 1) != Z_OK)
			return -1;
		*coded = z;
		return 0;
	case FRAME_ZSTD:
		zs = ZSTD_compress(to, n - 1, plain, n, 1);
		if (ZSTD_isError(zs))
			return -1;
		*coded = zs;
		return 0;
	}
	return -1;
}

static void
write_head(unsigned char h[FRAME_HEAD], enum frame_coding coding, uint64_t offset,
	   const void *plain, size_t n, size_t payload)
{
	memset(h, 0, FRAME_HEAD);
	memcpy(h, magic, 4);
	h[4] = (unsigned char)coding;
	buf_set_u64(h + 8, offset);
	buf_set_u32(h + 16, (uint32_t)n);
	buf_set_u32(h + 20, (uint32_t)payload);
	buf_set_u64(h + 24, xxh64_of(plain, n));
}

void
frame_stored(unsigned char head[FRAME_HEAD], uint64_t offset, const void *plain, size_t n)
{
	write_head(head, FRAME_STORED, offset, plain, n, n);
}

int
frame_write(struct buf *out, enum frame_coding coding, uint64_t offset, const void *plain, size_t n,
	    struct err *e)
{
	unsigned char *h;
	size_t payload = n;

	if (n == 0 || n > FRAME_PLAIN_MAX)
		return err_set(e, ERR_LOCAL, 0, "a frame of %zu bytes", n);
	if (code(out, coding, plain, n, &payload)) {
		coding = FRAME_STORED;
		payload = n;
	}
	h = buf_reserve(out, FRAME_HEAD + payload);
	if (!h)
		return err_set(e, ERR_LOCAL, 0, "no memory for a frame");
	if (coding == FRAME_STORED)
		memcpy(h + FRAME_HEAD, plain, n);
	write_head(h, coding, offset, plain, n, payload);
	out->len += FRAME_HEAD + payload;
	return 0;
}

int
frame_head(struct frame *f, const void *head, struct err *e)
{
	const unsigned char *h = head;

	f->coding = (enum frame_coding)h[4];
	f->offset = buf_get_u64(h + 8);
	f->plain = buf_get_u32(h + 16);
	f->payload = buf_get_u32(h + 20);
	f->checksum = buf_get_u64(h + 24);
	if (memcmp(h, magic, 4) != 0 || h[4] > FRAME_ZSTD || h[5] || h[6] || h[7])
		return err_set(e, ERR_PEER, 0, "a frame that is none");
	if (f->plain == 0 || f->plain > FRAME_PLAIN_MAX || f->payload == 0 ||
	    f->payload > f->plain || (f->coding == FRAME_STORED && f->payload != f->plain))
		return err_set(e, ERR_PEER, 0, "a frame of %u bytes in %u", f->plain, f->payload);
	return 0;
}

int
frame_read(const struct frame *f, const void *payload, struct buf *plain, struct err *e)
{
	unsigned char *to = buf_reserve(plain, f->plain);
	uLongf z = f->plain;
	size_t got = 0;

	if (!to)
		return err_set(e, ERR_LOCAL, 0, "no memory for a frame");
	switch (f->coding) {
	case FRAME_STORED:
		memcpy(to, payload, f->plain);
		got = f->plain;
		break;
	case FRAME_ZLIB: /* never more than the header said, whatever the payload holds */
		got = uncompress(to, &z, payload, f->payload) == Z_OK ? z : 0;
		break;
	case FRAME_ZSTD:
		got = ZSTD_decompress(to, f->plain, payload, f->payload);
		break;
	}
	if (got != f->plain || xxh64_of(to, f->plain) != f->checksum)
		return err_set(e, ERR_PEER, 0, "a frame whose bytes are wrong");
	plain->len += f->plain;
	return 0;
}

int
frame_view(const struct frame *f, const void *payload, struct buf *room,
	   const unsigned char **plain, struct err *e)
{
	size_t at = room->len;
	int rc;

	if (f->coding != FRAME_STORED) {
		rc = frame_read(f, payload, room, e);
		*plain = rc ? NULL : room->data + at;
		return rc;
	}
	if (xxh64_of(payload, f->plain) != f->checksum)
		return err_set(e, ERR_PEER, 0, "a frame whose bytes are wrong");
	*plain = payload;
	return 0;
}
