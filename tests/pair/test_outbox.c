/* What is owed, by lane; what is put off is in none (R17, R28). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "central/intake.h"
#include "central/record.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/store/store.h"
#include "edge/late.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/pair.h"

enum { ROWS = 200, STEPS = 3000, TURNS = 400 };

struct model { /* what the table must say */
	bool there[ROWS + 1];
	struct outbox_row row[ROWS + 1];
};

struct change {
	struct model *m;
	uint64_t seq;
	bool del;
	struct outbox_row row;
};

static int
change(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	bool was;

	return c->del ? outbox_del(tx, OUTBOX_CENTRAL, c->seq, &was, e)
		      : outbox_change(tx, OUTBOX_CENTRAL, &c->row, e);
}

struct walk {
	const struct model *m;
	unsigned n;
	int64_t last;
	bool back, late;
	enum lane lane;
};

static int
see(void *arg, const struct outbox_row *row, struct err *e)
{
	struct walk *w = arg;
	const struct outbox_row *want = &w->m->row[row->seq];
	int64_t by = w->late ? row->not_before : row->first;

	(void)e;
	assert_true(w->m->there[row->seq]);
	assert_int_equal(row->size, want->size);
	assert_int_equal(row->first, want->first);
	assert_int_equal(row->not_before, want->not_before);
	assert_int_equal(row->packed, want->packed);
	assert_int_equal(row->parked, want->parked);
	assert_true(w->late ? row->not_before != 0 : !row->not_before && row->lane == w->lane);
	if (w->n++)
		assert_true(w->back ? by <= w->last : by >= w->last);
	w->last = by;
	return 0;
}

static int
count_all(void *arg, const struct outbox_row *row, struct err *e)
{
	uint64_t *last = arg;

	(void)e;
	assert_true(row->seq > *last);
	*last = row->seq;
	return 0;
}

static void
check(struct store_tx *tx, const struct model *m)
{
	struct outbox_lane want[LANES], *l;
	struct outbox_counts counts;
	struct walk w;
	uint64_t owed = 0, parked = 0, late = 0, last = 0;
	unsigned i;

	memset(want, 0, sizeof(want));
	for (i = 1; i <= ROWS; i++) {
		const struct outbox_row *r = &m->row[i];

		if (!m->there[i])
			continue;
		l = &want[r->lane];
		l->owed++;
		l->owed_bytes += r->size;
		l->packed += r->packed;
		l->packed_bytes += r->packed ? r->size : 0;
		l->late += r->not_before != 0;
		l->late_bytes += r->not_before ? r->size : 0;
		owed++;
		parked += r->parked;
		late += r->not_before != 0;
	}
	assert_int_equal(outbox_counts(tx, &counts, NULL), 0);
	assert_int_equal(counts.owed, owed);
	assert_int_equal(counts.parked, parked);
	assert_memory_equal(counts.lanes, want, sizeof(want));
	for (i = LANE_STAT; i < LANES; i++) {
		w = (struct walk){.m = m, .lane = (enum lane)i, .back = true};
		assert_int_equal(outbox_newest(tx, OUTBOX_CENTRAL, w.lane, see, &w, NULL), 0);
		assert_int_equal(w.n, want[i].owed - want[i].late);
		w = (struct walk){.m = m, .lane = (enum lane)i};
		assert_int_equal(outbox_oldest(tx, OUTBOX_CENTRAL, w.lane, see, &w, NULL), 0);
		assert_int_equal(w.n, want[i].owed - want[i].late);
	}
	w = (struct walk){.m = m, .late = true};
	assert_int_equal(outbox_late(tx, OUTBOX_CENTRAL, see, &w, NULL), 0);
	assert_int_equal(w.n, late);
	assert_int_equal(outbox_each(tx, OUTBOX_CENTRAL, 0, count_all, &last, NULL), 0);
}

static uint64_t
next(uint64_t *x)
{
	*x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *x >> 33;
}

/* A fresh row is in the order of its seq; any other by its first arrival. */
static void
play(struct model *m, struct change *c, uint64_t *x)
{
	struct outbox_row *r = &c->row;

	c->seq = 1 + next(x) % ROWS;
	c->del = m->there[c->seq] && next(x) % 4 == 0;
	if (m->there[c->seq]) {
		*r = m->row[c->seq];
		if (next(x) % 3 == 0)
			r->lane = (enum lane)(1 + next(x) % 4);
	} else {
		bool taken_in = next(x) % 2;

		*r = (struct outbox_row){.seq = c->seq, .size = next(x) % 100000};
		r->lane = taken_in ? LANE_FRESH : (enum lane)(1 + next(x) % 4);
		r->first = taken_in ? (int64_t)c->seq * 10 : (int64_t)(next(x) % 3000);
		r->ordered = !taken_in;
	}
	r->packed = next(x) % 3 == 0;
	r->not_before = !r->packed && next(x) % 3 == 0 ? 1 + (int64_t)(next(x) % 5000) : 0;
	r->parked = r->not_before && next(x) % 2;
	r->tries = (uint32_t)(next(x) % 9);
}

static void
outbox_change__R17_R28_lanes_orders_and_counts_follow_every_row(void **state)
{
	struct model m;
	struct change c;
	struct store_tx *tx;
	struct pair p;
	uint64_t x = 1;
	unsigned i;

	(void)state;
	memset(&m, 0, sizeof(m));
	pair_init(&p, "64MiB");
	for (i = 0; i < STEPS; i++) {
		play(&m, &c, &x);
		assert_int_equal(store_commit(p.edge.store, change, &c, NULL), 0);
		m.there[c.seq] = !c.del;
		m.row[c.seq] = c.row;
		if (i % 50 && i > 100)
			continue;
		assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
		check(tx, &m);
		store_end_read(tx);
	}
	pair_fini(&p);
}

static int
note_row(void *arg, const struct outbox_row *row, struct err *e)
{
	(void)e;
	*(uint64_t *)arg = row->seq;
	return ERR_AGAIN; /* the first is enough */
}

static int
three_rows(struct store_tx *tx, void *arg, struct err *e)
{
	int64_t now = *(int64_t *)arg;
	struct outbox_row row = {.oid = 1, .size = 10, .lane = LANE_FRESH};
	int rc = 0;

	for (row.seq = 1001; !rc && row.seq <= 1003; row.seq++) {
		row.not_before = 0;
		row.tries = row.seq == 1003 ? 20 : 0;
		if (row.seq > 1001)
			late_put_off(&row, now);
		rc = outbox_change(tx, OUTBOX_CENTRAL, &row, e);
	}
	return rc;
}

static uint64_t
late_rows(struct pair *p, int64_t *first)
{
	struct outbox_counts counts;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(outbox_counts(tx, &counts, NULL), 0);
	assert_int_equal(late_first(tx, first, NULL), 0);
	store_end_read(tx);
	return counts.lanes[LANE_FRESH].late;
}

/* Minutes, hours; then parked, once a day; by `retry` at once. Owed all the time. */
static void
late_due__R17_what_is_due_goes_back_to_its_lane_and_the_rest_waits(void **state)
{
	int64_t now, first;
	struct pair p;
	size_t n;

	(void)state;
	pair_init(&p, "64MiB");
	now = store_time(p.edge.store);
	assert_int_equal(store_commit(p.edge.store, three_rows, &now, NULL), 0);
	assert_int_equal(late_rows(&p, &first), 2);
	assert_int_equal(first, now + 60000);
	assert_int_equal(late_due(p.edge.store, NULL), 0);
	assert_int_equal(late_rows(&p, &first), 2);
	store_time_reach(p.edge.store, now + 60000);
	assert_int_equal(late_due(p.edge.store, NULL), 0);
	assert_int_equal(late_rows(&p, &first), 1);
	assert_int_equal(first, now + 24 * 3600000);
	assert_int_equal(late_try_now(p.edge.store, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(late_rows(&p, &first), 0);
	assert_int_equal(first, 0);
	pair_fini(&p);
}

/* Central's hello, in the words of another version of it. */
static const char *version;

static int
hello_of_version(void *node, struct http_request *rq, struct http_answer *out, struct err *e)
{
	const struct http_route *own;
	Sync__HelloAnswer *m;
	char *said;
	size_t i, n;
	int rc;

	own = intake_routes(&n);
	for (i = 0; strcmp(own[i].path, "/sync/v1/hello") != 0; i++)
		assert_true(i < n);
	rc = own[i].handle(node, rq, out, e);
	if (rc || out->status != 200)
		return rc;
	m = message_read(&sync__hello_answer__descriptor, out->body.data, out->body.len, e);
	assert_non_null(m);
	said = m->software;
	m->software = message_text(version);
	buf_clear(&out->body);
	message_pack(&out->body, &m->base);
	m->software = said;
	message_free(m);
	return 0;
}

static void
begin_versions(struct pair *p)
{
	static struct http_route routes[32];
	const struct http_route *own = intake_routes(&p->n_routes);
	size_t i;

	assert_true(p->n_routes <= sizeof(routes) / sizeof(routes[0]));
	for (i = 0; i < p->n_routes; i++) {
		routes[i] = own[i];
		if (strcmp(own[i].path, "/sync/v1/hello") == 0)
			routes[i].handle = hello_of_version;
	}
	version = "1.0";
	pair_close_edge(p);
	p->routes = routes;
	pair_open_edge(p);
}

static int
park(struct store_tx *tx, void *arg, struct err *e)
{
	struct outbox_row row;
	uint64_t seq = 0;
	int rc = outbox_newest(tx, OUTBOX_CENTRAL, LANE_FRESH, note_row, &seq, e);

	if (rc == ERR_AGAIN)
		rc = outbox_get(tx, OUTBOX_CENTRAL, seq, &row, e);
	row.tries = 20;
	late_put_off(&row, *(int64_t *)arg);
	assert_true(row.parked);
	return rc ? rc : outbox_change(tx, OUTBOX_CENTRAL, &row, e);
}

/* It is owed, and in no lane: another hello of the same central does not move it. */
static void
send_parked(struct pair *p, unsigned number)
{
	int64_t now = store_time(p->edge.store);
	unsigned i;

	assert_int_equal(pair_send(p, number), 0);
	assert_int_equal(store_commit(p->edge.store, park, &now, NULL), 0);
	replicate_hello(p->r);
	for (i = 0; i < 20; i++)
		pair_turn(p);
	assert_int_equal(late_rows(p, &now), 1);
	assert_false(pair_central_has(p, number));
}

static void
expect_left_at_once(struct pair *p, unsigned number)
{
	int64_t since = clock_mono(&p->clock.c);

	replicate_hello(p->r);
	pair_turn(p);
	assert_true(pair_settle(p, TURNS));
	assert_true(pair_central_has(p, number));
	assert_in_range(clock_mono(&p->clock.c) - since, 0, 60000);
}

static void
parked__R17_another_version_of_central_and_another_epoch_try_at_once(void **state)
{
	struct pair p;

	(void)state;
	log_set_level(LOG_ERROR);
	pair_init(&p, "64MiB");
	begin_versions(&p);
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	send_parked(&p, 1);
	version = "1.1";
	expect_left_at_once(&p, 1);
	send_parked(&p, 2);
	assert_int_equal(record_epoch(&p.central, "a test", NULL), 0);
	expect_left_at_once(&p, 2);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outbox_change__R17_R28_lanes_orders_and_counts_follow_every_row),
		cmocka_unit_test(
			late_due__R17_what_is_due_goes_back_to_its_lane_and_the_rest_waits),
		cmocka_unit_test(
			parked__R17_another_version_of_central_and_another_epoch_try_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
