#include "common/http/sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

/* As the kernel gives it; <netinet/tcp.h> ends before tcpi_min_rtt. */
struct info {
	struct tcp_info known;
	uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
	uint32_t segs_out, segs_in, notsent_bytes, min_rtt; /* us */
};

enum { KEEP_IDLE_S = 3, KEEP_INTERVAL_S = 1 };

void
sockets_prepare(int fd, bool own_control)
{
	int one = 1, idle = KEEP_IDLE_S, interval = KEEP_INTERVAL_S;
	unsigned ms = SOCKETS_DEAD_MS;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	/* An answer that is waited for is nothing that could be acknowledged: ask. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	if (own_control)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
}

void
sockets_look(int fd, struct sockets_state *out)
{
	char name[16] = "";
	struct info info;
	socklen_t n = sizeof(name) - 1;

	memset(out, 0, sizeof(*out));
	memset(&info, 0, sizeof(info));
	if (!getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n))
		out->steady = strncmp(name, "bbr", 3) == 0;
	n = sizeof(info);
	if (!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) &&
	    n >= offsetof(struct info, min_rtt) + sizeof(info.min_rtt))
		out->rtt_ms = (info.min_rtt + 999) / 1000;
}
