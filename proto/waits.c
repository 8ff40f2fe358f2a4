#include "proto/waits.h"

#include <stddef.h>

const enum wait_for waits_all[] = {WAIT_SERVE,	WAIT_JOIN,    WAIT_TURNED_AWAY, WAIT_VERSIONS,
				   WAIT_LINK,	WAIT_CENTRAL, WAIT_FULL,	WAIT_SCHEDULE,
				   WAIT_CUT,	WAIT_PARKED,  WAIT_RETRY,	WAIT_COMPARED,
				   WAIT_NOTHING};

const char *
waits_name(uint32_t wait)
{
	static const char *const names[] = {[WAIT_NOTHING] = "",
					    [WAIT_SERVE] = "serve is not running",
					    [WAIT_JOIN] = "not joined",
					    [WAIT_TURNED_AWAY] = "turned away",
					    [WAIT_VERSIONS] = "central speaks other versions",
					    [WAIT_LINK] = "link down",
					    [WAIT_CENTRAL] = "central fails",
					    [WAIT_FULL] = "central is full",
					    [WAIT_SCHEDULE] = "schedule",
					    [WAIT_CUT] = "uploads break off",
					    [WAIT_PARKED] = "parked",
					    [WAIT_RETRY] = "its next try",
					    [WAIT_COMPARED] = "what central holds"};
	const char *name = wait < sizeof(names) / sizeof(names[0]) ? names[wait] : NULL;

	return name ? name : "another reason";
}
