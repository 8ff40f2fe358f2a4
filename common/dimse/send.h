/*
 * send.h - one object as a C-STORE request, its data set bytes unchanged.
 *
 * The bytes come from a call-back in pieces; nothing holds the whole object.
 * Threads: the association's own.
 */
#ifndef SALAMANDER_COMMON_DIMSE_SEND_H
#define SALAMANDER_COMMON_DIMSE_SEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dicom/assoc.h"

struct err;

struct send_object {
	const char *sop_class, *sop_instance;
	const char *originator; /* C-MOVE: who asked, and with which message; else "" */
	unsigned originator_id;
	uint64_t size; /* of the data set */
	/* Pieces in order; *n > 0 until all of size was given. Borrowed until the next call. */
	int (*read)(void *arg, uint64_t offset, const void **p, size_t *n, struct err *e);
	/* Each second in which no answer comes; an error gives up. NULL: nobody is told. */
	int (*waiting)(void *arg, struct err *e);
	/* Once, when all is written, before the answer is waited for. NULL: nobody is told. */
	void (*sent)(void *arg);
	void *arg;
};

struct send_answer {
	unsigned status;
	bool cancelled; /* a C-CANCEL came in between: for cancel_id */
};

/*
 * Sends and waits for the answer. An error means that the association is of no
 * use any more: broken, or left in the middle of a data set.
 */
int send_object(struct assoc *a, unsigned char context, unsigned message_id, unsigned cancel_id,
		const struct send_object *o, unsigned seconds, struct send_answer *out,
		struct err *e);
/* Where the data set of a canonical file begins, from its first 144 bytes; 0: it has none. */
uint64_t send_dataset_offset(const void *canonical, size_t n);
/* The accepted context for this class and syntax; as_scp: its peer takes objects here (C-GET). */
unsigned char send_context(const struct assoc *a, const char *sop_class, const char *syntax,
			   bool as_scp);

#endif
