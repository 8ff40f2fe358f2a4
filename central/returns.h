/*
 * returns.h - withdrawn images that came again (R15): taken, receipted, hidden, listed.
 *
 * Table returned: digest (32)   times (u64 LE), wall clock of the last one (u64 LE), its site
 * A row follows from the log, so that a rebuild knows it as well.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_RETURNS_H
#define SALAMANDER_CENTRAL_RETURNS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#define RETURNED_TABLE "returned"

struct buf;
struct central;
struct err;
struct json;
struct pack;
struct store_tx;
struct Sync__LogDecision; /* sync.pb-c.h */

/* Before the pack is receipted: what of it is withdrawn goes in the log. once: but not what is
 * listed already, by whoever died between the two. */
int returns_note(struct central *c, const struct pack *p, bool once, struct err *e);
/* What a DECISION_RETURNED of the log makes of the catalogue. */
int returns_apply(struct store_tx *tx, const struct Sync__LogDecision *m, struct err *e);
int returns_count(struct central *c, uint64_t *n, struct err *e);
/* One line each; or as a member of the object that is open. */
int returns_text(struct central *c, struct buf *out, struct err *e);
int returns_json(struct central *c, struct json *j, const char *name, struct err *e);

#endif
