/*
 * worker_j2k.h - JPEG 2000 for the worker: DCMTK has no coder of it (TRAPS 2).
 *
 * Threads: none.
 */
#ifndef SALAMANDER_COMMON_DICOM_WORKER_J2K_H
#define SALAMANDER_COMMON_DICOM_WORKER_J2K_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an image says of its pixels (PS3.3 C.7.6.3). */
struct j2k_image {
	unsigned rows, columns, samples; /* samples per pixel */
	unsigned allocated;		 /* bits: 8 or 16     */
};

/*
 * Decodes one frame (a codestream, or a JP2 file) into rows x columns x samples values of
 * `allocated` bits, little endian, colour by pixel. NULL, or what is wrong.
 */
const char *j2k_decode(const struct j2k_image *im, const unsigned char *p, size_t n,
		       unsigned char *out, size_t size);

/*
 * Encodes one such frame without loss, a codestream in *out that is good until the next call;
 * colours are made YBR_RCT. stored: its bits, with a sign or without; what lies above them is not
 * kept. NULL, or what is wrong.
 */
const char *j2k_encode(const struct j2k_image *im, unsigned stored, bool sign,
		       const unsigned char *p, size_t size, const unsigned char **out, size_t *n);

#endif
