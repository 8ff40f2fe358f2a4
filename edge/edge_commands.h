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
/* NULL, or what is wrong with the words; *reads: it works beside whoever holds the lock. */
const char *edge_commands_wrong(size_t n, const char *const *words, bool *reads);

#endif
