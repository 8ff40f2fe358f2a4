/*
 * related.h - SOP Class Common Extended Negotiation (PS3.7 D.3.3.6), out of an A-ASSOCIATE-RQ
 * as it came: which service a proposed class belongs to, and which general classes it is a
 * special case of. DCMTK 3.6.7 skips it (TRAPS 2).
 *
 * Pure; reads nothing beyond the n bytes it is given. What does not add up ends the list; a
 * UID that is too long is as if it were "".
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_DICOM_RELATED_H
#define SALAMANDER_COMMON_DICOM_RELATED_H

#include <stdbool.h>
#include <stddef.h>

#include "common/dicom/assoc.h"

#ifdef __cplusplus
extern "C" {
#endif

struct related { /* sub-items not read yet */
	const unsigned char *p;
	size_t n;
};

struct related_class {
	char sop_class[ASSOC_UID_SIZE], service_class[ASSOC_UID_SIZE];
	struct related general; /* for related_general */
};

/* pdu: from its type on. */
struct related related_of(const void *pdu, size_t n);
bool related_next(struct related *r, struct related_class *out);
bool related_general(struct related_class *c, char uid[ASSOC_UID_SIZE]);

#ifdef __cplusplus
}
#endif

#endif
