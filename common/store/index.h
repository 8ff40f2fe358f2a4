/*
 * index.h - the rows that queries match: study, series, instance, and keys to them.
 *
 * A row is an attribute set; what is computed (counts, modalities, classes of
 * the known list, R20) stands in it under its own tag, so that matching and
 * answering know one form only. Rows stay when bytes go (R20); what is hidden
 * has none. What a note rejected for quality has rows that only those see who may:
 * TAG_POOR marks the instance, and counts in its series and its study what the other
 * counts leave out; TAG_POOR_SERIES the series that have nothing else.
 *
 * Tables (keys end as shown; "|" is a NUL byte):
 *	study     study                      study and patient attributes; modalities,
 *	                                     institutions, stations, body parts of its series
 *	series    study | series             series attributes
 *	instance  study | series | instance  oid (u64 LE) of the current version, attributes
 *	newest    ~first arrival, ~arrival (be64 each)
 *	                                     study, newest first arrival first (R28)
 *	lookup    letter value | study       nothing; letters: enum index_letter
 *
 * An instance without a Study or Series UID has no rows: it is stored, sent and
 * listed, but no query could name it.
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_COMMON_STORE_INDEX_H
#define SALAMANDER_COMMON_STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uid.h"
#include "common/dicom/attrs.h"

struct buf;
struct err;
struct store;
struct store_tx;
struct version;

enum index_letter {
	INDEX_PATIENT_ID = 'P',
	INDEX_OTHER_ID = 'O', /* each ID of (0010,1002), without its issuer (R33) */
	INDEX_ACCESSION = 'A',
	INDEX_DATE = 'D',
	INDEX_NAME = 'N',     /* folded: index_fold                      */
	INDEX_MODALITY = 'M', /* modality | study date                   */
	INDEX_SERIES = 'S'    /* series UID: where a series belongs       */
};

/* The names of the tables above, for whoever opens the environment. */
const char *const *index_tables(unsigned *n);

struct index_change {
	bool new_study, study_changed; /* R6: a study record is due                          */
	struct tags corrected;	       /* of the study: values that counted and do no more */
};

/* What an object says, per level. dropped (NULL: none): attributes of study and series that the
 * version before it told and this one does not: what the rows say of them counts no more (R3). */
struct index_sets {
	struct attrs study, series, instance;
	const struct tags *dropped;
};

/*
 * v is now the current version of its UID, with these attributes. Adds or
 * replaces its rows; study and series attributes that the rows lack are added,
 * those they have stay, unless v is a revision (R3).
 */
int index_put(struct store_tx *tx, const struct version *v, const struct index_sets *sets,
	      struct index_change *out, struct err *e);
/* v's UID is hidden from now on: takes its row out and counts again. */
int index_remove(struct store_tx *tx, const struct version *v, struct err *e);
/* Its row stays, and is shown to all, or to those who may see what was rejected for quality. */
int index_mark(struct store_tx *tx, const struct version *v, struct err *e);
/* What a study record says (R6), with or without instances: adds what the row lacks; of
 * `corrected` its values count alone, and what it does not name is no more. */
int index_study(struct store_tx *tx, const char *study, struct attrs attrs,
		const struct tags *corrected, struct err *e);

/* Studies by their first arrival, the newest first (R28): the one at `at` or behind it. at becomes
 * its place; all zero is before the first. ERR_ABSENT: there is none. */
enum { INDEX_PLACE = 16 };
int index_newest(struct store_tx *tx, unsigned char at[INDEX_PLACE], char study[UID_SIZE],
		 struct err *e);
/* Is a version of this study found there? */
bool index_has(struct store_tx *tx, const char *study);

/* ERR_ABSENT leaves e alone. The sets are borrowed as kv_get's values are. */
int index_study_row(struct store_tx *tx, const char *study, struct attrs *out, struct err *e);
int index_series_row(struct store_tx *tx, const char *study, const char *series, struct attrs *out,
		     struct err *e);
/* ERR_ABSENT also where another version of the UID is current. */
int index_instance_row(struct store_tx *tx, const struct version *v, struct attrs *out,
		       struct err *e);

/* Where a series lies that has, or had, an image that is shown. */
int index_series_study(struct store_tx *tx, const char *series, char out[UID_SIZE], struct err *e);

/* Lower case without accents, for names: "MÜLLER^JÖRG" becomes "muller^jorg". */
void index_fold(struct buf *out, const char *s, size_t n);

#endif
