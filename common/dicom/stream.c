#include "common/dicom/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

long
stream_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
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

bool
stream_comes_in(struct stream *s, long ms)
{
	long left = left_ms(s);

	return ready(s, POLLIN, left >= 0 && (ms < 0 || left < ms) ? left : ms);
}

ssize_t
stream_receive(struct stream *s, void *p, size_t n)
{
	for (;;) {
		ssize_t k = recv(s->fd, p, n, MSG_DONTWAIT);

		if (k >= 0 || (errno != EAGAIN && errno != EINTR))
			return k;
		if (errno == EAGAIN && !ready(s, POLLIN, left_ms(s))) {
			errno = ETIMEDOUT;
			return -1;
		}
	}
}

bool
stream_send(struct stream *s, const void *head, size_t n_head, const void *p, size_t n)
{
	size_t done = 0, all = n_head + n;

	while (done < all) {
		size_t at = done < n_head ? done : n_head;
		struct iovec v[2] = {
			{(char *)(uintptr_t)head + at, n_head - at},
			{(char *)(uintptr_t)p + (done - at), n - (done - at)},
		};
		struct msghdr m = {.msg_iov = at < n_head ? v : v + 1,
				   .msg_iovlen = at < n_head ? 2 : 1};
		ssize_t k = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (k > 0) {
			done += (size_t)k;
		} else if (k < 0 && errno != EAGAIN && errno != EINTR) {
			return false;
		} else if (!ready(s, POLLOUT, s->patience)) {
			errno = ETIMEDOUT;
			return false;
		}
	}
	return true;
}

void
stream_shout(struct stream *s, const void *p, size_t n)
{
	(void)send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}
