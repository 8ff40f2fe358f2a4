/*
 * worker_loss.h - what a coder lost is said of the pixels that it left (PS3.3 C.7.6.1.1.5).
 *
 * A lossy transfer syntax says so itself; once its pixels are plain, only Lossy Image Compression
 * (0028,2110) does. Some modalities leave that to the syntax.
 * Threads: none; part of salamander-worker.
 */
#ifndef SALAMANDER_COMMON_DICOM_WORKER_LOSS_H
#define SALAMANDER_COMMON_DICOM_WORKER_LOSS_H

#include <stddef.h>
#include <stdint.h>

struct loss {
	const char *method; /* (0028,2114); NULL: the first frame lost nothing */
	uint64_t coded;	    /* bytes of all fragments                          */
};

/* dataset: a DcmDataset with encapsulated pixels; syntax: an E_TransferSyntax. */
struct loss loss_of(void *dataset, int syntax);
/* The same one, plain by now: "01", whatever it said; method and ratio where it says none. */
void loss_note(void *dataset, const struct loss *l);

#endif
