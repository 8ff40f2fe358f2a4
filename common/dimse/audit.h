/*
 * audit.h - who did what (R36): one line an event in a log of its own, chained by hash.
 *
 * Line: "<time> <event> <key=value ...> <chain>"; chain is the first 32 hex digits
 * of SHA-256 over the chain of the line before and this line without its own. A
 * line that was changed or taken out breaks the chain from there on. Values are titles,
 * addresses, UIDs, counts and names of keys, never values of a data set (R35).
 * Lines are written at once, not flushed: an audit trail must not slow take-in.
 *
 * Images outrank it: a file that cannot be opened or written keeps nobody waiting and
 * nobody out. Lines that are lost meanwhile are counted, each line tries again, and the
 * first that succeeds comes behind a line "gap lines=N". What a crash or a full disk left
 * of a line is cut off at the next start, which needs no room, and is such a gap too.
 * Threads: any.
 */
#ifndef SALAMANDER_COMMON_DIMSE_AUDIT_H
#define SALAMANDER_COMMON_DIMSE_AUDIT_H

#include <stdint.h>

struct audit; /* opaque */
struct clock;
struct err;

/* Continues the chain of an existing file. ERR_LOCAL: no memory; all else is tried again. */
int audit_open(struct audit **out, const char *path, struct clock *clock, struct err *e);
void audit_close(struct audit *a); /* NULL is fine */
/* a NULL: dropped. Errors are logged, not returned. */
void audit_line(struct audit *a, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Lines that could not be written since the start; one more while the file is not open. */
unsigned long audit_lost(struct audit *a); /* NULL: 0 */
/*
 * Reads a file; 0: the chain is whole; ERR_CORRUPT: *line is the first bad line's number.
 * A last line without its end is being written, or torn: it is no damage.
 */
int audit_verify(const char *path, uint64_t *line, struct err *e);

#endif
