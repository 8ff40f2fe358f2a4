#include "edge/status.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/http/pki.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/holdings.h"
#include "edge/home.h"
#include "edge/joined.h"
#include "edge/keep.h"
#include "edge/outbox.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { SKEW_SHOWN_MS = 60000, FULL_PERCENT = 97, PEM_MAX = 1 << 20 };

#define SKEW_PERSON_MS INT64_C(86400000)

struct status {
	struct contact contact;
	struct store_counts counts;
	struct store_space space;
	struct outbox_counts owed;
	struct ledger_head ledger;
	struct keep_status keep;
	enum home_kind kind;
	struct joined joined; /* of HOME_JOINED */
	struct pki_certificate certificate;
	uint64_t hold, evictable, losses;
	bool journal_damaged;
	int64_t oldest_ms; /* wall clock of the oldest owed entry, 0: none */
	struct err tls;	   /* why our certificate cannot be used, or nothing */
	unsigned long refusals, unaudited;
	bool serving;
};

static int
note_oldest(void *arg, const struct outbox_row *row, struct err *e)
{
	(void)e;
	*(uint64_t *)arg = row->seq;
	return ERR_AGAIN; /* the first is enough */
}

static int
find_oldest(struct store_tx *tx, struct status *s, struct err *err)
{
	Sync__LedgerEntry *entry;
	const void *p;
	uint64_t seq = 0;
	size_t n;
	int rc = outbox_each(tx, OUTBOX_CENTRAL, 0, note_oldest, &seq, err);

	if (rc && rc != ERR_AGAIN)
		return rc;
	if (!seq || ledger_get(tx, seq, &p, &n, NULL))
		return 0;
	entry = message_read(&sync__ledger_entry__descriptor, p, n, NULL);
	s->oldest_ms = entry ? entry->wall_ms : 0;
	message_free(entry);
	return 0;
}

static void
collect_identity(struct edge *e, struct status *s)
{
	struct buf pem = BUF_INIT;

	s->kind = home_kind(e);
	if (s->kind == HOME_JOINED && !joined_read(&s->joined, e->dir, NULL) &&
	    !file_slurp(s->joined.cert, PEM_MAX, &pem, NULL))
		(void)pki_read(&s->certificate, &pem, NULL);
	buf_fini(&pem);
}

static int
collect(struct edge *e, struct status *s, struct err *err)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, err);

	memset(s, 0, sizeof(*s));
	if (rc)
		return rc;
	rc = ledger_head(tx, &s->ledger, err);
	if (!rc)
		rc = store_counts(tx, &s->counts, err);
	if (!rc)
		rc = outbox_counts(tx, &s->owed, err);
	if (!rc)
		rc = sync_number(tx, "hold", &s->hold, err);
	if (!rc)
		rc = sync_number(tx, "losses", &s->losses, err);
	if (!rc)
		rc = find_oldest(tx, s, err);
	store_end_read(tx);
	store_space(e->store, &s->space);
	s->journal_damaged = store_journal_damaged(e->store);
	edge_contact(e, &s->contact);
	collect_identity(e, s);
	s->serving = e->keep != NULL;
	s->refusals = dimse_node_refusals(&e->dicom);
	s->unaudited = dimse_node_unaudited(&e->dicom);
	/* Without a server it is not known whether anybody is in the dark. */
	s->evictable = s->counts.bytes - s->owed.owed_bytes;
	if (s->serving || s->counts.bytes < s->owed.owed_bytes)
		s->evictable = keep_evictable(e, &s->counts, &s->owed);
	if (s->serving)
		keep_status(e->keep, s->evictable, &s->keep);
	if (!s->contact.reachable)
		(void)home_check_files(e, &s->tls);
	return rc;
}

/* Whatever the rate was: nothing more fits, and hardly anything may go. */
static bool
full(const struct status *s)
{
	return s->space.used > s->space.limit / 100 * FULL_PERCENT &&
	       s->evictable < s->space.limit / 100 * (100 - FULL_PERCENT);
}

static bool
needs_a_person(const struct status *s)
{
	int64_t skew = s->contact.skew_ms;

	return s->tls.code || s->journal_damaged || full(s) || s->counts.conflicts ||
	       s->owed.parked || s->contact.stepped_back || s->contact.closed ||
	       s->contact.two_centrals || s->keep.young || s->kind == HOME_STRANGER ||
	       s->contact.turned_away || keep_level(&s->keep) == KEEP_ALARM ||
	       skew > SKEW_PERSON_MS || skew < -SKEW_PERSON_MS; /* R28 */
}

static uint64_t
oldest_seconds(struct edge *e, const struct status *s)
{
	int64_t now = clock_wall(e->clock);

	return s->oldest_ms && now > s->oldest_ms ? (uint64_t)(now - s->oldest_ms) / 1000 : 0;
}

static void
json_identity(struct json *j, const struct status *s)
{
	static const char *const kinds[] = {[HOME_NONE] = "none",
					    [HOME_PLAIN] = "plain",
					    [HOME_OWN] = "own",
					    [HOME_JOINED] = "joined",
					    [HOME_STRANGER] = "not joined"};
	char print[2 * PKI_PRINT + 1];

	json_open(j, "identity", '{');
	json_text(j, "state", kinds[s->kind]);
	if (s->kind == HOME_JOINED) {
		hex_of(s->certificate.print, PKI_PRINT, print);
		json_text(j, "archive", s->joined.archive);
		json_text(j, "url", s->joined.url);
		json_text(j, "key", print);
		json_time(j, "certificate_until", s->certificate.until_ms);
	}
	json_close(j, '}');
}

static void
json_central(struct json *j, const struct status *s)
{
	json_open(j, "central", '{');
	json_bool(j, "reachable", s->contact.reachable);
	json_bool(j, "turned_away", s->contact.turned_away);
	json_text(j, "why", s->contact.why);
	json_id(j, "epoch", &s->contact.epoch);
	json_time(j, "last_contact", s->contact.wall_ms);
	json_number(j, "clock_skew_seconds", s->contact.skew_ms / 1000);
	json_bool(j, "stepped_back", s->contact.stepped_back);
	json_bool(j, "two_centrals", s->contact.two_centrals);
	json_bool(j, "closed", s->contact.closed);
	json_close(j, '}');
}

/* What is owed drops to 0 only when every entry is acknowledged, and compared after a fire. */
static uint64_t
owed_instances(const struct status *s)
{
	bool pending = s->ledger.seq > s->contact.announced || s->contact.comparing;

	return s->owed.owed ? s->owed.owed : pending;
}

/* Instances here that central has said it holds, in this epoch. */
static uint64_t
receipted(const struct status *s)
{
	return s->losses == HOLDINGS_DUE || s->counts.instances < s->owed.owed
		       ? 0
		       : s->counts.instances - s->owed.owed;
}

static void
json_cache(struct json *j, const struct status *s)
{
	json_open(j, "cache", '{');
	json_count(j, "instances", s->counts.instances);
	json_count(j, "studies", s->counts.studies);
	json_count(j, "bytes", s->counts.bytes);
	json_count(j, "quota_bytes", s->space.quota);
	json_count(j, "used_bytes", s->space.used);
	json_count(j, "evictable_bytes", s->evictable);
	if (s->keep.rate_known) {
		json_decimal(j, "hours_left", s->keep.hours_left);
		json_decimal(j, "hours_left_without_central", s->keep.hours_left_dark);
	} else {
		json_null(j, "hours_left");
		json_null(j, "hours_left_without_central");
	}
	json_bool(j, "hold", s->hold != 0);
	json_bool(j, "dark", s->keep.dark);
	json_close(j, '}');
}

int
status_json(struct edge *e, struct buf *out, bool *person, struct err *err)
{
	struct status s;
	struct json j;
	int rc = collect(e, &s, err);

	if (rc)
		return rc;
	*person = needs_a_person(&s);
	json_init(&j, out);
	json_open(&j, NULL, '{');
	json_text(&j, "role", "edge");
	json_text(&j, "site", e->site);
	json_id(&j, "incarnation", &e->incarnation);
	json_identity(&j, &s);
	json_central(&j, &s);
	json_open(&j, "ledger", '{');
	json_count(&j, "last_seq", s.ledger.seq);
	json_count(&j, "announced_seq", s.contact.announced);
	json_count(&j, "receipted", receipted(&s));
	json_close(&j, '}');
	json_open(&j, "owed", '{');
	json_count(&j, "instances", owed_instances(&s));
	json_count(&j, "bytes", s.owed.owed_bytes);
	json_count(&j, "oldest_seconds", oldest_seconds(e, &s));
	json_close(&j, '}');
	json_cache(&j, &s);
	json_count(&j, "parked", s.owed.parked);
	json_count(&j, "variants", s.counts.variants);
	json_count(&j, "revisions", s.counts.revisions);
	json_count(&j, "conflicts", s.counts.conflicts);
	json_count(&j, "refusals", s.refusals);
	json_count(&j, "unaudited", s.unaudited);
	json_bool(&j, "journal_damaged", s.journal_damaged);
	json_close(&j, '}');
	buf_puts(out, "\n");
	return 0;
}

static void
text_central(struct buf *out, const struct status *s)
{
	char when[CLOCK_RFC3339_SIZE], why[sizeof(s->tls.what) + 100];

	clock_rfc3339(s->certificate.until_ms, when);
	if (s->kind == HOME_JOINED)
		buf_printf(out, "site of archive %s, certificate until %s\n", s->joined.archive,
			   when);
	else if (s->kind == HOME_STRANGER)
		buf_puts(out, "NOT JOINED: `join URL CODE` with a code of central's `site add`\n");
	clock_rfc3339(s->contact.wall_ms, when);
	if (!s->serving)
		buf_printf(out, "serve is not running; last contact with central %s\n",
			   when[0] ? when : "never");
	else if (s->contact.reachable)
		buf_puts(out, "central answers\n");
	else
		buf_printf(out, "central does not answer (%s); last contact %s\n",
			   s->contact.why[0]	  ? s->contact.why
			   : s->kind == HOME_NONE ? "no [central] url"
						  : "it has not yet",
			   when[0] ? when : "never");
	err_text(&s->tls, why, sizeof(why));
	if (why[0])
		buf_printf(out, "OUR CERTIFICATE cannot be used: %s\n", why);
	if (s->contact.stepped_back)
		buf_puts(out, "STOPPED: central knows another ledger of this incarnation: was "
			      "this disk restored or copied?\n");
	if (s->contact.closed)
		buf_puts(out, "central counts this edge as lost or replaced; what it has still "
			      "arrives\n");
	if (s->contact.two_centrals)
		buf_puts(out, "TWO CENTRALS answer in turn: nothing is freed\n");
	if (s->contact.skew_ms > SKEW_SHOWN_MS || s->contact.skew_ms < -SKEW_SHOWN_MS)
		buf_printf(out, "the clocks differ by %lld s\n",
			   (long long)(s->contact.skew_ms / 1000));
}

static void
put_age(struct buf *out, uint64_t seconds)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{86400, "days"}, {3600, "hours"}, {60, "minutes"}, {1, "seconds"}};
	size_t i = 0;

	while (i < 3 && seconds < 3 * units[i].seconds)
		i++;
	buf_printf(out, "%llu %s", (unsigned long long)(seconds / units[i].seconds), units[i].name);
}

static void
text_owed(struct buf *out, struct edge *e, const struct status *s)
{
	uint64_t last = s->ledger.seq, announced = s->contact.announced;

	buf_printf(out, "owed: %llu images, ", (unsigned long long)s->owed.owed);
	buf_put_size(out, s->owed.owed_bytes);
	if (s->owed.owed) {
		buf_puts(out, ", the oldest for ");
		put_age(out, oldest_seconds(e, s));
	}
	buf_printf(out, "; parked: %llu; %llu ledger entries not acknowledged\n",
		   (unsigned long long)s->owed.parked,
		   (unsigned long long)(last > announced ? last - announced : 0));
}

static void
text_cache(struct buf *out, const struct status *s)
{
	static const char *const level[] = {"", ": warning", ": ALARM"};

	buf_printf(out, "%llu images of %llu studies, ", (unsigned long long)s->counts.instances,
		   (unsigned long long)s->counts.studies);
	buf_put_size(out, s->counts.bytes);
	buf_printf(out, "; cache %llu %% of ",
		   (unsigned long long)(s->space.limit ? s->space.used * 100 / s->space.limit : 0));
	buf_put_size(out, s->space.limit);
	buf_puts(out, " full");
	if (s->space.limit < s->space.quota) {
		buf_puts(out, ": the disk has no more, [data] quota is ");
		buf_put_size(out, s->space.quota);
	}
	buf_puts(out, "\n");
	if (s->keep.rate_known)
		buf_printf(
			out, "room for %.0f hours at the last day's rate, %.0f without central%s\n",
			s->keep.hours_left, s->keep.hours_left_dark, level[keep_level(&s->keep)]);
	if (full(s))
		buf_puts(out, "FULL: what is here must stay; new images are refused (A700)\n");
	if (s->hold)
		buf_puts(out, "eviction is on hold\n");
	if (s->keep.young)
		buf_puts(out, "own young studies had to go: the cache is too small\n");
}

int
status_text(struct edge *e, struct buf *out, bool *person, struct err *err)
{
	struct status s;
	int rc = collect(e, &s, err);

	if (rc)
		return rc;
	*person = needs_a_person(&s);
	buf_printf(out, "edge %s\n", e->site);
	text_central(out, &s);
	text_cache(out, &s);
	text_owed(out, e, &s);
	if (s.journal_damaged)
		buf_puts(out, "THE JOURNAL WAS DAMAGED: the last images before a stop may be in "
			      "store/journal.damaged alone; `rebuild` looks for them\n");
	if (s.refusals)
		buf_printf(out, "%lu associations or requests refused since the start: audit.log\n",
			   s.refusals);
	if (s.unaudited)
		buf_printf(out, "%lu events are missing in audit.log: see the log\n", s.unaudited);
	buf_printf(out, "%llu variants, %llu revisions, %llu UIDs in conflict\n",
		   (unsigned long long)s.counts.variants, (unsigned long long)s.counts.revisions,
		   (unsigned long long)s.counts.conflicts);
	return 0;
}
