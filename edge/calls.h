/*
 * calls.h - what an edge says to central and what the answers mean.
 *
 * Threads: replicate's.
 */
#ifndef SALAMANDER_EDGE_CALLS_H
#define SALAMANDER_EDGE_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct coding;
struct edge;
struct err;
struct http_call;
struct http_done;
struct packing;
struct piece_cost;
struct sender_action;
struct sender_event;
struct setback;

/* compress: it says which codings it can send. back: what it asks of central's ledger (R8). */
int calls_hello(struct http_call *out, struct edge *e, const struct setback *back, bool compress,
		struct err *err);
/* As many entries from seq on as fit `most` bytes and one request; one at least. */
int calls_ledger(struct http_call *out, struct edge *e, uint64_t seq, uint64_t most,
		 struct err *err);
void calls_holdings(struct http_call *out, struct edge *e, uint64_t first, uint64_t count);
/* How far are the packs of this set of slots? One HEAD for all of them (R14). */
void calls_places(struct http_call *out, const struct packing *slots, unsigned set);
/* The manifest if it is the first one, and what piece_write gives. */
int calls_piece(struct http_call *out, struct packing *p, struct edge *e,
		const struct sender_action *a, const struct coding *coding, struct piece_cost *cost,
		struct err *err);
void calls_drop(struct http_call *out, const struct packing *p);
/* Fills what an answer says; our ledger is asked whether it agrees (R5). */
void calls_answer(struct sender_event *ev, const struct http_done *done, struct edge *e);

#endif
