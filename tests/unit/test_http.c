/* The HTTP server's gate, limits and deadlines, over real sockets and a clock of our own. */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/http/server.h"
#include "common/os/file.h"
#include "tests/lib/folder.h"

enum { ANSWER = 8 << 20, LARGE = 4 << 20 };
enum { RIGHT_OPEN = 1, RIGHT_SHUT = 2, TRIES = 300, STEP_MS = 100 };

static struct clock_manual now;
static struct http_server *server;
static unsigned short port;
static atomic_int handled;

static int
echo(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	(void)node;
	(void)e;
	atomic_fetch_add(&handled, 1);
	buf_put(&out->body, rq->body, rq->body_n);
	return 0;
}

static int
give_much(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	(void)node;
	(void)rq;
	(void)e;
	memset(buf_reserve(&out->body, ANSWER), 'x', ANSWER);
	return 0;
}

static int
fail_as_told(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	(void)node;
	(void)out;
	return err_set(e, (enum err_code)(-atoi(rq->rest)), 0, "told to");
}

static bool
allowed(void *node, const struct http_request *rq, unsigned right, const char **why)
{
	(void)node;
	(void)why;
	return right == RIGHT_OPEN && strcmp(rq->site, "north") == 0;
}

/* What came, and whether it broke off. */
static struct {
	atomic_int n, ended, closed;
} flow;

static void *
flow_begin(void *node, const struct http_request *rq)
{
	(void)node;
	atomic_store(&flow.n, 0);
	return strcmp(rq->site, "north") == 0 ? &flow : NULL;
}

static void
flow_more(void *state, const void *data, size_t n)
{
	(void)state;
	(void)data;
	atomic_fetch_add(&flow.n, (int)n);
}

static int
flow_end(void *state, struct http_answer *out, struct err *e)
{
	(void)state;
	(void)e;
	atomic_fetch_add(&flow.ended, 1);
	buf_printf(&out->body, "%d", atomic_load(&flow.n));
	return 0;
}

static void
flow_close(void *state)
{
	(void)state;
	atomic_fetch_add(&flow.closed, 1);
}

static const struct http_stream flowing = {flow_begin, flow_more, flow_end, flow_close};

static int
say_lane(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	(void)node;
	(void)e;
	buf_printf(&out->body, "%u", rq->lane);
	return 0;
}

static const struct http_route routes[] = {{"POST", "/echo", RIGHT_OPEN, 100000, echo, NULL},
					   {"POST", "/large", RIGHT_OPEN, LARGE, echo, NULL},
					   {"POST", "/lane", RIGHT_OPEN, 0, say_lane, NULL},
					   {"GET", "/much", RIGHT_OPEN, 0, give_much, NULL},
					   {"GET", "/fail/", RIGHT_OPEN, 0, fail_as_told, NULL},
					   {"POST", "/flow", RIGHT_OPEN, LARGE, NULL, &flowing},
					   {"POST", "/shut", RIGHT_SHUT, 100, echo, NULL}};

/* A port that is free now; another's may come between: then the next is tried. */
static int
start(unsigned max, unsigned per_address)
{
	static char text[32];
	static const char *listen_on[] = {text, NULL};
	struct http_config c = {.routes = routes,
				.n_routes = sizeof(routes) / sizeof(routes[0]),
				.allowed = allowed,
				.listen = listen_on,
				.cert = "",
				.key = "",
				.ca = "",
				.max_connections = max,
				.max_per_address = per_address,
				.header_seconds = 60,
				.min_rate = 1024,
				.clock = &now.c};
	int i, rc = -1;

	clock_manual_init(&now, 1000, 1000);
	for (i = 0; rc && i < 200; i++) {
		port = (unsigned short)(20000 + (getpid() * 7 + i) % 10000);
		(void)snprintf(text, sizeof(text), "127.0.0.1:%u", port);
		rc = http_start(&server, &c, NULL);
	}
	return rc;
}

static int
make_server(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	atomic_store(&handled, 0);
	return start(20, 20);
}

static int
drop_server(void **state)
{
	(void)state;
	http_stop(server);
	return 0;
}

static int
call(int receive_buffer)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval patience = {30, 0};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (receive_buffer)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(int));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
	return fd;
}

static void
say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int
status_of(int fd)
{
	char answer[400];
	ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);

	if (n <= 0)
		return 0;
	answer[n] = '\0';
	return atoi(answer + strlen("HTTP/1.1 "));
}

static int
ask(const char *request)
{
	int fd = call(0), status;

	say(fd, request);
	status = status_of(fd);
	(void)close(fd);
	return status;
}

/* Lets time pass in steps until the server has hung up. */
static bool
is_cut(int fd, int64_t step_ms)
{
	struct pollfd p = {fd, POLLIN, 0};
	char byte;
	int i;

	for (i = 0; i < TRIES; i++) {
		clock_manual_advance(&now, step_ms);
		if (poll(&p, 1, STEP_MS) == 1)
			return recv(fd, &byte, 1, 0) <= 0;
	}
	return false;
}

#define NORTH "Host: x\r\nSalamander-Site: north\r\n"

static void
http_gate__R24_lets_in_what_is_plain_and_named(void **state)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{"POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 2\r\n\r\nab", 200},
		{"POST /echo HTTP/1.1\r\n" NORTH "Transfer-Encoding: chunked\r\n\r\n"
		 "2\r\nab\r\n0\r\n\r\n",
		 200},
		{"POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
		 400},
		{"POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 2\r\ncontent-length: 3\r\n\r\nab",
		 400},
		{"POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 2\r\n"
		 "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		 400},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 403},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nSalamander-Site: south\r\n"
		 "Content-Length: 0\r\n\r\n",
		 403},
		{"POST /shut HTTP/1.1\r\n" NORTH "Content-Length: 0\r\n\r\n", 403},
		{"POST /echo HTTP/1.1\r\n" NORTH "Forwarded: for=x\r\nContent-Length: 0\r\n\r\n",
		 403},
		{"GET /nothing HTTP/1.1\r\n" NORTH "X-Forwarded-Proto: https\r\n\r\n", 403},
		{"GET /nothing HTTP/1.1\r\n" NORTH "via: 1.1 x\r\n\r\n", 403},
		{"GET /nothing HTTP/1.1\r\n" NORTH "\r\n", 404},
		{"GET /echo HTTP/1.1\r\n" NORTH "\r\n", 405},
		{"POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 100001\r\n\r\n", 413},
		{"GET /fail/1 HTTP/1.1\r\n" NORTH "\r\n", 503},
		{"GET /fail/2 HTTP/1.1\r\n" NORTH "\r\n", 507},
		{"GET /fail/3 HTTP/1.1\r\n" NORTH "\r\n", 404},
		{"GET /fail/4 HTTP/1.1\r\n" NORTH "\r\n", 409},
		{"GET /fail/5 HTTP/1.1\r\n" NORTH "\r\n", 500},
		{"GET /fail/6 HTTP/1.1\r\n" NORTH "\r\n", 400}};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (ask(cases[i].request) != cases[i].status)
			fail_msg("not %d: %s", cases[i].status, cases[i].request);
	assert_int_equal(atomic_load(&handled), 2);
}

/* Were the connection ended with its body unread, the caller might hear of the end only. */
static void
http_gate__R24_a_refusal_is_heard_and_the_connection_lives_on(void **state)
{
	int fd = call(0), i;

	(void)state;
	for (i = 0; i < 3; i++) {
		say(fd, "POST /shut HTTP/1.1\r\n" NORTH "Content-Length: 3\r\n\r\n");
		say(fd, "abc");
		assert_int_equal(status_of(fd), 403);
	}
	say(fd, "GET /nothing HTTP/1.1\r\n" NORTH "\r\n");
	assert_int_equal(status_of(fd), 404);
	say(fd, "POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 1\r\n\r\nx");
	assert_int_equal(status_of(fd), 200);
	assert_int_equal(atomic_load(&handled), 1);
	(void)close(fd);
}

static void
wait_until(atomic_int *what, int n)
{
	int i;

	for (i = 0; i < TRIES && atomic_load(what) < n; i++)
		(void)poll(NULL, 0, STEP_MS);
	assert_true(atomic_load(what) >= n);
}

/* A body is taken as it comes, also one that breaks off. */
static void
http_stream__R14_bytes_are_seen_before_the_body_is_whole(void **state)
{
	int fd = call(0);

	(void)state;
	say(fd, "POST /flow HTTP/1.1\r\n" NORTH "Content-Length: 10\r\n\r\n1234");
	wait_until(&flow.n, 4);
	assert_int_equal(atomic_load(&flow.ended), 0);
	say(fd, "567890");
	assert_int_equal(status_of(fd), 200);
	wait_until(&flow.closed, 1);
	assert_int_equal(atomic_load(&flow.ended), 1);
	say(fd, "POST /flow HTTP/1.1\r\n" NORTH "Content-Length: 10\r\n\r\n123");
	wait_until(&flow.n, 3);
	(void)close(fd);
	wait_until(&flow.closed, 2);
	assert_int_equal(atomic_load(&flow.ended), 1);
	assert_int_equal(ask("POST /flow HTTP/1.1\r\n" NORTH "Content-Length: 99999999\r\n\r\n"),
			 413);
	assert_int_equal(atomic_load(&flow.closed), 2);
}

static void
http_watch__a_late_header_is_cut(void **state)
{
	int silent = call(0), half = call(0);

	(void)state;
	say(half, "POST /echo HTTP/1.1\r\nHo");
	assert_true(is_cut(silent, 20000));
	assert_true(is_cut(half, 20000));
	(void)close(silent);
	(void)close(half);
}

static void
http_watch__a_body_below_the_lowest_rate_is_cut_and_a_pause_is_not(void **state)
{
	int slow = call(0), pausing = call(0);

	(void)state;
	say(pausing, "POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 4\r\n\r\nab");
	say(slow, "POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 90000\r\n\r\nab");
	clock_manual_advance(&now, 9000);
	say(pausing, "cd");
	assert_int_equal(status_of(pausing), 200);
	assert_true(is_cut(slow, 5000));
	assert_int_equal(atomic_load(&handled), 1);
	(void)close(slow);
	(void)close(pausing);
}

static void
http_watch__who_does_not_read_its_answer_is_cut(void **state)
{
	int fd = call(4096), i;
	char part[65536];
	size_t got = 0;
	ssize_t n;

	(void)state;
	say(fd, "GET /much HTTP/1.1\r\n" NORTH "\r\n");
	for (i = 0; i < 30; i++) { /* 60 s and 8192 s are its due */
		clock_manual_advance(&now, 600000);
		(void)poll(NULL, 0, STEP_MS);
	}
	while ((n = recv(fd, part, sizeof(part), 0)) > 0)
		got += (size_t)n;
	assert_true(got < ANSWER);
	(void)close(fd);
}

/* The same memory for one body after the other, of any length, at both ends. */
static void
http_client__large_bodies_arrive_whole_in_memory_that_is_used_again(void **state)
{
	static const size_t sizes[] = {3 << 20, (1 << 20) + 1, 100, LARGE, 2 << 20};
	char url[64];
	const char *urls[] = {url, NULL};
	struct http_client_config c = {.urls = urls,
				       .site = "north",
				       .cert = "",
				       .key = "",
				       .ca = "",
				       .connect_ms = 5000,
				       .max_body = LARGE};
	struct http_client *client;
	struct buf memory = BUF_INIT;
	size_t i, k;

	(void)state;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
	assert_int_equal(http_client_open(&client, &c, NULL), 0);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct http_call post = {.method = "POST", .path = "/large", .give_back = true};
		struct http_done done;

		post.body = memory;
		buf_clear(&post.body);
		for (k = 0; k < sizes[i]; k++)
			buf_put_u8(&post.body, (unsigned)((k * 7 + i) & 0xff));
		assert_int_equal(http_client_ask(client, &post, &done, NULL), 0);
		assert_int_equal(done.status, 200);
		assert_int_equal(done.body.len, sizes[i]);
		assert_int_equal(done.spent.len, sizes[i]);
		assert_memory_equal(done.body.data, done.spent.data, sizes[i]);
		buf_fini(&done.body);
		memory = done.spent;
	}
	buf_fini(&memory);
	http_client_close(client);
}

/* ERR_AGAIN 503, ERR_FULL 507, ERR_ABSENT 404: seconds go over the wire with the first two. */
static void
http_client__R12_hears_how_long_a_full_server_wants_to_be_left_alone(void **state)
{
	static const struct {
		const char *path;
		int status;
		unsigned seconds;
	} asked[] = {{"/fail/1", 503, 5}, {"/fail/3", 404, 0}, {"/fail/2", 507, 30}};
	char url[64];
	const char *urls[] = {url, NULL};
	struct http_client_config c = {.urls = urls,
				       .site = "north",
				       .cert = "",
				       .key = "",
				       .ca = "",
				       .connect_ms = 5000,
				       .max_body = LARGE};
	struct http_client *client;
	size_t i;

	(void)state;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
	assert_int_equal(http_client_open(&client, &c, NULL), 0);
	for (i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		struct http_call get = {.method = "GET"};
		struct http_done done;

		(void)snprintf(get.path, sizeof(get.path), "%s", asked[i].path);
		assert_int_equal(http_client_ask(client, &get, &done, NULL), 0);
		assert_int_equal(done.status, asked[i].status);
		assert_int_equal(done.retry_after, asked[i].seconds);
		buf_fini(&done.body);
	}
	http_client_close(client);
}

static void
http_start__bounds_connections_per_address_and_in_total(void **state)
{
	static const unsigned limits[][2] = {{10, 2}, {2, 10}};
	static const char request[] = "POST /echo HTTP/1.1\r\n" NORTH "Content-Length: 1\r\n\r\nx";
	struct pollfd p = {-1, POLLIN, 0};
	size_t i;
	int a, b;

	(void)state;
	for (i = 0; i < 2; i++) {
		http_stop(server);
		assert_int_equal(start(limits[i][0], limits[i][1]), 0);
		a = call(0);
		b = call(0);
		say(a, request);
		say(b, request);
		assert_int_equal(status_of(a), 200);
		assert_int_equal(status_of(b), 200);
		p.fd = call(0);
		say(p.fd, request);
		/* one too many is closed, or left waiting: never answered */
		assert_true(poll(&p, 1, 5 * STEP_MS) == 0 || status_of(p.fd) == 0);
		(void)close(a);
		(void)close(b);
		(void)close(p.fd);
	}
}

static void
http_check_settings__wants_tls_whole_and_addresses(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} cases[] = {{"[http]\nlisten = 127.0.0.1:80, [::1]:80\n", 0},
		     {"[http]\nlisten = 127.0.0.1:80, 0.0.0.0:80\n", 0},
		     {"[http]\nlisten = localhost:80\n", ERR_LOCAL},
		     {"[http]\nlisten = 127.0.0.1\n", ERR_LOCAL},
		     {"[tls]\ncert = a\nkey = b\n", ERR_LOCAL},
		     {"[tls]\nca = c\n", ERR_LOCAL},
		     {"[tls]\ncert = a\nkey = b\nca = c\n[http]\nlisten = 0.0.0.0:80\n", 0}};
	const struct conf_row *rows;
	char path[200];
	struct conf *c;
	size_t i, n;

	(void)state;
	rows = http_rows(&n);
	(void)snprintf(path, sizeof(path), "%s/http.conf", folder);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(file_replace(folder, "http.conf", cases[i].text,
					      strlen(cases[i].text), NULL),
				 0);
		assert_int_equal(conf_load(&c, path, rows, n, NULL), 0);
		assert_int_equal(http_check_settings(c, NULL), cases[i].rc);
		conf_free(c);
	}
}

/* R12: whose bytes these are stands in a header; what is no lane is none. */
static void
http_client__R12_names_the_lane_of_what_it_sends(void **state)
{
	static const char *const none[] = {"x", "-1", "4x", "444", "", NULL};
	char url[40], request[200], answer[400];
	const char *urls[] = {url, NULL};
	struct http_client_config c = {
		.urls = urls, .site = "north", .cert = "", .key = "", .ca = "", .archive = ""};
	struct http_client *client;
	struct http_done done;
	unsigned lane, i;
	ssize_t n;
	int fd;

	(void)state;
	c.connect_ms = 5000;
	c.max_body = ANSWER;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
	assert_int_equal(http_client_open(&client, &c, NULL), 0);
	for (lane = 0; lane < 5; lane++) {
		struct http_call post = {
			.method = "POST", .path = "/lane", .body = BUF_INIT, .lane = lane};

		assert_int_equal(http_client_ask(client, &post, &done, NULL), 0);
		assert_int_equal(done.status, 200);
		assert_int_equal(done.body.len, 1);
		assert_int_equal(done.body.data[0], '0' + lane);
		buf_fini(&done.body);
	}
	http_client_close(client);
	for (i = 0; none[i]; i++) {
		(void)snprintf(request, sizeof(request),
			       "POST /lane HTTP/1.1\r\n" NORTH "Salamander-Lane: %s\r\n"
			       "Connection: close\r\nContent-Length: 0\r\n\r\n",
			       none[i]);
		fd = call(0);
		say(fd, request);
		n = recv(fd, answer, sizeof(answer), MSG_WAITALL);
		assert_true(n > 0 && n < (ssize_t)sizeof(answer));
		assert_int_equal(answer[n - 1], '0');
		(void)close(fd);
	}
}

static void
http_start__R24_plain_http_stays_at_home(void **state)
{
	static const char *const afar[] = {"0.0.0.0:80", "[::]:80"};
	struct http_config c = {.cert = "",
				.key = "",
				.ca = "",
				.max_connections = 1,
				.max_per_address = 1,
				.header_seconds = 60,
				.min_rate = 1,
				.clock = clock_real()};
	struct http_server *s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(afar) / sizeof(afar[0]); i++) {
		const char *listen_on[] = {afar[i], NULL};
		struct err e = ERR_INIT;

		c.listen = listen_on;
		assert_int_not_equal(http_start(&s, &c, &e), 0);
		assert_non_null(strstr(e.what, "loopback"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(http_gate__R24_lets_in_what_is_plain_and_named,
						make_server, drop_server),
		cmocka_unit_test(http_start__R24_plain_http_stays_at_home),
		cmocka_unit_test_setup_teardown(
			http_gate__R24_a_refusal_is_heard_and_the_connection_lives_on, make_server,
			drop_server),
		cmocka_unit_test_setup_teardown(
			http_stream__R14_bytes_are_seen_before_the_body_is_whole, make_server,
			drop_server),
		cmocka_unit_test_setup_teardown(http_watch__a_late_header_is_cut, make_server,
						drop_server),
		cmocka_unit_test_setup_teardown(
			http_watch__a_body_below_the_lowest_rate_is_cut_and_a_pause_is_not,
			make_server, drop_server),
		cmocka_unit_test_setup_teardown(http_watch__who_does_not_read_its_answer_is_cut,
						make_server, drop_server),
		cmocka_unit_test_setup_teardown(
			http_start__bounds_connections_per_address_and_in_total, make_server,
			drop_server),
		cmocka_unit_test_setup_teardown(
			http_client__large_bodies_arrive_whole_in_memory_that_is_used_again,
			make_server, drop_server),
		cmocka_unit_test_setup_teardown(
			http_client__R12_hears_how_long_a_full_server_wants_to_be_left_alone,
			make_server, drop_server),
		cmocka_unit_test_setup_teardown(http_client__R12_names_the_lane_of_what_it_sends,
						make_server, drop_server),
		cmocka_unit_test(http_check_settings__wants_tls_whole_and_addresses),
	};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
