/*
 * daemon.h - what `serve` needs of the system: one process per data folder,
 * signals, readiness, no core dumps.
 *
 * Threads: called from main's.
 */
#ifndef SALAMANDER_COMMON_OS_DAEMON_H
#define SALAMANDER_COMMON_OS_DAEMON_H

struct err;

/* Holds <dir>/lock while the descriptor is open. ERR_CONFLICT: another process has it. */
int daemon_lock(const char *dir, struct err *e);
/* The same for `serve`: waits a few seconds for a command that is at its end. */
int daemon_lock_soon(const char *dir, struct err *e);
/*
 * Before any thread starts: blocks SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGPIPE in
 * all of them, so that no signal shortens a write (TRAPS 2); forbids core dumps, which
 * would hold patients' data (R35).
 */
int daemon_prepare(struct err *e);
/* sd_notify READY=1 and the log line "ready". */
void daemon_ready(const char *role);
/* Waits for SIGTERM, SIGINT or daemon_wake; calls reload for each SIGHUP. */
void daemon_wait(void (*reload)(void *arg), void *arg);
/* For whoever works long before daemon_wait or between two of them, asked at each step of the
 * work: 0, or ERR_AGAIN when SIGTERM or SIGINT waits to be heard. What was begun is then left as
 * after a death, to be done again. Any thread. */
int daemon_go_on(struct err *e);
/* From any thread: daemon_wait returns; or reload is called, as SIGHUP would. */
void daemon_wake(void);
void daemon_reload(void);
void daemon_stopping(void);

#endif
