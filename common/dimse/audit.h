/*
 * audit.h - who did what (R36): one line an event in a log of its own, chained by hash.
 *
 * Line: "<time> <event> <key=value ...> <chain>"; chain is the first 32 hex digits
 * of SHA-256 over the chain of the line before and this line without its own. A
 * line that was changed or taken out breaks the chain from there on. Values are titles,
 * addresses, UIDs, counts and names of keys, never values of a data set (R35).
 * Lines are written at once, not flushed: an audit trail must not slow take-in.
 * Threads: any.
 */
#ifndef SALAMANDER_COMMON_DIMSE_AUDIT_H
#define SALAMANDER_COMMON_DIMSE_AUDIT_H

#include <stdint.h>

struct audit; /* opaque */
struct clock;
struct err;

/* Continues the chain of an existing file; a line torn by a crash is ended and starts anew. */
int audit_open(struct audit **out, const char *path, struct clock *clock, struct err *e);
void audit_close(struct audit *a); /* NULL is fine */
/* a NULL: dropped. Errors are logged, not returned. */
void audit_line(struct audit *a, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Reads a file; 0: the chain is whole; ERR_CORRUPT: *line is the first bad line's number. */
int audit_verify(const char *path, uint64_t *line, struct err *e);

#endif
