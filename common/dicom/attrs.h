/*
 * attrs.h - attribute sets: what an index, an answer and a ledger entry hold of an object.
 *
 * A set is bytes, read in place and never parsed into memory:
 *
 *	repeated { tag u32 LE (group << 16 | element), length u16 LE, value }
 *
 * in ascending tags, values in UTF-8 without padding, several values joined by
 * a backslash. The same bytes are an LMDB value, matching input and wire payload.
 * Threads: sets are plain memory.
 */
#ifndef SALAMANDER_COMMON_DICOM_ATTRS_H
#define SALAMANDER_COMMON_DICOM_ATTRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum { ATTRS_VALUE_MAX = 1024 }; /* longer values are cut at a character border */
enum { TAGS_MAX = 96 }; /* more than there are keys in the levels of a study and a series */

/* Some attributes, by name only. */
struct tags {
	uint32_t tag[TAGS_MAX];
	size_t n;
};

struct attrs {
	const void *p;
	size_t n;
};

struct attr {
	uint32_t tag;
	const char *value; /* not terminated */
	size_t n;
};

/* The next attribute behind *pos (0 at first); false at the end or where the set is torn. */
bool attrs_next(struct attrs set, size_t *pos, struct attr *out);
/* false when the set has no such attribute; *out is then as it was. */
bool attrs_get(struct attrs set, uint32_t tag, struct attr *out);
/* Appends; tags must ascend (abort). Cuts at ATTRS_VALUE_MAX. */
void attrs_put(struct buf *set, uint32_t tag, const char *value, size_t n);
/* Writes old into out with one attribute added or replaced. */
void attrs_replace(struct buf *out, struct attrs old, uint32_t tag, const char *value, size_t n);
/* One attribute of a set becomes this number. */
void attrs_set_number(struct buf *set, uint32_t tag, uint64_t n);
/* Adds to an attribute of several values those of these that it has not. */
void attrs_add_values(struct buf *set, uint32_t tag, const char *values, size_t n);
/* Writes into out what the second adds to the first: attributes the first has not, or has empty. */
void attrs_merge(struct buf *out, struct attrs first, struct attrs second);
/* The same, but what the first has empty stays empty: a correction (R3). */
void attrs_overlay(struct buf *out, struct attrs first, struct attrs second);
/* Whole, ascending, valid lengths: for sets that came from outside. */
bool attrs_valid(struct attrs set);
/* Copies a value, terminated and cut to size; "" when absent. Returns its length. */
size_t attrs_copy(struct attrs set, uint32_t tag, char *to, size_t size);
struct attrs attrs_of(const struct buf *b);

void tags_add(struct tags *t, uint32_t tag); /* once; what is too much is left out */
bool tags_has(const struct tags *t, uint32_t tag);
/* Adds what old has a value of and now does not name. */
void attrs_dropped(struct tags *out, struct attrs old, struct attrs now);
/* The set but these. */
void attrs_without(struct buf *out, struct attrs set, const struct tags *t);

#endif
