/*
 * wan_relay - two network namespaces and a long, slow, lossy line between them.
 *
 *   wan_relay RATE DELAY_MS LOSS [QUEUE]
 *
 * RATE: bits per second each way; DELAY_MS: one way; LOSS: of packets, per million, each
 * way; QUEUE: bytes that wait in front of the line (default: what is on its way in 2 x
 * DELAY_MS, at least 64 KiB). Prints "ready PID PID": processes that hold the namespaces,
 * near 10.9.0.1 and far 10.9.0.2, for nsenter(1). Then a line of stdin is a command: "cut",
 * "mend", "show" (prints bytes and packets that went through, and packets that were dropped,
 * each way). It ends with stdin. Exit 77: not allowed here.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MTU = 1500, RING = 1 << 15, NOT_ALLOWED = 77, QUEUE_MIN = 65536 };

static const int64_t SECOND = 1000000000;

/* --- a namespace with a TUN device, held by a process of its own --- */

static int
not_allowed(const char *what)
{
	fprintf(stderr, "wan_relay: %s: %s\n", what, strerror(errno));
	return NOT_ALLOWED;
}

static void
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, text, strlen(text)) < 0)
			perror(path);
		(void)close(fd);
	}
}

/* As root a network namespace is enough; anybody else needs to be root of one of users first. */
static int
enter_namespaces(void)
{
	char map[64];

	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	(void)snprintf(map, sizeof(map), "0 %u 1", (unsigned)getuid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return -1;
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", map);
	(void)snprintf(map, sizeof(map), "0 %u 1", (unsigned)getgid());
	write_file("/proc/self/gid_map", map);
	return 0;
}

static int
up(int s, const char *name)
{
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(s, SIOCSIFFLAGS, &r);
}

static int
set_address(int s, const char *name, unsigned long what, const char *address)
{
	struct ifreq r;
	struct sockaddr_in a = {.sin_family = AF_INET};

	memset(&r, 0, sizeof(r));
	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	(void)inet_pton(AF_INET, address, &a.sin_addr);
	memcpy(&r.ifr_addr, &a, sizeof(a));
	return ioctl(s, what, &r);
}

/* The TUN device's fd, or -1. */
static int
make_device(const char *own, const char *peer)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r;

	memset(&r, 0, sizeof(r));
	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "wan");
	r.ifr_flags = IFF_TUN | IFF_NO_PI;
	if (fd < 0 || s < 0 || ioctl(fd, TUNSETIFF, &r) || up(s, "lo") ||
	    set_address(s, "wan", SIOCSIFADDR, own) ||
	    set_address(s, "wan", SIOCSIFDSTADDR, peer) || up(s, "wan")) {
		if (fd >= 0)
			(void)close(fd);
		fd = -1;
	}
	if (s >= 0)
		(void)close(s);
	return fd;
}

static int
send_fd(int to, int fd)
{
	char room[CMSG_SPACE(sizeof(int))], byte = 0;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct cmsghdr *c;

	memset(room, 0, sizeof(room));
	if (fd >= 0) {
		m.msg_control = room;
		m.msg_controllen = sizeof(room);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(to, &m, 0) == 1 ? 0 : -1;
}

static int
take_fd(int from)
{
	char room[CMSG_SPACE(sizeof(int))], byte;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = room,
			   .msg_controllen = sizeof(room)};
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(from, &m, 0) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* Forks the holder of one end; *fd: its device. */
static pid_t
hold(const char *own, const char *peer, int *fd)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		*fd = enter_namespaces() ? -1 : make_device(own, peer);
		if (*fd < 0)
			(void)not_allowed("a network namespace with a TUN device");
		(void)send_fd(pair[1], *fd);
		(void)close(STDIN_FILENO);
		(void)close(STDOUT_FILENO);
		for (;;)
			(void)pause();
	}
	(void)close(pair[1]);
	*fd = pid > 0 ? take_fd(pair[0]) : -1;
	(void)close(pair[0]);
	return pid;
}

/* --- the line --- */

struct packet {
	int64_t due;
	unsigned n;
	unsigned char bytes[MTU];
};

struct direction {
	int from, to;
	struct packet *ring; /* RING of them, in the order in which they are due */
	unsigned first, n;
	int64_t free_at; /* when the line has sent all that waits for it */
	uint64_t bytes, packets, dropped;
};

struct line {
	uint64_t rate, queue;
	int64_t delay;
	unsigned loss; /* per million */
	bool is_cut;
	uint64_t dice;
	struct direction ways[2];
};

static int64_t
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static bool
is_lost(struct line *l)
{
	l->dice ^= l->dice << 13;
	l->dice ^= l->dice >> 7;
	l->dice ^= l->dice << 17;
	return (l->dice >> 11) % 1000000 < l->loss;
}

/* Everything that waits at the device: lost, dropped because the queue is full, or on its way. */
static void
take(struct line *l, struct direction *d)
{
	int64_t t = now();
	struct packet *p;
	ssize_t n;

	while (d->n < RING) {
		p = &d->ring[(d->first + d->n) % RING];
		n = read(d->from, p->bytes, sizeof(p->bytes));
		if (n <= 0)
			return;
		if (d->free_at < t)
			d->free_at = t;
		if (l->is_cut || is_lost(l) ||
		    (uint64_t)(d->free_at - t) * l->rate / 8 / (uint64_t)SECOND + (uint64_t)n >
			    l->queue) {
			d->dropped++;
			continue;
		}
		d->free_at += (int64_t)((uint64_t)n * 8 * (uint64_t)SECOND / l->rate);
		p->n = (unsigned)n;
		p->due = d->free_at + l->delay;
		d->n++;
	}
}

static void
deliver(const struct line *l, struct direction *d)
{
	while (d->n && d->ring[d->first].due <= now()) {
		struct packet *p = &d->ring[d->first];

		if (!l->is_cut && write(d->to, p->bytes, p->n) == (ssize_t)p->n) {
			d->bytes += p->n;
			d->packets++;
		} else {
			d->dropped++;
		}
		d->first = (d->first + 1) % RING;
		d->n--;
	}
}

static bool
command(struct line *l)
{
	char text[128];
	ssize_t n = read(STDIN_FILENO, text, sizeof(text) - 1);
	const struct direction *a = &l->ways[0], *b = &l->ways[1];

	if (n <= 0)
		return false;
	text[n] = '\0';
	if (strstr(text, "cut"))
		l->is_cut = true;
	if (strstr(text, "mend"))
		l->is_cut = false;
	if (strstr(text, "show")) {
		printf("%llu %llu %llu %llu %llu %llu\n", (unsigned long long)a->bytes,
		       (unsigned long long)a->packets, (unsigned long long)a->dropped,
		       (unsigned long long)b->bytes, (unsigned long long)b->packets,
		       (unsigned long long)b->dropped);
		(void)fflush(stdout);
	}
	return true;
}

static void
run(struct line *l)
{
	struct pollfd fds[3] = {{l->ways[0].from, POLLIN, 0},
				{l->ways[1].from, POLLIN, 0},
				{STDIN_FILENO, POLLIN, 0}};
	struct timespec wait;
	int64_t due, t;
	int i;

	for (;;) {
		due = SECOND;
		t = now();
		for (i = 0; i < 2; i++)
			if (l->ways[i].n && l->ways[i].ring[l->ways[i].first].due - t < due)
				due = l->ways[i].ring[l->ways[i].first].due - t;
		wait.tv_sec = due / SECOND;
		wait.tv_nsec = due > 0 ? due % SECOND : 0;
		(void)ppoll(fds, 3, &wait, NULL);
		for (i = 0; i < 2; i++) {
			take(l, &l->ways[i]);
			deliver(l, &l->ways[i]);
		}
		if (fds[2].revents && !command(l))
			return;
	}
}

int
main(int argc, char **argv)
{
	static struct line l;
	pid_t near, far;
	int i;

	if (argc < 4) {
		fprintf(stderr, "wan_relay RATE DELAY_MS LOSS_PER_MILLION [QUEUE]\n");
		return 2;
	}
	l.rate = strtoull(argv[1], NULL, 10);
	l.delay = (int64_t)strtoull(argv[2], NULL, 10) * 1000000;
	l.loss = (unsigned)strtoul(argv[3], NULL, 10);
	l.queue = argc > 4 ? strtoull(argv[4], NULL, 10)
			   : l.rate / 8 * (uint64_t)(2 * l.delay) / (uint64_t)SECOND;
	l.queue = l.queue < QUEUE_MIN ? QUEUE_MIN : l.queue;
	l.dice = UINT64_C(88172645463325252); /* the same line each time */
	near = hold("10.9.0.1", "10.9.0.2", &l.ways[0].from);
	far = hold("10.9.0.2", "10.9.0.1", &l.ways[1].from);
	l.ways[0].to = l.ways[1].from;
	l.ways[1].to = l.ways[0].from;
	for (i = 0; i < 2; i++) {
		l.ways[i].ring = calloc(RING, sizeof(*l.ways[i].ring));
		if (!l.ways[i].ring || l.ways[i].from < 0)
			l.rate = 0;
	}
	if (l.rate) {
		printf("ready %d %d\n", (int)near, (int)far);
		(void)fflush(stdout);
		run(&l);
	}
	if (near > 0)
		(void)kill(near, SIGKILL);
	if (far > 0)
		(void)kill(far, SIGKILL);
	return l.rate ? 0 : NOT_ALLOWED;
}
