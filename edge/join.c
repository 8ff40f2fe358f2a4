#include "edge/join.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/http/pki.h"
#include "common/os/daemon.h"
#include "common/os/identity.h"
#include "edge/edge.h"
#include "edge/joined.h"
#include "edge/replicate.h"
#include "proto/join_code.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { ENROL_SECONDS = 30, ANSWER_MAX = 1 << 20 };

/* "https://host:port" without a path; a slash at its end is forgiven. */
static int
take_url(char out[JOINED_URL], const char *url, struct err *err)
{
	size_t n = strlen(url);

	if (n && url[n - 1] == '/')
		n--;
	if (n >= JOINED_URL || strncmp(url, "https://", 8) != 0 || n <= 8 ||
	    memchr(url + 8, '/', n - 8) || strpbrk(url, " \t\r\n"))
		return err_set(err, ERR_PEER, 0, "URL: https://host:port of central wanted");
	memcpy(out, url, n);
	out[n] = '\0';
	return 0;
}

static int
refused(const struct http_done *done, struct err *err)
{
	char why[HTTP_WHAT_SIZE];

	http_done_why(done, why);
	if (done->status == 0)
		return err_set(err, ERR_AGAIN, 0, "central does not answer: %s", why);
	return err_set(err, ERR_PEER, 0, "central refuses (%d): %s", done->status, why);
}

static int
enrol(struct edge *e, const char *url, const struct join_code *code, const struct buf *key,
      struct http_done *done, struct err *err)
{
	struct http_call call = {.method = "POST", .seconds = ENROL_SECONDS};
	const char *urls[] = {url, NULL};
	struct http_client_config c = {.urls = urls,
				       .site = e->site,
				       .cert = "",
				       .key = "",
				       .ca = "",
				       .pin = code->print,
				       .max_body = ANSWER_MAX};
	Sync__JoinRequest m = SYNC__JOIN_REQUEST__INIT;
	struct http_client *client;
	struct buf csr = BUF_INIT;
	int rc = pki_request_make(&csr, key, e->site, err);

	c.connect_ms = (unsigned)conf_number(e->conf, "central", NULL, "connect_timeout");
	strcpy(call.path, "/join/v1/enrol");
	m.secret = message_bytes(code->secret, sizeof(code->secret));
	m.site = message_text(e->site);
	m.csr = message_bytes(csr.data, csr.len);
	message_pack(&call.body, &m.base);
	buf_fini(&csr);
	if (rc || (rc = http_client_open(&client, &c, err)) != 0) {
		buf_fini(&call.body);
		return rc;
	}
	rc = http_client_ask(client, &call, done, err);
	http_client_close(client);
	if (!rc && done->status != 200) {
		rc = refused(done, err);
		buf_fini(&done->body);
	}
	return rc;
}

/* From now on nothing is ever made up for it again (R23): it has an identity to lose. */
static int
settle_identity(struct edge *e, struct err *err)
{
	char store[PATH_MAX];
	struct identity id = e->identity;
	int rc;

	if (id.by_init)
		return 0;
	id.by_init = true;
	(void)snprintf(store, sizeof(store), "%s/store", e->dir);
	strcpy(id.part, "store");
	rc = identity_write(store, &id, err);
	strcpy(id.part, "data");
	return rc ? rc : identity_write(e->dir, &id, err);
}

int
join_run(struct edge *e, const char *url, const char *text, struct err *err)
{
	unsigned char hash[SHA256_SIZE];
	struct http_done done;
	struct join_code code;
	struct buf key = BUF_INIT;
	char base[JOINED_URL];
	size_t i;
	int rc;

	for (i = 0; e->urls[i]; i++)
		if (strncmp(e->urls[i], "http://", 7) == 0) /* R24: it would go on to be called */
			return err_set(err, ERR_PEER, 0,
				       "[central] url is plain http: take it out of the settings, "
				       "and restart `serve`");
	if (conf_string(e->conf, "tls", NULL, "cert")[0])
		return err_set(err, ERR_PEER, 0,
			       "[tls] is set: this edge has certificates of its own");
	rc = take_url(base, url, err);
	if (!rc && !join_code_read(&code, text))
		rc = err_set(err, ERR_PEER, 0, "CODE is mistyped, or only a part of one");
	if (rc)
		return rc;
	sha256_of(code.secret, sizeof(code.secret), hash);
	rc = joined_key(&key, e->dir, hash, err);
	if (!rc)
		rc = enrol(e, base, &code, &key, &done, err);
	if (!rc) {
		rc = settle_identity(e, err);
		if (!rc)
			rc = joined_take(e->dir, e->site, &key, done.body.data, done.body.len, base,
					 hash, code.print, err);
		buf_fini(&done.body);
	}
	buf_fini(&key);
	if (rc)
		return rc;
	log_line(LOG_INFO, "joined", "url=%s", base);
	atomic_fetch_add(&e->joins, 1);
	replicate_hello(e->replicate);
	return 0;
}

/* --- renewal --- */

int
join_renewal(struct http_call *out, struct edge *e, struct err *err)
{
	Sync__RenewRequest m = SYNC__RENEW_REQUEST__INIT;
	struct buf key = BUF_INIT, csr = BUF_INIT;
	int rc = joined_own_key(&key, e->dir, err);

	memset(out, 0, sizeof(*out));
	out->method = "POST";
	out->seconds = ENROL_SECONDS;
	strcpy(out->path, "/sync/v1/renew");
	if (!rc)
		rc = pki_request_make(&csr, &key, e->site, err);
	m.csr = message_bytes(csr.data, csr.len);
	if (!rc)
		message_pack(&out->body, &m.base);
	buf_fini(&key);
	buf_fini(&csr);
	return rc;
}

int
join_renewed(struct edge *e, const struct http_done *done, struct err *err)
{
	struct buf key = BUF_INIT;
	int rc = done->status == 200 ? joined_own_key(&key, e->dir, err) : refused(done, err);

	if (!rc)
		rc = joined_take(e->dir, e->site, &key, done->body.data, done->body.len, NULL, NULL,
				 NULL, err);
	buf_fini(&key);
	if (rc)
		return rc;
	log_line(LOG_INFO, "certificate.renewed", "%s", "");
	atomic_fetch_add(&e->joins, 1);
	if (atomic_load(&e->serving)) /* its own web server shows it as well */
		daemon_reload();
	return 0;
}
