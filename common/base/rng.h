/*
 * rng.h - the only source of randomness: the kernel's, or a seed's in tests.
 *
 * Threads: rng_real is shared freely; a seeded one has one owner.
 */
#ifndef SALAMANDER_COMMON_BASE_RNG_H
#define SALAMANDER_COMMON_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
	void (*fill)(struct rng *r, void *p, size_t n);
};

struct rng_seeded {
	struct rng r; /* first */
	uint64_t state;
};

struct rng *rng_real(void); /* getrandom(2); aborts if the kernel has none */
/* The simulator: what rng_real gives from now on; NULL: the kernel's. Before threads start. */
void rng_use(struct rng *r);
void rng_seeded_init(struct rng_seeded *s, uint64_t seed);
void rng_fill(struct rng *r, void *p, size_t n);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 .. n-1; n > 0 */

/* 128-bit ids: incarnation, epoch, archive id. Shown as 32 hex digits. */
enum { ID128_SIZE = 16, ID128_HEX = 33 };
struct id128 {
	unsigned char b[ID128_SIZE];
};
void id128_make(struct rng *r, struct id128 *out);

#endif
