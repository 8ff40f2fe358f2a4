#include "common/base/fault.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	atomic_bool armed;
	pthread_mutex_t mu;
	/* guarded by mu */
	char name[64];
	unsigned n;
	unsigned hits;
	enum fault_kind kind;
	int sys;
} fault = {.mu = PTHREAD_MUTEX_INITIALIZER};

static int
hit(const char *name, bool may_fail)
{
	int rc = 0;

	if (!atomic_load_explicit(&fault.armed, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&fault.mu);
	if (atomic_load_explicit(&fault.armed, memory_order_relaxed) &&
	    (may_fail || fault.kind == FAULT_DIE) &&
	    (!fault.name[0] || strcmp(fault.name, name) == 0)) {
		fault.hits++;
		if (fault.hits == fault.n && fault.kind == FAULT_DIE)
			_exit(FAULT_EXIT);
		if (fault.hits == fault.n ||
		    (fault.hits > fault.n && fault.kind == FAULT_ERRNO_FOR_EVER))
			rc = fault.sys;
	}
	pthread_mutex_unlock(&fault.mu);
	return rc;
}

int
fault_hit(const char *name)
{
	return hit(name, true);
}

void
fault_passed(const char *name)
{
	(void)hit(name, false);
}

void
fault_arm_named(const char *name, unsigned n, enum fault_kind kind, int sys)
{
	pthread_mutex_lock(&fault.mu);
	(void)snprintf(fault.name, sizeof(fault.name), "%s", name ? name : "");
	fault.n = n;
	fault.hits = 0;
	fault.kind = kind;
	fault.sys = sys;
	atomic_store(&fault.armed, true);
	pthread_mutex_unlock(&fault.mu);
}

void
fault_arm(unsigned n, enum fault_kind kind, int sys)
{
	fault_arm_named(NULL, n, kind, sys);
}

unsigned
fault_disarm(void)
{
	unsigned hits;

	pthread_mutex_lock(&fault.mu);
	atomic_store(&fault.armed, false);
	hits = fault.hits;
	pthread_mutex_unlock(&fault.mu);
	return hits;
}

void
fault_from_env(void)
{
	const char *s = getenv("SALAMANDER_FAULT");
	char name[64], what[16];
	unsigned n;

	if (!s || sscanf(s, "%63[^:]:%u:%15s", name, &n, what) != 3)
		return;
	if (strcmp(what, "die") == 0)
		fault_arm_named(name, n, FAULT_DIE, 0);
	else
		fault_arm_named(name, n, FAULT_ERRNO, atoi(what));
}
