#include "proto/bucket.h"

enum { MILLI = 1000, BURST_MS = 1000, DEBT_MS = 10000 };

#define BYTES_MAX (UINT64_C(1) << 42) /* at once; so that nothing overflows */

static int64_t
worth(const struct bucket *b, int64_t ms)
{
	return (int64_t)b->rate * ms;
}

static int64_t
thousandths(uint64_t bytes)
{
	return (int64_t)(bytes < BYTES_MAX ? bytes : BYTES_MAX) * MILLI;
}

static void
fill(struct bucket *b, int64_t now_ms)
{
	int64_t most = worth(b, BURST_MS), ms = now_ms - b->at_ms;

	b->at_ms = now_ms;
	if (ms <= 0 || !b->rate || b->level >= most)
		return;
	if (ms > (most - b->level) / (int64_t)b->rate)
		b->level = most;
	else
		b->level += worth(b, ms);
}

void
bucket_limit(struct bucket *b, int64_t now_ms, bool limited, uint64_t rate)
{
	if (!b->limited) { /* what went before is forgotten */
		b->level = 0;
		b->at_ms = now_ms;
	} else {
		fill(b, now_ms);
	}
	if (b->limited && limited && rate == b->rate)
		return;
	b->limited = limited;
	b->rate = limited ? rate : 0;
	if (b->level > worth(b, BURST_MS))
		b->level = worth(b, BURST_MS);
	if (b->level < -worth(b, DEBT_MS)) /* it was little at the rate before */
		b->level = -worth(b, DEBT_MS);
}

bool
bucket_open(const struct bucket *b)
{
	return !b->limited || (b->rate && b->level >= 0);
}

int64_t
bucket_when(const struct bucket *b)
{
	if (bucket_open(b))
		return b->at_ms;
	return b->rate ? b->at_ms + (-b->level + (int64_t)b->rate - 1) / (int64_t)b->rate
		       : INT64_MAX;
}

void
bucket_take(struct bucket *b, uint64_t bytes)
{
	if (b->limited)
		b->level -= thousandths(bytes);
}

void
bucket_take_exempt(struct bucket *b, uint64_t bytes)
{
	int64_t least = -worth(b, DEBT_MS), level = b->level;

	bucket_take(b, bytes);
	if (b->level < least)
		b->level = level < least ? level : least;
}

void
bucket_give_back(struct bucket *b, uint64_t bytes)
{
	if (b->limited)
		b->level += thousandths(bytes);
}
