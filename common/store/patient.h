/*
 * patient.h - what a patient's studies say together: of each attribute what the newest study says
 * that says it at all (R28: newest by first arrival). A name that is corrected, or changes, counts
 * from the next study on; what later studies leave out stays as the last one told it.
 *
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_STORE_PATIENT_H
#define SALAMANDER_COMMON_STORE_PATIENT_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/dicom/attrs.h"

/* said: empty at first. row: of a study, which arrived first at this time. */
void patient_add(struct buf *said, struct attrs row, int64_t first);
/* The attributes of the patient, and the UID of the newest study. */
void patient_row(struct buf *out, const struct buf *said);

#endif
