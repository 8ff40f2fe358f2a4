/*
 * store.h - instances, their index and their bytes as one promise.
 *
 * Owns <dir>: one LMDB environment per node and process. The node keeps its own
 * tables (ledger, outbox, ...) in the same environment, so that everything that
 * must be true together goes in one commit (ack-after-disk).
 *
 * store_commit is the only way to change anything. It returns 0 when what its
 * closure did survives power loss; else nothing of it happened.
 *
 * Errors: ERR_FULL (quota, map or disk: stop taking in, reading goes on, R12),
 * ERR_ABSENT, ERR_CORRUPT (stored bytes fail their check), ERR_LOCAL.
 * Threads: a struct store is shared freely; a store_tx belongs to one thread.
 * Lock order: none of ours is held while a closure runs. A closure must not call
 * store_commit, store_begin_read or anything that takes a struct store *.
 */
#ifndef SALAMANDER_COMMON_STORE_STORE_H
#define SALAMANDER_COMMON_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/dicom/attrs.h"
#include "common/store/version.h"

struct clock;
struct err;
struct index_sets;
struct kv_txn;
struct store;	     /* opaque */
struct store_tx;     /* opaque: a write transaction in a closure, or a read transaction */
struct store_spool;  /* opaque: the bytes of one object on their way in */
struct store_reader; /* opaque: the bytes of one version on their way out */

/* Where a node keeps bytes that are not chunks (central: the vault). */
struct store_bytes {
	int (*read)(void *arg, const struct version *v, uint64_t offset, void *buf, size_t n,
		    size_t *got, struct err *e);
	void *arg;
};

struct store_config {
	const char *dir;    /* exists, on a local file system                            */
	uint64_t quota;	    /* bytes for everything in the environment; 0: no quota      */
	uint64_t map_bytes; /* address space when there is no quota                      */
	struct clock *clock;
	const char *const *extra_tables; /* names of the node's own tables               */
	unsigned n_extra_tables;
	struct store_bytes bytes; /* read NULL: every byte is in chunks             */
	unsigned max_readers;	  /* 0: 510                                         */
	uint32_t chunk_class;	  /* bytes; 0: STORE_CHUNK_CLASS                    */
	uint64_t journal;	  /* bytes of the file in front of the environment; 0: none */
	uint64_t ahead;		  /* bytes of the file made ready ahead of need; 0: none  */
	uint64_t buffers;	  /* memory of objects on their way in; 0: 96 MiB     */
	bool read_only;		  /* beside the process that serves; nothing is committed */
};

/* Of the tables and their rows, also the node's own. A store of a later one is refused. */
enum { STORE_FORMAT = 2 };

enum {
	STORE_CHUNK_CLASS = 1024 * 1024,    /* measured: see README                              */
	STORE_GROUP = 8 * 1024 * 1024,	    /* memory of one object on its way in: two groups    */
	STORE_BATCH = 24 * 1024 * 1024,	    /* payload of one commit: LMDB copies it into memory */
	STORE_DROP_STEP = 64 * 1024 * 1024, /* freed per transaction at most (R12)             */
	STORE_DISK_RESERVE = 64 * 1024 * 1024 /* of the file system: take-in leaves it free     */
};

int store_open(struct store **out, const struct store_config *c, struct err *e);
void store_close(struct store *s); /* NULL is fine; no transaction or reader may be open */
/*
 * The simulator: stores that are opened from now on have no thread. A commit runs in its caller's,
 * and store_turn does what the thread would do while nothing arrives.
 */
void store_by_hand(bool on);
void store_turn(struct store *s);

/* The number of one of the node's own tables for kv_* calls; unknown names abort. */
unsigned store_table(const struct store *s, const char *name);
struct kv_txn *store_tx_kv(struct store_tx *tx);
struct store *store_tx_store(struct store_tx *tx);
/* Milliseconds this store has been open in all its life: never runs back, whatever the wall
 * clock does (R28). */
int64_t store_time(struct store *s);
/* It shows at least ms from now on: what a store that is made anew is told of its life before.
 * While nobody else uses the store. */
void store_time_reach(struct store *s, int64_t ms);
/* When a study first arrived at any node, in store_time (R28). ERR_ABSENT leaves e alone. */
int store_study_first(struct store_tx *tx, const char *study, int64_t *out, struct err *e);

/*
 * The one committer. Runs fn in a write transaction that it shares with whoever
 * else arrived, in the order of the calls, and returns after the commit: 0 when
 * it is durable, else fn's own error or the commit's.
 * fn may run several times (a failing neighbour makes the batch run again
 * without it), so it changes the transaction and, from scratch each time, its
 * own arg. fn does not block. What fn changed is undone when it returns an error.
 */
int store_commit(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e),
		 void *arg, struct err *e);
/* The same for closures that write many bytes: they count against STORE_BATCH. */
int store_commit_bytes(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e),
		       void *arg, uint64_t bytes, struct err *e);

/*
 * The same, answered as soon as it is durable: where there is a journal, one flush instead of
 * LMDB's two. Later closures see it at once, read transactions within moments: store_settle
 * makes what was answered before visible.
 */
int store_commit_quick(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e),
		       void *arg, uint64_t bytes, struct err *e);
int store_settle(struct store *s, struct err *e); /* cheap when there is nothing to do */
/* Something was answered that read transactions do not see yet. Of a store that was opened to be
 * read: a death left it, and who opens it to write brings it in. */
bool store_unsettled(const struct store *s);
/* A start found records behind a damaged one: they lie in journal.damaged, and a rebuild looks
 * there for images that were acknowledged and are not in the store. */
bool store_journal_damaged(const struct store *s);
/* Of a store that was opened to be read, and that nobody writes: the next start would find that. */
bool store_journal_torn(const struct store *s);
/* fn is called by the committer after each commit that made such closures visible; it does not
 * block. After the next call of this (fn NULL: none) it is not called any more. */
void store_on_settled(struct store *s, void (*fn)(void *arg), void *arg);

/* For one page of an answer: never across a socket write, never longer than milliseconds. */
int store_begin_read(struct store_tx **out, struct store *s, struct err *e);
void store_end_read(struct store_tx *tx_taken); /* NULL is fine */

/* ---- looking up (in any transaction; ERR_ABSENT leaves e alone) ---- */
int store_version(struct store_tx *tx, uint64_t oid, struct version *out, struct err *e);
int store_by_digest(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], uint64_t *oid,
		    struct err *e);
/* The version a viewer gets of a UID. */
int store_current(struct store_tx *tx, const char *sop_instance, struct version *out,
		  struct err *e);
/* Calls fn for each version, oldest first, until it says other than 0; that is returned. */
int store_versions_of(struct store_tx *tx, const char *sop_instance,
		      int (*fn)(void *arg, const struct version *v, struct err *e), void *arg,
		      struct err *e);
/* Every version of a study, with or without bytes (R20), from oid `from` on. */
int store_versions_of_study(struct store_tx *tx, const char *study, uint64_t from,
			    int (*fn)(void *arg, const struct version *v, struct err *e), void *arg,
			    struct err *e);
/* All versions from oid `from` on, oldest first. */
int store_versions(struct store_tx *tx, uint64_t from,
		   int (*fn)(void *arg, const struct version *v, struct err *e), void *arg,
		   struct err *e);

/* The youngest version below oid; ERR_ABSENT: none. */
int store_version_before(struct store_tx *tx, uint64_t oid, struct version *out, struct err *e);

struct store_counts {
	uint64_t known;	    /* versions with a record                        */
	uint64_t instances; /* versions whose bytes are here                 */
	uint64_t studies;   /* with at least one such                        */
	uint64_t bytes;	    /* of these, as canonical files                  */
	uint64_t variants, revisions, transcoded; /* versions                */
	uint64_t conflicts;			  /* UIDs with an open one   */
	uint64_t undecided;			  /* UIDs: decided.h         */
};
int store_counts(struct store_tx *tx, struct store_counts *out, struct err *e);

/* ---- taking in ---- */
struct store_verdict {
	uint64_t oid;
	enum version_relation relation;
	bool duplicate;	    /* R4: durable here already, and just checked: nothing changed     */
	bool repaired;	    /* R4: the copy here failed its check, the new bytes took its place */
	bool stored_again;  /* R4: was evicted (or known only), is here now                    */
	bool current;	    /* this version is what viewers get now                            */
	bool new_study;	    /* no version of this study was known                              */
	bool study_changed; /* study attributes were added or changed: a new study record (R6) */
	struct tags corrected; /* of these: what counted before and does no more (R3)          */
};

struct store_object {
	const struct object_info *info;
	struct attrs study, series, instance; /* to be indexed (R33 applied); n 0: info's own */
	struct version_source source;
	enum version_origin origin;
	uint32_t hidden;
	struct store_spool *spool; /* holds all bytes of info->size; stays the caller's */
	/*
	 * Called inside store_put between verdict and bytes, not for duplicates: the
	 * node appends its ledger entry here and says its number, which the last chunk
	 * carries (R13). NULL: 0.
	 */
	int (*announce)(struct store_tx *tx, void *arg, const struct version *v,
			const struct store_verdict *verdict, uint64_t *seq, struct err *e);
	void *announce_arg;
	/* filled by store_prepare */
	struct tags dropped; /* a revision: what the version before it told and it does not (R3) */
	uint64_t checked_bytes; /* object id of a stored copy that was just checked */
	bool checked_good;
	uint64_t prepared_at; /* first object id that did not exist then */
};

/*
 * Before store_commit, in the caller's thread: checksums of what is still in memory, the check of
 * a stored copy that R4 wants, and what a revision leaves out, as far as the version before it can
 * be read here. Without it store_put checks inside the transaction.
 */
int store_prepare(struct store *s, struct store_object *o, struct err *e);
/* R3, R4; in a closure. The caller's own part of the promise goes in the same closure. */
int store_put(struct store_tx *tx, struct store_object *o, struct store_verdict *out,
	      struct err *e);

/*
 * The bytes of one object. Kept in memory up to half of STORE_GROUP; beyond that each such group
 * is written in a transaction of its own while the next one arrives. Visible only by store_put.
 * What came of the group under way is the answer of a later store_spool_add: ERR_FULL may be tried
 * again, from where store_spool_size stands. store_put itself needs no waiting for it.
 */
int store_spool_open(struct store_spool **out, struct store *s, struct err *e);
int store_spool_add(struct store_spool *p, const void *bytes, size_t n, struct err *e);
uint64_t store_spool_size(const struct store_spool *p);
/* Of it, what is in memory still and the commit that puts it will write. */
uint64_t store_spool_left(const struct store_spool *p);
/* After a commit that put it, or for an object that is not to be: frees memory and, unless
 * put, what was written already (R12: within seconds). NULL is fine. */
void store_spool_close(struct store_spool *p);

/* ---- knowing without bytes, and bytes that come and go ---- */
/*
 * A version from elsewhere (refill manifest, another site's ledger): v as told, its oid,
 * arrival, relation and current are decided here (arrived_wall_ms if it is 0). v->first_ms:
 * store_time of its first arrival at any node (R11, R28). A digest already known is a duplicate.
 * v->state may be VERSION_HERE with a pack location. The sets are indexed.
 */
int store_announce(struct store_tx *tx, struct version *v, const struct index_sets *sets,
		   struct store_verdict *out, struct err *e);
/* The bytes of a known version are here now: in a pack (size: as checked, whatever had been
 * announced), or in a spool; the caller has checked the digest of either. info: what a scan of
 * them found, NULL: they were not scanned. */
int store_set_pack(struct store_tx *tx, uint64_t oid, const unsigned char pack[SHA256_SIZE],
		   uint64_t offset, uint64_t size, struct err *e);
int store_set_spool(struct store_tx *tx, uint64_t oid, struct store_spool *spool,
		    const struct object_info *info, struct err *e);
/* Frees the bytes; the record stays (R20). The chunks go in this and later transactions of at
 * most STORE_DROP_STEP (R12). state: VERSION_ELSEWHERE or VERSION_DAMAGED. */
int store_drop_bytes(struct store_tx *tx, uint64_t oid, enum version_state state, struct err *e);
/* The bytes failed their check: nobody gets them, nothing is counted of them, VERSION_DAMAGED;
 * but the chunks stay, for a read may fail and the disk be right. They go with store_drop_bytes or
 * when the bytes come again; store_take_back, after a store_check that found them good, makes
 * them VERSION_HERE again. */
int store_set_aside(struct store_tx *tx, uint64_t oid, struct err *e);
int store_take_back(struct store_tx *tx, uint64_t oid, struct err *e);
/* Small changes to a record: */
int store_set_receipt(struct store_tx *tx, uint64_t oid, const struct id128 *epoch, struct err *e);
int store_set_seq(struct store_tx *tx, uint64_t oid, uint64_t seq, struct err *e);
int store_set_verified(struct store_tx *tx, uint64_t oid, int64_t wall_ms, struct err *e);
/* Hiding from all takes the index row away; who shows it again calls index_put too. */
int store_set_hidden(struct store_tx *tx, uint64_t oid, uint32_t hidden, struct err *e);
/* This version of its UID is what viewers get and the index says from now on: its own sets. */
int store_set_current(struct store_tx *tx, uint64_t oid, const struct index_sets *sets,
		      struct store_verdict *out, struct err *e);

/* ---- giving out ---- */
/* ERR_ABSENT when the bytes are not here. */
int store_read_open(struct store_reader **out, struct store *s, uint64_t oid, struct err *e);
void store_read_close(struct store_reader *r); /* NULL is fine */
/* A hint: this version is read next. The disk begins with it, nobody waits. */
void store_read_expect(struct store *s, uint64_t oid);
/* Bytes of the canonical file; checked before they are handed out (R13), no transaction is
 * open afterwards. *got < n only at the end of the object. */
int store_read(struct store_reader *r, uint64_t offset, void *buf, size_t n, size_t *got,
	       struct err *e);
/* The same without a copy: what lies at offset in this chunk, valid until the next call. */
int store_read_some(struct store_reader *r, uint64_t offset, const void **p, size_t *n,
		    struct err *e);
const struct version *store_read_version(const struct store_reader *r);
/* All of it, before the first byte is given away: a pack's bytes have no other check. */
int store_read_check(struct store_reader *r, struct err *e);
/* Reads all, also what is set aside, and compares with the digest: 0, ERR_CORRUPT, ERR_ABSENT. */
int store_check(struct store *s, uint64_t oid, struct err *e);

/*
 * What an instance is before its pixels, and where its frames lie: from a small record beside
 * the bytes, so that nobody reads an image for its attributes (DESIGN 4). Objects smaller than
 * STORE_HEADER_FROM and those in packs have no record and are read.
 */
struct store_frame { /* encapsulated: its items, each with a head of 8 bytes */
	uint64_t offset, length;
};
struct store_header {
	struct version version;
	/* The canonical file up to the value of its pixel element (none: all of it); empty when
	 * that is more than about STORE_HEADER_MAX: read the object. */
	struct buf bytes;
	struct store_frame *frames; /* in order */
	size_t n_frames;	    /* 0: native, or the object does not tell */
	uint64_t behind;	    /* offset of what follows the pixel element; 0: not known */
	bool recorded;		    /* the object was not read */
};
enum { STORE_HEADER_FROM = 64 * 1024, STORE_HEADER_MAX = 1024 * 1024 };
/* ERR_ABSENT when the bytes are not here. */
int store_header(struct store_header *out, struct store *s, uint64_t oid, struct err *e);
void store_header_fini(struct store_header *h);

/* ---- room (R12) ---- */
struct store_space {
	uint64_t quota;	   /* 0: none                                             */
	uint64_t limit;	   /* what may be used: the quota, or less on a small disk */
	uint64_t used;	   /* pages in use, in bytes, incl. what waits to be freed */
	uint64_t dropping; /* of these: chunks that are being deleted now         */
	uint64_t admitted; /* let in, and in memory still                         */
	uint64_t map;	   /* quota and reserve                                   */
	bool shut;	   /* nothing comes in, whatever is freed: others have filled the disk */
};
void store_space(struct store *s, struct store_space *out);
/* Would this many bytes of new objects fit now, in the quota and on the disk with
 * STORE_DISK_RESERVE left free? 0 or ERR_FULL. */
int store_admit(struct store *s, uint64_t bytes, struct err *e);

/* ---- what may go first (R11) ---- */
enum store_class {
	STORE_NEVER_OPENED = 1, /* prefetched, never viewed          */
	STORE_FETCHED = 2,	/* from elsewhere                    */
	STORE_OLD = 3,		/* own, older than keep_days         */
	STORE_YOUNG = 4		/* own, younger: when nothing else   */
};
struct store_candidate {
	char study[UID_SIZE];
	enum store_class class;
	int64_t last_ms; /* store_time of the last view, or of the first arrival */
	uint64_t bytes;	 /* here                                                 */
	uint64_t instances;
};
/* The next up to max whole studies behind *after (NULL: from the start), best to go first;
 * pinned ones (store_pin) and those without bytes are left out. All versions that
 * name no study are one candidate, with study "". */
int store_candidates(struct store *s, int64_t keep_ms, const struct store_candidate *after,
		     struct store_candidate *out, size_t max, size_t *n, struct err *e);
/* A viewer retrieved of this study. Cheap; written with a later commit, within seconds. */
void store_viewed(struct store *s, const char *study);
/* until: wall clock, INT64_MAX for ever, 0 to unpin. It is over when the wall clock says so and as
 * much time has passed here (store_time): a wrong clock ends none (R28). ERR_ABSENT for an unknown
 * study. */
int store_pin(struct store_tx *tx, const char *study, int64_t until_wall_ms, struct err *e);
bool store_pinned(struct store_tx *tx, const char *study);
/* Each study that is or was pinned. */
int store_pins(struct store_tx *tx,
	       int (*fn)(void *arg, const char *study, int64_t until_wall_ms, struct err *e),
	       void *arg, struct err *e);

#endif
