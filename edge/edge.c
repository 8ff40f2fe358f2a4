#include "edge/edge.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/dimse/audit.h"
#include "common/dimse/peers.h"
#include "common/os/daemon.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "edge/settings.h"
#include "edge/take_in.h"
#include "proto/ledger.h"

enum { SUB_OPERATION_SECONDS = 30 };

const char *const *
edge_tables(unsigned *n)
{
	static const char *const tables[] = {LEDGER_TABLE};

	*n = sizeof(tables) / sizeof(tables[0]);
	return tables;
}

static void
path_of(const struct edge *e, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", conf_string(e->conf, "data", NULL, "dir"), name);
}

static void
set_level(const struct conf *c)
{
	const char *level = conf_string(c, "log", NULL, "level");

	log_set_level(strcmp(level, "error") == 0  ? LOG_ERROR
		      : strcmp(level, "warn") == 0 ? LOG_WARN
		      : strcmp(level, "info") == 0 ? LOG_INFO
						   : LOG_DEBUG);
}

static int
sync_parent(const char *dir, struct err *err)
{
	char parent[PATH_MAX];
	char *slash;

	(void)snprintf(parent, sizeof(parent), "%s", dir);
	slash = strrchr(parent, '/');
	if (slash == parent)
		slash[1] = '\0';
	else if (slash)
		*slash = '\0';
	return file_sync_dir(slash ? parent : ".", err);
}

/* The first entry of a ledger names a random incarnation: no two chains are alike (R5). */
static int
begin_ledger(struct store_tx *tx, void *arg, struct err *err)
{
	struct edge *e = arg;
	struct ledger_head head;
	struct id128 incarnation;
	struct buf entry = BUF_INIT;
	uint64_t seq;
	int rc = ledger_head(tx, &head, err);

	if (rc || head.seq)
		return rc;
	id128_make(rng_real(), &incarnation);
	ledger_incarnation(&entry, &incarnation, conf_string(e->conf, "site", NULL, "name"),
			   clock_wall(e->clock));
	rc = ledger_append(tx, &entry, &seq, err);
	buf_fini(&entry);
	return rc;
}

int
edge_open(struct edge *e, const char *conf_path, struct err *err)
{
	struct store_config sc;
	char dir[PATH_MAX];
	bool made;
	int rc;

	memset(e, 0, sizeof(*e));
	e->lock = -1;
	e->clock = clock_real();
	e->conf_path = conf_path;
	rc = edge_settings_load(&e->conf, conf_path, err);
	if (rc)
		return rc;
	set_level(e->conf);
	rc = file_mkdir(conf_string(e->conf, "data", NULL, "dir"), &made, err);
	if (!rc && made) /* the folder's own name must survive power loss as well */
		rc = sync_parent(conf_string(e->conf, "data", NULL, "dir"), err);
	if (!rc) {
		e->lock = daemon_lock(conf_string(e->conf, "data", NULL, "dir"), err);
		rc = e->lock < 0 ? e->lock : 0;
	}
	path_of(e, "store", dir);
	if (!rc)
		rc = file_mkdirs(conf_string(e->conf, "data", NULL, "dir"), "store", err);
	if (!rc) {
		memset(&sc, 0, sizeof(sc));
		sc.dir = dir;
		sc.quota = (uint64_t)conf_number(e->conf, "data", NULL, "quota");
		sc.clock = e->clock;
		sc.buffers = (uint64_t)conf_number(e->conf, "dicom", NULL, "buffers");
		sc.extra_tables = edge_tables(&sc.n_extra_tables);
		rc = store_open(&e->store, &sc, err);
	}
	if (!rc)
		rc = store_commit(e->store, begin_ledger, e, err);
	if (rc)
		edge_close(e);
	return rc;
}

void
edge_close(struct edge *e)
{
	dimse_stop(e->dimse);
	peers_unref(e->peers);
	audit_close(e->audit);
	store_close(e->store);
	if (e->lock >= 0)
		file_close(e->lock);
	conf_free(e->conf);
	memset(e, 0, sizeof(*e));
	e->lock = -1;
}

static int
find(void *node, const struct dimse_caller *who, const struct message *rq, struct err *err)
{
	return find_serve(&((struct edge *)node)->find, who, rq, err);
}

static int
move(void *node, const struct dimse_caller *who, const struct message *rq, struct err *err)
{
	return retrieve_move(&((struct edge *)node)->retrieve, who, rq, err);
}

static int
get(void *node, const struct dimse_caller *who, const struct message *rq, struct err *err)
{
	return retrieve_get(&((struct edge *)node)->retrieve, who, rq, err);
}

static void
fill_list(const struct conf *c, const char *key, const char **out)
{
	size_t i;

	for (i = 0; i + 1 < EDGE_LIST_MAX; i++) {
		out[i] = conf_list(c, "dicom", NULL, key, i);
		if (!out[i])
			return;
	}
	out[i] = NULL;
}

static void
configure(struct edge *e)
{
	struct dimse_config *d = &e->dimse_config;

	fill_list(e->conf, "aet", e->titles);
	fill_list(e->conf, "listen", e->listen);
	d->titles = e->titles;
	d->listen = e->listen;
	d->max_associations = (unsigned)conf_number(e->conf, "dicom", NULL, "max_associations");
	d->max_per_address = (unsigned)conf_number(e->conf, "dicom", NULL, "max_per_address");
	d->max_pdu = (unsigned)conf_number(e->conf, "dicom", NULL, "max_pdu");
	d->association_seconds =
		(unsigned)(conf_number(e->conf, "dicom", NULL, "association_timeout") / 1000);
	d->idle_seconds = (unsigned)(conf_number(e->conf, "dicom", NULL, "idle_timeout") / 1000);
	d->audit = e->audit;
	d->handlers.node = e;
	take_in_handlers(&d->handlers);
	d->handlers.find = find;
	d->handlers.move = move;
	d->handlers.get = get;
	e->find = (struct find_config){
		e->store, (uint64_t)conf_number(e->conf, "dicom", NULL, "max_answers"), NULL, NULL};
	e->retrieve = (struct retrieve_config){e->store, e->clock, SUB_OPERATION_SECONDS};
}

static int
load_peers(struct edge *e, const struct conf *c, struct peers **out, struct err *err)
{
	char cache[PATH_MAX];

	path_of(e, "addresses", cache);
	return peers_load(out, c, cache,
			  strcmp(conf_string(c, "dicom", NULL, "unlisted"), "store") == 0, err);
}

static void *
resolve(void *arg)
{
	struct peers *p = arg;

	peers_resolve(p);
	peers_unref(p);
	return NULL;
}

/* DNS may take its time, or never answer: nobody waits for it (R29). */
static void
resolve_apart(struct peers *p)
{
	pthread_t t;

	if (pthread_create(&t, NULL, resolve, peers_ref(p)))
		peers_unref(p);
	else
		(void)pthread_detach(t);
}

/* SIGHUP: peers are read again; no association is cut. */
static void
reload(void *arg)
{
	struct edge *e = arg;
	struct err err = ERR_INIT;
	struct conf *c;
	struct peers *p;

	if (edge_settings_load(&c, e->conf_path, &err)) {
		log_err(LOG_ERROR, "reload", &err);
		return;
	}
	if (load_peers(e, c, &p, &err)) {
		log_err(LOG_ERROR, "reload", &err);
	} else {
		dimse_reload(e->dimse, p);
		resolve_apart(p);
		peers_unref(e->peers);
		e->peers = p;
		log_line(LOG_INFO, "reloaded", "%s", "");
	}
	conf_free(c);
}

int
edge_serve(struct edge *e, struct err *err)
{
	char path[PATH_MAX];
	int rc;

	path_of(e, "audit.log", path);
	rc = audit_open(&e->audit, path, e->clock, err);
	if (!rc)
		rc = load_peers(e, e->conf, &e->peers, err);
	if (rc)
		return rc;
	configure(e);
	resolve_apart(e->peers);
	rc = dimse_start(&e->dimse, &e->dimse_config, e->peers, err);
	if (rc)
		return rc;
	daemon_ready("edge");
	daemon_wait(reload, e);
	daemon_stopping();
	return 0;
}
