/*
 * On the socket: request = u32 length, words ended by NUL; answer = pieces of
 * (kind byte, u32 length, bytes): 'o' stdout, 'p' stderr, 'd' stderr if that is a terminal,
 * 'x' one byte exit code.
 */
#include "common/os/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/file.h"

enum { BACKLOG = 16, STEP_MS = 200, STUCK_SECONDS = 5, PIECE = 5, WRITE_MAX = 4096 };

struct ctl {
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	ctl_command *command;
	void *node;
	int fd, dir_fd;
	pthread_t thread;
	_Atomic bool stopping;
	pthread_mutex_t mu;
	pthread_cond_t ended;
	unsigned running; /* guarded by mu */
};

struct ctl_reply {
	struct ctl *ctl; /* NULL: local */
	int fd;
	bool gone, drawn; /* drawn: the terminal's last line is one of ctl_draw */
};

static bool
write_all(int fd, const void *p, size_t n)
{
	const char *at = p;
	ssize_t did;

	while (n) {
		did = send(fd, at, n, MSG_NOSIGNAL);
		if (did < 0 && errno == EINTR)
			continue;
		if (did <= 0)
			return false;
		at += did;
		n -= (size_t)did;
	}
	return true;
}

static bool
read_all(int fd, void *p, size_t n)
{
	char *at = p;
	ssize_t did;

	while (n) {
		did = recv(fd, at, n, 0);
		if (did < 0 && errno == EINTR)
			continue;
		if (did <= 0)
			return false;
		at += did;
		n -= (size_t)did;
	}
	return true;
}

static bool
put_piece(struct ctl_reply *r, char kind, const void *p, size_t n)
{
	unsigned char head[PIECE];

	head[0] = (unsigned char)kind;
	buf_set_u32(head + 1, (uint32_t)n);
	if (!r->gone)
		r->gone = !write_all(r->fd, head, sizeof(head)) || !write_all(r->fd, p, n);
	return !r->gone;
}

static bool
put_drawn(struct ctl_reply *r, const char *text)
{
	if (r->ctl)
		return put_piece(r, 'd', text, strlen(text));
	return !isatty(STDERR_FILENO) || fputs(text, stderr) >= 0;
}

static void
end_drawn(struct ctl_reply *r)
{
	if (r->drawn)
		(void)put_drawn(r, "\n");
	r->drawn = false;
}

bool
ctl_draw(struct ctl_reply *r, const char *line)
{
	if (!r)
		return true;
	r->drawn = true;
	return put_drawn(r, "\r") && put_drawn(r, line);
}

bool
ctl_out(struct ctl_reply *r, const char *text, size_t n)
{
	if (!r || n == 0) /* an empty text may be NULL */
		return true;
	end_drawn(r);
	if (!r->ctl)
		return fwrite(text, 1, n, stdout) == n;
	return put_piece(r, 'o', text, n);
}

bool
ctl_progress(struct ctl_reply *r, const char *text)
{
	if (!r)
		return true;
	end_drawn(r);
	if (!r->ctl)
		return fputs(text, stderr) >= 0;
	return put_piece(r, 'p', text, strlen(text));
}

bool
ctl_stopping(const struct ctl_reply *r)
{
	return r && (r->gone || (r->ctl && atomic_load(&r->ctl->stopping)));
}

/* --- the serving end --- */

static void
serve_one(struct ctl *c, int fd)
{
	struct ctl_reply r = {.ctl = c, .fd = fd};
	const char *words[CTL_WORDS];
	unsigned char head[4], code;
	char *text = NULL;
	size_t n = 0, at = 0, size;

	if (!read_all(fd, head, sizeof(head)))
		return;
	size = buf_get_u32(head);
	if (size == 0 || size > CTL_REQUEST_MAX)
		return;
	text = malloc(size + 1);
	if (text && read_all(fd, text, size)) {
		text[size] = '\0';
		for (; at < size && n < CTL_WORDS; at += strlen(text + at) + 1)
			words[n++] = text + at;
		if (n) {
			code = (unsigned char)c->command(c->node, n, words, &r);
			end_drawn(&r);
			(void)put_piece(&r, 'x', &code, 1);
		}
	}
	free(text);
}

struct visit {
	struct ctl *c;
	int fd;
};

static void *
visitor(void *arg)
{
	struct visit *v = arg;
	struct ctl *c = v->c;

	serve_one(c, v->fd);
	(void)close(v->fd);
	free(v);
	(void)pthread_mutex_lock(&c->mu);
	c->running--;
	(void)pthread_cond_signal(&c->ended);
	(void)pthread_mutex_unlock(&c->mu);
	return NULL;
}

static void
welcome(struct ctl *c, int fd)
{
	struct timeval stuck = {STUCK_SECONDS, 0};
	struct visit *v = malloc(sizeof(*v));
	pthread_t t;

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stuck, sizeof(stuck));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stuck, sizeof(stuck));
	if (v) {
		v->c = c;
		v->fd = fd;
		(void)pthread_mutex_lock(&c->mu);
		c->running++;
		(void)pthread_mutex_unlock(&c->mu);
		if (!pthread_create(&t, NULL, visitor, v)) {
			(void)pthread_detach(t);
			return;
		}
		(void)pthread_mutex_lock(&c->mu);
		c->running--;
		(void)pthread_mutex_unlock(&c->mu);
	}
	free(v);
	(void)close(fd);
}

static void *
listen_loop(void *arg)
{
	struct ctl *c = arg;
	struct pollfd p = {c->fd, POLLIN, 0};
	int fd;

	while (!atomic_load(&c->stopping)) {
		if (poll(&p, 1, STEP_MS) <= 0)
			continue;
		fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			welcome(c, fd);
	}
	return NULL;
}

/* By way of the folder's descriptor: a socket's name holds 107 bytes, a path many more. */
static int
address_of(const char *dir, struct sockaddr_un *out, int *dir_fd, struct err *e)
{
	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	*dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir_fd < 0)
		return errno == ENOENT ? ERR_ABSENT
				       : err_set(e, ERR_LOCAL, errno, "cannot open %s", dir);
	(void)snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/ctl", *dir_fd);
	return 0;
}

int
ctl_start(struct ctl **out, const char *dir, ctl_command *command, void *node, struct err *e)
{
	struct sockaddr_un a;
	struct ctl *c;
	int dir_fd, rc = address_of(dir, &a, &dir_fd, e);

	if (rc)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c) {
		(void)close(dir_fd);
		return err_set(e, ERR_LOCAL, 0, "no memory for the control socket");
	}
	c->dir_fd = dir_fd;
	c->command = command;
	c->node = node;
	strcpy(c->path, a.sun_path);
	(void)pthread_mutex_init(&c->mu, NULL);
	(void)pthread_cond_init(&c->ended, NULL);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)unlink(c->path); /* the data lock is ours: nobody else's socket lies here */
	if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&a, sizeof(a)) || chmod(c->path, 0600) ||
	    listen(c->fd, BACKLOG) || pthread_create(&c->thread, NULL, listen_loop, c)) {
		rc = err_set(e, ERR_LOCAL, errno, "cannot open %s/ctl", dir);
		if (c->fd >= 0)
			(void)close(c->fd);
		(void)close(dir_fd);
		free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void
ctl_stop(struct ctl *c)
{
	if (!c)
		return;
	atomic_store(&c->stopping, true);
	(void)pthread_join(c->thread, NULL);
	(void)unlink(c->path);
	(void)close(c->fd);
	(void)close(c->dir_fd);
	(void)pthread_mutex_lock(&c->mu);
	while (c->running)
		(void)pthread_cond_wait(&c->ended, &c->mu);
	(void)pthread_mutex_unlock(&c->mu);
	(void)pthread_mutex_destroy(&c->mu);
	(void)pthread_cond_destroy(&c->ended);
	free(c);
}

/* --- the asking end --- */

struct printing {
	int fd;
	struct buf *to;	    /* NULL: stdout and stderr */
	struct buf pending; /* for stdout */
	size_t written;	    /* of pending */
};

static bool
print_some(struct printing *p, size_t max)
{
	size_t n = p->pending.len - p->written;
	ssize_t did = write(STDOUT_FILENO, p->pending.data + p->written, n < max ? n : max);

	if (did < 0)
		return errno == EINTR || errno == EAGAIN;
	p->written += (size_t)did;
	if (p->written == p->pending.len) {
		buf_clear(&p->pending);
		p->written = 0;
	}
	return true;
}

/*
 * Until the server has said more. A reader of ours that pauses (`loss | less`) holds up
 * nobody but itself: what it has not taken waits here, not in the server.
 */
static bool
more(struct printing *p)
{
	struct pollfd on[2] = {{p->fd, POLLIN, 0}, {-1, POLLOUT, 0}};

	do {
		on[1].fd = p->pending.len ? STDOUT_FILENO : -1;
		if (poll(on, 2, -1) < 0) {
			if (errno != EINTR)
				return false;
			continue;
		}
		if (on[1].revents && !print_some(p, WRITE_MAX))
			return false;
	} while (!on[0].revents);
	return true;
}

static bool
take(struct printing *p, void *to, size_t n)
{
	char *at = to;
	ssize_t did;

	while (n) {
		if (!more(p))
			return false;
		did = recv(p->fd, at, n, 0);
		if (did < 0 && errno == EINTR)
			continue;
		if (did <= 0)
			return false;
		at += did;
		n -= (size_t)did;
	}
	return true;
}

static int
answer_of(struct printing *p, int *code, struct err *e)
{
	unsigned char head[PIECE];
	char part[WRITE_MAX];
	size_t left, n;

	for (;;) {
		if (!take(p, head, sizeof(head)))
			return err_set(e, ERR_LOCAL, 0, "the server ended before its answer");
		for (left = buf_get_u32(head + 1); left; left -= n) {
			n = left < sizeof(part) ? left : sizeof(part);
			if (!take(p, part, n))
				return err_set(e, ERR_LOCAL, 0, "the server ended in its answer");
			if (head[0] == 'x') {
				*code = (unsigned char)part[0];
				return 0;
			}
			if (head[0] == 'o')
				buf_put(p->to ? p->to : &p->pending, part, n);
			else if (!p->to && (head[0] == 'p' || isatty(STDERR_FILENO)))
				(void)fwrite(part, 1, n, stderr);
		}
		if (buf_failed(&p->pending))
			return err_set(e, ERR_LOCAL, 0, "no memory for an answer");
	}
}

static int
print_answer(int fd, struct buf *out, int *code, struct err *e)
{
	struct printing p = {.fd = fd, .to = out, .pending = BUF_INIT};
	int rc = answer_of(&p, code, e);

	while (!rc && p.pending.len)
		if (!print_some(&p, p.pending.len))
			rc = err_set(e, ERR_LOCAL, errno, "cannot write the answer");
	buf_fini(&p.pending);
	return rc;
}

int
ctl_ask(const char *dir, size_t n, const char *const *words, struct buf *out, int *code,
	struct err *e)
{
	struct buf request = BUF_INIT;
	struct sockaddr_un a;
	size_t i;
	int fd, dir_fd, rc = address_of(dir, &a, &dir_fd, e);

	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		(void)close(dir_fd);
		return err_set(e, ERR_LOCAL, errno, "no socket");
	}
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		rc = errno == ENOENT || errno == ECONNREFUSED
			     ? ERR_ABSENT
			     : err_set(e, ERR_LOCAL, errno, "cannot reach %s/ctl", dir);
		(void)close(fd);
		(void)close(dir_fd);
		return rc;
	}
	buf_put_u32(&request, 0);
	for (i = 0; i < n; i++)
		buf_put(&request, words[i], strlen(words[i]) + 1);
	if (buf_failed(&request)) {
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a command");
	} else {
		buf_set_u32(request.data, (uint32_t)(request.len - 4));
		rc = write_all(fd, request.data, request.len)
			     ? print_answer(fd, out, code, e)
			     : err_set(e, ERR_LOCAL, errno, "cannot write to %s/ctl", dir);
	}
	buf_fini(&request);
	(void)close(fd);
	(void)close(dir_fd);
	return rc;
}

int
ctl_local(ctl_command *command, void *node, size_t n, const char *const *words)
{
	struct ctl_reply r = {.fd = -1};
	int code = command(node, n, words, &r);

	end_drawn(&r);
	return code;
}
