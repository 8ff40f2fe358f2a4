/*
 * pledge_event.h - an archive says what it committed to (N-EVENT-REPORT, PS3.4 J.3.3).
 *
 * It is matched by its Transaction UID with a request to that very archive, and durable before it
 * is answered; a result that comes again is answered with success and changes nothing. What a
 * result leaves out counts as not answered. An unknown transaction is 0115, another peer than the
 * one that was asked 0124 (R29).
 * Threads: any.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGE_EVENT_H
#define SALAMANDER_COMMON_DIMSE_PLEDGE_EVENT_H

#include <stdint.h>

struct audit;
struct buf;
struct err;
struct message;
struct store;

struct pledge_heard {
	struct store *store;
	struct audit *audit;
	const char *archive; /* who says it: the name of its section; "": it has none */
};

/* The status to answer with; e says what is wrong with it. syntax: of its context. */
unsigned pledge_event_take(const struct pledge_heard *from, const char *syntax,
			   const struct message *rq, const struct buf *information, struct err *e);

#endif
