/* What was damaged at an edge is fetched back from central, and central's own from any edge. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/loss.h"
#include "central/record.h"
#include "central/tally.h"
#include "central/verify.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/http/client.h"
#include "common/kv/kv.h"
#include "common/os/ctl.h"
#include "common/store/private.h"
#include "edge/damage.h"
#include "edge/keep.h"
#include "edge/mend.h"
#include "edge/outbox.h"
#include "edge/refill.h"
#include "edge/throttle.h"
#include "proto/bandwidth.h"
#include "proto/ledger.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"
#include "tests/lib/sweep.h"

enum { TURNS = 400, LARGE = 1200 /* rows: more than two ranges */ };

static void
digest_of(const struct pair *p, unsigned number, unsigned char out[SHA256_SIZE])
{
	struct buf file = BUF_INIT;

	pair_image(p, &file, number);
	sha256_of(file.data, file.len, out);
	buf_fini(&file);
}

static struct version
version_here(struct pair *p, unsigned number)
{
	unsigned char digest[SHA256_SIZE];
	struct version v = {.oid = 0};
	struct store_tx *tx;
	uint64_t oid;

	digest_of(p, number, digest);
	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(store_by_digest(tx, digest, &oid, NULL), 0);
	assert_int_equal(store_version(tx, oid, &v, NULL), 0);
	store_end_read(tx);
	return v;
}

static int
spoil_chunk(struct store_tx *tx, void *arg, struct err *e)
{
	const struct version *v = arg;
	unsigned char key[12] = {0};

	buf_set_be64(key, v->bytes);
	return kv_put(tx->txn, T_CHUNK, kv_slice(key, 12), kv_slice("rotten", 6), e);
}

/* Its bytes at the edge are wrong, and a reader finds that. */
static void
rot(struct pair *p, unsigned number)
{
	struct version v = version_here(p, number);
	unsigned char part[100];
	struct store_reader *r;
	size_t got;

	assert_int_equal(store_commit(p->edge.store, spoil_chunk, &v, NULL), 0);
	assert_int_equal(store_read_open(&r, p->edge.store, v.oid, NULL), 0);
	assert_int_equal(store_read(r, 0, part, sizeof(part), &got, NULL), ERR_CORRUPT);
	store_read_close(r);
	damage_found(&p->edge, v.oid);
	assert_int_equal(version_here(p, number).state, VERSION_DAMAGED);
}

static uint64_t
damaged(struct pair *p)
{
	struct store_tx *tx;
	uint64_t n;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(damage_count(tx, &n, NULL), 0);
	store_end_read(tx);
	return n;
}

static void
expect(struct pair *p, uint64_t held, uint64_t owed_there, uint64_t lost)
{
	struct store_tx *tx;
	struct tally t;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	store_end_read(tx);
	assert_int_equal(t.rows[0].site_known, held + owed_there + lost);
	assert_int_equal(t.rows[0].site_of[TALLY_HELD], held);
	assert_int_equal(t.rows[0].site_of[TALLY_OWED], owed_there);
	assert_int_equal(t.rows[0].site_of[TALLY_LOST], lost);
	tally_free(&t);
}

/* The edge says hello, and all that follows from it. */
static void
settle(struct pair *p)
{
	clock_manual_advance(&p->clock, 16000);
	pair_turn(p);
	pair_turn(p);
	assert_true(pair_settle(p, TURNS));
}

static void
send(struct pair *p, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		assert_int_equal(pair_send(p, i), 0);
	assert_true(pair_settle(p, TURNS));
}

/* A viewer that asks meanwhile gets none of it (R20); then all of it, and nothing is owed. */
static void
mend__R7_R18_R20_damage_here_is_fetched_back_from_central(void **state)
{
	struct store_reader *r;
	struct pair p;
	unsigned round;

	(void)state;
	pair_init(&p, "64MiB");
	for (round = 0; round < 2; round++) {
		p.rows = round ? LARGE : 0;
		send(&p, 3);
		rot(&p, 1);
		assert_int_equal(damaged(&p), 1);
		assert_int_equal(store_read_open(&r, p.edge.store, version_here(&p, 1).oid, NULL),
				 ERR_ABSENT);
		if (round) /* its entry is there before the next one */
			settle(&p);
		mend_turn(p.edge.mend);
		assert_true(pair_edge_has(&p, 1));
		assert_int_equal(version_here(&p, 1).origin, VERSION_TAKEN_IN);
		assert_int_equal(damaged(&p), 0);
		assert_int_equal(pair_outbox(&p).owed, 0);
		settle(&p);
		expect(&p, 3 + round * 3, 0, 0);
		assert_int_equal(pair_outbox(&p).owed, 0);
	}
	pair_fini(&p);
}

/* R22: also when central burnt since: it is owed to the next one, like all that is here. */
static void
mend__R7_R22_what_came_back_is_owed_to_a_new_central(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 2);
	rot(&p, 0);
	mend_turn(p.edge.mend);
	assert_true(pair_edge_has(&p, 0));
	pair_burn_central(&p);
	pair_open_central(&p);
	settle(&p);
	assert_true(pair_central_has(&p, 0));
	expect(&p, 2, 0, 0);
	pair_fini(&p);
}

/* Another image's bytes, as many as there should be. */
static void
ask_for_1(struct pair *p, struct http_call *call)
{
	unsigned char digest[SHA256_SIZE];

	if (strcmp(call->method, "GET") != 0)
		return;
	digest_of(p, 1, digest);
	hex_of(digest, SHA256_SIZE, strrchr(call->path, '/') + 1);
}

/* Nothing that central says can make wrong bytes count. */
/* --- by the hour --- */

static void
sleep_on(struct clock *c, int64_t ms)
{
	clock_manual_advance((struct clock_manual *)(void *)c, ms);
}

/* 2.9 MB at 100,000 bytes a second, by the node's own clock: that goes on as it waits. */
static void
mend__R28_keeps_to_the_rate_by_the_nodes_own_clock(void **state)
{
	struct bandwidth table;
	struct pair p;
	int64_t from, took;

	(void)state;
	pair_init(&p, "64MiB");
	p.clock.c.sleep_ms = sleep_on;
	p.rows = LARGE;
	send(&p, 2);
	rot(&p, 1);
	settle(&p);
	bandwidth_clear(&table);
	assert_true(bandwidth_set(&table, 100000, NULL, NULL));
	throttle_heard(&p.edge, &table, clock_wall(&p.clock.c));
	from = clock_mono(&p.clock.c);
	mend_turn(p.edge.mend);
	took = clock_mono(&p.clock.c) - from;
	assert_true(pair_edge_has(&p, 1));
	assert_in_range(took, 25 * 1000, 30 * 1000);
	pair_fini(&p);
}

/* --- several --- */

enum { MANY = 12, PATIENCE_MS = 20000 };

static _Atomic unsigned asking, most_asking;

/* Two bodies are on their way before the first one comes. */
static void
count_asking(struct pair *p, const char *method, const char *path, bool answer)
{
	unsigned now;
	int ms;

	(void)p;
	if (strcmp(method, "GET") != 0 || !strstr(path, "/objects/"))
		return;
	now = answer ? atomic_fetch_sub(&asking, 1) : atomic_fetch_add(&asking, 1) + 1;
	if (now > atomic_load(&most_asking))
		atomic_store(&most_asking, now);
	for (ms = 0; !answer && atomic_load(&most_asking) < 2 && ms < PATIENCE_MS; ms++)
		clock_sleep(clock_real(), 1);
}

static void
mend__R7_fetches_several_at_once_and_no_more_than_four(void **state)
{
	struct mend *m;
	struct pair p;
	unsigned i;
	int ms;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, MANY);
	for (i = 0; i < MANY; i++)
		rot(&p, i);
	settle(&p);
	atomic_store(&asking, 0);
	atomic_store(&most_asking, 0);
	p.on_message = count_asking;
	assert_int_equal(mend_start(&m, &p.edge, NULL), 0);
	for (ms = 0; damaged(&p) && ms < PATIENCE_MS; ms++)
		clock_sleep(clock_real(), 1);
	mend_stop(m);
	p.on_message = NULL;
	assert_int_equal(damaged(&p), 0);
	assert_true(atomic_load(&most_asking) >= 2);
	assert_true(atomic_load(&most_asking) <= 4);
	settle(&p);
	for (i = 0; i < MANY; i++)
		assert_true(pair_edge_has(&p, i));
	expect(&p, MANY, 0, 0);
	pair_fini(&p);
}

static void
mend__R20_until_they_are_right_no_bytes_count(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 2);
	rot(&p, 0);
	p.cut_method = "GET";
	mend_turn(p.edge.mend);
	assert_int_equal(damaged(&p), 1);
	p.cut_method = NULL;
	mend_turn(p.edge.mend); /* it rests */
	assert_int_equal(damaged(&p), 1);
	assert_int_equal(version_here(&p, 0).size, version_here(&p, 1).size);
	p.on_request = ask_for_1;
	clock_manual_advance(&p.clock, 15001);
	pair_turn(&p);
	mend_turn(p.edge.mend);
	p.on_request = NULL;
	assert_int_equal(version_here(&p, 0).state, VERSION_DAMAGED);
	mend_turn(p.edge.mend); /* put off for a minute */
	assert_int_equal(version_here(&p, 0).state, VERSION_DAMAGED);
	store_time_reach(p.edge.store, store_time(p.edge.store) + 60001);
	mend_turn(p.edge.mend);
	assert_true(pair_edge_has(&p, 0));
	pair_fini(&p);
}

static uint64_t firsts[16];
static unsigned n_firsts;

/* The answer to the second range of an image never comes. */
static void
note_ranges(struct pair *p, struct http_call *call)
{
	if (!call->ranged || n_firsts == 16)
		return;
	firsts[n_firsts++] = call->range_first;
	if (n_firsts == 2)
		p->cut_at = p->messages + 1;
}

/* So that a large one comes over a link that is cut again and again. */
static void
mend__R7_what_a_cut_left_is_not_fetched_again(void **state)
{
	struct pair p;
	uint64_t at;

	(void)state;
	pair_init(&p, "64MiB");
	p.rows = LARGE;
	send(&p, 1);
	rot(&p, 0);
	n_firsts = 0;
	p.on_request = note_ranges;
	mend_turn(p.edge.mend);
	assert_int_equal(n_firsts, 2);
	assert_int_equal(firsts[0], 0);
	at = firsts[1];
	assert_true(at > 0);
	assert_int_equal(damaged(&p), 1);
	clock_manual_advance(&p.clock, 15001);
	pair_turn(&p);
	mend_turn(p.edge.mend);
	assert_int_equal(firsts[2], at);
	assert_true(pair_edge_has(&p, 0));
	assert_int_equal(damaged(&p), 0);
	p.on_request = NULL;
	pair_fini(&p);
}

/* Central's disk cannot read that one, say: each time it is asked about it, it fails. */
static void
cut_what_is_for_0(struct pair *p, struct http_call *call)
{
	unsigned char digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];

	digest_of(p, 0, digest);
	hex_of(digest, SHA256_SIZE, hex);
	p->cut_method = strstr(call->path, hex) ? "GET" : NULL;
}

static void
mend__R18_one_that_central_cannot_give_holds_nobody_up_for_long(void **state)
{
	struct pair p;
	unsigned turn;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 3);
	rot(&p, 0);
	rot(&p, 1);
	rot(&p, 2);
	p.on_request = cut_what_is_for_0;
	for (turn = 0; turn < 3; turn++) {
		mend_turn(p.edge.mend);
		clock_manual_advance(&p.clock, 15001);
		pair_turn(&p);
	}
	assert_true(pair_edge_has(&p, 1));
	assert_true(pair_edge_has(&p, 2));
	assert_int_equal(damaged(&p), 1);
	p.on_request = NULL;
	p.cut_method = NULL;
	mend_turn(p.edge.mend);
	clock_manual_advance(&p.clock, 15001);
	pair_turn(&p);
	mend_turn(p.edge.mend);
	assert_int_equal(damaged(&p), 0);
	pair_fini(&p);
}

/* What a former life announced (R8) is asked for in the same thread; central cannot say it now. */
static void
mend__R8_R18_a_list_that_does_not_come_holds_nobody_up(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 2);
	rot(&p, 0);
	atomic_store(&p.edge.relist, true);
	p.cut_method = "POST";
	mend_turn(p.edge.mend);
	p.cut_method = NULL;
	assert_true(pair_edge_has(&p, 0));
	assert_true(atomic_load(&p.edge.relist));
	clock_manual_advance(&p.clock, 15001);
	pair_turn(&p);
	mend_turn(p.edge.mend);
	assert_false(atomic_load(&p.edge.relist));
	pair_fini(&p);
}

/* R19: who asks central for what is damaged there finds that out, for all. */
static void
mend__R18_R19_what_is_damaged_on_both_sides_is_listed_as_lost(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 2);
	rot(&p, 0);
	settle(&p);
	pair_spoil(&p, 0);
	expect(&p, 2, 0, 0); /* nobody has looked */
	mend_turn(p.edge.mend);
	assert_int_equal(version_here(&p, 0).state, VERSION_DAMAGED);
	expect(&p, 1, 0, 1);
	/* Whoever has it sends it again: to the edge, say. */
	assert_int_equal(pair_send(&p, 0), 0);
	assert_int_equal(damaged(&p), 0);
	settle(&p);
	expect(&p, 2, 0, 0);
	assert_true(pair_central_has(&p, 0));
	assert_true(pair_edge_has(&p, 0));
	pair_fini(&p);
}

/* --- central's own copy --- */

static struct verify_result found;

static int
verify(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	(void)n;
	(void)words;
	return verify_all(node, r, false, &found, NULL);
}

static bool
loss_says(struct pair *p, const char *what)
{
	struct buf out = BUF_INIT;
	unsigned long long lost;
	bool says;

	assert_int_equal(loss_print(p->central.store, "north", LOSS_TEXT, true, &out, &lost, NULL),
			 0);
	buf_put_u8(&out, 0);
	says = strstr((const char *)out.data, what) != NULL;
	buf_fini(&out);
	return says;
}

static void
evict_all(struct pair *p)
{
	uint64_t n, bytes;

	assert_int_equal(keep_evict(p->edge.keep, NULL, &n, &bytes, NULL), 0);
	assert_true(n > 0);
}

/* The one who took it in has it no more; another site's edge, which was refilled with it, has. */
static void
verify__R7_R19_damage_at_central_is_healed_from_any_edge_that_has_it(void **state)
{
	const struct refill_config all = {.group = true};
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 3);
	pair_site(&p, "south");
	settle(&p);
	(void)pair_refill(&p, &all);
	settle(&p);
	assert_true(pair_edge_has(&p, 0));
	pair_site(&p, "north");
	settle(&p);
	evict_all(&p);
	settle(&p);
	assert_false(pair_edge_has(&p, 0));
	pair_spoil(&p, 0);
	assert_int_equal(ctl_local(verify, &p.central, 0, NULL), 0);
	assert_int_equal(found.damaged, 1);
	settle(&p);
	expect(&p, 2, 1, 0); /* of north: south has it */
	pair_site(&p, "south");
	settle(&p);
	assert_true(pair_central_has(&p, 0));
	expect(&p, 3, 0, 0);
	/* South has it no more either: what is lost is listed. */
	evict_all(&p);
	settle(&p);
	pair_spoil(&p, 1);
	assert_int_equal(ctl_local(verify, &p.central, 0, NULL), 0);
	assert_int_equal(found.damaged, 1);
	settle(&p);
	expect(&p, 2, 0, 1);
	assert_true(loss_says(&p, "\nlost 1 of north: "));
	assert_true(loss_says(&p, "the copy here is damaged, and nobody says that it has another"));
	pair_fini(&p);
}

/* A withdrawn image does not come back (R15). */
static void
mend__R15_what_is_withdrawn_stays_away(void **state)
{
	unsigned char digest[SHA256_SIZE];
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 2);
	rot(&p, 0);
	digest_of(&p, 0, digest);
	assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
	mend_turn(p.edge.mend);
	assert_int_equal(version_here(&p, 0).state, VERSION_DAMAGED);
	pair_fini(&p);
}

/* --- any step fails, or is the last one --- */

static void
check(struct pair *p, unsigned n)
{
	struct store_tx *tx;
	uint64_t bad;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(ledger_verify(tx, &bad, NULL), 0);
	store_end_read(tx);
	settle(p);
	store_time_reach(p->edge.store, store_time(p->edge.store) + 60001);
	clock_manual_advance(&p->clock, 15001);
	mend_turn(p->edge.mend);
	if (!pair_edge_has(p, 0) || damaged(p))
		fail_msg("not mended after a fault at step %u", n);
	settle(p);
	if (!pair_central_has(p, 0))
		fail_msg("central lacks it after a fault at step %u", n);
	expect(p, 1, 0, 0);
}

static bool
one_fault(unsigned n)
{
	unsigned hits;
	struct pair p;

	pair_init(&p, "64MiB");
	p.rows = LARGE;
	send(&p, 1);
	rot(&p, 0);
	fault_arm(n, FAULT_ERRNO, ENOSPC);
	mend_turn(p.edge.mend);
	hits = fault_disarm();
	pair_close_edge(&p);
	pair_open_edge(&p);
	check(&p, n);
	pair_fini(&p);
	return hits >= n;
}

static void
mend__R18_a_fault_at_any_step_leaves_it_for_the_next_turn(void **state)
{
	unsigned n;

	(void)state;
	for (n = 1; one_fault(n);)
		n += sweep_stride(5);
	assert_true(n > 3);
}

static bool
one_death(unsigned n)
{
	struct pair p;
	int status;
	pid_t child;

	pair_init(&p, "64MiB");
	p.rows = LARGE;
	send(&p, 1);
	rot(&p, 0);
	settle(&p);
	pair_close_edge(&p);
	pair_close_central(&p);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		pair_open_central(&p);
		pair_open_edge(&p);
		pair_turn(&p);
		pair_turn(&p);
		fault_arm(n, FAULT_DIE, 0);
		mend_turn(p.edge.mend);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	pair_open_central(&p);
	pair_open_edge(&p);
	check(&p, n);
	pair_fini(&p);
	return WEXITSTATUS(status) == FAULT_EXIT;
}

static void
mend__R18_a_death_at_any_step_leaves_it_whole_or_for_the_next_turn(void **state)
{
	unsigned n;

	(void)state;
	for (n = 1; one_death(n);)
		n += sweep_stride(5);
	assert_true(n > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mend__R7_R18_R20_damage_here_is_fetched_back_from_central),
		cmocka_unit_test(mend__R7_R22_what_came_back_is_owed_to_a_new_central),
		cmocka_unit_test(mend__R28_keeps_to_the_rate_by_the_nodes_own_clock),
		cmocka_unit_test(mend__R7_fetches_several_at_once_and_no_more_than_four),
		cmocka_unit_test(mend__R20_until_they_are_right_no_bytes_count),
		cmocka_unit_test(mend__R7_what_a_cut_left_is_not_fetched_again),
		cmocka_unit_test(mend__R18_one_that_central_cannot_give_holds_nobody_up_for_long),
		cmocka_unit_test(mend__R8_R18_a_list_that_does_not_come_holds_nobody_up),
		cmocka_unit_test(mend__R18_R19_what_is_damaged_on_both_sides_is_listed_as_lost),
		cmocka_unit_test(
			verify__R7_R19_damage_at_central_is_healed_from_any_edge_that_has_it),
		cmocka_unit_test(mend__R15_what_is_withdrawn_stays_away),
		cmocka_unit_test(mend__R18_a_fault_at_any_step_leaves_it_for_the_next_turn),
		cmocka_unit_test(
			mend__R18_a_death_at_any_step_leaves_it_whole_or_for_the_next_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
