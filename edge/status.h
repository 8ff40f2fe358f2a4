/*
 * status.h - what an operator sees, read beside a running server.
 */
#ifndef SALAMANDER_EDGE_STATUS_H
#define SALAMANDER_EDGE_STATUS_H

#include <stdbool.h>

/* Prints to stdout; returns the exit code (3: something needs a person). */
int status_print(const char *conf_path, bool json);

#endif
