/*
 * trace.h - the file that recorder.so writes and replay reads: one record per call
 * that changes what a disk holds, in the order of the calls.
 *
 * Each record is appended with one write(2), so that several processes may share a
 * trace: what a marker appends stands behind everything that was recorded before.
 * A record: the head below (little endian, no gaps), path, second path, data.
 * Paths are relative to the recorded folder.
 */
#ifndef SALAMANDER_TESTS_CRASH_TRACE_H
#define SALAMANDER_TESTS_CRASH_TRACE_H

#include <stdint.h>

enum trace_op {
	TRACE_CREATE = 1,   /* path came to be: an empty file `file`              */
	TRACE_WRITE = 2,    /* data at offset                                     */
	TRACE_TRUNCATE = 3, /* the file ends at offset                            */
	TRACE_SYNC = 4,	    /* fsync or fdatasync of a file                       */
	TRACE_SYNC_DIR = 5, /* fsync of folder path                               */
	TRACE_MKDIR = 6,
	TRACE_UNLINK = 7, /* rmdir as well                                        */
	TRACE_LINK = 8,	  /* second path is `file` too                            */
	TRACE_RENAME = 9, /* path is called second path from now on               */
	TRACE_MARK = 10	  /* path: what was answered (tests/lib/witness.h)        */
};

enum { TRACE_THROUGH = 1 /* flags: the descriptor is O_DSYNC or O_SYNC */ };

struct trace_head {
	uint32_t size; /* of the whole record */
	uint16_t op, flags;
	uint64_t file; /* inode number; used again only behind another TRACE_CREATE */
	uint64_t offset;
	uint32_t path, second; /* lengths, without a final NUL */
};

_Static_assert(sizeof(struct trace_head) == 32, "written by tests/crash/power.py too");

#endif
