/* Nodes are made: by `serve` where nothing is asked of them, or by `init`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "tests/sim/world.h"

static void
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		abort();
}

/* The files are read by whoever speaks TLS: nobody here. */
static const char *
tls(bool yes)
{
	return yes ? "[tls]\ncert = /sim/c.pem\nkey = /sim/k.pem\nca = /sim/ca.pem\n" : "";
}

static void
write_central(struct world *w, bool with_tls)
{
	char text[400];

	(void)snprintf(text, sizeof(text),
		       "[data]\ndir = /sim/central\ncatalogue = 64GiB\n[log]\nlevel = error\n%s",
		       tls(with_tls));
	write_text(w->conf, text);
}

/* As `init` does, or `init --recover`: but for the certificates, which nobody looks at here. */
static int
identify(struct world *w, struct err *err)
{
	static const struct {
		const char *dir, *part;
	} parts[] = {{"/sim/central/vault/log", "log"},
		     {"/sim/central/vault", "vault"},
		     {"/sim/central", "data"}};
	bool again = w->kit && w->identity.keyed;
	struct identity id = w->central.identity;
	size_t i;
	int rc = 0;

	if (again)
		id = w->identity;
	id.by_init = true;
	for (i = 0; !rc && i < sizeof(parts) / sizeof(parts[0]); i++) {
		(void)snprintf(id.part, sizeof(id.part), "%s", parts[i].part);
		id.keyed = i == 2;
		rc = identity_write(parts[i].dir, &id, err);
	}
	w->identity = id;
	return rc;
}

void
births_central(struct world *w)
{
	struct err err = ERR_INIT;
	int rc;

	write_central(w, false);
	if (!w->by_init)
		return;
	world_enter(w, &w->clock);
	rc = central_open(&w->central, w->conf, CENTRAL_SERVE, &err);
	if (!rc) {
		rc = identify(w, &err);
		central_close(&w->central);
	}
	if (rc) { /* nothing fails while a node is made */
		fprintf(stderr, "sim: no central: %s\n", err.what);
		abort();
	}
	write_central(w, true);
}

void
births_edge(struct sim_edge *e)
{
	char text[600];

	(void)snprintf(text, sizeof(text),
		       "[site]\nname = %s\nissuer = N%u\n[data]\ndir = %s\nquota = 64MiB\n"
		       "journal = %s\nahead = 0\n[log]\nlevel = error\n"
		       "[central]\nurl = %s://127.0.0.1:1\n[cache]\nkeep_days = 0\n"
		       "[stat magnetic]\nmodality = MR\n%s",
		       e->name, e->number, e->dir, e->number % 2 ? "128KiB" : "0",
		       e->by_init ? "https" : "http", tls(e->by_init));
	write_text(e->conf, text);
	e->to_init = e->by_init;
}
