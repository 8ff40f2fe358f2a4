/*
 * release.h - may an edge free these bytes (R9)? Asked just before it does.
 *
 * YES only for what is held, whose pack is there now and was verified within 30 days
 * (else it is read now), on whose UID no conflict is open, and what the site that asks may
 * read again (R26).
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_RELEASE_H
#define SALAMANDER_CENTRAL_RELEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct central;
struct err;
struct http_request;
struct version;

int release_answer(struct central *c, const struct http_request *rq, struct buf *out,
		   struct err *e);
/* Does this error say that a copy is damaged? Not being able to look does not (R23). */
bool release_is_damage(struct central *c, int rc);
/* This copy of a held version failed its check: its bits go, its bytes are wanted again (R19).
 * Where another copy took its place since it was looked at, nothing is said of that one. */
int release_damaged(struct central *c, const struct version *seen, struct err *e);

#endif
