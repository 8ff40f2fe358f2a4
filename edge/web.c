#include "edge/web.h"

#include "common/base/err.h"
#include "common/http/server.h"
#include "edge/edge.h"
#include "edge/status.h"

enum { LISTEN_MAX = 32, RIGHT_STATUS = 1 };

static int
get_status(void *node, struct http_request *rq, struct http_answer *out, struct err *err)
{
	bool person;

	(void)rq;
	out->type = "application/json";
	return status_json(node, &out->body, &person, err);
}

static bool
allowed(void *node, const struct http_request *rq, unsigned right, const char **why)
{
	(void)node;
	if (rq->late)
		*why = "the certificate is not valid now";
	return !rq->late && right == RIGHT_STATUS;
}

int
web_start(struct http_server **out, struct edge *e, struct err *err)
{
	static const struct http_route routes[] = {{"GET", "/status", RIGHT_STATUS, 0, get_status}};
	struct http_config hc = {.node = e,
				 .routes = routes,
				 .n_routes = sizeof(routes) / sizeof(routes[0]),
				 .allowed = allowed,
				 .clock = e->clock};
	const char *listen[LISTEN_MAX];

	http_configure(&hc, e->conf, listen);
	if (e->identity.by_init && listen[0] && !hc.cert[0]) /* R24 */
		return err_set(err, ERR_PEER, 0,
			       "an edge made by `init` speaks TLS only: set [tls]");
	return listen[0] ? http_start(out, &hc, err) : 0;
}
