/*
 * chores.h - orders of central that take a while: refill, verify, resend, prefetch.
 *
 * An order becomes a row in the commit that hears it, and is carried out afterwards, one after the
 * other, while central answers; what fails is tried again (60 s x n^2, at most 4 h, CHORES_TRIES
 * times). How it ended is told to central until central has it. A number that is not above the last
 * one of its kind is nothing new: so a chore is done once, whatever is said again in another epoch
 * (R22). None of them frees bytes (R27): what they bring stops at 70 % of the quota.
 *
 * Table chore: number (be64)   sync.ChoreRow; the last CHORES_KEPT that central knows of stay;
 *              from CHORES_OWN on: what a person here asked for
 * Threads: chores_wake and chores_running from any; what takes a transaction, as that; the rest
 * from one.
 */
#ifndef SALAMANDER_EDGE_CHORES_H
#define SALAMANDER_EDGE_CHORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHORES_TABLE "chore"

enum { CHORES_TRIES = 12, CHORES_KEPT = 16 };
#define CHORES_OWN (UINT64_C(1) << 63)

struct chores; /* opaque */
struct buf;
struct edge;
struct err;
struct json;
struct store_tx;
struct Sync__ChoreRow; /* sync.pb-c.h */
struct Sync__Order;

int chores_start(struct chores **out, struct edge *e, struct err *err);
void chores_stop(struct chores *c);	   /* NULL is fine */
void chores_wake(struct chores *c);	   /* one was heard. NULL is fine */
uint64_t chores_running(struct chores *c); /* its number; 0: none. NULL is fine */

bool chores_is(int kind); /* enum OrderKind */
/* In the closure that hears it. */
int chores_take(struct store_tx *tx, const struct Sync__Order *m, const void *bytes, size_t n,
		struct err *e);
/* R26: a person here asked for a refill, and central left out what others delivered, since it does
 * not know yet whether the site may read that: the rest is fetched when it does. Such a row is
 * gone when it is done. */
struct refill_config;
int chores_ask_rest(struct edge *e, const struct refill_config *c, struct err *err);
/* Another archive counts from the beginning. In a closure. */
int chores_other_archive(struct store_tx *tx, struct err *e);
/* By rising number from `from` on, until fn says other than 0; that is returned. */
int chores_each(struct store_tx *tx, uint64_t from,
		int (*fn)(void *arg, uint64_t number, struct Sync__ChoreRow *m, struct err *e),
		void *arg, struct err *e);
/* Those that have not ended, and those whose end central does not know. */
int chores_count(struct store_tx *tx, uint64_t *open, uint64_t *unsaid, struct err *e);
/* For `status`: those that have not ended, and how the last ones did. */
int chores_text(struct edge *e, struct buf *out, struct err *err);
int chores_json(struct edge *e, struct json *j, const char *name, struct err *err);
/* Central knows how this one ended. */
int chores_said(struct store_tx *tx, uint64_t number, struct err *e);

/* Without a thread of its own: the next one that is due. *ran: there was one. */
int chores_new(struct chores **out, struct edge *e, struct err *err);
void chores_turn(struct chores *c, bool *ran);

#endif
