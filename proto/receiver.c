#include "proto/receiver.h"

#include <string.h>

enum receiver_append
receiver_append(const struct ledger_head *head, uint64_t first,
		const unsigned char before[SHA256_SIZE], uint64_t n, uint64_t *skip)
{
	*skip = 0;
	if (first == 0 || n > UINT64_MAX - first || first > head->seq + 1)
		return RECEIVER_CONFLICT;
	if (first == head->seq + 1)
		return memcmp(before, head->hash, SHA256_SIZE) == 0 ? RECEIVER_APPEND
								    : RECEIVER_CONFLICT;
	/* Said before, or an answer was lost: what is here must be the same, byte for byte. */
	*skip = head->seq + 1 - first;
	if (*skip >= n) {
		*skip = n;
		return RECEIVER_KNOWN;
	}
	return RECEIVER_COMPARE;
}

enum receiver_piece
receiver_piece(uint64_t durable, uint64_t size, uint64_t offset, uint64_t n, uint64_t *skip)
{
	*skip = 0;
	if (offset > durable || n > size || offset > size - n)
		return RECEIVER_MISPLACED;
	if (offset + n <= durable)
		return RECEIVER_HAVE;
	*skip = durable - offset;
	return RECEIVER_TAKE;
}
