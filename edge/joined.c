#include "edge/joined.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/http/pki.h"
#include "common/os/file.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { TEXT_MAX = 4096, PEM_MAX = 1 << 20, LINE_NAME = 16 };

static void
path_of(const char *dir, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/tls/%s", dir, name);
}

static void
take_line(struct joined *j, const char *name, const char *value)
{
	if (strcmp(name, "archive") == 0)
		(void)snprintf(j->archive, sizeof(j->archive), "%.32s", value);
	else if (strcmp(name, "url") == 0)
		(void)snprintf(j->url, sizeof(j->url), "%.299s", value);
	else if (strcmp(name, "code") == 0)
		(void)hex_to(value, j->code, sizeof(j->code));
}

int
joined_read(struct joined *out, const char *dir, struct err *e)
{
	char path[PATH_MAX], name[LINE_NAME + 1], value[JOINED_URL + 1];
	struct buf text = BUF_INIT;
	const char *line, *end;
	int rc;

	memset(out, 0, sizeof(*out));
	path_of(dir, "edge.pem", out->cert);
	path_of(dir, "edge.key", out->key);
	path_of(dir, "ca.pem", out->ca);
	path_of(dir, "archive", path);
	if (file_missing(path))
		return ERR_ABSENT;
	rc = file_slurp(path, TEXT_MAX, &text, e);
	buf_put_u8(&text, 0);
	if (!rc && buf_failed(&text))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for %s", path);
	for (line = (const char *)text.data; !rc && (end = strchr(line, '\n')); line = end + 1)
		if (sscanf(line, "%16s %300s", name, value) == 2)
			take_line(out, name, value);
	buf_fini(&text);
	if (!rc && (strlen(out->archive) != 2 * ID128_SIZE || !out->url[0]))
		rc = err_set(e, ERR_CORRUPT, 0, "%.150s is damaged: `join` again", path);
	return rc;
}

bool
joined_ca_hash(const char *dir, unsigned char hash[SHA256_SIZE])
{
	struct buf pem = BUF_INIT;
	char path[PATH_MAX];
	bool have;

	path_of(dir, "ca.pem", path);
	have = !file_missing(path) && !file_slurp(path, PEM_MAX, &pem, NULL);
	if (have)
		sha256_of(pem.data, pem.len, hash);
	buf_fini(&pem);
	return have;
}

static int
slurp_key(struct buf *key, const char *dir, const char *name, struct err *e)
{
	char path[PATH_MAX];

	path_of(dir, name, path);
	if (file_missing(path))
		return ERR_ABSENT;
	return file_slurp(path, PEM_MAX, key, e);
}

static int
put(const char *dir, const char *name, const void *p, size_t n, struct err *e)
{
	char folder[PATH_MAX];

	(void)snprintf(folder, sizeof(folder), "%s/tls", dir);
	return file_replace(folder, name, p, n, e);
}

int
joined_own_key(struct buf *key, const char *dir, struct err *e)
{
	return slurp_key(key, dir, "edge.key", e);
}

int
joined_key(struct buf *key, const char *dir, const unsigned char code[SHA256_SIZE], struct err *e)
{
	struct err why = ERR_INIT;
	struct joined j;
	int rc = slurp_key(key, dir, "edge.key.new", e);

	if (rc == ERR_ABSENT) {
		rc = joined_read(&j, dir, &why);
		if (rc == ERR_CORRUPT) /* a join mends it */
			rc = ERR_ABSENT;
		else if (rc && rc != ERR_ABSENT)
			rc = err_set(e, why.code, why.sys, "%s", why.what);
		else if (!rc)
			rc = memcmp(j.code, code, sizeof(j.code)) == 0 ? joined_own_key(key, dir, e)
								       : ERR_ABSENT;
	}
	if (rc != ERR_ABSENT)
		return rc;
	rc = file_mkdirs(dir, "tls", e);
	if (!rc)
		rc = pki_key_make(key, e);
	return rc ? rc : put(dir, "edge.key.new", key->data, key->len, e);
}

/* --- an answer --- */

struct search {
	const unsigned char *print; /* NULL: any */
	bool found;
};

static int
look_for(void *arg, const struct pki_certificate *c, const struct buf *one, struct err *e)
{
	struct search *s = arg;

	(void)one;
	(void)e;
	s->found = s->found || !s->print || memcmp(c->print, s->print, PKI_PRINT) == 0;
	return 0;
}

/* The certificate is of our key and name, the CAs can be read, the one of the code among them. */
static int
check_answer(const Sync__JoinAnswer *m, const char *site, const struct buf *key,
	     const unsigned char *pin, struct err *e)
{
	struct buf pem = {m->certificate.data, m->certificate.len, 0, false};
	struct buf ca = {m->ca.data, m->ca.len, 0, false};
	struct pki_certificate cert;
	unsigned char print[PKI_PRINT];
	struct search s = {pin, false};
	int rc = pki_key_print(key, print, e);

	if (rc)
		return rc;
	if (m->archive.len != ID128_SIZE || pki_read(&cert, &pem, NULL) ||
	    memcmp(cert.print, print, sizeof(print)) != 0 || strcmp(cert.name, site) != 0)
		return err_set(e, ERR_PEER, 0, "central sent a certificate of another key or site");
	if (pki_each(&ca, look_for, &s, NULL) || !s.found)
		return err_set(e, ERR_PEER, 0, "central sent no CA that fits");
	return 0;
}

static int
put_archive(const char *dir, const char *archive, const char *url, const unsigned char *code,
	    struct err *e)
{
	char hex[2 * SHA256_SIZE + 1];
	struct buf text = BUF_INIT;
	int rc;

	hex_of(code, SHA256_SIZE, hex);
	buf_printf(&text, "archive %s\nurl %s\ncode %s\n", archive, url, hex);
	rc = buf_failed(&text) ? err_set(e, ERR_LOCAL, 0, "no memory")
			       : put(dir, "archive", text.data, text.len, e);
	buf_fini(&text);
	return rc;
}

static int
put_key(const char *dir, struct err *e)
{
	char from[PATH_MAX], to[PATH_MAX];
	int rc;

	path_of(dir, "edge.key.new", from);
	path_of(dir, "edge.key", to);
	if (file_missing(from)) /* the same code once more */
		return 0;
	rc = file_rename(from, to, e);
	return rc ? rc : file_sync_parent(to, e);
}

int
joined_take(const char *dir, const char *site, const struct buf *key, const void *answer, size_t n,
	    const char *url, const unsigned char *code, const unsigned char *pin, struct err *e)
{
	Sync__JoinAnswer *m = message_read(&sync__join_answer__descriptor, answer, n, e);
	char archive[2 * ID128_SIZE + 1] = "";
	struct joined j;
	int rc = m ? check_answer(m, site, key, pin, e) : ERR_PEER;

	if (!rc)
		hex_of(m->archive.data, ID128_SIZE, archive);
	if (!rc && !url)
		rc = joined_read(&j, dir, e);
	if (!rc && !url && strcmp(j.archive, archive) != 0)
		rc = err_set(e, ERR_PEER, 0, "a renewal of another archive");
	if (!rc)
		rc = put(dir, "ca.pem", m->ca.data, m->ca.len, e);
	if (!rc)
		rc = put(dir, "edge.pem", m->certificate.data, m->certificate.len, e);
	if (!rc && url)
		rc = put_archive(dir, archive, url, code, e);
	if (!rc && url)
		rc = put_key(dir, e);
	message_free(m);
	return rc;
}
