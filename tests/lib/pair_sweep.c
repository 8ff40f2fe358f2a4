#include "tests/lib/pair_sweep.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/fault.h"
#include "tests/lib/pair.h"
#include "tests/lib/sweep.h"

static void
note(void *arg, unsigned command)
{
	assert_true(command < PAIR_SWEEP_COMMANDS);
	((bool *)arg)[command] = true;
}

static bool
one_fault(const struct pair_sweep *s, unsigned n)
{
	bool said[PAIR_SWEEP_COMMANDS] = {false};
	unsigned hits;

	s->prepare();
	fault_arm(n, FAULT_ERRNO, ENOSPC);
	s->live(note, said);
	hits = fault_disarm();
	pair_close_edge(s->p); /* a log whose flush failed ends until then (TRAPS 4) */
	pair_close_central(s->p);
	pair_open_central(s->p);
	pair_open_edge(s->p);
	s->check(said, n);
	pair_fini(s->p);
	return hits >= n;
}

void
pair_sweep_faults(const struct pair_sweep *s)
{
	unsigned n;

	for (n = 1; one_fault(s, n);)
		n += sweep_stride(s->stride);
	assert_true(n > s->least);
}

static void
tell(void *arg, unsigned command)
{
	unsigned char one = (unsigned char)command;

	if (command >= PAIR_SWEEP_COMMANDS || write(*(int *)arg, &one, 1) != 1)
		_exit(2);
}

static void __attribute__((noreturn)) live_and_die(const struct pair_sweep *s, unsigned n, int to)
{
	pair_open_central(s->p);
	pair_open_edge(s->p);
	fault_arm(n, FAULT_DIE, 0);
	s->live(tell, &to);
	_exit(0);
}

static bool
one_death(const struct pair_sweep *s, unsigned n)
{
	bool said[PAIR_SWEEP_COMMANDS] = {false};
	unsigned char one;
	int pipes[2], status;
	pid_t child;

	s->prepare();
	pair_close_edge(s->p);
	pair_close_central(s->p);
	assert_int_equal(pipe(pipes), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		live_and_die(s, n, pipes[1]);
	close(pipes[1]);
	while (read(pipes[0], &one, 1) == 1)
		note(said, one);
	close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAULT_EXIT);
	pair_open_central(s->p);
	pair_open_edge(s->p);
	s->check(said, n);
	pair_fini(s->p);
	return WEXITSTATUS(status) == FAULT_EXIT;
}

void
pair_sweep_deaths(const struct pair_sweep *s)
{
	unsigned n;

	for (n = 1; one_death(s, n);)
		n += sweep_stride(s->stride);
	assert_true(n > s->least);
}
