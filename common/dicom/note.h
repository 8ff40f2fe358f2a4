/*
 * note.h - rejection notes (IHE IOCM): Key Object Selections that say what is to be hidden.
 *
 * A note's title (Concept Name Code Sequence) says why, its Current Requested Procedure Evidence
 * Sequence what: read here as the object passes, in plain C, with bounded depth and memory; and
 * written (PS3.3 A.35.4, PS3.16 TID 2010).
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_DICOM_NOTE_H
#define SALAMANDER_COMMON_DICOM_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uid.h"
#include "common/dicom/attrs.h"

struct buf;
struct err;
struct note; /* opaque */

#define NOTE_CLASS "1.2.840.10008.5.1.4.1.1.88.59" /* Key Object Selection Document Storage */

/* On disk and wire: never renumber. */
enum note_reason {
	NOTE_NONE = 0,	    /* another title, or none that can be read */
	NOTE_QUALITY = 1,   /* 113001, DCM                             */
	NOTE_SAFETY = 2,    /* 113037                                  */
	NOTE_WORKLIST = 3,  /* 113038                                  */
	NOTE_RETENTION = 4, /* 113039                                  */
	NOTE_REASONS = 5
};

/* References that one note may have; with more it is no rejection note. */
enum { NOTE_MAX = 10000, NOTE_STUDIES_MAX = 100 };

struct note_reference {
	char sop_class[UID_SIZE], sop_instance[UID_SIZE];
	bool image;	/* writing: it has pixels */
	unsigned study; /* its place in the list of studies */
};

/* "quality", "safety", "worklist", "retention"; NOTE_NONE for another word. */
enum note_reason note_reason_of(const char *word);
const char *note_reason_word(enum note_reason reason);
/* The code of its title in scheme DCM, and what that means. */
const char *note_reason_title(enum note_reason reason, const char **meaning);

/* syntax: of the data set that is fed. */
int note_new(struct note **out, const char *syntax, struct err *e);
void note_free(struct note *n); /* NULL is fine */
void note_feed(struct note *n, const void *p, size_t size);
/* The whole data set was fed. NOTE_NONE: a Key Object Selection of another kind; or one that says
 * that it rejects, but cannot be read to its end, or names nothing, too much, or what is no UID:
 * then *unread. */
enum note_reason note_end(struct note *n, bool *unread);
/* Borrowed until note_free. */
const struct note_reference *note_references(const struct note *n, size_t *count);
const char *note_study(const struct note *n, unsigned i);

struct note_text {
	enum note_reason reason;
	const char *sop_instance, *series; /* of the note itself: new ones */
	const char *study;
	struct attrs of_study;	 /* as the index has them, in UTF-8 */
	const char *date, *time; /* of the note: DA, TM */
	/* grouped by series; the series of each */
	const struct note_reference *all;
	const char (*series_of)[UID_SIZE];
	size_t n;
};
/* Its data set, in Explicit VR Little Endian. */
void note_write(struct buf *out, const struct note_text *t);

#endif
