/*
 * query.h - the one matching engine over the index: C-FIND now, QIDO-RS later.
 *
 * A query is a level and keys in UTF-8. The engine picks the index that narrows
 * most (a study UID, patient ID, accession number, name prefix, modality and date,
 * date; else all), matches the rest on the rows, and gives matches page by page,
 * studies by their first arrival, newest first (R28, R34; patients by their IDs): no
 * read transaction is open while the caller uses them (TRAPS 3). A relational query may
 * name keys of any level: what lies above its level must match, and something of what
 * lies below it.
 *
 * What query_keys.h refuses is ERR_PEER (A900).
 * Threads: a struct query belongs to one.
 */
#ifndef SALAMANDER_COMMON_STORE_QUERY_H
#define SALAMANDER_COMMON_STORE_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/base/uid.h"
#include "common/dicom/attrs.h"
#include "common/store/match_name.h"

struct err;
struct query; /* opaque */
struct store;

enum query_level { QUERY_PATIENT, QUERY_STUDY, QUERY_SERIES, QUERY_IMAGE };

/* The worse behind the better (R21). What is hidden is in no answer, so of none. */
enum query_availability { QUERY_ONLINE, QUERY_NEARLINE, QUERY_UNAVAILABLE };

struct query_config {
	enum query_level level;
	bool patient_root; /* below PATIENT level a Patient ID is required then */
	struct attrs keys; /* ascending tags; empty values are universal        */
	/* What was negotiated (PS3.4 C.5.1.1): any keys at any level; dates and times together. */
	bool relational, moments;
	/* Dates and times of the keys are in the zone that (0008,0201) among them says, and those
	 * of the rows in theirs: one is made of the other (PS3.4 C.2.2.2.1.3). */
	bool zoned;
	struct name_rules names;
	bool see_rejected; /* also what was rejected for quality, as if nobody had */
	/* R21: of the central that answers now; all zero: none does. */
	struct id128 epoch;
	/* Asked before each page that is read; true: ERR_AGAIN, nobody wants more. NULL: never. */
	bool (*interrupted)(void *arg);
	void *arg;
};

/* One match, valid until the next call. */
struct query_match {
	/* As far as the level goes. PATIENT: study, what its studies say together (patient.h). */
	struct attrs study, series, instance;
	uint64_t oid; /* IMAGE */
	enum query_availability availability;
	/* PATIENT, and STUDY where asked for: counts over the patient's studies; 0: too many */
	uint64_t studies, series_count, instances;
	/* Its dates and times are in a known zone, so many minutes behind the one asked for. */
	bool moves;
	int minutes;
};

/* keys are copied. */
int query_open(struct query **out, struct store *s, const struct query_config *c, struct err *e);
void query_close(struct query *q); /* NULL is fine */
/* 0 and a match; ERR_ABSENT at the end; ERR_AGAIN: interrupted. */
int query_next(struct query *q, struct query_match *out, struct err *e);
/* R34: counts what is left without giving it; at most `most`. */
int query_count_rest(struct query *q, uint64_t most, uint64_t *out, struct err *e);

#endif
