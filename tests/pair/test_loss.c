/* What is held, owed, lost, withdrawn; exact, and in all its forms (R6, R15, R18, R19). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "central/catalogue.h"
#include "central/loss.h"
#include "central/record.h"
#include "central/returns.h"
#include "central/serve_refill.h"
#include "central/sites.h"
#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/http/server.h"
#include "common/store/store.h"
#include "proto/sync.pb-c.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"

enum { TURNS = 400 };

static struct buf
print(struct pair *p, const char *site, enum loss_form form, bool instances)
{
	struct buf out = BUF_INIT;
	unsigned long long lost;
	struct err e = ERR_INIT;

	if (loss_print(p->central.store, site, form, instances, &out, &lost, &e))
		fail_msg("%s", e.what);
	buf_put_u8(&out, 0);
	return out;
}

/* known, held, owed, lost, withdrawn of a site, as --json says; they add up. */
static void
expect(struct pair *p, const char *site, int held, int owed, int lost, int withdrawn)
{
	struct buf out = print(p, site, LOSS_JSON, false);
	json_t *j = json_loads((const char *)out.data, 0, NULL);

	assert_non_null(j);
	assert_int_equal(json_integer_value(json_object_get(j, "held")), held);
	assert_int_equal(json_integer_value(json_object_get(j, "owed")), owed);
	assert_int_equal(json_integer_value(json_object_get(j, "lost")), lost);
	assert_int_equal(json_integer_value(json_object_get(j, "withdrawn")), withdrawn);
	assert_int_equal(json_integer_value(json_object_get(j, "known")),
			 held + owed + lost + withdrawn);
	json_decref(j);
	buf_fini(&out);
}

static void
send(struct pair *p, unsigned first, unsigned n, bool bytes)
{
	unsigned i;

	p->cut_method = bytes ? NULL : "PATCH";
	for (i = 0; i < n; i++)
		assert_int_equal(pair_send(p, first + i), 0);
	if (bytes)
		assert_true(pair_settle(p, TURNS));
	for (i = 0; i < 8; i++)
		pair_turn(p);
	p->cut_method = NULL;
}

static void
site_lost(struct pair *p, const char *site)
{
	assert_int_equal(record_decision(&p->central, SYNC__DECISION_KIND__DECISION_CLOSE, site,
					 NULL, "site lost", NULL),
			 0);
}

static bool
sites_say(struct pair *p, const char *what)
{
	struct buf out = BUF_INIT;
	struct store_tx *tx;
	struct sites s;
	bool says;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(sites_make(&s, tx, NULL), 0);
	store_end_read(tx);
	sites_text(&out, &s);
	buf_put_u8(&out, 0);
	says = strstr((const char *)out.data, what) != NULL;
	sites_free(&s);
	buf_fini(&out);
	return says;
}

static void
loss__R18_counts_distinct_images_over_all_sites_and_incarnations(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 2, true);
	send(&p, 2, 4, false); /* 2, 3, 4, 5: announced, not sent */
	expect(&p, "north", 2, 4, 0, 0);
	/* Another site's bytes and claims count for this one's images as well (R19). */
	pair_site(&p, "south");
	send(&p, 2, 1, true);
	send(&p, 3, 1, false);
	expect(&p, "north", 3, 3, 0, 0);
	expect(&p, "south", 1, 1, 0, 0);
	/* North burns: what south says that it has is owed, not lost. */
	site_lost(&p, "north");
	expect(&p, "north", 3, 1, 2, 0);
	/* A new edge of north, a new incarnation: 0 and 4 are stored again; each counts once. */
	pair_close_edge(&p);
	p.site = "north";
	pair_burn_edge(&p);
	pair_site(&p, "north");
	send(&p, 0, 1, true);
	send(&p, 4, 1, false);
	expect(&p, "north", 3, 2, 1, 0);
	expect(&p, NULL, 3, 2, 1, 0);
	/* `sites` counts those of a site once, whatever incarnations announced them. */
	assert_true(sites_say(&p, " live           6         3         2         1         0 "));
	/* Its bytes come after all: held for every incarnation. */
	assert_true(pair_settle(&p, TURNS));
	expect(&p, "north", 4, 1, 1, 0);
	pair_fini(&p);
}

static void
loss__R6_R18_one_line_per_study_for_people_and_one_per_image_on_demand(void **state)
{
	static const char why[] = "nobody says that it has the bytes";
	struct buf out;
	const char *at;
	unsigned rows = 0;
	json_t *j, *studies, *horizon, *list;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 6, false); /* two studies: 4 images and 2 */
	site_lost(&p, "north");
	out = print(&p, "north", LOSS_TEXT, false);
	at = (const char *)out.data;
	assert_ptr_equal(strstr(at, "6 images lost, 0 owed; of 6 known 0 held, 0 withdrawn\n"), at);
	assert_non_null(strstr(at, "\nlost 4 of north: "));
	assert_non_null(strstr(at, "\nlost 2 of north: "));
	assert_non_null(strstr(at, "north (closed): complete up to seq "));
	assert_non_null(strstr(at, "; silent since "));
	assert_non_null(strstr(at, "images taken later are in no list: ask CT1"));
	assert_null(strstr(at, "sha256"));
	buf_fini(&out);
	out = print(&p, "north", LOSS_TEXT, true);
	for (at = (const char *)out.data; (at = strstr(at, why)); at++)
		rows++;
	assert_int_equal(rows, 6);
	buf_fini(&out);
	/* The call-back list: a header, a row per study, CRLF. */
	out = print(&p, "north", LOSS_CSV, false);
	at = (const char *)out.data;
	assert_ptr_equal(strstr(at, "state,site,patient_name,patient_id,issuer,birth_date,sex,"
				    "accession,accession_issuer,study_date,study_time,modalities,"
				    "description,body_part,station,institution,"
				    "referring_physician,instances,committed,study_uid\r\n"),
			 at);
	for (rows = 0; (at = strstr(at, "\r\n")); at++)
		rows++;
	assert_int_equal(rows, 3);
	buf_fini(&out);
	out = print(&p, "north", LOSS_CSV, true);
	for (rows = 0, at = (const char *)out.data; (at = strstr(at, why)); at++)
		rows++;
	assert_int_equal(rows, 6);
	buf_fini(&out);
	out = print(&p, "north", LOSS_JSON, true);
	j = json_loads((const char *)out.data, 0, NULL);
	assert_non_null(j);
	studies = json_object_get(j, "studies");
	horizon = json_array_get(json_object_get(j, "horizon"), 0);
	assert_int_equal(json_array_size(studies), 2);
	list = json_object_get(json_array_get(studies, 0), "list");
	assert_true(json_array_size(list) == 4 || json_array_size(list) == 2);
	assert_int_equal(
		strlen(json_string_value(json_object_get(json_array_get(list, 0), "sha256"))), 64);
	assert_string_equal(json_string_value(json_object_get(horizon, "ask")), "CT1");
	assert_true(json_is_true(json_object_get(horizon, "closed")));
	json_decref(j);
	buf_fini(&out);
	pair_fini(&p);
}

/* --- decisions --- */

static void
digest_of(const struct pair *p, unsigned number, unsigned char out[SHA256_SIZE])
{
	struct buf image = BUF_INIT;

	pair_image(p, &image, number);
	sha256_of(image.data, image.len, out);
	buf_fini(&image);
}

static uint32_t
hidden(struct pair *p, unsigned number)
{
	unsigned char digest[SHA256_SIZE];
	struct store_tx *tx;
	struct version v;
	uint64_t oid;

	digest_of(p, number, digest);
	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(store_by_digest(tx, digest, &oid, NULL), 0);
	assert_int_equal(store_version(tx, oid, &v, NULL), 0);
	store_end_read(tx);
	return v.hidden;
}

/* The two whose bytes came when they were withdrawn are listed, once each. */
static void
expect_returned(struct pair *p)
{
	struct buf out = BUF_INIT;
	char uid[65];
	uint64_t n;
	unsigned i;

	assert_int_equal(returns_count(&p->central, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(returns_text(&p->central, &out, NULL), 0);
	buf_put_u8(&out, 0);
	assert_non_null(strstr((char *)out.data, " came again from site north, 1 times, last "));
	for (i = 0; i < 4; i++) {
		gen_uid(uid, 1, 1, 1 + i);
		assert_true(!strstr((char *)out.data, uid) == (i > 1));
	}
	buf_fini(&out);
}

/* Withdrawn before it was announced, before its bytes came, after both; and after a rebuild. */
static void
adopt__R15_a_withdrawn_image_is_taken_receipted_and_never_shown(void **state)
{
	unsigned char digest[SHA256_SIZE];
	struct err e = ERR_INIT;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	digest_of(&p, 0, digest);
	assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
	send(&p, 0, 2, false);
	digest_of(&p, 1, digest);
	assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
	send(&p, 2, 2, true); /* all of it comes: settled means receipted */
	digest_of(&p, 2, digest);
	assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
	for (i = 0; i < 4; i++)
		assert_true(pair_central_has(&p, i));
	for (i = 0; i < 4; i++)
		assert_int_equal(hidden(&p, i) & VERSION_WITHDRAWN, i < 3 ? VERSION_WITHDRAWN : 0);
	expect(&p, "north", 1, 0, 0, 3);
	expect_returned(&p);
	pair_close_central(&p);
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	p.central_open = true;
	for (i = 0; i < 4; i++)
		assert_int_equal(hidden(&p, i) & VERSION_WITHDRAWN, i < 3 ? VERSION_WITHDRAWN : 0);
	expect(&p, "north", 1, 0, 0, 3);
	expect_returned(&p);
	pair_fini(&p);
}

static bool
all_zero(const unsigned char *p, uint64_t n)
{
	while (n && !*p) {
		p++;
		n--;
	}
	return n == 0;
}

static struct version
at_central(struct pair *p, unsigned number)
{
	unsigned char digest[SHA256_SIZE];
	struct store_tx *tx;
	struct version v;
	uint64_t oid;

	digest_of(p, number, digest);
	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(store_by_digest(tx, digest, &oid, NULL), 0);
	assert_int_equal(store_version(tx, oid, &v, NULL), 0);
	store_end_read(tx);
	return v;
}

/* GET /packs/<id>, Range: from within an image of the pack on. */
static void
packs__R15_give_no_bytes_of_withdrawn_images(void **state)
{
	struct http_request rq = {.method = "GET", .path = "/sync/v1/packs/", .ranged = true};
	struct http_answer out = {.status = 200, .body = BUF_INIT};
	unsigned char digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	struct version one, two, three;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 4, true);
	one = at_central(&p, 1);
	two = at_central(&p, 2);
	three = at_central(&p, 3);
	assert_memory_equal(one.pack, three.pack, sizeof(one.pack));
	assert_true(one.offset < two.offset && two.offset < three.offset);
	digest_of(&p, 2, digest);
	assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
	hex_of(one.pack, SHA256_SIZE, hex);
	rq.rest = hex;
	strcpy(rq.site, "north");
	rq.range_first = one.offset;
	rq.range_n = three.offset + three.size - one.offset;
	assert_int_equal(refill_pack(&p.central, &rq, &out, NULL), 0);
	assert_int_equal(out.status, 206);
	assert_int_equal(out.body.len, rq.range_n);
	sha256_of(out.body.data, one.size, digest);
	assert_memory_equal(digest, one.digest, sizeof(digest));
	assert_true(all_zero(out.body.data + (two.offset - one.offset), two.size));
	sha256_of(out.body.data + (three.offset - one.offset), three.size, digest);
	assert_memory_equal(digest, three.digest, sizeof(digest));
	buf_clear(&out.body);
	rq.range_first = two.offset + 100; /* within it, from its middle to its middle */
	rq.range_n = 200;
	assert_int_equal(refill_pack(&p.central, &rq, &out, NULL), 0);
	assert_int_equal(out.body.len, 200);
	assert_true(all_zero(out.body.data, 200));
	buf_fini(&out.body);
	pair_fini(&p);
}

static int
forget_pack(struct store_tx *tx, void *arg, struct err *e)
{
	return pack_row_del(tx, arg, e);
}

/* A death between a pack's name and the catalogue: it is taken at the start, and told of. */
static void
reconcile__R15_a_withdrawn_image_in_a_found_pack_is_listed_once(void **state)
{
	unsigned char digest[SHA256_SIZE];
	struct version v;
	struct pair p;
	uint64_t n;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 2, true);
	v = at_central(&p, 0);
	digest_of(&p, 0, digest);
	assert_int_equal(record_withdraw(&p.central, digest, 1, "test", NULL), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(returns_count(&p.central, &n, NULL), 0);
		assert_int_equal(n, i);
		assert_int_equal(store_commit(p.central.store, forget_pack, v.pack, NULL), 0);
		pair_close_central(&p);
		pair_open_central(&p);
	}
	assert_true(at_central(&p, 0).hidden & VERSION_WITHDRAWN);
	assert_int_equal(returns_count(&p.central, &n, NULL), 0);
	assert_int_equal(n, 1);
	pair_fini(&p);
}

static void
hello__R18_a_lost_site_that_calls_again_is_not_lost(void **state)
{
	struct err e = ERR_INIT;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 2, true);
	send(&p, 2, 2, false);
	site_lost(&p, "north");
	expect(&p, "north", 2, 0, 2, 0);
	p.cut_method = "PATCH";
	clock_manual_advance(&p.clock, 16000);
	pair_turn(&p);
	pair_turn(&p);
	p.cut_method = NULL;
	expect(&p, "north", 2, 2, 0, 0); /* it has them still */
	assert_true(sites_say(&p, "north: called again at "));
	pair_close_central(&p); /* R16: the log tells it as well */
	if (central_open(&p.central, p.central_conf, CENTRAL_REBUILD, &e))
		fail_msg("%s", e.what);
	central_close(&p.central);
	p.central_open = false;
	pair_open_central(&p);
	expect(&p, "north", 2, 2, 0, 0);
	assert_true(sites_say(&p, "north: called again at "));
	assert_true(pair_settle(&p, TURNS));
	expect(&p, "north", 4, 0, 0, 0);
	pair_fini(&p);
}

static void
expect_exposed(struct pair *p, const char *site, uint64_t instances, uint64_t bytes,
	       uint64_t least_seconds)
{
	const struct exposure *x = NULL;
	struct store_tx *tx;
	struct tally t;
	size_t i;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	store_end_read(tx);
	for (i = 0; i < t.n && !x; i++)
		if (strcmp(t.rows[i].site.site, site) == 0)
			x = &t.rows[i].site_exposure;
	assert_non_null(x);
	assert_int_equal(x->instances, instances);
	assert_int_equal(x->bytes, bytes);
	assert_true(x->oldest_seconds >= least_seconds);
	tally_free(&t);
}

static uint64_t
size_of(struct pair *p, unsigned number)
{
	struct buf file = BUF_INIT;
	uint64_t n;

	pair_image(p, &file, number);
	n = file.len;
	buf_fini(&file);
	return n;
}

struct word {
	struct pair *p;
	uint64_t seq;
	bool has;
};

static int
put_word(struct store_tx *tx, void *arg, struct err *e)
{
	const struct word *w = arg;
	unsigned char digest[SHA256_SIZE];
	struct buf file = BUF_INIT;

	pair_image(w->p, &file, 2);
	sha256_of(file.data, file.len, digest);
	buf_fini(&file);
	return claim_put(tx, digest, &w->p->edge.incarnation, w->seq, w->has, e);
}

/* The edge that is open says that it has image 2, or no more. */
static void
say_of_2(struct pair *p, uint64_t seq, bool has)
{
	struct word w = {p, seq, has};

	assert_int_equal(store_commit(p->central.store, put_word, &w, NULL), 0);
}

/* If this building burnt now: what is owed, and no other live site has. */
static void
sites__R18_exposure_is_what_exists_in_one_building_only(void **state)
{
	struct pair p;
	uint64_t size;

	(void)state;
	pair_init(&p, "64MiB");
	size = size_of(&p, 2);
	send(&p, 0, 2, true);
	expect_exposed(&p, "north", 0, 0, 0);
	assert_true(sites_say(&p, "north: if this building burnt now: 0 images, 0 bytes\n"));
	send(&p, 2, 3, false); /* 2, 3, 4: announced, not sent */
	store_time_reach(p.central.store, store_time(p.central.store) + 90000);
	expect_exposed(&p, "north", 3, size + size_of(&p, 3) + size_of(&p, 4), 90);
	assert_true(sites_say(&p, "north: lags by 3 images, "));
	assert_true(sites_say(&p, "north: if this building burnt now: 3 images, "));
	assert_true(sites_say(&p, ", oldest 00:01:"));
	/* A new edge of north, in the same building, has one of them as well. */
	pair_close_edge(&p);
	pair_burn_edge(&p);
	pair_site(&p, "north");
	send(&p, 2, 1, false);
	expect_exposed(&p, "north", 1, size, 0);
	/* Another building has it, too; and then it alone. */
	pair_site(&p, "south");
	send(&p, 2, 1, false);
	expect_exposed(&p, "north", 0, 0, 0);
	expect_exposed(&p, "south", 0, 0, 0);
	say_of_2(&p, 1000, false); /* it had it */
	expect_exposed(&p, "north", 1, size, 0);
	expect_exposed(&p, "south", 0, 0, 0);
	say_of_2(&p, 1001, true);
	expect_exposed(&p, "north", 0, 0, 0);
	site_lost(&p, "north");
	expect_exposed(&p, "south", 1, size, 0);
	expect_exposed(&p, "north", 0, 0, 0);
	assert_true(pair_settle(&p, TURNS));
	expect_exposed(&p, "south", 0, 0, 0);
	pair_fini(&p);
}

static void
hello__R18_what_a_successor_closed_stays_closed(void **state)
{
	static const char older[] = "mv %s/edge %s/older", back[] = "mv %s/older %s/edge";
	char command[256];
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	send(&p, 0, 1, false);
	pair_close_edge(&p);
	(void)snprintf(command, sizeof(command), older, p.dir, p.dir);
	assert_int_equal(system(command), 0);
	pair_open_edge(&p); /* a new disk */
	send(&p, 1, 1, true);
	expect(&p, "north", 1, 0, 1, 0);
	pair_burn_edge(&p);
	(void)snprintf(command, sizeof(command), back, p.dir, p.dir);
	assert_int_equal(system(command), 0);
	pair_open_edge(&p);
	p.cut_method = "PATCH";
	pair_turn(&p);
	pair_turn(&p);
	expect(&p, "north", 1, 0, 1, 0);
	assert_false(sites_say(&p, "called again"));
	site_lost(&p, "north"); /* the successor burnt: the older disk is what there is */
	clock_manual_advance(&p.clock, 16000);
	for (i = 0; i < 8; i++)
		pair_turn(&p);
	expect(&p, "north", 1, 1, 0, 0);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packs__R15_give_no_bytes_of_withdrawn_images),
		cmocka_unit_test(reconcile__R15_a_withdrawn_image_in_a_found_pack_is_listed_once),
		cmocka_unit_test(hello__R18_a_lost_site_that_calls_again_is_not_lost),
		cmocka_unit_test(sites__R18_exposure_is_what_exists_in_one_building_only),
		cmocka_unit_test(hello__R18_what_a_successor_closed_stays_closed),
		cmocka_unit_test(loss__R18_counts_distinct_images_over_all_sites_and_incarnations),
		cmocka_unit_test(
			loss__R6_R18_one_line_per_study_for_people_and_one_per_image_on_demand),
		cmocka_unit_test(adopt__R15_a_withdrawn_image_is_taken_receipted_and_never_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
