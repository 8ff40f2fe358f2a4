#include "edge/web.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/prom.h"
#include "common/http/server.h"
#include "edge/edge.h"
#include "edge/joined.h"
#include "edge/metrics.h"
#include "edge/status.h"

enum { LISTEN_MAX = 32, RIGHT_STATUS = 1, RIGHT_METRICS = 2 };

struct web {
	struct edge *e;
	struct http_server *http; /* NULL: nothing is listened on */
	struct joined joined;	  /* the strings of its configuration */
	bool tls;
};

static int
get_status(void *node, struct http_request *rq, struct http_answer *out, struct err *err)
{
	bool person;

	(void)rq;
	out->type = "application/json";
	return status_json(node, &out->body, &person, err);
}

static int
get_metrics(void *node, struct http_request *rq, struct http_answer *out, struct err *err)
{
	(void)rq;
	out->type = PROM_TYPE;
	return metrics_of_edge(node, &out->body, err);
}

/* R28: certificates are judged by central's clock; this one may stand at 1970. */
static int64_t
central_time(void *node)
{
	struct edge *e = node;
	struct contact c;

	edge_contact(e, &c);
	return clock_wall(e->clock) + c.skew_ms;
}

static bool
allowed(void *node, const struct http_request *rq, unsigned right, const char **why)
{
	struct contact c;

	edge_contact(node, &c);
	/* Until central has said what time it is, nobody knows: expiry alone cuts nobody off. */
	if (rq->late && c.ever) {
		*why = "the certificate is not valid now";
		return false;
	}
	return right == RIGHT_STATUS || right == RIGHT_METRICS;
}

/* As it may be now; NULL where it may not listen. */
static int
start(struct web *w, struct err *err)
{
	static const struct http_route routes[] = {
		{"GET", "/status", RIGHT_STATUS, 0, get_status, NULL},
		{"GET", "/metrics", RIGHT_METRICS, 0, get_metrics, NULL},
	};
	struct edge *e = w->e;
	struct http_config hc = {.node = e,
				 .routes = routes,
				 .n_routes = sizeof(routes) / sizeof(routes[0]),
				 .allowed = allowed,
				 .clock = e->clock,
				 .wall_ms = central_time};
	const char *listen[LISTEN_MAX];

	http_configure(&hc, e->conf, listen);
	if (!hc.cert[0] && !joined_read(&w->joined, e->dir, NULL)) {
		hc.cert = w->joined.cert;
		hc.key = w->joined.key;
		hc.ca = w->joined.ca;
	}
	w->tls = hc.cert[0] != '\0';
	if (!listen[0])
		return 0;
	if (e->identity.by_init && !w->tls) {
		log_line(LOG_WARN, "http.not_yet", "%s", "what=\"not joined\"");
		return 0;
	}
	return http_start(&w->http, &hc, err);
}

int
web_start(struct web **out, struct edge *e, struct err *err)
{
	struct web *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return err_set(err, ERR_LOCAL, 0, "no memory for the HTTP server");
	w->e = e;
	rc = start(w, err);
	if (rc)
		web_stop(w);
	else
		*out = w;
	return rc;
}

void
web_stop(struct web *w)
{
	if (!w)
		return;
	http_stop(w->http);
	free(w);
}

int
web_reload(struct web *w, struct err *err)
{
	if (!w)
		return 0;
	if (w->http && w->tls)
		return http_reload(w->http, err);
	http_stop(w->http); /* plain, or not listening: it may have joined */
	w->http = NULL;
	return start(w, err);
}
