/*
 * pledge_lacks.h - what an archive has already, by its own word: C-FIND at IMAGE level, series by
 * series.
 *
 * Threads: the duty's that asks archives.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGE_LACKS_H
#define SALAMANDER_COMMON_DIMSE_PLEDGE_LACKS_H

#include <stdbool.h>

struct pledge_supply;
struct targets;

enum pledge_there { PLEDGE_UNTOLD, PLEDGE_THERE, PLEDGE_LACKING };

/* there[i]: of t->all[i]. What it does not tell, or cannot be asked for, is PLEDGE_UNTOLD. */
void pledge_lacks(const struct pledge_supply *s, const struct targets *t, enum pledge_there *there);

#endif
