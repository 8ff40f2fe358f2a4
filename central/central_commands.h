/*
 * central_commands.h - what an operator asks of central, through ctl or without a server.
 *
 * Threads: ctl's; each holds central's `use` lock for reading, so that a rebuild
 * waits for it.
 */
#ifndef SALAMANDER_CENTRAL_CENTRAL_COMMANDS_H
#define SALAMANDER_CENTRAL_CENTRAL_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

struct ctl_reply;

/* A ctl_command: words[0] is the command. */
int central_commands_run(void *central, size_t n, const char *const *words, struct ctl_reply *r);
/* NULL, or what is wrong with the words; *reads: it works beside whoever holds the lock. */
const char *central_commands_wrong(size_t n, const char *const *words, bool *reads);

#endif
