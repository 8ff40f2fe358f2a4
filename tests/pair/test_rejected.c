/* What is said of rejected images, in whatever order a node hears it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/note.h"
#include "common/dimse/peers.h"
#include "common/store/store.h"
#include "edge/figures.h"
#include "edge/reject.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"
#include "tests/lib/pair.h"
#include "tests/lib/send.h"
#include "tests/lib/steps.h"

enum { TURNS = 400 };

static struct pair p;

static struct figures
figures(void)
{
	struct figures f;

	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	return f;
}

struct saying {
	Sync__Rejection m;
	char *uid;
};

static int
take(struct store_tx *tx, void *arg, struct err *e)
{
	const struct saying *s = arg;

	return rejected_take(tx, &s->m, e);
}

/* And the ledger tells of it. */
static int
tell(struct store_tx *tx, void *arg, struct err *e)
{
	struct saying *s = arg;
	uint64_t changed;

	return reject_say(tx, &p.edge, &s->m, &changed, e);
}

static int
say(int (*fn)(struct store_tx *tx, void *arg, struct err *e), bool on, unsigned reason,
    uint64_t rank, const char *uid)
{
	struct saying s = {.m = SYNC__REJECTION__INIT};

	s.uid = message_text(uid);
	s.m.on = on;
	s.m.reason = reason;
	s.m.rank = rank;
	s.m.instances = &s.uid;
	s.m.n_instances = 1;
	return store_commit(p.edge.store, fn, &s, NULL);
}

static int
say_ranked(bool on, unsigned reason, uint64_t rank, const char *uid)
{
	return say(take, on, reason, rank, uid);
}

static enum note_reason
why_at(struct store *s, const char *uid)
{
	struct rejected r;
	struct store_tx *tx;
	int rc;

	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	rc = rejected_get(tx, uid, &r, NULL);
	store_end_read(tx);
	return rc ? NOTE_NONE : rejected_why(&r);
}

static enum note_reason
why(const char *uid)
{
	return why_at(p.edge.store, uid);
}

static void
hear(void)
{
	assert_true(pair_settle(&p, TURNS));
	clock_manual_advance(&p.clock, ORDERS_WAIT_MS);
	pair_orders(&p);
}

/* Each order of four sayings ends alike. */
static void
rejected_take__ends_alike_in_whatever_order_it_is_heard(void **state)
{
	static const struct {
		bool on;
		unsigned reason;
		uint64_t rank;
	} all[] = {{true, NOTE_SAFETY, 1},
		   {false, NOTE_SAFETY, 2},
		   {true, NOTE_QUALITY, 3},
		   {true, NOTE_SAFETY, 2}};
	unsigned i[4], n = 0, k;
	char uid[32];

	(void)state;
	for (i[0] = 0; i[0] < 4; i[0]++)
		for (i[1] = 0; i[1] < 4; i[1]++)
			for (i[2] = 0; i[2] < 4; i[2]++) {
				i[3] = 6 - i[0] - i[1] - i[2];
				if (i[0] == i[1] || i[1] == i[2] || i[0] == i[2] || i[3] > 3)
					continue;
				(void)snprintf(uid, sizeof(uid), "1.2.3.%u", n++);
				for (k = 0; k < 4; k++)
					assert_int_equal(say_ranked(all[i[k]].on, all[i[k]].reason,
								    all[i[k]].rank, uid),
							 0);
				assert_int_equal(why(uid), NOTE_SAFETY); /* equal ranks: rejected */
			}
	assert_int_equal(n, 24);
	assert_int_equal(figures().rejected, 24);
}

static void
rejected_take__R26_what_cannot_be_meant_says_nothing(void **state)
{
	(void)state;
	assert_int_equal(say_ranked(true, 0, 1, "1.2.3"), ERR_PEER);
	assert_int_equal(say_ranked(true, NOTE_REASONS, 1, "1.2.3"), ERR_PEER);
	assert_int_equal(say_ranked(true, NOTE_SAFETY, 0, "1.2.3"), ERR_PEER);
	assert_int_equal(say_ranked(true, NOTE_SAFETY, UINT64_MAX, "1.2.3"), ERR_PEER);
	assert_int_equal(say_ranked(true, NOTE_SAFETY, 1, "#"), ERR_PEER);
	assert_int_equal(say_ranked(true, NOTE_SAFETY, 1, ""), ERR_PEER);
	assert_int_equal(figures().rejected, 0);
}

/* What a site makes up must leave the others a rank for what they say. */
static void
told__R26_a_rank_that_is_made_up_counts_nowhere_else(void **state)
{
	static const char uid[] = "1.2.3";

	(void)state;
	assert_int_equal(say(tell, true, NOTE_RETENTION, WITHDRAWN_RANK_MAX - 1, uid), 0);
	hear();
	assert_int_equal(why_at(p.central.store, uid), NOTE_NONE);
	pair_site(&p, "south");
	hear();
	assert_int_equal(why(uid), NOTE_NONE);
	assert_int_equal(say(tell, true, NOTE_SAFETY, 0, uid), 0);
	hear();
	assert_int_equal(why_at(p.central.store, uid), NOTE_SAFETY);
	/* As high as a life of sayings may bring it. */
	assert_int_equal(say(tell, false, NOTE_SAFETY, REJECTED_LEAP, uid), 0);
	hear();
	assert_int_equal(why_at(p.central.store, uid), NOTE_NONE);
}

/* A note of two images. */
static void
send_note(const char *own, const char *first, const char *second)
{
	static const char series[2][UID_SIZE] = {"1.2.3.1", "1.2.3.1"};
	struct peer peer = {
		.name = "", .aet = "", .host = "", .issuer = "", .may = PEER_STORE | PEER_REJECT};
	struct note_reference all[2] = {{.sop_class = "1.2.840.10008.5.1.4.1.1.2"},
					{.sop_class = "1.2.840.10008.5.1.4.1.1.2"}};
	struct note_text t = {.reason = NOTE_SAFETY, .date = "20261126", .time = "101112"};
	struct buf data = BUF_INIT;

	strcpy(all[0].sop_instance, first);
	strcpy(all[1].sop_instance, second);
	t.sop_instance = own;
	t.series = "1.2.3.2";
	t.study = "1.2.3";
	t.all = all;
	t.series_of = series;
	t.n = 2;
	note_write(&data, &t);
	assert_int_equal(send_from(&p.edge, &peer, NOTE_CLASS, own, &data, "1.2.840.10008.1.2.1"),
			 0);
	(void)store_settle(p.edge.store, NULL);
	buf_fini(&data);
}

static void
note__R32_with_odd_uids_is_stored_and_counts_for_the_others(void **state)
{
	(void)state;
	send_note("1.2.3.4", "#1", "1.2.3.1.1");
	assert_int_equal(why("1.2.3.1.1"), NOTE_SAFETY);
	assert_int_equal(why("1.2.3.4"), NOTE_SAFETY);
	send_note("#", "#1", "1.2.3.1.2");
	assert_int_equal(why("1.2.3.1.2"), NOTE_SAFETY);
	assert_int_equal(figures().rejected, 3);
	hear(); /* R17: both notes are at central, which knows of rejections now */
	send_note("#2", "#1", "1.2.3.1.1");
	hear();
}

/* Who rejects and is not understood must not believe that it was done. */
static void
note__R29_that_cannot_be_read_is_stored_flagged_and_counted(void **state)
{
	(void)state;
	send_note("1.2.3.4", "1.2.3.1.1", "no UID");
	assert_int_equal(why("1.2.3.1.1"), NOTE_NONE);
	assert_int_equal(figures().notes_unheard, 1);
	assert_int_equal(figures().rejected, 0);
	hear();
}

int
main(void)
{
#define WITH(test) pair_test(test, p)
	const struct CMUnitTest tests[] = {
		WITH(rejected_take__ends_alike_in_whatever_order_it_is_heard),
		WITH(rejected_take__R26_what_cannot_be_meant_says_nothing),
		WITH(told__R26_a_rank_that_is_made_up_counts_nowhere_else),
		WITH(note__R32_with_odd_uids_is_stored_and_counts_for_the_others),
		WITH(note__R29_that_cannot_be_read_is_stored_flagged_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
