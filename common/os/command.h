/*
 * command.h - what a person may ask of a node: tables of commands, checked before they run.
 *
 * A row says how many words a command has and which options are its own; whatever
 * else is given is a usage error, so that no mistyped word means something larger
 * ("evict UID" is not "evict"). The same check runs before a server is asked and
 * in it. Exit codes: COMMAND_*.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_OS_COMMAND_H
#define SALAMANDER_COMMON_OS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/os/ctl.h"

struct buf;
struct err;
struct json;

/* PERSON: ran, and something needs a person. */
enum { COMMAND_OK = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 2, COMMAND_PERSON = 3 };

struct asked {
	void *node;
	struct ctl_reply *r;
	const char *program;
	const char *words[CTL_WORDS]; /* the command first */
	size_t n;
	const char *options[CTL_WORDS], *values[CTL_WORDS];
	size_t n_options;
};

struct command {
	const char *name;
	unsigned min, max;   /* words, the command counted */
	const char *options; /* " --json --site= ": those that it takes; '=' : with a value */
	const char *usage;
	bool reads; /* works beside whoever holds the data lock */
	bool swaps; /* makes the store anew, or waits: runs outside of the node's `use` lock */
	int (*run)(struct asked *a);
};

const struct command *command_find(const struct command *all, size_t n_all, const char *name);
/* The row to run, *out filled but for node, r and program; NULL: *usage says what is right. */
const struct command *command_check(struct asked *out, const struct command *all, size_t n_all,
				    size_t n, const char *const *words, const char **usage);

/* The value, "" for one without, NULL when it was not given. */
const char *command_option(const struct asked *a, const char *name);
/* "20GiB", in bytes; false: no size. */
bool command_size(const char *s, uint64_t *out);
/* "3/30": the third of thirty slices. */
bool command_slice(const char *s, uint64_t *part, uint64_t *parts);
/* A line on the command's stderr, with the program's name before it. */
void command_complain(struct asked *a, const char *what);
/* Where --json was said: out begins with an array, and its writer is j; else NULL. */
struct json *command_list(const struct asked *a, struct json *j, struct buf *out);
void command_list_end(struct json *j, struct buf *out); /* NULL is fine */
int command_failed(struct asked *a, const struct err *e);
/* The same for a program that has not asked anybody yet: on stderr; returns the exit code. */
int command_die(const char *program, const struct err *e);
int command_misused(const char *program, const char *word, const char *usage);
/* Prints and frees out. */
int command_give(struct asked *a, struct buf *out, int code);
/* The same where rc is 0; else it failed, as e says. */
int command_end(struct asked *a, struct buf *out, int rc, const struct err *e, int code);

#endif
