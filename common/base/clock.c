#include "common/base/clock.h"

#include <time.h>

static int64_t
real_ms(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t
real_mono(struct clock *c)
{
	(void)c;
	return real_ms(CLOCK_MONOTONIC);
}

static int64_t
real_wall(struct clock *c)
{
	(void)c;
	return real_ms(CLOCK_REALTIME);
}

static struct clock *in_its_place; /* set before threads start */

struct clock *
clock_real(void)
{
	static struct clock real = {real_mono, real_wall, NULL};

	return in_its_place ? in_its_place : &real;
}

void
clock_use(struct clock *c)
{
	in_its_place = c;
}

static int64_t
manual_mono(struct clock *c)
{
	return atomic_load(&((struct clock_manual *)(void *)c)->mono);
}

static int64_t
manual_wall(struct clock *c)
{
	return atomic_load(&((struct clock_manual *)(void *)c)->wall);
}

void
clock_manual_init(struct clock_manual *m, int64_t mono_ms, int64_t wall_ms)
{
	m->c.mono_ms = manual_mono;
	m->c.wall_ms = manual_wall;
	m->c.sleep_ms = NULL;
	atomic_store(&m->mono, mono_ms);
	atomic_store(&m->wall, wall_ms);
}

void
clock_manual_advance(struct clock_manual *m, int64_t ms)
{
	atomic_fetch_add(&m->mono, ms);
	atomic_fetch_add(&m->wall, ms);
}

int64_t
clock_mono(struct clock *c)
{
	return c->mono_ms(c);
}

int64_t
clock_wall(struct clock *c)
{
	return c->wall_ms(c);
}

void
clock_cond(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(c, &attr);
	(void)pthread_condattr_destroy(&attr);
}

void
clock_deadline(struct timespec *t, int64_t ms)
{
	(void)clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_sec += ms / 1000;
	t->tv_nsec += ms % 1000 * 1000000;
	if (t->tv_nsec >= 1000000000) {
		t->tv_sec++;
		t->tv_nsec -= 1000000000;
	}
}

void
clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	out[0] = '\0';
	if (wall_ms <= 0 || !gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900)
		return;
	(void)strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void
clock_sleep(struct clock *c, int64_t ms)
{
	struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	if (c->sleep_ms)
		c->sleep_ms(c, ms);
	else
		(void)nanosleep(&t, NULL);
}
