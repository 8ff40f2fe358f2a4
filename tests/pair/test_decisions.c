/*
 * Which version of an instance viewers get, at central and at each site (R3): decided by central,
 * numbered, heard by all; kept through fires and set-backs (R16).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "central/central_commands.h"
#include "central/decisions.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/store/decided.h"
#include "common/store/differences.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/damage.h"
#include "edge/edge_commands.h"
#include "edge/evict.h"
#include "edge/refill.h"
#include "proto/decision.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/gen/gen.h"
#include "tests/lib/caller.h"
#include "tests/lib/oldpeer.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, A_WHILE = 40, IMAGE = 1 };

/* --- images of one UID --- */

static void
other_pixels(struct gen *g)
{
	g->seed = 4711;
}

static void
more_pixels(struct gen *g)
{
	g->seed = 4712;
}

static void
corrected(struct gen *g)
{
	g->seed = 4711;
	g->name = "CORRECTED^NAME";
}

static void
digest_of(struct pair *p, void (*change)(struct gen *g), unsigned char out[SHA256_SIZE])
{
	struct buf image = BUF_INIT;

	p->change = change;
	pair_image(p, &image, IMAGE);
	sha256_of(image.data, image.len, out);
	buf_fini(&image);
}

static void
uid_of_image(char uid[65])
{
	gen_uid(uid, 1, 1, 1 + IMAGE);
}

static void
send(struct pair *p, void (*change)(struct gen *g))
{
	p->change = change;
	assert_int_equal(pair_send(p, IMAGE), 0);
	assert_true(pair_settle(p, TURNS));
}

/* Hears what there is to hear, and fetches what was chosen. */
static void
listen(struct pair *p)
{
	int i;

	for (i = 0; i < A_WHILE; i++)
		pair_turn(p);
}

static struct store_counts
counts(struct store *s)
{
	struct store_counts c;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(store_counts(tx, &c, NULL), 0);
	store_end_read(tx);
	return c;
}

/* Is the one that `change` makes what viewers are told of? */
static bool
tells(struct pair *p, struct store *s, void (*change)(struct gen *g), struct version *v)
{
	unsigned char digest[SHA256_SIZE];
	struct store_tx *tx;
	char uid[65];

	digest_of(p, change, digest);
	uid_of_image(uid);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(store_current(tx, uid, v, NULL), 0);
	store_end_read(tx);
	return memcmp(v->digest, digest, sizeof(digest)) == 0;
}

/* And its bytes are right. */
static bool
shows(struct pair *p, struct store *s, void (*change)(struct gen *g))
{
	struct version v;

	return tells(p, s, change, &v) && store_check(s, v.oid, NULL) == 0;
}

/* Each has called, and listened. */
static void
all_show(struct pair *p, void (*change)(struct gen *g))
{
	static const char *const sites[] = {"north", "south"};
	unsigned i;

	for (i = 0; i < 2; i++) {
		pair_site(p, sites[i]);
		listen(p);
		if (!shows(p, p->edge.store, change))
			fail_msg("%s shows another version", sites[i]);
		assert_int_equal(counts(p->edge.store).undecided, 0);
	}
	assert_true(shows(p, p->central.store, change));
	assert_int_equal(counts(p->central.store).undecided, 0);
}

static void
resolve(struct pair *p, void (*change)(struct gen *g))
{
	unsigned char digest[SHA256_SIZE];
	struct err e = ERR_INIT;
	char uid[65];

	digest_of(p, change, digest);
	uid_of_image(uid);
	if (decisions_resolve(&p->central, uid, digest, "a test", "", &e))
		fail_msg("%s", e.what);
}

/* North and south have other pixels under one UID, and central was told of both. */
static void
make_conflict(struct pair *p)
{
	pair_init(p, "64MiB");
	send(p, NULL);
	pair_site(p, "south");
	send(p, other_pixels);
}

static void
decisions__R3_at_rest_all_nodes_show_the_version_that_central_chose(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	assert_true(shows(&p, p.edge.store, other_pixels)); /* until it has heard */
	all_show(&p, NULL);
	assert_int_equal(counts(p.central.store).conflicts, 1); /* R3 decides none */
	pair_fini(&p);
}

static void
decisions__R3_a_person_decides_and_all_nodes_follow(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	all_show(&p, NULL);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	assert_int_equal(counts(p.central.store).conflicts, 0);
	assert_int_equal(counts(p.edge.store).conflicts, 0);
	/* A version that came later is a conflict of its own; what was decided stays. */
	send(&p, more_pixels);
	all_show(&p, other_pixels);
	assert_int_equal(counts(p.central.store).conflicts, 1);
	resolve(&p, more_pixels);
	all_show(&p, more_pixels);
	assert_int_equal(counts(p.central.store).conflicts, 0);
	pair_fini(&p);
}

static int
policy(struct pair *p, const char *what)
{
	const char *words[] = {"site", "policy", "south", what};

	return ctl_local(central_commands_run, &p->central, 4, words);
}

/* R26 goes before R3: no decision gives a right to bytes. What it has is shown, and said to be
 * unconfirmed, until it may read what was chosen. */
static void
decisions__R3_R26_under_policy_own_anothers_version_is_not_brought(void **state)
{
	unsigned char digest[SHA256_SIZE];
	struct store_tx *tx;
	struct pair p;
	uint64_t oid;

	(void)state;
	make_conflict(&p);
	assert_int_equal(policy(&p, "own"), COMMAND_OK);
	resolve(&p, NULL);
	listen(&p);
	digest_of(&p, NULL, digest);
	assert_true(shows(&p, p.edge.store, other_pixels));
	assert_int_equal(counts(p.edge.store).undecided, 1);
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(store_by_digest(tx, digest, &oid, NULL), ERR_ABSENT);
	store_end_read(tx);
	assert_int_equal(policy(&p, "all"), COMMAND_OK);
	all_show(&p, NULL);
	assert_int_equal(policy(&p, "own"), COMMAND_OK); /* what it chose itself it has */
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	pair_fini(&p);
}

static void
decisions__R3_a_correction_of_what_was_chosen_counts_everywhere(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	send(&p, corrected); /* from where the chosen one came */
	assert_true(shows(&p, p.edge.store, corrected));
	all_show(&p, corrected);
	assert_int_equal(counts(p.central.store).conflicts, 0);
	pair_fini(&p);
}

static void
decisions__R3_a_correction_in_the_dark_outlives_a_decision(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	all_show(&p, NULL);
	p.cut_method = "POST"; /* south hears nothing, says nothing */
	p.change = corrected;
	assert_int_equal(pair_send(&p, IMAGE), 0);
	resolve(&p, other_pixels);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	all_show(&p, corrected);
	pair_fini(&p);
}

/* It read past the decision when the instance was none of its own (R12). */
static void
decisions__R3_a_site_that_takes_in_what_was_decided_about_hears_of_it(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	all_show(&p, NULL);
	pair_site(&p, "west");
	assert_true(pair_settle(&p, TURNS));
	listen(&p);
	send(&p, other_pixels); /* known to central, and covered: nothing is decided anew */
	listen(&p);
	assert_true(shows(&p, p.edge.store, NULL));
	assert_int_equal(counts(p.edge.store).undecided, 0);
	pair_fini(&p);
}

static uint64_t
number_of(struct store *s)
{
	struct decided d;
	struct store_tx *tx;
	char uid[65];

	uid_of_image(uid);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(decided_get(tx, uid, &d, NULL), 0);
	store_end_read(tx);
	return d.number;
}

/* --- what was chosen is known here, and its bytes do not come --- */

static int
announce(struct store_tx *tx, void *arg, struct err *e)
{
	static const struct index_sets none;
	struct store_verdict verdict;

	return store_announce(tx, arg, &none, &verdict, e);
}

/* As where the disk was set back, and what the site's former life knew is listed again (R8). */
static void
know_without_bytes(struct pair *p)
{
	struct version v;

	make_conflict(p);
	resolve(p, NULL);
	assert_true(tells(p, p->central.store, NULL, &v));
	v.seq = v.oid = 0;
	v.current = false;
	v.state = VERSION_ELSEWHERE;
	v.location = VERSION_NOWHERE;
	assert_int_equal(store_commit(p->edge.store, announce, &v, NULL), 0);
	p->cut_method = "GET";
	listen(p);
	assert_true(shows(p, p->edge.store, other_pixels));
	assert_int_equal(number_of(p->edge.store), number_of(p->central.store));
	assert_int_equal(counts(p->edge.store).undecided, 1);
}

static struct buf
instance_row(struct pair *p, struct store *s, struct version *v)
{
	struct buf out = BUF_INIT;
	struct store_tx *tx;
	struct attrs row;

	assert_true(tells(p, s, NULL, v));
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	assert_int_equal(index_instance_row(tx, v, &row, NULL), 0);
	buf_put(&out, row.p, row.n);
	store_end_read(tx);
	return out;
}

/* As at central, without bytes. */
static void
expect_chosen(struct pair *p)
{
	struct buf here, there;
	struct version v;

	there = instance_row(p, p->central.store, &v);
	here = instance_row(p, p->edge.store, &v);
	assert_int_equal(v.state, VERSION_ELSEWHERE);
	assert_int_equal(here.len, there.len);
	assert_memory_equal(here.data, there.data, here.len);
	assert_int_equal(counts(p->edge.store).undecided, 0);
	buf_fini(&here);
	buf_fini(&there);
}

static void
decisions__R3_R9_the_chosen_one_takes_over_when_the_bytes_here_go(void **state)
{
	char study[UID_SIZE];
	uint64_t n = 0, bytes = 0;
	struct evict *v;
	struct pair p;

	(void)state;
	know_without_bytes(&p);
	p.change = other_pixels;
	pair_study(&p, IMAGE, study);
	assert_int_equal(evict_new(&v, &p.edge, NULL), 0);
	assert_int_equal(evict_study(v, study, false, &n, &bytes, NULL), 0);
	assert_int_equal(n, 1);
	evict_free(v);
	listen(&p);
	expect_chosen(&p);
	pair_fini(&p);
}

static int
find_damaged(struct store_tx *tx, void *arg, struct err *e)
{
	return damage_enter(tx, arg, 0, e);
}

static void
decisions__R3_R20_the_chosen_one_takes_over_when_the_bytes_here_rot(void **state)
{
	struct version v;
	struct pair p;

	(void)state;
	know_without_bytes(&p);
	assert_true(tells(&p, p.edge.store, other_pixels, &v));
	assert_int_equal(store_commit(p.edge.store, find_damaged, &v, NULL), 0);
	listen(&p);
	expect_chosen(&p);
	pair_fini(&p);
}

/* --- what does not forget --- */

static void
in_folder(const struct pair *p, const char *command)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "cd %s && %s", p->dir, command);
	assert_int_equal(system(line), 0);
}

static void
decisions__R3_R16_a_central_that_was_set_back_gets_them_from_the_edges(void **state)
{
	uint64_t number;
	struct pair p;

	(void)state;
	make_conflict(&p);
	all_show(&p, NULL);
	pair_close_central(&p);
	in_folder(&p, "cp -r central before");
	pair_open_central(&p);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	number = number_of(p.central.store);
	pair_close_central(&p);
	in_folder(&p, "rm -rf central && mv before central");
	pair_open_central(&p);
	assert_true(shows(&p, p.central.store, NULL)); /* it knows nothing of it */
	all_show(&p, other_pixels);
	assert_true(number_of(p.central.store) >= number);
	assert_int_equal(counts(p.central.store).conflicts, 0);
	pair_fini(&p);
}

/* Its key with it (no recovery kit), or not. */
static void
burns(bool key_too)
{
	unsigned char key[IDENTITY_KEY];
	struct pair p;

	make_conflict(&p);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	memcpy(key, p.central.identity.key, sizeof(key));
	pair_burn_central(&p);
	pair_open_central(&p);
	if (!key_too)
		memcpy(p.central.identity.key, key, sizeof(key));
	pair_site(&p, "north");
	assert_true(pair_settle(&p, TURNS));
	pair_site(&p, "south");
	assert_true(pair_settle(&p, TURNS));
	all_show(&p, other_pixels);
	assert_int_equal(counts(p.central.store).conflicts, 0);
	pair_fini(&p);
}

static void
decisions__R3_R16_what_people_decided_does_not_burn_with_central(void **state)
{
	(void)state;
	burns(false);
}

/* What one edge alone has heard lies above what others give back; a person decides in between. */
static void
decisions__R3_R16_after_a_fire_numbers_go_on_above_what_any_edge_has_heard(void **state)
{
	unsigned char key[IDENTITY_KEY];
	uint64_t heard;
	struct pair p;

	(void)state;
	make_conflict(&p);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	resolve(&p, NULL);
	resolve(&p, other_pixels);
	resolve(&p, NULL);
	pair_site(&p, "north");
	listen(&p); /* and south does not */
	heard = number_of(p.edge.store);
	memcpy(key, p.central.identity.key, sizeof(key));
	pair_burn_central(&p);
	pair_open_central(&p);
	memcpy(p.central.identity.key, key, sizeof(key));
	pair_site(&p, "south");
	assert_true(pair_settle(&p, TURNS));
	listen(&p);
	assert_true(number_of(p.edge.store) < heard);
	resolve(&p, other_pixels);
	assert_true(number_of(p.central.store) > heard);
	pair_site(&p, "north"); /* gives back what is higher than all that south had */
	assert_true(pair_settle(&p, TURNS));
	all_show(&p, other_pixels); /* the last word of a person */
	pair_fini(&p);
}

static void
resolve_as(struct pair *p, uint64_t number)
{
	Sync__DecisionsRequest rq = SYNC__DECISIONS_REQUEST__INIT;
	Sync__Decision m = SYNC__DECISION__INIT;
	ProtobufCBinaryData digests[1], back[1];
	unsigned char digest[SHA256_SIZE], id[ID128_SIZE] = {1};
	struct buf bytes = BUF_INIT, body = BUF_INIT;
	struct caller k;
	char uid[65];

	digest_of(p, other_pixels, digest);
	uid_of_image(uid);
	digests[0] = message_bytes(digest, sizeof(digest));
	m.kind = SYNC__DECIDED_KIND__DECIDED_CURRENT;
	m.number = number;
	m.id = message_bytes(id, sizeof(id));
	m.sop_instance = uid;
	m.digests = digests;
	m.n_digests = 1;
	m.person = true;
	message_pack(&bytes, &m.base);
	back[0] = message_bytes(bytes.data, bytes.len);
	rq.back = back;
	rq.n_back = 1;
	message_pack(&body, &rq.base);
	caller_init(&k, &p->central, "south");
	assert_int_equal(caller_ask(&k, "POST", "/sync/v1/decisions", &body), 200);
	caller_fini(&k);
	buf_fini(&body);
	buf_fini(&bytes);
}

static void
decisions__R3_R26_a_number_that_a_site_makes_up_uses_none_up(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	all_show(&p, NULL);
	resolve_as(&p, DECISION_NUMBER_MAX - 1);
	assert_true(number_of(p.central.store) < DECISION_FOREIGN_MAX);
	resolve_as(&p, DECISION_FOREIGN_MAX - 1);
	resolve(&p, other_pixels);
	resolve(&p, NULL);
	all_show(&p, NULL);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	pair_fini(&p);
}

static void
decisions__R3_R16_nor_when_its_key_burns_too(void **state)
{
	(void)state;
	burns(true);
}

static void
decisions__R3_R16_a_rebuild_decides_nothing_anew(void **state)
{
	struct err e = ERR_INIT;
	struct store_tx *tx;
	uint64_t number, total, again;
	struct pair p;

	(void)state;
	make_conflict(&p);
	resolve(&p, other_pixels);
	send(&p, more_pixels);
	all_show(&p, other_pixels);
	number = number_of(p.central.store);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(decisions_total(tx, &total, NULL), 0);
	store_end_read(tx);
	pair_close_central(&p);
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	central_close(&p.central);
	pair_open_central(&p);
	assert_int_equal(number_of(p.central.store), number);
	assert_int_equal(counts(p.central.store).conflicts, 1);
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(decisions_total(tx, &again, NULL), 0);
	store_end_read(tx);
	assert_int_equal(again, total);
	all_show(&p, other_pixels);
	pair_fini(&p);
}

static void
decisions__R3_an_edge_that_burnt_shows_what_was_decided_after_its_refill(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	resolve(&p, other_pixels);
	all_show(&p, other_pixels);
	pair_site(&p, "north");
	assert_int_equal(pair_burn_and_refill(&p, true).came, 2);
	assert_true(shows(&p, p.edge.store, other_pixels));
	all_show(&p, other_pixels);
	pair_fini(&p);
}

static void
decisions__R3_an_edge_of_version_1_goes_by_its_own_order(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, NULL);
	p.edge_speaks = (struct protocol_range){1, 1};
	p.routes = oldpeer_routes(&p.n_routes);
	pair_site(&p, "south");
	send(&p, other_pixels);
	listen(&p);
	assert_true(shows(&p, p.edge.store, other_pixels));
	p.edge_speaks = (struct protocol_range){0, 0};
	p.routes = NULL;
	all_show(&p, NULL);
	pair_fini(&p);
}

/* --- commands --- */

/* Time passes while a command waits for somebody. */
struct ticking {
	struct clock_manual *clock;
	_Atomic bool stop;
};

static void *
tick(void *arg)
{
	static const struct timespec moment = {0, 1000000};
	struct ticking *t = arg;

	while (!t->stop) {
		clock_manual_advance(t->clock, 50);
		(void)nanosleep(&moment, NULL);
	}
	return NULL;
}

/* `conflicts resolve` of the image, by the digest of what `change` makes, or its beginning. */
static int
command(struct pair *p, bool at_edge, void (*change)(struct gen *g), size_t digits)
{
	unsigned char digest[SHA256_SIZE];
	char uid[65], hex[2 * SHA256_SIZE + 1];
	const char *words[] = {"conflicts", "resolve", uid, hex, "--reason", "a test"};
	struct ticking t = {&p->clock, false};
	pthread_t thread;
	int code;

	digest_of(p, change, digest);
	hex_of(digest, sizeof(digest), hex);
	hex[digits] = '\0';
	uid_of_image(uid);
	assert_int_equal(pthread_create(&thread, NULL, tick, &t), 0);
	code = at_edge ? ctl_local(edge_commands_run, &p->edge, 6, words)
		       : ctl_local(central_commands_run, &p->central, 6, words);
	t.stop = true;
	(void)pthread_join(thread, NULL);
	return code;
}

static void
conflicts_resolve__R3_at_central_decides_for_all(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	assert_int_equal(command(&p, false, more_pixels, 64), COMMAND_FAILED);
	assert_int_equal(command(&p, false, other_pixels, 0), COMMAND_FAILED); /* any */
	assert_int_equal(command(&p, false, other_pixels, 12), COMMAND_OK);
	all_show(&p, other_pixels);
	assert_int_equal(command(&p, false, NULL, 64), COMMAND_OK);
	all_show(&p, NULL);
	pair_fini(&p);
}

static void
conflicts_resolve__R3_at_an_edge_is_passed_on_or_says_that_it_cannot_be(void **state)
{
	struct pair p;

	(void)state;
	make_conflict(&p);
	all_show(&p, NULL);
	pair_close_central(&p);
	assert_int_equal(command(&p, true, other_pixels, 12), COMMAND_FAILED);
	pair_open_central(&p);
	all_show(&p, NULL); /* nothing was decided */
	assert_int_equal(command(&p, true, more_pixels, 64), COMMAND_FAILED);
	assert_int_equal(command(&p, true, other_pixels, 12), COMMAND_OK);
	all_show(&p, other_pixels);
	pair_site(&p, "north");
	p.routes = oldpeer_routes(&p.n_routes);
	p.central.speaks = (struct protocol_range){1, 1};
	pair_site(&p, "south");
	assert_int_equal(command(&p, true, NULL, 12), COMMAND_FAILED);
	pair_fini(&p);
}

static void
conflicts__R3_say_what_is_unconfirmed_and_what_was_decided(void **state)
{
	struct buf out = BUF_INIT;
	uint64_t n;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, NULL);
	p.cut_method = "POST";
	p.change = other_pixels;
	assert_int_equal(pair_send(&p, IMAGE), 0);
	assert_int_equal(differences_print(p.edge.store, true, false, &out, &n, NULL), 0);
	buf_put_u8(&out, 0);
	assert_non_null(strstr((const char *)out.data, ", 1 unconfirmed, differs in"));
	assert_int_equal(n, 1);
	assert_int_equal(counts(p.edge.store).undecided, 1);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	resolve(&p, other_pixels);
	listen(&p);
	buf_clear(&out);
	assert_int_equal(differences_print(p.edge.store, true, false, &out, &n, NULL), 0);
	buf_put_u8(&out, 0);
	assert_null(strstr((const char *)out.data, "unconfirmed"));
	assert_non_null(strstr((const char *)out.data, ", decided, differs in"));
	assert_int_equal(n, 0);
	buf_fini(&out);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			decisions__R3_at_rest_all_nodes_show_the_version_that_central_chose),
		cmocka_unit_test(decisions__R3_a_person_decides_and_all_nodes_follow),
		cmocka_unit_test(
			decisions__R3_R26_under_policy_own_anothers_version_is_not_brought),
		cmocka_unit_test(decisions__R3_a_correction_of_what_was_chosen_counts_everywhere),
		cmocka_unit_test(decisions__R3_a_correction_in_the_dark_outlives_a_decision),
		cmocka_unit_test(
			decisions__R3_a_site_that_takes_in_what_was_decided_about_hears_of_it),
		cmocka_unit_test(decisions__R3_R9_the_chosen_one_takes_over_when_the_bytes_here_go),
		cmocka_unit_test(
			decisions__R3_R20_the_chosen_one_takes_over_when_the_bytes_here_rot),
		cmocka_unit_test(
			decisions__R3_R16_a_central_that_was_set_back_gets_them_from_the_edges),
		cmocka_unit_test(decisions__R3_R16_what_people_decided_does_not_burn_with_central),
		cmocka_unit_test(
			decisions__R3_R16_after_a_fire_numbers_go_on_above_what_any_edge_has_heard),
		cmocka_unit_test(decisions__R3_R26_a_number_that_a_site_makes_up_uses_none_up),
		cmocka_unit_test(decisions__R3_R16_nor_when_its_key_burns_too),
		cmocka_unit_test(decisions__R3_R16_a_rebuild_decides_nothing_anew),
		cmocka_unit_test(
			decisions__R3_an_edge_that_burnt_shows_what_was_decided_after_its_refill),
		cmocka_unit_test(decisions__R3_an_edge_of_version_1_goes_by_its_own_order),
		cmocka_unit_test(conflicts_resolve__R3_at_central_decides_for_all),
		cmocka_unit_test(
			conflicts_resolve__R3_at_an_edge_is_passed_on_or_says_that_it_cannot_be),
		cmocka_unit_test(conflicts__R3_say_what_is_unconfirmed_and_what_was_decided),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
