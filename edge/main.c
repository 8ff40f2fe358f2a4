/*~
 * salamander-edge: a site's cache. The guided tour starts here:
 *   edge.c      the data folder, the duties and their end
 *   take_in.c   an object from a modality until its answer
 *   status.c    what an operator sees
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/fault.h"
#include "common/base/log.h"
#include "common/os/daemon.h"
#include "edge/edge.h"
#include "edge/settings.h"
#include "edge/status.h"

enum { EXIT_USAGE = 2, KEY_EXPLAIN = 256, KEY_JSON };

const char *argp_program_version = "salamander-edge " SALAMANDER_VERSION;

static const struct argp_option options[] = {
	{"config", 'c', "FILE", 0, "settings (default: /etc/salamander/edge.conf)", 0},
	{"explain-config", KEY_EXPLAIN, NULL, 0, "print every setting with default and bounds", 0},
	{"json", KEY_JSON, NULL, 0, "status: one JSON document", 0},
	{NULL, 0, NULL, 0, NULL, 0}};

struct arguments {
	const char *config, *command;
	bool explain, json;
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
	case KEY_JSON:
		a->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->command)
			argp_error(state, "one command only");
		a->command = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->command && !a->explain)
			argp_error(state, "a command is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	options,
	parse,
	"COMMAND",
	"The edge of Salamander: takes in DICOM, keeps it, serves viewers.\v"
	"Commands:\n"
	"  serve     run in the foreground\n"
	"  status    what is here; works while serve runs and when it does not\n\n"
	"Exit: 0 ok, 1 failed, 2 usage, 3 ran, and something needs a person.",
	NULL,
	NULL,
	NULL};

static int
serve(const char *config)
{
	struct err e = ERR_INIT;
	struct edge edge;
	int rc = daemon_prepare(&e);

	fault_from_env();
	if (!rc)
		rc = edge_open(&edge, config, &e);
	if (!rc) {
		rc = edge_serve(&edge, &e);
		edge_close(&edge);
	}
	if (rc)
		log_err(LOG_ERROR, "serve", &e);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	struct arguments a = {"/etc/salamander/edge.conf", NULL, false, false};
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
	if (strcmp(a.command, "serve") == 0)
		return serve(a.config);
	if (strcmp(a.command, "status") == 0)
		return status_print(a.config, a.json);
	fprintf(stderr, "salamander-edge: no command '%s'; see --help\n", a.command);
	return EXIT_USAGE;
}
