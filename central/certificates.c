#include "central/certificates.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/file.h"

enum { PEM_MAX = 1 << 20, CA_DAYS = 10957, CENTRAL_DAYS = 3652, SITE_DAYS = 730, NAME_SIZE = 64 };
enum { KEPT = 2 * 11 - 1 }; /* of older CAs: eleven, and the way from each to the next */

struct certificates {
	char dir[PATH_MAX - 16]; /* set once */
	char server[PATH_MAX], server_key[PATH_MAX], ca_path[PATH_MAX];
	char archive[ID128_HEX];
	pthread_mutex_t mu;
	/* guarded by mu */
	struct buf key, ca;
	unsigned char print[PKI_PRINT], digest[SHA256_SIZE];
};

int
certificates_new_ca(struct buf *key, struct buf *ca, const struct id128 *archive, int64_t now_ms,
		    struct err *e)
{
	char hex[ID128_HEX], name[NAME_SIZE];
	int rc = pki_key_make(key, e);

	hex_of(archive->b, ID128_SIZE, hex);
	(void)snprintf(name, sizeof(name), "salamander %s", hex);
	return rc ? rc : pki_ca_make(ca, key, name, now_ms, CA_DAYS, e);
}

int
certificates_write(const char *dir, const struct buf *key, const struct buf *ca, struct err *e)
{
	char tls[PATH_MAX];
	int rc = file_mkdirs(dir, "tls", e);

	(void)snprintf(tls, sizeof(tls), "%s/tls", dir);
	if (!rc)
		rc = file_replace(tls, "ca.key", key->data, key->len, e);
	return rc ? rc : file_replace(tls, "ca.pem", ca->data, ca->len, e);
}

static int
slurp(const struct certificates *c, const char *name, struct buf *out, struct err *e)
{
	char path[PATH_MAX];
	int rc;

	(void)snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	if (file_missing(path))
		return ERR_ABSENT;
	buf_clear(out);
	rc = file_slurp(path, PEM_MAX, out, e);
	return rc ? err_set(e, ERR_LOCAL, 0, "cannot read %s", path) : 0;
}

/* --- the CA --- */

static bool
fits(const struct buf *key, const unsigned char print[PKI_PRINT])
{
	unsigned char own[PKI_PRINT];

	return pki_key_print(key, own, NULL) == 0 && memcmp(own, print, PKI_PRINT) == 0;
}

/* A change that a death cut is finished when ca.pem tells of it, else it never was. */
static int
mend(struct certificates *c, struct err *e)
{
	char next[PATH_MAX], now[PATH_MAX];
	struct buf key = BUF_INIT;
	int rc = slurp(c, "next.key", &key, e);

	(void)snprintf(next, sizeof(next), "%s/next.key", c->dir);
	(void)snprintf(now, sizeof(now), "%s/ca.key", c->dir);
	if (rc) {
		buf_fini(&key);
		return rc == ERR_ABSENT ? 0 : rc;
	}
	rc = fits(&key, c->print) ? file_rename(next, now, e) : file_remove(next, e);
	buf_fini(&key);
	return rc ? rc : file_sync_dir(c->dir, e);
}

static int
load_ca(struct certificates *c, struct err *e)
{
	struct pki_certificate first;
	int rc = slurp(c, "ca.pem", &c->ca, e);

	if (!rc)
		rc = pki_read(&first, &c->ca, e);
	if (!rc) {
		memcpy(c->print, first.print, PKI_PRINT);
		sha256_of(c->ca.data, c->ca.len, c->digest);
		rc = mend(c, e);
	}
	if (!rc)
		rc = slurp(c, "ca.key", &c->key, e);
	if (rc == ERR_ABSENT)
		return err_set(e, ERR_ABSENT, 0,
			       "%.200s has no CA, and [tls] is not set: not mounted? `init "
			       "--recover KIT` makes the archive anew in an empty folder",
			       c->dir);
	if (!rc && !fits(&c->key, c->print))
		rc = err_set(e, ERR_CORRUPT, 0, "%.200s: ca.key is not the key of ca.pem", c->dir);
	return rc;
}

/* --- central's own certificate --- */

struct way {
	struct buf *out;
	bool roots;
};

static int
add_to_way(void *arg, const struct pki_certificate *one, const struct buf *pem, struct err *e)
{
	struct way *w = arg;

	(void)e;
	if (one->own == w->roots)
		buf_put(w->out, pem->data, pem->len);
	return 0;
}

/* What is sent behind the leaf. OpenSSL takes the first issuer that fits: the one that leads on
 * to an older CA comes before the root that an older edge does not know. */
static int
way_of(const struct buf *ca, struct buf *out, struct err *e)
{
	struct way w = {out, false};
	int rc = pki_each(ca, add_to_way, &w, e);

	w.roots = true;
	if (!rc)
		rc = pki_each(ca, add_to_way, &w, e);
	return !rc && buf_failed(out) ? err_set(e, ERR_LOCAL, 0, "no memory for certificates") : rc;
}

static int
server_key(struct certificates *c, struct buf *key, struct err *e)
{
	int rc = slurp(c, "server.key", key, e);

	if (rc != ERR_ABSENT)
		return rc;
	rc = pki_key_make(key, e);
	return rc ? rc : file_replace(c->dir, "server.key", key->data, key->len, e);
}

static bool
still_good(struct certificates *c, const char *name, const struct buf *key, const struct buf *way,
	   int64_t now_ms)
{
	struct buf have = BUF_INIT;
	struct pki_certificate leaf;
	bool good = slurp(c, "server.pem", &have, NULL) == 0 && pki_read(&leaf, &have, NULL) == 0 &&
		    strcmp(leaf.name, name) == 0 && fits(key, leaf.print) &&
		    !pki_half_over(&leaf, now_ms) && have.len > way->len &&
		    memcmp(have.data + have.len - way->len, way->data, way->len) == 0;

	buf_fini(&have);
	return good;
}

/* Before threads start, or under mu. */
static int
ensure_server(struct certificates *c, int64_t now_ms, struct err *e)
{
	struct buf key = BUF_INIT, way = BUF_INIT, der = BUF_INIT, pem = BUF_INIT;
	char name[NAME_SIZE];
	struct pki_issue i = {&c->ca, &c->key, name, "", PKI_SERVER, now_ms, CENTRAL_DAYS};
	int rc = server_key(c, &key, e);

	(void)snprintf(name, sizeof(name), "central.%s", c->archive);
	if (!rc)
		rc = way_of(&c->ca, &way, e);
	if (rc || still_good(c, name, &key, &way, now_ms))
		goto out;
	rc = pki_request_make(&der, &key, name, e);
	if (!rc)
		rc = pki_issue(&pem, &i, der.data, der.len, e);
	buf_put(&pem, way.data, way.len);
	if (!rc && buf_failed(&pem))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for certificates");
	if (!rc)
		rc = file_replace(c->dir, "server.pem", pem.data, pem.len, e);
	if (!rc)
		log_line(LOG_INFO, "certificate.central", "days=%d", CENTRAL_DAYS);
out:
	buf_fini(&key);
	buf_fini(&way);
	buf_fini(&der);
	buf_fini(&pem);
	return rc;
}

int
certificates_open(struct certificates **out, const char *dir, const struct id128 *archive,
		  int64_t now_ms, struct err *e)
{
	struct certificates *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for certificates");
	(void)pthread_mutex_init(&c->mu, NULL);
	(void)snprintf(c->dir, sizeof(c->dir), "%s/tls", dir);
	(void)snprintf(c->server, sizeof(c->server), "%s/server.pem", c->dir);
	(void)snprintf(c->server_key, sizeof(c->server_key), "%s/server.key", c->dir);
	(void)snprintf(c->ca_path, sizeof(c->ca_path), "%s/ca.pem", c->dir);
	hex_of(archive->b, ID128_SIZE, c->archive);
	rc = load_ca(c, e);
	if (!rc)
		rc = ensure_server(c, now_ms, e);
	if (rc) {
		certificates_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

void
certificates_close(struct certificates *c)
{
	if (!c)
		return;
	(void)pthread_mutex_destroy(&c->mu);
	buf_fini(&c->key);
	buf_fini(&c->ca);
	free(c);
}

const char *
certificates_server(const struct certificates *c)
{
	return c->server;
}

const char *
certificates_server_key(const struct certificates *c)
{
	return c->server_key;
}

const char *
certificates_ca(const struct certificates *c)
{
	return c->ca_path;
}

void
certificates_print(struct certificates *c, unsigned char print[PKI_PRINT])
{
	(void)pthread_mutex_lock(&c->mu);
	memcpy(print, c->print, PKI_PRINT);
	(void)pthread_mutex_unlock(&c->mu);
}

void
certificates_bundle(struct certificates *c, struct buf *out, unsigned char digest[SHA256_SIZE])
{
	(void)pthread_mutex_lock(&c->mu);
	if (out)
		buf_put(out, c->ca.data, c->ca.len);
	if (digest)
		memcpy(digest, c->digest, SHA256_SIZE);
	(void)pthread_mutex_unlock(&c->mu);
}

int
certificates_issue(struct certificates *c, const char *site, const void *csr, size_t n,
		   int64_t now_ms, struct buf *pem, struct pki_certificate *got, struct err *e)
{
	/* Shown to central, and by the site's own web server. */
	struct pki_issue i = {&c->ca, &c->key, site, c->archive, PKI_BOTH, now_ms, SITE_DAYS};
	int rc;

	(void)pthread_mutex_lock(&c->mu);
	rc = pki_issue(pem, &i, csr, n, e);
	(void)pthread_mutex_unlock(&c->mu);
	return rc ? rc : pki_read(got, pem, e);
}

/* --- a new CA --- */

struct keeping {
	struct buf *out;
	unsigned n;
};

static int
keep_one(void *arg, const struct pki_certificate *one, const struct buf *pem, struct err *e)
{
	struct keeping *k = arg;

	(void)one;
	(void)e;
	if (k->n < KEPT)
		buf_put(k->out, pem->data, pem->len);
	k->n++;
	return 0;
}

static int
make_next(struct certificates *c, int64_t now_ms, struct buf *key, struct buf *ca, struct err *e)
{
	struct keeping k = {ca, 0};
	struct buf crossed = BUF_INIT;
	struct id128 archive;
	int rc = hex_to(c->archive, archive.b, ID128_SIZE) ? 0 : ERR_LOCAL;

	if (!rc)
		rc = certificates_new_ca(key, ca, &archive, now_ms, e);
	if (!rc)
		rc = pki_cross_sign(&crossed, ca, &c->ca, &c->key, now_ms, e);
	buf_put(ca, crossed.data, crossed.len);
	buf_fini(&crossed);
	if (!rc)
		rc = pki_each(&c->ca, keep_one, &k, e);
	return !rc && buf_failed(ca) ? err_set(e, ERR_LOCAL, 0, "no memory for certificates") : rc;
}

int
certificates_renew_ca(struct certificates *c, int64_t now_ms,
		      int (*keep)(void *arg, const struct buf *key, const struct buf *ca,
				  struct err *e),
		      void *arg, struct err *e)
{
	struct buf key = BUF_INIT, ca = BUF_INIT;
	int rc;

	(void)pthread_mutex_lock(&c->mu);
	rc = make_next(c, now_ms, &key, &ca, e);
	if (!rc)
		rc = keep(arg, &key, &ca, e);
	if (!rc)
		rc = file_replace(c->dir, "next.key", key.data, key.len, e);
	if (!rc)
		rc = file_replace(c->dir, "ca.pem", ca.data, ca.len, e);
	if (!rc)
		rc = load_ca(c, e); /* as after a death at this point */
	if (!rc)
		rc = ensure_server(c, now_ms, e);
	(void)pthread_mutex_unlock(&c->mu);
	buf_fini(&key);
	buf_fini(&ca);
	return rc;
}

/* --- older ones --- */

struct counting {
	size_t roots;
	struct buf *first; /* NULL: not wanted */
};

static int
count_root(void *arg, const struct pki_certificate *one, const struct buf *pem, struct err *e)
{
	struct counting *k = arg;

	(void)e;
	if (one->own && k->roots++ == 0 && k->first)
		buf_put(k->first, pem->data, pem->len);
	return 0;
}

size_t
certificates_older(struct certificates *c)
{
	struct counting k = {0, NULL};

	(void)pthread_mutex_lock(&c->mu);
	(void)pki_each(&c->ca, count_root, &k, NULL);
	(void)pthread_mutex_unlock(&c->mu);
	return k.roots ? k.roots - 1 : 0;
}

int
certificates_retire(struct certificates *c, int64_t now_ms,
		    int (*keep)(void *arg, const struct buf *key, const struct buf *ca,
				struct err *e),
		    void *arg, struct err *e)
{
	struct buf ca = BUF_INIT;
	struct counting k = {0, &ca};
	int rc;

	(void)pthread_mutex_lock(&c->mu);
	rc = pki_each(&c->ca, count_root, &k, e);
	if (!rc && buf_failed(&ca))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for certificates");
	if (!rc && k.roots < 2)
		rc = err_set(e, ERR_ABSENT, 0, "no older CA is believed here");
	if (!rc)
		rc = keep(arg, &c->key, &ca, e);
	if (!rc)
		rc = file_replace(c->dir, "ca.pem", ca.data, ca.len, e);
	if (!rc)
		rc = load_ca(c, e);
	if (!rc)
		rc = ensure_server(c, now_ms, e);
	(void)pthread_mutex_unlock(&c->mu);
	buf_fini(&ca);
	return rc;
}
