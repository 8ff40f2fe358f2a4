#include "common/http/pki.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/rng.h"

enum { SERIAL = 16, DAY = 86400, UNIT_BYTES = 8 };

/* What OpenSSL says goes along; its queue is left empty. */
static int
fail(struct err *e, enum err_code code, const char *what)
{
	char why[120] = "";
	unsigned long last = ERR_peek_last_error();

	if (last)
		ERR_error_string_n(last, why, sizeof(why));
	ERR_clear_error();
	return err_set(e, code, 0, "%s%s%s", what, why[0] ? ": " : "", why);
}

/* --- PEM, DER --- */

static int
take_bio(struct buf *out, BIO *b, struct err *e)
{
	char *p = NULL;
	long n = BIO_get_mem_data(b, &p);

	if (n > 0)
		buf_put(out, p, (size_t)n);
	return buf_failed(out) ? err_set(e, ERR_LOCAL, 0, "no memory for a certificate") : 0;
}

static BIO *
bio_of(const struct buf *pem)
{
	return pem->len && pem->len < INT_MAX ? BIO_new_mem_buf(pem->data, (int)pem->len) : NULL;
}

static int
put_certificate(struct buf *out, X509 *x, struct err *e)
{
	BIO *b = BIO_new(BIO_s_mem());
	int rc = b && PEM_write_bio_X509(b, x) == 1
			 ? take_bio(out, b, e)
			 : fail(e, ERR_LOCAL, "cannot write a certificate");

	BIO_free(b);
	return rc;
}

static int
read_key(EVP_PKEY **out, const struct buf *pem, struct err *e)
{
	BIO *b = bio_of(pem);

	*out = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
	BIO_free(b);
	return *out ? 0 : fail(e, ERR_CORRUPT, "this is no key");
}

static int
read_certificate(X509 **out, const struct buf *pem, struct err *e)
{
	BIO *b = bio_of(pem);

	*out = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	BIO_free(b);
	return *out ? 0 : fail(e, ERR_CORRUPT, "this is no certificate");
}

static int
print_of(X509_PUBKEY *spki, unsigned char print[PKI_PRINT], struct err *e)
{
	unsigned char *der = NULL;
	int n = spki ? i2d_X509_PUBKEY(spki, &der) : -1;

	if (n <= 0)
		return fail(e, ERR_CORRUPT, "a public key cannot be written");
	sha256_of(der, (size_t)n, print);
	OPENSSL_free(der);
	return 0;
}

/* --- keys --- */

int
pki_key_make(struct buf *key, struct err *e)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	BIO *b = BIO_new(BIO_s_mem());
	int rc = k && b && PEM_write_bio_PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) == 1
			 ? take_bio(key, b, e)
			 : fail(e, ERR_LOCAL, "cannot make a key");

	BIO_free(b);
	EVP_PKEY_free(k);
	return rc;
}

int
pki_key_print(const struct buf *key, unsigned char print[PKI_PRINT], struct err *e)
{
	X509_PUBKEY *spki = NULL;
	EVP_PKEY *k;
	int rc = read_key(&k, key, e);

	if (rc)
		return rc;
	rc = X509_PUBKEY_set(&spki, k) == 1 ? print_of(spki, print, e)
					    : fail(e, ERR_CORRUPT, "a key has no public half");
	X509_PUBKEY_free(spki);
	EVP_PKEY_free(k);
	return rc;
}

static bool
is_p256(EVP_PKEY *k)
{
	char group[32] = "";
	size_t n = 0;

	return k && EVP_PKEY_is_a(k, "EC") &&
	       EVP_PKEY_get_group_name(k, group, sizeof(group), &n) == 1 &&
	       strcmp(group, "prime256v1") == 0;
}

/* --- names --- */

static bool
add_name(X509_NAME *to, const char *field, const char *value)
{
	return X509_NAME_add_entry_by_txt(to, field, MBSTRING_UTF8, (const unsigned char *)value,
					  -1, -1, 0) == 1;
}

/* A name that does not fit, or holds a NUL, is none. */
static void
common_name(const X509_NAME *from, char out[PKI_NAME_SIZE])
{
	int at = X509_NAME_get_index_by_NID(from, NID_commonName, -1);
	unsigned char *text = NULL;
	int n;

	out[0] = '\0';
	if (at < 0)
		return;
	n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(from, at)));
	if (n > 0 && n < PKI_NAME_SIZE && strlen((const char *)text) == (size_t)n)
		memcpy(out, text, (size_t)n + 1);
	OPENSSL_free(text);
}

/* --- requests --- */

int
pki_request_make(struct buf *der, const struct buf *key, const char *name, struct err *e)
{
	X509_REQ *r = X509_REQ_new();
	unsigned char *bytes = NULL;
	EVP_PKEY *k;
	int n = -1, rc = read_key(&k, key, e);

	if (!rc && r && X509_REQ_set_version(r, 0) == 1 && X509_REQ_set_pubkey(r, k) == 1 &&
	    add_name(X509_REQ_get_subject_name(r), "CN", name) &&
	    X509_REQ_sign(r, k, EVP_sha256()) > 0)
		n = i2d_X509_REQ(r, &bytes);
	if (n > 0)
		buf_put(der, bytes, (size_t)n);
	if (!rc && (n <= 0 || buf_failed(der)))
		rc = fail(e, ERR_LOCAL, "cannot make a certificate request");
	OPENSSL_free(bytes);
	X509_REQ_free(r);
	EVP_PKEY_free(k);
	return rc;
}

static int
read_request(X509_REQ **out, const void *der, size_t n, struct err *e)
{
	const unsigned char *p = der;
	EVP_PKEY *k;

	*out = n && n <= PKI_DER_MAX ? d2i_X509_REQ(NULL, &p, (long)n) : NULL;
	if (!*out || p != (const unsigned char *)der + n)
		return fail(e, ERR_PEER, "this is no certificate request");
	k = X509_REQ_get0_pubkey(*out);
	if (!is_p256(k))
		return fail(e, ERR_PEER, "a key must be EC P-256");
	if (X509_REQ_verify(*out, k) != 1)
		return fail(e, ERR_PEER, "a certificate request is not signed by its key");
	return 0;
}

int
pki_request_read(const void *der, size_t n, char name[PKI_NAME_SIZE],
		 unsigned char print[PKI_PRINT], struct err *e)
{
	X509_REQ *r;
	int rc = read_request(&r, der, n, e);

	if (!rc)
		common_name(X509_REQ_get_subject_name(r), name);
	if (!rc)
		rc = print_of(X509_REQ_get_X509_PUBKEY(r), print, e);
	X509_REQ_free(r);
	return rc;
}

/* --- certificates --- */

static bool
set_serial(X509 *x)
{
	unsigned char random[SERIAL];
	BIGNUM *b;
	bool good;

	rng_fill(rng_real(), random, sizeof(random));
	random[0] = (unsigned char)((random[0] & 0x7f) | 0x40); /* positive, of full length */
	b = BN_bin2bn(random, sizeof(random), NULL);
	good = b && BN_to_ASN1_INTEGER(b, X509_get_serialNumber(x));
	BN_free(b);
	return good;
}

/* From a day before now: a clock that is a little behind accepts it too. */
static bool
set_times(X509 *x, int64_t now_ms, unsigned days)
{
	time_t now = (time_t)(now_ms / 1000);

	return X509_time_adj_ex(X509_getm_notBefore(x), -1, 0, &now) &&
	       X509_time_adj_ex(X509_getm_notAfter(x), (int)days, 0, &now);
}

static bool
extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *one;
	X509V3_CTX ctx;
	bool good;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	one = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	good = one && X509_add_ext(x, one, -1) == 1;
	X509_EXTENSION_free(one);
	return good;
}

static bool
extend_ca(X509 *x, X509 *issuer)
{
	return extend(x, issuer, NID_basic_constraints, "critical,CA:TRUE") &&
	       extend(x, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	       extend(x, issuer, NID_subject_key_identifier, "hash") &&
	       extend(x, issuer, NID_authority_key_identifier, "keyid:always");
}

static bool
extend_leaf(X509 *x, X509 *issuer, enum pki_use use)
{
	return extend(x, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
	       extend(x, issuer, NID_key_usage, "critical,digitalSignature") &&
	       extend(x, issuer, NID_ext_key_usage,
		      use == PKI_SERVER	  ? "serverAuth"
		      : use == PKI_CLIENT ? "clientAuth"
					  : "serverAuth,clientAuth") &&
	       extend(x, issuer, NID_subject_key_identifier, "hash") &&
	       extend(x, issuer, NID_authority_key_identifier, "keyid:always");
}

/* The name once more where others than us look for it: Prometheus, and every browser. What is
 * no list of names to X509V3 (','), and no site's name, stays the common name alone. */
static bool
extend_name(X509 *x, X509 *issuer, const char *name)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789._-";
	char text[PKI_NAME_SIZE + 4];

	if (!name[0] || strspn(name, plain) != strlen(name) || strlen(name) >= PKI_NAME_SIZE)
		return true;
	(void)snprintf(text, sizeof(text), "DNS:%s", name);
	return extend(x, issuer, NID_subject_alt_name, text);
}

/* All but names, extensions and signature. */
static X509 *
begin(EVP_PKEY *key, int64_t now_ms, unsigned days)
{
	X509 *x = X509_new();

	if (x && X509_set_version(x, 2) == 1 && set_serial(x) && set_times(x, now_ms, days) &&
	    X509_set_pubkey(x, key) == 1)
		return x;
	X509_free(x);
	return NULL;
}

int
pki_ca_make(struct buf *pem, const struct buf *key, const char *name, int64_t now_ms, unsigned days,
	    struct err *e)
{
	unsigned char print[PKI_PRINT];
	char unit[2 * UNIT_BYTES + 1];
	EVP_PKEY *k = NULL;
	X509 *x = NULL;
	int rc = pki_key_print(key, print, e);

	if (!rc)
		rc = read_key(&k, key, e);
	if (rc)
		return rc;
	hex_of(print, UNIT_BYTES, unit);
	x = begin(k, now_ms, days);
	if (x && add_name(X509_get_subject_name(x), "CN", name) &&
	    add_name(X509_get_subject_name(x), "OU", unit) &&
	    X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 && extend_ca(x, x) &&
	    X509_sign(x, k, EVP_sha256()) > 0)
		rc = put_certificate(pem, x, e);
	else
		rc = fail(e, ERR_LOCAL, "cannot make a CA");
	X509_free(x);
	EVP_PKEY_free(k);
	return rc;
}

static int64_t
ms_of(const ASN1_TIME *t)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days = 0, seconds = 0;

	if (epoch)
		(void)ASN1_TIME_diff(&days, &seconds, epoch, t);
	ASN1_TIME_free(epoch);
	return ((int64_t)days * DAY + seconds) * 1000;
}

int
pki_cross_sign(struct buf *pem, const struct buf *ca, const struct buf *old_ca,
	       const struct buf *old_key, int64_t now_ms, struct err *e)
{
	X509 *new = NULL, *old = NULL, *x = NULL;
	EVP_PKEY *k = NULL;
	int rc = read_certificate(&new, ca, e);

	if (!rc)
		rc = read_certificate(&old, old_ca, e);
	if (!rc)
		rc = read_key(&k, old_key, e);
	if (!rc)
		x = begin(X509_get0_pubkey(new), now_ms, 1);
	if (x && X509_set1_notAfter(x, X509_get0_notAfter(new)) == 1 &&
	    X509_set_subject_name(x, X509_get_subject_name(new)) == 1 &&
	    X509_set_issuer_name(x, X509_get_subject_name(old)) == 1 && extend_ca(x, old) &&
	    X509_sign(x, k, EVP_sha256()) > 0)
		rc = put_certificate(pem, x, e);
	else if (!rc)
		rc = fail(e, ERR_LOCAL, "cannot sign a CA");
	X509_free(x);
	X509_free(old);
	X509_free(new);
	EVP_PKEY_free(k);
	return rc;
}

static int
issue(struct buf *pem, const struct pki_issue *i, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key,
      struct err *e)
{
	X509 *x = begin(key, i->now_ms, i->days);
	int rc;

	if (x && add_name(X509_get_subject_name(x), "CN", i->name) &&
	    (!i->organisation[0] || add_name(X509_get_subject_name(x), "O", i->organisation)) &&
	    X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 && extend_leaf(x, ca, i->use) &&
	    extend_name(x, ca, i->name) && X509_sign(x, ca_key, EVP_sha256()) > 0)
		rc = put_certificate(pem, x, e);
	else
		rc = fail(e, ERR_LOCAL, "cannot sign a certificate");
	X509_free(x);
	return rc;
}

int
pki_issue(struct buf *pem, const struct pki_issue *i, const void *der, size_t n, struct err *e)
{
	EVP_PKEY *ca_key = NULL;
	X509 *ca = NULL;
	X509_REQ *r;
	int rc = read_request(&r, der, n, e);

	if (!rc)
		rc = read_certificate(&ca, i->ca, e);
	if (!rc)
		rc = read_key(&ca_key, i->ca_key, e);
	if (!rc && X509_check_private_key(ca, ca_key) != 1)
		rc = fail(e, ERR_CORRUPT, "the CA's key is not its certificate's");
	if (!rc)
		rc = issue(pem, i, X509_REQ_get0_pubkey(r), ca, ca_key, e);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	X509_REQ_free(r);
	return rc;
}

/* --- reading --- */

static int
look_at(struct pki_certificate *out, X509 *x, struct err *e)
{
	memset(out, 0, sizeof(*out));
	common_name(X509_get_subject_name(x), out->name);
	out->from_ms = ms_of(X509_get0_notBefore(x));
	out->until_ms = ms_of(X509_get0_notAfter(x));
	out->own = X509_check_issued(x, x) == X509_V_OK;
	return print_of(X509_get_X509_PUBKEY(x), out->print, e);
}

int
pki_read(struct pki_certificate *out, const struct buf *pem, struct err *e)
{
	X509 *x;
	int rc = read_certificate(&x, pem, e);

	if (!rc)
		rc = look_at(out, x, e);
	X509_free(x);
	return rc;
}

int
pki_each(const struct buf *pem,
	 int (*fn)(void *arg, const struct pki_certificate *c, const struct buf *one,
		   struct err *e),
	 void *arg, struct err *e)
{
	BIO *b = bio_of(pem);
	int rc = 0;

	while (b && !rc) {
		struct pki_certificate c;
		struct buf one = BUF_INIT;
		X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

		if (!x)
			break;
		rc = put_certificate(&one, x, e);
		if (!rc)
			rc = look_at(&c, x, e);
		if (!rc)
			rc = fn(arg, &c, &one, e);
		buf_fini(&one);
		X509_free(x);
	}
	ERR_clear_error(); /* that there are no more */
	BIO_free(b);
	return rc;
}

bool
pki_half_over(const struct pki_certificate *c, int64_t now_ms)
{
	return now_ms < c->from_ms || now_ms > c->from_ms + (c->until_ms - c->from_ms) / 2;
}
