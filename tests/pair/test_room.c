/* What central takes while its disk fills (R12). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/central_settings.h"
#include "central/room.h"
#include "central/snapshot.h"
#include "central/upload.h"
#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/http/client.h"
#include "common/store/store.h"
#include "edge/figures.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/lanes.h"
#include "proto/pack.h"
#include "tests/lib/other.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, SOME = 60 };

static void
write_conf(struct pair *p, const char *lines)
{
	FILE *f = fopen(p->central_conf, "w");

	assert_non_null(f);
	(void)fprintf(f, "[data]\ndir = %s/central\ncatalogue = 1GiB\n%s[log]\nlevel = error\n",
		      p->dir, lines);
	assert_int_equal(fclose(f), 0);
}

static void
room_closed_at__R12_back_fill_stops_first_and_fresh_images_last(void **state)
{
	const uint32_t back = 1u << LANE_BACKFILL, resend = 1u << LANE_RESEND;
	const uint32_t all = back | resend | 1u << LANE_FRESH | 1u << LANE_STAT;
	struct conf *c;
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	assert_int_equal(central_settings_load(&c, p.central_conf, NULL), 0);
	assert_int_equal(room_closed_at(c, 89), 0);
	assert_int_equal(room_closed_at(c, 90), back);
	assert_int_equal(room_closed_at(c, 95), back | resend);
	assert_int_equal(room_closed_at(c, 96), back | resend);
	assert_int_equal(room_closed_at(c, 97), all); /* never the ledger */
	assert_int_equal(room_closed_at(c, 100), all);
	conf_free(c);
	write_conf(&p, "full_backfill = 96\n"); /* above what is asked for again */
	assert_int_not_equal(central_settings_load(&c, p.central_conf, NULL), 0);
	write_conf(&p, "full = 94\n");
	assert_int_not_equal(central_settings_load(&c, p.central_conf, NULL), 0);
	write_conf(&p, "full = 94\nfull_resend = 94\n");
	assert_int_equal(central_settings_load(&c, p.central_conf, NULL), 0);
	conf_free(c);
	pair_fini(&p);
}

static bool
needs_a_person(struct pair *p)
{
	struct snapshot s;
	bool person;

	assert_int_equal(snapshot_make(&s, &p->central, NULL), 0);
	person = s.person;
	snapshot_free(&s);
	return person;
}

/* After a fire all is back-fill, and the new disk has no room for it: it is known, and what is
 * taken in goes. When there is room again, all of it comes. */
static void
pair__R12_a_full_central_takes_ledger_and_fresh_images_and_no_back_fill(void **state)
{
	struct figures f;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < 8; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	pair_burn_central(&p);
	write_conf(&p, "full_backfill = 0\n");
	pair_open_central(&p);
	for (i = 0; i < TURNS && pair_outbox(&p).lanes[LANE_BACKFILL].owed < 8; i++)
		pair_turn(&p);
	assert_int_equal(pair_outbox(&p).lanes[LANE_BACKFILL].owed, 8);
	assert_int_equal(pair_send(&p, 8), 0);
	for (i = 0; i < SOME; i++)
		pair_turn(&p);
	assert_true(pair_central_has(&p, 8));
	assert_int_equal(pair_outbox(&p).lanes[LANE_FRESH].owed, 0);
	assert_int_equal(pair_outbox(&p).lanes[LANE_BACKFILL].owed, 8);
	assert_int_equal(pair_outbox(&p).packed, 0);
	assert_int_equal(figures_collect(&f, &p.edge, NULL), 0);
	assert_int_equal(f.wait, WAIT_FULL);
	assert_int_equal(f.lanes[LANE_BACKFILL].wait, WAIT_FULL);
	assert_int_equal(f.lanes[LANE_LEDGER].images, 0); /* all of it is announced */
	assert_true(needs_a_person(&p));
	pair_close_central(&p);
	write_conf(&p, "");
	pair_open_central(&p);
	assert_true(pair_settle(&p, TURNS));
	assert_false(needs_a_person(&p));
	for (i = 0; i < 9; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* What one PATCH of this lane is answered. */
static int
patch(struct other *o, unsigned lane, uint64_t to, struct upload_result *r)
{
	struct buf body = BUF_INIT;
	struct upload_stream *s;
	int rc;

	memset(r, 0, sizeof(*r));
	other_body(&body, o, true, 0, to, 500);
	assert_int_equal(upload_begin(&s, &o->p->central, "north", o->id, lane, NULL), 0);
	upload_more(s, body.data, body.len);
	rc = upload_end(s, r, NULL);
	upload_close(s);
	buf_fini(&body);
	return rc;
}

/* Not only what hello said and an edge kept to: an edge that sends it all the same is refused. */
static void
upload__R12_central_itself_refuses_the_lanes_that_it_has_closed(void **state)
{
	struct upload_result r;
	struct other o;
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	write_conf(&p, "full_backfill = 0\n");
	pair_open_central(&p);
	pair_open_edge(&p);
	other_announce(&p, 0, 2);
	other_make(&o, &p, 0, 2, NULL, "other");
	assert_int_equal(patch(&o, LANE_BACKFILL, 1000, &r), ERR_FULL);
	assert_int_equal(patch(&o, LANE_RESEND, 500, &r), 0);
	assert_int_equal(r.offset, 500);
	pair_close_central(&p);
	write_conf(&p, "full_backfill = 0\nfull_resend = 0\n");
	pair_open_central(&p);
	assert_int_equal(patch(&o, LANE_RESEND, 1000, &r), ERR_FULL);
	assert_int_equal(patch(&o, LANE_STAT, 600, &r), 0);
	assert_int_equal(patch(&o, LANE_LEDGER, 700, &r), 0); /* an edge that does not say */
	assert_int_equal(patch(&o, LANES, 800, &r), 0);	      /* or says what we do not know */
	assert_int_equal(patch(&o, LANE_FRESH, pack_size(o.pack), &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	other_fini(&o);
	pair_fini(&p);
}

static unsigned lanes_said; /* bit 1 << lane, of every PATCH */

static void
note_lane(struct pair *p, struct http_call *call)
{
	(void)p;
	if (strcmp(call->method, "PATCH") == 0)
		lanes_said |= 1u << call->lane;
}

static void
pair__R12_each_piece_says_whose_it_is(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	p.on_request = note_lane;
	for (i = 0; i < 4; i++)
		assert_int_equal(pair_send(&p, i), 0);
	lanes_said = 0;
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(lanes_said, 1u << LANE_FRESH);
	pair_burn_central(&p);
	pair_open_central(&p);
	lanes_said = 0;
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(lanes_said, 1u << LANE_BACKFILL);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_closed_at__R12_back_fill_stops_first_and_fresh_images_last),
		cmocka_unit_test(
			pair__R12_a_full_central_takes_ledger_and_fresh_images_and_no_back_fill),
		cmocka_unit_test(upload__R12_central_itself_refuses_the_lanes_that_it_has_closed),
		cmocka_unit_test(pair__R12_each_piece_says_whose_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
