/*
 * differences.h - versions that are not the first of their UID (R3), for a person.
 *
 * One line per study, source and kind, with the attributes that differ from the
 * version that was there first; each instance on request. What differs is found
 * by reading both again; where the bytes are not here it is left open.
 * Threads: any.
 */
#ifndef SALAMANDER_COMMON_STORE_DIFFERENCES_H
#define SALAMANDER_COMMON_STORE_DIFFERENCES_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct err;
struct store;

/* *conflicts: UIDs in conflict. */
int differences_print(struct store *s, bool instances, bool json, struct buf *out,
		      uint64_t *conflicts, struct err *e);

#endif
