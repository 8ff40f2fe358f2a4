/*
 * snapshot.h - what central says of itself: the one place where `status`, `sites` and
 * /metrics count.
 *
 * Threads: any; while the store stays open.
 */
#ifndef SALAMANDER_CENTRAL_SNAPSHOT_H
#define SALAMANDER_CENTRAL_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "central/room.h"
#include "central/sites.h"
#include "common/base/rng.h"
#include "common/store/store.h"

struct central;
struct err;

struct snapshot {
	struct id128 epoch;
	struct store_counts counts;
	uint64_t packs, failed_joins, returned, repeated;
	uint64_t hold;		 /* 1: by our order no edge evicts */
	uint64_t pledges_unseen; /* images that an archive did not commit to, not looked at */
	uint64_t orders;	 /* that some site has not carried out */
	uint64_t disk_free, disk_total; /* of the file system of the data folder */
	unsigned long refusals, unaudited;
	int64_t dicom_until_ms; /* our certificate of DICOM TLS; 0: none */
	bool dicom_soon;	/* it has expired, or does within a month */
	struct sites sites;
	struct room room;
	bool person; /* something needs one (exit 3) */
};

int snapshot_make(struct snapshot *out, struct central *c, struct err *e);
void snapshot_free(struct snapshot *s);

#endif
