/*
 * targets.h - the instances that a retrieve covers: the known list (R20) below
 * the unique keys of its identifier.
 *
 * Threads: plain memory; reads the store in short transactions.
 */
#ifndef SALAMANDER_COMMON_DIMSE_TARGETS_H
#define SALAMANDER_COMMON_DIMSE_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dicom/attrs.h"

struct arena;
struct err;
struct store;

struct target {
	uint64_t oid;
	bool here; /* its bytes are */
	bool done; /* sent, or failed for good */
	bool failed;
	bool later;	    /* failed, but another time it may go otherwise */
	bool image;	    /* it has pixels */
	bool taken;	    /* somebody sends it just now */
	unsigned tries;	    /* that failed, ... */
	unsigned failed_on; /* ... the last one on this association */
	/* borrowed from the list */
	const char *sop_class, *sop_instance, *syntax, *study, *series;
};

struct targets {
	struct target *all;
	size_t n, cap;
	uint32_t offending;    /* ERR_PEER: the key that is missing    */
	struct arena *strings; /* what neighbours have in common lies there once */
};

struct targets_rules {
	bool patient_root;
	bool patient_only; /* nothing below STUDY level             */
	bool relational;   /* unique keys above the level may be missing (PS3.4 C.4.2.2.2) */
	bool see_rejected; /* also what was rejected for quality */
};

/* ERR_PEER: a unique key is missing (A900); e says which. Grouped by study. */
int targets_find(struct targets *out, struct store *s, const struct targets_rules *rules,
		 struct attrs keys, struct err *e);
/* One by one: the current version of each UID; none is added of what is not known or hidden. */
int targets_begin(struct targets *out, struct err *e);
int targets_add(struct targets *t, struct store *s, const char *sop_instance, struct err *e);
void targets_fini(struct targets *t); /* `offending` stays */

#endif
