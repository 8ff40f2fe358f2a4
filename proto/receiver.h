/*
 * receiver.h - what central answers, decided without a socket, a disk or a clock.
 *
 * Pure: an event and the state go in, the decision comes out; central carries it out
 * and makes it durable before it answers.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_PROTO_RECEIVER_H
#define SALAMANDER_PROTO_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/ledger.h"

/* An append of n entries from seq first on (R5). */
enum receiver_append {
	RECEIVER_APPEND,  /* from entry `skip` on            */
	RECEIVER_KNOWN,	  /* all of them are here: success   */
	RECEIVER_COMPARE, /* the first `skip` must equal what is here, then append the rest */
	RECEIVER_CONFLICT /* 409 with the true head          */
};
enum receiver_append receiver_append(const struct ledger_head *head, uint64_t first,
				     const unsigned char before[SHA256_SIZE], uint64_t n,
				     uint64_t *skip);

/* Bytes [offset, offset + n) of an upload of which the first `written` are here (R14). */
enum receiver_piece {
	RECEIVER_TAKE,	   /* from byte `skip` of the piece on */
	RECEIVER_HAVE,	   /* all of it is here: say how far   */
	RECEIVER_MISPLACED /* 409 with the true offset        */
};
enum receiver_piece receiver_piece(uint64_t written, uint64_t size, uint64_t offset, uint64_t n,
				   uint64_t *skip);

/*
 * One upload. A request is RECEIVER_GO, then what the driver was asked for, until the
 * action is an answer. What it says of an offset was flushed and committed before.
 */
struct receiver {
	uint64_t size;	  /* of the pack                                   */
	uint64_t written; /* in order, hashed, in the file                 */
	uint64_t durable; /* flushed, and the offset is in the catalogue   */
	uint64_t next;	  /* `written` when the action at hand is done     */
	bool misplaced;	  /* of this request: 409                          */
	enum receiver_do {
		RECEIVER_READ = 1, /* the next frame's header, or say the request ends */
		RECEIVER_WRITE,	   /* the frame's bytes from `skip` on, and hash them  */
		RECEIVER_FLUSH,	   /* the file                                     */
		RECEIVER_COMMIT,   /* `offset`                                     */
		RECEIVER_JUDGE,	   /* all is here: does each member have its digest?   */
		RECEIVER_ADOPT,	   /* then the receipt                             */
		RECEIVER_SAY,	   /* `offset`; `misplaced`: 409                   */
		RECEIVER_REFUSE,   /* 422: members are bad                         */
		RECEIVER_GIVE	   /* the receipt                                  */
	} at;			   /* the action at hand */
};

struct receiver_event {
	enum receiver_event_kind {
		RECEIVER_GO = 1, /* a request with frames                    */
		RECEIVER_FRAME,	 /* its header was read                      */
		RECEIVER_END,	 /* of the request                           */
		RECEIVER_DONE,	 /* what was asked for is done               */
		RECEIVER_BAD	 /* bytes are not those of the manifest      */
	} kind;
	uint64_t offset, n; /* FRAME                                         */
};

struct receiver_action {
	enum receiver_do what;
	uint64_t offset, skip;
	bool misplaced;
};

/* durable: what is known to be flushed and committed; its bytes have been hashed. */
void receiver_init(struct receiver *r, uint64_t size, uint64_t durable);
void receiver_step(struct receiver *r, const struct receiver_event *ev,
		   struct receiver_action *out);

#endif
