/*
 * Both nodes with all their threads, over real HTTP, in one process: for ThreadSanitizer.
 * Take-in on several threads, replication, uploads, status, verify and loss at once, while
 * central's server stops and starts (R14, R22).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/gate.h"
#include "central/intake.h"
#include "central/loss.h"
#include "central/tally.h"
#include "central/upload.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/http/server.h"
#include "common/store/store.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "edge/status.h"
#include "proto/ledger.h"
#include "proto/link.h"
#include "tests/lib/pair.h"

enum { SENDERS = 3, EACH = 8, PATIENCE_MS = 120000, STEP_MS = 20 };

struct all {
	struct pair p;
	char address[32], url[48];
	struct http_server *http;
	_Atomic bool stop;
	_Atomic unsigned next;
};

static void
serve(struct all *a)
{
	struct http_config c = {.node = &a->p.central,
				.allowed = gate_allowed,
				.cert = "",
				.key = "",
				.ca = "",
				.max_connections = 64,
				.max_per_address = 64,
				.header_seconds = 60,
				.min_rate = 1,
				.clock = clock_real()};
	const char *listen[2] = {a->address, NULL};
	struct err e = ERR_INIT;

	c.routes = intake_routes(&c.n_routes);
	c.listen = listen;
	if (http_start(&a->http, &c, &e))
		fail_msg("%s", e.what);
}

/* A free port: the kernel chooses, nobody holds it. */
static void
choose_address(struct all *a)
{
	unsigned port = pair_free_port();

	(void)snprintf(a->address, sizeof(a->address), "127.0.0.1:%u", port);
	(void)snprintf(a->url, sizeof(a->url), "http://127.0.0.1:%u", port);
}

static void *
take_in(void *arg)
{
	struct all *a = arg;
	unsigned i;

	for (i = 0; i < EACH; i++) {
		assert_int_equal(pair_send(&a->p, atomic_fetch_add(&a->next, 1)), 0);
		replicate_wake(a->p.edge.replicate);
	}
	return NULL;
}

static void *
look(void *arg)
{
	struct all *a = arg;

	while (!atomic_load(&a->stop)) {
		struct buf out = BUF_INIT;
		unsigned long long lost;
		struct store_tx *tx;
		struct tally t;
		bool person;

		assert_int_equal(status_json(&a->p.edge, &out, &person, NULL), 0);
		assert_int_equal(store_begin_read(&tx, a->p.central.store, NULL), 0);
		assert_int_equal(tally_make(&t, tx, NULL), 0);
		store_end_read(tx);
		tally_free(&t);
		assert_int_equal(
			loss_print(a->p.central.store, NULL, LOSS_TEXT, true, &out, &lost, NULL),
			0);
		buf_fini(&out);
		clock_sleep(clock_real(), STEP_MS);
	}
	return NULL;
}

static bool
drained(struct all *a)
{
	struct outbox_counts counts;
	struct ledger_head head;
	struct contact contact;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, a->p.edge.store, NULL), 0);
	assert_int_equal(outbox_counts(tx, &counts, NULL), 0);
	assert_int_equal(ledger_head(tx, &head, NULL), 0);
	store_end_read(tx);
	edge_contact(&a->p.edge, &contact);
	return !counts.owed && contact.announced == head.seq && contact.reachable;
}

static void
wait_for(struct all *a)
{
	int64_t until = clock_mono(clock_real()) + PATIENCE_MS;

	while (!drained(a)) {
		if (clock_mono(clock_real()) > until)
			fail_msg("not drained");
		clock_sleep(clock_real(), STEP_MS);
	}
}

static void
replicate__R14_R22_with_all_threads_and_a_restart_of_central(void **state)
{
	struct all *a = calloc(1, sizeof(*a));
	const char *urls[] = {a->url, NULL};
	struct http_client_config c = {
		.site = "north", .cert = "", .key = "", .ca = "", .connect_ms = 2000};
	pthread_t senders[SENDERS], looker;
	struct err e = ERR_INIT;
	struct link *link;
	unsigned i, round;

	(void)state;
	assert_non_null(a);
	pair_prepare(&a->p, "64MiB");
	a->p.real_time = true; /* before any thread looks at a clock */
	pair_open_central(&a->p);
	pair_open_edge(&a->p);
	choose_address(a);
	c.urls = urls;
	c.max_body = 32 << 20;
	serve(a);
	assert_int_equal(link_http(&link, &c, &e), 0);
	if (replicate_start(&a->p.edge.replicate, &a->p.edge, link, &e) ||
	    replicate_go(a->p.edge.replicate, &e))
		fail_msg("%s", e.what);
	assert_int_equal(pthread_create(&looker, NULL, look, a), 0);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < SENDERS; i++)
			assert_int_equal(pthread_create(&senders[i], NULL, take_in, a), 0);
		http_stop(a->http); /* central is away for a moment */
		serve(a);
		for (i = 0; i < SENDERS; i++)
			assert_int_equal(pthread_join(senders[i], NULL), 0);
		wait_for(a);
	}
	atomic_store(&a->stop, true);
	assert_int_equal(pthread_join(looker, NULL), 0);
	replicate_stop(a->p.edge.replicate);
	a->p.edge.replicate = NULL;
	http_stop(a->http);
	for (i = 0; i < 2 * SENDERS * EACH; i++)
		assert_true(pair_central_has(&a->p, i));
	pair_fini(&a->p);
	free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replicate__R14_R22_with_all_threads_and_a_restart_of_central),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
