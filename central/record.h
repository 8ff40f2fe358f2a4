/*
 * record.h - the log's records and what each makes of the catalogue (R16).
 *
 * A record is written and flushed, then applied; one function applies it, when it
 * is new, when a start finds it behind the catalogue, and when `rebuild` makes the
 * catalogue anew.
 * Threads: record_write takes central's `order` lock; the caller must not hold it
 * unless it calls record_write_locked.
 */
#ifndef SALAMANDER_CENTRAL_RECORD_H
#define SALAMANDER_CENTRAL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"

struct buf;
struct central;
struct err;
struct store_tx;
struct Sync__LedgerEntry;
struct Sync__LogDecision;

/* Durable in log and catalogue on 0. */
int record_write_locked(struct central *c, uint32_t kind, const struct buf *payload, struct err *e);
int record_write(struct central *c, uint32_t kind, const struct buf *payload, struct err *e);
/* What is in the log is in the catalogue, too; the caller holds `order`. */
int record_settle_locked(struct central *c, struct err *e);
/* The same, and then a read transaction, which sees all that was recorded. */
int record_read_locked(struct store_tx **out, struct central *c, struct err *e);
/* Records number and below are in the catalogue. */
int record_applied(struct store_tx *tx, uint64_t *number, struct err *e);
/* Opens the log and applies what the catalogue lacks. */
int record_replay(struct central *c, const char *dir, struct err *e);

/* A new epoch and why; central's own is changed when it is durable. */
int record_epoch(struct central *c, const char *why, struct err *e);
/* This central has had it, or has it now. */
int record_knows_epoch(struct store_tx *tx, const struct id128 *epoch, bool *out, struct err *e);
/* R15: these n digests, one after the other, are never shown; nor are they when they come later. */
int record_withdraw(struct central *c, const unsigned char *digests, size_t n, const char *why,
		    struct err *e);
/* Does this entry of a ledger say whether its site has the bytes of an image? */
bool record_claim(const struct Sync__LedgerEntry *entry, unsigned char digest[SHA256_SIZE],
		  bool *has);
/* What a decision that closed or opened an incarnation has left to do (site_turn): in pieces, with
 * others between them. What a stop or a death cuts, the next start or such decision does. */
void record_turn(struct central *c);
/* Any decision: its time is filled in here. The caller holds `order`. */
int record_decide_locked(struct central *c, struct Sync__LogDecision *m, struct err *e);
/* With record_turn, before and after. */
int record_decide(struct central *c, struct Sync__LogDecision *m, struct err *e);
/* DECISION_OPEN, DECISION_CLOSE */
int record_decision(struct central *c, int kind, const char *site, const struct id128 *incarnation,
		    const char *why, struct err *e);

#endif
