/* The other end lives in this process: for tests that cut before and after each message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/http/server.h"
#include "proto/link.h"

struct waiting {
	struct waiting *next;
	struct http_call call;
};

struct loop {
	struct link l;
	struct link_loop_config c;
	struct waiting *first, **last;
};

static int
submit(struct link *l, struct http_call *call, struct err *e)
{
	struct loop *p = (struct loop *)l;
	struct waiting *w = calloc(1, sizeof(*w));

	if (!w) {
		buf_fini(&call->body);
		return err_set(e, ERR_LOCAL, 0, "no memory for a request");
	}
	w->call = *call;
	buf_init(&call->body);
	*p->last = w;
	p->last = &w->next;
	return 0;
}

static const struct http_route *
route_of(const struct link_served *s, const struct http_call *call)
{
	size_t i, n;

	for (i = 0; i < s->n_routes; i++) {
		const struct http_route *r = &s->routes[i];

		n = strlen(r->path);
		if (strcmp(r->method, call->method) == 0 &&
		    (r->path[n - 1] == '/' ? strncmp(call->path, r->path, n) == 0
					   : strcmp(call->path, r->path) == 0))
			return r;
	}
	return NULL;
}

void
link_serve(const struct link_served *s, const struct http_call *call, struct http_done *out)
{
	const struct http_route *route = route_of(s, call);
	struct http_answer a = {.status = 200, .body = BUF_INIT};
	struct http_request rq;
	struct err e = ERR_INIT;
	int rc;

	memset(&rq, 0, sizeof(rq));
	rq.method = call->method;
	rq.path = call->path;
	rq.rest = route ? call->path + strlen(route->path) : "";
	(void)snprintf(rq.site, sizeof(rq.site), "%s", s->site);
	(void)snprintf(rq.address, sizeof(rq.address), "loop");
	(void)snprintf(rq.epoch, sizeof(rq.epoch), "%s", call->epoch);
	rq.lane = call->lane;
	rq.ranged = call->ranged;
	rq.range_first = call->range_first;
	rq.range_n = call->range_n;
	rq.body = call->body.data;
	rq.body_n = call->body.len;
	rc = !route			   ? err_set(&e, ERR_ABSENT, 0, "no such path")
	     : rq.body_n > route->max_body ? err_set(&e, ERR_PEER, 0, "the body is too large")
					   : http_serve(route, s->node, &rq, &a, &e);
	memset(out, 0, sizeof(*out));
	out->id = call->id;
	out->ms = 1;
	out->sent = call->body.len;
	memcpy(out->asked, call->epoch, sizeof(out->asked));
	if (a.name[0])
		(void)snprintf(out->epoch, sizeof(out->epoch), "%.32s", a.value[0]);
	out->status = rc ? http_status_of(rc) : a.status;
	out->retry_after = http_retry_after(out->status);
	out->body = a.body;
	if (strcmp(call->method, "HEAD") == 0 && a.name[1]) {
		buf_clear(&out->body);
		buf_puts(&out->body, a.value[1]);
	}
}

static void
serve(struct loop *p, struct http_call *call, struct http_done *out)
{
	memset(out, 0, sizeof(*out));
	out->id = call->id;
	out->ms = 1;
	out->sent = call->body.len;
	if (p->c.cut && p->c.cut(p->c.arg, call, false))
		return;
	link_serve(&p->c.to, call, out);
	if (p->c.rate)
		out->ms += (int64_t)(call->body.len * 1000 / p->c.rate);
	if (p->c.cut && p->c.cut(p->c.arg, call, true)) {
		out->status = 0;
		buf_fini(&out->body);
	}
}

static int
wait_for(struct link *l, int timeout_ms, struct http_done *out, bool *got, struct err *e)
{
	struct loop *p = (struct loop *)l;
	struct waiting *w = p->first;

	(void)timeout_ms;
	(void)e;
	*got = w != NULL;
	if (!w)
		return 0;
	p->first = w->next;
	if (!p->first)
		p->last = &p->first;
	serve(p, &w->call, out);
	buf_fini(&w->call.body);
	free(w);
	return 0;
}

static void
wake(struct link *l)
{
	(void)l;
}

static void
close_it(struct link *l)
{
	struct loop *p = (struct loop *)l;
	struct waiting *w;

	while ((w = p->first)) {
		p->first = w->next;
		buf_fini(&w->call.body);
		free(w);
	}
	free(p);
}

int
link_loop(struct link **out, const struct link_loop_config *c, struct err *e)
{
	static const struct link_ops ops = {submit, wait_for, wake, close_it};
	struct loop *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for a link");
	p->l.ops = &ops;
	p->c = *c;
	p->last = &p->first;
	*out = &p->l;
	return 0;
}
