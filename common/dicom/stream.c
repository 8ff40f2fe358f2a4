#include "common/dicom/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dicom/tls.h"

enum { RECORD = 16384 };

long
stream_now(void)
{
	return (long)clock_mono(clock_real());
}

/* -1: for ever; what has passed is 0. */
static bool
ready(const struct stream *s, short events, long ms)
{
	struct pollfd p = {s->fd, events, 0};

	return poll(&p, 1, (int)ms) > 0;
}

static long
left_ms(const struct stream *s)
{
	long left = s->deadline - stream_now();

	if (s->deadline == 0)
		return -1;
	return left > 0 ? left : 0;
}

/* --- TLS --- */

/* What ended the handshake. */
static int
unshaken(const struct stream *s, int sys, struct err *e)
{
	if (sys == ETIMEDOUT)
		return err_set(e, ERR_AGAIN, 0, "TLS: nothing came in time");
	if (tls_why(s->tls)[0])
		return err_set(e, ERR_CONFLICT, 0, "TLS: %s", tls_why(s->tls));
	return err_set(e, ERR_ABSENT, sys, "TLS: it hung up");
}

static int
shake_hands(struct stream *s, struct err *e)
{
	while (tls_shake(s->tls) != 1) {
		if (errno != EAGAIN)
			return unshaken(s, errno, e);
		if (!ready(s, tls_wants(s->tls), left_ms(s)))
			return unshaken(s, ETIMEDOUT, e);
	}
	return 0;
}

int
stream_secure(struct stream *s, struct tls *t, bool server, const char *name, struct err *e)
{
	int rc = tls_begin(&s->tls, t, s->fd, server, e);

	if (rc)
		return rc;
	rc = shake_hands(s, e);
	if (!rc && name && !tls_bears(s->tls, name))
		rc = err_set(e, ERR_CONFLICT, 0, "TLS: certificate %.60s (%.60s) is not of %.40s",
			     tls_who(s->tls)->subject, tls_who(s->tls)->names, name);
	if (rc)
		tls_refuse(s->tls);
	return rc;
}

void
stream_bye(struct stream *s)
{
	if (s->tls)
		tls_bye(s->tls);
}

void
stream_fini(struct stream *s)
{
	tls_end(s->tls);
	s->tls = NULL;
}

/* Records carry other things than data: only what is read out of them counts. */
static bool
decrypts(struct stream *s, long ms)
{
	long until = ms < 0 ? -1 : stream_now() + ms, left;

	while (!tls_readable(s->tls)) {
		left = until < 0 ? -1 : until - stream_now();
		if (!ready(s, tls_wants(s->tls), until < 0 || left > 0 ? left : 0))
			return false;
	}
	return true;
}

/* One record, the head before the rest: as sendmsg. */
static ssize_t
encrypt(struct stream *s, const char *head, size_t n_head, const char *p, size_t n)
{
	char record[RECORD];
	size_t more = n < sizeof(record) - n_head ? n : sizeof(record) - n_head;

	if (n_head == 0)
		return tls_write(s->tls, p, n);
	memcpy(record, head, n_head);
	memcpy(record + n_head, p, more);
	return tls_write(s->tls, record, n_head + more);
}

/* --- both --- */

bool
stream_comes_in(struct stream *s, long ms)
{
	long left = left_ms(s);

	if (left < 0 || (ms >= 0 && ms < left))
		left = ms;
	return s->tls ? decrypts(s, left) : ready(s, POLLIN, left);
}

ssize_t
stream_receive(struct stream *s, void *p, size_t n)
{
	for (;;) {
		ssize_t k = s->tls ? tls_read(s->tls, p, n) : recv(s->fd, p, n, MSG_DONTWAIT);

		if (k >= 0 || (errno != EAGAIN && errno != EINTR))
			return k;
		if (errno == EAGAIN && !ready(s, s->tls ? tls_wants(s->tls) : POLLIN, left_ms(s))) {
			errno = ETIMEDOUT;
			return -1;
		}
	}
}

static ssize_t
send_some(struct stream *s, const char *head, size_t n_head, const char *p, size_t n, bool more)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
	struct iovec v[2] = {{(char *)(uintptr_t)head, n_head}, {(char *)(uintptr_t)p, n}};
	struct msghdr m = {.msg_iov = n_head ? v : v + 1, .msg_iovlen = n_head ? 2 : 1};

	return s->tls ? encrypt(s, head, n_head, p, n) : sendmsg(s->fd, &m, flags);
}

bool
stream_send(struct stream *s, const void *head, size_t n_head, const void *p, size_t n, bool more)
{
	size_t done = 0, all = n_head + n;

	while (done < all) {
		size_t at = done < n_head ? done : n_head;
		ssize_t k = send_some(s, (const char *)head + at, n_head - at,
				      (const char *)p + (done - at), n - (done - at), more);

		if (k > 0) {
			done += (size_t)k;
		} else if (k < 0 && errno != EAGAIN && errno != EINTR) {
			return false;
		} else if (!ready(s, s->tls ? tls_wants(s->tls) : POLLOUT, s->patience)) {
			errno = ETIMEDOUT;
			return false;
		}
	}
	return true;
}

void
stream_shout(struct stream *s, const void *p, size_t n)
{
	if (s->tls)
		(void)tls_write(s->tls, p, n);
	else
		(void)send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}
