/* Packs on their way in, one request at a time, straight into central (R4, R14, R15). */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/intake.h"
#include "central/record.h"
#include "central/release.h"
#include "central/upload.h"
#include "central/verify.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/http/server.h"
#include "common/kv/kv.h"
#include "common/os/ctl.h"
#include "common/os/file.h"
#include "common/store/private.h"
#include "common/store/store.h"
#include "edge/damage.h"
#include "proto/frame.h"
#include "proto/pack.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/other.h"
#include "tests/lib/pair.h"

enum { TURNS = 400 };

#define DAY_MS INT64_C(86400000)

static unsigned
packs(struct pair *p)
{
	struct store_tx *tx;
	uint64_t n;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(pack_row_count(tx, &n, NULL), 0);
	store_end_read(tx);
	return (unsigned)n;
}

static int
count_it(void *arg, const char *name, struct err *e)
{
	(void)name;
	(void)e;
	++*(unsigned *)arg;
	return 0;
}

/* Files of unfinished uploads. */
static unsigned
unfinished(struct pair *p)
{
	char path[200];
	unsigned n = 0;

	(void)snprintf(path, sizeof(path), "%s/central/vault/tmp", p->dir);
	assert_int_equal(file_list(path, count_it, &n, NULL), 0);
	return n;
}

static void
upload__R14_the_offset_never_decreases(void **state)
{
	struct upload_result r;
	struct other o;
	struct pair p;
	uint64_t half;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 3);
	other_make(&o, &p, 0, 3, NULL, "other");
	half = pack_size(o.pack) / 2;
	assert_int_equal(other_send(&o, true, 0, half, 700, &r), 0);
	assert_int_equal(r.offset, half);
	/* Read faults while a restarted central takes it up: 500, and nothing begins anew. */
	for (i = 1; i < 4; i++) {
		pair_close_central(&p);
		pair_open_central(&p);
		fault_arm_named("file.read", i, FAULT_ERRNO, EIO);
		(void)other_send(&o, true, half, half, 1, &r);
		upload_result_fini(&r);
		(void)fault_disarm();
		assert_int_equal(other_send(&o, true, half, half, 1, &r), 0);
		assert_int_equal(r.offset, half);
	}
	/* Parts that are here already, one that leaves a gap, the rest. */
	assert_int_equal(other_send(&o, false, half - 100, half + 10, 64, &r), 0);
	assert_int_equal(r.offset, half + 10);
	assert_int_equal(other_send(&o, false, half + 11, half + 20, 64, &r), 0);
	assert_true(r.misplaced);
	assert_int_equal(r.offset, half + 10);
	assert_int_equal(other_send(&o, false, half + 10, pack_size(o.pack), 999, &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	for (i = 0; i < 3; i++)
		assert_true(pair_central_has(&p, i));
	assert_int_equal(unfinished(&p), 0);
	other_fini(&o);
	pair_fini(&p);
}

/* --- HEAD --- */

static int
head(struct pair *p, const char *site, const char *rest, struct http_answer *out)
{
	struct http_request rq = {.rest = rest};
	const struct http_route *routes;
	struct id128 epoch;
	struct err e = ERR_INIT;
	size_t i, n;

	memset(out, 0, sizeof(*out));
	routes = intake_routes(&n);
	(void)snprintf(rq.site, sizeof(rq.site), "%s", site);
	central_epoch(&p->central, &epoch);
	hex_of(epoch.b, sizeof(epoch.b), rq.epoch);
	for (i = 0; i < n; i++)
		if (strcmp(routes[i].method, "HEAD") == 0)
			return routes[i].handle(&p->central, &rq, out, &e);
	return -1;
}

static void
upload__R14_one_HEAD_names_up_to_64_packs_and_tells_their_maker_only(void **state)
{
	char list[66 * 65 + 1] = "", hex[2 * SHA256_SIZE + 1], id[2 * SHA256_SIZE + 1];
	struct upload_result r;
	struct http_answer a;
	struct other o, whole;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 2);
	other_make(&o, &p, 0, 1, NULL, "a");
	other_make(&whole, &p, 1, 1, NULL, "b");
	assert_int_equal(other_send(&o, true, 0, 600, 600, &r), 0);
	assert_int_equal(other_send(&whole, true, 0, pack_size(whole.pack), 1 << 20, &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	hex_of(o.id, SHA256_SIZE, hex);
	hex_of(whole.id, SHA256_SIZE, id);
	(void)snprintf(list, sizeof(list), "%s,%064d,%s", hex, 0, id);
	assert_int_equal(head(&p, "north", list, &a), 0);
	assert_string_equal(a.name[1], "Salamander-Offsets");
	assert_string_equal(a.value[1], "600,-,=");
	/* After a restart the prefix is hashed from the file; the answer is the same. */
	pair_close_central(&p);
	pair_open_central(&p);
	assert_int_equal(head(&p, "north", list, &a), 0);
	assert_string_equal(a.value[1], "600,-,=");
	assert_int_equal(head(&p, "south", list, &a), 0);
	assert_string_equal(a.value[1], "-,-,-");
	for (i = 0; i < 64; i++)
		(void)snprintf(list + i * 65, sizeof(list) - i * 65, "%064u%s", i,
			       i < 63 ? "," : "");
	assert_int_equal(head(&p, "north", list, &a), 0);
	assert_int_equal(strlen(a.value[1]), 127);
	(void)snprintf(list + 64 * 65 - 1, sizeof(list) - 64 * 65, ",%064u", 64u);
	assert_int_equal(head(&p, "north", list, &a), ERR_PEER);
	assert_int_equal(head(&p, "north", "abc", &a), ERR_PEER);
	/* Nor may another site go on with it, or drop it. */
	buf_clear(&o.manifest);
	assert_int_equal(upload_drop(&p.central, "south", o.id, NULL), ERR_CONFLICT);
	assert_int_equal(upload_patch(&p.central, "south", o.id, "\0\0\0\0", 4, &r, NULL),
			 ERR_CONFLICT);
	assert_int_equal(upload_drop(&p.central, "north", o.id, NULL), 0);
	assert_int_equal(unfinished(&p), 0);
	other_fini(&o);
	other_fini(&whole);
	pair_fini(&p);
}

/* --- known bytes --- */

static void
adopt__R4_a_pack_with_nothing_new_is_dropped_and_receipted(void **state)
{
	struct upload_result r;
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 2);
	other_make(&o, &p, 0, 2, NULL, "other");
	assert_int_equal(other_send(&o, true, 0, 700, 700, &r),
			 0); /* begun before the other came */
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(packs(&p), 1);
	assert_int_equal(other_send(&o, false, 700, pack_size(o.pack), 1 << 20, &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	assert_int_equal(packs(&p), 1);
	assert_int_equal(unfinished(&p), 0);
	/* Begun when all is here: the receipt at once, for no byte. */
	assert_int_equal(other_send(&o, true, 0, 0, 1, &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	other_fini(&o);
	pair_fini(&p);
}

/* The copy here rots, and was not read for longer than it is trusted: the new bytes count. */
static void
adopt__R4_bytes_just_checked_replace_a_copy_that_was_not(void **state)
{
	struct upload_result r;
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	other_make(&o, &p, 0, 1, NULL, "other");
	pair_spoil(&p, 0);
	assert_false(pair_central_has(&p, 0));
	clock_manual_advance(&p.clock, 31 * DAY_MS);
	assert_int_equal(other_send(&o, true, 0, pack_size(o.pack), 1 << 20, &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	assert_true(pair_central_has(&p, 0));
	/* R28: a check "in the future" is no reason to trust a copy either. */
	other_fini(&o);
	other_make(&o, &p, 0, 1, NULL, "third");
	pair_spoil(&p, 0);
	clock_manual_advance(&p.clock, -5 * DAY_MS);
	assert_int_equal(other_send(&o, true, 0, pack_size(o.pack), 1 << 20, &r), 0);
	upload_result_fini(&r);
	assert_true(pair_central_has(&p, 0));
	other_fini(&o);
	pair_fini(&p);
}

static void
version_at_central(struct other *o, struct version *v)
{
	struct store_tx *tx;
	uint64_t oid;

	assert_int_equal(store_begin_read(&tx, o->p->central.store, NULL), 0);
	assert_int_equal(store_by_digest(tx, pack_member(o->pack, 0)->digest, &oid, NULL), 0);
	assert_int_equal(store_version(tx, oid, v, NULL), 0);
	store_end_read(tx);
}

/* Who looked at the old copy says nothing of the new one, however late. */
static void
release_damaged__R19_a_copy_that_was_replaced_meanwhile_stays_held(void **state)
{
	struct version seen, now;
	struct upload_result r;
	uint64_t losses;
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_settle(&p, TURNS));
	other_make(&o, &p, 0, 1, NULL, "other");
	version_at_central(&o, &seen);
	clock_manual_advance(&p.clock, 31 * DAY_MS);
	assert_int_equal(other_send(&o, true, 0, pack_size(o.pack), 1 << 20, &r), 0);
	upload_result_fini(&r);
	losses = central_losses(&p.central);
	assert_int_equal(release_damaged(&p.central, &seen, NULL), 0);
	version_at_central(&o, &now);
	assert_int_equal(now.state, VERSION_HERE);
	assert_int_equal(central_losses(&p.central), losses);
	assert_int_equal(release_damaged(&p.central, &now, NULL), 0);
	version_at_central(&o, &now);
	assert_int_equal(now.state, VERSION_DAMAGED);
	assert_int_equal(central_losses(&p.central), losses + 1);
	other_fini(&o);
	pair_fini(&p);
}

static void
reconcile__R14_uploads_that_nobody_will_finish_are_swept_at_the_start(void **state)
{
	struct upload_result r;
	struct other o, going;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 2);
	other_make(&o, &p, 0, 1, NULL, "other"); /* its DELETE will be lost */
	assert_int_equal(other_send(&o, true, 0, 600, 600, &r), 0);
	assert_true(pair_settle(&p, TURNS));
	other_announce(&p, 4, 1);
	other_make(&going, &p, 4, 1, NULL, "going");
	assert_int_equal(other_send(&going, true, 0, 600, 600, &r), 0);
	assert_int_equal(unfinished(&p), 4);
	pair_close_central(&p);
	pair_open_central(&p);
	assert_int_equal(unfinished(&p), 2);
	assert_int_equal(other_send(&going, false, 600, 700, 600, &r), 0);
	assert_int_equal(r.offset, 700);
	other_fini(&o);
	other_fini(&going);
	pair_fini(&p);
}

static void
upload__R4_what_is_answered_without_its_bytes_leaves_no_file(void **state)
{
	struct upload_result r;
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 2);
	other_make(&o, &p, 0, 1, NULL, "other");
	assert_int_equal(other_send(&o, true, 0, 600, 600, &r), 0);
	assert_true(pair_settle(&p, TURNS)); /* all of it in another pack */
	assert_int_equal(unfinished(&p), 2);
	uploads_free(p.central.uploads); /* as after an error: it is not open */
	assert_int_equal(uploads_new(&p.central.uploads, NULL), 0);
	assert_int_equal(other_send(&o, true, 600, 700, 600, &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	assert_int_equal(unfinished(&p), 0);
	other_fini(&o);
	pair_fini(&p);
}

static int
spoil_first(struct store_tx *tx, void *arg, struct err *e)
{
	unsigned char key[12] = {0};

	buf_set_be64(key, *(uint64_t *)arg);
	return kv_put(tx->txn, T_CHUNK, kv_slice(key, 12), kv_slice("rotten", 6), e);
}

static void
reconcile__R14_uploads_whose_maker_has_them_no_more_are_swept(void **state)
{
	struct upload_result r;
	struct other lost, damaged;
	struct store_tx *tx;
	struct version v;
	struct pair p;
	uint64_t oid;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 1);
	other_make(&damaged, &p, 0, 1, NULL, "damaged");
	assert_int_equal(other_send(&damaged, true, 0, 600, 600, &r), 0);
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(store_by_digest(tx, pack_member(damaged.pack, 0)->digest, &oid, NULL), 0);
	assert_int_equal(store_version(tx, oid, &v, NULL), 0);
	store_end_read(tx);
	assert_int_equal(store_commit(p.edge.store, spoil_first, &v.bytes, NULL), 0);
	damage_found(&p.edge, oid);
	assert_true(pair_settle(&p, TURNS));
	other_announce(&p, 4, 1);
	other_make(&lost, &p, 4, 1, NULL, "lost");
	assert_int_equal(other_send(&lost, true, 0, 600, 600, &r), 0);
	assert_int_equal(unfinished(&p), 4);
	pair_close_central(&p);
	pair_open_central(&p);
	assert_int_equal(unfinished(&p), 2); /* what the edge has may still come */
	assert_int_equal(record_decision(&p.central, SYNC__DECISION_KIND__DECISION_CLOSE, "north",
					 NULL, "site lost", NULL),
			 0);
	pair_close_central(&p);
	pair_open_central(&p);
	assert_int_equal(unfinished(&p), 0);
	other_fini(&lost);
	other_fini(&damaged);
	pair_fini(&p);
}

/* R14: 422 names the seqs whose bytes are wrong; nothing of the pack is adopted. */
static void
upload__R14_bad_members_are_named_and_nothing_is_adopted(void **state)
{
	struct upload_result r;
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 3);
	other_make(&o, &p, 0, 3, NULL, "other");
	o.images[1].data[o.images[1].len - 5] ^= 1;
	assert_int_equal(other_send(&o, true, 0, pack_size(o.pack), 1 << 20, &r), 0);
	assert_int_equal(r.n_bad, 1);
	assert_int_equal(r.bad[0], pack_member(o.pack, 1)->seq);
	assert_int_equal(r.receipt.len, 0);
	upload_result_fini(&r);
	assert_int_equal(packs(&p), 0);
	assert_false(pair_central_has(&p, 0));
	other_fini(&o);
	pair_fini(&p);
}

/* R5, R7: a member's seq must have announced just these bytes. */
static void
upload__R7_members_that_were_not_announced_are_not_taken(void **state)
{
	static const uint64_t seqs[] = {1};
	struct upload_result r;
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 1);
	other_make(&o, &p, 0, 1, seqs, "other");
	assert_int_equal(other_send(&o, true, 0, 600, 600, &r), ERR_CONFLICT);
	other_fini(&o);
	pair_fini(&p);
}

/* --- R12: log, ledger and catalogue have room when bytes have none --- */

static bool disk_full; /* of central: 2 % are free */

/* Instead of libc's: no disk need be filled. */
int
statvfs(const char *path, struct statvfs *out)
{
	int fd = open(path, O_RDONLY), rc = fstatvfs(fd, out);

	(void)close(fd);
	if (!rc && disk_full && strstr(path, "/central"))
		out->f_bavail = out->f_blocks / 100 * 2;
	return rc;
}

static uint64_t
announced(struct pair *p)
{
	struct contact c;

	edge_contact(&p->edge, &c);
	return c.announced;
}

/* The pack is refused; what the edge takes in is announced all the same: log, ledger, catalogue. */
static void
stops_bytes_alone(struct pair *p, struct other *o, unsigned next)
{
	uint64_t before = announced(p);
	struct upload_result r;

	memset(&r, 0, sizeof(r));
	assert_int_equal(other_send(o, true, 0, pack_size(o->pack), 700, &r), ERR_FULL);
	upload_result_fini(&r);
	other_announce(p, next, 1);
	assert_true(announced(p) > before);
}

static void
is_taken(struct pair *p, struct other *o)
{
	struct upload_result r;

	assert_int_equal(other_send(o, true, 0, pack_size(o->pack), 700, &r), 0);
	assert_true(r.receipt.len > 0);
	upload_result_fini(&r);
	assert_true(pair_central_has(p, o->first));
}

static void
upload__R12_a_disk_at_97_percent_stops_bytes_alone(void **state)
{
	struct other o;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 1);
	other_make(&o, &p, 0, 1, NULL, "other");
	disk_full = true;
	stops_bytes_alone(&p, &o, 1);
	disk_full = false;
	is_taken(&p, &o);
	other_fini(&o);
	pair_fini(&p);
}

/* Rows of 1 MiB that nobody looks at. */
struct filling {
	uint64_t rows;
	bool remove;
};

static int
fill_one(struct store_tx *tx, void *arg, struct err *e)
{
	const struct filling *f = arg;
	unsigned table = store_table(store_tx_store(tx), "chunk");
	unsigned char key[16] = "nobody's";
	void *room;

	buf_set_be64(key + 8, f->rows);
	return f->remove ? kv_del(store_tx_kv(tx), table, kv_slice(key, 16), e)
			 : kv_reserve(store_tx_kv(tx), table, kv_slice(key, 16), 1 << 20, &room, e);
}

static void
upload__R12_a_catalogue_at_97_percent_stops_bytes_alone(void **state)
{
	struct filling f = {0, false};
	struct store_space space;
	struct buf conf = BUF_INIT;
	struct other o;
	struct pair p;

	(void)state;
	pair_prepare(&p, "64MiB");
	buf_printf(&conf, "[data]\ndir = %s/central\ncatalogue = 64MiB\n[log]\nlevel = error\n",
		   p.dir);
	assert_int_equal(file_replace(p.dir, "central.conf", conf.data, conf.len, NULL), 0);
	buf_fini(&conf);
	pair_open_central(&p);
	pair_open_edge(&p);
	other_announce(&p, 0, 1);
	other_make(&o, &p, 0, 1, NULL, "other");
	do {
		f.rows++;
		assert_int_equal(store_commit(p.central.store, fill_one, &f, NULL), 0);
		store_space(p.central.store, &space);
	} while (space.used <= space.map / 100 * 97);
	stops_bytes_alone(&p, &o, 1);
	for (f.remove = true; f.rows > 0; f.rows--)
		assert_int_equal(store_commit(p.central.store, fill_one, &f, NULL), 0);
	is_taken(&p, &o);
	other_fini(&o);
	pair_fini(&p);
}

static int
quiet(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct verify_result *out = (struct verify_result *)(void *)(uintptr_t)words[0];

	(void)n;
	return verify_all(node, r, false, out, NULL);
}

/* The archive has a second copy, in a pack that is looked at before the damaged one is. */
static void
verify__R19_a_copy_in_another_pack_counts_at_once(void **state)
{
	struct upload_result r;
	struct verify_result v;
	struct other first, second;
	const char *words[1];
	char side[2] = "a";
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	other_announce(&p, 0, 2);
	other_make(&first, &p, 0, 1, NULL, "first");
	other_make(&second, &p, 0, 2, NULL, side);
	while (memcmp(second.id, first.id, SHA256_SIZE) > 0) {
		other_fini(&second);
		side[0]++;
		other_make(&second, &p, 0, 2, NULL, side);
	}
	assert_int_equal(other_send(&first, true, 0, pack_size(first.pack), 1 << 20, &r), 0);
	upload_result_fini(&r);
	assert_int_equal(other_send(&second, true, 0, pack_size(second.pack), 1 << 20, &r), 0);
	upload_result_fini(&r);
	assert_int_equal(packs(&p), 2);
	pair_spoil(&p, 0);
	words[0] = (const char *)(void *)&v;
	assert_int_equal(ctl_local(quiet, &p.central, 1, words), 0);
	assert_int_equal(v.damaged, 1);
	assert_int_equal(v.healed, 1);
	assert_true(pair_central_has(&p, 0));
	other_fini(&first);
	other_fini(&second);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(upload__R4_what_is_answered_without_its_bytes_leaves_no_file),
		cmocka_unit_test(reconcile__R14_uploads_whose_maker_has_them_no_more_are_swept),
		cmocka_unit_test(upload__R14_the_offset_never_decreases),
		cmocka_unit_test(
			upload__R14_one_HEAD_names_up_to_64_packs_and_tells_their_maker_only),
		cmocka_unit_test(adopt__R4_a_pack_with_nothing_new_is_dropped_and_receipted),
		cmocka_unit_test(adopt__R4_bytes_just_checked_replace_a_copy_that_was_not),
		cmocka_unit_test(
			reconcile__R14_uploads_that_nobody_will_finish_are_swept_at_the_start),
		cmocka_unit_test(upload__R14_bad_members_are_named_and_nothing_is_adopted),
		cmocka_unit_test(upload__R7_members_that_were_not_announced_are_not_taken),
		cmocka_unit_test(upload__R12_a_disk_at_97_percent_stops_bytes_alone),
		cmocka_unit_test(upload__R12_a_catalogue_at_97_percent_stops_bytes_alone),
		cmocka_unit_test(
			release_damaged__R19_a_copy_that_was_replaced_meanwhile_stays_held),
		cmocka_unit_test(verify__R19_a_copy_in_another_pack_counts_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
