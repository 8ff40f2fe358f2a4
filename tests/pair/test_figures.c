/* The running figures are what a count from scratch gives, whatever happens (R18). */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/figures.h"
#include "central/record.h"
#include "central/recount.h"
#include "central/verify.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "edge/keep.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"

enum { TURNS = 400, ROUNDS = 40 };

static void
digest_of(const struct pair *p, unsigned number, unsigned char out[SHA256_SIZE])
{
	struct buf file = BUF_INIT;

	pair_image(p, &file, number);
	sha256_of(file.data, file.len, out);
	buf_fini(&file);
}

/* Announced; their bytes come only if they may. */
static void
send(struct pair *p, unsigned first, unsigned n, bool bytes)
{
	unsigned i;

	p->cut_method = bytes ? NULL : "PATCH";
	for (i = 0; i < n; i++)
		assert_int_equal(pair_send(p, first + i), 0);
	if (bytes)
		assert_true(pair_settle(p, TURNS));
	clock_manual_advance(&p->clock, 16000);
	for (i = 0; i < 8; i++)
		pair_turn(p);
	p->cut_method = NULL;
	pair_check_figures(p);
}

static void
decide(struct pair *p, int kind, const char *site)
{
	assert_int_equal(record_decision(&p->central, kind, site, NULL, "test", NULL), 0);
	pair_check_figures(p);
}

static struct verify_result found;
static bool ledger_only;

static int
verify(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	(void)n;
	(void)words;
	return ledger_only ? verify_ledger(node, r, &found, NULL)
			   : verify_all(node, r, false, &found, NULL);
}

static void
run_verify(struct pair *p, bool ledger)
{
	ledger_only = ledger;
	assert_int_equal(ctl_local(verify, &p->central, 0, NULL), 0);
}

static void
rebuild(struct pair *p)
{
	struct err e = ERR_INIT;

	pair_close_central(p);
	if (central_open(&p->central, p->central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	p->central_open = true;
	pair_close_central(p); /* compares */
	pair_open_central(p);
}

static struct figure
all(struct pair *p)
{
	struct store_tx *tx;
	struct figure f;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(figures_of_site(tx, "", &f, NULL), 0);
	store_end_read(tx);
	return f;
}

static void
figures__R18_follow_each_change_and_a_rebuild(void **state)
{
	unsigned char digest[SHA256_SIZE];
	struct figure f;
	uint64_t n, bytes;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 3, true);
	send(&p, 3, 3, false); /* owed, in one building only */
	f = all(&p);
	assert_int_equal(f.known, 6);
	assert_int_equal(f.of[TALLY_HELD], 3);
	assert_int_equal(f.of[TALLY_OWED], 3);
	pair_site(&p, "south");
	send(&p, 3, 1, false); /* in two */
	decide(&p, SYNC__DECISION_KIND__DECISION_CLOSE, "north");
	f = all(&p);
	assert_int_equal(f.of[TALLY_OWED], 1);
	assert_int_equal(f.of[TALLY_LOST], 2);
	pair_site(&p, "north");
	send(&p, 6, 1, false); /* it calls again: not lost after all */
	f = all(&p);
	assert_int_equal(f.of[TALLY_OWED], 4);
	assert_int_equal(f.of[TALLY_LOST], 0);
	digest_of(&p, 4, digest); /* owed */
	assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
	digest_of(&p, 0, digest); /* held */
	assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
	pair_check_figures(&p);
	assert_int_equal(all(&p).of[TALLY_WITHDRAWN], 2);
	rebuild(&p);
	send(&p, 7, 1, true);
	assert_int_equal(keep_evict(p.edge.keep, NULL, &n, &bytes, NULL), 0);
	assert_true(n > 0);
	send(&p, 8, 1, true);
	pair_spoil(&p, 1); /* evicted, and damaged at central */
	run_verify(&p, false);
	assert_int_equal(found.damaged, 1);
	assert_int_equal(found.figures.figures + found.figures.listed, 0);
	pair_check_figures(&p);
	f = all(&p);
	assert_int_equal(f.damaged, 1);
	assert_int_equal(f.of[TALLY_LOST], 1);
	assert_int_equal(f.known, f.of[TALLY_HELD] + f.of[TALLY_OWED] + f.of[TALLY_LOST] +
					  f.of[TALLY_WITHDRAWN]);
	pair_burn_edge(&p);
	pair_site(&p, "north"); /* a successor closes what came before it */
	send(&p, 1, 1, true);
	assert_int_equal(all(&p).damaged, 0);
	rebuild(&p);
	run_verify(&p, true);
	assert_int_equal(found.figures.images, 9);
	assert_int_equal(found.figures.figures + found.figures.listed + found.wrong_bits +
				 found.wrong_claims + found.torn,
			 0);
	pair_fini(&p);
}

/* --- what is wrong is said, and made right --- */

static int
drop_listed(void *arg, const struct listed *row, struct err *e)
{
	struct store_tx *tx = arg;

	return kv_del(store_tx_kv(tx), store_table(store_tx_store(tx), row->table),
		      kv_slice(row->key, row->n), e);
}

static int
make_wrong(struct store_tx *tx, void *arg, struct err *e)
{
	static const char north[] = "snorth", other[] = "sother";
	struct figure f = {.known = 5, .of = {1, 1, 1, 2}, .exposed = 7};
	unsigned char digest[SHA256_SIZE];
	unsigned char stale[6 + 8 + SHA256_SIZE] = "north", size[8] = {0};
	const struct pair *p = arg;
	struct share s;
	unsigned table = store_table(store_tx_store(tx), EXPOSED_TABLE);
	int rc = figures_set(tx, north, sizeof(north) - 1, &f, e);

	if (!rc)
		rc = figures_set(tx, other, sizeof(other) - 1, &f, e);
	digest_of(p, 2, digest);
	if (!rc)
		rc = share_of(&s, tx, digest, e);
	if (rc)
		return rc;
	assert_non_null(s.exposed);
	rc = figures_listed(&s, drop_listed, tx, e); /* both of it */
	share_fini(&s);
	return rc ? rc
		  : kv_put(store_tx_kv(tx), table, kv_slice(stale, sizeof(stale)),
			   kv_slice(size, sizeof(size)), e);
}

static void
verify_ledger__R18_says_and_repairs_what_the_count_says_otherwise(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 2, true);
	send(&p, 2, 1, false);
	assert_int_equal(store_commit(p.central.store, make_wrong, &p, NULL), 0);
	run_verify(&p, true);
	assert_int_equal(found.figures.figures, 2);
	assert_int_equal(found.figures.listed, 3);
	pair_check_figures(&p);
	run_verify(&p, true);
	assert_int_equal(found.figures.figures + found.figures.listed, 0);
	pair_fini(&p);
}

struct spoiling {
	struct pair *p;
	bool claim; /* else a bit of an entry */
};

static int
spoil(struct store_tx *tx, void *arg, struct err *e)
{
	const struct spoiling *s = arg;
	unsigned char key[SHA256_SIZE + ID128_SIZE + 8], *copy;
	struct kv_cursor *c;
	struct kv_slice k, v;
	unsigned table = store_table(store_tx_store(tx), s->claim ? "claim" : "announced");
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table, e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	assert_int_equal(rc, 0);
	memcpy(key, k.p, k.n);
	copy = malloc(v.n);
	assert_non_null(copy);
	memcpy(copy, v.p, v.n);
	copy[v.n - 1] ^= 1;
	kv_cursor_close(c);
	rc = kv_put(store_tx_kv(tx), table, kv_slice(key, k.n), kv_slice(copy, v.n), e);
	free(copy);
	return rc;
}

/* Claims and chains are looked at as well: a count is worth what it counts. */
static void
verify_ledger__R5_R18_looks_at_claims_and_chains(void **state)
{
	struct spoiling s = {NULL, true};
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 3, true);
	assert_int_equal(store_commit(p.central.store, spoil, &s, NULL), 0);
	run_verify(&p, true);
	assert_int_equal(found.wrong_claims, 1);
	assert_int_equal(found.torn, 0);
	pair_check_figures(&p);
	s.claim = false;
	assert_int_equal(store_commit(p.central.store, spoil, &s, NULL), 0);
	run_verify(&p, true);
	assert_int_equal(found.torn, 1);
	rebuild(&p);
	run_verify(&p, true);
	assert_int_equal(found.torn + found.wrong_claims, 0);
	pair_fini(&p);
}

/* --- while others go on --- */

struct counting {
	struct pair *p;
	_Atomic bool stop;
	unsigned counts, wrong, failed;
};

static struct counting others;

static int
count(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct recount found_now;

	(void)n;
	(void)words;
	do {
		if (recount_figures(node, r, 1, &found_now, NULL))
			others.failed++;
		others.wrong += found_now.figures + found_now.listed != 0;
		others.counts++;
	} while (!atomic_load(&others.stop));
	return 0;
}

static void *
count_on(void *arg)
{
	struct pair *p = arg;

	(void)ctl_local(count, &p->central, 0, NULL);
	return NULL;
}

static void
recount__R18_is_exact_while_everything_changes(void **state)
{
	pthread_t thread;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	memset(&others, 0, sizeof(others));
	assert_int_equal(pthread_create(&thread, NULL, count_on, &p), 0);
	for (i = 0; i < ROUNDS; i++) {
		unsigned char digest[SHA256_SIZE];

		send(&p, 3 * i, 3, i % 3 != 2);
		if (i % 5 == 4) {
			digest_of(&p, i, digest);
			assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
		}
		if (i % 7 == 6)
			decide(&p, SYNC__DECISION_KIND__DECISION_CLOSE, "north");
	}
	atomic_store(&others.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(others.counts > 0);
	assert_int_equal(others.failed, 0);
	assert_int_equal(others.wrong, 0);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures__R18_follow_each_change_and_a_rebuild),
		cmocka_unit_test(verify_ledger__R18_says_and_repairs_what_the_count_says_otherwise),
		cmocka_unit_test(verify_ledger__R5_R18_looks_at_claims_and_chains),
		cmocka_unit_test(recount__R18_is_exact_while_everything_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
