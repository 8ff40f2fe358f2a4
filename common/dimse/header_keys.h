/*
 * header_keys.h - keys of IMAGE level that no index keeps, answered and matched out of the
 * objects' own headers (PS3.4 C.6.1.1.5: every attribute of the composite object).
 *
 * Plain attributes at top level; sequences, private ones and the pixels are not among them.
 * What an object without bytes here says is not known: it matches, and is told so (FF01).
 * Threads: plain memory; reads the store in short transactions.
 */
#ifndef SALAMANDER_COMMON_DIMSE_HEADER_KEYS_H
#define SALAMANDER_COMMON_DIMSE_HEADER_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/dimse/identifier.h"

struct err;
struct store;

enum { HEADER_KEYS_MAX = 64, HEADER_VALUE_MAX = 4096 };

struct header_keys {
	struct identifier_vr keys[HEADER_KEYS_MAX]; /* ascending; VRs as far as they are known */
	unsigned n;
	struct buf set; /* what the last object says of them, text in UTF-8 */
	bool unknown;	/* not all that it says: gone, or too long, or a sequence */
};

/* Could this attribute be told so? */
bool header_keys_can(const struct identifier *id, uint32_t tag);
/* Those of the identifier that it can. */
void header_keys_init(struct header_keys *h, const struct identifier *id);
void header_keys_fini(struct header_keys *h);
/* What this version says. An error of the store is no error here: it is not known then. */
int header_keys_read(struct header_keys *h, struct store *s, uint64_t oid, struct err *e);
/* Does it match the identifier's keys? */
bool header_keys_match(const struct header_keys *h, const struct identifier *id);

#endif
