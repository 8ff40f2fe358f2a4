/* An edge joins, renews, and goes home by what it has (R24-R26). Central is a stand-in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/http/pki.h"
#include "common/http/server.h"
#include "common/os/file.h"
#include "common/os/identity.h"
#include "edge/edge.h"
#include "edge/home.h"
#include "edge/join.h"
#include "edge/joined.h"
#include "proto/join_code.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/folder.h"
#include "tests/lib/pair.h"

enum { RIGHT_SYNC = 1, PATH_SIZE = 200, DAYS = 730 };

#define NOW INT64_C(1790000000000)

struct stand_in {
	struct buf ca, ca_key, other_ca;
	unsigned char archive[ID128_SIZE], asked[PKI_PRINT]; /* the key of the last request */
	char issued_to[80];				     /* "" : whoever asks */
	struct buf *key; /* of the certificate, in place of the caller's */
	int status;	 /* 0: as it should */
	bool no_ca, foreign_ca, short_archive;
	_Atomic bool suspended;
	_Atomic unsigned calls;
};

static struct stand_in central;
static struct http_server *server;
static struct edge edge;
static char url[64], code[JOIN_CODE_SIZE], cert[PATH_SIZE], key_file[PATH_SIZE], ca_file[PATH_SIZE];

static void
issue(struct buf *pem, const struct buf *key, const char *name, enum pki_use use)
{
	struct pki_issue i = {&central.ca, &central.ca_key, name, "", use, NOW, DAYS};
	struct buf der = BUF_INIT;

	assert_int_equal(pki_request_make(&der, key, name, NULL), 0);
	assert_int_equal(pki_issue(pem, &i, der.data, der.len, NULL), 0);
	buf_fini(&der);
}

/* JoinAnswer to a CSR, with what the test wants wrong in it. */
static int
answer(const ProtobufCBinaryData *csr, const char *site, struct http_answer *out, struct err *e)
{
	struct pki_issue i = {&central.ca, &central.ca_key, site, "", PKI_BOTH, NOW, DAYS};
	Sync__JoinAnswer m = SYNC__JOIN_ANSWER__INIT;
	struct buf pem = BUF_INIT;
	char name[PKI_NAME_SIZE];
	int rc = pki_request_read(csr->data, csr->len, name, central.asked, e);

	if (central.issued_to[0])
		i.name = central.issued_to;
	if (!rc && central.key)
		issue(&pem, central.key, site, PKI_BOTH);
	else if (!rc)
		rc = pki_issue(&pem, &i, csr->data, csr->len, e);
	m.archive = message_bytes(central.archive, central.short_archive ? 3 : ID128_SIZE);
	m.certificate = message_bytes(pem.data, pem.len);
	m.ca = message_bytes(central.foreign_ca ? central.other_ca.data : central.ca.data,
			     central.no_ca	  ? 0
			     : central.foreign_ca ? central.other_ca.len
						  : central.ca.len);
	if (!rc)
		message_pack(&out->body, &m.base);
	buf_fini(&pem);
	return rc;
}

static int
enrol(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	Sync__JoinRequest *m =
		message_read(&sync__join_request__descriptor, rq->body, rq->body_n, e);
	int rc = m ? answer(&m->csr, m->site, out, e) : ERR_PEER;

	(void)node;
	message_free(m);
	atomic_fetch_add(&central.calls, 1);
	if (rc || !central.status)
		return rc;
	buf_clear(&out->body);
	buf_puts(&out->body, "the code is not known\nmore");
	out->status = central.status;
	return 0;
}

static int
renew(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	Sync__RenewRequest *m =
		message_read(&sync__renew_request__descriptor, rq->body, rq->body_n, e);
	int rc = m ? answer(&m->csr, rq->site, out, e) : ERR_PEER;

	(void)node;
	message_free(m);
	return rc;
}

static int
whoami(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	(void)node;
	(void)e;
	buf_put(&out->body, rq->key, sizeof(rq->key));
	return 0;
}

static bool
allowed(void *node, const struct http_request *rq, unsigned right, const char **why)
{
	(void)node;
	(void)rq;
	(void)right;
	*why = "suspended";
	return !atomic_load(&central.suspended);
}

static void
put(const char *name, const struct buf *b, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "%s/%s", folder, name);
	assert_int_equal(file_replace(folder, name, b->data, b->len, NULL), 0);
}

static void
start_central(void)
{
	static const struct http_route routes[] = {
		{"POST", "/join/v1/enrol", RIGHT_SYNC | HTTP_OPEN, 10000, enrol, NULL},
		{"POST", "/sync/v1/renew", RIGHT_SYNC, 10000, renew, NULL},
		{"GET", "/whoami", RIGHT_SYNC, 0, whoami, NULL}};
	static char text[32];
	static const char *listen_on[] = {text, NULL};
	struct http_config c = {.routes = routes,
				.n_routes = sizeof(routes) / sizeof(routes[0]),
				.allowed = allowed,
				.listen = listen_on,
				.cert = cert,
				.key = key_file,
				.ca = ca_file,
				.max_connections = 20,
				.max_per_address = 20,
				.header_seconds = 60,
				.min_rate = 1024,
				.clock = clock_real()};
	char hex[2 * ID128_SIZE + 1], name[80];
	struct buf key = BUF_INIT, pem = BUF_INIT, other = BUF_INIT;
	struct join_code j = {{1, 2, 3}, {0}};

	memset(&central, 0, sizeof(central));
	memset(central.archive, 7, sizeof(central.archive));
	hex_of(central.archive, ID128_SIZE, hex);
	(void)snprintf(name, sizeof(name), "central.%s", hex);
	assert_int_equal(pki_key_make(&central.ca_key, NULL), 0);
	assert_int_equal(pki_ca_make(&central.ca, &central.ca_key, "a", NOW, DAYS, NULL), 0);
	assert_int_equal(pki_key_make(&other, NULL), 0);
	assert_int_equal(pki_ca_make(&central.other_ca, &other, "b", NOW, DAYS, NULL), 0);
	assert_int_equal(pki_key_make(&key, NULL), 0);
	issue(&pem, &key, name, PKI_SERVER);
	buf_put(&pem, central.ca.data, central.ca.len);
	put("server.pem", &pem, cert);
	put("server.key", &key, key_file);
	put("ca.pem", &central.ca, ca_file);
	assert_int_equal(pki_key_print(&central.ca_key, j.print, NULL), 0);
	join_code_write(&j, code);
	(void)snprintf(text, sizeof(text), "127.0.0.1:%u", pair_free_port());
	(void)snprintf(url, sizeof(url), "https://%s", text);
	assert_int_equal(http_start(&server, &c, NULL), 0);
	buf_fini(&key);
	buf_fini(&pem);
	buf_fini(&other);
}

static char conf_path[PATH_SIZE];

static void
open_edge(void)
{
	struct err e = ERR_INIT;

	if (edge_open(&edge, conf_path, EDGE_LOCAL, &e))
		fail_msg("%s", e.what);
}

static int
make(void **state)
{
	char text[500];
	struct buf conf = BUF_INIT;
	struct err e = ERR_INIT;

	if (make_folder(state))
		return -1;
	log_set_level(LOG_ERROR);
	start_central();
	(void)snprintf(text, sizeof(text),
		       "[site]\nname = north\nissuer = N\n[data]\ndir = %s/edge\nquota = 64MiB\n"
		       "[log]\nlevel = error\n",
		       folder);
	buf_puts(&conf, text);
	put("edge.conf", &conf, conf_path);
	buf_fini(&conf);
	if (edge_init(conf_path, &e))
		fail_msg("%s", e.what);
	open_edge();
	return 0;
}

static int
drop(void **state)
{
	edge_close(&edge);
	http_stop(server);
	buf_fini(&central.ca);
	buf_fini(&central.ca_key);
	buf_fini(&central.other_ca);
	return drop_folder(state);
}

/* The certificate is of the key, and both are there. */
static void
key_and_certificate(unsigned char print[PKI_PRINT])
{
	struct pki_certificate c;
	struct buf key = BUF_INIT, pem = BUF_INIT;
	struct joined j;

	assert_int_equal(joined_read(&j, edge.dir, NULL), 0);
	assert_int_equal(file_slurp(j.key, 10000, &key, NULL), 0);
	assert_int_equal(file_slurp(j.cert, 10000, &pem, NULL), 0);
	assert_int_equal(pki_key_print(&key, print, NULL), 0);
	assert_int_equal(pki_read(&c, &pem, NULL), 0);
	assert_memory_equal(c.print, print, PKI_PRINT);
	assert_string_equal(c.name, "north");
	buf_fini(&key);
	buf_fini(&pem);
}

static void
join_run__R26_gets_a_certificate_for_a_key_of_its_own(void **state)
{
	unsigned char print[PKI_PRINT], hash[SHA256_SIZE], want[SHA256_SIZE];
	struct joined j;
	char slashed[80];

	(void)state;
	assert_int_equal(joined_read(&j, edge.dir, NULL), ERR_ABSENT);
	assert_int_equal(home_kind(&edge), HOME_STRANGER);
	assert_false(joined_ca_hash(edge.dir, hash));
	(void)snprintf(slashed, sizeof(slashed), "%s/", url);
	assert_int_equal(join_run(&edge, slashed, code, NULL), 0);
	assert_int_equal(home_kind(&edge), HOME_JOINED);
	key_and_certificate(print);
	assert_memory_equal(print, central.asked, sizeof(print));
	assert_int_equal(joined_read(&j, edge.dir, NULL), 0);
	assert_string_equal(j.url, url);
	assert_string_equal(j.archive, "07070707070707070707070707070707");
	assert_true(joined_ca_hash(edge.dir, hash));
	sha256_of(central.ca.data, central.ca.len, want);
	assert_memory_equal(hash, want, sizeof(want));
}

/* The code is bound to the first key that used it: after a lost answer it must be that one. */
static void
join_run__R26_the_same_code_is_the_same_key(void **state)
{
	unsigned char first[PKI_PRINT], then[PKI_PRINT];
	struct err e = ERR_INIT;
	struct join_code j;

	(void)state;
	central.status = 500;
	assert_int_equal(join_run(&edge, url, code, &e), ERR_PEER);
	assert_non_null(strstr(e.what, "(500): the code is not known"));
	assert_null(strstr(e.what, "more"));
	memcpy(first, central.asked, sizeof(first));
	central.status = 0;
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	assert_memory_equal(central.asked, first, sizeof(first));
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	assert_memory_equal(central.asked, first, sizeof(first));
	assert_true(join_code_read(&j, code)); /* another code: another key */
	j.secret[0]++;
	join_code_write(&j, code);
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	key_and_certificate(then);
	assert_memory_not_equal(then, first, sizeof(first));
}

static void
join_run__R26_what_is_wrong_changes_nothing(void **state)
{
	unsigned char before[PKI_PRINT], after[PKI_PRINT];
	struct buf key = BUF_INIT;
	struct join_code j;
	char other[JOIN_CODE_SIZE];
	unsigned calls;

	(void)state;
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	key_and_certificate(before);
	calls = atomic_load(&central.calls);
	assert_int_equal(join_run(&edge, "http://127.0.0.1:80", code, NULL), ERR_PEER);
	assert_int_equal(join_run(&edge, "https://", code, NULL), ERR_PEER);
	assert_int_equal(join_run(&edge, "https://a/b", code, NULL), ERR_PEER);
	assert_int_equal(join_run(&edge, url, "abcd-efgh", NULL), ERR_PEER);
	edge.urls[0] = "http://127.0.0.1:80"; /* R24: an identity, and plain http */
	assert_int_equal(join_run(&edge, url, code, NULL), ERR_PEER);
	edge.urls[0] = NULL;
	assert_true(join_code_read(&j, code));
	j.print[5] ^= 1; /* another central than the one of the code */
	join_code_write(&j, other);
	assert_int_equal(join_run(&edge, url, other, NULL), ERR_AGAIN);
	assert_int_equal(atomic_load(&central.calls), calls); /* which heard nothing of it */
	strcpy(central.issued_to, "south");
	assert_int_equal(join_run(&edge, url, code, NULL), ERR_PEER);
	central.issued_to[0] = '\0';
	assert_int_equal(pki_key_make(&key, NULL), 0);
	central.key = &key;
	assert_int_equal(join_run(&edge, url, code, NULL), ERR_PEER);
	central.key = NULL;
	central.no_ca = true;
	assert_int_equal(join_run(&edge, url, code, NULL), ERR_PEER);
	central.no_ca = false;
	central.foreign_ca = true;
	assert_int_equal(join_run(&edge, url, code, NULL), ERR_PEER);
	central.foreign_ca = false;
	central.short_archive = true;
	assert_int_equal(join_run(&edge, url, code, NULL), ERR_PEER);
	central.short_archive = false;
	key_and_certificate(after);
	assert_memory_equal(after, before, sizeof(before));
	buf_fini(&key);
}

/* Whatever step failed: the same command again mends it, with the key that central knows. */
static void
join_run__R26_is_mended_by_itself_after_each_failed_step(void **state)
{
	unsigned char first[PKI_PRINT], print[PKI_PRINT];
	struct join_code j;
	unsigned n;
	int rc;

	(void)state;
	assert_true(join_code_read(&j, code));
	for (n = 1;; n++) {
		j.secret[1] = (unsigned char)n; /* a code, and so a key, of its own */
		join_code_write(&j, code);
		memset(central.asked, 0, sizeof(central.asked));
		fault_arm(n, FAULT_ERRNO, 5);
		rc = join_run(&edge, url, code, NULL);
		if (fault_disarm() < n)
			break;
		assert_int_not_equal(rc, 0);
		memcpy(first, central.asked, sizeof(first));
		assert_int_equal(join_run(&edge, url, code, NULL), 0);
		key_and_certificate(print);
		if (first[0] | first[1] | first[2]) /* it had asked */
			assert_memory_equal(print, first, sizeof(first));
	}
	assert_int_equal(rc, 0);
	assert_true(n > 8);
}

/* What `serve` made for a plain node would be made again where a disk is not mounted. */
static void
join_run__R23_nothing_is_made_up_for_a_node_that_joined(void **state)
{
	struct identity id = edge.identity;
	char store[EDGE_DIR_MAX + 8];

	(void)state;
	id.by_init = false;
	(void)snprintf(store, sizeof(store), "%s/store", edge.dir);
	strcpy(id.part, "store");
	assert_int_equal(identity_write(store, &id, NULL), 0);
	strcpy(id.part, "data");
	assert_int_equal(identity_write(edge.dir, &id, NULL), 0);
	edge_close(&edge);
	open_edge();
	assert_false(edge.identity.by_init);
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	edge_close(&edge);
	open_edge();
	assert_true(edge.identity.by_init);
}

static int
ask(struct link *l, struct http_call *call, struct http_done *done)
{
	static const _Atomic bool stop = false;

	assert_int_equal(link_ask(l, call, done, &stop, NULL), 0);
	return done->status;
}

static int
ask_who(struct link *l, unsigned char print[PKI_PRINT], char what[HTTP_WHAT_SIZE])
{
	struct http_call call = {.method = "GET", .path = "/whoami"};
	struct http_done done;
	int status = ask(l, &call, &done);

	if (status == 200)
		memcpy(print, done.body.data, PKI_PRINT);
	memcpy(what, done.what, HTTP_WHAT_SIZE);
	buf_fini(&done.body);
	return status;
}

static void
join_renewal__R25_keeps_the_key_and_the_archive(void **state)
{
	unsigned char before[PKI_PRINT], after[PKI_PRINT];
	struct http_call call;
	struct http_done done;
	struct link *link;
	struct joined j, then;

	(void)state;
	assert_int_equal(join_renewal(&call, &edge, NULL), ERR_ABSENT);
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	assert_int_equal(joined_read(&j, edge.dir, NULL), 0);
	key_and_certificate(before);
	assert_int_equal(home_link(&link, &edge, NULL), 0);
	assert_int_equal(join_renewal(&call, &edge, NULL), 0);
	assert_int_equal(ask(link, &call, &done), 200);
	assert_int_equal(join_renewed(&edge, &done, NULL), 0);
	buf_fini(&done.body);
	key_and_certificate(after);
	assert_memory_equal(before, after, sizeof(after));
	central.archive[3]++; /* an archive that took the place of ours */
	assert_int_equal(join_renewal(&call, &edge, NULL), 0);
	assert_int_equal(ask(link, &call, &done), 200);
	assert_int_equal(join_renewed(&edge, &done, NULL), ERR_PEER);
	buf_fini(&done.body);
	assert_int_equal(joined_read(&then, edge.dir, NULL), 0);
	assert_memory_equal(&j, &then, sizeof(j));
	link_close(link);
}

static void
home_link__R24_R25_goes_by_what_the_edge_has_now(void **state)
{
	unsigned char first[PKI_PRINT], second[PKI_PRINT], print[PKI_PRINT];
	char what[HTTP_WHAT_SIZE];
	struct join_code j;
	struct link *link;

	(void)state;
	assert_int_equal(home_link(&link, &edge, NULL), 0);
	assert_int_equal(ask_who(link, print, what), 0);
	assert_int_equal(strncmp(what, "not joined", 10), 0);
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	key_and_certificate(first);
	assert_int_equal(ask_who(link, print, what), 200); /* without a restart */
	assert_memory_equal(print, first, sizeof(first));
	assert_true(join_code_read(&j, code));
	j.secret[0]++;
	join_code_write(&j, code);
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	key_and_certificate(second);
	assert_int_equal(ask_who(link, print, what), 200); /* not on the old connection */
	assert_memory_equal(print, second, sizeof(second));
	link_close(link);
}

static void
home_link__R24_begins_anew_when_it_was_turned_away(void **state)
{
	unsigned char print[PKI_PRINT], want[PKI_PRINT];
	char what[HTTP_WHAT_SIZE];
	struct buf key = BUF_INIT, pem = BUF_INIT;
	struct link *link;
	struct joined j;
	char tls[EDGE_DIR_MAX + 8];

	(void)state;
	assert_int_equal(join_run(&edge, url, code, NULL), 0);
	assert_int_equal(joined_read(&j, edge.dir, NULL), 0);
	assert_int_equal(home_link(&link, &edge, NULL), 0);
	assert_int_equal(ask_who(link, print, what), 200);
	atomic_store(&central.suspended, true);
	assert_int_equal(ask_who(link, print, what), 403);
	/* A person puts other files there; nobody tells the edge. */
	assert_int_equal(pki_key_make(&key, NULL), 0);
	assert_int_equal(pki_key_print(&key, want, NULL), 0);
	issue(&pem, &key, "north", PKI_BOTH);
	(void)snprintf(tls, sizeof(tls), "%s/tls", edge.dir);
	assert_int_equal(file_replace(tls, "edge.key", key.data, key.len, NULL), 0);
	assert_int_equal(file_replace(tls, "edge.pem", pem.data, pem.len, NULL), 0);
	atomic_store(&central.suspended, false);
	assert_int_equal(ask_who(link, print, what), 200);
	assert_memory_equal(print, want, sizeof(want));
	link_close(link);
	buf_fini(&key);
	buf_fini(&pem);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(join_run__R26_gets_a_certificate_for_a_key_of_its_own),
		TEST(join_run__R26_the_same_code_is_the_same_key),
		TEST(join_run__R26_what_is_wrong_changes_nothing),
		TEST(join_run__R26_is_mended_by_itself_after_each_failed_step),
		TEST(join_run__R23_nothing_is_made_up_for_a_node_that_joined),
		TEST(join_renewal__R25_keeps_the_key_and_the_archive),
		TEST(home_link__R24_R25_goes_by_what_the_edge_has_now),
		TEST(home_link__R24_begins_anew_when_it_was_turned_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
