/*
 * real.h - for what is loaded with LD_PRELOAD: the functions that it stands in front of.
 *
 * REAL(int, "fsync", int); is the last declaration of a block; real.f(fd) is the next fsync.
 * Threads: any; all find the same.
 */
#ifndef SALAMANDER_TESTS_LIB_REAL_H
#define SALAMANDER_TESTS_LIB_REAL_H

#include <dlfcn.h>

/* The union because ISO C has no such cast. */
#define REAL(type, name, ...)                                                                      \
	static union {                                                                             \
		void *p;                                                                           \
		type (*f)(__VA_ARGS__);                                                            \
	} real;                                                                                    \
	if (!real.p)                                                                               \
	real.p = dlsym(RTLD_NEXT, name)

#endif
