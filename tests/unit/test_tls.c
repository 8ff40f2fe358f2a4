/* Certificates at both ends of HTTP: who is believed, by what, and from when on (R24-R26). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/http/pki.h"
#include "common/http/server.h"
#include "common/os/file.h"
#include "tests/lib/certify.h"
#include "tests/lib/folder.h"

enum { RIGHT_SYNC = 1, YEARS_30 = 10957 };

#define ARCHIVE "000102030405060708090a0b0c0d0e0f"
#define OTHER "ff0102030405060708090a0b0c0d0e0f"
#define DAY_MS INT64_C(86400000)
#define NOW INT64_C(1790000000000) /* 2026 */
#define IN_1970 INT64_C(1000000)
#define IN_2100 INT64_C(4102444800000)

static struct clock_manual clock_of_server;
static struct http_server *server;
static unsigned short port;
static _Atomic bool suspended;
static struct ca ours, theirs;

/* A leaf and what is sent behind it, good for two years. */
static void
make_leaf(const char *stem, const struct ca *by, const char *name, enum pki_use use, int64_t at_ms,
	  const struct buf *behind)
{
	ca_certify(by, stem, (struct pki_issue){NULL, NULL, name, ARCHIVE, use, at_ms, 730},
		   behind);
}

static int
who(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	unsigned i;

	(void)node;
	(void)e;
	buf_printf(&out->body, "%s %s ", rq->certified ? rq->site : "nobody",
		   rq->late ? "late" : "in time");
	for (i = 0; i < HTTP_KEY_SIZE; i++)
		buf_printf(&out->body, "%02x", rq->key[i]);
	buf_put_u8(&out->body, 0);
	return 0;
}

static bool
allowed(void *node, const struct http_request *rq, unsigned right, const char **why)
{
	(void)node;
	if (atomic_load(&suspended))
		*why = "suspended";
	return !atomic_load(&suspended) && (right & HTTP_OPEN || rq->certified);
}

static const struct http_route routes[] = {{"GET", "/who", RIGHT_SYNC, 0, who, NULL},
					   {"GET", "/join", RIGHT_SYNC | HTTP_OPEN, 0, who, NULL}};

static void
start(void)
{
	static char text[32], cert[FOLDER_PATH], key[FOLDER_PATH], ca[FOLDER_PATH];
	static const char *listen_on[] = {text, NULL};
	struct http_config c = {.routes = routes,
				.n_routes = sizeof(routes) / sizeof(routes[0]),
				.allowed = allowed,
				.listen = listen_on,
				.cert = cert,
				.key = key,
				.ca = ca,
				.max_connections = 20,
				.max_per_address = 20,
				.header_seconds = 60,
				.min_rate = 1024,
				.clock = &clock_of_server.c};
	int i, rc = -1;

	strcpy(cert, folder_path("server.pem"));
	strcpy(key, folder_path("server.key"));
	strcpy(ca, folder_path("ca.pem"));
	for (i = 0; rc && i < 200; i++) {
		port = (unsigned short)(20000 + (getpid() * 7 + i) % 10000);
		(void)snprintf(text, sizeof(text), "127.0.0.1:%u", port);
		rc = http_start(&server, &c, NULL);
	}
	assert_int_equal(rc, 0);
}

static int
make_server(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	atomic_store(&suspended, false);
	clock_manual_init(&clock_of_server, 1000, NOW);
	ca_make(&ours, "salamander " ARCHIVE, NOW, YEARS_30);
	ca_make(&theirs, "salamander " OTHER, NOW, YEARS_30);
	folder_put("ca.pem", &ours.pem);
	make_leaf("server", &ours, "central." ARCHIVE, PKI_SERVER, NOW, &ours.pem);
	make_leaf("north", &ours, "north", PKI_BOTH, NOW, NULL);
	start();
	return 0;
}

static int
drop_server(void **state)
{
	(void)state;
	http_stop(server);
	ca_fini(&ours);
	ca_fini(&theirs);
	return 0;
}

/* --- the client's end --- */

static char url[64];
static const char *urls[] = {url, NULL, NULL};

static struct http_client_config
config(const char *stem)
{
	struct http_client_config c = {
		.urls = urls, .site = "north", .archive = ARCHIVE, .connect_ms = 5000};
	char name[64];

	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", port);
	c.ca = folder_path("ca.pem");
	c.cert = c.key = "";
	if (stem[0]) {
		(void)snprintf(name, sizeof(name), "%s.pem", stem);
		c.cert = folder_path(name);
		(void)snprintf(name, sizeof(name), "%s.key", stem);
		c.key = folder_path(name);
	}
	c.max_body = 1000;
	return c;
}

static int
ask(struct http_client *client, const char *where, char text[200])
{
	struct http_call call = {.method = "GET"};
	struct http_done done;

	(void)snprintf(call.path, sizeof(call.path), "%s", where);
	assert_int_equal(http_client_ask(client, &call, &done, NULL), 0);
	(void)snprintf(text, 200, "%.*s", done.status ? (int)done.body.len : HTTP_WHAT_SIZE,
		       done.status ? (const char *)done.body.data : done.what);
	buf_fini(&done.body);
	return done.status;
}

static int
once(const struct http_client_config *c, const char *where, char text[200])
{
	struct http_client *client;
	int status;

	assert_int_equal(http_client_open(&client, c, NULL), 0);
	status = ask(client, where, text);
	http_client_close(client);
	return status;
}

static void
print_of(const char *file, char hex[2 * PKI_PRINT + 1])
{
	struct pki_certificate cert;
	struct buf pem = BUF_INIT;
	unsigned i;

	assert_int_equal(file_slurp(folder_path(file), 10000, &pem, NULL), 0);
	assert_int_equal(pki_read(&cert, &pem, NULL), 0);
	for (i = 0; i < PKI_PRINT; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", cert.print[i]);
	buf_fini(&pem);
}

/* --- the server's judgement --- */

static void
http_gate__R24_tells_the_node_name_and_key_and_turns_others_away(void **state)
{
	struct http_client_config c = config("north");
	char text[200], want[200], hex[2 * PKI_PRINT + 1];

	(void)state;
	print_of("north.pem", hex);
	(void)snprintf(want, sizeof(want), "north in time %s", hex);
	assert_int_equal(once(&c, "/who", text), 200);
	assert_string_equal(text, want);
	c.site = "south";
	assert_int_equal(once(&c, "/who", text), 403);
	c = config("");
	assert_int_equal(once(&c, "/who", text), 403);
	assert_int_equal(once(&c, "/nothing", text), 403);
	assert_int_equal(once(&c, "/join", text), 200);
	assert_int_equal(strncmp(text, "nobody in time 000000", 21), 0);
	make_leaf("foreign", &theirs, "north", PKI_BOTH, NOW, NULL);
	c = config("foreign");
	assert_int_equal(once(&c, "/who", text), 403);
	assert_int_equal(once(&c, "/join", text), 200);
	assert_int_equal(strncmp(text, "nobody", 6), 0);
	make_leaf("server2", &ours, "north", PKI_SERVER, NOW, NULL); /* not meant for a client */
	c = config("server2");
	assert_int_equal(once(&c, "/who", text), 403);
}

static void
http_gate__R25_a_certificate_out_of_time_is_known_as_such(void **state)
{
	static const struct {
		int64_t now;
		const char *said;
	} cases[] = {{IN_1970, "north late"},
		     {NOW, "north in time"},
		     {NOW + 729 * DAY_MS, "north in time"},
		     {NOW + 731 * DAY_MS, "north late"},
		     {IN_2100, "north late"}};
	struct http_client_config c = config("north");
	struct http_client *client;
	char text[200];
	size_t i;

	(void)state;
	assert_int_equal(http_client_open(&client, &c, NULL), 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		atomic_store(&clock_of_server.wall, cases[i].now);
		assert_int_equal(ask(client, "/who", text), 200);
		if (strncmp(text, cases[i].said, strlen(cases[i].said)) != 0)
			fail_msg("%zu: %s", i, text);
	}
	http_client_close(client);
}

static void
http_gate__R24_what_is_taken_back_counts_on_a_standing_connection(void **state)
{
	struct http_client_config c = config("north");
	struct http_client *client;
	char text[200];

	(void)state;
	assert_int_equal(http_client_open(&client, &c, NULL), 0);
	assert_int_equal(ask(client, "/who", text), 200);
	atomic_store(&suspended, true);
	assert_int_equal(ask(client, "/who", text), 403);
	assert_string_equal(text, "suspended\n");
	atomic_store(&suspended, false);
	assert_int_equal(ask(client, "/who", text), 200);
	folder_put("ca.pem", &theirs.pem); /* a CA that is no longer believed */
	assert_int_equal(http_reload(server, NULL), 0);
	assert_int_equal(ask(client, "/who", text), 403);
	http_client_close(client);
}

static void
http_reload__R25_takes_new_files_whole_or_keeps_the_old_ones(void **state)
{
	struct http_client_config c = config("north");
	struct buf key = BUF_INIT;
	char text[200];

	(void)state;
	assert_int_equal(file_slurp(folder_path("server.key"), 10000, &key, NULL), 0);
	make_leaf("server", &ours, "central." OTHER, PKI_SERVER, NOW, &ours.pem);
	assert_int_equal(once(&c, "/who", text), 200); /* not yet */
	folder_put("server.key", &key);		       /* not the certificate's */
	assert_int_not_equal(http_reload(server, NULL), 0);
	assert_int_equal(once(&c, "/who", text), 200);
	make_leaf("server", &ours, "central." OTHER, PKI_SERVER, NOW, &ours.pem);
	assert_int_equal(http_reload(server, NULL), 0);
	assert_int_equal(once(&c, "/who", text), 0);
	c.archive = OTHER;
	assert_int_equal(once(&c, "/who", text), 200);
	buf_fini(&key);
}

/* --- the client's judgement --- */

static void
restart_as(const struct ca *by, const char *name, enum pki_use use, int64_t at_ms)
{
	http_stop(server);
	make_leaf("server", by, name, use, at_ms, &by->pem);
	start();
}

static void
http_client__R25_goes_by_the_archive_and_not_by_host_or_time(void **state)
{
	struct http_client_config c;
	char text[200];

	(void)state;
	restart_as(&ours, "central." ARCHIVE, PKI_SERVER, IN_1970);
	c = config("north");
	assert_int_equal(once(&c, "/who", text), 200);
	restart_as(&ours, "central." ARCHIVE, PKI_SERVER, IN_2100);
	c = config("north");
	assert_int_equal(once(&c, "/who", text), 200);
	c.archive = OTHER;
	assert_int_equal(once(&c, "/who", text), 0);
	assert_string_equal(text, "it is not the central of this archive");
	c.archive = ""; /* own certificates: any name that the CA signed */
	assert_int_equal(once(&c, "/who", text), 200);
	restart_as(&ours, "north", PKI_BOTH, NOW); /* a site with a server of its own */
	c = config("north");
	assert_int_equal(once(&c, "/who", text), 0);
	restart_as(&theirs, "central." ARCHIVE, PKI_SERVER, NOW);
	c = config("north");
	assert_int_equal(once(&c, "/who", text), 0);
}

static void
http_client__R26_before_a_join_only_what_the_code_names_is_believed(void **state)
{
	struct http_client_config c = config("");
	unsigned char pin[PKI_PRINT], other[PKI_PRINT];
	char text[200];

	(void)state;
	assert_int_equal(pki_key_print(&ours.key, pin, NULL), 0);
	assert_int_equal(pki_key_print(&theirs.key, other, NULL), 0);
	c.archive = c.ca = "";
	c.pin = pin;
	assert_int_equal(once(&c, "/join", text), 200);
	assert_int_equal(once(&c, "/who", text), 403);
	c.pin = other;
	assert_int_equal(once(&c, "/join", text), 0);
	assert_string_equal(text, "it is not the central of this code");
	restart_as(&ours, "north", PKI_SERVER, NOW); /* of the archive, and not its central */
	c = config("");
	c.archive = c.ca = "";
	c.pin = pin;
	assert_int_equal(once(&c, "/join", text), 0);
	/* The name is right and the root is sent along, but another key signed. */
	http_stop(server);
	make_leaf("server", &theirs, "central." ARCHIVE, PKI_SERVER, NOW, &ours.pem);
	start();
	c = config("");
	c.archive = c.ca = "";
	c.pin = pin;
	assert_int_equal(once(&c, "/join", text), 0);
}

/* An edge that was cut off while the CA changed knows the old one; so does its certificate. */
static void
http_client__R25_a_change_of_the_ca_cuts_nobody_off(void **state)
{
	struct http_client_config c;
	struct buf cross = BUF_INIT, both = BUF_INIT;
	struct ca new_ca;
	char text[200];

	(void)state;
	ca_make(&new_ca, "salamander " ARCHIVE, NOW, YEARS_30);
	assert_int_equal(
		pki_cross_sign(&cross, &new_ca.pem, &ours.pem, &ours.key, NOW + 700 * DAY_MS, NULL),
		0);
	folder_put("old.pem", &ours.pem);
	buf_put(&both, new_ca.pem.data, new_ca.pem.len);
	buf_put(&both, ours.pem.data, ours.pem.len);
	folder_put("ca.pem", &both);
	buf_put(&cross, new_ca.pem.data, new_ca.pem.len);
	make_leaf("server", &new_ca, "central." ARCHIVE, PKI_SERVER, NOW, &cross);
	assert_int_equal(http_reload(server, NULL), 0);
	c = config("north");
	c.ca = folder_path("old.pem");
	assert_int_equal(once(&c, "/who", text), 200);
	c = config("north");
	assert_int_equal(once(&c, "/who", text), 200);
	make_leaf("south", &new_ca, "south", PKI_BOTH, NOW, NULL);
	c = config("south");
	c.site = "south";
	assert_int_equal(once(&c, "/who", text), 200);
	buf_fini(&cross);
	buf_fini(&both);
	ca_fini(&new_ca);
}

static void
http_client__R25_reads_its_files_for_each_new_connection(void **state)
{
	struct http_client_config c = config("north");
	struct http_client *client;
	char text[200], hex[2 * PKI_PRINT + 1];
	unsigned i;

	(void)state;
	assert_int_equal(http_client_open(&client, &c, NULL), 0);
	assert_int_equal(ask(client, "/who", text), 200);
	make_leaf("north", &ours, "north", PKI_BOTH, NOW, NULL);
	print_of("north.pem", hex);
	assert_null(strstr(text, hex));
	http_stop(server); /* ends its connection */
	start();
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", port);
	for (i = 0; i < 3 && ask(client, "/who", text) != 200; i++)
		;
	assert_non_null(strstr(text, hex));
	http_client_close(client);
}

static void
http_client__R25_goes_from_address_to_address(void **state)
{
	struct http_client_config c = config("north");
	const char *two[] = {"https://127.0.0.1:1", url, NULL};
	struct http_client *client;
	char text[200];

	(void)state;
	c.urls = two;
	assert_int_equal(http_client_open(&client, &c, NULL), 0);
	assert_int_equal(ask(client, "/who", text), 0);
	assert_int_equal(ask(client, "/who", text), 200);
	assert_int_equal(ask(client, "/who", text), 200);
	http_stop(server);
	assert_int_equal(ask(client, "/who", text), 0); /* the connection ended */
	assert_int_equal(ask(client, "/who", text), 0);
	assert_int_equal(ask(client, "/who", text), 0);
	start();
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", port);
	if (ask(client, "/who", text) != 200) /* it was the other one's turn */
		assert_int_equal(ask(client, "/who", text), 200);
	http_client_close(client);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_server, drop_server)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(http_gate__R24_tells_the_node_name_and_key_and_turns_others_away),
		TEST(http_gate__R25_a_certificate_out_of_time_is_known_as_such),
		TEST(http_gate__R24_what_is_taken_back_counts_on_a_standing_connection),
		TEST(http_reload__R25_takes_new_files_whole_or_keeps_the_old_ones),
		TEST(http_client__R25_goes_by_the_archive_and_not_by_host_or_time),
		TEST(http_client__R26_before_a_join_only_what_the_code_names_is_believed),
		TEST(http_client__R25_a_change_of_the_ca_cuts_nobody_off),
		TEST(http_client__R25_reads_its_files_for_each_new_connection),
		TEST(http_client__R25_goes_from_address_to_address),
	};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
