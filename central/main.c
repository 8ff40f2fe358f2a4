/*~
 * salamander-central: the archive of all sites. The guided tour:
 *   central.c     the data folder, start, services and their end
 *   intake.c      what edges call: hello, ledger, holdings, packs, refill
 *   record.c      the log, and what each record makes of the catalogue
 *   gate.c        who may call; members.c the site table; join.c how a site gets in
 *   upload.c      packs on their way in; adopt.c: they become part of the archive
 *   reconcile.c   catalogue and vault compared at the start; verify.c: on demand
 *   figures.c     the numbers of each site; loss.c: what burnt, and whom to call
 *   dispatch.c    orders to edges; decisions.c, withdraw.c: what viewers get, and do not
 *   birth.c       the identity of the archive; certificates.c, kit.c: its CA, made again
 */
#include <argp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "central/birth.h"
#include "central/central.h"
#include "central/central_commands.h"
#include "central/central_settings.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/os/daemon.h"
#include "common/os/words.h"

enum {
	EXIT_USAGE = 2,
	KEY_EXPLAIN = 256,
	KEY_JSON,
	KEY_CSV,
	KEY_SITE,
	KEY_INSTANCES,
	KEY_MISSING,
	KEY_REJOIN,
	KEY_ABANDON,
	KEY_KEEP,
	KEY_LEDGER,
	KEY_KIT,
	KEY_PASSPHRASE,
	KEY_RECOVER,
	KEY_REASON,
	KEY_DAYS,
	KEY_BYTES,
	KEY_GROUP,
	KEY_SUBSET,
	KEY_ALL,
	KEY_SEND,
	KEY_NO_WAIT,
	KEY_SEEN
};

const char *argp_program_version = "salamander-central " SALAMANDER_VERSION;

static const struct argp_option options[] = {
	{"config", 'c', "FILE", 0, "settings (default: /etc/salamander/central.conf)", 0},
	{"explain-config", KEY_EXPLAIN, NULL, 0, "print every setting with default and bounds", 0},
	{"json", KEY_JSON, NULL, 0, "one JSON document", 0},
	{"csv", KEY_CSV, NULL, 0, "loss: a table", 0},
	{"site", KEY_SITE, "NAME", 0, "loss, set: of this site only", 0},
	{"instances", KEY_INSTANCES, NULL, 0, "loss, conflicts: each instance", 0},
	{"accept-missing", KEY_MISSING, NULL, 0, "serve: go on without packs that are gone", 0},
	{"keep", KEY_KEEP, "ADDRESS", 0,
	 "site twin: the copy that stays; or the first hex digits of its incarnation", 0},
	{"rejoin", KEY_REJOIN, NULL, 0, "site add: the code replaces the site's key", 0},
	{"abandon", KEY_ABANDON, NULL, 0,
	 "site remove: list what it owes, then remove it; ca retire: cut off who is behind", 0},
	{"kit", KEY_KIT, "FILE", 0, "init, ca: where the recovery kit goes", 0},
	{"passphrase-file", KEY_PASSPHRASE, "FILE", 0, "its first line closes or opens the kit", 0},
	{"recover", KEY_RECOVER, "KIT", 0, "init: the archive that this kit is of", 0},
	{"ledger", KEY_LEDGER, NULL, 0, "verify: the numbers, counted from the ledgers", 0},
	{"reason", KEY_REASON, "TEXT", 0, "retract, restore, reject, conflicts resolve: why", 0},
	{"days", KEY_DAYS, "N", 0, "site refill: only of the last N days", 0},
	{"bytes", KEY_BYTES, "SIZE", 0, "site refill: stop after so many", 0},
	{"group", KEY_GROUP, NULL, 0, "site refill: what all sites had", 0},
	{"subset", KEY_SUBSET, "N/T", 0, "site verify: the N-th of T slices of its images", 0},
	{"all", KEY_ALL, NULL, 0, "orders: also those that are carried out", 0},
	{"send", KEY_SEND, NULL, 0, "commit: what the archive lacks goes there first", 0},
	{"no-wait", KEY_NO_WAIT, NULL, 0, "commit: do not wait for its word", 0},
	{"seen", KEY_SEEN, NULL, 0, "commit PEER: what it did not commit to is known", 0},
	{NULL, 0, NULL, 0, NULL, 0}};

struct arguments {
	const char *config;
	struct words words;
	bool explain, missing;
	/* as seen from wherever the command runs */
	bool recover;
	char kit[PATH_MAX], passphrase[PATH_MAX];
};

/* A running server has another folder than the person. */
static void
from_here(char out[PATH_MAX], const char *path, struct argp_state *state)
{
	char here[PATH_MAX];

	if (path[0] == '/' || !getcwd(here, sizeof(here)))
		here[0] = '\0';
	if (snprintf(out, PATH_MAX, "%s%s%s", here, here[0] ? "/" : "", path) >= PATH_MAX)
		argp_error(state, "the path is too long");
}

/* Of `ca`; `init` reads them from the arguments. */
static void
add_files(struct arguments *a, struct argp_state *state)
{
	if (a->kit[0]) {
		words_add(&a->words, a->recover ? "--recover" : "--kit", state);
		words_add(&a->words, a->kit, state);
	}
	if (a->passphrase[0]) {
		words_add(&a->words, "--passphrase-file", state);
		words_add(&a->words, a->passphrase, state);
	}
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	switch (key) {
	case 'c':
		a->config = arg;
		return 0;
	case KEY_EXPLAIN:
		a->explain = true;
		return 0;
	case KEY_MISSING:
		a->missing = true;
		return 0;
	case KEY_KIT:
	case KEY_RECOVER:
		a->recover = a->recover || key == KEY_RECOVER;
		from_here(a->kit, arg, state);
		return 0;
	case KEY_PASSPHRASE:
		from_here(a->passphrase, arg, state);
		return 0;
	case ARGP_KEY_ARG:
		words_argument(&a->words, arg, state);
		return 0;
	case ARGP_KEY_END:
		if (!a->words.commanded && !a->explain)
			argp_error(state, "a command is missing");
		if (a->words.commanded && strcmp(a->words.v[0], "init") != 0)
			add_files(a, state);
		return 0;
	default: /* the command reads it */
		return words_option(&a->words, options, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"COMMAND",
	"The central archive of Salamander: takes what the edges send, keeps it, gives it back.\v"
	"Commands:\n"
	"  init            make the data folder of a new archive, and its recovery kit;\n"
	"                  --recover KIT: of the archive that burnt\n"
	"  serve           run in the foreground\n"
	"  status          what is here, per site; an image counts for each that\n"
	"                  announced it\n"
	"  sites           who may call, with which key, until when; then the same\n"
	"  loss            what is lost or owed, with the names to call\n"
	"  conflicts       other versions under one UID\n"
	"  conflicts resolve UID SHA256\n"
	"                  this version is what viewers get, here and at every edge\n"
	"  site add NAME   print a join code; --rejoin: a site that is here already\n"
	"  site suspend | readmit NAME\n"
	"  site twin NAME --keep ADDRESS\n"
	"                  of two copies of an edge this one stays, the others drain\n"
	"  site policy NAME own | all\n"
	"                  whether it reads only what it delivered\n"
	"  site bandwidth NAME RATE [DAYS] [HOURS]\n"
	"                  20Mbit mon-fri 07:00-19:00: so much of its link, each way;\n"
	"                  0: ledger, hello and stat alone; none: all; without RATE:\n"
	"                  print its table\n"
	"  site remove NAME\n"
	"                  3 while it owes images; --abandon lists them first\n"
	"  site lost NAME  a site burnt: what it had not sent counts as lost\n"
	"  ca renew        a new CA and --kit FILE; sites take it by themselves\n"
	"  ca retire       older CAs are believed no more; 3 and nothing done while a\n"
	"                  site has not called with a certificate of the newest one\n"
	"  retract UID --reason TEXT\n"
	"                  hide a study, series or image, here and at every edge: what\n"
	"                  is there and what comes; nothing is deleted here\n"
	"  restore UID --reason TEXT\n"
	"                  show it again\n"
	"  retracted       what is hidden so, since when and why\n"
	"  reject UID --reason quality|safety|worklist|retention\n"
	"                  a study, series or image is hidden as by a rejection note;\n"
	"                  restore with the same word shows it again\n"
	"  rejected        what is hidden so, by notes that sites took in or from here\n"
	"  hold on | off   no edge evicts anything, or may again\n"
	"  site refill NAME\n"
	"                  the edge fetches back what it had (--days, --bytes, --group)\n"
	"  site verify NAME\n"
	"                  it reads its bytes (--subset N/T), and compares its ledger\n"
	"  site resend NAME\n"
	"                  it compares its ledger, and sends what is not here\n"
	"  prefetch STUDY SITE\n"
	"                  the edge fetches the study\n"
	"  set KEY VALUE|default\n"
	"                  keep_days, retract_days, dark at every edge, or --site NAME;\n"
	"                  what its own file says counts where it keeps more\n"
	"  orders          what is wanted of edges, and how far that is; --all\n"
	"  commit PEER UID...\n"
	"                  ask the archive PEER to commit to studies, series or images\n"
	"                  (storage commitment); --send: it gets first what it lacks\n"
	"  commit [PEER]   what archives said; --seen: what one did not commit to is\n"
	"                  known, and no reason to exit 3\n"
	"  verify          re-read every pack, count everything again; --ledger: count\n"
	"                  alone\n"
	"  rebuild         make the catalogue anew from packs and log\n"
	"  reload          read [peer] sections and certificates again\n\n"
	"All but init and serve speak to a running serve, or work by themselves.\n"
	"Exit: 0 ok, 1 failed, 2 usage, 3 ran, and something needs a person.",
	NULL,
	NULL,
	NULL};

static int
fail(const struct err *e)
{
	return command_die("salamander-central", e);
}

static int
serve(const struct arguments *a)
{
	struct err e = ERR_INIT;
	struct central c;
	int rc = daemon_prepare(&e);

	fault_from_env();
	if (!rc)
		rc = central_open(&c, a->config, a->missing ? CENTRAL_MISSING : CENTRAL_SERVE, &e);
	if (!rc) {
		rc = central_serve(&c, &e);
		central_close(&c);
	}
	if (rc == ERR_AGAIN && daemon_go_on(NULL)) { /* as it was told to, before all was done */
		log_line(LOG_INFO, "stopped", "%s", e.what);
		rc = 0;
	}
	if (rc)
		log_err(LOG_ERROR, "serve", &e);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void
show_passphrase(const struct born *b)
{
	if (b->passphrase[0])
		printf("passphrase of the kit, shown this once: %s\n", b->passphrase);
	printf("Keep kit and passphrase outside of this building, apart from each other.\n");
}

static int
init(const struct arguments *a)
{
	struct birth_wish wish = {.recover = a->recover,
				  .kit = a->kit[0] ? a->kit : NULL,
				  .passphrase_file = a->passphrase[0] ? a->passphrase : NULL};
	struct err e = ERR_INIT;
	struct born b;

	if (birth_init(a->config, &wish, &b, &e))
		return fail(&e);
	if (a->recover) {
		printf("archive %s again; `serve` runs it, and its sites fill it\n"
		       "Who was suspended or removed is so again when another site that heard of "
		       "it\nhas called; until then, and if none has, see `sites`.\n",
		       b.archive);
		return EXIT_SUCCESS;
	}
	printf("a new central, archive %s; `serve` runs it\nrecovery kit: %s\n", b.archive, b.kit);
	show_passphrase(&b);
	return EXIT_SUCCESS;
}

static int
alone(const struct arguments *a, enum central_mode mode)
{
	struct err e = ERR_INIT;
	struct central c;
	int code;

	if (central_open(&c, a->config, mode, &e))
		return fail(&e);
	code = ctl_local(central_commands_run, &c, a->words.n, a->words.v);
	central_close(&c);
	return code;
}

static int
command(const struct arguments *a)
{
	struct err e = ERR_INIT;
	struct conf *conf;
	bool reads;
	const char *wrong = central_commands_wrong(a->words.n, a->words.v, &reads);
	int code = EXIT_FAILURE, rc;

	if (!wrong && a->missing)
		wrong = "--accept-missing is for serve";
	if (wrong)
		return command_misused("salamander-central", a->words.v[0], wrong);
	rc = central_settings_load(&conf, a->config, &e);
	if (rc)
		return fail(&e);
	rc = ctl_ask(conf_string(conf, "data", NULL, "dir"), a->words.n, a->words.v, NULL, &code,
		     &e);
	conf_free(conf);
	if (rc == ERR_ABSENT)
		return alone(a, reads					? CENTRAL_READ
				: strcmp(a->words.v[0], "rebuild") == 0 ? CENTRAL_REBUILD
									: CENTRAL_LOCAL);
	return rc ? fail(&e) : code;
}

int
main(int argc, char **argv)
{
	struct arguments a = {.config = "/etc/salamander/central.conf"};
	const struct conf_row *rows;
	size_t n;

	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &a))
		return EXIT_USAGE;
	if (a.explain) {
		rows = central_settings_rows(&n);
		conf_explain(stdout, rows, n);
		return EXIT_SUCCESS;
	}
	if (words_are(&a.words, "serve"))
		return serve(&a);
	if (words_are(&a.words, "init"))
		return init(&a);
	return command(&a);
}
