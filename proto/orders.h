/*
 * orders.h - what both ends must agree on about orders (DESIGN 6).
 *
 * An edge asks GET ORDERS_PATH<number>,<decisions>,<losses> for what central wants beyond that
 * number, the last one that it has committed in this epoch; after another epoch from 0. The
 * other two are central's counts as the edge heard them last: where they changed, it looks.
 * Central answers when there is something, or after ORDERS_WAIT_MS with 204: shorter than any
 * proxy's patience. Asking for the next says that those before it are carried out.
 * Each order may come twice, and an older one after a newer one: what it speaks of remembers
 * the number, and a lower one never undoes a higher one. What was decided for good (retract,
 * restore) an edge keeps, and gives back by POST ORDERS_BACK_PATH to a central that has not said
 * it.
 */
#ifndef SALAMANDER_PROTO_ORDERS_H
#define SALAMANDER_PROTO_ORDERS_H

#include <stdbool.h>
#include <stddef.h>

#define ORDERS_PATH "/sync/v1/orders/"
#define ORDERS_BACK_PATH "/sync/v1/orders"

enum {
	ORDERS_WAIT_MS = 25000,
	ORDERS_MAX = 256, /* in one answer */
	ORDERS_BYTES = 4 << 20,
	ORDERS_SEAL = 8,    /* bytes of an order's seal, by which it is known again */
	ORDERS_SEALS = 1024 /* of so many, which it heard last, an edge keeps them  */
};

/* A central that does not remember its last orders (it was set back, or made anew from a copy)
 * takes a new epoch; its orders of that epoch count above them. */
#define ORDERS_EPOCH (UINT64_C(1) << 20)

/* R10: who holds eviction at an edge, in its store and as it tells central (sync.SyncState); it
 * evicts while it is 0. */
enum { HOLD_PERSON = 1, HOLD_ORDER = 2 };

/* seal: ORDERS_SEAL bytes, or more. */
bool orders_seal_among(const void *list, size_t n, const void *seal);

/* For people: of enum OrderKind. */
const char *orders_kind_name(int kind);

#endif
