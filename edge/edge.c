#include "edge/edge.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/commitments.h"
#include "common/dimse/pledges.h"
#include "common/os/ctl.h"
#include "common/os/daemon.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "edge/chores.h"
#include "edge/committed.h"
#include "edge/damage.h"
#include "edge/decisions.h"
#include "edge/edge_commands.h"
#include "edge/home.h"
#include "edge/keep.h"
#include "edge/mend.h"
#include "edge/obey.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "edge/rebuild.h"
#include "edge/replicate.h"
#include "edge/edge_settings.h"
#include "edge/setback.h"
#include "edge/take_in.h"
#include "edge/web.h"
#include "proto/ledger.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

enum {
	QUOTA_PART = 32 /* of the quota at most is made ready ahead, and is the journal */
};

const char *const *
edge_tables(unsigned *n)
{
	static const char *const tables[] = {LEDGER_TABLE,    OUTBOX_TABLE,    PACKING_TABLE,
					     SYNC_TABLE,      DAMAGED_TABLE,   ORDER_TABLE,
					     DECISIONS_TABLE, WITHDRAWN_TABLE, CHORES_TABLE,
					     STANDING_TABLE,  COMMITTED_TABLE, COMMITMENTS_TABLE,
					     PLEDGES_TABLE,   REJECTED_TABLE,  REJECTIONS_TABLE};

	*n = sizeof(tables) / sizeof(tables[0]);
	return tables;
}

void
edge_contact(struct edge *e, struct contact *out)
{
	(void)pthread_mutex_lock(&e->mu);
	*out = e->contact;
	(void)pthread_mutex_unlock(&e->mu);
}

void
edge_taken(struct edge *e, struct edge_taken *out)
{
	(void)pthread_mutex_lock(&e->mu);
	*out = e->taken;
	(void)pthread_mutex_unlock(&e->mu);
}

void
edge_incarnation(struct edge *e, struct id128 *out)
{
	(void)pthread_mutex_lock(&e->mu);
	*out = e->incarnation;
	(void)pthread_mutex_unlock(&e->mu);
}

void
edge_set_incarnation(struct edge *e, const struct id128 *incarnation)
{
	(void)pthread_mutex_lock(&e->mu);
	e->incarnation = *incarnation;
	(void)pthread_mutex_unlock(&e->mu);
}

static int
set_contact(struct store_tx *tx, void *arg, struct err *err)
{
	const struct contact *c = arg;
	int rc = sync_set_number(tx, "announced", c->announced, err);

	return rc ? rc : sync_set_number(tx, "contact_ms", (uint64_t)c->wall_ms, err);
}

int
edge_keep_contact(struct edge *e, struct err *err)
{
	struct contact c;

	edge_contact(e, &c);
	return c.ever ? store_commit(e->store, set_contact, &c, err) : 0;
}

bool
edge_has_central(struct edge *e)
{
	enum home_kind kind = home_kind(e);

	return kind != HOME_NONE && kind != HOME_STRANGER;
}

/* --- folders and their ids (R23) --- */

static void
store_dir(const struct edge *e, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", e->dir, name);
}

static int
make_parts(struct edge *e, bool by_init, struct err *err)
{
	struct identity id;
	char dir[PATH_MAX];
	int rc = file_mkdirs(e->dir, "store", err);

	memset(&id, 0, sizeof(id));
	strcpy(id.role, "edge");
	id128_make(rng_real(), &id.id);
	id.by_init = by_init;
	store_dir(e, "store", dir);
	strcpy(id.part, "store");
	if (!rc)
		rc = identity_write(dir, &id, err);
	strcpy(id.part, "data");
	if (!rc) /* last: with it the identity is whole */
		rc = identity_write(e->dir, &id, err);
	e->identity = id;
	return rc;
}

static int
check_store(struct edge *e, struct err *err)
{
	struct identity want = e->identity;
	char dir[PATH_MAX];
	int rc;

	store_dir(e, "store", dir);
	strcpy(want.part, "store");
	rc = identity_check(dir, &want, err);
	if (rc == ERR_ABSENT)
		rc = err_set(err, ERR_ABSENT, 0,
			     "%s is missing or empty: not mounted? If it is really gone: move %s "
			     "away and `init` a new edge; `refill` brings back what central holds",
			     dir, e->dir);
	return rc;
}

static int
find_identity(struct edge *e, bool may_make, struct err *err)
{
	bool tls = conf_string(e->conf, "tls", NULL, "cert")[0] != '\0', made;
	int rc = identity_read(e->dir, &e->identity, err);

	if (!rc && strcmp(e->identity.role, "edge") != 0)
		return err_set(err, ERR_CONFLICT, 0,
			       "%.120s belongs to another node: is the right disk mounted? `init` "
			       "makes a new edge in an empty folder",
			       e->dir);
	if (!rc) {
		rc = check_store(e, NULL);
		/* Plain loopback: a node that `serve` made may begin again. */
		if (rc == ERR_ABSENT && may_make && !e->identity.by_init && !tls)
			return make_parts(e, false, err);
		return rc ? check_store(e, err) : 0;
	}
	if (rc != ERR_ABSENT)
		return rc;
	if (!may_make || tls)
		return err_set(err, ERR_ABSENT, 0,
			       "%s has no id file: not mounted? `init` makes a new edge", e->dir);
	if (!identity_empty(e->dir))
		return err_set(
			err, ERR_CONFLICT, 0,
			"%.120s is not empty and has no id file: give [data] dir an empty folder",
			e->dir);
	rc = file_mkdir(e->dir, &made, err);
	if (!rc && made) /* the folder's own name must survive power loss as well */
		rc = file_sync_parent(e->dir, err);
	return rc ? rc : make_parts(e, false, err);
}

int
edge_init(const char *conf_path, struct err *err)
{
	struct edge e;
	bool made;
	int rc;

	memset(&e, 0, sizeof(e));
	rc = edge_settings_load(&e.conf, conf_path, err);
	if (rc)
		return rc;
	(void)snprintf(e.dir, sizeof(e.dir), "%s", conf_string(e.conf, "data", NULL, "dir"));
	if (!identity_empty(e.dir))
		rc = err_set(err, ERR_CONFLICT, 0, "%s is not empty: `init` makes a new edge only",
			     e.dir);
	if (!rc)
		rc = file_mkdir(e.dir, &made, err);
	if (!rc)
		rc = file_sync_parent(e.dir, err);
	if (!rc)
		rc = make_parts(&e, true, err);
	conf_free(e.conf);
	if (!rc) /* store and first ledger entry: `status` works from now on */
		rc = edge_open(&e, conf_path, EDGE_LOCAL, err);
	if (!rc)
		edge_close(&e);
	return rc;
}

int
edge_init_if_new(const char *conf_path, struct err *err)
{
	struct conf *conf;
	bool fresh;
	int rc = edge_settings_load(&conf, conf_path, err);

	if (rc)
		return rc;
	fresh = identity_empty(conf_string(conf, "data", NULL, "dir"));
	conf_free(conf);
	return fresh ? edge_init(conf_path, err) : 0;
}

/* --- opening --- */

/* The first entry of a ledger names the incarnation: no two chains are alike (R5). */
static int
begin_ledger(struct store_tx *tx, void *arg, struct err *err)
{
	struct edge *e = arg;
	struct ledger_head head;
	struct buf entry = BUF_INIT;
	uint64_t seq;
	int rc = ledger_head(tx, &head, err);

	if (!rc)
		rc = contact_begin(tx, err);
	if (rc || head.seq)
		return rc;
	ledger_incarnation(&entry, &e->begin_with, e->site, clock_wall(e->clock));
	rc = ledger_append(tx, &entry, &seq, err);
	buf_fini(&entry);
	return rc;
}

static int
read_incarnation(struct edge *e, struct err *err)
{
	struct branch branch;
	struct store_tx *tx;
	uint64_t wall_ms = 0, drains = 0, relist = 0;
	int rc = store_begin_read(&tx, e->store, err);

	if (rc)
		return rc;
	rc = branch_read(tx, &branch, err);
	e->incarnation = branch.incarnation;
	if (!rc) /* what the last hello said, until the next one */
		rc = sync_id(tx, "epoch", &e->contact.epoch, err);
	if (!rc)
		rc = sync_number(tx, "announced", &e->contact.announced, err);
	if (!rc)
		rc = sync_number(tx, "contact_ms", &wall_ms, err);
	if (!rc)
		rc = sync_number(tx, "drains", &drains, err);
	if (!rc)
		rc = sync_number(tx, SETBACK_RELIST, &relist, err);
	atomic_store(&e->drains, drains != 0);
	atomic_store(&e->relist, relist != 0);
	e->contact.wall_ms = (int64_t)wall_ms;
	store_end_read(tx);
	return rc;
}

/* map_bytes: address space without a quota (R13); 0: the quota of the settings counts. */
static int
open_store(struct edge *e, const char *name, bool read_only, uint64_t map_bytes, struct err *err)
{
	struct store_config sc;
	char dir[PATH_MAX];
	int rc;

	store_dir(e, name, dir);
	memset(&sc, 0, sizeof(sc));
	sc.dir = dir;
	sc.quota = map_bytes ? 0 : (uint64_t)conf_number(e->conf, "data", NULL, "quota");
	sc.map_bytes = map_bytes;
	sc.clock = e->clock;
	sc.ahead = (uint64_t)conf_number(e->conf, "data", NULL, "ahead");
	if (sc.ahead > sc.quota / QUOTA_PART)
		sc.ahead = sc.quota / QUOTA_PART;
	sc.journal = (uint64_t)conf_number(e->conf, "data", NULL, "journal");
	if (sc.journal > sc.quota / QUOTA_PART)
		sc.journal = sc.quota / QUOTA_PART;
	sc.buffers = (uint64_t)conf_number(e->conf, "dicom", NULL, "buffers");
	sc.extra_tables = edge_tables(&sc.n_extra_tables);
	sc.read_only = read_only;
	rc = store_open(&e->store, &sc, err);
	if (!rc && !read_only)
		rc = store_commit(e->store, begin_ledger, e, err);
	return rc ? rc : read_incarnation(e, err);
}

int
edge_open_store(struct edge *e, struct err *err)
{
	return open_store(e, "store", false, 0, err);
}

int
edge_open_new_store(struct edge *e, const char *name, uint64_t map_bytes, struct err *err)
{
	struct identity id = e->identity;
	char dir[PATH_MAX];
	int rc = file_mkdirs(e->dir, name, err);

	store_dir(e, name, dir);
	strcpy(id.part, "store");
	if (!rc)
		rc = identity_write(dir, &id, err);
	id128_make(rng_real(), &e->begin_with); /* a ledger of its own (R13) */
	return rc ? rc : open_store(e, name, false, map_bytes, err);
}

void
edge_close_store(struct edge *e)
{
	store_close(e->store);
	e->store = NULL;
}

/* A swap that a death cut between its two steps goes back: the old one is whole. Who is between
 * them now holds the lock. */
static int
mend_swap(struct edge *e, struct err *err)
{
	char now[PATH_MAX], old[PATH_MAX];
	int rc, lock;

	store_dir(e, "store", now);
	store_dir(e, "store.old", old);
	if (!file_missing(now) || file_missing(old))
		return 0;
	lock = daemon_lock(e->dir, err);
	if (lock < 0)
		return lock;
	rc = file_rename(old, now, err);
	if (!rc)
		rc = file_sync_dir(e->dir, err);
	file_close(lock);
	return rc;
}

/* Beside whoever serves; after a death, by itself, so that what the journal alone holds counts. */
static int
open_to_read(struct edge *e, struct err *err)
{
	int rc = open_store(e, "store", true, 0, err);

	if (rc || !store_unsettled(e->store))
		return rc;
	e->lock = daemon_lock(e->dir, NULL);
	if (e->lock < 0)
		return 0;
	edge_close_store(e);
	return open_store(e, "store", false, 0, err);
}

int
edge_open(struct edge *e, const char *conf_path, enum edge_mode mode, struct err *err)
{
	size_t i;
	int rc;

	memset(e, 0, sizeof(*e));
	e->lock = -1;
	e->clock = clock_real();
	e->make_link = home_link;
	e->speaks = protocol_own();
	e->conf_path = conf_path;
	rc = edge_settings_load(&e->conf, conf_path, err);
	if (rc)
		return rc;
	log_set_level_named(conf_string(e->conf, "log", NULL, "level"));
	(void)pthread_mutex_init(&e->mu, NULL);
	(void)pthread_rwlock_init(&e->use, NULL);
	e->locks = true;
	e->site = conf_string(e->conf, "site", NULL, "name");
	for (i = 0; i < EDGE_URLS; i++)
		e->urls[i] = conf_list(e->conf, "central", NULL, "url", i);
	(void)snprintf(e->dir, sizeof(e->dir), "%s", conf_string(e->conf, "data", NULL, "dir"));
	rc = mode == EDGE_READ ? 0 : mend_swap(e, err);
	if (!rc)
		rc = find_identity(e, mode == EDGE_SERVE, err);
	e->begin_with = e->identity.id;
	if (!rc && mode == EDGE_READ)
		rc = open_to_read(e, err);
	if (!rc && mode != EDGE_READ) {
		e->lock = mode == EDGE_SERVE ? daemon_lock_soon(e->dir, err)
					     : daemon_lock(e->dir, err);
		rc = e->lock < 0 ? e->lock : 0;
	}
	if (!rc && mode != EDGE_READ && mode != EDGE_SALVAGE)
		rc = open_store(e, "store", false, 0, err);
	if (rc)
		edge_close(e);
	return rc;
}

void
edge_close(struct edge *e)
{
	store_close(e->store);
	if (e->lock >= 0)
		file_close(e->lock);
	conf_free(e->conf);
	if (e->locks) {
		(void)pthread_mutex_destroy(&e->mu);
		(void)pthread_rwlock_destroy(&e->use);
	}
	memset(e, 0, sizeof(*e));
	e->lock = -1;
}

/* --- serving --- */

/* SIGHUP, `reload` or `join`: peers and certificates are read again; no association is cut. */
static void
reload(void *arg)
{
	struct edge *e = arg;
	struct err err = ERR_INIT;
	struct conf *c;
	int rc = edge_settings_load(&c, e->conf_path, &err);

	if (!rc) {
		rc = dimse_node_reload(&e->dicom, c, &err);
		conf_free(c);
	}
	if (!rc)
		rc = web_reload(e->web, &err);
	if (rc) {
		log_err(LOG_ERROR, "reload", &err);
		atomic_fetch_add(&e->reload_failures, 1);
	} else {
		log_line(LOG_INFO, "reloaded", "%s", "");
	}
	atomic_fetch_add(&e->reloads, 1);
}

static bool
central_answers(void *arg, struct id128 *epoch)
{
	struct contact c;

	edge_contact(arg, &c);
	*epoch = c.epoch;
	return c.reachable;
}

static int
open_dicom(struct edge *e, struct err *err)
{
	struct dimse_node_config dc = {.conf = e->conf,
				       .dir = e->dir,
				       .store = e->store,
				       .clock = e->clock,
				       .central = central_answers,
				       .damaged = damage_found,
				       .commitment_turned = committed_turned,
				       .arg = e};

	dc.take_in.node = e;
	take_in_handlers(&dc.take_in);
	committed_verdicts(&dc.verdicts, e);
	return dimse_node_open(&e->dicom, &dc, err);
}

static int
start_replication(struct edge *e, struct err *err)
{
	enum home_kind kind = home_kind(e);
	struct err why = ERR_INIT;
	struct link *link;
	size_t i;
	int rc;

	for (i = 0; (kind == HOME_JOINED || kind == HOME_STRANGER) && e->urls[i]; i++)
		if (strncmp(e->urls[i], "http://", 7) == 0) /* R24 */
			return err_set(err, ERR_PEER, 0,
				       "[central] url: an edge made by `init` or `join` speaks TLS "
				       "only: https, or none for the one it joined at");
	/* Take-in and viewers go on without; whoever made the mistake sees it now. */
	if (home_check_files(e, e->conf, &why))
		log_err(LOG_ERROR, "tls", &why);
	rc = e->make_link(&link, e, err);
	return rc ? rc : replicate_start(&e->replicate, e, link, err);
}

/* Whatever waits, commands too, waits no longer. */
static void
hurry(struct edge *e)
{
	atomic_store(&e->stopping, true);
	keep_hurry(e->keep);
}

/* Commands use them as well: they have ended, or wait. */
static void
stop_services(struct edge *e)
{
	dimse_node_stop(&e->dicom);
	web_stop(e->web);
	e->web = NULL;
}

/* The same. */
static void
stop_duties(struct edge *e)
{
	struct err err = ERR_INIT;

	chores_stop(e->chores);
	mend_stop(e->mend);
	keep_stop(e->keep);
	orders_stop(e->orders);
	replicate_stop(e->replicate);
	if (edge_keep_contact(e, &err))
		log_err(LOG_WARN, "contact", &err);
	e->chores = NULL;
	e->mend = NULL;
	e->keep = NULL;
	e->replicate = NULL;
	e->orders = NULL;
	atomic_store(&e->stopping, false);
}

static int
start_duties(struct edge *e, struct err *err)
{
	int rc = keep_start(&e->keep, e, err);

	if (!rc)
		rc = start_replication(e, err);
	if (!rc)
		rc = mend_start(&e->mend, e, err);
	if (!rc)
		rc = chores_start(&e->chores, e, err);
	return rc ? rc : orders_start(&e->orders, e, err);
}

/* Listeners first, then the first word to central. */
static int
start_services(struct edge *e, struct err *err)
{
	int rc = open_dicom(e, err);

	if (!rc)
		rc = web_start(&e->web, e, err);
	if (!rc)
		rc = dimse_node_listen(&e->dicom, err);
	return rc ? rc : replicate_go(e->replicate, err);
}

/* In main's thread: nobody uses the store while it is made anew. */
static int
rebuild_now(struct edge *e, struct err *err)
{
	int rc;

	hurry(e);
	(void)pthread_rwlock_wrlock(&e->use);
	stop_services(e);
	stop_duties(e);
	edge_close_store(e);
	rc = rebuild_store(e, &e->rebuilt, err);
	memset(&e->contact, 0, sizeof(e->contact));
	if (!rc)
		rc = start_duties(e, err);
	if (!rc)
		rc = start_services(e, err);
	(void)pthread_rwlock_unlock(&e->use);
	atomic_store(&e->rebuild_done, rc ? -1 : 1);
	return rc;
}

/* ctl first (behind the duties that commands use), then HTTP, then DICOM. */
int
edge_serve(struct edge *e, struct err *err)
{
	int rc = start_duties(e, err);

	if (!rc)
		rc = ctl_start(&e->ctl, e->dir, edge_commands_run, e, err);
	if (!rc)
		rc = start_services(e, err);
	if (!rc)
		daemon_ready("edge");
	atomic_store(&e->serving, !rc);
	while (!rc) {
		daemon_wait(reload, e);
		if (!atomic_exchange(&e->rebuild_wanted, false))
			break;
		rc = rebuild_now(e, err);
	}
	atomic_store(&e->serving, false);
	daemon_stopping();
	hurry(e);
	ctl_stop(e->ctl); /* before what commands use */
	e->ctl = NULL;
	stop_services(e);
	stop_duties(e);
	return rc;
}
