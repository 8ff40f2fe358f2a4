/*
 * header_keys.h - keys that no index keeps, answered and matched out of the objects' own headers
 * (PS3.4 C.6.1.1: every attribute of the composite object).
 *
 * IMAGE level: every attribute at top level but private ones and the pixels; of sequences the
 * attributes of their items (items.h), but for sequences in these. PATIENT, STUDY and SERIES: those
 * of header_keys_above, which all images of a patient, a study or a series say alike; one image
 * says them. At each level also the sequences of the index that are asked for more than it keeps.
 * What an object without bytes here says is not known: it matches, and is told so (FF01).
 * Threads: plain memory; reads the store in short transactions.
 */
#ifndef SALAMANDER_COMMON_DIMSE_HEADER_KEYS_H
#define SALAMANDER_COMMON_DIMSE_HEADER_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/dicom/keys.h"
#include "common/dimse/identifier.h"
#include "common/store/query.h"

struct err;
struct store;

enum { HEADER_KEYS_MAX = 64, HEADER_INNER_MAX = 64, HEADER_VALUE_MAX = 4096 };

struct header_keys {
	/* Ascending; behind them what stands in items, in any order. VRs where they are known. */
	struct identifier_vr keys[HEADER_KEYS_MAX + HEADER_INNER_MAX];
	bool whole[HEADER_KEYS_MAX]; /* of a sequence: all that its items say is asked for */
	unsigned n, n_inner;
	struct buf set; /* what the last object says of them, text in UTF-8 */
	bool unknown;	/* not all that it says: gone, or too long, or deeper in a sequence */
};

/* What is of a patient, a study or a series: the modules of patient, trial, study, series and
 * equipment. */
struct header_key {
	uint32_t tag;
	char vr[3];
	enum key_level level; /* above KEY_INSTANCE */
	const char *name;     /* keyword (PS3.6) */
};
const struct header_key *header_keys_above(size_t *n);

/* Could this attribute be told so, at this level? */
bool header_keys_can(enum query_level level, uint32_t tag);
/* Is it, of this identifier? Also a sequence of the index, where more is asked of its items. */
bool header_keys_tell(const struct identifier *id, enum query_level level, uint32_t tag);
/* Those of the identifier that it can. */
void header_keys_init(struct header_keys *h, const struct identifier *id, enum query_level level);
void header_keys_fini(struct header_keys *h);
/* What this version says. An error of the store is no error here: it is not known then. */
int header_keys_read(struct header_keys *h, struct store *s, uint64_t oid, struct err *e);
/* What is answered of a value, into out: of a sequence what was asked for (match.h), else all. */
void header_keys_answer(const struct header_keys *h, struct attr key, struct attr value,
			struct buf *out);
/* Does it match the identifier's keys? */
bool header_keys_match(const struct header_keys *h, const struct identifier *id);

#endif
