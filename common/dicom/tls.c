#include "common/dicom/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/err.h"

enum { SOON_DAYS = 30, DAY = 86400 };

/* PS3.15 B.10, B.12: what BCP 195 recommends of TLS 1.2; all of TLS 1.3 is fit. */
static const char suites[] = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
			     "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
			     "DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256";

struct tls {
	atomic_uint refs;
	SSL_CTX *context;
	BIO_METHOD *socket; /* as OpenSSL's own, but without SIGPIPE and without waiting */
};

struct tls_session {
	struct tls *t;
	SSL *ssl;
	X509 *cert; /* the peer's, once hands are shaken */
	bool dead;
	short wants;
	struct tls_peer peer;
	char why[TLS_WHY];
};

/* --- the socket below --- */

static int
socket_write(BIO *b, const char *p, int n)
{
	int k = (int)send((int)(intptr_t)BIO_get_data(b), p, (size_t)n,
			  MSG_DONTWAIT | MSG_NOSIGNAL);

	BIO_clear_retry_flags(b);
	if (k < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(b);
	return k;
}

static int
socket_read(BIO *b, char *p, int n)
{
	int k = (int)recv((int)(intptr_t)BIO_get_data(b), p, (size_t)n, MSG_DONTWAIT);

	BIO_clear_retry_flags(b);
	if (k < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(b);
	return k;
}

static long
socket_control(BIO *b, int what, long n, void *p)
{
	(void)b;
	(void)n;
	(void)p;
	return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *
socket_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "dicom");

	if (m) {
		(void)BIO_meth_set_write(m, socket_write);
		(void)BIO_meth_set_read(m, socket_read);
		(void)BIO_meth_set_ctrl(m, socket_control);
	}
	return m;
}

/* --- text for people --- */

/* Words and lines of a log end where it says. */
static void
tame(char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~' || *s == '"')
			*s = '_';
}

static void
read_out(BIO *b, char *out, size_t size)
{
	int n = b ? BIO_read(b, out, (int)size - 1) : 0;

	out[n > 0 ? n : 0] = '\0';
	tame(out);
}

static void
tell_subject(const X509 *cert, char *out, size_t size)
{
	BIO *b = BIO_new(BIO_s_mem());

	if (b)
		(void)X509_NAME_print_ex(b, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253);
	read_out(b, out, size);
	BIO_free(b);
}

static void
tell_names(X509 *cert, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	BIO *b = BIO_new(BIO_s_mem());
	int i;

	for (i = 0; b && i < sk_GENERAL_NAME_num(names); i++) {
		if (i)
			(void)BIO_puts(b, ",");
		(void)GENERAL_NAME_print(b, sk_GENERAL_NAME_value(names, i));
	}
	read_out(b, out, size);
	BIO_free(b);
	GENERAL_NAMES_free(names);
}

static const char *
last_reason(void)
{
	const char *s = ERR_reason_error_string(ERR_peek_last_error());

	return s ? s : "no reason given";
}

/* --- files --- */

/* Without it OpenSSL asks at the terminal. */
static int
no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int
readable(const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(e, ERR_LOCAL, errno, "cannot read %.150s", path);
	(void)fclose(f);
	return 0;
}

static int
use_files(SSL_CTX *c, const char *cert, const char *key, const char *ca, struct err *e)
{
	STACK_OF(X509_NAME) * names;
	int rc = readable(cert, e);

	if (!rc)
		rc = readable(key, e);
	if (!rc)
		rc = readable(ca, e);
	ERR_clear_error();
	if (rc)
		return rc;
	if (SSL_CTX_use_certificate_chain_file(c, cert) != 1)
		return err_set(e, ERR_LOCAL, 0, "%.100s holds no certificate: %.60s", cert,
			       last_reason());
	if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1)
		return err_set(e, ERR_LOCAL, 0, "%.100s is not that certificate's key: %.60s", key,
			       last_reason());
	if (SSL_CTX_load_verify_locations(c, ca, NULL) != 1)
		return err_set(e, ERR_LOCAL, 0, "%.100s holds no certificate: %.60s", ca,
			       last_reason());
	names = SSL_load_client_CA_file(ca);
	if (names)
		SSL_CTX_set_client_CA_list(c, names); /* so that a peer knows which to show */
	return 0;
}

/* What is wrong with a peer's certificate, while its chain is at hand. */
static int
judge(int ok, X509_STORE_CTX *chain)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_session *x = SSL_get_app_data(ssl);
	const X509 *cert = X509_STORE_CTX_get_current_cert(chain);
	int error = X509_STORE_CTX_get_error(chain);
	char subject[60] = "";

	if (ok || x->why[0])
		return ok;
	if (cert)
		tell_subject(cert, subject, sizeof(subject));
	(void)snprintf(x->why, sizeof(x->why), "certificate %s: %.60s%s", subject,
		       X509_verify_cert_error_string(error),
		       error == X509_V_ERR_CERT_HAS_EXPIRED ||
				       error == X509_V_ERR_CERT_NOT_YET_VALID
			       ? " (by this node's clock)"
			       : "");
	return 0;
}

static int
set_up(SSL_CTX *c, struct err *e)
{
	SSL_CTX_set_default_passwd_cb(c, no_passphrase);
	SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, judge);
	(void)X509_STORE_set_flags(SSL_CTX_get_cert_store(c), X509_V_FLAG_PARTIAL_CHAIN);
	(void)SSL_CTX_set_options(
		c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
			   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_num_tickets(c, 0);
	(void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_security_level(c, 2); /* 112 bits: RSA and DH of 2,048 */
	(void)SSL_CTX_set_dh_auto(c, 1);
	if (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(c, suites) != 1)
		return err_set(e, ERR_LOCAL, 0, "OpenSSL: %.100s", last_reason());
	return 0;
}

int
tls_load(struct tls **out, const char *cert, const char *key, const char *ca, struct err *e)
{
	struct tls *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(e, ERR_LOCAL, 0, "no memory for TLS");
	atomic_store(&t->refs, 1);
	t->context = SSL_CTX_new(TLS_method());
	t->socket = socket_method();
	if (!t->context || !t->socket)
		rc = err_set(e, ERR_LOCAL, 0, "no memory for TLS");
	else
		rc = set_up(t->context, e);
	if (!rc)
		rc = use_files(t->context, cert, key, ca, e);
	if (rc)
		tls_unref(t);
	else
		*out = t;
	return rc;
}

struct tls *
tls_ref(struct tls *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void
tls_unref(struct tls *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	SSL_CTX_free(t->context);
	BIO_meth_free(t->socket);
	free(t);
}

const char *
tls_untimely(const struct tls *t)
{
	const X509 *cert = SSL_CTX_get0_certificate(t->context);
	int day, second;

	if (!ASN1_TIME_diff(&day, &second, NULL, X509_get0_notBefore(cert)))
		return "its time cannot be read";
	if (day > 0 || second > 0)
		return "it is not valid yet, by this node's clock";
	if (!ASN1_TIME_diff(&day, &second, NULL, X509_get0_notAfter(cert)))
		return "its time cannot be read";
	if (day < 0 || second < 0)
		return "it has expired, by this node's clock";
	return day < SOON_DAYS ? "it expires within 30 days" : "";
}

/* --- one connection --- */

int
tls_begin(struct tls_session **out, struct tls *t, int fd, bool server, struct err *e)
{
	struct tls_session *x = calloc(1, sizeof(*x));
	BIO *b;

	if (!x)
		return err_set(e, ERR_LOCAL, 0, "no memory for TLS");
	x->t = tls_ref(t);
	x->wants = POLLIN;
	x->ssl = SSL_new(t->context);
	b = x->ssl ? BIO_new(t->socket) : NULL;
	if (!b) {
		tls_end(x);
		return err_set(e, ERR_LOCAL, 0, "no memory for TLS");
	}
	BIO_set_data(b, (void *)(intptr_t)fd);
	BIO_set_init(b, 1);
	SSL_set_bio(x->ssl, b, b);
	(void)SSL_set_app_data(x->ssl, x);
	if (server)
		SSL_set_accept_state(x->ssl);
	else
		SSL_set_connect_state(x->ssl);
	*out = x;
	return 0;
}

void
tls_end(struct tls_session *x)
{
	if (!x)
		return;
	X509_free(x->cert);
	SSL_free(x->ssl);
	tls_unref(x->t);
	free(x);
}

/* What a call that brought k says: as of recv. */
static int
outcome(struct tls_session *x, int k, int sys)
{
	if (k > 0)
		return k;
	switch (SSL_get_error(x->ssl, k)) {
	case SSL_ERROR_WANT_READ:
		x->wants = POLLIN;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_WRITE:
		x->wants = POLLOUT;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		x->dead = true;
		errno = sys ? sys : ECONNRESET;
		return -1;
	default:
		x->dead = true;
		if (!x->why[0])
			(void)snprintf(x->why, sizeof(x->why), "%.100s", last_reason());
		errno = EPROTO;
		return -1;
	}
}

/* Is it of no use to ask OpenSSL? It must not be asked again after a fault. */
static bool
over(const struct tls_session *x)
{
	ERR_clear_error();
	errno = x->dead ? EPROTO : 0;
	return x->dead;
}

int
tls_shake(struct tls_session *x)
{
	int k;

	if (over(x))
		return -1;
	k = SSL_do_handshake(x->ssl);
	k = outcome(x, k, errno);
	if (k == 0) {
		errno = ECONNRESET;
		return -1;
	}
	if (k < 0)
		return -1;
	x->cert = SSL_get1_peer_certificate(x->ssl);
	if (!x->cert)
		return -1;
	(void)snprintf(x->peer.version, sizeof(x->peer.version), "%s", SSL_get_version(x->ssl));
	tell_subject(x->cert, x->peer.subject, sizeof(x->peer.subject));
	tell_names(x->cert, x->peer.names, sizeof(x->peer.names));
	return 1;
}

ssize_t
tls_read(struct tls_session *x, void *p, size_t n)
{
	int k;

	if (over(x))
		return -1;
	k = SSL_read(x->ssl, p, n < INT_MAX ? (int)n : INT_MAX);
	return outcome(x, k, errno);
}

ssize_t
tls_write(struct tls_session *x, const void *p, size_t n)
{
	int k;

	if (n == 0)
		return 0;
	if (over(x))
		return -1;
	k = SSL_write(x->ssl, p, n < INT_MAX ? (int)n : INT_MAX);
	k = outcome(x, k, errno);
	if (k == 0) {
		errno = EPIPE;
		return -1;
	}
	return k;
}

bool
tls_readable(struct tls_session *x)
{
	char one;
	int k;

	if (over(x))
		return true;
	k = SSL_peek(x->ssl, &one, 1);
	return outcome(x, k, errno) >= 0 || errno != EAGAIN;
}

short
tls_wants(const struct tls_session *x)
{
	return x->wants;
}

void
tls_refuse(struct tls_session *x)
{
	x->dead = true;
}

void
tls_bye(struct tls_session *x)
{
	if (!over(x) && SSL_is_init_finished(x->ssl))
		(void)SSL_shutdown(x->ssl);
}

const char *
tls_why(const struct tls_session *x)
{
	return x->why;
}

const struct tls_peer *
tls_who(const struct tls_session *x)
{
	return &x->peer;
}

static bool
is_common_name(const X509 *cert, const char *name)
{
	char common[TLS_TEXT];
	int n = X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, common,
					  sizeof(common));

	return n > 0 && (size_t)n == strlen(name) && strcmp(common, name) == 0;
}

bool
tls_bears(const struct tls_session *x, const char *name)
{
	const unsigned flags =
		X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;

	if (X509_check_ip_asc(x->cert, name, 0) == 1 ||
	    X509_check_host(x->cert, name, 0, flags, NULL) == 1)
		return true;
	return x->peer.names[0] == '\0' && is_common_name(x->cert, name);
}
