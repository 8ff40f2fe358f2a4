/*
 * link.h - how requests travel to central: over HTTP, inside one process, or on a disk.
 *
 * Many requests may be under way; answers come in any order. An answer with
 * status 0 says that nobody answered; whether the request arrived is not known.
 * Threads: one owner; link_wake from any.
 */
#ifndef SALAMANDER_PROTO_LINK_H
#define SALAMANDER_PROTO_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http/client.h"

struct err;
struct http_route;
struct link;

struct link_ops {
	int (*submit)(struct link *l, struct http_call *call, struct err *e);
	int (*wait)(struct link *l, int timeout_ms, struct http_done *out, bool *got,
		    struct err *e);
	void (*wake)(struct link *l);
	void (*close)(struct link *l);
};

struct link { /* first member of each kind */
	const struct link_ops *ops;
	uint64_t asked; /* by link_ask */
};

static inline int
link_submit(struct link *l, struct http_call *call, struct err *e)
{
	return l->ops->submit(l, call, e);
}

static inline int
link_wait(struct link *l, int timeout_ms, struct http_done *out, bool *got, struct err *e)
{
	return l->ops->wait(l, timeout_ms, out, got, e);
}

static inline void
link_wake(struct link *l)
{
	l->ops->wake(l);
}

static inline void
link_close(struct link *l)
{
	if (l)
		l->ops->close(l);
}

/*
 * One call, start to end, on a link that nothing else uses; ERR_AGAIN once *stop is true. The
 * answer to one that was given up so is dropped: it is never taken for a later one's.
 */
int link_ask(struct link *l, struct http_call *call, struct http_done *out,
	     const _Atomic bool *stop, struct err *e);

int link_http(struct link **out, const struct http_client_config *c, struct err *e);

/*
 * Through files of a folder: a share, or a disk that is carried. An answer comes when it
 * comes: no call is given up. Requests are durable when link_submit returns.
 */
int link_disk(struct link **out, const char *dir, const char *site, struct err *e);

/* A node's routes, and whose requests are served. */
struct link_served {
	const struct http_route *routes;
	size_t n_routes;
	void *node;
	const char *site;
};
/* One call, here and now; out->body is the caller's. */
void link_serve(const struct link_served *s, const struct http_call *call, struct http_done *out);
/* Answers all requests of a folder that are the site's, in their order. */
int link_disk_serve(const struct link_served *s, const char *dir, struct err *e);

/*
 * Straight into a node's routes. cut: asked before each request arrives and before
 * each answer leaves; true drops it there. rate: bytes per second that answers tell of (ms);
 * 0: all in one ms.
 */
struct link_loop_config {
	struct link_served to;
	bool (*cut)(void *arg, const struct http_call *call, bool answer);
	void *arg;
	uint64_t rate;
};
int link_loop(struct link **out, const struct link_loop_config *c, struct err *e);

#endif
