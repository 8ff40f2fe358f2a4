/* Room in its width: what could not be dropped, a lowered quota, order among many (R11, R12). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/dicom/canon.h"
#include "common/store/index.h"
#include "common/store/private.h"
#include "tests/lib/stored.h"

#define MIB ((size_t)1 << 20)
#define DAY_MS INT64_C(86400000)

/* Waits (with a deadline) until a table has no row. */
static bool
drained(struct store *s, unsigned table)
{
	const struct timespec tick = {0, 1000000};
	unsigned n;

	for (n = 0; n < 20000 && stored_rows(s, table); n++)
		(void)nanosleep(&tick, NULL);
	return stored_rows(s, table) == 0;
}

/* The commit that would have said so met a full disk: not only the next start makes it good. */
static void
store_spool__R12_what_could_not_be_dropped_goes_within_seconds(void **state)
{
	struct recipe r = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 20 * MIB};
	struct store_spool *p;
	struct err e = ERR_INIT;
	struct stored t;
	struct made m;

	(void)state;
	log_set_level(LOG_ERROR);
	stored_init(&t, 64 * MIB);
	made_init(&m, &r);
	assert_int_equal(store_spool_open(&p, t.s, &e), 0);
	assert_int_equal(store_spool_add(p, m.bytes.data, m.bytes.len, &e), 0);
	assert_int_equal(stored_rows(t.s, T_SPOOLED), 1);
	fault_arm_named("kv.commit", 1, FAULT_ERRNO_FOR_EVER, ENOSPC);
	store_spool_close(p);
	assert_int_equal(stored_rows(t.s, T_SPOOLED), 1);
	assert_true(fault_disarm() > 0);
	assert_true(drained(t.s, T_SPOOLED));
	assert_true(drained(t.s, T_CHUNK));
	assert_int_equal(store_admit(t.s, 60 * MIB, &e), 0);
	made_fini(&m);
	stored_fini(&t);
}

/* The name of the folder was the caller's; the disk is asked all the same. */
static void
store_admit__R12_asks_the_disk_after_its_opener_has_gone(void **state)
{
	struct store_config c;
	struct store *s;
	struct err e = ERR_INIT;
	struct stored t;
	char dir[64];

	(void)state;
	stored_init(&t, 0);
	store_close(t.s);
	t.s = NULL;
	memset(&c, 0, sizeof(c));
	memcpy(dir, t.dir, sizeof(dir));
	c.dir = dir;
	c.map_bytes = 64 * MIB;
	c.clock = &t.clock.c;
	assert_int_equal(store_open(&s, &c, &e), 0);
	memset(dir, 'x', sizeof(dir) - 1);
	clock_manual_advance(&t.clock, 2000);
	assert_int_equal(store_admit(s, UINT64_MAX / 2, &e), ERR_FULL); /* no disk has that */
	store_close(s);
	stored_fini(&t);
}

/* A file never shrinks: its pages are freed above it, whatever the quota says now. */
static void
store_open__R12_a_lowered_quota_has_its_reserve_still(void **state)
{
	enum { OBJECTS = 60, EACH = 4 };
	struct recipe r = {"1.2.3", NULL, NULL, NULL, 7, EACH * MIB - 8000};
	uint64_t oids[OBJECTS];
	struct store_verdict v;
	struct store_space space;
	struct err e = ERR_INIT;
	struct stored t;
	struct made m;
	char uid[20];
	unsigned n;

	(void)state;
	stored_init(&t, 256 * MIB);
	r.uid = uid;
	for (n = 0; n < OBJECTS; n++) {
		(void)snprintf(uid, sizeof(uid), "1.2.3.%u", n);
		made_init(&m, &r);
		assert_int_equal(stored_put(t.s, &m, "a", &v, &e), 0);
		oids[n] = v.oid;
		made_fini(&m);
	}
	store_close(t.s);
	t.s = NULL;
	t.quota = 64 * MIB;
	assert_int_equal(stored_open(&t, &e), 0);
	store_space(t.s, &space);
	assert_true(space.used > 3 * space.quota);
	assert_true(space.map >= kv_file_bytes(t.s->kv) + 32 * MIB);
	assert_int_equal(store_admit(t.s, 1, NULL), ERR_FULL);
	for (n = 0; n < OBJECTS; n++) {
		assert_int_equal(store_check(t.s, oids[n], &e), 0);
		assert_int_equal(stored_drop(t.s, oids[n], &e), 0);
	}
	stored_settle(t.s);
	assert_int_equal(store_admit(t.s, 60 * MIB, &e), 0);
	stored_fini(&t);
}

struct aged {
	const struct object_info *info;
	int64_t age_ms;
};

static int
put_aged(struct store_tx *tx, void *arg, struct err *e)
{
	struct index_sets none = {.dropped = NULL};
	const struct aged *a = arg;
	struct store_verdict verdict;
	struct version v;

	version_of_object(&v, a->info);
	v.state = VERSION_HERE;
	v.location = VERSION_PACK;
	v.origin = VERSION_REFILLED;
	v.first_ms = store_time(store_tx_store(tx)) - a->age_ms;
	return store_announce(tx, &v, &none, &verdict, e);
}

static void
put_refilled(struct store *s, const char *study, const char *uid, int64_t age_ms)
{
	struct recipe r = {study, uid, NULL, NULL, 1, 100};
	struct err e = ERR_INIT;
	struct aged a;
	struct made m;

	made_init(&m, &r);
	a = (struct aged){m.info, age_ms};
	assert_int_equal(store_commit(s, put_aged, &a, &e), 0);
	made_fini(&m);
}

/* Object number n: 1 to 5 MiB, of no two sizes alike. */
static uint64_t
put_number(struct stored *t, unsigned n)
{
	char uid[24];
	struct recipe r = {"1.2.3", uid, NULL, NULL, 7, (n % 5 + 1) * MIB - n * 10007 % 900000};
	struct store_verdict v;
	struct err e = ERR_INIT;
	struct made m;

	(void)snprintf(uid, sizeof(uid), "1.2.3.%u", n);
	made_init(&m, &r);
	assert_int_equal(stored_put(t->s, &m, "a", &v, &e), 0);
	made_fini(&m);
	return v.oid;
}

/* Where free pages are of other sizes than what comes, the file is long enough already. */
static void
store_commit__R12_a_cache_that_is_full_has_all_of_its_file(void **state)
{
	enum { FILL = 20, TURN = 40 };
	const struct timespec tick = {0, 1000000};
	uint64_t oids[FILL + TURN];
	struct recipe small = {"1.2.3", "1.2.4", NULL, NULL, 7, 100};
	struct store_verdict v;
	struct err e = ERR_INIT;
	struct stored t;
	struct made m;
	unsigned n;

	(void)state;
	stored_init(&t, 64 * MIB);
	store_close(t.s);
	t.ahead = 2 * MIB;
	t.journal = 2 * MIB;
	assert_int_equal(stored_open(&t, &e), 0);
	for (n = 0; n < FILL; n++)
		oids[n] = put_number(&t, n);
	made_init(&m, &small);
	assert_int_equal(stored_put(t.s, &m, "a", &v, &e), 0);
	made_fini(&m);
	for (n = 0; n < 20000 && kv_file_bytes(t.s->kv) < 64 * MIB; n++)
		(void)nanosleep(&tick, NULL);
	assert_int_equal(kv_file_bytes(t.s->kv), 64 * MIB);
	for (n = FILL; n < FILL + TURN; n++) {
		assert_int_equal(stored_drop(t.s, oids[n - FILL], &e), 0);
		stored_settle(t.s);
		oids[n] = put_number(&t, n);
		assert_int_equal(kv_file_bytes(t.s->kv), 64 * MIB);
	}
	stored_fini(&t);
}

/* A new edge is younger than what it gets back: the oldest goes first all the same. */
static void
store_candidates__R11_refilled_studies_rank_by_their_first_receipt(void **state)
{
	struct store_candidate c[4];
	struct err e = ERR_INIT;
	struct stored t;
	size_t n;

	(void)state;
	stored_init(&t, 0);
	put_refilled(t.s, "1.1", "1.1.1", 5 * DAY_MS);
	put_refilled(t.s, "1.2", "1.2.1", 90 * DAY_MS);
	put_refilled(t.s, "1.3", "1.3.1", 40 * DAY_MS);
	assert_int_equal(store_candidates(t.s, 30 * DAY_MS, NULL, c, 4, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_string_equal(c[0].study, "1.2");
	assert_int_equal(c[0].class, STORE_OLD);
	assert_string_equal(c[1].study, "1.3");
	assert_string_equal(c[2].study, "1.1");
	assert_int_equal(c[2].class, STORE_YOUNG);
	/* Old, but looked at just now: after the other old one. */
	clock_manual_advance(&t.clock, 1000);
	store_viewed(t.s, "1.2");
	store_close(t.s);
	t.s = NULL;
	assert_int_equal(stored_open(&t, &e), 0);
	assert_int_equal(store_candidates(t.s, 30 * DAY_MS, NULL, c, 4, &n, &e), 0);
	assert_string_equal(c[0].study, "1.3");
	assert_string_equal(c[1].study, "1.2");
	assert_string_equal(c[2].study, "1.1");
	stored_fini(&t);
}

enum { MANY = 2500 };

/* Known in every rank there is; HERE without bytes of our own, as in a pack. */
static int
announce_many(struct store_tx *tx, void *arg, struct err *e)
{
	static const enum version_origin origins[] = {VERSION_TAKEN_IN, VERSION_PREFETCHED,
						      VERSION_FETCHED, VERSION_REFILLED};
	struct index_sets none = {.dropped = NULL};
	struct store_verdict verdict;
	struct version v;
	unsigned i;
	int rc = 0;

	(void)arg;
	for (i = 0; !rc && i < MANY; i++) {
		memset(&v, 0, sizeof(v));
		(void)snprintf(v.study, sizeof(v.study), "1.2.%u", i);
		(void)snprintf(v.series, sizeof(v.series), "1.2.%u.1", i);
		(void)snprintf(v.sop_instance, sizeof(v.sop_instance), "1.2.%u.1.1", i);
		memcpy(v.digest, &i, sizeof(i));
		v.size = 1000;
		v.state = VERSION_HERE;
		v.location = VERSION_PACK;
		v.origin = origins[i % 4];
		v.first_ms = store_time(store_tx_store(tx)) - (int64_t)i * DAY_MS / 100;
		rc = store_announce(tx, &v, &none, &verdict, e);
	}
	return rc;
}

/* Class first, then age; the walk goes page by page and leaves nobody out. */
static void
store_candidates__R11_prefetched_then_fetched_then_old_then_young_of_many(void **state)
{
	struct store_candidate c[64], after;
	enum store_class class = STORE_NEVER_OPENED;
	unsigned of[STORE_YOUNG + 1] = {0}, all = 0;
	struct err e = ERR_INIT;
	struct stored t;
	int64_t last = INT64_MIN;
	size_t n, i;

	(void)state;
	stored_init(&t, 0);
	assert_int_equal(store_commit(t.s, announce_many, NULL, &e), 0);
	do {
		assert_int_equal(
			store_candidates(t.s, 20 * DAY_MS, all ? &after : NULL, c, 64, &n, &e), 0);
		for (i = 0; i < n; i++) {
			assert_true(c[i].class >= class);
			assert_true(c[i].class > class || c[i].last_ms >= last);
			class = c[i].class;
			last = c[i].last_ms;
			of[class]++;
			after = c[i];
			all++;
		}
	} while (n == 64);
	assert_int_equal(all, MANY);
	assert_int_equal(of[STORE_NEVER_OPENED], MANY / 4);
	assert_int_equal(of[STORE_FETCHED], MANY / 4);
	assert_int_equal(of[STORE_OLD] + of[STORE_YOUNG], MANY / 2);
	assert_int_equal(of[STORE_YOUNG], 1000); /* younger than 20 days: half of 2,000 */
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_spool__R12_what_could_not_be_dropped_goes_within_seconds),
		cmocka_unit_test(store_admit__R12_asks_the_disk_after_its_opener_has_gone),
		cmocka_unit_test(store_open__R12_a_lowered_quota_has_its_reserve_still),
		cmocka_unit_test(store_commit__R12_a_cache_that_is_full_has_all_of_its_file),
		cmocka_unit_test(
			store_candidates__R11_refilled_studies_rank_by_their_first_receipt),
		cmocka_unit_test(
			store_candidates__R11_prefetched_then_fetched_then_old_then_young_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
