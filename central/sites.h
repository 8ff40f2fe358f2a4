/*
 * sites.h - what `sites` and `status` say about each site: state, key, certificate, numbers.
 *
 * Threads: as the transaction.
 */
#ifndef SALAMANDER_CENTRAL_SITES_H
#define SALAMANDER_CENTRAL_SITES_H

#include <stdbool.h>
#include <stddef.h>

#include "central/members.h"
#include "central/tally.h"

struct buf;
struct err;
struct json;
struct store_tx;

struct sites {
	struct tally tally;	/* incarnations, by site, the latest last */
	struct member *members; /* by name: whoever was decided about      */
	size_t n_members;
	int64_t wall_ms; /* now; 0: no ages */
	bool older;	 /* CAs are believed beside this one */
	unsigned char ca[PKI_PRINT];
};

int sites_make(struct sites *out, struct store_tx *tx, struct err *e);
void sites_free(struct sites *s);
/* Somebody came with a join code that another key had used (R26). */
bool sites_need_a_person(const struct sites *s);
/* Row i is the one that tells of its site's way to here: of the site's incarnations that are
 * open the one that called last. false: it is not. Closed by told_close. */
struct told;
bool sites_told(const struct sites *s, size_t i, struct told *out);
/* A row per incarnation; a site that never came has one without. */
void sites_json(struct json *j, const char *key, const struct sites *s);
/* What was decided, then the numbers. */
void sites_text(struct buf *out, const struct sites *s);
void sites_text_numbers(struct buf *out, const struct sites *s);
/* Of any of its incarnations, wall clock; 0: never. */
int64_t sites_last_contact(const struct sites *s, const char *site);
/* How many read only what they delivered until others have told who may (R26). */
size_t sites_unvouched(const struct sites *s);
/* It ever came, or somebody decided about it. */
int sites_know(struct store_tx *tx, const char *site, bool *out, struct err *e);

#endif
