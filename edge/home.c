#include "edge/home.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/http/server.h"
#include "edge/edge.h"
#include "edge/joined.h"
#include "proto/link.h"

enum { CLIENT_BODY_MAX = 40 << 20 };

struct told { /* an answer that no network brings */
	struct told *next;
	struct http_done done;
};

struct home {
	struct link l;
	struct edge *e;
	pthread_mutex_t mu; /* the owner swaps `http` under it, wakers look under it */
	struct link *http;
	/* owner only */
	struct joined joined; /* the strings of http's configuration */
	const char *urls[2];
	enum home_kind kind;
	unsigned joins; /* as it was when http was opened */
	unsigned under_way;
	bool turned_away;
	struct told *told;
};

static enum home_kind
look(struct edge *e, struct joined *j)
{
	int rc = joined_read(j, e->dir, NULL);
	size_t i;

	if (conf_string(e->conf, "tls", NULL, "cert")[0])
		return e->urls[0] ? HOME_OWN : HOME_NONE;
	if (!rc)
		return HOME_JOINED;
	for (i = 0; e->urls[i]; i++)
		if (strncmp(e->urls[i], "https://", 8) == 0)
			return HOME_STRANGER;
	if (e->identity.by_init)
		return HOME_STRANGER;
	return e->urls[0] ? HOME_PLAIN : HOME_NONE;
}

enum home_kind
home_kind(struct edge *e)
{
	struct joined j;

	return look(e, &j);
}

int
home_check_files(const struct edge *e, const struct conf *conf, struct err *err)
{
	const char *cert = conf_string(conf, "tls", NULL, "cert");
	struct joined j;

	if (cert[0])
		return http_check_files(cert, conf_string(conf, "tls", NULL, "key"),
					conf_string(conf, "tls", NULL, "ca"), err);
	return joined_read(&j, e->dir, NULL) ? 0 : http_check_files(j.cert, j.key, j.ca, err);
}

static int
open_http(struct home *h, struct link **out, struct err *err)
{
	struct edge *e = h->e;
	struct http_client_config c = {.site = e->site,
				       .cert = "",
				       .key = "",
				       .ca = "",
				       .archive = "",
				       .max_body = CLIENT_BODY_MAX};

	h->joins = atomic_load(&e->joins);
	h->kind = look(e, &h->joined);
	h->turned_away = false;
	h->urls[0] = h->joined.url;
	h->urls[1] = NULL;
	c.urls = e->urls[0] ? e->urls : h->urls;
	if (h->kind == HOME_OWN) {
		c.cert = conf_string(e->conf, "tls", NULL, "cert");
		c.key = conf_string(e->conf, "tls", NULL, "key");
		c.ca = conf_string(e->conf, "tls", NULL, "ca");
	} else if (h->kind == HOME_JOINED) {
		c.cert = h->joined.cert;
		c.key = h->joined.key;
		c.ca = h->joined.ca;
		c.archive = h->joined.archive;
	}
	c.connect_ms = (unsigned)conf_number(e->conf, "central", NULL, "connect_timeout");
	c.own_control = http_own_control(e->conf);
	return link_http(out, &c, err);
}

static int
refresh(struct home *h, struct err *err)
{
	struct link *before = h->http;
	int rc;

	if (h->under_way || (!h->turned_away && h->joins == atomic_load(&h->e->joins)))
		return 0;
	(void)pthread_mutex_lock(&h->mu);
	link_close(before);
	h->http = NULL;
	rc = open_http(h, &h->http, err);
	(void)pthread_mutex_unlock(&h->mu);
	return rc;
}

static int
tell(struct home *h, struct http_call *call, const char *what, struct err *err)
{
	struct told *t = calloc(1, sizeof(*t)), **end = &h->told;

	buf_fini(&call->body);
	if (!t)
		return err_set(err, ERR_LOCAL, 0, "no memory for an answer");
	t->done.id = call->id;
	(void)snprintf(t->done.what, sizeof(t->done.what), "%s", what);
	memcpy(t->done.asked, call->epoch, sizeof(t->done.asked));
	while (*end)
		end = &(*end)->next;
	*end = t;
	return 0;
}

static int
submit(struct link *l, struct http_call *call, struct err *err)
{
	struct home *h = (struct home *)l;
	int rc = refresh(h, err);

	if (rc || !h->http) {
		buf_fini(&call->body);
		return rc ? rc : err_set(err, ERR_LOCAL, 0, "the way to central is shut");
	}
	if (h->kind == HOME_STRANGER || h->kind == HOME_NONE)
		return tell(h, call,
			    "not joined: `join URL CODE` with a code of central's `site add`", err);
	rc = link_submit(h->http, call, err);
	if (!rc)
		h->under_way++;
	return rc;
}

static int
wait_for(struct link *l, int timeout_ms, struct http_done *out, bool *got, struct err *err)
{
	struct home *h = (struct home *)l;
	struct told *t = h->told;
	int rc;

	if (t) {
		h->told = t->next;
		*out = t->done;
		*got = true;
		free(t);
		return 0;
	}
	rc = link_wait(h->http, timeout_ms, out, got, err);
	if (!rc && *got) {
		h->under_way--;
		h->turned_away = h->turned_away || out->status == 403;
	}
	return rc;
}

static void
wake(struct link *l)
{
	struct home *h = (struct home *)l;

	(void)pthread_mutex_lock(&h->mu);
	if (h->http)
		link_wake(h->http);
	(void)pthread_mutex_unlock(&h->mu);
}

static void
close_it(struct link *l)
{
	struct home *h = (struct home *)l;
	struct told *t;

	while ((t = h->told) != NULL) {
		h->told = t->next;
		free(t);
	}
	link_close(h->http);
	(void)pthread_mutex_destroy(&h->mu);
	free(h);
}

int
home_link(struct link **out, struct edge *e, struct err *err)
{
	static const struct link_ops ops = {submit, wait_for, wake, close_it};
	struct home *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return err_set(err, ERR_LOCAL, 0, "no memory for a link");
	(void)pthread_mutex_init(&h->mu, NULL);
	h->l.ops = &ops;
	h->e = e;
	rc = open_http(h, &h->http, err);
	if (rc)
		close_it(&h->l);
	else
		*out = &h->l;
	return rc;
}
