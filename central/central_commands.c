#include "central/central_commands.h"

#include <stdio.h>
#include <string.h>

#include "central/ca_commands.h"
#include "central/central.h"
#include "central/central_settings.h"
#include "central/decisions.h"
#include "central/figures.h"
#include "central/heard.h"
#include "central/loss.h"
#include "central/order_commands.h"
#include "central/rejections.h"
#include "central/returns.h"
#include "central/site_commands.h"
#include "central/sites.h"
#include "central/snapshot.h"
#include "central/verify.h"
#include "central/withdraw.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/dimse/pledge_command.h"
#include "common/dimse/pledge_say.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/os/daemon.h"
#include "common/store/store.h"
#include "common/store/differences.h"
#include "proto/lanes.h"

enum { RELOAD_MS = 60000, STEP_MS = 20 };

static const char conflicts_usage[] =
	"conflicts [--json] [--instances], or conflicts resolve UID SHA256 [--reason TEXT]";

static bool
given(const struct asked *a, const char *option)
{
	return command_option(a, option) != NULL;
}

static int
say(struct asked *a, const char *text)
{
	(void)ctl_out(a->r, text, strlen(text));
	return COMMAND_OK;
}

/* --- status and sites --- */

/* R12: which lanes have no room, and by which setting. */
static void
text_room(struct buf *out, const struct room *room)
{
	static const char *const by[LANES] = {[LANE_STAT] = "full",
					      [LANE_FRESH] = "full",
					      [LANE_RESEND] = "full_resend",
					      [LANE_BACKFILL] = "full_backfill"};
	enum lane i;

	buf_printf(out, "disk %u %% full, catalogue %u %%\n", room->disk, room->catalogue);
	for (i = LANE_STAT; i < LANES; i++)
		if (room->closed & 1u << i)
			buf_printf(out, "NO ROOM for lane %s: [data] %s is reached\n",
				   lanes_name(i), by[i]);
}

static void
json_room(struct json *j, const struct room *room)
{
	enum lane i;

	json_open(j, "room", '{');
	json_count(j, "disk_percent", room->disk);
	json_count(j, "catalogue_percent", room->catalogue);
	json_open(j, "closed_lanes", '[');
	for (i = LANE_STAT; i < LANES; i++)
		if (room->closed & 1u << i)
			json_text(j, NULL, lanes_name(i));
	json_close(j, ']');
	json_close(j, '}');
}

static int
text_status(struct central *c, struct buf *out, const struct snapshot *s, struct err *e)
{
	char hex[ID128_HEX], when[CLOCK_RFC3339_SIZE];

	hex_of(s->epoch.b, ID128_SIZE, hex);
	buf_printf(out, "central, epoch %s\n%llu images of %llu studies, ", hex,
		   (unsigned long long)s->counts.instances, (unsigned long long)s->counts.studies);
	buf_put_size(out, s->counts.bytes);
	buf_printf(out, ", in %llu packs\n%llu variants, %llu revisions, %llu UIDs in conflict\n",
		   (unsigned long long)s->packs, (unsigned long long)s->counts.variants,
		   (unsigned long long)s->counts.revisions,
		   (unsigned long long)s->counts.conflicts);
	if (s->failed_joins)
		buf_printf(out, "%llu failed tries to join since the start\n",
			   (unsigned long long)s->failed_joins);
	if (s->refusals)
		buf_printf(out, "%lu associations or requests refused since the start: audit.log\n",
			   s->refusals);
	if (s->unaudited)
		buf_printf(out, "%lu events are missing in audit.log: see the log\n", s->unaudited);
	if (s->dicom_until_ms) {
		clock_rfc3339(s->dicom_until_ms, when);
		buf_printf(out, "DICOM by TLS, certificate until %s%s\n", when,
			   s->dicom_soon ? ": RENEW IT, then `reload`" : "");
	}
	if (s->sites.tally.damaged)
		buf_printf(out, "%llu images damaged here and not healed: see `verify`\n",
			   (unsigned long long)s->sites.tally.damaged);
	if (s->returned)
		buf_printf(out, "%llu withdrawn images came again: see `conflicts`\n",
			   (unsigned long long)s->returned);
	if (s->hold)
		buf_puts(out, "eviction is on hold at every edge: `hold off` ends it\n");
	if (s->orders)
		buf_printf(out, "%llu orders not carried out everywhere: see `orders`\n",
			   (unsigned long long)s->orders);
	if (sites_unvouched(&s->sites))
		buf_printf(out,
			   "%zu sites read only what they delivered: see `sites`, `site readmit`\n",
			   sites_unvouched(&s->sites));
	text_room(out, &s->room);
	sites_text_numbers(out, &s->sites);
	return pledges_said(c->store, out, NULL, e);
}

static int
json_status(struct central *c, struct buf *out, const struct snapshot *s, struct err *e)
{
	struct json j;
	int rc;

	json_init(&j, out);
	json_open(&j, NULL, '{');
	json_text(&j, "role", "central");
	json_id(&j, "epoch", &s->epoch);
	json_count(&j, "instances", s->counts.instances);
	json_count(&j, "studies", s->counts.studies);
	json_count(&j, "bytes", s->counts.bytes);
	json_count(&j, "packs", s->packs);
	json_count(&j, "variants", s->counts.variants);
	json_count(&j, "revisions", s->counts.revisions);
	json_count(&j, "conflicts", s->counts.conflicts);
	json_count(&j, "damaged", s->sites.tally.damaged);
	json_count(&j, "disk_free_bytes", s->disk_free);
	json_count(&j, "failed_joins", s->failed_joins);
	json_count(&j, "repeated_bytes", s->repeated);
	json_count(&j, "refusals", s->refusals);
	json_count(&j, "unaudited", s->unaudited);
	json_time(&j, "dicom_certificate_until", s->dicom_until_ms);
	json_bool(&j, "hold", s->hold != 0);
	json_count(&j, "orders", s->orders);
	json_room(&j, &s->room);
	rc = pledges_said(c->store, NULL, &j, e);
	if (!rc)
		rc = returns_json(c, &j, "returned", e);
	sites_json(&j, "sites", &s->sites);
	json_close(&j, '}');
	buf_puts(out, "\n");
	return rc;
}

static int
status(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct snapshot s;
	int code, rc = 0;

	if (snapshot_make(&s, a->node, &e))
		return command_failed(a, &e);
	if (given(a, "--json"))
		rc = json_status(a->node, &out, &s, &e);
	else
		rc = text_status(a->node, &out, &s, &e);
	code = s.person ? COMMAND_PERSON : COMMAND_OK;
	snapshot_free(&s);
	return command_end(a, &out, rc, &e, code);
}

static int
sites(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct snapshot s;
	struct json j;
	int code;

	if (snapshot_make(&s, a->node, &e))
		return command_failed(a, &e);
	if (given(a, "--json")) {
		json_init(&j, &out);
		sites_json(&j, NULL, &s.sites);
		buf_puts(&out, "\n");
	} else {
		sites_text(&out, &s.sites);
	}
	code = sites_need_a_person(&s.sites) ? COMMAND_PERSON : COMMAND_OK;
	snapshot_free(&s);
	return command_give(a, &out, code);
}

/* --- the others --- */

/* 0 when the site ever came, or somebody decided about it. */
static int
known_site(struct asked *a, const char *name, struct err *e)
{
	struct central *c = a->node;
	struct store_tx *tx;
	bool known = false;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = sites_know(tx, name, &known, e);
	store_end_read(tx);
	return rc || known ? rc : err_set(e, ERR_ABSENT, 0, "no site %.64s; see `sites`", name);
}

static int
loss(struct asked *a)
{
	struct central *c = a->node;
	const char *site = command_option(a, "--site");
	bool csv = given(a, "--csv"), json = given(a, "--json");
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	unsigned long long lost = 0;

	if (csv && json) {
		command_complain(a, "loss: --csv or --json");
		return COMMAND_USAGE;
	}
	if (site && known_site(a, site, &e))
		return command_failed(a, &e);
	if (loss_print(c->store, site,
		       csv    ? LOSS_CSV
		       : json ? LOSS_JSON
			      : LOSS_TEXT,
		       given(a, "--instances"), &out, &lost, &e)) {
		buf_fini(&out);
		return command_failed(a, &e);
	}
	return command_give(a, &out, lost ? COMMAND_PERSON : COMMAND_OK);
}

/* R3: a person's word on which version is current; every edge hears of it. */
static int
resolve(struct asked *a)
{
	struct central *c = a->node;
	const char *why = command_option(a, "--reason");
	unsigned char digest[SHA256_SIZE];
	struct err e = ERR_INIT;

	if (strcmp(a->words[1], "resolve") != 0 || a->n != 4 || given(a, "--json") ||
	    given(a, "--instances")) {
		command_complain(a, conflicts_usage);
		return COMMAND_USAGE;
	}
	if (decisions_find(c, a->words[2], a->words[3], digest, &e) ||
	    decisions_resolve(c, a->words[2], digest, why ? why : "", "", &e))
		return command_failed(a, &e);
	return say(a, "decided; every edge hears of it\n");
}

static int
conflicts(struct asked *a)
{
	struct central *c = a->node;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	uint64_t n = 0;

	if (a->n > 1)
		return resolve(a);
	if (differences_print(c->store, given(a, "--instances"), given(a, "--json"), &out, &n,
			      &e) ||
	    (!given(a, "--json") && returns_text(c, &out, &e))) {
		buf_fini(&out);
		return command_failed(a, &e);
	}
	return command_give(a, &out, n ? COMMAND_PERSON : COMMAND_OK);
}

static bool
was_wrong(const struct verify_result *v)
{
	return v->wrong_bits || v->wrong_claims || v->torn || v->figures.figures ||
	       v->figures.listed;
}

static void
text_counted(struct buf *out, const struct verify_result *v)
{
	buf_printf(out,
		   "%llu images counted from the ledgers: %llu holdings bits, %llu claims, %llu "
		   "figures and %llu rows of lag and exposure were wrong%s\n",
		   (unsigned long long)v->figures.images, (unsigned long long)v->wrong_bits,
		   (unsigned long long)v->wrong_claims, (unsigned long long)v->figures.figures,
		   (unsigned long long)v->figures.listed,
		   was_wrong(v) ? ", and are corrected" : "");
	if (v->torn)
		buf_printf(out, "%llu ledger entries are TORN: `rebuild` reads the log\n",
			   (unsigned long long)v->torn);
}

/* R18: known = held + owed + lost + withdrawn, of all sites together. */
static int
text_identity(struct central *c, struct buf *out, struct err *e)
{
	struct store_tx *tx;
	struct figure f;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = figures_of_site(tx, "", &f, e);
	store_end_read(tx);
	buf_printf(out, "known %llu = held %llu + owed %llu + lost %llu + withdrawn %llu\n",
		   (unsigned long long)f.known, (unsigned long long)f.of[TALLY_HELD],
		   (unsigned long long)f.of[TALLY_OWED], (unsigned long long)f.of[TALLY_LOST],
		   (unsigned long long)f.of[TALLY_WITHDRAWN]);
	return rc;
}

static int
verify_counts(struct asked *a)
{
	struct verify_result v;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	int rc = verify_ledger(a->node, a->r, &v, &e);

	text_counted(&out, &v);
	if (!rc)
		rc = text_identity(a->node, &out, &e);
	return command_end(a, &out, rc, &e, was_wrong(&v) ? COMMAND_PERSON : COMMAND_OK);
}

static int
verify(struct asked *a)
{
	struct central *c = a->node;
	struct verify_result v;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	bool person;

	if (given(a, "--ledger"))
		return verify_counts(a);
	if (verify_all(c, a->r, c->http != NULL, &v, &e))
		return command_failed(a, &e);
	buf_printf(&out,
		   "%llu packs with %llu members read: %llu damaged, %llu healed, %llu in packs "
		   "that are gone; %llu packs with a damaged frame, %llu not read\n",
		   (unsigned long long)v.packs, (unsigned long long)v.members,
		   (unsigned long long)v.damaged, (unsigned long long)v.healed,
		   (unsigned long long)v.absent, (unsigned long long)v.frames,
		   (unsigned long long)v.unread);
	text_counted(&out, &v);
	person = v.damaged || v.absent || v.frames || v.unread || was_wrong(&v);
	return command_give(a, &out, person ? COMMAND_PERSON : COMMAND_OK);
}

/* A running server makes it in main's thread; here it is waited for. */
static int
rebuild(struct asked *a)
{
	struct central *c = a->node;

	if (c->ctl) {
		atomic_store(&c->rebuild_result, 0);
		atomic_store(&c->rebuild_wanted, true);
		daemon_wake();
		while (!atomic_load(&c->rebuild_result) && !ctl_stopping(a->r))
			clock_sleep(c->clock, STEP_MS);
		if (atomic_load(&c->rebuild_result) != 1) {
			command_complain(a, "rebuild failed or was ended; see the log");
			return COMMAND_FAILED;
		}
	}
	return say(a, "the catalogue was made anew from packs and log\n");
}

static int
check_settings(struct central *c, struct buf *uncovered, struct err *e)
{
	struct conf *conf;
	int rc = central_settings_load(&conf, c->conf_path, e);

	if (rc)
		return rc;
	rc = ca_commands_check(c, conf, e);
	if (!rc)
		rc = dimse_check_files(conf, e);
	if (!rc)
		rc = ca_commands_uncovered(c, conf, uncovered, e);
	conf_free(conf);
	return rc;
}

/* What is wrong with the files is said here; then main's thread reads them. */
static int
reload(struct asked *a)
{
	struct central *c = a->node;
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;
	unsigned before = atomic_load(&c->reloads);
	unsigned failures = atomic_load(&c->reload_failures);
	int ms, code;

	if (check_settings(c, &out, &e)) {
		buf_fini(&out);
		return command_failed(a, &e);
	}
	code = out.len ? COMMAND_PERSON : COMMAND_OK; /* whom the new files turn away */
	if (!c->ctl) {
		buf_puts(&out, "the settings and certificate files are good; the next serve reads "
			       "them\n");
		return command_give(a, &out, code);
	}
	daemon_reload();
	for (ms = 0; ms < RELOAD_MS && atomic_load(&c->reloads) == before; ms += STEP_MS) {
		if (ctl_stopping(a->r))
			break;
		clock_sleep(c->clock, STEP_MS);
	}
	if (atomic_load(&c->reloads) == before || atomic_load(&c->reload_failures) != failures) {
		buf_fini(&out);
		command_complain(a, "peers or certificates were not read again; see the log");
		return COMMAND_FAILED;
	}
	buf_puts(&out, "peers and certificates are read again; other settings count from the next "
		       "start\n");
	return command_give(a, &out, code);
}

/* What was rejected for this reason, else what was retracted. */
static int
restore(struct asked *a)
{
	int rc = rejections_restore(a);

	return rc < 0 ? withdraw_command(a) : rc;
}

static int
commit(struct asked *a)
{
	struct central *c = a->node;
	const struct pledge_desk d = {c->conf, &c->use, &c->store, &c->dicom.pledging,
				      c->ctl != NULL};

	return pledge_command(a, &d);
}

static const struct command commands[] = {
	{"status", 1, 1, " --json ", "status [--json]", true, false, status},
	{"sites", 1, 1, " --json ", "sites [--json]", true, false, sites},
	{"loss", 1, 1, " --site= --csv --json --instances ",
	 "loss [--site NAME] [--csv|--json] [--instances]", true, false, loss},
	{"conflicts", 1, 4, " --json --instances --reason= ", conflicts_usage, true, false,
	 conflicts},
	{"site", 3, 6, " --rejoin --abandon --keep= --days= --bytes= --group --subset= ",
	 site_commands_usage, false, false, site_commands_site},
	{"ca", 2, 2, " --kit= --passphrase-file= --abandon ", ca_commands_usage, false, false,
	 ca_commands_ca},
	{"hold", 2, 2, " ", "hold on|off", false, false, order_commands_hold},
	{"prefetch", 3, 3, " ", "prefetch STUDY SITE", false, false, order_commands_prefetch},
	{"set", 3, 3, " --site= ", order_commands_set_usage, false, false, order_commands_set},
	{"orders", 1, 1, " --all --json ", "orders [--all] [--json]", true, false, heard_list},
	{"retract", 2, 2, " --reason= ", "retract UID --reason TEXT", false, false,
	 withdraw_command},
	{"reject", 2, 2, " --reason= ", "reject UID --reason quality|safety|worklist|retention",
	 false, false, rejections_reject},
	{"restore", 2, 2, " --reason= ",
	 "restore UID --reason TEXT, or quality|safety|worklist|retention", false, false, restore},
	{"retracted", 1, 1, " --json ", "retracted [--json]", true, false, withdraw_list},
	{"rejected", 1, 1, " --json ", "rejected [--json]", true, false, rejections_list},
	{"commit", 1, CTL_WORDS, PLEDGE_OPTIONS, PLEDGE_USAGE, false, true, commit},
	{"verify", 1, 1, " --ledger ", "verify [--ledger]", false, false, verify},
	{"rebuild", 1, 1, " ", "rebuild", false, true, rebuild},
	{"reload", 1, 1, " ", "reload", false, false, reload}};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

const char *
central_commands_wrong(size_t n, const char *const *words, bool *reads)
{
	struct asked a;
	const char *usage;
	const struct command *c = command_check(&a, commands, N_COMMANDS, n, words, &usage);

	*reads = c && c->reads && a.n == 1;
	return c ? NULL : usage;
}

int
central_commands_run(void *central, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct central *c = central;
	struct asked a;
	const char *usage;
	const struct command *row = command_check(&a, commands, N_COMMANDS, n, words, &usage);
	int code = COMMAND_FAILED;

	a.node = central;
	a.r = r;
	a.program = "salamander-central";
	if (!row) {
		command_complain(&a, usage);
		return COMMAND_USAGE;
	}
	if (c->ctl)
		log_line(row->reads ? LOG_DEBUG : LOG_INFO, "command", "name=%s", row->name);
	if (row->swaps)
		return row->run(&a);
	(void)pthread_rwlock_rdlock(&c->use);
	if (c->store)
		code = row->run(&a);
	else
		command_complain(&a, "the catalogue is not open; see the log");
	(void)pthread_rwlock_unlock(&c->use);
	return code;
}
