#include "common/dimse/resolver.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dimse/peers.h"

struct resolver {
	pthread_mutex_t mu;
	pthread_cond_t wake;
	unsigned every; /* set once */
	/* guarded by mu */
	struct peers *peers;
	bool at_once, stop;
	unsigned users; /* its owner and its thread: the last one frees it */
};

/* Called with mu held; lets it go. */
static void
leave(struct resolver *r)
{
	bool last = --r->users == 0;

	(void)pthread_mutex_unlock(&r->mu);
	if (!last)
		return;
	peers_unref(r->peers);
	(void)pthread_cond_destroy(&r->wake);
	(void)pthread_mutex_destroy(&r->mu);
	free(r);
}

static void
rest(struct resolver *r)
{
	struct timespec until;

	clock_deadline(&until, (int64_t)r->every * 1000);
	while (!r->stop && !r->at_once && pthread_cond_timedwait(&r->wake, &r->mu, &until) == 0)
		;
	r->at_once = false;
}

static void *
run(void *arg)
{
	struct resolver *r = arg;
	struct peers *p;

	(void)pthread_mutex_lock(&r->mu);
	while (!r->stop) {
		p = peers_ref(r->peers);
		(void)pthread_mutex_unlock(&r->mu);
		peers_resolve(p);
		peers_unref(p);
		(void)pthread_mutex_lock(&r->mu);
		rest(r);
	}
	leave(r);
	return NULL;
}

int
resolver_start(struct resolver **out, struct peers *peers, unsigned every_seconds, struct err *e)
{
	struct resolver *r = calloc(1, sizeof(*r));
	pthread_t t;

	if (!r)
		return err_set(e, ERR_LOCAL, 0, "no memory for resolving names");
	(void)pthread_mutex_init(&r->mu, NULL);
	clock_cond(&r->wake);
	r->every = every_seconds;
	r->peers = peers_ref(peers);
	r->users = 2;
	if (pthread_create(&t, NULL, run, r)) {
		r->users = 1;
		(void)pthread_mutex_lock(&r->mu);
		leave(r);
		return err_set(e, ERR_LOCAL, 0, "no thread for resolving names");
	}
	(void)pthread_detach(t);
	*out = r;
	return 0;
}

void
resolver_peers(struct resolver *r, struct peers *peers)
{
	struct peers *old;

	(void)pthread_mutex_lock(&r->mu);
	old = r->peers;
	r->peers = peers_ref(peers);
	r->at_once = true;
	(void)pthread_cond_signal(&r->wake);
	(void)pthread_mutex_unlock(&r->mu);
	peers_unref(old);
}

void
resolver_stop(struct resolver *r)
{
	if (!r)
		return;
	(void)pthread_mutex_lock(&r->mu);
	r->stop = true;
	(void)pthread_cond_signal(&r->wake);
	leave(r);
}
