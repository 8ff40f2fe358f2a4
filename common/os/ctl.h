/*
 * ctl.h - how a command speaks to the running node: the socket <data>/ctl.
 *
 * One connection, one command. Request: one line of JSON
 *   {"command":"evict","args":["--study","1.2.3"]}
 * Answer: any number of {"progress":"..."} lines and a last
 *   {"exit":0,"text":"..."}
 * The socket is 0600: who may write it may command the node.
 *
 * Promise: a socket left behind by a node that died is replaced; one that
 * answers is never taken over. A client gets either the last line or an
 * error, never half of an answer.
 * Owns <data>/ctl; the caller holds <data>/lock, so two servers never race.
 * Threads: one accepts, one per running command (at most max_commands);
 * handlers run on these and may block.
 */
#ifndef SALAMANDER_COMMON_OS_CTL_H
#define SALAMANDER_COMMON_OS_CTL_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct ctl;	    /* opaque: the server                    */
struct ctl_request; /* opaque: lives as long as its handler  */
struct err;

enum {
	CTL_LINE_MAX = 65536, /* bytes of a request; arguments are short */
	CTL_ARGS_MAX = 64,
	CTL_COMMANDS = 8 /* running at once, by default: people, not programs, type them */
};

struct ctl_command {
	const char *name;
	/* Returns the exit code of the command; what a person is to read goes into text. */
	int (*run)(void *arg, struct ctl_request *rq, struct buf *text);
};

struct ctl_config {
	const char *dir;		    /* the data folder                              */
	const struct ctl_command *commands; /* ends with name NULL; must outlive the server */
	void *arg;			    /* handed to run                                */
	unsigned max_commands;		    /* 0 = CTL_COMMANDS                             */
	unsigned read_ms;		    /* a client has this long to send its line; 0 = 5,000 */
};

/* ERR_CONFLICT when another server answers on the socket. */
int ctl_open(struct ctl **out, const struct ctl_config *cfg, struct err *e);
/* Tells running handlers to end (ctl_going_on), waits for them, removes the socket. NULL is fine. */
void ctl_close(struct ctl *c);

/* For handlers. */
size_t ctl_argc(const struct ctl_request *rq);
const char *ctl_arg(const struct ctl_request *rq, size_t i); /* NULL past the end */
bool ctl_has_flag(const struct ctl_request *rq, const char *flag);
/* The argument behind flag, or NULL. */
const char *ctl_value(const struct ctl_request *rq, const char *flag);
/* Sends one progress line. false: nobody reads any more (the command may go on or stop). */
bool ctl_progress(struct ctl_request *rq, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* false once the server closes: a long command returns within a second or so. */
bool ctl_going_on(const struct ctl_request *rq);

/*
 * The client. ERR_ABSENT: no server is running there (the command does its
 * work itself under the data lock). ERR_PEER: the server ended before its
 * answer. Otherwise 0, and *exit_code and text are the command's.
 */
int ctl_call(const char *dir, const char *command, const char *const *args, size_t n_args,
	     void (*progress)(void *arg, const char *text), void *progress_arg, int *exit_code,
	     struct buf *text, struct err *e);

#endif
