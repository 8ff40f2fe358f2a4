/* What a modality was told it need not keep: what that waits for, what is made of it (R9, R10). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/committed.h"
#include "central/loss.h"
#include "central/tally.h"
#include "central/verify.h"
#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dimse/commitments.h"
#include "common/dimse/peers.h"
#include "common/dimse/references.h"
#include "common/dimse/verdicts.h"
#include "common/store/private.h"
#include "edge/committed.h"
#include "edge/figures.h"
#include "edge/keep.h"
#include "edge/rebuild.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"
#include "tests/lib/stored.h"

enum { IMAGES = 8, TURNS = 400 }; /* two studies of four */
#define HOUR INT64_C(3600000)

static const struct peer by_central = {.name = "CT", .commit_wait_ms = 12 * HOUR};
static const struct peer by_edge = {.name = "CT", .commit_here = true};

/* --- a request --- */

struct adding {
	struct commitment_row row;
	struct references list;
};

static int
add(struct store_tx *tx, void *arg, struct err *e)
{
	struct adding *a = arg;
	bool again;

	return commitments_add(tx, &a->row, &a->list, &again, e);
}

/* One for images from `first` on; its number. */
static uint64_t
request(struct pair *p, unsigned first, unsigned n)
{
	struct reference all[IMAGES];
	struct adding a = {.list = {.all = all, .n = n}};
	static unsigned transactions;
	unsigned i;

	memset(all, 0, sizeof(all));
	for (i = 0; i < n; i++) {
		struct version v = pair_version(p, p->edge.store, first + i);

		strcpy(all[i].sop_class, v.sop_class);
		strcpy(all[i].sop_instance, v.sop_instance);
	}
	(void)snprintf(a.list.transaction, sizeof(a.list.transaction), "1.9.%u", ++transactions);
	strcpy(a.row.transaction, a.list.transaction);
	strcpy(a.row.calling, "CT");
	strcpy(a.row.called, "EDGE");
	strcpy(a.row.peer, "CT");
	a.row.asked_ms = store_time(p->edge.store);
	assert_int_equal(store_commit(p->edge.store, add, &a, NULL), 0);
	return a.row.number;
}

static bool
is_ready(struct pair *p, const struct peer *peer, uint64_t number)
{
	struct verdicts v = {.store = p->edge.store};
	bool ready = false;

	committed_verdicts(&v, &p->edge);
	assert_int_equal(store_settle(p->edge.store, NULL), 0);
	assert_int_equal(verdicts_progress(&v, peer, number, &ready, NULL), 0);
	return ready;
}

static void
commit(struct pair *p, const struct peer *peer, unsigned first, unsigned n)
{
	assert_true(is_ready(p, peer, request(p, first, n)));
}

static struct figures
figures(struct pair *p)
{
	struct figures f;

	assert_int_equal(figures_collect(&f, &p->edge, NULL), 0);
	return f;
}

static struct exposure
exposure(struct pair *p)
{
	struct exposure x = {0, 0, 0, 0};
	struct store_tx *tx;
	struct tally t;

	pair_check_figures(p);
	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	store_end_read(tx);
	if (t.n)
		x = t.rows[0].site_exposure;
	tally_free(&t);
	return x;
}

static bool
loss_says(struct pair *p, enum loss_form form, const char *what)
{
	struct buf out = BUF_INIT;
	unsigned long long lost;
	bool says;

	assert_int_equal(loss_print(p->central.store, NULL, form, true, &out, &lost, NULL), 0);
	buf_put(&out, "", 1);
	says = strstr((const char *)out.data, what) != NULL;
	buf_fini(&out);
	return says;
}

/* --- central's word --- */

static void
committed__R9_central_must_have_receipted_in_this_epoch(void **state)
{
	struct pair p;
	uint64_t first, second;

	(void)state;
	pair_prepare(&p, "64MiB");
	pair_open_central(&p);
	pair_open_edge(&p);
	p.cut_method = "PATCH"; /* announced, not sent */
	assert_int_equal(pair_send(&p, 0), 0);
	(void)pair_settle(&p, 20);
	first = request(&p, 0, 1);
	assert_false(is_ready(&p, &by_central, first));
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_true(is_ready(&p, &by_central, first));
	/* It burns: what it said before counts no more. */
	pair_burn_central(&p);
	pair_open_central(&p);
	p.cut_method = "PATCH";
	(void)pair_settle(&p, 20);
	second = request(&p, 0, 1);

	assert_false(is_ready(&p, &by_central, second));
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_true(is_ready(&p, &by_central, second));
	pair_fini(&p);
}

static void
committed__a_cut_WAN_ends_in_success_and_an_alarm_never_in_failure(void **state)
{
	struct commitment_row row;
	struct store_tx *tx;
	struct pair p;
	uint64_t number;

	(void)state;
	pair_prepare(&p, "64MiB");
	pair_open_central(&p);
	pair_open_edge(&p);
	p.cut_method = "POST";
	assert_int_equal(pair_send(&p, 0), 0);
	assert_int_equal(pair_send(&p, 1), 0);
	number = request(&p, 0, 2);
	store_time_reach(p.edge.store, store_time(p.edge.store) + 11 * HOUR);
	assert_false(is_ready(&p, &by_central, number));
	assert_int_equal(figures(&p).committed_here_only, 0);
	store_time_reach(p.edge.store, store_time(p.edge.store) + HOUR);
	assert_true(is_ready(&p, &by_central, number));
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(commitments_get(tx, number, &row, NULL), 0);
	store_end_read(tx);
	assert_int_equal(row.failed, 0);
	assert_int_equal(row.here_only, 2);
	assert_int_equal(figures(&p).committed_here_only, 2);
	assert_true(figures(&p).person); /* exit 3 */
	assert_true(committed_turned(&p.edge));
	/* Over a restart, and until central has them. */
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_int_equal(figures(&p).committed_here_only, 2);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_false(committed_turned(&p.edge));
	assert_int_equal(figures(&p).committed_here_only, 0);
	assert_false(figures(&p).person);
	pair_fini(&p);
}

/* --- what is made of it --- */

static void
committed__R10_in_the_dark_they_are_never_evicted(void **state)
{
	uint64_t n, bytes;
	struct pair p;
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	commit(&p, &by_central, 1, 1); /* one of the first study, which would go first */
	clock_manual_advance(&p.clock, KEEP_DARK_MS + 1);
	keep_stop(p.edge.keep);
	assert_int_equal(keep_new(&p.edge.keep, &p.edge, NULL), 0);
	keep_turn(p.edge.keep);
	atomic_store(&p.edge.store->used, p.edge.store->c.quota / 100 * 99);
	(void)keep_evict(p.edge.keep, NULL, &n, &bytes, NULL);
	for (i = 0; i < 4; i++)
		assert_true(pair_edge_has(&p, i));
	for (; i < IMAGES; i++) /* nobody was told anything of these */
		assert_false(pair_edge_has(&p, i));
	pair_fini(&p);
}

/* The same on the disk of a new edge. */
static void
committed__R10_a_refilled_edge_knows_them(void **state)
{
	struct store_tx *tx;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	commit(&p, &by_central, 1, 2);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(pair_burn_and_refill(&p, false).came, IMAGES);
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_true(committed_has(tx, pair_version(&p, p.edge.store, 1).sop_instance));
	assert_true(committed_has(tx, pair_version(&p, p.edge.store, 2).sop_instance));
	assert_false(committed_has(tx, pair_version(&p, p.edge.store, 0).sop_instance));
	store_end_read(tx);
	assert_true(pair_settle(&p, TURNS));
	pair_fini(&p);
}

static void
committed__R9_with_centrals_release_they_may_go(void **state)
{
	char study[UID_SIZE];
	uint64_t n, bytes;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	commit(&p, &by_central, 0, 4);
	assert_true(pair_settle(&p, TURNS));
	pair_study(&p, 0, study);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	/* Still committed: central holds them. */
	commit(&p, &by_central, 0, 3);
	pair_fini(&p);
}

/* Its bytes here are gone, and central's copy fails its check since: the receipt is history. */
static void
committed__R10_R19_what_central_lost_since_is_not_said_to_be(void **state)
{
	struct verify_result r = {.packs = 0};
	char study[UID_SIZE];
	uint64_t n, bytes;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	commit(&p, &by_central, 0, 1);
	pair_spoil(&p, 0);
	assert_int_equal(verify_all(&p.central, NULL, false, &r, NULL), 0);
	assert_int_equal(r.damaged, 1);
	clock_manual_advance(&p.clock, 16000); /* hello, and a comparison */
	pair_turn(&p);
	pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	assert_false(is_ready(&p, &by_central, request(&p, 0, 1)));
	commit(&p, &by_central, 1, 3); /* these it has */
	pair_fini(&p);
}

static void
committed__R18_exposure_and_loss_list_name_them(void **state)
{
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	pair_open_central(&p);
	pair_open_edge(&p);
	p.cut_method = "PATCH"; /* who and what exists gets through, the pixels do not */
	assert_int_equal(pair_send(&p, 0), 0);
	assert_int_equal(pair_send(&p, 1), 0);
	assert_int_equal(pair_send(&p, 2), 0);
	commit(&p, &by_edge, 0, 2);
	(void)pair_settle(&p, 20);
	assert_int_equal(exposure(&p).instances, 3);
	assert_int_equal(exposure(&p).committed, 2);
	assert_true(loss_says(&p, LOSS_TEXT, "2 committed: who sent them may have no copy"));
	assert_true(loss_says(&p, LOSS_JSON, "\"committed\":2"));
	assert_true(loss_says(&p, LOSS_CSV, ",instances,committed,study_uid,"));
	pair_close_central(&p); /* its figures are those that a count gives */
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, NULL))
		fail();
	p.central_open = true;
	assert_int_equal(exposure(&p).committed, 2); /* R16: it is in the log */
	pair_close_central(&p);
	pair_open_central(&p);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(exposure(&p).committed, 0);
	pair_fini(&p);
}

static void
committed__R13_a_rebuilt_store_keeps_what_was_said_and_asked(void **state)
{
	struct rebuild_result result;
	struct err e = ERR_INIT;
	struct store_tx *tx;
	struct edge edge;
	struct pair p;
	uint64_t number, n;

	(void)state;
	pair_begin(&p, 2);
	p.cut_method = "POST";
	assert_int_equal(pair_send(&p, 2), 0);
	commit(&p, &by_central, 0, 2);
	commit(&p, &by_edge, 2, 1);
	number = request(&p, 1, 2);
	assert_false(is_ready(&p, &by_central, number));
	pair_close_edge(&p);
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	if (rebuild_store(&edge, &result, &e))
		fail_msg("%s", e.what);
	edge_close(&edge);
	pair_open_edge(&p);
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(commitments_count(tx, &n, NULL), 0);
	assert_true(committed_has(tx, pair_version(&p, p.edge.store, 0).sop_instance));
	assert_true(committed_has(tx, pair_version(&p, p.edge.store, 2).sop_instance));
	store_end_read(tx);
	assert_int_equal(n, 3);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_true(is_ready(&p, &by_central, number));
	/* A new central hears of it from the new ledger. */
	pair_burn_central(&p);
	pair_open_central(&p);
	p.cut_method = "PATCH";
	(void)pair_settle(&p, 40);
	assert_int_equal(exposure(&p).committed, 3);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	pair_fini(&p);
}

static bool
central_says(struct pair *p, const unsigned char *digest)
{
	struct store_tx *tx;
	bool yes = false;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(committed_get(tx, digest, &yes, NULL), 0);
	store_end_read(tx);
	return yes;
}

static void
committed__R16_what_central_itself_says_is_in_its_log(void **state)
{
	struct verdict_mark mark = {.here_only = false};
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	pair_open_central(&p);
	pair_open_edge(&p);
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	memcpy(mark.digest, pair_version(&p, p.central.store, 0).digest, SHA256_SIZE);
	assert_false(central_says(&p, mark.digest));
	assert_int_equal(committed_foretell(&p.central, &mark, 1, NULL), 0);
	assert_int_equal(committed_foretell(&p.central, &mark, 1, NULL), 0);
	assert_true(central_says(&p, mark.digest));
	pair_close_central(&p);
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, NULL))
		fail();
	p.central_open = true;
	assert_true(central_says(&p, mark.digest));
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(committed__R9_central_must_have_receipted_in_this_epoch),
		cmocka_unit_test(
			committed__a_cut_WAN_ends_in_success_and_an_alarm_never_in_failure),
		cmocka_unit_test(committed__R10_in_the_dark_they_are_never_evicted),
		cmocka_unit_test(committed__R10_a_refilled_edge_knows_them),
		cmocka_unit_test(committed__R9_with_centrals_release_they_may_go),
		cmocka_unit_test(committed__R10_R19_what_central_lost_since_is_not_said_to_be),
		cmocka_unit_test(committed__R18_exposure_and_loss_list_name_them),
		cmocka_unit_test(committed__R16_what_central_itself_says_is_in_its_log),
		cmocka_unit_test(committed__R13_a_rebuilt_store_keeps_what_was_said_and_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
