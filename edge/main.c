/*~
 * salamander-edge: a site's cache. The guided tour starts here:
 *   edge.c       the data folder, the duties and their end
 *   take_in.c    an object from a modality until its answer
 *   outbox.c     what is owed; packing.c: packs of it
 *   replicate.c  the duty that sends them; holdings.c: what central says it has
 *   keep.c       what may go when the cache fills; evict.c: how it goes
 *   resync.c     is all that is here at central, or owed to it?
 *   refill.c     a new edge gets back what its site had; mend.c: what is damaged comes again
 *   setback.c    this disk was restored or copied: how it goes on
 *   orders.c     what central wants of it; decisions.c: which version viewers get
 *   join.c       how it becomes a site; joined.c: what it has of that; home.c: the way to central
 *   status.c     what an operator sees; edge_commands.c: what he may ask
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/os/command.h"
#include "common/os/ctl.h"
#include "common/os/daemon.h"
#include "common/os/words.h"
#include "edge/edge_commands.h"
#include "edge/edge.h"
#include "edge/edge_settings.h"

enum {
	EXIT_USAGE = 2,
	KEY_EXPLAIN = 256,
	KEY_JSON,
	KEY_INSTANCES,
	KEY_STUDY,
	KEY_UNTIL,
	KEY_GROUP,
	KEY_DAYS,
	KEY_BYTES,
	KEY_VERIFY,
	KEY_SUBSET,
	KEY_REASON,
	KEY_OFF,
	KEY_SEND,
	KEY_NO_WAIT,
	KEY_SEEN
};

const char *argp_program_version = "salamander-edge " SALAMANDER_VERSION;

static const struct argp_option options[] = {
	{"config", 'c', "FILE", 0, "settings (default: /etc/salamander/edge.conf)", 0},
	{"explain-config", KEY_EXPLAIN, NULL, 0, "print every setting with default and bounds", 0},
	{"json", KEY_JSON, NULL, 0, "status, conflicts, resync, commit: one JSON document", 0},
	{"instances", KEY_INSTANCES, NULL, 0, "conflicts: each instance", 0},
	{"study", KEY_STUDY, "UID", 0, "evict: this study", 0},
	{"until", KEY_UNTIL, "DATE", 0, "pin: to the end of that day, YYYY-MM-DD", 0},
	{"group", KEY_GROUP, NULL, 0, "refill: what all sites announced", 0},
	{"days", KEY_DAYS, "N", 0, "refill: what arrived in the last N days", 0},
	{"bytes", KEY_BYTES, "SIZE", 0, "refill: stop after so much", 0},
	{"verify", KEY_VERIFY, NULL, 0, "resync: read and hash the images here first", 0},
	{"subset", KEY_SUBSET, "N/T", 0, "resync --verify: the N-th of T slices of them", 0},
	{"off", KEY_OFF, NULL, 0, "stat: no longer", 0},
	{"send", KEY_SEND, NULL, 0, "commit: what the archive lacks goes there first", 0},
	{"no-wait", KEY_NO_WAIT, NULL, 0, "commit: do not wait for its word", 0},
	{"seen", KEY_SEEN, NULL, 0, "commit PEER: what it did not commit to is known", 0},
	{"reason", KEY_REASON, "TEXT", 0,
	 "conflicts resolve: why; reject, restore: quality, safety, worklist or retention", 0},
	{NULL, 0, NULL, 0, NULL, 0}};

struct arguments {
	const char *config;
	struct words words;
	bool explain;
};

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
	case ARGP_KEY_ARG:
		words_argument(&a->words, arg, state);
		return 0;
	case ARGP_KEY_END:
		if (!a->words.commanded && !a->explain)
			argp_error(state, "a command is missing");
		return 0;
	default: /* the command reads it */
		return words_option(&a->words, options, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"COMMAND",
	"The edge of Salamander: takes in DICOM, keeps it, serves viewers, sends it to central.\v"
	"Commands:\n"
	"  init            make the data folder of a new edge\n"
	"  join URL CODE   become a site of an archive; makes the data folder if it is\n"
	"                  missing\n"
	"  serve           run in the foreground\n"
	"  status          what is here and what is owed\n"
	"  conflicts       other versions under one UID\n"
	"  conflicts resolve UID SHA256\n"
	"                  this version is what viewers get: central decides so, and\n"
	"                  all follow\n"
	"  reject UID --reason quality|safety|worklist|retention\n"
	"                  a rejection note for a study, series or image: hidden here\n"
	"                  and everywhere, nothing is deleted\n"
	"  restore UID --reason ...\n"
	"                  it is rejected for this reason no more\n"
	"  rejected        what is hidden so\n"
	"  commit PEER UID...\n"
	"                  ask the archive PEER to commit to studies, series or images\n"
	"                  (storage commitment); --send: it gets first what it lacks\n"
	"  commit [PEER]   what archives said; --seen: what one did not commit to is\n"
	"                  known, and no reason to exit 3\n"
	"  resync          compare all with central, queue what it lacks\n"
	"  refill          get back what central holds of this site (--group: of all);\n"
	"                  3: it left something out, and says what\n"
	"  rebuild         make the store anew from the images in its file\n"
	"  evict           free what central releases\n"
	"  hold on|off     stop eviction, allow it again\n"
	"  retracts accept carry out the retracts of central that wait: too many in\n"
	"                  a day\n"
	"  pin STUDY       keep a study here\n"
	"  unpin STUDY     no longer\n"
	"  stat STUDY      it goes to central before everything else\n"
	"  retry           try again what was put off or parked\n"
	"  reload          read [peer] sections and certificates again\n\n"
	"All but init and serve speak to a running serve, or work by themselves.\n"
	"Exit: 0 ok, 1 failed, 2 usage, 3 ran, and something needs a person.",
	NULL,
	NULL,
	NULL};

static int
fail(const struct err *e)
{
	return command_die("salamander-edge", e);
}

static int
serve(const char *config)
{
	struct err e = ERR_INIT;
	struct edge edge;
	int rc = daemon_prepare(&e);

	fault_from_env();
	if (!rc)
		rc = edge_open(&edge, config, EDGE_SERVE, &e);
	if (!rc) {
		rc = edge_serve(&edge, &e);
		edge_close(&edge);
	}
	if (rc == ERR_AGAIN && daemon_go_on(NULL)) { /* as it was told to, before all was done */
		log_line(LOG_INFO, "stopped", "%s", e.what);
		rc = 0;
	}
	if (rc)
		log_err(LOG_ERROR, "serve", &e);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int
init(const char *config)
{
	struct err e = ERR_INIT;

	if (edge_init(config, &e))
		return fail(&e);
	printf("a new edge; `serve` runs it\n");
	return EXIT_SUCCESS;
}

/* Without a server: by itself, under the data lock unless it only reads. */
static int
alone(const struct arguments *a, bool reads)
{
	struct err e = ERR_INIT;
	enum edge_mode mode = strcmp(a->words.v[0], "rebuild") == 0 ? EDGE_SALVAGE
			      : reads				    ? EDGE_READ
								    : EDGE_LOCAL;
	struct edge edge;
	int code;

	if (strcmp(a->words.v[0], "join") == 0 && edge_init_if_new(a->config, &e))
		return fail(&e);
	if (edge_open(&edge, a->config, mode, &e))
		return fail(&e);
	code = ctl_local(edge_commands_run, &edge, a->words.n, a->words.v);
	edge_close(&edge);
	return code;
}

static int
command(const struct arguments *a)
{
	struct err e = ERR_INIT;
	struct conf *conf;
	bool reads;
	const char *wrong = edge_commands_wrong(a->words.n, a->words.v, &reads);
	int code = EXIT_FAILURE, rc;

	if (wrong)
		return command_misused("salamander-edge", a->words.v[0], wrong);
	rc = edge_settings_load(&conf, a->config, &e);
	if (rc)
		return fail(&e);
	rc = ctl_ask(conf_string(conf, "data", NULL, "dir"), a->words.n, a->words.v, NULL, &code,
		     &e);
	conf_free(conf);
	if (rc == ERR_ABSENT)
		return alone(a, reads);
	return rc ? fail(&e) : code;
}

int
main(int argc, char **argv)
{
	struct arguments a = {.config = "/etc/salamander/edge.conf"};
	const struct conf_row *rows;
	size_t n;

	argp_err_exit_status = EXIT_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &a))
		return EXIT_USAGE;
	if (a.explain) {
		rows = edge_settings_rows(&n);
		conf_explain(stdout, rows, n);
		return EXIT_SUCCESS;
	}
	if (words_are(&a.words, "serve"))
		return serve(a.config);
	if (words_are(&a.words, "init"))
		return init(a.config);
	return command(&a);
}
