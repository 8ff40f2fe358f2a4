/*
 * receiver.h - what central answers, decided without a socket, a disk or a clock.
 *
 * Pure: the state that a decision needs goes in, the decision comes out; central
 * makes it durable before it answers. The same code judges a fuzzer's input.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_PROTO_RECEIVER_H
#define SALAMANDER_PROTO_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/ledger.h"

enum { PROTOCOL_VERSION = 1 };

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

/* Bytes [offset, offset + n) of an upload whose first `durable` bytes survive power loss (R14). */
enum receiver_piece {
	RECEIVER_TAKE,	   /* from byte `skip` of the piece on */
	RECEIVER_HAVE,	   /* all of it is here: say how far   */
	RECEIVER_MISPLACED /* 409 with the true offset        */
};
enum receiver_piece receiver_piece(uint64_t durable, uint64_t size, uint64_t offset, uint64_t n,
				   uint64_t *skip);

#endif
