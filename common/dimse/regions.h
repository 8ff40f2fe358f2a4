/*
 * regions.h - Anatomic Regions in Study Code Sequence (0008,0063; PS3.4 table C.6-2): the distinct
 * codes of what its images say in Anatomic Region Sequence (0008,2218), also of their frames
 * (Frame Anatomy Sequence of the functional groups).
 *
 * Of a code its value (in any of the three forms), scheme, version and meaning. All images of the
 * study that are seen are read, or nothing is told: then it is not known (FF01), and matches.
 * Threads: plain memory; reads the store in short transactions.
 */
#ifndef SALAMANDER_COMMON_DIMSE_REGIONS_H
#define SALAMANDER_COMMON_DIMSE_REGIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/store/query.h"

struct err;
struct identifier;
struct store;

/* Of more images in a study, and of more codes than fit, nothing is told (R34). */
enum { REGIONS_IMAGES_MOST = 2000, REGIONS_BYTES_MOST = 4096 };

struct regions {
	bool asked;	/* for, at STUDY level                       */
	bool beyond;	/* and for more of its items than is kept    */
	bool universal; /* any will do                               */
	bool known;	/* what the last study has                   */
	struct buf key; /* what is asked of its items (items.h)      */
	struct buf items;
	uint64_t images; /* that were read for this query */
};

void regions_init(struct regions *r, const struct identifier *id, enum query_level level);
void regions_fini(struct regions *r);
/* Those of the study's images, from a query for them: `count` are expected. */
int regions_of(struct regions *r, struct store *s, struct query *images, uint64_t count,
	       struct err *e);
bool regions_match(const struct regions *r);
/* Those that match, of each what was asked for; in the form of items.h. */
void regions_answer(const struct regions *r, struct buf *out);

#endif
