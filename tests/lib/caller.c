#include "tests/lib/caller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/central.h"
#include "central/gate.h"
#include "central/intake.h"
#include "central/record.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

void
caller_init(struct caller *k, struct central *c, const char *site)
{
	memset(k, 0, sizeof(*k));
	k->central = c;
	k->site = site;
	k->address = "192.0.2.1";
	assert_int_equal(pki_key_make(&k->key, NULL), 0);
}

void
caller_fini(struct caller *k)
{
	buf_fini(&k->key);
	buf_fini(&k->answer);
}

static const struct http_route *
route_of(const char *method, const char *path)
{
	const struct http_route *routes;
	size_t i, n;

	routes = intake_routes(&n);
	for (i = 0; i < n; i++) {
		size_t length = strlen(routes[i].path);
		bool prefix = routes[i].path[length - 1] == '/';

		if (strcmp(routes[i].method, method) == 0 &&
		    (prefix ? strncmp(routes[i].path, path, length) == 0
			    : strcmp(routes[i].path, path) == 0))
			return &routes[i];
	}
	fail_msg("no route %s %s", method, path);
	return NULL;
}

int
caller_ask(struct caller *k, const char *method, const char *path, const struct buf *body)
{
	const struct http_route *route = route_of(method, path);
	struct http_request rq = {.method = method,
				  .path = path,
				  .rest = path + strlen(route->path),
				  .certified = k->certified,
				  .late = k->late,
				  .from_ms = k->from_ms,
				  .until_ms = k->from_ms + 1000,
				  .body = body ? body->data : NULL,
				  .body_n = body ? body->len : 0};
	struct http_answer a = {.status = 200, .body = BUF_INIT};
	struct err e = ERR_INIT;
	const char *why = "";
	struct id128 epoch;
	int rc;

	buf_clear(&k->answer);
	k->why[0] = '\0';
	central_epoch(k->central, &epoch);
	hex_of(epoch.b, ID128_SIZE, rq.epoch);
	(void)snprintf(rq.address, sizeof(rq.address), "%s", k->address);
	if (k->certified || !k->central->certificates)
		(void)snprintf(rq.site, sizeof(rq.site), "%s", k->site);
	if (k->certified)
		assert_int_equal(pki_key_print(&k->key, rq.key, NULL), 0);
	if (!gate_allowed(k->central, &rq, route->right, &why)) {
		(void)snprintf(k->why, sizeof(k->why), "%s", why);
		return 403;
	}
	rc = http_serve(route, k->central, &rq, &a, &e);
	if (rc)
		(void)snprintf(k->why, sizeof(k->why), "%.190s", e.what);
	else if (a.status >= 400)
		(void)snprintf(k->why, sizeof(k->why), "%.*s",
			       (int)(a.body.len < 190 ? a.body.len : 190),
			       a.body.len ? (const char *)a.body.data : "");
	buf_put(&k->answer, a.body.data, a.body.len);
	buf_fini(&a.body);
	return rc ? http_status_of(rc) : a.status;
}

int
caller_join(struct caller *k, const unsigned char secret[16])
{
	Sync__JoinRequest m = SYNC__JOIN_REQUEST__INIT;
	struct buf csr = BUF_INIT, body = BUF_INIT;
	int status;

	assert_int_equal(pki_request_make(&csr, &k->key, "whatever", NULL), 0);
	m.secret = message_bytes(secret, 16);
	m.site = message_text(k->site);
	m.csr = message_bytes(csr.data, csr.len);
	message_pack(&body, &m.base);
	status = caller_ask(k, "POST", "/join/v1/enrol", &body);
	buf_fini(&csr);
	buf_fini(&body);
	return status;
}

int
caller_renew(struct caller *k)
{
	Sync__RenewRequest m = SYNC__RENEW_REQUEST__INIT;
	struct buf csr = BUF_INIT, body = BUF_INIT;
	int status;

	assert_int_equal(pki_request_make(&csr, &k->key, k->site, NULL), 0);
	m.csr = message_bytes(csr.data, csr.len);
	message_pack(&body, &m.base);
	status = caller_ask(k, "POST", "/sync/v1/renew", &body);
	buf_fini(&csr);
	buf_fini(&body);
	return status;
}

int
caller_hello(struct caller *k, const unsigned char *bundle, bool *renew)
{
	static const struct id128 incarnation = {{1, 2, 3}};
	Sync__HelloRequest m = SYNC__HELLO_REQUEST__INIT;
	uint32_t versions[1] = {1};
	struct buf body = BUF_INIT;
	Sync__HelloAnswer *a;
	int status;

	m.versions = versions;
	m.n_versions = 1;
	m.site = message_text(k->site);
	m.incarnation = message_bytes(incarnation.b, ID128_SIZE);
	m.ca = message_bytes(bundle, bundle ? SHA256_SIZE : 0);
	message_pack(&body, &m.base);
	status = caller_ask(k, "POST", "/sync/v1/hello", &body);
	buf_fini(&body);
	*renew = false;
	if (status != 200)
		return status;
	a = message_read(&sync__hello_answer__descriptor, k->answer.data, k->answer.len, NULL);
	assert_non_null(a);
	*renew = a->renew;
	message_free(a);
	return status;
}

void
caller_invite(struct central *c, const char *site, unsigned hours, unsigned char secret[16])
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	unsigned char hash[SHA256_SIZE];

	rng_fill(rng_real(), secret, 16);
	sha256_of(secret, 16, hash);
	d.kind = SYNC__DECISION_KIND__DECISION_SITE_ADD;
	d.site = message_text(site);
	d.code = message_bytes(hash, sizeof(hash));
	d.code_until_wall_ms = clock_wall(c->clock) + (int64_t)hours * 3600000;
	assert_int_equal(record_decide(c, &d, NULL), 0);
}
