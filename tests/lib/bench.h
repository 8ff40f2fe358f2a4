/*
 * bench.h - what programs that measure have in common: a clock, and an end when something failed.
 *
 * Threads: any.
 */
#ifndef SALAMANDER_TESTS_LIB_BENCH_H
#define SALAMANDER_TESTS_LIB_BENCH_H

struct err;

/* Seconds, from some moment on. */
double bench_now(void);
/* Says it on standard error and ends the program. */
void bench_die(const struct err *e) __attribute__((noreturn));

#endif
