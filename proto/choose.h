/*
 * choose.h - the images that a person rejects, or restores: of a study, of a series, or one.
 *
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_PROTO_CHOOSE_H
#define SALAMANDER_PROTO_CHOOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uid.h"
#include "common/dicom/note.h"

struct err;
struct store_tx;

struct choose_one {
	char series[UID_SIZE];
	struct note_reference image;
};

/* All zero but for the first two lines; then choose_find. */
struct choose {
	const char *uid;
	enum note_reason reason;
	bool restore; /* else: those that are not rejected for it yet */
	/* what was found */
	const char *level; /* "study", "series", "image" */
	char study[UID_SIZE];
	struct store_tx *tx;
	struct choose_one *all; /* by series, then by instance */
	size_t n, cap;
	uint64_t known; /* of the subject, spoken of or not */
};

/* A study, a series or an instance that is known here; else ERR_ABSENT. */
int choose_find(struct choose *c, struct store_tx *tx, struct err *err);
void choose_fini(struct choose *c);

#endif
