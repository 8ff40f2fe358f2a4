/* What travels on a slow link is compressed, frame by frame, and arrives as it was (R14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "proto/frame.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/send.h"

enum { IMAGES = 3, ROWS = 768, SLOW = 1000000, TURNS = 400 };

/* What came over the link since `begin`. */
static struct seen {
	unsigned frames[FRAME_ZSTD + 1], pieces, hellos;
	uint64_t plain, wire, most_wire;
	bool old; /* hello arrives as one that knows nothing of codings */
} seen;

static void
look_at_piece(const struct http_call *call)
{
	size_t at = 4 + (size_t)buf_get_u32(call->body.data);
	uint64_t wire = 0;
	struct frame f;

	seen.pieces++;
	for (; at < call->body.len; at += FRAME_HEAD + f.payload) {
		assert_int_equal(frame_head(&f, call->body.data + at, NULL), 0);
		seen.frames[f.coding]++;
		seen.plain += f.plain;
		wire += f.payload;
	}
	assert_int_equal(at, call->body.len);
	seen.wire += wire;
	seen.most_wire = wire > seen.most_wire ? wire : seen.most_wire;
}

static void
look_at_hello(struct http_call *call)
{
	Sync__HelloRequest *m = message_read(&sync__hello_request__descriptor, call->body.data,
					     call->body.len, NULL);

	assert_non_null(m);
	seen.hellos++;
	if (seen.old) {
		m->n_codings = 0;
		buf_clear(&call->body);
		message_pack(&call->body, &m->base);
	}
	message_free(m);
}

static void
look(struct pair *p, struct http_call *call)
{
	if (strcmp(call->method, "PATCH") == 0) {
		look_at_piece(call);
		if (p->link_rate) /* one after the other */
			clock_manual_advance(&p->clock,
					     (int64_t)(call->body.len * 1000 / p->link_rate));
	}
	if (strcmp(call->path, "/sync/v1/hello") == 0)
		look_at_hello(call);
}

static void
begin(struct pair *p, uint64_t rate)
{
	unsigned i;

	memset(&seen, 0, sizeof(seen));
	pair_init(p, "64MiB");
	pair_close_edge(p);
	p->link_rate = rate;
	p->on_request = look;
	p->rows = ROWS;
	pair_site(p, "north");
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(p, i), 0);
}

static void
all_arrived(struct pair *p)
{
	unsigned i;

	assert_true(pair_settle(p, TURNS));
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_central_has(p, i)); /* byte for byte: by its digest */
}

static void
compress__R14_a_slow_link_carries_more_image_than_its_rate(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, SLOW);
	all_arrived(&p);
	assert_true(seen.frames[FRAME_ZSTD] > 0 && seen.frames[FRAME_ZLIB] == 0);
	assert_true(seen.plain > IMAGES * ROWS * ROWS * 2);
	assert_true(seen.wire * 5 < seen.plain * 4);
	/* The first ones were made before the link was known. */
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(pair_send(&p, IMAGES), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_true(pair_central_has(&p, IMAGES));
	/* Alone on the link: two seconds of wire, and not fewer because they are compressed. */
	assert_in_range(seen.most_wire, SLOW / 2, SLOW * 2);
	pair_fini(&p);
}

static void
compress__a_fast_link_gets_stored_frames(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, 0);
	all_arrived(&p);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(pair_send(&p, IMAGES), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_true(seen.frames[FRAME_STORED] > 0 && !seen.frames[FRAME_ZSTD]);
	assert_true(pair_central_has(&p, IMAGES));
	pair_fini(&p);
}

static void
compress__when_it_is_off_all_is_stored(void **state)
{
	struct pair p;

	(void)state;
	memset(&seen, 0, sizeof(seen));
	pair_init(&p, "64MiB");
	p.link_rate = SLOW;
	p.on_request = look;
	p.rows = ROWS;
	p.stored_only = true;
	pair_site(&p, "south");
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	assert_true(pair_central_has(&p, 0));
	assert_true(seen.frames[FRAME_STORED] && !seen.frames[FRAME_ZSTD] &&
		    !seen.frames[FRAME_ZLIB]);
	assert_int_equal(seen.wire, seen.plain);
	pair_fini(&p);
}

/* A deflated data set that would shrink all the same: its blocks are stored ones. */
static void
send_deflated(struct pair *p, unsigned number)
{
	struct buf plain = BUF_INIT, data = BUF_INIT;
	z_stream z;
	struct gen g;

	gen_init(&g);
	g.instance = number;
	g.rows = g.columns = ROWS;
	gen_dataset(&plain, &g);
	memset(&z, 0, sizeof(z));
	assert_int_equal(deflateInit2(&z, 0, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = plain.data;
	z.avail_in = (unsigned)plain.len;
	z.next_out = buf_reserve(&data, plain.len * 2);
	z.avail_out = (unsigned)plain.len * 2;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	data.len = z.total_out;
	assert_int_equal(deflateEnd(&z), Z_OK);
	assert_int_equal(send_data_set(&p->edge, &g, &data, "1.2.840.10008.1.2.1.99"), 0);
	assert_int_equal(store_settle(p->edge.store, NULL), 0);
	buf_fini(&plain);
	buf_fini(&data);
}

static void
compress__what_a_transfer_syntax_has_compressed_is_not_tried(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, SLOW);
	all_arrived(&p);
	memset(&seen, 0, sizeof(seen));
	send_deflated(&p, 1000);
	assert_true(pair_settle(&p, TURNS));
	assert_true(seen.plain > ROWS * ROWS * 2);
	assert_int_equal(seen.wire, seen.plain);
	assert_true(seen.frames[FRAME_STORED] > 1); /* each was looked at */
	pair_fini(&p);
}

/* One pack, half in zstd, the rest in zlib: an old central has taken the place of the new one. */
static void
compress__R14_an_upload_is_gone_on_with_in_another_coding(void **state)
{
	unsigned pieces;
	struct pair p;

	(void)state;
	begin(&p, SLOW);
	while (seen.pieces < 4)
		pair_turn(&p);
	assert_true(seen.frames[FRAME_ZSTD] && !seen.frames[FRAME_ZLIB]);
	assert_false(pair_central_has(&p, 0));
	pair_close_edge(&p);
	pair_close_central(&p);
	pair_open_central(&p);
	seen.old = true;
	seen.plain = 0;
	pieces = seen.frames[FRAME_ZSTD];
	pair_open_edge(&p);
	all_arrived(&p);
	assert_true(seen.frames[FRAME_ZLIB] > 0);
	assert_int_equal(seen.frames[FRAME_ZSTD], pieces);
	assert_true(seen.plain < IMAGES * ROWS * ROWS * 2); /* not from its start */
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compress__R14_a_slow_link_carries_more_image_than_its_rate),
		cmocka_unit_test(compress__a_fast_link_gets_stored_frames),
		cmocka_unit_test(compress__when_it_is_off_all_is_stored),
		cmocka_unit_test(compress__what_a_transfer_syntax_has_compressed_is_not_tried),
		cmocka_unit_test(compress__R14_an_upload_is_gone_on_with_in_another_coding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
