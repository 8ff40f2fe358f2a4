/*
 * edge.h - one running edge: everything hangs from struct edge.
 *
 * Threads: fields are set once by edge_open and edge_serve before threads start;
 * what they point to says its own rules; the contact is guarded by mu.
 */
#ifndef SALAMANDER_EDGE_EDGE_H
#define SALAMANDER_EDGE_EDGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/dimse/node.h"
#include "common/os/identity.h"
#include "edge/holdings.h"
#include "edge/pace.h"
#include "edge/rebuild.h"
#include "proto/bandwidth.h"
#include "proto/bucket.h"
#include "proto/version.h"

struct chores;
struct clock;
struct conf;
struct ctl;
struct err;
struct keep;
struct link;
struct mend;
struct orders;
struct replicate;
struct store;
struct web;

enum { EDGE_DIR_MAX = 3000, EDGE_URLS = 8, EDGE_TWINS = 4, EDGE_ADDRESS = 80 };

/* What is known of central. */
struct contact {
	bool reachable;
	bool ever;	       /* a hello was answered since the start     */
	int64_t mono_ms;       /* of the last answered hello               */
	int64_t wall_ms;       /* of the last answer, for display          */
	int64_t skew_ms;       /* central's clock less ours, at that hello */
	struct id128 epoch;    /* of the last hello                        */
	struct id128 before;   /* another one, seen before it              */
	int64_t epoch_ms;      /* monotonic: since when this one alone answers, */
	unsigned epoch_hellos; /* and how often it has                   */
	uint64_t announced;    /* acknowledged up to this seq              */
	uint64_t losses;       /* as central counted at the last hello     */
	bool comparing;	       /* the whole ledger, with what central holds: more may be owed */
	uint64_t compared;     /* of it: how many entries, so far          */
	struct comparison comparison; /* the last whole one that went through */
	bool closed;	  /* central counts this incarnation as lost or replaced (R18) */
	unsigned n_twins; /* R8: copies of this edge that go on; 0: it is the only one */
	char twins[EDGE_TWINS][EDGE_ADDRESS];
	int own_only;		/* R26: Sync__OwnOnly, at the last hello    */
	bool two_centrals;	/* R22: two epochs alternate                */
	bool turned_away;	/* by central's gate, at the last hello (R24) */
	bool other_versions;	/* of the protocol are all that it speaks, at the last hello */
	uint32_t version;	/* settled on at the last hello; 0: none yet  */
	char why[128];		/* it was not reached, at the last try      */
	int failed_with;	/* by status, then; 0: nobody answered      */
	int pieces_failed_with; /* the last piece of a pack; 0: it was taken */
	bool cut_off;		/* hello gets through, and pieces break off */
	uint32_t full_lanes;	/* that central had no room for, at the last hello (R12) */
	int64_t retry_ms;	/* monotonic: of the next try, when something waits */
	struct pace pace;
	/* what the hour leaves of the link (throttle.h) */
	bool tabled; /* the table limits something */
	struct bandwidth bandwidth;
	int64_t told_wall_ms, told_mono_ms; /* central's clock at that hello, and ours */
};

/* C-STORE since the start. */
struct edge_taken {
	uint64_t objects, bytes, failures; /* objects: answered with success, duplicates too */
};

/* What replicate looks at next. */
enum edge_news { EDGE_NEWS_DECISIONS = 1, EDGE_NEWS_LOSSES = 2, EDGE_NEWS_TABLE = 4 };

struct edge {
	struct conf *conf;
	const char *conf_path;
	struct clock *clock;
	char dir[EDGE_DIR_MAX];
	const char *site;
	const char *urls[EDGE_URLS + 1]; /* of central, NULL-terminated */
	int lock;
	struct identity identity;
	struct id128 begin_with; /* the incarnation of an empty ledger */
	struct protocol_range speaks;
	struct store *store;
	pthread_mutex_t mu;
	pthread_rwlock_t use; /* held by commands; for writing while a rebuild swaps the store */
	bool locks;	      /* they exist */
	/* guarded by mu */
	struct id128 incarnation; /* another one after a set-back (R8): edge_incarnation */
	struct contact contact;
	struct edge_taken taken;
	struct bucket fetching; /* throttle.h */

	_Atomic bool drains;	/* R8: another copy is the site's: nothing new is taken in */
	_Atomic bool relist;	/* R8: what the former life announced is not known here yet */
	_Atomic unsigned joins; /* counts up when certificates changed: home.h looks */

	/* A way to central; home_link unless a test gives another. */
	int (*make_link)(struct link **out, struct edge *e, struct err *err);

	/* serving */
	_Atomic bool resyncing;	   /* one at a time */
	_Atomic uint64_t compares; /* wanted: counts up, then hello; comparison.asked follows */
	_Atomic unsigned news;	   /* enum edge_news: central told of it; then replicate_wake */
	_Atomic bool stopping;	   /* whoever waits for central ends soon */
	_Atomic bool serving;	   /* main's thread waits, and hears of a reload */
	struct dimse_node dicom;
	struct replicate *replicate;
	struct orders *orders;
	struct chores *chores;
	struct keep *keep;
	struct mend *mend;
	struct web *web;
	struct ctl *ctl;
	_Atomic unsigned reloads, reload_failures;
	_Atomic bool rebuild_wanted;
	_Atomic int rebuild_done; /* 0: under way; 1, -1: how it ended */
	struct rebuild_result rebuilt;
};

enum edge_mode {
	EDGE_SERVE,  /* makes what may be made (R23)    */
	EDGE_LOCAL,  /* a command without a server      */
	EDGE_READ,   /* beside whoever holds the lock   */
	EDGE_SALVAGE /* `rebuild`: the store stays shut */
};

/* The edge's own tables in the store's environment. */
const char *const *edge_tables(unsigned *n);
/* Opens the data folder: lock, identity, store. */
int edge_open(struct edge *e, const char *conf_path, enum edge_mode mode, struct err *err);
void edge_close(struct edge *e);
/* Of an edge that is open but for its store. */
int edge_open_store(struct edge *e, struct err *err);
/* For a rebuild: beyond the quota, up to map_bytes. */
int edge_open_new_store(struct edge *e, const char *name, uint64_t map_bytes, struct err *err);
void edge_close_store(struct edge *e);
/* `init`: refuses a folder that is not empty. */
int edge_init(const char *conf_path, struct err *err);
/* The same where there is nothing yet; else nothing. */
int edge_init_if_new(const char *conf_path, struct err *err);
/* `serve`: returns when told to stop. */
int edge_serve(struct edge *e, struct err *err);

/* Of "announced" and "contact_ms" in the sync table: what `status` knows while nobody serves. */
int edge_keep_contact(struct edge *e, struct err *err);
void edge_contact(struct edge *e, struct contact *out);
void edge_incarnation(struct edge *e, struct id128 *out);
void edge_set_incarnation(struct edge *e, const struct id128 *incarnation);
void edge_taken(struct edge *e, struct edge_taken *out);
bool edge_has_central(struct edge *e); /* there is one that it may call */

#endif
