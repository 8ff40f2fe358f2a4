/*
 * late.h - what failed for its own sake, and when it is tried again (R17).
 *
 * A row that is put off is in no lane until it is due: after 60 s x n^2, at most 4 h; from then
 * on it is parked, and due once a day. A new epoch, another version of central and `retry` make
 * all of it due at once. It is owed all the time, and nothing of it may be freed (R9).
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_EDGE_LATE_H
#define SALAMANDER_EDGE_LATE_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct outbox_row;
struct store;
struct store_tx;

/* The row waits, longer each time; now: store_time. */
void late_put_off(struct outbox_row *row, int64_t now);
/* store_time at which the first row is due; 0: none waits. */
int late_first(struct store_tx *tx, int64_t *out, struct err *e);
/* What is due goes back to its lane. */
int late_due(struct store *s, struct err *e);
/* All of it is tried again now: *n rows. */
int late_try_now(struct store *s, size_t *n, struct err *e);

/* In the transaction that put blamed rows off; and once central took something again: they are
 * tried now, in packs of 100 at first. Cheap when there are none. */
int late_blame(struct store_tx *tx, struct err *e);
int late_try_blamed(struct store *s, struct err *e);

#endif
