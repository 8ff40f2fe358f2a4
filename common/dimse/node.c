#include "common/dimse/node.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dicom/tls.h"
#include "common/dimse/audit.h"
#include "common/dimse/commitment.h"
#include "common/dimse/peers.h"
#include "common/dimse/pledging.h"
#include "common/dimse/recode.h"
#include "common/dimse/resolver.h"
#include "common/http/pki.h"
#include "common/os/file.h"

#define WORKER "salamander-worker"

enum { RESOLVE_SECONDS = 60, PEM_MAX = 1 << 20 };
#define SOON_MS (INT64_C(30) * 24 * 3600 * 1000)

/* The handlers' node is the dimse_node; what takes in has a node of its own. */
static int
store_begin(void *node, const struct dimse_caller *who, const struct message *rq,
	    const char *syntax, void **sink, struct err *e)
{
	struct dimse_node *n = node;

	return n->take_in.store_begin(n->take_in.node, who, rq, syntax, sink, e);
}

static bool
admit(void *node)
{
	struct dimse_node *n = node;

	return n->take_in.admit(n->take_in.node);
}

static int
find(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return find_serve(&((struct dimse_node *)node)->find, who, rq, e);
}

static int
move(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return retrieve_move(&((struct dimse_node *)node)->retrieve, who, rq, e);
}

static int
get(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return retrieve_get(&((struct dimse_node *)node)->retrieve, who, rq, e);
}

static int
action(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return commitment_action(((struct dimse_node *)node)->commitment, who, rq, e);
}

static int
answered(void *node, const struct dimse_caller *who, const struct message *rsp, struct err *e)
{
	return commitment_answered(((struct dimse_node *)node)->commitment, who, rsp, e);
}

static int
event(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return pledging_event(((struct dimse_node *)node)->pledging, who, rq, e);
}

static void
ended(void *node, const struct dimse_caller *who)
{
	commitment_ended(((struct dimse_node *)node)->commitment, who);
}

/* How many there may be is said by the row. */
static void
fill_list(const struct conf *c, const char *key, const char **out)
{
	size_t i = 0;

	do
		out[i] = conf_list(c, "dicom", NULL, key, i);
	while (out[i++]);
}

static void
configure(struct dimse_node *n, const struct dimse_node_config *nc)
{
	struct dimse_config *d = &n->config;
	const struct conf *c = nc->conf;

	fill_list(c, "aet", n->titles);
	fill_list(c, "listen", n->listen);
	fill_list(c, "tls_listen", n->tls_listen);
	d->titles = n->titles;
	d->listen = n->listen;
	d->tls_listen = n->tls_listen;
	d->max_associations = (unsigned)conf_number(c, "dicom", NULL, "max_associations");
	d->max_per_address = (unsigned)conf_number(c, "dicom", NULL, "max_per_address");
	d->max_pdu = (unsigned)conf_number(c, "dicom", NULL, "max_pdu");
	d->association_seconds =
		(unsigned)(conf_number(c, "dicom", NULL, "association_timeout") / 1000);
	d->idle_seconds = (unsigned)(conf_number(c, "dicom", NULL, "idle_timeout") / 1000);
	d->audit = n->audit;
	n->take_in = nc->take_in;
	d->handlers = nc->take_in;
	d->handlers.node = n;
	if (n->take_in.store_begin)
		d->handlers.store_begin = store_begin;
	if (n->take_in.admit)
		d->handlers.admit = admit;
	d->handlers.find = find;
	d->handlers.move = move;
	d->handlers.get = get;
	d->handlers.event = event;
	if (n->commitment) {
		d->handlers.action = action;
		d->handlers.answered = answered;
		d->handlers.ended = ended;
	}
	n->find = (struct find_config){
		nc->store, (uint64_t)conf_number(c, "dicom", NULL, "max_answers"), nc->central,
		nc->arg, conf_bool(c, "dicom", NULL, "umlauts")};
	n->retrieve = (struct retrieve_config){
		nc->store,
		nc->clock,
		(unsigned)(conf_number(c, "dicom", NULL, "answer_timeout") / 1000),
		(unsigned)conf_number(c, "dicom", NULL, "move_retries"),
		nc->damaged,
		nc->arg,
		n->recode};
}

/* The worker lies beside the program that we are. */
static int
start_recode(struct dimse_node *n, const struct conf *c, struct err *e)
{
	struct recode_config rc = {.dir = n->dir};
	char self[PATH_MAX], worker[PATH_MAX + sizeof(WORKER)];
	ssize_t k = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[k > 0 ? k : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		slash[1] = '\0';
	(void)snprintf(worker, sizeof(worker), "%s%s", self, WORKER);
	rc.worker = worker;
	rc.most = (unsigned)conf_number(c, "dicom", NULL, "workers");
	rc.seconds = (unsigned)(conf_number(c, "dicom", NULL, "worker_timeout") / 1000);
	rc.memory = (uint64_t)conf_number(c, "dicom", NULL, "worker_memory");
	rc.output = (uint64_t)conf_number(c, "dicom", NULL, "worker_output");
	return recode_new(&n->recode, &rc, e);
}

static int
check_addresses(const struct conf *c, const char *key, struct err *e)
{
	const char *listen;
	char host[64];
	unsigned port;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && (listen = conf_list(c, "dicom", NULL, key, i)) != NULL; i++)
		rc = dimse_address(listen, host, sizeof(host), &port, e);
	return rc;
}

struct tls_files {
	const char *cert, *key, *ca;
};

static struct tls_files
tls_files(const struct conf *c)
{
	return (struct tls_files){conf_string(c, "dicom", NULL, "tls_cert"),
				  conf_string(c, "dicom", NULL, "tls_key"),
				  conf_string(c, "dicom", NULL, "tls_ca")};
}

int
dimse_check_settings(const struct conf *c, struct err *e)
{
	struct tls_files f = tls_files(c);
	bool all = *f.cert && *f.key && *f.ca, any = *f.cert || *f.key || *f.ca;
	struct peers *p;
	int rc = check_addresses(c, "listen", e);

	if (!rc)
		rc = check_addresses(c, "tls_listen", e);
	if (!rc)
		rc = peers_load(&p, c, NULL, false, e);
	if (rc)
		return rc;
	if (!all && (any || conf_list(c, "dicom", NULL, "tls_listen", 0) || peers_need_tls(p)))
		rc = err_set(e, ERR_LOCAL, 0,
			     "TLS needs all of [dicom] tls_cert, tls_key and tls_ca");
	peers_unref(p);
	return rc;
}

int
dimse_check_files(const struct conf *c, struct err *e)
{
	struct tls_files f = tls_files(c);
	struct tls *t = NULL;
	int rc = *f.cert ? tls_load(&t, f.cert, f.key, f.ca, e) : 0;

	tls_unref(t);
	return rc;
}

static int64_t
certified_until(const struct conf *c)
{
	struct pki_certificate cert = {.until_ms = 0};
	struct tls_files f = tls_files(c);
	struct buf pem = BUF_INIT;

	if (*f.cert && !file_slurp(f.cert, PEM_MAX, &pem, NULL))
		(void)pki_read(&cert, &pem, NULL);
	buf_fini(&pem);
	return cert.until_ms;
}

int64_t
dimse_node_certificate(const struct dimse_node *n, const struct conf *c)
{
	return n->dimse ? n->certificate_ms : certified_until(c);
}

bool
dimse_expires_soon(int64_t until_ms, int64_t wall_ms)
{
	return until_ms && until_ms - wall_ms < SOON_MS;
}

static int
load_peers(struct dimse_node *n, const struct conf *c, struct peers **out, struct err *e)
{
	struct tls_files f = tls_files(c);
	struct peers *p = NULL;
	char cache[PATH_MAX];
	int rc;

	(void)snprintf(cache, sizeof(cache), "%s/addresses", n->dir);
	rc = peers_load(&p, c, cache,
			strcmp(conf_string(c, "dicom", NULL, "unlisted"), "store") == 0, e);
	if (!rc && *f.cert)
		rc = peers_certify(p, f.cert, f.key, f.ca, e);
	if (rc) {
		peers_unref(p);
		return rc;
	}
	n->certificate_ms = certified_until(c);
	*out = p;
	return 0;
}

int
dimse_node_reload(struct dimse_node *n, const struct conf *c, struct err *e)
{
	struct peers *p;
	int rc = load_peers(n, c, &p, e);

	if (rc)
		return rc;
	dimse_reload(n->dimse, p);
	resolver_peers(n->resolver, p);
	if (n->commitment)
		commitment_peers(n->commitment, p);
	pledging_peers(n->pledging, p);
	peers_unref(n->peers);
	n->peers = p;
	return 0;
}

static int
start_commitment(struct dimse_node *n, const struct dimse_node_config *c, struct err *e)
{
	struct commitment_config cc = {
		.verdicts = c->verdicts,
		.seconds = (unsigned)(conf_number(c->conf, "dicom", NULL, "answer_timeout") / 1000),
		.max_pdu = (unsigned)conf_number(c->conf, "dicom", NULL, "max_pdu"),
		.audit = n->audit,
		.turned = c->commitment_turned,
		.arg = c->arg};

	cc.verdicts.store = c->store;
	return c->verdicts.safe ? commitment_start(&n->commitment, &cc, n->peers, e) : 0;
}

int
dimse_node_open(struct dimse_node *n, const struct dimse_node_config *c, struct err *e)
{
	struct pledging_config pc;
	char path[PATH_MAX];
	int rc;

	memset(n, 0, sizeof(*n));
	(void)snprintf(n->dir, sizeof(n->dir), "%s", c->dir);
	(void)snprintf(path, sizeof(path), "%s/audit.log", c->dir);
	rc = audit_open(&n->audit, path, c->clock, e);
	if (!rc)
		rc = load_peers(n, c->conf, &n->peers, e);
	if (!rc)
		rc = start_recode(n, c->conf, e);
	if (!rc)
		rc = start_commitment(n, c, e);
	if (rc)
		return rc;
	configure(n, c);
	pc.retrieve = n->retrieve;
	pc.max_pdu = n->config.max_pdu;
	pc.audit = n->audit;
	rc = resolver_start(&n->resolver, n->peers, RESOLVE_SECONDS, e);
	return rc ? rc : pledging_start(&n->pledging, &pc, n->peers, e);
}

int
dimse_node_listen(struct dimse_node *n, struct err *e)
{
	struct dimse *d;
	int rc = dimse_start(&d, &n->config, n->peers, e);

	if (!rc)
		n->dimse = d;
	return rc;
}

unsigned long
dimse_node_refusals(const struct dimse_node *n)
{
	return n->dimse ? dimse_refusals(n->dimse) : 0;
}

unsigned
dimse_node_associations(const struct dimse_node *n)
{
	return n->dimse ? dimse_associations(n->dimse) : 0;
}

unsigned long
dimse_node_unaudited(const struct dimse_node *n)
{
	return audit_lost(n->audit);
}

void
dimse_node_stop(struct dimse_node *n)
{
	dimse_stop(n->dimse);
	commitment_stop(n->commitment);
	pledging_stop(n->pledging);
	resolver_stop(n->resolver);
	peers_unref(n->peers);
	recode_free(n->recode);
	audit_close(n->audit);
	memset(n, 0, sizeof(*n));
}
