/*
 * identifier.h - the identifiers of C-FIND, C-MOVE and C-GET, read and written by ourselves.
 *
 * Reading goes through the scanner (bounded, iterative); values become UTF-8.
 * Writing is explicit or implicit little endian; every answer that holds more
 * than ASCII says ISO_IR 192 (PS3.4 C.2.2.2: Specific Character Set describes
 * the identifier it stands in).
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_DIMSE_IDENTIFIER_H
#define SALAMANDER_COMMON_DIMSE_IDENTIFIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/dicom/attrs.h"

struct err;

struct identifier {
	struct buf keys;    /* every top level element; of items what is kept */
	bool unknown_items; /* attributes of items that nobody keeps */
};

/* syntax: of the presentation context. ERR_PEER when it cannot be read. */
int identifier_parse(struct identifier *out, const char *syntax, const void *p, size_t n,
		     struct err *e);
void identifier_fini(struct identifier *id);

/* Writes a data set from an attribute set; VRs from the table of keys. */
void identifier_build(struct buf *out, const char *syntax, struct attrs set);
/* One attribute of UIDs joined by backslashes, however long: beyond 64 KiB as UN (PS3.5 6.2.2). */
void identifier_build_list(struct buf *out, const char *syntax, uint32_t tag,
			   const struct buf *uids);
/* "UI", "DA", ...: of an attribute that can stand in an identifier; "UN" if unknown. */
const char *identifier_vr(uint32_t tag);

#endif
