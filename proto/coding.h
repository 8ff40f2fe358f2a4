/*
 * coding.h - in which coding a frame of a pack travels.
 *
 * zstd where central offers it, else zlib, both at level 1; and only where it pays: the link
 * is slower than the compressor, the bytes are not compressed already, and a sample says that
 * more than a tenth is saved. Then a slow link carries more image than its rate.
 * Pure: whoever compresses says how long that took.
 * Threads: one owner; a copy of it decides anywhere.
 */
#ifndef SALAMANDER_PROTO_CODING_H
#define SALAMANDER_PROTO_CODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

enum { CODING_SAMPLE = 65536 };

struct coding {
	enum frame_coding best; /* FRAME_STORED: nothing is compressed              */
	uint64_t link; /* bytes per second, of all connections; 0: not known, taken for slow */
	/* what coding_took was told */
	uint64_t bytes, ms;
	unsigned untried;
};

/* What hello's answer offers; one that offers nothing reads zlib (PROTOCOL.md). */
void coding_offered(struct coding *c, const uint32_t *codings, size_t n);
/* The link is slower than the compressor: each frame is worth a look. */
bool coding_pays(const struct coding *c);
/* For these bytes; compressed: most of them are, by their transfer syntax. */
enum frame_coding coding_choose(const struct coding *c, const void *plain, size_t n,
				bool compressed);
/*
 * A piece was made, and so many plain bytes of it were compressed in so many ms. Coarse
 * times add up. When none was compressed for long, what was measured is forgotten: the machine
 * may have been busy then.
 */
void coding_took(struct coding *c, uint64_t bytes, uint64_t ms);

#endif
