/*
 * conformance - the tables of the conformance statement, from those that the nodes go by.
 *
 * Prints "== NAME" and a Markdown table for each; tests/tools/docs.py puts them into
 * deploy/CONFORMANCE.md, and checks that they are there.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/conf.h"
#include "common/dicom/assoc.h"
#include "common/dicom/charset.h"
#include "common/dicom/keys.h"
#include "common/dicom/note.h"
#include "common/dimse/header_keys.h"
#include "common/dimse/message.h"
#include "common/dimse/negotiate.h"
#include "common/dimse/peers.h"
#include "common/dimse/retrieve.h"
#include "common/dimse/service.h"

static void
table(const char *name, const char *head)
{
	const char *p;

	printf("== %s\n| %s |\n|", name, head);
	for (p = head; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		printf("---|");
	printf("\n");
}

/* --- who answers what --- */

static const char *
role_of(enum service_class s)
{
	switch (s) {
	case SERVICE_VERIFICATION:
	case SERVICE_FIND_PATIENT:
	case SERVICE_FIND_STUDY:
	case SERVICE_FIND_PATIENT_ONLY:
	case SERVICE_MOVE_PATIENT:
	case SERVICE_MOVE_STUDY:
	case SERVICE_MOVE_PATIENT_ONLY:
	case SERVICE_GET_PATIENT:
	case SERVICE_GET_STUDY:
	case SERVICE_GET_PATIENT_ONLY:
		return "SCP";
	case SERVICE_COMMITMENT:
		return "SCP; SCU where a peer with host and port proposes to be SCP";
	case SERVICE_STORAGE:
	case SERVICE_NONE:
		break;
	}
	return "-";
}

/* Those in which commands and identifiers are taken. */
static void
plain_syntaxes(void)
{
	static const struct peer anybody;
	const struct known_syntax *s;
	const char *between = "";
	size_t i, n;

	s = negotiate_syntaxes(&n);
	for (i = 0; i < n; i++)
		if (negotiate_syntax(&s[i].uid, 1, &anybody, false) == 0) {
			printf("%s%s", between, s[i].name);
			between = ", ";
		}
}

static void
extended(enum service_class service)
{
	static const char *const names[] = {"relational", "dates with times", "fuzzy names",
					    "time zones"};
	unsigned char offers[ASSOC_EXTENDED_MAX];
	size_t i, n = negotiate_offers(service, offers);
	const char *between = "";

	for (i = 0; i < n && i < sizeof(names) / sizeof(names[0]); i++)
		if (offers[i]) {
			printf("%s%s", between, names[i]);
			between = ", ";
		}
	printf("%s", between[0] ? "" : "none");
}

static void
classes(void)
{
	const struct known_class *c;
	size_t i, n;

	c = negotiate_classes(&n);
	table("contexts",
	      "abstract syntax | UID | transfer syntaxes | role | extended negotiation");
	for (i = 0; i < n; i++) {
		printf("| %s | %s | ", c[i].name, c[i].uid);
		plain_syntaxes();
		printf(" | %s | ", role_of(c[i].service));
		extended(c[i].service);
		printf(" |\n");
	}
	printf("| Storage: every class but those of other services | | as listed below | edge: "
	       "SCP; "
	       "both nodes: SCU where the requestor proposes to be SCP (C-GET) | ");
	extended(SERVICE_STORAGE);
	printf(" |\n");
}

static const char *
outcome_word(enum retrieve_outcome o)
{
	switch (o) {
	case RETRIEVE_STORED:
		return "completed";
	case RETRIEVE_WARNED:
		return "completed, counted as a warning";
	case RETRIEVE_AGAIN:
		return "C-MOVE: sent again on a later association, `move_retries` times, then "
		       "failed; C-GET: failed";
	case RETRIEVE_FAILED:
		return "failed";
	}
	return "";
}

static void
outcomes(void)
{
	const struct retrieve_status *s;
	size_t i, n;

	s = retrieve_statuses(&n);
	table("store-answers", "status | meaning | the sub-operation is");
	for (i = 0; i < n; i++) {
		if (s[i].outcome == RETRIEVE_FAILED)
			printf("| others");
		else if (s[i].first == s[i].last)
			printf("| %04X", s[i].first);
		else
			printf("| %04X-%04X", s[i].first, s[i].last);
		printf(" | %s | %s |\n", s[i].meaning, outcome_word(s[i].outcome));
	}
}

static void
titles(void)
{
	const char *code, *meaning;
	int i;

	table("note-titles", "code | scheme | meaning | `reject --reason`");
	for (i = NOTE_QUALITY; i < NOTE_REASONS; i++) {
		code = note_reason_title((enum note_reason)i, &meaning);
		printf("| %s | DCM | %s | %s |\n", code, meaning,
		       note_reason_word((enum note_reason)i));
	}
}

static void
families(const char *name, const char *head, const char *const *uids, size_t n)
{
	size_t i;

	table(name, head);
	for (i = 0; i < n; i++)
		printf("| %s%s |\n", uids[i], uids[i][strlen(uids[i]) - 1] == '.' ? "*" : "");
}

static void
syntaxes(void)
{
	const struct known_syntax *s;
	size_t i, n;

	s = negotiate_syntaxes(&n);
	table("syntaxes", "preference | transfer syntax | UID");
	for (i = 0; i < n; i++)
		printf("| %s%d | %s | %s |\n", s[i].rank == NEGOTIATE_LOSSY ? "lossy, " : "",
		       s[i].rank, s[i].name, s[i].uid);
}

static void
statuses(void)
{
	static const struct {
		unsigned value;
		const char *services, *meaning;
	} all[] = {
#define ROW(name, value, services, meaning) {value, services, meaning},
		MESSAGE_STATUSES(ROW)
#undef ROW
	};
	size_t i;

	table("statuses",
	      "status | C-STORE | C-FIND | C-MOVE, C-GET | N-ACTION | N-EVENT-REPORT | C-ECHO | "
	      "meaning");
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *s = all[i].services;
		bool any = strchr(s, '*') != NULL;

		printf("| %04X | %s | %s | %s | %s | %s | %s | %s |\n", all[i].value,
		       any || strchr(s, 'S') ? "yes" : "", any || strchr(s, 'F') ? "yes" : "",
		       any || strchr(s, 'R') ? "yes" : "", any || strchr(s, 'C') ? "yes" : "",
		       any || strchr(s, 'E') ? "yes" : "", any ? "yes" : "", all[i].meaning);
	}
}

/* --- keys --- */

static const char *
matching_of(enum key_kind kind)
{
	switch (kind) {
	case KEY_UID:
		return "single value, list of UIDs";
	case KEY_DATE:
	case KEY_TIME:
		return "single value, range";
	case KEY_NAME:
		return "single value, wildcard; case and accents do not count; fuzzy when "
		       "negotiated";
	case KEY_PLAIN:
	case KEY_SHORT:
		return "single value, wildcard";
	case KEY_TEXT:
	case KEY_LONG:
		return "single value, wildcard";
	case KEY_IDS:
		return "sequence: Patient ID and Issuer of Patient ID of an item";
	case KEY_ISSUER:
		return "sequence: Local Namespace or Universal Entity ID of its item";
	case KEY_ITEMS:
		return "sequence: the items below";
	}
	return "";
}

static void
keys(void)
{
	static const char *const levels[] = {"PATIENT", "STUDY", "SERIES", "IMAGE"};
	const struct header_key *above;
	const struct key_item *item;
	const struct key *k;
	size_t i, n;

	k = key_all(&n);
	table("keys", "level | attribute | tag | VR | matching");
	for (i = 0; i < n; i++)
		printf("| %s | %s | (%04X,%04X) | %s | %s |\n", levels[k[i].level], k[i].name,
		       k[i].tag >> 16, k[i].tag & 0xffff, k[i].vr,
		       strcmp(k[i].vr, "DT") == 0 ? "single value, range" : matching_of(k[i].kind));
	above = header_keys_above(&n);
	table("header-keys", "level | attribute | tag | VR");
	for (i = 0; i < n; i++)
		printf("| %s | %s | (%04X,%04X) | %s |\n", levels[above[i].level], above[i].name,
		       above[i].tag >> 16, above[i].tag & 0xffff, above[i].vr);
	item = key_items(&n);
	table("items", "sequence | attribute of its items | VR");
	for (i = 0; i < n; i++)
		printf("| %s | (%04X,%04X) | %s |\n", key_find(item[i].sequence)->name,
		       item[i].tag >> 16, item[i].tag & 0xffff, item[i].vr);
}

static void
character_sets(void)
{
	char alone[CHARSET_TERM_SIZE], with[CHARSET_TERM_SIZE];
	size_t i;

	table("characters", "alone | with code extensions");
	for (i = 0; charset_known(i, alone, with); i++)
		if (alone[0] || with[0])
			printf("| %s | %s |\n", alone[0] ? alone : "-", with[0] ? with : "-");
}

/* --- settings --- */

static void
settings(const char *name, const struct conf_row *rows, size_t n)
{
	size_t i;

	table(name, "setting | default | what it does");
	for (i = 0; i < n; i++)
		printf("| `%s` | %s | %s |\n", rows[i].key,
		       rows[i].initial ? rows[i].initial[0] ? rows[i].initial : "-" : "required",
		       rows[i].sentence);
}

int
main(void)
{
	const struct conf_row *rows;
	const char *const *uids;
	size_t n;

	classes();
	outcomes();
	titles();
	uids = negotiate_not_storage(&n);
	families("not-storage", "UIDs that are no storage classes", uids, n);
	uids = negotiate_storage_too(&n);
	families("storage-too", "stored all the same", uids, n);
	syntaxes();
	statuses();
	keys();
	character_sets();
	rows = dimse_rows(&n);
	settings("dicom-settings", rows, n);
	rows = peers_rows(&n);
	settings("peer-settings", rows, n);
	return 0;
}
