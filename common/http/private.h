/*
 * private.h - what server.c and watch.c share.
 */
#ifndef SALAMANDER_COMMON_HTTP_PRIVATE_H
#define SALAMANDER_COMMON_HTTP_PRIVATE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/http/server.h"

struct clock;
struct err;
struct trust;
struct watch;	/* opaque: deadlines over all connections */
struct watched; /* opaque: one connection                 */

enum { DAEMONS_MAX = 32, SPARE_BODIES = 4 };

struct http_server {
	struct http_config c; /* set once */
	struct MHD_Daemon *daemons[DAEMONS_MAX];
	unsigned n_daemons;
	struct buf ca; /* as it was at the start: MHD asks for certificates because of it */
	pthread_mutex_t mu;
	/* guarded by mu */
	struct buf spare[SPARE_BODIES]; /* memory of large bodies, for the next ones */
	struct trust *trust;		/* NULL: plain http */
	struct watch *watch;
};

/*
 * watch.c: MHD's own time-out is inactivity only, so that a byte a second lives
 * for ever (TRAPS 5). A thread looks once a second and shuts down sockets whose
 * header is late or whose body is too slow.
 */
int watch_start(struct watch **out, struct clock *clock, unsigned header_seconds, unsigned min_rate,
		struct err *e);
void watch_stop(struct watch *w); /* after all connections have ended; NULL is fine */
/* Shuts down the sockets that no handler works for. */
void watch_cut_all(struct watch *w);
void watch_connection(void *watch, struct MHD_Connection *c, void **slot,
		      enum MHD_ConnectionNotificationCode what);
struct watched *watch_request(struct MHD_Connection *c); /* its header is whole */
void watch_bytes(struct watched *w, size_t n);
void watch_pause(struct watched *w); /* our own turn */
/* In the middle of a body: the time in between is ours, not the caller's. */
void watch_hold(struct watched *w);
void watch_release(struct watched *w);
/* An answer of n bytes is on its way: it has 60 s and what the lowest rate needs. */
void watch_sending(struct watched *w, size_t n);
void watch_idle(struct watched *w);

#endif
