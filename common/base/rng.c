#include "common/base/rng.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void
real_fill(struct rng *r, void *p, size_t n)
{
	unsigned char *c = p;

	(void)r;
	while (n > 0) {
		ssize_t got = getrandom(c, n < 256 ? n : 256, 0);

		if (got <= 0)
			abort(); /* an id that repeats would lose images: no id at all is better */
		c += got;
		n -= (size_t)got;
	}
}

static struct rng *in_its_place; /* set before threads start */

struct rng *
rng_real(void)
{
	static struct rng real = {real_fill};

	return in_its_place ? in_its_place : &real;
}

void
rng_use(struct rng *r)
{
	in_its_place = r;
}

/* splitmix64: small, good enough for tests, the same on every machine. */
static uint64_t
seeded_next(struct rng_seeded *s)
{
	uint64_t z = (s->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void
seeded_fill(struct rng *r, void *p, size_t n)
{
	struct rng_seeded *s = (struct rng_seeded *)(void *)r;
	unsigned char *c = p;

	while (n > 0) {
		uint64_t v = seeded_next(s);
		size_t part = n < sizeof(v) ? n : sizeof(v);

		memcpy(c, &v, part);
		c += part;
		n -= part;
	}
}

void
rng_seeded_init(struct rng_seeded *s, uint64_t seed)
{
	s->r.fill = seeded_fill;
	s->state = seed;
}

void
rng_fill(struct rng *r, void *p, size_t n)
{
	r->fill(r, p, n);
}

uint64_t
rng_u64(struct rng *r)
{
	uint64_t v;

	r->fill(r, &v, sizeof(v));
	return v;
}

uint64_t
rng_below(struct rng *r, uint64_t n)
{
	uint64_t limit = UINT64_MAX - UINT64_MAX % n, v;

	do {
		v = rng_u64(r);
	} while (v >= limit);
	return v % n;
}

void
id128_make(struct rng *r, struct id128 *out)
{
	r->fill(r, out->b, sizeof(out->b));
}
