/* Incarnations without end: what a disk that is set back again and again may cost central (R8). */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/central_commands.h"
#include "central/clog.h"
#include "central/figures.h"
#include "central/record.h"
#include "central/recount.h"
#include "central/sites.h"
#include "central/upload.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/caller.h"
#include "tests/lib/pair.h"

enum { LIVES_A_DAY = 100, DAY_MS = 86400000, CHAIN = 40, PIECES = 3 * SITE_TURN + 7, SHARED = 400 };

static int
hello_as(struct pair *p, const char *site, unsigned char number)
{
	Sync__HelloRequest m = SYNC__HELLO_REQUEST__INIT;
	struct id128 incarnation = {{9, number}};
	struct buf body = BUF_INIT;
	uint32_t versions[] = {2};
	struct caller k;
	int status;

	caller_init(&k, &p->central, site);
	m.versions = versions;
	m.n_versions = 1;
	m.site = message_text(site);
	m.incarnation = message_bytes(incarnation.b, ID128_SIZE);
	message_pack(&body, &m.base);
	status = caller_ask(&k, "POST", "/sync/v1/hello", &body);
	buf_fini(&body);
	caller_fini(&k);
	return status;
}

static void
hello__R8_a_site_has_a_hundred_new_lives_a_day_and_the_old_ones_go_on(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	for (i = 0; i < LIVES_A_DAY; i++)
		assert_int_equal(hello_as(&p, "west", (unsigned char)i), 200);
	assert_int_equal(hello_as(&p, "west", LIVES_A_DAY), 503);
	assert_int_equal(hello_as(&p, "west", LIVES_A_DAY - 1), 200); /* the last one */
	assert_int_equal(hello_as(&p, "west", 0), 200);		      /* and any other */
	assert_int_equal(hello_as(&p, "east", 200), 200);
	atomic_fetch_add(&p.clock.wall, DAY_MS);
	assert_int_equal(hello_as(&p, "west", LIVES_A_DAY), 200);
	pair_fini(&p);
}

/* As the first hello of one that branched off `from` where that stands. */
static void
branch_off(struct pair *p, const char *site, const struct id128 *from, const struct id128 *to)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	struct site_row row;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(site_get(tx, from, &row, NULL), 0);
	store_end_read(tx);
	d.kind = SYNC__DECISION_KIND__DECISION_OPEN;
	d.site = message_text(site);
	d.incarnation = message_bytes(to->b, ID128_SIZE);
	d.previous_incarnation = message_bytes(from->b, ID128_SIZE);
	d.last_common_seq = row.head.seq;
	d.last_common_hash = message_bytes(row.head.hash, SHA256_SIZE);
	assert_int_equal(record_decide(&p->central, &d, NULL), 0);
}

/* One behind the other; what the first announced is the word of each, and of the last alone. */
static void
figures__R8_R18_a_long_line_of_lives_is_counted_right(void **state)
{
	struct id128 from, to = {{7}};
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(pair_send(&p, 0), 0);
	assert_int_equal(pair_send(&p, 1), 0);
	p.cut_method = "PATCH"; /* announced, and owed */
	for (i = 0; i < 12; i++)
		pair_turn(&p);
	edge_incarnation(&p.edge, &from);
	for (i = 0; i < CHAIN; i++) {
		to.b[1] = (unsigned char)i;
		branch_off(&p, "north", &from, &to);
		from = to;
	}
	pair_check_figures(&p);
	pair_fini(&p);
}

static struct site_row
life(struct pair *p, unsigned char number)
{
	struct id128 incarnation = {{9, number}};
	struct store_tx *tx;
	struct site_row row;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(site_get(tx, &incarnation, &row, NULL), 0);
	store_end_read(tx);
	return row;
}

static void
decide(struct pair *p, Sync__DecisionKind kind, unsigned char number)
{
	struct id128 incarnation = {{9, number}};

	assert_int_equal(record_decision(&p->central, (int)kind, "west",
					 number ? &incarnation : NULL, "a test", NULL),
			 0);
}

/* Of an image that another site has as well: each SHARED-th is one of north's; else of one by its
 * number alone. */
static void
digest_of(const struct pair *p, uint64_t seq, unsigned char digest[SHA256_SIZE])
{
	struct buf file = BUF_INIT;

	sha256_of(&seq, sizeof(seq), digest);
	if (seq % SHARED == 0) {
		pair_image(p, &file, (unsigned)(seq / SHARED) - 1);
		sha256_of(file.data, file.len, digest);
	}
	buf_fini(&file);
}

/* One batch of a ledger: images whose bytes central does not have. */
static void
announce(struct pair *p, const struct id128 *incarnation, uint64_t first, unsigned n)
{
	ProtobufCBinaryData list[PIECES];
	Sync__LogLedger m = SYNC__LOG_LEDGER__INIT;
	struct buf bytes = BUF_INIT, payload = BUF_INIT;
	size_t ends[PIECES];
	unsigned i;

	for (i = 0; i < n; i++) {
		Sync__LedgerEntry e = SYNC__LEDGER_ENTRY__INIT;
		unsigned char digest[SHA256_SIZE];
		uint64_t seq = first + i;
		char uid[40];

		(void)snprintf(uid, sizeof(uid), "1.2.3.%llu", (unsigned long long)seq);
		digest_of(p, seq, digest);
		e.kind = SYNC__LEDGER_KIND__LEDGER_INSTANCE;
		e.study = message_text("1.2.3");
		e.series = message_text("1.2.3.0");
		e.sop_instance = message_text(uid);
		e.sop_class = message_text("1.2.840.10008.5.1.4.1.1.2");
		e.syntax = message_text("1.2.840.10008.1.2.1");
		e.digest = message_bytes(digest, SHA256_SIZE);
		e.size = 1000;
		message_pack(&bytes, &e.base);
		ends[i] = bytes.len;
	}
	for (i = 0; i < n; i++)
		list[i] = message_bytes(bytes.data + (i ? ends[i - 1] : 0),
					ends[i] - (i ? ends[i - 1] : 0));
	m.incarnation = message_bytes(incarnation->b, ID128_SIZE);
	m.first = first;
	m.entries = list;
	m.n_entries = n;
	message_pack(&payload, &m.base);
	assert_int_equal(record_write(&p->central, CLOG_LEDGER, &payload, NULL), 0);
	buf_fini(&payload);
	buf_fini(&bytes);
}

static struct figure
all(struct pair *p)
{
	struct store_tx *tx;
	struct figure f;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(figures_of_site(tx, "", &f, NULL), 0);
	store_end_read(tx);
	return f;
}

static struct recount counted;

static int
recount(void *node, size_t n, const char *const *words, struct ctl_reply *r)
{
	(void)n;
	(void)words;
	return recount_figures(node, r, 100, &counted, NULL);
}

/* Whatever is done: as many, and as a count from scratch has them. */
static void
check_all(struct pair *p, uint64_t known)
{
	struct figure f = all(p);

	assert_int_equal(f.known, known);
	assert_int_equal(f.of[TALLY_OWED] + f.of[TALLY_LOST], known);
	assert_int_equal(ctl_local(recount, &p->central, 0, NULL), 0);
	assert_int_equal(counted.figures + counted.listed, 0);
}

/* Decided and logged; its figures follow with `piece`. */
static void
begin_to_close(struct pair *p, const char *site)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;

	d.kind = SYNC__DECISION_KIND__DECISION_CLOSE;
	d.site = message_text(site);
	(void)pthread_mutex_lock(&p->central.order);
	assert_int_equal(record_decide_locked(&p->central, &d, NULL), 0);
	(void)pthread_mutex_unlock(&p->central.order);
}

/* A death behind the first piece; others work between them. */
static void
site_lost__R18_of_many_images_is_done_in_pieces_that_survive_a_death(void **state)
{
	struct id128 incarnation = {{9, 1}};
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(hello_as(&p, "west", 1), 200);
	announce(&p, &incarnation, 1, PIECES);
	assert_int_equal(all(&p).of[TALLY_OWED], PIECES);
	begin_to_close(&p, "west");
	assert_true(life(&p, 1).closed);
	assert_int_equal(all(&p).of[TALLY_LOST], SITE_TURN);
	check_all(&p, PIECES);
	announce(&p, &incarnation, PIECES + 1, 10); /* what was on its way */
	check_all(&p, PIECES + 10);
	/* It calls again meanwhile, and is lost again. */
	assert_int_equal(hello_as(&p, "west", 1), 200);
	assert_int_equal(all(&p).of[TALLY_OWED], PIECES + 10);
	check_all(&p, PIECES + 10);
	begin_to_close(&p, "west");
	assert_int_equal(all(&p).of[TALLY_LOST], SITE_TURN);
	p.central_open = false; /* as a death leaves it: nothing is compared */
	uploads_free(p.central.uploads);
	central_close(&p.central);
	pair_open_central(&p);
	assert_int_equal(all(&p).of[TALLY_LOST], PIECES + 10);
	check_all(&p, PIECES + 10);
	pair_fini(&p);
}

static int
turn_one(struct store_tx *tx, void *arg, struct err *e)
{
	return site_turn(tx, arg, e);
}

static bool
piece(struct pair *p)
{
	bool more;

	assert_int_equal(store_commit(p->central.store, turn_one, &more, NULL), 0);
	return more;
}

static bool
is_turning(struct pair *p)
{
	struct store_tx *tx;
	bool yes;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(site_turning(tx, &yes, NULL), 0);
	store_end_read(tx);
	return yes;
}

/* Whichever commit fails: closed and counted, or counted later, and that is said; or not closed. */
static void
site_lost__R18_says_when_its_figures_are_behind(void **state)
{
	const char *words[] = {"site", "lost", "west"};
	struct id128 incarnation = {{9, 1}};
	unsigned n, hits = 1, behind = 0;
	struct pair p;
	int code;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(hello_as(&p, "west", 1), 200);
	announce(&p, &incarnation, 1, PIECES);
	for (n = 1; n <= hits; n++) {
		fault_arm_named("kv.commit", n, FAULT_ERRNO, EIO);
		code = ctl_local(central_commands_run, &p.central, 3, words);
		hits = fault_disarm();
		if (code == COMMAND_FAILED) { /* what is in the log counts at the next start */
			pair_close_central(&p);
			pair_open_central(&p);
			hits = n + 1;
		} else {
			assert_int_equal(code, is_turning(&p) ? COMMAND_PERSON : COMMAND_OK);
			behind += code == COMMAND_PERSON;
		}
		record_turn(&p.central);
		assert_false(is_turning(&p));
		check_all(&p, PIECES);
		assert_int_equal(hello_as(&p, "west", 1), 200); /* it was not lost */
	}
	assert_true(behind > 0);
	pair_fini(&p);
}

static void
hide(struct pair *p, uint64_t seq, unsigned n)
{
	unsigned char digests[SITE_TURN][SHA256_SIZE];
	unsigned i;

	for (i = 0; i < n; i++)
		digest_of(p, seq + i, digests[i]);
	assert_int_equal(record_withdraw(&p->central, digests[0], n, "a test", NULL), 0);
}

static void
rebuild(struct pair *p)
{
	p->central_open = false;
	uploads_free(p->central.uploads);
	p->central.uploads = NULL;
	central_close(&p->central);
	assert_int_equal(central_open(&p->central, p->central_conf, CENTRAL_REBUILD, NULL), 0);
	p->central_open = true;
}

/* Two sites that have the same images are closed together. Between the pieces images arrive that
 * they have, too, others are hidden, one of them has a new life, and the catalogue is made anew: at
 * each moment the figures are of what was done so far, at the end of all. */
static void
site_lost__R16_R18_of_two_at_once_while_images_come_and_are_hidden(void **state)
{
	const struct id128 west = {{9, 1}}, east = {{9, 2}};
	struct id128 next = {{9, 3}};
	struct figure f;
	struct pair p;
	unsigned i;

	(void)state;
	pair_init(&p, "64MiB");
	p.cut_method = "PATCH";
	for (i = 0; i < PIECES / SHARED; i++)
		assert_int_equal(pair_send(&p, i), 0);
	for (i = 0; i < 12; i++)
		pair_turn(&p);
	assert_int_equal(all(&p).of[TALLY_OWED], PIECES / SHARED);
	assert_int_equal(hello_as(&p, "west", 1), 200);
	assert_int_equal(hello_as(&p, "east", 2), 200);
	announce(&p, &west, 1, PIECES);
	announce(&p, &east, 1, PIECES - SITE_TURN);
	begin_to_close(&p, "west");
	begin_to_close(&p, "east");
	assert_true(life(&p, 1).closed && life(&p, 2).closed);
	check_all(&p, PIECES);
	assert_true(piece(&p));
	check_all(&p, PIECES);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, 60));
	hide(&p, 3, 1);
	hide(&p, PIECES - 3, 1);
	assert_int_equal(all(&p).of[TALLY_HELD], PIECES / SHARED);
	assert_int_equal(all(&p).of[TALLY_WITHDRAWN], 2);
	assert_true(piece(&p));
	assert_int_equal(ctl_local(recount, &p.central, 0, NULL), 0);
	assert_int_equal(counted.figures + counted.listed, 0);
	branch_off(&p, "west", &west, &next);
	pair_check_figures(&p); /* that waits for all pieces */
	/* Its new life has them. */
	f = all(&p);
	assert_int_equal(f.of[TALLY_OWED], PIECES - PIECES / SHARED - 2);
	begin_to_close(&p, "west");
	rebuild(&p);
	pair_check_figures(&p);
	f = all(&p);
	assert_int_equal(f.known, PIECES);
	assert_int_equal(f.of[TALLY_LOST], PIECES - PIECES / SHARED - 2);
	assert_int_equal(f.of[TALLY_OWED], 0);
	assert_false(piece(&p));
	pair_fini(&p);
}

static bool
sites_say(struct pair *p, const char *text)
{
	struct buf out = BUF_INIT;
	struct sites s;
	struct store_tx *tx;
	bool yes;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(sites_make(&s, tx, NULL), 0);
	store_end_read(tx);
	sites_text(&out, &s);
	buf_put_u8(&out, 0);
	yes = strstr((const char *)out.data, text) != NULL;
	buf_fini(&out);
	sites_free(&s);
	return yes;
}

/* In the middle nobody takes a part for the whole: its first images are hidden, so that after the
 * first piece none seems to be owed. */
static void
site_remove__R18_R26_counts_all_of_one_that_is_just_opened_again(void **state)
{
	static const char *const words[] = {"site", "remove", "west"};
	const struct id128 incarnation = {{9, 1}};
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(hello_as(&p, "west", 1), 200);
	announce(&p, &incarnation, 1, PIECES);
	hide(&p, 1, SITE_TURN);
	begin_to_close(&p, "west");
	assert_true(sites_say(&p, "west: is just being closed"));
	while (piece(&p))
		;
	assert_false(sites_say(&p, "is just being"));
	assert_int_equal(all(&p).of[TALLY_LOST], PIECES - SITE_TURN);
	d.kind = SYNC__DECISION_KIND__DECISION_OPEN;
	d.site = message_text("west");
	d.incarnation = message_bytes(incarnation.b, ID128_SIZE);
	(void)pthread_mutex_lock(&p.central.order);
	assert_int_equal(record_decide_locked(&p.central, &d, NULL), 0);
	(void)pthread_mutex_unlock(&p.central.order);
	assert_true(sites_say(&p, "west: is just being opened again"));
	assert_int_equal(all(&p).of[TALLY_OWED], 0);
	assert_int_equal(central_commands_run(&p.central, 3, words, NULL), COMMAND_PERSON);
	assert_false(life(&p, 1).closed);
	assert_int_equal(all(&p).of[TALLY_OWED], PIECES - SITE_TURN);
	pair_fini(&p);
}

/* How many commits its hello takes, which opens it again. */
static unsigned
commits_of_hello(struct pair *p)
{
	unsigned n;

	fault_arm_named("kv.commit", UINT_MAX, FAULT_ERRNO, 0);
	assert_int_equal(hello_as(p, "west", 1), 200);
	n = fault_disarm();
	assert_false(life(p, 1).closed);
	return n;
}

/* An edge that is there after all calls while it is being closed: what is left of that is done in
 * pieces as well, and nobody waits for all of it at once. */
static void
hello__R18_of_one_that_is_just_being_closed_does_the_rest_in_pieces(void **state)
{
	const struct id128 incarnation = {{9, 1}};
	unsigned all_done;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(hello_as(&p, "west", 1), 200);
	announce(&p, &incarnation, 1, PIECES);
	begin_to_close(&p, "west");
	while (piece(&p))
		;
	all_done = commits_of_hello(&p);
	begin_to_close(&p, "west");
	assert_true(commits_of_hello(&p) >= all_done + PIECES / SITE_TURN);
	assert_int_equal(all(&p).of[TALLY_OWED], PIECES);
	check_all(&p, PIECES);
	pair_fini(&p);
}

static int
keep(struct pair *p, const char *which)
{
	const char *words[] = {"site", "twin", "west", "--keep", which};

	return central_commands_run(&p->central, 5, words, NULL);
}

/* The copy that was kept burns; the one that drained is all there is, and takes in again. */
static void
site_twin__R8_the_last_copy_of_a_site_need_not_drain_for_ever(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(hello_as(&p, "west", 1), 200);
	assert_int_equal(hello_as(&p, "west", 2), 200);
	assert_int_equal(keep(&p, "09020000"), COMMAND_FAILED); /* one that is closed is no twin */
	decide(&p, SYNC__DECISION_KIND__DECISION_TWIN, 1);
	assert_int_equal(keep(&p, "09020000"), COMMAND_OK);
	assert_true(life(&p, 1).drains);
	decide(&p, SYNC__DECISION_KIND__DECISION_CLOSE, 0); /* `site lost` */
	assert_true(life(&p, 1).closed && life(&p, 2).closed);
	assert_int_equal(hello_as(&p, "west", 1), 200);
	assert_false(life(&p, 1).closed);
	assert_true(life(&p, 1).drains); /* nobody has said otherwise */
	assert_int_equal(keep(&p, "09010000"), COMMAND_OK);
	assert_false(life(&p, 1).drains);
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			hello__R8_a_site_has_a_hundred_new_lives_a_day_and_the_old_ones_go_on),
		cmocka_unit_test(site_twin__R8_the_last_copy_of_a_site_need_not_drain_for_ever),
		cmocka_unit_test(
			site_lost__R18_of_many_images_is_done_in_pieces_that_survive_a_death),
		cmocka_unit_test(
			site_lost__R16_R18_of_two_at_once_while_images_come_and_are_hidden),
		cmocka_unit_test(
			hello__R18_of_one_that_is_just_being_closed_does_the_rest_in_pieces),
		cmocka_unit_test(site_lost__R18_says_when_its_figures_are_behind),
		cmocka_unit_test(site_remove__R18_R26_counts_all_of_one_that_is_just_opened_again),
		cmocka_unit_test(figures__R8_R18_a_long_line_of_lives_is_counted_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
