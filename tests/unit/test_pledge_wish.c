/* Storage commitment as SCU: what an archive is to be asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/dimse/pledge_wish.h"
#include "common/store/store.h"
#include "tests/lib/asker.h"

#define SC "1.2.840.10008.5.1.4.1.1.7"

static void
wish__every_current_image_that_is_here_each_once(void **state)
{
	const struct pledge_order o = {"vault", "NODE", false, 2, 24 * HOUR};
	struct asker *s = *state;
	struct recipe r = {"1.2.3", "1.2.3.1", NULL, "c", 9, 64};
	struct pledge_wish w = {.all = NULL};
	struct store_verdict v;
	struct err e = ERR_INIT;

	asker_images(s, 3);
	(void)stored_keep(s->stored.s, &r, "10.0.0.1"); /* a conflict: the first stays current */
	r.uid = "1.2.3.4";
	v = stored_keep(s->stored.s, &r, "10.0.0.1");
	assert_int_equal(stored_drop(s->stored.s, v.oid, NULL), 0); /* evicted */
	assert_int_equal(pledge_wish_add(&w, s->stored.s, "1.2.3", &e), 0);
	assert_int_equal(pledge_wish_add(&w, s->stored.s, "1.2.3.2", &e), 0);
	assert_int_equal(pledge_wish_add(&w, s->stored.s, "1.2.9", &e), ERR_ABSENT);
	pledge_wish_sort(&w);
	assert_int_equal(w.n, 4);
	assert_int_equal(w.asked, 3);
	assert_string_equal(w.all[3].sop_instance, "1.2.3.4");
	assert_int_equal(pledge_wish_record(&w, s->stored.s, &o, NULL), 0);
	assert_int_equal(w.several, 1); /* an archive may mean either */
	pledge_wish_fini(&w);
}

/* Of what is in several requests no part goes on while the command says that it failed. */
static void
wish__R12_without_room_for_all_nothing_is_recorded(void **state)
{
	enum { MANY = 1000 };
	const struct pledge_order o = {"vault", "NODE", false, 100, 24 * HOUR};
	struct asker *s = *state;
	struct pledge_wish w = {.n = MANY, .asked = MANY};
	struct store_space space;
	struct err e = ERR_INIT;
	unsigned i;

	w.all = calloc(MANY, sizeof(*w.all));
	assert_non_null(w.all);
	for (i = 0; i < MANY; i++) {
		strcpy(w.all[i].sop_class, SC);
		(void)snprintf(w.all[i].sop_instance, UID_SIZE, "1.2.3.%u", i);
	}
	store_space(s->stored.s, &space);
	s->stored.quota = space.used + 400000;
	asker_restart(s);
	assert_int_equal(pledge_wish_record(&w, s->stored.s, &o, &e), ERR_FULL);
	assert_int_equal(w.n_requests, 0);
	assert_int_equal(asker_row(s, 1).number, 0);
	pledge_wish_fini(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define asker_test(f) cmocka_unit_test_setup_teardown(f, asker_begin, asker_end)
		asker_test(wish__every_current_image_that_is_here_each_once),
		asker_test(wish__R12_without_room_for_all_nothing_is_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
