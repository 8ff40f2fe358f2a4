/*
 * said.h - what people decided, and what must be seen of it at rest: retract, restore (R15, R27),
 * and which version is current (R3).
 *
 * A decision is certain while central has had it all the time, or a node of this version that has
 * it could give it back to this central (R16); else it may count, or not.
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_SAID_H
#define SALAMANDER_TESTS_SIM_SAID_H

#include <stdbool.h>

#include "tests/sim/truth.h"

struct world;

/* A person retracts or restores an image of this one's UID, or its study. */
void said_withdraw(struct world *w, const struct sim_image *m, bool study, bool retract);
/* A person says that this version is current. */
void said_current(struct world *w, const struct sim_image *m);
/* A disk of central went. */
void said_lost(struct world *w);
/* As central decides now; rest: also by what edges give back. */
enum sim_withdrawn said_withdrawn(struct world *w, const struct sim_image *m, bool rest);
/* A viewer at this edge asks for it: what it hides, it hides until somebody restores it. */
void said_look(struct sim_edge *e, struct sim_image *m);
/* Another disk: what it hides is another matter. */
void said_forget(struct sim_edge *e);
/* Central shows nothing that was retracted, with bytes or without (R15). */
void said_look_at_central(struct world *w);
/* What edges have to give back, they give back. */
void said_settle(struct world *w);
/* At rest: all nodes hide the same, and show what people chose. */
void said_final(struct world *w);

#endif
