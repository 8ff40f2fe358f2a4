/*
 * words.h - a command line, read by argp, as the words that ctl.h carries.
 *
 * The command stands first, wherever its options stood; an option of the program's own
 * table goes on as --name and, where it has one, its value: command.h says which command
 * takes which.
 * Errors: argp_error, which ends the program (usage).
 * Threads: none of its own; for main(), before any other.
 */
#ifndef SALAMANDER_COMMON_OS_WORDS_H
#define SALAMANDER_COMMON_OS_WORDS_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/os/ctl.h"

enum { WORDS_NAME = 32 };

struct words {
	const char *v[CTL_WORDS]; /* borrowed of argv, and of names */
	size_t n;
	bool commanded; /* v[0] is the command */
	char names[CTL_WORDS][WORDS_NAME];
};

/* true when the command line is this command and nothing else. */
bool words_are(const struct words *w, const char *command);

void words_add(struct words *w, const char *word, struct argp_state *state);
/* A word that is no option. */
void words_argument(struct words *w, const char *word, struct argp_state *state);
/* ARGP_ERR_UNKNOWN: the table has no such key. */
error_t words_option(struct words *w, const struct argp_option *table, int key, const char *value,
		     struct argp_state *state);

#endif
