/*
 * frame.h - self-contained pieces of a pack on the wire (R14): header, payload.
 *
 * Stored, zlib or zstd, chosen per frame; a frame never gives more than
 * FRAME_PLAIN_MAX bytes whatever its payload claims. Layout: PROTOCOL.md.
 * Errors: ERR_PEER for a frame that cannot be.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_PROTO_FRAME_H
#define SALAMANDER_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

enum { FRAME_HEAD = 32, FRAME_PLAIN_MAX = 8 << 20 };

/* On the wire: never renumber. */
enum frame_coding { FRAME_STORED = 0, FRAME_ZLIB = 1, FRAME_ZSTD = 2 };

struct frame {
	uint64_t offset; /* of the plain bytes in the pack */
	enum frame_coding coding;
	uint32_t plain, payload; /* bytes */
	uint64_t checksum;	 /* of the plain bytes */
};

/* Appends one frame; n is 1 to FRAME_PLAIN_MAX. Falls back to stored where coding saves nothing. */
int frame_write(struct buf *out, enum frame_coding coding, uint64_t offset, const void *plain,
		size_t n, struct err *e);
/* The header of a stored frame of n plain bytes that lie behind it; n is 1 to FRAME_PLAIN_MAX. */
void frame_stored(unsigned char head[FRAME_HEAD], uint64_t offset, const void *plain, size_t n);
/* Reads a header from the first FRAME_HEAD bytes. */
int frame_head(struct frame *out, const void *head, struct err *e);
/* Appends the plain bytes of a payload of f->payload bytes; nothing is appended on failure. */
int frame_read(const struct frame *f, const void *payload, struct buf *plain, struct err *e);
/* *plain: f->plain bytes, in the payload itself where it is stored, else in room. */
int frame_view(const struct frame *f, const void *payload, struct buf *room,
	       const unsigned char **plain, struct err *e);

#endif
