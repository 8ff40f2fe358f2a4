/*
 * ctl.h - commands to a running `serve` through <data>/ctl, a Unix socket of its owner.
 *
 * A request is a list of words; the answer is text as it comes (what a person
 * waits for: progress, drawn on a terminal only), then an exit code. One thread per command.
 * Threads: start and stop from one; the call-back runs in threads of its own.
 */
#ifndef SALAMANDER_COMMON_OS_CTL_H
#define SALAMANDER_COMMON_OS_CTL_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct ctl;	  /* opaque: the serving end  */
struct ctl_reply; /* opaque: one command's way back */
struct err;

enum { CTL_WORDS = 32, CTL_REQUEST_MAX = 65536 };

/* Text for the command's stdout, and for its stderr (progress); false: nobody listens any more.
 * A reply of NULL goes nowhere. */
bool ctl_out(struct ctl_reply *r, const char *text, size_t n);
bool ctl_progress(struct ctl_reply *r, const char *text);
/* One line that takes the place of the one drawn before; nothing where stderr is no terminal,
 * such as a timer's journal. */
bool ctl_draw(struct ctl_reply *r, const char *line);
/* true once the node stops: long commands end early. */
bool ctl_stopping(const struct ctl_reply *r);

typedef int ctl_command(void *node, size_t n, const char *const *words, struct ctl_reply *r);

/* Takes over a socket that a death left. command returns the exit code. */
int ctl_start(struct ctl **out, const char *dir, ctl_command *command, void *node, struct err *e);
/* No new commands; waits for those under way. NULL is fine. */
void ctl_stop(struct ctl *c);

/*
 * The asking end: prints what comes to stdout and stderr, or into *out if it is not
 * NULL. ERR_ABSENT: nobody serves this folder. *code: the command's exit code.
 */
int ctl_ask(const char *dir, size_t n, const char *const *words, struct buf *out, int *code,
	    struct err *e);

/* A command without a server: what ctl_out gets goes to stdout. */
int ctl_local(ctl_command *command, void *node, size_t n, const char *const *words);

#endif
