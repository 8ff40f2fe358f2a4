#include "common/base/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#ifdef __x86_64__
#include <xxh_x86dispatch.h> /* the widest vectors that this processor has */
#endif

#include "common/base/err.h"

struct sha256 {
	EVP_MD_CTX *ctx;
};

struct xxh128 {
	XXH3_state_t *state;
};

/* The few EVP calls cannot fail for a state that exists, but if one did the digest would lie. */
static void
must(int ok)
{
	if (!ok)
		abort();
}

int
sha256_new(struct sha256 **out, struct err *e)
{
	struct sha256 *s = calloc(1, sizeof(*s));

	if (s)
		s->ctx = EVP_MD_CTX_new();
	if (!s || !s->ctx || !EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL)) {
		sha256_free(s);
		return err_set(e, ERR_LOCAL, 0, "no SHA-256 state");
	}
	*out = s;
	return 0;
}

void
sha256_free(struct sha256 *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->ctx);
	free(s);
}

void
sha256_add(struct sha256 *s, const void *p, size_t n)
{
	must(EVP_DigestUpdate(s->ctx, p, n));
}

void
sha256_end(struct sha256 *s, unsigned char out[SHA256_SIZE])
{
	must(EVP_DigestFinal_ex(s->ctx, out, NULL));
	must(EVP_DigestInit_ex(s->ctx, NULL, NULL));
}

int
sha256_copy(struct sha256 **out, const struct sha256 *s, struct err *e)
{
	struct sha256 *copy;
	int rc = sha256_new(&copy, e);

	if (rc)
		return rc;
	if (!EVP_MD_CTX_copy_ex(copy->ctx, s->ctx)) {
		sha256_free(copy);
		return err_set(e, ERR_LOCAL, 0, "cannot copy a SHA-256 state");
	}
	*out = copy;
	return 0;
}

void
sha256_of(const void *p, size_t n, unsigned char out[SHA256_SIZE])
{
	must(EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL));
}

int
xxh128_new(struct xxh128 **out, struct err *e)
{
	struct xxh128 *x = calloc(1, sizeof(*x));

	if (x)
		x->state = XXH3_createState();
	if (!x || !x->state) {
		xxh128_free(x);
		return err_set(e, ERR_LOCAL, 0, "no XXH3 state");
	}
	must(XXH3_128bits_reset(x->state) == XXH_OK);
	*out = x;
	return 0;
}

void
xxh128_free(struct xxh128 *x)
{
	if (!x)
		return;
	(void)XXH3_freeState(x->state);
	free(x);
}

void
xxh128_add(struct xxh128 *x, const void *p, size_t n)
{
	must(XXH3_128bits_update(x->state, p, n) == XXH_OK);
}

void
xxh128_copy(struct xxh128 *to, const struct xxh128 *from)
{
	XXH3_copyState(to->state, from->state);
}

void
xxh128_end(struct xxh128 *x, unsigned char out[XXH128_SIZE])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, XXH3_128bits_digest(x->state));
	memcpy(out, c.digest, XXH128_SIZE);
	must(XXH3_128bits_reset(x->state) == XXH_OK);
}

uint64_t
xxh64_of(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}

void
hex_of(const void *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *c = p;
	size_t i;

	for (i = 0; i < n; i++) {
		out[2 * i] = digits[c[i] >> 4];
		out[2 * i + 1] = digits[c[i] & 15];
	}
	out[2 * n] = '\0';
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
hex_to(const char *s, void *out, size_t n)
{
	unsigned char *c = out;
	size_t i;

	if (strlen(s) != 2 * n)
		return false;
	for (i = 0; i < n; i++) {
		int hi = hex_digit(s[2 * i]), lo = hex_digit(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		c[i] = (unsigned char)(hi << 4 | lo);
	}
	return true;
}
