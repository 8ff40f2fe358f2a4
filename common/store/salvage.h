/*
 * salvage.h - what a damaged environment still holds: whole objects by their chunks (R13).
 *
 * Reads the data file alone, no tree of LMDB's, so that it works where LMDB
 * refuses. What had been evicted may come back: its pages may not have been used again.
 * Only objects all of whose bytes match their digest are given; who stores them
 * anew holds no receipt for any (R13).
 * Threads: one owner; nobody else has the environment open.
 */
#ifndef SALAMANDER_COMMON_STORE_SALVAGE_H
#define SALAMANDER_COMMON_STORE_SALVAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/uid.h"

struct err;

struct salvaged {
	uint64_t id;	    /* of its chunks */
	char uid[UID_SIZE]; /* SOP Instance UID, "" if it had none */
	unsigned char digest[SHA256_SIZE];
	uint64_t size, seq; /* seq: of the ledger entry, 0 = none  */
};

struct salvage_to {
	/* One object: begin, its bytes in order, end. Other than 0 ends the salvage. */
	int (*begin)(void *arg, const struct salvaged *o, struct err *e);
	int (*bytes)(void *arg, const void *p, size_t n, struct err *e);
	int (*end)(void *arg, struct err *e);
	/* Chunks under this id make no whole: has an object gone with them? NULL: yes. */
	bool (*missed)(void *arg, uint64_t id);
	/* How files are read; NULL: file_read_at. */
	int (*read)(int fd, void *p, size_t n, uint64_t offset, size_t *got, struct err *e);
	void *arg;
};

struct salvage_result {
	uint64_t chunks;  /* whose checksum is right         */
	uint64_t objects; /* given                           */
	uint64_t unread;  /* pages, or values, that the disk does not give: passed over */
	uint64_t torn;	  /* ids with chunks that make no whole, and are missed */
};

/* dir: the environment's folder. Its data.mdb, the journal in front of it, and one that was set
 * aside. ERR_ABSENT without the first. */
int salvage_folder(const char *dir, const struct salvage_to *to, struct salvage_result *out,
		   struct err *e);

#endif
