#include "common/store/read_on.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/store/store.h"

struct read_on {
	struct store_reader *now;  /* caller only */
	struct store_reader *next; /* of the thread while `reading`, else the caller's */
	pthread_t thread;
	bool threaded;
	uint64_t ready;	    /* where next has read, or tried to; caller only */
	pthread_mutex_t mu; /* guards: */
	pthread_cond_t changed;
	uint64_t at;
	bool reading, over;
};

/* What fails here fails again, and is told, when the caller asks for it. */
static void *
run(void *arg)
{
	struct read_on *o = arg;
	const void *p;
	size_t n;

	pthread_mutex_lock(&o->mu);
	while (!o->over) {
		if (o->reading) {
			pthread_mutex_unlock(&o->mu);
			(void)store_read_some(o->next, o->at, &p, &n, NULL);
			pthread_mutex_lock(&o->mu);
			o->reading = false;
			pthread_cond_signal(&o->changed);
		} else {
			pthread_cond_wait(&o->changed, &o->mu);
		}
	}
	pthread_mutex_unlock(&o->mu);
	return NULL;
}

int
read_on_open(struct read_on **out, struct store *s, struct store_reader *r_taken, struct err *e)
{
	struct read_on *o = calloc(1, sizeof(*o));

	if (!o) {
		store_read_close(r_taken);
		return err_set(e, ERR_LOCAL, 0, "no memory for reading on");
	}
	o->now = r_taken;
	(void)pthread_mutex_init(&o->mu, NULL);
	(void)pthread_cond_init(&o->changed, NULL);
	o->threaded = !store_read_open(&o->next, s, store_read_version(r_taken)->oid, NULL) &&
		      !pthread_create(&o->thread, NULL, run, o);
	*out = o;
	return 0;
}

void
read_on_close(struct read_on *o)
{
	if (!o)
		return;
	if (o->threaded) {
		pthread_mutex_lock(&o->mu);
		o->over = true;
		pthread_cond_signal(&o->changed);
		pthread_mutex_unlock(&o->mu);
		(void)pthread_join(o->thread, NULL);
	}
	(void)pthread_cond_destroy(&o->changed);
	(void)pthread_mutex_destroy(&o->mu);
	store_read_close(o->now);
	store_read_close(o->next);
	free(o);
}

/* The thread is done with what it was told to read. */
static void
take_next(struct read_on *o)
{
	struct store_reader *used = o->now;

	pthread_mutex_lock(&o->mu);
	while (o->reading)
		pthread_cond_wait(&o->changed, &o->mu);
	pthread_mutex_unlock(&o->mu);
	o->now = o->next;
	o->next = used;
}

static void
read_next(struct read_on *o, uint64_t at)
{
	if (at == o->ready || at >= store_read_version(o->now)->size)
		return;
	pthread_mutex_lock(&o->mu);
	while (o->reading)
		pthread_cond_wait(&o->changed, &o->mu);
	o->at = o->ready = at;
	o->reading = true;
	pthread_cond_signal(&o->changed);
	pthread_mutex_unlock(&o->mu);
}

int
read_on_some(struct read_on *o, uint64_t offset, const void **p, size_t *n, struct err *e)
{
	int rc;

	if (o->threaded && offset > 0 && offset == o->ready)
		take_next(o);
	rc = store_read_some(o->now, offset, p, n, e);
	if (!rc && *n > 0 && o->threaded)
		read_next(o, offset + *n);
	return rc;
}
