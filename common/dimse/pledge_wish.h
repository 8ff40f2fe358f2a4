/*
 * pledge_wish.h - what an archive is to be asked for: every current image that is shown below
 * some UIDs, and its requests on disk.
 *
 * Threads: plain memory; reads and changes the store in short transactions.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGE_WISH_H
#define SALAMANDER_COMMON_DIMSE_PLEDGE_WISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dimse/pledges.h"

struct err;
struct store;

struct pledge_wish {
	struct pledge *all;
	size_t n, cap;
	size_t asked;	/* the first of them; the others have no bytes here, or no class */
	size_t several; /* of those asked for have more than one version here */
	uint64_t *requests;
	size_t n_requests;
};

/* Adds those of a study, a series or an image; ERR_ABSENT: nothing is known of it, or shown. */
int pledge_wish_add(struct pledge_wish *w, struct store *s, const char *uid, struct err *e);
/* Each once, those that can be asked for first. */
void pledge_wish_sort(struct pledge_wish *w);

struct pledge_order {
	const char *archive, *calling;
	bool send;
	size_t most; /* images in a request */
	int64_t wait_ms;
};

/* Durable on 0. ERR_FULL: there is no room for all of it in the cache, and nothing is recorded. An
 * error later says what is all the same. */
int pledge_wish_record(struct pledge_wish *w, struct store *s, const struct pledge_order *o,
		       struct err *e);
void pledge_wish_fini(struct pledge_wish *w);

#endif
