/*
 * Dies, and fails, at each durable step of eviction and of a rebuild (R9, R12, R13).
 *
 * An evicted image is at central, and its record and ledger entry agree; a rebuild that was cut
 * is made again and finds all.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/os/file.h"
#include "common/store/private.h"
#include "edge/edge.h"
#include "edge/evict.h"
#include "edge/keep.h"
#include "edge/rebuild.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"
#include "tests/lib/stored.h"
#include "tests/lib/sweep.h"

enum { IMAGES = 3, TURNS = 200 }; /* one study */

static void
prepare(struct pair *p)
{
	unsigned i;

	pair_init(p, "64MiB");
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(p, i), 0);
	assert_true(pair_settle(p, TURNS));
}

/* The study of all images. */
static int
note_study(void *arg, const struct version *v, struct err *e)
{
	(void)e;
	strcpy(arg, v->study);
	return 0;
}

static void
study_of(struct pair *p, char out[UID_SIZE])
{
	struct store_tx *tx;

	out[0] = '\0';
	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(store_versions(tx, 0, note_study, out, NULL), 0);
	store_end_read(tx);
	assert_true(out[0]);
}

/* Entries `evicted` of the whole ledger. */
static unsigned
evictions(struct pair *p)
{
	Sync__LedgerEntry *entry;
	struct ledger_head head;
	struct store_tx *tx;
	const void *bytes;
	uint64_t seq;
	unsigned found = 0;
	size_t n;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(ledger_head(tx, &head, NULL), 0);
	for (seq = 1; seq <= head.seq; seq++) {
		assert_int_equal(ledger_get(tx, seq, &bytes, &n, NULL), 0);
		entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
		assert_non_null(entry);
		found += entry->kind == SYNC__LEDGER_KIND__LEDGER_EVICTED;
		message_free(entry);
	}
	store_end_read(tx);
	return found;
}

/* R9: record and entry in one transaction; R12: no chunk is without an object. */
static void
check_evicted(struct pair *p)
{
	unsigned i, here = 0;

	for (i = 0; i < IMAGES; i++) {
		here += pair_edge_has(p, i);
		assert_true(pair_central_has(p, i));
	}
	stored_settle(p->edge.store);
	assert_int_equal(here + evictions(p), IMAGES);
	assert_int_equal(stored_counts(p->edge.store).instances, here);
	assert_int_equal(stored_counts(p->edge.store).known, IMAGES);
	assert_int_equal(stored_rows(p->edge.store, T_CHUNK), here);
}

static int
evict_all(struct pair *p)
{
	char study[UID_SIZE];
	uint64_t n, bytes;

	study_of(p, study);
	return keep_evict(p->edge.keep, study, &n, &bytes, NULL);
}

static void
evict__R9_R12_each_failed_step_leaves_record_and_entry_agreeing(void **state)
{
	unsigned n, hits;
	int rc;

	(void)state;
	for (n = 1;; n += 2) {
		struct pair p;

		prepare(&p);
		fault_arm(n, FAULT_ERRNO, n % 4 == 1 ? ENOSPC : EIO);
		rc = evict_all(&p);
		stored_settle(p.edge.store); /* the clean-up's steps count as well */
		hits = fault_disarm();
		check_evicted(&p);
		if (hits < n)
			assert_int_equal(rc, 0);
		pair_fini(&p);
		if (hits < n)
			break;
	}
	assert_true(n > 10);
}

/* Runs in a child, which has no environment open yet. */
static int
child_ends_with(void (*fn)(struct pair *p, unsigned n), struct pair *p, unsigned n)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		fn(p, n);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
evict_and_die(struct pair *p, unsigned n)
{
	pair_open_central(p);
	pair_open_edge(p);
	pair_turn(p); /* hello */
	pair_turn(p);
	fault_arm(n, FAULT_DIE, 0);
	if (evict_all(p))
		_exit(2);
	stored_settle(p->edge.store);
}

static void
evict__R9_R12_a_death_at_each_step_leaves_record_and_entry_agreeing(void **state)
{
	unsigned n;
	int code = FAULT_EXIT;

	(void)state;
	for (n = 1; code; n += 2) {
		struct pair p;

		prepare(&p);
		pair_close_edge(&p);
		pair_close_central(&p);
		code = child_ends_with(evict_and_die, &p, n);
		assert_true(code == 0 || code == FAULT_EXIT);
		pair_open_central(&p);
		pair_open_edge(&p);
		check_evicted(&p);
		if (!code)
			assert_int_equal(evictions(&p), IMAGES);
		assert_true(pair_settle(&p, TURNS));
		pair_fini(&p);
	}
	assert_true(n > 10);
}

static int
rebuild(struct pair *p, struct err *e)
{
	struct rebuild_result result;
	struct edge edge;
	int rc = edge_open(&edge, p->edge_conf, EDGE_SALVAGE, e);

	if (rc)
		return rc;
	rc = rebuild_store(&edge, &result, e);
	edge_close(&edge);
	return rc;
}

static void
check_rebuilt(struct pair *p)
{
	unsigned i;

	pair_open_edge(p);
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_edge_has(p, i));
	assert_int_equal(stored_counts(p->edge.store).known, IMAGES);
	assert_true(pair_settle(p, TURNS));
	pair_close_edge(p);
}

static void
rebuild_and_die(struct pair *p, unsigned n)
{
	fault_arm(n, FAULT_DIE, 0);
	if (rebuild(p, NULL))
		_exit(2);
}

/* What lies under the store's name is whole at each moment: the old one or the new one. */
static void
rebuild__R13_a_death_at_each_step_loses_no_image(void **state)
{
	unsigned n;
	int code = FAULT_EXIT;
	struct pair p;

	(void)state;
	prepare(&p);
	pair_close_edge(&p);
	for (n = 1; code; n += sweep_stride(13)) {
		code = child_ends_with(rebuild_and_die, &p, n);
		assert_true(code == 0 || code == FAULT_EXIT);
		check_rebuilt(&p);
	}
	assert_true(n > 60);
	pair_fini(&p);
}

static void
rebuild__R13_each_failed_step_loses_no_image(void **state)
{
	unsigned n, hits;
	struct pair p;

	(void)state;
	prepare(&p);
	pair_close_edge(&p);
	for (n = 1;; n += sweep_stride(13)) {
		struct err e = ERR_INIT;
		int rc;

		fault_arm(n, FAULT_ERRNO, ENOSPC);
		rc = rebuild(&p, &e);
		hits = fault_disarm();
		check_rebuilt(&p);
		if (hits >= n)
			continue;
		assert_int_equal(rc, 0);
		break;
	}
	assert_true(n > 60);
	pair_fini(&p);
}

/* In each copy of the only chunk of an image. */
static void
flip_a_pixel(struct pair *p, const char *name)
{
	struct buf b = BUF_INIT;
	unsigned char want[64], bad = 0;
	char path[PATH_MAX];
	unsigned char *at;
	int fd;

	memset(want, 7, sizeof(want));
	(void)snprintf(path, sizeof(path), "%s/edge/store/%s", p->dir, name);
	assert_int_equal(file_slurp(path, SIZE_MAX / 2, &b, NULL), 0);
	fd = file_open(path, true, NULL);
	assert_true(fd >= 0);
	while ((at = memmem(b.data, b.len, want, sizeof(want))) != NULL) {
		assert_int_equal(file_write_at(fd, &bad, 1, (uint64_t)(at - b.data), NULL), 0);
		memset(at, 0, sizeof(want));
	}
	file_close(fd);
	buf_fini(&b);
}

/* Of an image in one chunk nothing is found that salvage could call torn. */
static void
rebuild__R13_an_image_of_one_damaged_chunk_is_missed_and_its_file_stays(void **state)
{
	static const struct recipe small = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 20000};
	struct rebuild_result result;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	struct edge edge;
	struct made m;
	struct pair p;

	(void)state;
	prepare(&p);
	made_init(&m, &small);
	assert_int_equal(stored_put(p.edge.store, &m, "a", NULL, &e), 0);
	made_fini(&m);
	pair_close_edge(&p);
	flip_a_pixel(&p, "data.mdb");
	flip_a_pixel(&p, "journal");
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	assert_int_equal(rebuild_store(&edge, &result, &e), 0);
	edge_close(&edge);
	assert_int_equal(result.objects, IMAGES);
	assert_int_equal(result.torn, 1);
	assert_true(result.kept);
	(void)snprintf(path, sizeof(path), "%s/edge/store.old/data.mdb", p.dir);
	assert_true(file_exists(path));
	assert_int_equal(rebuild(&p, &e), 0); /* nothing lacks now: what was kept stays kept */
	assert_false(file_exists(path));
	(void)snprintf(path, sizeof(path), "%s/edge/store.old.1/data.mdb", p.dir);
	assert_true(file_exists(path));
	pair_fini(&p);
}

/* A record of one small image: its pixels are hit, and a whole record stands behind it. */
static void
damage_journal(struct pair *p)
{
	enum { HEAD = 40, NUMBER_AT = 24, LENGTH_AT = 28, CHECKSUM_AT = 32, PAGE = 4096 };
	struct buf b = BUF_INIT;
	unsigned char want[64], *at, *next;
	char dir[PATH_MAX - 32], path[PATH_MAX];
	size_t n, pages;

	memset(want, 7, sizeof(want));
	(void)snprintf(dir, sizeof(dir), "%s/edge/store", p->dir);
	(void)snprintf(path, sizeof(path), "%s/journal", dir);
	assert_int_equal(file_slurp(path, SIZE_MAX / 2, &b, NULL), 0);
	n = HEAD + buf_get_u32(b.data + LENGTH_AT);
	pages = (n + PAGE - 1) / PAGE * PAGE;
	at = memmem(b.data, n, want, sizeof(want));
	assert_true(at && b.len >= 2 * pages);
	*at = 0;
	next = b.data + pages;
	memcpy(next, b.data, pages);
	buf_set_u32(next + NUMBER_AT, 1);
	buf_set_u64(next + CHECKSUM_AT, 0);
	buf_set_u64(next + CHECKSUM_AT, xxh64_of(next, n));
	assert_int_equal(file_replace(dir, "journal", b.data, b.len, NULL), 0);
	buf_fini(&b);
}

/* Answered, and dead before LMDB committed it. */
static void
take_one_and_die(struct pair *p, unsigned n)
{
	static const struct recipe small = {"1.2.3", "1.2.3.4", NULL, NULL, 7, 20000};
	struct made m;

	(void)n;
	pair_open_edge(p);
	made_init(&m, &small);
	fault_arm_named("kv.commit", 1, FAULT_ERRNO_FOR_EVER, EIO);
	_exit(stored_put(p->edge.store, &m, "a", NULL, NULL) ? 2 : 0);
}

/* Without a start between, which would have said so: nobody knows what that record held. */
static void
rebuild__R13_what_a_damaged_journal_alone_held_is_not_thrown_away(void **state)
{
	struct rebuild_result result;
	struct err e = ERR_INIT;
	char path[PATH_MAX];
	struct edge edge;
	struct pair p;

	(void)state;
	prepare(&p);
	pair_close_edge(&p);
	assert_int_equal(child_ends_with(take_one_and_die, &p, 0), 0);
	damage_journal(&p);
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	assert_int_equal(rebuild_store(&edge, &result, &e), 0);
	edge_close(&edge);
	assert_int_equal(result.objects, IMAGES);
	assert_true(result.untold);
	assert_true(result.kept);
	(void)snprintf(path, sizeof(path), "%s/edge/store.old/journal", p.dir);
	assert_true(file_exists(path));
	pair_fini(&p);
}

/* By SIGTERM, which `serve` hears between two duties only. */
static void
rebuild__R13_that_is_told_to_stop_leaves_the_store_as_it_was(void **state)
{
	struct err e = ERR_INIT;
	struct pair p;

	(void)state;
	prepare(&p);
	pair_close_edge(&p);
	pair_ask_to_stop();
	assert_int_equal(rebuild(&p, &e), ERR_AGAIN);
	pair_stop_heard();
	check_rebuilt(&p);
	err_clear(&e);
	assert_int_equal(rebuild(&p, &e), 0); /* and again, to its end */
	check_rebuilt(&p);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evict__R9_R12_each_failed_step_leaves_record_and_entry_agreeing),
		cmocka_unit_test(
			evict__R9_R12_a_death_at_each_step_leaves_record_and_entry_agreeing),
		cmocka_unit_test(rebuild__R13_a_death_at_each_step_loses_no_image),
		cmocka_unit_test(rebuild__R13_each_failed_step_loses_no_image),
		cmocka_unit_test(
			rebuild__R13_an_image_of_one_damaged_chunk_is_missed_and_its_file_stays),
		cmocka_unit_test(rebuild__R13_what_a_damaged_journal_alone_held_is_not_thrown_away),
		cmocka_unit_test(rebuild__R13_that_is_told_to_stop_leaves_the_store_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
