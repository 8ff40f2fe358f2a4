/*
 * extended.h - SOP class extended negotiation (PS3.7 D.3.3.5), in DCMTK's association parameters.
 *
 * For assoc.cc alone: the parameters are a T_ASC_Parameters.
 * Threads: the association's.
 */
#ifndef SALAMANDER_COMMON_DICOM_EXTENDED_H
#define SALAMANDER_COMMON_DICOM_EXTENDED_H

#include <stdbool.h>
#include <stddef.h>

#include "common/dicom/assoc.h"

/* What was proposed, or accepted, of up to ASSOC_EXTENDED_CLASSES; too long an information is as if
 * unsaid. Their number. */
size_t extended_read(void *params, bool accepted, struct assoc_extended *out);
#ifdef __cplusplus
/* May throw std::bad_alloc. */
void extended_put(void *params, bool accepted, const struct assoc_extended *x);
#endif

#endif
