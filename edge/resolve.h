/*
 * resolve.h - which version of an instance is current, as a person at this edge says: passed on to
 * central, which decides, or not at all (R3).
 *
 * Threads: a command's.
 */
#ifndef SALAMANDER_EDGE_RESOLVE_H
#define SALAMANDER_EDGE_RESOLVE_H

struct ctl_reply;
struct edge;
struct err;

/* hex: the digest, or the first digits of that of a version that is known here. ERR_AGAIN: central
 * cannot be asked now; nothing was decided. r hears that it waits for central. */
int resolve_at_central(struct edge *e, const char *uid, const char *hex, const char *why,
		       struct ctl_reply *r, struct err *err);

#endif
