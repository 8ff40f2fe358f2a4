/*
 * stored.h - a store in a folder of its own, with tables "extra", "commitments" and "pledges", and
 * small objects to put in it.
 *
 * Threads: each call may come from any thread; a struct stored has one owner.
 */
#ifndef SALAMANDER_TESTS_LIB_STORED_H
#define SALAMANDER_TESTS_LIB_STORED_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/store/store.h"

struct canon;

struct stored {
	char dir[64];
	uint64_t quota;
	uint64_t buffers; /* 0: the default; taken by stored_open */
	uint64_t journal; /* 0: none; the same                    */
	uint64_t ahead;	  /* 0: none; the same                    */
	struct clock_manual clock;
	struct store *s;
};

/* A fresh folder and a store in it; quota 0: 1 GiB of map without one. */
void stored_init(struct stored *t, uint64_t quota);
int stored_open(struct stored *t, struct err *e); /* again, after store_close */
void stored_fini(struct stored *t);		  /* closes and removes all */

struct made { /* a canonical object in memory */
	struct canon *canon;
	const struct object_info *info;
	struct buf bytes;
};

struct recipe {
	const char *study, *uid, *syntax; /* syntax NULL: explicit little endian */
	const char *comment;		  /* an attribute that is no pixel; "": not there */
	unsigned char pixel;		  /* every byte of the pixel data        */
	size_t pixels;			  /* how many                            */
};
void made_init(struct made *m, const struct recipe *r);
void made_fini(struct made *m);

/* Spools, prepares, commits (store_commit_quick). from: the peer address of the source;
 * "strict": refused, kept. */
int stored_put(struct store *s, const struct made *m, const char *from, struct store_verdict *out,
	       struct err *e);
/* The same by its recipe; must work, and what lies there is what was made. */
struct store_verdict stored_keep(struct store *s, const struct recipe *r, const char *from);
/* 0 when all bytes of the version are those of m. */
int stored_compare(struct store *s, uint64_t oid, const struct made *m, struct err *e);
struct store_counts stored_counts(struct store *s);
struct version stored_version(struct store *s, uint64_t oid);
/* A bit of this chunk changes; the second time it is whole again. */
void stored_damage(struct store *s, uint64_t oid, uint32_t chunk);
int stored_drop(struct store *s, uint64_t oid, struct err *e);
/* Waits (with a deadline) until no chunk waits to be deleted. */
void stored_settle(struct store *s);
/* Rows in one of the store's own tables by number (private.h). */
uint64_t stored_rows(struct store *s, unsigned table);

#endif
