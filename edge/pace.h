/*
 * pace.h - how fast images and bytes have gone to central in the last minutes.
 *
 * Threads: the owner's.
 */
#ifndef SALAMANDER_EDGE_PACE_H
#define SALAMANDER_EDGE_PACE_H

#include <stdint.h>

enum { PACE_MINUTES = 5 };

/* All zero: nothing has gone. */
struct pace {
	struct pace_minute {
		int64_t minute;	  /* monotonic                         */
		int64_t first_ms; /* when the first in it began to go  */
		uint64_t images, bytes;
	} minutes[PACE_MINUTES];
};

/* At central since now_ms; they took took_ms on the way. */
void pace_add(struct pace *p, int64_t now_ms, int64_t took_ms, uint64_t images, uint64_t bytes);
/* A second, since the first of the last minutes that anything went in. */
void pace_rate(const struct pace *p, int64_t now_ms, double *images, double *bytes);

#endif
