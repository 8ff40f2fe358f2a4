#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
#include <errno.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/base/prom.h"
#include "common/base/rng.h"
#include "common/base/uid.h"

static void
err_set__keeps_the_first_error(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&e, ERR_FULL, ENOSPC, "no room for %d", 7), ERR_FULL);
	assert_int_equal(err_set(&e, ERR_LOCAL, 0, "later"), ERR_LOCAL);
	assert_int_equal(e.code, ERR_FULL);
	assert_int_equal(e.sys, ENOSPC);
	assert_string_equal(e.what, "no room for 7");
	assert_int_equal(err_set(NULL, ERR_PEER, 0, "x"), ERR_PEER);
	err_clear(&e);
	assert_int_equal(e.code, ERR_NONE);
}

static void
err_of_errno__tells_full_from_absent(void **state)
{
	(void)state;
	assert_int_equal(err_of_errno(ENOSPC), ERR_FULL);
	assert_int_equal(err_of_errno(EDQUOT), ERR_FULL);
	assert_int_equal(err_of_errno(ENOENT), ERR_ABSENT);
	assert_int_equal(err_of_errno(EIO), ERR_LOCAL);
}

static void
fault_hit__fails_the_nth_time_only(void **state)
{
	(void)state;
	assert_int_equal(fault_hit("a"), 0);
	fault_arm(2, FAULT_ERRNO, EIO);
	assert_int_equal(fault_hit("a"), 0);
	assert_int_equal(fault_hit("b"), EIO);
	assert_int_equal(fault_hit("a"), 0);
	assert_int_equal(fault_disarm(), 3);
	fault_arm_named("b", 1, FAULT_ERRNO_FOR_EVER, ENOSPC);
	assert_int_equal(fault_hit("a"), 0);
	assert_int_equal(fault_hit("b"), ENOSPC);
	assert_int_equal(fault_hit("b"), ENOSPC);
	assert_int_equal(fault_disarm(), 2);
}

static void
fault_hit__ends_the_process_when_told(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		fault_arm(1, FAULT_DIE, 0);
		(void)fault_hit("x");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), FAULT_EXIT);
}

static void
buf_put_size__is_short_and_has_its_unit(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_put_size(&b, 0);
	buf_puts(&b, ", ");
	buf_put_size(&b, 1023);
	buf_puts(&b, ", ");
	buf_put_size(&b, 1024);
	buf_puts(&b, ", ");
	buf_put_size(&b, (UINT64_C(1) << 20) - 1); /* never 1024.0 of the smaller one */
	buf_puts(&b, ", ");
	buf_put_size(&b, UINT64_C(5) << 39);
	buf_puts(&b, ", ");
	buf_put_size(&b, UINT64_C(3) << 50);
	buf_put_u8(&b, 0);
	assert_string_equal((const char *)b.data, "0 bytes, 1023 bytes, 1.0 KiB, 1.0 MiB, 2.5 TiB, "
						  "3072.0 TiB");
	buf_fini(&b);
}

static void
buf_put__reads_back_in_both_orders(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_put_u16(&b, 0x1234);
	buf_put_u32(&b, 0x89abcdef);
	buf_put_u64(&b, UINT64_C(0x0123456789abcdef));
	buf_put_be32(&b, 0x89abcdef);
	buf_put_be64(&b, UINT64_C(0x0123456789abcdef));
	buf_printf(&b, "%s=%d", "k", 7);
	assert_false(buf_failed(&b));
	assert_int_equal(buf_get_u16(b.data), 0x1234);
	assert_int_equal(buf_get_u32(b.data + 2), 0x89abcdef);
	assert_true(buf_get_u64(b.data + 6) == UINT64_C(0x0123456789abcdef));
	assert_int_equal(buf_get_be32(b.data + 14), 0x89abcdef);
	assert_int_equal(b.data[14], 0x89);
	assert_true(buf_get_be64(b.data + 18) == UINT64_C(0x0123456789abcdef));
	assert_int_equal(b.len, 29);
	assert_memory_equal(b.data + 26, "k=7", 3);
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_true(buf_failed(&b));
	buf_fini(&b);
}

static void
sha256__is_sha256_however_it_is_fed(void **state)
{
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	unsigned char d[SHA256_SIZE], back[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	struct sha256 *s, *copy;

	(void)state;
	assert_int_equal(sha256_new(&s, NULL), 0);
	sha256_add(s, "a", 1);
	assert_int_equal(sha256_copy(&copy, s, NULL), 0);
	sha256_add(s, "bc", 2);
	sha256_end(s, d);
	hex_of(d, sizeof(d), hex);
	assert_string_equal(hex, abc);
	sha256_add(copy, "bc", 2);
	sha256_end(copy, back);
	assert_memory_equal(d, back, sizeof(d));
	sha256_of("abc", 3, back);
	assert_memory_equal(d, back, sizeof(d));
	assert_true(hex_to(abc, back, sizeof(back)));
	assert_memory_equal(d, back, sizeof(d));
	assert_false(hex_to("0g", back, 1));
	assert_false(hex_to("00", back, 2));
	sha256_free(s);
	sha256_free(copy);
}

static void
clock_rfc3339__is_utc_and_empty_when_unknown(void **state)
{
	struct clock_manual m;
	char text[CLOCK_RFC3339_SIZE];

	(void)state;
	clock_rfc3339(INT64_C(1795470912000), text);
	assert_string_equal(text, "2026-11-23T21:55:12Z");
	clock_rfc3339(0, text);
	assert_string_equal(text, "");
	clock_manual_init(&m, 5, 1000);
	clock_manual_advance(&m, 10);
	assert_int_equal(clock_mono(&m.c), 15);
	assert_int_equal(clock_wall(&m.c), 1010);
}

static void
rng_seeded__repeats_itself(void **state)
{
	struct rng_seeded a, b;
	int i;

	(void)state;
	rng_seeded_init(&a, 42);
	rng_seeded_init(&b, 42);
	for (i = 0; i < 100; i++) {
		assert_true(rng_u64(&a.r) == rng_u64(&b.r));
		assert_in_range(rng_below(&a.r, 7), 0, 6);
		(void)rng_below(&b.r, 7);
	}
}

static void
uid_valid__follows_ps3_5_section_9(void **state)
{
	static const char long_one[] =
		"1.23456789012345678901234567890123456789012345678901234567890123";

	(void)state;
	assert_true(uid_valid("1.2.840.0", 9));
	assert_false(uid_valid("1.02", 4));
	assert_false(uid_valid("1..2", 4));
	assert_false(uid_valid("1.2.", 4));
	assert_false(uid_valid("", 0));
	assert_false(uid_valid("1.a", 3));
	assert_true(uid_valid(long_one, 64));
	assert_false(
		uid_valid("1.234567890123456789012345678901234567890123456789012345678901234", 65));
	assert_true(uid_usable("1.02", 4));
	assert_true(uid_usable("../../x", 7));
	assert_false(uid_usable("1 2", 3));
	assert_false(uid_usable("1\\2", 3));
	assert_int_equal(uid_trim("1.2\0 ", 5), 3);
}

static void
uid_shown__R35_hides_what_may_be_a_name(void **state)
{
	(void)state;
	assert_string_equal(uid_shown("1.2.840.0"), "1.2.840.0");
	assert_string_equal(uid_shown(""), "");
	assert_string_equal(uid_shown("DOE^JOHN"), "invalid");
	assert_string_equal(uid_shown("1.2.DOE"), "invalid");
}

static void
arena_get__stops_at_its_limit(void **state)
{
	struct arena *a;
	char *p;

	(void)state;
	assert_int_equal(arena_new(&a, 100000, NULL), 0);
	p = arena_get(a, 50000);
	assert_non_null(p);
	assert_int_equal(p[49999], 0);
	assert_null(arena_get(a, 50001));
	assert_string_equal(arena_strndup(a, "abcd", 3), "abc");
	arena_clear(a);
	assert_non_null(arena_get(a, 100000));
	arena_free(a);
}

static void
log_line__is_one_line_whatever_it_is_given(void **state)
{
	int fds[2], saved = dup(STDERR_FILENO);
	char got[256];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
	log_line(LOG_INFO, "event", "uid=%s", "1.2\nerror forged");
	log_line(LOG_DEBUG, "unseen", "x=1");
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(fds[1]);
	n = read(fds[0], got, sizeof(got) - 1);
	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, "info event uid=1.2?error forged\n");
	close(fds[0]);
	close(saved);
}

static void
prom_count__escapes_what_a_label_holds(void **state)
{
	struct buf out = BUF_INIT;
	struct prom p;

	(void)state;
	prom_init(&p, &out, "x");
	prom_one(&p, PROM_COUNTER, "a_total", "All.", UINT64_MAX);
	prom_family(&p, PROM_GAUGE, "b_bytes", "Some.");
	prom_count(&p, "site", "n\"o\\r\nth\xC3\xA9", 1);
	prom_decimal(&p, "site", "s", 0.5);
	prom_number(&p, NULL, NULL, -3);
	buf_put_u8(&out, 0);
	assert_string_equal((const char *)out.data,
			    "# HELP x_a_total All.\n# TYPE x_a_total counter\n"
			    "x_a_total 18446744073709551615\n"
			    "# HELP x_b_bytes Some.\n# TYPE x_b_bytes gauge\n"
			    "x_b_bytes{site=\"n\\\"o\\\\r\\nth??\"} 1\n"
			    "x_b_bytes{site=\"s\"} 0.500\nx_b_bytes -3\n");
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prom_count__escapes_what_a_label_holds),
		cmocka_unit_test(err_set__keeps_the_first_error),
		cmocka_unit_test(err_of_errno__tells_full_from_absent),
		cmocka_unit_test(fault_hit__fails_the_nth_time_only),
		cmocka_unit_test(fault_hit__ends_the_process_when_told),
		cmocka_unit_test(buf_put__reads_back_in_both_orders),
		cmocka_unit_test(buf_put_size__is_short_and_has_its_unit),
		cmocka_unit_test(sha256__is_sha256_however_it_is_fed),
		cmocka_unit_test(clock_rfc3339__is_utc_and_empty_when_unknown),
		cmocka_unit_test(rng_seeded__repeats_itself),
		cmocka_unit_test(uid_valid__follows_ps3_5_section_9),
		cmocka_unit_test(uid_shown__R35_hides_what_may_be_a_name),
		cmocka_unit_test(arena_get__stops_at_its_limit),
		cmocka_unit_test(log_line__is_one_line_whatever_it_is_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
