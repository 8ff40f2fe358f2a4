/*
 * catalogue.h - central's index of packs and log, on the store (R16: a cache of both).
 *
 * Tables beside the store's own:
 *	state     name                       counters, epoch
 *	site      incarnation (16)           sync.SiteRow
 *	announced incarnation | seq (be64)   H(seq) (32), the entry's bytes as received (R5)
 *	claim     digest (32) | incarnation | seq (be64)   1: has the bytes, 0: has them no more
 *	holdings  incarnation | be64(seq / HOLDINGS_PAGE)  bits (R19)
 *	pack      pack id (32)               sync.PackRow
 *	upload    pack id (32)               durable bytes (u64 LE)
 *	decision  digest (32)                1: withdrawn (R15)
 *	committed digest (32)                a site told whoever sent it not to keep it
 *	returned  digest (32)                returns.h
 *	order     number (be64)              dispatch.h
 *	decided_at, decided_id               decisions.h
 *	withdrawn UID                        proto/withdrawn.h
 *	standing  site                       the same
 *	member    name                       sync.MemberRow (members.h)
 *	figure, exposed                      figures.h
 *	tries     be32 slot                  join.h; the only one that a rebuild forgets
 *
 * Of an incarnation that branched off another one (R8), announced, claim and holdings have rows
 * above `common` only: below, those of `previous` are its own.
 *
 * Everything here follows from the log's records, applied in their order, and the
 * packs that lie in the vault: `rebuild` does just that.
 * Threads: as the transactions.
 */
#ifndef SALAMANDER_CENTRAL_CATALOGUE_H
#define SALAMANDER_CENTRAL_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "common/store/store.h"
#include "proto/ledger.h"

struct buf;
struct clock;
struct err;

enum { HOLDINGS_PAGE = 32768, ADDRESS_SIZE = 80, SITE_STATE_MAX = 512 };

const char *const *catalogue_tables(unsigned *n);

struct site_row {
	char site[SITE_SIZE];
	struct id128 incarnation;
	bool closed;
	struct ledger_head head;
	uint64_t receipts;
	/* wall clock, for display; reopened: it called again after `site lost`, else 0 */
	int64_t opened_ms, contact_ms, announced_ms, reopened_ms;
	char titles[256];
	/* R8: the last contact token that was given, its number, and to whoever said what */
	struct id128 token, said, contact;
	uint64_t contacts;
	/* R8: up to seq `common` its ledger is that of `previous`; 0: none of it is */
	struct id128 previous;
	uint64_t common;
	bool knocked; /* closed, and called with the last token: once more is a twin */
	bool drains;  /* another copy is the site's                                  */
	bool foreign; /* its last hello had a receipt whose seal is not ours (R22)   */
	char address[ADDRESS_SIZE];
	uint32_t version; /* of the protocol, and of its software, at its last hello */
	char software[24];
	/* Closed or opened, and the figures of what it first says from this seq on are to follow;
	 * 0: of nothing. site_put's and site_turn's own. */
	uint64_t turning;
	size_t state_n; /* what it told of its way to here, at its last hello (told.h) */
	unsigned char state[SITE_STATE_MAX];
};
/* ERR_ABSENT leaves e alone. */
int site_get(struct store_tx *tx, const struct id128 *incarnation, struct site_row *out,
	     struct err *e);
/* Figures follow when it is closed, or opened again (figures.h): those of so many images at once,
 * of the others with site_turn. */
enum { SITE_TURN = 500 };
int site_put(struct store_tx *tx, const struct site_row *row, struct err *e);
/* The next SITE_TURN of one that was closed or opened. *more: there was such a one. */
int site_turn(struct store_tx *tx, bool *more, struct err *e);
/* Is there such a one? */
int site_turning(struct store_tx *tx, bool *yes, struct err *e);
/* How the figures have an image that it first says to have at this seq. */
bool site_counts_closed(const struct site_row *row, uint64_t seq);
/* Until fn says other than 0. */
/* Those of this site alone; what tells of another is not read. */
int site_each_of(struct store_tx *tx, const char *site,
		 int (*fn)(void *arg, const struct site_row *row, struct err *e), void *arg,
		 struct err *e);
int site_each(struct store_tx *tx, int (*fn)(void *arg, const struct site_row *row, struct err *e),
	      void *arg, struct err *e);

/* H at seq, also of what was announced before it branched off; seq 0: zero. ERR_ABSENT: not
 * announced. */
int announced_hash(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq,
		   unsigned char out[SHA256_SIZE], struct err *e);
/* The entry's bytes, borrowed. */
int announced_get(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq,
		  const void **entry, size_t *n, struct err *e);

/* One claim, figures follow: incarnation says at seq that it has the bytes (or not). */
int claim_put(struct store_tx *tx, const unsigned char digest[SHA256_SIZE],
	      const struct id128 *incarnation, uint64_t seq, bool has, struct err *e);
/* ERR_ABSENT leaves *has alone. */
int claim_get(struct store_tx *tx, const unsigned char digest[SHA256_SIZE],
	      const struct id128 *incarnation, uint64_t seq, bool *has, struct err *e);
/* Claims of a digest (all digests: NULL), in the order digest, incarnation, seq. */
struct claim {
	const unsigned char *digest;
	struct id128 incarnation;
	uint64_t seq;
	bool has;
};
int claim_each(struct store_tx *tx, const unsigned char *digest,
	       int (*fn)(void *arg, const struct claim *c, struct err *e), void *arg,
	       struct err *e);

/* The first digest that is not below from, of those that anybody claims; ERR_ABSENT: none. */
int claim_next(struct store_tx *tx, const unsigned char from[SHA256_SIZE],
	       unsigned char out[SHA256_SIZE], struct err *e);

/* R19 */
int holdings_set(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq, bool held,
		 struct err *e);
/* For every seq of every site with this digest. */
int holdings_set_all(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], bool held,
		     struct err *e);
/* Appends the bits of [first, first + count) to out; bit 0 is seq first. */
int holdings_read(struct store_tx *tx, const struct id128 *incarnation, uint64_t first,
		  uint64_t count, struct buf *out, struct err *e);

struct pack_row {
	unsigned char id[SHA256_SIZE];
	char place[96];
	uint64_t size;
	uint32_t members;
	char site[SITE_SIZE];
	int64_t verified_ms;
};
int pack_row_get(struct store_tx *tx, const unsigned char id[SHA256_SIZE], struct pack_row *out,
		 struct err *e);
int pack_row_put(struct store_tx *tx, const struct pack_row *row, struct err *e);
int pack_row_del(struct store_tx *tx, const unsigned char id[SHA256_SIZE], struct err *e);
/* The first pack whose id is above after (NULL: of all); ERR_ABSENT at the end. */
int pack_row_next(struct store_tx *tx, const unsigned char *after, struct pack_row *out,
		  struct err *e);
int pack_row_count(struct store_tx *tx, uint64_t *out, struct err *e);

/* What was decided about a digest; it is asked wherever one comes in (R15). */
int decision_withdrawn(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], bool *out,
		       struct err *e);
/* Of digests, studies, series and images; 0: nothing is withdrawn. */
int decision_count(struct store_tx *tx, uint64_t *out, struct err *e);
int decision_withdraw(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e);
int decision_lift(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e);

int upload_get(struct store_tx *tx, const unsigned char id[SHA256_SIZE], uint64_t *offset,
	       struct err *e);
int upload_put(struct store_tx *tx, const unsigned char id[SHA256_SIZE], uint64_t offset,
	       struct err *e);
int upload_del(struct store_tx *tx, const unsigned char id[SHA256_SIZE], struct err *e);

/* Numbers and ids by name; absent: zero. */
int state_number(struct store_tx *tx, const char *name, uint64_t *out, struct err *e);
int state_set_number(struct store_tx *tx, const char *name, uint64_t v, struct err *e);
int state_id(struct store_tx *tx, const char *name, struct id128 *out, struct err *e);
int state_set_id(struct store_tx *tx, const char *name, const struct id128 *v, struct err *e);

#endif
