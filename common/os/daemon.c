#include "common/os/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"

enum { LOCK_PATIENCE_MS = 5000, LOCK_PAUSE_MS = 50 };

int
daemon_lock(const char *dir, struct err *e)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/lock", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, err_of_errno(errno), errno, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int sys = errno;

		(void)close(fd);
		return err_set(e, sys == EWOULDBLOCK ? ERR_CONFLICT : ERR_LOCAL, sys,
			       "%s is held by another process", path);
	}
	return fd;
}

int
daemon_lock_soon(const char *dir, struct err *e)
{
	int64_t left;
	int fd;

	for (left = LOCK_PATIENCE_MS; left > 0; left -= LOCK_PAUSE_MS) {
		fd = daemon_lock(dir, NULL);
		if (fd != ERR_CONFLICT)
			break;
		clock_sleep(clock_real(), LOCK_PAUSE_MS);
	}
	return left > 0 && fd >= 0 ? fd : daemon_lock(dir, e);
}

static void
our_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGHUP);
	(void)sigaddset(set, SIGPIPE);
	(void)sigaddset(set, SIGUSR1);
}

int
daemon_prepare(struct err *e)
{
	struct rlimit none = {0, 0};
	sigset_t set;

	our_signals(&set);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return err_set(e, ERR_LOCAL, 0, "cannot block signals");
	if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return err_set(e, ERR_LOCAL, errno, "cannot forbid core dumps");
	return 0;
}

void
daemon_ready(const char *role)
{
	(void)sd_notify(0, "READY=1");
	log_line(LOG_INFO, "ready", "role=%s", role);
}

void
daemon_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
	log_line(LOG_INFO, "stopping", "%s", "");
}

void
daemon_wait(void (*reload)(void *arg), void *arg)
{
	sigset_t set;
	int sig = 0;

	our_signals(&set);
	for (;;) {
		if (sigwait(&set, &sig))
			continue;
		if (sig == SIGTERM || sig == SIGINT || sig == SIGUSR1)
			return;
		if (sig == SIGHUP)
			reload(arg);
	}
}

int
daemon_go_on(struct err *e)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigpending(&set); /* they are blocked: daemon_prepare */
	if (!sigismember(&set, SIGTERM) && !sigismember(&set, SIGINT))
		return 0;
	return err_set(e, ERR_AGAIN, 0, "a stop was asked for");
}

void
daemon_wake(void)
{
	(void)kill(getpid(), SIGUSR1);
}

void
daemon_reload(void)
{
	(void)kill(getpid(), SIGHUP);
}
