/*
 * mend.h - the duty that fetches back from central what was damaged here.
 *
 * Four at once, each on a link of its own. By digest, checked, stored again in the place of what
 * failed its check, and entered in the ledger as held: not owed while central holds it (R7). Until
 * then viewers get a failed sub-operation (R20). What central does not hold, or cannot give, is
 * asked for again later.
 * After a set-back it fetches the list of what the site announced, too (R8, setback.h).
 * Threads: any.
 */
#ifndef SALAMANDER_EDGE_MEND_H
#define SALAMANDER_EDGE_MEND_H

struct edge;
struct err;
struct mend; /* opaque */

int mend_start(struct mend **out, struct edge *e, struct err *err);
void mend_stop(struct mend *m); /* NULL is fine */
/* Something was found damaged. NULL is fine. */
void mend_wake(struct mend *m);

/* Without a thread of its own, as the simulator has it: whatever is due now. */
int mend_new(struct mend **out, struct edge *e, struct err *err);
void mend_turn(struct mend *m);

#endif
