/*
 * recount.h - the running figures counted anew, from every claim, and compared (R18).
 *
 * A page of digests per commit, while others go on: what changes below the page that is next
 * changes the count as well (figures.c), so that both are of one moment when they are compared.
 * What differs is said, and the count takes its place.
 * Threads: any; one count at a time.
 */
#ifndef SALAMANDER_CENTRAL_RECOUNT_H
#define SALAMANDER_CENTRAL_RECOUNT_H

#include <stdint.h>

struct central;
struct ctl_reply;
struct err;

struct recount {
	uint64_t images;  /* counted                                                */
	uint64_t figures; /* that were not what was counted, and are now            */
	uint64_t listed;  /* rows of `exposed` and `owing` that were missing, too many or wrong */
};

enum { RECOUNT_PAGE = 2000 };

/* page: digests per commit. ERR_AGAIN: another count is under way, or central stops. */
int recount_figures(struct central *c, struct ctl_reply *r, unsigned page, struct recount *out,
		    struct err *e);

#endif
