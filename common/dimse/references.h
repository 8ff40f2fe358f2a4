/*
 * references.h - the lists of instances in storage commitment (PS3.3 C.14, PS3.4 J.3).
 *
 * Read through the scanner (bounded, iterative), as whoever asks wrote them: more than
 * REFERENCES_MAX, a UID that cannot be one, or no transaction is ERR_PEER. Written in either
 * plain little endian.
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_DIMSE_REFERENCES_H
#define SALAMANDER_COMMON_DIMSE_REFERENCES_H

#include <stddef.h>

#include "common/base/uid.h"

struct buf;
struct err;

enum { REFERENCES_MAX = 50000 };

struct reference {
	char sop_class[UID_SIZE], sop_instance[UID_SIZE];
	unsigned reason; /* why it failed; 0: it did not */
};

struct references {
	char transaction[UID_SIZE];
	struct reference *all;
	size_t n;
};

/* The information of an N-ACTION, or of an N-EVENT-REPORT: what failed comes with its reason. */
int references_parse(struct references *out, const char *syntax, const void *p, size_t n,
		     struct err *e);
void references_fini(struct references *r);

/* What is asked: of an N-ACTION. */
void references_ask(struct buf *out, const char *syntax, const struct references *r);
/* The complete set: of an N-EVENT-REPORT; aet: where all of it may be retrieved, "": unsaid. */
void references_tell(struct buf *out, const char *syntax, const struct references *r,
		     const char *aet);

#endif
