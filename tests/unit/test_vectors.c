/*
 * What reaches disk or wire, byte for byte, as it was when it was first released
 * (tests/vectors/wire.txt: a name and hex digits per line; "2.": as version 2 of the protocol
 * has it, without a number: version 1). Other bytes for the same input
 * are a bug, or a new version of a format (R1, R5, R14, R16).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "central/clog.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/file.h"
#include "common/store/index.h"
#include "common/store/version.h"
#include "proto/bandwidth.h"
#include "proto/frame.h"
#include "proto/lanes.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/pack.h"
#include "proto/sync.pb-c.h"
#include "proto/waits.h"

enum { VECTORS_MAX = 1 << 20 };

static const struct id128 id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

/* The line of this name must say these bytes. */
static void
expect(const char *name, const void *p, size_t n)
{
	struct buf all = BUF_INIT, line = BUF_INIT;
	char *hex = malloc(2 * n + 1);

	assert_non_null(hex);
	hex_of(p, n, hex);
	assert_int_equal(file_slurp("tests/vectors/wire.txt", VECTORS_MAX, &all, NULL), 0);
	buf_put_u8(&all, 0);
	buf_printf(&line, "\n%s %s\n", name, hex);
	buf_put_u8(&line, 0);
	if (!strstr((const char *)all.data, (const char *)line.data))
		fail_msg("%s is now %s", name, hex);
	buf_fini(&all);
	buf_fini(&line);
	free(hex);
}

static void
frame_write__R14_gives_the_golden_bytes(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(frame_write(&b, FRAME_STORED, 4096, "salamander", 10, NULL), 0);
	expect("frame.stored", b.data, b.len);
	buf_fini(&b);
}

static void
ledger__R5_entries_and_their_chain_are_the_golden_ones(void **state)
{
	unsigned char hash[SHA256_SIZE] = {0}, other[SHA256_SIZE];
	const unsigned char *two[2];
	struct index_sets no_sets = {.dropped = NULL};
	struct attrs none = {NULL, 0};
	struct buf b = BUF_INIT, side = BUF_INIT;
	struct version v;

	(void)state;
	memset(&v, 0, sizeof(v));
	ledger_incarnation(&b, &id, "north", 1790000000000);
	expect("ledger.incarnation", b.data, b.len);
	ledger_chain(hash, b.data, b.len);
	buf_clear(&b);
	ledger_study(&b, "1.2.3", none, NULL, "CT1", 1790000000001);
	expect("ledger.study", b.data, b.len);
	ledger_chain(hash, b.data, b.len);
	buf_clear(&b);
	strcpy(v.study, "1.2.3");
	strcpy(v.series, "1.2.3.4");
	strcpy(v.sop_class, "1.2.840.10008.5.1.4.1.1.2");
	strcpy(v.sop_instance, "1.2.3.4.5");
	strcpy(v.syntax, "1.2.840.10008.1.2.1");
	memset(v.digest, 0x11, sizeof(v.digest));
	memset(v.content, 0x22, sizeof(v.content));
	memset(v.pixels, 0x33, sizeof(v.pixels));
	v.size = 524288;
	v.origin = VERSION_TAKEN_IN;
	v.has_pixels = true;
	v.header_length = 1000;
	v.pixel_offset = 1012;
	v.pixel_length = 523276;
	buf_puts(&side, "side");
	ledger_instance(&b, &v, &no_sets, &side, 0, 1790000000002);
	expect("ledger.instance", b.data, b.len);
	ledger_chain(hash, b.data, b.len);
	buf_clear(&b);
	ledger_gone(&b, SYNC__LEDGER_KIND__LEDGER_EVICTED, &v, 1790000000003);
	expect("ledger.evicted", b.data, b.len);
	ledger_chain(hash, b.data, b.len);
	buf_clear(&b);
	ledger_known(&b, &v, &no_sets, 5, 1790000000004);
	expect("ledger.known", b.data, b.len);
	buf_clear(&b);
	memset(other, 0x44, sizeof(other));
	two[0] = v.digest;
	two[1] = other;
	ledger_committed(&b, two, 2, 1790000000005);
	expect("ledger.committed", b.data, b.len);
	expect("ledger.chain", hash, sizeof(hash));
	buf_fini(&b);
	buf_fini(&side);
}

static int
give(void *arg, size_t i, uint64_t offset, void *to, size_t n, struct err *e)
{
	(void)arg;
	(void)offset;
	(void)e;
	memset(to, 'a' + (int)i, n);
	return 0;
}

static void
pack__R14_manifest_id_and_file_are_the_golden_ones(void **state)
{
	struct pack_member m[2];
	unsigned char hash[SHA256_SIZE];
	struct buf manifest = BUF_INIT, file = BUF_INIT;
	struct pack *p;

	(void)state;
	memset(m, 0, sizeof(m));
	m[0].seq = 3;
	m[0].sop_instance = "1.2.3.4.5";
	memset(m[0].digest, 0x11, SHA256_SIZE);
	m[0].size = 700;
	m[0].side = "side";
	m[0].side_n = 4;
	m[1].seq = 7;
	m[1].sop_instance = "../not a uid";
	memset(m[1].digest, 0x22, SHA256_SIZE);
	m[1].size = 512;
	assert_int_equal(pack_manifest(&manifest, "north", &id, m, 2, NULL), 0);
	expect("pack.manifest", manifest.data, manifest.len);
	assert_int_equal(pack_open(&p, manifest.data, manifest.len, NULL), 0);
	pack_id(p, hash);
	expect("pack.id", hash, sizeof(hash));
	assert_non_null(buf_reserve(&file, (size_t)pack_size(p)));
	assert_int_equal(pack_make(p, 0, file.data, (size_t)pack_size(p), give, NULL, NULL), 0);
	sha256_of(file.data, (size_t)pack_size(p), hash);
	expect("pack.file.sha256", hash, sizeof(hash));
	pack_close(p);
	buf_fini(&manifest);
	buf_fini(&file);
}

static void
messages__R5_R22_are_the_golden_ones(void **state)
{
	Sync__HelloRequest hello = SYNC__HELLO_REQUEST__INIT;
	Sync__HelloAnswer answer = SYNC__HELLO_ANSWER__INIT;
	Sync__Receipt receipt = SYNC__RECEIPT__INIT;
	Sync__SeqRange range = SYNC__SEQ_RANGE__INIT, *ranges[1] = {&range};
	static unsigned char hash[SHA256_SIZE] = {9, 8, 7};
	uint64_t withdrawn[1] = {5};
	Sync__HelloRequest none = SYNC__HELLO_REQUEST__INIT;
	Sync__HelloAnswer nothing = SYNC__HELLO_ANSWER__INIT;
	uint32_t versions[1] = {1}, codings[2] = {FRAME_ZLIB, FRAME_ZSTD};
	struct buf b = BUF_INIT;

	(void)state;
	hello.versions = versions;
	hello.n_versions = 1;
	hello.site = message_text("north");
	hello.incarnation = message_bytes(id.b, ID128_SIZE);
	hello.head = 300;
	hello.hash = message_bytes(hash, sizeof(hash));
	hello.wall_ms = 1790000000000;
	message_pack(&b, &hello.base);
	expect("message.hello", b.data, b.len);
	buf_clear(&b);
	answer.version = 1;
	answer.archive = answer.epoch = message_bytes(id.b, ID128_SIZE);
	answer.head = 299;
	answer.hash = message_bytes(hash, sizeof(hash));
	answer.losses = 2;
	answer.software = message_text("0.1.0");
	message_pack(&b, &answer.base);
	expect("message.hello_answer", b.data, b.len);
	buf_clear(&b);
	hello = none;
	hello.codings = codings;
	hello.n_codings = 2;
	message_pack(&b, &hello.base);
	expect("message.hello.codings", b.data, b.len);
	buf_clear(&b);
	answer = nothing;
	answer.codings = codings;
	answer.n_codings = 2;
	message_pack(&b, &answer.base);
	expect("message.hello_answer.codings", b.data, b.len);
	buf_clear(&b);
	receipt.site = message_text("north");
	receipt.incarnation = receipt.epoch = message_bytes(id.b, ID128_SIZE);
	receipt.number = 12;
	range.first = 3;
	range.last = 7;
	range.hash = message_bytes(hash, sizeof(hash));
	receipt.ranges = ranges;
	receipt.n_ranges = 1;
	receipt.withdrawn = withdrawn;
	receipt.n_withdrawn = 1;
	receipt.mac = message_bytes(hash, sizeof(hash));
	message_pack(&b, &receipt.base);
	expect("message.receipt", b.data, b.len);
	buf_fini(&b);
}

/* What version 2 says more in its hello; the others stand as version 1 has them. */
static void
messages__of_version_2_are_the_golden_ones(void **state)
{
	Sync__HelloRequest hello = SYNC__HELLO_REQUEST__INIT;
	Sync__HelloAnswer answer = SYNC__HELLO_ANSWER__INIT;
	uint32_t versions[2] = {2, 1};
	struct buf b = BUF_INIT;

	(void)state;
	hello.versions = versions;
	hello.n_versions = 2;
	hello.site = message_text("north");
	hello.software = message_text("0.1.0");
	message_pack(&b, &hello.base);
	expect("2.message.hello", b.data, b.len);
	buf_clear(&b);
	answer.version = 2;
	answer.archive = answer.epoch = message_bytes(id.b, ID128_SIZE);
	message_pack(&b, &answer.base);
	expect("2.message.hello_answer", b.data, b.len);
	buf_fini(&b);
}

/* Each kind of order has its fields; a kind that was released is never another one. */
static void
orders__R16_R27_are_the_golden_ones(void **state)
{
	static unsigned char mac[SHA256_SIZE] = {7, 7, 7};
	Sync__OrderSetting setting = SYNC__ORDER_SETTING__INIT, *settings[1] = {&setting};
	Sync__OrderDone done = SYNC__ORDER_DONE__INIT, *ended[1] = {&done};
	Sync__OrdersAnswer answer = SYNC__ORDERS_ANSWER__INIT;
	Sync__OrdersBack back = SYNC__ORDERS_BACK__INIT;
	Sync__Order order = SYNC__ORDER__INIT, none = SYNC__ORDER__INIT;
	ProtobufCBinaryData list[1];
	struct buf b = BUF_INIT, one = BUF_INIT;

	(void)state;
	order.number = 1048577;
	order.kind = SYNC__ORDER_KIND__ORDER_RETRACT;
	order.subject = message_text("1.2.3.4");
	order.study = message_text("1.2.3");
	order.why = message_text("wrong patient");
	order.wall_ms = 1790000000000;
	order.of = 17;
	order.mac = message_bytes(mac, sizeof(mac));
	message_pack(&one, &order.base);
	expect("2.order.retract", one.data, one.len);
	order = none;
	order.number = 1048578;
	order.kind = SYNC__ORDER_KIND__ORDER_REFILL;
	order.site = message_text("north");
	order.group = true;
	order.days = 30;
	order.most_bytes = 1 << 30;
	order.instead_of = 5;
	message_pack(&b, &order.base);
	expect("2.order.refill", b.data, b.len);
	buf_clear(&b);
	order = none;
	order.number = 1048579;
	order.kind = SYNC__ORDER_KIND__ORDER_VERIFY;
	order.part = 3;
	order.parts = 30;
	message_pack(&b, &order.base);
	expect("2.order.verify", b.data, b.len);
	buf_clear(&b);
	order = none;
	order.number = 1048580;
	order.kind = SYNC__ORDER_KIND__ORDER_SETTINGS;
	setting.name = message_text("keep_days");
	setting.value = message_text("60");
	order.settings = settings;
	order.n_settings = 1;
	message_pack(&b, &order.base);
	expect("2.order.settings", b.data, b.len);
	buf_clear(&b);
	list[0] = message_bytes(one.data, one.len);
	answer.orders = list;
	answer.n_orders = 1;
	answer.next = 1048580;
	answer.decisions = 12;
	answer.losses = 3;
	message_pack(&b, &answer.base);
	expect("2.message.orders_answer", b.data, b.len);
	buf_clear(&b);
	done.number = 1048579;
	done.outcome = SYNC__ORDER_OUTCOME__ORDER_OUTCOME_PERSON;
	done.text = message_text("3 images read, 1 damaged");
	done.wall_ms = 1790000000001;
	back.done = ended;
	back.n_done = 1;
	back.highest = list[0];
	message_pack(&b, &back.base);
	expect("2.message.orders_back", b.data, b.len);
	buf_fini(&one);
	buf_fini(&b);
}

static void
decision__R3_R16_is_the_golden_one(void **state)
{
	static unsigned char first[SHA256_SIZE] = {1}, second[SHA256_SIZE] = {2}, seen[2] = {1, 0};
	ProtobufCBinaryData digests[2], back[1];
	Sync__DecisionsRequest request = SYNC__DECISIONS_REQUEST__INIT;
	Sync__Decision m = SYNC__DECISION__INIT;
	struct buf b = BUF_INIT, one = BUF_INIT;

	(void)state;
	digests[0] = message_bytes(first, sizeof(first));
	digests[1] = message_bytes(second, sizeof(second));
	m.number = 5;
	m.id = message_bytes(id.b, ID128_SIZE);
	m.kind = SYNC__DECIDED_KIND__DECIDED_CURRENT;
	m.sop_instance = message_text("1.2.3.4.5");
	m.digests = digests;
	m.n_digests = 2;
	m.seen = message_bytes(seen, sizeof(seen));
	m.person = true;
	m.follows = 3;
	m.origin = 2;
	m.why = message_text("sharper");
	m.by = message_text("north");
	m.wall_ms = 1790000000000;
	m.mac = message_bytes(first, sizeof(first));
	message_pack(&one, &m.base);
	expect("2.decision", one.data, one.len);
	back[0] = message_bytes(one.data, one.len);
	request.after = 9;
	request.last = message_bytes(id.b, ID128_SIZE);
	request.back = back;
	request.n_back = 1;
	message_pack(&b, &request.base);
	expect("2.message.decisions", b.data, b.len);
	buf_fini(&one);
	buf_fini(&b);
}

static void
messages__R25_R26_of_joining_are_the_golden_ones(void **state)
{
	Sync__JoinRequest join = SYNC__JOIN_REQUEST__INIT;
	Sync__JoinAnswer joined = SYNC__JOIN_ANSWER__INIT;
	Sync__RenewRequest renew = SYNC__RENEW_REQUEST__INIT;
	Sync__HelloRequest hello = SYNC__HELLO_REQUEST__INIT;
	Sync__HelloAnswer answer = SYNC__HELLO_ANSWER__INIT;
	struct buf b = BUF_INIT;

	(void)state;
	join.secret = message_bytes(id.b, ID128_SIZE);
	join.site = message_text("north");
	join.csr = renew.csr = message_bytes("request", 7);
	message_pack(&b, &join.base);
	expect("message.join", b.data, b.len);
	buf_clear(&b);
	joined.archive = message_bytes(id.b, ID128_SIZE);
	joined.certificate = message_bytes("certificate", 11);
	joined.ca = message_bytes("bundle", 6);
	message_pack(&b, &joined.base);
	expect("message.join_answer", b.data, b.len);
	buf_clear(&b);
	message_pack(&b, &renew.base);
	expect("message.renew", b.data, b.len);
	buf_clear(&b);
	hello.ca = message_bytes(id.b, ID128_SIZE);
	message_pack(&b, &hello.base);
	expect("message.hello.ca", b.data, b.len);
	buf_clear(&b);
	answer.renew = true;
	message_pack(&b, &answer.base);
	expect("message.hello_answer.renew", b.data, b.len);
	buf_fini(&b);
}

/* Of a table of the week: unknown to version 1, which skips it. */
static void
messages__of_bandwidth_are_the_golden_ones(void **state)
{
	Sync__HelloAnswer answer = SYNC__HELLO_ANSWER__INIT;
	Sync__LogDecision decision = SYNC__LOG_DECISION__INIT;
	struct bandwidth_runs runs;
	struct bandwidth table;
	struct buf b = BUF_INIT;

	(void)state;
	bandwidth_clear(&table);
	assert_true(bandwidth_set(&table, 500000, "mon", "07:00-19:00"));
	assert_true(bandwidth_set(&table, 0, "sun", NULL));
	bandwidth_to_runs(&runs, &table);
	answer.bandwidth = decision.bandwidth = runs.list;
	answer.n_bandwidth = decision.n_bandwidth = runs.n;
	message_pack(&b, &answer.base);
	expect("message.hello_answer.bandwidth", b.data, b.len);
	buf_clear(&b);
	decision.kind = SYNC__DECISION_KIND__DECISION_SITE_BANDWIDTH;
	decision.site = message_text("north");
	message_pack(&b, &decision.base);
	expect("log.decision.bandwidth", b.data, b.len);
	buf_fini(&b);
}

/* What an edge tells of its way to central: skipped by version 1. */
static void
messages__of_what_an_edge_tells_are_the_golden_ones(void **state)
{
	Sync__HelloRequest hello = SYNC__HELLO_REQUEST__INIT;
	Sync__SyncState told = SYNC__SYNC_STATE__INIT;
	Sync__LaneState lane = SYNC__LANE_STATE__INIT, *lanes[1] = {&lane};
	struct buf b = BUF_INIT;

	(void)state;
	lane.lane = LANE_FRESH;
	lane.images = 3;
	lane.bytes = 1572864;
	lane.put_off = 1;
	lane.oldest_seconds = 190;
	lane.waits_for = WAIT_SCHEDULE;
	told.lanes = lanes;
	told.n_lanes = 1;
	told.images_milli = 3200;
	told.bytes = 1000000;
	told.waits_for = WAIT_SCHEDULE;
	told.until_ms = 3600000;
	told.limited = true;
	hello.state = &told;
	message_pack(&b, &hello.base);
	expect("message.hello.state", b.data, b.len);
	buf_clear(&b);
	told = (Sync__SyncState)SYNC__SYNC_STATE__INIT;
	told.estimated = true;
	told.in_step_seconds = 250;
	told.limited = true;
	told.limit = 500000;
	message_pack(&b, &told.base);
	expect("message.state", b.data, b.len);
	buf_fini(&b);
}

static void
clog__R16_a_segment_is_the_golden_one(void **state)
{
	char dir[] = "/tmp/test_vectors.XXXXXX", path[64], command[80];
	struct buf file = BUF_INIT;
	struct clog *c;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(clog_open(&c, dir, 0, NULL, NULL, NULL), 0);
	assert_int_equal(clog_append(c, CLOG_EPOCH, "epoch", 5, NULL), 0);
	assert_int_equal(clog_append(c, CLOG_DECISION, "decision", 8, NULL), 0);
	assert_int_equal(clog_sync(c, NULL), 0);
	clog_close(c);
	(void)snprintf(path, sizeof(path), "%s/00000001.log", dir);
	assert_int_equal(file_slurp(path, VECTORS_MAX, &file, NULL), 0);
	expect("log.segment", file.data, file.len);
	buf_fini(&file);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

/* --- one line for each message and each kind --- */

static void
expect_message(const char *name, const ProtobufCMessage *m)
{
	struct buf b = BUF_INIT;

	message_pack(&b, m);
	assert_false(buf_failed(&b));
	expect(name, b.data, b.len);
	buf_fini(&b);
}

#define OF(type) .base = PROTOBUF_C_MESSAGE_INIT(&sync__##type##__descriptor)
#define MAC message_bytes(mac, sizeof(mac))
#define ID message_bytes(id.b, ID128_SIZE)
#define WALL_MS 1790000000000

static unsigned char mac[SHA256_SIZE] = {4, 5, 6};

static Sync__Rejection
rejection(void)
{
	static char *instances[1];
	Sync__Rejection m = SYNC__REJECTION__INIT;

	instances[0] = message_text("1.2.3.4.5");
	m.on = true;
	m.reason = 1;
	m.rank = 7;
	m.note = message_text("1.2.3.9");
	m.study = message_text("1.2.3");
	m.instances = instances;
	m.n_instances = 1;
	return m;
}

static void
ledger_rejected__R5_is_the_golden_one(void **state)
{
	Sync__Rejection m = rejection();
	struct buf b = BUF_INIT;

	(void)state;
	ledger_rejected(&b, &m, WALL_MS);
	expect("ledger.rejected", b.data, b.len);
	buf_fini(&b);
}

static void
messages__R5_R9_R19_of_the_other_calls_are_the_golden_ones(void **state)
{
	ProtobufCBinaryData two[2] = {MAC, ID};
	Sync__ReleaseVerdict verdicts[3] = {SYNC__RELEASE_VERDICT__RELEASE_YES,
					    SYNC__RELEASE_VERDICT__RELEASE_UNKNOWN,
					    SYNC__RELEASE_VERDICT__RELEASE_NO};
	uint64_t bad[2] = {3, 300};
	Sync__LedgerRequest append = {OF(ledger_request), .incarnation = ID, .first = 9,
				      .before = MAC,	  .entries = two,    .n_entries = 2};
	Sync__LedgerAnswer appended = {OF(ledger_answer), .head = 10, .hash = MAC};
	Sync__HoldingsRequest ask = {OF(holdings_request), .incarnation = ID, .first = 1,
				     .count = 300};
	Sync__HoldingsAnswer marks = {OF(holdings_answer), .first = 1, .count = 12,
				      .bits = message_bytes("\xff\x0b", 2)};
	Sync__ReleaseRequest may = {OF(release_request), .digests = two, .n_digests = 2};
	Sync__ReleaseAnswer verdict = {OF(release_answer), .verdicts = verdicts, .n_verdicts = 3};
	Sync__UploadAnswer upload = {
		OF(upload_answer), .offset = 8192, .receipt = message_bytes("receipt", 7),
		.bad = bad,	   .n_bad = 2,	   .busy_ms = 40};
	Sync__UploadAnswer place = {OF(upload_answer), .offset = 512, .unknown = true,
				    .misplaced = true};
	Sync__RefillRequest refill = {
		OF(refill_request), .site = message_text("north"),  .before = 99,
		.count = 500,	    .not_before_ms = 1000,	    .digests = two,
		.n_digests = 1,	    .study = message_text("1.2.3"), .cursor = message_bytes("", 1)};
	Sync__RefillItem item = {OF(refill_item), .entry = message_bytes("entry", 5),
				 .arrival = 98,	  .pack = MAC,
				 .offset = 1536,  .age_ms = 60000,
				 .current = true, .committed = true},
			 *items[1] = {&item};
	Sync__RefillStudy who = {OF(refill_study), .study = message_text("1.2.3"),
				 .attributes = message_bytes("who", 3)},
			  *studies[1] = {&who};
	Sync__RefillAnswer page = {OF(refill_answer), .items = items,
				   .n_items = 1,      .studies = studies,
				   .n_studies = 1,    .next = 98,
				   .total = 12,	      .cursor = message_bytes("next", 4)};
	Sync__ContactToken token = {OF(contact_token), .number = 12, .epoch = ID, .random = ID,
				    .mac = MAC};
	Sync__SyncState held = {OF(sync_state), .hold = HOLD_ORDER};
	Sync__DecisionsAnswer list = {
		OF(decisions_answer), .decisions = two, .n_decisions = 2, .next = 9,
		.total = 11,	      .restart = true,	.about = two,	  .n_about = 1};
	Sync__ResolveRequest resolve = {OF(resolve_request),
					.sop_instance = message_text("1.2.3.4.5"), .digest = MAC,
					.why = message_text("sharper")};
	const struct {
		const char *name;
		const ProtobufCMessage *m;
	} rows[] = {{"message.ledger", &append.base},
		    {"message.ledger_answer", &appended.base},
		    {"message.holdings", &ask.base},
		    {"message.holdings_answer", &marks.base},
		    {"message.release", &may.base},
		    {"message.release_answer", &verdict.base},
		    {"message.upload_answer", &upload.base},
		    {"message.upload_answer.misplaced", &place.base},
		    {"message.refill", &refill.base},
		    {"message.refill_answer", &page.base},
		    {"message.contact_token", &token.base},
		    {"message.state.hold", &held.base},
		    {"2.message.decisions_answer", &list.base},
		    {"2.message.resolve", &resolve.base}};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_message(rows[i].name, rows[i].m);
}

static void
orders__R10_R16_R26_of_the_other_kinds_are_the_golden_ones(void **state)
{
	Sync__Rejection what = rejection();
	Sync__Order rows[] = {
		{OF(order), .kind = SYNC__ORDER_KIND__ORDER_HOLD, .on = true},
		{OF(order), .kind = SYNC__ORDER_KIND__ORDER_RESTORE,
		 .subject = message_text("1.2.3.4.5"), .study = message_text("1.2.3")},
		{OF(order), .kind = SYNC__ORDER_KIND__ORDER_RESEND, .site = message_text("north")},
		{OF(order), .kind = SYNC__ORDER_KIND__ORDER_PREFETCH, .site = message_text("north"),
		 .study = message_text("1.2.3")},
		{OF(order), .kind = SYNC__ORDER_KIND__ORDER_REJECTED,
		 .subject = message_text("0102"), .rejection = &what},
		{OF(order), .kind = SYNC__ORDER_KIND__ORDER_SITE, .subject = message_text("south"),
		 .standing = SYNC__STANDING__STANDING_REMOVED}};
	static const char *const names[] = {"hold",	"restore",  "resend",
					    "prefetch", "rejected", "site"};
	char name[40];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rows[i].number = 1048581 + i;
		(void)snprintf(name, sizeof(name), "2.order.%s", names[i]);
		expect_message(name, &rows[i].base);
	}
}

/* R16: what a rebuild reads, of whatever release wrote it. */
static void
log__R16_of_ledgers_and_epochs_are_the_golden_ones(void **state)
{
	ProtobufCBinaryData entries[1] = {message_bytes("entry", 5)};
	Sync__LogLedger ledger = {OF(log_ledger),    .site = message_text("north"),
				  .incarnation = ID, .first = 9,
				  .before = MAC,     .entries = entries,
				  .n_entries = 1,    .wall_ms = WALL_MS,
				  .time_ms = 5000};
	Sync__LogEpoch begun = {OF(log_epoch), .epoch = ID, .why = message_text("restored"),
				.wall_ms = WALL_MS};

	(void)state;
	expect_message("log.ledger", &ledger.base);
	expect_message("log.epoch", &begun.base);
}

static void
log__R16_R18_R26_of_each_kind_of_decision_are_the_golden_ones(void **state)
{
	ProtobufCBinaryData one[1] = {MAC};
	const struct {
		const char *name;
		Sync__LogDecision m; /* but its kind, site, and time */
	} rows[] = {
		[SYNC__DECISION_KIND__DECISION_OPEN] = {"open",
							{OF(log_decision), .incarnation = ID,
							 .previous_incarnation = ID,
							 .last_common_seq = 4,
							 .last_common_hash = MAC}},
		[SYNC__DECISION_KIND__DECISION_CLOSE] = {"close",
							 {OF(log_decision), .incarnation = ID,
							  .why = message_text("a person")}},
		[SYNC__DECISION_KIND__DECISION_WITHDRAW] = {"withdraw",
							    {OF(log_decision), .digests = one,
							     .n_digests = 1}},
		[SYNC__DECISION_KIND__DECISION_SITE_ADD] = {"site_add",
							    {OF(log_decision), .code = MAC,
							     .code_until_wall_ms = WALL_MS}},
		[SYNC__DECISION_KIND__DECISION_SITE_JOIN] = {"site_join",
							     {OF(log_decision), .key = MAC,
							      .from_wall_ms = 1, .until_wall_ms = 2,
							      .ca = MAC, .unvouched = true}},
		[SYNC__DECISION_KIND__DECISION_SITE_RENEW] = {"site_renew",
							      {OF(log_decision), .key = MAC,
							       .from_wall_ms = 2,
							       .until_wall_ms = 3, .ca = MAC}},
		[SYNC__DECISION_KIND__DECISION_SITE_REFUSED] = {"site_refused",
								{OF(log_decision), .key = MAC}},
		[SYNC__DECISION_KIND__DECISION_SITE_SUSPEND] = {"site_suspend",
								{OF(log_decision),
								 .why = message_text("stolen")}},
		[SYNC__DECISION_KIND__DECISION_SITE_READMIT] = {"site_readmit",
								{OF(log_decision),
								 .why = message_text("found")}},
		[SYNC__DECISION_KIND__DECISION_SITE_REMOVE] = {"site_remove",
							       {OF(log_decision),
								.why = message_text("closed")}},
		[SYNC__DECISION_KIND__DECISION_SITE_POLICY] = {"site_policy",
							       {OF(log_decision), .own = true}},
		[SYNC__DECISION_KIND__DECISION_CA] = {"ca", {OF(log_decision), .key = MAC}},
		[SYNC__DECISION_KIND__DECISION_RETURNED] = {"returned",
							    {OF(log_decision), .digests = one,
							     .n_digests = 1}},
		[SYNC__DECISION_KIND__DECISION_TWIN] = {"twin",
							{OF(log_decision), .incarnation = ID}},
		[SYNC__DECISION_KIND__DECISION_KEEP] = {"keep",
							{OF(log_decision), .incarnation = ID}},
		[SYNC__DECISION_KIND__DECISION_ORDER] = {"order",
							 {OF(log_decision),
							  .order = message_bytes("order", 5)}},
		[SYNC__DECISION_KIND__DECISION_ORDER_DONE] = {"order_done",
							      {OF(log_decision),
							       .order = message_bytes("done", 4)}},
		[SYNC__DECISION_KIND__DECISION_SITE_VOUCHES] = {"site_vouches", {OF(log_decision)}},
		[SYNC__DECISION_KIND__DECISION_DECIDED] = {"decided",
							   {OF(log_decision), .decided = one,
							    .n_decided = 1, .back = true}},
		[SYNC__DECISION_KIND__DECISION_COMMITTED] = {
			"committed", {OF(log_decision), .digests = one, .n_digests = 1}}};
	Sync__LogDecision m;
	char name[60];
	size_t i;

	(void)state;
	for (i = 1; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!rows[i].name) { /* messages__of_bandwidth_... */
			assert_int_equal(i, SYNC__DECISION_KIND__DECISION_SITE_BANDWIDTH);
			continue;
		}
		m = rows[i].m;
		m.kind = (Sync__DecisionKind)i;
		m.site = message_text("north");
		m.wall_ms = WALL_MS;
		(void)snprintf(name, sizeof(name), "log.decision.%s", rows[i].name);
		expect_message(name, &m.base);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_write__R14_gives_the_golden_bytes),
		cmocka_unit_test(ledger__R5_entries_and_their_chain_are_the_golden_ones),
		cmocka_unit_test(pack__R14_manifest_id_and_file_are_the_golden_ones),
		cmocka_unit_test(messages__R5_R22_are_the_golden_ones),
		cmocka_unit_test(messages__of_version_2_are_the_golden_ones),
		cmocka_unit_test(orders__R16_R27_are_the_golden_ones),
		cmocka_unit_test(decision__R3_R16_is_the_golden_one),
		cmocka_unit_test(messages__R25_R26_of_joining_are_the_golden_ones),
		cmocka_unit_test(messages__of_bandwidth_are_the_golden_ones),
		cmocka_unit_test(messages__of_what_an_edge_tells_are_the_golden_ones),
		cmocka_unit_test(ledger_rejected__R5_is_the_golden_one),
		cmocka_unit_test(messages__R5_R9_R19_of_the_other_calls_are_the_golden_ones),
		cmocka_unit_test(orders__R10_R16_R26_of_the_other_kinds_are_the_golden_ones),
		cmocka_unit_test(log__R16_of_ledgers_and_epochs_are_the_golden_ones),
		cmocka_unit_test(log__R16_R18_R26_of_each_kind_of_decision_are_the_golden_ones),
		cmocka_unit_test(clog__R16_a_segment_is_the_golden_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
