#include "common/dimse/recode.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/worker.h"
#include "common/os/file.h"
#include "common/os/scratch.h"
#include "common/store/store.h"

enum { SECOND_MS = 1000, JOBS_MAX = 1000 }; /* a worker is not kept for ever */

struct worker {
	struct worker *next; /* idle ones */
	pid_t pid;
	int socket;
	unsigned jobs;
};

struct recode {
	char worker[PATH_MAX], dir[PATH_MAX], memory[24], seconds[16], output[24];
	unsigned most, wall_ms;
	pthread_mutex_t mu; /* guards: */
	pthread_cond_t freed;
	struct worker *idle;
	unsigned running; /* idle ones among them */
};

int
recode_new(struct recode **out, const struct recode_config *c, struct err *e)
{
	struct recode *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(e, ERR_LOCAL, 0, "no memory for recoding");
	(void)snprintf(r->worker, sizeof(r->worker), "%s", c->worker);
	(void)snprintf(r->dir, sizeof(r->dir), "%s", c->dir);
	(void)snprintf(r->memory, sizeof(r->memory), "%llu", (unsigned long long)c->memory);
	(void)snprintf(r->output, sizeof(r->output), "%llu", (unsigned long long)c->output);
	(void)snprintf(r->seconds, sizeof(r->seconds), "%u", c->seconds);
	r->most = c->most;
	r->wall_ms = c->seconds * SECOND_MS;
	(void)pthread_mutex_init(&r->mu, NULL);
	clock_cond(&r->freed);
	*out = r;
	return 0;
}

/* --- workers --- */

static void
end_worker(struct worker *w)
{
	(void)close(w->socket);
	(void)kill(w->pid, SIGKILL);
	while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(w);
}

void
recode_free(struct recode *r)
{
	struct worker *w;

	if (!r)
		return;
	while ((w = r->idle) != NULL) {
		r->idle = w->next;
		end_worker(w);
	}
	(void)pthread_cond_destroy(&r->freed);
	(void)pthread_mutex_destroy(&r->mu);
	free(r);
}

/* It gets its socket and nothing else of ours, nor what DCMTK opened: an association whose socket
 * it had too would never end for the peer. */
static int
spawn(const struct recode *r, int socket, pid_t *pid)
{
	char *argv[] = {(char *)(uintptr_t)r->worker, (char *)(uintptr_t) "recode",
			(char *)(uintptr_t)r->memory, (char *)(uintptr_t)r->seconds,
			(char *)(uintptr_t)r->output, NULL};
	char *none[] = {NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t no, all;
	int rc;

	(void)sigemptyset(&no);
	(void)sigfillset(&all);
	(void)posix_spawn_file_actions_init(&files);
	(void)posix_spawn_file_actions_adddup2(&files, socket, STDIN_FILENO);
	(void)posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawnattr_setsigmask(&attr, &no);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	rc = posix_spawn(pid, r->worker, &files, &attr, argv, none);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&files);
	return rc;
}

static int
start_worker(const struct recode *r, struct worker **out, struct err *e)
{
	struct worker *w = calloc(1, sizeof(*w));
	int pair[2], rc;

	if (!w)
		return err_set(e, ERR_LOCAL, 0, "no memory for a worker");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		rc = errno;
		free(w);
		return err_set(e, ERR_LOCAL, rc, "a socket for a worker");
	}
	rc = spawn(r, pair[1], &w->pid);
	(void)close(pair[1]);
	if (rc) {
		(void)close(pair[0]);
		free(w);
		return err_set(e, ERR_LOCAL, rc, "start %.200s", r->worker);
	}
	w->socket = pair[0];
	*out = w;
	return 0;
}

/* An idle one, or the right to start one. */
static int
take(struct recode *r, int (*meanwhile)(void *arg, struct err *e), void *arg, struct worker **out,
     struct err *e)
{
	struct timespec until;
	int rc = 0;

	*out = NULL;
	(void)pthread_mutex_lock(&r->mu);
	while (!rc && !r->idle && r->running >= r->most) {
		clock_deadline(&until, 1000);
		if (pthread_cond_timedwait(&r->freed, &r->mu, &until) != ETIMEDOUT || !meanwhile)
			continue;
		(void)pthread_mutex_unlock(&r->mu);
		rc = meanwhile(arg, e);
		(void)pthread_mutex_lock(&r->mu);
	}
	if (!rc && r->idle) {
		*out = r->idle;
		r->idle = (*out)->next;
	} else if (!rc) {
		r->running++;
	}
	(void)pthread_mutex_unlock(&r->mu);
	if (rc || *out)
		return rc;
	rc = start_worker(r, out, e);
	if (rc) {
		(void)pthread_mutex_lock(&r->mu);
		r->running--;
		(void)pthread_cond_signal(&r->freed);
		(void)pthread_mutex_unlock(&r->mu);
	}
	return rc;
}

static void
give_back(struct recode *r, struct worker *w, bool fit)
{
	fit = fit && ++w->jobs < JOBS_MAX;
	if (!fit)
		end_worker(w);
	(void)pthread_mutex_lock(&r->mu);
	if (fit) {
		w->next = r->idle;
		r->idle = w;
	} else {
		r->running--;
	}
	(void)pthread_cond_signal(&r->freed);
	(void)pthread_mutex_unlock(&r->mu);
}

/* --- a job --- */

static int
copy_in(struct store_reader *from, int fd, struct err *e)
{
	uint64_t size = store_read_version(from)->size, at = 0;
	const void *p;
	size_t n;
	int rc = 0;

	while (!rc && at < size) {
		rc = store_read_some(from, at, &p, &n, e);
		if (!rc && n == 0)
			rc = err_set(e, ERR_CORRUPT, 0, "an object ends too early");
		if (!rc)
			rc = file_write_at(fd, p, n, at, e);
		at += n;
	}
	return rc;
}

static int
hand_over(const struct worker *w, const char *syntax, int in, int out, struct err *e)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct worker_job job;
	struct iovec v = {&job, sizeof(job)};
	struct msghdr m;
	struct cmsghdr *c;
	int files[2] = {in, out};

	memset(&job, 0, sizeof(job));
	memset(&control, 0, sizeof(control));
	memset(&m, 0, sizeof(m));
	(void)snprintf(job.syntax, sizeof(job.syntax), "%s", syntax);
	m.msg_iov = &v;
	m.msg_iovlen = 1;
	m.msg_control = control.space;
	m.msg_controllen = sizeof(control.space);
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(files));
	memcpy(CMSG_DATA(c), files, sizeof(files));
	if (sendmsg(w->socket, &m, MSG_NOSIGNAL) < 0)
		return err_set(e, ERR_PEER, errno, "the worker ended");
	return 0;
}

static int64_t
mono_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

/* A deadline of real time: a process that hangs knows no other. */
static int
wait_for(const struct recode *r, const struct worker *w, int (*meanwhile)(void *arg, struct err *e),
	 void *arg, struct worker_answer *answer, struct err *e)
{
	int64_t until = mono_ms() + r->wall_ms, left;
	struct pollfd p = {w->socket, POLLIN, 0};
	int rc = 0;

	for (;;) {
		left = until - mono_ms();
		if (left <= 0)
			return err_set(e, ERR_PEER, 0, "the worker took too long");
		if (poll(&p, 1, (int)(left < SECOND_MS ? left : SECOND_MS)) > 0)
			break;
		rc = meanwhile ? meanwhile(arg, e) : 0;
		if (rc)
			return rc;
	}
	if (recv(w->socket, answer, sizeof(*answer), 0) != (ssize_t)sizeof(*answer))
		return err_set(e, ERR_PEER, 0, "the worker ended");
	answer->why[sizeof(answer->why) - 1] = '\0';
	return 0;
}

static int
work_once(struct recode *r, const char *syntax, int (*meanwhile)(void *arg, struct err *e),
	  void *arg, int in, int out, bool *again, struct err *e)
{
	struct worker_answer answer;
	struct worker *w;
	bool used;
	int rc;

	*again = false;

	do { /* one that died while it was idle says nothing of this object */
		if (e)
			err_clear(e);
		rc = take(r, meanwhile, arg, &w, e);
		if (rc)
			return rc;
		used = w->jobs > 0;
		rc = hand_over(w, syntax, in, out, e);
		if (rc)
			give_back(r, w, false);
	} while (rc && used);
	if (rc)
		return rc;
	rc = wait_for(r, w, meanwhile, arg, &answer, e);
	*again = !rc && used && answer.failed && answer.exhausted;
	give_back(r, w, rc == 0 && !*again);
	if (!rc && answer.failed)
		rc = err_set(e, ERR_PEER, 0, "%s", answer.why);
	return rc;
}

/* What is too large beside what a worker keeps of earlier ones may fit into a fresh one. */
static int
work(struct recode *r, const char *syntax, int (*meanwhile)(void *arg, struct err *e), void *arg,
     int in, int out, struct err *e)
{
	bool again;
	int rc;

	do
		rc = work_once(r, syntax, meanwhile, arg, in, out, &again, e);
	while (again);
	return rc;
}

int
recode_run(struct recode *r, struct store_reader *from, const char *syntax,
	   int (*meanwhile)(void *arg, struct err *e), void *arg, int *fd, uint64_t *size,
	   struct err *e)
{
	int in = scratch_open(r->dir, e), out = in < 0 ? -1 : scratch_open(r->dir, e);
	int rc = out < 0 ? ERR_LOCAL : copy_in(from, in, e);

	if (!rc)
		rc = work(r, syntax, meanwhile, arg, in, out, e);
	if (!rc)
		rc = file_size(out, size, e);
	if (in >= 0)
		file_close(in);
	if (rc && out >= 0)
		file_close(out);
	*fd = rc ? -1 : out;
	return rc;
}
