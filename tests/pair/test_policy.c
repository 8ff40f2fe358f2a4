/* What a site may read (R26), whose ledger it may write, and how one goes and comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/central_commands.h"
#include "central/members.h"
#include "central/record.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/dimse/audit.h"
#include "common/os/ctl.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "tests/lib/caller.h"
#include "tests/lib/pair.h"
#include "tests/lib/steps.h"

enum { TURNS = 400, NORTHS = 1, SOUTHS = 101, BOTH = 201 };

static struct pair p;
static struct caller north, south;

/* north and south deliver an image each, and a third one that north brings first. */
static int
make_sites(void **state)
{
	char path[96];

	(void)state;
	pair_init(&p, "64MiB");
	(void)snprintf(path, sizeof(path), "%s/audit.log", p.dir);
	if (audit_open(&p.central.dicom.audit, path, &p.clock.c, NULL) || pair_send(&p, NORTHS) ||
	    pair_send(&p, BOTH) || !pair_settle(&p, TURNS))
		return -1;
	pair_site(&p, "south");
	if (pair_send(&p, SOUTHS) || pair_send(&p, BOTH) || !pair_settle(&p, TURNS))
		return -1;
	caller_init(&north, &p.central, "north");
	caller_init(&south, &p.central, "south");
	return 0;
}

static int
drop_sites(void **state)
{
	(void)state;
	audit_close(p.central.dicom.audit);
	p.central.dicom.audit = NULL;
	caller_fini(&north);
	caller_fini(&south);
	pair_fini(&p);
	return 0;
}

static int
command(const char *a, const char *b, const char *c, const char *d)
{
	const char *words[] = {a, b, c, d};
	size_t n = d ? 4 : c ? 3 : b ? 2 : 1;

	return ctl_local(central_commands_run, &p.central, n, words);
}

static int
read_object(struct caller *k, unsigned number)
{
	struct version v = pair_version(&p, p.central.store, number);
	char hex[2 * SHA256_SIZE + 1], path[120];

	hex_of(v.digest, SHA256_SIZE, hex);
	(void)snprintf(path, sizeof(path), "/sync/v1/objects/%s", hex);
	return caller_ask(k, "GET", path, NULL);
}

static int
read_pack(struct caller *k, unsigned number)
{
	struct version v = pair_version(&p, p.central.store, number);
	char hex[2 * SHA256_SIZE + 1], path[120];

	hex_of(v.pack, SHA256_SIZE, hex);
	(void)snprintf(path, sizeof(path), "/sync/v1/packs/%s", hex);
	return caller_ask(k, "GET", path, NULL);
}

/* *bytes: items that say where their bytes lie; *studies: whose record came along. */
static int
list(struct caller *k, const char *site, size_t *items, size_t *bytes, size_t *studies)
{
	Sync__RefillRequest m = SYNC__REFILL_REQUEST__INIT;
	struct buf body = BUF_INIT;
	Sync__RefillAnswer *a;
	size_t i;
	int status;

	m.site = message_text(site);
	message_pack(&body, &m.base);
	status = caller_ask(k, "POST", "/sync/v1/refill", &body);
	buf_fini(&body);
	*items = *bytes = *studies = 0;
	if (status != 200)
		return status;
	a = message_read(&sync__refill_answer__descriptor, k->answer.data, k->answer.len, NULL);
	assert_non_null(a);
	*items = a->n_items;
	*studies = a->n_studies;
	for (i = 0; i < a->n_items; i++)
		*bytes += a->items[i]->pack.len > 0;
	message_free(a);
	return status;
}

static unsigned
audited(const char *event, const char *what)
{
	char path[96], *line, *rest;
	struct buf text = BUF_INIT;
	unsigned n = 0;

	(void)snprintf(path, sizeof(path), "%s/audit.log", p.dir);
	assert_int_equal(file_slurp(path, 1 << 20, &text, NULL), 0);
	buf_put_u8(&text, 0);
	for (line = strtok_r((char *)text.data, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		n += strstr(line, event) && strstr(line, what);
	buf_fini(&text);
	return n;
}

static void
policy__R26_all_reads_the_archive_and_each_read_of_others_is_logged(void **state)
{
	size_t items, bytes, studies;

	(void)state;
	assert_int_equal(read_object(&north, NORTHS), 200);
	assert_int_equal(read_pack(&north, NORTHS), 200);
	assert_int_equal(list(&north, "north", &items, &bytes, &studies), 200);
	assert_int_equal(items, 2);
	assert_int_equal(audited("sync.", "site=north"), 0); /* its own */
	assert_int_equal(read_object(&north, SOUTHS), 200);
	assert_int_equal(read_pack(&north, SOUTHS), 200);
	assert_int_equal(list(&north, "", &items, &bytes, &studies), 200);
	assert_int_equal(items, 3);
	assert_int_equal(bytes, 3);
	assert_int_equal(list(&north, "south", &items, &bytes, &studies), 200);
	assert_int_equal(items, 2);
	assert_int_equal(audited("sync.read", "site=north address=192.0.2.1 of=south"), 2);
	assert_int_equal(audited("sync.list", "site=north"), 2);
}

static void
policy__R26_own_reads_what_it_delivered_and_announcing_gives_no_right(void **state)
{
	size_t items, bytes, studies;

	(void)state;
	assert_int_equal(command("site", "policy", "south", "own"), 0);
	assert_int_equal(read_object(&south, SOUTHS), 200);
	assert_int_equal(read_pack(&south, SOUTHS), 200);
	assert_int_equal(read_object(&south, NORTHS), 403);
	assert_non_null(strstr(south.why, "delivered"));
	assert_int_equal(read_pack(&south, NORTHS), 403);
	/* announced by south as well, delivered by north */
	assert_int_equal(read_object(&south, BOTH), 403);
	assert_int_equal(audited("sync.refused", "site=south"), 3);
	assert_int_equal(list(&south, "north", &items, &bytes, &studies), 403);
	assert_int_equal(list(&south, "", &items, &bytes, &studies), 200);
	assert_int_equal(items, 2); /* its own ledger */
	assert_int_equal(bytes, 1);
	assert_int_equal(studies, 1);
	assert_int_equal(read_object(&north, SOUTHS), 200); /* nobody else's business */
	assert_int_equal(command("site", "policy", "south", "all"), 0);
	assert_int_equal(read_object(&south, NORTHS), 200);
}

static Sync__ReleaseVerdict
release_of(struct caller *k, unsigned number)
{
	Sync__ReleaseRequest m = SYNC__RELEASE_REQUEST__INIT;
	struct version v = pair_version(&p, p.central.store, number);
	ProtobufCBinaryData digest = message_bytes(v.digest, SHA256_SIZE);
	struct buf body = BUF_INIT;
	Sync__ReleaseVerdict verdict;
	Sync__ReleaseAnswer *a;

	m.digests = &digest;
	m.n_digests = 1;
	message_pack(&body, &m.base);
	assert_int_equal(caller_ask(k, "POST", "/sync/v1/release", &body), 200);
	buf_fini(&body);
	a = message_read(&sync__release_answer__descriptor, k->answer.data, k->answer.len, NULL);
	assert_non_null(a);
	assert_int_equal(a->n_verdicts, 1);
	verdict = a->verdicts[0];
	message_free(a);
	return verdict;
}

/* south has the image from a modality of its own, north was faster: freed, its viewers had none. */
static void
release__R9_R26_frees_nothing_that_the_site_could_not_read_again(void **state)
{
	(void)state;
	assert_int_equal(release_of(&south, BOTH), SYNC__RELEASE_VERDICT__RELEASE_YES);
	assert_int_equal(command("site", "policy", "south", "own"), 0);
	assert_int_equal(release_of(&south, BOTH), SYNC__RELEASE_VERDICT__RELEASE_NO);
	assert_int_equal(release_of(&south, SOUTHS), SYNC__RELEASE_VERDICT__RELEASE_YES);
	assert_int_equal(release_of(&north, BOTH), SYNC__RELEASE_VERDICT__RELEASE_YES);
}

static void
refill_object__R15_R26_what_is_withdrawn_is_read_by_nobody(void **state)
{
	struct version v = pair_version(&p, p.central.store, NORTHS);

	(void)state;
	assert_int_equal(record_withdraw(&p.central, v.digest, 1, "a test", NULL), 0);
	assert_int_equal(read_object(&north, NORTHS), 404);
	assert_int_equal(read_object(&south, NORTHS), 404);
	assert_int_equal(read_object(&north, BOTH), 200);
}

static bool
is_closed(const char *site)
{
	struct store_tx *tx;
	struct member m;
	int rc;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	rc = member_get(tx, site, &m, NULL);
	store_end_read(tx);
	return !rc && m.removed;
}

static unsigned
lists_kept(void)
{
	char command_line[160];
	int rc;

	(void)snprintf(command_line, sizeof(command_line),
		       "exit $(ls %s/central | grep -c '^abandoned-south-.*csv$')", p.dir);
	rc = system(command_line);
	assert_true(rc >= 0);
	return (unsigned)(rc >> 8);
}

static void
site_remove__R26_waits_for_what_is_owed_or_lists_it_first(void **state)
{
	unsigned i;

	(void)state;
	p.cut_method = "PATCH";
	assert_int_equal(pair_send(&p, SOUTHS + 4), 0);
	for (i = 0; i < 6; i++)
		pair_turn(&p);
	assert_int_equal(command("site", "remove", "south", NULL), 3);
	assert_false(is_closed("south"));
	assert_int_equal(caller_ask(&south, "POST", "/sync/v1/holdings", NULL) == 403, 0);
	assert_int_equal(lists_kept(), 0);
	assert_int_equal(command("site", "remove", "south", "--abandon"), 0);
	assert_true(is_closed("south"));
	assert_int_equal(lists_kept(), 1);
	assert_int_equal(caller_ask(&south, "POST", "/sync/v1/hello", NULL), 403);
	assert_string_equal(south.why, "removed");
	assert_int_equal(command("loss", "--site", "south", NULL), 3); /* still told */
	assert_int_equal(command("site", "remove", "north", NULL), 0); /* owes nothing */
	assert_int_equal(lists_kept(), 1);
	assert_int_equal(command("site", "readmit", "north", NULL), 0); /* no CA, no code */
	assert_int_equal(caller_ask(&north, "POST", "/sync/v1/holdings", NULL) == 403, 0);
}

static struct site_row
row_of(const struct id128 *incarnation)
{
	struct site_row row;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p.central.store, NULL), 0);
	assert_int_equal(site_get(tx, incarnation, &row, NULL), 0);
	store_end_read(tx);
	return row;
}

/* An entry, as it would come next in this ledger. */
static int
append(struct caller *k, const struct id128 *incarnation, const struct site_row *row)
{
	Sync__LedgerEntry entry = SYNC__LEDGER_ENTRY__INIT;
	Sync__LedgerRequest m = SYNC__LEDGER_REQUEST__INIT;
	struct buf bytes = BUF_INIT, body = BUF_INIT;
	ProtobufCBinaryData one;
	int status;

	entry.kind = SYNC__LEDGER_KIND__LEDGER_EVICTED;
	message_pack(&bytes, &entry.base);
	one = message_bytes(bytes.data, bytes.len);
	m.incarnation = message_bytes(incarnation->b, ID128_SIZE);
	m.first = row->head.seq + 1;
	m.before = message_bytes(row->head.hash, SHA256_SIZE);
	m.entries = &one;
	m.n_entries = 1;
	message_pack(&body, &m.base);
	status = caller_ask(k, "POST", "/sync/v1/ledger", &body);
	buf_fini(&bytes);
	buf_fini(&body);
	return status;
}

static int
ask_holdings(struct caller *k, const struct id128 *incarnation)
{
	Sync__HoldingsRequest m = SYNC__HOLDINGS_REQUEST__INIT;
	struct buf body = BUF_INIT;
	int status;

	m.incarnation = message_bytes(incarnation->b, ID128_SIZE);
	m.first = m.count = 1;
	message_pack(&body, &m.base);
	status = caller_ask(k, "POST", "/sync/v1/holdings", &body);
	buf_fini(&body);
	return status;
}

static void
intake__R5_R24_another_site_s_ledger_is_neither_written_nor_read(void **state)
{
	struct site_row before;
	struct id128 souths;

	(void)state;
	edge_incarnation(&p.edge, &souths);
	before = row_of(&souths);
	assert_int_equal(append(&north, &souths, &before), 400);
	assert_string_equal(north.why, "another site's ledger");
	assert_int_equal(row_of(&souths).head.seq, before.head.seq);
	assert_memory_equal(row_of(&souths).head.hash, before.head.hash, SHA256_SIZE);
	assert_int_equal(ask_holdings(&north, &souths), 400);
	assert_string_equal(north.why, "another site's ledger");
	assert_int_equal(ask_holdings(&south, &souths), 200); /* its own: the same requests */
	assert_int_equal(append(&south, &souths, &before), 200);
	assert_int_equal(row_of(&souths).head.seq, before.head.seq + 1);
}

static void
site__R26_what_cannot_be_says_why_and_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(command("site", "add", "west", NULL), 1); /* no CA of ours */
	assert_int_equal(command("site", "suspend", "west", NULL), 1);
	assert_int_equal(command("site", "policy", "north", NULL), 2);
	assert_int_equal(command("site", "policy", "north", "some"), 2);
	assert_int_equal(command("site", "suspend", "north", "--abandon"), 2);
	assert_int_equal(command("ca", "renew", NULL, NULL), 2);
	assert_int_equal(command("sites", NULL, NULL, NULL), 0);
	assert_int_equal(command("site", "suspend", "north", NULL), 0);
	assert_int_equal(caller_ask(&north, "POST", "/sync/v1/ledger", NULL), 403);
	assert_int_equal(command("site", "readmit", "north", NULL), 0);
}

#define with_sites(test) cmocka_unit_test_setup_teardown(test, make_sites, drop_sites)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_sites(policy__R26_all_reads_the_archive_and_each_read_of_others_is_logged),
		with_sites(policy__R26_own_reads_what_it_delivered_and_announcing_gives_no_right),
		with_sites(release__R9_R26_frees_nothing_that_the_site_could_not_read_again),
		with_sites(refill_object__R15_R26_what_is_withdrawn_is_read_by_nobody),
		with_sites(intake__R5_R24_another_site_s_ledger_is_neither_written_nor_read),
		with_sites(site_remove__R26_waits_for_what_is_owed_or_lists_it_first),
		with_sites(site__R26_what_cannot_be_says_why_and_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
