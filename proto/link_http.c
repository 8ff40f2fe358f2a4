#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "proto/link.h"

enum { ASK_STEP_MS = 200 };

struct over_http {
	struct link l;
	struct http_client *client;
};

static int
submit(struct link *l, struct http_call *call, struct err *e)
{
	return http_client_submit(((struct over_http *)l)->client, call, e);
}

static int
wait_for(struct link *l, int timeout_ms, struct http_done *out, bool *got, struct err *e)
{
	return http_client_wait(((struct over_http *)l)->client, timeout_ms, out, got, e);
}

static void
wake(struct link *l)
{
	http_client_wake(((struct over_http *)l)->client);
}

static void
close_it(struct link *l)
{
	http_client_close(((struct over_http *)l)->client);
	free(l);
}

int
link_http(struct link **out, const struct http_client_config *c, struct err *e)
{
	static const struct link_ops ops = {submit, wait_for, wake, close_it};
	struct over_http *h = calloc(1, sizeof(*h));
	int rc = h ? http_client_open(&h->client, c, e)
		   : err_set(e, ERR_LOCAL, 0, "no memory for a link");

	if (rc) {
		free(h);
		return rc;
	}
	h->l.ops = &ops;
	*out = &h->l;
	return 0;
}

int
link_ask(struct link *l, struct http_call *call, struct http_done *out, const _Atomic bool *stop,
	 struct err *e)
{
	bool got = false;
	int rc;

	call->id = ++l->asked;
	rc = link_submit(l, call, e);
	while (!rc && !got) {
		rc = link_wait(l, ASK_STEP_MS, out, &got, e);
		if (!rc && got && out->id != l->asked) {
			buf_fini(&out->body);
			buf_fini(&out->spent);
			got = false;
		}
		if (!rc && !got && atomic_load(stop))
			rc = err_set(e, ERR_AGAIN, 0, "stopping");
	}
	return rc;
}
