/*
 * identifier.h - the identifiers of C-FIND, C-MOVE and C-GET, read and written by ourselves.
 *
 * Reading goes through the scanner (bounded, iterative); values become UTF-8.
 * Writing is explicit or implicit little endian; what holds more than ASCII says its
 * character set (PS3.4 C.2.2.2: it describes the identifier it stands in): the one that
 * was asked for if it can say all of it, else ISO_IR 192.
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_DIMSE_IDENTIFIER_H
#define SALAMANDER_COMMON_DIMSE_IDENTIFIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/dicom/attrs.h"
#include "common/dicom/charset.h"

struct err;

/* The VR of an attribute that is in no table of ours; "" where nobody says. Also of attributes
 * in items: a tag has one VR wherever it stands. */
struct identifier_vr {
	uint32_t tag;
	char vr[3];
};

enum { IDENTIFIER_VRS_MAX = 64 };

struct identifier {
	struct buf keys;    /* every top level element; sequences in the form of items.h, what is
			  * binary of their items in hexadecimal */
	bool unknown_items; /* attributes of items that nobody keeps, and sequences in items */
	struct tags beyond; /* sequences of the index, asked for what it keeps nothing of */
	struct identifier_vr said[IDENTIFIER_VRS_MAX]; /* in what an explicit one says */
	unsigned n_said;
};

/* syntax: of the presentation context. ERR_PEER when it cannot be read. */
int identifier_parse(struct identifier *out, const char *syntax, const void *p, size_t n,
		     struct err *e);
void identifier_fini(struct identifier *id);
/* Its keys less what no index keeps of the items of such sequences. */
void identifier_indexed(const struct identifier *id, struct buf *out);

/* Writes a data set from an attribute set; VRs from the table of keys. */
void identifier_build(struct buf *out, const char *syntax, struct attrs set);
/* The same in this character set, where it can say all of it; more: VRs of what is in no
 * table (NULL: none). */
void identifier_build_in(struct buf *out, const char *syntax, struct attrs set, struct attr charset,
			 const struct identifier_vr *more, unsigned n_more);
/* One attribute of UIDs joined by backslashes, however long: beyond 64 KiB as UN (PS3.5 6.2.2). */
void identifier_build_list(struct buf *out, const char *syntax, uint32_t tag,
			   const struct buf *uids);
/* "UI", "DA", ...: of an attribute that can stand in an identifier; "UN" if unknown. */
const char *identifier_vr(uint32_t tag);
/* What the identifier itself says of a tag that is in no table: "" if nothing. */
const char *identifier_said(const struct identifier *id, uint32_t tag);
/* Of an attribute of a sequence's item: by the tables, else by what `more` says; "" if unknown. */
const char *identifier_item_vr(const struct identifier_vr *more, unsigned n_more, uint32_t tag);
/* Numbers and bytes, kept and written as they are. */
bool identifier_binary(const char *vr);
/* Where no VR is said: text is what has no control characters. */
bool identifier_looks_binary(const void *value, size_t n);
/* How text of this VR is delimited. */
enum charset_text identifier_text(const char *vr);

#endif
