/* What is said of rejected images, in whatever order a node hears it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/dicom/note.h"
#include "common/store/store.h"
#include "edge/figures.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"

static struct pair p;

static int
begin(void **state)
{
	(void)state;
	pair_init(&p, "64MiB");
	return 0;
}

static int
end(void **state)
{
	(void)state;
	pair_fini(&p);
	return 0;
}

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

static int
say_ranked(bool on, unsigned reason, uint64_t rank, const char *uid)
{
	struct saying s = {.m = SYNC__REJECTION__INIT};

	s.uid = message_text(uid);
	s.m.on = on;
	s.m.reason = reason;
	s.m.rank = rank;
	s.m.instances = &s.uid;
	s.m.n_instances = 1;
	return store_commit(p.edge.store, take, &s, NULL);
}

static enum note_reason
why(const char *uid)
{
	struct rejected r;
	struct store_tx *tx;
	int rc;

	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	rc = rejected_get(tx, uid, &r, NULL);
	store_end_read(tx);
	return rc ? NOTE_NONE : rejected_why(&r);
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

int
main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		WITH(rejected_take__ends_alike_in_whatever_order_it_is_heard),
		WITH(rejected_take__R26_what_cannot_be_meant_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
