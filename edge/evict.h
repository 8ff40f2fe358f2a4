/*
 * evict.h - one study's bytes go, after central has said that they may (R9).
 *
 * Record and ledger entry in one transaction; at most 64 MiB per transaction (R12).
 * What is owed, or was not receipted in this epoch, keeps its whole study here.
 * Threads: one at a time.
 */
#ifndef SALAMANDER_EDGE_EVICT_H
#define SALAMANDER_EDGE_EVICT_H

#include <stdbool.h>
#include <stdint.h>

struct edge;
struct err;
struct evict; /* opaque: a link to central, and what it released lately */

int evict_new(struct evict **out, struct edge *e, struct err *err);
void evict_free(struct evict *v); /* NULL is fine */
/* dark: without asking, on the word of this epoch's receipts. A study that may not go: *n 0. */
int evict_study(struct evict *v, const char *study, bool dark, uint64_t *n, uint64_t *bytes,
		struct err *err);
/* Asks for the next studies in R11's order, so that eviction need not wait for an answer. */
void evict_ask_ahead(struct evict *v, int64_t keep_ms, struct err *err);
/* Studies that central has not released since evict_count, and its word on the first of them. */
void evict_count(struct evict *v);
uint64_t evict_not_released(const struct evict *v, const char **why);

#endif
