/*
 * disk.h - what a disk may hold when the power goes in the middle of a trace.
 *
 * The model: a write, a cut or a name is durable when a flush that covers it has come
 * back: fsync or fdatasync of the file for its bytes, fsync of the folder for names in
 * it. A write through an O_DSYNC descriptor is durable when the next call is made.
 * Everything else is kept or dropped, each by itself; a write may be torn at sectors
 * (512 bytes) or pages (4 KiB). A rename happens whole or not at all.
 *
 * Errors: a trace that this model does not understand ends the process.
 * Threads: one owner.
 */
#ifndef SALAMANDER_TESTS_LIB_DISK_H
#define SALAMANDER_TESTS_LIB_DISK_H

#include <stddef.h>
#include <stdint.h>

struct rng;
struct trace_head;

/* What the model forgets, so that a test can see that it would find the loss. */
enum disk_lie {
	DISK_HONEST = 0,
	DISK_NO_SYNC = 1,    /* fsync and fdatasync of files do nothing */
	DISK_NO_THROUGH = 2, /* O_DSYNC does nothing                    */
	DISK_NO_FOLDERS = 4  /* fsync of folders does nothing           */
};

struct disk; /* opaque */

struct disk *disk_new(unsigned lies);
void disk_free(struct disk *d); /* NULL is fine */
/* The next record of a trace; borrowed as long as d lives. */
void disk_add(struct disk *d, const struct trace_head *record);
/* Calls that may be lost now. */
size_t disk_pending(const struct disk *d);

/*
 * One state after a cut, written below folder (made anew). r NULL: everything is kept.
 */
struct disk_state {
	size_t kept;   /* how many of the pending calls took place as a whole     */
	uint64_t hash; /* of names and bytes: states that are alike have the same */
};
void disk_write(struct disk *d, struct rng *r, const char *folder, struct disk_state *out);

#endif
