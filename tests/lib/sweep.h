/*
 * sweep.h - how many steps an error or death sweep goes on at once.
 *
 * `make check` takes some of the steps, `make soak` (SWEEP_ALL in its environment) each of them.
 */
#ifndef SALAMANDER_TESTS_LIB_SWEEP_H
#define SALAMANDER_TESTS_LIB_SWEEP_H

#include <stdlib.h>

static inline unsigned
sweep_stride(unsigned in_check)
{
	return getenv("SWEEP_ALL") ? 1 : in_check;
}

#endif
