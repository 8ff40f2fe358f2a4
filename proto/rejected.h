/*
 * rejected.h - what rejection notes hide (IHE IOCM): state by SOP Instance UID, at both ends.
 *
 * Of an image and a reason the highest rank counts, "rejected" or "restored"; equal ranks:
 * rejected. Whoever says something new takes a rank above all that he knows of these images. So it
 * matters neither in which order a node hears what others said, nor how often, nor whether the note
 * or the image came first; and what holds an image hidden is the strictest of the reasons that
 * count.
 *
 * Table rejected: UID   rank of each reason, rejected and restored (u64 LE each), study
 *                 "#"   how many are hidden now (u64 LE)
 * Table rejections: what was heard of central, as withdrawn.h keeps its orders; to be given back.
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_PROTO_REJECTED_H
#define SALAMANDER_PROTO_REJECTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uid.h"
#include "common/dicom/note.h"

struct buf;
struct err;
struct store_tx;
struct Sync__Rejection; /* sync.pb-c.h */

#define REJECTED_TABLE "rejected"

enum { REJECTION_MAX = 1000, REJECTION_ID = 33 };

/* R26: nobody says so much more of one image than a central heard of it; what is further above is
 * made up, and would leave no rank to whoever says something new. */
#define REJECTED_LEAP (UINT64_C(1) << 20)

struct rejected {
	uint64_t on[NOTE_REASONS], off[NOTE_REASONS]; /* ranks; 0: never said */
	char study[UID_SIZE];
};

/* It is rejected for this reason. */
bool rejected_for(const struct rejected *r, enum note_reason reason);
/* The strictest reason; NOTE_NONE: it is shown. */
enum note_reason rejected_why(const struct rejected *r);

/* ERR_ABSENT leaves e alone. */
int rejected_get(struct store_tx *tx, const char *uid, struct rejected *out, struct err *e);
/* enum version_hidden: how an image of this UID is hidden. */
int rejected_hides(struct store_tx *tx, const char *uid, uint32_t *out, struct err *e);
/* A UID that something can be said of: one that is usable, and no key of ours. */
bool rejected_can_name(const char *uid);
/* It says something that can be meant, of UIDs that can be. NULL: it does not. */
bool rejected_is_meant(const struct Sync__Rejection *m);
/* The rank of something new about these. */
int rejected_rank(struct store_tx *tx, const struct Sync__Rejection *m, uint64_t *out,
		  struct err *e);
/* The state alone: withdrawn_settle_rejection makes images follow. ERR_PEER: it says nothing that
 * could be meant. */
int rejected_take(struct store_tx *tx, const struct Sync__Rejection *m, struct err *e);
/* How many UIDs are hidden now. */
int rejected_count(struct store_tx *tx, uint64_t *out, struct err *e);
/* By UID, from behind `after` on, until fn says other than 0. */
int rejected_each(struct store_tx *tx, const char *after,
		  int (*fn)(void *arg, const char *uid, const struct rejected *r, struct err *e),
		  void *arg, struct err *e);
/* What is hidden by notes, for a person: a line an image, or JSON. */
int rejected_print(struct store_tx *tx, bool json, struct buf *out, struct err *e);
/* What it is called by: the same words have the same id. */
int rejection_id(const struct Sync__Rejection *m, char out[REJECTION_ID], struct err *e);

#endif
