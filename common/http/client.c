#include "common/http/client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/http/sockets.h"
#include "common/http/verify.h"

enum { STALL_SECONDS = 5, URL_SIZE = HTTP_PATH_SIZE + 300, SPARE_MAX = 32 };

struct call { /* one easy handle, used again */
	struct call *next;
	CURL *easy;
	struct curl_slist *headers;
	struct buf send, got;
	size_t read; /* of `send`, by curl */
	bool give_back;
	bool head; /* the method: its answer is in a header */
	uint64_t id, max;
	curl_off_t moved; /* bytes, both ways, and when that changed last */
	int64_t moved_at;
	unsigned url_at; /* of the client's urls */
	char url[URL_SIZE], why[CURL_ERROR_SIZE];
	char asked[33], epoch[33];
	unsigned retry_after;
};

struct http_client {
	struct http_client_config c; /* set once; what it points to is borrowed */
	struct verify verify;
	unsigned url; /* whose turn it is */
	CURLM *multi;
	struct call *spare, *active;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
global(void)
{
	(void)curl_global_init(CURL_GLOBAL_ALL);
}

int
http_client_open(struct http_client **out, const struct http_client_config *c, struct err *e)
{
	struct http_client *h = calloc(1, sizeof(*h));

	(void)pthread_once(&once, global);
	if (h)
		h->multi = curl_multi_init();
	if (!h || !h->multi) {
		free(h);
		return err_set(e, ERR_LOCAL, 0, "no memory for an HTTP client");
	}
	h->c = *c;
	h->verify.archive = c->archive ? c->archive : "";
	h->verify.pin = c->pin;
	(void)curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	*out = h;
	return 0;
}

static void
call_free(struct call *k)
{
	curl_easy_cleanup(k->easy);
	curl_slist_free_all(k->headers);
	buf_fini(&k->send);
	buf_fini(&k->got);
	free(k);
}

void
http_client_close(struct http_client *h)
{
	struct call *k;

	if (!h)
		return;
	while ((k = h->active)) {
		h->active = k->next;
		(void)curl_multi_remove_handle(h->multi, k->easy);
		call_free(k);
	}
	while ((k = h->spare)) {
		h->spare = k->next;
		call_free(k);
	}
	(void)curl_multi_cleanup(h->multi);
	free(h);
}

static size_t
receive(char *p, size_t one, size_t n, void *arg)
{
	struct call *k = arg;

	(void)one;
	if (k->got.len + n > k->max)
		return 0;
	buf_put(&k->got, p, n);
	return buf_failed(&k->got) ? 0 : n;
}

/*
 * The body of a PATCH. It cannot be rewound: curl would send all of it again, by itself, when a
 * connection that it kept breaks; the caller asks first how far it came (R14).
 */
static size_t
give_body(char *p, size_t one, size_t n, void *arg)
{
	struct call *k = arg;
	size_t left = k->send.len - k->read;

	n = n * one < left ? n * one : left;
	if (n)
		memcpy(p, k->send.data + k->read, n);
	k->read += n;
	return n;
}

/* The value of a header line of this name; NULL: another one. */
static const char *
header_value(const char *line, size_t n, const char *name, size_t *value_n)
{
	size_t skip = strlen(name), end = n;

	if (n <= skip || strncasecmp(line, name, skip) != 0)
		return NULL;
	while (skip < n && line[skip] == ' ')
		skip++;
	while (end > skip && (unsigned char)line[end - 1] <= ' ')
		end--;
	*value_n = end - skip;
	return line + skip;
}

/* A date is no number of seconds: 0. */
static unsigned
seconds_of(const char *p, size_t n)
{
	unsigned s = 0;
	size_t i;

	for (i = 0; i < n && p[i] >= '0' && p[i] <= '9' && s < 1000000; i++)
		s = 10 * s + (unsigned)(p[i] - '0');
	return i == n ? s : 0;
}

static size_t
receive_header(char *p, size_t one, size_t n, void *arg)
{
	struct call *k = arg;
	const char *value;
	size_t value_n;

	(void)one;
	value = header_value(p, n, "Salamander-Epoch:", &value_n);
	if (value)
		(void)snprintf(k->epoch, sizeof(k->epoch), "%.*s", (int)value_n, value);
	value = header_value(p, n, "Retry-After:", &value_n);
	if (value)
		k->retry_after = seconds_of(value, value_n);
	value = header_value(p, n, "Salamander-Offsets:", &value_n);
	if (value && k->head) {
		buf_clear(&k->got);
		buf_put(&k->got, value, value_n);
	}
	return n;
}

static int
options_of_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	struct http_client *h = arg;

	(void)purpose;
	sockets_prepare(fd, h->c.own_control);
	return CURL_SOCKOPT_OK;
}

/*
 * An upload of which nothing moves is dropped. Once all is sent the server may take its
 * time (it flushes and checks), bounded by the call's own limit.
 */
static int
progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	struct call *k = arg;
	int64_t now = clock_mono(clock_real());

	(void)down_total;
	(void)up_total;
	if (up + down != k->moved || (up >= (curl_off_t)k->send.len && down == 0)) {
		k->moved = up + down;
		k->moved_at = now;
	}
	return now - k->moved_at > STALL_SECONDS * 1000;
}

static void
add_header(struct call *k, const char *name, const char *value)
{
	char line[160];

	(void)snprintf(line, sizeof(line), "%s: %s", name, value);
	k->headers = curl_slist_append(k->headers, line);
}

static CURLcode
on_tls(CURL *c, void *ssl_ctx, void *arg)
{
	(void)c;
	verify_by(ssl_ctx, arg);
	return CURLE_OK;
}

/* Nothing is remembered from one connection to the next: files and names may have changed. */
static void
set_tls(struct http_client *h, CURL *c)
{
	(void)curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, on_tls);
	(void)curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, &h->verify);
	(void)curl_easy_setopt(c, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	(void)curl_easy_setopt(c, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	(void)curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	if (h->c.cert[0]) {
		(void)curl_easy_setopt(c, CURLOPT_SSLCERT, h->c.cert);
		(void)curl_easy_setopt(c, CURLOPT_SSLKEY, h->c.key);
	}
	(void)curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	(void)curl_easy_setopt(c, CURLOPT_CAINFO, h->c.pin ? NULL : h->c.ca);
	(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
}

static void
set_call(struct http_client *h, struct call *k, const struct http_call *call)
{
	CURL *c = k->easy;
	char range[64], lane[16];

	k->url_at = h->url;
	(void)snprintf(k->url, sizeof(k->url), "%s%s", h->c.urls[h->url], call->path);
	k->headers = curl_slist_append(NULL, "Expect:");
	add_header(k, "Content-Type", "application/octet-stream");
	add_header(k, "Salamander-Site", h->c.site);
	if (call->epoch[0])
		add_header(k, "Salamander-Epoch", call->epoch);
	if (call->lane) {
		(void)snprintf(lane, sizeof(lane), "%u", call->lane);
		add_header(k, "Salamander-Lane", lane);
	}
	(void)curl_easy_setopt(c, CURLOPT_URL, k->url);
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(c, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, options_of_socket);
	(void)curl_easy_setopt(c, CURLOPT_SOCKOPTDATA, h);
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, k->why);
	(void)curl_easy_setopt(c, CURLOPT_PRIVATE, k);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, receive);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, k);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, receive_header);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, k);
	(void)curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 262144L);
	(void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)h->c.connect_ms);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)call->seconds);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, progress);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, k);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	k->moved = -1;
	k->moved_at = clock_mono(clock_real());
	(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, k->headers);
	k->read = 0;
	if (strcmp(call->method, "PATCH") == 0) {
		(void)curl_easy_setopt(c, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)k->send.len);
		(void)curl_easy_setopt(c, CURLOPT_READFUNCTION, give_body);
		(void)curl_easy_setopt(c, CURLOPT_READDATA, k);
	} else if (k->send.len || strcmp(call->method, "POST") == 0) {
		(void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)k->send.len);
		(void)curl_easy_setopt(c, CURLOPT_POSTFIELDS,
				       k->send.data ? (const char *)k->send.data : "");
	}
	k->head = strcmp(call->method, "HEAD") == 0;
	if (k->head)
		(void)curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else
		(void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, call->method);
	if (call->ranged) {
		(void)snprintf(range, sizeof(range), "%llu-%llu",
			       (unsigned long long)call->range_first,
			       (unsigned long long)(call->range_first + call->range_n - 1));
		(void)curl_easy_setopt(c, CURLOPT_RANGE, range);
	}
	if (h->c.ca[0] || h->c.pin)
		set_tls(h, c);
}

static struct call *
call_new(struct http_client *h)
{
	struct call *k = h->spare;

	if (k) {
		h->spare = k->next;
		curl_easy_reset(k->easy);
	} else {
		k = calloc(1, sizeof(*k));
		if (k)
			k->easy = curl_easy_init();
		if (!k || !k->easy) {
			free(k);
			return NULL;
		}
	}
	k->why[0] = k->epoch[0] = '\0';
	k->retry_after = 0;
	buf_clear(&k->got);
	return k;
}

int
http_client_submit(struct http_client *h, struct http_call *call, struct err *e)
{
	struct call *k = call_new(h);

	if (!k) {
		buf_fini(&call->body);
		return err_set(e, ERR_LOCAL, 0, "no memory for an HTTP call");
	}
	k->send = call->body;
	buf_init(&call->body);
	k->give_back = call->give_back;
	k->id = call->id;
	memcpy(k->asked, call->epoch, sizeof(k->asked));
	k->max = h->c.max_body;
	set_call(h, k, call);
	if (curl_multi_add_handle(h->multi, k->easy) != CURLM_OK) {
		call_free(k);
		return err_set(e, ERR_LOCAL, 0, "cannot begin an HTTP call");
	}
	k->next = h->active;
	h->active = k;
	return 0;
}

/* Nobody took the call: the next address, unless another call has moved on already. */
static void
next_url(struct http_client *h, const struct call *k, CURLcode result)
{
	curl_off_t begun = 0;

	(void)curl_easy_getinfo(k->easy, CURLINFO_PRETRANSFER_TIME_T, &begun);
	if (result != CURLE_OK && !begun && k->url_at == h->url)
		h->url = h->c.urls[h->url + 1] ? h->url + 1 : 0;
}

static void
look_at_socket(const struct call *k, struct http_done *out)
{
	struct sockets_state state;
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (!out->status || curl_easy_getinfo(k->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
	    fd == CURL_SOCKET_BAD)
		return;
	sockets_look(fd, &state);
	out->steady = state.steady;
	out->rtt_ms = state.rtt_ms;
}

static void
finish(struct http_client *h, struct call *k, CURLcode result, struct http_done *out)
{
	struct call **at;
	long status = 0;
	curl_off_t us = 0, sent = 0;

	(void)curl_easy_getinfo(k->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(k->easy, CURLINFO_TOTAL_TIME_T, &us);
	(void)curl_easy_getinfo(k->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	memset(out, 0, sizeof(*out));
	out->id = k->id;
	out->status = result == CURLE_OK ? (int)status : 0;
	out->ms = us / 1000;
	out->sent = (uint64_t)sent;
	if (result != CURLE_OK)
		(void)snprintf(out->what, sizeof(out->what), "%.*s", HTTP_WHAT_SIZE - 1,
			       result == CURLE_PEER_FAILED_VERIFICATION && h->verify.why
				       ? h->verify.why
			       : k->why[0] ? k->why
					   : curl_easy_strerror(result));
	look_at_socket(k, out);
	next_url(h, k, result);
	memcpy(out->asked, k->asked, sizeof(out->asked));
	memcpy(out->epoch, k->epoch, sizeof(out->epoch));
	if (out->status == 429 || out->status == 503 || out->status == 507)
		out->retry_after = k->retry_after;
	out->body = k->got;
	buf_init(&k->got);
	(void)curl_multi_remove_handle(h->multi, k->easy);
	for (at = &h->active; *at != k; at = &(*at)->next)
		;
	*at = k->next;
	curl_slist_free_all(k->headers);
	k->headers = NULL;
	if (k->give_back) {
		out->spent = k->send;
		buf_init(&k->send);
	}
	buf_fini(&k->send);
	k->next = h->spare;
	h->spare = k;
}

static bool
take_done(struct http_client *h, struct http_done *out)
{
	CURLMsg *m;
	char *k;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &k);
		finish(h, (struct call *)(void *)k, m->data.result, out);
		return true;
	}
	return false;
}

int
http_client_wait(struct http_client *h, int timeout_ms, struct http_done *out, bool *got,
		 struct err *e)
{
	CURLMcode m;
	int running, n;

	*got = take_done(h, out);
	if (*got)
		return 0;
	m = curl_multi_perform(h->multi, &running);
	*got = m == CURLM_OK && take_done(h, out);
	if (*got)
		return 0;
	if (m == CURLM_OK)
		m = curl_multi_poll(h->multi, NULL, 0, timeout_ms, &n);
	if (m == CURLM_OK)
		m = curl_multi_perform(h->multi, &running);
	if (m != CURLM_OK)
		return err_set(e, ERR_LOCAL, 0, "HTTP client: %s", curl_multi_strerror(m));
	*got = take_done(h, out);
	return 0;
}

void
http_client_wake(struct http_client *h)
{
	(void)curl_multi_wakeup(h->multi);
}

int
http_client_ask(struct http_client *h, struct http_call *call, struct http_done *out, struct err *e)
{
	bool got = false;
	int rc = http_client_submit(h, call, e);

	while (!rc && !got)
		rc = http_client_wait(h, 1000, out, &got, e);
	return rc;
}

void
http_done_why(const struct http_done *done, char out[HTTP_WHAT_SIZE])
{
	const struct buf *b = &done->body;
	size_t n = 0;

	if (!done->status) {
		memcpy(out, done->what, HTTP_WHAT_SIZE);
		return;
	}
	while (n < b->len && n + 1 < HTTP_WHAT_SIZE && b->data[n] >= ' ' && b->data[n] < 127) {
		out[n] = (char)b->data[n];
		n++;
	}
	out[n] = '\0';
}
