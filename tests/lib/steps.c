#include "tests/lib/steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "central/figures.h"
#include "central/heard.h"
#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/os/ctl.h"
#include "common/store/store.h"

enum { TURNS = 400 };

int
pair_setup(void **state)
{
	pair_init(*state, "64MiB");
	return 0;
}

int
pair_teardown(void **state)
{
	pair_fini(*state);
	return 0;
}

void
pair_send_some(struct pair *p, unsigned first, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		assert_int_equal(pair_send(p, first + i), 0);
}

void
pair_begin(struct pair *p, unsigned n)
{
	pair_init(p, "64MiB");
	pair_send_some(p, 0, n);
	assert_true(pair_settle(p, TURNS));
}

struct version
pair_version(struct pair *p, struct store *s, unsigned number)
{
	unsigned char digest[SHA256_SIZE];
	struct buf image = BUF_INIT;
	struct version v = {.oid = 0};
	struct store_tx *tx;
	uint64_t oid;

	pair_image(p, &image, number);
	sha256_of(image.data, image.len, digest);
	buf_fini(&image);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	if (store_by_digest(tx, digest, &oid, NULL) == 0)
		assert_int_equal(store_version(tx, oid, &v, NULL), 0);
	store_end_read(tx);
	return v;
}

void
pair_study(struct pair *p, unsigned number, char *out)
{
	struct version v = pair_version(p, p->edge.store, number);

	assert_int_not_equal(v.oid, 0);
	strcpy(out, v.study);
}

uint64_t
pair_open_orders(struct pair *p)
{
	struct store_tx *tx;
	uint64_t n;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(heard_open(&p->central, tx, &n, NULL), 0);
	store_end_read(tx);
	return n;
}

struct outbox_counts
pair_outbox(struct pair *p)
{
	struct outbox_counts c;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(outbox_counts(tx, &c, NULL), 0);
	store_end_read(tx);
	return c;
}

struct order {
	const struct refill_config *config;
	struct refill_result result;
};

static int
refill_by_ctl(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct order *o = (struct order *)(void *)(uintptr_t)words[0];
	struct err e = ERR_INIT;
	int rc = refill_run(node, o->config, r, &o->result, &e);

	(void)n;
	if (rc)
		print_error("%s\n", e.what);
	return rc;
}

struct refill_result
pair_refill(struct pair *p, const struct refill_config *c)
{
	struct order o = {.config = c};
	const char *words[1] = {(const char *)(void *)&o};

	assert_int_equal(ctl_local(refill_by_ctl, &p->edge, 1, words), 0);
	return o.result;
}

struct refill_result
pair_burn_and_refill(struct pair *p, bool group)
{
	const struct refill_config c = {.group = group};

	pair_burn_edge(p);
	pair_open_edge(p);
	return pair_refill(p, &c);
}

void
pair_expect_counts(struct pair *p, uint64_t held, uint64_t withdrawn)
{
	struct figure running;
	struct store_tx *tx;
	struct tally t;
	uint64_t of[TALLY_STATES] = {0};
	size_t i, k;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	assert_int_equal(figures_of_site(tx, "", &running, NULL), 0);
	store_end_read(tx);
	for (i = 0; i < t.n; i++)
		for (k = 0; k < TALLY_STATES; k++)
			of[k] += t.rows[i].of[k];
	tally_free(&t);
	assert_int_equal(running.of[TALLY_HELD], held);
	assert_int_equal(running.of[TALLY_WITHDRAWN], withdrawn);
	assert_int_equal(of[TALLY_HELD], held);
	assert_int_equal(of[TALLY_WITHDRAWN], withdrawn);
	assert_int_equal(of[TALLY_OWED] + of[TALLY_LOST], 0);
}
