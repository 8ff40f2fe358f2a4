/*
 * worker.h - how a node talks to salamander-worker, which recodes objects for it.
 *
 * DCMTK's parsers and decoders meet data from outside only there: in a process of its own,
 * with limits on memory and time, that may crash or hang without harm (DESIGN 5).
 *
 *	salamander-worker recode MEMORY SECONDS OUTPUT
 *
 * reads jobs from the SOCK_SEQPACKET socket that is its standard input: a worker_job with
 * two descriptors (SCM_RIGHTS), the canonical file to read and the file to write, both regular;
 * answers each by a worker_answer. It ends when the socket does. What is written is the data
 * set alone, in the syntax that was asked for: one of the plain ones, or a lossless one (RLE, JPEG
 * lossless, JPEG-LS, JPEG 2000) of an object that is in another syntax without loss; that is
 * decoded again, and compared, first. What was in a lossy one is plain only, and says so
 * (worker_loss.h).
 * MEMORY: bytes of address space; SECONDS: of CPU for a job; OUTPUT: bytes of a written file.
 * Without DCMTK's data dictionary, a file of its own, each job fails: what implicit elements are
 * would not be known.
 */
#ifndef SALAMANDER_COMMON_DICOM_WORKER_H
#define SALAMANDER_COMMON_DICOM_WORKER_H

#include <stdint.h>

enum { WORKER_SYNTAX_SIZE = 65, WORKER_WHY_SIZE = 96 };

struct worker_job {
	char syntax[WORKER_SYNTAX_SIZE];
};

struct worker_answer {
	int32_t failed;		   /* 0: the file is whole       */
	int32_t exhausted;	   /* for want of memory         */
	char why[WORKER_WHY_SIZE]; /* a step, never a value (R35) */
};

#endif
