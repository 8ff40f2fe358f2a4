/*
 * figures.h - what an edge says of itself: the one place where `status` and /metrics count.
 *
 * From a running server with what it knows of central; beside one, or without, from the
 * data folder alone.
 * Threads: any; one owner of a struct figures.
 */
#ifndef SALAMANDER_EDGE_FIGURES_H
#define SALAMANDER_EDGE_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/http/pki.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/home.h"
#include "edge/joined.h"
#include "edge/keep.h"
#include "edge/outbox.h"
#include "edge/throttle.h"
#include "proto/ledger.h"
#include "proto/waits.h"

struct figures_lane {
	uint64_t images, bytes;	 /* LANE_LEDGER: entries; 0  */
	uint64_t late;		 /* of them: put off or parked */
	uint64_t oldest_seconds; /* since its first arrival; of those that are not put off */
	int64_t retry_ms; /* from now on: when the first of those is due; 0: none, or not known */
	enum wait_for wait;
};

struct figures {
	struct figures_lane lanes[LANES];
	struct contact contact;
	struct store_counts counts;
	struct store_space space;
	struct outbox_counts outbox;
	struct ledger_head ledger;
	struct keep_status keep;
	enum home_kind kind;
	struct joined joined; /* of HOME_JOINED */
	struct pki_certificate certificate;
	uint64_t damaged; /* copies here that failed their check, and are not back yet */
	uint64_t hold, evictable, losses;
	uint64_t rejected;	      /* UIDs that rejection notes hide                */
	uint64_t rejected_again;      /* images that came again and stayed hidden      */
	uint64_t notes_unheard;	      /* rejection notes that do not count             */
	uint64_t committed_here_only; /* storage commitment on this edge's word alone */
	uint64_t commitments;	      /* requests that are not settled */
	uint64_t pledges_unseen;      /* images that an archive did not commit to, not looked at */
	uint64_t unknown_orders, retracts; /* kept: of a later kind; that wait for a person */
	bool journal_damaged;
	uint32_t speaks;	/* our newest version of the protocol */
	struct err tls;		/* why our certificate cannot be used, or nothing */
	int64_t dicom_until_ms; /* our certificate of DICOM TLS; 0: none */
	bool dicom_soon;	/* it has expired, or does within a month */
	unsigned long refusals, unaudited;
	unsigned associations;
	struct edge_taken taken;
	bool serving, drains;	 /* drains: R8 */
	uint64_t owed;		 /* drops to 0 only when every entry is acknowledged, too */
	uint64_t oldest_seconds; /* of what is owed */
	int64_t resync_ms;	 /* wall clock of the last good `resync`; 0: never */
	uint64_t resync_seconds; /* since then */
	uint64_t receipted;	 /* here, and at central, as it said in this epoch */
	bool full;		 /* nothing more fits, and hardly anything may go  */
	bool person;		 /* something needs one (exit 3)                   */
	/* towards central */
	double images_rate, bytes_rate; /* a second, over the last minutes */
	bool estimated;
	uint64_t in_step_seconds; /* at that rate */
	uint64_t not_released;	  /* studies that had to go, and why central keeps the first here */
	const char *why_not;
	enum wait_for wait;
	int64_t now_ms;	       /* wall clock */
	int64_t retry_wall_ms; /* of its next try; 0: unknown */
	struct throttle hour;  /* what it leaves of the link, and until when (throttle.h) */
	int64_t hour_until_wall_ms;
	char hour_until[THROTTLE_WHEN];
};

int figures_collect(struct figures *out, struct edge *e, struct err *err);
/* Less of it, for hello, which central has just been reached by: the lanes, the pace, the wait. */
int figures_of_way(struct figures *out, struct edge *e, struct err *err);

#endif
