#include "tests/lib/request.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/viewer.h"

void
request_item(struct buf *out, unsigned char type, const void *p, size_t n)
{
	buf_put_u8(out, type);
	buf_put_u8(out, 0);
	buf_put_u8(out, (unsigned char)(n >> 8));
	buf_put_u8(out, (unsigned char)n);
	buf_put(out, p, n);
}

void
request_build(struct buf *out, const char *calling, const char *sop_class, unsigned syntaxes,
	      unsigned char type, const struct buf *more)
{
	static const char application[] = "1.2.840.10008.3.1.1.1";
	struct buf body = BUF_INIT, context = BUF_INIT, user = BUF_INIT;
	char titles[33];
	unsigned i;

	(void)snprintf(titles, sizeof(titles), "%-16s%-16s", "NODE", calling);
	buf_put(&body, "\0\1\0\0", 4);
	buf_put(&body, titles, 32);
	for (i = 0; i < 32; i++)
		buf_put_u8(&body, 0);
	request_item(&body, 0x10, application, sizeof(application) - 1);
	buf_put(&context, "\1\0\0\0", 4);
	request_item(&context, 0x30, sop_class, strlen(sop_class));
	for (i = 0; i < syntaxes; i++)
		request_item(&context, 0x40, EXPLICIT, sizeof(EXPLICIT) - 1);
	request_item(&body, 0x20, context.data, context.len);
	request_item(&user, 0x51, "\0\1\0\0", 4);
	request_item(&user, 0x52, "1.2.3", 5);
	if (more)
		request_item(&user, type, more->data, more->len);
	request_item(&body, 0x50, user.data, user.len);
	buf_put(out, "\1\0", 2);
	buf_put_be32(out, (uint32_t)body.len);
	buf_put(out, body.data, body.len);
	buf_fini(&body);
	buf_fini(&context);
	buf_fini(&user);
}

int
request_connect(unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

size_t
request_send(const struct node *n, const struct buf *rq, unsigned char out[1024])
{
	int fd = request_connect(n->port);
	ssize_t got;

	memset(out, 0, 1024);
	assert_int_equal(send(fd, rq->data, rq->len, 0), rq->len);
	got = recv(fd, out, 1024, 0);
	assert_true(got >= 0);
	(void)close(fd);
	return (size_t)got;
}
