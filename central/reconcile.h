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
#include <stddef.h>
#include <stdint.h>

struct central;
struct err;
struct pack_row;

int reconcile(struct central *c, bool accept_missing, bool rebuilding, struct err *e);
/* Packs whose files are gone: refused when they are too many, unless accepted; else a new
 * epoch, and their members are damaged. *lost: members. */
int reconcile_missing(struct central *c, bool accept, uint64_t *lost, struct err *e);
/* These packs are gone: their members are damaged, their rows go. rows are sorted. */
int reconcile_absent(struct central *c, struct pack_row *rows, size_t n, struct err *e);

#endif
