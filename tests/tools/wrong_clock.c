/*
 * wrong_clock.so - loaded with LD_PRELOAD: the wall clock is WRONG_CLOCK_S seconds off.
 *
 * What measures durations stays right: so is a machine whose battery is empty, or whose date
 * somebody mistyped (R25, R28). Files keep the kernel's times.
 */
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#include "tests/lib/real.h"

static time_t off;

__attribute__((constructor)) static void
begin(void)
{
	const char *s = getenv("WRONG_CLOCK_S");

	off = s ? (time_t)strtoll(s, NULL, 10) : 0;
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int rc;
	REAL(int, "clock_gettime", clockid_t, struct timespec *);
	rc = real.f(id, t);
	if (!rc && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += off;
	return rc;
}

time_t
time(time_t *out)
{
	struct timespec t;
	time_t now = clock_gettime(CLOCK_REALTIME, &t) ? (time_t)-1 : t.tv_sec;

	if (out)
		*out = now;
	return now;
}

int
gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	int rc;
	REAL(int, "gettimeofday", struct timeval *, void *);
	rc = real.f(t, zone);
	if (!rc)
		t->tv_sec += off;
	return rc;
}
