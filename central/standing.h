/*
 * standing.h - who may call no more, or again, told to every edge (R25, R26).
 *
 * A person's word about a site is a decision in the log (members.h). Each edge keeps it as well,
 * sealed, and gives it back to a central that has lost it: the one that burnt took its site
 * table along, and the removed site's certificate is still good.
 * Threads: any; the transactions' own.
 */
#ifndef SALAMANDER_CENTRAL_STANDING_H
#define SALAMANDER_CENTRAL_STANDING_H

#include <stdbool.h>
#include <stddef.h>

struct central;
struct err;
struct store_tx;
struct Sync__Order; /* sync.pb-c.h */

/* After the decision: `standing` as in sync.proto. */
int standing_tell(struct central *c, const char *site, int standing, struct err *e);
/* An ORDER_SITE of the log. */
int standing_apply(struct store_tx *tx, const struct Sync__Order *m, const void *bytes, size_t n,
		   struct err *e);

/* Of an edge: one that this archive's key has sealed. */
bool standing_may_come_back(const struct central *c, const struct Sync__Order *m);
/* It counts, and is told to the others, if none about its site is above it. */
int standing_take_back(struct central *c, const char *from, const struct Sync__Order *m,
		       struct err *e);
/* This site has told all that it keeps of who may call: when more than half have, those that came
 * in by their certificates alone, and were not named as removed, are known again. */
int standing_vouch(struct central *c, const char *site, struct err *e);

#endif
