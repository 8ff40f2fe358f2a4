/*
 * header_scan.h - an object's header, element by element.
 *
 * Threads: plain memory; reads the store in a short transaction.
 */
#ifndef SALAMANDER_COMMON_DIMSE_HEADER_SCAN_H
#define SALAMANDER_COMMON_DIMSE_HEADER_SCAN_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct scan_handler;
struct store;

/* Tells the handler what is before the pixels of this version. *whole: all of that. An error of the
 * store is no error here: nothing is told then. */
int header_scan(bool *whole, struct store *s, uint64_t oid, const struct scan_handler *handler,
		struct err *e);

#endif
