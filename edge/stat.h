/*
 * stat.h - what goes to central before everything else: by rule ([stat NAME]), or by study.
 *
 * A rule says who sends it (peer, calling and called title), what it is (modality), and when
 * (hours); all that it says must hold, and one rule is enough. A study that a person marked is
 * stat with all that it has and gets, over restarts, until the mark is taken off.
 * Threads: any; the transactions say theirs.
 */
#ifndef SALAMANDER_EDGE_STAT_H
#define SALAMANDER_EDGE_STAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/lanes.h"

struct conf;
struct conf_row;
struct edge;
struct err;
struct store_tx;

const struct conf_row *stat_rows(size_t *n);
/* Rules that say nothing, or hours that cannot be read. */
int stat_check(const struct conf *c, struct err *e);

/* What came; NULL or "" where it is not known. */
struct stat_object {
	const char *peer, *calling, *called, *modality, *study;
	int64_t wall_ms; /* by central's clock (R28) */
};
/* Does a rule want it? */
bool stat_rule(const struct conf *c, const struct stat_object *o);
/* The lane of what is taken in. */
enum lane stat_lane(struct store_tx *tx, const struct edge *e, const struct stat_object *o);

/* Marks a study, or no more; *n: images of it that are owed, and are in that lane now. ERR_ABSENT:
 * there is no such study here. */
int stat_mark(struct edge *e, const char *study, bool on, size_t *n, struct err *err);

#endif
