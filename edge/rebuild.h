/*
 * rebuild.h - the store is made anew from the objects in its chunks (R13).
 *
 * Works where LMDB refuses its file: whole objects are found by their chunks'
 * headers, read again, indexed, and announced in a new incarnation; all of them are
 * owed until holdings confirm them. The old file stays beside the new one while
 * anything in it was torn.
 * Threads: main's, while nothing else uses the store.
 */
#ifndef SALAMANDER_EDGE_REBUILD_H
#define SALAMANDER_EDGE_REBUILD_H

#include <stdbool.h>
#include <stdint.h>

struct edge;
struct err;

struct rebuild_result {
	uint64_t objects, torn;
	uint64_t unread; /* pages that the disk did not give          */
	uint64_t known;	 /* beside these: listed without bytes (R20)   */
	bool untold;	 /* what is lacking is not known for certain   */
	bool listed;	 /* the old list could be read to its end      */
	bool kept;	 /* store.old: something in it may be lacking  */
};

/* e: its store is closed, its lock held; open again on 0. On failure it stays shut, and what
 * lies under its name is whole: the old one or the new one. */
int rebuild_store(struct edge *e, struct rebuild_result *out, struct err *err);

#endif
