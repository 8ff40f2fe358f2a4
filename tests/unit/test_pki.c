/* Keys, certificates, join codes and the seal of the recovery kit. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/seal.h"
#include "common/http/pki.h"
#include "proto/join_code.h"

#define DAY_MS INT64_C(86400000)
#define NOW INT64_C(1790000000000)

struct ca {
	struct buf key, pem;
};

static void
make_ca(struct ca *c, int64_t now)
{
	memset(c, 0, sizeof(*c));
	assert_int_equal(pki_key_make(&c->key, NULL), 0);
	assert_int_equal(pki_ca_make(&c->pem, &c->key, "salamander x", now, 10957, NULL), 0);
}

static void
drop_ca(struct ca *c)
{
	buf_fini(&c->key);
	buf_fini(&c->pem);
}

/* A leaf of a fresh key; *print: the key's. */
static void
make_leaf(struct buf *pem, const struct ca *ca, enum pki_use use, int64_t now,
	  unsigned char print[PKI_PRINT])
{
	struct pki_issue i = {&ca->pem, &ca->key, "north", "x", use, now, 730};
	struct buf key = BUF_INIT, der = BUF_INIT;

	assert_int_equal(pki_key_make(&key, NULL), 0);
	assert_int_equal(pki_key_print(&key, print, NULL), 0);
	assert_int_equal(pki_request_make(&der, &key, "whatever", NULL), 0);
	assert_int_equal(pki_issue(pem, &i, der.data, der.len, NULL), 0);
	buf_fini(&key);
	buf_fini(&der);
}

static X509 *
x509_of(const struct buf *pem)
{
	BIO *b = BIO_new_mem_buf(pem->data, (int)pem->len);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

	BIO_free(b);
	assert_non_null(x);
	return x;
}

/* As a client does: root is all that it trusts, `sent` comes along with the leaf. */
static bool
trusted(const struct buf *leaf, const struct buf *root, const struct buf *const *sent, size_t n,
	int purpose, int64_t at_ms)
{
	STACK_OF(X509) *extra = sk_X509_new_null();
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *x = x509_of(leaf), *r = x509_of(root);
	bool good;
	size_t i;

	for (i = 0; i < n; i++)
		assert_true(sk_X509_push(extra, x509_of(sent[i])) > 0);
	assert_int_equal(X509_STORE_add_cert(store, r), 1);
	assert_int_equal(X509_STORE_CTX_init(ctx, store, x, extra), 1);
	assert_int_equal(X509_STORE_CTX_set_purpose(ctx, purpose), 1);
	if (at_ms)
		X509_STORE_CTX_set_time(ctx, 0, (time_t)(at_ms / 1000));
	else
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
	good = X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	sk_X509_pop_free(extra, X509_free);
	X509_free(x);
	X509_free(r);
	return good;
}

static void
pki_issue__R24_a_leaf_is_for_its_use_and_of_its_ca_only(void **state)
{
	unsigned char print[PKI_PRINT];
	struct buf client = BUF_INIT, server = BUF_INIT;
	struct ca ca, other;

	(void)state;
	make_ca(&ca, NOW);
	make_ca(&other, NOW);
	make_leaf(&client, &ca, PKI_CLIENT, NOW, print);
	make_leaf(&server, &ca, PKI_SERVER, NOW, print);
	assert_true(trusted(&client, &ca.pem, NULL, 0, X509_PURPOSE_SSL_CLIENT, NOW));
	assert_false(trusted(&client, &ca.pem, NULL, 0, X509_PURPOSE_SSL_SERVER, NOW));
	assert_true(trusted(&server, &ca.pem, NULL, 0, X509_PURPOSE_SSL_SERVER, NOW));
	assert_false(trusted(&server, &ca.pem, NULL, 0, X509_PURPOSE_SSL_CLIENT, NOW));
	buf_clear(&server);
	make_leaf(&server, &ca, PKI_BOTH, NOW, print);
	assert_true(trusted(&server, &ca.pem, NULL, 0, X509_PURPOSE_SSL_SERVER, NOW));
	assert_true(trusted(&server, &ca.pem, NULL, 0, X509_PURPOSE_SSL_CLIENT, NOW));
	assert_false(trusted(&client, &other.pem, NULL, 0, X509_PURPOSE_SSL_CLIENT, NOW));
	assert_false(
		trusted(&client, &ca.pem, NULL, 0, X509_PURPOSE_SSL_CLIENT, NOW + 731 * DAY_MS));
	assert_true(trusted(&client, &ca.pem, NULL, 0, X509_PURPOSE_SSL_CLIENT, NOW - DAY_MS / 2));
	drop_ca(&ca);
	drop_ca(&other);
	buf_fini(&client);
	buf_fini(&server);
}

/* Who checks names does not look at the common name any more. */
static void
pki_issue__R24_a_leaf_says_its_name_to_others_too(void **state)
{
	const unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
	unsigned char print[PKI_PRINT];
	struct buf leaf = BUF_INIT;
	struct ca ca;
	X509 *x;
	BIO *b;

	(void)state;
	make_ca(&ca, NOW);
	make_leaf(&leaf, &ca, PKI_BOTH, NOW, print);
	b = BIO_new_mem_buf(leaf.data, (int)leaf.len);
	x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	assert_non_null(x);
	assert_int_equal(X509_check_host(x, "north", 0, flags, NULL), 1);
	assert_int_equal(X509_check_host(x, "south", 0, flags, NULL), 0);
	X509_free(x);
	(void)BIO_free(b);
	drop_ca(&ca);
	buf_fini(&leaf);
}

static void
pki_read__R25_says_name_print_and_life_at_any_clock(void **state)
{
	/* 1970, now, the year in which UTCTime ends, 2100 */
	static const int64_t clocks[] = {0, NOW, 2524608000000, 4102444800000};
	unsigned char print[PKI_PRINT];
	struct pki_certificate c;
	struct buf leaf = BUF_INIT;
	struct ca ca;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		int64_t now = clocks[i];

		make_ca(&ca, now);
		buf_clear(&leaf);
		make_leaf(&leaf, &ca, PKI_CLIENT, now, print);
		assert_int_equal(pki_read(&c, &leaf, NULL), 0);
		assert_string_equal(c.name, "north");
		assert_memory_equal(c.print, print, PKI_PRINT);
		assert_false(c.own);
		assert_int_equal(c.from_ms, now - DAY_MS);
		assert_int_equal(c.until_ms, now + 730 * DAY_MS);
		assert_false(pki_half_over(&c, now));
		assert_false(pki_half_over(&c, now + 364 * DAY_MS));
		assert_true(pki_half_over(&c, now + 366 * DAY_MS));
		assert_true(pki_half_over(&c, now + 3650 * DAY_MS));
		assert_true(pki_half_over(&c, now - 2 * DAY_MS)); /* a clock far behind */
		assert_int_equal(pki_read(&c, &ca.pem, NULL), 0);
		assert_true(c.own);
		assert_string_equal(c.name, "salamander x");
		drop_ca(&ca);
	}
	buf_fini(&leaf);
}

/* The server asks GnuTLS which key it was. */
static void
pki_key_print__R24_is_what_gnutls_says(void **state)
{
	unsigned char print[PKI_PRINT], theirs[PKI_PRINT];
	size_t n = sizeof(theirs);
	struct buf leaf = BUF_INIT;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;
	struct ca ca;

	(void)state;
	make_ca(&ca, NOW);
	make_leaf(&leaf, &ca, PKI_CLIENT, NOW, print);
	pem.data = leaf.data;
	pem.size = (unsigned)leaf.len;
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, theirs, &n), 0);
	assert_int_equal(n, PKI_PRINT);
	assert_memory_equal(theirs, print, PKI_PRINT);
	gnutls_x509_crt_deinit(crt);
	buf_fini(&leaf);
	drop_ca(&ca);
}

/* Who was cut off since the first of three CAs still finds its way to the third, and the
 * other way round every CA is in the bundle. */
static void
pki_cross_sign__R25_leads_from_an_old_ca_to_each_later_one(void **state)
{
	struct buf two_by_one = BUF_INIT, three_by_two = BUF_INIT, leaf = BUF_INIT;
	unsigned char print[PKI_PRINT];
	struct pki_certificate c;
	struct ca one, two, three, foreign;

	(void)state;
	make_ca(&one, NOW);
	make_ca(&two, NOW + DAY_MS);
	make_ca(&three, NOW + 2 * DAY_MS);
	make_ca(&foreign, NOW);
	assert_int_equal(
		pki_cross_sign(&two_by_one, &two.pem, &one.pem, &one.key, NOW + DAY_MS, NULL), 0);
	assert_int_equal(
		pki_cross_sign(&three_by_two, &three.pem, &two.pem, &two.key, NOW + DAY_MS, NULL),
		0);
	assert_int_equal(pki_read(&c, &two_by_one, NULL), 0);
	assert_false(c.own);
	make_leaf(&leaf, &three, PKI_SERVER, NOW, print);
	{
		const struct buf *sent[] = {&three_by_two, &two_by_one, &three.pem, &two.pem,
					    &one.pem};

		assert_true(trusted(&leaf, &one.pem, sent, 5, X509_PURPOSE_SSL_SERVER, 0));
		assert_true(trusted(&leaf, &two.pem, sent, 5, X509_PURPOSE_SSL_SERVER, 0));
		assert_true(trusted(&leaf, &three.pem, sent, 5, X509_PURPOSE_SSL_SERVER, 0));
		assert_false(trusted(&leaf, &foreign.pem, sent, 5, X509_PURPOSE_SSL_SERVER, 0));
	}
	buf_fini(&two_by_one);
	buf_fini(&three_by_two);
	buf_fini(&leaf);
	drop_ca(&one);
	drop_ca(&two);
	drop_ca(&three);
	drop_ca(&foreign);
}

static void
pki_request_read__R26_takes_a_request_that_its_key_signed(void **state)
{
	unsigned char print[PKI_PRINT], said[PKI_PRINT];
	char name[PKI_NAME_SIZE];
	struct buf key = BUF_INIT, der = BUF_INIT;
	size_t i, taken = 0;

	(void)state;
	assert_int_equal(pki_key_make(&key, NULL), 0);
	assert_int_equal(pki_key_print(&key, print, NULL), 0);
	assert_int_equal(pki_request_make(&der, &key, "north", NULL), 0);
	assert_int_equal(pki_request_read(der.data, der.len, name, said, NULL), 0);
	assert_string_equal(name, "north");
	assert_memory_equal(said, print, PKI_PRINT);
	assert_int_equal(pki_request_read(der.data, der.len - 1, name, said, NULL), ERR_PEER);
	assert_int_equal(pki_request_read("", 0, name, said, NULL), ERR_PEER);
	for (i = 0; i < der.len; i++) { /* any bit: another name or key was signed */
		der.data[i] ^= 1;
		taken += pki_request_read(der.data, der.len, name, said, NULL) == 0;
		der.data[i] ^= 1;
	}
	assert_int_equal(taken, 0);
	buf_fini(&key);
	buf_fini(&der);
}

static int
count_one(void *arg, const struct pki_certificate *c, const struct buf *one, struct err *e)
{
	struct buf *again = arg;

	(void)e;
	assert_true(c->own);
	buf_put(again, one->data, one->len);
	return 0;
}

static void
pki_each__gives_every_certificate_of_a_bundle(void **state)
{
	struct buf both = BUF_INIT, again = BUF_INIT;
	struct ca one, two;

	(void)state;
	make_ca(&one, NOW);
	make_ca(&two, NOW);
	buf_put(&both, one.pem.data, one.pem.len);
	buf_put(&both, two.pem.data, two.pem.len);
	assert_int_equal(pki_each(&both, count_one, &again, NULL), 0);
	assert_int_equal(again.len, both.len);
	assert_memory_equal(again.data, both.data, both.len);
	buf_fini(&both);
	buf_fini(&again);
	drop_ca(&one);
	drop_ca(&two);
}

static void
seal_open__R25_gives_back_what_the_passphrase_closed(void **state)
{
	struct buf pem = BUF_INIT, out = BUF_INIT;
	char *middle;

	(void)state;
	assert_int_equal(seal_write(&pem, "TEST KIT", "open sesame", "secret", 6, NULL), 0);
	assert_int_equal(seal_open(&out, "TEST KIT", "open sesame", pem.data, pem.len, NULL), 0);
	assert_int_equal(out.len, 6);
	assert_memory_equal(out.data, "secret", 6);
	assert_int_equal(seal_open(&out, "TEST KIT", "open Sesame", pem.data, pem.len, NULL),
			 ERR_CORRUPT);
	assert_int_equal(seal_open(&out, "OTHER KIT", "open sesame", pem.data, pem.len, NULL),
			 ERR_CORRUPT);
	middle = strchr((char *)pem.data, '\n') + 40;
	*middle = *middle == 'A' ? 'B' : 'A';
	assert_int_equal(seal_open(&out, "TEST KIT", "open sesame", pem.data, pem.len, NULL),
			 ERR_CORRUPT);
	assert_int_equal(out.len, 6);
	buf_fini(&pem);
	buf_fini(&out);
}

static void
join_code__R26_is_read_as_it_was_written(void **state)
{
	char text[JOIN_CODE_SIZE], loose[2 * JOIN_CODE_SIZE];
	struct join_code c, back;
	size_t i, n = 0;

	(void)state;
	for (i = 0; i < sizeof(c.secret); i++)
		c.secret[i] = (unsigned char)(i * 37 + 1);
	for (i = 0; i < sizeof(c.print); i++)
		c.print[i] = (unsigned char)(255 - i);
	join_code_write(&c, text);
	assert_string_equal(text, "aetew4ev-xlpqikko-ooml3yqh-ft7757p4-7p5pt6hx-6327j47s-6hyo73xn-"
				  "5tv6v2pi-47tolzhd-4lq6a");
	for (i = 0; text[i]; i++) { /* typed by a person */
		loose[n++] = (char)(text[i] >= 'a' ? text[i] - 32 : text[i]);
		if (i % 5 == 0)
			loose[n++] = ' ';
	}
	loose[n] = '\0';
	assert_true(join_code_read(&back, loose));
	assert_memory_equal(&back, &c, sizeof(c));
	loose[n++] = 'a';
	loose[n] = '\0';
	assert_false(join_code_read(&back, loose));
	text[strlen(text) - 1] = '\0';
	assert_false(join_code_read(&back, text));
	assert_false(join_code_read(&back, ""));
	assert_false(join_code_read(&back, "0"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pki_issue__R24_a_leaf_is_for_its_use_and_of_its_ca_only),
		cmocka_unit_test(pki_issue__R24_a_leaf_says_its_name_to_others_too),
		cmocka_unit_test(pki_read__R25_says_name_print_and_life_at_any_clock),
		cmocka_unit_test(pki_key_print__R24_is_what_gnutls_says),
		cmocka_unit_test(pki_cross_sign__R25_leads_from_an_old_ca_to_each_later_one),
		cmocka_unit_test(pki_request_read__R26_takes_a_request_that_its_key_signed),
		cmocka_unit_test(pki_each__gives_every_certificate_of_a_bundle),
		cmocka_unit_test(seal_open__R25_gives_back_what_the_passphrase_closed),
		cmocka_unit_test(join_code__R26_is_read_as_it_was_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
