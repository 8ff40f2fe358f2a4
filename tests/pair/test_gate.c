/* Who may call: the table of routes and rights, joining, renewal, clocks, recovery (R24-R26). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/birth.h"
#include "central/central_commands.h"
#include "central/certificates.h"
#include "central/gate.h"
#include "central/intake.h"
#include "central/join.h"
#include "central/members.h"
#include "central/record.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/command.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "tests/lib/caller.h"
#include "tests/lib/pair.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

static struct pair p;
static char passphrase[96], kit[96];

static void
open_archive(bool recover)
{
	struct birth_wish wish = {recover, kit, passphrase};
	struct err e = ERR_INIT;
	struct born born;

	if (birth_init(p.central_conf, &wish, &born, &e))
		fail_msg("init: %s", e.what);
	pair_open_central(&p);
}

/* One archive is made, and copied for each test: a kit takes its time. */
static char pristine[64];

static void
copy(const char *from, const char *to)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "cp -r %s %s", from, to);
	assert_int_equal(system(command), 0);
}

static int
make_archive(void **state)
{
	char central[96];

	(void)state;
	pair_prepare(&p, "64MiB");
	(void)snprintf(central, sizeof(central), "%s/central", p.dir);
	(void)snprintf(passphrase, sizeof(passphrase), "%s/passphrase", p.dir);
	(void)snprintf(kit, sizeof(kit), "%s/a.kit", p.dir);
	assert_int_equal(file_replace(p.dir, "passphrase", "sesame\n", 7, NULL), 0);
	if (pristine[0]) {
		char kept[96];

		copy(pristine, central);
		(void)snprintf(kept, sizeof(kept), "%s/a.kit", pristine);
		copy(kept, kit);
		pair_open_central(&p);
		return 0;
	}
	open_archive(false);
	pair_close_central(&p);
	strcpy(pristine, "/tmp/test_gate.XXXXXX");
	assert_non_null(mkdtemp(pristine));
	assert_int_equal(rmdir(pristine), 0);
	copy(central, pristine);
	copy(kit, pristine);
	pair_open_central(&p);
	return 0;
}

static int
drop_pristine(void **state)
{
	char command[96];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", pristine);
	return pristine[0] ? system(command) : 0;
}

static int
drop_archive(void **state)
{
	(void)state;
	pair_fini(&p);
	return 0;
}

static struct member
row(const char *site)
{
	struct store_tx *tx;
	struct member m;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	if (member_get(tx, site, &m, NULL))
		memset(&m, 0, sizeof(m));
	store_end_read(tx);
	return m;
}

static void
decide(const char *site, Sync__DecisionKind kind)
{
	assert_int_equal(record_decision(&p.central, (int)kind, site, NULL, "a test", NULL), 0);
}

/* In, with a certificate. */
static void
enrolled(struct caller *k, const char *site)
{
	unsigned char secret[16];

	caller_init(k, &p.central, site);
	caller_invite(&p.central, site, 72, secret);
	if (caller_join(k, secret) != 200)
		fail_msg("%s: %s", site, k->why);
	k->certified = true;
}

static void
at(int64_t wall_ms)
{
	atomic_store(&p.clock.wall, wall_ms);
}

/* --- the table --- */

struct who {
	const char *name, *why; /* why NULL: let in */
	struct caller *k;
};

/* enrol: what that one route says where there is nothing to join; NULL: as the others. */
static void
walk_but_enrol(const struct who *w, unsigned rights, const char *enrol)
{
	const struct http_route *routes;
	size_t i, n;

	routes = intake_routes(&n);
	assert_true(n >= 17);
	for (i = 0; i < n; i++) {
		bool in = (routes[i].right & rights & ~HTTP_OPEN) != 0;
		bool codes = enrol && (routes[i].right & RIGHT_JOIN);
		const char *why = codes ? enrol : w->why;
		char path[120];
		int status;

		/* one right each, and that one known to the gate */
		assert_int_equal(__builtin_popcount(routes[i].right & ~HTTP_OPEN), 1);
		(void)snprintf(path, sizeof(path), "%s", routes[i].path);
		status = caller_ask(w->k, routes[i].method, path, NULL);
		if ((status != 403) != in || (!in && strcmp(w->k->why, why) != 0))
			fail_msg("%s: %s %s was answered %d (%s)", w->name, routes[i].method,
				 routes[i].path, status, w->k->why);
	}
}

static void
walk(const struct who *w, unsigned rights)
{
	walk_but_enrol(w, rights, NULL);
}

static void
gate__R24_R25_each_route_is_for_the_enrolled_key_of_an_active_site(void **state)
{
	const unsigned all = RIGHT_HELLO | RIGHT_LEDGER | RIGHT_RENEW | RIGHT_SEND | RIGHT_READ |
			     RIGHT_METRICS | RIGHT_ORDERS;
	struct caller nobody, north, south, east, west, thief;

	(void)state;
	caller_init(&nobody, &p.central, "north");
	enrolled(&north, "north");
	enrolled(&south, "south");
	enrolled(&east, "east");
	enrolled(&west, "west");
	decide("south", SYNC__DECISION_KIND__DECISION_SITE_SUSPEND);
	decide("west", SYNC__DECISION_KIND__DECISION_SITE_REMOVE);
	east.late = true;
	caller_init(&thief, &p.central, "north"); /* a key of its own under another's name */
	thief.certified = true;
	{
		const struct who who[] = {{"no certificate, or a foreign one",
					   "no certificate of this archive", &nobody},
					  {"a suspended site", "suspended", &south},
					  {"a removed site", "removed", &west},
					  {"another key", "another key", &thief}};
		const struct who late = {"an expired certificate",
					 "expired: only hello, ledger and renew", &east};
		const struct who good = {"a site", NULL, &north};
		size_t i;

		for (i = 0; i < sizeof(who) / sizeof(who[0]); i++)
			walk(&who[i], RIGHT_JOIN);
		walk(&late, RIGHT_JOIN | RIGHT_HELLO | RIGHT_LEDGER | RIGHT_RENEW);
		walk(&good, RIGHT_JOIN | all);
		decide("south", SYNC__DECISION_KIND__DECISION_SITE_READMIT);
		walk(&(struct who){"readmitted", NULL, &south}, RIGHT_JOIN | all);
		south.late = true; /* a suspension is stronger than what R25 leaves open */
		decide("south", SYNC__DECISION_KIND__DECISION_SITE_SUSPEND);
		walk(&who[1], RIGHT_JOIN);
	}
	caller_fini(&nobody);
	caller_fini(&north);
	caller_fini(&south);
	caller_fini(&east);
	caller_fini(&west);
	caller_fini(&thief);
}

/* The operator's own CA: no codes, no renewal by us; a known key all the same. */
static void
gate__R25_own_certificates_that_ran_out_say_hello_if_their_key_is_known(void **state)
{
	const unsigned all = RIGHT_HELLO | RIGHT_LEDGER | RIGHT_RENEW | RIGHT_SEND | RIGHT_READ |
			     RIGHT_METRICS | RIGHT_ORDERS;
	const unsigned late = RIGHT_HELLO | RIGHT_LEDGER | RIGHT_RENEW;
	static const char unknown[] = "expired, and its key is not known here";
	static const char less[] = "expired: only hello, ledger and renew";
	static const char none[] = "this central has no CA of its own"; /* of `enrol` */
	struct certificates *kept = p.central.certificates;
	struct caller north, other;

	(void)state;
	p.central.certificates = NULL;
	caller_init(&north, &p.central, "north");
	north.certified = north.late = true;
	north.from_ms = 1000;
	assert_int_equal(caller_ask(&north, "POST", "/sync/v1/hello", NULL), 403);
	assert_string_equal(north.why, unknown);
	assert_false(row("north").keyed);
	north.late = false;
	assert_int_not_equal(caller_ask(&north, "POST", "/sync/v1/holdings", NULL), 403);
	assert_true(row("north").keyed);
	assert_int_equal(row("north").until_ms, 2000);
	north.late = true;
	walk_but_enrol(&(struct who){"known", less, &north}, late, none);
	caller_init(&other, &p.central, "north"); /* an older one, or one that was stolen */
	other.certified = other.late = true;
	other.from_ms = 500;
	walk_but_enrol(&(struct who){"another key", unknown, &other}, 0, none);
	other.late = false; /* while it is good its name is enough; it is not the newest */
	walk_but_enrol(&(struct who){"valid", NULL, &other}, all, none);
	other.late = true;
	assert_int_equal(caller_ask(&other, "POST", "/sync/v1/hello", NULL), 403);
	other.late = false; /* the site's next key */
	other.from_ms = 1001;
	assert_int_not_equal(caller_ask(&other, "POST", "/sync/v1/ledger", NULL), 403);
	assert_int_equal(caller_ask(&north, "POST", "/sync/v1/hello", NULL), 403);
	decide("north", SYNC__DECISION_KIND__DECISION_SITE_SUSPEND);
	walk_but_enrol(&(struct who){"suspended", "suspended", &other}, 0, none);
	other.late = true;
	walk_but_enrol(&(struct who){"suspended, late", "suspended", &other}, 0, none);
	p.central.certificates = kept;
	caller_fini(&north);
	caller_fini(&other);
}

/* --- joining --- */

static void
join__R26_a_code_is_for_one_site_one_key_and_its_hours(void **state)
{
	static const char *const sites[] = {"sites"};
	unsigned char secret[16], wrong[16] = {1}, key[PKI_PRINT];
	struct caller first, second, other;
	Sync__JoinAnswer *a;
	struct buf pem = BUF_INIT;
	struct pki_certificate c;
	int64_t now = clock_wall(&p.clock.c);

	(void)state;
	caller_init(&first, &p.central, "north");
	caller_init(&second, &p.central, "north");
	caller_init(&other, &p.central, "south");
	caller_invite(&p.central, "north", 72, secret);
	assert_int_equal(caller_join(&first, wrong), 403);
	assert_string_equal(first.why, "this code is unknown here\n");
	assert_int_equal(caller_join(&other, secret), 403); /* the code is north's */
	at(now + 72 * HOUR_MS + 1);
	assert_int_equal(caller_join(&first, secret), 403);
	assert_non_null(strstr(first.why, "expired"));
	at(now + 71 * HOUR_MS);
	assert_false(row("north").keyed);
	assert_int_equal(caller_join(&first, secret), 200);
	a = message_read(&sync__join_answer__descriptor, first.answer.data, first.answer.len, NULL);
	assert_non_null(a);
	assert_memory_equal(a->archive.data, p.central.identity.id.b, ID128_SIZE);
	buf_put(&pem, a->certificate.data, a->certificate.len);
	assert_int_equal(pki_read(&c, &pem, NULL), 0);
	assert_string_equal(c.name, "north");
	assert_int_equal(pki_key_print(&first.key, key, NULL), 0);
	assert_memory_equal(c.print, key, PKI_PRINT);
	assert_memory_equal(row("north").key, key, PKI_PRINT);
	message_free(a);

	assert_int_equal(caller_join(&second, secret), 403);
	assert_non_null(strstr(second.why, "another key"));
	assert_memory_equal(row("north").key, key, PKI_PRINT);
	assert_true(row("north").refused);
	assert_int_equal(ctl_local(central_commands_run, &p.central, 1, sites), COMMAND_PERSON);
	assert_int_equal(pki_key_print(&second.key, key, NULL), 0);
	assert_memory_equal(row("north").refused_key, key, PKI_PRINT);
	at(now + 200 * HOUR_MS); /* the answer was lost; the first key is north's already */
	assert_int_equal(caller_join(&first, secret), 200);
	caller_invite(&p.central, "north", 72, wrong); /* --rejoin: a new key takes its place */
	assert_false(row("north").refused);
	assert_int_equal(ctl_local(central_commands_run, &p.central, 1, sites), COMMAND_OK);
	first.certified = true;
	assert_int_equal(caller_join(&second, wrong), 200);
	assert_int_equal(caller_ask(&first, "HEAD", "/sync/v1/packs/", NULL), 403);
	assert_string_equal(first.why, "another key");
	caller_invite(&p.central, "north", 72, secret); /* once more, and the key stays */
	assert_int_equal(caller_join(&second, secret), 200);
	assert_int_equal(caller_join(&first, secret), 403);
	buf_fini(&pem);
	caller_fini(&first);
	caller_fini(&second);
	caller_fini(&other);
}

static void
join__R26_failed_tries_are_bounded_also_across_restarts(void **state)
{
	unsigned char secret[16], wrong[16] = {1};
	struct caller k, neighbour;
	char address[32];
	unsigned i;

	(void)state;
	pair_close_central(&p);
	clock_use(&p.clock.c); /* also for the store's time */
	pair_open_central(&p);
	caller_init(&k, &p.central, "north");
	caller_init(&neighbour, &p.central, "north");
	neighbour.address = "192.0.2.2";
	caller_invite(&p.central, "north", 72, secret);
	for (i = 0; i < 20; i++)
		assert_int_equal(caller_join(&k, wrong), 403);
	assert_int_equal(caller_join(&k, wrong), 429);
	assert_int_equal(caller_join(&k, secret), 429); /* not even looked at */
	assert_int_equal(joins_failed(p.central.joins), 20);
	pair_close_central(&p); /* a restart gives nobody new tries */
	pair_open_central(&p);
	assert_int_equal(caller_join(&k, secret), 429);
	assert_int_equal(caller_join(&neighbour, secret), 200);
	for (i = 20; i < 200; i++) {
		(void)snprintf(address, sizeof(address), "198.51.100.%u", i);
		k.address = address;
		assert_int_equal(caller_join(&k, wrong), 403);
	}
	assert_int_equal(caller_join(&neighbour, secret), 429);
	pair_close_central(&p);
	pair_open_central(&p);
	assert_int_equal(caller_join(&neighbour, secret), 429);
	clock_manual_advance(&p.clock, HOUR_MS);
	assert_int_equal(caller_join(&neighbour, secret), 200);
	clock_use(NULL);
	caller_fini(&k);
	caller_fini(&neighbour);
}

static void
join__R26_what_is_no_request_is_refused_and_counted(void **state)
{
	static const char *const bodies[] = {"", "x",
					     ("\x0a\x10"
					      "0123456789abcdef\x12\x05north")};
	struct caller k;
	size_t i;

	(void)state;
	caller_init(&k, &p.central, "north");
	for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct buf body = BUF_INIT;

		buf_puts(&body, bodies[i]);
		assert_int_equal(caller_ask(&k, "POST", "/join/v1/enrol", &body), 400);
		buf_fini(&body);
	}
	assert_int_equal(joins_failed(p.central.joins), i);
	caller_fini(&k);
}

/* Whatever fails, the code stays good for the key that came with it, and for no other. */
static void
join__R26_each_failed_step_leaves_the_code_to_the_key_that_used_it(void **state)
{
	unsigned char secret[16];
	unsigned n, failed = 0;

	(void)state;
	for (n = 1;; n++) {
		struct caller first, second;
		char site[16];
		int status;

		(void)snprintf(site, sizeof(site), "site-%u", n);
		caller_init(&first, &p.central, site);
		caller_init(&second, &p.central, site);
		caller_invite(&p.central, site, 72, secret);
		fault_arm(n, FAULT_ERRNO, EIO);
		status = caller_join(&first, secret);
		if (fault_disarm() < n) {
			assert_int_equal(status, 200);
			caller_fini(&first);
			caller_fini(&second);
			break;
		}
		pair_close_central(&p);
		pair_open_central(&p);
		failed += status != 200;
		assert_int_equal(caller_join(&first, secret), 200);
		assert_int_equal(caller_join(&second, secret), 403);
		caller_fini(&first);
		caller_fini(&second);
	}
	assert_true(failed > 0);
}

/* --- renewal and clocks --- */

static void
renew__R25_at_half_its_life_and_after_any_time_cut_off(void **state)
{
	static const int64_t away_days[] = {42, 400, 1096};
	int64_t start = clock_wall(&p.clock.c);
	struct caller north, thief;
	bool renew;
	size_t i;

	(void)state;
	enrolled(&north, "north");
	caller_init(&thief, &p.central, "north");
	thief.certified = true;
	assert_int_equal(caller_hello(&north, NULL, &renew), 200);
	assert_false(renew);
	for (i = 0; i < sizeof(away_days) / sizeof(away_days[0]); i++) {
		start += away_days[i] * DAY_MS;
		at(start);
		north.late = away_days[i] > 730;
		assert_int_equal(caller_hello(&north, NULL, &renew), 200);
		assert_int_equal(renew, away_days[i] > 365);
		if (!renew)
			continue;
		assert_int_equal(caller_ask(&north, "POST", "/sync/v1/ledger", NULL) == 403, 0);
		assert_int_equal(caller_ask(&north, "POST", "/sync/v1/holdings", NULL) == 403,
				 north.late);
		assert_int_equal(caller_renew(&thief), 403);
		assert_int_equal(caller_renew(&north), 200);
		north.late = false;
		assert_int_equal(caller_hello(&north, NULL, &renew), 200);
		assert_false(renew);
		assert_int_equal(row("north").until_ms / 1000, (start + 730 * DAY_MS) / 1000);
	}
	caller_fini(&north);
	caller_fini(&thief);
}

/* A central whose clock is decades off lets its sites renew, and again when it is put right. */
static void
renew__R25_R28_heals_clocks_of_1970_and_2100(void **state)
{
	static const int64_t clocks[] = {0, INT64_C(4102444800000)};
	int64_t right = clock_wall(&p.clock.c);
	struct caller north;
	bool renew;
	size_t i;

	(void)state;
	enrolled(&north, "north");
	for (i = 0; i < 2; i++) {
		at(clocks[i]);
		north.late = true;
		assert_int_equal(caller_hello(&north, NULL, &renew), 200);
		assert_true(renew);
		assert_int_equal(caller_renew(&north), 200);
		north.late = false;
		assert_int_equal(caller_hello(&north, NULL, &renew), 200);
		assert_false(renew);
		at(right);
		north.late = true; /* of the wrong time */
		assert_int_equal(caller_hello(&north, NULL, &renew), 200);
		assert_true(renew);
		assert_int_equal(caller_renew(&north), 200);
		north.late = false;
		assert_int_equal(caller_hello(&north, NULL, &renew), 200);
		assert_false(renew);
	}
	caller_fini(&north);
}

static int
keep_nothing(void *arg, const struct buf *key, const struct buf *ca, struct err *e)
{
	(void)arg;
	(void)key;
	(void)ca;
	(void)e;
	return 0;
}

static void
renew__R25_brings_a_new_ca_to_whoever_has_the_old_one(void **state)
{
	unsigned char old[SHA256_SIZE], new[SHA256_SIZE], got[SHA256_SIZE];
	Sync__JoinAnswer *a;
	struct caller north;
	bool renew;

	(void)state;
	enrolled(&north, "north");
	certificates_bundle(p.central.certificates, NULL, old);
	assert_int_equal(caller_hello(&north, old, &renew), 200);
	assert_false(renew);
	assert_int_equal(certificates_renew_ca(p.central.certificates, clock_wall(&p.clock.c),
					       keep_nothing, NULL, NULL),
			 0);
	certificates_bundle(p.central.certificates, NULL, new);
	assert_int_equal(caller_hello(&north, old, &renew), 200);
	assert_true(renew);
	assert_int_equal(caller_renew(&north), 200);
	a = message_read(&sync__join_answer__descriptor, north.answer.data, north.answer.len, NULL);
	assert_non_null(a);
	sha256_of(a->ca.data, a->ca.len, got);
	assert_memory_equal(got, new, SHA256_SIZE);
	message_free(a);
	assert_int_equal(caller_hello(&north, new, &renew), 200);
	assert_false(renew);
	caller_fini(&north);
}

/* --- what lasts --- */

static int
dump_one(void *arg, const struct member *m, struct err *e)
{
	struct member row = *m;

	(void)e;
	row.vouches = row.unvouched = false; /* a rebuild begins an epoch (test_vouch) */
	buf_put(arg, &row, sizeof(row));
	return 0;
}

static void
dump(struct buf *out)
{
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(member_each(tx, dump_one, out, NULL), 0);
	store_end_read(tx);
}

static void
rebuild__R16_R26_keeps_the_site_table(void **state)
{
	struct buf before = BUF_INIT, after = BUF_INIT;
	struct caller north, south, other;
	unsigned char secret[16];

	(void)state;
	enrolled(&north, "north");
	enrolled(&south, "south");
	decide("south", SYNC__DECISION_KIND__DECISION_SITE_SUSPEND);
	caller_init(&other, &p.central, "east");
	caller_invite(&p.central, "east", 72, secret);
	assert_int_equal(caller_join(&other, secret), 200);
	decide("east", SYNC__DECISION_KIND__DECISION_SITE_REMOVE);
	caller_invite(&p.central, "west", 72, secret);
	at(clock_wall(&p.clock.c) + 400 * DAY_MS);
	assert_int_equal(caller_renew(&north), 200);
	dump(&before);
	assert_int_equal(before.len, 4 * sizeof(struct member));
	pair_close_central(&p);
	assert_int_equal(central_open(&p.central, p.central_conf, CENTRAL_REBUILD, NULL), 0);
	dump(&after);
	central_close(&p.central);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.data, before.data, before.len);
	pair_open_central(&p);
	assert_int_equal(caller_ask(&south, "POST", "/sync/v1/holdings", NULL), 403);
	assert_string_equal(south.why, "suspended");
	buf_fini(&before);
	buf_fini(&after);
	caller_fini(&north);
	caller_fini(&south);
	caller_fini(&other);
}

static void
gate__R25_a_central_from_the_kit_enters_the_sites_it_finds(void **state)
{
	struct caller north, thief, odd;
	bool renew;

	(void)state;
	enrolled(&north, "north");
	pair_burn_central(&p);
	open_archive(true);
	assert_int_equal(caller_hello(&north, NULL, &renew), 200);
	assert_true(renew); /* until when its certificate is good is not known here */
	assert_int_equal(caller_renew(&north), 200);
	assert_int_equal(caller_hello(&north, NULL, &renew), 200);
	assert_false(renew);
	assert_true(row("north").keyed);
	caller_init(&thief, &p.central, "north");
	thief.certified = true;
	assert_int_equal(caller_hello(&thief, NULL, &renew), 403);
	assert_string_equal(thief.why, "another key");
	caller_init(&odd, &p.central, "central.0123");
	odd.certified = true; /* central's own certificate is nobody's */
	assert_int_equal(caller_hello(&odd, NULL, &renew), 403);
	caller_fini(&north);
	caller_fini(&thief);
	caller_fini(&odd);
}

static void
members__R26_names_are_plain(void **state)
{
	char longest[66];

	(void)state;
	memset(longest, 'n', 65);
	longest[65] = '\0';
	assert_false(member_name_valid(longest));
	longest[64] = '\0';
	assert_true(member_name_valid(longest));
	assert_true(member_name_valid("St.Mary_2-b"));
	assert_false(member_name_valid(""));
	assert_false(member_name_valid("central.1"));
	assert_false(member_name_valid("a/b"));
	assert_false(member_name_valid("a b"));
	assert_false(member_name_valid("\xc3\xa4"));
}

#define in_archive(test) cmocka_unit_test_setup_teardown(test, make_archive, drop_archive)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		in_archive(gate__R24_R25_each_route_is_for_the_enrolled_key_of_an_active_site),
		in_archive(gate__R25_own_certificates_that_ran_out_say_hello_if_their_key_is_known),
		in_archive(join__R26_a_code_is_for_one_site_one_key_and_its_hours),
		in_archive(join__R26_each_failed_step_leaves_the_code_to_the_key_that_used_it),
		in_archive(join__R26_failed_tries_are_bounded_also_across_restarts),
		in_archive(join__R26_what_is_no_request_is_refused_and_counted),
		in_archive(renew__R25_at_half_its_life_and_after_any_time_cut_off),
		in_archive(renew__R25_R28_heals_clocks_of_1970_and_2100),
		in_archive(renew__R25_brings_a_new_ca_to_whoever_has_the_old_one),
		in_archive(rebuild__R16_R26_keeps_the_site_table),
		in_archive(gate__R25_a_central_from_the_kit_enters_the_sites_it_finds),
		cmocka_unit_test(members__R26_names_are_plain),
	};

	return cmocka_run_group_tests(tests, NULL, drop_pristine);
}
