/*
 * content.h - what the scanner's events say of an object: digests, attributes, pixel data.
 *
 * Digest "pixels": over the value of a top level (7FE0,0008/0009/0010): native
 * bytes in little endian, or all fragments but the offset table; an odd length
 * padded with a NUL. Digest "attributes": for each other element its tag, then
 * its value (little endian; of text the trailing NULs and spaces dropped, else
 * an odd length padded with a NUL) and that length; for items and their ends a
 * mark. No VR, no length form, no group length, no (FFFC,FFFC). Digest "content"
 * (R2): over "attributes", "pixels" where there are any, and the syntax where
 * they are encapsulated.
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_DICOM_CONTENT_H
#define SALAMANDER_COMMON_DICOM_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct content; /* opaque */
struct err;
struct object_info;
struct scan_handler;

/* info is filled as far as the events tell; its attribute sets at content_end. */
int content_new(struct content **out, struct object_info *info, size_t max_fragments,
		struct err *e);
void content_free(struct content *c);
/* An outline is wanted instead of the digests "content" and "attributes". */
void content_outline(struct content *c);
void content_handler(struct content *c, struct scan_handler *h);
/* true: the UIDs of group 0002 are decided as far as the element order goes (R1). */
bool content_ids_known(const struct content *c);
/* Group 0002 is written: what comes now changes its UIDs no more. */
void content_ids_decided(struct content *c);
int content_end(struct content *c, struct err *e);

#endif
