#include "common/dimse/peers.h"

#include <limits.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/tls.h"
#include "common/dimse/service.h"
#include "common/os/file.h"

enum { HOSTS_MAX = 8, HOST_ADDRESSES = 8, CACHE_MAX = 1 << 20, STRINGS = 5 };

static const struct conf_row rows[] = {
	{"peer *", "aet", CONF_TITLE, NULL, 0, 0, NULL, "The peer's application entity title."},
	{"peer *", "host", CONF_STRING, "", 0, 0, NULL,
	 "Where it can be called: a name or an address."},
	{"peer *", "port", CONF_NUMBER, "0", 0, 65535, NULL, "The port it listens on; 0: none."},
	{"peer *", "tls", CONF_CHOICE, "no", 0, 0, "no yes required",
	 "TLS: yes calls it so; required also refuses its calls on the plain port."},
	{"peer *", "tls_name", CONF_STRING, "", 0, 0, NULL,
	 "Name or address that its certificate must bear, whoever calls; default: host, when we "
	 "do."},
	{"peer *", "from", CONF_LIST, "", 0, 0, NULL,
	 "Names or addresses it calls from; default: host."},
	{"peer *", "may", CONF_LIST, "store, find, get, move", 0, 0,
	 "store find get move commit worklist reject", "What it may do; empty: C-ECHO only."},
	{"peer *", "syntaxes", CONF_LIST, "", 0, 0, NULL,
	 "Transfer syntaxes to accept first, by UID, or as-proposed."},
	{"peer *", "issuer", CONF_STRING, "", 0, 0, NULL,
	 "Issuer of the patient IDs and accession numbers it sends without one."},
	{"peer *", "foreign", CONF_BOOL, "no", 0, 0, NULL,
	 "Its patient IDs are a namespace of their own."},
	{"peer *", "strict", CONF_BOOL, "no", 0, 0, NULL,
	 "Refuse what is odd instead of flagging."},
	{"peer *", "on_limit", CONF_CHOICE, "a700", 0, 0, "a700 success",
	 "Final status when a query has more than max_answers matches."},
	{"peer *", "see_rejected", CONF_BOOL, "no", 0, 0, NULL,
	 "It also finds and gets what a rejection note rejected for quality."},
	{"peer *", "compress", CONF_CHOICE, "no", 0, 0, "no rle jpeg-lossless jpeg-ls jpeg-2000",
	 "Lossless syntax in which it gets what is stored without loss, where it takes it."},
	{"peer *", "move_associations", CONF_NUMBER, "1", 1, DIMSE_SUBS, NULL,
	 "Associations that a large C-MOVE to it opens at once."},
	{"peer *", "commit", CONF_CHOICE, "central", 0, 0, "central edge",
	 "Storage commitment: said when central holds the image, or when this edge does."},
	{"peer *", "commit_wait", CONF_DURATION, "12h", 0, 31 * INT64_C(86400000), "never",
	 "For so long central's word is waited for; then this edge's own copy counts."},
};

struct host { /* a name or an address, and what it stands for */
	char *name;
	bool numeric;
	char addresses[HOST_ADDRESSES][PEER_ADDRESS_SIZE]; /* guarded by peers.mu */
	unsigned n;
};

struct listed {
	struct peer peer;
	char *strings[STRINGS]; /* name, aet, host, issuer, tls_name */
	char *syntaxes[PEER_SYNTAXES_MAX];
	struct host hosts[HOSTS_MAX]; /* the first is `host` where there is one */
	unsigned n_hosts;
	bool from_host; /* no `from`: it calls from its host */
};

struct peers {
	atomic_int refs;
	pthread_mutex_t mu;
	char *cache;
	struct listed *all;
	size_t n;
	struct peer unlisted, loopback;
	struct tls *tls;
};

const struct conf_row *
peers_rows(size_t *n)
{
	*n = sizeof(rows) / sizeof(rows[0]);
	return rows;
}

static bool
numeric_address(const char *name, char out[PEER_ADDRESS_SIZE], int flags)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *found;
	bool ok;

	if (getaddrinfo(name, NULL, &hints, &found))
		return false;
	ok = getnameinfo(found->ai_addr, found->ai_addrlen, out, PEER_ADDRESS_SIZE, NULL, 0,
			 NI_NUMERICHOST) == 0;
	freeaddrinfo(found);
	return ok;
}

static int
add_host(struct listed *l, const char *name, struct err *e)
{
	struct host *h;

	if (l->n_hosts >= HOSTS_MAX)
		return err_set(e, ERR_LOCAL, 0, "[peer %s] more than %d addresses", l->peer.name,
			       HOSTS_MAX);
	h = &l->hosts[l->n_hosts++];
	h->name = strdup(name);
	if (!h->name)
		return err_set(e, ERR_LOCAL, 0, "no memory for peers");
	h->numeric = numeric_address(name, h->addresses[0], AI_NUMERICHOST);
	h->n = h->numeric;
	return 0;
}

static int
parse_right(const char *word, unsigned *bit)
{
	static const char *const words[] = {"store",  "find",	  "get",   "move",
					    "commit", "worklist", "reject"};
	unsigned i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0) {
			*bit = 1u << i;
			return 0;
		}
	return -1;
}

static int
load_lists(struct listed *l, const struct conf *c, const char *name, struct err *e)
{
	const char *s;
	unsigned bit, n = 0;
	size_t i;

	for (i = 0; (s = conf_list(c, "peer *", name, "may", i)) != NULL; i++) {
		if (parse_right(s, &bit))
			return err_set(e, ERR_LOCAL, 0, "[peer %s] may: '%s' is no right", name, s);
		l->peer.may |= bit;
	}
	for (i = 0; (s = conf_list(c, "peer *", name, "syntaxes", i)) != NULL; i++) {
		if (strcmp(s, "as-proposed") == 0) {
			l->peer.as_proposed = true;
			continue;
		}
		if (n + 1 >= PEER_SYNTAXES_MAX)
			return err_set(e, ERR_LOCAL, 0, "[peer %s] more than %d syntaxes", name,
				       PEER_SYNTAXES_MAX - 1);
		l->syntaxes[n] = strdup(s);
		l->peer.syntaxes[n] = l->syntaxes[n];
		n++;
	}
	for (i = 0; (s = conf_list(c, "peer *", name, "from", i)) != NULL; i++)
		if (add_host(l, s, e))
			return e ? (int)e->code : ERR_LOCAL;
	return 0;
}

static const char *
compression(const char *choice)
{
	return strcmp(choice, "rle") == 0	      ? "1.2.840.10008.1.2.5"
	       : strcmp(choice, "jpeg-lossless") == 0 ? "1.2.840.10008.1.2.4.70"
	       : strcmp(choice, "jpeg-ls") == 0	      ? "1.2.840.10008.1.2.4.80"
	       : strcmp(choice, "jpeg-2000") == 0     ? "1.2.840.10008.1.2.4.90"
						      : NULL;
}

static int
load_one(struct listed *l, const struct conf *c, const char *name, struct err *e)
{
	static const char *const keys[STRINGS] = {NULL, "aet", "host", "issuer", "tls_name"};
	const char *tls = conf_string(c, "peer *", name, "tls");
	unsigned i;

	for (i = 0; i < STRINGS; i++) {
		l->strings[i] = strdup(i ? conf_string(c, "peer *", name, keys[i]) : name);
		if (!l->strings[i])
			return err_set(e, ERR_LOCAL, 0, "no memory for peers");
	}
	l->peer.name = l->strings[0];
	l->peer.aet = l->strings[1];
	l->peer.host = l->strings[2];
	l->peer.issuer = l->strings[3];
	l->peer.tls_name = l->strings[4];
	l->peer.tls = strcmp(tls, "no") == 0	? PEER_TLS_NO
		      : strcmp(tls, "yes") == 0 ? PEER_TLS_YES
						: PEER_TLS_REQUIRED;
	l->peer.port = (unsigned)conf_number(c, "peer *", name, "port");
	l->peer.compress = compression(conf_string(c, "peer *", name, "compress"));
	l->peer.move_associations = (unsigned)conf_number(c, "peer *", name, "move_associations");
	l->peer.foreign = conf_bool(c, "peer *", name, "foreign");
	l->peer.strict = conf_bool(c, "peer *", name, "strict");
	l->peer.see_rejected = conf_bool(c, "peer *", name, "see_rejected");
	l->peer.success_on_limit =
		strcmp(conf_string(c, "peer *", name, "on_limit"), "success") == 0;
	l->peer.commit_here = strcmp(conf_string(c, "peer *", name, "commit"), "edge") == 0;
	l->peer.commit_wait_ms = conf_number(c, "peer *", name, "commit_wait");
	l->from_host = conf_list(c, "peer *", name, "from", 0) == NULL;
	if (l->peer.host[0] && add_host(l, l->peer.host, e))
		return e ? (int)e->code : ERR_LOCAL;
	if (l->from_host && !l->peer.host[0])
		return err_set(e, ERR_LOCAL, 0, "[peer %s] needs host or from", name);
	return load_lists(l, c, name, e);
}

/* The cache: one line a name, "name address address ...". */
static void
read_cache(struct peers *p)
{
	struct buf b = BUF_INIT;
	char *line, *rest, *word, *more;
	size_t i, j;

	if (!p->cache || file_slurp(p->cache, CACHE_MAX, &b, NULL)) {
		buf_fini(&b);
		return;
	}
	buf_put(&b, "", 1);
	for (line = strtok_r((char *)b.data, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		word = strtok_r(line, " ", &more);
		for (i = 0; word && i < p->n; i++)
			for (j = 0; j < p->all[i].n_hosts; j++) {
				struct host *h = &p->all[i].hosts[j];
				char *copy = more, *address, *state = NULL;
				char tail[1024];

				if (h->numeric || strcmp(h->name, word) != 0)
					continue;
				(void)snprintf(tail, sizeof(tail), "%s", copy ? copy : "");
				h->n = 0;
				for (address = strtok_r(tail, " ", &state);
				     address && h->n < HOST_ADDRESSES;
				     address = strtok_r(NULL, " ", &state))
					(void)snprintf(h->addresses[h->n++], PEER_ADDRESS_SIZE,
						       "%s", address);
			}
	}
	buf_fini(&b);
}

static void
write_cache(struct peers *p)
{
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	char dir[PATH_MAX], *slash;
	size_t i;
	unsigned j, k;

	if (!p->cache)
		return;
	pthread_mutex_lock(&p->mu);
	for (i = 0; i < p->n; i++)
		for (j = 0; j < p->all[i].n_hosts; j++) {
			const struct host *h = &p->all[i].hosts[j];

			if (h->numeric || h->n == 0)
				continue;
			buf_puts(&b, h->name);
			for (k = 0; k < h->n; k++)
				buf_printf(&b, " %s", h->addresses[k]);
			buf_puts(&b, "\n");
		}
	pthread_mutex_unlock(&p->mu);
	(void)snprintf(dir, sizeof(dir), "%s", p->cache);
	slash = strrchr(dir, '/');
	if (slash && b.len) {
		*slash = '\0';
		if (file_replace(dir, slash + 1, b.data, b.len, &e))
			log_err(LOG_WARN, "peers.cache", &e);
	}
	buf_fini(&b);
}

int
peers_load(struct peers **out, const struct conf *c, const char *cache, bool unlisted_store,
	   struct err *e)
{
	struct peers *p = calloc(1, sizeof(*p));
	size_t n = 0;
	int rc = 0;

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for peers");
	atomic_store(&p->refs, 1);
	(void)pthread_mutex_init(&p->mu, NULL);
	p->cache = cache ? strdup(cache) : NULL;
	while (conf_name(c, "peer *", n))
		n++;
	p->all = calloc(n ? n : 1, sizeof(*p->all));
	if (!p->all)
		rc = err_set(e, ERR_LOCAL, 0, "no memory for peers");
	for (p->n = 0; !rc && p->n < n;) {
		rc = load_one(&p->all[p->n], c, conf_name(c, "peer *", p->n), e);
		p->n++;
	}
	if (rc) {
		peers_unref(p);
		return rc;
	}
	p->unlisted.name = p->unlisted.aet = p->unlisted.host = p->unlisted.issuer = "";
	p->unlisted.tls_name = "";
	p->unlisted.may = unlisted_store ? PEER_STORE : 0u;
	p->loopback = p->unlisted;
	p->loopback.may |= PEER_FIND | PEER_GET;
	read_cache(p);
	*out = p;
	return 0;
}

struct peers *
peers_ref(struct peers *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void
peers_unref(struct peers *p)
{
	size_t i;
	unsigned j;

	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	for (i = 0; i < p->n; i++) {
		for (j = 0; j < STRINGS; j++)
			free(p->all[i].strings[j]);
		for (j = 0; j < PEER_SYNTAXES_MAX; j++)
			free(p->all[i].syntaxes[j]);
		for (j = 0; j < p->all[i].n_hosts; j++)
			free(p->all[i].hosts[j].name);
	}
	(void)pthread_mutex_destroy(&p->mu);
	tls_unref(p->tls);
	free(p->cache);
	free(p->all);
	free(p);
}

static void
resolve_host(struct peers *p, struct host *h)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *a;
	char got[HOST_ADDRESSES][PEER_ADDRESS_SIZE];
	unsigned n = 0;

	if (getaddrinfo(h->name, NULL, &hints, &found))
		return; /* the last good addresses stay */
	for (a = found; a && n < HOST_ADDRESSES; a = a->ai_next)
		if (!getnameinfo(a->ai_addr, a->ai_addrlen, got[n], PEER_ADDRESS_SIZE, NULL, 0,
				 NI_NUMERICHOST))
			n++;
	freeaddrinfo(found);
	if (n == 0)
		return;
	pthread_mutex_lock(&p->mu);
	memcpy(h->addresses, got, sizeof(got[0]) * n);
	h->n = n;
	pthread_mutex_unlock(&p->mu);
}

void
peers_resolve(struct peers *p)
{
	bool any = false;
	size_t i;
	unsigned j;

	for (i = 0; i < p->n; i++)
		for (j = 0; j < p->all[i].n_hosts; j++)
			if (!p->all[i].hosts[j].numeric) {
				resolve_host(p, &p->all[i].hosts[j]);
				any = true;
			}
	if (any)
		write_cache(p);
}

static bool
calls_from(const struct peers *p, const struct listed *l, const char *address)
{
	pthread_mutex_t *mu = (pthread_mutex_t *)(uintptr_t)&p->mu;
	bool yes = false;
	unsigned i, j;

	pthread_mutex_lock(mu);
	for (i = 0; i < l->n_hosts && !yes; i++) {
		if (i == 0 && l->peer.host[0] && !l->from_host)
			continue; /* `from` is where it calls from, `host` where to call it */
		for (j = 0; j < l->hosts[i].n; j++)
			yes = yes || strcmp(l->hosts[i].addresses[j], address) == 0;
	}
	pthread_mutex_unlock(mu);
	return yes;
}

static bool
is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
	       strncmp(address, "::ffff:127.", 11) == 0;
}

const struct peer *
peers_caller(const struct peers *p, const char *aet, const char *address)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		if (strcmp(p->all[i].peer.aet, aet) == 0 && calls_from(p, &p->all[i], address))
			return &p->all[i].peer;
	return is_loopback(address) ? &p->loopback : &p->unlisted;
}

const struct peer *
peers_destination(const struct peers *p, const char *aet, const char *address)
{
	const struct peer *first = NULL;
	size_t i;

	for (i = 0; i < p->n; i++) {
		const struct peer *peer = &p->all[i].peer;

		if (strcmp(peer->aet, aet) != 0 || !peer->host[0] || !peer->port)
			continue;
		if (calls_from(p, &p->all[i], address))
			return peer;
		if (!first)
			first = peer;
	}
	return first;
}

bool
peers_need_tls(const struct peers *p)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		if (p->all[i].peer.tls != PEER_TLS_NO)
			return true;
	return false;
}

int
peers_certify(struct peers *p, const char *cert, const char *key, const char *ca, struct err *e)
{
	int rc = tls_load(&p->tls, cert, key, ca, e);

	if (!rc && tls_untimely(p->tls)[0])
		log_line(LOG_WARN, "dimse.certificate", "path=%s what=\"%s\"", cert,
			 tls_untimely(p->tls));
	return rc;
}

struct tls *
peers_tls(const struct peers *p)
{
	return p->tls;
}

void
peers_secure(const struct peers *p, const struct peer *peer, struct assoc_target *to)
{
	if (peer->tls == PEER_TLS_NO)
		return;
	to->tls = p->tls;
	to->certificate = peer->tls_name[0] ? peer->tls_name : peer->host;
}

const struct peer *
peers_named(const struct peers *p, const char *name)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		if (strcmp(p->all[i].peer.name, name) == 0)
			return &p->all[i].peer;
	return NULL;
}

bool
peers_host(const struct peers *p, const struct peer *peer, char out[PEER_ADDRESS_SIZE])
{
	pthread_mutex_t *mu = (pthread_mutex_t *)(uintptr_t)&p->mu;
	const struct listed *l = (const struct listed *)(const void *)peer; /* its first member */
	bool known = false;

	pthread_mutex_lock(mu);
	if (l->n_hosts > 0 && peer->host[0] && l->hosts[0].n > 0) {
		memcpy(out, l->hosts[0].addresses[0], PEER_ADDRESS_SIZE);
		known = true;
	}
	pthread_mutex_unlock(mu);
	return known;
}
