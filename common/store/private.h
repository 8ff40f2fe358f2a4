/*
 * private.h - what the files of the store share with each other, and nobody else.
 *
 * Tables of the store itself (those of the index: index.h):
 *	meta     name                  counters, next object id
 *	version  oid (be64)            record (version.h)
 *	digest   SHA-256               oid (u64 LE)
 *	uid      SOP UID | oid (be64)  nothing
 *	of_study study UID | oid (be64) nothing
 *	chunk    object id (be64), number (be32)   header, payload (chunk.c)
 *	spooled  object id (be64)      nothing: chunks of an object that is not put yet
 *	dropped  object id (be64)      bytes (u64 LE): chunks that are to be deleted
 *	study_state study UID (or one zero byte: none)
 *	                               first arrival and last view (store_time), pin
 *	header   object id (be64)      bytes before the pixels, frame table (header.c)
 */
#ifndef SALAMANDER_COMMON_STORE_PRIVATE_H
#define SALAMANDER_COMMON_STORE_PRIVATE_H

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/store.h"

enum store_tables {
	T_META,
	T_VERSION,
	T_DIGEST,
	T_UID,
	T_OF_STUDY,
	T_CHUNK,
	T_SPOOLED,
	T_DROPPED,
	T_STUDY_STATE,
	T_HEADER,
	T_DECIDED,
	T_UNDECIDED,
	T_OPEN,
	N_STORE_TABLES
};

enum { TABLES_MAX = 60 };

struct committer; /* commit.c */
struct journal;

struct store {
	struct store_config c; /* set once by store_open; its strings are ours */
	char dir[PATH_MAX];
	struct kv *kv;
	const char *names[TABLES_MAX];
	unsigned n_tables;
	uint32_t chunk_value; /* bytes of a whole chunk's value */
	_Atomic uint64_t next_id;
	_Atomic uint64_t used, admitted; /* bytes: in the environment; let in and not committed */
	_Atomic uint64_t dropping;
	/* What the environment may grow to on its disk, and until when that is believed. */
	_Atomic uint64_t disk_limit;
	_Atomic int64_t disk_until;
	int64_t started_mono, time_before;
	struct committer *committer;
	struct journal *journal; /* NULL: none                             */
	uint64_t generation;	 /* of the first record that is to be written */
	_Atomic bool unsettled;	 /* something was answered that readers do not see yet */
	bool journal_torn;	 /* set once, by an opening to read                     */
	pthread_mutex_t mu;
	/* guarded by mu */
	struct viewed *viewed;
	struct orphan *orphans; /* objects whose chunks could not be dropped yet (space.c) */
};

struct store_tx {
	struct store *s;
	struct kv_txn *txn;
	bool write;
};

/* --- meta (store.c) --- */
uint64_t store_new_id(struct store *s);
/* Counters live in one meta row, changed in the transaction that makes them true. */
int meta_counts(struct store_tx *tx, struct store_counts *out, struct err *e);
int meta_set_counts(struct store_tx *tx, const struct store_counts *in, struct err *e);
/* Writes a record; the rest of the tables is the caller's. */
int version_write(struct store_tx *tx, const struct version *v, struct err *e);

/* --- chunks (chunk.c) --- */
/* What the last chunk tells of its object (R13). */
struct chunk_tail {
	const char *uid;
	const unsigned char *digest;
	uint64_t size, seq;
};
enum { CHUNK_HEAD = 32 };
struct chunk_view { /* borrowed from the value */
	uint64_t id;
	uint32_t number, length;
	const unsigned char *payload;
	bool last; /* then also: */
	char uid[UID_SIZE];
	const unsigned char *digest;
	uint64_t size, seq;
};
/* Bytes of a value whose head this is, less the UID at its end; 0: this is no head. */
size_t chunk_room(const unsigned char head[CHUNK_HEAD]);
/* false unless head, checksum and tail are right; n may be more than it needs. */
bool chunk_parse(const void *value, size_t n, struct chunk_view *out);
uint32_t chunk_value_size(uint32_t class);
uint32_t chunk_payload(const struct store *s);
int chunk_put(struct store_tx *tx, uint64_t id, uint32_t number, const void *p, uint32_t n,
	      const struct chunk_tail *tail, struct err *e);
/* Borrowed as kv_get's values; ERR_CORRUPT unless header and checksum are right. */
int chunk_get(struct store_tx *tx, uint64_t id, uint32_t number, const void **p, uint32_t *n,
	      struct err *e);
/* Copies its payload, which must be n bytes, and checks the copy. */
int chunk_copy(struct store_tx *tx, uint64_t id, uint32_t number, void *to, uint32_t n,
	       struct err *e);
/* ERR_CORRUPT: the last one, which is this or an empty one behind it, says that it is of another
 * object (R13). Its seq may be that of an earlier entry. */
int chunk_is_of(struct store_tx *tx, uint64_t id, uint32_t number, const struct chunk_tail *tail,
		struct err *e);
/* The first chunk, just written in this very transaction: nothing is checked. */
int chunk_fresh(struct store_tx *tx, uint64_t id, const void **p, uint32_t *n, struct err *e);
/* This chunk is read soon: the disk may begin. None there: nothing happens. */
void chunk_expect(struct store_tx *tx, uint64_t id, uint32_t number);
/* Deletes chunks of id, at most `most` bytes; *freed of them; *done when none is left. */
int chunk_delete(struct store_tx *tx, uint64_t id, uint64_t most, uint64_t *freed, bool *done,
		 struct err *e);
/* Bytes that an object of this size takes in the environment, index rows and all. */
uint64_t chunk_cost(const struct store *s, uint64_t size);

/* --- spool (spool.c) --- */
/* Writes what is still in memory, with the tail, in the caller's transaction. */
int spool_finish(struct store_tx *tx, struct store_spool *p, const struct chunk_tail *tail,
		 struct err *e);
uint64_t spool_id(const struct store_spool *p);

/* --- headers (header.c) --- */
/* Does an object like this have a record of its own? */
bool header_wanted(const struct version *v);
/* In the transaction of the bytes, behind them; info NULL: where frames lie is not known. */
int header_put(struct store_tx *tx, const struct version *v, const struct object_info *info,
	       struct err *e);
int header_delete(struct store_tx *tx, uint64_t id, struct err *e);

/* --- room (space.c) --- */
/* Reads how many bytes of the map are in use, after a commit. */
void space_measure(struct store *s, struct kv_txn *txn);
/* May the file become so much longer? The reserve of the disk stays free. */
bool space_grows(struct store *s, uint64_t bytes);
/* The chunks of id are to be deleted: part of the caller's transaction (R12). */
int space_drop(struct store_tx *tx, uint64_t id, uint64_t bytes, struct err *e);
/* One step of the clean-up of dropped and orphaned chunks; false: nothing left to do. */
bool space_clean(struct store *s);
int space_orphans(struct store *s, struct err *e);
/* What is spooled under id is nobody's, but that could not be committed: the clean-up does. */
void space_later(struct store *s, uint64_t id, uint64_t bytes);
void space_free(struct store *s);

/* --- the committer (commit.c) --- */
/* Before anything is read: what only the journal holds is applied. */
int committer_recover(struct store *s, struct err *e);
/* Whether there is such a thing, for a store that is only read. */
int committer_look(struct store *s, struct err *e);
int committer_start(struct store *s, struct err *e);
void committer_stop(struct store *s);
/* One closure that is to be committed, as store_commit has it. Its owner keeps it where it is, and
 * touches neither it nor what fn changes, from commit_begin to the end of commit_wait. */
struct commit_request {
	struct commit_request *next;
	int (*fn)(struct store_tx *tx, void *arg, struct err *e);
	void *arg;
	uint64_t bytes;
	struct err e;
	int rc;	     /* 0: durable, or in the transaction that is open (a later closure asks) */
	bool quick;  /* the journal will do               */
	bool failed; /* its closure said no: leave it out */
	sem_t done;
};
void committer_take(struct store *s, struct commit_request *r);

/* --- having something committed (committing.c) --- */
/* Returns at once; closures run in the order of these calls. The request is zero but for fn, arg,
 * bytes and quick. Each is waited for once. */
void commit_begin(struct store *s, struct commit_request *r);
int commit_wait(struct commit_request *r, struct err *e);

/* --- views (evict.c) --- */
/* first_ms: of the first receipt anywhere (R11: refilled studies rank by it). */
int study_touch(struct store_tx *tx, const char *study, enum version_origin origin,
		int64_t first_ms, struct err *e);
/* Bytes of one version came (sign 1) or went (-1); *here: versions with bytes now. */
int study_count(struct store_tx *tx, const char *study, int sign, uint64_t bytes, uint64_t *here,
		struct err *e);
void views_flush(struct store *s);
void views_free(struct store *s);

/* --- key helpers --- */
static inline struct kv_slice
be64_key(unsigned char b[8], uint64_t v)
{
	v = __builtin_bswap64(v);
	__builtin_memcpy(b, &v, 8);
	return kv_slice(b, 8);
}

#endif
