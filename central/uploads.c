#include "central/uploads.h"

#include <stdlib.h>
#include <string.h>

#include "central/upload.h"
#include "central/vault.h"
#include "common/base/err.h"
#include "proto/pack.h"

enum { KEPT_OPEN = 64 };

struct uploads {
	pthread_mutex_t mu;
	/* guarded by mu */
	struct open_upload *all; /* the one used last first */
	uint64_t requests;
	uint64_t repeated; /* bytes that were here already */
};

int
uploads_new(struct uploads **out, struct err *e)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return err_set(e, ERR_LOCAL, 0, "no memory for uploads");
	(void)pthread_mutex_init(&(*out)->mu, NULL);
	return 0;
}

void
uploads_close(struct open_upload *o)
{
	pack_check_free(o->check);
	pack_close(o->pack);
	vault_end(o->file);
	buf_fini(&o->manifest);
	o->check = NULL;
	o->pack = NULL;
	o->file = NULL;
}

static void
open_free(struct open_upload *o)
{
	uploads_close(o);
	(void)pthread_mutex_destroy(&o->mu);
	free(o);
}

void
uploads_free(struct uploads *u)
{
	struct open_upload *o;

	if (!u)
		return;
	while ((o = u->all)) {
		u->all = o->next;
		open_free(o);
	}
	(void)pthread_mutex_destroy(&u->mu);
	free(u);
}

/* Those that nobody uses, behind the first KEPT_OPEN, are closed; their files stay. */
static void
trim(struct uploads *u)
{
	struct open_upload **at = &u->all, *o;
	unsigned n = 0;

	while ((o = *at)) {
		if (o->users == 0 && (n >= KEPT_OPEN || o->dead)) {
			*at = o->next;
			open_free(o);
			continue;
		}
		n++;
		at = &o->next;
	}
}

uint64_t
uploads_number(struct uploads *u)
{
	uint64_t n;

	(void)pthread_mutex_lock(&u->mu);
	n = ++u->requests;
	(void)pthread_mutex_unlock(&u->mu);
	return n;
}

struct open_upload *
uploads_find(struct uploads *u, const unsigned char id[SHA256_SIZE], uint64_t request)
{
	struct open_upload *o;

	(void)pthread_mutex_lock(&u->mu);
	for (o = u->all; o; o = o->next)
		if (!o->dead && memcmp(o->id, id, SHA256_SIZE) == 0)
			break;
	if (!o) {
		o = calloc(1, sizeof(*o));
		if (o) {
			memcpy(o->id, id, SHA256_SIZE);
			(void)pthread_mutex_init(&o->mu, NULL);
			o->next = u->all;
			u->all = o;
		}
	}
	if (o) {
		o->users++;
		o->latest = request > o->latest ? request : o->latest;
	}
	(void)pthread_mutex_unlock(&u->mu);
	return o;
}

bool
uploads_superseded(struct uploads *u, const struct open_upload *o, uint64_t request)
{
	bool later;

	(void)pthread_mutex_lock(&u->mu);
	later = o->latest > request;
	(void)pthread_mutex_unlock(&u->mu);
	return later;
}

bool
uploads_lock(struct uploads *u, struct open_upload *o)
{
	bool dead;

	(void)pthread_mutex_lock(&o->mu);
	(void)pthread_mutex_lock(&u->mu);
	dead = o->dead;
	(void)pthread_mutex_unlock(&u->mu);
	if (dead)
		(void)pthread_mutex_unlock(&o->mu);
	return !dead;
}

void
uploads_unlock(struct uploads *u, struct open_upload *o, bool dead)
{
	(void)pthread_mutex_lock(&u->mu);
	o->dead = o->dead || dead;
	(void)pthread_mutex_unlock(&u->mu);
	(void)pthread_mutex_unlock(&o->mu);
}

void
uploads_unref(struct uploads *u, struct open_upload *o)
{
	(void)pthread_mutex_lock(&u->mu);
	o->users--;
	trim(u);
	(void)pthread_mutex_unlock(&u->mu);
}

void
uploads_leave(struct uploads *u, struct open_upload *o, bool dead)
{
	uploads_unlock(u, o, dead);
	uploads_unref(u, o);
}

struct open_upload *
uploads_enter(struct uploads *u, const unsigned char id[SHA256_SIZE], uint64_t request)
{
	struct open_upload *o;

	while ((o = uploads_find(u, id, request)) != NULL) {
		if (uploads_lock(u, o))
			return o;
		uploads_unref(u, o); /* the one before ended it: look again */
	}
	return NULL;
}

void
uploads_repeated(struct uploads *u, uint64_t bytes)
{
	(void)pthread_mutex_lock(&u->mu);
	u->repeated += bytes;
	(void)pthread_mutex_unlock(&u->mu);
}

uint64_t
uploads_repeats(struct uploads *u)
{
	uint64_t n;

	(void)pthread_mutex_lock(&u->mu);
	n = u->repeated;
	(void)pthread_mutex_unlock(&u->mu);
	return n;
}
