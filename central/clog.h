/*
 * clog.h - central's log: what pixels do not tell, for ever (R16).
 *
 * Owns <dir>: segments 00000001.log, 00000002.log, ... of records, each chained to
 * the one before and checked by it. Every ledger batch as received, every
 * decision, every epoch goes in before the answer that depends on it: clog_append
 * writes, clog_sync returns when all that was appended before it survives power
 * loss. Many callers share one flush. Nothing is ever changed or deleted.
 *
 * A flush that failed ends the log: every later append fails until it is opened
 * anew (TRAPS 4). What a crash left half at the end is kept beside the segment
 * as <segment>.torn and is not part of the log: nobody was answered for it.
 *
 * Errors: ERR_FULL, ERR_CORRUPT (a record before the end fails its check), ERR_LOCAL.
 * Threads: append and sync from any.
 */
#ifndef SALAMANDER_CENTRAL_CLOG_H
#define SALAMANDER_CENTRAL_CLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"

struct clog; /* opaque */
struct err;

enum { CLOG_RECORD_MAX = 32 << 20, CLOG_SEGMENT = 64 << 20 };

/* On disk: never renumber; kinds that a reader does not know are skipped. */
enum clog_kind {
	CLOG_EPOCH = 1,
	CLOG_LEDGER = 2, /* a batch of ledger entries as received */
	CLOG_DECISION = 3
};

typedef int clog_record(void *arg, uint64_t number, uint32_t kind, const void *p, size_t n,
			struct err *e);

/*
 * Opens or begins the log and gives each record to fn, in order; fn NULL: checks
 * them only. segment: bytes after which a new one begins (0: CLOG_SEGMENT).
 */
int clog_open(struct clog **out, const char *dir, uint64_t segment, clog_record *fn, void *arg,
	      struct err *e);
void clog_close(struct clog *c); /* NULL is fine; what was not synced may be lost */
int clog_append(struct clog *c, uint32_t kind, const void *p, size_t n, struct err *e);
int clog_sync(struct clog *c, struct err *e);
/* A flush failed: nothing goes in until the log is opened anew. */
bool clog_broken(struct clog *c);
/* How many records there are. */
uint64_t clog_count(struct clog *c);

#endif
