#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/private.h"

enum { GRACE_MS = 10000, SENDING_MS = 60000 };

enum turn { HEADER, BODY, OURS, SENDING };

struct watched {
	struct watch *w;
	struct watched *next, **link;
	int fd;
	/* guarded by w->mu */
	enum turn turn;
	int64_t since, held; /* held: our turn in the middle of a body began */
	uint64_t bytes;
	bool cut;
};

struct watch {
	struct clock *clock;
	unsigned header_seconds, min_rate;
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t wake;
	/* guarded by mu */
	struct watched *all;
	bool stopping;
};

static bool
late(const struct watch *w, const struct watched *c, int64_t now)
{
	int64_t ms = now - c->since;

	if (c->turn == HEADER)
		return ms > (int64_t)w->header_seconds * 1000;
	if (c->turn == SENDING)
		return ms > SENDING_MS + (int64_t)(c->bytes * 1000 / w->min_rate);
	return c->turn == BODY && ms > GRACE_MS &&
	       c->bytes < (uint64_t)(ms - GRACE_MS) / 1000 * w->min_rate;
}

static void *
look(void *arg)
{
	struct watch *w = arg;
	struct watched *c;
	struct timespec t;

	(void)pthread_mutex_lock(&w->mu);
	while (!w->stopping) {
		for (c = w->all; c; c = c->next)
			if (!c->cut && late(w, c, clock_mono(w->clock))) {
				c->cut = true; /* its thread sees the end and cleans up */
				(void)shutdown(c->fd, SHUT_RDWR);
			}
		clock_deadline(&t, 1000);
		(void)pthread_cond_timedwait(&w->wake, &w->mu, &t);
	}
	(void)pthread_mutex_unlock(&w->mu);
	return NULL;
}

int
watch_start(struct watch **out, struct clock *clock, unsigned header_seconds, unsigned min_rate,
	    struct err *e)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return err_set(e, ERR_LOCAL, 0, "no memory for the HTTP server");
	w->clock = clock;
	w->header_seconds = header_seconds;
	w->min_rate = min_rate;
	(void)pthread_mutex_init(&w->mu, NULL);
	clock_cond(&w->wake);
	if (pthread_create(&w->thread, NULL, look, w)) {
		free(w);
		return err_set(e, ERR_LOCAL, 0, "cannot start a thread");
	}
	*out = w;
	return 0;
}

void
watch_stop(struct watch *w)
{
	if (!w)
		return;
	(void)pthread_mutex_lock(&w->mu);
	w->stopping = true;
	(void)pthread_cond_signal(&w->wake);
	(void)pthread_mutex_unlock(&w->mu);
	(void)pthread_join(w->thread, NULL);
	(void)pthread_mutex_destroy(&w->mu);
	(void)pthread_cond_destroy(&w->wake);
	free(w);
}

void
watch_cut_all(struct watch *w)
{
	struct watched *c;

	(void)pthread_mutex_lock(&w->mu);
	for (c = w->all; c; c = c->next)
		if (c->turn != OURS)
			(void)shutdown(c->fd, SHUT_RDWR);
	(void)pthread_mutex_unlock(&w->mu);
}

static void
enter(struct watch *w, struct MHD_Connection *mhd, void **slot)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct watched *c = calloc(1, sizeof(*c));

	*slot = c;
	if (!c)
		return;
	c->w = w;
	c->fd = info ? info->connect_fd : -1;
	(void)pthread_mutex_lock(&w->mu);
	c->since = clock_mono(w->clock);
	c->next = w->all;
	c->link = &w->all;
	if (w->all)
		w->all->link = &c->next;
	w->all = c;
	(void)pthread_mutex_unlock(&w->mu);
}

static void
leave(struct watch *w, struct watched *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&w->mu);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	(void)pthread_mutex_unlock(&w->mu);
	free(c);
}

void
watch_connection(void *watch, struct MHD_Connection *c, void **slot,
		 enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		enter(watch, c, slot);
	else
		leave(watch, *slot);
}

static void
turn_to(struct watched *c, enum turn turn)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->w->mu);
	c->turn = turn;
	c->since = clock_mono(c->w->clock);
	c->bytes = 0;
	(void)pthread_mutex_unlock(&c->w->mu);
}

struct watched *
watch_request(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct watched *c = info ? info->socket_context : NULL;

	turn_to(c, BODY);
	return c;
}

void
watch_bytes(struct watched *c, size_t n)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->w->mu);
	c->bytes += n;
	(void)pthread_mutex_unlock(&c->w->mu);
}

void
watch_pause(struct watched *c)
{
	turn_to(c, OURS);
}

void
watch_hold(struct watched *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->w->mu);
	c->turn = OURS;
	c->held = clock_mono(c->w->clock);
	(void)pthread_mutex_unlock(&c->w->mu);
}

void
watch_release(struct watched *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->w->mu);
	c->turn = BODY;
	c->since += clock_mono(c->w->clock) - c->held;
	(void)pthread_mutex_unlock(&c->w->mu);
}

void
watch_sending(struct watched *c, size_t n)
{
	turn_to(c, SENDING);
	watch_bytes(c, n);
}

void
watch_idle(struct watched *c)
{
	turn_to(c, HEADER);
}
