/*
 * uploads.h - the uploads that are open, one state each, whoever's request it is (R14).
 *
 * upload.c's own: a request holds a reference while it lasts, and the lock of one upload while it
 * works on it, never while it waits for bytes. The request that came last is the one writer.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_UPLOADS_H
#define SALAMANDER_CENTRAL_UPLOADS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "proto/receiver.h"

struct central;
struct err;
struct frame;
struct pack;
struct pack_check;
struct upload;
struct upload_result;
struct uploads; /* opaque */

struct open_upload {
	struct open_upload *next;
	unsigned char id[SHA256_SIZE];
	pthread_mutex_t mu; /* taken before uploads.mu */
	/* guarded by uploads.mu */
	unsigned users;
	bool dead;	 /* adopted or dropped: look again */
	uint64_t latest; /* number of the request that came last */
	/* guarded by mu */
	struct upload *file;
	struct pack *pack;
	struct pack_check *check;
	struct receiver r;
	struct buf manifest; /* not on disk yet: it goes there with the first flush */
};

/* The number of a request that came now: it ends those that came before it. */
uint64_t uploads_number(struct uploads *u);
/* Referenced, not locked; NULL: no memory. */
struct open_upload *uploads_find(struct uploads *u, const unsigned char id[SHA256_SIZE],
				 uint64_t request);
/* Locked. false: it is over, and so is the lock: look again. */
bool uploads_lock(struct uploads *u, struct open_upload *o);
/* dead: it is over; nobody else goes on with this state. */
void uploads_unlock(struct uploads *u, struct open_upload *o, bool dead);
void uploads_unref(struct uploads *u, struct open_upload *o);
/* Found and locked; NULL: no memory. Undone by uploads_leave. */
struct open_upload *uploads_enter(struct uploads *u, const unsigned char id[SHA256_SIZE],
				  uint64_t request);
void uploads_leave(struct uploads *u, struct open_upload *o, bool dead);
/* R14: a later HEAD, PATCH or DELETE ends the earlier request at its next frame. */
bool uploads_superseded(struct uploads *u, const struct open_upload *o, uint64_t request);
/* Lock held. Its file stays. */
void uploads_close(struct open_upload *o);
/* Bytes came that were here already. */
void uploads_repeated(struct uploads *u, uint64_t bytes);

struct taking { /* lock held */
	struct central *c;
	struct open_upload *o;
	struct upload_result *out;
	unsigned lane;	       /* of the bytes; 0: not said */
	const struct frame *f; /* the one at hand, and its payload */
	const void *payload;
	bool answered; /* `out` is what is said */
};
/* Opens the upload that a request speaks of; *done: it is answered already. */
int uploads_open(struct taking *t, const char *site, const unsigned char *manifest, size_t n,
		 bool *done, struct err *e);
/* What follows from one event, up to where the next frame is wanted or all is said. */
int uploads_pump(struct taking *t, struct receiver_event *ev, struct err *e);

#endif
