/* Eviction (R9 to R12), what cannot be parsed (R17), refill (R7, R20). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/record.h"
#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/os/ctl.h"
#include "common/os/file.h"
#include "common/store/private.h"
#include "edge/edge_commands.h"
#include "edge/evict.h"
#include "edge/holdings.h"
#include "edge/keep.h"
#include "edge/old_store.h"
#include "edge/outbox.h"
#include "edge/rebuild.h"
#include "edge/refill.h"
#include "edge/replicate.h"
#include "edge/take_in.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/gen/gen.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"
#include "tests/lib/stored.h"

enum { TURNS = 400, IMAGES = 8 }; /* two studies of four */

static int
last_kind(struct pair *p)
{
	Sync__LedgerEntry *entry;
	struct ledger_head head;
	struct store_tx *tx;
	const void *bytes;
	size_t n;
	int kind;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(ledger_head(tx, &head, NULL), 0);
	assert_int_equal(ledger_get(tx, head.seq, &bytes, &n, NULL), 0);
	entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
	store_end_read(tx);
	assert_non_null(entry);
	kind = (int)entry->kind;
	message_free(entry);
	return kind;
}

static void
evict__R9_only_after_a_release_and_with_its_ledger_entry(void **state)
{
	char study[UID_SIZE];
	uint64_t n, bytes;
	struct pair p;
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	/* Owed: one more image of the study that central has not receipted keeps all of it. */
	p.cut_method = "PATCH";
	assert_int_equal(pair_send(&p, 3), 0); /* a duplicate owes nothing */
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(last_kind(&p), SYNC__LEDGER_KIND__LEDGER_EVICTED);
	for (i = 0; i < 4; i++)
		assert_false(pair_edge_has(&p, i));
	for (i = 4; i < IMAGES; i++)
		assert_true(pair_edge_has(&p, i));
	/* R4: what was evicted is stored again, and owed until central says otherwise. */
	p.cut_method = NULL;
	assert_int_equal(pair_send(&p, 0), 0);
	assert_true(pair_edge_has(&p, 0));
	assert_true(pair_settle(&p, TURNS));
	pair_fini(&p);
}

static void
evict__R9_not_without_central_saying_so(void **state)
{
	char study[UID_SIZE], command[300];
	uint64_t n, bytes;
	struct pair p;
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	p.cut_method = "POST"; /* the question does not arrive */
	(void)keep_evict(p.edge.keep, study, &n, &bytes, NULL);
	assert_int_equal(n, 0);
	p.cut_method = NULL;
	/* The pack is cut short at central: found when it is asked, not released, wanted again. */
	(void)snprintf(command, sizeof(command),
		       "for f in $(find %s/central/vault/packs -name '*.tar'); do "
		       "truncate -s 700 $f; done",
		       p.dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 0);
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_edge_has(&p, i));
	clock_manual_advance(&p.clock, 16000);
	pair_turn(&p);
	pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i < 4; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* `join` beside a running serve: what is released from then on goes, no restart is needed. */
static void
evict__R9_an_edge_that_got_its_central_while_it_served_frees(void **state)
{
	char study[UID_SIZE];
	const char *url;
	uint64_t n, bytes;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	keep_stop(p.edge.keep);
	url = p.edge.urls[0];
	p.edge.urls[0] = NULL;
	assert_int_equal(keep_start(&p.edge.keep, &p.edge, NULL), 0);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 0);
	p.edge.urls[0] = url;
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	pair_fini(&p);
}

static void
evict__R9_an_owed_instance_keeps_its_study(void **state)
{
	char study[UID_SIZE];
	uint64_t n, bytes;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_equal(pair_send(&p, 0), 0);
	assert_int_equal(pair_send(&p, 1), 0);
	assert_true(pair_settle(&p, TURNS));
	pair_study(&p, 0, study);
	p.cut_method = "PATCH";
	assert_int_equal(pair_send(&p, 2), 0); /* the same study, not receipted */
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 0);
	pair_fini(&p);
}

static void
evict__R10_in_the_dark_nothing_is_freed(void **state)
{
	char study[UID_SIZE];
	struct err e = ERR_INIT;
	uint64_t n, bytes;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	assert_false(keep_in_the_dark(&p.edge));
	clock_manual_advance(&p.clock, KEEP_DARK_MS + 1);
	assert_true(keep_in_the_dark(&p.edge));
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, &e), ERR_AGAIN);
	/* Started, and no hello answered yet: central may have burnt. */
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_true(keep_in_the_dark(&p.edge));
	err_clear(&e);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, &e), ERR_AGAIN);
	pair_turn(&p);
	pair_turn(&p);
	assert_false(keep_in_the_dark(&p.edge));
	pair_fini(&p);
}

static unsigned
here(struct pair *p)
{
	unsigned i, n = 0;

	for (i = 0; i < IMAGES; i++)
		n += pair_edge_has(p, i);
	return n;
}

/* As if so much of the quota were used; until the next commit measures it. */
static void
pretend(struct pair *p, unsigned percent)
{
	atomic_store(&p->edge.store->used, p->edge.store->c.quota / 100 * percent + 4096);
}

/* Without its thread, and with all done that is due: no commit of its own measures what is used. */
static void
by_hand(struct pair *p)
{
	keep_stop(p->edge.keep);
	assert_int_equal(keep_new(&p->edge.keep, &p->edge, NULL), 0);
	keep_turn(p->edge.keep);
}

static void
evict__R10_in_the_dark_only_above_97_percent_and_the_oldest_first(void **state)
{
	uint64_t n, bytes;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	clock_manual_advance(&p.clock, KEEP_DARK_MS + 1);
	by_hand(&p);
	pretend(&p, 96);
	assert_int_equal(keep_evict(p.edge.keep, NULL, &n, &bytes, NULL), ERR_AGAIN);
	assert_int_equal(here(&p), IMAGES);
	pretend(&p, 97);
	(void)keep_evict(p.edge.keep, NULL, &n, &bytes, NULL);
	assert_int_equal(here(&p), IMAGES / 2); /* then it is below again */
	assert_false(pair_edge_has(&p, 0));
	assert_true(pair_edge_has(&p, IMAGES - 1));
	assert_int_equal(last_kind(&p), SYNC__LEDGER_KIND__LEDGER_EVICTED_DARK);
	pair_fini(&p);
}

static void
evict__R10_dark_keep_frees_nothing_and_refuses(void **state)
{
	uint64_t n, bytes;
	int64_t since = 0;
	struct pair p;
	unsigned i;
	FILE *f;

	(void)state;
	pair_prepare(&p, "64MiB");
	f = fopen(p.edge_conf, "a");
	assert_non_null(f);
	assert_true(fputs("[cache]\ndark = keep\n", f) >= 0);
	assert_int_equal(fclose(f), 0);
	pair_open_central(&p);
	pair_open_edge(&p);
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(&p, i), 0);
	assert_true(pair_settle(&p, TURNS));
	clock_manual_advance(&p.clock, KEEP_DARK_MS + 1);
	by_hand(&p);
	pretend(&p, 100);
	assert_int_equal(keep_evict(p.edge.keep, NULL, &n, &bytes, NULL), ERR_AGAIN);
	assert_false(keep_wait(p.edge.keep, 1 << 20, &since)); /* nothing can be released: A700 */
	assert_false(keep_can_release(p.edge.keep));
	assert_int_equal(here(&p), IMAGES);
	pair_fini(&p);
}

/* Central has lost something, or is another one: until all is compared, no receipt counts. */
static void
evict__R10_in_the_dark_only_what_holdings_confirmed(void **state)
{
	struct id128 epoch, archive;
	struct evict *v;
	char study[UID_SIZE];
	uint64_t n = 0, bytes = 0;
	struct contact c;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	edge_contact(&p.edge, &c);
	epoch = c.epoch;
	memset(&archive, 1, sizeof(archive));
	assert_int_equal(evict_new(&v, &p.edge, NULL), 0);
	assert_int_equal(holdings_new_epoch(&p.edge, &archive, &epoch, NULL), 0);
	assert_int_equal(evict_study(v, study, true, &n, &bytes, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(holdings_compared(&p.edge, &epoch, c.losses + 1, NULL), 0);
	assert_int_equal(evict_study(v, study, true, &n, &bytes, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(holdings_compared(&p.edge, &epoch, c.losses, NULL), 0);
	assert_int_equal(evict_study(v, study, true, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	evict_free(v);
	pair_fini(&p);
}

/* A small quota may be taken by what is still in memory: room is made for that as well. */
static void
keep__R12_what_is_on_its_way_in_counts_when_room_is_made(void **state)
{
	int64_t since = 0;
	struct pair p;
	uint64_t most;

	(void)state;
	pair_begin(&p, IMAGES);
	most = p.edge.store->c.quota / 100 * 99;
	atomic_fetch_add(&p.edge.store->admitted, most);
	assert_false(keep_wait(p.edge.keep, 1 << 20, &since)); /* all of it is too little */
	assert_int_equal(here(&p), 0);
	atomic_fetch_sub(&p.edge.store->admitted, most);
	since = 0;
	assert_true(keep_wait(p.edge.keep, 1 << 20, &since));
	pair_fini(&p);
}

/* R22: receipts of the central that burnt release nothing. */
/* A neighbour has filled the disk: far below the quota, and yet there is no room. */
static void
keep__R12_a_disk_smaller_than_the_quota_is_a_full_cache(void **state)
{
	struct store_space space;
	int64_t since = 0;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	store_space(p.edge.store, &space);
	assert_true(space.used < space.quota / 2);
	atomic_store(&p.edge.store->disk_until, INT64_MAX);
	atomic_store(&p.edge.store->disk_limit, space.used + STORE_DISK_RESERVE);
	assert_int_equal(store_admit(p.edge.store, 4096, NULL), ERR_FULL);
	assert_true(keep_wait(p.edge.keep, 4096, &since)); /* central has released all of it */
	assert_int_equal(store_admit(p.edge.store, 4096, NULL), 0);
	/* Nothing at all is left for the cache: what is in it stays for the viewers. */
	assert_int_equal(pair_send(&p, 100), 0);
	assert_true(pair_settle(&p, TURNS));
	atomic_store(&p.edge.store->disk_limit, STORE_DISK_RESERVE);
	since = 0;
	assert_false(keep_wait(p.edge.keep, 4096, &since));
	assert_true(pair_edge_has(&p, 100));
	pair_fini(&p);
}

static void
evict__R22_another_epoch_releases_nothing(void **state)
{
	char study[UID_SIZE];
	uint64_t n, bytes;
	struct pair p;
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	pair_burn_central(&p);
	pair_open_central(&p);
	p.cut_method = "PATCH"; /* the new one is met, but gets no bytes yet */
	clock_manual_advance(&p.clock, 16000);
	for (i = 0; i < 12; i++)
		pair_turn(&p);
	(void)keep_evict(p.edge.keep, study, &n, &bytes, NULL);
	assert_int_equal(n, 0);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	pair_fini(&p);
}

/* Evicted, then central burns, then the modality sends it again: its old receipt is no receipt. */
static void
evict__R9_what_was_stored_again_is_owed_and_stays(void **state)
{
	char study[UID_SIZE];
	uint64_t n, bytes;
	struct pair p;
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	p.cut_method = "PATCH";
	for (i = 0; i < 4; i++)
		assert_int_equal(pair_send(&p, i), 0);
	for (i = 0; i < 4; i++)
		pair_turn(&p);
	(void)keep_evict(p.edge.keep, study, &n, &bytes, NULL);
	assert_int_equal(n, 0);
	pair_burn_central(&p);
	(void)keep_evict(p.edge.keep, study, &n, &bytes, NULL);
	assert_int_equal(n, 0);
	for (i = 0; i < 4; i++)
		assert_true(pair_edge_has(&p, i));
	pair_open_central(&p);
	p.cut_method = NULL;
	clock_manual_advance(&p.clock, 16000);
	for (i = 0; i < 12; i++)
		pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

/* A pin or a hold is obeyed by `evict` as well (R11). */
static void
evict__R11_neither_pinned_nor_held_studies_go(void **state)
{
	const char *hold_on[] = {"hold", "on"}, *hold_off[] = {"hold", "off"};
	const char *pin[] = {"pin", NULL}, *unpin[] = {"unpin", NULL};
	char study[UID_SIZE];
	uint64_t n, bytes;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, study);
	pin[1] = unpin[1] = study;
	assert_int_equal(ctl_local(edge_commands_run, &p.edge, 2, hold_on), 0);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), ERR_AGAIN);
	assert_int_equal(ctl_local(edge_commands_run, &p.edge, 2, hold_off), 0);
	assert_int_equal(ctl_local(edge_commands_run, &p.edge, 2, pin), 0);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(ctl_local(edge_commands_run, &p.edge, 2, unpin), 0);
	assert_int_equal(keep_evict(p.edge.keep, study, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	pair_fini(&p);
}

/* --- R17 --- */

static unsigned
send_garbage(struct pair *p)
{
	struct peer peer = {.name = "", .aet = "", .host = "", .issuer = ""};
	struct dimse_caller who = {.peer = &peer, .calling = "CT1", .called = "EDGE"};
	struct dimse_handlers h = {.node = &p->edge};
	struct message rq, rsp;
	struct err e = ERR_INIT;
	void *sink;

	memset(&rq, 0, sizeof(rq));
	memset(&rsp, 0, sizeof(rsp));
	strcpy(rq.sop_instance, "1.2.3.4");
	take_in_handlers(&h);
	assert_int_equal(h.store_begin(&p->edge, &who, &rq, "1.2.840.10008.1.2.1", &sink, &e), 0);
	assert_int_equal(h.store_feed(sink, "this is no data set at all", 26, &e), 0);
	h.store_end(sink, &rsp);
	return rsp.status;
}

static void
upload__R17_what_cannot_be_parsed_is_kept_sent_and_receipted(void **state)
{
	struct store_counts counts;
	struct store_tx *tx;
	struct pair p;

	(void)state;
	pair_init(&p, "64MiB");
	assert_int_not_equal(send_garbage(&p), 0); /* refused, R32: kept and owed */
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(store_counts(tx, &counts, NULL), 0);
	store_end_read(tx);
	assert_int_equal(counts.instances, 1);
	pair_fini(&p);
}

/* --- rebuild --- */

static void
rebuild__R13_finds_every_image_again_and_voids_all_receipts(void **state)
{
	struct rebuild_result result;
	struct err e = ERR_INIT;
	struct id128 before;
	struct tally t;
	struct store_tx *tx;
	struct edge edge;
	struct pair p;
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	p.cut_method = "PATCH";
	assert_int_equal(pair_send(&p, IMAGES), 0); /* owed */
	before = p.edge.incarnation;
	pair_close_edge(&p);
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	if (rebuild_store(&edge, &result, &e))
		fail_msg("%s", e.what);
	assert_int_equal(result.objects, IMAGES + 1);
	assert_int_equal(result.torn, 0);
	assert_memory_not_equal(&before, &edge.incarnation, sizeof(before));
	edge_close(&edge);
	pair_open_edge(&p);
	for (i = 0; i <= IMAGES; i++)
		assert_true(pair_edge_has(&p, i));
	assert_int_equal(pair_outbox(&p).owed, IMAGES + 1);
	p.cut_method = NULL;
	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i <= IMAGES; i++)
		assert_true(pair_central_has(&p, i));
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(tally_make(&t, tx, NULL), 0);
	store_end_read(tx);
	for (i = 0; i < t.n; i++)
		assert_int_equal(t.rows[i].of[TALLY_LOST] + t.rows[i].of[TALLY_OWED], 0);
	tally_free(&t);
	pair_fini(&p);
}

static int
hold(struct store_tx *tx, void *arg, struct err *e)
{
	(void)arg;
	return sync_set_number(tx, "hold", 1, e);
}

/* What came back lies there twice; what did not is known still, and so is hold. */
static int
pin(struct store_tx *tx, void *arg, struct err *e)
{
	return store_pin(tx, arg, INT64_MAX, e);
}

static void
rebuild__R13_R20_what_was_evicted_is_no_loss_and_still_known(void **state)
{
	struct rebuild_result result;
	const struct refill_config site = {.group = false};
	char first[UID_SIZE], second[UID_SIZE];
	struct err e = ERR_INIT;
	struct store_tx *tx;
	uint64_t n, bytes, held = 0;
	struct edge edge;
	struct pair p;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_study(&p, 0, first);
	pair_study(&p, IMAGES - 1, second);
	assert_int_equal(keep_evict(p.edge.keep, first, &n, &bytes, NULL), 0);
	assert_int_equal(pair_refill(&p, &site).came, 4);
	assert_int_equal(keep_evict(p.edge.keep, second, &n, &bytes, NULL), 0);
	assert_int_equal(n, 4);
	stored_settle(p.edge.store);
	assert_int_equal(store_commit(p.edge.store, hold, NULL, NULL), 0);
	assert_int_equal(store_commit(p.edge.store, pin, second, NULL), 0);
	pair_close_edge(&p);
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	if (rebuild_store(&edge, &result, &e))
		fail_msg("%s", e.what);
	edge_close(&edge);
	assert_int_equal(result.torn, 0);
	assert_false(result.kept);
	assert_true(result.listed);
	assert_int_equal(result.objects + result.known, IMAGES); /* some pages are there still */
	pair_open_edge(&p);
	assert_int_equal(stored_counts(p.edge.store).known, IMAGES);
	assert_int_equal(store_begin_read(&tx, p.edge.store, NULL), 0);
	assert_int_equal(sync_number(tx, "hold", &held, NULL), 0);
	assert_true(store_pinned(tx, second)); /* R11 */
	assert_false(store_pinned(tx, first));
	store_end_read(tx);
	assert_int_equal(held, 1);
	pair_fini(&p);
}

/* Every page but the two meta pages says nothing: whoever walks that tree may die of it. */
static void
spoil_tree(const char *path)
{
	unsigned char noise[4096];
	uint64_t size = 0, at;
	int fd = file_open(path, true, NULL);

	assert_true(fd >= 0);
	assert_int_equal(file_size(fd, &size, NULL), 0);
	memset(noise, 0xa5, sizeof(noise));
	for (at = 2 * sizeof(noise); at < size; at += sizeof(noise))
		assert_int_equal(file_write_at(fd, noise, sizeof(noise), at, NULL), 0);
	file_close(fd);
}

static void
old_store__R20_tells_what_was_known_and_harms_nobody(void **state)
{
	char store[200], data[220];
	struct old_store old;
	struct err e = ERR_INIT;
	struct edge edge;
	struct pair p;
	uint64_t known;
	bool whole;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_close_edge(&p);
	(void)snprintf(store, sizeof(store), "%s/edge/store", p.dir);
	(void)snprintf(data, sizeof(data), "%s/data.mdb", store);
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	assert_int_equal(edge_open_new_store(&edge, "store.new", 256 << 20, &e), 0);
	assert_int_equal(old_store_read(&old, &edge, store, &e), 0);
	assert_true(old.whole);
	assert_int_equal(old.n, IMAGES);
	assert_true(old_store_missed(&old, old.live[0]));
	assert_false(old_store_missed(&old, old.live[IMAGES - 1] + 1));
	old_store_fini(&old);
	assert_int_equal(old_store_bequeath(&edge, store, &known, &whole, &e), 0);
	assert_true(whole);
	assert_int_equal(known, IMAGES);
	assert_int_equal(stored_counts(edge.store).known, IMAGES);
	assert_int_equal(stored_counts(edge.store).instances, 0);
	spoil_tree(data);
	assert_int_equal(old_store_read(&old, &edge, store, &e), 0);
	assert_false(old.whole);
	assert_true(old_store_missed(&old, 1)); /* nothing is known: whatever is torn is missed */
	old_store_fini(&old);
	assert_int_equal(old_store_bequeath(&edge, store, &known, &whole, &e), 0);
	assert_false(whole);
	edge_close(&edge);
	pair_fini(&p);
}

/*
 * A full cache whose file still has the pages of what was evicted: together more than the quota.
 * All of it is found, owed, sent; eviction makes the cache fit again.
 */
static void
rebuild__R13_finds_more_than_the_quota_and_drops_none_of_it(void **state)
{
	enum { LARGE = 24 };
	struct recipe r = {"1.2.3", NULL, NULL, NULL, 7, 3 << 20};
	struct rebuild_result result;
	struct store_counts counts;
	struct err e = ERR_INIT;
	struct store_config c;
	struct store_tx *tx;
	struct stored t;
	struct edge edge;
	struct pair p;
	uint64_t n, bytes;
	char uid[24];
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	pair_close_edge(&p);
	memset(&c, 0, sizeof(c));
	(void)snprintf(t.dir, sizeof(t.dir), "%.40s/edge/store", p.dir);
	c.dir = t.dir;
	c.quota = 256 << 20;
	c.clock = &p.clock.c;
	assert_int_equal(store_open(&t.s, &c, &e), 0);
	r.uid = uid;
	for (i = 0; i < LARGE; i++) {
		struct made m;

		(void)snprintf(uid, sizeof(uid), "1.2.3.%u", i);
		made_init(&m, &r);
		assert_int_equal(stored_put(t.s, &m, "a", NULL, &e), 0);
		made_fini(&m);
	}
	store_close(t.s);
	assert_int_equal(edge_open(&edge, p.edge_conf, EDGE_SALVAGE, &e), 0);
	if (rebuild_store(&edge, &result, &e))
		fail_msg("%s", e.what);
	assert_int_equal(result.objects, IMAGES + LARGE);
	edge_close(&edge);
	pair_open_edge(&p);
	assert_int_not_equal(pair_send(&p, IMAGES), 0); /* A700, and reading goes on */
	assert_int_equal(here(&p), IMAGES);
	assert_true(pair_settle(&p, TURNS));
	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(store_counts(tx, &counts, NULL), 0);
	store_end_read(tx);
	assert_int_equal(counts.instances, IMAGES + LARGE);
	(void)keep_evict(p.edge.keep, NULL, &n, &bytes, NULL);
	stored_settle(p.edge.store);
	assert_int_equal(pair_send(&p, IMAGES), 0);
	pair_fini(&p);
}

/* --- refill --- */

static void
refill__R7_R20_comes_announced_not_owed_and_owed_after_a_fire(void **state)
{
	struct refill_result result;
	const struct refill_config site = {.group = false};
	struct pair p;
	unsigned i;

	(void)state;
	pair_begin(&p, IMAGES);
	result = pair_burn_and_refill(&p, false);
	assert_int_equal(result.known, IMAGES);
	assert_int_equal(result.came, IMAGES);
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_edge_has(&p, i));
	assert_int_equal(pair_outbox(&p).owed, 0);
	assert_true(pair_settle(&p, TURNS));
	/* Again: all of it is here. */
	result = pair_refill(&p, &site);
	assert_int_equal(result.here, IMAGES);
	assert_int_equal(result.came, 0);
	/* Central burns: what was refilled is owed like any other. */
	pair_burn_central(&p);
	pair_open_central(&p);
	clock_manual_advance(&p.clock, 16000);
	for (i = 0; i < 12; i++)
		pair_turn(&p);
	assert_true(pair_settle(&p, TURNS));
	for (i = 0; i < IMAGES; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evict__R9_only_after_a_release_and_with_its_ledger_entry),
		cmocka_unit_test(evict__R9_not_without_central_saying_so),
		cmocka_unit_test(evict__R9_an_edge_that_got_its_central_while_it_served_frees),
		cmocka_unit_test(evict__R9_an_owed_instance_keeps_its_study),
		cmocka_unit_test(evict__R9_what_was_stored_again_is_owed_and_stays),
		cmocka_unit_test(evict__R11_neither_pinned_nor_held_studies_go),
		cmocka_unit_test(evict__R10_in_the_dark_nothing_is_freed),
		cmocka_unit_test(evict__R10_in_the_dark_only_above_97_percent_and_the_oldest_first),
		cmocka_unit_test(evict__R10_dark_keep_frees_nothing_and_refuses),
		cmocka_unit_test(evict__R10_in_the_dark_only_what_holdings_confirmed),
		cmocka_unit_test(keep__R12_what_is_on_its_way_in_counts_when_room_is_made),
		cmocka_unit_test(keep__R12_a_disk_smaller_than_the_quota_is_a_full_cache),
		cmocka_unit_test(evict__R22_another_epoch_releases_nothing),
		cmocka_unit_test(upload__R17_what_cannot_be_parsed_is_kept_sent_and_receipted),
		cmocka_unit_test(rebuild__R13_finds_every_image_again_and_voids_all_receipts),
		cmocka_unit_test(rebuild__R13_R20_what_was_evicted_is_no_loss_and_still_known),
		cmocka_unit_test(old_store__R20_tells_what_was_known_and_harms_nobody),
		cmocka_unit_test(rebuild__R13_finds_more_than_the_quota_and_drops_none_of_it),
		cmocka_unit_test(refill__R7_R20_comes_announced_not_owed_and_owed_after_a_fire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
