/*
 * digest.h - SHA-256 (OpenSSL EVP) and XXH3-128 (xxHash), streamed.
 *
 * SHA-256 names bytes for ever (R2: digest); XXH3-128 only compares within
 * one UID (R2: content, pixels). Threads: one owner each.
 */
#ifndef SALAMANDER_COMMON_BASE_DIGEST_H
#define SALAMANDER_COMMON_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, XXH128_SIZE = 16 };

struct err;
struct sha256; /* opaque */
struct xxh128; /* opaque */

int sha256_new(struct sha256 **out, struct err *e);
void sha256_free(struct sha256 *s); /* NULL is fine */
void sha256_add(struct sha256 *s, const void *p, size_t n);
/* Writes the digest of all added so far and starts anew. */
void sha256_end(struct sha256 *s, unsigned char out[SHA256_SIZE]);
/* A second state that goes on from here. */
int sha256_copy(struct sha256 **out, const struct sha256 *s, struct err *e);
void sha256_of(const void *p, size_t n, unsigned char out[SHA256_SIZE]);

int xxh128_new(struct xxh128 **out, struct err *e);
void xxh128_free(struct xxh128 *x);
void xxh128_add(struct xxh128 *x, const void *p, size_t n);
/* *to becomes what *from is. */
void xxh128_copy(struct xxh128 *to, const struct xxh128 *from);
void xxh128_end(struct xxh128 *x, unsigned char out[XXH128_SIZE]); /* canonical (big endian) form */

uint64_t xxh64_of(const void *p, size_t n); /* XXH3-64: chunk checksums (R13) */

/* Lower-case hex; out holds 2 * n + 1. */
void hex_of(const void *p, size_t n, char *out);
/* false unless s is exactly 2 * n hex digits. */
bool hex_to(const char *s, void *out, size_t n);

#endif
