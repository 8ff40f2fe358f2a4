/*
 * connection.h - between the listener and the services: one association from
 * its request to its end.
 *
 * Threads: called by the connection's own thread.
 */
#ifndef SALAMANDER_COMMON_DIMSE_CONNECTION_H
#define SALAMANDER_COMMON_DIMSE_CONNECTION_H

struct dimse_caller;
struct dimse_slot;

/* who holds assoc, peers, address and config; the rest is filled here. The caller frees assoc. */
void connection_serve(struct dimse_caller *who);
/* Counts one more; returns how many there were. */
unsigned long connection_refused(struct dimse_slot *slot);

#endif
