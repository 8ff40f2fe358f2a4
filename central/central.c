#include "central/central.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/birth.h"
#include "central/catalogue.h"
#include "central/certificates.h"
#include "central/clog.h"
#include "central/committed.h"
#include "central/central_commands.h"
#include "central/gate.h"
#include "central/intake.h"
#include "central/join.h"
#include "central/reconcile.h"
#include "central/release.h"
#include "central/record.h"
#include "central/rejections.h"
#include "central/central_settings.h"
#include "central/upload.h"
#include "central/vault.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/os/ctl.h"
#include "common/os/daemon.h"
#include "common/os/file.h"
#include "common/store/store.h"

enum { LISTEN_MAX = 32 };

static void
path_of(const struct central *c, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", c->dir, name);
}

void
central_epoch(struct central *c, struct id128 *out)
{
	(void)pthread_mutex_lock(&c->mu);
	*out = c->epoch;
	(void)pthread_mutex_unlock(&c->mu);
}

uint64_t
central_losses(struct central *c)
{
	uint64_t n;

	(void)pthread_mutex_lock(&c->mu);
	n = c->losses;
	(void)pthread_mutex_unlock(&c->mu);
	return n;
}

/* --- opening --- */

static int
read_pack_bytes(void *arg, const struct version *v, uint64_t offset, void *buf, size_t n,
		size_t *got, struct err *e)
{
	struct central *c = arg;
	struct pack_row row;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = c->vault ? pack_row_get(tx, v->pack, &row, e)
		      : err_set(e, ERR_LOCAL, 0, "the vault is not there");
	store_end_read(tx);
	if (rc == ERR_ABSENT)
		return err_set(e, ERR_CORRUPT, 0, "a version's pack is unknown");
	return rc ? rc : vault_read(c->vault, row.place, v->offset + offset, buf, n, got, e);
}

static int
open_store(struct central *c, const char *name, bool read_only, struct err *e)
{
	struct store_config sc = {.clock = c->clock, .read_only = read_only};
	char dir[PATH_MAX];

	path_of(c, name, dir);
	sc.dir = dir;
	sc.map_bytes = (uint64_t)conf_number(c->conf, "data", NULL, "catalogue");
	sc.extra_tables = catalogue_tables(&sc.n_extra_tables);
	sc.bytes.read = read_pack_bytes;
	sc.bytes.arg = c;
	return store_open(&c->store, &sc, e);
}

static int
open_catalogue(struct central *c, const char *name, struct err *e)
{
	int rc = file_mkdirs(c->dir, name, e);

	return rc ? rc : open_store(c, name, false, e);
}

/* In a fire the catalogue tells what burnt, even where the vault is gone. */
static int
open_to_read(struct central *c, struct err *e)
{
	char path[PATH_MAX];
	int rc = 0;

	path_of(c, "catalogue", path);
	if (!file_exists(path))
		return err_set(e, ERR_ABSENT, 0,
			       "%s is not there: not mounted? `serve` or `rebuild` makes it from "
			       "the vault, `init` a new archive",
			       path);
	path_of(c, "vault/packs", path);
	if (file_exists(path)) {
		path_of(c, "vault", path);
		rc = vault_open(&c->vault, path, e);
	}
	return rc ? rc : open_store(c, "catalogue", true, e);
}

static int
load_state(struct central *c, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = state_id(tx, "epoch", &c->epoch, e);
	if (!rc)
		rc = state_number(tx, "losses", &c->losses, e);
	if (!rc && c->joins)
		rc = joins_load(c->joins, tx, e);
	store_end_read(tx);
	dispatch_news(c);
	return rc;
}

static int
remove_one(void *arg, const char *name, struct err *e)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
	return file_remove(path, e);
}

static int
empty_folder(struct central *c, const char *name, struct err *e)
{
	char dir[PATH_MAX];

	path_of(c, name, dir);
	return file_missing(dir) ? 0 : file_list(dir, remove_one, dir, e);
}

/* A swap that a death cut between its two steps goes back: the old one is whole. */
static int
mend_swap(struct central *c, struct err *e)
{
	char now[PATH_MAX], old[PATH_MAX];
	int rc;

	path_of(c, "catalogue", now);
	path_of(c, "catalogue.old", old);
	if (!file_missing(now) || file_missing(old))
		return 0;
	rc = file_rename(old, now, e);
	return rc ? rc : file_sync_dir(c->dir, e);
}

static int
swap_catalogue(struct central *c, struct err *e)
{
	char now[PATH_MAX], old[PATH_MAX], new[PATH_MAX];
	int rc = empty_folder(c, "catalogue.old", e);

	path_of(c, "catalogue", now);
	path_of(c, "catalogue.old", old);
	path_of(c, "catalogue.new", new);
	if (!rc && !file_missing(now))
		rc = file_rename(now, old, e);
	if (!rc)
		rc = file_rename(new, now, e);
	if (!rc)
		rc = file_sync_dir(c->dir, e);
	return rc ? rc : empty_folder(c, "catalogue.old", e);
}

/* Log, then vault: what the catalogue lacks of both is added. */
static int
fill_catalogue(struct central *c, enum central_mode mode, struct err *e)
{
	static const struct id128 none;
	char path[PATH_MAX];
	struct store_tx *tx;
	uint64_t applied = 0;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = record_applied(tx, &applied, e);
	store_end_read(tx);
	path_of(c, "vault/log", path);
	if (!rc)
		rc = record_replay(c, path, e);
	if (!rc)
		rc = load_state(c, e);
	if (!rc && memcmp(&c->epoch, &none, sizeof(none)) == 0)
		rc = record_epoch(c, "first start", e);
	else if (!rc && applied == 0) /* whoever emptied it: receipts of before are history */
		rc = record_epoch(c, "the catalogue was made anew", e);
	if (!rc)
		rc = rejections_catch_up(c, e);
	return rc ? rc
		  : reconcile(c, mode == CENTRAL_MISSING || mode == CENTRAL_REBUILD,
			      mode == CENTRAL_REBUILD, e);
}

/* R16: packs and log are the archive. The old catalogue stays until the new one is whole. */
static int
rebuild_catalogue(struct central *c, struct err *e)
{
	int rc = empty_folder(c, "catalogue.new", e);

	if (!rc)
		rc = open_catalogue(c, "catalogue.new", e);
	if (!rc)
		rc = fill_catalogue(c, CENTRAL_REBUILD, e);
	clog_close(c->log);
	store_close(c->store);
	c->log = NULL;
	c->store = NULL;
	return rc ? rc : swap_catalogue(c, e);
}

static int
open_archive(struct central *c, enum central_mode mode, struct err *e)
{
	char path[PATH_MAX];
	int rc;

	path_of(c, "vault", path);
	rc = vault_open(&c->vault, path, e);
	if (!rc)
		rc = mend_swap(c, e);
	if (!rc && mode == CENTRAL_REBUILD)
		rc = rebuild_catalogue(c, e);
	if (!rc)
		rc = open_catalogue(c, "catalogue", e);
	return rc ? rc : fill_catalogue(c, mode, e);
}

static void
close_archive(struct central *c)
{
	clog_close(c->log);
	store_close(c->store);
	vault_close(c->vault);
	c->log = NULL;
	c->store = NULL;
	c->vault = NULL;
	c->pending_number = 0; /* the next start applies it */
	buf_fini(&c->pending);
}

/* R24: an archive that `init` made speaks TLS, with its own CA or the operator's. */
static int
open_certificates(struct central *c, struct err *e)
{
	int rc;

	if (!c->identity.by_init || conf_string(c->conf, "tls", NULL, "cert")[0])
		return 0;
	rc = joins_new(&c->joins, c->conf, e);
	return rc ? rc
		  : certificates_open(&c->certificates, c->dir, &c->identity.id,
				      clock_wall(c->clock), e);
}

int
central_open(struct central *c, const char *conf_path, enum central_mode mode, struct err *e)
{
	int rc;

	memset(c, 0, sizeof(*c));
	c->lock = -1;
	c->clock = clock_real();
	c->speaks = protocol_own();
	c->conf_path = conf_path;
	rc = central_settings_load(&c->conf, conf_path, e);
	if (rc)
		return rc;
	log_set_level_named(conf_string(c->conf, "log", NULL, "level"));
	(void)pthread_mutex_init(&c->order, NULL);
	(void)pthread_mutex_init(&c->mu, NULL);
	(void)pthread_rwlock_init(&c->use, NULL);
	dispatch_init(&c->dispatch);
	c->locks = true;
	(void)snprintf(c->dir, sizeof(c->dir), "%s", conf_string(c->conf, "data", NULL, "dir"));
	if (mode == CENTRAL_READ) {
		rc = open_to_read(c, e);
		if (rc)
			central_close(c);
		return rc;
	}
	rc = birth_find(c, mode == CENTRAL_SERVE || mode == CENTRAL_MISSING, e);
	if (!rc) {
		c->lock = mode == CENTRAL_SERVE ? daemon_lock_soon(c->dir, e)
						: daemon_lock(c->dir, e);
		rc = c->lock < 0 ? c->lock : 0;
	}
	if (!rc)
		rc = open_certificates(c, e);
	if (!rc)
		rc = open_archive(c, mode, e);
	if (!rc)
		rc = dispatch_begin(c, e);
	if (rc)
		central_close(c);
	return rc;
}

void
central_close(struct central *c)
{
	close_archive(c);
	certificates_close(c->certificates);
	joins_free(c->joins);
	if (c->lock >= 0)
		file_close(c->lock);
	conf_free(c->conf);
	if (c->locks) {
		(void)pthread_mutex_destroy(&c->order);
		(void)pthread_mutex_destroy(&c->mu);
		(void)pthread_rwlock_destroy(&c->use);
		dispatch_fini(&c->dispatch);
	}
	memset(c, 0, sizeof(*c));
	c->lock = -1;
}

/* --- serving --- */

static void
stop_services(struct central *c)
{
	dispatch_stop(&c->dispatch);
	http_stop(c->http); /* first: its handlers write to the audit log of the DICOM side */
	c->http = NULL;
	dimse_node_stop(&c->dicom);
	uploads_free(c->uploads);
	c->uploads = NULL;
}

/* R19: what a retrieve found damaged loses its bits; an edge that has it sends it again. */
static void
copy_damaged(void *arg, uint64_t oid)
{
	struct central *c = arg;
	struct err e = ERR_INIT;
	struct store_tx *tx;
	struct version seen;
	int rc = store_begin_read(&tx, c->store, &e);

	if (!rc) {
		rc = store_version(tx, oid, &seen, &e);
		store_end_read(tx);
	}
	if (!rc && release_is_damage(c, store_check(c->store, oid, NULL)))
		rc = release_damaged(c, &seen, &e);
	if (rc)
		log_err(LOG_ERROR, "retrieve.damaged", &e);
}

/* HTTP, then DICOM, whose audit log HTTP's handlers use; ctl is open already. */
static int
start_services(struct central *c, struct err *e)
{
	const char *listen[LISTEN_MAX];
	struct http_config hc = {.node = c, .allowed = gate_allowed, .clock = c->clock};
	struct dimse_node_config dc = {
		.conf = c->conf,
		.dir = c->dir,
		.store = c->store,
		.clock = c->clock,
		.damaged = copy_damaged,
		.verdicts = {.safe = committed_safe, .foretell = committed_foretell, .arg = c},
		.arg = c};
	int rc = uploads_new(&c->uploads, e);

	dispatch_go(&c->dispatch);
	hc.routes = intake_routes(&hc.n_routes);
	http_configure(&hc, c->conf, listen);
	if (c->certificates) {
		hc.cert = certificates_server(c->certificates);
		hc.key = certificates_server_key(c->certificates);
		hc.ca = certificates_ca(c->certificates);
	}
	if (!rc)
		rc = dimse_node_open(&c->dicom, &dc, e);
	if (!rc)
		rc = http_start(&c->http, &hc, e);
	return rc ? rc : dimse_node_listen(&c->dicom, e);
}

/* SIGHUP or `reload`: peers and certificates are read again; no association is cut. */
static void
reload(void *arg)
{
	struct central *c = arg;
	struct err e = ERR_INIT;
	struct conf *conf;
	int rc = central_settings_load(&conf, c->conf_path, &e);

	if (!rc) {
		rc = dimse_node_reload(&c->dicom, conf, &e);
		conf_free(conf);
	}
	if (!rc)
		rc = http_reload(c->http, &e);
	if (rc) {
		log_err(LOG_ERROR, "reload", &e);
		atomic_fetch_add(&c->reload_failures, 1);
	} else {
		log_line(LOG_INFO, "reloaded", "%s", "");
	}
	atomic_fetch_add(&c->reloads, 1);
}

/* In main's thread: nobody reads the catalogue while it is made anew. */
static int
rebuild_now(struct central *c, struct err *e)
{
	int rc;

	(void)pthread_rwlock_wrlock(&c->use); /* commands use the services, too */
	stop_services(c);
	close_archive(c);
	rc = open_archive(c, CENTRAL_REBUILD, e);
	if (!rc)
		rc = start_services(c, e);
	(void)pthread_rwlock_unlock(&c->use);
	atomic_store(&c->rebuild_result, rc ? -1 : 1);
	return rc;
}

int
central_serve(struct central *c, struct err *e)
{
	int rc;

	rc = ctl_start(&c->ctl, c->dir, central_commands_run, c, e);
	if (!rc)
		rc = start_services(c, e);
	if (!rc)
		daemon_ready("central");
	while (!rc) {
		daemon_wait(reload, c);
		if (atomic_load(&c->failed))
			rc = err_set(e, ERR_LOCAL, 0, "the log takes no more: to be started again");
		if (rc || !atomic_exchange(&c->rebuild_wanted, false))
			break;
		rc = rebuild_now(c, e);
	}
	daemon_stopping();
	dispatch_stop(&c->dispatch);
	ctl_stop(c->ctl); /* before what commands use */
	c->ctl = NULL;
	stop_services(c);
	return rc;
}
