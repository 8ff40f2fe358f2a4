/*
 * pdvs.h - the PDVs of a P-DATA-TF PDU (PS3.8 9.3.5.1), in memory.
 *
 * DCMTK 3.6.7's DUL_NextPDV is not used: of three PDVs of different lengths it looks for
 * the third in a wrong place, also behind its buffer.
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_DICOM_PDVS_H
#define SALAMANDER_COMMON_DICOM_PDVS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct assoc_pdv;
struct err;

struct pdvs { /* what is not read yet of a PDU, its head not counted */
	const unsigned char *p;
	size_t n;
};

/* The next one, in place. ERR_PEER: its lengths do not add up. Only while n > 0. */
int pdvs_next(struct pdvs *left, struct assoc_pdv *out, struct err *e);

#ifdef __cplusplus
}
#endif

#endif
