/*
 * lives.h - the incarnations of a site: opened, branched off one another, closed, twins (R8, R18).
 *
 * An incarnation is closed by `site lost` or by its successor's first hello. One that goes on
 * calling after that is a twin: open again, beside its successor, until a person says which of
 * them is the site's; the others then drain.
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_CENTRAL_LIVES_H
#define SALAMANDER_CENTRAL_LIVES_H

#include <stdbool.h>

struct err;
struct store_tx;
struct Sync__LogDecision;

/* It opens or closes incarnations. */
bool lives_changes(const struct Sync__LogDecision *m);
/* What a decision of the log makes of the site rows; of other kinds nothing. */
int lives_apply(struct store_tx *tx, const struct Sync__LogDecision *m, struct err *e);

#endif
