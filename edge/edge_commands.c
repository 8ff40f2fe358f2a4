#include "edge/edge_commands.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/pledge_command.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/os/daemon.h"
#include "common/store/differences.h"
#include "common/store/store.h"
#include "edge/chores.h"
#include "edge/edge.h"
#include "edge/edge_settings.h"
#include "edge/home.h"
#include "edge/join.h"
#include "edge/joined.h"
#include "edge/keep.h"
#include "edge/late.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "edge/rebuild.h"
#include "edge/refill.h"
#include "edge/refill_said.h"
#include "edge/reject.h"
#include "edge/reach.h"
#include "edge/replicate.h"
#include "edge/resolve.h"
#include "edge/resync.h"
#include "edge/stat.h"
#include "edge/status.h"
#include "proto/orders.h"

enum { RELOAD_MS = 60000, STEP_MS = 20 };

static const char conflicts_usage[] =
	"conflicts [--json] [--instances], or conflicts resolve UID SHA256 [--reason TEXT]";

static bool
json(const struct asked *a)
{
	return command_option(a, "--json") != NULL;
}

static int
say(struct asked *a, const char *text)
{
	(void)ctl_out(a->r, text, strlen(text));
	return COMMAND_OK;
}

static int
status(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	bool person;
	int rc = json(a) ? status_json(a->node, &out, &person, &err)
			 : status_text(a->node, &out, &person, &err);

	return command_end(a, &out, rc, &err, person ? COMMAND_PERSON : COMMAND_OK);
}

/* R3: central decides; where it cannot be asked, nobody does. */
static int
resolve(struct asked *a)
{
	const char *why = command_option(a, "--reason");
	struct err err = ERR_INIT;

	if (strcmp(a->words[1], "resolve") != 0 || a->n != 4 || json(a) ||
	    command_option(a, "--instances")) {
		command_complain(a, conflicts_usage);
		return COMMAND_USAGE;
	}
	if (resolve_at_central(a->node, a->words[2], a->words[3], why ? why : "", a->r, &err)) {
		if (err.code == ERR_AGAIN)
			command_complain(a, "this cannot be decided now, and nothing was: central "
					    "decides, and could not be asked");
		return command_failed(a, &err);
	}
	return say(a, "central has decided; every node hears of it\n");
}

static int
conflicts(struct asked *a)
{
	struct edge *e = a->node;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	uint64_t n = 0;

	if (a->n > 1)
		return resolve(a);
	if (differences_print(e->store, command_option(a, "--instances") != NULL, json(a), &out, &n,
			      &err)) {
		buf_fini(&out);
		return command_failed(a, &err);
	}
	return command_give(a, &out, n ? COMMAND_PERSON : COMMAND_OK);
}

static int
evict(struct asked *a)
{
	struct edge *e = a->node;
	const char *study = command_option(a, "--study");
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	struct keep *own = NULL, *keep = e->keep;
	uint64_t n = 0, bytes = 0;
	int rc = 0;

	if (!keep) { /* without a server, what it would know is asked here */
		if (reach_central(e, a->r, &err))
			command_complain(a, err.what);
		err_clear(&err);
		rc = keep_start(&own, e, &err);
		keep = own;
	}
	if (!rc)
		rc = keep_evict(keep, study, &n, &bytes, &err);
	keep_stop(own);
	if (rc)
		return command_failed(a, &err);
	buf_printf(&out, "%llu images, %llu bytes freed\n", (unsigned long long)n,
		   (unsigned long long)bytes);
	if (study && !n) {
		command_complain(a,
				 "nothing of this study may go: owed, not released, or not here");
		return command_give(a, &out, COMMAND_FAILED);
	}
	return command_give(a, &out, COMMAND_OK);
}

static int
set_hold(struct store_tx *tx, void *arg, struct err *err)
{
	uint64_t before, now;
	int rc = sync_number(tx, "hold", &before, err);

	/* Off ends central's, too: whoever stands here sees the cache fill. */
	now = *(uint64_t *)arg ? before | HOLD_PERSON : 0;
	return rc ? rc : sync_set_number(tx, "hold", now, err);
}

static int
hold(struct asked *a)
{
	struct edge *e = a->node;
	struct err err = ERR_INIT;
	uint64_t on = strcmp(a->words[1], "on") == 0;

	if (!on && strcmp(a->words[1], "off") != 0) {
		command_complain(a, "hold on|off");
		return COMMAND_USAGE;
	}
	if (store_commit(e->store, set_hold, &on, &err))
		return command_failed(a, &err);
	return say(a, on ? "eviction is on hold\n" : "eviction is allowed\n");
}

/* R27: a person has asked at central whether that many are meant. */
static int
retracts(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	uint64_t n;

	if (strcmp(a->words[1], "accept") != 0) {
		command_complain(a, "retracts accept");
		return COMMAND_USAGE;
	}
	if (obey_accept(a->node, &n, &err))
		return command_failed(a, &err);
	buf_printf(&out, "%llu retracts carried out\n", (unsigned long long)n);
	return command_give(a, &out, COMMAND_OK);
}

struct pinning {
	const char *study;
	int64_t until;
};

static int
set_pin(struct store_tx *tx, void *arg, struct err *err)
{
	const struct pinning *p = arg;
	int rc = store_pin(tx, p->study, p->until, err);

	return rc == ERR_ABSENT ? err_set(err, ERR_ABSENT, 0, "no such study here") : rc;
}

/* The end of that day, UTC; absent: for ever. */
static bool
end_of_day(const char *date, int64_t *out)
{
	struct tm tm;
	const char *end;
	int day;

	*out = INT64_MAX;
	if (!date)
		return true;
	memset(&tm, 0, sizeof(tm));
	end = strptime(date, "%Y-%m-%d", &tm);
	if (!end || *end)
		return false;
	day = tm.tm_mday; /* timegm makes 2 March of 30 February */
	*out = ((int64_t)timegm(&tm) + 86400) * 1000;
	return tm.tm_mday == day;
}

static int
pin(struct asked *a)
{
	struct edge *e = a->node;
	const char *until = command_option(a, "--until");
	bool un = strcmp(a->words[0], "unpin") == 0;
	struct pinning p = {a->words[1], 0};
	struct err err = ERR_INIT;
	char line[200];

	if (!un && !end_of_day(until, &p.until)) {
		command_complain(a, "--until: a day, YYYY-MM-DD");
		return COMMAND_USAGE;
	}
	if (!un && p.until <= clock_wall(e->clock)) { /* would pin nothing, and seem to */
		command_complain(a, "--until: that day is over");
		return COMMAND_USAGE;
	}
	if (store_commit(e->store, set_pin, &p, &err))
		return command_failed(a, &err);
	(void)snprintf(line, sizeof(line), "%.100s is %s%s%.20s\n", p.study,
		       un ? "no longer pinned" : "pinned", until ? " to the end of " : "",
		       until ? until : "");
	return say(a, line);
}

/* R17: what was put off is tried now. */
static int
retry(struct asked *a)
{
	struct edge *e = a->node;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	size_t n;
	int rc = late_try_now(e->store, &n, &err);

	replicate_wake(e->replicate);
	if (rc)
		return command_failed(a, &err);
	buf_printf(&out, "%zu images are tried again\n", n);
	return command_give(a, &out, COMMAND_OK);
}

/* Before everything else, over restarts. */
static int
stat(struct asked *a)
{
	struct edge *e = a->node;
	bool on = command_option(a, "--off") == NULL;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	size_t n;
	int rc = stat_mark(e, a->words[1], on, &n, &err);

	replicate_wake(e->replicate);
	if (rc)
		return command_failed(a, &err);
	buf_printf(&out, "%s is %sstat; %zu images of it are owed\n", a->words[1],
		   on ? "" : "no longer ", n);
	return command_give(a, &out, COMMAND_OK);
}

static int
refill(struct asked *a)
{
	const char *days = command_option(a, "--days"), *bytes = command_option(a, "--bytes");
	struct refill_config c = {.group = command_option(a, "--group") != NULL};
	struct refill_result result;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	char *end = NULL, said[300];

	if (days) {
		c.days = strtoull(days, &end, 10);
		if (*end || end == days || c.days == 0 || c.days > 36500) {
			command_complain(a, "--days: a number from 1 to 36500");
			return COMMAND_USAGE;
		}
	}
	if (bytes && (!command_size(bytes, &c.bytes) || !c.bytes)) {
		command_complain(a, "--bytes: a size such as 20GiB");
		return COMMAND_USAGE;
	}
	if (refill_run(a->node, &c, a->r, &result, &err))
		return command_failed(a, &err);
	if (result.doubted && !result.stopped && chores_ask_rest(a->node, &c, &err))
		return command_failed(a, &err);
	refill_said(said, sizeof(said), &result);
	buf_printf(&out, "%s%s\n", said,
		   result.failed ? "; what it could not give: see the log, and its `verify`" : "");
	return command_give(a, &out,
			    result.failed			 ? COMMAND_FAILED
			    : result.doubted || result.by_policy ? COMMAND_PERSON
								 : COMMAND_OK);
}

static int
resync(struct asked *a)
{
	const char *subset = command_option(a, "--subset");
	struct resync_config c = {.verify = command_option(a, "--verify") != NULL};
	struct resync_result result;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	int rc;

	if (subset && (!c.verify || !command_slice(subset, &c.part, &c.parts))) {
		command_complain(a, "--subset: with --verify, a slice such as 3/30");
		return COMMAND_USAGE;
	}
	rc = resync_run(a->node, &c, a->r, &result, &err);
	if (json(a))
		resync_json(a->node, &c, &result, &err, &out);
	else
		resync_text(&c, &result, &err, &out);
	if (rc)
		(void)command_failed(a, &err);
	return command_give(a, &out,
			    result.person ? COMMAND_PERSON
			    : rc	  ? COMMAND_FAILED
					  : COMMAND_OK);
}

/* A running server makes it in main's thread; here it is waited for. */
static int
rebuild(struct asked *a)
{
	struct edge *e = a->node;
	struct rebuild_result result;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	int rc = 0;

	if (e->ctl) {
		atomic_store(&e->rebuild_done, 0);
		atomic_store(&e->rebuild_wanted, true);
		daemon_wake();
		while (!atomic_load(&e->rebuild_done) && !ctl_stopping(a->r))
			clock_sleep(e->clock, STEP_MS);
		rc = atomic_load(&e->rebuild_done) == 1 ? 0 : ERR_LOCAL;
		(void)err_set(&err, ERR_LOCAL, 0, "rebuild failed; see the log");
		result = e->rebuilt;
	} else {
		edge_close_store(e);
		rc = rebuild_store(e, &result, &err);
	}
	if (rc)
		return command_failed(a, &err);
	buf_printf(&out,
		   "%llu images found again, all owed until central confirms them; %llu torn, "
		   "%llu pages that the disk did not give, %llu known without bytes%s%s\n",
		   (unsigned long long)result.objects, (unsigned long long)result.torn,
		   (unsigned long long)result.unread, (unsigned long long)result.known,
		   !result.kept	   ? ""
		   : result.untold ? "; what else it held is not known: it stays as store.old"
				   : "; the old file stays as store.old",
		   /* R20: nobody shall take a part for the whole */
		   result.listed ? ""
				 : "; the list of what had been evicted could not be read: "
				   "`refill` brings it back");
	return command_give(a, &out, result.kept ? COMMAND_PERSON : COMMAND_OK);
}

/* Certificates on the way to central are read again by themselves; main's thread does the rest. */
static int
join(struct asked *a)
{
	struct edge *e = a->node;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	struct joined j;
	int rc = join_run(e, a->words[1], a->words[2], &err);

	if (!rc)
		rc = joined_read(&j, e->dir, &err);
	if (rc)
		return command_failed(a, &err);
	if (e->ctl)
		daemon_reload();
	buf_printf(&out, "%s is a site of archive %s\n", e->site, j.archive);
	return command_give(a, &out, COMMAND_OK);
}

/* What is wrong with the file is said here; then main's thread reads it. */
static int
reload(struct asked *a)
{
	struct edge *e = a->node;
	struct err err = ERR_INIT;
	struct conf *conf;
	unsigned before = atomic_load(&e->reloads);
	unsigned failures = atomic_load(&e->reload_failures);
	int ms, rc = edge_settings_load(&conf, e->conf_path, &err);

	if (!rc) {
		rc = home_check_files(e, conf, &err);
		if (!rc)
			rc = dimse_check_files(conf, &err);
		conf_free(conf);
	}
	if (rc)
		return command_failed(a, &err);
	if (!e->ctl)
		return say(a, "the settings and certificate files are good; the next serve reads "
			      "them\n");
	daemon_reload();
	for (ms = 0; ms < RELOAD_MS && atomic_load(&e->reloads) == before; ms += STEP_MS) {
		if (ctl_stopping(a->r))
			break;
		clock_sleep(e->clock, STEP_MS);
	}
	if (atomic_load(&e->reloads) == before || atomic_load(&e->reload_failures) != failures) {
		command_complain(a, "peers or certificates were not read again; see the log");
		return COMMAND_FAILED;
	}
	return say(a, "peers and certificates are read again; other settings count from the next "
		      "start\n");
}

static int
commit(struct asked *a)
{
	struct edge *e = a->node;
	const struct pledge_desk d = {e->conf, &e->use, &e->store, &e->dicom.pledging,
				      e->ctl != NULL};

	return pledge_command(a, &d);
}

static const struct command commands[] = {
	{"status", 1, 1, " --json ", "status [--json]", true, false, status},
	{"conflicts", 1, 4, " --json --instances --reason= ", conflicts_usage, true, false,
	 conflicts},
	{"reject", 2, 2, " --reason= ", "reject UID --reason quality|safety|worklist|retention",
	 false, false, reject_command},
	{"restore", 2, 2, " --reason= ", "restore UID --reason quality|safety|worklist|retention",
	 false, false, reject_command},
	{"rejected", 1, 1, " --json ", "rejected [--json]", true, false, reject_list},
	{"commit", 1, CTL_WORDS, PLEDGE_OPTIONS, PLEDGE_USAGE, false, true, commit},
	{"evict", 1, 1, " --study= ", "evict [--study UID]", false, false, evict},
	{"hold", 2, 2, " ", "hold on|off", false, false, hold},
	{"retracts", 2, 2, " ", "retracts accept", false, false, retracts},
	{"pin", 2, 2, " --until= ", "pin STUDY [--until YYYY-MM-DD]", false, false, pin},
	{"unpin", 2, 2, " ", "unpin STUDY", false, false, pin},
	{"stat", 2, 2, " --off ", "stat STUDY [--off]", false, false, stat},
	{"retry", 1, 1, " ", "retry", false, false, retry},
	{"refill", 1, 1, " --group --days= --bytes= ", "refill [--group] [--days N] [--bytes SIZE]",
	 false, false, refill},
	{"resync", 1, 1, " --json --verify --subset= ", "resync [--json] [--verify [--subset N/T]]",
	 false, false, resync},
	{"rebuild", 1, 1, " ", "rebuild", false, true, rebuild},
	{"join", 3, 3, " ", "join URL CODE", false, false, join},
	{"reload", 1, 1, " ", "reload", false, false, reload}};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

const char *
edge_commands_wrong(size_t n, const char *const *words, bool *reads)
{
	struct asked a;
	const char *usage;
	const struct command *c = command_check(&a, commands, N_COMMANDS, n, words, &usage);

	*reads = c && c->reads && a.n == 1;
	return c ? NULL : usage;
}

int
edge_commands_run(void *edge, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct edge *e = edge;
	struct asked a;
	const char *usage;
	const struct command *c = command_check(&a, commands, N_COMMANDS, n, words, &usage);
	int code;

	a.node = edge;
	a.r = r;
	a.program = "salamander-edge";
	if (!c) {
		command_complain(&a, usage);
		return COMMAND_USAGE;
	}
	if (e->ctl)
		log_line(c->reads ? LOG_DEBUG : LOG_INFO, "command", "name=%s", c->name);
	if (c->swaps)
		return c->run(&a);
	(void)pthread_rwlock_rdlock(&e->use);
	code = COMMAND_FAILED;
	if (e->store) {
		(void)store_settle(e->store, NULL); /* all that was answered counts */
		code = c->run(&a);
	} else {
		command_complain(&a, "the store is not open; see the log");
	}
	(void)pthread_rwlock_unlock(&e->use);
	return code;
}
