/* Messages, negotiation, peers, audit, identifiers: what needs no network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/rng.h"
#include "common/dicom/keys.h"
#include "common/dimse/audit.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/negotiate.h"
#include "common/dimse/peers.h"
#include "common/dimse/resolver.h"
#include "common/os/file.h"
#include "tests/gen/element.h"
#include "tests/lib/folder.h"

#define EXPLICIT "1.2.840.10008.1.2.1"
#define IMPLICIT "1.2.840.10008.1.2"
#define BIG "1.2.840.10008.1.2.2"
#define LOSSLESS "1.2.840.10008.1.2.4.70"
#define LOSSY "1.2.840.10008.1.2.4.50"
#define DEFLATED "1.2.840.10008.1.2.1.99"

static const char *
path_of(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* --- messages --- */

static void
message_build__is_read_back_as_it_was(void **state)
{
	struct message m, back;
	struct buf b = BUF_INIT;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.command = MESSAGE_MOVE_RSP;
	m.responded_to = 77;
	m.status = STATUS_PENDING;
	m.has_counts = true;
	m.remaining = 3;
	m.completed = 2;
	m.failed = 1;
	strcpy(m.sop_class, "1.2.840.10008.5.1.4.1.2.2.2");
	m.offending = TAG_STUDY_UID;
	strcpy(m.comment, "odd");
	message_build(&b, &m);
	assert_int_equal(b.len % 2, 0);
	assert_int_equal(buf_get_u32(b.data + 8), b.len - 12); /* (0000,0000) */
	assert_int_equal(message_parse(&back, b.data, b.len, NULL), 0);
	assert_int_equal(back.command, m.command);
	assert_int_equal(back.responded_to, 77);
	assert_int_equal(back.status, STATUS_PENDING);
	assert_int_equal(back.remaining, 3);
	assert_int_equal(back.completed, 2);
	assert_int_equal(back.failed, 1);
	assert_string_equal(back.sop_class, m.sop_class);
	assert_int_equal(back.offending, TAG_STUDY_UID);
	assert_string_equal(back.comment, "odd");
	assert_false(back.has_data);
	buf_fini(&b);
}

static void
message_build__golden_echo_request(void **state)
{
	static const char golden[] =
		"0000000004000000380000000000020012000000312e322e3834302e313030"
		"30382e312e31000000000102000000300000001001020000000500000000"
		"0802000000"
		"0101";
	struct message m;
	struct buf b = BUF_INIT;
	char hex[256];

	(void)state;
	memset(&m, 0, sizeof(m));
	m.command = MESSAGE_ECHO_RQ;
	m.id = 5;
	strcpy(m.sop_class, "1.2.840.10008.1.1");
	message_build(&b, &m);
	assert_true(b.len < sizeof(hex) / 2);
	hex_of(b.data, b.len, hex);
	assert_string_equal(hex, golden);
	buf_fini(&b);
}

static void
message_parse__refuses_what_is_none_and_survives_chance(void **state)
{
	struct rng_seeded r;
	struct message m, out;
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	assert_int_equal(message_parse(&out, "", 0, NULL), ERR_PEER);
	assert_int_equal(message_parse(&out, "abc", 3, NULL), ERR_PEER);
	rng_seeded_init(&r, 3);
	memset(&m, 0, sizeof(m));
	m.command = MESSAGE_STORE_RQ;
	m.id = 1;
	strcpy(m.sop_class, "1.2.3");
	strcpy(m.sop_instance, "1.2.3.4");
	strcpy(m.originator, "ORIGIN");
	for (i = 0; i < 20000; i++) {
		buf_clear(&b);
		message_build(&b, &m);
		b.data[rng_below(&r.r, b.len)] = (unsigned char)rng_u64(&r.r);
		b.data[rng_below(&r.r, b.len)] = (unsigned char)rng_u64(&r.r);
		(void)message_parse(&out, b.data, (size_t)rng_below(&r.r, b.len + 1), NULL);
	}
	buf_fini(&b);
}

/* --- negotiation --- */

static const struct peer anybody = {.name = "", .aet = "", .host = "", .issuer = ""};

static void
negotiate_syntax__R31_the_order_of_the_acceptor(void **state)
{
	static const char *const all[] = {LOSSY, BIG, DEFLATED, LOSSLESS, IMPLICIT, EXPLICIT};
	unsigned n;

	(void)state;
	for (n = 1; n <= 6; n++) /* each further one is preferred to all before it */
		assert_int_equal(negotiate_syntax(all, n, &anybody, true), (int)n - 1);
	assert_int_equal(negotiate_syntax(all, 4, &anybody, false), -1);
	assert_int_equal(negotiate_syntax(all, 6, &anybody, false), 5);
	assert_int_equal(negotiate_syntax(all, 0, &anybody, true), -1);
}

static void
negotiate_syntax__R31_a_peer_may_have_its_own_order(void **state)
{
	static const char *const both[] = {EXPLICIT, LOSSLESS};
	static const char *const lossy_first[] = {LOSSY, EXPLICIT};
	struct peer p = anybody;

	(void)state;
	p.syntaxes[0] = LOSSLESS;
	assert_int_equal(negotiate_syntax(both, 2, &p, true), 1);
	p.syntaxes[0] = NULL;
	p.as_proposed = true;
	assert_int_equal(negotiate_syntax(lossy_first, 2, &p, true), 0);
}

static void
service_of__unknown_classes_are_storage(void **state)
{
	(void)state;
	assert_int_equal(service_of("1.2.840.10008.1.1"), SERVICE_VERIFICATION);
	assert_int_equal(service_of("1.2.840.10008.5.1.4.1.2.2.3"), SERVICE_GET_STUDY);
	assert_int_equal(service_of("1.2.840.10008.5.1.4.1.1.2"), SERVICE_STORAGE);
	assert_int_equal(service_of("1.3.46.670589.5.0.1.1"), SERVICE_STORAGE);
	assert_int_equal(service_of("1.2.840.10008.1.20.1"), SERVICE_COMMITMENT);
	assert_int_equal(service_of("1.2.840.10008.1.20.2"), SERVICE_NONE);
	assert_int_equal(service_of("1.2.840.10008.5.1.4.31"), SERVICE_NONE);
	assert_int_equal(service_of("1.2.840.10008.5.1.4.42"), SERVICE_NONE);
	/* Storage and queries side by side in one family of UIDs. */
	assert_int_equal(service_of("1.2.840.10008.5.1.4.1.1.200.3"), SERVICE_STORAGE);
	assert_int_equal(service_of("1.2.840.10008.5.1.4.1.1.200.4"), SERVICE_NONE);
	assert_int_equal(service_of("1.2.840.10008.5.1.4.1.1.201.1"), SERVICE_STORAGE);
	assert_int_equal(service_of("1.2.840.10008.5.1.4.1.1.201.2"), SERVICE_NONE);
	assert_int_equal(service_of("1.2.840.10008.5.1.1.16"), SERVICE_NONE);
	assert_int_equal(service_of("1.2.840.10008.5.1.1.29"), SERVICE_STORAGE);
}

/* --- peers --- */

static struct peers *
load_peers(const char *text, bool unlisted_store, int want)
{
	const struct conf_row *rows;
	struct conf *c;
	struct peers *p = NULL;
	struct err e = ERR_INIT;
	size_t n;

	rows = peers_rows(&n);
	assert_int_equal(file_replace(folder, "peers.conf", text, strlen(text), NULL), 0);
	assert_int_equal(conf_load(&c, path_of("peers.conf"), rows, n, &e), 0);
	assert_int_equal(peers_load(&p, c, path_of("addresses"), unlisted_store, &e), want);
	conf_free(c);
	return p;
}

static void
peers_caller__R29_goes_by_title_and_address(void **state)
{
	struct peers *p = load_peers("[peer A]\naet = CT\nhost = 10.0.0.1\nmay = store\n"
				     "[peer B]\naet = CT\nfrom = 10.0.0.2, fd00::1\n",
				     true, 0);

	(void)state;
	assert_string_equal(peers_caller(p, "CT", "10.0.0.1")->name, "A");
	assert_int_equal(peers_caller(p, "CT", "10.0.0.1")->may, PEER_STORE);
	assert_string_equal(peers_caller(p, "CT", "10.0.0.2")->name, "B");
	assert_string_equal(peers_caller(p, "CT", "fd00::1")->name, "B");
	assert_int_equal(peers_caller(p, "CT", "10.0.0.2")->may,
			 PEER_STORE | PEER_FIND | PEER_GET | PEER_MOVE);
	assert_string_equal(peers_caller(p, "MR", "10.0.0.1")->name, "");
	assert_int_equal(peers_caller(p, "CT", "10.0.0.9")->may, PEER_STORE);
	assert_int_equal(peers_caller(p, "X", "127.0.0.1")->may, PEER_STORE | PEER_FIND | PEER_GET);
	peers_unref(p);
	p = load_peers("", false, 0);
	assert_int_equal(peers_caller(p, "X", "10.0.0.9")->may, 0);
	peers_unref(p);
}

static void
peers_destination__R29_prefers_the_caller_among_equal_titles(void **state)
{
	struct peers *p = load_peers("[peer A]\naet = WS\nhost = 10.0.0.1\nport = 104\n"
				     "[peer B]\naet = WS\nhost = 10.0.0.2\nport = 105\n"
				     "[peer C]\naet = NOPORT\nhost = 10.0.0.3\n",
				     true, 0);
	char host[PEER_ADDRESS_SIZE];

	(void)state;
	assert_string_equal(peers_destination(p, "WS", "10.0.0.2")->name, "B");
	assert_string_equal(peers_destination(p, "WS", "10.0.0.9")->name, "A");
	assert_null(peers_destination(p, "NOPORT", "10.0.0.3"));
	assert_null(peers_destination(p, "UNKNOWN", "10.0.0.3"));
	assert_true(peers_host(p, peers_destination(p, "WS", "10.0.0.2"), host));
	assert_string_equal(host, "10.0.0.2");
	peers_unref(p);
}

static void
peers_resolve__R29_the_last_good_address_outlives_dns(void **state)
{
	static const char conf[] = "[peer L]\naet = L\nhost = localhost\nport = 104\n";
	struct peers *p = load_peers(conf, true, 0);
	char host[PEER_ADDRESS_SIZE];
	const struct peer *peer = peers_destination(p, "L", "10.0.0.1");

	(void)state;
	assert_false(peers_host(p, peer, host)); /* nobody asks DNS while answering */
	peers_resolve(p);
	assert_true(peers_host(p, peer, host));
	peers_unref(p);
	p = load_peers(conf, true, 0); /* a restart without any name server */
	assert_true(peers_host(p, peers_destination(p, "L", "10.0.0.1"), host));
	peers_unref(p);
}

static bool
known_in_time(struct peers *p)
{
	static const struct timespec moment = {0, 10000000};
	char host[PEER_ADDRESS_SIZE];
	int i;

	for (i = 0; i < 2000; i++) {
		if (peers_host(p, peers_destination(p, "L", "10.0.0.1"), host))
			return true;
		(void)nanosleep(&moment, NULL);
	}
	return false;
}

static void
resolver__R29_asks_in_the_background_also_after_a_reload(void **state)
{
	static const char conf[] = "[peer L]\naet = L\nhost = localhost\nport = 104\n";
	struct peers *p, *other;
	struct resolver *r;

	(void)state;
	(void)unlink(path_of("addresses"));
	p = load_peers(conf, true, 0);
	assert_int_equal(resolver_start(&r, p, 3600, NULL), 0);
	assert_true(known_in_time(p));
	(void)unlink(path_of("addresses"));
	other = load_peers(conf, true, 0);
	resolver_peers(r, other);
	assert_true(known_in_time(other));
	resolver_stop(r);
	peers_unref(other);
	peers_unref(p);
}

static void
peers_load__names_what_is_wrong(void **state)
{
	(void)state;
	assert_null(load_peers("[peer A]\naet = CT\n", true, ERR_LOCAL));
	assert_null(load_peers("[peer A]\naet = CT\nfrom = 1,2,3,4,5,6,7,8,9\n", true, ERR_LOCAL));
}

/* --- audit --- */

static void
audit_line__R36_is_chained_across_restarts_and_shows_changes(void **state)
{
	struct clock_manual clock;
	struct audit *a;
	struct buf b = BUF_INIT;
	uint64_t line;
	int i;

	(void)state;
	clock_manual_init(&clock, 0, INT64_C(1795470912000));
	for (i = 0; i < 3; i++) {
		assert_int_equal(audit_open(&a, path_of("audit.log"), &clock.c, NULL), 0);
		audit_line(a, "association", "calling=CT%d", i);
		audit_line(a, "query", "keys=%s", "00100020\nforged");
		audit_close(a);
	}
	assert_int_equal(audit_verify(path_of("audit.log"), &line, NULL), 0);
	assert_int_equal(line, 6);
	assert_int_equal(file_slurp(path_of("audit.log"), 65536, &b, NULL), 0);
	b.data[b.len / 2] ^= 1;
	assert_int_equal(file_replace(folder, "audit.log", b.data, b.len, NULL), 0);
	assert_int_equal(audit_verify(path_of("audit.log"), &line, NULL), ERR_CORRUPT);
	assert_in_range(line, 2, 5);
	buf_fini(&b);
}

static void
audit_file(const char *name, struct buf *out)
{
	buf_clear(out);
	assert_int_equal(file_slurp(path_of(name), 65536, out, NULL), 0);
	buf_put_u8(out, 0);
}

static void
audit_open__R36_a_torn_end_is_no_damage_and_needs_no_room(void **state)
{
	struct clock_manual clock;
	struct audit *a;
	struct buf b = BUF_INIT;
	uint64_t line;

	(void)state;
	clock_manual_init(&clock, 0, INT64_C(1795470912000));
	assert_int_equal(audit_open(&a, path_of("torn.log"), &clock.c, NULL), 0);
	audit_line(a, "query", "keys=1");
	audit_line(a, "query", "keys=2");
	audit_close(a);
	audit_file("torn.log", &b);
	assert_int_equal(file_replace(folder, "torn.log", b.data, b.len - 10, NULL), 0);
	assert_int_equal(audit_verify(path_of("torn.log"), &line, NULL), 0);
	assert_int_equal(line, 1);
	/* The disk is full: nothing can be written, and it opens. */
	fault_arm_named("file.write", 1, FAULT_ERRNO_FOR_EVER, ENOSPC);
	assert_int_equal(audit_open(&a, path_of("torn.log"), &clock.c, NULL), 0);
	audit_line(a, "query", "keys=3");
	assert_int_equal(audit_lost(a), 1);
	(void)fault_disarm();
	audit_line(a, "query", "keys=4");
	audit_close(a);
	assert_int_equal(audit_verify(path_of("torn.log"), &line, NULL), 0);
	audit_file("torn.log", &b);
	assert_null(strstr((char *)b.data, "keys=2"));
	assert_null(strstr((char *)b.data, "keys=3"));
	assert_non_null(strstr((char *)b.data, " gap lines=2 "));
	assert_non_null(strstr((char *)b.data, "keys=4"));
	buf_fini(&b);
}

static void
audit_line__R36_what_could_not_be_written_is_counted_and_told(void **state)
{
	struct clock_manual clock;
	struct audit *a;
	uint64_t line;

	(void)state;
	clock_manual_init(&clock, 0, INT64_C(1795470912000));
	assert_int_equal(mkdir(path_of("gap.log"), 0700), 0); /* cannot be opened at all */
	assert_int_equal(audit_open(&a, path_of("gap.log"), &clock.c, NULL), 0);
	assert_int_equal(audit_lost(a), 1);
	audit_line(a, "query", "keys=1");
	assert_int_equal(rmdir(path_of("gap.log")), 0);
	audit_line(a, "query", "keys=2");
	assert_int_equal(audit_lost(a), 1);
	fault_arm_named("file.write", 1, FAULT_ERRNO, ENOSPC);
	audit_line(a, "query", "keys=3");
	(void)fault_disarm();
	audit_line(a, "query", "keys=4");
	assert_int_equal(audit_lost(a), 2);
	audit_close(a);
	assert_int_equal(audit_verify(path_of("gap.log"), &line, NULL), 0);
	assert_int_equal(line, 4); /* two, and a gap before each */
}

/* --- identifiers --- */

static void
identifier_build__is_read_back_in_both_encodings(void **state)
{
	static const char *const syntaxes[] = {EXPLICIT, IMPLICIT};
	struct buf set = BUF_INIT;
	int i;

	(void)state;
	attrs_put(&set, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(&set, TAG_PATIENT_NAME, "M\xc3\xbcller^J\xc3\xb6rg", 13);
	attrs_put(&set, TAG_STUDY_UID, "1.2.3\\1.2.4", 11);
	attrs_put(&set, 0x00280010u, "512", 3);
	for (i = 0; i < 2; i++) {
		struct buf b = BUF_INIT;
		struct identifier id;
		char text[64];

		identifier_build(&b, syntaxes[i], attrs_of(&set));
		assert_int_equal(identifier_parse(&id, syntaxes[i], b.data, b.len, NULL), 0);
		(void)attrs_copy(attrs_of(&id.keys), TAG_PATIENT_NAME, text, sizeof(text));
		assert_string_equal(text, "M\xc3\xbcller^J\xc3\xb6rg");
		(void)attrs_copy(attrs_of(&id.keys), TAG_STUDY_UID, text, sizeof(text));
		assert_string_equal(text, "1.2.3\\1.2.4");
		(void)attrs_copy(attrs_of(&id.keys), TAG_CHARSET, text, sizeof(text));
		assert_string_equal(text, "ISO_IR 192");
		identifier_fini(&id);
		buf_fini(&b);
	}
	buf_fini(&set);
}

static void
identifier_parse__R33_other_ids_are_a_key_and_an_answer(void **state)
{
	static const char *const syntaxes[] = {IMPLICIT, EXPLICIT};
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct buf set = BUF_INIT, b = BUF_INIT;
		struct identifier id;
		char got[64];

		attrs_put(&set, TAG_OTHER_IDS, "A12^^^H", 7);
		identifier_build(&b, syntaxes[i], attrs_of(&set));
		assert_int_equal(identifier_parse(&id, syntaxes[i], b.data, b.len, NULL), 0);
		(void)attrs_copy(attrs_of(&id.keys), TAG_OTHER_IDS, got, sizeof(got));
		assert_string_equal(got, "A12^^^H");
		identifier_fini(&id);
		buf_fini(&set);
		buf_fini(&b);
	}
}

static void
identifier_parse__R33_the_issuer_of_an_accession_is_a_key_and_an_answer(void **state)
{
	/* What the index keeps, and the key that its answer would be. */
	static const char *const rows[][2] = {
		{"HOSP", "HOSP"}, {"1.2.3", "1.2.3"}, {"HOSP\\1.2.3", "HOSP"}, {"", ""}};
	static const char *const syntaxes[] = {IMPLICIT, EXPLICIT};
	size_t i;

	(void)state;
	for (i = 0; i < 8; i++) {
		struct buf set = BUF_INIT, b = BUF_INIT;
		struct identifier id;
		char got[64];

		attrs_put(&set, TAG_ACCESSION_ISSUER, rows[i / 2][0], strlen(rows[i / 2][0]));
		identifier_build(&b, syntaxes[i % 2], attrs_of(&set));
		assert_int_equal(identifier_parse(&id, syntaxes[i % 2], b.data, b.len, NULL), 0);
		(void)attrs_copy(attrs_of(&id.keys), TAG_ACCESSION_ISSUER, got, sizeof(got));
		assert_string_equal(got, rows[i / 2][1]);
		identifier_fini(&id);
		buf_fini(&set);
		buf_fini(&b);
	}
}

static bool
has_unknown(uint32_t sequence, const uint32_t tags[2], const char *const values[2])
{
	struct buf item = BUF_INIT, b = BUF_INIT;
	struct identifier id;
	bool unknown;
	size_t i;

	for (i = 0; i < 2 && tags[i]; i++)
		element_text(&item, tags[i], "LO", values[i]);
	element_head(&b, sequence, "SQ", (uint32_t)item.len + 8);
	element_head(&b, 0xfffee000u, "", (uint32_t)item.len);
	buf_put(&b, item.data, item.len);
	assert_int_equal(identifier_parse(&id, EXPLICIT, b.data, b.len, NULL), 0);
	unknown = id.unknown_items;
	identifier_fini(&id);
	buf_fini(&item);
	buf_fini(&b);
	return unknown;
}

static void
identifier_parse__R34_what_is_not_compared_in_items_is_told(void **state)
{
	static const uint32_t type = 0x00100022u;
	static const struct {
		uint32_t sequence, tags[2];
		const char *values[2];
		bool unknown;
	} all[] = {
		{TAG_OTHER_IDS, {TAG_PATIENT_ID, TAG_PATIENT_ISSUER}, {"A1", "H"}, false},
		{TAG_OTHER_IDS, {TAG_PATIENT_ID, type}, {"A1", "RFID"}, true},
		{TAG_OTHER_IDS, {TAG_PATIENT_ID, type}, {"", ""}, true},
		{TAG_ACCESSION_ISSUER, {TAG_ENTITY_LOCAL}, {"H"}, false},
		{TAG_ACCESSION_ISSUER, {TAG_ENTITY_UNIVERSAL, TAG_ENTITY_TYPE}, {"1.2", ""}, false},
		{TAG_ACCESSION_ISSUER,
		 {TAG_ENTITY_UNIVERSAL, TAG_ENTITY_TYPE},
		 {"1.2", "DNS"},
		 true},
		{TAG_ACCESSION_ISSUER,
		 {TAG_ENTITY_LOCAL, TAG_ENTITY_UNIVERSAL},
		 {"H", "1.2"},
		 true}};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		assert_int_equal(has_unknown(all[i].sequence, all[i].tags, all[i].values),
				 all[i].unknown);
}

static void
identifier_parse__a_sequence_is_a_key_and_an_answer(void **state)
{
	static const char *const syntaxes[] = {IMPLICIT, EXPLICIT};
	static const char items[] = "\x1e"
				    "00400007Sch\xc3\xa4"
				    "del\x1f"
				    "00400009S1\x1f";
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct buf set = BUF_INIT, b = BUF_INIT;
		struct identifier id;
		char got[64];

		attrs_put(&set, TAG_STUDY_DESCRIPTION, "*", 1);
		attrs_put(&set, TAG_REQUEST, items, strlen(items));
		identifier_build(&b, syntaxes[i], attrs_of(&set));
		assert_int_equal(identifier_parse(&id, syntaxes[i], b.data, b.len, NULL), 0);
		(void)attrs_copy(attrs_of(&id.keys), TAG_REQUEST, got, sizeof(got));
		assert_string_equal(got, items);
		(void)attrs_copy(attrs_of(&id.keys), TAG_STUDY_DESCRIPTION, got, sizeof(got));
		assert_string_equal(got, "*");
		identifier_fini(&id);
		buf_fini(&set);
		buf_fini(&b);
	}
}

static void
identifier_build_list__R20_no_uid_of_a_long_list_is_left_out(void **state)
{
	struct buf uids = BUF_INIT, b = BUF_INIT;
	unsigned i;

	(void)state;
	for (i = 0; i < 3000; i++)
		buf_printf(&uids, "%s1.2.840.113619.2.55.3.%010u", i ? "\\" : "", i);
	identifier_build_list(&b, EXPLICIT, TAG_FAILED_UIDS, &uids);
	assert_memory_equal(b.data, "\x08\x00\x58\x00UN\0\0", 8); /* PS3.5 6.2.2: too long for UI */
	assert_int_equal(buf_get_u32(b.data + 8), uids.len + uids.len % 2);
	assert_memory_equal(b.data + 12, uids.data, uids.len);
	buf_clear(&b);
	identifier_build_list(&b, IMPLICIT, TAG_FAILED_UIDS, &uids);
	assert_int_equal(buf_get_u32(b.data + 4), uids.len + uids.len % 2);
	assert_memory_equal(b.data + 8, uids.data, uids.len);
	buf_fini(&b);
	buf_fini(&uids);
}

static void
identifier_parse__keys_are_in_the_character_set_of_the_identifier(void **state)
{
	static const char latin[] = "\x08\x00\x05\x00\x0a\0\0\0ISO_IR 100\x10\x00\x10\x00\x08\0\0\0"
				    "M\xfcller* ";
	static const char greek[] = "\x08\x00\x05\x00\x0a\0\0\0ISO_IR 126\x10\x00\x10\x00\x02\0\0\0"
				    "\xc4*";
	struct identifier id;
	char text[64];

	(void)state;
	assert_int_equal(identifier_parse(&id, IMPLICIT, latin, sizeof(latin) - 1, NULL), 0);
	(void)attrs_copy(attrs_of(&id.keys), TAG_PATIENT_NAME, text, sizeof(text));
	assert_string_equal(text, "M\xc3\xbcller*");
	identifier_fini(&id);
	assert_int_equal(identifier_parse(&id, IMPLICIT, greek, sizeof(greek) - 1, NULL), 0);
	(void)attrs_copy(attrs_of(&id.keys), TAG_PATIENT_NAME, text, sizeof(text));
	assert_string_equal(text, "\xce\x94*");
	identifier_fini(&id);
}

static void
identifier_parse__numbers_are_keys_as_the_index_keeps_them(void **state)
{
	static const char rows[] = "\x28\x00\x10\x00\x02\0\0\0\x00\x02"
				   "\x28\x00\x11\x00\0\0\0\0";
	struct identifier id;
	char text[64];

	(void)state;
	assert_int_equal(identifier_parse(&id, IMPLICIT, rows, sizeof(rows) - 1, NULL), 0);
	(void)attrs_copy(attrs_of(&id.keys), 0x00280010u, text, sizeof(text));
	assert_string_equal(text, "512");
	(void)attrs_copy(attrs_of(&id.keys), 0x00280011u, text, sizeof(text));
	assert_string_equal(text, "");
	identifier_fini(&id);
}

static void
identifier_parse__loses_no_key_and_cuts_none(void **state)
{
	static const char out_of_order[] = "\x20\x00\x0d\x00\x06\0\0\0"
					   "1.2.3\0"
					   "\x10\x00\x20\x00\x02\0\0\0ID";
	struct buf set = BUF_INIT, b = BUF_INIT;
	struct identifier id;
	char text[64];
	unsigned i;

	(void)state;
	assert_int_equal(
		identifier_parse(&id, IMPLICIT, out_of_order, sizeof(out_of_order) - 1, NULL), 0);
	(void)attrs_copy(attrs_of(&id.keys), TAG_PATIENT_ID, text, sizeof(text));
	assert_string_equal(text, "ID");
	(void)attrs_copy(attrs_of(&id.keys), TAG_STUDY_UID, text, sizeof(text));
	assert_string_equal(text, "1.2.3");
	identifier_fini(&id);
	for (i = 0; i < 70000; i++) /* a list of UIDs that is longer than we hold: refused */
		buf_put_u8(&set, '1');
	identifier_build_list(&b, IMPLICIT, TAG_STUDY_UID, &set);
	assert_int_equal(identifier_parse(&id, IMPLICIT, b.data, b.len, NULL), ERR_PEER);
	buf_clear(&b);
	buf_clear(&set);
	buf_put(&b, "\x08\x00\x05\x00\x0a\0\0\0ISO_IR 100", 18);
	for (i = 0; i < 40000; i++) /* and one that grows beyond it in UTF-8 */
		buf_put_u8(&set, 0xfc);
	identifier_build_list(&b, IMPLICIT, TAG_PATIENT_NAME, &set);
	assert_int_equal(identifier_parse(&id, IMPLICIT, b.data, b.len, NULL), ERR_PEER);
	buf_fini(&b);
	buf_fini(&set);
}

static void
identifier_parse__survives_chance_and_depth(void **state)
{
	struct rng_seeded r;
	struct buf b = BUF_INIT;
	struct identifier id;
	int i;

	(void)state;
	rng_seeded_init(&r, 9);
	for (i = 0; i < 20000; i++) {
		unsigned char bytes[128];
		size_t n = (size_t)rng_below(&r.r, sizeof(bytes));

		rng_fill(&r.r, bytes, n);
		if (!identifier_parse(&id, i % 2 ? EXPLICIT : IMPLICIT, bytes, n, NULL))
			identifier_fini(&id);
	}
	for (i = 0; i < 100; i++)
		buf_put(&b,
			"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff",
			20);
	assert_int_equal(identifier_parse(&id, EXPLICIT, b.data, b.len, NULL), ERR_PEER);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_build__is_read_back_as_it_was),
		cmocka_unit_test(message_build__golden_echo_request),
		cmocka_unit_test(message_parse__refuses_what_is_none_and_survives_chance),
		cmocka_unit_test(negotiate_syntax__R31_the_order_of_the_acceptor),
		cmocka_unit_test(negotiate_syntax__R31_a_peer_may_have_its_own_order),
		cmocka_unit_test(service_of__unknown_classes_are_storage),
		cmocka_unit_test(peers_caller__R29_goes_by_title_and_address),
		cmocka_unit_test(peers_destination__R29_prefers_the_caller_among_equal_titles),
		cmocka_unit_test(peers_resolve__R29_the_last_good_address_outlives_dns),
		cmocka_unit_test(resolver__R29_asks_in_the_background_also_after_a_reload),
		cmocka_unit_test(peers_load__names_what_is_wrong),
		cmocka_unit_test(audit_line__R36_is_chained_across_restarts_and_shows_changes),
		cmocka_unit_test(audit_open__R36_a_torn_end_is_no_damage_and_needs_no_room),
		cmocka_unit_test(audit_line__R36_what_could_not_be_written_is_counted_and_told),
		cmocka_unit_test(identifier_build__is_read_back_in_both_encodings),
		cmocka_unit_test(identifier_parse__R33_other_ids_are_a_key_and_an_answer),
		cmocka_unit_test(
			identifier_parse__R33_the_issuer_of_an_accession_is_a_key_and_an_answer),
		cmocka_unit_test(identifier_parse__R34_what_is_not_compared_in_items_is_told),
		cmocka_unit_test(identifier_parse__a_sequence_is_a_key_and_an_answer),
		cmocka_unit_test(identifier_build_list__R20_no_uid_of_a_long_list_is_left_out),
		cmocka_unit_test(identifier_parse__keys_are_in_the_character_set_of_the_identifier),
		cmocka_unit_test(identifier_parse__numbers_are_keys_as_the_index_keeps_them),
		cmocka_unit_test(identifier_parse__loses_no_key_and_cuts_none),
		cmocka_unit_test(identifier_parse__survives_chance_and_depth),
	};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
