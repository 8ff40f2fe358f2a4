#include "common/base/seal.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/rng.h"

enum {
	LOG_N = 16, /* 64 MiB */
	LOG_N_MAX = 20,
	R = 8,
	P = 1,
	SALT = 16,
	NONCE = 12,
	TAG = 16,
	KEY = 32,
	SALT_AT = 8,
	NONCE_AT = SALT_AT + SALT,
	HEAD = NONCE_AT + NONCE
};

static const unsigned char magic[4] = {'S', 'L', 'K', '1'};

static bool
key_of(unsigned char key[KEY], const char *passphrase, const unsigned char *head)
{
	uint64_t n = UINT64_C(1) << head[4], r = head[5];

	return EVP_PBE_scrypt(passphrase, strlen(passphrase), head + SALT_AT, SALT, n, r, head[6],
			      n * r * 128 + (1 << 20), key, KEY) == 1;
}

static bool
encrypt(unsigned char *to, const unsigned char key[KEY], const unsigned char *head, const void *p,
	int n)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int part = 0, end = 0;
	bool good = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, head + NONCE_AT) &&
		    EVP_EncryptUpdate(c, NULL, &part, head, HEAD) &&
		    EVP_EncryptUpdate(c, to, &part, p, n) && part == n &&
		    EVP_EncryptFinal_ex(c, to + n, &end) && end == 0 &&
		    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, to + n);

	EVP_CIPHER_CTX_free(c);
	return good;
}

static bool
decrypt(unsigned char *to, const unsigned char key[KEY], const unsigned char *head,
	const unsigned char *p, int n)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	unsigned char tag[TAG];
	int part = 0, end = 0;
	bool good;

	memcpy(tag, p + n, TAG);
	good = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, head + NONCE_AT) &&
	       EVP_DecryptUpdate(c, NULL, &part, head, HEAD) &&
	       EVP_DecryptUpdate(c, to, &part, p, n) && part == n &&
	       EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) &&
	       EVP_DecryptFinal_ex(c, to + n, &end) == 1 && end == 0;
	EVP_CIPHER_CTX_free(c);
	return good;
}

int
seal_write(struct buf *pem, const char *label, const char *passphrase, const void *p, size_t n,
	   struct err *e)
{
	unsigned char key[KEY], *all;
	struct buf sealed = BUF_INIT;
	BIO *b = BIO_new(BIO_s_mem());
	char *text = NULL;
	long text_n = 0;

	all = n < INT_MAX / 2 ? buf_reserve(&sealed, HEAD + n + TAG) : NULL;
	if (all) {
		memset(all, 0, HEAD);
		memcpy(all, magic, sizeof(magic));
		all[4] = LOG_N;
		all[5] = R;
		all[6] = P;
		rng_fill(rng_real(), all + SALT_AT, SALT + NONCE);
	}
	if (all && b && key_of(key, passphrase, all) && encrypt(all + HEAD, key, all, p, (int)n) &&
	    PEM_write_bio(b, label, "", all, (long)(HEAD + n + TAG)) > 0)
		text_n = BIO_get_mem_data(b, &text);
	OPENSSL_cleanse(key, sizeof(key));
	if (text_n > 0)
		buf_put(pem, text, (size_t)text_n);
	ERR_clear_error();
	BIO_free(b);
	buf_fini(&sealed);
	return text_n <= 0 || buf_failed(pem) ? err_set(e, ERR_LOCAL, 0, "cannot seal a %s", label)
					      : 0;
}

/* The parameters are what somebody wrote: bounded before memory is taken for them. */
static bool
fit(const unsigned char *head, long n)
{
	return n >= HEAD + TAG && memcmp(head, magic, sizeof(magic)) == 0 && head[4] >= 10 &&
	       head[4] <= LOG_N_MAX && head[5] >= 1 && head[5] <= 16 && head[6] >= 1 &&
	       head[6] <= 16;
}

int
seal_open(struct buf *out, const char *label, const char *passphrase, const void *pem, size_t n,
	  struct err *e)
{
	BIO *b = n && n < INT_MAX ? BIO_new_mem_buf(pem, (int)n) : NULL;
	unsigned char key[KEY], *all = NULL, *to = NULL;
	char *name = NULL, *header = NULL;
	long all_n = 0;
	bool read, good = false;

	read = b && PEM_read_bio(b, &name, &header, &all, &all_n) == 1 &&
	       strcmp(name, label) == 0 && fit(all, all_n);
	if (read)
		to = buf_reserve(out, (size_t)all_n);
	if (to && key_of(key, passphrase, all))
		good = decrypt(to, key, all, all + HEAD, (int)(all_n - HEAD - TAG));
	if (good)
		out->len += (size_t)(all_n - HEAD - TAG);
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(all);
	ERR_clear_error();
	BIO_free(b);
	if (good)
		return 0;
	return err_set(e, ERR_CORRUPT, 0,
		       read ? "the passphrase is another one, or the %s is damaged"
			    : "this is no %s",
		       label);
}
