/*
 * refill_said.h - what came of a refill, in words: for whoever asked for it, here or at central.
 *
 * Threads: any.
 */
#ifndef SALAMANDER_EDGE_REFILL_SAID_H
#define SALAMANDER_EDGE_REFILL_SAID_H

#include <stddef.h>

struct refill_result;

/* A line without its end; numbers, never a value (R35). */
void refill_said(char *out, size_t size, const struct refill_result *r);

#endif
