/* An edge and a central that share nothing but a folder (link_disk). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/intake.h"
#include "common/base/err.h"
#include "common/os/file.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/link.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TRIPS = 60, IMAGES = 6 };

struct carried {
	struct pair p;
	char dir[80];
	struct link_served to;
};

static void
take_the_disk(struct carried *c)
{
	struct link *link;

	replicate_free(c->p.r);
	assert_int_equal(link_disk(&link, c->dir, "north", NULL), 0);
	assert_int_equal(replicate_new(&c->p.r, &c->p.edge, link, NULL), 0);
}

static int
count_it(void *arg, const char *name, struct err *e)
{
	(void)e;
	*(unsigned *)arg += strstr(name, ".ask") != NULL;
	return 0;
}

static unsigned
asked(struct carried *c)
{
	unsigned n = 0;

	assert_int_equal(file_list(c->dir, count_it, &n, NULL), 0);
	return n;
}

/* Each trip: the edge says all that it can, the disk is carried, central answers, and back. */
static void
carry(struct carried *c)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		pair_turn(&c->p);
	assert_int_equal(link_disk_serve(&c->to, c->dir, NULL), 0);
	for (i = 0; i < 8; i++)
		pair_turn(&c->p);
}

static void
link_disk__R15_all_of_an_edge_arrives_by_a_disk_that_is_carried(void **state)
{
	struct carried *c = calloc(1, sizeof(*c));
	unsigned i;

	(void)state;
	assert_non_null(c);
	pair_init(&c->p, "64MiB");
	(void)snprintf(c->dir, sizeof(c->dir), "%s/disk", c->p.dir);
	assert_int_equal(file_mkdirs(c->p.dir, "disk", NULL), 0);
	c->to = (struct link_served){.node = &c->p.central, .site = "north"};
	c->to.routes = intake_routes(&c->to.n_routes);
	take_the_disk(c);
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(&c->p, i), 0);
	for (i = 0; i < TRIPS && pair_outbox(&c->p).owed; i++) {
		carry(c);
		if (i == 2) { /* the edge restarts: what was under way is asked about anew */
			pair_close_edge(&c->p);
			pair_open_edge(&c->p);
			take_the_disk(c);
		}
	}
	assert_int_equal(pair_outbox(&c->p).owed, 0);
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_central_has(&c->p, i));
	pair_fini(&c->p);
	free(c);
}

/* R24: central answers the site whose disk it is told that this is, nobody else. */
static void
link_disk_serve__R24_answers_one_site_only(void **state)
{
	struct carried *c = calloc(1, sizeof(*c));
	unsigned n;

	(void)state;
	assert_non_null(c);
	pair_init(&c->p, "64MiB");
	(void)snprintf(c->dir, sizeof(c->dir), "%s/disk", c->p.dir);
	assert_int_equal(file_mkdirs(c->p.dir, "disk", NULL), 0);
	c->to = (struct link_served){.node = &c->p.central, .site = "south"};
	c->to.routes = intake_routes(&c->to.n_routes);
	take_the_disk(c);
	pair_turn(&c->p);
	n = asked(c);
	assert_true(n > 0);
	assert_int_equal(link_disk_serve(&c->to, c->dir, NULL), 0);
	assert_int_equal(asked(c), n);
	c->to.site = "north";
	assert_int_equal(link_disk_serve(&c->to, c->dir, NULL), 0);
	assert_int_equal(asked(c), 0);
	pair_fini(&c->p);
	free(c);
}

/* What central said of other digests must not release these. */
static void
link_ask__R9_an_answer_to_what_was_given_up_answers_nothing_else(void **state)
{
	struct carried *c = calloc(1, sizeof(*c));
	struct http_call release = {.method = "POST", .path = "/sync/v1/release"};
	struct http_done done = {.status = 0};
	const _Atomic bool stop = true;
	struct link *link;

	(void)state;
	assert_non_null(c);
	pair_init(&c->p, "64MiB");
	(void)snprintf(c->dir, sizeof(c->dir), "%s/disk", c->p.dir);
	assert_int_equal(file_mkdirs(c->p.dir, "disk", NULL), 0);
	c->to = (struct link_served){.node = &c->p.central, .site = "north"};
	c->to.routes = intake_routes(&c->to.n_routes);
	assert_int_equal(link_disk(&link, c->dir, "north", NULL), 0);
	assert_int_equal(link_ask(link, &release, &done, &stop, NULL), ERR_AGAIN);
	assert_int_equal(link_disk_serve(&c->to, c->dir, NULL), 0);
	/* The first one's answer is here, the second one's is not. */
	assert_int_equal(link_ask(link, &release, &done, &stop, NULL), ERR_AGAIN);
	link_close(link);
	pair_fini(&c->p);
	free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(link_disk__R15_all_of_an_edge_arrives_by_a_disk_that_is_carried),
		cmocka_unit_test(link_disk_serve__R24_answers_one_site_only),
		cmocka_unit_test(link_ask__R9_an_answer_to_what_was_given_up_answers_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
