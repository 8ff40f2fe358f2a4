/*
 * persons.h - whose study is it? (R33)
 *
 * Two studies are one person's when issuer and patient ID agree, and birth date
 * and sex do not contradict: what one of them does not say contradicts nothing.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_STORE_PERSONS_H
#define SALAMANDER_COMMON_STORE_PERSONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/uid.h"
#include "common/dicom/attrs.h"

struct err;
struct store;

enum { PERSONS_TAGS = 2 }; /* birth date, sex */

/* The studies of one patient ID, each with the first person whom it does not contradict. */
struct persons_one {
	struct persons_one *next;
	struct buf says;      /* issuer, ID, birth date, sex: of all studies together */
	struct buf patient;   /* the caller's to fill (patient.h)                    */
	char first[UID_SIZE]; /* study                                               */
	uint64_t studies, series, instances; /* the caller's to count                */
	unsigned worst;			     /* the same: availability               */
	bool wanted;			     /* the same                             */
};
struct persons { /* all zero at first */
	struct persons_one *all;
};
/* row: of a study. Borrowed until persons_fini; NULL: no memory. */
struct persons_one *persons_join(struct persons *p, const char *study, struct attrs row);
void persons_fini(struct persons *p);

/* Two persons' first studies, which have one patient ID and issuer. */
struct persons_pair {
	char study[UID_SIZE], other[UID_SIZE];
	uint32_t tags[PERSONS_TAGS]; /* in which they contradict */
	size_t n_tags;
};
/* Calls fn for each second person of a number until it says other than 0; that is returned. */
int persons_contradictions(struct store *s,
			   int (*fn)(void *arg, const struct persons_pair *pair, struct err *e),
			   void *arg, struct err *e);

#endif
