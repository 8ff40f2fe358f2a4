/*
 * parameters.h - what an association proposes and refuses, in DCMTK's terms.
 *
 * For assoc.cc alone: params is a T_ASC_Parameters, rejection a T_ASC_RejectParameters.
 * All may throw std::bad_alloc.
 * Threads: the association's.
 */
#ifndef SALAMANDER_COMMON_DICOM_PARAMETERS_H
#define SALAMANDER_COMMON_DICOM_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/dicom/assoc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Who we are to the peer (PS3.7 D.3.3.2): implementation class UID and version name. */
#define IMPLEMENTATION_CLASS "1.2.826.0.1.3680043.10.1571.1"
#define IMPLEMENTATION_VERSION "SALAMANDER " SALAMANDER_VERSION
void parameters_introduce(void *params);
int parameters_propose(void *params, const struct assoc_proposal *p, unsigned n, struct err *e);
/*
 * SOP class extended negotiation (PS3.7 D.3.3.5): what was proposed, or accepted, of up to
 * ASSOC_EXTENDED_CLASSES; too long an information is as if unsaid. Their number.
 */
size_t parameters_extended(void *params, bool accepted, struct assoc_extended *out);
void parameters_extend(void *params, bool accepted, const struct assoc_extended *x);
/* assoc_user; an answer that is wanted is made. */
void parameters_user(void *params, char out[ASSOC_USER_SIZE]);
/* ERR_PEER, for good ERR_CONFLICT, with what the acceptor gave as its reason. */
int parameters_rejected(void *params, struct err *e);
void parameters_rejection(void *rejection, enum assoc_reject why);

#ifdef __cplusplus
}
#endif

#endif
