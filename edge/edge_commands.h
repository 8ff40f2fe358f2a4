/*
 * edge_commands.h - what an operator asks of an edge, through ctl or without a server.
 *
 * Threads: ctl's.
 */
#ifndef SALAMANDER_EDGE_EDGE_COMMANDS_H
#define SALAMANDER_EDGE_EDGE_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

struct ctl_reply;

/* A ctl_command: words[0] is the command. */
int edge_commands_run(void *edge, size_t n, const char *const *words, struct ctl_reply *r);
/* Those that only read. */
bool edge_commands_reads(const char *name);
bool edge_commands_known(const char *name);

#endif
