/*
 * bucket.h - a token bucket: so many bytes a second, over any time, and no more.
 *
 * It fills at its rate, up to a second's worth. While it is not below empty it is open, and what
 * is taken may be more than is in it: the next one waits until that has come in. So a piece
 * larger than a second's worth passes, and the average holds. What is exempt never waits, but is
 * taken out as well, so that the others make room for it: down to a debt of ten seconds.
 *
 * Pure: times are monotonic, and given. Threads: one owner.
 */
#ifndef SALAMANDER_PROTO_BUCKET_H
#define SALAMANDER_PROTO_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: no limit. */
struct bucket {
	bool limited;
	uint64_t rate; /* bytes per second; 0: closed, but for what is exempt */
	int64_t level; /* thousandths of a byte */
	int64_t at_ms; /* of the level          */
};

/* From now on; to be said as often as one likes. */
void bucket_limit(struct bucket *b, int64_t now_ms, bool limited, uint64_t rate);
bool bucket_open(const struct bucket *b);
/* When it opens at this rate; INT64_MAX: never. */
int64_t bucket_when(const struct bucket *b);
void bucket_take(struct bucket *b, uint64_t bytes);
void bucket_take_exempt(struct bucket *b, uint64_t bytes);
/* What was taken was not all used. */
void bucket_give_back(struct bucket *b, uint64_t bytes);

#endif
