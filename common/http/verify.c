#include "common/http/verify.h"

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/digest.h"

enum { NAME_SIZE = 80 };

static bool
has_key(X509 *cert, const unsigned char *pin)
{
	unsigned char hash[SHA256_SIZE], *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	if (n <= 0)
		return false;
	sha256_of(der, (size_t)n, hash);
	OPENSSL_free(der);
	return memcmp(hash, pin, sizeof(hash)) == 0;
}

/* Only what the pin names is believed, and it must have been sent: a chain that ends there. */
static bool
pinned(X509_STORE_CTX *ctx, const unsigned char *pin)
{
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx), *anchors = sk_X509_new_null();
	bool ok = false;
	int i;

	for (i = 1; anchors && i < sk_X509_num(sent); i++)
		if (has_key(sk_X509_value(sent, i), pin))
			(void)sk_X509_push(anchors, sk_X509_value(sent, i));
	if (anchors && sk_X509_num(anchors) > 0) {
		X509_STORE_CTX_set0_trusted_stack(ctx, anchors);
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_PARTIAL_CHAIN);
		ok = X509_verify_cert(ctx) > 0;
		X509_STORE_CTX_set0_trusted_stack(ctx, NULL);
	}
	sk_X509_free(anchors); /* the certificates are borrowed */
	return ok;
}

static bool
named(X509_STORE_CTX *ctx, const struct verify *v)
{
	char name[NAME_SIZE] = "", want[NAME_SIZE];

	if (!v->archive[0] && !v->pin)
		return true;
	(void)X509_NAME_get_text_by_NID(X509_get_subject_name(X509_STORE_CTX_get0_cert(ctx)),
					NID_commonName, name, sizeof(name));
	(void)snprintf(want, sizeof(want), "central.%s", v->archive);
	return v->archive[0] ? strcmp(name, want) == 0 : strncmp(name, want, strlen(want)) == 0;
}

static int
judge(X509_STORE_CTX *ctx, void *arg)
{
	struct verify *v = arg;

	v->why = NULL;
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
	if ((v->pin ? pinned(ctx, v->pin) : X509_verify_cert(ctx) > 0) && named(ctx, v))
		return 1;
	if (v->pin)
		v->why = "it is not the central of this code";
	else if (v->archive[0])
		v->why = "it is not the central of this archive";
	if (X509_STORE_CTX_get_error(ctx) == X509_V_OK)
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

void
verify_by(void *ssl_ctx, struct verify *v)
{
	SSL_CTX_set_cert_verify_callback(ssl_ctx, judge, v);
}
