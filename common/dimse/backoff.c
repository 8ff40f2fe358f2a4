#include "common/dimse/backoff.h"

#include <stdio.h>
#include <string.h>

enum { RETRY_MS = 10000, RETRY_MAX_MS = 3600000, TRIES = 60 };

int64_t
backoff_ms(uint32_t tries)
{
	int64_t n = tries < TRIES ? (int64_t)tries + 1 : TRIES;

	return RETRY_MS * n * n < RETRY_MAX_MS ? RETRY_MS * n * n : RETRY_MAX_MS;
}

/* BACKOFF_PEERS: none. */
static unsigned
place_of(const struct backoff *b, const char *peer)
{
	unsigned i = 0;

	while (i < BACKOFF_PEERS && strcmp(b->all[i].peer, peer) != 0)
		i++;
	return i;
}

bool
backoff_waits(const struct backoff *b, const char *peer, int64_t now_ms)
{
	unsigned i = place_of(b, peer);

	return i < BACKOFF_PEERS && b->all[i].until_ms > now_ms;
}

void
backoff_begin(struct backoff *b, const char *peer, int64_t until_ms)
{
	unsigned i = place_of(b, peer);

	if (i == BACKOFF_PEERS) {
		i = b->next++ % BACKOFF_PEERS;
		(void)snprintf(b->all[i].peer, sizeof(b->all[i].peer), "%s", peer);
	}
	b->all[i].until_ms = until_ms;
}
