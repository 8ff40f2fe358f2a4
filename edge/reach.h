/*
 * reach.h - a command waits for central: until it answers, or has been compared with.
 *
 * By the running duty, or without a server by a replicator for as long as it takes. Ends
 * early when the node stops or nobody waits for the command any more.
 * Threads: a command's.
 */
#ifndef SALAMANDER_EDGE_REACH_H
#define SALAMANDER_EDGE_REACH_H

struct comparison;
struct ctl_reply;
struct edge;
struct err;

/* Until a hello has been answered. ERR_AGAIN: nobody answers; ERR_LOCAL: there is nobody to ask.
 * That it waits, and for what, r is told as soon as a call has failed. */
int reach_central(struct edge *e, struct ctl_reply *r, struct err *err);
/* Until the whole ledger has been compared with what central holds now (R19), and what it lacks
 * and is here is owed. Errors as above; ERR_CONFLICT: it answers, and a person is needed first:
 * the contact says why. *out on 0 only. */
int reach_compared(struct edge *e, struct ctl_reply *r, struct comparison *out, struct err *err);

#endif
