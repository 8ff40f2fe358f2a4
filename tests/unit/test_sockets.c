/* What connections between nodes are told, on real sockets. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/http/sockets.h"

static int
option(int fd, int name)
{
	int v = -1;
	socklen_t n = sizeof(v);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, name, &v, &n), 0);
	return v;
}

static void
sockets_prepare__DESIGN_6_ends_what_nobody_acknowledges_for_5_s(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 0;
	socklen_t n = sizeof(on);

	(void)state;
	sockets_prepare(fd, false);
	assert_int_equal(option(fd, TCP_NODELAY), 1);
	assert_int_equal(option(fd, TCP_USER_TIMEOUT), 5000);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &n), 0);
	assert_int_equal(on, 1);
	assert_true(option(fd, TCP_KEEPIDLE) < 5); /* it is asked before that is over */
	(void)close(fd);
}

static void
sockets_prepare__chooses_bbr_where_it_may_and_only_when_told_to(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
	struct sockets_state before, after;
	char name[16] = "", kept[16] = "";
	socklen_t n = sizeof(name);

	(void)state;
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n), 0);
	sockets_prepare(fd, false);
	n = sizeof(kept);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kept, &n), 0);
	assert_string_equal(kept, name);
	sockets_look(fd, &before);
	sockets_prepare(fd, true);
	sockets_look(fd, &after);
	if (setsockopt(other, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3) == 0)
		assert_true(after.steady);
	else
		assert_int_equal(after.steady, before.steady);
	(void)close(fd);
	(void)close(other);
}

static void
sockets_look__knows_how_long_there_and_back_takes(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t n = sizeof(a);
	struct sockets_state s;

	(void)state;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(l, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)(void *)&a, &n), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
	sockets_look(fd, &s);
	assert_true(s.rtt_ms >= 1 && s.rtt_ms < 5000);
	sockets_look(-1, &s);
	assert_int_equal(s.rtt_ms, 0);
	assert_false(s.steady);
	(void)close(fd);
	(void)close(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sockets_prepare__DESIGN_6_ends_what_nobody_acknowledges_for_5_s),
		cmocka_unit_test(sockets_prepare__chooses_bbr_where_it_may_and_only_when_told_to),
		cmocka_unit_test(sockets_look__knows_how_long_there_and_back_takes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
