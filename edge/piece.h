/*
 * piece.h - frames of a pack, read to where they are sent from, each in the coding that pays.
 *
 * Threads: the errand's that has the slot.
 */
#ifndef SALAMANDER_EDGE_PIECE_H
#define SALAMANDER_EDGE_PIECE_H

#include <stdint.h>

struct buf;
struct coding;
struct edge;
struct err;
struct packing;
struct sender_action;

struct piece_cost { /* for coding_took */
	uint64_t bytes, ms;
};

/* What a SENDER_SEND_PIECE asks for, appended. ERR_CORRUPT: packing_read's. */
int piece_write(struct buf *out, struct packing *p, struct edge *e, const struct sender_action *a,
		const struct coding *coding, struct piece_cost *cost, struct err *err);

#endif
