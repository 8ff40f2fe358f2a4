#include "common/http/trust.h"

#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/http/server.h"
#include "common/os/file.h"

enum { PEM_MAX = 1 << 20, CHAIN_MAX = 32 };

struct trust {
	atomic_uint refs;
	gnutls_x509_trust_list_t list;
	struct buf cert, key;
	gnutls_x509_crt_t *cas; /* as in `list` */
	unsigned n_cas;
};

static gnutls_datum_t
datum(const struct buf *b)
{
	gnutls_datum_t d = {b->data, (unsigned)b->len};

	return d;
}

static int
read_pem(struct buf *out, const char *path, struct err *e)
{
	if (file_slurp(path, PEM_MAX, out, e))
		return err_set(e, ERR_LOCAL, 0, "cannot read %s", path);
	return 0;
}

/* Half of a renewal must not be shown. */
static int
check_pair(const struct trust *t, const char *path, const char *key_path, struct err *e)
{
	gnutls_certificate_credentials_t c;
	gnutls_datum_t cert = datum(&t->cert), key = datum(&t->key);
	int rc = gnutls_certificate_allocate_credentials(&c);

	if (rc)
		return err_set(e, ERR_LOCAL, 0, "no memory for certificates");
	rc = gnutls_certificate_set_x509_key_mem(c, &cert, &key, GNUTLS_X509_FMT_PEM);
	gnutls_certificate_free_credentials(c);
	return rc < 0 ? err_set(e, ERR_LOCAL, 0, "%s and %s are no PEM certificate and its key: %s",
				path, key_path, gnutls_strerror(rc))
		      : 0;
}

static int
believe(struct trust *t, const char *path, struct err *e)
{
	struct buf ca = BUF_INIT;
	gnutls_datum_t d;
	int n, rc = read_pem(&ca, path, e);

	if (!rc) {
		d = datum(&ca);
		n = gnutls_x509_trust_list_add_trust_mem(t->list, &d, NULL, GNUTLS_X509_FMT_PEM, 0,
							 0);
		if (n <= 0 || gnutls_x509_crt_list_import2(&t->cas, &t->n_cas, &d,
							   GNUTLS_X509_FMT_PEM, 0) < 0)
			rc = err_set(e, ERR_LOCAL, 0, "%s holds no CA certificate", path);
	}
	buf_fini(&ca);
	return rc;
}

int
trust_load(struct trust **out, const char *cert, const char *key, const char *ca, struct err *e)
{
	struct trust *t = calloc(1, sizeof(*t));
	int rc;

	if (!t || gnutls_x509_trust_list_init(&t->list, 0)) {
		free(t);
		return err_set(e, ERR_LOCAL, 0, "no memory for certificates");
	}
	atomic_store(&t->refs, 1);
	rc = read_pem(&t->cert, cert, e);
	if (!rc)
		rc = read_pem(&t->key, key, e);
	if (!rc)
		rc = check_pair(t, cert, key, e);
	if (!rc)
		rc = believe(t, ca, e);
	if (rc)
		trust_unref(t);
	else
		*out = t;
	return rc;
}

struct trust *
trust_ref(struct trust *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void
trust_unref(struct trust *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	while (t->n_cas > 0)
		gnutls_x509_crt_deinit(t->cas[--t->n_cas]);
	gnutls_free(t->cas);
	gnutls_x509_trust_list_deinit(t->list, 1);
	buf_fini(&t->cert);
	buf_fini(&t->key);
	free(t);
}

int
trust_show(const struct trust *t, gnutls_pcert_st **certs, unsigned *n, gnutls_privkey_t *key)
{
	gnutls_datum_t c = datum(&t->cert), k = datum(&t->key);
	gnutls_pcert_st *list = gnutls_calloc(CHAIN_MAX, sizeof(*list));
	gnutls_privkey_t own = NULL;
	unsigned i;

	*n = CHAIN_MAX;
	if (!list || gnutls_pcert_list_import_x509_raw(list, n, &c, GNUTLS_X509_FMT_PEM, 0)) {
		gnutls_free(list);
		return -1;
	}
	if (gnutls_privkey_init(&own) ||
	    gnutls_privkey_import_x509_raw(own, &k, GNUTLS_X509_FMT_PEM, NULL, 0)) {
		for (i = 0; i < *n; i++)
			gnutls_pcert_deinit(&list[i]);
		gnutls_free(list);
		gnutls_privkey_deinit(own);
		return -1;
	}
	*certs = list;
	*key = own;
	return 0;
}

/* Signed by who is believed, and meant for a client; its time is judged apart (R25). */
static bool
is_believed(const struct trust *t, gnutls_x509_crt_t *chain, unsigned n)
{
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
					 .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
	unsigned status = 1;

	return !gnutls_x509_trust_list_verify_crt2(
		       t->list, chain, n, &purpose, 1,
		       GNUTLS_VERIFY_DISABLE_TIME_CHECKS |
			       GNUTLS_VERIFY_DISABLE_TRUSTED_TIME_CHECKS,
		       &status, NULL) &&
	       !status;
}

static bool
out_of_time(gnutls_x509_crt_t cert, int64_t wall_ms, struct http_request *rq)
{
	time_t from = gnutls_x509_crt_get_activation_time(cert);
	time_t to = gnutls_x509_crt_get_expiration_time(cert);
	int64_t now = wall_ms / 1000;

	rq->from_ms = (int64_t)from * 1000;
	rq->until_ms = (int64_t)to * 1000;
	return from == (time_t)-1 || to == (time_t)-1 || now < (int64_t)from || now > (int64_t)to;
}

static bool
name_and_key(gnutls_x509_crt_t cert, struct http_request *rq)
{
	size_t name_n = sizeof(rq->site), key_n = sizeof(rq->key);

	return !gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, rq->site,
					      &name_n) &&
	       rq->site[0] && strlen(rq->site) == name_n &&
	       !gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, rq->key, &key_n) &&
	       key_n == sizeof(rq->key);
}

static void
who_signed(const struct trust *t, gnutls_x509_crt_t cert, struct http_request *rq)
{
	size_t n = sizeof(rq->ca);
	unsigned i;

	for (i = 0; i < t->n_cas; i++)
		if (gnutls_x509_crt_check_issuer(cert, t->cas[i]) &&
		    !gnutls_x509_crt_get_key_id(t->cas[i], GNUTLS_KEYID_USE_SHA256, rq->ca, &n))
			return;
	memset(rq->ca, 0, sizeof(rq->ca));
}

void
trust_judge(const struct trust *t, gnutls_session_t session, int64_t wall_ms,
	    struct http_request *rq)
{
	gnutls_x509_crt_t chain[CHAIN_MAX];
	const gnutls_datum_t *raw;
	unsigned n = 0, made;

	rq->certified = rq->late = false;
	raw = gnutls_certificate_get_peers(session, &n);
	if (!raw || n > CHAIN_MAX)
		n = 0;
	for (made = 0; made < n; made++) {
		if (gnutls_x509_crt_init(&chain[made]))
			break;
		if (gnutls_x509_crt_import(chain[made], &raw[made], GNUTLS_X509_FMT_DER)) {
			gnutls_x509_crt_deinit(chain[made]);
			break;
		}
	}
	if (n && made == n && is_believed(t, chain, n) && name_and_key(chain[0], rq)) {
		rq->certified = true;
		rq->late = out_of_time(chain[0], wall_ms, rq);
		who_signed(t, chain[0], rq);
	} else {
		rq->site[0] = '\0';
		memset(rq->key, 0, sizeof(rq->key));
	}
	while (made > 0)
		gnutls_x509_crt_deinit(chain[--made]);
}
