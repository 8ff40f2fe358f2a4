/*
 * waits.h - why what is owed is not on its way: as the edge knows it, and tells central.
 *
 * Threads: plain data.
 */
#ifndef SALAMANDER_PROTO_WAITS_H
#define SALAMANDER_PROTO_WAITS_H

#include <stdint.h>

/* On the wire (sync.SyncState): never renumber. The strongest reason has the lowest number. */
enum wait_for {
	WAIT_NOTHING = 0,
	WAIT_SERVE = 10,       /* nobody serves                                */
	WAIT_JOIN = 20,	       /* not joined, or no [central] url              */
	WAIT_TURNED_AWAY = 30, /* by central's gate: suspended, removed (R24)  */
	WAIT_VERSIONS = 40,    /* central speaks other versions of the protocol */
	WAIT_LINK = 50,	       /* nobody answers                               */
	WAIT_CENTRAL = 60,     /* central answers 5xx, or what answers is none */
	WAIT_FULL = 70,	       /* central has no room for bytes (R12)          */
	WAIT_SCHEDULE = 80,    /* the hour leaves nothing of the link (bandwidth.h) */
	WAIT_CUT = 85,	       /* central answers, and what carries images breaks off on the way */
	WAIT_PARKED = 90,      /* all that is owed is parked (R17)             */
	/* of a lane alone: */
	WAIT_RETRY = 100,   /* all of it failed for its own sake, and is put off */
	WAIT_COMPARED = 110 /* central is being asked what it holds              */
};

/* For a person, and as the JSON has it; "" for WAIT_NOTHING. A later version's is "another
 * reason". */
const char *waits_name(uint32_t wait);
/* Each of them but WAIT_NOTHING, those of a lane alone last; 0 behind them. */
extern const enum wait_for waits_all[];

#endif
