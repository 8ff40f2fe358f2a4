/* `init`, the recovery kit, and the same archive on another machine (R25). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/birth.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/file.h"
#include "tests/lib/pair.h"
#include "tests/lib/sweep.h"

enum { TURNS = 400 };

static void
write_passphrase(const struct pair *p, char path[96])
{
	(void)snprintf(path, 96, "%s/passphrase", p->dir);
	assert_int_equal(file_replace(p->dir, "passphrase", "open sesame\n", 12, NULL), 0);
}

static void
init__R25_R22_recovers_the_archive_and_its_edges_fill_it(void **state)
{
	struct birth_wish wish = {.recover = false};
	char passphrase[96], kit[96];
	struct id128 archive, epoch, other;
	struct err e = ERR_INIT;
	struct born born;
	struct pair p;
	unsigned i;

	(void)state;
	pair_prepare(&p, "64MiB");
	write_passphrase(&p, passphrase);
	wish.passphrase_file = passphrase;
	assert_int_equal(birth_init(p.central_conf, &wish, &born, &e), 0);
	assert_string_equal(born.passphrase, ""); /* the person knows it */
	(void)snprintf(kit, sizeof(kit), "%s/central.kit", p.dir);
	assert_string_equal(born.kit, kit);
	pair_open_central(&p);
	pair_open_edge(&p);
	for (i = 0; i < 6; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	archive = p.central.identity.id;
	central_epoch(&p.central, &epoch);
	pair_burn_central(&p);

	wish.recover = true;
	assert_int_equal(birth_init(p.central_conf, &wish, &born, &e), ERR_PEER); /* which kit? */
	wish.kit = kit;
	err_clear(&e);
	assert_int_equal(birth_init(p.central_conf, &wish, &born, &e), 0);
	pair_open_central(&p);
	assert_memory_equal(&p.central.identity.id, &archive, sizeof(archive));
	central_epoch(&p.central, &other);
	assert_memory_not_equal(&other, &epoch, sizeof(epoch));
	clock_manual_advance(&p.clock, 16000); /* an edge that owes nothing asks within 15 s */
	for (i = 0; i < 40; i++)
		pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i < 6; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* Whatever fails, the folder can be made: by the next init, or it was made. */
static void
init__R25_each_failed_step_is_no_archive_or_a_whole_one_with_its_kit(void **state)
{
	char passphrase[96], kit[96];
	struct birth_wish wish = {.kit = kit, .passphrase_file = passphrase};
	struct kit k;
	struct born born;
	struct pair p;
	unsigned n, whole = 0;
	int rc;

	(void)state;
	pair_prepare(&p, "64MiB");
	write_passphrase(&p, passphrase);
	for (n = 1;; n += sweep_stride(17)) {
		(void)snprintf(kit, sizeof(kit), "%s/%u.kit", p.dir, n);
		fault_arm(n, FAULT_ERRNO, EIO);
		rc = birth_init(p.central_conf, &wish, &born, NULL);
		if (fault_disarm() < n) {
			assert_int_equal(rc, 0);
			break;
		}
		if (central_open(&p.central, p.central_conf, CENTRAL_LOCAL, NULL))
			continue; /* the next round makes it in the same folder */
		assert_int_equal(kit_read(&k, kit, "open sesame", NULL), 0);
		assert_memory_equal(&k.archive, &p.central.identity.id, sizeof(k.archive));
		kit_fini(&k);
		central_close(&p.central);
		pair_burn_central(&p);
		whole++;
	}
	assert_true(whole > 0);
	pair_fini(&p);
}

static void
set_tls(const struct pair *p, bool on)
{
	char command[256];

	(void)snprintf(command, sizeof(command),
		       on ? "printf '[tls]\\ncert = c\\nkey = k\\nca = a\\n' >> %s"
			  : "sed -i '/tls/,$d' %s",
		       p->central_conf);
	assert_int_equal(system(command), 0);
}

/* The operator's certificates are his own to keep; a kit says which of both it is of. */
static void
init__R25_a_kit_without_a_ca_is_for_the_operator_s_certificates(void **state)
{
	char passphrase[96], kit[96], with_ca[96];
	struct birth_wish wish = {.kit = kit, .passphrase_file = passphrase};
	struct id128 archive;
	struct born born;
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	write_passphrase(&p, passphrase);
	(void)snprintf(with_ca, sizeof(with_ca), "%s/ca.kit", p.dir);
	wish.kit = with_ca;
	assert_int_equal(birth_init(p.central_conf, &wish, &born, NULL), 0);
	pair_burn_central(&p);
	(void)snprintf(kit, sizeof(kit), "%s/own.kit", p.dir);
	set_tls(&p, true);
	wish.kit = kit;
	assert_int_equal(birth_init(p.central_conf, &wish, &born, NULL), 0);
	assert_int_equal(central_open(&p.central, p.central_conf, CENTRAL_LOCAL, NULL), 0);
	assert_null(p.central.certificates);
	archive = p.central.identity.id;
	central_close(&p.central);
	pair_burn_central(&p);
	wish.recover = true;
	wish.kit = with_ca;
	assert_int_equal(birth_init(p.central_conf, &wish, &born, NULL), ERR_CONFLICT);
	wish.kit = kit;
	set_tls(&p, false);
	assert_int_equal(birth_init(p.central_conf, &wish, &born, NULL), ERR_CONFLICT);
	set_tls(&p, true);
	assert_int_equal(birth_init(p.central_conf, &wish, &born, NULL), 0);
	assert_int_equal(central_open(&p.central, p.central_conf, CENTRAL_LOCAL, NULL), 0);
	assert_memory_equal(&p.central.identity.id, &archive, sizeof(archive));
	central_close(&p.central);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init__R25_R22_recovers_the_archive_and_its_edges_fill_it),
		cmocka_unit_test(init__R25_a_kit_without_a_ca_is_for_the_operator_s_certificates),
		cmocka_unit_test(
			init__R25_each_failed_step_is_no_archive_or_a_whole_one_with_its_kit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
