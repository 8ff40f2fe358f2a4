/*
 * worker_frames.h - encapsulated pixels frame by frame (salamander-worker only).
 *
 * Frames are found by "a fragment each", "all are the one", the basic offset table, or where
 * fragments begin as a codestream does (PS3.5 A.4).
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_DICOM_WORKER_FRAMES_H
#define SALAMANDER_COMMON_DICOM_WORKER_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

struct pixel_frames; /* opaque */

/* sequence: of the library that parsed it, borrowed until the end. begins: could a frame start
 * with these bytes? NULL, or what is wrong. */
const char *frames_open(struct pixel_frames **out, void *sequence, unsigned long number,
			bool (*begins)(const unsigned char *p, size_t n));
void frames_close(struct pixel_frames *f); /* NULL is fine */
/* Frame i, borrowed until the next call. */
const char *frames_get(struct pixel_frames *f, unsigned long i, const unsigned char **p, size_t *n);

/* One frame of RLE (PS3.5 G) that is one segment of `size` bytes. NULL, or what is wrong. */
const char *rle_decode(const unsigned char *p, size_t n, unsigned char *out, size_t size);

#endif
