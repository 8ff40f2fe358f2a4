/*
 * journal.h - what was answered and does not lie in the environment yet.
 *
 * Owns <dir>/journal: a file of fixed size, written with zeros when it is made, so that a
 * record costs one flush and no block of the file system. A record holds what a batch changed,
 * as keys and their new values: applying it again changes nothing.
 *
 * Records belong to a generation. The environment says which generation lies in it whole;
 * records of the next one are what it still lacks. A generation begins at the front of the file.
 *
 * Promise: journal_append returned 0: the record survives power loss. After any other result the
 * file takes no more records (a flush that failed is not tried again, TRAPS 4).
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_STORE_JOURNAL_H
#define SALAMANDER_COMMON_STORE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/kv/kv.h"

struct err;
struct journal;

struct journal_change {
	char table[32];
	struct kv_slice key, value; /* borrowed for the call */
	bool gone;		    /* the key is no more */
};

/* Opens what is there, to be read; *out is NULL if nothing is. */
int journal_open(struct journal **out, const char *dir, struct err *e);
/* When the environment holds all that *j gives: from now on a file of so many bytes, made anew
 * unless it is of that size. 0: none, *j is NULL. If it fails there is none either. */
int journal_resize(struct journal **j, const char *dir, uint64_t bytes, struct err *e);
void journal_close(struct journal *j); /* NULL is fine */

struct journal_found {
	unsigned records; /* given                                                     */
	unsigned behind;  /* whole ones behind one that is not: it was acknowledged too */
};
/* The changes of the whole records of a generation, oldest first, of `most` records at most, up
 * to the first that is not whole. If it was the last, nobody was answered. fn NULL: they
 * are counted. */
int journal_replay(struct journal *j, uint64_t generation, unsigned most,
		   int (*fn)(void *arg, const struct journal_change *c, struct err *e), void *arg,
		   struct journal_found *found, struct err *e);
/* The file gets a second name, which is durable on 0, and is not written again: journal_resize
 * takes another. ERR_CONFLICT: an earlier one has the name. */
int journal_set_aside(const char *dir, struct err *e);
bool journal_is_aside(const char *dir);

/* From now on records are of this generation, which nobody has used before. */
void journal_begin(struct journal *j, uint64_t generation);
/* Builds a record: begin, any number of changes, append. */
void journal_record_begin(struct buf *record);
void journal_record_add(struct buf *record, const char *table, struct kv_slice key,
			const struct kv_slice *value);
/* A record of so many bytes can be appended. */
bool journal_takes(const struct journal *j, uint64_t bytes);
int journal_append(struct journal *j, struct buf *record, struct err *e);

#endif
