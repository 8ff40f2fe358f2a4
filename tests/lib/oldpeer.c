#include "tests/lib/oldpeer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "central/intake.h"
#include "common/base/buf.h"
#include "common/http/server.h"

enum { ROUTES_MAX = 64, NOT_FOUND = 404, NO_MESSAGE = 0 };

/* The calls of version 1, and the last field of their messages then. Never changed. */
static const struct first {
	const char *method, *path;
	unsigned request, answer;
} first[] = {{"POST", "/sync/v1/hello", 11, 12},
	     {"POST", "/sync/v1/ledger", 4, 2},
	     {"POST", "/sync/v1/holdings", 3, 3},
	     {"POST", "/sync/v1/release", 1, 1},
	     {"HEAD", "/sync/v1/packs/", NO_MESSAGE, NO_MESSAGE},
	     {"PATCH", "/sync/v1/packs/", NO_MESSAGE, 6},
	     {"DELETE", "/sync/v1/packs/", NO_MESSAGE, NO_MESSAGE},
	     {"GET", "/sync/v1/packs/", NO_MESSAGE, NO_MESSAGE},
	     {"POST", "/sync/v1/refill", 4, 4},
	     {"GET", "/sync/v1/objects/", NO_MESSAGE, NO_MESSAGE},
	     {"POST", "/sync/v1/renew", 1, 3}};
enum { N_FIRST = sizeof(first) / sizeof(first[0]) };

/* Field 4000, a string. */
static const unsigned char from_the_future[] = {0x82, 0xfa, 0x01, 4, 'n', 'e', 'w', '!'};

static uint64_t
varint(const unsigned char *p, size_t n, size_t *at)
{
	uint64_t v = 0;
	unsigned shift = 0;

	for (; *at < n && shift < 64; shift += 7) {
		v |= (uint64_t)(p[*at] & 0x7f) << shift;
		if (!(p[(*at)++] & 0x80))
			break;
	}
	return v;
}

void
oldpeer_reduce(struct buf *out, const unsigned char *p, size_t n, unsigned most)
{
	size_t at = 0, from;
	uint64_t tag;

	while (at < n) {
		from = at;
		tag = varint(p, n, &at);
		switch (tag & 7) {
		case 0:
			(void)varint(p, n, &at);
			break;
		case 1:
			at += 8;
			break;
		case 2:
			tag = tag | varint(p, n, &at) << 32;
			at += (size_t)(tag >> 32);
			tag &= UINT32_MAX;
			break;
		case 5:
			at += 4;
			break;
		default:
			fail_msg("this is no protobuf message");
		}
		assert_true(at <= n);
		if (tag >> 3 <= most)
			buf_put(out, p + from, at - from);
	}
}

static const struct http_route *
own_route(const char *method, const char *path)
{
	size_t i, n, len;
	const struct http_route *own = intake_routes(&n);

	for (i = 0; i < n; i++) {
		len = strlen(own[i].path);
		if (strcmp(own[i].method, method) == 0 &&
		    (own[i].path[len - 1] == '/' ? strncmp(path, own[i].path, len) == 0
						 : strcmp(path, own[i].path) == 0))
			return &own[i];
	}
	return NULL;
}

static int
as_version_1(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	const struct http_route *own = own_route(rq->method, rq->path);
	struct buf request = BUF_INIT, answer = BUF_INIT;
	struct http_request then = *rq;
	size_t i;
	int rc;

	for (i = 0; own && i < N_FIRST; i++)
		if (strcmp(first[i].method, own->method) == 0 &&
		    strcmp(first[i].path, own->path) == 0)
			break;
	if (!own || i == N_FIRST) {
		out->status = NOT_FOUND;
		return 0;
	}
	if (first[i].request) {
		oldpeer_reduce(&request, rq->body, rq->body_n, first[i].request);
		then.body = request.data;
		then.body_n = request.len;
	}
	rc = http_serve(own, node, &then, out, e);
	if (!rc && first[i].answer && out->status == 200) {
		oldpeer_reduce(&answer, out->body.data, out->body.len, first[i].answer);
		buf_fini(&out->body);
		out->body = answer;
	}
	buf_fini(&request);
	return rc;
}

static int
as_a_later_one(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	const struct http_route *own = own_route(rq->method, rq->path);
	bool message = strcmp(rq->method, "POST") == 0;
	struct http_request then = *rq;
	struct buf request = BUF_INIT;
	int rc;

	if (message) {
		buf_put(&request, rq->body, rq->body_n);
		buf_put(&request, from_the_future, sizeof(from_the_future));
		then.body = request.data;
		then.body_n = request.len;
	}
	rc = http_serve(own, node, &then, out, e);
	if (!rc && (message || strcmp(rq->method, "PATCH") == 0) && out->body.len)
		buf_put(&out->body, from_the_future, sizeof(from_the_future));
	buf_fini(&request);
	return rc;
}

static const struct http_route *
wrapped(struct http_route *routes,
	int (*by)(void *node, struct http_request *rq, struct http_answer *out, struct err *e),
	size_t *n)
{
	const struct http_route *own = intake_routes(n);
	size_t i;

	assert_true(*n <= ROUTES_MAX);
	for (i = 0; i < *n; i++) {
		routes[i] = own[i];
		routes[i].handle = by;
		routes[i].stream = NULL;
	}
	return routes;
}

const struct http_route *
oldpeer_routes(size_t *n)
{
	static struct http_route routes[ROUTES_MAX];

	return wrapped(routes, as_version_1, n);
}

const struct http_route *
newpeer_routes(size_t *n)
{
	static struct http_route routes[ROUTES_MAX];

	return wrapped(routes, as_a_later_one, n);
}
