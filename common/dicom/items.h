/*
 * items.h - a sequence as one indexed value: what of its items is kept.
 *
 *	repeated { 1E, repeated { tag as 8 hex digits, value in UTF-8, 1F } }
 *
 * An item that does not fit in ATTRS_VALUE_MAX is left out whole, with those behind it.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_DICOM_ITEMS_H
#define SALAMANDER_COMMON_DICOM_ITEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dicom/attrs.h"

struct buf;

enum { ITEMS_BEGIN = 0x1e, ITEMS_END = 0x1f }; /* of an item; behind each attribute */

/* A new item. */
void items_begin(struct buf *out);
/* An attribute of it; control characters in the value are left out. */
void items_put(struct buf *out, uint32_t tag, const char *value, size_t n);
/* The same with text that is not UTF-8 yet: escape sequences stay in. */
void items_raw(struct buf *out, uint32_t tag, const char *value, size_t n);
/* The value of one whose VR is binary, in hexadecimal; and back: what is none is left out. */
void items_hex(struct buf *out, const void *p, size_t n);
void items_bytes(struct buf *out, const char *value, size_t n);
/* The next item behind *pos (0 at first); false at the end. */
bool items_next(struct attr value, size_t *pos, struct attr *item);
/* The next attribute of an item, likewise. */
bool items_attr(struct attr item, size_t *pos, struct attr *out);

#endif
