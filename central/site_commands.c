#include "central/site_commands.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "central/central.h"
#include "central/certificates.h"
#include "central/dispatch.h"
#include "central/figures.h"
#include "central/loss.h"
#include "central/order_commands.h"
#include "central/record.h"
#include "central/sites.h"
#include "central/standing.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/command.h"
#include "common/os/file.h"
#include "proto/join_code.h"
#include "proto/message.h"
#include "proto/withdrawn.h"

enum { KEEP_HEX = 8 };

const char site_commands_usage[] = "site add NAME [--rejoin] | site suspend|readmit|lost NAME | "
				   "site remove NAME [--abandon] | site policy NAME own|all | "
				   "site twin NAME --keep ADDRESS | "
				   "site refill NAME [--days N] [--bytes SIZE] [--group] | "
				   "site verify NAME [--subset N/T] | site resend NAME | "
				   "site bandwidth NAME [RATE [DAYS] [HOURS]]";

static const char *
name_of(const struct asked *a)
{
	return a->words[2];
}

/* *out: nothing when nobody decided about it. ERR_ABSENT: never heard of. */
static int
find(struct asked *a, struct member *out, struct err *e)
{
	struct central *c = a->node;
	bool known = false;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	rc = sites_know(tx, name_of(a), &known, e);
	if (!rc && known)
		rc = member_get(tx, name_of(a), out, e);
	store_end_read(tx);
	if (rc && rc != ERR_ABSENT)
		return rc;
	return known ? 0 : err_set(e, ERR_ABSENT, 0, "no site %.64s; see `sites`", name_of(a));
}

static int
decide(struct asked *a, Sync__DecisionKind kind, bool own, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;

	d.kind = kind;
	d.site = message_text(name_of(a));
	d.why = message_text("a person");
	d.own = own;
	return record_decide(a->node, &d, e);
}

/* R26: every edge keeps it for a central that has lost it. */
static int
decide_standing(struct asked *a, Sync__DecisionKind kind, Sync__Standing standing, struct err *e)
{
	int rc = decide(a, kind, false, e);

	return rc ? rc : standing_tell(a->node, name_of(a), (int)standing, e);
}

/* --- site add --- */

static int
may_add(struct asked *a, struct member *m, struct err *e)
{
	struct central *c = a->node;
	int rc;

	if (!c->certificates)
		return err_set(e, ERR_PEER, 0,
			       "this central has no CA of its own (%s): a site needs a certificate "
			       "with its name, not a code",
			       conf_string(c->conf, "tls", NULL, "cert")[0]
				       ? "[tls] names the operator's"
				       : "`init` makes one");
	if (!member_name_valid(name_of(a)))
		return err_set(e, ERR_PEER, 0,
			       "a site's name is 1 to 64 of letters, digits, '.', '_', '-', and "
			       "does not begin with central.");
	rc = find(a, m, NULL); /* one that is not known is a new one */
	if (rc == ERR_ABSENT)
		return 0;
	if (!rc && m->keyed && !command_option(a, "--rejoin"))
		return err_set(e, ERR_CONFLICT, 0,
			       "%.64s has joined; with --rejoin a code replaces its key",
			       name_of(a));
	return rc ? err_set(e, (enum err_code)rc, 0, "the site table cannot be read") : 0;
}

/* The code is the only thing on stdout: a script takes it from there. */
static int
site_add(struct asked *a)
{
	struct central *c = a->node;
	int64_t until =
		clock_wall(c->clock) + conf_number(c->conf, "join", NULL, "hours") * 3600000;
	char text[JOIN_CODE_SIZE], when[CLOCK_RFC3339_SIZE], hint[300];
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	unsigned char hash[SHA256_SIZE];
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct join_code code;
	struct member m;

	if (may_add(a, &m, &e))
		return command_failed(a, &e);
	rng_fill(rng_real(), code.secret, sizeof(code.secret));
	certificates_print(c->certificates, code.print);
	sha256_of(code.secret, sizeof(code.secret), hash);
	d.kind = SYNC__DECISION_KIND__DECISION_SITE_ADD;
	d.site = message_text(name_of(a));
	d.why = message_text("a person");
	d.code = message_bytes(hash, sizeof(hash));
	d.code_until_wall_ms = until;
	/* R26: also where this central may have forgotten that it was removed */
	if (record_decide(c, &d, &e) ||
	    ((m.removed || (m.keyed && !m.suspended)) &&
	     standing_tell(c, name_of(a), (int)SYNC__STANDING__STANDING_MAY, &e)))
		return command_failed(a, &e);
	join_code_write(&code, text);
	clock_rfc3339(until, when);
	(void)snprintf(hint, sizeof(hint),
		       "until %s, for one key: at the site, `salamander-edge join "
		       "https://<this machine>:<port> CODE`\n",
		       when);
	(void)ctl_progress(a->r, hint);
	buf_printf(&out, "%s\n", text);
	return command_give(a, &out, COMMAND_OK);
}

/* --- site suspend, readmit, policy, lost --- */

static int
say(struct asked *a, const char *what)
{
	struct buf out = BUF_INIT;

	buf_printf(&out, "%s %s\n", name_of(a), what);
	return command_give(a, &out, COMMAND_OK);
}

static int
site_suspend(struct asked *a)
{
	struct central *c = a->node;
	struct err e = ERR_INIT;
	struct member m;
	int rc = find(a, &m, &e);

	if (!rc && m.removed)
		rc = err_set(&e, ERR_CONFLICT, 0, "%.64s was removed, and stays so until `site %s`",
			     name_of(a), c->certificates ? "add" : "readmit");
	if (rc || decide_standing(a, SYNC__DECISION_KIND__DECISION_SITE_SUSPEND,
				  SYNC__STANDING__STANDING_SUSPENDED, &e))
		return command_failed(a, &e);
	return say(
		a,
		"is suspended: refused from its next request on; it goes on taking in and serving");
}

static int
site_readmit(struct asked *a)
{
	struct central *c = a->node;
	struct err e = ERR_INIT;
	struct member m;
	int rc = find(a, &m, &e);

	if (!rc && m.removed && c->certificates)
		rc = err_set(&e, ERR_CONFLICT, 0, "%.64s was removed: `site add` makes a code",
			     name_of(a));
	if (rc || decide_standing(a, SYNC__DECISION_KIND__DECISION_SITE_READMIT,
				  SYNC__STANDING__STANDING_MAY, &e))
		return command_failed(a, &e);
	return say(a, "may call again");
}

static int
site_policy(struct asked *a)
{
	bool own = strcmp(a->words[3], "own") == 0;
	struct err e = ERR_INIT;
	struct member m;

	if (find(a, &m, &e) || decide(a, SYNC__DECISION_KIND__DECISION_SITE_POLICY, own, &e))
		return command_failed(a, &e);
	return say(a, own ? "reads what it delivered" : "reads the archive's current studies");
}

/* Of a turn that failed, or was cut by a stop (record_turn). */
static bool
figures_are_behind(struct asked *a)
{
	struct central *c = a->node;
	struct store_tx *tx;
	bool turning = true;

	if (store_begin_read(&tx, c->store, NULL))
		return true;
	if (site_turning(tx, &turning, NULL))
		turning = true;
	store_end_read(tx);
	return turning;
}

static int
site_lost(struct asked *a)
{
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;
	struct member m;

	if (find(a, &m, &e) || record_decision(a->node, SYNC__DECISION_KIND__DECISION_CLOSE,
					       name_of(a), NULL, "site lost", &e))
		return command_failed(a, &e);
	buf_printf(&out, "%s is closed; `loss --site %s` lists what it had not sent\n", name_of(a),
		   name_of(a));
	if (!figures_are_behind(a))
		return command_give(a, &out, COMMAND_OK);
	buf_puts(&out,
		 "the figures of `sites` and `status` are behind it: see the log; they follow "
		 "at the next start, or with the next site that is closed\n");
	return command_give(a, &out, COMMAND_PERSON);
}

/* --- site bandwidth --- */

static void
put_line(void *arg, const char *line)
{
	buf_printf(arg, "  %s\n", line);
}

/* As the command takes them again: what a person changes at night he can put back. */
static void
put_table(struct buf *out, const struct bandwidth *b)
{
	if (bandwidth_is_free(b))
		buf_puts(out, "  none\n");
	else
		bandwidth_lines(b, put_line, out);
}

static int
decide_bandwidth(struct asked *a, const struct bandwidth *b, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	struct bandwidth_runs runs;
	int rc;

	bandwidth_to_runs(&runs, b);
	d.kind = SYNC__DECISION_KIND__DECISION_SITE_BANDWIDTH;
	d.site = message_text(name_of(a));
	d.why = message_text("a person");
	d.bandwidth = runs.list;
	d.n_bandwidth = runs.n;
	rc = record_decide(a->node, &d, e);
	if (!rc)
		dispatch_news(a->node); /* that edge's poll is answered */
	return rc;
}

/* RATE, then days or hours or both. */
static bool
read_rate(const struct asked *a, struct bandwidth *b)
{
	const char *const *words = a->words;
	const char *days = a->n > 4 && strchr(words[4], ':') ? NULL : a->n > 4 ? words[4] : NULL;
	const char *hours = a->n > 4 && !days ? words[4] : a->n > 5 ? words[5] : NULL;
	uint64_t rate;

	return (a->n < 6 || days) && bandwidth_rate(words[3], &rate) &&
	       bandwidth_set(b, rate, days, hours);
}

static int
site_bandwidth(struct asked *a)
{
	struct bandwidth before, now;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct member m;

	if (find(a, &m, &e))
		return command_failed(a, &e);
	if (!m.site[0])
		bandwidth_clear(&m.bandwidth);
	before = now = m.bandwidth;
	if (a->n > 3 && !read_rate(a, &now)) {
		command_complain(a, "site bandwidth NAME [RATE [DAYS] [HOURS]]: 20Mbit, 500kbit, "
				    "0, none; mon-fri; 07:00-19:00");
		return COMMAND_USAGE;
	}
	if (a->n > 3 && decide_bandwidth(a, &now, &e))
		return command_failed(a, &e);
	buf_printf(&out, "%s may use of its link, each way, by its local time:\n", name_of(a));
	put_table(&out, &now);
	if (a->n > 3) {
		buf_puts(&out, "before:\n");
		put_table(&out, &before);
		buf_puts(&out, "It hears of it at once while it is there, else with its next "
			       "hello.\n");
	}
	buf_puts(&out, "Ledger, hello and lane stat are never held; `[central] ceiling` at the "
		       "edge may be less.\n");
	return command_give(a, &out, COMMAND_OK);
}

/* --- site twin (R8) --- */

struct copies {
	const char *site, *keep;
	unsigned n, named;
	bool drains; /* one of them */
	struct id128 kept;
};

static int
note_copy(void *arg, const struct site_row *row, struct err *e)
{
	struct copies *c = arg;
	char hex[ID128_HEX];

	(void)e;
	if (row->closed || strcmp(row->site, c->site) != 0)
		return 0;
	c->n++;
	c->drains = c->drains || row->drains;
	hex_of(row->incarnation.b, ID128_SIZE, hex);
	if (strcmp(row->address, c->keep) != 0 &&
	    (strlen(c->keep) < KEEP_HEX || strncmp(hex, c->keep, strlen(c->keep)) != 0))
		return 0;
	c->named++;
	c->kept = row->incarnation;
	return 0;
}

static int
choose_copy(struct asked *a, struct copies *c, struct err *e)
{
	struct central *central = a->node;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, central->store, e);

	if (rc)
		return rc;
	rc = site_each(tx, note_copy, c, e);
	store_end_read(tx);
	/* The copy that was kept may have burnt: the last one is told to take in again. */
	if (!rc && c->n < 2 && !c->drains)
		rc = err_set(e, ERR_CONFLICT, 0, "%.64s has no twin", c->site);
	if (!rc && c->named == 0)
		rc = err_set(e, ERR_ABSENT, 0, "no copy of %.64s calls from %.80s; see `sites`",
			     c->site, c->keep);
	if (!rc && c->named > 1)
		rc = err_set(e, ERR_CONFLICT, 0,
			     "more than one calls from %.80s: give the first digits of the "
			     "incarnation that stays, as `sites` shows it",
			     c->keep);
	return rc;
}

static int
site_twin(struct asked *a)
{
	struct copies c = {.site = name_of(a), .keep = command_option(a, "--keep")};
	struct err e = ERR_INIT;
	struct member m;

	if (find(a, &m, &e) || choose_copy(a, &c, &e) ||
	    record_decision(a->node, SYNC__DECISION_KIND__DECISION_KEEP, c.site, &c.kept,
			    "a person", &e))
		return command_failed(a, &e);
	return say(a, "has one copy again; the others deliver what they have, and take nothing in");
}

/* --- site remove --- */

static int
owed_by(struct central *c, const char *site, uint64_t *out, struct err *e)
{
	struct store_tx *tx;
	struct figure f;
	int rc;

	*out = 0;
	record_turn(c); /* it may just be called again: half of its figures say "lost" */
	rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = figures_of_site(tx, site, &f, e);
	store_end_read(tx);
	*out = f.of[TALLY_OWED];
	return rc;
}

/* R26: whom to call back, durable before the site is gone. Inside the data folder (R35). */
static int
keep_list(struct asked *a, char name[160], struct err *e)
{
	struct central *c = a->node;
	unsigned long long lost;
	struct buf out = BUF_INIT;
	int rc = loss_print(c->store, name_of(a), LOSS_CSV, false, &out, &lost, e);

	(void)snprintf(name, 160, "abandoned-%.64s-%lld.csv", name_of(a),
		       (long long)(clock_wall(c->clock) / 1000));
	if (!rc && buf_failed(&out))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for the list");
	if (!rc)
		rc = file_replace(c->dir, name, out.data, out.len, e);
	buf_fini(&out);
	return rc;
}

/* It never called this central, and edges keep that it joined: it may have burnt as well (R26). */
static bool
is_named(struct asked *a)
{
	struct central *c = a->node;
	struct withdrawn said;
	struct store_tx *tx;
	bool yes;

	if (store_begin_read(&tx, c->store, NULL))
		return false;
	yes = standing_get(tx, name_of(a), &said, NULL) == 0;
	store_end_read(tx);
	return yes;
}

static int
site_remove(struct asked *a)
{
	struct central *c = a->node;
	struct err e = ERR_INIT;
	struct member m;
	uint64_t owed;
	int rc;
	char name[160] = "", what[CENTRAL_DIR_MAX + 300];

	rc = find(a, &m, &e);
	if (rc == ERR_ABSENT && is_named(a)) {
		err_clear(&e);
		rc = 0;
	}
	if (rc || owed_by(c, name_of(a), &owed, &e))
		return command_failed(a, &e);
	if (owed && !command_option(a, "--abandon")) {
		(void)snprintf(what, sizeof(what),
			       "%s has %llu images that are not here, and stays; --abandon writes "
			       "a list of them, then removes it",
			       name_of(a), (unsigned long long)owed);
		command_complain(a, what);
		return COMMAND_PERSON;
	}
	if ((owed && keep_list(a, name, &e)) ||
	    decide_standing(a, SYNC__DECISION_KIND__DECISION_SITE_REMOVE,
			    SYNC__STANDING__STANDING_REMOVED, &e))
		return command_failed(a, &e);
	if (!owed)
		return say(a, "is removed; what it sent stays");
	(void)snprintf(what, sizeof(what), "is removed; whom to call back: %s/%s", c->dir, name);
	return say(a, what);
}

static bool
only(const struct asked *a, size_t words, const char *option)
{
	size_t i;

	for (i = 0; i < a->n_options; i++)
		if (!option || strcmp(a->options[i], option) != 0)
			return false;
	return a->n == words;
}

int
site_commands_site(struct asked *a)
{
	const char *what = a->words[1];
	int code = order_commands_site(a);

	if (code >= 0)
		return code;
	if (strcmp(what, "add") == 0 && only(a, 3, "--rejoin"))
		return site_add(a);
	if (strcmp(what, "suspend") == 0 && only(a, 3, NULL))
		return site_suspend(a);
	if (strcmp(what, "readmit") == 0 && only(a, 3, NULL))
		return site_readmit(a);
	if (strcmp(what, "remove") == 0 && only(a, 3, "--abandon"))
		return site_remove(a);
	if (strcmp(what, "lost") == 0 && only(a, 3, NULL))
		return site_lost(a);
	if (strcmp(what, "policy") == 0 && only(a, 4, NULL) &&
	    (strcmp(a->words[3], "own") == 0 || strcmp(a->words[3], "all") == 0))
		return site_policy(a);
	if (strcmp(what, "bandwidth") == 0 && a->n_options == 0 && a->n <= 6)
		return site_bandwidth(a);
	if (strcmp(what, "twin") == 0 && only(a, 3, "--keep") && command_option(a, "--keep"))
		return site_twin(a);
	command_complain(a, site_commands_usage);
	return COMMAND_USAGE;
}
