/*
 * ca_commands.h - what an operator decides about the archive's CA (R25).
 *
 * Each change makes a recovery kit before it counts: one of before would bring back what
 * was given up.
 * Threads: as central_commands.
 */
#ifndef SALAMANDER_CENTRAL_CA_COMMANDS_H
#define SALAMANDER_CENTRAL_CA_COMMANDS_H

struct asked;
struct buf;
struct central;
struct conf;
struct err;

extern const char ca_commands_usage[];

int ca_commands_ca(struct asked *a);
/* The files that [tls] names, or the archive's own, as they lie there now. */
int ca_commands_check(struct central *c, const struct conf *conf, struct err *e);
/* The sites that the operator's file of CAs does not cover any more, one line each. */
int ca_commands_uncovered(struct central *c, const struct conf *conf, struct buf *out,
			  struct err *e);

#endif
