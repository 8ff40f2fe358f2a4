/* A PATCH as its bytes come, in whatever parts, to whatever end (R14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "central/upload.h"
#include "common/base/buf.h"
#include "proto/pack.h"
#include "tests/lib/other.h"
#include "tests/lib/pair.h"

static uint64_t
durable_at(struct pair *p, const struct other *o)
{
	struct upload_place place;

	assert_int_equal(upload_head(&p->central, "north", o->id, &place, NULL), 0);
	return place.whole ? pack_size(o->pack) : place.known ? place.offset : 0;
}

static void
upload_close__R14_whole_frames_of_a_request_that_broke_off_are_kept(void **state)
{
	enum { STEP = 400 };
	struct upload_stream *s;
	struct upload_result r;
	struct buf body = BUF_INIT;
	uint64_t offset = 0;
	struct other o;
	struct pair p;
	size_t cut, at, part = 1, n;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 3);
	other_make(&o, &p, 0, 3, NULL, "other");
	for (cut = 1; offset < pack_size(o.pack); cut += 257) {
		buf_clear(&body);
		other_body(&body, &o, offset == 0, offset, pack_size(o.pack), STEP);
		assert_int_equal(upload_begin(&s, &p.central, "north", o.id, 0, NULL), 0);
		for (at = 0; at < body.len && at < cut; at += n) {
			part = part % 97 + 1; /* in whatever parts they come */
			n = part < body.len - at ? part : body.len - at;
			upload_more(s, body.data + at, n);
		}
		if (at == body.len)
			assert_int_equal(upload_end(s, &r, NULL), 0);
		upload_close(s);
		if (at == body.len) {
			assert_true(r.receipt.len > 0);
			upload_result_fini(&r);
		}
		assert_true(durable_at(&p, &o) >= offset);
		offset = durable_at(&p, &o);
		assert_true(offset % STEP == 0 || offset == pack_size(o.pack));
		if (cut % 2) { /* what was kept is kept by a restarted central, too */
			pair_close_central(&p);
			pair_open_central(&p);
			assert_int_equal(durable_at(&p, &o), offset);
		}
	}
	assert_int_equal(uploads_repeats(p.central.uploads), 0);
	for (at = 0; at < 3; at++)
		assert_true(pair_central_has(&p, (unsigned)at));
	buf_fini(&body);
	other_fini(&o);
	pair_fini(&p);
}

static void
upload_more__R14_a_later_request_ends_the_earlier_and_keeps_what_came(void **state)
{
	struct buf body = BUF_INIT;
	struct upload_stream *s;
	struct upload_result r;
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 2);
	other_make(&o, &p, 0, 2, NULL, "other");
	other_body(&body, &o, true, 0, 1500, 500);
	assert_int_equal(upload_begin(&s, &p.central, "north", o.id, 0, NULL), 0);
	upload_more(s, body.data, body.len - 1); /* two frames, and most of a third */
	assert_int_equal(durable_at(&p, &o), 1000);
	assert_int_equal(other_send(&o, false, 1000, 1200, 100, &r), 0);
	assert_int_equal(r.offset, 1200);
	upload_more(s, body.data + body.len - 1, 1);
	assert_int_equal(upload_end(s, &r, NULL), 0);
	assert_true(r.misplaced);
	assert_int_equal(r.offset, 1200);
	upload_close(s);
	assert_int_equal(other_send(&o, false, 1200, pack_size(o.pack), 999, &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	assert_int_equal(uploads_repeats(p.central.uploads), 0);
	buf_fini(&body);
	other_fini(&o);
	pair_fini(&p);
}

static void
uploads_repeats__R14_counts_bytes_that_were_here(void **state)
{
	struct upload_result r;
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 1);
	other_make(&o, &p, 0, 1, NULL, "other");
	assert_int_equal(other_send(&o, true, 0, 1000, 300, &r), 0);
	assert_int_equal(other_send(&o, false, 700, 1100, 250, &r), 0);
	assert_int_equal(r.offset, 1100);
	assert_int_equal(uploads_repeats(p.central.uploads), 300);
	other_fini(&o);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			upload_close__R14_whole_frames_of_a_request_that_broke_off_are_kept),
		cmocka_unit_test(
			upload_more__R14_a_later_request_ends_the_earlier_and_keeps_what_came),
		cmocka_unit_test(uploads_repeats__R14_counts_bytes_that_were_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
