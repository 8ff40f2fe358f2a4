/* The journal in front of the environment: what was acknowledged is found again, nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/file.h"
#include "common/store/journal.h"
#include "tests/lib/folder.h"

enum { SIZE = 64 * 1024, PAGE = 4096 };

struct seen {
	unsigned changes;
	char text[400]; /* table:key=value; or table:key!; one behind the other */
};

static int
see(void *arg, const struct journal_change *c, struct err *e)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	(void)e;
	s->changes++;
	(void)snprintf(s->text + n, sizeof(s->text) - n, c->gone ? "%s:%.*s!;" : "%s:%.*s=%.*s;",
		       c->table, (int)c->key.n, (const char *)c->key.p, (int)c->value.n,
		       (const char *)c->value.p);
	return 0;
}

static struct kv_slice
text(const char *s)
{
	return kv_slice(s, strlen(s));
}

/* Opened to write, as after a recovery. */
static struct journal *
begin(void)
{
	struct err e = ERR_INIT;
	struct journal *j;

	assert_int_equal(journal_open(&j, folder, &e), 0);
	assert_int_equal(journal_resize(&j, folder, SIZE, &e), 0);
	assert_non_null(j);
	return j;
}

/* One record with a put and a delete. */
static int
append(struct journal *j, const char *key, const char *value, struct err *e)
{
	struct buf record = BUF_INIT;
	struct kv_slice v = text(value);
	int rc;

	journal_record_begin(&record);
	journal_record_add(&record, "version", text(key), &v);
	journal_record_add(&record, "spooled", text(key), NULL);
	rc = journal_append(j, &record, e);
	buf_fini(&record);
	return rc;
}

static struct seen
replay(uint64_t generation, unsigned most, struct journal_found *found)
{
	struct err e = ERR_INIT;
	struct journal *j;
	struct seen s;

	memset(&s, 0, sizeof(s));
	assert_int_equal(journal_open(&j, folder, &e), 0);
	assert_non_null(j);
	assert_int_equal(journal_replay(j, generation, most, see, &s, found, &e), 0);
	journal_close(j);
	return s;
}

static void
journal_append__what_was_acknowledged_is_replayed_in_order(void **state)
{
	struct err e = ERR_INIT;
	struct journal *j;
	struct journal_found found;

	(void)state;
	assert_int_equal(journal_open(&j, folder, &e), 0);
	assert_null(j); /* nothing to be read, and nothing was made */
	j = begin();
	journal_begin(j, 7);
	assert_int_equal(append(j, "a", "odd", &e), 0);
	assert_int_equal(append(j, "bc", "", &e), 0);
	journal_close(j);
	assert_string_equal(replay(7, 10, &found).text,
			    "version:a=odd;spooled:a!;version:bc=;spooled:bc!;");
	assert_int_equal(found.records, 2);
	assert_string_equal(replay(7, 1, &found).text, "version:a=odd;spooled:a!;");
	assert_int_equal(replay(8, 10, &found).changes, 0);
	assert_int_equal(replay(6, 10, &found).changes, 0);
}

static void
journal_replay__what_an_older_generation_left_is_not_taken_for_it(void **state)
{
	struct err e = ERR_INIT;
	struct journal *j;
	struct journal_found found;

	(void)state;
	j = begin();
	journal_begin(j, 1);
	assert_int_equal(append(j, "a", "1", &e), 0);
	assert_int_equal(append(j, "b", "1", &e), 0);
	journal_begin(j, 2);
	assert_int_equal(append(j, "c", "2", &e), 0);
	journal_close(j);
	assert_string_equal(replay(2, 10, &found).text, "version:c=2;spooled:c!;");
	assert_int_equal(found.records, 1);
	assert_int_equal(replay(1, 10, &found).changes, 0);
	/* The same number, but of another opening: bytes of an object could say as much. */
	j = begin();
	journal_begin(j, 1);
	assert_int_equal(append(j, "d", "1", &e), 0);
	journal_close(j);
	assert_string_equal(replay(1, 10, &found).text, "version:d=1;spooled:d!;");
}

static void
damage(uint64_t at)
{
	struct err e = ERR_INIT;
	unsigned char byte;
	char path[100];
	size_t got;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/journal", folder);
	fd = file_open(path, true, &e);
	assert_true(fd >= 0);
	assert_int_equal(file_read_at(fd, &byte, 1, at, &got, &e), 0);
	byte ^= 0x40;
	assert_int_equal(file_write_at(fd, &byte, 1, at, &e), 0);
	file_close(fd);
}

/* Whatever part of it is hit, a record that others follow was acknowledged. */
static void
journal_replay__ends_at_the_first_record_that_is_not_whole(void **state)
{
	static const unsigned at[] = {0, 5, 9, 17, 25, 29, 33, 41, 60};
	struct journal_found found;
	struct err e = ERR_INIT;
	struct journal *j;
	unsigned i, bad;

	(void)state;
	for (i = 0; i < 3 * sizeof(at) / sizeof(at[0]); i++) {
		bad = i % 3;
		j = begin();
		journal_begin(j, 3);
		assert_int_equal(append(j, "a", "1234567890", &e), 0);
		assert_int_equal(append(j, "b", "1234567890", &e), 0);
		assert_int_equal(append(j, "c", "1234567890", &e), 0);
		journal_close(j);
		damage(bad * PAGE + at[i / 3]);
		assert_int_equal(replay(3, 10, &found).changes, 2 * bad);
		assert_int_equal(found.records, bad);
		assert_int_equal(found.behind, 2 - bad);
		assert_int_equal(replay(3, bad, &found).changes, 2 * bad);
		assert_int_equal(found.behind, 0); /* not asked for */
	}
}

static void
journal_replay__what_other_generations_left_is_not_behind(void **state)
{
	struct err e = ERR_INIT;
	struct journal_found found;
	struct journal *j;

	(void)state;
	j = begin();
	journal_begin(j, 1);
	assert_int_equal(append(j, "a", "1", &e), 0);
	assert_int_equal(append(j, "b", "1", &e), 0);
	assert_int_equal(append(j, "c", "1", &e), 0);
	journal_begin(j, 2);
	assert_int_equal(append(j, "d", "2", &e), 0);
	journal_close(j);
	assert_int_equal(replay(2, 10, &found).changes, 2);
	assert_int_equal(found.behind, 0);
	/* Generation 2 over records of 1 that were never reached: their salt is another. */
	j = begin();
	journal_begin(j, 1);
	assert_int_equal(append(j, "e", "1", &e), 0);
	journal_close(j);
	assert_int_equal(replay(1, 10, &found).changes, 2);
	assert_int_equal(found.behind, 0);
}

static void
journal_set_aside__the_file_is_not_written_again(void **state)
{
	struct err e = ERR_INIT;
	struct journal *j = begin();
	struct buf b = BUF_INIT;
	char path[100];

	(void)state;
	journal_begin(j, 1);
	assert_int_equal(append(j, "a", "kept", &e), 0);
	assert_false(journal_is_aside(folder));
	assert_int_equal(journal_set_aside(folder, &e), 0);
	assert_int_equal(journal_set_aside(folder, &e), 0); /* the same again */
	assert_true(journal_is_aside(folder));
	journal_close(j);
	j = begin();
	journal_begin(j, 2);
	assert_int_equal(append(j, "b", "new", &e), 0);
	(void)snprintf(path, sizeof(path), "%s/journal.damaged", folder);
	assert_int_equal(file_slurp(path, SIZE, &b, &e), 0);
	assert_non_null(memmem(b.data, b.len, "kept", 4));
	assert_null(memmem(b.data, b.len, "new", 3));
	buf_fini(&b);
	assert_int_equal(journal_set_aside(folder, &e), ERR_CONFLICT); /* it stays */
	journal_close(j);
}

static void
journal_append__says_when_it_is_full_and_takes_no_half(void **state)
{
	char big[3 * PAGE];
	struct err e = ERR_INIT;
	struct journal *j;
	struct journal_found found;
	unsigned n = 0;

	(void)state;
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	j = begin();
	journal_begin(j, 1);
	while (journal_takes(j, sizeof(big) + 100)) {
		assert_int_equal(append(j, "k", big, &e), 0);
		n++;
	}
	assert_int_equal(append(j, "k", big, &e), ERR_FULL);
	assert_int_equal(n, SIZE / (4 * PAGE));
	journal_close(j);
	assert_int_equal(replay(1, 100, &found).changes, 2 * n);
}

static void
journal_append__after_a_flush_that_failed_nothing_is_taken(void **state)
{
	struct err e = ERR_INIT;
	struct journal *j;
	struct journal_found found;

	(void)state;
	j = begin();
	journal_begin(j, 1);
	assert_int_equal(append(j, "a", "1", &e), 0);
	fault_arm_named("file.sync", 1, FAULT_ERRNO, EIO);
	assert_int_equal(append(j, "b", "1", &e), ERR_LOCAL);
	(void)fault_disarm();
	err_clear(&e);
	assert_false(journal_takes(j, 1));
	assert_int_equal(append(j, "c", "1", &e), ERR_FULL);
	err_clear(&e);
	journal_begin(j, 2);
	assert_false(journal_takes(j, 1));
	journal_close(j);
	assert_memory_equal(replay(1, 1, &found).text, "version:a=1;", 12);
}

static void
journal_resize__a_file_of_another_size_is_made_anew_or_goes(void **state)
{
	struct err e = ERR_INIT;
	struct journal *j = begin();
	char path[100];
	uint64_t size;
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/journal", folder);
	assert_int_equal(journal_resize(&j, folder, 2 * SIZE - 1, &e), 0);
	assert_true(journal_takes(j, 2 * SIZE));
	assert_false(journal_takes(j, 2 * SIZE + 1));
	journal_close(j);
	fd = file_open(path, true, &e); /* torn by hand, say */
	assert_int_equal(file_truncate(fd, 100, &e), 0);
	file_close(fd);
	j = begin();
	journal_begin(j, 1);
	assert_int_equal(append(j, "a", "1", &e), 0);
	journal_close(j);
	fd = file_open(path, false, &e);
	assert_int_equal(file_size(fd, &size, &e), 0);
	assert_int_equal(size, SIZE);
	file_close(fd);
	j = begin();
	assert_int_equal(journal_resize(&j, folder, 0, &e), 0);
	assert_null(j);
	assert_true(file_missing(path));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			journal_append__what_was_acknowledged_is_replayed_in_order, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(
			journal_replay__what_an_older_generation_left_is_not_taken_for_it,
			make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(
			journal_replay__ends_at_the_first_record_that_is_not_whole, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(
			journal_replay__what_other_generations_left_is_not_behind, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(journal_set_aside__the_file_is_not_written_again,
						make_folder, drop_folder),
		cmocka_unit_test_setup_teardown(
			journal_append__says_when_it_is_full_and_takes_no_half, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(
			journal_append__after_a_flush_that_failed_nothing_is_taken, make_folder,
			drop_folder),
		cmocka_unit_test_setup_teardown(
			journal_resize__a_file_of_another_size_is_made_anew_or_goes, make_folder,
			drop_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
