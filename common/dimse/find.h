/*
 * find.h - C-FIND of Patient Root, Study Root and Patient/Study Only (PS3.4 C.4.1) over the store.
 *
 * Relational, with dates and times combined and with fuzzy names where that was negotiated.
 * Answers stream, a page of the index at a time; cancel is seen between answers.
 * More matches than max_answers: those are sent, then A700 with "first N of M;
 * narrow the query" (R34), or success where the peer is set so.
 * Threads: called by the association's own.
 */
#ifndef SALAMANDER_COMMON_DIMSE_FIND_H
#define SALAMANDER_COMMON_DIMSE_FIND_H

#include <stdbool.h>
#include <stdint.h>

struct dimse_caller;
struct err;
struct id128;
struct message;
struct store;

struct find_config {
	struct store *store;
	uint64_t max_answers;
	/* R21: does central answer now, and in which epoch? NULL: never. */
	bool (*central)(void *arg, struct id128 *epoch);
	void *arg;
	bool umlauts; /* match_name.h */
};

int find_serve(const struct find_config *c, const struct dimse_caller *who,
	       const struct message *rq, struct err *e);

#endif
