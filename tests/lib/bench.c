#include "tests/lib/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/err.h"

double
bench_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void
bench_die(const struct err *e)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, e->what);
	exit(EXIT_FAILURE);
}
