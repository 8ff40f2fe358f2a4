/* DICOM under TLS: who is let in and whom we call, with certificates made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dicom/tls.h"
#include "common/dimse/peers.h"
#include "common/http/pki.h"
#include "common/os/file.h"
#include "tests/lib/certify.h"
#include "tests/lib/folder.h"
#include "tests/lib/request.h"
#include "tests/lib/viewer.h"

/* DCMTK 3.6.7 forgets its lists of a request that it cannot parse: 32 bytes each. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:LST_Create\n";
}

enum { WAIT_MS = 20000, PATIENCE_MS = 300, BIG = 24 << 20 };
#define DAY_MS INT64_C(86400000)

/* --- certificates --- */

static void
new_ca(struct ca *ca, const char *file)
{
	ca_make(ca, file, clock_wall(clock_real()), 3650);
	folder_put(file, &ca->pem);
}

/* From a day before at_ms, for a day more than `days`. */
static void
certify_at(const struct ca *ca, const char *name, int64_t at_ms, unsigned days)
{
	ca_certify(ca, name, (struct pki_issue){NULL, NULL, name, "Ward 3", PKI_BOTH, at_ms, days},
		   NULL);
}

static void
certify(const struct ca *ca, const char *name)
{
	certify_at(ca, name, clock_wall(clock_real()), 100);
}

/* What <name> shows, and that it believes the CA of that file. */
static struct tls *
shown(const char *name, const char *ca)
{
	char cert[64], key[64];
	struct tls *t = NULL;

	(void)snprintf(cert, sizeof(cert), "%s.pem", name);
	(void)snprintf(key, sizeof(key), "%s.key", name);
	assert_int_equal(tls_load(&t, folder_path(cert), folder_path(key), folder_path(ca), NULL),
			 0);
	return t;
}

/* --- a node, its CA, and a viewer with a certificate of it --- */

struct secure {
	struct node n;
	struct viewer v;
	struct buf keys; /* of study 1.2.3 */
	struct ca ca, other;
	struct tls *viewer;
};

static int
secure_start(void **state)
{
	struct secure *s = calloc(1, sizeof(*s));
	struct visit asked;

	assert_non_null(s);
	if (make_folder(state))
		return -1;
	node_start(&s->n);
	memset(&asked, 0, sizeof(asked));
	visit_study(&asked);
	s->keys = asked.keys;
	new_ca(&s->ca, "ca.pem");
	new_ca(&s->other, "other.pem");
	certify(&s->ca, "node");
	certify(&s->ca, "viewer");
	certify(&s->other, "stranger");
	s->viewer = shown("viewer", "ca.pem");
	node_secure(&s->n, folder_path("node.pem"), folder_path("node.key"), folder_path("ca.pem"));
	*state = s;
	return 0;
}

static int
secure_end(void **state)
{
	struct secure *s = *state;

	viewer_close(&s->v);
	buf_fini(&s->keys);
	tls_unref(s->viewer);
	ca_fini(&s->ca);
	ca_fini(&s->other);
	node_stop(&s->n);
	free(s);
	return drop_folder(state);
}

#define secure_test(f) cmocka_unit_test_setup_teardown(f, secure_start, secure_end)

/* An association for C-FIND, at once given up again; what an attempt says. */
static int
call(const struct node *n, bool secure, struct tls *t, const char *name, struct err *e)
{
	static const char *const plain[] = {EXPLICIT};
	static const struct assoc_proposal p = {FIND, plain, 1, ASSOC_ROLE_DEFAULT};
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = secure ? n->tls_port : n->port,
				  .calling = "VIEWER",
				  .called = "NODE",
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = VIEWER_SECONDS,
				  .tls = t,
				  .certificate = name};
	struct assoc *a = NULL;
	int rc = assoc_request(&a, &to, &p, 1, e);

	if (!rc)
		assoc_release(a);
	assoc_free(a);
	return rc;
}

static void
find_once(struct secure *s, struct viewer *v)
{
	viewer_ask(v, ON_FIND, MESSAGE_FIND_RQ, FIND, &s->keys, "");
	viewer_listen(v);
	assert_int_equal(v->last.status, STATUS_SUCCESS);
	assert_int_equal(v->pendings, 1);
}

/* --- who is let in --- */

static void
secure__R36_both_are_proven_and_the_audit_log_says_who_it_was(void **state)
{
	struct secure *s = *state;

	node_put(&s->n, 0, 3, 100, NULL);
	viewer_open_securely(&s->v, &s->n, s->viewer, "node");
	assert_string_equal(assoc_tls(s->v.a)->version, "TLSv1.3");
	assert_true(assoc_certified(s->v.a, "node"));
	assert_false(assoc_certified(s->v.a, "other"));
	find_once(s, &s->v);
	assert_true(node_audited_soon(
		&s->n, " tls=TLSv1.3 certificate=O=Ward_3,CN=viewer names=DNS:viewer"));
	assert_int_equal(call(&s->n, false, NULL, NULL, NULL), 0);
	assert_true(node_audited_soon(&s->n, " tls=no"));
}

static void
secure__R29_who_shows_no_good_certificate_is_refused(void **state)
{
	struct secure *s = *state;
	struct tls *t[4];
	struct err e = ERR_INIT;
	size_t i;

	certify_at(&s->ca, "early", clock_wall(clock_real()) + 30 * DAY_MS, 30);
	certify_at(&s->ca, "late", clock_wall(clock_real()) - 60 * DAY_MS, 30);
	certify(&s->ca, "good");
	t[0] = shown("stranger", "ca.pem");
	t[1] = shown("late", "ca.pem");
	t[2] = shown("early", "ca.pem");
	t[3] = shown("good", "ca.pem");
	for (i = 0; i < 3; i++) {
		assert_int_not_equal(call(&s->n, true, t[i], "node", NULL), 0);
		assert_true(node_alone_in_time(&s->n));
		assert_int_equal(dimse_refusals(s->n.dimse), i + 1);
	}
	assert_true(node_audited(&s->n, "refused what=association why=tls address=127.0.0.1"));
	assert_int_equal(call(&s->n, true, t[3], "node", NULL), 0);
	/* And the other way: whom the caller does not believe, or did not mean. */
	tls_unref(t[0]);
	t[0] = shown("good", "other.pem");
	assert_int_equal(call(&s->n, true, t[0], "node", &e), ERR_CONFLICT);
	err_clear(&e);
	assert_int_equal(call(&s->n, true, t[3], "elsewhere", &e), ERR_CONFLICT);
	assert_non_null(strstr(e.what, "CN=node"));
	for (i = 0; i < 4; i++)
		tls_unref(t[i]);
}

static void
secure__R29_a_peer_that_must_use_tls_is_refused_on_the_plain_port(void **state)
{
	struct secure *s = *state;
	struct err e = ERR_INIT;

	node_reload(&s->n, "tls = required");
	assert_int_equal(call(&s->n, false, NULL, NULL, &e), ERR_CONFLICT);
	assert_non_null(strstr(e.what, "rejected"));
	assert_true(node_audited_soon(&s->n, "rejected why=tls-required calling=VIEWER"));
	assert_int_equal(call(&s->n, true, s->viewer, "node", NULL), 0);
	node_reload(&s->n, "tls = yes");
	assert_int_equal(call(&s->n, false, NULL, NULL, NULL), 0);
	assert_int_equal(call(&s->n, true, s->viewer, "node", NULL), 0);
}

static void
secure__R29_a_peer_may_be_bound_to_a_certificate(void **state)
{
	struct secure *s = *state;

	node_reload(&s->n, "tls = required\ntls_name = viewer");
	assert_int_equal(call(&s->n, true, s->viewer, "node", NULL), 0);
	node_reload(&s->n, "tls = required\ntls_name = ct1.example");
	assert_int_equal(call(&s->n, true, s->viewer, "node", NULL), ERR_CONFLICT);
	assert_true(node_audited_soon(&s->n, "rejected why=certificate-name calling=VIEWER"));
}

static void
secure__a_reload_takes_new_files_and_cuts_none(void **state)
{
	struct secure *s = *state;
	struct tls *stranger = shown("stranger", "other.pem");

	node_put(&s->n, 0, 1, 100, NULL);
	viewer_open_securely(&s->v, &s->n, s->viewer, "node");
	certify(&s->other, "node");
	s->n.ca = folder_path("other.pem");
	assert_int_not_equal(call(&s->n, true, stranger, "node", NULL), 0); /* not yet */
	node_reload(&s->n, "");
	assert_int_equal(call(&s->n, true, stranger, "node", NULL), 0);
	assert_int_not_equal(call(&s->n, true, s->viewer, "node", NULL), 0);
	find_once(s, &s->v);
	tls_unref(stranger);
}

/* A device that makes its own: it stands for itself, not whoever signed it for others. */
static void
secure__a_single_certificate_may_be_believed(void **state)
{
	struct secure *s = *state;
	struct tls *stranger = shown("stranger", "ca.pem"), *another;

	certify(&s->other, "another");
	another = shown("another", "ca.pem");
	s->n.ca = folder_path("stranger.pem");
	node_reload(&s->n, "");
	assert_int_equal(call(&s->n, true, stranger, "node", NULL), 0);
	assert_int_not_equal(call(&s->n, true, another, "node", NULL), 0);
	tls_unref(stranger);
	tls_unref(another);
}

static void
secure__a_node_without_certificates_serves_nobody_on_that_port(void **state)
{
	struct secure *s = *state;

	s->n.cert = "";
	node_reload(&s->n, "");
	assert_int_not_equal(call(&s->n, true, s->viewer, "node", NULL), 0);
	assert_int_equal(call(&s->n, false, NULL, NULL, NULL), 0);
}

static int
load(const char *cert, const char *key, const char *ca, struct err *e)
{
	struct tls *t = NULL;
	int rc = tls_load(&t, folder_path(cert), folder_path(key), folder_path(ca), e);

	tls_unref(t);
	return rc;
}

static void
tls_load__says_which_file_is_wrong(void **state)
{
	static const struct {
		const char *cert, *key, *ca, *says;
	} tries[] = {{"absent.pem", "node.key", "ca.pem", "cannot read "},
		     {"node.pem", "absent.key", "ca.pem", "cannot read "},
		     {"node.pem", "node.key", "absent.pem", "cannot read "},
		     {"node.key", "node.key", "ca.pem", "node.key holds no certificate"},
		     {"node.pem", "viewer.key", "ca.pem", "viewer.key is not that"},
		     {"node.pem", "node.key", "node.key", "node.key holds no certificate"}};
	struct secure *s = *state;
	struct tls *t;
	size_t i;

	for (i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(load(tries[i].cert, tries[i].key, tries[i].ca, &e), ERR_LOCAL);
		assert_non_null(strstr(e.what, tries[i].says));
	}
	assert_int_equal(load("node.pem", "node.key", "ca.pem", NULL), 0);
	assert_string_equal(tls_untimely(s->viewer), "");
	certify_at(&s->ca, "soon", clock_wall(clock_real()), 20);
	t = shown("soon", "ca.pem");
	assert_non_null(strstr(tls_untimely(t), "expires within"));
	tls_unref(t);
	certify_at(&s->ca, "late", clock_wall(clock_real()) - 60 * DAY_MS, 30);
	t = shown("late", "ca.pem");
	assert_non_null(strstr(tls_untimely(t), "expired"));
	tls_unref(t);
}

/* --- what goes wrong on purpose --- */

static void
secure__plain_and_secure_do_not_mix(void **state)
{
	struct secure *s = *state;
	unsigned char answer[64];
	int fd;

	assert_int_not_equal(call(&s->n, true, NULL, NULL, NULL), 0);
	s->n.tls_port = s->n.port;
	assert_int_not_equal(call(&s->n, true, s->viewer, "node", NULL), 0);
	/* A ClientHello's first bytes on the plain port: A-ABORT. */
	fd = request_connect(s->n.port);
	assert_int_equal(send(fd, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, 0), 11);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
	assert_int_equal(answer[0], 7);
	(void)close(fd);
	assert_int_equal(call(&s->n, false, NULL, NULL, NULL), 0);
}

static void
secure__a_handshake_keeps_to_the_deadline(void **state)
{
	struct secure *s = *state;
	int silent, slow, i;

	dimse_stop(s->n.dimse);
	s->n.config.association_seconds = 1;
	assert_int_equal(dimse_start(&s->n.dimse, &s->n.config, s->n.peers, NULL), 0);
	silent = request_connect(s->n.tls_port);
	slow = request_connect(s->n.tls_port);
	for (i = 0; i < 40; i++) { /* a ClientHello of 512 bytes, one at a time */
		(void)send(slow, i < 5 ? &"\x16\x03\x01\x02\x00"[i] : "\1", 1, MSG_NOSIGNAL);
		clock_sleep(clock_real(), 50);
	}
	assert_true(node_alone_in_time(&s->n)); /* neither has hung up */
	(void)close(silent);
	(void)close(slow);
	assert_int_equal(call(&s->n, true, s->viewer, "node", NULL), 0);
}

static bool
refused_in_time(const struct node *n, unsigned long count)
{
	int waited;

	for (waited = 0; waited < WAIT_MS && dimse_refusals(n->dimse) < count; waited += 20)
		clock_sleep(clock_real(), 20);
	return dimse_refusals(n->dimse) == count;
}

static void
secure__garbage_ends_one_connection_and_nothing_else(void **state)
{
	enum { TRIES = 16 }; /* fewer than the cap */
	struct secure *s = *state;
	unsigned char bytes[300];
	struct rng_seeded r;
	int fd, i;

	rng_seeded_init(&r, 5);
	for (i = 0; i < TRIES; i++) {
		rng_fill(&r.r, bytes, sizeof(bytes));
		if (i % 2) /* a record of handshake, with anything inside */
			memcpy(bytes, "\x16\x03\x03\x01\x00", 5);
		fd = request_connect(s->n.tls_port);
		(void)send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
		(void)close(fd);
	}
	assert_true(refused_in_time(&s->n, TRIES));
	for (i = 0; i < 4; i++) { /* who only looks whether somebody is there is not refused */
		fd = request_connect(i % 2 ? s->n.port : s->n.tls_port);
		clock_sleep(clock_real(), i < 2 ? 50 : 0);
		(void)close(fd);
	}
	assert_int_equal(call(&s->n, true, s->viewer, "node", NULL), 0);
	assert_int_equal(call(&s->n, false, NULL, NULL, NULL), 0);
	assert_true(node_alone_in_time(&s->n));
	assert_int_equal(dimse_refusals(s->n.dimse), TRIES);
}

/* --- what goes through --- */

static void
ask_for_all(struct secure *s)
{
	viewer_open_securely(&s->v, &s->n, s->viewer, "node");
	viewer_ask(&s->v, ON_GET, MESSAGE_GET_RQ, GET, &s->keys, "");
}

static void
secure__a_large_object_goes_through_and_a_slow_reader_is_served(void **state)
{
	struct secure *s = *state;

	node_put(&s->n, 0, 1, BIG, NULL);
	ask_for_all(s);
	clock_sleep(clock_real(), PATIENCE_MS); /* the socket is full by now */
	viewer_listen(&s->v);
	assert_int_equal(s->v.last.status, STATUS_SUCCESS);
	assert_int_equal(s->v.stores, 1);
}

static void
secure__R34_a_peer_that_reads_nothing_is_dropped(void **state)
{
	struct secure *s = *state;

	node_put(&s->n, 0, 1, BIG, NULL);
	dimse_stop(s->n.dimse);
	s->n.config.reader_ms = PATIENCE_MS;
	assert_int_equal(dimse_start(&s->n.dimse, &s->n.config, s->n.peers, NULL), 0);
	ask_for_all(s);
	assert_true(node_alone_in_time(&s->n)); /* and we have read nothing */
	viewer_drop(&s->v);
}

static void
secure__a_cancel_is_seen(void **state)
{
	struct secure *s = *state;

	node_put(&s->n, 0, 200, 20000, NULL);
	viewer_open_securely(&s->v, &s->n, s->viewer, "node");
	s->v.cancel_after = 3;
	viewer_ask(&s->v, ON_GET, MESSAGE_GET_RQ, GET, &s->keys, "");
	viewer_listen(&s->v);
	assert_int_equal(s->v.last.status, STATUS_CANCELED);
	assert_true(s->v.stores < 200);
}

/* --- whom we call --- */

static void
move(struct secure *s, const char *destination)
{
	viewer_close(&s->v);
	viewer_open(&s->v, &s->n, "NODE");
	viewer_ask(&s->v, ON_MOVE, MESSAGE_MOVE_RQ, MOVE, &s->keys, destination);
	viewer_listen(&s->v);
}

static void
secure__R29_a_destination_is_called_as_its_peer_says(void **state)
{
	struct secure *s = *state;
	char section[200];

	node_put(&s->n, 0, 3, 100, NULL);
	(void)snprintf(section, sizeof(section),
		       "[peer T]\naet = OTHER\nhost = 127.0.0.1\nport = %u\ntls = yes\n"
		       "tls_name = node",
		       s->n.tls_port);
	node_reload(&s->n, section);
	move(s, "OTHER");
	assert_int_equal(s->v.last.status, STATUS_SUCCESS);
	assert_int_equal(s->n.received, 3);
	assert_true(node_audited(&s->n, "certificate=O=Ward_3,CN=node"));
	/* Not who it must be, by its host: nothing is sent there. */
	*strstr(section, "\ntls_name") = '\0';
	node_reload(&s->n, section);
	move(s, "OTHER");
	assert_int_not_equal(s->v.last.status, STATUS_SUCCESS);
	assert_int_equal(s->n.received, 3);
	/* One that does not speak TLS: never plainly instead. */
	(void)snprintf(section, sizeof(section),
		       "[peer T]\naet = OTHER\nhost = 127.0.0.1\nport = %u\ntls = yes\n"
		       "tls_name = node",
		       s->n.port);
	node_reload(&s->n, section);
	move(s, "OTHER");
	assert_int_not_equal(s->v.last.status, STATUS_SUCCESS);
	assert_int_equal(s->n.received, 3);
}

static void
secure__200_stand_at_once_and_each_is_served(void **state)
{
	enum { MANY = 200 };
	static struct viewer all[MANY];
	struct secure *s = *state;
	unsigned i;

	node_put(&s->n, 0, 3, 16, NULL);
	dimse_stop(s->n.dimse);
	s->n.config.idle_seconds = 600; /* until the last has shaken hands, however slow this is */
	s->n.config.max_associations = s->n.config.max_per_address = MANY;
	assert_int_equal(dimse_start(&s->n.dimse, &s->n.config, s->n.peers, NULL), 0);
	for (i = 0; i < MANY; i++)
		viewer_open_securely(&all[i], &s->n, s->viewer, "node");
	assert_int_equal(dimse_associations(s->n.dimse), MANY);
	viewer_ask_together(all, MANY, &s->keys);
	assert_true(node_alone_in_time(&s->n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		secure_test(secure__R36_both_are_proven_and_the_audit_log_says_who_it_was),
		secure_test(secure__R29_who_shows_no_good_certificate_is_refused),
		secure_test(secure__R29_a_peer_that_must_use_tls_is_refused_on_the_plain_port),
		secure_test(secure__R29_a_peer_may_be_bound_to_a_certificate),
		secure_test(secure__a_reload_takes_new_files_and_cuts_none),
		secure_test(secure__a_single_certificate_may_be_believed),
		secure_test(secure__a_node_without_certificates_serves_nobody_on_that_port),
		secure_test(tls_load__says_which_file_is_wrong),
		secure_test(secure__plain_and_secure_do_not_mix),
		secure_test(secure__a_handshake_keeps_to_the_deadline),
		secure_test(secure__garbage_ends_one_connection_and_nothing_else),
		secure_test(secure__a_large_object_goes_through_and_a_slow_reader_is_served),
		secure_test(secure__R34_a_peer_that_reads_nothing_is_dropped),
		secure_test(secure__a_cancel_is_seen),
		secure_test(secure__R29_a_destination_is_called_as_its_peer_says),
		secure_test(secure__200_stand_at_once_and_each_is_served),
	};

	return cmocka_run_group_tests_name("secure", tests, NULL, NULL);
}
