/* What a later release wrote is refused, and stays as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/os/file.h"
#include "common/store/private.h"
#include "tests/lib/stored.h"

enum { BYTES_MAX = 64 << 20 };

static int
set_format(struct store_tx *tx, void *arg, struct err *e)
{
	unsigned char number[8];

	buf_set_u64(number, *(const uint64_t *)arg);
	return kv_put(tx->txn, T_META, kv_slice("format", 6), kv_slice(number, 8), e);
}

static void
digest_of(const struct stored *t, unsigned char out[SHA256_SIZE])
{
	struct buf all = BUF_INIT;
	char path[100];

	(void)snprintf(path, sizeof(path), "%s/data.mdb", t->dir);
	assert_int_equal(file_slurp(path, BYTES_MAX, &all, NULL), 0);
	sha256_of(all.data, all.len, out);
	buf_fini(&all);
}

static void
store_open__refuses_a_later_format_and_touches_nothing(void **state)
{
	unsigned char before[SHA256_SIZE], after[SHA256_SIZE];
	uint64_t later = STORE_FORMAT + 1, same = STORE_FORMAT;
	struct store_config c;
	struct err e = ERR_INIT;
	struct stored t;
	struct store *s;

	(void)state;
	stored_init(&t, 0);
	assert_int_equal(store_commit(t.s, set_format, &later, NULL), 0);
	c = t.s->c;
	c.dir = t.dir;
	store_close(t.s);
	t.s = NULL;
	digest_of(&t, before);
	assert_int_equal(stored_open(&t, &e), ERR_LOCAL);
	assert_non_null(strstr(e.what, " is of format 3, this release knows 2: a later release"));
	c.read_only = true;
	assert_int_equal(store_open(&s, &c, NULL), ERR_LOCAL);
	digest_of(&t, after);
	assert_memory_equal(before, after, sizeof(before));
	stored_fini(&t);

	stored_init(&t, 0); /* its own number, written at the first start, is no hindrance */
	assert_int_equal(stored_rows(t.s, T_META) > 0, 1);
	assert_int_equal(store_commit(t.s, set_format, &same, NULL), 0);
	store_close(t.s);
	assert_int_equal(stored_open(&t, &e), 0);
	stored_fini(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_open__refuses_a_later_format_and_touches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
