/*
 * backoff.h - when a peer that was called in vain is called again: after 10 s x n^2, at most 1 h.
 *
 * Of up to BACKOFF_PEERS it is known that all that goes to them waits; of more, the first is
 * forgotten and called once too often.
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_DIMSE_BACKOFF_H
#define SALAMANDER_COMMON_DIMSE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "common/dimse/commitments.h"

enum { BACKOFF_PEERS = 64 };

struct backoff {
	struct {
		char peer[COMMITMENT_PEER_SIZE];
		int64_t until_ms;
	} all[BACKOFF_PEERS];
	unsigned next;
};

/* After so many tries before this one. */
int64_t backoff_ms(uint32_t tries);
bool backoff_waits(const struct backoff *b, const char *peer, int64_t now_ms);
void backoff_begin(struct backoff *b, const char *peer, int64_t until_ms);

#endif
