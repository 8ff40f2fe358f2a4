/*
 * seen.h - what has happened in a world, by name: over the fixed seeds each of these must.
 *
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_SEEN_H
#define SALAMANDER_TESTS_SIM_SEEN_H

#include <stdbool.h>

enum seen {
	/* lines */
	SEEN_LOST,
	SEEN_TWICE,
	SEEN_OVERTAKEN,
	SEEN_CUT_THERE,
	SEEN_CUT_BACK,
	SEEN_DRIP,
	SEEN_HALF_CLOSED,
	/* nodes */
	SEEN_KILLED,
	SEEN_POWER_CUT,
	SEEN_EIO,
	SEEN_ENOSPC,
	SEEN_ROT,
	SEEN_CLOCK,
	SEEN_LIMITED,
	SEEN_FULL,
	SEEN_FULL_IN_DARK,
	SEEN_VIEWED,
	SEEN_VERSIONS,
	SEEN_OLD_AND_NEW,
	SEEN_EXPOSED,
	/* disks */
	SEEN_CENTRAL_BURNT,
	SEEN_SITE_BURNT,
	SEEN_EMPTIED,
	SEEN_NOT_MOUNTED,
	SEEN_CATALOGUE_LOST,
	SEEN_VAULT_LOST,
	SEEN_CENTRAL_BACK,
	SEEN_CENTRAL_BACK_WHILE_CUT,
	SEEN_EDGE_BACK,
	SEEN_EDGE_BACK_PAST,
	SEEN_BOTH_BACK,
	SEEN_TWINS,
	SEEN_RETRACTED,
	SEEN_IMPORTED,
	SEEN_RETRACTED_IMPORTED,
	/* while an upload is under way */
	SEEN_EPOCH_IN_UPLOAD,
	SEEN_UPGRADE_IN_UPLOAD,
	SEEN_DAMAGE_IN_UPLOAD,
	SEEN_ELSEWHERE_IN_UPLOAD,
	SEEN_KINDS
};

const char *seen_name(enum seen s);
/* Prints how often each was; false: one never was. */
bool seen_print(const unsigned counts[SEEN_KINDS]);

#endif
