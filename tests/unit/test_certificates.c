/* The archive's CA in its folder, a change of it cut at each step, and the recovery kit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/certificates.h"
#include "central/kit.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/os/file.h"
#include "tests/lib/folder.h"

#define DAY_MS INT64_C(86400000)
#define NOW INT64_C(1790000000000)

static const struct id128 archive = {{7}};

static int
make_archive(void **state)
{
	struct buf key = BUF_INIT, ca = BUF_INIT;
	int rc = make_folder(state);

	log_set_level(LOG_ERROR);
	if (!rc)
		rc = certificates_new_ca(&key, &ca, &archive, NOW, NULL);
	if (!rc)
		rc = certificates_write(folder, &key, &ca, NULL);
	buf_fini(&key);
	buf_fini(&ca);
	return rc;
}

static struct certificates *
open_at(int64_t now)
{
	struct certificates *c;
	struct err e = ERR_INIT;

	if (certificates_open(&c, folder, &archive, now, &e))
		fail_msg("%s", e.what);
	return c;
}

static void
slurp(const char *name, struct buf *out)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/tls/%s", folder, name);
	buf_clear(out);
	assert_int_equal(file_slurp(path, 1 << 20, out, NULL), 0);
}

static struct pki_certificate
server(void)
{
	struct buf pem = BUF_INIT;
	struct pki_certificate c;

	slurp("server.pem", &pem);
	assert_int_equal(pki_read(&c, &pem, NULL), 0);
	buf_fini(&pem);
	return c;
}

static void
certificates_open__R25_renews_central_s_own_at_half_its_life(void **state)
{
	struct pki_certificate first, second;

	(void)state;
	certificates_close(open_at(NOW));
	first = server();
	assert_string_equal(first.name, "central.07000000000000000000000000000000");
	certificates_close(open_at(NOW + 1800 * DAY_MS));
	second = server();
	assert_int_equal(second.until_ms, first.until_ms);
	certificates_close(open_at(NOW + 1830 * DAY_MS));
	second = server();
	assert_int_equal(second.until_ms, first.until_ms + 1830 * DAY_MS);
	assert_memory_equal(second.print, first.print, PKI_PRINT);
	certificates_close(open_at(0)); /* a clock of 1970: this one says nothing of now */
	second = server();
	assert_int_equal(second.from_ms, -DAY_MS);
}

struct kept {
	struct buf key, ca;
	unsigned times;
};

static int
keep(void *arg, const struct buf *key, const struct buf *ca, struct err *e)
{
	struct kept *k = arg;

	(void)e;
	k->times++;
	buf_put(&k->key, key->data, key->len);
	buf_put(&k->ca, ca->data, ca->len);
	return 0;
}

static void
drop_kept(struct kept *k)
{
	buf_fini(&k->key);
	buf_fini(&k->ca);
}

static bool
differ(const struct buf *a, const struct buf *b)
{
	return a->len != b->len || memcmp(a->data, b->data, a->len) != 0;
}

/* Old bundle, or the new one that was kept; the key fits; both sign. */
static bool
is_whole(const struct buf *old, const struct kept *k)
{
	unsigned char print[PKI_PRINT];
	struct buf ca = BUF_INIT, key = BUF_INIT, csr = BUF_INIT, pem = BUF_INIT;
	struct certificates *c = open_at(NOW);
	struct pki_certificate first, got;
	bool changed;

	certificates_bundle(c, &ca, NULL);
	changed = differ(&ca, old);
	assert_false(changed && differ(&ca, &k->ca));
	certificates_print(c, print);
	assert_int_equal(pki_read(&first, &ca, NULL), 0);
	assert_memory_equal(first.print, print, PKI_PRINT);
	assert_int_equal(pki_key_make(&key, NULL), 0);
	assert_int_equal(pki_request_make(&csr, &key, "x", NULL), 0);
	assert_int_equal(certificates_issue(c, "north", csr.data, csr.len, NOW, &pem, &got, NULL),
			 0);
	assert_string_equal(got.name, "north");
	certificates_close(c);
	buf_fini(&ca);
	buf_fini(&key);
	buf_fini(&csr);
	buf_fini(&pem);
	return changed;
}

static void
certificates_renew_ca__R25_a_failure_leaves_the_old_ca_or_the_new_one(void **state)
{
	struct buf old = BUF_INIT;
	unsigned n, changed = 0;
	int rc;

	(void)state;
	for (n = 1;; n++) {
		struct certificates *c = open_at(NOW);
		struct kept k = {.times = 0};

		buf_clear(&old);
		certificates_bundle(c, &old, NULL);
		fault_arm(n, FAULT_ERRNO, EIO);
		rc = certificates_renew_ca(c, NOW, keep, &k, NULL);
		if (fault_disarm() < n) {
			assert_int_equal(rc, 0);
			certificates_close(c);
			assert_true(is_whole(&old, &k));
			drop_kept(&k);
			break;
		}
		certificates_close(c);
		changed += is_whole(&old, &k);
		assert_int_equal(k.times, 1);
		drop_kept(&k);
	}
	assert_true(changed > 0 && changed < n - 1); /* either side of the commit was met */
	buf_fini(&old);
}

static void
certificates_renew_ca__R25_a_death_leaves_the_old_ca_or_the_new_one(void **state)
{
	struct buf old = BUF_INIT, now = BUF_INIT;
	unsigned n, changed = 0;
	int status;
	pid_t pid;

	(void)state;
	for (n = 1;; n++) {
		struct certificates *c = open_at(NOW);

		buf_clear(&old);
		certificates_bundle(c, &old, NULL);
		pid = fork();
		if (pid == 0) {
			struct kept k = {.times = 0};

			fault_arm(n, FAULT_DIE, 0);
			_exit(certificates_renew_ca(c, NOW, keep, &k, NULL) ? 1 : 0);
		}
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		certificates_close(c);
		c = open_at(NOW); /* which fails unless key and bundle fit */
		buf_clear(&now);
		certificates_bundle(c, &now, NULL);
		certificates_close(c);
		changed += differ(&now, &old);
		if (WEXITSTATUS(status) == 0)
			break;
		assert_int_equal(WEXITSTATUS(status), FAULT_EXIT);
	}
	assert_true(changed > 1 && changed < n);
	buf_fini(&old);
	buf_fini(&now);
}

/* How many certificates central shows: as many as lead to each CA that is believed. */
static unsigned shown(void);

static void
certificates_retire__R25_a_death_leaves_all_cas_or_the_newest_alone(void **state)
{
	unsigned n, retired = 0;
	int status;
	pid_t pid;

	(void)state;
	for (n = 1;; n++) {
		struct certificates *c = open_at(NOW);
		struct kept k = {.times = 0};

		if (!certificates_older(c))
			assert_int_equal(certificates_renew_ca(c, NOW, keep, &k, NULL), 0);
		drop_kept(&k);
		pid = fork();
		if (pid == 0) {
			fault_arm(n, FAULT_DIE, 0);
			k.times = 0;
			_exit(certificates_retire(c, NOW, keep, &k, NULL) ? 1 : 0);
		}
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		certificates_close(c);
		c = open_at(NOW);
		assert_true(certificates_older(c) <= 1);
		assert_int_equal(shown(), certificates_older(c) ? 4 : 2);
		retired += !certificates_older(c);
		certificates_close(c);
		if (WEXITSTATUS(status) == 0)
			break;
		assert_int_equal(WEXITSTATUS(status), FAULT_EXIT);
	}
	assert_true(retired > 1 && retired < n);
}

static int
count(void *arg, const struct pki_certificate *c, const struct buf *one, struct err *e)
{
	(void)c;
	(void)one;
	(void)e;
	++*(unsigned *)arg;
	return 0;
}

static unsigned
shown(void)
{
	struct buf pem = BUF_INIT;
	unsigned n = 0;

	slurp("server.pem", &pem);
	assert_int_equal(pki_each(&pem, count, &n, NULL), 0);
	buf_fini(&pem);
	return n;
}

/* A server takes a chain of 32 at most. */
static void
certificates_renew_ca__R25_keeps_a_dozen(void **state)
{
	struct certificates *c = open_at(NOW);
	struct buf pem = BUF_INIT;
	unsigned i, n;

	(void)state;
	for (i = 1; i < 15; i++) {
		struct kept k = {.times = 0};

		assert_int_equal(certificates_renew_ca(c, NOW, keep, &k, NULL), 0);
		n = 0;
		assert_int_equal(pki_each(&k.ca, count, &n, NULL), 0);
		assert_int_equal(n, 1 + 2 * (i < 11 ? i : 11));
		drop_kept(&k);
	}
	slurp("server.pem", &pem);
	n = 0;
	assert_int_equal(pki_each(&pem, count, &n, NULL), 0);
	assert_int_equal(n, 1 + 23);
	certificates_close(c);
	certificates_close(open_at(NOW));
	buf_fini(&pem);
}

static void
kit__R25_gives_the_archive_back_and_is_never_overwritten(void **state)
{
	struct kit k = {.archive = archive}, back;
	char path[200], passphrase[KIT_PASSPHRASE], secret[200];
	struct err e = ERR_INIT;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/a.kit", folder);
	(void)snprintf(secret, sizeof(secret), "%s/secret", folder);
	memset(k.receipt_key, 5, sizeof(k.receipt_key));
	buf_puts(&k.ca_key, "key");
	buf_puts(&k.ca, "certificate\n");
	assert_int_equal(kit_passphrase(passphrase, NULL, NULL), 0);
	assert_int_equal(strlen(passphrase), 39);
	assert_int_equal(kit_write(path, &k, passphrase, NULL), 0);
	assert_int_equal(kit_write(path, &k, passphrase, &e), ERR_CONFLICT);
	assert_non_null(strstr(e.what, "never overwritten"));
	assert_int_equal(kit_read(&back, path, "0000", NULL), ERR_CORRUPT);
	assert_int_equal(file_replace(folder, "secret", passphrase, strlen(passphrase), NULL), 0);
	assert_int_equal(kit_passphrase(passphrase, secret, NULL), 0);
	assert_int_equal(kit_read(&back, path, passphrase, NULL), 0);
	assert_memory_equal(&back.archive, &k.archive, sizeof(archive));
	assert_memory_equal(back.receipt_key, k.receipt_key, sizeof(k.receipt_key));
	assert_int_equal(back.ca.len, k.ca.len);
	assert_memory_equal(back.ca.data, k.ca.data, k.ca.len);
	assert_memory_equal(back.ca_key.data, "key", 3);
	kit_fini(&k);
	kit_fini(&back);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			certificates_open__R25_renews_central_s_own_at_half_its_life, make_archive,
			drop_folder),
		cmocka_unit_test_setup_teardown(
			certificates_renew_ca__R25_a_failure_leaves_the_old_ca_or_the_new_one,
			make_archive, drop_folder),
		cmocka_unit_test_setup_teardown(
			certificates_renew_ca__R25_a_death_leaves_the_old_ca_or_the_new_one,
			make_archive, drop_folder),
		cmocka_unit_test_setup_teardown(
			certificates_retire__R25_a_death_leaves_all_cas_or_the_newest_alone,
			make_archive, drop_folder),
		cmocka_unit_test_setup_teardown(certificates_renew_ca__R25_keeps_a_dozen,
						make_archive, drop_folder),
		cmocka_unit_test_setup_teardown(
			kit__R25_gives_the_archive_back_and_is_never_overwritten, make_archive,
			drop_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
