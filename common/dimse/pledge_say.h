/*
 * pledge_say.h - what archives pledged, for a person, for JSON and for Prometheus.
 *
 * Threads: any; while the store stays open.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGE_SAY_H
#define SALAMANDER_COMMON_DIMSE_PLEDGE_SAY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/dimse/pledges.h"

struct buf;
struct err;
struct json;
struct prom;
struct store;
struct store_tx;

/* Of all archives: images that one refused, did not take or said nothing of in time, and that no
 * person has looked at yet. */
int pledges_unseen(struct store_tx *tx, uint64_t *out, struct err *e);
/* A line for each archive that was ever asked (archive NULL), or for this one. */
int pledges_text(struct store_tx *tx, const char *archive, struct buf *out, struct err *e);
/* The same as an array. */
int pledges_json(struct store_tx *tx, const char *archive, struct json *j, const char *key,
		 struct err *e);
/* Either, of all archives, in a transaction of its own: in `status`; as "archives". */
int pledges_said(struct store *s, struct buf *text, struct json *j, struct err *e);
/* Nothing where nobody was asked. */
int pledges_metrics(struct store *s, struct prom *p, struct err *e);

/* One image. */
void pledge_text(struct buf *out, const struct pledge *p);
void pledge_json(struct json *j, const struct pledge *p);
/* Neither open nor committed. */
bool pledge_failed(const struct pledge *p);

#endif
