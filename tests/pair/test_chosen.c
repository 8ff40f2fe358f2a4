/* Which version viewers get when a person chooses where something is not known yet: what is only
 * listed, what central forgot (R3, R16, R20). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "central/decisions.h"
#include "common/base/buf.h"
#include "common/http/client.h"
#include "common/store/decided.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/refill.h"
#include "proto/link.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, A_WHILE = 40, MINUTE_MS = 60000, IMAGE = 1 };

static struct pair p;

static void
other_pixels(struct gen *g)
{
	g->seed = 4711;
}

static void
send(void (*change)(struct gen *g))
{
	p.change = change;
	assert_int_equal(pair_send(&p, IMAGE), 0);
	assert_true(pair_settle(&p, TURNS));
}

static void
listen(void)
{
	unsigned i;

	for (i = 0; i < A_WHILE; i++)
		pair_turn(&p);
	clock_manual_advance(&p.clock, MINUTE_MS);
}

/* The version that `change` makes. */
static struct version
version(struct store *s, void (*change)(struct gen *g))
{
	p.change = change;
	return pair_version(&p, s, IMAGE);
}

static int
resolve(void (*change)(struct gen *g))
{
	struct version v = version(p.central.store, change);

	return v.oid ? decisions_resolve(&p.central, v.sop_instance, v.digest, "a test", "", NULL)
		     : -1;
}

static void
row(struct buf *out, struct store *s, const struct version *v)
{
	struct store_tx *tx;
	struct attrs set;

	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(index_instance_row(tx, v, &set, NULL), 0);
	buf_put(out, set.p, set.n);
	store_end_read(tx);
}

/* A new edge knows both versions from central's list, and has the bytes of none. */
static void
decisions__R3_R20_of_what_is_only_listed_central_tells_before_it_is_shown(void **state)
{
	struct buf here = BUF_INIT, there = BUF_INIT;
	struct version v;
	struct link *link;

	(void)state;
	send(other_pixels);
	send(NULL);
	listen();
	pair_burn_edge(&p);
	pair_open_edge(&p);
	p.cut_method = "GET";
	listen();
	assert_int_equal(p.edge.make_link(&link, &p.edge, NULL), 0);
	assert_int_equal(refill_list(&p.edge, link, NULL), 0);
	link_close(link);
	listen();
	assert_true(version(p.edge.store, other_pixels).current);
	assert_int_equal(resolve(NULL), 0);
	listen();
	listen();
	v = version(p.central.store, NULL);
	assert_true(v.current);
	row(&there, p.central.store, &v);
	v = version(p.edge.store, NULL);
	assert_true(v.current);
	assert_int_equal(v.state, VERSION_ELSEWHERE);
	row(&here, p.edge.store, &v);
	assert_int_equal(here.len, there.len);
	assert_memory_equal(here.data, there.data, here.len);
	buf_fini(&here);
	buf_fini(&there);
}

/* --- a person is quicker than the edges that remember --- */

static bool decides, decided;

static void
decide_first(struct pair *pair, struct http_call *call)
{
	(void)pair;
	if (decides && !decided && strcmp(call->path, "/sync/v1/decisions") == 0)
		decided = resolve(NULL) == 0;
}

static uint64_t
number(void)
{
	struct version v = version(p.central.store, NULL);
	struct store_tx *tx;
	struct decided d;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(decided_get(tx, v.sop_instance, &d, NULL), 0);
	store_end_read(tx);
	return d.number;
}

static void
all_show_other_pixels(void)
{
	static const char *const sites[] = {"north", "south", "north"};
	size_t i;

	for (i = 0; i < 3; i++) {
		pair_site(&p, sites[i]);
		listen();
	}
	for (i = 0; i < 2; i++) {
		pair_site(&p, sites[i]);
		assert_true(version(p.edge.store, other_pixels).current);
		assert_false(version(p.edge.store, NULL).current);
	}
	assert_true(version(p.central.store, other_pixels).current);
	assert_false(version(p.central.store, NULL).current);
}

/* After a fire a person chooses by number 1 what people had decided otherwise by number 4: the
 * higher one counts, by its own number or said again above both, with the key and without. */
static void
resolve__R3_R16_before_an_edge_gives_back_is_below_what_it_gives_back(void **state)
{
	unsigned char key[IDENTITY_KEY];
	uint64_t before;
	unsigned round;

	(void)state;
	send(NULL);
	pair_site(&p, "south");
	send(other_pixels);
	assert_int_equal(resolve(other_pixels), 0);
	assert_int_equal(resolve(NULL), 0);
	listen(); /* south has both from now on, as north will */
	assert_int_equal(resolve(other_pixels), 0);
	all_show_other_pixels();
	p.on_request = decide_first;
	for (round = 0; round < 4; round++) {
		before = number();
		memcpy(key, p.central.identity.key, sizeof(key));
		pair_burn_central(&p);
		pair_open_central(&p);
		if (round % 2)
			memcpy(p.central.identity.key, key, sizeof(key));
		decided = false;
		decides = true;
		pair_site(&p, round < 2 ? "north" : "south");
		assert_true(pair_settle(&p, TURNS));
		listen();
		decides = false;
		assert_true(decided);
		all_show_other_pixels();
		assert_true(number() >= before);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(decisions__R3_R20_of_what_is_only_listed_central_tells_before_it_is_shown,
			  p),
		pair_test(resolve__R3_R16_before_an_edge_gives_back_is_below_what_it_gives_back, p),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
