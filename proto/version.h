/*
 * version.h - which versions of the protocol a node speaks, and which one two of them settle on.
 *
 * A release speaks version N and N-1, so that a group is upgraded node by node in any order
 * (PROTOCOL.md says what each version has). An end that is older keeps what it does not know
 * and never hears of what it could not obey.
 * Threads: plain data.
 */
#ifndef SALAMANDER_PROTO_VERSION_H
#define SALAMANDER_PROTO_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PROTOCOL_FIRST = 1,
	PROTOCOL_DECISIONS = 2, /* from this one on: decisions and orders */
	PROTOCOL_VERSION = 2,
	PROTOCOL_OLDEST = PROTOCOL_VERSION - 1,
	PROTOCOL_LIST = PROTOCOL_VERSION - PROTOCOL_OLDEST + 1,
	/* The answer to a hello in which no version is one of ours. */
	PROTOCOL_NONE_COMMON = 426
};

struct protocol_range {
	uint32_t oldest, newest;
};

/* What this release speaks. */
struct protocol_range protocol_own(void);
bool protocol_speaks(const struct protocol_range *r, uint32_t version);
/* The newest first; how many. */
size_t protocol_list(const struct protocol_range *r, uint32_t out[PROTOCOL_LIST]);
/* The highest of these that r has, too; 0: none. */
uint32_t protocol_settle(const struct protocol_range *r, const uint32_t *theirs, size_t n);

#endif
