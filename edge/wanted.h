/*
 * wanted.h - settings that central has a word in (proto/settings.h), by its orders.
 *
 * Each setting remembers the number of the order that said it, and a lower one changes nothing. One
 * of a later version is kept, and counts when this edge knows it.
 * Of the sync table: set_<name>: number (u64 LE), value.
 * Threads: as the transactions; wanted_number and wanted_dark any.
 */
#ifndef SALAMANDER_EDGE_WANTED_H
#define SALAMANDER_EDGE_WANTED_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct edge;
struct err;
struct json;
struct store_tx;
struct Sync__Order; /* sync.pb-c.h */

int wanted_take(struct store_tx *tx, const struct Sync__Order *m, struct err *e);
/* Another archive counts from the beginning; what the one before it said stays until then. */
int wanted_other_archive(struct store_tx *tx, struct err *e);
/* Central's word about it, with a NUL behind: empty where there is none. */
int wanted_value(struct store_tx *tx, const char *name, struct buf *out, struct err *e);

/* What counts of a [cache] setting: this edge's own file, and central's word. What cannot be read
 * is taken for the one that keeps more. */
int64_t wanted_number(const struct edge *e, const char *name);
/* R10: in the dark nothing is freed: `dark = keep`. */
bool wanted_dark_keep(const struct edge *e);

/* For `status`: what central has a word in. */
int wanted_text(const struct edge *e, struct buf *out, struct err *err);
int wanted_json(const struct edge *e, struct json *j, const char *name, struct err *err);

#endif
