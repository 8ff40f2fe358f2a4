/*
 * reconcile.h - at the start, catalogue and vault are compared both ways (R23).
 *
 * Packs that the catalogue does not know are read and adopted; those that are
 * absent lose their members and a new epoch is taken. More than 100 absent, and
 * these more than 1 % of all, is no accident: refused unless missing ones are accepted.
 * Threads: before any other is started.
 */
#ifndef SALAMANDER_CENTRAL_RECONCILE_H
#define SALAMANDER_CENTRAL_RECONCILE_H

#include <stdbool.h>

struct central;
struct err;
struct pack_row;

int reconcile(struct central *c, bool accept_missing, struct err *e);
/* The pack is gone from the vault: its members are damaged, its row goes. */
int reconcile_absent(struct central *c, const struct pack_row *row, struct err *e);

#endif
